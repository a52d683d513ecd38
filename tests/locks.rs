//! One database, one writer: a second opening is refused while the first one lives, in this process and in another.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use lsm_engine::db::{Db, Options};
use lsm_engine::error::Code;
use std::path::Path;
use std::process::Command;

const CHILD: &str = "LSM_LOCKS_PATH";

#[test]
fn a_second_writer_is_refused_in_this_process_and_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = Db::open(&path, &Options::new()).unwrap();
    let second = Db::open(&path, &Options::new());
    assert_eq!(second.err().map(|e| e.code()), Some(Code::Locked), "a second open in one process");
    assert!(other_process(&path), "a second open in another process");
    db.close().unwrap();
    let again = Db::open(&path, &Options::new()).unwrap();
    again.close().unwrap();
}

/// Whether another process is refused.
fn other_process(path: &Path) -> bool {
    let this = std::env::current_exe().unwrap();
    let status = Command::new(this).args(["--exact", "the_other_process"]).env(CHILD, path).status().unwrap();
    status.success()
}

#[test]
fn the_other_process() {
    if let Some(path) = std::env::var_os(CHILD) {
        let opened = Db::open(Path::new(&path), &Options::new());
        assert_eq!(opened.err().map(|e| e.code()), Some(Code::Locked));
    }
}
