//! What the model knows: databases, handles alive and dead, what each must show.

use super::{LSM_E_CLOSED, Plant};
use crate::mutate::Rng;
use lsm_capi::batch::lsm_batch;
use lsm_capi::db::*;
use lsm_capi::error::*;
use lsm_capi::handle::{lsm_db, lsm_keyspace};
use lsm_capi::iter::{lsm_iter, lsm_iter_close};
use lsm_capi::options::*;
use lsm_capi::read::{lsm_value, lsm_value_release};
use lsm_capi::snapshot::{lsm_snapshot, lsm_snapshot_release};
use lsm_capi::status::*;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ptr::null_mut;

pub const DATABASES: usize = 2;
pub const NAMES: [&CStr; 3] = [c"default", c"second", c"third"];

pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
/// Which keyspace: its name, and how often that name was created.
pub type SpaceId = (usize, u32);

pub struct Database {
    pub path: CString,
    /// The last handle, alive or not.
    pub ptr: *mut lsm_db,
    /// How often it was opened; handles of earlier times are dead.
    pub opens: u32,
    pub is_open: bool,
    pub is_read_only: bool,
    pub exists: bool,
    pub spaces: BTreeMap<SpaceId, Entries>,
    /// How often each name was created.
    pub created: [u32; NAMES.len()],
}

impl Database {
    pub fn id(&self, name: usize) -> Option<SpaceId> {
        let id = (name, self.created[name]);
        self.spaces.contains_key(&id).then_some(id)
    }
}

/// Whose child a handle is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    pub db: usize,
    pub opens: u32,
}

pub struct Space {
    pub ptr: *mut lsm_keyspace,
    pub of: Parent,
    pub id: SpaceId,
    pub refs: u32,
}

#[derive(Clone, Copy, Debug)]
pub enum At {
    Fresh,
    Entry(usize),
    Before,
    After,
}

pub struct Iter {
    pub ptr: *mut lsm_iter,
    pub of: Parent,
    pub id: SpaceId,
    pub is_freed: bool,
    pub shows: Vec<(Vec<u8>, Vec<u8>)>,
    pub range: (Vec<u8>, Option<Vec<u8>>, Vec<u8>),
    pub keys_only: bool,
    pub at: At,
}

pub struct Snapshot {
    pub ptr: *mut lsm_snapshot,
    pub of: Parent,
    pub is_freed: bool,
    pub spaces: BTreeMap<SpaceId, Entries>,
}

pub type Op = (SpaceId, Vec<u8>, Option<Vec<u8>>);

pub struct Batch {
    pub ptr: *mut lsm_batch,
    pub of: Parent,
    pub is_freed: bool,
    pub ops: Vec<Op>,
}

pub struct Value {
    pub ptr: *mut lsm_value,
    pub is_freed: bool,
    pub bytes: Vec<u8>,
}

pub struct World {
    pub plant: Plant,
    pub options: *mut lsm_options,
    pub dbs: Vec<Database>,
    pub spaces: Vec<Space>,
    pub iters: Vec<Iter>,
    pub snaps: Vec<Snapshot>,
    pub batches: Vec<Batch>,
    pub values: Vec<Value>,
}

/// The place of the error object of one call, or none.
pub struct Out(Option<*mut lsm_error>);

impl Out {
    pub fn new(rng: &mut Rng) -> Out {
        Out((rng.below(2) == 0).then_some(null_mut()))
    }
    pub fn ptr(&mut self) -> *mut *mut lsm_error {
        self.0.as_mut().map_or(null_mut(), |place| place)
    }
    /// An error object with the same code and a text exactly where the code is negative.
    pub fn check(self, call: &str, code: i32) {
        let Some(error) = self.0 else { return };
        assert_eq!(error.is_null(), code >= 0, "{call}: {code} with an error object or without");
        if error.is_null() {
            return;
        }
        // SAFETY: the library has just made it, and it is freed once.
        unsafe {
            assert_eq!(lsm_error_code(error), code, "{call}");
            let text = CStr::from_ptr(lsm_error_message(error)).to_str().expect("UTF-8");
            assert!(!text.is_empty() && !text.contains("panic"), "{call}: {text}");
            lsm_error_free(error);
        }
    }
}

impl World {
    pub fn new(folder: &str, plant: Plant) -> World {
        let options = lsm_options_new();
        let settings = [
            (c"memtable.size", c"64KiB"),
            (c"table.size", c"8KiB"),
            (c"block.size", c"512"),
            (c"cache.size", c"64KiB"),
            (c"wal.segment_size", c"64KiB"),
            (c"level0.compaction_trigger", c"2"),
            (c"compaction.threads", c"1"),
        ];
        for (key, value) in settings {
            // SAFETY: a live bag and literals.
            assert_eq!(unsafe { lsm_options_set(options, key.as_ptr(), value.as_ptr(), null_mut()) }, LSM_OK);
        }
        let database = |at: usize| {
            let path = format!("{folder}-{at}");
            let _ = std::fs::remove_dir_all(&path);
            Database {
                path: CString::new(path).expect("no NUL"),
                ptr: null_mut(),
                opens: 0,
                is_open: false,
                is_read_only: false,
                exists: false,
                spaces: BTreeMap::new(),
                created: [1, 0, 0],
            }
        };
        World {
            plant,
            options,
            dbs: (0..DATABASES).map(database).collect(),
            spaces: Vec::new(),
            iters: Vec::new(),
            snaps: Vec::new(),
            batches: Vec::new(),
            values: Vec::new(),
        }
    }

    pub fn is_alive(&self, of: Parent) -> bool {
        self.dbs[of.db].is_open && self.dbs[of.db].opens == of.opens
    }

    pub fn parent(&self, db: usize) -> Parent {
        Parent { db, opens: self.dbs[db].opens }
    }

    /// Frees everything in an order that has nothing to do with that of its making; closes; frees again.
    pub fn end(mut self) {
        // SAFETY: handles of this library, each freed once for good; a second close is allowed.
        unsafe {
            for db in &self.dbs {
                let code = lsm_close(db.ptr, null_mut());
                let good = if db.ptr.is_null() || db.is_open { LSM_OK } else { LSM_E_CLOSED };
                super::expect("lsm_close", code, &[good]);
            }
            self.values.retain(|v| !v.is_freed);
            self.iters.iter().filter(|i| !i.is_freed).for_each(|i| lsm_iter_close(i.ptr));
            self.snaps.iter().filter(|s| !s.is_freed).for_each(|s| lsm_snapshot_release(s.ptr));
            self.batches.iter().filter(|b| !b.is_freed).for_each(|b| lsm_capi::batch::lsm_batch_free(b.ptr));
            for value in &self.values {
                super::args::check_value(value);
                lsm_value_release(value.ptr);
            }
        }
    }
}

impl Drop for World {
    /// Where a check failed, the databases are not left open to the next sequence.
    fn drop(&mut self) {
        // SAFETY: handles of this library; a second close is harmless. The bag is freed here alone.
        unsafe {
            self.dbs.iter().for_each(|db| _ = lsm_close(db.ptr, null_mut()));
            lsm_options_free(self.options);
        }
    }
}
