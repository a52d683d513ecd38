//! load: entries from a file or standard input, in batches, each written as a whole.
//!
//! - I1  When a line cannot be taken, every line before it is in the database, and the message says so.
//!
//! Threads: one. Failure: `Input` names the line and how to go on; other failures say how far it got.

use super::Context;
use crate::cli::Load;
use crate::exit::{Exit, Failure, Outcome};
use crate::format::{self, Bad, Record, Tally};
use crate::lsm::{Db, Keyspace, Mode, PACKED_BYTES, pack};
use crate::text;
use indicatif::ProgressBar;
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Instant;

/// Longer keys are more than the library of this version takes.
const KEY_BYTES: usize = 65_536;

/// Collects entries and writes them batch by batch.
struct Loader<'d> {
    db: &'d Db<'d>,
    keyspaces: HashMap<String, Keyspace<'d>>,
    /// Where the entries of the batch go.
    target: String,
    batch: Vec<u8>,
    waiting: u64,
    written: u64,
    /// The last line whose entry is written, and the last one in the batch.
    written_to: u64,
    read_to: u64,
}

impl<'d> Loader<'d> {
    fn new(db: &'d Db<'d>, from_line: u64) -> Loader<'d> {
        let before = from_line.saturating_sub(1);
        Loader {
            db,
            keyspaces: HashMap::new(),
            target: String::new(),
            batch: Vec::new(),
            waiting: 0,
            written: 0,
            written_to: before,
            read_to: before,
        }
    }

    fn add(&mut self, keyspace: &str, record: &Record) -> Outcome {
        let more = record.key.len() + record.value.len();
        // What the library may refuse goes alone, so that the refusal is of one line.
        let is_alone = record.key.len() > KEY_BYTES || more > PACKED_BYTES;
        if self.target != keyspace || self.batch.len() + more > PACKED_BYTES || is_alone {
            self.flush()?;
            keyspace.clone_into(&mut self.target);
        }
        pack(&mut self.batch, &record.key, &record.value);
        self.waiting += 1;
        self.read_to = record.at;
        if is_alone {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        if self.waiting == 0 {
            return Ok(());
        }
        if !self.keyspaces.contains_key(&self.target) {
            self.keyspaces.insert(self.target.clone(), self.db.keyspace(&self.target)?);
        }
        if let Some(keyspace) = self.keyspaces.get(&self.target) {
            keyspace.write_packed(&self.batch, false)?;
        }
        self.batch.clear();
        self.written += self.waiting;
        (self.waiting, self.written_to) = (0, self.read_to);
        Ok(())
    }
}

/// What is read, for messages, and how many bytes it has if that is known.
fn open(args: &Load) -> Outcome<(String, Box<dyn BufRead>)> {
    if args.file.as_os_str() == "-" {
        return Ok(("standard input".to_string(), Box::new(BufReader::with_capacity(1 << 20, std::io::stdin()))));
    }
    let name = args.file.display().to_string();
    let file = File::open(&args.file).map_err(|e| Failure::system(&name, &e))?;
    Ok((name, Box::new(BufReader::with_capacity(1 << 20, file))))
}

/// `lsm load`.
pub fn run(c: &mut Context, args: &Load) -> Outcome {
    let (name, input) = open(args)?;
    let format = format::of_file(args.format, &args.file);
    let mut reader = format::reader(format, input, c.global.asked_encoding(), !args.no_header);
    let library = c.library()?;
    let mode = if args.no_create { Mode::Write } else { Mode::Create };
    let db = Db::open(&library, &args.place.db, mode, &c.settings)?;
    let began = Instant::now();
    let bar = c.out.progress("loading", None);
    let (mut loader, mut tally) = (Loader::new(&db, args.from_line), Tally::default());
    let unit = format::unit(format);
    // Not in the `while` below: the reader must be gone before the loader tells how far it got.
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(bad) => return Err(stopped(&mut loader, &name, unit, bad)),
        };
        let keyspace = record.keyspace.as_deref().unwrap_or(&args.place.keyspace);
        tally.add(keyspace.as_bytes(), &record.key, &record.value);
        if record.at < args.from_line {
            continue;
        }
        loader.add(keyspace, &record).map_err(|failure| refused(&loader, &name, unit, failure))?;
        tick(&bar, &tally);
    }
    loader.flush().map_err(|failure| refused(&loader, &name, unit, failure))?;
    bar.finish_and_clear();
    let written = loader.written;
    drop(loader);
    db.close()?;
    check(args, &tally)?;
    let (checksum, seconds) = (tally.checksum(), began.elapsed().as_secs_f64());
    let object = json!({
        "entries": tally.entries, "written": written, "bytes": tally.bytes, "checksum": checksum, "seconds": seconds,
    });
    let line = format!(
        "loaded {} entries, {}, checksum {checksum}, {seconds:.2} s",
        text::thousands(written),
        text::size(tally.bytes)
    );
    c.out.summary(&object, &line)
}

/// Moves a progress bar now and then.
pub fn tick(bar: &ProgressBar, tally: &Tally) {
    if tally.entries.is_multiple_of(1024) {
        bar.set_position(tally.entries);
    }
}

/// A line that cannot be taken: what stands before it is written, then it is told.
fn stopped(loader: &mut Loader<'_>, name: &str, unit: &str, bad: Bad) -> Failure {
    if let Err(failure) = loader.flush() {
        return refused(loader, name, unit, failure);
    }
    let failure = Failure::new(bad.exit, format!("{name}: {unit} {}: {}", bad.at, bad.what));
    let written = text::thousands(loader.written);
    match bad.exit {
        Exit::Mismatch => failure.hint(format!("all {written} entries that were read are in the database")),
        _ => failure.hint(format!(
            "{written} entries, all before {unit} {at}, are in the database; mend it and go on with --from-line {at}",
            at = bad.at
        )),
    }
}

/// The database did not take a batch: because of what is in it, or because it cannot take any.
fn refused(loader: &Loader<'_>, name: &str, unit: &str, mut failure: Failure) -> Failure {
    let next = loader.written_to + 1;
    let read_to = loader.read_to.max(next);
    let lines = if read_to == next { format!("{unit} {next}") } else { format!("{unit}s {next} to {read_to}") };
    let mend = if failure.exit == Exit::Usage { "mend it and " } else { "" };
    if failure.exit == Exit::Usage {
        failure.exit = Exit::Input;
    }
    failure.within(format!("{name}: {lines}")).hint(format!(
        "{} entries, all before {unit} {next}, are in the database; {mend}go on with --from-line {next}",
        text::thousands(loader.written)
    ))
}

fn check(args: &Load, tally: &Tally) -> Outcome {
    let mismatch = |what: &str, want: &str, have: &str| {
        Err(Failure::new(Exit::Mismatch, format!("{what} {have}, expected {want}; all of it is in the database")))
    };
    if let Some(count) = args.expect_count.filter(|count| *count != tally.entries) {
        return mismatch("entries:", &count.to_string(), &tally.entries.to_string());
    }
    match &args.expect_checksum {
        Some(checksum) if !checksum.eq_ignore_ascii_case(&tally.checksum()) => {
            mismatch("checksum", checksum, &tally.checksum())
        }
        _ => Ok(()),
    }
}
