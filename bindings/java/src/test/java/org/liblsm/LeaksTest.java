package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.liblsm.Fixture.bytes;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What nobody closed is found, told and released; what was closed leaves nothing behind. */
class LeaksTest {
    @TempDir
    Path folder;

    private final List<String> told = new CopyOnWriteArrayList<>();

    @BeforeEach
    void listen() {
        Lsm.onLeak(told::add);
    }

    @AfterEach
    void silence() {
        Lsm.onLeak(null);
    }

    private boolean isTold(String what) {
        return Fixture.eventuallyCollected(() -> told.stream().anyMatch(line -> line.contains(what)));
    }

    @Test
    void aForgottenObjectIsTold() {
        try (Lsm db = Fixture.open(folder)) {
            db.put(bytes("k"), bytes("v"));
            long before = Lsm.leaks();
            db.cursor().next();
            assertTrue(isTold("a Cursor was never closed"), told.toString());
            db.snapshot();
            assertTrue(isTold("a Snapshot was never closed"), told.toString());
            db.getPinned(bytes("k"));
            assertTrue(isTold("a Pinned value was never closed"), told.toString());
            db.keyspace("forgotten");
            assertTrue(isTold("the Keyspace forgotten was never closed"), told.toString());
            new Options().set("compression", "none");
            assertTrue(isTold("an Options object was never closed"), told.toString());
            assertTrue(Lsm.leaks() >= before + 5);
        }
    }

    @Test
    void aForgottenDatabaseIsToldAndClosed() {
        Path path = folder.resolve("db");
        Lsm.open(path).put(bytes("k"), bytes("v"));
        assertTrue(isTold("the database " + path), told.toString());
        assertTrue(Fixture.eventually(() -> {
            try (Lsm again = Lsm.open(path)) {
                assertArrayEquals(bytes("v"), again.get(bytes("k")));
                return true;
            } catch (LsmException.Locked e) {
                return false;
            }
        }));
    }

    @Test
    void aDatabaseLivesAsLongAsItsChildren() {
        Cursor cursor = cursorAlone();
        for (int i = 0; i < 20; i++) {
            System.gc();
        }
        assertTrue(cursor.next(), "the cursor keeps its database");
        Lsm db = cursor.store().database();
        cursor.close();
        db.close();
        assertEquals(List.of(), told);
    }

    private Cursor cursorAlone() {
        Lsm db = Fixture.open(folder);
        db.put(bytes("k"), bytes("v"));
        return db.cursor();
    }

    @Test
    void whatIsClosedIsNotTold() {
        try (Lsm db = Fixture.open(folder)) {
            db.put(bytes("k"), bytes("v"));
            for (int i = 0; i < 200; i++) {
                try (Cursor c = db.cursor(); Snapshot s = db.snapshot(); Pinned p = db.getPinned(bytes("k"));
                        Keyspace k = db.keyspace("ks"); WriteBatch b = db.batch()) {
                    assertTrue(c.next());
                    p.buffer();
                    db.write(b.put(k, bytes("k"), bytes("v")), WriteOptions.DEFAULT);
                    assertTrue(s.sequence() > 0);
                }
            }
            for (int i = 0; i < 5; i++) {
                System.gc();
            }
        }
        assertEquals(List.of(), told);
    }

    @Test
    void memoryDoesNotGrowWithCalls() throws IOException {
        try (Lsm db = Fixture.open(folder)) {
            byte[] large = new byte[200_000];
            db.put(bytes("large"), large);
            db.put(bytes("small"), bytes("v"));
            db.flush();
            work(db, large, 300);
            System.gc();
            long before = Fixture.residentKib();
            work(db, large, 3000);
            // Three thousand lost buffers of 200 kB would be 600 MB, lost blocks of 64 KiB 190 MB. The heap is of one size.
            long[] grown = new long[1];
            assertTrue(Fixture.eventuallyCollected(() -> {
                grown[0] = Fixture.unchecked(Fixture::residentKib) - before;
                return grown[0] < 120_000;
            }), () -> grown[0] + " KiB more");
        }
    }

    private static void work(Lsm db, byte[] large, int rounds) {
        for (int i = 0; i < rounds; i++) {
            db.put(bytes("large"), large);
            assertEquals(large.length, db.get(bytes("large")).length);
            try (Cursor c = db.cursor(); Pinned p = db.getPinned(bytes("large")); Options o = new Options()) {
                assertTrue(c.next());
                assertEquals(large.length, p.buffer().remaining());
                o.set("compression", "none").dump();
            }
            db.multiGet(List.of(bytes("large"), bytes("small"), bytes("none")));
            try {
                db.put(new byte[70_000], large);
            } catch (LsmException.Invalid e) {
                // frees its error object
            }
        }
    }
}
