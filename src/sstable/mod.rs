//! L2: sorted tables on disk: columnar blocks, fence index, blocked bloom filter, footer.
//!
//! The bytes are drawn in `format.rs`. A table is written once by a `TableWriter` and never changed. A `TableReader`
//! answers a pinned `lookup` from cached blocks alone; what is not cached is read by `get` or a `TableCursor`, unpinned.
//!
//! Threads: a writer and a cursor belong to one thread at a time, a reader to any number.
//! Failure: every damaged byte is found before it is used; an answer is never wrong because of one.

mod block;
mod block_build;
mod blocks;
mod cursor;
mod dump;
mod filter;
mod format;
mod index;
mod loose;
mod properties;
mod reader;
mod salvage;
mod simd;
mod stretches;
mod survey;
mod writer;

pub use cursor::TableCursor;
pub use dump::{BlockPlace, BlockView, TableOutline, TablePart};
pub use loose::{read_data_payload, read_properties_payload};
pub use reader::TableReader;
pub use salvage::{LostRange, guess_database, salvage};
pub use writer::TableWriter;

use crate::base::compress::Compression;
use crate::base::ids::{KeyspaceId, SeqNo};
use crate::base::key::EntryKind;
use crate::cache::{Frame, FrameRef};
use std::ops::Range;
use std::sync::Arc;

/// How a table is written.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// Target bytes of an uncompressed data block.
    pub block_bytes: usize,
    /// Codec of the data blocks.
    pub compression: Compression,
    /// Target false-positive rate of the filter; 0 writes none.
    pub filter_fpr: f64,
    /// Whose table it is, if that is to be written into it.
    pub owner: Option<Arc<Owner>>,
}

/// The keyspace that a table belongs to: the manifest says so too; a repair that has none finds it in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: Vec<u8>,
}

/// What a finished table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSummary {
    /// Bytes of the file.
    pub size: u64,
    /// CRC-32 of the whole file.
    pub checksum: u32,
    /// Versions in it.
    pub entries: u64,
    /// Deletes among them.
    pub deletes: u64,
    /// Bytes of keys and values before compression.
    pub raw_bytes: u64,
    /// First user key.
    pub smallest: Vec<u8>,
    /// Last user key.
    pub largest: Vec<u8>,
    /// Smallest sequence number.
    pub smallest_seq: SeqNo,
    /// Largest sequence number.
    pub largest_seq: SeqNo,
}

/// How blocks are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadMode {
    /// Do not put blocks into the cache.
    pub no_fill_cache: bool,
    /// Read blocks from the file and check them, even when cached.
    pub verify_checksums: bool,
    /// Bytes to read ahead in scans; 0 lets the cursor choose.
    pub readahead_bytes: u32,
    /// Have the kernel read the surroundings of a block that is read from the file, once: for databases that fit into
    /// memory.
    pub read_around: bool,
}

/// A value inside a frame, counted.
#[derive(Clone)]
pub struct TableValue {
    /// Sequence number of the version.
    pub seq: SeqNo,
    /// Put or delete.
    pub kind: EntryKind,
    /// The block.
    pub frame: FrameRef,
    /// Where in the block's bytes the value lies.
    pub range: Range<usize>,
}

/// A data block of a table.
#[derive(Clone, Copy, Debug)]
pub struct BlockAt {
    block: u32,
    handle: format::Handle,
}

/// The answer of a lookup that does no I/O.
pub enum Lookup<'g> {
    /// The newest version at or below the bound.
    Found {
        /// Its sequence number.
        seq: SeqNo,
        /// Put or delete.
        kind: EntryKind,
        /// The value.
        value: &'g [u8],
        /// The frame that holds it.
        frame: &'g Frame,
    },
    /// Not in this table.
    Absent,
    /// A block that is not in the cache is needed, unpinned: where it is the first data block that may hold the key, this
    /// says which, for `TableReader::get_in`; else finish with `TableReader::get`.
    NeedBlock(Option<BlockAt>),
}

#[cfg(test)]
mod tests;
