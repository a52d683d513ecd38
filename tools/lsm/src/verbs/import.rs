//! import: a RocksDB or LevelDB database copied into one of ours, read back and compared.
//!
//! - I1  The keyspaces it fills are empty before. So what is read back afterwards is the copy and nothing else: its count
//!   and checksum must be those of the source.
//!
//! Threads: one. Failure: what was copied stays; the message says to remove it.

use super::Context;
use super::load::tick;
use crate::cli::{Engine, Import};
use crate::exit::{Exit, Failure, Outcome};
use crate::foreign::{Foreign, leveldb::LevelDb, rocksdb::RocksDb};
use crate::format::Tally;
use crate::lsm::{Bounds, Db, Keyspace, Mode, PACKED_BYTES, pack};
use crate::text;
use indicatif::ProgressBar;
use serde_json::json;
use std::time::Instant;

/// `lsm import`.
pub fn run(c: &mut Context, args: &Import) -> Outcome {
    let asked = args.engine_library.as_deref();
    let foreign: Box<dyn Foreign> = match args.from {
        Engine::Rocksdb => Box::new(RocksDb::open(&args.source, asked)?),
        Engine::Leveldb => Box::new(LevelDb::open(&args.source, asked)?),
    };
    let parts = foreign.parts();
    check_names(&parts)?;
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Create, &c.settings)?;
    let began = Instant::now();
    let bar = c.out.progress("copying", foreign.estimate());
    let mut rows = Vec::new();
    let mut sum = Tally::default();
    for part in &parts {
        check_empty(&db, part)?;
    }
    for (index, part) in parts.iter().enumerate() {
        let keyspace = db.keyspace(part)?;
        let source = copy(foreign.as_ref(), index, part, &keyspace, &bar, &mut sum)?;
        rows.push((part.clone(), source));
    }
    bar.finish_and_clear();
    drop(foreign);
    // A clean close and a new open: what is compared is what a program will find.
    db.close()?;
    let db = Db::open(&library, &args.db, Mode::Read, &c.settings)?;
    let bar = c.out.progress("checking", Some(sum.entries));
    let mut checked = Tally::default();
    for (part, source) in &rows {
        let copy = read_back(&db, part, &bar, &mut checked)?;
        if (copy.entries, copy.checksum()) != (source.entries, source.checksum()) {
            return Err(mismatch(args, part, source, &copy));
        }
    }
    bar.finish_and_clear();
    db.close()?;
    tell(c, args, &rows, &sum, began.elapsed().as_secs_f64())
}

/// Every column family must have a name that a keyspace may have.
fn check_names(parts: &[String]) -> Outcome {
    match parts.iter().find(|name| name.is_empty() || name.len() > 255 || name.contains('\u{fffd}')) {
        None => Ok(()),
        Some(name) => {
            let name = text::escape(name.as_bytes());
            let text =
                format!("the column family {name:?} has a name that no keyspace can have (1 to 255 bytes of UTF-8)");
            Err(Failure::new(Exit::Input, text))
        }
    }
}

fn check_empty(db: &Db<'_>, part: &str) -> Outcome {
    let keyspace = db.keyspace(part)?;
    let mut iter = keyspace.iter(&Bounds { is_keys_only: true, ..Bounds::default() })?;
    if iter.next_entry()?.is_none() {
        return Ok(());
    }
    let text = format!("{}: the keyspace {} is not empty", db.path().display(), text::escape(part.as_bytes()));
    Err(Failure::new(Exit::Input, text).hint("import into a new database"))
}

fn copy(
    foreign: &dyn Foreign,
    index: usize,
    part: &str,
    keyspace: &Keyspace<'_>,
    bar: &ProgressBar,
    sum: &mut Tally,
) -> Outcome<Tally> {
    let (mut tally, mut batch) = (Tally::default(), Vec::new());
    foreign.entries(index, &mut |key, value| {
        if !batch.is_empty() && batch.len() + key.len() + value.len() > PACKED_BYTES {
            keyspace.write_packed(&batch, false)?;
            batch.clear();
        }
        pack(&mut batch, key, value);
        tally.add(part.as_bytes(), key, value);
        sum.add(part.as_bytes(), key, value);
        tick(bar, sum);
        Ok(())
    })?;
    if !batch.is_empty() {
        keyspace.write_packed(&batch, false)?;
    }
    Ok(tally)
}

fn read_back(db: &Db<'_>, part: &str, bar: &ProgressBar, checked: &mut Tally) -> Outcome<Tally> {
    let keyspace = db.keyspace(part)?;
    let mut iter = keyspace.iter(&Bounds::default())?;
    let mut tally = Tally::default();
    while let Some((key, value)) = iter.next_entry()? {
        tally.add(part.as_bytes(), key, value);
        checked.entries += 1;
        tick(bar, checked);
    }
    Ok(tally)
}

fn mismatch(args: &Import, part: &str, source: &Tally, copy: &Tally) -> Failure {
    let text = format!(
        "{}: keyspace {}: {} entries with checksum {} were read back; the source gave {} with {}",
        args.db.display(),
        text::escape(part.as_bytes()),
        copy.entries,
        copy.checksum(),
        source.entries,
        source.checksum()
    );
    Failure::new(Exit::Mismatch, text).hint("do not use this copy")
}

fn tell(c: &mut Context, args: &Import, rows: &[(String, Tally)], sum: &Tally, seconds: f64) -> Outcome {
    let checksum = sum.checksum();
    if c.out.is_json {
        let parts = rows.iter().map(|(name, tally)| {
            json!({
                "keyspace": name, "entries": tally.entries, "bytes": tally.bytes, "checksum": tally.checksum(),
            })
        });
        return c.out.json(&json!({
            "from": format!("{:?}", args.from).to_lowercase(), "entries": sum.entries, "bytes": sum.bytes,
            "checksum": checksum, "verified": true, "seconds": seconds, "keyspaces": parts.collect::<Vec<_>>(),
        }));
    }
    let line = |(name, tally): &(String, Tally)| {
        let name = text::escape(name.as_bytes());
        vec![name, text::thousands(tally.entries), text::size(tally.bytes), tally.checksum()]
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    c.out.table(&["keyspace", "entries", "bytes", "checksum"], &lines, &[1, 2])?;
    c.out.note(&format!(
        "imported {} entries, {}, and read them back: count and checksum agree, {seconds:.2} s",
        text::thousands(sum.entries),
        text::size(sum.bytes)
    ))
}
