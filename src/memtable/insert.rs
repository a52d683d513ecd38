//! How a version gets in: into a chain, a slot, an appended leaf, or after a split.
//!
//! - I1  Two inserts of one key end in one node. A slot is claimed only at the count under which the leaf was searched,
//!   and a lost claim helps the winner and searches again (leaf I1); an appended leaf goes in by the CAS of `next` under
//!   which none was there; a split moves all keys of a frozen leaf at once.
//! - I2  Whoever meets a full leaf does what there is to do itself; nobody waits for a thread that was interrupted.
//!
//! Threads: any number at once. Failure: none; the reservation holds the space, and using more than it is a panic.

use super::lane::{STRIP_GAIN_MIN, next_leaf, settled};
use super::leaf::{LeafAt, Perm, SLOTS};
use super::node::{NodeAt, VersionAt};
use super::search::{Spot, find_in_leaf, leaf_prefix};
use super::steps::step;
use super::store::{Grant, Store};
use super::{Aim, MemTable};
use crate::base::ids::SeqNo;
use crate::base::key::{EntryKind, common_prefix_len};
use crate::base::sync::Ordering;

/// Keys that the left half of a split keeps.
const LEFT: usize = SLOTS / 2 + 1;

/// With so many more shared bytes than are stripped, prefixes nearly tie.
const STRIP_TIES: usize = 6;

/// One insert.
pub struct Insert<'a> {
    pub key: &'a [u8],
    pub seq: SeqNo,
    pub kind: EntryKind,
    pub value: &'a [u8],
}

/// What an attempt came to.
enum Outcome {
    Done,
    /// Search again from this leaf.
    From(LeafAt),
}

impl MemTable {
    /// Puts one version in its place.
    pub(super) fn put(&self, grant: &mut Grant, entry: &Insert<'_>, aim: Aim) {
        let mut node = NodeAt::NONE;
        let mut spot = if aim.leaf.is_none() {
            self.search_tail(entry.key).unwrap_or_else(|| self.search(entry.key))
        } else {
            self.search_aimed(aim.leaf, aim.hi, entry.key)
        };
        loop {
            if !spot.node.is_none() {
                let version = if node.is_none() {
                    self.store.new_version(grant, entry.seq, entry.kind, entry.value)
                } else {
                    // Written for a node of its own, but another thread was faster: the version in it will do.
                    node.inline_version()
                };
                return self.push(spot.node, version);
            }
            if node.is_none() {
                node = self.store.new_node(grant, entry.key, entry.seq, entry.kind, entry.value);
            }
            let outcome = if spot.perm.is_full() {
                self.grow(&spot, node, entry.key)
            } else {
                self.claim(&spot, node, entry.key)
            };
            match outcome {
                Outcome::Done => return,
                Outcome::From(leaf) => spot = self.search_from(leaf, entry.key),
            }
        }
    }

    /// The leaf of `key` by the lane, with the end it has there; none if the key belongs behind the lower fence of the last
    /// leaf. The leaf itself is not touched, only asked for.
    #[inline]
    pub(super) fn aim_leaf(&self, key: &[u8]) -> (LeafAt, NodeAt) {
        // Acquire: pairs with the Release store in `note_tail`.
        let lo = self.store.leaf(LeafAt(self.tail.load(Ordering::Acquire))).lo();
        if lo.is_none() || key > self.store.key(lo) {
            return (LeafAt::NONE, NodeAt::NONE);
        }
        let way = self.lane.find(&self.store, key);
        self.store.prefetch_leaf(way.leaf);
        (way.leaf, way.hi)
    }

    /// The place of `key` if it is in the last leaf, as with keys that arrive in order; else none.
    #[inline]
    fn search_tail(&self, key: &[u8]) -> Option<Spot> {
        // Acquire: pairs with the Release store in `note_tail`.
        let mut leaf = LeafAt(self.tail.load(Ordering::Acquire));
        let lo = self.store.leaf(leaf).lo();
        if !lo.is_none() && key <= self.store.key(lo) {
            return None;
        }
        loop {
            leaf = settled(&self.store, leaf);
            let next = next_leaf(&self.store, self.store.leaf(leaf));
            if next.is_none() {
                break;
            }
            if key <= self.store.key(self.store.leaf(next).lo()) {
                return Some(self.search_from(leaf, key));
            }
            leaf = next;
        }
        let perm = self.store.leaf(leaf).perm();
        let count = perm.count();
        if count > 0 && key > self.store.key(self.store.leaf(leaf).node(perm.slot(count - 1))) {
            // A leaf that was appended or a split since is met when the attempt fails.
            return Some(Spot { leaf, perm, rank: count, node: NodeAt::NONE });
        }
        Some(self.search_from(leaf, key))
    }

    /// Puts `node` into the leaf, which was not full.
    #[inline]
    fn claim(&self, spot: &Spot, node: NodeAt, key: &[u8]) -> Outcome {
        let leaf = self.store.leaf(spot.leaf);
        let slot = spot.perm.count();
        match leaf.claim(slot, node) {
            Ok(()) => {
                leaf.publish(spot.perm, spot.rank, leaf_prefix(key, leaf.strip()));
                Outcome::Done
            }
            Err(other) => {
                self.help(spot.leaf, spot.perm, other);
                Outcome::From(spot.leaf)
            }
        }
    }

    /// Adds the node that another thread put into slot `perm.count()`, in case that thread does not get on.
    #[cold]
    fn help(&self, at: LeafAt, perm: Perm, other: NodeAt) {
        let leaf = self.store.leaf(at);
        #[cfg(test)]
        if super::steps::hooks::waits_for_latch(|| leaf.perm() == perm) {
            return;
        }
        if leaf.perm() == perm {
            let key = self.store.key(other);
            let (rank, same) = find_in_leaf(&self.store, at, perm, key);
            debug_assert!(same.is_none(), "two nodes of one key");
            leaf.publish(perm, rank, leaf_prefix(key, leaf.strip()));
        }
    }

    /// Makes room at a full leaf: behind it, if keys arrive in order there, else by a split.
    #[inline(never)]
    fn grow(&self, spot: &Spot, node: NodeAt, key: &[u8]) -> Outcome {
        // Ascending keys fill slots in order; of random ones, one in a hundred looks like it, and costs half a leaf.
        if spot.rank == SLOTS && spot.perm.slot(SLOTS - 1) >= SLOTS - 2 {
            return self.append(spot, node, key);
        }
        self.split(spot.leaf, spot.perm, key);
        Outcome::From(spot.leaf)
    }

    /// Appends a leaf with `node` behind a full leaf, all of whose keys are smaller.
    fn append(&self, spot: &Spot, node: NodeAt, key: &[u8]) -> Outcome {
        let store = &self.store;
        let leaf = store.leaf(spot.leaf);
        let (next, sealed) = leaf.next();
        if sealed {
            // A split is on its way; do it.
            self.split(spot.leaf, spot.perm, key);
            return Outcome::From(spot.leaf);
        }
        let hi = leaf.hi();
        if !next.is_none() && store.leaf(next).lo() != hi {
            return Outcome::From(next);
        }
        let lo = leaf.node(spot.perm.slot(SLOTS - 1));
        if shared_between(store, leaf.lo(), lo) >= leaf.strip() + STRIP_TIES {
            return self.split_off(spot, node, key);
        }
        let strip = shared_between(store, lo, hi);
        let new = store.new_leaf();
        let fresh = store.leaf(new);
        fresh.reset(lo, hi, strip, next);
        fresh.preset(0, node, leaf_prefix(key, strip));
        fresh.preset_perm(Perm::sorted(1));
        if !leaf.append(next, new) {
            store.drop_leaf(new);
            return Outcome::From(spot.leaf);
        }
        self.note_leaf(new, hi.is_none(), key);
        Outcome::Done
    }

    /// As `append`, but replaces the full leaf too, by a copy with better prefixes: it was the last one, so nothing was
    /// known to be shared, and its prefixes tie. (Measured 1250 against 700 ns a get for `user` and 19 digits.)
    fn split_off(&self, spot: &Spot, node: NodeAt, key: &[u8]) -> Outcome {
        let store = &self.store;
        let leaf = store.leaf(spot.leaf);
        let next = leaf.seal();
        let next = if next.is_none() { next } else { settled(store, next) };
        let hi = leaf.hi();
        if !leaf.replacement().is_none() || (!next.is_none() && store.leaf(next).lo() != hi) {
            // Too late: another thread split the leaf, or appended one before the seal.
            self.split(spot.leaf, spot.perm, key);
            return Outcome::From(spot.leaf);
        }
        let last = leaf.node(spot.perm.slot(SLOTS - 1));
        let (left, right) = (store.new_leaf(), store.new_leaf());
        self.fill_half(spot.leaf, spot.perm, 0, SLOTS, left, (leaf.lo(), last, right));
        let strip = shared_between(store, last, hi);
        let fresh = store.leaf(right);
        fresh.reset(last, hi, strip, next);
        fresh.preset(0, node, leaf_prefix(key, strip));
        fresh.preset_perm(Perm::sorted(1));
        if !leaf.replace(left) {
            store.drop_leaf(left);
            store.drop_leaf(right);
            return Outcome::From(spot.leaf);
        }
        self.note_leaf(right, hi.is_none(), key);
        Outcome::Done
    }

    /// Replaces a full leaf by two, unless that is done.
    fn split(&self, at: LeafAt, perm: Perm, key: &[u8]) {
        let store = &self.store;
        let leaf = store.leaf(at);
        #[cfg(test)]
        if super::steps::hooks::waits_for_latch(|| leaf.next().1 && leaf.replacement().is_none()) {
            return;
        }
        let next = leaf.seal();
        if !leaf.replacement().is_none() {
            return;
        }
        let (next, hi) = if next.is_none() {
            (next, leaf.hi())
        } else {
            let next = settled(store, next);
            // Not the leaf's own end, if a leaf was appended behind it.
            (next, store.leaf(next).lo())
        };
        let lo = leaf.lo();
        let middle = leaf.node(perm.slot(LEFT - 1));
        let (left, right) = (store.new_leaf(), store.new_leaf());
        self.fill_half(at, perm, 0, LEFT, left, (lo, middle, right));
        let from = LEFT + usize::from(crate::base::planted!("split-loses-a-key"));
        self.fill_half(at, perm, from, SLOTS, right, (middle, hi, next));
        if leaf.replace(left) {
            self.note_leaf(right, hi.is_none(), key);
        } else {
            store.drop_leaf(left);
            store.drop_leaf(right);
        }
    }

    /// Fills the unpublished leaf `half` with the keys of ranks `from..to` of a full one.
    fn fill_half(&self, at: LeafAt, perm: Perm, from: usize, to: usize, half: LeafAt, place: (NodeAt, NodeAt, LeafAt)) {
        let store = &self.store;
        let (leaf, new) = (store.leaf(at), store.leaf(half));
        let (lo, hi, next) = place;
        let shared = shared_between(store, lo, hi);
        let old = leaf.strip();
        // The old prefixes serve as long as the new ones would say little more: a key is likely a cache miss.
        let strip = if shared < old + STRIP_GAIN_MIN { old } else { shared };
        new.reset(lo, hi, strip, next);
        for rank in from..to {
            let slot = perm.slot(rank);
            let node = leaf.node(slot);
            let prefix = if strip == old { leaf.prefix(slot) } else { leaf_prefix(store.key(node), strip) };
            new.preset(rank - from, node, prefix);
        }
        new.preset_perm(Perm::sorted(to - from));
    }

    /// Tells the lane and the tail of a new leaf.
    fn note_leaf(&self, leaf: LeafAt, is_last: bool, key: &[u8]) {
        let way = if is_last {
            // Release: passes the leaf on; pairs with the Acquire in `search_tail`. A late store may lead back to an
            // older leaf, which costs a few steps until the next one.
            step("tail");
            self.tail.store(leaf.0, Ordering::Release);
            self.lane.last(&self.store)
        } else {
            self.lane.find(&self.store, key)
        };
        self.repair_way(way.word, way.leaf);
        self.lane.note_split(&self.store, way.chunk, key);
    }

    /// Adds `at` to the chain of `node`, in its place by sequence (node I1).
    fn push(&self, node: NodeAt, at: VersionAt) {
        let store = &self.store;
        let head = store.node(node);
        let version = store.version(at);
        let seq = version.seq();
        loop {
            let newest = head.newest();
            let first = store.version(newest);
            if first.seq() < seq {
                self.link(at, newest);
                if head.push(newest, at) {
                    return;
                }
                continue;
            }
            // Out of order, by a writer that was overtaken: `before` is the oldest that is newer.
            let mut before = newest;
            loop {
                let skip = store.version(before).skip();
                if !skip.is_none() && store.version(skip).seq() > seq {
                    before = skip;
                    continue;
                }
                let older = store.version(before).older();
                if !older.is_none()
                    && store.version(older).seq() >= seq
                    && !crate::base::planted!("late-version-misplaced")
                {
                    debug_assert!(store.version(older).seq() != seq, "a sequence number was used twice");
                    before = older;
                    continue;
                }
                self.link(at, older);
                if store.version(before).insert_older(older, at) {
                    return;
                }
            }
        }
    }

    /// Sets the links of an unpublished version that goes before `older` (node I2).
    fn link(&self, at: VersionAt, older: VersionAt) {
        let store = &self.store;
        let version = store.version(at);
        if older.is_none() {
            return version.preset(older, VersionAt::NONE, 0);
        }
        let next = store.version(older);
        let depth = next.depth();
        let skip = next.skip();
        let far = if skip.is_none() { older } else { skip };
        let farther = match store.version(far).skip() {
            VersionAt::NONE => far,
            skip => skip,
        };
        let (far_depth, farther_depth) = (store.version(far).depth(), store.version(farther).depth());
        let jump = depth.wrapping_sub(far_depth) == far_depth.wrapping_sub(farther_depth);
        version.preset(older, if jump { farther } else { older }, depth.wrapping_add(1));
    }
}

/// How many leading bytes all keys between two nodes share; 0 where either is none.
fn shared_between(store: &Store, lo: NodeAt, hi: NodeAt) -> usize {
    if lo.is_none() || hi.is_none() { 0 } else { common_prefix_len(store.key(lo), store.key(hi)) }
}
