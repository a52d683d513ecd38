//! L3: which tables make up each keyspace, and the manifest that remembers it.
//!
//!     meta         a table's record and its handle in memory
//!     levels       the tables of one level, searched by key
//!     tree         all levels of one keyspace at one time: `Version`
//!     table_cache  opens tables on demand, closes them again
//!     edit         a change, and its bytes
//!     manifest     the file of changes: header, records, torn tails
//!     current      the file that names the manifest in force
//!     draft        edits applied to a state, checked: pure
//!     recover      from files to a state
//!     salvage      from what is left of damaged files to a new manifest
//!     loose        manifests from loose bytes, for fuzzers and tools
//!     dump         the same for people who look into the files
//!     set          the state in force: log, apply, publish
//!
//! Threads: a `Version` is immutable; `VersionSet` serialises edits inside. Failure: see `set`.

mod current;
mod draft;
mod dump;
mod edit;
mod levels;
mod loose;
mod manifest;
mod meta;
mod recover;
mod salvage;
mod set;
mod table_cache;
mod tree;

#[cfg(test)]
mod tests;

pub use current::refuse_foreign;
pub use dump::{
    CurrentFile, ManifestHead, ManifestState, ManifestUnit, dump_manifest, manifest_head, manifest_state, read_current,
};
pub use edit::VersionEdit;
pub use levels::LevelFiles;
pub use loose::{read_current_bytes, read_manifest_bytes};
pub use meta::{FileMeta, ObsoleteQueue, TableHandle};
pub use salvage::{KeyspaceRemains, Remains, rebuild, remains};
pub use set::{VersionSet, VersionSetConfig};
pub use table_cache::TableCache;
pub use tree::{KeyspaceRecord, LogState, Version};

/// Most levels a keyspace may have.
pub const LEVEL_COUNT_MAX: usize = 12;
