//! All levels of one keyspace at one time, and the other parts of the state that callers see.
//!
//! Threads: immutable; shared by `Arc`.

use super::LEVEL_COUNT_MAX;
use super::levels::LevelFiles;
use super::meta::TableHandle;
use crate::base::ids::{FileNumber, KeyspaceId, Level, SeqNo};
use crate::error::{Error, Result};
use crate::wal::CleanEnd;
use std::fmt;
use std::sync::Arc;

/// An immutable picture of one keyspace's tables.
#[derive(Default)]
pub struct Version {
    levels: [LevelFiles; LEVEL_COUNT_MAX],
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |level: &LevelFiles| level.files().iter().map(|t| t.meta().number.0).collect::<Vec<_>>();
        f.debug_list().entries(self.levels.iter().map(numbers)).finish()
    }
}

impl Version {
    /// No tables.
    pub fn empty() -> Arc<Version> {
        Arc::new(Version::default())
    }

    /// The version that has these tables. Overlapping ones in a level above 0, or a level out of range: `Invalid`.
    pub fn from_tables(tables: impl IntoIterator<Item = (Level, Arc<TableHandle>)>) -> Result<Arc<Version>> {
        Version::build(tables).map(Arc::new).map_err(Error::invalid)
    }

    pub(super) fn build(
        tables: impl IntoIterator<Item = (Level, Arc<TableHandle>)>,
    ) -> std::result::Result<Version, String> {
        let mut by_level: [Vec<Arc<TableHandle>>; LEVEL_COUNT_MAX] = Default::default();
        for (level, table) in tables {
            match by_level.get_mut(usize::from(level.0)) {
                Some(files) => files.push(table),
                None => return Err(format!("table {} is in level {level}, which cannot be", table.meta().number)),
            }
        }
        let mut version = Version::default();
        for (i, files) in by_level.into_iter().enumerate() {
            version.levels[i] = if i == 0 {
                LevelFiles::new_overlapping(files)
            } else {
                LevelFiles::new_sorted(files).map_err(|e| format!("level {i}: {e}"))?
            };
        }
        Ok(version)
    }

    /// The levels, 0 first; always `LEVEL_COUNT_MAX` of them.
    #[inline]
    pub fn levels(&self) -> &[LevelFiles] {
        &self.levels
    }

    /// All tables.
    pub fn tables(&self) -> impl Iterator<Item = (Level, &Arc<TableHandle>)> {
        self.levels.iter().enumerate().flat_map(|(i, l)| l.files().iter().map(move |f| (Level(i as u8), f)))
    }
}

/// A keyspace as the manifest knows it.
#[derive(Clone)]
pub struct KeyspaceRecord {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: Vec<u8>,
    /// Its persisted options.
    pub options: String,
    /// Everything of it up to here is in tables.
    pub flushed_seq: SeqNo,
    /// Its tables.
    pub version: Arc<Version>,
}

/// The log as the manifest knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Segments below this are not needed.
    pub first_segment: FileNumber,
    /// The log has at least this segment, if one was started.
    pub segment_started: Option<FileNumber>,
    /// Where the log ended at a clean close.
    pub clean_end: Option<CleanEnd>,
    /// Every sequence number up to this may have been used.
    pub last_seq: SeqNo,
}
