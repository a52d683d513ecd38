//! From files to a state: what `VersionSet::recover` reads and checks, and whether a folder holds a database at all.
//!
//! Invariants
//! - I1  Nothing is written or removed here.
//! - I2  Every table of the state stands in the folder as a regular file of exactly the recorded size. (That its bytes are
//!   right is checked block by block as they are read, and as a whole by verify.)
//! - I3  A folder without `CURRENT` is a new database only if nothing in it could have come from a finished creation.
//!
//! Threads: called once, before anything is shared. Failure: `Corruption` that names the file.

use super::current::{Current, read_whole};
use super::draft::{Draft, State};
use super::manifest::{self, Extent};
use super::meta::{FILE_NUMBER_END, ObsoleteQueue};
use crate::base::ids::{FileNumber, KeyspaceId};
use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::fs::names::{self, FileKind};
use std::path::Path;
use std::sync::Arc;

/// What the files say.
pub(super) struct Recovered {
    pub current: Current,
    pub state: State,
    /// Above every number in the manifest and in the folder.
    pub next_file: u64,
    /// Manifests in the folder that are not in force.
    pub stale: Vec<FileNumber>,
    /// Why the manifest's tail was left out, if it was.
    pub torn: Option<String>,
    /// The manifest ended as a clean close ends it: it is known to be durable.
    pub is_clean: bool,
}

/// Reads `CURRENT` and the manifest, then looks for the tables.
pub(super) fn recover(fs: &dyn Fs, dir: &Path, queue: &Arc<ObsoleteQueue>) -> Result<Recovered> {
    let current = Current::load(fs, dir)?;
    let mut recovered = load(fs, dir, current, queue)?;
    check_tables(fs, dir, &recovered)?;
    for entry in fs.list(dir)? {
        let Some((kind, number)) = names::parse(&entry) else { continue };
        if !kind.is_numbered() || number.0 >= FILE_NUMBER_END {
            continue;
        }
        recovered.next_file = recovered.next_file.max(number.0.saturating_add(1));
        if kind == FileKind::Manifest && number != current.manifest.number {
            recovered.stale.push(number);
        }
    }
    Ok(recovered)
}

/// Reads the manifest that `current` names.
pub(super) fn load(fs: &dyn Fs, dir: &Path, current: Current, queue: &Arc<ObsoleteQueue>) -> Result<Recovered> {
    let path = names::path(dir, FileKind::Manifest, current.manifest.number);
    let bytes = read_whole(fs, &path, u64::MAX)?;
    let mut draft = Draft::new(&State::default(), queue);
    let mut next_file = current.manifest.number.0.saturating_add(1);
    let torn = manifest::read(&path, &bytes, current.manifest, current.extent, |unit| {
        let fault = |e: String| Error::corruption(format!("{}: offset {}: {e}", path.display(), unit.offset));
        if unit.is_snapshot && (unit.record.next_file.is_none() || unit.record.next_keyspace.is_none()) {
            return Err(fault("a snapshot without its counters".to_owned()));
        }
        next_file = next_file.max(unit.record.next_file.unwrap_or_default().0);
        if next_file >= FILE_NUMBER_END {
            return Err(fault(format!("the next file number {next_file} is impossible")));
        }
        if let Some(meta) = unit.record.edit.added.iter().map(|(_, _, m)| m).find(|m| m.number.0 >= next_file) {
            return Err(fault(format!("table {} is not below the next file number {next_file}", meta.number)));
        }
        draft.apply(unit.record.edit).map_err(fault)?;
        draft.forget_gone();
        draft.raise_next_keyspace(unit.record.next_keyspace.unwrap_or(0));
        Ok(())
    })?;
    let state = draft.finish().map_err(|e| Error::corruption(format!("{}: {e}", path.display())))?.state;
    if !state.keyspaces.contains_key(&KeyspaceId::DEFAULT) {
        return Err(Error::corruption(format!("{}: there is no default keyspace", path.display())));
    }
    let is_clean = matches!(current.extent, Extent::Exactly(_));
    if is_clean && (state.log.clean_end.is_none() || torn.is_some()) {
        return Err(Error::corruption(format!(
            "{}: CURRENT tells of a clean close, the last edit does not",
            path.display()
        )));
    }
    Ok(Recovered { current, state, next_file, stale: Vec::new(), torn, is_clean })
}

fn check_tables(fs: &dyn Fs, dir: &Path, recovered: &Recovered) -> Result<()> {
    let manifest = names::name(FileKind::Manifest, recovered.current.manifest.number);
    for table in recovered.state.tables() {
        let meta = table.meta();
        let path = names::path(dir, FileKind::Table, meta.number);
        let fault = |what: String| Err(Error::corruption(format!("{}: {what}", path.display())));
        match fs.metadata(&path)? {
            // Without a clean close an older state may be all that a cut manifest still tells.
            None if recovered.is_clean => return fault(format!("the table is missing, {manifest} names it")),
            None => return fault(format!("the table is missing, {manifest} names it or lost its end")),
            Some(m) if !m.is_file => return fault("is not a regular file".to_owned()),
            Some(m) if m.len != meta.summary.size && !crate::base::planted!("table-size-unchecked") => {
                return fault(format!("has {} bytes, the manifest says {}", m.len, meta.summary.size));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether `dir` holds a database. A folder that lost its `CURRENT` is damage, not a place for a new database: only what
/// an interrupted creation leaves (one manifest, number 1, no longer than a creation writes) counts as nothing.
pub(super) fn exists(fs: &dyn Fs, dir: &Path, created_bytes: u64) -> Result<bool> {
    let current = names::path(dir, FileKind::Current, FileNumber(0));
    match fs.metadata(&current)? {
        Some(m) if m.is_file => return Ok(true),
        Some(_) => return Err(Error::corruption(format!("{}: is not a regular file", current.display()))),
        None => {}
    }
    if fs.metadata(dir)?.is_none() {
        return Ok(false);
    }
    for entry in fs.list(dir)? {
        let witness = match names::parse(&entry) {
            Some((FileKind::Wal | FileKind::Table | FileKind::Blob, _)) => true,
            Some((FileKind::Manifest, number)) => {
                number != FileNumber(1) || fs.metadata(&dir.join(&entry))?.is_some_and(|m| m.len > created_bytes)
            }
            _ => false,
        };
        if witness {
            let name = entry.to_string_lossy();
            return Err(Error::corruption(format!("{}: the file is missing, but {name} is there", current.display())));
        }
    }
    Ok(false)
}
