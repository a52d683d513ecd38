//! Buffers that the library hands out: allocated by `malloc`, freed by `lsm_free`, which is `free`.
//!
//! Threads: any.
#![expect(unsafe_code, reason = "malloc and free")]

use lsm_engine::{Code, Error, Result};
use std::ffi::{c_char, c_void};

/// A NUL-terminated copy of `text` from `malloc`; bytes from a NUL on are left out.
pub fn c_string(text: &str) -> Result<*mut c_char> {
    let len = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
    // SAFETY: malloc takes any size.
    let copy = unsafe { libc::malloc(len + 1) }.cast::<u8>();
    if copy.is_null() {
        return Err(Error::new(Code::NoMem, format!("no memory for {len} bytes of text")));
    }
    // SAFETY: `copy` has `len + 1` bytes and is fresh; `len` is at most the text's length.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), copy, len);
        copy.add(len).write(0);
    }
    Ok(copy.cast())
}

static EMPTY: u8 = 0;

/// The pointer of `bytes`; never a dangling one for an empty string, which some callers' runtimes would refuse.
#[inline(always)]
pub fn data(bytes: &[u8]) -> *const u8 {
    if bytes.is_empty() { &raw const EMPTY } else { bytes.as_ptr() }
}

/// Frees a `char *` or byte buffer that a call of this library returned.
///
/// NULL: does nothing. Threads: any. A plain allocation: freeing it twice is undefined.
///
/// # Safety
/// `buffer` is NULL or came from this library and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_free(buffer: *mut c_void) {
    // SAFETY: every such buffer is from malloc; free takes NULL.
    unsafe { libc::free(buffer) };
}
