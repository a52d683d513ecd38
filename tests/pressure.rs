//! Back-pressure: whoever writes faster than the disk drains is slowed evenly. No put waits over 200 ms, and no second
//! of a fill falls under a quarter of the median.
//!
//! The long run: `LSM_FILL_SECONDS=300 LSM_VALUE=100 cargo test --release --test pressure -- --ignored --nocapture`,
//! other options by `LSM_SET="key=value ..."`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints its figures and measures time"
)]

mod common;

use common::{MIB, Until, env, fill, folder, isolated, options};
use lsm_engine::db::{Db, Options};
use std::time::Duration;

/// Fills for `seconds` and answers what is measured, printing the tree's shape.
fn run(what: &str, options: &Options, value_len: usize, seconds: u64) -> common::Filled {
    let (_dir, path) = folder();
    let db = Db::open(&path, options).unwrap();
    let writers = env("LSM_WRITERS", 1);
    let filled = fill(&db, value_len, writers, Until::Time(Duration::from_secs(seconds)));
    filled.show(what);
    let number = |name: &str| db.property_u64(None, name).unwrap().unwrap();
    let tables: u64 = (0..7).map(|level| number(&format!("levels.{level}.bytes"))).sum();
    println!(
        "{what}: stalled {} ms, level 0 {} tables, tables {} MiB, pending {} MiB, compacted {} MiB, flushed {} MiB",
        number("stall.micros") / 1000,
        number("levels.0.files"),
        tables / MIB,
        number("compaction.pending_bytes") / MIB,
        number("compaction.bytes_written") / MIB,
        number("flush.bytes_written") / MIB,
    );
    println!("{}", db.property(None, "levels").unwrap().unwrap());
    db.close().unwrap();
    common::show_log(&path);
    filled
}

/// Small memtables and tables, so that twenty seconds hold many flushes and compactions of all levels. The machine of a
/// test run is shared, so this asks for less than the long run does, and of up to three fills the best counts: what others
/// take of the machine only makes a fill slower, and what the engine does wrong it does in each.
#[test]
fn a_fill_is_slowed_evenly() {
    isolated("a_fill_is_slowed_evenly", || {
        let options = options(&[
            ("memtable.size", "1MiB"),
            ("wal.segment_size", "1MiB"),
            ("table.size", "1MiB"),
            ("level.base_size", "4MiB"),
        ]);
        let mut said = Vec::new();
        for _ in 0..3 {
            let filled = run("small", &options, 100, env("LSM_FILL_SECONDS", 20));
            let (slowest, median) = (filled.slowest(), filled.median());
            if filled.longest < Duration::from_millis(400) && slowest * 8 >= median {
                return;
            }
            said.push(format!("a put of {:?}, a second of {slowest} puts, {median} in most", filled.longest));
        }
        panic!("{}", said.join("; "));
    });
}

#[test]
#[ignore = "takes minutes and the whole machine"]
fn a_long_fill_is_slowed_evenly() {
    isolated("a_long_fill_is_slowed_evenly", || {
        let value_len = env("LSM_VALUE", 100) as usize;
        let filled = run("long", &options(&[]), value_len, env("LSM_FILL_SECONDS", 300));
        assert!(filled.longest < Duration::from_millis(200), "a put took {:?}", filled.longest);
        assert!(filled.slowest() * 4 >= filled.median(), "a second of {} puts", filled.slowest());
    });
}
