//! L1: the block cache. Frames hang in per-table slot arrays; a hit is one load. Knows no file and no format.
//!
//!     Slots (one per open table)    [ptr][ptr][null][ptr]...     by block number
//!                                     |    |          |
//!     Frame (counted)               a use counter + bytes, in one allocation
//!     Shard (mutex)                 small, main, meta queues of (slots, index); ghost; bytes
//!
//! - I1  A hit takes no lock and changes no shared count: an Acquire load under the caller's pin, a store to the
//!   frame's use counter while that is below its end, and a striped statistic.
//! - I2  A slot changes only under the lock of its shard, which is a function of (array, index).
//! - I3  A frame that leaves its slot goes to `Retired`, and is freed by a turn of that list: the reaper's, or that of a
//!   thread that evicts, unpinned and with no lock held.
//! - I4  The bytes charged, bookkeeping included, never exceed the room of a shard: its part of the budget less the slot
//!   arrays of open tables. What was evicted is not in it, nor what iterators hold: up to `VICTIM_BYTES_MAX` wait in a
//!   shard, so that one turn at the reaper's list serves many, the others in `Retired`; over `RETIRED_BYTES_MAX` of those
//!   nothing more is taken in.
//! - I5  `forget` is final for an array: nothing is put in afterwards, and no queue entry keeps it alive.
//!
//! Threads: everything may be called from any thread. Failure: none; what cannot be kept is handed back.

mod ghost;
mod shard;
mod slots;
mod spare;
#[cfg(test)]
mod tests;

pub use slots::{Frame, FrameBuilder, FrameRef, Slots, release_spares};

use crate::base::epoch::{self, Guard, Retired};
use crate::base::metrics::Counter;
use crate::base::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, Rank};
use crate::error::Result;
use shard::Shard;
use std::sync::Arc;

/// More retired bytes than this, and frames are handed back instead of being kept.
pub const RETIRED_BYTES_MAX: usize = 32 << 20;
/// Evicted frames of more bytes than this do not wait in their shard.
const VICTIM_BYTES_MAX: usize = 64 << 10;
/// So many bytes of evicted frames make a thread that evicts free some.
const HELP_BYTES_MIN: usize = 256 << 10;
/// Turns in which a cache that goes frees its frames, if nobody is pinned.
const DROP_TURNS: usize = 4;
/// A shard has at least so many bytes: blocks and partitions of up to 1 MiB fit its sixteenth.
const SHARD_BYTES_MIN: usize = 16 << 20;
const SHARDS_MAX: usize = 64;
/// Slot arrays take up to so many quarters of the budget from the frames; past that the cache is crowded.
const FIXED_QUARTERS_MAX: usize = 3;
/// Slot arrays of so many bytes never crowd a cache, however small.
const FIXED_BYTES_MIN: usize = 16 << 20;

/// How dear a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// Data blocks.
    Data,
    /// Index and filter partitions: leave only when they are more than half the cache.
    Meta,
}

/// Settings of a cache.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Most bytes of frames, bookkeeping included; 0 keeps nothing.
    pub bytes: usize,
    /// Shards; 0 picks a number from the size.
    pub shards: usize,
}

/// Spreads (array, index) over shards and ghost cells: all bits of the result depend on all bits of both.
fn mix(id: u64, index: u32) -> u64 {
    let mut hash = (id << 32 ^ u64::from(index)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ hash >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash ^ hash >> 32
}

/// A byte budget shared by all tables of a database.
pub struct Cache {
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    budget: usize,
    /// Bytes of the slot arrays that live.
    fixed: Arc<AtomicUsize>,
    /// Frames only: their destructors may run on any unpinned thread.
    retired: Arc<Retired>,
    /// Whether a reader is freeing.
    is_helped: AtomicBool,
    hits: Counter,
    misses: Counter,
}

impl Cache {
    /// An empty cache; evicted frames go to `retired`, which is for them alone.
    pub fn new(config: CacheConfig, retired: Arc<Retired>) -> Arc<Cache> {
        let wanted = match config.shards {
            0 => config.bytes / SHARD_BYTES_MIN,
            n => n,
        };
        let count = 1 << wanted.clamp(1, SHARDS_MAX).ilog2();
        let budget = config.bytes / count;
        Arc::new(Cache {
            shards: (0..count).map(|_| Mutex::ranked(Rank::CacheShard, Shard::new(budget))).collect(),
            budget: config.bytes,
            fixed: Arc::default(),
            retired,
            is_helped: AtomicBool::new(false),
            hits: Counter::new(),
            misses: Counter::new(),
        })
    }

    /// Slots for a table of `count` blocks. `NoMem` when there is no memory for them.
    pub fn slots(&self, count: u32) -> Result<Arc<Slots>> {
        Slots::new(count, &self.fixed)
    }

    /// Bytes of the slot arrays of open tables.
    pub fn fixed_bytes(&self) -> usize {
        // Relaxed: a figure, and a hint for how much room there is.
        self.fixed.load(Ordering::Relaxed)
    }

    /// Whether slot arrays take so much that tables should be closed rather than more of them opened.
    pub fn is_crowded(&self) -> bool {
        self.fixed_bytes() > (self.budget / 4 * FIXED_QUARTERS_MAX).max(FIXED_BYTES_MIN)
    }

    /// What a shard may hold in frames now.
    fn room(&self) -> usize {
        let least = self.budget / 4 * (4 - FIXED_QUARTERS_MAX);
        self.budget.saturating_sub(self.fixed_bytes()).max(least) / self.shards.len()
    }

    fn shard(&self, slots: &Slots, index: u32) -> &Mutex<Shard> {
        // The top bits: the ghost uses the others.
        &self.shards[(mix(slots.id(), index) >> 58) as usize & (self.shards.len() - 1)]
    }

    /// The frame in a slot, alive while the pin lasts; marks it recently used and counts a hit (nothing on a miss).
    #[inline]
    pub fn peek<'g>(&self, slots: &'g Slots, index: u32, guard: &'g Guard) -> Option<&'g Frame> {
        let frame = slots.load(index, guard)?;
        frame.note_use();
        self.hits.add(1);
        Some(frame)
    }

    /// The same, and asks for its first `lines` cache lines before it looks at the frame.
    #[inline]
    pub fn peek_ahead<'g>(&self, slots: &'g Slots, index: u32, lines: usize, guard: &'g Guard) -> Option<&'g Frame> {
        slots.prefetch(index, lines);
        self.peek(slots, index, guard)
    }

    /// The frame in a slot as `peek` gives it, without noting a use or a hit: for those who come back for it.
    #[inline]
    pub fn glance<'g>(&self, slots: &'g Slots, index: u32, guard: &'g Guard) -> Option<&'g Frame> {
        slots.load(index, guard)
    }

    /// Asks for the first `lines` cache lines of a frame; neither looks at it nor counts a hit.
    #[inline]
    pub fn prefetch(&self, slots: &Slots, index: u32, lines: usize) {
        slots.prefetch(index, lines);
    }

    /// The same, counted, for those who keep it.
    pub fn get(&self, slots: &Slots, index: u32) -> Option<FrameRef> {
        let guard = epoch::pin();
        self.peek(slots, index, &guard).map(|frame| frame.to_ref(&guard))
    }

    /// Puts a frame just read into its slot (counts the miss) and makes room. If another thread was faster its frame
    /// is returned. The frame is returned without being kept if it is over 1/16 of a shard, if its slots were
    /// forgotten, if the index is past their end, or while over `RETIRED_BYTES_MAX` wait for the reaper.
    pub fn insert(&self, slots: &Arc<Slots>, index: u32, frame: FrameRef, priority: Priority) -> FrameRef {
        self.misses.add(1);
        if self.budget == 0 {
            return frame;
        }
        if self.retired.bytes() > RETIRED_BYTES_MAX {
            self.help_reap();
            return frame;
        }
        let index = if crate::base::planted!("cache-wrong-block") { index ^ 1 } else { index };
        let mut shard = self.shard(slots, index).lock();
        // After the lock: nobody waits under a pin.
        let guard = epoch::pin();
        shard.set_room(self.room());
        let kept = shard.insert(slots, index, frame, priority, &guard);
        let victims = shard.take_victims(VICTIM_BYTES_MAX);
        drop(shard);
        drop(guard);
        if victims.bytes() > 0 {
            victims.retire(&self.retired);
            self.help_reap();
        }
        kept
    }

    /// Frees what no reader can see any more, if much waits and nobody else is at it: who misses a thousand times before the
    /// reaper has woken up frees what it evicted itself, and its next frames are made of that.
    fn help_reap(&self) {
        if self.retired.bytes() < HELP_BYTES_MIN {
            return;
        }
        // Acquire and Release: a turn sees what the one before did.
        if self.is_helped.swap(true, Ordering::Acquire) {
            return;
        }
        self.retired.run_once();
        self.is_helped.store(false, Ordering::Release);
    }

    /// One turn of the reaper.
    pub fn reap(&self) {
        for shard in &self.shards {
            let victims = shard.lock().take_victims(1);
            victims.retire(&self.retired);
        }
        self.retired.run_once();
    }

    /// Bytes that were evicted and handed to the list of what waits for readers.
    pub fn retired_bytes(&self) -> usize {
        self.retired.bytes()
    }

    /// Frees all that was evicted, in up to `turns` turns; false when readers keep something.
    pub fn drain(&self, turns: usize) -> bool {
        self.reap();
        self.retired.drain(turns)
    }

    /// Empties the slots of a table that is being closed; they take no more frames. Costs a pass over the queues of
    /// the shards (about a nanosecond per cached frame) if the table has frames at all, so it is for closing, not for
    /// every read.
    pub fn forget(&self, slots: &Slots) {
        if !crate::base::planted!("cache-keeps-closed-tables") {
            slots.close();
        }
        for shard in &self.shards {
            // An insert that saw the slots open is over once its shard's lock is ours, and is counted as resident.
            let mut shard = shard.lock();
            if slots.resident() > 0 {
                shard.remove(Some(slots));
            }
            let victims = shard.take_victims(1);
            drop(shard);
            victims.retire(&self.retired);
        }
    }

    /// Drops every frame.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.remove(None);
            let victims = shard.take_victims(1);
            drop(shard);
            victims.retire(&self.retired);
        }
    }

    /// Bytes held now, bookkeeping included.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes()).sum()
    }

    /// Frames held now.
    pub fn frames(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().frames()).sum()
    }

    /// Hits so far.
    pub fn hits(&self) -> u64 {
        self.hits.get()
    }

    /// Misses so far: frames that were offered.
    pub fn misses(&self) -> u64 {
        self.misses.get()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // A reader may be pinned still: what it may see goes the way of all frames.
        for shard in &mut self.shards {
            let shard = shard.get_mut();
            shard.remove(None);
            shard.take_victims(1).retire(&self.retired);
        }
        self.retired.drain(DROP_TURNS);
        release_spares();
    }
}
