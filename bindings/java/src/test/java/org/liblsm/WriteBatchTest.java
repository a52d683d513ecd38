package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.liblsm.Fixture.bytes;
import static org.liblsm.Fixture.text;

import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Batches are written whole, in order, across keyspaces. */
class WriteBatchTest {
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

    @Test
    void operationsHappenInTheirOrder() {
        try (WriteBatch batch = db.batch()) {
            batch.put(bytes("a"), bytes("1")).delete(bytes("a")).put(bytes("b"), bytes("2")).put(bytes("b"), bytes("3"));
            assertEquals(4, batch.count());
            assertNull(db.get(bytes("b")), "nothing is written before write()");
            long before = db.committed();
            assertEquals(before + 4, db.write(batch, WriteOptions.FSYNC));
        }
        assertNull(db.get(bytes("a")));
        assertEquals("3", text(db.get(bytes("b"))));
    }

    @Test
    void aBatchMayBeWrittenAgainOrClearedAndFilledAnew() {
        try (WriteBatch batch = db.batch()) {
            batch.put(bytes("k"), bytes("v"));
            db.write(batch);
            db.delete(bytes("k"));
            db.write(batch);
            assertEquals("v", text(db.get(bytes("k"))));
            batch.clear();
            assertEquals(0, batch.count());
            assertEquals(0, batch.bytes());
            assertEquals(db.committed(), db.write(batch), "an empty batch writes nothing");
            batch.delete(bytes("k"));
            db.write(batch);
            assertNull(db.get(bytes("k")));
        }
    }

    @Test
    void aBatchGrowsAsItIsFilled() {
        try (WriteBatch batch = db.batch()) {
            for (int i = 0; i < 50_000; i++) {
                batch.put(bytes("key" + i), bytes("value " + i));
            }
            batch.put(bytes("large"), new byte[5_000_000]);
            assertTrue(batch.bytes() > 5_900_000);
            db.write(batch);
        }
        for (int i = 0; i < 50_000; i += 997) {
            assertEquals("value " + i, text(db.get(bytes("key" + i))));
        }
        assertEquals(5_000_000, db.length(bytes("large"), ReadOptions.DEFAULT));
    }

    @Test
    void aBatchSpansKeyspaces() {
        try (Keyspace one = db.keyspace("one");
                Keyspace again = db.keyspace("one");
                Keyspace two = db.keyspace("two");
                WriteBatch batch = db.batch()) {
            batch.put(bytes("k"), bytes("default")).put(one, bytes("k"), bytes("1")).put(two, bytes("k"), bytes("2"));
            batch.put(again, bytes("k"), bytes("later")).delete(two, bytes("k")).put(two, bytes("m"), bytes("3"));
            long before = db.committed();
            assertEquals(before + 6, db.write(batch));
            assertEquals("default", text(db.get(bytes("k"))));
            assertEquals("later", text(one.get(bytes("k"))), "two objects of one keyspace keep the order");
            assertNull(two.get(bytes("k")));
            assertEquals("3", text(two.get(bytes("m"))));
        }
    }

    @Test
    void aBatchWithOneBadOperationChangesNothing() {
        try (Keyspace other = db.keyspace("other"); WriteBatch batch = db.batch()) {
            batch.put(bytes("good"), bytes("v")).put(new byte[70_000], bytes("key too long"));
            assertThrows(LsmException.Invalid.class, () -> db.write(batch));
            batch.put(other, bytes("good"), bytes("v"));
            assertThrows(LsmException.Invalid.class, () -> db.write(batch));
            assertNull(db.get(bytes("good")));
            assertNull(other.get(bytes("good")));
        }
    }

    @Test
    void aBatchOfAnotherDatabaseIsRefused() {
        try (Lsm second = Lsm.open(folder.resolve("second")); WriteBatch batch = second.batch()) {
            batch.put(bytes("k"), bytes("v"));
            assertThrows(LsmException.Invalid.class, () -> db.write(batch));
            assertThrows(LsmException.Invalid.class, () -> batch.put(db, bytes("k"), bytes("v")));
        }
    }

    @Test
    void aClosedBatchSaysSo() {
        WriteBatch batch = db.batch();
        batch.put(bytes("k"), bytes("v"));
        batch.close();
        batch.close();
        assertThrows(LsmException.Closed.class, () -> batch.put(bytes("k"), bytes("v")));
        assertThrows(LsmException.Closed.class, () -> db.write(batch));
        assertThrows(LsmException.Closed.class, batch::clear);
    }

    @Test
    void aKeyspaceThatWasClosedMeanwhileRefusesTheBatch() {
        try (WriteBatch batch = db.batch()) {
            Keyspace keyspace = db.keyspace("short");
            batch.put(bytes("k"), bytes("v")).put(keyspace, bytes("k"), bytes("v"));
            keyspace.close();
            assertThrows(LsmException.Closed.class, () -> db.write(batch));
            assertNull(db.get(bytes("k")));
        }
    }

    @Test
    void aSecondThreadIsKeptOut() throws InterruptedException {
        AtomicInteger done = new AtomicInteger();
        AtomicInteger strange = new AtomicInteger();
        try (WriteBatch batch = db.batch()) {
            Thread[] threads = new Thread[4];
            for (int t = 0; t < threads.length; t++) {
                int id = t;
                threads[t] = new Thread(() -> {
                    for (int i = 0; i < 20_000; i++) {
                        try {
                            batch.put(bytes(id + "/" + i), bytes("value " + id + "/" + i));
                            done.incrementAndGet();
                        } catch (LsmException.Busy e) {
                            // as it must be
                        } catch (RuntimeException e) {
                            strange.incrementAndGet();
                        }
                    }
                });
                threads[t].start();
            }
            for (Thread thread : threads) {
                thread.join();
            }
            assertEquals(0, strange.get());
            assertEquals(done.get(), batch.count());
            db.write(batch);
        }
        int seen = 0;
        try (Cursor c = db.cursor()) {
            while (c.next()) {
                assertEquals("value " + text(c.key()), text(c.value()));
                seen++;
            }
        }
        assertEquals(done.get(), seen, "every put that went through is whole");
    }
}
