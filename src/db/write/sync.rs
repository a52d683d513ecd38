//! Group sync: one leader makes everything stored so far durable, for all who wait.
//!
//! Invariants
//! - I1  Segment n is synced before n+1, so the durable part of the log is a prefix.
//! - I2  The leader first takes the stored position, then the current segment, then the list of closed ones: a segment
//!   that closes in between is in the list, one that opens holds nothing below the position.
//! - I3  The first failed sync is final: the database latches and no later write is acknowledged.

use super::{Route, WriteLog};
use crate::base::ids::{FileNumber, SeqNo};
use crate::base::sync::{MutexGuard, Ordering};
use crate::base::{clock, epoch};
use crate::db::inner::DbInner;
use crate::db::write::Seal;
use crate::error::Result;
use crate::wal::{RecordKind, Reserved, Segment, payload_crc};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait of a leader for those it released last time.
const COMPANY_MAX: Duration = Duration::from_micros(500);

/// Who syncs, and what is left to sync.
#[derive(Default)]
pub struct SyncState {
    is_leading: bool,
    /// Callers that sleep until the leader is done.
    waiting: u32,
    /// How often somebody has led.
    leads: u64,
    /// Callers that came since the last leader looked what is stored: the next group.
    arrived: u32,
    /// How many callers the last lead served, and how long it took.
    group: u32,
    took: Duration,
    /// Closed segments with records that were not synced yet, oldest first, with the sequence number behind their last.
    unsynced: Vec<(Arc<Segment<Route>>, SeqNo)>,
}

impl WriteLog {
    /// A closed segment still has to be synced.
    pub(super) fn push_unsynced(&self, segment: Arc<Segment<Route>>, end: SeqNo) {
        self.sync.lock().unsynced.push((segment, end));
    }

    /// Segments below `bound` are gone: what they held is in synced tables.
    pub(super) fn forget_unsynced(&self, bound: FileNumber) {
        self.sync.lock().unsynced.retain(|(segment, _)| segment.number() >= bound);
    }

    /// Whether anything below `next` may be volatile.
    pub fn needs_sync(&self, next: SeqNo) -> bool {
        self.durable() < next
    }

    /// Waits until every record below `next` is on the device.
    pub fn sync_to(&self, db: &DbInner, next: SeqNo) -> Result<()> {
        if !self.publisher.wait_stored(next) {
            return Err(db.status.error_or("an earlier log record could not be stored"));
        }
        let mut has_arrived = false;
        loop {
            let mut state = self.sync.lock();
            if !self.needs_sync(next) {
                return Ok(());
            }
            db.status.check_latched()?;
            if !has_arrived {
                has_arrived = true;
                state.arrived += 1;
            }
            if state.is_leading {
                self.wait_for_leader(&mut state);
                continue;
            }
            state.is_leading = true;
            state.leads += 1;
            let (group, took) = (state.group, state.took);
            drop(state);
            self.await_company(group, took);
            let result = self.lead(db);
            let mut state = self.sync.lock();
            state.is_leading = false;
            if state.waiting > 0 {
                self.synced.notify_all();
            }
            drop(state);
            result?;
        }
    }

    /// Sleeps until the lead ends or another event is told; counted, since a wake for nobody is a system call too.
    fn wait_for_leader(&self, state: &mut MutexGuard<'_, SyncState>) {
        state.waiting += 1;
        self.synced.wait(state);
        state.waiting -= 1;
    }

    /// Waits for as many callers as the last sync released, but not for longer than half of what it took: whoever wakes
    /// first would else sync alone, the others together after it, and each of them wait for two syncs instead of one.
    fn await_company(&self, group: u32, took: Duration) {
        if group < 2 {
            return;
        }
        let deadline = clock::now() + (took / 2).min(COMPANY_MAX);
        while self.sync.lock().arrived < group && clock::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// Makes every byte of the closed segments durable, marks and seals too (close: the log's end is about to be written
    /// down, and marks are not synced otherwise).
    pub fn sync_closed(&self, db: &DbInner) -> Result<()> {
        let closed = self.sync.lock().unsynced.clone();
        for (segment, _) in &closed {
            segment.sync().inspect_err(|error| db.status.latch(error))?;
        }
        Ok(())
    }

    /// Waits until whoever leads now has stored its mark: marks are not published, so a segment that is wholly visible
    /// may still get one. Who leads later looks at the then current segment.
    pub(super) fn wait_lead(&self) {
        let mut state = self.sync.lock();
        let lead = state.leads;
        while state.is_leading && state.leads == lead {
            self.wait_for_leader(&mut state);
        }
    }

    /// Syncs what is stored, moves the watermark, and stores a mark behind the tail so that this group can be told
    /// from a torn tail after a crash.
    fn lead(&self, db: &DbInner) -> Result<()> {
        let began = clock::now();
        let group = std::mem::take(&mut self.sync.lock().arrived);
        let target = self.publisher.stored();
        let current = {
            let guard = epoch::pin();
            self.current.get(&guard)
        };
        let closed = self.sync.lock().unsynced.clone();
        let older = closed.iter().filter(|_| !crate::base::planted!("older-segments-unsynced"));
        for segment in older.map(|(segment, _)| segment).chain(&current) {
            if let Err(error) = segment.sync() {
                if crate::base::planted!("failed-sync-acknowledged") {
                    continue;
                }
                db.status.latch(&error);
                return Err(error);
            }
            db.stats.wal_syncs.add(1);
        }
        self.pool.note_sync();
        let mut state = self.sync.lock();
        (state.group, state.took) = (group, began.elapsed());
        state
            .unsynced
            .retain(|(segment, end)| *end > target || !closed.iter().any(|(done, _)| Arc::ptr_eq(done, segment)));
        drop(state);
        // Release: pairs with the Acquire in `durable`. Only the leader stores, so it never goes back.
        self.durable.store(target.0 + u64::from(crate::base::planted!("watermark-too-high")), Ordering::Release);
        if let Some(segment) = current {
            self.store_mark(db, &segment, target)?;
            self.refine(db, &segment);
        }
        Ok(())
    }

    /// Moves on to a segment made for syncs, once there is one, when this one is not and is synced again and again.
    fn refine(&self, db: &DbInner, segment: &Arc<Segment<Route>>) {
        if !segment.is_too_coarse() {
            return;
        }
        if self.pool.is_fine_ready() {
            // What fails is the next writer's answer, as in `store_mark`.
            let _ = self.advance(db, Some(segment), 0, None, Seal::Full);
        } else {
            db.background.wake_housekeeper();
        }
    }

    fn store_mark(&self, db: &DbInner, segment: &Arc<Segment<Route>>, durable: SeqNo) -> Result<()> {
        match segment.reserve(0, 0) {
            Reserved::Ticket(ticket) => {
                let stored = segment.write(ticket, RecordKind::Mark, &[], payload_crc(&[]), durable);
                stored.inspect_err(|error| db.status.latch(error))
            }
            // The seal and the next segment's start record carry the watermark instead.
            Reserved::Seal(at) => {
                // What was to be synced is. That no next segment could be made is the next writer's answer (a failed
                // store has latched).
                let _ = self.advance(db, Some(segment), 0, Some(at), Seal::Full);
                Ok(())
            }
            Reserved::Full => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::db::{Db, Durability, Options, WriteOptions};
    use crate::fs::posix::PosixFs;
    use std::sync::Arc;

    /// A load, then syncs: they go into a segment that is made for them as soon as there is one, and stay there.
    #[test]
    fn syncs_leave_a_segment_that_was_not_made_for_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut options = Options::new();
        for (key, value) in [("wal.segment_size", "4MiB"), ("memtable.size", "64MiB")] {
            options.set(key, value).expect("an option");
        }
        let db = Db::open_on(Arc::new(PosixFs::new()), &dir.path().join("db"), &options).expect("open");
        let keyspace = db.default_keyspace();
        let put = |n: u32, durability: Durability| {
            let options = WriteOptions { durability, deadline_micros: 0 };
            keyspace.put(&options, &n.to_be_bytes(), &[7; 1000]).expect("put");
        };
        (0..2000).for_each(|n| put(n, Durability::Os));
        let segment = || db.inner().log.current_segment().expect("a segment");
        let before = segment();
        assert_eq!(before.bytes(), 4 << 20);
        if !before.is_mapped() {
            return;
        }
        let moved = (0..1000).find(|&n| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            put(n, Durability::Fsync);
            segment().number() != before.number()
        });
        assert!(moved.is_some_and(|n| n >= 10), "after {moved:?} syncs");
        let made_for_syncs = segment();
        (0..100).for_each(|n| put(n, Durability::Fsync));
        assert_eq!(segment().number(), made_for_syncs.number());
    }
}
