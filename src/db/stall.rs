//! Back-pressure without cliffs: writers are slowed to what flushes and compactions drain, long before they must stop.
//!
//!     memory    from half of `memtable.count_max` sealed on: 1.5 times to half the rate of flushes, by the bytes waiting
//!     tables    from `level0.slowdown` tables, or too many bytes in too small levels, on: a rate that is led so that
//!               the pressure stays at `PRESSURE_AIM`
//!     hard limits `memtable.count_max` memtables, `level0.stop` tables: wait
//!
//! The pressure of tables is what waits in level 0, the running job's part counted down as it goes, and what the levels
//! below hold above their targets, each against its capacity; so it moves smoothly while the number of tables jumps. The
//! rate is `lead * exp(-GAIN * (pressure - aim))`: the exponent answers at once, `lead` slowly takes over what stays.
//! Once slowed, writers are set free only when next to nothing waits: a brake that lets go at each finished job makes
//! seconds of full speed and seconds of next to none.
//!
//! Invariants
//! - I1  A write that waits has had no effect yet, so its deadline answers `Timeout` truly.
//! - I2  A writer that waits is woken by every installed flush or compaction, by close and by a failure.
//!
//! Threads: any. Failure: a waiting writer answers the background failure that keeps it waiting; one for want of room only
//! if there is none now, or the job has failed again since.

use super::inner::DbInner;
use super::state::KeyspaceState;
use super::status::Job;
use crate::base::clock::{self, Deadline};
use crate::base::sync::{AtomicU8, AtomicU64, Condvar, Mutex, Ordering};
use crate::compaction;
use crate::error::{Code, Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

const FREE: u8 = 0;
const SLOW: u8 = 1;
const STOP: u8 = 2;

/// What a job is assumed to do per second until one was measured.
const RATE_ASSUMED: u64 = 128 << 20;
/// Writers are never slowed below this many bytes per second.
const RATE_MIN: f64 = 1024.0 * 1024.0;
/// The pressure of tables that the brake aims at.
const PRESSURE_AIM: f64 = 0.8;
/// Below this pressure writers are free again.
const PRESSURE_FREE: f64 = 0.25;
/// How strongly the rate answers to pressure at once, and within which bounds.
const GAIN: f64 = 2.0;
const ANSWER_MIN: f64 = 0.4;
const ANSWER_MAX: f64 = 4.0;
/// How fast the lead follows, per second.
const LEAD_GAIN: f64 = 0.05;
/// The lead stays within these shares of the rate at which jobs take level 0.
const LEAD_MIN: f64 = 0.05;
const LEAD_MAX: f64 = 2.0;
/// How often the rate is led while writers are slowed.
const TICK: Duration = Duration::from_millis(50);
/// Debt beyond this is forgotten.
const DEBT_MAX: Duration = Duration::from_millis(200);
/// A writer sleeps only once it owes this much.
const SLEEP_MIN: Duration = Duration::from_micros(500);
/// The longest single sleep.
const SLEEP_MAX: Duration = Duration::from_millis(40);

/// The writers' brake.
pub struct Stall {
    mode: AtomicU8,
    pace: Mutex<Pace>,
    changed: Condvar,
    /// Bytes of memtable that a flush writes per second.
    flush_rate: AtomicU64,
    /// Bytes of level 0 that a compaction takes per second.
    drain_rate: AtomicU64,
}

struct Pace {
    bytes_per_second: f64,
    next_free: Instant,
    /// What the tables let through at the aim; `None` while they do not brake.
    lead: Option<f64>,
    led: Instant,
}

/// What waits, over all keyspaces.
struct Pressure {
    /// Bytes per second that the memtables let through.
    memory_rate: f64,
    /// 1.0: the tables are at their capacity.
    tables: f64,
    /// The tables ask for a brake.
    is_due: bool,
    /// A share of the rate, less than 1.0 shortly before level 0 stops writes.
    left: f64,
    is_stopped: bool,
}

impl Default for Stall {
    fn default() -> Self {
        Stall {
            mode: AtomicU8::new(FREE),
            pace: Mutex::new(Pace {
                bytes_per_second: f64::INFINITY,
                next_free: clock::now(),
                lead: None,
                led: clock::now(),
            }),
            changed: Condvar::new(),
            flush_rate: AtomicU64::new(RATE_ASSUMED),
            drain_rate: AtomicU64::new(RATE_ASSUMED),
        }
    }
}

impl Stall {
    /// Lets a write of `bytes` pass, slows it, or makes it wait.
    #[inline]
    pub fn admit(&self, db: &DbInner, bytes: usize, deadline: Deadline) -> Result<()> {
        // Relaxed: a hint; the slow path looks again under the lock.
        if self.mode.load(Ordering::Relaxed) == FREE {
            return Ok(());
        }
        self.admit_slow(db, bytes, deadline)
    }

    #[cold]
    fn admit_slow(&self, db: &DbInner, bytes: usize, deadline: Deadline) -> Result<()> {
        let began = clock::now();
        let result = self.wait_while(db, deadline, Job::Compaction, || self.mode.load(Ordering::Relaxed) == STOP);
        if result.is_ok() && self.is_tick_due() {
            self.update(db);
        }
        let sleep = result.is_ok().then(|| self.owe(bytes)).flatten();
        if let Some(sleep) = sleep {
            if deadline.is_set() && deadline.remaining(sleep) < sleep {
                return Err(timeout());
            }
            std::thread::sleep(sleep);
        }
        db.stats.stall_micros.add(began.elapsed().as_micros() as u64);
        result
    }

    fn is_tick_due(&self) -> bool {
        clock::now().saturating_duration_since(self.pace.lock().led) >= TICK
    }

    /// Books `bytes` and answers how long the writer has to sleep.
    fn owe(&self, bytes: usize) -> Option<Duration> {
        let now = clock::now();
        let mut pace = self.pace.lock();
        if !pace.bytes_per_second.is_finite() {
            return None;
        }
        let cost = Duration::from_secs_f64((bytes + 64) as f64 / pace.bytes_per_second);
        pace.next_free = (pace.next_free.max(now) + cost).min(now + DEBT_MAX);
        let debt = pace.next_free - now;
        (debt > SLEEP_MIN).then(|| debt.min(SLEEP_MAX))
    }

    /// Waits until `keyspace` may have another memtable.
    pub fn wait_for_flush(&self, db: &DbInner, keyspace: &Arc<KeyspaceState>, deadline: Deadline) -> Result<()> {
        let began = clock::now();
        let result = self.wait_while(db, deadline, Job::Flush, || {
            keyspace.mem.lock().sealed.len() + 1 > keyspace.options.memtable_count_max && !keyspace.is_dropped()
        });
        db.stats.stall_micros.add(began.elapsed().as_micros() as u64);
        result
    }

    fn wait_while(&self, db: &DbInner, deadline: Deadline, job: Job, blocked: impl Fn() -> bool) -> Result<()> {
        // When the job was asked to try again at once: how often it had failed.
        let mut asked: Option<u64> = None;
        loop {
            db.status.check_writable()?;
            if !blocked() {
                return Ok(());
            }
            if deadline.passed() {
                return Err(timeout());
            }
            if let Some(error) = db.status.background(job) {
                let failures = db.status.failures(job);
                if asked.is_some_and(|before| failures > before) || !has_room_again(db, &error, waiting_bytes(db)) {
                    return Err(error);
                }
                if asked.is_none() {
                    asked = Some(failures);
                    db.background.retry_now();
                }
            }
            let mut pace = self.pace.lock();
            self.changed.wait_for(&mut pace, deadline.remaining(Duration::from_millis(10)));
        }
    }

    /// Wakes every waiting writer to look again.
    pub fn wake(&self) {
        let _pace = self.pace.lock();
        self.changed.notify_all();
    }

    /// A flush wrote `bytes` of memtable in `time`.
    pub fn flushed(&self, bytes: u64, time: Duration) {
        blend(&self.flush_rate, bytes, time);
    }

    /// A compaction took `bytes` of level 0 in `time`.
    pub fn drained(&self, bytes: u64, time: Duration) {
        blend(&self.drain_rate, bytes, time);
    }

    /// Sets the brake after a seal, a flush or a compaction, and every now and then while it is on.
    pub fn update(&self, db: &DbInner) {
        let now = clock::now();
        let pressure = self.pressure(db, now);
        // Relaxed, here and in the rates: estimates.
        let drain = self.drain_rate.load(Ordering::Relaxed) as f64;
        let mut pace = self.pace.lock();
        let seconds = now.saturating_duration_since(pace.led).as_secs_f64().min(1.0);
        pace.led = now;
        pace.lead = match pace.lead {
            None => pressure.is_due.then_some(drain),
            Some(_) if !pressure.is_due && pressure.tables < PRESSURE_FREE => None,
            Some(lead) => {
                let step = (-LEAD_GAIN * (pressure.tables - PRESSURE_AIM).clamp(-1.0, 1.0) * seconds).exp();
                Some((lead * step).clamp(drain * LEAD_MIN, drain * LEAD_MAX))
            }
        };
        let answer = (-GAIN * (pressure.tables - PRESSURE_AIM)).exp().clamp(ANSWER_MIN, ANSWER_MAX);
        let tables_rate = pace.lead.map_or(f64::INFINITY, |lead| lead * answer * pressure.left);
        let rate = tables_rate.min(pressure.memory_rate);
        pace.bytes_per_second = rate.max(RATE_MIN);
        let mode = match (pressure.is_stopped, rate.is_finite()) {
            (true, _) => STOP,
            (false, true) => SLOW,
            (false, false) => FREE,
        };
        // Relaxed: the readers that matter look under `pace`.
        self.mode.store(mode, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn pressure(&self, db: &DbInner, now: Instant) -> Pressure {
        let mut whole =
            Pressure { memory_rate: f64::INFINITY, tables: 0.0, is_due: false, left: 1.0, is_stopped: false };
        for keyspace in db.keyspaces.all() {
            whole.memory_rate = whole.memory_rate.min(self.memory_rate(&keyspace, now));
            self.add_tables(&keyspace, now, &mut whole);
        }
        whole
    }

    /// What the memtables of a keyspace let through: by the bytes that wait for their flush.
    fn memory_rate(&self, keyspace: &KeyspaceState, now: Instant) -> f64 {
        let count_max = keyspace.options.memtable_count_max;
        let mem = keyspace.mem.lock();
        if count_max < 2 || mem.sealed.len() < (count_max / 2).max(1) {
            return f64::INFINITY;
        }
        let flush = self.flush_rate.load(Ordering::Relaxed) as f64;
        let sealed: usize = mem.sealed.iter().map(|m| m.table.bytes()).sum();
        let active = mem.active.as_ref().map_or(0, |m| m.table.bytes());
        let (done, rate) = mem.flush_began.map_or((0.0, flush), |(began, bytes)| {
            let (seconds, bytes) = (now.saturating_duration_since(began).as_secs_f64(), bytes as f64);
            // One that takes longer than others tells that the device is slow now.
            (bytes * progress(seconds * flush / bytes.max(1.0)), flush.min((bytes / seconds).max(flush / 8.0)))
        });
        let waiting = (sealed as f64 - done).max(0.0) + active as f64;
        let full = waiting / (count_max * keyspace.options.memtable_bytes) as f64;
        rate * (2.5 - 2.0 * full).max(0.25)
    }

    fn add_tables(&self, keyspace: &KeyspaceState, now: Instant, whole: &mut Pressure) {
        let options = &keyspace.options;
        let version = Arc::clone(&keyspace.get().version);
        let level0 = version.levels()[0].files();
        let (slowdown, stop) = (options.level0_slowdown as f64, options.level0_stop as f64);
        let count = level0.len() as f64;
        let (mut claimed, mut claimed_bytes) = (0.0, 0u64);
        for table in level0.iter().filter(|table| table.is_claimed()) {
            claimed += 1.0;
            claimed_bytes += table.meta().summary.raw_bytes;
        }
        let drain = self.drain_rate.load(Ordering::Relaxed) as f64;
        let began = *keyspace.level0_began.lock();
        let done = began.map_or(0.0, |began| now.saturating_duration_since(began).as_secs_f64() * drain);
        let waiting = count - claimed * progress(done / claimed_bytes.max(1) as f64);
        let excess = compaction::excess(&version, &options.shape());
        // While a job takes its tables as many may come: so half of what stops writes.
        let level0_pressure = waiting / (stop / 2.0).min(slowdown).max(1.0);
        whole.tables = whole.tables.max(level0_pressure).max(excess);
        whole.is_due |= count >= slowdown || excess >= 1.0;
        whole.is_stopped |= count >= stop;
        let left = (stop - count) / (stop - slowdown).max(1.0) * 4.0;
        if count >= slowdown {
            whole.left = whole.left.min(left.clamp(0.1, 1.0));
        }
    }
}

/// Whether `error` tells of a full disk that has room by now for what `needed` bytes ask for: then a failure that is
/// remembered until the next attempt says nothing about a write that comes now.
pub fn has_room_again(db: &DbInner, error: &Error, needed: u64) -> bool {
    error.code() == Code::NoSpace
        && !crate::base::planted!("old-full-disk-answered")
        && db.fs.free_bytes(&db.path) > needed.saturating_mul(2)
}

/// Bytes of the memtables that wait for a flush.
fn waiting_bytes(db: &DbInner) -> u64 {
    let bytes = |k: &Arc<KeyspaceState>| k.mem.lock().sealed.iter().map(|m| m.table.bytes() as u64).sum::<u64>();
    db.keyspaces.all().iter().map(bytes).sum()
}

/// How much of a job is done, by the share of the time it was expected to take: less and less sure, never all.
fn progress(expected: f64) -> f64 {
    1.0 - (-1.2 * expected).exp()
}

fn blend(rate: &AtomicU64, bytes: u64, time: Duration) {
    let seconds = time.as_secs_f64().max(1e-4);
    let measured = bytes as f64 / seconds;
    let old = rate.load(Ordering::Relaxed) as f64;
    rate.store((old * 0.7 + measured * 0.3) as u64, Ordering::Relaxed);
}

fn timeout() -> Error {
    Error::new(Code::Timeout, "the deadline passed while the write waited for background work")
}
