package org.liblsm;

import static org.liblsm.Library.LIB;

/**
 * An ordered set of keys of its own inside a database, with options of its own. Any number of threads at once. Closing it
 * gives the handle back; the data stay. The default keyspace is the {@link Lsm} itself.
 */
public final class Keyspace extends Store implements AutoCloseable {
    private final Lsm db;
    private final String name;
    private final Held held;

    /** Outlives the object. */
    private static final class Held extends Leaks.Handle {
        private final long keyspace;

        Held(long keyspace, String name) {
            super("the Keyspace " + name);
            this.keyspace = keyspace;
        }

        @Override
        void release() {
            LIB.lsm_keyspace_release(keyspace);
        }
    }

    Keyspace(Lsm db, String name, long handle) {
        super(handle);
        this.db = db;
        this.name = name;
        this.held = new Held(handle, name);
        held.track(this);
    }

    @Override
    public Lsm database() {
        return db;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    long scope() {
        return open();
    }

    @Override
    public void close() {
        handle = 0;
        held.close();
    }
}
