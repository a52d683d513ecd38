//! What the database counts.

use crate::base::metrics::Counter;
use crate::base::sync::{AtomicU64, Ordering};

/// Counters and gauges of one open database.
#[derive(Default)]
pub struct Stats {
    /// Point reads.
    pub reads: Counter,
    /// Entries written.
    pub writes: Counter,
    /// Bytes of records written.
    pub write_bytes: Counter,
    /// Iterators opened.
    pub iterators: Counter,
    /// Syncs of log segments.
    pub wal_syncs: Counter,
    /// Flushes finished.
    pub flush_jobs_run: Counter,
    /// Bytes of tables that flushes wrote.
    pub flush_bytes_written: Counter,
    /// Compactions finished, trivial moves included.
    pub compaction_jobs_run: Counter,
    /// Compactions running now.
    pub compaction_jobs_running: AtomicU64,
    /// Bytes that compactions read.
    pub compaction_bytes_read: Counter,
    /// Bytes that compactions wrote.
    pub compaction_bytes_written: Counter,
    /// Compactions whose merge ran in more than one part at once.
    pub compaction_parallel_merges: Counter,
    /// Microseconds that writers waited for background work.
    pub stall_micros: Counter,
}

impl Stats {
    /// A compaction begins; ends when the token is dropped.
    pub fn compaction_begins(&self) -> Running<'_> {
        // Relaxed: a gauge for people.
        self.compaction_jobs_running.fetch_add(1, Ordering::Relaxed);
        Running(&self.compaction_jobs_running)
    }
}

/// Counts a running job until it is dropped.
pub struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
