//! TidesDB 10 through its `db.h`. Each write is a transaction, reset and used again; a thread reads through one
//! transaction at read committed, without tracking, which is its cheapest path. Values, and the entries of iterators, are
//! allocated by the library and freed here.
//!
//! Whether a commit is synced is fixed when the database is opened. Not synced is `TDB_SYNC_NONE`, the library's default:
//! a commit may be lost with the process, which is weaker than what the others do and stands beside its numbers. The mode
//! that survives the process, `tidesdb;sync=interval` (here with an interval of an hour), hands each commit to another
//! thread: measured 27 us of processor time a put instead of 2 to 6.

use super::{Cursor, Engine, Mode, Session, Settings, bytes, fail, need};
use crate::dl::Library;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_float, c_int, c_void};
use std::path::Path;
use std::ptr::null_mut;

const NOT_FOUND: c_int = -3;
const LOCKED: c_int = -12;
const READ_COMMITTED: c_int = 1;
const SYNC_NONE: c_int = 0;
const SYNC_FULL: c_int = 1;
const SYNC_INTERVAL: c_int = 2;
const AN_HOUR_MICROS: u64 = 3_600_000_000;
const LZ4: u8 = 2;
const LOG_NONE: c_int = 0;
const FAMILY: &CStr = c"default";

/// `tidesdb_column_family_config_t` of version 10.2.
#[repr(C)]
struct FamilyConfig {
    name: [c_char; 128],
    level_size_ratio: usize,
    min_levels: c_int,
    dividing_level_offset: c_int,
    keep_values_inline: c_int,
    btree_klog_block_size: usize,
    encoding_pipeline: [u8; 8],
    encoding_count: u8,
    enable_bloom_filter: c_int,
    bloom_fpr: f64,
    default_isolation_level: c_int,
    l1_file_count_trigger: c_int,
    tombstone_density_trigger: f64,
    tombstone_density_min_entries: u64,
    commit_hook_fn: *mut c_void,
    commit_hook_ctx: *mut c_void,
}

/// `tidesdb_config_t` of version 10.2.
#[repr(C)]
struct Config {
    db_path: *const c_char,
    num_flush_threads: c_int,
    num_compaction_threads: c_int,
    log_level: c_int,
    block_cache_size: usize,
    max_open_sstables: usize,
    log_to_file: c_int,
    log_truncation_at: usize,
    memtable_write_buffer_size: usize,
    memtable_skip_list_max_level: c_int,
    memtable_skip_list_probability: c_float,
    memtable_sync_mode: c_int,
    memtable_sync_interval_us: u64,
    value_separation_threshold: usize,
    vlog_segment_size: usize,
    memtable_l0_queue_stall_threshold: c_int,
    memtable_idle_flush_seconds: c_int,
    txn_timeout_seconds: i64,
}

// The sizes that the library's own bindings check for 64-bit systems.
const _: () = assert!(size_of::<FamilyConfig>() == 224 && size_of::<Config>() == 120);

type P = *mut c_void;
crate::api!(Api {
    strerror = "tidesdb_strerror": fn(c_int) -> *const c_char;
    free = "tidesdb_free": fn(P);
    default_config = "tidesdb_default_config": fn() -> Config;
    default_family = "tidesdb_default_column_family_config": fn() -> FamilyConfig;
    open = "tidesdb_open": fn(*const Config, *mut P) -> c_int;
    close = "tidesdb_close": fn(P) -> c_int;
    family_create = "tidesdb_create_column_family": fn(P, *const c_char, *const FamilyConfig) -> c_int;
    family = "tidesdb_get_column_family": fn(P, *const c_char) -> P;
    txn_begin = "tidesdb_txn_begin_with_isolation": fn(P, c_int, *mut P) -> c_int;
    txn_put = "tidesdb_txn_put": fn(P, P, *const u8, usize, *const u8, usize, i64) -> c_int;
    txn_delete = "tidesdb_txn_delete": fn(P, P, *const u8, usize) -> c_int;
    txn_get = "tidesdb_txn_get_notrack": fn(P, P, *const u8, usize, *mut *mut u8, *mut usize) -> c_int;
    txn_commit = "tidesdb_txn_commit": fn(P) -> c_int;
    txn_reset = "tidesdb_txn_reset": fn(P, c_int) -> c_int;
    txn_free = "tidesdb_txn_free": fn(P);
    iter_new = "tidesdb_iter_new": fn(P, P, *mut P) -> c_int;
    iter_free = "tidesdb_iter_free": fn(P);
    iter_seek = "tidesdb_iter_seek": fn(P, *const u8, usize) -> c_int;
    iter_first = "tidesdb_iter_seek_to_first": fn(P) -> c_int;
    iter_last = "tidesdb_iter_seek_to_last": fn(P) -> c_int;
    iter_next = "tidesdb_iter_next": fn(P) -> c_int;
    iter_prev = "tidesdb_iter_prev": fn(P) -> c_int;
    iter_entry = "tidesdb_iter_key_value": fn(P, *mut *mut u8, *mut usize, *mut *mut u8, *mut usize) -> c_int;
    flush = "tidesdb_flush_memtable": fn(P) -> c_int;
    compact = "tidesdb_compact": fn(P, P) -> c_int;
    is_flushing = "tidesdb_is_flushing": fn(P) -> c_int;
    is_compacting = "tidesdb_is_compacting": fn(P) -> c_int;
});

impl Api {
    fn check(&self, what: &str, code: c_int) {
        if code != 0 {
            // SAFETY: a static text.
            let text = unsafe { CStr::from_ptr((self.strerror)(code)) };
            fail(&format!("tidesdb: {what}: {}", text.to_string_lossy()));
        }
    }

    /// Calls until it is not locked: its header asks for that.
    fn patiently(&self, mut call: impl FnMut() -> c_int) -> c_int {
        loop {
            match call() {
                LOCKED => std::thread::sleep(std::time::Duration::from_millis(1)),
                code => return code,
            }
        }
    }
}

/// An open TidesDB database with one column family.
pub struct TidesDb {
    api: Api,
    db: P,
    family: P,
}

// SAFETY: a database and its families may be used by any number of threads; transactions stay in their sessions.
unsafe impl Sync for TidesDb {}

fn survives_process(settings: &Settings) -> bool {
    settings.extra.iter().any(|(name, value)| name == "sync" && value == "interval")
}

impl Engine for TidesDb {
    type Session<'a> = TidesSession<'a>;

    fn open(dir: &Path, settings: &Settings) -> TidesDb {
        let api = need(Library::open(&settings.library).and_then(|library| Api::load(&library)));
        let path = need(CString::new(dir.to_string_lossy().as_bytes()).map_err(|_| "a NUL in a path".to_string()));
        let mut db = null_mut();
        // SAFETY: the calls of db.h in their order, with texts that end in NUL.
        unsafe {
            let mut config = (api.default_config)();
            config.db_path = path.as_ptr();
            config.num_flush_threads = 1;
            config.num_compaction_threads = 1;
            config.log_level = LOG_NONE;
            config.block_cache_size = settings.cache_bytes;
            config.memtable_write_buffer_size = settings.memtable_bytes;
            config.memtable_sync_mode = match settings.is_synced {
                true => SYNC_FULL,
                false if survives_process(settings) => SYNC_INTERVAL,
                false => SYNC_NONE,
            };
            config.memtable_sync_interval_us = AN_HOUR_MICROS;
            api.check("open", (api.open)(&config, &mut db));
            let mut family = (api.family)(db, FAMILY.as_ptr());
            if family.is_null() {
                let mut config = (api.default_family)();
                config.btree_klog_block_size = settings.block_bytes;
                config.enable_bloom_filter = 1;
                config.bloom_fpr = 0.01;
                config.encoding_pipeline = [LZ4, 0, 0, 0, 0, 0, 0, 0];
                config.encoding_count = u8::from(settings.is_compressed);
                api.check("family", (api.family_create)(db, FAMILY.as_ptr(), &config));
                family = (api.family)(db, FAMILY.as_ptr());
            }
            TidesDb { api, db, family }
        }
    }

    fn close(self) {
        // SAFETY: no session is left.
        self.api.check("close", unsafe { (self.api.close)(self.db) });
    }

    fn session(&self) -> TidesSession<'_> {
        TidesSession { engine: self, reader: self.begin(), writer: self.begin() }
    }

    fn flush(&self) {
        // SAFETY: an open database.
        let code = self.api.patiently(|| unsafe { (self.api.flush)(self.db) });
        self.api.check("flush", code);
    }

    fn compact(&self) {
        // SAFETY: an open database and family.
        let code = self.api.patiently(|| unsafe { (self.api.compact)(self.db, self.family) });
        self.api.check("compact", code);
    }

    fn is_busy(&self) -> Option<bool> {
        // SAFETY: an open database and family.
        let is_busy = unsafe { (self.api.is_flushing)(self.db) + (self.api.is_compacting)(self.family) } != 0;
        // A compaction that is due does not show: idle only when its files and processor time say so, too.
        if is_busy { Some(true) } else { None }
    }

    fn mode(settings: &Settings) -> Mode {
        let compression = if settings.is_compressed { "LZ4" } else { "not compressed" };
        let survives_process = survives_process(settings);
        let durability = if survives_process { "log" } else { "log, may be lost with the process" };
        Mode { durability, survives_process, checksums: "XXH3", compression }
    }

    fn describe(settings: &Settings) -> String {
        format!(
            "TidesDB 10.2.1 (the C source in the registry package tidesdb 1.0.0, cmake release build for this processor): \
             memtable_write_buffer_size {}, btree_klog_block_size {}, block_cache_size {}, bloom_fpr 0.01, {}, 1 flush and 1 \
             compaction thread, sync {} (full for synced rows), read committed, the rest default",
            settings.memtable_bytes,
            settings.block_bytes,
            settings.cache_bytes,
            if settings.is_compressed { "LZ4" } else { "no encoding" },
            if survives_process(settings) { "interval of an hour" } else { "none" }
        )
    }
}

impl TidesDb {
    fn begin(&self) -> P {
        let mut txn = null_mut();
        // SAFETY: an open database.
        self.api.check("begin", unsafe { (self.api.txn_begin)(self.db, READ_COMMITTED, &mut txn) });
        txn
    }
}

/// A thread's access.
pub struct TidesSession<'a> {
    engine: &'a TidesDb,
    reader: P,
    writer: P,
}

impl TidesSession<'_> {
    fn commit(&mut self) {
        let api = &self.engine.api;
        // SAFETY: this thread's transaction.
        let code = api.patiently(|| unsafe { (api.txn_commit)(self.writer) });
        api.check("commit", code);
        // SAFETY: the same.
        api.check("reset", unsafe { (api.txn_reset)(self.writer, READ_COMMITTED) });
    }
}

impl Session for TidesSession<'_> {
    type Cursor<'a>
        = TidesCursor<'a>
    where
        Self: 'a;

    fn put(&mut self, key: &[u8], value: &[u8], _is_synced: bool) {
        self.batch_put(key, value);
        self.commit();
    }

    fn delete(&mut self, key: &[u8]) {
        let api = &self.engine.api;
        // SAFETY: this thread's transaction, a live slice.
        let code = unsafe { (api.txn_delete)(self.writer, self.engine.family, key.as_ptr(), key.len()) };
        api.check("delete", code);
        self.commit();
    }

    fn batch_put(&mut self, key: &[u8], value: &[u8]) {
        let (api, family) = (&self.engine.api, self.engine.family);
        // SAFETY: this thread's transaction, live slices; 0 never expires.
        let code =
            unsafe { (api.txn_put)(self.writer, family, key.as_ptr(), key.len(), value.as_ptr(), value.len(), 0) };
        api.check("put", code);
    }

    fn batch_write(&mut self) {
        self.commit();
    }

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let (api, family) = (&self.engine.api, self.engine.family);
        let (mut value, mut len) = (null_mut(), 0);
        let code = api.patiently(|| {
            // SAFETY: this thread's transaction, a live slice.
            unsafe { (api.txn_get)(self.reader, family, key.as_ptr(), key.len(), &mut value, &mut len) }
        });
        if code == NOT_FOUND {
            return None;
        }
        api.check("get", code);
        if len > buffer.len() {
            fail("tidesdb: get: a value longer than the buffer");
        }
        // SAFETY: `len` bytes of the library's, given back right after.
        unsafe {
            buffer[..len].copy_from_slice(bytes(value, len));
            (api.free)(value.cast());
        }
        Some(len)
    }

    fn cursor(&mut self) -> TidesCursor<'_> {
        let api = &self.engine.api;
        let txn = self.engine.begin();
        let mut iter = null_mut();
        // SAFETY: a live transaction and family.
        let code = api.patiently(|| unsafe { (api.iter_new)(txn, self.engine.family, &mut iter) });
        api.check("iterator", code);
        TidesCursor { api, txn, iter, held: Cell::new(NOTHING) }
    }
}

impl Drop for TidesSession<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe {
            (self.engine.api.txn_free)(self.reader);
            (self.engine.api.txn_free)(self.writer);
        }
    }
}

/// An iterator in a transaction of its own.
pub struct TidesCursor<'a> {
    api: &'a Api,
    txn: P,
    iter: P,
    /// The entry it was last asked for: key and value with their lengths; NULL after a move.
    held: Cell<Held>,
}

type Held = (*mut u8, usize, *mut u8, usize);
const NOTHING: Held = (null_mut(), 0, null_mut(), 0);

impl TidesCursor<'_> {
    fn release(&self) {
        let (key, _, value, _) = self.held.replace(NOTHING);
        // SAFETY: allocated by the library, or NULL, which it takes.
        unsafe {
            (self.api.free)(key.cast());
            (self.api.free)(value.cast());
        }
    }

    #[inline]
    fn go(&mut self, call: impl FnMut() -> c_int) -> bool {
        self.release();
        let code = self.api.patiently(call);
        if code == NOT_FOUND {
            return false;
        }
        self.api.check("iterator", code);
        true
    }
}

impl Cursor for TidesCursor<'_> {
    fn first(&mut self) -> bool {
        let (go, iter) = (self.api.iter_first, self.iter);
        // SAFETY: a live iterator, here and below.
        self.go(|| unsafe { go(iter) })
    }

    fn last(&mut self) -> bool {
        let (go, iter) = (self.api.iter_last, self.iter);
        // SAFETY: as above.
        self.go(|| unsafe { go(iter) })
    }

    fn seek(&mut self, key: &[u8]) -> bool {
        let (go, iter) = (self.api.iter_seek, self.iter);
        // SAFETY: as above, a live slice.
        self.go(|| unsafe { go(iter, key.as_ptr(), key.len()) })
    }

    #[inline]
    fn next(&mut self) -> bool {
        let (go, iter) = (self.api.iter_next, self.iter);
        // SAFETY: as above.
        self.go(|| unsafe { go(iter) })
    }

    #[inline]
    fn prev(&mut self) -> bool {
        let (go, iter) = (self.api.iter_prev, self.iter);
        // SAFETY: as above.
        self.go(|| unsafe { go(iter) })
    }

    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        if self.held.get().0.is_null() {
            let (mut key, mut key_len, mut value, mut value_len) = NOTHING;
            // SAFETY: a live iterator on an entry.
            let code = unsafe { (self.api.iter_entry)(self.iter, &mut key, &mut key_len, &mut value, &mut value_len) };
            self.api.check("entry", code);
            self.held.set((key, key_len, value, value_len));
        }
        let (key, key_len, value, value_len) = self.held.get();
        // SAFETY: kept until the next move, which needs `&mut self`.
        unsafe { (bytes(key, key_len), bytes(value, value_len)) }
    }
}

impl Drop for TidesCursor<'_> {
    fn drop(&mut self) {
        self.release();
        // SAFETY: not used again.
        unsafe {
            (self.api.iter_free)(self.iter);
            (self.api.txn_free)(self.txn);
        }
    }
}
