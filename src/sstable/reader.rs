//! An open table: footer, properties and top index in memory; everything else is a frame of the cache.
//!
//! `lookup` answers from frames that are there, without I/O, allocation, lock or count; `get` is the same walk with
//! loading. Blocks are checked (checksum and structure) when they are read from the file, not on cache hits.
//!
//! - I1  A frame in a slot has passed `validate`: the searches trust its columns.
//!
//! Threads: any number at once. Failure: `Corruption` naming file and offset, or the error of the read; nothing is kept.

use super::block::{BlockLayout, HEAD_LINES};
use super::cursor::TableCursor;
use super::filter::lines_at;
use super::format::{
    BlockKind, FOOTER_LEN, Footer, Handle, LINE_BYTES, PAYLOAD_MAX, STORED_BLOCK_MIN, Stored, TOP_HEADER_LEN,
    TRAILER_LEN, check_block, try_box,
};
use super::index::{IndexLayout, TopIndex};
use super::properties::{self, PROPERTIES_MAX};
use super::stretches::Stretches;
use super::{BlockAt, Lookup, Owner, ReadMode, TableSummary, TableValue};
use crate::base::compress::Compression;
use crate::base::epoch::Guard;
use crate::base::ids::{FileIdentity, SeqNo};
use crate::base::iter::View;
use crate::base::sync::{AtomicBool, Ordering};
use crate::cache::{Cache, FrameBuilder, FrameRef, Priority, Slots};
use crate::error::{Code, Error, Result};
use crate::fs::File;
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

/// Bytes read at the end of a file by `open`: most tables have footer, properties and top index in them.
const TAIL_BYTES: u64 = 8192;

/// Packed blocks up to this are read into the thread's buffer.
const SCRATCH_MAX: usize = 64 << 10;

thread_local! {
    /// Where packed blocks are read to. Taken out while it is used.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with `len` bytes that say nothing.
fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [u8]) -> Result<R>) -> Result<R> {
    // A thread that is ending has none left.
    let mut buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if buffer.len() < len {
        let more = len - buffer.len();
        buffer
            .try_reserve_exact(more)
            .map_err(|_| Error::new(Code::NoMem, format!("no memory for a block of {len} bytes")))?;
        buffer.resize(len, 0);
    }
    let answer = f(&mut buffer[..len]);
    let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
    answer
}

/// An open table.
pub struct TableReader {
    pub(super) file: Arc<dyn File>,
    pub(super) identity: FileIdentity,
    pub(super) cache: Arc<Cache>,
    pub(super) slots: Arc<Slots>,
    pub(super) top: TopIndex,
    pub(super) footer: Footer,
    stretches: Stretches,
    /// Whether the data block read last was not packed.
    is_raw: AtomicBool,
    summary: TableSummary,
    owner: Option<Owner>,
}

impl Drop for TableReader {
    fn drop(&mut self) {
        self.cache.forget(&self.slots);
    }
}

/// A block whose bytes lie somewhere in a frame.
pub(super) struct LoadedBlock {
    pub frame: FrameRef,
    pub layout: BlockLayout,
}

/// The end of the file, read at once, and what of it had to be read besides.
struct Tail {
    bytes: Vec<u8>,
    at: u64,
}

impl Tail {
    fn block(&self, file: &dyn File, handle: Handle, most: usize) -> Result<Vec<u8>> {
        let len = handle.len as usize;
        if let Some(start) = handle.offset.checked_sub(self.at)
            && let Some(bytes) = self.bytes.get(start as usize..start as usize + len)
        {
            return Ok(bytes.to_vec());
        }
        if len > most {
            return Err(Error::corruption(format!("a block of {len} bytes at {}", handle.offset)));
        }
        let mut bytes = try_box(len)?;
        file.read_exact_at(&mut bytes, handle.offset)?;
        Ok(bytes.into_vec())
    }
}

impl TableReader {
    /// Reads and checks footer, properties and top-level index. `size` is what the manifest says.
    pub fn open(file: Arc<dyn File>, identity: FileIdentity, size: u64, cache: Arc<Cache>) -> Result<TableReader> {
        let path = file.path().display().to_string();
        Self::open_parts(file, identity, size, cache).map_err(|e| e.context(path))
    }

    fn open_parts(file: Arc<dyn File>, identity: FileIdentity, size: u64, cache: Arc<Cache>) -> Result<TableReader> {
        let len = file.len()?;
        if len != size {
            return Err(Error::corruption(format!("the file has {len} bytes, expected {size}")));
        }
        if size < (FOOTER_LEN + 3 * STORED_BLOCK_MIN) as u64 {
            return Err(Error::corruption(format!("{size} bytes are too few for a table")));
        }
        let at = size.saturating_sub(TAIL_BYTES);
        let mut bytes = vec![0; (size - at) as usize];
        file.read_exact_at(&mut bytes, at)?;
        let footer_at = size - FOOTER_LEN as u64;
        let Some(footer) = bytes.last_chunk::<FOOTER_LEN>() else {
            return Err(Error::corruption("no room for a footer"));
        };
        let footer = Footer::decode(identity, footer_at, footer)?;
        let tail = Tail { bytes, at };
        let block = |handle: Handle, kind, most| -> Result<Vec<u8>> {
            let bytes = tail.block(&*file, handle, most)?;
            decode_meta(identity, handle.offset, kind, bytes)
                .map_err(|e| e.context(format!("block at offset {}", handle.offset)))
        };
        let told = block(footer.properties, BlockKind::Properties, PROPERTIES_MAX)?;
        let (mut summary, owner) = (properties::decode(&told)?, properties::owner(&told));
        summary.size = size;
        let top = block(footer.top, BlockKind::Top, PAYLOAD_MAX)?;
        if top.len() < TOP_HEADER_LEN {
            return Err(Error::corruption("top index: shorter than its header"));
        }
        let top = TopIndex::decode(&top, footer.properties.offset)?;
        let frames =
            u64::from(top.blocks) + u64::from(top.partitions()) + top.filter.map_or(0, |f| f.partitions().into());
        let frames = u32::try_from(frames).map_err(|_| Error::corruption(format!("{frames} blocks")))?;
        let slots = cache.slots(frames)?;
        let (stretches, is_raw) = (Stretches::new(size), AtomicBool::new(false));
        Ok(TableReader { file, identity, cache, slots, top, footer, stretches, is_raw, summary, owner })
    }

    /// Looks `key` up in cached blocks only; any number of threads, no lock, no count.
    #[inline]
    pub fn lookup<'g>(&'g self, key: &[u8], hash: u64, bound: SeqNo, guard: &'g Guard) -> Lookup<'g> {
        if let Some(filter) = self.top.filter {
            let slot = self.top.filter_slot(filter.partition_of(hash));
            let Some(frame) = self.cache.peek(&self.slots, slot, guard) else { return Lookup::NeedBlock(None) };
            if !filter.may_contain(frame.bytes(), hash) {
                return Lookup::Absent;
            }
        }
        let Some(partition) = self.top.find(key) else { return Lookup::Absent };
        let Some(frame) = self.cache.peek(&self.slots, self.top.blocks + partition, guard) else {
            return Lookup::NeedBlock(None);
        };
        let index_bytes = frame.bytes();
        let index = IndexLayout::parse(frame.bytes());
        let Some(at) = index.find(frame.bytes(), key) else { return Lookup::Absent };
        let mut block = index.first_block + at as u32;
        loop {
            let Some(frame) = self.cache.peek_ahead(&self.slots, block, HEAD_LINES, guard) else {
                let is_first = block == index.first_block + at as u32;
                return Lookup::NeedBlock(is_first.then(|| BlockAt { block, handle: index.handle(index_bytes, at) }));
            };
            let bytes = frame.bytes();
            let layout = BlockLayout::parse(bytes, 0);
            if let Some(i) = layout.find(bytes, key, hash as u8, bound.0) {
                return Lookup::Found {
                    seq: SeqNo(layout.seq(bytes, i)),
                    kind: layout.kind(bytes, i),
                    value: &bytes[layout.value_range(bytes, i)],
                    frame,
                };
            }
            block += 1;
            if block == self.top.blocks
                || !layout.goes_on(bytes, key)
                || crate::base::planted!("versions-in-the-next-block-missed")
            {
                return Lookup::Absent;
            }
        }
    }

    /// Prefetches the filter line of `hash` into the processor's cache; a hint.
    #[inline]
    pub fn prefetch_filter(&self, hash: u64, guard: &Guard) {
        if let Some(filter) = self.top.filter
            && let Some(frame) = self.cache.glance(&self.slots, self.top.filter_slot(filter.partition_of(hash)), guard)
        {
            filter.prefetch(frame.bytes(), hash);
        }
    }

    /// Prefetches the head of the block that may hold `key`; a hint, for when other keys are looked up in between.
    #[inline]
    pub fn prefetch_block(&self, key: &[u8], hash: u64, guard: &Guard) {
        let frame_of = |slot| self.cache.glance(&self.slots, slot, guard);
        if let Some(filter) = self.top.filter
            && let Some(frame) = frame_of(self.top.filter_slot(filter.partition_of(hash)))
            && !filter.may_contain(frame.bytes(), hash)
        {
            return;
        }
        if let Some(partition) = self.top.find(key)
            && let Some(frame) = frame_of(self.top.blocks + partition)
        {
            let index = IndexLayout::parse(frame.bytes());
            if let Some(at) = index.find(frame.bytes(), key) {
                self.cache.prefetch(&self.slots, index.first_block + at as u32, HEAD_LINES);
            }
        }
    }

    /// The newest version of `key` at or below `bound` in the block that `lookup` missed. `None`: there is none in that
    /// block, of which `get` knows whether there are more. Unpinned.
    pub fn get_in(
        &self,
        missed: BlockAt,
        key: &[u8],
        hash: u64,
        bound: SeqNo,
        mode: ReadMode,
    ) -> Result<Option<TableValue>> {
        let LoadedBlock { frame, layout } = self.data_block(missed.block, missed.handle, mode)?;
        Ok(value_in(frame, layout, key, hash, bound).ok())
    }

    /// Looks `key` up, reading what is not cached. Unpinned.
    pub fn get(&self, key: &[u8], hash: u64, bound: SeqNo, mode: ReadMode) -> Result<Option<TableValue>> {
        if let Some(filter) = self.top.filter {
            let frame = self.filter_partition(filter.partition_of(hash), mode)?;
            if !filter.may_contain(frame.bytes(), hash) {
                return Ok(None);
            }
        }
        let Some(mut partition) = self.top.find(key) else { return Ok(None) };
        let mut index_frame = self.index_partition(partition, mode)?;
        let mut index = IndexLayout::parse(index_frame.bytes());
        let Some(mut at) = index.find(index_frame.bytes(), key) else { return Ok(None) };
        loop {
            let block = index.first_block + at as u32;
            let LoadedBlock { frame, layout } = self.data_block(block, index.handle(index_frame.bytes(), at), mode)?;
            let frame = match value_in(frame, layout, key, hash, bound) {
                Ok(value) => return Ok(Some(value)),
                Err(frame) => frame,
            };
            if block + 1 == self.top.blocks || !layout.goes_on(frame.bytes(), key) {
                return Ok(None);
            }
            at += 1;
            if at == index.count {
                partition += 1;
                index_frame = self.index_partition(partition, mode)?;
                index = IndexLayout::parse(index_frame.bytes());
                at = 0;
            }
        }
    }

    /// A walk that keeps the table open. `View::All` cursors read ahead and bypass the cache.
    pub fn cursor(self: &Arc<Self>, view: View, mode: ReadMode) -> TableCursor {
        TableCursor::new(Arc::clone(self), view, mode)
    }

    /// What the table holds, from its own properties block. `checksum` is 0: a file cannot hold its own; `verify_whole`
    /// finds it.
    pub fn summary(&self) -> &TableSummary {
        &self.summary
    }

    /// The keyspace that the table says it belongs to; older tables do not say.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// An error about the block at `offset`, with the file's name.
    #[cold]
    pub(super) fn context(&self, error: &Error, what: &str, offset: u64) -> Error {
        error.context(format!("{}: {what} at offset {offset}", self.file.path().display()))
    }

    /// The frame of index partition `p`. It is kept in the cache even for those who do not want their data blocks kept.
    pub(super) fn index_partition(&self, p: u32, mode: ReadMode) -> Result<FrameRef> {
        let slot = self.top.blocks + p;
        if !mode.verify_checksums
            && let Some(frame) = self.cache.get(&self.slots, slot)
        {
            return Ok(frame);
        }
        self.ask_around(self.top.handle(p), mode);
        let frame = self.read_index(p)?;
        Ok(self.keep(slot, frame, Priority::Meta, mode))
    }

    /// The frame of index partition `p`, read from the file and not put into the cache.
    pub(super) fn read_index(&self, p: u32) -> Result<FrameRef> {
        let handle = self.top.handle(p);
        let load = || -> Result<FrameRef> {
            let frame = self.read(handle)?;
            let stored = check_block(self.identity, handle.offset, BlockKind::Index, frame.bytes())?;
            let frame = if stored.codec == Compression::None { frame } else { unpack(stored, frame.bytes())? };
            let (first, count) = self.top.blocks_of(p);
            IndexLayout::validate(frame.bytes(), stored.payload_len, first, count, self.top.data_of(p))?;
            Ok(frame.freeze())
        };
        load().map_err(|e| self.context(&e, "index partition", handle.offset))
    }

    /// The frame of filter partition `p`.
    pub(super) fn filter_partition(&self, p: u32, mode: ReadMode) -> Result<FrameRef> {
        let slot = self.top.filter_slot(p);
        if !mode.verify_checksums
            && let Some(frame) = self.cache.get(&self.slots, slot)
        {
            return Ok(frame);
        }
        let Some(filter) = self.top.filter else { return Err(Error::invalid("a table without a filter")) };
        let handle = self.top.filter_handle(filter, p);
        self.ask_around(handle, mode);
        let load = || -> Result<FrameRef> {
            // The lines begin at a whole cache line of the frame.
            let mut frame = FrameBuilder::new(handle.len as usize + LINE_BYTES)?;
            let at = lines_at(frame.bytes());
            let block = &mut frame.bytes_mut()[at..at + handle.len as usize];
            self.file.read_exact_at(block, handle.offset)?;
            if check_block(self.identity, handle.offset, BlockKind::Filter, block)?.codec != Compression::None {
                return Err(Error::corruption("a compressed filter"));
            }
            Ok(frame.freeze())
        };
        let frame = load().map_err(|e| self.context(&e, "filter partition", handle.offset))?;
        Ok(self.keep(slot, frame, Priority::Meta, mode))
    }

    /// Data block `block`, which lies at `handle`.
    pub(super) fn data_block(&self, block: u32, handle: Handle, mode: ReadMode) -> Result<LoadedBlock> {
        if !mode.verify_checksums
            && let Some(frame) = self.cache.get(&self.slots, block)
        {
            let layout = BlockLayout::parse(frame.bytes(), 0);
            return Ok(LoadedBlock { frame, layout });
        }
        self.ask_around(handle, mode);
        let load = || -> Result<(FrameRef, BlockLayout)> {
            let (frame, payload_len) = self.read_data(handle)?;
            let layout = BlockLayout::validate(frame.bytes(), 0..payload_len)?;
            Ok((frame.freeze(), layout))
        };
        let (frame, layout) = load().map_err(|e| self.context(&e, "data block", handle.offset))?;
        let frame = if mode.no_fill_cache { frame } else { self.keep(block, frame, Priority::Data, mode) };
        Ok(LoadedBlock { frame, layout })
    }

    /// Data block `block`, whose bytes were read as part of `chunk`, at `range` of it.
    pub(super) fn data_block_in(
        &self,
        block: u32,
        handle: Handle,
        chunk: &FrameRef,
        range: Range<usize>,
        keep: Option<ReadMode>,
    ) -> Result<LoadedBlock> {
        let load = || -> Result<LoadedBlock> {
            let bytes = &chunk.bytes()[range.clone()];
            let stored = check_block(self.identity, handle.offset, BlockKind::Data, bytes)?;
            if stored.codec == Compression::None && keep.is_none() {
                let layout = BlockLayout::validate(chunk.bytes(), range.start..range.start + stored.payload_len)?;
                return Ok(LoadedBlock { frame: chunk.clone(), layout });
            }
            let frame = unpack(stored, bytes)?;
            let layout = BlockLayout::validate(frame.bytes(), 0..stored.payload_len)?;
            Ok(LoadedBlock { frame: frame.freeze(), layout })
        };
        let mut loaded = load().map_err(|e| self.context(&e, "data block", handle.offset))?;
        if let Some(mode) = keep {
            loaded.frame = self.keep(block, loaded.frame, Priority::Data, mode);
        }
        Ok(loaded)
    }

    fn ask_around(&self, handle: Handle, mode: ReadMode) {
        if mode.read_around {
            self.stretches.ask_around(&*self.file, handle);
        }
    }

    fn keep(&self, slot: u32, frame: FrameRef, priority: Priority, mode: ReadMode) -> FrameRef {
        // With `verify_checksums` the caller wants the bytes just checked, not those another thread put there.
        if mode.verify_checksums {
            return frame;
        }
        self.cache.insert(&self.slots, slot, frame, priority)
    }

    /// The data block at `handle`, checked and unpacked, and the length of its payload. Packed bytes are read into a
    /// buffer that the thread keeps: the processor has it near, and no allocation is made for them.
    fn read_data(&self, handle: Handle) -> Result<(FrameBuilder, usize)> {
        let check = |bytes: &[u8]| check_block(self.identity, handle.offset, BlockKind::Data, bytes);
        let len = handle.len as usize;
        // Relaxed: a hint, from the block read last.
        if self.is_raw.load(Ordering::Relaxed) || len > SCRATCH_MAX {
            // A raw block stays where it was read to, trailer and all: no copy.
            let frame = self.read(handle)?;
            let stored = check(frame.bytes())?;
            if stored.codec == Compression::None {
                return Ok((frame, stored.payload_len));
            }
            self.is_raw.store(false, Ordering::Relaxed);
            return Ok((unpack(stored, frame.bytes())?, stored.payload_len));
        }
        with_scratch(len, |bytes| {
            self.file.read_exact_at(bytes, handle.offset)?;
            let stored = check(bytes)?;
            if stored.codec == Compression::None {
                self.is_raw.store(true, Ordering::Relaxed);
            }
            Ok((unpack(stored, bytes)?, stored.payload_len))
        })
    }

    pub(super) fn read(&self, handle: Handle) -> Result<FrameBuilder> {
        let mut frame = FrameBuilder::new(handle.len as usize)?;
        self.file.read_exact_at(frame.bytes_mut(), handle.offset)?;
        Ok(frame)
    }
}

/// The newest version of `key` at or below `bound` in a block; the frame back if there is none.
fn value_in(
    frame: FrameRef,
    layout: BlockLayout,
    key: &[u8],
    hash: u64,
    bound: SeqNo,
) -> std::result::Result<TableValue, FrameRef> {
    let bytes = frame.bytes();
    let Some(i) = layout.find(bytes, key, hash as u8, bound.0) else { return Err(frame) };
    let (seq, kind, range) = (SeqNo(layout.seq(bytes, i)), layout.kind(bytes, i), layout.value_range(bytes, i));
    Ok(TableValue { seq, kind, frame, range })
}

/// The payload of a block of properties or top index.
fn decode_meta(identity: FileIdentity, offset: u64, kind: BlockKind, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let stored = check_block(identity, offset, kind, &bytes)?;
    if stored.codec != Compression::None {
        return Ok(unpack(stored, &bytes)?.bytes().to_vec());
    }
    bytes.truncate(bytes.len() - TRAILER_LEN);
    Ok(bytes)
}

pub(super) fn unpack(stored: Stored, bytes: &[u8]) -> Result<FrameBuilder> {
    let mut payload = FrameBuilder::new(stored.payload_len)?;
    stored.codec.decompress(&bytes[..stored.stored_len], payload.bytes_mut())?;
    Ok(payload)
}
