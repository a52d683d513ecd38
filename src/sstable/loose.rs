//! Parts of a table read from loose bytes, as a reader does once their checksums are right: for fuzzers and tools.
//!
//! Threads: plain functions. Failure: `Corruption` or `Version`; whatever the bytes, no panic and no answer from outside
//! of them.

use super::block::BlockLayout;
use super::properties;
use crate::base::ids::SeqNo;
use crate::base::key::key_hash;
use crate::error::Result;

/// Reads the payload of a data block: looks `key` up as a get does, then walks over all entries. How many there are.
pub fn read_data_payload(payload: &[u8], key: &[u8]) -> Result<usize> {
    let layout = BlockLayout::validate(payload, 0..payload.len())?;
    if let Some(at) = layout.find(payload, key, key_hash(key) as u8, SeqNo::MAX.0) {
        std::hint::black_box(&payload[layout.value_range(payload, at)]);
    }
    let from = layout.lower_bound(payload, key);
    std::hint::black_box((from, layout.goes_on(payload, key)));
    let mut entry = Vec::new();
    for at in 0..layout.count {
        entry.clear();
        layout.key_into(payload, at, &mut entry);
        std::hint::black_box((
            &payload[layout.value_range(payload, at)],
            layout.seq(payload, at),
            layout.kind(payload, at),
        ));
    }
    Ok(layout.count)
}

/// Reads the payload of a properties block; the entries it tells of.
pub fn read_properties_payload(payload: &[u8]) -> Result<u64> {
    properties::decode(payload).map(|summary| summary.entries)
}
