package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.liblsm.Fixture.bytes;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;

/** Many threads at once, of both kinds; nothing is bound to one. */
class ThreadsTest {
    @TempDir
    Path folder;

    /** Each task has keys of its own, writes them alone and in batches, and reads all back in every way. */
    private void work(Lsm db, int task, int keys) {
        try (WriteBatch batch = db.batch()) {
            List<byte[]> names = new ArrayList<>();
            for (int i = 0; i < keys; i++) {
                byte[] name = bytes(String.format("%06d/%04d", task, i));
                names.add(name);
                if (i % 2 == 0) {
                    db.put(name, value(task, i));
                } else {
                    batch.put(name, value(task, i));
                }
            }
            db.write(batch);
            byte[][] many = db.multiGet(names);
            try (Cursor c = db.prefix(bytes(String.format("%06d/", task)))) {
                for (int i = 0; i < keys; i++) {
                    assertArrayEquals(value(task, i), db.get(names.get(i)));
                    assertArrayEquals(value(task, i), many[i]);
                    assertTrue(c.next());
                    assertArrayEquals(names.get(i), c.key());
                    assertArrayEquals(value(task, i), c.value());
                }
                assertFalse(c.next());
            }
            try (Pinned pin = db.getPinned(names.get(0))) {
                assertArrayEquals(value(task, 0), pin.bytes());
            }
        }
    }

    private static byte[] value(int task, int i) {
        return bytes(("value " + task + " " + i + " ").repeat(1 + i % 7));
    }

    private void run(ExecutorService threads, int tasks, int keys) throws Exception {
        try (Lsm db = Fixture.open(folder)) {
            List<Future<?>> futures = new ArrayList<>();
            for (int i = 0; i < tasks; i++) {
                int task = i;
                futures.add(threads.submit(() -> work(db, task, keys)));
            }
            for (Future<?> future : futures) {
                future.get(120, TimeUnit.SECONDS);
            }
            int seen = 0;
            try (Cursor c = db.cursor()) {
                while (c.next()) {
                    seen++;
                }
            }
            assertEquals(tasks * keys, seen);
        } finally {
            threads.shutdownNow();
        }
    }

    @Test
    void platformThreadsShareADatabase() throws Exception {
        run(Executors.newFixedThreadPool(16), 64, 200);
    }

    static boolean hasVirtualThreads() {
        return Runtime.version().feature() >= 21;
    }

    @Test
    @EnabledIf(value = "hasVirtualThreads", disabledReason = "Java 17 to 20 has no virtual threads")
    void thousandsOfVirtualThreadsShareADatabase() throws Exception {
        run((ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null), 3000, 10);
    }

    @Test
    void aCursorAndABatchMayMoveBetweenThreads() throws Exception {
        try (Lsm db = Fixture.open(folder); WriteBatch batch = db.batch(); Snapshot snapshot = db.snapshot()) {
            ExecutorService one = Executors.newSingleThreadExecutor();
            ExecutorService two = Executors.newSingleThreadExecutor();
            for (int i = 0; i < 1000; i++) {
                byte[] key = bytes(String.format("%04d", i));
                (i % 2 == 0 ? one : two).submit(() -> batch.put(key, key)).get();
            }
            one.submit(() -> db.write(batch)).get();
            Cursor cursor = two.submit(() -> db.cursor(ReadOptions.DEFAULT.chunk(100))).get();
            for (int i = 0; i < 1000; i++) {
                assertTrue((i % 2 == 0 ? one : two).submit(cursor::next).get());
                assertArrayEquals(bytes(String.format("%04d", i)), cursor.key());
            }
            one.submit(cursor::close).get();
            assertEquals(0, two.submit(() -> snapshot.sequence()).get());
            one.shutdown();
            two.shutdown();
        }
    }

    @Test
    void closingUnderFireEndsInClosedAndNothingElse() throws Exception {
        AtomicInteger strange = new AtomicInteger();
        for (int round = 0; round < 5; round++) {
            Lsm db = Fixture.open(folder);
            AtomicBoolean end = new AtomicBoolean();
            List<Thread> threads = new ArrayList<>();
            for (int t = 0; t < 8; t++) {
                int id = t;
                Thread thread = new Thread(() -> {
                    try {
                        for (int i = 0; !end.get(); i++) {
                            byte[] key = bytes(id + "/" + i % 1000);
                            db.put(key, key);
                            db.get(key);
                            try (Cursor c = db.cursor(); Snapshot s = db.snapshot()) {
                                c.seek(Seek.GE, key);
                                db.get(key, ReadOptions.DEFAULT.snapshot(s));
                            }
                        }
                    } catch (LsmException.Closed e) {
                        // as it must be
                    } catch (Throwable e) {
                        e.printStackTrace();
                        strange.incrementAndGet();
                    }
                });
                threads.add(thread);
                thread.start();
            }
            Thread.sleep(100);
            db.close();
            end.set(true);
            for (Thread thread : threads) {
                thread.join(60_000);
                assertFalse(thread.isAlive());
            }
        }
        assertEquals(0, strange.get());
    }

    /** What a seek shows belongs to the iterator, which a close of the database empties: it must wait for the copy. */
    @Test
    void closingWhileCursorsLookHarmsNobody() throws Exception {
        AtomicInteger strange = new AtomicInteger();
        for (int round = 0; round < 20; round++) {
            Lsm db = Fixture.open(folder);
            for (int i = 0; i < 9; i++) {
                db.put(bytes("key" + i), new byte[400_000]); // long to copy
            }
            List<Thread> threads = new ArrayList<>();
            for (int t = 0; t < 4; t++) {
                ReadOptions options = t % 2 == 0 ? ReadOptions.DEFAULT : ReadOptions.DEFAULT.sequences();
                Thread thread = new Thread(() -> {
                    try (Cursor c = db.cursor(options)) {
                        for (int i = 0; ; i++) {
                            if (!c.seek(Seek.GE, bytes("key" + i % 8)) || c.value().length != 400_000 || !c.next()) {
                                strange.incrementAndGet();
                            }
                        }
                    } catch (LsmException.Closed e) {
                        // as it must be
                    } catch (Throwable e) {
                        e.printStackTrace();
                        strange.incrementAndGet();
                    }
                });
                threads.add(thread);
                thread.start();
            }
            Thread.sleep(5 + round % 10);
            db.close();
            for (Thread thread : threads) {
                thread.join(60_000);
                assertFalse(thread.isAlive());
            }
        }
        assertEquals(0, strange.get());
    }
}
