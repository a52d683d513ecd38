//! The folder lock: flock on the LOCK file, and a table of the locks this process holds.
//!
//! flock already refuses a second open file, also in this process; the table makes the refusal certain on file systems
//! that emulate flock by POSIX record locks (NFS, SMB), which a process never refuses to itself and which it loses when
//! it closes *any* descriptor of the file. The table is asked before the lock is touched.
//!
//! Invariants
//! - I1  The table holds exactly the locks that live in this process, keyed by device and inode.
//! - I2  LOCK_UN is called only by the process that took the lock, when it drops it: a forked child shares the open file,
//!   so its unlock would be the parent's, and without the parent's own a child that lives on would keep the folder.
//! - I3  The LOCK file is never removed, and a lock counts only while the path still names the locked inode.
//!
//! Threads: any. `abandon` is async-signal-safe. Failure: `Code::Locked`, or the errno with call and path; nothing stays
//! locked.

use super::sys;
use crate::base::sync::{AtomicI64, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use crate::fs::Lock;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, IntoRawFd};
use std::path::Path;
use std::time::Duration;

/// How a file is held by this process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    pid: u32,
    exclusive: bool,
    count: usize,
}

static TABLE: Mutex<BTreeMap<(u64, u64), Held>> = Mutex::new(BTreeMap::new());

/// The table is held for nanoseconds.
const TABLE_WAIT_MAX: Duration = Duration::from_secs(5);

/// A claim in the table; dropping it gives the claim up.
struct Claim {
    id: (u64, u64),
    pid: u32,
}

impl Claim {
    /// `None` when this process holds `id` in a way that excludes the new one. What a parent process left in the copy of
    /// the table is not ours and is overwritten.
    fn try_new(id: (u64, u64), exclusive: bool) -> Result<Option<Claim>> {
        let pid = std::process::id();
        // In a child forked while another thread was in here, the mutex stays locked for ever: do not hang in it.
        let Some(mut table) = TABLE.try_lock_for(TABLE_WAIT_MAX) else {
            return Err(Error::new(Code::Busy, "the table of folder locks is held (by a thread lost in a fork?)"));
        };
        match table.get_mut(&id).filter(|held| held.pid == pid) {
            Some(held) if held.exclusive || exclusive => return Ok(None),
            Some(held) => held.count += 1,
            None => {
                table.insert(id, Held { pid, exclusive, count: 1 });
            }
        }
        Ok(Some(Claim { id, pid }))
    }
}

impl Claim {
    /// Whether this process took it, and not the one it was forked from.
    fn is_own(&self) -> bool {
        std::process::id() == self.pid
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // In a forked child the mutex may have been copied in its locked state; the entry is the parent's anyway.
        if !self.is_own() {
            return;
        }
        let mut table = TABLE.lock();
        if let Some(held) = table.get_mut(&self.id) {
            held.count -= 1;
            if held.count == 0 {
                table.remove(&self.id);
            }
        }
    }
}

/// A held lock. Field order: the descriptor goes first, then the claim, so that the table never allows what flock would
/// still refuse.
struct PosixLock {
    /// The descriptor, -1 once closed. Swapped whole, so it is closed once; SeqCst because it is rare.
    fd: AtomicI64,
    claim: Claim,
}

impl Lock for PosixLock {
    fn abandon(&self) {
        // SeqCst: pairs with itself in `abandon` and `drop`; exactly one swap sees the descriptor.
        let fd = self.fd.swap(-1, Ordering::SeqCst);
        if fd >= 0 {
            sys::close(fd as i32);
        }
    }

    fn raw_fd(&self) -> i32 {
        // SeqCst: pairs with the swap in `abandon`.
        self.fd.load(Ordering::SeqCst) as i32
    }
}

impl Drop for PosixLock {
    fn drop(&mut self) {
        let fd = self.raw_fd();
        if fd >= 0 && self.claim.is_own() {
            sys::flock_release(fd);
        }
        self.abandon();
    }
}

/// What a read-only open of a folder without LOCK file gets: nothing is there to be held.
struct NoLock;

impl Lock for NoLock {
    fn abandon(&self) {}

    fn raw_fd(&self) -> i32 {
        -1
    }
}

#[cold]
fn locked(path: &Path, by: &str) -> Error {
    Error::new(Code::Locked, format!("{}: locked by {by}", path.display()))
}

/// Locks `path`; see `Fs::lock`.
pub fn lock(path: &Path, exclusive: bool) -> Result<Box<dyn Lock>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let flags = flags | if exclusive { libc::O_RDWR | libc::O_CREAT } else { libc::O_RDONLY };
    let fd = match sys::open(path, flags, 0o640) {
        Ok(fd) => fd,
        Err(libc::ENOENT) if !exclusive && parent_exists(path) => return Ok(Box::new(NoLock)),
        Err(errno) => return Err(Error::os(errno, format_args!("open of lock file {}", path.display()))),
    };
    let stat = sys::fstat(fd.as_fd()).map_err(|e| Error::os(e, format_args!("fstat of {}", path.display())))?;
    if !stat.is_file {
        return Err(Error::invalid(format!("{}: not a regular file", path.display())));
    }
    let Some(claim) = Claim::try_new(stat.id, exclusive)? else {
        return Err(locked(path, "this process"));
    };
    match sys::flock_try(fd.as_fd(), exclusive) {
        Ok(()) => {}
        Err(libc::EWOULDBLOCK) => return Err(locked(path, "another process")),
        Err(errno) => return Err(Error::os(errno, format_args!("flock of {}", path.display()))),
    }
    still_there(path, stat.id)?;
    Ok(Box::new(PosixLock { fd: AtomicI64::new(i64::from(fd.into_raw_fd())), claim }))
}

/// I3: between open and flock someone may have replaced the file; then the lock that was won guards nothing.
fn still_there(path: &Path, id: (u64, u64)) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::symlink_metadata(path) {
        Ok(now) if (now.dev(), now.ino()) == id => Ok(()),
        Ok(_) => Err(locked(path, "someone who replaced the file meanwhile")),
        Err(err) => Err(Error::io(&err, format_args!("lstat of {}", path.display()))),
    }
}

fn parent_exists(path: &Path) -> bool {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::metadata(parent).is_ok_and(|m| m.is_dir())
}
