//! The plain values that calls take and answer.

use super::Snapshot;
use crate::base::ids::SeqNo;
use crate::sstable::ReadMode;

/// How far a write must have got before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// The database's default.
    #[default]
    Default,
    /// May wait in the process.
    Memory,
    /// In the page cache.
    Os,
    /// On the device.
    Fsync,
}

/// Per-write settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Durability level.
    pub durability: Durability,
    /// Gives up with `Timeout`, before any effect, after so many microseconds; 0 never.
    pub deadline_micros: u64,
}

/// Per-read settings.
#[derive(Clone, Default)]
pub struct ReadOptions {
    /// Read as of this snapshot, or of now.
    pub snapshot: Option<Snapshot>,
    /// First key an iterator shows.
    pub lower: Option<Vec<u8>>,
    /// First key an iterator does not show.
    pub upper: Option<Vec<u8>>,
    /// Only keys that start so.
    pub prefix: Option<Vec<u8>>,
    /// Gives up with `Timeout` after so many microseconds; 0 never.
    pub deadline_micros: u64,
    /// Hidden entries an iterator step may pass; 0: no limit.
    pub max_skip: u64,
    /// Bytes to read ahead in scans; 0: automatic.
    pub readahead_bytes: u32,
    /// Do not put blocks into the cache.
    pub no_fill_cache: bool,
    /// Read and check blocks even when they are cached.
    pub verify_checksums: bool,
    /// Iterators show no values.
    pub keys_only: bool,
}

impl ReadOptions {
    #[inline]
    pub(in crate::db) fn mode(&self) -> ReadMode {
        ReadMode {
            no_fill_cache: self.no_fill_cache,
            verify_checksums: self.verify_checksums,
            readahead_bytes: self.readahead_bytes,
            read_around: false,
        }
    }
}

/// Where `Iter::seek` goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seek {
    /// First entry.
    First,
    /// Last entry.
    Last,
    /// First `>= key`.
    Ge,
    /// First `> key`.
    Gt,
    /// Last `<= key`.
    Le,
    /// Last `< key`.
    Lt,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Ascending.
    Forward,
    /// Descending.
    Backward,
}

/// One entry that an iterator shows; borrowed until its next call.
#[derive(Clone, Copy, Debug)]
pub struct IterEntry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; empty with `keys_only`.
    pub value: &'a [u8],
    /// Sequence number of the version.
    pub seq: SeqNo,
}
