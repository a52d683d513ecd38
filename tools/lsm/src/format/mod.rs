//! The files of load and export: records in, records out, one at a time, and the tally that both ends compare.
//!
//! Threads: one. Failure of a reader: `Bad`, with the line (or entry) and what is wrong with it; what was read before it
//! stays good.

mod jsonl;
mod packed;
mod separated;

use crate::cli::Format;
use crate::exit::{Exit, Failure, Outcome};
use crate::text::Encoding;
use std::io::{BufRead, Write};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// How many entries, and a checksum of them that does not depend on their order: the sum of the 128-bit XXH3 of each
/// (keyspace, key, value) with their lengths, modulo 2^128.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// Entries.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    sum: u128,
    scratch: Vec<u8>,
}

impl Tally {
    /// Counts an entry.
    pub fn add(&mut self, keyspace: &[u8], key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.scratch.clear();
        for part in [keyspace, key, value] {
            self.scratch.extend_from_slice(&(part.len() as u64).to_le_bytes());
            self.scratch.extend_from_slice(part);
        }
        self.sum = self.sum.wrapping_add(xxh3_128(&self.scratch));
    }

    /// The checksum as 32 hexadecimal digits.
    pub fn checksum(&self) -> String {
        format!("{:032x}", self.sum)
    }

    /// The same as its 16 bytes.
    fn checksum_bytes(&self) -> [u8; 16] {
        self.sum.to_le_bytes()
    }
}

/// An entry of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The line it begins in, from 1; in a packed file its number.
    pub at: u64,
    /// Where it goes, if the file says.
    pub keyspace: Option<String>,
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// Why a record cannot be taken.
#[derive(Debug)]
pub struct Bad {
    /// Its line, or in a packed file its number.
    pub at: u64,
    /// What is wrong, and what to do about it.
    pub what: String,
    /// Input is wrong, or the operating system refused to read it, or the end is not what it says.
    pub exit: Exit,
}

impl Bad {
    fn new(at: u64, what: impl Into<String>) -> Bad {
        Bad { at, what: what.into(), exit: Exit::Input }
    }

    fn read(at: u64, error: &std::io::Error) -> Bad {
        Bad { at, what: format!("reading failed: {error}"), exit: Exit::System }
    }
}

/// A source of records.
pub trait Reader {
    /// The next record; `None` at the end, which has been checked then.
    fn next(&mut self) -> Result<Option<Record>, Bad>;
}

/// A sink of entries.
pub trait Writer {
    /// Writes an entry.
    fn entry(&mut self, keyspace: &str, key: &[u8], value: &[u8]) -> Outcome;
    /// Writes the end, which says what there was.
    fn finish(&mut self, tally: &Tally) -> Outcome;
}

/// The format that the command line or the file's name says.
pub fn of_file(asked: Option<Format>, path: &Path) -> Format {
    let by_name = || match path.extension()?.to_str()? {
        "csv" => Some(Format::Csv),
        "tsv" | "tab" => Some(Format::Tsv),
        "packed" | "lsmpack" => Some(Format::Packed),
        _ => None,
    };
    asked.or_else(by_name).unwrap_or(Format::Jsonl)
}

/// What a place in a file of this format is called.
pub fn unit(format: Format) -> &'static str {
    if format == Format::Packed { "entry" } else { "line" }
}

/// A reader of `input`. `encoding` is what the command line asked for.
pub fn reader<'i>(
    format: Format,
    input: Box<dyn BufRead + 'i>,
    encoding: Option<Encoding>,
    has_header: bool,
) -> Box<dyn Reader + 'i> {
    match format {
        Format::Jsonl => Box::new(jsonl::JsonlReader::new(input, encoding)),
        Format::Csv => Box::new(separated::SeparatedReader::csv(input, encoding, has_header)),
        Format::Tsv => Box::new(separated::SeparatedReader::tsv(input, encoding, has_header)),
        Format::Packed => Box::new(packed::PackedReader::new(input)),
    }
}

/// A writer to `output`; what opens the file is written at once.
pub fn writer<'o>(format: Format, output: Box<dyn Write + 'o>, encoding: Encoding) -> Outcome<Box<dyn Writer + 'o>> {
    Ok(match format {
        Format::Jsonl => Box::new(jsonl::JsonlWriter::new(output, encoding)?),
        Format::Csv => Box::new(separated::SeparatedWriter::csv(output, encoding)?),
        Format::Tsv => Box::new(separated::SeparatedWriter::tsv(output, encoding)?),
        Format::Packed => Box::new(packed::PackedWriter::new(output)?),
    })
}

/// An entry that the format cannot hold in the encoding asked for.
fn not_raw(format: &str, key: &[u8]) -> Failure {
    let text = format!("the entry of key {} cannot stand in {format} as it is", crate::text::escape(key));
    Failure::usage(text).hint("use --encoding escaped or hex, or --format packed")
}

/// Reads a line into `line`, its end cut off; false at the end of the input.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>, number: u64) -> Result<bool, Bad> {
    line.clear();
    let got = input.read_until(b'\n', line).map_err(|e| Bad::read(number, &e))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(got > 0)
}

/// Decodes a key or value.
fn decode(encoding: Encoding, what: &str, text: &[u8], at: u64) -> Result<Vec<u8>, Bad> {
    encoding.decode(text).map_err(|e| {
        let hint = if encoding == Encoding::Escaped { "; --encoding raw takes text as it is" } else { "" };
        Bad::new(at, format!("{what}: {e}{hint}"))
    })
}

/// The end of a file says what it holds: is that what was read?
fn check_end(at: u64, tally: &Tally, entries: u64, checksum: &str) -> Result<(), Bad> {
    if (tally.entries, tally.checksum().as_str()) == (entries, checksum) {
        return Ok(());
    }
    let what = format!(
        "{} entries with checksum {} were read; the end says {entries} with {checksum}",
        tally.entries,
        tally.checksum()
    );
    Err(Bad { at, what, exit: Exit::Mismatch })
}

#[cfg(test)]
mod tests;
