//! Which memtable a record of a segment goes into: an append-only map from keyspace slot to memtable.
//!
//! Invariants
//! - I1  An entry never changes once set: a keyspace changes its memtable only at a segment border.
//!
//! Threads: any. Failure: none.

use crate::base::ids::KeyspaceId;
use crate::base::key::KEYSPACE_COUNT_MAX;
use crate::memtable::MemTable;
use std::sync::{Arc, OnceLock};

const CHUNK: usize = 64;

type Entry = (KeyspaceId, Arc<MemTable>);
type Chunk = Box<[OnceLock<Entry>]>;

/// The routes of one segment.
pub struct Route {
    chunks: Box<[OnceLock<Chunk>]>,
}

impl Route {
    /// No keyspace has a memtable yet.
    pub fn new() -> Route {
        Route { chunks: (0..KEYSPACE_COUNT_MAX / CHUNK).map(|_| OnceLock::new()).collect() }
    }

    /// The memtable of the keyspace `id` in `slot`, if one is attached.
    #[inline]
    pub fn get(&self, slot: usize, id: KeyspaceId) -> Option<&Arc<MemTable>> {
        let (owner, table) = self.chunks.get(slot / CHUNK)?.get()?.get(slot % CHUNK)?.get()?;
        // A slot is used again after a drop; the id tells whose entry this is.
        (*owner == id || crate::base::planted!("route-keyspace-unchecked")).then_some(table)
    }

    /// All memtables.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<MemTable>> {
        let entries = self.chunks.iter().filter_map(OnceLock::get).flatten();
        entries.filter_map(OnceLock::get).map(|(_, table)| table)
    }

    /// Attaches a memtable; false when the slot is taken already.
    pub fn set(&self, slot: usize, id: KeyspaceId, table: Arc<MemTable>) -> bool {
        let chunk = self.chunks[slot / CHUNK].get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        chunk[slot % CHUNK].set((id, table)).is_ok()
    }
}
