//! RocksDB through its `c.h`: opened for reading only, all column families. Only functions that are there since version 5.
//!
//! Opened so, RocksDB reads its log into memory and writes nothing. A database with a comparator or merge operator of its
//! own is refused or read by RocksDB as it would be without it; what it says is passed on.

use super::{Each, Foreign, c_path, check_folder, library, take_error};
use crate::exit::{Exit, Failure, Outcome};
use crate::text;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::null_mut;

type P = *mut c_void;
type Err = *mut *mut c_char;

crate::api!(Api {
    options_create = "rocksdb_options_create": fn() -> P;
    options_destroy = "rocksdb_options_destroy": fn(P);
    list = "rocksdb_list_column_families": fn(P, *const c_char, *mut usize, Err) -> *mut *mut c_char;
    list_destroy = "rocksdb_list_column_families_destroy": fn(*mut *mut c_char, usize);
    open = "rocksdb_open_for_read_only_column_families":
        fn(P, *const c_char, c_int, *const *const c_char, *const P, *mut P, u8, Err) -> P;
    close = "rocksdb_close": fn(P);
    handle_destroy = "rocksdb_column_family_handle_destroy": fn(P);
    read_options = "rocksdb_readoptions_create": fn() -> P;
    read_options_destroy = "rocksdb_readoptions_destroy": fn(P);
    verify_checksums = "rocksdb_readoptions_set_verify_checksums": fn(P, u8);
    fill_cache = "rocksdb_readoptions_set_fill_cache": fn(P, u8);
    iter_create = "rocksdb_create_iterator_cf": fn(P, P, P) -> P;
    iter_destroy = "rocksdb_iter_destroy": fn(P);
    iter_first = "rocksdb_iter_seek_to_first": fn(P);
    iter_valid = "rocksdb_iter_valid": fn(P) -> u8;
    iter_next = "rocksdb_iter_next": fn(P);
    iter_key = "rocksdb_iter_key": fn(P, *mut usize) -> *const u8;
    iter_value = "rocksdb_iter_value": fn(P, *mut usize) -> *const u8;
    iter_error = "rocksdb_iter_get_error": fn(P, Err);
    property = "rocksdb_property_value_cf": fn(P, P, *const c_char) -> *mut c_char;
    free = "rocksdb_free": fn(*mut c_void);
} optional {
});

/// What is called, for a test that compares it with the header.
#[cfg(test)]
pub const DECLARED: &[(&str, &[&str], &str, bool)] = Api::DECLARED;

/// An open RocksDB database.
pub struct RocksDb {
    api: Api,
    db: P,
    options: P,
    names: Vec<CString>,
    handles: Vec<P>,
}

impl RocksDb {
    /// Opens the database in `dir` for reading.
    pub fn open(dir: &Path, asked: Option<&Path>) -> Outcome<RocksDb> {
        let library = library("librocksdb.so", asked, "librocksdb-dev")?;
        let api = Api::load(&library).map_err(|text| Failure::new(Exit::Unsupported, text))?;
        check_folder(dir)?;
        let path = c_path(dir)?;
        // SAFETY: no arguments.
        let options = unsafe { (api.options_create)() };
        // From here on dropping it frees what there is.
        let mut db = RocksDb { api, db: null_mut(), options, names: Vec::new(), handles: Vec::new() };
        db.list(&path, dir)?;
        let count = db.names.len();
        let names: Vec<*const c_char> = db.names.iter().map(|name| name.as_ptr()).collect();
        let family_options = vec![db.options; count];
        let mut handles = vec![null_mut(); count];
        let mut error = null_mut();
        // SAFETY: arrays of `count` live texts, options and writable handles. A log that is there is read, not refused.
        db.db = unsafe {
            let open = db.api.open;
            let (names, options) = (names.as_ptr(), family_options.as_ptr());
            open(db.options, path.as_ptr(), count as c_int, names, options, handles.as_mut_ptr(), 0, &mut error)
        };
        db.check(dir, error)?;
        db.handles = handles;
        Ok(db)
    }

    fn list(&mut self, path: &CStr, dir: &Path) -> Outcome {
        let (mut count, mut error) = (0, null_mut());
        // SAFETY: live options and text, writable outputs.
        let list = unsafe { (self.api.list)(self.options, path.as_ptr(), &mut count, &mut error) };
        self.check(dir, error)?;
        // SAFETY: `count` texts, copied and then freed with the array.
        unsafe {
            self.names = (0..count).map(|i| CStr::from_ptr(*list.add(i)).to_owned()).collect();
            (self.api.list_destroy)(list, count);
        }
        Ok(())
    }

    fn check(&self, what: &Path, error: *mut c_char) -> Outcome {
        // SAFETY: NULL or a text of RocksDB, which rocksdb_free frees.
        let text = unsafe { take_error(error, |text| (self.api.free)(text.cast())) };
        text.map_or(Ok(()), |text| Err(refused(&format!("{}: RocksDB: {text}", what.display()))))
    }
}

/// What RocksDB says by its text alone.
fn refused(text: &str) -> Failure {
    Failure::new(if text.contains("Corruption") { Exit::Damaged } else { Exit::Input }, text)
}

impl Foreign for RocksDb {
    fn parts(&self) -> Vec<String> {
        self.names.iter().map(|name| text::escape(name.to_bytes())).collect()
    }

    fn estimate(&self) -> Option<u64> {
        let mut sum = 0;
        for handle in &self.handles {
            // SAFETY: an open database and handle; the text is copied and freed.
            unsafe {
                let text = (self.api.property)(self.db, *handle, c"rocksdb.estimate-num-keys".as_ptr());
                if text.is_null() {
                    return None;
                }
                let number = CStr::from_ptr(text).to_str().ok().and_then(|text| text.parse::<u64>().ok());
                (self.api.free)(text.cast());
                sum += number?;
            }
        }
        Some(sum)
    }

    fn entries(&self, index: usize, each: &mut Each<'_>) -> Outcome {
        let api = &self.api;
        // SAFETY: an open database; iterator and options are used here only, and freed here.
        unsafe {
            let read = (api.read_options)();
            (api.verify_checksums)(read, 1);
            (api.fill_cache)(read, 0);
            let iter = (api.iter_create)(self.db, read, self.handles[index]);
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
            let name = text::escape(self.names[index].to_bytes());
            let read_error = self.check(Path::new(&format!("column family {name}")), error);
            (api.iter_destroy)(iter);
            (api.read_options_destroy)(read);
            done.and(read_error)
        }
    }
}

/// A slice of an iterator.
///
/// # Safety
/// `at` is readable for `len` bytes until the iterator moves.
pub(super) unsafe fn bytes<'b>(at: *const u8, len: usize) -> &'b [u8] {
    // SAFETY: the caller's word; NULL only with length 0.
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(at, len) } }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        // SAFETY: made by the library, not used again; handles go before the database.
        unsafe {
            for handle in &self.handles {
                (self.api.handle_destroy)(*handle);
            }
            if !self.db.is_null() {
                (self.api.close)(self.db);
            }
            (self.api.options_destroy)(self.options);
        }
    }
}
