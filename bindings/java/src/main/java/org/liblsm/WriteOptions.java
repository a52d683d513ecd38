package org.liblsm;

import java.time.Duration;

/** How one write is done. Immutable; any thread. */
public final class WriteOptions {
    /** The database's own durability, no deadline. */
    public static final WriteOptions DEFAULT = new WriteOptions(0, 0);
    /** Acknowledged in the process; a crash of it may lose the latest such writes. */
    public static final WriteOptions MEMORY = new WriteOptions(1, 0);
    /** Acknowledged in the page cache; survives the process. */
    public static final WriteOptions OS = new WriteOptions(2, 0);
    /** Acknowledged on the device; survives a power cut. */
    public static final WriteOptions FSYNC = new WriteOptions(3, 0);

    private final int durability;
    private final long deadlineMicros;

    private WriteOptions(int durability, long deadlineMicros) {
        this.durability = durability;
        this.deadlineMicros = deadlineMicros;
    }

    /** The same, but given up with {@link LsmException.Timeout}, before any effect, after that time; zero: never. */
    public WriteOptions deadline(Duration time) {
        return new WriteOptions(durability, ReadOptions.micros(time));
    }

    boolean isDefault() {
        return durability == 0 && deadlineMicros == 0;
    }

    int durability() {
        return durability;
    }

    long deadlineMicros() {
        return deadlineMicros;
    }
}
