//! The ghost queue of S3-FIFO: fingerprints of frames that were evicted from the small queue not long ago.
//!
//! A table of four-way buckets; a cell is `fingerprint: u32 | time: u32` (time 0 = never used), where time counts the
//! evictions. A fingerprint is remembered while its age is at most `span`, the number of frames the shard holds, which
//! makes it a queue of that length without a queue. A wrong or a lost memory costs one placement, never correctness.
//!
//! Threads: behind the shard's lock. Failure: none; it grows by forgetting.

const WAYS: usize = 4;

/// Which keys were evicted from the small queue lately.
pub(super) struct Ghost {
    /// Power of two of cells, or empty before the first eviction.
    cells: Vec<u64>,
    now: u32,
}

impl Ghost {
    pub(super) fn new() -> Ghost {
        Ghost { cells: Vec::new(), now: 0 }
    }

    fn bucket(&self, hash: u64) -> usize {
        // The upper half is the fingerprint, the lower half picks the bucket.
        ((hash as usize) & (self.cells.len() - 1)) & !(WAYS - 1)
    }

    /// Remembers `hash`; `span` is the number of frames in the shard.
    pub(super) fn add(&mut self, hash: u64, span: usize) {
        let wanted = (span + span / 2).next_power_of_two().max(16);
        if self.cells.len() < wanted {
            self.cells = vec![0; wanted];
        }
        self.now = self.now.wrapping_add(1).max(1);
        let (start, now) = (self.bucket(hash), self.now);
        let fingerprint = (hash >> 32) as u32;
        let ways = &mut self.cells[start..start + WAYS];
        let age = |cell: u64| if cell as u32 == 0 { u32::MAX } else { now.wrapping_sub(cell as u32) };
        let mut victim = 0;
        for way in 0..WAYS {
            if (ways[way] >> 32) as u32 == fingerprint {
                victim = way;
                break;
            }
            if age(ways[way]) > age(ways[victim]) {
                victim = way;
            }
        }
        ways[victim] = u64::from(fingerprint) << 32 | u64::from(now);
    }

    /// Whether `hash` was among the last `span` evictions; forgets it.
    pub(super) fn take(&mut self, hash: u64, span: usize) -> bool {
        if self.cells.is_empty() {
            return false;
        }
        let (start, now) = (self.bucket(hash), self.now);
        let fingerprint = (hash >> 32) as u32;
        for cell in &mut self.cells[start..start + WAYS] {
            let time = *cell as u32;
            if time != 0 && (*cell >> 32) as u32 == fingerprint {
                *cell = 0;
                return now.wrapping_sub(time) as usize <= span;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::mix;

    #[test]
    fn remembers_the_last_span_evictions_and_little_more() {
        let mut ghost = Ghost::new();
        for key in 0..10_000u64 {
            ghost.add(mix(1, key as u32), 1000);
        }
        let recent = (9_000..10_000u32).filter(|&k| ghost.take(mix(1, k), 1000)).count();
        assert!(recent > 850, "{recent} of 1000 remembered");
        let old = (0..8_999u32).filter(|&k| ghost.take(mix(1, k), 1000)).count();
        assert!(old < 5, "{old} remembered beyond the span");
        assert!(!ghost.take(mix(1, 9_999), 1000), "a memory is taken once");
    }
}
