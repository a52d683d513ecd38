//! The workloads, generic over the engine. A `Bench` owns one engine's database in one process and brings it into the
//! state that a workload needs before the clock starts.
//!
//!     mod.rs    states, clocks, names          write.rs  fills, overwrites, deletes
//!     read.rs   point reads, scans, seeks      mixed.rs  readers beside a writer, YCSB
//!     open.rs   opening, recovery, compaction, reads that miss the cache
//!
//! States: fresh (empty), live (filled in random order, as the fill left it: half-full memtable, several tables in level
//! 0), settled (flushed, fully compacted, everything read once). Every value read is checked, and so is how many were
//! found.
//!
//! A name may end in `:N`: N threads, each with its share of the operations. Loads end after `Plan::seconds`, if that is
//! set; fills of a whole database, scans and single jobs do not.

mod mixed;
mod names;
mod open;
mod read;
mod write;

pub use names::{NAMES, SCALING};

use crate::data::{Data, Rng, ScanSum, shuffled};
use crate::engine::{Cursor, Engine, Session, Settings, fail};
use crate::host::{Profiler, folder_bytes};
use crate::meter::{Histogram, peak_bytes, process_time, reset_peak, thread_time, tick_nanos, ticks, written_bytes};
use read::Pick;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Keys stored.
    pub count: u64,
    /// Point reads.
    pub reads: u64,
    /// Synced writes.
    pub syncs: u64,
    /// Puts a second of the writer beside readers; 0: as fast as it can.
    pub write_rate: u64,
    /// How long a load may take; 0: until it is done.
    pub seconds: f64,
    /// For the orders of keys.
    pub seed: u64,
    /// Where profiles go, if they are wanted.
    pub profile: Option<PathBuf>,
}

/// The state of the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not what any workload begins with.
    None,
    Live,
    /// Holds all keys, but not as a fill left it.
    Mixed,
    /// As mixed, with more keys than the data has.
    Grown,
    /// Compacted, but not in the cache.
    Cold,
    Settled,
}

/// What a workload gave.
pub struct Sample {
    /// Operations.
    pub count: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Processor time of all threads, in seconds.
    pub cpu: f64,
    /// Processor time of the calling threads, in seconds.
    pub cpu_caller: f64,
    /// Latencies of the operations, if they were timed one by one.
    pub latency: Option<Histogram>,
    /// Bytes written to files.
    pub written: u64,
    /// Bytes of the database's folder afterwards.
    pub disk: u64,
    /// Peak memory in bytes during the workload.
    pub peak: u64,
    /// What else is worth saying, `name=value`.
    pub notes: Vec<(String, f64)>,
}

/// One engine's database.
pub struct Bench<'p, E: Engine> {
    engine: Option<E>,
    dir: PathBuf,
    settings: Settings,
    plan: &'p Plan,
    data: &'p Data,
    state: State,
    all: Option<ScanSum>,
    /// Keys that were inserted behind those of the data.
    grown: u64,
}

struct Part {
    latency: Histogram,
    cpu: Duration,
    start: Instant,
    end: Instant,
}

/// A load in one thread: each lap is an operation, from the end of the one before.
struct Laps {
    latency: Histogram,
    before: u64,
    deadline: u64,
}

impl Laps {
    fn new(plan: &Plan) -> Laps {
        let before = ticks();
        let most = if plan.seconds > 0.0 { (plan.seconds * 1e9 / tick_nanos()) as u64 } else { u64::MAX };
        Laps { latency: Histogram::new(), before, deadline: before.saturating_add(most) }
    }

    /// Whether there is time for another.
    #[inline]
    fn is_open(&self) -> bool {
        self.before < self.deadline
    }

    #[inline]
    fn lap(&mut self) {
        let now = ticks();
        self.latency.add(now - self.before);
        self.before = now;
    }
}

impl<'p, E: Engine> Bench<'p, E> {
    /// A database in `dir`, which is emptied.
    pub fn new(dir: &Path, settings: &Settings, plan: &'p Plan, data: &'p Data) -> Self {
        let (dir, settings) = (dir.to_path_buf(), settings.clone());
        Bench { engine: None, dir, settings, plan, data, state: State::None, all: None, grown: 0 }
    }

    /// Runs a workload.
    pub fn run(&mut self, name: &str) -> Sample {
        let (base, threads) = name.split_once(':').unwrap_or((name, "1"));
        let threads = match threads.parse() {
            Ok(threads) if threads > 0 => threads,
            _ => fail(&format!("{name}: a bad number of threads")),
        };
        match base {
            "fillseq" | "fillrandom" | "fillsync" | "fillbatch" | "fillsustained" | "overwrite" | "deleterandom"
            | "crashfill" => self.run_write(name, base, threads),
            "reopen" | "recover" | "compact" | "readsmall" | "readcold" => self.run_open(name, base, threads),
            "readwhilewriting" | "seekwhilewriting" => {
                self.settle();
                self.state = State::Mixed;
                self.beside_writer(name, threads, base == "readwhilewriting")
            }
            _ if base.starts_with("ycsb") => self.ycsb(name, base, threads),
            _ => self.run_read(name, base, threads),
        }
    }

    fn run_read(&mut self, name: &str, base: &str, threads: usize) -> Sample {
        match base {
            "readlive" | "seeklive" => self.live(),
            "readmemtable" => return self.read_memtable(name, threads),
            _ => self.settle(),
        }
        match base {
            "readlive" | "readrandom" => self.read(name, threads, Pick::Stored),
            "readmissing" => self.read(name, threads, Pick::Missing),
            "readhot" => self.read(name, threads, Pick::Hot),
            "multiget" => self.multi_get(name, threads),
            "readseq" => self.scan(name, Self::scan_forward),
            "readseqmany" => self.scan(name, Self::scan_many),
            "readreverse" => self.scan(name, Self::scan_backward),
            "seekonly" => self.seek(name, threads, false, 0),
            "seekrandom" | "seeklive" => self.seek(name, threads, false, 10),
            "seek100" => self.seek(name, threads, false, 100),
            "seeknew" => self.seek(name, threads, true, 10),
            _ => fail(&format!("no workload is called {name}")),
        }
    }

    /// Closes and removes the database.
    pub fn end(mut self) {
        self.remove();
    }

    fn engine(&self) -> &E {
        self.engine.as_ref().unwrap_or_else(|| fail("no database is open"))
    }

    fn close(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.close();
        }
    }

    fn remove(&mut self) {
        self.close();
        let _ = std::fs::remove_dir_all(&self.dir);
    }

    fn fresh(&mut self) {
        self.remove();
        if let Some(parent) = self.dir.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        self.engine = Some(E::open(&self.dir, &self.settings));
        self.state = State::None;
        self.grown = 0;
    }

    fn live(&mut self) {
        if self.state != State::Live {
            self.fresh();
            let order = shuffled(self.plan.count, self.plan.seed + 1);
            drop(self.put_all(&order, 0));
            self.state = State::Live;
        }
        self.wait_idle();
    }

    /// Whatever state holds all keys.
    fn stored(&mut self) {
        if self.state == State::None {
            self.settle();
        }
    }

    /// Compacted and on the disk; nothing is said of the cache.
    fn compacted(&mut self) {
        if matches!(self.state, State::Settled | State::Cold) {
            return;
        }
        if matches!(self.state, State::None | State::Grown) {
            self.live();
        }
        self.engine().flush();
        self.engine().compact();
        self.wait_idle();
        self.state = State::Cold;
    }

    fn settle(&mut self) {
        if self.state == State::Settled {
            return;
        }
        self.compacted();
        // The warm-up: all of it once in order, then random reads.
        let mut session = self.engine().session();
        {
            let mut cursor = session.cursor();
            let mut stands = cursor.first();
            let mut sum = ScanSum::default();
            while stands {
                let (key, value) = cursor.entry();
                sum.add(key, value);
                stands = cursor.next();
            }
            if sum.count != self.data.count {
                fail(&format!("the database holds {} of {} keys", sum.count, self.data.count));
            }
        }
        let mut rng = Rng::new(self.plan.seed + 99);
        let mut buffer = self.data.value_buffer();
        let mut laps = Laps::new(self.plan);
        for _ in 0..self.data.count {
            if !laps.is_open() {
                break;
            }
            self.get_checked(&mut session, Data::id(rng.below(self.data.count)), &mut buffer);
            laps.lap();
        }
        drop(session);
        self.state = State::Settled;
    }

    /// Until neither the engine nor its files and threads show work for a while.
    fn wait_idle(&self) {
        let mut calm = 0;
        let mut disk = 0;
        while calm < 3 {
            let cpu = process_time();
            std::thread::sleep(Duration::from_millis(50));
            let (spent, now) = (process_time() - cpu, folder_bytes(&self.dir));
            let is_busy = self.engine().is_busy().unwrap_or(false);
            let is_calm = !is_busy && spent < Duration::from_millis(5) && now == disk;
            calm = if is_calm { calm + 1 } else { 0 };
            disk = now;
        }
    }

    /// Until no flush or compaction runs or is due; answers how long it has been calm by then, which is no part of the
    /// work. An engine that does not tell is calm when its threads have had no processor time for longer.
    fn drain(&self) -> Duration {
        const TOLD: Duration = Duration::from_millis(10);
        const SEEN: Duration = Duration::from_millis(150);
        let mut calm = Instant::now();
        loop {
            let (cpu, start) = (process_time(), Instant::now());
            std::thread::sleep(Duration::from_millis(2));
            let (is_busy, need) = match self.engine().is_busy() {
                Some(is_busy) => (is_busy, TOLD),
                None => ((process_time() - cpu) * 5 > start.elapsed(), SEEN),
            };
            if is_busy {
                calm = Instant::now();
            } else if calm.elapsed() > need {
                return calm.elapsed();
            }
        }
    }

    /// Times `work` in `threads` threads.
    fn timed(&self, name: &str, threads: usize, work: impl Fn(usize) -> Histogram + Sync) -> Sample {
        let profiler = self.plan.profile.as_deref().map(|dir| Profiler::start(dir, name));
        reset_peak();
        let (written, cpu) = (written_bytes(), process_time());
        let one = |thread: usize| {
            let (cpu, start) = (thread_time(), Instant::now());
            let latency = work(thread);
            Part { latency, cpu: thread_time() - cpu, start, end: Instant::now() }
        };
        let parts: Vec<Part> = if threads == 1 {
            vec![one(0)]
        } else {
            let barrier = Barrier::new(threads);
            std::thread::scope(|scope| {
                let (barrier, one) = (&barrier, &one);
                let handles: Vec<_> = (0..threads)
                    .map(|thread| {
                        scope.spawn(move || {
                            barrier.wait();
                            one(thread)
                        })
                    })
                    .collect();
                handles.into_iter().map(|h| h.join().unwrap_or_else(|_| fail("a thread panicked"))).collect()
            })
        };
        // From when the first thread began until the last one ended.
        let (starts, ends) = (parts.iter().map(|part| part.start), parts.iter().map(|part| part.end));
        let seconds = match (starts.min(), ends.max()) {
            (Some(start), Some(end)) => (end - start).as_secs_f64(),
            _ => fail("no thread ran"),
        };
        let cpu = (process_time() - cpu).as_secs_f64();
        if let Some(profiler) = profiler {
            profiler.stop();
        }
        let mut latency = Histogram::new();
        parts.iter().for_each(|part| latency.merge(&part.latency));
        let cpu_caller = parts.iter().map(|part| part.cpu.as_secs_f64()).sum();
        Sample {
            count: latency.count(),
            seconds,
            cpu,
            cpu_caller,
            latency: Some(latency),
            written: written_bytes() - written,
            disk: folder_bytes(&self.dir),
            peak: peak_bytes(),
            notes: Vec::new(),
        }
    }

    #[inline]
    fn get_checked(&self, session: &mut E::Session<'_>, id: u64, buffer: &mut [u8]) {
        match session.get(&self.data.key(id), buffer) {
            Some(len) => self.data.check(id, &buffer[..len.min(buffer.len())]),
            None => fail(&format!("the key of id {id} was not found")),
        }
    }

    fn raw_bytes(&self) -> u64 {
        self.plan.count * (crate::data::KEY_LEN + self.data.value_len) as u64
    }
}
