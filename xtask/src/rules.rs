//! The rules that are lists. The layers are not here: they are read from the head of `src/lib.rs`.

/// Files (and the modules under them) that may hold `unsafe`: those of the engine one by one, `capi/` because every
/// export is unsafe by its nature.
pub const UNSAFE: &[&str] = &[
    "capi/src/",
    // Memory and reclamation.
    "src/base/arc_cell",
    "src/base/arc_slot",
    "src/base/arena",
    "src/cache/slots",
    "src/memtable/store",
    // The operating system.
    "src/fs/posix/map",
    "src/fs/posix/sys",
    // Instructions of one processor.
    "src/sstable/simd",
    // Stand-ins for parts that are in this list.
    "models/src/base/",
    "models/src/cache/spare",
];

/// A name that few may use.
pub struct Restricted {
    /// The path as it is written in code.
    pub name: &'static str,
    /// Prefixes of paths under `src/` where it may stand.
    pub homes: &'static [&'static str],
    /// What may follow the name and make it free, or "".
    pub free: &'static str,
    /// Whether tests may use it anywhere.
    pub is_open_to_tests: bool,
    /// What to use instead.
    pub instead: &'static str,
}

const fn rule(name: &'static str, homes: &'static [&'static str], instead: &'static str) -> Restricted {
    Restricted { name, homes, free: "", is_open_to_tests: true, instead }
}

const THREADS: &str = "only db/ has threads; offer a run_once";

/// The names that few may use, in `src/`.
pub const RESTRICTED: &[Restricted] = &[
    Restricted {
        is_open_to_tests: false,
        ..rule("crossbeam_epoch", &["src/base/epoch"], "base::epoch pins and retires")
    },
    Restricted {
        is_open_to_tests: false,
        ..rule("parking_lot", &[], "a forked child may not use it; base::sync has ranked locks")
    },
    Restricted {
        is_open_to_tests: false,
        ..rule("sync::atomic", &["src/base/sync"], "base::sync exports the atomics")
    },
    // An errno's name is no system call.
    Restricted {
        free: "::E",
        ..rule("libc", &["src/fs/", "src/base/arena"], "only fs/ talks to the operating system")
    },
    rule("std::fs", &["src/fs/"], "only fs/ touches files"),
    rule("thread::spawn", &["src/db/"], THREADS),
    rule("thread::Builder", &["src/db/"], THREADS),
    rule("thread::scope", &["src/db/"], THREADS),
    rule("Instant::now", &["src/base/clock"], "base::clock::now"),
];

/// Longest file, in lines.
pub const FILE_LINES_MAX: usize = 600;
/// Longest function, in lines from `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
