//! A log segment taken apart, for people who look into a file: its header, every record of the chain from the start, the
//! place where that ends, and whole records behind it.
//!
//! A segment is read for itself: whether it goes on where the one before ended, and whether its end is a torn one or
//! damage, is for `replay` to say, which knows the others and the manifest.
//!
//! Threads: one. Failure: a header page that fails its checks, and what the file system says; damage behind the header is
//! part of the answer.

use super::format::{self, HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, decode_previous, decode_seal};
use super::scan::{Check, Found, Scanner};
use super::{Previous, RecordKind};
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::error::Result;
use crate::fs::File;
use std::sync::Arc;

/// What the header page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Database and file number, as the page has them.
    pub file: FileIdentity,
    /// Drawn anew at every use of the file.
    pub salt: u64,
    /// When the file was put to use, in microseconds since 1970.
    pub created_micros: u64,
}

/// One record.
#[derive(Debug)]
pub struct SegmentRecord<'a> {
    /// Its first byte in the file.
    pub offset: u64,
    /// The byte behind it.
    pub end: u64,
    /// What it is.
    pub kind: RecordKind,
    /// Its first sequence number, or the one the next batch gets.
    pub first_seq: SeqNo,
    /// How many it uses.
    pub count: u32,
    /// Every sequence number below this was on the device.
    pub durable: SeqNo,
    /// Whether it stands behind the end of the chain.
    pub is_behind_end: bool,
    /// Its payload: the entries of a batch.
    pub payload: &'a [u8],
}

impl SegmentRecord<'_> {
    /// The segment that a seal record names as the next.
    pub fn next_segment(&self) -> Option<FileNumber> {
        (self.kind == RecordKind::Seal).then(|| decode_seal(self.payload).ok()).flatten()
    }

    /// What a start record says of the segment before.
    pub fn previous(&self) -> Option<Previous> {
        (self.kind == RecordKind::Start).then(|| decode_previous(self.payload).ok().flatten()).flatten()
    }
}

/// One step through a segment.
#[derive(Debug)]
pub enum SegmentItem<'a> {
    /// A record.
    Record(SegmentRecord<'a>),
    /// A mark that was reserved and never stored; the chain goes on behind it.
    MissingMark {
        /// Its place.
        offset: u64,
    },
    /// Where the chain of records ends before the file does.
    End {
        /// The place.
        offset: u64,
        /// Why there is no record.
        why: String,
        /// A record was begun there, or whole ones stand behind: not just the zeros, or the rest of an earlier use of the
        /// file, that stand behind the last record of a segment in use.
        is_begun: bool,
    },
}

/// Reads the header page of a segment for itself, trusting what it says of its number and database.
pub fn segment_head(source: &Arc<dyn File>, name: &str) -> Result<SegmentHead> {
    let mut page = vec![0u8; HEADER_BYTES];
    let got = File::read_at(&**source, &mut page, 0)?;
    let word = |at: usize| page[at..at + 8].iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let database = u128::from(word(32)) | u128::from(word(40)) << 64;
    let file = FileIdentity { database, number: FileNumber(word(16)) };
    let id = format::decode_header(&page[..got], file, name)?;
    Ok(SegmentHead { file, salt: id.salt, created_micros: word(48) })
}

/// Hands every record of the segment to `each`, then the end of the chain if that is not the end of the file, then the
/// whole records behind it, until `each` answers false.
pub fn dump_segment(
    source: &Arc<dyn File>,
    name: &str,
    each: &mut dyn FnMut(SegmentItem<'_>) -> bool,
) -> Result<SegmentHead> {
    let head = segment_head(source, name)?;
    let id = format::SegmentIdentity::new(head.file, head.salt);
    let len = File::len(&**source)?;
    let mut scanner = Scanner::new(source, len, id, Vec::new());
    let (mut at, mut next_seq) = (HEADER_BYTES as u64, None);
    let (why, is_begun) = loop {
        if at == len {
            return Ok(head);
        }
        let found = match scanner.check(at) {
            Ok(Check::Record(found)) => found,
            Ok(Check::Nothing(no)) => {
                if next_seq.is_some_and(|seq| goes_on_behind_mark(&mut scanner, at, seq)) {
                    if !each(SegmentItem::MissingMark { offset: at }) {
                        return Ok(head);
                    }
                    at += RECORD_HEADER_BYTES as u64;
                    continue;
                }
                break (no.why, no.claims.is_some_and(|header| belongs_there(&header, next_seq)));
            }
            Err(error) => break (error.message().to_owned(), true),
        };
        if next_seq.is_some_and(|seq| seq != found.header.first_seq) {
            let expected = next_seq.unwrap_or_default();
            break (format!("sequence {expected} expected, {} found", found.header.first_seq), true);
        }
        if !show(&mut scanner, &found, false, each)? {
            return Ok(head);
        }
        next_seq = Some(found.header.next_seq());
        at = found.end;
    };
    let mut behind = Vec::new();
    let searched = scanner.search(at, 0, &mut |found| behind.push(*found));
    let is_begun = is_begun || !behind.is_empty();
    if !each(SegmentItem::End { offset: at, why, is_begun }) {
        return Ok(head);
    }
    for found in &behind {
        if !show(&mut scanner, found, true, each)? {
            return Ok(head);
        }
    }
    // What the search met last is an answer too: a record of a later version, say.
    if let Err(error) = searched {
        each(SegmentItem::End { offset: at, why: error.message().to_owned(), is_begun: true });
    }
    Ok(head)
}

/// Whether a header whose checksum is wrong is that of the record that belongs there, and not the rest of an earlier use of
/// the file, whose numbers are lower.
fn belongs_there(header: &RecordHeader, next_seq: Option<u64>) -> bool {
    header.record_kind().is_some() && next_seq == Some(header.first_seq)
}

/// As in `replay`: an empty record may be missing when the one behind it has the expected sequence number.
fn goes_on_behind_mark(scanner: &mut Scanner<'_>, at: u64, next_seq: u64) -> bool {
    let behind = scanner.check(at + RECORD_HEADER_BYTES as u64);
    matches!(behind, Ok(Check::Record(found)) if found.header.first_seq == next_seq)
}

fn show(
    scanner: &mut Scanner<'_>,
    found: &Found,
    is_behind_end: bool,
    each: &mut dyn FnMut(SegmentItem<'_>) -> bool,
) -> Result<bool> {
    let payload = scanner.payload(found)?;
    let header = &found.header;
    Ok(each(SegmentItem::Record(SegmentRecord {
        offset: found.offset,
        end: found.end,
        kind: found.kind,
        first_seq: SeqNo(header.first_seq),
        count: header.count,
        durable: SeqNo(header.durable),
        is_behind_end,
        payload,
    })))
}
