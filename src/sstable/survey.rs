//! Questions about a whole table: how much lies before a key, where to cut it, whether every byte is sound.
//!
//! Threads: any number at once. Failure: as in `reader`.

use super::ReadMode;
use super::block::BlockLayout;
use super::filter::Filter;
use super::index::IndexLayout;
use super::reader::{LoadedBlock, TableReader};
use crate::base::checksum::Checksum;
use crate::base::key::{EntryKind, key_hash};
use crate::cache::FrameRef;
use crate::error::{Error, Result};

/// Bytes read at a time for the whole-file checksum.
const CHUNK_BYTES: usize = 1 << 20;
/// Every read goes to the file and leaves the cache alone.
const FROM_FILE: ReadMode =
    ReadMode { no_fill_cache: true, verify_checksums: true, readahead_bytes: 0, read_around: false };

/// What a walk over all entries counts and remembers.
#[derive(Default)]
struct Walk {
    entries: u64,
    deletes: u64,
    raw_bytes: u64,
    seqs: Option<(u64, u64)>,
    /// The key before, with the sequence number it had.
    key: Vec<u8>,
    seq: u64,
    next_key: Vec<u8>,
    /// The separator of the block before.
    separator: Vec<u8>,
    continues: bool,
    /// All filter partitions, just checked: 1.25 bytes a key, held so that a small cache does not read them per key.
    filter: Vec<FrameRef>,
}

impl TableReader {
    /// About how many bytes of data lie before `key`.
    pub fn approximate_offset(&self, key: &[u8]) -> Result<u64> {
        let Some(partition) = self.top.find(key) else { return Ok(self.top.index_at) };
        let frame = self.index_partition(partition, ReadMode::default())?;
        let index = IndexLayout::parse(frame.bytes());
        let at = index.find(frame.bytes(), key).unwrap_or(index.count - 1);
        Ok(index.handle(frame.bytes(), at).offset)
    }

    /// Up to `count` keys that cut the table into parts of about equal size, ascending.
    pub fn split_keys(&self, count: usize) -> Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut loaded: Option<(u32, FrameRef)> = None;
        // No more cuts than blocks: there is no separator between two keys of one block.
        let count = count.min(self.top.blocks as usize) as u128;
        for part in 1..=count {
            let target = (u128::from(self.top.index_at) * part / (count + 1)) as u64;
            let p = self.top.partition_at(target);
            let frame = match &loaded {
                Some((at, frame)) if *at == p => frame.clone(),
                _ => self.index_partition(p, ReadMode::default())?,
            };
            let bytes = frame.bytes();
            let index = IndexLayout::parse(bytes);
            let (mut low, mut high) = (0, index.count - 1);
            while low < high {
                let middle = (low + high) / 2;
                if index.handle(bytes, middle).end() <= target { low = middle + 1 } else { high = middle }
            }
            let mut key = Vec::new();
            index.separator_into(bytes, low, &mut key);
            let behind = keys.last().is_none_or(|last| *last < key);
            if behind && key > self.summary().smallest && key < self.summary().largest {
                keys.push(key);
            }
            loaded = Some((p, frame));
        }
        Ok(keys)
    }

    /// Reads and checks every byte.
    pub fn verify(&self) -> Result<()> {
        self.verify_whole(None).map(drop)
    }

    /// Reads and checks every byte: whole-file checksum (against `expected`, the manifest's), every block, order and
    /// counts of the entries, separators, filter, properties. Returns the whole-file checksum.
    pub fn verify_whole(&self, expected: Option<u32>) -> Result<u32> {
        let checksum = self.whole_checksum()?;
        if let Some(expected) = expected
            && checksum != expected
        {
            return Err(Error::corruption(format!(
                "{}: checksum of the whole file {checksum:08x}, expected {expected:08x}",
                self.file.path().display()
            )));
        }
        let mut walk = Walk::default();
        for p in 0..self.top.filter.map_or(0, Filter::partitions) {
            walk.filter.push(self.filter_partition(p, FROM_FILE)?);
        }
        for p in 0..self.top.partitions() {
            let frame = self.index_partition(p, FROM_FILE)?;
            let index = IndexLayout::parse(frame.bytes());
            for i in 0..index.count {
                let block = index.first_block + i as u32;
                let handle = index.handle(frame.bytes(), i);
                let mut separator = Vec::new();
                index.separator_into(frame.bytes(), i, &mut separator);
                if self.top.find(&separator) != Some(p) && !walk.continues {
                    return Err(self.context(
                        &Error::corruption("the top index leads elsewhere"),
                        "block",
                        handle.offset,
                    ));
                }
                let LoadedBlock { frame, layout } = self.data_block(block, handle, FROM_FILE)?;
                self.verify_block(&mut walk, frame.bytes(), &layout, separator)
                    .map_err(|e| self.context(&e, "data block", handle.offset))?;
            }
        }
        self.verify_counts(&walk).map_err(|e| self.context(&e, "properties", self.footer.properties.offset))?;
        Ok(checksum)
    }

    fn whole_checksum(&self) -> Result<u32> {
        let size = self.summary().size;
        let mut chunk = vec![0; CHUNK_BYTES.min(size as usize)];
        let mut checksum = Checksum::new();
        let mut at = 0;
        while at < size {
            let len = (size - at).min(CHUNK_BYTES as u64);
            let part = &mut chunk[..len as usize];
            self.file.read_exact_at(part, at)?;
            checksum = checksum.bytes(part);
            at += len;
        }
        Ok(checksum.finish())
    }

    fn verify_block(&self, walk: &mut Walk, bytes: &[u8], layout: &BlockLayout, separator: Vec<u8>) -> Result<()> {
        let bad = |what: &str, i: usize| Error::corruption(format!("entry {i}: {what}"));
        for i in 0..layout.count {
            walk.next_key.clear();
            layout.key_into(bytes, i, &mut walk.next_key);
            let seq = layout.seq(bytes, i);
            let first = walk.entries == 0;
            let same = !first && walk.next_key == walk.key;
            if !first && (walk.next_key < walk.key || (same && seq >= walk.seq)) {
                return Err(bad("out of order", i));
            }
            if i == 0 && !first && same != walk.continues {
                return Err(bad("the block before says otherwise about its last key", i));
            }
            if i == 0 && !first && !same && walk.next_key <= walk.separator {
                return Err(bad("not above the separator before", i));
            }
            let hash = key_hash(&walk.next_key);
            if layout.find(bytes, &walk.next_key, hash as u8, seq) != Some(i) {
                return Err(bad("not found by its fingerprint", i));
            }
            if !same
                && let Some(filter) = self.top.filter
                && !filter.may_contain(walk.filter[filter.partition_of(hash) as usize].bytes(), hash)
            {
                return Err(bad("not in the filter", i));
            }
            let value = layout.value_range(bytes, i);
            let delete = layout.kind(bytes, i) == EntryKind::Delete;
            if delete && !value.is_empty() {
                return Err(bad("a delete with a value", i));
            }
            walk.deletes += u64::from(delete);
            walk.entries += 1;
            walk.raw_bytes += (walk.next_key.len() + value.len()) as u64;
            walk.seqs = Some(walk.seqs.map_or((seq, seq), |(low, high)| (low.min(seq), high.max(seq))));
            walk.seq = seq;
            std::mem::swap(&mut walk.key, &mut walk.next_key);
            if first && walk.key != self.summary().smallest {
                return Err(bad("not the smallest key of the properties", i));
            }
        }
        walk.continues = layout.flags & super::format::FLAG_CONTINUES != 0;
        if walk.key > separator || (walk.continues && walk.key != separator) {
            return Err(bad("above the separator", layout.count - 1));
        }
        walk.separator = separator;
        Ok(())
    }

    fn verify_counts(&self, walk: &Walk) -> Result<()> {
        let s = self.summary();
        let told = (s.entries, s.deletes, s.raw_bytes, Some((s.smallest_seq.0, s.largest_seq.0)));
        let found = (walk.entries, walk.deletes, walk.raw_bytes, walk.seqs);
        if told != found || walk.key != s.largest || walk.continues {
            return Err(Error::corruption(format!(
                "{told:?} expected, {found:?} found (entries, deletes, bytes, seqs)"
            )));
        }
        Ok(())
    }
}
