package org.liblsm;

import static org.liblsm.Library.LIB;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;

/**
 * A value that was read without copying it: the bytes are the library's own. They stay readable until {@link #close},
 * whatever happens to the key or the database. Any number of threads at once.
 *
 * <p>With FFM a view that is used after the close throws {@link IllegalStateException}. With JNA it stays readable, and the
 * value is given back when the garbage collector has found every view.
 */
public final class Pinned implements AutoCloseable {
    private final Held held;

    /** Outlives the object. */
    private static final class Held extends Leaks.Handle {
        private final long value;
        private final long data;
        private final int length;
        private Library.Scope scope;
        private boolean isDone;

        Held(long value, long data, long length) {
            super("a Pinned value");
            this.value = value;
            this.data = data;
            this.length = Math.toIntExact(length);
        }

        synchronized ByteBuffer buffer() {
            if (isDone) {
                throw LsmException.closed("the pinned value");
            }
            if (scope == null) {
                scope = LIB.scope(data, length);
            }
            return scope.buffer();
        }

        synchronized byte[] copy() {
            if (isDone) {
                throw LsmException.closed("the pinned value");
            }
            byte[] copy = new byte[length];
            LIB.view(data, length).get(0, copy);
            return copy;
        }

        /** Throws, and changes nothing, while another thread has the view in a system call. */
        synchronized void end() {
            if (isDone) {
                return;
            }
            long pinned = value;
            if (scope == null) {
                LIB.lsm_value_release(pinned);
            } else {
                scope.close(() -> LIB.lsm_value_release(pinned));
            }
            scope = null;
            isDone = true;
        }

        @Override
        void release() {
            end();
        }
    }

    Pinned(long value, long data, long length) {
        held = new Held(value, data, length);
        held.track(this);
    }

    /** How many bytes it has. */
    public int length() {
        return held.length;
    }

    /** A copy. */
    public byte[] bytes() {
        try {
            return held.copy();
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** The bytes themselves, read-only. */
    public ByteBuffer buffer() {
        try {
            return held.buffer().duplicate();
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** The bytes themselves as {@code MemorySegment} (Java 22 and later, FFM) or {@code ByteBuffer}; a copy as {@code byte[]}. */
    public <T> T as(Class<T> type) {
        return LIB.as(buffer(), type);
    }

    /** Gives the value back. A second close does nothing. */
    @Override
    public void close() {
        held.end();
        held.close();
    }
}
