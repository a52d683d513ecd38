//! Every option does something that can be seen: a test a key, the same work with two values.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints its figures and measures time"
)]

mod common;

use common::{MIB, isolated, options, rng};
use lsm_engine::db::{Db, Durability, Keyspace, ReadOptions, WriteOptions};
use lsm_engine::error::Code;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A database in a folder of its own.
struct Opened {
    db: Db,
    dir: tempfile::TempDir,
}

impl Opened {
    fn with(pairs: &[(&str, &str)]) -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("db"), &options(pairs)).unwrap();
        Opened { db, dir }
    }

    fn ks(&self) -> Keyspace {
        self.db.default_keyspace()
    }

    fn number(&self, name: &str) -> u64 {
        self.db.property_u64(None, name).unwrap().unwrap()
    }

    fn level_bytes(&self) -> u64 {
        (0..7).map(|level| self.number(&format!("levels.{level}.bytes"))).sum()
    }

    /// How many levels below 0 hold tables.
    fn deep_levels(&self) -> usize {
        (1..7).filter(|level| self.number(&format!("levels.{level}.files")) > 0).count()
    }

    /// Puts keys `numbers` spread over the key space, with compressible values.
    fn put(&self, numbers: std::ops::Range<u64>, value_len: usize) {
        for n in numbers {
            self.ks().put(&WriteOptions::default(), &key(n), &vec![n as u8; value_len]).unwrap();
        }
    }

    /// Puts `count` random keys with random values of 1000 bytes.
    fn put_random(&self, seed: u64, count: u64) {
        let mut state = seed * 2 + 1;
        for _ in 0..count {
            let key = rng(&mut state).to_be_bytes();
            let value: Vec<u8> = (0..125).flat_map(|_| rng(&mut state).to_le_bytes()).collect();
            self.ks().put(&WriteOptions::default(), &key, &value).unwrap();
        }
    }

    fn flush(&self) {
        self.db.flush(None).unwrap();
    }

    /// Eight overlapping tables in level 0.
    fn eight_tables(&self) {
        for seed in 0..8 {
            self.put_random(seed, 100);
            self.flush();
        }
    }

    /// Waits until no compaction runs or is due.
    fn settle(&self) {
        wait(|| self.number("compaction.jobs_running") == 0 && self.number("compaction.pending_bytes") == 0);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("db/LOG")).unwrap()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.db.close().unwrap();
        }
    }
}

fn key(n: u64) -> [u8; 8] {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
}

/// Waits for something that happens in the background: thirty seconds, more where the machine is busy elsewhere.
fn wait(mut is_done: impl FnMut() -> bool) {
    for turn in 0.. {
        if is_done() {
            return;
        }
        assert!(turn < 15_000, "it never happened");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Threads of this process whose name begins with `name`.
fn threads_called(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.starts_with(name))
        .count()
}

/// Sizes of the log files in `db`.
fn log_files(db: &Path) -> Vec<u64> {
    std::fs::read_dir(db)
        .unwrap()
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "wal"))
        .filter_map(|entry| entry.metadata().ok().map(|m| m.len()))
        .collect()
}

#[test]
fn create_if_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    assert!(Db::open(&path, &options(&[("create_if_missing", "false")])).is_err());
    assert!(!path.exists());
    Db::open(&path, &options(&[("create_if_missing", "true")])).unwrap().close().unwrap();
    Db::open(&path, &options(&[("create_if_missing", "false")])).unwrap().close().unwrap();
}

#[test]
fn error_if_exists() {
    let dir = tempfile::tempdir().unwrap();
    let open = |value| Db::open(dir.path(), &options(&[("error_if_exists", value)]));
    open("true").unwrap().close().unwrap();
    assert_eq!(open("true").err().unwrap().code(), Code::Exists);
    open("false").unwrap().close().unwrap();
}

#[test]
fn mode() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), &options(&[("mode", "rw")])).unwrap();
    db.default_keyspace().put(&WriteOptions::default(), b"k", b"v").unwrap();
    db.close().unwrap();
    let db = Db::open(dir.path(), &options(&[("mode", "ro")])).unwrap();
    let second = Db::open(dir.path(), &options(&[("mode", "ro")])).unwrap();
    let refused = db.default_keyspace().put(&WriteOptions::default(), b"k", b"w").err().unwrap();
    assert_eq!(refused.code(), Code::ReadOnly);
    assert_eq!(second.default_keyspace().get_with(&ReadOptions::default(), b"k", <[u8]>::len).unwrap(), Some(1));
    second.close().unwrap();
    db.close().unwrap();
}

#[test]
fn durability() {
    let os = Opened::with(&[("durability", "os")]);
    let fsync = Opened::with(&[("durability", "fsync")]);
    for opened in [&os, &fsync] {
        opened.put(0..10, 10);
    }
    assert_eq!(os.number("wal.syncs"), 0);
    assert!(fsync.number("wal.syncs") >= 10);
    let (committed, durable) = fsync.db.sequence().unwrap();
    assert_eq!((committed.0, durable), (10, committed));
    let (committed, durable) = os.db.sequence().unwrap();
    assert!(durable < committed);
}

#[test]
fn memtable_size() {
    let flushes = |size| {
        let opened = Opened::with(&[("memtable.size", size)]);
        opened.put_random(1, 1000);
        wait(|| size == "64MiB" || opened.number("flush.jobs_run") > 2);
        opened.number("flush.jobs_run")
    };
    assert!(flushes("64KiB") > 2);
    assert_eq!(flushes("64MiB"), 0);
}

#[test]
fn memtable_count_max() {
    let stalled = |count| {
        let opened = Opened::with(&[("memtable.size", "256KiB"), ("memtable.count_max", count)]);
        opened.put_random(1, 1000);
        opened.number("stall.micros")
    };
    assert!(stalled("1") > 0, "one memtable: writes wait for each flush");
    assert_eq!(stalled("64"), 0);
}

#[test]
fn block_size() {
    let blocks = |size| {
        let opened = Opened::with(&[("block.size", size), ("compression", "none")]);
        opened.put(0..5000, 100);
        opened.flush();
        let before = opened.number("cache.misses");
        for n in 0..5000 {
            opened.ks().get_with(&ReadOptions::default(), &key(n), |_| ()).unwrap().unwrap();
        }
        opened.number("cache.misses") - before
    };
    let (small, large) = (blocks("512"), blocks("64KiB"));
    assert!(small > 10 * large, "{small} blocks of 512 bytes, {large} of 64 KiB");
}

#[test]
fn compression() {
    let bytes = |codec| {
        let opened = Opened::with(&[("compression", codec)]);
        opened.put(0..1000, 1000);
        opened.flush();
        opened.level_bytes()
    };
    let (none, lz4) = (bytes("none"), bytes("lz4"));
    assert!(none > 5 * lz4, "{none} bytes, {lz4} with lz4");
}

#[test]
fn compression_per_level() {
    let opened = Opened::with(&[("compression.per_level", "none,lz4"), ("level0.compaction_trigger", "100")]);
    opened.put(0..1000, 1000);
    opened.flush();
    let level0 = opened.number("levels.0.bytes");
    opened.ks().compact(None, None).unwrap();
    assert_eq!(opened.number("levels.0.bytes"), 0);
    assert!(level0 > 5 * opened.level_bytes(), "level 0 was stored as it is, the last level compressed");
}

#[test]
fn filter_fpr() {
    let measure = |rate| {
        let opened = Opened::with(&[("filter.fpr", rate), ("compression", "none")]);
        opened.put(0..5000, 100);
        opened.flush();
        for n in 5000..6000 {
            assert!(opened.ks().get_with(&ReadOptions::default(), &key(n), |_| ()).unwrap().is_none());
        }
        (opened.number("cache.misses"), opened.level_bytes())
    };
    let ((none_read, none_bytes), (some_read, some_bytes), (_, fine_bytes)) =
        (measure("0"), measure("0.01"), measure("0.0001"));
    assert!(none_read > 4 * some_read, "{none_read} blocks read without a filter, {some_read} with one");
    assert!(none_bytes + 5000 < some_bytes && some_bytes + 1000 < fine_bytes);
}

#[test]
fn cache_size() {
    let kept = |size| {
        let opened = Opened::with(&[("cache.size", size), ("compression", "none")]);
        opened.put_random(1, 4000);
        opened.flush();
        for _ in 0..2 {
            let mut state = 3;
            for _ in 0..4000 {
                let key = rng(&mut state).to_be_bytes();
                opened.ks().get_with(&ReadOptions::default(), &key, |_| ()).unwrap().unwrap();
                for _ in 0..125 {
                    rng(&mut state);
                }
            }
        }
        opened.number("cache.bytes")
    };
    let (none, small, large) = (kept("0"), kept("1MiB"), kept("64MiB"));
    assert_eq!(none, 0);
    assert!(small > 100_000 && small <= MIB, "{small}");
    assert!(large > 4_000_000 && large <= 64 * MIB, "{large}");
}

#[test]
fn level0_compaction_trigger() {
    let soon = Opened::with(&[("level0.compaction_trigger", "2")]);
    let late = Opened::with(&[("level0.compaction_trigger", "100")]);
    soon.eight_tables();
    late.eight_tables();
    wait(|| soon.number("levels.0.files") < 2);
    assert!(soon.number("compaction.jobs_run") > 0);
    assert_eq!((late.number("levels.0.files"), late.number("compaction.jobs_run")), (8, 0));
}

/// Flushes tables with `trigger` = slowdown until `seen` answers true; whether it did.
fn until_braked(opened: &Opened, mut seen: impl FnMut() -> bool) -> bool {
    (0..60).any(|round| {
        opened.put_random(round, 1000);
        opened.flush();
        seen()
    })
}

#[test]
fn level0_slowdown() {
    let stalled = |slowdown| {
        let opened =
            Opened::with(&[("level0.compaction_trigger", "4"), ("level0.slowdown", slowdown), ("level0.stop", "1000")]);
        let rounds = if slowdown == "4" { 60 } else { 8 };
        for round in 0..rounds {
            opened.put_random(round, 1000);
            opened.flush();
            opened.put_random(100 + round, 2000);
            if opened.number("stall.micros") > 0 {
                return true;
            }
        }
        false
    };
    assert!(stalled("4"));
    assert!(!stalled("900"));
}

#[test]
fn level0_stop() {
    let hurried = WriteOptions { deadline_micros: 200, ..WriteOptions::default() };
    let pairs = [("level0.compaction_trigger", "4"), ("level0.slowdown", "4"), ("level0.stop", "4")];
    let opened = Opened::with(&pairs);
    let stopped = || opened.ks().put(&hurried, b"k", b"v").is_err_and(|error| error.code() == Code::Timeout);
    assert!(until_braked(&opened, stopped), "no write was ever stopped");
}

#[test]
fn level_base_size() {
    let levels = |size| {
        let opened = Opened::with(&[
            ("level.base_size", size),
            ("level.size_ratio", "4"),
            ("memtable.size", "256KiB"),
            ("table.size", "64KiB"),
        ]);
        opened.put_random(1, 6000);
        opened.flush();
        opened.settle();
        opened.deep_levels()
    };
    let (small, large) = (levels("64KiB"), levels("1GiB"));
    assert!(small >= 3 && large == 1, "{small} levels, {large} with a large base");
}

#[test]
fn level_size_ratio() {
    let levels = |ratio| {
        let opened = Opened::with(&[
            ("level.base_size", "64KiB"),
            ("level.size_ratio", ratio),
            ("memtable.size", "256KiB"),
            ("table.size", "64KiB"),
        ]);
        opened.put_random(1, 6000);
        opened.flush();
        opened.settle();
        opened.deep_levels()
    };
    let (low, high) = (levels("3"), levels("100"));
    assert!(low > high, "{low} levels with ratio 3, {high} with ratio 100");
}

#[test]
fn level_count_max() {
    let opened = Opened::with(&[("level.count_max", "3")]);
    let usual = Opened::with(&[]);
    for opened in [&opened, &usual] {
        opened.put(0..100, 100);
        opened.ks().compact(None, None).unwrap();
    }
    assert!(opened.number("levels.2.bytes") > 0 && usual.number("levels.2.bytes") == 0);
    assert!(usual.number("levels.6.bytes") > 0);
}

#[test]
fn table_size() {
    let files = |size| {
        let opened = Opened::with(&[("table.size", size)]);
        opened.put_random(1, 2000);
        opened.ks().compact(None, None).unwrap();
        (1..7).map(|level| opened.number(&format!("levels.{level}.files"))).sum::<u64>()
    };
    let (small, large) = (files("64KiB"), files("64MiB"));
    assert!(small > 10 && large == 1, "{small} and {large} tables");
}

#[test]
fn compaction_threads() {
    isolated("compaction_threads", || {
        let _three = Opened::with(&[("compaction.threads", "3")]);
        wait(|| threads_called("lsm-compact") == 3);
        let _one = Opened::with(&[("compaction.threads", "1")]);
        wait(|| threads_called("lsm-compact") == 4);
    });
}

#[test]
fn flush_threads() {
    isolated("flush_threads", || {
        let _three = Opened::with(&[("flush.threads", "3")]);
        wait(|| threads_called("lsm-flush") == 3);
        let _one = Opened::with(&[("flush.threads", "1")]);
        wait(|| threads_called("lsm-flush") == 4);
    });
}

/// Merges in parts, of a compaction that is large enough for them.
fn parallel_merges(pairs: &[(&str, &str)]) -> u64 {
    let usual = [("table.size", "1MiB"), ("level0.compaction_trigger", "1000")];
    let opened = Opened::with(&[&usual, pairs].concat());
    for seed in 0..4 {
        opened.put_random(seed, 4000);
        opened.flush();
    }
    opened.ks().compact(None, None).unwrap();
    opened.number("compaction.parallel_merges")
}

#[test]
fn compaction_subjobs_max() {
    assert!(parallel_merges(&[("compaction.subjobs_max", "4")]) > 0);
    assert_eq!(parallel_merges(&[("compaction.subjobs_max", "1")]), 0);
}

#[test]
fn compaction_parallel_merge() {
    assert!(parallel_merges(&[("compaction.subjobs_max", "4"), ("compaction.parallel_merge", "true")]) > 0);
    assert_eq!(parallel_merges(&[("compaction.subjobs_max", "4"), ("compaction.parallel_merge", "false")]), 0);
}

#[test]
fn compaction_tables_per_job_max() {
    let first_job = |most| {
        let opened = Opened::with(&[("compaction.tables_per_job_max", most), ("level0.compaction_trigger", "8")]);
        opened.eight_tables();
        let mut tables = None;
        wait(|| {
            let log = opened.log();
            tables = log.lines().find_map(|line| {
                let (count, _) = line.split_once("compacted ")?.1.split_once(" tables")?;
                count.parse::<u64>().ok()
            });
            tables.is_some()
        });
        tables.unwrap()
    };
    assert_eq!(first_job("3"), 3);
    assert_eq!(first_job("0"), 8);
}

#[test]
fn compaction_style() {
    let mut bag = options(&[("compaction.style", "leveled")]);
    assert_eq!(bag.set("compaction.style", "tiered").err().unwrap().code(), Code::Unsupported);
    let opened = Opened::with(&[("compaction.style", "leveled"), ("level0.compaction_trigger", "2")]);
    opened.eight_tables();
    opened.settle();
    assert!(opened.number("levels.0.files") < 2 && opened.deep_levels() == 1, "one run below level 0");
}

#[test]
fn wal_io() {
    for io in ["mmap", "write"] {
        let dir = tempfile::tempdir().unwrap();
        let opened = match Db::open(&dir.path().join("db"), &options(&[("wal.io", io)])) {
            Ok(db) => Opened { db, dir },
            Err(error) if io == "mmap" && error.code() == Code::Unsupported => continue,
            Err(error) => panic!("{error}"),
        };
        opened.put(0..10, 10);
        assert_eq!(opened.db.property(None, "wal.io").unwrap().unwrap(), io);
    }
}

#[test]
fn wal_segment_size() {
    let largest = |size| {
        let opened = Opened::with(&[("wal.segment_size", size)]);
        opened.put_random(1, 2000);
        let files = log_files(&opened.dir.path().join("db"));
        (files.iter().copied().max().unwrap(), files.len())
    };
    let ((small, many), (large, few)) = (largest("64KiB"), largest("1MiB"));
    assert_eq!((small, large), (64 << 10, MIB));
    assert!(many > 10 * few / 3, "{many} and {few} segments");
}

#[test]
fn wal_total_max() {
    let flushed = |most, seconds: u64| {
        let opened = Opened::with(&[("wal.total_max", most), ("wal.segment_size", "64KiB")]);
        let idle = opened.db.keyspace_open(b"idle", None).unwrap().unwrap();
        idle.put(&WriteOptions::default(), b"k", b"v").unwrap();
        opened.put_random(1, 2000);
        let began = Instant::now();
        let count = || opened.db.property_u64(Some(&idle), "levels.0.files").unwrap().unwrap();
        while count() == 0 && began.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(5));
        }
        count()
    };
    assert_eq!(flushed("256KiB", 30), 1, "an idle keyspace held back the log");
    assert_eq!(flushed("1GiB", 2), 0);
}

#[test]
fn wal_visible_before_sync() {
    let early = |value| {
        let opened = Opened::with(&[("wal.visible_before_sync", value)]);
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let (ks, stop) = (opened.ks(), &stop);
                scope.spawn(move || {
                    let fsync = WriteOptions { durability: Durability::Fsync, ..WriteOptions::default() };
                    while !stop.load(Ordering::Relaxed) {
                        ks.put(&fsync, &[thread], b"v").unwrap();
                    }
                });
            }
            let most = if value == "true" { Duration::from_secs(30) } else { Duration::from_secs(1) };
            let mut seen = false;
            while !seen && began.elapsed() < most {
                let committed = opened.db.sequence().unwrap().0;
                // What was visible then and is not durable even now was visible before its sync.
                seen = opened.db.sequence().unwrap().1 < committed;
            }
            stop.store(true, Ordering::Relaxed);
            seen
        })
    };
    assert!(early("true"));
    assert!(!early("false"));
}

#[test]
fn open_files_max() {
    let open = |most| {
        let opened = Opened::with(&[("open.files_max", most), ("level0.compaction_trigger", "100")]);
        opened.eight_tables();
        for n in 0..100 {
            opened.ks().get_with(&ReadOptions::default(), &key(n), |_| ()).unwrap();
        }
        opened.number("tables.open")
    };
    assert_eq!(open("2"), 2);
    assert_eq!(open("1000"), 8);
}

/// The one property that makes this file whole: a test of each row of the table.
#[test]
fn every_key_has_a_test() {
    let source = include_str!("options_effect.rs");
    let described = options(&[]).dump_all();
    let mut keys = 0;
    for line in described.lines() {
        let Some((key, _)) = line.split_once('=') else { continue };
        let test = format!("fn {}()", key.trim().replace('.', "_"));
        assert!(source.contains(&test), "no test {test}");
        keys += 1;
    }
    assert!(keys >= 29, "{keys} keys");
}
