//! Reads the log at an open: applies the records in sequence, finds the end, and tells a torn end from damage.
//!
//! The records form one chain: in a segment each starts where the one before ended and carries the next sequence number;
//! a start record says where the segment before ended, and in which sequence number. The chain ends at the first place
//! where that fails (the gap). What a crash may leave behind a gap is any subset of what was written after the last sync;
//! so the gap is a torn end, and what is behind it is dropped, unless a record anywhere behind it proves that the missing
//! entries were on the device (its durable watermark is above them): then it is damage.
//!
//! Invariants
//! - I1  Entries are applied in sequence without a hole, batches whole.
//! - I2  A gap below a watermark, a missing, foreign or renamed segment, and any difference from what a clean close
//!   wrote down are `Corruption`, naming file, offset, expected and found.
//! - I3  Entries at or below `flushed_seq` are in tables; their loss is no damage.
//! - I4  Nothing is written.
//!
//! Threads: one. Failure: errors of the file system are passed on, never taken for the end of the log; the caller drops
//! what was applied.

use super::format::{HEADER_BYTES, RECORD_HEADER_BYTES, SegmentIdentity, decode_previous, decode_seal, ends_file};
use super::names::{parse_segment, segment_name, segment_path};
use super::scan::{Bytes, Check, Found, Scanner, Source, read_header};
use super::{Previous, RecordKind, ReplayFrom, Replayed};
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::error::{Error, Result};
use crate::fs::{File, Fs, OpenMode};
use std::path::Path;
use std::sync::Arc;

/// Takes a batch: its first sequence number, how many entries, its bytes.
pub type Apply<'a> = dyn FnMut(SeqNo, u32, &[u8]) -> Result<()> + 'a;

/// Where the chain stands: the end of the last segment that was followed.
struct Position {
    number: FileNumber,
    offset: u64,
    next_seq: SeqNo,
    /// The segment its seal names.
    sealed: Option<FileNumber>,
    /// Why no record stands there, and whether one was begun there.
    stop: Option<(String, bool)>,
}

/// A place where the chain ends.
struct Gap {
    number: FileNumber,
    offset: u64,
    next_seq: SeqNo,
    why: String,
    begun: bool,
}

/// What stands behind a gap.
#[derive(Default)]
struct Evidence {
    /// Highest watermark, and where.
    durable: u64,
    durable_at: String,
    records: u64,
    highest: u64,
}

struct Segment<'s> {
    number: FileNumber,
    name: String,
    source: &'s dyn Source,
    len: u64,
    id: SegmentIdentity,
    /// What the file has at least, unless its last record says that it was cut there.
    least: u64,
}

struct Replay<'a, 'f> {
    from: ReplayFrom,
    apply: &'a mut Apply<'f>,
    position: Option<Position>,
    /// Segments that end with their last record, which says so.
    ended: Vec<FileNumber>,
    /// Segments behind whose header nothing looks like a record: they need not be searched again.
    blank: Vec<FileNumber>,
    /// Memory that each scanner uses in turn.
    buffer: Vec<u8>,
    done: Replayed,
}

/// Reads all segments in `dir` and hands every batch to `apply(first_seq, count, payload)` in order, except those that are
/// wholly at or below `flushed_seq`. A torn tail ends the replay; damage below the durable watermark, a missing or foreign
/// segment, or any damage after a clean close is `Corruption`. Writes nothing.
pub fn replay(fs: &dyn Fs, dir: &Path, database: u128, from: ReplayFrom, apply: &mut Apply<'_>) -> Result<Replayed> {
    let mut numbers: Vec<FileNumber> = fs.list(dir)?.iter().filter_map(|name| parse_segment(name)).collect();
    numbers.sort_unstable();
    let needed = &numbers[numbers.partition_point(|n| *n < from.first_segment)..];
    let mut files: Vec<(FileNumber, Arc<dyn File>)> = Vec::with_capacity(needed.len());
    for number in needed {
        files.push((*number, fs.open(&segment_path(dir, *number), OpenMode::Read)?));
    }
    let mut segments = Vec::with_capacity(files.len());
    for (number, file) in &files {
        let name = segment_name(*number);
        let (id, least) = read_header(file, FileIdentity { database, number: *number }, &name)?;
        segments.push(Segment { number: *number, name, source: file, len: Source::len(file)?, id, least });
    }
    let done = Replayed { segments: numbers.clone(), ..Replayed::default() };
    Replay { from, apply, position: None, ended: Vec::new(), blank: Vec::new(), buffer: Vec::new(), done }
        .run(&segments)
}

impl Replay<'_, '_> {
    fn run(mut self, segments: &[Segment<'_>]) -> Result<Replayed> {
        let mut gap = None;
        let mut at = 0;
        while at < segments.len() && gap.is_none() {
            gap = self.segment(segments, at)?;
            at += 1;
        }
        self.check_lengths(segments)?;
        self.check_seal(segments)?;
        self.check_clean_end(segments, gap.as_ref())?;
        if let Some(position) = &self.position {
            self.done.last_seq = SeqNo(position.next_seq.0.saturating_sub(1));
            self.done.highest_seen = self.done.highest_seen.max(self.done.last_seq);
        }
        // Without a gap the end of the last segment is still to be judged.
        let gap = gap.or_else(|| {
            let p = self.position.as_ref()?;
            let (why, begun) = p.stop.clone()?;
            Some(Gap { number: p.number, offset: p.offset, next_seq: p.next_seq, why, begun })
        });
        if let Some(gap) = gap {
            self.judge(segments, &gap)?;
        }
        Ok(self.done)
    }

    /// Follows the chain through one segment; a gap if the chain does not come to it.
    fn segment(&mut self, segments: &[Segment<'_>], at: usize) -> Result<Option<Gap>> {
        let segment = &segments[at];
        let mut scanner = Scanner::new(segment.source, segment.len, segment.id, std::mem::take(&mut self.buffer));
        let answer = self.follow(segments, segment, &mut scanner);
        self.buffer = scanner.into_buffer();
        answer.map_err(|e| named(&segment.name, e))
    }

    fn follow(
        &mut self,
        segments: &[Segment<'_>],
        segment: &Segment<'_>,
        scanner: &mut Scanner<'_>,
    ) -> Result<Option<Gap>> {
        let start = match scanner.check(HEADER_BYTES as u64)? {
            Check::Record(found) if found.kind == RecordKind::Start && found.header.count == 0 => found,
            Check::Record(found) => {
                return Err(Error::corruption(format!(
                    "offset {HEADER_BYTES}: a start record expected, {:?} found",
                    found.kind
                )));
            }
            Check::Nothing(stop) => {
                // Never started, or its start record is gone: then something may stand behind it.
                let mut records = 0u64;
                if scanner.is_blank(HEADER_BYTES as u64)? {
                    self.blank.push(segment.number);
                } else {
                    scanner.search(HEADER_BYTES as u64, 0, &mut |_| records += 1)?;
                }
                let next_seq = self.position.as_ref().map_or(SeqNo::ZERO, |p| p.next_seq);
                let number = segment.number;
                return Ok((records > 0).then_some(Gap {
                    number,
                    offset: HEADER_BYTES as u64,
                    next_seq,
                    why: format!("a start record expected: {}", stop.why),
                    begun: true,
                }));
            }
        };
        let previous = decode_previous(scanner.payload(&start)?).map_err(|len| {
            Error::corruption(format!("offset {HEADER_BYTES}: start record of 0 or 32 bytes expected, {len} found"))
        })?;
        if let Some(gap) = self.check_chain(segments, segment, &start, previous)? {
            return Ok(Some(gap));
        }
        self.records(segment, scanner, &start)?;
        Ok(None)
    }

    /// Whether `segment`, which starts with `start`, goes on where the chain stands.
    fn check_chain(
        &self,
        segments: &[Segment<'_>],
        segment: &Segment<'_>,
        start: &Found,
        previous: Option<Previous>,
    ) -> Result<Option<Gap>> {
        let base = SeqNo(start.header.first_seq);
        let Some(p) = previous else {
            return match &self.position {
                None => Ok(None),
                Some(last) => Err(Error::corruption(format!(
                    "offset {HEADER_BYTES}: start record behind {} expected, one without a predecessor found",
                    segment_name(last.number)
                ))),
            };
        };
        if p.end.next_seq != base || p.number >= segment.number {
            return Err(Error::corruption(format!(
                "offset {HEADER_BYTES}: start at sequence {base} behind {} that ends before {}",
                segment_name(p.number),
                p.end.next_seq
            )));
        }
        let last = match &self.position {
            None if p.number < self.from.first_segment => return Ok(None),
            last => last.as_ref(),
        };
        if let Some(last) = last.filter(|last| last.number == p.number) {
            return self.check_joint(last, segment, &p);
        }
        let skipped = last.is_some_and(|last| p.number < last.number);
        let Some(before) = segments.iter().find(|s| s.number == p.number).filter(|_| !skipped) else {
            let expected = last.map_or_else(|| "none".to_owned(), |last| segment_name(last.number));
            return Err(Error::corruption(format!(
                "offset {HEADER_BYTES}: the segment before is {}, which is missing (found: {expected})",
                segment_name(p.number)
            )));
        };
        // It is there, but without a start record.
        Ok(Some(Gap {
            number: before.number,
            offset: HEADER_BYTES as u64,
            next_seq: last.map_or(SeqNo::ZERO, |last| last.next_seq),
            why: format!("a start record expected, because {} goes on behind this segment", segment.name),
            begun: true,
        }))
    }

    fn check_joint(&self, last: &Position, segment: &Segment<'_>, p: &Previous) -> Result<Option<Gap>> {
        if last.sealed.is_some_and(|next| next != segment.number) {
            return Err(Error::corruption(format!(
                "offset {HEADER_BYTES}: goes on behind {}, whose seal names another segment",
                segment_name(last.number)
            )));
        }
        if (last.offset == p.end.offset && last.next_seq == p.end.next_seq) || crate::base::planted!("replay-past-hole")
        {
            return Ok(None);
        }
        let said = format!(
            "{} says that this segment ends at {} before sequence {}",
            segment.name, p.end.offset, p.end.next_seq
        );
        match &last.stop {
            Some((why, begun)) => Ok(Some(Gap {
                number: last.number,
                offset: last.offset,
                next_seq: last.next_seq,
                why: format!("{why}; {said}"),
                begun: *begun,
            })),
            None => Err(Error::corruption(format!(
                "{}: sealed at {} before sequence {}, but {said}",
                segment_name(last.number),
                last.offset,
                last.next_seq
            ))),
        }
    }

    /// Applies the records of a segment that the chain came to.
    fn records(&mut self, segment: &Segment<'_>, scanner: &mut Scanner<'_>, start: &Found) -> Result<()> {
        let mut position = Position {
            number: segment.number,
            offset: start.end,
            next_seq: SeqNo(start.header.first_seq),
            sealed: None,
            stop: None,
        };
        while position.sealed.is_none() && position.stop.is_none() {
            match scanner.check(position.offset)? {
                Check::Record(found) => self.record(scanner, &found, &mut position)?,
                Check::Nothing(_) if self.is_mark_missing(scanner, &position)? => {
                    position.offset += RECORD_HEADER_BYTES as u64;
                }
                Check::Nothing(no) => {
                    let begun =
                        no.claims.is_some_and(|h| h.first_seq == position.next_seq.0 && h.record_kind().is_some());
                    position.stop = Some((no.why, begun));
                }
            }
        }
        self.position = Some(position);
        Ok(())
    }

    /// Whether all that is missing at `position` is a mark: a record that goes on with the expected sequence number stands
    /// one empty record behind. A process that dies between reserving a mark and storing it leaves such a hole, and what
    /// other threads stored behind it may have been acknowledged. No entry can be missing: it would have a number.
    fn is_mark_missing(&self, scanner: &mut Scanner<'_>, position: &Position) -> Result<bool> {
        if self.from.clean_end.is_some() {
            return Ok(false);
        }
        Ok(match scanner.check(position.offset + RECORD_HEADER_BYTES as u64)? {
            Check::Record(found) => found.header.first_seq == position.next_seq.0,
            Check::Nothing(_) => false,
        })
    }

    #[inline]
    fn record(&mut self, scanner: &mut Scanner<'_>, found: &Found, position: &mut Position) -> Result<()> {
        let header = &found.header;
        if header.first_seq != position.next_seq.0 {
            let why = format!("sequence {} expected, {} found", position.next_seq, header.first_seq);
            position.stop = Some((why, true));
            return Ok(());
        }
        match found.kind {
            RecordKind::Pad => {}
            RecordKind::Batch if header.count > 0 => {}
            RecordKind::Mark if header.count == 0 => {
                if ends_file(scanner.payload(found)?, found.end) && found.end == scanner.len() {
                    self.ended.push(position.number);
                }
            }
            RecordKind::Seal if header.count == 0 => {
                let next = decode_seal(scanner.payload(found)?).map_err(|len| {
                    Error::corruption(format!("offset {}: seal record of 8 bytes expected, {len} found", found.offset))
                })?;
                position.sealed = Some(next);
                if found.end == scanner.len() {
                    self.ended.push(position.number);
                }
            }
            kind => {
                return Err(Error::corruption(format!(
                    "offset {}: {kind:?} record with {} entries in the middle of a segment",
                    found.offset, header.count
                )));
            }
        }
        let end = found.header.next_seq();
        // I3: a batch that is wholly in tables is not worth applying.
        let flushed = self.from.flushed_seq.0 + u64::from(crate::base::planted!("replay-skips-one-too-many"));
        if found.kind == RecordKind::Batch && end > flushed + 1 {
            (self.apply)(SeqNo(header.first_seq), header.count, scanner.payload(found)?)?;
            self.done.bytes += found.end - found.offset;
        }
        position.next_seq = SeqNo(end);
        if found.kind != RecordKind::Seal {
            position.offset = found.end;
        }
        Ok(())
    }

    /// A file that is shorter than it was made was cut; the records that are gone may have been synced.
    fn check_lengths(&self, segments: &[Segment<'_>]) -> Result<()> {
        let is_cut = |s: &&Segment<'_>| s.len < s.least && !self.ended.contains(&s.number);
        match segments.iter().find(is_cut) {
            Some(s) if !crate::base::planted!("replay-cut-file-accepted") => {
                Err(Error::corruption(format!("{}: the file has {} bytes, its header says {}", s.name, s.len, s.least)))
            }
            _ => Ok(()),
        }
    }

    fn check_seal(&self, segments: &[Segment<'_>]) -> Result<()> {
        let Some(Position { number, sealed: Some(next), offset, .. }) = &self.position else { return Ok(()) };
        if segments.iter().any(|s| s.number == *next) || crate::base::planted!("replay-missing-segment-accepted") {
            return Ok(());
        }
        Err(Error::corruption(format!(
            "{}: missing; the seal of {} at offset {offset} names it as the next segment",
            segment_name(*next),
            segment_name(*number)
        )))
    }

    /// After a clean close the log is exactly what was written down.
    fn check_clean_end(&self, segments: &[Segment<'_>], gap: Option<&Gap>) -> Result<()> {
        let Some(clean) = self.from.clean_end else { return Ok(()) };
        if let Some(gap) = gap {
            return Err(gap.corruption("the log was closed cleanly"));
        }
        let name = segment_name(clean.number);
        let expected = format!(
            "the log was closed cleanly at offset {} of {name} after sequence {}",
            clean.offset, clean.last_seq
        );
        if clean.number < self.from.first_segment {
            return match &self.position {
                None => Ok(()),
                Some(p) => Err(Error::corruption(format!("{}: records found, {expected}", segment_name(p.number)))),
            };
        }
        let Some(segment) = segments.iter().find(|s| s.number == clean.number) else {
            return Err(Error::corruption(format!("{name}: missing; {expected}")));
        };
        let found = match &self.position {
            Some(p) if p.number == clean.number => {
                // A sealed end lies behind the seal record; a file that ends with its records has it there too.
                let end = if p.sealed.is_some() { p.offset + super::format::SEAL_BYTES } else { p.offset };
                if end == clean.offset && segment.len == clean.offset && p.next_seq.0 == clean.last_seq.0 + 1 {
                    return Ok(());
                }
                let why = p.stop.as_ref().map_or("", |(why, _)| why);
                format!("records end at {end} before sequence {}, the file at {} ({why})", p.next_seq, segment.len)
            }
            Some(p) => format!("the records end in {}", segment_name(p.number)),
            None => format!("no start record at offset {HEADER_BYTES}"),
        };
        Err(Error::corruption(format!("{name}: {found}; {expected}")))
    }

    /// Torn end or damage?
    fn judge(&mut self, segments: &[Segment<'_>], gap: &Gap) -> Result<()> {
        let mut evidence = Evidence::default();
        for segment in segments.iter().filter(|s| s.number >= gap.number && !self.blank.contains(&s.number)) {
            let from = if segment.number == gap.number { gap.offset } else { HEADER_BYTES as u64 };
            let mut scanner = Scanner::new(segment.source, segment.len, segment.id, std::mem::take(&mut self.buffer));
            let done = evidence.collect(segment, &mut scanner, from, gap.next_seq.0);
            self.buffer = scanner.into_buffer();
            done.map_err(|e| named(&segment.name, e))?;
        }
        self.done.highest_seen = self.done.highest_seen.max(SeqNo(evidence.highest));
        // The first entry that is missing and not in tables.
        let missing = gap.next_seq.0.max(self.from.flushed_seq.0 + 1);
        if missing < evidence.durable && !crate::base::planted!("replay-damage-called-torn") {
            return Err(gap.corruption(&format!(
                "{} proves that every sequence number below {} was on the device",
                evidence.durable_at, evidence.durable
            )));
        }
        if gap.begun || evidence.records > 0 {
            self.done.torn = Some(format!(
                "{}: torn at offset {}: {}; {} whole records behind it dropped",
                segment_name(gap.number),
                gap.offset,
                gap.why,
                evidence.records
            ));
        }
        Ok(())
    }
}

impl Gap {
    fn corruption(&self, proof: &str) -> Error {
        Error::corruption(format!(
            "{}: offset {}: the record with sequence {} is damaged or missing: {}; {proof}",
            segment_name(self.number),
            self.offset,
            self.next_seq,
            self.why
        ))
    }
}

impl Evidence {
    fn collect(&mut self, segment: &Segment<'_>, scanner: &mut Scanner<'_>, from: u64, first_seq: u64) -> Result<()> {
        let mut start = None;
        scanner.search(from, first_seq, &mut |found: &Found| {
            self.note(found.header.durable, &segment.name, found.offset);
            self.records += u64::from(found.kind != RecordKind::Start);
            self.highest = self.highest.max(found.header.next_seq().saturating_sub(1));
            if found.kind == RecordKind::Start {
                start = Some(*found);
            }
        })?;
        if let Some(found) = start
            && let Ok(Some(previous)) = decode_previous(scanner.payload(&found)?)
        {
            self.note(previous.durable.0, &segment.name, found.offset);
        }
        Ok(())
    }

    fn note(&mut self, durable: u64, name: &str, offset: u64) {
        if durable > self.durable {
            self.durable = durable;
            self.durable_at = format!("{name} at offset {offset}");
        }
    }
}

fn named(name: &str, error: Error) -> Error {
    if error.message().contains(name) { error } else { error.context(name) }
}

/// Reads the bytes of one segment file as `replay` would if it were the only one; for fuzzers and tools.
pub fn replay_bytes(file: FileIdentity, bytes: &[u8], from: ReplayFrom, apply: &mut Apply<'_>) -> Result<Replayed> {
    let source = Bytes(bytes);
    let name = segment_name(file.number);
    let (id, least) = read_header(&source, file, &name)?;
    let segment = Segment { number: file.number, name, source: &source, len: bytes.len() as u64, id, least };
    let done = Replayed { segments: vec![file.number], ..Replayed::default() };
    Replay { from, apply, position: None, ended: Vec::new(), blank: Vec::new(), buffer: Vec::new(), done }
        .run(&[segment])
}
