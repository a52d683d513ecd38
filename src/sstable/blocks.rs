//! Where a table cursor gets its blocks from: the cache, or the file in growing pieces, up to 256 KiB.
//!
//! Blocks that are missing one after the other are read in pieces; `View::All` reads pieces from the start, past the
//! cache, and shows raw blocks right inside the piece.
//!
//! Threads: one. Failure: nothing is kept of a block that could not be read or is damaged.

use super::ReadMode;
use super::block::BlockLayout;
use super::format::Handle;
use super::index::IndexLayout;
use super::reader::{LoadedBlock, TableReader};
use crate::base::epoch::Guard;
use crate::cache::{FrameBuilder, FrameRef};
use crate::error::Result;
use std::sync::Arc;

/// Bytes of the first piece.
pub(super) const READ_MIN: u32 = 16 << 10;
/// Bytes of the largest piece.
pub(super) const READ_MAX: u32 = 256 << 10;

/// A block of the table.
#[derive(Clone)]
pub(super) struct Place {
    /// Its bytes.
    pub(super) frame: FrameRef,
    /// Where its columns lie.
    pub(super) layout: BlockLayout,
    /// Its number.
    pub(super) block: u32,
}

/// A piece of the file that was read at once.
struct Piece {
    frame: FrameRef,
    at: u64,
    end: u64,
}

/// An index partition.
struct Partition {
    frame: FrameRef,
    layout: IndexLayout,
    number: u32,
}

/// Finds blocks and reads them, ahead if they are wanted in turn.
pub(super) struct Blocks {
    /// The table.
    pub(super) table: Arc<TableReader>,
    mode: ReadMode,
    all: bool,
    partition: Option<Partition>,
    piece: Option<Piece>,
    read_bytes: u32,
    /// The last block that was not in the cache.
    missed: u32,
}

impl Blocks {
    /// Nothing is read yet.
    pub(super) fn new(table: Arc<TableReader>, mode: ReadMode, all: bool, read_bytes: u32) -> Blocks {
        Blocks { table, mode, all, partition: None, piece: None, read_bytes, missed: u32::MAX - 1 }
    }

    fn partition(&mut self, number: u32) -> Result<&Partition> {
        if self.partition.as_ref().is_none_or(|p| p.number != number) {
            // A walk over everything is a job whose inputs are about to go: it leaves the cache alone.
            let frame = if self.all {
                self.table.read_index(number)?
            } else {
                self.table.index_partition(number, self.mode)?
            };
            let layout = IndexLayout::parse(frame.bytes());
            self.partition = Some(Partition { frame, layout, number });
        }
        match &self.partition {
            Some(partition) => Ok(partition),
            None => Err(crate::error::Error::invalid("no index partition")),
        }
    }

    /// The first block that may hold `key`; `None` behind the last key.
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Option<u32>> {
        let Some(number) = self.table.top.find(key) else { return Ok(None) };
        let partition = self.partition(number)?;
        let found = partition.layout.find(partition.frame.bytes(), key);
        Ok(found.map(|at| partition.layout.first_block + at as u32))
    }

    /// The same from the cache alone; `None` when it is not there.
    pub(super) fn find_cached(&self, key: &[u8], guard: &Guard) -> Option<Option<u32>> {
        if !self.may_use_cache() {
            return None;
        }
        let table = &*self.table;
        let Some(number) = table.top.find(key) else { return Some(None) };
        let frame = table.cache.peek(&table.slots, table.top.blocks + number, guard)?;
        let layout = IndexLayout::parse(frame.bytes());
        let found = layout.find(frame.bytes(), key);
        Some(found.map(|at| layout.first_block + at as u32))
    }

    fn handle(&mut self, block: u32) -> Result<Handle> {
        let inside = |p: &Partition| block.wrapping_sub(p.layout.first_block) < p.layout.count as u32;
        let number = match &self.partition {
            Some(p) if inside(p) => p.number,
            _ => self.table.top.partition_of(block),
        };
        let partition = self.partition(number)?;
        let at = (block - partition.layout.first_block) as usize;
        Ok(partition.layout.handle(partition.frame.bytes(), at))
    }

    pub(super) fn load(&mut self, block: u32) -> Result<Place> {
        if self.may_use_cache()
            && let Some(frame) = self.table.cache.get(&self.table.slots, block)
        {
            let layout = BlockLayout::parse(frame.bytes(), 0);
            return Ok(Place { frame, layout, block });
        }
        let LoadedBlock { frame, layout } = self.load_missing(block)?;
        Ok(Place { frame, layout, block })
    }

    fn may_use_cache(&self) -> bool {
        !self.all && !self.mode.verify_checksums
    }

    fn load_missing(&mut self, block: u32) -> Result<LoadedBlock> {
        let handle = self.handle(block)?;
        let up = block == self.missed.wrapping_add(1);
        let down = block.wrapping_add(1) == self.missed;
        self.missed = block;
        let covered = self.piece.as_ref().is_some_and(|p| p.at <= handle.offset && handle.end() <= p.end);
        if !covered {
            if !(self.all || up || down || self.mode.readahead_bytes > 0) {
                self.read_bytes = READ_MIN;
                self.piece = None;
                return self.table.data_block(block, handle, self.mode);
            }
            self.read_piece(handle, down)?;
        }
        let keep = (!self.all && !self.mode.no_fill_cache && !self.mode.verify_checksums).then_some(self.mode);
        match &self.piece {
            Some(piece) => {
                let start = (handle.offset - piece.at) as usize;
                self.table.data_block_in(block, handle, &piece.frame, start..start + handle.len as usize, keep)
            }
            None => self.table.data_block(block, handle, self.mode),
        }
    }

    /// Reads a piece of the file that begins with the block (or ends with it, when walking down).
    fn read_piece(&mut self, handle: Handle, down: bool) -> Result<()> {
        self.piece = None;
        let wanted = if self.mode.readahead_bytes > 0 { self.mode.readahead_bytes } else { self.read_bytes };
        let len = u64::from(wanted.min(4 * READ_MAX)).max(u64::from(handle.len));
        let (at, end) = if down {
            (handle.end().saturating_sub(len), handle.end())
        } else {
            (handle.offset, (handle.offset + len).min(self.table.top.index_at))
        };
        self.read_bytes = (self.read_bytes * 2).min(READ_MAX);
        let mut frame = FrameBuilder::new((end - at) as usize)?;
        self.table.file.read_exact_at(frame.bytes_mut(), at)?;
        if self.all && end < self.table.top.index_at {
            self.table.file.prefetch(end, u64::from(READ_MAX).min(self.table.top.index_at - end));
        }
        self.piece = Some(Piece { frame: frame.freeze(), at, end });
        Ok(())
    }
}
