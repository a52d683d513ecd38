//! A manifest and a `CURRENT` read from loose bytes, as an open does: for fuzzers and tools.
//!
//! Threads: plain functions. Failure: `Corruption` or `Version`; whatever the bytes, no panic.

use super::current::Current;
use super::draft::{Draft, State};
use super::manifest::{self, Extent};
use super::meta::ObsoleteQueue;
use crate::base::ids::FileIdentity;
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Reads the bytes of a manifest into a state; how many snapshots and edits it holds.
pub fn read_manifest_bytes(bytes: &[u8], identity: FileIdentity) -> Result<usize> {
    let mut draft = Draft::new(&State::default(), &Arc::new(ObsoleteQueue::default()));
    let mut units = 0;
    manifest::read(Path::new("MANIFEST"), bytes, identity, Extent::AtLeast(0), |unit| {
        units += 1;
        draft.apply(unit.record.edit).map_err(Error::corruption)?;
        draft.forget_gone();
        draft.raise_next_keyspace(unit.record.next_keyspace.unwrap_or(0));
        Ok(())
    })?;
    draft.finish().map_err(Error::corruption)?;
    Ok(units)
}

/// Reads the bytes of a `CURRENT`; which manifest it names.
pub fn read_current_bytes(bytes: &[u8]) -> Result<FileIdentity> {
    Current::decode(bytes).map(|current| current.manifest)
}
