//! What needs a process of its own: closed standard streams, locks of other processes, forks.
//!
//! Each test runs this test program again, with only the child function of the same name and its folder in the
//! environment; the child functions are `#[ignore]`d for everybody else.

#![expect(unsafe_code, reason = "fork and close in child processes")]

use super::*;
use crate::error::Code;
use crate::fs::MappedLog;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const FOLDER: &str = "LSM_TEST_FOLDER";

fn spawn(child: &str, dir: &Path) -> Child {
    let program = std::env::current_exe().expect("the test program");
    let name = format!("fs::posix::tests_process::{child}");
    let mut command = Command::new(program);
    command.args([name.as_str(), "--exact", "--ignored", "--test-threads=1", "--nocapture"]).env(FOLDER, dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn")
}

fn passes(child: &str, dir: &Path) {
    let output = spawn(child, dir).wait_with_output().expect("wait");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

fn in_child() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

#[test]
fn standard_descriptors_are_never_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    passes("child_without_standard_streams", dir.path());
}

#[test]
#[ignore = "runs in a child process"]
fn child_without_standard_streams() {
    let Some(dir) = in_child() else { return };
    let lock = {
        sys::close(0);
        sys::close(2);
        let file = PosixFs.open(&dir.join("a"), OpenMode::CreateNew).expect("create");
        file.write_all_at(b"x", 0).expect("write");
        let lock = PosixFs.lock(&dir.join("LOCK"), true).expect("lock");
        assert!(lock.raw_fd() > 2);
        PosixFs.sync_dir(&dir).expect("sync");
        lock
    };
    for fd in [0, 2] {
        // SAFETY: F_GETFD touches no memory.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert_eq!(flags, -1, "descriptor {fd} is free");
    }
    // SAFETY: F_GETFD touches no memory.
    let flags = unsafe { libc::fcntl(lock.raw_fd(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}

#[test]
fn another_process_is_kept_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let held = PosixFs.lock(&dir.path().join("LOCK"), true).expect("lock");
    passes("child_finds_it_locked", dir.path());
    drop(held);
    passes("child_finds_it_free", dir.path());
    let _held = PosixFs.lock(&dir.path().join("LOCK"), false).expect("lock");
    passes("child_may_share", dir.path());
}

#[test]
#[ignore = "runs in a child process"]
fn child_finds_it_locked() {
    let Some(dir) = in_child() else { return };
    for exclusive in [true, false] {
        let err = PosixFs.lock(&dir.join("LOCK"), exclusive).err().expect("locked");
        assert_eq!(err.code(), Code::Locked);
        assert!(err.message().contains("another process"), "{err}");
    }
}

#[test]
#[ignore = "runs in a child process"]
fn child_finds_it_free() {
    let Some(dir) = in_child() else { return };
    PosixFs.lock(&dir.join("LOCK"), true).expect("free");
}

#[test]
#[ignore = "runs in a child process"]
fn child_may_share() {
    let Some(dir) = in_child() else { return };
    PosixFs.lock(&dir.join("LOCK"), false).expect("shared");
    assert_eq!(PosixFs.lock(&dir.join("LOCK"), true).err().expect("locked").code(), Code::Locked);
}

#[test]
fn a_lock_dies_with_its_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = spawn("child_holds_the_lock", dir.path());
    for _ in 0..1000 {
        if dir.path().join("held").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(dir.path().join("held").exists());
    assert_eq!(PosixFs.lock(&dir.path().join("LOCK"), true).err().expect("locked").code(), Code::Locked);
    child.kill().expect("kill");
    child.wait().expect("wait");
    PosixFs.lock(&dir.path().join("LOCK"), true).expect("free");
}

#[test]
#[ignore = "runs in a child process"]
fn child_holds_the_lock() {
    let Some(dir) = in_child() else { return };
    let _held = PosixFs.lock(&dir.join("LOCK"), true).expect("lock");
    PosixFs.open(&dir.join("held"), OpenMode::CreateNew).expect("create");
    std::thread::sleep(std::time::Duration::from_secs(30));
}

#[test]
fn a_forked_child_cannot_harm_its_parent() {
    let dir = tempfile::tempdir().expect("a folder");
    passes("child_forks", dir.path());
}

/// Runs `f` in a forked child; says whether it answered true.
fn forked(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs only `f`, which neither waits for other threads nor returns into the test harness.
    match unsafe { libc::fork() } {
        0 => {
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(false);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(i32::from(!good)) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` is writable during the call.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            waited == child && status == 0
        }
    }
}

#[test]
#[ignore = "runs in a child process"]
fn child_forks() {
    let Some(dir) = in_child() else { return };
    let path = dir.join("LOCK");
    let held = PosixFs.lock(&path, true).expect("lock");
    let locked = |wanted: bool| {
        let fd = sys::open(&path, libc::O_RDWR, 0).expect("open");
        (sys::flock_try(fd.as_fd(), true) == Err(libc::EWOULDBLOCK)) == wanted
    };
    assert!(forked(|| {
        held.abandon();
        held.raw_fd() == -1 && locked(true)
    }));
    assert!(locked(true), "the child's abandoning did not unlock");
    assert!(forked(|| {
        // The copy of the parent's claim is not the child's, flock is what refuses.
        let err = PosixFs.lock(&path, true).err();
        err.is_some_and(|e| e.message().contains("another process"))
    }));
    let held = std::cell::Cell::new(Some(held));
    assert!(forked(|| {
        drop(held.take());
        locked(true)
    }));
    assert!(locked(true), "nor did a drop");

    if PosixFs.kind(&dir) == FsKind::Mappable {
        let file = PosixFs.open(&dir.join("seg"), OpenMode::CreateNew).expect("create");
        file.write_all_at(&[0; 64 << 10], 0).expect("write");
        let fd = sys::open(&dir.join("seg"), libc::O_RDWR, 0).expect("open");
        let map = map::map(fd.as_fd(), &dir.join("seg"), 64 << 10).expect("map");
        map.prepare(0, 4096).expect("prepare");
        let map = std::cell::Cell::new(Some(map));
        assert!(forked(|| {
            let Some(map) = map.take() else { return false };
            let at = map.address();
            let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            // SAFETY: NOREPLACE maps only where nothing is mapped.
            let mine = unsafe { libc::mmap(at, 4096, libc::PROT_READ | libc::PROT_WRITE, how, -1, 0) };
            if mine != at {
                return false;
            }
            drop(map);
            // SAFETY: mapped above, unless the drop has unmapped it: then the child dies, and the test fails.
            unsafe { mine.cast::<u8>().write_volatile(1) };
            true
        }));
        let map = map.take().expect("the parent's");
        map.store(0, b"still there");
        let mut buf = [0; 11];
        file.read_exact_at(&mut buf, 0).expect("read");
        assert_eq!(&buf, b"still there");
    }
    drop(held);
    assert!(locked(false), "the parent's drop unlocks");
}

#[test]
fn a_file_size_limit_is_an_error() {
    let dir = tempfile::tempdir().expect("a folder");
    passes("child_meets_its_size_limit", dir.path());
}

#[test]
#[ignore = "runs in a child process"]
fn child_meets_its_size_limit() {
    let Some(dir) = in_child() else { return };
    let limit = libc::rlimit { rlim_cur: 8192, rlim_max: 8192 };
    // SAFETY: ignoring a signal in a process of our own; the host decides that, the engine never does.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    // SAFETY: `limit` is readable during the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
    let file = PosixFs.open(&dir.join("a"), OpenMode::CreateNew).expect("create");
    file.write_all_at(&[1; 8192], 0).expect("to the limit");
    let errors = [
        file.write_all_at(&[1; 2], 8191),
        file.write_all_at_sync(&[1], 8192),
        file.set_len(8193),
        file.allocate(0, 10_000),
    ];
    for err in errors {
        let err = err.expect_err("over the limit");
        assert_eq!((err.code(), err.os_errno()), (Code::Io, libc::EFBIG), "{err}");
    }
    assert_eq!(file.len().expect("len"), 8192);
}

#[test]
fn a_refused_mlock_is_an_error_and_costs_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    passes("child_may_not_lock_memory", dir.path());
}

#[test]
#[ignore = "runs in a child process"]
fn child_may_not_lock_memory() {
    let Some(dir) = in_child() else { return };
    let path = dir.join("seg");
    let file = PosixFs.open(&path, OpenMode::CreateNew).expect("create");
    file.write_all_at(&[0; 1 << 20], 0).expect("write");
    if PosixFs.kind(&dir) != FsKind::Mappable {
        return;
    }
    // A limit of 64 KiB under a larger budget; root is not limited, so become nobody.
    let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
    // SAFETY: `limit` is readable during the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
    let budget: &'static map::Budget = Box::leak(Box::new(map::Budget::of(1 << 20)));
    let fd = sys::open(&path, libc::O_RDWR, 0).expect("open");
    let log = map::map_with(fd.as_fd(), &path, 1 << 20, budget).expect("map");
    // SAFETY: changes the credentials of this thread only, in a process that ends soon.
    if unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) } != 0 {
        return;
    }
    log.prepare(0, 32 << 10).expect("below the limit");
    let err = log.prepare(32 << 10, 256 << 10).expect_err("over it");
    assert_eq!(err.code(), Code::NoMem, "{err}");
    assert!(err.message().starts_with("mlock"), "{err}");
    assert_eq!(budget.used(), 32 << 10);
    let small = map::map(fd.as_fd(), &path, 1 << 20).expect("map");
    let err = small.prepare(0, 12 << 10).expect_err("an eighth of the limit");
    assert!(err.message().contains("8192 bytes that this process"), "{err}");
}

#[test]
fn a_small_device_fills_up_and_is_freed_again() {
    let dir = tempfile::tempdir().expect("a folder");
    passes("child_on_a_small_device", dir.path());
}

/// Mounts a tmpfs of 1 MiB at `dir`, seen by this thread only; false where that is not allowed.
fn mount_small(dir: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes()).expect("no NUL");
    let none = std::ptr::null();
    // SAFETY: gives this thread its own view of the mounts; touches no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the strings are NUL-terminated and live during the call.
    if unsafe { libc::mount(none, c"/".as_ptr(), none, private, std::ptr::null()) } != 0 {
        return false;
    }
    let (tmpfs, size) = (c"tmpfs".as_ptr(), c"size=1m".as_ptr());
    // SAFETY: as above.
    unsafe { libc::mount(tmpfs, path.as_ptr(), tmpfs, 0, size.cast()) == 0 }
}

#[test]
#[ignore = "runs in a child process"]
fn child_on_a_small_device() {
    let Some(dir) = in_child() else { return };
    if !mount_small(&dir) {
        return;
    }
    assert_eq!(PosixFs.kind(&dir), FsKind::Mappable);
    assert_eq!(PosixFs.free_bytes(&dir), 1 << 20);
    let file = PosixFs.open(&dir.join("a"), OpenMode::CreateNew).expect("create");
    file.allocate(0, 512 << 10).expect("half of it");
    assert_eq!(PosixFs.free_bytes(&dir), 512 << 10);
    let map = file.map_log(512 << 10).expect("tmpfs is mapped");
    map.prepare(0, 16 << 10).expect("prepare");
    map.store(0, b"x");
    let other = PosixFs.open(&dir.join("b"), OpenMode::CreateNew).expect("create");
    let errors = [
        other.allocate(0, 600 << 10),
        other.write_all_at(&[1; 600 << 10], 0),
        other.write_all_at_sync(&[1; 600 << 10], 0),
    ];
    for err in errors {
        let err = err.expect_err("too much");
        assert_eq!((err.code(), err.os_errno()), (Code::NoSpace, libc::ENOSPC), "{err}");
        assert!(err.message().contains("/b"), "{err}");
    }
    file.write_all_at(&[2; 512 << 10], 0).expect("allocated blocks need no space");
    map.store(1, b"y");
    drop((file, map));
    PosixFs.remove(&dir.join("a")).expect("unlink");
    other.write_all_at(&[1; 600 << 10], 0).expect("the space is back");
}
