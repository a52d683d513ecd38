//! How a key is found: lane, leaf, slot, version.
//!
//! Threads: any number at once, none waits for another.

use super::MemTable;
use super::lane::{FenceLane, next_leaf};
use super::leaf::{LeafAt, Perm};
use super::node::{NodeAt, VersionAt};
use super::store::Store;
use crate::base::ids::SeqNo;
use crate::base::key::prefix_u64;
use std::cmp::Ordering::{Equal, Greater, Less};

/// Where a key is, or would be, in a leaf as it was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    /// The leaf whose range holds the key.
    pub leaf: LeafAt,
    /// Its permutation when it was searched.
    pub perm: Perm,
    /// How many of its keys are smaller.
    pub rank: usize,
    /// The key's node, or none.
    pub node: NodeAt,
}

/// The prefix of `key` in a leaf of `strip`. (A key that can be in the leaf is at least as long as that.)
#[inline(always)]
pub fn leaf_prefix(key: &[u8], strip: usize) -> u64 {
    prefix_u64(&key[strip.min(key.len())..])
}

/// Looks for `key` among the keys that `perm` names. Returns its rank and its node.
#[inline(always)]
pub fn find_in_leaf(store: &Store, at: LeafAt, perm: Perm, key: &[u8]) -> (usize, NodeAt) {
    let leaf = store.leaf(at);
    let strip = leaf.strip().min(key.len());
    let (mut rank, mut same) = leaf.compare_prefixes(perm.count(), prefix_u64(&key[strip..]));
    let mut found = NodeAt::NONE;
    while same != 0 {
        let node = leaf.node(same.trailing_zeros() as usize);
        store.prefetch_node(node, 3);
        // The first `strip` bytes are equal (leaf I6).
        match store.key(node)[strip..].cmp(&key[strip..]) {
            Less => rank += 1,
            Equal => found = node,
            Greater => {}
        }
        same &= same - 1;
    }
    (rank, found)
}

impl MemTable {
    /// The leaf whose range holds `key`, from `leaf` on, which lies at or before it; and its permutation. A leaf that ends
    /// at `hi` is known to reach as far as the key.
    #[inline(always)]
    fn settle(&self, mut at: LeafAt, hi: NodeAt, key: &[u8]) -> (LeafAt, Perm) {
        let store = &self.store;
        loop {
            let leaf = store.leaf(at);
            let perm = leaf.perm();
            // The permutation was loaded first: a leaf that was not full then was not replaced then.
            if perm.is_full() {
                let now = leaf.replacement();
                if !now.is_none() {
                    at = now;
                    continue;
                }
            }
            let end = leaf.hi();
            if end.is_none() || end == hi || key <= store.key(end) {
                return (at, perm);
            }
            at = next_leaf(store, leaf);
        }
    }

    /// The leaf of `key` by the lane.
    #[inline(always)]
    pub(super) fn locate(&self, key: &[u8]) -> (LeafAt, Perm) {
        let way = self.lane.find(&self.store, key);
        self.store.prefetch_leaf(way.leaf);
        let (leaf, perm) = self.settle(way.leaf, way.hi, key);
        if leaf != way.leaf {
            self.repair_way(way.word, way.leaf);
        }
        (leaf, perm)
    }

    /// Leads a word of the lane past a replaced leaf.
    #[cold]
    pub(super) fn repair_way(&self, word: &crate::base::sync::AtomicU32, old: LeafAt) {
        let now = super::lane::settled(&self.store, old);
        if now != old {
            FenceLane::repair(word, old, now);
        }
    }

    /// The place of `key`.
    #[inline(always)]
    pub(super) fn search(&self, key: &[u8]) -> Spot {
        let (leaf, perm) = self.locate(key);
        self.search_at(leaf, perm, key)
    }

    /// The place of `key`, whose leaf was `at` and ended at `hi` when the lane was asked.
    #[inline(always)]
    pub(super) fn search_aimed(&self, at: LeafAt, hi: NodeAt, key: &[u8]) -> Spot {
        let (leaf, perm) = self.settle(at, hi, key);
        if leaf == at {
            return self.search_at(leaf, perm, key);
        }
        // The lane lags behind: go its way again, which leads it on.
        self.search(key)
    }

    /// The place of `key`, from a leaf at or before it.
    pub(super) fn search_from(&self, leaf: LeafAt, key: &[u8]) -> Spot {
        let (leaf, perm) = self.settle(leaf, NodeAt::NONE, key);
        self.search_at(leaf, perm, key)
    }

    /// The place of `key`, from the leaf whose range holds it, or from the full leaf that another was appended to.
    #[inline(always)]
    fn search_at(&self, leaf: LeafAt, perm: Perm, key: &[u8]) -> Spot {
        let (rank, node) = find_in_leaf(&self.store, leaf, perm, key);
        if rank == super::leaf::SLOTS
            && let Some(behind) = self.appended(leaf)
        {
            return self.search_from(behind, key);
        }
        Spot { leaf, perm, rank, node }
    }

    /// The leaf appended behind a full leaf, if there is one (leaf I5): it begins where the full leaf's keys end.
    pub(super) fn appended(&self, at: LeafAt) -> Option<LeafAt> {
        let leaf = self.store.leaf(at);
        let next = next_leaf(&self.store, leaf);
        (!next.is_none() && self.store.leaf(next).lo() != leaf.hi()).then_some(next)
    }

    /// The newest version of `node` at or below `bound`, or none.
    #[inline(always)]
    pub(super) fn version_at(&self, node: NodeAt, bound: SeqNo) -> VersionAt {
        let at = self.store.node(node).newest();
        if self.store.version(at).seq() <= bound || crate::base::planted!("memtable-ignores-the-bound") {
            at
        } else {
            self.older_version(at, bound)
        }
    }

    /// The newest version at or below `bound` behind `at`, which is too new.
    fn older_version(&self, mut at: VersionAt, bound: SeqNo) -> VersionAt {
        let store = &self.store;
        loop {
            let version = store.version(at);
            let skip = version.skip();
            if !skip.is_none() && store.version(skip).seq() > bound {
                at = skip;
                continue;
            }
            at = version.older();
            if at.is_none() || store.version(at).seq() <= bound {
                return at;
            }
        }
    }
}
