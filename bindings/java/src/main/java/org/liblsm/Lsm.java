package org.liblsm;

import static org.liblsm.Library.LIB;
import static org.liblsm.Library.NOT_FOUND;
import static org.liblsm.Memory.DATA;
import static org.liblsm.Memory.OUT1;
import static org.liblsm.Memory.OUT2;

import java.lang.ref.Reference;
import java.lang.ref.WeakReference;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.function.Consumer;

/**
 * An open database, and its default keyspace: everything of {@link Store} reads and writes that.
 *
 * <pre>{@code
 * try (Lsm db = Lsm.open(Path.of("people.db"))) {
 *     db.put(key, value);
 *     byte[] found = db.get(key);
 * }
 * }</pre>
 *
 * <p>Any number of threads at once, platform or virtual. {@link #close} waits for calls in flight; calls after it, also on
 * keyspaces and snapshots of this database, throw {@link LsmException.Closed}, and its cursors do after what they had
 * fetched; all those may be closed later in any order. Pinned values outlive it.
 */
public final class Lsm extends Store implements AutoCloseable {
    /** Databases that call into Java, to be closed before the JVM is gone. */
    private static final Set<WeakReference<Lsm>> LOGGING = ConcurrentHashMap.newKeySet();
    private static final AtomicBoolean HAS_HOOK = new AtomicBoolean();

    private static final int STRIPES = 16;
    /** Numbers that share no cache line. */
    private static final int STRIDE = 16;

    private final Path path;
    private final Held held;
    private final AtomicBoolean isClosing = new AtomicBoolean();
    private final WeakReference<Lsm> logging;
    private volatile long db;

    /**
     * How many threads copy what an iterator shows. Those bytes belong to the iterator, and a close of the database empties
     * it, so {@link #close} waits for them. Striped, because every seek counts itself in and out.
     */
    private final AtomicIntegerArray looks = new AtomicIntegerArray(STRIPES * STRIDE);

    /** Outlives the object. */
    private static final class Held extends Leaks.Handle {
        private final long db;
        private volatile boolean isDone;

        Held(long db, Path path) {
            super("the database " + path);
            this.db = db;
        }

        @Override
        void release() {
            if (!isDone) {
                LIB.lsm_close(db, 0);
            }
        }
    }

    private Lsm(Path path, long db, boolean hasLog) {
        super(LIB.lsm_default_keyspace(db));
        this.path = path;
        this.db = db;
        this.held = new Held(db, path);
        held.track(this);
        this.logging = hasLog ? new WeakReference<>(this) : null;
        if (hasLog) {
            LOGGING.add(logging);
            if (HAS_HOOK.compareAndSet(false, true)) {
                Runtime.getRuntime().addShutdownHook(new Thread(Lsm::closeLogging, "lsm-shutdown"));
            }
        }
    }

    private static void closeLogging() {
        for (WeakReference<Lsm> reference : LOGGING) {
            Lsm open = reference.get();
            if (open != null) {
                try {
                    open.close();
                } catch (LsmException e) {
                    // Nobody is left to be told; the next open replays the log.
                }
            }
        }
    }

    // Opening.

    /** Opens a database folder with the default options, creating it (its last component) when it is missing. */
    public static Lsm open(Path path) {
        return open(path, 0, false);
    }

    /** Opens with options, which stay the caller's. */
    public static Lsm open(Path path, Options options) {
        synchronized (options) {
            return open(path, options.handle(), options.hasLog());
        }
    }

    /** Opens with options that the function sets: {@code Lsm.open(path, o -> o.cacheSize(1 << 30))}. */
    public static Lsm open(Path path, Consumer<Options> set) {
        try (Options options = new Options()) {
            set.accept(options);
            return open(path, options);
        }
    }

    /** Opens with options from a map of text, numbers and booleans. */
    public static Lsm open(Path path, Map<String, ?> options) {
        return open(path, o -> o.set(options));
    }

    private static Lsm open(Path path, long options, boolean hasLog) {
        byte[] name = bytes(path);
        Memory memory = Memory.take(name.length + 1L);
        try {
            memory.check(LIB.lsm_open(memory.text(DATA, name), options, memory.out1(), memory.err()));
            return new Lsm(path, memory.bytes.getLong(OUT1), hasLog);
        } finally {
            memory.give();
        }
    }

    /** Removes a database that nobody has open: the files that the library made, and the folder when it is empty then. */
    public static void destroy(Path path) {
        byte[] name = bytes(path);
        Memory memory = Memory.take(name.length + 1L);
        try {
            memory.check(LIB.lsm_destroy(memory.text(DATA, name), memory.err()));
        } finally {
            memory.give();
        }
    }

    /** A path's bytes as the JDK itself would give them to the system. */
    private static byte[] bytes(Path path) {
        String name = path.toString();
        String encoding = System.getProperty("sun.jnu.encoding");
        boolean isKnown = encoding != null && Charset.isSupported(encoding);
        return Memory.checked(name.getBytes(isKnown ? Charset.forName(encoding) : StandardCharsets.UTF_8), name);
    }

    /** The library's version, for example "0.1.0". */
    public static String version() {
        return LIB.string(LIB.lsm_version());
    }

    /** Whether the library was built with a feature: "lz4", "zstd". */
    public static boolean hasFeature(String feature) {
        byte[] name = Memory.utf8(feature);
        Memory memory = Memory.take(name.length + 1L);
        try {
            return LIB.lsm_has_feature(memory.text(DATA, name)) == 1;
        } finally {
            memory.give();
        }
    }

    /** How the library is called: "ffm" or "jna". */
    public static String backend() {
        return LIB.name();
    }

    /**
     * Who is told of objects that were not closed before the garbage collector found them; {@code null}: a warning to the
     * {@code System.Logger} "org.liblsm". With {@code -Dliblsm.leaks=trace} the text says where each was made.
     */
    public static void onLeak(Consumer<String> listener) {
        Leaks.listener(listener);
    }

    /** How many leaked objects were found so far. */
    public static long leaks() {
        return Leaks.count();
    }

    @Override
    public Lsm database() {
        return this;
    }

    @Override
    public String name() {
        return "default";
    }

    /** The folder, as it was given. */
    public Path path() {
        return path;
    }

    @Override
    long scope() {
        open();
        return 0;
    }

    long db() {
        long open = db;
        if (open == 0) {
            throw LsmException.closed("the database " + path);
        }
        return open;
    }

    /** Keeps {@link #close} out until {@link #endLook} of the same number. */
    @SuppressWarnings("deprecation") // threadId() came with Java 19
    int beginLook() {
        int stripe = ((int) Thread.currentThread().getId() & (STRIPES - 1)) * STRIDE;
        // This and the read after it, against the write and the reads in close: one of the two sees the other.
        looks.getAndIncrement(stripe);
        if (isClosing.get()) {
            looks.getAndDecrement(stripe);
            throw LsmException.closed("the database " + path);
        }
        return stripe;
    }

    void endLook(int stripe) {
        looks.getAndDecrement(stripe);
    }

    private void awaitLooks() {
        for (int stripe = 0; stripe < STRIPES * STRIDE; stripe += STRIDE) {
            while (looks.get(stripe) != 0) {
                Thread.yield();
            }
        }
    }

    // Writes.

    /** An empty batch. */
    public WriteBatch batch() {
        return new WriteBatch(this);
    }

    /** Writes a batch as a whole; gives the sequence number of its last operation. */
    public long write(WriteBatch batch) {
        return write(batch, WriteOptions.DEFAULT);
    }

    /** The same with a durability or a deadline of its own. */
    public long write(WriteBatch batch, WriteOptions options) {
        db();
        return batch.write(this, options);
    }

    /** Makes everything acknowledged so far durable: it survives a power cut. */
    public void sync() {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_sync(db(), memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** The sequence number of the last committed write. */
    public long committed() {
        return sequence(OUT1);
    }

    /** The sequence number up to which everything survives a power cut. */
    public long durable() {
        return sequence(OUT2);
    }

    private long sequence(int out) {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_sequence(db(), memory.out1(), memory.out2()));
            return memory.bytes.getLong(out);
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    // Snapshots and keyspaces.

    /** A snapshot of now. Close it soon. */
    public Snapshot snapshot() {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_snapshot_new(db(), memory.out1(), memory.err()));
            return new Snapshot(this, memory.bytes.getLong(OUT1));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** Opens a keyspace by name, making a missing one. Close it. */
    public Keyspace keyspace(String name) {
        return keyspace(name, 0).orElseThrow(() -> missing(name));
    }

    /** The same with options for it; with {@code createIfMissing(false)} a missing one is {@link LsmException.NotFound}. */
    public Keyspace keyspace(String name, Consumer<Options> set) {
        try (Options options = new Options()) {
            set.accept(options);
            return keyspace(name, options.handle()).orElseThrow(() -> missing(name));
        }
    }

    /** Opens a keyspace when there is one of that name. */
    public Optional<Keyspace> findKeyspace(String name) {
        try (Options options = new Options()) {
            return keyspace(name, options.createIfMissing(false).handle());
        }
    }

    private static LsmException missing(String name) {
        return LsmException.of(NOT_FOUND, 0, 0, "there is no keyspace " + name);
    }

    private Optional<Keyspace> keyspace(String keyspace, long options) {
        byte[] name = Memory.utf8(keyspace);
        Memory memory = Memory.take(name.length + 1L);
        try {
            int code = memory.check(LIB.lsm_keyspace_open(db(), memory.text(DATA, name), options, memory.out1(), memory.err()));
            return code == NOT_FOUND
                    ? Optional.empty()
                    : Optional.of(new Keyspace(this, keyspace, memory.bytes.getLong(OUT1)));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** Drops a keyspace and all its data; false when there is none of that name. Its objects answer "closed" then. */
    public boolean dropKeyspace(String keyspace) {
        byte[] name = Memory.utf8(keyspace);
        Memory memory = Memory.take(name.length + 1L);
        try {
            return memory.check(LIB.lsm_keyspace_drop(db(), memory.text(DATA, name), memory.err())) != NOT_FOUND;
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** The names of all keyspaces, sorted. A name that is no UTF-8 has U+FFFD in place of the bytes that are none. */
    public List<String> keyspaces() {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_keyspace_list(db(), memory.out1(), memory.err()));
            long list = memory.bytes.getLong(OUT1);
            try {
                List<String> names = new ArrayList<>();
                for (long i = 0; i < LIB.lsm_list_len(list); i++) {
                    names.add(LIB.string(LIB.lsm_list_get(list, i)));
                }
                return names;
            } finally {
                LIB.lsm_list_free(list);
            }
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    // Metrics.

    /** All metrics as Prometheus text. */
    public String metrics() {
        return metrics(0);
    }

    /** All metrics as JSON. */
    public String metricsJson() {
        return metrics(1);
    }

    private String metrics(int format) {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_metrics(db(), format, memory.out1(), memory.err()));
            return memory.takeText(OUT1);
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /** Empties the block cache. */
    public void clearCache() {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_cache_clear(db(), memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    // Damage.

    /** Whether all is sound, and the report, a JSON object whose {@code damaged} names the files that are not. */
    public record Verified(boolean isSound, String report) {}

    /** Reads and checks every byte, while reads and writes go on. Damage is an answer here, no exception. */
    public Verified verify() {
        Memory memory = Memory.take(0);
        try {
            memory.bytes.putLong(OUT1, 0);
            int code = LIB.lsm_verify(db(), memory.out1(), memory.err());
            boolean isReported = code == Code.CORRUPTION.number() && memory.bytes.getLong(OUT1) != 0;
            if (isReported) {
                memory.failure(code); // the report says more; this frees the error
            } else {
                memory.check(code);
            }
            return new Verified(!isReported, memory.takeText(OUT1));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /**
     * Repairs a damaged database that nobody has open, so that it opens with every entry that can still be read. What
     * cannot be read is set aside in the folder, never removed; a sound database is left as it is.
     *
     * @return the report, a JSON object; its {@code result} is "sound" or "repaired", and {@code lost} says what is gone
     */
    public static String repair(Path path) {
        return repair(path, 0);
    }

    /** The same with options for the tables that are written, over the ones that the database remembers. */
    public static String repair(Path path, Consumer<Options> set) {
        try (Options options = new Options()) {
            set.accept(options);
            return repair(path, options.handle());
        }
    }

    private static String repair(Path path, long options) {
        byte[] name = bytes(path);
        Memory memory = Memory.take(name.length + 1L);
        try {
            memory.check(LIB.lsm_repair(memory.text(DATA, name), options, memory.out1(), memory.err()));
            return memory.takeText(OUT1);
        } finally {
            memory.give();
        }
    }

    /**
     * Tries again, now, what failed in the background or for want of room, and waits for it. After a failure that
     * {@link LsmException#isFatal} tells of, close the database and open it again instead.
     */
    public void resume() {
        Memory memory = Memory.take(0);
        try {
            memory.check(LIB.lsm_resume(db(), memory.err()));
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }

    /**
     * Ends background work, makes what was acknowledged durable and releases the folder. Throws when not all could be made
     * durable; it is closed all the same. A second close does nothing.
     */
    @Override
    public void close() {
        if (!isClosing.compareAndSet(false, true)) {
            return;
        }
        long open = db;
        db = 0;
        handle = 0;
        awaitLooks();
        if (logging != null) {
            LOGGING.remove(logging);
        }
        Memory memory = Memory.take(0);
        try {
            int code = LIB.lsm_close(open, memory.err());
            held.isDone = true;
            held.close();
            memory.check(code);
        } finally {
            memory.give();
            Reference.reachabilityFence(this);
        }
    }
}
