package org.liblsm;

import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * From the library's log callback to a consumer, by a queue and a thread: the library's threads only copy the line, so a
 * slow consumer delays nobody, and it may call the database. A full queue drops lines and says how many.
 */
final class Logs implements Runnable {
    private static final int QUEUE = 4096;
    private static final long POLL_MILLIS = 100;
    private static final Map<Long, Logs> OPEN = new ConcurrentHashMap<>();
    private static final AtomicLong IDS = new AtomicLong();

    private final ArrayBlockingQueue<LogLine> queue = new ArrayBlockingQueue<>(QUEUE);
    private final AtomicLong lost = new AtomicLong();
    private final Consumer<LogLine> consumer;
    private final Thread thread;
    private volatile boolean isEnded;
    /** Of the thread's own. */
    private boolean hasThrown;

    private Logs(Consumer<LogLine> consumer, long id) {
        this.consumer = consumer;
        this.thread = new Thread(this, "lsm-log-" + id);
        thread.setDaemon(true);
    }

    /** Registers a consumer; the number is the {@code ctx} that the library gives back. */
    static long open(Consumer<LogLine> consumer) {
        long id = IDS.incrementAndGet();
        Logs logs = new Logs(consumer, id);
        OPEN.put(id, logs);
        logs.thread.start();
        return id;
    }

    /** Called from a thread of the library, perhaps: nothing may be thrown. */
    static void log(long id, int level, long message) {
        try {
            Logs logs = OPEN.get(id);
            if (logs != null) {
                LogLine.Level[] levels = LogLine.Level.values();
                LogLine line = new LogLine(levels[Math.max(0, Math.min(level, levels.length - 1))], Library.LIB.string(message));
                if (!logs.queue.offer(line)) {
                    logs.lost.incrementAndGet();
                }
            }
        } catch (Throwable e) {
            // A log line is not worth the process.
        }
    }

    /** Nobody logs under that number any more; what is queued is still delivered. */
    static void drop(long id) {
        try {
            Logs logs = OPEN.remove(id);
            if (logs != null) {
                logs.isEnded = true;
            }
        } catch (Throwable e) {
            // As above.
        }
    }

    @Override
    public void run() {
        while (true) {
            boolean mayEnd = isEnded;
            LogLine line = next();
            if (line != null) {
                deliver(line);
            } else if (mayEnd) {
                return;
            }
            long gone = lost.getAndSet(0);
            if (gone > 0) {
                deliver(new LogLine(LogLine.Level.WARN, gone + " log lines lost: the consumer is too slow"));
            }
        }
    }

    private LogLine next() {
        try {
            return queue.poll(POLL_MILLIS, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            return null; // nobody but the consumer can have asked; the thread ends with its database
        }
    }

    private void deliver(LogLine line) {
        try {
            consumer.accept(line);
        } catch (Throwable e) {
            if (!hasThrown) {
                hasThrown = true;
                System.getLogger("org.liblsm").log(System.Logger.Level.WARNING, "the log consumer threw, told once: " + e, e);
            }
        }
    }
}
