//! `lsm_iter`: ordered walks over a view that does not change.
//!
//! Invariants
//! - I1  A step allocates nothing and takes no shared line: the cell's own state word keeps `lsm_close` out.
//! - I2  An entry's bytes belong to the engine's iterator and stay until the next call on it.
//!
//! Threads: one at a time, may move; a second one gets `LSM_E_BUSY`.
#![expect(unsafe_code, reason = "reads and writes what C passes")]

use crate::bytes::data;
use crate::error::{lsm_error, report};
use crate::guard::{bytes, catch, null_error, out};
use crate::handle::{lsm_keyspace, with_keyspace};
use crate::options::iterator_options;
use crate::slab::Slab;
use crate::status::{LSM_BACKWARD, LSM_END, LSM_FORWARD, LSM_OK, LSM_TRUNCATED};
use crate::structs::{lsm_entry, lsm_read_options};
use lsm_engine::db::{Direction, Iter, IterEntry, OwnedSpan, Seek};
use lsm_engine::{Error, Result};
use std::ffi::c_void;

/// An iterator. One thread at a time.
pub struct lsm_iter {
    _private: [u8; 0],
}

/// What an iterator's cell holds.
pub struct State {
    iter: Box<Iter>,
    keys_only: bool,
}

/// All iterators of the process.
pub static ITERATORS: Slab<State> = Slab::new(0x6c73_6d5f_6974_0001, "iterator");

/// Bytes that one `lsm_iter_read` collects at most, beyond its first entry.
const READ_BYTES_MAX: usize = 4 << 20;

/// Runs `body` on an iterator's state.
///
/// # Safety
/// `iter` came from `lsm_iter_open`; `err` is NULL or writable.
#[inline(always)]
unsafe fn with_iter(
    iter: *mut lsm_iter,
    err: *mut *mut lsm_error,
    body: impl FnOnce(&mut State) -> Result<i32>,
) -> i32 {
    let run = || {
        // SAFETY: this function's contract.
        let cell = unsafe { ITERATORS.find(iter) }?;
        let mut held = cell.exclusive()?;
        let db = held.db();
        catch(|| db.poison(), || body(held.payload()))
    };
    match run() {
        Ok(code) => code,
        // SAFETY: this function's contract.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// Stores what a step answered.
///
/// # Safety
/// `entry` is writable.
#[inline(always)]
unsafe fn show(found: Option<IterEntry<'_>>, keys_only: bool, entry: *mut lsm_entry) -> i32 {
    let Some(found) = found else {
        return LSM_END;
    };
    // SAFETY: this function's contract.
    unsafe { entry.write(c_entry(&found, keys_only)) };
    LSM_OK
}

#[inline(always)]
fn c_entry(found: &IterEntry<'_>, keys_only: bool) -> lsm_entry {
    let value = if keys_only { std::ptr::null() } else { data(found.value) };
    let value_len = if keys_only { 0 } else { found.value.len() };
    lsm_entry { key: data(found.key), key_len: found.key.len(), value, value_len, seq: found.seq.0, reserved: 0 }
}

/// Opens an iterator over a view of now, or of the snapshot in the options, in `*iter`; close it with `lsm_iter_close`.
/// The view does not change until `lsm_iter_refresh`. A fresh iterator stands nowhere: the first next is the first entry,
/// the first prev the last one. The bounds are copied; a snapshot may be released before the iterator.
///
/// NULL: `options` (defaults) and `err` may be; bounds and prefix mean unbounded. Threads: any number at once on the
/// keyspace.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, bad options, a snapshot of another database); `LSM_E_UNSUPPORTED` (a field of
/// a later version); `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
/// `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `keyspace` came from this library; `options` is NULL or readable for its size; `iter` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_open(
    keyspace: *mut lsm_keyspace,
    options: *const lsm_read_options,
    iter: *mut *mut lsm_iter,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_keyspace(keyspace, err, |slot, engine| {
            let iter = out(iter, "iter")?;
            let options = iterator_options(options, slot)?;
            let state = State { iter: Box::new(engine.iter(&options)?), keys_only: options.keys_only };
            iter.write(ITERATORS.alloc(Some(slot), state)?.handle());
            Ok(LSM_OK)
        })
    }
}

/// Positions an iterator and shows the entry there: `LSM_SEEK_FIRST`, `LSM_SEEK_LAST` (the key is ignored), `LSM_SEEK_GE`,
/// `LSM_SEEK_GT`, `LSM_SEEK_LE`, `LSM_SEEK_LT`. Bounds and prefix clamp the target. A missed GE or GT leaves the iterator
/// after the last entry, a missed LE or LT before the first.
///
/// NULL: `err` may be, `key` when `key_len` is 0. Threads: one at a time on the iterator.
/// Codes: `LSM_OK`; `LSM_END` (no such entry; `*entry` is untouched); `LSM_E_INVALID` (a NULL, another `where`, a key over
/// 65,536 bytes); `LSM_E_TIMEOUT`; `LSM_E_STALLED` (more than `max_skip` hidden entries; the position is kept);
/// `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback, or another thread is in
/// a call on the iterator); `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `iter` came from `lsm_iter_open`; `key` is readable for `key_len` bytes; `entry` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_seek(
    iter: *mut lsm_iter,
    r#where: i32,
    key: *const c_void,
    key_len: usize,
    entry: *mut lsm_entry,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_iter(iter, err, |state| {
            let to = match r#where {
                0 => Seek::First,
                1 => Seek::Last,
                2 => Seek::Ge,
                3 => Seek::Gt,
                4 => Seek::Le,
                5 => Seek::Lt,
                other => return Err(Error::invalid(format!("where is {other}, not an LSM_SEEK number"))),
            };
            let key = bytes(key, key_len, "key")?;
            let entry = out(entry, "entry")?;
            Ok(show(state.iter.seek(to, key)?, state.keys_only, entry))
        })
    }
}

/// One step forward. On a fresh iterator the first entry; past the back end it stays `LSM_END`; past the front end it
/// gives the first entry. The entry's bytes are valid until the next call on the iterator. After an error of reading
/// every step answers that error until a seek or a refresh succeeds.
///
/// NULL: `err` may be. Threads: one at a time on the iterator. Codes: as `lsm_iter_seek`.
///
/// # Safety
/// As `lsm_iter_seek`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_next(iter: *mut lsm_iter, entry: *mut lsm_entry, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_iter(iter, err, |state| {
            let entry = out(entry, "entry")?;
            Ok(show(state.iter.next()?, state.keys_only, entry))
        })
    }
}

/// One step back. On a fresh iterator the last entry; past the front end it stays `LSM_END`; past the back end it gives
/// the last entry.
///
/// NULL, threads and codes: as `lsm_iter_next`.
///
/// # Safety
/// As `lsm_iter_seek`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_prev(iter: *mut lsm_iter, entry: *mut lsm_entry, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_iter(iter, err, |state| {
            let entry = out(entry, "entry")?;
            Ok(show(state.iter.prev()?, state.keys_only, entry))
        })
    }
}

fn direction_argument(direction: i32) -> Result<Direction> {
    match direction {
        LSM_FORWARD => Ok(Direction::Forward),
        LSM_BACKWARD => Ok(Direction::Backward),
        other => Err(Error::invalid(format!("direction is {other}, not LSM_FORWARD or LSM_BACKWARD"))),
    }
}

/// Many steps; the spans stay until the next call on `iter`, of which `span` and `unread_from` are none.
fn many(iter: &mut Iter, direction: Direction, max: usize, bytes_max: usize) -> Result<&'static [OwnedSpan]> {
    let spans: *const [OwnedSpan] = iter.next_many(direction, max, bytes_max)?;
    // SAFETY: the spans are in a buffer that the iterator owns and changes only in its next step; the callers let go of
    // them before that. The lifetime is cut so that `span` can borrow the iterator beside them.
    Ok(unsafe { &*spans })
}

/// Many steps in one call: up to `max` entries, all valid until the next call on the iterator. `*n` says how many; fewer
/// than `max` does not mean the end.
///
/// NULL: `err` may be. Threads: one at a time on the iterator.
/// Codes: `LSM_OK` with 1 to `max` entries; `LSM_END` with none (`*n` is 0); `LSM_E_INVALID` (a NULL, `max` 0, another
/// `direction`); the others of `lsm_iter_seek`.
///
/// # Safety
/// `iter` came from `lsm_iter_open`; `entries` is writable for `max` elements; `n` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_read(
    iter: *mut lsm_iter,
    direction: i32,
    entries: *mut lsm_entry,
    max: usize,
    n: *mut usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_iter(iter, err, |state| {
            let direction = direction_argument(direction)?;
            let (entries, n) = (out(entries, "entries")?, out(n, "n")?);
            if max == 0 {
                return Err(Error::invalid("max is 0"));
            }
            let spans = many(&mut state.iter, direction, max, READ_BYTES_MAX)?;
            for (i, span) in spans.iter().enumerate() {
                entries.add(i).write(c_entry(&state.iter.span(span), state.keys_only));
            }
            n.write(spans.len());
            Ok(if spans.is_empty() { LSM_END } else { LSM_OK })
        })
    }
}

/// Many steps into the caller's buffer, as `{u32 klen, u32 vlen, key, value}*`, little-endian and unaligned. `*n` says how
/// many entries, `*used` how many bytes.
///
/// NULL: `err` may be, `buffer` when `capacity` is 0. Threads: one at a time on the iterator.
/// Codes: `LSM_OK` with at least one entry; `LSM_END` with none (`*n` and `*used` are 0); `LSM_TRUNCATED` (not even one
/// entry fits: `*n` is 0, `*used` the bytes needed, the iterator has not moved); `LSM_E_INVALID` (a NULL, another
/// `direction`); the others of `lsm_iter_seek`.
///
/// # Safety
/// `iter` came from `lsm_iter_open`; `buffer` is writable for `capacity` bytes; `used`, `n` and `err` are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_read_packed(
    iter: *mut lsm_iter,
    direction: i32,
    buffer: *mut c_void,
    capacity: usize,
    used: *mut usize,
    n: *mut u32,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_iter(iter, err, |state| {
            let direction = direction_argument(direction)?;
            if buffer.is_null() && capacity > 0 {
                return Err(null_error("buffer"));
            }
            let (used, n) = (out(used, "used")?, out(n, "n")?);
            let max = (capacity / 8).clamp(1, u32::MAX as usize);
            let spans = many(&mut state.iter, direction, max, capacity.min(READ_BYTES_MAX))?;
            let start = buffer.cast::<u8>();
            let (mut at, mut count) = (0usize, 0usize);
            for span in spans {
                let entry = state.iter.span(span);
                let value = if state.keys_only { &[][..] } else { entry.value };
                let size = 8 + entry.key.len() + value.len();
                if size > capacity - at {
                    if count == 0 {
                        at = size;
                    }
                    break;
                }
                let to = start.add(at);
                to.cast::<[u8; 4]>().write((entry.key.len() as u32).to_le_bytes());
                to.add(4).cast::<[u8; 4]>().write((value.len() as u32).to_le_bytes());
                std::ptr::copy_nonoverlapping(entry.key.as_ptr(), to.add(8), entry.key.len());
                std::ptr::copy_nonoverlapping(value.as_ptr(), to.add(8 + entry.key.len()), value.len());
                at += size;
                count += 1;
            }
            let (seen, truncated) = (spans.len(), count == 0 && !spans.is_empty());
            if count < seen {
                state.iter.unread_from(count)?;
            }
            used.write(at);
            n.write(count as u32);
            Ok(if truncated {
                LSM_TRUNCATED
            } else if seen == 0 {
                LSM_END
            } else {
                LSM_OK
            })
        })
    }
}

/// Makes an iterator as if newly opened, over the newest state; a snapshot given at open is dropped, bounds and prefix
/// stay.
///
/// NULL: `err` may be. Threads: one at a time on the iterator.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); the failures of `lsm_iter_open`.
///
/// # Safety
/// `iter` came from `lsm_iter_open`; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_refresh(iter: *mut lsm_iter, err: *mut *mut lsm_error) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_iter(iter, err, |state| {
            state.iter.refresh()?;
            Ok(LSM_OK)
        })
    }
}

/// Closes an iterator; the bytes it showed are gone.
///
/// NULL: does nothing; so does a second close, while fewer than 1,024 iterators were closed since, and a close in a
/// forked child. Works after `lsm_close`. Threads: the last user.
///
/// # Safety
/// `iter` is NULL or came from `lsm_iter_open` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_iter_close(iter: *mut lsm_iter) {
    // SAFETY: this function's contract.
    if let Ok(cell) = unsafe { ITERATORS.find(iter) } {
        ITERATORS.free(cell);
    }
}
