//! export: all entries to a file or standard output. The database is open `ro`, so nothing changes meanwhile.
//!
//! A file is written under the name `FILE.partial` and renamed when it is whole and on the device; a failure removes it, and
//! so does a signal that ends the tool.

use super::Context;
use super::data::bounds;
use super::load::tick;
use crate::cli::Export;
use crate::exit::{Exit, Failure, Outcome};
use crate::format::{self, Tally};
use crate::lsm::{Bounds, Db, Mode};
use crate::scratch::Scratch;
use crate::text;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A file that appears under its name only when it is whole.
struct Partial {
    file: File,
    partial: Scratch,
    whole: PathBuf,
}

impl Partial {
    fn new(whole: &Path, is_forced: bool) -> Outcome<Partial> {
        if !is_forced && std::fs::symlink_metadata(whole).is_ok() {
            let text = format!("{}: is there already", whole.display());
            return Err(Failure::new(Exit::System, text).hint("--force replaces it"));
        }
        let mut partial = whole.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&partial);
        let file = file.map_err(|e| Failure::system(partial.display(), &e))?;
        Ok(Partial { file, partial: Scratch::of(partial), whole: whole.to_owned() })
    }

    fn finish(self) -> Outcome {
        let done = self.file.sync_all().and_then(|()| self.partial.keep_as(&self.whole));
        done.map_err(|e| Failure::system(self.whole.display(), &e))
    }
}

/// `lsm export`.
pub fn run(c: &mut Context, args: &Export) -> Outcome {
    let encoding = c.global.encoding();
    let bounds = bounds(encoding, &args.range)?;
    let format = format::of_file(args.format, &args.file);
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Read, &c.settings)?;
    let names = if args.keyspace.is_empty() { db.keyspaces()? } else { args.keyspace.clone() };
    let began = Instant::now();
    let is_stdout = args.file.as_os_str() == "-";
    let mut tally = Tally::default();
    if is_stdout {
        let bar = c.out.progress("exporting", None);
        let output: Box<dyn Write + '_> = Box::new(&mut c.out);
        let mut writer = format::writer(format, output, encoding).map_err(cut_off)?;
        entries(&db, &names, &bounds, &bar, writer.as_mut(), &mut tally).map_err(cut_off)?;
        bar.finish_and_clear();
    } else {
        let partial = Partial::new(&args.file, args.force)?;
        let bar = c.out.progress("exporting", total(&db, args));
        let named = |failure: Failure| failure.within(args.file.display());
        let output = Box::new(BufWriter::with_capacity(1 << 20, &partial.file));
        let mut writer = format::writer(format, output, encoding).map_err(named)?;
        entries(&db, &names, &bounds, &bar, writer.as_mut(), &mut tally).map_err(named)?;
        drop(writer);
        bar.finish_and_clear();
        partial.finish()?;
    }
    let (checksum, seconds) = (tally.checksum(), began.elapsed().as_secs_f64());
    let object = json!({ "entries": tally.entries, "bytes": tally.bytes, "checksum": checksum, "seconds": seconds });
    let (entries, size) = (text::thousands(tally.entries), text::size(tally.bytes));
    let line = format!("exported {entries} entries, {size}, checksum {checksum}, {seconds:.2} s");
    if is_stdout { c.out.summary_beside_data(&object, &line) } else { c.out.summary(&object, &line) }
}

/// A reader that went away has not got the whole export.
fn cut_off(failure: Failure) -> Failure {
    if failure.message.is_empty() { Failure::silent(Exit::System) } else { failure }
}

/// About how many entries there are, if all are asked for.
fn total(db: &Db, args: &Export) -> Option<u64> {
    let range = &args.range;
    let is_all = args.keyspace.is_empty() && range.from.is_none() && range.to.is_none() && range.prefix.is_none();
    let estimate = || db.property(None, "keys.estimate").ok()??.parse().ok();
    if is_all { estimate() } else { None }
}

fn entries(
    db: &Db,
    names: &[String],
    bounds: &Bounds,
    bar: &indicatif::ProgressBar,
    writer: &mut dyn format::Writer,
    tally: &mut Tally,
) -> Outcome {
    for name in names {
        let keyspace = db.keyspace(name)?;
        let mut iter = keyspace.iter(bounds)?;
        while let Some((key, value)) = iter.next_entry()? {
            writer.entry(name, key, value)?;
            tally.add(name.as_bytes(), key, value);
            tick(bar, tally);
        }
    }
    writer.finish(tally)
}
