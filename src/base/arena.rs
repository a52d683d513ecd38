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

/// What a pool keeps.
#[derive(Default)]
struct Kept {
    arena: Option<Arena>,
    /// Somebody asked for an arena since the pool was cleared.
    is_wanted: bool,
}

/// An arena that was given up, for the next owner of one of the same size. At most one, and none from `clear` until
/// somebody asks again: what is kept is memory.
#[derive(Default)]
pub struct ArenaPool {
    kept: Mutex<Kept>,
    /// Resident bytes of it. Relaxed: a figure.
    bytes: AtomicU64,
}

impl ArenaPool {
    /// The arena kept, if it has `bytes` bytes. What its last owner called dirty is not zero.
    pub fn take(&self, bytes: usize) -> Option<Arena> {
        let mut kept = self.kept.lock();
        kept.is_wanted = true;
        if kept.arena.as_ref().is_none_or(|arena| arena.bytes() != bytes) {
            return None;
        }
        self.bytes.store(0, Ordering::Relaxed);
        kept.arena.take()
    }

    /// Keeps an arena of which `resident` bytes were stored to, in place of the one before. All but its dirty stretch,
    /// which every user of the pool must know how to live with, is zero.
    pub fn put(&self, arena: Arena, resident: usize) {
        let before = {
            let mut kept = self.kept.lock();
            if kept.is_wanted {
                self.bytes.store(resident as u64, Ordering::Relaxed);
                kept.arena.replace(arena)
            } else {
                Some(arena)
            }
        };
        drop(before);
    }

    /// Gives back the memory of what is kept.
    pub fn clear(&self) {
        let before = {
            let mut kept = self.kept.lock();
            self.bytes.store(0, Ordering::Relaxed);
            kept.is_wanted = false;
            kept.arena.take()
        };
        drop(before);
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
    fn a_pool_keeps_one_arena_for_an_owner_of_the_same_size() {
        let pool = ArenaPool::default();
        assert!(pool.take(64 << 10).is_none());
        pool.put(Arena::new(32 << 10).expect("space"), 8);
        pool.put(Arena::new(64 << 10).expect("space"), 16);
        assert_eq!(pool.bytes(), 16);
        assert!(pool.take(32 << 10).is_none(), "the later one took its place");
        let arena = pool.take(64 << 10).expect("kept");
        assert_eq!((arena.bytes(), pool.bytes()), (64 << 10, 0));
        pool.put(arena, 24);
        pool.clear();
        pool.put(Arena::new(64 << 10).expect("space"), 24);
        assert_eq!(pool.bytes(), 0, "nobody asked since");
        assert!(pool.take(64 << 10).is_none());
        drop(Arena::none());
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
