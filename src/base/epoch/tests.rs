//! Tests of the reaper's list and the cell: exact accounts, pins respected, destructors free to retire.

use super::*;
use crate::base::arc_cell::ArcCell;
use crate::base::sync::AtomicU64;

const TURNS_MAX: usize = 100_000;

/// Whether nothing stays. On a busy machine a pinned reader of another test may be without a processor for long: turns
/// alone are over sooner.
fn drained(retired: &Retired) -> bool {
    (0..1000).any(|_| {
        let is_done = retired.drain(TURNS_MAX / 100);
        if !is_done {
            std::thread::sleep(Duration::from_millis(10));
        }
        is_done
    })
}

#[test]
fn replaced_values_are_dropped_once_no_pin_sees_them() {
    let retired = Retired::new();
    let first = Arc::new(1u64);
    let cell = ArcCell::new(Arc::clone(&first));
    let guard = pin();
    let seen = cell.load(&guard);
    cell.replace(Arc::new(2), &retired, 8);
    for _ in 0..100 {
        retired.run_once();
    }
    assert_eq!(*seen, 1);
    assert_eq!(Arc::strong_count(&first), 2, "still held while pinned");
    assert_eq!((retired.bytes(), retired.pending()), (8, 1));
    drop(guard);
    assert!(drained(&retired));
    assert_eq!((Arc::strong_count(&first), retired.bytes()), (1, 0));
    assert_eq!(*cell.load(&pin()), 2);
    assert_eq!(*cell.get(&pin()), 2);
}

#[test]
fn the_account_is_exact_whatever_overlaps() {
    let retired = Retired::new();
    let guard = pin();
    for round in 1..=10usize {
        retired.retire(Box::new(round), round * 1000);
        retired.run_once();
    }
    assert_eq!((retired.bytes(), retired.pending()), (55_000, 10));
    assert!(retired.is_empty(), "all were handed to the epoch");
    drop(guard);
    retired.retire(Box::new(0), 5);
    assert!(!retired.is_empty());
    assert!(drained(&retired));
    assert_eq!(retired.bytes(), 0);
    assert_eq!(retired.run_once(), 0);
}

/// Retires another one when dropped, as a table does with its frames.
struct Chain {
    left: u32,
    retired: Arc<Retired>,
}

impl Drop for Chain {
    fn drop(&mut self) {
        if self.left > 0 {
            let next = Chain { left: self.left - 1, retired: Arc::clone(&self.retired) };
            self.retired.retire(Box::new(next), 100);
        }
    }
}

#[test]
fn a_destructor_may_retire_more() {
    let retired = Arc::new(Retired::new());
    retired.retire(Box::new(Chain { left: 5, retired: Arc::clone(&retired) }), 100);
    assert!(drained(&retired));
    assert_eq!((retired.bytes(), Arc::strong_count(&retired)), (0, 1));
}

#[test]
fn a_dropped_list_still_waits_for_pins() {
    let value = Arc::new(7u64);
    let retired = Retired::new();
    let guard = pin();
    retired.retire(Box::new(Arc::clone(&value)), 8);
    retired.run_once();
    retired.retire(Box::new(Arc::clone(&value)), 8);
    drop(retired);
    for _ in 0..100 {
        ebr::pin().flush();
    }
    assert_eq!(Arc::strong_count(&value), 3, "a reader is pinned");
    drop(guard);
    let next = Retired::new();
    for turn in 0..TURNS_MAX {
        ebr::pin().flush();
        next.run_once();
        if Arc::strong_count(&value) == 1 {
            return;
        }
        if turn % 100 == 99 { std::thread::sleep(Duration::from_millis(10)) } else { std::thread::yield_now() }
    }
    panic!("never dropped");
}

thread_local! {
    static IS_PINNING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Notes whether it was dropped by whoever pinned.
struct Sensitive {
    dropped: Arc<AtomicUsize>,
    by_a_pin: Arc<AtomicUsize>,
}

impl Drop for Sensitive {
    fn drop(&mut self) {
        // Relaxed: tallies.
        self.by_a_pin.fetch_add(usize::from(IS_PINNING.get()), Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A pin may be taken under a lock, so it runs no destructor; what a list left behind waits for the next reaper.
#[test]
fn what_a_dropped_list_leaves_is_not_dropped_by_a_pin() {
    let (dropped, by_a_pin) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let lists = if cfg!(miri) { 2 } else { 50 };
    for _ in 0..lists {
        let retired = Retired::new();
        let guard = pin();
        let object = Sensitive { dropped: Arc::clone(&dropped), by_a_pin: Arc::clone(&by_a_pin) };
        retired.retire(Box::new(object), 8);
        drop(retired);
        drop(guard);
        IS_PINNING.set(true);
        for _ in 0..if cfg!(miri) { 10 } else { 2000 } {
            ebr::pin().flush();
        }
        IS_PINNING.set(false);
    }
    let next = Retired::new();
    // Relaxed: tallies.
    for turn in 0..TURNS_MAX {
        ebr::pin().flush();
        next.run_once();
        if dropped.load(Ordering::Relaxed) == lists {
            break;
        }
        // The reaper of another test may have taken some, and be without a processor.
        if turn % 100 == 99 { std::thread::sleep(Duration::from_millis(10)) } else { std::thread::yield_now() }
    }
    assert_eq!((dropped.load(Ordering::Relaxed), by_a_pin.load(Ordering::Relaxed)), (lists, 0));
}

#[test]
fn the_reaper_is_woken_by_weight_and_by_name() {
    let retired = Retired::new();
    let long = Duration::from_secs(600);
    retired.wake();
    retired.wait(long);
    retired.retire(Box::new(()), WAKE_BYTES);
    retired.wait(long);
    assert!(drained(&retired));
    retired.wait(Duration::from_millis(1));
    std::thread::scope(|scope| {
        scope.spawn(|| retired.wait(long));
        scope.spawn(|| {
            for _ in 0..10 {
                retired.retire(Box::new(()), WAKE_BYTES / 8);
            }
        });
    });
}

/// Says so when it is looked at after its drop.
struct Canary {
    words: [AtomicU64; 8],
    live: Arc<AtomicUsize>,
}

const ALIVE: u64 = 0x0BAD_CAFE;

impl Canary {
    fn new(live: &Arc<AtomicUsize>) -> Arc<Canary> {
        // Relaxed, here and below: a tally, read after the threads were joined.
        live.fetch_add(1, Ordering::Relaxed);
        Arc::new(Canary { words: [const { AtomicU64::new(ALIVE) }; 8], live: Arc::clone(live) })
    }
    fn check(&self) {
        // Relaxed: the test of the orderings in `load` and `run_once`.
        assert!(self.words.iter().all(|w| w.load(Ordering::Relaxed) == ALIVE), "seen after its drop");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // Relaxed: see `check`.
        self.words.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn stress_of_loads_gets_and_replaces() {
    let live = Arc::new(AtomicUsize::new(0));
    let cell = ArcCell::new(Canary::new(&live));
    let (retired, stop) = (Retired::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Relaxed: only ends the loop.
                while !stop.load(Ordering::Relaxed) {
                    let guard = pin();
                    let seen = cell.load(&guard);
                    std::thread::yield_now();
                    seen.check();
                    let counted = cell.get(&guard);
                    drop(guard);
                    counted.check();
                }
            });
        }
        scope.spawn(|| {
            // Relaxed: only ends the loop.
            while !stop.load(Ordering::Relaxed) {
                retired.run_once();
            }
        });
        for _ in 0..if cfg!(miri) { 60 } else { 20_000 } {
            cell.replace(Canary::new(&live), &retired, 64);
        }
        // Relaxed: only ends the loops.
        stop.store(true, Ordering::Relaxed);
    });
    assert!(drained(&retired));
    // Relaxed: the threads were joined.
    assert_eq!((live.load(Ordering::Relaxed), retired.bytes()), (1, 0));
    drop(cell);
    assert_eq!(live.load(Ordering::Relaxed), 0);
}
