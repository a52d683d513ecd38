//! fjall through the C functions of `shims/fjall`. Its iterators are ranges: a seek makes a new one.

use super::{Cursor, Engine, Mode, Session, Settings, bytes, fail, need};
use crate::dl::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::null;

const NONE: c_int = 1;
const PLACE_FIRST: c_int = 0;
const PLACE_LAST: c_int = 1;
const PLACE_AT_OR_ABOVE: c_int = 2;
const THREADS: usize = 2;

type P = *mut c_void;
crate::api!(Api {
    open = "fj_open": fn(*const c_char, u64, u64, u32, c_int, usize) -> P;
    close = "fj_close": fn(P);
    put = "fj_put": fn(P, *const u8, usize, *const u8, usize, c_int) -> c_int;
    delete = "fj_delete": fn(P, *const u8, usize) -> c_int;
    get = "fj_get": fn(P, *const u8, usize, *mut u8, usize, *mut usize) -> c_int;
    batch_new = "fj_batch_new": fn() -> P;
    batch_free = "fj_batch_free": fn(P);
    batch_put = "fj_batch_put": fn(P, P, *const u8, usize, *const u8, usize);
    batch_write = "fj_batch_write": fn(P) -> c_int;
    iter_new = "fj_iter_new": fn(P) -> P;
    iter_free = "fj_iter_free": fn(P);
    iter_seek = "fj_iter_seek": fn(P, c_int, *const u8, usize) -> c_int;
    iter_step = "fj_iter_step": fn(P, c_int) -> c_int;
    iter_entry = "fj_iter_entry": fn(P, *mut *const u8, *mut usize, *mut *const u8, *mut usize);
    flush = "fj_flush": fn(P) -> c_int;
    compact = "fj_compact": fn(P) -> c_int;
    is_busy = "fj_is_busy": fn(P) -> c_int;
});

/// An open fjall database.
pub struct Fjall {
    api: Api,
    db: P,
}

// SAFETY: the shim: any number of threads on a database.
unsafe impl Sync for Fjall {}

fn check(what: &str, code: c_int) {
    if code < 0 {
        fail(&format!("fjall: {what} failed"));
    }
}

impl Engine for Fjall {
    type Session<'a> = FjallSession<'a>;

    fn open(dir: &Path, settings: &Settings) -> Fjall {
        let api = need(Library::open(&settings.library).and_then(|library| Api::load(&library)));
        let path = need(CString::new(dir.to_string_lossy().as_bytes()).map_err(|_| "a NUL in a path".to_string()));
        let (cache, memtable) = (settings.cache_bytes as u64, settings.memtable_bytes as u64);
        let (block, is_compressed) = (settings.block_bytes as u32, c_int::from(settings.is_compressed));
        // SAFETY: a text that ends in NUL.
        let db = unsafe { (api.open)(path.as_ptr(), cache, memtable, block, is_compressed, THREADS) };
        if db.is_null() {
            fail("fjall: open failed");
        }
        Fjall { api, db }
    }

    fn close(self) {
        // SAFETY: no session or iterator is left.
        unsafe { (self.api.close)(self.db) };
    }

    fn session(&self) -> FjallSession<'_> {
        // SAFETY: plain.
        let batch = unsafe { (self.api.batch_new)() };
        FjallSession { engine: self, batch }
    }

    fn flush(&self) {
        // SAFETY: an open database.
        check("flush", unsafe { (self.api.flush)(self.db) });
    }

    fn compact(&self) {
        // SAFETY: an open database.
        check("compact", unsafe { (self.api.compact)(self.db) });
    }

    fn is_busy(&self) -> Option<bool> {
        // SAFETY: an open database.
        Some(unsafe { (self.api.is_busy)(self.db) } != 0)
    }

    fn mode(settings: &Settings) -> Mode {
        let compression = if settings.is_compressed { "LZ4" } else { "not compressed" };
        Mode { durability: "log", survives_process: true, checksums: "XXH3", compression }
    }

    fn describe(settings: &Settings) -> String {
        format!(
            "fjall 3.1.13 (registry, release build with fat LTO for this processor, behind C functions): max_memtable_size \
             {}, block size {}, cache {}, bloom 10 bits a key on all levels, {} on all levels, {THREADS} worker threads, the \
             rest default",
            settings.memtable_bytes,
            settings.block_bytes,
            settings.cache_bytes,
            if settings.is_compressed { "LZ4" } else { "no compression" }
        )
    }
}

/// A thread's access.
pub struct FjallSession<'a> {
    engine: &'a Fjall,
    batch: P,
}

impl Session for FjallSession<'_> {
    type Cursor<'a>
        = FjallCursor<'a>
    where
        Self: 'a;

    fn put(&mut self, key: &[u8], value: &[u8], is_synced: bool) {
        let (put, db) = (self.engine.api.put, self.engine.db);
        // SAFETY: live slices.
        let code = unsafe { put(db, key.as_ptr(), key.len(), value.as_ptr(), value.len(), c_int::from(is_synced)) };
        check("put", code);
    }

    fn delete(&mut self, key: &[u8]) {
        // SAFETY: a live slice.
        check("delete", unsafe { (self.engine.api.delete)(self.engine.db, key.as_ptr(), key.len()) });
    }

    fn batch_put(&mut self, key: &[u8], value: &[u8]) {
        let (put, db) = (self.engine.api.batch_put, self.engine.db);
        // SAFETY: live slices, this thread's batch.
        unsafe { put(db, self.batch, key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
    }

    fn batch_write(&mut self) {
        // SAFETY: this thread's batch.
        check("batch", unsafe { (self.engine.api.batch_write)(self.batch) });
    }

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let (get, db) = (self.engine.api.get, self.engine.db);
        let mut len = 0;
        // SAFETY: live slices.
        let code = unsafe { get(db, key.as_ptr(), key.len(), buffer.as_mut_ptr(), buffer.len(), &mut len) };
        check("get", code);
        if code == NONE {
            return None;
        }
        if len > buffer.len() {
            fail("fjall: get: a value longer than the buffer");
        }
        Some(len)
    }

    fn cursor(&mut self) -> FjallCursor<'_> {
        // SAFETY: an open database.
        let iter = unsafe { (self.engine.api.iter_new)(self.engine.db) };
        FjallCursor { api: &self.engine.api, iter }
    }
}

impl Drop for FjallSession<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.engine.api.batch_free)(self.batch) };
    }
}

/// An iterator.
pub struct FjallCursor<'a> {
    api: &'a Api,
    iter: P,
}

impl FjallCursor<'_> {
    fn place(&mut self, place: c_int, key: &[u8]) -> bool {
        // SAFETY: a live iterator and slice.
        let code = unsafe { (self.api.iter_seek)(self.iter, place, key.as_ptr(), key.len()) };
        check("iterator", code);
        code != NONE
    }

    #[inline]
    fn step(&mut self, is_back: c_int) -> bool {
        // SAFETY: a live iterator.
        let code = unsafe { (self.api.iter_step)(self.iter, is_back) };
        check("iterator", code);
        code != NONE
    }
}

impl Cursor for FjallCursor<'_> {
    fn first(&mut self) -> bool {
        self.place(PLACE_FIRST, b"")
    }

    fn last(&mut self) -> bool {
        self.place(PLACE_LAST, b"")
    }

    fn seek(&mut self, key: &[u8]) -> bool {
        self.place(PLACE_AT_OR_ABOVE, key)
    }

    #[inline]
    fn next(&mut self) -> bool {
        self.step(0)
    }

    #[inline]
    fn prev(&mut self) -> bool {
        self.step(1)
    }

    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        let (mut key, mut key_len, mut value, mut value_len) = (null(), 0, null(), 0);
        // SAFETY: on an entry; valid until the next move, which needs `&mut self`.
        unsafe {
            (self.api.iter_entry)(self.iter, &mut key, &mut key_len, &mut value, &mut value_len);
            (bytes(key, key_len), bytes(value, value_len))
        }
    }
}

impl Drop for FjallCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.api.iter_free)(self.iter) };
    }
}
