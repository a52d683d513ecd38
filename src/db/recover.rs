//! From the log to memtables at an open: the reading thread decides, others insert.
//!
//!     log -> check and decode -> parcel (entries of one keyspace, copied) -> memtable space -> hand out -> insert
//!            `------------------- the reading thread ------------------------------------'    `- any thread -'
//!
//! Invariants
//! - I1  What is accepted, what is damage and which memtable an entry goes into is decided by the reading thread alone, in
//!   the order of the log; so memtables do not overlap in sequence, and the first error is the first in the log.
//! - I2  A parcel that is handed out cannot fail: its space is set aside. Versions of one key may arrive in any order, the
//!   memtable orders them by sequence number.
//! - I3  Nothing is shown before every parcel is inserted: the threads are joined first.
//!
//! Threads: the reading one and up to three of ours, which end with the call; none for a short log. Failure: the error is
//! answered, what was inserted is dropped.

use super::keyspaces::Keyspaces;
use super::options;
use super::state::MemRef;
use crate::base::ids::{KeyspaceId, SeqNo};
use crate::base::key::EntryKind;
use crate::batch::{BatchEntry, BatchReader};
use crate::error::{Code, Error, Result};
use crate::fs::Fs;
use crate::fs::names::{self, FileKind};
use crate::memtable::{MemTable, MemTableConfig, NewVersion, Reservation};
use crate::version::VersionSet;
use crate::wal::{self, ReplayFrom, Replayed};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Bytes of keys and values in a parcel, about. An entry of this size is not copied but inserted where it stands.
const PARCEL_BYTES: usize = if cfg!(test) { 256 } else { 32 << 10 };
/// Bytes in all parcels that are being filled: with many keyspaces they are handed out smaller.
const FILLING_BYTES_MAX: usize = 1 << 20;
/// So few entries are inserted at once: handing them out would cost as much.
const PARCEL_ENTRIES_MIN: usize = if cfg!(test) { 2 } else { 16 };
/// After so many bytes the log is long enough for threads.
const CREW_AFTER: usize = if cfg!(test) { 1 } else { 1 << 20 };
/// Most threads besides the reading one.
const CREW_MAX: usize = 3;
/// Parcels that wait for a thread. When all of them have so many, the reading thread inserts one itself.
const WAITING_MAX: usize = 4;

/// Keys and values of one keyspace, copied out of the log.
#[derive(Default)]
struct Load {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// An entry of a load; its bytes lie behind those of the one before.
struct Place {
    seq: SeqNo,
    kind: EntryKind,
    key_len: u32,
    value_len: u32,
}

impl Load {
    fn push(&mut self, seq: SeqNo, entry: &BatchEntry<'_>) -> Result<()> {
        let len = entry.key.len() + entry.value.len();
        let refused = |_| Error::new(Code::NoMem, format!("{len} bytes to replay the log were refused"));
        self.bytes.try_reserve(len).map_err(refused)?;
        self.places.try_reserve(1).map_err(refused)?;
        self.bytes.extend_from_slice(entry.key);
        self.bytes.extend_from_slice(entry.value);
        let (key_len, value_len) = (entry.key.len() as u32, entry.value.len() as u32);
        self.places.push(Place { seq, kind: entry.kind, key_len, value_len });
        Ok(())
    }

    fn versions(&self) -> impl Iterator<Item = NewVersion<'_>> {
        let mut rest = self.bytes.as_slice();
        self.places.iter().map(move |place| {
            let (key, behind) = rest.split_at(place.key_len as usize);
            let (value, behind) = behind.split_at(place.value_len as usize);
            rest = behind;
            NewVersion { key, seq: place.seq, kind: place.kind, value }
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }
}

/// A load and the space for it.
struct Parcel {
    load: Load,
    table: Arc<MemTable>,
    space: Reservation,
}

impl Parcel {
    /// Inserts it and gives its memory back.
    fn insert(mut self) -> Load {
        self.table.insert_all(&mut self.space, self.load.versions());
        self.load.clear();
        self.load
    }
}

/// The threads that insert.
struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    is_started: bool,
    waiting: Vec<SyncSender<Parcel>>,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    /// Whose turn it is.
    turn: usize,
    /// Memory of parcels that were inserted.
    done: (Sender<Load>, Receiver<Load>),
}

impl<'scope, 'env> Crew<'scope, 'env> {
    fn new(scope: &'scope Scope<'scope, 'env>) -> Crew<'scope, 'env> {
        Crew { scope, is_started: false, waiting: Vec::new(), threads: Vec::new(), turn: 0, done: channel() }
    }

    fn start(&mut self) {
        self.is_started = true;
        for _ in 0..(options::cores() - 1).min(CREW_MAX).max(usize::from(cfg!(test))) {
            let (sender, parcels) = sync_channel::<Parcel>(WAITING_MAX);
            let done = self.done.0.clone();
            let insert = move || {
                for parcel in parcels {
                    // Nobody may want the memory any more.
                    let _ = done.send(parcel.insert());
                }
            };
            let _masked = crate::fs::posix::without_signals();
            match std::thread::Builder::new().name("lsm-replay".into()).spawn_scoped(self.scope, insert) {
                Ok(thread) => {
                    self.threads.push(thread);
                    self.waiting.push(sender);
                }
                // No more threads to be had: those that are there, or this one, do the rest.
                Err(_) => break,
            }
        }
    }

    /// Gives `parcel` to a thread, or inserts it here when all have enough to do.
    fn hand_out(&mut self, mut parcel: Parcel) -> Load {
        for _ in 0..self.waiting.len() {
            self.turn = (self.turn + 1) % self.waiting.len();
            match self.waiting[self.turn].try_send(parcel) {
                Ok(()) => return self.done.1.try_recv().unwrap_or_default(),
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => parcel = back,
            }
        }
        parcel.insert()
    }

    /// Waits until all parcels are inserted.
    fn finish(self) -> Result<()> {
        drop(self.waiting);
        let mut result = Ok(());
        for thread in self.threads {
            if thread.join().is_err() {
                result = Err(Error::new(Code::Panic, "a thread that replayed the log panicked"));
            }
        }
        result
    }
}

/// What is recovered of one keyspace.
struct Recovered {
    /// Up to here everything is in tables.
    flushed: SeqNo,
    memtable_bytes: usize,
    /// Oldest first.
    tables: Vec<Arc<MemTable>>,
    filling: Load,
}

impl Recovered {
    /// Space for so many entries in the newest memtable, or in a new one.
    fn space(&mut self, entries: u32, payload: usize) -> Result<(Arc<MemTable>, Reservation)> {
        if let Some(table) = self.tables.last().filter(|table| !table.is_full())
            && let Some(space) = table.reserve(entries, payload)
        {
            return Ok((Arc::clone(table), space));
        }
        let single_bytes_max = MemTable::space_for(entries, payload);
        let table = MemTable::new(MemTableConfig { bytes_max: self.memtable_bytes, single_bytes_max })?;
        let space = table
            .reserve(entries, payload)
            .ok_or_else(|| Error::new(Code::NoMem, format!("no memtable takes an entry of {payload} bytes")))?;
        self.tables.push(Arc::clone(&table));
        Ok((table, space))
    }

    /// A parcel should not fill a memtable alone.
    fn parcel_bytes(&self) -> usize {
        PARCEL_BYTES.min(self.memtable_bytes / 8)
    }
}

/// A replay under way.
struct Recovery<'a, 'scope, 'env> {
    versions: &'a VersionSet,
    keyspaces: BTreeMap<KeyspaceId, Recovered>,
    crew: Crew<'scope, 'env>,
    /// Bytes in loads that are being filled.
    filling: usize,
    /// Bytes of keys and values so far.
    bytes: usize,
}

impl Recovery<'_, '_, '_> {
    fn apply(&mut self, first: SeqNo, count: u32, payload: &[u8]) -> Result<()> {
        let mut reader = BatchReader::new(payload);
        let mut seen = 0;
        while let Some(entry) = reader.next_entry()? {
            self.take(SeqNo(first.0 + u64::from(seen)), &entry)?;
            seen += 1;
        }
        if seen != count {
            return Err(Error::corruption(format!("a batch of {count} entries at sequence {first} holds {seen}")));
        }
        Ok(())
    }

    fn take(&mut self, seq: SeqNo, entry: &BatchEntry<'_>) -> Result<()> {
        let keyspace = match self.keyspaces.get_mut(&entry.keyspace) {
            Some(keyspace) if seq <= keyspace.flushed && !crate::base::planted!("replay-below-flushed") => {
                return Ok(());
            }
            Some(keyspace) => keyspace,
            None if entry.keyspace < self.versions.keyspace_id_end() => return Ok(()), // dropped since
            None => {
                return Err(Error::corruption(format!("the log names keyspace {}, which never was", entry.keyspace)));
            }
        };
        let len = entry.key.len() + entry.value.len();
        if len >= PARCEL_BYTES {
            self.ship(entry.keyspace)?;
            return self.insert_large(seq, entry);
        }
        keyspace.filling.push(seq, entry)?;
        let is_due = keyspace.filling.bytes.len() >= keyspace.parcel_bytes();
        self.filling += len;
        self.bytes += len;
        if is_due {
            self.ship(entry.keyspace)?;
        } else if self.filling >= FILLING_BYTES_MAX {
            self.ship_all()?;
        }
        Ok(())
    }

    /// Without a copy, and before anything of this keyspace that comes later.
    fn insert_large(&mut self, seq: SeqNo, entry: &BatchEntry<'_>) -> Result<()> {
        let Some(keyspace) = self.keyspaces.get_mut(&entry.keyspace) else { return Ok(()) };
        let (table, mut space) = keyspace.space(1, entry.key.len() + entry.value.len())?;
        table.insert(&mut space, entry.key, seq, entry.kind, entry.value);
        Ok(())
    }

    /// Hands out what was gathered of a keyspace.
    fn ship(&mut self, id: KeyspaceId) -> Result<()> {
        let Some(keyspace) = self.keyspaces.get_mut(&id).filter(|k| !k.filling.places.is_empty()) else {
            return Ok(());
        };
        self.filling -= keyspace.filling.bytes.len();
        let (table, space) = keyspace.space(keyspace.filling.places.len() as u32, keyspace.filling.bytes.len())?;
        let parcel = Parcel { load: std::mem::take(&mut keyspace.filling), table, space };
        if !self.crew.is_started && self.bytes >= CREW_AFTER {
            self.crew.start();
        }
        keyspace.filling =
            if parcel.load.places.len() < PARCEL_ENTRIES_MIN { parcel.insert() } else { self.crew.hand_out(parcel) };
        Ok(())
    }

    fn ship_all(&mut self) -> Result<()> {
        let due: Vec<_> =
            self.keyspaces.iter().filter(|(_, k)| !k.filling.places.is_empty()).map(|(id, _)| *id).collect();
        due.into_iter().try_for_each(|id| self.ship(id))
    }
}

/// The memtables of a keyspace, oldest first.
type Tables = Vec<Arc<MemTable>>;

/// Reads the log in `path` into sealed memtables of `keyspaces`.
pub fn replay(fs: &dyn Fs, path: &Path, versions: &VersionSet, keyspaces: &Keyspaces) -> Result<Replayed> {
    let records = versions.keyspaces();
    let state = versions.log_state();
    let from = ReplayFrom {
        first_segment: state.first_segment,
        flushed_seq: records.iter().map(|r| r.flushed_seq).min().unwrap_or_default(),
        clean_end: state.clean_end,
    };
    let recovered = |record: &crate::version::KeyspaceRecord| {
        let memtable_bytes = keyspaces.by_id(record.id).map_or(1 << 20, |k| k.options.memtable_bytes);
        (
            record.id,
            Recovered { flushed: record.flushed_seq, memtable_bytes, tables: Tables::new(), filling: Load::default() },
        )
    };
    let start = records.iter().map(recovered).collect();
    let (replayed, tables) = std::thread::scope(|scope| {
        let mut recovery = Recovery { versions, keyspaces: start, crew: Crew::new(scope), filling: 0, bytes: 0 };
        let replayed = wal::replay(fs, path, versions.database(), from, &mut |first, count, payload| {
            recovery.apply(first, count, payload)
        })
        .map_err(|e| suspect_manifest(e, fs, path, versions))?;
        recovery.ship_all()?;
        recovery.crew.finish()?;
        let tables: Vec<(KeyspaceId, Tables)> = recovery.keyspaces.into_iter().map(|(id, k)| (id, k.tables)).collect();
        Ok::<_, Error>((replayed, tables))
    })?;
    if let Some(started) = state.segment_started
        && started >= state.first_segment
        && !replayed.segments.contains(&started)
    {
        let name = names::path(path, FileKind::Wal, started);
        return Err(Error::corruption(format!("{}: the log segment is missing", name.display())));
    }
    let first_segment = replayed.segments.iter().min().copied().unwrap_or(state.first_segment);
    for (id, tables) in tables {
        let Some(keyspace) = keyspaces.by_id(id) else { continue };
        let end = SeqNo(replayed.last_seq.0 + 1);
        let mut mem = keyspace.mem.lock();
        mem.sealed = tables.into_iter().map(|table| MemRef { table, first_segment, end }).collect();
    }
    Ok(replayed)
}

/// A log that begins later than the manifest says may mean that the manifest lost its end: then that is said, too.
fn suspect_manifest(error: Error, fs: &dyn Fs, path: &Path, versions: &VersionSet) -> Error {
    let first = versions.log_state().first_segment;
    let needed = names::path(path, FileKind::Wal, first);
    if error.code() != Code::Corruption || !matches!(fs.metadata(&needed), Ok(None)) {
        return error;
    }
    let manifest = names::name(FileKind::Manifest, versions.manifest_number());
    let segment = names::name(FileKind::Wal, first);
    error.context(format!(
        "{manifest} says that the log begins with {segment}: that file is missing, or the manifest lost its end"
    ))
}

#[cfg(test)]
mod tests;
