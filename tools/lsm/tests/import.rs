//! Databases of LevelDB and RocksDB, made here through their C libraries, copied and compared.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::undocumented_unsafe_blocks, reason = "a test may fail")]

mod common;

use common::foreign::{Database, Engine};
use common::{contents, files, flip, folder, skip};
use std::collections::BTreeMap;
use std::path::Path;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Fills a database so that there are tables, a log, overwritten and deleted keys, and keys and values of every kind.
fn fill(db: &Database<'_>) -> Entries {
    let mut entries = Entries::new();
    for i in 0..5000u32 {
        let (key, value) = (format!("key{:05}", i * 7 % 5000).into_bytes(), i.to_le_bytes().repeat(30));
        db.put(&key, &value);
        entries.insert(key, value);
    }
    for i in (0..5000).step_by(10) {
        let key = format!("key{i:05}").into_bytes();
        db.delete(&key);
        entries.remove(&key);
    }
    let all: Vec<u8> = (0..=255).collect();
    for (key, value) in [(&b"\x00\xff"[..], &all[..]), (&all[..], b""), (b"large", &all.repeat(9000)[..])] {
        db.put(key, value);
        entries.insert(key.to_vec(), value.to_vec());
    }
    entries
}

/// What the copy holds, read in hex.
fn read(db: &Path, keyspace: &str) -> Entries {
    let unhex =
        |text: &str| (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect();
    let lines = lsm!["scan", db, "-k", keyspace, "--json", "--hex"].ok().json_lines();
    lines.iter().map(|l| (unhex(l["key"].as_str().unwrap()), unhex(l["value"].as_str().unwrap()))).collect()
}

fn import(db: &Path, from: &str, engine: &Engine, source: &Path) -> common::Ran {
    lsm!["import", db, "--from", from, source, "--engine-library", &engine.path, "--json"]
}

#[test]
fn a_leveldb_database_comes_over_whole_and_stays_as_it_was() {
    let Some(engine) = Engine::leveldb() else { return skip("libleveldb") };
    let (dir, db) = folder();
    let source = dir.path().join("level");
    let foreign = engine.create(&source);
    let entries = fill(&foreign);
    // A lock of another process, this one, is seen.
    let ran = import(&db, "leveldb", &engine, &source).exit(5);
    assert!(ran.error()["message"].as_str().unwrap().contains("has the database open"), "{}", ran.stderr);
    drop(foreign);

    let before = contents(&source);
    assert!(before.keys().any(|name| name.ends_with(".ldb")) && before.keys().any(|name| name.ends_with(".log")));
    let told = import(&db, "leveldb", &engine, &source).ok().json();
    assert_eq!((told["entries"].as_u64(), &told["verified"]), (Some(entries.len() as u64), &true.into()));
    assert!(read(&db, "default") == entries);
    assert!(before == contents(&source), "not a byte of the source was written");
    let again = import(&db, "leveldb", &engine, &source).exit(6);
    assert!(again.error()["message"].as_str().unwrap().contains("is not empty"), "{}", again.stderr);
    // The checksum is that of the entries: an export of the copy has the same.
    let export = lsm!["export", &db, dir.path().join("x.packed"), "--json"].ok().json();
    assert_eq!(export["checksum"], told["checksum"]);
    let text = lsm!["import", dir.path().join("db2"), "--from", "leveldb", &source].ok();
    assert!(text.stderr.contains("count and checksum agree"), "the installed library is found: {}", text.stderr);
}

#[test]
fn damage_in_a_leveldb_table_is_told() {
    let Some(engine) = Engine::leveldb() else { return skip("libleveldb") };
    let (dir, db) = folder();
    let source = dir.path().join("level");
    let foreign = engine.create(&source);
    fill(&foreign);
    drop(foreign);
    for table in files(&source, ".ldb") {
        flip(&table, 300);
    }
    let ran = import(&db, "leveldb", &engine, &source);
    assert!([4, 6].contains(&ran.code) && ran.stderr.contains("LevelDB"), "{}: {}", ran.code, ran.stderr);
    // A database of neither, and none at all.
    lsm!["import", &db, "--from", "leveldb", dir.path()].exit(3);
    lsm!["import", &db, "--from", "leveldb", dir.path().join("missing")].exit(3);
}

#[test]
fn every_column_family_of_a_rocksdb_database_comes_over() {
    let Some(engine) = Engine::rocksdb() else { return skip("librocksdb") };
    let (dir, db) = folder();
    let source = dir.path().join("rocks");
    let foreign = engine.create(&source);
    let entries = fill(&foreign);
    let (second, empty) = (foreign.family("second"), foreign.family("em pty/\u{e4}"));
    let mut others = Entries::new();
    for i in 0..1000u32 {
        let (key, value) = (i.to_be_bytes().to_vec(), format!("value {i}").into_bytes());
        foreign.put_in(second, &key, &value);
        others.insert(key, value);
    }
    assert_eq!(import(&db, "rocksdb", &engine, &source).exit(5).error()["exit"], 5);
    foreign.release(second);
    foreign.release(empty);
    drop(foreign);

    let before = contents(&source);
    let told = import(&db, "rocksdb", &engine, &source).ok().json();
    assert_eq!(told["entries"].as_u64(), Some((entries.len() + others.len()) as u64));
    assert!(read(&db, "default") == entries && read(&db, "second") == others);
    assert!(read(&db, "em pty/\u{e4}").is_empty());
    assert!(before == contents(&source), "not a byte of the source was written");
    for table in files(&source, ".sst") {
        flip(&table, 100);
    }
    let ran = import(&dir.path().join("db2"), "rocksdb", &engine, &source);
    assert!([4, 6].contains(&ran.code) && ran.stderr.contains("RocksDB"), "{}: {}", ran.code, ran.stderr);
}

#[test]
fn a_missing_engine_is_named_with_its_package() {
    let (dir, db) = folder();
    let ran =
        lsm!["import", &db, "--from", "rocksdb", dir.path(), "--engine-library", "/nowhere/librocksdb.so"].exit(7);
    assert!(ran.stderr.contains("librocksdb-dev"), "{}", ran.stderr);
}
