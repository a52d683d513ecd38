//! The nth call of each kind fails, once or for good, while a history runs and while it is opened again: no panic, no
//! hang, nothing acknowledged is lost, no wrong value; a full disk is left behind without a reopen.
//!
//! A failure names its case; `LSM_SEED=n` and `LSM_SOAK_MINUTES=n` as in the crash explorer.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints its figures and measures time"
)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::print_stderr, reason = "seeds and counts are for whoever reads the test's output")]

mod explorer;

use explorer::planted::Planted;
use explorer::{Model, Opened, Rng, Step, Watched, first_seed, history, open, options, time_box};
use lsm_engine::db::{Db, Durability, ReadOptions, WriteOptions};
use lsm_engine::error::Code;
use lsm_engine::fs::Fs;
use lsm_engine::fs::fault::{Call, CrashPolicy, Effect, Fault, FaultFs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const OS: WriteOptions = WriteOptions { durability: Durability::Os, deadline_micros: 0 };
const FSYNC: WriteOptions = WriteOptions { durability: Durability::Fsync, deadline_micros: 0 };

const CALLS: [Call; 12] = [
    Call::Write,
    Call::Sync,
    Call::Read,
    Call::Open,
    Call::Create,
    Call::Rename,
    Call::Remove,
    Call::Allocate,
    Call::SetLen,
    Call::SyncDir,
    Call::Stat,
    Call::List,
];

/// What a run under faults acknowledged.
struct Record {
    /// The state after everything acknowledged, and after what was acknowledged as durable at least.
    acked: Model,
    durable: Vec<Model>,
    /// Writes that failed behind the last acknowledged one: one of them may have reached the log.
    doubtful: Vec<Step>,
    failures: u64,
}

impl Record {
    /// Whether a state that was found without a power cut is right.
    fn allows(&self, found: &Model) -> bool {
        *found == self.acked
            || self.doubtful.iter().any(|step| {
                let mut model = self.acked.clone();
                model.apply(step);
                *found == model
            })
    }

    /// Whether a state that was found after a power cut is right.
    fn allows_cut(&self, found: &Model) -> bool {
        self.durable.contains(found) || self.allows(found)
    }
}

fn check_reads(opened: &Opened, record: &Record, rng: &mut Rng) -> Result<(), String> {
    if !record.doubtful.is_empty() {
        return Ok(());
    }
    for (at, space) in opened.spaces.iter().enumerate() {
        let Some(space) = space else { continue };
        let key = format!("k{:03}", rng.below(120)).into_bytes();
        if let Ok(found) = space.get_with(&ReadOptions::default(), &key, <[u8]>::to_vec)
            && found.as_ref() != record.acked.0[at].get(&key)
        {
            return Err(format!("a read of {} in {at} is wrong", String::from_utf8_lossy(&key)));
        }
    }
    if rng.below(4) == 0
        && let Ok(found) = opened.content()
        && found != record.acked
    {
        return Err(format!("a scan is wrong:\n{}", found.difference(&record.acked)));
    }
    Ok(())
}

/// Runs a history; faults may be in force. Ends when a write fails for good, at a failed reopen, or at the end.
fn run(fs: &Arc<dyn Fs>, steps: &[Step], io: &str, rng: &mut Rng) -> Result<Record, String> {
    let start = Model::default();
    let mut record = Record { acked: start.clone(), durable: vec![start], doubtful: Vec::new(), failures: 0 };
    let Ok(mut opened) = Opened::existing(Arc::clone(fs), io) else { return Ok(record) };
    if opened.make(1).is_err() {
        let _ = opened.db.close();
        return Ok(record);
    }
    let mut refused = 0;
    for step in steps {
        let result = match step {
            Step::Reopen => {
                let closed = opened.db.close();
                if closed.is_ok() {
                    record.durable = vec![record.acked.clone()];
                }
                match Opened::existing(Arc::clone(fs), io) {
                    // One that did not come back at an open may do so at none.
                    Ok(again) if again.spaces[1].is_some() => opened = again,
                    Ok(_) => return Err("a keyspace is missing after a reopen".into()),
                    Err(_) => return Ok(record),
                }
                if !record.doubtful.is_empty() {
                    // What was in doubt is decided now.
                    let Ok(found) = opened.content() else { return Ok(record) };
                    if !record.allows(&found) {
                        return Err(format!("a reopen shows:\n{}", record.acked.difference(&found)));
                    }
                    record.acked = found;
                    record.doubtful.clear();
                    record.durable.push(record.acked.clone());
                }
                closed
            }
            step => opened.run(step),
        };
        match result {
            Ok(()) => {
                if let Step::Write { .. } = step {
                    // A write that failed before one that succeeded had no effect.
                    record.doubtful.clear();
                }
                record.acked.apply(step);
                let is_durable =
                    matches!(step, Step::Write { fsync: true, .. } | Step::Sync | Step::Flush(None) | Step::Reopen);
                if is_durable {
                    record.durable.clear();
                }
                record.durable.push(record.acked.clone());
                refused = 0;
            }
            Err(e) => {
                if e.code() == Code::Panic {
                    return Err(format!("a panic inside: {e:?}"));
                }
                record.failures += 1;
                if matches!(step, Step::Write { .. }) {
                    record.doubtful.push(step.clone());
                    refused += 1;
                }
            }
        }
        check_reads(&opened, &record, rng)?;
        if refused > 10 {
            break;
        }
    }
    if opened.db.close().is_ok() {
        record.durable = vec![record.acked.clone()];
    }
    Ok(record)
}

fn look(disk: &FaultFs, io: &str) -> Result<Model, String> {
    let opened = Opened::existing(Arc::new(disk.clone()), io).map_err(|e| format!("does not open: {e:?}"))?;
    let found = opened.content().map_err(|e| format!("cannot be read: {e:?}"))?;
    opened.db.default_keyspace().put(&FSYNC, b"zz", b"1").map_err(|e| format!("is not writable: {e:?}"))?;
    opened.db.close().map_err(|e| format!("does not close: {e:?}"))?;
    Ok(found)
}

/// One case: a fault while a history runs, then what is left without a power cut and after one.
fn case(seed: u64, fault: &Fault, io: &str, bug: Option<&'static str>) -> Result<u64, String> {
    let mut rng = Rng::new(seed);
    let steps = history(seed, 60, false);
    let disk = FaultFs::new();
    disk.set_seed(seed);
    let fs: Arc<dyn Fs> = match bug {
        Some(bug) => Arc::new(Planted { disk: disk.clone(), bug }),
        None => Arc::new(disk.clone()),
    };
    disk.add_fault(fault.clone());
    let record = run(&fs, &steps, io, &mut rng)?;
    let met = disk.faults_met();
    disk.clear_faults();
    let cut = FaultFs::over(&disk.crash(CrashPolicy::nothing(), seed));
    let found = look(&cut, io).map_err(|e| format!("after a power cut: {e}"))?;
    if !record.allows_cut(&found) {
        return Err(format!("after a power cut:\n{}", record.durable[0].difference(&found)));
    }
    // Pages that a failed sync lost are gone for readers too in every second case.
    let is_dropped = rng.below(2) == 0;
    if is_dropped {
        disk.drop_caches();
    }
    let next = disk.after_kill();
    let found = look(&next, io).map_err(|e| format!("after the process (caches dropped: {is_dropped}): {e}"))?;
    if !(record.allows(&found) || is_dropped && record.allows_cut(&found)) {
        return Err(format!(
            "after the process (caches dropped: {is_dropped}, {} in doubt):\n{}",
            record.doubtful.len(),
            record.acked.difference(&found)
        ));
    }
    Ok(met)
}

fn effects(call: Call) -> Vec<Effect> {
    let mut effects = vec![Effect::Errno(libc::EIO), Effect::Errno(libc::ENOSPC), Effect::Errno(libc::EMFILE)];
    match call {
        Call::Write => effects.push(Effect::Torn(700, libc::EIO)),
        Call::Read => effects.push(Effect::Short(5)),
        _ => {}
    }
    effects
}

/// All cases in an order that the seed shuffles, as many as fit into the time.
fn sweep(seconds: u64, one: impl Fn(u64, &Fault, &'static str) -> Result<u64, String>) -> Result<u64, String> {
    let seed = first_seed();
    eprintln!("seed {seed}");
    let mut rng = Rng::new(seed);
    let deadline = Instant::now() + time_box(seconds);
    let (mut cases, mut met) = (0, 0);
    while Instant::now() < deadline {
        let call = CALLS[cases as usize % CALLS.len()];
        let all = effects(call);
        let effect = all[rng.below(all.len() as u64) as usize];
        let most = [8, 40, 200][rng.below(3) as usize];
        let fault =
            Fault { sticky: rng.below(2) == 0, ..Fault::once(call, 1 + rng.below(most), libc::EIO) }.with(effect);
        let io = if rng.below(2) == 0 { "write" } else { "auto" };
        let at = seed + cases;
        let name = format!("seed {at}, wal.io {io}, {fault:?}");
        let _watched = Watched::new(name.clone());
        met += one(at, &fault, io).map_err(|e| format!("{name}: {e}"))?;
        cases += 1;
    }
    eprintln!("{cases} cases, {met} calls failed");
    Ok(met)
}

#[test]
fn failing_calls_lose_nothing() {
    let met = sweep(35, |seed, fault, io| case(seed, fault, io, None)).unwrap_or_else(|e| panic!("{e}"));
    assert!(met > 0, "no fault was met");
}

/// Self-test: where the log is never synced, the sweep must notice that acknowledged writes are lost.
#[test]
fn an_unsynced_log_is_convicted() {
    let result = sweep(20, |seed, fault, io| case(seed, fault, io, Some(".wal")));
    assert!(result.is_err(), "nobody noticed");
}

/// Faults while a history is opened again, at a crash: the next open without them finds the same.
#[test]
fn failing_opens_lose_nothing() {
    let result = sweep(25, |seed, fault, io| {
        let steps = history(seed, 40, false);
        let disk = FaultFs::new();
        let record = {
            let fs: Arc<dyn Fs> = Arc::new(disk.clone());
            let mut opened = Opened::existing(fs, io).map_err(|e| format!("{e:?}"))?;
            opened.make(1).map_err(|e| format!("{e:?}"))?;
            let mut model = Model::default();
            for step in steps.iter().filter(|s| !matches!(s, Step::Reopen)) {
                opened.run(step).map_err(|e| format!("{step:?}: {e:?}"))?;
                model.apply(step);
            }
            disk.power_off();
            let _ = opened.db.close();
            model
        };
        let disk = disk.after_kill();
        disk.set_seed(seed);
        disk.add_fault(Fault { nth: 1 + fault.nth % 40, ..fault.clone() });
        if let Ok(opened) = Opened::existing(Arc::new(disk.clone()), io) {
            if let Ok(found) = opened.content()
                && found != record
            {
                return Err(format!("an open under faults shows:\n{}", record.difference(&found)));
            }
            let _ = opened.db.close();
        }
        let met = disk.faults_met();
        disk.clear_faults();
        let disk = disk.after_kill();
        let found = look(&disk, io)?;
        if found == record { Ok(met) } else { Err(format!("the next open shows:\n{}", record.difference(&found))) }
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

fn until_ok<T>(what: &str, mut f: impl FnMut() -> lsm_engine::error::Result<T>) -> T {
    let _watched = Watched::new(what.into());
    let began = Instant::now();
    loop {
        match f() {
            Ok(done) => return done,
            Err(e) => assert!(began.elapsed() < Duration::from_secs(20), "{what}: {e:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Fills the disk again and again: errors, reads, then writes go on without a reopen once there is room.
#[test]
fn a_full_disk_is_left_behind() {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    let space = db.default_keyspace();
    let mut written = 0u64;
    let value = vec![7; 300];
    let put = |n: u64| {
        let options = if n.is_multiple_of(3) { FSYNC } else { OS };
        space.put(&options, &n.to_be_bytes(), &value).map(drop)
    };
    for round in 0..20 {
        let _watched = Watched::new(format!("round {round} of a full disk"));
        disk.set_capacity(disk.used_bytes() + 150_000 + 20_000 * (round % 4));
        let error = loop {
            match put(written) {
                Ok(()) => written += 1,
                Err(e) => break e,
            }
        };
        assert_eq!(error.code(), Code::NoSpace, "{error:?}");
        for n in [0, written / 2, written - 1] {
            assert!(space.get_with(&ReadOptions::default(), &n.to_be_bytes(), |_| ()).unwrap().is_some(), "{n}");
        }
        disk.set_capacity(u64::MAX);
        until_ok("a write after room was made", || put(written));
        written += 1;
        until_ok("a flush after room was made", || db.flush(None));
    }
    db.close().unwrap();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    for n in 0..written {
        let found = db.default_keyspace().get_with(&ReadOptions::default(), &n.to_be_bytes(), <[u8]>::to_vec).unwrap();
        assert_eq!(found.as_deref(), Some(value.as_slice()), "{n}");
    }
    db.close().unwrap();
}

/// A database that died is opened on a full disk: read-only, then for writing, then there is room.
#[test]
fn opens_on_a_full_disk() {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    for n in 0..30u64 {
        db.default_keyspace().put(&FSYNC, &n.to_be_bytes(), &[1; 100]).unwrap();
    }
    disk.power_off();
    let _ = db.close();
    let disk = disk.after_kill();
    disk.set_capacity(disk.used_bytes());
    let mut read_only = options("write");
    read_only.set("mode", "ro").unwrap();
    let count = |db: &Db| {
        let mut iter = db.default_keyspace().iter(&ReadOptions::default()).unwrap();
        std::iter::from_fn(|| iter.next().unwrap().map(|_| ())).count()
    };
    let before = disk.mutations();
    let db = Db::open_on(Arc::new(disk.clone()), Path::new(explorer::DIR), &read_only).unwrap();
    assert_eq!(count(&db), 30);
    db.close().unwrap();
    assert_eq!(disk.mutations(), before, "read-only wrote");
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    assert_eq!(count(&db), 30);
    let put = || db.default_keyspace().put(&FSYNC, b"more", b"1").map(drop);
    assert_eq!(put().unwrap_err().code(), Code::NoSpace);
    disk.set_capacity(u64::MAX);
    until_ok("a write after room was made", put);
    assert_eq!(count(&db), 31);
    disk.power_off();
    let _ = db.close();
    let db = open(Arc::new(FaultFs::over(&disk.crash(CrashPolicy::nothing(), 1))), "write").unwrap();
    assert_eq!(count(&db), 31);
    db.close().unwrap();
}

/// The first failed sync of the log is final: no later write is acknowledged as durable, and none that was is lost.
#[test]
fn a_failed_sync_is_final() {
    for (io, nth) in [("write", 1), ("write", 5), ("auto", 1), ("auto", 5)] {
        let disk = FaultFs::new();
        let db = open(Arc::new(disk.clone()), io).unwrap();
        let space = db.default_keyspace();
        space.put(&FSYNC, b"a", b"1").unwrap();
        disk.add_fault(Fault::once(Call::Sync, nth, libc::EIO).on(".wal"));
        let mut durable = 0;
        let failed = (0..50u8).position(|n| {
            let result = space.put(&FSYNC, &[n], b"x");
            durable += u64::from(result.is_ok());
            result.is_err()
        });
        assert!(failed.is_some(), "the fault was not met");
        for n in 0..20u8 {
            assert!(space.put(&FSYNC, &[100 + n], b"x").is_err(), "acknowledged after a failed sync");
            assert!(db.sync().is_err());
        }
        let _ = db.close();
        let db = open(Arc::new(FaultFs::over(&disk.crash(CrashPolicy::nothing(), 3))), io).unwrap();
        for n in 0..durable {
            let found = db.default_keyspace().get_with(&ReadOptions::default(), &[n as u8], |_| ()).unwrap();
            assert!(found.is_some(), "{n} was acknowledged");
        }
        db.close().unwrap();
    }
}

/// The drop of a keyspace fails while it is logged, and the record may be on the device: what is written to the keyspace
/// and acknowledged afterwards must not vanish with it in a crash.
#[test]
fn a_failed_drop_takes_nothing_acknowledged_away() {
    let disk = FaultFs::new();
    let mut opened = Opened::existing(Arc::new(disk.clone()), "write").unwrap();
    opened.make(1).unwrap();
    let space = opened.spaces[1].clone().unwrap();
    space.put(&FSYNC, b"a", b"1").unwrap();
    disk.add_fault(Fault::once(Call::Sync, 1, libc::EIO).on("MANIFEST-000001"));
    disk.add_fault(Fault::sticky(Call::Create, 1, libc::EMFILE));
    assert!(opened.db.keyspace_drop(b"second").is_err());
    let mut acked = 0;
    for n in 0..10u8 {
        acked += usize::from(space.put(&FSYNC, &[n], b"2").is_ok());
    }
    for seed in 0..20 {
        let image = FaultFs::over(&disk.crash(CrashPolicy::strict(), seed));
        let again = Opened::existing(Arc::new(image), "write").unwrap();
        let found = again.content().unwrap().0[1].len();
        assert!(
            found > acked || (found == 0 && acked == 0),
            "{found} keys, {acked} acknowledged after the failed drop"
        );
        again.db.close().unwrap();
    }
    disk.clear_faults();
    until_ok("a write after the manifest was settled", || space.put(&FSYNC, b"b", b"3"));
    assert!(space.get_with(&ReadOptions::default(), b"a", |_| ()).unwrap().is_some());
    opened.db.close().unwrap();
}
/// A write too large for the configured memtable gets one of its own, whatever its length modulo the arena's unit.
#[test]
fn writes_larger_than_a_memtable_end() {
    let db = open(Arc::new(FaultFs::new()), "write").unwrap();
    let space = db.default_keyspace();
    for len in 20_000..20_020 {
        let _watched = Watched::new(format!("a value of {len} bytes in a memtable of 4 KiB"));
        space.put(&OS, b"large", &vec![1; len]).unwrap();
    }
    db.close().unwrap();
}
