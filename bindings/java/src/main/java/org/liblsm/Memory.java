package org.liblsm;

import static org.liblsm.Library.LIB;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * Native memory for one call: outputs and option structs at fixed places, then room for keys and values.
 *
 * <p>Blocks of the usual size are kept in slots and taken by whatever thread comes: nothing is bound to a thread, so a
 * million virtual threads need no more blocks than calls run at once. Their memory belongs to the garbage collector,
 * because views of it may outlive their user. Larger blocks for one call are freed by {@link #give}.
 *
 * <p>Invariant: the error slot holds 0 between calls.
 */
final class Memory {
    static final int ERR = 0;
    static final int OUT1 = 8;
    static final int OUT2 = 16;
    static final int OUT3 = 24;
    private static final int WRITE = 32;
    private static final int WRITE_SIZE = 32;
    private static final int READ = 64;
    private static final int READ_SIZE = 104;
    static final int ENTRY = 168;
    static final int ENTRY_SIZE = 48;
    static final int DATA = 256;
    /** What a pooled block holds behind {@link #DATA}. */
    static final int ROOM = (64 << 10) - DATA;

    private static final int SLOTS = slots();
    /** References that share no cache line. */
    private static final int STRIDE = 16;
    private static final AtomicReferenceArray<Memory> POOL = new AtomicReferenceArray<>(SLOTS * STRIDE);

    final ByteBuffer bytes;
    final long address;
    private final boolean isOneShot;

    private Memory(ByteBuffer bytes, long address, boolean isOneShot) {
        this.bytes = bytes.order(ByteOrder.nativeOrder());
        this.address = address;
        this.isOneShot = isOneShot;
    }

    private static int slots() {
        int wanted = Math.min(256, 4 * Runtime.getRuntime().availableProcessors());
        return Integer.highestOneBit(Math.max(8, wanted));
    }

    /** A block for one call with at least so much room behind DATA; {@link #give} it back in {@code finally}. */
    static Memory take(long room) {
        if (room > ROOM) {
            return oneShot(room);
        }
        Memory memory = POOL.getAndSet(slot(), null);
        return memory != null ? memory : managed(ROOM);
    }

    /** A block that lives as long as anything refers to it. */
    static Memory managed(long room) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(size(room));
        return new Memory(bytes, LIB.address(bytes), false);
    }

    private static Memory oneShot(long room) {
        int size = size(room);
        long address = LIB.malloc(size);
        if (address == 0) {
            throw new OutOfMemoryError("no " + size + " bytes of native memory");
        }
        ByteBuffer bytes = LIB.view(address, size);
        Memory memory = new Memory(bytes, address, true);
        memory.bytes.putLong(ERR, 0);
        return memory;
    }

    private static int size(long room) {
        if (room > Integer.MAX_VALUE - DATA - 8) {
            throw LsmException.invalid(room + " bytes in one call: the limit of the binding is 2 GiB");
        }
        return (int) room + DATA;
    }

    @SuppressWarnings("deprecation") // threadId() came with Java 19
    private static int slot() {
        return ((int) Thread.currentThread().getId() & (SLOTS - 1)) * STRIDE;
    }

    void give() {
        if (isOneShot) {
            LIB.free(address);
        } else if (bytes.capacity() == ROOM + DATA) {
            POOL.setRelease(slot(), this);
        }
    }

    int room() {
        return bytes.capacity() - DATA;
    }

    long data() {
        return address + DATA;
    }

    long err() {
        return address + ERR;
    }

    long out1() {
        return address + OUT1;
    }

    long out2() {
        return address + OUT2;
    }

    /** Writes the struct for these options; 0, which means the defaults, when nothing is set. */
    long write(WriteOptions options) {
        if (options.isDefault()) {
            return 0;
        }
        bytes.putInt(WRITE, WRITE_SIZE);
        bytes.putInt(WRITE + 4, 0);
        bytes.putInt(WRITE + 8, options.durability());
        bytes.putInt(WRITE + 12, 0);
        bytes.putLong(WRITE + 16, options.deadlineMicros());
        bytes.putLong(WRITE + 24, 0);
        return address + WRITE;
    }

    /** The same for a read of keys: bounds and prefix mean nothing there. */
    long read(ReadOptions options) {
        return options.isDefault() ? 0 : readStruct(options);
    }

    private long readStruct(ReadOptions options) {
        for (int at = 0; at < READ_SIZE; at += 8) {
            bytes.putLong(READ + at, 0);
        }
        bytes.putInt(READ, READ_SIZE);
        bytes.putInt(READ + 4, options.flags());
        bytes.putLong(READ + 8, options.snapshotHandle());
        bytes.putLong(READ + 80, options.deadlineMicros());
        bytes.putLong(READ + 88, options.maxSkip());
        bytes.putInt(READ + 96, options.readahead());
        return address + READ;
    }

    /** The same for a cursor; the bounds are stored behind DATA, where {@link ReadOptions#boundBytes} must fit. */
    long readWithBounds(ReadOptions options) {
        long struct = readStruct(options);
        int at = bound(READ + 32, options.lowerBytes(), DATA);
        at = bound(READ + 48, options.upperBytes(), at);
        bound(READ + 64, options.prefixBytes(), at);
        return struct;
    }

    private int bound(int field, byte[] bound, int at) {
        if (bound == null) {
            return at;
        }
        bytes.put(at, bound);
        bytes.putLong(field, address + at);
        bytes.putLong(field + 8, bound.length);
        return at + bound.length;
    }

    /** Stores a text with its NUL and gives its address. */
    long text(int at, byte[] text) {
        bytes.put(at, text);
        bytes.put(at + text.length, (byte) 0);
        return address + at;
    }

    /**
     * A text for C: UTF-8, without a NUL inside, which would end it there, and without half of a surrogate pair, which
     * would become a question mark as any other half does.
     */
    static byte[] utf8(String text) {
        if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
            throw LsmException.invalid("half of a surrogate pair inside \"" + text.replaceAll("\\p{Cs}", "?") + '"');
        }
        return checked(text.getBytes(StandardCharsets.UTF_8), text);
    }

    static byte[] checked(byte[] encoded, String text) {
        for (byte b : encoded) {
            if (b == 0) {
                throw LsmException.invalid("a NUL character inside \"" + text.replace("\0", "\\0") + '"');
            }
        }
        return encoded;
    }

    /** Throws unless the call succeeded or had a normal outcome. */
    int check(int code) {
        if (code < 0) {
            throw failure(code);
        }
        return code;
    }

    /** Turns a code and the error object of the last call into an exception, and frees the object. */
    LsmException failure(int code) {
        long error = bytes.getLong(ERR);
        bytes.putLong(ERR, 0);
        if (error == 0) {
            return LsmException.of(code, 0, 0, LIB.string(LIB.lsm_code_name(code)));
        }
        try {
            return LsmException.of(LIB.lsm_error_code(error), LIB.lsm_error_os(error), LIB.lsm_error_flags(error),
                    LIB.string(LIB.lsm_error_message(error)));
        } finally {
            LIB.lsm_error_free(error);
        }
    }

    /** The text whose address a call stored at {@code out}; frees it. */
    String takeText(int out) {
        long text = bytes.getLong(out);
        try {
            return LIB.string(text);
        } finally {
            LIB.lsm_free(text);
        }
    }
}
