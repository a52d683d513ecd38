package org.liblsm;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;

/**
 * What one call costs, and what the packed forms save. Usage: {@code Bench [ENTRIES] [ROUNDS]}. Each figure is the median
 * of the rounds and the best, in nanoseconds for one operation; every result is checked against what must come out.
 */
public final class Bench {
    static final int KEY = 16;
    static final int VALUE = 100;
    private static final int LARGE = 100 << 10;
    private static final int BATCH = 100;

    private final int entries;
    private final int rounds;
    private final byte[][] keys;
    private final byte[] value = new byte[VALUE];
    private long sink;

    private Bench(int entries, int rounds) {
        this.entries = entries;
        this.rounds = rounds;
        this.keys = keys(entries);
        new Random(1).nextBytes(value);
    }

    /** Work that is timed. It gives the number of operations that it did. */
    interface Work {
        long run();
    }

    static byte[][] keys(int entries) {
        byte[][] keys = new byte[entries][];
        for (int i = 0; i < entries; i++) {
            // Spread over the key space, the same in every run.
            long mixed = i * 0x9E3779B97F4A7C15L;
            keys[i] = String.format(Locale.ROOT, "%016x", mixed).getBytes(StandardCharsets.US_ASCII);
        }
        return keys;
    }

    static void expect(long got, long want, String what) {
        if (got != want) {
            throw new IllegalStateException(what + ": " + got + " instead of " + want);
        }
    }

    private double measure(String name, Work work) {
        return measure(name, rounds, work);
    }

    static double measure(String name, int rounds, Work work) {
        double[] nanos = new double[rounds];
        work.run(); // warms up
        for (int i = 0; i < rounds; i++) {
            long begin = System.nanoTime();
            long operations = work.run();
            nanos[i] = (double) (System.nanoTime() - begin) / operations;
        }
        Arrays.sort(nanos);
        System.out.printf(Locale.ROOT, "%-48s %10.1f ns, best %10.1f%n", name, nanos[rounds / 2], nanos[0]);
        return nanos[0];
    }

    public static void main(String[] arguments) throws IOException {
        int entries = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 200_000;
        int rounds = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 5;
        System.out.println("liblsm " + Lsm.version() + ", " + Lsm.backend() + ", Java " + System.getProperty("java.version")
                + ", " + entries + " entries of " + KEY + " + " + VALUE + " bytes");
        Path folder = Files.createTempDirectory("lsm-bench");
        try {
            new Bench(entries, rounds).run(folder.resolve("db"));
        } finally {
            Lsm.destroy(folder.resolve("db"));
            Files.deleteIfExists(folder);
        }
    }

    private void run(Path path) {
        try (Lsm db = Lsm.open(path, o -> o.cacheSize(256 << 20))) {
            measure("a call that does nothing", () -> {
                for (int i = 0; i < 1_000_000; i++) {
                    sink += Library.LIB.lsm_abi_version();
                }
                return 1_000_000;
            });
            writes(db);
            db.flush();
            db.compact();
            reads(db);
            scans(db);
            large(db);
        }
        if (sink == 42) {
            System.out.println("never printed, so that the work is not left out");
        }
    }

    private void writes(Lsm db) {
        double alone = measure("put, one call each", () -> {
            for (byte[] key : keys) {
                db.put(key, value);
            }
            return entries;
        });
        double packed = measure("put, batches of 100 in one call", () -> {
            try (WriteBatch batch = db.batch()) {
                for (int i = 0; i < entries; i++) {
                    batch.put(keys[i], value);
                    if (batch.count() == BATCH || i == entries - 1) {
                        db.write(batch);
                        batch.clear();
                    }
                }
            }
            return entries;
        });
        saves("packing", alone, packed);
    }

    private void reads(Lsm db) {
        double alone = measure("get, one call each", () -> {
            for (byte[] key : keys) {
                expect(db.get(key).length, VALUE, "get");
            }
            return entries;
        });
        byte[] missing = "0000 not there".getBytes(StandardCharsets.US_ASCII);
        measure("contains, a key that is not there", () -> {
            for (int i = 0; i < entries; i++) {
                if (db.contains(missing)) {
                    throw new IllegalStateException("found what was never put");
                }
            }
            return entries;
        });
        ByteBuffer key = ByteBuffer.allocateDirect(KEY);
        ByteBuffer into = ByteBuffer.allocateDirect(VALUE);
        measure("get, direct buffers", () -> {
            for (byte[] wanted : keys) {
                key.put(0, wanted);
                into.clear();
                expect(db.get(key, into, ReadOptions.DEFAULT), VALUE, "get into a buffer");
            }
            return entries;
        });
        List<List<byte[]>> groups = new ArrayList<>();
        for (int i = 0; i < entries; i += BATCH) {
            groups.add(Arrays.asList(keys).subList(i, Math.min(entries, i + BATCH)));
        }
        double packed = measure("multiGet, 100 keys in one call", () -> {
            for (List<byte[]> group : groups) {
                for (byte[] found : db.multiGet(group)) {
                    expect(found.length, VALUE, "multiGet");
                }
            }
            return entries;
        });
        saves("packing", alone, packed);
    }

    private void scans(Lsm db) {
        double stepped = measure("scan, one call each (chunk 0)", () -> scan(db, ReadOptions.DEFAULT.chunk(0), true));
        double packed = measure("scan, chunks of 64 KiB, copies", () -> scan(db, ReadOptions.DEFAULT, true));
        saves("packing", stepped, packed);
        measure("scan, chunks of 64 KiB, lengths only", () -> scan(db, ReadOptions.DEFAULT, false));
        measure("seek and 10 entries", () -> {
            try (Cursor cursor = db.cursor()) {
                for (int i = 0; i < entries / 10; i++) {
                    boolean here = cursor.seek(Seek.GE, keys[i]);
                    for (int j = 0; j < 10 && here; j++) {
                        sink += cursor.value().length;
                        here = cursor.next();
                    }
                }
            }
            return entries / 10;
        });
    }

    private long scan(Lsm db, ReadOptions options, boolean copies) {
        long seen = 0;
        try (Cursor cursor = db.cursor(options)) {
            while (cursor.next()) {
                if (copies) {
                    byte[] key = cursor.key();
                    byte[] found = cursor.value();
                    sink += key[0] + found[0];
                } else {
                    sink += cursor.keyLength() + cursor.valueLength();
                }
                seen++;
            }
        }
        expect(seen, entries, "scan");
        return seen;
    }

    private void large(Lsm db) {
        int count = 200;
        byte[] bytes = new byte[LARGE];
        new Random(2).nextBytes(bytes);
        try (Keyspace keyspace = db.keyspace("large")) {
            for (int i = 0; i < count; i++) {
                keyspace.put(keys[i], bytes);
            }
            keyspace.flush();
            double copied = measure("get of 100 KiB, a copy", () -> {
                for (int i = 0; i < count; i++) {
                    expect(keyspace.get(keys[i])[LARGE - 1], bytes[LARGE - 1], "a large value");
                }
                return count;
            });
            measure("get of 100 KiB, pinned, a view until the close", () -> {
                for (int i = 0; i < count; i++) {
                    try (Pinned pin = keyspace.getPinned(keys[i])) {
                        expect(pin.buffer().get(LARGE - 1), bytes[LARGE - 1], "a pinned value");
                    }
                }
                return count;
            });
            double pinned = measure("get of 100 KiB, pinned, read(function)", () -> {
                for (int i = 0; i < count; i++) {
                    try (Pinned pin = keyspace.getPinned(keys[i])) {
                        expect(pin.read(ByteBuffer.class, view -> (long) view.get(LARGE - 1)), bytes[LARGE - 1], "a pinned value");
                    }
                }
                return count;
            });
            saves("pinning", copied, pinned);
            Reference.reachabilityFence(bytes);
        }
    }

    private static void saves(String what, double before, double after) {
        System.out.printf(Locale.ROOT, "    %s: %.1f times as fast%n", what, before / after);
    }
}
