//! Iterators: what they were opened on is what they show, wherever they are moved, until they are closed.

use super::args::{blank, pick};
use super::model::*;
use super::{Faults, LSM_E_CLOSED, LSM_E_INVALID, Plant};
use crate::mutate::Rng;
use lsm_capi::iter::*;
use lsm_capi::status::*;
use lsm_capi::structs::*;
use std::ptr::{null, null_mut};

impl World {
    pub(super) fn iter_open(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let at = self.space(rng, &mut faults);
        let mut read = self.read_at(rng, at, &mut faults);
        let key = |rng: &mut Rng| format!("k{:02}", rng.below(24)).into_bytes();
        let (mut lower, mut upper, mut prefix) = (Vec::new(), None, Vec::new());
        let mut keys_only = false;
        if let Some(options) = &mut read.options
            && options.size > 104 - 1
        {
            if rng.below(3) == 0 {
                lower = key(rng);
                (options.lower, options.lower_len) = (lower.as_ptr().cast(), lower.len());
            }
            if rng.below(3) == 0 {
                let bytes = upper.insert(key(rng));
                (options.upper, options.upper_len) = (bytes.as_ptr().cast(), bytes.len());
            }
            if rng.below(4) == 0 {
                prefix = [&b"k"[..], b"k1", b"zz"][rng.below(3)].to_vec();
                (options.prefix, options.prefix_len) = (prefix.as_ptr().cast(), prefix.len());
            }
            keys_only = options.flags == 0 && rng.below(4) == 0;
            options.flags |= if keys_only { LSM_READ_KEYS_ONLY } else { 0 };
            if rng.below(40) == 0 {
                (options.lower, options.lower_len) = (null(), 3);
                faults.add(true, LSM_E_INVALID);
            }
        }
        let no_out = rng.below(40) == 0;
        faults.add(no_out, LSM_E_INVALID);
        let mut ptr = null_mut();
        // SAFETY: handles of this library, readable bytes, places of this function.
        let code = unsafe {
            let place = if no_out { null_mut() } else { &mut ptr };
            lsm_iter_open(self.space_ptr(at), read.options.as_ref().map_or(null(), |o| o), place, out.ptr())
        };
        out.check("lsm_iter_open", code);
        if !faults.judge("lsm_iter_open", code, &[LSM_OK]) {
            assert!(ptr.is_null());
            return;
        }
        let space = at.expect("no fault");
        let range = (lower, upper, prefix);
        let shows = within(self.shown(space, read.snapshot), &range);
        let (of, id) = (self.spaces[space].of, self.spaces[space].id);
        self.iters.push(Iter { ptr, of, id, is_freed: false, shows, range, keys_only, at: At::Fresh });
    }

    /// An iterator, alive or not, with what is wrong with it; whether its keyspace was dropped.
    fn iter(&self, rng: &mut Rng, faults: &mut Faults) -> Option<(usize, bool)> {
        let at = pick(rng, self.iters.len())?;
        let iter = &self.iters[at];
        faults.add(iter.is_freed || !self.is_alive(iter.of), LSM_E_CLOSED);
        Some((at, !self.dbs[iter.of.db].spaces.contains_key(&iter.id)))
    }

    /// Whether the call on iterator `at` is over: refused, or the keyspace was dropped and it says so.
    fn is_refused(&mut self, at: usize, call: &str, code: i32, faults: &Faults, is_dropped: bool) -> bool {
        if is_dropped && code == LSM_E_CLOSED {
            return true;
        }
        if faults.0.is_empty() {
            return false;
        }
        faults.judge(call, code, &[]);
        let _ = at;
        true
    }

    fn check_entry(&self, at: usize, expected: Option<usize>, code: i32, entry: &lsm_entry) {
        let iter = &self.iters[at];
        let Some(expected) = expected else {
            assert_eq!(code, LSM_END, "an iterator of {} entries", iter.shows.len());
            assert!(entry.key_len == 77 && entry.seq == 77, "an entry was written at the end");
            return;
        };
        assert_eq!(code, LSM_OK, "an iterator at entry {expected} of {}", iter.shows.len());
        // SAFETY: valid until the next call on the iterator.
        unsafe { same(entry, &iter.shows[expected], iter.keys_only) };
        assert!(entry.seq > 0 && entry.seq != 77 || entry.seq == 77, "a sequence number");
    }

    pub(super) fn iter_step(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let Some((at, is_dropped)) = self.iter(rng, &mut faults) else { return };
        let no_entry = rng.below(50) == 0;
        faults.add(no_entry, LSM_E_INVALID);
        let is_next = rng.below(2) == 0;
        let mut entry = blank();
        let ptr = self.iters[at].ptr;
        // SAFETY: a handle of this library, a place of this function.
        let code = unsafe {
            let place = if no_entry { null_mut() } else { &mut entry };
            if is_next { lsm_iter_next(ptr, place, out.ptr()) } else { lsm_iter_prev(ptr, place, out.ptr()) }
        };
        out.check("lsm_iter_next", code);
        if self.is_refused(at, "lsm_iter_next or _prev", code, &faults, is_dropped) {
            return;
        }
        let iter = &self.iters[at];
        let mut moved = step(iter.at, iter.shows.len(), is_next);
        if self.plant == Plant::TurnSkips && matches!((iter.at, is_next), (At::Entry(2..), false)) {
            moved = step(moved, iter.shows.len(), is_next);
        }
        self.check_entry(at, place(moved), code, &entry);
        self.iters[at].at = moved;
    }

    pub(super) fn iter_seek(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let Some((at, is_dropped)) = self.iter(rng, &mut faults) else { return };
        let to = if rng.below(30) == 0 { [6, -1, i32::MIN][rng.below(3)] } else { rng.below(6) as i32 };
        faults.add(!(0..6).contains(&to), LSM_E_INVALID);
        let key = format!("k{:02}{}", rng.below(26), ["", "x"][rng.below(2)]).into_bytes();
        let no_key = rng.below(30) == 0;
        faults.add(no_key && to > 1, LSM_E_INVALID);
        let mut entry = blank();
        // SAFETY: a handle of this library, readable bytes, a place of this function.
        let code = unsafe {
            let bytes = if no_key { null() } else { key.as_ptr().cast() };
            lsm_iter_seek(self.iters[at].ptr, to, bytes, key.len(), &mut entry, out.ptr())
        };
        out.check("lsm_iter_seek", code);
        // Whether a key that is not looked at may be wrong, the header leaves open.
        if no_key && code == LSM_E_INVALID || self.is_refused(at, "lsm_iter_seek", code, &faults, is_dropped) {
            return;
        }
        let shows = &self.iters[at].shows;
        let below = shows.partition_point(|(k, _)| *k < key);
        let through = shows.partition_point(|(k, _)| *k <= key);
        let found = match to {
            0 => (!shows.is_empty()).then_some(0).ok_or(At::After),
            1 => shows.len().checked_sub(1).ok_or(At::Before),
            2 => (below < shows.len()).then_some(below).ok_or(At::After),
            3 => (through < shows.len()).then_some(through).ok_or(At::After),
            4 => through.checked_sub(1).ok_or(At::Before),
            _ => below.checked_sub(1).ok_or(At::Before),
        };
        let moved = found.map_or_else(|end| end, At::Entry);
        self.check_entry(at, place(moved), code, &entry);
        self.iters[at].at = moved;
    }

    pub(super) fn iter_read(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let Some((at, is_dropped)) = self.iter(rng, &mut faults) else { return };
        let direction = if rng.below(30) == 0 { 2 } else { rng.below(2) as i32 };
        faults.add(!(0..2).contains(&direction), LSM_E_INVALID);
        let ptr = self.iters[at].ptr;
        let max = 1 + rng.below(6);
        let is_packed = rng.below(2) == 0;
        let mut entries = vec![blank(); max];
        let mut buffer = vec![0xEEu8; [4, 40, 700, 20_000][rng.below(4)]];
        let (mut used, mut n, mut count) = (77usize, 77usize, 77u32);
        // SAFETY: a handle of this library, places of this function.
        let code = unsafe {
            if is_packed {
                let (place, len) = (buffer.as_mut_ptr().cast(), buffer.len());
                lsm_iter_read_packed(ptr, direction, place, len, &mut used, &mut count, out.ptr())
            } else {
                lsm_iter_read(ptr, direction, entries.as_mut_ptr(), max, &mut n, out.ptr())
            }
        };
        out.check("lsm_iter_read", code);
        if self.is_refused(at, "lsm_iter_read", code, &faults, is_dropped) {
            return;
        }
        if is_packed && code == LSM_TRUNCATED {
            let first = place(step(self.iters[at].at, self.iters[at].shows.len(), direction == 0));
            let (key, value) = &self.iters[at].shows[first.expect("an entry that does not fit")];
            let needed = 8 + key.len() + if self.iters[at].keys_only { 0 } else { value.len() };
            assert!(count == 0 && used == needed && needed > buffer.len(), "{used} bytes needed, {needed} expected");
            return;
        }
        let got = if is_packed { count as usize } else { n };
        if code == LSM_END {
            let moved = step(self.iters[at].at, self.iters[at].shows.len(), direction == 0);
            assert!(place(moved).is_none() && got == 0, "lsm_iter_read: LSM_END with {got} entries");
            self.iters[at].at = moved;
            return;
        }
        assert!(code == LSM_OK && got > 0 && (is_packed || got <= max), "lsm_iter_read: {code} with {got}");
        let mut rest = &buffer[..if is_packed { used } else { 0 }];
        for entry in 0..got {
            let iter = &self.iters[at];
            let moved = step(iter.at, iter.shows.len(), direction == 0);
            let shown = &iter.shows[place(moved).expect("lsm_iter_read went over the end")];
            if is_packed {
                let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four")) as usize;
                let (key_len, value_len) = (word(0), word(4));
                assert!(rest[8..8 + key_len] == shown.0, "lsm_iter_read_packed: key");
                let value = &rest[8 + key_len..8 + key_len + value_len];
                assert!(value == if iter.keys_only { &[] } else { shown.1.as_slice() }, "lsm_iter_read_packed: value");
                rest = &rest[8 + key_len + value_len..];
            } else {
                // SAFETY: valid until the next call on the iterator.
                unsafe { same(&entries[entry], shown, iter.keys_only) };
            }
            self.iters[at].at = moved;
        }
        assert!(rest.is_empty());
    }

    /// Refreshed, or closed.
    pub(super) fn iter_end(&mut self, rng: &mut Rng) {
        let mut out = Out::new(rng);
        let mut faults = Faults::default();
        let Some((at, is_dropped)) = self.iter(rng, &mut faults) else { return };
        let ptr = self.iters[at].ptr;
        if rng.below(2) == 0 {
            // SAFETY: from this library; a second close is caught.
            unsafe { lsm_iter_close(ptr) };
            self.iters[at].is_freed = true;
            return;
        }
        // SAFETY: a handle of this library.
        let code = unsafe { lsm_iter_refresh(ptr, out.ptr()) };
        out.check("lsm_iter_refresh", code);
        if self.is_refused(at, "lsm_iter_refresh", code, &faults, is_dropped) {
            return;
        }
        super::expect("lsm_iter_refresh", code, &[LSM_OK]);
        let Iter { of, id, range, .. } = &self.iters[at];
        // Of a dropped keyspace it may go on showing what it showed.
        if let Some(entries) = self.dbs[of.db].spaces.get(id) {
            let shows = within(entries.clone(), range);
            self.iters[at].shows = shows;
        }
        self.iters[at].at = At::Fresh;
    }
}

fn within(entries: Entries, (lower, upper, prefix): &(Vec<u8>, Option<Vec<u8>>, Vec<u8>)) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_in =
        |key: &Vec<u8>| key >= lower && upper.as_ref().is_none_or(|upper| key < upper) && key.starts_with(prefix);
    entries.into_iter().filter(|(key, _)| is_in(key)).collect()
}

/// Where a step from `at` leads among `n` entries.
fn step(at: At, n: usize, is_next: bool) -> At {
    match (at, is_next) {
        (At::Entry(i), true) if i + 1 < n => At::Entry(i + 1),
        (At::Entry(i), false) if i > 0 => At::Entry(i - 1),
        (At::Fresh | At::Before, true) if n > 0 => At::Entry(0),
        (At::Fresh | At::After, false) if n > 0 => At::Entry(n - 1),
        (_, true) => At::After,
        (_, false) => At::Before,
    }
}

fn place(at: At) -> Option<usize> {
    match at {
        At::Entry(i) => Some(i),
        _ => None,
    }
}

/// # Safety
/// The bytes of `entry` are readable.
unsafe fn same(entry: &lsm_entry, (key, value): &(Vec<u8>, Vec<u8>), keys_only: bool) {
    // SAFETY: the caller's.
    let bytes =
        |data: *const u8, len: usize| if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, len) } };
    assert!(bytes(entry.key, entry.key_len) == key, "an iterator shows another key");
    let expected = if keys_only { &[] } else { value.as_slice() };
    assert!(bytes(entry.value, entry.value_len) == expected, "an iterator shows another value");
}
