//! Arguments: mostly right, now and then wrong.

use super::model::Value;
use super::{Faults, LSM_E_INVALID, LSM_E_UNSUPPORTED};
use crate::mutate::Rng;
use lsm_capi::read::lsm_value_data;
use lsm_capi::structs::*;
use std::ffi::c_void;
use std::ptr::null;

/// Bytes as an argument, now and then a NULL with a length.
pub struct Arg {
    pub bytes: Vec<u8>,
    pub is_null: bool,
    pub len: usize,
}

impl Arg {
    pub fn new(rng: &mut Rng, bytes: Vec<u8>) -> Arg {
        let is_null = bytes.is_empty() && rng.below(2) == 0 || rng.below(40) == 0;
        Arg { len: bytes.len(), bytes, is_null }
    }
    pub fn ptr(&self) -> *const c_void {
        if self.is_null { null() } else { self.bytes.as_ptr().cast() }
    }
    pub fn is_wrong(&self) -> bool {
        self.is_null && self.len > 0
    }
}

pub fn draw_key(rng: &mut Rng) -> Vec<u8> {
    match rng.below(30) {
        0 => Vec::new(),
        1 => vec![0, 255, b'k'],
        2 => vec![b'l'; 300],
        n => format!("k{:02}", n * 7 % 24).into_bytes(),
    }
}

pub fn draw_value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(20) {
        0 => 0,
        1 => 5000,
        _ => rng.below(120),
    };
    let byte = rng.next() as u8;
    (0..len).map(|at| byte.wrapping_add(at as u8)).collect()
}

pub fn packed(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let value_len = value.map_or(u32::MAX, |v| v.len() as u32);
    [&(key.len() as u32).to_le_bytes()[..], &value_len.to_le_bytes(), key, value.unwrap_or(&[])].concat()
}

/// What packed bytes say, if they say anything.
pub fn unpacked(mut text: &[u8]) -> Option<Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    let mut ops = Vec::new();
    while !text.is_empty() {
        let word = |at: usize| Some(u32::from_le_bytes(text.get(at..at + 4)?.try_into().ok()?));
        let (key_len, value_len) = (word(0)? as usize, word(4)?);
        let key = text.get(8..8 + key_len).filter(|key| key.len() <= 65_536)?.to_vec();
        let end = 8 + key_len + if value_len == u32::MAX { 0 } else { value_len as usize };
        let value = text.get(8 + key_len..end)?.to_vec();
        ops.push((key, (value_len != u32::MAX).then_some(value)));
        text = &text[end..];
    }
    Some(ops)
}

/// A struct of a caller that was compiled with other headers, or that forgot something.
pub fn drawn_write_options(rng: &mut Rng, faults: &mut Faults) -> Option<lsm_write_options> {
    if rng.below(3) == 0 {
        return None;
    }
    let mut options =
        lsm_write_options { size: 32, flags: 0, durability: 0, io_class: 0, deadline_micros: 0, ttl_micros: 0 };
    options.durability = rng.below(4) as i32;
    match rng.below(40) {
        0 => options.size = rng.below(8) as u32,
        1 => options.size = 12,
        2 => options.durability = [4, -1, i32::MAX][rng.below(3)],
        3 => options.flags = 1 << rng.below(32),
        4 => options.io_class = 7,
        5 => options.ttl_micros = 1,
        _ => {}
    }
    faults.add(options.size < 8 || options.flags != 0, LSM_E_INVALID);
    faults.add(options.size >= 12 && !(0..4).contains(&options.durability), LSM_E_INVALID);
    faults.add(options.io_class != 0 || options.ttl_micros != 0, LSM_E_UNSUPPORTED);
    Some(options)
}

pub fn some<T>(option: &Option<T>) -> *const T {
    option.as_ref().map_or(null(), |o| o)
}

/// Checks what a pinned value holds, or that a released one holds nothing.
pub fn check_value(value: &Value) {
    let mut len = 99;
    // SAFETY: from this library; a released one is caught.
    let data = unsafe { lsm_value_data(value.ptr, &mut len) };
    if value.is_freed {
        assert!(data.is_null() && len == 0, "a released value shows {len} bytes");
        return;
    }
    // SAFETY: the bytes of a live value.
    assert!(unsafe { bytes(data, len) } == value.bytes, "a pinned value changed");
}

/// # Safety
/// `data` is readable for `len` bytes.
pub unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's.
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, len) } }
}

/// One of `n`, the last ones more often.
pub fn pick(rng: &mut Rng, n: usize) -> Option<usize> {
    let at = if rng.below(2) == 0 { rng.below(n) } else { n.saturating_sub(1 + rng.below(4)) };
    (n > 0).then_some(at)
}

/// An entry that no call has written.
pub fn blank() -> lsm_entry {
    lsm_entry { key: null(), key_len: 77, value: null(), value_len: 77, seq: 77, reserved: 77 }
}
