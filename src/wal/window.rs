//! The part of a mapped segment that may be stored to: populated and locked ahead of the tail, dropped behind it.
//!
//! Why not map and store: a page that the kernel evicted must be read again, and if the device is gone by then the store
//! is a SIGBUS in the host. So pages are populated and locked first (an error code, not a signal), a step at a time,
//! within a budget that the whole process shares (`fs::MappedLog::prepare`). Where the budget refuses, the record goes
//! through `write(2)` at the same offset; the page cache makes both one.
//!
//! Invariants
//! - I1  `active` names whole pages that are prepared and not released; only records wholly inside are stored.
//! - I2  A prepared page is in exactly one entry of `held`, so the budget is given back once.
//! - I3  Pages are released, and later forgotten, only below an offset up to which the owner said that every record is stored.
//!
//! A thread of the owner's goes ahead of the writers (`go_ahead`), so that they seldom take a step themselves. While it, or
//! another writer, is at it, a writer that is not covered does not wait: its record goes through `write(2)` too.
//!
//! Threads: `covers` is one load; growing and releasing do I/O, so never under an epoch pin. Writers only try the lock.
//! Failure: a refused step leaves the window as it was and is tried again `RETRY` bytes later.

use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::error::Result;
use crate::fs::{File, MappedLog};
use std::sync::Arc;

/// Pages are counted in this size; preparing rounds out to the kernel's own.
const PAGE: u64 = 4096;
/// Smallest step ahead; the design refuses to map with less.
pub const STEP_MIN: u64 = 16 << 10;
/// Largest step ahead. Whoever takes a step waits for its page faults: 40 to 60 us for this many. Smaller steps are less
/// each, but more than one in a hundred records of 1 KiB would meet one.
pub const STEP_MAX: u64 = 256 << 10;
/// Released at a time. A quarter of what the default limit (8 MiB to lock, an eighth of it for logs) leaves a process: with
/// 1 MiB one database would take all of it before its first release.
const RELEASE: u64 = 256 << 10;
/// Dropped from the process at a time; until then they count as its memory.
const FORGET: u64 = 4 << 20;
/// How far the tail moves on before a refused step is tried again.
const RETRY: u64 = 64 << 10;
/// What `go_ahead` keeps ready: as much as a fast writer stores while a sleeping thread wakes.
const AHEAD: u64 = 384 << 10;
/// What it takes at a time; a writer that needs the lock meanwhile goes through `write(2)`.
const AHEAD_STEP: u64 = 64 << 10;

/// Zeros that `go_ahead` writes at a time into a file that was never written: the kernel caches a file in pieces of what was
/// written at once, and large pieces cost a third of the time.
const PIECE: u64 = 128 << 10;

/// How many syncs of a coarse file pass until somebody should see to it that another takes its place.
const SYNCS_COARSE: u32 = 16;

/// In what pieces the kernel has a file in its cache: it keeps those in which it was first written, and a sync writes
/// whole pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grain {
    /// Nothing was written yet but the header: large ones, if nobody syncs.
    Fresh,
    /// Large ones, or nobody knows: quick to fill, slow to sync.
    Coarse,
    /// Single pages, for syncs.
    Fine,
}

struct Held {
    /// Prepared ranges, ascending and disjoint.
    ranges: Vec<(u64, u64)>,
    /// Everything below was released.
    released: u64,
    /// Everything below was dropped from the process.
    forgotten: u64,
    /// No step below this offset.
    retry_at: u64,
}

/// See the head of this file.
pub struct Window {
    map: Box<dyn MappedLog>,
    file: Arc<dyn File>,
    grain: Grain,
    bytes: u64,
    step: u64,
    /// Bytes behind the tail that are dropped in one go.
    release: u64,
    /// First page and first page behind, 32 bits each.
    active: AtomicU64,
    /// The next offset at which releasing pays.
    release_at: AtomicU64,
    /// A sync came since the last step. Relaxed: a hint.
    synced: AtomicBool,
    /// Syncs. Relaxed: a hint.
    syncs: AtomicU32,
    /// Zeros are written at or behind this offset only; who stores behind it claims the place first.
    zeroed_to: AtomicU64,
    /// Nothing is written ahead any more. Relaxed: read under the lock of `zeros`.
    is_over: AtomicBool,
    held: Mutex<Held>,
    /// What is written ahead; locked while that is done, and inside `held`.
    zeros: Mutex<Vec<u8>>,
}

impl Window {
    /// A window over a mapping of the first `bytes` of `file`, nothing prepared yet.
    pub fn new(map: Box<dyn MappedLog>, file: Arc<dyn File>, bytes: u64, grain: Grain) -> Window {
        let part = (bytes / 16) & !(PAGE - 1);
        let (step, release) = (part.clamp(STEP_MIN, STEP_MAX), part.clamp(STEP_MIN, RELEASE));
        Window {
            map,
            file,
            grain,
            bytes,
            step,
            release,
            active: AtomicU64::new(0),
            release_at: AtomicU64::new(release),
            synced: AtomicBool::new(false),
            syncs: AtomicU32::new(0),
            zeroed_to: AtomicU64::new(if grain == Grain::Fresh { 0 } else { u64::MAX }),
            is_over: AtomicBool::new(false),
            held: Mutex::new(Held { ranges: Vec::new(), released: 0, forgotten: 0, retry_at: 0 }),
            zeros: Mutex::new(Vec::new()),
        }
    }

    #[inline]
    fn active_covers(&self, from: u64, to: u64) -> bool {
        // Acquire: pairs with the release in `grow`; the pages are prepared before they are stored to.
        let active = self.active.load(Ordering::Acquire);
        from / PAGE >= active >> 32 && to.div_ceil(PAGE) <= active & u64::from(u32::MAX)
    }

    /// Whether `[from, to)` may be stored to; grows the window if need be.
    #[inline]
    pub fn covers(&self, from: u64, to: u64) -> bool {
        self.active_covers(from, to) || self.grow(from, to)
    }

    /// Copies `bytes` to `offset`; the range was covered when the caller asked, and its record is not published.
    ///
    /// `active` may name other pages by now (behind a gap it starts anew); ours stay prepared until they may be
    /// released (I3).
    #[inline]
    pub fn store(&self, offset: u64, bytes: &[u8]) {
        self.map.store(offset as usize, bytes);
    }

    #[cold]
    fn grow(&self, from: u64, to: u64) -> bool {
        if to - from > self.step || to > self.bytes {
            return false;
        }
        let Some(mut held) = self.held.try_lock() else { return false };
        if self.active_covers(from, to) {
            return true;
        }
        if to < held.retry_at || from < held.released {
            return false;
        }
        // Relaxed: written only under the lock that is held.
        let active = self.active.load(Ordering::Relaxed);
        let (active_from, active_to) = ((active >> 32) * PAGE, (active & u64::from(u32::MAX)) * PAGE);
        let first_page = from / PAGE * PAGE;
        if first_page < active_from {
            return false;
        }
        // Records that went by write(2) may lie between; over a small gap the window stays in one piece.
        let joins = first_page <= active_to + self.step && active_to > 0;
        let start = if joins { active_to } else { first_page };
        let wanted_to = to.next_multiple_of(PAGE);
        let mut end = (start + self.step).max(wanted_to).min(self.bytes.next_multiple_of(PAGE));
        self.claim_zeroed(start, end);
        loop {
            if self.prepare(start, end).is_ok() {
                break;
            }
            // What the refused call did reach is given back.
            self.map.release(start as usize, end as usize);
            let half = ((end - start) / 2).next_multiple_of(PAGE);
            if start + half < wanted_to || half >= end - start || half < STEP_MIN {
                held.retry_at = to + RETRY;
                return false;
            }
            end = start + half;
        }
        self.add(&mut held, active_from, start, end);
        true
    }

    /// Something that ends at `end` is about to be stored: no zeros will be written there any more.
    #[inline]
    pub fn claim(&self, end: u64) {
        // Acquire: pairs with the Release of `write_zeros`; its zeros are in the file before the record is.
        if end > self.zeroed_to.load(Ordering::Acquire) {
            self.claim_slowly(end);
        }
    }

    #[cold]
    fn claim_slowly(&self, end: u64) {
        if crate::base::planted!("log-zeros-over-records") {
            return;
        }
        let _zeros = self.zeros.lock();
        // Release: read without the lock above.
        self.zeroed_to.fetch_max(end, Ordering::Release);
    }

    /// Writes zeros ahead of all records into a file without any; false when that is done, or cannot be.
    fn write_ahead(&self, tail: u64) -> bool {
        let zeros = self.zeros.lock();
        // Relaxed: stored under the lock that is held. Not where the writers are about to be: they would wait for it.
        let from = self.zeroed_to.load(Ordering::Relaxed).max(tail + PIECE / 2);
        if from >= self.bytes.min(tail + AHEAD) {
            return false;
        }
        let to = (from + 1).next_multiple_of(PIECE).min(self.bytes);
        self.write_zeros(zeros, from, to)
    }

    /// Claims the place up to `end`, of which what lies behind `start` is about to be prepared, and writes zeros there if
    /// nobody has claimed it.
    fn claim_zeroed(&self, start: u64, end: u64) {
        let zeros = self.zeros.lock();
        // Relaxed: stored under the lock that is held.
        let from = self.zeroed_to.load(Ordering::Relaxed).max(start);
        if from < end && !self.write_zeros(zeros, from, end.min(self.bytes)) {
            self.claim(end);
        }
    }

    fn write_zeros(&self, mut zeros: MutexGuard<'_, Vec<u8>>, from: u64, to: u64) -> bool {
        // Relaxed: hints; `is_over` is stored under the lock that is held.
        if self.is_over.load(Ordering::Relaxed) || self.syncs.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let len = (to - from) as usize;
        if zeros.len() < len {
            zeros.resize(len, 0);
        }
        let is_written = self.file.write_all_at(&zeros[..len], from).is_ok();
        // Release: pairs with `claim`. What failed is left to the records.
        self.zeroed_to.store(if is_written { to } else { u64::MAX }, Ordering::Release);
        is_written
    }

    /// Ends the writing of zeros for good, and waits for what is under way.
    pub fn stop_ahead(&self) {
        let _zeros = self.zeros.lock();
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Makes the prepared pages of `start..end` part of the window, in one piece with the one that begins at `active_from`
    /// if they follow it.
    fn add(&self, held: &mut Held, active_from: u64, start: u64, end: u64) {
        // Relaxed: written only under the lock that is held.
        let active_to = (self.active.load(Ordering::Relaxed) & u64::from(u32::MAX)) * PAGE;
        match held.ranges.last_mut() {
            // One range, so that it is dropped by one call.
            Some(last) if last.1 == start => last.1 = end,
            _ => held.ranges.push((start, end)),
        }
        let active_from = if start == active_to && active_to > 0 { active_from } else { start };
        // Release: pairs with `active_covers`.
        self.active.store((active_from / PAGE) << 32 | (end / PAGE), Ordering::Release);
    }

    /// Whether the file is in the kernel's cache in large pieces, and somebody keeps syncing it all the same: true after
    /// every sixteenth sync.
    pub fn is_too_coarse(&self) -> bool {
        // Relaxed: hints.
        self.grain != Grain::Fine && self.syncs.load(Ordering::Relaxed) % SYNCS_COARSE == SYNCS_COARSE - 1
    }

    /// Every record that ends at or before `tail` is stored: drops the pages behind it, and gets those ready that come
    /// next, unless somebody syncs. For a thread that no writer waits for.
    pub fn go_ahead(&self, tail: u64) {
        self.release(&mut self.held.lock(), tail / PAGE * PAGE);
        while self.write_ahead(tail) {}
        while self.step_ahead(tail) {}
    }

    /// One step of that; false when there is nothing more to do, or no budget.
    fn step_ahead(&self, tail: u64) -> bool {
        let mut held = self.held.lock();
        // Relaxed: a hint; and written only under the lock that is held.
        let (is_synced, active) = (self.synced.load(Ordering::Relaxed), self.active.load(Ordering::Relaxed));
        let (active_from, active_to) = ((active >> 32) * PAGE, (active & u64::from(u32::MAX)) * PAGE);
        let to = (tail + AHEAD).min(self.bytes) / PAGE * PAGE;
        // A window that a writer has not begun, or that ends behind the tail, is the writers' business.
        if is_synced || active_to < tail || active_to >= to || held.released > active_to {
            return false;
        }
        let end = (active_to + AHEAD_STEP).min(to);
        self.claim(end);
        if self.prepare(active_to, end).is_err() {
            self.map.release(active_to as usize, end as usize);
            return false;
        }
        self.add(&mut held, active_from, active_to, end);
        true
    }

    /// Where syncs are rare, a step takes its write faults in one call (27 instead of 72 ns a record). It dirties the whole
    /// step, though, so between syncs the faults are taken page by page.
    fn prepare(&self, from: u64, to: u64) -> Result<()> {
        let (offset, len) = (from as usize, (to - from) as usize);
        if self.synced.swap(false, Ordering::Relaxed) {
            self.map.prepare(offset, len)
        } else {
            self.map.prepare_dirty(offset, len)
        }
    }

    /// The segment was synced: see `prepare`.
    pub fn note_sync(&self) {
        self.synced.store(true, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    /// Every record that ends at or before `offset` is stored: drops the pages behind it, `release` bytes at a time, if
    /// nobody else is about to.
    #[inline]
    pub fn release_before(&self, offset: u64) {
        // Relaxed: a hint; the lock orders the rest.
        if offset >= self.release_at.load(Ordering::Relaxed)
            && let Some(mut held) = self.held.try_lock()
        {
            self.release(&mut held, offset / PAGE * PAGE);
        }
    }

    /// Nothing more will be stored through the mapping: drops all of it.
    #[cold]
    pub fn release_all(&self) {
        self.stop_ahead();
        self.release(&mut self.held.lock(), u64::MAX / PAGE * PAGE);
    }

    #[cold]
    fn release(&self, held: &mut Held, page: u64) {
        held.released = held.released.max(page);
        if page > self.bytes {
            // Release: nothing is covered from now on; pairs with `active_covers`.
            self.active.store(0, Ordering::Release);
        }
        for range in &mut held.ranges {
            let to = range.1.min(page);
            if range.0 < to {
                self.map.release(range.0 as usize, to as usize);
                range.0 = to;
            }
        }
        held.ranges.retain(|range| range.0 < range.1);
        let to = page.min(self.bytes.next_multiple_of(PAGE));
        if to >= held.forgotten + FORGET || page > to {
            self.map.forget(held.forgotten as usize, to as usize);
            held.forgotten = to;
        }
        // Relaxed: a hint.
        self.release_at.store(page.saturating_add(self.release), Ordering::Relaxed);
    }
}
