//! A slot that always holds one `Arc<T>` and is read under a pin without touching its count: the view of a keyspace.
//!
//! - I1  The slot owns one count of what it points to; `replace` gives that count to `Retired`, which drops it only after
//!   every guard that was pinned at that moment is gone.
//!
//! Threads: everything may be called from any thread; dropping the slot needs `&mut`, so no reader is left then.
#![expect(unsafe_code, reason = "turns epoch-protected raw pointers into references and counts")]

use super::epoch::{Guard, Retired};
use super::sync::{Arc, AtomicPtr, Ordering};

/// A slot that holds an `Arc<T>`.
pub struct ArcCell<T: Send + Sync + 'static> {
    /// Owns one count. Stored by `new` and `replace`.
    ptr: AtomicPtr<T>,
    /// An `AtomicPtr` is `Send` and `Sync` for any `T`; the bounds above make that right.
    _value: std::marker::PhantomData<Arc<T>>,
}

impl<T: Send + Sync + 'static> ArcCell<T> {
    /// A slot holding `value`.
    pub fn new(value: Arc<T>) -> ArcCell<T> {
        ArcCell { ptr: AtomicPtr::new(Arc::into_raw(value).cast_mut()), _value: std::marker::PhantomData }
    }

    /// The value, alive as long as the pin (and the slot: its drop frees the last value at once).
    #[inline]
    pub fn load<'g>(&'g self, _guard: &'g Guard) -> &'g T {
        // Acquire: pairs with the AcqRel swap in `replace`, so that the pointee is seen whole.
        let ptr = self.ptr.load(Ordering::Acquire);
        // SAFETY: the slot owns one count of what it points to. `replace` gives that count to `Retired`, which drops it
        // only after every guard that was pinned at the swap is gone (I1); the slot's own drop needs it unborrowed.
        unsafe { &*ptr }
    }

    /// A count of the value.
    #[inline]
    pub fn get(&self, _guard: &Guard) -> Arc<T> {
        // Acquire: as in `load`.
        let ptr = self.ptr.load(Ordering::Acquire);
        // SAFETY: as in `load`, the pointee's count is at least one while the guard pins and the slot is borrowed.
        unsafe { Arc::increment_strong_count(ptr) };
        // SAFETY: the count taken above belongs to the returned Arc.
        unsafe { Arc::from_raw(ptr) }
    }

    /// Puts `value` into the slot; what was there is retired.
    pub fn replace(&self, value: Arc<T>, retired: &Retired, bytes: usize) {
        // AcqRel: publishes the new pointee to `load` and takes over the old one; pairs with its Acquire and with
        // the swap before this one.
        let old = self.ptr.swap(Arc::into_raw(value).cast_mut(), Ordering::AcqRel);
        // SAFETY: the slot's own count of the old value now belongs to this Arc.
        let old = unsafe { Arc::from_raw(old) };
        if crate::base::planted!("view-freed-at-once") {
            return;
        }
        retired.retire(Box::new(old), bytes);
    }
}

impl<T: Send + Sync + 'static> Drop for ArcCell<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self` rules out readers, and the slot owns one count.
        drop(unsafe { Arc::from_raw(*self.ptr.get_mut()) });
    }
}
