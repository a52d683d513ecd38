//! Opening, recovery, full compaction, and reads from a database whose blocks are not in the cache.

use super::read::Pick;
use super::{Bench, Sample, State};
use crate::data::{Data, Rng};
use crate::engine::{Engine, Session, fail};
use crate::host::{Profiler, drop_pages, folder_bytes};
use crate::meter::{Histogram, peak_bytes, process_time, reset_peak, thread_time, written_bytes};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The part of the data that fits into a small cache.
const SMALL_CACHE: u64 = 10;
/// No engine is asked to work with less.
const CACHE_BYTES_MIN: u64 = 4 << 20;

impl<E: Engine> Bench<'_, E> {
    pub(super) fn run_open(&mut self, name: &str, base: &str, threads: usize) -> Sample {
        match base {
            "reopen" => {
                // Whatever the workloads before left.
                if self.engine.is_none() {
                    self.live();
                }
                self.reopen(name)
            }
            "recover" => self.recover(name),
            "compact" => {
                self.live();
                self.compact(name)
            }
            _ => self.read_uncached(name, threads, base == "readcold"),
        }
    }

    fn compact(&mut self, name: &str) -> Sample {
        let calm = AtomicU64::new(0);
        let mut sample = self.timed(name, 1, |_| {
            self.engine().flush();
            self.engine().compact();
            calm.store(self.drain().as_micros() as u64, Ordering::Relaxed);
            Histogram::new()
        });
        sample.seconds -= calm.into_inner() as f64 / 1e6;
        sample.count = self.plan.count;
        sample.latency = None;
        self.wait_idle();
        self.state = State::Cold;
        sample.disk = folder_bytes(&self.dir);
        sample.notes.push(("space".to_string(), sample.disk as f64 / self.raw_bytes() as f64));
        sample
    }

    /// The fill happens in another process, which goes without closing.
    fn recover(&mut self, name: &str) -> Sample {
        self.remove();
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
        self.grown = 0;
        let mut sample = self.timed_open(name, Vec::new());
        self.state = State::Mixed;
        let lost = self.lost();
        if lost > 0.0 {
            if E::mode(&self.settings).survives_process {
                fail("acknowledged writes are gone");
            }
            self.state = State::None;
        }
        sample.notes.push(("lost_percent".to_string(), lost * 100.0));
        sample
    }

    /// The part of what was acknowledged that is missing, as far as a sample tells.
    fn lost(&self) -> f64 {
        const SAMPLE: u64 = 1_000;
        let mut session = self.engine().session();
        let mut buffer = self.data.value_buffer();
        let count = SAMPLE.min(self.plan.count);
        let index = |place: u64| place * self.plan.count / count;
        let is_gone = |place: &u64| {
            let id = Data::id(index(*place));
            let len = session.get(&self.data.key(id), &mut buffer);
            if let Some(len) = len {
                self.data.check(id, &buffer[..len.min(buffer.len())]);
            }
            len.is_none()
        };
        (0..count).filter(is_gone).count() as f64 / count as f64
    }

    fn reopen(&mut self, name: &str) -> Sample {
        let start = Instant::now();
        self.close();
        let state = match self.state {
            State::None | State::Grown => self.state,
            _ => State::Mixed,
        };
        let notes = vec![("close_ms".to_string(), start.elapsed().as_secs_f64() * 1e3)];
        let sample = self.timed_open(name, notes);
        self.state = state;
        sample
    }

    fn timed_open(&mut self, name: &str, notes: Vec<(String, f64)>) -> Sample {
        reset_peak();
        let profiler = self.plan.profile.as_deref().map(|dir| Profiler::start(dir, name));
        let (written, cpu, cpu_caller, start) = (written_bytes(), process_time(), thread_time(), Instant::now());
        self.engine = Some(E::open(&self.dir, &self.settings));
        let mut buffer = self.data.value_buffer();
        let mut session = self.engine().session();
        // Whether it is there is not the question here.
        session.get(&self.data.key(Data::id(self.plan.count / 2)), &mut buffer);
        drop(session);
        let seconds = start.elapsed().as_secs_f64();
        let (cpu, cpu_caller) = ((process_time() - cpu).as_secs_f64(), (thread_time() - cpu_caller).as_secs_f64());
        if let Some(profiler) = profiler {
            profiler.stop();
        }
        let (written, disk, peak) = (written_bytes() - written, folder_bytes(&self.dir), peak_bytes());
        Sample { count: 1, seconds, cpu, cpu_caller, latency: None, written, disk, peak, notes }
    }

    /// With a small cache, and with nothing in the page cache either if `is_cold`.
    fn read_uncached(&mut self, name: &str, threads: usize, is_cold: bool) -> Sample {
        self.compacted();
        self.close();
        if is_cold {
            drop_pages(&self.dir);
        }
        let usual = self.settings.cache_bytes;
        self.settings.cache_bytes = (self.raw_bytes() / SMALL_CACHE).max(CACHE_BYTES_MIN) as usize;
        self.engine = Some(E::open(&self.dir, &self.settings));
        if !is_cold {
            self.warm();
        }
        let mut sample = self.read(name, threads, Pick::Stored);
        sample.notes.push(("cache_mib".to_string(), self.settings.cache_bytes as f64 / 1_048_576.0));
        self.close();
        self.settings.cache_bytes = usual;
        self.engine = Some(E::open(&self.dir, &self.settings));
        self.state = State::Cold;
        sample
    }

    /// As many random reads as the cache may hold values, so that it is full.
    fn warm(&self) {
        let mut session = self.engine().session();
        let mut buffer = self.data.value_buffer();
        let mut rng = Rng::new(self.plan.seed + 77);
        for _ in 0..self.plan.count / SMALL_CACHE {
            self.get_checked(&mut session, Data::id(rng.below(self.plan.count)), &mut buffer);
        }
    }
}
