//! The workloads, generic over the engine. A `Bench` owns one engine's database in one process and brings it into the
//! state that a workload needs before the clock starts.
//!
//! States: fresh (empty), live (filled in random order, as the fill left it: half-full memtable, several tables in level
//! 0), settled (flushed, fully compacted, everything read once). Every value read is checked, and so is how many were
//! found.
//!
//! A name may end in `:N`: N threads, each with its share of the operations.

use crate::data::{Data, Rng, ScanSum, share, shuffled};
use crate::engine::{Cursor, Engine, Session, Settings, fail};
use crate::host::{Profiler, folder_bytes};
use crate::meter::{Histogram, peak_bytes, process_time, reset_peak, thread_time, ticks, written_bytes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// For the orders of keys.
    pub seed: u64,
    /// Where profiles go, if they are wanted.
    pub profile: Option<PathBuf>,
}

/// The state of the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    None,
    Live,
    /// Holds all keys, but not as a fill left it.
    Mixed,
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

/// All names, as they are listed and run by `all`.
pub const NAMES: &[(&str, &str)] = &[
    ("fillseq", "puts in key order into an empty database"),
    ("fillbatch", "puts in random order, 100 to a batch"),
    ("fillsync", "synced puts in random order"),
    ("fillsustained", "fillrandom, then flush and wait until no compaction is due, all timed"),
    ("fillrandom", "puts in random order into an empty database"),
    ("readlive", "point reads right after fillrandom"),
    ("seeklive", "seek + 10 next right after fillrandom"),
    ("reopen", "close (untimed) after fillrandom, then open and read one key"),
    ("recover", "fillrandom in a process that ends without closing, then open, replay the log and read one key"),
    ("compact", "flush and full compaction after fillrandom"),
    ("readrandom", "point reads, settled and cached"),
    ("readmissing", "point reads of missing keys between the stored ones"),
    ("readseq", "the whole database forward, a step a call"),
    ("readseqmany", "the whole database forward, by the engine's call for many entries if it has one"),
    ("readreverse", "the whole database backward"),
    ("seekrandom", "seek a stored key + 10 next, one iterator"),
    ("seeknew", "the same with a new iterator each time"),
    ("readwhilewriting", "point reads beside one writer (--write-rate)"),
    ("overwrite", "puts in random order over a settled database"),
];

/// One engine's database.
pub struct Bench<'p, E: Engine> {
    engine: Option<E>,
    dir: PathBuf,
    settings: Settings,
    plan: &'p Plan,
    data: &'p Data,
    state: State,
    all: Option<ScanSum>,
}

struct Part {
    latency: Histogram,
    cpu: Duration,
}

impl<'p, E: Engine> Bench<'p, E> {
    /// A database in `dir`, which is emptied.
    pub fn new(dir: &Path, settings: &Settings, plan: &'p Plan, data: &'p Data) -> Self {
        let (dir, settings) = (dir.to_path_buf(), settings.clone());
        Bench { engine: None, dir, settings, plan, data, state: State::None, all: None }
    }

    /// Runs a workload.
    pub fn run(&mut self, name: &str) -> Sample {
        let (base, threads) = name.split_once(':').unwrap_or((name, "1"));
        let threads = threads.parse().unwrap_or_else(|_| fail("a bad number of threads"));
        let plan = self.plan;
        match base {
            "fillseq" => self.fill(name, threads, None, plan.count, false),
            "fillrandom" => {
                let sample = self.fill(name, threads, Some(1), plan.count, false);
                self.state = State::Live;
                sample
            }
            "fillsync" => self.fill(name, threads, Some(2), plan.syncs, true),
            "fillbatch" => self.fill_batch(name, threads),
            "fillsustained" => self.fill_sustained(name),
            "overwrite" => {
                self.settle();
                self.state = State::Mixed;
                let order = shuffled(plan.count, plan.seed + 3);
                self.write(name, threads, Some(&order), plan.count, false, 1)
            }
            "readlive" => {
                self.live();
                self.read(name, threads, 0)
            }
            "seeklive" => {
                self.live();
                self.seek(name, threads, false)
            }
            "reopen" => {
                self.live();
                self.reopen(name)
            }
            "recover" => self.recover(name),
            "crashfill" => {
                self.fill(name, 1, Some(1), plan.count, false);
                // SAFETY: ends the process as a kill would: no destructor, no close.
                unsafe { libc::_exit(0) }
            }
            "compact" => {
                self.live();
                self.compact(name)
            }
            "readrandom" => {
                self.settle();
                self.read(name, threads, 0)
            }
            "readmissing" => {
                self.settle();
                self.read(name, threads, 1)
            }
            "readseq" => self.scan(name, Self::scan_forward),
            "readseqmany" => self.scan(name, Self::scan_many),
            "readreverse" => self.scan(name, Self::scan_backward),
            "seekrandom" => {
                self.settle();
                self.seek(name, threads, false)
            }
            "seeknew" => {
                self.settle();
                self.seek(name, threads, true)
            }
            "readwhilewriting" => {
                self.settle();
                self.state = State::Mixed;
                self.read_while_writing(name, threads)
            }
            _ => fail(&format!("no workload is called {name}")),
        }
    }

    /// Closes and removes the database.
    pub fn end(mut self) {
        if let Some(engine) = self.engine.take() {
            engine.close();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }

    fn engine(&self) -> &E {
        self.engine.as_ref().unwrap_or_else(|| fail("no database is open"))
    }

    fn fresh(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.close();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
        if let Some(parent) = self.dir.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        self.engine = Some(E::open(&self.dir, &self.settings));
        self.state = State::None;
    }

    fn live(&mut self) {
        if self.state != State::Live {
            self.fresh();
            let order = shuffled(self.plan.count, self.plan.seed + 1);
            let part = self.put_share(&order, 0, false);
            drop(part);
            self.state = State::Live;
        }
        self.wait_idle();
    }

    fn settle(&mut self) {
        if self.state == State::Settled {
            return;
        }
        if self.state == State::None {
            self.live();
        }
        let engine = self.engine();
        engine.flush();
        engine.compact();
        self.wait_idle();
        // The warm-up: all of it once in order, then as many random reads.
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
        for _ in 0..self.data.count {
            self.get_checked(&mut session, Data::id(rng.below(self.data.count)), &mut buffer);
        }
        drop(session);
        self.state = State::Settled;
    }

    /// Until neither the engine nor its files and threads show work for a while.
    fn wait_idle(&self) {
        let mut calm = 0;
        let mut disk = 0;
        while calm < 4 {
            let cpu = process_time();
            std::thread::sleep(Duration::from_millis(50));
            let (spent, now) = (process_time() - cpu, folder_bytes(&self.dir));
            let is_calm = !self.engine().is_busy() && spent < Duration::from_millis(5) && now == disk;
            calm = if is_calm { calm + 1 } else { 0 };
            disk = now;
        }
    }

    /// Times `work` in `threads` threads.
    fn timed(&self, name: &str, threads: usize, work: impl Fn(usize) -> Histogram + Sync) -> Sample {
        let profiler = self.plan.profile.as_deref().map(|dir| Profiler::start(dir, name));
        reset_peak();
        let (written, cpu) = (written_bytes(), process_time());
        let start = Instant::now();
        let one = |thread: usize| {
            let cpu = thread_time();
            let latency = work(thread);
            Part { latency, cpu: thread_time() - cpu }
        };
        let (parts, seconds) = if threads == 1 {
            let part = one(0);
            (vec![part], start.elapsed().as_secs_f64())
        } else {
            let barrier = Barrier::new(threads + 1);
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
                barrier.wait();
                let start = Instant::now();
                let parts: Vec<Part> =
                    handles.into_iter().map(|h| h.join().unwrap_or_else(|_| fail("a thread panicked"))).collect();
                (parts, start.elapsed().as_secs_f64())
            })
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

    fn put_share(&self, share: &[u32], salt: u64, is_synced: bool) -> Histogram {
        let mut session = self.engine().session();
        let mut value = self.data.value_buffer();
        let mut latency = Histogram::new();
        let mut before = ticks();
        for &index in share {
            let id = Data::id(u64::from(index));
            self.data.value(id, salt, &mut value);
            session.put(&self.data.key(id), &value, is_synced);
            let now = ticks();
            latency.add(now - before);
            before = now;
        }
        latency
    }

    fn write(
        &self,
        name: &str,
        threads: usize,
        order: Option<&[u32]>,
        count: u64,
        is_synced: bool,
        salt: u64,
    ) -> Sample {
        let sequence: Vec<u32>;
        let order = match order {
            Some(order) => order,
            None => {
                sequence = (0..count as u32).collect();
                &sequence
            }
        };
        let order = &order[..count as usize];
        self.timed(name, threads, |thread| self.put_share(share(order, threads, thread), salt, is_synced))
    }

    fn fill(&mut self, name: &str, threads: usize, seed: Option<u64>, count: u64, is_synced: bool) -> Sample {
        self.fresh();
        let count = count.min(self.plan.count);
        let order = seed.map(|seed| shuffled(self.plan.count, self.plan.seed + seed));
        self.write(name, threads, order.as_deref(), count, is_synced, 0)
    }

    fn fill_batch(&mut self, name: &str, threads: usize) -> Sample {
        const BATCH: usize = 100;
        self.fresh();
        let order = shuffled(self.plan.count, self.plan.seed + 4);
        let mut sample = self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut value = self.data.value_buffer();
            let mut latency = Histogram::new();
            for batch in share(&order, threads, thread).chunks(BATCH) {
                let before = ticks();
                for &index in batch {
                    let id = Data::id(u64::from(index));
                    self.data.value(id, 0, &mut value);
                    session.batch_put(&self.data.key(id), &value);
                }
                session.batch_write();
                latency.add(ticks() - before);
            }
            latency
        });
        // Keys are counted, latencies are of batches.
        sample.count = self.plan.count;
        sample
    }

    fn fill_sustained(&mut self, name: &str) -> Sample {
        self.fresh();
        let order = shuffled(self.plan.count, self.plan.seed + 1);
        let mut sample = self.timed(name, 1, |_| {
            let latency = self.put_share(&order, 0, false);
            self.engine().flush();
            while self.engine().is_busy() {
                std::thread::sleep(Duration::from_millis(1));
            }
            latency
        });
        self.state = State::Mixed;
        sample.notes.push(("amplification".to_string(), sample.written as f64 / self.raw_bytes() as f64));
        sample
    }

    fn raw_bytes(&self) -> u64 {
        self.plan.count * (crate::data::KEY_LEN + self.data.value_len) as u64
    }

    fn compact(&mut self, name: &str) -> Sample {
        let mut sample = self.timed(name, 1, |_| {
            self.engine().flush();
            self.engine().compact();
            while self.engine().is_busy() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Histogram::new()
        });
        sample.count = self.plan.count;
        sample.latency = None;
        self.state = State::Mixed;
        self.wait_idle();
        sample.disk = folder_bytes(&self.dir);
        sample
    }

    /// The fill happens in another process, which goes without closing.
    fn recover(&mut self, name: &str) -> Sample {
        self.fresh();
        if let Some(engine) = self.engine.take() {
            engine.close();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
        let program = std::env::current_exe().unwrap_or_else(|error| fail(&error.to_string()));
        let status = Command::new(program)
            .args(std::env::args().skip(1))
            .args(["--workloads", "crashfill", "--exact-dir"])
            .arg(&self.dir)
            .stdout(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            fail("the process that was to fill failed");
        }
        self.timed_open(name, Vec::new())
    }

    fn reopen(&mut self, name: &str) -> Sample {
        let start = Instant::now();
        if let Some(engine) = self.engine.take() {
            engine.close();
        }
        let notes = vec![("close_ms".to_string(), start.elapsed().as_secs_f64() * 1e3)];
        self.timed_open(name, notes)
    }

    fn timed_open(&mut self, name: &str, notes: Vec<(String, f64)>) -> Sample {
        reset_peak();
        let profiler = self.plan.profile.as_deref().map(|dir| Profiler::start(dir, name));
        let (written, cpu, cpu_caller, start) = (written_bytes(), process_time(), thread_time(), Instant::now());
        self.engine = Some(E::open(&self.dir, &self.settings));
        let mut buffer = self.data.value_buffer();
        let mut session = self.engine().session();
        self.get_checked(&mut session, Data::id(self.plan.count / 2), &mut buffer);
        drop(session);
        let seconds = start.elapsed().as_secs_f64();
        let (cpu, cpu_caller) = ((process_time() - cpu).as_secs_f64(), (thread_time() - cpu_caller).as_secs_f64());
        if let Some(profiler) = profiler {
            profiler.stop();
        }
        let (written, disk, peak) = (written_bytes() - written, folder_bytes(&self.dir), peak_bytes());
        self.state = State::Mixed;
        Sample { count: 1, seconds, cpu, cpu_caller, latency: None, written, disk, peak, notes }
    }

    #[inline]
    fn get_checked(&self, session: &mut E::Session<'_>, id: u64, buffer: &mut [u8]) {
        match session.get(&self.data.key(id), buffer) {
            Some(len) => self.data.check(id, &buffer[..len.min(buffer.len())]),
            None => fail(&format!("the key of id {id} was not found")),
        }
    }

    /// Point reads; of missing keys with `odd` 1.
    fn read(&self, name: &str, threads: usize, odd: u64) -> Sample {
        let plan = self.plan;
        self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut buffer = self.data.value_buffer();
            let mut latency = Histogram::new();
            let mut rng = Rng::new(plan.seed * 31 + thread as u64);
            let mut before = ticks();
            for _ in 0..plan.reads / threads as u64 {
                let id = Data::id(rng.below(plan.count)) + odd;
                if odd == 0 {
                    self.get_checked(&mut session, id, &mut buffer);
                } else if session.get(&self.data.key(id), &mut buffer).is_some() {
                    fail(&format!("id {id} was found, but never written"));
                }
                let now = ticks();
                latency.add(now - before);
                before = now;
            }
            latency
        })
    }

    fn read_while_writing(&self, name: &str, threads: usize) -> Sample {
        let plan = self.plan;
        let is_over = AtomicBool::new(false);
        let mut sample = None;
        let (written, seconds, latency) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut session = self.engine().session();
                let mut value = self.data.value_buffer();
                let mut rng = Rng::new(plan.seed + 7);
                let mut latency = Histogram::new();
                let (start, mut count) = (Instant::now(), 0u64);
                while !is_over.load(Ordering::Relaxed) {
                    // Paced in groups of 20, which a sleep can keep up with.
                    if plan.write_rate > 0 && count % 20 == 0 {
                        let due = Duration::from_secs_f64(count as f64 / plan.write_rate as f64);
                        if let Some(rest) = due.checked_sub(start.elapsed()) {
                            std::thread::sleep(rest);
                        }
                    }
                    let id = Data::id(rng.below(plan.count));
                    self.data.value(id, count, &mut value);
                    let before = ticks();
                    session.put(&self.data.key(id), &value, false);
                    latency.add(ticks() - before);
                    count += 1;
                }
                (count, start.elapsed().as_secs_f64(), latency)
            });
            sample = Some(self.read(name, threads, 0));
            is_over.store(true, Ordering::Relaxed);
            writer.join().unwrap_or_else(|_| fail("the writer panicked"))
        });
        let mut sample = sample.unwrap_or_else(|| fail("no sample"));
        sample.notes.push(("writes_per_s".to_string(), written as f64 / seconds));
        sample.notes.push(("write_p99_us".to_string(), latency.quantile(0.99) / 1e3));
        sample.notes.push(("write_p999_us".to_string(), latency.quantile(0.999) / 1e3));
        sample
    }

    fn scan(&mut self, name: &str, pass: impl Fn(&Self, &mut ScanSum) + Sync) -> Sample {
        const PASSES: u64 = 3;
        self.settle();
        let all = *self.all.get_or_insert_with(|| ScanSum::of_all(self.data));
        let mut sample = self.timed(name, 1, |_| {
            for _ in 0..PASSES {
                let mut sum = ScanSum::default();
                pass(self, &mut sum);
                if sum != all {
                    fail(&format!("a scan gave {sum:?} instead of {all:?}"));
                }
            }
            Histogram::new()
        });
        sample.count = self.plan.count * PASSES;
        sample.latency = None;
        sample
    }

    fn scan_forward(&self, sum: &mut ScanSum) {
        let mut session = self.engine().session();
        let mut cursor = session.cursor();
        let mut stands = cursor.first();
        while stands {
            let (key, value) = cursor.entry();
            sum.add(key, value);
            stands = cursor.next();
        }
    }

    fn scan_many(&self, sum: &mut ScanSum) {
        let mut session = self.engine().session();
        let mut cursor = session.cursor();
        let mut stands = cursor.first();
        while stands {
            stands = cursor.read_forward(&mut |key, value| sum.add(key, value));
        }
    }

    fn scan_backward(&self, sum: &mut ScanSum) {
        let mut session = self.engine().session();
        let mut cursor = session.cursor();
        let mut stands = cursor.last();
        while stands {
            let (key, value) = cursor.entry();
            sum.add(key, value);
            stands = cursor.prev();
        }
    }

    /// A seek to a stored key and ten steps.
    fn seek_once(&self, cursor: &mut impl Cursor, index: u64) {
        const STEPS: u64 = 10;
        let id = Data::id(index);
        let key = self.data.key(id);
        let mut stands = cursor.seek(&key);
        if !stands || cursor.entry().0 != key {
            fail(&format!("a seek did not find id {id}"));
        }
        for step in index..(index + STEPS).min(self.plan.count - 1) {
            self.data.check(Data::id(step), cursor.entry().1);
            stands = cursor.next();
            if !stands {
                fail(&format!("a scan ended before id {}", Data::id(step + 1)));
            }
        }
    }

    fn seek(&self, name: &str, threads: usize, is_new: bool) -> Sample {
        let plan = self.plan;
        self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut latency = Histogram::new();
            let mut rng = Rng::new(plan.seed * 37 + thread as u64);
            let count = plan.reads / 2 / threads as u64;
            let mut before = ticks();
            let mut lap = || {
                let now = ticks();
                latency.add(now - before);
                before = now;
            };
            if is_new {
                for _ in 0..count {
                    let mut cursor = session.cursor();
                    self.seek_once(&mut cursor, rng.below(plan.count));
                    drop(cursor);
                    lap();
                }
            } else {
                let mut cursor = session.cursor();
                for _ in 0..count {
                    self.seek_once(&mut cursor, rng.below(plan.count));
                    lap();
                }
            }
            latency
        })
    }
}
