//! fjall behind C functions: what `lsm-bench` needs and no more. One database is one keyspace.
//!
//! Codes: 0 done, 1 not found or at the end, -1 failed, with the reason on standard error. A key or value that an
//! iterator hands out is valid until its next move.
//!
//! Threads: any number on a database; a batch or an iterator belongs to one.
#![allow(clippy::missing_safety_doc, reason = "one contract: live handles, and memory readable for its length")]

use fjall::config::{BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{CompressionType, Database, Guard, Iter, Keyspace, KeyspaceCreateOptions, KvPair, OwnedWriteBatch, PersistMode};
use std::ffi::{CStr, c_char, c_int};

const DONE: c_int = 0;
const NONE: c_int = 1;
const FAILED: c_int = -1;

/// An open database.
pub struct Db {
    database: Database,
    keyspace: Keyspace,
}

/// A batch: made anew after each write.
pub struct Batch {
    inner: Option<OwnedWriteBatch>,
}

/// An iterator: each seek makes a new one of fjall's, which are ranges.
pub struct Cursor {
    keyspace: Keyspace,
    inner: Option<Iter>,
    entry: Option<KvPair>,
}

fn code<T>(what: &str, result: fjall::Result<T>) -> c_int {
    match result {
        Ok(_) => DONE,
        Err(error) => {
            eprintln!("fjall: {what}: {error:?}");
            FAILED
        }
    }
}

unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's memory, readable for `len` bytes.
    unsafe { std::slice::from_raw_parts(data, len) }
}

fn open(path: &str, cache: u64, memtable: u64, block: u32, is_compressed: bool, threads: usize) -> fjall::Result<Db> {
    let database = Database::builder(path).cache_size(cache).worker_threads(threads).open()?;
    let keyspace = database.keyspace("default", || {
        let compression = if is_compressed { CompressionType::Lz4 } else { CompressionType::None };
        let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable)
            .data_block_size_policy(BlockSizePolicy::all(block))
            .data_block_compression_policy(CompressionPolicy::all(compression))
            .filter_policy(FilterPolicy::all(filter))
    })?;
    Ok(Db { database, keyspace })
}

/// Opens or creates; NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_open(
    path: *const c_char,
    cache: u64,
    memtable: u64,
    block: u32,
    is_compressed: c_int,
    threads: usize,
) -> *mut Db {
    // SAFETY: a text that ends in NUL.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
    match open(&path, cache, memtable, block, is_compressed != 0, threads) {
        Ok(db) => Box::into_raw(Box::new(db)),
        Err(error) => {
            eprintln!("fjall: open: {error:?}");
            std::ptr::null_mut()
        }
    }
}

/// Closes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_close(db: *mut Db) {
    // SAFETY: from `fj_open`, not used again.
    drop(unsafe { Box::from_raw(db) });
}

/// Writes an entry; on the device before it returns if `is_synced`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_put(
    db: *const Db,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    is_synced: c_int,
) -> c_int {
    // SAFETY: live handle and memory.
    let (db, key, value) = unsafe { (&*db, bytes(key, key_len), bytes(value, value_len)) };
    let put = db.keyspace.insert(key, value);
    if is_synced != 0 && put.is_ok() {
        return code("persist", db.database.persist(PersistMode::SyncData));
    }
    code("insert", put)
}

/// Deletes an entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_delete(db: *const Db, key: *const u8, key_len: usize) -> c_int {
    // SAFETY: live handle and memory.
    let (db, key) = unsafe { (&*db, bytes(key, key_len)) };
    code("remove", db.keyspace.remove(key))
}

/// Copies a value into `buffer` if it fits, and says how long it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_get(
    db: *const Db,
    key: *const u8,
    key_len: usize,
    buffer: *mut u8,
    room: usize,
    len: *mut usize,
) -> c_int {
    // SAFETY: live handle and memory.
    let (db, key) = unsafe { (&*db, bytes(key, key_len)) };
    match db.keyspace.get(key) {
        Ok(None) => NONE,
        Ok(Some(value)) => {
            // SAFETY: `len` is writable, `buffer` for `room` bytes.
            unsafe {
                *len = value.len();
                buffer.copy_from_nonoverlapping(value.as_ptr(), value.len().min(room));
            }
            DONE
        }
        Err(error) => code("get", Err::<(), _>(error)),
    }
}

/// A batch.
#[unsafe(no_mangle)]
pub extern "C" fn fj_batch_new() -> *mut Batch {
    Box::into_raw(Box::new(Batch { inner: None }))
}

/// Frees a batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_batch_free(batch: *mut Batch) {
    // SAFETY: from `fj_batch_new`, not used again.
    drop(unsafe { Box::from_raw(batch) });
}

/// Adds to a batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_batch_put(
    db: *const Db,
    batch: *mut Batch,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) {
    // SAFETY: live handles and memory.
    let (db, batch, key, value) = unsafe { (&*db, &mut *batch, bytes(key, key_len), bytes(value, value_len)) };
    batch.inner.get_or_insert_with(|| db.database.batch()).insert(&db.keyspace, key, value);
}

/// Writes a batch and empties it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_batch_write(batch: *mut Batch) -> c_int {
    // SAFETY: a live handle.
    match unsafe { &mut *batch }.inner.take() {
        Some(inner) => code("commit", inner.commit()),
        None => DONE,
    }
}

/// An iterator that stands nowhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_iter_new(db: *const Db) -> *mut Cursor {
    // SAFETY: a live handle.
    let keyspace = unsafe { &*db }.keyspace.clone();
    Box::into_raw(Box::new(Cursor { keyspace, inner: None, entry: None }))
}

/// Frees an iterator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_iter_free(cursor: *mut Cursor) {
    // SAFETY: from `fj_iter_new`, not used again.
    drop(unsafe { Box::from_raw(cursor) });
}

impl Cursor {
    fn take(&mut self, guard: Option<Guard>) -> c_int {
        self.entry = None;
        let Some(guard) = guard else { return NONE };
        match guard.into_inner() {
            Ok(entry) => {
                self.entry = Some(entry);
                DONE
            }
            Err(error) => code("iterator", Err::<(), _>(error)),
        }
    }
}

/// To the first entry (`place` 0), the last (1), or the first at or above `key` (2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_iter_seek(cursor: *mut Cursor, place: c_int, key: *const u8, key_len: usize) -> c_int {
    // SAFETY: live handle and memory.
    let (cursor, key) = unsafe { (&mut *cursor, bytes(key, key_len)) };
    let mut inner = if place == 2 { cursor.keyspace.range(key..) } else { cursor.keyspace.iter() };
    let guard = if place == 1 { inner.next_back() } else { inner.next() };
    cursor.inner = Some(inner);
    cursor.take(guard)
}

/// A step forward (`is_back` 0) or back; the direction of an iterator never changes between two seeks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_iter_step(cursor: *mut Cursor, is_back: c_int) -> c_int {
    // SAFETY: a live handle.
    let cursor = unsafe { &mut *cursor };
    let Some(inner) = cursor.inner.as_mut() else { return NONE };
    let guard = if is_back != 0 { inner.next_back() } else { inner.next() };
    cursor.take(guard)
}

/// The entry it stands on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_iter_entry(
    cursor: *const Cursor,
    key: *mut *const u8,
    key_len: *mut usize,
    value: *mut *const u8,
    value_len: *mut usize,
) {
    // SAFETY: a live handle; the outputs are writable.
    unsafe {
        if let Some(entry) = &(*cursor).entry {
            (*key, *key_len) = (entry.0.as_ptr(), entry.0.len());
            (*value, *value_len) = (entry.1.as_ptr(), entry.1.len());
        }
    }
}

/// Writes the memtable to a table and waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_flush(db: *const Db) -> c_int {
    // SAFETY: a live handle.
    code("flush", unsafe { &*db }.keyspace.rotate_memtable_and_wait())
}

/// Compacts everything and waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_compact(db: *const Db) -> c_int {
    // SAFETY: a live handle.
    code("compact", unsafe { &*db }.keyspace.major_compact())
}

/// Whether flushes or compactions run or wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fj_is_busy(db: *const Db) -> c_int {
    // SAFETY: a live handle.
    let db = unsafe { &*db };
    let busy = db.database.outstanding_flushes() > 0
        || db.database.active_compactions() > 0
        || db.keyspace.sealed_memtable_count() > 0;
    c_int::from(busy)
}
