//! What an engine must do to be measured. One type per engine; the workloads are generic, so that no dynamic call stands
//! between the clock and the C interface.
//!
//! Failure: every unexpected answer of an engine ends the process with a text; a benchmark that goes on is a lie.

pub mod leveldb;
pub mod lmdb;
pub mod lsm;
pub mod rocksdb;

use std::path::Path;

/// What all engines get alike.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The shared library.
    pub library: String,
    /// Bytes of the block cache.
    pub cache_bytes: usize,
    /// Bytes of a memtable.
    pub memtable_bytes: usize,
    /// Bytes of a block before compression.
    pub block_bytes: usize,
    /// LZ4 (the engine's own fast codec where it has no LZ4) or none.
    pub is_compressed: bool,
    /// A bag of further settings for the engine, `name=value`.
    pub extra: Vec<(String, String)>,
}

/// An open engine.
pub trait Engine: Sync + Sized {
    /// What one thread uses.
    type Session<'a>: Session
    where
        Self: 'a;

    /// Opens or creates a database.
    fn open(dir: &Path, settings: &Settings) -> Self;
    /// Closes it.
    fn close(self);
    /// A thread's access.
    fn session(&self) -> Self::Session<'_>;
    /// Writes the memory to tables and waits.
    fn flush(&self);
    /// Compacts all into the last level and waits.
    fn compact(&self);
    /// Whether flushes or compactions run or are due.
    fn is_busy(&self) -> bool;
    /// What a write without sync survives, in words.
    fn durability() -> &'static str;
}

/// One thread's access to an engine.
pub trait Session {
    /// An iterator.
    type Cursor<'a>: Cursor
    where
        Self: 'a;

    /// Writes one entry; synced to the device before it returns if `is_synced`.
    fn put(&mut self, key: &[u8], value: &[u8], is_synced: bool);
    /// Adds to the session's batch.
    fn batch_put(&mut self, key: &[u8], value: &[u8]);
    /// Writes the session's batch and empties it.
    fn batch_write(&mut self);
    /// Reads into `buffer`; the value's length.
    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize>;
    /// An iterator over now.
    fn cursor(&mut self) -> Self::Cursor<'_>;
}

/// An iterator. The moves answer whether it stands on an entry.
pub trait Cursor {
    /// To the first entry.
    fn first(&mut self) -> bool;
    /// To the last entry.
    fn last(&mut self) -> bool;
    /// To the first entry at or above `key`.
    fn seek(&mut self, key: &[u8]) -> bool;
    /// One step forward.
    fn next(&mut self) -> bool;
    /// One step back.
    fn prev(&mut self) -> bool;
    /// The entry it stands on.
    fn entry(&self) -> (&[u8], &[u8]);
    /// From the present entry on, as many as the engine gives at once, to `each`; false at the end. The engine's fastest
    /// call for a scan: the default is a step at a time.
    fn read_forward(&mut self, each: &mut impl FnMut(&[u8], &[u8])) -> bool {
        let (key, value) = self.entry();
        each(key, value);
        self.next()
    }
}

/// Ends the process with a text.
pub fn fail(what: &str) -> ! {
    eprintln!("lsm-bench: {what}");
    std::process::exit(1);
}

/// The value, or the end.
pub fn need<T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|text| fail(&text))
}

/// Bytes that C owns.
///
/// # Safety
/// `data` is readable for `len` bytes while the result is used; it may be NULL when `len` is 0.
pub unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: this function's contract.
    unsafe { std::slice::from_raw_parts(data, len) }
}
