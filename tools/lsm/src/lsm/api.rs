//! `include/lsm.h` as Rust sees it: the functions that the tool calls, the two option structs and the numbers. A test
//! compares every line with the header.

use std::ffi::{c_char, c_void};

/// An opaque handle.
pub type P = *mut c_void;
/// Where a call stores its error.
pub type Err = *mut P;

/// `lsm_write_options`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WriteOptions {
    /// `sizeof`.
    pub size: u32,
    /// 0.
    pub flags: u32,
    /// `LSM_DURABILITY_*`.
    pub durability: i32,
    /// 0.
    pub io_class: u32,
    /// 0: none.
    pub deadline_micros: u64,
    /// 0.
    pub ttl_micros: u64,
}

/// `lsm_read_options`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ReadOptions {
    /// `sizeof`.
    pub size: u32,
    /// `LSM_READ_*`.
    pub flags: u32,
    /// NULL: now.
    pub snapshot: P,
    /// NULL.
    pub txn: P,
    /// NULL.
    pub overlay: P,
    /// First key shown.
    pub lower: *const u8,
    /// Its length.
    pub lower_len: usize,
    /// First key not shown.
    pub upper: *const u8,
    /// Its length.
    pub upper_len: usize,
    /// What every key shown begins with.
    pub prefix: *const u8,
    /// Its length.
    pub prefix_len: usize,
    /// 0: none.
    pub deadline_micros: u64,
    /// 0: no limit.
    pub max_skip: u64,
    /// 0: automatic.
    pub readahead_bytes: u32,
    /// 0.
    pub io_class: u32,
}

/// `lsm_entry`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    /// The key.
    pub key: *const u8,
    /// Its length.
    pub key_len: usize,
    /// The value.
    pub value: *const u8,
    /// Its length.
    pub value_len: usize,
    /// The version's sequence number.
    pub seq: u64,
    /// 0.
    pub reserved: u64,
}

/// The binary interface that this tool is written for.
pub const ABI_VERSION: u32 = 1;
/// `LSM_OK`.
pub const OK: i32 = 0;
/// `LSM_NOT_FOUND`.
pub const NOT_FOUND: i32 = 1;
/// `LSM_END`.
pub const END: i32 = 2;
/// `LSM_TRUNCATED`.
pub const TRUNCATED: i32 = 3;
/// `LSM_E_INVALID`.
pub const E_INVALID: i32 = -1;
/// `LSM_E_CORRUPTION`.
pub const E_CORRUPTION: i32 = -3;
/// `LSM_E_LOCKED`.
pub const E_LOCKED: i32 = -8;
/// `LSM_E_UNSUPPORTED`.
pub const E_UNSUPPORTED: i32 = -13;
/// `LSM_E_VERSION`.
pub const E_VERSION: i32 = -17;
/// `LSM_E_PANIC`.
pub const E_PANIC: i32 = -22;
/// `LSM_FORWARD`.
pub const FORWARD: i32 = 0;
/// `LSM_BACKWARD`.
pub const BACKWARD: i32 = 1;
/// `LSM_SEEK_GE`.
pub const SEEK_GE: i32 = 2;
/// `LSM_READ_KEYS_ONLY`.
pub const READ_KEYS_ONLY: u32 = 4;
/// `LSM_READ_NO_FILL_CACHE`.
pub const READ_NO_FILL_CACHE: u32 = 1;
/// `LSM_DURABILITY_DEFAULT`.
pub const DURABILITY_DEFAULT: i32 = 0;
/// `LSM_DURABILITY_FSYNC`.
pub const DURABILITY_FSYNC: i32 = 3;
/// `LSM_METRICS_PROMETHEUS`.
pub const METRICS_PROMETHEUS: i32 = 0;
/// `LSM_METRICS_JSON`.
pub const METRICS_JSON: i32 = 1;

/// Every number above with its name in the header.
#[cfg(test)]
pub const NUMBERS: &[(&str, i64)] = &[
    ("LSM_OK", OK as i64),
    ("LSM_NOT_FOUND", NOT_FOUND as i64),
    ("LSM_END", END as i64),
    ("LSM_TRUNCATED", TRUNCATED as i64),
    ("LSM_E_INVALID", E_INVALID as i64),
    ("LSM_E_CORRUPTION", E_CORRUPTION as i64),
    ("LSM_E_LOCKED", E_LOCKED as i64),
    ("LSM_E_UNSUPPORTED", E_UNSUPPORTED as i64),
    ("LSM_E_VERSION", E_VERSION as i64),
    ("LSM_E_PANIC", E_PANIC as i64),
    ("LSM_FORWARD", FORWARD as i64),
    ("LSM_BACKWARD", BACKWARD as i64),
    ("LSM_SEEK_GE", SEEK_GE as i64),
    ("LSM_READ_KEYS_ONLY", READ_KEYS_ONLY as i64),
    ("LSM_READ_NO_FILL_CACHE", READ_NO_FILL_CACHE as i64),
    ("LSM_DURABILITY_DEFAULT", DURABILITY_DEFAULT as i64),
    ("LSM_DURABILITY_FSYNC", DURABILITY_FSYNC as i64),
    ("LSM_METRICS_PROMETHEUS", METRICS_PROMETHEUS as i64),
    ("LSM_METRICS_JSON", METRICS_JSON as i64),
];

crate::api!(Api {
    version = "lsm_version": fn() -> *const c_char;
    code_name = "lsm_code_name": fn(i32) -> *const c_char;
    free = "lsm_free": fn(*mut u8);
    error_message = "lsm_error_message": fn(P) -> *const c_char;
    error_free = "lsm_error_free": fn(P);
    options_new = "lsm_options_new": fn() -> P;
    options_free = "lsm_options_free": fn(P);
    options_set = "lsm_options_set": fn(P, *const c_char, *const c_char, Err) -> i32;
    options_describe = "lsm_options_describe": fn(*mut *mut c_char) -> i32;
    open = "lsm_open": fn(*const c_char, P, Err, Err) -> i32;
    close = "lsm_close": fn(P, Err) -> i32;
    sequence = "lsm_sequence": fn(P, *mut u64, *mut u64) -> i32;
    keyspace_open = "lsm_keyspace_open": fn(P, *const c_char, P, Err, Err) -> i32;
    keyspace_release = "lsm_keyspace_release": fn(P);
    keyspace_list = "lsm_keyspace_list": fn(P, Err, Err) -> i32;
    list_len = "lsm_list_len": fn(P) -> usize;
    list_get = "lsm_list_get": fn(P, usize) -> *const c_char;
    list_free = "lsm_list_free": fn(P);
    put = "lsm_put": fn(P, *const WriteOptions, *const u8, usize, *const u8, usize, Err) -> i32;
    delete = "lsm_delete": fn(P, *const WriteOptions, *const u8, usize, Err) -> i32;
    write_packed = "lsm_write_packed": fn(P, *const WriteOptions, *const u8, usize, *mut u64, Err) -> i32;
    get = "lsm_get": fn(P, *const ReadOptions, *const u8, usize, *mut u8, usize, *mut usize, Err) -> i32;
    get_pinned = "lsm_get_pinned":
        fn(P, *const ReadOptions, *const u8, usize, Err, *mut *const u8, *mut usize, Err) -> i32;
    value_release = "lsm_value_release": fn(P);
    iter_open = "lsm_iter_open": fn(P, *const ReadOptions, Err, Err) -> i32;
    iter_seek = "lsm_iter_seek": fn(P, i32, *const u8, usize, *mut Entry, Err) -> i32;
    iter_read_packed = "lsm_iter_read_packed": fn(P, i32, *mut u8, usize, *mut usize, *mut u32, Err) -> i32;
    iter_close = "lsm_iter_close": fn(P);
    flush = "lsm_flush": fn(P, P, Err) -> i32;
    compact = "lsm_compact": fn(P, *const u8, usize, *const u8, usize, Err) -> i32;
    property = "lsm_property": fn(P, P, *const c_char, *mut *mut c_char, Err) -> i32;
    metrics = "lsm_metrics": fn(P, i32, *mut *mut c_char, Err) -> i32;
} optional {
    verify = "lsm_verify": fn(P, *mut *mut c_char, Err) -> i32;
    repair = "lsm_repair": fn(*const c_char, P, *mut *mut c_char, Err) -> i32;
});

#[cfg(test)]
mod tests;
