//! What the crash explorer and the fault sweep share: seeded histories over several keyspaces, a digest of the state after
//! each step, disks with planted faults, a watchdog.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(dead_code, reason = "each of the two tests uses a part")]

pub mod image;
pub mod planted;

use lsm_engine::base::log_sink::{LogLevel, LogSink};
use lsm_engine::base::sync::Mutex;
use lsm_engine::db::{Db, Durability, Keyspace, Options, ReadOptions, WriteOptions};
use lsm_engine::error::Result;
use lsm_engine::fs::Fs;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const DIR: &str = "/db";
pub const NAMES: [&[u8]; 3] = [b"default", b"second", b"third"];

pub struct Rng(pub u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }
}

pub struct Quiet;

impl LogSink for Quiet {
    fn log(&self, level: LogLevel, message: &str) {
        if std::env::var_os("LSM_VERBOSE").is_some() {
            eprintln!("    {level:?} {message}");
        }
    }
}

pub fn options(io: &str) -> Options {
    let mut options = Options::new();
    for (key, value) in [
        ("memtable.size", "4KiB"),
        ("table.size", "4KiB"),
        ("level.base_size", "8KiB"),
        ("level.size_ratio", "2"),
        ("level0.compaction_trigger", "2"),
        ("block.size", "512"),
        ("cache.size", "64KiB"),
        ("wal.segment_size", "64KiB"),
        ("wal.total_max", "256KiB"),
        ("compaction.threads", "1"),
        ("compaction.subjobs_max", "1"),
        ("wal.io", io),
    ] {
        options.set(key, value).unwrap();
    }
    options.set_logger(Arc::new(Quiet));
    options
}

pub fn open(fs: Arc<dyn Fs>, io: &str) -> Result<Db> {
    Db::open_on(fs, Path::new(DIR), &options(io))
}

/// One change of one key; `None` is a delete.
pub type Change = (usize, Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug)]
pub enum Step {
    Write { changes: Vec<Change>, fsync: bool },
    Sync,
    Flush(Option<usize>),
    Compact(usize),
    Drop(usize),
    Create(usize),
    Reopen,
}

fn key(rng: &mut Rng) -> Vec<u8> {
    format!("k{:03}", rng.below(120)).into_bytes()
}

fn value(rng: &mut Rng, at: usize) -> Vec<u8> {
    let len = match rng.below(40) {
        0 => 0,
        1 => 6000,
        _ => 10 + rng.below(300) as usize,
    };
    let mut bytes = format!("{at}:").into_bytes();
    bytes.resize(bytes.len() + len, at as u8);
    bytes
}

/// A history of `steps` steps. `schema`: also drop and make keyspaces.
pub fn history(seed: u64, steps: usize, schema: bool) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    // Some histories never sync, some sync nearly always.
    let fsync_share = [0, 10, 30, 90][rng.below(4) as usize];
    let mut third = true;
    (0..steps)
        .map(|at| {
            let spaces = if third && schema { 3 } else { 2 };
            let change = |rng: &mut Rng| {
                let value = (rng.below(5) > 0).then(|| value(rng, at));
                // The second keyspace is written seldom: it holds back the log.
                let space = if rng.below(4) == 0 { rng.below(spaces) } else { 0 };
                (space as usize, key(rng), value)
            };
            match rng.below(100) {
                0..=1 => Step::Sync,
                2..=4 => Step::Flush(None),
                5 => Step::Flush(Some(rng.below(2) as usize)),
                6..=7 => Step::Compact(rng.below(2) as usize),
                8 if schema => {
                    third = !third;
                    if third { Step::Create(2) } else { Step::Drop(2) }
                }
                9 => Step::Reopen,
                n => {
                    let count = if n < 60 { 1 } else { 2 + rng.below(4) };
                    let changes = (0..count).map(|_| change(&mut rng)).collect();
                    Step::Write { changes, fsync: rng.below(100) < fsync_share }
                }
            }
        })
        .collect()
}

/// What the keyspaces hold.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Model(pub [BTreeMap<Vec<u8>, Vec<u8>>; 3]);

impl Model {
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Write { changes, .. } => {
                for (space, key, value) in changes {
                    match value {
                        Some(value) => self.0[*space].insert(key.clone(), value.clone()),
                        None => self.0[*space].remove(key),
                    };
                }
            }
            Step::Drop(space) => self.0[*space].clear(),
            _ => {}
        }
    }

    pub fn digest(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    pub fn difference(&self, other: &Model) -> String {
        let mut text = String::new();
        let short = |v: Option<&Vec<u8>>| v.map(|v| String::from_utf8_lossy(&v[..v.len().min(5)]).into_owned());
        for (at, (a, b)) in self.0.iter().zip(&other.0).enumerate() {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                if a.get(key) != b.get(key) {
                    let name = String::from_utf8_lossy(key);
                    text += &format!("  {at}/{name}: {:?} | {:?}\n", short(a.get(key)), short(b.get(key)));
                }
            }
        }
        text
    }
}

/// An open database with its keyspaces.
pub struct Opened {
    pub db: Db,
    pub spaces: Vec<Option<Keyspace>>,
}

impl Opened {
    /// Opens, making no keyspace: for checks.
    pub fn existing(fs: Arc<dyn Fs>, io: &str) -> Result<Opened> {
        let db = open(fs, io)?;
        let mut never = Options::new();
        never.set("create_if_missing", "false").unwrap();
        let mut spaces = vec![Some(db.default_keyspace())];
        for name in &NAMES[1..] {
            spaces.push(db.keyspace_open(name, Some(&never))?);
        }
        Ok(Opened { db, spaces })
    }

    pub fn make(&mut self, at: usize) -> Result<()> {
        self.spaces[at] = self.db.keyspace_open(NAMES[at], None)?;
        Ok(())
    }

    pub fn content(&self) -> Result<Model> {
        let mut model = Model::default();
        for (at, space) in self.spaces.iter().enumerate() {
            let Some(space) = space else { continue };
            let mut iter = space.iter(&ReadOptions::default())?;
            while let Some(entry) = iter.next()? {
                model.0[at].insert(entry.key.to_vec(), entry.value.to_vec());
            }
        }
        Ok(model)
    }

    /// Carries out a step that is not a reopen.
    pub fn run(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Write { changes, fsync } => {
                let durability = if *fsync { Durability::Fsync } else { Durability::Os };
                let options = WriteOptions { durability, ..WriteOptions::default() };
                let space = |at: usize| self.spaces[at].as_ref().unwrap();
                if let [(at, key, value)] = changes.as_slice() {
                    return match value {
                        Some(value) => space(*at).put(&options, key, value).map(drop),
                        None => space(*at).delete(&options, key).map(drop),
                    };
                }
                let mut batch = self.db.batch();
                for (at, key, value) in changes {
                    match value {
                        Some(value) => batch.put(space(*at), key, value)?,
                        None => batch.delete(space(*at), key)?,
                    }
                }
                self.db.write(&options, &batch).map(drop)
            }
            Step::Sync => self.db.sync(),
            Step::Flush(at) => self.db.flush(at.and_then(|at| self.spaces[at].as_ref())),
            Step::Compact(at) => self.spaces[*at].as_ref().map_or(Ok(()), |space| space.compact(None, None)),
            Step::Drop(at) => {
                self.spaces[*at] = None;
                self.db.keyspace_drop(NAMES[*at]).map(drop)
            }
            Step::Create(at) => self.make(*at),
            Step::Reopen => Ok(()),
        }
    }
}

/// How many seconds a check may take: `seconds`, or the minutes of `LSM_SOAK_MINUTES`.
pub fn time_box(seconds: u64) -> Duration {
    let soak = std::env::var("LSM_SOAK_MINUTES").ok().and_then(|m| m.parse::<f64>().ok());
    soak.map_or(Duration::from_secs(seconds), |m| Duration::from_secs_f64(m * 60.0))
}

/// A time box that lasts longer on a slow or busy machine, until enough was done, but no more than ten times as long.
pub struct TimeBox {
    began: Instant,
    time: Duration,
}

impl TimeBox {
    /// Of so many seconds, or the minutes of `LSM_SOAK_MINUTES`.
    pub fn of(seconds: u64) -> TimeBox {
        TimeBox { began: Instant::now(), time: time_box(seconds) }
    }

    /// Of so many seconds, whatever a soak says.
    pub fn exactly(seconds: u64) -> TimeBox {
        TimeBox { began: Instant::now(), time: Duration::from_secs(seconds) }
    }

    /// Whether it is over when `done` of the `least` that are wanted are done.
    pub fn is_over(&self, done: u64, least: u64) -> bool {
        let elapsed = self.began.elapsed();
        elapsed >= self.time && (done >= least || elapsed >= self.time * 10)
    }

    /// When work that is cut into pieces is to look up; later while there is not enough.
    pub fn deadline(&self, done: u64, least: u64) -> Instant {
        let end = self.began + self.time;
        if done >= least { end } else { end.max(Instant::now() + Duration::from_secs(1)) }
    }
}

/// The first seed; `LSM_SEED` replays.
pub fn first_seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_millis() as u64);
    std::env::var("LSM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| now() % 1_000_000_007)
}

static CASE: Mutex<BTreeMap<u64, (u64, String)>> = Mutex::new(BTreeMap::new());
static CASES: AtomicU64 = AtomicU64::new(0);
/// Turns of the watchdog, two a second at most. A machine that gives the process no time gives the watchdog none.
static TURNS: AtomicU64 = AtomicU64::new(0);
const TURNS_MOST: u64 = 60;

/// While it lives, a case that takes longer than 30 s ends the process with its name.
pub struct Watched(u64);

impl Watched {
    pub fn new(name: String) -> Watched {
        let id = CASES.fetch_add(1, Ordering::Relaxed);
        if id == 0 {
            std::thread::spawn(watch);
        }
        CASE.lock().insert(id, (TURNS.load(Ordering::Relaxed), name));
        Watched(id)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        CASE.lock().remove(&self.0);
    }
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let turn = 1 + TURNS.fetch_add(1, Ordering::Relaxed);
        let cases = CASE.lock();
        if let Some((_, name)) = cases.values().find(|(began, _)| turn - began > TURNS_MOST) {
            eprintln!("HANG: {name}");
            if std::env::var_os("LSM_HANG").is_some() {
                std::thread::sleep(Duration::from_secs(60));
            }
            std::process::abort();
        }
    }
}
