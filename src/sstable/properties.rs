//! The properties block: what the table holds, so that a repair can rebuild the manifest's line about it.
//!
//!     properties := (tag: varint, len: varint, bytes)*         tags ascending; numbers are varints
//!     1 entries   2 deletes   3 raw_bytes   4 smallest key   5 largest key   6 smallest seq   7 largest seq
//!     8 block_bytes   9 codec asked for
//!     128 number of its keyspace   129 name of its keyspace       for a repair without a manifest; not in older tables
//!
//! Tags up to 127 must be known to the reader; those from 128 on may be skipped.
//!
//! Threads: plain functions. Failure: `Corruption`, `Version` for an unknown tag below 128.

use super::{Owner, TableConfig, TableSummary};
use crate::base::codec::{Reader, put_bytes, put_varint};
use crate::base::ids::{KeyspaceId, SeqNo};
use crate::base::key::{KEY_LEN_MAX, KEYSPACE_NAME_MAX};
use crate::error::{Code, Error, Result};

const ENTRIES: u64 = 1;
const DELETES: u64 = 2;
const RAW_BYTES: u64 = 3;
const SMALLEST: u64 = 4;
const LARGEST: u64 = 5;
const SMALLEST_SEQ: u64 = 6;
const LARGEST_SEQ: u64 = 7;
const BLOCK_BYTES: u64 = 8;
const CODEC: u64 = 9;
const OWNER_ID: u64 = 128;
const OWNER_NAME: u64 = 129;
/// Tags from here on may be skipped by a reader that does not know them.
const OPTIONAL: u64 = 128;

/// Most bytes of a properties block.
pub(super) const PROPERTIES_MAX: usize = 2 * KEY_LEN_MAX + 4096;

/// The bytes of the block.
pub(super) fn encode(summary: &TableSummary, config: &TableConfig) -> Vec<u8> {
    let mut out = Vec::new();
    let number = |tag: u64, value: u64| {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        (tag, bytes)
    };
    let fields = [
        number(ENTRIES, summary.entries),
        number(DELETES, summary.deletes),
        number(RAW_BYTES, summary.raw_bytes),
        (SMALLEST, summary.smallest.clone()),
        (LARGEST, summary.largest.clone()),
        number(SMALLEST_SEQ, summary.smallest_seq.0),
        number(LARGEST_SEQ, summary.largest_seq.0),
        number(BLOCK_BYTES, config.block_bytes as u64),
        number(CODEC, config.compression as u64),
    ];
    let owner = config.owner.as_ref().map(|o| [number(OWNER_ID, u64::from(o.id.0)), (OWNER_NAME, o.name.clone())]);
    for (tag, bytes) in fields.iter().chain(owner.iter().flatten()) {
        put_varint(&mut out, *tag);
        put_bytes(&mut out, bytes);
    }
    out
}

/// The keyspace that the block names, if it does so rightly.
pub(super) fn owner(bytes: &[u8]) -> Option<Owner> {
    let mut r = Reader::new(bytes, "table properties");
    let (mut id, mut name) = (None, None);
    while !r.is_empty() {
        match (r.varint().ok()?, r.bytes(PROPERTIES_MAX).ok()?) {
            (OWNER_ID, field) => id = u32::try_from(Reader::new(field, "table property").varint().ok()?).ok(),
            (OWNER_NAME, field) => name = Some(field.to_vec()),
            _ => {}
        }
    }
    let name = name.filter(|name| (1..=KEYSPACE_NAME_MAX).contains(&name.len()))?;
    Some(Owner { id: KeyspaceId(id?), name })
}

/// Reads the block; `size` and `checksum` of the result are left for the caller.
pub(super) fn decode(bytes: &[u8]) -> Result<TableSummary> {
    let mut r = Reader::new(bytes, "table properties");
    let mut summary = TableSummary::default();
    let mut seen = 0u32;
    let mut last = 0;
    while !r.is_empty() {
        let tag = r.varint()?;
        let field = r.bytes(PROPERTIES_MAX)?;
        if tag <= last {
            return Err(Error::corruption(format!("table properties: tag {tag} behind {last}")));
        }
        last = tag;
        let number = || -> Result<u64> {
            let mut f = Reader::new(field, "table property");
            let value = f.varint()?;
            if f.is_empty() { Ok(value) } else { Err(Error::corruption(format!("table property {tag}: extra bytes"))) }
        };
        match tag {
            ENTRIES => summary.entries = number()?,
            DELETES => summary.deletes = number()?,
            RAW_BYTES => summary.raw_bytes = number()?,
            SMALLEST => summary.smallest = field.to_vec(),
            LARGEST => summary.largest = field.to_vec(),
            SMALLEST_SEQ => summary.smallest_seq = SeqNo(number()?),
            LARGEST_SEQ => summary.largest_seq = SeqNo(number()?),
            BLOCK_BYTES | CODEC => drop(number()?),
            OPTIONAL.. => {}
            _ => return Err(Error::new(Code::Version, format!("table properties: unknown tag {tag}"))),
        }
        if tag <= LARGEST_SEQ {
            seen |= 1 << tag;
        }
    }
    if seen != 0b1111_1110 {
        return Err(Error::corruption(format!("table properties: fields are missing ({seen:b})")));
    }
    let ordered = summary.smallest <= summary.largest
        && summary.smallest_seq <= summary.largest_seq
        && summary.largest_seq <= SeqNo::MAX
        && summary.entries > 0
        && summary.deletes <= summary.entries
        && summary.largest.len() <= KEY_LEN_MAX
        && summary.smallest.len() <= KEY_LEN_MAX;
    if ordered { Ok(summary) } else { Err(Error::corruption("table properties: fields contradict each other")) }
}
