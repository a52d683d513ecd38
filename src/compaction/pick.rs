//! Which tables the next job takes: pure over a tree of tables.
//!
//! A job takes neighbouring tables of one level and every table of the next that overlaps them. Of the tables of a due
//! level that one goes first which drags the fewest bytes along for its size; deletes count several times, since what
//! they hide below is freed. Level-0 jobs take the oldest tables, all of them by default.
//!
//! Invariants
//! - I1  Versions of a key never pass each other: with a table, all older ones that overlap it between its level and
//!   the output are taken (of level 0: all older ones).
//! - I2  No two running jobs write overlapping ranges of one level. A job writes between the first and the last key of
//!   its inputs; where those are several neighbours there are gaps between them. So outputs never go into a gap between
//!   two claimed neighbours, and several neighbours are taken only where no job above them is about to fill a gap.
//! - I3  At most one job has level-0 inputs.
//!
//! Threads: the picture must be the current one while it is picked from and claimed: callers hold the lock under which
//! new versions are installed.

use super::Shape;
use super::score::{DENSE_SCORE, Table, Targets, Tree, scores_of};
use std::ops::Range;

/// Grandparent bytes under one output table, in target table sizes.
pub(super) const GRANDPARENT_TABLES_MAX: u64 = 10;
/// Upper-level bytes that a pick may grow to while no more of the next level is dragged along, in table sizes.
const GROWN_TABLES_MAX: u64 = 8;
/// A delete weighs as much as so many entries when tables compete.
const DELETE_WEIGHT: u64 = 4;

/// Input tables as index ranges, upper level first, and where the output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) inputs: Vec<(usize, Range<usize>)>,
    pub(super) output: usize,
    pub(super) is_move: bool,
}

impl Picked {
    /// First and last key of the inputs.
    pub(super) fn hull<'a, T: Table>(&self, tree: &Tree<'a, T>) -> Option<Hull<'a>> {
        self.inputs.iter().fold(None, |hull, (level, run)| match Hull::of(&tree.level(*level)[run.clone()]) {
            Some(own) => Some(own.join(hull)),
            None => hull,
        })
    }
}

/// First and last key of some tables.
#[derive(Clone, Copy)]
pub(super) struct Hull<'a> {
    pub(super) smallest: &'a [u8],
    pub(super) largest: &'a [u8],
}

impl<'a> Hull<'a> {
    pub(super) fn of<T: Table>(tables: &'a [T]) -> Option<Hull<'a>> {
        let smallest = tables.iter().map(T::smallest).min()?;
        let largest = tables.iter().map(T::largest).max()?;
        Some(Hull { smallest, largest })
    }

    pub(super) fn join(self, other: Option<Hull<'a>>) -> Hull<'a> {
        match other {
            None => self,
            Some(other) => {
                Hull { smallest: self.smallest.min(other.smallest), largest: self.largest.max(other.largest) }
            }
        }
    }

    pub(super) fn overlaps<T: Table>(self, table: &T) -> bool {
        table.smallest() <= self.largest && table.largest() >= self.smallest
    }
}

/// The tables of a level above 0 that overlap `hull`.
pub(super) fn overlapping<T: Table>(level: &[T], hull: Hull<'_>) -> Range<usize> {
    let start = level.partition_point(|table| table.largest() < hull.smallest);
    let end = start + level[start..].partition_point(|table| table.smallest() <= hull.largest);
    start..end
}

/// Whether the place `range` of a level is a gap between two tables that jobs have: one job may write across it (I2).
/// A place with free tables is none, since such a job would have taken those.
pub(super) fn in_claimed_gap<T: Table>(level: &[T], range: &Range<usize>) -> bool {
    let before = range.start.checked_sub(1).and_then(|i| level.get(i));
    range.is_empty() && before.is_some_and(T::is_claimed) && level.get(range.end).is_some_and(T::is_claimed)
}

/// Whether a running job with inputs above `level` may write within `hull` (I2).
pub(super) fn filled_from_above<T: Table>(tree: &Tree<'_, T>, level: usize, hull: Hull<'_>) -> bool {
    let (mut smallest, mut largest): (Option<&[u8]>, Option<&[u8]>) = (None, None);
    for table in tree.level(0).iter().filter(|table| level > 0 && table.is_claimed()) {
        // A level-0 job writes anywhere between its tables.
        smallest = Some(smallest.map_or(table.smallest(), |key| key.min(table.smallest())));
        largest = largest.max(Some(table.largest()));
    }
    if let (Some(smallest), Some(largest)) = (smallest, largest)
        && smallest <= hull.largest
        && largest >= hull.smallest
    {
        return true;
    }
    (1..level).any(|above| {
        let tables = tree.level(above);
        any_claimed(&tables[overlapping(tables, hull)])
    })
}

pub(super) fn any_claimed<T: Table>(tables: &[T]) -> bool {
    tables.iter().any(T::is_claimed)
}

fn bytes_of<T: Table>(tables: &[T]) -> u64 {
    tables.iter().map(T::size).sum()
}

/// The best job that is due and free.
pub(super) fn pick_from<T: Table>(tree: &Tree<'_, T>, shape: &Shape) -> Option<Picked> {
    let targets = Targets::of(tree, shape);
    let scores = scores_of(tree, shape, &targets);
    let mut due: Vec<usize> = (0..scores.len()).filter(|&level| scores[level] >= 1.0).collect();
    due.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let mut level0_waits = false;
    due.into_iter().find_map(|level| match level {
        0 => {
            let picked = pick_level0(tree, shape, &targets);
            level0_waits = picked.is_none();
            picked
        }
        // Level 0 waits for tables of the base that jobs have: one more job there would make it wait for ever.
        _ if level == targets.base && level0_waits => None,
        _ => pick_level(tree, shape, level, scores[level] <= DENSE_SCORE),
    })
}

/// Most tables of a job.
fn tables_max(shape: &Shape) -> usize {
    if shape.tables_per_job_max == 0 { usize::MAX } else { shape.tables_per_job_max }
}

fn pick_level0<T: Table>(tree: &Tree<'_, T>, shape: &Shape, targets: &Targets) -> Option<Picked> {
    let level0 = tree.level(0);
    if level0.is_empty() || any_claimed(level0) {
        return None;
    }
    let base = tree.level(targets.base);
    if let Some(picked) = pick_level0_move(tree, shape, targets) {
        return Some(picked);
    }
    // The oldest ones, as many as the limit lets through together with what they drag along; at least one.
    let mut count = level0.len().min(tables_max(shape));
    loop {
        let run = level0.len() - count..level0.len();
        let hull = Hull::of(&level0[run.clone()])?;
        let below = overlapping(base, hull);
        if count > 1 && count.saturating_add(below.len()) > tables_max(shape) {
            count -= 1;
            continue;
        }
        if any_claimed(&base[below.clone()]) || in_claimed_gap(base, &below) {
            return None;
        }
        return Some(Picked {
            inputs: non_empty([(0, run), (targets.base, below)]),
            output: targets.base,
            is_move: false,
        });
    }
}

/// The oldest level-0 table that may sink as it is: it overlaps no older one and nothing in the base. Only tables of
/// some size, since small ones are better merged.
fn pick_level0_move<T: Table>(tree: &Tree<'_, T>, shape: &Shape, targets: &Targets) -> Option<Picked> {
    let level0 = tree.level(0);
    for index in (0..level0.len()).rev() {
        let table = &level0[index];
        let run = index..index + 1;
        let hull = Hull::of(&level0[run.clone()])?;
        if table.size() < shape.table_bytes / 8
            || level0[index + 1..].iter().any(|older| hull.overlaps(older))
            || !may_move(tree, shape, table, targets.base)
        {
            continue;
        }
        return Some(Picked { inputs: vec![(0, run)], output: targets.base, is_move: true });
    }
    None
}

/// Whether `table` may become a table of level `output` without being rewritten.
fn may_move<T: Table>(tree: &Tree<'_, T>, shape: &Shape, table: &T, output: usize) -> bool {
    let hull = Hull { smallest: table.smallest(), largest: table.largest() };
    let beside = overlapping(tree.level(output), hull);
    if !beside.is_empty() || in_claimed_gap(tree.level(output), &beside) {
        return false;
    }
    let grandparents = overlapping(tree.level(output + 1), hull);
    if bytes_of(&tree.level(output + 1)[grandparents]) > GRANDPARENT_TABLES_MAX * shape.table_bytes {
        return false;
    }
    // With nothing left to hide its deletes would be dropped by a rewrite.
    let hides_nothing = (output + 1..tree.levels.len()).all(|level| overlapping(tree.level(level), hull).is_empty());
    !(hides_nothing && table.deletes() * 4 >= table.entries() && table.deletes() > 0)
}

/// A job from `level` to the next, if any table of it is free to go. `dense_only`: the level is due for the sake of its
/// delete-dense tables, so one of those.
fn pick_level<T: Table>(tree: &Tree<'_, T>, shape: &Shape, level: usize, dense_only: bool) -> Option<Picked> {
    let (upper, lower) = (tree.level(level), tree.level(level + 1));
    let mut best: Option<(u128, u128, u64, usize, Range<usize>)> = None;
    let mut start = 0;
    for (index, table) in upper.iter().enumerate() {
        // Both levels ascend, so the search goes on where the last one ended.
        while start < lower.len() && lower[start].largest() < table.smallest() {
            start += 1;
        }
        let hull = Hull { smallest: table.smallest(), largest: table.largest() };
        let below = start..start + lower[start..].partition_point(|other| other.smallest() <= hull.largest);
        if (dense_only && !table.is_delete_dense())
            || table.is_claimed()
            || any_claimed(&lower[below.clone()])
            || in_claimed_gap(lower, &below)
        {
            continue;
        }
        let cost = u128::from(bytes_of(&lower[below.clone()]));
        let share = DELETE_WEIGHT * table.deletes() * 1024 / table.entries().max(1);
        let worth = u128::from(table.size().max(1)) * u128::from(1024 + share);
        // cost / worth, compared without division; the older table wins a tie.
        let better = best.as_ref().is_none_or(|(best_cost, best_worth, number, ..)| {
            let (mine, theirs) = (cost * best_worth, best_cost * worth);
            mine < theirs || (mine == theirs && table.number() < *number)
        });
        if better {
            best = Some((cost, worth, table.number(), index, below));
        }
    }
    let (.., index, below) = best?;
    if below.is_empty() && may_move(tree, shape, &upper[index], level + 1) {
        return Some(Picked { inputs: vec![(level, index..index + 1)], output: level + 1, is_move: true });
    }
    let run = grow(tree, shape, level, index, &below);
    Some(Picked { inputs: non_empty([(level, run), (level + 1, below)]), output: level + 1, is_move: false })
}

/// Takes free neighbours of table `index` along that add nothing to what is taken below.
fn grow<T: Table>(tree: &Tree<'_, T>, shape: &Shape, level: usize, index: usize, below: &Range<usize>) -> Range<usize> {
    let (upper, lower) = (tree.level(level), tree.level(level + 1));
    let mut run = index..index + 1;
    let fits = |wider: Range<usize>, added: &T| {
        let tables = &upper[wider];
        let Some(hull) = Hull::of(tables) else { return false };
        !added.is_claimed()
            && tables.len() + below.len() <= tables_max(shape)
            && bytes_of(tables) <= GROWN_TABLES_MAX * shape.table_bytes
            && overlapping(lower, hull) == *below
            && !filled_from_above(tree, level, hull)
    };
    while !below.is_empty() && run.end < upper.len() && fits(run.start..run.end + 1, &upper[run.end]) {
        run.end += 1;
    }
    while !below.is_empty() && run.start > 0 && fits(run.start - 1..run.end, &upper[run.start - 1]) {
        run.start -= 1;
    }
    run
}

pub(super) fn non_empty<const N: usize>(inputs: [(usize, Range<usize>); N]) -> Vec<(usize, Range<usize>)> {
    inputs.into_iter().filter(|(_, range)| !range.is_empty()).collect()
}
