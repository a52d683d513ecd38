//! The fence index: partitions that lead to blocks, and the top index that leads to partitions; drawn in `format.rs`.
//!
//! Both are searched alike: the first eight bytes of every separator behind what all of them share are a u64 array,
//! searched without branches; whole separators are touched only where fences tie.
//!
//! - I1  The first separator that is not below a key belongs to the first block whose last key is not below it.
//!
//! Threads: plain data. Failure: `Corruption` from `validate` and `decode`, nothing elsewhere.

use super::filter::{Filter, PROBES_MAX};
use super::format::{
    FILTER_PARTITION_LINES, Handle, INDEX_HEADER_LEN, STORED_BLOCK_MIN, TOP_HEADER_LEN, TRAILER_LEN, lower_bound_wide,
    read_u16, read_u32, read_u64, strip,
};
use crate::base::codec::Reader;
use crate::base::key::{KEY_LEN_MAX, common_prefix_len, prefix_u64};
use crate::error::{Code, Error, Result};

const WIDE_ENDS: u8 = 1;
const WIDE_OFFSETS: u8 = 2;

/// Where the columns of an index partition lie in its frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IndexLayout {
    /// Blocks.
    pub count: usize,
    /// Number of the first.
    pub first_block: u32,
    data_at: u64,
    flags: u8,
    common_len: usize,
    fences_at: usize,
    ends_at: usize,
    offsets_at: usize,
    separators_at: usize,
}

impl IndexLayout {
    /// The layout of a partition whose header lies within `bytes`.
    #[inline(always)]
    pub(super) fn parse(bytes: &[u8]) -> IndexLayout {
        let header = &bytes[..INDEX_HEADER_LEN];
        let count = read_u32(header, 0) as usize;
        let flags = header[16];
        let common_len = read_u32(header, 20) as usize;
        // Counts are u32 and this is a 64-bit target: no sum below can overflow.
        let fences_at = INDEX_HEADER_LEN + common_len;
        let ends_at = fences_at + 8 * count;
        let offsets_at = ends_at + if flags & WIDE_ENDS != 0 { 8 } else { 4 } * count;
        let separators_at = offsets_at + if flags & WIDE_OFFSETS != 0 { 4 } else { 2 } * (count + 1);
        IndexLayout {
            count,
            first_block: read_u32(header, 4),
            data_at: read_u64(header, 8),
            flags,
            common_len,
            fences_at,
            ends_at,
            offsets_at,
            separators_at,
        }
    }

    /// Checks a partition of `len` bytes at the start of `bytes` against what the top index says of it.
    pub(super) fn validate(
        bytes: &[u8],
        len: usize,
        first_block: u32,
        blocks: u32,
        data: (u64, u64),
    ) -> Result<IndexLayout> {
        let bad = |what: String| Error::corruption(format!("index partition: {what}"));
        if len < INDEX_HEADER_LEN || bytes.len() < len {
            return Err(bad("shorter than its header".into()));
        }
        if bytes[16] & !(WIDE_ENDS | WIDE_OFFSETS) != 0 || bytes[17..20] != [0; 3] {
            return Err(Error::new(Code::Version, "index partition: unknown flags"));
        }
        let layout = IndexLayout::parse(bytes);
        if layout.first_block != first_block || layout.count != blocks as usize || layout.data_at != data.0 {
            return Err(bad(format!(
                "blocks {}+{} at {}, expected {first_block}+{blocks} at {}",
                layout.first_block, layout.count, layout.data_at, data.0
            )));
        }
        if layout.count == 0 || layout.separators_at > len || layout.common_len > KEY_LEN_MAX {
            return Err(bad("columns run past its end".into()));
        }
        let mut end = 0;
        let mut offset = 0;
        if layout.offset(bytes, 0) != 0 || layout.offset(bytes, layout.count) != len - layout.separators_at {
            return Err(bad("the separators do not fill it".into()));
        }
        for i in 0..layout.count {
            let next = layout.end(bytes, i);
            if next < end || next - end < STORED_BLOCK_MIN as u64 || next - end > u64::from(u32::MAX) {
                return Err(bad(format!("block {i} ends at {next}, begins at {end}")));
            }
            end = next;
            let next = layout.offset(bytes, i + 1);
            if next < offset || next - offset > KEY_LEN_MAX - layout.common_len {
                return Err(bad(format!("separator {i} ends at {next}, begins at {offset}")));
            }
            offset = next;
        }
        if data.0.checked_add(end) != Some(data.1) {
            return Err(bad(format!("its blocks end at {}+{end}, expected {}", data.0, data.1)));
        }
        Ok(layout)
    }

    #[inline(always)]
    fn end(&self, bytes: &[u8], i: usize) -> u64 {
        if self.flags & WIDE_ENDS != 0 {
            read_u64(bytes, self.ends_at + 8 * i)
        } else {
            u64::from(read_u32(bytes, self.ends_at + 4 * i))
        }
    }

    #[inline(always)]
    fn offset(&self, bytes: &[u8], i: usize) -> usize {
        if self.flags & WIDE_OFFSETS != 0 {
            read_u32(bytes, self.offsets_at + 4 * i) as usize
        } else {
            usize::from(read_u16(bytes, self.offsets_at + 2 * i))
        }
    }

    /// Where the `i`th block of the partition lies.
    #[inline]
    pub(super) fn handle(&self, bytes: &[u8], i: usize) -> Handle {
        let start = if i == 0 { 0 } else { self.end(bytes, i - 1) };
        Handle { offset: self.data_at + start, len: (self.end(bytes, i) - start) as u32 }
    }

    fn separator<'a>(&self, bytes: &'a [u8], i: usize) -> &'a [u8] {
        &bytes[self.separators_at + self.offset(bytes, i)..self.separators_at + self.offset(bytes, i + 1)]
    }

    /// Appends the whole `i`th separator.
    pub(super) fn separator_into(&self, bytes: &[u8], i: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&bytes[INDEX_HEADER_LEN..self.fences_at]);
        out.extend_from_slice(self.separator(bytes, i));
    }

    /// Which block of the partition may hold `key` (the first, if a key spans several), or where it would follow.
    #[inline(always)]
    pub(super) fn find(&self, bytes: &[u8], key: &[u8]) -> Option<usize> {
        let common = &bytes[INDEX_HEADER_LEN..self.fences_at];
        let fences = bytes[self.fences_at..self.ends_at].as_chunks::<8>().0;
        find(common, fences, key, |i| self.separator(bytes, i))
    }
}

/// The first separator that is not below `key`.
#[inline(always)]
fn find<'a>(common: &[u8], fences: &[[u8; 8]], key: &[u8], separator: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
    let Some(rest) = strip(key, common) else {
        return if key < common && !fences.is_empty() { Some(0) } else { None };
    };
    let wanted = prefix_u64(rest);
    let first = lower_bound_wide(fences, wanted);
    if first == fences.len() {
        return None;
    }
    if u64::from_le_bytes(fences[first]) != wanted || separator(first) >= rest {
        return Some(first);
    }
    let ties = fences[first..].partition_point(|f| u64::from_le_bytes(*f) == wanted);
    let (mut low, mut high) = (first + 1, first + ties);
    while low < high {
        let middle = (low + high) / 2;
        if separator(middle) < rest { low = middle + 1 } else { high = middle }
    }
    (low < fences.len()).then_some(low)
}

/// Collects the blocks of one partition.
#[derive(Default)]
pub(super) struct IndexBuilder {
    first_block: u32,
    data_at: u64,
    ends: Vec<u64>,
    separators: Vec<u8>,
    separator_ends: Vec<u32>,
}

impl IndexBuilder {
    /// Blocks so far.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the partition if it ended now, about.
    pub(super) fn estimated_len(&self) -> usize {
        INDEX_HEADER_LEN + self.count() * 14 + self.separators.len()
    }

    /// Appends the block number `block`, which lies at `handle`.
    pub(super) fn add(&mut self, block: u32, handle: Handle, separator: &[u8]) {
        if self.ends.is_empty() {
            self.first_block = block;
            self.data_at = handle.offset;
        }
        self.ends.push(handle.end() - self.data_at);
        self.separators.extend_from_slice(separator);
        self.separator_ends.push(self.separators.len() as u32);
    }

    /// Lays the partition out behind `out` and starts the next; says what the top index must know.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> PartitionSummary {
        let separators = split(&self.separators, &self.separator_ends);
        let common = common(&separators);
        let wide_ends = self.ends.last().is_some_and(|end| *end > u64::from(u32::MAX));
        let rest_len = self.separators.len() - common.len() * separators.len();
        let wide_offsets = rest_len > 0xffff;
        out.extend_from_slice(&(separators.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.first_block.to_le_bytes());
        out.extend_from_slice(&self.data_at.to_le_bytes());
        out.push((u8::from(wide_ends) * WIDE_ENDS) | (u8::from(wide_offsets) * WIDE_OFFSETS));
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(&(common.len() as u32).to_le_bytes());
        out.extend_from_slice(common);
        for separator in &separators {
            out.extend_from_slice(&prefix_u64(&separator[common.len()..]).to_le_bytes());
        }
        for end in &self.ends {
            out.extend_from_slice(&end.to_le_bytes()[..if wide_ends { 8 } else { 4 }]);
        }
        put_offsets(out, &separators, common.len(), if wide_offsets { 4 } else { 2 });
        let summary = PartitionSummary {
            first_block: self.first_block,
            data_at: self.data_at,
            len: 0,
            separator: separators.last().map(|s| s.to_vec()).unwrap_or_default(),
        };
        self.ends.clear();
        self.separators.clear();
        self.separator_ends.clear();
        summary
    }
}

fn split<'a>(bytes: &'a [u8], ends: &[u32]) -> Vec<&'a [u8]> {
    let mut start = 0;
    ends.iter()
        .map(|end| {
            let piece = &bytes[start..*end as usize];
            start = *end as usize;
            piece
        })
        .collect()
}

/// What ascending `separators` begin with.
fn common<'a>(separators: &[&'a [u8]]) -> &'a [u8] {
    match (separators.first(), separators.last()) {
        (Some(first), Some(last)) => &first[..common_prefix_len(first, last)],
        _ => &[],
    }
}

fn put_offsets(out: &mut Vec<u8>, separators: &[&[u8]], common_len: usize, width: usize) {
    let mut end = 0u32;
    out.extend_from_slice(&end.to_le_bytes()[..width]);
    for separator in separators {
        end += (separator.len() - common_len) as u32;
        out.extend_from_slice(&end.to_le_bytes()[..width]);
    }
    for separator in separators {
        out.extend_from_slice(&separator[common_len..]);
    }
}

/// A finished index partition, as the top index names it.
#[derive(Clone, Debug)]
pub(super) struct PartitionSummary {
    /// Number of its first block.
    pub first_block: u32,
    /// Offset of its first block.
    pub data_at: u64,
    /// Bytes with the trailer.
    pub len: u32,
    /// Its last separator.
    pub separator: Vec<u8>,
}

/// The top index in memory.
pub(super) struct TopIndex {
    /// Data blocks of the table.
    pub blocks: u32,
    /// Where the data blocks end and the index partitions begin.
    pub index_at: u64,
    /// The filter, if there is one.
    pub filter: Option<Filter>,
    common: Vec<u8>,
    fences: Vec<[u8; 8]>,
    data_at: Vec<u64>,
    first_block: Vec<u32>,
    handles: Vec<Handle>,
    separator_ends: Vec<u32>,
    separators: Vec<u8>,
}

impl TopIndex {
    /// The bytes of a top index.
    pub(super) fn encode(
        partitions: &[PartitionSummary],
        blocks: u32,
        index_at: u64,
        filter: Option<Filter>,
    ) -> Vec<u8> {
        let separators: Vec<&[u8]> = partitions.iter().map(|p| p.separator.as_slice()).collect();
        let common = common(&separators);
        let mut out = Vec::new();
        out.extend_from_slice(&(partitions.len() as u32).to_le_bytes());
        out.extend_from_slice(&blocks.to_le_bytes());
        out.extend_from_slice(&index_at.to_le_bytes());
        out.extend_from_slice(&filter.map_or(0, |f| f.lines).to_le_bytes());
        out.push(filter.map_or(0, |f| f.probes as u8));
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(&(common.len() as u32).to_le_bytes());
        out.extend_from_slice(common);
        separators.iter().for_each(|s| out.extend_from_slice(&prefix_u64(&s[common.len()..]).to_le_bytes()));
        partitions.iter().for_each(|p| out.extend_from_slice(&p.data_at.to_le_bytes()));
        partitions.iter().for_each(|p| out.extend_from_slice(&p.first_block.to_le_bytes()));
        partitions.iter().for_each(|p| out.extend_from_slice(&p.len.to_le_bytes()));
        put_offsets(&mut out, &separators, common.len(), 4);
        out
    }

    /// Reads the top index of a table whose filter partitions end at `filter_end`.
    pub(super) fn decode(bytes: &[u8], filter_end: u64) -> Result<TopIndex> {
        let bad = |what: &str| Error::corruption(format!("top index: {what}"));
        let mut r = Reader::new(bytes, "top index");
        let (partitions, blocks, index_at) = (r.u32()? as usize, r.u32()?, r.u64()?);
        let (lines, probes, zeros) = (r.u32()?, u32::from(r.u8()?), r.take(3)?);
        let common_len = r.u32()? as usize;
        if zeros != [0; 3] || probes > PROBES_MAX || (lines == 0) != (probes == 0) {
            return Err(Error::new(Code::Version, "top index: unknown filter or flags"));
        }
        // 28 bytes a partition follow at least: bounds what is allocated below by the bytes that are there.
        if partitions == 0 || common_len > KEY_LEN_MAX || partitions > (bytes.len() - TOP_HEADER_LEN) / 28 {
            return Err(bad("counts out of range"));
        }
        if u64::from(blocks) > index_at / STORED_BLOCK_MIN as u64 {
            return Err(bad("more blocks than the data has room for"));
        }
        let common = r.take(common_len)?.to_vec();
        let fences = r.take(8 * partitions)?.as_chunks::<8>().0.to_vec();
        let mut data_at = Vec::with_capacity(partitions);
        for _ in 0..partitions {
            data_at.push(r.u64()?);
        }
        let mut first_block = Vec::with_capacity(partitions);
        for _ in 0..partitions {
            first_block.push(r.u32()?);
        }
        let mut handles = Vec::with_capacity(partitions);
        let mut offset = index_at;
        for _ in 0..partitions {
            let len = r.u32()?;
            handles.push(Handle { offset, len });
            offset = offset.checked_add(u64::from(len)).ok_or_else(|| bad("partitions past the end of the file"))?;
        }
        let mut separator_ends = Vec::with_capacity(partitions);
        for _ in 0..=partitions {
            separator_ends.push(r.u32()?);
        }
        let separators = r.rest().to_vec();
        let filter = (lines != 0).then_some(Filter { lines, probes });
        let top = TopIndex {
            blocks,
            index_at,
            filter,
            common,
            fences,
            data_at,
            first_block,
            handles,
            separator_ends,
            separators,
        };
        top.check(offset, filter_end)?;
        Ok(top)
    }

    fn check(&self, index_end: u64, filter_end: u64) -> Result<()> {
        let bad = |what: &str| Error::corruption(format!("top index: {what}"));
        let filter_bytes = self.filter.map_or(0, |f| {
            u64::from(f.lines) * super::format::LINE_BYTES as u64 + u64::from(f.partitions()) * TRAILER_LEN as u64
        });
        if index_end.checked_add(filter_bytes) != Some(filter_end) {
            return Err(bad("index and filter do not fill the room up to the properties"));
        }
        let starts_at_zero = self.data_at.first() == Some(&0) && self.first_block.first() == Some(&0);
        let ascending = self.data_at.is_sorted_by(|a, b| a < b) && self.first_block.is_sorted_by(|a, b| a < b);
        let below = self.data_at.last().is_some_and(|at| *at < self.index_at)
            && self.first_block.last().is_some_and(|first| *first < self.blocks);
        if !(starts_at_zero && ascending && below) || self.handles.iter().any(|h| (h.len as usize) < STORED_BLOCK_MIN) {
            return Err(bad("partitions are out of order"));
        }
        let ends_fill = self.separator_ends.first() == Some(&0)
            && self.separator_ends.last().is_some_and(|end| *end as usize == self.separators.len())
            && self.separator_ends.is_sorted()
            && self.separator_ends.windows(2).all(|w| (w[1] - w[0]) as usize <= KEY_LEN_MAX - self.common.len());
        if ends_fill { Ok(()) } else { Err(bad("separators do not fill it")) }
    }

    /// Index partitions.
    pub(super) fn partitions(&self) -> u32 {
        self.handles.len() as u32
    }

    /// Number of the frame of filter partition `p`.
    #[inline(always)]
    pub(super) fn filter_slot(&self, p: u32) -> u32 {
        self.blocks + self.partitions() + p
    }

    /// Where filter partition `p` lies.
    pub(super) fn filter_handle(&self, filter: Filter, p: u32) -> Handle {
        let full = (FILTER_PARTITION_LINES as usize * super::format::LINE_BYTES + TRAILER_LEN) as u64;
        let start = self.handles.last().map_or(self.index_at, |h| h.end());
        Handle { offset: start + full * u64::from(p), len: (filter.partition_bytes(p) + TRAILER_LEN) as u32 }
    }

    /// Where index partition `p` lies.
    pub(super) fn handle(&self, p: u32) -> Handle {
        self.handles[p as usize]
    }

    /// First block of index partition `p`, and how many it has.
    pub(super) fn blocks_of(&self, p: u32) -> (u32, u32) {
        let first = self.first_block[p as usize];
        let end = self.first_block.get(p as usize + 1).copied().unwrap_or(self.blocks);
        (first, end - first)
    }

    /// Where the blocks of index partition `p` begin and end.
    pub(super) fn data_of(&self, p: u32) -> (u64, u64) {
        let end = self.data_at.get(p as usize + 1).copied().unwrap_or(self.index_at);
        (self.data_at[p as usize], end)
    }

    /// The index partition of block `block`.
    pub(super) fn partition_of(&self, block: u32) -> u32 {
        (self.first_block.partition_point(|first| *first <= block) - 1) as u32
    }

    /// The index partition of the byte at `offset` of the data.
    pub(super) fn partition_at(&self, offset: u64) -> u32 {
        (self.data_at.partition_point(|at| *at <= offset) - 1) as u32
    }

    fn separator(&self, i: usize) -> &[u8] {
        &self.separators[self.separator_ends[i] as usize..self.separator_ends[i + 1] as usize]
    }

    /// The index partition that leads to `key`; `None` behind the last key.
    #[inline(always)]
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        find(&self.common, &self.fences, key, |i| self.separator(i)).map(|p| p as u32)
    }
}
