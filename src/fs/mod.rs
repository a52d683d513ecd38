//! L1: files. The only layer that makes system calls on the database folder; everything above sees these traits.
//!
//! Threads: every method may be called from any thread. Failure: the errno and the path are in the error.

pub mod fault;
pub mod mem;
pub mod names;
pub mod posix;
mod tree;

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Existing, read-only.
    Read,
    /// Existing, read and write.
    ReadWrite,
    /// Must not exist; read and write; 0640 & umask.
    CreateNew,
}

/// What stands at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// A directory.
    pub is_dir: bool,
    /// A regular file (not a link, not a device).
    pub is_file: bool,
    /// Bytes in a file.
    pub len: u64,
}

/// Whether a log may be memory-mapped there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FsKind {
    /// ext4, xfs or tmpfs: mapping is safe.
    Mappable,
    /// Anything else: `write(2)` only.
    Other,
}

/// A held lock; dropping it gives the lock up.
pub trait Lock: Send + Sync {
    /// Closes the lock's descriptor without unlocking, for a forked child.
    fn abandon(&self);
    /// The descriptor, for an atfork handler; -1 where there is none.
    fn raw_fd(&self) -> i32;
}

/// A folder full of files.
pub trait Fs: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>>;
    /// What stands at `path`, not following a last symbolic link; `None` if nothing.
    fn metadata(&self, path: &Path) -> Result<Option<Metadata>>;
    /// The names in a folder, unordered.
    fn list(&self, dir: &Path) -> Result<Vec<OsString>>;
    /// Makes the last component of `dir` (0750 & umask).
    fn create_dir(&self, dir: &Path) -> Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, dir: &Path) -> Result<()>;
    /// Renames within a folder, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> Result<()>;
    /// Locks `path` (made if missing when exclusive). A lock held elsewhere, also in this process: `Code::Locked`.
    fn lock(&self, path: &Path, exclusive: bool) -> Result<Box<dyn Lock>>;
    /// What kind of file system `dir` is on.
    fn kind(&self, dir: &Path) -> FsKind;
    /// Bytes free for this process on the file system of `dir`; `u64::MAX` where unknown.
    fn free_bytes(&self, dir: &Path) -> u64;
    /// Bytes of memory in which pages of files may stay; 0 where there are none or nobody knows.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// An open file. Positions are explicit; no call moves a shared cursor. Short transfers and EINTR are retried inside.
#[expect(clippy::len_without_is_empty, reason = "a system call that may fail, not a container's length")]
pub trait File: Send + Sync {
    /// Reads until `buf` is full or the file ends; says how many bytes.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// Writes all of `buf`.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()>;
    /// Writes all of `buf` and makes just these bytes durable (pwritev2 RWF_DSYNC, else write and `sync_data`).
    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()>;
    /// Makes the file's bytes (and the size needed to read them) durable.
    fn sync_data(&self) -> Result<()>;
    /// Starts write-back of a range without waiting; a hint.
    fn start_writeback(&self, offset: u64, len: u64);
    /// Bytes in the file.
    fn len(&self) -> Result<u64>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> Result<()>;
    /// Reserves blocks for a range (fallocate; falls back to writing zeros); extends the file if needed.
    fn allocate(&self, offset: u64, len: u64) -> Result<()>;
    /// Tells the kernel that a range will be read soon; a hint.
    fn prefetch(&self, offset: u64, len: u64);
    /// Maps the first `len` bytes for a log. `Code::Unsupported` where that is not possible.
    fn map_log(&self, len: u64) -> Result<Box<dyn MappedLog>>;
    /// The path it was opened by, for error texts.
    fn path(&self) -> &Path;
    /// How many names the file has; one with more than one must not be recycled.
    fn links(&self) -> Result<u64> {
        Ok(1)
    }

    /// The first place from `offset` on that may hold anything but zeros; `None` if there is none. Where it cannot be
    /// known, that is `offset` itself.
    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        Ok(Some(offset))
    }

    /// Reads exactly `buf.len()` bytes; a file that ends before is `Corruption`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let got = self.read_at(buf, offset)?;
        if got == buf.len() {
            return Ok(());
        }
        Err(Error::corruption(format!(
            "{}: {} bytes wanted at offset {offset}, the file has only {got} there",
            self.path().display(),
            buf.len()
        )))
    }
}

/// A shared writable mapping of a preallocated log segment (RELIABILITY: no store may raise SIGBUS, so a window is
/// populated and locked before it is stored to).
pub trait MappedLog: Send + Sync {
    /// Populates (MADV_POPULATE_READ) and locks `[offset, offset + len)`, rounded out to pages. Reserves the bytes from
    /// a budget that the whole process shares (1/8 of RLIMIT_MEMLOCK); refused: an error, never a signal.
    fn prepare(&self, offset: usize, len: usize) -> Result<()>;
    /// As `prepare`, and takes the write faults of those pages now, all in one call, which marks them dirty. A record then
    /// costs less than half (27 against 72 ns at 140 bytes on ext4), and a refusal of the file system is an error here
    /// instead of a signal later. But the next sync writes the whole window: not when one is near.
    fn prepare_dirty(&self, offset: usize, len: usize) -> Result<()> {
        self.prepare(offset, len)
    }
    /// Unlocks all whole pages of `[from, to)`, giving their budget back.
    fn release(&self, from: usize, to: usize);
    /// Drops all whole pages of `[from, to)`, which are released, from the process: its other threads are interrupted for
    /// that.
    fn forget(&self, from: usize, to: usize) {
        let _ = (from, to);
    }
    /// Copies `bytes` to `offset`. The range lies within what was prepared and not released. Callers write disjoint
    /// ranges concurrently.
    fn store(&self, offset: usize, bytes: &[u8]);
}
