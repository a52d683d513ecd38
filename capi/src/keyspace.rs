//! Keyspaces by name, and the list of names.
//!
//! Threads: any number at once; a list is its owner's.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::error::{lsm_error, report};
use crate::guard::{c_bytes, catch, out};
use crate::handle::{
    Entered, db_slot, keyspace_drop, keyspace_open, keyspace_release, keyspace_slot, lsm_db, lsm_keyspace, with_db,
};
use crate::options::{engine_options, lsm_options};
use crate::status::{LSM_NOT_FOUND, LSM_OK};
use lsm_engine::base::key::KEYSPACE_NAME_MAX;
use lsm_engine::{Error, Result};
use std::ffi::{CString, c_char};

/// A list of names. Owned by the caller; `lsm_list_free` frees it.
pub struct lsm_list {
    names: Vec<CString>,
}

/// Runs `body` as a call on a database, with the guard that counts it.
///
/// # Safety
/// `db` came from `lsm_open`; `err` is NULL or writable.
unsafe fn with_entered(db: *mut lsm_db, err: *mut *mut lsm_error, body: impl FnOnce(&Entered) -> Result<i32>) -> i32 {
    let run = || {
        // SAFETY: this function's contract.
        let slot = unsafe { db_slot(db) }?;
        let entered = slot.enter()?;
        catch(|| slot.poison(), || body(&entered))
    };
    match run() {
        Ok(code) => code,
        // SAFETY: this function's contract.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// # Safety
/// `name` is NULL or ends in NUL while `'a` lasts.
unsafe fn name_argument<'a>(name: *const c_char) -> Result<&'a [u8]> {
    // SAFETY: this function's contract.
    let name = unsafe { c_bytes(name, "name") }?;
    if name.is_empty() || name.len() > KEYSPACE_NAME_MAX {
        return Err(Error::invalid(format!(
            "keyspace name of {} bytes: 1 to {KEYSPACE_NAME_MAX} are allowed",
            name.len()
        )));
    }
    Ok(name)
}

/// The handle of the keyspace `default`. Borrowed: it lives as long as the database handle and needs no release; after
/// `lsm_close` it answers `LSM_E_CLOSED`.
///
/// NULL or not a database handle: gives NULL. Threads: any number at once.
///
/// # Safety
/// `db` is NULL or came from `lsm_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_default_keyspace(db: *mut lsm_db) -> *mut lsm_keyspace {
    // SAFETY: this function's contract.
    unsafe { db_slot(db) }.map_or(std::ptr::null_mut(), |slot| slot.default_keyspace())
}

/// Opens a keyspace by name, in `*keyspace`, and creates a missing one unless `options` say `create_if_missing = false`.
///
/// There is one handle per database and keyspace: opening it again gives the same pointer, and each open is balanced by
/// one `lsm_keyspace_release`.
///
/// NULL: `options` (defaults) and `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_NOT_FOUND` (missing and not to be created; `*keyspace` is untouched); `LSM_E_INVALID` (a NULL, a
/// name that is not 1 to 255 bytes long, an option that contradicts a persisted one, too many keyspaces);
/// `LSM_E_READONLY`; `LSM_E_IO`; `LSM_E_NOSPACE`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
/// `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `name` ends in NUL; `options` is NULL or a live bag; `keyspace` and `err` are NULL or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_keyspace_open(
    db: *mut lsm_db,
    name: *const c_char,
    options: *const lsm_options,
    keyspace: *mut *mut lsm_keyspace,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_entered(db, err, |entered| {
            let name = name_argument(name)?;
            let keyspace = out(keyspace, "keyspace")?;
            let options = engine_options(options);
            match keyspace_open(entered, name, |engine| engine.keyspace_open(name, options))? {
                Some(handle) => {
                    keyspace.write(handle);
                    Ok(LSM_OK)
                }
                None => Ok(LSM_NOT_FOUND),
            }
        })
    }
}

/// Gives one open of a keyspace back. After the last one the handle answers `LSM_E_CLOSED` until the keyspace is opened
/// again; its data stay.
///
/// NULL: does nothing; so does a release of the default keyspace, a release too many, one after `lsm_close` and one in a
/// forked child. Threads: any.
///
/// # Safety
/// `keyspace` is NULL or came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_keyspace_release(keyspace: *mut lsm_keyspace) {
    // SAFETY: this function's contract.
    if let Ok(slot) = unsafe { keyspace_slot(keyspace) } {
        let _ = catch(
            || slot.db().poison(),
            || {
                keyspace_release(slot);
                Ok(())
            },
        );
    }
}

/// Drops a keyspace and all its data. Its handles answer `LSM_E_CLOSED` from then on, also when the name is created
/// again; open iterators go on or answer `LSM_E_CLOSED`.
///
/// NULL: `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_NOT_FOUND`; `LSM_E_INVALID` (a NULL, a bad name, or "default", which cannot be dropped);
/// `LSM_E_READONLY`; `LSM_E_IO`; `LSM_E_NOSPACE`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
/// `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `name` ends in NUL; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_keyspace_drop(db: *mut lsm_db, name: *const c_char, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_entered(db, err, |entered| {
            let name = name_argument(name)?;
            if name == b"default" {
                return Err(Error::invalid("the keyspace \"default\" cannot be dropped"));
            }
            let dropped = keyspace_drop(entered, name, |engine| engine.keyspace_drop(name))?;
            Ok(if dropped { LSM_OK } else { LSM_NOT_FOUND })
        })
    }
}

/// The names of all keyspaces, sorted, in `*list`; free it with `lsm_list_free`.
///
/// NULL: `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
/// `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `list` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_keyspace_list(db: *mut lsm_db, list: *mut *mut lsm_list, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |_, engine| {
            let list = out(list, "list")?;
            let names = engine.keyspace_list()?;
            let names = names.into_iter().map(|name| CString::new(name).unwrap_or_default()).collect();
            list.write(Box::into_raw(Box::new(lsm_list { names })));
            Ok(LSM_OK)
        })
    }
}

/// How many names the list has; 0 for NULL.
///
/// # Safety
/// `list` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_list_len(list: *const lsm_list) -> usize {
    // SAFETY: this function's contract.
    unsafe { list.as_ref() }.map_or(0, |list| list.names.len())
}

/// A name of the list, which belongs to the list; NULL past the end and for a NULL list.
///
/// # Safety
/// `list` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_list_get(list: *const lsm_list, index: usize) -> *const c_char {
    // SAFETY: this function's contract.
    let list = unsafe { list.as_ref() };
    list.and_then(|list| list.names.get(index)).map_or(std::ptr::null(), |name| name.as_ptr())
}

/// Frees a list. A plain allocation: freeing it twice is undefined.
///
/// NULL: does nothing.
///
/// # Safety
/// `list` is NULL or live, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_list_free(list: *mut lsm_list) {
    if !list.is_null() {
        // SAFETY: from `Box::into_raw`, freed once, by this function's contract.
        drop(unsafe { Box::from_raw(list) });
    }
}
