//! One log segment in use: reserve a place, store the record there, sync.
//!
//! Two ways to store, one format: through a mapping (`window`), or with one `write(2)` a record. Both leave the same bytes
//! at the same offsets.
//!
//! Invariants
//! - I1  Accepted reservations are disjoint, lie behind the start record, and leave room for the seal record.
//! - I2  After a failed sync every later sync fails. After a failed write at an offset, every write behind it and every
//!   sync fails; writes before it go on.
//! - I3  Records without entries (start, mark, seal) go through `write(2)` even where the segment is mapped: the mapping
//!   is dropped behind what is published, and they are not.
//!
//! Threads: any; `reserve` takes no lock and makes no system call, `write` may block and must not be called under a pin.
//! Failure: an error of `write` leaves that record absent, and the log ends before it: the owner must latch.

use super::format::{
    self, HEADER_BYTES, RECORD_ALIGN, RECORD_HEADER_BYTES, RecordHeader, SEAL_BYTES, SegmentIdentity, record_bytes,
};
use super::reserve::{Outcome, ReserveWord};
use super::window::Window;
use super::{Previous, RecordKind, Reserved, SealedAt, Ticket};
use crate::base::ids::{FileNumber, SeqNo};
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use crate::fs::File;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

/// Records up to this size are put together on the stack before they are stored.
const STACK_RECORD_BYTES: usize = 256;
/// Larger records go through `write(2)` even where the segment is mapped: one call for all their pages costs less than a
/// fault each (16 KiB: 3 against 7 us).
const MAPPED_RECORD_BYTES: usize = 8 << 10;
/// Records up to this size are put together in the thread's buffer for one `write(2)`; larger ones take several.
const BUFFER_RECORD_BYTES: u64 = 256 << 10;
const NOT_FAILED: u64 = u64::MAX;

thread_local! {
    /// Where this thread puts records together; at most `BUFFER_RECORD_BYTES`.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One segment in use. `R` is what the owner routes records by; the log does not look into it.
pub struct Segment<R> {
    word: ReserveWord,
    // Immutable.
    core: Core,
    route: R,
    base_seq: SeqNo,
    // Set once.
    sealed: OnceLock<SealedAt>,
    /// Where the next segment should be made ready; `u64::MAX` once somebody was told. Relaxed: a hint.
    next_due: AtomicU64,
    /// Where a writer says again how far it is. Relaxed: a hint.
    ahead_due: AtomicU64,
    /// How far records are stored, as last said.
    ahead_from: AtomicU64,
}

/// How often a writer says how far it is, which may wake another processor: less than once in a hundred records of 1 KiB.
const AHEAD_EVERY: u64 = 192 << 10;
/// Segments below this size are over before that pays.
const AHEAD_SEGMENT_BYTES: u64 = 1 << 20;

/// What does not depend on the route.
pub(super) struct Core {
    // Immutable.
    pub(super) file: Arc<dyn File>,
    pub(super) window: Option<Window>,
    pub(super) id: SegmentIdentity,
    pub(super) bytes: u64,
    /// Largest record it takes.
    pub(super) record_bytes_max: u64,
    // Atomics.
    /// Writes at or behind this offset are refused (relaxed: the error itself is under the lock).
    failed_from: AtomicU64,
    /// End of the seal record, 0 before it is written.
    seal_end: AtomicU64,
    // Under the lock: the first failure. The lock also makes syncs come one after another, because the kernel tells of
    // a failed write-back once: a sync beside the one that was told would report success.
    failure: Mutex<Option<Error>>,
}

impl Core {
    pub(super) fn new(
        file: Arc<dyn File>,
        window: Option<Window>,
        id: SegmentIdentity,
        bytes: u64,
        record_bytes_max: u64,
    ) -> Core {
        Core {
            file,
            window,
            id,
            bytes,
            record_bytes_max,
            failed_from: AtomicU64::new(NOT_FAILED),
            seal_end: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    fn limit(&self) -> u64 {
        (self.bytes - SEAL_BYTES) / RECORD_ALIGN as u64 * RECORD_ALIGN as u64
    }

    #[inline]
    fn check_open(&self, offset: u64) -> Result<()> {
        // Relaxed: a writer that misses a failure of this moment only writes a record that nobody will replay.
        if offset >= self.failed_from.load(Ordering::Relaxed) {
            return Err(self.refused());
        }
        Ok(())
    }

    #[cold]
    fn refused(&self) -> Error {
        match &*self.failure.lock() {
            Some(first) => first.clone(),
            None => Error::new(Code::Io, format!("{}: the log has failed", self.file.path().display())),
        }
    }

    #[cold]
    fn latch_write(&self, offset: u64, error: Error) -> Error {
        let mut failure = self.failure.lock();
        // Relaxed: see `check_open`.
        self.failed_from.fetch_min(offset, Ordering::Relaxed);
        failure.get_or_insert(error).clone()
    }

    fn sync(&self) -> Result<()> {
        if crate::base::planted!("log-unsynced") {
            return Ok(());
        }
        let mut failure = self.failure.lock();
        if let Some(first) = &*failure {
            return Err(first.clone());
        }
        if let Some(window) = &self.window {
            window.note_sync();
        }
        self.file
            .sync_data()
            .inspect_err(|e| *failure = Some(e.clone()).filter(|_| !crate::base::planted!("log-failed-sync-forgotten")))
    }

    /// Stores a record whose payload has the checksum `payload_crc`.
    #[inline]
    fn put(&self, offset: u64, header: RecordHeader, payload: &[u8], payload_crc: u32) -> Result<()> {
        debug_assert_eq!(payload.len(), header.len as usize);
        debug_assert!(offset >= HEADER_BYTES as u64 && offset.is_multiple_of(RECORD_ALIGN as u64));
        self.check_open(offset)?;
        let head = header.sign(payload_crc, &self.id, offset);
        let end = offset + record_bytes(payload.len());
        debug_assert!(end <= self.bytes);
        // A record without entries is never published, so nobody knows whether it is stored: it must not rely on the
        // window, which is dropped behind what is published.
        match &self.window {
            Some(window) if header.count > 0 && payload.len() <= MAPPED_RECORD_BYTES && window.covers(offset, end) => {
                store_mapped(window, offset, &head, payload);
                Ok(())
            }
            _ => self.put_by_write(offset, &head, payload),
        }
    }

    fn put_by_write(&self, offset: u64, head: &[u8; RECORD_HEADER_BYTES], payload: &[u8]) -> Result<()> {
        self.claim(offset + record_bytes(payload.len()));
        let done = if record_bytes(payload.len()) > BUFFER_RECORD_BYTES {
            self.write_large(offset, head, payload)
        } else {
            BUFFER
                .try_with(|buffer| self.write_buffered(&mut buffer.borrow_mut(), offset, head, payload))
                .unwrap_or_else(|_| self.write_buffered(&mut Vec::new(), offset, head, payload))
        };
        let done = if crate::base::planted!("log-write-error-ignored") { Ok(()) } else { done };
        done.map_err(|e| self.latch_write(offset, e))
    }

    fn write_buffered(
        &self,
        buffer: &mut Vec<u8>,
        offset: u64,
        head: &[u8; RECORD_HEADER_BYTES],
        payload: &[u8],
    ) -> Result<()> {
        buffer.clear();
        buffer.extend_from_slice(head);
        buffer.extend_from_slice(payload);
        buffer.resize(buffer.len() + format::padding(payload.len()), 0);
        self.file.write_all_at(buffer, offset)
    }

    /// Payload first, header last: what was cut short never looks like a record for long.
    fn write_large(&self, offset: u64, head: &[u8; RECORD_HEADER_BYTES], payload: &[u8]) -> Result<()> {
        let at = offset + RECORD_HEADER_BYTES as u64;
        let body = payload.len() / RECORD_ALIGN * RECORD_ALIGN;
        self.file.write_all_at(&payload[..body], at)?;
        if body < payload.len() {
            self.file.write_all_at(&format::padded_tail(payload), at + body as u64)?;
        }
        self.file.write_all_at(head, offset)
    }

    /// Keeps zeros that are written ahead away from a record that goes by `write(2)`.
    fn claim(&self, end: u64) {
        if let Some(window) = &self.window {
            window.claim(end);
        }
    }

    fn put_pad(&self, offset: u64, header: RecordHeader) -> Result<()> {
        static ZEROS: [u8; 4096] = [0; 4096];
        if header.len as usize <= ZEROS.len() {
            let payload = &ZEROS[..header.len as usize];
            return self.put(offset, header, payload, format::payload_crc(payload));
        }
        self.check_open(offset)?;
        self.claim(offset + record_bytes(header.len as usize));
        let write = || -> Result<()> {
            let (mut crc, mut left) = (crate::base::checksum::Checksum::new(), record_bytes(header.len as usize));
            left -= RECORD_HEADER_BYTES as u64;
            let mut at = offset + RECORD_HEADER_BYTES as u64;
            while left > 0 {
                let part = &ZEROS[..left.min(ZEROS.len() as u64) as usize];
                crc = crc.bytes(part);
                self.file.write_all_at(part, at)?;
                at += part.len() as u64;
                left -= part.len() as u64;
            }
            self.file.write_all_at(&header.sign(crc.finish(), &self.id, offset), offset)
        };
        write().map_err(|e| self.latch_write(offset, e))
    }
}

#[inline]
fn store_mapped(window: &Window, offset: u64, head: &[u8; RECORD_HEADER_BYTES], payload: &[u8]) {
    let total = record_bytes(payload.len()) as usize;
    if total <= STACK_RECORD_BYTES {
        let mut record = [0u8; STACK_RECORD_BYTES];
        record[..RECORD_HEADER_BYTES].copy_from_slice(head);
        record[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload.len()].copy_from_slice(payload);
        return window.store(offset, &record[..total]);
    }
    let at = offset + RECORD_HEADER_BYTES as u64;
    let body = payload.len() / RECORD_ALIGN * RECORD_ALIGN;
    window.store(offset, head);
    window.store(at, &payload[..body]);
    if body < payload.len() {
        window.store(at + body as u64, &format::padded_tail(payload));
    }
}

impl<R: Send + Sync> Segment<R> {
    /// Stores the start record and opens the segment for reservations.
    pub(super) fn start(core: Core, route: R, base_seq: SeqNo, previous: Option<Previous>) -> Result<Segment<R>> {
        let encoded = previous.as_ref().map(format::encode_previous);
        let payload = encoded.as_ref().map_or(&[][..], |p| p.as_slice());
        let durable = previous.map_or(SeqNo::ZERO, |p| p.durable);
        let header = RecordHeader::new(RecordKind::Start, payload.len() as u32, 0, base_seq, durable);
        core.put(HEADER_BYTES as u64, header, payload, format::payload_crc(payload))?;
        let first = HEADER_BYTES as u64 + record_bytes(payload.len());
        let word = ReserveWord::new(first, core.limit());
        let next_due = AtomicU64::new(core.bytes / 2);
        let ahead_due = AtomicU64::new(if core.bytes > AHEAD_SEGMENT_BYTES { AHEAD_EVERY } else { u64::MAX });
        let ahead_from = AtomicU64::new(0);
        Ok(Segment { word, core, route, base_seq, sealed: OnceLock::new(), next_due, ahead_due, ahead_from })
    }

    /// The segment's number.
    pub fn number(&self) -> FileNumber {
        self.core.id.file.number
    }

    /// The sequence number of its first entry.
    pub fn base_seq(&self) -> SeqNo {
        self.base_seq
    }

    /// The owner's routing data.
    pub fn route(&self) -> &R {
        &self.route
    }

    /// Whether a record of `payload_len` bytes can ever fit. If not, ask the pool for a segment that holds it.
    #[inline]
    pub fn can_hold(&self, payload_len: usize) -> bool {
        payload_len <= u32::MAX as usize && record_bytes(payload_len) <= self.core.record_bytes_max
    }

    /// Reserves room for a record in one atomic add. `can_hold(payload_len)`; `count` is at most 2^30.
    #[inline]
    pub fn reserve(&self, payload_len: usize, count: u32) -> Reserved {
        debug_assert!(self.can_hold(payload_len) && count <= 1 << 30);
        match self.word.reserve(record_bytes(payload_len), count) {
            Outcome::Accepted(place) => Reserved::Ticket(Ticket {
                offset: place.offset,
                first_seq: SeqNo(self.base_seq.0 + u64::from(place.entries)),
                count,
            }),
            Outcome::Crossed(place) => Reserved::Seal(self.seal_at(place)),
            Outcome::Closed => Reserved::Full,
        }
    }

    #[cold]
    fn seal_at(&self, end: super::reserve::Place) -> SealedAt {
        let at = SealedAt { offset: end.offset, next_seq: SeqNo(self.base_seq.0 + u64::from(end.entries)) };
        *self.sealed.get_or_init(|| at)
    }

    /// Closes the segment before its end; `Some` for the one caller that must seal.
    pub fn close(&self) -> Option<SealedAt> {
        self.word.close().map(|end| self.seal_at(end))
    }

    /// Where it was sealed, once it was.
    pub fn sealed(&self) -> Option<SealedAt> {
        self.sealed.get().copied()
    }

    /// Stores a reserved record. `payload` has the length that was reserved, `payload_crc` is `wal::payload_crc(payload)`,
    /// taken before the reservation; `durable` is the watermark to carry: every sequence number below it is on the
    /// device. An error leaves the record unwritten and the segment failed from there on: the log must latch.
    #[inline]
    pub fn write(&self, t: Ticket, kind: RecordKind, payload: &[u8], payload_crc: u32, durable: SeqNo) -> Result<()> {
        let header = RecordHeader::new(kind, payload.len() as u32, t.count, t.first_seq, durable);
        self.core.put(t.offset, header, payload, payload_crc)
    }

    /// Fills a reservation of `payload_len` bytes that was given up, so that the records behind it can be replayed.
    pub fn write_pad(&self, t: Ticket, payload_len: usize, durable: SeqNo) -> Result<()> {
        let header = RecordHeader::new(RecordKind::Pad, payload_len as u32, t.count, t.first_seq, durable);
        self.core.put_pad(t.offset, header)
    }

    /// Writes the seal record at `at.offset`, naming the next segment, which exists durably.
    pub fn write_seal(&self, at: SealedAt, next: FileNumber, durable: SeqNo) -> Result<()> {
        let payload = next.0.to_le_bytes();
        let header = RecordHeader::new(RecordKind::Seal, payload.len() as u32, 0, at.next_seq, durable);
        self.core.check_open(at.offset)?;
        let head = header.sign(format::payload_crc(&payload), &self.core.id, at.offset);
        self.core.put_by_write(at.offset, &head, &payload)?;
        // Relaxed: read at a clean close, by when every writer has ended.
        self.core.seal_end.store(at.offset + SEAL_BYTES, Ordering::Relaxed);
        Ok(())
    }

    /// Makes every stored byte durable. After a failure every later call fails too.
    pub fn sync(&self) -> Result<()> {
        self.core.sync()
    }

    /// Bytes reserved so far, header included.
    pub fn bytes_used(&self) -> u64 {
        match (self.word.end(), self.sealed()) {
            (Some(end), _) => end.offset,
            (None, Some(at)) => at.offset,
            (None, None) => self.core.limit(),
        }
    }

    /// The file's size.
    pub fn bytes(&self) -> u64 {
        self.core.bytes
    }

    /// Whether records are stored through a mapping.
    pub fn is_mapped(&self) -> bool {
        self.core.window.is_some()
    }

    /// Whether the next segment should be made ready, now that a record at `offset` is stored: true for one caller, behind
    /// the middle.
    #[inline]
    pub fn is_next_due(&self, offset: u64) -> bool {
        // Relaxed: see the field.
        offset >= self.next_due.load(Ordering::Relaxed) && self.next_due.swap(u64::MAX, Ordering::Relaxed) != u64::MAX
    }

    /// Notes that every record ending at or before `offset` is stored, for `go_ahead`: true for one caller each
    /// `AHEAD_EVERY` bytes, who should see to it that somebody calls that.
    #[inline]
    pub fn is_ahead_due(&self, offset: u64) -> bool {
        // Relaxed: see the fields.
        let due = self.ahead_due.load(Ordering::Relaxed);
        offset >= due && self.note_ahead(due, offset)
    }

    #[cold]
    fn note_ahead(&self, due: u64, offset: u64) -> bool {
        // Release: pairs with `go_ahead`. Relaxed: see the field.
        self.ahead_from.fetch_max(offset, Ordering::Release);
        self.ahead_due.compare_exchange(due, offset + AHEAD_EVERY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether syncs would cost less in another file: see `SegmentPool::is_fine_ready`.
    pub fn is_too_coarse(&self) -> bool {
        self.core.window.as_ref().is_some_and(Window::is_too_coarse)
    }

    /// Drops the pages behind what is stored and prepares those that come next; may take a while.
    pub fn go_ahead(&self) {
        if let Some(window) = &self.core.window {
            // Acquire: pairs with the Release of `note_ahead`: the records below are stored.
            window.go_ahead(self.ahead_from.load(Ordering::Acquire));
        }
    }

    /// Ends `go_ahead` for good, and waits for what it is writing: before the file can get another use.
    pub fn stop_ahead(&self) {
        if let Some(window) = &self.core.window {
            window.stop_ahead();
        }
    }

    /// Tells the segment that every record ending at or before `offset` is stored, so that mapped pages behind it can
    /// be dropped from the process. Cheap: one load unless a step was completed. Call it for `sealed().offset` at the
    /// latest: that gives the whole window back.
    #[inline]
    pub fn release_before(&self, offset: u64) {
        if let Some(window) = &self.core.window {
            window.release_before(offset);
            if self.sealed.get().is_some_and(|at| offset >= at.offset) {
                window.release_all();
            }
        }
    }

    /// At a clean close, with all records stored: closes the segment, ends it with a mark that says so unless it is sealed,
    /// cuts the file there, syncs it, and says the end.
    pub fn truncate_and_sync(&self) -> Result<u64> {
        let at = match self.close() {
            Some(at) => at,
            None => self.sealed().ok_or_else(|| {
                let name = self.core.file.path().display();
                Error::new(Code::Busy, format!("{name}: still being sealed by another thread"))
            })?,
        };
        // Relaxed: every writer has ended.
        let mut end = self.core.seal_end.load(Ordering::Relaxed);
        if end < at.offset {
            end = at.offset + SEAL_BYTES;
            let payload = end.to_le_bytes();
            let header = RecordHeader::new(RecordKind::Mark, payload.len() as u32, 0, at.next_seq, SeqNo::ZERO);
            self.core.check_open(at.offset)?;
            let head = header.sign(format::payload_crc(&payload), &self.core.id, at.offset);
            self.core.put_by_write(at.offset, &head, &payload)?;
        }
        if let Some(window) = &self.core.window {
            window.release_all();
        }
        self.core.sync()?;
        self.core.file.set_len(end)?;
        self.core.sync()?;
        Ok(end)
    }
}
