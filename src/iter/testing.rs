//! Runs in memory for tests: a cursor over a vector, random runs, and a walk that compares a cursor with a list.

use crate::base::ids::SeqNo;
use crate::base::iter::{Cursor, View};
use crate::base::key::{Entry, EntryKind};
use crate::error::Result;
use std::sync::Arc;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// An entry that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: Vec<u8>,
    pub(crate) seq: SeqNo,
    pub(crate) kind: EntryKind,
    pub(crate) value: Vec<u8>,
}

impl Item {
    pub(crate) fn of(entry: Entry<'_>) -> Item {
        Item { key: entry.key.to_vec(), seq: entry.seq, kind: entry.kind, value: entry.value.to_vec() }
    }
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry { key: &self.key, seq: self.seq, kind: self.kind, value: &self.value }
    }
}

/// A sorted run: keys ascending, sequence numbers descending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run(pub(crate) Vec<Item>);

/// Key number `n` in one of several styles: short binary, decimal behind a long prefix, nested prefixes, random bytes.
pub(crate) fn test_key(style: u64, n: u64) -> Vec<u8> {
    match style % 5 {
        0 => format!("user{n:012}").into_bytes(),
        1 => n.to_be_bytes()[5..].to_vec(),
        2 => vec![b'a'; n as usize % 40],
        3 => format!("/a/long/shared/path/{}/{n}", n % 3).into_bytes(),
        _ => {
            // Bytes at both ends of their range, so that codes of 0 and of all ones are met.
            let bits = Random(n).next();
            (0..n % 20).map(|i| if bits >> i & 1 == 1 { 0xff } else { 0 }).collect()
        }
    }
}

impl Run {
    /// A run of the given versions, put in order.
    pub(crate) fn new(mut items: Vec<Item>) -> Run {
        items.sort_by(|a, b| a.key.cmp(&b.key).then(b.seq.cmp(&a.seq)));
        items.dedup_by(|a, b| a.key == b.key && a.seq == b.seq);
        Run(items)
    }

    /// `count` random versions of about `keys` keys, with sequence numbers above `seq_base`.
    pub(crate) fn random(seed: u64, count: u64, keys: u64, seq_base: u64) -> Run {
        let mut random = Random(seed);
        let style = random.next();
        let items = (1..=count).map(|i| {
            let kind = if random.below(4) == 0 { EntryKind::Delete } else { EntryKind::Put };
            let value = if kind == EntryKind::Put { format!("v{}", seq_base + i).into_bytes() } else { Vec::new() };
            Item { key: test_key(style, random.below(keys)), seq: SeqNo(seq_base + i), kind, value }
        });
        Run::new(items.collect())
    }

    pub(crate) fn largest(&self) -> &[u8] {
        self.0.last().map_or(&[], |item| &item.key)
    }

    /// What a cursor with `view` shows of it.
    pub(crate) fn shown(&self, view: View) -> Vec<Item> {
        let View::Newest(bound) = view else { return self.0.clone() };
        let mut shown: Vec<Item> = Vec::new();
        for item in self.0.iter().filter(|item| item.seq <= bound) {
            if shown.last().is_none_or(|last| last.key != item.key) {
                shown.push(item.clone());
            }
        }
        shown
    }

    /// Cuts it into `pieces` runs, never within a key; some may be empty.
    pub(crate) fn cut(&self, pieces: usize) -> Vec<Arc<Run>> {
        let mut runs: Vec<Run> = vec![Run::default()];
        for item in &self.0 {
            let wanted = runs.len() * self.0.len() / pieces;
            let before: usize = runs.iter().map(|run| run.0.len()).sum();
            let last = &runs[runs.len() - 1];
            if before >= wanted.max(1) && last.largest() != item.key && runs.len() < pieces {
                runs.push(Run::default());
            }
            let at = runs.len() - 1;
            runs[at].0.push(item.clone());
        }
        runs.into_iter().map(Arc::new).collect()
    }

    /// All entries of `runs` as one run.
    pub(crate) fn join(runs: &[Arc<Run>]) -> Run {
        Run::new(runs.iter().flat_map(|run| run.0.iter().cloned()).collect())
    }
}

/// A cursor over what a view shows of a run.
pub(crate) struct VecCursor {
    shown: Vec<Item>,
    at: usize,
}

impl VecCursor {
    pub(crate) fn new(run: &Run, view: View) -> VecCursor {
        VecCursor { shown: run.shown(view), at: usize::MAX }
    }
    fn before(&mut self, index: usize) {
        self.at = index.checked_sub(1).unwrap_or(usize::MAX);
    }
}

impl Cursor for VecCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.at = 0;
        Ok(())
    }
    fn seek_last(&mut self) -> Result<()> {
        self.before(self.shown.len());
        Ok(())
    }
    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        self.at = self.shown.partition_point(|item| item.key.as_slice() < key);
        Ok(())
    }
    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        self.before(self.shown.partition_point(|item| item.key.as_slice() < key));
        Ok(())
    }
    #[inline]
    fn next(&mut self) -> Result<()> {
        assert!(self.valid());
        self.at += 1;
        Ok(())
    }
    #[inline]
    fn prev(&mut self) -> Result<()> {
        assert!(self.valid());
        self.before(self.at);
        Ok(())
    }
    #[inline]
    fn valid(&self) -> bool {
        self.at < self.shown.len()
    }
    #[inline]
    fn entry(&self) -> Entry<'_> {
        self.shown[self.at].entry()
    }
}

/// Drives `cursor` by random seeks and steps and compares it with `model`, which is what it shows.
pub(crate) fn walk_matches_model<C: Cursor>(cursor: &mut C, model: &[Item], view: View, seed: u64) {
    let mut random = Random(seed);
    let forward_only = view == View::All;
    let mut at: Option<usize> = None;
    for step in 0..400 {
        let choice = if at.is_none() { random.below(4) } else { random.below(24) };
        let key = match (model.is_empty(), random.below(4)) {
            (true, _) | (_, 0) => test_key(random.next(), random.below(50)),
            (_, 1) => {
                let mut key = model[random.below(model.len() as u64) as usize].key.clone();
                key.push(0);
                key
            }
            _ => model[random.below(model.len() as u64) as usize].key.clone(),
        };
        let first_ge = model.partition_point(|item| item.key < key);
        let (at_next, done) = match choice {
            0 => (Some(0), cursor.seek_first()),
            1 if !forward_only => (model.len().checked_sub(1), cursor.seek_last()),
            2 if !forward_only => (first_ge.checked_sub(1), cursor.seek_lt(&key)),
            1..=3 => (Some(first_ge), cursor.seek_ge(&key)),
            // Runs of steps one way, so that galloping is met as well as turning.
            step_choice if forward_only || step_choice > 14 || (step_choice > 12 && step % 64 > 40) => {
                (at.map(|i| i + 1), cursor.next())
            }
            _ => (at.and_then(|i| i.checked_sub(1)), cursor.prev()),
        };
        done.expect("a vector does not fail");
        at = at_next.filter(|&i| i < model.len());
        assert_eq!(cursor.valid(), at.is_some(), "step {step} of seed {seed}, choice {choice}");
        if let Some(i) = at {
            assert_eq!(Item::of(cursor.entry()), model[i], "step {step} of seed {seed}, choice {choice}");
        }
    }
    let mut all = Vec::new();
    cursor.seek_first().expect("a vector does not fail");
    while cursor.valid() {
        all.push(Item::of(cursor.entry()));
        cursor.next().expect("a vector does not fail");
    }
    assert_eq!(all, model, "seed {seed}");
    if !forward_only {
        all.clear();
        cursor.seek_last().expect("a vector does not fail");
        while cursor.valid() {
            all.push(Item::of(cursor.entry()));
            cursor.prev().expect("a vector does not fail");
        }
        all.reverse();
        assert_eq!(all, model, "seed {seed} backwards");
    }
}
