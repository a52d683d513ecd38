//! Every exit status, and what standard error says with it, for people and as JSON.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::undocumented_unsafe_blocks, reason = "a test may fail")]

mod common;

use common::{command, filled, flip, folder, kill, lsm, lsm_with, writer};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Child, Stdio};

#[test]
fn status_0_done_and_1_not_there() {
    let (_dir, db) = folder();
    filled(&db, 10);
    lsm!["get", &db, "key000001"].exit(0);
    lsm!["--version"].exit(0);
    lsm!["get", &db, "nothing"].exit(1);
    let ran = lsm!["get", &db, "key000001", "-k", "nowhere", "--json"].exit(1);
    assert_eq!((&ran.error()["exit"], &ran.error()["code"]), (&json!(1), &json!("LSM_NOT_FOUND")));
    assert!(ran.error()["message"].as_str().unwrap().contains("there are: default"), "{}", ran.stderr);
}

#[test]
fn status_2_a_wrong_command_line() {
    let (_dir, db) = folder();
    filled(&db, 10);
    lsm(["nonsense"]).exit(2);
    lsm!["get", &db].exit(2);
    lsm!["get", &db, "bad\\q"].exit(2);
    lsm!["get", &db, "abc", "--hex"].exit(2);
    let ran = lsm!["stats", &db, "-o", "no.such.option=1"].exit(2);
    assert!(ran.stderr.contains("no.such.option"), "{}", ran.stderr);
    assert!(lsm!["stats", &db, "-o", "cache.size=many"].exit(2).stderr.contains("cache.size"));
    lsm!["stats", &db, "-o", "cache.size"].exit(2);
    for (args, part) in
        [(vec!["get", "db"], "<KEYS>"), (vec!["nonsense"], "nonsense"), (vec!["scan", "db", "--limit", "-1"], "-1")]
    {
        let ran = lsm([&args[..], &["--json"]].concat()).exit(2);
        assert_eq!((ran.stderr.lines().count(), &ran.error()["exit"]), (1, &json!(2)), "{}", ran.stderr);
        assert!(ran.error()["message"].as_str().unwrap().contains(part), "{}", ran.stderr);
    }
    // Behind `--` it is a key.
    assert!(lsm(["get", "--wrong", "--", "--json"]).exit(2).stderr.starts_with("error: "));
}

#[test]
fn status_3_the_system_refuses() {
    let (dir, db) = folder();
    let ran = lsm!["get", &db, "k"].exit(3);
    assert!(ran.stderr.contains(db.to_str().unwrap()) && !ran.stderr.contains("hint"), "{}", ran.stderr);
    assert!(!db.exists(), "a reader makes no database");
    assert!(lsm!["put", &db, "k", "v"].exit(3).stderr.contains("--create"));
    assert!(!db.exists(), "nor does a writer that was not told to");
    lsm!["load", &db, dir.path().join("missing.jsonl")].exit(3);
    lsm!["find", &db, "k"].exit(3);
    lsm!["dump", "table", dir.path().join("000001.sst")].exit(3);
    let json = lsm!["stats", &db, "--json"].exit(3);
    assert_eq!(json.error()["exit"], 3);
    assert_eq!(json.stdout, b"");
}

#[test]
fn status_4_damage() {
    let (_dir, db) = folder();
    filled(&db, 100);
    flip(&db.join("CURRENT"), 20);
    let ran = lsm!["stats", &db].exit(4);
    assert!(ran.stderr.contains("CURRENT") && ran.stderr.contains("lsm repair"), "{}", ran.stderr);
    assert_eq!(lsm!["stats", &db, "--json"].exit(4).error()["code"], "LSM_E_CORRUPTION");
}

#[test]
fn status_5_open_elsewhere() {
    let (_dir, db) = folder();
    filled(&db, 10);
    let child = writer(&db, "");
    for args in [&["get", "key000001"][..], &["scan"], &["flush"], &["put", "a", "b"]] {
        let mut all = vec![OsStr::new(args[0]), db.as_ref()];
        all.extend(args[1..].iter().map(OsStr::new));
        let ran = lsm(all).exit(5);
        assert!(ran.stderr.contains(db.to_str().unwrap()) && ran.stderr.contains("has it open"), "{}", ran.stderr);
    }
    // What needs no lock works all the same.
    lsm!["find", &db, "key000001"].ok();
    lsm!["dump", "manifest", &db].ok();
    kill(child);
    lsm!["get", &db, "key000001"].ok();
}

#[test]
fn status_6_input_that_cannot_be_taken() {
    let (dir, db) = folder();
    let load: [&OsStr; 4] = ["load".as_ref(), db.as_ref(), "-f".as_ref(), "csv".as_ref()];
    let ran = lsm_with(load, b"a,b\nc\n").exit(6);
    assert!(ran.stderr.contains("standard input: line 2: 1 fields"), "{}", ran.stderr);
    let load: [&OsStr; 4] = ["load".as_ref(), db.as_ref(), "-f".as_ref(), "packed".as_ref()];
    assert!(lsm_with(load, b"{}").exit(6).stderr.contains("cut off"));
    // What the library refuses is told of its line, however many were read with it.
    let long = format!("a,b\nc,d\n{},e\nf,g\n", "k".repeat(65_537));
    let load: [&OsStr; 4] = ["load".as_ref(), db.as_ref(), "-f".as_ref(), "csv".as_ref()];
    let ran = lsm_with(load, long.as_bytes()).exit(6);
    assert!(ran.stderr.contains("line 3: ") && ran.stderr.contains("2 entries, all before line 3"), "{}", ran.stderr);
    assert!(ran.stderr.contains("mend it and go on with --from-line 3"), "{}", ran.stderr);
    lsm!["get", &db, "c"].exit(0);
    // An export that was cut off is seen.
    filled(&db, 100);
    let whole = lsm!["export", &db].ok().text();
    let cut: String = whole.lines().take(50).map(|line| format!("{line}\n")).collect();
    let load: [&OsStr; 2] = ["load".as_ref(), dir.path().join("copy").into_os_string().leak()];
    assert!(lsm_with(load, cut.as_bytes()).exit(6).stderr.contains("without its end line"));
}

#[test]
fn status_7_no_library_or_another_one() {
    let (dir, db) = folder();
    filled(&db, 10);
    let with = |library: &OsStr| {
        let mut command = command(["stats".as_ref(), db.as_os_str()]);
        command.env("LSM_LIBRARY", library).output().unwrap()
    };
    let missing = with(dir.path().join("liblsm.so").as_os_str());
    assert_eq!(missing.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("liblsm.so"));
    // A library without our functions, and one that says it is of another interface.
    let other = with("libc.so.6".as_ref());
    assert_eq!(other.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&other.stderr).contains("has no lsm_abi_version"));
    let source = dir.path().join("other.c");
    std::fs::write(&source, "#include <stdint.h>\nuint32_t lsm_abi_version(void) { return 2; }\n").unwrap();
    let built = dir.path().join("libother.so");
    match std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&built).arg(&source).status() {
        Ok(status) if status.success() => {
            let other = with(built.as_os_str());
            assert_eq!(other.status.code(), Some(7));
            let text = String::from_utf8_lossy(&other.stderr).into_owned();
            assert!(text.contains("binary interface 2, this tool needs 1"), "{text}");
        }
        _ => common::skip("cc"),
    }
    // --library says the same as LSM_LIBRARY, and comes first.
    lsm!["stats", &db, "--library", "/nowhere/liblsm.so"].exit(7);
}

#[test]
fn status_8_a_count_or_checksum_that_is_wrong() {
    let (dir, db) = folder();
    filled(&db, 100);
    let changed = lsm!["export", &db].ok().text().replacen("\"0 0 0", "\"0 0 1", 1);
    let file = dir.path().join("changed.jsonl");
    std::fs::write(&file, changed).unwrap();
    let ran = lsm!["load", dir.path().join("copy"), &file].exit(8);
    assert!(ran.stderr.contains("100 entries with checksum"), "{}", ran.stderr);
}

/// Temporary folders and half-written files go with the tool, whatever ends it but SIGKILL.
#[test]
fn a_signal_leaves_nothing_behind() {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    let (dir, db) = folder();
    filled(&db, 200_000);
    let (temporary, whole) = (dir.path().join("tmp"), dir.path().join("whole.jsonl"));
    std::fs::create_dir(&temporary).unwrap();
    let partial = dir.path().join("whole.jsonl.partial");
    let bench: Vec<OsString> = ["bench", "--entries", "100000000"].map(OsString::from).into();
    let export: Vec<OsString> = vec!["export".into(), db.into(), whole.clone().into()];
    // The thread that waits for signals is there.
    let is_watched = |child: &Child| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
        tasks.filter_map(|task| std::fs::read(task.path().join("comm")).ok()).any(|name| name == b"signals\n")
    };
    let has_any = |folder: &Path| std::fs::read_dir(folder).unwrap().next().is_some();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        for (args, seen) in [(&bench, None), (&export, Some(&partial))] {
            let mut run = command(args);
            run.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null());
            // Whoever runs the tests in the background may have it ignored, and that is inherited.
            unsafe {
                run.pre_exec(move || {
                    libc::signal(signal, libc::SIG_DFL);
                    Ok(())
                })
            };
            let mut child = run.spawn().unwrap();
            while !(is_watched(&child) && seen.map_or_else(|| has_any(&temporary), |path| path.exists())) {
                assert!(child.try_wait().unwrap().is_none(), "{args:?} ended too early");
            }
            unsafe { libc::kill(child.id() as i32, signal) };
            assert_eq!(child.wait().unwrap().signal(), Some(signal), "{args:?}");
            assert!(!has_any(&temporary) && !partial.exists() && !whole.exists(), "{args:?} after signal {signal}");
        }
    }
}

/// Help that cannot be written is as much a failure as any other answer.
#[test]
fn help_on_a_full_device() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = command(["--help"]).stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(3));
}
