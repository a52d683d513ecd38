import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.liblsm.Cursor;
import org.liblsm.Keyspace;
import org.liblsm.Lsm;
import org.liblsm.ReadOptions;
import org.liblsm.Seek;
import org.liblsm.Snapshot;
import org.liblsm.WriteBatch;

/**
 * Which file has which word: an index of a real folder that is brought up to date on each run and then compared with the
 * files. Usage: {@code Words DATABASE FOLDER [WORD...]}: indexes FOLDER, shows the most frequent words, and for each WORD
 * (or beginning, as in {@code keysp*}) the files that have it.
 *
 * <p>Keyspace "files": path -> time and size of the file, and its words. Keyspace "words": word, NUL, path -> how often. A
 * file's entries change in one batch over both, so a crash leaves no file half indexed. Exits with 1 when anything differs.
 */
public final class Words {
    private static final Pattern WORD = Pattern.compile("\\p{L}{3,}");
    private static final long FILE_MAX = 16 << 20;

    private final Lsm db;
    private final Keyspace files;
    private final Keyspace words;
    private int changed;
    private int same;
    private int removed;

    private Words(Lsm db, Keyspace files, Keyspace words) {
        this.db = db;
        this.files = files;
        this.words = words;
    }

    public static void main(String[] arguments) throws IOException {
        if (arguments.length < 2) {
            System.err.println("usage: Words DATABASE FOLDER [WORD...]");
            System.exit(2);
        }
        Path folder = Path.of(arguments[1]).toAbsolutePath().normalize();
        try (Lsm db = Lsm.open(Path.of(arguments[0]), o -> o.memtableSize(16 << 20));
                Keyspace files = db.keyspace("files");
                Keyspace words = db.keyspace("words", o -> o.falsePositiveRate(0.001))) {
            Words index = new Words(db, files, words);
            Map<String, Integer> truth = index.update(folder);
            index.verify(truth);
            for (int i = 2; i < arguments.length; i++) {
                index.find(arguments[i]);
            }
        }
    }

    /** Indexes what changed since the last run; gives the true number of each word, counted from the files alone. */
    private Map<String, Integer> update(Path folder) throws IOException {
        List<Path> found;
        try (Stream<Path> walk = Files.walk(folder)) {
            found = walk.filter(Files::isRegularFile).toList();
        }
        Map<String, Integer> truth = new HashMap<>();
        Set<String> present = new HashSet<>();
        for (Path path : found) {
            BasicFileAttributes attributes = Files.readAttributes(path, BasicFileAttributes.class);
            Map<String, Integer> counts = attributes.size() > FILE_MAX ? null : count(path);
            if (counts == null) {
                continue; // no text
            }
            present.add(path.toString());
            counts.forEach((word, times) -> truth.merge(word, times, Integer::sum));
            index(path.toString(), attributes, counts);
        }
        removeMissing(present);
        System.out.println(present.size() + " text files of " + folder + ": " + changed + " indexed, " + same
                + " unchanged, " + removed + " removed");
        return truth;
    }

    private static Map<String, Integer> count(Path path) throws IOException {
        Map<String, Integer> counts = new TreeMap<>();
        try {
            Matcher found = WORD.matcher(UTF_8.newDecoder().decode(ByteBuffer.wrap(Files.readAllBytes(path))));
            while (found.find()) {
                counts.merge(found.group().toLowerCase(Locale.ROOT), 1, Integer::sum);
            }
            return counts;
        } catch (CharacterCodingException e) {
            return null;
        }
    }

    private void index(String path, BasicFileAttributes attributes, Map<String, Integer> counts) {
        byte[] stamp = ByteBuffer.allocate(16).putLong(attributes.lastModifiedTime().toMillis()).putLong(attributes.size()).array();
        byte[] record = files.get(path.getBytes(UTF_8));
        if (record != null && ByteBuffer.wrap(record, 0, 16).equals(ByteBuffer.wrap(stamp))) {
            same++;
            return;
        }
        try (WriteBatch batch = db.batch()) {
            forget(batch, path, record);
            byte[] names = String.join("\n", counts.keySet()).getBytes(UTF_8);
            batch.put(files, path.getBytes(UTF_8), ByteBuffer.allocate(16 + names.length).put(stamp).put(names).array());
            counts.forEach((word, times) -> batch.put(words, key(word, path), ByteBuffer.allocate(4).putInt(times).array()));
            db.write(batch);
        }
        changed++;
    }

    private void forget(WriteBatch batch, String path, byte[] record) {
        if (record != null && record.length > 16) {
            for (String word : new String(record, 16, record.length - 16, UTF_8).split("\n")) {
                batch.delete(words, key(word, path));
            }
        }
    }

    private void removeMissing(Set<String> present) {
        // The cursor shows one moment, so deleting while walking is no trouble.
        try (Cursor file = files.cursor()) {
            while (file.next()) {
                String path = new String(file.key(), UTF_8);
                if (!present.contains(path)) {
                    try (WriteBatch batch = db.batch()) {
                        forget(batch, path, file.value());
                        db.write(batch.delete(files, file.key()));
                    }
                    removed++;
                }
            }
        }
    }

    private static byte[] key(String word, String path) {
        return (word + '\0' + path).getBytes(UTF_8);
    }

    /** Adds the index up by word, forwards and backwards on one snapshot, and compares with the files. */
    private void verify(Map<String, Integer> truth) {
        try (Snapshot snapshot = db.snapshot()) {
            Map<String, Integer> forwards = sums(snapshot, true);
            if (!forwards.equals(truth) || !sums(snapshot, false).equals(truth)) {
                System.err.println("FAILED: the index has " + forwards.size() + " words, the files " + truth.size());
                System.exit(1);
            }
            System.out.println(truth.size() + " words; the index agrees with the files");
        }
        List<Map.Entry<String, Integer>> top = new ArrayList<>(truth.entrySet());
        top.sort(Map.Entry.<String, Integer>comparingByValue(Comparator.reverseOrder()).thenComparing(Map.Entry.comparingByKey()));
        top.stream().limit(5).forEach(word -> System.out.println("  " + word.getKey() + ": " + word.getValue() + " times in "
                + filesWith(word.getKey()) + " files"));
    }

    private Map<String, Integer> sums(Snapshot snapshot, boolean isForwards) {
        Map<String, Integer> sums = new HashMap<>();
        try (Cursor entry = words.cursor(ReadOptions.DEFAULT.snapshot(snapshot))) {
            while (isForwards ? entry.next() : entry.previous()) {
                sums.merge(word(entry), entry.valueBuffer().getInt(), Integer::sum);
            }
        }
        return sums;
    }

    private static String word(Cursor entry) {
        String key = new String(entry.key(), UTF_8);
        return key.substring(0, key.indexOf('\0'));
    }

    private long filesWith(String word) {
        try (Stream<?> entries = words.stream(ReadOptions.DEFAULT.prefix((word + '\0').getBytes(UTF_8)).keysOnly())) {
            return entries.count();
        }
    }

    /** Shows the files of a word, or the words with a beginning: one seek for each word, however many files have it. */
    private void find(String what) {
        String beginning = what.endsWith("*") ? what.substring(0, what.length() - 1) : what + '\0';
        try (Cursor entry = words.prefix(beginning.toLowerCase(Locale.ROOT).getBytes(UTF_8))) {
            boolean here = entry.first();
            if (!here) {
                System.out.println(what + ": nowhere");
            }
            while (here) {
                String key = new String(entry.key(), UTF_8);
                if (what.endsWith("*")) {
                    System.out.println(word(entry) + ": in " + filesWith(word(entry)) + " files");
                    here = entry.seek(Seek.GE, (word(entry) + '\1').getBytes(UTF_8));
                } else {
                    System.out.println(key.substring(key.indexOf('\0') + 1) + ": " + entry.valueBuffer().getInt() + " times");
                    here = entry.next();
                }
            }
        }
    }
}
