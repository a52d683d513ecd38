//! `Arc`, as far as the engine's slots use it. loom's own takes for granted that a count is made from a count; here it is
//! what a model is to show. The memory of a value, a few words, is not given back at all.

use loom::sync::atomic::{AtomicUsize, Ordering};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

/// The value first: a pointer to it is one to the whole.
#[repr(C)]
struct Inner<T> {
    value: ManuallyDrop<T>,
    count: AtomicUsize,
}

pub struct Arc<T>(NonNull<Inner<T>>, PhantomData<T>);

// SAFETY: as for the standard library's.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: as for the standard library's.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

impl<T: 'static> Arc<T> {
    pub fn new(value: T) -> Arc<T> {
        let inner = Box::new(Inner { value: ManuallyDrop::new(value), count: AtomicUsize::new(1) });
        Arc(NonNull::from(Box::leak(inner)), PhantomData)
    }

    pub fn into_raw(this: Arc<T>) -> *const T {
        ManuallyDrop::new(this).0.as_ptr().cast()
    }

    /// # Safety
    /// `value` is from `into_raw`, and one of its counts becomes this value's.
    pub unsafe fn from_raw(value: *const T) -> Arc<T> {
        Arc(NonNull::new(value.cast_mut()).expect("not null").cast(), PhantomData)
    }

    /// # Safety
    /// `value` is from `into_raw`.
    pub unsafe fn increment_strong_count(value: *const T) {
        // SAFETY: no memory goes.
        let inner = unsafe { &*value.cast::<Inner<T>>() };
        // Relaxed, as the standard library's.
        let before = inner.count.fetch_add(1, Ordering::Relaxed);
        assert!(before > 0, "a count of what is freed");
    }
}

impl<T: 'static> Clone for Arc<T> {
    fn clone(&self) -> Arc<T> {
        // SAFETY: it is a pointer of `into_raw`.
        unsafe { Arc::increment_strong_count(self.0.as_ptr().cast::<T>()) };
        Arc(self.0, PhantomData)
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: no memory goes; whether the value may be looked at is its `Life`'s to say.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        // SAFETY: as in `deref`.
        let inner = unsafe { self.0.as_ref() };
        // Release and Acquire, as the standard library's.
        let before = inner.count.fetch_sub(1, Ordering::Release);
        assert!(before > 0, "a count that is given back twice");
        if before == 1 {
            loom::sync::atomic::fence(Ordering::Acquire);
            // SAFETY: the last count is gone.
            unsafe { ManuallyDrop::drop(&mut self.0.as_mut().value) };
        }
    }
}
