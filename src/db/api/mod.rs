//! The engine's public face: cheap handles over an open database. `capi/` maps them to C one to one.
//!
//! Threads: `Db`, `Keyspace`, `Snapshot`, `PinnedValue` any; `Batch` and `Iter` one at a time.

mod batch;
mod iter;
mod types;

pub use batch::Batch;
pub use iter::{Iter, OwnedSpan};
pub use types::{Direction, Durability, IterEntry, ReadOptions, Seek, WriteOptions};

use super::inner::DbInner;
use super::options::Options;
use super::read::{Get, Source, check_key};
use super::scan::Bounds;
use super::state::KeyspaceState;
use super::status::{Job, being_recovered};
use super::write::{Body, Commit, Part, Seal};
use super::{admin, background, close, open, properties, repair, resume, schema, verify};
use crate::base::clock::Deadline;
use crate::base::ids::{KeyspaceId, SeqNo};
use crate::base::key::EntryKind;
use crate::batch::{check_entry, encode_entry};
use crate::cache::{FrameBuilder, FrameRef};
use crate::compaction::KeyRange;
use crate::error::{Code, Error, Result};
use crate::fs::Fs;
use crate::fs::posix::PosixFs;
use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// An open database.
#[derive(Clone)]
pub struct Db {
    inner: Arc<DbInner>,
}

/// A keyspace of an open database.
#[derive(Clone)]
pub struct Keyspace {
    db: Db,
    state: Arc<KeyspaceState>,
}

/// A moment of the database's history, for reads.
#[derive(Clone)]
pub struct Snapshot {
    held: Arc<HeldSnapshot>,
}

struct HeldSnapshot {
    db: Db,
    seq: SeqNo,
}

impl Drop for HeldSnapshot {
    fn drop(&mut self) {
        self.db.inner.snapshots.release(self.seq);
    }
}

/// A value that stays readable whatever happens to the database.
pub struct PinnedValue {
    frame: FrameRef,
    range: Range<usize>,
}

impl Db {
    /// Opens the database in `path`, creating it by default.
    pub fn open(path: &Path, options: &Options) -> Result<Db> {
        Db::open_on(Arc::new(PosixFs::new()), path, options)
    }

    /// The same on another file system (tests).
    pub fn open_on(fs: Arc<dyn Fs>, path: &Path, options: &Options) -> Result<Db> {
        Ok(Db { inner: open::open(fs, path, options)? })
    }

    /// The first half of a close: every later call answers `Closed`, whoever waits is woken. False when it was done
    /// already.
    pub fn begin_close(&self) -> bool {
        close::begin(&self.inner)
    }

    /// Ends background work, makes acknowledged writes durable, releases the folder; `Closed` when that was done
    /// before. No other call may be inside: where there are several threads, `begin_close` comes first and the caller
    /// waits until they are out.
    pub fn close(&self) -> Result<()> {
        self.begin_close();
        if !self.inner.status.finish() {
            return Err(Error::new(Code::Closed, "the database is closed"));
        }
        close::finish(&self.inner)
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.inner.status.is_closed()
    }

    /// Removes the files of a database that nobody has open, and the folder if that leaves it empty.
    pub fn destroy(path: &Path) -> Result<()> {
        admin::destroy(&PosixFs::new(), path)
    }

    /// Repairs a damaged folder that nobody has open; answers a report as JSON.
    pub fn repair(path: &Path, options: &Options) -> Result<String> {
        Db::repair_on(Arc::new(PosixFs::new()), path, options)
    }

    /// The same on another file system (tests).
    pub fn repair_on(fs: Arc<dyn Fs>, path: &Path, options: &Options) -> Result<String> {
        repair::repair(fs, path, options)
    }

    /// Reads and checks every byte of tables, manifest, `CURRENT` and log, while others go on; answers a report as JSON
    /// and, where something is damaged, the first of it.
    pub fn verify(&self) -> Result<(String, Option<Error>)> {
        verify::verify(&self.inner)
    }

    /// Tries again at once what failed in the background, and waits for it; see `resume`.
    pub fn resume(&self) -> Result<()> {
        resume::resume(&self.inner)
    }

    /// Makes everything acknowledged so far durable.
    pub fn sync(&self) -> Result<()> {
        let db = &*self.inner;
        db.status.check_writable()?;
        if db.log.is_recovering() {
            // What was recovered may be in the page cache only, until it is in tables.
            let reason = db.status.background(Job::Flush);
            return Err(reason.unwrap_or_else(being_recovered));
        }
        db.log.sync_to(db, db.log.publisher.visible())
    }

    /// The last committed and the last durable sequence number.
    pub fn sequence(&self) -> Result<(SeqNo, SeqNo)> {
        let db = &*self.inner;
        db.status.check_open()?;
        let durable = db.log.durable().0.max(db.flushed_seq().0 + 1);
        let committed = db.log.visible();
        Ok((committed, SeqNo(durable - 1).min(committed)))
    }

    /// The keyspace `default`.
    pub fn default_keyspace(&self) -> Keyspace {
        Keyspace { db: self.clone(), state: Arc::clone(&self.inner.default_keyspace) }
    }

    /// Opens a keyspace by name, making it by default; `None` when it is missing and `create_if_missing = false`.
    pub fn keyspace_open(&self, name: &[u8], options: Option<&Options>) -> Result<Option<Keyspace>> {
        let state = schema::open(&self.inner, name, options)?;
        Ok(state.map(|state| Keyspace { db: self.clone(), state }))
    }

    /// Drops a keyspace with all it holds; false when there is none.
    pub fn keyspace_drop(&self, name: &[u8]) -> Result<bool> {
        schema::drop_keyspace(&self.inner, name)
    }

    /// The names of all keyspaces, sorted.
    pub fn keyspace_list(&self) -> Result<Vec<Vec<u8>>> {
        self.inner.status.check_open()?;
        Ok(self.inner.keyspaces.names())
    }

    /// An empty batch for this database.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Writes a batch as a whole; answers the sequence number of its last operation (of the last committed one when the
    /// batch is empty).
    pub fn write(&self, options: &WriteOptions, batch: &Batch) -> Result<SeqNo> {
        let db = &*self.inner;
        if !self.same(batch.db()) {
            return Err(Error::invalid("the batch belongs to another database"));
        }
        db.status.check_writable()?;
        if batch.data.count() == 0 {
            return Ok(db.log.visible());
        }
        let parts = batch.parts()?;
        self.commit(options, batch.data.bytes(), batch.data.count(), &parts, Body::Batch)
    }

    fn commit(
        &self,
        options: &WriteOptions,
        payload: &[u8],
        count: u32,
        parts: &[Part<'_>],
        body: Body<'_>,
    ) -> Result<SeqNo> {
        let db = &*self.inner;
        let durability =
            if options.durability == Durability::Default { db.options.durability } else { options.durability };
        let write = Commit {
            payload,
            count,
            parts,
            body,
            is_fsync: durability == Durability::Fsync,
            deadline: Deadline::after_micros(options.deadline_micros),
        };
        let seq = db.log.commit(db, &write)?;
        db.stats.writes.add(u64::from(count));
        db.stats.write_bytes.add(payload.len() as u64);
        Ok(seq)
    }

    /// A snapshot of now.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let db = &*self.inner;
        db.status.check_open()?;
        let seq = db.snapshots.acquire(|| db.log.visible());
        Ok(Snapshot { held: Arc::new(HeldSnapshot { db: self.clone(), seq }) })
    }

    /// Flushes one keyspace, or all, and waits.
    pub fn flush(&self, keyspace: Option<&Keyspace>) -> Result<()> {
        let db = &*self.inner;
        db.status.check_writable()?;
        let states = match keyspace {
            Some(keyspace) => vec![Arc::clone(self.own(keyspace)?)],
            None => db.keyspaces.all(),
        };
        admin::flush(db, &states, if keyspace.is_some() { Seal::Slot(states[0].slot) } else { Seal::All })
    }

    fn own<'k>(&self, keyspace: &'k Keyspace) -> Result<&'k Arc<KeyspaceState>> {
        if !self.same(&keyspace.db) {
            return Err(Error::invalid("the keyspace belongs to another database"));
        }
        keyspace.check()?;
        Ok(&keyspace.state)
    }

    /// A property as text; `None` when there is no such property.
    pub fn property(&self, keyspace: Option<&Keyspace>, name: &str) -> Result<Option<String>> {
        self.inner.status.check_open()?;
        let state = keyspace.map(|k| self.own(k)).transpose()?;
        Ok(properties::text(&self.inner, state, name))
    }

    /// A property as a number; `None` when there is no such property or it is not a number.
    pub fn property_u64(&self, keyspace: Option<&Keyspace>, name: &str) -> Result<Option<u64>> {
        self.inner.status.check_open()?;
        let state = keyspace.map(|k| self.own(k)).transpose()?;
        Ok(properties::number(&self.inner, state, name))
    }

    /// All metrics, as Prometheus text or as JSON.
    pub fn metrics(&self, json: bool) -> Result<String> {
        self.inner.status.check_open()?;
        Ok(properties::metrics(&self.inner, json))
    }

    /// Empties the block cache.
    pub fn cache_clear(&self) -> Result<()> {
        self.inner.status.check_open()?;
        self.inner.cache.clear();
        Ok(())
    }

    /// Whether both are handles of one open database.
    #[inline]
    pub fn same(&self, other: &Db) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The lock file's descriptor, for an atfork handler; -1 when there is none.
    pub fn lock_fd(&self) -> i32 {
        self.inner.lock.lock().as_ref().map_or(-1, |lock| lock.raw_fd())
    }

    pub(super) fn inner(&self) -> &DbInner {
        &self.inner
    }
}

thread_local! {
    /// Where a single put is encoded; kept between calls.
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// So many keys of a `multi_get` wait for their cache misses together: about as many as a processor can have under way.
const PREFETCH_KEYS: usize = 12;

/// A thread keeps at most so much of its encoding buffer.
const RECORD_KEPT_MAX: usize = 1 << 20;

impl Keyspace {
    /// The database it belongs to.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Its number; never reused.
    pub fn id(&self) -> KeyspaceId {
        self.state.id
    }

    /// Whether it is `default`.
    pub fn is_default(&self) -> bool {
        self.state.id == KeyspaceId::DEFAULT
    }

    pub(super) fn state(&self) -> &Arc<KeyspaceState> {
        &self.state
    }

    /// `Closed` once the database is closed or the keyspace dropped.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.db.inner.status.check_open()?;
        if self.state.is_dropped() {
            return Err(Error::new(Code::Closed, "the keyspace was dropped"));
        }
        Ok(())
    }

    /// Puts one key; answers its sequence number.
    pub fn put(&self, options: &WriteOptions, key: &[u8], value: &[u8]) -> Result<SeqNo> {
        self.write_one(options, EntryKind::Put, key, value)
    }

    /// Deletes one key; answers its sequence number.
    pub fn delete(&self, options: &WriteOptions, key: &[u8]) -> Result<SeqNo> {
        self.write_one(options, EntryKind::Delete, key, &[])
    }

    fn write_one(&self, options: &WriteOptions, kind: EntryKind, key: &[u8], value: &[u8]) -> Result<SeqNo> {
        self.check()?;
        check_entry(key, value)?;
        RECORD.with_borrow_mut(|record| {
            record.clear();
            record
                .try_reserve(key.len() + value.len() + 24)
                .map_err(|_| Error::new(Code::NoMem, "no memory to encode the write"))?;
            encode_entry(record, self.state.id, kind, key, value);
            let part = Part { keyspace: &self.state, entries: 1, payload: key.len() + value.len() };
            let result = self.db.commit(options, record, 1, &[part], Body::One(kind, key, value));
            if record.capacity() > RECORD_KEPT_MAX {
                *record = Vec::new();
            }
            result
        })
    }

    #[inline]
    fn get<'a>(&'a self, options: &ReadOptions) -> Result<Get<'a>> {
        self.check()?;
        if let Some(snapshot) = &options.snapshot
            && !self.db.same(snapshot.db())
        {
            return Err(Error::invalid("the snapshot belongs to another database"));
        }
        self.db.inner.stats.reads.add(1);
        Ok(Get {
            db: &self.db.inner,
            keyspace: &self.state,
            snapshot: options.snapshot.as_ref().map(Snapshot::sequence),
            mode: options.mode(),
            deadline: Deadline::after_micros(options.deadline_micros),
        })
    }

    /// Reads a key and hands its value to `f`, which copies it: small values under an epoch pin.
    #[inline]
    pub fn get_with<R>(&self, options: &ReadOptions, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        self.get(options)?.with(key, |source| f(source.bytes()))
    }

    /// Reads a key's value, counted.
    pub fn get_pinned(&self, options: &ReadOptions, key: &[u8]) -> Result<Option<PinnedValue>> {
        self.get(options)?.with(key, PinnedValue::hold)?.transpose()
    }

    /// Reads many keys as of one moment; an answer each.
    pub fn multi_get(&self, options: &ReadOptions, keys: &[&[u8]]) -> Result<Vec<Result<Option<PinnedValue>>>> {
        let get = self.get(options)?;
        let view = self.state.get();
        // The SuperVersion first, the visible sequence second.
        let bound = get.snapshot.unwrap_or_else(|| self.db.inner.log.visible());
        let mut answers = Vec::with_capacity(keys.len());
        for group in keys.chunks(PREFETCH_KEYS) {
            if group.len() > 1 {
                get.prefetch(&view, group);
            }
            get.check_deadline()?;
            answers.extend(group.iter().map(|key| get.in_view(&view, bound, key, PinnedValue::hold)?.transpose()));
        }
        Ok(answers)
    }

    /// Opens an iterator.
    pub fn iter(&self, options: &ReadOptions) -> Result<Iter> {
        Iter::open(self.clone(), options)
    }

    /// About how many bytes of tables and memtables, and how many keys, lie in `[from, to)`; `None` is unbounded.
    pub fn approximate(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<(u64, u64)> {
        self.check()?;
        admin::approximate(&self.db.inner, &self.state, from, to)
    }

    /// Flushes and compacts `[from, to)` down to the last level, and waits; `None` is unbounded.
    pub fn compact(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<()> {
        self.check()?;
        self.db.flush(Some(self))?;
        let range = KeyRange { from: from.map(<[u8]>::to_vec), to: to.map(<[u8]>::to_vec) };
        background::compact_range(&self.db.inner, &self.state, &range)?;
        if from.is_none() && to.is_none() {
            background::settle(&self.db.inner);
        }
        Ok(())
    }

    pub(super) fn bounds(&self, options: &ReadOptions) -> Result<Bounds> {
        for key in [&options.lower, &options.upper, &options.prefix].into_iter().flatten() {
            check_key(key)?;
        }
        Ok(Bounds::new(options.lower.as_deref(), options.upper.as_deref(), options.prefix.as_deref()))
    }
}

impl Snapshot {
    /// The last sequence number it sees.
    pub fn sequence(&self) -> SeqNo {
        self.held.seq
    }

    /// The database it belongs to.
    pub fn db(&self) -> &Db {
        &self.held.db
    }
}

impl PinnedValue {
    fn hold(source: Source<'_>) -> Result<PinnedValue> {
        match source {
            Source::Counted(frame, range) => Ok(PinnedValue { frame, range }),
            Source::Cached(bytes, frame, guard) => {
                let start = bytes.as_ptr() as usize - frame.bytes().as_ptr() as usize;
                Ok(PinnedValue { frame: frame.to_ref(guard), range: start..start + bytes.len() })
            }
            // A memtable lives only as long as its SuperVersion: the value gets a block of its own.
            Source::Memory(bytes) => {
                let mut copy = FrameBuilder::new(bytes.len())?;
                copy.bytes_mut().copy_from_slice(bytes);
                Ok(PinnedValue { range: 0..bytes.len(), frame: copy.freeze() })
            }
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.frame.bytes()[self.range.clone()]
    }
}
