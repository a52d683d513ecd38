//! Whether the database takes calls: closed, read-only, latched by a failed store or sync, failing in the background.
//!
//! Invariants
//! - I1  A latch is final until the database is opened again: the first failure is kept and answered to every write.
//! - I2  A background failure is replaced by the next success of the same job; writes meet it only where they would wait.
//! - I3  While a failed drop of a keyspace may be on the device, no write is acknowledged: a crash could take it away.
//!
//! Threads: any. Failure: none.

use crate::base::sync::{AtomicU32, Mutex, Ordering};
use crate::error::{Code, Error, FLAG_BACKGROUND, FLAG_FATAL, FLAG_RETRYABLE, Result};

const CLOSED: u32 = 1;
const READ_ONLY: u32 = 2;
const LATCHED: u32 = 4;
const FINISHED: u32 = 8;
const IN_DOUBT: u32 = 16;

/// The state word and the errors behind it.
pub struct Status {
    flags: AtomicU32,
    latched: Mutex<Option<Error>>,
    in_doubt: Mutex<Option<Error>>,
    background: Mutex<[Failing; 2]>,
}

/// How a background job fails.
#[derive(Default)]
struct Failing {
    /// Failures so far.
    count: u64,
    /// Why, unless it has succeeded since.
    error: Option<Error>,
}

/// Background jobs whose failures are kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// Memtables to tables; the rewriting of a recovered log.
    Flush = 0,
    /// Tables to tables.
    Compaction = 1,
}

impl Status {
    /// Open for reads, and for writes unless `read_only`.
    pub fn new(read_only: bool) -> Status {
        Status {
            flags: AtomicU32::new(if read_only { READ_ONLY } else { 0 }),
            latched: Mutex::new(None),
            in_doubt: Mutex::new(None),
            background: Mutex::default(),
        }
    }

    /// One load on the hot path. Acquire: pairs with the AcqRel of `close` and `latch`, so that the error is seen.
    #[inline]
    fn flags(&self) -> u32 {
        self.flags.load(Ordering::Acquire)
    }

    /// Whether a read may start.
    #[inline]
    pub fn check_open(&self) -> Result<()> {
        if self.flags() & CLOSED == 0 { Ok(()) } else { Err(closed()) }
    }

    /// Whether a write may start.
    #[inline]
    pub fn check_writable(&self) -> Result<()> {
        let flags = self.flags();
        if flags == 0 { Ok(()) } else { Err(self.refusal(flags)) }
    }

    #[cold]
    fn refusal(&self, flags: u32) -> Error {
        if flags & CLOSED != 0 {
            closed()
        } else if flags & READ_ONLY != 0 {
            Error::new(Code::ReadOnly, "the database is open read-only")
        } else if flags & LATCHED == 0
            && let Some(error) = &*self.in_doubt.lock()
        {
            error.clone()
        } else {
            self.error_or("the database takes no more writes")
        }
    }

    /// Refuses writes while it is not known whether a logged change of keyspaces holds (`None`: it is known).
    pub fn set_in_doubt(&self, error: Option<&Error>) {
        let mut in_doubt = self.in_doubt.lock();
        *in_doubt = error.cloned();
        if error.is_some() {
            self.flags.fetch_or(IN_DOUBT, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!IN_DOUBT, Ordering::AcqRel);
        }
    }

    /// Whether writes wait for a manifest that settles a change of keyspaces.
    pub fn is_in_doubt(&self) -> bool {
        self.flags() & IN_DOUBT != 0
    }

    /// The latched error as a failure; a close is none: closing itself flushes and syncs.
    pub fn check_latched(&self) -> Result<()> {
        if self.is_latched() { Err(self.error_or("the database takes no more writes")) } else { Ok(()) }
    }

    /// Whether a failure latched the database.
    pub fn is_latched(&self) -> bool {
        self.flags() & LATCHED != 0
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.flags() & CLOSED != 0
    }

    /// Marks the close as carried out; false when it was already.
    pub fn finish(&self) -> bool {
        self.flags.fetch_or(FINISHED, Ordering::AcqRel) & FINISHED == 0
    }

    /// Marks it closed; false when it was already.
    pub fn close(&self) -> bool {
        self.flags.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    /// Remembers the first failure after which no write may be acknowledged.
    pub fn latch(&self, error: &Error) {
        let mut latched = self.latched.lock();
        if latched.is_none() {
            *latched = Some(error.with_flags(FLAG_FATAL));
        }
        self.flags.fetch_or(LATCHED, Ordering::AcqRel);
    }

    /// The latched error, or `Closed`, or an I/O error with `text`.
    pub fn error_or(&self, text: &str) -> Error {
        if let Some(error) = &*self.latched.lock() {
            return error.clone();
        }
        if self.is_closed() { closed() } else { Error::new(Code::Io, text) }
    }

    /// Remembers (or, with `None`, forgets) why `job` fails.
    pub fn set_background(&self, job: Job, error: Option<&Error>) {
        let failing = &mut self.background.lock()[job as usize];
        failing.count += u64::from(error.is_some());
        failing.error = error.map(|e| e.with_flags(FLAG_BACKGROUND));
    }

    /// Why `job` fails, if it does.
    pub fn background(&self, job: Job) -> Option<Error> {
        self.background.lock()[job as usize].error.clone()
    }

    /// How often `job` has failed.
    pub fn failures(&self, job: Job) -> u64 {
        self.background.lock()[job as usize].count
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the database is closed")
}

/// What a write or sync meets before the replayed log is in tables; that ends by itself, or with `lsm_resume`.
#[cold]
pub fn being_recovered() -> Error {
    Error::new(Code::Busy, "the recovered log is being rewritten").with_flags(FLAG_RETRYABLE)
}
