//! Type-stable memory for iterators, batches, snapshots and values: cells that are never unmapped and are reused late.
//!
//!     free -> live <-> in use                 one thread at a time (iterators, batches)
//!             live -> empty                   lsm_close took the engine object; the handle is still the caller's
//!             live | empty -> leaving -> free then the back of the queue
//!
//! Invariants
//! - I1  A cell's memory, magic word and type never change, so a pointer to a freed cell reads its state and answers
//!   `LSM_E_CLOSED`.
//! - I2  Every stripe hands out the front of its queue only while more than `QUARANTINE` cells wait in it, so a freed
//!   cell comes back after at least that many later frees of its type.
//! - I3  The payload exists exactly in the states live and in use, and while leaving or emptying until it is dropped.
//!
//! Threads: `alloc`, `free` and `shared` any; `exclusive` admits one thread and answers `LSM_E_BUSY` to a second one.
//! Failure: no memory for a chunk is `LSM_E_NOMEM`.
#![expect(unsafe_code, reason = "raw cells shared with C")]

use crate::guard::catch;
use crate::handle::{DbSlot, handle_error, pause, stripe_index};
use crate::{batch, fork, iter, read, snapshot};
use lsm_engine::base::sync::{AtomicPtr, AtomicU32, Ordering};
use lsm_engine::{Code, Error, Result};
use parking_lot::Mutex;
use std::alloc::{Layout, alloc_zeroed};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// Frees of one type that pass before a cell may be reused.
pub const QUARANTINE: usize = 1024;

const STRIPE_COUNT: usize = 4;
const CELLS_PER_CHUNK: usize = 32;

const FREE: u32 = 0;
const LIVE: u32 = 1;
const IN_USE: u32 = 2;
const EMPTY: u32 = 3;
const EMPTYING: u32 = 4;
const LEAVING: u32 = 5;

/// One handle's memory.
#[repr(C, align(64))]
pub struct Cell<T: 'static> {
    magic: u64,
    state: AtomicU32,
    generation: AtomicU32,
    db: AtomicPtr<DbSlot>,
    next: AtomicPtr<Cell<T>>,
    home: usize,
    payload: UnsafeCell<MaybeUninit<T>>,
}

struct Chunk<T: 'static> {
    cells: [Cell<T>; CELLS_PER_CHUNK],
    next: *mut Chunk<T>,
}

struct Queue<T: 'static> {
    first: *mut Cell<T>,
    last: *mut Cell<T>,
    len: usize,
    fresh: *mut Cell<T>,
    fresh_len: usize,
}

/// All cells of one type.
pub struct Slab<T: 'static> {
    magic: u64,
    what: &'static str,
    queues: [Mutex<Queue<T>>; STRIPE_COUNT],
    chunks: AtomicPtr<Chunk<T>>,
}

// SAFETY: the raw pointers lead to cells that live for ever; a queue is reached under its lock, a payload by the states.
unsafe impl<T: Send> Sync for Slab<T> {}

impl<T: 'static> Slab<T> {
    /// An empty slab for handles called `what`.
    pub const fn new(magic: u64, what: &'static str) -> Slab<T> {
        const fn queue<T>() -> Mutex<Queue<T>> {
            Mutex::new(Queue {
                first: std::ptr::null_mut(),
                last: std::ptr::null_mut(),
                len: 0,
                fresh: std::ptr::null_mut(),
                fresh_len: 0,
            })
        }
        Slab { magic, what, queues: [queue(), queue(), queue(), queue()], chunks: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// A cell that holds what `make` builds, for a child of `db`.
    pub fn alloc(&'static self, db: Option<&'static DbSlot>, payload: T) -> Result<&'static Cell<T>> {
        let home = stripe_index(STRIPE_COUNT);
        let cell = self.take(home)?;
        // Relaxed: published by the Release of the state.
        cell.db.store(db.map_or(std::ptr::null_mut(), |db| std::ptr::from_ref(db).cast_mut()), Ordering::Relaxed);
        cell.generation.store(fork::generation(), Ordering::Relaxed);
        // SAFETY: the cell is free and came off the queue, so nobody else touches the payload (I3).
        unsafe { (*cell.payload.get()).write(payload) };
        // Release: pairs with the Acquire of whoever finds the cell live.
        cell.state.store(LIVE, Ordering::Release);
        Ok(cell)
    }

    fn take(&'static self, home: usize) -> Result<&'static Cell<T>> {
        let mut queue = self.queues[home].lock();
        if queue.len > QUARANTINE {
            // SAFETY: a queued cell; cells live for ever (I1).
            let cell = unsafe { &*queue.first };
            queue.first = cell.next.load(Ordering::Relaxed);
            queue.len -= 1;
            return Ok(cell);
        }
        if queue.fresh_len == 0 {
            queue.fresh = self.new_chunk(home)?;
            queue.fresh_len = CELLS_PER_CHUNK;
        }
        // SAFETY: `fresh` points at the first of `fresh_len` cells of a chunk that is never freed.
        let cell = unsafe { &*queue.fresh };
        // SAFETY: at most one past the chunk's last cell.
        queue.fresh = unsafe { queue.fresh.add(1) };
        queue.fresh_len -= 1;
        Ok(cell)
    }

    fn new_chunk(&'static self, home: usize) -> Result<*mut Cell<T>> {
        let layout = Layout::new::<Chunk<T>>();
        // SAFETY: a chunk's size is not zero.
        let chunk = unsafe { alloc_zeroed(layout) }.cast::<Chunk<T>>();
        if chunk.is_null() {
            return Err(Error::new(Code::NoMem, format!("no memory for {} handles", self.what)));
        }
        // SAFETY: fresh zeroed memory of a chunk: every field but the two written here may be zero.
        unsafe {
            for i in 0..CELLS_PER_CHUNK {
                let cell = (&raw mut (*chunk).cells).cast::<Cell<T>>().add(i);
                (&raw mut (*cell).magic).write(self.magic);
                (&raw mut (*cell).home).write(home);
            }
        }
        let mut head = self.chunks.load(Ordering::Relaxed);
        loop {
            // SAFETY: the chunk is not published yet.
            unsafe { (&raw mut (*chunk).next).write(head) };
            // Release: pairs with the Acquire in `each`.
            match self.chunks.compare_exchange_weak(head, chunk, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        // SAFETY: the chunk's first cell.
        Ok(unsafe { (&raw mut (*chunk).cells).cast::<Cell<T>>() })
    }

    /// The cell behind a handle.
    ///
    /// # Safety
    /// `handle` is NULL or came from this slab, freed or not; other pointers are caught at best effort.
    #[inline(always)]
    pub unsafe fn find<H>(&'static self, handle: *const H) -> Result<&'static Cell<T>> {
        let cell = handle.cast::<Cell<T>>();
        if cell.is_null() || !cell.is_aligned() {
            return Err(handle_error(cell.is_null(), self.what));
        }
        // SAFETY: by this function's contract a cell, which is valid for ever (I1).
        let cell = unsafe { &*cell };
        if cell.magic != self.magic { Err(handle_error(false, self.what)) } else { Ok(cell) }
    }

    /// Drops the payload and queues the cell. Does nothing for a free cell and in a forked child.
    pub fn free(&'static self, cell: &'static Cell<T>) {
        // Relaxed: written before the handle was handed out.
        if cell.generation.load(Ordering::Relaxed) != fork::generation() {
            return;
        }
        let mut rounds = 0;
        let held = loop {
            // Acquire: the payload is whole.
            match cell.state.load(Ordering::Acquire) {
                from @ (LIVE | EMPTY) => {
                    // Acquire: as above; a second free or a close loses here.
                    if cell.state.compare_exchange(from, LEAVING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                        break from == LIVE;
                    }
                }
                FREE | LEAVING => return,
                _ => {
                    // Another thread is in a call on this handle, against its rule: wait, but not for ever.
                    pause(&mut rounds);
                    if rounds > 100_000 {
                        return;
                    }
                }
            }
        };
        if held {
            cell.drop_payload();
        }
        let mut queue = self.queues[cell.home].lock();
        cell.next.store(std::ptr::null_mut(), Ordering::Relaxed);
        // Release: pairs with the Acquire of `free` and `empty` in other threads; the payload is gone.
        cell.state.store(FREE, Ordering::Release);
        let pointer = std::ptr::from_ref(cell).cast_mut();
        if queue.len == 0 {
            queue.first = pointer;
        } else {
            // SAFETY: the last queued cell; cells live for ever.
            unsafe { &*queue.last }.next.store(pointer, Ordering::Relaxed);
        }
        queue.last = pointer;
        queue.len += 1;
    }

    /// Takes the engine objects out of all cells of a database that no call is counted in any more.
    pub fn empty(&'static self, db: &'static DbSlot) {
        self.each(|cell| {
            // Relaxed: written by a call that the caller has waited for.
            if !std::ptr::eq(cell.db.load(Ordering::Relaxed), db) {
                return;
            }
            let mut rounds = 0;
            loop {
                // SeqCst: pairs with `exclusive`: either it sees the database closing or we see it in use.
                match cell.state.load(Ordering::SeqCst) {
                    LIVE => {
                        if cell.state.compare_exchange(LIVE, EMPTYING, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                            // It may have been freed and reused for another database since the first look.
                            if !std::ptr::eq(cell.db.load(Ordering::Relaxed), db) {
                                // Release: as in `Exclusive::drop`.
                                cell.state.store(LIVE, Ordering::Release);
                                return;
                            }
                            cell.drop_payload();
                            // Release: pairs with the Acquire of `free`.
                            cell.state.store(EMPTY, Ordering::Release);
                            return;
                        }
                    }
                    FREE | EMPTY => return,
                    _ => pause(&mut rounds),
                }
            }
        });
    }

    /// Waits until no thread is in a call on a cell of a database that is being closed. The objects stay: what a call
    /// lent lives until the next call on the handle, which answers that the database is closed, or its free.
    pub fn settle(&'static self, db: &'static DbSlot) {
        self.each(|cell| {
            let mut rounds = 0;
            // SeqCst: pairs with `exclusive`: either it sees the database closing or we see it in use. Relaxed: as in
            // `empty`.
            while std::ptr::eq(cell.db.load(Ordering::Relaxed), db) && cell.state.load(Ordering::SeqCst) == IN_USE {
                pause(&mut rounds);
            }
        });
    }

    fn each(&'static self, f: impl Fn(&'static Cell<T>)) {
        // Acquire: pairs with the Release in `new_chunk`.
        let mut chunk = self.chunks.load(Ordering::Acquire);
        // SAFETY: chunks live for ever.
        while let Some(here) = unsafe { chunk.as_ref() } {
            here.cells.iter().for_each(&f);
            chunk = here.next;
        }
    }

    fn lock(&'static self) {
        self.queues.iter().for_each(|queue| std::mem::forget(queue.lock()));
    }

    /// # Safety
    /// This thread, or the one it is a copy of, called `lock`.
    unsafe fn unlock(&'static self) {
        for queue in &self.queues {
            // SAFETY: locked by `lock`, whose guard was forgotten.
            unsafe { queue.force_unlock() };
        }
    }
}

impl<T: 'static> Cell<T> {
    fn drop_payload(&self) {
        // SAFETY: the caller moved the state from live to one that nobody else leaves (I3); dropped once.
        let _ = catch(
            || {},
            || unsafe {
                (*self.payload.get()).assume_init_drop();
                Ok(())
            },
        );
    }

    /// The handle that C sees.
    #[inline(always)]
    pub fn handle<H>(&'static self) -> *mut H {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// The database it is a child of.
    #[inline(always)]
    pub fn db(&self) -> Option<&'static DbSlot> {
        // SAFETY: NULL or a slot, which lives for ever. Relaxed: written before the handle was handed out.
        unsafe { self.db.load(Ordering::Relaxed).as_ref() }
    }

    /// The payload, for a handle that many threads may use at once; `None` when freed or emptied.
    #[inline(always)]
    pub fn shared(&self) -> Option<&T> {
        // Acquire: pairs with the Release of `alloc`.
        if self.state.load(Ordering::Acquire) != LIVE {
            return None;
        }
        // SAFETY: live (I3); the caller's contract with C says that nobody frees the handle during the call, and
        // `lsm_close` waits for calls that are counted in.
        Some(unsafe { (*self.payload.get()).assume_init_ref() })
    }

    /// The payload for this thread alone, if its database is open.
    #[inline(always)]
    pub fn exclusive(&'static self) -> Result<Exclusive<T>> {
        let Some(db) = self.db() else {
            return Err(Error::new(Code::Closed, "the handle is closed"));
        };
        db.admit()?;
        // SeqCst: this and the load of the database's state against the swap in `close` and its look at the cells.
        if let Err(state) = self.state.compare_exchange(LIVE, IN_USE, Ordering::SeqCst, Ordering::Relaxed) {
            return Err(in_use_error(state, db));
        }
        let held = Exclusive { cell: self, db };
        db.check_open()?;
        Ok(held)
    }
}

#[cold]
fn in_use_error(state: u32, db: &DbSlot) -> Error {
    match state {
        IN_USE => Error::new(Code::Busy, "another thread is in a call on this handle"),
        _ => db.check_open().err().unwrap_or_else(|| Error::new(Code::Closed, "the handle is closed")),
    }
}

/// A handle in use by one thread.
pub struct Exclusive<T: 'static> {
    cell: &'static Cell<T>,
    db: &'static DbSlot,
}

impl<T: 'static> Exclusive<T> {
    /// The payload.
    #[inline(always)]
    pub fn payload(&mut self) -> &mut T {
        // SAFETY: the state is "in use" by this value alone (I3).
        unsafe { (*self.cell.payload.get()).assume_init_mut() }
    }

    /// The database.
    #[inline(always)]
    pub fn db(&self) -> &'static DbSlot {
        self.db
    }
}

impl<T: 'static> Drop for Exclusive<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: pairs with the next `exclusive`, `free` or `empty`.
        self.cell.state.store(LIVE, Ordering::Release);
    }
}

/// Takes the engine objects out of the children of a database that is being closed, but for the iterators, whose entries
/// may still be read.
pub fn empty_children(db: &'static DbSlot) {
    iter::ITERATORS.settle(db);
    batch::BATCHES.empty(db);
    snapshot::SNAPSHOTS.empty(db);
}

/// Takes the slabs' locks before a fork.
pub fn lock_globals() {
    iter::ITERATORS.lock();
    batch::BATCHES.lock();
    snapshot::SNAPSHOTS.lock();
    read::VALUES.lock();
}

/// Gives them back, in the parent and in the child.
///
/// # Safety
/// This thread, or the one it is a copy of, called `lock_globals`.
pub unsafe fn unlock_globals() {
    // SAFETY: this function's contract.
    unsafe {
        read::VALUES.unlock();
        snapshot::SNAPSHOTS.unlock();
        batch::BATCHES.unlock();
        iter::ITERATORS.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_freed_cell_comes_back_late_and_a_second_free_is_harmless() {
        static SLAB: Slab<Arc<u32>> = Slab::new(77, "test");
        let value = Arc::new(5);
        let cell = SLAB.alloc(None, value.clone()).expect("cell");
        assert_eq!(cell.shared().map(|value| **value), Some(5));
        SLAB.free(cell);
        assert_eq!(Arc::strong_count(&value), 1);
        SLAB.free(cell);
        assert!(cell.shared().is_none());
        for _ in 0..QUARANTINE - 1 {
            let other = SLAB.alloc(None, value.clone()).expect("cell");
            assert!(!std::ptr::eq(other, cell));
            SLAB.free(other);
            assert!(cell.shared().is_none());
        }
        let mut reused = false;
        for _ in 0..QUARANTINE {
            let other = SLAB.alloc(None, value.clone()).expect("cell");
            reused |= std::ptr::eq(other, cell);
            SLAB.free(other);
        }
        assert!(reused);
    }

    #[test]
    fn a_pointer_that_is_not_a_handle_is_refused() {
        static SLAB: Slab<u8> = Slab::new(78, "test");
        let memory = [0u64; 64];
        let inside = memory.as_ptr().align_offset(64);
        // SAFETY: readable memory.
        unsafe {
            assert!(SLAB.find(std::ptr::null::<u8>()).is_err());
            assert!(SLAB.find(memory.as_ptr().add(inside)).is_err());
            assert!(SLAB.find(memory.as_ptr().add(inside).cast::<u8>().add(1)).is_err());
        }
    }

    #[test]
    fn threads_share_the_slab() {
        static SLAB: Slab<Arc<u32>> = Slab::new(79, "test");
        let value = Arc::new(5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        let cells: Vec<_> = (0..3).map(|_| SLAB.alloc(None, value.clone()).expect("cell")).collect();
                        cells.into_iter().for_each(|cell| SLAB.free(cell));
                    }
                });
            }
        });
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
