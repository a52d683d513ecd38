//! Verification of an open database: every byte of every table, the manifest, `CURRENT`, and the log up to now.
//!
//! It works on a view: tables that a compaction removes meanwhile stay until it is done with them, and a log segment that
//! is given back meanwhile is no damage. Every file is opened anew by its name, so that what stands in the folder is
//! checked, not what an old descriptor still holds.
//!
//! Invariants
//! - I1  Nothing is written, nothing is latched, the cache is left alone; reads and writes go on.
//! - I2  It goes on past the first damage: the report names every damaged file.
//!
//! Threads: any number at once. Failure: `Closed` when the database is closed meanwhile, and errors of listing the folder.

use super::inner::DbInner;
use super::repair::{list, text};
use super::state::SuperVersion;
use crate::base::ids::{FileIdentity, FileNumber};
use crate::error::{Code, Error, Result};
use crate::fs::OpenMode;
use crate::fs::names::{self, FileKind};
use crate::sstable::{TableReader, TableSummary};
use crate::version::FileMeta;
use crate::wal;
use std::fmt::Write;
use std::sync::Arc;

/// A damaged file.
struct Fault {
    file: String,
    keyspace: Option<String>,
    error: Error,
}

#[derive(Default)]
struct Found {
    tables: u64,
    entries: u64,
    table_bytes: u64,
    manifest_bytes: u64,
    log_bytes: u64,
    segments: u64,
    faults: Vec<Fault>,
}

/// Reads everything; answers the report as JSON, and the first damage if there is any.
pub fn verify(db: &DbInner) -> Result<(String, Option<Error>)> {
    db.status.check_open()?;
    let mut found = Found::default();
    manifest(db, &mut found);
    // The log before the tables: what it needs now is in the memtables of now.
    log(db, &mut found)?;
    for keyspace in db.keyspaces.all() {
        tables(db, &keyspace.name, &keyspace.get(), &mut found)?;
    }
    let first = found.faults.first().map(|fault| {
        let error = Error::corruption(fault.error.message());
        match found.faults.len() - 1 {
            0 => error,
            more => Error::corruption(format!("{} (and {more} more)", error.message())),
        }
    });
    Ok((report(&found), first))
}

fn manifest(db: &DbInner, found: &mut Found) {
    match db.versions.verify_manifest() {
        Ok(bytes) => found.manifest_bytes = bytes,
        Err(error) => {
            let current = names::name(FileKind::Current, FileNumber(0));
            let is_current = error.message().starts_with(&*db.path.join(&current).to_string_lossy());
            let manifest = names::name(FileKind::Manifest, db.versions.manifest_number());
            found.faults.push(Fault { file: if is_current { current } else { manifest }, keyspace: None, error });
        }
    }
}

/// The log, as far as anything in memory rests on it.
fn log(db: &DbInner, found: &mut Found) -> Result<()> {
    let visible = db.log.visible();
    let Some(first) = db.keyspaces.all().iter().filter_map(|k| k.oldest_segment()).min() else { return Ok(()) };
    let first = first.max(db.versions.log_state().first_segment);
    let checked = wal::check(&*db.fs, &db.path, db.database, first, visible)?;
    found.log_bytes = checked.bytes;
    found.segments = checked.segments;
    // What was given back meanwhile is nobody's any more.
    let needed = || db.keyspaces.all().iter().filter_map(|k| k.oldest_segment()).min();
    let is_needed = |number: FileNumber| needed().is_some_and(|oldest| oldest <= number);
    let end = checked.next_seq;
    for fault in checked.faults.into_iter().filter(|fault| is_needed(fault.number)) {
        let file = names::name(FileKind::Wal, fault.number);
        found.faults.push(Fault { file, keyspace: None, error: fault.error });
    }
    if end.is_none_or(|next| next <= visible)
        && found.faults.iter().all(|f| !f.file.ends_with(".wal"))
        && is_needed(first)
    {
        let file = names::name(FileKind::Wal, first);
        let met = end.map_or_else(|| "no record".to_owned(), |next| format!("the end before sequence {next}"));
        let error = Error::corruption(format!(
            "{}: the log from here on holds {met}; sequence {visible} was published",
            db.path.join(&file).display()
        ));
        found.faults.push(Fault { file, keyspace: None, error });
    }
    Ok(())
}

fn tables(db: &DbInner, keyspace: &[u8], view: &Arc<SuperVersion>, found: &mut Found) -> Result<()> {
    for (_, handle) in view.version.tables() {
        db.status.check_open()?;
        let meta = handle.meta();
        found.tables += 1;
        found.table_bytes += meta.summary.size;
        found.entries += meta.summary.entries;
        match table(db, meta) {
            Ok(()) => {}
            Err(error) if matches!(error.code(), Code::Corruption | Code::Io) => found.faults.push(Fault {
                file: names::name(FileKind::Table, meta.number),
                keyspace: Some(String::from_utf8_lossy(keyspace).into_owned()),
                error,
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn table(db: &DbInner, meta: &FileMeta) -> Result<()> {
    let path = names::path(&db.path, FileKind::Table, meta.number);
    let fault = |what: &str| Err(Error::corruption(format!("{}: {what}", path.display())));
    match db.fs.metadata(&path)? {
        None => return fault("the table is missing"),
        Some(found) if !found.is_file => return fault("is not a regular file"),
        Some(_) => {}
    }
    let file = db.fs.open(&path, OpenMode::Read)?;
    let identity = FileIdentity { database: db.database, number: meta.number };
    let reader = TableReader::open(file, identity, meta.summary.size, Arc::clone(&db.cache))?;
    let checksum = reader.verify_whole(Some(meta.summary.checksum))?;
    let summary = TableSummary { checksum, ..reader.summary().clone() };
    if summary == meta.summary { Ok(()) } else { fault("it is not the table that the manifest describes") }
}

fn report(found: &Found) -> String {
    let result = if found.faults.is_empty() { "sound" } else { "damaged" };
    let mut out = format!("{{\n  \"result\": \"{result}\",\n");
    for (name, value) in [
        ("tables", found.tables),
        ("table_entries", found.entries),
        ("table_bytes", found.table_bytes),
        ("manifest_bytes", found.manifest_bytes),
        ("log_segments", found.segments),
        ("log_bytes", found.log_bytes),
    ] {
        let _ = writeln!(out, "  \"{name}\": {value},");
    }
    let rows = found.faults.iter().map(|fault| {
        let keyspace = fault.keyspace.as_ref().map_or_else(String::new, |k| format!(", \"keyspace\": {}", text(k)));
        format!("{{\"file\": {}{keyspace}, \"reason\": {}}}", text(&fault.file), text(fault.error.message()))
    });
    list(&mut out, "damaged", rows.collect(), "");
    out.push_str("}\n");
    out
}
