//! Tests of the cache: accounts, races, hit rate against exact LRU, scan resistance.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::shard::OVERHEAD_BYTES;
use super::spare::{SPARE_BYTES_MAX, SPARES, Spares};
use super::*;
use crate::base::sync::{AtomicBool, AtomicU64, Ordering};
use std::collections::{BTreeMap, HashMap};

/// xorshift64*: deterministic and good enough for a trace.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn new_cache(bytes: usize, shards: usize) -> (Arc<Cache>, Arc<Retired>) {
    let retired = Arc::new(Retired::new());
    (Cache::new(CacheConfig { bytes, shards }, Arc::clone(&retired)), retired)
}

/// A frame whose bytes tell which slot of which table it belongs to.
fn frame(table: u64, index: u32, len: usize) -> FrameRef {
    let word = mix(table, index) as u8;
    Frame::copy_of(&vec![word; len])
}

/// Frees what was retired. Epochs are the process's: on a busy machine a reader of another test may be pinned, without a
/// processor, for longer than any number of turns takes.
fn drain(retired: &Retired) {
    for turn in 0..30_000 {
        retired.run_once();
        if retired.bytes() == 0 {
            return;
        }
        if turn < 1000 { std::thread::yield_now() } else { std::thread::sleep(std::time::Duration::from_millis(1)) }
    }
    panic!("{} bytes stay retired", retired.bytes());
}

/// A turn of the reaper; many, when such a reader keeps so much that inserts would soon be refused.
fn turn(retired: &Retired) {
    retired.run_once();
    if retired.bytes() > RETIRED_BYTES_MAX / 2 {
        drain(retired);
    }
}

/// Looks a block up, and reads it in on a miss; says whether it was a hit.
fn touch(cache: &Cache, slots: &Arc<Slots>, index: u32, len: usize, priority: Priority) -> bool {
    if cache.peek(slots, index, &epoch::pin()).is_some() {
        return true;
    }
    cache.insert(slots, index, frame(slots.id(), index, len), priority);
    false
}

#[test]
fn a_frame_is_found_until_its_table_is_forgotten() {
    let (cache, retired) = new_cache(1 << 20, 1);
    let slots = Slots::new(10, &Arc::default()).unwrap();
    let mine = frame(slots.id(), 3, 1000);
    let kept = cache.insert(&slots, 3, mine.clone(), Priority::Data);
    assert!(FrameRef::ptr_eq(&kept, &mine));
    assert_eq!((cache.bytes(), cache.frames(), slots.resident()), (1000 + OVERHEAD_BYTES, 1, 1));
    assert!(cache.get(&slots, 2).is_none());
    assert!(cache.get(&slots, 10).is_none(), "past the end is a miss");
    assert!(FrameRef::ptr_eq(&cache.get(&slots, 3).unwrap(), &mine));
    assert_eq!((cache.hits(), cache.misses()), (1, 1));

    cache.forget(&slots);
    assert!(cache.get(&slots, 3).is_none());
    assert_eq!((cache.bytes(), cache.frames(), slots.resident()), (0, 0, 0));
    let late = cache.insert(&slots, 3, mine.clone(), Priority::Data);
    assert!(FrameRef::ptr_eq(&late, &mine) && cache.get(&slots, 3).is_none(), "forget is final");
    assert_eq!(Arc::strong_count(&slots), 1, "no queue entry keeps the array");
    drop((kept, late));
    drain(&retired);
    assert_eq!(FrameRef::count(&mine), 1, "the slot's count was dropped");
}

#[test]
fn the_loser_of_an_insert_gets_the_winners_frame() {
    let (cache, _retired) = new_cache(1 << 20, 1);
    let slots = Slots::new(1, &Arc::default()).unwrap();
    let winner = cache.insert(&slots, 0, frame(0, 0, 100), Priority::Data);
    let loser = cache.insert(&slots, 0, frame(0, 0, 100), Priority::Data);
    assert!(FrameRef::ptr_eq(&winner, &loser));
    assert_eq!(cache.frames(), 1);
}

#[test]
fn frames_that_do_not_fit_are_handed_back() {
    let (cache, _retired) = new_cache(64 << 20, 0);
    let slots = Slots::new(4, &Arc::default()).unwrap();
    for (index, len, kept) in [(0, 64 << 10, true), (1, 1 << 20, true), (2, (1 << 20) + 1, false)] {
        let given = frame(0, index, len);
        let got = cache.insert(&slots, index, given.clone(), Priority::Data);
        assert!(FrameRef::ptr_eq(&given, &got));
        assert_eq!(cache.get(&slots, index).is_some(), kept, "{len} bytes");
    }
    cache.insert(&slots, 99, frame(0, 0, 10), Priority::Data);
    assert_eq!(cache.frames(), 2, "an index past the end is not kept");
    let (none, _retired) = new_cache(0, 0);
    none.insert(&slots, 3, frame(0, 0, 10), Priority::Data);
    assert_eq!((none.bytes(), none.misses()), (0, 1));
}

#[test]
fn retired_bytes_stop_inserts_until_the_reaper_has_run() {
    let (cache, retired) = new_cache(4 << 20, 1);
    let slots = Slots::new(1000, &Arc::default()).unwrap();
    let guard = epoch::pin();
    let mut kept = 0;
    for index in 0..1000 {
        cache.insert(&slots, index, frame(0, index, 256 << 10), Priority::Data);
        kept += u32::from(cache.get(&slots, index).is_some());
    }
    assert!(retired.bytes() > RETIRED_BYTES_MAX && retired.bytes() < RETIRED_BYTES_MAX + (1 << 20));
    assert!((140..150).contains(&kept), "{kept} kept: 32 MiB retired and 4 MiB held");
    drop(guard);
    drain(&retired);
    cache.insert(&slots, 999, frame(0, 999, 256 << 10), Priority::Data);
    assert!(cache.get(&slots, 999).is_some());
}

#[test]
fn a_thread_that_evicts_frees_without_the_reaper() {
    let (cache, retired) = new_cache(1 << 20, 1);
    let slots = Slots::new(1000, &Arc::default()).unwrap();
    let (mut most, mut freed) = (0, false);
    // Tests beside this one hold pins for a while.
    for index in (0..1000).cycle().take(2_000_000) {
        cache.insert(&slots, index, frame(0, index, 4096), Priority::Data);
        freed |= retired.bytes() < most;
        most = most.max(retired.bytes());
        if freed && most > 0 {
            return;
        }
        if retired.bytes() > RETIRED_BYTES_MAX {
            std::thread::yield_now();
        }
    }
    panic!("{most} bytes were retired and none freed");
}

#[test]
fn what_is_evicted_waits_in_its_shard_until_it_is_much_or_the_reaper_comes() {
    let (cache, retired) = new_cache(1 << 20, 1);
    let slots = Slots::new(1000, &Arc::default()).unwrap();
    let mine = frame(slots.id(), 0, 100_000 - OVERHEAD_BYTES);
    let small = |index| frame(slots.id(), index, 4096);
    for index in 0..300 {
        cache.insert(&slots, index, small(index), Priority::Data);
        assert!(retired.bytes() == 0 || retired.bytes() >= VICTIM_BYTES_MAX, "{} handed on", retired.bytes());
    }
    assert!(retired.bytes() > 0);
    let held = small(999);
    cache.insert(&slots, 999, held.clone(), Priority::Data);
    let rest = cache.frames();
    cache.clear();
    cache.reap();
    drain(&retired);
    assert_eq!((FrameRef::count(&held), cache.frames(), FrameRef::count(&mine)), (1, 0, 1), "{rest} frames before");
    // The last ones in a cache that goes are not freed under a reader.
    for index in 0..260 {
        cache.insert(&slots, index, small(index), Priority::Data);
    }
    let (guard, before) = (epoch::pin(), retired.bytes());
    let seen = slots.load(259, &guard).unwrap();
    drop(cache);
    assert!(retired.bytes() > before, "what waited in the shard is handed on");
    let word = mix(slots.id(), 259) as u8;
    assert!(seen.bytes().iter().all(|&b| b == word), "not freed under a reader");
    drop(guard);
    drain(&retired);
}

#[test]
fn what_was_freed_is_used_again() {
    if cfg!(miri) {
        return;
    }
    // The spares are the process's: other tests fill them up, take them, give them back and drain them meanwhile, so the
    // next one out may be any that was put in before.
    let tries = 10_000;
    let mut freed = std::collections::HashSet::new();
    let found = (0..tries).any(|round| {
        if round % 1000 == 0 {
            release_spares();
            freed.clear();
        }
        let first = frame(1, 1, 18_320);
        freed.insert(first.bytes().as_ptr().addr());
        drop(first);
        let kept = SPARES.bytes();
        let mut builder = FrameBuilder::new(18_310).unwrap();
        let was_kept = SPARES.bytes() + 18_310 < kept;
        builder.bytes_mut().fill(7);
        let is_one_of_them = freed.contains(&builder.bytes().as_ptr().addr());
        assert!(builder.freeze().bytes().iter().all(|&b| b == 7));
        is_one_of_them && was_kept
    });
    assert!(found, "none of {tries} allocations was one freed before");
}

#[test]
fn spares_of_a_size_come_back_once_and_are_bounded() {
    if cfg!(miri) {
        return;
    }
    static OWN: Spares = Spares::new();
    let place = |n: usize| std::ptr::NonNull::new(std::ptr::without_provenance_mut::<Frame>(n)).unwrap();
    assert!(OWN.take(64).is_none());
    assert!(OWN.put(64, place(1)).is_none() && OWN.put(65, place(2)).is_none());
    assert_eq!((OWN.take(64), OWN.take(64), OWN.bytes()), (Some(place(1)), None, 65 * 64));
    assert_eq!(OWN.take(65), Some(place(2)));
    assert_eq!((OWN.put(8, place(3)), OWN.put(1 << 20, place(4))), (Some(place(3)), Some(place(4))), "not of a block");
    // More than a ring holds: the eldest go. More than all may hold: what comes goes.
    let gone: Vec<_> = (1..=200).filter_map(|n| OWN.put(64, place(n))).collect();
    assert_eq!(gone, (1..=72).map(place).collect::<Vec<_>>());
    let refused = (1..=2000).filter_map(|n| OWN.put(66 + n % 32, place(1000 + n))).count();
    assert!(refused > 1000 && OWN.bytes() <= SPARE_BYTES_MAX + (97 * 64), "{refused}, {} bytes", OWN.bytes());
    let mut drained = 0;
    OWN.drain(|lines, _| drained += lines * 64);
    assert!(drained > SPARE_BYTES_MAX - 97 * 64 && OWN.bytes() == 0 && OWN.take(64).is_none());
    assert_eq!(
        (OWN.put(64, place(5)), OWN.take(64)),
        (None, Some(place(5))),
        "the first that is kept after it is found"
    );
}

#[test]
fn the_budget_is_never_passed_and_clear_leaves_nothing() {
    let (cache, retired) = new_cache(1 << 20, 2);
    let tables: Vec<_> = (0..3).map(|_| Slots::new(1000, &Arc::default()).unwrap()).collect();
    let mut random = Random(7);
    for round in 0..20_000 {
        let slots = &tables[random.below(3) as usize];
        let priority = if random.below(4) == 0 { Priority::Meta } else { Priority::Data };
        touch(&cache, slots, random.below(1000) as u32, random.below(20_000) as usize, priority);
        if round % 64 == 0 {
            assert!(cache.bytes() <= 1 << 20);
            turn(&retired);
        }
    }
    assert!(cache.bytes() > (1 << 20) - 100_000, "the budget is used");
    let resident: u32 = tables.iter().map(|t| t.resident()).sum();
    assert_eq!(resident as usize, cache.frames());
    cache.clear();
    assert_eq!((cache.bytes(), cache.frames()), (0, 0));
    assert!(tables.iter().all(|t| t.resident() == 0 && Arc::strong_count(t) == 1));
    drain(&retired);
}

#[test]
fn metadata_stays_while_it_is_less_than_half() {
    let (cache, retired) = new_cache(1 << 20, 1);
    let (meta, data) = (Slots::new(1000, &Arc::default()).unwrap(), Slots::new(20_000, &Arc::default()).unwrap());
    for index in 0..100 {
        touch(&cache, &meta, index, 4096, Priority::Meta);
    }
    for index in 0..20_000 {
        touch(&cache, &data, index, 4096, Priority::Data);
        turn(&retired);
    }
    assert_eq!(meta.resident(), 100, "42 % of the cache");
    for index in 100..1000 {
        touch(&cache, &meta, index, 4096, Priority::Meta);
        touch(&cache, &data, index, 4096, Priority::Data);
        turn(&retired);
    }
    let share = meta.resident() * (4096 + OVERHEAD_BYTES as u32) * 100 / (1 << 20);
    assert!((48..=51).contains(&share), "{share} % metadata when both are wanted");
}

/// Exact LRU over `capacity` equal frames.
struct Lru {
    capacity: usize,
    clock: u64,
    last: HashMap<u32, u64>,
    order: BTreeMap<u64, u32>,
}

impl Lru {
    fn new(capacity: usize) -> Lru {
        Lru { capacity, clock: 0, last: HashMap::new(), order: BTreeMap::new() }
    }
    fn touch(&mut self, key: u32) -> bool {
        self.clock += 1;
        let before = self.last.insert(key, self.clock);
        if let Some(before) = before {
            self.order.remove(&before);
        }
        self.order.insert(self.clock, key);
        if self.last.len() > self.capacity {
            let (_, victim) = self.order.pop_first().unwrap();
            self.last.remove(&victim);
        }
        before.is_some()
    }
}

fn zipf_trace(keys: usize, skew: f64, len: usize, seed: u64) -> Vec<u32> {
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        })
        .collect();
    let mut random = Random(seed);
    (0..len)
        .map(|_| {
            let drawn = random.unit() * sum;
            cumulative.partition_point(|&c| c < drawn).min(keys - 1) as u32
        })
        .collect()
}

/// Hit rates in percent, ours and LRU's, on a trace, after a warm-up of a quarter of it.
fn compare(trace: &[u32], keys: u32, capacity: usize, shards: usize) -> (f64, f64) {
    let len = 64;
    let (cache, retired) = new_cache(capacity * (len + OVERHEAD_BYTES), shards);
    let slots = Slots::new(keys, &Arc::default()).unwrap();
    let mut lru = Lru::new(capacity);
    let (mut ours, mut theirs) = (0u32, 0u32);
    for (at, &key) in trace.iter().enumerate() {
        let counted = u32::from(at >= trace.len() / 4);
        ours += u32::from(touch(&cache, &slots, key, len, Priority::Data)) * counted;
        theirs += u32::from(lru.touch(key)) * counted;
        if at % 4096 == 0 {
            turn(&retired);
        }
    }
    let counted = (trace.len() - trace.len() / 4) as f64 / 100.0;
    (f64::from(ours) / counted, f64::from(theirs) / counted)
}

#[test]
fn the_hit_rate_on_zipf_traces_is_that_of_lru_or_better() {
    for (skew, seed) in [(0.6, 1), (0.8, 2), (0.99, 3), (1.2, 4)] {
        let trace = zipf_trace(20_000, skew, 200_000, seed);
        for capacity in [200, 2_000, 8_000] {
            for shards in [1, 4] {
                let (ours, lru) = compare(&trace, 20_000, capacity, shards);
                assert!(ours >= lru - 1.0, "skew {skew}, {capacity} frames, {shards} shards: {ours:.2} % < {lru:.2} %");
            }
        }
    }
}

#[test]
fn uniform_reads_and_a_moving_hot_set_are_no_worse_than_lru() {
    let mut random = Random(9);
    let uniform: Vec<u32> = (0..100_000).map(|_| random.below(10_000) as u32).collect();
    let (ours, lru) = compare(&uniform, 10_000, 3_000, 2);
    assert!(ours >= lru - 1.0, "uniform: {ours:.2} % < {lru:.2} %");
    let moving: Vec<u32> =
        (0..200_000u64).map(|at| (at / 20_000 * 1_000 + random.below(2_000)) as u32 % 20_000).collect();
    let (ours, lru) = compare(&moving, 20_000, 3_000, 2);
    // The price of scan resistance: what is new must prove itself within a tenth of the cache.
    assert!(ours >= lru - 3.0, "moving hot set: {ours:.2} % < {lru:.2} %");
}

#[test]
fn a_scan_does_not_evict_the_hot_set() {
    let (cache, retired) = new_cache(1_000 * (64 + OVERHEAD_BYTES), 1);
    let (hot, cold) = (Slots::new(800, &Arc::default()).unwrap(), Slots::new(100_000, &Arc::default()).unwrap());
    for _ in 0..5 {
        for index in 0..800 {
            touch(&cache, &hot, index, 64, Priority::Data);
        }
    }
    for index in 0..100_000 {
        touch(&cache, &cold, index, 64, Priority::Data);
        turn(&retired);
    }
    assert!(hot.resident() >= 760, "{} of 800 hot frames survive a scan of 100 caches", hot.resident());
}

#[test]
fn a_pinned_reader_sees_its_frame_whatever_happens() {
    let (cache, retired) = new_cache(1 << 20, 1);
    let slots = Slots::new(1, &Arc::default()).unwrap();
    cache.insert(&slots, 0, frame(7, 0, 5000), Priority::Data);
    let guard = epoch::pin();
    let seen = cache.peek(&slots, 0, &guard).unwrap();
    cache.clear();
    for _ in 0..100 {
        retired.run_once();
    }
    assert!(retired.bytes() >= 5000);
    let word = mix(7, 0) as u8;
    assert!(seen.bytes().iter().all(|&b| b == word));
    let kept = seen.to_ref(&guard);
    drop(guard);
    drain(&retired);
    assert!(kept.bytes().iter().all(|&b| b == word));
    assert_eq!(FrameRef::count(&kept), 1);
}

/// Ends the loops of threads that look at it.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        // Relaxed: only ends the loops.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Readers, inserters, a closer of tables, a clearer and the reaper at once. Every frame a reader sees under its pin
/// must hold its own slot's bytes; at the end the accounts must be exact.
#[test]
fn stress_of_readers_inserts_forgets_and_clears() {
    const SLOTS: u32 = 400;
    let (cache, retired) = new_cache(512 << 10, 4);
    let new_table = || Mutex::new(Slots::new(SLOTS, &Arc::default()).unwrap());
    let tables: Vec<Mutex<Arc<Slots>>> = (0..4).map(|_| new_table()).collect();
    let (stop, checked) = (AtomicBool::new(false), AtomicU64::new(0));
    let check = |slots: &Slots, index: u32, bytes: &[u8]| {
        let word = mix(slots.id(), index) as u8;
        assert!(bytes.iter().all(|&b| b == word), "a frame of another slot, or freed memory");
        // Relaxed: a tally.
        checked.fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for seed in 1..=3u64 {
            let (cache, tables, stop, check) = (&cache, &tables, &stop, &check);
            scope.spawn(move || {
                let mut random = Random(seed * 77);
                // Relaxed: only ends the loop.
                while !stop.load(Ordering::Relaxed) {
                    let slots = Arc::clone(&tables[random.below(4) as usize].lock());
                    let index = (random.below(u64::from(SLOTS)) * random.below(u64::from(SLOTS)) / 400) as u32;
                    let guard = epoch::pin();
                    if let Some(frame) = cache.peek(&slots, index, &guard) {
                        std::thread::yield_now();
                        check(&slots, index, frame.bytes());
                        let counted = frame.to_ref(&guard);
                        drop(guard);
                        check(&slots, index, counted.bytes());
                        continue;
                    }
                    drop(guard);
                    let len = 500 + random.below(5000) as usize;
                    let priority = if index.is_multiple_of(8) { Priority::Meta } else { Priority::Data };
                    let got = cache.insert(&slots, index, frame(slots.id(), index, len), priority);
                    check(&slots, index, got.bytes());
                }
            });
        }
        scope.spawn(|| {
            // Relaxed: only ends the loop.
            while !stop.load(Ordering::Relaxed) {
                retired.run_once();
            }
        });
        // Also where a check below fails, or the threads would run for ever.
        let _stop = StopAtEnd(&stop);
        let mut random = Random(5);
        let (rounds, least) = if cfg!(miri) { (4, 4) } else { (300, 101) };
        // A busy machine may give the other threads no time for long.
        for round in (0..100 * rounds).take_while(|n| *n < rounds || checked.load(Ordering::Relaxed) < least) {
            let table = &tables[random.below(4) as usize];
            let old = std::mem::replace(&mut *table.lock(), Slots::new(SLOTS, &Arc::default()).unwrap());
            cache.forget(&old);
            assert_eq!(old.resident(), 0);
            if round % 20 == 0 {
                cache.clear();
            }
            assert!(cache.bytes() <= 512 << 10);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    // Relaxed: the threads were joined.
    assert!(checked.load(Ordering::Relaxed) > if cfg!(miri) { 3 } else { 100 });
    let resident: u32 = tables.iter().map(|t| t.lock().resident()).sum();
    assert_eq!(resident as usize, cache.frames());
    cache.clear();
    assert_eq!((cache.bytes(), cache.frames()), (0, 0));
    drain(&retired);
}

#[test]
fn slot_arrays_take_their_room_from_the_frames() {
    let (cache, retired) = new_cache(8 << 20, 1);
    let fill = || {
        let slots = cache.slots(100_000).unwrap();
        for index in 0..3000 {
            touch(&cache, &slots, index, 4096, Priority::Data);
        }
        let held = (cache.bytes(), cache.fixed_bytes());
        cache.forget(&slots);
        drain(&retired);
        held
    };
    let (alone, fixed) = fill();
    assert_eq!(fixed, 800_000);
    assert!(alone <= (8 << 20) - fixed && alone > 7 << 20, "{alone}");
    let others: Vec<_> = (0..6).map(|_| cache.slots(100_000).unwrap()).collect();
    let (beside, fixed) = fill();
    assert_eq!(fixed, 7 * 800_000);
    assert!(beside <= (8 << 20) - fixed && beside > 2 << 20, "{beside}");
    assert!(!cache.is_crowded(), "small arrays never crowd");
    let huge = cache.slots(3 << 20).unwrap();
    assert!(cache.is_crowded());
    let (least, _) = fill();
    assert!(least <= 2 << 20 && least > 1 << 20, "a quarter is left: {least}");
    drop((others, huge));
    assert_eq!(cache.fixed_bytes(), 0);
    assert!(!cache.is_crowded());
}
