//! L0: what every layer may use. Knows nothing of files, tables or the database.

pub mod arc_cell;
pub mod arc_slot;
pub mod arena;
pub mod checksum;
pub mod clock;
pub mod codec;
pub mod compress;
pub mod epoch;
pub mod ids;
pub mod iter;
pub mod key;
pub mod log_sink;
pub mod lz4;
pub mod metrics;
pub mod planted;
pub mod sync;

pub(crate) use planted::planted;
