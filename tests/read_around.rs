//! Reads that miss have their surroundings read where all tables fit into memory, and nowhere else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lsm_engine::db::{Db, Options, ReadOptions, WriteOptions};
use lsm_engine::fs::Fs;
use lsm_engine::fs::mem::MemFs;
use std::path::Path;
use std::sync::Arc;

const KEYS: u64 = 20_000;

fn open(fs: &MemFs) -> Db {
    let mut options = Options::new();
    // Less than the blocks take: reads go on missing.
    options.set("cache.size", "256KiB").unwrap();
    Db::open_on(Arc::new(fs.clone()), Path::new("/db"), &options).unwrap()
}

fn value(i: u64) -> Vec<u8> {
    (0..100).map(|j| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (j % 57)) as u8).collect()
}

fn loaded() -> (MemFs, u64) {
    let fs = MemFs::new();
    let db = open(&fs);
    let keyspace = db.default_keyspace();
    for i in 0..KEYS {
        keyspace.put(&WriteOptions::default(), &i.to_be_bytes(), &value(i)).unwrap();
    }
    keyspace.compact(None, None).unwrap();
    drop(keyspace);
    db.close().unwrap();
    drop(db);
    let names = fs.list(Path::new("/db")).unwrap().into_iter().filter_map(|name| name.into_string().ok());
    let tables = names.filter(|name| name.ends_with(".sst"));
    let bytes = tables.map(|name| fs.metadata(&Path::new("/db").join(name)).unwrap().unwrap().len).sum();
    assert!(bytes > 1 << 20, "{bytes} bytes of tables");
    (fs, bytes)
}

/// Bytes asked for while every key is read twice, in a database opened where so much memory is.
fn asked(fs: &MemFs, memory: u64) -> u64 {
    fs.set_memory_bytes(memory);
    let db = open(fs);
    let keyspace = db.default_keyspace();
    let before = fs.prefetched();
    for i in (0..KEYS).chain(0..KEYS) {
        let found = keyspace
            .get_with(&ReadOptions::default(), &(i * 7919 % KEYS).to_be_bytes(), |v| v == value(i * 7919 % KEYS));
        assert_eq!(found.unwrap(), Some(true));
    }
    drop(keyspace);
    db.close().unwrap();
    fs.prefetched() - before
}

#[test]
fn a_database_that_fits_into_memory_is_asked_for_once() {
    let (fs, tables) = loaded();
    let bytes = asked(&fs, 4 * tables);
    assert!(bytes <= tables && bytes + (256 << 10) > tables, "{bytes} of {tables} bytes");
    assert_eq!(asked(&fs, 2 * tables), bytes, "half the memory is enough");
}

#[test]
fn a_database_larger_than_half_the_memory_is_read_block_by_block() {
    let (fs, tables) = loaded();
    assert_eq!(asked(&fs, tables), 0);
    assert_eq!(asked(&fs, 0), 0, "an unknown size is none");
}
