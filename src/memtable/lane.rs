//! The fence lane: how a search finds its leaf without walking the list.
//!
//!     top   := array of fences, each leading to a chunk
//!     chunk := array of about 256 fences, each leading to a leaf
//!
//! A fence is a key node; what it leads to holds keys above that node's key. The first fence of the first chunk is none.
//!
//! - I1  The lane is a hint. A fence stays a border between leaves for ever, so a lane made long ago leads to a leaf at or
//!   before the right one; from there replacements and `next` lead on (the B-link rule).
//! - I2  Inserts change nothing here but the word that leads to a replaced leaf. A chunk is rebuilt when one leaf in six
//!   below it is new; the top is rebuilt, and chunks that grew are cut, when one chunk in eight grew by its own size.
//!   Each step is short: nothing ever walks all leaves. Old arrays stay in the arena (their sizes add up to a geometric
//!   series, see `store` I3).
//! - I3  One thread at a time rebuilds (`building`, only ever tried); the others go on with what there is. Only that
//!   thread stores to `top` and to a top's `to` words, and it does not touch a top that was replaced.
//! - I4  Prefixes are taken behind `strip` bytes. In a chunk between two fences these are shared by both fences and so by
//!   every key that can be searched for there. In the first and last chunk and in the top they are shared by the fences
//!   only, and `checked` makes a search compare them first.

use super::leaf::{Leaf, LeafAt};
use super::node::NodeAt;
use super::steps::step;
use super::store::{Lane, LaneAt, Store};
use crate::base::key::{common_prefix_len, prefix_u64};
use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::cmp::Ordering::{Greater, Less};

/// Fences in a chunk after a cut, and the size from which it is cut.
const CHUNK_LEN: usize = if cfg!(any(miri, test)) { 12 } else { 192 };
const CHUNK_LEN_MAX: usize = CHUNK_LEN * 2;
const SPLITS_MIN: usize = if cfg!(any(miri, test)) { 4 } else { 16 };
/// Fewer bytes than this are not worth new prefixes.
pub const STRIP_GAIN_MIN: usize = 4;

/// The two-level array of fences.
pub struct FenceLane {
    top: AtomicU32,
    building: AtomicBool,
}

/// Where the lane led: a leaf at or before the right one, by which word, and the fence behind it.
pub struct Way<'a> {
    /// The leaf.
    pub leaf: LeafAt,
    /// The node of the next fence of the lane; a leaf that ends there needs no further check.
    pub hi: NodeAt,
    /// The word that led to the leaf.
    pub word: &'a AtomicU32,
    /// The chunk it lies in.
    pub chunk: Lane<'a>,
}

/// How many leading `prefixes` are below (`or_same`: or equal to) `prefix`. Without branches that could be mispredicted.
#[inline(always)]
fn count_below(prefixes: &[AtomicU64], prefix: u64, or_same: bool) -> usize {
    // Relaxed: prefixes are fixed before their array is published.
    let below = |i: usize| {
        let other = prefixes[i].load(Ordering::Relaxed);
        if or_same { other <= prefix } else { other < prefix }
    };
    let (mut base, mut len) = (0, prefixes.len());
    while len > 1 {
        let half = len / 2;
        base += if below(base + half - 1) { half } else { 0 };
        len -= half;
    }
    base + usize::from(len == 1 && below(base))
}

impl<'a> Lane<'a> {
    /// The node of fence `i`. Relaxed: fixed before the array is published.
    #[inline(always)]
    fn fence(&self, i: usize) -> NodeAt {
        NodeAt(self.nodes[i].load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn strip(&self) -> usize {
        self.head.strip.load(Ordering::Relaxed) as usize
    }

    fn end(&self) -> NodeAt {
        NodeAt(self.head.hi.load(Ordering::Relaxed))
    }

    /// The last fence that lies below `key`; the first one lies below every key that is searched for here.
    #[inline(always)]
    fn find(&self, store: &Store, key: &[u8]) -> usize {
        let len = self.nodes.len();
        if len < 2 {
            return 0;
        }
        let strip = self.strip();
        if strip != 0 && self.head.checked.load(Ordering::Relaxed) != 0 {
            let shared = &store.key(self.fence(1))[..strip];
            match key[..strip.min(key.len())].cmp(shared) {
                Less => return 0,
                Greater => return len - 1,
                std::cmp::Ordering::Equal => {}
            }
        }
        let rest = &key[strip.min(key.len())..];
        let prefix = prefix_u64(rest);
        let prefixes = &self.prefixes[1..];
        let below = count_below(prefixes, prefix, false);
        if below == prefixes.len() || prefixes[below].load(Ordering::Relaxed) != prefix {
            return below;
        }
        self.find_among_equals(store, key, below, count_below(prefixes, prefix, true))
    }

    /// As `find`, among the fences behind `low` up to and including `high`, which share the key's prefix.
    #[cold]
    fn find_among_equals(&self, store: &Store, key: &[u8], mut low: usize, mut high: usize) -> usize {
        while low < high {
            let middle = low + (high - low) / 2;
            if store.key(self.fence(middle + 1)) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Fixes `strip` and the prefixes of an unpublished array whose fences are set. `old` (an array whose fences are a
    /// subset of these, looked at from the given one on, which is not its first) lends what need not be computed again: an old fence's key is likely a cache miss.
    fn set_prefixes(&self, store: &Store, old: Option<(Lane<'_>, usize)>) {
        let len = self.nodes.len();
        let (lo, hi) = (self.fence(0), self.end());
        let checked = lo.is_none() || hi.is_none();
        let shared = match (checked, len) {
            (_, 0 | 1) => 0,
            (true, _) => common_prefix_len(store.key(self.fence(1)), store.key(self.fence(len - 1))),
            (false, _) => common_prefix_len(store.key(lo), store.key(hi)),
        };
        let kept = old.map(|(old, _)| old.strip());
        let strip = match kept {
            Some(kept) if kept <= shared && shared < kept + STRIP_GAIN_MIN => kept,
            _ => shared,
        };
        // Relaxed, here and below: the store that publishes the array releases them.
        self.head.strip.store(strip as u32, Ordering::Relaxed);
        self.head.checked.store(u32::from(checked), Ordering::Relaxed);
        let mut lender = old.filter(|_| kept == Some(strip));
        for i in 1..len {
            let fence = self.fence(i);
            if let Some((old, next)) = lender.as_mut()
                && *next < old.nodes.len()
                && old.fence(*next) == fence
            {
                let prefix = old.prefixes[*next].load(Ordering::Relaxed);
                self.prefixes[i].store(prefix, Ordering::Relaxed);
                *next += 1;
                continue;
            }
            self.prefixes[i].store(prefix_u64(&store.key(fence)[strip..]), Ordering::Relaxed);
        }
    }

    fn set(&self, i: usize, fence: NodeAt, to: u32) {
        self.nodes[i].store(fence.0, Ordering::Relaxed);
        self.to[i].store(to, Ordering::Relaxed);
    }
}

/// The leaf that stands in the place of `leaf` now.
#[inline]
pub fn settled(store: &Store, mut leaf: LeafAt) -> LeafAt {
    loop {
        let next = store.leaf(leaf).replacement();
        if next.is_none() {
            return leaf;
        }
        leaf = next;
    }
}

/// The leaf behind `leaf`, or none; skips what was replaced, and repairs the link if it may.
#[inline]
pub fn next_leaf(store: &Store, leaf: &Leaf) -> LeafAt {
    let (next, is_final) = leaf.next();
    if next.is_none() {
        return next;
    }
    let now = settled(store, next);
    if now != next && !is_final {
        leaf.repair(next, now);
    }
    now
}

impl FenceLane {
    /// A lane that leads to `first` only.
    pub fn new(store: &Store, first: LeafAt) -> FenceLane {
        let chunk = store.new_lane(1);
        store.lane(chunk).set(0, NodeAt::NONE, first.0);
        let top = store.new_lane(1);
        store.lane(top).set(0, NodeAt::NONE, chunk.0);
        FenceLane { top: AtomicU32::new(top.0), building: AtomicBool::new(false) }
    }

    /// Acquire: pairs with the Release store in `renew_top`.
    #[inline(always)]
    fn top<'a>(&self, store: &'a Store) -> Lane<'a> {
        store.lane(LaneAt(self.top.load(Ordering::Acquire)))
    }

    /// The way to the leaf of `key`.
    #[inline(always)]
    pub fn find<'a>(&self, store: &'a Store, key: &[u8]) -> Way<'a> {
        let top = self.top(store);
        let i = top.find(store, key);
        // Acquire: pairs with the Release store in `renew_chunk`.
        let chunk = store.lane(LaneAt(top.to[i].load(Ordering::Acquire)));
        let j = chunk.find(store, key);
        let hi = if j + 1 < chunk.nodes.len() { chunk.fence(j + 1) } else { chunk.end() };
        // Acquire: pairs with the Release CAS in `repair`; else the leaf was published with the chunk.
        Way { leaf: LeafAt(chunk.to[j].load(Ordering::Acquire)), hi, word: &chunk.to[j], chunk }
    }

    /// Fences that cut the keys into about `parts` equal parts, ascending: those of the top, whose chunks differ in size
    /// by a small factor.
    pub fn cuts<'a>(&self, store: &'a Store, parts: usize) -> impl Iterator<Item = NodeAt> + 'a {
        let top = self.top(store);
        let len = top.nodes.len();
        (1..parts).map(move |part| top.fence(len * part / parts)).filter(|fence| !fence.is_none())
    }

    /// The way to the last leaf, as far as the lane knows.
    pub fn last<'a>(&self, store: &'a Store) -> Way<'a> {
        let top = self.top(store);
        // Acquire: as in `find`.
        let chunk = store.lane(LaneAt(top.to[top.to.len() - 1].load(Ordering::Acquire)));
        let word = &chunk.to[chunk.to.len() - 1];
        Way { leaf: LeafAt(word.load(Ordering::Acquire)), hi: NodeAt::NONE, word, chunk }
    }

    /// Leads a word that led to `old` to its replacement. Release: the replacement was seen through an Acquire and is
    /// passed on; pairs with the Acquire in `find`.
    pub fn repair(word: &AtomicU32, old: LeafAt, by: LeafAt) {
        step("repair lane");
        let _ = word.compare_exchange(old.0, by.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Counts a new leaf below `chunk` (at `key`) and rebuilds what is due, if nobody else does.
    pub fn note_split(&self, store: &Store, chunk: Lane<'_>, key: &[u8]) {
        // Relaxed: a statistic.
        step("count split");
        let splits = chunk.head.splits.fetch_add(1, Ordering::Relaxed) + 1;
        if (splits as usize) < SPLITS_MIN.max(chunk.nodes.len() / 6) {
            return;
        }
        // Acquire: pairs with the Release store below, so that the last builder's work is seen.
        step("begin building");
        if self.building.load(Ordering::Relaxed) || self.building.swap(true, Ordering::Acquire) {
            return;
        }
        self.renew(store, key);
        step("end building");
        self.building.store(false, Ordering::Release);
    }

    /// Rebuilds the chunk of `key` if that is due. The caller has `building`.
    #[cold]
    fn renew(&self, store: &Store, key: &[u8]) {
        let top = self.top(store);
        let i = top.find(store, key);
        let old = store.lane(LaneAt(top.to[i].load(Ordering::Acquire)));
        let splits = old.head.splits.load(Ordering::Relaxed) as usize;
        if splits < SPLITS_MIN.max(old.nodes.len() / 6) {
            return;
        }
        let (new, len) = renew_chunk(store, old);
        step("chunk");
        // Release: publishes the chunk; pairs with the Acquire in `find`.
        top.to[i].store(new.0, Ordering::Release);
        let grown = (len / CHUNK_LEN).saturating_sub((old.nodes.len() / CHUNK_LEN).max(1));
        if grown > 0 {
            let grown = top.head.splits.fetch_add(grown as u32, Ordering::Relaxed) as usize + grown;
            if grown >= (top.nodes.len() / 8).max(1) {
                step("top");
                // Release: publishes the top; pairs with the Acquire in `top`.
                self.top.store(renew_top(store, top).0, Ordering::Release);
            }
        }
    }
}

/// Visits the leaves below `old` in order, at most `most`, and returns how many there are.
fn visit(store: &Store, old: Lane<'_>, most: usize, mut each: impl FnMut(usize, NodeAt, LeafAt)) -> usize {
    let len = old.nodes.len();
    let mut count = 0;
    for j in 0..len {
        if let Some(ahead) = old.to.get(j + 8) {
            store.prefetch_head(LeafAt(ahead.load(Ordering::Relaxed)));
        }
        let stop = if j + 1 < len { old.fence(j + 1) } else { old.end() };
        // Acquire: as in `find`.
        let mut leaf = settled(store, LeafAt(old.to[j].load(Ordering::Acquire)));
        let mut fence = old.fence(j);
        loop {
            if count == most {
                return count;
            }
            each(count, fence, leaf);
            count += 1;
            leaf = next_leaf(store, store.leaf(leaf));
            if leaf.is_none() {
                break;
            }
            fence = store.leaf(leaf).lo();
            if fence == stop {
                break;
            }
        }
    }
    count
}

/// A chunk of all leaves that lie below `old` now.
fn renew_chunk(store: &Store, old: Lane<'_>) -> (LaneAt, usize) {
    let len = visit(store, old, usize::MAX, |_, _, _| {});
    let at = store.new_lane(len);
    let new = store.lane(at);
    new.head.hi.store(old.end().0, Ordering::Relaxed);
    // Leaves that others add meanwhile are left out at the end: the lane is a hint (I1).
    visit(store, old, len, |i, fence, leaf| new.set(i, fence, leaf.0));
    new.set_prefixes(store, Some((old, 1)));
    (at, len)
}

/// A top whose chunks are all of moderate size.
fn renew_top(store: &Store, old: Lane<'_>) -> LaneAt {
    // Relaxed: only this thread stores chunks (I3).
    let chunk = |i: usize| store.lane(LaneAt(old.to[i].load(Ordering::Relaxed)));
    let pieces = |len: usize| if len < CHUNK_LEN_MAX { 1 } else { len.div_ceil(CHUNK_LEN) };
    let len = (0..old.nodes.len()).map(|i| pieces(chunk(i).nodes.len())).sum();
    let at = store.new_lane(len);
    let top = store.lane(at);
    let mut next = 0;
    for i in 0..old.nodes.len() {
        let whole = chunk(i);
        let count = pieces(whole.nodes.len());
        for piece in 0..count {
            let from = whole.nodes.len() * piece / count;
            let to = whole.nodes.len() * (piece + 1) / count;
            let lane = if count == 1 { old.to[i].load(Ordering::Relaxed) } else { cut(store, whole, from, to).0 };
            top.set(next, whole.fence(from), lane);
            next += 1;
        }
    }
    top.set_prefixes(store, None);
    at
}

/// A chunk of the fences `from..to` of `whole`.
fn cut(store: &Store, whole: Lane<'_>, from: usize, to: usize) -> LaneAt {
    let at = store.new_lane(to - from);
    let piece = store.lane(at);
    let end = if to < whole.nodes.len() { whole.fence(to) } else { whole.end() };
    piece.head.hi.store(end.0, Ordering::Relaxed);
    for i in from..to {
        // Acquire: as in `find`.
        piece.set(i - from, whole.fence(i), whole.to[i].load(Ordering::Acquire));
    }
    piece.set_prefixes(store, Some((whole, from + 1)));
    at
}
