//! Opening: check the folder, lock it, read the manifest, replay the log, rewrite what was recovered, start threads.
//!
//! Invariants
//! - I1  Nothing in a folder is touched before it is known to be ours (or empty) and locked.
//! - I2  What a replay recovered is in synced tables before the first write is taken; until then (a full disk) reads go
//!   on and writes answer why.
//! - I3  Read-only writes no byte: no lock file is made, no LOG, no recovery output.
//!
//! Failure: the lock is given up; files written by a failed rewrite are removed by it or at the next open.

use super::api::Durability;
use super::background;
use super::inner::DbInner;
use super::keyspaces::Keyspaces;
use super::log_file::LogFile;
use super::options::{DbOptions, Options, Scope};
use super::recover;
use super::snapshots::SnapshotList;
use super::stall::Stall;
use super::state::KeyspaceState;
use super::stats::Stats;
use super::status::{Job, Status};
use super::write::WriteLog;
use crate::base::epoch::Retired;
use crate::base::ids::{FileNumber, KeyspaceId, SeqNo};
use crate::base::log_sink::{LogLevel, Logger, NullSink};
use crate::base::sync::Mutex;
use crate::cache::{Cache, CacheConfig};
use crate::error::{Code, Error, Result};
use crate::fs::names::{self, FileKind};
use crate::fs::{Fs, Lock};
use crate::version::{KeyspaceRecord, TableCache, VersionEdit, VersionSet, VersionSetConfig};
use crate::wal::{LogConfig, Replayed, SegmentPool};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens the database in `path`.
pub fn open(fs: Arc<dyn Fs>, path: &Path, options: &Options) -> Result<Arc<DbInner>> {
    let path = absolute(path)?;
    let given = options.database("")?;
    let is_new = check_folder(&*fs, &path, &given)?;
    let lock = fs.lock(
        &names::path(&path, FileKind::Lock, FileNumber(0)),
        !given.is_read_only() && !crate::base::planted!("folder-lock-shared"),
    )?;
    let logger = logger(&fs, &path, options, given.is_read_only());
    let config = VersionSetConfig {
        fs: Arc::clone(&fs),
        dir: path.clone(),
        read_only: given.is_read_only(),
        logger: logger.clone(),
    };
    let versions = if is_new { VersionSet::create(config)? } else { VersionSet::recover(config)? };
    logger.log(LogLevel::Info, &format!("opening version {}", env!("CARGO_PKG_VERSION")));
    let db = assemble(fs, path, options, versions, logger, lock)?;
    db.stall.update(&db);
    background::start(&db)?;
    db.background.wake_compact();
    Ok(db)
}

/// Makes a path absolute without following links, so that a later chdir changes nothing.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io(&e, format_args!("path {}", path.display())))
}

/// Whether a new database is to be made in `path`; an error when the folder is not ours or may not be made.
fn check_folder(fs: &dyn Fs, path: &Path, given: &DbOptions) -> Result<bool> {
    let may_create = given.create_if_missing && !given.is_read_only();
    let missing = || Error::os(libc::ENOENT, format_args!("no database in {}", path.display()));
    match fs.metadata(path)? {
        None if may_create => {
            fs.create_dir(path)?;
            sync_parent(fs, path)?;
            return Ok(true);
        }
        None => return Err(missing()),
        // A last symbolic link is followed: the folder behind it counts.
        Some(_) => {}
    }
    let entries = fs.list(path)?;
    if entries.iter().any(|name| matches!(names::parse(name), Some((FileKind::Current, _)))) {
        // Before LOCK and LOG are touched, which those have too.
        crate::version::refuse_foreign(fs, path)?;
        if given.error_if_exists {
            return Err(Error::new(Code::Exists, format!("{} holds a database already", path.display())));
        }
        return Ok(false);
    }
    // Without CURRENT only the remains of a creation that was cut short may stand here.
    if let Some(foreign) = entries.iter().find(|name| names::parse(name).is_none() && !names::is_aside(name)) {
        return Err(Error::invalid(format!(
            "{} is not a database folder: it holds {}",
            path.display(),
            Path::new(foreign).display()
        )));
    }
    let has_data = |kind| entries.iter().any(|name| names::parse(name).is_some_and(|(k, _)| k == kind));
    if has_data(FileKind::Table) || has_data(FileKind::Wal) {
        return Err(Error::corruption(format!("{}: CURRENT is missing beside tables or logs", path.display())));
    }
    if !may_create {
        return Err(missing());
    }
    // An open that was cut short may have made the folder, and its name may not be durable yet.
    match sync_parent(fs, path) {
        // A parent that may not be read cannot be synced either; the folder is somebody else's making then.
        Err(error) if matches!(error.os_errno(), libc::EACCES | libc::EPERM | libc::ENOENT) => Ok(true),
        other => other.map(|()| true),
    }
}

fn sync_parent(fs: &dyn Fs, path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))
}

fn logger(fs: &Arc<dyn Fs>, path: &Path, options: &Options, read_only: bool) -> Logger {
    match options.logger() {
        Some(logger) => logger,
        None if read_only => Arc::new(NullSink),
        None => Arc::new(LogFile::open(Arc::clone(fs), path)),
    }
}

fn assemble(
    fs: Arc<dyn Fs>,
    path: PathBuf,
    options: &Options,
    versions: VersionSet,
    logger: Logger,
    lock: Box<dyn Lock>,
) -> Result<Arc<DbInner>> {
    let settings = options.database(&versions.options())?;
    let parent = options.over(&versions.options())?;
    let retired = Arc::new(Retired::new());
    let cache = Cache::new(CacheConfig { bytes: settings.cache_bytes, shards: 0 }, Arc::default());
    let tables = TableCache::new(
        Arc::clone(&fs),
        path.clone(),
        versions.database(),
        Arc::clone(&cache),
        Arc::clone(&retired),
        settings.open_files_max,
    );
    let keyspaces = open_keyspaces(&versions, &parent)?;
    let default_keyspace = keyspaces
        .by_id(KeyspaceId::DEFAULT)
        .ok_or_else(|| Error::corruption(format!("{}: the manifest names no default keyspace", path.display())))?;
    let recovered = recover::replay(&*fs, &path, &versions, &keyspaces)?;
    let next = SeqNo(recovered.highest_seen.max(versions.log_state().last_seq).0 + 1);
    // What was replayed may be in the page cache only, until it is rewritten.
    let durable = if recovered.segments.is_empty() { next } else { SeqNo(durable_floor(&versions).0 + 1).min(next) };
    let log_config = LogConfig {
        fs: Arc::clone(&fs),
        dir: path.clone(),
        database: versions.database(),
        io: settings.wal_io,
        segment_bytes_max: settings.wal_segment_bytes,
        syncs: settings.durability == Durability::Fsync,
        logger: logger.clone(),
    };
    let db = Arc::new(DbInner {
        database: versions.database(),
        page_bytes_max: fs.memory_bytes() / 2,
        status: Status::new(settings.is_read_only()),
        options: settings,
        open_options: parent,
        path,
        fs,
        logger,
        retired,
        cache,
        tables,
        versions,
        log: WriteLog::new(SegmentPool::new(log_config)?, next, durable),
        snapshots: SnapshotList::default(),
        keyspaces,
        default_keyspace,
        stats: Stats::default(),
        stall: Stall::default(),
        background: background::Background::default(),
        install: Mutex::new(()),
        schema: Mutex::new(()),
        lock: Mutex::new(Some(lock)),
    });
    install_recovered(&db, &recovered)?;
    if !db.options.is_read_only() {
        persist_options(&db, options)?;
        remove_leftovers(&db);
    }
    Ok(db)
}

fn open_keyspaces(versions: &VersionSet, parent: &Options) -> Result<Keyspaces> {
    let keyspaces = Keyspaces::default();
    for record in versions.keyspaces() {
        keyspaces.insert(open_keyspace(&keyspaces, parent, &record)?);
    }
    Ok(keyspaces)
}

/// Up to here everything is in tables that a durable manifest names.
fn durable_floor(versions: &VersionSet) -> SeqNo {
    let flushed = versions.keyspaces().iter().map(|k| k.flushed_seq).min().unwrap_or_default();
    if versions.is_durable() { flushed } else { SeqNo::ZERO }
}

/// The in-memory side of a keyspace that the manifest names.
pub fn open_keyspace(keyspaces: &Keyspaces, parent: &Options, record: &KeyspaceRecord) -> Result<Arc<KeyspaceState>> {
    let settings = Options::new().keyspace(parent, &record.options)?;
    Ok(KeyspaceState::new(
        record.id,
        record.name.clone(),
        keyspaces.take_slot()?,
        settings,
        record.options.clone(),
        Arc::clone(&record.version),
    ))
}

/// Shows what was recovered, and for writing rewrites it into tables and ends the old segments with one edit.
fn install_recovered(db: &DbInner, recovered: &Replayed) -> Result<()> {
    for keyspace in db.keyspaces.all() {
        keyspace.publish(&keyspace.mem.lock(), None, &db.retired);
    }
    if let Some(torn) = &recovered.torn {
        db.logger.log(LogLevel::Warn, &format!("the log was cut: {torn}"));
    }
    if let Some(&highest) = recovered.segments.iter().max() {
        db.versions.raise_file_number(FileNumber(highest.0 + 1));
    }
    if db.options.is_read_only() {
        return Ok(());
    }
    if !db.versions.is_durable() && !crate::base::planted!("recovered-manifest-not-rewritten") {
        // The end of the manifest may be in the page cache only: it is rewritten before anything rests on it.
        match db.install(VersionEdit::default()) {
            Err(error) if error.code() == Code::NoSpace => db.status.set_background(Job::Flush, Some(&error)),
            other => other?,
        }
    }
    if recovered.segments.is_empty() || crate::base::planted!("recovered-not-rewritten") {
        return Ok(());
    }
    db.logger.log(
        LogLevel::Info,
        &format!(
            "replayed {} bytes of {} segments up to sequence {}",
            recovered.bytes,
            recovered.segments.len(),
            recovered.last_seq
        ),
    );
    db.log.adopt(&recovered.segments);
    match background::flush_recovered(db) {
        Err(error) if error.code() == Code::NoSpace => {
            // Reads go on; the flush thread tries again and writes answer this until it has succeeded.
            db.logger.log(LogLevel::Error, &format!("the recovered log could not be rewritten: {error}"));
            db.status.set_background(Job::Flush, Some(&error));
            Ok(())
        }
        other => other,
    }
}

/// Logs the explicitly given options where they differ from the persisted ones.
fn persist_options(db: &DbInner, options: &Options) -> Result<()> {
    let persisted = db.versions.options();
    let text = options.persisted_text(Scope::Database, &persisted)?;
    if text == persisted {
        return Ok(());
    }
    let edit = VersionEdit { options: vec![(None, text)], ..VersionEdit::default() };
    match db.install(edit) {
        // A full disk opens too; the options hold for this run all the same.
        Err(error) if error.code() == Code::NoSpace => Ok(()),
        other => other,
    }
}

/// Removes what no manifest names: temporary files, spares, orphan tables, segments below the first needed.
fn remove_leftovers(db: &DbInner) {
    if !db.versions.is_durable() {
        // A full disk: what the manifest's unsynced end says must not cost a file.
        return;
    }
    let live = db.versions.live_tables();
    let first_segment = db.versions.log_state().first_segment;
    let Ok(entries) = db.fs.list(&db.path) else { return };
    for name in entries {
        let Some((kind, number)) = names::parse(&name) else { continue };
        let is_left = match kind {
            FileKind::Table => !live.contains(&number),
            FileKind::Wal => number < first_segment && !db.background.has_let_go(number),
            // The rewriting of a recovered log may have given the pool a spare already.
            FileKind::Spare => db.log.pool.spare() != Some(number),
            FileKind::Tmp | FileKind::CurrentTmp => true,
            _ => false,
        };
        if is_left {
            let _ = db.fs.remove(&db.path.join(&name));
        }
    }
}
