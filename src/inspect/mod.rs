//! L4: the files of a database folder seen from outside, one by one: for tools that show them to people.
//!
//! Invariants
//! - I1  Nothing is written, created, locked or removed. A folder that is open for writing may be looked at; what is seen
//!   of it is then taken at different moments.
//! - I2  What is damaged is told with its file and does not hide what is not.
//!
//! Threads: a `Folder` may be used by any number. Failure: the error of the file concerned; nothing is kept.

mod find;

pub use find::{Sighting, Sought};

use crate::base::epoch::Retired;
use crate::base::ids::{FileIdentity, FileNumber};
use crate::cache::{Cache, CacheConfig};
use crate::error::{Error, Result};
use crate::fs::names::{self, FileKind};
use crate::fs::posix::PosixFs;
use crate::fs::{File, Fs, OpenMode};
use crate::sstable::TableReader;
use crate::version::{
    CurrentFile, ManifestHead, ManifestState, ManifestUnit, dump_manifest, manifest_head, manifest_state, read_current,
};
use crate::wal::{SegmentHead, SegmentItem, dump_segment, segment_head};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of the folder that the database made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFile {
    /// What it is for.
    pub kind: FileKind,
    /// Its number; 0 for kinds without one.
    pub number: FileNumber,
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub len: u64,
}

/// A database folder.
pub struct Folder {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl Folder {
    /// The folder at `dir`; nothing is read yet.
    pub fn new(dir: &Path) -> Folder {
        Folder::new_on(Arc::new(PosixFs::new()), dir)
    }

    /// The same on another file system.
    pub fn new_on(fs: Arc<dyn Fs>, dir: &Path) -> Folder {
        // The parent of a bare file name is "", which no system call takes.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        Folder { fs, dir: dir.to_owned() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All files that carry a name of ours, by kind and number.
    pub fn files(&self) -> Result<Vec<FolderFile>> {
        let mut files = Vec::new();
        for entry in self.fs.list(&self.dir)? {
            let Some((kind, number)) = names::parse(&entry) else { continue };
            let path = self.dir.join(entry);
            // It may be gone by now: the folder may be open.
            if let Some(metadata) = self.fs.metadata(&path)?.filter(|m| m.is_file) {
                files.push(FolderFile { kind, number, path, len: metadata.len });
            }
        }
        files.sort_by_key(|file| (file.kind, file.number));
        Ok(files)
    }

    /// The database's identity: from `CURRENT`, or if that is damaged from any manifest or log that is not.
    pub fn database(&self) -> Result<u128> {
        let error = match read_current(&*self.fs, &self.dir) {
            Ok(current) => return Ok(current.manifest.database),
            Err(error) => error,
        };
        for file in self.files()? {
            let told = match file.kind {
                FileKind::Manifest => manifest_head(&*self.fs, &file.path).map(|head| head.file.database),
                FileKind::Wal => self.segment_head(&file.path).map(|head| head.file.database),
                _ => continue,
            };
            if let Ok(database) = told {
                return Ok(database);
            }
        }
        Err(error)
    }

    /// What `CURRENT` says.
    pub fn current(&self) -> Result<CurrentFile> {
        read_current(&*self.fs, &self.dir)
    }

    /// The state in force, as the manifest tells it.
    pub fn state(&self) -> Result<ManifestState> {
        manifest_state(&*self.fs, &self.dir)
    }

    /// Hands every snapshot and edit of the manifest at `path` to `each`. Answers its header, and why its tail was left
    /// out if it was. What `CURRENT` promises of it is checked, too.
    pub fn manifest(&self, path: &Path, each: &mut dyn FnMut(ManifestUnit)) -> Result<(ManifestHead, Option<String>)> {
        dump_manifest(&*self.fs, path, self.current().ok(), each)
    }

    /// Hands every record of the log segment at `path` to `each` until it answers false; see `wal::dump_segment`.
    pub fn segment(&self, path: &Path, each: &mut dyn FnMut(SegmentItem<'_>) -> bool) -> Result<SegmentHead> {
        let source = self.fs.open(path, OpenMode::Read)?;
        dump_segment(&source, &path.display().to_string(), each)
    }

    fn segment_head(&self, path: &Path) -> Result<SegmentHead> {
        let source = self.fs.open(path, OpenMode::Read)?;
        segment_head(&source, &path.display().to_string())
    }

    /// Opens the table at `path`. `database` and `number` are part of every checksum; without a number the one in the
    /// file's name counts.
    pub fn table(&self, path: &Path, database: u128, number: Option<FileNumber>) -> Result<Arc<TableReader>> {
        let named = || names::parse(path.file_name()?).filter(|(kind, _)| *kind == FileKind::Table).map(|(_, n)| n);
        let Some(number) = number.or_else(named) else {
            let text =
                format!("{}: the name is not that of a table (000001.sst); its number is needed", path.display());
            return Err(Error::invalid(text));
        };
        let file: Arc<dyn File> = self.fs.open(path, OpenMode::Read)?;
        let size = file.len()?;
        let cache = Cache::new(CacheConfig { bytes: 0, shards: 1 }, Arc::new(Retired::new()));
        TableReader::open(file, FileIdentity { database, number }, size, cache).map(Arc::new)
    }
}

#[cfg(test)]
mod tests;
