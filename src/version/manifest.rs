//! The manifest file: header, records, torn tails. Quoted in docs/format/manifest.md.
//!
//!     file    := header record*
//!     header  := magic:      [u8; 8]   "lsm-mani"
//!                format:     u16       format of the writer
//!                format_min: u16       lowest reader format that understands the file
//!                zero:       u32
//!                number:     u64       the number in the file's name
//!                database:   u128
//!                crc:        u32       crc-32 of the 40 bytes before
//!                zero:       u32
//!     record  := crc:        u32       crc-32 of the 20 bytes that follow and of the place
//!                payload_crc:u32       crc-32 of the payload and of the place
//!                len:        u32       bytes of payload, at most 4 MiB
//!                kind:       u8        1 snapshot part | 2 snapshot end | 3 edit part | 4 edit end | 5 mark   DO NOT RENUMBER
//!                zero:       [u8; 3]
//!                durable:    u64       every byte of the file before this offset was on the device when this was written
//!                payload:    [u8; len]
//!     place   := database: u128, number: u64, offset of the record: u64        hashed, not stored
//!
//! All little-endian. A snapshot (parts, then an end) comes first: the whole state as edits to nothing. Edits follow; one of
//! several parts counts only with its end. A record is synced before it is acknowledged; then a mark is stored behind it,
//! which is not synced: it says that the record was.
//!
//! Invariants
//! - I1  At most one edit is unacknowledged at any time, the last.
//! - I2  A file that an append or a sync failed on, or that another process wrote, is never appended to.
//! - I3  Bytes that do not verify at X are a torn tail only if `CURRENT` does not vouch for X and no record behind X says
//!   that X was durable. Else they are damage.
//!
//! Why the mark: a record that was acknowledged, and on whose strength files were deleted, must not pass for a torn tail
//! when it rots. Behind it stands either a later record or the mark, and both say that it was durable. A mark that is
//! itself lost or damaged loses nothing. Why its own header checksum: the search behind X then costs nanoseconds a byte,
//! whatever lengths a hostile file claims.
//!
//! Threads: one writer. Failure: the writer is of no more use; what is on disk is the old state or the new one.

use super::edit::EditRecord;
use crate::base::checksum::{Checksum, checksum_at};
use crate::base::codec::Reader;
use crate::base::ids::{FileIdentity, FileNumber};
use crate::error::{Code, Error, Result};
use crate::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The format that this build writes and the highest it knows in full.
pub(super) const FORMAT: u16 = 1;
/// The lowest format whose readers understand what this build writes.
const FORMAT_MIN: u16 = 1;
const MAGIC: [u8; 8] = *b"lsm-mani";
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 48;
/// Bytes of a record before its payload.
pub(super) const RECORD_BYTES: usize = 24;
/// Where parts of an edit or a snapshot are cut.
pub(super) const PART_BYTES: usize = 1 << 20;
const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// What a record is. DO NOT RENUMBER: on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    SnapshotPart = 1,
    SnapshotEnd = 2,
    EditPart = 3,
    EditEnd = 4,
    Mark = 5,
}

impl Kind {
    fn from_byte(b: u8) -> Option<Kind> {
        Some(match b {
            1 => Kind::SnapshotPart,
            2 => Kind::SnapshotEnd,
            3 => Kind::EditPart,
            4 => Kind::EditEnd,
            5 => Kind::Mark,
            _ => return None,
        })
    }
}

fn encode_header(identity: FileIdentity) -> [u8; HEADER_BYTES] {
    let mut h = [0u8; HEADER_BYTES];
    h[..8].copy_from_slice(&MAGIC);
    h[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    h[10..12].copy_from_slice(&FORMAT_MIN.to_le_bytes());
    h[16..24].copy_from_slice(&identity.number.0.to_le_bytes());
    h[24..40].copy_from_slice(&identity.database.to_le_bytes());
    let crc = Checksum::new().bytes(&h[..40]).finish();
    h[40..44].copy_from_slice(&crc.to_le_bytes());
    h
}

/// Checks the header; answers the file's format.
fn decode_header(bytes: &[u8], identity: FileIdentity) -> Result<u16> {
    let mut r = Reader::new(bytes, "header");
    let magic = r.take(8)?;
    let (format, format_min, zero) = (r.u16()?, r.u16()?, r.u32()?);
    let (number, database) = (r.u64()?, r.u128()?);
    let (crc, tail) = (r.u32()?, r.u32()?);
    if magic != MAGIC {
        return Err(Error::corruption("the first 8 bytes are not those of a manifest"));
    }
    let expected = Checksum::new().bytes(&bytes[..40]).finish();
    if crc != expected {
        return Err(Error::corruption(format!("header checksum {crc:#010x}, expected {expected:#010x}")));
    }
    if format_min > FORMAT {
        let text = format!("needs a reader of format {format_min}; this build reads up to {FORMAT}");
        return Err(Error::new(Code::Version, text));
    }
    if format == 0 || format_min == 0 || format_min > format || zero != 0 || tail != 0 {
        return Err(Error::corruption(format!(
            "impossible header: format {format}, lowest {format_min}, zeros {zero} {tail}"
        )));
    }
    if number != identity.number.0 || database != identity.database {
        return Err(Error::corruption(format!(
            "is manifest {number} of database {database:032x}, CURRENT names {} of {:032x}",
            identity.number, identity.database
        )));
    }
    Ok(format)
}

/// Checks the header for itself: answers what it says of its identity, and the file's format.
pub(super) fn header_alone(bytes: &[u8]) -> Result<(FileIdentity, u16)> {
    let mut r = Reader::new(bytes, "header");
    r.take(16)?;
    let identity = FileIdentity { number: FileNumber(r.u64()?), database: r.u128()? };
    Ok((identity, decode_header(bytes, identity)?))
}

#[derive(Clone, Copy)]
struct RecordHead {
    payload_crc: u32,
    len: usize,
    kind: Kind,
    durable: u64,
}

/// The head at `offset`, if those bytes are one.
fn decode_head(bytes: &[u8], offset: usize, identity: FileIdentity) -> Option<RecordHead> {
    let head = bytes.get(offset..)?.get(..RECORD_BYTES)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let kind = Kind::from_byte(head[12])?;
    let len = word(8) as usize;
    let durable = u64::from(word(16)) | u64::from(word(20)) << 32;
    // Cheap refusals first: the search behind a torn tail comes here for every byte.
    if head[13..16] != [0; 3] || len > PAYLOAD_BYTES_MAX || durable > offset as u64 || (kind == Kind::Mark && len != 0)
    {
        return None;
    }
    if word(0) != checksum_at(identity, offset as u64, &head[4..]) && !crate::base::planted!("manifest-head-unchecked")
    {
        return None;
    }
    Some(RecordHead { payload_crc: word(4), len, kind, durable })
}

/// What `CURRENT` promises of a manifest's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The first bytes, so many, are whole; behind them a torn tail may stand.
    AtLeast(u64),
    /// The file has exactly these bytes and all are whole: a clean close.
    Exactly(u64),
}

/// One whole snapshot or edit.
pub(super) struct Unit {
    pub is_snapshot: bool,
    /// Offset of its last record.
    pub offset: u64,
    pub record: EditRecord,
}

fn damaged(path: &Path, offset: usize, what: impl std::fmt::Display) -> Error {
    Error::corruption(format!("{}: offset {offset}: {what}", path.display()))
}

/// The record at `offset` and its payload, if both verify.
fn decode_record(bytes: &[u8], offset: usize, identity: FileIdentity) -> Option<(RecordHead, &[u8])> {
    let head = decode_head(bytes, offset, identity)?;
    let payload = bytes.get(offset + RECORD_BYTES..)?.get(..head.len)?;
    (checksum_at(identity, offset as u64, payload) == head.payload_crc).then_some((head, payload))
}

/// Bytes that do not verify stand at `bad`: a torn tail (the answer says so), or damage (I3).
fn torn_or_damaged(path: &Path, bytes: &[u8], bad: usize, identity: FileIdentity, promised: u64) -> Result<String> {
    if (bad as u64) < promised {
        let text = format!("a record fails its check; CURRENT vouches for {promised} bytes");
        return Err(damaged(path, bad, text));
    }
    let is_blind = crate::base::planted!("manifest-damage-called-torn");
    let vouches = |at: usize| !is_blind && decode_head(bytes, at, identity).is_some_and(|h| h.durable > bad as u64);
    if let Some(witness) = (bad + 1..bytes.len()).find(|&at| vouches(at)) {
        let text = format!("a record fails its check; the record at {witness} says it was durable");
        return Err(damaged(path, bad, text));
    }
    Ok(format!("{}: torn tail of {} bytes at offset {bad}", path.display(), bytes.len() - bad))
}

/// Reads a whole manifest and hands out its units in order. Writes nothing. Answers why it stopped before the end of the
/// file, if it did.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    identity: FileIdentity,
    extent: Extent,
    mut unit: impl FnMut(Unit) -> Result<()>,
) -> Result<Option<String>> {
    let size = bytes.len() as u64;
    let (Extent::AtLeast(promised) | Extent::Exactly(promised)) = extent;
    if size < promised || (size > promised && extent == Extent::Exactly(promised)) {
        return Err(damaged(path, bytes.len(), format!("the file has {size} bytes, CURRENT says {promised}")));
    }
    let format = decode_header(bytes, identity).map_err(|e| e.context(path.display()))?;
    let mut pending: Option<(bool, EditRecord)> = None;
    let mut has_snapshot = false;
    let (mut at, mut whole) = (HEADER_BYTES, HEADER_BYTES);
    while at < bytes.len() {
        let Some((head, payload)) = decode_record(bytes, at, identity) else {
            let torn = torn_or_damaged(path, bytes, at, identity, promised)?;
            check_end(path, whole, has_snapshot, promised)?;
            return Ok(Some(torn));
        };
        let end = at + RECORD_BYTES + payload.len();
        let is_snapshot = matches!(head.kind, Kind::SnapshotPart | Kind::SnapshotEnd);
        let fits = match (head.kind, &pending) {
            (Kind::Mark, pending) => has_snapshot && pending.is_none(),
            (_, Some((of_snapshot, _))) => is_snapshot == *of_snapshot,
            (_, None) => is_snapshot != has_snapshot,
        };
        if !fits {
            return Err(damaged(path, at, format!("a record of kind {:?} stands where it cannot", head.kind)));
        }
        if head.kind != Kind::Mark {
            let (_, record) = pending.get_or_insert_with(|| (is_snapshot, EditRecord::default()));
            record.decode(payload, format).map_err(|e| e.context(format!("{}: offset {at}", path.display())))?;
        }
        if matches!(head.kind, Kind::SnapshotEnd | Kind::EditEnd)
            && let Some((is_snapshot, record)) = pending.take()
        {
            has_snapshot = true;
            unit(Unit { is_snapshot, offset: at as u64, record })?;
        }
        if pending.is_none() {
            whole = end;
        }
        at = end;
    }
    check_end(path, whole, has_snapshot, promised)?;
    Ok(pending.map(|_| format!("{}: an edit without its end at offset {whole}", path.display())))
}

/// Whose manifest this is, if its header verifies.
pub(super) fn stored_identity(bytes: &[u8]) -> Option<FileIdentity> {
    let mut r = Reader::new(bytes.get(16..40)?, "header");
    let identity = FileIdentity { number: FileNumber(r.u64().ok()?), database: r.u128().ok()? };
    decode_header(bytes, identity).ok().map(|_| identity)
}

/// Hands out every unit of a damaged manifest that is left, parts of units too, for a repair; answers where and how it is
/// damaged. What is behind a damaged place is looked for.
pub(super) fn read_remains(bytes: &[u8], identity: FileIdentity, mut unit: impl FnMut(EditRecord)) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = decode_header(bytes.get(..HEADER_BYTES).unwrap_or(&[]), identity) {
        faults.push(error.message().to_owned());
    }
    let mut pending = EditRecord::default();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let Some((head, payload)) = decode_record(bytes, at, identity) else {
            faults.push(format!("offset {at}: a record fails its check"));
            unit(std::mem::take(&mut pending));
            // A head that verifies says where its payload ends.
            let skip = decode_head(bytes, at, identity).map(|head| at + RECORD_BYTES + head.len);
            let found = || (at + 1..bytes.len()).find(|&next| decode_head(bytes, next, identity).is_some());
            at = skip.or_else(found).unwrap_or(bytes.len());
            continue;
        };
        if let Err(error) = pending.decode(payload, FORMAT) {
            faults.push(format!("offset {at}: {}", error.message()));
        }
        if matches!(head.kind, Kind::SnapshotEnd | Kind::EditEnd) {
            unit(std::mem::take(&mut pending));
        }
        at += RECORD_BYTES + payload.len();
    }
    unit(pending);
    faults
}

/// What `CURRENT` vouches for must be whole units.
fn check_end(path: &Path, whole: usize, has_snapshot: bool, promised: u64) -> Result<()> {
    if has_snapshot && whole as u64 >= promised {
        return Ok(());
    }
    let text = format!("ends inside a snapshot or edit; CURRENT says {promised} bytes are whole");
    Err(damaged(path, whole, text))
}

/// Appends records to a manifest that this process made.
pub(super) struct Writer {
    file: Arc<dyn File>,
    identity: FileIdentity,
    /// Where the next byte goes.
    len: u64,
    /// Every byte before this is on the device.
    durable: u64,
    /// Records not yet handed to the file; they start at `len - buffer.len()`.
    buffer: Vec<u8>,
}

impl Writer {
    /// Starts the empty `file` with its header.
    pub fn new(file: Arc<dyn File>, identity: FileIdentity) -> Writer {
        let buffer = encode_header(identity).to_vec();
        Writer { file, identity, len: buffer.len() as u64, durable: 0, buffer }
    }

    /// The manifest's number.
    pub fn number(&self) -> FileNumber {
        self.identity.number
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    fn record(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        let mut head = [0u8; RECORD_BYTES];
        head[4..8].copy_from_slice(&checksum_at(self.identity, self.len, payload).to_le_bytes());
        head[8..12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[12] = kind as u8;
        head[16..].copy_from_slice(&self.durable.to_le_bytes());
        let crc = checksum_at(self.identity, self.len, &head[4..]);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        self.buffer.extend_from_slice(&head);
        self.buffer.extend_from_slice(payload);
        self.len += (RECORD_BYTES + payload.len()) as u64;
        if self.buffer.len() >= PART_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.len - self.buffer.len() as u64)?;
        self.buffer.clear();
        Ok(())
    }

    /// Stores a snapshot or an edit, given as its parts.
    pub fn unit(&mut self, is_snapshot: bool, parts: &[Vec<u8>]) -> Result<()> {
        let (part, end) =
            if is_snapshot { (Kind::SnapshotPart, Kind::SnapshotEnd) } else { (Kind::EditPart, Kind::EditEnd) };
        for (i, payload) in parts.iter().enumerate() {
            self.record(if i + 1 == parts.len() { end } else { part }, payload)?;
        }
        Ok(())
    }

    /// Makes everything stored durable. The whole file, not just the last record: an earlier mark must be on the device
    /// before a record behind it is acknowledged, or its loss would cut that record off.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        if !crate::base::planted!("manifest-unsynced") {
            self.file.sync_data()?;
        }
        self.durable = self.len;
        Ok(())
    }

    /// Stores a mark behind what was synced.
    pub fn mark(&mut self) -> Result<()> {
        debug_assert_eq!(self.durable, self.len);
        self.record(Kind::Mark, &[])?;
        self.flush()
    }
}
