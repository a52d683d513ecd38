//! Opens tables on demand and keeps at most so many open: a clock over the handles of open tables.
//!
//! Invariants
//! - I1  The reader of an open table hangs in its handle, where readers find it under a pin with one load; the cache only
//!   decides when it goes. A reader taken out is retired, because pinned threads may look at it.
//! - I2  A handle is a member of the clock at most once: it enters after its reader was set and leaves with it.
//! - I3  Members, and opens under way, are at most `files_max`; only when every member is gone and still more threads open
//!   tables at once is it exceeded, by those. Readers that iterators hold, or that wait in `Retired`, come on top.
//!
//! Threads: any, unpinned. Opening one table is done by one thread, others wait for it; no lock is held over the open but
//! the handle's own. Lock order: a handle's `opening`, then `clock`.
//! Failure: an open that fails leaves the table closed. Without descriptors (EMFILE, ENFILE) some tables are closed and the
//! open is tried again while the reaper frees them.

use super::meta::{FileMeta, TableHandle};
use crate::base::epoch::Retired;
use crate::base::ids::{FileIdentity, FileNumber};
use crate::base::sync::{Mutex, Ordering};
use crate::cache::Cache;
use crate::error::Result;
use crate::fs::names::{self, FileKind};
use crate::fs::{Fs, OpenMode};
use crate::sstable::TableReader;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// About what a closed reader holds in memory, for the reaper's back-pressure.
const READER_BYTES: usize = 4096;
/// How long an open without descriptors waits for closed ones to be freed, in all 40 ms.
const RETRY_PAUSE: Duration = Duration::from_millis(2);
const RETRY_COUNT: usize = 20;
/// Dead members are purged when the clock has grown to this, or to twice what was left last time.
const PURGE_MIN: usize = 64;

type Opener<R> = Box<dyn Fn(&FileMeta) -> Result<R> + Send + Sync>;

struct Clock<R: Send + Sync + 'static> {
    members: Vec<Weak<TableHandle<R>>>,
    hand: usize,
    /// Opens under way, each with a place reserved.
    opening: usize,
    purge_at: usize,
}

/// Opens tables on demand and keeps at most `files_max` open.
pub struct TableCache<R: Send + Sync + 'static = TableReader> {
    open: Opener<R>,
    /// Whether open tables take too much memory.
    crowded: Box<dyn Fn() -> bool + Send + Sync>,
    retired: Arc<Retired>,
    files_max: usize,
    clock: Mutex<Clock<R>>,
}

impl TableCache {
    /// Nothing open yet.
    pub fn new(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        database: u128,
        cache: Arc<Cache>,
        retired: Arc<Retired>,
        files_max: usize,
    ) -> Arc<TableCache> {
        let frames = Arc::clone(&cache);
        let open = move |meta: &FileMeta| {
            let file = fs.open(&table_path(&dir, meta.number), OpenMode::Read)?;
            let identity = FileIdentity { database, number: meta.number };
            TableReader::open(file, identity, meta.summary.size, Arc::clone(&cache))
        };
        TableCache::with_opener(Box::new(open), Box::new(move || frames.is_crowded()), retired, files_max)
    }
}

fn table_path(dir: &std::path::Path, number: FileNumber) -> PathBuf {
    names::path(dir, FileKind::Table, number)
}

impl<R: Send + Sync + 'static> TableCache<R> {
    /// A cache whose tables `open` opens. `files_max` is at least 1.
    pub(super) fn with_opener(
        open: Opener<R>,
        crowded: Box<dyn Fn() -> bool + Send + Sync>,
        retired: Arc<Retired>,
        files_max: usize,
    ) -> Arc<TableCache<R>> {
        let clock = Clock { members: Vec::new(), hand: 0, opening: 0, purge_at: PURGE_MIN };
        Arc::new(TableCache { open, crowded, retired, files_max: files_max.max(1), clock: Mutex::new(clock) })
    }

    /// The open table, opened now if need be. Unpinned.
    pub fn reader(&self, handle: &TableHandle<R>) -> Result<Arc<R>> {
        if let Some(reader) = handle.counted() {
            return Ok(reader);
        }
        let _one_opener = handle.opening.lock();
        if let Some(reader) = handle.counted() {
            return Ok(reader);
        }
        self.reserve();
        match self.open_or_make_room(handle.meta()) {
            Ok(reader) => {
                let reader = Arc::new(reader);
                handle.reader.set(Arc::clone(&reader), &self.retired, READER_BYTES);
                handle.touch();
                self.admit(Weak::clone(&handle.me));
                Ok(reader)
            }
            Err(e) => {
                self.clock.lock().opening -= 1;
                Err(e)
            }
        }
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        // The counts taken here may be the last ones: they go after the lock.
        let open: Vec<_> = self.clock.lock().members.iter().filter_map(Weak::upgrade).collect();
        open.iter().filter(|handle| !handle.reader.is_empty()).count()
    }

    /// Closes every table (readers that somebody holds go on).
    pub fn clear(&self) {
        let members = std::mem::take(&mut self.clock.lock().members);
        for handle in members.iter().filter_map(Weak::upgrade) {
            handle.reader.take(&self.retired, READER_BYTES);
        }
    }

    fn open_or_make_room(&self, meta: &FileMeta) -> Result<R> {
        let mut outcome = (self.open)(meta);
        for _ in 0..RETRY_COUNT {
            match &outcome {
                Err(e) if matches!(e.os_errno(), libc::EMFILE | libc::ENFILE) => {}
                _ => break,
            }
            self.close_some();
            // The reaper closes what was retired as soon as no pin sees it; nobody waits under a pin here.
            std::thread::sleep(RETRY_PAUSE);
            outcome = (self.open)(meta);
        }
        outcome
    }

    /// Closes an eighth of the open tables, at least one.
    fn close_some(&self) {
        let mut dropped = Vec::new();
        let mut clock = self.clock.lock();
        for _ in 0..clock.members.len().div_ceil(8) {
            self.evict(&mut clock, &mut dropped);
        }
        drop(clock);
    }

    /// Takes a place for an open that begins.
    fn reserve(&self) {
        let mut dropped = Vec::new();
        let crowded = (self.crowded)();
        let mut clock = self.clock.lock();
        if crowded {
            // Two for one, until it is better: what they held is freed only when no reader looks at it any more.
            let _ = self.evict(&mut clock, &mut dropped) && self.evict(&mut clock, &mut dropped);
        }
        while clock.members.len() + clock.opening >= self.files_max && self.evict(&mut clock, &mut dropped) {}
        clock.opening += 1;
        drop(clock);
    }

    /// Turns the place into a member.
    fn admit(&self, handle: Weak<TableHandle<R>>) {
        let mut clock = self.clock.lock();
        clock.opening -= 1;
        clock.members.push(handle);
        if clock.members.len() >= clock.purge_at {
            clock.members.retain(|member| member.strong_count() > 0);
            clock.purge_at = (clock.members.len() * 2).max(PURGE_MIN);
            clock.hand = 0;
        }
    }

    /// Removes one member: the first under the hand that is dead or was not used since the hand came by. Handles met are
    /// put into `dropped`, so that a last count never goes under the lock. False when there is none.
    fn evict(&self, clock: &mut Clock<R>, dropped: &mut Vec<Arc<TableHandle<R>>>) -> bool {
        // Two rounds find one whatever the bits say; other threads may set bits meanwhile, then the third round takes it.
        let mut patience = 2 * clock.members.len();
        while !clock.members.is_empty() {
            clock.hand %= clock.members.len();
            let Some(handle) = clock.members[clock.hand].upgrade() else {
                clock.members.swap_remove(clock.hand);
                return true;
            };
            // Relaxed: a hint.
            let was_used = handle.used.swap(false, Ordering::Relaxed);
            if was_used && patience > 0 {
                patience -= 1;
                clock.hand += 1;
                dropped.push(handle);
                continue;
            }
            handle.reader.take(&self.retired, READER_BYTES);
            clock.members.swap_remove(clock.hand);
            dropped.push(handle);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::{AtomicBool, AtomicUsize};
    use crate::error::Error;
    use crate::sstable::TableSummary;

    struct Probe {
        number: u64,
        live: Arc<AtomicUsize>,
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            self.live.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct Bench {
        cache: Arc<TableCache<Probe>>,
        handles: Vec<Arc<TableHandle<Probe>>>,
        retired: Arc<Retired>,
        crowded: Arc<AtomicBool>,
        live: Arc<AtomicUsize>,
        opens: Arc<AtomicUsize>,
    }

    /// A cache over `tables` probes; `descriptors` may be live at once.
    fn bench(tables: u64, files_max: usize, descriptors: usize) -> Bench {
        let (live, opens) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let retired = Arc::new(Retired::new());
        let crowded = Arc::new(AtomicBool::new(false));
        let (counted, opened, full) = (Arc::clone(&live), Arc::clone(&opens), Arc::clone(&crowded));
        let open = move |meta: &FileMeta| {
            opened.fetch_add(1, Ordering::SeqCst);
            if counted.fetch_add(1, Ordering::SeqCst) >= descriptors {
                counted.fetch_sub(1, Ordering::SeqCst);
                return Err(Error::os(libc::EMFILE, "open"));
            }
            Ok(Probe { number: meta.number.0, live: Arc::clone(&counted) })
        };
        let handles = (1..=tables)
            .map(|n| TableHandle::new(FileMeta { number: FileNumber(n), summary: TableSummary::default() }, None))
            .collect();
        Bench {
            cache: TableCache::with_opener(
                Box::new(open),
                Box::new(move || full.load(Ordering::SeqCst)),
                Arc::clone(&retired),
                files_max,
            ),
            handles,
            retired,
            crowded,
            live,
            opens,
        }
    }

    fn reap(b: &Bench, until: usize) {
        for turn in 0..30_000 {
            b.retired.run_once();
            if b.live.load(Ordering::SeqCst) <= until {
                return;
            }
            // A pinned reader of another test may be without a processor for long.
            if turn < 1000 { std::thread::yield_now() } else { std::thread::sleep(std::time::Duration::from_millis(1)) }
        }
    }

    #[test]
    fn a_table_is_opened_once_and_then_found() {
        let b = bench(3, 10, 10);
        assert!(b.handles[0].peek(&crate::base::epoch::pin()).is_none());
        assert_eq!(b.cache.reader(&b.handles[0]).expect("opens").number, 1);
        assert_eq!(b.cache.reader(&b.handles[0]).expect("is open").number, 1);
        assert_eq!(b.handles[0].peek(&crate::base::epoch::pin()).map(|p| p.number), Some(1));
        assert_eq!((b.opens.load(Ordering::SeqCst), b.cache.open_count()), (1, 1));
    }

    #[test]
    fn the_least_used_goes_and_what_is_held_stays_readable() {
        let b = bench(9, 4, 100);
        let held = b.cache.reader(&b.handles[0]).expect("opens");
        for handle in &b.handles {
            b.cache.reader(handle).expect("opens");
            assert!(b.cache.open_count() <= 4);
        }
        reap(&b, 5);
        assert_eq!(b.live.load(Ordering::SeqCst), 5, "four in the cache, one held");
        assert_eq!(held.number, 1);
        drop(held);
        assert_eq!(b.live.load(Ordering::SeqCst), 4);
        b.cache.clear();
        reap(&b, 0);
        assert_eq!((b.live.load(Ordering::SeqCst), b.cache.open_count()), (0, 0));
    }

    #[test]
    fn a_crowded_cache_closes_more_than_it_opens() {
        let b = bench(20, 100, 100);
        for handle in &b.handles[..16] {
            b.cache.reader(handle).expect("opens");
        }
        assert_eq!(b.cache.open_count(), 16);
        b.crowded.store(true, Ordering::SeqCst);
        for handle in &b.handles[16..] {
            b.cache.reader(handle).expect("opens");
        }
        assert_eq!(b.cache.open_count(), 12);
    }

    #[test]
    fn a_dropped_handle_closes_its_table_and_leaves_the_clock() {
        let mut b = bench(200, 1000, 1000);
        for handle in b.handles.drain(..) {
            b.cache.reader(&handle).expect("opens");
        }
        assert_eq!((b.live.load(Ordering::SeqCst), b.cache.open_count()), (0, 0));
        assert!(b.cache.clock.lock().members.len() <= PURGE_MIN);
    }

    #[test]
    fn without_descriptors_others_are_closed() {
        let b = bench(20, 100, 10);
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) == 0 {
                    b.retired.run_once();
                    std::thread::yield_now();
                }
            });
            for handle in b.handles.iter().chain(&b.handles) {
                assert_eq!(b.cache.reader(handle).map(|p| p.number).ok(), Some(handle.meta().number.0));
            }
            done.store(1, Ordering::SeqCst);
        });
        assert!(b.live.load(Ordering::SeqCst) <= 10);
    }

    #[test]
    fn a_failed_open_gives_its_place_back() {
        let b = bench(2, 1, 0);
        for _ in 0..2 {
            let error = b.cache.reader(&b.handles[0]).err().expect("no descriptors");
            assert_eq!(error.os_errno(), libc::EMFILE);
        }
        assert_eq!(b.cache.clock.lock().opening, 0);
    }

    /// Counts a thread that ends, also one that panics.
    struct CountAtEnd<'a>(&'a AtomicUsize);

    impl Drop for CountAtEnd<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn many_threads_stay_within_the_limit_and_see_the_right_table() {
        const THREADS: usize = 4;
        // Descriptors for all: a pinned reader of another test may hold up what was closed for as long as this takes.
        let b = bench(40, 8, THREADS * 4000 + 8);
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for t in 0..THREADS {
                let (b, done) = (&b, &done);
                scope.spawn(move || {
                    let _done = CountAtEnd(done);
                    let mut at = t as u64;
                    for _ in 0..4000 {
                        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let handle = &b.handles[(at >> 33) as usize % b.handles.len()];
                        let guard = crate::base::epoch::pin();
                        if let Some(probe) = handle.peek(&guard) {
                            assert_eq!(probe.number, handle.meta().number.0);
                        }
                        drop(guard);
                        assert_eq!(b.cache.reader(handle).expect("opens").number, handle.meta().number.0);
                        assert!(b.cache.open_count() <= 8, "limit");
                    }
                });
            }
            while done.load(Ordering::SeqCst) < THREADS {
                b.retired.run_once();
                std::thread::yield_now();
            }
        });
        b.cache.clear();
        reap(&b, 0);
        assert_eq!(b.live.load(Ordering::SeqCst), 0, "nothing leaks");
    }
}
