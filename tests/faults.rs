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

#[path = "common/count.rs"]
mod count;
mod explorer;

use explorer::planted::Planted;
use explorer::{Model, Opened, Rng, Step, TimeBox, Watched, first_seed, history, open, options};
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
    let mut effects: Vec<_> = [libc::EIO, libc::ENOSPC, libc::EMFILE, libc::EROFS].map(Effect::Errno).into();
    match call {
        Call::Write => effects.push(Effect::Torn(700, libc::EIO)),
        Call::Read => effects.push(Effect::Short(5)),
        _ => {}
    }
    effects
}

/// All cases in an order that the seed shuffles, as many as fit into the time.
fn sweep(
    check: &str,
    seconds: u64,
    one: impl Fn(u64, &Fault, &'static str) -> Result<u64, String>,
) -> Result<u64, String> {
    let seed = first_seed();
    eprintln!("seed {seed}");
    let mut rng = Rng::new(seed);
    let time = TimeBox::of(seconds);
    let (mut cases, mut met) = (0, 0);
    while !time.is_over(met, 1) {
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
    count::counted(check, seed, cases, "cases");
    Ok(met)
}

#[test]
fn failing_calls_lose_nothing() {
    let met =
        sweep("failing-calls", 35, |seed, fault, io| case(seed, fault, io, None)).unwrap_or_else(|e| panic!("{e}"));
    assert!(met > 0, "no fault was met");
}

/// Every nth call of every kind, with every effect, once and for good, in one short history: the whole product with
/// `LSM_NTH=all`, else as much of it as fits, from a place that the seed chooses.
#[test]
fn every_nth_call_may_fail() {
    let is_full = std::env::var("LSM_NTH").is_ok_and(|all| all == "all");
    let seed = 17;
    let dry = FaultFs::new();
    run(&(Arc::new(dry.clone()) as Arc<dyn Fs>), &history(seed, 60, false), "write", &mut Rng::new(seed)).unwrap();
    let mut cases = Vec::new();
    for call in CALLS {
        // Threads make runs differ a little: some more than were counted.
        for nth in 1..=dry.calls(call) + 2 {
            for effect in effects(call) {
                for sticky in [false, true] {
                    cases.push(Fault { sticky, ..Fault::once(call, nth, 0) }.with(effect));
                }
            }
        }
    }
    let mut rng = Rng::new(first_seed());
    for at in (1..cases.len()).rev() {
        cases.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let time = TimeBox::of(20);
    let (mut tried, mut met) = (0u64, 0);
    for fault in &cases {
        if !is_full && time.is_over(tried, 101) {
            break;
        }
        let name = format!("{fault:?}");
        let _watched = Watched::new(name.clone());
        met += u64::from(case(seed, fault, "write", None).unwrap_or_else(|e| panic!("{name}: {e}")) > 0);
        tried += 1;
    }
    eprintln!("{tried} of {} cases, {met} met their fault", cases.len());
    assert!(tried > 100 && met * 2 > tried, "{tried} tried, {met} met");
}

/// Self-test: where the log is never synced, the sweep must notice that acknowledged writes are lost.
#[test]
fn an_unsynced_log_is_convicted() {
    let result = sweep("unsynced-log", 20, |seed, fault, io| case(seed, fault, io, Some(".wal")));
    assert!(result.is_err(), "nobody noticed");
}

/// Faults while a history is opened again, at a crash: the next open without them finds the same.
#[test]
fn failing_opens_lose_nothing() {
    let result = sweep("failing-opens", 25, |seed, fault, io| {
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
    // Turns and not a time, which a busy machine may spend elsewhere.
    for turn in 0.. {
        match f() {
            Ok(done) => return done,
            Err(e) => assert!(turn < 1000, "{what}: {e:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    unreachable!("the last turn returns or fails")
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
        // Not one is answered with what was remembered of the full disk; enough of them that some wait for a flush.
        for _ in 0..60 {
            put(written).unwrap_or_else(|e| panic!("round {round}: {e} though there is room"));
            written += 1;
        }
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

/// Several flush threads find the same recovered log to rewrite, and one of them does it.
#[test]
fn a_recovered_log_is_rewritten_once() {
    for round in 0..10 {
        let disk = FaultFs::new();
        let mut settings = options("write");
        settings.set("flush.threads", "4").unwrap();
        // All of it is in one memtable, and none of it in a table before the crash.
        settings.set("memtable.size", "1MiB").unwrap();
        let open = |disk: &FaultFs| Db::open_on(Arc::new(disk.clone()), Path::new(explorer::DIR), &settings).unwrap();
        let db = open(&disk);
        for n in 0..30u64 {
            db.default_keyspace().put(&FSYNC, &n.to_be_bytes(), &[1; 100]).unwrap();
        }
        disk.power_off();
        let _ = db.close();
        let disk = disk.after_kill();
        disk.set_capacity(disk.used_bytes());
        let db = open(&disk);
        // The threads have failed and wait; then they are all woken at once.
        std::thread::sleep(Duration::from_millis(20 * (round % 3)));
        disk.set_capacity(u64::MAX);
        until_ok("resuming after room was made", || db.resume());
        until_ok("a write after room was made", || db.default_keyspace().put(&FSYNC, b"more", b"1"));
        let jobs = db.property_u64(Some(&db.default_keyspace()), "levels.0.files").unwrap();
        assert!(jobs.is_some_and(|files| files <= 1), "{jobs:?} tables of one memtable");
        db.close().unwrap();
    }
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

/// What a crash left in the page cache is not called durable before it is rewritten: not on a full disk, not read-only.
#[test]
fn a_recovered_log_is_not_durable_before_it_is_rewritten() {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    db.default_keyspace().put(&FSYNC, b"a", b"1").unwrap();
    db.flush(None).unwrap();
    for n in 0..30u64 {
        db.default_keyspace().put(&OS, &n.to_be_bytes(), &[1; 100]).unwrap();
    }
    disk.power_off();
    let _ = db.close();
    let disk = disk.after_kill();
    let mut read_only = options("write");
    read_only.set("mode", "ro").unwrap();
    let db = Db::open_on(Arc::new(disk.clone()), Path::new(explorer::DIR), &read_only).unwrap();
    let (committed, durable) = db.sequence().unwrap();
    assert!(committed.0 == 31 && durable.0 <= 1, "read-only: {committed} committed, {durable} durable");
    db.close().unwrap();
    disk.set_capacity(disk.used_bytes());
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    let (committed, durable) = db.sequence().unwrap();
    assert!(committed.0 == 31 && durable.0 <= 1, "full: {committed} committed, {durable} durable");
    disk.set_capacity(u64::MAX);
    until_ok("resuming after room was made", || db.resume());
    until_ok("a write after room was made", || db.default_keyspace().put(&FSYNC, b"more", b"1"));
    let (committed, durable) = db.sequence().unwrap();
    assert_eq!((committed.0, durable.0), (32, 32));
    db.close().unwrap();
}

/// A batch for which there is no room does not keep out those for which there is.
#[test]
fn an_oversized_batch_on_a_full_disk_harms_nobody_else() {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    let space = db.default_keyspace();
    space.put(&OS, b"a", b"1").unwrap();
    disk.set_capacity(disk.used_bytes() + 300_000);
    let mut slow = 0;
    for n in 0..20u64 {
        let began = Instant::now();
        let large = space.put(&OS, b"large", &vec![7; 2 << 20]);
        assert_eq!(large.unwrap_err().code(), Code::NoSpace);
        space.put(&OS, &n.to_be_bytes(), b"small").unwrap_or_else(|e| panic!("small write {n}: {e:?}"));
        slow += u32::from(began.elapsed() > Duration::from_secs(5));
    }
    // A busy machine may stand still for once.
    assert!(slow < 3, "{slow} of 20 small writes waited for the large ones");
    db.close().unwrap();
}

/// After an I/O error an iterator answers that error until a seek; it never starts over, never shows older versions.
#[test]
fn a_failed_iterator_stays_failed_until_a_seek() {
    let disk = FaultFs::new();
    let mut plain = options("write");
    for (key, value) in [("cache.size", "0"), ("memtable.size", "4MiB"), ("table.size", "64MiB")] {
        plain.set(key, value).unwrap();
    }
    let db = Db::open_on(Arc::new(disk.clone()), Path::new(explorer::DIR), &plain).unwrap();
    let space = db.default_keyspace();
    for round in [b'o', b'n'] {
        for n in 0..4000u64 {
            // What does not compress, or a few reads would fetch all of it.
            let value: Vec<u8> = (0..300u64).map(|i| if i == 0 { round } else { (n * i * i / 7) as u8 }).collect();
            space.put(&OS, &n.to_be_bytes(), &value).unwrap();
        }
        db.flush(None).unwrap();
    }
    space.compact(None, None).unwrap();
    for back in [false, true] {
        let mut iter = space.iter(&ReadOptions::default()).unwrap();
        let mut step = move || {
            let found = if back { iter.prev() } else { iter.next() };
            found.map(|e| e.map(|e| (e.key.to_vec(), e.value.to_vec())))
        };
        let mut seen = 0;
        while step().unwrap().is_some_and(|(_, value)| value[0] == b'n') && seen < 50 {
            seen += 1;
        }
        disk.add_fault(Fault::sticky(Call::Read, 1, libc::EIO).on(".sst"));
        let error = loop {
            match step() {
                Ok(entry) => assert!(entry.is_some_and(|(_, value)| value[0] == b'n'), "older version or end"),
                Err(error) => break error,
            }
        };
        disk.clear_faults();
        for _ in 0..3 {
            let again = step().expect_err("started over");
            assert_eq!(again.os_errno(), error.os_errno());
        }
    }
    let mut iter = space.iter(&ReadOptions::default()).unwrap();
    disk.add_fault(Fault::sticky(Call::Read, 1, libc::EIO).on(".sst"));
    assert!(iter.seek(lsm_engine::db::Seek::First, b"").is_err());
    assert!(iter.next().is_err() && iter.prev().is_err());
    disk.clear_faults();
    assert!(iter.next().is_err(), "only a seek ends it");
    assert_eq!(iter.seek(lsm_engine::db::Seek::First, b"").unwrap().unwrap().value[0], b'n');
    assert!(iter.next().unwrap().is_some());
    db.close().unwrap();
}

/// `resume` tries a failed compaction at once, and refuses what cannot be resumed.
#[test]
fn resume_ends_the_waiting_and_refuses_after_a_failed_sync() {
    let disk = FaultFs::new();
    let db = open(Arc::new(disk.clone()), "write").unwrap();
    let space = db.default_keyspace();
    db.resume().unwrap();
    disk.add_fault(Fault::sticky(Call::Create, 1, libc::EMFILE).on(".sst"));
    for n in 0..200u64 {
        let _ = space.put(&WriteOptions { deadline_micros: 50_000, ..OS }, &n.to_be_bytes(), &[1; 200]);
    }
    let error =
        until_ok("a failure", || db.resume().err().ok_or_else(|| lsm_engine::Error::new(Code::Busy, "not yet")));
    assert_eq!(error.os_errno(), libc::EMFILE, "{error:?}");
    disk.clear_faults();
    db.resume().unwrap();
    space.put(&FSYNC, b"after", b"1").unwrap();
    disk.add_fault(Fault::once(Call::Sync, 1, libc::EIO).on(".wal"));
    assert!(space.put(&FSYNC, b"b", b"1").is_err());
    let error = db.resume().unwrap_err();
    assert!(
        error.flags() & lsm_engine::error::FLAG_FATAL != 0 && error.message().contains("open it again"),
        "{error:?}"
    );
    assert!(space.put(&OS, b"c", b"1").is_err());
    let _ = db.close();
    assert_eq!(db.resume().unwrap_err().code(), Code::Closed);
    let mut read_only = options("write");
    read_only.set("mode", "ro").unwrap();
    let again = disk.after_kill();
    let db = Db::open_on(Arc::new(again), Path::new(explorer::DIR), &read_only).unwrap();
    assert_eq!(db.resume().unwrap_err().code(), Code::ReadOnly);
    db.close().unwrap();
}

/// A panic in a background thread is answered to writers and to close; nobody hangs, and what was synced is there.
#[test]
fn a_panic_in_the_background_is_answered_and_close_returns() {
    struct Panics;
    impl lsm_engine::base::log_sink::LogSink for Panics {
        fn log(&self, _: lsm_engine::base::log_sink::LogLevel, message: &str) {
            assert!(!message.starts_with("flushed"), "planted");
        }
    }
    let _watched = Watched::new("a panic in the background".into());
    let disk = FaultFs::new();
    let mut options = options("write");
    options.set_logger(Arc::new(Panics));
    let db = Db::open_on(Arc::new(disk.clone()), Path::new(explorer::DIR), &options).unwrap();
    for n in 0..10u64 {
        db.default_keyspace().put(&FSYNC, &n.to_be_bytes(), b"x").unwrap();
    }
    assert_eq!(db.flush(None).unwrap_err().code(), Code::Panic);
    assert_eq!(db.default_keyspace().put(&OS, b"a", b"b").unwrap_err().code(), Code::Panic);
    assert_eq!(db.close().unwrap_err().code(), Code::Panic);
    let db = open(Arc::new(disk.after_kill()), "write").unwrap();
    let found = db.default_keyspace().get_with(&ReadOptions::default(), &9u64.to_be_bytes(), |_| ()).unwrap();
    assert!(found.is_some());
    db.close().unwrap();
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
