//! Writes one table, front to back, in one pass.
//!
//! Data blocks go out as they fill, through a buffer of 1 MiB; finished index partitions (about half a percent of the
//! data) and eight bytes a key for the filter wait in memory until `finish`. The checksum of the whole file is taken on
//! the way.
//!
//! Threads: one. Failure: the file is incomplete and has no footer; the caller removes it.

use super::block_build::{BlockBuilder, add_flags};
use super::filter::{self, Filter, Hashes};
use super::format::{BlockKind, FLAG_CONTINUES, Footer, Handle, LINE_BYTES, PAYLOAD_MAX, TRAILER_LEN, trailer};
use super::index::{IndexBuilder, PartitionSummary, TopIndex};
use super::{TableConfig, TableSummary, properties};
use crate::base::checksum::Checksum;
use crate::base::compress::Compression;
use crate::base::ids::{FileIdentity, SeqNo};
use crate::base::key::{Entry, EntryKind, KEY_LEN_MAX, VALUE_LEN_MAX, key_hash, separator};
use crate::error::{Error, Result};
use crate::fs::File;
use std::sync::Arc;

/// Bytes collected before a write.
const BUFFER_BYTES: usize = 1 << 20;
/// Bytes between two nudges of the kernel's write-back.
const WRITEBACK_BYTES: u64 = 4 << 20;
/// Target bytes of an index partition: about 200 blocks.
const INDEX_PARTITION_BYTES: usize = 4096;
/// Block sizes outside of these are brought inside.
const BLOCK_BYTES_MIN: usize = 128;
const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Payload buffers larger than this are given back after use.
const SCRATCH_KEEP_BYTES: usize = 4 << 20;

/// The file as it grows: buffered, checksummed, pushed to the disk every few MiB.
struct Output {
    file: Arc<dyn File>,
    identity: FileIdentity,
    buffer: Vec<u8>,
    /// Bytes written before the buffer.
    written: u64,
    nudged: u64,
    checksum: Checksum,
}

impl Output {
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.checksum = std::mem::take(&mut self.checksum).bytes(bytes);
            self.file.write_all_at(bytes, self.written)?;
            self.written += bytes.len() as u64;
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.checksum = std::mem::take(&mut self.checksum).bytes(&self.buffer);
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.nudged >= WRITEBACK_BYTES {
            self.file.start_writeback(self.nudged, self.written - self.nudged);
            self.nudged = self.written;
        }
        Ok(())
    }

    /// Appends a payload and its trailer, compressed into `packed` if that saves enough.
    fn block(&mut self, kind: BlockKind, codec: Compression, payload: &[u8], packed: &mut Vec<u8>) -> Result<Handle> {
        if payload.len() > PAYLOAD_MAX {
            return Err(Error::invalid(format!("a table block of {} bytes", payload.len())));
        }
        packed.clear();
        let (codec, stored) =
            if codec.compress(payload, packed)? { (codec, packed.as_slice()) } else { (Compression::None, payload) };
        let offset = self.offset();
        let trailer = trailer(self.identity, offset, kind, codec, stored, payload.len());
        self.append(stored)?;
        self.append(&trailer)?;
        Ok(Handle { offset, len: (stored.len() + TRAILER_LEN) as u32 })
    }
}

/// A block that is written but whose separator waits for the first key of the next one.
struct PendingBlock {
    handle: Handle,
    last_key: Vec<u8>,
}

/// Writes one table, entries in `View::All` order.
pub struct TableWriter {
    output: Output,
    config: TableConfig,
    block: BlockBuilder,
    /// A block of one large entry, laid out already; its last flag waits for the next key.
    large: Option<Vec<u8>>,
    payload: Vec<u8>,
    packed: Vec<u8>,
    pending: Option<PendingBlock>,
    blocks: u32,
    index: IndexBuilder,
    index_bytes: Vec<u8>,
    partitions: Vec<PartitionSummary>,
    hashes: Hashes,
    filter_bits: f64,
    filter_probes: u32,
    last_key: Vec<u8>,
    last_seq: u64,
    summary: TableSummary,
}

impl TableWriter {
    /// Starts at the beginning of the empty `file`.
    pub fn new(file: Arc<dyn File>, identity: FileIdentity, mut config: TableConfig) -> TableWriter {
        config.block_bytes = config.block_bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        let (filter_bits, filter_probes) =
            if config.filter_fpr > 0.0 { filter::choose(config.filter_fpr) } else { (0.0, 0) };
        TableWriter {
            output: Output {
                file,
                identity,
                buffer: Vec::with_capacity(BUFFER_BYTES),
                written: 0,
                nudged: 0,
                checksum: Checksum::new(),
            },
            config,
            block: BlockBuilder::default(),
            large: None,
            payload: Vec::new(),
            packed: Vec::new(),
            pending: None,
            blocks: 0,
            index: IndexBuilder::default(),
            index_bytes: Vec::new(),
            partitions: Vec::new(),
            hashes: Hashes::default(),
            filter_bits,
            filter_probes,
            last_key: Vec::new(),
            last_seq: 0,
            summary: TableSummary { smallest_seq: SeqNo::MAX, ..TableSummary::default() },
        }
    }

    /// Appends one version. Keys ascend, versions of a key descend; anything else is refused, since it can only come from
    /// damaged inputs.
    pub fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        let same_key = self.check_order(&entry)?;
        let hash = key_hash(entry.key);
        if !same_key {
            if self.filter_probes > 0 {
                self.hashes.push(hash);
            }
            self.last_key.clear();
            self.last_key.extend_from_slice(entry.key);
        }
        self.last_seq = entry.seq.0;
        self.summary.entries += 1;
        self.summary.deletes += u64::from(entry.kind == EntryKind::Delete);
        self.summary.raw_bytes += (entry.key.len() + entry.value.len()) as u64;
        self.summary.smallest_seq = self.summary.smallest_seq.min(entry.seq);
        self.summary.largest_seq = self.summary.largest_seq.max(entry.seq);

        if self.large.is_some() {
            self.end_large(Some((entry.key, same_key)))?;
        }
        let len = BlockBuilder::entry_len(&entry);
        if self.block.count() > 0 && self.block.estimated_len() + len > self.config.block_bytes {
            self.end_block(same_key)?;
        }
        if self.pending.is_some() && self.block.count() == 0 {
            self.name_pending(Some(entry.key));
        }
        if len > self.config.block_bytes.max(4096) {
            let mut payload = Vec::new();
            BlockBuilder::single(&entry, hash as u8, same_key, &mut payload);
            self.large = Some(payload);
        } else {
            self.block.add(&entry, hash as u8, same_key);
        }
        Ok(())
    }

    /// Whether the entry is another version of the key before; an error if it may not follow.
    #[inline]
    fn check_order(&mut self, entry: &Entry<'_>) -> Result<bool> {
        if entry.key.len() > KEY_LEN_MAX || entry.value.len() > VALUE_LEN_MAX || entry.seq > SeqNo::MAX {
            return Err(Error::invalid(format!(
                "a key of {} bytes, a value of {}, sequence number {}",
                entry.key.len(),
                entry.value.len(),
                entry.seq
            )));
        }
        if EntryKind::from_byte(entry.kind as u8).is_none() {
            return Err(Error::invalid(format!("entry kind {:?} in a table", entry.kind)));
        }
        if self.summary.entries == 0 {
            self.summary.smallest = entry.key.to_vec();
            return Ok(false);
        }
        match self.last_key.as_slice().cmp(entry.key) {
            std::cmp::Ordering::Less => Ok(false),
            std::cmp::Ordering::Equal if entry.seq.0 < self.last_seq => Ok(true),
            _ => Err(Error::corruption(format!(
                "{}: entries out of order: a key of {} bytes at sequence {} behind one of {} at {}",
                self.output.file.path().display(),
                entry.key.len(),
                entry.seq,
                self.last_key.len(),
                self.last_seq
            ))),
        }
    }

    /// Writes the block collected so far. `continues`: the entry that comes has the key of the last one.
    fn end_block(&mut self, continues: bool) -> Result<()> {
        let last_key = self.block.last_key().to_vec();
        let mut payload = std::mem::take(&mut self.payload);
        self.block.finish(&mut payload);
        if continues {
            add_flags(&mut payload, FLAG_CONTINUES);
        }
        let result = self.write_data(&payload, last_key);
        self.payload = payload;
        result
    }

    /// Writes the block of one large entry; `next` is the key behind it, and whether it is the same.
    fn end_large(&mut self, next: Option<(&[u8], bool)>) -> Result<()> {
        let Some(mut payload) = self.large.take() else { return Ok(()) };
        // The large entry's key: `last_key` already is the next one's, so it is read back from the block.
        let layout = super::block::BlockLayout::parse(&payload, 0);
        let mut last_key = Vec::new();
        layout.key_into(&payload, 0, &mut last_key);
        if next.is_some_and(|(_, same)| same) {
            add_flags(&mut payload, FLAG_CONTINUES);
        }
        self.write_data(&payload, last_key)?;
        if self.packed.capacity() > SCRATCH_KEEP_BYTES {
            self.packed = Vec::new();
        }
        Ok(())
    }

    fn write_data(&mut self, payload: &[u8], last_key: Vec<u8>) -> Result<()> {
        debug_assert!(self.pending.is_none());
        let handle = self.output.block(BlockKind::Data, self.config.compression, payload, &mut self.packed)?;
        self.pending = Some(PendingBlock { handle, last_key });
        self.blocks = self.blocks.checked_add(1).ok_or_else(|| Error::invalid("a table of more than 2^32 blocks"))?;
        Ok(())
    }

    /// Enters the block before into the index, now that the first key behind it is known.
    fn name_pending(&mut self, next: Option<&[u8]>) {
        let Some(pending) = self.pending.take() else { return };
        let name = match next {
            Some(next) if next > pending.last_key.as_slice() => separator(&pending.last_key, next),
            _ => pending.last_key,
        };
        self.index.add(self.blocks - 1, pending.handle, &name);
        if self.index.estimated_len() >= INDEX_PARTITION_BYTES {
            self.end_partition();
        }
    }

    fn end_partition(&mut self) {
        let start = self.index_bytes.len();
        let mut summary = self.index.finish(&mut self.index_bytes);
        summary.len = (self.index_bytes.len() - start) as u32;
        self.partitions.push(summary);
    }

    /// Bytes the file would have if finished now, about.
    pub fn estimated_size(&self) -> u64 {
        let filter = self.hashes.len() as f64 * self.filter_bits / 8.0;
        let large = self.large.as_ref().map_or(0, Vec::len);
        let waiting = self.block.estimated_len() + large + self.index_bytes.len() + self.index.estimated_len();
        self.output.offset() + waiting as u64 + filter as u64
    }

    /// Versions so far.
    pub fn entries(&self) -> u64 {
        self.summary.entries
    }

    /// Writes index, filter and footer, and syncs the file. The folder is the caller's to sync. A table without entries
    /// is refused.
    pub fn finish(mut self) -> Result<TableSummary> {
        if self.summary.entries == 0 {
            return Err(Error::invalid("a table needs at least one entry"));
        }
        self.end_large(None)?;
        if self.block.count() > 0 {
            self.end_block(false)?;
        }
        self.name_pending(None);
        if self.index.count() > 0 {
            self.end_partition();
        }
        let index_at = self.output.offset();
        self.write_partitions()?;
        let filter = self.write_filter()?;
        self.summary.largest = std::mem::take(&mut self.last_key);
        let bytes = properties::encode(&self.summary, &self.config);
        let properties = self.output.block(BlockKind::Properties, Compression::None, &bytes, &mut self.packed)?;
        let bytes = TopIndex::encode(&self.partitions, self.blocks, index_at, filter);
        let top = self.output.block(BlockKind::Top, Compression::None, &bytes, &mut self.packed)?;
        let footer = Footer { properties, top }.encode(self.output.identity, self.output.offset());
        self.output.append(&footer)?;
        self.output.flush()?;
        if !crate::base::planted!("table-unsynced") {
            self.output.file.sync_data()?;
        }
        self.summary.size = self.output.written;
        self.summary.checksum = self.output.checksum.finish();
        Ok(self.summary)
    }

    fn write_partitions(&mut self) -> Result<()> {
        let bytes = std::mem::take(&mut self.index_bytes);
        let mut start = 0;
        for partition in &mut self.partitions {
            let end = start + partition.len as usize;
            let payload = &bytes[start..end];
            partition.len = self.output.block(BlockKind::Index, Compression::None, payload, &mut self.packed)?.len;
            start = end;
        }
        Ok(())
    }

    fn write_filter(&mut self) -> Result<Option<Filter>> {
        if self.hashes.len() == 0 {
            return Ok(None);
        }
        let hashes = std::mem::take(&mut self.hashes);
        let filter = Filter::for_keys(hashes.len(), self.filter_bits, self.filter_probes);
        let lines = filter.build(hashes.iter());
        drop(hashes);
        let mut rest = lines.as_slice();
        for p in 0..filter.partitions() {
            let (payload, tail) = rest.split_at(filter.partition_bytes(p));
            debug_assert!(payload.len() % LINE_BYTES == 0);
            self.output.block(BlockKind::Filter, Compression::None, payload, &mut self.packed)?;
            rest = tail;
        }
        Ok(Some(filter))
    }
}
