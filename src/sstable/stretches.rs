//! Which stretches of a table file the kernel was asked to read whole.
//!
//! A database that fits into memory is slow after a start only until its files are in the page cache. A miss that asks
//! for the 128 KiB around it, as the kernel itself does for mapped files, gets there in a thirtieth of the requests. Who
//! reads says whether it is worth it (`ReadMode::read_around`); here every stretch is asked for once in the life of an
//! open table, so that at worst the file is read once for nothing, and pages that are there cost a microsecond a stretch.
//!
//! Threads: any; of several that come to a stretch at once, one asks. Failure: none, it is a hint.

use super::format::Handle;
use crate::base::sync::{AtomicU64, Ordering};
use crate::fs::File;

/// Bytes of a stretch: what the kernel reads at once where nobody told it otherwise.
const STRETCH_BYTES: u64 = 128 << 10;

/// A bit for each stretch of a file.
pub(super) struct Stretches {
    /// Relaxed everywhere: who asks is all that is decided.
    asked: Box<[AtomicU64]>,
    file_bytes: u64,
}

impl Stretches {
    /// None of a file of so many bytes was asked for.
    pub(super) fn new(file_bytes: u64) -> Stretches {
        let words = file_bytes.div_ceil(STRETCH_BYTES).div_ceil(64);
        Stretches { asked: (0..words).map(|_| AtomicU64::new(0)).collect(), file_bytes }
    }

    /// Asks for the stretches around a block that is about to be read, but for those that were asked for before.
    pub(super) fn ask_around(&self, file: &dyn File, block: Handle) {
        if u64::from(block.len) >= STRETCH_BYTES || block.len == 0 {
            return;
        }
        for stretch in block.offset / STRETCH_BYTES..=(block.end() - 1) / STRETCH_BYTES {
            let Some(word) = self.asked.get((stretch / 64) as usize) else { return };
            let bit = 1 << (stretch % 64);
            // The load first: in the steady state the line stays shared between processors.
            if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                let at = stretch * STRETCH_BYTES;
                file.prefetch(at, STRETCH_BYTES.min(self.file_bytes.saturating_sub(at)));
            }
        }
    }
}
