//! Allocations of frames that nobody holds any more, kept for the next frames of their size.
//!
//! A cache that is full frees a frame for each that it takes in, on another thread and in batches: the allocator locks,
//! merges and splits for that, a quarter of a microsecond a block (16 % of a read that misses). Here both are a swap.
//!
//!     rings[lines] := [pointer or null; RING]    allocations of `lines` cache lines, header included
//!     put          := next place in turn <- the allocation; what was there goes to the allocator
//!     take         := next place in turn <- null; null there means that the allocator is asked
//!
//! - I1  A pointer in a place is an allocation of that ring's size that nobody else knows; the swap that takes it out is
//!   its new owner's.
//! - I2  At most `SPARE_BYTES_MAX`, and a few more while several threads put, are kept by the process.
//!
//! Threads: any, without a lock. Failure: none.

use super::slots::Frame;
use crate::base::sync::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::ptr::{self, NonNull};

/// Allocations of more cache lines are not kept: blocks of 16 KiB and a little more.
const LINES_MAX: usize = 288;
/// Smaller ones the allocator hands out quickly.
const LINES_MIN: usize = 16;
/// Places of a ring: with the sizes next to each other that blocks have, what one turn of the reaper frees.
const RING: usize = 128;
/// Most bytes kept.
pub(super) const SPARE_BYTES_MAX: usize = 2 << 20;

struct Ring {
    places: [AtomicPtr<Frame>; RING],
    /// Relaxed: only spread the accesses.
    put: AtomicU32,
    take: AtomicU32,
}

/// Allocations that are kept.
pub(super) struct Spares {
    /// By cache lines. In pages of zeros: rings that are not used cost nothing.
    rings: [Ring; LINES_MAX],
    /// Bytes kept. Relaxed: a limit that may be passed by a little.
    bytes: AtomicUsize,
}

/// Those of the process.
pub(super) static SPARES: Spares = Spares::new();

impl Spares {
    pub(super) const fn new() -> Spares {
        let rings = [const {
            Ring {
                places: [const { AtomicPtr::new(ptr::null_mut()) }; RING],
                put: AtomicU32::new(0),
                take: AtomicU32::new(0),
            }
        }; LINES_MAX];
        Spares { rings, bytes: AtomicUsize::new(0) }
    }

    fn ring(&self, lines: usize) -> Option<&Ring> {
        // Miri sees a use of freed memory only where memory is freed.
        if lines < LINES_MIN || cfg!(miri) { None } else { self.rings.get(lines) }
    }

    fn uncount(&self, lines: usize) {
        self.bytes.fetch_sub(lines * super::slots::FRAME_ALIGN, Ordering::Relaxed);
    }

    /// An allocation of `lines` cache lines, if one is kept.
    pub(super) fn take(&self, lines: usize) -> Option<NonNull<Frame>> {
        let ring = self.ring(lines)?;
        if ring.take.load(Ordering::Relaxed) == ring.put.load(Ordering::Relaxed) {
            return None;
        }
        let at = ring.take.fetch_add(1, Ordering::Relaxed) as usize % RING;
        // Acquire: pairs with the swap of `put`, so that the last holder is done with it.
        let found = NonNull::new(ring.places[at].swap(ptr::null_mut(), Ordering::Acquire))?;
        self.uncount(lines);
        Some(found)
    }

    /// Keeps an allocation of `lines` cache lines; answers the one that is to be freed instead, if any.
    pub(super) fn put(&self, lines: usize, frame: NonNull<Frame>) -> Option<NonNull<Frame>> {
        let Some(ring) = self.ring(lines) else { return Some(frame) };
        if self.bytes.fetch_add(lines * super::slots::FRAME_ALIGN, Ordering::Relaxed) > SPARE_BYTES_MAX {
            self.uncount(lines);
            return Some(frame);
        }
        let at = ring.put.fetch_add(1, Ordering::Relaxed) as usize % RING;
        // AcqRel: hands ours over to `take`, and takes over what another put there.
        let before = NonNull::new(ring.places[at].swap(frame.as_ptr(), Ordering::AcqRel));
        if before.is_some() {
            self.uncount(lines);
        }
        before
    }

    /// Takes everything out and hands it to `free`, with its size in cache lines.
    pub(super) fn drain(&self, mut free: impl FnMut(usize, NonNull<Frame>)) {
        // Relaxed: what is put in meanwhile may stay.
        if self.bytes.load(Ordering::Relaxed) == 0 {
            return;
        }
        for (lines, ring) in self.rings.iter().enumerate() {
            if ring.put.load(Ordering::Relaxed) == 0 {
                continue;
            }
            for place in &ring.places {
                if let Some(frame) = NonNull::new(place.swap(ptr::null_mut(), Ordering::Acquire)) {
                    self.uncount(lines);
                    free(lines, frame);
                }
            }
            // The next one that is kept is the next one that is found, not one that comes after all that are gone.
            ring.take.store(ring.put.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Bytes kept now.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
