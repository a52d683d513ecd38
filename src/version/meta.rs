//! A table as the manifest names it, and its handle in memory.
//!
//! Invariants
//! - I1  A handle lives as long as a version names it (or somebody holds its `Arc`); a table that moves between levels
//!   keeps its handle.
//! - I2  A handle is marked obsolete only after the edit that removed its table is durable; when the last count of a
//!   marked handle goes, the table's number enters the queue of obsolete files, once.
//!
//! Threads: any. The last count may go on any thread; that closes the file, which is why counts of versions are given to
//! the reaper.

use crate::base::arc_slot::ArcSlot;
use crate::base::epoch::{Guard, pin};
use crate::base::ids::{FileNumber, SeqNo};
use crate::base::key::KEY_LEN_MAX;
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use crate::sstable::{TableReader, TableSummary};
use std::sync::{Arc, Weak};

/// Numbers from here on are never drawn, so that counting cannot overflow; a file or manifest that has one is not ours.
pub(super) const FILE_NUMBER_END: u64 = 1 << 62;

/// A table as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// Its file number.
    pub number: FileNumber,
    /// Size, checksum, key range, sequence range, counts.
    pub summary: TableSummary,
}

impl FileMeta {
    /// What is impossible about it, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        let s = &self.summary;
        let fault = if self.number.0 == 0 || self.number.0 >= FILE_NUMBER_END {
            "has an impossible number"
        } else if s.size == 0 {
            "has no bytes"
        } else if s.entries == 0 {
            "has no entries"
        } else if s.deletes > s.entries {
            "has more deletes than entries"
        } else if s.smallest.len() > KEY_LEN_MAX || s.largest.len() > KEY_LEN_MAX {
            "has a key longer than a key may be"
        } else if s.smallest > s.largest {
            "has a smallest key above its largest"
        } else if s.smallest_seq > s.largest_seq || s.largest_seq > SeqNo::MAX {
            "has an impossible range of sequence numbers"
        } else {
            return Ok(());
        };
        Err(format!("table {} {fault}", self.number))
    }
}

/// Files that no version names any more.
#[derive(Default)]
pub struct ObsoleteQueue(Mutex<Vec<FileNumber>>);

impl ObsoleteQueue {
    /// Adds one.
    pub fn push(&self, number: FileNumber) {
        self.0.lock().push(number);
    }

    /// All of them, drained.
    pub fn take(&self) -> Vec<FileNumber> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// A table in memory; lives as long as a version names it. When the last version that names an obsolete table is gone,
/// its number goes to the queue of obsolete files.
///
/// Generic over the reader only so that the table cache can be tested without tables.
pub struct TableHandle<R: Send + Sync + 'static = TableReader> {
    /// Filled and emptied by the table cache, read under a pin.
    pub(super) reader: ArcSlot<R>,
    /// Second chance of the table cache's clock. Relaxed: a hint.
    pub(super) used: AtomicBool,
    /// Compare-and-swap by compactions; Acquire/Release so that a job sees what the last holder did.
    claimed: AtomicBool,
    /// Stored once, before the versions that name the table go.
    obsolete: AtomicBool,
    meta: FileMeta,
    /// One opener at a time; held during the open.
    pub(super) opening: Mutex<()>,
    pub(super) me: Weak<TableHandle<R>>,
    queue: Option<Arc<ObsoleteQueue>>,
}

impl<R: Send + Sync + 'static> TableHandle<R> {
    /// A handle of a closed table. `queue` is told when the table is obsolete and unused; `None` in tests.
    pub fn new(meta: FileMeta, queue: Option<Arc<ObsoleteQueue>>) -> Arc<TableHandle<R>> {
        Arc::new_cyclic(|me| TableHandle {
            reader: ArcSlot::empty(),
            used: AtomicBool::new(false),
            claimed: AtomicBool::new(false),
            obsolete: AtomicBool::new(false),
            meta,
            opening: Mutex::new(()),
            me: Weak::clone(me),
            queue,
        })
    }

    /// What the manifest says of it.
    #[inline]
    pub fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// The open table, if it is open, under a pin: one load.
    #[inline]
    pub fn peek<'g>(&'g self, guard: &'g Guard) -> Option<&'g R> {
        let reader = self.reader.load(guard)?;
        self.touch();
        Some(reader)
    }

    /// The open table, counted, if it is open.
    pub(super) fn counted(&self) -> Option<Arc<R>> {
        let reader = self.reader.get(&pin())?;
        self.touch();
        Some(reader)
    }

    /// The same under a pin that is there already.
    pub fn count_under(&self, guard: &Guard) -> Option<Arc<R>> {
        self.reader.get(guard)
    }

    /// Marks it recently used. The load first: in the steady state the line stays shared between processors.
    #[inline]
    pub(super) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Claims the table for a compaction; false when another has it.
    pub fn claim(&self) -> bool {
        // Acquire on success pairs with the Release in `unclaim`.
        self.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives the claim up.
    pub fn unclaim(&self) {
        // Release: pairs with the Acquire in `claim`.
        let was = self.claimed.swap(false, Ordering::Release);
        debug_assert!(was, "table {} was not claimed", self.meta.number);
    }

    /// Whether a compaction has it.
    pub fn is_claimed(&self) -> bool {
        // Relaxed: only `claim` decides.
        self.claimed.load(Ordering::Relaxed)
    }

    /// Says that a durable edit removed the table.
    pub(super) fn mark_obsolete(&self) {
        // Release: pairs with the drop of the last count, which is ordered behind this by the count itself.
        self.obsolete.store(true, Ordering::Release);
    }
}

impl<R: Send + Sync + 'static> Drop for TableHandle<R> {
    fn drop(&mut self) {
        // Relaxed: dropping the last count is ordered behind every other holder's last use.
        if self.obsolete.load(Ordering::Relaxed)
            && let Some(queue) = &self.queue
        {
            queue.push(self.meta.number);
        }
    }
}
