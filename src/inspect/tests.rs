//! Folders of real databases, looked at: what was written is found where it is, damage is told and hides nothing else.

use super::*;
use crate::base::ids::SeqNo;
use crate::base::key::EntryKind;
use crate::db::{Db, Options, WriteOptions};
use crate::error::Code;
use crate::fs::mem::MemFs;
use crate::sstable::TablePart;
use crate::wal::RecordKind;

const DIR: &str = "/db";
const COUNT: u32 = 2_000;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:06}").into_bytes()
}

/// `COUNT` keys in a table, one of them overwritten in a second table and deleted in the log; not closed.
fn database() -> (Arc<MemFs>, Db) {
    let fs = Arc::new(MemFs::new());
    let mut options = Options::new();
    options.set("compression", "none").expect("an option");
    options.set("level0.compaction_trigger", "100").expect("an option");
    let db = Db::open_on(fs.clone(), Path::new(DIR), &options).expect("open");
    let (keyspace, write) = (db.default_keyspace(), WriteOptions::default());
    for i in 0..COUNT {
        keyspace.put(&write, &key(i), b"first value of the key").expect("put");
    }
    db.flush(None).expect("flush");
    keyspace.put(&write, &key(700), b"second").expect("put");
    db.flush(None).expect("flush");
    keyspace.delete(&write, &key(700)).expect("delete");
    (fs, db)
}

/// File name, sequence number, kind, whether it is not part of the database.
type Place = (String, u64, EntryKind, bool);

/// Every place, and the damages that were told.
fn find(folder: &Folder, key: &[u8]) -> (Vec<Place>, Vec<String>) {
    let state = folder.state().ok();
    let (mut places, mut damages) = (Vec::new(), Vec::new());
    let searched = folder.find(key, state.as_ref(), &mut |sought| match sought {
        Sought::Here(s) => {
            let name = s.path.file_name().expect("a name").to_string_lossy().into_owned();
            places.push((name, s.seq.0, s.kind, s.is_dropped));
        }
        Sought::Damage(path, error) => damages.push(format!("{}: {error}", path.display())),
        Sought::Searched(_) => {}
    });
    searched.expect("a search");
    places.sort_by_key(|place| std::cmp::Reverse(place.1));
    places.dedup();
    (places, damages)
}

fn flip(fs: &MemFs, path: &Path, at: u64) {
    let file = fs.open(path, OpenMode::ReadWrite).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x40], at).expect("write");
}

fn tables(folder: &Folder) -> Vec<FolderFile> {
    folder.files().expect("files").into_iter().filter(|file| file.kind == FileKind::Table).collect()
}

#[test]
fn a_key_is_found_in_every_file_that_holds_it() {
    let (fs, _db) = database();
    let folder = Folder::new_on(fs, Path::new(DIR));
    let (places, damages) = find(&folder, &key(700));
    assert_eq!(damages, [""; 0]);
    let last = u64::from(COUNT) + 2;
    let versions: Vec<_> = places.iter().filter(|p| p.0.ends_with(".sst")).map(|p| (p.1, p.2, p.3)).collect();
    assert_eq!(versions, [(last - 1, EntryKind::Put, false), (701, EntryKind::Put, false)]);
    assert!(places.iter().any(|p| p.0.ends_with(".wal") && (p.1, p.2) == (last, EntryKind::Delete)), "{places:?}");
    assert_eq!(find(&folder, b"no such key").0, []);
}

#[test]
fn a_damaged_block_is_told_and_hides_no_other() {
    let (fs, db) = database();
    db.close().expect("close");
    let folder = Folder::new_on(fs.clone(), Path::new(DIR));
    let largest = tables(&folder).into_iter().max_by_key(|file| file.len).expect("a table");
    let database = folder.database().expect("an identity");
    let table = folder.table(&largest.path, database, None).expect("a table");
    let outline = table.outline();
    assert!(outline.data_blocks > 3 && outline.data_bytes < largest.len, "{outline:?}");
    let (mut blocks, mut seen) = (Vec::new(), Vec::new());
    table.for_each_block(None, &mut |part| {
        let TablePart::Block(place, view) = part else { panic!("an index is lost") };
        let (view, mut key) = (view.expect("a whole block"), Vec::new());
        for i in 0..view.count() {
            view.key_into(i, &mut key);
            seen.push((key.clone(), view.seq(i), view.kind(i), view.value(i).to_vec()));
        }
        blocks.push(place);
        true
    });
    let want = |i: u32| (key(i), SeqNo(u64::from(i) + 1), EntryKind::Put, b"first value of the key".to_vec());
    assert_eq!(seen, (0..COUNT).map(want).collect::<Vec<_>>());

    flip(&fs, &largest.path, blocks[1].offset + 30);
    let (mut bad, mut good) = (Vec::new(), 0);
    let table = folder.table(&largest.path, database, None).expect("footer and top index are whole");
    table.for_each_block(None, &mut |part| {
        match part {
            TablePart::Block(place, Err(error)) => bad.push((place, error)),
            TablePart::Block(_, Ok(_)) => good += 1,
            TablePart::LostIndex { .. } => panic!("an index is lost"),
        }
        true
    });
    assert_eq!((bad.len(), good), (1, blocks.len() - 1));
    assert_eq!((bad[0].0, bad[0].1.code()), (blocks[1], Code::Corruption));
    assert!(bad[0].1.message().contains(&format!("offset {}", blocks[1].offset)), "{}", bad[0].1);
    assert_eq!(find(&folder, &key(COUNT - 1)).0.len(), 1, "a key in another block");
}

#[test]
fn a_segment_shows_its_records_and_where_they_end() {
    let (fs, _db) = database();
    let folder = Folder::new_on(fs.clone(), Path::new(DIR));
    let files = folder.files().expect("files");
    // The newest file may be a segment that is only ready: a header, and no record.
    let has_records = |path: &Path| {
        let mut found = false;
        let head = folder.segment(path, &mut |item| {
            found |= matches!(item, SegmentItem::Record(_));
            !found
        });
        head.is_ok() && found
    };
    let mut newest_first = files.iter().rev();
    let segment = newest_first.find(|file| file.kind == FileKind::Wal && has_records(&file.path)).expect("a segment");
    let records = |folder: &Folder| {
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        let head = folder.segment(&segment.path, &mut |item| {
            match item {
                SegmentItem::Record(r) => records.push((r.offset, r.kind, r.first_seq.0, r.is_behind_end)),
                SegmentItem::End { offset, is_begun, .. } => ends.push((offset, is_begun)),
                SegmentItem::MissingMark { .. } => {}
            }
            true
        });
        (head, records, ends)
    };
    let (head, found, ends) = records(&folder);
    assert_eq!(head.expect("a header").file.number, segment.number);
    assert_eq!(found[0].1, RecordKind::Start);
    assert_eq!(found.last().map(|r| (r.2, r.3)), Some((u64::from(COUNT) + 2, false)), "the delete");
    assert_eq!(ends.len(), 1);
    assert!(!ends[0].1, "zeros stand behind the last record");

    // The rest of an earlier use of the file, behind the end, is no damage: its numbers are lower.
    let file = fs.open(&segment.path, OpenMode::ReadWrite).expect("open");
    let mut rest = [0; 64];
    file.read_exact_at(&mut rest, found[0].0).expect("read");
    file.write_all_at(&rest, ends[0].0).expect("write");
    assert_eq!(records(&folder).2, ends);

    let batches: Vec<_> = found.iter().filter(|r| r.1 == RecordKind::Batch).collect();
    if let [.., hit, _last] = batches.as_slice() {
        flip(&fs, &segment.path, hit.0 + 33);
        let (_, found, ends) = records(&folder);
        assert_eq!(ends, [(hit.0, true)], "the chain ends at the damaged record");
        assert_eq!(found.last().map(|r| r.3), Some(true), "what stands behind it is shown as that");
    }
    flip(&fs, &segment.path, 20);
    assert_eq!(records(&folder).0.expect_err("a damaged header").code(), Code::Corruption);
}

#[test]
fn a_manifest_shows_its_edits_up_to_the_damage() {
    let (fs, db) = database();
    db.close().expect("close");
    let folder = Folder::new_on(fs.clone(), Path::new(DIR));
    let manifest =
        folder.files().expect("files").into_iter().find(|file| file.kind == FileKind::Manifest).expect("one");
    let units = |folder: &Folder| {
        let mut units = Vec::new();
        let done = folder.manifest(&manifest.path, &mut |unit| units.push(unit));
        (units, done)
    };
    let (all, done) = units(&folder);
    assert_eq!(done.expect("whole").1, None);
    assert!(all[0].is_snapshot && all[1..].iter().all(|unit| !unit.is_snapshot));
    assert!(all.last().is_some_and(|unit| unit.edit.clean_end.is_some()), "closed cleanly");
    let state = folder.state().expect("a state");
    assert!(state.current.is_exact);
    let in_force: usize = state.keyspaces.iter().map(|k| k.version.tables().count()).sum();
    assert_eq!(in_force, tables(&folder).len());

    flip(&fs, &manifest.path, all.last().expect("units").offset + 5);
    let (fewer, done) = units(&folder);
    assert_eq!(fewer.len(), all.len() - 1, "what stands before the damage is shown");
    assert!(done.expect_err("damage").message().contains("MANIFEST"), "the file is named");
    // Without a state every table is looked at all the same.
    let (places, _) = find(&folder, &key(3));
    assert!(places.iter().any(|place| place.3 && place.1 == 4), "{places:?}");
}

#[test]
fn the_identity_is_found_without_current() {
    let (fs, db) = database();
    db.close().expect("close");
    let folder = Folder::new_on(fs.clone(), Path::new(DIR));
    let database = folder.database().expect("an identity");
    fs.remove(&Path::new(DIR).join("CURRENT")).expect("remove");
    assert_eq!(folder.database().expect("from the manifest"), database);
    assert_eq!(folder.current().expect_err("gone").code(), Code::Corruption);
    let table = tables(&folder).remove(0);
    assert!(folder.table(&table.path, database ^ 1, None).is_err(), "of another database");
    let strange = Path::new(DIR).join("strange");
    fs.rename(&table.path, &strange).expect("rename");
    assert_eq!(folder.table(&strange, database, None).map(drop).expect_err("no number").code(), Code::Invalid);
    assert!(folder.table(&strange, database, Some(table.number)).is_ok());
}
