//! L2: the batch format: what the log records and the memtables are filled from.
//!
//!     batch  := entry*
//!     entry  := kind: u8, keyspace: varint, key_len: varint, [value_len: varint], key, [value]
//!               value_len and value only for kinds that carry one (put); kinds in `base::key::EntryKind`
//!
//! Invariants
//! - I1  An entry's key and value are within the limits of `base::key`; checked when it is added and when it is read.
//! - I2  Entry i of a batch whose first sequence number is s has sequence number s + i.
//!
//! Threads: plain values. Failure: a malformed batch is `Corruption` from the reader; the builder refuses with `Invalid`.

use crate::base::codec::{Reader, put_varint};
use crate::base::ids::KeyspaceId;
use crate::base::key::{BATCH_BYTES_MAX, EntryKind, KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::error::{Error, Result};

/// Most entries one batch may hold.
pub const BATCH_COUNT_MAX: u32 = 1 << 30;

/// An encoded batch that grows.
#[derive(Clone, Default, Debug)]
pub struct BatchData {
    bytes: Vec<u8>,
    count: u32,
}

/// One decoded entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// Where it belongs.
    pub keyspace: KeyspaceId,
    /// Put or delete.
    pub kind: EntryKind,
    /// The key.
    pub key: &'a [u8],
    /// The value; empty for a delete.
    pub value: &'a [u8],
}

/// Checks the documented limits.
pub fn check_entry(key: &[u8], value: &[u8]) -> Result<()> {
    if key.len() > KEY_LEN_MAX {
        return Err(Error::invalid(format!("key of {} bytes: the limit is {KEY_LEN_MAX}", key.len())));
    }
    if value.len() > VALUE_LEN_MAX {
        return Err(Error::invalid(format!("value of {} bytes: the limit is {VALUE_LEN_MAX}", value.len())));
    }
    Ok(())
}

/// Appends one entry's encoding.
#[inline]
pub fn encode_entry(out: &mut Vec<u8>, keyspace: KeyspaceId, kind: EntryKind, key: &[u8], value: &[u8]) {
    out.push(kind as u8);
    put_varint(out, u64::from(keyspace.0));
    put_varint(out, key.len() as u64);
    if kind == EntryKind::Put {
        put_varint(out, value.len() as u64);
    }
    out.extend_from_slice(key);
    if kind == EntryKind::Put {
        out.extend_from_slice(value);
    }
}

impl BatchData {
    /// An empty batch.
    pub fn new() -> BatchData {
        BatchData::default()
    }

    /// Adds a put.
    pub fn put(&mut self, keyspace: KeyspaceId, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(keyspace, EntryKind::Put, key, value)
    }

    /// Adds a delete.
    pub fn delete(&mut self, keyspace: KeyspaceId, key: &[u8]) -> Result<()> {
        self.add(keyspace, EntryKind::Delete, key, &[])
    }

    fn add(&mut self, keyspace: KeyspaceId, kind: EntryKind, key: &[u8], value: &[u8]) -> Result<()> {
        check_entry(key, value)?;
        let more = key.len() + value.len() + 16;
        if self.bytes.len() + more > BATCH_BYTES_MAX || self.count >= BATCH_COUNT_MAX {
            return Err(Error::invalid(format!(
                "batch would exceed {BATCH_BYTES_MAX} bytes or {BATCH_COUNT_MAX} entries"
            )));
        }
        self.bytes
            .try_reserve(more)
            .map_err(|_| Error::new(crate::error::Code::NoMem, format!("no memory for {more} more bytes of batch")))?;
        encode_entry(&mut self.bytes, keyspace, kind, key, value);
        self.count += 1;
        Ok(())
    }

    /// Forgets all entries, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Cuts back to an earlier `(bytes, count)`.
    pub fn truncate(&mut self, bytes: usize, count: u32) {
        self.bytes.truncate(bytes);
        self.count = count;
    }

    /// The encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many entries.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// Walks the entries of an encoded batch.
pub struct BatchReader<'a> {
    reader: Reader<'a>,
}

impl<'a> BatchReader<'a> {
    /// Starts at the first entry.
    pub fn new(bytes: &'a [u8]) -> BatchReader<'a> {
        BatchReader { reader: Reader::new(bytes, "batch") }
    }

    /// The next entry, or `None` at the end.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<BatchEntry<'a>>> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let byte = self.reader.u8()?;
        let kind =
            EntryKind::from_byte(byte).ok_or_else(|| Error::corruption(format!("batch: unknown entry kind {byte}")))?;
        let keyspace = self.reader.varint()?;
        let keyspace = u32::try_from(keyspace).map_err(|_| Error::corruption(format!("batch: keyspace {keyspace}")))?;
        let key_len = self.reader.length(KEY_LEN_MAX)?;
        let value_len = if kind == EntryKind::Put { self.reader.length(VALUE_LEN_MAX)? } else { 0 };
        let key = self.reader.take(key_len)?;
        let value = self.reader.take(value_len)?;
        Ok(Some(BatchEntry { keyspace: KeyspaceId(keyspace), kind, key, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_in_order() {
        let mut batch = BatchData::new();
        batch.put(KeyspaceId(0), b"", b"empty key").expect("put");
        batch.put(KeyspaceId(300), b"k", &[0xff; 1000]).expect("put");
        batch.delete(KeyspaceId(7), b"gone").expect("delete");
        let mut reader = BatchReader::new(batch.bytes());
        let first = reader.next_entry().expect("ok").expect("entry");
        assert_eq!((first.keyspace, first.key, first.value), (KeyspaceId(0), &b""[..], &b"empty key"[..]));
        let second = reader.next_entry().expect("ok").expect("entry");
        assert_eq!((second.keyspace, second.value.len()), (KeyspaceId(300), 1000));
        let third = reader.next_entry().expect("ok").expect("entry");
        assert_eq!((third.kind, third.key), (EntryKind::Delete, &b"gone"[..]));
        assert!(reader.next_entry().expect("ok").is_none());
    }

    #[test]
    fn limits_are_refused_and_change_nothing() {
        let mut batch = BatchData::new();
        assert!(batch.put(KeyspaceId(0), &vec![0; KEY_LEN_MAX + 1], b"").is_err());
        assert_eq!((batch.count(), batch.bytes().len()), (0, 0));
        batch.put(KeyspaceId(0), &vec![0; KEY_LEN_MAX], b"").expect("the limit itself fits");
    }

    #[test]
    fn malformed_bytes_are_corruption() {
        for bytes in [&[9u8, 0, 1, 1][..], &[1, 0, 5, 0, 1], &[1], &[2, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]] {
            assert!(BatchReader::new(bytes).next_entry().is_err(), "{bytes:?}");
        }
    }
}
