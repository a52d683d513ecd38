package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.liblsm.Fixture.bytes;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Views as memory segments, and what becomes of them after a close. Java 22 and later. */
class SegmentTest {
    @TempDir
    Path folder;

    @BeforeEach
    void needsFfm() {
        assumeTrue("ffm".equals(Lsm.backend()));
    }

    @Test
    void aPinIsASegmentThatEndsWithIt() {
        try (Lsm db = Fixture.open(folder)) {
            byte[] value = bytes("a value of some length");
            db.put(bytes("k"), value);
            Pinned pin = db.getPinned(bytes("k"));
            MemorySegment segment = pin.as(MemorySegment.class);
            ByteBuffer buffer = pin.buffer();
            assertEquals(value.length, segment.byteSize());
            assertTrue(segment.isReadOnly() && segment.isNative());
            assertArrayEquals(value, segment.toArray(ValueLayout.JAVA_BYTE));
            pin.close();
            assertThrows(IllegalStateException.class, () -> segment.get(ValueLayout.JAVA_BYTE, 0));
            assertThrows(IllegalStateException.class, () -> buffer.get(0));
        }
    }

    @Test
    void aViewThatLeavesItsFunctionIsDead() {
        try (Lsm db = Fixture.open(folder)) {
            db.put(bytes("k"), bytes("v"));
            try (Pinned pin = db.getPinned(bytes("k"))) {
                MemorySegment left = pin.read(MemorySegment.class, view -> {
                    assertEquals('v', view.get(ValueLayout.JAVA_BYTE, 0));
                    return view;
                });
                assertThrows(IllegalStateException.class, () -> left.get(ValueLayout.JAVA_BYTE, 0));
            }
        }
    }

    @Test
    void aForgottenPinEndsItsSegments() {
        try (Lsm db = Fixture.open(folder)) {
            db.put(bytes("k"), bytes("v"));
            Lsm.onLeak(line -> {});
            MemorySegment segment = db.getPinned(bytes("k")).as(MemorySegment.class);
            assertTrue(Fixture.eventuallyCollected(() -> !segment.scope().isAlive()));
            assertThrows(IllegalStateException.class, () -> segment.get(ValueLayout.JAVA_BYTE, 0));
            Lsm.onLeak(null);
        }
    }

    @Test
    void aCursorShowsSegments() {
        try (Lsm db = Fixture.open(folder)) {
            for (int i = 0; i < 1000; i++) {
                db.put(bytes(String.format("%04d", i)), bytes("value " + i));
            }
            try (Cursor c = db.cursor()) {
                for (int i = 0; i < 1000; i++) {
                    assertTrue(c.next());
                    assertEquals(String.format("%04d", i), new String(c.keyAs(MemorySegment.class).toArray(ValueLayout.JAVA_BYTE)));
                    assertArrayEquals(c.value(), c.valueAs(MemorySegment.class).toArray(ValueLayout.JAVA_BYTE));
                }
            }
        }
    }
}
