//! L7: the C ABI. Every export is here and nowhere else; the engine below never sees a C pointer.
//!
//!     guard    the boundary: panics, poisoning, argument conversion
//!     status   the codes and numbers of the header
//!     handle   lsm_db and lsm_keyspace slots, calls in flight
//!     slab     type-stable cells with quarantine: iterators, batches, snapshots, values
//!     fork     what a child process of the host may and may not do
//!     the rest one file per section of `include/lsm.h`
//!
//! Invariants
//! - I1  No export unwinds, aborts or prints; a caught panic poisons the database handle.
//! - I2  No call dereferences memory of a handle that is not a slot or a cell; both are never unmapped.
//! - I3  An engine object is touched only between a successful `enter` and its guard's drop; `lsm_close` destroys it
//!   only after all guards are gone.
//! - I4  Outputs are written only on `LSM_OK` or as a documented positive outcome.
//!
//! Threads: every file says its own rule. Failure: a code, and an `lsm_error` when the caller asked for one.
#![expect(non_camel_case_types, reason = "the names of the C header")]

pub mod fork;
pub mod guard;
pub mod handle;
mod layout;
pub mod log_callback;
pub mod slab;
pub mod status;
pub mod structs;

// In the order of the header; the blank lines keep it.
pub mod version;

pub mod bytes;

pub mod error;

pub mod options;

pub mod db;

pub mod keyspace;

pub mod write;

pub mod batch;

pub mod read;

pub mod iter;

pub mod snapshot;

pub mod admin;
