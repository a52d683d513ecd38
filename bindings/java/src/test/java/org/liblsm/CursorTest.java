package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.liblsm.Fixture.bytes;
import static org.liblsm.Fixture.text;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Walks in both directions, against a sorted map. */
class CursorTest {
    @TempDir
    Path folder;

    private Lsm db;

    @BeforeEach
    void open() {
        db = Fixture.open(folder);
    }

    @AfterEach
    void close() {
        db.close();
    }

    private static String key(int number) {
        return String.format("%05d", number);
    }

    /** Even numbers, so that there are keys between. */
    private void fill(int count) {
        try (WriteBatch batch = db.batch()) {
            for (int i = 0; i < count; i++) {
                batch.put(bytes(key(2 * i)), bytes("value " + 2 * i));
            }
            db.write(batch);
        }
    }

    @Test
    void theSixSeeksGoWhereTheySay() {
        fill(10);
        try (Cursor c = db.cursor()) {
            assertTrue(c.seek(Seek.FIRST, new byte[0]));
            assertEquals(key(0), text(c.key()));
            assertTrue(c.seek(Seek.LAST, new byte[0]));
            assertEquals(key(18), text(c.key()));
            assertTrue(c.seek(Seek.GE, bytes(key(4))));
            assertEquals(key(4), text(c.key()));
            assertTrue(c.seek(Seek.GE, bytes(key(5))));
            assertEquals(key(6), text(c.key()));
            assertTrue(c.seek(Seek.GT, bytes(key(4))));
            assertEquals(key(6), text(c.key()));
            assertTrue(c.seek(Seek.LE, bytes(key(4))));
            assertEquals(key(4), text(c.key()));
            assertTrue(c.seek(Seek.LE, bytes(key(5))));
            assertEquals(key(4), text(c.key()));
            assertTrue(c.seek(Seek.LT, bytes(key(4))));
            assertEquals(key(2), text(c.key()));
            assertEquals("value 2", text(c.value()));
            assertTrue(c.first());
            assertEquals(key(0), text(c.key()));
            assertTrue(c.last());
            assertEquals(key(18), text(c.key()));
        }
    }

    @Test
    void aMissedSeekStandsPastThatEnd() {
        fill(10);
        try (Cursor c = db.cursor()) {
            assertFalse(c.seek(Seek.GT, bytes(key(18))));
            assertFalse(c.isValid());
            assertThrows(NoSuchElementException.class, c::key);
            assertFalse(c.next(), "it stays past the end");
            assertTrue(c.previous());
            assertEquals(key(18), text(c.key()));
            assertFalse(c.seek(Seek.LT, bytes(key(0))));
            assertFalse(c.previous());
            assertTrue(c.next());
            assertEquals(key(0), text(c.key()));
        }
    }

    @Test
    void aFreshCursorStandsNowhere() {
        fill(3);
        try (Cursor c = db.cursor()) {
            assertFalse(c.isValid());
            assertThrows(NoSuchElementException.class, c::value);
            assertTrue(c.next());
            assertEquals(key(0), text(c.key()));
        }
        try (Cursor c = db.cursor()) {
            assertTrue(c.previous());
            assertEquals(key(4), text(c.key()));
        }
    }

    @Test
    void boundsAndPrefixHoldInBothDirections() {
        fill(100);
        assertEquals(List.of(key(10), key(12), key(14)), forward(ReadOptions.DEFAULT.lower(bytes(key(9))).upper(bytes(key(16)))));
        assertEquals(List.of(key(14), key(12), key(10)), backward(ReadOptions.DEFAULT.lower(bytes(key(10))).upper(bytes(key(15)))));
        assertEquals(List.of(key(10), key(12), key(14), key(16), key(18)), forward(ReadOptions.DEFAULT.prefix(bytes("0001"))));
        assertEquals(List.of(key(18), key(16)), backward(ReadOptions.DEFAULT.prefix(bytes("0001")).lower(bytes(key(15)))));
        assertEquals(List.of(), forward(ReadOptions.DEFAULT.upper(new byte[0])), "nothing is below the empty key");
        assertEquals(100, forward(ReadOptions.DEFAULT.lower(null).upper(null).prefix(null)).size());
        try (Cursor c = db.range(bytes(key(10)), bytes(key(20)))) {
            assertTrue(c.seek(Seek.GE, bytes(key(0))), "a seek is cut to the bounds");
            assertEquals(key(10), text(c.key()));
            assertFalse(c.seek(Seek.GE, bytes(key(20))));
        }
        try (Cursor c = db.prefix(bytes("0001"))) {
            assertTrue(c.last());
            assertEquals(key(18), text(c.key()));
        }
    }

    private List<String> forward(ReadOptions options) {
        List<String> keys = new ArrayList<>();
        try (Cursor c = db.cursor(options)) {
            while (c.next()) {
                keys.add(text(c.key()));
            }
        }
        return keys;
    }

    private List<String> backward(ReadOptions options) {
        List<String> keys = new ArrayList<>();
        try (Cursor c = db.cursor(options)) {
            while (c.previous()) {
                keys.add(text(c.key()));
            }
        }
        return keys;
    }

    /** 0: one entry a call; small: many chunks and entries larger than one; the default. */
    @ParameterizedTest
    @ValueSource(ints = {0, 40, 700, ReadOptions.CHUNK_DEFAULT, 1 << 20})
    void aRandomWalkIsThatOfASortedMap(int chunk) {
        walk(ReadOptions.DEFAULT.chunk(chunk), chunk + 1);
        walk(ReadOptions.DEFAULT.chunk(chunk).sequences(), chunk + 2);
    }

    private void walk(ReadOptions options, long seed) {
        Random random = new Random(seed);
        NavigableMap<String, String> model = new TreeMap<>();
        for (int i = 0; i < 2000; i++) {
            db.delete(bytes(key(i)));
        }
        for (int i = 0; i < 1500; i++) {
            String key = key(random.nextInt(2000));
            if (random.nextInt(4) == 0) {
                db.delete(bytes(key));
                model.remove(key);
            } else {
                String value = "v".repeat(random.nextInt(100) == 0 ? 5000 : random.nextInt(40));
                db.put(bytes(key), bytes(value));
                model.put(key, value);
            }
        }
        try (Cursor c = db.cursor(options)) {
            String here = null;
            boolean isPastEnd = false;
            boolean isFresh = true;
            for (int step = 0; step < 4000; step++) {
                // Runs in one direction, turns, and seeks.
                Map.Entry<String, String> want;
                boolean found;
                int what = random.nextInt(100);
                if (what < 2) {
                    String target = key(random.nextInt(2000));
                    Seek where = Seek.values()[random.nextInt(6)];
                    found = c.seek(where, bytes(target));
                    want = target(model, where, target);
                    isPastEnd = where == Seek.GE || where == Seek.GT || where == Seek.FIRST;
                } else if (what < (step / 200 % 2 == 0 ? 90 : 12)) {
                    found = c.next();
                    want = here != null ? model.higherEntry(here) : isPastEnd && !isFresh ? null : model.firstEntry();
                    isPastEnd = true;
                } else {
                    found = c.previous();
                    want = here != null ? model.lowerEntry(here) : isPastEnd || isFresh ? model.lastEntry() : null;
                    isPastEnd = false;
                }
                isFresh = false;
                String context = "seed " + seed + " step " + step;
                assertEquals(want != null, found, context);
                assertEquals(found, c.isValid(), context);
                here = want == null ? null : want.getKey();
                if (found) {
                    assertEquals(want.getKey(), text(c.key()), context);
                    assertEquals(want.getValue(), text(c.value()), context);
                }
            }
        }
    }

    private static Map.Entry<String, String> target(NavigableMap<String, String> model, Seek where, String key) {
        return switch (where) {
            case FIRST -> model.firstEntry();
            case LAST -> model.lastEntry();
            case GE -> model.ceilingEntry(key);
            case GT -> model.higherEntry(key);
            case LE -> model.floorEntry(key);
            case LT -> model.lowerEntry(key);
        };
    }

    @Test
    void valuesLargerThanAChunkComeWhole() {
        Random random = new Random(5);
        byte[][] values = new byte[5][];
        for (int i = 0; i < values.length; i++) {
            values[i] = new byte[i % 2 == 0 ? 10 : 500_000 * i];
            random.nextBytes(values[i]);
            db.put(bytes(key(i)), values[i]);
        }
        for (ReadOptions options : List.of(ReadOptions.DEFAULT, ReadOptions.DEFAULT.sequences(), ReadOptions.DEFAULT.chunk(0))) {
            try (Cursor c = db.cursor(options)) {
                for (byte[] value : values) {
                    assertTrue(c.next());
                    assertArrayEquals(value, c.value());
                }
                for (int i = values.length - 2; i >= 0; i--) {
                    assertTrue(c.previous());
                    assertArrayEquals(values[i], c.value());
                }
                assertTrue(c.seek(Seek.GE, bytes(key(3))));
                assertArrayEquals(values[3], c.value());
            }
        }
    }

    @Test
    void viewsShowTheEntryWithoutACopy() {
        fill(50);
        try (Cursor c = db.cursor()) {
            int sum = 0;
            while (c.next()) {
                ByteBuffer key = c.keyBuffer();
                byte[] copy = new byte[key.remaining()];
                key.get(copy);
                assertArrayEquals(c.key(), copy);
                assertEquals(c.key().length, c.keyLength());
                assertEquals(c.value().length, c.valueLength());
                assertArrayEquals(c.value(), c.valueAs(byte[].class));
                assertEquals(ByteBuffer.wrap(c.value()), c.valueAs(ByteBuffer.class));
                assertTrue(key.isReadOnly() && key.isDirect());
                sum++;
            }
            assertEquals(50, sum);
            assertTrue(c.first());
            assertThrows(UnsupportedOperationException.class, () -> c.keyAs(String.class));
        }
    }

    @Test
    void keysOnlyShowsNoValues() {
        fill(5);
        try (Cursor c = db.cursor(ReadOptions.DEFAULT.keysOnly())) {
            assertTrue(c.next());
            assertEquals(key(0), text(c.key()));
            assertEquals(0, c.valueLength());
            assertTrue(c.seek(Seek.GE, bytes(key(3))));
            assertEquals(0, c.value().length);
        }
        assertEquals("value 0", text(db.get(bytes(key(0)), ReadOptions.DEFAULT.keysOnly())));
    }

    @Test
    void sequencesAreThoseOfTheWrites() {
        long[] wrote = new long[200];
        try (WriteBatch batch = db.batch()) {
            for (int i = 0; i < wrote.length; i++) {
                batch.clear();
                wrote[i] = db.write(batch.put(bytes(key(i)), bytes("v")));
            }
        }
        for (int chunk : new int[] {0, ReadOptions.CHUNK_DEFAULT}) {
            try (Cursor c = db.cursor(ReadOptions.DEFAULT.chunk(chunk).sequences())) {
                for (long sequence : wrote) {
                    assertTrue(c.next());
                    assertEquals(sequence, c.sequence());
                }
                assertTrue(c.previous());
                assertEquals(wrote[wrote.length - 2], c.sequence());
                assertTrue(c.seek(Seek.LE, bytes(key(7))));
                assertEquals(wrote[7], c.sequence());
            }
        }
        try (Cursor c = db.cursor()) {
            assertTrue(c.next());
            assertThrows(LsmException.Invalid.class, c::sequence);
        }
    }

    @Test
    void aCursorShowsOneMomentUntilItIsRefreshed() {
        fill(3);
        try (Cursor c = db.cursor()) {
            db.put(bytes(key(1)), bytes("later"));
            db.delete(bytes(key(0)));
            assertTrue(c.next());
            assertEquals(key(0), text(c.key()));
            assertTrue(c.next());
            assertEquals(key(2), text(c.key()));
            c.refresh();
            assertFalse(c.isValid());
            assertTrue(c.next());
            assertEquals(key(1), text(c.key()));
        }
    }

    @Test
    void tooManyHiddenEntriesStallAndKeepThePosition() {
        fill(1000);
        for (int i = 1; i < 999; i++) {
            db.delete(bytes(key(2 * i)));
        }
        try (Cursor c = db.cursor(ReadOptions.DEFAULT.maxSkip(100))) {
            assertTrue(c.next());
            assertEquals(key(0), text(c.key()));
            int stalls = 0;
            while (true) {
                try {
                    assertTrue(c.next());
                    break;
                } catch (LsmException.Stalled e) {
                    stalls++;
                    assertEquals(Code.STALLED, e.code());
                    assertTrue(stalls < 100, "each step must get on");
                }
            }
            assertTrue(stalls > 3, stalls + " stalls");
            assertEquals(key(1998), text(c.key()));
        }
    }

    @Test
    void aDeadlineEndsALongStep() {
        fill(60_000);
        try (WriteBatch batch = db.batch()) {
            for (int i = 0; i < 59_999; i++) {
                batch.delete(bytes(key(2 * i)));
            }
            db.write(batch);
        }
        try (Cursor c = db.cursor(ReadOptions.DEFAULT.deadline(Duration.ofNanos(1000)))) {
            LsmException.Timeout e = assertThrows(LsmException.Timeout.class, c::next);
            assertEquals(Code.TIMEOUT, e.code());
            assertTrue(e.isRetryable() && !e.isFatal());
            assertFalse(c.isValid());
        }
    }

    @Test
    void aClosedCursorSaysSo() {
        fill(3);
        Cursor c = db.cursor();
        assertTrue(c.next());
        c.close();
        c.close();
        assertThrows(LsmException.Closed.class, c::next);
        assertThrows(LsmException.Closed.class, c::previous);
        assertThrows(LsmException.Closed.class, c::first);
        assertThrows(LsmException.Closed.class, c::refresh);
        assertThrows(LsmException.Closed.class, c::key);
    }

    @Test
    void aCursorOfAClosedDatabaseSaysSo() {
        fill(3000);
        Cursor c = db.cursor(ReadOptions.DEFAULT.chunk(0));
        assertTrue(c.next());
        db.close();
        assertThrows(LsmException.Closed.class, c::next);
        c.close();
    }

    @Test
    void twoThreadsInOneCursorNeverCrash() throws InterruptedException {
        fill(20_000);
        AtomicInteger strange = new AtomicInteger();
        try (Cursor c = db.cursor(ReadOptions.DEFAULT.chunk(300))) {
            CountDownLatch start = new CountDownLatch(1);
            Thread[] threads = new Thread[4];
            for (int i = 0; i < threads.length; i++) {
                threads[i] = new Thread(() -> {
                    Fixture.unchecked(() -> {
                        start.await();
                        return null;
                    });
                    for (int step = 0; step < 5000; step++) {
                        try {
                            if (step % 100 == 0 ? c.seek(Seek.GE, bytes(key(step))) : c.next()) {
                                c.key();
                            }
                        } catch (LsmException.Busy | NoSuchElementException | IndexOutOfBoundsException
                                | NegativeArraySizeException e) {
                            // It is misuse; what counts is that the process lives and the cursor can be used again.
                        } catch (OutOfMemoryError e) {
                            // A torn length.
                        } catch (RuntimeException e) {
                            strange.incrementAndGet();
                        }
                    }
                });
                threads[i].start();
            }
            start.countDown();
            for (Thread thread : threads) {
                thread.join();
            }
            assertTrue(c.first());
            assertEquals(key(0), text(c.key()));
        }
        assertEquals(0, strange.get());
    }
}
