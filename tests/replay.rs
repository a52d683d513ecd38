//! A log that is long enough for threads, left by a process that died: every entry is there, once, in the right order, and
//! the log goes away.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints what it found and waits for a thread"
)]

mod common;

use common::{folder, options, rng};
use lsm_engine::db::{Db, Durability, Keyspace, ReadOptions, WriteOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const OS: WriteOptions = WriteOptions { durability: Durability::Os, deadline_micros: 0 };
const OPERATIONS: u64 = 160_000;
/// Fewer keys than operations, so that most have several versions.
const KEYS: u64 = 60_000;

type Model = [BTreeMap<Vec<u8>, Vec<u8>>; 2];

/// The operations: which keyspace, key, and the value or none for a delete.
fn operation(n: u64, state: &mut u64) -> (usize, Vec<u8>, Option<Vec<u8>>) {
    let key = format!("{:010}", rng(state) % KEYS).into_bytes();
    let space = usize::from(rng(state).is_multiple_of(5));
    let len = if n.is_multiple_of(10_000) { 200_000 } else { 100 };
    let value = (!rng(state).is_multiple_of(8)).then(|| n.to_le_bytes().repeat(len / 8));
    (space, key, value)
}

fn spaces(db: &Db) -> [Keyspace; 2] {
    [db.default_keyspace(), db.keyspace_open(b"second", None).unwrap().unwrap()]
}

fn content(space: &Keyspace) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut iter = space.iter(&ReadOptions::default()).unwrap();
    let mut found = BTreeMap::new();
    while let Some(entry) = iter.next().unwrap() {
        assert!(found.insert(entry.key.to_vec(), entry.value.to_vec()).is_none(), "a key came twice");
    }
    found
}

fn compare(db: &Db, model: &Model, when: &str) {
    for (space, expected) in spaces(db).iter().zip(model) {
        let found = content(space);
        let differs = expected.iter().find(|(key, value)| found.get(*key) != Some(value));
        assert!(differs.is_none(), "{when}: {:?}", differs.map(|(key, _)| String::from_utf8_lossy(key).into_owned()));
        assert_eq!(found.len(), expected.len(), "{when}");
    }
}

/// Bytes of the segment files in a folder.
fn log_bytes(path: &Path) -> u64 {
    let is_log = |name: &Path| name.extension().is_some_and(|e| e == "wal");
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|name| is_log(name));
    // One that goes away meanwhile counts no more.
    files.map(|name| std::fs::metadata(name).map_or(0, |m| m.len())).sum()
}

fn killed_and_opened(name: &str, memtable: &str) {
    let settings = options(&[("memtable.size", memtable), ("memtable.count_max", "64")]);
    if let Ok(path) = std::env::var("LSM_REPLAY") {
        let db = Db::open(path.as_ref(), &settings).unwrap();
        let spaces = spaces(&db);
        let mut state = 11;
        for n in 0..OPERATIONS {
            match operation(n, &mut state) {
                (at, key, Some(value)) => spaces[at].put(&OS, &key, &value).unwrap(),
                (at, key, None) => spaces[at].delete(&OS, &key).unwrap(),
            };
        }
        std::process::abort();
    }
    let (_dir, path) = folder();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--include-ignored"])
        .env("LSM_REPLAY", &path)
        .output()
        .unwrap();
    assert!(!child.status.success(), "the child was to die");
    let mut model = Model::default();
    let mut state = 11;
    for n in 0..OPERATIONS {
        match operation(n, &mut state) {
            (at, key, Some(value)) => model[at].insert(key, value),
            (at, key, None) => model[at].remove(&key),
        };
    }
    let mut read_only = settings.clone();
    read_only.set("mode", "ro").unwrap();
    let before = log_bytes(&path);
    let db = Db::open(&path, &read_only).unwrap();
    compare(&db, &model, "read-only");
    db.close().unwrap();
    assert_eq!(log_bytes(&path), before, "read-only changed the log");
    let db = Db::open(&path, &settings).unwrap();
    compare(&db, &model, "recovered");
    let (committed, durable) = db.sequence().unwrap();
    assert_eq!((committed.0, durable.0), (OPERATIONS, OPERATIONS), "it is in tables before the open returns");
    spaces(&db)[0].put(&OS, b"more", b"1").unwrap();
    model[0].insert(b"more".to_vec(), b"1".to_vec());
    // The housekeeper removes what the open left to it.
    let is_removed = (0..3000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        log_bytes(&path) < 4 << 20
    });
    assert!(is_removed, "{} bytes of log stay", log_bytes(&path));
    db.close().unwrap();
    assert_eq!(log_bytes(&path), 0, "a closed database has no log");
    let db = Db::open(&path, &settings).unwrap();
    compare(&db, &model, "opened again");
    db.close().unwrap();
}

#[test]
fn a_long_log_comes_back_whole() {
    killed_and_opened("a_long_log_comes_back_whole", "64MiB");
}

#[test]
fn a_log_behind_flushes_comes_back_whole() {
    killed_and_opened("a_log_behind_flushes_comes_back_whole", "1MiB");
}
