//! A file system in memory, for fast tests and as the image that a crash of `fault` leaves.
//!
//! It is a faithful double where a caller's mistake would cost a real database something: a store to a mapped page that
//! was not prepared, or was released, panics here (on a device it may be SIGBUS). Nothing is ever lost, so syncs do
//! nothing.
//!
//! Invariants
//! - I1  An open file keeps its bytes after its name is gone.
//! - I2  Clones share everything; `deep_copy` shares nothing.
//!
//! Threads: any. Failure: the errnos of the system calls.

use super::tree::{Entry, Tree};
use super::{File, Fs, FsKind, Lock, MappedLog, Metadata, OpenMode};
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering, RwLock};
use crate::error::{Code, Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a page of a mapping here.
pub(super) const PAGE: usize = 4096;

type Bytes = Arc<RwLock<Vec<u8>>>;

/// The file system. A clone is another handle to the same files.
#[derive(Clone)]
pub struct MemFs {
    tree: Arc<Mutex<Tree<Bytes>>>,
    locks: Locks,
    mappable: Arc<AtomicBool>,
    hints: Arc<Hints>,
}

/// What tests of hints to the kernel set and see. Relaxed everywhere.
#[derive(Default)]
struct Hints {
    memory_bytes: AtomicU64,
    prefetched: AtomicU64,
}

#[cold]
pub(super) fn fail(errno: i32, call: &str, path: &Path) -> Error {
    Error::os(errno, format_args!("{call} of {}", path.display()))
}

impl Default for MemFs {
    fn default() -> MemFs {
        MemFs::new()
    }
}

impl MemFs {
    /// An empty one: only `/` (which the empty path also names) exists.
    pub fn new() -> MemFs {
        MemFs::from_tree(Tree::new())
    }

    pub(super) fn from_tree(tree: Tree<Bytes>) -> MemFs {
        let mappable = Arc::new(AtomicBool::new(true));
        MemFs { tree: Arc::new(Mutex::new(tree)), locks: Locks::default(), mappable, hints: Arc::default() }
    }

    /// The names and a copy of every file's bytes.
    pub(super) fn image(&self) -> Tree<Vec<u8>> {
        let tree = self.tree.lock();
        let entries = tree.entries().iter().map(|(key, entry)| {
            let entry = match entry {
                Entry::Dir(number) => Entry::Dir(*number),
                Entry::File(bytes) => Entry::File(bytes.read().clone()),
            };
            (key.clone(), entry)
        });
        Tree::from_entries(entries.collect(), tree.next_dir())
    }

    /// The file system of an image.
    pub(super) fn from_image(image: Tree<Vec<u8>>) -> MemFs {
        let entries = image.entries().iter().map(|(key, entry)| {
            let entry = match entry {
                Entry::Dir(number) => Entry::Dir(*number),
                Entry::File(bytes) => Entry::File(Arc::new(RwLock::new(bytes.clone()))),
            };
            (key.clone(), entry)
        });
        MemFs::from_tree(Tree::from_entries(entries.collect(), image.next_dir()))
    }

    /// An independent copy of all files; locks are not copied.
    #[must_use]
    pub fn deep_copy(&self) -> MemFs {
        let copy = MemFs::from_image(self.image());
        // Relaxed: a setting of tests.
        copy.mappable.store(self.mappable.load(Ordering::Relaxed), Ordering::Relaxed);
        copy
    }

    /// What `kind` answers, and whether `map_log` works.
    pub fn set_kind(&self, kind: FsKind) {
        // Relaxed: a setting of tests.
        self.mappable.store(kind == FsKind::Mappable, Ordering::Relaxed);
    }

    /// What `memory_bytes` answers: 0 at first.
    pub fn set_memory_bytes(&self, bytes: u64) {
        self.hints.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that `prefetch` was called for.
    pub fn prefetched(&self) -> u64 {
        self.hints.prefetched.load(Ordering::Relaxed)
    }

    /// The bytes of a file.
    pub fn read_file(&self, path: &Path) -> Result<Vec<u8>> {
        Ok(self.bytes(path)?.read().clone())
    }

    /// Puts a file of `bytes` at `path`, new or in place of what it held.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut tree = self.tree.lock();
        match tree.find(path).map_err(|e| fail(e, "open", path))? {
            Some(Entry::File(file)) => *file.write() = bytes.to_vec(),
            Some(Entry::Dir(_)) => return Err(fail(libc::EISDIR, "open", path)),
            None => {
                let file = Arc::new(RwLock::new(bytes.to_vec()));
                tree.create(path, file).map_err(|e| fail(e, "open", path))?;
            }
        }
        Ok(())
    }

    fn bytes(&self, path: &Path) -> Result<Bytes> {
        match self.tree.lock().find(path).map_err(|e| fail(e, "open", path))? {
            Some(Entry::File(bytes)) => Ok(bytes),
            Some(Entry::Dir(_)) => Err(Error::corruption(format!("{}: a regular file expected", path.display()))),
            None => Err(fail(libc::ENOENT, "open", path)),
        }
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let bytes = if mode == OpenMode::CreateNew {
            let bytes = Bytes::default();
            self.tree.lock().create(path, bytes.clone()).map_err(|e| fail(e, "open", path))?;
            bytes
        } else {
            self.bytes(path)?
        };
        let (writable, mappable, hints) = (mode != OpenMode::Read, self.mappable.clone(), self.hints.clone());
        Ok(Arc::new(MemFile { bytes, path: path.to_owned(), writable, mappable, hints }))
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        Ok(self.tree.lock().find(path).map_err(|e| fail(e, "lstat", path))?.map(|entry| match entry {
            Entry::Dir(_) => Metadata { is_dir: true, is_file: false, len: 0 },
            Entry::File(bytes) => Metadata { is_dir: false, is_file: true, len: bytes.read().len() as u64 },
        }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<OsString>> {
        let tree = self.tree.lock();
        let number = tree.dir(dir).map_err(|e| fail(e, "opendir", dir))?;
        Ok(tree.names(number).map(ToOwned::to_owned).collect())
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.tree.lock().create_dir(dir).map(|_| ()).map_err(|e| fail(e, "mkdir", dir))
    }

    fn remove_dir(&self, dir: &Path) -> Result<()> {
        self.tree.lock().remove_dir(dir).map(|_| ()).map_err(|e| fail(e, "rmdir", dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.tree.lock().rename(from, to).map(|_| ()).map_err(|e| fail(e, "rename", from))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.tree.lock().remove(path).map(|_| ()).map_err(|e| fail(e, "unlink", path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.tree.lock().dir(dir).map(|_| ()).map_err(|e| fail(e, "open", dir))
    }

    fn lock(&self, path: &Path, exclusive: bool) -> Result<Box<dyn Lock>> {
        {
            let mut tree = self.tree.lock();
            match tree.find(path).map_err(|e| fail(e, "open", path))? {
                Some(Entry::File(_)) => {}
                Some(Entry::Dir(_)) => return Err(fail(libc::EISDIR, "open", path)),
                None if exclusive => {
                    tree.create(path, Bytes::default()).map_err(|e| fail(e, "open", path))?;
                }
                None => {
                    tree.place(path).map_err(|e| fail(e, "open", path))?;
                    return Ok(Box::new(MemLock(Mutex::new(None))));
                }
            }
        }
        self.locks.take(path, exclusive)
    }

    fn kind(&self, _dir: &Path) -> FsKind {
        // Relaxed: a setting of tests.
        if self.mappable.load(Ordering::Relaxed) { FsKind::Mappable } else { FsKind::Other }
    }

    fn free_bytes(&self, _dir: &Path) -> u64 {
        u64::MAX
    }

    fn memory_bytes(&self) -> u64 {
        self.hints.memory_bytes.load(Ordering::Relaxed)
    }
}

/// The locks of an in-memory file system: path to (exclusive, how many).
#[derive(Clone, Default)]
pub(super) struct Locks(Arc<Mutex<BTreeMap<PathBuf, (bool, usize)>>>);

impl Locks {
    pub(super) fn take(&self, path: &Path, exclusive: bool) -> Result<Box<dyn Lock>> {
        let mut table = self.0.lock();
        match table.get_mut(path) {
            Some((held, _)) if *held || exclusive => {
                return Err(Error::new(Code::Locked, format!("{}: locked by this process", path.display())));
            }
            Some((_, count)) => *count += 1,
            None => {
                table.insert(path.to_owned(), (exclusive, 1));
            }
        }
        Ok(Box::new(MemLock(Mutex::new(Some((self.clone(), path.to_owned()))))))
    }
}

/// A held lock, or one that holds nothing.
pub(super) struct MemLock(pub(super) Mutex<Option<(Locks, PathBuf)>>);

impl Lock for MemLock {
    fn abandon(&self) {
        if let Some((locks, path)) = self.0.lock().take() {
            let mut table = locks.0.lock();
            if let Some((_, count)) = table.get_mut(&path) {
                *count -= 1;
                if *count == 0 {
                    table.remove(&path);
                }
            }
        }
    }

    fn raw_fd(&self) -> i32 {
        -1
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.abandon();
    }
}

struct MemFile {
    bytes: Bytes,
    path: PathBuf,
    writable: bool,
    mappable: Arc<AtomicBool>,
    hints: Arc<Hints>,
}

/// `offset + len` as an index, EFBIG when there is none.
pub(super) fn end_of(offset: u64, len: u64) -> std::result::Result<usize, i32> {
    let end = offset.checked_add(len).ok_or(libc::EFBIG)?;
    usize::try_from(end).ok().filter(|&e| e <= isize::MAX as usize).ok_or(libc::EFBIG)
}

/// Copies what `bytes` has at `offset` into `buf`; says how much.
pub(super) fn copy_out(bytes: &[u8], buf: &mut [u8], offset: u64) -> usize {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let n = buf.len().min(bytes.len() - from);
    buf[..n].copy_from_slice(&bytes[from..from + n]);
    n
}

impl MemFile {
    /// Makes the file at least as long as `offset + len`, if it may be written.
    fn grown(&self, call: &str, offset: u64, len: u64) -> Result<usize> {
        if !self.writable {
            return Err(fail(libc::EBADF, call, &self.path));
        }
        let end = end_of(offset, len).map_err(|e| fail(e, call, &self.path))?;
        let mut bytes = self.bytes.write();
        if bytes.len() < end {
            let more = end - bytes.len();
            bytes.try_reserve(more).map_err(|_| fail(libc::ENOMEM, call, &self.path))?;
            bytes.resize(end, 0);
        }
        Ok(end)
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        Ok(copy_out(&self.bytes.read(), buf, offset))
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        let end = self.grown("pwrite", offset, buf.len() as u64)?;
        self.bytes.write()[end - buf.len()..end].copy_from_slice(buf);
        Ok(())
    }

    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> Result<()> {
        Ok(())
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}

    fn len(&self) -> Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let end = self.grown("ftruncate", 0, len)?;
        self.bytes.write().truncate(end);
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        self.grown("fallocate", offset, len).map(|_| ())
    }

    fn prefetch(&self, _offset: u64, len: u64) {
        self.hints.prefetched.fetch_add(len, Ordering::Relaxed);
    }

    fn map_log(&self, len: u64) -> Result<Box<dyn MappedLog>> {
        // Relaxed: a setting of tests.
        let mappable = self.mappable.load(Ordering::Relaxed);
        check_mapping(mappable, self.writable, self.bytes.read().len(), len, &self.path)?;
        Ok(Box::new(MemMappedLog { bytes: self.bytes.clone(), windows: Windows::new(len as usize) }))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a file of `file_len` bytes can be mapped for `len`.
pub(super) fn check_mapping(mappable: bool, writable: bool, file_len: usize, len: u64, path: &Path) -> Result<()> {
    if !writable {
        return Err(fail(libc::EACCES, "mmap", path));
    }
    if !mappable || len == 0 || (file_len as u64) < len {
        return Err(Error::new(Code::Unsupported, format!("mapping of {len} bytes of {}", path.display())));
    }
    Ok(())
}

/// Which pages of a mapping are prepared.
pub(super) struct Windows {
    len: usize,
    prepared: Mutex<Vec<bool>>,
}

impl Windows {
    pub(super) fn new(len: usize) -> Windows {
        Windows { len, prepared: Mutex::new(vec![false; len.div_ceil(PAGE)]) }
    }

    pub(super) fn prepare(&self, offset: usize, len: usize) -> Result<()> {
        let Some(end) = offset.checked_add(len).filter(|&end| end <= self.len) else {
            return Err(Error::invalid(format!("window {offset}+{len} of a mapping of {}", self.len)));
        };
        if len > 0 {
            self.prepared.lock()[offset / PAGE..end.div_ceil(PAGE)].fill(true);
        }
        Ok(())
    }

    pub(super) fn release(&self, from: usize, to: usize) {
        let mut prepared = self.prepared.lock();
        let end = if to >= self.len { prepared.len() } else { to / PAGE };
        if from.div_ceil(PAGE) < end {
            prepared[from.div_ceil(PAGE)..end].fill(false);
        }
    }

    /// Panics unless every page of the range is prepared: a caller's mistake that a device would not forgive.
    pub(super) fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len).filter(|&end| end <= self.len);
        let Some(end) = end else { panic!("a store of {len} bytes at {offset} of a mapping of {}", self.len) };
        if len > 0 {
            let whole = self.prepared.lock()[offset / PAGE..end.div_ceil(PAGE)].iter().all(|&p| p);
            assert!(whole, "a store of {len} bytes at {offset} to pages that are not prepared");
        }
    }
}

struct MemMappedLog {
    bytes: Bytes,
    windows: Windows,
}

impl MappedLog for MemMappedLog {
    fn prepare(&self, offset: usize, len: usize) -> Result<()> {
        self.windows.prepare(offset, len)
    }

    fn release(&self, from: usize, to: usize) {
        self.windows.release(from, to);
    }

    fn store(&self, offset: usize, bytes: &[u8]) {
        self.windows.check(offset, bytes.len());
        let mut file = self.bytes.write();
        let room = file.get_mut(offset..offset + bytes.len());
        room.expect("a store behind the end of a file that was cut under its mapping").copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
