//! Maintenance and metrics: flush, compact, properties, cache.
//!
//! Threads: any number at once.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::bytes::c_string;
use crate::error::lsm_error;
use crate::guard::{bound, c_text, out};
use crate::handle::{DbSlot, keyspace_slot, lsm_db, lsm_keyspace, with_db, with_keyspace};
use crate::status::{LSM_NOT_FOUND, LSM_OK};
use lsm_engine::db::Keyspace;
use lsm_engine::{Error, Result};
use std::ffi::{c_char, c_void};

/// A keyspace of the database, or none for NULL.
///
/// # Safety
/// `keyspace` is NULL or came from this library; the call is counted in on `slot` and saw it open.
unsafe fn optional<'a>(keyspace: *mut lsm_keyspace, slot: &'static DbSlot) -> Result<Option<&'a Keyspace>> {
    if keyspace.is_null() {
        return Ok(None);
    }
    // SAFETY: this function's contract.
    let keyspace = unsafe { keyspace_slot(keyspace) }?;
    if !std::ptr::eq(keyspace.db(), slot) {
        return Err(Error::invalid("the keyspace is of another database"));
    }
    keyspace.check_open()?;
    // SAFETY: counted in, by this function's contract.
    Ok(Some(unsafe { keyspace.engine() }))
}

/// Writes the memory of one keyspace, or of all, to tables and waits for it.
///
/// NULL: `keyspace` (all) and `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a keyspace of another database); `LSM_E_IO`; `LSM_E_NOSPACE`;
/// `LSM_E_READONLY`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `keyspace` is NULL or came from this library; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_flush(db: *mut lsm_db, keyspace: *mut lsm_keyspace, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |slot, engine| {
            engine.flush(optional(keyspace, slot)?)?;
            Ok(LSM_OK)
        })
    }
}

/// Compacts the keys from `from` (included) to `to` (excluded) down to the last level and waits for it.
///
/// NULL: `from` and `to` with length 0 mean unbounded; `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_NOSPACE`; `LSM_E_READONLY`;
/// `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `keyspace` came from this library; `from` and `to` are readable for their lengths; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_compact(
    keyspace: *mut lsm_keyspace,
    from: *const c_void,
    from_len: usize,
    to: *const c_void,
    to_len: usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |_, engine| {
            engine.compact(bound(from, from_len, "from")?, bound(to, to_len, "to")?)?;
            Ok(LSM_OK)
        })
    }
}

/// A property as text, of the database or of one keyspace, in `*value`; free it with `lsm_free`.
///
/// Texts: stats, levels, options, wal.io. Numbers, too: cache.hits, cache.misses, cache.bytes, memtable.bytes,
/// memory.bytes, disk.bytes, wal.bytes, levels.N.files, levels.N.bytes, compaction.jobs_run, compaction.jobs_running,
/// compaction.bytes_read, compaction.bytes_written, compaction.parallel_merges, compaction.pending_bytes,
/// flush.jobs_run, stall.micros, keys.estimate.
///
/// NULL: `keyspace` and `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_NOT_FOUND` (no such property; `*value` is untouched); `LSM_E_INVALID` (a NULL, a keyspace of
/// another database); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `keyspace` is NULL or came from this library; `name` ends in NUL; `value` and `err` are NULL
/// or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_property(
    db: *mut lsm_db,
    keyspace: *mut lsm_keyspace,
    name: *const c_char,
    value: *mut *mut c_char,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |slot, engine| {
            let keyspace = optional(keyspace, slot)?;
            let value = out(value, "value")?;
            match engine.property(keyspace, c_text(name, "name")?)? {
                Some(text) => {
                    value.write(c_string(&text)?);
                    Ok(LSM_OK)
                }
                None => Ok(LSM_NOT_FOUND),
            }
        })
    }
}

/// A property as a number, in `*value`.
///
/// NULL, threads and codes: as `lsm_property`; a property that is no number is `LSM_NOT_FOUND`.
///
/// # Safety
/// As `lsm_property`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_property_u64(
    db: *mut lsm_db,
    keyspace: *mut lsm_keyspace,
    name: *const c_char,
    value: *mut u64,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |slot, engine| {
            let keyspace = optional(keyspace, slot)?;
            let value = out(value, "value")?;
            match engine.property_u64(keyspace, c_text(name, "name")?)? {
                Some(number) => {
                    value.write(number);
                    Ok(LSM_OK)
                }
                None => Ok(LSM_NOT_FOUND),
            }
        })
    }
}

/// All metrics, as `LSM_METRICS_PROMETHEUS` text or `LSM_METRICS_JSON`, in `*text`; free it with `lsm_free`.
///
/// NULL: `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, another format); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a
/// callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `text` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_metrics(
    db: *mut lsm_db,
    format: i32,
    text: *mut *mut c_char,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |_, engine| {
            let json = match format {
                0 => false,
                1 => true,
                other => return Err(Error::invalid(format!("format is {other}, not an LSM_METRICS number"))),
            };
            let text = out(text, "text")?;
            text.write(c_string(&engine.metrics(json)?)?);
            Ok(LSM_OK)
        })
    }
}

/// Empties the block cache.
///
/// NULL: `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
/// `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_cache_clear(db: *mut lsm_db, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |_, engine| {
            engine.cache_clear()?;
            Ok(LSM_OK)
        })
    }
}
