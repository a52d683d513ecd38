//! `repair`: what can be read is kept, what is lost is said, nothing is removed; sound databases are left alone; a second
//! repair changes nothing, also after a crash inside the first.
//!
//! `LSM_SEED=n` and `LSM_SOAK_MINUTES=n` as in the crash explorer.
#![allow(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "seeds and counts are for whoever reads the output"
)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod explorer;

use explorer::image::{Files, Image, damaged, disk_of, files_of, listen, read_all, repaired};
use explorer::{DIR, Model, Rng, TimeBox, Watched, first_seed, open, options};
use lsm_engine::db::Db;
use lsm_engine::error::Code;
use lsm_engine::fs::Fs;
use lsm_engine::fs::fault::{CrashPolicy, FaultFs};
use std::path::Path;
use std::sync::Arc;

fn repair(disk: &FaultFs) -> Result<String, lsm_engine::Error> {
    Db::repair_on(Arc::new(disk.clone()), Path::new(DIR), &options("write"))
}

fn is_sound(report: &str) -> bool {
    report.contains("\"result\": \"sound\"")
}

/// Whether the report says that entries are or may be lost.
fn tells_of_loss(report: &str) -> bool {
    let lost = report.split("\"lost\": [").nth(1).unwrap().split("\"set_aside\"").next().unwrap();
    // What a crash may have torn off is not called lost, but it is said.
    report.contains("the log ends as a crash leaves it")
        || report.contains("one that is gone is not missed")
        || lost.lines().any(|line| line.contains("\"file\"") && !line.contains("no entry is lost"))
}

/// Repairs, checks the promises that hold for every damage, answers report and content.
fn check_repair(name: &str, image: &Image, files: &Files) -> (String, Model) {
    let disk = disk_of(files);
    let (report, db) = repaired(&disk).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let found = read_all(&db, &image.model).unwrap_or_else(|e| panic!("{name}: {e:?}\n{report}"));
    assert!(image.is_from_the_past(&found), "{name}: a value that never was:\n{}", image.model.difference(&found));
    if !tells_of_loss(&report) {
        assert!(
            found == image.model || image.tails.contains(&found),
            "{name}: lost and not said:\n{}\n{report}",
            image.model.difference(&found)
        );
    }
    let (verified, damage) = db.verify().unwrap();
    assert!(damage.is_none(), "{name}: {damage:?}\n{verified}");
    db.close().unwrap();
    // Nothing that was damaged is gone: its bytes are there under some name.
    let now = files_of(&disk.process_death());
    if !is_sound(&report) {
        for (file, bytes) in
            files.iter().filter(|(file, _)| report.contains(&format!("{{\"file\": \"{file}\", \"as\"")))
        {
            assert!(now.values().any(|kept| kept == bytes), "{name}: {file} is not there any more\n{report}");
        }
    }
    let before = disk.mutations();
    let again = repair(&disk).unwrap_or_else(|e| panic!("{name}: the second repair: {e:?}"));
    assert!(is_sound(&again), "{name}: the second repair says\n{again}");
    assert_eq!(disk.mutations(), before, "{name}: the second repair wrote");
    (report, found)
}

#[test]
fn a_sound_database_is_left_alone() {
    for (seed, is_closed) in [(1, true), (2, false), (3, true), (4, false)] {
        let image = Image::of_history(seed, 150, "write", is_closed);
        let disk = disk_of(&image.files);
        let report = repair(&disk).unwrap();
        assert!(is_sound(&report), "{report}");
        assert!(files_of(&disk.process_death()) == image.files, "the folder changed");
        assert!(check_repair("sound", &image, &image.files).1 == image.model);
    }
}

#[test]
fn every_kind_of_damage_is_repaired_as_far_as_can_be() {
    let seed = first_seed();
    eprintln!("seed {seed}");
    let mut rng = Rng::new(seed);
    let time = TimeBox::of(25);
    let (mut cases, mut losses) = (0, 0);
    while !time.is_over(losses, 1) {
        let at = seed + cases / 40;
        let image = Image::of_history(at, 120, "write", rng.below(2) == 0);
        for _ in 0..40 {
            let mut files = image.files.clone();
            let mut name = format!("seed {at}");
            for _ in 0..1 + rng.below(3) {
                let names: Vec<String> = files.keys().filter(|f| !f.ends_with(".spare")).cloned().collect();
                let file = names[rng.below(names.len() as u64) as usize].clone();
                let (what, bytes) = damaged(&mut rng, &files[&file]);
                name += &format!(", {file} {what}");
                match bytes {
                    Some(bytes) => files.insert(file, bytes),
                    None => files.remove(&file),
                };
            }
            let _watched = Watched::new(name.clone());
            // With no file of ours left there is nothing to repair.
            let is_anything = files.keys().any(|f| f.ends_with(".sst") || f.ends_with(".wal") || f.starts_with("MANI"));
            if is_anything || files.contains_key("CURRENT") {
                match repair(&disk_of(&files)) {
                    Err(e) if e.code() == Code::Corruption && e.message().contains("whose database") => {}
                    _ => losses += u64::from(tells_of_loss(&check_repair(&name, &image, &files).0)),
                }
            }
            cases += 1;
        }
    }
    eprintln!("{cases} damaged folders, {losses} with losses that were said");
    assert!(losses > 0 && losses < cases, "the damage is too much or too little to tell");
}

#[test]
fn without_current_or_manifest_everything_is_found_again() {
    for seed in 0..12 {
        let image = Image::of_history(seed, 150, "write", seed % 2 == 0);
        let lose = |which: &dyn Fn(&str) -> bool| {
            let mut files = image.files.clone();
            files.retain(|name, _| !which(name));
            files
        };
        let manifest = |name: &str| name.starts_with("MANIFEST");
        for (what, files) in [
            ("CURRENT", lose(&|name| name == "CURRENT")),
            ("the manifest", lose(&manifest)),
            ("both", lose(&|name| name == "CURRENT" || manifest(name))),
        ] {
            let (report, found) = check_repair(&format!("seed {seed}, {what} lost"), &image, &files);
            assert!(found == image.model, "seed {seed}, {what} lost:\n{}\n{report}", image.model.difference(&found));
        }
    }
}

#[test]
fn a_damaged_log_loses_no_more_than_what_is_damaged() {
    let mut tried = 0;
    for seed in 0..40 {
        let image = Image::of_history(seed, 60, "write", false);
        let Some((name, bytes)) =
            image.files.iter().rfind(|(name, bytes)| name.ends_with(".wal") && bytes.len() > 8192)
        else {
            continue;
        };
        for at in [8u64, 16, 100, 4096, 4100, 4128, 4200, 4500] {
            let mut files = image.files.clone();
            let mut bytes = bytes.clone();
            bytes[at as usize] ^= 0x10;
            files.insert(name.clone(), bytes);
            let (report, found) = check_repair(&format!("seed {seed}, {name} at {at}"), &image, &files);
            // The header page is not needed: its salt shows in the records.
            assert!(at >= 4096 || found == image.model, "seed {seed}, {name} at {at}:\n{report}");
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried}");
}

#[test]
fn a_crash_inside_a_repair_is_repaired() {
    let seed = first_seed();
    eprintln!("seed {seed}");
    let mut rng = Rng::new(seed);
    let time = TimeBox::of(20);
    let mut crashes = 0;
    while !time.is_over(crashes, 21) {
        let image = Image::of_history(rng.next(), 80, "write", rng.below(2) == 0);
        let mut files = image.files.clone();
        let names: Vec<String> = files.keys().filter(|f| !f.ends_with(".spare")).cloned().collect();
        let file = names[rng.below(names.len() as u64) as usize].clone();
        let (what, bytes) = damaged(&mut rng, &files[&file]);
        match bytes {
            Some(bytes) => files.insert(file.clone(), bytes),
            None => files.remove(&file),
        };
        let name = format!("seed {seed}, {file} {what}");
        let whole = disk_of(&files);
        let Ok(report) = repair(&whole) else { continue };
        let (_, expected) = check_repair(&name, &image, &files);
        let ends = whole.mutations();
        for n in 1..=ends {
            let _watched = Watched::new(format!("{name}, crash at {n}"));
            let disk = disk_of(&files);
            disk.set_crash_point(n);
            let _ = repair(&disk);
            let policy = if n % 2 == 0 { CrashPolicy::strict() } else { CrashPolicy::ordered() };
            let cut = FaultFs::over(&disk.crash(policy, n));
            let (again, db) = repaired(&cut).unwrap_or_else(|e| panic!("{name}, crash at {n}: {e:?}\n{report}"));
            let found = read_all(&db, &image.model).unwrap_or_else(|e| panic!("{name}, crash at {n}: {e:?}\n{again}"));
            assert!(found == expected, "{name}, crash at {n}:\n{}\n{again}", expected.difference(&found));
            db.close().unwrap();
            crashes += 1;
        }
    }
    eprintln!("{crashes} crashes inside repairs");
    assert!(crashes > 20);
}

#[test]
fn a_failure_inside_a_repair_leaves_the_folder_as_it_was() {
    let image = Image::of_history(5, 150, "write", true);
    let table = image.files.keys().find(|f| f.ends_with(".sst")).unwrap();
    let mut files = image.files.clone();
    files.get_mut(table).unwrap()[10] ^= 1;
    let disk = disk_of(&files);
    disk.set_capacity(disk.used_bytes() + 600);
    assert_eq!(repair(&disk).unwrap_err().code(), Code::NoSpace);
    assert!(files_of(&disk.process_death()) == files, "the folder changed");
    disk.set_capacity(u64::MAX);
    assert!(!is_sound(&repair(&disk).unwrap()));
}

#[test]
fn what_is_no_damage_is_refused() {
    let disk = disk_of(&Files::new());
    let error = repair(&disk).unwrap_err();
    assert_eq!(error.code(), Code::Invalid, "{error:?}");
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    assert_eq!(repair(&disk).unwrap_err().code(), Code::Locked);
    db.close().unwrap();
    let mut read_only = options("write");
    read_only.set("mode", "ro").unwrap();
    let ro = Db::repair_on(Arc::new(disk.clone()), Path::new(DIR), &read_only).unwrap_err();
    assert_eq!(ro.code(), Code::Invalid);
    let missing = Db::repair_on(Arc::new(disk.clone()), Path::new("/nowhere"), &options("write")).unwrap_err();
    assert_eq!(missing.os_errno(), libc::ENOENT);
    // A newer format is not damage.
    let mut files = files_of(&disk.process_death());
    let current = files.get_mut("CURRENT").unwrap();
    let body = String::from_utf8(current.clone()).unwrap().replace("liblsm 1\n", "liblsm 2\n");
    let body = body.split_once("crc ").unwrap().0;
    let crc = lsm_engine::base::checksum::Checksum::new().bytes(body.as_bytes()).finish();
    *current = format!("{body}crc {crc:08x}\n").into_bytes();
    assert_eq!(repair(&disk_of(&files)).unwrap_err().code(), Code::Version);
}

#[test]
fn verify_names_every_damaged_file_and_goes_on() {
    let image = Image::of_history(9, 200, "write", true);
    let disk = disk_of(&image.files);
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    let second = db.keyspace_open(b"second", None).unwrap().unwrap();
    db.default_keyspace().compact(None, None).unwrap();
    second.compact(None, None).unwrap();
    let tables_now =
        || -> Vec<String> { files_of(&disk.process_death()).into_keys().filter(|f| f.ends_with(".sst")).collect() };
    // Obsolete ones are removed in the background.
    let live = || -> u64 {
        let spaces = [db.default_keyspace(), second.clone()];
        let counts = spaces.iter().flat_map(|space| (0..7).map(move |n| (space, format!("levels.{n}.files"))));
        counts.map(|(space, name)| db.property_u64(Some(space), &name).unwrap().unwrap()).sum()
    };
    let is_rid = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        tables_now().len() as u64 == live()
    });
    let mut tables = tables_now();
    assert!(is_rid, "{} tables, {} in use", tables.len(), live());
    tables.truncate(2);
    assert_eq!(tables.len(), 2);
    assert!(db.verify().unwrap().1.is_none());
    for table in &tables {
        let file = disk.open(&Path::new(DIR).join(table), lsm_engine::fs::OpenMode::ReadWrite).unwrap();
        file.write_all_at(b"x", 40).unwrap();
    }
    let manifest = files_of(&disk.process_death()).keys().find(|f| f.starts_with("MANI")).cloned().unwrap();
    let file = disk.open(&Path::new(DIR).join(&manifest), lsm_engine::fs::OpenMode::ReadWrite).unwrap();
    file.write_all_at(b"x", 60).unwrap();
    let (report, damage) = db.verify().unwrap();
    assert_eq!(damage.unwrap().code(), Code::Corruption);
    for name in tables.iter().chain([&manifest]) {
        assert!(report.contains(&format!("{{\"file\": \"{name}\"")), "{name} is not named:\n{report}");
    }
    assert!(report.contains("\"result\": \"damaged\""));
    db.begin_close();
    assert_eq!(db.verify().unwrap_err().code(), Code::Closed);
    let _ = db.close();
}

/// The log is verified while it is written to; a flip in what was published is found.
#[test]
fn verify_reads_the_log_of_a_busy_database() {
    for io in ["write", "auto"] {
        let disk = FaultFs::new();
        let mut big = options(io);
        big.set("memtable.size", "64KiB").unwrap();
        let db = Db::open_on(Arc::new(disk.clone()), Path::new(DIR), &big).unwrap();
        std::thread::scope(|scope| {
            for t in 0..2u8 {
                let db = &db;
                scope.spawn(move || {
                    for n in 0..3000u32 {
                        db.default_keyspace()
                            .put(&Default::default(), &[&[t], &n.to_be_bytes()[..]].concat(), &[7; 90])
                            .unwrap();
                    }
                });
            }
            for _ in 0..60 {
                let (report, damage) = db.verify().unwrap();
                assert!(damage.is_none(), "{io}: {damage:?}\n{report}");
            }
        });
        db.flush(None).unwrap();
        for n in 0..50u32 {
            db.default_keyspace().put(&Default::default(), &n.to_be_bytes(), &[9; 90]).unwrap();
        }
        let (report, damage) = db.verify().unwrap();
        assert!(damage.is_none() && !report.contains("\"log_bytes\": 0"), "{damage:?}\n{report}");
        let files = files_of(&disk.process_death());
        let logs = files.iter().filter(|(f, _)| f.ends_with(".wal"));
        let mut hits = logs.filter_map(|(f, b)| Some((f, b.windows(90).position(|w| w == [9; 90])?)));
        let (name, at) = hits.next_back().unwrap();
        let file = disk.open(&Path::new(DIR).join(name), lsm_engine::fs::OpenMode::ReadWrite).unwrap();
        file.write_all_at(b"x", at as u64).unwrap();
        let (report, damage) = db.verify().unwrap();
        assert!(damage.is_some() && report.contains(name), "{report}");
        db.close().unwrap();
    }
}

/// Self-test: a repair that hides what it lost would be noticed, and so would silent readers.
#[test]
fn the_checks_of_this_file_can_fail() {
    let image = Image::of_history(9, 200, "write", true);
    let mut is_different = false;
    let mut report = String::new();
    for table in image.files.keys().filter(|f| f.ends_with(".sst")) {
        let mut files = image.files.clone();
        files.remove(table);
        let found;
        (report, found) = check_repair("a missing table", &image, &files);
        assert!(tells_of_loss(&report));
        is_different |= found != image.model;
        let heard = listen(Arc::new(disk_of(&files)), &image.model);
        assert!(heard.found.is_none() && heard.reports[0].message().contains(table.as_str()));
    }
    assert!(is_different, "no table held anything");
    let hidden = report.replace("\"file\": \"", "no entry is lost: \"file\": \"");
    assert!(!tells_of_loss(&hidden));
}
