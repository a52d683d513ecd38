//! One block of address space that its owner fills and never frees piecemeal: a memtable, the slots of a large table.
//!
//!     arena := plain pages | huge pages ... huge pages | plain pages
//!              >= 1 MiB                                  >= 1 MiB
//!
//! The block is a private anonymous mapping without swap reservation: address space costs nothing, memory comes page by
//! page as it is first stored to, and all of it goes back to the system when the arena is dropped. Both ends stay in
//! plain pages, since a memtable fills its arena from both ends and a hundred idle ones must not cost 2 MiB each; what
//! lies between is advised to be huge pages. A `plain` arena has none. Under Miri the block is an ordinary allocation.
//!
//! An owner that is done may leave its arena to an `ArenaPool`, which hands it to the next: its memory is there already,
//! and on a virtual machine a fresh huge page costs ten times what clearing it does.
//!
//! - I1  The block is zero where nothing was stored yet. One from a pool is zero but in the stretch that its last owner
//!   named when it gave it up.
//! - I2  It neither moves nor shrinks while the arena lives; offsets are in units of 8 bytes and fit a `u32`.
//!
//! Threads: the arena itself is immutable; who may touch which bytes is its user's business. Failure: `new` answers
//! `NoMem` and leaves nothing behind.
#![expect(unsafe_code, reason = "maps memory and hands out raw pointers into it")]

use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::error::{Code, Error, Result};
use std::ptr::NonNull;

/// Bytes per unit of an offset.
pub const ARENA_UNIT: usize = 8;
/// The largest arena: what `u32` offsets in units reach, less one page.
pub const ARENA_BYTES_MAX: usize = (u32::MAX as usize) * ARENA_UNIT / HUGE * HUGE;

const HUGE: usize = 2 << 20;
#[cfg(not(miri))]
const PLAIN: usize = 1 << 20;

/// A block of zeroed address space, given back as a whole.
pub struct Arena {
    base: NonNull<u8>,
    bytes: usize,
    #[cfg(not(miri))]
    map: NonNull<u8>,
    #[cfg(not(miri))]
    map_bytes: usize,
}

/// Arenas that a pool keeps: a flush that ends late and the next that ends early give up two between two that are asked
/// for.
const KEPT_MAX: usize = 2;

/// What a pool keeps.
#[derive(Default)]
struct Kept {
    /// All of one size; with the bytes of each that were stored to.
    arenas: Vec<(Arena, u64)>,
    /// Somebody asked for an arena since the pool was cleared.
    is_wanted: bool,
    /// Fewest kept since the last `trim`.
    low: usize,
}

/// Arenas that were given up, for the next owners of some of the same size. At most two, and none from `clear` until
/// somebody asks again: what is kept is memory.
#[derive(Default)]
pub struct ArenaPool {
    kept: Mutex<Kept>,
    /// Resident bytes of it. Relaxed: a figure.
    bytes: AtomicU64,
}

impl ArenaPool {
    /// An arena kept, if it has `bytes` bytes. What its last owner called dirty is not zero.
    pub fn take(&self, bytes: usize) -> Option<Arena> {
        let mut kept = self.kept.lock();
        kept.is_wanted = true;
        let found = kept.arenas.pop_if(|(arena, _)| arena.bytes() == bytes);
        kept.low = kept.low.min(kept.arenas.len());
        self.count(&kept);
        found.map(|(arena, _)| arena)
    }

    /// Keeps an arena of which `resident` bytes were stored to; those of another size go. All but its dirty stretch, which
    /// every user of the pool must know how to live with, is zero.
    pub fn put(&self, arena: Arena, resident: usize) {
        let mut gone = Vec::new();
        let mut kept = self.kept.lock();
        if kept.arenas.first().is_some_and(|(other, _)| other.bytes() != arena.bytes()) {
            gone.append(&mut kept.arenas);
        }
        if kept.is_wanted && kept.arenas.len() < KEPT_MAX {
            kept.arenas.push((arena, resident as u64));
        } else {
            gone.push((arena, 0));
        }
        self.count(&kept);
        drop(kept);
        drop(gone);
    }

    /// Gives back all but one that nobody needed since this was last called.
    pub fn trim(&self) {
        let mut kept = self.kept.lock();
        let len = kept.arenas.len() - kept.low.saturating_sub(1).min(kept.arenas.len());
        let gone = kept.arenas.split_off(len);
        kept.low = kept.arenas.len();
        self.count(&kept);
        drop(kept);
        drop(gone);
    }

    /// Gives back the memory of what is kept.
    pub fn clear(&self) {
        let mut kept = self.kept.lock();
        let before = std::mem::take(&mut *kept);
        self.count(&kept);
        drop(kept);
        drop(before);
    }

    fn count(&self, kept: &Kept) {
        self.bytes.store(kept.arenas.iter().map(|(_, resident)| resident).sum(), Ordering::Relaxed);
    }

    /// Bytes of memory kept.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

// SAFETY: the arena owns its block, and nothing in it is tied to a thread.
unsafe impl Send for Arena {}
// SAFETY: the methods only read immutable fields; access to the block goes through raw pointers of the caller's.
unsafe impl Sync for Arena {}

#[cold]
fn refused(bytes: usize) -> Error {
    Error::new(Code::NoMem, format!("{bytes} bytes of address space refused"))
}

#[cfg(not(miri))]
impl Arena {
    /// Address space for `bytes`, rounded up to whole pages.
    pub fn new(bytes: usize) -> Result<Arena> {
        // Room to start at a multiple of a huge page.
        let mut arena = Arena::map(bytes, HUGE)?;
        let skip = arena.map.as_ptr().align_offset(HUGE).min(HUGE);
        // SAFETY: `skip` <= HUGE and the mapping is HUGE longer than the arena.
        arena.base = unsafe { arena.map.add(skip) };
        arena.advise();
        Ok(arena)
    }

    /// The same, in plain pages only.
    pub fn plain(bytes: usize) -> Result<Arena> {
        Arena::map(bytes, 0)
    }

    /// No memory: what is left where an arena was taken away.
    pub fn none() -> Arena {
        Arena { base: NonNull::dangling(), bytes: 0, map: NonNull::dangling(), map_bytes: 0 }
    }

    fn map(bytes: usize, room: usize) -> Result<Arena> {
        if bytes > ARENA_BYTES_MAX {
            return Err(refused(bytes));
        }
        let bytes = bytes.max(1).next_multiple_of(4096);
        let map_bytes = bytes + room;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at a place of the kernel's choice touches no memory of ours.
        let map = unsafe { libc::mmap(std::ptr::null_mut(), map_bytes, protection, flags, -1, 0) };
        if map == libc::MAP_FAILED {
            return Err(refused(bytes));
        }
        let Some(map) = NonNull::new(map.cast::<u8>()) else {
            return Err(refused(bytes));
        };
        Ok(Arena { base: map, bytes, map, map_bytes })
    }

    /// Huge pages for the middle. Advice only: a refusal costs speed, nothing else.
    fn advise(&self) {
        let from = PLAIN.next_multiple_of(HUGE);
        let to = self.bytes.saturating_sub(PLAIN) / HUGE * HUGE;
        if from < to {
            // SAFETY: `from` < `to` <= bytes.
            let start = unsafe { self.base.add(from) };
            // SAFETY: the range lies in our own mapping; the advice changes page sizes, never contents.
            let _ = unsafe { libc::madvise(start.as_ptr().cast(), to - from, libc::MADV_HUGEPAGE) };
        }
    }
}

#[cfg(not(miri))]
impl Arena {
    /// Has the memory of these bytes made now. Their contents stay as they are; others may store there meanwhile. A kernel
    /// that cannot do it (before 5.14) leaves it to the first stores.
    pub fn populate(&self, from: usize, to: usize) {
        let (from, to) = (from / 4096 * 4096, to.min(self.bytes) / 4096 * 4096);
        if from < to {
            // SAFETY: `from` < `to` <= bytes.
            let start = unsafe { self.base.add(from) };
            // SAFETY: the range lies in our own mapping; populating makes pages, it changes no bytes.
            let _ = unsafe { libc::madvise(start.as_ptr().cast(), to - from, libc::MADV_POPULATE_WRITE) };
        }
    }
}

#[cfg(miri)]
impl Arena {
    /// The memory is there.
    pub fn populate(&self, _from: usize, _to: usize) {}
}

#[cfg(not(miri))]
impl Drop for Arena {
    fn drop(&mut self) {
        if self.map_bytes == 0 {
            return;
        }
        // SAFETY: exactly the mapping that `new` made; `&mut self` rules out users of the block.
        let _ = unsafe { libc::munmap(self.map.as_ptr().cast(), self.map_bytes) };
    }
}

#[cfg(miri)]
impl Arena {
    fn layout(bytes: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(bytes, 4096).unwrap_or(std::alloc::Layout::new::<u64>())
    }

    /// Zeroed memory of `bytes`, rounded up to whole pages.
    pub fn new(bytes: usize) -> Result<Arena> {
        if bytes > ARENA_BYTES_MAX {
            return Err(refused(bytes));
        }
        let bytes = bytes.max(1).next_multiple_of(4096);
        // SAFETY: the layout is not of size zero.
        let base = unsafe { std::alloc::alloc_zeroed(Arena::layout(bytes)) };
        NonNull::new(base).map(|base| Arena { base, bytes }).ok_or_else(|| refused(bytes))
    }

    /// The same.
    pub fn plain(bytes: usize) -> Result<Arena> {
        Arena::new(bytes)
    }

    /// No memory: what is left where an arena was taken away.
    pub fn none() -> Arena {
        Arena { base: NonNull::dangling(), bytes: 0 }
    }
}

#[cfg(miri)]
impl Drop for Arena {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: allocated by `new` with this layout; `&mut self` rules out users of the block.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), Arena::layout(self.bytes)) };
    }
}

impl Arena {
    /// Its size in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place `units` behind the start.
    ///
    /// # Safety
    /// `units` lies inside the arena.
    #[inline(always)]
    pub unsafe fn at(&self, units: u32) -> *mut u8 {
        debug_assert!((units as usize) * ARENA_UNIT < self.bytes);
        // SAFETY: inside the block by this function's contract.
        unsafe { self.base.as_ptr().add(units as usize * ARENA_UNIT) }
    }

    /// Asks for the cache line `skip` bytes behind `units`. Harmless for any place.
    #[inline(always)]
    pub fn prefetch(&self, units: u32, skip: usize) {
        prefetch(self.base.as_ptr().wrapping_add(units as usize * ARENA_UNIT + skip));
    }
}

/// Asks for the cache line of `place`, which need not be mapped.
#[inline(always)]
pub fn prefetch(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and changes nothing but caches; SSE is in the x86-64 baseline.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        // SAFETY: PRFM never faults and changes nothing but caches.
        unsafe { std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) place, options(nostack, preserves_flags, readonly)) };
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_and_writable_to_its_last_unit() {
        let arena = Arena::new(if cfg!(miri) { 64 << 10 } else { 9 << 20 }).expect("space");
        let last = (arena.bytes() / ARENA_UNIT - 1) as u32;
        for units in [0, 1, last / 2, last] {
            // SAFETY: inside the arena.
            let place = unsafe { arena.at(units) }.cast::<u64>();
            // SAFETY: eight bytes inside the arena, aligned to 8, nobody else uses them.
            assert_eq!(unsafe { place.read() }, 0);
            // SAFETY: as above.
            unsafe { place.write(u64::from(units) + 1) };
            // SAFETY: as above.
            assert_eq!(unsafe { place.read() }, u64::from(units) + 1);
        }
    }

    #[test]
    fn a_pool_keeps_two_arenas_for_owners_of_the_same_size() {
        let pool = ArenaPool::default();
        let arena = |bytes| Arena::new(bytes).expect("space");
        assert!(pool.take(64 << 10).is_none());
        pool.put(arena(32 << 10), 8);
        pool.put(arena(64 << 10), 16);
        assert_eq!(pool.bytes(), 16);
        assert!(pool.take(32 << 10).is_none(), "the later size took its place");
        pool.put(arena(64 << 10), 32);
        pool.put(arena(64 << 10), 64);
        assert_eq!(pool.bytes(), 48, "the third went");
        let first = pool.take(64 << 10).expect("kept");
        assert_eq!((first.bytes(), pool.bytes()), (64 << 10, 16));
        let second = pool.take(64 << 10).expect("kept");
        assert!(pool.take(64 << 10).is_none() && pool.bytes() == 0);
        pool.put(first, 24);
        pool.put(second, 24);
        pool.clear();
        pool.put(arena(64 << 10), 24);
        assert_eq!(pool.bytes(), 0, "nobody asked since");
        assert!(pool.take(64 << 10).is_none());
        drop(Arena::none());
    }

    #[test]
    fn a_pool_is_trimmed_of_what_nobody_needed() {
        let pool = ArenaPool::default();
        let arena = || Arena::new(64 << 10).expect("space");
        assert!(pool.take(64 << 10).is_none());
        pool.put(arena(), 1);
        pool.put(arena(), 1);
        pool.trim();
        assert_eq!(pool.bytes(), 2, "one was made and taken since");
        let taken = pool.take(64 << 10).expect("kept");
        pool.put(taken, 1);
        pool.trim();
        assert_eq!(pool.bytes(), 2, "both were in use for a while");
        pool.trim();
        assert_eq!(pool.bytes(), 1, "one was not");
        pool.trim();
        assert_eq!(pool.bytes(), 1, "the last stays until the pool is cleared");
    }

    #[test]
    fn too_large_is_refused_as_no_memory() {
        assert_eq!(Arena::new(ARENA_BYTES_MAX + 1).err().map(|e| e.code()), Some(Code::NoMem));
    }

    #[cfg(not(miri))]
    #[test]
    fn idle_arenas_cost_address_space_only() {
        fn resident_kib() -> usize {
            let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
            status.split(' ').nth(1).and_then(|s| s.parse::<usize>().ok()).unwrap_or(0) * 4
        }
        let before = resident_kib();
        let arenas: Vec<Arena> = (0..50).map(|_| Arena::new(256 << 20).expect("space")).collect();
        for arena in &arenas {
            for units in [0, (arena.bytes() / ARENA_UNIT - 1) as u32] {
                // SAFETY: inside the arena.
                let byte = unsafe { arena.at(units) };
                // SAFETY: mapped, and nobody else uses it.
                unsafe { byte.write(1) };
            }
        }
        // Two pages each; other tests of the process may allocate meanwhile, so the bound is loose: 50 huge pages
        // would be 100 MiB.
        assert!(resident_kib().saturating_sub(before) < 60 << 10);
    }
}
