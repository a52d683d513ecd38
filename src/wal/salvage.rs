//! What is left of a damaged log: every batch that still verifies, in sequence, and what is missing between; for repairs.
//!
//! A replay stops at the first damage, because it cannot say what lies behind. A repair goes on: it takes every whole record
//! of every segment and says which sequence numbers it did not meet. A segment whose header page is damaged has lost its
//! salt; its records give away the one word of it that shows in their checksums.
//!
//! Invariants
//! - I1  Batches are handed out with ascending sequence numbers, whole, each at most once.
//! - I2  Pages that cannot be read count as zeros.
//!
//! Threads: one. Failure: no memory, or an error of the visitor; damage is an answer.

use super::RecordKind;
use super::format::{
    HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, SegmentIdentity, ends_file, record_bytes, stored_database,
};
use super::replay::Apply;
use super::scan::{Check, Found, Scanner, Source, read_header};
use crate::base::checksum::Checksum;
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::error::{Code, Result};
use crate::fs::File;
use std::cell::Cell;
use std::sync::Arc;

/// Bytes read at once where more could not be read.
const PAGE_BYTES: usize = 4096;

/// Entries that no record was found for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLoss {
    /// The segment in which the chain broke.
    pub number: FileNumber,
    /// Where in it.
    pub offset: u64,
    /// The first sequence number that is missing.
    pub from: SeqNo,
    /// The one behind the last; equal to `from` when none is missing, `None` when nobody can tell.
    pub to: Option<SeqNo>,
    /// What stands there.
    pub reason: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct SalvagedLog {
    /// What is missing.
    pub lost: Vec<LogLoss>,
    /// Segments that are damaged.
    pub damaged: Vec<FileNumber>,
    /// The highest sequence number met.
    pub highest: SeqNo,
    /// Batches handed out.
    pub batches: u64,
}

/// Zeros for what cannot be read.
struct Lenient {
    file: Arc<dyn File>,
    failed: Cell<bool>,
}

impl Source for Lenient {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        if let Ok(got) = self.file.read_at(buf, offset) {
            return Ok(got);
        }
        let len = (self.file.len()?.saturating_sub(offset) as usize).min(buf.len());
        for (i, page) in buf[..len].chunks_mut(PAGE_BYTES).enumerate() {
            if self.file.read_exact_at(page, offset + (i * PAGE_BYTES) as u64).is_err() {
                self.failed.set(true);
                page.fill(0);
            }
        }
        Ok(len)
    }
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
}

/// The identity of the database that a segment says it is of, if its header page verifies.
pub fn database_of(file: &Arc<dyn File>) -> Option<u128> {
    let mut page = vec![0u8; HEADER_BYTES];
    file.read_exact_at(&mut page, 0).ok()?;
    stored_database(&page)
}

/// Hands every whole batch of `segments` (ascending) to `apply`. Everything up to `flushed` is in tables.
pub fn salvage(
    database: u128,
    flushed: SeqNo,
    segments: &[(FileNumber, Arc<dyn File>)],
    apply: &mut Apply<'_>,
) -> Result<SalvagedLog> {
    let mut done = SalvagedLog::default();
    let mut chain = Chain { next: None, flushed: flushed.0, durable: 0, apply };
    for (number, file) in segments {
        let source = Lenient { file: Arc::clone(file), failed: Cell::new(false) };
        let before = done.lost.len();
        chain.segment(FileIdentity { database, number: *number }, &source, &mut done)?;
        if done.lost.len() > before || source.failed.get() {
            done.damaged.push(*number);
        }
    }
    // A mark may say that more was on the device than was met.
    if let (Some(next), Some((number, _))) = (chain.next, segments.last())
        && chain.durable > next.max(flushed.0 + 1)
    {
        done.damaged.push(*number);
        done.lost.push(LogLoss {
            number: *number,
            offset: 0,
            from: SeqNo(next),
            to: Some(SeqNo(chain.durable)),
            reason: "a record says that these were on the device".to_owned(),
        });
    }
    done.damaged.dedup();
    Ok(done)
}

struct Chain<'a, 'f> {
    /// The sequence number that comes next.
    next: Option<u64>,
    /// Up to here nothing can be missing.
    flushed: u64,
    /// The highest watermark met.
    durable: u64,
    apply: &'a mut Apply<'f>,
}

impl Chain<'_, '_> {
    fn segment(&mut self, file: FileIdentity, source: &Lenient, done: &mut SalvagedLog) -> Result<()> {
        let mut lose = |offset: u64, from: u64, to: Option<u64>, reason: String| {
            done.lost.push(LogLoss { number: file.number, offset, from: SeqNo(from), to: to.map(SeqNo), reason });
        };
        let next = self.next.unwrap_or(0);
        let mut least = 0;
        let id = match read_header(source, file, &file.number.to_string()) {
            Ok((id, bytes)) => {
                least = bytes;
                id
            }
            Err(error) => {
                let guessed = guess(file, source)?;
                lose(0, next, guessed.map(|_| next), error.message().to_owned());
                match guessed {
                    Some(id) => id,
                    None => return Ok(()),
                }
            }
        };
        let mut scanner = Scanner::new(source, source.len()?, id, Vec::new());
        let mut budget = scanner.search_budget(0);
        let mut at = HEADER_BYTES as u64;
        let mut ended_at = 0;
        loop {
            let (found, why) = match self.at(&mut scanner, at, &mut budget)? {
                Step::Next(found) => (found, None),
                Step::Behind(found, why) => (found, Some(why)),
                Step::End(why) => {
                    let len = scanner.len();
                    let cut = format!("the file has {len} bytes, its header says {least}");
                    let why = why.or_else(|| (len < least && ended_at != len).then_some(cut));
                    // Torn, or the end: what is missing shows in what comes later, if anything does.
                    if let Some(why) = why {
                        let next = self.next.unwrap_or(0);
                        lose(at, next, None, why);
                    }
                    return Ok(());
                }
            };
            let first = found.header.first_seq;
            let expected = self.next.unwrap_or(first.min(self.flushed + 1));
            if first > expected {
                let why = why.unwrap_or_else(|| "the sequence jumps".to_owned());
                lose(at, expected, Some(first), why);
            } else if let Some(why) = why.filter(|_| found.offset != at + RECORD_HEADER_BYTES as u64) {
                lose(at, expected, Some(expected), why);
            }
            if first >= expected {
                self.take(&mut scanner, &found, &mut done.highest, &mut done.batches)?;
            }
            at = found.end;
            if found.kind == RecordKind::Mark && ends_file(scanner.payload(&found)?, at) {
                ended_at = at;
            }
            if found.kind == RecordKind::Seal {
                return Ok(());
            }
        }
    }

    /// The next record from `at` on.
    fn at(&self, scanner: &mut Scanner<'_>, at: u64, budget: &mut u64) -> Result<Step> {
        let expected = self.next.unwrap_or(0);
        let (why, begun) = match scanner.check(at) {
            Ok(Check::Record(found)) => return Ok(Step::Next(found)),
            Ok(Check::Nothing(no)) => {
                let begun = no.claims.is_some_and(|h| h.first_seq == expected && h.record_kind().is_some());
                (no.why, begun)
            }
            Err(error) if error.code() == Code::Corruption => (error.message().to_owned(), true),
            Err(error) => return Err(error),
        };
        match scanner.find(at + 8, expected, budget) {
            Ok(Some(found)) => Ok(Step::Behind(found, why)),
            Ok(None) => Ok(Step::End(begun.then_some(why))),
            Err(error) if error.code() == Code::Corruption => Ok(Step::End(Some(error.message().to_owned()))),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, scanner: &mut Scanner<'_>, found: &Found, highest: &mut SeqNo, batches: &mut u64) -> Result<()> {
        let header = &found.header;
        self.durable = self.durable.max(header.durable);
        if found.kind == RecordKind::Batch && header.count > 0 {
            (self.apply)(SeqNo(header.first_seq), header.count, scanner.payload(found)?)?;
            *batches += 1;
        }
        self.next = Some(header.next_seq());
        *highest = (*highest).max(SeqNo(header.next_seq().saturating_sub(1)));
        Ok(())
    }
}

enum Step {
    /// It stands there.
    Next(Found),
    /// None stands there, but one further on.
    Behind(Found, String),
    /// None any more; why, where one was begun.
    End(Option<String>),
}

/// The identity of a segment whose header page is damaged, from its first two records.
fn guess(file: FileIdentity, source: &Lenient) -> Result<Option<SegmentIdentity>> {
    let at = HEADER_BYTES as u64;
    let mut fields = [0u8; RECORD_HEADER_BYTES];
    if source.read_at(&mut fields, at)? < RECORD_HEADER_BYTES {
        return Ok(None);
    }
    let header = RecordHeader::decode(&fields);
    if header.record_kind() != Some(RecordKind::Start) || !matches!(header.len, 0 | 32) {
        return Ok(None);
    }
    let mut payload = vec![0u8; header.len as usize];
    source.read_at(&mut payload, at + RECORD_HEADER_BYTES as u64)?;
    let crc = Checksum::new().bytes(&payload).finish();
    let Some(id) = SegmentIdentity::of_record(file, &header, crc, at) else { return Ok(None) };
    let mut scanner = Scanner::new(source, source.len()?, id, Vec::new());
    let second = scanner.check(at + record_bytes(payload.len()));
    Ok(matches!(second, Ok(Check::Record(_))).then_some(id))
}
