//! The slots of a table and their frames, under a cache of one shard: what the engine's `cache/mod.rs` and
//! `cache/shard.rs` do to slots, in their order and under the same lock, without queues.

#[path = "../../../src/cache/slots.rs"]
pub mod slots;
pub mod spare;

use crate::base::epoch::{Retired, pin};
use crate::base::sync::{AtomicUsize, Mutex};
use slots::{Frame, FrameBuilder, FrameRef, Slots, Victims};
use spare::SPARES;
use std::sync::Arc;

/// As in the engine's `cache/mod.rs`.
const VICTIM_BYTES_MAX: usize = 64 << 10;

/// A frame with this number.
pub fn frame(id: u8) -> FrameRef {
    let mut builder = FrameBuilder::new(1).expect("memory");
    builder.bytes_mut()[0] = id;
    SPARES.lives[usize::from(id)].begin();
    builder.freeze()
}

/// Looks at a frame and answers its number.
pub fn look(frame: &Frame) -> u8 {
    let id = frame.bytes()[0];
    SPARES.lives[usize::from(id)].look();
    id
}

/// Whether a frame was freed.
pub fn is_freed(id: u8) -> bool {
    SPARES.lives[usize::from(id)].is_over()
}

pub struct Cache {
    shard: Mutex<Victims>,
    pub slots: Arc<Slots>,
    retired: Retired,
}

impl Cache {
    /// An empty one, and a table of one block.
    pub fn new() -> Cache {
        let slots = Slots::new(1, &Arc::new(AtomicUsize::new(0))).expect("memory");
        // Here, and not where two threads would do it.
        let _ = SPARES.lives.len();
        Cache { shard: Mutex::new(Victims::default()), slots, retired: Retired::new() }
    }

    /// Looks at the frame under a pin.
    pub fn peek(&self) -> Option<u8> {
        let guard = pin();
        let frame = self.slots.load(0, &guard)?;
        frame.note_use();
        Some(look(frame))
    }

    /// A count of the frame.
    pub fn get(&self) -> Option<FrameRef> {
        let guard = pin();
        self.slots.load(0, &guard).map(|frame| frame.to_ref(&guard))
    }

    /// What the slot holds then, or the frame itself if it takes none.
    pub fn insert(&self, frame: FrameRef) -> FrameRef {
        let _shard = self.shard.lock();
        let guard = pin();
        if let Some(winner) = self.slots.load(0, &guard) {
            winner.note_use();
            return winner.to_ref(&guard);
        }
        if !self.slots.is_closed() {
            frame.set_uses(0);
            assert!(self.slots.put(0, &frame), "put under the lock");
        }
        frame
    }

    fn unlink(&self) {
        let mut shard = self.shard.lock();
        self.slots.unlink(0, 1, &mut shard);
        let victims = std::mem::take(&mut *shard);
        drop(shard);
        victims.retire(&self.retired);
    }

    /// Empties the slot.
    pub fn evict(&self) {
        self.unlink();
    }

    /// Empties the slot of a table that is being closed.
    pub fn forget(&self) {
        self.slots.close();
        self.unlink();
    }

    /// One turn of the reaper.
    pub fn reap(&self) {
        self.retired.run_once();
    }

    /// The end, after all threads: nothing waits.
    pub fn finish(self) {
        self.reap();
        assert_eq!(self.retired.pending(), 0, "nobody pins, and something waits");
        assert_eq!(Arc::strong_count(&self.slots), 1);
        drop(self.slots);
    }
}
