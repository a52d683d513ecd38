//! LMDB through `lmdb.h`: a mapped B+ tree, no log, no compression, one writer.
//!
//! Every write call is one transaction. Without sync (`MDB_NOSYNC`) a committed transaction survives the process, as the
//! log of the others does, but a power cut may damage the whole file: noted beside its numbers. Every read renews a read
//! transaction, so that it sees what was committed before it, as the others do.

use super::{Cursor, Engine, Mode, Session, Settings, bytes, fail, need};
use crate::dl::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr::null_mut;

const NOSYNC: c_uint = 0x10000;
const NOTLS: c_uint = 0x200000;
const RDONLY: c_uint = 0x20000;
const NOTFOUND: c_int = -30798;
const FIRST: c_int = 0;
const GET_CURRENT: c_int = 4;
const LAST: c_int = 6;
const NEXT: c_int = 8;
const PREV: c_int = 12;
const SET_RANGE: c_int = 17;
const MAP_BYTES: usize = 64 << 30;

/// `MDB_val`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Val {
    len: usize,
    data: *const u8,
}

const NO_VAL: Val = Val { len: 0, data: std::ptr::null() };

type P = *mut c_void;
crate::api!(Api {
    strerror = "mdb_strerror": fn(c_int) -> *const c_char;
    env_create = "mdb_env_create": fn(*mut P) -> c_int;
    env_set_mapsize = "mdb_env_set_mapsize": fn(P, usize) -> c_int;
    env_open = "mdb_env_open": fn(P, *const c_char, c_uint, c_uint) -> c_int;
    env_close = "mdb_env_close": fn(P);
    env_sync = "mdb_env_sync": fn(P, c_int) -> c_int;
    txn_begin = "mdb_txn_begin": fn(P, P, c_uint, *mut P) -> c_int;
    txn_commit = "mdb_txn_commit": fn(P) -> c_int;
    txn_abort = "mdb_txn_abort": fn(P);
    txn_reset = "mdb_txn_reset": fn(P);
    txn_renew = "mdb_txn_renew": fn(P) -> c_int;
    dbi_open = "mdb_dbi_open": fn(P, *const c_char, c_uint, *mut c_uint) -> c_int;
    put = "mdb_put": fn(P, c_uint, *mut Val, *mut Val, c_uint) -> c_int;
    delete = "mdb_del": fn(P, c_uint, *mut Val, *mut Val) -> c_int;
    get = "mdb_get": fn(P, c_uint, *mut Val, *mut Val) -> c_int;
    cursor_open = "mdb_cursor_open": fn(P, c_uint, *mut P) -> c_int;
    cursor_get = "mdb_cursor_get": fn(P, *mut Val, *mut Val, c_int) -> c_int;
    cursor_close = "mdb_cursor_close": fn(P);
});

/// An open LMDB environment.
pub struct Lmdb {
    api: Api,
    env: P,
    dbi: c_uint,
}

// SAFETY: an environment may be used by any number of threads; transactions stay in their sessions.
unsafe impl Sync for Lmdb {}

impl Api {
    fn check(&self, what: &str, code: c_int) {
        if code != 0 {
            // SAFETY: a static text.
            let text = unsafe { CStr::from_ptr((self.strerror)(code)) };
            fail(&format!("lmdb: {what}: {}", text.to_string_lossy()));
        }
    }

    fn begin(&self, env: P, flags: c_uint) -> P {
        let mut txn = null_mut();
        // SAFETY: an open environment.
        self.check("begin", unsafe { (self.txn_begin)(env, null_mut(), flags, &mut txn) });
        txn
    }
}

impl Engine for Lmdb {
    type Session<'a> = LmdbSession<'a>;

    fn open(dir: &Path, settings: &Settings) -> Lmdb {
        let api = need(Library::open(&settings.library).and_then(|library| Api::load(&library)));
        need(std::fs::create_dir_all(dir).map_err(|error| error.to_string()));
        let path = need(CString::new(dir.to_string_lossy().as_bytes()).map_err(|_| "a NUL in a path".to_string()));
        let (mut env, mut dbi) = (null_mut(), 0);
        // SAFETY: the calls of lmdb.h in their order.
        unsafe {
            api.check("create", (api.env_create)(&mut env));
            api.check("mapsize", (api.env_set_mapsize)(env, MAP_BYTES));
            api.check("open", (api.env_open)(env, path.as_ptr(), NOSYNC | NOTLS, 0o644));
            let txn = api.begin(env, 0);
            api.check("dbi", (api.dbi_open)(txn, std::ptr::null(), 0, &mut dbi));
            api.check("commit", (api.txn_commit)(txn));
        }
        Lmdb { api, env, dbi }
    }

    fn close(self) {
        // SAFETY: no session is left.
        unsafe { (self.api.env_close)(self.env) };
    }

    fn session(&self) -> LmdbSession<'_> {
        let reader = self.api.begin(self.env, RDONLY);
        // SAFETY: a live read transaction.
        unsafe { (self.api.txn_reset)(reader) };
        LmdbSession { engine: self, reader, batch: None }
    }

    fn flush(&self) {
        // SAFETY: an open environment.
        self.api.check("sync", unsafe { (self.api.env_sync)(self.env, 1) });
    }

    fn compact(&self) {}

    fn is_busy(&self) -> Option<bool> {
        Some(false)
    }

    fn mode(_: &Settings) -> Mode {
        Mode {
            durability: "no log, a power cut may damage the file",
            survives_process: true,
            checksums: "no checksums",
            compression: "not compressed",
        }
    }

    fn describe(_: &Settings) -> String {
        "LMDB 0.9 (Debian package): MDB_NOSYNC | MDB_NOTLS, a map of 64 GiB, one transaction a write; it has no memtable, no \
         block cache, no filters, no background threads"
            .to_string()
    }
}

/// A thread's access.
pub struct LmdbSession<'a> {
    engine: &'a Lmdb,
    reader: P,
    batch: Option<P>,
}

impl LmdbSession<'_> {
    fn put_in(&self, txn: P, key: &[u8], value: &[u8]) {
        let api = &self.engine.api;
        let mut key = Val { len: key.len(), data: key.as_ptr() };
        let mut value = Val { len: value.len(), data: value.as_ptr() };
        // SAFETY: a live write transaction and slices.
        api.check("put", unsafe { (api.put)(txn, self.engine.dbi, &mut key, &mut value, 0) });
    }
}

impl Session for LmdbSession<'_> {
    type Cursor<'a>
        = LmdbCursor<'a>
    where
        Self: 'a;

    fn put(&mut self, key: &[u8], value: &[u8], is_synced: bool) {
        let api = &self.engine.api;
        let txn = api.begin(self.engine.env, 0);
        self.put_in(txn, key, value);
        // SAFETY: a live write transaction.
        api.check("commit", unsafe { (api.txn_commit)(txn) });
        if is_synced {
            self.engine.flush();
        }
    }

    fn delete(&mut self, key: &[u8]) {
        let api = &self.engine.api;
        let txn = api.begin(self.engine.env, 0);
        let mut key = Val { len: key.len(), data: key.as_ptr() };
        // SAFETY: a live write transaction and slice; there is one value a key.
        let code = unsafe { (api.delete)(txn, self.engine.dbi, &mut key, null_mut()) };
        if code != NOTFOUND {
            api.check("delete", code);
        }
        // SAFETY: a live write transaction.
        api.check("commit", unsafe { (api.txn_commit)(txn) });
    }

    fn batch_put(&mut self, key: &[u8], value: &[u8]) {
        let txn = *self.batch.get_or_insert_with(|| self.engine.api.begin(self.engine.env, 0));
        self.put_in(txn, key, value);
    }

    fn batch_write(&mut self) {
        if let Some(txn) = self.batch.take() {
            // SAFETY: a live write transaction.
            self.engine.api.check("commit", unsafe { (self.engine.api.txn_commit)(txn) });
        }
    }

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let api = &self.engine.api;
        let (mut key, mut value) = (Val { len: key.len(), data: key.as_ptr() }, NO_VAL);
        // SAFETY: a reset read transaction; the value is copied before the next reset.
        unsafe {
            api.check("renew", (api.txn_renew)(self.reader));
            let code = (api.get)(self.reader, self.engine.dbi, &mut key, &mut value);
            if code == NOTFOUND {
                (api.txn_reset)(self.reader);
                return None;
            }
            api.check("get", code);
            if value.len > buffer.len() {
                fail("lmdb: get: a value longer than the buffer");
            }
            buffer[..value.len].copy_from_slice(bytes(value.data, value.len));
            (api.txn_reset)(self.reader);
        }
        Some(value.len)
    }

    fn cursor(&mut self) -> LmdbCursor<'_> {
        let api = &self.engine.api;
        let txn = api.begin(self.engine.env, RDONLY);
        let mut cursor = null_mut();
        // SAFETY: a live read transaction.
        api.check("cursor", unsafe { (api.cursor_open)(txn, self.engine.dbi, &mut cursor) });
        LmdbCursor { api, txn, cursor, key: NO_VAL, value: NO_VAL }
    }
}

impl Drop for LmdbSession<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.engine.api.txn_abort)(self.reader) };
    }
}

/// A cursor in a read transaction of its own.
pub struct LmdbCursor<'a> {
    api: &'a Api,
    txn: P,
    cursor: P,
    key: Val,
    value: Val,
}

impl LmdbCursor<'_> {
    #[inline]
    fn go(&mut self, operation: c_int) -> bool {
        // SAFETY: a live cursor.
        let code = unsafe { (self.api.cursor_get)(self.cursor, &mut self.key, &mut self.value, operation) };
        if code == NOTFOUND {
            return false;
        }
        self.api.check("cursor", code);
        true
    }
}

impl Cursor for LmdbCursor<'_> {
    fn first(&mut self) -> bool {
        self.go(FIRST)
    }

    fn last(&mut self) -> bool {
        self.go(LAST)
    }

    fn seek(&mut self, key: &[u8]) -> bool {
        self.key = Val { len: key.len(), data: key.as_ptr() };
        let is_there = self.go(SET_RANGE);
        // The call leaves the caller's key in place when it is the one found.
        is_there && self.go(GET_CURRENT)
    }

    #[inline]
    fn next(&mut self) -> bool {
        self.go(NEXT)
    }

    #[inline]
    fn prev(&mut self) -> bool {
        self.go(PREV)
    }

    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        // SAFETY: valid while the read transaction lives.
        unsafe { (bytes(self.key.data, self.key.len), bytes(self.value.data, self.value.len)) }
    }
}

impl Drop for LmdbCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe {
            (self.api.cursor_close)(self.cursor);
            (self.api.txn_abort)(self.txn);
        }
    }
}
