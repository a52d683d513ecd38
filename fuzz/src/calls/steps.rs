//! Which call comes next, and the writes.

use super::args::*;
use super::model::*;
use super::{Faults, LSM_E_CLOSED, LSM_E_INVALID, LSM_E_READONLY, Plant};
use crate::mutate::Rng;
use lsm_capi::batch::*;
use lsm_capi::status::*;
use lsm_capi::write::*;
use std::ptr::null_mut;

impl World {
    /// One call.
    pub fn step(&mut self, rng: &mut Rng) {
        let db = rng.below(DATABASES);
        match rng.below(100) {
            0..=3 => self.open(rng, db),
            4 => self.close(rng, db),
            5..=7 => self.keyspace_open(rng, db),
            8 => self.keyspace_drop(rng, db),
            9 => self.keyspace_release(rng),
            10..=29 => self.put_or_delete(rng),
            30..=34 => self.get(rng),
            35..=37 => self.get_pinned(rng),
            38 | 39 => self.value(rng),
            40..=43 => self.multi_get(rng),
            44 | 45 => self.batch_new(rng, db),
            46..=53 => self.batch_add(rng),
            54..=57 => self.write(rng, db),
            58..=61 => self.write_packed(rng),
            62..=66 => self.iter_open(rng),
            67..=79 => self.iter_step(rng),
            80..=84 => self.iter_seek(rng),
            85..=87 => self.iter_read(rng),
            88 => self.iter_end(rng),
            89 | 90 => self.snapshot_new(rng, db),
            91 => self.snapshot_release(rng),
            92..=94 => self.maintain(rng, db),
            95 => self.list(rng, db),
            96 => self.nulls(rng),
            97 => self.free_batch(rng),
            98 => self.options_text(rng),
            _ => self.approximate(rng),
        }
    }

    pub(super) fn entries(&mut self, at: usize) -> &mut Entries {
        let space = &self.spaces[at];
        self.dbs[space.of.db].spaces.get_mut(&space.id).expect("alive")
    }

    pub(super) fn put_or_delete(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let options = drawn_write_options(rng, &mut faults);
        let (key, value) = (draw_key(rng), draw_value(rng));
        let (key, value) = (Arg::new(rng, key), Arg::new(rng, value));
        let at = self.space(rng, &mut faults);
        faults.add(key.is_wrong(), LSM_E_INVALID);
        faults.add(at.is_some_and(|at| self.dbs[self.spaces[at].of.db].is_read_only), LSM_E_READONLY);
        let space = self.space_ptr(at);
        let is_put = rng.below(3) > 0;
        let is_huge = rng.below(60) == 0;
        let key_len = if is_huge && !key.is_null { 65_537 } else { key.len };
        let long = vec![1u8; if is_huge { 65_537 } else { 0 }];
        let key_ptr = if is_huge && !key.is_null { long.as_ptr().cast() } else { key.ptr() };
        faults.add(key_len > 65_536, LSM_E_INVALID);
        // SAFETY: handles of this library, readable bytes.
        let code = unsafe {
            if is_put {
                faults.add(value.is_wrong(), LSM_E_INVALID);
                lsm_put(space, some(&options), key_ptr, key_len, value.ptr(), value.len, out.ptr())
            } else if self.plant == Plant::LostDelete && faults.0.is_empty() {
                LSM_OK
            } else {
                lsm_delete(space, some(&options), key_ptr, key_len, out.ptr())
            }
        };
        out.check("lsm_put", code);
        if faults.judge("lsm_put or lsm_delete", code, &[LSM_OK]) {
            let entries = self.entries(at.expect("no fault"));
            if is_put {
                entries.insert(key.bytes, value.bytes);
            } else {
                entries.remove(&key.bytes);
            }
        }
    }

    pub(super) fn batch_new(&mut self, rng: &mut Rng, at: usize) {
        let mut out = Out::new(rng);
        let faults = self.db_faults(at);
        let mut ptr = null_mut();
        // SAFETY: a handle of this library, places of this function.
        let code = unsafe { lsm_batch_new(self.dbs[at].ptr, &mut ptr, out.ptr()) };
        out.check("lsm_batch_new", code);
        if faults.judge("lsm_batch_new", code, &[LSM_OK]) {
            self.batches.push(Batch { ptr, of: self.parent(at), is_freed: false, ops: Vec::new() });
        }
    }

    /// What is wrong with a batch, alone.
    pub(super) fn batch_faults(&self, at: usize, faults: &mut Faults) {
        let batch = &self.batches[at];
        faults.add(batch.is_freed || !self.is_alive(batch.of), LSM_E_CLOSED);
    }

    pub(super) fn batch_add(&mut self, rng: &mut Rng) {
        let Some(at) = pick(rng, self.batches.len()) else { return };
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        self.batch_faults(at, &mut faults);
        let space = self.space(rng, &mut faults);
        faults.add(space.is_some_and(|s| self.spaces[s].of != self.batches[at].of), LSM_E_INVALID);
        let (key, value) = (draw_key(rng), draw_value(rng));
        let (key, value) = (Arg::new(rng, key), Arg::new(rng, value));
        faults.add(key.is_wrong(), LSM_E_INVALID);
        let (batch, ptr) = (self.batches[at].ptr, self.space_ptr(space));
        let kind = rng.below(4);
        let mut text = packed(&key.bytes, Some(&value.bytes));
        text.extend(packed(b"k07", None));
        let is_cut = rng.below(4) == 0;
        text.truncate(text.len() - usize::from(is_cut));
        // SAFETY: handles of this library, readable bytes.
        let code = unsafe {
            match kind {
                0 => lsm_batch_delete(batch, ptr, key.ptr(), key.len, out.ptr()),
                1 => {
                    faults = Faults(faults.0.into_iter().filter(|c| *c != LSM_E_INVALID).collect());
                    faults.add(space.is_none() || is_cut, LSM_E_INVALID);
                    faults.add(space.is_some_and(|s| self.spaces[s].of != self.batches[at].of), LSM_E_INVALID);
                    lsm_batch_append_packed(batch, ptr, text.as_ptr().cast(), text.len(), out.ptr())
                }
                _ => {
                    faults.add(value.is_wrong(), LSM_E_INVALID);
                    lsm_batch_put(batch, ptr, key.ptr(), key.len, value.ptr(), value.len, out.ptr())
                }
            }
        };
        out.check("lsm_batch_put", code);
        if faults.judge("lsm_batch_put, _delete or _append_packed", code, &[LSM_OK]) {
            let id = self.spaces[space.expect("no fault")].id;
            let ops = &mut self.batches[at].ops;
            ops.push((id, key.bytes, (kind != 0).then_some(value.bytes)));
            if kind == 1 {
                ops.push((id, b"k07".to_vec(), None));
            }
        }
        if !self.batches[at].is_freed && self.is_alive(self.batches[at].of) {
            if rng.below(20) == 0 {
                // SAFETY: a live batch.
                unsafe { lsm_batch_clear(batch) };
                self.batches[at].ops.clear();
            }
            // SAFETY: a live batch.
            assert_eq!(unsafe { lsm_batch_count(batch) }, self.batches[at].ops.len(), "lsm_batch_count");
        }
    }

    pub(super) fn write(&mut self, rng: &mut Rng, db: usize) {
        let mut out = Out::new(rng);
        let mut faults = self.db_faults(db);
        let options = drawn_write_options(rng, &mut faults);
        let at = pick(rng, self.batches.len());
        faults.add(at.is_none(), LSM_E_INVALID);
        faults.add(self.dbs[db].is_read_only, LSM_E_READONLY);
        if let Some(at) = at {
            self.batch_faults(at, &mut faults);
            let batch = &self.batches[at];
            faults.add(batch.of != self.parent(db), LSM_E_INVALID);
            let gone = |id: &SpaceId| !self.dbs[db].spaces.contains_key(id);
            faults.add(batch.ops.iter().any(|(id, ..)| gone(id)), LSM_E_CLOSED);
        }
        let is_empty = at.is_some_and(|at| self.batches[at].ops.is_empty());
        let mut seq = 0;
        let ptr = at.map_or(null_mut(), |at| self.batches[at].ptr);
        // SAFETY: handles of this library, places of this function.
        let code = unsafe { lsm_write(self.dbs[db].ptr, some(&options), ptr, &mut seq, out.ptr()) };
        out.check("lsm_write", code);
        // Nothing is written by an empty batch, so a read-only database may take it.
        if is_empty && self.dbs[db].is_read_only && code == LSM_OK {
            return;
        }
        if !faults.judge("lsm_write", code, &[LSM_OK]) {
            assert_eq!(seq, 0, "lsm_write failed and gave a sequence number");
            return;
        }
        let mut ops = self.batches[at.expect("no fault")].ops.clone();
        if self.plant == Plant::TornBatch {
            ops.pop();
        }
        for (id, key, value) in ops {
            let entries = self.dbs[db].spaces.get_mut(&id).expect("no fault");
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
    }

    pub(super) fn write_packed(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let options = drawn_write_options(rng, &mut faults);
        let at = self.space(rng, &mut faults);
        faults.add(at.is_some_and(|at| self.dbs[self.spaces[at].of.db].is_read_only), LSM_E_READONLY);
        let ops: Vec<(Vec<u8>, Option<Vec<u8>>)> =
            (0..1 + rng.below(4)).map(|_| (draw_key(rng), (rng.below(4) > 0).then(|| draw_value(rng)))).collect();
        let mut text: Vec<u8> = ops.iter().flat_map(|(key, value)| packed(key, value.as_deref())).collect();
        match rng.below(10) {
            0 => text.truncate(text.len() - 1),
            1 => text[0] = 0xFF,
            _ => {}
        }
        let ops = unpacked(&text);
        faults.add(ops.is_none(), LSM_E_INVALID);
        // SAFETY: handles of this library, readable bytes; no place for the number is allowed.
        let code = unsafe {
            let space = self.space_ptr(at);
            lsm_write_packed(space, some(&options), text.as_ptr().cast(), text.len(), null_mut(), out.ptr())
        };
        out.check("lsm_write_packed", code);
        if faults.judge("lsm_write_packed", code, &[LSM_OK]) {
            let entries = self.entries(at.expect("no fault"));
            for (key, value) in ops.expect("no fault") {
                match value {
                    Some(value) => entries.insert(key, value),
                    None => entries.remove(&key),
                };
            }
        }
    }

    pub(super) fn free_batch(&mut self, rng: &mut Rng) {
        let Some(at) = pick(rng, self.batches.len()) else { return };
        // SAFETY: from this library; a second free is caught.
        unsafe { lsm_batch_free(self.batches[at].ptr) };
        self.batches[at].is_freed = true;
        self.batches[at].ops.clear();
    }
}
