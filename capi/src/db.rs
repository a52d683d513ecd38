//! Open, close, destroy, sync, sequence.
//!
//! Threads: any number at once. Failure: see each function.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::error::{lsm_error, report};
use crate::fork;
use crate::guard::{boundary, c_bytes, out, silence_panics};
use crate::handle::{close, db_slot, lsm_db, publish, refuse_callback, with_db};
use crate::options::{engine_options, lsm_options};
use crate::status::LSM_OK;
use lsm_engine::db::Db;
use lsm_engine::{Error, Result};
use std::ffi::{OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The path that C passes.
///
/// # Safety
/// `path` is NULL or ends in NUL while `'a` lasts.
pub unsafe fn path_argument<'a>(path: *const c_char) -> Result<&'a Path> {
    // SAFETY: this function's contract.
    let path = unsafe { c_bytes(path, "path") }?;
    if path.is_empty() {
        return Err(Error::invalid("path is empty"));
    }
    Ok(Path::new(OsStr::from_bytes(path)))
}

/// Opens a database folder, creating it by default (the last component of the path only), in `*db`.
///
/// The caller closes the handle with `lsm_close`. `options` is copied. One `rw` open per folder, or any number of `ro`.
///
/// NULL: `options` (defaults) and `err` may be. Threads: any.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an option that contradicts a persisted one, a folder with files of somebody
/// else's); `LSM_E_LOCKED` (open here or in another process); `LSM_E_EXISTS` (`error_if_exists`); `LSM_E_IO` (no such folder,
/// no permission, not a folder); `LSM_E_CORRUPTION`; `LSM_E_VERSION` (written by a later version); `LSM_E_NOSPACE`;
/// `LSM_E_NOMEM`; `LSM_E_UNSUPPORTED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`. The message names the path. Nothing is
/// written to `*db` on failure.
///
/// # Safety
/// `path` ends in NUL; `options` is NULL or a live bag; `db` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_open(
    path: *const c_char,
    options: *const lsm_options,
    db: *mut *mut lsm_db,
    err: *mut *mut lsm_error,
) -> i32 {
    silence_panics();
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            refuse_callback()?;
            let path = path_argument(path)?;
            let db = out(db, "db")?;
            fork::install()?;
            let engine = match engine_options(options) {
                Some(options) => Db::open(path, options)?,
                None => Db::open(path, &lsm_engine::db::options::Options::new())?,
            };
            db.write(publish(engine));
            Ok(LSM_OK)
        })
    }
}

/// Closes a database: waiting calls wake with `LSM_E_CLOSED`, background work ends, what was acknowledged becomes
/// durable, the folder's lock is released, whatever the code says.
///
/// Waits for calls in flight. Iterators, snapshots and batches that still live answer `LSM_E_CLOSED` and may be freed
/// later in any order; pinned values stay readable, and so does what an iterator showed last, until the next call on it
/// or its `lsm_iter_close`. The handle's memory stays and answers `LSM_E_CLOSED`.
///
/// NULL: `db` (does nothing, `LSM_OK`) and `err` may be. Threads: any.
/// Codes: `LSM_OK`; `LSM_E_CLOSED` (closed already, or another thread closes it); `LSM_E_IO`, `LSM_E_NOSPACE` (not all
/// could be made durable; the database is closed all the same); `LSM_E_INVALID` (not a database handle); `LSM_E_BUSY`
/// (inside a callback: nothing happened); `LSM_E_PANIC` (closed all the same); `LSM_E_FORKED` (nothing happened).
///
/// # Safety
/// `db` is NULL or came from `lsm_open`; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_close(db: *mut lsm_db, err: *mut *mut lsm_error) -> i32 {
    if db.is_null() {
        return LSM_OK;
    }
    // SAFETY: this function's contract.
    match unsafe { db_slot(db) }.and_then(close) {
        Ok(()) => LSM_OK,
        // SAFETY: this function's contract.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// Removes a database that nobody has open: only files that the library made, and the folder if that leaves it empty.
///
/// NULL: `err` may be. Threads: any.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a folder that is no database); `LSM_E_LOCKED` (open somewhere); `LSM_E_IO`
/// (missing, no permission, not a folder); `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`.
///
/// # Safety
/// `path` ends in NUL; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_destroy(path: *const c_char, err: *mut *mut lsm_error) -> i32 {
    silence_panics();
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            refuse_callback()?;
            Db::destroy(path_argument(path)?)?;
            Ok(LSM_OK)
        })
    }
}

/// Makes everything acknowledged so far durable: it survives a power cut.
///
/// NULL: `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_IO`, `LSM_E_NOSPACE` (the device refused; later syncs are refused too until the database is
/// opened again); `LSM_E_INVALID`; `LSM_E_READONLY`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
/// `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_sync(db: *mut lsm_db, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |_, engine| {
            engine.sync()?;
            Ok(LSM_OK)
        })
    }
}

/// The last committed and the last durable sequence number.
///
/// NULL: none. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
/// `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `committed` and `durable` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_sequence(db: *mut lsm_db, committed: *mut u64, durable: *mut u64) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, std::ptr::null_mut(), |_, engine| {
            let (committed, durable) = (out(committed, "committed")?, out(durable, "durable")?);
            let (last, synced) = engine.sequence()?;
            committed.write(last.0);
            durable.write(synced.0);
            Ok(LSM_OK)
        })
    }
}
