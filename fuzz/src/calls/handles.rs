//! Databases, keyspaces, snapshots, lists, options and maintenance: who may call what, and what must be refused.

use super::args::*;
use super::model::*;
use super::{Faults, LSM_E_CLOSED, LSM_E_INVALID, LSM_E_IO, LSM_E_LOCKED, LSM_E_READONLY, LSM_E_UNSUPPORTED, expect};
use crate::mutate::Rng;
use lsm_capi::admin::*;
use lsm_capi::batch::*;
use lsm_capi::db::*;
use lsm_capi::handle::lsm_keyspace;
use lsm_capi::iter::*;
use lsm_capi::keyspace::*;
use lsm_capi::options::*;
use lsm_capi::read::*;
use lsm_capi::snapshot::*;
use lsm_capi::status::*;
use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

impl World {
    pub(super) fn open(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let (mut faults, mut ptr) = (Faults::default(), null_mut());
        let read_only = rng.below(8) == 0;
        let (no_path, no_out) = (rng.below(30) == 0, rng.below(30) == 0);
        let db = &mut self.dbs[at];
        faults.add(no_path || no_out, LSM_E_INVALID);
        faults.add(db.is_open && !(read_only && db.is_read_only), LSM_E_LOCKED);
        faults.add(read_only && !db.exists, LSM_E_IO);
        if db.is_open && read_only && db.is_read_only {
            return;
        }
        let mode = if read_only { c"ro" } else { c"rw" };
        // SAFETY: live handles, literals, and places of this function.
        let code = unsafe {
            lsm_options_set(self.options, c"mode".as_ptr(), mode.as_ptr(), null_mut());
            let path = if no_path { null() } else { db.path.as_ptr() };
            lsm_open(path, self.options, if no_out { null_mut() } else { &mut ptr }, out.ptr())
        };
        out.check("lsm_open", code);
        if faults.judge("lsm_open", code, &[LSM_OK]) {
            if !db.exists {
                (db.exists, db.created) = (true, [1, 0, 0]);
                db.spaces = [((0, 1), Entries::new())].into();
            }
            (db.ptr, db.is_open, db.is_read_only) = (ptr, true, read_only);
            db.opens += 1;
            // SAFETY: just opened.
            let space = unsafe { lsm_default_keyspace(ptr) };
            assert!(!space.is_null());
            self.spaces.push(Space { ptr: space, of: Parent { db: at, opens: db.opens }, id: (0, 1), refs: 1 });
        } else {
            assert!(ptr.is_null(), "lsm_open failed and gave a handle");
        }
    }

    pub(super) fn close(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let db = &mut self.dbs[at];
        // SAFETY: NULL, or a handle that was opened.
        let code = unsafe { lsm_close(db.ptr, out.ptr()) };
        out.check("lsm_close", code);
        expect("lsm_close", code, &[if db.is_open || db.ptr.is_null() { LSM_OK } else { LSM_E_CLOSED }]);
        db.is_open = false;
    }

    /// What is wrong with a database handle that was opened last, or never.
    pub(super) fn db_faults(&self, at: usize) -> Faults {
        let db = &self.dbs[at];
        let mut faults = Faults::default();
        faults.add(db.ptr.is_null(), LSM_E_INVALID);
        faults.add(!db.ptr.is_null() && !db.is_open, LSM_E_CLOSED);
        faults
    }

    pub(super) fn keyspace_open(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let name = rng.below(NAMES.len());
        let mut faults = self.db_faults(at);
        let (no_name, bad_name, no_out) = (rng.below(30) == 0, rng.below(30) == 0, rng.below(30) == 0);
        faults.add(no_name || bad_name || no_out, LSM_E_INVALID);
        let text = if bad_name { c"" } else { NAMES[name] };
        let db = &mut self.dbs[at];
        faults.add(db.is_read_only && db.id(name).is_none(), LSM_E_READONLY);
        let mut ptr: *mut lsm_keyspace = null_mut();
        // SAFETY: handles of this library, literals, places of this function.
        let code = unsafe {
            let name = if no_name { null() } else { text.as_ptr() };
            lsm_keyspace_open(db.ptr, name, null(), if no_out { null_mut() } else { &mut ptr }, out.ptr())
        };
        out.check("lsm_keyspace_open", code);
        if !faults.judge("lsm_keyspace_open", code, &[LSM_OK]) {
            assert!(ptr.is_null());
            return;
        }
        if db.id(name).is_none() {
            db.created[name] += 1;
            db.spaces.insert((name, db.created[name]), Entries::new());
        }
        let (id, of) = ((name, db.created[name]), Parent { db: at, opens: db.opens });
        match self.spaces.iter_mut().find(|s| s.ptr == ptr) {
            Some(space) => {
                assert!(space.of == of && space.id == id, "the handle of another keyspace");
                space.refs += 1;
            }
            None => self.spaces.push(Space { ptr, of, id, refs: 1 }),
        }
    }

    pub(super) fn keyspace_drop(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let name = rng.below(NAMES.len());
        let mut faults = self.db_faults(at);
        faults.add(name == 0, LSM_E_INVALID);
        let db = &mut self.dbs[at];
        let id = db.id(name);
        faults.add(db.is_read_only, LSM_E_READONLY);
        if db.is_read_only && id.is_none() {
            faults.add(true, LSM_NOT_FOUND);
        }
        // SAFETY: handles of this library and literals.
        let code = unsafe { lsm_keyspace_drop(db.ptr, NAMES[name].as_ptr(), out.ptr()) };
        out.check("lsm_keyspace_drop", code);
        let good = if id.is_some() { LSM_OK } else { LSM_NOT_FOUND };
        if faults.judge("lsm_keyspace_drop", code, &[good])
            && let Some(id) = id
        {
            db.spaces.remove(&id);
        }
    }

    pub(super) fn keyspace_release(&mut self, rng: &mut Rng) {
        let Some(at) = pick(rng, self.spaces.len()) else { return };
        let is_alive = self.is_alive(self.spaces[at].of);
        let space = &mut self.spaces[at];
        // SAFETY: from this library.
        unsafe { lsm_keyspace_release(space.ptr) };
        if is_alive && space.id.0 != 0 {
            space.refs = space.refs.saturating_sub(1);
        }
    }

    /// A keyspace handle, alive or not, or NULL; what is wrong with it.
    pub(super) fn space(&self, rng: &mut Rng, faults: &mut Faults) -> Option<usize> {
        let at = if rng.below(40) == 0 { None } else { pick(rng, self.spaces.len()) };
        let Some(at) = at else {
            faults.add(true, LSM_E_INVALID);
            return None;
        };
        faults.add(!self.is_space_alive(at), LSM_E_CLOSED);
        Some(at)
    }

    pub(super) fn is_space_alive(&self, at: usize) -> bool {
        let space = &self.spaces[at];
        self.is_alive(space.of) && space.refs > 0 && self.dbs[space.of.db].spaces.contains_key(&space.id)
    }

    pub(super) fn space_ptr(&self, at: Option<usize>) -> *mut lsm_keyspace {
        at.map_or(null_mut(), |at| self.spaces[at].ptr)
    }

    pub(super) fn snapshot_new(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let faults = self.db_faults(at);
        let mut ptr = null_mut();
        // SAFETY: a handle of this library, places of this function.
        let code = unsafe { lsm_snapshot_new(self.dbs[at].ptr, &mut ptr, out.ptr()) };
        out.check("lsm_snapshot_new", code);
        if faults.judge("lsm_snapshot_new", code, &[LSM_OK]) {
            let spaces = self.dbs[at].spaces.clone();
            self.snaps.push(Snapshot { ptr, of: self.parent(at), is_freed: false, spaces });
        }
    }

    pub(super) fn snapshot_release(&mut self, rng: &mut Rng) {
        let Some(at) = pick(rng, self.snaps.len()) else { return };
        // SAFETY: from this library; a second release is caught.
        unsafe { lsm_snapshot_release(self.snaps[at].ptr) };
        self.snaps[at].is_freed = true;
    }

    pub(super) fn maintain(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let mut faults = self.db_faults(at);
        let db = self.dbs[at].ptr;
        let is_read_only = self.dbs[at].is_read_only && self.dbs[at].is_open;
        let (mut text, mut number) = (null_mut(), 0);
        let what = rng.below(7);
        // SAFETY: a handle of this library, literals, places of this function.
        let code = unsafe {
            match what {
                0 => lsm_flush(db, null_mut(), out.ptr()),
                1 => lsm_sync(db, out.ptr()),
                2 => lsm_cache_clear(db, out.ptr()),
                3 => lsm_verify(db, &mut text, out.ptr()),
                4 => lsm_property(db, null_mut(), c"stats".as_ptr(), &mut text, out.ptr()),
                5 => lsm_property_u64(db, null_mut(), c"no.such".as_ptr(), &mut number, out.ptr()),
                _ => {
                    let space = self.space(rng, &mut faults);
                    faults = Faults::default();
                    faults.add(space.is_none(), LSM_E_INVALID);
                    faults.add(space.is_some_and(|s| !self.is_space_alive(s)), LSM_E_CLOSED);
                    faults.add(space.is_some_and(|s| self.dbs[self.spaces[s].of.db].is_read_only), LSM_E_READONLY);
                    lsm_compact(self.space_ptr(space), null(), 0, null(), 0, out.ptr())
                }
            }
        };
        out.check("maintenance", code);
        if is_read_only && what < 2 {
            faults.add(true, LSM_E_READONLY);
            faults.add(true, LSM_OK);
        }
        let good = if what == 5 { LSM_NOT_FOUND } else { LSM_OK };
        faults.judge("lsm_flush, _sync, _cache_clear, _verify, _property or _compact", code, &[good]);
        assert_eq!(text.is_null(), !(code == LSM_OK && (what == 3 || what == 4)));
        // SAFETY: NULL, or a buffer of the library.
        unsafe { lsm_capi::bytes::lsm_free(text.cast()) };
    }

    pub(super) fn list(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let faults = self.db_faults(at);
        let mut list = null_mut();
        // SAFETY: a handle of this library, places of this function.
        let code = unsafe { lsm_keyspace_list(self.dbs[at].ptr, &mut list, out.ptr()) };
        out.check("lsm_keyspace_list", code);
        if faults.judge("lsm_keyspace_list", code, &[LSM_OK]) {
            let db = &self.dbs[at];
            let expected: Vec<&CStr> = (0..NAMES.len()).filter(|n| db.id(*n).is_some()).map(|n| NAMES[n]).collect();
            // SAFETY: a live list, its texts while it lives.
            unsafe {
                let found: Vec<&CStr> =
                    (0..lsm_list_len(list)).map(|n| CStr::from_ptr(lsm_list_get(list, n))).collect();
                assert_eq!(found, expected, "lsm_keyspace_list");
                assert!(lsm_list_get(list, found.len()).is_null());
                lsm_list_free(list);
            }
        }
    }

    /// NULL where a handle is expected.
    pub(super) fn nulls(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut entry = blank();
        let (mut text, mut number, mut n) = (null_mut(), 0u64, 0usize);
        // SAFETY: NULLs and places of this function.
        let code = unsafe {
            lsm_keyspace_release(null_mut());
            lsm_batch_free(null_mut());
            lsm_batch_clear(null_mut());
            lsm_snapshot_release(null_mut());
            lsm_value_release(null_mut());
            lsm_iter_close(null_mut());
            lsm_list_free(null_mut());
            lsm_options_free(null_mut());
            assert!(lsm_batch_count(null()) == 0 && lsm_list_len(null()) == 0 && lsm_snapshot_sequence(null()) == 0);
            match rng.below(9) {
                0 => lsm_iter_next(null_mut(), &mut entry, out.ptr()),
                1 => lsm_iter_seek(null_mut(), 0, null(), 0, &mut entry, out.ptr()),
                2 => lsm_iter_refresh(null_mut(), out.ptr()),
                3 => lsm_flush(null_mut(), null_mut(), out.ptr()),
                4 => lsm_property_u64(null_mut(), null_mut(), c"stats".as_ptr(), &mut number, out.ptr()),
                5 => lsm_verify(null_mut(), &mut text, out.ptr()),
                6 => lsm_iter_read(null_mut(), 0, &mut entry, 1, &mut n, out.ptr()),
                7 => lsm_destroy(null(), out.ptr()),
                _ => lsm_options_set(null_mut(), c"mode".as_ptr(), c"rw".as_ptr(), out.ptr()),
            }
        };
        out.check("a NULL", code);
        expect("a call with a NULL handle", code, &[LSM_E_INVALID]);
    }

    pub(super) fn options_text(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let keys = [c"block.size", c"no.such", c"filter.fpr", c"", c"durability"];
        let values = [c"512", c"-1", c"0.01", c"", c"fsync", c"99999999999999999999", c"\xff"];
        let (key, value) = (keys[rng.below(keys.len())], values[rng.below(values.len())]);
        let mut text: *mut c_char = null_mut();
        // SAFETY: a live bag of its own, literals, places of this function.
        unsafe {
            let bag = lsm_options_clone(self.options);
            let code = lsm_options_set(bag, key.as_ptr(), value.as_ptr(), out.ptr());
            out.check("lsm_options_set", code);
            expect("lsm_options_set", code, &[LSM_OK, LSM_E_INVALID, LSM_E_UNSUPPORTED]);
            if code == LSM_OK {
                expect("lsm_options_get", lsm_options_get(bag, key.as_ptr(), &mut text, null_mut()), &[LSM_OK]);
                let code = lsm_options_set(bag, key.as_ptr(), text, null_mut());
                expect("lsm_options_set of what it answered", code, &[LSM_OK]);
                lsm_capi::bytes::lsm_free(text.cast());
            }
            lsm_options_free(bag);
        }
    }

    pub(super) fn approximate(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let at = self.space(rng, &mut faults);
        let (mut size, mut keys) = (77, 77);
        // SAFETY: handles of this library, places of this function.
        let code =
            unsafe { lsm_approximate(self.space_ptr(at), null(), 0, null(), 0, &mut size, &mut keys, out.ptr()) };
        out.check("lsm_approximate", code);
        let is_sound = faults.judge("lsm_approximate", code, &[LSM_OK]);
        assert!(is_sound || (size == 77 && keys == 77));
    }
}
