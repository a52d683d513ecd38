//! The tables of one level and the search for a key among them: it runs once per level in every get.
//!
//! Every key of a level lies between the first table's smallest and the last one's largest and so shares their common
//! prefix. That is kept once; behind it the next eight bytes of every table's smallest and largest key stand in two arrays
//! of words ("fences"), searched without branches. A whole key is compared only where its word ties with a fence.
//!
//! Invariants
//! - I1  Level 0: newest first, by largest sequence number, then by number. Others: by key, disjoint, no user key in two.
//! - I2  Above level 0 fences ascend; they order like the keys but for ties.
//!
//! Threads: immutable.

use super::meta::TableHandle;
use crate::base::key::{common_prefix_len, prefix_u64};
use std::ops::Range;
use std::sync::Arc;

/// The tables of one level. Level 0: newest first, ranges may overlap. Others: by key, disjoint.
#[derive(Default)]
pub struct LevelFiles {
    files: Vec<Arc<TableHandle>>,
    /// Words of the largest keys behind the prefix, and of the smallest, in the order of the tables.
    largest: Box<[u64]>,
    smallest: Box<[u64]>,
    prefix: Prefix,
    bytes: u64,
    is_sorted: bool,
}

/// What all keys of a level begin with, laid out for a comparison in two words.
#[derive(Default)]
struct Prefix {
    bytes: Box<[u8]>,
    /// The first eight bytes as a word, zero-padded, and which of its bits count.
    head: u64,
    head_mask: u64,
    /// The last eight bytes as a word, when there are as many.
    tail: u64,
}

impl Prefix {
    fn new(bytes: &[u8]) -> Prefix {
        let head_mask = if bytes.is_empty() { 0 } else { u64::MAX << (64 - 8 * bytes.len().min(8)) };
        let tail = bytes.last_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
        Prefix { bytes: bytes.into(), head: prefix_u64(bytes), head_mask, tail }
    }

    /// The eight bytes of `key` behind the prefix as a word, zero-padded; `None` if it does not begin with it.
    #[inline]
    fn strip(&self, key: &[u8]) -> Option<u64> {
        let len = self.bytes.len();
        let Some(first) = key.first_chunk::<8>() else {
            return key.strip_prefix(&*self.bytes).map(prefix_u64);
        };
        let first = u64::from_be_bytes(*first);
        if (first ^ self.head) & self.head_mask != 0 || key.len() < len {
            return None;
        }
        if len > 8 {
            let last = key[..len].last_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
            if last != self.tail || (len > 16 && key[8..len - 8] != self.bytes[8..len - 8]) {
                return None;
            }
        }
        match key[len..].first_chunk::<8>() {
            Some(word) => Some(u64::from_be_bytes(*word)),
            None => {
                // The last eight bytes of the key, those of the prefix shifted out.
                let word = key.last_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
                Some(word.checked_shl(64 - 8 * (key.len() - len) as u32).unwrap_or(0))
            }
        }
    }
}

/// How a key stands to the level's common prefix.
enum Place {
    Before,
    Within(u64),
    Behind,
}

impl LevelFiles {
    /// Orders `files` as level 0 wants them.
    pub(super) fn new_overlapping(mut files: Vec<Arc<TableHandle>>) -> LevelFiles {
        files.sort_by(|a, b| {
            let key = |f: &TableHandle| (f.meta().summary.largest_seq, f.meta().number);
            if crate::base::planted!("level0-oldest-first") { key(a).cmp(&key(b)) } else { key(b).cmp(&key(a)) }
        });
        let low = files.iter().map(|f| smallest_key(f)).min().unwrap_or_default();
        let high = files.iter().map(|f| largest_key(f)).max().unwrap_or_default();
        let prefix = Prefix::new(&low[..common_prefix_len(low, high)]);
        LevelFiles::with_fences(files, prefix, false)
    }

    fn with_fences(files: Vec<Arc<TableHandle>>, prefix: Prefix, is_sorted: bool) -> LevelFiles {
        let words =
            |key: fn(&TableHandle) -> &[u8]| files.iter().map(|f| prefix_u64(&key(f)[prefix.bytes.len()..])).collect();
        let (largest, smallest) = (words(largest_key), words(smallest_key));
        let bytes = sum_bytes(&files);
        LevelFiles { files, largest, smallest, prefix, bytes, is_sorted }
    }

    /// Orders `files` by key. Two that share a key: says which.
    pub(super) fn new_sorted(mut files: Vec<Arc<TableHandle>>) -> Result<LevelFiles, String> {
        files.sort_by(|a, b| a.meta().summary.smallest.cmp(&b.meta().summary.smallest));
        for pair in files.windows(2) {
            let (a, b) = (pair[0].meta(), pair[1].meta());
            if a.summary.largest >= b.summary.smallest {
                return Err(format!("tables {} and {} overlap", a.number, b.number));
            }
        }
        let prefix = match (files.first(), files.last()) {
            (Some(first), Some(last)) => {
                let (low, high) = (smallest_key(first), largest_key(last));
                Prefix::new(&low[..common_prefix_len(low, high)])
            }
            _ => Prefix::default(),
        };
        Ok(LevelFiles::with_fences(files, prefix, true))
    }

    /// The tables.
    #[inline]
    pub fn files(&self) -> &[Arc<TableHandle>] {
        &self.files
    }

    /// Sum of their sizes.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// In a level above 0: the index of the first table whose largest key is `>= key`.
    #[inline]
    pub fn find(&self, key: &[u8]) -> usize {
        debug_assert!(self.is_sorted || self.files.is_empty());
        match self.place(key) {
            Place::Before => 0,
            Place::Behind => self.files.len(),
            Place::Within(word) => {
                let at = lower_bound(&self.largest, word);
                if self.largest.get(at) == Some(&word) { self.find_tied(at, word, key) } else { at }
            }
        }
    }

    /// In a level above 0: the one table whose key range holds `key`, if there is one.
    #[inline]
    pub fn find_holder(&self, key: &[u8]) -> Option<&Arc<TableHandle>> {
        debug_assert!(self.is_sorted || self.files.is_empty());
        let Place::Within(word) = self.place(key) else { return None };
        let mut at = lower_bound(&self.largest, word);
        if self.largest.get(at) == Some(&word) {
            at = self.find_tied(at, word, key);
        }
        let low = *self.smallest.get(at)?;
        let file = &self.files[at];
        if low < word || (low == word && smallest_key(file) <= key) { Some(file) } else { None }
    }

    /// In any level: the tables that may hold `key` as far as their fences tell, in order. Touches no table: a fence that
    /// ties with the key's word lets the table pass, which then answers for itself.
    #[inline]
    pub fn candidates(&self, key: &[u8]) -> impl Iterator<Item = &Arc<TableHandle>> {
        let (word, from) = match if self.files.is_empty() { Place::Before } else { self.place(key) } {
            Place::Within(word) => (word, 0),
            Place::Before | Place::Behind => (0, self.files.len()),
        };
        let fences = self.smallest[from..].iter().zip(&self.largest[from..]);
        fences.zip(&self.files[from..]).filter(move |&((&low, &high), _)| low <= word && word <= high).map(|(_, f)| f)
    }

    /// In a level above 0: the tables that may hold a key in `[from, to]` (`None`: unbounded).
    pub fn overlapping(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Range<usize> {
        debug_assert!(self.is_sorted || self.files.is_empty());
        let start = from.map_or(0, |key| self.find(key));
        let end = to.map_or(self.files.len(), |key| self.files.partition_point(|f| smallest_key(f) <= key));
        start..end.max(start)
    }

    #[inline]
    fn place(&self, key: &[u8]) -> Place {
        match self.prefix.strip(key) {
            Some(word) => Place::Within(word),
            // A key that is itself a proper prefix of the prefix sorts before it, as it should.
            None if *key < *self.prefix.bytes => Place::Before,
            None => Place::Behind,
        }
    }

    /// The fences from `at` on tie with the key's word: whole keys decide.
    #[cold]
    fn find_tied(&self, at: usize, word: u64, key: &[u8]) -> usize {
        let ties = self.largest[at..].partition_point(|&w| w == word);
        at + self.files[at..at + ties].partition_point(|f| largest_key(f) < key)
    }
}

fn largest_key(file: &TableHandle) -> &[u8] {
    &file.meta().summary.largest
}

fn smallest_key(file: &TableHandle) -> &[u8] {
    &file.meta().summary.smallest
}

fn sum_bytes(files: &[Arc<TableHandle>]) -> u64 {
    files.iter().fold(0, |sum, f| sum.saturating_add(f.meta().summary.size))
}

/// How many of the ascending `words` are below `word`. Four ways a step: the three loads do not wait for each other, so
/// that a step costs about what one of a binary search costs (500 words: 13 ns against 19, each waiting for the last). The only branches are the
/// loop's, which depend on the length alone.
#[inline]
fn lower_bound(words: &[u64], word: u64) -> usize {
    let (mut base, mut len) = (0, words.len());
    while len > 8 {
        let quarter = len / 4;
        let rest = &words[base..base + len];
        let is_below = |at: usize| usize::from(rest[at - 1] < word);
        base += (is_below(quarter) + is_below(2 * quarter) + is_below(3 * quarter)) * quarter;
        // What is undecided now is at most this, wherever the word fell, and ends at or before the old end.
        len -= 3 * quarter;
    }
    base + words[base..base + len].iter().map(|&w| usize::from(w < word)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{FileNumber, SeqNo};
    use crate::sstable::TableSummary;
    use crate::version::FileMeta;

    fn table(number: u64, smallest: &[u8], largest: &[u8], seq: u64) -> Arc<TableHandle> {
        let summary = TableSummary {
            size: 10,
            entries: 1,
            smallest: smallest.to_vec(),
            largest: largest.to_vec(),
            largest_seq: SeqNo(seq),
            ..TableSummary::default()
        };
        TableHandle::new(FileMeta { number: FileNumber(number), summary }, None)
    }

    fn check_against_plain_search(bounds: &[(Vec<u8>, Vec<u8>)], probes: &[Vec<u8>]) {
        let files: Vec<_> = bounds.iter().enumerate().map(|(i, (a, b))| table(i as u64 + 1, a, b, 1)).collect();
        let level = LevelFiles::new_sorted(files).expect("disjoint");
        for key in probes {
            let plain = bounds.iter().take_while(|(_, b)| b < key).count();
            assert_eq!(level.find(key), plain, "{key:?}");
            let holder = bounds.iter().position(|(a, b)| a <= key && key <= b);
            assert_eq!(level.find_holder(key).map(|f| f.meta().number.0 as usize - 1), holder, "{key:?}");
            if let Some(holder) = holder {
                let mut found = level.candidates(key).map(|f| f.meta().number.0 as usize - 1);
                assert!(found.any(|at| at == holder), "{key:?}");
            }
            for to in probes {
                let range = level.overlapping(Some(key), Some(to));
                let plain: Vec<usize> =
                    (0..bounds.len()).filter(|&i| bounds[i].1 >= *key && bounds[i].0 <= *to).collect();
                if key <= to {
                    assert_eq!(range.collect::<Vec<_>>(), plain, "{key:?} {to:?}");
                }
            }
        }
    }

    #[test]
    fn search_agrees_with_a_plain_scan() {
        // Keys over a tiny alphabet make ties, proper prefixes and zero bytes the rule.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for round in 0..60 {
            let prefix: Vec<u8> = (0..draw(5) * 5).map(|i| b'p' + (i % 2) as u8).collect();
            let mut keys: Vec<Vec<u8>> = (0..draw(60) + 2)
                .map(|_| {
                    let mut key = prefix.clone();
                    key.extend((0..draw(14)).map(|_| draw(2) as u8 * (round % 3) as u8));
                    key
                })
                .collect();
            keys.sort();
            keys.dedup();
            let bounds: Vec<_> = keys.chunks_exact(2).map(|p| (p[0].clone(), p[1].clone())).collect();
            let mut probes = keys.clone();
            for key in keys.iter().take(20) {
                probes.push([key.as_slice(), &[0]].concat());
                probes.push(key[..key.len() / 2].to_vec());
                probes.push([key.as_slice(), &[0xff]].concat());
            }
            check_against_plain_search(&bounds, &probes);
        }
    }

    #[test]
    fn an_empty_level_holds_nothing() {
        let level = LevelFiles::new_sorted(Vec::new()).expect("empty");
        assert_eq!(level.find(b"x"), 0);
        assert!(level.find_holder(b"x").is_none());
        assert_eq!(level.overlapping(None, None), 0..0);
    }

    #[test]
    fn tables_that_share_one_key_are_refused() {
        let files = vec![table(1, b"a", b"c", 1), table(2, b"c", b"d", 1)];
        assert!(LevelFiles::new_sorted(files).is_err());
    }

    #[test]
    fn level_zero_is_newest_first() {
        let level = LevelFiles::new_overlapping(vec![
            table(4, b"a", b"z", 5),
            table(9, b"a", b"z", 7),
            table(5, b"a", b"z", 5),
        ]);
        let order: Vec<u64> = level.files().iter().map(|f| f.meta().number.0).collect();
        assert_eq!(order, [9, 5, 4]);
        assert_eq!(level.candidates(b"b").count(), 3);
        assert_eq!(level.candidates(b"zz").count() + level.candidates(b"A").count(), 0);
        assert_eq!(level.bytes(), 30);
    }

    #[test]
    #[ignore = "a measurement, for --release --nocapture"]
    fn time_find() {
        let bounds: Vec<_> =
            (0..500u64).map(|i| (format!("user{:012}", i * 1000), format!("user{:012}", i * 1000 + 900))).collect();
        let files =
            bounds.iter().enumerate().map(|(i, (a, b))| table(i as u64 + 1, a.as_bytes(), b.as_bytes(), 1)).collect();
        let level = LevelFiles::new_sorted(files).expect("disjoint");
        let keys: Vec<String> =
            (0..4096u64).map(|i| format!("user{:012}", i.wrapping_mul(0x9e37_79b9) % 500_000)).collect();
        let mut best = f64::MAX;
        let mut at = 0;
        for _ in 0..2000 {
            let start = crate::base::clock::now();
            for key in &keys[..256] {
                let file = level.find_holder(std::hint::black_box(key.as_bytes()));
                at += file.map_or(0, |f| Arc::as_ptr(f) as usize & 1);
            }
            best = best.min(start.elapsed().as_nanos() as f64 / 256.0);
        }
        let line = format!("find_holder over 500 tables: {best:.1} ns ({at})\n");
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("stderr");
    }
}
