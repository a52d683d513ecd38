//! The housekeeper (segments ahead of need, the log's total size) and the reaper (what pinned readers held back).
//!
//! Failure: noted; tried again on the next turn.

use crate::base::clock;
use crate::base::ids::SeqNo;
use crate::base::log_sink::LogLevel;
use crate::base::sync::Ordering;
use crate::db::inner::DbInner;
use crate::db::write::Seal;
use crate::fs::names::{self, FileKind};
use crate::version::VersionEdit;
use std::time::{Duration, Instant};

/// The housekeeper's body.
pub fn run(db: &DbInner) {
    let mut seen = 0;
    let mut rest = Rest { visible: db.log.visible(), since: clock::now() };
    while !db.background.is_stopping() {
        let next_number = || db.versions.next_file_number();
        if let Err(error) = db.log.pool.prepare_ahead(&next_number) {
            db.logger.log(LogLevel::Warn, &format!("no segment could be made ready: {error}"));
        }
        super::flush::give_back_let_go(db);
        // What was given back meanwhile may be one file too many.
        super::flush::trim_log(db);
        db.log.arenas.trim();
        bound_log(db);
        settle_doubt(db);
        if !db.log.is_recovering() {
            super::flush::release_log(db);
            rest.look(db);
        }
        seen = db.background.house.wait(seen, Duration::from_secs(1));
    }
}

/// After so long without a write, a log whose records are all in tables is at rest, and no memory is kept for more.
const REST_AFTER: Duration = Duration::from_secs(3);

/// How long nobody has written.
struct Rest {
    visible: SeqNo,
    since: Instant,
}

impl Rest {
    fn look(&mut self, db: &DbInner) {
        let visible = db.log.visible();
        if visible != self.visible {
            *self = Rest { visible, since: clock::now() };
        } else if self.since.elapsed() >= REST_AFTER {
            settle(db);
        }
    }
}

/// Gives back the memory kept for the next memtable, and the space of a log whose records are all in tables.
pub fn settle(db: &DbInner) {
    db.log.arenas.clear();
    let is_flushed = db.keyspaces.all().iter().all(|keyspace| keyspace.oldest_segment().is_none());
    if !is_flushed || !db.log.is_swollen() || db.status.check_writable().is_err() {
        return;
    }
    match db.log.shrink(db) {
        Ok(()) => super::flush::release_log(db),
        Err(error) => db.logger.log(LogLevel::Warn, &format!("the log at rest could not be made small: {error}")),
    }
}

/// After a drop of a keyspace that failed while it was logged: puts a manifest in force that says it did not happen.
fn settle_doubt(db: &DbInner) {
    if db.status.is_in_doubt()
        && let Err(error) = db.install(VersionEdit::default())
    {
        db.logger.log(LogLevel::Warn, &format!("the manifest is still in doubt: {error}"));
    }
}

/// Flushes the keyspace that holds back the oldest segment once the log exceeds `wal.total_max`.
fn bound_log(db: &DbInner) {
    if db.log.bytes() <= db.options.wal_bytes_max {
        return;
    }
    let holder = db.keyspaces.all().into_iter().min_by_key(|k| k.oldest_segment().map_or(u64::MAX, |n| n.0));
    let Some(holder) = holder else { return };
    let mem = holder.mem.lock();
    // Sealed ones are on their way already.
    let is_idle = mem.sealed.is_empty() && mem.active.is_some();
    drop(mem);
    if is_idle && let Err(error) = db.log.seal_now(db, Seal::Slot(holder.slot)) {
        db.logger.log(LogLevel::Warn, &format!("an old memtable could not be sealed: {error}"));
    }
}

/// The reaper's body: the only thread that hands garbage to the epoch and removes files.
pub fn reap(db: &DbInner) {
    let mut held = Held { most: 0, trimmed: clock::now(), is_due_again: false };
    // Acquire: pairs with the Release in `stop_reaper`.
    while !db.background.reaper_stopping.load(Ordering::Acquire) {
        db.retired.run_once();
        db.cache.reap();
        remove_obsolete(db);
        held.look(db, TRIM_PAUSE);
        let is_pending = db.retired.pending() > 0 || db.cache.retired_bytes() > 0;
        let pause = if is_pending { Duration::from_millis(10) } else { Duration::from_millis(100) };
        db.retired.wait(pause);
    }
    // What is retired may hold the cache, which holds this list: nothing must be left.
    db.retired.drain(1000);
    db.cache.drain(1000);
    remove_obsolete(db);
    held.look(db, Duration::ZERO);
}

/// The allocator is asked to give memory back when so much less is held than before, and not more often than so.
const TRIM_BYTES: usize = 8 << 20;
const TRIM_PAUSE: Duration = Duration::from_secs(1);

/// Blocks of the cache, in use or waiting for readers. Small allocations between them keep the allocator from giving
/// their pages back by itself: a cache that was emptied would cost its full size for ever.
struct Held {
    most: usize,
    trimmed: Instant,
    /// The last trim is to be followed by one more: what the jobs that emptied the cache used is freed a little later.
    is_due_again: bool,
}

impl Held {
    fn look(&mut self, db: &DbInner, pause: Duration) {
        let now = db.cache.bytes() + db.cache.retired_bytes() + db.retired.bytes();
        self.most = self.most.max(now);
        let is_less = now + TRIM_BYTES <= self.most;
        if (is_less || self.is_due_again) && self.trimmed.elapsed() >= pause {
            crate::cache::release_spares();
            crate::fs::posix::trim_memory();
            self.most = now;
            self.trimmed = clock::now();
            self.is_due_again = is_less;
        }
    }
}

/// Removes table files that no version names any more.
pub fn remove_obsolete(db: &DbInner) {
    if db.options.is_read_only() {
        return;
    }
    for number in db.versions.take_obsolete() {
        let path = names::path(&db.path, FileKind::Table, number);
        if let Err(error) = db.fs.remove(&path) {
            db.logger.log(LogLevel::Warn, &format!("obsolete table could not be removed: {error}"));
        }
    }
}
