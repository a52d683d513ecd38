//! Damaged databases: what every verb says of them, naming the file, and what it still shows.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::undocumented_unsafe_blocks, reason = "a test may fail")]

mod common;

use common::{contents, files, filled, flip, folder, kill, row, writer};
use std::path::{Path, PathBuf};

/// A database of one large table, and that table.
fn compacted(db: &Path) -> PathBuf {
    filled(db, 3000);
    lsm!["compact", db].ok();
    files(db, ".sst").into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}

/// Whether the library has `lsm_verify` and `lsm_repair`.
fn has_verify(db: &Path) -> bool {
    let ran = lsm!["verify", db];
    if ran.code == 7 {
        assert!(ran.stderr.contains("this library has no lsm_verify"), "{}", ran.stderr);
        eprintln!("skipped: this library has no lsm_verify");
    }
    ran.code != 7
}

#[test]
fn a_flipped_byte_in_a_table_is_told_with_its_file_and_hides_nothing_else() {
    let (_dir, db) = folder();
    let table = compacted(&db);
    let name = table.file_name().unwrap().to_string_lossy().into_owned();
    let blocks = lsm!["dump", "table", &table, "--blocks", "--json"].ok().json_lines();
    assert!(blocks.len() > 5);
    let at = blocks[2]["offset"].as_u64().unwrap();
    let lost = blocks[2]["entries"].as_u64().unwrap();
    let key = blocks[2]["first_key"].as_str().unwrap().to_string();
    flip(&table, at as usize + 40);

    let scan = lsm!["scan", &db].exit(4);
    assert!(scan.stderr.contains(&name) && scan.stderr.contains(&format!("offset {at}")), "{}", scan.stderr);
    assert!(scan.text().starts_with("key000000\t"), "what stands before the damage is shown");
    lsm!["get", &db, "key002999"].ok();
    assert!(lsm!["get", &db, &key].exit(4).stderr.contains(&name));

    let dump = lsm!["dump", "table", &table].exit(4);
    assert_eq!(row(&dump.text(), "damaged places"), "1");
    assert!(dump.stderr.contains(&name), "{}", dump.stderr);
    let entries = lsm!["dump", "table", &table, "--entries", "--json"].exit(4).json_lines();
    let whole = entries.iter().filter(|line| line["key"].is_string()).count() as u64;
    assert_eq!(whole, 3000 - lost, "every entry of the other blocks");
    assert_eq!(entries.iter().filter(|line| line["damage"].is_string()).count(), 1);
    let found = lsm!["find", &db, &key, "--json"].exit(4).json();
    assert!(found["damage"][0].as_str().unwrap().contains(&name), "{found}");

    if has_verify(&db) {
        let verify = lsm!["verify", &db].exit(4);
        assert!((verify.text() + &verify.stderr).contains(&name), "{}{}", verify.text(), verify.stderr);
        lsm!["verify", &db, "--json"].exit(4).json();
        lsm!["repair", &db, "--json"].ok().json();
        lsm!["scan", &db].ok();
        lsm!["verify", &db].ok();
    }
}

#[test]
fn a_manifest_that_is_cut_is_told_and_shown_as_far_as_it_goes() {
    let (_dir, db) = folder();
    filled(&db, 3000);
    let manifest = contents(&db).into_keys().find(|name| name.starts_with("MANIFEST-")).unwrap();
    let path = db.join(&manifest);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    let stats = lsm!["stats", &db].exit(4);
    assert!(stats.stderr.contains(&manifest), "{}", stats.stderr);
    let dump = lsm!["dump", "manifest", &db].exit(4);
    assert!(dump.stderr.contains(&manifest), "{}", dump.stderr);
    // Named by itself it is the same file with the same promise of CURRENT.
    lsm!["dump", "manifest", &path].exit(4);
    let found = lsm!["find", &db, "key000001", "--json"].exit(4).json();
    assert_eq!(found["places"][0]["kind"], "put", "the tables are searched all the same: {found}");
    assert!(found["damage"][0].as_str().unwrap().contains(&manifest));
    if has_verify_of_a_damaged_one(&db) {
        lsm!["repair", &db].ok();
        assert_eq!(lsm!["scan", &db, "--count"].ok().text(), "3000\n");
    }
}

/// Of a database that does not open: whether the library has `lsm_repair`, asked of a folder that is none.
fn has_verify_of_a_damaged_one(db: &Path) -> bool {
    let ran = lsm!["repair", db.with_extension("missing")];
    ran.code != 7 || ran.stderr.contains("no liblsm")
}

#[test]
fn without_current_the_identity_comes_from_another_file() {
    let (_dir, db) = folder();
    let table = compacted(&db);
    std::fs::remove_file(db.join("CURRENT")).unwrap();
    assert!(lsm!["stats", &db].exit(4).stderr.contains("CURRENT"));
    lsm!["dump", "table", &table].ok();
    lsm!["dump", "manifest", &db].ok();
    assert!(lsm!["find", &db, "key000001", "--json"].exit(4).json()["places"][0]["value"].is_string());
}

#[test]
fn a_missing_table_is_named() {
    let (_dir, db) = folder();
    let table = compacted(&db);
    std::fs::remove_file(&table).unwrap();
    let name = table.file_name().unwrap().to_string_lossy().into_owned();
    assert!(lsm!["stats", &db].exit(4).stderr.contains(&name));
    assert!(lsm!["dump", "manifest", &db].ok().text().contains(&name), "the manifest is whole");
}

/// A database whose writer was killed, and its last log segment. The log has several batches.
fn killed(db: &Path) -> PathBuf {
    let lines: String =
        (0..40_000).map(|i| format!("{{\"key\":\"key{i:06}\",\"value\":\"{}\"}}\n", "v".repeat(100))).collect();
    let child = writer(db, &lines);
    for _ in 0..500 {
        if lsm!["find", db, "key020000"].code == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    kill(child);
    let mut segments = files(db, ".wal");
    segments.retain(|path| lsm!["dump", "wal", path, "--json"].text().contains("\"batch\""));
    segments.pop().expect("a segment with batches")
}

#[test]
fn the_log_of_a_killed_process_is_shown_and_replayed() {
    let (_dir, db) = folder();
    let segment = killed(&db);
    let lines = lsm!["dump", "wal", &segment, "--entries", "--json"].ok().json_lines();
    let entries: Vec<_> = lines.iter().filter(|line| line["key"].is_string()).collect();
    assert!(entries.len() > 1000 && entries.iter().all(|line| line["kind"] == "put"), "{} entries", entries.len());
    let seqs: Vec<u64> = entries.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "one history");
    assert_eq!(lines.iter().filter(|line| line["end"].is_string()).count(), 1);
    assert!(lsm!["dump", "wal", &segment].ok().text().contains("batch"));
    let before = contents(&db);
    lsm!["get", &db, "key020000"].ok();
    assert!(before == contents(&db), "a read-only open replays into memory");
}

#[test]
fn a_torn_log_is_told_with_its_place() {
    let (_dir, db) = folder();
    let segment = killed(&db);
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    let records = lsm!["dump", "wal", &segment, "--json"].ok().json_lines();
    let batches: Vec<_> = records.iter().filter(|line| line["kind"] == "batch").collect();
    let last = batches.last().unwrap();
    let at = last["offset"].as_u64().unwrap();
    flip(&segment, at as usize + 100);
    let dump = lsm!["dump", "wal", &segment].exit(4);
    assert!(dump.text().contains("DAMAGED or torn") && dump.stderr.contains(&name), "{}", dump.stderr);
    assert!(dump.stderr.contains(&format!("offset {at}")), "{}", dump.stderr);
    // Nothing says that it was on the device: it is a torn end, and the rest is there.
    let first = &batches[0];
    assert!(first["first_seq"].as_u64().unwrap() < last["first_seq"].as_u64().unwrap(), "several batches");
    lsm!["get", &db, "key000000"].ok();
    flip(&segment, 20);
    assert!(lsm!["dump", "wal", &segment].exit(4).stderr.contains(&name), "a damaged header");
}
