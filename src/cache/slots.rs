//! Frames and the slot arrays they hang in: the only file of the cache that follows raw pointers.
//!
//!     allocation (a whole number of cache lines)   [header: 32][bytes: len][unused]
//!
//! Header and bytes are one allocation, so a lookup goes slot -> bytes, and the first lines of the bytes can be asked
//! for before the header is there: a header apart from its bytes costs one cold miss more. A slot is null or owns
//! exactly one count of a frame. Every function here is sound whatever its callers do; the shard lock above is there for
//! the accounts, not for memory safety.
//!
//! - I1  A non-null slot points to a live frame and owns one of its counts.
//! - I2  A count that leaves a slot goes to `Retired` (through `Victims`), so a reader that loaded the pointer under a
//!   pin may look at the frame until it unpins. The one exception is the drop of the whole array, which nobody
//!   borrows any more then.
//!   A large array lies in fresh pages of its own: those of slots that were never used cost nothing, and a table that is
//!   only compacted uses none.
//! - I3  A frame is made by `FrameBuilder` only and freed by the drop of its last count. Its bytes are written only
//!   through the builder, which is the one holder of the one count then.
//! - I4  Every byte of an allocation is initialised: with zeros when it is new, with those of an earlier frame when it
//!   was a spare one. All allocations of one number of cache lines have one layout.
//!
//! Threads: any. Failure: a refused allocation leaves nothing behind.
#![expect(unsafe_code, reason = "frames are counted by hand; slots hold raw counts, borrowed under an epoch pin")]

use super::spare::SPARES;
use crate::base::arena::{Arena, prefetch};
use crate::base::epoch::{Guard, Retired};
use crate::base::sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use crate::error::{Code, Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Where a frame's use counter stops.
const USES_MAX: u8 = 3;
/// A frame begins at a whole cache line.
pub(super) const FRAME_ALIGN: usize = 64;
/// Bytes of the header; the frame's bytes follow.
const HEADER_LEN: usize = size_of::<Frame>();
const _: () = assert!(HEADER_LEN == 32 && align_of::<Frame>() <= FRAME_ALIGN);

/// A block's decoded bytes, with their bookkeeping before them in the same allocation.
pub struct Frame {
    /// How many `FrameRef`s and slots hold it.
    count: AtomicUsize,
    /// Where the bytes begin. Made from the allocation's pointer, so it may be used for all of it.
    data: NonNull<u8>,
    len: usize,
    /// How often it was used since the queues looked last, 0 to `USES_MAX`.
    uses: AtomicU8,
}

// SAFETY: a frame's bytes change only while its builder is the one holder (I3); everything else in it is atomic or never
// changes.
unsafe impl Send for Frame {}
// SAFETY: see `Send`.
unsafe impl Sync for Frame {}

/// A counted frame: keeps its bytes whatever the cache does.
pub struct FrameRef(NonNull<Frame>);

// SAFETY: an owned count of something that is `Send` and `Sync`; counts may be given back on any thread.
unsafe impl Send for FrameRef {}
// SAFETY: see `Send`.
unsafe impl Sync for FrameRef {}

/// A frame that is being filled.
pub struct FrameBuilder(FrameRef);

/// Cache lines of the allocation of a frame of `len` bytes; `None` past the address space.
fn lines_of(len: usize) -> Option<usize> {
    Some(HEADER_LEN.checked_add(len)?.div_ceil(FRAME_ALIGN))
}

/// An allocation of so many cache lines.
fn layout_of(lines: usize) -> Option<Layout> {
    Layout::from_size_align(lines.checked_mul(FRAME_ALIGN)?, FRAME_ALIGN).ok()
}

/// Gives an allocation back to the allocator.
///
/// # Safety
/// It was made with the layout of `lines`, and nobody looks at it any more.
unsafe fn release(lines: usize, frame: NonNull<Frame>) {
    if let Some(layout) = layout_of(lines) {
        // SAFETY: the caller says so. A `Frame` has nothing to drop.
        unsafe { dealloc(frame.as_ptr().cast(), layout) };
    }
}

/// Gives the allocations that are kept for later frames back to the allocator.
pub fn release_spares() {
    // SAFETY: spares of so many lines were allocated as such, and nobody holds them.
    SPARES.drain(|lines, frame| unsafe { release(lines, frame) });
}

impl FrameBuilder {
    /// A frame of `len` bytes that say nothing and are to be written; `NoMem` when there is no memory for it.
    pub fn new(len: usize) -> Result<FrameBuilder> {
        FrameBuilder::allocate(len)
            .ok_or_else(|| Error::new(Code::NoMem, format!("no memory for a block of {len} bytes")))
    }

    fn allocate(len: usize) -> Option<FrameBuilder> {
        let lines = lines_of(len)?;
        let layout = layout_of(lines)?;
        let base = match SPARES.take(lines) {
            Some(spare) => spare.cast(),
            // SAFETY: the layout is never empty: it has a header.
            None => NonNull::new(unsafe { alloc_zeroed(layout) })?,
        };
        // SAFETY: the allocation is at least as long as the header.
        let data = unsafe { base.add(HEADER_LEN) };
        let header = base.cast::<Frame>();
        let frame = Frame { count: AtomicUsize::new(1), data, len, uses: AtomicU8::new(0) };
        // SAFETY: `header` is aligned to a cache line, in bounds and ours alone.
        unsafe { header.write(frame) };
        Some(FrameBuilder(FrameRef(header)))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (data, len) = (self.0.data, self.0.len);
        // SAFETY: `len` initialised bytes follow the header (I4). The builder holds the only count (I3) and is borrowed
        // mutably, so nobody else looks at them.
        unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), len) }
    }

    /// The frame, never to be written again.
    pub fn freeze(self) -> FrameRef {
        self.0
    }
}

impl Clone for FrameRef {
    #[inline]
    fn clone(&self) -> FrameRef {
        self.add_count()
    }
}

impl Deref for FrameRef {
    type Target = Frame;
    #[inline]
    fn deref(&self) -> &Frame {
        // SAFETY: the count that `self` owns keeps the frame alive.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for FrameRef {
    #[inline]
    fn drop(&mut self) {
        // Release: this holder's reads come before the free; pairs with the Acquire load of the last holder.
        if self.count.fetch_sub(1, Ordering::Release) == 1 {
            self.free();
        }
    }
}

impl FrameRef {
    /// Whether both are counts of one frame.
    pub fn ptr_eq(a: &FrameRef, b: &FrameRef) -> bool {
        a.0 == b.0
    }

    /// How many counts there are, slots included.
    pub fn count(frame: &FrameRef) -> usize {
        // Relaxed: for tests and people.
        frame.count.load(Ordering::Relaxed)
    }

    #[cold]
    fn free(&mut self) {
        // Acquire: reads what the last of the others' drops stored (Release, each a link of one chain), so all their reads
        // are over. A load and not a fence, which costs the same and which ThreadSanitizer does not see.
        let _ = self.count.load(Ordering::Acquire);
        let Some(lines) = lines_of(self.len) else { return };
        if let Some(frame) = SPARES.put(lines, self.0) {
            // SAFETY: allocated with this layout by `allocate`; no count is left, so nobody looks at it (I1, I2).
            unsafe { release(lines, frame) };
        }
    }

    fn into_raw(self) -> *mut Frame {
        std::mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Frame {
    /// A frame with a copy of `bytes`.
    #[cfg(test)]
    pub fn copy_of(bytes: &[u8]) -> FrameRef {
        let mut builder = FrameBuilder::new(bytes.len()).expect("memory");
        builder.bytes_mut().copy_from_slice(bytes);
        builder.freeze()
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes follow the header in the same allocation, which `&self` keeps alive; they do
        // not change any more, or the builder is borrowed (I3).
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// A count of this frame, taken under a pin.
    #[inline]
    pub fn to_ref(&self, _guard: &Guard) -> FrameRef {
        if crate::base::planted!("frame-not-counted") {
            // SAFETY: as in `add_count`.
            return FrameRef(unsafe { self.data.sub(HEADER_LEN) }.cast());
        }
        self.add_count()
    }

    #[inline]
    fn add_count(&self) -> FrameRef {
        // Relaxed: a new count is made from one that is there, and handed on by whatever publishes it.
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        if before > usize::MAX / 2 {
            // Counts were leaked beyond all reason: half the address space of them. `Arc` ends the process here; this
            // panics, which the border answers as a code, and the count stays where it is.
            self.count.fetch_sub(1, Ordering::Relaxed);
            panic!("a frame has too many counts");
        }
        // SAFETY: the header lies right before the bytes, and `data` may be used for the whole allocation.
        let header = unsafe { self.data.sub(HEADER_LEN) };
        // A `&Frame` exists only while a count does: it was borrowed from a `FrameRef`, or loaded from a slot under a pin
        // (I2). The count taken above belongs to the returned value.
        FrameRef(header.cast())
    }

    /// Notes a use; writes only while the counter is below its end, so that a hot frame's line stays shared.
    #[inline]
    pub(super) fn note_use(&self) {
        // Relaxed, and no read-modify-write: a lost count only makes the frame look a little colder.
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < USES_MAX {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// How often it was used since the counter was set last.
    pub(super) fn uses(&self) -> u8 {
        // Relaxed: steers eviction only.
        self.uses.load(Ordering::Relaxed)
    }

    /// Sets the use counter.
    pub(super) fn set_uses(&self, uses: u8) {
        // Relaxed: steers eviction only.
        self.uses.store(uses, Ordering::Relaxed);
    }
}

/// Arrays from this size on have pages of their own.
const PAGES_MIN: usize = 16 << 10;

/// Slots, null at first.
struct Array {
    first: NonNull<AtomicPtr<Frame>>,
    len: usize,
    /// Where they lie, if not on the heap.
    pages: Option<Arena>,
}

// SAFETY: the array owns its memory, and all access to it is through atomics.
unsafe impl Send for Array {}
// SAFETY: see `Send`.
unsafe impl Sync for Array {}

impl Array {
    fn new(len: usize) -> Result<Array> {
        let layout = Array::layout(len)?;
        if layout.size() >= PAGES_MIN {
            let pages = Arena::plain(layout.size())?;
            // SAFETY: an arena has at least one page.
            let first = NonNull::new(unsafe { pages.at(0) });
            let first = first.ok_or_else(|| Array::refused(len))?.cast();
            return Ok(Array { first, len, pages: Some(pages) });
        }
        // SAFETY: the layout is never empty.
        let first = NonNull::new(unsafe { alloc_zeroed(layout) });
        let first = first.ok_or_else(|| Array::refused(len))?.cast();
        // Its atomics are objects of the model and not words: zeros are none of them.
        #[cfg(loom)]
        for at in 0..len {
            // SAFETY: `at` is in bounds, and the array is ours alone.
            unsafe { first.add(at).write(AtomicPtr::new(ptr::null_mut())) };
        }
        Ok(Array { first, len, pages: None })
    }

    fn layout(len: usize) -> Result<Layout> {
        Layout::array::<AtomicPtr<Frame>>(len.max(1)).map_err(|_| Array::refused(len))
    }

    #[cold]
    fn refused(len: usize) -> Error {
        Error::new(Code::NoMem, format!("no memory for {len} cache slots of a table"))
    }
}

impl Deref for Array {
    type Target = [AtomicPtr<Frame>];
    #[inline(always)]
    fn deref(&self) -> &[AtomicPtr<Frame>] {
        // SAFETY: `new` asked for `len` of them, aligned; zeros are null pointers. They live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        if self.pages.is_none()
            && let Ok(layout) = Array::layout(self.len)
        {
            // SAFETY: allocated by `new` with this layout; `&mut self` rules out users.
            unsafe { dealloc(self.first.as_ptr().cast(), layout) };
        }
    }
}

/// The frames of one open table, by block number.
pub struct Slots {
    /// Tells this array from every other of the process; spreads it over the shards.
    id: u64,
    frames: Array,
    /// How many slots are not null. Changed under shard locks only.
    resident: AtomicU32,
    /// Set once by `forget`; from then on nothing is put in.
    closed: AtomicBool,
    /// Where the array's own bytes are counted as long as it lives.
    fixed: Arc<AtomicUsize>,
}

#[cfg(not(loom))]
fn next_id() -> u64 {
    use crate::base::sync::AtomicU64;
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    // Relaxed: only uniqueness matters.
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A model has one array, and its atomics cannot be static.
#[cfg(loom)]
fn next_id() -> u64 {
    0
}

impl Slots {
    /// `count` empty slots, their bytes counted in `fixed`. `NoMem` when there is no memory for them.
    pub(super) fn new(count: u32, fixed: &Arc<AtomicUsize>) -> Result<Arc<Slots>> {
        let frames = Array::new(count as usize)?;
        // Relaxed, here and in `drop`: an account, read as a hint.
        fixed.fetch_add(size_of_val(&*frames), Ordering::Relaxed);
        Ok(Arc::new(Slots {
            id: next_id(),
            frames,
            resident: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            fixed: Arc::clone(fixed),
        }))
    }

    /// How many slots there are.
    pub fn len(&self) -> u32 {
        self.frames.len() as u32
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many slots hold a frame.
    pub fn resident(&self) -> u32 {
        // Relaxed: exact under the shard locks, a statistic otherwise.
        self.resident.load(Ordering::Relaxed)
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Takes no more frames from now on.
    pub(super) fn close(&self) {
        // Relaxed: every reader holds a shard lock that `forget` takes after this store, which orders the two.
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        // Relaxed: see `close`.
        self.closed.load(Ordering::Relaxed)
    }

    /// The frame in slot `index`, alive while the pin lasts; `None` for an empty slot or one past the end.
    #[inline]
    pub(super) fn load<'g>(&'g self, index: u32, _guard: &'g Guard) -> Option<&'g Frame> {
        // Acquire: pairs with the Release in `put`, so that the frame and its bytes are seen whole.
        let frame = self.frames.get(index as usize)?.load(Ordering::Acquire);
        // SAFETY: null or owned by the slot (I1) when it was loaded; if it was unlinked since, its count waits in
        // `Retired` for our pin to end (I2), and the array itself is borrowed for as long as the frame.
        unsafe { frame.as_ref() }
    }

    /// Asks for the first `lines` cache lines of the frame in slot `index`, header included; touches none of them.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: u32, lines: usize) {
        if let Some(slot) = self.frames.get(index as usize) {
            // Relaxed: nothing is read through it.
            let frame = slot.load(Ordering::Relaxed).cast::<u8>().cast_const();
            for line in 0..lines {
                prefetch(frame.wrapping_add(line * FRAME_ALIGN));
            }
        }
    }

    /// Puts `frame` into the empty slot `index`; false when it is not empty or past the end.
    pub(super) fn put(&self, index: u32, frame: &FrameRef) -> bool {
        let Some(slot) = self.frames.get(index as usize) else { return false };
        let count = frame.clone().into_raw();
        // Release: publishes the frame to the Acquire in `load`. Relaxed on failure: nothing is read through it.
        let order = if crate::base::planted!("frame-seen-unwritten") { Ordering::Relaxed } else { Ordering::Release };
        if slot.compare_exchange(ptr::null_mut(), count, order, Ordering::Relaxed).is_ok() {
            // Relaxed: under the shard lock.
            self.resident.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        drop(NonNull::new(count).map(FrameRef));
        false
    }

    /// Empties slot `index`; what it held goes to `victims`. False when it was empty.
    pub(super) fn unlink(&self, index: u32, charge: usize, victims: &mut Victims) -> bool {
        let Some(slot) = self.frames.get(index as usize) else { return false };
        // Acquire: the frame may be dropped here in the end; pairs with the Release in `put`.
        let frame = slot.swap(ptr::null_mut(), Ordering::Acquire);
        let Some(frame) = NonNull::new(frame) else { return false };
        // Relaxed: under the shard lock.
        self.resident.fetch_sub(1, Ordering::Relaxed);
        // The slot owned one count (I1), and the swap made it ours alone.
        victims.add(FrameRef(frame), charge);
        true
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if self.resident() > 0 {
            for slot in &*self.frames {
                // Relaxed: `&mut self` rules out readers (a frame loaded from a slot borrows the array), and whoever put
                // something in gave up its count of the array since. The slot owns one count (I1).
                drop(NonNull::new(slot.swap(ptr::null_mut(), Ordering::Relaxed)).map(FrameRef));
            }
        }
        self.fixed.fetch_sub(size_of_val(&*self.frames), Ordering::Relaxed);
    }
}

/// Frames of 4 KiB that wait in a shard.
const VICTIMS_USUAL: usize = super::VICTIM_BYTES_MAX / 4096;

/// Counts taken out of slots on their way to `Retired`. They belong there (I2): who drops this drops what readers may
/// look at, so everyone who takes it out of a shard hands it to `retire`, and the cache's drop does.
#[derive(Default)]
pub(super) struct Victims {
    frames: Vec<FrameRef>,
    bytes: usize,
}

impl Victims {
    fn add(&mut self, frame: FrameRef, charge: usize) {
        if crate::base::planted!("cache-freed-at-once") {
            return;
        }
        self.bytes += charge;
        if self.frames.is_empty() {
            // Blocks of the usual size: one allocation for all that wait.
            self.frames.reserve(VICTIMS_USUAL);
        }
        self.frames.push(frame);
    }

    /// Bytes charged for them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands them over. The reaper's list is locked: not under a shard's lock.
    pub(super) fn retire(self, retired: &Retired) {
        if !self.frames.is_empty() {
            retired.retire(Box::new(self.frames), self.bytes);
        }
    }
}
