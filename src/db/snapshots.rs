//! The list of live snapshots and the one lock that orders it with the visible sequence.
//!
//! Invariants
//! - I1  A snapshot reads the visible sequence and enters the list in one critical section; a job takes (visible, list)
//!   in one critical section. So a job either sees the snapshot or keeps everything above a sequence that is not above it.
//!
//! Threads: any. Failure: none.

use crate::base::ids::SeqNo;
use crate::base::sync::Mutex;
use crate::iter::retain::Retain;
use std::collections::BTreeMap;

/// Live snapshots, counted by sequence number.
#[derive(Default)]
pub struct SnapshotList {
    live: Mutex<BTreeMap<SeqNo, usize>>,
}

impl SnapshotList {
    /// Enters a snapshot of what `visible` answers now.
    pub fn acquire(&self, visible: impl FnOnce() -> SeqNo) -> SeqNo {
        let mut live = self.live.lock();
        let seq = visible();
        *live.entry(seq).or_insert(0) += 1;
        seq
    }

    /// Leaves the list.
    pub fn release(&self, seq: SeqNo) {
        let mut live = self.live.lock();
        if let Some(count) = live.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                live.remove(&seq);
            }
        }
    }

    /// What a job must keep.
    pub fn retain(&self, visible: impl FnOnce() -> SeqNo) -> Retain {
        let live = self.live.lock();
        Retain {
            visible: visible(),
            snapshots: live.keys().copied().filter(|_| !crate::base::planted!("retain-without-snapshots")).collect(),
        }
    }

    /// How many snapshots live.
    pub fn count(&self) -> usize {
        self.live.lock().values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_snapshots_are_counted() {
        let list = SnapshotList::default();
        assert_eq!(list.acquire(|| SeqNo(7)), SeqNo(7));
        list.acquire(|| SeqNo(7));
        list.acquire(|| SeqNo(9));
        list.release(SeqNo(7));
        assert_eq!(list.retain(|| SeqNo(12)).snapshots, vec![SeqNo(7), SeqNo(9)]);
        list.release(SeqNo(7));
        assert_eq!(list.retain(|| SeqNo(12)).snapshots, vec![SeqNo(9)]);
        assert_eq!(list.count(), 1);
    }
}
