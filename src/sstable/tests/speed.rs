//! Figures, to be compared with the prototypes: `cargo test --release --lib sstable::tests::speed -- --ignored --nocapture`.
#![expect(clippy::print_stderr, reason = "a measurement tells its figures")]

use super::*;
use crate::base::epoch;
use crate::base::iter::{Cursor, View};
use crate::base::key::key_hash;
use crate::sstable::{Lookup, ReadMode};
use std::hint::black_box;

fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^ (x >> 33)
}

fn key(i: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    key[..8].copy_from_slice(&(i * 2).to_be_bytes());
    key
}

/// Thread CPU time of the best of three runs, in nanoseconds an operation.
fn time(name: &str, n: u64, mut f: impl FnMut(u64)) {
    let cpu = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("linux");
        text.split(' ').next().and_then(|t| t.parse::<u64>().ok()).expect("a number")
    };
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = cpu();
        for i in 0..n {
            f(i);
        }
        best = best.min((cpu() - start) as f64 / n as f64);
    }
    eprintln!("{name:<60}{best:>9.1} ns");
}

#[test]
#[ignore = "a measurement"]
fn writing() {
    let n = 1_000_000u64;
    let value: Vec<u8> = (0..1 << 20).map(|i| if i % 2 == 0 { mix(i) as u8 } else { b'v' }).collect();
    for (name, codec) in [("write, raw", Compression::None), ("write, LZ4", Compression::Lz4)] {
        let file = MemFile::with(vec![0; 160 << 20]);
        let mut writer = TableWriter::new(file.clone(), IDENTITY, config(4096, codec, 0.01));
        time(name, n, |i| {
            if writer.entries() == n {
                let new = TableWriter::new(file.clone(), IDENTITY, config(4096, codec, 0.01));
                std::mem::replace(&mut writer, new).finish().expect("written");
            }
            let at = (i * 100) as usize % ((1 << 20) - 128);
            let entry = Entry { key: &key(i), seq: SeqNo(i), kind: EntryKind::Put, value: &value[at..at + 100] };
            writer.add(entry).expect("in order");
        });
    }
}

#[test]
#[ignore = "a measurement"]
fn figures() {
    let n = 1_000_000u64;
    let value: Vec<u8> = (0..4096u64).map(|i| mix(i) as u8).collect();
    for codec in [Compression::None, Compression::Lz4] {
        eprintln!("{codec:?}");
        let file = MemFile::with(Vec::new());
        let mut writer = TableWriter::new(file.clone(), IDENTITY, config(4096, codec, 0.01));
        for i in 0..n {
            let entry = Entry { key: &key(i), seq: SeqNo(1), kind: EntryKind::Put, value: &value[..100] };
            writer.add(entry).expect("in order");
        }
        writer.finish().expect("written");
        let reader = open(&file, 1 << 30).expect("opens");
        for i in 0..n {
            let hash = key_hash(&key(i));
            black_box(reader.get(&key(i), hash, SeqNo::MAX, ReadMode::default()).expect("readable"));
        }
        lookups(&reader, n);
        parts(&reader, n);
        scans(&reader, n);
        uncached(&file, n);
    }
}

fn lookups(reader: &Arc<TableReader>, n: u64) {
    let last = SeqNo::MAX;
    let mut out = [0u8; 128];
    time("lookup hit, random: pin + hash + lookup + copy", n, |i| {
        let key = key(mix(i) % n);
        let guard = epoch::pin();
        match reader.lookup(&key, key_hash(&key), last, &guard) {
            Lookup::Found { value, .. } => out[..value.len()].copy_from_slice(value),
            _ => panic!("missing"),
        }
        black_box(&out);
    });
    time("lookup hit, hot 2048 keys", n, |i| {
        let key = key(mix(i) % 2048);
        let guard = epoch::pin();
        match reader.lookup(&key, key_hash(&key), last, &guard) {
            Lookup::Found { value, .. } => out[..value.len()].copy_from_slice(value),
            _ => panic!("missing"),
        }
        black_box(&out);
    });
    time("lookup miss", n, |i| {
        let mut key = key(mix(i) % n);
        key[15] = b'1';
        let guard = epoch::pin();
        black_box(matches!(reader.lookup(&key, key_hash(&key), last, &guard), Lookup::Found { .. }));
    });
    time("get hit, random", n, |i| {
        let key = key(mix(i) % n);
        black_box(reader.get(&key, key_hash(&key), last, ReadMode::default()).expect("readable"));
    });
}

fn parts(reader: &Arc<TableReader>, n: u64) {
    let last = SeqNo::MAX;
    let mut out = [0u8; 128];
    let index = |key: &[u8], guard: &epoch::Guard| {
        let p = reader.top.find(key).expect("inside");
        let frame = reader.cache.peek(&reader.slots, reader.top.blocks + p, guard).expect("cached");
        let layout = crate::sstable::index::IndexLayout::parse(frame.bytes());
        layout.first_block + layout.find(frame.bytes(), key).expect("inside") as u32
    };
    time("  of it: top index", n, |i| {
        black_box(reader.top.find(&key(mix(i) % n)));
    });
    time("  of it: top index and partition", n, |i| {
        black_box(index(&key(mix(i) % n), &epoch::pin()));
    });
    time("  of it: and the block's first byte", n, |i| {
        let guard = epoch::pin();
        let block = index(&key(mix(i) % n), &guard);
        let frame = reader.cache.peek(&reader.slots, block, &guard).expect("cached");
        black_box(frame.bytes()[0]);
    });
    let block_of: Vec<u32> = (0..n).map(|i| index(&key(i), &epoch::pin())).collect();
    time("  of it: search in a known block", n, |i| {
        let guard = epoch::pin();
        let i = mix(i) % n;
        let key = key(i);
        let frame = reader.cache.peek(&reader.slots, block_of[i as usize], &guard).expect("cached");
        let bytes = frame.bytes();
        let layout = crate::sstable::block::BlockLayout::parse(bytes, 0);
        let at = layout.find(bytes, &key, key_hash(&key) as u8, last.0).expect("there");
        let value = &bytes[layout.value_range(bytes, at)];
        out[..value.len()].copy_from_slice(value);
        black_box(&out);
    });
}

fn scans(reader: &Arc<TableReader>, n: u64) {
    let last = SeqNo::MAX;
    let mut cursor = reader.cursor(View::Newest(last), ReadMode::default());
    let mut sum = 0u64;
    cursor.seek_first().expect("readable");
    time("scan forward, cached", n, |_| {
        if !cursor.valid() {
            cursor.seek_first().expect("readable");
        }
        let e = cursor.entry();
        sum += u64::from(e.key[0]) + u64::from(e.value[0]);
        cursor.next().expect("readable");
    });
    let hot = n / 200;
    cursor.seek_first().expect("readable");
    let mut left = hot;
    time("scan forward, hot 5000 entries", n, |_| {
        if left == 0 {
            cursor.seek_first().expect("readable");
            left = hot;
        }
        left -= 1;
        let e = cursor.entry();
        sum += u64::from(e.key[0]) + u64::from(e.value[0]);
        cursor.next().expect("readable");
    });
    cursor.seek_last().expect("readable");
    time("scan backward, cached", n, |_| {
        if !cursor.valid() {
            cursor.seek_last().expect("readable");
        }
        let e = cursor.entry();
        sum += u64::from(e.key[0]) + u64::from(e.value[0]);
        cursor.prev().expect("readable");
    });
    time("seek_ge, random", n / 4, |i| {
        cursor.seek_ge(&key(mix(i) % n)).expect("readable");
        sum += u64::from(cursor.entry().key[0]);
    });
    time("seek_ge + 10 next, random", n / 10, |i| {
        cursor.seek_ge(&key(mix(i) % (n - 20))).expect("readable");
        for _ in 0..10 {
            sum += u64::from(cursor.entry().value[0]);
            cursor.next().expect("readable");
        }
    });
    black_box(sum);
    let mut all = reader.cursor(View::All, ReadMode::default());
    all.seek_first().expect("readable");
    time("View::All scan (file in memory)", n, |_| {
        if !all.valid() {
            all.seek_first().expect("readable");
        }
        let e = all.entry();
        black_box(e.key[0] ^ e.value[0]);
        all.next().expect("readable");
    });
}

fn uncached(file: &Arc<MemFile>, n: u64) {
    let last = SeqNo::MAX;
    let mut sum = 0u64;
    let uncached = open(file, 0).expect("opens");
    let mut cursor = uncached.cursor(View::Newest(last), ReadMode::default());
    cursor.seek_first().expect("readable");
    time("scan forward, cache of 0 bytes (file in memory)", n, |_| {
        if !cursor.valid() {
            cursor.seek_first().expect("readable");
        }
        let e = cursor.entry();
        sum += u64::from(e.key[0]) + u64::from(e.value[0]);
        cursor.next().expect("readable");
    });
    time("get, cache of 0 bytes (file in memory)", n / 20, |i| {
        let key = key(mix(i) % n);
        black_box(uncached.get(&key, key_hash(&key), last, ReadMode::default()).expect("readable"));
    });
    black_box(sum);
}
