//! What the library is: version, features, names of codes.
//!
//! Threads: any.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::status::CODE_NAMES;
use std::ffi::{CStr, c_char};

/// The version of the binary interface: raised when a program built against an older header could go wrong.
pub const ABI_VERSION: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(text) => text,
    Err(_) => c"",
};

/// What `lsm_has_feature` answers 1 for.
const FEATURES: &[&CStr] = &[
    c"lz4",
    #[cfg(feature = "zstd")]
    c"zstd",
];

/// The version of the binary interface; this header is of version 1.
#[unsafe(no_mangle)]
pub extern "C" fn lsm_abi_version() -> u32 {
    ABI_VERSION
}

/// The library's version, for example "0.1.0". Static: never freed.
#[unsafe(no_mangle)]
pub extern "C" fn lsm_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The name of a code, for example "LSM_E_IO"; "LSM_UNKNOWN" for a number that is none. Static, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn lsm_code_name(code: i32) -> *const c_char {
    CODE_NAMES.iter().find(|(number, _)| *number == code).map_or(c"LSM_UNKNOWN".as_ptr(), |(_, name)| name.as_ptr())
}

/// 1 if this build has the feature ("lz4", "zstd"), else 0.
///
/// NULL: gives 0. Threads: any.
///
/// # Safety
/// `name` is NULL or ends in NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_has_feature(name: *const c_char) -> i32 {
    if name.is_null() {
        return 0;
    }
    // SAFETY: not NULL; ends in NUL by this function's contract.
    let name = unsafe { CStr::from_ptr(name) };
    i32::from(FEATURES.contains(&name))
}
