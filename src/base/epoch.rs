//! Epoch-based reclamation (Fraser 2004, through crossbeam-epoch): readers pin, nobody frees what they may see.
//!
//!     retire -> waiting --run_once: one flag deferred for the whole batch--> deferred --flag set--> dropped
//!
//! - I1  A pin lasts one bounded operation in memory; no I/O, wait or callback happens under it.
//! - I2  Nobody but the reaper defers (and, on a list of frames only, threads that evict: `cache/mod.rs`): others put what
//!   they unlinked on a `Retired` list. The reaper defers one flag
//!   for the whole list, flushes its bag and turns the epoch while something is pending, so that idle threads never
//!   keep garbage in bags of their own. What runs inside some reader's pin is one store to that flag.
//! - I3  An object is dropped only after every pin that was there when it was retired has ended; by the reaper, with
//!   no lock held, so that its destructor may retire more.
//! - I4  `bytes` and `pending` are the sums over all objects retired and not yet dropped: zero when all are gone.
//!
//! Threads: everything here may be used from any thread; `run_once` unpinned, and from one at a time to be of use.
//! Failure: none. A list dropped before it is empty leaves the rest to whichever reaper comes next.

use super::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, Ordering, Rank};
use crossbeam_epoch as ebr;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// So many bytes waiting wake a reaper that sleeps in `wait`.
const WAKE_BYTES: usize = 1 << 20;
/// Turns of the epoch in one `run_once`: two free what nobody sees, the others help along bags of older turns.
const TURNS: usize = 4;

/// A pin: what is read through it stays alive until it is dropped.
pub struct Guard {
    _pin: ebr::Guard,
}

/// Pins the current thread's epoch. A few nanoseconds; nests.
#[inline]
pub fn pin() -> Guard {
    Guard { _pin: ebr::pin() }
}

/// Objects that were unlinked together, and their weight.
#[derive(Default)]
struct Batch {
    objects: Vec<Box<dyn Any + Send>>,
    bytes: usize,
}

/// Batches of lists that are gone, which no pin can see any more: whoever pins at the right moment puts them here, a reaper
/// of any list drops them. A pin may be under a lock, and their destructors take locks.
static LEFT: Mutex<Vec<Batch>> = Mutex::new(Vec::new());

fn leave(rest: Vec<Batch>) {
    for _ in 0..1000 {
        if let Some(mut left) = LEFT.try_lock() {
            left.extend(rest);
            return;
        }
        std::thread::yield_now();
    }
    // In a forked child it may be held for ever, and nothing of its parent's is ever used or freed there.
    std::mem::forget(rest);
}

fn drop_left() {
    let left = LEFT.try_lock().map(|mut left| std::mem::take(&mut *left));
    // With no lock held.
    drop(left);
}

/// A batch whose flag was deferred.
struct Deferred {
    batch: Batch,
    /// Set once no pin of before is left.
    is_free: Arc<AtomicBool>,
}

#[derive(Default)]
struct Waiting {
    batch: Batch,
    /// Ends the current `wait`, or the next.
    is_woken: bool,
}

/// What was unlinked and waits for every reader that may still see it.
pub struct Retired {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Oldest first.
    deferred: Mutex<VecDeque<Deferred>>,
    bytes: AtomicUsize,
    pending: AtomicUsize,
}

impl Default for Retired {
    fn default() -> Self {
        Retired::new()
    }
}

impl Retired {
    /// An empty list.
    pub fn new() -> Retired {
        Retired {
            waiting: Mutex::ranked(Rank::Retired, Waiting::default()),
            wake: Condvar::new(),
            deferred: Mutex::ranked(Rank::Retired, VecDeque::new()),
            bytes: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
        }
    }

    /// Adds `object`, already unlinked from every place a new reader could find it, of about `bytes`. Wakes the reaper
    /// when much is waiting.
    pub fn retire(&self, object: Box<dyn Any + Send>, bytes: usize) {
        // Relaxed: the figures steer back-pressure and the reaper's pace; the lock below orders the object itself.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pending.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock();
        let before = waiting.batch.bytes;
        waiting.batch.objects.push(object);
        waiting.batch.bytes += bytes;
        let is_much = before < WAKE_BYTES && waiting.batch.bytes >= WAKE_BYTES;
        drop(waiting);
        if is_much {
            self.wake.notify_one();
        }
    }

    /// How many bytes were retired and not dropped yet.
    pub fn bytes(&self) -> usize {
        // Relaxed: steers back-pressure only.
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many objects were retired and not dropped yet.
    pub fn pending(&self) -> usize {
        // Acquire: pairs with the Release in `drop_batch`, so that who sees zero sees the destructors' effects.
        self.pending.load(Ordering::Acquire)
    }

    /// Whether nothing was retired that has not been handed to the epoch yet.
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().batch.objects.is_empty()
    }

    /// One turn of the reaper: defers what waits, pushes the epoch on, and drops what no reader can see any more.
    /// Returns how many objects were dropped. Called by one thread, unpinned.
    pub fn run_once(&self) -> usize {
        drop_left();
        let batch = std::mem::take(&mut self.waiting.lock().batch);
        if !batch.objects.is_empty() {
            let is_free = Arc::new(AtomicBool::new(false));
            // On the list before the flag is deferred: a batch is never only in this function's hands.
            self.deferred.lock().push_back(Deferred { batch, is_free: Arc::clone(&is_free) });
            let guard = ebr::pin();
            // Release: orders every earlier read under a pin, which the epoch ordered before this call, before the
            // drop; pairs with the Acquire in `take_free`.
            guard.defer(move || is_free.store(true, Ordering::Release));
        }
        if self.pending() == 0 {
            return 0;
        }
        for _ in 0..TURNS {
            ebr::pin().flush();
        }
        let mut count = 0;
        while let Some(batch) = self.take_free() {
            count += self.drop_batch(batch);
        }
        count
    }

    /// Takes a batch that no pin can see any more off the list.
    fn take_free(&self) -> Option<Batch> {
        let mut deferred = self.deferred.lock();
        // Acquire: pairs with the Release in the deferred closure. Bags are collected in epoch order, but those of one
        // epoch in any: so every batch is asked.
        let at = deferred
            .iter()
            .position(|d| d.is_free.load(Ordering::Acquire) || crate::base::planted!("epoch-not-awaited"))?;
        deferred.remove(at).map(|d| d.batch)
    }

    /// Runs the destructors, with no lock held, then takes the objects off the account.
    fn drop_batch(&self, batch: Batch) -> usize {
        let (count, bytes) = (batch.objects.len(), batch.bytes);
        drop(batch.objects);
        // Relaxed: steers back-pressure only.
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Release: pairs with the Acquire in `pending`.
        self.pending.fetch_sub(count, Ordering::Release);
        count
    }

    /// Up to `turns` turns of the reaper until nothing is pending, giving way to pinned threads between them; false
    /// when something still is. For closing a database.
    pub fn drain(&self, turns: usize) -> bool {
        for _ in 0..turns {
            self.run_once();
            if self.pending() == 0 {
                return true;
            }
            std::thread::yield_now();
        }
        self.pending() == 0
    }

    /// Sleeps until much waits, `wake` is called or `timeout` has passed. For the reaper's loop.
    pub fn wait(&self, timeout: Duration) {
        let mut waiting = self.waiting.lock();
        if !waiting.is_woken && waiting.batch.bytes < WAKE_BYTES {
            self.wake.wait_for(&mut waiting, timeout);
        }
        waiting.is_woken = false;
    }

    /// Ends the current `wait`, or the next.
    pub fn wake(&self) {
        self.waiting.lock().is_woken = true;
        self.wake.notify_one();
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        // Readers may be pinned still, so what they may see is deferred, against I2 but once.
        let mut rest = vec![std::mem::take(&mut self.waiting.get_mut().batch)];
        rest.extend(self.deferred.get_mut().drain(..).map(|d| d.batch));
        if rest.iter().any(|batch| !batch.objects.is_empty()) {
            let guard = ebr::pin();
            guard.defer(move || leave(rest));
            guard.flush();
        }
    }
}

#[cfg(test)]
mod tests;
