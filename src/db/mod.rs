//! L6: the database: options, opening, the write path, the read path, background work. The only layer that spawns threads.
//!
//! `capi/` sees what is re-exported here.

mod admin;
mod api;
mod background;
mod close;
mod inner;
mod keyspaces;
mod log_file;
mod open;
pub mod options;
mod properties;
mod read;
mod recover;
mod repair;
mod resume;
mod scan;
mod schema;
mod snapshots;
mod stall;
mod state;
mod stats;
mod status;
mod verify;
mod write;

pub use api::*;
pub use options::Options;
