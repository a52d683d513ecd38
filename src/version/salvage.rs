//! What `CURRENT` and manifests still say of a damaged folder, and a new manifest in their place; for repairs.
//!
//! Invariants
//! - I1  `remains` writes nothing. It is exact only if the manifest in force is known and sound as a whole: then its state is
//!   the database's. Otherwise it is a guess from every edit that is left: names, options and bounds that only grow.
//! - I2  Without `CURRENT` a manifest counts as the one in force only if nothing in the folder speaks against it: it is the
//!   newest, sound to its end, and the tables in the folder are the ones it names.
//! - I3  `rebuild` checks the new state as an open would, and puts it in force in the order of `set`: manifest synced, folder
//!   synced, `CURRENT` replaced. A crash leaves the old state or the new one.
//!
//! Threads: one, under the folder's lock. Failure: files of a newer version are refused; damage is an answer.

use super::current::{Current, StoreError, read_whole};
use super::draft::{Draft, State};
use super::edit::{EditRecord, VersionEdit};
use super::manifest::{self, Extent, HEADER_BYTES};
use super::meta::{FILE_NUMBER_END, FileMeta, ObsoleteQueue};
use super::recover;
use super::set::write_manifest;
use super::tree::LogState;
use crate::base::ids::{FileIdentity, FileNumber, KeyspaceId, Level, SeqNo};
use crate::error::{Code, Error, Result};
use crate::fs::Fs;
use crate::fs::names::{self, FileKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A keyspace as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceRemains {
    /// Its name.
    pub name: Vec<u8>,
    /// Its persisted options.
    pub options: String,
    /// Everything of it up to here is in tables.
    pub flushed_seq: SeqNo,
}

/// What is known of a database.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Its identity.
    pub database: Option<u128>,
    /// Whether the rest is its state, not a guess (I1).
    pub is_exact: bool,
    /// Damaged files, each with what is wrong.
    pub faults: Vec<(String, String)>,
    /// Persisted options.
    pub options: String,
    /// Keyspaces.
    pub keyspaces: BTreeMap<KeyspaceId, KeyspaceRemains>,
    /// Tables.
    pub tables: BTreeMap<FileNumber, (KeyspaceId, Level, FileMeta)>,
    /// The log.
    pub log: LogState,
    /// File numbers from here on were never used, as far as is known.
    pub next_file: u64,
    /// The same of keyspace ids.
    pub next_keyspace: u32,
}

/// Reads what is left in `dir`.
pub fn remains(fs: &dyn Fs, dir: &Path) -> Result<Remains> {
    let mut manifests = Vec::new();
    let mut tables = Vec::new();
    let mut highest = 0;
    for entry in fs.list(dir)? {
        let aside = [FileKind::Table, FileKind::Wal, FileKind::Manifest].map(|kind| names::parse_aside(kind, &entry));
        let own = names::parse(&entry).filter(|(kind, number)| kind.is_numbered() && number.0 < FILE_NUMBER_END);
        let numbers = aside.into_iter().flatten().chain(own.map(|(_, number)| number));
        highest = numbers.filter(|n| n.0 < FILE_NUMBER_END).map(|n| n.0).fold(highest, u64::max);
        match own {
            Some((FileKind::Manifest, number)) => manifests.push(number),
            Some((FileKind::Table, number)) => tables.push(number),
            _ => {}
        }
    }
    manifests.sort_unstable();
    let mut found = match Current::load(fs, dir) {
        Ok(current) => with_current(fs, dir, current)?,
        // Of a later build, or of another engine: not damaged.
        Err(error) if matches!(error.code(), Code::Version | Code::Invalid) => return Err(error),
        Err(error) => without_current(fs, dir, &manifests, &tables, &error)?,
    };
    found.next_file = found.next_file.max(highest + 1);
    Ok(found)
}

fn with_current(fs: &dyn Fs, dir: &Path, current: Current) -> Result<Remains> {
    match recover::load(fs, dir, current, &Arc::new(ObsoleteQueue::default())) {
        Ok(found) => Ok(Remains::exact(current.manifest.database, &found.state, found.next_file)),
        Err(error) if matches!(error.code(), Code::Version | Code::NoMem) => Err(error),
        Err(error) => {
            let mut found = guess(fs, dir, current.manifest);
            found.faults.insert(0, (name_of(current.manifest.number), error.message().to_owned()));
            Ok(found)
        }
    }
}

fn without_current(
    fs: &dyn Fs,
    dir: &Path,
    manifests: &[FileNumber],
    tables: &[FileNumber],
    why: &Error,
) -> Result<Remains> {
    let fault = (names::name(FileKind::Current, FileNumber(0)), why.message().to_owned());
    let mut best = Remains { faults: vec![fault.clone()], ..Remains::default() };
    for &number in manifests.iter().rev() {
        let bytes = read_whole(fs, &names::path(dir, FileKind::Manifest, number), u64::MAX).unwrap_or_default();
        let Some(manifest) = manifest::stored_identity(&bytes).filter(|stored| stored.number == number) else {
            best.faults.push((name_of(number), "the header is damaged".to_owned()));
            continue;
        };
        let current = Current { manifest, extent: Extent::AtLeast(HEADER_BYTES as u64) };
        let mut found = match recover::load(fs, dir, current, &Arc::new(ObsoleteQueue::default())) {
            Err(error) if matches!(error.code(), Code::Version | Code::NoMem) => return Err(error),
            Ok(found) if found.torn.is_none() && Some(&number) == manifests.last() => {
                let mut exact = Remains::exact(manifest.database, &found.state, found.next_file);
                // I2: without CURRENT nobody vouches for the manifest's end, but the tables do.
                exact.is_exact =
                    tables.len() == exact.tables.len() && tables.iter().all(|t| exact.tables.contains_key(t));
                exact
            }
            _ => guess(fs, dir, manifest),
        };
        best.faults.append(&mut found.faults);
        return Ok(Remains { faults: best.faults, ..found });
    }
    Ok(best)
}

/// What all edits that are left of a manifest come to.
fn guess(fs: &dyn Fs, dir: &Path, manifest: FileIdentity) -> Remains {
    let mut found = Remains { database: Some(manifest.database), ..Remains::default() };
    let path = names::path(dir, FileKind::Manifest, manifest.number);
    match read_whole(fs, &path, u64::MAX) {
        Ok(bytes) => {
            let faults = manifest::read_remains(&bytes, manifest, |record| found.apply(record));
            found.faults.extend(faults.into_iter().map(|fault| (name_of(manifest.number), fault)));
        }
        Err(error) => found.faults.push((name_of(manifest.number), error.message().to_owned())),
    }
    found
}

fn name_of(number: FileNumber) -> String {
    names::name(FileKind::Manifest, number)
}

impl Remains {
    fn exact(database: u128, state: &State, next_file: u64) -> Remains {
        let tables = state.keyspaces.values().flat_map(|k| {
            k.version.tables().map(|(level, table)| (table.meta().number, (k.id, level, table.meta().clone())))
        });
        let keyspace = |k: &super::tree::KeyspaceRecord| KeyspaceRemains {
            name: k.name.clone(),
            options: k.options.clone(),
            flushed_seq: k.flushed_seq,
        };
        Remains {
            database: Some(database),
            is_exact: true,
            faults: Vec::new(),
            options: state.options.clone(),
            tables: tables.collect(),
            keyspaces: state.keyspaces.iter().map(|(id, k)| (*id, keyspace(k))).collect(),
            log: state.log,
            next_file,
            next_keyspace: state.next_keyspace,
        }
    }

    /// Takes an edit for what it says, whatever was lost before it.
    fn apply(&mut self, record: EditRecord) {
        let EditRecord { edit, next_file, next_keyspace } = record;
        self.next_file = self.next_file.max(next_file.unwrap_or_default().0).min(FILE_NUMBER_END - 1);
        self.next_keyspace = self.next_keyspace.max(next_keyspace.unwrap_or_default());
        for (id, name, options) in edit.created {
            self.keyspaces.insert(id, KeyspaceRemains { name, options, flushed_seq: SeqNo::ZERO });
        }
        for (id, text) in edit.options {
            match id {
                None => self.options = text,
                Some(id) => self.keyspaces.entry(id).or_default().options = text,
            }
        }
        for (_, _, number) in edit.removed {
            self.tables.remove(&number);
        }
        for (id, level, meta) in edit.added {
            self.tables.insert(meta.number, (id, level, meta));
        }
        for (id, seq) in edit.flushed {
            let keyspace = self.keyspaces.entry(id).or_default();
            keyspace.flushed_seq = keyspace.flushed_seq.max(seq);
        }
        for id in edit.dropped {
            self.keyspaces.remove(&id);
            self.tables.retain(|_, (of, ..)| *of != id);
        }
        self.log.first_segment = self.log.first_segment.max(edit.first_segment.unwrap_or_default());
        self.log.segment_started = self.log.segment_started.max(edit.segment_started);
        self.log.clean_end = edit.clean_end;
        self.log.last_seq = self.log.last_seq.max(edit.last_seq.unwrap_or_default());
    }
}

/// Puts a manifest in force that describes `state` (I3). Its numbers are above every file in the folder. After an error with
/// `true` beside it the old state or the new one is in force; else the old one is, and the folder is as it was.
pub fn rebuild(fs: &dyn Fs, dir: &Path, state: &Remains) -> std::result::Result<(), (Error, bool)> {
    let prepared = prepare(fs, dir, state).map_err(|error| (error, false))?;
    let remove = |kind, number| {
        let _ = fs.remove(&names::path(dir, kind, number));
    };
    match prepared.store(fs, dir) {
        Ok(()) => Ok(()),
        Err(StoreError::InDoubt(error)) => Err((error, true)),
        Err(StoreError::Unchanged(error)) => {
            remove(FileKind::CurrentTmp, FileNumber(0));
            remove(FileKind::Manifest, prepared.manifest.number);
            Err((error, false))
        }
    }
}

/// Writes the manifest; answers the `CURRENT` that would put it in force.
fn prepare(fs: &dyn Fs, dir: &Path, state: &Remains) -> Result<Current> {
    let database = state.database.ok_or_else(|| Error::corruption("the database's identity is not known"))?;
    let edit = VersionEdit {
        created: state.keyspaces.iter().map(|(id, k)| (*id, k.name.clone(), k.options.clone())).collect(),
        added: state.tables.values().cloned().collect(),
        flushed: state.keyspaces.iter().map(|(id, k)| (*id, k.flushed_seq)).collect(),
        options: vec![(None, state.options.clone())],
        first_segment: Some(state.log.first_segment),
        segment_started: state.log.segment_started,
        clean_end: state.log.clean_end,
        last_seq: Some(state.log.last_seq),
        ..VersionEdit::default()
    };
    let fault = |why: String| Error::corruption(format!("the repaired state does not hold: {why}"));
    let mut draft = Draft::new(&State::default(), &Arc::new(ObsoleteQueue::default()));
    draft.apply(edit).map_err(fault)?;
    draft.raise_next_keyspace(state.next_keyspace);
    let rebuilt = draft.finish().map_err(fault)?.state;
    let manifest = FileIdentity { database, number: FileNumber(state.next_file) };
    let snapshot = rebuilt.encode_snapshot(FileNumber(state.next_file + 1));
    let written = write_manifest(fs, dir, manifest, &snapshot, None).inspect_err(|_| {
        let _ = fs.remove(&names::path(dir, FileKind::Manifest, manifest.number));
    })?;
    let len = written.writer.len();
    let extent = if state.log.clean_end.is_some() { Extent::Exactly(len) } else { Extent::AtLeast(len) };
    Ok(Current { manifest, extent })
}
