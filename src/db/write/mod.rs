//! The one write path: every put, delete and batch ends in `commit`.
//!
//!     stall?  ->  memtable space  ->  reserve offset and sequence numbers (one atomic add)
//!             ->  store the record  ->  insert into the segment's memtables  ->  group sync if asked
//!             ->  publish in order
//!
//! Invariants
//! - I1  After the reservation nothing may fail but the store itself; a failed store or sync latches the database.
//! - I2  A record goes into the memtables of its segment's route, never of a SuperVersion.
//! - I3  No pin is held across a store, a sync or a wait: the writer holds a count of its segment.
//!
//! Threads: any. Failure: before the reservation there is no effect; after it the database takes no more writes.

mod rotate;
mod route;
mod sync;

pub use rotate::{LogBound, Seal};
pub use route::Route;

use crate::base::arc_slot::ArcSlot;
use crate::base::arena::ArenaPool;
use crate::base::clock::Deadline;
use crate::base::epoch;
use crate::base::ids::SeqNo;
use crate::base::key::EntryKind;
use crate::base::sync::{AtomicU64, Condvar, Mutex, Ordering};
use crate::batch::{BatchEntry, BatchReader};
use crate::db::inner::DbInner;
use crate::db::state::KeyspaceState;
use crate::error::{Code, Error, Result};
use crate::memtable::{Aim, MemTable, Reservation};
use crate::wal::{Publisher, RecordKind, Reserved, Segment, SegmentPool, Ticket, payload_crc};
use rotate::RotateState;
use std::sync::Arc;
use sync::SyncState;

/// The log of an open database and the way into its memtables.
pub struct WriteLog {
    /// Segment files.
    pub pool: SegmentPool,
    /// Order of visibility.
    pub publisher: Publisher,
    current: ArcSlot<Segment<Route>>,
    /// The memory of a memtable that was flushed, for the next.
    pub arenas: Arc<ArenaPool>,
    /// Guarded: segments behind the current one; who makes the next.
    rotate: Mutex<RotateState>,
    rotated: Condvar,
    /// Guarded: who syncs.
    sync: Mutex<SyncState>,
    synced: Condvar,
    /// Every sequence number below is on the device. Stored by the sync leader (Release), read by writers (Acquire).
    durable: AtomicU64,
}

/// The share of one keyspace in a batch.
pub struct Part<'a> {
    /// Whose.
    pub keyspace: &'a Arc<KeyspaceState>,
    /// How many entries.
    pub entries: u32,
    /// Bytes of their keys and values.
    pub payload: usize,
}

/// What is inserted once the record is stored.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// A single entry.
    One(EntryKind, &'a [u8], &'a [u8]),
    /// Decode the record's payload.
    Batch,
}

/// A write, ready to commit.
pub struct Commit<'a> {
    /// The encoded batch.
    pub payload: &'a [u8],
    /// Its entries.
    pub count: u32,
    /// Its keyspaces.
    pub parts: &'a [Part<'a>],
    /// What to insert.
    pub body: Body<'a>,
    /// Whether to wait for the device.
    pub is_fsync: bool,
    /// When to give up.
    pub deadline: Deadline,
}

struct Space<'a> {
    table: &'a MemTable,
    reservation: Reservation,
    /// Where the only entry of the write goes; none for a batch.
    aim: Option<Aim>,
}

/// How many entries of a batch are aimed for ahead of the insert.
const AHEAD: usize = 8;

impl WriteLog {
    /// A log that goes on behind `next`, without a segment until the first write; what lies below `durable` is on the
    /// device.
    pub fn new(pool: SegmentPool, next: SeqNo, durable: SeqNo) -> WriteLog {
        WriteLog {
            pool,
            publisher: Publisher::new(next),
            current: ArcSlot::empty(),
            arenas: Arc::new(ArenaPool::default()),
            rotate: Mutex::new(RotateState::new(next)),
            rotated: Condvar::new(),
            sync: Mutex::new(SyncState::default()),
            synced: Condvar::new(),
            durable: AtomicU64::new(durable.0),
        }
    }

    /// The last visible sequence number.
    #[inline]
    pub fn visible(&self) -> SeqNo {
        SeqNo(self.publisher.visible().0 - 1)
    }

    /// The first sequence number that may not be on the device.
    pub fn durable(&self) -> SeqNo {
        // Acquire: pairs with the leader's Release; the sync it stands for happened before.
        SeqNo(self.durable.load(Ordering::Acquire))
    }

    /// Commits a write and answers the sequence number of its last entry.
    pub fn commit(&self, db: &DbInner, write: &Commit<'_>) -> Result<SeqNo> {
        let crc = payload_crc(write.payload);
        loop {
            db.status.check_writable()?;
            db.stall.admit(db, write.payload.len(), write.deadline)?;
            let segment = {
                let guard = epoch::pin();
                self.current.get(&guard)
            };
            let Some(segment) = segment else {
                self.advance(db, None, write.payload.len(), None, Seal::Full)?;
                continue;
            };
            if let Some(seq) = self.try_commit(db, write, crc, &segment)? {
                return Ok(seq);
            }
            if write.deadline.passed() {
                return Err(Error::new(Code::Timeout, "the deadline passed before the write took effect"));
            }
        }
    }

    /// One attempt in one segment; `None`: try again, the segment or a memtable has changed.
    fn try_commit(
        &self,
        db: &DbInner,
        write: &Commit<'_>,
        crc: u32,
        segment: &Arc<Segment<Route>>,
    ) -> Result<Option<SeqNo>> {
        let mut first = None;
        let mut more = Vec::new();
        for part in write.parts {
            let Some(table) = segment.route().get(part.keyspace.slot, part.keyspace.id) else {
                self.attach(db, segment, part, write.deadline)?;
                return Ok(None);
            };
            let Some(reservation) = table.reserve(part.entries, part.payload) else {
                self.advance(db, Some(segment), write.payload.len(), None, Seal::Slot(part.keyspace.slot))?;
                return Ok(None);
            };
            // The memory comes while the record is written.
            let aim = if let Body::One(_, key, _) = write.body { Some(table.aim(key)) } else { None };
            let space = Space { table, reservation, aim };
            if first.is_none() { first = Some(space) } else { more.push(space) }
        }
        if !segment.can_hold(write.payload.len()) {
            self.advance(db, Some(segment), write.payload.len(), None, Seal::Full)?;
            return Ok(None);
        }
        let ticket = match segment.reserve(write.payload.len(), write.count) {
            Reserved::Ticket(ticket) => ticket,
            Reserved::Seal(at) => {
                self.advance(db, Some(segment), write.payload.len(), Some(at), Seal::Full)?;
                return Ok(None);
            }
            Reserved::Full => {
                self.wait_rotated(db, segment);
                return Ok(None);
            }
        };
        self.finish(db, write, crc, segment, ticket, first.as_mut(), &mut more).map(Some)
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one commit between reservation and publication")]
    fn finish(
        &self,
        db: &DbInner,
        write: &Commit<'_>,
        crc: u32,
        segment: &Arc<Segment<Route>>,
        ticket: Ticket,
        first: Option<&mut Space<'_>>,
        more: &mut [Space<'_>],
    ) -> Result<SeqNo> {
        let guard = Abandon { log: self, db, ticket };
        if let Err(error) = segment.write(ticket, RecordKind::Batch, write.payload, crc, self.durable()) {
            // The guard latches and wakes whoever waits behind.
            db.status.latch(&error);
            return Err(error);
        }
        if crate::base::planted!("publish-before-insert") {
            self.publisher.mark_done(ticket.first_seq, ticket.count);
        }
        insert(write, ticket.first_seq, first, more)?;
        std::mem::forget(guard);
        let next = SeqNo(ticket.first_seq.0 + u64::from(ticket.count));
        if write.is_fsync && !db.options.wal_visible_before_sync && !crate::base::planted!("fsync-not-awaited") {
            self.publisher.mark_stored(ticket.first_seq, ticket.count);
            if let Err(error) = self.sync_to(db, next) {
                self.publisher.fail(ticket.first_seq);
                return Err(error);
            }
        }
        self.publisher.mark_done(ticket.first_seq, ticket.count);
        if !crate::base::planted!("ack-before-visible") && !self.publisher.wait_visible(next) {
            return Err(db.status.error_or("an earlier log record could not be stored"));
        }
        if write.is_fsync && db.options.wal_visible_before_sync {
            self.sync_to(db, next)?;
        }
        if segment.is_next_due(ticket.offset) && self.pool.note_next_due() {
            db.background.wake_housekeeper();
        }
        if segment.is_ahead_due(ticket.offset) {
            db.background.wake_ahead();
        }
        // Everything before this record in this segment is stored, since it is visible in order.
        segment.release_before(ticket.offset);
        if let Some(at) = segment.sealed()
            && at.next_seq == next
        {
            segment.release_before(at.offset);
        }
        Ok(SeqNo(next.0 - 1))
    }
}

/// Inserts the entries of a stored record.
#[inline]
fn insert(write: &Commit<'_>, seq: SeqNo, first: Option<&mut Space<'_>>, more: &mut [Space<'_>]) -> Result<()> {
    let Some(first) = first else { return Ok(()) };
    if let Body::One(kind, key, value) = write.body {
        let aim = first.aim.unwrap_or_else(|| first.table.aim(key));
        first.table.insert_aimed(&mut first.reservation, aim, key, seq, kind, value);
        return Ok(());
    }
    insert_batch(write, seq, first, more)
}

/// An entry whose place was asked for.
struct Due<'a> {
    entry: BatchEntry<'a>,
    /// Its keyspace's place in the write's parts.
    part: usize,
    aim: Aim,
}

/// Inserts the entries of a batch in their order, each aimed for while those before it are inserted.
fn insert_batch(write: &Commit<'_>, seq: SeqNo, first: &mut Space<'_>, more: &mut [Space<'_>]) -> Result<()> {
    let mut reader = BatchReader::new(write.payload);
    let mut ring: [Option<Due<'_>>; AHEAD] = [const { None }; AHEAD];
    let (mut seq, mut part, mut turn, mut blanks) = (seq.0, 0, 0, 0);
    while blanks < AHEAD {
        let mut next = None;
        if let Some(entry) = reader.next_entry()? {
            // Neighbours mostly share a keyspace: look at the last one first.
            if write.parts[part].keyspace.id != entry.keyspace {
                part = write
                    .parts
                    .iter()
                    .position(|p| p.keyspace.id == entry.keyspace)
                    .ok_or_else(|| Error::corruption("batch entry of a keyspace that the batch does not list"))?;
            }
            let table = if part == 0 { first.table } else { more[part - 1].table };
            next = Some(Due { entry, part, aim: table.aim(entry.key) });
        } else {
            blanks += 1;
        }
        if let Some(due) = std::mem::replace(&mut ring[turn], next) {
            let BatchEntry { key, kind, value, .. } = due.entry;
            match due.part {
                0 => first.table.insert_aimed(&mut first.reservation, due.aim, key, SeqNo(seq), kind, value),
                n => {
                    let space = &mut more[n - 1];
                    space.table.insert_aimed(&mut space.reservation, due.aim, key, SeqNo(seq), kind, value);
                }
            }
            seq += 1;
        }
        turn = (turn + 1) % AHEAD;
    }
    Ok(())
}

/// Ends a reservation that did not reach its publication (a failed store, a panic): the database is latched and
/// everything behind the hole fails instead of waiting for ever.
struct Abandon<'a> {
    log: &'a WriteLog,
    db: &'a DbInner,
    ticket: Ticket,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.db.status.latch(&Error::new(Code::Io, "a log record was reserved and could not be finished"));
        self.log.publisher.fail(self.ticket.first_seq);
    }
}
