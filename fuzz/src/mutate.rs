//! Random changes of sample files, checksums made anew, without libFuzzer: fast enough for 10^8 runs of a parser.
//!
//! A run is told by its seed alone. Each takes one sample, changes it in one to eight places (bits, bytes, words that are
//! known to hurt, ranges copied, cut or repeated), signs it again in nine of ten runs, and hands it to the parser, which
//! may refuse it or read it, but not panic, not take a second and not allocate out of proportion.

use crate::sign::{Place, log_records, manifest_records, sign_current};
use lsm_engine::base::epoch::Retired;
use lsm_engine::base::ids::{FileIdentity, FileNumber, SeqNo};
use lsm_engine::base::iter::{Cursor, View};
use lsm_engine::base::key::key_hash;
use lsm_engine::cache::{Cache, CacheConfig};
use lsm_engine::db::{Db, Options, WriteOptions};
use lsm_engine::fs::mem::MemFs;
use lsm_engine::fs::{Fs, OpenMode};
use lsm_engine::sstable::{ReadMode, TableReader, read_data_payload, read_properties_payload};
use lsm_engine::version::{read_current_bytes, read_manifest_bytes};
use lsm_engine::wal::{ReplayFrom, replay_bytes};
use std::path::Path;
use std::sync::Arc;

/// A random generator that is told by one number.
pub struct Rng(u64);

impl Rng {
    /// Whatever the seed, never stuck.
    pub fn new(seed: u64) -> Rng {
        let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Rng((x ^ (x >> 31)) | 1)
    }
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n.max(1) as u64) >> 32) as usize
    }
}

const WORDS: [u64; 14] = [0, 1, 2, 7, 8, 127, 128, 255, 256, 65_535, 65_536, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Changes `bytes` in a few places within `range`.
fn change(bytes: &mut Vec<u8>, range: std::ops::Range<usize>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) * rng.below(4) {
        let end = range.end.min(bytes.len());
        if end <= range.start {
            return;
        }
        let at = range.start + rng.below(end - range.start);
        let left = end - at;
        match rng.below(12) {
            0..=3 => bytes[at] ^= 1 << rng.below(8),
            4 | 5 => bytes[at] = rng.next() as u8,
            6..=8 => {
                let len = [1, 2, 4, 8][rng.below(4)].min(left);
                let word =
                    WORDS[rng.below(WORDS.len())].wrapping_add(if rng.below(3) == 0 { rng.below(3) as u64 } else { 0 });
                bytes[at..at + len].copy_from_slice(&word.to_le_bytes()[..len]);
            }
            9 => {
                let from = range.start + rng.below(end - range.start);
                let len = rng.below(24).min(left).min(end - from);
                bytes.copy_within(from..from + len, at);
            }
            10 => bytes[at] = bytes[at].wrapping_add([1, 255, 16][rng.below(3)]),
            _ => {
                let len = rng.below(16).min(left);
                bytes[at..at + len].fill(0);
            }
        }
    }
}

/// Makes `bytes` shorter or longer now and then.
fn resize(bytes: &mut Vec<u8>, least: usize, rng: &mut Rng) {
    match rng.below(40) {
        0 => bytes.truncate(least + rng.below(bytes.len().saturating_sub(least))),
        1 => bytes.extend((0..rng.below(40)).map(|n| n as u8)),
        _ => {}
    }
}

/// Something that runs one mutated input after another.
pub trait Target {
    /// Runs the input that `seed` stands for.
    fn run(&mut self, seed: u64);
}

/// The targets by name; `true` in the second place for pure parsers.
pub const TARGETS: [(&str, bool); 10] = [
    ("batch", true),
    ("packed", true),
    ("options", true),
    ("log", true),
    ("block", true),
    ("manifest", true),
    ("current", true),
    ("table", false),
    ("operations", false),
    ("calls", false),
];

/// The target of that name.
pub fn target(name: &str) -> Option<Box<dyn Target>> {
    Some(match name {
        "batch" => Box::new(Batches::new()),
        "packed" => Box::new(Packed::new()),
        "options" => Box::new(OptionTexts::new()),
        "log" => Box::new(Log::new()),
        "block" => Box::new(Blocks::new()),
        "manifest" => Box::new(Manifests::new()),
        "current" => Box::new(Currents::new()),
        "table" => Box::new(Tables::new()),
        "operations" => Box::new(Operations),
        "calls" => Box::new(crate::calls::Calls::new()),
        _ => return None,
    })
}

struct Batches {
    samples: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Batches {
    fn new() -> Batches {
        use lsm_engine::base::ids::KeyspaceId;
        let samples = (0..8u32).map(|n| {
            let mut batch = lsm_engine::batch::BatchData::new();
            for i in 0..n + 1 {
                let key = vec![b'k'; (i * n * 3) as usize];
                batch.put(KeyspaceId(i % 3), &key, &vec![n as u8; (i * 7) as usize]).expect("fits");
                batch.delete(KeyspaceId(200 * i), &key).expect("fits");
            }
            batch.bytes().to_vec()
        });
        Batches { samples: samples.collect(), bytes: Vec::new() }
    }
}

impl Target for Batches {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        self.bytes.clone_from(&self.samples[rng.below(self.samples.len())]);
        let len = self.bytes.len();
        change(&mut self.bytes, 0..len, &mut rng);
        resize(&mut self.bytes, 0, &mut rng);
        crate::batch(&self.bytes);
    }
}

struct Packed {
    db: Db,
    sample: Vec<u8>,
    bytes: Vec<u8>,
}

impl Packed {
    fn new() -> Packed {
        let db = crate::open(&MemFs::new()).expect("opens");
        let mut sample = Vec::new();
        for n in 0..6u32 {
            let (key, value) = (vec![b'k'; n as usize * 5], vec![7; n as usize * 11]);
            let value_len = if n == 3 { u32::MAX } else { value.len() as u32 };
            sample.extend((key.len() as u32).to_le_bytes());
            sample.extend(value_len.to_le_bytes());
            sample.extend(key);
            if n != 3 {
                sample.extend(value);
            }
        }
        Packed { db, sample, bytes: Vec::new() }
    }
}

impl Target for Packed {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        self.bytes.clone_from(&self.sample);
        let len = self.bytes.len();
        change(&mut self.bytes, 0..len, &mut rng);
        resize(&mut self.bytes, 0, &mut rng);
        let mut batch = self.db.batch();
        let taken = batch.append_packed(&self.db.default_keyspace(), &self.bytes);
        // All or nothing, and what it took is a batch that reads back.
        assert!(taken.is_ok() || batch.count() == 0);
        if batch.count() > 0 && rng.below(4096) == 0 {
            self.db.write(&WriteOptions::default(), &batch).expect("writes");
        }
    }
}

struct OptionTexts {
    samples: Vec<&'static [u8]>,
    bytes: Vec<u8>,
}

impl OptionTexts {
    fn new() -> OptionTexts {
        let samples: Vec<&[u8]> = vec![
            b"memtable.size = 64MiB\nblock.size=4KiB\n",
            b"compression = lz4\ncompression.per_level = none,none,lz4\nfilter.fpr = 0.01\n",
            b"# a comment\n\n  wal.io = auto  \ndurability=fsync\nmode = ro\n",
            b"cache.size = 1073741824\nlevel0.stop=36\ncompaction.parallel_merge = false\n",
        ];
        OptionTexts { samples, bytes: Vec::new() }
    }
}

impl Target for OptionTexts {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        self.bytes.clear();
        self.bytes.extend_from_slice(self.samples[rng.below(self.samples.len())]);
        let len = self.bytes.len();
        change(&mut self.bytes, 0..len, &mut rng);
        resize(&mut self.bytes, 0, &mut rng);
        let text = String::from_utf8_lossy(&self.bytes);
        let mut options = Options::new();
        if options.load(&text).is_err() {
            return;
        }
        // Every hundredth text is also written out and read back, which costs fifty times as much.
        if rng.below(100) == 0 {
            crate::options(&self.bytes);
        }
    }
}

const PLACE: Place = Place { database: 7, number: 1 };

struct Log {
    sample: Vec<u8>,
    records: Vec<usize>,
    bytes: Vec<u8>,
}

impl Log {
    fn new() -> Log {
        let mut sample = vec![0u8; 4096];
        sample[..8].copy_from_slice(b"LSMLOG\r\n");
        sample[8..12].copy_from_slice(&1u32.to_le_bytes());
        sample[16..24].copy_from_slice(&PLACE.number.to_le_bytes());
        sample[24..32].copy_from_slice(&99u64.to_le_bytes());
        sample[32..48].copy_from_slice(&PLACE.database.to_le_bytes());
        let mut record = |kind: u8, count: u32, first: u64, durable: u64, payload: &[u8]| {
            sample.extend([0; 4]);
            sample.extend((payload.len() as u32).to_le_bytes());
            sample.extend([kind, 0, 0, 0]);
            sample.extend(count.to_le_bytes());
            sample.extend(first.to_le_bytes());
            sample.extend(durable.to_le_bytes());
            sample.extend_from_slice(payload);
            sample.resize(sample.len().next_multiple_of(8), 0);
        };
        record(5, 0, 1, 0, &[]);
        record(1, 1, 1, 0, b"\x01\x00\x03\x05keyvalue");
        record(1, 2, 2, 1, b"\x01\x00\x01\x01kv\x02\x00\x01k");
        record(2, 0, 4, 4, &[]);
        record(1, 1, 4, 4, &[1, 0, 0, 0]);
        record(4, 3, 5, 4, &[0; 24]);
        record(3, 0, 8, 4, &2u64.to_le_bytes());
        sample.resize(sample.len() + 64, 0);
        let mut log = Log { records: Vec::new(), sample, bytes: Vec::new() };
        let mut at = 4096;
        while at + 32 < log.sample.len() - 64 {
            log.records.push(at);
            at += 32
                + u32::from_le_bytes(log.sample[at + 4..at + 8].try_into().expect("four")).next_multiple_of(8) as usize;
        }
        PLACE.sign_log_header(&mut log.sample);
        for at in log.records.clone() {
            PLACE.sign_log_record(&mut log.sample, at);
        }
        assert_eq!(log_records(&log.sample), log.records);
        log
    }
}

impl Target for Log {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        self.bytes.clone_from(&self.sample);
        let len = self.bytes.len();
        let from = if rng.below(16) == 0 { 0 } else { 4096 };
        change(&mut self.bytes, from..len, &mut rng);
        resize(&mut self.bytes, if rng.below(8) == 0 { 0 } else { 4096 }, &mut rng);
        if rng.below(10) > 0 {
            if from == 0 {
                PLACE.sign_log_header(&mut self.bytes);
            }
            for at in &self.records {
                PLACE.sign_log_record(&mut self.bytes, *at);
            }
        }
        let file = FileIdentity { database: PLACE.database, number: FileNumber(PLACE.number) };
        let (mut applied, mut next) = (0, 0);
        let _ = replay_bytes(file, &self.bytes, ReplayFrom::default(), &mut |first, count, payload| {
            assert!(first.0 >= next, "a sequence number came twice");
            next = first.0 + u64::from(count);
            applied += payload.len();
            crate::batch(payload);
            Ok(())
        });
        assert!(applied <= self.bytes.len());
    }
}

/// A table of 40 keys, some with several versions, in the identity `PLACE`.
fn sample_table(compressed: bool) -> Vec<u8> {
    use lsm_engine::base::compress::Compression;
    use lsm_engine::base::key::{Entry, EntryKind};
    use lsm_engine::sstable::{TableConfig, TableWriter};
    let fs = MemFs::new();
    let path = Path::new("/000001.sst");
    let identity = FileIdentity { database: PLACE.database, number: FileNumber(PLACE.number) };
    let compression = if compressed { Compression::Lz4 } else { Compression::None };
    let config = TableConfig { block_bytes: 256, compression, filter_fpr: 0.05, owner: None };
    let mut writer = TableWriter::new(fs.open(path, OpenMode::CreateNew).expect("makes"), identity, config);
    let mut seq = 400;
    for n in 0..40u32 {
        let key = format!("shared/{:03}{}", n, "x".repeat(n as usize % 5 * 4));
        for version in 0..1 + n % 4 {
            seq -= 1;
            let kind = if version == 1 { EntryKind::Delete } else { EntryKind::Put };
            let value = vec![n as u8; if kind == EntryKind::Put { n as usize % 30 } else { 0 }];
            writer.add(Entry { key: key.as_bytes(), seq: SeqNo(seq), kind, value: &value }).expect("adds");
        }
    }
    writer.finish().expect("finishes");
    fs.read_file(path).expect("reads")
}

struct Blocks {
    samples: Vec<Vec<u8>>,
    properties: Vec<u8>,
    bytes: Vec<u8>,
}

impl Blocks {
    fn new() -> Blocks {
        let table = sample_table(false);
        let ranges = PLACE.signed_ranges(&table);
        // A block ends with codec, kind, payload length and checksum: ten bytes.
        let payloads = |kind: u8| -> Vec<Vec<u8>> {
            let of_kind = ranges.iter().filter(|(from, to)| to - from > 10 && table[to - 9] == kind);
            of_kind.map(|(from, to)| table[*from..to - 10].to_vec()).collect()
        };
        let samples: Vec<Vec<u8>> = payloads(1).into_iter().filter(|p| read_data_payload(p, b"").is_ok()).collect();
        assert!(samples.len() > 2, "blocks of {ranges:?}");
        let last = ranges.iter().filter_map(|(from, to)| table.get(*from..to - 10));
        let properties = last.filter(|p| read_properties_payload(p).is_ok()).last().expect("has properties").to_vec();
        Blocks { samples, properties, bytes: Vec::new() }
    }
}

impl Target for Blocks {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        if rng.below(8) == 0 {
            self.bytes.clone_from(&self.properties);
            let len = self.bytes.len();
            change(&mut self.bytes, 0..len, &mut rng);
            let _ = read_properties_payload(&self.bytes);
            return;
        }
        self.bytes.clone_from(&self.samples[rng.below(self.samples.len())]);
        // The header and the columns decide; the heap behind them is mostly keys and values.
        let end = if rng.below(2) == 0 { 32 } else { self.bytes.len() };
        change(&mut self.bytes, 0..end, &mut rng);
        resize(&mut self.bytes, 0, &mut rng);
        let keys: [&[u8]; 4] = [b"shared/007", b"", b"shared/031xxxx", b"shared/999"];
        let _ = read_data_payload(&self.bytes, keys[rng.below(4)]);
    }
}

/// A manifest as a database wrote it.
struct Manifest {
    bytes: Vec<u8>,
    records: Vec<usize>,
    identity: FileIdentity,
    place: Place,
}

impl Manifest {
    fn of_history(flushes: u32, with_second: bool) -> Manifest {
        let fs = MemFs::new();
        let db = crate::open(&fs).expect("opens");
        for n in 0..flushes * 30 {
            db.default_keyspace().put(&WriteOptions::default(), &n.to_be_bytes(), &[n as u8; 40]).expect("puts");
            if n % 30 == 29 {
                db.flush(None).expect("flushes");
            }
        }
        if with_second {
            let second = db.keyspace_open(b"second", None).expect("makes").expect("makes");
            second.put(&WriteOptions::default(), b"k", b"v").expect("puts");
        }
        db.close().expect("closes");
        let path = crate::find(&fs, "MANIFEST").expect("has a manifest");
        let bytes = fs.read_file(&path).expect("reads");
        let number = u64::from_le_bytes(bytes[16..24].try_into().expect("eight"));
        let database = u128::from_le_bytes(bytes[24..40].try_into().expect("sixteen"));
        let identity = FileIdentity { database, number: FileNumber(number) };
        assert!(read_manifest_bytes(&bytes, identity).expect("whole") > 2);
        let records = manifest_records(&bytes);
        // Signing what is unchanged changes nothing, or the formula here is wrong.
        let place = Place { database, number };
        let mut again = bytes.clone();
        Place::sign_manifest_header(&mut again);
        records.iter().for_each(|at| place.sign_manifest_record(&mut again, *at));
        assert!(again == bytes);
        Manifest { bytes, records, identity, place }
    }
}

/// Mostly a short one: what is read of it does not depend on how many records stand before.
struct Manifests {
    short: Manifest,
    long: Manifest,
    bytes: Vec<u8>,
}

impl Manifests {
    fn new() -> Manifests {
        let (short, long) = (Manifest::of_history(1, true), Manifest::of_history(4, true));
        assert!(short.bytes.len() < long.bytes.len());
        Manifests { short, long, bytes: Vec::new() }
    }
}

impl Target for Manifests {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let Manifest { bytes, records, identity, place } = if rng.below(8) == 0 { &self.long } else { &self.short };
        self.bytes.clone_from(bytes);
        let len = self.bytes.len();
        let record = records[rng.below(records.len())];
        let is_anywhere = rng.below(4) == 0;
        let range = if is_anywhere { 0..len } else { record..(record + 120).min(len) };
        change(&mut self.bytes, range.clone(), &mut rng);
        resize(&mut self.bytes, 0, &mut rng);
        if rng.below(10) > 0 {
            Place::sign_manifest_header(&mut self.bytes);
            for at in records.iter().filter(|at| range.contains(at)) {
                place.sign_manifest_record(&mut self.bytes, *at);
            }
        }
        let _ = read_manifest_bytes(&self.bytes, *identity);
    }
}

struct Currents(Vec<u8>);

impl Currents {
    fn new() -> Currents {
        let mut text = b"liblsm 1\ndatabase 0123456789abcdef0123456789abcdef\nmanifest MANIFEST-000007\nlength at-least 1234\ncrc 00000000\n".to_vec();
        sign_current(&mut text);
        assert!(read_current_bytes(&text).is_ok());
        Currents(text)
    }
}

impl Target for Currents {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut text = self.0.clone();
        let len = text.len();
        change(&mut text, 0..len, &mut rng);
        resize(&mut text, 0, &mut rng);
        if rng.below(10) > 0 {
            sign_current(&mut text);
        }
        let _ = read_current_bytes(&text);
    }
}

struct Tables {
    samples: Vec<(Vec<u8>, Vec<(usize, usize)>)>,
}

impl Tables {
    fn new() -> Tables {
        let with_ranges = |bytes: Vec<u8>| {
            let ranges = PLACE.signed_ranges(&bytes);
            assert!(ranges.len() > 5 && ranges.last().is_some_and(|(_, to)| *to == bytes.len()), "{ranges:?}");
            (bytes, ranges)
        };
        Tables { samples: vec![with_ranges(sample_table(false)), with_ranges(sample_table(true))] }
    }
}

impl Target for Tables {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let (sample, ranges) = &self.samples[rng.below(self.samples.len())];
        let mut bytes = sample.clone();
        // Index, filter, properties, top index and footer stand behind the data and decide more.
        let which = if rng.below(3) == 0 { rng.below(ranges.len()) } else { ranges.len() - 1 - rng.below(5) };
        let (from, to) = ranges[which];
        change(&mut bytes, from..to, &mut rng);
        if rng.below(10) > 0 {
            PLACE.sign_block(&mut bytes, from, to);
        }
        let fs = MemFs::new();
        let path = Path::new("/000001.sst");
        fs.write_file(path, &bytes).expect("writes");
        let file = fs.open(path, OpenMode::Read).expect("opens");
        let identity = FileIdentity { database: PLACE.database, number: FileNumber(PLACE.number) };
        let retired = Arc::new(Retired::new());
        let cache = Cache::new(CacheConfig { bytes: 1 << 20, shards: 1 }, Arc::clone(&retired));
        let Ok(table) = TableReader::open(file, identity, bytes.len() as u64, cache) else { return };
        let table = Arc::new(table);
        for key in [&b"shared/007"[..], b"", b"shared/031xxxx", b"zzz"] {
            let _ = table.get(key, key_hash(key), SeqNo(380), ReadMode::default());
        }
        let mut steps = 0;
        let mut cursor = table.cursor(View::Newest(SeqNo(350)), ReadMode::default());
        let mut walk = || -> lsm_engine::Result<()> {
            cursor.seek_first()?;
            while cursor.valid() && steps < 500 {
                std::hint::black_box(cursor.entry().value.len());
                steps += 1;
                cursor.next()?;
            }
            cursor.seek_lt(b"shared/020")?;
            while cursor.valid() && steps < 1000 {
                steps += 1;
                cursor.prev()?;
            }
            Ok(())
        };
        let _ = walk();
        let mut all = table.cursor(View::All, ReadMode { no_fill_cache: true, ..ReadMode::default() });
        let mut walk = || -> lsm_engine::Result<()> {
            all.seek_ge(b"shared/003")?;
            while all.valid() && steps < 1500 {
                steps += 1;
                all.next()?;
            }
            Ok(())
        };
        let _ = walk();
        retired.drain(10);
    }
}

struct Operations;

impl Target for Operations {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        // Mostly short: opening and closing cost most, and what goes wrong mostly does so within a few calls of it.
        let len = if rng.below(8) == 0 { 60 + rng.below(300) } else { 12 + rng.below(60) };
        let data: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        crate::operations(&data);
    }
}
