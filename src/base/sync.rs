//! Locks and atomics: the only importer of the locks of `std::sync` and of `std::sync::atomic`.
//!
//! The locks are words that the kernel waits on, without a process-wide table of sleepers: such a table would name the
//! stacks of threads that a forked child does not have, and lead its first sleeper into memory that is reused.
//!
//! Lock order is by rank, lowest first; `docs/CONCURRENCY.md` holds the table. In debug builds a thread that takes a
//! lock of a rank not above all it holds panics; release builds carry neither rank nor check. A lock made with
//! `Mutex::new` has no rank: it must be a leaf (nothing is locked under it) or never meet a ranked one.
//!
//! - I1  The ranks a thread holds are the bits of its `HELD` word; a guard that set a bit clears it.
//! - I2  A lock poisoned by a panic does not exist: its guard unlocks on unwinding and the mark is ignored.
//!
//! Threads: any. Failure: none.
#![expect(clippy::disallowed_types, reason = "this is where they get their ranks")]

pub use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
pub use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};

use super::clock::now;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// The place of a lock in the order: a thread takes them from the top of this list to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// The process-wide table of open folders.
    Registry,
    /// Opening and closing of one database.
    Lifecycle,
    /// The background scheduler's queues.
    Schedule,
    /// The table of keyspaces.
    Keyspaces,
    /// Closing a segment and sealing memtables.
    Seal,
    /// The leader of a group sync.
    Sync,
    /// The version set: log and apply.
    Versions,
    /// The manifest's writer.
    Manifest,
    /// The snapshot list.
    Snapshots,
    /// The pool of log segments.
    Segments,
    /// Open tables.
    TableCache,
    /// A shard of the block cache.
    CacheShard,
    /// What waits for the reaper.
    Retired,
    /// The log file.
    Log,
}

#[cfg(debug_assertions)]
mod order {
    //! What this thread holds, as bits by rank.

    use super::Rank;
    use std::cell::Cell;

    thread_local! {
        static HELD: Cell<u64> = const { Cell::new(0) };
    }

    /// The bit a guard set, to be cleared when it goes; 0 for an unranked lock.
    pub(super) struct Held(u64);

    /// Panics if `rank` is not above every rank this thread holds.
    pub(super) fn check(rank: Option<Rank>) {
        let Some(rank) = rank else { return };
        // A thread whose storage is gone is ending and holds nothing.
        let held = HELD.try_with(Cell::get).unwrap_or(0);
        assert!(held >> (rank as u8) == 0, "lock order: {rank:?} taken while ranks {held:#b} are held");
    }

    /// Notes that `rank` is held now.
    pub(super) fn hold(rank: Option<Rank>) -> Held {
        let Some(rank) = rank else { return Held(0) };
        let bit = 1 << (rank as u8);
        let ours = HELD.try_with(|held| {
            // Set already only when `try_lock` took a second lock of this rank; the first guard owns the bit.
            let ours = bit & !held.get();
            held.set(held.get() | bit);
            ours
        });
        Held(ours.unwrap_or(0))
    }

    impl Held {
        /// Clears or sets the bit, for a lock given up for a while.
        pub(super) fn mark(&self, is_held: bool) {
            let bit = self.0;
            // A thread whose storage is gone has nothing to note.
            let _ = HELD.try_with(|held| held.set(if is_held { held.get() | bit } else { held.get() & !bit }));
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            self.mark(false);
        }
    }
}

/// A mutual exclusion lock with, in debug builds, a place in the lock order.
pub struct Mutex<T: ?Sized> {
    #[cfg(debug_assertions)]
    rank: Option<Rank>,
    inner: std::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    /// An unranked lock: a leaf.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            #[cfg(debug_assertions)]
            rank: None,
            inner: std::sync::Mutex::new(value),
        }
    }

    /// A lock with a place in the order.
    pub const fn ranked(rank: Rank, value: T) -> Mutex<T> {
        let _ = rank;
        Mutex {
            #[cfg(debug_assertions)]
            rank: Some(rank),
            inner: std::sync::Mutex::new(value),
        }
    }

    /// The value, the lock being ours alone.
    pub fn into_inner(self) -> T {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock. Panics in debug builds when that is against the order.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(debug_assertions)]
        order::check(self.rank);
        self.guard(self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the lock if it is free; never against the order, because it does not wait.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(self.guard(inner)),
            Err(TryLockError::Poisoned(held)) => Some(self.guard(held.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits for the lock, but not longer than `timeout`. Looks again every millisecond: for rare calls.
    pub fn try_lock_for(&self, timeout: Duration) -> Option<MutexGuard<'_, T>> {
        #[cfg(debug_assertions)]
        order::check(self.rank);
        let end = now() + timeout;
        loop {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            if now() >= end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The value without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn guard<'a>(&'a self, inner: std::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard {
            inner: Some(inner),
            #[cfg(debug_assertions)]
            _held: order::hold(self.rank),
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A held lock; gives it back when dropped.
#[must_use = "the lock is given back at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    /// Empty only while a wait has it.
    inner: Option<std::sync::MutexGuard<'a, T>>,
    #[cfg(debug_assertions)]
    _held: order::Held,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        match &self.inner {
            Some(held) => held,
            None => unreachable!("a guard whose wait is under way is borrowed by it"),
        }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.inner {
            Some(held) => held,
            None => unreachable!("a guard whose wait is under way is borrowed by it"),
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A condition to wait for under a `Mutex`. Its rank stays noted as held while the thread sleeps, which is harmless:
/// a sleeping thread takes no lock.
#[derive(Default, Debug)]
pub struct Condvar(std::sync::Condvar);

impl Condvar {
    /// A condition nobody waits for.
    pub const fn new() -> Condvar {
        Condvar(std::sync::Condvar::new())
    }

    /// Sleeps until notified, or for no reason: check the condition.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.inner.take() {
            guard.inner = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The same, for at most `timeout`; whether that passed.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> bool {
        let Some(held) = guard.inner.take() else { return false };
        let (held, waited) = self.0.wait_timeout(held, timeout).unwrap_or_else(PoisonError::into_inner);
        guard.inner = Some(held);
        waited.timed_out()
    }

    /// The same, until `deadline`.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> bool {
        self.wait_for(guard, deadline.saturating_duration_since(now()))
    }

    /// Sleeps while `condition` says true.
    pub fn wait_while<T>(&self, guard: &mut MutexGuard<'_, T>, mut condition: impl FnMut(&mut T) -> bool) {
        while condition(&mut **guard) {
            self.wait(guard);
        }
    }

    /// Wakes one sleeper.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all sleepers.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A lock for one writer or many readers.
#[derive(Default, Debug)]
pub struct RwLock<T: ?Sized>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock(std::sync::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits for the lock, to read.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lock, to write.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    fn panics(f: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(f)).is_err()
    }

    #[test]
    fn the_order_is_checked_in_debug_builds_only() {
        let low = Mutex::ranked(Rank::Keyspaces, 1);
        let high = Mutex::ranked(Rank::Versions, 2);
        let other_high = Mutex::ranked(Rank::Versions, 3);
        let leaf = Mutex::new(4);
        {
            let _low = low.lock();
            let _high = high.lock();
            let _leaf = leaf.lock();
        }
        let high_guard = high.lock();
        if cfg!(debug_assertions) {
            assert!(panics(|| drop(low.lock())), "a lower rank");
            assert!(panics(|| drop(other_high.lock())), "the same rank");
        }
        assert!(low.try_lock().is_some(), "trying cannot deadlock");
        drop(other_high.try_lock());
        if cfg!(debug_assertions) {
            assert!(panics(|| drop(low.lock())), "the second guard of a rank leaves the first one's mark");
        }
        drop(high_guard);
        drop(low.lock());
    }

    #[test]
    fn guards_may_be_dropped_in_any_order() {
        let low = Mutex::ranked(Rank::Registry, ());
        let high = Mutex::ranked(Rank::Log, ());
        let low_guard = low.lock();
        let high_guard = high.lock();
        drop(low_guard);
        if cfg!(debug_assertions) {
            assert!(panics(|| drop(low.lock())));
        }
        drop(high_guard);
        drop(low.lock());
        drop(high.lock());
    }

    #[test]
    fn a_condition_wakes_its_waiter() {
        let pair = Arc::new((Mutex::ranked(Rank::Sync, false), Condvar::new()));
        let other = Arc::clone(&pair);
        let waiter = std::thread::spawn(move || {
            let mut ready = other.0.lock();
            while !*ready {
                other.1.wait(&mut ready);
            }
        });
        *pair.0.lock() = true;
        pair.1.notify_all();
        assert!(waiter.join().is_ok());
        let mut ready = pair.0.lock();
        assert!(pair.1.wait_for(&mut ready, Duration::from_millis(1)));
    }

    #[test]
    fn a_release_lock_is_no_larger_than_the_plain_one() {
        let plain = size_of::<std::sync::Mutex<u64>>();
        assert!(cfg!(debug_assertions) || size_of::<Mutex<u64>>() == plain);
    }
}
