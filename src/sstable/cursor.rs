//! A walk over one table: flat, values stay in their frames, the key is put together in a small buffer.
//!
//! - I1  While `valid`, `place` holds the block and `index` the entry shown; key, value, seq and kind are copied out.
//! - I2  `View::Newest`: the entry shown is the newest version of its key at or below the bound.
//! - I3  The key buffer begins with the shared bytes of the current block and is at least 24 bytes longer than the key,
//!   so that its eight-byte pieces can be stored whole.
//!
//! `blocks` brings the blocks.
//!
//! Threads: one. Failure: the cursor is unpositioned and may be sought again.

use super::ReadMode;
use super::block::{BlockLayout, HEAD_LINES};
use super::blocks::{Blocks, Place, READ_MAX, READ_MIN};
use super::format::{FLAG_CONTINUED, FLAG_CONTINUES, FLAG_VERSIONS};
use super::reader::TableReader;
use crate::base::epoch;
use crate::base::ids::SeqNo;
use crate::base::iter::{Cursor, View};
use crate::base::key::{Entry, EntryKind};
use crate::cache::FrameRef;
use crate::error::Result;
use std::ops::Range;
use std::sync::Arc;

/// A walk over one table.
pub struct TableCursor {
    blocks: Blocks,
    /// Largest sequence number shown.
    bound: u64,
    all: bool,
    valid: bool,
    kind: EntryKind,
    seq: u64,
    place: Option<Place>,
    index: usize,
    key: Vec<u8>,
    key_len: usize,
    value: (usize, usize),
    /// A key that is compared across blocks.
    saved: Vec<u8>,
    /// What `aim` found for the seek that follows at once.
    aimed: Option<u32>,
}

impl TableCursor {
    pub(super) fn new(table: Arc<TableReader>, view: View, mode: ReadMode) -> TableCursor {
        let (all, bound) = match view {
            View::All => (true, u64::MAX),
            View::Newest(seq) => (false, seq.0),
        };
        let read_bytes = if all { READ_MAX } else { READ_MIN };
        TableCursor {
            // `missed` is such that no block number is next to it.
            blocks: Blocks::new(table, mode, all, read_bytes),
            bound,
            all,
            valid: false,
            kind: EntryKind::Put,
            seq: 0,
            place: None,
            index: 0,
            key: Vec::new(),
            key_len: 0,
            value: (0, 0),
            saved: Vec::new(),
            aimed: None,
        }
    }

    /// A counted value of the current entry: its frame and range; `None` unless `valid()`.
    pub fn pinned_value(&self) -> Option<(FrameRef, Range<usize>)> {
        let place = self.place.as_ref().filter(|_| self.valid)?;
        Some((place.frame.clone(), self.value.0..self.value.1))
    }

    /// Goes to block `block`; the entry is not chosen yet.
    fn enter(&mut self, block: u32) -> Result<()> {
        if self.place.as_ref().is_some_and(|p| p.block == block) {
            return Ok(());
        }
        self.valid = false;
        let place = self.blocks.load(block)?;
        self.settle_in(place);
        Ok(())
    }

    fn settle_in(&mut self, place: Place) {
        let shared = place.layout.shared(place.frame.bytes());
        if self.key.len() < shared.len() + 32 {
            self.key.resize(shared.len() + 64, 0);
        }
        self.key[..shared.len()].copy_from_slice(shared);
        self.place = Some(place);
    }

    /// Copies out the entry at `index`. The only place that makes the cursor valid.
    #[inline(always)]
    fn show(&mut self) {
        let Some(place) = &self.place else { return };
        let (bytes, layout, i) = (place.frame.bytes(), &place.layout, self.index);
        let (start, end) = layout.heap_range(bytes, i);
        let suffix = layout.suffix_len(bytes, i);
        let shared = layout.shared_len;
        self.key_len = shared + suffix;
        if self.key.len() < self.key_len + 24 {
            grow(&mut self.key, self.key_len);
        }
        if let Some(head) = self.key[shared..].first_chunk_mut::<8>() {
            *head = layout.prefix(bytes, i).to_be_bytes();
        }
        let tail = suffix.saturating_sub(8);
        let to = shared + 8;
        if tail <= 16
            && let Some(from) = bytes.get(start..).and_then(<[u8]>::first_chunk::<16>)
            && let Some(place) = self.key[to..].first_chunk_mut::<16>()
        {
            // Two words whatever the length: what is too much lies behind `key_len` (I3).
            *place = *from;
        } else {
            self.key[to..to + tail].copy_from_slice(&bytes[start..start + tail]);
        }
        self.value = (start + tail, end);
        self.seq = layout.seq(bytes, i);
        self.kind = layout.kind(bytes, i);
        self.valid = true;
    }

    /// Whether the entry at `index` is visible.
    #[inline(always)]
    fn visible(&self) -> bool {
        self.place.as_ref().is_some_and(|p| p.layout.seq(p.frame.bytes(), self.index) <= self.bound)
    }

    fn count(&self) -> usize {
        self.place.as_ref().map_or(0, |p| p.layout.count)
    }

    fn has_flag(&self, flag: u8) -> bool {
        self.place.as_ref().is_some_and(|p| p.layout.flags & flag != 0)
    }

    /// Whether the entries `i` and `j` of the block have the same key.
    fn same(&self, i: usize, j: usize) -> bool {
        self.place.as_ref().is_some_and(|p| p.layout.same_key(p.frame.bytes(), i, j))
    }

    /// To the first entry of the next block; false behind the last one.
    fn next_block(&mut self) -> Result<bool> {
        let Some(block) = self.place.as_ref().map(|p| p.block + 1) else { return Ok(false) };
        if block == self.blocks.table.top.blocks {
            self.valid = false;
            return Ok(false);
        }
        self.enter(block)?;
        self.index = 0;
        // The block behind, if it is there already, is on its way to the processor while this one is walked.
        if !self.all && block + 1 < self.blocks.table.top.blocks {
            self.blocks.table.cache.prefetch(&self.blocks.table.slots, block + 1, HEAD_LINES);
        }
        Ok(true)
    }

    /// To the last entry of the block before; false before the first one.
    fn previous_block(&mut self) -> Result<bool> {
        let block = self.place.as_ref().map_or(0, |p| p.block);
        if block == 0 {
            self.valid = false;
            return Ok(false);
        }
        self.enter(block - 1)?;
        self.index = self.count() - 1;
        Ok(true)
    }

    /// From a first version (or any whose newer ones are not visible) forward to a visible entry, which is shown.
    fn settle_forward(&mut self) -> Result<()> {
        loop {
            while self.index < self.count() {
                if self.visible() {
                    self.show();
                    return Ok(());
                }
                self.index += 1;
            }
            if !self.next_block()? {
                return Ok(());
            }
        }
    }

    /// Forward past all versions of the key at `index`; false behind the last entry.
    fn skip_key_forward(&mut self) -> Result<bool> {
        let versions = self.has_flag(FLAG_VERSIONS);
        self.index += 1;
        while versions && self.index < self.count() && self.same(self.index - 1, self.index) {
            self.index += 1;
        }
        if self.index < self.count() {
            return Ok(true);
        }
        let goes_on = self.has_flag(FLAG_CONTINUES);
        if goes_on {
            self.save_key(self.index - 1);
        }
        if !self.next_block()? {
            return Ok(false);
        }
        if goes_on { self.skip_saved_key() } else { Ok(true) }
    }

    /// Forward past all versions of the saved key, from the first entry of a block; false behind the last entry.
    fn skip_saved_key(&mut self) -> Result<bool> {
        while let Some(place) = &self.place {
            let (bytes, layout) = (place.frame.bytes(), &place.layout);
            while self.index < layout.count && layout.is_key(bytes, self.index, &self.saved) {
                self.index += 1;
            }
            if self.index < layout.count {
                return Ok(true);
            }
            if !self.next_block()? {
                break;
            }
        }
        Ok(false)
    }

    fn save_key(&mut self, i: usize) {
        self.saved.clear();
        if let Some(place) = &self.place {
            place.layout.key_into(place.frame.bytes(), i, &mut self.saved);
        }
    }

    /// Backward past all versions of the key at `index`, to the oldest version of the key before; false before the first.
    fn skip_key_backward(&mut self) -> Result<bool> {
        loop {
            if self.index > 0 {
                self.index -= 1;
                if !self.same(self.index, self.index + 1) {
                    return Ok(true);
                }
                continue;
            }
            let began_before = self.has_flag(FLAG_CONTINUED);
            if !self.previous_block()? {
                return Ok(false);
            }
            if !began_before {
                return Ok(true);
            }
        }
    }

    /// From the oldest version of a key to its newest visible one, or that of a key before; which is shown.
    fn settle_backward(&mut self) -> Result<()> {
        while !self.visible() {
            // The oldest version is not visible: none is.
            if !self.skip_key_backward()? {
                return Ok(());
            }
        }
        loop {
            if self.index > 0 {
                let newer = self.index - 1;
                let place = self.place.as_ref();
                let goes_on = place.is_some_and(|p| {
                    p.layout.same_key(p.frame.bytes(), newer, self.index)
                        && p.layout.seq(p.frame.bytes(), newer) <= self.bound
                });
                if !goes_on {
                    break;
                }
                self.index = newer;
                continue;
            }
            if !self.has_flag(FLAG_CONTINUED) {
                break;
            }
            let Some(here) = self.place.clone() else { break };
            if !self.previous_block()? {
                // The first block claims that a key began before it.
                self.settle_in(here);
                break;
            }
            if !self.visible() && !crate::base::planted!("walk-back-past-the-bound") {
                self.settle_in(here);
                self.index = 0;
                break;
            }
        }
        self.show();
        Ok(())
    }

    fn next_slow(&mut self) -> Result<()> {
        if self.all {
            self.index += 1;
            if self.index >= self.count() && !self.next_block()? {
                return Ok(());
            }
            self.show();
            return Ok(());
        }
        if !self.skip_key_forward()? {
            return Ok(());
        }
        self.settle_forward()
    }

    /// The walk of `TableReader::lookup`: under one pin, with one count taken at its end. `None` when something is not in
    /// the cache; otherwise whether there is such a block.
    fn seek_cached(&mut self, key: &[u8]) -> Option<bool> {
        let guard = epoch::pin();
        let block = match self.aimed.take() {
            Some(block) => block,
            None => match self.blocks.find_cached(key, &guard)? {
                Some(block) => block,
                None => return Some(false),
            },
        };
        let table = &*self.blocks.table;
        let frame = table.cache.peek_ahead(&table.slots, block, HEAD_LINES, &guard)?;
        let layout = BlockLayout::parse(frame.bytes(), 0);
        self.index = layout.lower_bound(frame.bytes(), key);
        if self.index < layout.count {
            layout.prefetch_entry(frame.bytes(), self.index);
        }
        if self.place.as_ref().is_none_or(|p| p.block != block) {
            let frame = frame.to_ref(&guard);
            self.settle_in(Place { frame, layout, block });
        }
        Some(true)
    }

    fn seek_key(&mut self, key: &[u8]) -> Result<bool> {
        self.valid = false;
        if let Some(found) = self.seek_cached(key) {
            return Ok(found);
        }
        let Some(block) = self.blocks.find(key)? else { return Ok(false) };
        self.enter(block)?;
        let Some(place) = &self.place else { return Ok(false) };
        self.index = place.layout.lower_bound(place.frame.bytes(), key);
        Ok(true)
    }

    /// After a failure nothing is shown, and nothing of the block is trusted.
    #[inline(always)]
    fn checked(&mut self, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.valid = false;
            self.place = None;
        }
        result
    }

    fn first(&mut self) -> Result<()> {
        self.valid = false;
        self.enter(0)?;
        self.index = 0;
        self.settle_forward()
    }

    fn last(&mut self) -> Result<()> {
        self.valid = false;
        self.enter(self.blocks.table.top.blocks - 1)?;
        self.index = self.count() - 1;
        self.settle_backward()
    }

    fn ge(&mut self, key: &[u8]) -> Result<()> {
        if self.seek_key(key)? { self.settle_forward() } else { Ok(()) }
    }

    fn lt(&mut self, key: &[u8]) -> Result<()> {
        if !self.seek_key(key)? {
            return self.last();
        }
        if self.index > 0 {
            self.index -= 1;
        } else if !self.previous_block()? {
            return Ok(());
        }
        self.settle_backward()
    }
}

#[cold]
fn grow(key: &mut Vec<u8>, len: usize) {
    key.resize((len + 64).next_power_of_two(), 0);
}

impl Cursor for TableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.aimed = None;
        let result = self.first();
        self.checked(result)
    }

    fn seek_last(&mut self) -> Result<()> {
        debug_assert!(!self.all);
        self.aimed = None;
        let result = self.last();
        self.checked(result)
    }

    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        let result = self.ge(key);
        self.checked(result)
    }

    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        debug_assert!(!self.all);
        let result = self.lt(key);
        self.checked(result)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        debug_assert!(self.valid);
        if let Some(place) = &self.place {
            let i = self.index + 1;
            let simple = self.all || place.layout.flags & FLAG_VERSIONS == 0;
            if i < place.layout.count && simple && place.layout.seq(place.frame.bytes(), i) <= self.bound {
                self.index = i;
                self.show();
                return Ok(());
            }
        }
        let result = self.next_slow();
        self.checked(result)
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        debug_assert!(self.valid && !self.all);
        if let Some(place) = &self.place {
            let flags = place.layout.flags;
            // Entry 0 may have newer versions in the block before.
            let whole = self.index > 1 || (self.index == 1 && flags & FLAG_CONTINUED == 0);
            if whole
                && flags & FLAG_VERSIONS == 0
                && place.layout.seq(place.frame.bytes(), self.index - 1) <= self.bound
            {
                self.index -= 1;
                self.show();
                return Ok(());
            }
        }
        let mut back = || if self.skip_key_backward()? { self.settle_backward() } else { Ok(()) };
        let result = back();
        self.checked(result)
    }

    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    fn aim(&mut self, key: &[u8]) {
        let found = self.blocks.find_cached(key, &epoch::pin()).flatten();
        if let Some(block) = found {
            self.blocks.table.cache.prefetch(&self.blocks.table.slots, block, HEAD_LINES);
        }
        self.aimed = found;
    }

    #[inline]
    fn kind(&self) -> EntryKind {
        self.kind
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        debug_assert!(self.valid);
        let value = match &self.place {
            Some(place) => &place.frame.bytes()[self.value.0..self.value.1],
            None => &[],
        };
        Entry { key: &self.key[..self.key_len], seq: SeqNo(self.seq), kind: self.kind, value }
    }
}
