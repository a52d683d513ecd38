//! Walks over a keyspace: many entries a call, in the library's packed form.
//!
//! Threads: one per `Iter`. Failure: as in `lsm`; the walk ends.

use super::Keyspace;
use super::api::{self, P};
use crate::exit::{Exit, Failure, Outcome};
use std::ptr::{null, null_mut};

/// Which keys are shown, and how.
#[derive(Clone, Default, Debug)]
pub struct Bounds {
    /// First key shown.
    pub from: Option<Vec<u8>>,
    /// First key not shown.
    pub to: Option<Vec<u8>>,
    /// What every key begins with.
    pub prefix: Option<Vec<u8>>,
    /// Last first.
    pub is_backward: bool,
    /// No values.
    pub is_keys_only: bool,
}

/// Bytes fetched at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A walk over a keyspace.
pub struct Iter<'k> {
    keyspace: &'k Keyspace<'k>,
    handle: P,
    direction: i32,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet shown.
    at: usize,
    end: usize,
}

impl<'d> Keyspace<'d> {
    /// A walk over what stands in it now.
    pub fn iter<'k>(&'k self, bounds: &Bounds) -> Outcome<Iter<'k>>
    where
        'd: 'k,
    {
        // A bound that is there and empty must not be NULL, which means unbounded; an empty Vec's pointer is not NULL.
        let parts = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or((null(), 0), |b| (b.as_ptr(), b.len()));
        let ((lower, lower_len), (upper, upper_len)) = (parts(&bounds.from), parts(&bounds.to));
        let (prefix, prefix_len) = parts(&bounds.prefix);
        let keys_only = if bounds.is_keys_only { api::READ_KEYS_ONLY } else { 0 };
        let options = api::ReadOptions {
            size: size_of::<api::ReadOptions>() as u32,
            flags: api::READ_NO_FILL_CACHE | keys_only,
            snapshot: null_mut(),
            txn: null_mut(),
            overlay: null_mut(),
            lower,
            lower_len,
            upper,
            upper_len,
            prefix,
            prefix_len,
            deadline_micros: 0,
            max_skip: 0,
            readahead_bytes: 0,
            io_class: 0,
        };
        let (mut handle, mut error) = (null_mut(), null_mut());
        let library = self.library();
        // SAFETY: a live keyspace, options whose bounds live during the call, writable outputs.
        let code = unsafe { (library.api.iter_open)(self.handle, &options, &mut handle, &mut error) };
        library.check_code(code, error)?;
        let direction = if bounds.is_backward { api::BACKWARD } else { api::FORWARD };
        Ok(Iter { keyspace: self, handle, direction, buffer: vec![0; CHUNK_BYTES], at: 0, end: 0 })
    }
}

impl Iter<'_> {
    /// The next key and value; `None` at the end.
    pub fn next_entry(&mut self) -> Outcome<Option<(&[u8], &[u8])>> {
        if self.at == self.end && !self.fetch()? {
            return Ok(None);
        }
        let rest = &self.buffer[self.at..self.end];
        let Some((key, value)) = unpack(rest) else {
            return Err(Failure::new(Exit::Internal, "lsm_iter_read_packed gave a malformed answer"));
        };
        self.at += 8 + key.len() + value.len();
        Ok(Some((key, value)))
    }

    /// The first entry at or above `key`, without fetching more than that one; whether there is one. For measuring.
    pub fn seek(&mut self, key: &[u8]) -> Outcome<bool> {
        let mut entry = api::Entry { key: null(), key_len: 0, value: null(), value_len: 0, seq: 0, reserved: 0 };
        let (library, mut error) = (self.keyspace.library(), null_mut());
        // SAFETY: a live iterator, readable bytes, writable outputs.
        let code = unsafe {
            let seek = library.api.iter_seek;
            seek(self.handle, api::SEEK_GE, key.as_ptr(), key.len(), &mut entry, &mut error)
        };
        (self.at, self.end) = (0, 0);
        Ok(library.check_code(code, error)? == api::OK)
    }

    fn fetch(&mut self) -> Outcome<bool> {
        let library = self.keyspace.library();
        loop {
            let (mut used, mut count, mut error) = (0, 0, null_mut());
            // SAFETY: a live iterator, a buffer of that length, writable outputs.
            let code = unsafe {
                let (buffer, room) = (self.buffer.as_mut_ptr(), self.buffer.len());
                let read = library.api.iter_read_packed;
                read(self.handle, self.direction, buffer, room, &mut used, &mut count, &mut error)
            };
            match library.check_code(code, error)? {
                api::END => return Ok(false),
                api::TRUNCATED => self.buffer.resize(used, 0),
                _ => {
                    (self.at, self.end) = (0, used);
                    return Ok(true);
                }
            }
        }
    }
}

impl Drop for Iter<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.keyspace.library().api.iter_close)(self.handle) };
    }
}

/// The first entry of packed bytes.
pub fn unpack(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (lens, rest) = bytes.split_first_chunk::<8>()?;
    let len = |at: usize| u32::from_le_bytes([lens[at], lens[at + 1], lens[at + 2], lens[at + 3]]) as usize;
    let (key, rest) = rest.split_at_checked(len(0))?;
    Some((key, rest.get(..len(4))?))
}
