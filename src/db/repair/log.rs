//! The log of a damaged folder: replayed as an open would, or else every batch that is left of it, into tables.
//!
//! Threads: one. Failure: errors of writing, and no memory.

use super::Repair;
use super::report::Loss;
use crate::base::ids::{FileNumber, KeyspaceId, Level, SeqNo};
use crate::base::iter::View;
use crate::batch::{BatchEntry, BatchReader};
use crate::error::{Code, Error, Result};
use crate::fs::Fs;
use crate::fs::OpenMode;
use crate::fs::names::{self, FileKind};
use crate::iter::merge::Source;
use crate::memtable::{MemTable, MemTableConfig};
use crate::version::{FileMeta, Remains};
use crate::wal::{self, ReplayFrom};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a memtable that recovered entries go into.
const MEMTABLE_BYTES: usize = 64 << 20;

/// Replays the log as an open does: any damage is an error. Answers where it was torn, if it was.
pub(super) fn replay_strictly(
    fs: &dyn Fs,
    dir: &Path,
    database: u128,
    known: &Remains,
    apply: &mut wal::Apply<'_>,
) -> Result<Option<String>> {
    let from = ReplayFrom {
        first_segment: known.log.first_segment,
        flushed_seq: known.keyspaces.values().map(|k| k.flushed_seq).min().unwrap_or_default(),
        clean_end: if known.is_exact { known.log.clean_end } else { None },
    };
    let replayed = wal::replay(fs, dir, database, from, apply)?;
    match known.log.segment_started.filter(|started| known.is_exact && *started >= from.first_segment) {
        Some(started) if !replayed.segments.contains(&started) => {
            let name = names::name(FileKind::Wal, started);
            Err(Error::corruption(format!("{name}: the log segment is missing")))
        }
        _ => Ok(replayed.torn),
    }
}

/// Memtables filled from the log, per keyspace oldest first.
#[derive(Default)]
struct Recovered {
    tables: BTreeMap<KeyspaceId, Vec<Arc<MemTable>>>,
    last_seq: SeqNo,
}

impl Recovered {
    fn apply(&mut self, known: &Remains, first: SeqNo, payload: &[u8]) -> Result<()> {
        let mut reader = BatchReader::new(payload);
        let mut seq = first;
        while let Some(entry) = reader.next_entry()? {
            let is_dropped = known.is_exact
                && !known.keyspaces.contains_key(&entry.keyspace)
                && entry.keyspace.0 < known.next_keyspace;
            let is_flushed = known.keyspaces.get(&entry.keyspace).is_some_and(|k| seq <= k.flushed_seq);
            if !is_dropped && !is_flushed {
                self.insert(seq, &entry)?;
            }
            self.last_seq = self.last_seq.max(seq);
            seq.0 += 1;
        }
        Ok(())
    }

    fn insert(&mut self, seq: SeqNo, entry: &BatchEntry<'_>) -> Result<()> {
        let payload = entry.key.len() + entry.value.len();
        let tables = self.tables.entry(entry.keyspace).or_default();
        let mut space = tables.last().filter(|t| !t.is_full()).and_then(|table| table.reserve(1, payload));
        if space.is_none() {
            let single_bytes_max = MemTable::space_for(1, payload);
            let table = MemTable::new(MemTableConfig { bytes_max: MEMTABLE_BYTES, single_bytes_max })?;
            space = table.reserve(1, payload);
            tables.push(table);
        }
        match (tables.last(), &mut space) {
            (Some(table), Some(space)) => table.insert(space, entry.key, seq, entry.kind, entry.value),
            _ => return Err(Error::new(Code::NoMem, format!("no memtable takes an entry of {payload} bytes"))),
        }
        Ok(())
    }
}

impl Repair {
    /// Writes what the log holds into tables. `why`: what an open would say of it.
    pub(super) fn rewrite_log(&mut self, why: Option<Error>) -> Result<Vec<(KeyspaceId, FileMeta)>> {
        let mut recovered = Recovered::default();
        let known = self.known.clone();
        let mut is_whole = false;
        if !known.is_exact {
            // Without a manifest nobody said where the log begins; it may well be sound.
            let replayed = replay_strictly(&*self.fs, &self.dir, self.database, &known, &mut |first, _, payload| {
                recovered.apply(&known, first, payload)
            });
            is_whole = match replayed {
                Ok(torn) => {
                    self.note_torn(torn);
                    true
                }
                Err(error) if matches!(error.code(), Code::Corruption | Code::Io) => false,
                Err(error) => return Err(error),
            };
        }
        if !is_whole {
            recovered = Recovered::default();
            self.salvage_log(&known, &mut recovered, why)?;
        }
        self.report.is_log_rewritten = true;
        self.known.log.last_seq = self.known.log.last_seq.max(recovered.last_seq);
        let mut metas = Vec::new();
        for (id, tables) in recovered.tables {
            self.ensure(id, None);
            let sources = tables.iter().rev().map(|table| Source::Mem(table.cursor(View::All))).collect();
            metas.extend(self.write_sorted(id, Level(0), sources)?.into_iter().map(|meta| (id, meta)));
        }
        Ok(metas)
    }

    /// A crash leaves a log so, and an open leaves out what is behind.
    pub(super) fn note_torn(&mut self, torn: Option<String>) {
        if let Some(torn) = torn {
            self.report.note(format!("the log ends as a crash leaves it: {torn}"));
        }
    }

    fn salvage_log(&mut self, known: &Remains, recovered: &mut Recovered, why: Option<Error>) -> Result<()> {
        let segments = self.segments()?;
        if segments.is_empty() && known.log.segment_started.is_none_or(|s| s < known.log.first_segment) {
            return Ok(());
        }
        let flushed = known.keyspaces.values().map(|k| k.flushed_seq).min().unwrap_or_default();
        let mut refused = None;
        let found = wal::salvage(self.database, flushed, &segments, &mut |first, _, payload| {
            match recovered.apply(known, first, payload) {
                // Its checksum is right and its content is not: what somebody wrote so.
                Err(error) if error.code() == Code::Corruption => {
                    refused = Some(error);
                    Ok(())
                }
                other => other,
            }
        })?;
        recovered.last_seq = recovered.last_seq.max(found.highest);
        if let Some(error) = refused {
            self.report.note(format!("a batch of the log makes no sense: {}", error.message()));
        }
        for loss in &found.lost {
            let (from, to) = (loss.from.0, loss.to.map(|to| to.0));
            self.report.entries_lost += to.unwrap_or(from).saturating_sub(from);
            let none = if to == Some(from) { "no entry is lost: " } else { "" };
            self.report.lose(Loss {
                file: names::name(FileKind::Wal, loss.number),
                place: Some((loss.offset, 0)),
                sequences: Some((from, to)),
                reason: format!("{none}{}", loss.reason),
                ..Loss::default()
            });
        }
        if found.lost.is_empty()
            && let Some(why) = why.filter(|_| known.is_exact)
        {
            // A missing segment, or one that ends too early: only the open can tell.
            let sequences = Some((found.highest.0 + 1, None));
            self.report.lose(Loss {
                file: "log".to_owned(),
                sequences,
                reason: why.message().to_owned(),
                ..Loss::default()
            });
        }
        for number in found.damaged {
            self.damaged.push(names::name(FileKind::Wal, number));
        }
        Ok(())
    }

    /// Every segment that may be needed, those that a repair cut short had set aside among them.
    fn segments(&mut self) -> Result<Vec<(FileNumber, Arc<dyn crate::fs::File>)>> {
        let first = self.known.log.first_segment;
        let mut paths: BTreeMap<FileNumber, std::path::PathBuf> = BTreeMap::new();
        if self.known.is_exact {
            for number in self.aside(FileKind::Wal)? {
                let name = names::aside(&names::name(FileKind::Wal, number), 1);
                paths.insert(number, self.dir.join(name));
            }
        }
        for number in self.numbers(FileKind::Wal)? {
            paths.insert(number, names::path(&self.dir, FileKind::Wal, number));
        }
        let mut segments = Vec::new();
        for (number, path) in paths.into_iter().filter(|(number, _)| *number >= first) {
            let is_file = self.fs.metadata(&path)?.is_some_and(|meta| meta.is_file);
            let opened =
                if is_file { self.fs.open(&path, OpenMode::Read) } else { Err(Error::corruption("not a file")) };
            match opened {
                Ok(file) => segments.push((number, file)),
                Err(error) => {
                    self.report.lose(Loss {
                        file: names::name(FileKind::Wal, number),
                        sequences: Some((0, None)),
                        reason: error.message().to_owned(),
                        ..Loss::default()
                    });
                    self.damaged.push(names::name(FileKind::Wal, number));
                }
            }
        }
        Ok(segments)
    }
}
