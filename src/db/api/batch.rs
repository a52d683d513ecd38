//! A batch: operations for keyspaces of one database, written as a whole.

use super::{Db, Keyspace};
use crate::base::codec::Reader;
use crate::base::key::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::batch::BatchData;
use crate::db::state::KeyspaceState;
use crate::db::write::Part;
use crate::error::{Code, Error, Result};
use std::sync::Arc;

/// The value length that marks a delete in the packed form.
pub const PACKED_DELETE: u32 = u32::MAX;

struct Share {
    keyspace: Arc<KeyspaceState>,
    entries: u32,
    payload: usize,
}

/// A batch of writes. One thread at a time.
pub struct Batch {
    db: Db,
    pub(super) data: BatchData,
    shares: Vec<Share>,
}

impl Batch {
    pub(super) fn new(db: Db) -> Batch {
        Batch { db, data: BatchData::new(), shares: Vec::new() }
    }

    /// Adds a put. `Invalid` for a keyspace of another database, `Closed` for a dropped one.
    pub fn put(&mut self, keyspace: &Keyspace, key: &[u8], value: &[u8]) -> Result<()> {
        self.check(keyspace)?;
        self.data.put(keyspace.id(), key, value)?;
        self.book(keyspace, key.len() + value.len());
        Ok(())
    }

    /// Adds a delete.
    pub fn delete(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<()> {
        self.check(keyspace)?;
        self.data.delete(keyspace.id(), key)?;
        self.book(keyspace, key.len());
        Ok(())
    }

    /// Adds `{u32 key_len, u32 value_len, key, value}*`, little-endian; a value length of 0xFFFFFFFF is a delete. All
    /// or nothing.
    pub fn append_packed(&mut self, keyspace: &Keyspace, packed: &[u8]) -> Result<()> {
        self.check(keyspace)?;
        let (bytes, count) = (self.data.bytes().len(), self.data.count());
        let mut payload = 0;
        let result = self.append_entries(keyspace, packed, &mut payload);
        if result.is_err() {
            self.data.truncate(bytes, count);
            return result;
        }
        let added = self.data.count() - count;
        if added > 0 {
            let share = self.share(keyspace);
            share.entries += added;
            share.payload += payload;
        }
        Ok(())
    }

    fn append_entries(&mut self, keyspace: &Keyspace, packed: &[u8], payload: &mut usize) -> Result<()> {
        let mut reader = Reader::new(packed, "packed batch");
        let malformed = |e: Error| Error::invalid(e.message());
        while !reader.is_empty() {
            let key_len = reader.u32().map_err(malformed)? as usize;
            let value_len = reader.u32().map_err(malformed)?;
            let is_delete = value_len == PACKED_DELETE;
            let value_len = if is_delete { 0 } else { value_len as usize };
            if key_len > KEY_LEN_MAX || value_len > VALUE_LEN_MAX {
                return Err(Error::invalid(format!(
                    "packed entry with a key of {key_len} and a value of {value_len} bytes: the limits are {KEY_LEN_MAX} and {VALUE_LEN_MAX}"
                )));
            }
            let key = reader.take(key_len).map_err(malformed)?;
            let value = reader.take(value_len).map_err(malformed)?;
            *payload += key_len + value_len;
            if is_delete {
                self.data.delete(keyspace.id(), key)?;
            } else {
                self.data.put(keyspace.id(), key, value)?;
            }
        }
        Ok(())
    }

    fn check(&self, keyspace: &Keyspace) -> Result<()> {
        if !self.db.same(keyspace.db()) {
            return Err(Error::invalid("the keyspace belongs to another database"));
        }
        keyspace.check()
    }

    fn book(&mut self, keyspace: &Keyspace, payload: usize) {
        let share = self.share(keyspace);
        share.entries += 1;
        share.payload += payload;
    }

    fn share(&mut self, keyspace: &Keyspace) -> &mut Share {
        let at = match self.shares.iter().rposition(|s| s.keyspace.id == keyspace.id()) {
            Some(at) => at,
            None => {
                self.shares.push(Share { keyspace: Arc::clone(keyspace.state()), entries: 0, payload: 0 });
                self.shares.len() - 1
            }
        };
        &mut self.shares[at]
    }

    pub(super) fn parts(&self) -> Result<Vec<Part<'_>>> {
        self.shares
            .iter()
            .map(|share| {
                if share.keyspace.is_dropped() {
                    return Err(Error::new(Code::Closed, "a keyspace of the batch was dropped"));
                }
                Ok(Part { keyspace: &share.keyspace, entries: share.entries, payload: share.payload })
            })
            .collect()
    }

    /// Forgets all operations.
    pub fn clear(&mut self) {
        self.data.clear();
        self.shares.clear();
    }

    /// How many operations.
    pub fn count(&self) -> usize {
        self.data.count() as usize
    }

    /// Bytes of the encoding.
    pub fn bytes(&self) -> usize {
        self.data.bytes().len()
    }

    /// The database it belongs to.
    pub fn db(&self) -> &Db {
        &self.db
    }
}
