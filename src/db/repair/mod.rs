//! Repair of a damaged folder: keeps every entry that can still be read, and says what was lost.
//!
//!     look      CURRENT, manifest, every table, the log: all sound? then nothing is touched
//!     rewrite   what is left of damaged tables (`tables`) and of a damaged log (`log`) goes into new tables
//!     commit    what is unreadable is set aside as NAME.damaged, a new manifest is put in force
//!
//! Where the manifest in force is sound, tables stay where it says, and a damaged one is replaced by what is left of it.
//! Where it is not, nobody knows which tables are newer than which; so those whose keys overlap are merged, and everything
//! stands in level 1. Then tables that a compaction had replaced, if their files were still there, count too.
//!
//! Invariants
//! - I1  Nothing that was there is changed or renamed before everything that is left of it is in synced tables.
//! - I2  Nothing unreadable is removed: it is set aside, or (CURRENT and manifests, which others replace) copied first.
//! - I3  A crash at any point leaves a folder that a second repair brings to the same end; after a failure of its own the
//!   folder is as it was.
//! - I4  A repaired folder looks like one that was closed cleanly, unless its log was sound and still has work to do.
//!
//! Threads: one, under the folder's lock. Failure: an error, and I3.

mod log;
mod report;
mod tables;

use super::open::absolute;
use super::options::{KeyspaceOptions, Options};
use crate::base::epoch::Retired;
use crate::base::ids::{FileNumber, KeyspaceId, Level, SeqNo};
use crate::cache::{Cache, CacheConfig};
use crate::error::{Code, Error, Result};
use crate::fs::names::{self, FileKind};
use crate::fs::{Fs, OpenMode};
use crate::sstable::{Owner, TableConfig};
use crate::version::{self, FileMeta, Remains};
use crate::wal::CleanEnd;
use report::Report;
pub(super) use report::{list, text};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More copies of one name than anybody makes.
const COPIES_MAX: u32 = 1000;

/// A repair under way.
struct Repair {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    database: u128,
    /// What is known, and becomes the new state.
    known: Remains,
    /// Explicit options over the persisted ones.
    parent: Options,
    cache: Arc<Cache>,
    report: Report,
    /// Tables made here.
    made: Vec<FileNumber>,
    /// Files to set aside.
    damaged: Vec<String>,
    /// Renames and copies done, to be taken back after a failure.
    renamed: Vec<(PathBuf, PathBuf)>,
    copied: Vec<PathBuf>,
}

/// Repairs the database in `path`; answers the report, as JSON.
pub fn repair(fs: Arc<dyn Fs>, path: &Path, options: &Options) -> Result<String> {
    let dir = absolute(path)?;
    check_folder(&*fs, &dir)?;
    if options.database("")?.is_read_only() {
        return Err(Error::invalid("mode = ro: a repair writes"));
    }
    let _lock = fs.lock(&names::path(&dir, FileKind::Lock, FileNumber(0)), true)?;
    let known = version::remains(&*fs, &dir)?;
    let mut repair = Repair::new(fs, dir, options, known)?;
    let result = repair.run();
    if result.is_err() {
        repair.take_back();
    }
    result.map(|()| repair.report.json())
}

fn check_folder(fs: &dyn Fs, dir: &Path) -> Result<()> {
    match fs.metadata(dir)? {
        None => return Err(Error::os(libc::ENOENT, format_args!("no database in {}", dir.display()))),
        Some(meta) if meta.is_file => return Err(Error::os(libc::ENOTDIR, dir.display())),
        Some(_) => {}
    }
    let is_ours = |kind| matches!(kind, FileKind::Current | FileKind::Manifest | FileKind::Table | FileKind::Wal);
    if fs.list(dir)?.iter().any(|name| names::parse(name).is_some_and(|(kind, _)| is_ours(kind))) {
        return version::refuse_foreign(fs, dir);
    }
    Err(Error::invalid(format!("{} is not a database folder", dir.display())))
}

impl Repair {
    fn new(fs: Arc<dyn Fs>, dir: PathBuf, options: &Options, mut known: Remains) -> Result<Repair> {
        let mut report = Report::new(&known.faults);
        let parent = options.over(&known.options).or_else(|error| {
            report.note(format!("the persisted options are left out: {}", error.message()));
            known.options.clear();
            options.over("")
        })?;
        let cache = Cache::new(CacheConfig { bytes: 0, shards: 1 }, Arc::new(Retired::new()));
        let mut repair = Repair {
            fs,
            dir,
            database: 0,
            known,
            parent,
            cache,
            report,
            made: Vec::new(),
            damaged: Vec::new(),
            renamed: Vec::new(),
            copied: Vec::new(),
        };
        repair.database = match repair.known.database {
            Some(database) => database,
            None => repair.identify()?,
        };
        repair.known.database = Some(repair.database);
        repair.report.database = repair.database;
        Ok(repair)
    }

    /// The identity that logs and tables prove, where `CURRENT` and manifests say nothing.
    fn identify(&mut self) -> Result<u128> {
        let logs = self.numbers(FileKind::Wal)?;
        if let Some(database) =
            logs.iter().find_map(|&number| crate::wal::database_of(&self.open(FileKind::Wal, number).ok()?))
        {
            return Ok(database);
        }
        let mut votes = std::collections::BTreeMap::new();
        for number in self.numbers(FileKind::Table)? {
            let Ok(file) = self.open(FileKind::Table, number) else { continue };
            if let Some(database) = crate::sstable::guess_database(&file, number) {
                *votes.entry(database).or_insert(0) += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        let lost = || Error::corruption(format!("{}: no file says whose database this is", self.dir.display()));
        self.report.note("the identity of the database was derived from its tables".to_owned());
        most.map(|(database, _)| database).ok_or_else(lost)
    }

    fn run(&mut self) -> Result<()> {
        let is_exact = self.known.is_exact;
        let looks = self.look_at_tables()?;
        let log = self.check_log();
        let is_sound = is_exact && log.is_ok() && looks.iter().all(tables::Look::is_sound);
        if let Ok(torn) = &log {
            self.note_torn(torn.clone());
        }
        if is_sound && self.report.faults == 0 {
            self.report.sound(looks.len());
            return Ok(());
        }
        if let Err(error) = &log
            && !matches!(error.code(), Code::Corruption | Code::Io)
        {
            return Err(error.clone());
        }
        if !is_exact {
            self.report
                .note("no sound manifest tells which tables there were: one that is gone is not missed".to_owned());
        }
        let nameless = self.known.keyspaces.iter().filter(|(_, k)| k.name.is_empty()).map(|(id, _)| *id);
        for id in nameless.collect::<Vec<_>>() {
            self.ensure(id, None);
        }
        let mut kept = self.rewrite_tables(looks)?;
        if is_exact {
            if log.is_err() {
                kept.extend(self.rewrite_log(log.err())?.into_iter().map(|(id, meta)| (id, Level(0), meta)));
                self.end_log();
            }
        } else {
            kept.extend(self.rewrite_log(log.err())?.into_iter().map(|(id, meta)| (id, Level(1), meta)));
            self.end_log();
            self.settle_unowned(&mut kept);
            kept = self.merge_overlapping(kept)?;
        }
        self.adopt(kept);
        self.commit()
    }

    /// Whether the log of a sound manifest can be replayed; nothing is kept.
    fn check_log(&self) -> Result<Option<String>> {
        if !self.known.is_exact {
            return Err(Error::corruption("the manifest does not say where the log begins"));
        }
        let from = self.known.log.first_segment;
        let aside = self.aside(FileKind::Wal)?;
        if let Some(number) = aside.iter().find(|number| **number >= from) {
            let name = names::aside(&names::name(FileKind::Wal, *number), 1);
            return Err(Error::corruption(format!("{name}: set aside by a repair that was cut short")));
        }
        log::replay_strictly(&*self.fs, &self.dir, self.database, &self.known, &mut |_, _, _| Ok(()))
    }

    /// The log is in tables: the next open finds it ended.
    fn end_log(&mut self) {
        let last_seq = self.known.log.last_seq;
        self.known.log.first_segment = FileNumber(self.known.next_file);
        self.known.log.clean_end = Some(CleanEnd { number: FileNumber(0), offset: 0, last_seq });
        for keyspace in self.known.keyspaces.values_mut() {
            keyspace.flushed_seq = last_seq;
        }
    }

    /// Makes `kept` the tables of the new state.
    fn adopt(&mut self, kept: Vec<(KeyspaceId, Level, FileMeta)>) {
        let kept: Vec<_> = kept.into_iter().filter(|(id, ..)| self.known.keyspaces.contains_key(id)).collect();
        self.known.log.last_seq =
            kept.iter().map(|(_, _, meta)| meta.summary.largest_seq).fold(self.known.log.last_seq, SeqNo::max);
        if let Some(end) = &mut self.known.log.clean_end {
            end.last_seq = self.known.log.last_seq;
        }
        self.report.entries_kept = kept.iter().map(|(_, _, meta)| meta.summary.entries).sum();
        self.known.tables = kept.into_iter().map(|(id, level, meta)| (meta.number, (id, level, meta))).collect();
    }

    /// Sets aside what is damaged and puts the new manifest in force.
    fn commit(&mut self) -> Result<()> {
        self.fs.sync_dir(&self.dir)?;
        for name in self.report.damaged_files() {
            self.copy_aside(&name)?;
        }
        for name in std::mem::take(&mut self.damaged) {
            let from = self.dir.join(&name);
            if self.fs.metadata(&from)?.is_some() {
                let to = self.free_aside(&name)?;
                self.fs.rename(&from, &to)?;
                self.renamed.push((from, to.clone()));
                self.report.set_aside(&name, &to);
            }
        }
        self.fs.sync_dir(&self.dir)?;
        // A segment that was being read counts up to here.
        let state = Remains { next_file: self.draw().0, ..self.known.clone() };
        let done = version::rebuild(&*self.fs, &self.dir, &state);
        if !matches!(done, Err((_, false))) {
            // It is in force, or may be: nothing is taken back any more.
            self.renamed.clear();
            self.copied.clear();
        }
        if let Err((error, is_in_doubt)) = done {
            if is_in_doubt {
                self.made.clear();
            }
            return Err(error);
        }
        // What was merged further is nobody's.
        for number in std::mem::take(&mut self.made) {
            if !self.known.tables.contains_key(&number) {
                let _ = self.fs.remove(&names::path(&self.dir, FileKind::Table, number));
            }
        }
        Ok(())
    }

    /// Keeps the bytes of a manifest or `CURRENT` that is about to be replaced.
    fn copy_aside(&mut self, name: &str) -> Result<()> {
        let from = self.dir.join(name);
        let Some(meta) = self.fs.metadata(&from)? else { return Ok(()) };
        let to = self.free_aside(name)?;
        let read = || -> Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(meta.len).unwrap_or(usize::MAX).min(1 << 30)];
            self.fs.open(&from, OpenMode::Read)?.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        match if meta.is_file { read() } else { Err(Error::corruption("not a file")) } {
            Ok(bytes) => {
                let copy = self.fs.open(&to, OpenMode::CreateNew)?;
                self.copied.push(to.clone());
                copy.write_all_at(&bytes, 0)?;
                copy.sync_data()?;
            }
            Err(_) => {
                self.fs.rename(&from, &to)?;
                self.renamed.push((from, to.clone()));
            }
        }
        self.report.set_aside(name, &to);
        Ok(())
    }

    fn free_aside(&self, name: &str) -> Result<PathBuf> {
        for copy in 1..COPIES_MAX {
            let to = self.dir.join(names::aside(name, copy));
            if self.fs.metadata(&to)?.is_none() {
                return Ok(to);
            }
        }
        Err(Error::new(Code::Exists, format!("{COPIES_MAX} files are set aside for {name}")))
    }

    /// After a failure: the folder as it was.
    fn take_back(&mut self) {
        for (from, to) in self.renamed.drain(..).rev() {
            let _ = self.fs.rename(&to, &from);
        }
        let made = self.made.drain(..).map(|number| names::path(&self.dir, FileKind::Table, number));
        for path in made.chain(self.copied.drain(..)) {
            let _ = self.fs.remove(&path);
        }
        let _ = self.fs.sync_dir(&self.dir);
    }

    fn draw(&mut self) -> FileNumber {
        let number = FileNumber(self.known.next_file);
        self.known.next_file += 1;
        number
    }

    fn open(&self, kind: FileKind, number: FileNumber) -> Result<Arc<dyn crate::fs::File>> {
        let path = names::path(&self.dir, kind, number);
        match self.fs.metadata(&path)? {
            Some(meta) if !meta.is_file => Err(Error::corruption(format!("{}: is not a regular file", path.display()))),
            _ => self.fs.open(&path, OpenMode::Read),
        }
    }

    /// The numbers of all files of `kind`, ascending.
    fn numbers(&self, kind: FileKind) -> Result<Vec<FileNumber>> {
        let names = self.fs.list(&self.dir)?;
        let of_kind = names.iter().filter_map(|name| names::parse(name)).filter(|(found, _)| *found == kind);
        let mut numbers: Vec<_> = of_kind.map(|(_, number)| number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The same of those that were set aside.
    fn aside(&self, kind: FileKind) -> Result<Vec<FileNumber>> {
        Ok(self.fs.list(&self.dir)?.iter().filter_map(|name| names::parse_aside(kind, name)).collect())
    }

    fn settings(&self, id: KeyspaceId) -> Result<KeyspaceOptions> {
        let persisted = self.known.keyspaces.get(&id).map_or("", |k| k.options.as_str());
        Options::new().keyspace(&self.parent, persisted).or_else(|_| Options::new().keyspace(&self.parent, ""))
    }

    fn table_config(&self, id: KeyspaceId, level: Level) -> Result<TableConfig> {
        let owner = self.known.keyspaces.get(&id).map(|k| Arc::new(Owner { id, name: k.name.clone() }));
        Ok(TableConfig { owner, ..self.settings(id)?.table_config(usize::from(level.0)) })
    }

    /// Makes sure that a keyspace is there that a table or the log names, and the default one.
    fn ensure(&mut self, id: KeyspaceId, name: Option<&[u8]>) {
        let is_known = self.known.keyspaces.get(&id).is_some_and(|k| !k.name.is_empty());
        if is_known {
            return;
        }
        let taken = |wanted: &[u8]| self.known.keyspaces.values().any(|k| k.name == wanted);
        let name = match name {
            _ if id == KeyspaceId::DEFAULT => b"default".to_vec(),
            Some(name) if !taken(name) => name.to_vec(),
            _ => format!("recovered-{id}").into_bytes(),
        };
        self.report.note(format!("keyspace {id} is opened as \"{}\" again", String::from_utf8_lossy(&name)));
        self.known.keyspaces.entry(id).or_default().name = name;
        self.known.next_keyspace = self.known.next_keyspace.max(id.0.saturating_add(1));
    }

    fn name_of(&self, id: KeyspaceId) -> String {
        self.known
            .keyspaces
            .get(&id)
            .map_or_else(|| "unknown".to_owned(), |k| String::from_utf8_lossy(&k.name).into_owned())
    }
}
