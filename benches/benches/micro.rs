//! The parts of the engine one by one: memtable, log, table (block search, filter, walk), merge, cache. Keys of 16 bytes,
//! values of 100, as in the figures of docs/PERFORMANCE.md.
//!
//!     cargo bench --manifest-path benches/Cargo.toml                        # all
//!     cargo bench --manifest-path benches/Cargo.toml -- memtable            # those with the name
//!     cargo bench --manifest-path benches/Cargo.toml -- --test              # each once, as CI does
#![allow(clippy::unwrap_used, reason = "a measurement stops at the first error")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lsm_engine::base::compress::Compression;
use lsm_engine::base::epoch::{Retired, pin};
use lsm_engine::base::ids::{FileIdentity, FileNumber, SeqNo};
use lsm_engine::base::iter::{Cursor, View};
use lsm_engine::base::key::{Entry, EntryKind, key_hash};
use lsm_engine::base::log_sink::NullSink;
use lsm_engine::cache::{Cache, CacheConfig, FrameBuilder, Priority};
use lsm_engine::fs::posix::PosixFs;
use lsm_engine::fs::{Fs, OpenMode};
use lsm_engine::iter::merge::Merge;
use lsm_engine::memtable::{MemTable, MemTableConfig};
use lsm_engine::sstable::{Lookup, ReadMode, TableConfig, TableReader, TableWriter};
use lsm_engine::wal::{LogConfig, RecordKind, Reserved, Segment, SegmentPool, WalIo, payload_crc};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const KEYS: u64 = 200_000;
const VALUE: usize = 100;

fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

fn value(number: u64) -> [u8; VALUE] {
    let mut value = [b'v'; VALUE];
    for (at, byte) in value.iter_mut().take(VALUE / 2).enumerate() {
        *byte = mix(number + at as u64) as u8;
    }
    value
}

/// Numbers that no measured loop draws twice in a row; cheap beside what is measured.
struct Draw(Cell<u64>);

impl Draw {
    fn new() -> Draw {
        Draw(Cell::new(0))
    }

    fn below(&self, bound: u64) -> u64 {
        self.0.set(self.0.get() + 1);
        mix(self.0.get()) % bound
    }
}

fn memtable_of(numbers: impl Iterator<Item = u64>) -> Arc<MemTable> {
    let table = MemTable::new(MemTableConfig { bytes_max: 128 << 20, single_bytes_max: 1 << 20 }).unwrap();
    for number in numbers {
        insert(&table, number, number + 1);
    }
    table
}

fn insert(table: &MemTable, number: u64, seq: u64) {
    let mut space = table.reserve(1, 16 + VALUE).unwrap();
    table.insert(&mut space, &key(number), SeqNo(seq), EntryKind::Put, &[b'v'; VALUE]);
}

fn memtable(c: &mut Criterion) {
    let mut group = c.benchmark_group("memtable");
    group.bench_function("insert, random, into 200,000", |b| {
        // A new one whenever the last is full of what was put on top.
        let mut next = 0u64;
        let mut table = memtable_of((0..KEYS).map(mix));
        b.iter(|| {
            next += 1;
            if next % 200_000 == 0 {
                table = memtable_of((0..KEYS).map(mix));
            }
            insert(&table, mix(KEYS + next), KEYS + next);
        });
    });
    group.bench_function("insert, ascending", |b| {
        let mut next = 0u64;
        let mut table = memtable_of(0..1000);
        b.iter(|| {
            next += 1;
            if next % 400_000 == 0 {
                table = memtable_of(0..1000);
            }
            insert(&table, 1000 + next, 1000 + next);
        });
    });
    let table = memtable_of((0..KEYS).map(mix));
    let draw = Draw::new();
    group.bench_function("get, there", |b| {
        b.iter(|| {
            let key = key(mix(draw.below(KEYS)));
            assert!(table.get(&key, key_hash(&key), SeqNo::MAX).is_some());
        });
    });
    group.bench_function("get, not there", |b| {
        b.iter(|| {
            let key = key(mix(KEYS + draw.below(KEYS)));
            black_box(table.get(&key, key_hash(&key), SeqNo::MAX));
        });
    });
    group.bench_function("walk, an entry", |b| {
        let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
        cursor.seek_first().unwrap();
        b.iter(|| step(&mut cursor));
    });
    group.finish();
}

/// A step forward, from the end to the beginning.
fn step(cursor: &mut impl Cursor) {
    cursor.next().unwrap();
    if !cursor.valid() {
        cursor.seek_first().unwrap();
    }
    black_box(cursor.entry().value.len());
}

fn segment(pool: &SegmentPool, number: &Cell<u64>) -> Segment<()> {
    let draw = || {
        number.set(number.get() + 1);
        FileNumber(number.get())
    };
    pool.take(1 << 20, &draw).unwrap().start((), SeqNo(1), None).unwrap()
}

/// Writes up to `most` records, as many as fit; how many.
fn records(segment: &Segment<()>, payload: &[u8], most: u64) -> u64 {
    for done in 0..most {
        let crc = payload_crc(payload);
        let Reserved::Ticket(ticket) = segment.reserve(payload.len(), 1) else { return done };
        segment.write(ticket, RecordKind::Batch, payload, crc, SeqNo(1)).unwrap();
    }
    most
}

fn log(c: &mut Criterion) {
    let mut group = c.benchmark_group("log");
    for (name, io) in [("a record, mapped", WalIo::Auto), ("a record, write(2)", WalIo::Write)] {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig {
            fs: Arc::new(PosixFs::new()),
            dir: dir.path().to_path_buf(),
            database: 7,
            io,
            segment_bytes_max: 64 << 20,
            syncs: false,
            logger: Arc::new(NullSink),
        };
        let pool = SegmentPool::new(config).unwrap();
        let number = Cell::new(0);
        let payload = [b'p'; 130];
        group.bench_function(name, |b| {
            let mut now = segment(&pool, &number);
            b.iter_custom(|count| {
                let (mut left, mut total) = (count, Duration::ZERO);
                while left > 0 {
                    let start = Instant::now();
                    left -= records(&now, &payload, left);
                    total += start.elapsed();
                    if left > 0 {
                        // The engine has the next segment ready; making it is not a record's cost.
                        pool.give_back(now.number()).unwrap();
                        now = segment(&pool, &number);
                    }
                }
                total
            });
        });
    }
    group.finish();
}

/// A table of `KEYS` entries with even numbers, all of it in the cache.
fn table(dir: &std::path::Path) -> Arc<TableReader> {
    let fs = PosixFs::new();
    let identity = FileIdentity { database: 7, number: FileNumber(9) };
    let config = TableConfig { block_bytes: 4096, compression: Compression::Lz4, filter_fpr: 0.01, owner: None };
    let file = fs.open(&dir.join("table"), OpenMode::CreateNew).unwrap();
    let mut writer = TableWriter::new(Arc::clone(&file), identity, config);
    for number in 0..KEYS {
        let (key, value) = (key(number * 2), value(number));
        writer.add(Entry { key: &key, seq: SeqNo(1), kind: EntryKind::Put, value: &value }).unwrap();
    }
    let summary = writer.finish().unwrap();
    let cache = Cache::new(CacheConfig { bytes: 256 << 20, shards: 0 }, Arc::new(Retired::new()));
    let reader = Arc::new(TableReader::open(file, identity, summary.size, cache).unwrap());
    for number in 0..KEYS {
        let key = key(number * 2);
        assert!(reader.get(&key, key_hash(&key), SeqNo::MAX, ReadMode::default()).unwrap().is_some());
    }
    reader
}

fn tables(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let reader = table(dir.path());
    let draw = Draw::new();
    let mut group = c.benchmark_group("table");
    group.bench_function("lookup, there: filter, index, block search", |b| {
        b.iter(|| {
            let guard = pin();
            let key = key(draw.below(KEYS) * 2);
            assert!(matches!(reader.lookup(&key, key_hash(&key), SeqNo::MAX, &guard), Lookup::Found { .. }));
        });
    });
    group.bench_function("lookup, not there: filter", |b| {
        b.iter(|| {
            let guard = pin();
            let key = key(draw.below(KEYS) * 2 + 1);
            black_box(matches!(reader.lookup(&key, key_hash(&key), SeqNo::MAX, &guard), Lookup::Found { .. }));
        });
    });
    group.bench_function("seek", |b| {
        let mut cursor = reader.cursor(View::Newest(SeqNo::MAX), ReadMode::default());
        b.iter(|| cursor.seek_ge(&key(draw.below(KEYS) * 2)).unwrap());
    });
    group.bench_function("walk, an entry", |b| {
        let mut cursor = reader.cursor(View::Newest(SeqNo::MAX), ReadMode::default());
        cursor.seek_first().unwrap();
        b.iter(|| step(&mut cursor));
    });
    group.bench_function("write, an entry", |b| {
        let fs = PosixFs::new();
        let file = fs.open(&dir.path().join("written"), OpenMode::CreateNew).unwrap();
        let identity = FileIdentity { database: 7, number: FileNumber(10) };
        let config = TableConfig { block_bytes: 4096, compression: Compression::Lz4, filter_fpr: 0.01, owner: None };
        let values: Vec<_> = (0..64).map(value).collect();
        let mut number = 0;
        let mut writer = TableWriter::new(Arc::clone(&file), identity, config.clone());
        b.iter(|| {
            number += 1;
            if number % 200_000 == 0 {
                // Over the old one: 20 MB of file are enough.
                writer = TableWriter::new(Arc::clone(&file), identity, config.clone());
            }
            let (key, value) = (key(number), &values[number as usize % values.len()]);
            writer.add(Entry { key: &key, seq: SeqNo(1), kind: EntryKind::Put, value }).unwrap();
        });
    });
    group.finish();
}

fn merge(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    for runs in [1u64, 2, 5] {
        let tables: Vec<Arc<MemTable>> =
            (0..runs).map(|run| memtable_of((0..KEYS / runs).map(|i| mix(i * runs + run)))).collect();
        let view = View::Newest(SeqNo::MAX);
        group.bench_function(format!("walk over {runs} memtables, an entry"), |b| {
            let mut merge = Merge::new(tables.iter().map(|table| table.cursor(view)).collect(), view);
            merge.seek_first().unwrap();
            b.iter(|| step(&mut merge));
        });
    }
    group.finish();
}

fn cache(c: &mut Criterion) {
    const FRAMES: u32 = 10_000;
    let mut group = c.benchmark_group("cache");
    let cache = Cache::new(CacheConfig { bytes: 256 << 20, shards: 0 }, Arc::new(Retired::new()));
    let slots = cache.slots(FRAMES).unwrap();
    for index in 0..FRAMES {
        drop(cache.insert(&slots, index, FrameBuilder::new(4096).unwrap().freeze(), Priority::Data));
    }
    let draw = Draw::new();
    group.bench_function("hit", |b| {
        b.iter(|| {
            let guard = pin();
            assert!(cache.peek(&slots, draw.below(u64::from(FRAMES)) as u32, &guard).is_some());
        });
    });
    group.bench_function("hit, counted", |b| {
        b.iter(|| assert!(cache.get(&slots, draw.below(u64::from(FRAMES)) as u32).is_some()));
    });
    let small = Cache::new(CacheConfig { bytes: 16 << 20, shards: 0 }, Arc::new(Retired::new()));
    let many = small.slots(FRAMES).unwrap();
    group.bench_function("insert that evicts", |b| {
        b.iter_batched(
            || FrameBuilder::new(4096).unwrap().freeze(),
            |frame| drop(small.insert(&many, draw.below(u64::from(FRAMES)) as u32, frame, Priority::Data)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = memtable, log, tables, merge, cache
}
criterion_main!(benches);
