//! Writes of one key, of a packed buffer and of a batch.
//!
//! Invariants
//! - I1  Every check that can fail for a reason of the caller's comes before the engine's write.
//!
//! Threads: any number at once on one keyspace; a batch is one thread's.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::batch::{BATCHES, lsm_batch};
use crate::error::lsm_error;
use crate::guard::bytes;
use crate::handle::{lsm_db, lsm_keyspace, with_db, with_keyspace};
use crate::options::write_options;
use crate::status::LSM_OK;
use crate::structs::lsm_write_options;
use lsm_engine::Error;
use lsm_engine::base::ids::SeqNo;
use std::ffi::c_void;

/// # Safety
/// `seq` is NULL or writable.
unsafe fn store(seq: *mut u64, value: SeqNo) -> i32 {
    if !seq.is_null() {
        // SAFETY: not NULL, so writable by this function's contract.
        unsafe { seq.write(value.0) };
    }
    LSM_OK
}

/// Puts a value under a key, replacing an older one. Key and value are copied.
///
/// NULL: `options` (defaults) and `err` may be, `key` and `value` when their length is 0. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a key over 65,536 bytes, a value over 1 GiB, bad options); `LSM_E_UNSUPPORTED`
/// (a field of a later version); `LSM_E_TIMEOUT` (nothing was written); `LSM_E_READONLY`; `LSM_E_NOSPACE`; `LSM_E_NOMEM`;
/// `LSM_E_IO` (the log failed; a background error is told again); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
/// `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `keyspace` came from this library; `options` is NULL or readable for its size; `key` and `value` are readable for
/// their lengths; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_put(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_write_options,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |_, engine| {
            let options = write_options(options)?;
            engine.put(&options, bytes(key, key_len, "key")?, bytes(value, value_len, "value")?)?;
            Ok(LSM_OK)
        })
    }
}

/// Deletes a key. `LSM_OK` also when there is none.
///
/// NULL, threads and codes: as `lsm_put`.
///
/// # Safety
/// As `lsm_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_delete(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_write_options,
    key: *const c_void,
    key_len: usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |_, engine| {
            let options = write_options(options)?;
            engine.delete(&options, bytes(key, key_len, "key")?)?;
            Ok(LSM_OK)
        })
    }
}

/// Writes many puts and deletes as one batch in one call: `{u32 klen, u32 vlen, key, value}*`, little-endian and
/// unaligned; vlen 0xFFFFFFFF is a delete and has no value bytes. `*seq` becomes the sequence number of the last one.
///
/// NULL: `options` (defaults), `seq` and `err` may be, and `packed` when `len` is 0 (which writes nothing).
/// Threads: any number at once. Codes: as `lsm_put`; malformed input is `LSM_E_INVALID` and changes nothing.
///
/// # Safety
/// As `lsm_put`; `packed` is readable for `len` bytes; `seq` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_write_packed(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_write_options,
    packed: *const c_void,
    len: usize,
    seq: *mut u64,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |_, engine| {
            let options = write_options(options)?;
            let packed = bytes(packed, len, "packed")?;
            let db = engine.db();
            let mut batch = db.batch();
            batch.append_packed(engine, packed)?;
            Ok(store(seq, db.write(&options, &batch)?))
        })
    }
}

/// Writes a batch as a whole: a crash or a reader sees all of it or none. `*seq` becomes the sequence number of its last
/// operation (the last committed one for an empty batch). The batch is unchanged and may be written again.
///
/// NULL: `options` (defaults), `seq` and `err` may be. Threads: any number at once on `db`, one on `batch`.
/// Codes: as `lsm_put`; besides `LSM_E_INVALID` (a batch of another database), `LSM_E_CLOSED` (a freed batch, or a
/// keyspace in it was dropped), `LSM_E_BUSY` (another thread is in a call on the batch).
///
/// # Safety
/// `db` came from `lsm_open`; `batch` from `lsm_batch_new`; `options` is NULL or readable for its size; `seq` and `err`
/// are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_write(
    db: *mut lsm_db,
    options: *const lsm_write_options,
    batch: *mut lsm_batch,
    seq: *mut u64,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |slot, engine| {
            let options = write_options(options)?;
            let cell = BATCHES.find(batch)?;
            if !cell.db().is_some_and(|db| std::ptr::eq(db, slot)) {
                return Err(Error::invalid("the batch is of another database"));
            }
            let mut held = cell.exclusive()?;
            Ok(store(seq, engine.write(&options, held.payload())?))
        })
    }
}
