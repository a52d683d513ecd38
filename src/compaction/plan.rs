//! A plan over a real version: claims, the edit it leads to, and its division into parts.

use super::manual::{Step, next_step};
use super::pick::{Picked, pick_from};
use super::score::{Targets, Tree, excess_of, pending_of, scores_of};
use super::{KeyRange, Plan, Shape};
use crate::base::ids::{KeyspaceId, Level};
use crate::error::Result;
use crate::version::{FileMeta, TableCache, TableHandle, Version, VersionEdit};
use std::sync::Arc;

/// A part is worth a thread from so many input bytes on.
const PART_BYTES_MIN: u64 = 4 << 20;
/// Most split keys asked of one table.
const SAMPLES_MAX: u64 = 64;

pub(super) fn scores(version: &Version, shape: &Shape) -> Vec<f64> {
    let tree = Tree::of(version);
    scores_of(&tree, shape, &Targets::of(&tree, shape))
}

pub(super) fn pending_bytes(version: &Version, shape: &Shape) -> u64 {
    let tree = Tree::of(version);
    pending_of(&tree, shape, &Targets::of(&tree, shape))
}

pub(super) fn excess(version: &Version, shape: &Shape) -> f64 {
    let tree = Tree::of(version);
    excess_of(&tree, shape, &Targets::of(&tree, shape))
}

pub(super) fn pick(version: &Arc<Version>, shape: &Shape) -> Option<Plan> {
    let picked = pick_from(&Tree::of(version), shape)?;
    claim(version, &picked, None)
}

pub(super) fn pick_range(
    version: &Arc<Version>,
    shape: &Shape,
    range: &KeyRange,
    level: Level,
) -> std::result::Result<Option<Plan>, ()> {
    match next_step(&Tree::of(version), shape, range, usize::from(level.0))? {
        None => Ok(None),
        Some(Step { picked, rest }) => claim(version, &picked, rest).map(Some).ok_or(()),
    }
}

/// Claims every input or none.
fn claim(version: &Arc<Version>, picked: &Picked, rest: Option<(KeyRange, Level)>) -> Option<Plan> {
    let mut plan = Plan {
        version: Arc::clone(version),
        inputs: Vec::new(),
        output: Level(picked.output as u8),
        is_move: picked.is_move,
        rest,
    };
    for (level, run) in &picked.inputs {
        for table in &version.levels()[*level].files()[run.clone()] {
            if !table.claim() {
                return None; // dropping the plan gives back what it has
            }
            plan.inputs.push((Level(*level as u8), Arc::clone(table)));
        }
    }
    Some(plan)
}

impl Drop for Plan {
    fn drop(&mut self) {
        for (_, table) in &self.inputs {
            table.unclaim();
        }
    }
}

impl Plan {
    /// Cuts the job's key range into at most `parts` ranges of similar input size that never separate two versions of
    /// a key. A part has at least 4 MiB of input, so small jobs are not cut.
    pub fn split(&self, tables: &TableCache, parts: usize) -> Result<Vec<KeyRange>> {
        let total = self.input_bytes();
        let parts = (parts as u64).min(total / PART_BYTES_MIN).max(1);
        if parts == 1 || self.is_move {
            return Ok(vec![KeyRange::default()]);
        }
        let mut samples = Vec::new();
        for (_, table) in &self.inputs {
            let summary = &table.meta().summary;
            // About sixteen samples per part over all, so that a part is off by a sixteenth.
            let wanted = (summary.size.saturating_mul(parts * 16) / total).min(SAMPLES_MAX);
            let keys = match wanted {
                0 => Vec::new(),
                _ => tables.reader(table)?.split_keys(wanted as usize)?,
            };
            let piece = summary.size / (keys.len() as u64 + 1);
            samples.extend(keys.into_iter().map(|key| (key, piece)));
            samples.push((summary.largest.clone(), piece));
        }
        Ok(cut_evenly(samples, parts as usize))
    }

    /// Bytes of the inputs.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|(_, table)| table.meta().summary.size).sum()
    }

    /// The input tables of one level.
    pub(super) fn inputs_of(&self, level: Level) -> impl Iterator<Item = &Arc<TableHandle>> {
        self.inputs.iter().filter(move |(own, _)| *own == level).map(|(_, table)| table)
    }

    /// The edit that replaces the inputs by `outputs` (or moves the one input).
    pub fn edit(&self, keyspace: KeyspaceId, outputs: Vec<FileMeta>) -> VersionEdit {
        debug_assert!(!self.is_move || (outputs.is_empty() && self.inputs.len() == 1));
        let moved = self.inputs.iter().filter(|_| self.is_move).map(|(_, table)| table.meta().clone());
        let added = moved.chain(outputs).map(|meta| (keyspace, self.output, meta)).collect();
        let removed = self.inputs.iter().map(|(level, table)| (keyspace, *level, table.meta().number)).collect();
        VersionEdit { added, removed, ..VersionEdit::default() }
    }
}

/// At most `parts` ranges that together cover all keys. A sample (key, bytes) says that so many bytes lie before its
/// key and behind the sample before it in the same table.
pub(super) fn cut_evenly(mut samples: Vec<(Vec<u8>, u64)>, parts: usize) -> Vec<KeyRange> {
    samples.sort();
    let total: u64 = samples.iter().map(|sample| sample.1).sum();
    let mut ranges: Vec<KeyRange> = Vec::new();
    let mut from: Option<Vec<u8>> = None;
    let mut seen = 0u64;
    let last = samples.last().map(|sample| sample.0.clone());
    for (key, bytes) in samples {
        seen += bytes;
        let due = seen as u128 * parts as u128 >= total as u128 * (ranges.len() as u128 + 1);
        // A cut at the last key would leave a part with next to nothing.
        if due && ranges.len() + 1 < parts && from.as_ref() != Some(&key) && last.as_ref() != Some(&key) {
            ranges.push(KeyRange { from: from.take(), to: Some(key.clone()) });
            from = Some(key);
        }
    }
    ranges.push(KeyRange { from, to: None });
    ranges
}
