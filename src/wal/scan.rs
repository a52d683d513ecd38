//! Reads one segment: record by record from the start, or looking for whole records behind a bad place.
//!
//! Invariants
//! - I1  Nothing from the file is believed before its checksum is; lengths are bounded by the file before memory is asked
//!   for, and memory grows to at most the largest record that fits.
//! - I2  The search behind a bad place takes time in proportion to the file: checksums are counted, and when a file is
//!   full of headers that claim much (only someone who forges them gets there) the search ends as if at its end.
//!
//! Threads: a scanner belongs to one. Failure: what the file system says is passed on; damage is an answer, not an error.

use super::RecordKind;
use super::format::{
    self, HEADER_BYTES, RECORD_ALIGN, RECORD_HEADER_BYTES, RecordHeader, SegmentIdentity, record_bytes,
};
use crate::base::checksum::Checksum;
use crate::base::ids::{FileIdentity, SeqNo};
use crate::error::{Code, Error, Result};
use crate::fs::File;
use std::sync::Arc;

/// Bytes read at once: few enough to be in the processor's cache when they are looked at.
const CHUNK_BYTES: usize = 256 << 10;
/// How many bytes of claimed payload the search checks for each byte of file, and how many at least.
const SEARCH_FACTOR: u64 = 32;
const SEARCH_BYTES_MIN: u64 = 64 << 20;

/// Bytes with positions: a file, or a slice for tests and fuzzers.
pub trait Source {
    /// Reads until `buf` is full or the bytes end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// How many there are.
    fn len(&self) -> Result<u64>;
    /// The first place from `offset` on that may hold anything but zeros; `None` if there is none.
    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        Ok(Some(offset))
    }
}

impl Source for Arc<dyn File> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        File::read_at(&**self, buf, offset)
    }
    fn len(&self) -> Result<u64> {
        File::len(&**self)
    }
    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        File::next_data(&**self, offset)
    }
}

/// A slice as a source.
pub struct Bytes<'a>(pub &'a [u8]);

impl Source for Bytes<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let rest = self.0.get(offset.min(self.0.len() as u64) as usize..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// A record that passed its checks.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its fields.
    pub header: RecordHeader,
    /// Its kind.
    pub kind: RecordKind,
    /// Where it stands.
    pub offset: u64,
    /// Where the next one stands.
    pub end: u64,
}

/// Why there is no record at a place.
#[derive(Clone, Debug)]
pub struct NoRecord {
    /// In words, with expected and found.
    pub why: String,
    /// The header that stands there, if one does that is not zero; its checksum was not right.
    pub claims: Option<RecordHeader>,
}

/// The answer about a place.
pub enum Check {
    /// A record.
    Record(Found),
    /// None.
    Nothing(NoRecord),
}

/// Reads one segment through a buffer that moves forward.
pub struct Scanner<'s> {
    source: &'s dyn Source,
    len: u64,
    id: SegmentIdentity,
    buffer: Vec<u8>,
    /// File offset of the buffer's first byte, and how many of its bytes are from the file.
    start: u64,
    filled: usize,
}

fn sequence_fits(header: &RecordHeader) -> bool {
    header.next_seq() <= SeqNo::MAX.0 && header.durable <= header.first_seq
}

impl<'s> Scanner<'s> {
    /// A scanner over a source of `len` bytes. `buffer` is reused memory.
    pub fn new(source: &'s dyn Source, len: u64, id: SegmentIdentity, buffer: Vec<u8>) -> Scanner<'s> {
        Scanner { source, len, id, buffer, start: 0, filled: 0 }
    }

    /// Bytes of the source.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Gives the memory back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Whether the buffer holds `[at, at + want)`.
    #[inline]
    fn holds(&self, at: u64, want: usize) -> bool {
        at >= self.start && at + want as u64 <= self.start + self.filled as u64
    }

    /// The bytes `[at, at + want)`, which lie within the source.
    #[inline]
    fn view(&mut self, at: u64, want: usize) -> Result<&[u8]> {
        if !self.holds(at, want) {
            self.fill(at, want)?;
        }
        let from = (at - self.start) as usize;
        Ok(&self.buffer[from..from + want])
    }

    #[cold]
    fn fill(&mut self, at: u64, want: usize) -> Result<()> {
        debug_assert!(at + want as u64 <= self.len);
        let size = want.max(CHUNK_BYTES.min((self.len - at) as usize));
        let kept = match at.checked_sub(self.start) {
            Some(skip) if skip < self.filled as u64 => {
                self.buffer.copy_within(skip as usize..self.filled, 0);
                self.filled - skip as usize
            }
            _ => 0,
        };
        (self.start, self.filled) = (at, kept);
        if self.buffer.len() < size {
            self.buffer
                .try_reserve_exact(size - self.buffer.len())
                .map_err(|_| Error::new(Code::NoMem, format!("{size} bytes to read the log were refused")))?;
            self.buffer.resize(size, 0);
        }
        self.filled += self.source.read_at(&mut self.buffer[kept..size], at + kept as u64)?;
        if self.filled < want {
            let end = at + self.filled as u64;
            return Err(Error::corruption(format!("the file ended at {end} while it was read, {} expected", self.len)));
        }
        Ok(())
    }

    fn header_at(&mut self, at: u64) -> Result<RecordHeader> {
        let mut fields = [0u8; RECORD_HEADER_BYTES];
        fields.copy_from_slice(self.view(at, RECORD_HEADER_BYTES)?);
        Ok(RecordHeader::decode(&fields))
    }

    /// The payload of a record that was found, with its padding cut off.
    pub fn payload(&mut self, found: &Found) -> Result<&[u8]> {
        self.view(found.offset + RECORD_HEADER_BYTES as u64, found.header.len as usize)
    }

    /// What stands at `at` (a multiple of 8).
    pub fn check(&mut self, at: u64) -> Result<Check> {
        let nothing = |why: String, claims| Ok(Check::Nothing(NoRecord { why, claims }));
        let left = self.len.saturating_sub(at);
        if left < RECORD_HEADER_BYTES as u64 {
            return nothing(format!("a record header of 32 bytes expected, {left} bytes left"), None);
        }
        let header = self.header_at(at)?;
        if header.kind == 0 && header.len == 0 && header.crc == 0 {
            return nothing("a record expected, zeros found".to_owned(), None);
        }
        let bytes = record_bytes(header.len as usize);
        if bytes > left {
            return nothing(format!("a record of {bytes} bytes claimed, {left} bytes left"), Some(header));
        }
        // One view for header and payload, so that the payload is contiguous for the caller.
        let id = self.id;
        let whole = self.view(at, bytes as usize)?;
        let crc = header.checksum(Checksum::new().bytes(&whole[RECORD_HEADER_BYTES..]).finish(), &id, at);
        if crc != header.crc && !crate::base::planted!("log-checksum-unchecked") {
            return nothing(format!("record checksum {crc:#010x} expected, {:#010x} found", header.crc), Some(header));
        }
        match header.record_kind() {
            Some(kind) if header.flags == 0 && header.reserved == 0 && sequence_fits(&header) => {
                Ok(Check::Record(Found { header, kind, offset: at, end: at + bytes }))
            }
            // Its checksum is right, so this is what somebody wrote.
            _ => Err(Error::corruption(format!(
                "offset {at}: unknown record: kind {}, flags {:#x}, reserved {:#x}, sequence {} + {}, durable {}",
                header.kind, header.flags, header.reserved, header.first_seq, header.count, header.durable
            ))),
        }
    }

    /// Looks for whole records anywhere in `[from, end)` with a sequence number of at least `first_seq`, and hands each
    /// to `found`.
    pub fn search(&mut self, from: u64, first_seq: u64, found: &mut dyn FnMut(&Found)) -> Result<()> {
        let mut at = from;
        let mut budget = self.search_budget(from);
        while let Some(record) = self.find(at, first_seq, &mut budget)? {
            found(&record);
            at = record.end;
        }
        Ok(())
    }

    /// Whether nothing from `from` on looks like a record.
    pub fn is_blank(&mut self, from: u64) -> Result<bool> {
        Ok(self.next_candidate(from)?.is_none())
    }

    /// How many bytes a search from `from` on may check (I2).
    pub fn search_budget(&self, from: u64) -> u64 {
        SEARCH_BYTES_MIN + SEARCH_FACTOR * self.len.saturating_sub(from)
    }

    /// The first whole record from `from` on with a sequence number of at least `first_seq`; `None` as well when the budget
    /// is used up.
    pub fn find(&mut self, from: u64, first_seq: u64, budget: &mut u64) -> Result<Option<Found>> {
        let mut at = from.max(HEADER_BYTES as u64).next_multiple_of(RECORD_ALIGN as u64);
        while let Some(place) = self.next_candidate(at)? {
            at = place;
            let header = self.header_at(at)?;
            let bytes = record_bytes(header.len as usize);
            if header.first_seq < first_seq || !sequence_fits(&header) || bytes > self.len - at {
                at += RECORD_ALIGN as u64;
                continue;
            }
            if bytes > *budget {
                return Ok(None);
            }
            *budget -= bytes;
            match self.check(at)? {
                Check::Record(record) => return Ok(Some(record)),
                Check::Nothing(_) => at += RECORD_ALIGN as u64,
            }
        }
        Ok(None)
    }

    /// The first place from `at` on whose bytes 8..12 say a known kind, no flags and nothing reserved.
    fn next_candidate(&mut self, mut at: u64) -> Result<Option<u64>> {
        while at + RECORD_HEADER_BYTES as u64 <= self.len {
            if !self.holds(at, RECORD_HEADER_BYTES) {
                // Zeros look like no record, so what was allocated and never written need not be read.
                let Some(data) = self.source.next_data(at)? else { return Ok(None) };
                // A header may begin in front of it with zeros.
                let first = data.saturating_sub(RECORD_HEADER_BYTES as u64) / RECORD_ALIGN as u64 * RECORD_ALIGN as u64;
                at = at.max(first);
                if at + RECORD_HEADER_BYTES as u64 > self.len {
                    return Ok(None);
                }
            }
            self.view(at, RECORD_HEADER_BYTES)?;
            let from = (at - self.start) as usize;
            let last = self.filled - RECORD_HEADER_BYTES;
            let mut step = from;
            while step <= last {
                step += leading_zeros(&self.buffer[step + 8..last + 8]);
                let word = &self.buffer[step + 8..step + 12];
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                if word.wrapping_sub(1) < RecordKind::Start as u32 {
                    return Ok(Some(self.start + step as u64));
                }
                step += RECORD_ALIGN;
            }
            at = self.start + step as u64;
        }
        Ok(None)
    }
}

/// How many bytes of zeros `bytes` begins with, counted in steps of 64: most of what a search looks at was never used.
#[inline]
fn leading_zeros(bytes: &[u8]) -> usize {
    let (lines, _) = bytes.as_chunks::<64>();
    64 * lines.iter().take_while(|line| line.iter().fold(0, |any, byte| any | byte) == 0).count()
}

/// Reads and checks the header page of a segment called `name`: what its records are bound to, and how many bytes the file
/// must have.
pub fn read_header(source: &dyn Source, file: FileIdentity, name: &str) -> Result<(SegmentIdentity, u64)> {
    let mut page = vec![0u8; HEADER_BYTES];
    let got = source.read_at(&mut page, 0)?;
    let id = format::decode_header(&page[..got], file, name)?;
    Ok((id, format::stored_bytes(&page)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::FileNumber;
    use crate::base::sync::{AtomicU64, Ordering};
    use crate::error::Error;

    /// Bytes with holes, which may not be read.
    struct Holed {
        bytes: Vec<u8>,
        /// Where there may be data: ascending, disjoint.
        data: Vec<(u64, u64)>,
        read: AtomicU64,
    }

    impl Source for Holed {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
            self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
            Bytes(&self.bytes).read_at(buf, offset)
        }
        fn len(&self) -> Result<u64> {
            Ok(self.bytes.len() as u64)
        }
        fn next_data(&self, offset: u64) -> Result<Option<u64>> {
            Ok(self.data.iter().find(|(_, to)| offset < *to).map(|(from, _)| offset.max(*from)))
        }
    }

    #[test]
    fn a_search_passes_over_holes_and_misses_nothing_behind_them() {
        let id = SegmentIdentity::new(FileIdentity { database: 1, number: FileNumber(1) }, 5);
        let len = 40 << 20;
        // At the start of a block, over the border of two, within one, and at the very end.
        for at in [8 << 20, (8 << 20) + 4096 - 8, (30 << 20) + 24, len - 40] {
            let header = RecordHeader::new(RecordKind::Mark, 0, 0, SeqNo(9), SeqNo(3));
            let head = header.sign(format::payload_crc(&[]), &id, at as u64);
            let mut bytes = vec![0; len];
            bytes[at..at + 32].copy_from_slice(&head);
            let block = (at as u64 / 4096 * 4096, ((at as u64 + 32).next_multiple_of(4096)).min(len as u64));
            let source = Holed { bytes, data: vec![(0, 4096), block], read: AtomicU64::new(0) };
            let mut scanner = Scanner::new(&source, len as u64, id, Vec::new());
            let mut found = Vec::new();
            scanner.search(4096, 0, &mut |record| found.push(record.offset)).expect("reads");
            assert_eq!(found, [at as u64]);
            assert!(source.read.load(Ordering::Relaxed) < 2 << 20, "holes were read");
            assert!(!Scanner::new(&source, len as u64, id, Vec::new()).is_blank(4096).expect("reads"));
            // The same without knowledge of holes.
            let plain = Bytes(&source.bytes);
            let mut found = Vec::new();
            let mut scanner = Scanner::new(&plain, len as u64, id, Vec::new());
            scanner.search(4096, 0, &mut |record| found.push(record.offset)).expect("reads");
            assert_eq!(found, [at as u64]);
        }
        let source = Holed { bytes: vec![0; len], data: Vec::new(), read: AtomicU64::new(0) };
        assert!(Scanner::new(&source, len as u64, id, Vec::new()).is_blank(4096).expect("reads"));
        assert_eq!(source.read.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_failing_look_for_data_is_no_end_of_the_log() {
        struct Failing;
        impl Source for Failing {
            fn read_at(&self, buf: &mut [u8], _: u64) -> Result<usize> {
                buf.fill(0);
                Ok(buf.len())
            }
            fn len(&self) -> Result<u64> {
                Ok(1 << 20)
            }
            fn next_data(&self, _: u64) -> Result<Option<u64>> {
                Err(Error::new(Code::Io, "planted"))
            }
        }
        let id = SegmentIdentity::new(FileIdentity { database: 1, number: FileNumber(1) }, 5);
        let error = Scanner::new(&Failing, 1 << 20, id, Vec::new()).search(4096, 0, &mut |_| ()).expect_err("fails");
        assert_eq!(error.code(), Code::Io);
    }
}
