//! What an engine must do to be measured. One type per engine; the workloads are generic, so that no dynamic call stands
//! between the clock and the C interface.
//!
//! Failure: every unexpected answer of an engine ends the process with a text; a benchmark that goes on is a lie.

pub mod fjall;
pub mod leveldb;
pub mod lmdb;
pub mod lsm;
pub mod rocksdb;
pub mod tidesdb;

use crate::data::KEY_LEN;
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
    /// Whether the writes to come will ask to be synced, for engines that decide it when they are opened.
    pub is_synced: bool,
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
    /// Whether flushes or compactions run or are due; none if the engine does not tell.
    fn is_busy(&self) -> Option<bool>;
    /// What holds for its numbers: what a write without sync survives, what is checksummed, how it is compressed.
    fn mode(settings: &Settings) -> Mode;
    /// What it is set to, for the reader of the results.
    fn describe(settings: &Settings) -> String;
}

/// Under what conditions numbers were measured; stands beside each of them.
#[derive(Clone, Debug)]
pub struct Mode {
    /// What a write survives when it is not synced: `log` (the process), or in words.
    pub durability: &'static str,
    /// Whether it is there after the process died.
    pub survives_process: bool,
    /// Checksums that are verified when data is read, or `no checksums`.
    pub checksums: &'static str,
    /// The codec.
    pub compression: &'static str,
}

impl Mode {
    /// In a few words.
    pub fn text(&self, is_synced: bool) -> String {
        let durability = if is_synced { "fsync" } else { self.durability };
        format!("{durability}, {}, {}", self.checksums, self.compression)
    }
}

/// One thread's access to an engine.
pub trait Session {
    /// An iterator.
    type Cursor<'a>: Cursor
    where
        Self: 'a;

    /// Writes one entry; synced to the device before it returns if `is_synced`.
    fn put(&mut self, key: &[u8], value: &[u8], is_synced: bool);
    /// Deletes one entry.
    fn delete(&mut self, key: &[u8]);
    /// Adds to the session's batch.
    fn batch_put(&mut self, key: &[u8], value: &[u8]);
    /// Writes the session's batch and empties it.
    fn batch_write(&mut self);
    /// Reads into `buffer`; the value's length.
    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize>;
    /// Reads several, each answer given to `each` with its place; by the engine's own call if it has one. `buffer` takes
    /// a value.
    fn multi_get(&mut self, keys: &[[u8; KEY_LEN]], buffer: &mut [u8], each: &mut impl FnMut(usize, Option<&[u8]>)) {
        for (place, key) in keys.iter().enumerate() {
            let len = self.get(key, buffer);
            each(place, len.map(|len| &buffer[..len]));
        }
    }
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
