//! The cursor: how every sorted run (memtable, table, level, merge of them) is walked.
//!
//! A cursor is either unpositioned (`!valid()`) or stands on an entry. After any `Err` it is unpositioned.
//! `GT key` is `seek_ge(key + 0x00)` and `LE key` is `seek_lt(key + 0x00)`, since that is the immediate successor.

use super::ids::SeqNo;
use super::key::{Entry, EntryKind};
use crate::error::Result;

/// Which versions of a key a cursor shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Per user key, only its newest version at or below the sequence number (deletes included).
    Newest(SeqNo),
    /// Every version: user keys ascending, sequence numbers descending. Forward only.
    All,
}

/// A walk over one sorted run.
pub trait Cursor {
    /// To the first entry.
    fn seek_first(&mut self) -> Result<()>;
    /// To the last entry. `View::Newest` only.
    fn seek_last(&mut self) -> Result<()>;
    /// To the first entry whose key is `>= key`.
    fn seek_ge(&mut self, key: &[u8]) -> Result<()>;
    /// To the last entry whose key is `< key`. `View::Newest` only.
    fn seek_lt(&mut self, key: &[u8]) -> Result<()>;
    /// To the next entry. Requires `valid()`. Past the last one the cursor is unpositioned.
    fn next(&mut self) -> Result<()>;
    /// To the previous entry. Requires `valid()`. `View::Newest` only.
    fn prev(&mut self) -> Result<()>;
    /// Whether the cursor stands on an entry.
    fn valid(&self) -> bool;
    /// The entry it stands on. Requires `valid()`. Key and value live until the cursor moves.
    fn entry(&self) -> Entry<'_>;
    /// Asks for the memory that `seek_ge(key)` or `seek_lt(key)`, called next, will look at. Only a hint: several cursors
    /// that are about to be sought then wait for their cache misses together.
    #[inline]
    fn aim(&mut self, _key: &[u8]) {}
    /// Its kind alone. Requires `valid()`.
    #[inline]
    fn kind(&self) -> EntryKind {
        self.entry().kind
    }
}
