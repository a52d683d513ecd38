//! The tables of a damaged folder: which are sound, what is left of the others, and one order for all of them.
//!
//! Threads: one. Failure: errors of writing; damage is what this is about.

use super::Repair;
use super::report::Loss;
use crate::base::ids::{FileIdentity, FileNumber, KeyspaceId, Level, SeqNo};
use crate::base::iter::{Cursor, View};
use crate::error::{Code, Error, Result};
use crate::fs::File;
use crate::fs::OpenMode;
use crate::fs::names::{self, FileKind};
use crate::iter::merge::{MergeCursor, Source};
use crate::iter::output::TableOutput;
use crate::iter::retain::Retain;
use crate::sstable::{LostRange, Owner, ReadMode, TableReader, TableSummary, salvage};
use crate::version::FileMeta;
use std::path::PathBuf;
use std::sync::Arc;

/// Stands for the keyspace of a damaged table that does not say whose it is, and of a sound one that does not.
const UNOWNED: KeyspaceId = KeyspaceId(u32::MAX);
const UNMARKED: KeyspaceId = KeyspaceId(u32::MAX - 1);

/// A table and its place.
type Placed = (KeyspaceId, Level, FileMeta);

/// What a table looks like.
pub enum Look {
    /// Every byte is right.
    Sound(Placed),
    /// It is there, at `path`, and something is wrong.
    Damaged { number: FileNumber, path: PathBuf, told: Option<Placed>, why: Error },
    /// The manifest names it and it is not there.
    Missing { told: Placed },
}

impl Look {
    /// Whether it can stay as it is.
    pub fn is_sound(&self) -> bool {
        matches!(self, Look::Sound(_))
    }
}

impl Repair {
    /// Reads every byte of every table that counts: those of a sound manifest, or all there are.
    pub(super) fn look_at_tables(&mut self) -> Result<Vec<Look>> {
        let told: Vec<Placed> = self.known.tables.values().cloned().collect();
        if self.known.is_exact {
            return told.into_iter().map(|placed| self.look(placed.2.number, Some(placed))).collect();
        }
        let numbers = self.numbers(FileKind::Table)?;
        let mut looks = Vec::new();
        for (id, _, meta) in told.iter().filter(|(_, _, meta)| !numbers.contains(&meta.number)) {
            self.report.tables.missing += 1;
            self.report.lose(Loss {
                file: names::name(FileKind::Table, meta.number),
                keyspace: Some(self.name_of(*id)),
                keys: (Some(meta.summary.smallest.clone()), Some(meta.summary.largest.clone())),
                reason: "what is left of the manifest names it and it is not there: lost, or replaced since".to_owned(),
                ..Loss::default()
            });
        }
        for number in numbers {
            let placed = told.iter().find(|(_, _, meta)| meta.number == number).cloned();
            looks.push(self.look(number, placed)?);
        }
        Ok(looks)
    }

    fn look(&mut self, number: FileNumber, told: Option<Placed>) -> Result<Look> {
        let name = names::name(FileKind::Table, number);
        let path = self.dir.join(&name);
        let aside = self.dir.join(names::aside(&name, 1));
        if self.fs.metadata(&path)?.is_none() {
            if let Some(told) = told.clone()
                && self.fs.metadata(&aside)?.is_none()
            {
                return Ok(Look::Missing { told });
            }
            let why = Error::corruption("set aside by a repair that was cut short");
            return Ok(Look::Damaged { number, path: aside, told, why });
        }
        match self.read_table(number, told.as_ref()) {
            Ok(placed) => Ok(Look::Sound(placed)),
            Err(why) if matches!(why.code(), Code::Corruption | Code::Io) => {
                Ok(Look::Damaged { number, path, told, why })
            }
            Err(error) => Err(error),
        }
    }

    /// Checks every byte of a table, against what the manifest tells of it where there is one.
    fn read_table(&mut self, number: FileNumber, told: Option<&Placed>) -> Result<Placed> {
        let file = self.open(FileKind::Table, number)?;
        let size = told.map_or_else(|| file.len(), |(_, _, meta)| Ok(meta.summary.size))?;
        let identity = FileIdentity { database: self.database, number };
        let reader = TableReader::open(file, identity, size, Arc::clone(&self.cache))?;
        let checksum = reader.verify_whole(told.map(|(_, _, meta)| meta.summary.checksum))?;
        let meta = FileMeta { number, summary: TableSummary { checksum, ..reader.summary().clone() } };
        match told {
            Some(placed) if placed.2 == meta => Ok(placed.clone()),
            Some(_) => Err(Error::corruption("it is not the table that the manifest describes")),
            None => {
                let id = self.owner(number, reader.owner(), UNMARKED);
                Ok((id, Level(1), meta))
            }
        }
    }

    /// The keyspace of a table that no manifest tells of.
    fn owner(&mut self, number: FileNumber, owner: Option<&Owner>, else_id: KeyspaceId) -> KeyspaceId {
        let Some(owner) = owner else {
            self.report.note(format!("{}: it does not say whose it is", names::name(FileKind::Table, number)));
            return else_id;
        };
        self.ensure(owner.id, Some(&owner.name));
        owner.id
    }

    /// Gives the tables that do not say whose they are to a keyspace of their own, or values of one keyspace would be
    /// served in another. Sound ones (older versions wrote such) go to `default` if that is the only keyspace that anything
    /// tells of.
    pub(super) fn settle_unowned(&mut self, kept: &mut [Placed]) {
        let is_alone = self.known.keyspaces.keys().all(|known| *known == KeyspaceId::DEFAULT);
        kept.iter_mut()
            .filter(|(id, ..)| *id == UNMARKED && is_alone)
            .for_each(|placed| placed.0 = KeyspaceId::DEFAULT);
        let mut rest = kept.iter_mut().filter(|(id, ..)| matches!(*id, UNMARKED | UNOWNED)).peekable();
        if rest.peek().is_some() {
            let id = KeyspaceId(self.known.next_keyspace.max(1));
            self.ensure(id, Some(b"recovered"));
            rest.for_each(|placed| placed.0 = id);
        }
    }

    /// Replaces damaged tables by what is left of them; answers all that count now.
    pub(super) fn rewrite_tables(&mut self, looks: Vec<Look>) -> Result<Vec<Placed>> {
        self.ensure(KeyspaceId::DEFAULT, None);
        let mut kept = Vec::new();
        for look in looks {
            match look {
                Look::Sound(placed) => {
                    self.report.tables.sound += 1;
                    kept.push(placed);
                }
                Look::Missing { told: (id, _, meta) } => {
                    self.report.tables.missing += 1;
                    self.report.entries_lost += meta.summary.entries;
                    self.report.lose(Loss {
                        file: names::name(FileKind::Table, meta.number),
                        keyspace: Some(self.name_of(id)),
                        keys: (Some(meta.summary.smallest), Some(meta.summary.largest)),
                        reason: "the table is missing".to_owned(),
                        ..Loss::default()
                    });
                }
                Look::Damaged { number, path, told, why } => {
                    self.report.tables.rewritten += 1;
                    kept.extend(self.rewrite(number, &path, told, &why)?);
                }
            }
        }
        Ok(kept)
    }

    fn rewrite(
        &mut self,
        number: FileNumber,
        path: &std::path::Path,
        told: Option<Placed>,
        why: &Error,
    ) -> Result<Option<Placed>> {
        let name = names::name(FileKind::Table, number);
        self.damaged.push(name.clone());
        let is_file = self.fs.metadata(path)?.is_some_and(|meta| meta.is_file);
        let file = if is_file { self.fs.open(path, OpenMode::Read) } else { Err(why.clone()) };
        let (id, level) = match (&told, &file) {
            (Some((id, level, _)), _) => (*id, *level),
            (None, Ok(file)) => {
                let identity = FileIdentity { database: self.database, number };
                let (_, owner) = salvage(file, identity, &mut |_| Ok(()))?;
                (self.owner(number, owner.as_ref(), UNOWNED), Level(1))
            }
            (None, Err(_)) => (UNOWNED, Level(1)),
        };
        let (meta, lost) = match &file {
            Ok(file) => self.copy_entries(file, number, id, level)?,
            Err(_) => (None, Vec::new()),
        };
        let entries = meta.as_ref().map_or(0, |meta| meta.summary.entries);
        if let Some((_, _, told)) = &told {
            self.report.entries_lost += told.summary.entries.saturating_sub(entries);
        }
        let keyspace = self.name_of(id);
        if meta.is_none() || lost.is_empty() {
            let told = told.map(|(_, _, meta)| meta.summary).unwrap_or_default();
            let is_known = told.entries > 0;
            let is_lost = meta.is_none() || told.entries > entries;
            let key = |key: Vec<u8>| (is_lost && is_known).then_some(key);
            let what = if is_lost { "" } else { "no entry is lost: " };
            self.report.lose(Loss {
                file: name,
                keyspace: Some(keyspace),
                keys: (key(told.smallest), key(told.largest)),
                reason: format!("{what}{}", why.message()),
                ..Loss::default()
            });
        } else {
            for LostRange { offset, bytes, after, upto, reason } in lost {
                self.report.lose(Loss {
                    file: name.clone(),
                    keyspace: Some(keyspace.clone()),
                    place: Some((offset, bytes)),
                    keys: (after, upto),
                    reason,
                    ..Loss::default()
                });
            }
        }
        Ok(meta.map(|meta| (id, level, meta)))
    }

    /// Writes what is left of table `number` into a new one.
    fn copy_entries(
        &mut self,
        file: &Arc<dyn File>,
        number: FileNumber,
        id: KeyspaceId,
        level: Level,
    ) -> Result<(Option<FileMeta>, Vec<LostRange>)> {
        let database = self.database;
        let to = FileIdentity { database, number: self.draw() };
        let config = self.table_config(id, level)?;
        let mut output: Option<TableOutput> = None;
        let (lost, _) = salvage(file, FileIdentity { database, number }, &mut |entry| {
            if output.is_none() {
                output = Some(TableOutput::create_tmp(&self.fs, &self.dir, to, config.clone())?);
            }
            output.as_mut().map_or(Ok(()), |open| open.add(entry))
        })?;
        let meta = output.map(TableOutput::finish).transpose()?;
        self.made.extend(meta.as_ref().map(|meta| meta.number));
        Ok((meta, lost))
    }

    /// Gives every table a place in level 1, merging those of a keyspace whose keys overlap.
    pub(super) fn merge_overlapping(&mut self, mut kept: Vec<Placed>) -> Result<Vec<Placed>> {
        kept.sort_by(|a, b| (a.0, &a.2.summary.smallest).cmp(&(b.0, &b.2.summary.smallest)));
        let mut groups: Vec<(KeyspaceId, Vec<u8>, Vec<FileMeta>)> = Vec::new();
        for (id, _, meta) in kept {
            match groups.last_mut() {
                Some((of, largest, group)) if *of == id && *largest >= meta.summary.smallest => {
                    *largest = meta.summary.largest.clone().max(std::mem::take(largest));
                    group.push(meta);
                }
                _ => groups.push((id, meta.summary.largest.clone(), vec![meta])),
            }
        }
        let mut placed = Vec::new();
        for (id, _, group) in groups {
            let merged = if group.len() == 1 { group } else { self.merge(id, group)? };
            placed.extend(merged.into_iter().map(|meta| (id, Level(1), meta)));
        }
        Ok(placed)
    }

    fn merge(&mut self, id: KeyspaceId, mut group: Vec<FileMeta>) -> Result<Vec<FileMeta>> {
        self.report.tables.merged += group.len();
        group.sort_by_key(|meta| std::cmp::Reverse(meta.summary.largest_seq));
        let mode = ReadMode { no_fill_cache: true, ..ReadMode::default() };
        let mut sources = Vec::new();
        for meta in &group {
            let file = self.open(FileKind::Table, meta.number)?;
            let identity = FileIdentity { database: self.database, number: meta.number };
            let reader = TableReader::open(file, identity, meta.summary.size, Arc::clone(&self.cache))?;
            sources.push(Source::Table(Arc::new(reader).cursor(View::All, mode)));
        }
        self.write_sorted(id, Level(1), sources)
    }

    /// Writes the newest version of every key in `sources` into new tables.
    pub(super) fn write_sorted(&mut self, id: KeyspaceId, level: Level, sources: Vec<Source>) -> Result<Vec<FileMeta>> {
        let mut cursor = MergeCursor::new(sources, View::All);
        let mut filter = Retain { visible: SeqNo::MAX, snapshots: Vec::new() }.filter();
        let config = self.table_config(id, level)?;
        let table_bytes = self.settings(id)?.table_bytes;
        let mut outputs = Vec::new();
        let mut open: Option<TableOutput> = None;
        cursor.seek_first()?;
        while cursor.valid() {
            let entry = cursor.entry();
            // One version of each key is kept, so a table may end behind any.
            if filter.keep(entry.key, entry.seq, entry.kind, false) {
                if open.as_ref().is_some_and(|open| open.estimated_size() >= table_bytes) {
                    self.end(open.take(), &mut outputs)?;
                }
                if open.is_none() {
                    let to = FileIdentity { database: self.database, number: self.draw() };
                    open = Some(TableOutput::create_tmp(&self.fs, &self.dir, to, config.clone())?);
                }
                open.as_mut().map_or(Ok(()), |open| open.add(entry))?;
            }
            cursor.next()?;
        }
        self.end(open, &mut outputs)?;
        Ok(outputs)
    }

    fn end(&mut self, open: Option<TableOutput>, outputs: &mut Vec<FileMeta>) -> Result<()> {
        if let Some(open) = open {
            let meta = open.finish()?;
            self.made.push(meta.number);
            outputs.push(meta);
        }
        Ok(())
    }
}
