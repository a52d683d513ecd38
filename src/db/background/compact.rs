//! The compaction threads: pick, run (in parts, where that pays), install.
//!
//! Invariants
//! - I1  A job never sees the database: it gets its environment and answers files; only here are they installed.
//! - I2  Files of an edit whose logging failed are not removed: the edit may be on the device. The next open removes
//!   what no manifest names.
//!
//! Failure: outputs are removed, the inputs stay, the reason is kept, and the thread waits before it picks again.

use crate::base::clock;
use crate::base::ids::Level;
use crate::base::log_sink::LogLevel;
use crate::base::sync::Ordering;
use crate::compaction::{self, JobEnv, KeyRange, PartOutput, Plan};
use crate::db::inner::DbInner;
use crate::db::state::KeyspaceState;
use crate::db::status::Job;
use crate::error::{Code, Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// First and longest pause after a failed job.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// The thread's body.
pub fn run(db: &DbInner) {
    let mut seen = 0;
    let mut pause = RETRY_AFTER;
    while !db.background.is_stopping() {
        let Some((keyspace, plan)) = pick(db) else {
            if db.status.background(Job::Compaction).is_some() {
                // Somebody else did what failed.
                db.status.set_background(Job::Compaction, None);
                db.background.job_done();
            }
            seen = db.background.compact.wait(seen, Duration::from_secs(1));
            continue;
        };
        // What this job frees may make another one due for a second thread.
        db.background.compact.ring();
        match run_plan(db, &keyspace, &plan) {
            Ok(()) => {
                pause = RETRY_AFTER;
                db.status.set_background(Job::Compaction, None);
            }
            Err(error) if error.code() == Code::Cancelled || db.background.is_stopping() => {}
            Err(error) => {
                db.logger.log(LogLevel::Error, &format!("compaction failed: {error}"));
                db.status.set_background(Job::Compaction, Some(&error));
                db.stall.wake();
                drop(plan);
                db.background.pause(&db.background.compact, pause);
                pause = (pause * 2).min(RETRY_AFTER_MAX);
            }
        }
        db.stall.update(db);
        db.background.job_done();
    }
}

/// The most urgent job of all keyspaces.
fn pick(db: &DbInner) -> Option<(Arc<KeyspaceState>, Plan)> {
    let mut due: Vec<_> = db
        .keyspaces
        .all()
        .into_iter()
        // Relaxed: a paused keyspace is looked at again soon.
        .filter(|k| !k.is_paused.load(Ordering::Relaxed) && !k.is_dropped())
        .map(|k| {
            let scores = compaction::scores(&k.get().version, &k.options.shape());
            (scores.into_iter().fold(0.0, f64::max), k)
        })
        .filter(|(score, _)| *score >= 1.0)
        .collect();
    due.sort_by(|a, b| b.0.total_cmp(&a.0));
    if due.is_empty() {
        return None;
    }
    // No version is published while claims are taken: a table that a stale version names may be gone.
    let _current = db.install.lock();
    due.into_iter().find_map(|(_, keyspace)| {
        let version = Arc::clone(&keyspace.get().version);
        compaction::pick(&version, &keyspace.options.shape()).map(|plan| (keyspace, plan))
    })
}

/// Runs a claimed plan and installs what it made.
fn run_plan(db: &DbInner, keyspace: &Arc<KeyspaceState>, plan: &Plan) -> Result<()> {
    let _running = db.stats.compaction_begins();
    let began = clock::now();
    let level0: u64 = plan.inputs.iter().filter(|(l, _)| l.0 == 0).map(|(_, t)| t.meta().summary.raw_bytes).sum();
    let takes_level0 = level0 > 0 && !plan.is_move;
    let _level0 = takes_level0.then(|| Level0Job::new(keyspace));
    let output = if plan.is_move { PartOutput::default() } else { merge(db, keyspace, plan)? };
    let files = output.files.len();
    if keyspace.is_dropped() {
        compaction::discard(&*db.fs, &db.path, &output.files);
        return Ok(());
    }
    match db.install(plan.edit(keyspace.id, output.files)) {
        // Dropped meanwhile: nothing was logged, and the outputs go.
        Err(error) if error.code() == Code::Invalid && db.is_gone(keyspace.id) => return Ok(()),
        other => other?,
    }
    let time = began.elapsed();
    if takes_level0 {
        db.stall.drained(level0, time);
    }
    db.stats.compaction_jobs_run.add(1);
    db.stats.compaction_bytes_read.add(output.bytes_read);
    db.stats.compaction_bytes_written.add(output.bytes_written);
    db.logger.log(
        LogLevel::Info,
        &format!(
            "{} {} tables ({} bytes) of {} to level {}: {files} tables ({} bytes) in {} ms",
            if plan.is_move { "moved" } else { "compacted" },
            plan.inputs.len(),
            plan.input_bytes(),
            String::from_utf8_lossy(&keyspace.name),
            plan.output,
            output.bytes_written,
            time.as_millis()
        ),
    );
    Ok(())
}

/// While it lives the brake counts the level-0 tables of the running job down.
struct Level0Job<'a>(&'a KeyspaceState);

impl<'a> Level0Job<'a> {
    fn new(keyspace: &'a KeyspaceState) -> Level0Job<'a> {
        *keyspace.level0_began.lock() = Some(clock::now());
        Level0Job(keyspace)
    }
}

impl Drop for Level0Job<'_> {
    fn drop(&mut self) {
        *self.0.level0_began.lock() = None;
    }
}

/// Merges all ranges of a plan, several at once where allowed; all outputs or none.
fn merge(db: &DbInner, keyspace: &KeyspaceState, plan: &Plan) -> Result<PartOutput> {
    let shape = keyspace.options.shape();
    // A merge of less than two tables' worth is over before a second thread has warmed up.
    let parts = if plan.input_bytes() > 2 * shape.table_bytes { db.options.compaction_subjobs_max } else { 1 };
    let ranges = plan.split(&db.tables, parts)?;
    let env = JobEnv {
        fs: Arc::clone(&db.fs),
        dir: db.path.clone(),
        database: db.database,
        tables: Arc::clone(&db.tables),
        table: keyspace.table_config(plan.output.0 as usize),
        shape,
        retain: db.snapshots.retain(|| db.log.visible()),
    };
    if ranges.len() > 1 {
        db.stats.compaction_parallel_merges.add(1);
    }
    let results = run_parts(db, &env, plan, &ranges);
    let mut whole = PartOutput::default();
    let mut failure = None;
    for result in results {
        match result {
            Ok(part) => {
                whole.files.extend(part.files);
                whole.bytes_read += part.bytes_read;
                whole.bytes_written += part.bytes_written;
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if let Some(error) = failure {
        compaction::discard(&*db.fs, &db.path, &whole.files);
        return Err(error);
    }
    Ok(whole)
}

fn run_parts(db: &DbInner, env: &JobEnv, plan: &Plan, ranges: &[KeyRange]) -> Vec<Result<PartOutput>> {
    let next_number = || db.versions.next_file_number();
    let run = |range: &KeyRange| compaction::run_part(env, plan, range, &next_number, &db.background.cancel);
    let Some((first, rest)) = ranges.split_first() else { return Vec::new() };
    std::thread::scope(|scope| {
        let mut handles = Vec::with_capacity(rest.len());
        let mut results = Vec::with_capacity(ranges.len());
        for range in rest {
            let builder = std::thread::Builder::new().name("lsm-merge".into());
            let masked = crate::fs::posix::without_signals();
            let spawned = builder.spawn_scoped(scope, || run(range));
            drop(masked);
            match spawned {
                Ok(handle) => handles.push(handle),
                // No more threads to be had: this part runs here.
                Err(_) => results.push(run(range)),
            }
        }
        results.push(run(first));
        for handle in handles {
            results.push(handle.join().unwrap_or_else(|_| Err(Error::new(Code::Panic, "a merge panicked"))));
        }
        // Parts come back in any order; the edit wants key order within a level.
        results.sort_by_key(first_key);
        results
    })
}

fn first_key(part: &Result<PartOutput>) -> Option<Vec<u8>> {
    part.as_ref().ok().and_then(|p| p.files.first()).map(|f| f.summary.smallest.clone())
}

/// Compacts `range` of a keyspace down to its last level, on the calling thread.
pub fn compact_range(db: &DbInner, keyspace: &Arc<KeyspaceState>, range: &KeyRange) -> Result<()> {
    let _paused = Paused::new(keyspace);
    let mut rest = Some((range.clone(), Level(0)));
    while let Some((range, level)) = rest.clone() {
        db.status.check_writable()?;
        if keyspace.is_dropped() {
            return Err(Error::new(Code::Closed, "the keyspace was dropped"));
        }
        let picked = {
            let _current = db.install.lock();
            let version = Arc::clone(&keyspace.get().version);
            compaction::pick_range(&version, &keyspace.options.shape(), &range, level)
        };
        match picked {
            Ok(Some(plan)) => {
                rest.clone_from(&plan.rest);
                // A merge that close cancelled answers as every call after close does.
                run_plan(db, keyspace, &plan).or_else(|error| db.status.check_open().and(Err(error)))?;
                drop(plan);
                db.stall.update(db);
                db.background.job_done();
            }
            Ok(None) => return Ok(()),
            // A running job has one of the tables: wait for it to end.
            Err(()) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    Ok(())
}

/// Keeps background picks away from a keyspace.
struct Paused<'a>(&'a KeyspaceState);

impl<'a> Paused<'a> {
    fn new(keyspace: &'a KeyspaceState) -> Paused<'a> {
        keyspace.is_paused.store(true, Ordering::Relaxed);
        Paused(keyspace)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.is_paused.store(false, Ordering::Relaxed);
    }
}
