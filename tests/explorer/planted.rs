//! A disk that swallows some syncs: what the checks must convict.

use lsm_engine::error::Result;
use lsm_engine::fs::fault::FaultFs;
use lsm_engine::fs::{File, Fs, FsKind, Lock, MappedLog, Metadata, OpenMode};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// Whose syncs are swallowed: files whose name contains the text; "dir" means folders.
pub struct Planted {
    pub disk: FaultFs,
    pub bug: &'static str,
}

/// The five that every run must convict.
pub const BUGS: [&str; 5] = [".wal", ".sst", "MANIFEST", "CURRENT", "dir"];

struct PlantedFile {
    file: Arc<dyn File>,
    is_deaf: bool,
}

impl Fs for Planted {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = self.disk.open(path, mode)?;
        let name = path.to_string_lossy().into_owned();
        // A segment is made under another name.
        let is_deaf = name.contains(self.bug) || (self.bug == ".wal" && name.ends_with(".spare"));
        Ok(Arc::new(PlantedFile { file, is_deaf }))
    }
    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        self.disk.metadata(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.disk.create_dir(dir)
    }
    fn remove_dir(&self, dir: &Path) -> Result<()> {
        self.disk.remove_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> Result<()> {
        if self.bug == "dir" { Ok(()) } else { self.disk.sync_dir(dir) }
    }
    fn lock(&self, path: &Path, exclusive: bool) -> Result<Box<dyn Lock>> {
        self.disk.lock(path, exclusive)
    }
    fn kind(&self, dir: &Path) -> FsKind {
        self.disk.kind(dir)
    }
    fn free_bytes(&self, dir: &Path) -> u64 {
        self.disk.free_bytes(dir)
    }
}

impl File for PlantedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(buf, offset)
    }
    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()> {
        if self.is_deaf { self.file.write_all_at(buf, offset) } else { self.file.write_all_at_sync(buf, offset) }
    }
    fn sync_data(&self) -> Result<()> {
        if self.is_deaf { Ok(()) } else { self.file.sync_data() }
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
    }
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        self.file.allocate(offset, len)
    }
    fn prefetch(&self, offset: u64, len: u64) {
        self.file.prefetch(offset, len);
    }
    fn map_log(&self, len: u64) -> Result<Box<dyn MappedLog>> {
        self.file.map_log(len)
    }
    fn path(&self) -> &Path {
        self.file.path()
    }
}
