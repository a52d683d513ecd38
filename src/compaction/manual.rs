//! What a manual compaction of a key range does next: pure over a tree of tables.
//!
//! Where the range spans every table and level 0 holds some, one job merges all levels into the bottom-most one: each
//! byte is written once instead of once per level. Otherwise level 0 goes to the base first (its tables usually span
//! everything), and the levels below it are merged stretch by stretch, left to right: the tables of the top level in
//! the range with all that overlaps them below are one stretch, and what lies before and behind them in deeper levels
//! are others. So each byte is written once here too, the bottom-most level is rewritten even where nothing comes from
//! above (which drops its deletes and shadowed versions), and no job writes across keys that it does not hold against
//! newcomers from above.
//!
//! Where a job may take only so many tables, levels are pushed down table by table and the bottom is rewritten in
//! stretches of so many.
//!
//! Invariants: those of `pick`.

use super::pick::{Hull, Picked, any_claimed, filled_from_above, in_claimed_gap, non_empty, overlapping};
use super::score::{Table, Targets, Tree};
use super::{KeyRange, Shape};
use crate::base::ids::Level;
use std::ops::Range;

/// A step of a manual compaction, and what is left after it (`None`: nothing).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) picked: Picked,
    pub(super) rest: Option<(KeyRange, Level)>,
}

impl KeyRange {
    fn touches<T: Table>(&self, table: &T) -> bool {
        self.from.as_deref().is_none_or(|from| table.largest() >= from)
            && self.to.as_deref().is_none_or(|to| table.smallest() < to)
    }

    fn spans<T: Table>(&self, table: &T) -> bool {
        self.from.as_deref().is_none_or(|from| table.smallest() >= from)
            && self.to.as_deref().is_none_or(|to| table.largest() < to)
    }
}

/// The tables of a level above 0 that `range` touches.
fn touched<T: Table>(level: &[T], range: &KeyRange) -> Range<usize> {
    let start = range.from.as_deref().map_or(0, |from| level.partition_point(|table| table.largest() < from));
    let end = range.to.as_deref().map_or(level.len(), |to| level.partition_point(|table| table.smallest() < to));
    start..end.max(start)
}

/// The next step for what `range` touches at `from_level` and below. `Err`: a table it needs is taken.
pub(super) fn next_step<T: Table>(
    tree: &Tree<'_, T>,
    shape: &Shape,
    range: &KeyRange,
    from_level: usize,
) -> Result<Option<Step>, ()> {
    let Some(top) = top_touched(tree, range, from_level) else { return Ok(None) };
    let targets = Targets::of(tree, shape);
    let deepest = tree.deepest().filter(|&level| level > 0).unwrap_or(targets.base);
    let limit = shape.tables_per_job_max;
    if top > 0 {
        return if limit > 0 {
            limited_step(tree, range, top, deepest, limit)
        } else {
            stretch(tree, range, top, deepest)
        };
    }
    if limit == 0 && tree.levels.iter().all(|level| level.iter().all(|table| range.spans(table))) {
        let all = (0..=deepest).map(|level| (level, 0..tree.level(level).len())).filter(|(_, run)| !run.is_empty());
        return finish(tree, all.collect(), deepest, None);
    }
    if targets.base == deepest && limit == 0 {
        return stretch(tree, range, 0, deepest);
    }
    let level0 = 0..tree.level(0).len();
    let Some(hull) = Hull::of(tree.level(0)) else { return Ok(None) };
    let below = overlapping(tree.level(targets.base), hull);
    finish(tree, non_empty([(0, level0), (targets.base, below)]), targets.base, Some((range.clone(), Level(1))))
}

/// The first level from `from_level` on that has tables in `range`.
fn top_touched<T: Table>(tree: &Tree<'_, T>, range: &KeyRange, from_level: usize) -> Option<usize> {
    (from_level..tree.levels.len()).find(|&level| match level {
        0 => tree.level(0).iter().any(|table| range.touches(table)),
        _ => !touched(tree.level(level), range).is_empty(),
    })
}

/// The leftmost stretch of `range`, merged from all levels from `top` on into `deepest`.
fn stretch<T: Table>(tree: &Tree<'_, T>, range: &KeyRange, top: usize, deepest: usize) -> Result<Option<Step>, ()> {
    let whole = 0..tree.level(0).len();
    let first = if top == 0 { whole } else { touched(tree.level(top), range) };
    let Some(mut hull) = Hull::of(&tree.level(top)[first.clone()]) else { return Ok(None) };
    let mut inputs = vec![(top, first)];
    let (mut before, mut behind) = (false, false);
    for level in top + 1..=deepest {
        // Each level is widened to whole tables; what was taken above it lies within.
        let run = overlapping(tree.level(level), hull);
        hull = hull.join(Hull::of(&tree.level(level)[run.clone()]));
        let here = touched(tree.level(level), range);
        before |= here.start < run.start.min(here.end);
        behind |= here.end > run.end.max(here.start);
        if !run.is_empty() {
            inputs.push((level, run));
        }
    }
    if before {
        let left = KeyRange { from: range.from.clone(), to: Some(hull.smallest.to_vec()) };
        if let Some(next) = top_touched(tree, &left, top + 1) {
            let step = stretch(tree, &left, next, deepest)?;
            return Ok(step.map(|step| {
                let end = step.picked.hull(tree).map_or(hull.smallest, |done| done.largest);
                Step { rest: Some((behind_key(range, end), Level(top as u8))), ..step }
            }));
        }
    }
    let rest = behind.then(|| (behind_key(range, hull.largest), Level((top + 1) as u8)));
    finish(tree, inputs, deepest, rest)
}

/// What of `range` lies behind `key`.
fn behind_key(range: &KeyRange, key: &[u8]) -> KeyRange {
    let mut from = key.to_vec();
    from.push(0);
    KeyRange { from: Some(from), to: range.to.clone() }
}

/// At most `limit` tables where that is possible: the first table of the top level and what it overlaps in the next, or
/// a stretch of the bottom.
fn limited_step<T: Table>(
    tree: &Tree<'_, T>,
    range: &KeyRange,
    top: usize,
    deepest: usize,
    limit: usize,
) -> Result<Option<Step>, ()> {
    let run = touched(tree.level(top), range);
    if top == deepest {
        let stretch = run.start..run.end.min(run.start + limit);
        let rest = (stretch.end < run.end).then(|| {
            let from = tree.level(top)[stretch.end].smallest().to_vec();
            (KeyRange { from: Some(from), to: range.to.clone() }, Level(top as u8))
        });
        return finish(tree, vec![(top, stretch)], top, rest);
    }
    let first = run.start..run.start + 1;
    let hull = Hull::of(&tree.level(top)[first.clone()]).ok_or(())?;
    let below = overlapping(tree.level(top + 1), hull);
    finish(tree, non_empty([(top, first), (top + 1, below)]), top + 1, Some((range.clone(), Level(top as u8))))
}

/// The step, unless a running job is in its way.
fn finish<T: Table>(
    tree: &Tree<'_, T>,
    inputs: Vec<(usize, Range<usize>)>,
    output: usize,
    rest: Option<(KeyRange, Level)>,
) -> Result<Option<Step>, ()> {
    let picked = Picked { inputs, output, is_move: false };
    let taken = picked.inputs.iter().any(|(level, run)| any_claimed(&tree.level(*level)[run.clone()]));
    // Two jobs on level 0 would let versions pass each other.
    if taken || (tree.level(0).iter().any(T::is_claimed) && picked.inputs.iter().any(|(level, _)| *level == 0)) {
        return Err(());
    }
    let Some(hull) = picked.hull(tree) else { return Ok(None) };
    if filled_from_above(tree, output, hull)
        || in_claimed_gap(tree.level(output), &overlapping(tree.level(output), hull))
    {
        return Err(());
    }
    Ok(Some(Step { picked, rest }))
}
