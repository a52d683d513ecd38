//! From one segment to the next: sealing, memtables that change with it, attaching, giving back.
//!
//! Invariants
//! - I1  One thread at a time works here (the `rotate` lock); writers in the old segment go on undisturbed.
//! - I2  Memtables change only while no segment takes reservations, so they never overlap in sequence.
//! - I3  If no next segment can be made there is no current one: writes answer the failure, each tries again at most
//!   every 100 ms, nobody hangs.
//!
//! Failure: `NoSpace` and other failures to make a segment leave everything as it was; a failed store latches.

use super::{Part, Route, WriteLog};
use crate::base::clock::{self, Deadline};
use crate::base::epoch;
use crate::base::ids::{FileNumber, SeqNo};
use crate::base::log_sink::LogLevel;
use crate::base::sync::Ordering;
use crate::db::inner::DbInner;
use crate::db::stall::has_room_again;
use crate::db::state::{KeyspaceState, MemRef, MemState};
use crate::db::status::{Job, being_recovered};
use crate::error::{Code, Error, Result};
use crate::memtable::{MemTable, MemTableConfig};
use crate::version::VersionEdit;
use crate::wal::{PreparedSegment, Previous, SealedAt, Segment};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a failed segment is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the files of a log at rest may take.
const REST_BYTES: u64 = 1 << 20;

/// Which memtables change with the segment, besides those that are full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    /// None.
    Full,
    /// That of one keyspace.
    Slot(usize),
    /// All.
    All,
}

/// How far the log is not needed any more.
#[derive(Clone, Copy, Debug)]
pub struct LogBound {
    /// The first segment that is needed.
    pub first_segment: FileNumber,
    /// Whether it is there already: then the manifest says so, and its loss is noticed.
    pub is_there: bool,
    /// The sequence number behind the last segment that is not: everything below is in tables of every keyspace.
    pub base: Option<SeqNo>,
}

/// A segment that takes no more records.
struct ClosedSegment {
    /// Its number.
    number: FileNumber,
    /// The sequence number behind its last.
    end: SeqNo,
    /// Bytes of its records.
    bytes: u64,
}

/// The log behind the current segment.
pub struct RotateState {
    /// Closed segments whose data is not all in tables, oldest first.
    closed: Vec<ClosedSegment>,
    /// What the next segment's start record says.
    previous: Option<(Arc<Segment<Route>>, SealedAt)>,
    /// The sequence number that the next segment starts with.
    next_seq: SeqNo,
    /// Whether the manifest knows that the log has begun.
    is_started: bool,
    /// When the next segment could not be made, why, and for how large a record.
    failure: Option<(Instant, Error, usize)>,
    /// A segment file that could not be put to use because the manifest refused its number.
    prepared: Option<PreparedSegment>,
    /// Segments of an earlier run are still on the list: no write before they are in tables.
    is_recovering: bool,
    is_stopped: bool,
}

impl RotateState {
    pub(super) fn new(next_seq: SeqNo) -> RotateState {
        RotateState {
            closed: Vec::new(),
            previous: None,
            next_seq,
            is_started: false,
            failure: None,
            prepared: None,
            is_recovering: false,
            is_stopped: false,
        }
    }
}

impl WriteLog {
    /// The segment that takes records now.
    pub fn current_segment(&self) -> Option<Arc<Segment<Route>>> {
        let guard = epoch::pin();
        self.current.get(&guard)
    }

    /// Moves on from segment `from` (`None`: there is none) to one that holds a record of `need` bytes. `sealed` is set
    /// for the caller whose reservation crossed the end. Returns at once when another thread has moved on.
    pub(super) fn advance(
        &self,
        db: &DbInner,
        from: Option<&Arc<Segment<Route>>>,
        need: usize,
        sealed: Option<SealedAt>,
        seal: Seal,
    ) -> Result<()> {
        let mut state = self.rotate.lock();
        if let Some(segment) = from {
            let is_current = self.current_segment().is_some_and(|now| Arc::ptr_eq(&now, segment));
            if !is_current {
                return Ok(());
            }
            if sealed.is_none() && !segment.can_hold(need) {
                // Before the segment is closed: where there is no room for a large record the others go on in it.
                let prepared = self.try_next(db, &mut state, need)?;
                state.prepared = Some(prepared);
            }
            let Some(at) = sealed.or_else(|| segment.close()) else {
                // Another thread's reservation crossed the end; it is on its way to this lock.
                self.rotated.wait_for(&mut state, Duration::from_millis(10));
                return Ok(());
            };
            self.close_segment(db, &mut state, segment, at, seal);
        } else if self.current_segment().is_some() {
            return Ok(());
        }
        let result = self.start_next(db, &mut state, need);
        self.rotated.notify_all();
        result
    }

    /// Waits for the thread whose reservation crossed the end of `segment`.
    pub(super) fn wait_rotated(&self, db: &DbInner, segment: &Arc<Segment<Route>>) {
        let mut state = self.rotate.lock();
        while self.current_segment().is_some_and(|now| Arc::ptr_eq(&now, segment)) && db.status.check_writable().is_ok()
        {
            self.rotated.wait_for(&mut state, Duration::from_millis(10));
        }
    }

    fn close_segment(
        &self,
        db: &DbInner,
        state: &mut RotateState,
        segment: &Arc<Segment<Route>>,
        at: SealedAt,
        seal: Seal,
    ) {
        segment.stop_ahead();
        state.closed.push(ClosedSegment { number: segment.number(), end: at.next_seq, bytes: at.offset });
        state.previous = Some((Arc::clone(segment), at));
        state.next_seq = at.next_seq;
        self.push_unsynced(Arc::clone(segment), at.next_seq);
        if self.publisher.visible() >= at.next_seq {
            // The last writer has left already: its locked pages go back to the process's budget here.
            segment.release_before(at.offset);
        }
        self.current.take(&db.retired, 512);
        seal_memtables(db, at.next_seq, seal);
    }

    fn start_next(&self, db: &DbInner, state: &mut RotateState, need: usize) -> Result<()> {
        if state.is_stopped {
            return Err(Error::new(Code::Closed, "the database is closed"));
        }
        if state.is_recovering {
            let reason = db.status.background(Job::Flush);
            return Err(reason.unwrap_or_else(being_recovered));
        }
        let prepared = self.try_next(db, state, need)?;
        let number = prepared.number();
        let started = self.start_prepared(db, state, prepared);
        if let Err(error) = &started {
            db.status.latch(error);
        }
        let segment = started?;
        self.current.set(segment, &db.retired, 512);
        db.logger.log(LogLevel::Debug, &format!("log segment {number} started at sequence {}", state.next_seq));
        db.background.wake_housekeeper();
        Ok(())
    }

    /// The same, not too soon after a failure.
    fn try_next(&self, db: &DbInner, state: &mut RotateState, need: usize) -> Result<PreparedSegment> {
        // A smaller record may find room where a large one did not.
        if let Some((at, error, failed)) = &state.failure
            && need >= *failed
            && clock::now() < *at + RETRY_AFTER
            && !has_room_again(db, error, self.pool.bytes_max())
        {
            return Err(error.clone());
        }
        let prepared = self.next_segment(db, state, need).map_err(|error| {
            let error = error.context("no next log segment");
            state.failure = Some((clock::now(), error.clone(), need));
            error
        })?;
        state.failure = None;
        Ok(prepared)
    }

    /// A file for the next segment, once the manifest knows that the log has begun.
    fn next_segment(&self, db: &DbInner, state: &mut RotateState, need: usize) -> Result<PreparedSegment> {
        let take = || self.pool.take(need, &|| db.versions.next_file_number());
        let prepared = state.prepared.take().map_or_else(take, Ok)?;
        if !state.is_started {
            let edit = VersionEdit { segment_started: Some(prepared.number()), ..VersionEdit::default() };
            if let Err(error) = db.install(edit) {
                // The file serves the next attempt: one each would fill the disk. The edit may be on the device, and then
                // the file must be there.
                state.prepared = Some(prepared);
                return Err(error);
            }
            state.is_started = true;
        }
        if prepared.can_hold(need) {
            return Ok(prepared);
        }
        // Made for a smaller record by an attempt that failed: goes when the log before the next segment does.
        let end = state.next_seq;
        state.closed.push(ClosedSegment { number: prepared.number(), end, bytes: 0 });
        take()
    }

    fn start_prepared(
        &self,
        db: &DbInner,
        state: &mut RotateState,
        prepared: PreparedSegment,
    ) -> Result<Arc<Segment<Route>>> {
        let durable = self.durable();
        let mut previous = None;
        if let Some((segment, at)) = state.previous.take() {
            let skew = u64::from(crate::base::planted!("seal-names-another"));
            segment.write_seal(at, FileNumber(prepared.number().0 + skew), durable)?;
            previous = Some(Previous { number: segment.number(), end: at, durable });
        }
        let route = Route::new();
        for keyspace in db.keyspaces.all() {
            if let Some(active) = &keyspace.mem.lock().active {
                route.set(keyspace.slot, keyspace.id, Arc::clone(&active.table));
            }
        }
        Ok(Arc::new(prepared.start(route, state.next_seq, previous)?))
    }

    /// Gives the keyspace of `part` a memtable in `segment`, waiting for a flush where it has too many.
    pub(super) fn attach(
        &self,
        db: &DbInner,
        segment: &Arc<Segment<Route>>,
        part: &Part<'_>,
        deadline: Deadline,
    ) -> Result<()> {
        let keyspace = part.keyspace;
        if keyspace.is_dropped() {
            return Err(Error::new(Code::Closed, "the keyspace was dropped"));
        }
        let mut mem = keyspace.mem.lock();
        if mem.active.is_none() {
            if mem.sealed.len() + 1 > keyspace.options.memtable_count_max {
                drop(mem);
                return db.stall.wait_for_flush(db, keyspace, deadline);
            }
            let config = MemTableConfig {
                bytes_max: keyspace.options.memtable_bytes,
                single_bytes_max: MemTable::space_for(part.entries, part.payload),
            };
            let table = MemTable::new_in(config, &self.arenas)?;
            mem.active = Some(MemRef { table, first_segment: segment.number(), end: SeqNo::ZERO });
            keyspace.publish(&mem, None, &db.retired);
        }
        let Some(active) = &mem.active else { return Ok(()) };
        let is_set = segment.route().set(keyspace.slot, keyspace.id, Arc::clone(&active.table));
        drop(mem);
        if !is_set && segment.route().get(keyspace.slot, keyspace.id).is_none() {
            // A keyspace that was dropped had this slot: this segment's routes keep its entry, the next one's do not.
            self.advance(db, Some(segment), 0, None, Seal::Full)?;
        }
        Ok(())
    }

    /// Seals memtables now, by closing the current segment. What was written before is in sealed memtables after.
    pub fn seal_now(&self, db: &DbInner, seal: Seal) -> Result<()> {
        let mut state = self.rotate.lock();
        loop {
            let Some(segment) = self.current_segment() else {
                seal_memtables(db, state.next_seq, seal);
                return Ok(());
            };
            if let Some(at) = segment.close() {
                self.close_segment(db, &mut state, &segment, at, seal);
                // A next segment is made by the next write; no room for one is not this caller's trouble.
                let _ = self.start_next(db, &mut state, 0);
                self.rotated.notify_all();
                return Ok(());
            }
            db.status.check_latched()?;
            self.rotated.wait_for(&mut state, Duration::from_millis(10));
        }
    }

    /// Closes the log for good: no segment is started any more.
    pub fn stop(&self, db: &DbInner) -> Option<(Arc<Segment<Route>>, SealedAt)> {
        let mut state = self.rotate.lock();
        state.is_stopped = true;
        if let Some(segment) = self.current_segment()
            && let Some(at) = segment.close()
        {
            self.close_segment(db, &mut state, &segment, at, Seal::All);
        } else {
            seal_memtables(db, state.next_seq, Seal::All);
        }
        self.rotated.notify_all();
        if let Some(unused) = state.prepared.take() {
            let end = state.next_seq;
            state.closed.push(ClosedSegment { number: unused.number(), end, bytes: 0 });
        }
        state.previous.take()
    }

    /// Makes the next segment now where the last attempt failed.
    pub fn resume(&self, db: &DbInner) -> Result<()> {
        let mut state = self.rotate.lock();
        if state.failure.take().is_none() || self.current_segment().is_some() {
            return Ok(());
        }
        let result = self.start_next(db, &mut state, 0);
        self.rotated.notify_all();
        result
    }

    /// Takes over the segments of an earlier run, whose data is in sealed memtables.
    pub fn adopt(&self, segments: &[FileNumber]) {
        let mut state = self.rotate.lock();
        let end = state.next_seq;
        state.closed.extend(segments.iter().map(|&number| ClosedSegment { number, end, bytes: 0 }));
        state.is_recovering = !state.closed.is_empty() && !crate::base::planted!("write-before-recovered-is-rewritten");
    }

    /// Whether segments of an earlier run wait to be rewritten.
    pub fn is_recovering(&self) -> bool {
        self.rotate.lock().is_recovering
    }

    /// The first segment that is still needed when `oldest` is the first one any memtable needs; `None` when the log
    /// has no segment yet.
    ///
    /// `oldest` is asked under the lock: no segment becomes the current one between its answer and this one. Otherwise a
    /// memtable that began in the segment that was current then would be missed, and its log given back.
    pub fn free_bound(&self, oldest: impl FnOnce() -> Option<FileNumber>) -> Option<LogBound> {
        let state = self.rotate.lock();
        let oldest = oldest();
        let pending = state.previous.as_ref().map(|(segment, _)| segment.number());
        let current = pending.or_else(|| self.current_segment().map(|s| s.number()));
        let behind = state.closed.last().map(|s| FileNumber(s.number.0 + 1));
        let bound = current.or(behind)?;
        let oldest = oldest.filter(|_| !crate::base::planted!("log-released-early"));
        let first_segment = oldest.map_or(bound, |o| o.min(bound));
        let is_there = oldest.is_some() || current.is_some();
        let base = state.closed.iter().rev().find(|s| s.number < first_segment).map(|s| s.end);
        Some(LogBound { first_segment, is_there, base })
    }

    /// Whether a closed segment below `bound` is still on the list, with every writer out of all closed ones.
    pub fn has_closed_below(&self, bound: FileNumber) -> bool {
        let state = self.rotate.lock();
        state.closed.first().is_some_and(|s| s.number < bound) && self.publisher.visible() >= state.next_seq
    }

    /// Takes the closed segments below `bound` off the lists; their records are in tables, so they need no sync.
    pub fn take_free(&self, bound: FileNumber) -> Vec<FileNumber> {
        // A mark may still be on its way into one of them, and must not meet the file in its next use.
        self.wait_lead();
        let mut state = self.rotate.lock();
        let count = state.closed.iter().take_while(|s| s.number < bound).count();
        let free: Vec<_> = state.closed.drain(..count).map(|s| s.number).collect();
        if state.is_recovering && state.closed.is_empty() {
            state.is_recovering = false;
            // All of it is in synced tables; nobody leads a sync before this. Release: as in `lead`.
            self.durable.fetch_max(state.next_seq.0, Ordering::Release);
        }
        self.forget_unsynced(bound);
        free
    }

    /// When everything is in tables: goes on in a small segment, and gives back what was kept for a heavier load.
    pub fn shrink(&self, db: &DbInner) -> Result<()> {
        self.pool.shrink()?;
        if self.current_segment().is_some_and(|segment| segment.bytes() > REST_BYTES) {
            self.seal_now(db, Seal::Full)?;
        }
        Ok(())
    }

    /// Whether the log's files take more space than a log at rest should.
    pub fn is_swollen(&self) -> bool {
        self.current_segment().map_or(0, |segment| segment.bytes()) + self.pool.spare_bytes() > REST_BYTES
    }

    /// Bytes of log that hold records.
    pub fn bytes(&self) -> u64 {
        let state = self.rotate.lock();
        let current = self.current_segment().map_or(0, |s| s.bytes_used());
        state.closed.iter().map(|s| s.bytes).sum::<u64>() + current
    }
}

/// Seals the active memtables that are full or named by `seal`; `end` is the sequence number behind their last.
fn seal_memtables(db: &DbInner, end: SeqNo, seal: Seal) {
    let mut sealed = false;
    for keyspace in db.keyspaces.all() {
        let mut mem = keyspace.mem.lock();
        let wanted = match seal {
            Seal::All => true,
            Seal::Slot(slot) => slot == keyspace.slot,
            Seal::Full => false,
        };
        let due = mem.active.as_ref().is_some_and(|active| wanted || active.table.is_full());
        if due {
            sealed |= seal_one(db, &keyspace, &mut mem, end);
        }
    }
    if sealed {
        db.background.wake_flush();
        db.stall.update(db);
    }
}

fn seal_one(db: &DbInner, keyspace: &Arc<KeyspaceState>, mem: &mut MemState, end: SeqNo) -> bool {
    let Some(mut active) = mem.active.take() else { return false };
    let has_entries = active.table.entries() > 0 || db.log.publisher.visible() < end;
    if has_entries {
        active.end = end;
        mem.sealed.push(active);
    }
    keyspace.publish(mem, None, &db.retired);
    has_entries
}
