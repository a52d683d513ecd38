//! A thousand opens and closes leave no descriptor, no thread and no memory behind.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints its figures and measures time"
)]

mod common;

use common::{anonymous, descriptors, env, isolated, options, threads};
use lsm_engine::db::{Db, ReadOptions, WriteOptions};

fn opens_and_closes(writes: bool) {
    // Small ones, so that a thousand flushes at close take seconds.
    let options = options(&[("memtable.size", "64KiB"), ("wal.segment_size", "64KiB"), ("cache.size", "1MiB")]);
    // In memory where that is possible: what is looked for does not depend on the device, which takes its time.
    let shm = std::path::Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm).unwrap() } else { tempfile::tempdir().unwrap() };
    let path = dir.path().join("db");
    let round = |n: u64| {
        let db = Db::open(&path, &options).unwrap();
        let keyspace = db.default_keyspace();
        if writes {
            keyspace.put(&WriteOptions::default(), &(n % 100).to_be_bytes(), &[n as u8; 100]).unwrap();
            let mut iter = keyspace.iter(&ReadOptions::default()).unwrap();
            assert!(iter.next().unwrap().is_some());
            drop(iter);
            let got = keyspace.get_with(&ReadOptions::default(), &(n % 100).to_be_bytes(), <[u8]>::len).unwrap();
            assert_eq!(got, Some(100));
        }
        drop(keyspace);
        db.close().unwrap();
    };
    let rounds = env("LSM_OPENS", 1000);
    // The first ones warm allocator and thread stacks up.
    (0..rounds / 5).for_each(round);
    let before = (descriptors(), threads(), anonymous());
    (0..rounds).for_each(round);
    let after = (descriptors(), threads(), anonymous());
    println!("writes {writes}: descriptors, threads, bytes: {before:?} before, {after:?} after {rounds} opens");
    assert_eq!((before.0, before.1), (after.0, after.1), "descriptors and threads");
    // Half a page an open: less than one mapping left behind, more than the allocator keeps for threads that happened to
    // run at the same time (0.7 to 1.3 MiB, however many rounds).
    let most = before.2 + rounds * 2048;
    assert!(after.2 < most, "memory grew from {} to {} KiB", before.2 >> 10, after.2 >> 10);
}

#[test]
fn opens_and_closes_leave_nothing_behind() {
    isolated("opens_and_closes_leave_nothing_behind", || opens_and_closes(false));
}

#[test]
fn opens_and_closes_with_writes_leave_nothing_behind() {
    isolated("opens_and_closes_with_writes_leave_nothing_behind", || opens_and_closes(true));
}
