//! System calls as safe functions: descriptors are borrowed, buffers are slices, failures are errnos.
//!
//! Invariants
//! - I1  No descriptor of 0, 1 or 2 is kept: a host that closed its standard streams and prints would write into a file
//!   of ours.
//! - I2  A call that answers EINTR or EAGAIN is made again, but not for ever: a host in a signal storm gets an error in
//!   the end, never a hang.
//!
//! Threads: any. Failure: the errno; the caller adds call and path.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A call's answer or its errno.
pub type Sys<T> = std::result::Result<T, i32>;

/// What `fstat` says of an open file.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Device and inode: which file it is.
    pub id: (u64, u64),
    /// Bytes in it.
    pub len: u64,
    /// Bytes of blocks behind it.
    pub allocated: u64,
    /// Names it has.
    pub links: u64,
    /// A regular file.
    pub is_file: bool,
}

const EINTR_MAX: u32 = 10_000;
const EAGAIN_MAX: u32 = 1_000;

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Makes `call` until it answers something else than -1 with EINTR or EAGAIN, within bounds.
fn retry(mut call: impl FnMut() -> i64) -> Sys<i64> {
    let (mut interrupted, mut again) = (0, 0);
    loop {
        let answer = call();
        if answer != -1 {
            return Ok(answer);
        }
        match errno() {
            libc::EINTR if interrupted < EINTR_MAX => interrupted += 1,
            libc::EAGAIN if again < EAGAIN_MAX => {
                again += 1;
                std::thread::yield_now();
            }
            other => return Err(other),
        }
    }
}

fn c_path(path: &Path) -> Sys<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)
}

fn offset(value: u64) -> Sys<libc::off_t> {
    libc::off_t::try_from(value).map_err(|_| libc::EFBIG)
}

/// Opens `path` close-on-exec with a descriptor of 3 or above.
pub fn open(path: &Path, flags: i32, mode: libc::mode_t) -> Sys<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call; open keeps no pointer.
    let raw = retry(|| i64::from(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) }))?;
    // SAFETY: open just made this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw as RawFd) };
    above_standard(fd)
}

/// I1: a descriptor of 0..=2 is exchanged for a higher one of the same open file.
pub fn above_standard(fd: OwnedFd) -> Sys<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes an integer and touches no memory; `fd` is open.
    let raw = retry(|| i64::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) }))?;
    // SAFETY: fcntl just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Closes a descriptor that is held as a number. Async-signal-safe.
pub fn close(fd: RawFd) {
    // SAFETY: close touches no memory; the caller gives up the only record of `fd`. The answer says nothing that a
    // sync before did not say, and after EINTR Linux has closed it all the same.
    let _ = unsafe { libc::close(fd) };
}

/// Reads once; 0 is the end of the file.
pub fn pread(fd: BorrowedFd<'_>, buf: &mut [u8], at: u64) -> Sys<usize> {
    let at = offset(at)?;
    // SAFETY: `buf` is writable for its length during the call.
    retry(|| unsafe { libc::pread(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), at) } as i64).map(|n| n as usize)
}

/// The first place from `at` on that is not a hole; `ENXIO` if there is none. Moves the descriptor's own position, which
/// nothing here uses.
pub fn seek_data(fd: BorrowedFd<'_>, at: u64) -> Sys<u64> {
    let at = offset(at)?;
    // SAFETY: lseek touches no memory.
    retry(|| unsafe { libc::lseek(fd.as_raw_fd(), at, libc::SEEK_DATA) }).map(|n| n as u64)
}

/// Writes once; may be short.
pub fn pwrite(fd: BorrowedFd<'_>, buf: &[u8], at: u64) -> Sys<usize> {
    let at = offset(at)?;
    // SAFETY: `buf` is readable for its length during the call.
    retry(|| unsafe { libc::pwrite(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len(), at) } as i64).map(|n| n as usize)
}

/// Writes once with RWF_DSYNC: what it wrote is on the device. May be short.
pub fn pwrite_dsync(fd: BorrowedFd<'_>, buf: &[u8], at: u64) -> Sys<usize> {
    let at = offset(at)?;
    let part = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
    // SAFETY: one iovec that names `buf`, readable for its length during the call; pwritev2 only reads from it.
    retry(|| unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const part, 1, at, libc::RWF_DSYNC) } as i64)
        .map(|n| n as usize)
}

/// fdatasync.
pub fn fdatasync(fd: BorrowedFd<'_>) -> Sys<()> {
    // SAFETY: touches no memory of ours.
    retry(|| i64::from(unsafe { libc::fdatasync(fd.as_raw_fd()) })).map(|_| ())
}

/// fsync.
pub fn fsync(fd: BorrowedFd<'_>) -> Sys<()> {
    // SAFETY: touches no memory of ours.
    retry(|| i64::from(unsafe { libc::fsync(fd.as_raw_fd()) })).map(|_| ())
}

/// Starts write-back. Without the WAIT flags this call neither blocks for the device nor reports (and so clears) an
/// earlier write-back failure, which belongs to the next sync; its own answer is a hint's.
pub fn sync_file_range_start(fd: BorrowedFd<'_>, at: u64, len: u64) {
    let (Ok(at), Ok(len)) = (i64::try_from(at), i64::try_from(len)) else { return };
    // SAFETY: touches no memory of ours.
    let _ = unsafe { libc::sync_file_range(fd.as_raw_fd(), at, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// posix_fadvise WILLNEED, a hint.
pub fn will_need(fd: BorrowedFd<'_>, at: u64, len: u64) {
    let (Ok(at), Ok(len)) = (i64::try_from(at), i64::try_from(len)) else { return };
    // SAFETY: touches no memory of ours.
    let _ = unsafe { libc::posix_fadvise(fd.as_raw_fd(), at, len, libc::POSIX_FADV_WILLNEED) };
}

/// ftruncate.
pub fn ftruncate(fd: BorrowedFd<'_>, len: u64) -> Sys<()> {
    let len = offset(len)?;
    // SAFETY: touches no memory of ours.
    retry(|| i64::from(unsafe { libc::ftruncate(fd.as_raw_fd(), len) })).map(|_| ())
}

/// fallocate with mode 0: blocks for the range, and a longer file if it ends behind.
pub fn fallocate(fd: BorrowedFd<'_>, at: u64, len: u64) -> Sys<()> {
    let (at, len) = (offset(at)?, offset(len)?);
    // SAFETY: touches no memory of ours.
    retry(|| i64::from(unsafe { libc::fallocate(fd.as_raw_fd(), 0, at, len) })).map(|_| ())
}

/// fstat.
pub fn fstat(fd: BorrowedFd<'_>) -> Sys<Stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` is writable for a whole struct stat.
    retry(|| i64::from(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) }))?;
    // SAFETY: fstat succeeded and so filled it in.
    let stat = unsafe { stat.assume_init() };
    #[allow(clippy::unnecessary_cast, reason = "st_nlink has 32 bits on aarch64")]
    let links = stat.st_nlink as u64;
    Ok(Stat {
        id: (stat.st_dev, stat.st_ino),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        links,
        is_file: stat.st_mode & libc::S_IFMT == libc::S_IFREG,
    })
}

/// The magic number of the file system that `fd` is on.
pub fn fs_magic_of(fd: BorrowedFd<'_>) -> Sys<i64> {
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `stat` is writable for a whole struct statfs.
    retry(|| i64::from(unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) }))?;
    // SAFETY: fstatfs succeeded and so filled it in.
    Ok(unsafe { stat.assume_init() }.f_type)
}

/// The magic number and the bytes free for this process of the file system that `path` is on.
pub fn statfs(path: &Path) -> Sys<(i64, u64)> {
    let path = c_path(path)?;
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` is NUL-terminated and `stat` writable for a whole struct statfs, both during the call.
    retry(|| i64::from(unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) }))?;
    // SAFETY: statfs succeeded and so filled it in.
    let stat = unsafe { stat.assume_init() };
    let unit = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize };
    Ok((stat.f_type, stat.f_bavail.saturating_mul(u64::try_from(unit).unwrap_or(0))))
}

/// flock without waiting; EWOULDBLOCK when another open file holds it. (Not through `retry`: here it is the answer.)
pub fn flock_try(fd: BorrowedFd<'_>, exclusive: bool) -> Sys<()> {
    let how = if exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
    for _ in 0..EINTR_MAX {
        // SAFETY: touches no memory of ours.
        if unsafe { libc::flock(fd.as_raw_fd(), how | libc::LOCK_NB) } == 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            other => return Err(other),
        }
    }
    Err(libc::EINTR)
}

/// Gives an flock up for every copy of the open file, a forked child's included.
pub fn flock_release(fd: RawFd) {
    // SAFETY: touches no memory of ours.
    unsafe { libc::flock(fd, libc::LOCK_UN) };
}

/// Whether any extent of the file is shared with another (a reflink): a store to such a page needs a new block, so it
/// may meet a full device. A file system without extent maps (tmpfs) shares none.
pub fn shares_extents(fd: BorrowedFd<'_>) -> Sys<bool> {
    const FS_IOC_FIEMAP: libc::Ioctl = 0xC020_660B;
    const EXTENT_LAST: u32 = 0x1;
    const EXTENT_SHARED: u32 = 0x2000;
    const EXTENTS: usize = 64;
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Extent {
        logical: u64,
        physical: u64,
        length: u64,
        reserved64: [u64; 2],
        flags: u32,
        reserved: [u32; 3],
    }
    #[repr(C)]
    struct Request {
        start: u64,
        length: u64,
        flags: u32,
        mapped: u32,
        count: u32,
        reserved: u32,
        extents: [Extent; EXTENTS],
    }
    const _: () = assert!(size_of::<Extent>() == 56 && size_of::<Request>() == 32 + 56 * EXTENTS);
    let mut start = 0;
    loop {
        let mut request = Request {
            start,
            length: u64::MAX - start,
            flags: 0,
            mapped: 0,
            count: EXTENTS as u32,
            reserved: 0,
            extents: [Extent::default(); EXTENTS],
        };
        // SAFETY: FIEMAP reads the 32-byte head and fills in at most `count` extents behind it: `request` has the
        // kernel's layout (asserted above), room for them, and is writable during the call.
        let answer = retry(|| i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), FS_IOC_FIEMAP, &raw mut request) }));
        match answer {
            Ok(_) => {}
            Err(libc::EOPNOTSUPP | libc::ENOTTY) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        let found = &request.extents[..(request.mapped as usize).min(EXTENTS)];
        if found.iter().any(|e| e.flags & EXTENT_SHARED != 0) {
            return Ok(true);
        }
        match found.last() {
            Some(last) if last.flags & EXTENT_LAST == 0 && last.logical.saturating_add(last.length) > start => {
                start = last.logical.saturating_add(last.length);
            }
            _ => return Ok(false),
        }
    }
}

/// RLIMIT_MEMLOCK in bytes; `u64::MAX` for none.
pub fn memlock_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for a whole struct rlimit.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    if answer == 0 { limit.rlim_cur } else { 0 }
}

/// Bytes of a page.
pub fn page_bytes() -> usize {
    // SAFETY: sysconf only looks up a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|b| b.is_power_of_two()).unwrap_or(4096)
}

/// Bytes of memory that this process may use: the machine's, or what its control group allows if that is less. 0 when
/// that cannot be told.
pub fn memory_bytes() -> u64 {
    // SAFETY: sysconf only looks up a number.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    let machine = u64::try_from(pages).unwrap_or(0).saturating_mul(page_bytes() as u64);
    // Version 2 and version 1, as a container sees its own group. No limit is "max" there and a huge number here.
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    group.map_or(machine, |limit| machine.min(limit))
}

/// Has the allocator hand free pages back.
pub(super) fn trim_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    {
        // SAFETY: takes the allocator's own locks and touches free memory only.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

/// The signals that a thread had blocked before it blocked all; they are blocked again, alone, on drop.
pub(super) struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Blocks every signal in the calling thread.
    pub(super) fn block_all() -> SignalMask {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: `sigfillset` only writes the set it is given.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: the first set was filled above; the second is written.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: written above; were it not, zeros are a set too, the empty one.
        SignalMask(unsafe { before.assume_init() })
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        // SAFETY: a set that the system gave; the current mask is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// From now on the calling thread waits its turn when it wakes, instead of taking the processor from who runs there.
pub fn yield_to_others() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter lives through the call, which concerns this thread alone and needs no right.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn set_errno(errno: i32) {
        // SAFETY: only answers where this thread's errno is.
        let at = unsafe { libc::__errno_location() };
        // SAFETY: this thread's errno is writable as long as the thread lives.
        unsafe { at.write(errno) };
    }

    #[test]
    fn high_descriptors_stay() {
        // That low ones are exchanged needs a process of its own: `tests_process`.
        let fd: OwnedFd = tempfile::tempfile().expect("a temporary file").into();
        let raw = fd.as_raw_fd();
        assert!(raw > 2);
        assert_eq!(above_standard(fd).expect("already high").as_raw_fd(), raw);
    }

    #[test]
    fn descriptors_close_at_exec() {
        let fd = open(Path::new("/"), libc::O_RDONLY, 0).expect("open");
        assert!(fd.as_raw_fd() > 2);
        // SAFETY: F_GETFD touches no memory.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn retry_is_bounded() {
        let mut calls = 0u32;
        let answer = retry(|| {
            calls += 1;
            set_errno(libc::EINTR);
            -1
        });
        assert_eq!(answer, Err(libc::EINTR));
        assert_eq!(calls, EINTR_MAX + 1);
    }

    #[test]
    fn retry_passes_over_interruptions() {
        let mut calls = 0;
        let answer = retry(|| {
            calls += 1;
            set_errno(if calls % 2 == 0 { libc::EINTR } else { libc::EAGAIN });
            if calls == 7 { 42 } else { -1 }
        });
        assert_eq!(answer, Ok(42));
    }

    #[test]
    fn a_plain_file_shares_no_extents() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, &[1; 100_000]).expect("write");
        assert_eq!(shares_extents(file.as_file().as_fd()), Ok(false));
    }
}
