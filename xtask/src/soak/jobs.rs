//! The checks of the soak, the figure each is to reach, and how it is run.

/// How a check is run.
pub enum How {
    /// A test binary (`lib` or a file of `tests/`) for so many minutes (`LSM_SOAK_MINUTES`), from a seed (`LSM_SEED`).
    Timed(&'static str, &'static [&'static str]),
    /// A test binary that ends by itself; worth so much when it does not say `COUNT` itself.
    Once(&'static str, &'static [&'static str], u64),
    /// A target of `fuzz/src/mutate.rs`.
    Mutate(&'static str),
    /// Unit tests of these modules under Miri, tree borrows, one seed a run.
    Miri(&'static [&'static str]),
    /// Test files under ThreadSanitizer, the standard library built with it.
    Tsan(&'static [&'static str]),
    /// `models/`, under loom.
    Loom,
    /// `ffi-tests/run.sh`.
    Hosts,
    /// `docs/results/planted.json`, which `cargo xtask plant` writes.
    Planted,
    /// Not there yet; why.
    Open(&'static str),
}

/// One check.
pub struct Job {
    /// As in the rows of `docs/results/soak.jsonl`.
    pub name: &'static str,
    /// The goal it counts for.
    pub goal: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How many are wanted without a violation.
    pub figure: u64,
    /// How.
    pub how: How,
    /// Environment of the long run.
    pub env: &'static [(&'static str, &'static str)],
    /// Part of the tick besides what `cargo test` runs, for so many seconds.
    pub tick_seconds: u64,
}

const fn job(
    goal: &'static str,
    name: &'static str,
    what: &'static str,
    figure: u64,
    unit: &'static str,
    how: How,
) -> Job {
    Job { name, goal, what, unit, figure, how, env: &[], tick_seconds: 0 }
}

const LONG_HISTORIES: &[(&str, &str)] = &[("LSM_META_OPS", "10000"), ("LSM_META_SETS", "30")];

/// All checks, by goal.
pub const JOBS: &[Job] = &[
    job(
        "G1-G3",
        "crash-write",
        "crashes at any call, two directory models, double crashes; written log",
        25_000,
        "states",
        How::Timed("crash_explorer", &["histories_survive_crashes_with_a_written_log"]),
    ),
    job(
        "G1-G3",
        "crash-mapped",
        "the same with the mapped log",
        25_000,
        "states",
        How::Timed("crash_explorer", &["histories_survive_crashes_with_a_mapped_log"]),
    ),
    job(
        "G1-G3",
        "crash-writers",
        "crashes while four threads write and sync together; both kinds of log",
        5_000,
        "states",
        How::Timed("crash_writers", &["writers_that"]),
    ),
    job(
        "G4",
        "swallowed-syncs",
        "each of five swallowed syncs is convicted",
        5,
        "mutants",
        How::Once("crash_explorer", &["swallowed_syncs_are_convicted"], 5),
    ),
    job(
        "G5",
        "flips-clean",
        "drawn bits of drawn databases that were closed cleanly",
        524_288,
        "flips",
        How::Timed("damage", &["every_flipped_bit"]),
    ),
    job(
        "G6",
        "structure",
        "truncated, empty, missing, swapped, extended files",
        10_000,
        "cases",
        How::Timed("damage", &["structural_damage"]),
    ),
    job(
        "G7",
        "flips-killed",
        "bits of the log of a killed database, below the watermark",
        2_000,
        "flips",
        How::Timed("damage", &["flips_below_the_watermark"]),
    ),
    job(
        "G8",
        "failing-calls",
        "the nth call of each kind fails, once or for good, while running",
        2_000,
        "cases",
        How::Timed("faults", &["failing_calls_lose_nothing"]),
    ),
    job(
        "G8",
        "failing-opens",
        "the same while opening",
        2_000,
        "cases",
        How::Timed("faults", &["failing_opens_lose_nothing"]),
    ),
    job(
        "G9",
        "failed-sync",
        "nothing is acknowledged behind a failed sync",
        4,
        "cases",
        How::Once("faults", &["a_failed_sync_is_final"], 4),
    ),
    job(
        "G10",
        "full-disk",
        "a full disk is left behind without a reopen; opening on one",
        20,
        "cycles",
        How::Once("faults", &["full_disk"], 20),
    ),
    job(
        "G11",
        "kill",
        "kill -9 at random moments, both kinds of log",
        2_000,
        "cycles",
        How::Timed("kill", &["nothing_acknowledged"]),
    ),
    job(
        "G11",
        "kill-acked",
        "operations acknowledged in those cycles",
        10_000_000,
        "operations",
        How::Open("counted by kill"),
    ),
    job(
        "G12",
        "hosts",
        "C programs: conformance, abuse, threads, forks; plain, AddressSanitizer, valgrind",
        1,
        "runs",
        How::Hosts,
    ),
    job(
        "G13",
        "linearizability",
        "histories of 20,000 operations by six threads; batches, snapshots, iterators",
        200,
        "histories",
        How::Timed("linearizability", &["histories_of"]),
    ),
    Job { tick_seconds: 6, ..job("G14", "fuzz-batch", "batches", 100_000_000, "executions", How::Mutate("batch")) },
    Job {
        tick_seconds: 6,
        ..job("G14", "fuzz-packed", "packed batches", 100_000_000, "executions", How::Mutate("packed"))
    },
    Job {
        tick_seconds: 6,
        ..job("G14", "fuzz-options", "option texts", 100_000_000, "executions", How::Mutate("options"))
    },
    Job {
        tick_seconds: 6,
        ..job("G14", "fuzz-log", "log segments, signed again", 100_000_000, "executions", How::Mutate("log"))
    },
    Job {
        tick_seconds: 6,
        ..job(
            "G14",
            "fuzz-block",
            "data blocks and properties behind their checksum",
            100_000_000,
            "executions",
            How::Mutate("block"),
        )
    },
    Job {
        tick_seconds: 6,
        ..job("G14", "fuzz-manifest", "manifests, signed again", 100_000_000, "executions", How::Mutate("manifest"))
    },
    Job {
        tick_seconds: 6,
        ..job("G14", "fuzz-current", "CURRENT, signed again", 100_000_000, "executions", How::Mutate("current"))
    },
    Job {
        tick_seconds: 10,
        ..job(
            "G14",
            "fuzz-table",
            "whole tables, signed again, read both ways",
            1_000_000,
            "executions",
            How::Mutate("table"),
        )
    },
    Job {
        tick_seconds: 10,
        ..job(
            "G14",
            "fuzz-operations",
            "sequences of calls against a model: 4 to 24 of them, in every eighth sequence up to 120",
            1_000_000,
            "executions",
            How::Mutate("operations"),
        )
    },
    Job {
        tick_seconds: 10,
        ..job(
            "G14",
            "fuzz-calls",
            "sequences of C calls with hostile arguments and dead handles, against a model: 10 to 60, in every eighth up to 200",
            1_000_000,
            "executions",
            How::Mutate("calls"),
        )
    },
    Job {
        env: LONG_HISTORIES,
        ..job(
            "G15",
            "metamorphic",
            "10,000 operations of 65 kinds under 30 option sets",
            50,
            "seeds",
            How::Timed("metamorphic", &["answers_do_not"]),
        )
    },
    Job {
        tick_seconds: 60,
        ..job(
            "G16",
            "loom-publish",
            "log, memtable leaf, cache eviction, iterators beside flushes: every order of a few threads",
            1,
            "runs",
            How::Loom,
        )
    },
    Job {
        tick_seconds: 90,
        ..job(
            "G16",
            "miri-epoch",
            "reclamation under Miri (tree borrows, weak memory)",
            64,
            "seeds",
            How::Miri(&["base::epoch", "base::arc_slot"]),
        )
    },
    job("G16", "miri-memtable", "memtable under Miri", 64, "seeds", How::Miri(&["memtable::tests::contention"])),
    job(
        "G16",
        "miri-cache",
        "cache slots: eviction against reads, under Miri",
        64,
        "seeds",
        How::Miri(&["cache::tests::a_pinned", "cache::tests::stress"]),
    ),
    job(
        "G16",
        "tsan",
        "tests with threads under ThreadSanitizer with a rebuilt standard library",
        1,
        "runs",
        How::Tsan(&["linearizability", "concurrency"]),
    ),
    job("G20", "planted", "planted bugs that a check convicts", 40, "bugs", How::Planted),
    job("G21", "fixtures", "databases of every released version open", 1, "runs", How::Once("fixtures", &[], 1)),
    job(
        "G22",
        "leaks",
        "opens and closes without a descriptor, thread or page left behind",
        1_000,
        "opens",
        How::Once("leaks", &[], 1_000),
    ),
];

/// Goals that are not counted here: where they are looked after.
pub const ELSEWHERE: &[(&str, &str)] = &[
    (
        "G17",
        "clippy (`undocumented_unsafe_blocks`, `unsafe_op_in_unsafe_fn`) in every CI run; the files that may hold `unsafe` are a list in `xtask/src/rules.rs`",
    ),
    ("G18", "a panic fails every check above"),
    (
        "G19",
        "93.5 % of the engine's lines (15,544 of 16,623 in `src/`, without tests) are run by its unit tests and nine of the files in `tests/`, on 2026-11-20: built with `-C instrument-coverage`, read by `cov` of the crate llvm_profparser 0.14; branches are not measured",
    ),
];
