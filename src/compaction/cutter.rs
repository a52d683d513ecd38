//! Where an output table ends, and which keys have nothing older below the output.
//!
//! Both walk tables of deeper levels forward along with the keys, so that a key costs a comparison.

use super::pick::GRANDPARENT_TABLES_MAX;
use super::score::Table;
use crate::base::key::prefix_u64;

/// Says before which keys a new output table begins.
///
/// A table that overlaps many tables of the level below it (its grandparents, seen from the inputs) would be dear to
/// compact later, so it ends early; and where it ends near a grandparent's end it ends just there, so that the next
/// compaction does not drag along a table for its rim. The more borders have been passed the closer they lie, and the
/// fuller the table is before one of them is taken.
pub(super) struct Cutter<'a, T> {
    grandparents: &'a [T],
    at: usize,
    /// Keys whose first eight bytes lie below this end within the current grandparent.
    code: u64,
    table_bytes: u64,
    /// Grandparent bytes passed since the output began.
    overlap: u64,
    borders: u64,
}

impl<'a, T: Table> Cutter<'a, T> {
    pub(super) fn new(grandparents: &'a [T], table_bytes: u64) -> Cutter<'a, T> {
        let mut cutter = Cutter { grandparents, at: 0, code: 0, table_bytes, overlap: 0, borders: 0 };
        cutter.set_code();
        cutter
    }

    fn set_code(&mut self) {
        self.code = self.grandparents.get(self.at).map_or(u64::MAX, |table| prefix_u64(table.largest()));
    }

    /// Whether a new table begins before `key`, given the size of the open one. Keys ascend; to be asked once per key,
    /// with size 0 when no table is open.
    #[inline]
    pub(super) fn cut_before(&mut self, key: &[u8], size: u64) -> bool {
        let crossed = prefix_u64(key) >= self.code && self.pass(key, size == 0);
        let full = self.table_bytes + if self.grandparents.is_empty() { 0 } else { self.table_bytes / 4 };
        let cut = size > 0 && (size >= full || (crossed && self.is_good_border(size)));
        if cut || size == 0 {
            self.overlap = 0;
            self.borders = 0;
        }
        cut
    }

    /// Passes the grandparents that end before `key`; whether there were any.
    fn pass(&mut self, key: &[u8], seek: bool) -> bool {
        let rest = &self.grandparents[self.at..];
        let passed = if seek {
            rest.partition_point(|table| table.largest() < key)
        } else {
            rest.iter().take_while(|table| table.largest() < key).count()
        };
        self.overlap += rest[..passed].iter().map(T::size).sum::<u64>();
        self.borders += passed as u64;
        self.at += passed;
        self.set_code();
        passed > 0
    }

    fn is_good_border(&self, size: u64) -> bool {
        let enough = self.table_bytes * (50 + (5 * self.borders).min(40)) / 100;
        size >= enough || self.overlap > GRANDPARENT_TABLES_MAX * self.table_bytes
    }
}

/// Says whether a key may have versions below the output.
pub(super) struct Below<'a, T> {
    levels: Vec<(&'a [T], usize)>,
}

impl<'a, T: Table> Below<'a, T> {
    /// The levels deeper than the output.
    pub(super) fn new(levels: impl IntoIterator<Item = &'a [T]>) -> Below<'a, T> {
        Below { levels: levels.into_iter().filter(|level| !level.is_empty()).map(|level| (level, 0)).collect() }
    }

    /// Whether no table below can hold `key`. Keys ascend.
    pub(super) fn is_bottom(&mut self, key: &[u8]) -> bool {
        self.levels.iter_mut().all(|(level, at)| {
            if level.get(*at).is_some_and(|table| table.largest() < key) {
                *at += level[*at..].partition_point(|table| table.largest() < key);
            }
            level.get(*at).is_none_or(|table| {
                table.smallest() > key || (table.smallest() == key && crate::base::planted!("bottom-off-by-one"))
            })
        })
    }
}
