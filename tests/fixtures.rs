//! Databases that released versions wrote, under `tests/fixtures/VERSION/`: every later build opens them, reads exactly
//! what was written, and goes on writing.
//!
//! `cargo test --test fixtures -- --ignored make` writes those of this version; it refuses to touch existing ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lsm_engine::db::{Db, Options, ReadOptions, WriteOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// What each fixture holds: (folder, options at creation, whether it was closed).
const KINDS: [(&str, &str, bool); 4] = [
    ("clean", "memtable.size = 64KiB\ntable.size = 64KiB\nlevel.base_size = 64KiB\nblock.size = 1KiB", true),
    ("raw-no-filter", "compression = none\nfilter.fpr = 0", true),
    ("killed", "memtable.size = 64KiB\nwal.segment_size = 64KiB", false),
    ("killed-written-log", "wal.io = write\nwal.segment_size = 64KiB", false),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The history that every fixture was filled with; the second keyspace holds every third key.
fn fill(db: Option<&Db>) -> [Model; 2] {
    let mut models = [Model::new(), Model::new()];
    let spaces = db.map(|db| [db.default_keyspace(), db.keyspace_open(b"second", None).unwrap().unwrap()]);
    for n in 0..1500u64 {
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut key = format!("key/{:03}", mixed >> 54).into_bytes();
        if n % 50 == 0 {
            key = vec![0xff; (n / 50) as usize];
        }
        let value: Vec<u8> = (0..(mixed >> 40) % 200).map(|i| (mixed >> 3) as u8 ^ (i / 9) as u8).collect();
        let at = usize::from(n % 3 == 0);
        if n % 11 == 10 {
            models[at].remove(&key);
            if let Some(spaces) = &spaces {
                spaces[at].delete(&WriteOptions::default(), &key).unwrap();
            }
        } else {
            if let Some(spaces) = &spaces {
                spaces[at].put(&WriteOptions::default(), &key, &value).unwrap();
            }
            models[at].insert(key, value);
        }
    }
    models
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn check(db: &Db, models: &[Model; 2]) {
    for (at, name) in [&b"default"[..], b"second"].into_iter().enumerate() {
        let space = db.keyspace_open(name, None).unwrap().unwrap();
        let mut iter = space.iter(&ReadOptions::default()).unwrap();
        let mut seen = Model::new();
        while let Some(entry) = iter.next().unwrap() {
            seen.insert(entry.key.to_vec(), entry.value.to_vec());
        }
        assert_eq!(&seen, &models[at]);
        for (key, value) in &models[at] {
            let got = space.get_with(&ReadOptions::default(), key, <[u8]>::to_vec).unwrap();
            assert_eq!(got.as_ref(), Some(value));
        }
    }
}

#[test]
fn databases_of_every_released_version_open_and_read_the_same() {
    let models = fill(None);
    let mut opened = 0;
    for version in std::fs::read_dir(root()).unwrap().map(|e| e.unwrap().path()) {
        for fixture in std::fs::read_dir(&version).unwrap().map(|e| e.unwrap().path()) {
            // Those hold a part of a history: `crashed_fixtures.rs`.
            if fixture.file_name().is_some_and(|name| name.to_string_lossy().starts_with("crashed-")) {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("db");
            copy(&fixture, &path);
            let mut read_only = Options::new();
            read_only.set("mode", "ro").unwrap();
            let db = Db::open(&path, &read_only).unwrap_or_else(|e| panic!("{}: {e}", fixture.display()));
            check(&db, &models);
            db.close().unwrap();
            let db = Db::open(&path, &Options::new()).unwrap_or_else(|e| panic!("{}: {e}", fixture.display()));
            check(&db, &models);
            let mut grown = models.clone();
            db.default_keyspace().put(&WriteOptions::default(), b"zz new", b"value").unwrap();
            grown[0].insert(b"zz new".to_vec(), b"value".to_vec());
            db.default_keyspace().compact(None, None).unwrap();
            check(&db, &grown);
            db.close().unwrap();
            let db = Db::open(&path, &Options::new()).unwrap();
            check(&db, &grown);
            db.close().unwrap();
            opened += 1;
        }
    }
    assert!(opened >= KINDS.len(), "only {opened} fixtures were found");
}

#[test]
#[ignore = "writes the fixtures of this version, once per release"]
fn make() {
    let version = root().join(env!("CARGO_PKG_VERSION"));
    assert!(!version.exists(), "{} exists: a released fixture is never written again", version.display());
    for (name, text, closed) in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut options = Options::new();
        options.load(text).unwrap();
        let db = Db::open(&path, &options).unwrap();
        fill(Some(&db));
        if closed {
            db.close().unwrap();
        } else {
            // What a killed process leaves: the files as the page cache has them, with the log's last segment.
            db.flush(Some(&db.default_keyspace())).unwrap();
        }
        let to = version.join(name);
        copy(&path, &to);
        for needless in ["LOCK", "LOG"] {
            let _ = std::fs::remove_file(to.join(needless));
        }
        if !closed {
            db.close().unwrap();
        }
    }
}
