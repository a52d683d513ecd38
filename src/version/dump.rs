//! The manifest taken apart, for people who look into a file, and the state it describes, read as far as it can be.
//!
//! Unlike `recover` nothing here asks whether the tables are there: what is missing is for the caller to find out.
//!
//! Threads: plain functions. Failure: `Corruption` that names file and offset, after what stands before it was handed out.

use super::current::{Current, read_whole};
use super::edit::VersionEdit;
use super::manifest::{self, Extent};
use super::meta::ObsoleteQueue;
use super::recover;
use super::tree::{KeyspaceRecord, LogState};
use crate::base::ids::{FileIdentity, FileNumber};
use crate::error::Result;
use crate::fs::Fs;
use std::path::Path;
use std::sync::Arc;

/// What `CURRENT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentFile {
    /// The database's identity and the number of the manifest in force.
    pub manifest: FileIdentity,
    /// So many bytes of it are whole.
    pub promised: u64,
    /// The file has exactly these: it was closed cleanly.
    pub is_exact: bool,
}

/// Reads `CURRENT` in `dir`.
pub fn read_current(fs: &dyn Fs, dir: &Path) -> Result<CurrentFile> {
    Current::load(fs, dir).map(told)
}

fn told(current: Current) -> CurrentFile {
    let Current { manifest, extent } = current;
    let (Extent::AtLeast(promised) | Extent::Exactly(promised)) = extent;
    CurrentFile { manifest, promised, is_exact: matches!(extent, Extent::Exactly(_)) }
}

/// The header of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// Database and file number, as the header has them.
    pub file: FileIdentity,
    /// Format of the writer.
    pub format: u16,
    /// Bytes of the file.
    pub len: u64,
}

/// One whole snapshot or edit.
#[derive(Clone, Debug)]
pub struct ManifestUnit {
    /// Offset of its last record.
    pub offset: u64,
    /// The whole state, as an edit to nothing.
    pub is_snapshot: bool,
    /// What it says.
    pub edit: VersionEdit,
    /// File numbers below this may have been used.
    pub next_file: Option<FileNumber>,
    /// Keyspace ids below this may have been used.
    pub next_keyspace: Option<u32>,
}

/// Reads the header of the manifest at `path`, trusting what it says of its number and database.
pub fn manifest_head(fs: &dyn Fs, path: &Path) -> Result<ManifestHead> {
    head_of(path, &read_whole(fs, path, u64::MAX)?)
}

fn head_of(path: &Path, bytes: &[u8]) -> Result<ManifestHead> {
    let (file, format) = manifest::header_alone(bytes).map_err(|e| e.context(path.display()))?;
    Ok(ManifestHead { file, format, len: bytes.len() as u64 })
}

/// Hands every whole unit of the manifest at `path` to `each`, in order. `current` is what `CURRENT` promises if it names
/// this file. Answers the header, and why the last bytes were left out if they were. A damaged record ends the walk with
/// an error.
pub fn dump_manifest(
    fs: &dyn Fs,
    path: &Path,
    current: Option<CurrentFile>,
    each: &mut dyn FnMut(ManifestUnit),
) -> Result<(ManifestHead, Option<String>)> {
    let bytes = read_whole(fs, path, u64::MAX)?;
    let head = head_of(path, &bytes)?;
    let extent = match current.filter(|c| c.manifest == head.file) {
        Some(current) if current.is_exact => Extent::Exactly(current.promised),
        Some(current) => Extent::AtLeast(current.promised),
        None => Extent::AtLeast(0),
    };
    let torn = manifest::read(path, &bytes, head.file, extent, |unit| {
        let manifest::Unit { is_snapshot, offset, record } = unit;
        let (next_file, next_keyspace) = (record.next_file, record.next_keyspace);
        each(ManifestUnit { offset, is_snapshot, edit: record.edit, next_file, next_keyspace });
        Ok(())
    })?;
    Ok((head, torn))
}

/// The state in force, as the manifest tells it.
pub struct ManifestState {
    /// What `CURRENT` says.
    pub current: CurrentFile,
    /// Keyspaces with their tables, by id.
    pub keyspaces: Vec<Arc<KeyspaceRecord>>,
    /// The log.
    pub log: LogState,
    /// The database's persisted options.
    pub options: String,
    /// Why the manifest's tail was left out, if it was.
    pub torn: Option<String>,
}

/// Reads `CURRENT` and the manifest that it names. Opens no table and no log.
pub fn manifest_state(fs: &dyn Fs, dir: &Path) -> Result<ManifestState> {
    let recover::Recovered { current, state, torn, .. } =
        recover::load(fs, dir, Current::load(fs, dir)?, &Arc::new(ObsoleteQueue::default()))?;
    let keyspaces = state.keyspaces.into_values().collect();
    Ok(ManifestState { current: told(current), keyspaces, log: state.log, options: state.options, torn })
}
