//! How large each level may be, and how much each wants a compaction: pure.
//!
//! Sizes are dynamic: the largest level below 0 is given, each level above it may hold `size_ratio` times less, and the
//! first one whose share fits into `base_bytes` is the *base*, where level-0 tables go. So data lies in the bottom-most
//! level first and nine tenths of it stay there, which bounds the space that shadowed versions take.
//!
//! Invariants
//! - I1  No level between 0 and the base holds a table: a level-0 compaction passes over none.
//! - I2  The bottom level is never due.

use super::Shape;
use crate::version::{LEVEL_COUNT_MAX, TableHandle, Version};
use std::sync::Arc;

/// What picking sees of a table.
pub(super) trait Table {
    fn number(&self) -> u64;
    fn size(&self) -> u64;
    fn smallest(&self) -> &[u8];
    fn largest(&self) -> &[u8];
    fn entries(&self) -> u64;
    fn deletes(&self) -> u64;
    fn is_claimed(&self) -> bool;

    /// Whether at least half of it are deletes: moving it on frees space below.
    fn is_delete_dense(&self) -> bool {
        self.deletes() * 2 >= self.entries() && self.deletes() > 0
    }
}

impl Table for Arc<TableHandle> {
    fn number(&self) -> u64 {
        self.meta().number.0
    }
    fn size(&self) -> u64 {
        self.meta().summary.size
    }
    fn smallest(&self) -> &[u8] {
        &self.meta().summary.smallest
    }
    fn largest(&self) -> &[u8] {
        &self.meta().summary.largest
    }
    fn entries(&self) -> u64 {
        self.meta().summary.entries
    }
    fn deletes(&self) -> u64 {
        self.meta().summary.deletes
    }
    fn is_claimed(&self) -> bool {
        TableHandle::is_claimed(self)
    }
}

/// The tables by level: level 0 newest first, the others by key and disjoint.
pub(super) struct Tree<'a, T> {
    pub(super) levels: Vec<&'a [T]>,
}

impl<'a> Tree<'a, Arc<TableHandle>> {
    pub(super) fn of(version: &'a Version) -> Self {
        Tree { levels: version.levels().iter().map(|level| level.files()).collect() }
    }
}

impl<'a, T: Table> Tree<'a, T> {
    pub(super) fn level(&self, level: usize) -> &'a [T] {
        self.levels.get(level).copied().unwrap_or(&[])
    }

    pub(super) fn bytes(&self, level: usize) -> u64 {
        self.level(level).iter().map(T::size).sum()
    }

    /// The deepest level that holds a table, if any does.
    pub(super) fn deepest(&self) -> Option<usize> {
        self.levels.iter().rposition(|tables| !tables.is_empty())
    }
}

/// How large each level may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Targets {
    /// Where level-0 tables go.
    pub(super) base: usize,
    /// The last level in use.
    pub(super) bottom: usize,
    /// By level; 0 for levels that ought to be empty.
    pub(super) bytes: [u64; LEVEL_COUNT_MAX],
}

impl Targets {
    pub(super) fn of<T: Table>(tree: &Tree<'_, T>, shape: &Shape) -> Targets {
        let bottom = (shape.level_count.clamp(2, LEVEL_COUNT_MAX) - 1).max(tree.deepest().unwrap_or(0));
        let ratio = shape.size_ratio.max(2);
        let base_bytes = shape.base_bytes.max(1);
        let largest = (1..=bottom).map(|level| tree.bytes(level)).max().unwrap_or(0);
        let mut bytes = [0; LEVEL_COUNT_MAX];
        let mut share = largest;
        let mut level = bottom;
        // No level is held below `base_bytes`: one smaller than what level 0 hands down at once would only be in the way.
        bytes[level] = share.max(base_bytes);
        while share > base_bytes && level > 1 {
            share /= ratio;
            level -= 1;
            bytes[level] = share.max(base_bytes);
        }
        let first_filled = (1..=bottom).find(|&level| !tree.level(level).is_empty()).unwrap_or(bottom);
        Targets { base: level.min(first_filled), bottom, bytes }
    }
}

/// The score of a level that is not too large but holds a delete-dense table. A level is too large above it.
pub(super) const DENSE_SCORE: f64 = 1.0;

/// How much each level wants a compaction.
pub(super) fn scores_of<T: Table>(tree: &Tree<'_, T>, shape: &Shape, targets: &Targets) -> Vec<f64> {
    let mut scores = vec![0.0; tree.levels.len()];
    let free = |level: usize| tree.level(level).iter().filter(|table| !table.is_claimed());
    scores[0] = free(0).count() as f64 / shape.level0_trigger.max(1) as f64;
    for (level, score) in scores.iter_mut().enumerate().take(targets.bottom).skip(1) {
        let bytes: u64 = free(level).map(T::size).sum();
        if bytes == 0 {
            continue;
        }
        let target = targets.bytes[level];
        *score = if target == 0 {
            // The tree has shrunk; this level is one run more to read, and no more than that.
            1.0 + bytes as f64 / shape.base_bytes.max(1) as f64
        } else {
            bytes as f64 / target as f64
        };
        if *score <= DENSE_SCORE {
            let is_dense = free(level).any(T::is_delete_dense);
            *score = if is_dense { DENSE_SCORE } else { score.min(DENSE_SCORE.next_down()) };
        }
    }
    scores
}

/// Bytes to be read until no level is due.
pub(super) fn pending_of<T: Table>(tree: &Tree<'_, T>, shape: &Shape, targets: &Targets) -> u64 {
    let mut pending = 0u64;
    let mut arriving = 0u64;
    if tree.level(0).len() >= shape.level0_trigger.max(1) {
        arriving = tree.bytes(0);
        pending = arriving + tree.bytes(targets.base);
    }
    for level in targets.base..targets.bottom {
        let bytes = tree.bytes(level) + arriving;
        let excess = bytes.saturating_sub(targets.bytes[level]);
        if excess > 0 {
            // Each byte moved down drags its share of the next level along.
            let below = tree.bytes(level + 1);
            let dragged = (u128::from(excess) * u128::from(below) / u128::from(bytes)) as u64;
            pending = pending.saturating_add(excess).saturating_add(dragged);
        }
        arriving = excess;
    }
    pending
}

/// Levels above the bottom may hold so many times `base_bytes`, and such a part of the bottom level, above their targets.
const EXCESS_BASES: u64 = 4;
const EXCESS_SHARE: u64 = 8;

/// Bytes above the targets of the levels below 0, against what they may grow to: shadowed versions take no more space
/// than that.
pub(super) fn excess_of<T: Table>(tree: &Tree<'_, T>, shape: &Shape, targets: &Targets) -> f64 {
    let excess: u64 =
        (targets.base..targets.bottom).map(|level| tree.bytes(level).saturating_sub(targets.bytes[level])).sum();
    let room = shape.base_bytes.saturating_mul(EXCESS_BASES).saturating_add(tree.bytes(targets.bottom) / EXCESS_SHARE);
    excess as f64 / room.max(1) as f64
}
