//! `lsm_options`: the bag of string keys, and the readers of the two per-call option structs.
//!
//! Invariants
//! - I1  A struct that begins with `size` is read up to that size and no further; what it lacks is zero, what it has
//!   beyond the known fields must be zero.
//!
//! Threads: a bag belongs to one thread while it is changed; any number may read it.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::bytes::c_string;
use crate::error::lsm_error;
use crate::fork;
use crate::guard::{boundary, bytes, c_text, catch, null_error, out, silence_panics};
use crate::handle::DbSlot;
use crate::log_callback::{LogCallbacks, logger};
use crate::snapshot::SNAPSHOTS;
use crate::status::{LSM_OK, LSM_READ_KEYS_ONLY, LSM_READ_NO_FILL_CACHE, LSM_READ_VERIFY_CHECKSUMS};
use crate::structs::{lsm_read_options, lsm_write_options};
use lsm_engine::db::options::Options;
use lsm_engine::db::{Durability, ReadOptions, WriteOptions};
use lsm_engine::{Code, Error, Result};
use std::ffi::{c_char, c_void};
use std::mem::{ManuallyDrop, MaybeUninit};

/// A bag of options, checked as they are set. Owned by the caller; `lsm_options_free` frees it. `lsm_open` and
/// `lsm_keyspace_open` copy what they need.
pub struct lsm_options {
    engine: Options,
    generation: u32,
}

/// Largest `size` a struct of a later version can have.
const STRUCT_SIZE_MAX: usize = 4096;

/// Reads a struct that begins with `uint32_t size` (I1).
///
/// # Safety
/// `pointer` is readable for 4 bytes and then for the size it states; any bit pattern is a `T`.
pub unsafe fn read_sized<T: Copy>(pointer: *const T, what: &str) -> Result<T> {
    // SAFETY: this function's contract.
    let size = unsafe { pointer.cast::<u32>().read_unaligned() } as usize;
    if size == size_of::<T>() {
        // SAFETY: the struct has exactly this size.
        return Ok(unsafe { pointer.read_unaligned() });
    }
    if !(8..=STRUCT_SIZE_MAX).contains(&size) {
        return Err(Error::invalid(format!("{what}: size {size} is not between 8 and {STRUCT_SIZE_MAX}")));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    let known = size.min(size_of::<T>());
    // SAFETY: readable for `size`, which `known` does not exceed; the copy is at least as long.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), known) };
    for at in known..size {
        // SAFETY: below `size`.
        if unsafe { pointer.cast::<u8>().add(at).read() } != 0 {
            return Err(Error::invalid(format!("{what}: byte {at} of a later version's field is not zero")));
        }
    }
    // SAFETY: any bit pattern is a `T`, by this function's contract.
    Ok(unsafe { copy.assume_init() })
}

#[cold]
fn unsupported(what: &str) -> Error {
    Error::new(Code::Unsupported, format!("{what} is not supported by this version"))
}

static DEFAULT_READ: ReadOptions = ReadOptions {
    snapshot: None,
    lower: None,
    upper: None,
    prefix: None,
    deadline_micros: 0,
    max_skip: 0,
    readahead_bytes: 0,
    no_fill_cache: false,
    verify_checksums: false,
    keys_only: false,
};

/// Reads and checks C's read options, without the bounds.
///
/// The snapshot in the answer is a copy of the handle's without a count of its own, hence `ManuallyDrop`: it must not
/// outlive the call.
///
/// # Safety
/// As `read_sized`; the call is counted in on `slot`.
unsafe fn convert(raw: &lsm_read_options, slot: &'static DbSlot) -> Result<ManuallyDrop<ReadOptions>> {
    let known = LSM_READ_NO_FILL_CACHE | LSM_READ_VERIFY_CHECKSUMS | LSM_READ_KEYS_ONLY;
    if raw.flags & !known != 0 {
        return Err(Error::invalid(format!("read options: unknown flags {:#x}", raw.flags & !known)));
    }
    if !raw.txn.is_null() {
        return Err(unsupported("read options: txn"));
    }
    if !raw.overlay.is_null() {
        return Err(unsupported("read options: overlay"));
    }
    if raw.io_class != 0 {
        return Err(unsupported("read options: io_class"));
    }
    let mut snapshot = None;
    if !raw.snapshot.is_null() {
        // SAFETY: this function's contract.
        let cell = unsafe { SNAPSHOTS.find(raw.snapshot) }?;
        let Some(held) = cell.shared() else {
            return Err(Error::new(Code::Closed, "read options: the snapshot is closed"));
        };
        if !cell.db().is_some_and(|db| std::ptr::eq(db, slot)) {
            return Err(Error::invalid("read options: the snapshot is of another database"));
        }
        // SAFETY: a bitwise copy that is never dropped, of an object that stays while the call is counted in.
        snapshot = Some(unsafe { std::ptr::read(held) });
    }
    Ok(ManuallyDrop::new(ReadOptions {
        snapshot,
        lower: None,
        upper: None,
        prefix: None,
        deadline_micros: raw.deadline_micros,
        max_skip: raw.max_skip,
        readahead_bytes: raw.readahead_bytes,
        no_fill_cache: raw.flags & LSM_READ_NO_FILL_CACHE != 0,
        verify_checksums: raw.flags & LSM_READ_VERIFY_CHECKSUMS != 0,
        keys_only: raw.flags & LSM_READ_KEYS_ONLY != 0,
    }))
}

/// Checks the bounds' NULL rules.
///
/// # Safety
/// The pointers are readable for their lengths.
unsafe fn bounds<'a>(raw: &lsm_read_options) -> Result<[Option<&'a [u8]>; 3]> {
    use crate::guard::bound;
    // SAFETY: this function's contract.
    unsafe {
        Ok([
            bound(raw.lower, raw.lower_len, "read options: lower")?,
            bound(raw.upper, raw.upper_len, "read options: upper")?,
            bound(raw.prefix, raw.prefix_len, "read options: prefix")?,
        ])
    }
}

/// Runs `body` with the options of a point read; NULL is the defaults, bounds and `LSM_READ_KEYS_ONLY` mean nothing.
///
/// # Safety
/// `options` is NULL or as `read_sized` says; the call is counted in on `slot`.
#[inline(always)]
pub unsafe fn with_read_options<R>(
    options: *const lsm_read_options,
    slot: &'static DbSlot,
    body: impl FnOnce(&ReadOptions) -> Result<R>,
) -> Result<R> {
    if options.is_null() {
        return body(&DEFAULT_READ);
    }
    // SAFETY: this function's contract.
    let converted = unsafe {
        let raw = read_sized(options, "read options")?;
        bounds(&raw)?;
        let mut converted = convert(&raw, slot)?;
        converted.keys_only = false;
        converted
    };
    body(&converted)
}

/// The options of an iterator, with counts and copies of their own.
///
/// # Safety
/// As `with_read_options`.
pub unsafe fn iterator_options(options: *const lsm_read_options, slot: &'static DbSlot) -> Result<ReadOptions> {
    if options.is_null() {
        return Ok(ReadOptions::default());
    }
    // SAFETY: this function's contract.
    unsafe {
        let raw = read_sized(options, "read options")?;
        let [lower, upper, prefix] = bounds(&raw)?;
        let converted = convert(&raw, slot)?;
        let mut owned = ReadOptions::clone(&converted);
        owned.lower = lower.map(<[u8]>::to_vec);
        owned.upper = upper.map(<[u8]>::to_vec);
        owned.prefix = prefix.map(<[u8]>::to_vec);
        Ok(owned)
    }
}

/// Reads and checks C's write options; NULL is the defaults.
///
/// # Safety
/// `options` is NULL or as `read_sized` says.
#[inline(always)]
pub unsafe fn write_options(options: *const lsm_write_options) -> Result<WriteOptions> {
    if options.is_null() {
        return Ok(WriteOptions { durability: Durability::Default, deadline_micros: 0 });
    }
    // SAFETY: this function's contract.
    let raw = unsafe { read_sized(options, "write options") }?;
    if raw.flags != 0 {
        return Err(Error::invalid(format!("write options: unknown flags {:#x}", raw.flags)));
    }
    if raw.io_class != 0 {
        return Err(unsupported("write options: io_class"));
    }
    if raw.ttl_micros != 0 {
        return Err(unsupported("write options: ttl_micros"));
    }
    let durability = match raw.durability {
        0 => Durability::Default,
        1 => Durability::Memory,
        2 => Durability::Os,
        3 => Durability::Fsync,
        other => return Err(Error::invalid(format!("write options: durability {other} is not between 0 and 3"))),
    };
    Ok(WriteOptions { durability, deadline_micros: raw.deadline_micros })
}

/// The engine's bag behind a handle that may be NULL.
///
/// # Safety
/// `options` is NULL or a live bag.
pub unsafe fn engine_options<'a>(options: *const lsm_options) -> Option<&'a Options> {
    // SAFETY: this function's contract.
    unsafe { options.as_ref() }.map(|options| &options.engine)
}

/// # Safety
/// `options` is NULL or a live bag that no other thread uses.
unsafe fn subject<'a>(options: *mut lsm_options) -> Result<&'a mut Options> {
    // SAFETY: this function's contract.
    unsafe { options.as_mut() }.map(|options| &mut options.engine).ok_or_else(|| null_error("options"))
}

/// A new bag with every option at its default. The caller owns it and frees it with `lsm_options_free`.
///
/// Gives NULL only when there is no memory. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn lsm_options_new() -> *mut lsm_options {
    silence_panics();
    let made = catch(|| {}, || Ok(Box::new(lsm_options { engine: Options::new(), generation: fork::generation() })));
    made.map_or(std::ptr::null_mut(), Box::into_raw)
}

/// A copy of a bag, with the same log callback. The caller owns it and frees it with `lsm_options_free`.
///
/// NULL: gives NULL. Threads: any, while nobody changes the bag.
///
/// # Safety
/// `options` is NULL or a live bag.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_clone(options: *const lsm_options) -> *mut lsm_options {
    // SAFETY: this function's contract.
    let Some(from) = (unsafe { options.as_ref() }) else {
        return std::ptr::null_mut();
    };
    let made =
        catch(|| {}, || Ok(Box::new(lsm_options { engine: from.engine.clone(), generation: fork::generation() })));
    made.map_or(std::ptr::null_mut(), Box::into_raw)
}

/// Frees a bag. Databases opened with it go on. A plain allocation: freeing it twice is undefined.
///
/// NULL: does nothing. Threads: the last user. In a forked child it does nothing for a bag of the parent.
///
/// # Safety
/// `options` is NULL or a live bag that is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_free(options: *mut lsm_options) {
    if options.is_null() {
        return;
    }
    // SAFETY: live, by this function's contract.
    let generation = unsafe { (*options).generation };
    if generation == fork::generation() {
        // SAFETY: from `Box::into_raw`, freed once, by this function's contract.
        let owned = unsafe { Box::from_raw(options) };
        let _ = catch(
            || {},
            || {
                drop(owned);
                Ok(())
            },
        );
    }
}

/// Sets an option from text, for example `("memtable.size", "64MiB")`. Key and value are copied.
///
/// NULL: `err` may be. Threads: one at a time on one bag.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an unknown key, a value out of its range: the message names key and
/// range; the bag is unchanged); `LSM_E_UNSUPPORTED` (an option or value of a later version or another build);
/// `LSM_E_PANIC`.
///
/// # Safety
/// `options` is a live bag; the texts end in NUL; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_set(
    options: *mut lsm_options,
    key: *const c_char,
    value: *const c_char,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            let bag = subject(options)?;
            bag.set(c_text(key, "key")?, c_text(value, "value")?)?;
            Ok(LSM_OK)
        })
    }
}

/// Sets an option from an integer: a count, a size in bytes, or 0 and 1 for false and true.
///
/// NULL, threads and codes: as `lsm_options_set`.
///
/// # Safety
/// As `lsm_options_set`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_set_int(
    options: *mut lsm_options,
    key: *const c_char,
    value: i64,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            subject(options)?.set_int(c_text(key, "key")?, value)?;
            Ok(LSM_OK)
        })
    }
}

/// Sets an option from a fraction, for example `("filter.fpr", 0.01)`.
///
/// NULL, threads and codes: as `lsm_options_set`.
///
/// # Safety
/// As `lsm_options_set`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_set_float(
    options: *mut lsm_options,
    key: *const c_char,
    value: f64,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            subject(options)?.set_float(c_text(key, "key")?, value)?;
            Ok(LSM_OK)
        })
    }
}

/// Sets a table of functions. This version knows the key "log" with an `lsm_log_callbacks`.
///
/// The table is copied. On `LSM_OK` the library owns `ctx`: it calls `drop(ctx)` (if not NULL) once, when the last bag
/// and database that know it are gone; on any other code it does not. `log` is called from any thread, never re-entered;
/// inside it, calls on database handles answer `LSM_E_BUSY`. It must not throw or unwind.
///
/// NULL: `err` may be. Threads: one at a time on one bag.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an unknown key, a wrong size, `log` is NULL); `LSM_E_UNSUPPORTED` (a key of
/// a later version: comparator, merge_operator, compaction_filter, listener, vfs, keyring); `LSM_E_PANIC`.
///
/// # Safety
/// `options` is a live bag; `key` ends in NUL; `vtable` is the table that the key asks for; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_set_callbacks(
    options: *mut lsm_options,
    key: *const c_char,
    vtable: *const c_void,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            let bag = subject(options)?;
            match c_text(key, "key")? {
                "log" => {
                    if vtable.is_null() {
                        return Err(null_error("log callbacks"));
                    }
                    // No prefix of it is of use, and half a function pointer is none.
                    let size = vtable.cast::<u32>().read_unaligned() as usize;
                    if size < size_of::<LogCallbacks>() {
                        return Err(Error::invalid(format!("log callbacks: size {size} is too small")));
                    }
                    let table = read_sized(vtable.cast::<LogCallbacks>(), "log callbacks")?;
                    bag.set_logger(logger(table)?);
                    Ok(LSM_OK)
                }
                later @ ("comparator" | "merge_operator" | "compaction_filter" | "listener" | "vfs" | "keyring") => {
                    Err(unsupported(&format!("callback {later}")))
                }
                unknown => Err(Error::invalid(format!("unknown callback {unknown:?}; this version knows log"))),
            }
        })
    }
}

/// The canonical text of an option, its default when unset, in `*value`; free it with `lsm_free`.
///
/// NULL: `err` may be. Threads: any, while nobody changes the bag.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an unknown key); `LSM_E_NOMEM`; `LSM_E_PANIC`.
///
/// # Safety
/// As `lsm_options_set`; `value` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_get(
    options: *const lsm_options,
    key: *const c_char,
    value: *mut *mut c_char,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            let bag = engine_options(options).ok_or_else(|| null_error("options"))?;
            let value = out(value, "value")?;
            let text = bag.get(c_text(key, "key")?)?;
            value.write(c_string(&text)?);
            Ok(LSM_OK)
        })
    }
}

/// Sets options from lines `key = value`; empty lines and lines that begin with `#` are ignored. All or nothing.
///
/// NULL: `err` may be, and `text` when `len` is 0. Threads: one at a time on one bag.
/// Codes: as `lsm_options_set`; the message names the line.
///
/// # Safety
/// `options` is a live bag; `text` is readable for `len` bytes; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_load(
    options: *mut lsm_options,
    text: *const c_char,
    len: usize,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            let bag = subject(options)?;
            let text = bytes(text.cast(), len, "text")?;
            let text = std::str::from_utf8(text).map_err(|_| Error::invalid("text is not UTF-8"))?;
            bag.load(text)?;
            Ok(LSM_OK)
        })
    }
}

/// The explicitly set options as lines that `lsm_options_load` takes, in `*text`; free it with `lsm_free`.
///
/// NULL: `err` may be. Threads: any, while nobody changes the bag.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_PANIC`.
///
/// # Safety
/// `options` is a live bag; `text` is NULL or writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_dump(
    options: *const lsm_options,
    text: *mut *mut c_char,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        boundary(err, || {
            let bag = engine_options(options).ok_or_else(|| null_error("options"))?;
            let text = out(text, "text")?;
            text.write(c_string(&bag.dump())?);
            Ok(LSM_OK)
        })
    }
}

/// The whole table of options as a JSON array, one object per key (key, type, default, range, unit, scope, mutable,
/// text), in `*json`; free it with `lsm_free`.
///
/// NULL: none. Threads: any.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_PANIC`.
///
/// # Safety
/// `json` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_options_describe(json: *mut *mut c_char) -> i32 {
    silence_panics();
    // SAFETY: this function's contract.
    unsafe {
        boundary(std::ptr::null_mut(), || {
            let json = out(json, "json")?;
            json.write(c_string(&Options::describe())?);
            Ok(LSM_OK)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> lsm_write_options {
        lsm_write_options { size: 32, flags: 0, durability: 0, io_class: 0, deadline_micros: 0, ttl_micros: 0 }
    }

    fn code(options: &lsm_write_options) -> i32 {
        // SAFETY: a local struct.
        unsafe { write_options(options) }.map_or_else(|error| error.code() as i32, |_| 0)
    }

    #[test]
    fn sizes_flags_and_later_fields() {
        assert_eq!(code(&raw()), 0);
        for size in [0, 1, 7, 33 + 4096, u32::MAX] {
            assert_eq!(code(&lsm_write_options { size, ..raw() }), Code::Invalid as i32, "{size}");
        }
        // A smaller struct ends before the bad durability.
        assert_eq!(code(&lsm_write_options { size: 8, durability: 9, ..raw() }), 0);
        assert_eq!(code(&lsm_write_options { size: 12, durability: 9, ..raw() }), Code::Invalid as i32);
        assert_eq!(code(&lsm_write_options { flags: 1, ..raw() }), Code::Invalid as i32);
        assert_eq!(code(&lsm_write_options { durability: -1, ..raw() }), Code::Invalid as i32);
        assert_eq!(code(&lsm_write_options { io_class: 1, ..raw() }), Code::Unsupported as i32);
        assert_eq!(code(&lsm_write_options { ttl_micros: 1, ..raw() }), Code::Unsupported as i32);
    }

    fn first(options: &[lsm_write_options; 2]) -> i32 {
        // SAFETY: a pointer to the whole array, which is as long as the size says.
        unsafe { write_options(options.as_ptr()) }.map_or_else(|error| error.code() as i32, |_| 0)
    }

    #[test]
    fn a_larger_struct_must_end_in_zeros() {
        let mut large = [raw(), lsm_write_options { size: 0, ..raw() }];
        large[0].size = 64;
        assert_eq!(first(&large), 0);
        large[1].ttl_micros = 1;
        assert_eq!(first(&large), Code::Invalid as i32);
    }
}
