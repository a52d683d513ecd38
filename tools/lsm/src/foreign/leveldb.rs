//! LevelDB through its `c.h`. LevelDB cannot open for reading only: an open locks the folder, writes a new manifest, turns
//! the log into tables and removes files. So it opens a temporary folder instead, with links to the tables, which it
//! never changes, and copies of the rest.

use super::rocksdb::bytes;
use super::{Each, Foreign, c_path, check_folder, library, take_error};
use crate::exit::{Exit, Failure, Outcome};
use crate::scratch::Scratch;
use std::ffi::{c_char, c_void};
use std::path::Path;
use std::ptr::null_mut;

type P = *mut c_void;
type Err = *mut *mut c_char;

crate::api!(Api {
    options_create = "leveldb_options_create": fn() -> P;
    options_destroy = "leveldb_options_destroy": fn(P);
    open = "leveldb_open": fn(P, *const c_char, Err) -> P;
    close = "leveldb_close": fn(P);
    read_options = "leveldb_readoptions_create": fn() -> P;
    read_options_destroy = "leveldb_readoptions_destroy": fn(P);
    verify_checksums = "leveldb_readoptions_set_verify_checksums": fn(P, u8);
    fill_cache = "leveldb_readoptions_set_fill_cache": fn(P, u8);
    iter_create = "leveldb_create_iterator": fn(P, P) -> P;
    iter_destroy = "leveldb_iter_destroy": fn(P);
    iter_first = "leveldb_iter_seek_to_first": fn(P);
    iter_valid = "leveldb_iter_valid": fn(P) -> u8;
    iter_next = "leveldb_iter_next": fn(P);
    iter_key = "leveldb_iter_key": fn(P, *mut usize) -> *const u8;
    iter_value = "leveldb_iter_value": fn(P, *mut usize) -> *const u8;
    iter_error = "leveldb_iter_get_error": fn(P, Err);
    free = "leveldb_free": fn(*mut c_void);
} optional {
});

/// What is called, for a test that compares it with the header.
#[cfg(test)]
pub const DECLARED: &[(&str, &[&str], &str, bool)] = Api::DECLARED;

/// An open LevelDB database.
pub struct LevelDb {
    api: Api,
    db: P,
    options: P,
    /// Goes after the database is closed.
    _scratch: Scratch,
}

/// Links the tables of `dir` into `to` and copies what else the database consists of.
fn stand_in(dir: &Path, to: &Path) -> Outcome {
    let failed = |path: &Path| {
        let shown = path.display().to_string();
        move |error: std::io::Error| Failure::system(shown, &error)
    };
    let dir = dir.canonicalize().map_err(failed(dir))?;
    for entry in std::fs::read_dir(&dir).map_err(failed(&dir))? {
        let path = entry.map_err(failed(&dir))?.path();
        let Some(name) = path.file_name() else { continue };
        let text = name.to_string_lossy();
        if text.ends_with(".ldb") || text.ends_with(".sst") {
            std::os::unix::fs::symlink(&path, to.join(name)).map_err(failed(&path))?;
        } else if text.ends_with(".log") || text.starts_with("MANIFEST-") || text == "CURRENT" {
            std::fs::copy(&path, to.join(name)).map_err(failed(&path))?;
        }
    }
    Ok(())
}

impl LevelDb {
    /// Opens the database in `dir`.
    pub fn open(dir: &Path, asked: Option<&Path>) -> Outcome<LevelDb> {
        let library = library("libleveldb.so", asked, "libleveldb-dev")?;
        let api = Api::load(&library).map_err(|text| Failure::new(Exit::Unsupported, text))?;
        check_folder(dir)?;
        let scratch = Scratch::folder()?;
        stand_in(dir, scratch.path())?;
        let path = c_path(scratch.path())?;
        // SAFETY: no arguments.
        let options = unsafe { (api.options_create)() };
        // Dropping it frees what there is.
        let mut db = LevelDb { api, db: null_mut(), options, _scratch: scratch };
        let mut error = null_mut();
        // SAFETY: live options and text, a writable output.
        db.db = unsafe { (db.api.open)(db.options, path.as_ptr(), &mut error) };
        db.check(&dir.display().to_string(), error)?;
        Ok(db)
    }

    fn check(&self, what: &str, error: *mut c_char) -> Outcome {
        // SAFETY: NULL or a text of LevelDB, which leveldb_free frees.
        let Some(text) = (unsafe { take_error(error, |text| (self.api.free)(text.cast())) }) else { return Ok(()) };
        // The stand-in's files have the names of the real ones.
        let text = text.replace(&self._scratch.path().display().to_string(), what);
        let exit = if text.contains("Corruption") { Exit::Damaged } else { Exit::Input };
        Err(Failure::new(exit, format!("{what}: LevelDB: {text}")))
    }
}

impl Foreign for LevelDb {
    fn parts(&self) -> Vec<String> {
        vec!["default".to_string()]
    }

    fn estimate(&self) -> Option<u64> {
        None
    }

    fn entries(&self, _index: usize, each: &mut Each<'_>) -> Outcome {
        let api = &self.api;
        // SAFETY: an open database; iterator and options are used here only, and freed here.
        unsafe {
            let read = (api.read_options)();
            (api.verify_checksums)(read, 1);
            (api.fill_cache)(read, 0);
            let iter = (api.iter_create)(self.db, read);
            (api.iter_first)(iter);
            let mut done = Ok(());
            while done.is_ok() && (api.iter_valid)(iter) != 0 {
                let (mut key_len, mut value_len) = (0, 0);
                let key = (api.iter_key)(iter, &mut key_len);
                let value = (api.iter_value)(iter, &mut value_len);
                done = each(bytes(key, key_len), bytes(value, value_len));
                (api.iter_next)(iter);
            }
            let mut error = null_mut();
            (api.iter_error)(iter, &mut error);
            let read_error = self.check("the database", error);
            (api.iter_destroy)(iter);
            (api.read_options_destroy)(read);
            done.and(read_error)
        }
    }
}

impl Drop for LevelDb {
    fn drop(&mut self) {
        // SAFETY: made by the library, not used again.
        unsafe {
            if !self.db.is_null() {
                (self.api.close)(self.db);
            }
            (self.api.options_destroy)(self.options);
        }
    }
}
