package org.liblsm;

import java.time.Duration;
import java.util.Objects;

/**
 * How a read is done, and what a cursor shows. Immutable: each method gives a changed copy, so one can be kept in a
 * constant and used by any thread.
 *
 * <pre>{@code ReadOptions users = ReadOptions.DEFAULT.prefix("user/".getBytes()).keysOnly(); }</pre>
 */
public final class ReadOptions {
    /** As of now, everything, no deadline. */
    public static final ReadOptions DEFAULT = new ReadOptions();

    private static final int NO_FILL_CACHE = 1;
    private static final int VERIFY_CHECKSUMS = 2;
    private static final int KEYS_ONLY = 4;
    static final int CHUNK_DEFAULT = 64 << 10;

    private Snapshot snapshot;
    private byte[] lower;
    private byte[] upper;
    private byte[] prefix;
    private int flags;
    private long deadlineMicros;
    private long maxSkip;
    private int readahead;
    private int chunk = CHUNK_DEFAULT;
    private boolean sequences;
    /** Whether a read of keys needs no struct. */
    private boolean isDefault = true;

    private ReadOptions() {}

    private ReadOptions(ReadOptions from) {
        snapshot = from.snapshot;
        lower = from.lower;
        upper = from.upper;
        prefix = from.prefix;
        flags = from.flags;
        deadlineMicros = from.deadlineMicros;
        maxSkip = from.maxSkip;
        readahead = from.readahead;
        chunk = from.chunk;
        sequences = from.sequences;
        isDefault = from.isDefault;
    }

    private ReadOptions copy() {
        ReadOptions copy = new ReadOptions(this);
        copy.isDefault = false;
        return copy;
    }

    /** Reads what that snapshot sees; {@code null}: as of now. */
    public ReadOptions snapshot(Snapshot seen) {
        ReadOptions copy = copy();
        copy.snapshot = seen;
        return copy;
    }

    /** The first key that a cursor shows; {@code null}: unbounded. */
    public ReadOptions lower(byte[] included) {
        ReadOptions copy = copy();
        copy.lower = included == null ? null : included.clone();
        return copy;
    }

    /** The first key that a cursor does not show any more; {@code null}: unbounded. */
    public ReadOptions upper(byte[] excluded) {
        ReadOptions copy = copy();
        copy.upper = excluded == null ? null : excluded.clone();
        return copy;
    }

    /** A cursor shows only keys that begin so, within both bounds; {@code null}: all. */
    public ReadOptions prefix(byte[] begin) {
        ReadOptions copy = copy();
        copy.prefix = begin == null ? null : begin.clone();
        return copy;
    }

    /** A cursor shows empty values. It means nothing to reads of keys. */
    public ReadOptions keysOnly() {
        return flag(KEYS_ONLY);
    }

    /** What is read does not push other blocks out of the cache. */
    public ReadOptions noFillCache() {
        return flag(NO_FILL_CACHE);
    }

    /** Blocks are read from the file and checked even when they are cached. */
    public ReadOptions verifyChecksums() {
        return flag(VERIFY_CHECKSUMS);
    }

    private ReadOptions flag(int bit) {
        ReadOptions copy = copy();
        copy.flags |= bit;
        return copy;
    }

    /** Gives up with {@link LsmException.Timeout} after that time in one call; zero: never. */
    public ReadOptions deadline(Duration time) {
        ReadOptions copy = copy();
        copy.deadlineMicros = micros(time);
        return copy;
    }

    /** A cursor's step that passes more deleted or overwritten entries is {@link LsmException.Stalled}; 0: no limit. */
    public ReadOptions maxSkip(long entries) {
        ReadOptions copy = copy();
        copy.maxSkip = notNegative(entries, "maxSkip");
        return copy;
    }

    /** A hint for long scans, in bytes; 0: automatic. */
    public ReadOptions readahead(int bytes) {
        ReadOptions copy = copy();
        copy.readahead = (int) notNegative(bytes, "readahead");
        return copy;
    }

    /**
     * How many bytes a cursor fetches in one call at most (64 KiB by default; the first fetches are smaller, a larger
     * entry is fetched alone). 0: one entry a call, for large values of which few are wanted.
     */
    public ReadOptions chunk(int bytes) {
        ReadOptions copy = copy();
        copy.chunk = (int) notNegative(bytes, "chunk");
        return copy;
    }

    /** A cursor knows {@link Cursor#sequence} of each entry; it copies entry by entry then, which is slower. */
    public ReadOptions sequences() {
        ReadOptions copy = copy();
        copy.sequences = true;
        return copy;
    }

    private static long notNegative(long value, String name) {
        if (value < 0) {
            throw LsmException.invalid(name + " is " + value + ", less than 0");
        }
        return value;
    }

    static long micros(Duration time) {
        Objects.requireNonNull(time, "time");
        if (time.isNegative()) {
            throw LsmException.invalid("a deadline of " + time);
        }
        // A time above 0 never becomes 0, which would mean "never".
        long micros = time.toSeconds() > Long.MAX_VALUE / 2_000_000 ? Long.MAX_VALUE : time.toNanos() / 1000;
        return time.isZero() ? 0 : Math.max(1, micros);
    }

    boolean isDefault() {
        return isDefault;
    }

    Snapshot snapshot() {
        return snapshot;
    }

    long snapshotHandle() {
        return snapshot == null ? 0 : snapshot.handle();
    }

    byte[] lowerBytes() {
        return lower;
    }

    byte[] upperBytes() {
        return upper;
    }

    byte[] prefixBytes() {
        return prefix;
    }

    long boundBytes() {
        return length(lower) + length(upper) + length(prefix);
    }

    private static long length(byte[] bound) {
        return bound == null ? 0 : bound.length;
    }

    int flags() {
        return flags;
    }

    long deadlineMicros() {
        return deadlineMicros;
    }

    long maxSkip() {
        return maxSkip;
    }

    int readahead() {
        return readahead;
    }

    int chunk() {
        return chunk;
    }

    boolean hasSequences() {
        return sequences;
    }
}
