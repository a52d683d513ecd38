//! A change to the manifest, and its bytes. Quoted in docs/format/manifest.md.
//!
//!     edit   := field*                          all of a record's payload, or of several parts one after another
//!     field  := tag: varint, len: varint, body: [u8; len]          DO NOT RENUMBER tags: on disk
//!       tag   body                                                  how often
//!        1    next file number: varint                              at most once
//!        2    next keyspace id: varint                              at most once
//!        3    database options: text                                any, the last counts
//!        4    keyspace created: id varint, name bytes, options bytes    any
//!        5    keyspace options: id varint, options bytes            any
//!        6    keyspace dropped: id varint                           any
//!        7    flushed: id varint, seq varint                        any
//!        8    table added: id varint, level u8, table               any
//!        9    table removed: id varint, level u8, number varint     any
//!       10    first segment: number varint                          at most once
//!       11    segment started: number varint                        at most once
//!       12    clean end: number varint, offset varint, last seq varint    at most once
//!       13    last seq: varint                                      at most once
//!     table  := number varint, size varint, checksum u32, entries varint, deletes varint, raw bytes varint,
//!               smallest key bytes, largest key bytes, smallest seq varint, largest seq varint
//!     bytes  := len: varint, [u8; len]          varint is LEB128, at most 64 bits; u32 little-endian; text is UTF-8
//!
//! Invariants
//! - I1  A body is read to its last byte; what is left over is damage.
//! - I2  An unknown tag is refused: an edit that is understood in part is not understood.
//! - I3  Encoded parts are cut between fields only, so that every part is an edit of its own.
//!
//! Threads: plain functions. Failure: bytes that say something impossible are `Corruption`.

use super::LEVEL_COUNT_MAX;
use super::manifest::{FORMAT, PART_BYTES};
use super::meta::FileMeta;
use crate::base::codec::{Reader, put_bytes, put_varint};
use crate::base::ids::{FileNumber, KeyspaceId, Level, SeqNo};
use crate::base::key::{KEY_LEN_MAX, KEYSPACE_NAME_MAX};
use crate::error::{Code, Error, Result};
use crate::sstable::TableSummary;
use crate::wal::CleanEnd;

/// Longest options text in bytes.
pub(super) const OPTIONS_BYTES_MAX: usize = 1 << 20;
/// Longest body of a field: options with a name, or two keys.
const BODY_BYTES_MAX: usize = OPTIONS_BYTES_MAX + 2 * KEY_LEN_MAX + 1024;

/// A change to the manifest; applied as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionEdit {
    /// Tables that join a level.
    pub added: Vec<(KeyspaceId, Level, FileMeta)>,
    /// Tables that leave a level.
    pub removed: Vec<(KeyspaceId, Level, FileNumber)>,
    /// Keyspaces whose memtables up to a sequence number are in tables now.
    pub flushed: Vec<(KeyspaceId, SeqNo)>,
    /// New keyspaces: id, name, options as `key = value` lines.
    pub created: Vec<(KeyspaceId, Vec<u8>, String)>,
    /// Keyspaces that are gone; their tables go too.
    pub dropped: Vec<KeyspaceId>,
    /// Persisted options that changed: keyspace (`None`: the database's) and text.
    pub options: Vec<(Option<KeyspaceId>, String)>,
    /// Log segments below this are not needed any more.
    pub first_segment: Option<FileNumber>,
    /// The log has (at least) this segment.
    pub segment_started: Option<FileNumber>,
    /// At a clean close: where the log ends. Any later edit takes it back.
    pub clean_end: Option<CleanEnd>,
    /// Every sequence number up to this may have been used.
    pub last_seq: Option<SeqNo>,
}

impl VersionEdit {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == VersionEdit::default()
    }
}

/// What a record says: an edit and the counters beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EditRecord {
    pub edit: VersionEdit,
    /// File numbers below this may have been used.
    pub next_file: Option<FileNumber>,
    /// Keyspace ids below this may have been used.
    pub next_keyspace: Option<u32>,
}

const TAG_NEXT_FILE: u64 = 1;
const TAG_NEXT_KEYSPACE: u64 = 2;
const TAG_OPTIONS: u64 = 3;
const TAG_CREATED: u64 = 4;
const TAG_KEYSPACE_OPTIONS: u64 = 5;
const TAG_DROPPED: u64 = 6;
const TAG_FLUSHED: u64 = 7;
const TAG_ADDED: u64 = 8;
const TAG_REMOVED: u64 = 9;
const TAG_FIRST_SEGMENT: u64 = 10;
const TAG_SEGMENT_STARTED: u64 = 11;
const TAG_CLEAN_END: u64 = 12;
const TAG_LAST_SEQ: u64 = 13;

/// Fields gathered into parts of about `PART_BYTES`, cut between fields.
#[derive(Default)]
pub(super) struct Encoder {
    done: Vec<Vec<u8>>,
    part: Vec<u8>,
    body: Vec<u8>,
}

impl Encoder {
    fn field(&mut self, tag: u64, fill: impl FnOnce(&mut Vec<u8>)) {
        self.body.clear();
        fill(&mut self.body);
        debug_assert!(self.body.len() <= BODY_BYTES_MAX);
        if !self.part.is_empty() && self.part.len() + self.body.len() > PART_BYTES {
            self.done.push(std::mem::take(&mut self.part));
        }
        put_varint(&mut self.part, tag);
        put_bytes(&mut self.part, &self.body);
    }

    fn number(&mut self, tag: u64, value: u64) {
        self.field(tag, |b| put_varint(b, value));
    }

    /// Appends all fields of `record`.
    pub fn record(&mut self, record: &EditRecord) {
        let edit = &record.edit;
        if let Some(n) = record.next_file {
            self.number(TAG_NEXT_FILE, n.0);
        }
        if let Some(n) = record.next_keyspace {
            self.number(TAG_NEXT_KEYSPACE, u64::from(n));
        }
        for (id, name, options) in &edit.created {
            self.created(*id, name, options);
        }
        for (id, text) in &edit.options {
            match id {
                None => self.field(TAG_OPTIONS, |b| b.extend_from_slice(text.as_bytes())),
                Some(id) => self.field(TAG_KEYSPACE_OPTIONS, |b| {
                    put_varint(b, u64::from(id.0));
                    put_bytes(b, text.as_bytes());
                }),
            }
        }
        for (id, level, number) in &edit.removed {
            self.field(TAG_REMOVED, |b| {
                put_varint(b, u64::from(id.0));
                b.push(level.0);
                put_varint(b, number.0);
            });
        }
        for (id, level, meta) in &edit.added {
            self.added(*id, *level, meta);
        }
        for (id, seq) in &edit.flushed {
            self.flushed(*id, *seq);
        }
        for id in &edit.dropped {
            self.number(TAG_DROPPED, u64::from(id.0));
        }
        self.log_fields(edit);
    }

    fn log_fields(&mut self, edit: &VersionEdit) {
        if let Some(n) = edit.first_segment {
            self.number(TAG_FIRST_SEGMENT, n.0);
        }
        if let Some(n) = edit.segment_started {
            self.number(TAG_SEGMENT_STARTED, n.0);
        }
        if let Some(end) = edit.clean_end {
            self.field(TAG_CLEAN_END, |b| {
                put_varint(b, end.number.0);
                put_varint(b, end.offset);
                put_varint(b, end.last_seq.0);
            });
        }
        if let Some(seq) = edit.last_seq {
            self.number(TAG_LAST_SEQ, seq.0);
        }
    }

    /// Appends "keyspace created".
    pub fn created(&mut self, id: KeyspaceId, name: &[u8], options: &str) {
        self.field(TAG_CREATED, |b| {
            put_varint(b, u64::from(id.0));
            put_bytes(b, name);
            put_bytes(b, options.as_bytes());
        });
    }

    /// Appends "flushed".
    pub fn flushed(&mut self, id: KeyspaceId, seq: SeqNo) {
        self.field(TAG_FLUSHED, |b| {
            put_varint(b, u64::from(id.0));
            put_varint(b, seq.0);
        });
    }

    /// Appends "table added".
    pub fn added(&mut self, id: KeyspaceId, level: Level, meta: &FileMeta) {
        let s = &meta.summary;
        self.field(TAG_ADDED, |b| {
            put_varint(b, u64::from(id.0));
            b.push(level.0);
            put_varint(b, meta.number.0);
            put_varint(b, s.size);
            b.extend_from_slice(&s.checksum.to_le_bytes());
            put_varint(b, s.entries);
            put_varint(b, s.deletes);
            put_varint(b, s.raw_bytes);
            put_bytes(b, &s.smallest);
            put_bytes(b, &s.largest);
            put_varint(b, s.smallest_seq.0);
            put_varint(b, s.largest_seq.0);
        });
    }

    /// The parts; at least one, which may be empty.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.done.push(self.part);
        self.done
    }
}

fn keyspace(r: &mut Reader<'_>) -> Result<KeyspaceId> {
    let id = r.varint()?;
    u32::try_from(id).map(KeyspaceId).map_err(|_| Error::corruption(format!("keyspace id {id} exceeds 32 bits")))
}

fn level(r: &mut Reader<'_>) -> Result<Level> {
    let level = r.u8()?;
    if usize::from(level) >= LEVEL_COUNT_MAX {
        return Err(Error::corruption(format!("level {level} is not below {LEVEL_COUNT_MAX}")));
    }
    Ok(Level(level))
}

fn sequence(r: &mut Reader<'_>) -> Result<SeqNo> {
    let seq = SeqNo(r.varint()?);
    if seq > SeqNo::MAX {
        return Err(Error::corruption(format!("sequence number {seq} exceeds {}", SeqNo::MAX)));
    }
    Ok(seq)
}

fn number(r: &mut Reader<'_>) -> Result<FileNumber> {
    r.varint().map(FileNumber)
}

fn text(bytes: &[u8]) -> Result<String> {
    if bytes.len() > OPTIONS_BYTES_MAX {
        return Err(Error::corruption(format!("an options text of {} bytes", bytes.len())));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::corruption("an options text is not UTF-8"))
}

fn table(r: &mut Reader<'_>) -> Result<FileMeta> {
    let meta = FileMeta {
        number: number(r)?,
        summary: TableSummary {
            size: r.varint()?,
            checksum: r.u32()?,
            entries: r.varint()?,
            deletes: r.varint()?,
            raw_bytes: r.varint()?,
            smallest: r.bytes(KEY_LEN_MAX)?.to_vec(),
            largest: r.bytes(KEY_LEN_MAX)?.to_vec(),
            smallest_seq: sequence(r)?,
            largest_seq: sequence(r)?,
        },
    };
    meta.check().map_err(Error::corruption)?;
    Ok(meta)
}

fn once<T>(slot: &mut Option<T>, value: T, tag: u64) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::corruption(format!("field {tag} stands twice in one edit")));
    }
    Ok(())
}

impl EditRecord {
    /// The bytes, in parts of about `PART_BYTES`; at least one.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::default();
        encoder.record(self);
        encoder.finish()
    }

    /// Appends the fields in `payload`. `format` is that of the manifest they stand in.
    pub fn decode(&mut self, payload: &[u8], format: u16) -> Result<()> {
        let mut r = Reader::new(payload, "edit");
        while !r.is_empty() {
            let tag = r.varint()?;
            let body = r.bytes(BODY_BYTES_MAX)?;
            let mut body_reader = Reader::new(body, "edit field");
            if !self.field(tag, body, &mut body_reader)? {
                let text = format!("edit field {tag} is not known to this build");
                return Err(if format > FORMAT {
                    Error::new(Code::Version, format!("{text}: the manifest has format {format}, known is {FORMAT}"))
                } else {
                    Error::corruption(text)
                });
            }
            if !body_reader.is_empty() {
                let left = body_reader.rest().len();
                return Err(Error::corruption(format!("edit field {tag} has {left} bytes too many")));
            }
        }
        Ok(())
    }

    /// Takes one field; false when its tag is unknown.
    fn field(&mut self, tag: u64, body: &[u8], r: &mut Reader<'_>) -> Result<bool> {
        let edit = &mut self.edit;
        match tag {
            TAG_NEXT_FILE => once(&mut self.next_file, number(r)?, tag)?,
            TAG_NEXT_KEYSPACE => once(&mut self.next_keyspace, keyspace(r)?.0, tag)?,
            TAG_OPTIONS => edit.options.push((None, text(r.take(body.len())?)?)),
            TAG_CREATED => {
                let id = keyspace(r)?;
                let name = r.bytes(KEYSPACE_NAME_MAX)?.to_vec();
                edit.created.push((id, name, text(r.bytes(OPTIONS_BYTES_MAX)?)?));
            }
            TAG_KEYSPACE_OPTIONS => {
                let id = keyspace(r)?;
                edit.options.push((Some(id), text(r.bytes(OPTIONS_BYTES_MAX)?)?));
            }
            TAG_DROPPED => edit.dropped.push(keyspace(r)?),
            TAG_FLUSHED => edit.flushed.push((keyspace(r)?, sequence(r)?)),
            TAG_ADDED => edit.added.push((keyspace(r)?, level(r)?, table(r)?)),
            TAG_REMOVED => edit.removed.push((keyspace(r)?, level(r)?, number(r)?)),
            TAG_FIRST_SEGMENT => once(&mut edit.first_segment, number(r)?, tag)?,
            TAG_SEGMENT_STARTED => once(&mut edit.segment_started, number(r)?, tag)?,
            TAG_CLEAN_END => {
                let end = CleanEnd { number: number(r)?, offset: r.varint()?, last_seq: sequence(r)? };
                once(&mut edit.clean_end, end, tag)?;
            }
            TAG_LAST_SEQ => once(&mut edit.last_seq, sequence(r)?, tag)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> EditRecord {
        let summary = TableSummary {
            size: 4096,
            checksum: 0xdead_beef,
            entries: 20,
            deletes: 3,
            raw_bytes: 9000,
            smallest: b"".to_vec(),
            largest: vec![0xff; 300],
            smallest_seq: SeqNo(4),
            largest_seq: SeqNo::MAX,
        };
        let meta = FileMeta { number: FileNumber(77), summary };
        EditRecord {
            next_file: Some(FileNumber(u64::MAX)),
            next_keyspace: Some(u32::MAX),
            edit: VersionEdit {
                added: vec![(KeyspaceId(0), Level(0), meta.clone()), (KeyspaceId(9), Level(11), meta)],
                removed: vec![(KeyspaceId(1), Level(3), FileNumber(5))],
                flushed: vec![(KeyspaceId(0), SeqNo(9)), (KeyspaceId(1), SeqNo::ZERO)],
                created: vec![(KeyspaceId(9), b"a\0\xff".to_vec(), "k = v\n".into())],
                dropped: vec![KeyspaceId(2), KeyspaceId(u32::MAX)],
                options: vec![(None, "x = 1\n".into()), (Some(KeyspaceId(0)), String::new())],
                first_segment: Some(FileNumber(3)),
                segment_started: Some(FileNumber(8)),
                clean_end: Some(CleanEnd { number: FileNumber(8), offset: 1 << 40, last_seq: SeqNo(12) }),
                last_seq: Some(SeqNo(12)),
            },
        }
    }

    fn decode(bytes: &[u8]) -> Result<EditRecord> {
        let mut record = EditRecord::default();
        record.decode(bytes, FORMAT)?;
        Ok(record)
    }

    #[test]
    fn an_edit_comes_back_as_it_was() {
        let parts = sample().encode();
        assert_eq!(parts.len(), 1);
        assert_eq!(decode(&parts[0]).expect("own bytes"), sample());
        assert_eq!(EditRecord::default().encode(), [Vec::new()]);
    }

    #[test]
    fn a_large_edit_is_cut_between_fields() {
        let mut record = sample();
        record.edit.options = (0..40).map(|i| (Some(KeyspaceId(i)), "x".repeat(100_000))).collect();
        let parts = record.encode();
        assert!(parts.len() > 2 && parts.iter().all(|p| p.len() <= PART_BYTES + 100));
        let mut back = EditRecord::default();
        for part in &parts {
            back.decode(part, FORMAT).expect("a part is an edit");
        }
        assert_eq!(back, record);
    }

    #[test]
    fn an_unknown_field_is_refused_by_format() {
        let bytes = [200, 1, 0];
        assert_eq!(decode(&bytes).expect_err("unknown").code(), Code::Corruption);
        let newer = EditRecord::default().decode(&bytes, FORMAT + 1).expect_err("unknown");
        assert_eq!(newer.code(), Code::Version);
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic() {
        let bytes = sample().encode().remove(0);
        for cut in 1..bytes.len() {
            // A cut between fields is an edit; it must then be one with fewer fields.
            if let Ok(record) = decode(&bytes[..cut]) {
                assert_ne!(record, sample());
            }
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                if let Ok(record) = decode(&bad) {
                    assert_ne!(record, sample(), "flip of byte {at} bit {bit} changed nothing");
                }
            }
        }
        let mut state = 7u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..state % 40)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let b = (state >> 33) as u8;
                    if b & 0x80 == 0 { b % 14 } else { b }
                })
                .collect();
            state = state.wrapping_add(0x9e37_79b9);
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn fields_that_stand_once_are_not_repeated_and_bodies_end_where_they_say() {
        assert!(decode(&[13, 1, 5]).is_ok());
        assert!(decode(&[13, 1, 5, 13, 1, 5]).is_err());
        assert!(decode(&[13, 2, 5, 0]).is_err());
        assert!(decode(&[8, 3, 0, 12, 1]).is_err(), "level 12");
        assert!(decode(&[3, 1, 0xff]).is_err(), "not UTF-8");
    }
}
