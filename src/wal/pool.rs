//! Makes segment files ready, and makes them ready again after use.
//!
//!     new:       create N.spare, allocate, (write zeros, see `PREWRITE_MAX`,) header, sync, rename to N.wal, sync the
//!                folder
//!     recycled:  N is given back: rename N.wal to N.spare, sync the folder; later header with number M and a new salt,
//!                sync, rename to M.wal, sync the folder
//!
//! Invariants
//! - I1  A file named NNNNNN.wal has a whole, durable header that says NNNNNN, whatever crash happens.
//! - I2  Segments are handed out in ascending order of their numbers: what is ready goes first or not at all.
//! - I3  At most one file is ready and at most one is spare.
//! - I4  A file with more than one link is never written again: a checkpoint or a person may own the other name.
//!
//! Threads: any. The state's lock is held during `take` and `prepare_ahead`, so that a writer in need waits for the file
//! that the housekeeper is making instead of making another; `give_back` and the figures do not wait for it long.
//! Failure: the file that was being made is removed if possible and nothing else changes; the next call starts anew.

use super::format::{self, HEADER_BYTES, SEAL_BYTES, START_PAYLOAD_BYTES, SegmentIdentity, record_bytes};
use super::names::{segment_path, spare_path};
use super::reserve::SEGMENT_BYTES_LIMIT;
use super::segment::{Core, Segment};
use super::window::{Grain, STEP_MIN, Window};
use super::{LogConfig, Previous, WalIo};
use crate::base::clock::unix_micros;
use crate::base::ids::{FileIdentity, FileNumber, SeqNo};
use crate::base::log_sink::LogLevel;
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use crate::fs::{File, FsKind, OpenMode};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;

/// Size of the first segment.
const FIRST_BYTES: u64 = 64 << 10;
/// Each segment is so much larger than the one before, up to the configured size.
const GROWTH: u64 = 4;
/// Smallest size that `segment_bytes_max` may ask for.
const BYTES_MIN: u64 = 16 << 10;
/// Zeros are written in this unit: the kernel caches a file in pieces of what was written at once, and a sync writes whole
/// pieces (64 KiB pieces cost 65 KB a synced record, 4 KiB ones 6 KB; docs/decisions/0013).
const PREWRITE_BYTES: usize = 4 << 10;
/// Larger files are only allocated where nobody syncs: zeros would double what the first round of segments writes, and
/// blocks that were never written cost only a sync something: it commits their state besides (docs/decisions/0013).
const PREWRITE_MAX: u64 = 1 << 20;
/// A shared segment takes records up to this part of it.
const SHARE: u64 = 4;

/// A segment file that is allocated, written, headed and durable, but not yet in use.
///
/// If it is not started, its file stays; `SegmentPool::give_back` takes it.
pub struct PreparedSegment {
    core: Core,
}

impl PreparedSegment {
    /// Its number.
    pub fn number(&self) -> FileNumber {
        self.core.id.file.number
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.core.bytes
    }

    /// Whether a record of `payload_len` bytes fits.
    pub fn can_hold(&self, payload_len: usize) -> bool {
        payload_len <= u32::MAX as usize && record_bytes(payload_len) <= self.core.record_bytes_max
    }

    /// Puts it to use: stores the start record and becomes the segment.
    pub fn start<R: Send + Sync>(self, route: R, base_seq: SeqNo, previous: Option<Previous>) -> Result<Segment<R>> {
        Segment::start(self.core, route, base_seq, previous)
    }
}

/// A file that carries its final name and a durable header.
struct Ready {
    file: Arc<dyn File>,
    id: SegmentIdentity,
    bytes: u64,
    grain: Grain,
}

struct State {
    ready: Option<Ready>,
    /// Size of the next regular segment.
    next_bytes: u64,
    /// Segments handed out so far.
    taken: u64,
    /// A mapping was shown to work.
    mapping_proved: bool,
}

/// Makes, keeps and recycles segment files. All calls may do I/O; never under a pin.
pub struct SegmentPool {
    // Immutable.
    config: LogConfig,
    bytes_max: u64,
    // Atomics, relaxed: figures, a hint, and a decision that is made once under the lock.
    mapped: AtomicBool,
    /// Somebody synced since a file was made.
    synced: AtomicBool,
    /// The first segment is half full: see `prepare_ahead`.
    is_next_due: AtomicBool,
    /// See `is_fine_ready`.
    is_fine_due: AtomicBool,
    ready_bytes: AtomicU64,
    spare_bytes: AtomicU64,
    // Under locks; `state` is taken first.
    state: Mutex<State>,
    spare: Mutex<Spare>,
    /// Files for syncs that are ready or in use.
    fine: Mutex<Vec<FileNumber>>,
}

/// The one file kept for its blocks.
enum Spare {
    None,
    /// Being made; nobody else may.
    Coming,
    File(FileNumber, u64, Grain),
}

/// What a segment of this size takes besides header, start and seal.
fn capacity(bytes: u64) -> u64 {
    bytes - HEADER_BYTES as u64 - record_bytes(START_PAYLOAD_BYTES) - SEAL_BYTES
}

fn random_salt() -> u64 {
    // Each `RandomState` has other keys, and nobody outside the process can guess them.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(unix_micros());
    hasher.finish()
}

impl SegmentPool {
    /// An empty pool. Decides whether to map (property `wal.io`); `auto` may still change its mind at the first `take`.
    pub fn new(config: LogConfig) -> Result<SegmentPool> {
        let mappable = config.fs.kind(&config.dir) == FsKind::Mappable;
        if config.io == WalIo::Mmap && !mappable {
            let dir = config.dir.display();
            return Err(Error::new(
                Code::Unsupported,
                format!("wal.io = mmap: {dir} is on a file system where mapping is not safe"),
            ));
        }
        let bytes_max = config.segment_bytes_max.clamp(BYTES_MIN, SEGMENT_BYTES_LIMIT) / BYTES_MIN * BYTES_MIN;
        let pool = SegmentPool {
            bytes_max,
            mapped: AtomicBool::new(mappable && config.io != WalIo::Write),
            synced: AtomicBool::new(false),
            is_next_due: AtomicBool::new(false),
            is_fine_due: AtomicBool::new(false),
            ready_bytes: AtomicU64::new(0),
            spare_bytes: AtomicU64::new(0),
            state: Mutex::new(State {
                ready: None,
                next_bytes: FIRST_BYTES.min(bytes_max),
                taken: 0,
                mapping_proved: false,
            }),
            spare: Mutex::new(Spare::None),
            fine: Mutex::new(Vec::new()),
            config,
        };
        if !mappable && pool.config.io == WalIo::Auto {
            pool.note("this file system");
        }
        Ok(pool)
    }

    fn note(&self, why: &str) {
        self.config.logger.log(LogLevel::Info, &format!("wal.io = auto: the log uses write, not mmap: {why}"));
    }

    /// Size of the segment to hand out when a payload of `payload_len` must fit, and whether it is one of its own.
    fn wanted_bytes(&self, next_bytes: u64, payload_len: usize) -> Result<(u64, bool)> {
        let record = record_bytes(payload_len);
        let mut bytes = next_bytes;
        while record > capacity(bytes) / SHARE && bytes < self.bytes_max {
            bytes = (bytes * GROWTH).min(self.bytes_max);
        }
        if record <= capacity(bytes) / SHARE {
            return Ok((bytes, false));
        }
        let own = (bytes - capacity(bytes) + record).next_multiple_of(PREWRITE_BYTES as u64);
        if own > SEGMENT_BYTES_LIMIT || payload_len > u32::MAX as usize {
            return Err(Error::invalid(format!("a log record of {payload_len} bytes is too large")));
        }
        Ok((own, true))
    }

    /// The next segment: the ready one if it is large enough, else made now. `record_bytes_max` is the payload that must
    /// fit (0: any). `next_number` draws file numbers; it must not call the pool.
    ///
    /// A full disk is `NoSpace` and changes nothing: ask again later.
    pub fn take(&self, record_bytes_max: usize, next_number: &dyn Fn() -> FileNumber) -> Result<PreparedSegment> {
        let mut state = self.state.lock();
        let (bytes, own) = self.wanted_bytes(state.next_bytes, record_bytes_max)?;
        let ready = match state.ready.take() {
            Some(ready) if !own && ready.bytes >= bytes => ready,
            stale => {
                if let Some(ready) = stale {
                    // I2: its number is below the one that is drawn now, so it cannot come later.
                    self.ready_bytes.store(0, Ordering::Relaxed);
                    self.give_back(ready.id.file.number)?;
                }
                self.make(bytes, own, next_number())?
            }
        };
        self.ready_bytes.store(0, Ordering::Relaxed);
        let window = match self.map(&mut state, &ready, own) {
            Ok(window) => window,
            Err(e) => {
                self.keep(&mut state, ready);
                return Err(e);
            }
        };
        state.taken += 1;
        if !own {
            state.next_bytes = (ready.bytes * GROWTH).min(self.bytes_max);
        }
        let record_bytes_max = if own { capacity(ready.bytes) } else { capacity(ready.bytes) / SHARE };
        Ok(PreparedSegment { core: Core::new(ready.file, window, ready.id, ready.bytes, record_bytes_max) })
    }

    fn keep(&self, state: &mut State, ready: Ready) {
        self.ready_bytes.store(ready.bytes, Ordering::Relaxed);
        state.ready = Some(ready);
    }

    /// The window of a segment that is about to be used, or `None` for `write(2)`.
    fn map(&self, state: &mut State, ready: &Ready, own: bool) -> Result<Option<Window>> {
        // Relaxed: written only under the lock that is held.
        if own || !self.mapped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let tried = ready.file.map_log(ready.bytes).and_then(|map| {
            let window = Window::new(map, Arc::clone(&ready.file), ready.bytes, ready.grain);
            let from = HEADER_BYTES as u64;
            // With a mapping that worked before, a budget that is used up now is met record by record.
            if window.covers(from, from + 8) || state.mapping_proved {
                return Ok(window);
            }
            let why = format!("{}: not even {STEP_MIN} bytes can be locked", ready.file.path().display());
            Err(Error::new(Code::Unsupported, why))
        });
        match tried {
            Ok(window) => {
                state.mapping_proved = true;
                Ok(Some(window))
            }
            Err(e) if self.config.io == WalIo::Auto => {
                self.note(e.message());
                // Relaxed: see above.
                self.mapped.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Somebody syncs the log: files made from now on are written before use.
    #[inline]
    pub fn note_sync(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    /// The current segment is half full. True when the housekeeper has something to do about it.
    pub fn note_next_due(&self) -> bool {
        self.is_next_due.store(true, Ordering::Relaxed);
        self.ready_bytes.load(Ordering::Relaxed) == 0
    }

    /// The current segment is a coarse one, and somebody keeps syncing it. True where one for syncs is ready to take its
    /// place; else the housekeeper should make one.
    pub fn is_fine_ready(&self) -> bool {
        let is_ready = self
            .state
            .try_lock()
            .is_some_and(|state| state.ready.as_ref().is_some_and(|ready| ready.grain == Grain::Fine));
        // Relaxed: a hint.
        self.is_fine_due.store(!is_ready, Ordering::Relaxed);
        is_ready
    }

    /// Makes one segment ready ahead of need (housekeeper); nothing before the first one is half full.
    pub fn prepare_ahead(&self, next_number: &dyn Fn() -> FileNumber) -> Result<()> {
        let mut state = self.state.lock();
        // Relaxed: a hint.
        if self.is_fine_due.swap(false, Ordering::Relaxed) {
            self.is_next_due.store(true, Ordering::Relaxed);
            // Written in a moment; larger ones follow while it is in use.
            state.next_bytes = PREWRITE_MAX.min(self.bytes_max);
            if let Some(coarse) = state.ready.take_if(|ready| ready.grain != Grain::Fine) {
                self.ready_bytes.store(0, Ordering::Relaxed);
                self.config.fs.remove(&segment_path(&self.config.dir, coarse.id.file.number))?;
            }
        }
        let is_due = state.taken >= 2 || self.is_next_due.load(Ordering::Relaxed);
        if !is_due || state.taken == 0 || state.ready.is_some() {
            return Ok(());
        }
        let ready = self.make(state.next_bytes, false, next_number())?;
        self.keep(&mut state, ready);
        Ok(())
    }

    fn make(&self, bytes: u64, own: bool, number: FileNumber) -> Result<Ready> {
        let database = self.config.database;
        let id = SegmentIdentity::new(FileIdentity { database, number }, random_salt());
        // A segment for one large record is written once and never mapped.
        let is_fine = !own && self.wants_fine(bytes);
        let recycled = self.recycled(bytes, is_fine);
        let spare = recycled.as_ref().map_or(number, |&(spare, _)| spare);
        let grain = match (is_fine, &recycled) {
            (true, _) => Grain::Fine,
            (false, Some(_)) => Grain::Coarse,
            (false, None) => Grain::Fresh,
        };
        let headed = match recycled {
            Some((_, file)) => file.write_all_at_sync(&format::encode_header(&id, unix_micros(), bytes), 0),
            None => self.create(&id, bytes, is_fine),
        };
        let named = headed.and_then(|()| self.name(spare, number));
        if let Err(e) = named {
            // The name may or may not be the new one; neither holds anything.
            self.remove_quietly(&spare_path(&self.config.dir, spare));
            self.remove_quietly(&segment_path(&self.config.dir, number));
            return Err(e);
        }
        // Opened again so that error texts name the file by what it is called now.
        let path = segment_path(&self.config.dir, number);
        match self.config.fs.open(&path, OpenMode::ReadWrite) {
            Ok(file) => {
                if is_fine {
                    self.fine.lock().push(number);
                }
                Ok(Ready { file, id, bytes, grain })
            }
            Err(e) => {
                self.remove_quietly(&path);
                Err(e)
            }
        }
    }

    /// The spare, if it is there and of the right size and kind.
    fn recycled(&self, bytes: u64, is_fine: bool) -> Option<(FileNumber, Arc<dyn File>)> {
        let mut spare = self.spare.lock();
        let Spare::File(number, has, grain) = *spare else { return None };
        *spare = Spare::None;
        drop(spare);
        self.spare_bytes.fetch_sub(has, Ordering::Relaxed);
        let path = spare_path(&self.config.dir, number);
        if has == bytes && (grain == Grain::Fine) == is_fine {
            // What cannot be used is replaced: a new file is made, or fails for the same reason.
            let file = self.config.fs.open(&path, OpenMode::ReadWrite).ok();
            let usable = |file: &Arc<dyn File>| {
                file.len().is_ok_and(|len| len == bytes) && file.links().is_ok_and(|links| links == 1)
            };
            if let Some(file) = file.filter(|file| crate::base::planted!("log-shared-extents-recycled") || usable(file))
            {
                return Some((number, file));
            }
        }
        self.remove_quietly(&path);
        None
    }

    /// Whether a file that is made now is for syncs: where writes are synced by default, or somebody synced since the last
    /// one of its size was made.
    fn wants_fine(&self, bytes: u64) -> bool {
        // Relaxed: a hint.
        bytes <= PREWRITE_MAX || self.config.syncs || self.synced.swap(false, Ordering::Relaxed)
    }

    /// A new file with its header, durable but for its name.
    fn create(&self, id: &SegmentIdentity, bytes: u64, is_fine: bool) -> Result<()> {
        let path = spare_path(&self.config.dir, id.file.number);
        let file = self.config.fs.open(&path, OpenMode::CreateNew)?;
        file.allocate(0, bytes)?;
        if is_fine {
            let zeros = vec![0u8; PREWRITE_BYTES];
            let mut at = 0;
            while at < bytes {
                let part = (bytes - at).min(PREWRITE_BYTES as u64);
                file.write_all_at(&zeros[..part as usize], at)?;
                at += part;
            }
        }
        file.write_all_at(&format::encode_header(id, unix_micros(), bytes), 0)?;
        file.sync_data()
    }

    fn name(&self, spare: FileNumber, number: FileNumber) -> Result<()> {
        let dir = &self.config.dir;
        self.config.fs.rename(&spare_path(dir, spare), &segment_path(dir, number))?;
        if crate::base::planted!("log-name-unsynced") { Ok(()) } else { self.config.fs.sync_dir(dir) }
    }

    fn remove_quietly(&self, path: &Path) {
        if let Err(e) = self.config.fs.remove(path) {
            self.config.logger.log(LogLevel::Debug, &format!("unused log file stays: {}", e.message()));
        }
    }

    fn sole_link(&self, path: &Path) -> bool {
        let links = self.config.fs.open(path, OpenMode::Read).and_then(|file| file.links());
        links.is_ok_and(|links| links == 1)
    }

    /// Removes the spare where a segment is ready besides: for a log at rest.
    pub fn trim(&self) -> Result<()> {
        let _state = self.state.lock();
        // Relaxed: written only under the lock that is held.
        if self.ready_bytes.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let mut spare = self.spare.lock();
        let Spare::File(number, bytes, _) = *spare else { return Ok(()) };
        *spare = Spare::None;
        drop(spare);
        self.spare_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.config.fs.remove(&spare_path(&self.config.dir, number))
    }

    /// Takes back a segment file whose data is in synced tables and the manifest: recycled or removed. The owner has
    /// dropped the segment. A file that is not there is fine.
    pub fn give_back(&self, number: FileNumber) -> Result<()> {
        let fs = &self.config.fs;
        let path = segment_path(&self.config.dir, number);
        let grain = self.grain_of(number);
        let Some(meta) = fs.metadata(&path)? else { return Ok(()) };
        let regular = meta.is_file && meta.len == self.next_bytes_hint();
        if !regular || !self.claim_spare() {
            return fs.remove(&path);
        }
        let kept = self.sole_link(&path);
        let done = if kept {
            // Durable before the header changes, or a crash would leave a .wal that says another number (I1).
            fs.rename(&path, &spare_path(&self.config.dir, number)).and_then(|()| fs.sync_dir(&self.config.dir))
        } else {
            fs.remove(&path)
        };
        let mut spare = self.spare.lock();
        *spare = Spare::None;
        if kept && done.is_ok() {
            *spare = Spare::File(number, meta.len, grain);
            self.spare_bytes.fetch_add(meta.len, Ordering::Relaxed);
        }
        done
    }

    /// What a file that is given back or removed was like; forgets it.
    fn grain_of(&self, number: FileNumber) -> Grain {
        let mut fine = self.fine.lock();
        let before = fine.len();
        fine.retain(|&other| other != number);
        if fine.len() < before { Grain::Fine } else { Grain::Coarse }
    }

    /// The next size, if nobody is making a file right now; a guess is good enough, `recycled` checks.
    fn next_bytes_hint(&self) -> u64 {
        self.state.try_lock().map_or(self.bytes_max, |state| state.next_bytes)
    }

    /// The number of the file kept for its blocks.
    pub fn spare(&self) -> Option<FileNumber> {
        match *self.spare.lock() {
            Spare::File(number, ..) => Some(number),
            Spare::None | Spare::Coming => None,
        }
    }

    fn claim_spare(&self) -> bool {
        let mut spare = self.spare.lock();
        let free = matches!(*spare, Spare::None);
        if free {
            *spare = Spare::Coming;
        }
        free
    }

    /// For a log at rest: removes what is ready and unused, and starts small again.
    pub fn shrink(&self) -> Result<()> {
        self.state.lock().next_bytes = FIRST_BYTES.min(self.bytes_max);
        self.remove_spares()
    }

    /// Removes what is ready and unused (clean close).
    pub fn remove_spares(&self) -> Result<()> {
        let mut state = self.state.lock();
        let mut paths = Vec::new();
        if let Some(ready) = state.ready.take() {
            self.grain_of(ready.id.file.number);
            paths.push(segment_path(&self.config.dir, ready.id.file.number));
        }
        if let Spare::File(number, ..) = std::mem::replace(&mut *self.spare.lock(), Spare::None) {
            paths.push(spare_path(&self.config.dir, number));
        }
        self.ready_bytes.store(0, Ordering::Relaxed);
        self.spare_bytes.store(0, Ordering::Relaxed);
        let mut done = Ok(());
        for path in &paths {
            done = done.and(self.config.fs.remove(path));
        }
        if !paths.is_empty() {
            done = done.and(self.config.fs.sync_dir(&self.config.dir));
        }
        done
    }

    /// Files for syncs that are known.
    #[cfg(test)]
    pub fn fine_count(&self) -> usize {
        self.fine.lock().len()
    }

    /// Size that regular segments grow to.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// `mmap` or `write`.
    pub fn io(&self) -> &'static str {
        if self.mapped.load(Ordering::Relaxed) { "mmap" } else { "write" }
    }

    /// Bytes of files in the pool, not in use.
    pub fn spare_bytes(&self) -> u64 {
        self.ready_bytes.load(Ordering::Relaxed) + self.spare_bytes.load(Ordering::Relaxed)
    }
}
