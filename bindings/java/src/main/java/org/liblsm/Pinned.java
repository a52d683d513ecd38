package org.liblsm;

import static org.liblsm.Library.LIB;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.function.Function;

/**
 * A value that was read without copying it: the bytes are the library's own. They stay readable until {@link #close},
 * whatever happens to the key or the database. Any number of threads at once.
 *
 * <p>{@link #read} lends a view for the time of a function, which is the cheapest way. {@link #buffer} and {@link #as} lend
 * one until the close, to any thread: with FFM such a view throws {@link IllegalStateException} afterwards, and the close
 * takes some microseconds longer, because the JVM has to make sure of that on all threads. With JNA a view stays readable,
 * and the value is given back when the garbage collector has found every view.
 */
public final class Pinned implements AutoCloseable {
    private final Held held;

    /** Outlives the object. */
    private static final class Held extends Leaks.Handle {
        private final long value;
        private final long data;
        private final int length;
        /** Who needs the value: the object itself until its close, and each scope. The last one gives it back. */
        private int holders = 1;
        private Library.Scope scope;
        private boolean isClosed;

        Held(long value, long data, long length) {
            super("a Pinned value");
            this.value = value;
            this.data = data;
            this.length = Math.toIntExact(length);
        }

        synchronized void hold() {
            if (isClosed) {
                throw LsmException.closed("the pinned value");
            }
            holders++;
        }

        synchronized void drop() {
            holders--;
            if (holders == 0) {
                LIB.lsm_value_release(value);
            }
        }

        synchronized ByteBuffer buffer() {
            hold();
            if (scope == null) {
                scope = LIB.scope(data, length);
            } else {
                drop();
            }
            return scope.buffer();
        }

        /** Throws, and changes nothing, while another thread has the view in a system call. */
        @Override
        synchronized void release() {
            if (isClosed) {
                return;
            }
            if (scope != null) {
                scope.close(this::drop);
                scope = null;
            }
            isClosed = true;
            drop();
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

    /**
     * What the function makes of the bytes, which it sees as a {@code MemorySegment} (Java 22 and later, FFM), a
     * {@code ByteBuffer} or a copy in a {@code byte[]}. The view ends with the function; a close meanwhile waits for it.
     */
    public <T, R> R read(Class<T> type, Function<? super T, ? extends R> function) {
        held.hold();
        Library.Scope scope = LIB.scopeOfThread(held.data, held.length);
        try {
            return function.apply(LIB.as(scope.buffer(), type));
        } finally {
            scope.close(held::drop);
            Reference.reachabilityFence(this);
        }
    }

    /** A copy. */
    public byte[] bytes() {
        held.hold();
        try {
            byte[] copy = new byte[held.length];
            LIB.view(held.data, held.length).get(0, copy);
            return copy;
        } finally {
            held.drop();
            Reference.reachabilityFence(this);
        }
    }

    /** The bytes themselves, read-only, until the close. */
    public ByteBuffer buffer() {
        try {
            return held.buffer().duplicate();
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** The same as {@code MemorySegment} (Java 22 and later, FFM) or {@code ByteBuffer}; a copy as {@code byte[]}. */
    public <T> T as(Class<T> type) {
        return LIB.as(buffer(), type);
    }

    /** Ends the views and gives the value back. A second close does nothing. */
    @Override
    public void close() {
        held.release();
        held.close();
    }
}
