//! Power cuts and process deaths while several threads write and sync together, at sampled mutating calls: what is opened
//! again must hold every write whose sync was acknowledged, whole batches, and a prefix in the order of the sequence
//! numbers; after the death of the process alone, every acknowledged write. Also when the recovery is cut off in turn.
//!
//! Every operation has a key of its own, so what is found says which writes are there. Threads make runs of one seed
//! differ; each run records what was acknowledged in it. `LSM_SEED=n` starts there, `LSM_SOAK_MINUTES=n` goes on for longer.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]
#![allow(clippy::print_stderr, reason = "seeds and counts are for whoever reads the test's output")]
#![allow(clippy::disallowed_methods, reason = "a test measures time")]

#[path = "common/count.rs"]
mod count;
mod explorer;

use explorer::planted::Planted;
use explorer::{Opened, Rng, TimeBox, Watched, first_seed};
use lsm_engine::db::{Durability, ReadOptions, WriteOptions};
use lsm_engine::fs::fault::{CrashPolicy, FaultFs};
use lsm_engine::fs::mem::MemFs;
use lsm_engine::fs::{Fs, FsKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const THREADS: usize = 4;
const WRITES: u32 = 60;

/// A write: thread and number within it.
type Name = (u8, u32);

/// What one thread was told.
#[derive(Default)]
struct Told {
    /// Writes that were begun.
    started: u32,
    /// Last sequence number and operations of each acknowledged write, by number.
    acked: BTreeMap<u32, (u64, u32)>,
    /// Writes up to this number were acknowledged as synced: their own sync, or a later one of the same thread.
    durable: u32,
}

struct Record {
    told: Vec<Told>,
    /// What `sync` promised: everything with a sequence number up to this.
    synced_seq: u64,
}

/// What was found: operations present and their sequence numbers, by write.
type Found = BTreeMap<Name, BTreeMap<u32, u64>>;

struct Explorer {
    io: &'static str,
    bug: Option<&'static str>,
    states: u64,
    syncs: u64,
}

fn key((thread, number): Name, part: u32) -> Vec<u8> {
    [&[thread][..], &number.to_be_bytes(), &part.to_be_bytes()].concat()
}

/// How many operations a write has.
fn parts((thread, number): Name) -> u32 {
    1 + (u32::from(thread) * 7 + number * 5) % 4
}

fn value(name: Name, part: u32) -> Vec<u8> {
    let mut bytes = key(name, part);
    bytes.resize(20 + (name.1 * 37 % 300) as usize, name.0);
    bytes
}

impl Explorer {
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

    /// All threads write until they are through or the power goes off; then the database is left or closed.
    fn run(&mut self, disk: &FaultFs, seed: u64) -> Result<Record, String> {
        let empty = || (0..THREADS).map(|_| Told::default()).collect();
        let mut opened = match Opened::existing(self.fs(disk), self.io) {
            Ok(opened) => opened,
            Err(_) if disk.is_off() => return Ok(Record { told: empty(), synced_seq: 0 }),
            Err(e) => return Err(format!("the first open: {e:?}")),
        };
        if let Err(e) = opened.make(1) {
            let _ = opened.db.close();
            let record = Record { told: empty(), synced_seq: 0 };
            return if disk.is_off() { Ok(record) } else { Err(format!("a keyspace: {e:?}")) };
        }
        let (opened, synced) = (&opened, AtomicU64::new(0));
        let is_done = AtomicBool::new(false);
        let told = std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..THREADS).map(|at| scope.spawn(move || write(opened, disk, at as u8, seed))).collect();
            let (synced, is_done) = (&synced, &is_done);
            scope.spawn(move || maintain(opened, disk, seed, synced, is_done));
            let told: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
            // Release: pairs with the load in `maintain`.
            is_done.store(true, Ordering::Release);
            told
        });
        self.syncs += opened.db.property_u64(None, "wal.syncs").ok().flatten().unwrap_or(0);
        disk.power_off();
        let _ = opened.db.close();
        let told = told.into_iter().collect::<Result<Vec<_>, String>>()?;
        Ok(Record { told, synced_seq: synced.into_inner() })
    }

    /// Reads all that is there.
    fn found(&self, opened: &Opened) -> Result<Found, String> {
        let mut found = Found::new();
        for space in opened.spaces.iter().flatten() {
            let mut iter = space.iter(&ReadOptions::default()).map_err(|e| format!("an iterator: {e:?}"))?;
            while let Some(entry) = iter.next().map_err(|e| format!("a step: {e:?}"))? {
                let number = u32::from_be_bytes(entry.key[1..5].try_into().unwrap());
                let part = u32::from_be_bytes(entry.key[5..9].try_into().unwrap());
                let name = (entry.key[0], number);
                if entry.value != value(name, part) {
                    return Err(format!("write {name:?}: another value"));
                }
                found.entry(name).or_default().insert(part, entry.seq.0);
            }
        }
        Ok(found)
    }

    /// What is wrong with what was found; `is_death`: only the process died.
    fn judge(&self, record: &Record, found: &Found, is_death: bool) -> Result<(), String> {
        for (name, ops) in found {
            if ops.len() != parts(*name) as usize {
                return Err(format!("write {name:?} is torn: {ops:?} of {}", parts(*name)));
            }
            if name.1 > record.told[name.0 as usize].started {
                return Err(format!("write {name:?} was never begun"));
            }
        }
        let top = found.values().flat_map(BTreeMap::values).max().copied().unwrap_or(0);
        for (thread, told) in record.told.iter().enumerate() {
            for (&number, &(last, count)) in &told.acked {
                let name = (thread as u8, number);
                let Some(ops) = found.get(&name) else {
                    let why = match () {
                        () if is_death => "was acknowledged and the process died",
                        () if number <= told.durable => "was synced",
                        () if last <= record.synced_seq => "was there when a sync of all began",
                        () if last <= top => "is missing before a later one",
                        () => continue,
                    };
                    return Err(format!("write {name:?} (sequence {last}) {why}; found up to {top}"));
                };
                let first = u64::from(count) - 1;
                let expected: Vec<u64> = (last - first..=last).collect();
                if !ops.values().copied().eq(expected.iter().copied()) {
                    return Err(format!("write {name:?} has sequence numbers {ops:?}, told {expected:?}"));
                }
            }
            // What one thread does comes one after another.
            let count = found.range((thread as u8, 0)..(thread as u8 + 1, 0)).count() as u32;
            if count > 0 && !found.contains_key(&(thread as u8, count)) {
                return Err(format!("thread {thread}: {count} writes, but not the first {count}"));
            }
        }
        Ok(())
    }

    fn check(&mut self, image: &MemFs, record: &Record, is_death: bool, rng: &mut Rng) -> Result<(), String> {
        self.states += 1;
        let disk = FaultFs::over(image);
        let opened = Opened::existing(Arc::new(disk.clone()), self.io).map_err(|e| format!("does not open: {e:?}"))?;
        let found = self.found(&opened)?;
        self.judge(record, &found, is_death)?;
        let mutations = disk.mutations();
        opened.db.close().map_err(|e| format!("does not close: {e:?}"))?;
        // The recovery is cut off, and the next one goes on.
        let disk = FaultFs::over(image);
        disk.set_crash_point(1 + rng.below(mutations + 2));
        if let Ok(opened) = Opened::existing(Arc::new(disk.clone()), self.io) {
            disk.power_off();
            let _ = opened.db.close();
        }
        disk.power_off();
        let disk = FaultFs::over(&disk.crash(CrashPolicy::strict(), rng.next()));
        let opened = Opened::existing(Arc::new(disk.clone()), self.io).map_err(|e| format!("again: {e:?}"))?;
        let again = self.found(&opened)?;
        let _ = opened.db.close();
        if again == found {
            Ok(())
        } else {
            Err(format!("the second open shows {} writes, not {}", again.len(), found.len()))
        }
    }

    fn history(&mut self, seed: u64, deadline: Instant) -> Result<(), String> {
        let mut rng = Rng::new(seed);
        let disk = self.disk();
        let (io, bug) = (self.io, self.bug);
        let named = |what: String| format!("seed {seed}, wal.io {io}, bug {bug:?}: {what}");
        self.run(&disk, seed).map_err(named)?;
        let total = disk.mutations();
        for _ in 0..6 {
            if Instant::now() > deadline {
                break;
            }
            let n = 1 + rng.below(total);
            let case = format!("seed {seed}, wal.io {io}, bug {bug:?}: crash at {n} of {total}");
            let _watched = Watched::new(case.clone());
            let disk = self.disk();
            disk.set_crash_point(n);
            let record = self.run(&disk, seed).map_err(|e| format!("{case}: {e}"))?;
            let named = |e: String| format!("{case}: {e}");
            self.check(&disk.process_death(), &record, true, &mut rng).map_err(|e| named(format!("death: {e}")))?;
            let policies =
                [CrashPolicy::nothing(), CrashPolicy::ordered(), CrashPolicy::strict(), CrashPolicy::strict()];
            for policy in policies {
                let image = disk.crash(policy, rng.next());
                self.check(&image, &record, false, &mut rng).map_err(|e| named(format!("{policy:?}: {e}")))?;
            }
        }
        Ok(())
    }

    /// Both kinds of what must have happened.
    fn done(&self) -> u64 {
        self.states.min(self.syncs)
    }

    fn explore(&mut self, first: u64, time: &TimeBox) -> Result<(), String> {
        let mut seed = first;
        while !time.is_over(self.done(), DONE_LEAST) {
            self.history(seed, time.deadline(self.done(), DONE_LEAST))?;
            seed += 1;
        }
        Ok(())
    }
}

/// One writer: its own keys, spread over both keyspaces.
fn write(opened: &Opened, disk: &FaultFs, thread: u8, seed: u64) -> Result<Told, String> {
    let mut told = Told::default();
    let mut rng = Rng::new(seed ^ (u64::from(thread) + 1) << 32);
    // Some never sync, some always.
    let share = [0, 20, 60, 100][rng.below(4) as usize];
    for number in 1..=WRITES {
        let name = (thread, number);
        let is_synced = rng.below(100) < share;
        let durability = if is_synced { Durability::Fsync } else { Durability::Os };
        let options = WriteOptions { durability, ..WriteOptions::default() };
        let mut batch = opened.db.batch();
        for part in 0..parts(name) {
            let space = opened.spaces[(part % 2) as usize].as_ref().unwrap();
            batch.put(space, &key(name, part), &value(name, part)).unwrap();
        }
        told.started = number;
        match opened.db.write(&options, &batch) {
            // An acknowledgement that nobody can see any more promises nothing.
            _ if disk.is_off() => break,
            Ok(seq) => {
                told.acked.insert(number, (seq.0, parts(name)));
                if is_synced {
                    told.durable = number;
                }
            }
            Err(e) => return Err(format!("write {name:?} failed without a fault: {e:?}")),
        }
    }
    Ok(told)
}

/// Flushes, compactions and syncs beside the writers.
fn maintain(opened: &Opened, disk: &FaultFs, seed: u64, synced: &AtomicU64, is_done: &AtomicBool) {
    let mut rng = Rng::new(seed ^ 0x5eed);
    // Acquire: pairs with the store behind the joins.
    while !is_done.load(Ordering::Acquire) && !disk.is_off() {
        let done = match rng.below(6) {
            0 => opened.db.flush(None),
            1 => opened.spaces[0].as_ref().unwrap().compact(None, None),
            _ => {
                let visible = opened.db.sequence().map(|(committed, _)| committed.0);
                let done = opened.db.sync();
                if let (Ok(visible), Ok(()), false) = (visible, &done, disk.is_off()) {
                    // Relaxed: read after the join.
                    synced.fetch_max(visible, Ordering::Relaxed);
                }
                done
            }
        };
        if done.is_err() {
            break;
        }
        std::thread::sleep(Duration::from_micros(rng.below(400)));
    }
}

const DONE_LEAST: u64 = 11;

fn explore(io: &'static str, seconds: u64) {
    let seed = first_seed();
    eprintln!("wal.io {io}: from seed {seed}");
    let mut explorer = Explorer { io, bug: None, states: 0, syncs: 0 };
    let result = explorer.explore(seed, &TimeBox::of(seconds));
    eprintln!("wal.io {io}: {} crash states, {} syncs of the log", explorer.states, explorer.syncs);
    result.unwrap_or_else(|violation| panic!("{violation}"));
    assert!(explorer.done() >= DONE_LEAST, "the explorer hardly ran");
    count::counted("crash-writers", seed, explorer.states, "states");
}

#[test]
fn writers_that_sync_together_survive_crashes_with_a_written_log() {
    explore("write", 12);
}

#[test]
fn writers_that_sync_together_survive_crashes_with_a_mapped_log() {
    explore("auto", 12);
}

/// Without this the others mean nothing.
#[test]
fn swallowed_syncs_are_convicted() {
    for bug in [".wal", ".sst", "MANIFEST", "dir"] {
        let mut explorer = Explorer { io: "write", bug: Some(bug), states: 0, syncs: 0 };
        let result = explorer.explore(first_seed(), &TimeBox::exactly(30));
        let violation = result.expect_err(&format!("nobody noticed that {bug} is never synced"));
        eprintln!("{bug}: convicted after {} states: {violation}", explorer.states);
    }
}
