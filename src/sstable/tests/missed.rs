//! Blocks that are not in the cache: which are read, and what the kernel is asked to read with them.

use super::{Model, cache, config, write};
use crate::base::compress::Compression;
use crate::base::epoch;
use crate::base::ids::SeqNo;
use crate::base::key::{EntryKind, key_hash};
use crate::fs::File;
use crate::sstable::{Lookup, ReadMode, TableReader};
use std::cmp::Reverse;
use std::sync::Arc;

const STRETCH: u64 = 128 << 10;

fn entries(count: u64) -> Model {
    (0..count)
        .map(|i| {
            let value = (0..100u64).map(|j| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (j % 57)) as u8).collect();
            ((i.to_be_bytes().to_vec(), Reverse(1)), (EntryKind::Put, value))
        })
        .collect()
}

fn read(reader: &TableReader, i: u64, mode: ReadMode) -> Option<usize> {
    let key = i.to_be_bytes();
    reader.get(&key, key_hash(&key), SeqNo(1), mode).expect("readable").map(|value| value.range.len())
}

#[test]
fn each_stretch_of_a_table_is_asked_for_once_and_only_where_that_is_wanted() {
    let model = entries(20_000);
    let (file, summary) = write(&model, config(4096, Compression::None, 0.01));
    // Nothing is kept: every read goes to the file.
    let reader =
        TableReader::open(file.clone(), super::IDENTITY, file.len().expect("length"), cache(0)).expect("opens");
    let around = ReadMode { read_around: true, ..ReadMode::default() };
    for i in (0..20_000).step_by(97) {
        assert_eq!(read(&reader, i, ReadMode::default()), Some(100));
    }
    assert!(file.prefetched.read().is_empty(), "nobody asked for more than blocks");

    assert_eq!(read(&reader, 10_000, around), Some(100));
    let first = file.prefetched.read().clone();
    assert!((2..=4).contains(&first.len()), "filter and index, which may lie in one, and block: {first:?}");
    for i in (0..20_000).chain(0..20_000).step_by(7) {
        assert_eq!(read(&reader, i, around), Some(100));
    }
    let mut asked = file.prefetched.read().clone();
    asked.sort_unstable();
    for &(at, len) in &asked {
        assert_eq!((at % STRETCH, len), (0, STRETCH.min(summary.size - at)), "whole stretches within the file");
    }
    assert!(asked.is_sorted_by(|a, b| a.0 < b.0), "each once");
    assert_eq!(asked.len() as u64, (summary.size).div_ceil(STRETCH), "and all of them");
}

#[test]
fn a_missed_block_is_named_and_read_alone() {
    let model = entries(20_000);
    for compression in [Compression::None, Compression::Lz4] {
        let (file, _) = write(&model, config(4096, compression, 0.01));
        let reader = super::open(&file, 64 << 20).expect("opens");
        // Filter and index come with the first key of each partition.
        for i in (0..20_000).step_by(500) {
            read(&reader, i, ReadMode::default());
        }
        let mut named = 0;
        for i in (250..20_000u64).step_by(500) {
            let (key, guard) = (i.to_be_bytes(), epoch::pin());
            let hash = key_hash(&key);
            let Lookup::NeedBlock(Some(missed)) = reader.lookup(&key, hash, SeqNo(1), &guard) else { continue };
            drop(guard);
            let before = file.reads();
            let value = reader.get_in(missed, &key, hash, SeqNo(1), ReadMode::default()).expect("readable");
            let value = value.expect("the key is there");
            assert_eq!(value.frame.bytes()[value.range.clone()], model[&(key.to_vec(), Reverse(1))].1);
            assert_eq!(file.reads() - before, 1, "one read");
            let other = (i + 5_000_000).to_be_bytes();
            let absent = reader.get_in(missed, &other, key_hash(&other), SeqNo(1), ReadMode::default());
            assert!(absent.expect("readable").is_none(), "a key that is not in the block");
            let guard = epoch::pin();
            assert!(matches!(reader.lookup(&key, hash, SeqNo(1), &guard), Lookup::Found { .. }), "kept");
            named += 1;
        }
        assert!(named > 30, "{named} of 40 blocks were named");
    }
}

#[test]
fn raw_and_packed_blocks_may_follow_each_other() {
    // Every tenth block's worth of entries cannot be packed: the hint of the block before is wrong then.
    let mut model = Model::new();
    let mut random = super::Random(99);
    for i in 0..8_000u64 {
        let value = if i / 40 % 10 == 0 { random.bytes(100) } else { vec![b'x'; 100] };
        model.insert((i.to_be_bytes().to_vec(), Reverse(1)), (EntryKind::Put, value));
    }
    let (file, _) = write(&model, config(4096, Compression::Lz4, 0.01));
    let reader: Arc<TableReader> = super::open(&file, 0).expect("opens");
    for i in (0..8_000u64).chain((0..8_000).rev().step_by(40)) {
        let key = i.to_be_bytes();
        let value = reader.get(&key, key_hash(&key), SeqNo(1), ReadMode::default()).expect("readable").expect("there");
        assert_eq!(value.frame.bytes()[value.range], model[&(key.to_vec(), Reverse(1))].1, "key {i}");
    }
}
