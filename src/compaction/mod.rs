//! L5: merges tables down the levels. `score` and `pick` are pure over a `Version`; jobs never see the database.
//!
//! Protocol for the caller:
//! - `pick` and `pick_range` run under the lock under which new versions are published, on the current version.
//! - A plan is dropped (which gives its claims up) only after its edit is applied and the new version published, or
//!   after it was given up. A dropped plan is picked again as it was.
//! - `Retain` is taken when the job starts, after the pick, not before.
//! - A move has nothing to run: `plan.edit(keyspace, Vec::new())`.
//! - Otherwise `split` into parts, `run_part` each, on any threads; the outputs of all parts in order make the edit.
//!   If one part fails, the caller removes the outputs of the others (`discard`).
//!
//! Threads: plans and parts may be used from any thread. Failure: a failed part leaves no output file behind, inputs
//! are never touched.

mod cutter;
mod job;
mod manual;
mod pick;
mod plan;
mod score;

use crate::base::ids::{FileNumber, Level};
use crate::base::sync::AtomicBool;
use crate::error::Result;
use crate::fs::Fs;
use crate::iter::retain::Retain;
use crate::sstable::TableConfig;
use crate::version::{FileMeta, TableCache, TableHandle, Version};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The shape of the tree.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Level-0 tables that start a compaction.
    pub level0_trigger: usize,
    /// Target bytes of the first non-empty level below 0.
    pub base_bytes: u64,
    /// How much larger each next level may be.
    pub size_ratio: u64,
    /// Levels in use, level 0 included.
    pub level_count: usize,
    /// Target bytes of a table.
    pub table_bytes: u64,
    /// Most input tables of one job; 0: no limit. A job that cannot be smaller is larger all the same.
    pub tables_per_job_max: usize,
}

/// A range of user keys, `from` inclusive, `to` exclusive; `None` is unbounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub from: Option<Vec<u8>>,
    /// First key behind.
    pub to: Option<Vec<u8>>,
}

/// A compaction that was decided on; holds claims on its inputs, given up when it is dropped.
pub struct Plan {
    /// The version it was picked from.
    pub version: Arc<Version>,
    /// Input tables with their levels, upper level first.
    pub inputs: Vec<(Level, Arc<TableHandle>)>,
    /// Where the output goes.
    pub output: Level,
    /// Whether the single input just changes its level.
    pub is_move: bool,
    /// For a manual compaction: what `pick_range` is to be asked for once this one is done; `None`: nothing.
    pub rest: Option<(KeyRange, Level)>,
}

/// How much each level wants a compaction; 1.0 and above is due. Index = level.
pub fn scores(version: &Version, shape: &Shape) -> Vec<f64> {
    plan::scores(version, shape)
}

/// Bytes that compactions have to move until no level is due.
pub fn pending_bytes(version: &Version, shape: &Shape) -> u64 {
    plan::pending_bytes(version, shape)
}

/// How much the levels between 0 and the bottom hold above their targets; 1.0: as much as writers may let it grow to.
pub fn excess(version: &Version, shape: &Shape) -> f64 {
    plan::excess(version, shape)
}

/// The best job that is due and whose tables are free, claimed; `None` when there is none.
pub fn pick(version: &Arc<Version>, shape: &Shape) -> Option<Plan> {
    plan::pick(version, shape)
}

/// For a manual compaction: the next job for tables of `level` and below that overlap `range`. `Ok(None)`: done.
/// `Err(())`: a table needed is claimed, try later.
///
/// Start with the range and `Level(0)`; after each finished plan go on with its `rest` until that is `None`. The whole
/// range is then in the bottom-most level that holds data, every table of it rewritten once (deletes and shadowed
/// versions dropped), except for what arrived meanwhile.
#[expect(clippy::result_unit_err, reason = "busy is the one way to fail")]
pub fn pick_range(
    version: &Arc<Version>,
    shape: &Shape,
    range: &KeyRange,
    level: Level,
) -> std::result::Result<Option<Plan>, ()> {
    plan::pick_range(version, shape, range, level)
}

/// What a job needs.
pub struct JobEnv {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The database folder.
    pub dir: PathBuf,
    /// The database's identity.
    pub database: u128,
    /// Opens input tables.
    pub tables: Arc<TableCache>,
    /// How output tables are written.
    pub table: TableConfig,
    /// The shape.
    pub shape: Shape,
    /// What readers may still ask for.
    pub retain: Retain,
}

/// What one part of a job did.
#[derive(Debug, Default)]
pub struct PartOutput {
    /// Tables written, in key order.
    pub files: Vec<FileMeta>,
    /// Bytes of input read.
    pub bytes_read: u64,
    /// Bytes of tables written.
    pub bytes_written: u64,
}

/// Merges one range of a plan into tables, synced; the folder is synced once. `next_number` draws file numbers.
/// When `cancel` turns true it stops soon with `Code::Cancelled`. On an error no output file remains.
pub fn run_part(
    env: &JobEnv,
    plan: &Plan,
    range: &KeyRange,
    next_number: &(dyn Fn() -> FileNumber + Sync),
    cancel: &AtomicBool,
) -> Result<PartOutput> {
    job::run_part(env, plan, range, next_number, cancel)
}

/// Removes outputs that no edit will name, as when another part of the job failed.
pub fn discard(fs: &dyn Fs, dir: &Path, outputs: &[FileMeta]) {
    for meta in outputs {
        crate::iter::output::remove_orphan(fs, &crate::iter::output::table_path(dir, meta.number));
    }
}

#[cfg(test)]
mod tests;
