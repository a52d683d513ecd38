package org.liblsm;

import static org.liblsm.Library.END;
import static org.liblsm.Library.LIB;
import static org.liblsm.Library.TRUNCATED;
import static org.liblsm.Memory.DATA;
import static org.liblsm.Memory.ENTRY;
import static org.liblsm.Memory.ENTRY_SIZE;
import static org.liblsm.Memory.OUT1;
import static org.liblsm.Memory.OUT2;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.NoSuchElementException;
import java.util.Objects;

/**
 * Walks over the entries of a keyspace in both directions. It shows one moment, however long it lives, until
 * {@link #refresh}. A new cursor stands nowhere: {@link #next} goes to the first entry, {@link #previous} to the last. Past
 * an end, a step the other way goes to that end's entry.
 *
 * <pre>{@code
 * try (Cursor c = db.range(from, to)) {
 *     while (c.next()) {
 *         use(c.key(), c.value());
 *     }
 * }
 * }</pre>
 *
 * <p>Entries are fetched many at a time, so most steps do not leave Java. {@link #key()} and {@link #value()} copy; the
 * buffers and views show the cursor's own memory and are good until its next move or close: after that they show other
 * bytes, but never foreign memory. One thread at a time, which may change.
 */
public final class Cursor implements AutoCloseable {
    private static final int NONE = -1;
    private static final int FORWARD = 0;
    private static final int BACKWARD = 1;
    /** The first fetch after a seek: a short scan should not pay for a long one. */
    private static final int CHUNK_FIRST = 4 << 10;
    private static final int CHUNK_GROWTH = 4;
    private static final int ENTRIES_MAX = 64;
    private static final VarHandle BUSY;

    static {
        try {
            BUSY = MethodHandles.lookup().findVarHandle(Cursor.class, "busy", boolean.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final Store store;
    private final Held held;
    private final int chunkMax;
    private final boolean hasSequences;

    /** The chunk: {@code count} entries {@code {u32 klen, u32 vlen, key, value}} from DATA on, in {@code direction}. */
    private Memory memory;
    private ByteBuffer bytes;
    private int count;
    /** NONE when there is at most one entry, on which the iterator stands, too. */
    private int direction = NONE;
    /** How many bytes the next fetch asks for. */
    private int room = CHUNK_FIRST;
    /** Where the entries begin that were visited. */
    private int[] starts = new int[16];
    private long[] sequences;
    private Memory entries;

    /** The current entry; -1: none. */
    private int at = NONE;
    private int keyAt;
    private int keyLength;
    private int valueLength;
    private int end;

    /** A thread is in a call of the library on this cursor, or it is closed for good. */
    private volatile boolean busy;
    private volatile boolean isClosed;

    /** Outlives the object. */
    private static final class Held extends Leaks.Handle {
        private final long iter;

        Held(long iter) {
            super("a Cursor");
            this.iter = iter;
        }

        @Override
        void release() {
            LIB.lsm_iter_close(iter);
        }
    }

    private Cursor(Store store, long iter, ReadOptions options) {
        this.store = store;
        // The default is cut to what a pooled block holds.
        this.chunkMax = options.chunk() == ReadOptions.CHUNK_DEFAULT ? Memory.ROOM : options.chunk();
        this.hasSequences = options.hasSequences() || chunkMax == 0;
        this.held = new Held(iter);
        held.track(this);
        memory = Memory.take(0);
        bytes = memory.bytes;
    }

    static Cursor open(Store store, long keyspace, ReadOptions options) {
        Memory call = Memory.take(options.boundBytes());
        try {
            long struct = options.isDefault() ? 0 : call.readWithBounds(options);
            call.check(LIB.lsm_iter_open(keyspace, struct, call.out1(), call.err()));
            return new Cursor(store, call.bytes.getLong(OUT1), options);
        } finally {
            call.give();
        }
    }

    /** The keyspace that it walks over. */
    public Store store() {
        return store;
    }

    /** Goes to the next entry; false at the end. */
    public boolean next() {
        return step(FORWARD);
    }

    /** Goes to the entry before; false at the beginning. */
    public boolean previous() {
        return step(BACKWARD);
    }

    private boolean step(int way) {
        if (way == direction) {
            if (at + 1 < count) {
                at++;
                load(end);
                return true;
            }
            return fetch(way);
        }
        return stepAgainst(way);
    }

    /** A step that does not go the way the chunk was read. */
    private boolean stepAgainst(int way) {
        if (at > 0) {
            at--;
            load(starts[at]);
            return true;
        }
        // Without a chunk the iterator stands where the cursor stands. With one it stands at its far end, or behind that
        // when the chunk has the last entry of all.
        if (direction == NONE) {
            return fetch(way);
        }
        enter();
        try {
            return seek(way == FORWARD ? Seek.GT : Seek.LT, memory.address + keyAt, keyLength, memory);
        } finally {
            leave();
        }
    }

    /** Goes to the first entry; false when there is none. */
    public boolean first() {
        return seek(Seek.FIRST, new byte[0]);
    }

    /** Goes to the last entry; false when there is none. */
    public boolean last() {
        return seek(Seek.LAST, new byte[0]);
    }

    /**
     * Goes to the entry that {@code where} and the key name; false when there is none. Then the cursor is past the end (GE
     * and GT) or before the beginning (LE and LT). Bounds and prefix hold.
     */
    public boolean seek(Seek where, byte[] key) {
        Objects.requireNonNull(where, "where");
        Memory call = Memory.take(key.length);
        try {
            call.bytes.put(DATA, key);
            enter();
            try {
                return seek(where, call.data(), key.length, call);
            } finally {
                leave();
            }
        } finally {
            call.give();
        }
    }

    private boolean seek(Seek where, long key, long keyBytes, Memory call) {
        Lsm db = store.database();
        int look = db.beginLook();
        try {
            return arrive(call.check(LIB.lsm_iter_seek(held.iter, where.ordinal(), key, keyBytes, call.address + ENTRY,
                    call.err())), call);
        } finally {
            db.endLook(look);
        }
    }

    /** Takes the one entry that a seek left in {@code call}. A failure before leaves everything as it was. */
    private boolean arrive(int code, Memory call) {
        room = CHUNK_FIRST;
        direction = NONE;
        count = 0;
        at = NONE;
        if (code == END) {
            return false;
        }
        long sequence = call.bytes.getLong(ENTRY + 32);
        ByteBuffer entry = call.bytes;
        long keyFrom = entry.getLong(ENTRY);
        long keyBytes = entry.getLong(ENTRY + 8);
        long valueFrom = entry.getLong(ENTRY + 16);
        long valueBytes = entry.getLong(ENTRY + 24);
        grow(8 + keyBytes + valueBytes);
        copy(DATA, keyFrom, keyBytes, valueFrom, valueBytes);
        if (hasSequences) {
            sequences(1)[0] = sequence;
        }
        return show(1);
    }

    private boolean show(int entries) {
        count = entries;
        if (starts.length < entries) {
            starts = new int[entries];
        }
        at = 0;
        load(DATA);
        return true;
    }

    private void load(int start) {
        starts[at] = start;
        keyAt = start + 8;
        keyLength = bytes.getInt(start);
        valueLength = bytes.getInt(start + 4);
        end = keyAt + keyLength + valueLength;
    }

    /** Fetches the next chunk. A failure leaves the iterator's position, and the cursor on no entry. */
    private boolean fetch(int way) {
        enter();
        try {
            direction = NONE;
            count = 0;
            at = NONE;
            int got = hasSequences ? lookAtEntries(way) : readPacked(way);
            if (got == 0) { // past that end, and so is the iterator
                return false;
            }
            direction = way;
            return show(got);
        } finally {
            leave();
        }
    }

    private int readPacked(int way) {
        int wanted = Math.min(room, chunkMax);
        grow(wanted);
        int code = readPacked(way, wanted);
        if (code == TRUNCATED) {
            long needed = bytes.getLong(OUT1);
            grow(needed);
            code = readPacked(way, needed);
        }
        room = (int) Math.min((long) room * CHUNK_GROWTH, chunkMax);
        return code == END ? 0 : bytes.getInt(OUT2);
    }

    private int readPacked(int way, long capacity) {
        return memory.check(LIB.lsm_iter_read_packed(held.iter, way, memory.data(), capacity, memory.out1(),
                memory.out2(), memory.err()));
    }

    private int lookAtEntries(int way) {
        Lsm db = store.database();
        int look = db.beginLook();
        try {
            return readEntries(way);
        } finally {
            db.endLook(look);
        }
    }

    /** One entry or many with their sequence numbers; the library's pointers are followed before its next call or close. */
    private int readEntries(int way) {
        int max = chunkMax == 0 ? 1 : room == CHUNK_FIRST ? ENTRIES_MAX / 8 : ENTRIES_MAX;
        if (entries == null) {
            entries = Memory.managed((long) ENTRY_SIZE * (chunkMax == 0 ? 1 : ENTRIES_MAX));
        }
        int code;
        int got = 1;
        if (max > 1) {
            code = entries.check(LIB.lsm_iter_read(held.iter, way, entries.data(), max, entries.out1(), entries.err()));
            got = (int) entries.bytes.getLong(OUT1);
            room = chunkMax;
        } else if (way == FORWARD) {
            code = entries.check(LIB.lsm_iter_next(held.iter, entries.data(), entries.err()));
        } else {
            code = entries.check(LIB.lsm_iter_prev(held.iter, entries.data(), entries.err()));
        }
        return code == END ? 0 : copyEntries(got);
    }

    private int copyEntries(int got) {
        ByteBuffer list = entries.bytes;
        long total = 0;
        for (int i = 0; i < got; i++) {
            int entry = DATA + i * ENTRY_SIZE;
            total += 8 + list.getLong(entry + 8) + list.getLong(entry + 24);
        }
        grow(total);
        long[] numbers = sequences(got);
        int to = DATA;
        for (int i = 0; i < got; i++) {
            int entry = DATA + i * ENTRY_SIZE;
            to = copy(to, list.getLong(entry), list.getLong(entry + 8), list.getLong(entry + 16), list.getLong(entry + 24));
            numbers[i] = list.getLong(entry + 32);
        }
        return got;
    }

    private int copy(int to, long key, long keyBytes, long value, long valueBytes) {
        bytes.putInt(to, (int) keyBytes);
        bytes.putInt(to + 4, (int) valueBytes);
        int next = to + 8;
        if (keyBytes > 0) {
            bytes.put(next, LIB.view(key, keyBytes), 0, (int) keyBytes);
        }
        next += (int) keyBytes;
        if (valueBytes > 0) {
            bytes.put(next, LIB.view(value, valueBytes), 0, (int) valueBytes);
        }
        return next + (int) valueBytes;
    }

    private long[] sequences(int entries) {
        if (sequences == null || sequences.length < entries) {
            sequences = new long[Math.max(entries, 1)];
        }
        return sequences;
    }

    /** Makes room behind DATA; what the chunk holds is lost. */
    private void grow(long wanted) {
        if (wanted > memory.room()) {
            Memory larger = Memory.managed(Math.max(wanted, Math.min(2L * memory.room(), Integer.MAX_VALUE / 2)));
            memory.give();
            memory = larger;
            bytes = larger.bytes;
        }
    }

    /** Whether it stands on an entry. */
    public boolean isValid() {
        return at >= 0;
    }

    /** A copy of the key. */
    public byte[] key() {
        here();
        byte[] copy = new byte[keyLength];
        bytes.get(keyAt, copy);
        return copy;
    }

    /** A copy of the value; empty with {@link ReadOptions#keysOnly}. */
    public byte[] value() {
        here();
        byte[] copy = new byte[valueLength];
        bytes.get(keyAt + keyLength, copy);
        return copy;
    }

    /** How many bytes the key has. */
    public int keyLength() {
        here();
        return keyLength;
    }

    /** How many bytes the value has; 0 with {@link ReadOptions#keysOnly}. */
    public int valueLength() {
        here();
        return valueLength;
    }

    /** The key itself, read-only, good until the next move. */
    public ByteBuffer keyBuffer() {
        here();
        return bytes.slice(keyAt, keyLength).asReadOnlyBuffer();
    }

    /** The value itself, read-only, good until the next move. */
    public ByteBuffer valueBuffer() {
        here();
        return bytes.slice(keyAt + keyLength, valueLength).asReadOnlyBuffer();
    }

    /** The key as {@code MemorySegment} (Java 22 and later, FFM) or {@code ByteBuffer}, good until the next move. */
    public <T> T keyAs(Class<T> type) {
        return LIB.as(keyBuffer(), type);
    }

    /** The value in the same way. */
    public <T> T valueAs(Class<T> type) {
        return LIB.as(valueBuffer(), type);
    }

    /** The sequence number of the write that is shown; needs {@link ReadOptions#sequences}. */
    public long sequence() {
        here();
        if (!hasSequences) {
            throw LsmException.invalid("the cursor was opened without ReadOptions.sequences()");
        }
        return sequences[at];
    }

    private void here() {
        if (at < 0) {
            throw isClosed ? LsmException.closed("the cursor") : new NoSuchElementException("the cursor stands on no entry");
        }
    }

    /** Makes it as if newly opened, over the newest state: a snapshot is dropped, bounds and prefix stay. */
    public void refresh() {
        enter();
        try {
            memory.check(LIB.lsm_iter_refresh(held.iter, memory.err()));
            direction = NONE;
            count = 0;
            at = NONE;
            room = CHUNK_FIRST;
        } finally {
            leave();
        }
    }

    private void enter() {
        if (!BUSY.compareAndSet(this, false, true)) {
            throw isClosed ? LsmException.closed("the cursor")
                    : LsmException.of(Code.BUSY.number(), 0, 1, "another thread is in a call on the cursor");
        }
    }

    private void leave() {
        BUSY.setRelease(this, false);
        Reference.reachabilityFence(this);
    }

    /** Gives it back. A second close does nothing; one while another thread moves it is {@link LsmException.Busy}. */
    @Override
    public void close() {
        if (isClosed) {
            return;
        }
        enter(); // and never leaves
        isClosed = true;
        at = NONE;
        count = 0;
        direction = NONE;
        held.close();
        memory.give();
    }
}
