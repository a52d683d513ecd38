//! The engine's own files, compiled against loom's atomics and locks instead of the standard library's: what `tests/` runs
//! is the code that ships, not a drawing of it. Only waiting is different (`cfg(loom)` in `publish.rs`): no spinning, a
//! ring of four slots, and a sleep that no clock ends, so that a lost wake-up is a deadlock that loom reports.
//!
//! What loom cannot take in, or what would hide an error from it, has a stand-in here: the epoch (`base/epoch.rs`), `Arc`
//! (`base/arc.rs`), the kept allocations of frames (`cache/spare.rs`). Memory that was freed in a model stays until its end,
//! so that a late look at it is told (`base/life.rs`) and not met.
//!
//! Empty without `--cfg loom`.
#![cfg(loom)]
#![allow(dead_code, missing_docs, reason = "files of the engine that use a part of each other")]

pub mod base;
pub mod cache;
pub mod error;
pub mod memtable;
pub mod wal;
