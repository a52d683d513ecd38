//! Several threads at once: same keys, split storms, sequence numbers out of order, walks and reads beside inserts.

use super::*;
use crate::base::sync::AtomicBool;
use std::thread;

const THREADS: usize = if cfg!(miri) { 3 } else { 6 };

/// Every version that was put is there, in order, each key once.
pub fn check_whole(table: &Arc<MemTable>, keys: usize, versions: usize) {
    let mut cursor = table.cursor(View::All);
    cursor.seek_first().unwrap();
    let rows = forward(&mut cursor);
    assert_eq!(rows.len(), versions);
    for pair in rows.windows(2) {
        assert!(pair[0].0 < pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].1 > pair[1].1), "{pair:?}");
    }
    let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
    cursor.seek_first().unwrap();
    assert_eq!(forward(&mut cursor).len(), keys);
    cursor.seek_last().unwrap();
    assert_eq!(backward(&mut cursor).len(), keys);
    for (key, seq, value) in &rows {
        assert_eq!(get(table, key, *seq), Some((*seq, value.clone())));
    }
}

#[test]
fn all_threads_insert_the_same_keys() {
    for round in 0..scaled(30, 2) as u64 {
        let table = table();
        let keys = scaled(700, 40) as u64;
        let line = std::sync::Barrier::new(THREADS);
        thread::scope(|scope| {
            for t in 0..THREADS as u64 {
                let (table, line) = (&table, &line);
                scope.spawn(move || {
                    line.wait();
                    for i in 0..keys {
                        // The same order for all, so that they meet in every slot; odd rounds ascend.
                        let key = if round % 2 == 0 { i.wrapping_mul(0x9e37_79b9_7f4a_7c15) } else { i };
                        put(table, &key.to_be_bytes(), i * 16 + (t + i) % THREADS as u64 + 1, &t.to_le_bytes());
                    }
                });
            }
        });
        check_whole(&table, keys as usize, keys as usize * THREADS);
    }
}

#[test]
fn a_split_storm_loses_nothing() {
    for round in 0..scaled(8, 1) as u64 {
        let table = table();
        let keys = scaled(12_000, 60) as u64;
        thread::scope(|scope| {
            for t in 0..THREADS as u64 {
                let table = &table;
                scope.spawn(move || {
                    for i in 0..keys {
                        // Interleaved: neighbours come from different threads, and all work in the same few leaves.
                        let key = (i * THREADS as u64 + t) << (round % 3 * 7);
                        put(table, format!("user{key:019}").as_bytes(), key + 1, &key.to_le_bytes());
                    }
                });
            }
        });
        check_whole(&table, keys as usize * THREADS, keys as usize * THREADS);
    }
}

/// As a replay does it: stretches of one history, dealt out to threads that insert them whenever they come to it.
#[test]
fn stretches_of_a_history_may_be_inserted_in_any_order() {
    let table = table();
    let (stretches, len) = (scaled(200, 8) as u64, scaled(100, 11) as u64);
    let key = |seq: u64| format!("key{}", seq.wrapping_mul(0x9e37_79b9) % 50).into_bytes();
    thread::scope(|scope| {
        for t in 0..THREADS as u64 {
            let table = &table;
            scope.spawn(move || {
                for stretch in (0..stretches).filter(|s| s % THREADS as u64 == t) {
                    let keys: Vec<_> = (1..=len).map(|i| (stretch * len + i, key(stretch * len + i))).collect();
                    let payload = keys.iter().map(|(_, key)| key.len() + 8).sum();
                    let mut space = table.reserve(len as u32, payload).expect("room");
                    let values: Vec<_> = keys.iter().map(|(seq, _)| seq.to_le_bytes()).collect();
                    let versions = keys.iter().zip(&values).map(|((seq, key), value)| {
                        let (seq, kind) = (SeqNo(*seq), EntryKind::Put);
                        NewVersion { key, seq, kind, value }
                    });
                    table.insert_all(&mut space, versions);
                }
            });
        }
    });
    let keys: std::collections::BTreeSet<_> = (1..=stretches * len).map(key).collect();
    assert_eq!(table.entries(), stretches * len);
    check_whole(&table, keys.len(), (stretches * len) as usize);
}

/// Fewer versions than are aimed for ahead, as many, and one more.
#[test]
fn few_versions_at_once_are_all_inserted() {
    for count in [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 3 * AHEAD + 2] {
        let table = table();
        let keys: Vec<_> = (0..count as u64).map(u64::to_be_bytes).collect();
        let mut space = table.reserve(count as u32 + 1, 16 * count + 16).expect("room");
        let versions = keys.iter().zip(1..).map(|(key, seq)| {
            let seq = SeqNo(seq);
            NewVersion { key, seq, kind: EntryKind::Put, value: b"v" }
        });
        table.insert_all(&mut space, versions);
        check_whole(&table, count, count);
        assert_eq!(table.entries(), count as u64);
    }
}

#[test]
fn cuts_are_keys_that_part_what_is_there() {
    let table = table();
    assert!(table.cuts(4).is_empty(), "nothing to cut");
    let count = scaled(20_000, 300) as u64;
    for i in 0..count {
        let key = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        put(&table, &key.to_be_bytes(), i + 1, b"v");
    }
    let cuts = table.cuts(4);
    assert!(cuts.len() <= 3 && cuts.windows(2).all(|pair| pair[0] < pair[1]), "{cuts:?}");
    if !cfg!(miri) {
        let below = |cut: &Vec<u8>| {
            (0..count).filter(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().as_slice() < cut).count() as u64
        };
        let parts: Vec<_> = cuts.iter().map(below).collect();
        assert!(parts.len() == 3 && parts[0] > count / 8 && parts[2] < count * 7 / 8, "{parts:?}");
    }
}

#[test]
fn one_hot_key_keeps_all_versions_in_order() {
    let table = table();
    let count = scaled(20_000, 60) as u64;
    let next = AtomicU64::new(1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (table, next) = (&table, &next);
            scope.spawn(move || {
                loop {
                    // Drawn here, inserted a moment later: others overtake.
                    let seq = next.fetch_add(1, Ordering::Relaxed);
                    if seq > count {
                        return;
                    }
                    if seq % 7 == 0 {
                        thread::yield_now();
                    }
                    put(table, b"hot", seq, &seq.to_le_bytes());
                    // Whoever inserted a version sees it.
                    assert_eq!(get(table, b"hot", seq).map(|found| found.0), Some(seq));
                }
            });
        }
    });
    check_whole(&table, 1, count as usize);
}

#[test]
fn readers_and_walkers_see_all_that_was_there_before() {
    let table = table();
    let count = scaled(40_000, 150) as u64;
    let done = AtomicBool::new(false);
    let visible = [const { AtomicU64::new(0) }; 2];
    let key = |i: u64| format!("k{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4).into_bytes();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2u64)
            .map(|t| {
                let (table, visible) = (&table, &visible);
                scope.spawn(move || {
                    for i in 0..count {
                        let n = i * 2 + t;
                        put(table, &key(n), n + 1, &n.to_le_bytes());
                        visible[t as usize].store(i + 1, Ordering::Release);
                    }
                })
            })
            .collect();
        for t in 0..2u64 {
            let (table, visible, done) = (&table, &visible, &done);
            scope.spawn(move || {
                let mut random = Random::new(t + 9);
                while !done.load(Ordering::Relaxed) {
                    let seen = visible[t as usize].load(Ordering::Acquire);
                    for _ in 0..scaled(500, 5) {
                        if seen > 0 {
                            let n = random.below(seen as usize) as u64 * 2 + t;
                            assert_eq!(get(table, &key(n), SeqNo::MAX.0), Some((n + 1, n.to_le_bytes().to_vec())));
                        }
                        let absent = [key(n_absent(&mut random)).as_slice(), b"!"].concat();
                        assert!(table.get_unfiltered(&absent, SeqNo::MAX).is_none());
                    }
                }
            });
        }
        for back in [false, true] {
            let (table, visible, done) = (&table, &visible, &done);
            scope.spawn(move || {
                let mut walks = 0;
                while walks == 0 || !done.load(Ordering::Relaxed) {
                    let seen = [0, 1].map(|t: usize| visible[t].load(Ordering::Acquire));
                    let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
                    let rows = if back {
                        cursor.seek_last().unwrap();
                        let mut rows = backward(&mut cursor);
                        rows.reverse();
                        rows
                    } else {
                        cursor.seek_first().unwrap();
                        forward(&mut cursor)
                    };
                    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "order");
                    let old = rows.iter().filter(|row| (row.1 - 1) / 2 < seen[((row.1 - 1) % 2) as usize]).count();
                    assert_eq!(old as u64, seen[0] + seen[1], "entries from before the walk");
                    walks += 1;
                }
            });
        }
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        // Before any of them is looked at, or a failed writer would leave the readers running.
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(|result| result.is_ok()));
    });
    check_whole(&table, 2 * count as usize, 2 * count as usize);
}

fn n_absent(random: &mut Random) -> u64 {
    random.next() >> 8
}

#[test]
fn concurrent_reservations_never_exceed_the_limit() {
    let table = MemTable::new(MemTableConfig { bytes_max: scaled(1 << 20, 48 << 10), single_bytes_max: 0 }).unwrap();
    let inserted = AtomicU64::new(0);
    thread::scope(|scope| {
        for t in 0..THREADS as u64 {
            let (table, inserted) = (&table, &inserted);
            scope.spawn(move || {
                let mut random = Random::new(t + 1);
                let mut n = 0u64;
                while let Some(mut space) = table.reserve(3, 3 * 24) {
                    for _ in 0..3 {
                        n += 1;
                        let key = [random.next().to_be_bytes(), (n * 8 + t).to_be_bytes()].concat();
                        table.insert(&mut space, &key, SeqNo(n * 8 + t), EntryKind::Put, &t.to_le_bytes());
                        inserted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let inserted = inserted.load(Ordering::Relaxed) as usize;
    assert_eq!(table.entries() as usize, inserted);
    check_whole(&table, inserted, inserted);
}
