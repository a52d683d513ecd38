//! The real file system.
//!
//! - Our files are opened close-on-exec and never through a last symbolic link, and must be regular: a link, a pipe or a
//!   device under one of our names is an error, not something to write to or to wait for.
//! - Directory changes are durable only after `sync_dir`; data only after a sync that answered success.
//!
//! `sys` makes the calls, `file` the transfers, `lock` the folder lock, `map` the log mappings.
//!
//! Threads: any. Failure: errno, call and path; what a failed call left behind is said at the trait.

mod file;
mod lock;
mod map;
mod sys;

pub use file::PosixFile;
pub use map::PosixMappedLog;

use super::{File, Fs, FsKind, Lock, Metadata, OpenMode};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

const MAGIC_EXT4: i64 = 0xEF53;
const MAGIC_XFS: i64 = 0x5846_5342;
const MAGIC_TMPFS: i64 = 0x0102_1994;

/// Where a store to an allocated, populated and locked page needs nothing more from the device.
fn mappable(magic: i64) -> bool {
    matches!(magic, MAGIC_EXT4 | MAGIC_XFS | MAGIC_TMPFS)
}

/// Blocks every signal in the calling thread until the answer is dropped. A thread that is made meanwhile inherits that and
/// keeps it: a host's handlers never run in one of ours, not even before its first instruction.
#[must_use]
pub fn without_signals() -> impl Drop {
    sys::SignalMask::block_all()
}

/// Makes the calling thread a background one: it does not interrupt a thread that runs when it has something to do (Linux's
/// `SCHED_BATCH`). Where that is refused nothing changes.
pub fn yield_to_others() {
    sys::yield_to_others();
}

/// Hands memory that the allocator keeps for later back to the system, where that can be asked for. Takes milliseconds.
pub fn trim_memory() {
    sys::trim_memory();
}

/// The operating system's files. Has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct PosixFs;

impl PosixFs {
    /// The real file system.
    pub fn new() -> PosixFs {
        PosixFs
    }
}

#[cold]
fn fail(errno: i32, call: &str, path: &Path) -> Error {
    Error::os(errno, format_args!("{call} of {}", path.display()))
}

#[cold]
fn fail_io(err: &std::io::Error, call: &str, path: &Path) -> Error {
    Error::io(err, format_args!("{call} of {}", path.display()))
}

impl Fs for PosixFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        // O_NONBLOCK means nothing to a regular file, and keeps an open of a pipe from waiting for its other end.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let flags = flags
            | match mode {
                OpenMode::Read => libc::O_RDONLY,
                OpenMode::ReadWrite => libc::O_RDWR,
                OpenMode::CreateNew => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            };
        let fd = sys::open(path, flags, 0o640).map_err(|e| fail(e, "open", path))?;
        let stat = sys::fstat(fd.as_fd()).map_err(|e| fail(e, "fstat", path))?;
        if !stat.is_file {
            return Err(Error::corruption(format!("{}: a regular file expected", path.display())));
        }
        Ok(Arc::new(PosixFile::new(fd, path.to_owned())))
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        match std::fs::symlink_metadata(path) {
            Ok(m) => Ok(Some(Metadata { is_dir: m.is_dir(), is_file: m.is_file(), len: m.len() })),
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(err) => Err(fail_io(&err, "lstat", path)),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|e| fail_io(&e, "opendir", dir))? {
            names.push(entry.map_err(|e| fail_io(&e, "readdir", dir))?.file_name());
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        std::fs::DirBuilder::new().mode(0o750).create(dir).map_err(|e| fail_io(&e, "mkdir", dir))
    }

    fn remove_dir(&self, dir: &Path) -> Result<()> {
        std::fs::remove_dir(dir).map_err(|e| fail_io(&e, "rmdir", dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to)
            .map_err(|e| Error::io(&e, format_args!("rename of {} to {}", from.display(), to.display())))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path).map_err(|e| fail_io(&e, "unlink", path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let fd = sys::open(dir, libc::O_RDONLY | libc::O_DIRECTORY, 0).map_err(|e| fail(e, "open", dir))?;
        match sys::fsync(fd.as_fd()) {
            // A file system that cannot sync a directory says so by EINVAL; then there is nothing to wait for.
            Ok(()) | Err(libc::EINVAL) => Ok(()),
            Err(errno) => Err(fail(errno, "fsync", dir)),
        }
    }

    fn lock(&self, path: &Path, exclusive: bool) -> Result<Box<dyn Lock>> {
        lock::lock(path, exclusive)
    }

    fn kind(&self, dir: &Path) -> FsKind {
        match sys::statfs(dir) {
            Ok((magic, _)) if mappable(magic) => FsKind::Mappable,
            _ => FsKind::Other,
        }
    }

    fn free_bytes(&self, dir: &Path) -> u64 {
        sys::statfs(dir).map_or(u64::MAX, |(_, free)| free)
    }

    fn memory_bytes(&self) -> u64 {
        sys::memory_bytes()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_process;
