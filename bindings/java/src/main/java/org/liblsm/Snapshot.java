package org.liblsm;

import static org.liblsm.Library.LIB;

import java.lang.ref.Reference;

/**
 * The database as it was at one moment. Give it to reads with {@link ReadOptions#snapshot}. It keeps old versions from
 * being dropped, so close it soon; cursors opened with it go on. Any number of threads at once.
 */
public final class Snapshot implements AutoCloseable {
    private final Lsm db;
    private final Held held;
    private volatile long handle;

    /** Outlives the object. */
    private static final class Held extends Leaks.Handle {
        private final long snapshot;

        Held(long snapshot) {
            super("a Snapshot");
            this.snapshot = snapshot;
        }

        @Override
        void release() {
            LIB.lsm_snapshot_release(snapshot);
        }
    }

    Snapshot(Lsm db, long handle) {
        this.db = db;
        this.handle = handle;
        this.held = new Held(handle);
        held.track(this);
    }

    /** The sequence number of the last write that it sees; 0 when it or the database is closed. */
    public long sequence() {
        long open = handle;
        try {
            return open == 0 ? 0 : LIB.lsm_snapshot_sequence(open);
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** The database that it belongs to. */
    public Lsm database() {
        return db;
    }

    long handle() {
        long open = handle;
        if (open == 0) {
            throw LsmException.closed("the snapshot");
        }
        return open;
    }

    @Override
    public void close() {
        handle = 0;
        held.close();
    }
}
