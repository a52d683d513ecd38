//! The threads of a database and how they are woken: flush, compaction, housekeeper, ahead, reaper.
//!
//! Invariants
//! - I1  Only `db/` spawns threads; lower layers offer one turn of work (`run_once` and the like).
//! - I2  A panic in a thread is caught and latches the database; close still works.
//! - I3  All of them block every signal, so that a host's handlers never run here.
//!
//! Threads: the signals may be raised from any thread.

mod ahead;
mod compact;
mod flush;
mod housekeeper;

pub use compact::compact_range;
pub use flush::{flush_recovered, flush_sealed, give_back_let_go};
pub use housekeeper::settle;

use super::inner::DbInner;
use crate::base::clock;
use crate::base::ids::FileNumber;
use crate::base::log_sink::LogLevel;
use crate::base::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A bell: rung from anywhere, heard by whoever waits.
#[derive(Default)]
struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rings.lock() += 1;
        self.rung.notify_all();
    }

    /// Waits for a ring after the `seen`-th, at most `time`; answers the count.
    fn wait(&self, seen: u64, time: Duration) -> u64 {
        let mut rings = self.rings.lock();
        if *rings == seen {
            self.rung.wait_for(&mut rings, time);
        }
        *rings
    }
}

/// Signals and threads.
#[derive(Default)]
pub struct Background {
    flush: Bell,
    compact: Bell,
    house: Bell,
    ahead: Bell,
    /// Rung whenever a job ended, for those who wait for one.
    done: Bell,
    cancel: AtomicBool,
    /// How often somebody asked that failed jobs be tried again at once. Stored before the bells ring.
    retries: AtomicU64,
    /// Held while a recovered log is rewritten, which must happen once.
    rewriting: Mutex<()>,
    /// Segments of an earlier run that are in tables and whose files are still to go: their removal takes milliseconds.
    let_go: Mutex<Vec<FileNumber>>,
    stopping: AtomicBool,
    reaper_stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    reaper: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// A memtable was sealed.
    pub fn wake_flush(&self) {
        self.flush.ring();
    }

    /// Tables changed.
    pub fn wake_compact(&self) {
        self.compact.ring();
    }

    /// A segment was started, or files wait for their removal.
    pub fn wake_housekeeper(&self) {
        self.house.ring();
    }

    /// Writers have used up some of the memory that was made ready.
    pub fn wake_ahead(&self) {
        self.ahead.ring();
    }

    /// Whether the housekeeper is to remove this segment.
    pub fn has_let_go(&self, number: FileNumber) -> bool {
        self.let_go.lock().contains(&number)
    }

    /// Asks running merges to stop and wakes those who wait for a job.
    pub fn cancel(&self) {
        // Relaxed: merges look at it again and again.
        self.cancel.store(true, Ordering::Relaxed);
        self.done.ring();
    }

    /// A job ended.
    fn job_done(&self) {
        self.done.ring();
    }

    /// Waits until `is_done` answers true, looking again whenever a job ended.
    pub fn wait_until(&self, mut is_done: impl FnMut() -> Result<bool>) -> Result<()> {
        let mut seen = 0;
        while !is_done()? {
            seen = self.done.wait(seen, Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends the pauses of jobs that failed.
    pub fn retry_now(&self) {
        // Release: pairs with the Acquire in `pause`.
        self.retries.fetch_add(1, Ordering::Release);
        self.flush.ring();
        self.compact.ring();
    }

    /// Lets `time` pass, whoever rings `bell`; only a stop or `retry_now` ends it early.
    fn pause(&self, bell: &Bell, time: Duration) {
        let until = clock::now() + time;
        let retries = self.retries.load(Ordering::Acquire);
        let mut rings = bell.rings.lock();
        while !self.is_stopping() && self.retries.load(Ordering::Acquire) == retries {
            let rest = until.saturating_duration_since(clock::now());
            if rest.is_zero() {
                return;
            }
            bell.rung.wait_for(&mut rings, rest);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// Starts the threads of a database that is open for writing; a read-only one has only the reaper.
pub fn start(db: &Arc<DbInner>) -> Result<()> {
    let reaper = spawn(db, "lsm-reaper", housekeeper::reap)?;
    *db.background.reaper.lock() = Some(reaper);
    if db.options.is_read_only() {
        return Ok(());
    }
    let workers = std::iter::repeat_n(("lsm-flush", flush::run as fn(&DbInner)), db.options.flush_threads)
        .chain(std::iter::repeat_n(("lsm-compact", compact::run as _), db.options.compaction_threads))
        .chain([("lsm-house", housekeeper::run as _), ("lsm-ahead", ahead::run as _)]);
    for (name, body) in workers {
        match spawn(db, name, body) {
            Ok(thread) => db.background.threads.lock().push(thread),
            Err(error) => {
                // Those that run hold the database, and with it the folder's lock.
                stop_workers(db);
                stop_reaper(db);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Stops all threads but the reaper; compactions are cancelled, a running flush ends.
pub fn stop_workers(db: &DbInner) {
    let background = &db.background;
    background.cancel();
    background.stopping.store(true, Ordering::Release);
    for bell in [&background.flush, &background.compact, &background.house, &background.ahead, &background.done] {
        bell.ring();
    }
    db.stall.wake();
    for thread in std::mem::take(&mut *background.threads.lock()) {
        let _ = thread.join();
    }
}

/// Stops the reaper, once nothing else runs.
pub fn stop_reaper(db: &DbInner) {
    db.background.reaper_stopping.store(true, Ordering::Release);
    db.retired.wake();
    if let Some(thread) = db.background.reaper.lock().take() {
        let _ = thread.join();
    }
}

fn spawn(db: &Arc<DbInner>, name: &str, body: fn(&DbInner)) -> Result<JoinHandle<()>> {
    let shared = Arc::clone(db);
    let run = move || {
        if catch_unwind(AssertUnwindSafe(|| body(&shared))).is_err() {
            let error = Error::new(Code::Panic, "a background thread panicked");
            shared.logger.log(LogLevel::Error, error.message());
            shared.status.latch(&error);
            shared.stall.wake();
            shared.background.job_done();
        }
    };
    let _masked = crate::fs::posix::without_signals();
    std::thread::Builder::new()
        .name(name.to_string())
        .spawn(run)
        .map_err(|e| Error::io(&e, format_args!("starting thread {name}")))
}
