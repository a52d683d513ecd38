//! The boundary: no panic crosses it, errors become codes, and C's arguments become Rust's or `LSM_E_INVALID`.
//!
//! Invariants
//! - I1  `boundary` never unwinds. A panic becomes `LSM_E_PANIC`; its text and place are in the error, never on stderr.
//! - I2  The helpers that read C memory are `unsafe fn`: no C pointer is followed by safe code.
//!
//! Threads: any.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::error::{lsm_error, report};
use lsm_engine::{Code, Error, Result};
use parking_lot::Mutex;
use std::any::Any;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where the last panic happened, for its error text. Best effort: another thread's may be newer.
static LAST_PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Replaces the panic hook of this library's own runtime, which would print to the host's stderr.
pub fn silence_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            if let (Some(place), Some(mut last)) = (info.location(), LAST_PLACE.try_lock()) {
                *last = Some(format!("{}:{}", place.file(), place.line()));
            }
        }));
    });
}

#[cold]
fn panic_error(payload: &(dyn Any + Send)) -> Error {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned());
    let place = LAST_PLACE.try_lock().and_then(|mut last| last.take());
    let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
    Error::new(Code::Panic, format!("caught a panic{place}: {text}"))
}

/// Runs `body`; a panic becomes an error and `on_panic` is called first.
#[inline(always)]
pub fn catch<R>(on_panic: impl FnOnce(), body: impl FnOnce() -> Result<R>) -> Result<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            on_panic();
            let error = panic_error(&*payload);
            // A payload whose drop panics must not unwind either.
            std::mem::forget(payload);
            Err(error)
        }
    }
}

/// Runs `body` and answers its code; the error goes to `err`.
///
/// # Safety
/// `err` is NULL or writable.
#[inline(always)]
pub unsafe fn boundary(err: *mut *mut lsm_error, body: impl FnOnce() -> Result<i32>) -> i32 {
    match catch(|| {}, body) {
        Ok(code) => code,
        // SAFETY: this function's contract.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// The error of a NULL where the header does not allow one.
#[cold]
pub fn null_error(what: &str) -> Error {
    Error::invalid(format!("{what} is NULL"))
}

/// Where a result goes; NULL is `LSM_E_INVALID`.
#[inline(always)]
pub fn out<T>(pointer: *mut T, what: &str) -> Result<*mut T> {
    if pointer.is_null() { Err(null_error(what)) } else { Ok(pointer) }
}

/// A byte string; `NULL + 0` is empty, `NULL + n` is `LSM_E_INVALID`.
///
/// # Safety
/// `data` is NULL or readable for `len` bytes while `'a` lasts.
#[inline(always)]
pub unsafe fn bytes<'a>(data: *const c_void, len: usize, what: &str) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() || len > isize::MAX as usize {
        return Err(bytes_error(data, len, what));
    }
    // SAFETY: not NULL and not longer than an object can be; readable by this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
}

#[cold]
fn bytes_error(data: *const c_void, len: usize, what: &str) -> Error {
    if data.is_null() {
        Error::invalid(format!("{what} is NULL with a length of {len}"))
    } else {
        Error::invalid(format!("{what} of {len} bytes is longer than memory"))
    }
}

/// A bound: `None` for NULL, which means unbounded.
///
/// # Safety
/// As `bytes`.
pub unsafe fn bound<'a>(data: *const c_void, len: usize, what: &str) -> Result<Option<&'a [u8]>> {
    if data.is_null() && len == 0 {
        return Ok(None);
    }
    // SAFETY: this function's contract.
    unsafe { bytes(data, len, what) }.map(Some)
}

/// A C string's bytes.
///
/// # Safety
/// `text` is NULL or ends in a NUL while `'a` lasts.
pub unsafe fn c_bytes<'a>(text: *const c_char, what: &str) -> Result<&'a [u8]> {
    if text.is_null() {
        return Err(null_error(what));
    }
    // SAFETY: not NULL; ends in a NUL by this function's contract.
    Ok(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// A C string that must be UTF-8, for option keys and values and property names.
///
/// # Safety
/// As `c_bytes`.
pub unsafe fn c_text<'a>(text: *const c_char, what: &str) -> Result<&'a str> {
    // SAFETY: this function's contract.
    let bytes = unsafe { c_bytes(text, what) }?;
    std::str::from_utf8(bytes).map_err(|_| Error::invalid(format!("{what} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{lsm_error_code, lsm_error_free, lsm_error_message};

    #[test]
    fn a_panic_becomes_a_code_with_its_text() {
        silence_panics();
        let mut err: *mut lsm_error = std::ptr::null_mut();
        // SAFETY: `err` is a local.
        let code = unsafe { boundary(&mut err, || panic!("number {}", 7)) };
        assert_eq!(code, Code::Panic as i32);
        // SAFETY: written by `boundary`, freed once.
        let text = unsafe { CStr::from_ptr(lsm_error_message(err)) }.to_str().expect("utf-8").to_owned();
        assert!(text.contains("number 7"), "{text}");
        // SAFETY: as above.
        assert_eq!(unsafe { lsm_error_code(err) }, code);
        // SAFETY: as above.
        unsafe { lsm_error_free(err) };
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { boundary(std::ptr::null_mut(), || Err(Error::invalid("x"))) }, -1);
    }

    #[test]
    fn null_and_lengths() {
        // SAFETY: NULL and literals.
        unsafe {
            assert_eq!(bytes(std::ptr::null(), 0, "key").expect("empty"), b"");
            assert!(bytes(std::ptr::null(), 1, "key").is_err());
            assert!(bytes(b"x".as_ptr().cast(), usize::MAX, "key").is_err());
            assert_eq!(bound(std::ptr::null(), 0, "lower").expect("none"), None);
            assert_eq!(bound(b"".as_ptr().cast(), 0, "lower").expect("empty"), Some(&b""[..]));
            assert!(bound(std::ptr::null(), 3, "lower").is_err());
            assert!(c_text(std::ptr::null(), "key").is_err());
            assert!(c_text(c"\xff".as_ptr(), "key").is_err());
        }
    }
}
