package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.liblsm.Fixture.bytes;
import static org.liblsm.Fixture.text;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Snapshots, keyspaces and pinned values: what they show and how long. */
class LifeTest {
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
    void aSnapshotStaysAsItWas() {
        db.put(bytes("k"), bytes("old"));
        try (Snapshot snapshot = db.snapshot()) {
            assertEquals(db.committed(), snapshot.sequence());
            db.put(bytes("k"), bytes("new"));
            db.put(bytes("l"), bytes("new"));
            db.flush();
            db.compact();
            ReadOptions then = ReadOptions.DEFAULT.snapshot(snapshot);
            assertEquals("old", text(db.get(bytes("k"), then)));
            assertNull(db.get(bytes("l"), then));
            assertEquals("new", text(db.get(bytes("k"), then.snapshot(null))));
            assertArrayEquals(bytes("old"), db.multiGet(List.of(bytes("k")), then)[0]);
            try (Cursor c = db.cursor(then)) {
                assertTrue(c.next());
                assertEquals("old", text(c.value()));
                assertFalse(c.next());
            }
        }
    }

    @Test
    void aCursorOutlivesItsSnapshotAndAClosedSnapshotSaysSo() {
        db.put(bytes("k"), bytes("old"));
        Snapshot snapshot = db.snapshot();
        ReadOptions then = ReadOptions.DEFAULT.snapshot(snapshot);
        try (Cursor c = db.cursor(then)) {
            db.put(bytes("k"), bytes("new"));
            snapshot.close();
            snapshot.close();
            assertTrue(c.next());
            assertEquals("old", text(c.value()));
        }
        assertEquals(0, snapshot.sequence());
        assertThrows(LsmException.Closed.class, () -> db.get(bytes("k"), then));
        assertThrows(LsmException.Closed.class, () -> db.cursor(then));
    }

    @Test
    void aSnapshotOfAnotherDatabaseIsRefused() {
        try (Lsm second = Lsm.open(folder.resolve("second")); Snapshot snapshot = second.snapshot()) {
            assertThrows(LsmException.Invalid.class, () -> db.get(bytes("k"), ReadOptions.DEFAULT.snapshot(snapshot)));
        }
    }

    @Test
    void keyspacesAreApart() {
        try (Keyspace users = db.keyspace("users"); Keyspace orders = db.keyspace("orders", o -> o.compression("none"))) {
            users.put(bytes("k"), bytes("user"));
            orders.put(bytes("k"), bytes("order"));
            assertNull(db.get(bytes("k")));
            assertEquals("user", text(users.get(bytes("k"))));
            assertEquals("order", text(orders.get(bytes("k"))));
            assertEquals(List.of("default", "orders", "users"), db.keyspaces());
            assertEquals("users", users.name());
            assertEquals(db, users.database());
            users.flush();
            assertEquals(1, users.propertyLong("levels.0.files").orElseThrow());
            assertEquals(0, orders.propertyLong("levels.0.files").orElseThrow());
            db.flush();
            assertEquals(1, orders.propertyLong("levels.0.files").orElseThrow(), "flush of the database is of all");
        }
        db.close();
        db = Fixture.open(folder);
        try (Keyspace users = db.findKeyspace("users").orElseThrow()) {
            assertEquals("user", text(users.get(bytes("k"))));
        }
    }

    @Test
    void aMissingKeyspaceIsMadeOnlyWhenAsked() {
        assertEquals(Optional.empty(), db.findKeyspace("nobody"));
        assertThrows(LsmException.NotFound.class, () -> db.keyspace("nobody", o -> o.createIfMissing(false)));
        assertThrows(LsmException.Invalid.class, () -> db.keyspace(""));
        assertThrows(LsmException.Invalid.class, () -> db.keyspace("a\0b"));
        assertThrows(LsmException.Invalid.class, () -> db.keyspace("a\ud800"));
        assertThrows(LsmException.Invalid.class, () -> db.keyspace("x".repeat(256)));
        try (Keyspace keyspace = db.keyspace("schlüssel 鍵")) {
            assertEquals("schlüssel 鍵", keyspace.name());
            assertTrue(db.keyspaces().contains("schlüssel 鍵"));
        }
    }

    @Test
    void aClosedKeyspaceSaysSoAndItsTwinGoesOn() {
        Keyspace first = db.keyspace("twin");
        try (Keyspace second = db.keyspace("twin")) {
            first.close();
            first.close();
            assertThrows(LsmException.Closed.class, () -> first.put(bytes("k"), bytes("v")));
            assertThrows(LsmException.Closed.class, first::cursor);
            assertThrows(LsmException.Closed.class, () -> first.property("stats"));
            second.put(bytes("k"), bytes("v"));
            assertEquals("v", text(second.get(bytes("k"))));
        }
    }

    @Test
    void aDroppedKeyspaceIsGone() {
        try (Keyspace gone = db.keyspace("gone")) {
            gone.put(bytes("k"), bytes("v"));
            assertTrue(db.dropKeyspace("gone"));
            assertFalse(db.dropKeyspace("gone"));
            assertThrows(LsmException.Closed.class, () -> gone.get(bytes("k")));
        }
        try (Keyspace again = db.keyspace("gone")) {
            assertNull(again.get(bytes("k")));
        }
        assertThrows(LsmException.Invalid.class, () -> db.dropKeyspace("default"));
    }

    @Test
    void aPinnedValueStaysWhateverHappens() {
        byte[] value = new byte[100_000];
        new Random(1).nextBytes(value);
        db.put(bytes("k"), value);
        db.flush();
        assertNull(db.getPinned(bytes("none")));
        Pinned pin = db.getPinned(bytes("k"));
        assertNotNull(pin);
        ByteBuffer view = pin.buffer();
        db.put(bytes("k"), bytes("other"));
        db.compact();
        db.clearCache();
        db.close();
        assertEquals(value.length, pin.length());
        assertArrayEquals(value, pin.bytes());
        assertEquals(ByteBuffer.wrap(value), view);
        assertTrue(view.isReadOnly());
        assertEquals(ByteBuffer.wrap(value), pin.as(ByteBuffer.class));
        pin.close();
        pin.close();
        assertThrows(LsmException.Closed.class, pin::buffer);
        assertThrows(LsmException.Closed.class, pin::bytes);
    }

    @Test
    void aFunctionReadsAPinEvenWhileItIsClosed() {
        byte[] value = new byte[100_000];
        new Random(2).nextBytes(value);
        db.put(bytes("k"), value);
        db.flush();
        Pinned pin = db.getPinned(bytes("k"));
        assertEquals(ByteBuffer.wrap(value), pin.read(ByteBuffer.class, view -> ByteBuffer.wrap(pin.read(byte[].class, copy -> copy))));
        boolean isSame = pin.read(ByteBuffer.class, view -> {
            pin.buffer();
            pin.close();
            db.compact();
            db.clearCache();
            assertThrows(LsmException.Closed.class, pin::bytes);
            return view.equals(ByteBuffer.wrap(value));
        });
        assertTrue(isSame, "the close waits for the function");
        assertThrows(LsmException.Closed.class, () -> pin.read(ByteBuffer.class, view -> view));
    }

    @Test
    void aPinMayBeReadAndClosedByOtherThreads() throws InterruptedException {
        db.put(bytes("k"), bytes("value"));
        Pinned pin = db.getPinned(bytes("k"));
        ByteBuffer view = pin.buffer();
        String[] seen = new String[1];
        Thread thread = new Thread(() -> {
            byte[] copy = new byte[view.remaining()];
            view.get(copy);
            seen[0] = text(copy);
            pin.close();
        });
        thread.start();
        thread.join();
        assertEquals("value", seen[0]);
        assertThrows(LsmException.Closed.class, pin::bytes);
    }

    @Test
    void everythingAnswersClosedAfterTheDatabase() {
        Keyspace keyspace = db.keyspace("ks");
        Snapshot snapshot = db.snapshot();
        Cursor cursor = keyspace.cursor();
        WriteBatch batch = db.batch().put(bytes("k"), bytes("v")).put(keyspace, bytes("k"), bytes("v"));
        db.close();
        db.close();
        assertThrows(LsmException.Closed.class, () -> db.put(bytes("k"), bytes("v")));
        assertThrows(LsmException.Closed.class, () -> db.get(bytes("k")));
        assertThrows(LsmException.Closed.class, db::sync);
        assertThrows(LsmException.Closed.class, db::committed);
        assertThrows(LsmException.Closed.class, db::snapshot);
        assertThrows(LsmException.Closed.class, db::flush);
        assertThrows(LsmException.Closed.class, db::keyspaces);
        assertThrows(LsmException.Closed.class, () -> keyspace.put(bytes("k"), bytes("v")));
        assertThrows(LsmException.Closed.class, () -> keyspace.multiGet(List.of(bytes("k"))));
        assertThrows(LsmException.Closed.class, cursor::next);
        assertThrows(LsmException.Closed.class, () -> db.write(batch));
        batch.close();
        cursor.close();
        snapshot.close();
        keyspace.close();
    }
}
