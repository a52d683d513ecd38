//! Merges runs into one: a loser tree over cached key prefixes.
//!
//! Each source's head is known by a *code*: eight key bytes behind the prefix that all heads share. Codes grow with
//! keys, so two unequal codes settle a comparison in a register; equal ones are settled by the keys (`tie`). A node of
//! the tree holds the code and the number of the source that lost there; a step replays one path, and while one source
//! wins again and again (a level below a nearly empty memtable) it is compared with the runner-up's code only.
//!
//! The shared prefix is chosen anew whenever the winner has left it. That needs every head to have left it too (the
//! winner is the foremost), so each source has moved at least once since: the choice costs O(1) per step. Four bytes
//! of the shared part are left inside the window, or neighbouring heads would leave it at every other step.
//!
//! Invariants
//! - I1  A code is monotone in the key: below the shared prefix 0, above it `u64::MAX`. Descending walks negate it.
//! - I2  A source without an entry has code `u64::MAX` and loses every tie.
//! - I3  A loser at a node is the foremost head of its subtree; so only the winner may move, and `View::Newest` passes
//!   over other sources' versions of a key one by one as they come to win, behind the one that was shown.
//! - I4  `fence` is the least code on the winner's path, so the runner-up's: below it the winner wins again, and only
//!   when it equals the winner's code can another source stand on the winner's key.
//!
//! Threads: one at a time. Failure: after an `Err` the cursor is unpositioned until the next seek.

use super::level::LevelCursor;
use crate::base::iter::{Cursor, View};
use crate::base::key::{Entry, EntryKind, common_prefix_len, prefix_u64};
use crate::error::Result;
use crate::memtable::MemCursor;
use crate::sstable::TableCursor;
use std::cmp::Ordering;

/// One input of a merge; an enum, so that a step is a jump and not a virtual call.
pub enum Source {
    /// A memtable.
    Mem(MemCursor),
    /// One table.
    Table(TableCursor),
    /// The tables of a level.
    Level(LevelCursor),
}

macro_rules! each {
    ($self:ident, $cursor:ident => $call:expr) => {
        match $self {
            Source::Mem($cursor) => $call,
            Source::Table($cursor) => $call,
            Source::Level($cursor) => $call,
        }
    };
}

impl Cursor for Source {
    fn seek_first(&mut self) -> Result<()> {
        each!(self, c => c.seek_first())
    }
    fn seek_last(&mut self) -> Result<()> {
        each!(self, c => c.seek_last())
    }
    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        each!(self, c => c.seek_ge(key))
    }
    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        each!(self, c => c.seek_lt(key))
    }
    #[inline]
    fn next(&mut self) -> Result<()> {
        each!(self, c => c.next())
    }
    #[inline]
    fn prev(&mut self) -> Result<()> {
        each!(self, c => c.prev())
    }
    #[inline]
    fn valid(&self) -> bool {
        each!(self, c => c.valid())
    }
    #[inline]
    fn entry(&self) -> Entry<'_> {
        each!(self, c => c.entry())
    }
    fn aim(&mut self, key: &[u8]) {
        each!(self, c => c.aim(key));
    }
    #[inline]
    fn kind(&self) -> EntryKind {
        each!(self, c => c.kind())
    }
}

/// The merge that reads, flushes and compactions use.
pub type MergeCursor = Merge<Source>;

/// A source in the tree.
#[derive(Clone, Copy)]
struct Head {
    code: u64,
    index: usize,
}

/// Marks a node that no source has reached yet while the tree is built.
const NOBODY: usize = usize::MAX;

/// Shared bytes that stay inside the eight a code shows.
const SHARED_KEPT: usize = 4;

/// A loser tree over sources.
///
/// `View::Newest`: each source shows its newest version at or below the bound; where several stand on one user key the
/// source with the lowest index wins (sources are given newest first) and the others are passed over.
/// `View::All`: every version, keys ascending, sequence numbers descending; forward only.
pub struct Merge<C> {
    sources: Vec<C>,
    /// `nodes[0]` is the winner, `nodes[1..]` the losers; source `i` enters at node `(i + sources) / 2`.
    nodes: Vec<Head>,
    /// I4.
    fence: u64,
    window: Window,
    view: View,
    reverse: bool,
    valid: bool,
    /// The key that is being left, when other sources may have it too.
    left_key: Vec<u8>,
}

impl<C: Cursor> Merge<C> {
    /// Sources newest first, all opened with `view`. Unpositioned.
    pub fn new(sources: Vec<C>, view: View) -> Merge<C> {
        let nodes = vec![Head { code: u64::MAX, index: NOBODY }; sources.len().max(1)];
        Merge {
            sources,
            nodes,
            fence: 0,
            window: Window::default(),
            view,
            reverse: false,
            valid: false,
            left_key: Vec::new(),
        }
    }

    /// The source that shows the current entry. Requires `valid()`.
    #[inline]
    pub fn current(&self) -> &C {
        debug_assert!(self.valid);
        &self.sources[self.winner()]
    }

    /// The sources, in the order they were given.
    pub fn sources(&self) -> &[C] {
        &self.sources
    }

    #[inline]
    fn winner(&self) -> usize {
        self.nodes[0].index
    }

    /// Positions every source by `seek` and starts the tournament anew.
    fn seek_all(&mut self, reverse: bool, mut seek: impl FnMut(&mut C) -> Result<()>) -> Result<()> {
        self.valid = false;
        self.reverse = reverse;
        for source in &mut self.sources {
            seek(source)?;
        }
        self.rebuild();
        Ok(())
    }

    /// Lets the sources' cache misses come together instead of one after the other.
    fn aim_all(&mut self, key: &[u8]) {
        if self.sources.len() > 1 {
            self.sources.iter_mut().for_each(|source| source.aim(key));
        }
    }

    /// Chooses the shared prefix and plays every match.
    fn rebuild(&mut self) {
        let count = self.sources.len();
        if count <= 1 {
            self.nodes[0].index = 0;
            self.valid = self.sources.first().is_some_and(Cursor::valid);
            return;
        }
        self.window.choose(&self.sources);
        self.nodes.fill(Head { code: u64::MAX, index: NOBODY });
        for index in (0..count).rev() {
            let mut head = Head { code: self.window.code(&self.sources[index], self.reverse), index };
            let mut node = (index + count) / 2;
            while node > 0 && self.nodes[node].index != NOBODY {
                self.play(node, &mut head);
                node /= 2;
            }
            // Node 0 is reached by the one head that beat all others; any other parks where nobody was before it.
            self.nodes[node] = head;
        }
        self.valid = self.sources[self.winner()].valid();
        self.set_fence();
    }

    /// Lets `head` play the loser at `node`: the loser stays, `head` becomes the winner.
    #[inline]
    fn play(&mut self, node: usize, head: &mut Head) {
        let other = self.nodes[node];
        let other_wins = if other.code == head.code { self.tie(other, *head) } else { other.code < head.code };
        let (winner, loser) = if other_wins { (other, *head) } else { (*head, other) };
        self.nodes[node] = loser;
        *head = winner;
    }

    /// Settles equal codes by the entries; whether `a` comes before `b`.
    #[inline(never)]
    fn tie(&self, a: Head, b: Head) -> bool {
        let (x, y) = (&self.sources[a.index], &self.sources[b.index]);
        if !x.valid() || !y.valid() {
            return x.valid();
        }
        let (x, y) = (x.entry(), y.entry());
        let by_key = if self.reverse { y.key.cmp(x.key) } else { x.key.cmp(y.key) };
        let by_age = || if self.view == View::All { y.seq.cmp(&x.seq) } else { Ordering::Equal };
        by_key.then_with(by_age).then(if crate::base::planted!("merge-tie-order") {
            b.index.cmp(&a.index)
        } else {
            a.index.cmp(&b.index)
        }) == Ordering::Less
    }

    /// Moves the winner one entry on in the current direction and finds the next one.
    #[inline]
    fn step(&mut self) -> Result<()> {
        if self.fence == self.nodes[0].code
            && self.view != View::All
            && !crate::base::planted!("merge-shows-older-versions")
        {
            return self.step_over_ties();
        }
        self.step_winner()
    }

    #[inline]
    fn step_winner(&mut self) -> Result<()> {
        let index = self.winner();
        let source = &mut self.sources[index];
        if let Err(error) = advance(source, self.reverse) {
            self.valid = false;
            return Err(error);
        }
        let head = Head { code: self.window.code(source, self.reverse), index };
        if head.code < self.fence {
            self.nodes[0] = head;
            return Ok(());
        }
        self.replay(head);
        Ok(())
    }

    /// A step from a key that other sources may have too: those are passed over.
    #[inline(never)]
    fn step_over_ties(&mut self) -> Result<()> {
        let winner = self.winner();
        self.left_key.clear();
        self.left_key.extend_from_slice(self.sources[winner].entry().key);
        self.step_winner()?;
        while self.valid && self.sources[self.winner()].entry().key == self.left_key.as_slice() {
            self.step_winner()?;
        }
        Ok(())
    }

    /// Plays `head`, which just moved, up its path.
    fn replay(&mut self, mut head: Head) {
        let mut node = (head.index + self.sources.len()) / 2;
        while node > 0 {
            self.play(node, &mut head);
            node /= 2;
        }
        self.nodes[0] = head;
        if head.code == u64::MAX { self.at_edge() } else { self.set_fence() }
    }

    /// I4.
    #[inline]
    fn set_fence(&mut self) {
        let mut fence = u64::MAX;
        let mut node = (self.winner() + self.sources.len()) / 2;
        while node > 0 {
            fence = fence.min(self.nodes[node].code);
            node /= 2;
        }
        self.fence = fence;
    }

    /// The winner's code is the largest there is: the end, a key that left the shared prefix, or just such a key.
    #[cold]
    fn at_edge(&mut self) {
        let source = &self.sources[self.winner()];
        if !source.valid() {
            self.valid = false;
        } else if !self.window.holds(source.entry().key) {
            self.rebuild();
        } else {
            self.set_fence();
        }
    }

    /// Turns the walk round at the current key: every other source is sought to the far side of it.
    #[cold]
    fn turn(&mut self) -> Result<()> {
        self.valid = false;
        self.reverse = !self.reverse;
        let winner = self.winner();
        self.left_key.clear();
        self.left_key.extend_from_slice(self.sources[winner].entry().key);
        for (index, source) in self.sources.iter_mut().enumerate() {
            if index == winner {
                advance(source, self.reverse)?;
            } else if self.reverse {
                source.seek_lt(&self.left_key)?;
            } else {
                source.seek_ge(&self.left_key)?;
                if source.valid()
                    && source.entry().key == self.left_key.as_slice()
                    && !crate::base::planted!("turn-stays-on-the-key")
                {
                    source.next()?;
                }
            }
        }
        self.rebuild();
        Ok(())
    }

    /// The whole of a step where there is nothing to merge.
    #[inline]
    fn step_single(&mut self, reverse: bool) -> Result<()> {
        let source = &mut self.sources[0];
        let done = advance(source, reverse);
        self.valid = done.is_ok() && source.valid();
        done
    }
}

#[inline]
fn advance<C: Cursor>(source: &mut C, reverse: bool) -> Result<()> {
    if reverse { source.prev() } else { source.next() }
}

impl<C: Cursor> Cursor for Merge<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.seek_all(false, C::seek_first)
    }

    fn seek_last(&mut self) -> Result<()> {
        debug_assert!(self.view != View::All);
        self.seek_all(true, C::seek_last)
    }

    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        self.aim_all(key);
        self.seek_all(false, |source| source.seek_ge(key))
    }

    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        debug_assert!(self.view != View::All);
        self.aim_all(key);
        self.seek_all(true, |source| source.seek_lt(key))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        debug_assert!(self.valid);
        if self.sources.len() == 1 {
            return self.step_single(false);
        }
        if self.reverse { self.turn() } else { self.step() }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        debug_assert!(self.valid && self.view != View::All);
        if self.sources.len() == 1 {
            return self.step_single(true);
        }
        if self.reverse { self.step() } else { self.turn() }
    }

    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        debug_assert!(self.valid);
        self.sources[self.winner()].entry()
    }

    #[inline]
    fn kind(&self) -> EntryKind {
        debug_assert!(self.valid);
        self.sources[self.winner()].kind()
    }
}

/// Which eight bytes of a key its code shows: those behind a prefix that the heads shared when it was chosen.
#[derive(Default)]
struct Window {
    shared: Vec<u8>,
    /// The first eight shared bytes, and which bits of them count: settles short prefixes without a call.
    word: u64,
    mask: u64,
}

impl Window {
    /// Chooses the prefix from the current heads.
    fn choose<C: Cursor>(&mut self, sources: &[C]) {
        self.shared.clear();
        let mut heads = sources.iter().filter(|s| s.valid()).map(|s| s.entry().key);
        if let Some(first) = heads.next() {
            let mut shared_len = first.len();
            let mut key_len_min = first.len();
            for key in heads {
                shared_len = shared_len.min(common_prefix_len(&first[..shared_len], key));
                key_len_min = key_len_min.min(key.len());
            }
            // Not into the last eight bytes either, where the window would be partly empty.
            let kept = shared_len.saturating_sub(SHARED_KEPT).min(key_len_min.saturating_sub(8));
            self.shared.extend_from_slice(&first[..kept]);
        }
        self.word = prefix_u64(&self.shared);
        self.mask = match self.shared.len() {
            0 => 0,
            len @ 1..8 => !(u64::MAX >> (8 * len)),
            _ => u64::MAX,
        };
    }

    /// Whether `key` starts with the shared prefix.
    #[inline]
    fn holds(&self, key: &[u8]) -> bool {
        let shared_len = self.shared.len();
        if shared_len <= 8
            && let Some(first) = key.first_chunk::<8>()
        {
            return u64::from_be_bytes(*first) & self.mask == self.word;
        }
        key.starts_with(&self.shared)
    }

    /// The code of the source's head (I1, I2).
    #[inline]
    fn code<C: Cursor>(&self, source: &C, reverse: bool) -> u64 {
        if !source.valid() {
            return u64::MAX;
        }
        let code = self.code_of(source.entry().key);
        if reverse { !code } else { code }
    }

    #[inline]
    fn code_of(&self, key: &[u8]) -> u64 {
        if !self.holds(key) {
            return if key < self.shared.as_slice() { 0 } else { u64::MAX };
        }
        let rest = &key[self.shared.len()..];
        if let Some(first) = rest.first_chunk::<8>() {
            return u64::from_be_bytes(*first);
        }
        match key.last_chunk::<8>() {
            // The last eight bytes, shifted until those of `rest` lead and zeros follow: no copy of unknown length.
            Some(last) if !rest.is_empty() => u64::from_be_bytes(*last) << (8 * (8 - rest.len())),
            _ => prefix_u64(rest),
        }
    }
}

#[cfg(test)]
mod tests;
