//! Closing: no more calls, threads ended, everything flushed, the log removed or cut, the lock given up.
//!
//! Failure: what could not be flushed stays in the log, which is synced and cut at its end; the first error is answered
//! and the database is closed all the same.

use super::background;
use super::inner::DbInner;
use crate::base::ids::{FileNumber, KeyspaceId, SeqNo};
use crate::base::log_sink::LogLevel;
use crate::error::Result;
use crate::version::VersionEdit;
use crate::wal::CleanEnd;

/// Marks the database closed and wakes whoever waits; false when it was closed before.
pub fn begin(db: &DbInner) -> bool {
    let first = db.status.close();
    if first {
        db.background.cancel();
        db.stall.wake();
    }
    first
}

/// Does the rest, once no call is inside any more.
pub fn finish(db: &DbInner) -> Result<()> {
    background::stop_workers(db);
    let result = if db.options.is_read_only() { Ok(()) } else { settle(db) };
    db.cache.clear();
    background::stop_reaper(db);
    if let Err(error) = &result {
        db.logger.log(LogLevel::Error, &format!("closing: {error}"));
    }
    db.logger.log(LogLevel::Info, "closed");
    drop(db.lock.lock().take());
    result
}

/// Leaves the folder so that the next open has nothing to replay.
fn settle(db: &DbInner) -> Result<()> {
    background::give_back_let_go(db);
    db.status.check_latched()?;
    let last_segment = db.log.stop(db);
    let last_seq = db.log.visible();
    if db.log.is_recovering() {
        // The recovered log was never rewritten (a full disk): it stays as it is for the next open.
        background::flush_recovered(db)?;
        background::give_back_let_go(db);
        return Ok(());
    }
    let flushed = background::flush_sealed(db);
    let mut edit = VersionEdit { last_seq: Some(last_seq), ..VersionEdit::default() };
    match (&flushed, last_segment) {
        (Err(_), Some((segment, _))) => {
            db.log.sync_to(db, SeqNo(last_seq.0 + 1))?;
            db.log.sync_closed(db)?;
            let offset = segment.truncate_and_sync()?;
            edit.clean_end = Some(CleanEnd { number: segment.number(), offset, last_seq });
        }
        (Err(_), None) => return flushed,
        (Ok(()), _) => {
            edit.clean_end = Some(CleanEnd { number: FileNumber(0), offset: 0, last_seq });
            edit.first_segment = Some(db.versions.next_file_number());
            edit.flushed = vec![(KeyspaceId::DEFAULT, last_seq)];
        }
    }
    db.log.pool.remove_spares()?;
    db.install(edit)?;
    for number in db.log.take_free(db.versions.log_state().first_segment) {
        db.log.pool.give_back(number)?;
    }
    db.log.pool.remove_spares()?;
    flushed
}
