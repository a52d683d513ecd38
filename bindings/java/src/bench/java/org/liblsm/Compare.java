package org.liblsm;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.stream.Stream;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.CompressionType;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.WriteOptions;

/**
 * The same work through this binding and through rocksdbjni, one after the other, in turns. Usage: {@code Compare [ENTRIES]
 * [ROUNDS]}. Both: log on and not synced, LZ4, blocks of 4 KiB, filters of 10 bits a key (1 %), a cache of 256 MiB,
 * memtables of 64 MiB, two background threads. Figures are nanoseconds for one operation, the best and the median round.
 */
public final class Compare {
    private static final int BATCH = 100;
    private static final int SHORT = 10;

    private final byte[][] keys;
    private final byte[][] shuffled;
    private final byte[] value = new byte[Bench.VALUE];
    private final int rounds;
    private long sink;

    private Compare(int entries, int rounds) {
        this.rounds = rounds;
        keys = Bench.keys(entries);
        shuffled = keys.clone();
        Random random = new Random(9);
        for (int i = shuffled.length - 1; i > 0; i--) {
            int other = random.nextInt(i + 1);
            byte[] moved = shuffled[i];
            shuffled[i] = shuffled[other];
            shuffled[other] = moved;
        }
        random.nextBytes(value);
    }

    /** What is compared. Each gives the number of its operations. */
    private interface Engine extends AutoCloseable {
        long put() throws RocksDBException;

        long batches() throws RocksDBException;

        void settle() throws RocksDBException;

        long get() throws RocksDBException;

        long multiGet() throws RocksDBException;

        long scan() throws RocksDBException;

        long scanBack() throws RocksDBException;

        long shortScans() throws RocksDBException;

        @Override
        void close();
    }

    private interface Work {
        long run(Engine engine) throws RocksDBException;
    }

    public static void main(String[] arguments) throws Exception {
        int entries = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 200_000;
        int rounds = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 7;
        RocksDB.loadLibrary();
        System.out.println("liblsm " + Lsm.version() + " (" + Lsm.backend() + "), rocksdbjni " + RocksDB.rocksdbVersion()
                + ", Java " + System.getProperty("java.version") + ", " + entries + " entries of " + Bench.KEY + " + "
                + Bench.VALUE + " bytes, " + rounds + " rounds");
        System.out.printf(Locale.ROOT, "%-34s %10s %10s %10s %10s   %s%n", "nanoseconds each", "lsm best", "median",
                "rocks best", "median", "liblsm is (best)");
        Path folder = Files.createTempDirectory("compare");
        try {
            new Compare(entries, rounds).run(folder);
        } finally {
            try (Stream<Path> files = Files.walk(folder)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
    }

    private void run(Path folder) throws Exception {
        try (Engine lsm = new OnLsm(folder.resolve("lsm")); Engine rocks = new OnRocks(folder.resolve("rocks"))) {
            line("put", lsm, rocks, Engine::put);
            line("put, batches of " + BATCH, lsm, rocks, Engine::batches);
            lsm.settle();
            rocks.settle();
            line("get, random", lsm, rocks, Engine::get);
            line("get, " + BATCH + " keys in one call", lsm, rocks, Engine::multiGet);
            line("scan, key and value copied", lsm, rocks, Engine::scan);
            line("scan backwards", lsm, rocks, Engine::scanBack);
            line("seek and " + SHORT + " entries", lsm, rocks, Engine::shortScans);
        }
        if (sink == 42) {
            System.out.println("never printed, so that the work is not left out");
        }
    }

    private void line(String name, Engine lsm, Engine rocks, Work work) throws RocksDBException {
        double[][] nanos = new double[2][rounds];
        Engine[] engines = {lsm, rocks};
        for (int round = -1; round < rounds; round++) {
            for (int i = 0; i < 2; i++) {
                // Who goes first takes turns.
                int which = (i + round & 1);
                long begin = System.nanoTime();
                long operations = work.run(engines[which]);
                double each = (double) (System.nanoTime() - begin) / operations;
                if (round >= 0) {
                    nanos[which][round] = each;
                }
            }
        }
        Arrays.sort(nanos[0]);
        Arrays.sort(nanos[1]);
        System.out.printf(Locale.ROOT, "%-34s %10.0f %10.0f %10.0f %10.0f   %.2f times as fast%n", name, nanos[0][0],
                nanos[0][rounds / 2], nanos[1][0], nanos[1][rounds / 2], nanos[1][0] / nanos[0][0]);
    }

    private List<List<byte[]>> groups() {
        List<List<byte[]>> groups = new ArrayList<>();
        for (int i = 0; i < shuffled.length; i += BATCH) {
            groups.add(Arrays.asList(shuffled).subList(i, Math.min(shuffled.length, i + BATCH)));
        }
        return groups;
    }

    private final class OnLsm implements Engine {
        private final Lsm db;

        OnLsm(Path path) {
            db = Lsm.open(path, o -> o.cacheSize(256 << 20).memtableSize(64 << 20).compression("lz4")
                    .set("block.size", 4096).falsePositiveRate(0.01).set("compaction.threads", 2));
        }

        @Override
        public long put() {
            for (byte[] key : shuffled) {
                db.put(key, value);
            }
            return shuffled.length;
        }

        @Override
        public long batches() {
            try (WriteBatch batch = db.batch()) {
                for (int i = 0; i < shuffled.length; i++) {
                    batch.put(shuffled[i], value);
                    if ((i + 1) % BATCH == 0 || i == shuffled.length - 1) {
                        db.write(batch);
                        batch.clear();
                    }
                }
            }
            return shuffled.length;
        }

        @Override
        public void settle() {
            db.flush();
            db.compact();
        }

        @Override
        public long get() {
            for (byte[] key : shuffled) {
                Bench.expect(db.get(key).length, Bench.VALUE, "get");
            }
            return shuffled.length;
        }

        @Override
        public long multiGet() {
            for (List<byte[]> group : groups()) {
                for (byte[] found : db.multiGet(group)) {
                    Bench.expect(found.length, Bench.VALUE, "multiGet");
                }
            }
            return shuffled.length;
        }

        @Override
        public long scan() {
            long seen = 0;
            try (Cursor cursor = db.cursor()) {
                while (cursor.next()) {
                    sink += cursor.key()[0] + cursor.value()[0];
                    seen++;
                }
            }
            Bench.expect(seen, keys.length, "scan");
            return seen;
        }

        @Override
        public long scanBack() {
            long seen = 0;
            try (Cursor cursor = db.cursor()) {
                while (cursor.previous()) {
                    sink += cursor.key()[0] + cursor.value()[0];
                    seen++;
                }
            }
            Bench.expect(seen, keys.length, "scan");
            return seen;
        }

        @Override
        public long shortScans() {
            try (Cursor cursor = db.cursor()) {
                for (int i = 0; i < shuffled.length; i += SHORT) {
                    boolean here = cursor.seek(Seek.GE, shuffled[i]);
                    for (int j = 0; j < SHORT && here; j++) {
                        sink += cursor.key()[0] + cursor.value()[0];
                        here = cursor.next();
                    }
                }
            }
            return shuffled.length / SHORT;
        }

        @Override
        public void close() {
            db.close();
        }
    }

    private final class OnRocks implements Engine {
        private final BlockBasedTableConfig table;
        private final Options options;
        private final WriteOptions write = new WriteOptions();
        private final RocksDB db;

        OnRocks(Path path) throws RocksDBException, IOException {
            table = new BlockBasedTableConfig().setBlockCache(new LRUCache(256 << 20)).setBlockSize(4096)
                    .setFilterPolicy(new BloomFilter(10, false));
            options = new Options().setCreateIfMissing(true).setWriteBufferSize(64 << 20).setMaxBackgroundJobs(2)
                    .setCompressionType(CompressionType.LZ4_COMPRESSION).setTableFormatConfig(table);
            db = RocksDB.open(options, path.toString());
        }

        @Override
        public long put() throws RocksDBException {
            for (byte[] key : shuffled) {
                db.put(write, key, value);
            }
            return shuffled.length;
        }

        @Override
        public long batches() throws RocksDBException {
            try (org.rocksdb.WriteBatch batch = new org.rocksdb.WriteBatch()) {
                for (int i = 0; i < shuffled.length; i++) {
                    batch.put(shuffled[i], value);
                    if ((i + 1) % BATCH == 0 || i == shuffled.length - 1) {
                        db.write(write, batch);
                        batch.clear();
                    }
                }
            }
            return shuffled.length;
        }

        @Override
        public void settle() throws RocksDBException {
            try (org.rocksdb.FlushOptions flush = new org.rocksdb.FlushOptions().setWaitForFlush(true)) {
                db.flush(flush);
            }
            db.compactRange();
        }

        @Override
        public long get() throws RocksDBException {
            for (byte[] key : shuffled) {
                Bench.expect(db.get(key).length, Bench.VALUE, "get");
            }
            return shuffled.length;
        }

        @Override
        public long multiGet() throws RocksDBException {
            for (List<byte[]> group : groups()) {
                for (byte[] found : db.multiGetAsList(group)) {
                    Bench.expect(found.length, Bench.VALUE, "multiGet");
                }
            }
            return shuffled.length;
        }

        @Override
        public long scan() throws RocksDBException {
            long seen = 0;
            try (RocksIterator iterator = db.newIterator()) {
                for (iterator.seekToFirst(); iterator.isValid(); iterator.next()) {
                    sink += iterator.key()[0] + iterator.value()[0];
                    seen++;
                }
                iterator.status();
            }
            Bench.expect(seen, keys.length, "scan");
            return seen;
        }

        @Override
        public long scanBack() throws RocksDBException {
            long seen = 0;
            try (RocksIterator iterator = db.newIterator()) {
                for (iterator.seekToLast(); iterator.isValid(); iterator.prev()) {
                    sink += iterator.key()[0] + iterator.value()[0];
                    seen++;
                }
                iterator.status();
            }
            Bench.expect(seen, keys.length, "scan");
            return seen;
        }

        @Override
        public long shortScans() throws RocksDBException {
            try (RocksIterator iterator = db.newIterator()) {
                for (int i = 0; i < shuffled.length; i += SHORT) {
                    iterator.seek(shuffled[i]);
                    for (int j = 0; j < SHORT && iterator.isValid(); j++) {
                        sink += iterator.key()[0] + iterator.value()[0];
                        iterator.next();
                    }
                }
                iterator.status();
            }
            return shuffled.length / SHORT;
        }

        @Override
        public void close() {
            db.close();
            write.close();
            options.close();
        }
    }
}
