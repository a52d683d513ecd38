//! Every place of a database folder that holds one key: versions in tables, entries of batches in the log.
//!
//! Threads: any. Failure: a file that cannot be read is a `Sighting::Damage`, and the search goes on with the next.

use super::Folder;
use crate::base::ids::{FileNumber, KeyspaceId, Level, SeqNo};
use crate::base::key::EntryKind;
use crate::batch::BatchReader;
use crate::error::{Error, Result};
use crate::fs::names::FileKind;
use crate::sstable::{TablePart, TableReader};
use crate::version::ManifestState;
use crate::wal::{RecordKind, SegmentItem, SegmentRecord};
use std::collections::BTreeMap;
use std::path::Path;

/// One place.
pub struct Sighting<'a> {
    /// The file.
    pub path: &'a Path,
    /// Offset of the data block or of the log record.
    pub offset: u64,
    /// The keyspace; unknown for a table that the manifest does not name.
    pub keyspace: Option<KeyspaceId>,
    /// The table's level; `None` in the log and for tables that the manifest does not name.
    pub level: Option<Level>,
    /// The version's sequence number.
    pub seq: SeqNo,
    /// Put or delete.
    pub kind: EntryKind,
    /// The value; empty for a delete.
    pub value: &'a [u8],
    /// A table that the manifest does not name, or a record behind the end of its segment: not part of the database.
    pub is_dropped: bool,
}

/// What a search tells.
pub enum Sought<'a> {
    /// The key stands here.
    Here(Sighting<'a>),
    /// This file, or this part of it, could not be searched.
    Damage(&'a Path, &'a Error),
    /// A file was searched.
    Searched(&'a Path),
}

/// Where the manifest has a table.
type Places = BTreeMap<FileNumber, (KeyspaceId, Level)>;

fn places(state: Option<&ManifestState>) -> Places {
    let keyspaces = state.map_or(&[][..], |state| &state.keyspaces);
    let tables = keyspaces.iter().flat_map(|k| k.version.tables().map(|(level, t)| (t.meta().number, (k.id, level))));
    tables.collect()
}

impl Folder {
    /// Looks for `key` in every table and log segment of the folder and hands each place to `each`. `state` says which
    /// tables are in force; without it (the manifest is damaged) none is said to be.
    pub fn find(&self, key: &[u8], state: Option<&ManifestState>, each: &mut dyn FnMut(Sought<'_>)) -> Result<()> {
        let database = self.database()?;
        let places = places(state);
        for file in self.files()? {
            let done = match file.kind {
                FileKind::Table => {
                    let place = places.get(&file.number).copied();
                    let table = self.table(&file.path, database, Some(file.number));
                    table.map(|table| find_in_table(&table, &file.path, key, place, each))
                }
                FileKind::Wal => self.find_in_segment(&file.path, key, each),
                _ => continue,
            };
            match done {
                Ok(()) => each(Sought::Searched(&file.path)),
                Err(error) => each(Sought::Damage(&file.path, &error)),
            }
        }
        Ok(())
    }

    fn find_in_segment(&self, path: &Path, key: &[u8], each: &mut dyn FnMut(Sought<'_>)) -> Result<()> {
        let mut walk = |item: SegmentItem<'_>| {
            if let SegmentItem::Record(record) = item
                && record.kind == RecordKind::Batch
                && let Err(error) = find_in_batch(path, &record, key, each)
            {
                each(Sought::Damage(path, &error.context(format!("record at offset {}", record.offset))));
            }
            true
        };
        self.segment(path, &mut walk).map(drop)
    }
}

fn find_in_batch(path: &Path, record: &SegmentRecord<'_>, key: &[u8], each: &mut dyn FnMut(Sought<'_>)) -> Result<()> {
    let mut entries = BatchReader::new(record.payload);
    let mut seq = record.first_seq.0;
    while let Some(entry) = entries.next_entry()? {
        if entry.key == key {
            each(Sought::Here(Sighting {
                path,
                offset: record.offset,
                keyspace: Some(entry.keyspace),
                level: None,
                seq: SeqNo(seq),
                kind: entry.kind,
                value: entry.value,
                is_dropped: record.is_behind_end,
            }));
        }
        seq += 1;
    }
    Ok(())
}

fn find_in_table(
    table: &TableReader,
    path: &Path,
    key: &[u8],
    place: Option<(KeyspaceId, Level)>,
    each: &mut dyn FnMut(Sought<'_>),
) {
    let mut found = Vec::new();
    table.for_each_block(Some(key), &mut |part| {
        let (place_in_file, view) = match part {
            TablePart::Block(at, Ok(view)) => (at, view),
            TablePart::Block(_, Err(error)) | TablePart::LostIndex { error, .. } => {
                each(Sought::Damage(path, &error));
                return true;
            }
        };
        for i in 0..view.count() {
            view.key_into(i, &mut found);
            match found.as_slice().cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Greater => return false,
                std::cmp::Ordering::Equal => each(Sought::Here(Sighting {
                    path,
                    offset: place_in_file.offset,
                    keyspace: place.map(|(keyspace, _)| keyspace),
                    level: place.map(|(_, level)| level),
                    seq: view.seq(i),
                    kind: view.kind(i),
                    value: view.value(i),
                    is_dropped: place.is_none(),
                })),
            }
        }
        true
    });
}
