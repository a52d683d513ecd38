//! Reads the log of an open database again, while writers go on: every record up to a sequence number must be there.
//!
//! Unlike a replay it knows what was published, so it needs no evidence: a record below that number that does not verify is
//! damage, one above it may be on its way.
//!
//! Invariants
//! - I1  Nothing is written; a file that vanishes meanwhile was given back and is no damage (the caller knows the bound).
//!
//! Threads: any. Failure: damage is an answer; errors of the folder are passed on.

use super::RecordKind;
use super::format::{HEADER_BYTES, RECORD_HEADER_BYTES, decode_previous};
use super::names::{parse_segment, segment_name, segment_path};
use super::scan::{Check, Scanner, Source, read_header};
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::error::{Error, Result};
use crate::fs::{File, Fs, OpenMode};
use std::path::Path;
use std::sync::Arc;

/// A segment that is damaged.
pub struct SegmentFault {
    /// Which.
    pub number: FileNumber,
    /// How; names file and offset.
    pub error: Error,
}

/// What a check read.
#[derive(Default)]
pub struct Checked {
    /// Bytes of records and headers that verified.
    pub bytes: u64,
    /// Segments that were read.
    pub segments: u64,
    /// The first sequence number that was not met.
    pub next_seq: Option<SeqNo>,
    /// What is damaged.
    pub faults: Vec<SegmentFault>,
}

/// Reads the segments from `first` on and checks every record up to sequence number `visible`, which is published.
pub fn check(fs: &dyn Fs, dir: &Path, database: u128, first: FileNumber, visible: SeqNo) -> Result<Checked> {
    let mut numbers: Vec<_> = fs.list(dir)?.iter().filter_map(|name| parse_segment(name)).collect();
    numbers.retain(|number| *number >= first);
    numbers.sort_unstable();
    let mut done = Checked::default();
    for number in numbers {
        if done.next_seq.is_some_and(|next| next > visible) {
            break;
        }
        let path = segment_path(dir, number);
        let file = match fs.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.os_errno() == libc::ENOENT => continue,
            Err(error) => {
                done.faults.push(SegmentFault { number, error });
                done.next_seq = None;
                continue;
            }
        };
        let mut next = done.next_seq;
        let answer = segment(&file, FileIdentity { database, number }, visible, &mut next, &mut done.bytes);
        done.segments += 1;
        done.next_seq = next;
        if let Err(error) = answer {
            let error = error.context(path.display());
            done.faults.push(SegmentFault { number, error });
            // What is missing is said; the segments behind are checked for themselves.
            done.next_seq = None;
        }
    }
    Ok(done)
}

fn segment(
    file: &Arc<dyn File>,
    identity: FileIdentity,
    visible: SeqNo,
    next: &mut Option<SeqNo>,
    bytes: &mut u64,
) -> Result<()> {
    let (id, least) = read_header(file, identity, &segment_name(identity.number))?;
    let len = Source::len(file)?;
    if len < least {
        return Err(Error::corruption(format!("the file has {len} bytes, its header says {least}")));
    }
    *bytes += HEADER_BYTES as u64;
    let mut scanner = Scanner::new(file, len, id, Vec::new());
    let mut at = HEADER_BYTES as u64;
    let damaged = |at: u64, why: &str| Err(Error::corruption(format!("offset {at}: {why}")));
    while next.is_none_or(|next| next <= visible) {
        let found = match scanner.check(at)? {
            Check::Record(found) => found,
            // A mark that is on its way; what stands behind it has the expected number (see `replay`).
            Check::Nothing(no) => match scanner.check(at + RECORD_HEADER_BYTES as u64)? {
                Check::Record(found) if at > HEADER_BYTES as u64 && Some(SeqNo(found.header.first_seq)) == *next => {
                    at = found.offset;
                    continue;
                }
                // Made ready, and not begun.
                Check::Nothing(_) if at == HEADER_BYTES as u64 && no.claims.is_none() && next.is_none() => {
                    return Ok(());
                }
                _ => return damaged(at, &format!("the published record of sequence {next:?} is missing: {}", no.why)),
            },
        };
        let first = SeqNo(found.header.first_seq);
        if found.kind == RecordKind::Start {
            if at != HEADER_BYTES as u64 {
                return damaged(at, "a start record in the middle of a segment");
            }
            if let Ok(Some(previous)) = decode_previous(scanner.payload(&found)?)
                && previous.number >= identity.number
            {
                return damaged(at, &format!("goes on behind segment {}", previous.number));
            }
        } else if at == HEADER_BYTES as u64 {
            return damaged(at, "a start record expected");
        }
        if next.is_some_and(|next| next != first) {
            return damaged(at, &format!("sequence {next:?} expected, {first} found"));
        }
        *next = Some(SeqNo(found.header.next_seq()));
        *bytes += found.end - found.offset;
        at = found.end;
        if found.kind == RecordKind::Seal {
            return Ok(());
        }
    }
    Ok(())
}
