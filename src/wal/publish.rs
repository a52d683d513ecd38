//! Makes finished records visible in the order of their sequence numbers.
//!
//! A ring of slots, a cache line each, indexed by a record's first sequence number. A record that is next moves the
//! visible position itself (one compare-and-swap); any other leaves its end in its slot, and whoever moves the position
//! up to it goes on over it. A strict ticket, where each writer waits for its predecessor, measured 0.01 M records a
//! second with 8 threads on 2 cores; the ring 2.5 M.
//!
//!     slot := end of the record << 1 | done        done 0: stored, its sync is outstanding; 1: may become visible
//!
//! Invariants
//! - I1  `visible` and `stored` only grow and always stand on the border of two records.
//! - I2  A slot is written for the record at `first` only when `visible + SLOTS > first`: what stood there was passed.
//! - I3  If `visible` is `v` and its slot holds an end above `v`, that slot belongs to the record at `v`: a record that
//!   started before `v` and ends behind it would have `v` inside (I1), one that starts behind it would break I2.
//! - I4  Nothing passes a failed record, because it is never marked done.
//!
//! Threads: any. The fast path takes no lock; the lock orders only sleepers and those who wake them.
//! Failure: `fail` is for ever; what was visible stays so.

use crate::base::ids::SeqNo;
use crate::base::sync::{AtomicU32, AtomicU64, Condvar, Mutex, Ordering};
use std::hint::spin_loop;
use std::time::Duration;

/// How far a marked record may be ahead of the visible position.
pub const SLOTS: u64 = if cfg!(loom) { 4 } else { 4096 };
// Under loom (`models/`) waiting is sleeping: turns of a spin would only multiply the orders to look at.
const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };
const YIELDS: u32 = if cfg!(loom) { 0 } else { 200 };
/// A sleeper looks again after so long even if nobody woke it.
const NAP: Duration = Duration::from_millis(20);
const NOT_FAILED: u64 = u64::MAX;

#[repr(align(64))]
struct Slot(AtomicU64);

#[repr(align(128))]
struct Line<T>(T);

/// Makes finished records visible in the order of their sequence numbers.
///
/// Positions are "next" sequence numbers: `visible()` is the first one not yet visible. A record is `[first, first +
/// count)`; every sequence number handed out must be marked exactly once (pads too), unless `fail` was called.
pub struct Publisher {
    visible: Line<AtomicU64>,
    /// A lower bound of the stored position; moved by those who ask.
    stored: Line<AtomicU64>,
    sleepers: Line<AtomicU32>,
    /// The first failed record, `NOT_FAILED` while there is none.
    failed: AtomicU64,
    sleep: Mutex<()>,
    wake: Condvar,
    ring: Box<[Slot]>,
}

impl Publisher {
    /// Everything below `next` is visible.
    pub fn new(next: SeqNo) -> Publisher {
        Publisher {
            visible: Line(AtomicU64::new(next.0)),
            stored: Line(AtomicU64::new(next.0)),
            sleepers: Line(AtomicU32::new(0)),
            failed: AtomicU64::new(NOT_FAILED),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            // No end is above `next`, so an untouched slot never counts.
            ring: (0..SLOTS).map(|_| Slot(AtomicU64::new(0))).collect(),
        }
    }

    #[inline]
    fn slot(&self, seq: u64) -> &AtomicU64 {
        &self.ring[(seq % SLOTS) as usize].0
    }

    /// The first sequence number that is not visible. Acquire: what was published is seen whole.
    #[inline]
    pub fn visible(&self) -> SeqNo {
        // Acquire: pairs with the compare-and-swap in `mark_done` and `advance`.
        SeqNo(self.visible.0.load(Ordering::Acquire))
    }

    /// Says that the records of `[first, first + count)` are stored and inserted but must not become visible yet
    /// (their sync is outstanding). Waits while the record is more than a ring ahead of the visible position.
    pub fn mark_stored(&self, first: SeqNo, count: u32) {
        if count == 0 || !self.wait_room(first.0) {
            return;
        }
        let end = first.0 + u64::from(count);
        // SeqCst store: publishes the record to `advance_stored` (Acquire there), and stands before the look at
        // `sleepers` in one order with a sleeper's count and its look at the slot: one of the two sees the other.
        self.slot(first.0).store(end << 1, Ordering::SeqCst);
        self.wake_sleepers();
    }

    /// Says that they may become visible, and moves the visible position over finished records. Waits while the record
    /// is more than a ring ahead of the visible position.
    #[inline]
    pub fn mark_done(&self, first: SeqNo, count: u32) {
        if count == 0 {
            return;
        }
        let end = first.0 + u64::from(count);
        // SeqCst: as release it publishes this record to the Acquire in `visible()`, as acquire it carries on what the
        // records before published; its place in the one order is argued in `mark_in_ring`.
        if self.visible.0.compare_exchange(first.0, end, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            self.advance();
            self.wake_sleepers();
        } else {
            self.mark_in_ring(first.0, end);
        }
    }

    fn mark_in_ring(&self, first: u64, end: u64) {
        if !self.wait_room(first) {
            return;
        }
        // SeqCst store, then the SeqCst load of `visible` in `advance`; a thread that moves `visible` to `first` does it
        // with a SeqCst compare-and-swap and then loads this slot SeqCst. In the one order either it sees our slot or
        // we see its position, so somebody goes on over this record.
        self.slot(first).store(end << 1 | 1, Ordering::SeqCst);
        self.advance();
        self.wake_sleepers();
    }

    /// Moves the visible position over finished records. True if it moved.
    #[inline]
    fn advance(&self) -> bool {
        // SeqCst here and below: see `mark_in_ring`.
        let start = self.visible.0.load(Ordering::SeqCst);
        let mut at = start;
        loop {
            let slot = self.slot(at).load(Ordering::SeqCst);
            if (slot & 1 == 0 && !crate::base::planted!("publish-over-unsynced")) || slot >> 1 <= at {
                return at != start;
            }
            // I3 holds if `visible` is still `at`; the compare-and-swap fails if it is not.
            match self.visible.0.compare_exchange(at, slot >> 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => at = slot >> 1,
                Err(seen) => at = seen,
            }
        }
    }

    /// The position up to which every record is stored (at least `visible()`).
    pub fn stored(&self) -> SeqNo {
        SeqNo(self.advance_stored())
    }

    fn advance_stored(&self) -> u64 {
        // Acquire: pairs with the `fetch_max` below, so that records another thread walked over are seen here too.
        let mut at = self.stored.0.load(Ordering::Acquire);
        let start = at;
        loop {
            // SeqCst load, then the slot: a sleeper's half of the order in `mark_stored` and `mark_in_ring`.
            at = at.max(self.visible.0.load(Ordering::SeqCst));
            let slot = self.slot(at).load(Ordering::SeqCst);
            if slot >> 1 <= at {
                break;
            }
            // I3 needs `visible <= at` at the time of the load. Whoever put a later record into this slot had seen
            // `visible` above `at`; having seen that record we see that position too, and start again from it.
            if self.visible.0.load(Ordering::SeqCst) <= at {
                at = slot >> 1;
            }
        }
        if at > start {
            // AcqRel: release hands what was seen in the slots to the Acquire above.
            self.stored.0.fetch_max(at, Ordering::AcqRel);
        }
        at
    }

    /// Waits until everything below `next` is visible; false when the publisher was failed before that.
    #[inline]
    pub fn wait_visible(&self, next: SeqNo) -> bool {
        if self.visible().0 >= next.0 {
            return true;
        }
        self.wait(next.0, || {
            self.advance();
            self.visible().0 >= next.0
        })
    }

    /// Waits until every record below `next` is stored (marked either way); false when failed before that.
    ///
    /// Ask only for the end of a record of your own that is marked: a record more than a ring ahead is marked only
    /// after what is before it became visible.
    pub fn wait_stored(&self, next: SeqNo) -> bool {
        self.wait(next.0, || self.advance_stored() >= next.0)
    }

    /// The record at `first` will never be done: all waiters at or behind it, now and later, get false.
    pub fn fail(&self, first: SeqNo) {
        // SeqCst: in one order with a sleeper's count and its look at `failed`.
        self.failed.fetch_min(first.0, Ordering::SeqCst);
        self.wake_sleepers();
    }

    /// Waits until a slot may be written for the record at `first` (I2); false when it never may.
    #[inline]
    fn wait_room(&self, first: u64) -> bool {
        // Acquire: pairs with the moves of `visible`; the slot's last use lies before.
        if self.visible.0.load(Ordering::Acquire) + SLOTS > first {
            return true;
        }
        self.wait(first.saturating_sub(SLOTS - 1), || {
            self.advance();
            self.visible().0 + SLOTS > first
        })
    }

    /// Spins, yields, then sleeps until `ready` or until a record before `next` has failed.
    #[cold]
    fn wait(&self, next: u64, mut ready: impl FnMut() -> bool) -> bool {
        // SeqCst: see `fail`.
        let failed = || self.failed.load(Ordering::SeqCst) < next;
        for round in 0..SPINS + YIELDS {
            if ready() {
                return true;
            }
            if failed() {
                return ready();
            }
            if round < SPINS { spin_loop() } else { std::thread::yield_now() }
        }
        let mut guard = self.sleep.lock();
        // SeqCst: before the look in `ready`; pairs with the look in `wake_sleepers` behind a move or mark.
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        let answer = loop {
            if ready() {
                break true;
            }
            if failed() {
                break ready();
            }
            self.wake.wait_for(&mut guard, NAP);
        };
        // Relaxed: a count too high for a moment only costs a needless wake.
        self.sleepers.0.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    #[inline]
    fn wake_sleepers(&self) {
        // SeqCst: behind the move or mark; pairs with the count in `wait`.
        if self.sleepers.0.load(Ordering::SeqCst) != 0 && !crate::base::planted!("sleepers-not-woken") {
            self.wake_all();
        }
    }

    #[cold]
    fn wake_all(&self) {
        // With the lock held no sleeper is between its last look and its sleep.
        drop(self.sleep.lock());
        self.wake.notify_all();
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
