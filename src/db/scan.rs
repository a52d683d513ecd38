//! Iterators: a merge of memtables, level-0 tables and levels, seen as of one sequence number, within bounds.
//!
//! Invariants
//! - I1  An iterator's cursors hold counts of the memtables, tables and version they walk, never an epoch pin.
//! - I2  What it shows is frozen at open: the sequence number and the runs never change until `refresh`.
//!
//! - I3  After an error of a cursor every step answers that error until a seek succeeds: a loop that goes on after an error
//!   must not find itself at the first entry again.
//!
//! Threads: one at a time, may move. Failure: I3; a passed deadline or `max_skip` keeps the position.

use super::inner::DbInner;
use super::state::{KeyspaceState, SuperVersion};
use crate::base::clock::Deadline;
use crate::base::ids::SeqNo;
use crate::base::iter::{Cursor, View};
use crate::base::key::EntryKind;
use crate::error::{Code, Error, Result};
use crate::iter::level::LevelCursor;
use crate::iter::merge::{MergeCursor, Source};
use crate::sstable::ReadMode;
use std::sync::Arc;

/// The bounds of a scan: `from` inclusive, `to` exclusive.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// First key.
    pub from: Option<Vec<u8>>,
    /// First key behind.
    pub to: Option<Vec<u8>>,
}

impl Bounds {
    /// The intersection of lower, upper and prefix.
    pub fn new(lower: Option<&[u8]>, upper: Option<&[u8]>, prefix: Option<&[u8]>) -> Bounds {
        let mut from = lower.map(<[u8]>::to_vec);
        let mut to = upper.map(<[u8]>::to_vec);
        if let Some(prefix) = prefix.filter(|p| !p.is_empty()) {
            if from.as_deref().is_none_or(|f| f < prefix) {
                from = Some(prefix.to_vec());
            }
            if let Some(end) = prefix_end(prefix)
                && to.as_deref().is_none_or(|t| t > end.as_slice())
            {
                to = Some(end);
            }
        }
        Bounds { from, to }
    }

    /// Whether no key can lie within.
    pub fn is_empty(&self) -> bool {
        matches!((&self.from, &self.to), (Some(from), Some(to)) if from >= to)
            || self.to.as_ref().is_some_and(Vec::is_empty)
    }
}

/// The first key behind all keys that start with `prefix`; `None` when there is none.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&b| b != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1 + u8::from(crate::base::planted!("prefix-end-too-far"));
    Some(end)
}

/// Where a scan stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Newly opened.
    Fresh,
    /// On the cursor's entry, which was shown.
    At,
    /// Before the first entry.
    Before,
    /// Behind the last entry.
    After,
    /// On an entry that was not looked at yet, because a step passed too many hidden ones.
    Hidden,
    /// Nowhere: the last call failed.
    Failed,
}

/// A place without a shown entry, to come back to; a hidden entry's key with it.
#[derive(Clone, Debug)]
pub struct Mark(Place, Vec<u8>);

/// A scan of one keyspace.
pub struct Scan {
    cursor: MergeCursor,
    bounds: Bounds,
    place: Place,
    max_skip: u64,
    /// Why, at `Place::Failed`.
    failure: Option<Error>,
}

impl Scan {
    /// Opens a scan of `keyspace` as of `snapshot` or now.
    pub fn open(
        db: &DbInner,
        keyspace: &KeyspaceState,
        snapshot: Option<SeqNo>,
        bounds: Bounds,
        mode: ReadMode,
        max_skip: u64,
    ) -> Result<Scan> {
        let view = keyspace.get();
        // The SuperVersion first, the visible sequence second.
        let bound = snapshot
            .filter(|_| !crate::base::planted!("iterator-forgets-snapshot"))
            .unwrap_or_else(|| db.log.visible());
        let mode = ReadMode { read_around: db.reads_around(), ..mode };
        let cursor = open_cursor(db, &view, View::Newest(bound), &bounds, mode)?;
        Ok(Scan { cursor, bounds, place: Place::Fresh, max_skip, failure: None })
    }

    /// Whether it stands on an entry.
    #[inline]
    pub fn is_at(&self) -> bool {
        self.place == Place::At
    }

    /// The entry it stands on.
    #[inline]
    pub fn entry(&self) -> crate::base::key::Entry<'_> {
        self.cursor.entry()
    }

    /// The place it stands at, where that is not an entry.
    pub fn mark(&self) -> Mark {
        let key = if self.place == Place::Hidden { self.cursor.entry().key.to_vec() } else { Vec::new() };
        Mark(self.place, key)
    }

    /// Back to a place of this view that `mark` gave.
    pub fn reset(&mut self, mark: &Mark) -> Result<()> {
        self.place = Place::Fresh;
        if mark.0 == Place::Hidden {
            self.step(|cursor| cursor.seek_ge(&mark.1))?;
        }
        self.place = if mark.0 == Place::At { Place::Fresh } else { mark.0 };
        Ok(())
    }

    /// To the first entry within the bounds; whether there is one.
    pub fn first(&mut self, deadline: Deadline) -> Result<bool> {
        self.place = Place::Fresh;
        let sought = match &self.bounds.from {
            Some(from) => self.cursor.seek_ge(from),
            None => self.cursor.seek_first(),
        };
        self.checked(sought)?;
        self.settle_forward(deadline)
    }

    /// To the last entry within the bounds.
    pub fn last(&mut self, deadline: Deadline) -> Result<bool> {
        self.place = Place::Fresh;
        let sought = match &self.bounds.to {
            Some(to) => self.cursor.seek_lt(to),
            None => self.cursor.seek_last(),
        };
        self.checked(sought)?;
        self.settle_backward(deadline)
    }

    /// To the first entry at or behind `key`.
    pub fn seek_ge(&mut self, key: &[u8], deadline: Deadline) -> Result<bool> {
        self.place = Place::Fresh;
        let sought = match &self.bounds.from {
            Some(from) if key < from.as_slice() => self.cursor.seek_ge(from),
            _ => self.cursor.seek_ge(key),
        };
        self.checked(sought)?;
        self.settle_forward(deadline)
    }

    /// To the last entry before `key`.
    pub fn seek_lt(&mut self, key: &[u8], deadline: Deadline) -> Result<bool> {
        self.place = Place::Fresh;
        let sought = match &self.bounds.to {
            Some(to) if key > to.as_slice() => self.cursor.seek_lt(to),
            _ => self.cursor.seek_lt(key),
        };
        self.checked(sought)?;
        self.settle_backward(deadline)
    }

    /// One step forward.
    #[inline]
    pub fn next(&mut self, deadline: Deadline) -> Result<bool> {
        match self.place {
            Place::At => {
                self.step(Cursor::next)?;
                self.settle_forward(deadline)
            }
            Place::Fresh | Place::Before => self.first(deadline),
            Place::Hidden => self.settle_forward(deadline),
            Place::After => Ok(false),
            Place::Failed => Err(self.failed_before()),
        }
    }

    /// One step back.
    #[inline]
    pub fn prev(&mut self, deadline: Deadline) -> Result<bool> {
        match self.place {
            Place::At => {
                self.step(Cursor::prev)?;
                self.settle_backward(deadline)
            }
            Place::Fresh | Place::After => self.last(deadline),
            Place::Hidden => self.settle_backward(deadline),
            Place::Before => Ok(false),
            Place::Failed => Err(self.failed_before()),
        }
    }

    #[inline]
    fn step(&mut self, step: impl FnOnce(&mut MergeCursor) -> Result<()>) -> Result<()> {
        let result = step(&mut self.cursor);
        self.checked(result)
    }

    /// I3.
    #[inline]
    fn checked(&mut self, result: Result<()>) -> Result<()> {
        result.inspect_err(|error| {
            self.place = Place::Failed;
            self.failure = Some(error.clone());
        })
    }

    #[cold]
    fn failed_before(&self) -> Error {
        let failure = self.failure.clone();
        failure.unwrap_or_else(|| Error::new(Code::Io, "an earlier step of the iterator failed"))
    }

    /// Passes over deletes until an entry to show, the upper bound or the end.
    #[inline]
    fn settle_forward(&mut self, deadline: Deadline) -> Result<bool> {
        let mut skipped = 0;
        while self.cursor.valid() {
            if self.bounds.to.as_deref().is_some_and(|to| {
                self.cursor.entry().key >= to
                    && (self.cursor.entry().key > to || !crate::base::planted!("upper-bound-shown"))
            }) {
                break;
            }
            if self.cursor.kind() == EntryKind::Put {
                self.place = Place::At;
                return Ok(true);
            }
            skipped += 1;
            self.check_patience(skipped, deadline)?;
            self.step(Cursor::next)?;
        }
        self.place = Place::After;
        Ok(false)
    }

    #[inline]
    fn settle_backward(&mut self, deadline: Deadline) -> Result<bool> {
        let mut skipped = 0;
        while self.cursor.valid() {
            if self.bounds.from.as_deref().is_some_and(|from| self.cursor.entry().key < from) {
                break;
            }
            if self.cursor.kind() == EntryKind::Put {
                self.place = Place::At;
                return Ok(true);
            }
            skipped += 1;
            self.check_patience(skipped, deadline)?;
            self.step(Cursor::prev)?;
        }
        self.place = Place::Before;
        Ok(false)
    }

    /// Stops after `max_skip` hidden entries or past the deadline; the position is kept and the next call goes on.
    fn check_patience(&mut self, skipped: u64, deadline: Deadline) -> Result<()> {
        if self.max_skip > 0 && skipped > self.max_skip {
            self.place = Place::Hidden;
            return Err(Error::new(Code::Stalled, format!("more than {} hidden entries in one step", self.max_skip)));
        }
        if skipped.is_multiple_of(1024) && deadline.passed() {
            self.place = Place::Hidden;
            return Err(Error::new(Code::Timeout, "the deadline of the iterator step passed"));
        }
        Ok(())
    }
}

/// A merging cursor over all runs of `view` that may hold keys within `bounds`, newest first.
pub fn open_cursor(
    db: &DbInner,
    view: &Arc<SuperVersion>,
    shown: View,
    bounds: &Bounds,
    mode: ReadMode,
) -> Result<MergeCursor> {
    let mut sources = Vec::with_capacity(view.memtables.len() + view.levels.len() + 4);
    if !bounds.is_empty() {
        sources.extend(view.memtables.iter().map(|table| Source::Mem(table.cursor(shown))));
        let levels = view.version.levels();
        for handle in levels[0].files() {
            let summary = &handle.meta().summary;
            let is_before = bounds.from.as_ref().is_some_and(|from| {
                &summary.largest < from
                    || (crate::base::planted!("level0-lower-bound-passed") && &summary.largest == from)
            });
            let is_behind = bounds.to.as_ref().is_some_and(|to| &summary.smallest >= to);
            if !is_before && !is_behind {
                sources.push(Source::Table(db.tables.reader(handle)?.cursor(shown, mode)));
            }
        }
        for &level in &view.levels {
            let files = levels[level].overlapping(bounds.from.as_deref(), bounds.to.as_deref());
            if !files.is_empty() {
                let version = Arc::clone(&view.version);
                let tables = Arc::clone(&db.tables);
                sources.push(Source::Level(LevelCursor::new(tables, version, level, files, shown, mode)));
            }
        }
    }
    Ok(MergeCursor::new(sources, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_meets_bounds() {
        let b = Bounds::new(Some(b"ab"), Some(b"z"), Some(b"a"));
        assert_eq!((b.from.as_deref(), b.to.as_deref()), (Some(&b"ab"[..]), Some(&b"b"[..])));
        let b = Bounds::new(None, None, Some(&[0xff, 0xff]));
        assert_eq!((b.from.as_deref(), b.to.as_deref()), (Some(&[0xff, 0xff][..]), None));
        assert!(Bounds::new(Some(b"b"), Some(b"a"), None).is_empty());
        assert!(Bounds::new(None, Some(b""), None).is_empty());
        assert!(!Bounds::new(None, None, Some(b"")).is_empty());
    }
}
