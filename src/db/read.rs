//! The read path: memtables, level 0 newest first, then one table per level.
//!
//! Invariants
//! - I1  The SuperVersion is loaded first, the visible sequence second (see `state`).
//! - I2  Under the pin there is no I/O and no wait; the first block that is not in memory makes the call take a count of
//!   the SuperVersion, unpin, and finish under that count. The block is read at once when it is the SuperVersion of the
//!   lookup; else the lookup begins again with the new one.
//! - I3  A value over `COPY_PINNED_MAX` is counted before it is handed on, so that a pin stays short.
//!
//! Threads: any. Failure: I/O and corruption are answered, never taken for "not found".

use super::inner::DbInner;
use super::state::{KeyspaceState, SuperVersion};
use crate::base::clock::Deadline;
use crate::base::epoch::{self, Guard};
use crate::base::ids::SeqNo;
use crate::base::key::{EntryKind, KEY_LEN_MAX, key_hash};
use crate::cache::{Frame, FrameRef};
use crate::error::{Code, Error, Result};
use crate::sstable::{BlockAt, Lookup, ReadMode, TableReader};
use crate::version::TableHandle;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Values up to this are handed on under the pin.
const COPY_PINNED_MAX: usize = 64 << 10;

/// A value where it was found.
pub enum Source<'a> {
    /// In a memtable; the bytes live until the call returns.
    Memory(&'a [u8]),
    /// In a cached block, under a pin.
    Cached(&'a [u8], &'a Frame, &'a Guard),
    /// In a counted block.
    Counted(FrameRef, Range<usize>),
}

impl Source<'_> {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Source::Memory(bytes) | Source::Cached(bytes, ..) => bytes,
            Source::Counted(frame, range) => &frame.bytes()[range.clone()],
        }
    }
}

/// A point read.
pub struct Get<'a> {
    /// The database.
    pub db: &'a DbInner,
    /// The keyspace.
    pub keyspace: &'a KeyspaceState,
    /// As of this sequence number; `None`: now.
    pub snapshot: Option<SeqNo>,
    /// How to read blocks.
    pub mode: ReadMode,
    /// When to give up.
    pub deadline: Deadline,
}

/// What the part under the pin came to.
enum Pinned<'g> {
    Memory(&'g [u8]),
    Cached(&'g [u8], &'g Frame),
    Absent,
    /// To be finished with reads; the block that is missing, and its table, if that is known.
    Storage(Option<Missed<'g>>),
}

type Missed<'g> = (&'g TableHandle, BlockAt);

/// A missing block of a table, counted.
type Counted = (Arc<TableReader>, BlockAt);

impl Get<'_> {
    /// Finds `key` and hands its value to `f`; `None` when there is none.
    #[inline]
    pub fn with<R>(&self, key: &[u8], f: impl FnOnce(Source<'_>) -> R) -> Result<Option<R>> {
        check_key(key)?;
        let hash = key_hash(key);
        let guard = epoch::pin();
        let early =
            crate::base::planted!("bound-before-view").then(|| (self.db.log.visible(), std::thread::yield_now()).0);
        let view = self.keyspace.load(&guard);
        let bound = self.snapshot.or(early).unwrap_or_else(|| self.db.log.visible());
        let missed = match lookup_pinned(view, key, hash, bound, self.mode, &guard) {
            Pinned::Absent => return Ok(None),
            Pinned::Memory(bytes) if bytes.len() <= COPY_PINNED_MAX => return Ok(Some(f(Source::Memory(bytes)))),
            Pinned::Cached(bytes, frame) if bytes.len() <= COPY_PINNED_MAX => {
                return Ok(Some(f(Source::Cached(bytes, frame, &guard))));
            }
            Pinned::Storage(missed) => missed,
            Pinned::Memory(_) | Pinned::Cached(..) => None,
        };
        // With a count of the very view that was looked through, the answer as of `bound` is still to be found in it.
        if let Some(counted) = missed.and_then(|missed| count(missed, &guard))
            && let Some(view) = self.keyspace.count_of(view, &guard)
        {
            drop(guard);
            return self.with_missed(&view, counted, key, hash, bound, f);
        }
        drop(guard);
        // A newer SuperVersion may lack what was shadowed since: take it first and its own visible sequence second (I1).
        let view = self.keyspace.get();
        let bound = self.snapshot.unwrap_or_else(|| self.db.log.visible());
        self.with_counted(&view, key, hash, bound, f)
    }

    /// `Timeout` once the deadline has passed.
    pub fn check_deadline(&self) -> Result<()> {
        if !self.deadline.passed() {
            return Ok(());
        }
        Err(Error::new(Code::Timeout, "the deadline of the read passed"))
    }

    /// Finds `key` in a view that the caller holds, as of `bound`.
    pub fn in_view<R>(
        &self,
        view: &Arc<SuperVersion>,
        bound: SeqNo,
        key: &[u8],
        f: impl FnOnce(Source<'_>) -> R,
    ) -> Result<Option<R>> {
        check_key(key)?;
        let hash = key_hash(key);
        let guard = epoch::pin();
        match lookup_pinned(view, key, hash, bound, self.mode, &guard) {
            Pinned::Absent => Ok(None),
            Pinned::Memory(bytes) => Ok(Some(f(Source::Memory(bytes)))),
            Pinned::Cached(bytes, frame) if bytes.len() <= COPY_PINNED_MAX => {
                Ok(Some(f(Source::Cached(bytes, frame, &guard))))
            }
            Pinned::Storage(missed) => {
                let counted = missed.and_then(|missed| count(missed, &guard));
                drop(guard);
                match counted {
                    Some(counted) => self.with_missed(view, counted, key, hash, bound, f),
                    None => self.with_counted(view, key, hash, bound, f),
                }
            }
            Pinned::Cached(..) => {
                drop(guard);
                self.with_counted(view, key, hash, bound, f)
            }
        }
    }

    /// Asks for the memory that `in_view` will look at for each of a few keys: first all filter lines, then all blocks,
    /// so that their cache misses come together. Nothing is read from storage. Over level-0 tables it does nothing: what
    /// is asked for there is mostly not looked at, and it measured slower (1200 against 830 ns a key).
    pub fn prefetch(&self, view: &SuperVersion, keys: &[&[u8]]) {
        if !view.version.levels()[0].files().is_empty() {
            return;
        }
        let guard = epoch::pin();
        let each = |f: &dyn Fn(&TableReader, &[u8], u64)| {
            for key in keys {
                let hash = key_hash(key);
                if view.memtables.iter().any(|table| table.may_hold(hash)) {
                    continue;
                }
                for_each_table(view, key, |handle| {
                    if let Some(reader) = handle.peek(&guard) {
                        f(reader, key, hash);
                    }
                    ControlFlow::<()>::Continue(())
                });
            }
        };
        each(&|reader, _, hash| reader.prefetch_filter(hash, &guard));
        each(&|reader, key, hash| reader.prefetch_block(key, hash, &guard));
    }

    /// Goes on with the block that a lookup of `key` in `view` as of `bound` missed: nothing newer lies before it.
    #[cold]
    fn with_missed<R>(
        &self,
        view: &Arc<SuperVersion>,
        missed: Counted,
        key: &[u8],
        hash: u64,
        bound: SeqNo,
        f: impl FnOnce(Source<'_>) -> R,
    ) -> Result<Option<R>> {
        self.check_deadline()?;
        let (reader, block) = missed;
        match reader.get_in(block, key, hash, bound, self.block_mode())? {
            Some(value) if value.kind == EntryKind::Put => Ok(Some(f(Source::Counted(value.frame, value.range)))),
            Some(_) => Ok(None),
            // The filter was wrong, or the versions of the key go on in the next block.
            None => self.with_counted(view, key, hash, bound, f),
        }
    }

    fn block_mode(&self) -> ReadMode {
        ReadMode { read_around: self.db.reads_around(), ..self.mode }
    }

    #[cold]
    fn with_counted<R>(
        &self,
        view: &Arc<SuperVersion>,
        key: &[u8],
        hash: u64,
        bound: SeqNo,
        f: impl FnOnce(Source<'_>) -> R,
    ) -> Result<Option<R>> {
        for table in &view.memtables {
            if let Some(found) =
                table.get(key, hash, bound).filter(|_| !crate::base::planted!("second-look-skips-memory"))
            {
                return Ok((found.kind == EntryKind::Put).then(|| f(Source::Memory(found.value))));
            }
        }
        let mode = self.block_mode();
        let found = for_each_table(view, key, |handle| {
            if let Err(error) = self.check_deadline() {
                return ControlFlow::Break(Err(error));
            }
            match self.db.tables.reader(handle).and_then(|reader| reader.get(key, hash, bound, mode)) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(value)) => ControlFlow::Break(Ok(value)),
                Err(error) => ControlFlow::Break(Err(error)),
            }
        });
        match found.transpose()? {
            Some(value) if value.kind == EntryKind::Put => Ok(Some(f(Source::Counted(value.frame, value.range)))),
            _ => Ok(None),
        }
    }
}

fn count((handle, block): Missed<'_>, guard: &Guard) -> Option<Counted> {
    Some((handle.count_under(guard)?, block))
}

/// Refuses keys that can never have been written.
#[inline]
pub fn check_key(key: &[u8]) -> Result<()> {
    if key.len() <= KEY_LEN_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!("key of {} bytes: the limit is {KEY_LEN_MAX}", key.len())))
}

#[inline]
fn lookup_pinned<'g>(
    view: &'g SuperVersion,
    key: &[u8],
    hash: u64,
    bound: SeqNo,
    mode: ReadMode,
    guard: &'g Guard,
) -> Pinned<'g> {
    if view.memtables.len() > 1 {
        view.memtables.iter().for_each(|table| table.prefetch(hash));
    }
    for table in &view.memtables {
        if let Some(found) = table.get(key, hash, bound) {
            return if found.kind == EntryKind::Put { Pinned::Memory(found.value) } else { Pinned::Absent };
        }
    }
    if mode.verify_checksums {
        return Pinned::Storage(None);
    }
    if !view.version.levels()[0].files().is_empty() {
        // Several tables will be asked: their filter lines come together instead of one after the other.
        for_each_table(view, key, |handle| {
            if let Some(reader) = handle.peek(guard) {
                reader.prefetch_filter(hash, guard);
            }
            ControlFlow::<()>::Continue(())
        });
    }
    let found = for_each_table(view, key, |handle| match handle.peek(guard) {
        None => ControlFlow::Break(Pinned::Storage(None)),
        Some(reader) => match reader.lookup(key, hash, bound, guard) {
            Lookup::Absent => ControlFlow::Continue(()),
            Lookup::NeedBlock(at) => ControlFlow::Break(Pinned::Storage(at.map(|at| (&**handle, at)))),
            Lookup::Found { kind: EntryKind::Put, value, frame, .. } => {
                ControlFlow::Break(Pinned::Cached(value, frame))
            }
            Lookup::Found { .. } => ControlFlow::Break(Pinned::Absent),
        },
    });
    found.unwrap_or(Pinned::Absent)
}

/// Walks the tables that may hold `key`, newest first.
#[inline]
fn for_each_table<'v, B>(
    view: &'v SuperVersion,
    key: &[u8],
    mut f: impl FnMut(&'v Arc<TableHandle>) -> ControlFlow<B>,
) -> Option<B> {
    let levels = view.version.levels();
    for handle in levels[0].candidates(key) {
        if let ControlFlow::Break(answer) = f(handle) {
            return Some(answer);
        }
    }
    for &level in &view.levels {
        if let Some(handle) = levels[level].find_holder(key)
            && let ControlFlow::Break(answer) = f(handle)
        {
            return Some(answer);
        }
    }
    None
}
