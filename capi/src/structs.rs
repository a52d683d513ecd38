//! The plain structs of the header, byte for byte, and the opaque names of later waves.
//!
//! Invariants
//! - I1  The first field of an options struct is `size`; fields are only ever appended.
//!
//! Threads: plain values.

use crate::batch::lsm_batch;
use crate::snapshot::lsm_snapshot;
use std::ffi::c_void;

/// One entry of an iterator. The bytes belong to the iterator and are valid until the next call on it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lsm_entry {
    /// The key.
    pub key: *const u8,
    /// Its length.
    pub key_len: usize,
    /// The value; NULL with `LSM_READ_KEYS_ONLY`.
    pub value: *const u8,
    /// Its length.
    pub value_len: usize,
    /// The sequence number of the version shown.
    pub seq: u64,
    /// 0; room for kind and expiry.
    pub reserved: u64,
}

/// Per-read settings. Start from `LSM_READ_OPTIONS_INIT`; NULL instead of a pointer to one means the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lsm_read_options {
    /// `sizeof(lsm_read_options)`. Below 8 is `LSM_E_INVALID`; a smaller struct is read as if zeros followed; bytes
    /// beyond the known fields must be zero.
    pub size: u32,
    /// `LSM_READ_NO_FILL_CACHE | LSM_READ_VERIFY_CHECKSUMS | LSM_READ_KEYS_ONLY` (the last: iterators only).
    pub flags: u32,
    /// Read as of this snapshot; NULL: as of now.
    pub snapshot: *mut lsm_snapshot,
    /// Must be NULL in this version (`LSM_E_UNSUPPORTED`).
    pub txn: *mut lsm_txn,
    /// Must be NULL in this version (`LSM_E_UNSUPPORTED`).
    pub overlay: *mut lsm_batch,
    /// First key an iterator shows; NULL: unbounded.
    pub lower: *const c_void,
    /// Its length.
    pub lower_len: usize,
    /// First key an iterator does not show; NULL: unbounded.
    pub upper: *const c_void,
    /// Its length.
    pub upper_len: usize,
    /// An iterator shows only keys that start so; intersects both bounds; NULL: all.
    pub prefix: *const c_void,
    /// Its length.
    pub prefix_len: usize,
    /// Gives up with `LSM_E_TIMEOUT` so many microseconds after the call began; 0: never.
    pub deadline_micros: u64,
    /// An iterator step that passes more hidden entries than this answers `LSM_E_STALLED` and keeps its position;
    /// 0: no limit.
    pub max_skip: u64,
    /// A hint for scans; 0: automatic.
    pub readahead_bytes: u32,
    /// Must be 0 in this version (`LSM_E_UNSUPPORTED`).
    pub io_class: u32,
}

/// Per-write settings. Start from `LSM_WRITE_OPTIONS_INIT`; NULL instead of a pointer to one means the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct lsm_write_options {
    /// `sizeof(lsm_write_options)`. Below 8 is `LSM_E_INVALID`; a smaller struct is read as if zeros followed; bytes
    /// beyond the known fields must be zero.
    pub size: u32,
    /// Must be 0: no write flag exists in this version (`LSM_E_INVALID`).
    pub flags: u32,
    /// `LSM_DURABILITY_DEFAULT`, `_MEMORY`, `_OS` or `_FSYNC`.
    pub durability: i32,
    /// Must be 0 in this version (`LSM_E_UNSUPPORTED`).
    pub io_class: u32,
    /// Gives up with `LSM_E_TIMEOUT`, before any effect, so many microseconds after the call began; 0: never.
    pub deadline_micros: u64,
    /// Must be 0 in this version (`LSM_E_UNSUPPORTED`).
    pub ttl_micros: u64,
}

const _: () = assert!(size_of::<lsm_entry>() == 48);
const _: () = assert!(size_of::<lsm_read_options>() == 104);
const _: () = assert!(size_of::<lsm_write_options>() == 32);

// The names of later waves are declared from the first header on; no function of this version takes or gives one.
// (Spelled out: the header generator does not look into macros.)

/// A transaction (a later version).
pub struct lsm_txn {
    _private: [u8; 0],
}

/// Long work with progress (a later version).
pub struct lsm_job {
    _private: [u8; 0],
}

/// A backup folder (a later version).
pub struct lsm_backup {
    _private: [u8; 0],
}

/// A change feed (a later version).
pub struct lsm_feed {
    _private: [u8; 0],
}

/// A writer of external tables (a later version).
pub struct lsm_table_writer {
    _private: [u8; 0],
}

/// A completion queue (a later version).
pub struct lsm_queue {
    _private: [u8; 0],
}

/// Resources shared by databases (a later version).
pub struct lsm_shared {
    _private: [u8; 0],
}
