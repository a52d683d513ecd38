package org.liblsm;

import static org.liblsm.Library.LIB;
import static org.liblsm.Memory.DATA;
import static org.liblsm.Memory.OUT1;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.function.Consumer;

/**
 * The options of a database or keyspace: a key and a value each, checked as they are set. {@link #describe} lists all keys
 * with type, range, default and meaning; the methods with names here are only the common ones.
 *
 * <pre>{@code
 * Lsm.open(path, o -> o.memtableSize(32 << 20).set("compaction.threads", 2));
 * Lsm.open(path, Map.of("cache.size", "1GiB", "durability", "fsync"));
 * }</pre>
 *
 * <p>{@code open} copies what it needs, so one object serves many opens. One thread at a time.
 */
public final class Options implements AutoCloseable {
    private final Held held;
    private boolean hasLog;
    private boolean isClosed;

    /** Outlives the object. */
    private static final class Held extends Leaks.Handle {
        private final long options;

        Held(long options) {
            super("an Options object");
            this.options = options;
        }

        @Override
        void release() {
            LIB.lsm_options_free(options);
        }
    }

    /** Every option at its default. */
    public Options() {
        this(LIB.lsm_options_new(), false);
    }

    private Options(long handle, boolean hasLog) {
        if (handle == 0) {
            throw new OutOfMemoryError("no memory for options");
        }
        this.hasLog = hasLog;
        held = new Held(handle);
        held.track(this);
    }

    /** A copy, with the same log consumer. */
    public synchronized Options copy() {
        return new Options(LIB.lsm_options_clone(handle()), hasLog);
    }

    /** Sets an option from text: {@code set("memtable.size", "64MiB")}. */
    public synchronized Options set(String key, String value) {
        byte[] name = Memory.utf8(key);
        byte[] text = Memory.utf8(value);
        Memory memory = Memory.take(name.length + text.length + 2L);
        try {
            long at = memory.text(DATA, name);
            memory.check(LIB.lsm_options_set(handle(), at, memory.text(DATA + name.length + 1, text), memory.err()));
            return this;
        } finally {
            memory.give();
        }
    }

    /** Sets a count, or a size in bytes. */
    public synchronized Options set(String key, long value) {
        byte[] name = Memory.utf8(key);
        Memory memory = Memory.take(name.length + 1L);
        try {
            memory.check(LIB.lsm_options_set_int(handle(), memory.text(DATA, name), value, memory.err()));
            return this;
        } finally {
            memory.give();
        }
    }

    /** Sets a fraction. */
    public synchronized Options set(String key, double value) {
        byte[] name = Memory.utf8(key);
        Memory memory = Memory.take(name.length + 1L);
        try {
            memory.check(LIB.lsm_options_set_float(handle(), memory.text(DATA, name), value, memory.err()));
            return this;
        } finally {
            memory.give();
        }
    }

    /** Sets a flag. */
    public Options set(String key, boolean value) {
        return set(key, Boolean.toString(value));
    }

    /** Sets each of them: strings, whole numbers, fractions and booleans. */
    public Options set(Map<String, ?> options) {
        options.forEach((key, value) -> {
            if (value instanceof Float || value instanceof Double) {
                set(key, ((Number) value).doubleValue());
            } else if (value instanceof Byte || value instanceof Short || value instanceof Integer || value instanceof Long) {
                set(key, ((Number) value).longValue());
            } else if (value instanceof CharSequence || value instanceof Boolean) {
                set(key, value.toString());
            } else {
                throw LsmException.invalid("option " + key + ": a value of type "
                        + (value == null ? "null" : value.getClass().getName()));
            }
        });
        return this;
    }

    /** Sets options from lines {@code key = value}; empty lines and {@code #} comments are ignored. All or nothing. */
    public synchronized Options load(String lines) {
        byte[] text = lines.getBytes(StandardCharsets.UTF_8);
        Memory memory = Memory.take(text.length);
        try {
            memory.bytes.put(DATA, text);
            memory.check(LIB.lsm_options_load(handle(), memory.data(), text.length, memory.err()));
            return this;
        } finally {
            memory.give();
        }
    }

    /** What was set explicitly, as lines that {@link #load} takes. */
    public synchronized String dump() {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_options_dump(handle(), memory.out1(), memory.err()));
            return memory.takeText(OUT1);
        } finally {
            memory.give();
        }
    }

    /** The canonical text of an option; its default when it is not set. */
    public synchronized String get(String key) {
        byte[] name = Memory.utf8(key);
        Memory memory = Memory.take(name.length + 1L);
        try {
            memory.check(LIB.lsm_options_get(handle(), memory.text(DATA, name), memory.out1(), memory.err()));
            return memory.takeText(OUT1);
        } finally {
            memory.give();
        }
    }

    /** The table of all options as JSON: key, type, default, range, unit, scope, mutable, text. */
    public static String describe() {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_options_describe(memory.out1()));
            return memory.takeText(OUT1);
        } finally {
            memory.give();
        }
    }

    /**
     * Sends the log to a consumer instead of the {@code LOG} file. It runs on a thread of its own, behind a queue, so it may
     * take its time and call the database; lines that find the queue full are counted and told of. A database with a
     * consumer that is still open when the JVM ends is closed by a shutdown hook, because its threads call into Java.
     */
    public synchronized Options log(Consumer<LogLine> consumer) {
        byte[] name = Memory.utf8("log");
        long options = handle();
        long id = Logs.open(java.util.Objects.requireNonNull(consumer, "consumer"));
        Memory memory = Memory.take(64);
        try {
            // lsm_log_callbacks { u32 size; void *ctx; drop; log }
            int table = DATA + 16;
            memory.bytes.putLong(table, 32);
            memory.bytes.putLong(table + 8, id);
            memory.bytes.putLong(table + 16, LIB.dropFunction());
            memory.bytes.putLong(table + 24, LIB.logFunction());
            int code = LIB.lsm_options_set_callbacks(options, memory.text(DATA, name), memory.address + table, memory.err());
            if (code != Library.OK) {
                Logs.drop(id);
                throw memory.failure(code);
            }
            hasLog = true;
            return this;
        } finally {
            memory.give();
        }
    }

    // The common ones, by name.

    /** Whether a missing database (or keyspace) is made; true by default. */
    public Options createIfMissing(boolean value) {
        return set("create_if_missing", value);
    }

    /** Whether an existing database is {@link LsmException.Exists}; false by default. */
    public Options errorIfExists(boolean value) {
        return set("error_if_exists", value);
    }

    /** Opens to read: writes no byte, and any number of such opens share a folder. */
    public Options readOnly() {
        return set("mode", "ro");
    }

    /** "memory", "os" (the default) or "fsync": what an acknowledged write has reached. */
    public Options durability(String level) {
        return set("durability", level);
    }

    /** The block cache, in bytes; 0: none. */
    public Options cacheSize(long bytes) {
        return set("cache.size", bytes);
    }

    /** How many bytes one memtable holds. */
    public Options memtableSize(long bytes) {
        return set("memtable.size", bytes);
    }

    /** "none", "lz4", or "zstd" where the library has it. */
    public Options compression(String name) {
        return set("compression", name);
    }

    /** How often a filter is wrong, from 0 (no filters) up to 1. */
    public Options falsePositiveRate(double rate) {
        return set("filter.fpr", rate);
    }

    boolean hasLog() {
        return hasLog;
    }

    synchronized long handle() {
        if (isClosed) {
            throw LsmException.closed("the options");
        }
        return held.options;
    }

    @Override
    public synchronized void close() {
        isClosed = true;
        held.close();
    }
}
