//! L4: cursors over many runs, what of them must live, and where a run that is written down goes.

pub mod level;
pub mod merge;
pub mod output;
pub mod retain;

#[cfg(test)]
pub(crate) mod testing;
