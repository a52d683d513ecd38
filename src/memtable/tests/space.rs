//! What is set aside, what is refused, and that a grant always suffices.

use super::*;
use crate::error::Code;

fn sized(bytes_max: usize, single_bytes_max: usize) -> Arc<MemTable> {
    MemTable::new(MemTableConfig { bytes_max, single_bytes_max }).unwrap()
}

#[test]
fn fills_up_and_refuses_without_a_trace() {
    let table = sized(scaled(2 << 20, 64 << 10), 0);
    let mut random = Random::new(3);
    let mut keys = Vec::new();
    loop {
        let key = random.next().to_be_bytes();
        let Some(mut space) = table.reserve(1, 108) else { break };
        table.insert(&mut space, &key, SeqNo(keys.len() as u64 + 1), EntryKind::Put, &[7; 100]);
        keys.push(key);
    }
    let bytes = table.bytes();
    for _ in 0..100 {
        assert!(table.reserve(1, 108).is_none());
    }
    assert_eq!(table.bytes(), bytes);
    assert!(keys.iter().all(|key| get(&table, key, SeqNo::MAX.0).is_some()));
    // At least half of what was allowed went into keys and values.
    assert!(keys.len() * 108 > scaled(1 << 20, 32 << 10), "{}", keys.len());
}

#[test]
fn a_memtable_is_full_when_it_says_so() {
    let table = sized(64 << 10, 0);
    assert!(!table.is_full());
    let mut seq = 0u64;
    while let Some(mut space) = table.reserve(1, 8) {
        seq += 1;
        table.insert(&mut space, &seq.to_be_bytes(), SeqNo(seq), EntryKind::Put, b"");
    }
    assert!(seq > 400);
    assert!(table.bytes() + 64 >= 64 << 10);
}

#[test]
fn one_batch_may_be_larger_than_the_memtable_if_it_is_empty() {
    let value = vec![1u8; scaled(3 << 20, 16 << 10)];
    let single = MemTable::space_for(4, 4 * (value.len() + 1));
    let table = sized(4096, single);
    assert!(table.reserve(5, 5 * value.len() + single).is_none());
    let mut space = table.reserve(4, 4 * (value.len() + 1)).expect("an empty memtable takes it");
    for i in 0..4u8 {
        table.insert(&mut space, &[i], SeqNo(u64::from(i) + 1), EntryKind::Put, &value);
    }
    assert!(table.is_full());
    assert!(table.reserve(1, 2).is_none());
    assert!((0..4u8).all(|i| get(&table, &[i], 9).is_some_and(|(_, v)| v == value)));
    assert!(table.bytes() > 4 * value.len());
}

#[test]
fn one_batch_of_the_smallest_entries_fits_its_grant() {
    let count = scaled(200_000, 500) as u32;
    // Descending, ascending and mixed orders make the most of leaves.
    for order in 0..3u32 {
        let table = sized(4096, MemTable::space_for(count, 4 * count as usize));
        let mut space = table.reserve(count, 4 * count as usize).expect("an empty memtable takes it");
        for i in 0..count {
            let key = match order {
                0 => i,
                1 => u32::MAX - i,
                _ => i.wrapping_mul(2_654_435_761),
            };
            table.insert(&mut space, &key.to_be_bytes(), SeqNo(u64::from(i) + 1), EntryKind::Put, b"");
        }
        assert_eq!(table.entries(), u64::from(count));
        let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
        cursor.seek_first().unwrap();
        assert_eq!(forward(&mut cursor).len(), count as usize);
    }
}

#[test]
fn unused_space_of_the_last_reservation_comes_back() {
    let table = sized(1 << 20, 0);
    put(&table, b"key of some length", 1, b"value");
    let before = table.store.bytes();
    put(&table, b"key of some length", 2, b"value");
    // A version of its own needs 24 bytes and the value, not another key.
    assert_eq!(table.store.bytes() - before, 32);
}

#[test]
fn too_large_a_memtable_is_refused_or_cut_to_what_can_be_addressed() {
    match MemTable::new(MemTableConfig { bytes_max: usize::MAX, single_bytes_max: usize::MAX }) {
        Ok(table) => assert!(table.reserve(u32::MAX, 1 << 40).is_none()),
        Err(error) => assert_eq!(error.code(), Code::NoMem),
    }
}

#[test]
#[should_panic(expected = "exceeds its reservation")]
fn more_than_was_reserved_is_a_bug() {
    let table = table();
    let mut space = table.reserve(1, 10).expect("space");
    table.insert(&mut space, b"12345", SeqNo(1), EntryKind::Put, b"12345");
    table.insert(&mut space, b"x", SeqNo(2), EntryKind::Put, b"");
}

#[test]
#[should_panic(expected = "another memtable")]
fn a_reservation_serves_the_memtable_that_gave_it() {
    let (one, other) = (table(), table());
    let mut space = one.reserve(1, 10).expect("space");
    other.insert(&mut space, b"x", SeqNo(2), EntryKind::Put, b"");
}

#[test]
fn the_memory_of_a_memtable_serves_the_next_one_like_new() {
    let home = Arc::new(ArenaPool::default());
    let config = MemTableConfig { bytes_max: scaled(1 << 20, 32 << 10), single_bytes_max: 0 };
    let mut random = Random::new(11);
    for round in 0..6 {
        let kept = home.bytes();
        assert_eq!(kept > 0, round > 0);
        let table = MemTable::new_in(config.clone(), &home).unwrap();
        assert_eq!(home.bytes(), 0, "it is in use");
        let mut model = std::collections::BTreeMap::new();
        // Keys and values of other lengths each time, so that what was there before lies askew.
        let value_len = [100, 3, 700, 0, 41, 250][round];
        let mut seq = 0;
        while let Some(mut space) = table.reserve(1, 8 + value_len) {
            let key = (random.next() % 4000).to_be_bytes();
            seq += 1;
            let value = vec![seq as u8; value_len];
            table.insert(&mut space, &key, SeqNo(seq), EntryKind::Put, &value);
            model.insert(key.to_vec(), (seq, value));
        }
        for key in (0..4000u64).map(u64::to_be_bytes) {
            assert_eq!(get(&table, &key, u64::MAX >> 8), model.get(key.as_slice()).cloned());
        }
        let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
        cursor.seek_first().unwrap();
        let rows: Vec<_> = model.into_iter().map(|(key, (seq, value))| (key, seq, value)).collect();
        assert_eq!(forward(&mut cursor), rows);
    }
    home.clear();
    assert_eq!(home.bytes(), 0);
}
