//! What a forked child may do: nothing with the parent's handles, everything with handles of its own.
//!
//! A counter of forks is compared by every call with the one its handle was born with; the child's copy is raised by
//! an atfork handler. The same handler closes (never unlocks) the LOCK descriptors of all open databases: a lock
//! belongs to the open file, which parent and child share, so a child that lives on would keep the folder locked.
//!
//! Invariants
//! - I1  The child handler only loads, stores and closes: nothing that may wait for a thread that is not there.
//! - I2  A descriptor is in the table only while its database is open, so that no other file's number is closed.
//! - I3  The locks of this crate's own globals are held across the fork by the forking thread, so they are free and
//!   their data whole on both sides.
//!
//! Threads: any. Failure: if no handler can be registered (no memory), `lsm_open` answers `LSM_E_NOMEM`.
#![expect(unsafe_code, reason = "atfork handlers and close(2)")]

use crate::handle;
use crate::slab;
use lsm_engine::base::sync::{AtomicPtr, AtomicU32, Ordering};
use lsm_engine::{Code, Error, Result};
use parking_lot::Mutex;

/// Both words that every call looks at, on a line of their own that is almost never written.
#[repr(align(64))]
struct Shared {
    generation: AtomicU32,
    callbacks: AtomicU32,
}

static SHARED: Shared = Shared { generation: AtomicU32::new(1), callbacks: AtomicU32::new(0) };

/// The process generation: a handle born in another one is the parent's.
#[inline(always)]
pub fn generation() -> u32 {
    // Relaxed: a child has one thread at birth, and the handler ran in it before `fork` returned.
    SHARED.generation.load(Ordering::Relaxed)
}

/// How many threads are inside a callback of the host; pairs with `log_callback`, which also keeps a mark per thread.
#[inline(always)]
pub fn callbacks() -> &'static AtomicU32 {
    &SHARED.callbacks
}

const DESCRIPTORS_PER_CHUNK: usize = 128;

const EMPTY: u32 = u32::MAX;

/// A piece of the table of LOCK descriptors. Chunks are added and never removed; `EMPTY` is no descriptor.
struct Chunk {
    places: [AtomicU32; DESCRIPTORS_PER_CHUNK],
    next: AtomicPtr<Chunk>,
}

impl Chunk {
    const fn new() -> Chunk {
        Chunk {
            places: [const { AtomicU32::new(EMPTY) }; DESCRIPTORS_PER_CHUNK],
            next: AtomicPtr::new(std::ptr::null_mut()),
        }
    }
}

static DESCRIPTORS: Chunk = Chunk::new();

fn next_chunk(chunk: &Chunk) -> Option<&'static Chunk> {
    // Acquire: pairs with the Release of `register`, which publishes a filled chunk.
    let next = chunk.next.load(Ordering::Acquire);
    // SAFETY: chunks are leaked, so a non-NULL pointer is valid for ever.
    unsafe { next.as_ref() }
}

/// Remembers a LOCK descriptor for the child handler; -1 is ignored. Answers its place, for `forget`.
pub fn register(descriptor: i32) -> Option<&'static AtomicU32> {
    let descriptor = u32::try_from(descriptor).ok()?;
    let mut chunk = &DESCRIPTORS;
    loop {
        for place in &chunk.places {
            // AcqRel: the place was emptied by `forget` (Release); the child handler reads in a copy of this thread.
            if place.compare_exchange(EMPTY, descriptor, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some(place);
            }
        }
        if let Some(next) = next_chunk(chunk) {
            chunk = next;
            continue;
        }
        let fresh = Box::into_raw(Box::new(Chunk::new()));
        // Release: publishes the chunk to `next_chunk`.
        match chunk.next.compare_exchange(std::ptr::null_mut(), fresh, Ordering::Release, Ordering::Relaxed) {
            // SAFETY: just leaked.
            Ok(_) => chunk = unsafe { &*fresh },
            Err(_) => {
                // SAFETY: another thread won; ours was never published.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

/// Forgets a descriptor before its database closes it.
pub fn forget(place: Option<&AtomicU32>) {
    if let Some(place) = place {
        // Release: pairs with the next `register` of this place.
        place.store(EMPTY, Ordering::Release);
    }
}

/// Registers the handlers, once per process.
pub fn install() -> Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock();
    if *installed {
        return Ok(());
    }
    // SAFETY: the handlers are plain functions of this library, which is linked with `nodelete` and never unmapped.
    let answer = unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    if answer != 0 {
        return Err(Error::new(Code::NoMem, format!("pthread_atfork: error {answer}")));
    }
    *installed = true;
    Ok(())
}

extern "C" fn before() {
    handle::lock_globals();
    slab::lock_globals();
}

extern "C" fn after_in_parent() {
    // SAFETY: `before` locked them in this thread.
    unsafe {
        slab::unlock_globals();
        handle::unlock_globals();
    }
}

extern "C" fn after_in_child() {
    // Relaxed: the child has this thread only.
    SHARED.generation.fetch_add(1, Ordering::Relaxed);
    SHARED.callbacks.store(0, Ordering::Relaxed);
    let mut chunk = Some(&DESCRIPTORS);
    while let Some(here) = chunk {
        for place in &here.places {
            let descriptor = place.swap(EMPTY, Ordering::Relaxed);
            if descriptor != EMPTY {
                // SAFETY: the child's copy of a LOCK descriptor (I2); nothing in the child uses it.
                unsafe { libc::close(descriptor.cast_signed()) };
            }
        }
        chunk = next_chunk(here);
    }
    // SAFETY: `before` locked them in this thread, whose copy this is.
    unsafe {
        slab::unlock_globals();
        handle::unlock_globals();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_beyond_one_chunk_and_reused() {
        // Numbers that no process has open, so that a fork in another test closes nothing.
        let base = 1 << 28;
        let places: Vec<_> = (0..300).map(|i| register(base + i)).collect();
        for (i, place) in places.iter().enumerate() {
            let place = place.expect("registered");
            assert_eq!(place.load(Ordering::Relaxed), (base + i as i32).cast_unsigned());
        }
        places.iter().for_each(|place| forget(*place));
        let again = register(base).expect("registered");
        assert!(places.iter().any(|place| std::ptr::eq(place.expect("registered"), again)));
        forget(Some(again));
        assert!(register(-1).is_none());
    }
}
