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
//! - I3  Pages are released only below an offset up to which the owner said that every record is stored.
//!
//! Threads: `covers` is one load; growing and releasing take the lock and may do I/O, so never under an epoch pin.
//! Failure: a refused step leaves the window as it was and is tried again `RETRY` bytes later.

use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::error::Result;
use crate::fs::MappedLog;

/// Pages are counted in this size; preparing rounds out to the kernel's own.
const PAGE: u64 = 4096;
/// Smallest step ahead; the design refuses to map with less.
pub const STEP_MIN: u64 = 16 << 10;
/// Largest step ahead. Whoever takes a step waits for its page faults (0.4 us each): with 256 KiB that is the longest of
/// a thousand puts (50-60 us); a step of 32 KiB costs 5 to 15 ns a record more, spread over many.
pub const STEP_MAX: u64 = 32 << 10;
/// Dropped at a time. A quarter of what the default limit (8 MiB to lock, an eighth of it for logs) leaves a process: with
/// 1 MiB one database would take all of it before its first release.
const RELEASE: u64 = 256 << 10;
/// How far the tail moves on before a refused step is tried again.
const RETRY: u64 = 64 << 10;

struct Held {
    /// Prepared ranges, ascending and disjoint.
    ranges: Vec<(u64, u64)>,
    /// Everything below was released.
    released: u64,
    /// No step below this offset.
    retry_at: u64,
}

/// See the head of this file.
pub struct Window {
    map: Box<dyn MappedLog>,
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
    held: Mutex<Held>,
}

impl Window {
    /// A window over a mapping of `bytes`, nothing prepared yet.
    pub fn new(map: Box<dyn MappedLog>, bytes: u64) -> Window {
        let part = (bytes / 16) & !(PAGE - 1);
        let (step, release) = (part.clamp(STEP_MIN, STEP_MAX), part.clamp(STEP_MIN, RELEASE));
        Window {
            map,
            bytes,
            step,
            release,
            active: AtomicU64::new(0),
            release_at: AtomicU64::new(release),
            synced: AtomicBool::new(false),
            held: Mutex::new(Held { ranges: Vec::new(), released: 0, retry_at: 0 }),
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
        let mut held = self.held.lock();
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
        match held.ranges.last_mut() {
            // One range, so that it is dropped by one call.
            Some(last) if last.1 == start => last.1 = end,
            _ => held.ranges.push((start, end)),
        }
        let active_from = if joins { active_from } else { start };
        // Release: pairs with `active_covers`.
        self.active.store((active_from / PAGE) << 32 | (end / PAGE), Ordering::Release);
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
    }

    /// Every record that ends at or before `offset` is stored: drops the pages behind it, `release` bytes at a time.
    #[inline]
    pub fn release_before(&self, offset: u64) {
        // Relaxed: a hint; the lock orders the rest.
        if offset >= self.release_at.load(Ordering::Relaxed) {
            self.release(offset / PAGE * PAGE);
        }
    }

    /// Nothing more will be stored through the mapping: drops all of it.
    #[cold]
    pub fn release_all(&self) {
        self.release(u64::MAX / PAGE * PAGE);
    }

    #[cold]
    fn release(&self, page: u64) {
        let mut held = self.held.lock();
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
        // Relaxed: a hint.
        self.release_at.store(page.saturating_add(self.release), Ordering::Relaxed);
    }
}
