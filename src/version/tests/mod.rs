//! The manifest and the version set against crashes, failing calls and damage, over a folder in memory.

mod damage;
mod failure;
mod testfs;

use self::testfs::{Crash, Failure, MemFs};
use super::*;
use crate::base::ids::{FileNumber, KeyspaceId, Level, SeqNo};
use crate::base::log_sink::NullSink;
use crate::error::{Code, Error, Result};
use crate::fs::Fs;
use crate::fs::names::{self, FileKind};
use crate::sstable::TableSummary;
use crate::wal::CleanEnd;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEFAULT: KeyspaceId = KeyspaceId::DEFAULT;
const CRASHES: [Crash; 4] = [Crash::Process, Crash::Power, Crash::PowerNamesFirst, Crash::PowerCurrentFirst];

fn dir() -> PathBuf {
    PathBuf::from("/db")
}

fn path(kind: FileKind, number: u64) -> PathBuf {
    names::path(&dir(), kind, FileNumber(number))
}

fn config(fs: &Arc<MemFs>) -> VersionSetConfig {
    let fs = Arc::clone(fs) as Arc<dyn Fs>;
    VersionSetConfig { fs, dir: dir(), read_only: false, logger: Arc::new(NullSink) }
}

fn new_set() -> (Arc<MemFs>, VersionSet) {
    let fs = MemFs::new(&dir());
    let set = VersionSet::create(config(&fs)).expect("a new database");
    (fs, set)
}

fn recover(fs: &Arc<MemFs>) -> Result<VersionSet> {
    VersionSet::recover(config(fs))
}

/// A table file and its record, keys `from` to `to`.
fn table(fs: &MemFs, set: &VersionSet, from: &str, to: &str, seq: u64) -> FileMeta {
    let number = set.next_file_number();
    fs.put(&path(FileKind::Table, number.0), &[7; 100]);
    let summary = TableSummary {
        size: 100,
        checksum: 0xabcd,
        entries: 5,
        deletes: 1,
        raw_bytes: 400,
        smallest: from.into(),
        largest: to.into(),
        smallest_seq: SeqNo(seq),
        largest_seq: SeqNo(seq + 4),
    };
    FileMeta { number, summary }
}

/// Everything the manifest should remember, as text.
fn dump(set: &VersionSet) -> String {
    let mut text =
        format!("{:032x} {:?} {:?} {}\n", set.database(), set.options(), set.log_state(), set.keyspace_id_end());
    for k in set.keyspaces() {
        text += &format!("{} {:?} {:?} {}\n", k.id, k.name, k.options, k.flushed_seq);
        for (level, table) in k.version.tables() {
            text += &format!("  {level} {:?}\n", table.meta());
        }
    }
    text
}

type Step = fn(&MemFs, &VersionSet) -> VersionEdit;

fn first_table(set: &VersionSet, level: usize) -> FileNumber {
    set.keyspaces()[0].version.levels()[level].files()[0].meta().number
}

/// A small life of a database. No step depends on how often it was tried.
const STEPS: [Step; 7] = [
    |_, set| VersionEdit { segment_started: Some(set.next_file_number()), ..VersionEdit::default() },
    |fs, set| VersionEdit {
        added: vec![(DEFAULT, Level(0), table(fs, set, "a", "m", 1))],
        flushed: vec![(DEFAULT, SeqNo(5))],
        ..VersionEdit::default()
    },
    |_, set| VersionEdit {
        created: vec![(set.next_keyspace_id(), b"second".to_vec(), "x = 1\n".into())],
        options: vec![(None, "y = 2\n".into())],
        ..VersionEdit::default()
    },
    |fs, set| VersionEdit {
        added: vec![(DEFAULT, Level(1), table(fs, set, "a", "k", 1)), (DEFAULT, Level(1), table(fs, set, "l", "m", 2))],
        removed: vec![(DEFAULT, Level(0), first_table(set, 0))],
        ..VersionEdit::default()
    },
    |fs, set| VersionEdit {
        added: vec![(set.keyspaces()[1].id, Level(0), table(fs, set, "q", "r", 9))],
        first_segment: Some(FileNumber(3)),
        last_seq: Some(SeqNo(40)),
        ..VersionEdit::default()
    },
    |_, set| VersionEdit { dropped: vec![set.keyspaces()[1].id], ..VersionEdit::default() },
    |_, set| {
        let number = first_table(set, 1);
        let meta = set.keyspaces()[0].version.levels()[1].files()[0].meta().clone();
        VersionEdit {
            added: vec![(DEFAULT, Level(2), meta)],
            removed: vec![(DEFAULT, Level(1), number)],
            ..VersionEdit::default()
        }
    },
];

fn clean_end() -> VersionEdit {
    let end = CleanEnd { number: FileNumber(2), offset: 77, last_seq: SeqNo(41) };
    VersionEdit { clean_end: Some(end), ..VersionEdit::default() }
}

/// Runs all steps; the dump and the manifest's length after each.
fn run_all(fs: &MemFs, set: &VersionSet) -> Vec<(String, usize)> {
    let manifest = |set: &VersionSet| fs.bytes(&path(FileKind::Manifest, set.manifest_number().0)).len();
    let mut seen = vec![(dump(set), manifest(set))];
    for step in STEPS {
        set.log_and_apply(step(fs, set)).expect("no failure planned");
        seen.push((dump(set), manifest(set)));
    }
    seen
}

fn assert_corruption<T>(result: Result<T>, file: &str, what: &str) {
    match result {
        Ok(_) => panic!("{what}: not noticed"),
        Err(e) => {
            assert_eq!(e.code(), Code::Corruption, "{what}: {e}");
            assert!(e.message().contains(file), "{what}: does not name {file}: {e}");
        }
    }
}

#[test]
fn a_database_comes_back_as_it_was() {
    let (fs, set) = new_set();
    assert_eq!(set.keyspaces()[0].name, b"default");
    let seen = run_all(&fs, &set);
    let next = set.next_file_number();
    for crash in CRASHES {
        let fs = fs.crash(crash);
        let again = recover(&fs).expect("recovers");
        assert_eq!(dump(&again), seen[STEPS.len()].0, "{crash:?}");
        assert!(!again.is_durable() && again.next_file_number() >= next);
        again.log_and_apply(VersionEdit::default()).expect("a new manifest");
        assert!(again.is_durable());
        again.verify_manifest().expect("just written");
        assert_eq!(dump(&recover(&fs.crash(Crash::Power)).expect("recovers")), seen[STEPS.len()].0);
    }
}

#[test]
fn a_read_only_recovery_writes_nothing() {
    let (fs, set) = new_set();
    run_all(&fs, &set);
    let fs = fs.crash(Crash::Process);
    let set = VersionSet::recover(VersionSetConfig { read_only: true, ..config(&fs) }).expect("recovers");
    assert_eq!(set.log_and_apply(VersionEdit::default()).expect_err("read-only").code(), Code::ReadOnly);
    assert_eq!(fs.calls(), 0);
}

#[test]
fn an_edit_after_a_clean_end_takes_it_back() {
    let (fs, set) = new_set();
    set.log_and_apply(clean_end()).expect("closes");
    let closed = set.manifest_number();
    set.log_and_apply(VersionEdit::default()).expect("goes on");
    assert_ne!(set.manifest_number(), closed, "nothing is appended behind a clean end");
    assert_eq!(recover(&fs.crash(Crash::Power)).expect("recovers").log_state().clean_end, None);
    // A clean close that starts with an old manifest states the exact length at once.
    let set = recover(&fs).expect("recovers");
    set.log_and_apply(clean_end()).expect("closes");
    assert!(recover(&fs.crash(Crash::Power)).expect("recovers").is_durable());
}

#[test]
fn an_edit_that_does_not_fit_is_refused_before_anything_is_written() {
    let (fs, set) = new_set();
    for step in &STEPS[..5] {
        set.log_and_apply(step(&fs, &set)).expect("works");
    }
    let fresh = |from: &str, to: &str| table(&fs, &set, from, to, 1);
    let live = set.keyspaces()[0].version.levels()[1].files()[0].meta().clone();
    let add = |level: u8, meta: FileMeta| VersionEdit {
        added: vec![(DEFAULT, Level(level), meta)],
        ..VersionEdit::default()
    };
    let create = |id: KeyspaceId, name: &[u8]| VersionEdit {
        created: vec![(id, name.to_vec(), String::new())],
        ..VersionEdit::default()
    };
    let unknown = KeyspaceId(77);
    let mut undrawn = fresh("x", "y");
    undrawn.number = FileNumber(1 << 40);
    let mut backwards = fresh("x", "y");
    backwards.summary.smallest = b"z".to_vec();
    let bad = [
        ("overlap", add(1, fresh("c", "d"))),
        ("shared key", add(1, fresh("m", "z"))),
        (
            "overlap within",
            VersionEdit {
                added: vec![(DEFAULT, Level(3), fresh("a", "c")), (DEFAULT, Level(3), fresh("b", "d"))],
                ..VersionEdit::default()
            },
        ),
        ("level", add(LEVEL_COUNT_MAX as u8, fresh("x", "y"))),
        ("duplicate", add(2, live.clone())),
        ("undrawn", add(0, undrawn)),
        ("backwards", add(0, backwards)),
        ("keyspace", VersionEdit { added: vec![(unknown, Level(0), fresh("x", "y"))], ..VersionEdit::default() }),
        ("not there", VersionEdit { removed: vec![(DEFAULT, Level(2), live.number)], ..VersionEdit::default() }),
        ("twice", VersionEdit { removed: vec![(DEFAULT, Level(1), live.number); 2], ..VersionEdit::default() }),
        ("flushed", VersionEdit { flushed: vec![(unknown, SeqNo(1))], ..VersionEdit::default() }),
        ("seq", VersionEdit { last_seq: Some(SeqNo(u64::MAX)), ..VersionEdit::default() }),
        ("drop unknown", VersionEdit { dropped: vec![unknown], ..VersionEdit::default() }),
        ("drop default", VersionEdit { dropped: vec![DEFAULT], ..VersionEdit::default() }),
        ("options", VersionEdit { options: vec![(Some(unknown), String::new())], ..VersionEdit::default() }),
        ("long options", VersionEdit { options: vec![(None, "x".repeat(2 << 20))], ..VersionEdit::default() }),
        ("taken name", create(set.next_keyspace_id(), b"second")),
        ("no name", create(set.next_keyspace_id(), b"")),
        ("long name", create(set.next_keyspace_id(), &[b'n'; 256])),
        ("undrawn id", create(KeyspaceId(1000), b"new")),
        ("used id", create(KeyspaceId(1), b"new")),
    ];
    let (before, calls) = (dump(&set), fs.calls());
    for (what, edit) in bad {
        let error = set.log_and_apply(edit).expect_err(what);
        assert_eq!(error.code(), Code::Invalid, "{what}: {error}");
    }
    assert_eq!((dump(&set), fs.calls()), (before, calls));
    assert!(set.is_durable());
    let freed = set.take_obsolete();
    assert!(freed.len() >= 5 && !freed.contains(&live.number), "the tables of refused edits are free: {freed:?}");
}

#[test]
fn keyspace_ids_are_never_reused() {
    let (fs, set) = new_set();
    let create = |set: &VersionSet, name: &str| {
        let id = set.next_keyspace_id();
        let edit = VersionEdit { created: vec![(id, name.into(), String::new())], ..VersionEdit::default() };
        let changed = set.log_and_apply(edit).expect("created");
        assert_eq!((changed.len(), changed[0].0, changed[0].1.tables().count()), (1, id, 0));
        id
    };
    let drop = |set: &VersionSet, id| {
        set.log_and_apply(VersionEdit { dropped: vec![id], ..VersionEdit::default() }).expect("dropped");
    };
    let a = create(&set, "a");
    drop(&set, a);
    let b = create(&set, "a");
    assert!(b > a);
    drop(&set, b);
    let set = recover(&fs.crash(Crash::Power)).expect("recovers");
    assert_eq!(set.keyspace_id_end(), KeyspaceId(b.0 + 1));
    // Drawn first, logged last; the larger id logged first does not make it "used".
    let (low, high) = (set.next_keyspace_id(), set.next_keyspace_id());
    assert!(low > b);
    for (id, name) in [(high, "high"), (low, "low")] {
        let edit = VersionEdit { created: vec![(id, name.into(), String::new())], ..VersionEdit::default() };
        set.log_and_apply(edit).expect("created");
    }
    assert_eq!(set.keyspaces().len(), 3);
    assert_eq!(set.keyspace_id_end(), KeyspaceId(high.0 + 1));
}

#[test]
fn removed_tables_are_queued_when_their_last_version_goes() {
    let (fs, set) = new_set();
    for step in &STEPS[..2] {
        set.log_and_apply(step(&fs, &set)).expect("works");
    }
    let held = Arc::clone(&set.keyspaces()[0].version);
    let number = first_table(&set, 0);
    set.log_and_apply(STEPS[2](&fs, &set)).expect("creates");
    set.log_and_apply(STEPS[3](&fs, &set)).expect("compacts");
    assert!(set.take_obsolete().is_empty(), "a version still names it");
    drop(held);
    assert_eq!(set.take_obsolete(), [number]);
    assert!(set.take_obsolete().is_empty(), "once");

    set.log_and_apply(STEPS[4](&fs, &set)).expect("fills the second keyspace");
    let second = set.keyspaces()[1].version.levels()[0].files()[0].meta().number;
    set.log_and_apply(STEPS[5](&fs, &set)).expect("drops it");
    assert_eq!(set.take_obsolete(), [second]);

    let moved = Arc::downgrade(&set.keyspaces()[0].version.levels()[1].files()[0]);
    set.log_and_apply(STEPS[6](&fs, &set)).expect("moves");
    assert!(set.take_obsolete().is_empty(), "a move frees nothing");
    assert!(moved.upgrade().is_some(), "the handle moved along");
    drop(set);
}

#[test]
fn a_growing_manifest_is_replaced() {
    let (fs, mut set) = new_set();
    set.rotate_after(2000);
    let mut manifests = BTreeSet::new();
    for i in 0..300 {
        let added = vec![(DEFAULT, Level(0), table(&fs, &set, "a", "b", i * 10 + 1))];
        set.log_and_apply(VersionEdit { added, ..VersionEdit::default() }).expect("works");
        manifests.insert(set.manifest_number());
        assert_eq!(fs.names().iter().filter(|n| n.starts_with("MANIFEST-")).count(), 1);
    }
    // The limit grows with the snapshot: about log2(state / limit) rotations, not one per 2000 bytes.
    assert!((4..15).contains(&manifests.len()), "{} manifests", manifests.len());
    let again = recover(&fs.crash(Crash::Power)).expect("recovers");
    assert_eq!(dump(&again), dump(&set));
    let default = again.keyspaces().remove(0);
    let newest = &default.version.levels()[0].files()[0];
    assert_eq!(newest.meta().summary.smallest_seq, SeqNo(2991));
}

#[test]
fn a_large_edit_spans_records_and_counts_as_a_whole() {
    let (fs, set) = new_set();
    let before = dump(&set);
    let start = fs.bytes(&path(FileKind::Manifest, 1)).len();
    let key = |i: usize, fill: u8| [format!("{i:03}").into_bytes(), vec![fill; 60_000]].concat();
    let added = (0..40)
        .map(|i| {
            let mut meta = table(&fs, &set, "", "", 1);
            (meta.summary.smallest, meta.summary.largest) = (key(i, b'a'), key(i, b'b'));
            (DEFAULT, Level(4), meta)
        })
        .collect();
    set.log_and_apply(VersionEdit { added, ..VersionEdit::default() }).expect("works");
    let file = path(FileKind::Manifest, 1);
    let bytes = fs.bytes(&file);
    assert!(bytes.len() > 4_000_000);
    assert_eq!(dump(&recover(&fs.crash(Crash::Power)).expect("recovers")), dump(&set));
    for cut in [start, start + 10, start + (1 << 20) + 100, bytes.len() - 2 * manifest::RECORD_BYTES] {
        let fs = fs.crash(Crash::Process);
        fs.put(&file, &bytes[..cut]);
        assert_eq!(dump(&recover(&fs).expect("torn")), before, "cut at {cut}");
    }
    // The snapshot of such a state spans records too.
    let set = recover(&fs).expect("recovers");
    set.log_and_apply(VersionEdit::default()).expect("a new manifest");
    assert_eq!(dump(&recover(&fs.crash(Crash::Power)).expect("recovers")), dump(&set));
}

#[test]
fn a_copy_is_a_database_of_its_own() {
    let (fs, set) = new_set();
    run_all(&fs, &set);
    let copy = PathBuf::from("/copy");
    fs.put_dir(&copy);
    for number in set.live_tables() {
        fs.put(&names::path(&copy, FileKind::Table, number), &[7; 100]);
    }
    set.write_copy(&copy, &set.keyspaces(), set.log_state()).expect("written");
    let fs = fs.crash(Crash::Power);
    let found = VersionSet::recover(VersionSetConfig { dir: copy, ..config(&fs) }).expect("recovers");
    assert_eq!(dump(&found), dump(&set));
}

#[test]
fn threads_log_one_after_another() {
    let (fs, set) = new_set();
    let start = std::thread::scope(|scope| {
        for t in 0..4u64 {
            let (fs, set) = (&fs, &set);
            scope.spawn(move || {
                let id = set.next_keyspace_id();
                let created = vec![(id, format!("k{t}").into_bytes(), String::new())];
                set.log_and_apply(VersionEdit { created, ..VersionEdit::default() }).expect("created");
                for i in 0..50 {
                    let added = vec![(id, Level(0), table(fs, set, "a", "b", i * 10 + 1))];
                    let changed = set.log_and_apply(VersionEdit { added, ..VersionEdit::default() }).expect("added");
                    assert_eq!(changed[0].1.levels()[0].files().len() as u64, i + 1);
                }
            });
        }
        set.live_tables().len()
    });
    assert!(start <= 200);
    assert_eq!(set.live_tables().len(), 200);
    assert_eq!(dump(&recover(&fs.crash(Crash::Power)).expect("recovers")), dump(&set));
}

#[test]
#[ignore = "a measurement, for --release --nocapture"]
fn time_an_edit_beside_many_tables() {
    let (fs, set) = new_set();
    let meta = |set: &VersionSet, i: u64| {
        let mut meta = table(&fs, set, &format!("user{i:08}a"), &format!("user{i:08}b"), 1);
        meta.summary.checksum = i as u32;
        meta
    };
    let added = (0..10_000).map(|i| (DEFAULT, Level(3), meta(&set, i))).collect();
    set.log_and_apply(VersionEdit { added, ..VersionEdit::default() }).expect("works");
    let start = crate::base::clock::now();
    for i in 0..100 {
        let added = vec![(DEFAULT, Level(3), meta(&set, 20_000 + i))];
        set.log_and_apply(VersionEdit { added, ..VersionEdit::default() }).expect("works");
    }
    let edit = start.elapsed().as_micros() / 100;
    let fs = fs.crash(Crash::Process);
    let start = crate::base::clock::now();
    recover(&fs).expect("recovers");
    let line = format!("an edit beside 10,000 tables: {edit} us; recovery: {} us\n", start.elapsed().as_micros());
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("stderr");
}

#[test]
fn the_real_file_system_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = VersionSetConfig {
        fs: Arc::new(crate::fs::posix::PosixFs::new()),
        dir: folder.path().to_owned(),
        read_only: false,
        logger: Arc::new(NullSink),
    };
    let set = VersionSet::create(config.clone()).expect("a new database");
    let id = set.next_keyspace_id();
    let created = vec![(id, b"second".to_vec(), "x = 1\n".into())];
    set.log_and_apply(VersionEdit { created, ..VersionEdit::default() }).expect("created");
    let set = VersionSet::recover(config.clone()).expect("recovers");
    assert!(!set.is_durable());
    set.log_and_apply(clean_end()).expect("closes");
    let again = VersionSet::recover(VersionSetConfig { read_only: true, ..config.clone() }).expect("recovers");
    assert!(again.is_durable() && VersionSet::exists(config.fs.as_ref(), &config.dir).expect("there"));
    assert_eq!((dump(&again), again.keyspaces().len()), (dump(&set), 2));
    let names: BTreeSet<String> =
        config.fs.list(&config.dir).expect("lists").iter().map(|n| n.to_string_lossy().into_owned()).collect();
    let manifest = names::name(FileKind::Manifest, set.manifest_number());
    assert_eq!(names, ["CURRENT".to_owned(), manifest].into(), "nothing else is left");
    set.verify_manifest().expect("whole");
}
