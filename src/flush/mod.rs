//! L5: writes sealed memtables, or a range of their keys, as one level-0 table.
//!
//! Versions that no reader can see are left out already here. Deletes are kept: what they hide may lie in any level.
//!
//! Threads: one job on one thread; the memtables are sealed, so nobody writes to them. Failure: no file remains, the
//! memtables are as they were and the job can be run again under another number.

use crate::base::ids::{FileIdentity, FileNumber};
use crate::base::iter::{Cursor, View};
use crate::base::key::Entry;
use crate::error::Result;
use crate::fs::Fs;
use crate::iter::merge::{MergeCursor, Source};
use crate::iter::output::{TableOutput, remove_orphan, table_path};
use crate::iter::retain::Retain;
use crate::memtable::MemTable;
use crate::sstable::TableConfig;
use crate::version::FileMeta;
use std::path::PathBuf;
use std::sync::Arc;

/// What a flush needs.
pub struct FlushJob {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The database folder.
    pub dir: PathBuf,
    /// The database's identity.
    pub database: u128,
    /// The number of the table to write.
    pub number: FileNumber,
    /// How to write it.
    pub table: TableConfig,
    /// Sealed memtables of one keyspace, newest first.
    pub memtables: Vec<Arc<MemTable>>,
    /// What readers may still ask for.
    pub retain: Retain,
    /// Only keys from here on.
    pub from: Option<Vec<u8>>,
    /// Only keys below.
    pub to: Option<Vec<u8>>,
}

/// Writes the table, synced, folder synced. `None` when nothing was left to write (no file remains then). On an error
/// no file remains.
pub fn run(job: &FlushJob) -> Result<Option<FileMeta>> {
    let sources = job.memtables.iter().map(|memtable| Source::Mem(memtable.cursor(View::All))).collect();
    let identity = FileIdentity { database: job.database, number: job.number };
    // The file is made with the first entry, so that an empty flush leaves none.
    let mut output: Option<TableOutput> = None;
    let range = (job.from.as_deref(), job.to.as_deref());
    each_kept(&mut MergeCursor::new(sources, View::All), range, &job.retain, |entry| {
        if let Some(open) = &mut output {
            return open.add(entry);
        }
        let mut open = TableOutput::create(&job.fs, &job.dir, identity, job.table.clone())?;
        open.add(entry)?;
        output = Some(open);
        Ok(())
    })?;
    let Some(open) = output else { return Ok(None) };
    let meta = open.finish()?;
    if !crate::base::planted!("flush-name-unsynced")
        && let Err(error) = job.fs.sync_dir(&job.dir)
    {
        remove_orphan(&*job.fs, &table_path(&job.dir, job.number));
        return Err(error);
    }
    Ok(Some(meta))
}

/// Hands every version of a key of `range` that must live to `write`, in order.
fn each_kept<C: Cursor>(
    cursor: &mut C,
    range: (Option<&[u8]>, Option<&[u8]>),
    retain: &Retain,
    mut write: impl FnMut(Entry<'_>) -> Result<()>,
) -> Result<()> {
    let mut filter = retain.filter();
    match range.0 {
        Some(from) => cursor.seek_ge(from)?,
        None => cursor.seek_first()?,
    }
    while cursor.valid() {
        let entry = cursor.entry();
        if range.1.is_some_and(|to| entry.key >= to) {
            break;
        }
        if filter.keep(entry.key, entry.seq, entry.kind, false) {
            write(entry)?;
        }
        cursor.next()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::SeqNo;
    use crate::base::key::EntryKind;
    use crate::iter::merge::Merge;
    use crate::iter::testing::{Item, Run, VecCursor};
    use crate::{Code, Error};

    #[test]
    fn keeps_what_readers_see_and_every_newest_delete() {
        let item = |key: &[u8], seq, kind| Item { key: key.to_vec(), seq: SeqNo(seq), kind, value: Vec::new() };
        let newer = Run::new(vec![item(b"a", 7, EntryKind::Delete), item(b"b", 9, EntryKind::Put)]);
        let older = Run::new(vec![
            item(b"a", 5, EntryKind::Put),
            item(b"a", 3, EntryKind::Put),
            item(b"a", 2, EntryKind::Put),
            item(b"b", 4, EntryKind::Put),
            item(b"c", 1, EntryKind::Delete),
        ]);
        let retain = Retain { visible: SeqNo(8), snapshots: vec![SeqNo(3)] };
        let mut kept = Vec::new();
        let sources = [&newer, &older].map(|run| VecCursor::new(run, View::All)).into();
        each_kept(&mut Merge::new(sources, View::All), (None, None), &retain, |entry| {
            kept.push((entry.key[0] as char, entry.seq.0));
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(kept, [('a', 7), ('a', 3), ('b', 9), ('b', 4), ('c', 1)]);
    }

    #[test]
    fn ranges_share_out_every_version_once() {
        let run = Run::random(3, 60, 400, 0);
        let kept = |range: (Option<&[u8]>, Option<&[u8]>)| {
            let mut kept = Vec::new();
            each_kept(&mut VecCursor::new(&run, View::All), range, &Retain::default(), |entry| {
                kept.push((entry.key.to_vec(), entry.seq));
                Ok(())
            })
            .expect("nothing fails");
            kept
        };
        let whole = kept((None, None));
        for at in [0, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let cut = whole[at].0.as_slice();
            let (low, high) = (kept((None, Some(cut))), kept((Some(cut), None)));
            assert!(low.iter().all(|(key, _)| key.as_slice() < cut));
            assert_eq!([low, high].concat(), whole);
        }
    }

    #[test]
    fn a_failed_write_ends_it() {
        let run = Run::random(1, 20, 20, 0);
        let mut calls = 0;
        let done = each_kept(&mut VecCursor::new(&run, View::All), (None, None), &Retain::default(), |_| {
            calls += 1;
            if calls == 3 { Err(Error::new(Code::NoSpace, "planted")) } else { Ok(()) }
        });
        assert_eq!(done.map_err(|error| error.code()), Err(Code::NoSpace));
        assert_eq!(calls, 3);
    }
}
