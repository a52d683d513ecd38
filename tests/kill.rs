//! kill -9 at random moments: everything that was acknowledged is there after the next open, batches whole, and the
//! history is a prefix. The child is this same test binary, told so by its environment. Every third time it is a child that
//! recovers what was killed, not the test: it may be killed in the middle of that.
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

/// The default log in segments so large that pages and zeros are made ready ahead of the records.
const AHEAD: &str = "ahead";

fn options(io: &str) -> Options {
    let (memtable, segment) = if io == AHEAD { ("5MiB", "4MiB") } else { ("256KiB", "512KiB") };
    let mut options = Options::new();
    for (key, value) in [("memtable.size", memtable), ("wal.segment_size", segment), ("table.size", "256KiB")] {
        options.set(key, value).unwrap();
    }
    options.set("wal.io", if io == AHEAD { "auto" } else { io }).unwrap();
    options
}

fn value(n: u64) -> Vec<u8> {
    // Some of the batches are too large for the mapping.
    let len = 20 + (n * 2_654_435_761 % if n.is_multiple_of(8) { 1000 } else { 300 }) as usize;
    (0..len).map(|i| (n as u8).wrapping_mul(31).wrapping_add(i as u8)).collect()
}

/// Parts of a batch: every second one in the other keyspace.
const PARTS: u8 = 16;

/// Writes batches from the first number that is missing on, and reports each acknowledged number on standard output.
fn child(path: &Path, io: &str, known: u64) {
    let db = Db::open(path, &options(io)).unwrap();
    let (ks, other) = (db.default_keyspace(), db.keyspace_open(b"other", None).unwrap().unwrap());
    let mut n = next_number(&db, known);
    let mut out = std::io::stdout().lock();
    loop {
        let mut batch = db.batch();
        let value = value(n);
        for part in 0..PARTS {
            let space = if part % 2 == 0 { &ks } else { &other };
            batch.put(space, &key(n, part), &value).unwrap();
        }
        db.write(&WriteOptions::default(), &batch).unwrap();
        if out.write_all(&n.to_le_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
        n += 1;
    }
}

/// Odd, so that multiplying by it can be undone.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;

fn key(n: u64, part: u8) -> Vec<u8> {
    // Scattered, so that tables overlap and compactions have work.
    let mut key = n.wrapping_mul(SCATTER).to_be_bytes().to_vec();
    key.push(part);
    key
}

/// The number and the part that a key stands for.
fn number_of(key: &[u8]) -> (u64, u8) {
    // Newton's iteration for the inverse modulo 2^64.
    let inverse = (0..6).fold(1u64, |x, _| x.wrapping_mul(2u64.wrapping_sub(SCATTER.wrapping_mul(x))));
    let (number, part) = key.split_first_chunk::<8>().unwrap();
    (u64::from_be_bytes(*number).wrapping_mul(inverse), part[0])
}

/// The first number whose batch is not there, by point reads from `from` on; what follows must be whole and then absent.
fn next_number(db: &Db, from: u64) -> u64 {
    let (ks, other) = (db.default_keyspace(), db.keyspace_open(b"other", None).unwrap().unwrap());
    let read = ReadOptions::default();
    let present = |n: u64| {
        let parts: Vec<bool> = (0..PARTS)
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
    let mut n = from;
    while present(n) {
        n += 1;
    }
    for later in n..n + 64 {
        assert!(!present(later), "batch {later} without batch {n}");
    }
    n
}

/// Reads both keyspaces from end to end: each entry is one that was written, with its value; all batches whole, the first
/// `n` of them and no other. Returns `n`.
fn scanned(db: &Db) -> u64 {
    let mut parts: Vec<u32> = Vec::new();
    for (space, is_other) in
        [(db.default_keyspace(), false), (db.keyspace_open(b"other", None).unwrap().unwrap(), true)]
    {
        let mut iter = space.iter(&ReadOptions::default()).unwrap();
        while let Some(entry) = iter.next().unwrap() {
            let (n, part) = number_of(entry.key);
            assert!(n < 1 << 32 && part < PARTS && (part % 2 == 1) == is_other, "{n} {part} was never written here");
            assert_eq!(entry.value, value(n), "batch {n} part {part}");
            let n = n as usize;
            if parts.len() <= n {
                parts.resize(n + 1, 0);
            }
            parts[n] |= 1 << part;
        }
    }
    for (n, seen) in parts.iter().enumerate() {
        assert_eq!(*seen, (1 << PARTS) - 1, "batch {n} of {} is torn or missing", parts.len());
    }
    parts.len() as u64
}

/// Twenty-five cycles, more of them in a soak.
fn cycles(io: &str) {
    let began = Instant::now();
    let minutes = std::env::var("LSM_SOAK_MINUTES").ok().and_then(|m| m.parse::<f64>().ok()).unwrap_or(0.0);
    // Three tests share the time of a soak.
    let time = Duration::from_secs_f64(minutes * 60.0);
    let (mut cycles, mut batches) = (0, 0);
    while cycles == 0 || began.elapsed() < time {
        batches += group(io);
        cycles += CYCLES;
    }
    count::counted("kill", 0, u64::from(cycles), "cycles");
    count::counted("kill-acked", 0, batches * u64::from(PARTS), "operations");
}

/// Kills one database again and again; how many batches were acknowledged.
fn group(io: &str) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    // What must be there, and up to where it is known to be without gaps.
    let (mut promised, mut known) = (0, 0);
    for cycle in 0..CYCLES {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env("LSM_KILL_PATH", &path)
            .env("LSM_KILL_IO", io)
            .env("LSM_KILL_KNOWN", known.to_string())
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
                if acknowledged(&bytes).is_some() {
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
        if let Some((first, last)) = acknowledged(&bytes) {
            assert!(
                first >= promised,
                "cycle {cycle}: {promised} were acknowledged, {first} was missing to the next child"
            );
            promised = last + 1;
        }
        // Every third time the next child recovers, and may be killed while it does.
        if cycle % 3 == 0 && cycle + 1 < CYCLES {
            continue;
        }
        let db = Db::open(&path, &options(io)).unwrap();
        known = scanned(&db);
        assert!(known >= promised, "cycle {cycle}: {promised} were acknowledged, {known} are there");
        assert_eq!(next_number(&db, known.saturating_sub(64)), known);
        db.close().unwrap();
    }
    assert!(promised > 200, "the child wrote only {promised} batches");
    promised
}

/// The first and the last number that a child reported.
fn acknowledged(bytes: &[u8]) -> Option<(u64, u64)> {
    let text_end = bytes.iter().position(|&b| b == 0xF7).map_or(bytes.len(), |p| p + 1);
    let (words, _) = bytes[text_end..].as_chunks::<8>();
    Some((u64::from_le_bytes(*words.first()?), u64::from_le_bytes(*words.last()?)))
}

#[test]
fn writes_until_it_is_killed() {
    if let (Some(path), Ok(io)) = (std::env::var_os("LSM_KILL_PATH"), std::env::var("LSM_KILL_IO")) {
        // Marks where the test harness's own output ends.
        std::io::stdout().write_all(&[0xF7]).unwrap();
        std::io::stdout().flush().unwrap();
        let known = std::env::var("LSM_KILL_KNOWN").unwrap().parse().unwrap();
        child(Path::new(&path), &io, known);
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

#[test]
fn nothing_acknowledged_is_lost_where_a_thread_goes_ahead() {
    cycles(AHEAD);
}
