//! Runs one part of a plan: merge, drop what nobody can see, write tables.
//!
//! Invariants
//! - I1  No table ends between two versions of one user key, so levels stay disjoint by user key.
//! - I2  Every input version in the range is either written or hidden from all readers in `Retain`.
//!
//! Threads: parts of one plan run on different threads; each has its own cursors and outputs. Failure: every output
//! file of the part is removed.

use super::cutter::{Below, Cutter};
use super::score::Table;
use super::{JobEnv, KeyRange, PartOutput, Plan};
use crate::base::ids::{FileIdentity, FileNumber, Level};
use crate::base::iter::{Cursor, View};
use crate::base::key::{Entry, EntryKind, prefix_u64};
use crate::base::sync::{AtomicBool, Ordering};
use crate::error::{Code, Error, Result};
use crate::iter::level::LevelCursor;
use crate::iter::merge::{MergeCursor, Source};
use crate::iter::output::{TableOutput, remove_orphan, table_path};
use crate::iter::retain::RetainFilter;
use crate::sstable::ReadMode;
use crate::version::{FileMeta, TableHandle};
use std::sync::Arc;

/// Input bytes between two looks at the cancel flag.
const CANCEL_BYTES: u64 = 64 << 10;

/// Where the merged versions go: one table after another.
pub(super) trait Sink {
    /// Bytes in the open table, about; 0 when none is open.
    fn size(&self) -> u64;
    /// Appends to the open table; opens one if need be.
    fn add(&mut self, entry: Entry<'_>) -> Result<()>;
    /// Ends the open table, if one is.
    fn end_table(&mut self) -> Result<()>;
}

/// What decides over a merged version.
pub(super) struct Rules<'a, T> {
    pub(super) filter: RetainFilter,
    pub(super) cutter: Cutter<'a, T>,
    pub(super) below: Below<'a, T>,
}

/// Writes what lives of `cursor` within `range` to `sink`; the raw bytes read.
pub(super) fn merge<C: Cursor, T: Table, S: Sink>(
    cursor: &mut C,
    range: &KeyRange,
    rules: &mut Rules<'_, T>,
    sink: &mut S,
    cancel: &AtomicBool,
) -> Result<u64> {
    match &range.from {
        Some(from) => cursor.seek_ge(from)?,
        None => cursor.seek_first()?,
    }
    let end = range.to.as_deref();
    let end_code = end.map_or(u64::MAX, prefix_u64);
    let mut key: Vec<u8> = Vec::new();
    let mut started = false;
    // Whether a version of the current key has been written: from then on the table may not end.
    let mut key_written = false;
    let mut bytes_read = 0u64;
    let mut cancel_check = CANCEL_BYTES;
    while cursor.valid() {
        let entry = cursor.entry();
        let is_new_key = !started || entry.key != key.as_slice();
        if is_new_key {
            if prefix_u64(entry.key) >= end_code && end.is_some_and(|end| entry.key >= end) {
                break;
            }
            key.clear();
            key.extend_from_slice(entry.key);
            started = true;
            key_written = false;
        }
        bytes_read += (entry.key.len() + entry.value.len()) as u64;
        if bytes_read >= cancel_check {
            cancel_check = bytes_read + CANCEL_BYTES;
            // Relaxed: only asks to stop; nothing is read on the strength of it.
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::new(Code::Cancelled, "the compaction was cancelled"));
            }
        }
        let at_bottom = entry.kind == EntryKind::Delete
            && (crate::base::planted!("tombstone-dropped-early") || rules.below.is_bottom(entry.key));
        if rules.filter.keep_known(is_new_key, entry.seq, entry.kind, at_bottom) {
            if !key_written || crate::base::planted!("table-ends-inside-a-key") {
                if rules.cutter.cut_before(entry.key, sink.size()) {
                    sink.end_table()?;
                }
                key_written = true;
            }
            sink.add(entry)?;
        }
        cursor.next()?;
    }
    sink.end_table()?;
    Ok(bytes_read)
}

/// Tables in the database folder.
struct Tables<'a> {
    env: &'a JobEnv,
    next_number: &'a (dyn Fn() -> FileNumber + Sync),
    open: Option<TableOutput>,
    files: Vec<FileMeta>,
}

impl Sink for Tables<'_> {
    #[inline]
    fn size(&self) -> u64 {
        // An open table counts as something even before its first block.
        self.open.as_ref().map_or(0, |open| open.estimated_size().max(1))
    }

    #[inline]
    fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        if let Some(open) = &mut self.open {
            return open.add(entry);
        }
        let identity = FileIdentity { database: self.env.database, number: (self.next_number)() };
        let mut open = TableOutput::create(&self.env.fs, &self.env.dir, identity, self.env.table.clone())?;
        open.add(entry)?;
        self.open = Some(open);
        Ok(())
    }

    fn end_table(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.files.push(open.finish()?);
        }
        Ok(())
    }
}

impl Drop for Tables<'_> {
    /// What is still here was not handed over: the part failed.
    fn drop(&mut self) {
        for meta in &self.files {
            remove_orphan(&*self.env.fs, &table_path(&self.env.dir, meta.number));
        }
    }
}

pub(super) fn run_part(
    env: &JobEnv,
    plan: &Plan,
    range: &KeyRange,
    next_number: &(dyn Fn() -> FileNumber + Sync),
    cancel: &AtomicBool,
) -> Result<PartOutput> {
    debug_assert!(!plan.is_move, "a move has nothing to run");
    if cancel.load(Ordering::Relaxed) {
        // Relaxed: as in `merge`.
        return Err(Error::new(Code::Cancelled, "the compaction was cancelled"));
    }
    let output = usize::from(plan.output.0);
    let levels = plan.version.levels();
    let deeper = levels.get(output + 1..).unwrap_or(&[]);
    let grandparents = deeper.first().map_or(&[][..], |level| level.files());
    let mut rules = Rules {
        filter: env.retain.filter(),
        cutter: Cutter::new(grandparents, env.shape.table_bytes.max(1)),
        below: Below::new(deeper.iter().map(|level| level.files())),
    };
    let mut cursor = MergeCursor::new(sources(env, plan, range)?, View::All);
    let mut tables = Tables { env, next_number, open: None, files: Vec::new() };
    let raw_read = merge(&mut cursor, range, &mut rules, &mut tables, cancel)?;
    if !tables.files.is_empty() && !crate::base::planted!("compaction-name-unsynced") {
        env.fs.sync_dir(&env.dir)?;
    }
    let files = std::mem::take(&mut tables.files);
    let bytes_written = files.iter().map(|meta| meta.summary.size).sum();
    Ok(PartOutput { files, bytes_read: file_bytes(plan, raw_read), bytes_written })
}

/// The inputs that reach into `range`, newest first.
fn sources(env: &JobEnv, plan: &Plan, range: &KeyRange) -> Result<Vec<Source>> {
    let mode = ReadMode { no_fill_cache: true, ..ReadMode::default() };
    let touches = |table: &TableHandle| {
        let summary = &table.meta().summary;
        range.from.as_ref().is_none_or(|from| {
            summary.largest > *from || (summary.largest == *from && !crate::base::planted!("part-loses-its-first-key"))
        }) && range.to.as_ref().is_none_or(|to| summary.smallest < *to)
    };
    let mut sources = Vec::new();
    for table in plan.inputs_of(Level(0)).filter(|table| touches(table)) {
        sources.push(Source::Table(env.tables.reader(table)?.cursor(View::All, mode)));
    }
    for (level, files) in plan.version.levels().iter().enumerate().skip(1) {
        let mut inputs = plan.inputs_of(Level(level as u8)).filter(|table| touches(table));
        let Some(first) = inputs.next() else { continue };
        let start = files.find(&first.meta().summary.smallest);
        let end = start + 1 + inputs.count();
        debug_assert!(files.files().get(start).is_some_and(|table| Arc::ptr_eq(table, first)));
        let version = Arc::clone(&plan.version);
        let tables = Arc::clone(&env.tables);
        sources.push(Source::Level(LevelCursor::new(tables, version, level, start..end, View::All, mode)));
    }
    Ok(sources)
}

/// Raw bytes as the file bytes that they were read from, about.
fn file_bytes(plan: &Plan, raw: u64) -> u64 {
    let raw_total: u64 = plan.inputs.iter().map(|(_, table)| table.meta().summary.raw_bytes).sum();
    (u128::from(raw) * u128::from(plan.input_bytes()) / u128::from(raw_total.max(1))) as u64
}
