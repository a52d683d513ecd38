//! `lsm_error`: what went wrong, in a plain allocation that the caller frees.
//!
//! Invariants
//! - I1  Allocated only on a negative code and only when the caller passed a place for it; `*err` is overwritten.
//!
//! Threads: its owner's.
#![expect(unsafe_code, reason = "reads what C passes")]

use lsm_engine::Error;
use std::ffi::{CString, c_char};

/// The details of a negative code: code, errno, flags and a message. Owned by the caller; `lsm_error_free` frees it.
pub struct lsm_error {
    code: i32,
    os: i32,
    flags: u32,
    message: CString,
}

impl lsm_error {
    /// The C form of `error`.
    #[cold]
    pub fn new(error: &Error) -> lsm_error {
        let text: Vec<u8> = error.message().bytes().map(|byte| if byte == 0 { b'?' } else { byte }).collect();
        let message = CString::new(text).unwrap_or_default();
        lsm_error { code: error.code() as i32, os: error.os_errno(), flags: error.flags(), message }
    }
}

/// Stores `error` where the caller wants it and answers its code.
///
/// # Safety
/// `err` is NULL or writable.
#[cold]
pub unsafe fn report(error: &Error, err: *mut *mut lsm_error) -> i32 {
    if !err.is_null() {
        // SAFETY: not NULL, so writable by this function's contract; the old content is overwritten, never read.
        unsafe { err.write(Box::into_raw(Box::new(lsm_error::new(error)))) };
    }
    error.code() as i32
}

/// The code of an error, one of `LSM_E_*`.
///
/// NULL: gives 0. Threads: the error's owner.
///
/// # Safety
/// `error` is NULL or was stored by a call of this library and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_error_code(error: *const lsm_error) -> i32 {
    // SAFETY: NULL or live by this function's contract.
    unsafe { error.as_ref() }.map_or(0, |error| error.code)
}

/// The errno of the system call that was refused, or 0.
///
/// NULL: gives 0. Threads: the error's owner.
///
/// # Safety
/// As `lsm_error_code`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_error_os(error: *const lsm_error) -> i32 {
    // SAFETY: NULL or live by this function's contract.
    unsafe { error.as_ref() }.map_or(0, |error| error.os)
}

/// `LSM_ERROR_RETRYABLE` (the call may succeed later), `LSM_ERROR_FATAL` (no more writes until the database is opened
/// again), `LSM_ERROR_BACKGROUND` (it happened in a background thread), or-ed.
///
/// Retryable are `LSM_E_TIMEOUT`, `LSM_E_LOCKED`, `LSM_E_STALLED`, `LSM_E_NOSPACE`, `LSM_E_NOMEM`, an `LSM_E_IO` for want
/// of descriptors and an `LSM_E_BUSY` that ends by itself; nothing that is fatal.
///
/// NULL: gives 0. Threads: the error's owner.
///
/// # Safety
/// As `lsm_error_code`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_error_flags(error: *const lsm_error) -> u32 {
    // SAFETY: NULL or live by this function's contract.
    unsafe { error.as_ref() }.map_or(0, |error| error.flags)
}

/// A text for a person that names the file and offset or the key or option concerned. Belongs to the error.
///
/// NULL: gives "". Threads: the error's owner.
///
/// # Safety
/// As `lsm_error_code`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_error_message(error: *const lsm_error) -> *const c_char {
    // SAFETY: NULL or live by this function's contract.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error. A plain allocation: freeing it twice is undefined.
///
/// NULL: does nothing. Threads: the error's owner.
///
/// # Safety
/// As `lsm_error_code`; the error is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_error_free(error: *mut lsm_error) {
    if !error.is_null() {
        // SAFETY: came from `Box::into_raw` in `report` and is freed once, by this function's contract.
        drop(unsafe { Box::from_raw(error) });
    }
}
