package org.liblsm;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * What nobody closed. Each object that holds something native is tracked by a {@link Handle}; when the garbage collector
 * finds the object before anyone closed it, the native side is released all the same and a line tells of it.
 */
final class Leaks {
    static final Cleaner CLEANER = Cleaner.create();
    /** {@code -Dliblsm.leaks=trace} remembers where each object was made; it costs a stack trace each. */
    private static final boolean TRACES = "trace".equals(System.getProperty("liblsm.leaks"));

    private static final AtomicLong COUNT = new AtomicLong();
    private static volatile Consumer<String> listener = Leaks::log;

    private Leaks() {}

    static void listener(Consumer<String> consumer) {
        listener = consumer == null ? Leaks::log : consumer;
    }

    static long count() {
        return COUNT.get();
    }

    private static void log(String line) {
        System.getLogger("org.liblsm").log(System.Logger.Level.WARNING, line);
    }

    /** Must not refer to the object that it is tracked for, or that is never found. */
    abstract static class Handle implements Runnable {
        private final String what;
        private final Throwable made;
        private volatile boolean isClosed;
        private Cleaner.Cleanable cleanable;

        Handle(String what) {
            this.what = what;
            this.made = TRACES ? new Throwable("made here") : null;
        }

        final void track(Object owner) {
            cleanable = CLEANER.register(owner, this);
        }

        /** Gives the native side back. Called once. */
        abstract void release();

        /** Releases unless it is done; the first call decides. */
        final void close() {
            isClosed = true;
            cleanable.clean();
        }

        @Override
        public final void run() {
            if (!isClosed) {
                report();
            }
            release();
        }

        private void report() {
            COUNT.incrementAndGet();
            StringBuilder line = new StringBuilder(what).append(" was never closed");
            if (made != null) {
                for (StackTraceElement element : made.getStackTrace()) {
                    line.append("\n\tat ").append(element);
                }
            }
            try {
                listener.accept(line.toString());
            } catch (RuntimeException e) {
                log("the leak listener threw " + e);
            }
        }
    }
}
