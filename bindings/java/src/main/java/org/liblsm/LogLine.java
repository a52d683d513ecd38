package org.liblsm;

/** A line that the library logged. */
public record LogLine(Level level, String message) {
    /** How grave it is. */
    public enum Level {
        ERROR,
        WARN,
        INFO,
        DEBUG
    }
}
