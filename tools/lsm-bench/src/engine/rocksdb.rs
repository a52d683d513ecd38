//! RocksDB through its `c.h`: with its own defaults beside the settings that all engines share, or tuned
//! (`variant=tuned`): memtable bloom filter, hash index in data blocks, four memtables, recycled logs, pipelined writes.
//!
//! Reads use `rocksdb_get_into_buffer` and the slice functions of iterators, the fastest calls of the interface.

use super::{Cursor, Engine, Mode, Session, Settings, bytes, fail, need};
use crate::data::KEY_LEN;
use crate::dl::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

const LZ4: c_int = 4;
const BINARY_SEARCH_AND_HASH: c_int = 1;

/// `rocksdb_slice_t`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Slice {
    data: *const u8,
    size: usize,
}

type P = *mut c_void;
type Err = *mut *mut c_char;
crate::api!(Api {
    options_create = "rocksdb_options_create": fn() -> P;
    options_destroy = "rocksdb_options_destroy": fn(P);
    create_if_missing = "rocksdb_options_set_create_if_missing": fn(P, u8);
    write_buffer_size = "rocksdb_options_set_write_buffer_size": fn(P, usize);
    write_buffer_number = "rocksdb_options_set_max_write_buffer_number": fn(P, c_int);
    background_jobs = "rocksdb_options_set_max_background_jobs": fn(P, c_int);
    compression = "rocksdb_options_set_compression": fn(P, c_int);
    recycle_logs = "rocksdb_options_set_recycle_log_file_num": fn(P, usize);
    pipelined = "rocksdb_options_set_enable_pipelined_write": fn(P, u8);
    memtable_bloom = "rocksdb_options_set_memtable_prefix_bloom_size_ratio": fn(P, f64);
    memtable_whole_key = "rocksdb_options_set_memtable_whole_key_filtering": fn(P, u8);
    table_factory = "rocksdb_options_set_block_based_table_factory": fn(P, P);
    table_create = "rocksdb_block_based_options_create": fn() -> P;
    table_destroy = "rocksdb_block_based_options_destroy": fn(P);
    block_size = "rocksdb_block_based_options_set_block_size": fn(P, usize);
    block_cache = "rocksdb_block_based_options_set_block_cache": fn(P, P);
    filter = "rocksdb_block_based_options_set_filter_policy": fn(P, P);
    block_index = "rocksdb_block_based_options_set_data_block_index_type": fn(P, c_int);
    block_hash_ratio = "rocksdb_block_based_options_set_data_block_hash_ratio": fn(P, f64);
    cache_create = "rocksdb_cache_create_hyper_clock": fn(usize, usize) -> P;
    cache_destroy = "rocksdb_cache_destroy": fn(P);
    bloom = "rocksdb_filterpolicy_create_bloom_full": fn(f64) -> P;
    open = "rocksdb_open": fn(P, *const c_char, Err) -> P;
    close = "rocksdb_close": fn(P);
    write_options = "rocksdb_writeoptions_create": fn() -> P;
    write_options_sync = "rocksdb_writeoptions_set_sync": fn(P, u8);
    read_options = "rocksdb_readoptions_create": fn() -> P;
    flush_options = "rocksdb_flushoptions_create": fn() -> P;
    put = "rocksdb_put": fn(P, P, *const u8, usize, *const u8, usize, Err);
    get = "rocksdb_get_into_buffer": fn(P, P, *const u8, usize, *mut u8, usize, *mut usize, *mut u8, Err) -> u8;
    delete = "rocksdb_delete": fn(P, P, *const u8, usize, Err);
    family = "rocksdb_get_default_column_family_handle": fn(P) -> P;
    multi_get = "rocksdb_batched_multi_get_cf":
        fn(P, P, P, usize, *const *const u8, *const usize, *mut P, *mut *mut c_char, u8);
    pinned_value = "rocksdb_pinnableslice_value": fn(P, *mut usize) -> *const u8;
    pinned_destroy = "rocksdb_pinnableslice_destroy": fn(P);
    batch_create = "rocksdb_writebatch_create": fn() -> P;
    batch_destroy = "rocksdb_writebatch_destroy": fn(P);
    batch_clear = "rocksdb_writebatch_clear": fn(P);
    batch_put = "rocksdb_writebatch_put": fn(P, *const u8, usize, *const u8, usize);
    write = "rocksdb_write": fn(P, P, P, Err);
    iter_create = "rocksdb_create_iterator": fn(P, P) -> P;
    iter_destroy = "rocksdb_iter_destroy": fn(P);
    iter_valid = "rocksdb_iter_valid": fn(P) -> u8;
    iter_first = "rocksdb_iter_seek_to_first": fn(P);
    iter_last = "rocksdb_iter_seek_to_last": fn(P);
    iter_seek = "rocksdb_iter_seek": fn(P, *const u8, usize);
    iter_next = "rocksdb_iter_next": fn(P);
    iter_prev = "rocksdb_iter_prev": fn(P);
    iter_key = "rocksdb_iter_key_slice": fn(P) -> Slice;
    iter_value = "rocksdb_iter_value_slice": fn(P) -> Slice;
    iter_error = "rocksdb_iter_get_error": fn(P, Err);
    flush = "rocksdb_flush": fn(P, P, Err);
    compact = "rocksdb_compact_range": fn(P, *const u8, usize, *const u8, usize);
    property = "rocksdb_property_int": fn(P, *const c_char, *mut u64) -> c_int;
});

/// An open RocksDB database.
pub struct RocksDb {
    api: Api,
    db: P,
    family: P,
    write: P,
    write_synced: P,
    read: P,
}

// SAFETY: a rocksdb::DB and option objects that nobody changes may be used by any number of threads.
unsafe impl Sync for RocksDb {}

fn check(what: &str, error: *mut c_char) {
    if !error.is_null() {
        // SAFETY: RocksDB stored a text.
        let text = unsafe { CStr::from_ptr(error) };
        fail(&format!("rocksdb: {what}: {}", text.to_string_lossy()));
    }
}

fn is_tuned(settings: &Settings) -> bool {
    settings.extra.iter().any(|(key, value)| key == "variant" && value == "tuned")
}

/// Options as the settings say.
///
/// # Safety
/// `api` is RocksDB's.
unsafe fn options(api: &Api, settings: &Settings) -> P {
    let is_tuned = is_tuned(settings);
    // SAFETY: live option objects; the cache and the filter policy are owned by the table options from then on.
    unsafe {
        let table = (api.table_create)();
        (api.block_size)(table, settings.block_bytes);
        // The default kind of cache since RocksDB 10.7, sized by itself (estimated charge 0).
        let cache = (api.cache_create)(settings.cache_bytes, 0);
        (api.block_cache)(table, cache);
        (api.cache_destroy)(cache);
        (api.filter)(table, (api.bloom)(10.0));
        let options = (api.options_create)();
        (api.create_if_missing)(options, 1);
        (api.write_buffer_size)(options, settings.memtable_bytes);
        (api.background_jobs)(options, 2);
        (api.compression)(options, if settings.is_compressed { LZ4 } else { 0 });
        if is_tuned {
            (api.write_buffer_number)(options, 4);
            (api.recycle_logs)(options, 4);
            (api.pipelined)(options, 1);
            (api.memtable_bloom)(options, 0.05);
            (api.memtable_whole_key)(options, 1);
            (api.block_index)(table, BINARY_SEARCH_AND_HASH);
            (api.block_hash_ratio)(table, 0.75);
        }
        (api.table_factory)(options, table);
        (api.table_destroy)(table);
        options
    }
}

impl Engine for RocksDb {
    type Session<'a> = RocksSession<'a>;

    fn open(dir: &Path, settings: &Settings) -> RocksDb {
        let api = need(Library::open(&settings.library).and_then(|library| Api::load(&library)));
        let path = need(CString::new(dir.to_string_lossy().as_bytes()).map_err(|_| "a NUL in a path".to_string()));
        let mut error = null_mut();
        // SAFETY: live option objects and texts.
        unsafe {
            let options = options(&api, settings);
            let db = (api.open)(options, path.as_ptr(), &mut error);
            check("open", error);
            (api.options_destroy)(options);
            let (write, write_synced, read) = ((api.write_options)(), (api.write_options)(), (api.read_options)());
            (api.write_options_sync)(write_synced, 1);
            let family = (api.family)(db);
            RocksDb { api, db, family, write, write_synced, read }
        }
    }

    fn close(self) {
        // SAFETY: no session or iterator is left.
        unsafe { (self.api.close)(self.db) };
    }

    fn session(&self) -> RocksSession<'_> {
        // SAFETY: plain.
        let batch = unsafe { (self.api.batch_create)() };
        RocksSession { engine: self, batch }
    }

    fn flush(&self) {
        let mut error = null_mut();
        // SAFETY: an open database.
        unsafe { (self.api.flush)(self.db, (self.api.flush_options)(), &mut error) };
        check("flush", error);
    }

    fn compact(&self) {
        // SAFETY: an open database; unbounded.
        unsafe { (self.api.compact)(self.db, null(), 0, null(), 0) };
    }

    fn is_busy(&self) -> Option<bool> {
        let is_busy = [
            c"rocksdb.num-running-compactions",
            c"rocksdb.num-running-flushes",
            c"rocksdb.compaction-pending",
            c"rocksdb.mem-table-flush-pending",
        ]
        .iter()
        .any(|name| {
            let mut value = 0;
            // SAFETY: an open database.
            unsafe { (self.api.property)(self.db, name.as_ptr(), &mut value) };
            value > 0
        });
        Some(is_busy)
    }

    fn mode(settings: &Settings) -> Mode {
        let compression = if settings.is_compressed { "LZ4" } else { "not compressed" };
        Mode { durability: "log", survives_process: true, checksums: "XXH3", compression }
    }

    fn describe(settings: &Settings) -> String {
        let mut text = format!(
            "RocksDB 11.8 (librocksdb-sys 0.19.0, release build): write_buffer_size {}, block_size {}, \
             HyperClockCache {}, bloom 10 bits a key, {}, max_background_jobs 2, the rest default",
            settings.memtable_bytes,
            settings.block_bytes,
            settings.cache_bytes,
            if settings.is_compressed { "LZ4" } else { "no compression" }
        );
        if is_tuned(settings) {
            text += "; tuned: max_write_buffer_number 4, recycle_log_file_num 4, pipelined writes, memtable bloom 0.05 with \
                     whole keys, hash index in data blocks (0.75)";
        }
        text
    }
}

/// A thread's access.
pub struct RocksSession<'a> {
    engine: &'a RocksDb,
    batch: P,
}

impl Session for RocksSession<'_> {
    type Cursor<'a>
        = RocksCursor<'a>
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

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let engine = self.engine;
        let (mut len, mut is_found, mut error) = (0, 0, null_mut());
        // SAFETY: live slices.
        let fits = unsafe {
            let (at, room) = (buffer.as_mut_ptr(), buffer.len());
            let get = engine.api.get;
            get(engine.db, engine.read, key.as_ptr(), key.len(), at, room, &mut len, &mut is_found, &mut error)
        };
        check("get", error);
        if is_found == 0 {
            return None;
        }
        if fits == 0 {
            fail("rocksdb: get: a value longer than the buffer");
        }
        Some(len)
    }

    fn multi_get(&mut self, keys: &[[u8; KEY_LEN]], buffer: &mut [u8], each: &mut impl FnMut(usize, Option<&[u8]>)) {
        const MANY: usize = 64;
        let api = &self.engine.api;
        let count = keys.len();
        if count > MANY {
            fail("rocksdb: multi_get: too many keys");
        }
        let mut starts = [null(); MANY];
        starts.iter_mut().zip(keys).for_each(|(start, key)| *start = key.as_ptr());
        let (mut values, mut errors) = ([null_mut(); MANY], [null_mut(); MANY]);
        // SAFETY: live keys; room for `count` answers.
        unsafe {
            let (db, read, family) = (self.engine.db, self.engine.read, self.engine.family);
            let (starts, lens) = (starts.as_ptr(), [KEY_LEN; MANY]);
            (api.multi_get)(
                db,
                read,
                family,
                count,
                starts,
                lens.as_ptr(),
                values.as_mut_ptr(),
                errors.as_mut_ptr(),
                0,
            );
        }
        for place in 0..count {
            check("multi_get", errors[place]);
            if values[place].is_null() {
                each(place, None);
                continue;
            }
            let mut len = 0;
            // SAFETY: a slice that the call gave, released after it was copied.
            unsafe {
                let at = (api.pinned_value)(values[place], &mut len);
                if len > buffer.len() {
                    fail("rocksdb: multi_get: a value longer than the buffer");
                }
                buffer[..len].copy_from_slice(bytes(at, len));
                (api.pinned_destroy)(values[place]);
            }
            each(place, Some(&buffer[..len]));
        }
    }

    fn cursor(&mut self) -> RocksCursor<'_> {
        // SAFETY: an open database.
        let iter = unsafe { (self.engine.api.iter_create)(self.engine.db, self.engine.read) };
        RocksCursor { api: &self.engine.api, iter }
    }
}

impl Drop for RocksSession<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.engine.api.batch_destroy)(self.batch) };
    }
}

/// An iterator.
pub struct RocksCursor<'a> {
    api: &'a Api,
    iter: P,
}

impl RocksCursor<'_> {
    #[inline]
    fn stands(&self) -> bool {
        // SAFETY: a live iterator.
        let is_valid = unsafe { (self.api.iter_valid)(self.iter) } != 0;
        if !is_valid {
            let mut error = null_mut();
            // SAFETY: the same.
            unsafe { (self.api.iter_error)(self.iter, &mut error) };
            check("iterator", error);
        }
        is_valid
    }
}

impl Cursor for RocksCursor<'_> {
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
        // SAFETY: on an entry; valid until the next move, which needs `&mut self`.
        unsafe {
            let (key, value) = ((self.api.iter_key)(self.iter), (self.api.iter_value)(self.iter));
            (bytes(key.data, key.size), bytes(value.data, value.size))
        }
    }
}

impl Drop for RocksCursor<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.api.iter_destroy)(self.iter) };
    }
}
