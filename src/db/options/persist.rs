//! The layers a value may come from, and the typed settings made of them once per open.
//!
//!     database:  explicit > persisted > default
//!     keyspace:  explicit > persisted > the database's (explicit > persisted) > default
//!
//! Only what somebody set is persisted, as `key = value` lines in the table's order, so that two equal sets are equal
//! texts.
//!
//! Threads: plain values. Failure: an error that names the key; nothing changed.

use super::Options;
use super::parse::{self, Value};
use super::table::{CODECS, Key, LEVELS_MAX, Scope, TABLE};
use crate::base::compress::Compression;
use crate::db::api::Durability;
use crate::error::{Code, Error, Result};
use crate::wal::WalIo;

/// How a database is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Reads and writes.
    ReadWrite,
    /// Writes no byte.
    ReadOnly,
}

/// The settings of an open database.
#[derive(Clone, Debug)]
pub struct DbOptions {
    /// Whether a missing database is made.
    pub create_if_missing: bool,
    /// Whether an existing database is refused.
    pub error_if_exists: bool,
    /// Reading and writing, or reading only.
    pub mode: Mode,
    /// Of writes that do not say; never `Default`.
    pub durability: Durability,
    /// Budget of the block cache.
    pub cache_bytes: usize,
    /// Tables kept open.
    pub open_files_max: usize,
    /// How the log is written.
    pub wal_io: WalIo,
    /// Size that log segments grow to.
    pub wal_segment_bytes: u64,
    /// Log that a keyspace may hold back.
    pub wal_bytes_max: u64,
    /// Whether fsync writes are visible before their sync.
    pub wal_visible_before_sync: bool,
    /// Compactions at once.
    pub compaction_threads: usize,
    /// Parts of one compaction merged at once: at least 1, and 1 without `compaction.parallel_merge`.
    pub compaction_subjobs_max: usize,
    /// Flushes at once.
    pub flush_threads: usize,
}

/// The settings of an open keyspace.
#[derive(Clone, Debug)]
pub struct KeyspaceOptions {
    /// Whether a missing keyspace is made.
    pub create_if_missing: bool,
    /// Size of a memtable that is flushed.
    pub memtable_bytes: usize,
    /// Memtables, the active one included.
    pub memtable_count_max: usize,
    /// Uncompressed bytes of a block.
    pub block_bytes: usize,
    /// The codec of each level that may exist.
    codecs: [Compression; LEVELS_MAX as usize],
    /// False-positive rate of filters; 0 makes none.
    pub filter_fpr: f64,
    /// Tables in level 0 that start a compaction.
    pub level0_compaction_trigger: usize,
    /// Tables in level 0 that slow writes; at least the trigger.
    pub level0_slowdown: usize,
    /// Tables in level 0 that stop writes; at least the slowdown.
    pub level0_stop: usize,
    /// Target size of the first level below level 0.
    pub level_base_bytes: u64,
    /// Growth from level to level.
    pub level_size_ratio: u64,
    /// Levels, level 0 included.
    pub level_count_max: usize,
    /// Target size of a compaction's tables.
    pub table_bytes: u64,
    /// Tables one compaction may read; 0 is no limit.
    pub tables_per_job_max: usize,
}

impl DbOptions {
    /// Whether nothing may be written.
    pub fn is_read_only(&self) -> bool {
        self.mode == Mode::ReadOnly
    }
}

impl KeyspaceOptions {
    /// The codec of tables in `level`.
    pub fn compression(&self, level: usize) -> Compression {
        self.codecs[level.min(self.codecs.len() - 1)]
    }
}

/// Explicit values first, defaults last.
struct Layers<'a>(Vec<&'a Options>);

impl Layers<'_> {
    fn given(&self, key: Key) -> Option<&Value> {
        // What belongs to one open is never handed down: only the first layer may say it.
        let depth = if TABLE[key as usize].is_persisted { self.0.len() } else { 1 };
        self.0[..depth].iter().find_map(|layer| layer.values[key as usize].as_ref())
    }

    fn value(&self, key: Key) -> Result<Value> {
        let spec = &TABLE[key as usize];
        self.given(key).map_or_else(|| parse::parse(spec, &parse::default_text(spec)), |value| Ok(value.clone()))
    }

    fn bool(&self, key: Key) -> Result<bool> {
        match self.value(key)? {
            Value::Bool(value) => Ok(value),
            other => Err(wrong_kind(key, &other)),
        }
    }

    fn number(&self, key: Key) -> Result<u64> {
        match self.value(key)? {
            Value::Number(value) => Ok(value),
            other => Err(wrong_kind(key, &other)),
        }
    }

    fn usize(&self, key: Key) -> Result<usize> {
        Ok(self.number(key)? as usize)
    }

    fn choice<T: Copy>(&self, key: Key, meanings: &[T]) -> Result<T> {
        match self.value(key)? {
            Value::Choice(index) if index < meanings.len() => Ok(meanings[index]),
            other => Err(wrong_kind(key, &other)),
        }
    }
}

#[cold]
fn wrong_kind(key: Key, value: &Value) -> Error {
    debug_assert!(false, "{key:?} holds {value:?}");
    Error::invalid(format!("option {} holds {value:?}", TABLE[key as usize].name))
}

/// Parses a persisted text. What this build cannot read was written by another one.
fn load_persisted(persisted: &str) -> Result<Options> {
    let mut options = Options::new();
    options.load(persisted).map_err(|e| match e.code() {
        Code::Invalid => Error::new(Code::Version, format!("persisted options: {}", e.message())),
        _ => e.context("persisted options"),
    })?;
    Ok(options)
}

impl Options {
    /// The settings of a database whose persisted options are `persisted`.
    pub fn database(&self, persisted: &str) -> Result<DbOptions> {
        let persisted = load_persisted(persisted)?;
        let layers = Layers(vec![self, &persisted]);
        let subjobs_max = match layers.usize(Key::CompactionSubjobsMax)? {
            _ if !layers.bool(Key::CompactionParallelMerge)? => 1,
            0 => parse::cores(),
            n => n,
        };
        // A contradiction in keys meant for the keyspaces is refused here already, not when the first one is opened.
        level0_limits(&layers)?;
        Ok(DbOptions {
            create_if_missing: layers.bool(Key::CreateIfMissing)?,
            error_if_exists: layers.bool(Key::ErrorIfExists)?,
            mode: layers.choice(Key::Mode, &[Mode::ReadWrite, Mode::ReadOnly])?,
            durability: layers.choice(Key::Durability, &[Durability::Memory, Durability::Os, Durability::Fsync])?,
            cache_bytes: layers.usize(Key::CacheSize)?,
            open_files_max: layers.usize(Key::OpenFilesMax)?,
            wal_io: layers.choice(Key::WalIo, &[WalIo::Auto, WalIo::Mmap, WalIo::Write])?,
            wal_segment_bytes: layers.number(Key::WalSegmentSize)?,
            wal_bytes_max: layers.number(Key::WalTotalMax)?,
            wal_visible_before_sync: layers.bool(Key::WalVisibleBeforeSync)?,
            compaction_threads: layers.usize(Key::CompactionThreads)?,
            compaction_subjobs_max: subjobs_max,
            flush_threads: layers.usize(Key::FlushThreads)?,
        })
    }

    /// The settings of a keyspace whose persisted options are `persisted`, in a database whose explicit options over
    /// its persisted ones (see `over`) are `parent`. `Invalid` for a key of the database's own.
    pub fn keyspace(&self, parent: &Options, persisted: &str) -> Result<KeyspaceOptions> {
        if let Some((_, spec)) = self.given().find(|(_, spec)| spec.scope == Scope::Database) {
            return Err(Error::invalid(format!("option {} is one of the database, not of a keyspace", spec.name)));
        }
        let persisted = load_persisted(persisted)?;
        let layers = Layers(vec![self, &persisted, parent]);
        let (level0_compaction_trigger, level0_slowdown, level0_stop) = level0_limits(&layers)?;
        // One style in this version; the others are refused when they are set.
        layers.choice(Key::CompactionStyle, &[()])?;
        Ok(KeyspaceOptions {
            create_if_missing: layers.bool(Key::CreateIfMissing)?,
            memtable_bytes: layers.usize(Key::MemtableSize)?,
            memtable_count_max: layers.usize(Key::MemtableCountMax)?,
            block_bytes: layers.usize(Key::BlockSize)?,
            codecs: codecs(&layers)?,
            filter_fpr: match layers.value(Key::FilterFpr)? {
                Value::Fraction(value) => value,
                other => return Err(wrong_kind(Key::FilterFpr, &other)),
            },
            level0_compaction_trigger,
            level0_slowdown,
            level0_stop,
            level_base_bytes: layers.number(Key::LevelBaseSize)?,
            level_size_ratio: layers.number(Key::LevelSizeRatio)?,
            level_count_max: layers.usize(Key::LevelCountMax)?,
            table_bytes: layers.number(Key::TableSize)?,
            tables_per_job_max: layers.usize(Key::CompactionTablesPerJobMax)?,
        })
    }

    /// These options, and what `persisted` says where they say nothing.
    pub fn over(&self, persisted: &str) -> Result<Options> {
        let below = load_persisted(persisted)?;
        let mut merged = self.clone();
        for (at, value) in below.values.into_iter().enumerate() {
            if merged.values[at].is_none() {
                merged.values[at] = value;
            }
        }
        Ok(merged)
    }

    /// What is to be persisted once these options have been given to what `before` was persisted for: `before` with
    /// every explicit key replaced or added. A database (`Scope::Database`) remembers what it was told for its keyspaces
    /// too. Equal to `before` when nothing changed.
    pub fn persisted_text(&self, scope: Scope, before: &str) -> Result<String> {
        let mut merged = self.over(before)?;
        for (value, spec) in merged.values.iter_mut().zip(&TABLE) {
            let is_in_scope = scope == Scope::Database || spec.scope == scope;
            if !spec.is_persisted || !is_in_scope {
                *value = None;
            }
        }
        Ok(merged.dump())
    }
}

/// Trigger, slowdown and stop in this order. What nobody gave makes way for what was given; what was given against the
/// order is refused.
fn level0_limits(layers: &Layers<'_>) -> Result<(usize, usize, usize)> {
    const KEYS: [Key; 3] = [Key::Level0CompactionTrigger, Key::Level0Slowdown, Key::Level0Stop];
    let mut limits = [0; 3];
    for (limit, key) in limits.iter_mut().zip(KEYS) {
        *limit = layers.usize(key)?;
    }
    let given = KEYS.map(|key| layers.given(key).is_some());
    for low in 0..3 {
        for high in low + 1..3 {
            if limits[low] <= limits[high] {
                continue;
            }
            match (given[low], given[high]) {
                (true, true) => {
                    let (low, high) = (&TABLE[KEYS[low] as usize], &TABLE[KEYS[high] as usize]);
                    return Err(Error::invalid(format!("option {} is above {}", low.name, high.name)));
                }
                (_, false) => limits[high] = limits[low],
                (false, true) => limits[low] = limits[high],
            }
        }
    }
    Ok((limits[0], limits[1], limits[2]))
}

fn codecs(layers: &Layers<'_>) -> Result<[Compression; LEVELS_MAX as usize]> {
    let usual = layers.choice(Key::Compression, &CODECS)?;
    let list = match layers.value(Key::CompressionPerLevel)? {
        Value::List(list) => list,
        other => return Err(wrong_kind(Key::CompressionPerLevel, &other)),
    };
    let codec = |level: usize| {
        let index = list.get(level).or(list.last()).copied();
        index.and_then(|index| CODECS.get(index).copied()).unwrap_or(usual)
    };
    Ok(std::array::from_fn(codec))
}
