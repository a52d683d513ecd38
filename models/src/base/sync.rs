//! The face of the engine's `base/sync.rs` over loom.
//!
//! loom takes an operation that is sequentially consistent for one that acquires and releases, but knows such fences: so
//! each of those operations stands between two of them here.

pub use super::arc::Arc;
pub use loom::sync::atomic::Ordering;
use loom::sync::atomic::fence;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

macro_rules! atomic {
    ($name:ident, $inner:ty) => {
        #[derive(Debug, Default)]
        pub struct $name(loom::sync::atomic::$name);

        impl $name {
            pub fn new(value: $inner) -> $name {
                $name(loom::sync::atomic::$name::new(value))
            }
            fn around<T>(order: Ordering, f: impl FnOnce() -> T) -> T {
                if order != Ordering::SeqCst {
                    return f();
                }
                fence(Ordering::SeqCst);
                let answer = f();
                fence(Ordering::SeqCst);
                answer
            }
            pub fn load(&self, order: Ordering) -> $inner {
                Self::around(order, || self.0.load(order))
            }
            pub fn store(&self, value: $inner, order: Ordering) {
                Self::around(order, || self.0.store(value, order));
            }
            pub fn fetch_add(&self, value: $inner, order: Ordering) -> $inner {
                Self::around(order, || self.0.fetch_add(value, order))
            }
            pub fn fetch_sub(&self, value: $inner, order: Ordering) -> $inner {
                Self::around(order, || self.0.fetch_sub(value, order))
            }
            pub fn fetch_or(&self, value: $inner, order: Ordering) -> $inner {
                Self::around(order, || self.0.fetch_or(value, order))
            }
            pub fn fetch_max(&self, value: $inner, order: Ordering) -> $inner {
                Self::around(order, || self.0.fetch_max(value, order))
            }
            pub fn fetch_min(&self, value: $inner, order: Ordering) -> $inner {
                Self::around(order, || self.0.fetch_min(value, order))
            }
            pub fn compare_exchange(
                &self,
                old: $inner,
                new: $inner,
                yes: Ordering,
                no: Ordering,
            ) -> Result<$inner, $inner> {
                Self::around(yes, || self.0.compare_exchange(old, new, yes, no))
            }
            pub fn compare_exchange_weak(
                &self,
                old: $inner,
                new: $inner,
                yes: Ordering,
                no: Ordering,
            ) -> Result<$inner, $inner> {
                self.compare_exchange(old, new, yes, no)
            }
        }
    };
}

atomic!(AtomicU8, u8);
atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);

#[derive(Debug)]
pub struct AtomicBool(loom::sync::atomic::AtomicBool);

/// No order that is sequentially consistent: nobody asks for one.
impl AtomicBool {
    pub fn new(value: bool) -> AtomicBool {
        AtomicBool(loom::sync::atomic::AtomicBool::new(value))
    }
    pub fn load(&self, order: Ordering) -> bool {
        assert!(order != Ordering::SeqCst);
        self.0.load(order)
    }
    pub fn store(&self, value: bool, order: Ordering) {
        assert!(order != Ordering::SeqCst);
        self.0.store(value, order);
    }
}

#[derive(Debug)]
pub struct AtomicPtr<T>(loom::sync::atomic::AtomicPtr<T>);

/// As `AtomicBool`.
impl<T> AtomicPtr<T> {
    pub fn new(value: *mut T) -> AtomicPtr<T> {
        AtomicPtr(loom::sync::atomic::AtomicPtr::new(value))
    }
    pub fn load(&self, order: Ordering) -> *mut T {
        assert!(order != Ordering::SeqCst);
        self.0.load(order)
    }
    pub fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        assert!(order != Ordering::SeqCst);
        self.0.swap(value, order)
    }
    pub fn compare_exchange(&self, old: *mut T, new: *mut T, yes: Ordering, no: Ordering) -> Result<*mut T, *mut T> {
        assert!(yes != Ordering::SeqCst && no != Ordering::SeqCst);
        self.0.compare_exchange(old, new, yes, no)
    }
    /// To be read; nobody writes through it.
    pub fn get_mut(&mut self) -> Box<*mut T> {
        Box::new(self.0.with_mut(|value| *value))
    }
}

pub struct Mutex<T>(loom::sync::Mutex<T>);

pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect("loom does not poison")))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_deref().expect("held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_deref_mut().expect("held")
    }
}

pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
    }
    /// No clock ends it: whoever sleeps must be woken.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _timeout: Duration) -> bool {
        let held = guard.0.take().expect("held");
        guard.0 = Some(self.0.wait(held).expect("loom does not poison"));
        false
    }
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
