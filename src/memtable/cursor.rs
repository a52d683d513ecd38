//! The walk over a memtable, leaf by leaf.
//!
//! - I1  The cursor stands in a leaf as its permutation was when the cursor entered it. All keys that were there when the
//!   walk began are in it, so they are seen; keys that came later are seen if their leaf had not been entered.
//! - I2  The way on leads over the leaf's `next`: that is sealed when the leaf is split, and whatever lies between the last
//!   key seen and the first of the next leaf came after the leaf was entered.
//! - I3  The way back leads over `lo`: it is the largest key below the leaf, and a search for it finds its leaf.
//!
//! Threads: a cursor belongs to one thread at a time; inserts may go on. Failure: none.

use super::MemTable;
use super::lane::{next_leaf, settled};
use super::leaf::{LeafAt, Perm};
use super::node::{NodeAt, VersionAt};
use crate::base::iter::{Cursor, View};
use crate::base::key::Entry;
use crate::error::Result;
use std::sync::Arc;

/// Lines of each node that are asked for where a walk begins: head and key.
const LINES_ENTERED: usize = 2;
/// Where it goes on, which will want values of a hundred bytes or two too: a flush waited for them a tenth of a fill's
/// processor time.
const LINES_AHEAD: usize = 4;

/// A walk over a memtable; sees entries inserted while it walks if they lie ahead.
pub struct MemCursor {
    table: Arc<MemTable>,
    view: View,
    leaf: LeafAt,
    perm: Perm,
    rank: usize,
    node: NodeAt,
    /// The version it stands on; none when it is unpositioned.
    version: VersionAt,
}

impl MemCursor {
    pub(super) fn new(table: Arc<MemTable>, view: View) -> MemCursor {
        let leaf = table.first;
        let (node, version) = (NodeAt::NONE, VersionAt::NONE);
        MemCursor { table, view, leaf, perm: Perm::sorted(0), rank: 0, node, version }
    }

    fn unposition(&mut self) {
        self.version = VersionAt::NONE;
    }

    /// Enters a leaf. Asks for its nodes, and for the leaf behind it.
    #[inline]
    fn enter(&mut self, leaf: LeafAt, perm: Perm) {
        (self.leaf, self.perm) = (leaf, perm);
        let store = &self.table.store;
        self.ask_for_nodes(leaf, perm, LINES_ENTERED);
        let (next, _) = store.leaf(leaf).next();
        if !next.is_none() {
            store.prefetch_leaf(next);
        }
    }

    /// Asks for the first `lines` cache lines of the nodes of a leaf.
    #[inline]
    fn ask_for_nodes(&self, leaf: LeafAt, perm: Perm, lines: usize) {
        let store = &self.table.store;
        let at = store.leaf(leaf);
        for rank in 0..perm.count() {
            store.prefetch_node(at.node(perm.slot(rank)), lines);
        }
    }

    /// Asks for the nodes of the leaf behind this one: its own lines, asked for when this one was entered, are there now.
    #[inline]
    fn ask_ahead(&self) {
        let store = &self.table.store;
        let (next, _) = store.leaf(self.leaf).next();
        if !next.is_none() {
            self.ask_for_nodes(next, store.leaf(next).perm(), LINES_AHEAD);
        }
    }

    /// Enters a leaf at the place of `key`; returns how many of its keys are smaller.
    fn enter_at(&mut self, key: &[u8]) -> usize {
        let spot = self.table.search(key);
        self.enter(spot.leaf, spot.perm);
        spot.rank
    }

    /// Stands on the first version that the view shows at `rank` or behind.
    #[inline]
    fn settle_forward(&mut self, mut rank: usize) {
        loop {
            while rank >= self.perm.count() {
                let next = next_leaf(&self.table.store, self.table.store.leaf(self.leaf));
                if next.is_none() {
                    return self.unposition();
                }
                let perm = self.table.store.leaf(next).perm();
                self.enter(next, perm);
                rank = 0;
            }
            if rank == self.perm.count() / 3 {
                self.ask_ahead();
            }
            if self.view == View::All && rank + 1 < self.perm.count() {
                // A flush copies the whole of the next value.
                let node = self.table.store.leaf(self.leaf).node(self.perm.slot(rank + 1));
                self.table.store.prefetch_value(node, LINES_AHEAD);
            }
            if self.stand(rank) {
                return;
            }
            rank += 1;
        }
    }

    /// Stands on the last version that the view shows before `rank`.
    fn settle_backward(&mut self, mut rank: usize) {
        loop {
            while rank == 0 {
                let store = &self.table.store;
                let lo = store.leaf(self.leaf).lo();
                if lo.is_none() {
                    return self.unposition();
                }
                let spot = self.table.search(store.key(lo));
                debug_assert_eq!(spot.node, lo);
                self.enter(spot.leaf, spot.perm);
                rank = spot.rank + 1;
            }
            rank -= 1;
            if self.stand(rank) {
                return;
            }
        }
    }

    /// Stands on the node of `rank`, if the view shows a version of it.
    #[inline(always)]
    fn stand(&mut self, rank: usize) -> bool {
        let node = self.table.store.leaf(self.leaf).node(self.perm.slot(rank));
        let version = match self.view {
            View::Newest(bound) => self.table.version_at(node, bound),
            View::All => self.table.store.node(node).newest(),
        };
        (self.rank, self.node, self.version) = (rank, node, version);
        !version.is_none()
    }

    /// The sequence number it stands on, for tests of order.
    #[cfg(test)]
    pub(super) fn seq(&self) -> crate::base::ids::SeqNo {
        self.table.store.version(self.version).seq()
    }
}

impl Cursor for MemCursor {
    fn seek_first(&mut self) -> Result<()> {
        let leaf = settled(&self.table.store, self.table.first);
        let perm = self.table.store.leaf(leaf).perm();
        self.enter(leaf, perm);
        self.settle_forward(0);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        debug_assert!(self.view != View::All, "`View::All` goes forward only");
        let store = &self.table.store;
        let mut leaf = settled(store, self.table.lane.last(store).leaf);
        loop {
            let next = next_leaf(store, store.leaf(leaf));
            if next.is_none() {
                break;
            }
            leaf = next;
        }
        let perm = store.leaf(leaf).perm();
        self.enter(leaf, perm);
        self.settle_backward(perm.count());
        Ok(())
    }

    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        let rank = self.enter_at(key);
        self.settle_forward(rank);
        Ok(())
    }

    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        debug_assert!(self.view != View::All, "`View::All` goes forward only");
        let rank = self.enter_at(key);
        self.settle_backward(rank);
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        debug_assert!(self.valid());
        if self.view == View::All {
            let older = self.table.store.version(self.version).older();
            if !older.is_none() {
                self.version = older;
                return Ok(());
            }
        }
        self.settle_forward(self.rank + 1);
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        debug_assert!(self.valid());
        debug_assert!(self.view != View::All, "`View::All` goes forward only");
        self.settle_backward(self.rank);
        Ok(())
    }

    #[inline]
    fn valid(&self) -> bool {
        !self.version.is_none()
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        let store = &self.table.store;
        let version = store.version(self.version);
        Entry { key: store.key(self.node), seq: version.seq(), kind: version.kind(), value: store.value(self.version) }
    }
}
