//! The flush thread: sealed memtables become level-0 tables, then their log segments are given back.
//!
//! Invariants
//! - I1  A memtable is flushed only once everything below its end is visible, so no writer is still inside.
//! - I2  Before the edit is logged, the log is durable up to the table's end where another keyspace has unflushed
//!   entries: else a power cut could leave half of a batch across keyspaces.
//! - I3  A segment is given back only after the edit that moves `first_segment` past it is durable.
//!
//! Failure: nothing changes, the reason is kept for writers that wait, and the flush is tried again.

use crate::base::clock;
use crate::base::ids::{FileNumber, KeyspaceId, Level, SeqNo};
use crate::base::log_sink::LogLevel;
use crate::base::sync::{AtomicUsize, Ordering};
use crate::db::inner::DbInner;
use crate::db::options;
use crate::db::state::{KeyspaceState, MemRef};
use crate::db::status::Job;
use crate::error::{Code, Error, Result};
use crate::flush::FlushJob;
use crate::fs::names::{self, FileKind};
use crate::version::{FileMeta, VersionEdit};
use std::sync::Arc;
use std::time::Duration;

/// How long a failed flush waits before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The thread's body.
pub fn run(db: &DbInner) {
    let mut seen = 0;
    while !db.background.is_stopping() {
        let result = if db.log.is_recovering() {
            rewrite(db)
        } else if let Some((keyspace, sealed)) = claim(db) {
            let result = flush(db, &keyspace, &sealed);
            unclaim(&keyspace);
            result
        } else {
            if db.status.background(Job::Flush).is_some() {
                // What failed is not there any more (its keyspace was dropped).
                db.status.set_background(Job::Flush, None);
                db.background.job_done();
            }
            seen = db.background.flush.wait(seen, Duration::from_secs(1));
            continue;
        };
        match result {
            Ok(()) => db.status.set_background(Job::Flush, None),
            Err(error) => {
                db.logger.log(LogLevel::Error, &format!("flush failed: {error}"));
                db.status.set_background(Job::Flush, Some(&error));
                db.stall.wake();
                db.background.job_done();
                if db.status.is_latched() {
                    return;
                }
                db.background.pause(&db.background.flush, RETRY_AFTER);
            }
        }
        db.stall.update(db);
        db.background.job_done();
        db.background.flush.ring();
    }
}

/// Tries again to rewrite a recovered log: one of the flush threads does it, the others wait for it.
fn rewrite(db: &DbInner) -> Result<()> {
    let _one_at_a_time = db.background.rewriting.lock();
    if db.log.is_recovering() { flush_recovered(db) } else { Ok(()) }
}

/// Takes the sealed memtables of the keyspace that holds back the oldest segment.
fn claim(db: &DbInner) -> Option<(Arc<KeyspaceState>, Vec<MemRef>)> {
    let mut all = db.keyspaces.all();
    all.sort_by_key(|k| k.oldest_segment().unwrap_or(FileNumber(u64::MAX)));
    for keyspace in all {
        let mut mem = keyspace.mem.lock();
        if mem.is_flushing || mem.sealed.is_empty() {
            continue;
        }
        mem.is_flushing = true;
        let sealed = mem.sealed.clone();
        drop(mem);
        return Some((keyspace, sealed));
    }
    None
}

fn unclaim(keyspace: &KeyspaceState) {
    let mut mem = keyspace.mem.lock();
    mem.is_flushing = false;
    mem.flush_began = None;
}

/// Flushes `sealed`, the oldest sealed memtables of `keyspace`, and installs the table.
pub fn flush(db: &DbInner, keyspace: &Arc<KeyspaceState>, sealed: &[MemRef]) -> Result<()> {
    let Some(end) = sealed.last().map(|m| m.end) else { return Ok(()) };
    if !crate::base::planted!("flush-before-visible") && !db.log.publisher.wait_visible(end) {
        return Err(db.status.error_or("the log failed"));
    }
    let began = clock::now();
    let memory: usize = sealed.iter().map(|m| m.table.bytes()).sum();
    keyspace.mem.lock().flush_began = Some((began, memory));
    if others_unflushed(db, keyspace) && db.log.needs_sync(end) && !crate::base::planted!("flush-before-log-sync") {
        db.log.sync_to(db, end)?;
    }
    let meta = crate::flush::run(&job(db, keyspace, sealed))?;
    let written = meta.as_ref().map_or(0, |m| m.summary.size);
    let added = meta.into_iter().map(|m| (keyspace.id, Level(0), m)).collect();
    match install(db, &[(keyspace.id, sealed.len())], end, added) {
        // Dropped meanwhile: nothing was logged, and the table goes.
        Err(error) if error.code() == Code::Invalid && db.is_gone(keyspace.id) => return Ok(()),
        other => other?,
    }
    let time = began.elapsed();
    db.stall.flushed(memory as u64, time);
    db.stats.flush_jobs_run.add(1);
    db.stats.flush_bytes_written.add(written);
    db.logger.log(
        LogLevel::Info,
        &format!(
            "flushed {} memtables ({memory} bytes) of {} into {written} bytes in {} ms",
            sealed.len(),
            String::from_utf8_lossy(&keyspace.name),
            time.as_millis()
        ),
    );
    free_segments(db);
    db.background.wake_compact();
    Ok(())
}

fn job(db: &DbInner, keyspace: &KeyspaceState, sealed: &[MemRef]) -> FlushJob {
    FlushJob {
        fs: Arc::clone(&db.fs),
        dir: db.path.clone(),
        database: db.database,
        number: db.versions.next_file_number(),
        table: keyspace.table_config(0),
        memtables: sealed
            .iter()
            .skip(usize::from(crate::base::planted!("flush-skips-a-memtable")))
            .rev()
            .map(|m| Arc::clone(&m.table))
            .collect(),
        retain: db.snapshots.retain(|| db.log.visible()),
        from: None,
        to: None,
    }
}

fn others_unflushed(db: &DbInner, keyspace: &KeyspaceState) -> bool {
    db.keyspaces.all().iter().any(|other| other.id != keyspace.id && other.oldest_segment().is_some())
}

/// Logs the tables that hold everything of the `flushed` memtables, which end before `end`.
fn install(
    db: &DbInner,
    flushed: &[(KeyspaceId, usize)],
    end: SeqNo,
    added: Vec<(KeyspaceId, Level, FileMeta)>,
) -> Result<()> {
    let last = SeqNo(end.0 - 1);
    let bound = db.log.free_bound(|| db.oldest_segment_after(flushed));
    let edit = VersionEdit {
        added,
        // With nothing to flush (all of it dropped), `default` stands for those that hold nothing.
        flushed: if flushed.is_empty() {
            vec![(KeyspaceId::DEFAULT, last)]
        } else {
            flushed.iter().map(|(id, _)| (*id, last)).collect()
        },
        last_seq: Some(last),
        ..VersionEdit::default()
    };
    db.install_flush(edit, flushed, bound)
}

/// Lets go of closed segments that no memtable needs, where no flush does it: a dropped keyspace leaves such.
pub fn release_log(db: &DbInner) {
    let bound = db.log.free_bound(|| db.oldest_segment_after(&[]));
    let Some(bound) = bound.filter(|bound| db.log.has_closed_below(bound.first_segment)) else { return };
    match db.install_flush(VersionEdit::default(), &[], Some(bound)) {
        Ok(()) => free_segments(db),
        Err(error) => db.logger.log(LogLevel::Warn, &format!("old log segments could not be let go: {error}")),
    }
}

/// Gives back the segments that no memtable needs. Only those below the manifest's `first_segment` are taken.
fn free_segments(db: &DbInner) {
    let bound = db.versions.log_state().first_segment;
    give_back(db, db.log.take_free(bound));
    trim_log(db);
    db.background.wake_housekeeper();
}

fn give_back(db: &DbInner, free: Vec<FileNumber>) {
    for number in free {
        if let Err(error) = db.log.pool.give_back(number) {
            db.logger.log(LogLevel::Warn, &format!("log segment {number} could not be given back: {error}"));
        }
    }
}

/// A segment file of this size is not removed while somebody waits for an open: 64 MiB take ten milliseconds.
const LET_GO_BYTES: u64 = 4 << 20;

/// As `free_segments`, for those of an earlier run; leaves the removal of large files to the housekeeper.
fn free_recovered(db: &DbInner) {
    let bound = db.versions.log_state().first_segment;
    let bytes =
        |number| db.fs.metadata(&names::path(&db.path, FileKind::Wal, number)).ok().flatten().map_or(0, |m| m.len);
    let (large, small) = db.log.take_free(bound).into_iter().partition(|&number| bytes(number) >= LET_GO_BYTES);
    give_back(db, small);
    *db.background.let_go.lock() = large;
    trim_log(db);
    db.background.wake_housekeeper();
}

/// Removes what `free_recovered` left.
pub fn give_back_let_go(db: &DbInner) {
    let free = std::mem::take(&mut *db.background.let_go.lock());
    give_back(db, free);
}

/// When nothing waits in memory, one segment besides the current one is enough.
pub fn trim_log(db: &DbInner) {
    if db.keyspaces.all().iter().all(|keyspace| keyspace.oldest_segment().is_none())
        && let Err(error) = db.log.pool.trim()
    {
        db.logger.log(LogLevel::Warn, &format!("a spare log segment could not be removed: {error}"));
    }
}

/// Flushes every sealed memtable, on the calling thread (close).
pub fn flush_sealed(db: &DbInner) -> Result<()> {
    while let Some((keyspace, sealed)) = claim(db) {
        let result = flush(db, &keyspace, &sealed);
        unclaim(&keyspace);
        result?;
    }
    Ok(())
}

/// Rewrites what a replay recovered into tables, all keyspaces in one edit: the old segments may be volatile, and a
/// batch across keyspaces must not be torn by a power cut in between. No write is taken before this has succeeded.
pub fn flush_recovered(db: &DbInner) -> Result<()> {
    let mut flushed = Vec::new();
    let mut jobs = Vec::new();
    // What was dropped at a torn end is gone for good: everything up to here is in tables then.
    let end = SeqNo(db.log.visible().0 + 1);
    for keyspace in db.keyspaces.all() {
        let sealed = keyspace.mem.lock().sealed.clone();
        if sealed.is_empty() {
            continue;
        }
        flushed.push((keyspace.id, sealed.len()));
        jobs.extend(parts(db, &keyspace, &sealed).into_iter().map(|job| (keyspace.id, job)));
    }
    let (mut added, mut failure) = (Vec::new(), None);
    for (id, result) in run_jobs(&jobs) {
        match result {
            Ok(meta) => added.extend(meta.map(|m| (id, Level(0), m))),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if let Some(error) = failure {
        remove_tables(db, &added);
        return Err(error);
    }
    install(db, &flushed, end, added)?;
    free_recovered(db);
    db.background.wake_compact();
    Ok(())
}

/// A recovered memtable of more than twice so many bytes is written as several tables side by side.
const PART_BYTES: usize = 4 << 20;
/// Most of them: each is one more table in level 0.
const PARTS_MAX: usize = 4;

/// The jobs that write `sealed`: one, or one for each of several ranges of keys.
fn parts(db: &DbInner, keyspace: &KeyspaceState, sealed: &[MemRef]) -> Vec<FlushJob> {
    let bytes: usize = sealed.iter().map(|m| m.table.bytes()).sum();
    let count = if bytes < 2 * PART_BYTES { 1 } else { options::cores().min(PARTS_MAX) };
    let largest = sealed.iter().max_by_key(|m| m.table.entries());
    let mut cuts = largest.filter(|_| count > 1).map_or(Vec::new(), |m| m.table.cuts(count)).into_iter();
    let mut jobs = Vec::with_capacity(count);
    let mut from = None;
    loop {
        let to = cuts.next();
        let is_last = to.is_none();
        jobs.push(FlushJob { from, to: to.clone(), ..job(db, keyspace, sealed) });
        if is_last {
            return jobs;
        }
        from = to;
    }
}

/// Runs jobs, as many side by side as there are cores; answers their results in any order.
fn run_jobs(jobs: &[(KeyspaceId, FlushJob)]) -> Vec<(KeyspaceId, Result<Option<FileMeta>>)> {
    let bytes: usize = jobs.iter().map(|(_, job)| job.memtables.iter().map(|m| m.bytes()).sum::<usize>()).sum();
    let helpers =
        if bytes < PART_BYTES { 0 } else { options::cores().min(PARTS_MAX).min(jobs.len()).saturating_sub(1) };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        // Relaxed: it hands out numbers and nothing else.
        while let Some((id, job)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = crate::flush::run(job);
            let is_failed = result.is_err();
            done.push((*id, result));
            if is_failed {
                // The others would be removed again.
                next.store(jobs.len(), Ordering::Relaxed);
            }
        }
        done
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(helpers);
        for _ in 0..helpers {
            let _masked = crate::fs::posix::without_signals();
            match std::thread::Builder::new().name("lsm-replay".into()).spawn_scoped(scope, work) {
                Ok(thread) => threads.push(thread),
                // No more threads to be had: what is left is done here.
                Err(_) => break,
            }
        }
        let mut results = work();
        for thread in threads {
            match thread.join() {
                Ok(done) => results.extend(done),
                Err(_) => results.push((KeyspaceId::DEFAULT, Err(Error::new(Code::Panic, "a flush panicked")))),
            }
        }
        results
    })
}

fn remove_tables(db: &DbInner, added: &[(KeyspaceId, Level, FileMeta)]) {
    for (_, _, meta) in added {
        let _ = db.fs.remove(&names::path(&db.path, FileKind::Table, meta.number));
    }
}
