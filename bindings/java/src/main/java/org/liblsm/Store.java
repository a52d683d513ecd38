package org.liblsm;

import static org.liblsm.Library.LIB;
import static org.liblsm.Library.NOT_FOUND;
import static org.liblsm.Library.OK;
import static org.liblsm.Library.TRUNCATED;
import static org.liblsm.Memory.DATA;
import static org.liblsm.Memory.OUT1;
import static org.liblsm.Memory.OUT2;
import static org.liblsm.Memory.OUT3;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.OptionalLong;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Reads and writes of one keyspace: what a database ({@link Lsm}, its default keyspace) and a {@link Keyspace} share. Any
 * number of threads at once, platform or virtual; nothing is bound to a thread.
 *
 * <p>Keys have up to 65,536 bytes, values up to 1 GiB; both may be empty, neither {@code null}. Keys are ordered by their
 * bytes, taken as unsigned. Every method throws {@link LsmException}; after a close {@link LsmException.Closed}.
 */
public abstract sealed class Store permits Lsm, Keyspace {
    /** The C handle; 0 once this object is closed. */
    volatile long handle;

    Store(long handle) {
        this.handle = handle;
    }

    /** The database that it belongs to. */
    public abstract Lsm database();

    /** The keyspace's name, "default" for the database itself. */
    public abstract String name();

    final long open() {
        long open = handle;
        if (open == 0) {
            throw LsmException.closed("keyspace " + name());
        }
        return open;
    }

    // Writes.

    /** Puts a value under a key, replacing an older one. */
    public final void put(byte[] key, byte[] value) {
        put(key, value, WriteOptions.DEFAULT);
    }

    /** The same with a durability or a deadline of its own. */
    public final void put(byte[] key, byte[] value, WriteOptions options) {
        long keyspace = open();
        Memory memory = Memory.take((long) key.length + value.length);
        try {
            memory.bytes.put(DATA, key);
            memory.bytes.put(DATA + key.length, value);
            long data = memory.data();
            memory.check(LIB.lsm_put(keyspace, memory.write(options), data, key.length, data + key.length, value.length,
                    memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** The same from direct buffers, whose bytes from position to limit are read where they are. Positions stay. */
    public final void put(ByteBuffer key, ByteBuffer value, WriteOptions options) {
        long keyspace = open();
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_put(keyspace, memory.write(options), at(key), key.remaining(), at(value),
                    value.remaining(), memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(key);
            Reference.reachabilityFence(value);
            Reference.reachabilityFence(this);
        }
    }

    /** Deletes a key; one that is not there is no error. */
    public final void delete(byte[] key) {
        delete(key, WriteOptions.DEFAULT);
    }

    /** The same with a durability or a deadline of its own. */
    public final void delete(byte[] key, WriteOptions options) {
        long keyspace = open();
        Memory memory = Memory.take(key.length);
        try {
            memory.bytes.put(DATA, key);
            memory.check(LIB.lsm_delete(keyspace, memory.write(options), memory.data(), key.length, memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    // Reads.

    /** The value of a key, or {@code null}. */
    public final byte[] get(byte[] key) {
        return get(key, ReadOptions.DEFAULT);
    }

    /** The same as of a snapshot, or with another setting of its own. */
    public final byte[] get(byte[] key, ReadOptions options) {
        long keyspace = open();
        Memory memory = Memory.take(key.length);
        int code;
        try {
            memory.bytes.put(DATA, key);
            long data = memory.data();
            code = LIB.lsm_get(keyspace, memory.read(options), data, key.length, data + key.length,
                    memory.room() - key.length, memory.out1(), memory.err());
            if (code == OK) {
                byte[] value = new byte[(int) memory.bytes.getLong(OUT1)];
                memory.bytes.get(DATA + key.length, value);
                return value;
            }
            memory.check(code);
        } finally {
            memory.give();
            Reference.reachabilityFence(options);
            Reference.reachabilityFence(this);
        }
        return code == TRUNCATED ? getLarge(key, options) : null;
    }

    /** A value that does not fit the call's memory is copied once, from where the library has it. */
    private byte[] getLarge(byte[] key, ReadOptions options) {
        try (Pinned pinned = getPinned(key, options)) {
            return pinned == null ? null : pinned.bytes();
        }
    }

    /**
     * Reads a value into a direct buffer, from its position on, and sets its limit to the value's end. The position stays.
     * Gives the whole length of the value, which is more than fits when the value was cut, or -1 when there is none.
     */
    public final int get(ByteBuffer key, ByteBuffer into, ReadOptions options) {
        long keyspace = open();
        if (into.isReadOnly()) {
            throw LsmException.invalid("the buffer for the value is read-only");
        }
        int room = into.capacity() - into.position();
        Memory memory = Memory.take(0);
        try {
            int code = memory.check(LIB.lsm_get(keyspace, memory.read(options), at(key), key.remaining(), at(into), room,
                    memory.out1(), memory.err()));
            if (code == NOT_FOUND) {
                return -1;
            }
            int length = (int) memory.bytes.getLong(OUT1);
            into.limit(into.position() + Math.min(length, room));
            return length;
        } finally {
            memory.give();
            Reference.reachabilityFence(key);
            Reference.reachabilityFence(into);
            Reference.reachabilityFence(options);
            Reference.reachabilityFence(this);
        }
    }

    /** The value of a key without a copy, or {@code null}. Close it. For values of some KiB and more; small ones {@link #get} copies sooner. */
    public final Pinned getPinned(byte[] key) {
        return getPinned(key, ReadOptions.DEFAULT);
    }

    /** The same as of a snapshot, or with another setting of its own. */
    public final Pinned getPinned(byte[] key, ReadOptions options) {
        long keyspace = open();
        Memory memory = Memory.take(key.length);
        try {
            memory.bytes.put(DATA, key);
            int code = memory.check(LIB.lsm_get_pinned(keyspace, memory.read(options), memory.data(), key.length,
                    memory.out1(), memory.out2(), memory.address + OUT3, memory.err()));
            if (code == NOT_FOUND) {
                return null;
            }
            return new Pinned(memory.bytes.getLong(OUT1), memory.bytes.getLong(OUT2), memory.bytes.getLong(OUT3));
        } finally {
            memory.give();
            Reference.reachabilityFence(options);
            Reference.reachabilityFence(this);
        }
    }

    /** Whether a key has a value. */
    public final boolean contains(byte[] key) {
        return length(key, ReadOptions.DEFAULT) >= 0;
    }

    /** The length of a key's value, or -1 when there is none. */
    public final int length(byte[] key, ReadOptions options) {
        long keyspace = open();
        Memory memory = Memory.take(key.length);
        try {
            memory.bytes.put(DATA, key);
            int code = memory.check(LIB.lsm_exists(keyspace, memory.read(options), memory.data(), key.length,
                    memory.out1(), memory.err()));
            return code == NOT_FOUND ? -1 : (int) memory.bytes.getLong(OUT1);
        } finally {
            memory.give();
            Reference.reachabilityFence(options);
            Reference.reachabilityFence(this);
        }
    }

    /** Many keys as of one moment, in one call; {@code null} where there is no value. */
    public final byte[][] multiGet(List<byte[]> keys) {
        return multiGet(keys, ReadOptions.DEFAULT);
    }

    /** The same as of a snapshot, or with another setting of its own. */
    public final byte[][] multiGet(List<byte[]> keys, ReadOptions options) {
        try {
            return MultiGet.copies(open(), keys, options);
        } finally {
            Reference.reachabilityFence(options);
            Reference.reachabilityFence(this);
        }
    }

    /** The same without copies; {@code null} where there is no value. Close each. */
    public final Pinned[] multiGetPinned(List<byte[]> keys, ReadOptions options) {
        try {
            return MultiGet.pins(open(), keys, options);
        } finally {
            Reference.reachabilityFence(options);
            Reference.reachabilityFence(this);
        }
    }

    // Cursors.

    /** A cursor over everything. */
    public final Cursor cursor() {
        return cursor(ReadOptions.DEFAULT);
    }

    /** A cursor over what the options leave: bounds, prefix, a snapshot, keys only. */
    public final Cursor cursor(ReadOptions options) {
        try {
            return Cursor.open(this, open(), options);
        } finally {
            Reference.reachabilityFence(options);
            Reference.reachabilityFence(this);
        }
    }

    /** A cursor from a key (included) to a key (excluded); {@code null}: unbounded. */
    public final Cursor range(byte[] from, byte[] to) {
        return cursor(ReadOptions.DEFAULT.lower(from).upper(to));
    }

    /** A cursor over the keys that begin so. */
    public final Cursor prefix(byte[] begin) {
        return cursor(ReadOptions.DEFAULT.prefix(begin));
    }

    /** The entries as a stream, which is to be closed: {@code try (Stream<Entry> entries = db.stream(options))}. */
    public final Stream<Entry> stream(ReadOptions options) {
        Cursor cursor = cursor(options);
        Spliterator<Entry> entries = new Spliterators.AbstractSpliterator<>(Long.MAX_VALUE,
                Spliterator.ORDERED | Spliterator.DISTINCT | Spliterator.NONNULL | Spliterator.IMMUTABLE) {
            @Override
            public boolean tryAdvance(Consumer<? super Entry> action) {
                if (!cursor.next()) {
                    return false;
                }
                action.accept(new Entry(cursor.key(), cursor.value()));
                return true;
            }
        };
        return StreamSupport.stream(entries, false).onClose(cursor::close);
    }

    // Maintenance.

    /** Which keyspace a question about "this" means to the library; NULL is the whole database. */
    abstract long scope();

    /** Writes what is in memory to tables and waits: of this keyspace, or of all when this is the database. */
    public final void flush() {
        long keyspace = scope();
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_flush(database().db(), keyspace, memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** Compacts all keys of this keyspace (of the database: the default one) down to the last level and waits. */
    public final void compact() {
        compact(null, null);
    }

    /** Compacts the keys from one (included) to another (excluded); {@code null}: unbounded. */
    public final void compact(byte[] from, byte[] to) {
        long keyspace = open();
        Memory memory = Memory.take(MultiGet.length(from) + MultiGet.length(to));
        try {
            memory.check(LIB.lsm_compact(keyspace, MultiGet.store(memory, DATA, from), MultiGet.length(from),
                    MultiGet.store(memory, DATA + (int) MultiGet.length(from), to), MultiGet.length(to), memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** About how much lies in a range. */
    public record Size(long bytes, long keys) {}

    /** About how many bytes on disk and keys lie from a key (included) to a key (excluded); {@code null}: unbounded. */
    public final Size approximate(byte[] from, byte[] to) {
        long keyspace = open();
        Memory memory = Memory.take(MultiGet.length(from) + MultiGet.length(to));
        try {
            memory.check(LIB.lsm_approximate(keyspace, MultiGet.store(memory, DATA, from), MultiGet.length(from),
                    MultiGet.store(memory, DATA + (int) MultiGet.length(from), to), MultiGet.length(to), memory.out1(),
                    memory.out2(), memory.err()));
            return new Size(memory.bytes.getLong(OUT1), memory.bytes.getLong(OUT2));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /**
     * A property as text ("stats", "levels", ...), of this keyspace or of the whole database; {@code null} when there is
     * none of that name.
     */
    public final String property(String property) {
        byte[] name = Memory.utf8(property);
        long keyspace = scope();
        Memory memory = Memory.take(name.length + 1);
        try {
            int code = memory.check(LIB.lsm_property(database().db(), keyspace, memory.text(DATA, name), memory.out1(),
                    memory.err()));
            return code == NOT_FOUND ? null : memory.takeText(OUT1);
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** A property that is a number, such as "keys.estimate"; empty when there is none of that name. */
    public final OptionalLong propertyLong(String property) {
        byte[] name = Memory.utf8(property);
        long keyspace = scope();
        Memory memory = Memory.take(name.length + 1);
        try {
            int code = memory.check(LIB.lsm_property_u64(database().db(), keyspace, memory.text(DATA, name),
                    memory.out1(), memory.err()));
            return code == NOT_FOUND ? OptionalLong.empty() : OptionalLong.of(memory.bytes.getLong(OUT1));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    private static long at(ByteBuffer buffer) {
        if (!buffer.isDirect()) {
            throw LsmException.invalid("the buffer is not direct; byte[] is for the heap");
        }
        return LIB.address(buffer) + buffer.position();
    }
}
