//! The host's log callback as the engine's log sink.
//!
//! Invariants
//! - I1  The callback is never re-entered: a line that arrives while it runs, from any thread, waits in a bounded queue
//!   and is handed over by the thread that is inside. Nobody waits for a host's code.
//! - I2  `drop(ctx)` runs once, after the last line: when the last options object and database that know the callback
//!   are gone.
//! - I3  While a thread is in the host's code, its calls on database handles answer `LSM_E_BUSY`: the engine may hold
//!   locks around a log line.
//!
//! Threads: any. Failure: lines beyond the queue's bound are counted and the count is told.
#![expect(unsafe_code, reason = "calls into the host")]

use crate::fork;
use lsm_engine::base::log_sink::{LogLevel, LogSink, Logger};
use lsm_engine::base::sync::Ordering;
use lsm_engine::{Error, Result};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// `lsm_log_callbacks` of the header, which spells it by hand (its function types are `noexcept` in C++17).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LogCallbacks {
    /// `sizeof(lsm_log_callbacks)`.
    pub size: u32,
    /// Handed to both functions.
    pub ctx: *mut c_void,
    /// Called once, when nobody will call `log` any more; may be NULL.
    pub drop: Option<unsafe extern "C" fn(*mut c_void)>,
    /// Takes one line: UTF-8, not ended by a newline, followed by a NUL that `len` does not count.
    pub log: Option<unsafe extern "C" fn(*mut c_void, i32, *const c_char, usize)>,
}

const QUEUE_LEN_MAX: usize = 1024;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is inside a callback.
#[cold]
pub fn inside() -> bool {
    DEPTH.with(|depth| depth.get() != 0)
}

/// Marks this thread as inside a callback while it lives.
struct Inside;

impl Inside {
    fn new() -> Inside {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        // Relaxed: only a hint to look at `DEPTH`, and this thread sees its own add.
        fork::callbacks().fetch_add(1, Ordering::Relaxed);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        fork::callbacks().fetch_sub(1, Ordering::Relaxed);
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

#[derive(Default)]
struct State {
    running: bool,
    waiting: VecDeque<(LogLevel, String)>,
    lost: u64,
}

struct Sink {
    table: LogCallbacks,
    state: Mutex<State>,
}

// SAFETY: the header says that `log` is called from any thread; `ctx` is only handed on.
unsafe impl Send for Sink {}
// SAFETY: as above; I1 keeps the calls apart.
unsafe impl Sync for Sink {}

impl Sink {
    fn call(&self, level: LogLevel, message: &str) {
        let Some(log) = self.table.log else {
            return;
        };
        let mut line = Vec::with_capacity(message.len() + 1);
        line.extend(message.bytes().map(|byte| if byte == 0 { b'?' } else { byte }));
        line.push(0);
        let _inside = Inside::new();
        // SAFETY: the host's function with the host's context, as the header says; the line outlives the call.
        unsafe { log(self.table.ctx, level as i32, line.as_ptr().cast(), line.len() - 1) };
    }
}

impl LogSink for Sink {
    fn log(&self, level: LogLevel, message: &str) {
        {
            let mut state = self.state.lock();
            if state.running {
                if state.waiting.len() < QUEUE_LEN_MAX {
                    state.waiting.push_back((level, message.to_owned()));
                } else {
                    state.lost += 1;
                }
                return;
            }
            state.running = true;
        }
        self.call(level, message);
        loop {
            let next = {
                let mut state = self.state.lock();
                if let Some(line) = state.waiting.pop_front() {
                    line
                } else if state.lost > 0 {
                    let lost = std::mem::take(&mut state.lost);
                    (LogLevel::Warn, format!("{lost} log lines were dropped: the log callback was too slow"))
                } else {
                    state.running = false;
                    return;
                }
            };
            self.call(next.0, &next.1);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(drop) = self.table.drop {
            let _inside = Inside::new();
            // SAFETY: the host's function with the host's context, once (I2).
            unsafe { drop(self.table.ctx) };
        }
    }
}

/// A logger that calls the host. Takes over `ctx` only when it succeeds.
pub fn logger(table: LogCallbacks) -> Result<Logger> {
    if table.log.is_none() {
        return Err(Error::invalid("log callbacks: the function log is NULL"));
    }
    Ok(Arc::new(Sink { table, state: Mutex::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lsm_engine::base::sync::AtomicU32;

    static LINES: AtomicU32 = AtomicU32::new(0);
    static DROPS: AtomicU32 = AtomicU32::new(0);
    static NESTED: Mutex<Option<Logger>> = Mutex::new(None);

    unsafe extern "C" fn count(_ctx: *mut c_void, _level: i32, message: *const c_char, len: usize) {
        assert!(inside());
        // SAFETY: the contract of the callback.
        let text = unsafe { std::slice::from_raw_parts(message.cast::<u8>(), len + 1) };
        assert_eq!(text[len], 0);
        let before = LINES.fetch_add(1, Ordering::SeqCst);
        if before == 0 {
            let logger = NESTED.lock().clone().expect("logger");
            logger.log(LogLevel::Info, "from inside");
            assert_eq!(LINES.load(Ordering::SeqCst), 1, "re-entered");
        }
    }

    unsafe extern "C" fn dropped(_ctx: *mut c_void) {
        DROPS.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn never_re_entered_and_dropped_once() {
        let table = LogCallbacks { size: 32, ctx: std::ptr::null_mut(), drop: Some(dropped), log: Some(count) };
        let logger = logger(table).expect("logger");
        *NESTED.lock() = Some(logger.clone());
        logger.log(LogLevel::Info, "one\0two");
        assert_eq!(LINES.load(Ordering::SeqCst), 2);
        assert!(!inside());
        NESTED.lock().take();
        assert_eq!(DROPS.load(Ordering::SeqCst), 0);
        drop(logger);
        assert_eq!(DROPS.load(Ordering::SeqCst), 1);
    }
}
