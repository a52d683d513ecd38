//! An open regular file.
//!
//! Invariants
//! - I1  Every transfer is finished or answered with an error: short ones go on, a transfer of nothing is EIO.
//! - I2  A failed sync is answered once and never retried here: the kernel has dropped the pages, and a second sync would
//!   answer 0. Who holds the file must not trust it again.
//!
//! Threads: any number, also on the same range (the kernel's order of them then counts), except that `allocate` may, on
//! file systems without fallocate, rewrite what it finds: no other writer in its range. Failure: errno, call, path.

use super::sys::{self, Sys};
use super::{MAGIC_TMPFS, map, mappable};
use crate::base::sync::{AtomicBool, Ordering};
use crate::error::{Code, Error, Result};
use crate::fs::{File, MappedLog};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// An open file of the real file system.
pub struct PosixFile {
    fd: OwnedFd,
    path: PathBuf,
    /// pwritev2 with RWF_DSYNC was refused here. Relaxed everywhere: a hint that saves a call.
    no_dsync: AtomicBool,
}

impl PosixFile {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> PosixFile {
        PosixFile { fd, path, no_dsync: AtomicBool::new(false) }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    #[cold]
    fn fail(&self, errno: i32, call: impl fmt::Display) -> Error {
        Error::os(errno, format_args!("{call} of {}", self.path.display()))
    }

    /// Writes all of `buf` with `write`, which may be short.
    fn write_with(
        &self,
        name: &str,
        mut buf: &[u8],
        mut offset: u64,
        write: fn(BorrowedFd<'_>, &[u8], u64) -> Sys<usize>,
    ) -> Result<()> {
        while !buf.is_empty() {
            let n = match write(self.fd(), buf, offset) {
                Ok(0) => Err(libc::EIO),
                other => other,
            }
            .map_err(|errno| self.fail(errno, format_args!("{name} of {} bytes at {offset}", buf.len())))?;
            buf = &buf[n.min(buf.len())..];
            offset += n as u64;
        }
        Ok(())
    }

    /// Gives blocks to a range without fallocate: what lies before the end of the file is written back as it is, what
    /// lies behind becomes zeros.
    fn allocate_by_writing(&self, offset: u64, len: u64) -> Result<()> {
        let end = offset.checked_add(len).ok_or_else(|| self.fail(libc::EFBIG, "allocation"))?;
        let file_len = self.len()?;
        let mut at = offset;
        let mut block = ZEROS;
        while at < end.min(file_len) {
            let want = (end.min(file_len) - at).min(block.len() as u64) as usize;
            let got = self.read_at(&mut block[..want], at)?;
            if got == 0 {
                break;
            }
            self.write_all_at(&block[..got], at)?;
            at += got as u64;
        }
        while at < end {
            let n = (end - at).min(ZEROS.len() as u64);
            self.write_all_at(&ZEROS[..n as usize], at)?;
            at += n;
        }
        Ok(())
    }

    /// Why the first `len` bytes must not be mapped for stores, if so.
    fn unmappable(&self, len: u64) -> Result<Option<&'static str>> {
        let magic = sys::fs_magic_of(self.fd()).map_err(|e| self.fail(e, "fstatfs"))?;
        if !mappable(magic) {
            return Ok(Some("its file system is not known to be safe for it"));
        }
        let stat = sys::fstat(self.fd()).map_err(|e| self.fail(e, "fstat"))?;
        if stat.len < len {
            return Ok(Some("it is shorter than the mapping"));
        }
        if stat.allocated < len {
            return Ok(Some("it has holes"));
        }
        if stat.links != 1 {
            return Ok(Some("it has more than one name"));
        }
        if magic != MAGIC_TMPFS && sys::shares_extents(self.fd()).map_err(|e| self.fail(e, "ioctl(FIEMAP)"))? {
            return Ok(Some("it shares extents with another file"));
        }
        Ok(None)
    }
}

impl File for PosixFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset.saturating_add(done as u64);
            match sys::pread(self.fd(), &mut buf[done..], at) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(errno) => {
                    let left = buf.len() - done;
                    return Err(self.fail(errno, format_args!("pread of {left} bytes at {at}")));
                }
            }
        }
        Ok(done)
    }

    /// Only on file systems whose answer is known to be right, page cache and mappings included: others have called a hole
    /// what was data that had not been written back yet.
    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        if !sys::fs_magic_of(self.fd()).is_ok_and(mappable) {
            return Ok(Some(offset));
        }
        match sys::seek_data(self.fd(), offset) {
            Ok(at) => Ok(Some(at)),
            Err(libc::ENXIO) => Ok(None),
            Err(_) => Ok(Some(offset)),
        }
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.write_with("pwrite", buf, offset, sys::pwrite)
    }

    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()> {
        if !self.no_dsync.load(Ordering::Relaxed) {
            match self.write_with("pwritev2(RWF_DSYNC)", buf, offset, sys::pwrite_dsync) {
                // What an earlier part of a short transfer wrote is written again; the same bytes, so harmless.
                Err(e) if matches!(e.os_errno(), libc::ENOSYS | libc::EOPNOTSUPP) => {
                    self.no_dsync.store(true, Ordering::Relaxed);
                }
                other => return other,
            }
        }
        self.write_all_at(buf, offset)?;
        self.sync_data()
    }

    fn sync_data(&self) -> Result<()> {
        sys::fdatasync(self.fd()).map_err(|e| self.fail(e, "fdatasync"))
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        // A length of 0 would mean "to the end" to the kernel.
        if len > 0 {
            sys::sync_file_range_start(self.fd(), offset, len);
        }
    }

    fn len(&self) -> Result<u64> {
        Ok(sys::fstat(self.fd()).map_err(|e| self.fail(e, "fstat"))?.len)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        sys::ftruncate(self.fd(), len).map_err(|e| self.fail(e, format_args!("ftruncate to {len} bytes")))
    }

    fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        match sys::fallocate(self.fd(), offset, len) {
            Ok(()) => Ok(()),
            Err(libc::EOPNOTSUPP | libc::ENOSYS) => self.allocate_by_writing(offset, len),
            Err(errno) => Err(self.fail(errno, format_args!("fallocate of {len} bytes at {offset}"))),
        }
    }

    fn prefetch(&self, offset: u64, len: u64) {
        if len > 0 {
            sys::will_need(self.fd(), offset, len);
        }
    }

    fn map_log(&self, len: u64) -> Result<Box<dyn MappedLog>> {
        if let Some(why) = self.unmappable(len)? {
            return Err(Error::new(Code::Unsupported, format!("mapping of {}: {why}", self.path.display())));
        }
        Ok(Box::new(map::map(self.fd(), &self.path, len)?))
    }

    fn links(&self) -> Result<u64> {
        Ok(sys::fstat(self.fd()).map_err(|e| self.fail(e, "fstat"))?.links)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fs, OpenMode};

    #[test]
    fn allocation_without_fallocate_keeps_what_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x");
        let file = super::super::PosixFs::new().open(&path, OpenMode::CreateNew).expect("open");
        file.write_all_at(&[7; 100_000], 0).expect("write");
        let fd = sys::open(&path, libc::O_RDWR, 0).expect("open");
        let raw = PosixFile::new(fd, path);
        raw.allocate_by_writing(50_000, 200_000).expect("allocate");
        assert_eq!(raw.len().expect("len"), 250_000);
        let mut back = vec![1; 250_000];
        raw.read_exact_at(&mut back, 0).expect("read");
        assert!(back[..100_000].iter().all(|&b| b == 7));
        assert!(back[100_000..].iter().all(|&b| b == 0));
    }

    #[test]
    fn holes_are_passed_over_and_data_never_is() {
        let file = PosixFile::new(tempfile::tempfile().expect("a file").into(), PathBuf::from("/x"));
        file.set_len(8 << 20).expect("extend");
        // Not synced: in the page cache only.
        file.write_all_at(b"x", 5 << 20).expect("write");
        let knows = sys::fs_magic_of(file.fd()).is_ok_and(mappable);
        for from in [0, 1 << 20, (5 << 20) - 1, 5 << 20] {
            let at = file.next_data(from).expect("seek").expect("data is there");
            assert!((from..=5 << 20).contains(&at), "from {from}: {at}");
            assert!(!knows || at + (1 << 20) > 5 << 20, "from {from}: {at}, though there is a hole");
        }
        assert_eq!(file.next_data(6 << 20).expect("seek").is_none(), knows);
        // Allocated and never written: a hole too, until something is in the page cache.
        file.allocate(8 << 20, 4 << 20).expect("allocate");
        file.write_all_at(b"y", 11 << 20).expect("write");
        let at = file.next_data(9 << 20).expect("seek").expect("data is there");
        assert!((9 << 20..=11 << 20).contains(&at), "{at}");
    }

    #[test]
    fn without_rwf_dsync_write_and_sync() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x");
        let fd = sys::open(&path, libc::O_RDWR | libc::O_CREAT, 0o640).expect("open");
        let file = PosixFile::new(fd, path);
        file.no_dsync.store(true, Ordering::Relaxed);
        file.write_all_at_sync(b"hello", 3).expect("write");
        let mut back = [0; 8];
        file.read_exact_at(&mut back, 0).expect("read");
        assert_eq!(&back, b"\0\0\0hello");
    }

    #[test]
    fn a_transfer_of_nothing_is_an_error() {
        let file = tempfile::tempfile().expect("a file");
        let file = PosixFile::new(file.into(), PathBuf::from("/x"));
        let err = file.write_with("pwrite", b"abc", 0, |_, _, _| Ok(0)).expect_err("nothing moves");
        assert_eq!(err.os_errno(), libc::EIO);
        file.write_with("pwrite", b"abcdef", 2, |fd, buf, at| sys::pwrite(fd, &buf[..1], at)).expect("a byte each");
        let mut back = [0; 8];
        assert_eq!(file.read_at(&mut back, 0).expect("read"), 8);
        assert_eq!(&back, b"\0\0abcdef");
    }
}
