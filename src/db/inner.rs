//! What an open database is made of, and the one way a change to its tables is installed.
//!
//! Lock order: `rotate` < `install` < a keyspace's `mem` < leaves (`keyspaces`, `snapshots`, `status`, `pace`).

use super::background::Background;
use super::keyspaces::Keyspaces;
use super::options::{DbOptions, Options};
use super::snapshots::SnapshotList;
use super::stall::Stall;
use super::state::KeyspaceState;
use super::stats::Stats;
use super::status::Status;
use super::write::{LogBound, WriteLog};
use crate::base::epoch::Retired;
use crate::base::ids::{FileNumber, KeyspaceId, SeqNo};
use crate::base::log_sink::Logger;
use crate::base::sync::Mutex;
use crate::cache::Cache;
use crate::error::Result;
use crate::fs::{Fs, Lock};
use crate::version::{TableCache, VersionEdit, VersionSet};
use std::path::PathBuf;
use std::sync::Arc;

/// An open database.
pub struct DbInner {
    /// The folder, absolute.
    pub path: PathBuf,
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The database's identity.
    pub database: u128,
    /// Its settings.
    pub options: DbOptions,
    /// What was given explicitly, now or before: the defaults of its keyspaces.
    pub open_options: Options,
    /// Where notes go.
    pub logger: Logger,
    /// What waits for pinned readers.
    pub retired: Arc<Retired>,
    /// Blocks.
    pub cache: Arc<Cache>,
    /// Open tables.
    pub tables: Arc<TableCache>,
    /// So many bytes of tables have room in memory, cached by the system.
    pub page_bytes_max: u64,
    /// The manifest.
    pub versions: VersionSet,
    /// The log and the way into the memtables.
    pub log: WriteLog,
    /// Live snapshots.
    pub snapshots: SnapshotList,
    /// Open keyspaces.
    pub keyspaces: Keyspaces,
    /// The keyspace `default`.
    pub default_keyspace: Arc<KeyspaceState>,
    /// Counters.
    pub stats: Stats,
    /// Closed, read-only, latched.
    pub status: Status,
    /// The writers' brake.
    pub stall: Stall,
    /// Threads and their signals.
    pub background: Background,
    /// One change of tables at a time: manifest first, then SuperVersions.
    pub install: Mutex<()>,
    /// Creating and dropping keyspaces, one at a time.
    pub schema: Mutex<()>,
    /// The folder's lock, until close.
    pub lock: Mutex<Option<Box<dyn Lock>>>,
}

impl DbInner {
    /// Logs an edit and publishes the versions that it makes.
    pub fn install(&self, edit: VersionEdit) -> Result<()> {
        self.install_flush(edit, &[], None)
    }

    /// The same; of every keyspace in `flushed` so many of the oldest sealed memtables leave in the step in which their
    /// table enters. `bound` says which segments nobody needs once that is done.
    pub fn install_flush(
        &self,
        mut edit: VersionEdit,
        flushed: &[(KeyspaceId, usize)],
        bound: Option<LogBound>,
    ) -> Result<()> {
        let _order = (!crate::base::planted!("install-lock-not-taken")).then(|| self.install.lock());
        if let Some(&(_, last)) = edit.flushed.first() {
            self.raise_flushed(&mut edit, last, |k| k.oldest_segment().is_none());
        }
        edit.first_segment = edit.first_segment.or(bound.map(|b| b.first_segment));
        edit.segment_started = edit.segment_started.or(bound.filter(|b| b.is_there).map(|b| b.first_segment));
        if let Some(base) = bound.and_then(|b| b.base) {
            self.raise_flushed(&mut edit, SeqNo(base.0 - 1), |_| true);
        }
        let dropped = edit.dropped.clone();
        let versions = self.versions.log_and_apply(edit)?;
        if self.status.is_in_doubt() {
            // A manifest is in force that says what holds.
            self.status.set_in_doubt(None);
        }
        for keyspace in self.keyspaces.all() {
            let version = versions.iter().find(|(id, _)| *id == keyspace.id).map(|(_, v)| Arc::clone(v));
            let count = flushed.iter().find(|(id, _)| *id == keyspace.id).map_or(0, |(_, count)| *count);
            if dropped.contains(&keyspace.id) || (version.is_none() && count == 0) {
                continue;
            }
            let mut mem = keyspace.mem.lock();
            mem.sealed.drain(..count);
            keyspace.publish(&mem, version, &self.retired);
        }
        Ok(())
    }

    /// Adds to `edit` that the keyspaces that `holds` is true of have all up to `last` in tables as well: those without
    /// memtables, and all of them below the first segment that is needed. The manifest says so, or a replay could not
    /// tell entries that are in tables from lost ones. Called under `install`.
    fn raise_flushed(&self, edit: &mut VersionEdit, last: SeqNo, holds: impl Fn(&KeyspaceState) -> bool) {
        let behind: Vec<_> = self
            .versions
            .keyspaces()
            .into_iter()
            .filter(|record| {
                let is_there = edit.flushed.iter().any(|(id, to)| *id == record.id && *to >= last);
                !is_there
                    && record.flushed_seq < last
                    && self
                        .keyspaces
                        .by_id(record.id)
                        .is_some_and(|k| holds(&k) || crate::base::planted!("flushed-claimed-for-all"))
            })
            .map(|record| (record.id, last))
            .collect();
        edit.flushed.extend(behind);
    }

    /// Whether the keyspace is in the manifest no more.
    pub fn is_gone(&self, id: KeyspaceId) -> bool {
        !self.versions.keyspaces().iter().any(|record| record.id == id)
    }

    /// The first log segment that any keyspace needs once so many of the oldest memtables of those in `flushed` are in
    /// tables.
    pub fn oldest_segment_after(&self, flushed: &[(KeyspaceId, usize)]) -> Option<FileNumber> {
        self.keyspaces
            .all()
            .iter()
            .filter_map(|keyspace| {
                let mem = keyspace.mem.lock();
                let skip = flushed.iter().find(|(id, _)| *id == keyspace.id).map_or(0, |(_, count)| *count);
                mem.sealed.iter().skip(skip).chain(&mem.active).next().map(|m| m.first_segment)
            })
            .min()
    }

    /// Whether a read that misses is to have its surroundings read as well: when all tables together take at most half of
    /// the memory. In a larger database they would only push each other out.
    pub fn reads_around(&self) -> bool {
        self.versions.table_bytes() <= self.page_bytes_max
    }

    /// Bytes of all memtables.
    pub fn memtable_bytes(&self) -> u64 {
        self.keyspaces
            .all()
            .iter()
            .map(|k| {
                let mem = k.mem.lock();
                mem.sealed.iter().chain(&mem.active).map(|m| m.table.bytes() as u64).sum::<u64>()
            })
            .sum()
    }

    /// Everything up to here is in tables of every keyspace; the last visible one when nothing waits in memory.
    pub fn flushed_seq(&self) -> SeqNo {
        let visible = self.log.visible();
        let in_memory = self.keyspaces.all().iter().any(|k| k.oldest_segment().is_some());
        if in_memory { SeqNo::ZERO } else { visible }
    }
}
