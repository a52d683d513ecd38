//! A slot that holds one `Arc<T>` or nothing and is read under a pin without touching its count: `ArcCell` with a null.
//!
//! - I1  The slot owns one count of what it points to; whoever unlinks a value gives that count to `Retired`, which drops
//!   it only after every guard that was pinned at that moment is gone.
//!
//! Threads: everything may be called from any thread; dropping the slot needs `&mut`, so no reader is left then.
#![expect(unsafe_code, reason = "turns epoch-protected raw pointers into references and counts")]

use super::epoch::{Guard, Retired};
use super::sync::{Arc, AtomicPtr, Ordering};
use std::ptr;

/// A slot that may hold an `Arc<T>`.
pub struct ArcSlot<T: Send + Sync + 'static> {
    ptr: AtomicPtr<T>,
}

impl<T: Send + Sync + 'static> Default for ArcSlot<T> {
    fn default() -> Self {
        ArcSlot::empty()
    }
}

impl<T: Send + Sync + 'static> ArcSlot<T> {
    /// A slot that holds nothing.
    pub fn empty() -> ArcSlot<T> {
        ArcSlot { ptr: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The value, alive as long as the pin.
    #[inline]
    pub fn load<'g>(&'g self, _guard: &'g Guard) -> Option<&'g T> {
        // Acquire: pairs with the AcqRel swap in `swap`, so that the pointee is seen whole.
        let ptr = self.ptr.load(Ordering::Acquire);
        // SAFETY: null, or a pointee that lives at least as long as the guard (I1).
        unsafe { ptr.as_ref() }
    }

    /// A count of the value.
    #[inline]
    pub fn get(&self, _guard: &Guard) -> Option<Arc<T>> {
        // Acquire: as in `load`.
        let ptr = self.ptr.load(Ordering::Acquire);
        if ptr.is_null() {
            return None;
        }
        // SAFETY: not null, made by `Arc::into_raw`, and its count is at least one while the guard pins (I1).
        unsafe { Arc::increment_strong_count(ptr) };
        // SAFETY: the count taken above belongs to the returned Arc.
        Some(unsafe { Arc::from_raw(ptr) })
    }

    /// Whether it holds nothing now.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Relaxed: a hint, nothing is read through it.
        self.ptr.load(Ordering::Relaxed).is_null()
    }

    /// Puts `value` into the slot; what was there, of about `bytes`, is retired.
    pub fn set(&self, value: Arc<T>, retired: &Retired, bytes: usize) {
        self.swap(Arc::into_raw(value).cast_mut(), retired, bytes);
    }

    /// Empties the slot; what was there is retired. Whether there was something.
    pub fn take(&self, retired: &Retired, bytes: usize) -> bool {
        self.swap(ptr::null_mut(), retired, bytes)
    }

    fn swap(&self, new: *mut T, retired: &Retired, bytes: usize) -> bool {
        // AcqRel: publishes the new pointee to `load` and `get`; pairs with their Acquire.
        let old = self.ptr.swap(new, Ordering::AcqRel);
        if old.is_null() {
            return false;
        }
        // SAFETY: the slot's own count of the old value now belongs to this Arc, and nobody else got it: swap is atomic.
        let old = unsafe { Arc::from_raw(old) };
        retired.retire(Box::new(old), bytes);
        true
    }
}

impl<T: Send + Sync + 'static> Drop for ArcSlot<T> {
    fn drop(&mut self) {
        let ptr = *self.ptr.get_mut();
        if !ptr.is_null() {
            // SAFETY: `&mut self` rules out readers (their references borrow the slot), and the slot owns one count.
            drop(unsafe { Arc::from_raw(ptr) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::epoch::pin;

    #[test]
    fn an_empty_slot_answers_nothing_and_a_taken_value_outlives_its_pins() {
        let retired = Retired::new();
        let slot = ArcSlot::empty();
        assert!(slot.is_empty() && slot.load(&pin()).is_none() && slot.get(&pin()).is_none());
        assert!(!slot.take(&retired, 8));

        let value = Arc::new(7u64);
        slot.set(Arc::clone(&value), &retired, 8);
        let guard = pin();
        let seen = slot.load(&guard).expect("set");
        assert!(slot.take(&retired, 8));
        retired.run_once();
        assert_eq!(*seen, 7);
        assert_eq!(Arc::strong_count(&value), 2, "still held while pinned");
        drop(guard);
        for _ in 0..1000 {
            retired.run_once();
            if Arc::strong_count(&value) == 1 {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn dropping_the_slot_drops_its_count() {
        let value = Arc::new(7u64);
        let slot = ArcSlot::empty();
        slot.set(Arc::clone(&value), &Retired::new(), 8);
        assert_eq!(slot.get(&pin()).map(|v| *v), Some(7));
        drop(slot);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
