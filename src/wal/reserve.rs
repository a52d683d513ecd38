//! The reservation word: one atomic add gives a record its place in the segment and its sequence numbers.
//!
//!     word := offset in units of 8 bytes: u32 (high) | entries so far: u32 (low)
//!
//! Invariants
//! - I1  Both halves only grow, so "closed" (an end beyond the limit, or too many entries) is for ever.
//! - I2  Exactly one reservation or close turns an open word into a closed one: it sees `Crossed`, with the end of the
//!   last accepted record and the count of accepted entries.
//! - I3  No half overflows with up to 1,000 threads. A thread looks before it adds, so after the word is closed each
//!   thread adds at most once more, at most `SHARED` units and `SHARED_COUNT` entries; larger ones go by
//!   compare-and-swap and never overshoot. 1,024 such adds still fit above the limit.
//!
//! Threads: any. Orderings are relaxed throughout: the word hands out disjoint numbers and publishes no memory. What a
//! record's writer stored becomes visible through the publisher, and the segment itself through the owner's pointer.
//! That a thread that was told of another's write reserves behind it follows from coherence of the one word.
//! Failure: none.

use crate::base::sync::{AtomicU64, Ordering};

/// Most entries in one segment, with room above for every overshoot.
const COUNT_MAX: u32 = 1 << 31;
/// Most entries a record may add without compare-and-swap.
const SHARED_COUNT_MAX: u32 = 1 << 20;
/// How many overshooting adds fit above the limit.
const OVERSHOOTS_MAX: u64 = 1024;
/// Bytes in a unit.
pub const UNIT: u64 = 8;
/// Largest segment whose offsets the word can hold with room to spare.
pub const SEGMENT_BYTES_LIMIT: u64 = 16 << 30;

/// Where a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Byte offset.
    pub offset: u64,
    /// Entries before it.
    pub entries: u32,
}

/// The answer of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted.
    Accepted(Place),
    /// This call closed the word; the place is the end of what was accepted.
    Crossed(Place),
    /// Closed before.
    Closed,
}

/// The word, alone on its cache lines.
#[repr(align(128))]
pub struct ReserveWord {
    word: AtomicU64,
    limit: u32,
    shared: u32,
}

impl ReserveWord {
    /// A word that starts at byte `first` and accepts records that end at or before byte `limit`.
    pub fn new(first: u64, limit: u64) -> ReserveWord {
        debug_assert!(first <= limit && limit <= SEGMENT_BYTES_LIMIT && first.is_multiple_of(UNIT));
        let limit = (limit / UNIT) as u32;
        let room = u64::from(u32::MAX - limit) / OVERSHOOTS_MAX;
        ReserveWord { word: AtomicU64::new((first / UNIT) << 32), limit, shared: room as u32 }
    }

    #[inline]
    fn closed(&self, word: u64) -> bool {
        (word >> 32) as u32 > self.limit + u32::from(crate::base::planted!("log-reserve-over-the-seal"))
            || word as u32 > COUNT_MAX
    }

    #[inline]
    fn place(word: u64) -> Place {
        Place { offset: (word >> 32) * UNIT, entries: word as u32 }
    }

    /// Reserves `bytes` (a multiple of 8) and `count` entries.
    #[inline]
    pub fn reserve(&self, bytes: u64, count: u32) -> Outcome {
        debug_assert!(bytes.is_multiple_of(UNIT) && bytes > 0);
        // Relaxed: see the head of this file.
        let seen = self.word.load(Ordering::Relaxed);
        if self.closed(seen) {
            return Outcome::Closed;
        }
        let units = bytes / UNIT;
        if units > u64::from(self.shared) || count > SHARED_COUNT_MAX {
            return self.reserve_large(units, count);
        }
        let add = (units << 32) | u64::from(count);
        // Relaxed: see the head of this file.
        let old = self.word.fetch_add(add, Ordering::Relaxed);
        if self.closed(old) {
            Outcome::Closed
        } else if self.closed(old + add) {
            Outcome::Crossed(Self::place(old))
        } else {
            Outcome::Accepted(Self::place(old))
        }
    }

    #[cold]
    fn reserve_large(&self, units: u64, count: u32) -> Outcome {
        // Relaxed: see the head of this file.
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            if self.closed(old) {
                return Outcome::Closed;
            }
            let (end, entries) = ((old >> 32) + units, u64::from(old as u32) + u64::from(count));
            let fits = end <= u64::from(self.limit) && entries <= u64::from(COUNT_MAX);
            let new = if fits { (end << 32) | entries } else { self.closed_from(old) };
            // Relaxed: see the head of this file.
            match self.word.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if fits => return Outcome::Accepted(Self::place(old)),
                Ok(_) => return Outcome::Crossed(Self::place(old)),
                Err(seen) => old = seen,
            }
        }
    }

    fn closed_from(&self, word: u64) -> u64 {
        (u64::from(self.limit) + 1) << 32 | u64::from(word as u32)
    }

    /// Closes the word; the end for the one caller that did.
    pub fn close(&self) -> Option<Place> {
        // Relaxed: see the head of this file.
        let mut old = self.word.load(Ordering::Relaxed);
        while !self.closed(old) {
            let new = self.closed_from(old);
            // Relaxed: see the head of this file.
            match self.word.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Self::place(old)),
                Err(seen) => old = seen,
            }
        }
        None
    }

    /// The end of what is accepted so far; `None` once closed.
    pub fn end(&self) -> Option<Place> {
        // Relaxed: a figure for people and for the close.
        let word = self.word.load(Ordering::Relaxed);
        (!self.closed(word)).then(|| Self::place(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_that_fits_exactly_is_accepted() {
        let word = ReserveWord::new(64, 128);
        assert_eq!(word.reserve(64, 2), Outcome::Accepted(Place { offset: 64, entries: 0 }));
        assert_eq!(word.end(), Some(Place { offset: 128, entries: 2 }));
        assert_eq!(word.reserve(8, 1), Outcome::Crossed(Place { offset: 128, entries: 2 }));
        assert_eq!(word.reserve(8, 1), Outcome::Closed);
        assert_eq!(word.close(), None);
    }

    #[test]
    fn closing_is_told_once() {
        let word = ReserveWord::new(64, 1 << 20);
        word.reserve(80, 5);
        assert_eq!(word.close(), Some(Place { offset: 144, entries: 5 }));
        assert_eq!(word.close(), None);
        assert_eq!(word.reserve(8, 1), Outcome::Closed);
    }

    #[test]
    fn a_thousand_overshoots_do_not_wrap_the_largest_word() {
        for limit in [1 << 16, 64 << 20, SEGMENT_BYTES_LIMIT] {
            let word = ReserveWord::new(64, limit);
            assert!(matches!(word.reserve(limit - 64, COUNT_MAX), Outcome::Accepted(_)));
            // What 1,000 threads do that all looked while the word was open.
            let shared = u64::from(word.shared);
            for _ in 0..1000 {
                word.word.fetch_add((shared << 32) | u64::from(SHARED_COUNT_MAX), Ordering::Relaxed);
                assert_eq!(word.reserve(8, 1), Outcome::Closed);
            }
            assert!(word.word.load(Ordering::Relaxed) >> 32 >= limit / UNIT);
        }
    }

    #[test]
    fn too_many_entries_close_a_segment_too() {
        let word = ReserveWord::new(64, SEGMENT_BYTES_LIMIT);
        for _ in 0..2 {
            assert!(matches!(word.reserve(8, 1 << 30), Outcome::Accepted(_)));
        }
        assert_eq!(word.reserve(8, 1), Outcome::Crossed(Place { offset: 80, entries: COUNT_MAX }));
    }

    #[test]
    fn a_record_too_large_for_the_rest_crosses_without_overshooting() {
        let word = ReserveWord::new(64, 1 << 34);
        assert!(matches!(word.reserve(1 << 33, 1), Outcome::Accepted(_)));
        assert_eq!(word.reserve(1 << 33, 1), Outcome::Crossed(Place { offset: 64 + (1 << 33), entries: 1 }));
        assert_eq!(word.word.load(Ordering::Relaxed) >> 32, (1 << 31) + 1);
    }
}
