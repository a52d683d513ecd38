//! A table taken apart, for people who look into a file: its parts, and every data block in order, also when some are
//! damaged.
//!
//! - I1  A damaged block is told once, with its place, and the walk goes on behind it.
//! - I2  Nothing enters the cache, every byte shown was just read and checked.
//!
//! Threads: any number at once. Failure: damage is part of the answer.

use super::block::BlockLayout;
use super::filter::Filter;
use super::format::{BlockKind, Handle, check_block};
use super::index::IndexLayout;
use super::reader::{TableReader, unpack};
use crate::base::compress::Compression;
use crate::base::ids::SeqNo;
use crate::base::key::EntryKind;
use crate::cache::FrameRef;
use crate::error::{Error, Result};

/// The parts of a table and their sizes in bytes, trailers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableOutline {
    /// Data blocks.
    pub data_blocks: u32,
    /// Their bytes.
    pub data_bytes: u64,
    /// Index partitions.
    pub index_partitions: u32,
    /// Their bytes.
    pub index_bytes: u64,
    /// Filter partitions; 0 without a filter.
    pub filter_partitions: u32,
    /// Their bytes.
    pub filter_bytes: u64,
    /// Offset of the properties.
    pub properties_at: u64,
    /// Offset of the top index.
    pub top_at: u64,
}

/// Where a data block lies and how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Its number, from 0.
    pub number: u32,
    /// Its first byte in the file.
    pub offset: u64,
    /// Stored bytes, trailer included.
    pub len: u32,
}

/// A data block that passed its checks.
pub struct BlockView {
    frame: FrameRef,
    layout: BlockLayout,
    codec: Compression,
    payload_len: usize,
}

impl BlockView {
    /// How many versions it holds; at least one.
    pub fn count(&self) -> usize {
        self.layout.count
    }

    /// How it is stored.
    pub fn codec(&self) -> Compression {
        self.codec
    }

    /// Bytes before compression.
    pub fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// The key of entry `i`, below `count`, put into `key`.
    pub fn key_into(&self, i: usize, key: &mut Vec<u8>) {
        key.clear();
        self.layout.key_into(self.frame.bytes(), i, key);
    }

    /// The sequence number of entry `i`.
    pub fn seq(&self, i: usize) -> SeqNo {
        SeqNo(self.layout.seq(self.frame.bytes(), i))
    }

    /// The kind of entry `i`.
    pub fn kind(&self, i: usize) -> EntryKind {
        self.layout.kind(self.frame.bytes(), i)
    }

    /// The value of entry `i`.
    pub fn value(&self, i: usize) -> &[u8] {
        let bytes = self.frame.bytes();
        &bytes[self.layout.value_range(bytes, i)]
    }
}

/// One step of a walk over the data blocks.
pub enum TablePart {
    /// A block, or why it cannot be read.
    Block(BlockPlace, Result<BlockView>),
    /// An index partition that cannot be read: where its blocks, so many, lie is not known.
    LostIndex {
        /// Number of the first of them.
        first: u32,
        /// How many.
        count: u32,
        /// Why.
        error: Error,
    },
}

impl TableReader {
    /// The parts of the table.
    pub fn outline(&self) -> TableOutline {
        let top = &self.top;
        let partitions =
            |handle: &dyn Fn(u32) -> Handle, count: u32| -> u64 { (0..count).map(|p| u64::from(handle(p).len)).sum() };
        let filter_partitions = top.filter.map_or(0, Filter::partitions);
        TableOutline {
            data_blocks: top.blocks,
            data_bytes: top.index_at,
            index_partitions: top.partitions(),
            index_bytes: partitions(&|p| top.handle(p), top.partitions()),
            filter_partitions,
            filter_bytes: top.filter.map_or(0, |f| partitions(&|p| top.filter_handle(f, p), filter_partitions)),
            properties_at: self.footer.properties.offset,
            top_at: self.footer.top.offset,
        }
    }

    /// Hands every data block to `each`, in order, from the first that may hold `from` (or the first of all), until it
    /// answers false.
    pub fn for_each_block(&self, from: Option<&[u8]>, each: &mut dyn FnMut(TablePart) -> bool) {
        let first = match from.map(|key| self.top.find(key)) {
            None => 0,
            Some(Some(p)) => p,
            Some(None) => return,
        };
        for p in first..self.top.partitions() {
            let frame = match self.read_index(p) {
                Ok(frame) => frame,
                Err(error) => {
                    let (first, count) = self.top.blocks_of(p);
                    if each(TablePart::LostIndex { first, count, error }) {
                        continue;
                    }
                    return;
                }
            };
            let index = IndexLayout::parse(frame.bytes());
            let start = from.filter(|_| p == first).map_or(Some(0), |key| index.find(frame.bytes(), key));
            for i in start.unwrap_or(index.count)..index.count {
                let handle = index.handle(frame.bytes(), i);
                let place = BlockPlace { number: index.first_block + i as u32, offset: handle.offset, len: handle.len };
                if !each(TablePart::Block(place, self.block_view(handle))) {
                    return;
                }
            }
        }
    }

    fn block_view(&self, handle: Handle) -> Result<BlockView> {
        let load = || -> Result<BlockView> {
            let frame = self.read(handle)?;
            let stored = check_block(self.identity, handle.offset, BlockKind::Data, frame.bytes())?;
            let frame = if stored.codec == Compression::None { frame } else { unpack(stored, frame.bytes())? };
            let layout = BlockLayout::validate(frame.bytes(), 0..stored.payload_len)?;
            Ok(BlockView { frame: frame.freeze(), layout, codec: stored.codec, payload_len: stored.payload_len })
        };
        load().map_err(|e| self.context(&e, "data block", handle.offset))
    }
}
