//! A file system for this folder's tests: real files through the standard library, a mapping played by positioned
//! writes that checks the rules of `MappedLog`, and failures on request.

use crate::base::ids::FileNumber;
use crate::base::log_sink::NullSink;
use crate::base::sync::{AtomicBool, AtomicI64, AtomicU64, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use crate::fs::{File, Fs, FsKind, Lock, MappedLog, Metadata, OpenMode};
use crate::wal::{LogConfig, WalIo};
use std::ffi::OsString;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What shall fail.
#[derive(Default)]
pub struct Faults {
    pub sync: AtomicBool,
    pub write: AtomicBool,
    pub allocate: AtomicBool,
    pub sync_dir: AtomicBool,
}

pub struct TestFs {
    pub faults: Arc<Faults>,
    pub mappable: bool,
    /// Bytes that may still be locked.
    pub budget: Arc<AtomicI64>,
    pub syncs: Arc<AtomicU64>,
    /// Bytes written.
    pub written: Arc<AtomicU64>,
}

impl TestFs {
    pub fn new() -> TestFs {
        TestFs {
            faults: Arc::default(),
            mappable: true,
            budget: Arc::new(AtomicI64::new(1 << 20)),
            syncs: Arc::default(),
            written: Arc::default(),
        }
    }
}

fn io<T>(result: std::io::Result<T>, path: &Path) -> Result<T> {
    result.map_err(|e| Error::io(&e, path.display()))
}

fn fault(flag: &AtomicBool, errno: i32, path: &Path) -> Result<()> {
    if flag.load(Ordering::Relaxed) { Err(Error::os(errno, path.display())) } else { Ok(()) }
}

impl Fs for TestFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).create_new(mode == OpenMode::CreateNew);
        let file = Arc::new(io(options.open(path), path)?);
        let (faults, budget) = (Arc::clone(&self.faults), Arc::clone(&self.budget));
        let (syncs, written) = (Arc::clone(&self.syncs), Arc::clone(&self.written));
        Ok(Arc::new(TestFile { file, path: path.to_owned(), faults, budget, syncs, written }))
    }
    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        match std::fs::symlink_metadata(path) {
            Ok(m) => Ok(Some(Metadata { is_dir: m.is_dir(), is_file: m.is_file(), len: m.len() })),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&e, path.display())),
        }
    }
    fn list(&self, dir: &Path) -> Result<Vec<OsString>> {
        io(io(std::fs::read_dir(dir), dir)?.map(|e| e.map(|e| e.file_name())).collect(), dir)
    }
    fn create_dir(&self, dir: &Path) -> Result<()> {
        io(std::fs::create_dir(dir), dir)
    }
    fn remove_dir(&self, dir: &Path) -> Result<()> {
        io(std::fs::remove_dir(dir), dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        io(std::fs::rename(from, to), from)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        io(std::fs::remove_file(path), path)
    }
    fn sync_dir(&self, dir: &Path) -> Result<()> {
        fault(&self.faults.sync_dir, libc::EIO, dir)
    }
    fn lock(&self, _path: &Path, _exclusive: bool) -> Result<Box<dyn Lock>> {
        Err(Error::new(Code::Unsupported, "no locks in this test"))
    }
    fn kind(&self, _dir: &Path) -> FsKind {
        if self.mappable { FsKind::Mappable } else { FsKind::Other }
    }
    fn free_bytes(&self, _dir: &Path) -> u64 {
        u64::MAX
    }
}

struct TestFile {
    file: Arc<std::fs::File>,
    path: PathBuf,
    faults: Arc<Faults>,
    budget: Arc<AtomicI64>,
    syncs: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl File for TestFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match io(self.file.read_at(&mut buf[done..], offset + done as u64), &self.path)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }
    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        fault(&self.faults.write, libc::EIO, &self.path)?;
        self.written.fetch_add(buf.len() as u64, Ordering::Relaxed);
        io(self.file.write_all_at(buf, offset), &self.path)
    }
    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.write_all_at(buf, offset)?;
        self.sync_data()
    }
    fn sync_data(&self) -> Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        fault(&self.faults.sync, libc::EIO, &self.path)
    }
    fn start_writeback(&self, _offset: u64, _len: u64) {}
    fn len(&self) -> Result<u64> {
        Ok(io(self.file.metadata(), &self.path)?.len())
    }
    fn set_len(&self, len: u64) -> Result<()> {
        io(self.file.set_len(len), &self.path)
    }
    fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        fault(&self.faults.allocate, libc::ENOSPC, &self.path)?;
        self.set_len(self.len()?.max(offset + len))
    }
    fn prefetch(&self, _offset: u64, _len: u64) {}
    fn map_log(&self, len: u64) -> Result<Box<dyn MappedLog>> {
        assert!(len <= self.len()?);
        let (file, budget) = (Arc::clone(&self.file), Arc::clone(&self.budget));
        Ok(Box::new(TestMap { file, budget, pages: Mutex::new(vec![false; len.div_ceil(4096) as usize]) }))
    }
    fn path(&self) -> &Path {
        &self.path
    }
    fn links(&self) -> Result<u64> {
        Ok(io(self.file.metadata(), &self.path)?.nlink())
    }
}

/// Panics when a page is prepared twice, stored to unprepared, or released with a length that is not whole pages.
struct TestMap {
    file: Arc<std::fs::File>,
    budget: Arc<AtomicI64>,
    pages: Mutex<Vec<bool>>,
}

impl MappedLog for TestMap {
    fn prepare(&self, offset: usize, len: usize) -> Result<()> {
        assert!(offset.is_multiple_of(4096) && len.is_multiple_of(4096) && len > 0);
        let left = self.budget.fetch_sub(len as i64, Ordering::Relaxed) - len as i64;
        if left < 0 {
            self.budget.fetch_add(len as i64, Ordering::Relaxed);
            return Err(Error::new(Code::NoMem, "the budget is used up"));
        }
        for page in &mut self.pages.lock()[offset / 4096..(offset + len) / 4096] {
            assert!(!std::mem::replace(page, true), "prepared twice");
        }
        Ok(())
    }
    fn release(&self, from: usize, to: usize) {
        let mut pages = self.pages.lock();
        for page in &mut pages[from.div_ceil(4096)..to / 4096] {
            if std::mem::replace(page, false) {
                self.budget.fetch_add(4096, Ordering::Relaxed);
            }
        }
    }
    fn store(&self, offset: usize, bytes: &[u8]) {
        let pages = self.pages.lock();
        let range = offset / 4096..(offset + bytes.len()).div_ceil(4096);
        assert!(pages[range].iter().all(|p| *p), "store to {offset} of a page that is not prepared");
        self.file.write_all_at(bytes, offset as u64).expect("test file");
    }
}

impl Drop for TestMap {
    fn drop(&mut self) {
        let pages = self.pages.lock().iter().filter(|p| **p).count();
        self.budget.fetch_add(pages as i64 * 4096, Ordering::Relaxed);
    }
}

/// A folder, a pool's settings and a number source.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub fs: Arc<TestFs>,
    pub next: AtomicU64,
}

pub const DATABASE: u128 = 0xfeed_beef_0123;

impl Home {
    pub fn new() -> Home {
        Home::with(TestFs::new())
    }
    pub fn with(fs: TestFs) -> Home {
        Home { dir: tempfile::tempdir().expect("tmp"), fs: Arc::new(fs), next: AtomicU64::new(1) }
    }
    pub fn config(&self, io: WalIo, segment_bytes_max: u64) -> LogConfig {
        LogConfig {
            fs: Arc::clone(&self.fs) as Arc<dyn Fs>,
            dir: self.dir.path().to_owned(),
            database: DATABASE,
            io,
            segment_bytes_max,
            syncs: false,
            logger: Arc::new(NullSink),
        }
    }
    pub fn draw(&self) -> FileNumber {
        FileNumber(self.next.fetch_add(1, Ordering::Relaxed))
    }
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.fs.list(self.dir.path()).expect("list").iter().map(|n| n.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}
