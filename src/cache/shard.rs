//! One shard of the cache: its byte account and its queues, S3-FIFO for data and CLOCK for metadata.
//!
//! New data enters the *small* queue (a tenth of the data's share). At its end a frame used meanwhile moves on to the
//! *main* queue, one that was not leaves and its fingerprint is remembered by the *ghost*; data that comes back while
//! remembered enters *main* at once. At the end of *main* a used frame goes round again with one use less. So a scan
//! passes through *small* only. Metadata goes round in a queue of its own and leaves only while it is more than half
//! the shard or when no data is left.
//! (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.)
//!
//! - I1  Queue entries and non-null slots of this shard correspond one to one; both change under the shard's lock.
//! - I2  `Queue::bytes` is the sum of its entries' charges; their total never exceeds the room after an insert.
//!
//! Threads: everything here runs under the shard's lock. Failure: none.

use super::Priority;
use super::ghost::Ghost;
use super::mix;
use super::slots::{FrameRef, Slots, Victims};
use crate::base::epoch::Guard;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a frame costs besides its bytes: the header (32), the allocator's share of the allocation (16) and what it wastes
/// to begin at a whole cache line (24 or so), the queue entry (16 to 32) and the ghost (16 to 24).
pub(super) const OVERHEAD_BYTES: usize = 128;
/// A frame larger than this part of a shard is not kept.
const FRAME_PART: usize = 16;
/// Part of the data's share that is the small queue.
const SMALL_PART: usize = 10;
/// Uses in the small queue that move a frame on to the main queue.
const PROMOTE_USES: u8 = 1;

/// One frame in a queue.
struct Entry {
    slots: Arc<Slots>,
    index: u32,
    charge: u32,
}

impl Entry {
    fn hash(&self) -> u64 {
        mix(self.slots.id(), self.index)
    }

    fn unlink(&self, victims: &mut Victims) {
        let was_there = self.slots.unlink(self.index, self.charge as usize, victims);
        debug_assert!(was_there, "a queue entry without its frame (I1)");
    }
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.charge as usize;
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.charge as usize;
        Some(entry)
    }

    /// Takes the first entry nobody used out; used ones go round with one use less.
    fn pop_unused(&mut self, guard: &Guard) -> Option<Entry> {
        loop {
            let entry = self.pop()?;
            let uses = entry.slots.load(entry.index, guard).map_or(0, |frame| {
                let uses = frame.uses();
                frame.set_uses(uses.saturating_sub(1));
                uses
            });
            if uses == 0 {
                return Some(entry);
            }
            self.push(entry);
        }
    }

    /// Takes out the entries of `slots`, or all. One pass over the queue, a pointer compare each.
    fn remove(&mut self, slots: Option<&Slots>, victims: &mut Victims) {
        let Some(slots) = slots else {
            self.entries.iter().for_each(|entry| entry.unlink(victims));
            *self = Queue::default();
            return;
        };
        let bytes = &mut self.bytes;
        self.entries.retain(|entry| {
            if !std::ptr::eq(Arc::as_ptr(&entry.slots), slots) {
                return true;
            }
            *bytes -= entry.charge as usize;
            entry.unlink(victims);
            false
        });
    }
}

/// A shard's state, kept under its lock.
pub(super) struct Shard {
    /// Its part of the cache's budget: what decides which frames are too large.
    budget: usize,
    /// What it may hold now, at most `budget`.
    room: usize,
    small: Queue,
    main: Queue,
    meta: Queue,
    ghost: Ghost,
    /// What was evicted and not handed on yet.
    victims: Victims,
}

impl Shard {
    pub(super) fn new(budget: usize) -> Shard {
        Shard {
            budget,
            room: budget,
            small: Queue::default(),
            main: Queue::default(),
            meta: Queue::default(),
            ghost: Ghost::new(),
            victims: Victims::default(),
        }
    }

    /// Says how much it may hold from now on; the next insert makes it so.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room.min(self.budget);
    }

    /// Bytes charged now.
    pub(super) fn bytes(&self) -> usize {
        self.small.bytes + self.main.bytes + self.meta.bytes
    }

    /// Frames held now.
    pub(super) fn frames(&self) -> usize {
        self.data_frames() + self.meta.entries.len()
    }

    fn data_frames(&self) -> usize {
        self.small.entries.len() + self.main.entries.len()
    }

    /// Puts `frame` into its slot and makes room for it. Returns what the slot holds then: another thread's frame if
    /// that was faster, and `frame` itself, not kept, if the slots are closed or past their end.
    pub(super) fn insert(
        &mut self,
        slots: &Arc<Slots>,
        index: u32,
        frame: FrameRef,
        priority: Priority,
        guard: &Guard,
    ) -> FrameRef {
        if let Some(winner) = slots.load(index, guard) {
            winner.note_use();
            return winner.to_ref(guard);
        }
        let bytes = frame.bytes().len();
        let Ok(charge) = u32::try_from(bytes + OVERHEAD_BYTES) else { return frame };
        let fits = bytes <= self.budget / FRAME_PART && charge as usize <= self.room;
        if !fits || index >= slots.len() || slots.is_closed() {
            return frame;
        }
        self.make_room(charge as usize, guard);
        frame.set_uses(0);
        if !slots.put(index, &frame) {
            return frame;
        }
        let entry = Entry { slots: Arc::clone(slots), index, charge };
        let span = self.data_frames();
        match priority {
            Priority::Meta => self.meta.push(entry),
            Priority::Data if self.ghost.take(entry.hash(), span) => self.main.push(entry),
            Priority::Data => self.small.push(entry),
        }
        debug_assert!(self.bytes() <= self.room, "over budget (I2)");
        frame
    }

    fn make_room(&mut self, charge: usize, guard: &Guard) {
        while self.bytes() + charge > self.room {
            let no_data = self.small.entries.is_empty() && self.main.entries.is_empty();
            let evicted = if no_data || self.meta.bytes > self.room / 2 {
                self.evict_meta(guard)
            } else {
                self.evict_data(guard)
            };
            if !evicted {
                break;
            }
        }
    }

    fn evict_meta(&mut self, guard: &Guard) -> bool {
        let Some(entry) = self.meta.pop_unused(guard) else { return false };
        entry.unlink(&mut self.victims);
        true
    }

    /// Evicts one data frame; false when there is none.
    fn evict_data(&mut self, guard: &Guard) -> bool {
        let small_target = (self.room - self.meta.bytes.min(self.room)) / SMALL_PART;
        while self.small.bytes > small_target || self.main.entries.is_empty() {
            let Some(entry) = self.small.pop() else { break };
            let frame = entry.slots.load(entry.index, guard);
            match frame.filter(|frame| frame.uses() >= PROMOTE_USES) {
                Some(frame) => {
                    frame.set_uses(0);
                    self.main.push(entry);
                }
                None => {
                    self.ghost.add(entry.hash(), self.data_frames());
                    entry.unlink(&mut self.victims);
                    return true;
                }
            }
        }
        let Some(entry) = self.main.pop_unused(guard) else { return false };
        entry.unlink(&mut self.victims);
        true
    }

    /// Empties the slots of `slots` that belong to this shard, or all of them.
    pub(super) fn remove(&mut self, slots: Option<&Slots>) {
        self.small.remove(slots, &mut self.victims);
        self.main.remove(slots, &mut self.victims);
        self.meta.remove(slots, &mut self.victims);
        if slots.is_none() {
            self.ghost = Ghost::new();
        }
    }

    /// What was evicted, to be handed on once the lock is given up; nothing while it is less than `least` bytes.
    pub(super) fn take_victims(&mut self, least: usize) -> Victims {
        if self.victims.bytes() < least { Victims::default() } else { std::mem::take(&mut self.victims) }
    }
}
