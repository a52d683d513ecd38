//! The memtable's memory: where nodes, leaves and lane arrays lie in the arena, and how much is set aside.
//!
//!     arena := bloom words | nodes and versions ->            <- leaves and lane arrays (multiples of 256 bytes)
//!
//! Large values lie in the arena like small ones: it is address space, of which only what is stored to becomes memory and
//! all of which goes back as a whole; an allocation of their own could be refused after the reservation was granted.
//!
//! - I1  An address type (`NodeAt`, `VersionAt`, `LeafAt`, `LaneAt`) is made here only, for an object whose fixed fields
//!   are stored, or is read back from a word that was given such a value. So following one never leaves the arena. It
//!   must only be used with the store that made it; they never leave this module.
//! - I2  The word `granted` holds the end of the node area and the number of entries granted so far. One CAS grants both.
//!   The node area never meets the index, because a grant is refused unless what it may cost at worst fits.
//! - I3  Worst case of the index: a leaf that fills up leads to at most four more (a copy and one appended leaf, then two
//!   halves), and a half needs 7 inserts to fill up and an eighth to split, so `n` inserts make at most n/2 + 1 leaves. A leaf costs 256 bytes and, over its
//!   life, at most 180 bytes of lane arrays: a chunk of m fences is rebuilt (16 m + 288 bytes) after max(16, m/6) splits
//!   and cut after it grew by half. In all 218 bytes an entry; `INDEX_PER_ENTRY` is more, and `SLACK` covers what does
//!   not grow with the entries: first lane, and the two leaves each thread may hold in a split.
//!
//! Threads: any number at once. Failure: `grant` answers `None` and changes nothing; nothing else can fail.
#![expect(unsafe_code, reason = "reads and writes objects at arena addresses")]

use super::leaf::{LEAF_BYTES, Leaf, LeafAt};
use super::node::{NODE_BYTES, NodeAt, NodeHead, VERSION_BYTES, Version, VersionAt};
use super::steps::step;
use crate::base::arena::{ARENA_BYTES_MAX, ARENA_UNIT, Arena, ArenaPool};
use crate::base::ids::SeqNo;
use crate::base::key::EntryKind;
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::error::Result;
use std::sync::Arc;

/// See I3.
const INDEX_PER_ENTRY: usize = 224;
/// Bytes of a node before its key, and of padding.
const NODE_PER_ENTRY: usize = NODE_BYTES + ARENA_UNIT - 1;
/// See I3.
const SLACK: usize = if cfg!(miri) { 64 << 10 } else { 1 << 20 };
/// Everything in the index is a multiple of this.
const INDEX_UNIT: usize = 256;
const LANE_HEAD_BYTES: usize = 32;
const LANE_ENTRY_BYTES: usize = 16;

/// Where an array of fences lies, in units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneAt(pub(super) u32);

/// The head of an array of fences.
#[repr(C, align(8))]
pub struct LaneHead {
    /// Number of fences.
    pub len: AtomicU32,
    /// Bytes that all its fences (but the first) share.
    pub strip: AtomicU32,
    /// 1 if a key searched for may not share them.
    pub checked: AtomicU32,
    /// The node of the fence that ends the array; 0 is none.
    pub hi: AtomicU32,
    /// Splits below it since it was built.
    pub splits: AtomicU32,
    spare: [AtomicU32; 3],
}

const _: () = assert!(size_of::<LaneHead>() == LANE_HEAD_BYTES);

/// A view of an array of fences. All but `head.splits` and `to` is fixed once it is published.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// Its head.
    pub head: &'a LaneHead,
    /// The fences' prefixes, behind the shared bytes.
    pub prefixes: &'a [AtomicU64],
    /// The fences' nodes; the first may be none.
    pub nodes: &'a [AtomicU32],
    /// What they lead to: leaves, or arrays of leaves.
    pub to: &'a [AtomicU32],
}

/// Space granted for inserts: a stretch of the node area.
#[derive(Debug)]
pub struct Grant {
    at: u32,
    end: u32,
    entries: u32,
}

#[repr(align(128))]
struct Granted(AtomicU64);

impl Grant {
    /// Inserts left.
    #[inline]
    pub fn entries(&self) -> u32 {
        self.entries
    }
}

/// The memory of one memtable.
pub struct Store {
    arena: Arena,
    bloom_words: usize,
    first: u32,
    /// What grants may cost at worst, in bytes.
    charge_max: usize,
    bytes_max: usize,
    /// End of the node area in units (low half), entries granted (high half).
    granted: Granted,
    /// Start of the index in units. Sub by whoever allocates.
    index: AtomicU64,
    /// Leaves that lost a race and were never published: tag (high half), first leaf (low half).
    pool: AtomicU64,
    /// Where the arena goes in the end.
    home: Option<Arc<ArenaPool>>,
    /// Up to where pages of the node area were made ready.
    ahead: AtomicU64,
}

/// What `go_ahead` keeps ready: a huge page, begun half a huge page before it is needed.
const AHEAD_BYTES: usize = 2 << 20;
/// Memtables of less than this stay in small pages for the most part.
const AHEAD_BYTES_MIN: usize = 4 << 20;

/// What a grant of `entries` and `payload` bytes costs at worst.
pub fn worst_case(entries: u32, payload: usize) -> usize {
    // As `grant` counts: nodes in whole units. A memtable made for one grant must hold it, or its writer tries for ever.
    let entries = entries as usize;
    let nodes = entries.saturating_mul(NODE_PER_ENTRY).saturating_add(payload);
    let padded = nodes.checked_next_multiple_of(ARENA_UNIT).unwrap_or(usize::MAX);
    padded.saturating_add(entries.saturating_mul(INDEX_PER_ENTRY))
}

impl Store {
    /// Memory for `bytes_max` in ordinary use and for one grant of `single_bytes_max` when empty.
    ///
    /// The arena comes from `home`, if that has one, and goes there in the end. Filter and index are zero in it; nodes and
    /// versions are whole before their address is told, so their area may hold anything.
    pub fn new(bytes_max: usize, single_bytes_max: usize, home: Option<Arc<ArenaPool>>) -> Result<Store> {
        let bloom_bytes = (bytes_max / 64).clamp(512, 64 << 20).next_power_of_two();
        // At most four times the bytes in use are charged for keys and values of ordinary sizes; with tiny ones the
        // charge is the first to run out, and the memtable is full a little earlier.
        let room = ARENA_BYTES_MAX - bloom_bytes - SLACK;
        let charge_max = bytes_max.saturating_mul(4).max(single_bytes_max).min(room);
        let arena_bytes = (bloom_bytes + charge_max + SLACK).next_multiple_of(4096);
        let arena = match home.as_ref().and_then(|home| home.take(arena_bytes)) {
            Some(arena) => arena,
            None => Arena::new(arena_bytes)?,
        };
        // The first unit behind the bloom words; never 0, so that address 0 can mean none.
        let first = (bloom_bytes / ARENA_UNIT) as u32;
        let index = (arena.bytes() / INDEX_UNIT * INDEX_UNIT / ARENA_UNIT) as u64;
        Ok(Store {
            bloom_words: bloom_bytes / 8,
            first,
            charge_max,
            bytes_max,
            granted: Granted(AtomicU64::new(u64::from(first))),
            index: AtomicU64::new(index),
            pool: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            home,
            arena,
        })
    }

    /// The words of the bloom filter.
    #[inline(always)]
    pub fn bloom(&self) -> &[AtomicU64] {
        // SAFETY: the bloom words are the first of the arena, and `new` chose its size for them.
        let words = unsafe { self.arena.at(0) }.cast::<AtomicU64>();
        // SAFETY: `bloom_words` aligned, zeroed words that nothing else in the arena overlaps.
        unsafe { std::slice::from_raw_parts(words, self.bloom_words) }
    }

    /// Bytes of nodes, versions, leaves and lane arrays.
    pub fn bytes(&self) -> usize {
        // Relaxed, here and in `grant`: the word orders nothing but itself.
        self.node_bytes(self.granted.0.load(Ordering::Relaxed)) + self.index_bytes()
    }

    /// Bytes of address space set aside for the filter.
    pub fn bloom_bytes(&self) -> usize {
        self.bloom_words * 8
    }

    fn node_bytes(&self, granted: u64) -> usize {
        (granted as u32 - self.first) as usize * ARENA_UNIT
    }

    fn index_bytes(&self) -> usize {
        let end = self.arena.bytes() / INDEX_UNIT * INDEX_UNIT;
        end - self.index.load(Ordering::Relaxed) as usize * ARENA_UNIT
    }

    /// Whether nothing more is likely to be granted.
    pub fn is_full(&self) -> bool {
        let granted = self.granted.0.load(Ordering::Relaxed);
        self.node_bytes(granted) + self.index_bytes() >= self.bytes_max || self.charged(granted) >= self.charge_max
    }

    /// What has been granted, at its worst: node bytes are exact, the index is charged by the entry.
    fn charged(&self, granted: u64) -> usize {
        self.node_bytes(granted) + (granted >> 32) as usize * INDEX_PER_ENTRY
    }

    /// Sets space aside; see I2.
    pub fn grant(&self, entries: u32, payload: usize) -> Option<Grant> {
        let cost = worst_case(entries, payload);
        if cost > self.charge_max {
            return None;
        }
        let padded = (entries as usize * NODE_PER_ENTRY + payload).next_multiple_of(ARENA_UNIT);
        let units = (padded / ARENA_UNIT) as u64;
        let mut old = self.granted.0.load(Ordering::Relaxed);
        loop {
            let empty = old == u64::from(self.first);
            let over = self.node_bytes(old) + self.index_bytes() + padded > self.bytes_max;
            let fits = self.charged(old) + padded + entries as usize * INDEX_PER_ENTRY <= self.charge_max;
            if !fits || (over && !empty) || (old >> 32) + u64::from(entries) > u64::from(u32::MAX) {
                return None;
            }
            let new = old + units + (u64::from(entries) << 32);
            step("grant");
            match self.granted.0.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Grant { at: old as u32, end: new as u32, entries }),
                Err(now) => old = now,
            }
        }
    }

    /// Takes `bytes` for one entry's node or version out of a grant.
    fn carve(&self, grant: &mut Grant, bytes: usize) -> u32 {
        let at = grant.at;
        let units = bytes.div_ceil(ARENA_UNIT);
        assert!(units <= (grant.end - at) as usize, "a memtable insert exceeds its reservation");
        grant.at = at + units as u32;
        at
    }

    /// Has the pages of the next grants made, if the arena is not a small one.
    pub fn go_ahead(&self) {
        // Relaxed: hints; what is made ready too late or too early costs time or memory, nothing else.
        let granted = self.granted.0.load(Ordering::Relaxed);
        let from = (granted as u32 as usize) * ARENA_UNIT;
        let end = (self.first as usize * ARENA_UNIT + self.bytes_max).min(self.arena.bytes());
        let to = (from + AHEAD_BYTES).min(end);
        let done = self.ahead.load(Ordering::Relaxed) as usize;
        if self.bytes_max < AHEAD_BYTES_MIN || to < done + AHEAD_BYTES / 2 {
            return;
        }
        self.ahead.store(to as u64, Ordering::Relaxed);
        self.arena.populate(from.max(done), to);
    }

    /// Counts one insert of a grant. After the last one, what is left goes back if nothing was granted since.
    #[inline]
    pub fn spend(&self, grant: &mut Grant) {
        assert!(grant.entries > 0, "a memtable insert exceeds its reservation");
        grant.entries -= 1;
        if grant.entries == 0 && grant.end - grant.at >= 2 {
            let granted = self.granted.0.load(Ordering::Relaxed);
            if granted as u32 == grant.end {
                let less = granted - u64::from(grant.end - grant.at);
                // Nothing was made of these bytes.
                step("give back");
                let _ = self.granted.0.compare_exchange(granted, less, Ordering::Relaxed, Ordering::Relaxed);
            }
            grant.end = grant.at;
        }
    }

    /// Writes a node with its inline version.
    pub fn new_node(&self, grant: &mut Grant, key: &[u8], seq: SeqNo, kind: EntryKind, value: &[u8]) -> NodeAt {
        let at = NodeAt(self.carve(grant, NODE_BYTES + key.len() + value.len()));
        // SAFETY: a granted unit lies inside the arena (I2).
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: `carve` gave NODE_BYTES + key + value bytes here to this call alone, aligned to 8.
        unsafe { place.cast::<NodeHead>().write(NodeHead::new(at, key.len())) };
        self.write_version(at.inline_version(), Version::new(seq, kind, value.len(), true));
        // SAFETY: inside the bytes that `carve` gave.
        let rest = unsafe { place.add(NODE_BYTES) };
        // SAFETY: `key.len()` fresh bytes, which no slice of the caller's can overlap.
        unsafe { std::ptr::copy_nonoverlapping(key.as_ptr(), rest, key.len()) };
        // SAFETY: inside the bytes that `carve` gave.
        let rest = unsafe { rest.add(key.len()) };
        // SAFETY: as for the key.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), rest, value.len()) };
        at
    }

    /// Writes a version outside a node.
    pub fn new_version(&self, grant: &mut Grant, seq: SeqNo, kind: EntryKind, value: &[u8]) -> VersionAt {
        let at = VersionAt(self.carve(grant, VERSION_BYTES + value.len()));
        self.write_version(at, Version::new(seq, kind, value.len(), false));
        // SAFETY: a granted unit lies inside the arena (I2).
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: inside the bytes that `carve` gave.
        let rest = unsafe { place.add(VERSION_BYTES) };
        // SAFETY: `value.len()` fresh bytes, which no slice of the caller's can overlap.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), rest, value.len()) };
        at
    }

    fn write_version(&self, at: VersionAt, version: Version) {
        // SAFETY: a granted unit lies inside the arena (I2).
        let place = unsafe { self.arena.at(at.0) }.cast::<Version>();
        // SAFETY: VERSION_BYTES carved for the caller alone, aligned to 8; not published yet, so nobody reads them.
        unsafe { place.write(version) };
    }

    /// The head of a node.
    #[inline(always)]
    pub fn node(&self, at: NodeAt) -> &NodeHead {
        debug_assert!(!at.is_none());
        // SAFETY: I1.
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: a node was written here before its address was published; only its atomics change after that.
        unsafe { &*place.cast::<NodeHead>() }
    }

    /// A version.
    #[inline(always)]
    pub fn version(&self, at: VersionAt) -> &Version {
        debug_assert!(!at.is_none());
        // SAFETY: I1.
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: a version was written here before its address was published; only its atomics change after that.
        unsafe { &*place.cast::<Version>() }
    }

    /// A node's key.
    #[inline(always)]
    pub fn key(&self, at: NodeAt) -> &[u8] {
        let len = self.node(at).key_len();
        // SAFETY: I1.
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: the key lies NODE_BYTES behind the start of its node.
        let place = unsafe { place.add(NODE_BYTES) };
        // SAFETY: `len` bytes that were stored before the node was published and never change.
        unsafe { std::slice::from_raw_parts(place, len) }
    }

    /// A version's value.
    #[inline(always)]
    pub fn value(&self, at: VersionAt) -> &[u8] {
        let version = self.version(at);
        // The unit before an inline version is the head of its node.
        let key_len = if version.is_inline() { self.node(NodeAt(at.0 - 1)).key_len() } else { 0 };
        // SAFETY: I1.
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: the value lies behind the version and, if that is inline, the node's key.
        let place = unsafe { place.add(VERSION_BYTES + key_len) };
        // SAFETY: `value_len` bytes that were stored before the version was published and never change.
        unsafe { std::slice::from_raw_parts(place, version.value_len()) }
    }

    /// A leaf.
    #[inline(always)]
    pub fn leaf(&self, at: LeafAt) -> &Leaf {
        debug_assert!(!at.is_none());
        // SAFETY: I1.
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: leaves consist of atomics only, for which any bytes are valid, and lie at multiples of 256 bytes.
        unsafe { &*place.cast::<Leaf>() }
    }

    /// Asks for a node's first value, `skip` cache lines behind its head, as far as the processor does not see by itself
    /// where this is going. The head is at hand.
    #[inline]
    pub fn prefetch_value(&self, at: NodeAt, skip: usize) {
        let len = self.version(at.inline_version()).value_len();
        for line in skip..(len / 64).min(skip + 16) {
            self.arena.prefetch(at.0, line * 64);
        }
    }

    /// Asks for the cache lines of a leaf.
    #[inline(always)]
    pub fn prefetch_leaf(&self, at: LeafAt) {
        for line in 0..4 {
            self.arena.prefetch(at.0, line * 64);
        }
    }

    /// Asks for the first cache line of a leaf.
    #[inline(always)]
    pub fn prefetch_head(&self, at: LeafAt) {
        self.arena.prefetch(at.0, 0);
    }

    /// Asks for `lines` cache lines of a node.
    #[inline(always)]
    pub fn prefetch_node(&self, at: NodeAt, lines: usize) {
        for line in 0..lines {
            self.arena.prefetch(at.0, line * 64);
        }
    }

    fn new_index(&self, bytes: usize) -> u32 {
        let units = bytes.next_multiple_of(INDEX_UNIT) / ARENA_UNIT;
        step("take index");
        // Relaxed: addresses are published by other words.
        let start = self.index.fetch_sub(units as u64, Ordering::Relaxed) - units as u64;
        let nodes_end = u64::from(self.granted.0.load(Ordering::Relaxed) as u32);
        assert!(start >= nodes_end, "memtable index outgrew its worst case");
        start as u32
    }

    /// A leaf of unspecified contents for `Leaf::reset`.
    pub fn new_leaf(&self) -> LeafAt {
        // Acquire: pairs with `drop_leaf`, whose link is read below.
        let mut head = self.pool.load(Ordering::Acquire);
        while head as u32 != 0 {
            let at = LeafAt(head as u32);
            // A stale link is possible when another thread was faster; then the tag has changed and the CAS fails.
            let link = self.leaf(at).pool_link().load(Ordering::Relaxed);
            let new = ((head >> 32).wrapping_add(1) << 32) | u64::from(link);
            step("take pooled");
            match self.pool.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return at,
                Err(now) => head = now,
            }
        }
        LeafAt(self.new_index(LEAF_BYTES))
    }

    /// Takes back a leaf that was never published.
    pub fn drop_leaf(&self, at: LeafAt) {
        let mut head = self.pool.load(Ordering::Relaxed);
        loop {
            self.leaf(at).pool_link().store(head as u32, Ordering::Relaxed);
            let new = ((head >> 32).wrapping_add(1) << 32) | u64::from(at.0);
            // Release: pairs with the Acquire in `new_leaf`, so the link is seen.
            step("pool");
            match self.pool.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// An array of `len` fences, all zero, to be filled before it is published.
    pub fn new_lane(&self, len: usize) -> LaneAt {
        let at = self.new_index(LANE_HEAD_BYTES + len * LANE_ENTRY_BYTES);
        // SAFETY: allocated just now, inside the arena.
        let place = unsafe { self.arena.at(at) }.cast::<LaneHead>();
        // SAFETY: the allocation is larger than a head, aligned to 256, and only this thread knows it. Lane memory is
        // never used twice, so the rest is zero.
        unsafe { &*place }.len.store(len as u32, Ordering::Relaxed);
        LaneAt(at)
    }

    /// The array at `at`.
    #[inline(always)]
    pub fn lane(&self, at: LaneAt) -> Lane<'_> {
        // SAFETY: I1.
        let place = unsafe { self.arena.at(at.0) };
        // SAFETY: a head was stored here before the address was published; it consists of atomics.
        let head = unsafe { &*place.cast::<LaneHead>() };
        let len = head.len.load(Ordering::Relaxed) as usize;
        // SAFETY: the array is LANE_HEAD_BYTES + 16 * `len` bytes long.
        let prefixes = unsafe { place.add(LANE_HEAD_BYTES) }.cast::<AtomicU64>();
        // SAFETY: as above.
        let nodes = unsafe { place.add(LANE_HEAD_BYTES + 8 * len) }.cast::<AtomicU32>();
        // SAFETY: as above.
        let to = unsafe { place.add(LANE_HEAD_BYTES + 12 * len) }.cast::<AtomicU32>();
        Lane {
            head,
            // SAFETY: `len` aligned atomics inside the array.
            prefixes: unsafe { std::slice::from_raw_parts(prefixes, len) },
            // SAFETY: as above.
            nodes: unsafe { std::slice::from_raw_parts(nodes, len) },
            // SAFETY: as above.
            to: unsafe { std::slice::from_raw_parts(to, len) },
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let resident = self.bloom_bytes() + self.bytes();
        let index_bytes = self.index_bytes();
        let arena = std::mem::replace(&mut self.arena, Arena::none());
        let index = (arena.bytes() / INDEX_UNIT * INDEX_UNIT - index_bytes) / ARENA_UNIT;
        // SAFETY: the arena starts with the filter, and `&mut self` rules out users of either.
        let filter = unsafe { arena.at(0) };
        // SAFETY: as long as the filter.
        unsafe { filter.write_bytes(0, self.bloom_bytes()) };
        if index_bytes > 0 {
            // SAFETY: the index begins inside the arena (I2), and nobody uses it any more.
            let place = unsafe { arena.at(index as u32) };
            // SAFETY: it reaches from there to the last whole unit of the arena.
            unsafe { place.write_bytes(0, index_bytes) };
        }
        home.put(arena, resident);
    }
}
