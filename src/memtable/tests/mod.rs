//! Tests of the memtable: against a model (one thread), under contention (several), and of the space it sets aside.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod contention;
mod model;
mod space;
mod stopped;

use super::*;
use crate::base::iter::Cursor;

/// A small generator of test data; the seed is in every test, so a failure repeats.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Fewer rounds under Miri.
pub fn scaled(count: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { count }
}

pub fn table() -> Arc<MemTable> {
    let bytes_max = scaled(64 << 20, 256 << 10);
    MemTable::new(MemTableConfig { bytes_max, single_bytes_max: bytes_max }).unwrap()
}

pub fn put(table: &MemTable, key: &[u8], seq: u64, value: &[u8]) {
    let mut space = table.reserve(1, key.len() + value.len()).expect("space");
    table.insert(&mut space, key, SeqNo(seq), EntryKind::Put, value);
}

pub fn get(table: &MemTable, key: &[u8], bound: u64) -> Option<(u64, Vec<u8>)> {
    table.get(key, key_hash(key), SeqNo(bound)).map(|f| (f.seq.0, f.value.to_vec()))
}

type Row = (Vec<u8>, u64, Vec<u8>);

pub fn here(cursor: &MemCursor) -> Option<Row> {
    cursor.valid().then(|| {
        let entry = cursor.entry();
        assert_eq!(entry.seq, cursor.seq());
        (entry.key.to_vec(), entry.seq.0, entry.value.to_vec())
    })
}

pub fn forward(cursor: &mut MemCursor) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some(row) = here(cursor) {
        rows.push(row);
        cursor.next().unwrap();
    }
    rows
}

pub fn backward(cursor: &mut MemCursor) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some(row) = here(cursor) {
        rows.push(row);
        cursor.prev().unwrap();
    }
    rows
}
