//! The face of the engine's `base/epoch.rs`, and the least that keeps its promise: what was retired is dropped at a moment
//! at which nobody pins, so that every pin that could have seen it is over.
//!
//! The epoch proper is not modelled here: crossbeam's own loom models and Miri over `base::epoch` look at it. What the
//! models ask is whether those who rely on that promise may.

use super::planted;
use super::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::any::Any;

loom::lazy_static! {
    /// How many pins there are.
    static ref PINS: AtomicUsize = AtomicUsize::new(0);
}

pub struct Guard(());

pub fn pin() -> Guard {
    // Acquire: who pins after a reaper saw nobody sees what was unlinked before that.
    PINS.fetch_add(1, Ordering::Acquire);
    Guard(())
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Release: what was read under the pin comes before what a reaper drops.
        PINS.fetch_sub(1, Ordering::Release);
    }
}

type Objects = Vec<Box<dyn Any + Send>>;

pub struct Retired(Mutex<Objects>);

impl Retired {
    pub fn new() -> Retired {
        // Here, and not where two threads would do it.
        drop(pin());
        Retired(Mutex::new(Vec::new()))
    }

    pub fn retire(&self, object: Box<dyn Any + Send>, _bytes: usize) {
        self.0.lock().push(object);
    }

    /// How many objects were dropped.
    pub fn run_once(&self) -> usize {
        let objects = std::mem::take(&mut *self.0.lock());
        if objects.is_empty() {
            return 0;
        }
        // Read and written, so that it stands in one order with all pins: either this sees a pin, or the pin what is done.
        let is_free = PINS.fetch_add(0, Ordering::AcqRel) == 0 || planted!("epoch-not-awaited");
        if !is_free {
            self.0.lock().extend(objects);
            return 0;
        }
        objects.len()
    }

    pub fn pending(&self) -> usize {
        self.0.lock().len()
    }
}
