//! Reading a data block: the layout is drawn in `format.rs`.
//!
//! A block is checked whole by `validate` when it is read from the file; afterwards the searches index its columns
//! without doubt (they are bounds-checked by the language all the same: a mistake here panics, it never reads wild).
//! `BlockLayout` keeps where the columns begin, counted from the start of the *frame*, since a scan may parse a raw block
//! in the middle of a larger read.
//!
//! - I1  Entries are sorted: keys ascending, versions of one key newest first.
//! - I2  Padded prefixes compare like the bytes behind the shared prefix, but for ties.
//!
//! Threads: plain data. Failure: `Corruption` from `validate`, nothing elsewhere.

use super::format::{
    BLOCK_HEADER_LEN, FLAG_CONTINUED, FLAG_CONTINUES, FLAG_VERSIONS, equal, lower_bound_le, read_u16, read_u32,
    read_u64, strip,
};
use super::simd;
use crate::base::ids::SeqNo;
use crate::base::key::{EntryKind, KEY_LEN_MAX, prefix_u64};
use crate::error::{Code, Error, Result};
use std::cmp::Ordering;
use std::ops::Range;

/// Where the columns of a block lie in its frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockLayout {
    /// Entries.
    pub count: usize,
    /// Bytes all keys begin with.
    pub shared_len: usize,
    /// `FLAG_*`.
    pub flags: u8,
    offset_width: u8,
    length_width: u8,
    seq_width: u8,
    /// Kind of all entries, 0 for a column.
    kind: u8,
    suffix_len: usize,
    base_seq: u64,
    shared_at: usize,
    prints_at: usize,
    prefixes_at: usize,
    offsets_at: usize,
    lengths_at: usize,
    seqs_at: usize,
    kinds_at: usize,
    heap_at: usize,
}

#[inline(always)]
fn width_bytes(code: u8) -> usize {
    // 0, 1, 2, 4, 8 bytes for the codes 0 to 4.
    (1usize << code) >> 1
}

/// Entry `i` of the column of width `code` at `at`.
#[inline(always)]
fn column(bytes: &[u8], at: usize, i: usize, code: u8) -> u64 {
    match code {
        0 => 0,
        1 => u64::from(bytes[at + i]),
        2 => u64::from(read_u16(bytes, at + 2 * i)),
        3 => u64::from(read_u32(bytes, at + 4 * i)),
        _ => read_u64(bytes, at + 8 * i),
    }
}

/// Cache lines of a frame to ask for before its block is searched: the columns of a block of some thirty entries then
/// come together with the header instead of one after the other.
pub(super) const HEAD_LINES: usize = 7;

impl BlockLayout {
    /// The layout of the block that begins at `base`; its header lies within `bytes`.
    #[inline(always)]
    pub(super) fn parse(bytes: &[u8], base: usize) -> BlockLayout {
        let header = &bytes[base..base + BLOCK_HEADER_LEN];
        let count = read_u32(header, 0) as usize;
        let shared_len = read_u32(header, 4) as usize;
        let widths = header[12];
        let (offset_width, length_width, seq_width) = ((widths & 3) + 1, (widths >> 2) & 3, (widths >> 4) & 7);
        let kind = header[14];
        // Counts are u32 and this is a 64-bit target: no sum below can overflow.
        let shared_at = base + BLOCK_HEADER_LEN;
        let prints_at = shared_at + shared_len;
        let prefixes_at = prints_at + count.next_multiple_of(16);
        let offsets_at = prefixes_at + 8 * count;
        let lengths_at = offsets_at + width_bytes(offset_width) * (count + 1);
        let seqs_at = lengths_at + width_bytes(length_width) * count;
        let kinds_at = seqs_at + width_bytes(seq_width) * count;
        let heap_at = kinds_at + if kind == 0 { count } else { 0 };
        BlockLayout {
            count,
            shared_len,
            flags: header[13],
            offset_width,
            length_width,
            seq_width,
            kind,
            suffix_len: read_u32(header, 8) as usize,
            base_seq: read_u64(header, 16),
            shared_at,
            prints_at,
            prefixes_at,
            offsets_at,
            lengths_at,
            seqs_at,
            kinds_at,
            heap_at,
        }
    }

    /// Checks everything the searches rely on, in the block that fills `bytes[range]`.
    pub(super) fn validate(bytes: &[u8], range: Range<usize>) -> Result<BlockLayout> {
        let bad = |what: &str| Error::corruption(format!("data block: {what}"));
        let block = &bytes[range.clone()];
        if block.len() < BLOCK_HEADER_LEN {
            return Err(bad("shorter than its header"));
        }
        let (widths, flags, kind) = (block[12], block[13], block[14]);
        let known = flags & !(FLAG_CONTINUED | FLAG_CONTINUES | FLAG_VERSIONS) == 0 && block[15] == 0;
        if !known
            || !matches!(widths & 3, 1 | 2)
            || widths >> 4 > 4
            || (kind != 0 && EntryKind::from_byte(kind).is_none())
        {
            return Err(Error::new(Code::Version, format!("data block: unknown flags {flags:x} {widths:x} {kind}")));
        }
        let layout = BlockLayout::parse(bytes, range.start);
        if layout.count == 0 || layout.heap_at > range.end || layout.shared_len > KEY_LEN_MAX {
            return Err(bad("columns run past its end"));
        }
        if layout.offset(bytes, 0) != 0 || layout.offset(bytes, layout.count) != range.end - layout.heap_at {
            return Err(bad("the heap does not fill it"));
        }
        if layout.base_seq > SeqNo::MAX.0 {
            return Err(bad("a sequence number of more than 56 bits"));
        }
        if !crate::base::planted!("block-structure-unchecked") {
            layout.validate_entries(bytes)?;
        }
        Ok(layout)
    }

    fn validate_entries(&self, bytes: &[u8]) -> Result<()> {
        let bad = |what: &str| Error::corruption(format!("data block: {what}"));
        // The usual block, without a branch an entry: nothing to find fault with.
        let is_usual = self.offset_width == 2
            && self.length_width == 0
            && self.suffix_len <= KEY_LEN_MAX - self.shared_len
            && self.tails_fit(bytes);
        let mut start = 0;
        for i in 0..if is_usual { 0 } else { self.count } {
            let end = self.offset(bytes, i + 1);
            let suffix_len = self.suffix_len(bytes, i);
            if end < start || end - start < suffix_len.saturating_sub(8) || suffix_len > KEY_LEN_MAX - self.shared_len {
                return Err(bad("entry offsets or key lengths out of range"));
            }
            start = end;
        }
        if self.seq_width != 0 {
            for i in 0..self.count {
                let delta = column(bytes, self.seqs_at, i, self.seq_width);
                if delta > SeqNo::MAX.0 - self.base_seq {
                    return Err(bad("a sequence number of more than 56 bits"));
                }
            }
        }
        if self.kind == 0 {
            let kinds = &bytes[self.kinds_at..self.kinds_at + self.count];
            if let Some(byte) = kinds.iter().find(|byte| EntryKind::from_byte(**byte).is_none()) {
                return Err(Error::new(Code::Version, format!("data block: unknown entry kind {byte}")));
            }
        }
        Ok(())
    }

    /// Whether the offsets of a block with keys of one length and 16-bit offsets ascend by at least a key's tail each.
    fn tails_fit(&self, bytes: &[u8]) -> bool {
        let offsets = bytes[self.offsets_at..self.offsets_at + 2 * (self.count + 1)].as_chunks::<2>().0;
        let tail = self.suffix_len.saturating_sub(8) as u32;
        let offset = |word: &[u8; 2]| u32::from(u16::from_le_bytes(*word));
        offsets.iter().zip(&offsets[1..]).fold(true, |fits, (a, b)| fits & (offset(a) + tail <= offset(b)))
    }

    #[inline(always)]
    fn offset(&self, bytes: &[u8], i: usize) -> usize {
        if self.offset_width == 2 {
            read_u16(bytes, self.offsets_at + 2 * i) as usize
        } else {
            read_u32(bytes, self.offsets_at + 4 * i) as usize
        }
    }

    /// What all keys begin with.
    #[inline(always)]
    pub(super) fn shared<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.shared_at..self.shared_at + self.shared_len]
    }

    /// The eight key bytes of entry `i` behind the shared ones.
    #[inline(always)]
    pub(super) fn prefix(&self, bytes: &[u8], i: usize) -> u64 {
        read_u64(bytes, self.prefixes_at + 8 * i)
    }

    /// Length of key `i` behind the shared bytes.
    #[inline(always)]
    pub(super) fn suffix_len(&self, bytes: &[u8], i: usize) -> usize {
        if self.length_width == 0 {
            return self.suffix_len;
        }
        column(bytes, self.lengths_at, i, self.length_width) as usize
    }

    /// Where entry `i` lies in the frame: the key's tail, then the value.
    #[inline(always)]
    pub(super) fn heap_range(&self, bytes: &[u8], i: usize) -> (usize, usize) {
        (self.heap_at + self.offset(bytes, i), self.heap_at + self.offset(bytes, i + 1))
    }

    /// The sequence number of entry `i`.
    #[inline(always)]
    pub(super) fn seq(&self, bytes: &[u8], i: usize) -> u64 {
        self.base_seq + column(bytes, self.seqs_at, i, self.seq_width)
    }

    /// The kind of entry `i`.
    #[inline(always)]
    pub(super) fn kind(&self, bytes: &[u8], i: usize) -> EntryKind {
        let byte = if self.kind == 0 { bytes[self.kinds_at + i] } else { self.kind };
        if byte == EntryKind::Delete as u8 { EntryKind::Delete } else { EntryKind::Put }
    }

    /// The bytes of key `i` behind the shared ones and the prefix.
    #[inline(always)]
    fn tail<'a>(&self, bytes: &'a [u8], i: usize) -> &'a [u8] {
        let (start, _) = self.heap_range(bytes, i);
        &bytes[start..start + self.suffix_len(bytes, i).saturating_sub(8)]
    }

    /// Where the value of entry `i` lies in the frame.
    #[inline(always)]
    pub(super) fn value_range(&self, bytes: &[u8], i: usize) -> Range<usize> {
        let (start, end) = self.heap_range(bytes, i);
        start + self.suffix_len(bytes, i).saturating_sub(8)..end
    }

    /// Appends key `i`.
    pub(super) fn key_into(&self, bytes: &[u8], i: usize, key: &mut Vec<u8>) {
        key.extend_from_slice(self.shared(bytes));
        let head = self.suffix_len(bytes, i).min(8);
        key.extend_from_slice(&self.prefix(bytes, i).to_be_bytes()[..head]);
        key.extend_from_slice(self.tail(bytes, i));
    }

    /// Whether the entries `i` and `j` have the same key.
    #[inline(always)]
    pub(super) fn same_key(&self, bytes: &[u8], i: usize, j: usize) -> bool {
        self.prefix(bytes, i) == self.prefix(bytes, j)
            && self.suffix_len(bytes, i) == self.suffix_len(bytes, j)
            && equal(self.tail(bytes, i), self.tail(bytes, j))
    }

    /// Whether entry `i` has exactly `key`.
    #[inline]
    pub(super) fn is_key(&self, bytes: &[u8], i: usize, key: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(self.shared(bytes)) else { return false };
        self.is_rest(bytes, i, rest, prefix_u64(rest))
    }

    #[inline(always)]
    fn is_rest(&self, bytes: &[u8], i: usize, rest: &[u8], prefix: u64) -> bool {
        self.prefix(bytes, i) == prefix
            && self.suffix_len(bytes, i) == rest.len()
            && (rest.len() <= 8 || equal(self.tail(bytes, i), &rest[8..]))
    }

    /// The newest version of `key` in this block at or below `bound`.
    #[inline(always)]
    pub(super) fn find(&self, bytes: &[u8], key: &[u8], print: u8, bound: u64) -> Option<usize> {
        let rest = key.get(self.shared_len..)?;
        let prefix = prefix_u64(rest);
        let prints = &bytes[self.prints_at..self.prefixes_at];
        let mut at = 0;
        while at < self.count {
            let mut mask = simd::match_mask(&prints[at..], print);
            while mask != 0 {
                let i = at + mask.trailing_zeros() as usize;
                if i >= self.count {
                    break;
                }
                self.prefetch_entry(bytes, i);
                if self.is_rest(bytes, i, rest, prefix)
                    && (self.seq(bytes, i) <= bound || crate::base::planted!("block-ignores-the-bound"))
                    && equal(&key[..self.shared_len], self.shared(bytes))
                {
                    return Some(i);
                }
                mask &= mask - 1;
            }
            at += 64;
        }
        None
    }

    /// Whether more versions of `key` follow in the next block.
    #[inline(always)]
    pub(super) fn goes_on(&self, bytes: &[u8], key: &[u8]) -> bool {
        self.flags & FLAG_CONTINUES != 0 && self.is_key(bytes, self.count - 1, key)
    }

    /// The first entry whose key is not below `key`; `count` if there is none.
    pub(super) fn lower_bound(&self, bytes: &[u8], key: &[u8]) -> usize {
        let shared = self.shared(bytes);
        let Some(rest) = strip(key, shared) else {
            return if key < shared { 0 } else { self.count };
        };
        let prefix = prefix_u64(rest);
        let prefixes = bytes[self.prefixes_at..self.offsets_at].as_chunks::<8>().0;
        let first = lower_bound_le(prefixes, prefix);
        if first == self.count || u64::from_le_bytes(prefixes[first]) != prefix || !self.below(bytes, first, rest) {
            return first;
        }
        // Ties: the keys differ behind the eight bytes, or are versions of one key.
        let ties = prefixes[first..].partition_point(|p| u64::from_le_bytes(*p) == prefix);
        let (mut low, mut high) = (first + 1, first + ties);
        while low < high {
            let middle = (low + high) / 2;
            if self.below(bytes, middle, rest) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether key `i`, whose prefix ties with that of `rest`, lies below it.
    #[inline]
    fn below(&self, bytes: &[u8], i: usize, rest: &[u8]) -> bool {
        let len = self.suffix_len(bytes, i);
        // With equal padded prefixes the one that ends within them begins the other, or equals it.
        let order = if len.min(rest.len()) <= 8 { len.cmp(&rest.len()) } else { self.tail(bytes, i).cmp(&rest[8..]) };
        order == Ordering::Less
    }

    /// Asks for entry `i`, key tail and value: for the lines of a short value at once.
    #[inline(always)]
    pub(super) fn prefetch_entry(&self, bytes: &[u8], i: usize) {
        let (start, end) = self.heap_range(bytes, i);
        simd::prefetch(bytes, start);
        simd::prefetch(bytes, (start + 64).min(end));
        simd::prefetch(bytes, (start + 128).min(end));
    }
}
