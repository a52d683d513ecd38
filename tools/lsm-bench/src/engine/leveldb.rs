//! LevelDB through its `c.h`. Its codec is Snappy, it has one background thread, and `leveldb_get` allocates the value.

use super::{Cursor, Engine, Mode, Session, Settings, bytes, fail, need};
use crate::dl::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

type P = *mut c_void;
type Err = *mut *mut c_char;
crate::api!(Api {
    options_create = "leveldb_options_create": fn() -> P;
    create_if_missing = "leveldb_options_set_create_if_missing": fn(P, u8);
    write_buffer_size = "leveldb_options_set_write_buffer_size": fn(P, usize);
    block_size = "leveldb_options_set_block_size": fn(P, usize);
    compression = "leveldb_options_set_compression": fn(P, c_int);
    max_open_files = "leveldb_options_set_max_open_files": fn(P, c_int);
    cache = "leveldb_options_set_cache": fn(P, P);
    cache_create = "leveldb_cache_create_lru": fn(usize) -> P;
    filter = "leveldb_options_set_filter_policy": fn(P, P);
    bloom = "leveldb_filterpolicy_create_bloom": fn(c_int) -> P;
    open = "leveldb_open": fn(P, *const c_char, Err) -> P;
    close = "leveldb_close": fn(P);
    write_options = "leveldb_writeoptions_create": fn() -> P;
    write_options_sync = "leveldb_writeoptions_set_sync": fn(P, u8);
    read_options = "leveldb_readoptions_create": fn() -> P;
    read_options_verify = "leveldb_readoptions_set_verify_checksums": fn(P, u8);
    put = "leveldb_put": fn(P, P, *const u8, usize, *const u8, usize, Err);
    delete = "leveldb_delete": fn(P, P, *const u8, usize, Err);
    get = "leveldb_get": fn(P, P, *const u8, usize, *mut usize, Err) -> *mut u8;
    free = "leveldb_free": fn(*mut u8);
    batch_create = "leveldb_writebatch_create": fn() -> P;
    batch_destroy = "leveldb_writebatch_destroy": fn(P);
    batch_clear = "leveldb_writebatch_clear": fn(P);
    batch_put = "leveldb_writebatch_put": fn(P, *const u8, usize, *const u8, usize);
    write = "leveldb_write": fn(P, P, P, Err);
    iter_create = "leveldb_create_iterator": fn(P, P) -> P;
    iter_destroy = "leveldb_iter_destroy": fn(P);
    iter_valid = "leveldb_iter_valid": fn(P) -> u8;
    iter_first = "leveldb_iter_seek_to_first": fn(P);
    iter_last = "leveldb_iter_seek_to_last": fn(P);
    iter_seek = "leveldb_iter_seek": fn(P, *const u8, usize);
    iter_next = "leveldb_iter_next": fn(P);
    iter_prev = "leveldb_iter_prev": fn(P);
    iter_key = "leveldb_iter_key": fn(P, *mut usize) -> *const u8;
    iter_value = "leveldb_iter_value": fn(P, *mut usize) -> *const u8;
    compact = "leveldb_compact_range": fn(P, *const u8, usize, *const u8, usize);
});

/// An open LevelDB database.
pub struct LevelDb {
    api: Api,
    db: P,
    write: P,
    write_synced: P,
    read: P,
}

// SAFETY: leveldb::DB and option objects that nobody changes may be used by any number of threads.
unsafe impl Sync for LevelDb {}

fn check(what: &str, error: *mut c_char) {
    if !error.is_null() {
        // SAFETY: LevelDB stored a text.
        let text = unsafe { CStr::from_ptr(error) };
        fail(&format!("leveldb: {what}: {}", text.to_string_lossy()));
    }
}

impl Engine for LevelDb {
    type Session<'a> = LevelSession<'a>;

    fn open(dir: &Path, settings: &Settings) -> LevelDb {
        let api = need(Library::open(&settings.library).and_then(|library| Api::load(&library)));
        let path = need(CString::new(dir.to_string_lossy().as_bytes()).map_err(|_| "a NUL in a path".to_string()));
        let mut error = null_mut();
        // SAFETY: live option objects and texts.
        unsafe {
            let options = (api.options_create)();
            (api.create_if_missing)(options, 1);
            (api.write_buffer_size)(options, settings.memtable_bytes);
            (api.block_size)(options, settings.block_bytes);
            (api.compression)(options, c_int::from(settings.is_compressed));
            (api.cache)(options, (api.cache_create)(settings.cache_bytes));
            (api.filter)(options, (api.bloom)(10));
            (api.max_open_files)(options, 1000);
            let db = (api.open)(options, path.as_ptr(), &mut error);
            check("open", error);
            let (write, write_synced, read) = ((api.write_options)(), (api.write_options)(), (api.read_options)());
            (api.write_options_sync)(write_synced, 1);
            // Off by default in LevelDB, on in the others.
            (api.read_options_verify)(read, 1);
            LevelDb { api, db, write, write_synced, read }
        }
    }

    fn close(self) {
        // SAFETY: no session or iterator is left.
        unsafe { (self.api.close)(self.db) };
    }

    fn session(&self) -> LevelSession<'_> {
        // SAFETY: plain.
        let batch = unsafe { (self.api.batch_create)() };
        LevelSession { engine: self, batch }
    }

    /// LevelDB has no call for it; a compaction of an empty range writes the memtable out.
    fn flush(&self) {
        // SAFETY: an open database.
        unsafe { (self.api.compact)(self.db, c"".as_ptr().cast(), 1, c"".as_ptr().cast(), 1) };
    }

    fn compact(&self) {
        // SAFETY: an open database; unbounded.
        unsafe { (self.api.compact)(self.db, null(), 0, null(), 0) };
    }

    /// LevelDB does not tell; whoever waits sees its files and processor time come to rest.
    fn is_busy(&self) -> Option<bool> {
        None
    }

    fn mode(settings: &Settings) -> Mode {
        let compression = if settings.is_compressed { "Snappy" } else { "not compressed" };
        Mode { durability: "log", survives_process: true, checksums: "CRC-32C", compression }
    }

    fn describe(settings: &Settings) -> String {
        format!(
            "LevelDB 1.23 (Debian package): write_buffer_size {}, block_size {}, LRU cache {}, bloom 10 bits a key, {}, \
             max_open_files 1000, verify_checksums on; one background thread, as it always has",
            settings.memtable_bytes,
            settings.block_bytes,
            settings.cache_bytes,
            if settings.is_compressed { "Snappy" } else { "no compression" }
        )
    }
}

/// A thread's access.
pub struct LevelSession<'a> {
    engine: &'a LevelDb,
    batch: P,
}

impl Session for LevelSession<'_> {
    type Cursor<'a>
        = LevelCursor<'a>
    where
        Self: 'a;

    fn put(&mut self, key: &[u8], value: &[u8], is_synced: bool) {
        let engine = self.engine;
        let options = if is_synced { engine.write_synced } else { engine.write };
        let mut error = null_mut();
        // SAFETY: live slices.
        unsafe {
            let put = engine.api.put;
            put(engine.db, options, key.as_ptr(), key.len(), value.as_ptr(), value.len(), &mut error);
        }
        check("put", error);
    }

    fn delete(&mut self, key: &[u8]) {
        let engine = self.engine;
        let mut error = null_mut();
        // SAFETY: a live slice.
        unsafe { (engine.api.delete)(engine.db, engine.write, key.as_ptr(), key.len(), &mut error) };
        check("delete", error);
    }

    fn batch_put(&mut self, key: &[u8], value: &[u8]) {
        // SAFETY: live slices, this thread's batch.
        unsafe { (self.engine.api.batch_put)(self.batch, key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
    }

    fn batch_write(&mut self) {
        let mut error = null_mut();
        // SAFETY: this thread's batch.
        unsafe { (self.engine.api.write)(self.engine.db, self.engine.write, self.batch, &mut error) };
        check("write", error);
        // SAFETY: the same.
        unsafe { (self.engine.api.batch_clear)(self.batch) };
    }

    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let engine = self.engine;
        let (mut len, mut error) = (0, null_mut());
        // SAFETY: live slices.
        let value = unsafe { (engine.api.get)(engine.db, engine.read, key.as_ptr(), key.len(), &mut len, &mut error) };
        check("get", error);
        if value.is_null() {
            return None;
        }
        if len > buffer.len() {
            fail("leveldb: get: a value longer than the buffer");
        }
        // SAFETY: `len` bytes of LevelDB's, given back right after.
        unsafe {
            buffer[..len].copy_from_slice(bytes(value, len));
            (engine.api.free)(value);
        }
        Some(len)
    }

    fn cursor(&mut self) -> LevelCursor<'_> {
        // SAFETY: an open database.
        let iter = unsafe { (self.engine.api.iter_create)(self.engine.db, self.engine.read) };
        LevelCursor { api: &self.engine.api, iter }
    }
}

impl Drop for LevelSession<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.engine.api.batch_destroy)(self.batch) };
    }
}

/// An iterator.
pub struct LevelCursor<'a> {
    api: &'a Api,
    iter: P,
}

impl LevelCursor<'_> {
    #[inline]
    fn stands(&self) -> bool {
        // SAFETY: a live iterator.
        unsafe { (self.api.iter_valid)(self.iter) != 0 }
    }
}

impl Cursor for LevelCursor<'_> {
    fn first(&mut self) -> bool {
        // SAFETY: a live iterator.
        unsafe { (self.api.iter_first)(self.iter) };
        self.stands()
    }

    fn last(&mut self) -> bool {
        // SAFETY: a live iterator.
        unsafe { (self.api.iter_last)(self.iter) };
        self.stands()
    }

    fn seek(&mut self, key: &[u8]) -> bool {
        // SAFETY: a live iterator and slice.
        unsafe { (self.api.iter_seek)(self.iter, key.as_ptr(), key.len()) };
        self.stands()
    }

    #[inline]
    fn next(&mut self) -> bool {
        // SAFETY: a live iterator on an entry.
        unsafe { (self.api.iter_next)(self.iter) };
        self.stands()
    }

    #[inline]
    fn prev(&mut self) -> bool {
        // SAFETY: a live iterator on an entry.
        unsafe { (self.api.iter_prev)(self.iter) };
        self.stands()
    }

    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        let (mut key_len, mut value_len) = (0, 0);
        // SAFETY: on an entry; valid until the next move, which needs `&mut self`.
        unsafe {
            let key = (self.api.iter_key)(self.iter, &mut key_len);
            let value = (self.api.iter_value)(self.iter, &mut value_len);
            (bytes(key, key_len), bytes(value, value_len))
        }
    }
}

impl Drop for LevelCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.api.iter_destroy)(self.iter) };
    }
}
