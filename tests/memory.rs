//! Memory: a load stays within its budget, and what was deleted is given back, on disk and in memory.
//!
//! The full size: `LSM_LOAD_MIB=10240 cargo test --release --test memory -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints its figures and measures time"
)]

mod common;

use common::{MIB, Peak, Until, anonymous, env, fill, folder, isolated, options};
use lsm_engine::db::{Db, ReadOptions, WriteOptions};
use std::path::Path;

/// Loads so many MiB of values of `value_len` with a cache of 64 MiB and memtables of 16 MiB; memory stays under the
/// budget and 64 MiB.
fn load(what: &str, value_len: usize, mib: u64) {
    let options = options(&[("cache.size", "64MiB"), ("memtable.size", "16MiB")]);
    let budget = 64 * MIB + 16 * MIB * 4;
    let (_dir, path) = folder();
    let before = anonymous();
    let db = Db::open(&path, &options).unwrap();
    let peak = Peak::watch();
    let filled = fill(&db, value_len, env("LSM_WRITERS", 1), Until::Bytes(mib * MIB));
    filled.show(what);
    println!("{what}: peak {} MiB of anonymous memory, budget {} MiB", peak.bytes() / MIB, budget / MIB);
    let loaded = peak.bytes();
    // Reading fills the cache.
    let keyspace = db.default_keyspace();
    let mut state = 88_172_645_463_325_252;
    for _ in 0..env("LSM_READS", 20_000) {
        keyspace.get_with(&ReadOptions::default(), &common::rng(&mut state).to_le_bytes(), |_| ()).unwrap();
    }
    let mut iter = keyspace.iter(&ReadOptions::default()).unwrap();
    for _ in 0..200_000 {
        if iter.next().unwrap().is_none() {
            break;
        }
    }
    drop(iter);
    let tables = db.property_u64(None, "tables.open").unwrap().unwrap();
    println!("{what}: peak {} MiB after reads, {tables} tables open", peak.bytes() / MIB);
    db.close().unwrap();
    drop((keyspace, db));
    common::show_log(&path);
    println!("{what}: {} MiB before open, {} MiB after close", before / MIB, anonymous() / MIB);
    assert!(loaded < budget + 64 * MIB, "{what}: the load took {} MiB", loaded / MIB);
    assert!(peak.bytes() < budget + 64 * MIB, "{what}: reads took {} MiB", peak.bytes() / MIB);
}

#[test]
fn a_load_stays_within_its_budget() {
    isolated("a_load_stays_within_its_budget", || load("values of 1 KiB", 1024, 384));
}

#[test]
#[ignore = "writes ten GiB"]
fn a_large_load_stays_within_its_budget() {
    isolated("a_large_load_stays_within_its_budget", || {
        load("load", env("LSM_VALUE", 1024) as usize, env("LSM_LOAD_MIB", 10 << 10));
    });
}

fn files(path: &Path, suffix: &str) -> Vec<(String, u64)> {
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().map_or(0, |m| m.len())))
        .filter(|(name, _)| name.ends_with(suffix))
        .collect()
}

fn log_bytes(path: &Path) -> u64 {
    files(path, ".wal").iter().chain(&files(path, ".spare")).map(|(_, len)| len).sum()
}

/// Deletes everything that was loaded; disk and memory come back.
fn delete_everything(mib: u64) {
    let segment = 16 * MIB;
    let options = options(&[("cache.size", "64MiB"), ("memtable.size", "16MiB"), ("wal.segment_size", "16MiB")]);
    let (_dir, path) = folder();
    let db = Db::open(&path, &options).unwrap();
    let keyspace = db.default_keyspace();
    // What the first use of threads and buffers costs is part of "after open".
    keyspace.put(&WriteOptions::default(), b"first", b"value").unwrap();
    let opened = anonymous();
    fill(&db, 1024, 1, Until::Bytes(mib * MIB));
    let keys: Vec<Vec<u8>> = {
        let mut iter = keyspace.iter(&ReadOptions { keys_only: true, ..ReadOptions::default() }).unwrap();
        let mut keys = Vec::new();
        while let Some(entry) = iter.next().unwrap() {
            keys.push(entry.key.to_vec());
        }
        keys
    };
    for key in &keys {
        keyspace.delete(&WriteOptions::default(), key).unwrap();
    }
    drop(keys);
    db.flush(None).unwrap();
    keyspace.compact(None, None).unwrap();
    let number = |name: &str| db.property_u64(None, name).unwrap().unwrap();
    for level in 0..7 {
        assert_eq!(number(&format!("levels.{level}.bytes")), 0, "level {level}");
    }
    // The reaper removes what no reader has any more.
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        files(&path, ".sst").is_empty()
    });
    assert!(gone, "tables left: {:?}", files(&path, ".sst"));
    println!("after deleting everything: log {} KiB, disk.bytes {}", log_bytes(&path) >> 10, number("disk.bytes"));
    assert!(log_bytes(&path) <= 2 * segment, "log {}", log_bytes(&path));
    // Asked once a second at most; a busy machine takes its time.
    (0..30).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(500));
        anonymous() < opened + 16 * MIB
    });
    println!("memory {} KiB after open, {} KiB now", opened >> 10, anonymous() >> 10);
    assert!(anonymous() < opened + 16 * MIB, "{} KiB after open, {} KiB now", opened >> 10, anonymous() >> 10);
    drop(keyspace);
    db.close().unwrap();
    assert!(log_bytes(&path) <= 64 << 10, "log {} after close", log_bytes(&path));
    assert!(files(&path, ".sst").is_empty());
}

#[test]
fn deleting_everything_gives_back_disk_and_memory() {
    isolated("deleting_everything_gives_back_disk_and_memory", || delete_everything(env("LSM_LOAD_MIB", 128)));
}

/// What a load made of log files goes when the log has nothing to keep: at once with a full compaction, else after some
/// seconds without a write. What is written then is kept as always.
#[test]
fn a_log_at_rest_is_small() {
    for compacts in [true, false] {
        let options = options(&[("memtable.size", "4MiB"), ("wal.segment_size", "16MiB")]);
        let (_dir, path) = folder();
        let db = Db::open(&path, &options).unwrap();
        let keyspace = db.default_keyspace();
        fill(&db, 1024, 1, Until::Bytes(64 * MIB));
        assert!(log_bytes(&path) >= 16 * MIB, "segments have grown");
        if compacts {
            keyspace.compact(None, None).unwrap();
        } else {
            db.flush(None).unwrap();
        }
        // The clock of rest looks every second.
        let patience = if compacts { 1 } else { 200 };
        let is_small = (0..patience).any(|turn| {
            std::thread::sleep(std::time::Duration::from_millis(if turn == 0 { 0 } else { 50 }));
            log_bytes(&path) <= MIB
        });
        assert!(is_small, "log of {} KiB at rest", log_bytes(&path) >> 10);
        for n in 0..20_000u32 {
            keyspace.put(&WriteOptions::default(), &n.to_be_bytes(), &[7; 500]).unwrap();
        }
        drop(keyspace);
        db.close().unwrap();
        let db = Db::open(&path, &options).unwrap();
        for n in 0..20_000u32 {
            let len = db.default_keyspace().get_with(&ReadOptions::default(), &n.to_be_bytes(), <[u8]>::len).unwrap();
            assert_eq!(len, Some(500));
        }
        db.close().unwrap();
    }
}
