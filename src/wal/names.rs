//! The two kinds of file that the log makes and reads, by the names of `fs::names`.
//!
//! Threads: plain functions. Failure: none; a name that is not exactly ours is not a segment.

use crate::base::ids::FileNumber;
use crate::fs::names::{self, FileKind};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The name of segment `number`.
pub fn segment_name(number: FileNumber) -> String {
    names::name(FileKind::Wal, number)
}

/// Where segment `number` is.
pub fn segment_path(dir: &Path, number: FileNumber) -> PathBuf {
    names::path(dir, FileKind::Wal, number)
}

/// Where the spare with `number` is.
pub fn spare_path(dir: &Path, number: FileNumber) -> PathBuf {
    names::path(dir, FileKind::Spare, number)
}

/// The number of a segment, if that is what the name says.
pub fn parse_segment(name: &OsStr) -> Option<FileNumber> {
    names::parse(name).filter(|(kind, _)| *kind == FileKind::Wal).map(|(_, number)| number)
}
