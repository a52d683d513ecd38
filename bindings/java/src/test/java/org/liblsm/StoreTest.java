package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.liblsm.Fixture.bytes;
import static org.liblsm.Fixture.text;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Puts, deletes and reads of single and many keys. */
class StoreTest {
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
    void whatWasPutIsReadUntilItIsDeleted() {
        assertNull(db.get(bytes("ada")));
        db.put(bytes("ada"), bytes("Countess"));
        assertEquals("Countess", text(db.get(bytes("ada"))));
        assertTrue(db.contains(bytes("ada")));
        assertEquals(8, db.length(bytes("ada"), ReadOptions.DEFAULT));
        db.put(bytes("ada"), bytes("Lovelace"));
        assertEquals("Lovelace", text(db.get(bytes("ada"))));
        db.delete(bytes("ada"));
        assertNull(db.get(bytes("ada")));
        assertFalse(db.contains(bytes("ada")));
        assertEquals(-1, db.length(bytes("ada"), ReadOptions.DEFAULT));
    }

    @Test
    void dataOutliveTheDatabaseObject() {
        db.put(bytes("k"), bytes("v"), WriteOptions.FSYNC);
        db.close();
        db = Fixture.open(folder);
        assertEquals("v", text(db.get(bytes("k"))));
    }

    @Test
    void emptyKeysAndValuesAreValues() {
        db.put(new byte[0], bytes("empty key"));
        db.put(bytes("empty value"), new byte[0]);
        assertEquals("empty key", text(db.get(new byte[0])));
        assertArrayEquals(new byte[0], db.get(bytes("empty value")));
        assertEquals(0, db.length(bytes("empty value"), ReadOptions.DEFAULT));
        try (Pinned pin = db.getPinned(bytes("empty value"))) {
            assertEquals(0, pin.length());
            assertEquals(0, pin.buffer().remaining());
        }
    }

    @Test
    void valuesOfEverySizeComeBackWhole() {
        // Around what the call's own memory holds, and far above.
        Random random = new Random(7);
        int[] sizes = {1, 4096, Memory.ROOM - 11, Memory.ROOM - 10, Memory.ROOM - 9, Memory.ROOM, Memory.ROOM + 1, 3_000_000};
        for (int size : sizes) {
            byte[] value = new byte[size];
            random.nextBytes(value);
            byte[] key = bytes(String.format("key%07d", size));
            db.put(key, value);
            assertArrayEquals(value, db.get(key), "size " + size);
            assertArrayEquals(value, db.multiGet(List.of(key))[0], "size " + size);
        }
    }

    @Test
    void keysAndValuesBeyondTheLimitsAreRefused() {
        assertThrows(LsmException.Invalid.class, () -> db.put(new byte[65_537], bytes("v")));
        db.put(new byte[65_536], bytes("v"));
        assertEquals("v", text(db.get(new byte[65_536])));
        assertThrows(LsmException.Invalid.class, () -> db.get(new byte[65_537]));
        assertThrows(NullPointerException.class, () -> db.put(null, bytes("v")));
        assertThrows(NullPointerException.class, () -> db.get(null));
    }

    @Test
    void directBuffersAreReadAndFilledWhereTheyAre() {
        ByteBuffer key = ByteBuffer.allocateDirect(16).put(bytes("__key")).flip().position(2);
        ByteBuffer value = ByteBuffer.allocateDirect(16).put(bytes("value")).flip();
        db.put(key, value, WriteOptions.DEFAULT);
        assertEquals(2, key.position());
        assertEquals("value", text(db.get(bytes("key"))));

        ByteBuffer into = ByteBuffer.allocateDirect(8).position(1);
        assertEquals(5, db.get(key, into, ReadOptions.DEFAULT));
        assertEquals(1, into.position());
        assertEquals(6, into.limit());
        byte[] got = new byte[5];
        into.get(got);
        assertEquals("value", text(got));

        ByteBuffer small = ByteBuffer.allocateDirect(3);
        assertEquals(5, db.get(key, small, ReadOptions.DEFAULT), "the whole length of a value that was cut");
        assertEquals(3, small.remaining());
        assertEquals(-1, db.get(ByteBuffer.allocateDirect(1), small, ReadOptions.DEFAULT));
        assertThrows(LsmException.Invalid.class, () -> db.get(ByteBuffer.allocate(3), small, ReadOptions.DEFAULT));
        assertThrows(LsmException.Invalid.class, () -> db.get(key, small.asReadOnlyBuffer(), ReadOptions.DEFAULT));
    }

    @Test
    void manyKeysAreReadInOneCall() {
        List<byte[]> keys = new ArrayList<>();
        byte[][] want = new byte[3000][];
        Random random = new Random(3);
        for (int i = 0; i < want.length; i++) {
            keys.add(bytes("key" + i));
            if (i % 3 != 0) {
                want[i] = new byte[random.nextInt(400)];
                random.nextBytes(want[i]);
                db.put(keys.get(i), want[i]);
            }
        }
        byte[][] got = db.multiGet(keys);
        assertEquals(want.length, got.length);
        for (int i = 0; i < want.length; i++) {
            assertArrayEquals(want[i], got[i], "key " + i);
        }
        Pinned[] pins = db.multiGetPinned(keys, ReadOptions.DEFAULT);
        for (int i = 0; i < want.length; i++) {
            assertArrayEquals(want[i], pins[i] == null ? null : pins[i].bytes(), "key " + i);
            if (pins[i] != null) {
                pins[i].close();
            }
        }
        assertEquals(0, db.multiGet(List.of()).length);
        assertEquals(0, db.multiGetPinned(List.of(), ReadOptions.DEFAULT).length);
        assertThrows(LsmException.Invalid.class, () -> db.multiGet(List.of(bytes("a"), new byte[70_000])));
        assertThrows(LsmException.Invalid.class,
                () -> db.multiGetPinned(List.of(bytes("key1"), new byte[70_000]), ReadOptions.DEFAULT));
    }

    @Test
    void optionsReachTheLibrary() {
        db.put(bytes("k"), bytes("v"), WriteOptions.FSYNC);
        assertEquals(db.committed(), db.durable(), "an fsync write is on the device");
        db.put(bytes("k"), bytes("v"), WriteOptions.OS.deadline(Duration.ofSeconds(30)));
        assertEquals("v", text(db.get(bytes("k"), ReadOptions.DEFAULT.verifyChecksums().noFillCache().readahead(4096))));
        assertEquals("v", text(db.get(bytes("k"), ReadOptions.DEFAULT.deadline(Duration.ofSeconds(30)))));
        assertThrows(LsmException.Invalid.class, () -> ReadOptions.DEFAULT.deadline(Duration.ofSeconds(-1)));
        assertThrows(LsmException.Invalid.class, () -> ReadOptions.DEFAULT.maxSkip(-1));
        assertThrows(LsmException.Invalid.class, () -> ReadOptions.DEFAULT.chunk(-1));
        assertEquals(1, ReadOptions.DEFAULT.deadline(Duration.ofNanos(1)).deadlineMicros(), "never 0, which is no deadline");
    }

    @Test
    void whatIsReadWithoutFillingTheCacheIsNotCached() {
        for (int i = 0; i < 2000; i++) {
            db.put(bytes("key" + i), new byte[100]);
        }
        db.flush();
        db.clearCache();
        long empty = db.propertyLong("cache.bytes").orElseThrow();
        for (int i = 0; i < 2000; i++) {
            db.get(bytes("key" + i), ReadOptions.DEFAULT.noFillCache());
        }
        long indexes = db.propertyLong("cache.bytes").orElseThrow() - empty;
        assertTrue(indexes < 20_000, indexes + " bytes cached");
        for (int i = 0; i < 2000; i++) {
            db.get(bytes("key" + i));
        }
        assertTrue(db.propertyLong("cache.bytes").orElseThrow() > empty + 50_000);
    }

    @Test
    void sequencesCountWritesAndSyncMakesThemDurable() {
        long before = db.committed();
        db.put(bytes("a"), bytes("1"));
        db.put(bytes("b"), bytes("2"));
        assertEquals(before + 2, db.committed());
        db.sync();
        assertEquals(before + 2, db.durable());
    }

    @Test
    void propertiesAndMetricsTellWhatHappened() {
        for (int i = 0; i < 5000; i++) {
            db.put(bytes("key" + i), new byte[100]);
        }
        assertTrue(db.propertyLong("memtable.bytes").orElseThrow() > 500_000);
        db.flush();
        assertTrue(db.propertyLong("levels.0.files").orElseThrow() > 0);
        Store.Size whole = db.approximate(null, null);
        Store.Size half = db.approximate(bytes("key2"), bytes("key5"));
        assertTrue(whole.keys() > 4000 && whole.keys() < 6000, whole.toString());
        assertTrue(half.bytes() > 0 && half.bytes() < whole.bytes(), half + " of " + whole);
        db.compact();
        db.compact(bytes("key1"), bytes("key2"));
        assertEquals(0, db.propertyLong("levels.0.files").orElseThrow());
        assertTrue(db.property("stats").length() > 20);
        assertNull(db.property("no.such.property"));
        assertEquals(OptionalLong.empty(), db.propertyLong("no.such.property"));
        assertEquals(OptionalLong.empty(), db.propertyLong("stats"), "a text is no number");
        assertTrue(db.metrics().lines().anyMatch(line -> line.startsWith("lsm_")), db.metrics());
        assertTrue(db.metricsJson().startsWith("{"));
    }

    @Test
    void aStreamGivesEntriesInOrder() {
        for (String key : new String[] {"b", "a", "d", "c"}) {
            db.put(bytes(key), bytes(key + key));
        }
        try (var entries = db.stream(ReadOptions.DEFAULT.upper(bytes("d")))) {
            assertEquals(List.of("aa", "bb", "cc"), entries.map(entry -> text(entry.value())).toList());
        }
    }

    @Test
    void keysAreOrderedAsUnsignedBytes() {
        byte[][] keys = {{}, {0}, {0, 0}, {1}, {127}, {(byte) 128}, {(byte) 255}, {(byte) 255, 0}};
        for (int i = keys.length - 1; i >= 0; i--) {
            db.put(keys[i], bytes("" + i));
        }
        try (Cursor cursor = db.cursor()) {
            for (byte[] key : keys) {
                assertTrue(cursor.next());
                assertArrayEquals(key, cursor.key(), Arrays.toString(key));
            }
            assertFalse(cursor.next());
        }
    }
}
