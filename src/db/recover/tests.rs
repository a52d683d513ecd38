//! A replay by several threads: order of versions, whole batches, torn ends, damage, memtables that fill up. Parcels are
//! tiny here and the threads start at once, so that short logs meet every border.

use super::*;
use crate::base::iter::{Cursor, View};
use crate::db::inner::DbInner;
use crate::db::{Batch, Db, Durability, Options, WriteOptions};
use crate::error::Code;
use crate::fs::fault::FaultFs;
use crate::fs::mem::MemFs;
use std::path::PathBuf;

const DIR: &str = "/db";
const NAMES: [&[u8]; 3] = [b"default", b"second", b"third"];
const OS: WriteOptions = WriteOptions { durability: Durability::Os, deadline_micros: 0 };

/// A version as the log has it: keyspace, key, sequence number, kind, value.
type Version = (usize, Vec<u8>, u64, EntryKind, Vec<u8>);

fn options(memtable: &str) -> Options {
    let mut options = Options::new();
    for (key, value) in [("memtable.size", memtable), ("wal.io", "write"), ("wal.segment_size", "1MiB")] {
        options.set(key, value).expect("an option");
    }
    options
}

/// Writes batches of 1 to 5 operations over few keys of three keyspaces, and leaves the log as a killed process does.
/// Answers the disk and the versions of each batch.
fn killed(batches: u64, sync_at: u64) -> (FaultFs, Vec<Vec<Version>>) {
    let disk = FaultFs::new();
    // So large that nothing is flushed; the replay is told another size.
    let settings = options("64MiB");
    let db = Db::open_on(Arc::new(disk.clone()), Path::new(DIR), &settings).expect("open");
    let spaces: Vec<_> =
        NAMES.iter().map(|name| db.keyspace_open(name, None).expect("keyspace").expect("is made")).collect();
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut all = Vec::new();
    for n in 0..batches {
        let mut batch: Batch = db.batch();
        let mut versions = Vec::new();
        for _ in 0..=random(5) {
            let at = random(3) as usize;
            let key = format!("key{:03}", random(40)).into_bytes();
            if random(4) == 0 {
                batch.delete(&spaces[at], &key).expect("delete");
                versions.push((at, key, 0, EntryKind::Delete, Vec::new()));
            } else {
                // Now and then one that goes in without a copy.
                let len = if random(20) == 0 { 2 * PARCEL_BYTES } else { random(60) as usize };
                let value = vec![n as u8; len];
                batch.put(&spaces[at], &key, &value).expect("put");
                versions.push((at, key, 0, EntryKind::Put, value));
            }
        }
        let last = db.write(&OS, &batch).expect("write").0;
        let first = last + 1 - versions.len() as u64;
        for (i, version) in versions.iter_mut().enumerate() {
            version.2 = first + i as u64;
        }
        all.push(versions);
        if n + 1 == sync_at {
            db.sync().expect("sync");
        }
    }
    disk.power_off();
    let _ = db.close();
    let next = disk.after_kill();
    (next, all)
}

/// What a read-only open has in its memtables, keyspace by keyspace, oldest memtable first.
fn recovered(disk: &FaultFs, memtable: &str) -> Result<Vec<Vec<Vec<Version>>>> {
    let mut settings = options(memtable);
    settings.set("mode", "ro").expect("mode");
    let db = crate::db::open::open(Arc::new(disk.clone()), Path::new(DIR), &settings)?;
    let found = NAMES.iter().enumerate().map(|(at, name)| memtables(&db, at, name)).collect();
    crate::db::close::begin(&db);
    crate::db::close::finish(&db)?;
    Ok(found)
}

fn memtables(db: &DbInner, at: usize, name: &[u8]) -> Vec<Vec<Version>> {
    let Some(keyspace) = db.keyspaces.get(name) else { return Vec::new() };
    let sealed = keyspace.mem.lock().sealed.clone();
    let rows = |table: &Arc<MemTable>| {
        let mut cursor = table.cursor(View::All);
        cursor.seek_first().expect("seek");
        let mut rows = Vec::new();
        while cursor.valid() {
            let entry = cursor.entry();
            rows.push((at, entry.key.to_vec(), entry.seq.0, entry.kind, entry.value.to_vec()));
            cursor.next().expect("next");
        }
        assert_eq!(rows.len() as u64, table.entries(), "the count of a memtable");
        rows
    };
    sealed.iter().map(|m| rows(&m.table)).collect()
}

/// The versions of keyspace `at` in the order of a memtable.
fn model(batches: &[Vec<Version>], at: usize) -> Vec<Version> {
    let mut all: Vec<Version> = batches.iter().flatten().filter(|v| v.0 == at).cloned().collect();
    all.sort_by(|a, b| a.1.cmp(&b.1).then(b.2.cmp(&a.2)));
    all
}

#[test]
fn versions_of_one_key_keep_their_order() {
    let (disk, batches) = killed(600, 0);
    for (at, tables) in recovered(&disk, "64MiB").expect("opens").into_iter().enumerate() {
        assert_eq!(tables.len(), 1, "one memtable holds it all");
        assert_eq!(tables[0], model(&batches, at), "keyspace {at}");
    }
}

#[test]
fn memtables_that_fill_up_do_not_overlap() {
    let (disk, batches) = killed(600, 0);
    for (at, tables) in recovered(&disk, "4KiB").expect("opens").into_iter().enumerate() {
        assert!(tables.len() > 3, "{} memtables", tables.len());
        for pair in tables.windows(2) {
            let newest = pair[0].iter().map(|v| v.2).max();
            let oldest = pair[1].iter().map(|v| v.2).min();
            assert!(newest < oldest, "keyspace {at}: {newest:?} lies below {oldest:?}");
        }
        let mut all: Vec<Version> = tables.concat();
        all.sort_by(|a, b| a.1.cmp(&b.1).then(b.2.cmp(&a.2)));
        assert_eq!(all, model(&batches, at), "keyspace {at}");
    }
}

fn log_path(disk: &FaultFs) -> PathBuf {
    let mut names: Vec<_> = disk.list(Path::new(DIR)).expect("list");
    names.retain(|name| Path::new(name).extension().is_some_and(|e| e == "wal"));
    // Segments grow, so nearly all of it is in the last one that has records.
    names.sort();
    let mut paths = names.iter().map(|name| Path::new(DIR).join(name));
    paths.rfind(|path| used(disk, path) > 5000).expect("a segment with records")
}

fn image(disk: &FaultFs) -> MemFs {
    disk.process_death()
}

/// Where the last byte of a file that is not zero ends.
fn used(disk: &FaultFs, path: &Path) -> usize {
    let bytes = image(disk).read_file(path).expect("read");
    bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1)
}

#[test]
fn a_torn_end_takes_whole_batches_and_nothing_else() {
    let (disk, batches) = killed(200, 0);
    let path = log_path(&disk);
    let end = used(&disk, &path);
    let mut lengths = std::collections::BTreeSet::new();
    for cut in (end.saturating_sub(400)..end).step_by(8) {
        let image = image(&disk);
        let mut bytes = image.read_file(&path).expect("read");
        bytes[cut..].fill(0);
        image.write_file(&path, &bytes).expect("write");
        let found = recovered(&FaultFs::over(&image), "64MiB").expect("a torn end opens");
        let versions: usize = found.iter().flatten().map(Vec::len).sum();
        let kept = (0..=batches.len()).rev().find(|&k| batches[..k].iter().map(Vec::len).sum::<usize>() == versions);
        let kept = kept.unwrap_or_else(|| panic!("cut at {cut}: {versions} versions are no whole batches"));
        for (at, tables) in found.into_iter().enumerate() {
            assert_eq!(tables.concat(), model(&batches[..kept], at), "cut at {cut}, keyspace {at}");
        }
        lengths.insert(kept);
    }
    assert!(lengths.len() > 2 && lengths.iter().all(|&k| k < batches.len()), "{lengths:?}");
}

#[test]
fn damage_in_the_middle_is_the_same_damage_with_and_without_threads() {
    let (disk, _) = killed(200, 200);
    let path = log_path(&disk);
    let image = image(&disk);
    let mut bytes = image.read_file(&path).expect("read");
    let middle = 4096 + (used(&disk, &path) - 4096) / 2;
    bytes[middle] ^= 1;
    image.write_file(&path, &bytes).expect("write");
    let error = recovered(&FaultFs::over(&image), "64MiB").expect_err("below the watermark");
    assert_eq!(error.code(), Code::Corruption);
    // The log alone, on one thread, says the same.
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(error.message().contains(&name) && error.message().contains("damaged or missing"), "{error}");
}

#[test]
fn an_entry_of_a_keyspace_that_never_was_ends_the_replay() {
    let disk = FaultFs::new();
    let db = Db::open_on(Arc::new(disk.clone()), Path::new(DIR), &options("64MiB")).expect("open");
    drop(db.close());
    let versions = VersionSet::recover(crate::version::VersionSetConfig {
        fs: Arc::new(disk),
        dir: PathBuf::from(DIR),
        read_only: true,
        logger: Arc::new(crate::base::log_sink::NullSink),
    })
    .expect("recover");
    let start = |id, flushed| {
        let tables = Tables::new();
        (
            KeyspaceId(id),
            Recovered { flushed: SeqNo(flushed), memtable_bytes: 1 << 20, tables, filling: Load::default() },
        )
    };
    std::thread::scope(|scope| {
        let keyspaces = [start(0, 10)].into_iter().collect();
        let mut recovery = Recovery { versions: &versions, keyspaces, crew: Crew::new(scope), filling: 0, bytes: 0 };
        let mut batch = crate::batch::BatchData::new();
        batch.put(KeyspaceId(0), b"in a table", b"v").expect("put");
        batch.put(KeyspaceId(0), b"not yet", b"v").expect("put");
        // Sequence numbers 10 and 11: one is in a table.
        recovery.apply(SeqNo(10), 2, batch.bytes()).expect("sound");
        let short = recovery.apply(SeqNo(12), 3, batch.bytes()).expect_err("three entries claimed");
        assert_eq!(short.code(), Code::Corruption);
        batch.put(KeyspaceId(77), b"foreign", b"v").expect("put");
        let foreign = recovery.apply(SeqNo(20), 3, batch.bytes()).expect_err("no such keyspace");
        assert!(foreign.message().contains("which never was"), "{foreign}");
        recovery.ship_all().expect("space");
        recovery.crew.finish().expect("threads");
        let entries: u64 = recovery.keyspaces[&KeyspaceId(0)].tables.iter().map(|t| t.entries()).sum();
        assert_eq!(entries, 5);
    });
}
