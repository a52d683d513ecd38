//! The open keyspaces: by name, and a dense slot for each, which routes are indexed by.
//!
//! Threads: any. Lock: `table` (a leaf: nothing is locked under it).

use super::state::KeyspaceState;
use crate::base::ids::KeyspaceId;
use crate::base::key::KEYSPACE_COUNT_MAX;
use crate::base::sync::RwLock;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
struct Table {
    by_name: BTreeMap<Vec<u8>, Arc<KeyspaceState>>,
    slots: Vec<bool>,
}

/// The open keyspaces.
#[derive(Default)]
pub struct Keyspaces {
    table: RwLock<Table>,
}

impl Keyspaces {
    /// Takes a free slot.
    pub fn take_slot(&self) -> Result<usize> {
        let mut table = self.table.write();
        if let Some(free) = table.slots.iter().position(|used| !used) {
            table.slots[free] = true;
            return Ok(free);
        }
        if table.slots.len() >= KEYSPACE_COUNT_MAX {
            return Err(Error::invalid(format!("no more than {KEYSPACE_COUNT_MAX} keyspaces may exist")));
        }
        table.slots.push(true);
        Ok(table.slots.len() - 1)
    }

    /// Gives a slot back.
    pub fn free_slot(&self, slot: usize) {
        self.table.write().slots[slot] = false;
    }

    /// Adds a keyspace.
    pub fn insert(&self, keyspace: Arc<KeyspaceState>) {
        self.table.write().by_name.insert(keyspace.name.clone(), keyspace);
    }

    /// The keyspace `name`.
    pub fn get(&self, name: &[u8]) -> Option<Arc<KeyspaceState>> {
        self.table.read().by_name.get(name).cloned()
    }

    /// The keyspace numbered `id`.
    pub fn by_id(&self, id: KeyspaceId) -> Option<Arc<KeyspaceState>> {
        self.table.read().by_name.values().find(|k| k.id == id).cloned()
    }

    /// Takes a keyspace out; its slot stays taken until `free_slot`.
    pub fn remove(&self, name: &[u8]) -> Option<Arc<KeyspaceState>> {
        self.table.write().by_name.remove(name)
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<KeyspaceState>> {
        self.table.read().by_name.values().cloned().collect()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<Vec<u8>> {
        self.table.read().by_name.keys().cloned().collect()
    }
}
