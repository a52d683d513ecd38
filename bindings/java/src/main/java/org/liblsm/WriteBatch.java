package org.liblsm;

import static org.liblsm.Library.LIB;
import static org.liblsm.Memory.DATA;
import static org.liblsm.Memory.OUT1;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Puts and deletes that are written as a whole with {@link Lsm#write}: a crash or a reader sees all of them or none. They
 * are encoded here, in Java, and cross into the library in one call; one for each keyspace when there are several. A batch
 * may be written again, or cleared and filled anew. One thread at a time, which may change; a second one gets
 * {@link LsmException.Busy}.
 */
public final class WriteBatch implements AutoCloseable {
    /** The value length that means "delete". */
    private static final int DELETE = -1;
    private static final int HEAD = 8;

    private final Lsm db;
    private final List<Part> parts = new ArrayList<>(1);
    private final AtomicBoolean busy = new AtomicBoolean();
    private Part current;
    private boolean isClosed;

    /** The operations on one keyspace: {@code {u32 klen, u32 vlen, key, value}*} from DATA to {@code end}. */
    private static final class Part {
        final Store store;
        final long keyspace;
        Memory memory = Memory.take(0);
        ByteBuffer bytes = memory.bytes;
        int end = DATA;
        int count;

        Part(Store store, long keyspace) {
            this.store = store;
            this.keyspace = keyspace;
        }

        /** Room for so many bytes more. */
        void reserve(long wanted) {
            long needed = end - DATA + wanted;
            if (needed <= memory.room()) {
                return;
            }
            Memory larger = Memory.managed(Math.max(needed, Math.min(2L * memory.room(), Integer.MAX_VALUE / 2)));
            larger.bytes.put(DATA, bytes, DATA, end - DATA);
            memory.give();
            memory = larger;
            bytes = larger.bytes;
        }
    }

    WriteBatch(Lsm db) {
        this.db = db;
    }

    /** Adds a put into the default keyspace. */
    public WriteBatch put(byte[] key, byte[] value) {
        return put(db, key, value);
    }

    /** Adds a put into a keyspace of the same database. */
    public WriteBatch put(Store store, byte[] key, byte[] value) {
        enter();
        try {
            Part part = part(store);
            part.reserve((long) HEAD + key.length + value.length);
            int at = part.end;
            part.bytes.putInt(at, key.length);
            part.bytes.putInt(at + 4, value.length);
            part.bytes.put(at + HEAD, key);
            part.bytes.put(at + HEAD + key.length, value);
            part.end = at + HEAD + key.length + value.length;
            part.count++;
            return this;
        } finally {
            busy.setRelease(false);
        }
    }

    /** Adds a delete in the default keyspace. */
    public WriteBatch delete(byte[] key) {
        return delete(db, key);
    }

    /** Adds a delete in a keyspace of the same database. */
    public WriteBatch delete(Store store, byte[] key) {
        enter();
        try {
            Part part = part(store);
            part.reserve((long) HEAD + key.length);
            int at = part.end;
            part.bytes.putInt(at, key.length);
            part.bytes.putInt(at + 4, DELETE);
            part.bytes.put(at + HEAD, key);
            part.end = at + HEAD + key.length;
            part.count++;
            return this;
        } finally {
            busy.setRelease(false);
        }
    }

    private Part part(Store store) {
        Part part = current;
        return part != null && part.store == store ? part : switchTo(store);
    }

    private Part switchTo(Store store) {
        if (store.database() != db) {
            throw LsmException.invalid("keyspace " + store.name() + " belongs to another database than the batch");
        }
        long keyspace = store.open();
        // Two objects may stand for one keyspace: the order of its operations must hold.
        for (Part part : parts) {
            if (part.keyspace == keyspace) {
                current = part;
                return part;
            }
        }
        current = new Part(store, keyspace);
        parts.add(current);
        return current;
    }

    /** How many operations it has. */
    public int count() {
        int count = 0;
        for (Part part : parts) {
            count += part.count;
        }
        return count;
    }

    /** How many bytes the operations take, encoded. */
    public long bytes() {
        long bytes = 0;
        for (Part part : parts) {
            bytes += part.end - DATA;
        }
        return bytes;
    }

    /** Forgets all operations and keeps the memory. */
    public void clear() {
        enter();
        try {
            for (Part part : parts) {
                part.end = DATA;
                part.count = 0;
            }
        } finally {
            busy.setRelease(false);
        }
    }

    /** Writes it; gives the sequence number of its last operation. */
    long write(Lsm to, WriteOptions options) {
        if (to != db) {
            throw LsmException.invalid("the batch belongs to another database, " + db.path());
        }
        enter();
        try {
            Part only = null;
            int filled = 0;
            for (Part part : parts) {
                if (part.count > 0) {
                    only = part;
                    filled++;
                }
            }
            return filled == 0 ? db.committed() : filled == 1 ? writePacked(only, options) : writeParts(options);
        } finally {
            busy.setRelease(false);
            Reference.reachabilityFence(db);
        }
    }

    private static long writePacked(Part part, WriteOptions options) {
        Memory memory = part.memory;
        memory.check(LIB.lsm_write_packed(part.store.open(), memory.write(options), memory.data(), part.end - DATA,
                memory.out1(), memory.err()));
        return memory.bytes.getLong(OUT1);
    }

    private long writeParts(WriteOptions options) {
        Memory call = Memory.take(0);
        try {
            call.check(LIB.lsm_batch_new(db.db(), call.out1(), call.err()));
            long batch = call.bytes.getLong(OUT1);
            try {
                for (Part part : parts) {
                    call.check(LIB.lsm_batch_append_packed(batch, part.store.open(), part.memory.data(), part.end - DATA,
                            call.err()));
                }
                call.check(LIB.lsm_write(db.db(), call.write(options), batch, call.out1(), call.err()));
                return call.bytes.getLong(OUT1);
            } finally {
                LIB.lsm_batch_free(batch);
            }
        } finally {
            call.give();
        }
    }

    /** Keeps a second thread out: it would mix its bytes into what the first one encodes. */
    private void enter() {
        if (!busy.compareAndSet(false, true)) {
            throw LsmException.of(Code.BUSY.number(), 0, 1, "another thread is in a call on the batch");
        }
        if (isClosed) {
            busy.setRelease(false);
            throw LsmException.closed("the batch");
        }
    }

    /** Gives its memory back for others to use. It holds nothing else, so one that is not closed leaks nothing. */
    @Override
    public void close() {
        if (!busy.compareAndSet(false, true)) {
            throw LsmException.of(Code.BUSY.number(), 0, 1, "another thread is in a call on the batch");
        }
        try {
            isClosed = true;
            current = null;
            for (Part part : parts) {
                part.memory.give();
            }
            parts.clear();
        } finally {
            busy.setRelease(false);
        }
    }
}
