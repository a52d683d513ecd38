package org.liblsm;

import static org.liblsm.Library.LIB;
import static org.liblsm.Library.OK;
import static org.liblsm.Library.TRUNCATED;
import static org.liblsm.Memory.DATA;
import static org.liblsm.Memory.OUT1;

import java.util.List;

/** Many keys in one call. The caller keeps keyspace and options reachable. */
final class MultiGet {
    /** What an answer takes besides its value. */
    private static final int HEAD = 8;

    private MultiGet() {}

    /** Answers are {@code {i32 code, u32 length, value}*}. */
    static byte[][] copies(long keyspace, List<byte[]> keys, ReadOptions options) {
        int n = keys.size();
        long packed = 0;
        for (byte[] key : keys) {
            packed += 4L + key.length;
        }
        // Most answers are small: ask with what the block has, or what the heads alone need.
        long need = packed + (long) n * HEAD;
        while (true) {
            Memory memory = Memory.take(need);
            try {
                int at = DATA;
                for (byte[] key : keys) {
                    memory.bytes.putInt(at, key.length);
                    memory.bytes.put(at + 4, key);
                    at += 4 + key.length;
                }
                if (at - DATA != packed) {
                    throw new java.util.ConcurrentModificationException("the list of keys changed");
                }
                int code = memory.check(LIB.lsm_multi_get_packed(keyspace, memory.read(options), memory.data(), packed, n,
                        memory.address + at, (long) memory.room() - packed, memory.out1(), memory.err()));
                if (code != TRUNCATED) {
                    return answers(memory, at, n);
                }
                need = packed + memory.bytes.getLong(OUT1);
            } finally {
                memory.give();
            }
        }
    }

    private static byte[][] answers(Memory memory, int from, int n) {
        byte[][] values = new byte[n][];
        int at = from;
        for (int i = 0; i < n; i++) {
            int code = memory.bytes.getInt(at);
            int length = memory.bytes.getInt(at + 4);
            if (code == OK) {
                values[i] = new byte[length];
                memory.bytes.get(at + HEAD, values[i]);
            }
            at += HEAD + length;
        }
        return values;
    }

    static Pinned[] pins(long keyspace, List<byte[]> keys, ReadOptions options) {
        int n = keys.size();
        long bytes = 0;
        for (byte[] key : keys) {
            bytes += key.length;
        }
        // Four arrays (pointers, lengths, values, codes), then the keys.
        Memory memory = Memory.take(bytes + 32L * n);
        try {
            int lengths = DATA + 8 * n;
            int values = lengths + 8 * n;
            int codes = values + 8 * n;
            int at = codes + 8 * n;
            for (int i = 0; i < n; i++) {
                byte[] key = keys.get(i);
                memory.bytes.putLong(DATA + 8 * i, memory.address + at);
                memory.bytes.putLong(lengths + 8 * i, key.length);
                memory.bytes.putLong(values + 8 * i, 0);
                memory.bytes.put(at, key);
                at += key.length;
            }
            int code = LIB.lsm_multi_get(keyspace, memory.read(options), n, memory.data(), memory.address + lengths,
                    memory.address + values, memory.address + codes, memory.err());
            Pinned[] pins = new Pinned[n];
            for (int i = 0; i < n; i++) {
                long value = memory.bytes.getLong(values + 8 * i);
                if (value != 0) {
                    long data = LIB.lsm_value_data(value, memory.out1());
                    pins[i] = new Pinned(value, data, memory.bytes.getLong(OUT1));
                }
            }
            if (code < 0) {
                close(pins);
                throw memory.failure(code);
            }
            return pins;
        } finally {
            memory.give();
        }
    }

    private static void close(Pinned[] pins) {
        for (Pinned pin : pins) {
            if (pin != null) {
                pin.close();
            }
        }
    }

    static long length(byte[] bound) {
        return bound == null ? 0 : bound.length;
    }

    /** Stores a bound and gives its address; NULL, for unbounded, when there is none. */
    static long store(Memory memory, int at, byte[] bound) {
        if (bound == null) {
            return 0;
        }
        memory.bytes.put(at, bound);
        return memory.address + at;
    }
}
