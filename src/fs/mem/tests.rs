//! The in-memory file system answers as the real one does.

use super::*;
use crate::fs::posix::PosixFs;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn refused<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(err) => err,
    }
}

/// The same calls on both file systems; answers (errnos for errors) as text.
fn transcript(fs: &dyn Fs, root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut say = |what: &str, result: Result<String>| {
        let text = match result {
            Ok(text) => text,
            Err(err) => format!("{:?} {}", err.code(), err.os_errno()),
        };
        out.push(format!("{what}: {text}"));
    };
    let at = |name: &str| root.join(name);
    say("mkdir", fs.create_dir(&at("d")).map(|()| String::new()));
    say("mkdir again", fs.create_dir(&at("d")).map(|()| String::new()));
    say("mkdir deep", fs.create_dir(&at("x/y")).map(|()| String::new()));
    say("open missing", fs.open(&at("d/a"), OpenMode::ReadWrite).map(|_| String::new()));
    let file = fs.open(&at("d/a"), OpenMode::CreateNew).expect("create");
    say("create again", fs.open(&at("d/a"), OpenMode::CreateNew).map(|_| String::new()));
    say("create below a file", fs.open(&at("d/a/b"), OpenMode::CreateNew).map(|_| String::new()));
    say("open a folder", fs.open(&at("d"), OpenMode::Read).map(|_| String::new()));
    say("write", file.write_all_at(b"hello", 3).map(|()| String::new()));
    say("write nothing far away", file.write_all_at(b"", 100).map(|()| String::new()));
    say("len", file.len().map(|n| n.to_string()));
    let mut buf = [9; 10];
    say("read", file.read_at(&mut buf, 1).map(|n| format!("{n} {buf:?}")));
    say("read behind", file.read_at(&mut buf, 50).map(|n| n.to_string()));
    say("read exact", file.read_exact_at(&mut buf, 1).map(|()| String::new()));
    say("allocate", file.allocate(2, 10).map(|()| String::new()));
    say("allocate less", file.allocate(0, 1).map(|()| String::new()));
    say("len", file.len().map(|n| n.to_string()));
    say("cut", file.set_len(4).map(|()| String::new()));
    say("extend", file.set_len(6).map(|()| String::new()));
    say("read", file.read_at(&mut buf, 0).map(|n| format!("{n} {:?}", &buf[..6])));
    let read = fs.open(&at("d/a"), OpenMode::Read).expect("open");
    say("write to a reader", read.write_all_at(b"x", 0).map(|()| String::new()));
    say("write too far", file.write_all_at(b"x", u64::MAX).map(|()| String::new()));
    say("rename", fs.rename(&at("d/a"), &at("d/b")).map(|()| String::new()));
    say("rename missing", fs.rename(&at("d/a"), &at("d/b")).map(|()| String::new()));
    say("mkdir", fs.create_dir(&at("e")).map(|()| String::new()));
    say("rename over a folder", fs.rename(&at("d/b"), &at("e")).map(|()| String::new()));
    say("rename a folder over a file", fs.rename(&at("e"), &at("d/b")).map(|()| String::new()));
    say("rename a folder into itself", fs.rename(&at("e"), &at("e/f")).map(|()| String::new()));
    say("rename a folder", fs.rename(&at("e"), &at("d/e")).map(|()| String::new()));
    say("rmdir", fs.remove_dir(&at("d/e")).map(|()| String::new()));
    say("list", fs.list(&at("d")).map(|names| format!("{names:?}")));
    say("list a file", fs.list(&at("d/b")).map(|names| format!("{names:?}")));
    say("metadata", fs.metadata(&at("d/b")).map(|m| format!("{m:?}")));
    say("metadata of nothing", fs.metadata(&at("d/q/r")).map(|m| format!("{m:?}")));
    say("metadata below a file", fs.metadata(&at("d/b/c")).map(|m| format!("{m:?}")));
    say("rmdir full", fs.remove_dir(&at("d")).map(|()| String::new()));
    say("rmdir a file", fs.remove_dir(&at("d/b")).map(|()| String::new()));
    say("unlink a folder", fs.remove(&at("d")).map(|()| String::new()));
    say("sync_dir", fs.sync_dir(&at("d")).map(|()| String::new()));
    say("sync_dir missing", fs.sync_dir(&at("e")).map(|()| String::new()));
    say("shared lock, no file", fs.lock(&at("LOCK"), false).map(|l| l.raw_fd().to_string()));
    say("shared lock, no folder", fs.lock(&at("no/LOCK"), false).map(|_| String::new()));
    let held = fs.lock(&at("LOCK"), true).expect("lock");
    say("locked", fs.lock(&at("LOCK"), false).map(|_| String::new()));
    drop(held);
    let shared = fs.lock(&at("LOCK"), false).expect("lock");
    say("shared twice", fs.lock(&at("LOCK"), false).map(|_| String::new()));
    say("exclusive over shared", fs.lock(&at("LOCK"), true).map(|_| String::new()));
    shared.abandon();
    say("unlink", fs.remove(&at("d/b")).map(|()| String::new()));
    say("unlink again", fs.remove(&at("d/b")).map(|()| String::new()));
    say("read unlinked", file.read_at(&mut buf, 0).map(|n| n.to_string()));
    say("rmdir", fs.remove_dir(&at("d")).map(|()| String::new()));
    say("map a reader", read.map_log(1).map(|_| String::new()).map_err(|_| Error::invalid("any")));
    out
}

#[test]
fn all_three_file_systems_answer_alike() {
    let dir = tempfile::tempdir().expect("a folder");
    let real = transcript(&PosixFs::new(), dir.path());
    assert_eq!(transcript(&MemFs::new(), p("/")), real);
    assert_eq!(transcript(&crate::fs::fault::FaultFs::new(), p("/")), real);
}

#[test]
fn mapped_stores_are_seen_by_reads() {
    let fs = MemFs::new();
    let file = fs.open(p("/a"), OpenMode::CreateNew).expect("create");
    file.set_len(10_000).expect("extend");
    assert_eq!(refused(file.map_log(10_001)).code(), Code::Unsupported);
    let map = file.map_log(10_000).expect("map");
    map.prepare(4000, 200).expect("prepare");
    map.store(4090, b"across the border");
    let mut buf = [0; 17];
    file.read_exact_at(&mut buf, 4090).expect("read");
    assert_eq!(&buf, b"across the border");
    assert_eq!(refused(map.prepare(9_999, 2)).code(), Code::Invalid);
    fs.set_kind(FsKind::Other);
    assert_eq!(fs.kind(p("/")), FsKind::Other);
    assert_eq!(refused(file.map_log(10)).code(), Code::Unsupported);
}

fn panics(f: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err()
}

#[test]
fn stores_outside_the_windows_panic() {
    let fs = MemFs::new();
    let file = fs.open(p("/a"), OpenMode::CreateNew).expect("create");
    file.set_len(5 * PAGE as u64).expect("extend");
    let map = file.map_log(5 * PAGE as u64).expect("map");
    assert!(panics(|| map.store(0, b"x")));
    map.prepare(0, 2 * PAGE).expect("prepare");
    assert!(panics(|| map.store(2 * PAGE - 1, b"xy")));
    map.store(2 * PAGE - 1, b"x");
    map.release(1, 2 * PAGE);
    map.store(0, b"x");
    assert!(panics(|| map.store(PAGE, b"x")));
    assert!(panics(|| map.store(5 * PAGE, b"x")));
    assert!(panics(|| map.store(usize::MAX, b"x")));
}

#[test]
fn copies_are_independent() {
    let fs = MemFs::new();
    fs.create_dir(p("/d")).expect("mkdir");
    fs.write_file(p("/d/a"), b"one").expect("write");
    let copy = fs.deep_copy();
    fs.write_file(p("/d/a"), b"two").expect("write");
    fs.remove(p("/d/a")).expect("unlink");
    copy.create_dir(p("/e")).expect("numbers go on");
    copy.write_file(p("/e/b"), b"").expect("write");
    assert_eq!(copy.read_file(p("/d/a")).expect("read"), b"one");
    assert!(fs.read_file(p("/d/a")).is_err());
    assert!(fs.metadata(p("/e")).expect("metadata").is_none());
    assert_eq!(copy.list(p("/d")).expect("list"), ["a"]);
}
