//! The one options table. A row here makes a key exist: parser, bounds, `describe`, documentation and persistence all
//! read it.
//!
//! - I1  `TABLE[key as usize]` is the row of `key`: the order of `Key` is that of the rows (a test compares names).
//! - I2  Every default is a text that `set` accepts and that is canonical.
//!
//! Threads: constants. Failure: none.

use crate::base::compress::Compression;

/// Where a key may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// When a database is opened.
    Database,
    /// When a keyspace is opened; in a database's options, for all its keyspaces.
    Keyspace,
    /// For each open of either; never handed from a database to its keyspaces.
    Open,
}

impl Scope {
    /// Its name in `describe`.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Database => "database",
            Scope::Keyspace => "keyspace",
            Scope::Open => "open",
        }
    }
}

/// A name a choice knows but this version or build does not have.
pub type Later = (&'static str, &'static str);

/// What values a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// Bytes, with a unit or without.
    Size { min: u64, max: u64 },
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A fraction in `[0, 1)`.
    Fraction,
    /// One of `names`; one of `later` is `Unsupported`, with a reason.
    Choice { names: &'static [&'static str], later: &'static [Later] },
    /// Up to `max` choices with commas between; may be empty.
    List { names: &'static [&'static str], later: &'static [Later], max: usize },
}

/// A default.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// This text.
    Text(&'static str),
    /// The number of cores.
    Cores,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when nobody says.
    pub default: Default,
    /// What a number counts.
    pub unit: &'static str,
    /// Where it may be given.
    pub scope: Scope,
    /// Whether it may change while the database is open. No key may in this version.
    pub is_mutable: bool,
    /// Whether an explicit value is remembered by the database.
    pub is_persisted: bool,
    /// One line of prose.
    pub text: &'static str,
}

/// The keys, in the order of the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Key {
    CreateIfMissing,
    ErrorIfExists,
    Mode,
    Durability,
    MemtableSize,
    MemtableCountMax,
    BlockSize,
    Compression,
    CompressionPerLevel,
    FilterFpr,
    CacheSize,
    Level0CompactionTrigger,
    Level0Slowdown,
    Level0Stop,
    LevelBaseSize,
    LevelSizeRatio,
    LevelCountMax,
    TableSize,
    CompactionThreads,
    CompactionSubjobsMax,
    CompactionTablesPerJobMax,
    CompactionParallelMerge,
    CompactionStyle,
    FlushThreads,
    WalIo,
    WalSegmentSize,
    WalTotalMax,
    WalVisibleBeforeSync,
    OpenFilesMax,
}

/// How many keys there are.
pub const COUNT: usize = TABLE.len();
/// Most levels a keyspace may have.
pub const LEVELS_MAX: u64 = 12;
/// Most threads or parts of a kind.
const THREADS_MAX: u64 = 256;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Codecs in the order of `CODECS`.
#[cfg(feature = "zstd")]
const CODEC_NAMES: &[&str] = &["none", "lz4", "zstd"];
#[cfg(not(feature = "zstd"))]
const CODEC_NAMES: &[&str] = &["none", "lz4"];
#[cfg(feature = "zstd")]
const CODECS_LATER: &[Later] = &[];
#[cfg(not(feature = "zstd"))]
const CODECS_LATER: &[Later] = &[("zstd", "not part of this build")];
/// What the codec names mean.
pub const CODECS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];

const LATER: &str = "not part of this version";

const fn row(name: &'static str, scope: Scope, kind: Kind, default: &'static str, text: &'static str) -> Spec {
    let unit = match kind {
        Kind::Size { .. } => "bytes",
        _ => "",
    };
    let default = Default::Text(default);
    let is_persisted = !matches!(scope, Scope::Open);
    Spec { name, kind, default, unit, scope, is_mutable: false, is_persisted, text }
}

const fn size(name: &'static str, scope: Scope, min: u64, max: u64, default: &'static str, text: &'static str) -> Spec {
    row(name, scope, Kind::Size { min, max }, default, text)
}

const fn count(
    name: &'static str,
    scope: Scope,
    (min, max): (u64, u64),
    unit: &'static str,
    default: &'static str,
    text: &'static str,
) -> Spec {
    Spec { unit, ..row(name, scope, Kind::Count { min, max }, default, text) }
}

const fn choice(
    name: &'static str,
    scope: Scope,
    names: &'static [&'static str],
    later: &'static [Later],
    text: &'static str,
) -> Spec {
    row(name, scope, Kind::Choice { names, later }, names[0], text)
}

/// The table.
pub static TABLE: [Spec; 29] = [
    row("create_if_missing", Scope::Open, Kind::Bool, "true", "Whether opening makes what does not exist."),
    Spec {
        scope: Scope::Database,
        is_persisted: false,
        ..row("error_if_exists", Scope::Open, Kind::Bool, "false", "Whether opening an existing database fails.")
    },
    Spec {
        scope: Scope::Database,
        is_persisted: false,
        ..choice(
            "mode",
            Scope::Open,
            &["rw", "ro"],
            &[("secondary", LATER)],
            "rw reads and writes; ro writes no byte and shares the folder with other readers.",
        )
    },
    Spec {
        default: Default::Text("os"),
        ..choice(
            "durability",
            Scope::Database,
            &["memory", "os", "fsync"],
            &[],
            "How far a write has got when it is acknowledged: memory may lose it with the process, os with the machine, \
             fsync with the device only.",
        )
    },
    size(
        "memtable.size",
        Scope::Keyspace,
        4 * KIB,
        16 * GIB,
        "64MiB",
        "A memtable of this size is flushed to a table.",
    ),
    count(
        "memtable.count_max",
        Scope::Keyspace,
        (1, 64),
        "memtables",
        "4",
        "Memtables of a keyspace, the active one included; writes wait when more would be needed.",
    ),
    size(
        "block.size",
        Scope::Keyspace,
        256,
        16 * MIB,
        "4KiB",
        "Uncompressed bytes of a table's block: larger compresses better, smaller reads less for one key.",
    ),
    Spec {
        default: Default::Text("lz4"),
        ..choice(
            "compression",
            Scope::Keyspace,
            CODEC_NAMES,
            CODECS_LATER,
            "Codec of table blocks, where compression.per_level does not say.",
        )
    },
    row(
        "compression.per_level",
        Scope::Keyspace,
        Kind::List { names: CODEC_NAMES, later: CODECS_LATER, max: LEVELS_MAX as usize },
        "",
        "Codecs by level from level 0, with commas; the last one holds for all deeper levels; empty: none is special.",
    ),
    row(
        "filter.fpr",
        Scope::Keyspace,
        Kind::Fraction,
        "0.01",
        "Share of lookups of missing keys that a table's filter lets through; 0 makes no filter.",
    ),
    size(
        "cache.size",
        Scope::Database,
        0,
        64 * TIB,
        "256MiB",
        "Bytes of the block cache, bookkeeping included; 0 keeps nothing.",
    ),
    count(
        "level0.compaction_trigger",
        Scope::Keyspace,
        (1, 10_000),
        "tables",
        "4",
        "So many tables in level 0 start a compaction.",
    ),
    count(
        "level0.slowdown",
        Scope::Keyspace,
        (1, 10_000),
        "tables",
        "20",
        "So many tables in level 0 slow writes down.",
    ),
    count("level0.stop", Scope::Keyspace, (1, 10_000), "tables", "36", "So many tables in level 0 stop writes."),
    size(
        "level.base_size",
        Scope::Keyspace,
        4 * KIB,
        16 * TIB,
        "256MiB",
        "Target size of the first level below level 0.",
    ),
    count(
        "level.size_ratio",
        Scope::Keyspace,
        (2, 100),
        "times",
        "10",
        "How much larger each level is than the one above.",
    ),
    count(
        "level.count_max",
        Scope::Keyspace,
        (2, LEVELS_MAX),
        "levels",
        "7",
        "Levels of a keyspace, level 0 included.",
    ),
    size("table.size", Scope::Keyspace, 4 * KIB, 16 * GIB, "64MiB", "Target size of a table that a compaction writes."),
    Spec {
        default: Default::Cores,
        ..count(
            "compaction.threads",
            Scope::Database,
            (1, THREADS_MAX),
            "threads",
            "1",
            "Compactions that run at once; the number of cores unless given.",
        )
    },
    count(
        "compaction.subjobs_max",
        Scope::Database,
        (0, THREADS_MAX),
        "parts",
        "0",
        "Key ranges of one compaction that are merged at once; 0 is the number of cores.",
    ),
    count(
        "compaction.tables_per_job_max",
        Scope::Keyspace,
        (0, 1_000_000),
        "tables",
        "0",
        "Tables that one compaction may read; 0 is no limit.",
    ),
    row(
        "compaction.parallel_merge",
        Scope::Database,
        Kind::Bool,
        "true",
        "Whether one compaction may be split into key ranges merged in parallel.",
    ),
    choice(
        "compaction.style",
        Scope::Keyspace,
        &["leveled"],
        &[("tiered", LATER), ("fifo", LATER)],
        "How tables are arranged; leveled keeps one sorted run a level.",
    ),
    count("flush.threads", Scope::Database, (1, THREADS_MAX), "threads", "1", "Flushes that run at once."),
    choice(
        "wal.io",
        Scope::Database,
        &["auto", "mmap", "write"],
        &[],
        "How the log is written: mapped, by write(2), or mapped where that is safe.",
    ),
    size("wal.segment_size", Scope::Database, 64 * KIB, GIB, "64MiB", "Size that log segments grow to."),
    size(
        "wal.total_max",
        Scope::Database,
        64 * KIB,
        16 * TIB,
        "1GiB",
        "A keyspace that holds back more log than this is flushed, however small its memtable.",
    ),
    row(
        "wal.visible_before_sync",
        Scope::Database,
        Kind::Bool,
        "false",
        "Whether an fsync write may be read before it is on the device.",
    ),
    count(
        "open.files_max",
        Scope::Database,
        (1, 1_000_000),
        "files",
        "1000",
        "Tables kept open; the one not used for longest is closed first.",
    ),
];

/// The row called `name`.
pub fn find(name: &str) -> Option<usize> {
    TABLE.iter().position(|spec| spec.name == name)
}
