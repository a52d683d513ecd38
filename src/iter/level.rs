//! One cursor over the disjoint, ordered tables of a level: opens a table only when it gets there.
//!
//! Invariants
//! - I1  A user key lies in one table of the level only, so versions never continue in the next.
//! - I2  At most one table is open at a time; a seek that lands in it again does not ask the table cache.
//! - I3  A table that shows nothing under the view (every version is newer than the bound) is passed over.
//!
//! Threads: one at a time. Failure: after an `Err` the cursor is unpositioned until the next seek.

use crate::base::iter::{Cursor, View};
use crate::base::key::{Entry, EntryKind};
use crate::error::Result;
use crate::sstable::{ReadMode, TableCursor};
use crate::version::{TableCache, Version};
use std::ops::Range;
use std::sync::Arc;

/// Disjoint runs in key order, opened by index.
pub(crate) trait Runs {
    /// A walk over one of them.
    type Cursor: Cursor;
    /// Opens run `index`.
    fn open(&self, index: usize) -> Result<Self::Cursor>;
    /// The first run whose largest key is `>= key`, or one past the last.
    fn find(&self, key: &[u8]) -> usize;
}

/// A walk over the runs `range`.
pub(crate) struct Chain<R: Runs> {
    runs: R,
    range: Range<usize>,
    /// The open run and its index.
    open: Option<(usize, R::Cursor)>,
    valid: bool,
}

impl<R: Runs> Chain<R> {
    pub(crate) fn new(runs: R, range: Range<usize>) -> Chain<R> {
        Chain { runs, range, open: None, valid: false }
    }

    /// The cursor of run `index`, opened unless it is.
    fn at(&mut self, index: usize) -> Result<&mut R::Cursor> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            self.open = None;
            self.open = Some((index, self.runs.open(index)?));
        }
        match &mut self.open {
            Some((_, cursor)) => Ok(cursor),
            None => unreachable!("set above"),
        }
    }

    /// To the first entry of the first run from `index` on that has one.
    fn first_from(&mut self, mut index: usize) -> Result<()> {
        while index < self.range.end {
            let cursor = self.at(index)?;
            cursor.seek_first()?;
            if cursor.valid() {
                self.valid = true;
                return Ok(());
            }
            index += 1;
        }
        Ok(())
    }

    /// To the last entry of the last run below `end` that has one.
    fn last_below(&mut self, mut end: usize) -> Result<()> {
        while end > self.range.start {
            end -= 1;
            let cursor = self.at(end)?;
            cursor.seek_last()?;
            if cursor.valid() {
                self.valid = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn open_index(&self) -> usize {
        self.open.as_ref().map_or(self.range.end, |(index, _)| *index)
    }
}

impl<R: Runs> Cursor for Chain<R> {
    fn seek_first(&mut self) -> Result<()> {
        self.valid = false;
        self.first_from(self.range.start)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.valid = false;
        self.last_below(self.range.end)
    }

    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        self.valid = false;
        let index = self.runs.find(key).max(self.range.start);
        if index >= self.range.end {
            return Ok(());
        }
        let cursor = self.at(index)?;
        cursor.seek_ge(key)?;
        if cursor.valid() {
            self.valid = true;
            return Ok(());
        }
        self.first_from(index + 1)
    }

    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        self.valid = false;
        let index = self.runs.find(key).max(self.range.start);
        if index >= self.range.end {
            return self.last_below(self.range.end);
        }
        let cursor = self.at(index)?;
        cursor.seek_lt(key)?;
        if cursor.valid() {
            self.valid = true;
            return Ok(());
        }
        self.last_below(index - usize::from(index > 0 && crate::base::planted!("level-walk-skips-a-table")))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        debug_assert!(self.valid);
        let Some((index, cursor)) = &mut self.open else { return Ok(()) };
        let after = *index + 1;
        let done = cursor.next();
        if done.is_ok() && cursor.valid() {
            return Ok(());
        }
        self.valid = false;
        done?;
        self.first_from(after)
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        debug_assert!(self.valid);
        let index = self.open_index();
        let Some((_, cursor)) = &mut self.open else { return Ok(()) };
        let done = cursor.prev();
        if done.is_ok() && cursor.valid() {
            return Ok(());
        }
        self.valid = false;
        done?;
        self.last_below(index)
    }

    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    fn aim(&mut self, key: &[u8]) {
        let index = self.runs.find(key).max(self.range.start);
        // Only in the table that is open: opening one may read.
        if let Some((open, cursor)) = &mut self.open
            && *open == index
        {
            cursor.aim(key);
        }
    }

    #[inline]
    fn kind(&self) -> EntryKind {
        debug_assert!(self.valid);
        self.open.as_ref().map_or(EntryKind::Put, |(_, cursor)| cursor.kind())
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        debug_assert!(self.valid);
        match &self.open {
            Some((_, cursor)) => cursor.entry(),
            None => unreachable!("entry() of an unpositioned level cursor"),
        }
    }
}

/// The tables of one level of a version.
struct LevelRuns {
    tables: Arc<TableCache>,
    version: Arc<Version>,
    level: usize,
    view: View,
    mode: ReadMode,
}

impl Runs for LevelRuns {
    type Cursor = TableCursor;

    fn open(&self, index: usize) -> Result<TableCursor> {
        let reader = self.tables.reader(&self.version.levels()[self.level].files()[index])?;
        Ok(reader.cursor(self.view, self.mode))
    }

    fn find(&self, key: &[u8]) -> usize {
        self.version.levels()[self.level].find(key)
    }
}

/// A walk over `files` of a level above 0.
pub struct LevelCursor {
    chain: Chain<LevelRuns>,
}

impl LevelCursor {
    /// Nothing is opened yet.
    pub fn new(
        tables: Arc<TableCache>,
        version: Arc<Version>,
        level: usize,
        files: Range<usize>,
        view: View,
        mode: ReadMode,
    ) -> LevelCursor {
        debug_assert!(level > 0 && files.end <= version.levels()[level].files().len());
        LevelCursor { chain: Chain::new(LevelRuns { tables, version, level, view, mode }, files) }
    }

    /// The cursor of the table that shows the current entry. Requires `valid()`.
    pub fn table_cursor(&self) -> Option<&TableCursor> {
        self.chain.open.as_ref().map(|(_, cursor)| cursor)
    }
}

impl Cursor for LevelCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.chain.seek_first()
    }
    fn seek_last(&mut self) -> Result<()> {
        self.chain.seek_last()
    }
    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        self.chain.seek_ge(key)
    }
    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        self.chain.seek_lt(key)
    }
    #[inline]
    fn next(&mut self) -> Result<()> {
        self.chain.next()
    }
    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.chain.prev()
    }
    #[inline]
    fn valid(&self) -> bool {
        self.chain.valid()
    }
    #[inline]
    fn entry(&self) -> Entry<'_> {
        self.chain.entry()
    }
    fn aim(&mut self, key: &[u8]) {
        self.chain.aim(key);
    }
    #[inline]
    fn kind(&self) -> EntryKind {
        self.chain.kind()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, VecCursor, walk_matches_model};
    use super::*;
    use crate::base::ids::SeqNo;

    struct VecRuns(Vec<Arc<Run>>, View);

    impl Runs for VecRuns {
        type Cursor = VecCursor;
        fn open(&self, index: usize) -> Result<VecCursor> {
            Ok(VecCursor::new(&self.0[index], self.1))
        }
        fn find(&self, key: &[u8]) -> usize {
            self.0.partition_point(|run| run.largest() < key)
        }
    }

    #[test]
    fn walks_like_one_table_in_both_directions() {
        let whole = Run::random(7, 200, 400, 0);
        for view in [View::Newest(SeqNo(250)), View::Newest(SeqNo(3)), View::Newest(SeqNo::MAX)] {
            for pieces in [1, 2, 7, 40] {
                let runs = whole.cut(pieces);
                let range = 0..runs.len();
                walk_matches_model(
                    &mut Chain::new(VecRuns(runs, view), range),
                    &whole.shown(view),
                    view,
                    pieces as u64,
                );
            }
        }
        let view = View::All;
        let runs = whole.cut(9);
        walk_matches_model(&mut Chain::new(VecRuns(runs, view), 0..9), &whole.shown(view), view, 1);
    }

    #[test]
    fn stays_within_its_files() {
        let view = View::Newest(SeqNo::MAX);
        let runs = Run::random(8, 100, 200, 0).cut(10);
        let inside = Run::join(&runs[3..6]);
        let mut chain = Chain::new(VecRuns(runs.clone(), view), 3..6);
        walk_matches_model(&mut chain, &inside.shown(view), view, 5);
        let mut nothing = Chain::new(VecRuns(runs, view), 4..4);
        walk_matches_model(&mut nothing, &[], view, 5);
    }

    #[test]
    fn an_unreadable_table_leaves_it_unpositioned() {
        struct Broken(VecRuns);
        impl Runs for Broken {
            type Cursor = VecCursor;
            fn open(&self, index: usize) -> Result<VecCursor> {
                if index == 1 { Err(crate::Error::corruption("000001.sst")) } else { self.0.open(index) }
            }
            fn find(&self, key: &[u8]) -> usize {
                self.0.find(key)
            }
        }
        let view = View::Newest(SeqNo::MAX);
        let runs = Run::random(9, 30, 30, 0).cut(3);
        let mut chain = Chain::new(Broken(VecRuns(runs.clone(), view)), 0..3);
        chain.seek_first().expect("the first table is whole");
        let failed = loop {
            if let Err(error) = chain.next() {
                break error;
            }
        };
        assert_eq!(failed.code(), crate::Code::Corruption);
        assert!(!chain.valid());
        assert!(chain.seek_ge(runs[1].largest()).is_err() && !chain.valid());
        chain.seek_last().expect("the last table is whole");
        assert!(chain.valid());
    }
}
