//! The face of the engine's `base/arena.rs`: the arrays of models are small and lie on the heap.

use crate::error::{Code, Error, Result};

pub struct Arena(());

impl Arena {
    pub fn plain(bytes: usize) -> Result<Arena> {
        Err(Error::new(Code::NoMem, format!("no pages for {bytes} bytes in a model")))
    }

    /// # Safety
    /// There is no arena to call it with.
    pub unsafe fn at(&self, _units: u32) -> *mut u8 {
        std::ptr::null_mut()
    }
}

pub fn prefetch(_place: *const u8) {}
