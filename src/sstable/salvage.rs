//! What is left of a damaged table: every entry of every block that still verifies, in order; for repairs.
//!
//! Where footer, top index and index partitions are sound they say where the blocks lie. Where they are not, blocks are
//! looked for: a block ends where bytes that could be a trailer carry the right checksum over everything since its start,
//! and starts where the one before ended or behind bytes that look like a trailer.
//!
//! Invariants
//! - I1  An entry is handed out only from a block whose checksum holds at its place; keys ascend, sequence numbers of one
//!   key descend, whatever the blocks claim.
//! - I2  Pages that cannot be read count as zeros, so they fail their checksums like other damage.
//! - I3  The search takes time in proportion to the file times a few: it looks only behind what looks like a trailer.
//!
//! Threads: plain functions; the whole file is in memory meanwhile. Failure: no memory, or an error of the visitor.

use super::Owner;
use super::block::BlockLayout;
use super::format::{
    BlockKind, FOOTER_LEN, Footer, Handle, PAYLOAD_MAX, STORED_BLOCK_MIN, TRAILER_LEN, check_block, read_u32, read_u64,
    try_box,
};
use super::index::{IndexLayout, TopIndex};
use super::properties;
use crate::base::checksum::{Checksum, checksum_at, solve};
use crate::base::compress::Compression;
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::base::key::Entry;
use crate::error::{Error, Result};
use crate::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Bytes read at once, and at once where that failed.
const CHUNK_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;
/// How many bytes the search looks at for each byte of the file, and how many at least.
const SEARCH_FACTOR: usize = 64;
const SEARCH_BYTES_MIN: usize = 64 << 20;

/// A part of a table whose entries are lost. Their keys lie above `after` and below or at `upto`; `None`: unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
    /// The last key that is known to come before.
    pub after: Option<Vec<u8>>,
    /// The first key that is known to come behind, or the last that may be lost.
    pub upto: Option<Vec<u8>>,
    /// Why.
    pub reason: String,
}

/// Takes an entry.
pub type Visit<'a> = dyn FnMut(Entry<'_>) -> Result<()> + 'a;

/// A part of the file that data blocks lie in.
enum Region {
    /// One block, of which the index tells the last key it may hold.
    Block(Handle, Vec<u8>),
    /// Blocks that no index tells of, and why.
    Unknown(Range<usize>, String),
}

/// Hands every entry that can still be read to `visit`, and answers what is lost and whose the table is.
pub fn salvage(
    file: &Arc<dyn File>,
    identity: FileIdentity,
    visit: &mut Visit<'_>,
) -> Result<(Vec<LostRange>, Option<Owner>)> {
    let bytes = read_whole(file)?;
    let (regions, owner) = survey(&bytes, identity);
    let budget = SEARCH_BYTES_MIN + SEARCH_FACTOR * bytes.len();
    let mut walk = Walk { bytes: &bytes, identity, visit, last: None, lost: Vec::new(), owner, budget };
    for region in regions {
        match region {
            Region::Block(handle, separator) => walk.block(handle, Some(separator))?,
            Region::Unknown(range, why) => walk.search(range, &why)?,
        }
    }
    Ok((walk.lost, walk.owner))
}

/// A word that may stand for the identity of the database that wrote table `number`: its footer verifies with it, and so do
/// the other structures of the database (only four bytes of the identity show in a checksum). `None`: the footer is damaged.
pub fn guess_database(file: &Arc<dyn File>, number: FileNumber) -> Option<u128> {
    let at = file.len().ok()?.checked_sub(FOOTER_LEN as u64)?;
    let mut bytes = [0u8; FOOTER_LEN];
    file.read_exact_at(&mut bytes, at).ok()?;
    let identity = |word: u32| FileIdentity { database: u128::from(word), number };
    let word = solve(read_u32(&bytes, 60), |word| checksum_at(identity(word), at, &bytes[..60]))?;
    Footer::decode(identity(word), at, &bytes).ok()?;
    Some(u128::from(word))
}

/// All bytes of the file, zeros for what cannot be read.
fn read_whole(file: &Arc<dyn File>) -> Result<Box<[u8]>> {
    let len = usize::try_from(file.len()?).map_err(|_| Error::corruption("a table larger than memory"))?;
    let mut bytes = try_box(len)?;
    for start in (0..len).step_by(CHUNK_BYTES) {
        let chunk = &mut bytes[start..(start + CHUNK_BYTES).min(len)];
        if file.read_exact_at(chunk, start as u64).is_ok() {
            continue;
        }
        for (i, page) in chunk.chunks_mut(PAGE_BYTES).enumerate() {
            if file.read_exact_at(page, (start + i * PAGE_BYTES) as u64).is_err() {
                page.fill(0);
            }
        }
    }
    Ok(bytes)
}

fn slice(bytes: &[u8], handle: Handle) -> Result<&[u8]> {
    let range = usize::try_from(handle.offset).ok().and_then(|start| bytes.get(start..)?.get(..handle.len as usize));
    range.ok_or_else(|| Error::corruption("the file ends before its end"))
}

/// The payload of a block.
fn payload(bytes: &[u8], identity: FileIdentity, handle: Handle, kind: BlockKind) -> Result<Box<[u8]>> {
    let block = slice(bytes, handle)?;
    let stored = check_block(identity, handle.offset, kind, block)?;
    let mut out = try_box(stored.payload_len)?;
    match stored.codec {
        Compression::None => out.copy_from_slice(&block[..stored.stored_len]),
        codec => codec.decompress(&block[..stored.stored_len], &mut out)?,
    }
    Ok(out)
}

/// Where the data blocks lie, as far as footer and index tell, and whose the table is.
fn survey(bytes: &[u8], identity: FileIdentity) -> (Vec<Region>, Option<Owner>) {
    let whole = |why: &Error| vec![Region::Unknown(0..bytes.len(), why.message().to_owned())];
    let footer_at = bytes.len().saturating_sub(FOOTER_LEN);
    let Some(footer) = bytes.last_chunk::<FOOTER_LEN>() else {
        return (whole(&Error::corruption("no room for a footer")), None);
    };
    let footer = match Footer::decode(identity, footer_at as u64, footer) {
        Ok(footer) => footer,
        Err(error) => return (whole(&error), None),
    };
    let told = payload(bytes, identity, footer.properties, BlockKind::Properties);
    let owner = told.ok().and_then(|told| properties::owner(&told));
    let top = payload(bytes, identity, footer.top, BlockKind::Top)
        .and_then(
            |top| if top.len() < super::format::TOP_HEADER_LEN { Err(Error::corruption("too short")) } else { Ok(top) },
        )
        .and_then(|top| TopIndex::decode(&top, footer.properties.offset))
        .map_err(|e| e.context("top index"));
    match top {
        Ok(top) => (regions(bytes, identity, &top), owner),
        Err(error) => (whole(&error), owner),
    }
}

fn regions(bytes: &[u8], identity: FileIdentity, top: &TopIndex) -> Vec<Region> {
    let mut regions = Vec::new();
    for p in 0..top.partitions() {
        let handle = top.handle(p);
        let (first, count) = top.blocks_of(p);
        let (from, to) = top.data_of(p);
        let index = payload(bytes, identity, handle, BlockKind::Index).and_then(|index| {
            IndexLayout::validate(&index, index.len(), first, count, (from, to))?;
            Ok(index)
        });
        match index {
            Ok(index) => {
                let layout = IndexLayout::parse(&index);
                regions.extend((0..layout.count).map(|i| {
                    let mut separator = Vec::new();
                    layout.separator_into(&index, i, &mut separator);
                    Region::Block(layout.handle(&index, i), separator)
                }));
            }
            Err(error) => {
                let clip = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let why = format!("index partition at offset {}: {}", handle.offset, error.message());
                regions.push(Region::Unknown(clip(from)..clip(to), why));
            }
        }
    }
    regions
}

struct Walk<'a, 'v> {
    bytes: &'a [u8],
    identity: FileIdentity,
    visit: &'a mut Visit<'v>,
    /// The last entry handed out.
    last: Option<(Vec<u8>, u64)>,
    lost: Vec<LostRange>,
    owner: Option<Owner>,
    /// Bytes that the search may still look at (I3).
    budget: usize,
}

impl Walk<'_, '_> {
    fn block(&mut self, handle: Handle, separator: Option<Vec<u8>>) -> Result<()> {
        let read = payload(self.bytes, self.identity, handle, BlockKind::Data).and_then(|block| {
            let layout = BlockLayout::validate(&block, 0..block.len())?;
            self.check_order(&block, &layout)?;
            Ok((block, layout))
        });
        match read {
            Ok((block, layout)) => self.entries(&block, &layout),
            Err(error) => {
                let reason = format!("data block at offset {}: {}", handle.offset, error.message());
                self.lose(handle.offset, u64::from(handle.len), separator, reason);
                Ok(())
            }
        }
    }

    fn lose(&mut self, offset: u64, bytes: u64, upto: Option<Vec<u8>>, reason: String) {
        let after = self.last.as_ref().map(|(key, _)| key.clone());
        // Neighbours are one range.
        if let Some(before) = self.lost.last_mut()
            && before.after == after
            && before.offset + before.bytes == offset
        {
            before.bytes += bytes;
            before.upto = upto;
            return;
        }
        self.lost.push(LostRange { offset, bytes, after, upto, reason });
    }

    /// I1, before anything of the block is handed out.
    fn check_order(&self, block: &[u8], layout: &BlockLayout) -> Result<()> {
        let mut last = self.last.clone();
        let mut key = Vec::new();
        for i in 0..layout.count {
            key.clear();
            layout.key_into(block, i, &mut key);
            let seq = layout.seq(block, i);
            if last.as_ref().is_some_and(|(before, older)| *before > key || (*before == key && *older <= seq)) {
                return Err(Error::corruption(format!("entry {i}: out of order")));
            }
            last = Some((key.clone(), seq));
        }
        Ok(())
    }

    fn entries(&mut self, block: &[u8], layout: &BlockLayout) -> Result<()> {
        let mut key = Vec::new();
        for i in 0..layout.count {
            key.clear();
            layout.key_into(block, i, &mut key);
            let seq = layout.seq(block, i);
            if i == 0 {
                self.lost.iter_mut().filter(|l| l.upto.is_none()).for_each(|l| l.upto = Some(key.clone()));
            }
            let value = &block[layout.value_range(block, i)];
            (self.visit)(Entry { key: &key, seq: SeqNo(seq), kind: layout.kind(block, i), value })?;
            self.last = Some((key.clone(), seq));
        }
        Ok(())
    }

    /// Looks for blocks in `range`, which no index describes.
    fn search(&mut self, range: Range<usize>, why: &str) -> Result<()> {
        let mut at = range.start;
        // Where the gap that is being passed began.
        let mut gap = None;
        while at < range.end {
            if let Some((end, kind)) = self.block_at(at, range.end) {
                self.lose_gap(gap.take(), at, why);
                let handle = Handle { offset: at as u64, len: (end - at) as u32 };
                if kind == BlockKind::Data as u8 {
                    self.block(handle, None)?;
                } else if kind == BlockKind::Properties as u8 {
                    let told = payload(self.bytes, self.identity, handle, BlockKind::Properties);
                    self.owner = told.ok().and_then(|told| properties::owner(&told));
                }
                at = end;
                continue;
            }
            gap = gap.or(Some(at));
            at = self.next_start(at + 1, range.end);
        }
        // Behind the last block lies the footer, which holds no entries.
        let end = if range.end == self.bytes.len() { range.end.saturating_sub(FOOTER_LEN) } else { range.end };
        self.lose_gap(gap, end, why);
        Ok(())
    }

    fn lose_gap(&mut self, gap: Option<usize>, end: usize, why: &str) {
        if let Some(start) = gap.filter(|&start| start < end) {
            self.lose(start as u64, (end - start) as u64, None, why.to_owned());
        }
    }

    /// The end and kind of the block that starts at `at`, if one does.
    fn block_at(&mut self, at: usize, limit: usize) -> Option<(usize, u8)> {
        let mut running = Checksum::new();
        let mut hashed = at;
        let mut end = at + STORED_BLOCK_MIN;
        while end <= limit && self.budget > 0 {
            self.budget -= 1;
            let trailer = end - TRAILER_LEN;
            if self.could_end(trailer, trailer - at) {
                running = running.bytes(&self.bytes[hashed..trailer]);
                hashed = trailer;
                let crc = running.clone().bytes(&self.bytes[trailer..trailer + 6]).place(self.identity, at as u64);
                if crc.finish() == read_u32(self.bytes, trailer + 6) {
                    return Some((end, self.bytes[trailer + 1]));
                }
            }
            end += 1;
        }
        None
    }

    /// Whether a trailer may stand at `at` behind so many stored bytes.
    fn could_end(&self, at: usize, stored: usize) -> bool {
        let (codec, kind) = (self.bytes[at], self.bytes[at + 1]);
        let len = read_u32(self.bytes, at + 2) as usize;
        (1..=5).contains(&kind)
            && len <= PAYLOAD_MAX
            && match Compression::from_byte(codec) {
                Some(Compression::None) => len == stored,
                Some(Compression::Lz4) => len > stored && len / 256 <= stored,
                Some(Compression::Zstd) => len > stored,
                None => false,
            }
    }

    /// The next place from `from` on behind what may be the trailer of a data block.
    fn next_start(&self, from: usize, limit: usize) -> usize {
        (from.max(TRAILER_LEN)..limit)
            .find(|&at| {
                let word = read_u64(self.bytes, at - TRAILER_LEN);
                let (codec, kind, len) = (word as u8, (word >> 8) as u8, (word >> 16) as u32);
                kind == BlockKind::Data as u8 && Compression::from_byte(codec).is_some() && (1..16 << 20).contains(&len)
            })
            .unwrap_or(limit)
    }
}
