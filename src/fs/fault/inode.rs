//! One file on the simulated disk: what a reader sees, what is on the device, and every change in between.
//!
//! Between two syncs every page (4 KiB) keeps the list of writes that it got. Write-back may have happened after any of
//! them, so at a crash each page, or with torn sectors each 512 bytes, is found after any prefix of its writes,
//! independently of the others. The size is found after any prefix of its changes.
//!
//! Invariants
//! - I1  For every page without pending writes that is not `lost`, live and durable bytes are the same (bytes behind the
//!   end count as zeros).
//! - I2  A page never has bytes from before a truncation whose size change was kept.
//! - I3  A page in `lost` is clean although the device does not have it: a failed sync left it so. Only a new write to it
//!   makes the kernel write it again, and then the whole page.
//!
//! Threads: none of its own. Failure: none.

use super::{DirModel, Keep, Rng};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes that a device writes whole.
pub const SECTOR: usize = 512;

/// A write within one page.
#[derive(Clone)]
struct PageWrite {
    op: u64,
    start: usize,
    bytes: Vec<u8>,
    /// Zeros that a truncation left: cannot be undone while the truncation is kept.
    cut: bool,
}

/// A file.
#[derive(Clone, Default)]
pub struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: BTreeMap<usize, Vec<PageWrite>>,
    /// Pending sizes, oldest first.
    sizes: Vec<(u64, usize)>,
    /// Size changes up to this operation are durable.
    size_op: u64,
    lost: BTreeSet<usize>,
    /// Open handles and mappings.
    pub open: usize,
}

impl Inode {
    /// A file whose bytes are all on the device.
    pub fn durable(bytes: Vec<u8>) -> Inode {
        Inode { live: bytes.clone(), durable: bytes, ..Inode::default() }
    }

    /// What a reader sees.
    pub fn live(&self) -> &[u8] {
        &self.live
    }

    /// Pages with bytes that no sync has covered, lost ones included.
    pub fn dirty_pages(&self) -> usize {
        self.pending.len() + self.lost.len()
    }

    fn page_bytes(bytes: &[u8], page: usize) -> &[u8] {
        let start = (page * PAGE).min(bytes.len());
        &bytes[start..(start + PAGE).min(bytes.len())]
    }

    /// Notes that `live[start..end]` changed in operation `op`.
    fn touched(&mut self, op: u64, start: usize, end: usize, cut: bool) {
        for page in start / PAGE..end.div_ceil(PAGE) {
            let base = page * PAGE;
            // I3: a lost page is written whole.
            let (from, to) =
                if self.lost.remove(&page) { (base, base + PAGE) } else { (start.max(base), end.min(base + PAGE)) };
            let mut bytes = vec![0; to - from];
            let have = self.live.len().min(to);
            if from < have {
                bytes[..have - from].copy_from_slice(&self.live[from..have]);
            }
            self.pending.entry(page).or_default().push(PageWrite { op, start: from - base, bytes, cut });
        }
    }

    fn resize(&mut self, op: u64, len: usize) {
        if len != self.live.len() {
            self.live.resize(len, 0);
            self.sizes.push((op, len));
        }
    }

    /// Writes, growing the file if needed.
    pub fn write(&mut self, op: u64, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.live.len() {
            self.resize(op, end);
        }
        self.live[offset..end].copy_from_slice(bytes);
        self.touched(op, offset, end, false);
    }

    /// Cuts or extends.
    pub fn set_len(&mut self, op: u64, len: usize) {
        let old = self.live.len();
        self.resize(op, len);
        if len < old {
            self.touched(op, len, old, true);
        }
    }

    /// Makes everything durable that is not lost.
    pub fn sync(&mut self, op: u64) {
        let pages: Vec<usize> = self.pending.keys().copied().collect();
        self.sync_size(op);
        for page in pages {
            self.sync_page(page);
        }
    }

    /// Makes a range durable, and the size.
    pub fn sync_range(&mut self, op: u64, start: usize, end: usize) {
        self.sync_size(op);
        for page in start / PAGE..end.div_ceil(PAGE) {
            if self.pending.contains_key(&page) {
                self.sync_page(page);
            }
        }
    }

    fn sync_size(&mut self, op: u64) {
        self.durable.resize(self.live.len(), 0);
        self.sizes.clear();
        self.size_op = op;
    }

    fn sync_page(&mut self, page: usize) {
        self.pending.remove(&page);
        let start = page * PAGE;
        let live = Inode::page_bytes(&self.live, page);
        if !live.is_empty() {
            self.durable[start..start + live.len()].copy_from_slice(live);
        }
    }

    /// A sync of `start..end` fails: each of its pending pages reached the device or did not, and is clean all the same.
    pub fn fail_sync(&mut self, op: u64, start: usize, end: usize, rng: &mut Rng) {
        let pages: Vec<usize> = self.pending.range(start / PAGE..end.div_ceil(PAGE)).map(|(&page, _)| page).collect();
        self.sync_size(op);
        for page in pages {
            if rng.below(2) == 0 {
                self.sync_page(page);
                continue;
            }
            // Truncated bytes do not come back with the size.
            let cuts = self.pending.remove(&page).unwrap_or_default();
            for write in cuts.iter().filter(|w| w.cut) {
                put(&mut self.durable, page * PAGE + write.start, &write.bytes);
            }
            if page * PAGE < self.live.len() {
                self.lost.insert(page);
            }
        }
    }

    /// The kernel drops its clean pages: lost ones are read from the device again.
    pub fn evict(&mut self) {
        for page in std::mem::take(&mut self.lost) {
            let start = page * PAGE;
            let end = (start + PAGE).min(self.live.len());
            for at in start..end {
                self.live[at] = self.durable.get(at).copied().unwrap_or(0);
            }
        }
    }

    /// The bytes that a power cut leaves.
    pub fn after_crash(&self, keep: Keep, torn: bool, model: DirModel, rng: &mut Rng) -> Vec<u8> {
        let percent = keep.percent(rng);
        let kept_sizes = match keep {
            Keep::All => self.sizes.len(),
            Keep::None => 0,
            Keep::Some => rng.version(self.sizes.len(), percent),
        };
        let (size_op, len) = match kept_sizes {
            0 => (self.size_op, self.durable.len()),
            n => self.sizes[n - 1],
        };
        let mut out = self.durable.clone();
        out.resize(out.len().max(len), 0);
        let unit = if torn { SECTOR } else { PAGE };
        for (&page, writes) in &self.pending {
            for first in (page * PAGE..(page + 1) * PAGE).step_by(unit) {
                let ordered = model == DirModel::Ordered && first + unit > self.durable.len();
                let forced = writes.iter().rposition(|w| w.op <= size_op && (w.cut || ordered)).map_or(0, |at| at + 1);
                let kept = match keep {
                    Keep::All => writes.len(),
                    Keep::None => forced,
                    Keep::Some => rng.version(writes.len(), percent).max(forced),
                };
                for write in &writes[..kept] {
                    put_clipped(&mut out, page * PAGE + write.start, &write.bytes, first, first + unit);
                }
            }
        }
        out.truncate(len);
        out.resize(len, 0);
        out
    }
}

/// Overwrites, as far as `out` goes.
fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    put_clipped(out, at, bytes, 0, usize::MAX);
}

fn put_clipped(out: &mut [u8], at: usize, bytes: &[u8], first: usize, end: usize) {
    let from = at.max(first);
    let to = (at + bytes.len()).min(end).min(out.len());
    if from < to {
        out[from..to].copy_from_slice(&bytes[from - at..to - at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(inode: &Inode, keep: Keep, torn: bool, model: DirModel, seed: u64) -> Vec<u8> {
        inode.after_crash(keep, torn, model, &mut Rng::new(seed))
    }

    #[test]
    fn unsynced_writes_may_be_lost_and_synced_ones_not() {
        let mut inode = Inode::default();
        inode.write(1, 0, &[1; 8192]);
        inode.sync(2);
        inode.write(3, 0, &[2; 8192]);
        assert_eq!(crash(&inode, Keep::None, false, DirModel::Strict, 0), [1; 8192]);
        assert_eq!(crash(&inode, Keep::All, false, DirModel::Strict, 0), [2; 8192]);
        let mixed = (0..200).map(|seed| crash(&inode, Keep::Some, false, DirModel::Strict, seed));
        let mut seen: Vec<(u8, u8)> = Vec::new();
        for bytes in mixed {
            assert!(bytes[..PAGE].iter().all(|&b| b == bytes[0]), "pages are whole");
            seen.push((bytes[0], bytes[PAGE]));
        }
        for want in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            assert!(seen.contains(&want), "{want:?}");
        }
        let torn = (0..200).any(|seed| {
            let bytes = crash(&inode, Keep::Some, true, DirModel::Strict, seed);
            bytes[0] != bytes[SECTOR] && bytes[..SECTOR].iter().all(|&b| b == bytes[0])
        });
        assert!(torn, "a page can be torn at a sector");
    }

    #[test]
    fn a_page_may_stop_between_two_of_its_writes() {
        let mut inode = Inode::durable(vec![0; PAGE]);
        inode.write(1, 0, &[1; 10]);
        inode.write(2, 10, &[2; 10]);
        let images: BTreeSet<(u8, u8)> = (0..300)
            .map(|seed| crash(&inode, Keep::Some, true, DirModel::Ordered, seed))
            .map(|bytes| (bytes[0], bytes[10]))
            .collect();
        assert_eq!(images.into_iter().collect::<Vec<_>>(), [(0, 0), (1, 0), (1, 2)], "in order within a sector");
    }

    #[test]
    fn a_size_without_its_data_reads_zeros_only_in_the_strict_model() {
        let mut inode = Inode::default();
        inode.write(1, 0, &[1; 100]);
        for seed in 0..200 {
            let bytes = crash(&inode, Keep::Some, true, DirModel::Ordered, seed);
            assert!(bytes.is_empty() || bytes == [1; 100]);
        }
        assert!((0..200).any(|seed| crash(&inode, Keep::Some, true, DirModel::Strict, seed) == [0; 100]));
    }

    #[test]
    fn cut_bytes_never_come_back() {
        let mut inode = Inode::durable(vec![7; 3 * PAGE]);
        inode.set_len(1, 100);
        inode.set_len(2, 2 * PAGE);
        inode.write(3, PAGE, b"new");
        let mut lens = BTreeSet::new();
        for seed in 0..300 {
            let bytes = crash(&inode, Keep::Some, true, DirModel::Strict, seed);
            lens.insert(bytes.len());
            if bytes.len() <= 2 * PAGE {
                assert!(bytes[..100] == [7; 100] && !bytes[100..].contains(&7), "seed {seed}");
            }
        }
        assert_eq!(lens.into_iter().collect::<Vec<_>>(), [100, 2 * PAGE, 3 * PAGE]);
        inode.sync_range(4, PAGE, PAGE + 1);
        let bytes = crash(&inode, Keep::None, false, DirModel::Strict, 0);
        assert_eq!((bytes.len(), &bytes[PAGE..PAGE + 4]), (2 * PAGE, b"new\0".as_ref()));
        assert!(bytes[..100] == [7; 100] && !bytes[100..].contains(&7), "the cut is as durable as the size");
    }

    #[test]
    fn a_failed_sync_loses_pages_that_a_second_one_does_not_bring_back() {
        let mut lost_some = false;
        for seed in 0..20 {
            let mut inode = Inode::durable(vec![0; 8 * PAGE]);
            inode.write(1, 0, &[1; 8 * PAGE]);
            inode.fail_sync(2, 0, 8 * PAGE, &mut Rng::new(seed));
            assert_eq!(inode.live(), [1; 8 * PAGE], "a reader sees the pages still");
            inode.sync(3);
            let disk = crash(&inode, Keep::All, false, DirModel::Ordered, 0);
            let lost: Vec<usize> = (0..8).filter(|page| disk[page * PAGE] == 0).collect();
            lost_some |= !lost.is_empty() && lost.len() < 8;
            if let Some(&page) = lost.first() {
                inode.write(4, page * PAGE + 5, &[9]);
                let whole = |disk: Vec<u8>| disk[page * PAGE..page * PAGE + 7] == [1, 1, 1, 1, 1, 9, 1];
                assert!(whole(crash(&inode, Keep::All, false, DirModel::Ordered, 0)), "the page is written whole");
                inode.sync(5);
                assert!(whole(crash(&inode, Keep::None, false, DirModel::Ordered, 0)));
            }
            let before = inode.dirty_pages();
            inode.evict();
            assert_eq!(inode.dirty_pages(), 0);
            if before > 0 {
                assert!(inode.live().contains(&0), "a reader sees the loss once the kernel forgets the page");
            }
        }
        assert!(lost_some);
    }
}
