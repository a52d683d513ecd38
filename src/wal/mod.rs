//! L2: the log: preallocated segments, lock-free reservation, in-order publishing, replay.
//!
//! A write: `payload_crc`, `Segment::reserve` (one atomic add gives offset and sequence numbers), `Segment::write`, the
//! owner's own insert, `Publisher::mark_done`, `Publisher::wait_visible`. With a sync between: `mark_stored`,
//! `wait_stored` (own end), `Segment::sync` up to `stored()`, a mark record with the new watermark, `mark_done`.
//!
//! Invariants across the files
//! - I1  Nothing fails between a reservation and its `mark_*`, except I/O; then `Publisher::fail` is called.
//! - I2  A segment's predecessor names it in its seal only when its header is durable, and no record is acknowledged as
//!   durable before all segments before its own are synced.
//! - I3  What replay accepts is a prefix of what was reserved, at least up to the highest watermark on the device.
//!
//! Threads: everything here may be called from any thread; only `reserve`, `visible` and the marks of a record less than
//! a ring ahead are free of locks and system calls. Failure: see each file.

use crate::base::ids::{FileNumber, SeqNo};
use crate::base::log_sink::Logger;
use crate::fs::Fs;
use std::path::PathBuf;
use std::sync::Arc;

mod check;
mod dump;
pub mod format;
mod names;
mod pool;
mod publish;
mod replay;
mod reserve;
mod salvage;
mod scan;
mod segment;
mod window;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use check::{Checked, SegmentFault, check};
pub use dump::{SegmentHead, SegmentItem, SegmentRecord, dump_segment, segment_head};
pub use format::payload_crc;
pub use pool::{PreparedSegment, SegmentPool};
pub use publish::Publisher;
pub use replay::{Apply, replay, replay_bytes};
pub use salvage::{LogLoss, SalvagedLog, database_of, salvage};
pub use segment::Segment;

/// How records reach the page cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalIo {
    /// Mapped where that is safe, else `write(2)`.
    Auto,
    /// Mapped, or an error.
    Mmap,
    /// `write(2)` only.
    Write,
}

/// Settings of the log.
#[derive(Clone)]
pub struct LogConfig {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The database folder.
    pub dir: PathBuf,
    /// The database's identity.
    pub database: u128,
    /// How records are stored.
    pub io: WalIo,
    /// Largest regular segment in bytes; segments grow up to it.
    pub segment_bytes_max: u64,
    /// Writes are synced by default.
    pub syncs: bool,
    /// Where notes go.
    pub logger: Logger,
}

/// What a record is. DO NOT RENUMBER: on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RecordKind {
    /// A batch: `count` entries from `first_seq`.
    Batch = 1,
    /// An empty record that carries a new durable watermark.
    Mark = 2,
    /// The end of a segment: the next one exists.
    Seal = 3,
    /// A reservation that was given up; its sequence numbers are skipped.
    Pad = 4,
    /// The first record of a segment: where the previous one ended and whether that was durable.
    Start = 5,
}

/// A place in a segment and in the sequence, reserved in one atomic add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Byte offset of the record.
    pub offset: u64,
    /// Its first sequence number.
    pub first_seq: SeqNo,
    /// How many sequence numbers it holds.
    pub count: u32,
}

/// Where a sealed segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedAt {
    /// First byte behind the last reserved record (where the seal record stands).
    pub offset: u64,
    /// The sequence number that the next segment starts with.
    pub next_seq: SeqNo,
}

/// The answer to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Yours.
    Ticket(Ticket),
    /// Yours is the reservation that crossed the end: write the seal, start the next segment.
    Seal(SealedAt),
    /// The segment is closed; another thread brings the next one.
    Full,
}

/// What the start record of a segment says of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its number.
    pub number: FileNumber,
    /// Where it ended.
    pub end: SealedAt,
    /// The durable watermark at that time.
    pub durable: SeqNo,
}

/// What the manifest knows of the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayFrom {
    /// Segments below this number hold nothing that is needed.
    pub first_segment: FileNumber,
    /// Everything up to and including this is in tables of every keyspace.
    pub flushed_seq: SeqNo,
    /// After a clean close: last segment, its length and the last sequence number. Then any damage is an error.
    pub clean_end: Option<CleanEnd>,
}

/// Where the log ended at a clean close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanEnd {
    /// The last segment.
    pub number: FileNumber,
    /// Its length in bytes.
    pub offset: u64,
    /// The last sequence number used.
    pub last_seq: SeqNo,
}

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// The last sequence number that was applied.
    pub last_seq: SeqNo,
    /// The highest sequence number seen in any segment, dropped ones too: new ones go on above it.
    pub highest_seen: SeqNo,
    /// Every segment file met.
    pub segments: Vec<FileNumber>,
    /// Bytes of records applied.
    pub bytes: u64,
    /// Why it stopped, for the log, if before the end of the last segment.
    pub torn: Option<String>,
}
