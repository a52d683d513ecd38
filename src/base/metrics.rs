//! Counters that many threads bump without sharing a cache line.
//!
//! A thread has a number of its own while it lives; the first `STRIPES - 1` numbers own a stripe each and bump it by a
//! load and a store, which costs a nanosecond and, unlike a locked add, does not hold up the memory accesses around it
//! (four locked adds in a cached get cost 30 ns, and kept one get's cache misses from overlapping the next one's). All
//! other threads share the last stripe and add to it atomically.
//!
//! - I1  A stripe but the last is stored to by one thread at a time: the holder of its number.
//!
//! Threads: any. Failure: none.

use super::sync::{AtomicU64, Ordering};
use std::cell::Cell;

const STRIPES: usize = 32;
/// The number of the threads that have none of their own.
const SHARED: usize = STRIPES - 1;

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// A sum kept in stripes, one cache line each; threads are spread over them.
#[derive(Default)]
pub struct Counter {
    stripes: [Stripe; STRIPES],
}

impl Counter {
    /// A counter at zero.
    pub fn new() -> Counter {
        Counter::default()
    }

    /// Adds `n`. Relaxed: a statistic orders nothing.
    #[inline]
    pub fn add(&self, n: u64) {
        let number = stripe_number();
        let stripe = &self.stripes[number].0;
        if number == SHARED {
            stripe.fetch_add(n, Ordering::Relaxed);
        } else {
            // Nobody else stores here (I1).
            stripe.store(stripe.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }

    /// The sum; not a snapshot of one instant while others add.
    pub fn get(&self) -> u64 {
        self.stripes.iter().fold(0, |sum, s| sum.wrapping_add(s.0.load(Ordering::Relaxed)))
    }
}

/// The numbers that living threads hold, as bits; that of the shared stripe is always set.
static TAKEN: AtomicU64 = AtomicU64::new(1 << SHARED);

const _: () = assert!(STRIPES <= 64);

/// A thread's number; given back when the thread ends.
struct Number(Cell<usize>);

/// The thread has not asked for a number yet.
const NONE: usize = usize::MAX;

impl Number {
    #[cold]
    fn take(&self) -> usize {
        // Relaxed load: the exchange checks it.
        let mut taken = TAKEN.load(Ordering::Relaxed);
        let number = loop {
            let free = (!taken).trailing_zeros() as usize;
            if free >= STRIPES {
                break SHARED;
            }
            // Acquire: pairs with the Release in `drop`, so that this thread's loads see what the number's last holder
            // stored to its stripes.
            match TAKEN.compare_exchange_weak(taken, taken | 1 << free, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break free,
                Err(now) => taken = now,
            }
        };
        self.0.set(number);
        number
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // What runs later in this thread's end must not use the number any more.
        let number = self.0.replace(SHARED);
        if number < SHARED {
            // Release: pairs with the Acquire in `take`.
            TAKEN.fetch_and(!(1 << number), Ordering::Release);
        }
    }
}

#[inline]
fn stripe_number() -> usize {
    thread_local! {
        static NUMBER: Number = const { Number(Cell::new(NONE)) };
    }
    // A thread whose storage is gone is ending and shares.
    NUMBER
        .try_with(|number| {
            let has = number.0.get();
            if has == NONE { number.take() } else { has }
        })
        .unwrap_or(SHARED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_with_more_threads_than_stripes_or_when_numbers_go_round() {
        let counter = Counter::new();
        let each = if cfg!(miri) { 20 } else { 2000 };
        for _ in 0..3 {
            std::thread::scope(|scope| {
                for _ in 0..STRIPES + 8 {
                    scope.spawn(|| (0..each).for_each(|_| counter.add(3)));
                }
            });
        }
        assert_eq!(counter.get(), 3 * 3 * each * (STRIPES as u64 + 8));
    }
}
