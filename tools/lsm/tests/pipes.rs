//! Pipes that close early, and what is not a terminal.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::undocumented_unsafe_blocks, reason = "a test may fail")]

mod common;

use common::{command, contents, filled, folder, start};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

/// Reads one line of a verb's output and goes away; status and standard error.
fn cut(args: &[&OsStr]) -> (Option<i32>, Option<i32>, String) {
    let mut child = start(args);
    drop(child.stdin.take());
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    (status.code(), status.signal(), stderr)
}

#[test]
fn a_reader_that_goes_away_ends_a_verb_quietly() {
    let (_dir, db) = folder();
    filled(&db, 30_000);
    for verb in ["scan", "metrics"] {
        let (code, signal, stderr) = cut(&[verb.as_ref(), db.as_ref()]);
        assert_eq!((code, signal, stderr.as_str()), (Some(0), None, ""), "{verb}");
    }
    // An export that nobody read to its end is none.
    let (code, _, stderr) = cut(&["export".as_ref(), db.as_ref()]);
    assert_eq!((code, stderr.as_str()), (Some(3), ""));
    assert_eq!(lsm!["scan", &db, "--count"].ok().text(), "30000\n", "the database is as it was");
    let (code, _, stderr) = cut(&["--help".as_ref()]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_full_device_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return common::skip("/dev/full");
    }
    let (_dir, db) = folder();
    filled(&db, 100);
    for verb in ["scan", "stats", "export"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command([verb.as_ref(), db.as_os_str()]).stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{verb}");
        assert!(stderr.contains("standard output") && stderr.contains("No space left"), "{verb}: {stderr}");
    }
}

#[test]
fn nothing_steers_a_terminal_where_there_is_none() {
    let (dir, db) = folder();
    lsm!["put", &db, "\\x1b[31mred", "\\x1b[2J\\x9b31m\\xc2\\x9b", "--create"].ok();
    let escape = |bytes: &[u8]| bytes.contains(&0x1b) || bytes.windows(2).any(|w| w == b"\xc2\x9b");
    let table = common::files(&db, ".sst").remove(0);
    let mut runs: Vec<(String, Vec<u8>)> = Vec::new();
    let mut note =
        |what: &str, ran: common::Ran| runs.push((what.to_string(), [ran.stdout, ran.stderr.into_bytes()].concat()));
    for verb in ["scan", "export", "stats", "levels", "options", "verify", "compact"] {
        note(verb, lsm![verb, &db]);
        note(verb, lsm![verb, &db, "--json"]);
    }
    note("find", lsm!["find", &db, "\\x1b[31mred"]);
    note("dump table", lsm!["dump", "table", &table, "--entries"]);
    note("dump manifest", lsm!["dump", "manifest", &db]);
    note("report", lsm!["report", &db, "--html"]);
    note("bench", lsm!["bench", "-n", "100"]);
    note("missing key", lsm!["get", &db, "\\x1b[31m"]);
    note("usage", lsm!["get"]);
    note("help", lsm!["--help"]);
    note("missing folder", lsm!["scan", dir.path().join("\u{1b}[31m")]);
    for (what, bytes) in &runs {
        assert!(!escape(bytes), "{what}: {}", String::from_utf8_lossy(bytes));
    }
    assert!(!contents(&db).is_empty());
}

#[test]
fn quiet_says_nothing_but_answers() {
    let (_dir, db) = folder();
    filled(&db, 10);
    assert_eq!(lsm!["export", &db, "--quiet"].ok().stderr, "");
    assert_ne!(lsm!["export", &db].ok().stderr, "");
    assert_eq!(lsm!["compact", &db, "--quiet"].ok().stderr, "");
    assert_ne!(lsm!["get", &db, "missing", "--quiet"].exit(1).stderr, "", "errors are told");
}
