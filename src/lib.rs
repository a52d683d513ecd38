//! The engine behind liblsm: an embedded, ordered key-value store as a log-structured merge tree.
//!
//! Layers, lowest first; a folder imports only from lower ones and folders of one level are strangers:
//!
//!     L0 base      numbers, keys, codecs, checksums, arena, epochs, locks, cursor trait, counters
//!     L1 fs cache              files; block frames
//!     L2 batch memtable wal sstable
//!     L3 version               manifest, levels, table cache
//!     L4 iter inspect          merging cursors, retention; files seen from outside
//!     L5 flush compaction      jobs that turn runs into tables
//!     L6 db                    the database: the only layer that spawns threads
//!
//! The C ABI (`capi/`) sees what `db`, `error` and `base` make public here, nothing else. The `lsm` tool sees `inspect`
//! and the types it hands out.
#![doc(html_no_source)]

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("liblsm runs on 64-bit little-endian targets only");

pub mod base;
pub mod batch;
pub mod cache;
pub mod compaction;
pub mod db;
pub mod error;
pub mod flush;
pub mod fs;
pub mod inspect;
pub mod iter;
pub mod memtable;
pub mod sstable;
pub mod version;
pub mod wal;

pub use error::{Code, Error, Result};
