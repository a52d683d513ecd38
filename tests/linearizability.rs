//! Recorded histories of many threads: every key must have an order that explains all answers, a batch is seen whole or
//! not at all, and a snapshot or an iterator shows one moment between its call and its return.
//!
//! Each history is also spoilt on purpose, with a value that was overwritten before the read began; the checker must
//! notice. `LSM_SEED=n` and `LSM_SOAK_MINUTES=n` as in the crash explorer, `LSM_HISTORY_OPS` operations a history.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::print_stderr, reason = "seeds and counts are for whoever reads the test's output")]
#![allow(clippy::disallowed_methods, reason = "threads and times of its own")]

#[path = "common/count.rs"]
mod count;
mod explorer;
mod history;

use explorer::{Rng, Watched, first_seed, time_box};
use history::{Act, Op, check};
use lsm_engine::db::{Db, Direction, Durability, Keyspace, Options, ReadOptions, Seek, WriteOptions};
use lsm_engine::fs::FsKind;
use lsm_engine::fs::fault::FaultFs;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const THREADS: u64 = 6;
/// Keys that are written one by one.
const KEYS: u64 = 40;
/// Keys that are only written together.
const GROUP: u64 = 6;

/// One operation on one key as a thread saw it.
type Seen = (u64, Op);

struct Recorder<'a> {
    db: &'a Db,
    space: &'a Keyspace,
    began: Instant,
    values: &'a AtomicU64,
    seen: Vec<Seen>,
    rng: Rng,
}

fn name(key: u64) -> Vec<u8> {
    format!("key/{key:04}").into_bytes()
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

impl Recorder<'_> {
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn fresh(&mut self) -> (u64, Vec<u8>) {
        // Relaxed: unique is all it must be.
        let value = self.values.fetch_add(1, Ordering::Relaxed);
        let mut bytes = value.to_le_bytes().to_vec();
        bytes.resize(8 + self.rng.below(120) as usize, value as u8);
        (value, bytes)
    }

    fn note(&mut self, key: u64, act: Act, call: u64) {
        let end = self.now();
        self.seen.push((key, Op { act, call, end }));
    }

    /// A read of the group as of one moment: all the same.
    fn note_group(&mut self, values: &[Option<u64>], call: u64, end: u64, how: &str) {
        assert!(values.windows(2).all(|w| w[0] == w[1]), "a torn batch by {how}: {values:?}");
        assert_eq!(values.len(), GROUP as usize, "a torn batch by {how}");
        self.seen.push((KEYS, Op { act: Act::Get(values[0]), call, end }));
    }

    fn write_options(&mut self) -> WriteOptions {
        let durability = if self.rng.below(40) == 0 { Durability::Fsync } else { Durability::Os };
        WriteOptions { durability, deadline_micros: 0 }
    }

    fn write(&mut self) {
        let options = self.write_options();
        let key = self.rng.below(KEYS);
        match self.rng.below(10) {
            0..=5 => {
                let (value, bytes) = self.fresh();
                let call = self.now();
                self.space.put(&options, &name(key), &bytes).unwrap();
                self.note(key, Act::Put(value), call);
            }
            6 => {
                let call = self.now();
                self.space.delete(&options, &name(key)).unwrap();
                self.note(key, Act::Delete, call);
            }
            7 => {
                let (first, second) = (key, (key + 1 + self.rng.below(KEYS - 1)) % KEYS);
                let (one, two) = (self.fresh(), self.fresh());
                let mut batch = self.db.batch();
                batch.put(self.space, &name(first), &one.1).unwrap();
                batch.put(self.space, &name(second), &two.1).unwrap();
                let call = self.now();
                self.db.write(&options, &batch).unwrap();
                self.note(first, Act::Put(one.0), call);
                self.note(second, Act::Put(two.0), call);
            }
            _ => {
                let (value, bytes) = self.fresh();
                let mut batch = self.db.batch();
                for at in 0..GROUP {
                    batch.put(self.space, &name(KEYS + at), &bytes).unwrap();
                }
                let call = self.now();
                self.db.write(&options, &batch).unwrap();
                self.note(KEYS, Act::Put(value), call);
            }
        }
    }

    fn read(&mut self) {
        let read = ReadOptions::default();
        let key = self.rng.below(KEYS);
        let call = self.now();
        match self.rng.below(12) {
            0..=4 => {
                let got = self.space.get_with(&read, &name(key), number).unwrap();
                self.note(key, Act::Get(got), call);
            }
            5 => {
                let got = self.space.get_pinned(&read, &name(key)).unwrap().map(|v| number(v.bytes()));
                self.note(key, Act::Get(got), call);
            }
            6 => {
                let checked = ReadOptions { verify_checksums: true, no_fill_cache: true, ..read };
                let got = self.space.get_with(&checked, &name(key), number).unwrap();
                self.note(key, Act::Get(got), call);
            }
            7 => {
                let mut iter = self.space.iter(&read).unwrap();
                let end = self.now();
                let found = iter.seek(Seek::Ge, &name(key)).unwrap();
                let got = found.filter(|e| e.key == name(key)).map(|e| number(e.value));
                self.seen.push((key, Op { act: Act::Get(got), call, end }));
            }
            8 => self.read_group_at_once(call),
            9 => self.scan(call),
            _ => self.read_snapshot(call),
        }
    }

    fn read_group_at_once(&mut self, call: u64) {
        let names: Vec<Vec<u8>> = (0..GROUP).map(|at| name(KEYS + at)).collect();
        let keys: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let got = self.space.multi_get(&ReadOptions::default(), &keys).unwrap();
        let values: Vec<_> = got.into_iter().map(|v| v.unwrap().map(|v| number(v.bytes()))).collect();
        let end = self.now();
        self.note_group(&values, call, end, "multi_get");
    }

    /// All keys of one moment, in the order of the keys or against it.
    fn scan(&mut self, call: u64) {
        let mut iter = self.space.iter(&ReadOptions::default()).unwrap();
        let end = self.now();
        let direction = if self.rng.below(2) == 0 { Direction::Forward } else { Direction::Backward };
        let mut found = BTreeMap::new();
        loop {
            let entry = if direction == Direction::Forward { iter.next() } else { iter.prev() }.unwrap();
            let Some(entry) = entry else { break };
            assert!(found.insert(entry.key.to_vec(), number(entry.value)).is_none(), "a key twice");
        }
        for key in 0..KEYS {
            let act = Act::Get(found.get(&name(key)).copied());
            self.seen.push((key, Op { act, call, end }));
        }
        let values: Vec<_> = (0..GROUP).map(|at| found.get(&name(KEYS + at)).copied()).collect();
        self.note_group(&values, call, end, "an iterator");
    }

    fn read_snapshot(&mut self, call: u64) {
        let snapshot = self.db.snapshot().unwrap();
        let end = self.now();
        let read = ReadOptions { snapshot: Some(snapshot), ..ReadOptions::default() };
        if self.rng.below(2) == 0 {
            std::thread::yield_now();
        }
        let get = |key: u64| self.space.get_with(&read, &name(key), number).unwrap();
        let values: Vec<_> = (0..GROUP).map(|at| get(KEYS + at)).collect();
        let single = self.rng.below(KEYS);
        let got = get(single);
        self.note_group(&values, call, end, "a snapshot");
        self.seen.push((single, Op { act: Act::Get(got), call, end }));
    }
}

fn open(rng: &mut Rng) -> Db {
    let disk = FaultFs::new();
    let is_mapped = rng.below(2) == 0;
    disk.set_kind(if is_mapped { FsKind::Mappable } else { FsKind::Other });
    let mut options = Options::new();
    let small = ["4KiB", "16KiB", "64KiB"][rng.below(3) as usize];
    for (key, value) in [
        ("memtable.size", small),
        ("table.size", "16KiB"),
        ("level.base_size", "32KiB"),
        ("level0.compaction_trigger", "2"),
        ("block.size", "512"),
        ("cache.size", "64KiB"),
        ("wal.segment_size", "64KiB"),
        ("open.files_max", "4"),
        ("wal.io", if is_mapped { "auto" } else { "write" }),
        ("wal.visible_before_sync", if rng.below(2) == 0 { "true" } else { "false" }),
    ] {
        options.set(key, value).unwrap();
    }
    Db::open_on(Arc::new(disk), Path::new("/db"), &options).unwrap()
}

/// Runs threads against one database; what they saw, by key. Key `KEYS` stands for the group.
fn record(seed: u64, ops: u64) -> Vec<Vec<Op>> {
    let _watched = Watched::new(format!("history of seed {seed}"));
    let mut rng = Rng::new(seed);
    let db = open(&mut rng);
    let space = db.default_keyspace();
    let (began, values) = (Instant::now(), AtomicU64::new(1));
    let reads = 2 + rng.below(7);
    let stop = AtomicU64::new(THREADS);
    let seen: Vec<Vec<Seen>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (db, space, values, stop) = (&db, &space, &values, &stop);
                scope.spawn(move || {
                    let rng = Rng::new(seed ^ (thread + 1).wrapping_mul(0x5bd1_e995));
                    let mut recorder = Recorder { db, space, began, values, seen: Vec::new(), rng };
                    for _ in 0..ops / THREADS {
                        if recorder.rng.below(10) < reads { recorder.read() } else { recorder.write() }
                    }
                    // Relaxed: only ends the thread below.
                    stop.fetch_sub(1, Ordering::Relaxed);
                    recorder.seen
                })
            })
            .collect();
        // Memtables seal, tables merge and blocks leave the cache all the while.
        let mut turn = 0u64;
        while stop.load(Ordering::Relaxed) > 0 && !threads.iter().any(std::thread::ScopedJoinHandle::is_finished) {
            turn += 1;
            match turn % 8 {
                0 => space.compact(None, None).unwrap(),
                4 => db.cache_clear().unwrap(),
                _ => db.flush(None).unwrap(),
            }
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    db.close().unwrap();
    let mut by_key = vec![Vec::new(); KEYS as usize + 1];
    for (key, op) in seen.into_iter().flatten() {
        by_key[key as usize].push(op);
    }
    by_key
}

/// A read of the history that answers a value which another write had replaced before the read began.
fn spoilt(ops: &[Op], rng: &mut Rng) -> Option<Vec<Op>> {
    let puts: Vec<Op> = ops.iter().filter(|op| matches!(op.act, Act::Put(_))).copied().collect();
    for _ in 0..64 {
        let at = rng.below(ops.len() as u64) as usize;
        let Act::Get(_) = ops[at].act else { continue };
        let newer = puts.iter().filter(|p| p.end < ops[at].call).max_by_key(|p| p.call)?;
        let older: Vec<&Op> = puts.iter().filter(|p| p.end < newer.call).collect();
        if older.is_empty() {
            continue;
        }
        let Act::Put(stale) = older[rng.below(older.len() as u64) as usize].act else { continue };
        let mut spoilt = ops.to_vec();
        spoilt[at].act = Act::Get(Some(stale));
        return Some(spoilt);
    }
    None
}

#[test]
fn histories_of_threads_have_an_order() {
    let first = first_seed();
    let ops = std::env::var("LSM_HISTORY_OPS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let deadline = Instant::now() + time_box(12);
    let (mut histories, mut checked, mut convicted) = (0, 0, 0);
    while Instant::now() < deadline || histories == 0 {
        let seed = first + histories;
        let mut rng = Rng::new(seed ^ 0xbad);
        for (key, ops) in record(seed, ops).into_iter().enumerate() {
            if let Err(op) = check(&ops) {
                let mut around: Vec<&Op> = ops.iter().filter(|o| o.end >= op.call && o.call <= op.end).collect();
                around.sort_by_key(|o| o.call);
                panic!("seed {seed}, key {key}: no order explains {op:?} among {around:?}");
            }
            checked += ops.len() as u64;
            if let Some(bad) = spoilt(&ops, &mut rng) {
                assert!(check(&bad).is_err(), "seed {seed}, key {key}: a planted stale read went unnoticed");
                convicted += 1;
            }
        }
        histories += 1;
    }
    assert!(convicted > 0, "no stale read could be planted");
    eprintln!("{histories} histories, {checked} answers, {convicted} planted stale reads convicted");
    count::counted("linearizability", first, histories, "histories");
}
