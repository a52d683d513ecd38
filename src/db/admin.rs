//! Calls that are neither reads nor writes: flush, approximate sizes, destroy.

use super::inner::DbInner;
use super::state::KeyspaceState;
use super::status::Job;
use super::write::Seal;
use crate::base::ids::FileNumber;
use crate::base::iter::Cursor;
use crate::base::iter::View;
use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::fs::names::{self, FileKind};
use std::path::Path;
use std::sync::Arc;

/// Seals and waits until nothing that was written before the call is left in the memtables of `keyspaces`.
pub fn flush(db: &DbInner, keyspaces: &[Arc<KeyspaceState>], seal: Seal) -> Result<()> {
    let has_data = |k: &Arc<KeyspaceState>| {
        let mem = k.mem.lock();
        mem.active.is_some() || !mem.sealed.is_empty()
    };
    if !keyspaces.iter().any(has_data) {
        return Ok(());
    }
    let failures = db.status.failures(Job::Flush);
    db.log.seal_now(db, seal)?;
    let targets: Vec<_> = keyspaces.iter().map(|k| (k, k.mem.lock().sealed.last().map(|m| m.end))).collect();
    db.background.wait_until(|| {
        db.status.check_writable()?;
        // An attempt of this time, not one of a disk that was full before.
        if db.status.failures(Job::Flush) > failures
            && let Some(error) = db.status.background(Job::Flush)
        {
            return Err(error);
        }
        // Not before the flush has given back its log: whoever looks then finds it short.
        Ok(targets.iter().all(|(keyspace, end)| {
            let mem = keyspace.mem.lock();
            let is_done = mem.sealed.first().is_none_or(|m| Some(m.end) > *end);
            keyspace.is_dropped() || (is_done && (!mem.is_flushing || !mem.sealed.is_empty()))
        }))
    })
}

/// About how many bytes and keys lie in `[from, to)`.
pub fn approximate(
    db: &DbInner,
    keyspace: &KeyspaceState,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
) -> Result<(u64, u64)> {
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Ok((0, 0));
    }
    let view = keyspace.get();
    let (mut bytes, mut keys) = (0u64, 0u64);
    for (_, handle) in view.version.tables() {
        let summary = &handle.meta().summary;
        let is_outside = to.is_some_and(|to| summary.smallest.as_slice() >= to)
            || from.is_some_and(|from| summary.largest.as_slice() < from);
        if is_outside {
            continue;
        }
        let reader = db.tables.reader(handle)?;
        let start = from.map_or(Ok(0), |key| reader.approximate_offset(key))?;
        let end = to.map_or(Ok(summary.size), |key| reader.approximate_offset(key))?;
        let part = end.saturating_sub(start);
        bytes += part;
        keys +=
            (u128::from(summary.entries - summary.deletes) * u128::from(part) / u128::from(summary.size.max(1))) as u64;
    }
    for table in &view.memtables {
        let (part, count) = memtable_share(table, from, to)?;
        bytes += part;
        keys += count;
    }
    Ok((bytes, keys))
}

/// How many steps of a memtable are looked at one by one before the rest is estimated.
const STEPS_MAX: u64 = 10_000;

fn memtable_share(
    table: &Arc<crate::memtable::MemTable>,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
) -> Result<(u64, u64)> {
    if from.is_none() && to.is_none() {
        return Ok((table.bytes() as u64, table.entries()));
    }
    let mut cursor = table.cursor(View::Newest(crate::base::ids::SeqNo::MAX));
    match from {
        Some(from) => cursor.seek_ge(from)?,
        None => cursor.seek_first()?,
    }
    let mut count = 0;
    while cursor.valid() && to.is_none_or(|to| cursor.entry().key < to) {
        count += 1;
        if count == STEPS_MAX {
            // Long ranges: half of the rest is as good a guess as any.
            count += table.entries().saturating_sub(STEPS_MAX) / 2;
            break;
        }
        cursor.next()?;
    }
    let mean = table.bytes() as u64 / table.entries().max(1);
    Ok((count * mean, count))
}

/// Removes the files that the library made in `path`, and the folder if that leaves it empty.
pub fn destroy(fs: &dyn Fs, path: &Path) -> Result<()> {
    let Some(meta) = fs.metadata(path)? else {
        return Err(Error::os(libc::ENOENT, format_args!("no database in {}", path.display())));
    };
    if meta.is_file {
        return Err(Error::os(libc::ENOTDIR, path.display()));
    }
    let ours = |name: &std::ffi::OsString| names::parse(name).map(|(kind, _)| kind);
    let is_database = fs.list(path)?.iter().any(|name| ours(name) == Some(FileKind::Current));
    if !is_database {
        return Err(Error::invalid(format!("{} is not a database folder: it has no CURRENT", path.display())));
    }
    crate::version::refuse_foreign(fs, path)?;
    let lock_path = names::path(path, FileKind::Lock, FileNumber(0));
    let lock = fs.lock(&lock_path, true)?;
    // CURRENT goes last but for the lock: cut short, this can be called again.
    for name in fs.list(path)? {
        if ours(&name).is_some_and(|kind| kind != FileKind::Lock && kind != FileKind::Current) {
            fs.remove(&path.join(&name))?;
        }
    }
    fs.remove(&names::path(path, FileKind::Current, FileNumber(0)))?;
    fs.remove(&lock_path)?;
    drop(lock);
    // Not empty: something that is not ours stays, and so does the folder.
    if fs.list(path)?.is_empty() {
        fs.remove_dir(path)?;
    }
    Ok(())
}
