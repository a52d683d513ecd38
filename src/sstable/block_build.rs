//! Writing a data block: collects entries and lays them out as drawn in `format.rs`.
//!
//! Entries are copied once into columns of their own and once into the payload. A single entry over the block size is
//! laid out straight from the caller's bytes, so that a value of 1 GiB is not held twice.
//!
//! Threads: plain data.

use super::format::{BLOCK_HEADER_LEN, FLAG_CONTINUED, FLAG_VERSIONS};
use crate::base::key::{Entry, common_prefix_len, prefix_u64};

/// Entries of a block, as columns; `keys` and `values` are concatenated, their ends beside them.
#[derive(Clone, Copy)]
struct Columns<'a> {
    keys: &'a [u8],
    key_ends: &'a [u32],
    values: &'a [u8],
    value_ends: &'a [u32],
    seqs: &'a [u64],
    kinds: &'a [u8],
    prints: &'a [u8],
    flags: u8,
    shared_len: usize,
}

/// Collects the entries of one block.
#[derive(Default)]
pub(super) struct BlockBuilder {
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    values: Vec<u8>,
    value_ends: Vec<u32>,
    seqs: Vec<u64>,
    kinds: Vec<u8>,
    prints: Vec<u8>,
    last_start: usize,
    shared_len: usize,
    flags: u8,
}

/// Column bytes of an entry besides key tail and value, about: print, prefix, offset, sequence.
const ENTRY_OVERHEAD: usize = 1 + 8 + 2 + 2;

impl BlockBuilder {
    /// Entries so far.
    pub(super) fn count(&self) -> usize {
        self.seqs.len()
    }

    /// The last key added.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.keys[self.last_start..]
    }

    /// Bytes of the payload if the block ended now, about.
    pub(super) fn estimated_len(&self) -> usize {
        let kept = (self.shared_len + 8) * self.count();
        BLOCK_HEADER_LEN
            + 24
            + self.shared_len
            + ENTRY_OVERHEAD * self.count()
            + self.keys.len().saturating_sub(kept)
            + self.values.len()
    }

    /// Bytes that `entry` would add, about.
    pub(super) fn entry_len(entry: &Entry<'_>) -> usize {
        ENTRY_OVERHEAD + entry.key.len() + entry.value.len()
    }

    /// Appends an entry that sorts behind all others. `same_key`: its key is that of the entry before (which may stand in
    /// the block before).
    pub(super) fn add(&mut self, entry: &Entry<'_>, print: u8, same_key: bool) {
        if self.seqs.is_empty() {
            self.shared_len = entry.key.len();
            self.flags = if same_key { FLAG_CONTINUED } else { 0 };
        } else if same_key {
            self.flags |= FLAG_VERSIONS;
        } else {
            self.shared_len = common_prefix_len(&self.keys[..self.shared_len], entry.key);
        }
        self.last_start = self.keys.len();
        self.keys.extend_from_slice(entry.key);
        self.key_ends.push(self.keys.len() as u32);
        self.values.extend_from_slice(entry.value);
        self.value_ends.push(self.values.len() as u32);
        self.seqs.push(entry.seq.0);
        self.kinds.push(entry.kind as u8);
        self.prints.push(print);
    }

    /// Lays the block out in `payload`, replacing what is there, and starts the next one.
    pub(super) fn finish(&mut self, payload: &mut Vec<u8>) {
        payload.clear();
        Columns {
            keys: &self.keys,
            key_ends: &self.key_ends,
            values: &self.values,
            value_ends: &self.value_ends,
            seqs: &self.seqs,
            kinds: &self.kinds,
            prints: &self.prints,
            flags: self.flags,
            shared_len: self.shared_len,
        }
        .encode(payload);
        self.keys.clear();
        self.key_ends.clear();
        self.values.clear();
        self.value_ends.clear();
        self.seqs.clear();
        self.kinds.clear();
        self.prints.clear();
        self.last_start = 0;
        self.shared_len = 0;
        self.flags = 0;
    }

    /// Lays `entry` out alone in `payload`, which is empty.
    pub(super) fn single(entry: &Entry<'_>, print: u8, same_key: bool, payload: &mut Vec<u8>) {
        Columns {
            keys: entry.key,
            key_ends: &[entry.key.len() as u32],
            values: entry.value,
            value_ends: &[entry.value.len() as u32],
            seqs: &[entry.seq.0],
            kinds: &[entry.kind as u8],
            prints: &[print],
            flags: if same_key { FLAG_CONTINUED } else { 0 },
            shared_len: entry.key.len(),
        }
        .encode(payload);
    }
}

/// Sets flags of a block that is laid out already.
pub(super) fn add_flags(payload: &mut [u8], flags: u8) {
    payload[13] |= flags;
}

fn put_column(out: &mut Vec<u8>, code: u8, values: impl Iterator<Item = u64>) {
    match code {
        0 => {}
        1 => out.extend(values.map(|v| v as u8)),
        2 => values.for_each(|v| out.extend_from_slice(&(v as u16).to_le_bytes())),
        3 => values.for_each(|v| out.extend_from_slice(&(v as u32).to_le_bytes())),
        _ => values.for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
    }
}

fn width_code(max: u64) -> u8 {
    match max {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 3,
        _ => 4,
    }
}

impl Columns<'_> {
    fn suffix(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.key_ends[i - 1] as usize };
        &self.keys[start + self.shared_len..self.key_ends[i] as usize]
    }

    fn value(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.value_ends[i - 1] as usize };
        &self.values[start..self.value_ends[i] as usize]
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let count = self.seqs.len();
        debug_assert!(count > 0 && self.key_ends.len() == count && self.prints.len() == count);
        let base_seq = self.seqs.iter().copied().min().unwrap_or(0);
        let top_seq = self.seqs.iter().copied().max().unwrap_or(0);
        let seq_width = width_code(top_seq - base_seq);
        let kind = if self.kinds.iter().all(|k| *k == self.kinds[0]) { self.kinds[0] } else { 0 };
        let longest = (0..count).map(|i| self.suffix(i).len()).max().unwrap_or(0);
        let constant = (0..count).all(|i| self.suffix(i).len() == longest);
        let length_width = if constant { 0 } else { width_code(longest as u64) };
        let heap_len: usize = (0..count).map(|i| self.suffix(i).len().saturating_sub(8) + self.value(i).len()).sum();
        let offset_width = if heap_len <= 0xffff { 2 } else { 3 };

        out.reserve(BLOCK_HEADER_LEN + self.shared_len + count * 32 + 32 + heap_len);
        out.extend_from_slice(&(count as u32).to_le_bytes());
        out.extend_from_slice(&(self.shared_len as u32).to_le_bytes());
        out.extend_from_slice(&(if constant { longest as u32 } else { 0 }).to_le_bytes());
        out.push((offset_width - 1) | (length_width << 2) | (seq_width << 4));
        out.push(self.flags);
        out.push(kind);
        out.push(0);
        out.extend_from_slice(&base_seq.to_le_bytes());
        out.extend_from_slice(&self.keys[..self.shared_len]);
        out.extend_from_slice(self.prints);
        out.resize(out.len() + count.next_multiple_of(16) - count, 0);
        for i in 0..count {
            out.extend_from_slice(&prefix_u64(self.suffix(i)).to_le_bytes());
        }
        let mut end = 0;
        let offsets = std::iter::once(0).chain((0..count).map(|i| {
            end += (self.suffix(i).len().saturating_sub(8) + self.value(i).len()) as u64;
            end
        }));
        put_column(out, offset_width, offsets);
        put_column(out, length_width, (0..count).map(|i| self.suffix(i).len() as u64));
        put_column(out, seq_width, self.seqs.iter().map(|seq| seq - base_seq));
        if kind == 0 {
            out.extend_from_slice(self.kinds);
        }
        for i in 0..count {
            out.extend_from_slice(self.suffix(i).get(8..).unwrap_or(&[]));
            out.extend_from_slice(self.value(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::SeqNo;
    use crate::base::key::{EntryKind, key_hash};
    use crate::sstable::block::BlockLayout;

    fn put<'a>(key: &'a [u8], seq: u64, value: &'a [u8]) -> Entry<'a> {
        Entry { key, seq: SeqNo(seq), kind: EntryKind::Put, value }
    }

    #[test]
    fn zero_padded_ties_keep_their_order() {
        let keys: [&[u8]; 9] =
            [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0\0\0\0\0\0\0", b"a\0\0\0\0\0\0\0\0", b"a\0\0\0\0\0\0\0\x01", b"b"];
        let mut builder = BlockBuilder::default();
        for (i, key) in keys.iter().enumerate() {
            builder.add(&put(key, i as u64 + 7, key), key_hash(key) as u8, false);
        }
        let mut payload = Vec::new();
        builder.finish(&mut payload);
        let layout = BlockLayout::validate(&payload, 0..payload.len()).expect("valid");
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(layout.find(&payload, key, key_hash(key) as u8, u64::MAX), Some(i));
            assert_eq!(layout.lower_bound(&payload, key), i);
            let mut after = key.to_vec();
            after.push(0);
            assert_eq!(layout.lower_bound(&payload, &after), keys.partition_point(|k| *k < after.as_slice()));
            let mut copy = Vec::new();
            layout.key_into(&payload, i, &mut copy);
            assert_eq!(&copy, key);
            assert_eq!(&payload[layout.value_range(&payload, i)], *key);
        }
    }

    #[test]
    fn versions_are_found_by_bound() {
        let mut builder = BlockBuilder::default();
        for seq in (1..=100u64).rev() {
            builder.add(&put(b"key", seq * 2, &seq.to_le_bytes()), 9, seq != 100);
        }
        let mut payload = Vec::new();
        builder.finish(&mut payload);
        let layout = BlockLayout::validate(&payload, 0..payload.len()).expect("valid");
        for bound in 2..210u64 {
            let i = layout.find(&payload, b"key", 9, bound).expect("visible");
            assert_eq!(layout.seq(&payload, i), (bound / 2 * 2).min(200));
        }
        assert_eq!(layout.find(&payload, b"key", 9, 1), None);
        assert_eq!(layout.lower_bound(&payload, b"key"), 0);
    }
}
