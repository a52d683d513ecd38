//! The state in force: edits are logged, synced, then applied, one at a time.
//!
//! Invariants
//! - I1  An edit is applied in memory only after it is durable in the manifest that a durable `CURRENT` names.
//! - I2  A manifest that an append or sync failed on, that a clean close ended, or that an earlier process wrote, is never
//!   appended to: the next edit starts a new manifest with a snapshot of the state in force, then that edit.
//! - I3  Order for a new manifest: its bytes synced, the folder synced, CURRENT.tmp synced, renamed to CURRENT, the folder
//!   synced. Older manifests are removed only after that.
//! - I4  Files that a failed edit names are nobody's to delete until a new manifest is in force: a crash before that may
//!   recover with the edit or without it, and both must find their files.
//! - I5  A change of keyspaces or options is vouched for by `CURRENT` too: no table and no log segment would be missed by
//!   somebody who reads a manifest that was cut before it.
//!
//! What a caller owes
//! - After a failed `log_and_apply` the manifest on disk may or may not hold the edit. Stop acknowledging writes until
//!   another `log_and_apply` succeeds (an empty edit will do; it writes a new manifest). Delete neither the tables the edit
//!   added nor log segments: the set keeps the table numbers and hands them out by `take_obsolete` when they are free, also
//!   for an edit refused as `Invalid` (of which nothing was written).
//! - After `recover`, while `is_durable()` is false, log an edit (an empty one will do) before serving reads, removing any
//!   file or reusing any number: the tail that was read may not be on the device.
//! - Keyspace ids come from `next_keyspace_id`, file numbers from `next_file_number`.
//!
//! Threads: any. Lock order: `log`, then `drawn` or `state` (both short, no I/O under them).
//! Failure: the error of the call; the state in force stays as it was.

use super::current::{Current, StoreError};
use super::draft::{Draft, Fault, Outcome, State};
use super::edit::{EditRecord, VersionEdit};
use super::manifest::{Extent, HEADER_BYTES, RECORD_BYTES, Writer};
use super::meta::{FILE_NUMBER_END, ObsoleteQueue};
use super::recover::{self, Recovered};
use super::tree::{KeyspaceRecord, LogState, Version};
use crate::base::ids::{FileIdentity, FileNumber, KeyspaceId};
use crate::base::log_sink::{LogLevel, Logger};
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use crate::fs::names::{self, FileKind};
use crate::fs::{Fs, OpenMode};
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of keyspace 0.
const DEFAULT_NAME: &[u8] = b"default";
/// A manifest is rotated when it has grown by this much, or by the size of its snapshot if that is more.
const ROTATE_BYTES: u64 = 4 << 20;

/// What `VersionSet` needs to work.
#[derive(Clone)]
pub struct VersionSetConfig {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The database folder.
    pub dir: PathBuf,
    /// Whether nothing may be written.
    pub read_only: bool,
    /// Where notes go.
    pub logger: Logger,
}

/// Keyspace ids of this process.
struct Drawn {
    next: u32,
    /// Drawn, but not logged yet.
    open: BTreeSet<u32>,
}

/// The manifest being written.
struct Log {
    /// `None`: the next edit starts a new manifest (I2).
    writer: Option<Writer>,
    /// Whether the state in force is known to be on the device.
    is_durable: bool,
    /// Length at which the manifest is rotated.
    rotate_at: u64,
    /// Manifests to remove once one is in force that replaces them.
    stale: Vec<FileNumber>,
    /// Tables that failed edits added (I4).
    suspects: Vec<FileNumber>,
}

/// The manifest and the current versions.
pub struct VersionSet {
    config: VersionSetConfig,
    database: u128,
    queue: Arc<ObsoleteQueue>,
    rotate_bytes: u64,
    /// Relaxed: only uniqueness matters; who logs a number got it from its drawer.
    next_file: AtomicU64,
    /// Stored under `log`. Relaxed: for display and for the removal of other manifests.
    manifest: AtomicU64,
    drawn: Mutex<Drawn>,
    state: Mutex<Arc<State>>,
    /// Bytes of all tables of the state in force. Relaxed: a figure.
    table_bytes: AtomicU64,
    log: Mutex<Log>,
}

impl VersionSet {
    /// Whether `dir` holds a database. A folder with tables, logs or a used manifest but no `CURRENT` is `Corruption`.
    pub fn exists(fs: &dyn Fs, dir: &Path) -> Result<bool> {
        recover::exists(fs, dir, created_bytes())
    }

    /// Makes a new database: random identity, first manifest, `CURRENT`, the default keyspace; all durable. The folder
    /// must exist. What an interrupted creation left is replaced.
    pub fn create(config: VersionSetConfig) -> Result<VersionSet> {
        if config.read_only {
            return Err(Error::new(Code::ReadOnly, format!("{}: cannot create read-only", config.dir.display())));
        }
        if VersionSet::exists(config.fs.as_ref(), &config.dir)? {
            return Err(Error::new(Code::Exists, format!("{}: the database exists", config.dir.display())));
        }
        let leftover = names::path(&config.dir, FileKind::Manifest, FileNumber(1));
        if config.fs.metadata(&leftover)?.is_some() {
            config.fs.remove(&leftover)?;
        }
        let set = VersionSet::new(config, random_identity(), first_state(), 1, FileNumber(0), false);
        {
            let mut log = set.log.lock();
            let state = set.current_state();
            set.install(&mut log, &state, None).map_err(store_error)?;
            log.is_durable = true;
        }
        Ok(set)
    }

    /// Reads `CURRENT` and the manifest, checks that every table is there with its exact size. Writes nothing, but makes
    /// the names in the folder durable; the first edit starts a new manifest.
    pub fn recover(config: VersionSetConfig) -> Result<VersionSet> {
        let queue = Arc::new(ObsoleteQueue::default());
        let found = recover::recover(config.fs.as_ref(), &config.dir, &queue)?;
        let Recovered { current, state, next_file, stale, torn, is_clean } = found;
        if let Some(torn) = torn {
            config.logger.log(LogLevel::Warn, &torn);
        }
        if !config.read_only && !is_clean {
            // CURRENT may have its name in the page cache only (its writer died before the folder was synced). Made durable
            // before a newer manifest is: that one without CURRENT would pass for a database that lost it.
            match config.fs.sync_dir(&config.dir) {
                Err(e) if e.code() == Code::NoSpace => {}
                other => other?,
            }
        }
        let FileIdentity { database, number } = current.manifest;
        let mut set = VersionSet::new(config, database, state, next_file, number, is_clean);
        set.queue = queue;
        set.log.get_mut().stale = stale;
        Ok(set)
    }

    fn new(
        config: VersionSetConfig,
        database: u128,
        state: State,
        next_file: u64,
        manifest: FileNumber,
        is_durable: bool,
    ) -> VersionSet {
        VersionSet {
            config,
            database,
            queue: Arc::new(ObsoleteQueue::default()),
            rotate_bytes: ROTATE_BYTES,
            next_file: AtomicU64::new(next_file),
            manifest: AtomicU64::new(manifest.0),
            drawn: Mutex::new(Drawn { next: state.next_keyspace, open: BTreeSet::new() }),
            table_bytes: AtomicU64::new(state.table_bytes()),
            state: Mutex::new(Arc::new(state)),
            log: Mutex::new(Log { writer: None, is_durable, rotate_at: 0, stale: Vec::new(), suspects: Vec::new() }),
        }
    }

    /// Makes the manifest rotate when it is longer than `bytes`.
    #[cfg(test)]
    pub(super) fn rotate_after(&mut self, bytes: u64) {
        self.rotate_bytes = bytes;
        self.log.get_mut().rotate_at = bytes;
    }

    pub(super) fn current_state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock())
    }

    fn note(&self, level: LogLevel, text: &str) {
        self.config.logger.log(level, text);
    }

    /// The database's identity.
    pub fn database(&self) -> u128 {
        self.database
    }

    /// Draws the next file number.
    pub fn next_file_number(&self) -> FileNumber {
        FileNumber(self.next_file.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes sure that numbers drawn from now on are above `number` (unless no file of ours can have that number).
    pub fn raise_file_number(&self, number: FileNumber) {
        if number.0 < FILE_NUMBER_END {
            self.next_file.fetch_max(number.0 + 1, Ordering::Relaxed);
        }
    }

    /// Draws the next keyspace id; never reused once its creation was logged.
    pub fn next_keyspace_id(&self) -> KeyspaceId {
        let mut drawn = self.drawn.lock();
        let id = drawn.next;
        drawn.next = drawn.next.saturating_add(1);
        drawn.open.insert(id);
        KeyspaceId(id)
    }

    /// The first keyspace id that was never used (logged).
    pub fn keyspace_id_end(&self) -> KeyspaceId {
        KeyspaceId(self.state.lock().next_keyspace)
    }

    /// Logs `edit`, syncs it, applies it, and answers the versions that are new (created keyspaces included). One at a
    /// time; does I/O. `Invalid`: the edit does not fit the state, nothing was written. Any other error: the edit may be
    /// on disk, the state in force is as it was, and the next call starts a new manifest; see the head of this file.
    /// With `clean_end`, `CURRENT` states the manifest's exact length afterwards.
    pub fn log_and_apply(&self, edit: VersionEdit) -> Result<Vec<(KeyspaceId, Arc<Version>)>> {
        if self.config.read_only {
            return Err(Error::new(Code::ReadOnly, format!("{}: is open read-only", self.config.dir.display())));
        }
        let mut log = self.log.lock();
        let old = self.current_state();
        if edit.is_empty() && log.writer.is_some() && old.log.clean_end.is_none() {
            return Ok(Vec::new());
        }
        let outcome = match self.check(&old, &edit) {
            Ok(outcome) => outcome,
            Err(fault) => {
                self.release(
                    edit.added.iter().filter(|a| !edit.removed.iter().any(|r| r.2 == a.2.number)).map(|a| a.2.number),
                );
                return Err(Error::invalid(fault));
            }
        };
        let written = self.write(&mut log, &old, &edit, outcome.state.next_keyspace);
        if let Err(e) = if crate::base::planted!("failed-edit-applied") { Ok(()) } else { written } {
            log.is_durable = false;
            log.suspects.extend(edit.added.iter().map(|a| a.2.number));
            self.note(LogLevel::Error, &format!("a change of the manifest failed: {e}"));
            return Err(e);
        }
        log.is_durable = true;
        let Outcome { state, changed, gone } = outcome;
        // Before the versions that name them go, or their numbers would never be queued.
        gone.iter().for_each(|table| table.mark_obsolete());
        if crate::base::planted!("table-removed-while-read") {
            gone.iter().for_each(|table| self.queue.push(table.meta().number));
        }
        self.table_bytes.store(state.table_bytes(), Ordering::Relaxed);
        *self.state.lock() = Arc::new(state);
        let mut drawn = self.drawn.lock();
        edit.created.iter().for_each(|(id, ..)| {
            drawn.open.remove(&id.0);
        });
        drop(drawn);
        // A failure took the writer away, so this success is a new manifest in force: no crash can bring a failed edit back.
        self.release(std::mem::take(&mut log.suspects).into_iter());
        self.remove_stale(&mut log);
        Ok(changed)
    }

    /// Removes manifests that are not in force; called only when it is known which one is. Best effort: they harm nobody,
    /// and the next edit tries again.
    fn remove_stale(&self, log: &mut Log) {
        let fs = self.config.fs.as_ref();
        log.stale.retain(|&number| {
            let path = names::path(&self.config.dir, FileKind::Manifest, number);
            fs.remove(&path).is_err() && !matches!(fs.metadata(&path), Ok(None))
        });
    }

    /// What the state would be with `edit`.
    fn check(&self, old: &State, edit: &VersionEdit) -> std::result::Result<Outcome, Fault> {
        let next_file = self.next_file.load(Ordering::Relaxed);
        if let Some(meta) = edit.added.iter().map(|(_, _, m)| m).find(|m| m.number.0 >= next_file) {
            return Err(format!("table {} has a number that was not drawn", meta.number));
        }
        {
            let drawn = self.drawn.lock();
            if let Some((id, ..)) = edit.created.iter().find(|(id, ..)| !drawn.open.contains(&id.0)) {
                return Err(format!("keyspace id {id} was not drawn or is used up"));
            }
        }
        let mut draft = Draft::new(old, &self.queue);
        draft.apply(edit.clone())?;
        draft.finish()
    }

    /// Queues those of `numbers` that no keyspace has.
    fn release(&self, numbers: impl Iterator<Item = FileNumber>) {
        let mut numbers: BTreeSet<FileNumber> = numbers.collect();
        if numbers.is_empty() {
            return;
        }
        let state = self.current_state();
        state.tables().for_each(|table| {
            numbers.remove(&table.meta().number);
        });
        numbers.into_iter().for_each(|number| self.queue.push(number));
    }

    fn record(&self, edit: &VersionEdit, next_keyspace: u32) -> EditRecord {
        let next_file = FileNumber(self.next_file.load(Ordering::Relaxed));
        EditRecord { edit: edit.clone(), next_file: Some(next_file), next_keyspace: Some(next_keyspace) }
    }

    /// Makes `edit` durable: appended to the manifest, or in a new one.
    fn write(&self, log: &mut Log, old: &State, edit: &VersionEdit, next_keyspace: u32) -> Result<()> {
        if let Some(len) = log.writer.as_ref().map(Writer::len)
            && len > log.rotate_at
        {
            match self.install(log, old, Some((edit, next_keyspace))) {
                Ok(()) => return Ok(()),
                Err(StoreError::Unchanged(e)) => {
                    // The manifest in force is as good as before: go on with it, and try again later.
                    self.note(LogLevel::Warn, &format!("the manifest was not rotated: {e}"));
                    log.rotate_at = len.saturating_add(self.rotate_bytes);
                }
                Err(e) => return Err(store_error(e)),
            }
        }
        // Taken out: unless everything works, it is not put back (I2).
        let Some(mut writer) = log.writer.take() else {
            return self.install(log, old, Some((edit, next_keyspace))).map_err(store_error);
        };
        writer.unit(false, &self.record(edit, next_keyspace).encode())?;
        writer.sync()?;
        if edit.clean_end.is_some() {
            let manifest = self.identity(writer.number());
            let current = Current { manifest, extent: Extent::Exactly(writer.len()) };
            return current.store(self.config.fs.as_ref(), &self.config.dir).map_err(store_error);
        }
        let is_vouched = !changes_schema(edit) || self.vouch(&writer);
        match writer.mark() {
            Ok(()) if is_vouched => log.writer = Some(writer),
            Ok(()) => {}
            // The edit is durable all the same; only the next one needs a new manifest.
            Err(e) => self.note(LogLevel::Warn, &format!("a mark in the manifest was not written: {e}")),
        }
        Ok(())
    }

    /// Lets `CURRENT` vouch for what was synced (I5). Best effort: the edit is durable without it. After a failure that may
    /// have touched `CURRENT` (the answer is false) the next edit starts a new manifest.
    fn vouch(&self, writer: &Writer) -> bool {
        if crate::base::planted!("schema-not-vouched") {
            return true;
        }
        let current = Current { manifest: self.identity(writer.number()), extent: Extent::AtLeast(writer.len()) };
        let stored = current.store(self.config.fs.as_ref(), &self.config.dir);
        if let Err(StoreError::Unchanged(e) | StoreError::InDoubt(e)) = &stored {
            self.note(LogLevel::Warn, &format!("CURRENT does not vouch for the last change: {e}"));
        }
        !matches!(stored, Err(StoreError::InDoubt(_)))
    }

    /// Puts a new manifest in force: a snapshot of `old`, then the edit. After `Unchanged` the old one is in force and
    /// `log.writer` still good; after `InDoubt` there is no writer.
    fn install(
        &self,
        log: &mut Log,
        old: &State,
        edit: Option<(&VersionEdit, u32)>,
    ) -> std::result::Result<(), StoreError> {
        let fs = self.config.fs.as_ref();
        let manifest = self.identity(self.next_file_number());
        let path = names::path(&self.config.dir, FileKind::Manifest, manifest.number);
        let record = edit.map(|(edit, next_keyspace)| self.record(edit, next_keyspace));
        let next_file = FileNumber(self.next_file.load(Ordering::Relaxed));
        let is_closing = edit.is_some_and(|(edit, _)| edit.clean_end.is_some());
        let installed = write_manifest(fs, &self.config.dir, manifest, &old.encode_snapshot(next_file), record)
            .map_err(StoreError::Unchanged)
            .and_then(|written| {
                let len = written.writer.len();
                let extent = if is_closing { Extent::Exactly(len) } else { Extent::AtLeast(len) };
                Current { manifest, extent }.store(fs, &self.config.dir).map(|()| written)
            });
        let Written { writer, snapshot_len } = match installed {
            Ok(written) => written,
            Err(StoreError::Unchanged(e)) => {
                if fs.remove(&path).is_err() {
                    log.stale.push(manifest.number);
                }
                return Err(StoreError::Unchanged(e));
            }
            Err(StoreError::InDoubt(e)) => {
                log.stale.push(manifest.number);
                log.writer = None;
                return Err(StoreError::InDoubt(e));
            }
        };
        log.rotate_at = writer.len().saturating_add(snapshot_len.max(self.rotate_bytes));
        log.writer = if is_closing { None } else { Some(writer) };
        let before = self.manifest.swap(manifest.number.0, Ordering::Relaxed);
        if before != 0 {
            log.stale.push(FileNumber(before));
        }
        Ok(())
    }

    /// Writes a manifest and a `CURRENT` into the empty folder `dir`, durably, that describe `keyspaces` and `log` as a
    /// database of the same identity: for checkpoints, whose tables keep their numbers. With `log.clean_end` it looks
    /// cleanly closed.
    pub fn write_copy(&self, dir: &Path, keyspaces: &[KeyspaceRecord], log: LogState) -> Result<()> {
        let from = self.current_state();
        let state = State {
            options: from.options.clone(),
            next_keyspace: from.next_keyspace,
            log,
            keyspaces: keyspaces.iter().map(|k| (k.id, Arc::new(k.clone()))).collect(),
        };
        let manifest = self.identity(self.next_file_number());
        let next_file = FileNumber(self.next_file.load(Ordering::Relaxed));
        let fs = self.config.fs.as_ref();
        let Written { writer, .. } = write_manifest(fs, dir, manifest, &state.encode_snapshot(next_file), None)?;
        let extent =
            if log.clean_end.is_some() { Extent::Exactly(writer.len()) } else { Extent::AtLeast(writer.len()) };
        Current { manifest, extent }.store(fs, dir).map_err(store_error)
    }

    /// Reads `CURRENT` and the manifest again, checks every byte of them, and that they say what is in force. Answers how
    /// many bytes that were.
    pub fn verify_manifest(&self) -> Result<u64> {
        let log = self.log.lock();
        let fs = self.config.fs.as_ref();
        let current = Current::load(fs, &self.config.dir)?;
        let path = names::path(&self.config.dir, FileKind::Manifest, current.manifest.number);
        let queue = Arc::new(ObsoleteQueue::default());
        let found = recover::load(fs, &self.config.dir, current, &queue)?;
        // A tail that a crash tore may stand there until the first edit, and a failed edit until the next.
        if !log.is_durable || self.config.read_only {
            return Ok(fs.metadata(&path)?.map_or(0, |m| m.len));
        }
        let number = FileNumber(0);
        let is_same = found.state.encode_snapshot(number) == self.current_state().encode_snapshot(number);
        if current.manifest.database != self.database || found.torn.is_some() || !is_same {
            let why = found.torn.unwrap_or_else(|| "what it says is not what is in force".to_owned());
            return Err(Error::corruption(format!("{}: {why}", path.display())));
        }
        Ok(fs.metadata(&path)?.map_or(0, |m| m.len))
    }

    /// Whether the state in force is known to be on the device, in a manifest in force. False after the recovery of a
    /// database that was not closed cleanly, and after a failed edit, until an edit succeeds.
    pub fn is_durable(&self) -> bool {
        self.log.lock().is_durable
    }

    /// All keyspaces.
    pub fn keyspaces(&self) -> Vec<KeyspaceRecord> {
        self.current_state().keyspaces.values().map(|k| KeyspaceRecord::clone(k)).collect()
    }

    /// The database's persisted options.
    pub fn options(&self) -> String {
        self.current_state().options.clone()
    }

    /// What the manifest knows of the log: first segment, segment started, clean end, last sequence number.
    pub fn log_state(&self) -> LogState {
        self.state.lock().log
    }

    /// Files that no version names any more, drained; to be removed. A number whose removal failed is the caller's to
    /// remember (or the next open's: it is an orphan then).
    pub fn take_obsolete(&self) -> Vec<FileNumber> {
        self.queue.take()
    }

    /// Bytes of all tables that the state in force names.
    pub fn table_bytes(&self) -> u64 {
        self.table_bytes.load(Ordering::Relaxed)
    }

    /// Every table number that the state in force names (for the removal of orphans at open, before any job runs).
    pub fn live_tables(&self) -> Vec<FileNumber> {
        self.current_state().tables().map(|table| table.meta().number).collect()
    }

    /// The number of the manifest in use.
    pub fn manifest_number(&self) -> FileNumber {
        FileNumber(self.manifest.load(Ordering::Relaxed))
    }

    /// The identity of table `number` in this database.
    pub fn identity(&self, number: FileNumber) -> FileIdentity {
        FileIdentity { database: self.database, number }
    }
}

pub(super) struct Written {
    pub writer: Writer,
    snapshot_len: u64,
}

/// Writes a manifest into `dir`, durable with its name.
pub(super) fn write_manifest(
    fs: &dyn Fs,
    dir: &Path,
    manifest: FileIdentity,
    snapshot: &[Vec<u8>],
    record: Option<EditRecord>,
) -> Result<Written> {
    let file = fs.open(&names::path(dir, FileKind::Manifest, manifest.number), OpenMode::CreateNew)?;
    let mut writer = Writer::new(file, manifest);
    writer.unit(true, snapshot)?;
    let snapshot_len = writer.len();
    if let Some(record) = record {
        writer.unit(false, &record.encode())?;
    }
    writer.sync()?;
    if !crate::base::planted!("manifest-name-unsynced") {
        fs.sync_dir(dir)?;
    }
    Ok(Written { writer, snapshot_len })
}

/// Whether only the manifest can tell that `edit` was made.
fn changes_schema(edit: &VersionEdit) -> bool {
    !(edit.created.is_empty() && edit.dropped.is_empty() && edit.options.is_empty())
}

fn store_error(e: StoreError) -> Error {
    match e {
        StoreError::Unchanged(e) | StoreError::InDoubt(e) => e,
    }
}

/// What a new database holds: the default keyspace.
fn first_state() -> State {
    let record = KeyspaceRecord {
        id: KeyspaceId::DEFAULT,
        name: DEFAULT_NAME.to_vec(),
        options: String::new(),
        flushed_seq: Default::default(),
        version: Version::empty(),
    };
    State { next_keyspace: 1, keyspaces: [(KeyspaceId::DEFAULT, Arc::new(record))].into(), ..State::default() }
}

/// How long the manifest of a new database is.
fn created_bytes() -> u64 {
    let parts = first_state().encode_snapshot(FileNumber(2));
    (HEADER_BYTES + parts.iter().map(|p| RECORD_BYTES + p.len()).sum::<usize>()) as u64
}

/// 128 bits that no other database has. The standard library seeds its hash keys with 128 bits from the operating system;
/// process id and time are hashed in for the sake of forked children, which inherit the keys.
fn random_identity() -> u128 {
    let seed = (std::process::id(), crate::base::clock::unix_micros(), crate::base::clock::now());
    let half = |salt: u8| u128::from(std::hash::RandomState::new().hash_one((salt, seed)));
    (half(1) << 64 | half(2)).max(1)
}
