//! The real file system in a temporary folder.

use super::*;
use crate::error::Code;
use crate::fs::MappedLog;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn create(path: &Path) -> Arc<dyn File> {
    PosixFs.open(path, OpenMode::CreateNew).expect("create")
}

fn refused<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(err) => err,
    }
}

#[test]
fn bytes_come_back() {
    let dir = folder();
    let path = dir.path().join("a");
    let file = create(&path);
    file.write_all_at(b"hello", 10).expect("write");
    file.write_all_at_sync(b"world", 15).expect("write");
    file.sync_data().expect("sync");
    assert_eq!(file.len().expect("len"), 20);
    assert_eq!(file.links().expect("links"), 1);
    let mut buf = [9; 30];
    assert_eq!(file.read_at(&mut buf, 0).expect("read"), 20);
    assert_eq!(&buf[..20], b"\0\0\0\0\0\0\0\0\0\0helloworld");
    assert_eq!(file.read_at(&mut buf, 20).expect("read"), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).expect("read"), 0);
    let err = refused(file.read_exact_at(&mut buf[..6], 15));
    assert_eq!(err.code(), Code::Corruption);
    assert!(err.message().contains(path.to_str().expect("utf-8")));
    file.set_len(12).expect("cut");
    assert_eq!(file.len().expect("len"), 12);
    file.allocate(0, 9000).expect("allocate");
    assert_eq!(file.len().expect("len"), 9000);
    file.read_exact_at(&mut buf[..3], 10).expect("read");
    assert_eq!(&buf[..3], b"he\0");
    file.start_writeback(0, 9000);
    file.prefetch(0, 9000);
    PosixFs.sync_dir(dir.path()).expect("sync");
}

#[test]
fn modes_of_opening() {
    let dir = folder();
    let path = dir.path().join("a");
    assert_eq!(refused(PosixFs.open(&path, OpenMode::Read)).os_errno(), libc::ENOENT);
    assert_eq!(refused(PosixFs.open(&path, OpenMode::ReadWrite)).os_errno(), libc::ENOENT);
    create(&path).write_all_at(b"x", 0).expect("write");
    assert_eq!(refused(PosixFs.open(&path, OpenMode::CreateNew)).os_errno(), libc::EEXIST);
    let read = PosixFs.open(&path, OpenMode::Read).expect("open");
    let err = refused(read.write_all_at(b"y", 0));
    assert_eq!((err.code(), err.os_errno()), (Code::Io, libc::EBADF));
    assert!(err.message().contains("pwrite") && err.message().contains(path.to_str().expect("utf-8")), "{err}");
    let mode = std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777;
    assert_eq!(mode & !0o640, 0, "{mode:o}");
}

#[test]
fn links_pipes_and_folders_are_not_opened() {
    let dir = folder();
    let real = dir.path().join("real");
    create(&real);
    let link = dir.path().join("000001.sst");
    symlink(&real, &link).expect("symlink");
    assert_eq!(refused(PosixFs.open(&link, OpenMode::Read)).os_errno(), libc::ELOOP);
    assert_eq!(refused(PosixFs.open(&link, OpenMode::CreateNew)).os_errno(), libc::EEXIST);
    let seen = PosixFs.metadata(&link).expect("metadata").expect("there");
    assert!(!seen.is_file && !seen.is_dir);
    assert_eq!(refused(PosixFs.lock(&link, true)).os_errno(), libc::ELOOP);
    assert_eq!(refused(PosixFs.open(dir.path(), OpenMode::Read)).code(), Code::Corruption);
    let pipe = dir.path().join("000002.sst");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        assert_eq!(refused(PosixFs.open(&pipe, OpenMode::Read)).code(), Code::Corruption);
        assert_eq!(refused(PosixFs.open(&pipe, OpenMode::ReadWrite)).code(), Code::Corruption);
        assert!(PosixFs.lock(&pipe, false).is_err());
    }
}

#[test]
fn errors_name_call_and_path() {
    let gone = Path::new("/no/such/folder/at/all");
    let errors = [
        refused(PosixFs.open(gone, OpenMode::CreateNew)),
        refused(PosixFs.list(gone)),
        refused(PosixFs.create_dir(gone)),
        refused(PosixFs.remove_dir(gone)),
        refused(PosixFs.rename(gone, Path::new("/tmp"))),
        refused(PosixFs.remove(gone)),
        refused(PosixFs.sync_dir(gone)),
        refused(PosixFs.lock(gone, true)),
        refused(PosixFs.lock(gone, false)),
    ];
    let calls = ["open", "opendir", "mkdir", "rmdir", "rename", "unlink", "open", "open", "open"];
    for (err, call) in errors.iter().zip(calls) {
        assert_eq!(err.os_errno(), libc::ENOENT, "{err}");
        assert!(err.message().starts_with(call) && err.message().contains("/no/such/folder"), "{err}");
    }
    assert!(PosixFs.metadata(gone).expect("metadata").is_none());
    assert_eq!(PosixFs.kind(gone), FsKind::Other);
    assert_eq!(PosixFs.kind(Path::new("/proc")), FsKind::Other);
    assert_eq!(PosixFs.free_bytes(gone), u64::MAX);
    assert_eq!(refused(PosixFs.open(Path::new("a\0b"), OpenMode::Read)).os_errno(), libc::EINVAL);
    let long: PathBuf = ["x".repeat(300)].iter().collect();
    assert_eq!(refused(PosixFs.open(&long, OpenMode::CreateNew)).os_errno(), libc::ENAMETOOLONG);
}

#[test]
fn folders_and_names() {
    let dir = folder();
    let sub = dir.path().join("sub");
    PosixFs.create_dir(&sub).expect("mkdir");
    assert_eq!(refused(PosixFs.create_dir(&sub)).os_errno(), libc::EEXIST);
    assert!(PosixFs.metadata(&sub).expect("metadata").expect("there").is_dir);
    create(&sub.join("a")).write_all_at(b"a", 0).expect("write");
    create(&sub.join("b")).write_all_at(b"bb", 0).expect("write");
    let mut names = PosixFs.list(&sub).expect("list");
    names.sort();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(refused(PosixFs.remove_dir(&sub)).os_errno(), libc::ENOTEMPTY);
    PosixFs.rename(&sub.join("a"), &sub.join("b")).expect("rename");
    let seen = PosixFs.metadata(&sub.join("b")).expect("metadata").expect("there");
    assert_eq!(seen, Metadata { is_dir: false, is_file: true, len: 1 });
    assert!(PosixFs.free_bytes(&sub) > 0);
    let memory = PosixFs.memory_bytes();
    assert!((1 << 20..1 << 60).contains(&memory), "{memory} bytes of memory");
    PosixFs.remove(&sub.join("b")).expect("unlink");
    PosixFs.remove_dir(&sub).expect("rmdir");
    assert!(PosixFs.metadata(&sub).expect("metadata").is_none());
}

#[test]
fn an_exclusive_lock_is_alone() {
    let dir = folder();
    let path = dir.path().join("LOCK");
    let held = PosixFs.lock(&path, true).expect("lock");
    assert!(held.raw_fd() > 2);
    for exclusive in [true, false] {
        let err = refused(PosixFs.lock(&path, exclusive));
        assert_eq!(err.code(), Code::Locked);
        assert!(err.message().contains("this process"), "{err}");
    }
    drop(held);
    drop(PosixFs.lock(&path, true).expect("free again"));
    assert!(path.exists(), "the file stays");
}

#[test]
fn shared_locks_share() {
    let dir = folder();
    let path = dir.path().join("LOCK");
    drop(PosixFs.lock(&path, true).expect("make it"));
    let one = PosixFs.lock(&path, false).expect("shared");
    let two = PosixFs.lock(&path, false).expect("shared");
    assert_eq!(refused(PosixFs.lock(&path, true)).code(), Code::Locked);
    drop(one);
    assert_eq!(refused(PosixFs.lock(&path, true)).code(), Code::Locked);
    drop(two);
    PosixFs.lock(&path, true).expect("free again");
}

#[test]
fn a_folder_without_lock_file_can_be_read() {
    let dir = folder();
    let path = dir.path().join("LOCK");
    let nothing = PosixFs.lock(&path, false).expect("nothing to hold");
    assert_eq!(nothing.raw_fd(), -1);
    nothing.abandon();
    assert!(!path.exists(), "a shared lock makes no file");
    PosixFs.lock(&path, true).expect("not held");
}

#[test]
fn a_lock_of_another_open_file_is_seen() {
    // flock itself, not the table: a descriptor that the table does not know.
    let dir = folder();
    let path = dir.path().join("LOCK");
    let other = sys::open(&path, libc::O_RDWR | libc::O_CREAT, 0o640).expect("open");
    sys::flock_try(other.as_fd(), true).expect("lock");
    for _ in 0..2 {
        let err = refused(PosixFs.lock(&path, true));
        assert_eq!(err.code(), Code::Locked);
        assert!(err.message().contains("another process"), "{err}");
    }
    drop(other);
    PosixFs.lock(&path, true).expect("the refusals left no claim behind");
}

#[test]
fn the_same_folder_under_another_name_is_the_same_lock() {
    let dir = folder();
    let alias = dir.path().join("alias");
    let real = dir.path().join("real");
    PosixFs.create_dir(&real).expect("mkdir");
    symlink(&real, &alias).expect("symlink");
    let _held = PosixFs.lock(&real.join("LOCK"), true).expect("lock");
    assert_eq!(refused(PosixFs.lock(&alias.join("LOCK"), true)).code(), Code::Locked);
}

#[test]
fn an_abandoned_lock_is_closed_once() {
    let dir = folder();
    let path = dir.path().join("LOCK");
    let held = PosixFs.lock(&path, true).expect("lock");
    held.abandon();
    assert_eq!(held.raw_fd(), -1);
    held.abandon();
    let other = sys::open(&path, libc::O_RDWR, 0).expect("open");
    sys::flock_try(other.as_fd(), true).expect("the last descriptor is closed");
    drop(other);
    drop(held);
    PosixFs.lock(&path, true).expect("the claim went with it");
}

const PAGE: u64 = 4096;

fn segment(dir: &TempDir, name: &str, len: u64) -> Option<(Arc<dyn File>, PathBuf)> {
    if PosixFs.kind(dir.path()) != FsKind::Mappable {
        return None;
    }
    let path = dir.path().join(name);
    let file = create(&path);
    file.allocate(0, len).expect("allocate");
    file.write_all_at(&vec![0; len as usize], 0).expect("prewrite");
    Some((file, path))
}

#[test]
fn mapped_stores_are_seen_by_reads() {
    let dir = folder();
    let Some((file, path)) = segment(&dir, "a", 1 << 20) else { return };
    let map = file.map_log(1 << 20).expect("map");
    map.prepare(0, 16 << 10).expect("prepare");
    map.store(100, b"hello");
    map.store(4094, b"across");
    let mut buf = [0; 6];
    file.read_exact_at(&mut buf, 4094).expect("read");
    assert_eq!(&buf, b"across");
    map.release(0, 16 << 10);
    file.read_exact_at(&mut buf[..5], 100).expect("read");
    assert_eq!(&buf[..5], b"hello");
    file.sync_data().expect("sync");
    map.prepare(0, 1).expect("a released page can be prepared again");
    map.store(0, b"again");
    map.prepare((1 << 20) - 5, 5).expect("the last page");
    map.store((1 << 20) - 5, b"theend"[..5].as_ref());
    drop(map);
    let again = PosixFs.open(&path, OpenMode::Read).expect("open");
    again.read_exact_at(&mut buf[..5], 0).expect("read");
    assert_eq!(&buf[..5], b"again");
}

#[test]
fn mapping_needs_an_allocated_file_of_one_name() {
    let dir = folder();
    let Some((file, path)) = segment(&dir, "a", 64 << 10) else { return };
    assert_eq!(refused(file.map_log(65 << 10)).code(), Code::Unsupported);
    assert!(file.map_log(0).is_err());
    let hole = create(&dir.path().join("hole"));
    hole.set_len(1 << 20).expect("extend");
    let err = refused(hole.map_log(1 << 20));
    assert_eq!(err.code(), Code::Unsupported);
    assert!(err.message().contains("holes"), "{err}");
    std::fs::hard_link(&path, dir.path().join("b")).expect("link");
    assert_eq!(file.links().expect("links"), 2);
    assert!(refused(file.map_log(64 << 10)).message().contains("more than one name"));
    std::fs::remove_file(dir.path().join("b")).expect("unlink");
    file.map_log(64 << 10).expect("one name again");
    let read = PosixFs.open(&path, OpenMode::Read).expect("open");
    assert_eq!(refused(read.map_log(64 << 10)).os_errno(), libc::EACCES);
}

fn budgeted(path: &Path, len: u64, bytes: u64) -> (PosixMappedLog, &'static map::Budget) {
    let budget: &'static map::Budget = Box::leak(Box::new(map::Budget::of(bytes)));
    let fd = sys::open(path, libc::O_RDWR, 0).expect("open");
    (map::map_with(fd.as_fd(), path, len, budget).expect("map"), budget)
}

#[test]
fn the_budget_is_charged_by_pages_and_given_back() {
    let dir = folder();
    let Some((_file, path)) = segment(&dir, "a", 64 * PAGE) else { return };
    let (log, budget) = budgeted(&path, 64 * PAGE, 8 * PAGE);
    let page = PAGE as usize;
    log.prepare(10, 20).expect("one page");
    assert_eq!(budget.used(), PAGE);
    log.prepare(0, page).expect("the same page");
    assert_eq!(budget.used(), PAGE);
    log.prepare(page - 1, 2).expect("one more");
    assert_eq!(budget.used(), 2 * PAGE);
    let err = refused(log.prepare(0, 9 * page));
    assert_eq!(err.code(), Code::NoMem);
    assert!(err.message().contains("32768"), "{err}");
    assert_eq!(budget.used(), 2 * PAGE, "a refused window charges nothing");
    log.prepare(2 * page, 6 * page).expect("to the limit");
    assert_eq!(refused(log.prepare(8 * page, 1)).code(), Code::NoMem);
    log.release(1, 2 * page);
    assert_eq!(budget.used(), 7 * PAGE, "only whole pages");
    log.release(0, 8 * page + 5);
    assert_eq!(budget.used(), 0);
    log.release(0, 64 * page);
    log.prepare(60 * page, 4 * page).expect("again");
    drop(log);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_dirty_window_is_charged_and_changes_no_bytes() {
    let dir = folder();
    let Some((file, path)) = segment(&dir, "a", 16 * PAGE) else { return };
    file.write_all_at(&[7; 16 * PAGE as usize], 0).expect("write");
    let (log, budget) = budgeted(&path, 16 * PAGE, 4 * PAGE);
    log.prepare(0, PAGE as usize).expect("prepare");
    log.prepare_dirty(0, 4 * PAGE as usize).expect("prepare");
    assert_eq!(budget.used(), 4 * PAGE);
    assert_eq!(refused(log.prepare_dirty(4 * PAGE as usize, 1)).code(), Code::NoMem);
    assert_eq!(refused(log.prepare_dirty(16 * PAGE as usize, 1)).code(), Code::Invalid);
    log.store(5000, b"stored");
    log.release(0, 16 * PAGE as usize);
    assert_eq!(budget.used(), 0);
    let mut all = vec![0; 16 * PAGE as usize];
    file.read_exact_at(&mut all, 0).expect("read");
    assert_eq!(&all[5000..5006], b"stored");
    all[5000..5006].fill(7);
    assert!(all.iter().all(|&b| b == 7));
}

#[test]
fn windows_outside_the_mapping_are_refused() {
    let dir = folder();
    let Some((_file, path)) = segment(&dir, "a", 4 * PAGE) else { return };
    let (log, budget) = budgeted(&path, 3 * PAGE + 100, 64 * PAGE);
    for (offset, len) in [(0, 4 * PAGE as usize), (usize::MAX, 2), (3 * PAGE as usize + 100, 1)] {
        assert_eq!(refused(log.prepare(offset, len)).code(), Code::Invalid);
    }
    log.prepare(3 * PAGE as usize, 100).expect("the last, short page");
    assert_eq!(budget.used(), PAGE);
    log.release(3 * PAGE as usize, 3 * PAGE as usize + 100);
    assert_eq!(budget.used(), 0, "the end of the mapping ends its page");
    let stored = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| log.store(3 * PAGE as usize + 99, b"ab")));
    assert!(stored.is_err(), "a store over the end is refused");
}

#[test]
fn the_process_budget_lets_a_window_through() {
    let dir = folder();
    let Some((file, _)) = segment(&dir, "a", 64 << 10) else { return };
    let map = file.map_log(64 << 10).expect("map");
    if sys::memlock_limit() >= 1 << 20 {
        map.prepare(0, 16 << 10).expect("16 KiB");
    }
}

#[test]
fn concurrent_stores_all_arrive() {
    let dir = folder();
    let Some((file, _)) = segment(&dir, "a", 64 << 10) else { return };
    let map = file.map_log(64 << 10).expect("map");
    map.prepare(0, 64 << 10).expect("prepare");
    std::thread::scope(|scope| {
        for t in 0..4u8 {
            let map = &map;
            scope.spawn(move || {
                for at in (usize::from(t) * 16..64 << 10).step_by(64) {
                    map.store(at, &[t + 1; 16]);
                }
            });
        }
    });
    let mut all = vec![0; 64 << 10];
    file.read_exact_at(&mut all, 0).expect("read");
    for (at, &byte) in all.iter().enumerate() {
        assert_eq!(usize::from(byte), at % 64 / 16 + 1);
    }
}

#[test]
fn file_ids_follow_the_inode() {
    let dir = folder();
    let path = dir.path().join("a");
    create(&path);
    let fd = sys::open(&path, libc::O_RDONLY, 0).expect("open");
    let stat = sys::fstat(fd.as_fd()).expect("fstat");
    let meta = std::fs::metadata(&path).expect("stat");
    assert_eq!(stat.id, (meta.dev(), meta.ino()));
}

#[test]
fn a_full_device_is_no_space() {
    let full = Path::new("/dev/full");
    let Ok(fd) = sys::open(full, libc::O_RDWR, 0) else { return };
    let file = PosixFile::new(fd, full.to_owned());
    let err = refused(file.write_all_at(b"x", 0));
    assert_eq!((err.code(), err.os_errno()), (Code::NoSpace, libc::ENOSPC));
    assert!(err.message().contains("/dev/full"));
}
