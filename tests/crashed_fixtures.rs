//! Images that power cuts left of databases of released versions, `tests/fixtures/VERSION/crashed-*`: every later build
//! opens them without a tool and finds one of the states that the cut allowed (`STATES` lists their checksums), twice the
//! same; and a repair leaves them alone.
//!
//! `cargo test --test crashed_fixtures -- --ignored make` writes those of this version; it refuses to touch existing ones.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "fixtures are real files; the explorer names hangs"
)]

mod explorer;

use explorer::image::read_all;
use explorer::{DIR, Model, Opened, Step, history};
use lsm_engine::base::checksum::Checksum;
use lsm_engine::db::{Db, Options};
use lsm_engine::fs::fault::{CrashPolicy, FaultFs};
use lsm_engine::fs::{Fs, FsKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What each image is made of: name, wal.io, seed, share of the calls before the cut, what the disk kept.
const KINDS: [(&str, &str, u64, u64, CrashPolicyName); 6] = [
    ("crashed-written-nothing-kept", "write", 11, 60, CrashPolicyName::Nothing),
    ("crashed-written-torn", "write", 12, 85, CrashPolicyName::Ordered),
    ("crashed-written-any-order", "write", 13, 95, CrashPolicyName::Strict),
    ("crashed-mapped-torn", "auto", 14, 70, CrashPolicyName::Ordered),
    ("crashed-mapped-any-order", "auto", 15, 90, CrashPolicyName::Strict),
    ("crashed-mapped-all-kept", "auto", 16, 99, CrashPolicyName::Everything),
];

#[derive(Clone, Copy)]
enum CrashPolicyName {
    Nothing,
    Ordered,
    Strict,
    Everything,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn checksum(model: &Model) -> u32 {
    let mut sum = Checksum::new();
    for (at, space) in model.0.iter().enumerate() {
        for (key, value) in space {
            sum = sum.bytes(&[at as u8]).bytes(&(key.len() as u64).to_le_bytes()).bytes(key);
            sum = sum.bytes(&(value.len() as u64).to_le_bytes()).bytes(value);
        }
    }
    sum.finish()
}

fn copy(from: &Path, to: &Path) -> Vec<u32> {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|e| e.file_name() != "STATES") {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let states = std::fs::read_to_string(from.join("STATES")).unwrap();
    states.lines().map(|line| u32::from_str_radix(line, 16).unwrap()).collect()
}

#[test]
fn images_of_every_released_version_open_as_one_of_their_states() {
    let mut opened = 0;
    for version in std::fs::read_dir(root()).unwrap().map(|e| e.unwrap().path()) {
        for fixture in std::fs::read_dir(&version).unwrap().map(|e| e.unwrap().path()) {
            let name = fixture.file_name().unwrap().to_string_lossy().into_owned();
            if !name.starts_with("crashed-") {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("db");
            let states = copy(&fixture, &path);
            let mut found = Vec::new();
            let report = Db::repair(&path, &Options::new()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(report.contains("\"result\": \"sound\""), "{name}: a crash is no damage:\n{report}");
            for mode in ["ro", "rw", "rw", "ro"] {
                let mut options = Options::new();
                options.set("mode", mode).unwrap();
                let db = Db::open(&path, &options).unwrap_or_else(|e| panic!("{name}, {mode}: {e}"));
                found.push(checksum(&read_all(&db, &Model::default()).unwrap()));
                if mode == "rw" {
                    assert!(db.verify().unwrap().1.is_none(), "{name}");
                }
                db.close().unwrap();
            }
            assert!(states.contains(&found[0]), "{name}: a state that the cut did not allow");
            assert!(found.iter().all(|state| *state == found[0]), "{name}: opens differ");
            opened += 1;
        }
    }
    assert!(opened >= KINDS.len(), "only {opened} images were found");
}

/// Runs until the power goes off at the `cut`-th mutating call (0: never); the states that may be found then.
fn run(disk: &FaultFs, io: &str, steps: &[Step], cut: u64) -> Vec<u32> {
    let mut states = vec![checksum(&Model::default())];
    let mut model = Model::default();
    if cut > 0 {
        disk.set_crash_point(cut);
    }
    let Ok(mut opened) = Opened::existing(Arc::new(disk.clone()), io) else { return states };
    if opened.make(1).is_ok() {
        for step in steps.iter().filter(|step| !matches!(step, Step::Reopen)) {
            model.apply(step);
            states.push(checksum(&model));
            if opened.run(step).is_err() {
                break;
            }
            if matches!(step, Step::Write { fsync: true, .. } | Step::Sync | Step::Flush(None)) {
                states.drain(..states.len() - 1);
            }
        }
    }
    let _ = opened.db.close();
    states
}

#[test]
#[ignore = "writes the images of this version, once per release"]
fn make() {
    for (name, io, seed, share, policy) in KINDS {
        let to = root().join(env!("CARGO_PKG_VERSION")).join(name);
        assert!(!to.exists(), "{} exists: a released fixture is never written again", to.display());
        let steps = history(seed, 120, false);
        let disk = |io: &str| {
            let disk = FaultFs::new();
            disk.set_kind(if io == "write" { FsKind::Other } else { FsKind::Mappable });
            disk
        };
        let dry = disk(io);
        run(&dry, io, &steps, 0);
        let cut_off = disk(io);
        let states = run(&cut_off, io, &steps, dry.mutations() * share / 100);
        let image = cut_off.crash(
            match policy {
                CrashPolicyName::Nothing => CrashPolicy::nothing(),
                CrashPolicyName::Ordered => CrashPolicy::ordered(),
                CrashPolicyName::Strict => CrashPolicy::strict(),
                CrashPolicyName::Everything => CrashPolicy::everything(),
            },
            seed,
        );
        std::fs::create_dir_all(&to).unwrap();
        for file in image.list(Path::new(DIR)).unwrap() {
            if file != "LOCK" {
                let bytes = image.read_file(&Path::new(DIR).join(&file)).unwrap();
                std::fs::write(to.join(file), bytes).unwrap();
            }
        }
        let lines: Vec<String> = states.iter().map(|state| format!("{state:08x}\n")).collect();
        std::fs::write(to.join("STATES"), lines.concat()).unwrap();
    }
}
