//! A table on its way to disk, for flushes and compactions: the file is made with the first entry and goes away again
//! unless the table is finished.
//!
//! Threads: one at a time. Failure: an output that is dropped unfinished removes its file. If even that fails the file
//! is an orphan that no manifest names; the next open removes it.

use crate::base::ids::{FileIdentity, FileNumber};
use crate::base::key::Entry;
use crate::error::Result;
use crate::fs::names::{self, FileKind};
use crate::fs::{Fs, OpenMode};
use crate::sstable::{TableConfig, TableWriter};
use crate::version::FileMeta;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The path of table `number`.
pub fn table_path(dir: &Path, number: FileNumber) -> PathBuf {
    names::path(dir, FileKind::Table, number)
}

/// One table being written.
pub struct TableOutput {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    number: FileNumber,
    writer: Option<TableWriter>,
    /// Its name once it is whole, where it has another until then.
    rename_to: Option<PathBuf>,
}

impl TableOutput {
    /// Makes the file of table `number`.
    pub fn create(fs: &Arc<dyn Fs>, dir: &Path, identity: FileIdentity, config: TableConfig) -> Result<TableOutput> {
        let path = table_path(dir, identity.number);
        let file = fs.open(&path, OpenMode::CreateNew)?;
        let writer = Some(TableWriter::new(file, identity, config));
        Ok(TableOutput { fs: Arc::clone(fs), path, number: identity.number, writer, rename_to: None })
    }

    /// The same under the name `NNNNNN.tmp` until it is finished: where nobody could tell a table that was cut short by a
    /// crash from a damaged one.
    pub fn create_tmp(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        identity: FileIdentity,
        config: TableConfig,
    ) -> Result<TableOutput> {
        let path = names::path(dir, FileKind::Tmp, identity.number);
        let file = fs.open(&path, OpenMode::CreateNew)?;
        let writer = Some(TableWriter::new(file, identity, config));
        let rename_to = Some(table_path(dir, identity.number));
        Ok(TableOutput { fs: Arc::clone(fs), path, number: identity.number, writer, rename_to })
    }

    /// Appends one version.
    #[inline]
    pub fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        match &mut self.writer {
            Some(writer) => writer.add(entry),
            None => unreachable!("only finish() takes the writer"),
        }
    }

    /// Bytes the file would have if finished now, about.
    #[inline]
    pub fn estimated_size(&self) -> u64 {
        self.writer.as_ref().map_or(0, TableWriter::estimated_size)
    }

    /// Finishes and syncs the file; the folder is the caller's to sync.
    pub fn finish(mut self) -> Result<FileMeta> {
        let Some(writer) = self.writer.take() else { unreachable!("only finish() takes the writer") };
        let named = |to: &PathBuf| self.fs.rename(&self.path, to);
        match writer.finish().and_then(|summary| self.rename_to.iter().try_for_each(named).map(|()| summary)) {
            Ok(summary) => Ok(FileMeta { number: self.number, summary }),
            Err(error) => {
                remove_orphan(&*self.fs, &self.path);
                Err(error)
            }
        }
    }
}

impl Drop for TableOutput {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            remove_orphan(&*self.fs, &self.path);
        }
    }
}

/// Removes a table that will not be named. An error is not reported: the cause that led here is, and the next open
/// removes what is left.
pub fn remove_orphan(fs: &dyn Fs, path: &Path) {
    let _ = fs.remove(path);
}
