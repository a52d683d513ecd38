//! Resuming: what failed in the background, or for want of room, is tried again now, and the caller hears how it went.
//!
//! Everything that may be tried again is tried again by itself (a flush after 200 ms, a compaction after up to 10 s, a log
//! segment with the next write). This does it at once. What may not be tried again stays refused: after a failed store or
//! sync of the log nobody knows which bytes the device has, so no later acknowledgement could be kept; the database must be
//! opened again, which rewrites what is left.
//!
//! Threads: any. Failure: why it still does not work; nothing has changed then.

use super::inner::DbInner;
use super::status::Job;
use crate::error::{Code, Error, Result};
use crate::version::VersionEdit;

/// Tries again; `Ok` once nothing fails any more.
pub fn resume(db: &DbInner) -> Result<()> {
    db.status.check_open()?;
    if db.options.is_read_only() {
        return Err(Error::new(Code::ReadOnly, "the database is open read-only"));
    }
    db.status.check_latched().map_err(|error| {
        error.context("this cannot be resumed: close the database and open it again, which keeps all that was durable")
    })?;
    if !db.versions.is_durable() || db.status.is_in_doubt() {
        db.install(VersionEdit::default())?;
    }
    for job in [Job::Flush, Job::Compaction] {
        if db.status.background(job).is_none() {
            continue;
        }
        let failures = db.status.failures(job);
        db.background.retry_now();
        db.background.wait_until(|| {
            db.status.check_writable()?;
            match db.status.background(job) {
                None => Ok(true),
                // An attempt of this time.
                Some(error) if db.status.failures(job) > failures => Err(error),
                Some(_) => Ok(false),
            }
        })?;
    }
    db.log.resume(db)
}
