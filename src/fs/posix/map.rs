//! A log segment mapped into memory, with windows that are locked before they are stored to.
//!
//! A store to a mapped page that the kernel has evicted reads the device, and a read failure there is SIGBUS. A page that
//! is populated and locked cannot be evicted, so stores go only to such pages. How many bytes may be locked is a budget
//! of the whole process, because RLIMIT_MEMLOCK is.
//!
//! Invariants
//! - I1  A bit of `locked` is set exactly when its page is mlocked by this mapping and charged to the budget.
//! - I2  The mapping lies within the file as it was when mapped, all of it allocated and in no extent shared with another
//!   file, so that no store needs a block. (Who cuts the file afterwards must not store any more.)
//! - I3  In a forked child the mapping does not exist (MADV_DONTFORK): nothing is stored, and drop touches neither memory
//!   nor budget.
//!
//! Threads: `store` to disjoint ranges concurrently with everything else; `prepare` and `release` serialise themselves.
//! Failure: `prepare` leaves pages locked that it had finished, all charged; the file is unharmed.

#![expect(unsafe_code, reason = "mmap, madvise, mlock and stores into the mapping")]

use super::{MAGIC_TMPFS, sys};
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use crate::fs::MappedLog;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;

/// No process locks more than this for its logs, whatever its limit.
const BUDGET_BYTES_MAX: u64 = 64 << 20;

/// Bytes of log windows that may be locked at a time.
pub struct Budget {
    limit: OnceLock<u64>,
    used: AtomicU64,
}

/// The one budget of the process: an eighth of RLIMIT_MEMLOCK, as it is when first asked.
static PROCESS: Budget = Budget { limit: OnceLock::new(), used: AtomicU64::new(0) };

impl Budget {
    /// A budget of its own.
    #[cfg(test)]
    pub fn of(bytes: u64) -> Budget {
        Budget { limit: OnceLock::from(bytes), used: AtomicU64::new(0) }
    }

    fn limit(&self) -> u64 {
        *self.limit.get_or_init(|| (sys::memlock_limit() / 8).min(BUDGET_BYTES_MAX))
    }

    /// Bytes charged now.
    #[cfg(test)]
    pub fn used(&self) -> u64 {
        // Relaxed: a figure, orders nothing.
        self.used.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: u64) -> std::result::Result<(), u64> {
        let limit = self.limit();
        // Relaxed: a counter that guards no other memory.
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let next = used.saturating_add(bytes);
            if next > limit {
                return Err(limit.saturating_sub(used));
            }
            // Relaxed: as above.
            match self.used.compare_exchange_weak(used, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => used = now,
            }
        }
    }

    fn refund(&self, bytes: u64) {
        // Relaxed: a counter that guards no other memory.
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes);
    }
}

/// Which pages are locked, a bit each.
struct Pages(Vec<u64>);

impl Pages {
    fn new(count: usize) -> Result<Pages> {
        let words = count.div_ceil(64);
        let mut bits = Vec::new();
        bits.try_reserve_exact(words)
            .map_err(|_| Error::new(Code::NoMem, format!("{words} words for the page map of a log segment")))?;
        bits.resize(words, 0);
        Ok(Pages(bits))
    }

    fn get(&self, page: usize) -> bool {
        self.0[page / 64] >> (page % 64) & 1 == 1
    }

    fn set(&mut self, pages: std::ops::Range<usize>, locked: bool) {
        for page in pages {
            let bit = 1 << (page % 64);
            if locked {
                self.0[page / 64] |= bit;
            } else {
                self.0[page / 64] &= !bit;
            }
        }
    }

    /// The first run of pages within `range` whose bit is `locked`.
    fn run(&self, range: std::ops::Range<usize>, locked: bool) -> Option<std::ops::Range<usize>> {
        let start = range.clone().find(|&page| self.get(page) == locked)?;
        let end = (start..range.end).find(|&page| self.get(page) != locked).unwrap_or(range.end);
        Some(start..end)
    }
}

/// A mapped segment.
pub struct PosixMappedLog {
    base: NonNull<u8>,
    /// Bytes asked for: the bound of `store`.
    len: usize,
    page: usize,
    pid: u32,
    path: PathBuf,
    budget: &'static Budget,
    /// The file is on tmpfs.
    in_memory: bool,
    locked: Mutex<Pages>,
}

// SAFETY: the mapping belongs to no thread; `base` and `len` never change, and `store` only copies into the shared
// mapping, at ranges that the callers keep disjoint (the contract of `MappedLog`).
unsafe impl Send for PosixMappedLog {}
// SAFETY: as for Send; all other state is behind the mutex.
unsafe impl Sync for PosixMappedLog {}

/// Maps the first `len` bytes of `fd`. The caller has checked the file (I2).
pub fn map(fd: BorrowedFd<'_>, path: &Path, len: u64) -> Result<PosixMappedLog> {
    map_with(fd, path, len, &PROCESS)
}

/// The same on a budget of one's own.
pub fn map_with(fd: BorrowedFd<'_>, path: &Path, len: u64, budget: &'static Budget) -> Result<PosixMappedLog> {
    let fail = |errno, call| Error::os(errno, format_args!("{call} of {len} bytes of {}", path.display()));
    let len = usize::try_from(len).ok().filter(|&l| l > 0 && l <= isize::MAX as usize / 2);
    let Some(len) = len else { return Err(fail(libc::EINVAL, "mmap")) };
    let page = sys::page_bytes();
    let in_memory = sys::fs_magic_of(fd) == Ok(MAGIC_TMPFS);
    let locked = Mutex::new(Pages::new(len.div_ceil(page))?);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice: it replaces nothing. `fd` is open.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    let base = match NonNull::new(base.cast::<u8>()) {
        Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => base,
        _ => return Err(fail(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO), "mmap")),
    };
    // From here on drop unmaps.
    let pid = std::process::id();
    let map = PosixMappedLog { base, len, page, pid, path: path.to_owned(), budget, in_memory, locked };
    map.call("madvise(MADV_DONTFORK)", 0..map.pages(), |at, len| {
        // SAFETY: `at..at+len` is the whole of our mapping; the advice changes what fork copies, not the bytes.
        unsafe { libc::madvise(at, len, libc::MADV_DONTFORK) }
    })?;
    Ok(map)
}

impl PosixMappedLog {
    /// Where the mapping begins.
    #[cfg(test)]
    pub fn address(&self) -> *mut libc::c_void {
        self.base.as_ptr().cast()
    }

    fn pages(&self) -> usize {
        self.len.div_ceil(self.page)
    }

    /// Makes a call on a range of pages of the mapping; EINTR and EAGAIN again, within bounds.
    fn call(
        &self,
        name: &str,
        pages: std::ops::Range<usize>,
        f: impl Fn(*mut libc::c_void, usize) -> i32,
    ) -> Result<()> {
        debug_assert!(pages.start < pages.end && pages.end <= self.pages());
        let at = self.base.as_ptr().wrapping_add(pages.start * self.page);
        let len = pages.len() * self.page;
        let mut tries = 0;
        while f(at.cast(), len) != 0 {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            tries += 1;
            if !matches!(errno, libc::EINTR | libc::EAGAIN) || tries > 100 {
                let at = pages.start * self.page;
                return Err(Error::os(errno, format_args!("{name} of {len} bytes at {at} of {}", self.path.display())));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Populates and locks pages that are not locked yet, and charges them.
    fn lock_run(&self, run: std::ops::Range<usize>, advice: libc::c_int) -> Result<()> {
        let bytes = (run.len() * self.page) as u64;
        self.budget.charge(bytes).map_err(|left| {
            Error::new(
                Code::NoMem,
                format!(
                    "{}: a window of {bytes} bytes cannot be locked, {left} are left of the {} bytes that this process \
                     may lock for logs",
                    self.path.display(),
                    self.budget.limit()
                ),
            )
        })?;
        let done = self
            .call("madvise(MADV_POPULATE_READ or _WRITE)", run.clone(), |at, len| {
                // SAFETY: the range lies in our mapping; populating reads pages in and may mark them dirty, but
                // changes no bytes.
                unsafe { libc::madvise(at, len, advice) }
            })
            .map_err(|err| match err.os_errno() {
                // Kernels before 5.14 do not know it.
                libc::EINVAL | libc::ENOSYS => Error::new(Code::Unsupported, err.message()),
                _ => err,
            })
            .and_then(|()| {
                self.call("mlock", run.clone(), |at, len| {
                    // SAFETY: the range lies in our mapping; locking changes no bytes.
                    unsafe { libc::mlock(at, len) }
                })
            });
        if done.is_err() {
            // mlock may have locked a part.
            self.unlock_run(run);
            self.budget.refund(bytes);
        }
        done
    }

    fn unlock_run(&self, run: std::ops::Range<usize>) {
        // It fails only for ranges that are not mapped, and this one is.
        let _ = self.call("munlock", run, |at, len| {
            // SAFETY: the range lies in our mapping; unlocking changes no bytes.
            unsafe { libc::munlock(at, len) }
        });
    }

    fn check(&self, offset: usize, len: usize) -> Result<usize> {
        offset.checked_add(len).filter(|&end| end <= self.len).ok_or_else(|| {
            Error::invalid(format!("{}: window {offset}+{len} of a mapping of {}", self.path.display(), self.len))
        })
    }
}

impl PosixMappedLog {
    /// The pages that lie wholly in `[from, to)`; the page that the mapping ends in does when `to` is that end.
    fn whole_pages(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let end = if to >= self.len { self.pages() } else { to / self.page };
        from.div_ceil(self.page).min(end)..end
    }

    fn prepare_with(&self, offset: usize, len: usize, advice: libc::c_int) -> Result<()> {
        let end = self.check(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let mut wanted = offset / self.page..end.div_ceil(self.page);
        let mut locked = self.locked.lock();
        while let Some(run) = locked.run(wanted.clone(), false) {
            self.lock_run(run.clone(), advice)?;
            wanted.start = run.end;
            locked.set(run, true);
        }
        Ok(())
    }
}

impl MappedLog for PosixMappedLog {
    fn prepare(&self, offset: usize, len: usize) -> Result<()> {
        self.prepare_with(offset, len, libc::MADV_POPULATE_READ)
    }

    fn prepare_dirty(&self, offset: usize, len: usize) -> Result<()> {
        // On tmpfs a write fault costs next to nothing, and populating for it more than it saves (68 against 55 ns).
        let advice = if self.in_memory { libc::MADV_POPULATE_READ } else { libc::MADV_POPULATE_WRITE };
        self.prepare_with(offset, len, advice)
    }

    fn release(&self, from: usize, to: usize) {
        let mut whole = self.whole_pages(from, to);
        let mut locked = self.locked.lock();
        while let Some(run) = locked.run(whole.clone(), true) {
            self.unlock_run(run.clone());
            self.budget.refund((run.len() * self.page) as u64);
            whole.start = run.end;
            locked.set(run, false);
        }
    }

    fn forget(&self, from: usize, to: usize) {
        let whole = self.whole_pages(from, to);
        if whole.is_empty() {
            return;
        }
        // Dirty pages of a shared file mapping stay dirty in the page cache; only this process forgets them.
        let _ = self.call("madvise(MADV_DONTNEED)", whole, |at, len| {
            // SAFETY: the range lies in our mapping, a shared file mapping: later loads see the same bytes again, from
            // the page cache.
            unsafe { libc::madvise(at, len, libc::MADV_DONTNEED) }
        });
    }

    #[inline]
    fn store(&self, offset: usize, bytes: &[u8]) {
        let fits = self.len.checked_sub(offset).is_some_and(|room| bytes.len() <= room);
        assert!(fits, "a store of {} bytes at {offset} of a mapping of {}", bytes.len(), self.len);
        // SAFETY: offset <= len, so the pointer stays inside the mapping or one past it.
        let to = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: `to..to+bytes.len()` lies in our writable mapping, which lives as long as self; `bytes` is ordinary
        // memory of the caller and nothing hands out references into the mapping, so they do not overlap; callers
        // write disjoint ranges (contract of `MappedLog`), so no other thread writes there.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

impl Drop for PosixMappedLog {
    fn drop(&mut self) {
        // I3: in a forked child these addresses are someone else's by now.
        if std::process::id() != self.pid {
            return;
        }
        let all = 0..self.pages();
        let mut rest = all.clone();
        let locked = self.locked.get_mut();
        while let Some(run) = locked.run(rest.clone(), true) {
            self.budget.refund((run.len() * self.page) as u64);
            rest.start = run.end;
        }
        // SAFETY: our own mapping, whole; nothing refers into it any more. Unmapping unlocks.
        let _ = unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
