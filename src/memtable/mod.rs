//! L2: the memtable: an unrolled skip list of versions, written and read by many threads at once.
//!
//!     lane  (lane.rs)    a flat array of fences leads to a leaf
//!     leaf  (leaf.rs)    a linked list of leaves of up to 15 keys, ordered by a permutation word
//!     node  (node.rs)    a key once, with its first version in line and a newest-first chain of later ones
//!     bloom (bloom.rs)   a filter over key hashes in front of it all
//!     store (store.rs)   the arena that holds everything, and what is set aside in it
//!
//! - I1  Nothing is removed or moved while the memtable lives; so keys and values are handed out as slices of it.
//! - I2  Readers never wait and never write, except to lead a link past a replaced leaf. Writers never wait: what one
//!   thread left half done the next one completes. Only the rebuilding of lane arrays is left to one thread at a time,
//!   and nobody waits for it.
//! - I3  A granted reservation cannot fail: its worst case is set aside when it is granted.
//!
//! Threads: any number at once. An insert is seen by every get or seek that starts after it returned (and perhaps by
//! earlier ones). Failure: `new` answers `NoMem`, `reserve` answers `None`; nothing else fails.

mod bloom;
mod cursor;
mod insert;
mod lane;
mod leaf;
mod node;
mod search;
mod steps;
mod store;
#[cfg(test)]
mod tests;

pub use cursor::MemCursor;

use crate::base::arena::ArenaPool;
use crate::base::ids::SeqNo;
use crate::base::iter::View;
use crate::base::key::{EntryKind, KEY_LEN_MAX, VALUE_LEN_MAX, key_hash};
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::error::Result;
use insert::Insert;
use lane::FenceLane;
use leaf::LeafAt;
use node::NodeAt;
use std::sync::Arc;
use steps::step;
use store::{Grant, Store};

/// Settings of a memtable.
#[derive(Clone, Debug)]
pub struct MemTableConfig {
    /// The memtable is full once this many bytes are in use.
    pub bytes_max: usize,
    /// A reservation that a single batch makes in an empty memtable succeeds up to this size, however large the batch
    /// (the arena's address space is chosen for it). The size of a batch is `MemTable::space_for` of it.
    pub single_bytes_max: usize,
}

/// A version found by `MemTable::get`; lives as long as the memtable.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its sequence number.
    pub seq: SeqNo,
    /// Put or delete.
    pub kind: EntryKind,
    /// The value.
    pub value: &'a [u8],
}

/// Arena space set aside: the inserts it covers cannot fail. To be used with the memtable that granted it; what is not
/// used is lost until the memtable goes.
#[must_use]
#[derive(Debug)]
pub struct Reservation {
    grant: Grant,
    /// The address of the memtable that granted it, for comparison only.
    table: usize,
}

/// Where a key will go, as the lane had it when `MemTable::aim` looked: a hint that inserts check. For one key of one
/// memtable.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    hash: u64,
    /// The leaf, or none for keys at the end.
    leaf: LeafAt,
    /// Where the lane says that the leaf ends.
    hi: NodeAt,
    /// The address of the memtable, for comparison only.
    table: usize,
}

/// A version to be inserted.
#[derive(Clone, Copy, Debug)]
pub struct NewVersion<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its sequence number.
    pub seq: SeqNo,
    /// Put or delete.
    pub kind: EntryKind,
    /// Its value; empty for a delete.
    pub value: &'a [u8],
}

/// How many versions of many are aimed for ahead of their insert.
const AHEAD: usize = 8;

/// A sorted, concurrent, insert-only table of versions.
pub struct MemTable {
    store: Store,
    lane: FenceLane,
    /// The leaf that was first; replaced long ago, but all others are reached from it.
    first: LeafAt,
    /// The last leaf, or one before it. Stored (Release) by whoever made it, loaded with Acquire.
    tail: AtomicU32,
    entries: AtomicU64,
}

impl MemTable {
    /// An empty memtable. `NoMem` if its address space is refused.
    pub fn new(config: MemTableConfig) -> Result<Arc<MemTable>> {
        MemTable::build(Store::new(config.bytes_max, config.single_bytes_max, None)?)
    }

    /// The same in an arena of `home`, if that has one; the arena goes there in the end.
    pub fn new_in(config: MemTableConfig, home: &Arc<ArenaPool>) -> Result<Arc<MemTable>> {
        MemTable::build(Store::new(config.bytes_max, config.single_bytes_max, Some(Arc::clone(home)))?)
    }

    fn build(store: Store) -> Result<Arc<MemTable>> {
        let first = store.new_leaf();
        store.leaf(first).reset(NodeAt::NONE, NodeAt::NONE, 0, LeafAt::NONE);
        let lane = FenceLane::new(&store, first);
        let tail = AtomicU32::new(first.0);
        Ok(Arc::new(MemTable { store, lane, first, tail, entries: AtomicU64::new(0) }))
    }

    /// What a reservation of `entries` and `payload` bytes costs at worst: the size that `single_bytes_max` is about.
    pub fn space_for(entries: u32, payload: usize) -> usize {
        store::worst_case(entries, payload)
    }

    /// Sets space aside for `entries` inserts of `payload` bytes of keys and values in all; `None` when full.
    #[inline]
    pub fn reserve(&self, entries: u32, payload: usize) -> Option<Reservation> {
        Some(Reservation { grant: self.store.grant(entries, payload)?, table: std::ptr::from_ref(self).addr() })
    }

    /// Finds out where `key` will go and asks for that memory, without waiting for it: an insert a hundred nanoseconds
    /// later finds it in the processor's cache.
    #[inline]
    pub fn aim(&self, key: &[u8]) -> Aim {
        let hash = key_hash(key);
        bloom::prefetch(self.store.bloom(), hash);
        let (leaf, hi) = self.aim_leaf(key);
        Aim { hash, leaf, hi, table: std::ptr::from_ref(self).addr() }
    }

    /// Makes the memory of the next inserts ready, so that they need not clear it; may take a while.
    pub fn go_ahead(&self) {
        self.store.go_ahead();
    }

    /// Inserts one version. `(key, seq)` is new. Any number of threads at once; never fails, never blocks for I/O.
    ///
    /// More entries or bytes than were reserved are a bug of the caller's and panic, before anything is changed.
    #[inline]
    pub fn insert(&self, space: &mut Reservation, key: &[u8], seq: SeqNo, kind: EntryKind, value: &[u8]) {
        self.insert_aimed(space, self.aim(key), key, seq, kind, value);
    }

    /// The same, with the `aim` taken for this key before.
    #[inline]
    pub fn insert_aimed(
        &self,
        space: &mut Reservation,
        aim: Aim,
        key: &[u8],
        seq: SeqNo,
        kind: EntryKind,
        value: &[u8],
    ) {
        self.insert_uncounted(space, aim, NewVersion { key, seq, kind, value });
        step("count");
        // Relaxed: a count orders nothing.
        self.entries.fetch_add(1, Ordering::Relaxed);
        step("done");
    }

    /// Inserts many versions in their order, each aimed for while those before it are inserted, and counts them at once:
    /// the count lies where every insert reads, and threads that insert beside each other should not pass it around.
    pub fn insert_all<'a>(&self, space: &mut Reservation, versions: impl Iterator<Item = NewVersion<'a>>) {
        let mut ring: [Option<(NewVersion<'a>, Aim)>; AHEAD] = [const { None }; AHEAD];
        let mut count = 0;
        let mut versions = versions.fuse();
        for turn in 0.. {
            let next = versions.next().map(|version| (version, self.aim(version.key)));
            let is_over = next.is_none();
            if let Some((version, aim)) = std::mem::replace(&mut ring[turn % AHEAD], next) {
                self.insert_uncounted(space, aim, version);
                count += 1;
            } else if is_over && turn >= AHEAD {
                // The oldest place of the ring was empty: so are the others.
                break;
            }
        }
        // Relaxed: a count orders nothing.
        self.entries.fetch_add(count, Ordering::Relaxed);
    }

    #[inline(always)]
    fn insert_uncounted(&self, space: &mut Reservation, aim: Aim, version: NewVersion<'_>) {
        let NewVersion { key, seq, kind, value } = version;
        let table = std::ptr::from_ref(self).addr();
        assert!(space.table == table && aim.table == table, "a reservation or aim of another memtable");
        assert!(key.len() <= KEY_LEN_MAX && value.len() <= VALUE_LEN_MAX, "an entry exceeds the limits");
        assert!(space.grant.entries() > 0, "a memtable insert exceeds its reservation");
        debug_assert_eq!(aim.hash, key_hash(key), "the aim of another key");
        step("filter");
        bloom::add(self.store.bloom(), aim.hash);
        self.put(&mut space.grant, &Insert { key, seq, kind, value }, aim);
        self.store.spend(&mut space.grant);
    }

    /// Whether `key` may be in the memtable; `hash` is `key_hash(key)`. One cache line.
    #[inline]
    pub fn may_hold(&self, hash: u64) -> bool {
        bloom::may_hold(self.store.bloom(), hash)
    }

    /// Asks for the filter's cache line, when several memtables will be asked for one key.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        bloom::prefetch(self.store.bloom(), hash);
    }

    /// The newest version of `key` at or below `bound`; `hash` is `key_hash(key)`.
    #[inline]
    pub fn get(&self, key: &[u8], hash: u64, bound: SeqNo) -> Option<Found<'_>> {
        if !self.may_hold(hash) {
            return None;
        }
        self.get_unfiltered(key, bound)
    }

    fn get_unfiltered(&self, key: &[u8], bound: SeqNo) -> Option<Found<'_>> {
        let spot = self.search(key);
        if spot.node.is_none() {
            return None;
        }
        let at = self.version_at(spot.node, bound);
        if at.is_none() {
            return None;
        }
        let version = self.store.version(at);
        Some(Found { seq: version.seq(), kind: version.kind(), value: self.store.value(at) })
    }

    /// Keys that cut what is there into about `parts` equal parts, ascending; fewer where there is little.
    pub fn cuts(&self, parts: usize) -> Vec<Vec<u8>> {
        let mut cuts: Vec<Vec<u8>> = self.lane.cuts(&self.store, parts).map(|at| self.store.key(at).to_vec()).collect();
        cuts.dedup();
        cuts
    }

    /// A walk that keeps the memtable alive.
    pub fn cursor(self: &Arc<Self>, view: View) -> MemCursor {
        MemCursor::new(Arc::clone(self), view)
    }

    /// Bytes in use: index, keys, values (large ones too), and the part of the filter that was touched, at most.
    pub fn bytes(&self) -> usize {
        let filter = (self.entries() as usize).saturating_mul(4096).min(self.store.bloom_bytes());
        self.store.bytes() + filter
    }

    /// Versions inserted.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether `bytes_max` is reached.
    pub fn is_full(&self) -> bool {
        self.store.is_full()
    }
}
