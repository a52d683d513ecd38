//! The files of a small database as bytes, to be damaged one at a time.

use super::{DIR, Model, Opened, Rng, Step, history, open, options};
use lsm_engine::db::{Db, ReadOptions};
use lsm_engine::error::Error;
use lsm_engine::fs::Fs;
use lsm_engine::fs::fault::FaultFs;
use lsm_engine::fs::mem::MemFs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A folder's files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A database at rest, and what it holds.
pub struct Image {
    pub files: Files,
    pub model: Model,
    /// Every value that a key ever had, by keyspace.
    pub past: [BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>; 3],
    /// Where the process was killed: the states from the last durable one on, which a lost tail may leave.
    pub tails: Vec<Model>,
}

impl Image {
    /// What `steps` steps of the history of `seed` leave: after a clean close, or after the process was killed.
    pub fn of_history(seed: u64, steps: usize, io: &str, is_closed: bool) -> Image {
        let disk = FaultFs::new();
        let mut opened = Opened::existing(Arc::new(disk.clone()), io).unwrap();
        opened.make(1).unwrap();
        let mut model = Model::default();
        let mut past: [BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>; 3] = Default::default();
        let mut tails = vec![Model::default()];
        for step in history(seed, steps, false).iter().filter(|step| !matches!(step, Step::Reopen)) {
            opened.run(step).unwrap();
            model.apply(step);
            if matches!(step, Step::Write { fsync: true, .. } | Step::Sync | Step::Flush(None)) {
                tails.clear();
            }
            tails.push(model.clone());
            if let Step::Write { changes, .. } = step {
                for (space, key, value) in changes {
                    let values = past[*space].entry(key.clone()).or_default();
                    values.extend(value.clone());
                }
            }
        }
        if !is_closed {
            disk.power_off();
        }
        let closed = opened.db.close();
        assert_eq!(closed.is_ok(), is_closed, "{closed:?}");
        if is_closed {
            tails.clear();
        }
        Image { files: files_of(&disk.process_death()), model, past, tails }
    }

    /// Whether every value in `found` is one that its key had.
    pub fn is_from_the_past(&self, found: &Model) -> bool {
        found.0.iter().zip(&self.past).all(|(found, past)| {
            found.iter().all(|(key, value)| past.get(key).is_some_and(|values| values.contains(value)))
        })
    }
}

/// The files of a folder, but for the lock and the notes.
pub fn files_of(fs: &MemFs) -> Files {
    let names = fs.list(Path::new(DIR)).unwrap();
    let names = names.iter().map(|name| name.to_str().unwrap().to_owned());
    let kept = names.filter(|name| name != "LOCK" && !name.starts_with("LOG"));
    kept.map(|name| (name.clone(), fs.read_file(&Path::new(DIR).join(&name)).unwrap())).collect()
}

/// A disk that holds them.
pub fn disk_of(files: &Files) -> FaultFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    for (name, bytes) in files {
        fs.write_file(&Path::new(DIR).join(name), bytes).unwrap();
    }
    FaultFs::over(&fs)
}

/// Everything a database holds, read by iterators, and again key by key.
pub fn read_all(db: &Db, keys: &Model) -> Result<Model, Error> {
    let mut never = lsm_engine::db::Options::new();
    never.set("create_if_missing", "false")?;
    let mut found = Model::default();
    for (at, name) in super::NAMES.into_iter().enumerate() {
        // A repair that found no name calls it so.
        let renamed = || db.keyspace_open(format!("recovered-{at}").as_bytes(), Some(&never));
        let space = if at == 0 { Some(db.default_keyspace()) } else { db.keyspace_open(name, Some(&never))? };
        let space = if space.is_none() { renamed()? } else { space };
        let Some(space) = space else { continue };
        let mut iter = space.iter(&ReadOptions::default())?;
        while let Some(entry) = iter.next()? {
            found.0[at].insert(entry.key.to_vec(), entry.value.to_vec());
        }
        for key in keys.0[at].keys() {
            let value = space.get_with(&ReadOptions::default(), key, <[u8]>::to_vec)?;
            assert_eq!(value.as_ref(), found.0[at].get(key), "get and iterator differ on {key:?}");
        }
    }
    Ok(found)
}

/// What somebody who opens, reads and verifies the database hears: the texts of all that was reported, and what was read.
pub struct Heard {
    pub reports: Vec<Error>,
    pub found: Option<Model>,
}

/// Opens read-only, reads everything, verifies.
pub fn listen(fs: Arc<dyn Fs>, keys: &Model) -> Heard {
    let mut read_only = options("write");
    read_only.set("mode", "ro").unwrap();
    let mut heard = Heard { reports: Vec::new(), found: None };
    let db = match Db::open_on(fs, Path::new(DIR), &read_only) {
        Ok(db) => db,
        Err(error) => {
            heard.reports.push(error);
            return heard;
        }
    };
    match read_all(&db, keys) {
        Ok(found) => heard.found = Some(found),
        Err(error) => heard.reports.push(error),
    }
    match db.verify() {
        Ok((_, damage)) => heard.reports.extend(damage),
        Err(error) => heard.reports.push(error),
    }
    db.close().unwrap();
    heard
}

/// Repairs, and opens for writing.
pub fn repaired(disk: &FaultFs) -> Result<(String, Db), Error> {
    let report = Db::repair_on(Arc::new(disk.clone()), Path::new(DIR), &options("write"))?;
    Ok((report, open(Arc::new(disk.clone()), "write")?))
}

/// One kind of damage to a file; `None` leaves it out.
pub fn damaged(rng: &mut Rng, bytes: &[u8]) -> (String, Option<Vec<u8>>) {
    let mut bytes = bytes.to_vec();
    let len = bytes.len() as u64;
    let what = match rng.below(8) {
        0 => return ("missing".into(), None),
        1 => {
            bytes.clear();
            "empty".into()
        }
        2 => {
            let at = rng.below(len.max(1));
            bytes.truncate(at as usize);
            format!("cut at {at}")
        }
        3 => {
            let at = rng.below(len.max(1)) / 512 * 512;
            bytes[at as usize..].iter_mut().take(512).for_each(|b| *b = 0);
            format!("sector at {at} zeroed")
        }
        4 => {
            bytes.extend((0..1 + rng.below(600)).map(|i| (i * 7) as u8));
            "junk behind it".into()
        }
        _ => {
            let bit = rng.below(len.max(1) * 8);
            if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
            format!("bit {bit} flipped")
        }
    };
    (what, Some(bytes))
}
