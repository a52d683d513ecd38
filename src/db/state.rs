//! What a reader of one keyspace sees: the SuperVersion, published through an epoch cell.
//!
//! Invariants
//! - I1  A memtable is in the SuperVersion before the first write into it becomes visible.
//! - I2  Memtables never overlap in sequence; `memtables` is newest first, so reading in that order is right.
//! - I3  A memtable leaves the SuperVersion in the same step in which the table made of it enters.
//! - I4  Readers load the SuperVersion first and the visible sequence second, never the other way: a version that a flush
//!   dropped was shadowed at or below a sequence that was visible before that flush was published.
//!
//! Threads: `load`/`get` any; changes under the keyspace's `mem` lock.

use crate::base::arc_cell::ArcCell;
use crate::base::epoch::{Guard, Retired};
use crate::base::ids::{FileNumber, KeyspaceId, SeqNo};
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use crate::compaction::Shape;
use crate::db::options::KeyspaceOptions;
use crate::memtable::MemTable;
use crate::sstable::{Owner, TableConfig};
use crate::version::Version;
use std::sync::Arc;
use std::time::Instant;

/// Everything a read needs, immutable.
pub struct SuperVersion {
    /// Active first, then sealed, newest first.
    pub memtables: Vec<Arc<MemTable>>,
    /// The tables.
    pub version: Arc<Version>,
    /// Levels above 0 that hold tables, top first.
    pub levels: Vec<usize>,
}

impl SuperVersion {
    fn new(memtables: Vec<Arc<MemTable>>, version: Arc<Version>) -> SuperVersion {
        let levels = (1..version.levels().len()).filter(|&l| !version.levels()[l].files().is_empty()).collect();
        SuperVersion { memtables, version, levels }
    }
}

/// A memtable with its place in the log.
#[derive(Clone)]
pub struct MemRef {
    /// The memtable.
    pub table: Arc<MemTable>,
    /// The first segment that may hold a record of it.
    pub first_segment: FileNumber,
    /// Once sealed: the first sequence number behind it.
    pub end: SeqNo,
}

/// The memtables of a keyspace.
#[derive(Default)]
pub struct MemState {
    /// Takes writes; none until the first write after a seal.
    pub active: Option<MemRef>,
    /// Waiting for their flush, oldest first.
    pub sealed: Vec<MemRef>,
    /// A flush of the oldest sealed ones is running.
    pub is_flushing: bool,
    /// When it began to write, and how many bytes of memtables.
    pub flush_began: Option<(Instant, usize)>,
}

/// One keyspace of an open database.
pub struct KeyspaceState {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: Vec<u8>,
    /// Its dense index among the open keyspaces: where routes keep its memtable.
    pub slot: usize,
    /// Its settings.
    pub options: KeyspaceOptions,
    /// The text of its explicitly set options.
    pub options_text: String,
    super_version: ArcCell<SuperVersion>,
    /// Guarded: the memtables; the order of SuperVersion publications.
    pub mem: Mutex<MemState>,
    /// When the running job with level-0 tables began.
    pub level0_began: Mutex<Option<Instant>>,
    dropped: AtomicBool,
    /// A manual compaction or drop wants background picks to stay away.
    pub is_paused: AtomicBool,
}

impl KeyspaceState {
    /// A keyspace with the tables of `version` and no memtable.
    pub fn new(
        id: KeyspaceId,
        name: Vec<u8>,
        slot: usize,
        options: KeyspaceOptions,
        options_text: String,
        version: Arc<Version>,
    ) -> Arc<KeyspaceState> {
        Arc::new(KeyspaceState {
            id,
            name,
            slot,
            options,
            options_text,
            super_version: ArcCell::new(Arc::new(SuperVersion::new(Vec::new(), version))),
            mem: Mutex::new(MemState::default()),
            level0_began: Mutex::new(None),
            dropped: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
        })
    }

    /// The SuperVersion, alive while the pin lasts.
    #[inline]
    pub fn load<'g>(&'g self, guard: &'g Guard) -> &'g SuperVersion {
        self.super_version.load(guard)
    }

    /// A count of the SuperVersion.
    pub fn get(&self) -> Arc<SuperVersion> {
        let guard = crate::base::epoch::pin();
        self.super_version.get(&guard)
    }

    /// A count of `view`, which was loaded under this pin; `None` when another one was published since.
    pub fn count_of(&self, view: &SuperVersion, guard: &Guard) -> Option<Arc<SuperVersion>> {
        let now = self.super_version.get(guard);
        std::ptr::eq(&raw const *now, view).then_some(now)
    }

    /// Publishes a SuperVersion of the memtables in `mem` and `version` (`None`: the present tables).
    pub fn publish(&self, mem: &MemState, version: Option<Arc<Version>>, retired: &Retired) {
        let version = version.unwrap_or_else(|| Arc::clone(&self.get().version));
        let memtables =
            mem.active.iter().chain(mem.sealed.iter().rev()).map(|m| Arc::clone(&m.table)).collect::<Vec<_>>();
        self.super_version.replace(Arc::new(SuperVersion::new(memtables, version)), retired, 256);
    }

    /// Whether it was dropped.
    #[inline]
    pub fn is_dropped(&self) -> bool {
        // Acquire: pairs with the Release in `mark_dropped`; nothing else is read through it.
        self.dropped.load(Ordering::Acquire)
    }

    /// Marks it dropped: calls on its handles answer `Closed` from now on.
    pub fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    /// How its tables of `level` are written.
    pub fn table_config(&self, level: usize) -> TableConfig {
        let owner = Some(Arc::new(Owner { id: self.id, name: self.name.clone() }));
        TableConfig { owner, ..self.options.table_config(level) }
    }

    /// The first log segment that this keyspace still needs.
    pub fn oldest_segment(&self) -> Option<FileNumber> {
        let mem = self.mem.lock();
        mem.sealed.first().or(mem.active.as_ref()).map(|m| m.first_segment)
    }
}

impl KeyspaceOptions {
    /// How tables of `level` are written.
    pub fn table_config(&self, level: usize) -> TableConfig {
        TableConfig {
            block_bytes: self.block_bytes,
            compression: self.compression(level),
            filter_fpr: self.filter_fpr,
            owner: None,
        }
    }

    /// The shape of the tree.
    pub fn shape(&self) -> Shape {
        Shape {
            level0_trigger: self.level0_compaction_trigger,
            base_bytes: self.level_base_bytes,
            size_ratio: self.level_size_ratio,
            level_count: self.level_count_max,
            table_bytes: self.table_bytes,
            tables_per_job_max: self.tables_per_job_max,
        }
    }
}
