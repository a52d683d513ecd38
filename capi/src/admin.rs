//! Maintenance and metrics: verify, repair, resume, flush, compact, properties, cache.
//!
//! Threads: any number at once.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::bytes::c_string;
use crate::db::path_argument;
use crate::error::lsm_error;
use crate::guard::{bound, boundary, c_text, out, silence_panics};
use crate::handle::{DbSlot, keyspace_slot, lsm_db, lsm_keyspace, refuse_callback, with_db, with_keyspace};
use crate::options::{engine_options, lsm_options};
use crate::status::{LSM_NOT_FOUND, LSM_OK};
use lsm_engine::db::{Db, Keyspace};
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

/// Reads and checks every byte of the database: `CURRENT`, the manifest, every table (whole-file checksum, every block, the
/// order and number of entries, the filter, what the manifest says of it) and the log up to what is committed now. Reads and
/// writes go on meanwhile; nothing is written. It goes on past the first damage.
///
/// `*report_json` is a JSON object: `result` ("sound" or "damaged"), counts, and in `damaged` an object for each damaged
/// file with `file` (its name in the folder), `keyspace` (for tables) and `reason`. Free it with `lsm_free`.
///
/// NULL: `err` may be. Threads: any number at once. An `lsm_close` of another thread ends it at the next table.
/// Codes: `LSM_OK` (all sound); `LSM_E_CORRUPTION` (something is damaged, missing or cannot be read: `*report_json` is
/// written, and the message names the first file); `LSM_E_IO` (the folder cannot be listed); `LSM_E_INVALID` (a NULL);
/// `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`. `*report_json` is
/// written with the first two only.
///
/// # Safety
/// `db` came from `lsm_open`; `report_json` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_verify(db: *mut lsm_db, report_json: *mut *mut c_char, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |_, engine| {
            let report_json = out(report_json, "report_json")?;
            let (report, damage) = engine.verify()?;
            report_json.write(c_string(&report)?);
            damage.map_or(Ok(LSM_OK), Err)
        })
    }
}

/// Repairs a damaged database that nobody has open, so that it can be opened again with every entry that can still be read.
///
/// A database without damage is left as it is, also one that a crash left: opening it does what is to be done. Otherwise
/// what is left of damaged tables and of a damaged log is written into new tables, what is unreadable is set aside in the
/// folder as `NAME.damaged` (never removed), and a new manifest is put in force. A lost or damaged `CURRENT` or manifest is
/// rebuilt from the tables and the log; then tables whose keys overlap are merged, which needs as much free space as they
/// take. An entry that is lost may uncover an older value of its key. Calling it again changes nothing more; after a crash
/// or a failure inside, call it again.
///
/// `*report_json` is a JSON object: `result` ("sound" or "repaired"), `tables`, `entries_kept`, `entries_lost` (known to be),
/// and lists: `damaged` (`file`, `reason`), `lost` (`file`, `reason`, `keyspace`, `key_from` and `key_to` in hexadecimal
/// digits or null, or `sequence_from` and `sequence_to` for the log), `set_aside` (`file`, `as`), `notes`. Free it with
/// `lsm_free`.
///
/// NULL: `options` (defaults; used over the persisted ones for the tables that are written) and `err` may be. Threads: any.
/// Codes: `LSM_OK` (sound, or repaired; the report says which and what was lost); `LSM_E_INVALID` (a NULL, a folder that is
/// no database, `mode = ro`); `LSM_E_LOCKED` (open here or in another process); `LSM_E_CORRUPTION` (nothing is left that
/// says whose database it is); `LSM_E_VERSION` (written by a later version: not damage); `LSM_E_IO` (no such folder, a call
/// refused); `LSM_E_NOSPACE`; `LSM_E_NOMEM`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`. On failure the folder is as it
/// was, and nothing is written to `*report_json`.
///
/// # Safety
/// `path` ends in NUL; `options` is NULL or a live bag; `report_json` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_repair(
    path: *const c_char,
    options: *const lsm_options,
    report_json: *mut *mut c_char,
    err: *mut *mut lsm_error,
) -> i32 {
    silence_panics();
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            refuse_callback()?;
            let path = path_argument(path)?;
            let report_json = out(report_json, "report_json")?;
            let report = match engine_options(options) {
                Some(options) => Db::repair(path, options)?,
                None => Db::repair(path, &lsm_engine::db::options::Options::new())?,
            };
            report_json.write(c_string(&report)?);
            Ok(LSM_OK)
        })
    }
}

/// Tries again, now, what failed in the background or for want of room, and waits for it: for a caller that has made room
/// or mended the cause. Without it the same happens by itself, within 10 s for a compaction, sooner for the rest.
///
/// A failure after which acknowledgements could not be kept (a store or sync of the log that failed: `LSM_ERROR_FATAL`) is
/// not cleared: close the database and open it again, which rewrites what is left of the log.
///
/// NULL: `err` may be. Threads: any number at once.
/// Codes: `LSM_OK` (nothing fails any more); `LSM_E_NOSPACE`, `LSM_E_IO`, `LSM_E_CORRUPTION`, `LSM_E_NOMEM` (it fails still,
/// and why; with `LSM_ERROR_FATAL`: open again); `LSM_E_READONLY`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY`
/// (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_resume(db: *mut lsm_db, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |_, engine| {
            engine.resume()?;
            Ok(LSM_OK)
        })
    }
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
