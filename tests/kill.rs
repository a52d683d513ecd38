//! kill -9 at random moments: everything that was acknowledged is there after the next open, batches whole, and the
//! history is a prefix. The child is this same test binary, told so by its environment.
//!
//! `LSM_SOAK_MINUTES=n` goes on for so long, every 25 cycles with a new database.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::disallowed_methods, reason = "measures time")]

#[path = "common/count.rs"]
mod count;

use lsm_engine::db::{Db, Options, ReadOptions, WriteOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CYCLES: u32 = 25;

fn options(io: &str) -> Options {
    let mut options = Options::new();
    for (key, value) in [("memtable.size", "256KiB"), ("wal.segment_size", "512KiB"), ("table.size", "256KiB")] {
        options.set(key, value).unwrap();
    }
    options.set("wal.io", io).unwrap();
    options
}

fn value(n: u64) -> Vec<u8> {
    let len = 20 + (n * 2_654_435_761 % 300) as usize;
    (0..len).map(|i| (n as u8).wrapping_mul(31).wrapping_add(i as u8)).collect()
}

/// Writes batches of four keys, from `start` on, and reports each acknowledged number on standard output.
fn child(path: &Path, io: &str) {
    let db = Db::open(path, &options(io)).unwrap();
    let (ks, other) = (db.default_keyspace(), db.keyspace_open(b"other", None).unwrap().unwrap());
    let mut n = next_number(&db);
    let mut out = std::io::stdout().lock();
    loop {
        let mut batch = db.batch();
        for part in 0..4u8 {
            let space = if part % 2 == 0 { &ks } else { &other };
            batch.put(space, &key(n, part), &value(n)).unwrap();
        }
        db.write(&WriteOptions::default(), &batch).unwrap();
        if out.write_all(&n.to_le_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
        n += 1;
    }
}

fn key(n: u64, part: u8) -> Vec<u8> {
    // Scattered, so that tables overlap and compactions have work.
    let mut key = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes().to_vec();
    key.push(part);
    key
}

/// The first number whose batch is not there; all before it must be whole, all behind it absent.
fn next_number(db: &Db) -> u64 {
    let (ks, other) = (db.default_keyspace(), db.keyspace_open(b"other", None).unwrap().unwrap());
    let read = ReadOptions::default();
    let present = |n: u64| {
        let parts: Vec<bool> = (0..4u8)
            .map(|part| {
                let space = if part % 2 == 0 { &ks } else { &other };
                let got = space.get_with(&read, &key(n, part), <[u8]>::to_vec).unwrap();
                if let Some(got) = &got {
                    assert_eq!(got, &value(n), "batch {n} part {part}");
                }
                got.is_some()
            })
            .collect();
        assert!(parts.iter().all(|p| *p == parts[0]), "batch {n} is torn: {parts:?}");
        parts[0]
    };
    let mut n = 0;
    while present(n) {
        n += 1;
    }
    for later in n..n + 64 {
        assert!(!present(later), "batch {later} without batch {n}");
    }
    n
}

/// Twenty-five cycles, more of them in a soak.
fn cycles(io: &str) {
    let began = Instant::now();
    let minutes = std::env::var("LSM_SOAK_MINUTES").ok().and_then(|m| m.parse::<f64>().ok()).unwrap_or(0.0);
    // Two tests share the time of a soak.
    let time = Duration::from_secs_f64(minutes * 60.0);
    let (mut cycles, mut batches) = (0, 0);
    while cycles == 0 || began.elapsed() < time {
        batches += group(io);
        cycles += CYCLES;
    }
    count::counted("kill", 0, u64::from(cycles), "cycles");
    count::counted("kill-acked", 0, batches * 4, "operations");
}

/// Kills one database again and again; how many batches were acknowledged.
fn group(io: &str) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut acknowledged_total = 0;
    let mut lost = 0;
    for cycle in 0..CYCLES {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env("LSM_KILL_PATH", &path)
            .env("LSM_KILL_IO", io)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let (began, has_begun) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
            loop {
                match out.read(&mut part).unwrap() {
                    0 => return bytes,
                    n => bytes.extend_from_slice(&part[..n]),
                }
                if last_acknowledged(&bytes).is_some() {
                    let _ = began.send(());
                }
            }
        });
        // Mostly while it writes, also on a busy machine; now and then while it starts or recovers.
        if cycle % 5 != 4 {
            let _ = has_begun.recv_timeout(Duration::from_secs(60));
        }
        std::thread::sleep(Duration::from_millis(30 + u64::from(cycle * 37 % 220)));
        child.kill().unwrap();
        child.wait().unwrap();
        // The harness's own lines come first; acknowledgements are the 8-byte words at the end.
        let bytes = reader.join().unwrap();
        let last = last_acknowledged(&bytes);
        let db = Db::open(&path, &options(io)).unwrap();
        let next = next_number(&db);
        if let Some(last) = last {
            acknowledged_total = last + 1;
            if next <= last {
                lost += 1;
            }
        }
        assert_eq!(lost, 0, "cycle {cycle}: {last:?} was acknowledged, {next} is the first one missing");
        db.close().unwrap();
    }
    assert!(acknowledged_total > 200, "the child wrote only {acknowledged_total} batches");
    acknowledged_total
}

fn last_acknowledged(bytes: &[u8]) -> Option<u64> {
    let text_end = bytes.iter().position(|&b| b == 0xF7).map_or(bytes.len(), |p| p + 1);
    let words = &bytes[text_end..];
    let whole = words.len() / 8 * 8;
    words[..whole].chunks_exact(8).next_back().map(|w| u64::from_le_bytes(w.try_into().unwrap()))
}

#[test]
fn writes_until_it_is_killed() {
    if let (Some(path), Ok(io)) = (std::env::var_os("LSM_KILL_PATH"), std::env::var("LSM_KILL_IO")) {
        // Marks where the test harness's own output ends.
        std::io::stdout().write_all(&[0xF7]).unwrap();
        std::io::stdout().flush().unwrap();
        child(Path::new(&path), &io);
    }
}

#[test]
fn nothing_acknowledged_is_lost_with_the_default_log() {
    cycles("auto");
}

#[test]
fn nothing_acknowledged_is_lost_with_the_written_log() {
    cycles("write");
}
