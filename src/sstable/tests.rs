//! Test doubles of the table tests: a file in memory, a table made of a model, random numbers.

mod damage;
mod missed;
mod model;
mod speed;

use super::{TableConfig, TableReader, TableSummary, TableWriter};
use crate::base::compress::Compression;
use crate::base::epoch::Retired;
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::base::key::{Entry, EntryKind};
use crate::base::sync::{AtomicBool, AtomicU64, Ordering, RwLock};
use crate::cache::{Cache, CacheConfig};
use crate::error::{Code, Error, Result};
use crate::fs::{File, MappedLog};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(super) const IDENTITY: FileIdentity = FileIdentity { database: 0x1234_5678_9abc, number: FileNumber(7) };

/// A file in memory.
#[derive(Default)]
pub(super) struct MemFile {
    bytes: RwLock<Vec<u8>>,
    reads: AtomicU64,
    /// What was asked for ahead: offset and length.
    pub(super) prefetched: RwLock<Vec<(u64, u64)>>,
    /// Every read fails.
    pub(super) broken: AtomicBool,
}

impl MemFile {
    pub(super) fn with(bytes: Vec<u8>) -> Arc<MemFile> {
        Arc::new(MemFile { bytes: RwLock::new(bytes), ..MemFile::default() })
    }
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.bytes.read().clone()
    }
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::os(libc::EIO, "read"));
        }
        let bytes = self.bytes.read();
        let rest = bytes.get(offset as usize..).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut bytes = self.bytes.write();
        let end = offset as usize + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(buf);
        Ok(())
    }
    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.write_all_at(buf, offset)
    }
    fn sync_data(&self) -> Result<()> {
        Ok(())
    }
    fn start_writeback(&self, _offset: u64, _len: u64) {}
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.bytes.write().resize(len as usize, 0);
        Ok(())
    }
    fn allocate(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }
    fn prefetch(&self, offset: u64, len: u64) {
        self.prefetched.write().push((offset, len));
    }
    fn map_log(&self, _len: u64) -> Result<Box<dyn MappedLog>> {
        Err(Error::new(Code::Unsupported, "no mapping"))
    }
    fn path(&self) -> &Path {
        Path::new("memory/000007.sst")
    }
}

/// Random numbers from a seed (xorshift).
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// What a table should hold.
pub(super) type Model = BTreeMap<(Vec<u8>, Reverse<u64>), (EntryKind, Vec<u8>)>;

pub(super) fn config(block_bytes: usize, compression: Compression, filter_fpr: f64) -> TableConfig {
    TableConfig { block_bytes, compression, filter_fpr, owner: None }
}

pub(super) fn cache(bytes: usize) -> Arc<Cache> {
    Cache::new(CacheConfig { bytes, shards: 1 }, Arc::new(Retired::new()))
}

pub(super) fn write(model: &Model, config: TableConfig) -> (Arc<MemFile>, TableSummary) {
    let file = MemFile::with(Vec::new());
    let mut writer = TableWriter::new(file.clone(), IDENTITY, config);
    for ((key, Reverse(seq)), (kind, value)) in model {
        writer.add(Entry { key, seq: SeqNo(*seq), kind: *kind, value }).expect("in order");
    }
    let estimated = writer.estimated_size();
    let summary = writer.finish().expect("written");
    assert_eq!(summary.size, file.bytes().len() as u64);
    assert!(
        estimated <= summary.size * 3 + 70_000 && summary.size <= estimated * 2 + 70_000,
        "{estimated} {summary:?}"
    );
    (file, summary)
}

pub(super) fn open(file: &Arc<MemFile>, cache_bytes: usize) -> Result<Arc<TableReader>> {
    let size = file.len()?;
    TableReader::open(file.clone(), IDENTITY, size, cache(cache_bytes)).map(Arc::new)
}
