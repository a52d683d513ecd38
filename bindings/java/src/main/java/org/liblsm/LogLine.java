package org.liblsm;

/** A line that the library logged. */
public record LogLine(Level level, String message) {
    /** How grave it is. */
    public enum Level {
        /** Something failed. */
        ERROR,
        /** Something to look at. */
        WARN,
        /** What happens in the normal course. */
        INFO,
        /** Details for whoever works on the library. */
        DEBUG
    }
}
