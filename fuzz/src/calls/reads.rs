//! Point reads: what they answer, what they write, and what they leave alone.

use super::args::*;
use super::model::*;
use super::{Faults, LSM_E_CLOSED, LSM_E_INVALID, LSM_E_UNSUPPORTED, Plant};
use crate::mutate::Rng;
use lsm_capi::read::*;
use lsm_capi::status::*;
use lsm_capi::structs::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

/// A snapshot to read at, with what is wrong with it.
pub(super) struct ReadAt {
    pub options: Option<lsm_read_options>,
    pub snapshot: Option<usize>,
}

impl World {
    /// Read options; a snapshot of the same database, mostly alive.
    pub(super) fn read_at(&self, rng: &mut Rng, space: Option<usize>, faults: &mut Faults) -> ReadAt {
        if rng.below(2) == 0 {
            return ReadAt { options: None, snapshot: None };
        }
        // SAFETY: zeros are a value of this plain struct.
        let mut options: lsm_read_options = unsafe { std::mem::zeroed() };
        options.size = size_of::<lsm_read_options>() as u32;
        options.flags = [0, LSM_READ_NO_FILL_CACHE, LSM_READ_VERIFY_CHECKSUMS][rng.below(3)];
        let mut snapshot = None;
        match rng.below(30) {
            0 => options.size = rng.below(8) as u32,
            1 => options.flags = 8 << rng.below(29),
            2 => options.io_class = 1,
            3 => options.txn = 16 as *mut lsm_txn,
            4 => options.size = 8,
            5..=16 => snapshot = pick(rng, self.snaps.len()),
            _ => {}
        }
        faults.add(options.size < 8 || options.flags > 7, LSM_E_INVALID);
        faults.add(options.size > 8 && (options.io_class != 0 || !options.txn.is_null()), LSM_E_UNSUPPORTED);
        if let Some(at) = snapshot {
            let taken = &self.snaps[at];
            options.snapshot = taken.ptr;
            faults.add(taken.is_freed || !self.is_alive(taken.of), LSM_E_CLOSED);
            faults.add(space.is_some_and(|s| self.spaces[s].of != taken.of), LSM_E_INVALID);
        }
        ReadAt { options: Some(options), snapshot }
    }

    /// What a keyspace shows, now or in a snapshot.
    pub(super) fn shown(&self, space: usize, snapshot: Option<usize>) -> Entries {
        let Space { of, id, .. } = &self.spaces[space];
        let spaces = snapshot.map_or(&self.dbs[of.db].spaces, |at| &self.snaps[at].spaces);
        spaces.get(id).cloned().unwrap_or_default()
    }

    pub(super) fn get(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let at = self.space(rng, &mut faults);
        let read = self.read_at(rng, at, &mut faults);
        let key = draw_key(rng);
        let key = Arg::new(rng, key);
        faults.add(key.is_wrong(), LSM_E_INVALID);
        let capacity = [0, 1, 50, 6000][rng.below(4)];
        let mut buffer = vec![0xEEu8; capacity];
        let (no_len, no_buffer) = (rng.below(40) == 0, capacity > 0 && rng.below(40) == 0);
        let exists_only = rng.below(4) == 0;
        faults.add(!exists_only && (no_len || no_buffer), LSM_E_INVALID);
        let mut len = 77;
        // SAFETY: handles of this library, readable and writable places.
        let mut code = unsafe {
            let len: *mut usize = if no_len { null_mut() } else { &mut len };
            let place = if no_buffer { null_mut() } else { buffer.as_mut_ptr().cast::<c_void>() };
            let space = self.space_ptr(at);
            if exists_only {
                lsm_exists(space, some(&read.options), key.ptr(), key.len, len, out.ptr())
            } else {
                lsm_get(space, some(&read.options), key.ptr(), key.len, place, capacity, len, out.ptr())
            }
        };
        out.check("lsm_get", code);
        if self.plant == Plant::ClosedAsMissing && code == LSM_E_CLOSED {
            code = LSM_NOT_FOUND;
        }
        if self.plant == Plant::OutputOnError && code < 0 {
            len = 0;
        }
        let shown = if faults.0.is_empty() { self.shown(at.expect("no fault"), read.snapshot) } else { Entries::new() };
        let value = shown.get(&key.bytes);
        let good = match value {
            None => LSM_NOT_FOUND,
            Some(value) if !exists_only && value.len() > capacity => LSM_TRUNCATED,
            Some(_) => LSM_OK,
        };
        faults.judge("lsm_get", code, &[good]);
        let Some(value) = value.filter(|_| code >= 0) else {
            assert!(len == 77 && buffer.iter().all(|b| *b == 0xEE), "lsm_get wrote without a value");
            return;
        };
        assert!(no_len || len == value.len(), "lsm_get: {len} bytes, {} expected", value.len());
        let copied = if exists_only { 0 } else { value.len().min(capacity) };
        assert!(buffer[..copied] == value[..copied] && buffer[copied..].iter().all(|b| *b == 0xEE), "lsm_get: bytes");
    }

    pub(super) fn get_pinned(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let at = self.space(rng, &mut faults);
        let read = self.read_at(rng, at, &mut faults);
        let key = Arg { bytes: draw_key(rng), is_null: false, len: 0 };
        let key = Arg { len: key.bytes.len(), ..key };
        let (mut ptr, mut data, mut len) = (null_mut(), null(), 77);
        let no_out = rng.below(40) == 0;
        faults.add(no_out, LSM_E_INVALID);
        // SAFETY: handles of this library, readable and writable places.
        let code = unsafe {
            let place = if no_out { null_mut() } else { &mut ptr };
            let space = self.space_ptr(at);
            lsm_get_pinned(space, some(&read.options), key.ptr(), key.len, place, &mut data, &mut len, out.ptr())
        };
        out.check("lsm_get_pinned", code);
        let shown = if faults.0.is_empty() { self.shown(at.expect("no fault"), read.snapshot) } else { Entries::new() };
        let value = shown.get(&key.bytes);
        faults.judge("lsm_get_pinned", code, &[if value.is_some() { LSM_OK } else { LSM_NOT_FOUND }]);
        match value {
            Some(value) => {
                // SAFETY: what the call gave.
                assert!(unsafe { bytes(data, len) } == value, "lsm_get_pinned: bytes");
                self.values.push(Value { ptr, is_freed: false, bytes: value.clone() });
            }
            None => assert!(ptr.is_null() && data.is_null() && len == 77, "lsm_get_pinned wrote without a value"),
        }
    }

    pub(super) fn value(&mut self, rng: &mut Rng) {
        let Some(at) = pick(rng, self.values.len()) else { return };
        check_value(&self.values[at]);
        if rng.below(2) == 0 {
            // SAFETY: from this library; a second release of a value is caught.
            unsafe { lsm_value_release(self.values[at].ptr) };
            self.values[at].is_freed = true;
            check_value(&self.values[at]);
        }
    }

    pub(super) fn multi_get(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let at = self.space(rng, &mut faults);
        let read = self.read_at(rng, at, &mut faults);
        let keys: Vec<Vec<u8>> = (0..rng.below(6)).map(|_| draw_key(rng)).collect();
        if rng.below(2) == 0 {
            return self.multi_get_packed(rng, at, &read, &keys, faults);
        }
        let shown = if faults.0.is_empty() { self.shown(at.expect("no fault"), read.snapshot) } else { Entries::new() };
        let space = self.space_ptr(at);
        let pointers: Vec<*const c_void> = keys.iter().map(|key| key.as_ptr().cast()).collect();
        let lens: Vec<usize> = keys.iter().map(Vec::len).collect();
        let mut values = vec![null_mut(); keys.len()];
        let mut codes = vec![77; keys.len()];
        // SAFETY: handles of this library, arrays of that many places.
        let code = unsafe {
            let (keys, lens) = (pointers.as_ptr(), lens.as_ptr());
            let (values, codes) = (values.as_mut_ptr(), codes.as_mut_ptr());
            lsm_multi_get(space, some(&read.options), pointers.len(), keys, lens, values, codes, out.ptr())
        };
        out.check("lsm_multi_get", code);
        if !faults.judge("lsm_multi_get", code, &[LSM_OK]) {
            assert!(values.iter().all(|v| v.is_null()) && codes.iter().all(|c| *c == 77), "lsm_multi_get wrote");
            return;
        }
        for ((key, ptr), code) in keys.iter().zip(values).zip(codes) {
            let value = shown.get(key);
            assert_eq!(code, if value.is_some() { LSM_OK } else { LSM_NOT_FOUND });
            assert_eq!(ptr.is_null(), value.is_none());
            if let Some(value) = value {
                self.values.push(Value { ptr, is_freed: false, bytes: value.clone() });
                check_value(&self.values[self.values.len() - 1]);
            }
        }
    }

    /// The same through packed bytes.
    fn multi_get_packed(&self, rng: &mut Rng, at: Option<usize>, read: &ReadAt, keys: &[Vec<u8>], mut faults: Faults) {
        let mut out = Out::new(rng);
        let shown = if faults.0.is_empty() { self.shown(at.expect("no fault"), read.snapshot) } else { Entries::new() };
        let space = self.space_ptr(at);
        let mut text: Vec<u8> =
            keys.iter().flat_map(|key| [&(key.len() as u32).to_le_bytes()[..], key].concat()).collect();
        let mut n = keys.len() as u32;
        match rng.below(12) {
            0 => n += 1,
            1 => text.extend([1, 0]),
            2 if !text.is_empty() => text[3] = 0xFF,
            _ => {}
        }
        let is_sound = n as usize == keys.len()
            && text.len() == keys.iter().map(|key| key.len() + 4).sum::<usize>()
            && text.get(3).is_none_or(|b| *b == 0);
        faults.add(!is_sound, LSM_E_INVALID);
        let answer = |key: &Vec<u8>| match shown.get(key) {
            Some(v) => [&0i32.to_le_bytes()[..], &(v.len() as u32).to_le_bytes(), v].concat(),
            None => [LSM_NOT_FOUND.to_le_bytes(), [0; 4]].concat(),
        };
        let expected: Vec<u8> = keys.iter().flat_map(answer).collect();
        let mut buffer = vec![0xEEu8; if rng.below(4) == 0 { 9 } else { 32_768 }];
        let mut used = 77;
        // SAFETY: handles of this library, readable and writable places.
        let code = unsafe {
            let place = buffer.as_mut_ptr().cast();
            let (text, len) = (text.as_ptr().cast(), text.len());
            lsm_multi_get_packed(space, some(&read.options), text, len, n, place, buffer.len(), &mut used, out.ptr())
        };
        out.check("lsm_multi_get_packed", code);
        let fits = expected.len() <= buffer.len();
        if faults.judge("lsm_multi_get_packed", code, &[if fits { LSM_OK } else { LSM_TRUNCATED }]) {
            assert_eq!(used, expected.len());
            assert!(!fits || buffer[..used] == expected, "lsm_multi_get_packed: bytes");
        } else {
            assert_eq!(used, 77);
        }
    }
}
