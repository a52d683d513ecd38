//! The face of the engine's `cache/spare.rs`, whose rings would be thirty thousand atomics: keeps what is freed until the
//! model ends, and notes that it was.

use super::slots::Frame;
use crate::base::life::Life;
use std::ptr::NonNull;
use std::sync::Mutex;

/// Frames of a model.
const FRAMES_MAX: usize = 3;

pub struct Spares {
    /// By the first byte of a frame.
    pub lives: [Life; FRAMES_MAX],
    kept: Mutex<Vec<Kept>>,
}

struct Kept(usize, NonNull<Frame>);

// SAFETY: an allocation that nobody uses any more.
unsafe impl Send for Kept {}

loom::lazy_static! {
    /// Those of the model that runs.
    pub static ref SPARES: Spares = Spares { lives: Default::default(), kept: Mutex::new(Vec::new()) };
}

impl Spares {
    pub fn take(&self, _lines: usize) -> Option<NonNull<Frame>> {
        None
    }

    pub fn put(&self, lines: usize, frame: NonNull<Frame>) -> Option<NonNull<Frame>> {
        // SAFETY: it is kept, so its bytes are there.
        let id = unsafe { frame.as_ref() }.bytes()[0];
        self.lives[usize::from(id)].end();
        self.kept.lock().unwrap().push(Kept(lines, frame));
        None
    }

    pub fn drain(&self, mut free: impl FnMut(usize, NonNull<Frame>)) {
        self.kept.lock().unwrap().drain(..).for_each(|Kept(lines, frame)| free(lines, frame));
    }
}
