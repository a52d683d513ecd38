//! The two lock-free parts of the log.

#[path = "../../../src/wal/publish.rs"]
pub mod publish;
#[path = "../../../src/wal/reserve.rs"]
pub mod reserve;
