//! Picking as text, a simulated tree, cuts and splits.

mod dialogue;
mod parts;
mod real;
mod tree;

use super::score::{Table, Tree};
use crate::base::sync::{AtomicBool, Ordering};
use std::sync::Arc;

/// A table that exists only as its description.
pub(super) struct TestTable {
    pub(super) number: u64,
    pub(super) size: u64,
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
    pub(super) entries: u64,
    pub(super) deletes: u64,
    pub(super) claimed: AtomicBool,
}

impl Table for Arc<TestTable> {
    fn number(&self) -> u64 {
        self.number
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn smallest(&self) -> &[u8] {
        &self.smallest
    }
    fn largest(&self) -> &[u8] {
        &self.largest
    }
    fn entries(&self) -> u64 {
        self.entries
    }
    fn deletes(&self) -> u64 {
        self.deletes
    }
    fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed) // one thread
    }
}

pub(super) fn tree_of<T>(levels: &[Vec<T>]) -> Tree<'_, T> {
    Tree { levels: levels.iter().map(Vec::as_slice).collect() }
}
