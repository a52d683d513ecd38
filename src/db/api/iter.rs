//! The iterator handle: six seeks, steps both ways, many entries in one call.

use super::{Db, Direction, IterEntry, Keyspace, ReadOptions, Seek};
use crate::base::clock::Deadline;
use crate::base::ids::SeqNo;
use crate::db::read::check_key;
use crate::db::scan::Scan;
use crate::error::{Error, Result};

/// An iterator over one keyspace, frozen at its opening. One thread at a time.
pub struct Iter {
    keyspace: Keyspace,
    options: ReadOptions,
    scan: Scan,
    /// The key behind the one sought, for `Gt` and `Le`.
    successor: Vec<u8>,
    buffer: Vec<u8>,
    spans: Vec<OwnedSpan>,
    before: Before,
    /// Of the last `next_many`.
    direction: Direction,
    ahead: Option<Ahead>,
}

/// Bytes that an entry takes besides its key and value where many are packed: without them in the budget, a caller would
/// read a quarter more small entries than it can take.
const LENGTHS: usize = 8;

/// Where an entry of `next_many` lies in the iterator's buffer.
#[derive(Clone, Copy, Debug)]
pub struct OwnedSpan {
    /// Offset of the key.
    pub key: usize,
    /// Its length.
    pub key_len: usize,
    /// Offset of the value.
    pub value: usize,
    /// Its length.
    pub value_len: usize,
    /// Sequence number.
    pub seq: SeqNo,
}

/// The last `next_many` stepped once more than the caller took: the scan stands behind the entry that the iterator does.
/// Undoing the step would cost a seek for each read, so it is remembered and the next step begins from it.
struct Ahead {
    /// Which way the step went.
    direction: Direction,
    /// Whether it met an entry, or the end; `None` once the scan may stand anywhere.
    found: Option<bool>,
    /// The entry that the iterator stands at.
    key: Vec<u8>,
}

/// Where the iterator stood before the last `next_many`.
enum Before {
    Entry(Vec<u8>),
    Elsewhere(crate::db::scan::Mark),
}

impl Iter {
    pub(super) fn open(keyspace: Keyspace, options: &ReadOptions) -> Result<Iter> {
        keyspace.check()?;
        let scan = open_scan(&keyspace, options)?;
        Ok(Iter {
            before: Before::Elsewhere(scan.mark()),
            keyspace,
            options: options.clone(),
            scan,
            successor: Vec::new(),
            buffer: Vec::new(),
            spans: Vec::new(),
            direction: Direction::Forward,
            ahead: None,
        })
    }

    fn deadline(&self) -> Deadline {
        Deadline::after_micros(self.options.deadline_micros)
    }

    #[inline]
    fn shown(&self, found: bool) -> Option<IterEntry<'_>> {
        if !found {
            return None;
        }
        let entry = self.scan.entry();
        let value = if self.options.keys_only { &[] } else { entry.value };
        Some(IterEntry { key: entry.key, value, seq: entry.seq })
    }

    /// Positions; `None` when there is no such entry.
    pub fn seek(&mut self, to: Seek, key: &[u8]) -> Result<Option<IterEntry<'_>>> {
        self.keyspace.db().inner().status.check_open()?;
        check_key(key)?;
        let deadline = self.deadline();
        let found = match to {
            Seek::First => self.scan.first(deadline),
            Seek::Last => self.scan.last(deadline),
            Seek::Ge => self.scan.seek_ge(key, deadline),
            Seek::Lt => self.scan.seek_lt(key, deadline),
            Seek::Gt | Seek::Le => {
                self.successor.clear();
                self.successor.extend_from_slice(key);
                self.successor.push(0);
                if to == Seek::Gt {
                    self.scan.seek_ge(&self.successor, deadline)
                } else {
                    self.scan.seek_lt(&self.successor, deadline)
                }
            }
        }?;
        self.ahead = None;
        Ok(self.shown(found))
    }

    /// One step forward. Fresh or before the first entry: the first; behind the last: stays there.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it lends lives until the next call, which `Iterator` cannot say"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<IterEntry<'_>>> {
        let found = self.step(Direction::Forward, self.deadline())?;
        Ok(self.shown(found))
    }

    /// One step back. Fresh or behind the last entry: the last; before the first: stays there.
    #[inline]
    pub fn prev(&mut self) -> Result<Option<IterEntry<'_>>> {
        let found = self.step(Direction::Backward, self.deadline())?;
        Ok(self.shown(found))
    }

    #[inline]
    fn step(&mut self, direction: Direction, deadline: Deadline) -> Result<bool> {
        self.keyspace.db().inner().status.check_open()?;
        if let Some(ahead) = &mut self.ahead {
            if ahead.direction == direction
                && let Some(found) = ahead.found
            {
                self.ahead = None;
                return Ok(found);
            }
            ahead.found = None;
            self.scan.seek_ge(&ahead.key, Deadline::default())?;
            self.ahead = None;
        }
        self.step_scan(direction, deadline)
    }

    #[inline]
    fn step_scan(&mut self, direction: Direction, deadline: Deadline) -> Result<bool> {
        match direction {
            Direction::Forward => self.scan.next(deadline),
            Direction::Backward => self.scan.prev(deadline),
        }
    }

    /// Up to `max` steps; all their entries stay readable until the next call. Stops after about `bytes_max` bytes and
    /// at the deadline, with at least one entry; empty at the end. An error after the first entry is kept for the next call.
    pub fn next_many(&mut self, direction: Direction, max: usize, bytes_max: usize) -> Result<&[OwnedSpan]> {
        self.before = if let Some(ahead) = &self.ahead {
            Before::Entry(ahead.key.clone())
        } else if self.scan.is_at() {
            Before::Entry(self.scan.entry().key.to_vec())
        } else {
            Before::Elsewhere(self.scan.mark())
        };
        self.spans.clear();
        self.buffer.clear();
        // One deadline for the call, not one for each step.
        let deadline = self.deadline();
        let room = |iter: &Iter| iter.buffer.len() + iter.spans.len() * LENGTHS < bytes_max;
        while self.spans.len() < max && (self.spans.is_empty() || room(self)) {
            if self.spans.len() % 64 == 63 && deadline.passed() {
                break;
            }
            match self.step(direction, deadline) {
                Ok(true) => self.keep()?,
                Ok(false) => {
                    self.is_ahead(direction, false, self.spans.len());
                    break;
                }
                Err(error) if self.spans.is_empty() => return Err(error),
                Err(error) => {
                    // The entries so far are good; the step is tried again by the next call, which meets the error.
                    let at = self.spans.len();
                    self.unread_from(at).map_err(|_| error)?;
                    break;
                }
            }
        }
        self.direction = direction;
        Ok(&self.spans)
    }

    /// The scan stands one step behind entry `taken - 1` of the read; nothing to remember when there is no such entry.
    fn is_ahead(&mut self, direction: Direction, found: bool, taken: usize) {
        self.ahead = taken.checked_sub(1).map(|last| Ahead {
            direction,
            found: Some(found),
            key: self.span(&self.spans[last]).key.to_vec(),
        });
    }

    fn keep(&mut self) -> Result<()> {
        let entry = self.scan.entry();
        let value = if self.options.keys_only { &[] } else { entry.value };
        let key_at = self.buffer.len();
        self.buffer
            .try_reserve(entry.key.len() + value.len())
            .map_err(|_| Error::new(crate::error::Code::NoMem, "no memory for the entries of an iterator read"))?;
        self.buffer.extend_from_slice(entry.key);
        self.buffer.extend_from_slice(value);
        self.spans.push(OwnedSpan {
            key: key_at,
            key_len: entry.key.len(),
            value: key_at + entry.key.len(),
            value_len: value.len(),
            seq: entry.seq,
        });
        Ok(())
    }

    /// The entry of a span of the last `next_many`.
    #[inline]
    pub fn span(&self, span: &OwnedSpan) -> IterEntry<'_> {
        IterEntry {
            key: &self.buffer[span.key..span.key + span.key_len],
            value: &self.buffer[span.value..span.value + span.value_len],
            seq: span.seq,
        }
    }

    /// Puts the iterator back to before entry `index` of the last `next_many`, for a caller who could not take it.
    pub fn unread_from(&mut self, index: usize) -> Result<()> {
        // The step behind the last entry met the end, or has not been made: only in the second case is one too many taken.
        if index > 0 && index + 1 == self.spans.len() && self.ahead.is_none() {
            self.is_ahead(self.direction, true, index);
            return Ok(());
        }
        self.ahead = None;
        let deadline = Deadline::default();
        match (index.checked_sub(1).and_then(|last| self.spans.get(last)), &self.before) {
            (Some(last), _) => {
                self.scan.seek_ge(&self.buffer[last.key..last.key + last.key_len], deadline)?;
            }
            (None, Before::Entry(key)) => {
                self.scan.seek_ge(key, deadline)?;
            }
            (None, Before::Elsewhere(mark)) => self.scan.reset(mark)?,
        }
        Ok(())
    }

    /// As if newly opened at the newest state; a snapshot given at open is dropped.
    pub fn refresh(&mut self) -> Result<()> {
        self.keyspace.check()?;
        self.options.snapshot = None;
        self.ahead = None;
        self.scan = open_scan(&self.keyspace, &self.options)?;
        Ok(())
    }

    /// The database it belongs to.
    pub fn db(&self) -> &Db {
        self.keyspace.db()
    }
}

fn open_scan(keyspace: &Keyspace, options: &ReadOptions) -> Result<Scan> {
    if let Some(snapshot) = &options.snapshot
        && !keyspace.db().same(snapshot.db())
    {
        return Err(Error::invalid("the snapshot belongs to another database"));
    }
    let db = keyspace.db().inner();
    db.stats.iterators.add(1);
    let bounds = keyspace.bounds(options)?;
    let snapshot = options.snapshot.as_ref().map(super::Snapshot::sequence);
    Scan::open(db, keyspace.state(), snapshot, bounds, options.mode(), options.max_skip)
}
