//! The bytes of a log segment, shared by the writer (`segment`, `pool`) and the reader (`scan`, `replay`);
//! explained for a stranger in `docs/format/log.md`.
//!
//!     segment := header record*            a file NNNNNN.wal; what stands behind the last record is not defined
//!     header  := one page of 4096 bytes
//!         0  magic     u64   "LSMLOG\r\n"
//!         8  version   u32   1
//!        12  flags     u32   0; others are refused
//!        16  number    u64   the number in the file's name
//!        24  salt      u64   random, drawn anew each time the file is put to use
//!        32  database  u128  the database's identity
//!        48  created   u64   microseconds since 1970; for people
//!        56  bytes     u64   the file has at least so many (see I4); 0: not said
//!        64  zeros
//!      4092  crc       u32   of bytes 0..4092, then the place (database, number, offset 0)
//!     record  := at a multiple of 8
//!         0  crc       u32   of the payload with its padding, then these 32 bytes with the place word in crc's stead
//!         4  len       u32   bytes of payload without padding
//!         8  kind      u8    1 batch | 2 mark | 3 seal | 4 pad | 5 start       DO NOT RENUMBER: on disk
//!         9  flags     u8    0; others are refused
//!        10  reserved  u16   0
//!        12  count     u32   sequence numbers used (batch, pad); 0 in the others
//!        16  first_seq u64   the first of them; in the others the one the next batch gets
//!        24  durable   u64   every sequence number below it was on the device when this was written
//!        32  payload   [u8; len], then zeros up to a multiple of 8
//!     place word := (crc of database u128, number u64, salt u64) xor (offset of the record / 8)   (hashed, not stored)
//!     start payload := empty, or previous number u64, its end offset u64, its next sequence u64, durable u64
//!     seal payload  := number of the next segment u64
//!     mark payload  := empty, or the end offset of this record u64: the file was cut here by a close
//!
//! Invariants
//! - I1  Every bit of a record, padding included, is under its checksum; so is every bit of the header page.
//! - I2  `durable <= first_seq` in every record.
//! - I3  A record that was written under another salt, number, database or offset fails its checksum. (A checksum of 32
//!   bits is linear: hashing all 40 bytes of the place instead of their 32-bit digest binds no tighter, and costs 30 ns.)
//! - I4  A file shorter than its header says ends with a seal, or with a mark that says so. Else somebody cut it, and what
//!   is gone may have been synced.
//!
//! Threads: plain functions. Failure: none here; damage is told by the caller, who knows file and offset.

use super::{Previous, RecordKind, SealedAt};
use crate::base::checksum::{Checksum, checksum_at, solve};
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::error::{Code, Error, Result};

/// First bytes of every segment.
pub const MAGIC: u64 = u64::from_le_bytes(*b"LSMLOG\r\n");
/// The version written and the newest one read.
pub const VERSION: u32 = 1;
/// Bytes of the header page.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of a record before its payload.
pub const RECORD_HEADER_BYTES: usize = 32;
/// Records start at multiples of this.
pub const RECORD_ALIGN: usize = 8;
/// Payload of a start record that has a predecessor.
pub const START_PAYLOAD_BYTES: usize = 32;
/// Payload of a seal record.
pub const SEAL_PAYLOAD_BYTES: usize = 8;
/// A whole seal record, or a mark that ends a file; this much is kept free at the end of every segment.
pub const SEAL_BYTES: u64 = (RECORD_HEADER_BYTES + SEAL_PAYLOAD_BYTES) as u64;

const BYTES_AT: usize = 56;
const CRC_AT: usize = HEADER_BYTES - 4;

const _: () = assert!(HEADER_BYTES.is_multiple_of(RECORD_ALIGN) && RECORD_HEADER_BYTES.is_multiple_of(RECORD_ALIGN));

/// What binds a record to one use of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentIdentity {
    /// Database and file number.
    pub file: FileIdentity,
    /// Drawn anew at every use.
    pub salt: u64,
    /// Digest of the three, so that each record hashes one word for its place.
    seed: u32,
}

impl SegmentIdentity {
    /// One use of one file.
    pub fn new(file: FileIdentity, salt: u64) -> SegmentIdentity {
        let mut bytes = [0u8; 32];
        bytes[..16].copy_from_slice(&file.database.to_le_bytes());
        bytes[16..24].copy_from_slice(&file.number.0.to_le_bytes());
        bytes[24..].copy_from_slice(&salt.to_le_bytes());
        SegmentIdentity { file, salt, seed: Checksum::new().bytes(&bytes).finish() }
    }

    /// The identity under which `header`, that of a record at `offset` whose payload has `payload_crc`, verifies: for the
    /// repair of a segment whose header page is damaged. Whatever stands there, there is one; only other records prove it.
    pub fn of_record(
        file: FileIdentity,
        header: &RecordHeader,
        payload_crc: u32,
        offset: u64,
    ) -> Option<SegmentIdentity> {
        let word = solve(header.crc, |word| header.checksum_with(payload_crc, word))?;
        Some(SegmentIdentity { file, salt: 0, seed: word ^ (offset / RECORD_ALIGN as u64) as u32 })
    }

    /// What stands for the place `offset` in a record's checksum.
    #[inline]
    fn place_word(&self, offset: u64) -> u32 {
        if crate::base::planted!("log-place-unbound") { 0 } else { self.seed ^ (offset / RECORD_ALIGN as u64) as u32 }
    }
}

/// The fields of a record before its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// Checksum of everything.
    pub crc: u32,
    /// Bytes of payload.
    pub len: u32,
    /// `RecordKind`, unchecked.
    pub kind: u8,
    /// Must be 0.
    pub flags: u8,
    /// Must be 0.
    pub reserved: u16,
    /// Sequence numbers used.
    pub count: u32,
    /// The first of them.
    pub first_seq: u64,
    /// Everything below was on the device.
    pub durable: u64,
}

/// Bytes of zeros behind a payload.
#[inline]
pub fn padding(payload_len: usize) -> usize {
    payload_len.wrapping_neg() % RECORD_ALIGN
}

/// Bytes a record takes in a segment.
#[inline]
pub fn record_bytes(payload_len: usize) -> u64 {
    (RECORD_HEADER_BYTES + payload_len + padding(payload_len)) as u64
}

/// The checksum of a payload and its padding, to be taken before its place is known.
#[inline]
pub fn payload_crc(payload: &[u8]) -> u32 {
    let body = payload.len() & !(RECORD_ALIGN - 1);
    if body == payload.len() {
        return Checksum::new().bytes(payload).finish();
    }
    Checksum::new().bytes(&payload[..body]).bytes(&padded_tail(payload)).finish()
}

/// The last, incomplete eight bytes of a payload with their padding. Only for lengths that are not a multiple of 8.
#[inline]
pub fn padded_tail(payload: &[u8]) -> [u8; RECORD_ALIGN] {
    let body = payload.len() & !(RECORD_ALIGN - 1);
    let mut tail = [0u8; RECORD_ALIGN];
    tail[..payload.len() - body].copy_from_slice(&payload[body..]);
    tail
}

impl RecordHeader {
    /// The header without its checksum.
    #[inline]
    pub fn new(kind: RecordKind, payload_len: u32, count: u32, first_seq: SeqNo, durable: SeqNo) -> RecordHeader {
        RecordHeader {
            crc: 0,
            len: payload_len,
            kind: kind as u8,
            flags: 0,
            reserved: 0,
            count,
            first_seq: first_seq.0,
            // I2: a watermark above the record itself would make the reader distrust the record.
            durable: durable.0.min(first_seq.0),
        }
    }

    /// The 32 bytes, checksum included, for a record at `offset` whose payload has `payload_crc`.
    #[inline]
    pub fn sign(mut self, payload_crc: u32, id: &SegmentIdentity, offset: u64) -> [u8; RECORD_HEADER_BYTES] {
        self.crc = self.checksum(payload_crc, id, offset);
        self.encode()
    }

    /// The checksum that belongs to these fields at that place.
    #[inline]
    pub fn checksum(&self, payload_crc: u32, id: &SegmentIdentity, offset: u64) -> u32 {
        self.checksum_with(payload_crc, id.place_word(offset))
    }

    #[inline]
    fn checksum_with(&self, payload_crc: u32, place_word: u32) -> u32 {
        let hashed = RecordHeader { crc: place_word, ..*self }.encode();
        Checksum::resume(payload_crc).bytes(&hashed).finish()
    }

    #[inline]
    fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0u8; RECORD_HEADER_BYTES];
        out[..4].copy_from_slice(&self.crc.to_le_bytes());
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8] = self.kind;
        out[9] = self.flags;
        out[10..12].copy_from_slice(&self.reserved.to_le_bytes());
        out[12..16].copy_from_slice(&self.count.to_le_bytes());
        out[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        out[24..].copy_from_slice(&self.durable.to_le_bytes());
        out
    }

    /// Reads the fields; checks nothing.
    #[inline]
    pub fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> RecordHeader {
        RecordHeader {
            crc: u32_at(bytes, 0),
            len: u32_at(bytes, 4),
            kind: bytes[8],
            flags: bytes[9],
            reserved: u16::from_le_bytes([bytes[10], bytes[11]]),
            count: u32_at(bytes, 12),
            first_seq: u64_at(bytes, 16),
            durable: u64_at(bytes, 24),
        }
    }

    /// The kind, if it is one of this version.
    #[inline]
    pub fn record_kind(&self) -> Option<RecordKind> {
        Some(match self.kind {
            1 => RecordKind::Batch,
            2 => RecordKind::Mark,
            3 => RecordKind::Seal,
            4 => RecordKind::Pad,
            5 => RecordKind::Start,
            _ => return None,
        })
    }

    /// The sequence number behind this record.
    #[inline]
    pub fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The header page of a segment whose file has `bytes`.
pub fn encode_header(id: &SegmentIdentity, created_micros: u64, bytes: u64) -> Vec<u8> {
    let mut page = vec![0u8; HEADER_BYTES];
    page[..8].copy_from_slice(&MAGIC.to_le_bytes());
    page[8..12].copy_from_slice(&VERSION.to_le_bytes());
    page[16..24].copy_from_slice(&id.file.number.0.to_le_bytes());
    page[24..32].copy_from_slice(&id.salt.to_le_bytes());
    page[32..48].copy_from_slice(&id.file.database.to_le_bytes());
    page[48..56].copy_from_slice(&created_micros.to_le_bytes());
    page[BYTES_AT..BYTES_AT + 8].copy_from_slice(&bytes.to_le_bytes());
    let crc = checksum_at(id.file, 0, &page[..CRC_AT]);
    page[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    page
}

/// Checks a header page that was read from the segment named `name`, and says what its records are bound to.
pub fn decode_header(page: &[u8], file: FileIdentity, name: &str) -> Result<SegmentIdentity> {
    if page.len() < HEADER_BYTES {
        return Err(Error::corruption(format!(
            "{name}: {HEADER_BYTES} bytes of header expected at offset 0, the file has {}",
            page.len()
        )));
    }
    let differs = |what: &str, at: usize, expected: u128, found: u128| {
        Error::corruption(format!("{name}: {what} at offset {at}: expected {expected:#x}, found {found:#x}"))
    };
    if u64_at(page, 0) != MAGIC {
        return Err(differs("magic", 0, u128::from(MAGIC), u128::from(u64_at(page, 0))));
    }
    let mut database = [0u8; 16];
    database.copy_from_slice(&page[32..48]);
    let stored = FileIdentity { database: u128::from_le_bytes(database), number: FileNumber(u64_at(page, 16)) };
    // Bound to what the page itself says first, so that a sound file in the wrong place is named as such.
    let crc = checksum_at(stored, 0, &page[..CRC_AT]);
    if u32_at(page, CRC_AT) != crc {
        return Err(differs("header checksum", CRC_AT, u128::from(crc), u128::from(u32_at(page, CRC_AT))));
    }
    if stored.database != file.database {
        return Err(differs("database identity", 32, file.database, stored.database));
    }
    if stored.number != file.number {
        return Err(differs("segment number", 16, u128::from(file.number.0), u128::from(stored.number.0)));
    }
    let (version, flags) = (u32_at(page, 8), u32_at(page, 12));
    if version != VERSION || flags != 0 {
        return Err(Error::new(
            Code::Version,
            format!(
                "{name}: log format {version} with flags {flags:#x}; this build reads format {VERSION} without flags"
            ),
        ));
    }
    Ok(SegmentIdentity::new(stored, u64_at(page, 24)))
}

/// How many bytes the file has at least, as a header page that was checked says; 0 if it does not.
pub fn stored_bytes(page: &[u8]) -> u64 {
    u64_at(page, BYTES_AT)
}

/// The database identity that a header page tells, if its checksum holds.
pub fn stored_database(page: &[u8]) -> Option<u128> {
    let page = page.get(..HEADER_BYTES)?;
    let mut database = [0u8; 16];
    database.copy_from_slice(&page[32..48]);
    let stored = FileIdentity { database: u128::from_le_bytes(database), number: FileNumber(u64_at(page, 16)) };
    let holds = u64_at(page, 0) == MAGIC && u32_at(page, CRC_AT) == checksum_at(stored, 0, &page[..CRC_AT]);
    holds.then_some(stored.database)
}

/// Reads the payload of a mark: whether the file ends behind this record, which ends at `end`.
pub fn ends_file(payload: &[u8], end: u64) -> bool {
    payload == end.to_le_bytes()
}

/// The payload of a start record.
pub fn encode_previous(previous: &Previous) -> [u8; START_PAYLOAD_BYTES] {
    let mut out = [0u8; START_PAYLOAD_BYTES];
    let words = [previous.number.0, previous.end.offset, previous.end.next_seq.0, previous.durable.0];
    for (slot, word) in out.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// Reads the payload of a start record; `Err` says its length.
pub fn decode_previous(payload: &[u8]) -> std::result::Result<Option<Previous>, usize> {
    match payload.len() {
        0 => Ok(None),
        START_PAYLOAD_BYTES => Ok(Some(Previous {
            number: FileNumber(u64_at(payload, 0)),
            end: SealedAt { offset: u64_at(payload, 8), next_seq: SeqNo(u64_at(payload, 16)) },
            durable: SeqNo(u64_at(payload, 24)),
        })),
        other => Err(other),
    }
}

/// Reads the payload of a seal record; `Err` says its length.
pub fn decode_seal(payload: &[u8]) -> std::result::Result<FileNumber, usize> {
    if payload.len() == SEAL_PAYLOAD_BYTES { Ok(FileNumber(u64_at(payload, 0))) } else { Err(payload.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileIdentity = FileIdentity { database: 0x1234_5678_9abc, number: FileNumber(7) };

    fn id() -> SegmentIdentity {
        SegmentIdentity::new(FILE, 99)
    }

    #[test]
    fn the_checksum_taken_in_parts_equals_the_one_over_all_bytes() {
        for len in 0..200 {
            let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let header = RecordHeader::new(RecordKind::Batch, len as u32, 3, SeqNo(10), SeqNo(4));
            let mut whole = payload.clone();
            whole.resize(payload.len() + padding(payload.len()), 0);
            let mut place = FILE.database.to_le_bytes().to_vec();
            place.extend_from_slice(&7u64.to_le_bytes());
            place.extend_from_slice(&99u64.to_le_bytes());
            let word = Checksum::new().bytes(&place).finish() ^ (4160 / 8);
            whole.extend_from_slice(&word.to_le_bytes());
            whole.extend_from_slice(&header.encode()[4..]);
            let expected = Checksum::new().bytes(&whole).finish();
            let bytes = header.sign(payload_crc(&payload), &id(), 4160);
            assert_eq!(RecordHeader::decode(&bytes).crc, expected, "payload of {len}");
            assert_eq!(record_bytes(payload.len()) % 8, 0);
        }
    }

    #[test]
    fn every_bit_of_the_header_page_counts() {
        let page = encode_header(&id(), 5, 1 << 33);
        assert_eq!(decode_header(&page, FILE, "x").expect("sound"), id());
        assert_eq!(stored_bytes(&page), 1 << 33);
        for bit in 0..page.len() * 8 {
            let mut bad = page.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_header(&bad, FILE, "x").expect_err("flipped").code(), Code::Corruption, "bit {bit}");
        }
    }

    #[test]
    fn a_foreign_or_newer_header_is_refused() {
        let page = encode_header(&id(), 5, 0);
        let other = FileIdentity { number: FileNumber(8), ..FILE };
        assert!(decode_header(&page, other, "x").expect_err("number").message().contains("segment number"));
        let other = FileIdentity { database: 1, ..FILE };
        assert!(decode_header(&page, other, "x").expect_err("database").message().contains("database identity"));
        assert!(decode_header(&page[..4095], FILE, "x").is_err());
        let mut newer = page;
        newer[8] = 2;
        let crc = checksum_at(FILE, 0, &newer[..CRC_AT]);
        newer[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_header(&newer, FILE, "x").expect_err("version").code(), Code::Version);
    }

    #[test]
    fn every_part_of_the_place_counts() {
        let header = RecordHeader::new(RecordKind::Batch, 0, 1, SeqNo(1), SeqNo(0));
        let here = header.checksum(0, &id(), 4096);
        let other =
            |database, number, salt| SegmentIdentity::new(FileIdentity { database, number: FileNumber(number) }, salt);
        for (id, offset) in [
            (other(FILE.database, 7, 98), 4096),
            (other(FILE.database, 8, 99), 4096),
            (other(FILE.database + 1, 7, 99), 4096),
            (id(), 4104),
            (id(), 4096 + (1 << 34)),
        ] {
            assert_ne!(header.checksum(0, &id, offset), here, "{id:?} {offset}");
        }
    }

    #[test]
    fn the_watermark_never_passes_its_own_record() {
        let header = RecordHeader::new(RecordKind::Mark, 0, 0, SeqNo(10), SeqNo(11));
        assert_eq!(header.durable, 10);
    }
}
