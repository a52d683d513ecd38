//! Power cuts and process deaths at sampled mutating calls of seeded histories, double crashes among them: what is opened
//! again must hold a prefix of the history with whole batches, and at least what was acknowledged.
//!
//! A failure prints its seed; `LSM_SEED=n` starts there, `LSM_SOAK_MINUTES=n` goes on for longer. Background threads make
//! runs of one seed differ, so each run records what was acknowledged in it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints its figures and measures time"
)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::print_stderr, reason = "seeds and counts are for whoever reads the test's output")]

#[path = "common/count.rs"]
mod count;
mod explorer;

use explorer::planted::{BUGS, Planted};
use explorer::{DIR, Model, Opened, Rng, Step, TimeBox, Watched, first_seed, history};
use lsm_engine::db::{Durability, WriteOptions};
use lsm_engine::fs::fault::{CrashPolicy, FaultFs};
use lsm_engine::fs::mem::MemFs;
use lsm_engine::fs::{Fs, FsKind, OpenMode};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const FSYNC: WriteOptions = WriteOptions { durability: Durability::Fsync, deadline_micros: 0 };

/// What a run acknowledged: steps are counted from 1, `models[j]` is the state after step j.
struct Record {
    models: Vec<Model>,
    digests: Vec<u64>,
    started: usize,
    acked: usize,
    durable: usize,
}

#[derive(Default)]
struct Counts {
    runs: u64,
    states: u64,
    same: u64,
    doubles: u64,
}

struct Explorer {
    io: &'static str,
    bug: Option<&'static str>,
    seen: HashSet<u64>,
    counts: Counts,
}

fn is_durable_once_acked(step: &Step) -> bool {
    matches!(step, Step::Write { fsync: true, .. } | Step::Sync | Step::Flush(None) | Step::Drop(_) | Step::Reopen)
}

fn image_hash(image: &MemFs) -> u64 {
    let mut hasher = DefaultHasher::new();
    let dir = Path::new(DIR);
    let mut names = image.list(dir).unwrap_or_default();
    names.sort();
    for name in names {
        let file = image.open(&dir.join(&name), OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        (name, bytes).hash(&mut hasher);
    }
    hasher.finish()
}

impl Explorer {
    fn new(io: &'static str, bug: Option<&'static str>) -> Explorer {
        Explorer { io, bug, seen: HashSet::new(), counts: Counts::default() }
    }

    fn fs(&self, disk: &FaultFs) -> Arc<dyn Fs> {
        match self.bug {
            Some(bug) => Arc::new(Planted { disk: disk.clone(), bug }),
            None => Arc::new(disk.clone()),
        }
    }

    fn disk(&self) -> FaultFs {
        let disk = FaultFs::new();
        disk.set_kind(if self.io == "write" { FsKind::Other } else { FsKind::Mappable });
        disk
    }

    /// Runs `steps` until the power goes off, or to the end and a clean close.
    fn run(&self, disk: &FaultFs, steps: &[Step]) -> Result<Record, String> {
        let mut model = Model::default();
        let mut record =
            Record { digests: vec![model.digest()], models: vec![model.clone()], started: 0, acked: 0, durable: 0 };
        let failed = |what: &str, e: lsm_engine::Error| {
            if disk.is_off() { Ok(()) } else { Err(format!("{what} failed without a fault: {e:?}")) }
        };
        let mut opened = match Opened::existing(self.fs(disk), self.io) {
            Ok(opened) => opened,
            Err(e) => return failed("the first open", e).map(|()| record),
        };
        for at in 1..3 {
            if let Err(e) = opened.make(at) {
                let _ = opened.db.close();
                return failed("making a keyspace", e).map(|()| record);
            }
        }
        for step in steps {
            model.apply(step);
            record.models.push(model.clone());
            record.digests.push(model.digest());
            record.started += 1;
            let mut result = opened.run(step);
            if matches!(step, Step::Reopen) {
                result = opened.db.close();
                if result.is_ok() {
                    match Opened::existing(self.fs(disk), self.io) {
                        Ok(again) => opened = again,
                        Err(e) => return failed("a reopen", e).map(|()| record),
                    }
                }
            }
            if disk.is_off() {
                break;
            }
            if let Err(e) = result {
                return Err(format!("step {} {step:?} failed without a fault: {e:?}", record.started));
            }
            record.acked = record.started;
            if is_durable_once_acked(step) {
                record.durable = record.started;
            }
        }
        match opened.db.close() {
            Ok(()) if !disk.is_off() => record.durable = record.acked,
            Err(e) => failed("the last close", e)?,
            Ok(()) => {}
        }
        Ok(record)
    }

    /// Opens and answers what is there, and which step of the history that is.
    fn look(&self, disk: &FaultFs, record: &Record, low: usize) -> Result<(Opened, usize), String> {
        let opened = Opened::existing(self.fs(disk), self.io).map_err(|e| format!("does not open: {e:?}"))?;
        let found = opened.content().map_err(|e| format!("cannot be read: {e:?}"))?;
        let digest = found.digest();
        match (low..=record.started).rev().find(|&j| record.digests[j] == digest) {
            Some(j) => Ok((opened, j)),
            None => {
                let any = record.digests.iter().position(|d| *d == digest);
                Err(format!(
                    "holds the state after step {any:?}, expected {low} to {} (acked {}, durable {});\n against step {low}:\n{} against the last:\n{}",
                    record.started,
                    record.acked,
                    record.durable,
                    record.models[low].difference(&found),
                    record.models[record.started].difference(&found),
                ))
            }
        }
    }

    /// A crash image, alone on a disk.
    fn check_image(&mut self, image: &MemFs, record: &Record, low: usize, rng: &mut Rng) -> Result<(), String> {
        if !self.seen.insert(image_hash(image)) {
            self.counts.same += 1;
            return Ok(());
        }
        self.counts.states += 1;
        let disk = FaultFs::over(image);
        let (opened, j) = self.look(&disk, record, low)?;
        let mutations = disk.mutations();
        self.check_use(&disk, opened, &record.models[j])?;
        if rng.below(3) == 0 {
            let disk = FaultFs::over(image);
            disk.set_crash_point(1 + rng.below(mutations + 4));
            self.second_crash(&disk, record, (j, j), rng).map_err(|e| format!("after a crash of the recovery: {e}"))?;
        }
        Ok(())
    }

    /// Recovers on `disk`, whose power may go off meanwhile, and cuts the power after it: the states `low..=high` are
    /// right, and once the open has succeeded only the one that it showed.
    fn second_crash(
        &mut self,
        disk: &FaultFs,
        record: &Record,
        low_high: (usize, usize),
        rng: &mut Rng,
    ) -> Result<(), String> {
        self.counts.doubles += 1;
        let (mut low, mut high) = low_high;
        match self.look(disk, record, high.min(record.acked)) {
            Ok((opened, j)) => {
                if !disk.is_off() {
                    (low, high) = (j, j);
                    disk.power_off();
                }
                let _ = opened.db.close();
            }
            Err(e) if !disk.is_off() => return Err(e),
            Err(_) => {}
        }
        for policy in [CrashPolicy::nothing(), CrashPolicy::ordered(), CrashPolicy::strict()] {
            let seed = rng.next();
            let image = disk.crash(policy, seed);
            let (opened, j) =
                self.look(&FaultFs::over(&image), record, low).map_err(|e| format!("{policy:?} seed {seed}: {e}"))?;
            let _ = opened.db.close();
            if record.digests[j] != record.digests[high] && j > high {
                return Err(format!("{policy:?} seed {seed}: step {j} came back, at most {high} was there"));
            }
        }
        Ok(())
    }

    /// Writable, and the same after a close and after a crash without one.
    fn check_use(&self, disk: &FaultFs, opened: Opened, model: &Model) -> Result<(), String> {
        let mut model = model.clone();
        let put = |opened: &Opened, model: &mut Model, at: usize, text: &[u8]| -> Result<(), String> {
            let Some(space) = &opened.spaces[at] else { return Ok(()) };
            space.put(&FSYNC, b"zz", text).map_err(|e| format!("is not writable: {e:?}"))?;
            model.0[at].insert(b"zz".to_vec(), text.to_vec());
            Ok(())
        };
        put(&opened, &mut model, 0, b"one")?;
        opened.db.close().map_err(|e| format!("does not close: {e:?}"))?;
        let again = Opened::existing(self.fs(disk), self.io).map_err(|e| format!("the second open: {e:?}"))?;
        let found = again.content().map_err(|e| format!("the second open: {e:?}"))?;
        if found != model {
            return Err(format!("the second open shows another state:\n{}", model.difference(&found)));
        }
        put(&again, &mut model, 1, b"two")?;
        disk.power_off();
        let _ = again.db.close();
        let third = FaultFs::over(&disk.crash(CrashPolicy::strict(), 7));
        let third = Opened::existing(self.fs(&third), self.io).map_err(|e| format!("the third open: {e:?}"))?;
        let found = third.content().map_err(|e| format!("the third open: {e:?}"))?;
        let _ = third.db.close();
        if found == model { Ok(()) } else { Err(format!("the third open:\n{}", model.difference(&found))) }
    }

    /// All that one history is worth; an error tells how to see it again.
    fn history(&mut self, seed: u64, deadline: Instant) -> Result<(), String> {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let steps = history(seed, 30 + rng.below(90) as usize, true);
        let disk = self.disk();
        let named = |what: String| format!("seed {seed}, wal.io {}, bug {:?}: {what}", self.io, self.bug);
        let whole = self.run(&disk, &steps).map_err(&named)?;
        let total = disk.mutations();
        let named = |io: &str, bug, what: String| format!("seed {seed}, wal.io {io}, bug {bug:?}: {what}");
        let (io, bug) = (self.io, self.bug);
        self.check_image(&disk.crash(CrashPolicy::nothing(), 1), &whole, whole.durable, &mut rng)
            .map_err(|e| named(io, bug, format!("after the end, nothing kept: {e}")))?;
        for _ in 0..8 {
            if Instant::now() > deadline {
                break;
            }
            let n = 1 + rng.below(total);
            let _watched = Watched::new(named(io, bug, format!("crash at {n} of {total}")));
            let disk = self.disk();
            disk.set_crash_point(n);
            let record = self.run(&disk, &steps).map_err(|e| named(io, bug, format!("crash at {n}: {e}")))?;
            disk.power_off();
            self.counts.runs += 1;
            self.crash(&disk, &record, &mut rng)
                .map_err(|e| named(io, bug, format!("crash at {n} of {total}: {e}")))?;
        }
        Ok(())
    }

    fn crash(&mut self, disk: &FaultFs, record: &Record, rng: &mut Rng) -> Result<(), String> {
        let death = disk.process_death();
        self.check_image(&death, record, record.acked, rng).map_err(|e| format!("process death: {e}"))?;
        let mut policies = vec![CrashPolicy::nothing(), CrashPolicy::everything()];
        policies.extend([CrashPolicy::ordered(), CrashPolicy::strict(), CrashPolicy::strict(), CrashPolicy::strict()]);
        for policy in policies {
            let seed = rng.next();
            let image = disk.crash(policy, seed);
            self.check_image(&image, record, record.durable, rng)
                .map_err(|e| format!("{policy:?} seed {seed}: {e}"))?;
        }
        // The process dies, the next one recovers, and then the power fails.
        for is_cut_meanwhile in [false, true] {
            let next = disk.after_kill();
            if is_cut_meanwhile {
                next.set_crash_point(next.mutations() + 1 + rng.below(30));
            }
            self.second_crash(&next, record, (record.durable, record.started), rng)
                .map_err(|e| format!("process death, then a power cut: {e}"))?;
        }
        Ok(())
    }

    fn explore(&mut self, seed: u64, time: &TimeBox) -> Result<(), String> {
        let mut seed = seed;
        while !time.is_over(self.counts.states, STATES_LEAST) {
            self.history(seed, time.deadline(self.counts.states, STATES_LEAST))?;
            seed += 1;
        }
        Ok(())
    }
}

const STATES_LEAST: u64 = 21;

fn explore(io: &'static str, seconds: u64) {
    let seed = first_seed();
    eprintln!("wal.io {io}: from seed {seed}");
    let mut explorer = Explorer::new(io, None);
    let result = explorer.explore(seed, &TimeBox::of(seconds));
    let Counts { runs, states, same, doubles } = explorer.counts;
    eprintln!("wal.io {io}: {runs} runs, {states} crash states ({same} came again), {doubles} double crashes");
    if let Err(violation) = result {
        panic!("{violation}");
    }
    assert!(states >= STATES_LEAST, "the explorer hardly ran");
    count::counted(if io == "write" { "crash-write" } else { "crash-mapped" }, seed, states, "states");
    count::counted("crash-double", seed, doubles, "states");
}

#[test]
fn histories_survive_crashes_with_a_written_log() {
    explore("write", 35);
}

#[test]
fn histories_survive_crashes_with_a_mapped_log() {
    explore("auto", 35);
}

/// Without this the other tests mean nothing: each swallowed sync must be convicted.
#[test]
fn swallowed_syncs_are_convicted() {
    for bug in BUGS {
        let mut explorer = Explorer::new("write", Some(bug));
        let result = explorer.explore(first_seed(), &TimeBox::exactly(30));
        let violation = result.expect_err(&format!("nobody noticed that {bug} is never synced"));
        eprintln!("{bug}: convicted after {} states", explorer.counts.states);
        assert!(violation.contains("step") || violation.contains("open"), "{violation}");
    }
}

/// The process dies at every call in turn; what the next one shows, before it writes anything, is there after a power cut.
/// (The end of a manifest that was appended to and not synced is such a thing.)
#[test]
fn keyspaces_that_an_open_has_shown_survive_a_power_cut() {
    let make = |disk: &FaultFs| {
        if let Ok(mut opened) = Opened::existing(Arc::new(disk.clone()), "write") {
            let _ = opened.make(1).and_then(|()| opened.make(2));
            disk.power_off();
            let _ = opened.db.close();
        }
    };
    let whole = FaultFs::new();
    make(&whole);
    let mut shown_new = 0;
    for n in 1..=whole.mutations() {
        let disk = FaultFs::new();
        disk.set_crash_point(n);
        make(&disk);
        let next = disk.after_kill();
        let list = |disk: &FaultFs| {
            let opened = Opened::existing(Arc::new(disk.clone()), "write").unwrap();
            let names = opened.db.keyspace_list().unwrap();
            disk.power_off();
            let _ = opened.db.close();
            names
        };
        let shown = list(&next);
        let cut = FaultFs::over(&next.crash(CrashPolicy::nothing(), n));
        assert_eq!(list(&cut), shown, "death at call {n}, then a power cut behind the next open");
        shown_new += usize::from(shown.len() > 1);
    }
    assert!(shown_new > 0);
}

/// Entries that are in tables stay where they are when the log that still has them is replayed for another keyspace.
#[test]
fn what_is_in_tables_is_not_written_again() {
    let mut settings = explorer::options("write");
    settings.set("level0.compaction_trigger", "100").unwrap();
    let open = |disk: &FaultFs| {
        let db = lsm_engine::db::Db::open_on(Arc::new(disk.clone()), Path::new(DIR), &settings).unwrap();
        let second = db.keyspace_open(b"second", None).unwrap().unwrap();
        (db, second)
    };
    let tables =
        |db: &lsm_engine::db::Db| db.property_u64(Some(&db.default_keyspace()), "levels.0.files").unwrap().unwrap();
    let disk = FaultFs::new();
    let (db, second) = open(&disk);
    second.put(&FSYNC, b"holds", b"the log").unwrap();
    for n in 0..20u8 {
        db.default_keyspace().put(&FSYNC, &[n], b"v").unwrap();
    }
    db.flush(Some(&db.default_keyspace())).unwrap();
    assert_eq!(tables(&db), 1);
    disk.power_off();
    let _ = db.close();
    let (db, second) = open(&disk.after_kill());
    let held = second.get_with(&lsm_engine::db::ReadOptions::default(), b"holds", |_| ()).unwrap();
    assert_eq!((tables(&db), held), (1, Some(())));
    db.close().unwrap();
}
