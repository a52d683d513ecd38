//! verify, repair, compact, flush.

use super::Context;
use super::show::parse;
use crate::cli::{Compact, Stats};
use crate::exit::Outcome;
use crate::lsm::{Db, Mode};
use crate::out::tree;
use serde_json::json;
use std::time::Instant;

/// `lsm verify`: the library's report; damage is in it and in the status.
pub fn verify(c: &mut Context, args: &Stats) -> Outcome {
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Read, &c.settings)?;
    let (report, failure) = db.verify()?;
    let report = parse("report", &report)?;
    if c.out.is_json {
        c.out.json_pretty(&report)?;
    } else {
        tree(&mut c.out, &report, 0)?;
    }
    match failure {
        None => c.out.note(&format!("{}: no damage found", args.db.display())),
        Some(failure) => Err(failure.hint("`lsm repair` mends what can be mended; copy the folder first")),
    }
}

/// `lsm repair`: the library's report of what it did.
pub fn repair(c: &mut Context, args: &Stats) -> Outcome {
    let library = c.library()?;
    let report = library.repair(&args.db, &c.settings)?;
    let report = parse("report", &report)?;
    if c.out.is_json { c.out.json_pretty(&report) } else { tree(&mut c.out, &report, 0) }
}

/// `lsm compact`.
pub fn compact(c: &mut Context, args: &Compact) -> Outcome {
    let encoding = c.global.encoding();
    let key = |what: &str, key: &Option<std::ffi::OsString>| {
        key.as_deref().map(|text| encoding.argument(what, text)).transpose()
    };
    let (from, to) = (key("--from", &args.from)?, key("--to", &args.to)?);
    let library = c.library()?;
    let db = Db::open(&library, &args.place.db, Mode::Write, &c.settings)?;
    let began = Instant::now();
    db.keyspace(&args.place.keyspace)?.compact(from.as_deref(), to.as_deref())?;
    let seconds = began.elapsed().as_secs_f64();
    db.close()?;
    let object = json!({ "keyspace": args.place.keyspace, "seconds": seconds });
    c.out.summary(&object, &format!("compacted in {seconds:.2} s"))
}

/// `lsm flush`.
pub fn flush(c: &mut Context, args: &Stats) -> Outcome {
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Write, &c.settings)?;
    let began = Instant::now();
    db.flush()?;
    let seconds = began.elapsed().as_secs_f64();
    db.close()?;
    c.out.summary(&json!({ "seconds": seconds }), &format!("flushed in {seconds:.2} s"))
}
