//! liblsm through `lsm.h`.

use super::{Cursor, Engine, Mode, Session, Settings, bytes, fail, need};
use crate::data::KEY_LEN;
use crate::dl::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

const NOT_FOUND: c_int = 1;
const END: c_int = 2;
const SEEK_FIRST: c_int = 0;
const SEEK_LAST: c_int = 1;
const SEEK_GE: c_int = 2;
const FORWARD: c_int = 0;
const DURABILITY_FSYNC: i32 = 3;

#[repr(C)]
struct WriteOptions {
    size: u32,
    flags: u32,
    durability: i32,
    io_class: u32,
    deadline_micros: u64,
    ttl_micros: u64,
}

/// `lsm_entry`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    seq: u64,
    reserved: u64,
}

const NO_ENTRY: Entry = Entry { key: null(), key_len: 0, value: null(), value_len: 0, seq: 0, reserved: 0 };
/// Entries that one `lsm_iter_read` may give.
const READ_COUNT: usize = 64;

type P = *mut c_void;
type Err = *mut P;
crate::api!(Api {
    code_name = "lsm_code_name": fn(i32) -> *const c_char;
    error_message = "lsm_error_message": fn(P) -> *const c_char;
    options_new = "lsm_options_new": fn() -> P;
    options_free = "lsm_options_free": fn(P);
    options_set = "lsm_options_set": fn(P, *const c_char, *const c_char, Err) -> c_int;
    open = "lsm_open": fn(*const c_char, P, *mut P, Err) -> c_int;
    close = "lsm_close": fn(P, Err) -> c_int;
    keyspace = "lsm_default_keyspace": fn(P) -> P;
    put = "lsm_put": fn(P, *const WriteOptions, *const u8, usize, *const u8, usize, Err) -> c_int;
    get = "lsm_get": fn(P, *const c_void, *const u8, usize, *mut u8, usize, *mut usize, Err) -> c_int;
    delete = "lsm_delete": fn(P, *const WriteOptions, *const u8, usize, Err) -> c_int;
    multi_get = "lsm_multi_get_packed":
        fn(P, *const c_void, *const u8, usize, u32, *mut u8, usize, *mut usize, Err) -> c_int;
    batch_new = "lsm_batch_new": fn(P, *mut P, Err) -> c_int;
    batch_free = "lsm_batch_free": fn(P);
    batch_clear = "lsm_batch_clear": fn(P);
    batch_put = "lsm_batch_put": fn(P, P, *const u8, usize, *const u8, usize, Err) -> c_int;
    write = "lsm_write": fn(P, *const WriteOptions, P, *mut u64, Err) -> c_int;
    iter_open = "lsm_iter_open": fn(P, *const c_void, *mut P, Err) -> c_int;
    iter_seek = "lsm_iter_seek": fn(P, c_int, *const u8, usize, *mut Entry, Err) -> c_int;
    iter_next = "lsm_iter_next": fn(P, *mut Entry, Err) -> c_int;
    iter_prev = "lsm_iter_prev": fn(P, *mut Entry, Err) -> c_int;
    iter_read = "lsm_iter_read": fn(P, c_int, *mut Entry, usize, *mut usize, Err) -> c_int;
    iter_close = "lsm_iter_close": fn(P);
    flush = "lsm_flush": fn(P, P, Err) -> c_int;
    compact = "lsm_compact": fn(P, *const u8, usize, *const u8, usize, Err) -> c_int;
    property = "lsm_property_u64": fn(P, P, *const c_char, *mut u64, Err) -> c_int;
});

/// An open liblsm database.
pub struct Lsm {
    api: Api,
    db: P,
    keyspace: P,
}

// SAFETY: lsm.h: any number of threads at once on a database and a keyspace.
unsafe impl Sync for Lsm {}

impl Api {
    fn check(&self, what: &str, code: c_int) {
        if code < 0 {
            // SAFETY: a static text.
            let name = unsafe { CStr::from_ptr((self.code_name)(code)) };
            fail(&format!("lsm: {what}: {}", name.to_string_lossy()));
        }
    }

    fn check_told(&self, what: &str, code: c_int, error: P) {
        if code < 0 {
            // SAFETY: the call stored an error.
            let text = unsafe { CStr::from_ptr((self.error_message)(error)) };
            fail(&format!("lsm: {what}: {}", text.to_string_lossy()));
        }
    }
}

/// The options that are set.
fn pairs(settings: &Settings) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = [
        ("cache.size", settings.cache_bytes.to_string()),
        ("memtable.size", settings.memtable_bytes.to_string()),
        ("block.size", settings.block_bytes.to_string()),
        ("compression", if settings.is_compressed { "lz4" } else { "none" }.to_string()),
        ("filter.fpr", "0.01".to_string()),
        // Two background threads in all, as RocksDB's max_background_jobs = 2.
        ("flush.threads", "1".to_string()),
        ("compaction.threads", "1".to_string()),
        ("compaction.subjobs_max", "1".to_string()),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .to_vec();
    pairs.extend(settings.extra.iter().cloned());
    pairs
}

impl Engine for Lsm {
    type Session<'a> = LsmSession<'a>;

    fn open(dir: &Path, settings: &Settings) -> Lsm {
        let api = need(Library::open(&settings.library).and_then(|library| Api::load(&library)));
        let pairs = pairs(settings);
        // SAFETY: the calls of lsm.h with live handles and NUL-ended texts.
        unsafe {
            let options = (api.options_new)();
            for (key, value) in &pairs {
                let (key_c, value_c) = (text(key), text(value));
                let mut error = null_mut();
                let code = (api.options_set)(options, key_c.as_ptr(), value_c.as_ptr(), &mut error);
                api.check_told(key, code, error);
            }
            let path = text(&dir.to_string_lossy());
            let (mut db, mut error) = (null_mut(), null_mut());
            let code = (api.open)(path.as_ptr(), options, &mut db, &mut error);
            api.check_told("open", code, error);
            (api.options_free)(options);
            let keyspace = (api.keyspace)(db);
            Lsm { api, db, keyspace }
        }
    }

    fn close(self) {
        let mut error = null_mut();
        // SAFETY: open until now.
        let code = unsafe { (self.api.close)(self.db, &mut error) };
        self.api.check_told("close", code, error);
    }

    fn session(&self) -> LsmSession<'_> {
        let mut batch = null_mut();
        // SAFETY: an open database.
        let code = unsafe { (self.api.batch_new)(self.db, &mut batch, null_mut()) };
        self.api.check("batch", code);
        LsmSession { engine: self, batch, packed: Vec::new(), answers: Vec::new() }
    }

    fn flush(&self) {
        let mut error = null_mut();
        // SAFETY: an open database.
        let code = unsafe { (self.api.flush)(self.db, null_mut(), &mut error) };
        self.api.check_told("flush", code, error);
    }

    fn compact(&self) {
        let mut error = null_mut();
        // SAFETY: an open keyspace; unbounded.
        let code = unsafe { (self.api.compact)(self.keyspace, null(), 0, null(), 0, &mut error) };
        self.api.check_told("compact", code, error);
    }

    fn is_busy(&self) -> Option<bool> {
        Some(self.number("compaction.pending_bytes") + self.number("compaction.jobs_running") > 0)
    }

    fn mode(settings: &Settings) -> Mode {
        let compression = if settings.is_compressed { "LZ4" } else { "not compressed" };
        Mode { durability: "log", survives_process: true, checksums: "CRC-32", compression }
    }

    fn describe(settings: &Settings) -> String {
        let pairs: Vec<String> = pairs(settings).iter().map(|(name, value)| format!("{name} {value}")).collect();
        format!("liblsm: {}, the rest default", pairs.join(", "))
    }
}

impl Lsm {
    fn number(&self, name: &str) -> u64 {
        let name_c = text(name);
        let mut value = 0;
        // SAFETY: an open database.
        let code = unsafe { (self.api.property)(self.db, null_mut(), name_c.as_ptr(), &mut value, null_mut()) };
        self.api.check(name, code);
        value
    }
}

fn text(text: &str) -> CString {
    need(CString::new(text).map_err(|_| "a NUL in a text".to_string()))
}

/// A thread's access.
pub struct LsmSession<'a> {
    engine: &'a Lsm,
    batch: P,
    /// Keys and answers of `multi_get`.
    packed: Vec<u8>,
    answers: Vec<u8>,
}

impl Session for LsmSession<'_> {
    type Cursor<'a>
        = LsmCursor<'a>
    where
        Self: 'a;

    fn put(&mut self, key: &[u8], value: &[u8], is_synced: bool) {
        let synced = WriteOptions {
            size: size_of::<WriteOptions>() as u32,
            flags: 0,
            durability: DURABILITY_FSYNC,
            io_class: 0,
            deadline_micros: 0,
            ttl_micros: 0,
        };
        let options = if is_synced { &raw const synced } else { null() };
        let api = &self.engine.api;
        // SAFETY: live slices and options.
        let code = unsafe {
            let keyspace = self.engine.keyspace;
            (api.put)(keyspace, options, key.as_ptr(), key.len(), value.as_ptr(), value.len(), null_mut())
        };
        api.check("put", code);
    }

    fn delete(&mut self, key: &[u8]) {
        let api = &self.engine.api;
        // SAFETY: a live slice.
        let code = unsafe { (api.delete)(self.engine.keyspace, null(), key.as_ptr(), key.len(), null_mut()) };
        api.check("delete", code);
    }

    fn batch_put(&mut self, key: &[u8], value: &[u8]) {
        let api = &self.engine.api;
        // SAFETY: live slices, this thread's batch.
        let code = unsafe {
            let keyspace = self.engine.keyspace;
            (api.batch_put)(self.batch, keyspace, key.as_ptr(), key.len(), value.as_ptr(), value.len(), null_mut())
        };
        api.check("batch_put", code);
    }

    fn batch_write(&mut self) {
        let api = &self.engine.api;
        // SAFETY: this thread's batch.
        let code = unsafe { (api.write)(self.engine.db, null(), self.batch, null_mut(), null_mut()) };
        api.check("write", code);
        // SAFETY: the same.
        unsafe { (api.batch_clear)(self.batch) };
    }

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let api = &self.engine.api;
        let mut len = 0;
        // SAFETY: live slices.
        let code = unsafe {
            let (at, room) = (buffer.as_mut_ptr(), buffer.len());
            (api.get)(self.engine.keyspace, null(), key.as_ptr(), key.len(), at, room, &mut len, null_mut())
        };
        match code {
            NOT_FOUND => None,
            0 => Some(len),
            _ => {
                api.check("get", code);
                fail("lsm: get: a value longer than the buffer")
            }
        }
    }

    fn multi_get(&mut self, keys: &[[u8; KEY_LEN]], buffer: &mut [u8], each: &mut impl FnMut(usize, Option<&[u8]>)) {
        let api = &self.engine.api;
        self.packed.clear();
        for key in keys {
            self.packed.extend_from_slice(&(KEY_LEN as u32).to_le_bytes());
            self.packed.extend_from_slice(key);
        }
        self.answers.resize(keys.len() * (8 + buffer.len()), 0);
        let mut used = 0;
        // SAFETY: live buffers of the lengths given.
        let code = unsafe {
            let (from, from_len) = (self.packed.as_ptr(), self.packed.len());
            let (to, room) = (self.answers.as_mut_ptr(), self.answers.len());
            let (keyspace, many) = (self.engine.keyspace, keys.len() as u32);
            (api.multi_get)(keyspace, null(), from, from_len, many, to, room, &mut used, null_mut())
        };
        api.check("multi_get", code);
        let mut rest = &self.answers[..used];
        for place in 0..keys.len() {
            let Some((head, tail)) = rest.split_first_chunk::<8>() else { fail("lsm: multi_get: a short answer") };
            let code = i32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            each(place, (code == 0).then_some(&tail[..len]));
            rest = &tail[len..];
        }
    }

    fn cursor(&mut self) -> LsmCursor<'_> {
        let mut iter = null_mut();
        // SAFETY: an open keyspace.
        let code = unsafe { (self.engine.api.iter_open)(self.engine.keyspace, null(), &mut iter, null_mut()) };
        self.engine.api.check("iter_open", code);
        LsmCursor { api: &self.engine.api, iter, entry: NO_ENTRY, entries: [NO_ENTRY; READ_COUNT] }
    }
}

impl Drop for LsmSession<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread's batch, not used again.
        unsafe { (self.engine.api.batch_free)(self.batch) };
    }
}

/// An iterator.
pub struct LsmCursor<'a> {
    api: &'a Api,
    iter: P,
    entry: Entry,
    entries: [Entry; READ_COUNT],
}

impl LsmCursor<'_> {
    #[inline]
    fn stands(&self, code: c_int) -> bool {
        if code == END {
            return false;
        }
        self.api.check("iterator", code);
        true
    }

    fn place(&mut self, place: c_int, key: &[u8]) -> bool {
        // SAFETY: a live iterator and slice.
        let code =
            unsafe { (self.api.iter_seek)(self.iter, place, key.as_ptr(), key.len(), &mut self.entry, null_mut()) };
        self.stands(code)
    }
}

impl Cursor for LsmCursor<'_> {
    fn first(&mut self) -> bool {
        self.place(SEEK_FIRST, b"")
    }

    fn last(&mut self) -> bool {
        self.place(SEEK_LAST, b"")
    }

    fn seek(&mut self, key: &[u8]) -> bool {
        self.place(SEEK_GE, key)
    }

    #[inline]
    fn next(&mut self) -> bool {
        // SAFETY: a live iterator.
        let code = unsafe { (self.api.iter_next)(self.iter, &mut self.entry, null_mut()) };
        self.stands(code)
    }

    #[inline]
    fn prev(&mut self) -> bool {
        // SAFETY: a live iterator.
        let code = unsafe { (self.api.iter_prev)(self.iter, &mut self.entry, null_mut()) };
        self.stands(code)
    }

    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        let entry = &self.entry;
        // SAFETY: valid until the next call on the iterator, which needs `&mut self`.
        unsafe { (bytes(entry.key, entry.key_len), bytes(entry.value, entry.value_len)) }
    }

    fn read_forward(&mut self, each: &mut impl FnMut(&[u8], &[u8])) -> bool {
        if !self.entry.key.is_null() {
            let (key, value) = self.entry();
            each(key, value);
            self.entry = NO_ENTRY;
        }
        let mut count = 0;
        let at = self.entries.as_mut_ptr();
        // SAFETY: a live iterator, room for READ_COUNT entries.
        let code = unsafe { (self.api.iter_read)(self.iter, FORWARD, at, READ_COUNT, &mut count, null_mut()) };
        if !self.stands(code) {
            return false;
        }
        for entry in &self.entries[..count] {
            // SAFETY: valid until the next call on the iterator.
            let (key, value) = unsafe { (bytes(entry.key, entry.key_len), bytes(entry.value, entry.value_len)) };
            each(key, value);
        }
        true
    }
}

impl Drop for LsmCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.api.iter_close)(self.iter) };
    }
}
