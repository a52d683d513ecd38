//! One drawn history, many option sets: whatever the options, every answer is the one that a sorted map gives. Flushes,
//! compactions, deaths of the process, power cuts behind a sync and reopens are operations of the history like others.
//!
//! `LSM_SEED=n` and `LSM_SOAK_MINUTES=n` as in the crash explorer; `LSM_META_OPS` operations, `LSM_META_SETS` option sets
//! for each history.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::print_stderr, reason = "seeds and counts are for whoever reads the test's output")]
#![allow(clippy::disallowed_methods, reason = "measures time")]

#[path = "common/count.rs"]
mod count;
mod explorer;
mod operations;

use explorer::{Quiet, Rng, Watched, first_seed, time_box};
use lsm_engine::db::Options;
use operations::{KINDS, Op, World, draw};
use std::sync::Arc;
use std::time::Instant;

/// What one option may be set to.
const CHOICES: &[(&str, &[&str])] = &[
    ("memtable.size", &["4KiB", "32KiB", "1MiB", "64MiB"]),
    ("memtable.count_max", &["2", "4"]),
    ("block.size", &["512", "4KiB", "64KiB"]),
    ("compression", &["none", "lz4"]),
    ("filter.fpr", &["0", "0.01", "0.5"]),
    ("cache.size", &["0", "64KiB", "16MiB"]),
    ("level0.compaction_trigger", &["1", "2", "4"]),
    ("level.base_size", &["16KiB", "1MiB"]),
    ("level.size_ratio", &["2", "10"]),
    ("level.count_max", &["2", "3", "7"]),
    ("table.size", &["4KiB", "16KiB", "64MiB"]),
    ("compaction.threads", &["1", "2"]),
    ("compaction.subjobs_max", &["1", "4"]),
    ("compaction.tables_per_job_max", &["0", "4"]),
    ("compaction.parallel_merge", &["true", "false"]),
    ("flush.threads", &["1", "2"]),
    ("durability", &["memory", "os", "fsync"]),
    ("wal.io", &["write", "auto"]),
    ("wal.segment_size", &["64KiB", "1MiB"]),
    ("wal.total_max", &["64KiB", "1GiB"]),
    ("wal.visible_before_sync", &["true", "false"]),
    ("open.files_max", &["1", "3", "1000"]),
];

/// The first set is small everywhere, so that all parts work; the second one leaves all to the defaults.
fn option_set(at: usize, rng: &mut Rng) -> Vec<(&'static str, &'static str)> {
    CHOICES
        .iter()
        .filter(|_| at != 1)
        .map(|(name, values)| {
            let value = if at == 0 { 0 } else { rng.below(values.len() as u64) as usize };
            (*name, values[value])
        })
        .collect()
}

fn options(set: &[(&str, &str)]) -> Options {
    let mut options = Options::new();
    for (key, value) in set {
        options.set(key, value).unwrap();
    }
    options.set_logger(Arc::new(Quiet));
    options
}

/// Runs a history under one option set.
fn run(seed: u64, ops: &[Op], set: &[(&'static str, &'static str)]) -> [u64; KINDS.len()] {
    let is_mapped = set.iter().any(|(key, value)| *key == "wal.io" && *value == "auto");
    let mut world = World::new(options(set), is_mapped, seed);
    for (at, op) in ops.iter().enumerate() {
        let _watched = Watched::new(format!("seed {seed}, operation {at} {op:?} under {set:?}"));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.apply(op)));
        if result.is_err() {
            panic!("seed {seed}, operation {at} {op:?} under {set:?}");
        }
    }
    world.end()
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn answers_do_not_depend_on_options() {
    let first = first_seed();
    let (count, sets) = (setting("LSM_META_OPS", 2500), setting("LSM_META_SETS", 5));
    let deadline = Instant::now() + time_box(15);
    let mut done = [0u64; KINDS.len()];
    let mut seeds = 0;
    while Instant::now() < deadline || seeds == 0 {
        let seed = first + seeds;
        let mut rng = Rng::new(seed ^ 0x0e7a);
        let ops = draw(seed, count);
        for at in 0..sets {
            let set = option_set(at, &mut rng);
            for (sum, n) in done.iter_mut().zip(run(seed, &ops, &set)) {
                *sum += n;
            }
        }
        seeds += 1;
    }
    let missing: Vec<&str> = KINDS.iter().zip(done).filter(|(_, n)| *n == 0).map(|(kind, _)| *kind).collect();
    assert!(missing.is_empty(), "kinds of operations that never came: {missing:?}");
    eprintln!("{seeds} histories of {count} operations of {} kinds under {sets} option sets", KINDS.len());
    count::counted("metamorphic", first, seeds, "seeds");
}

/// Self-test: a model that misses a write now and then disagrees soon.
#[test]
fn forgotten_writes_are_convicted() {
    let ops = draw(11, 400);
    let result = std::panic::catch_unwind(|| {
        let mut world = World::new(options(&option_set(0, &mut Rng::new(1))), false, 11);
        world.forget_writes(30);
        ops.iter().for_each(|op| world.apply(op));
        world.end();
    });
    assert!(result.is_err(), "nobody noticed");
}
