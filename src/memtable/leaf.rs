//! A leaf: up to 15 key nodes, in any slot order, with a permutation word that orders them.
//!
//!     leaf := perm u64 | next u32 | repl u32 | lo u32 | hi u32 | strip u32 | slot u32[15] | prefix u64[15]   256 bytes
//!     perm := count : 4 bits | slot number of rank 0 : 4 bits | rank 1 : 4 bits | ... | rank 14 : 4 bits
//!
//! A leaf holds keys above the key of node `lo` (none: any key) and up to the key of node `hi` (none: any key). Both are
//! fixed for ever; a key that someone added behind a full leaf narrows its range from above (see I5).
//!
//! - I1  Slots are taken in order: slot `n` is claimed by a CAS from 0 while the count is `n`, and whoever sees a claimed
//!   slot that the permutation lacks adds it. So a claim cannot fail halfway, and the count only grows.
//! - I2  A leaf of 15 is frozen by being full: its permutation and slots never change again. That is why the word needs
//!   no separate frozen bit, and a split may be built from it by anyone at any time.
//! - I3  A full leaf is replaced once, by CAS of `repl` from 0 to its left half, whose `next` is the right half. Before
//!   that `next` is sealed, so that the halves inherit its last value.
//! - I4  `next` points to a leaf that begins where this one ends, or to one replaced by such a leaf.
//! - I5  Keys above all keys of a full leaf may go to a new leaf appended behind it: its `lo` is the full leaf's last
//!   node, so at most one can ever be appended.
//! - I6  `prefix[s]` is the first eight bytes of slot s's key behind the first `strip` bytes, which all keys that can be
//!   in the leaf share because `lo` and `hi` share them; 0 where either is missing.
//!
//! Threads: any number at once; `strip`, `lo`, `hi` and the filled slots of a new leaf are stored before it is published.

use super::node::NodeAt;
use super::steps::step;
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};

/// Keys in a leaf.
pub const SLOTS: usize = 15;
/// The size of a leaf.
pub const LEAF_BYTES: usize = 256;
/// Set in `next` once a split has begun. Leaves are 32 units apart, so the bit is free.
const SEALED: u32 = 1;

/// Where a leaf lies, in units; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafAt(pub(super) u32);

impl LeafAt {
    /// No leaf.
    pub const NONE: LeafAt = LeafAt(0);

    /// Whether there is none.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// A value of the permutation word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Perm(u64);

impl Perm {
    /// The word of a leaf whose first `count` slots are in key order.
    pub fn sorted(count: usize) -> Perm {
        debug_assert!(count <= SLOTS);
        const ORDER: u64 = 0xedcb_a987_6543_2100;
        let kept = if count == SLOTS { u64::MAX } else { (1 << (4 * count + 4)) - 1 };
        Perm((ORDER & kept) | count as u64)
    }

    /// How many keys.
    #[inline(always)]
    pub fn count(self) -> usize {
        (self.0 & 15) as usize
    }

    /// Whether the leaf is full, and so frozen (I2).
    #[inline(always)]
    pub fn is_full(self) -> bool {
        self.0 & 15 == SLOTS as u64
    }

    /// The slot of the key of `rank`.
    #[inline(always)]
    pub fn slot(self, rank: usize) -> usize {
        ((self.0 >> (4 * rank + 4)) & 15) as usize
    }

    /// The word with slot `count` put at `rank`.
    #[inline]
    pub fn with_next_at(self, rank: usize) -> Perm {
        debug_assert!(!self.is_full() && rank <= self.count());
        let count = self.0 & 15;
        let body = self.0 >> 4;
        let below = body & ((1u64 << (4 * rank)) - 1);
        let above = body >> (4 * rank);
        // `rank` <= 14, so the shift is at most 60, and then `above` is 0.
        let body = below | (count << (4 * rank)) | (above << (4 * rank + 4));
        Perm((body << 4) | (count + 1))
    }
}

/// See the head of the file.
#[repr(C, align(64))]
pub struct Leaf {
    perm: AtomicU64,
    next: AtomicU32,
    repl: AtomicU32,
    lo: AtomicU32,
    hi: AtomicU32,
    strip: AtomicU32,
    slots: [AtomicU32; SLOTS],
    prefixes: [AtomicU64; SLOTS],
}

// Under loom (`models/`) an atomic is more than its word.
const _: () = assert!(cfg!(loom) || size_of::<Leaf>() == LEAF_BYTES);

#[cfg(loom)]
impl LeafAt {
    /// A place of a model, which has no store.
    pub fn model(at: u32) -> LeafAt {
        LeafAt(at)
    }
}

#[cfg(loom)]
impl Leaf {
    /// A leaf of a model, which has no store either.
    pub fn model() -> Leaf {
        Leaf {
            perm: AtomicU64::new(0),
            next: AtomicU32::new(0),
            repl: AtomicU32::new(0),
            lo: AtomicU32::new(0),
            hi: AtomicU32::new(0),
            strip: AtomicU32::new(0),
            slots: std::array::from_fn(|_| AtomicU32::new(0)),
            prefixes: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Leaf {
    /// Makes an unpublished leaf empty. Relaxed: the CAS that publishes it orders these stores.
    pub fn reset(&self, lo: NodeAt, hi: NodeAt, strip: usize, next: LeafAt) {
        self.perm.store(0, Ordering::Relaxed);
        self.next.store(next.0, Ordering::Relaxed);
        self.repl.store(0, Ordering::Relaxed);
        self.lo.store(lo.0, Ordering::Relaxed);
        self.hi.store(hi.0, Ordering::Relaxed);
        self.strip.store(strip as u32, Ordering::Relaxed);
        for slot in &self.slots {
            slot.store(0, Ordering::Relaxed);
        }
    }

    /// Fills slot `slot` of an unpublished leaf. Relaxed: as in `reset`.
    pub fn preset(&self, slot: usize, node: NodeAt, prefix: u64) {
        self.slots[slot].store(node.0, Ordering::Relaxed);
        self.prefixes[slot].store(prefix, Ordering::Relaxed);
    }

    /// Sets the permutation of an unpublished leaf. Relaxed: as in `reset`.
    pub fn preset_perm(&self, perm: Perm) {
        self.perm.store(perm.0, Ordering::Relaxed);
    }

    /// The permutation. Acquire: pairs with the AcqRel CAS in `publish`, so that every slot, prefix and node it names is
    /// seen whole.
    #[inline(always)]
    pub fn perm(&self) -> Perm {
        Perm(self.perm.load(Ordering::Acquire))
    }

    /// Below this node's key (and at it) nothing is here. Relaxed: fixed before the leaf was published.
    #[inline(always)]
    pub fn lo(&self) -> NodeAt {
        NodeAt(self.lo.load(Ordering::Relaxed))
    }

    /// Above this node's key nothing is here. Relaxed: as `lo`.
    #[inline(always)]
    pub fn hi(&self) -> NodeAt {
        NodeAt(self.hi.load(Ordering::Relaxed))
    }

    /// Bytes that all its keys share. Relaxed: as `lo`.
    #[inline(always)]
    pub fn strip(&self) -> usize {
        self.strip.load(Ordering::Relaxed) as usize
    }

    /// The node in a slot that a permutation names. Relaxed: that permutation was loaded with Acquire.
    #[inline(always)]
    pub fn node(&self, slot: usize) -> NodeAt {
        NodeAt(self.slots[slot].load(Ordering::Relaxed))
    }

    /// The prefix of a slot that a permutation names. Relaxed: as `node`.
    #[inline(always)]
    pub fn prefix(&self, slot: usize) -> u64 {
        self.prefixes[slot].load(Ordering::Relaxed)
    }

    /// How many keys have a smaller prefix, and which slots have the same, of the first `count` slots.
    #[inline(always)]
    pub fn compare_prefixes(&self, count: usize, prefix: u64) -> (usize, u32) {
        let (mut below, mut same) = (0, 0u32);
        for (slot, other) in self.prefixes.iter().enumerate().take(count) {
            let other = other.load(Ordering::Relaxed);
            below += usize::from(other < prefix);
            same |= u32::from(other == prefix) << slot;
        }
        (below, same)
    }

    /// Claims slot `slot` for `node`, or says whose it is. AcqRel: publishes the node to helpers; Acquire on failure: the
    /// other's node is read by the helper.
    #[inline]
    pub fn claim(&self, slot: usize, node: NodeAt) -> Result<(), NodeAt> {
        if crate::base::planted!("leaf-claim-unconditional") {
            self.slots[slot].store(node.0, Ordering::Release);
            return Ok(());
        }
        step("claim");
        match self.slots[slot].compare_exchange(0, node.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(other) => Err(NodeAt(other)),
        }
    }

    /// Adds the claimed slot `perm.count()` at `rank`. The claimer and any helper store the same prefix; only one of their
    /// CASes takes effect, and it does not matter whose. AcqRel: the prefix, and the node behind the slot (seen through
    /// the claim's Acquire), become visible to whoever loads the permutation with Acquire.
    #[inline]
    pub fn publish(&self, perm: Perm, rank: usize, prefix: u64) {
        step("prefix");
        self.prefixes[perm.count()].store(prefix, Ordering::Relaxed);
        step("publish");
        let new = perm.with_next_at(rank);
        let _ = self.perm.compare_exchange(perm.0, new.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// What replaced this leaf, if anything did. Acquire: pairs with `replace`.
    #[inline(always)]
    pub fn replacement(&self) -> LeafAt {
        LeafAt(self.repl.load(Ordering::Acquire))
    }

    /// Puts `left` in this leaf's place; false if another was first. AcqRel: publishes both halves; pairs with
    /// `replacement`.
    pub fn replace(&self, left: LeafAt) -> bool {
        step("replace");
        self.repl.compare_exchange(0, left.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The next leaf and whether it is final. Acquire: pairs with `append` and `repair`, so the leaf is seen whole.
    #[inline(always)]
    pub fn next(&self) -> (LeafAt, bool) {
        let word = self.next.load(Ordering::Acquire);
        (LeafAt(word & !SEALED), word & SEALED != 0)
    }

    /// Makes `next` final and returns it. AcqRel: later `append`s fail, earlier ones are seen.
    pub fn seal(&self) -> LeafAt {
        step("seal");
        LeafAt(self.next.fetch_or(SEALED, Ordering::AcqRel) & !SEALED)
    }

    /// Puts `leaf` behind this one, before `next`; false if `next` was changed or sealed. AcqRel: publishes the leaf.
    pub fn append(&self, next: LeafAt, leaf: LeafAt) -> bool {
        step("append");
        self.next.compare_exchange(next.0, leaf.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Skips a replaced successor. Its loss or failure only costs a later walker a step. AcqRel: passes the
    /// replacement on, which this thread saw through an Acquire.
    pub fn repair(&self, next: LeafAt, by: LeafAt) {
        step("repair link");
        let _ = self.next.compare_exchange(next.0, by.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The link of a leaf in the pool. Relaxed: the pool's own word orders it.
    pub fn pool_link(&self) -> &AtomicU32 {
        &self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_inserts_anywhere() {
        for seed in 0..500u64 {
            let mut model: Vec<usize> = Vec::new();
            let mut perm = Perm(0);
            let mut x = seed;
            for n in 0..SLOTS {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let rank = (x >> 33) as usize % (n + 1);
                perm = perm.with_next_at(rank);
                model.insert(rank, n);
            }
            assert!(perm.is_full());
            assert_eq!((0..SLOTS).map(|r| perm.slot(r)).collect::<Vec<_>>(), model);
        }
        for count in 0..=SLOTS {
            let perm = Perm::sorted(count);
            assert_eq!(perm.count(), count);
            assert!((0..count).all(|r| perm.slot(r) == r));
        }
    }
}
