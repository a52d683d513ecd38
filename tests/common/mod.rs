//! What tests of whole-engine figures share: a process of their own, memory as the kernel counts it, a fill that is timed.
#![allow(dead_code, reason = "each test binary uses its part")]

use lsm_engine::db::{Db, Options, WriteOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const MIB: u64 = 1 << 20;

/// Runs `body` in a process of its own: this test binary, told by its environment to run only the test called `name`.
pub fn isolated(name: &str, body: impl FnOnce()) {
    const CHILD: &str = "LSM_TEST_CHILD";
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        body();
        return;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its own process");
}

/// An environment variable as a number, else `default`: how long the long runs are.
pub fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Options from `key=value` pairs.
pub fn options(pairs: &[(&str, &str)]) -> Options {
    let mut options = Options::new();
    for (key, value) in pairs {
        options.set(key, value).unwrap();
    }
    // The long runs take further settings: LSM_SET="key=value key=value".
    for pair in std::env::var("LSM_SET").unwrap_or_default().split_whitespace() {
        let (key, value) = pair.split_once('=').unwrap();
        options.set(key, value).unwrap();
    }
    options
}

/// A folder for a database, removed when dropped; below `LSM_DIR` if that is set.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = match std::env::var("LSM_DIR") {
        Ok(parent) => tempfile::tempdir_in(parent).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let path = dir.path().join("db");
    (dir, path)
}

/// Prints the database's LOG file where `LSM_LOG` asks for it.
pub fn show_log(path: &std::path::Path) {
    if std::env::var("LSM_LOG").is_ok() {
        println!("{}", std::fs::read_to_string(path.join("LOG")).unwrap());
    }
}

pub fn rng(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Anonymous memory of this process in bytes.
pub fn anonymous() -> u64 {
    status_kib("RssAnon:") << 10
}

/// Threads of this process.
pub fn threads() -> u64 {
    status_kib("Threads:")
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How long the calling thread has waited for a processor so far: the machine's business, not the engine's.
fn queued() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// Watches anonymous memory from a thread.
pub struct Peak {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peak {
    pub fn watch() -> Peak {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (peak_of, stop_of) = (Arc::clone(&peak), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stop_of.load(Ordering::Relaxed) {
                peak_of.fetch_max(anonymous(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Peak { peak, stop, thread: Some(thread) }
    }

    /// Bytes at most, so far.
    pub fn bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// When a fill ends.
#[derive(Clone, Copy)]
pub enum Until {
    Bytes(u64),
    Time(Duration),
}

/// What a fill measured.
pub struct Filled {
    pub puts: u64,
    pub bytes: u64,
    pub time: Duration,
    /// The longest put, less what its thread waited for a processor.
    pub longest: Duration,
    /// The longest put by the clock.
    pub longest_wall: Duration,
    /// When the longest put happened.
    pub longest_at: Duration,
    /// Puts longer than 50 ms.
    pub long: u64,
    /// Puts of each whole second.
    pub seconds: Vec<u64>,
}

impl Filled {
    pub fn median(&self) -> u64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }

    pub fn slowest(&self) -> u64 {
        self.seconds.iter().copied().min().unwrap_or(0)
    }

    pub fn show(&self, what: &str) {
        let rate = self.bytes as f64 / MIB as f64 / self.time.as_secs_f64();
        println!(
            "{what}: {} puts, {} MiB in {:.1} s, {rate:.1} MiB/s; longest put {:.1} ms at {:.1} s ({:.1} ms \
             with waits for a processor), {} over 50 ms; seconds: median {} slowest {}",
            self.puts,
            self.bytes / MIB,
            self.time.as_secs_f64(),
            self.longest.as_secs_f64() * 1e3,
            self.longest_at.as_secs_f64(),
            self.longest_wall.as_secs_f64() * 1e3,
            self.long,
            self.median(),
            self.slowest(),
        );
        if std::env::var("LSM_SECONDS").is_ok() {
            println!("{:?}", self.seconds);
        }
    }
}

/// Puts random 16-byte keys with values of `value_len` random bytes from `writers` threads.
pub fn fill(db: &Db, value_len: usize, writers: u64, until: Until) -> Filled {
    let began = Instant::now();
    let parts: Vec<Filled> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..writers)
            .map(|writer| scope.spawn(move || fill_part(db, value_len, writer, writers, until, began)))
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    parts
        .into_iter()
        .reduce(|a, b| {
            let (longer, other) = if a.longest > b.longest { (a, b) } else { (b, a) };
            Filled {
                puts: longer.puts + other.puts,
                bytes: longer.bytes + other.bytes,
                time: longer.time.max(other.time),
                long: longer.long + other.long,
                longest_wall: longer.longest_wall.max(other.longest_wall),
                seconds: longer.seconds.iter().zip(&other.seconds).map(|(a, b)| a + b).collect(),
                ..longer
            }
        })
        .unwrap()
}

fn fill_part(db: &Db, value_len: usize, writer: u64, writers: u64, until: Until, began: Instant) -> Filled {
    let keyspace = db.default_keyspace();
    let write = WriteOptions::default();
    let mut state = (writer + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    // Half random, half not: compresses about as real values do.
    let mut value = vec![0u8; value_len];
    let mut filled = Filled {
        puts: 0,
        bytes: 0,
        time: Duration::ZERO,
        longest: Duration::ZERO,
        longest_wall: Duration::ZERO,
        longest_at: Duration::ZERO,
        long: 0,
        seconds: Vec::new(),
    };
    let (mut last, mut in_second) = (began, 0u64);
    let (mut queued_before, mut looked) = (queued(), began);
    loop {
        let mut key = [0u8; 16];
        key[..8].copy_from_slice(&rng(&mut state).to_le_bytes());
        key[8..].copy_from_slice(&rng(&mut state).to_le_bytes());
        for chunk in value.chunks_mut(16) {
            let word = rng(&mut state).to_le_bytes();
            let len = chunk.len().min(8);
            chunk[..len].copy_from_slice(&word[..len]);
        }
        let start = Instant::now();
        keyspace.put(&write, &key, &value).unwrap();
        let now = Instant::now();
        let wall = now - start;
        filled.longest_wall = filled.longest_wall.max(wall);
        if now - looked > Duration::from_millis(2) {
            let queued_now = queued();
            let took = wall.saturating_sub(queued_now - queued_before);
            (queued_before, looked) = (queued_now, now);
            if took > filled.longest {
                (filled.longest, filled.longest_at) = (took, now - began);
            }
            filled.long += u64::from(took > Duration::from_millis(50));
            if took > Duration::from_millis(50) && std::env::var("LSM_LONG").is_ok() {
                let stalled = db.property_u64(None, "stall.micros").unwrap().unwrap();
                println!(
                    "{:.3} s: {took:?} of {wall:?}, stalled {} ms so far",
                    (now - began).as_secs_f64(),
                    stalled / 1000
                );
            }
        }
        filled.puts += 1;
        filled.bytes += 16 + value_len as u64;
        in_second += 1;
        while (now - began).as_secs() > filled.seconds.len() as u64 {
            filled.seconds.push(std::mem::take(&mut in_second));
        }
        last = last.max(now);
        let done = match until {
            Until::Bytes(bytes) => filled.bytes >= bytes / writers,
            Until::Time(time) => now - began >= time,
        };
        if done {
            filled.time = last - began;
            return filled;
        }
    }
}
