//! `lsm_batch`: writes that are collected and then written as a whole.
//!
//! Threads: one at a time, may move; a second one gets `LSM_E_BUSY`.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::error::{lsm_error, report};
use crate::guard::{bytes, catch, out};
use crate::handle::{keyspace_slot, lsm_db, lsm_keyspace, with_db};
use crate::slab::Slab;
use crate::status::LSM_OK;
use lsm_engine::db::{Batch, Keyspace};
use lsm_engine::{Error, Result};
use std::ffi::c_void;

/// A batch of writes for keyspaces of one database. One thread at a time.
pub struct lsm_batch {
    _private: [u8; 0],
}

/// All batches of the process.
pub static BATCHES: Slab<Batch> = Slab::new(0x6c73_6d5f_6261_0001, "batch");

/// Runs `body` on a batch and a keyspace of the same open database.
///
/// # Safety
/// `batch` and `keyspace` came from this library; `err` is NULL or writable.
#[inline(always)]
unsafe fn add(
    batch: *mut lsm_batch,
    keyspace: *mut lsm_keyspace,
    err: *mut *mut lsm_error,
    body: impl FnOnce(&mut Batch, &Keyspace) -> Result<()>,
) -> i32 {
    let run = || {
        // SAFETY: this function's contract.
        let (cell, keyspace) = unsafe { (BATCHES.find(batch)?, keyspace_slot(keyspace)?) };
        let mut held = cell.exclusive()?;
        let db = held.db();
        if !std::ptr::eq(db, keyspace.db()) {
            return Err(Error::invalid("the keyspace is of another database than the batch"));
        }
        keyspace.check_open()?;
        // SAFETY: `lsm_close` waits for cells in use before it drops the keyspaces' objects.
        let engine = unsafe { keyspace.engine() };
        catch(|| db.poison(), || body(held.payload(), engine))
    };
    match run() {
        Ok(()) => LSM_OK,
        // SAFETY: this function's contract.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// A new empty batch for keyspaces of `db`, in `*batch`; free it with `lsm_batch_free`.
///
/// NULL: `err` may be. Threads: any number at once on `db`.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
/// `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `batch` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_new(db: *mut lsm_db, batch: *mut *mut lsm_batch, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |slot, engine| {
            let batch = out(batch, "batch")?;
            let cell = BATCHES.alloc(Some(slot), engine.batch())?;
            batch.write(cell.handle());
            Ok(LSM_OK)
        })
    }
}

/// Frees a batch.
///
/// NULL: does nothing; so does a second free, while fewer than 1,024 batches were freed since, and a free in a forked
/// child. Works after `lsm_close`. Threads: the last user.
///
/// # Safety
/// `batch` is NULL or came from `lsm_batch_new` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_free(batch: *mut lsm_batch) {
    // SAFETY: this function's contract.
    if let Ok(cell) = unsafe { BATCHES.find(batch) } {
        BATCHES.free(cell);
    }
}

/// Forgets all operations of a batch and keeps its memory.
///
/// NULL or closed: does nothing. Threads: one at a time.
///
/// # Safety
/// `batch` is NULL or came from `lsm_batch_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_clear(batch: *mut lsm_batch) {
    // SAFETY: this function's contract.
    let held = unsafe { BATCHES.find(batch) }.and_then(|cell| cell.exclusive());
    if let Ok(mut held) = held {
        let db = held.db();
        let _ = catch(
            || db.poison(),
            || {
                held.payload().clear();
                Ok(())
            },
        );
    }
}

/// Adds a put to a batch. Key and value are copied.
///
/// NULL: `err` may be, `key` and `value` when their length is 0. Threads: one at a time on the batch.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a keyspace of another database, a key over 65,536 bytes, a value over 1 GiB,
/// a batch over 2 GiB; the batch is unchanged); `LSM_E_NOMEM`; `LSM_E_CLOSED` (the database, the batch or the keyspace);
/// `LSM_E_BUSY` (inside a callback, or another thread is in a call on the batch); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `batch` came from `lsm_batch_new`, `keyspace` from this library; `key` and `value` are readable for their lengths;
/// `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_put(
    batch: *mut lsm_batch,
    keyspace: *mut lsm_keyspace,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        add(batch, keyspace, err, |batch, keyspace| {
            batch.put(keyspace, bytes(key, key_len, "key")?, bytes(value, value_len, "value")?)
        })
    }
}

/// Adds a delete to a batch. The key is copied.
///
/// NULL, threads and codes: as `lsm_batch_put`.
///
/// # Safety
/// As `lsm_batch_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_delete(
    batch: *mut lsm_batch,
    keyspace: *mut lsm_keyspace,
    key: *const c_void,
    key_len: usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe { add(batch, keyspace, err, |batch, keyspace| batch.delete(keyspace, bytes(key, key_len, "key")?)) }
}

/// Adds many puts and deletes: `{u32 klen, u32 vlen, key, value}*`, little-endian and unaligned; vlen 0xFFFFFFFF is a
/// delete and has no value bytes. All or nothing.
///
/// NULL: `err` may be, and `packed` when `len` is 0. Threads and codes: as `lsm_batch_put`; malformed input is
/// `LSM_E_INVALID` and changes nothing.
///
/// # Safety
/// As `lsm_batch_put`; `packed` is readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_append_packed(
    batch: *mut lsm_batch,
    keyspace: *mut lsm_keyspace,
    packed: *const c_void,
    len: usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe { add(batch, keyspace, err, |batch, keyspace| batch.append_packed(keyspace, bytes(packed, len, "packed")?)) }
}

/// # Safety
/// `batch` is NULL or came from `lsm_batch_new`.
unsafe fn measure(batch: *const lsm_batch, body: impl FnOnce(&Batch) -> usize) -> usize {
    // SAFETY: this function's contract.
    let held = unsafe { BATCHES.find(batch) }.and_then(|cell| cell.exclusive());
    held.map_or(0, |mut held| catch(|| {}, || Ok(body(held.payload()))).unwrap_or(0))
}

/// How many operations a batch has; 0 for NULL, a closed one and in a forked child.
///
/// Threads: one at a time.
///
/// # Safety
/// `batch` is NULL or came from `lsm_batch_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_count(batch: *const lsm_batch) -> usize {
    // SAFETY: this function's contract.
    unsafe { measure(batch, Batch::count) }
}

/// How many bytes a batch takes in the log; 0 for NULL, a closed one and in a forked child.
///
/// Threads: one at a time.
///
/// # Safety
/// `batch` is NULL or came from `lsm_batch_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_batch_bytes(batch: *const lsm_batch) -> usize {
    // SAFETY: this function's contract.
    unsafe { measure(batch, Batch::bytes) }
}
