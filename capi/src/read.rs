//! Point reads: into a buffer, pinned, many at once; estimates of ranges.
//!
//! Invariants
//! - I1  `lsm_get` allocates nothing: the engine hands the bytes to a copy into the caller's buffer.
//! - I2  A pinned value is no child of a database: it stays readable after close and in a forked child.
//!
//! Threads: any number at once.
#![expect(unsafe_code, reason = "reads and writes what C passes")]

use crate::bytes::data;
use crate::error::lsm_error;
use crate::guard::{bound, bytes, null_error, out};
use crate::handle::{lsm_keyspace, with_keyspace};
use crate::options::with_read_options;
use crate::slab::Slab;
use crate::status::{LSM_NOT_FOUND, LSM_OK, LSM_TRUNCATED};
use crate::structs::lsm_read_options;
use lsm_engine::base::key::KEY_LEN_MAX;
use lsm_engine::db::PinnedValue;
use lsm_engine::{Error, Result};
use std::ffi::c_void;

/// A value that stays readable until it is released, whatever happens to the database. Any number of threads at once.
pub struct lsm_value {
    _private: [u8; 0],
}

/// All pinned values of the process.
pub static VALUES: Slab<PinnedValue> = Slab::new(0x6c73_6d5f_7661_0001, "value");

/// Where a buffer is; NULL only with no capacity.
fn buffer_argument(buffer: *mut c_void, capacity: usize) -> Result<*mut u8> {
    if buffer.is_null() && capacity > 0 { Err(null_error("buffer")) } else { Ok(buffer.cast()) }
}

/// Reads a value into the caller's buffer and stores its whole length.
///
/// NULL: `options` (defaults) and `err` may be, `key` when `key_len` is 0, `buffer` when `capacity` is 0.
/// Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_NOT_FOUND` (nothing is stored); `LSM_TRUNCATED` (the first `capacity` bytes were copied,
/// `*value_len` is the whole length); `LSM_E_INVALID` (a NULL, a key over 65,536 bytes, bad options, a snapshot of another
/// database); `LSM_E_UNSUPPORTED` (a field of a later version); `LSM_E_TIMEOUT`; `LSM_E_IO`; `LSM_E_CORRUPTION`;
/// `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `keyspace` came from this library; `options` is NULL or readable for its size; `key` is readable for `key_len` bytes,
/// `buffer` writable for `capacity`; `value_len` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_get(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_read_options,
    key: *const c_void,
    key_len: usize,
    buffer: *mut c_void,
    capacity: usize,
    value_len: *mut usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |slot, engine| {
            let key = bytes(key, key_len, "key")?;
            let buffer = buffer_argument(buffer, capacity)?;
            let value_len = out(value_len, "value_len")?;
            let found = with_read_options(options, slot, |options| {
                engine.get_with(options, key, |value| {
                    std::ptr::copy_nonoverlapping(value.as_ptr(), buffer, value.len().min(capacity));
                    value.len()
                })
            })?;
            let Some(len) = found else {
                return Ok(LSM_NOT_FOUND);
            };
            value_len.write(len);
            Ok(if len > capacity { LSM_TRUNCATED } else { LSM_OK })
        })
    }
}

/// Reads a value without copying it: `*value` holds it until `lsm_value_release`, `*data` and `*len` say where it is.
///
/// NULL: `options` (defaults) and `err` may be, `key` when `key_len` is 0. Threads: any number at once.
/// Codes: as `lsm_get`, but for `LSM_TRUNCATED`. On any but `LSM_OK` nothing is stored.
///
/// # Safety
/// As `lsm_get`; `value`, `data` and `len` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_get_pinned(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_read_options,
    key: *const c_void,
    key_len: usize,
    value: *mut *mut lsm_value,
    data: *mut *const u8,
    len: *mut usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |slot, engine| {
            let key = bytes(key, key_len, "key")?;
            let (value, data, len) = (out(value, "value")?, out(data, "data")?, out(len, "len")?);
            let found = with_read_options(options, slot, |options| engine.get_pinned(options, key))?;
            let Some(found) = found else {
                return Ok(LSM_NOT_FOUND);
            };
            let handle = pin(found)?;
            data.write(lsm_value_data(handle, len));
            value.write(handle);
            Ok(LSM_OK)
        })
    }
}

fn pin(value: PinnedValue) -> Result<*mut lsm_value> {
    VALUES.alloc(None, value).map(|cell| cell.handle())
}

/// Whether a key has a value; its length in `*value_len`.
///
/// NULL: `options` (defaults), `value_len` and `err` may be, `key` when `key_len` is 0. Threads: any number at once.
/// Codes: as `lsm_get`, but for `LSM_TRUNCATED`.
///
/// # Safety
/// As `lsm_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_exists(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_read_options,
    key: *const c_void,
    key_len: usize,
    value_len: *mut usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |slot, engine| {
            let key = bytes(key, key_len, "key")?;
            let found = with_read_options(options, slot, |options| engine.get_with(options, key, <[u8]>::len))?;
            let Some(len) = found else {
                return Ok(LSM_NOT_FOUND);
            };
            if !value_len.is_null() {
                value_len.write(len);
            }
            Ok(LSM_OK)
        })
    }
}

/// Reads `n` keys as of one moment. `codes[i]` is what `lsm_get_pinned` would answer; `values[i]` is to be released with
/// `lsm_value_release` when `codes[i]` is `LSM_OK` and NULL otherwise.
///
/// NULL: `options` (defaults) and `err` may be, the arrays when `n` is 0, `keys[i]` when `key_lens[i]` is 0.
/// Threads: any number at once.
/// Codes: `LSM_OK` when every `codes[i]` is 0 or above, else the first negative one, as `lsm_get`. A failure of the call as
/// a whole (NULL arrays, bad options, a closed handle) stores nothing.
///
/// # Safety
/// As `lsm_get`; the arrays have `n` elements and the keys are readable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_multi_get(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_read_options,
    n: usize,
    keys: *const *const c_void,
    key_lens: *const usize,
    values: *mut *mut lsm_value,
    codes: *mut i32,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |slot, engine| {
            if n == 0 {
                return with_read_options(options, slot, |_| Ok(LSM_OK));
            }
            if keys.is_null() || key_lens.is_null() || values.is_null() || codes.is_null() {
                return Err(null_error("keys, key_lens, values or codes"));
            }
            if n > isize::MAX as usize / size_of::<usize>() {
                return Err(Error::invalid(format!("{n} keys are more than memory holds")));
            }
            // A bad key gets its own code; the engine sees the others.
            let checked: Vec<Result<&[u8]>> = (0..n).map(|i| key_argument(*keys.add(i), *key_lens.add(i), i)).collect();
            let good: Vec<&[u8]> = checked.iter().filter_map(|key| key.as_ref().ok().copied()).collect();
            let answers = with_read_options(options, slot, |options| engine.multi_get(options, &good))?;
            let mut answers = answers.into_iter();
            let mut first: Option<Error> = None;
            for (i, key) in checked.into_iter().enumerate() {
                let answer = key.and_then(|_| answers.next().unwrap_or_else(|| Err(short_answer())));
                let (code, value) = match answer.and_then(|found| found.map(pin).transpose()) {
                    Ok(Some(handle)) => (LSM_OK, handle),
                    Ok(None) => (LSM_NOT_FOUND, std::ptr::null_mut()),
                    Err(error) => {
                        let code = error.code() as i32;
                        first.get_or_insert(error);
                        (code, std::ptr::null_mut())
                    }
                };
                codes.add(i).write(code);
                values.add(i).write(value);
            }
            first.map_or(Ok(LSM_OK), Err)
        })
    }
}

/// # Safety
/// `key` is NULL or readable for `len` bytes.
unsafe fn key_argument<'a>(key: *const c_void, len: usize, index: usize) -> Result<&'a [u8]> {
    if len > KEY_LEN_MAX {
        return Err(Error::invalid(format!("key {index} of {len} bytes: the limit is {KEY_LEN_MAX}")));
    }
    // SAFETY: this function's contract.
    unsafe { bytes(key, len, "key") }
}

#[cold]
fn short_answer() -> Error {
    Error::new(lsm_engine::Code::Panic, "multi_get answered for too few keys")
}

/// Splits `{u32 len, key}*`, which must hold exactly `n` keys.
fn split_keys(packed: &[u8], n: u32) -> Result<Vec<&[u8]>> {
    let mut keys = Vec::new();
    let mut rest = packed;
    while !rest.is_empty() {
        let at = packed.len() - rest.len();
        let Some((len, tail)) = rest.split_first_chunk::<4>() else {
            return Err(Error::invalid(format!("packed keys: {} bytes at {at} are no length", rest.len())));
        };
        let len = u32::from_le_bytes(*len) as usize;
        if len > KEY_LEN_MAX || len > tail.len() {
            return Err(Error::invalid(format!("packed keys: key of {len} bytes at {at}, {} are left", tail.len())));
        }
        let (key, tail) = tail.split_at(len);
        keys.push(key);
        rest = tail;
        if keys.len() > n as usize {
            break;
        }
    }
    if keys.len() != n as usize || !rest.is_empty() {
        return Err(Error::invalid(format!("packed keys: not exactly {n} keys in {} bytes", packed.len())));
    }
    Ok(keys)
}

/// Reads `n` keys, packed as `{u32 len, key}*`, as of one moment into `{i32 code, u32 len, value}*`, both little-endian and
/// unaligned. An answer whose code is not `LSM_OK` has length 0.
///
/// NULL: `options` (defaults) and `err` may be, `keys` when `len` is 0, `buffer` when `capacity` is 0.
/// Threads: any number at once.
/// Codes: as `lsm_multi_get`; besides `LSM_TRUNCATED` (`*used` is the size needed, the buffer is untouched). Malformed keys,
/// or not exactly `n`, are `LSM_E_INVALID` and change nothing. When the code is a negative one of a key, the answers are
/// stored all the same.
///
/// # Safety
/// As `lsm_get`; `keys` is readable for `len` bytes; `used` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_multi_get_packed(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_read_options,
    keys: *const c_void,
    len: usize,
    n: u32,
    buffer: *mut c_void,
    capacity: usize,
    used: *mut usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |slot, engine| {
            let keys = split_keys(bytes(keys, len, "keys")?, n)?;
            let buffer = buffer_argument(buffer, capacity)?;
            let used = out(used, "used")?;
            let answers = with_read_options(options, slot, |options| engine.multi_get(options, &keys))?;
            let total: usize = answers.iter().map(|answer| 8 + answer_bytes(answer).len()).sum();
            if total > capacity {
                used.write(total);
                return Ok(LSM_TRUNCATED);
            }
            let mut at = buffer;
            let mut first: Option<Error> = None;
            for answer in &answers {
                let code = match answer {
                    Ok(Some(_)) => LSM_OK,
                    Ok(None) => LSM_NOT_FOUND,
                    Err(error) => {
                        first.get_or_insert_with(|| error.clone());
                        error.code() as i32
                    }
                };
                let value = answer_bytes(answer);
                at.cast::<[u8; 4]>().write(code.to_le_bytes());
                at.add(4).cast::<[u8; 4]>().write((value.len() as u32).to_le_bytes());
                std::ptr::copy_nonoverlapping(value.as_ptr(), at.add(8), value.len());
                at = at.add(8 + value.len());
            }
            used.write(total);
            first.map_or(Ok(LSM_OK), Err)
        })
    }
}

fn answer_bytes(answer: &Result<Option<PinnedValue>>) -> &[u8] {
    match answer {
        Ok(Some(value)) => value.bytes(),
        _ => &[],
    }
}

/// The bytes of a pinned value and their number in `*len`; they belong to the value.
///
/// NULL: gives NULL and a length of 0, as a released value does; `len` may be NULL. Threads: any number at once. Works
/// after `lsm_close` and in a forked child.
///
/// # Safety
/// `value` is NULL or came from this library; `len` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_value_data(value: *const lsm_value, len: *mut usize) -> *const u8 {
    // SAFETY: this function's contract.
    let held = unsafe { VALUES.find(value) }.ok().and_then(|cell| cell.shared());
    let bytes = held.map(PinnedValue::bytes);
    if !len.is_null() {
        // SAFETY: not NULL, so writable by this function's contract.
        unsafe { len.write(bytes.map_or(0, <[u8]>::len)) };
    }
    bytes.map_or(std::ptr::null(), data)
}

/// Releases a pinned value, from any thread, also after `lsm_close`.
///
/// NULL: does nothing; so does a second release, while fewer than 1,024 values were released since, and a release in a
/// forked child.
///
/// # Safety
/// `value` is NULL or came from this library and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_value_release(value: *mut lsm_value) {
    // SAFETY: this function's contract.
    if let Ok(cell) = unsafe { VALUES.find(value) } {
        VALUES.free(cell);
    }
}

/// About how many bytes on disk and keys lie from `from` (included) to `to` (excluded).
///
/// NULL: `from` and `to` with length 0 mean unbounded; `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a
/// callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `keyspace` came from this library; `from` and `to` are readable for their lengths; the outputs are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_approximate(
    keyspace: *mut lsm_keyspace,
    from: *const c_void,
    from_len: usize,
    to: *const c_void,
    to_len: usize,
    bytes: *mut u64,
    keys: *mut u64,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |_, engine| {
            let (from, to) = (bound(from, from_len, "from")?, bound(to, to_len, "to")?);
            let (bytes, keys) = (out(bytes, "bytes")?, out(keys, "keys")?);
            let (about_bytes, about_keys) = engine.approximate(from, to)?;
            bytes.write(about_bytes);
            keys.write(about_keys);
            Ok(LSM_OK)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_keys_must_match_exactly() {
        let good = [1, 0, 0, 0, b'a', 0, 0, 0, 0, 2, 0, 0, 0, b'b', b'c'];
        assert_eq!(split_keys(&good, 3).expect("three"), [&b"a"[..], b"", b"bc"]);
        assert_eq!(split_keys(&[], 0).expect("none").len(), 0);
        for (bytes, n) in [(&good[..], 2), (&good[..], 4), (&good[..14], 3), (&good[..7], 2), (&[][..], 1)] {
            assert!(split_keys(bytes, n).is_err(), "{bytes:?} {n}");
        }
        assert!(split_keys(&[0xff; 8], 1).is_err());
    }
}
