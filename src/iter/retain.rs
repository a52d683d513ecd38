//! Which versions of a key must live: pure.
//!
//! A reader asks as of a *boundary*: one of the snapshots, or any moment from `visible` on. A version lives if it is
//! above `visible`, or the newest at or below some boundary. A delete that answers the oldest boundary hides nothing
//! but versions that no boundary shows, so it goes too where nothing older lies below the output.
//!
//! Invariants
//! - I1  For every boundary the newest kept version is the newest fed one, or both are "no such key".
//! - I2  Among the versions of a key the first one fed is kept if any is.

use crate::base::ids::SeqNo;
use crate::base::key::EntryKind;

/// What readers may still ask for, taken in one critical section with the snapshot list.
#[derive(Clone, Debug, Default)]
pub struct Retain {
    /// The last visible sequence number; everything above it is kept.
    pub visible: SeqNo,
    /// The snapshots, ascending.
    pub snapshots: Vec<SeqNo>,
}

/// Decides version by version; fed in `View::All` order.
pub struct RetainFilter {
    /// Ascending and distinct; the last one is `visible`.
    boundaries: Vec<SeqNo>,
    /// The boundaries from here on have their version of the current key.
    served: usize,
    /// The last version fed of the current key.
    seq: SeqNo,
    key: Vec<u8>,
    started: bool,
}

impl Retain {
    /// A filter at the start of a run.
    pub fn filter(&self) -> RetainFilter {
        let mut boundaries: Vec<SeqNo> = self.snapshots.iter().copied().filter(|&s| s < self.visible).collect();
        boundaries.sort_unstable();
        boundaries.dedup();
        boundaries.push(self.visible);
        RetainFilter { served: boundaries.len(), boundaries, seq: SeqNo::MAX, key: Vec::new(), started: false }
    }
}

impl RetainFilter {
    /// Whether the version must be written. `at_bottom`: no older version of this key exists below the output, so that
    /// a delete that no snapshot tells apart has nothing left to hide.
    pub fn keep(&mut self, key: &[u8], seq: SeqNo, kind: EntryKind, at_bottom: bool) -> bool {
        let is_new_key = !self.started || self.key != key;
        if is_new_key {
            self.started = true;
            self.key.clear();
            self.key.extend_from_slice(key);
        }
        self.keep_known(is_new_key, seq, kind, at_bottom)
    }

    /// `keep` for a caller that knows whether the key differs from the one before.
    #[inline]
    pub fn keep_known(&mut self, is_new_key: bool, seq: SeqNo, kind: EntryKind, at_bottom: bool) -> bool {
        if is_new_key {
            self.served = self.boundaries.len();
        } else {
            debug_assert!(seq <= self.seq, "versions come newest first");
            if seq == self.seq {
                return false; // the same version twice
            }
        }
        self.seq = seq;
        let visible = self.boundaries[self.boundaries.len() - 1];
        if seq > visible {
            return true;
        }
        // With no snapshots, by far the most common case, the one boundary is index 0.
        let oldest_served = if self.boundaries.len() == 1 {
            0
        } else {
            self.boundaries.partition_point(|&boundary| {
                boundary < seq || (boundary == seq && crate::base::planted!("retain-bound-off-by-one"))
            })
        };
        if oldest_served >= self.served {
            return false;
        }
        self.served = oldest_served;
        !(oldest_served == 0 && at_bottom && kind == EntryKind::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader at `at` sees among `versions` (newest first) of one key.
    fn get(versions: &[(u64, EntryKind)], at: u64) -> Option<u64> {
        let newest = versions.iter().find(|(seq, _)| *seq <= at)?;
        (newest.1 == EntryKind::Put).then_some(newest.0)
    }

    fn filtered(versions: &[(u64, EntryKind)], retain: &Retain, at_bottom: bool) -> Vec<(u64, EntryKind)> {
        let mut filter = retain.filter();
        filter.keep(b"before", SeqNo(3), EntryKind::Put, false);
        let kept = versions.iter().copied().filter(|&(seq, kind)| filter.keep(b"key", SeqNo(seq), kind, at_bottom));
        kept.collect()
    }

    /// Every set of versions out of sequence numbers 1..=6 with every kind, every set of snapshots, every `visible`.
    #[test]
    fn no_reader_sees_a_difference() {
        const TOP: u64 = 6;
        for code in 0..3u32.pow(TOP as u32) {
            let digit = |seq: u64| code / 3u32.pow(seq as u32 - 1) % 3;
            let versions: Vec<(u64, EntryKind)> = (1..=TOP)
                .rev()
                .filter(|&seq| digit(seq) > 0)
                .map(|seq| (seq, if digit(seq) == 1 { EntryKind::Put } else { EntryKind::Delete }))
                .collect();
            for visible in 0..=TOP {
                for set in 0..1u32 << visible {
                    let snapshots: Vec<SeqNo> = (1..=visible).filter(|s| set >> (s - 1) & 1 == 1).map(SeqNo).collect();
                    let retain = Retain { visible: SeqNo(visible), snapshots: snapshots.clone() };
                    let readers: Vec<u64> = snapshots.iter().map(|s| s.0).chain(visible..=TOP + 1).collect();
                    check(&versions, &retain, &readers);
                }
            }
        }
    }

    fn check(versions: &[(u64, EntryKind)], retain: &Retain, readers: &[u64]) {
        for at_bottom in [false, true] {
            let kept = filtered(versions, retain, at_bottom);
            for &at in readers {
                let (want, got) = (get(versions, at), get(&kept, at));
                assert_eq!(want, got, "{versions:?} {retain:?} at {at} bottom {at_bottom}: {kept:?}");
                // Above the bottom a delete must go on hiding what lies below.
                let newest = |v: &[(u64, EntryKind)]| v.iter().find(|(seq, _)| *seq <= at).copied();
                assert!(at_bottom || newest(versions) == newest(&kept), "{versions:?} {retain:?}: {kept:?}");
            }
            // Nothing is kept for nobody.
            for &(seq, _) in &kept {
                let wanted = readers.iter().any(|&at| kept.iter().find(|(s, _)| *s <= at).is_some_and(|v| v.0 == seq));
                assert!(wanted, "{seq} of {versions:?} {retain:?}: {kept:?}");
            }
            let oldest = retain.snapshots.first().map_or(retain.visible, |&s| s).0;
            assert!(!at_bottom || !kept.iter().any(|v| v.0 <= oldest && v.1 == EntryKind::Delete));
            assert!(kept.is_empty() || at_bottom || kept.first() == versions.first());
        }
    }

    #[test]
    fn a_repeated_version_and_unordered_snapshots_do_no_harm() {
        let retain = Retain { visible: SeqNo(5), snapshots: vec![SeqNo(3), SeqNo(1), SeqNo(3), SeqNo(9)] };
        let mut filter = retain.filter();
        let mut keep = |seq| filter.keep(b"k", SeqNo(seq), EntryKind::Put, true);
        assert_eq!([8, 8, 4, 3, 2, 1, 1].map(&mut keep), [true, false, true, true, false, true, false]);
    }
}
