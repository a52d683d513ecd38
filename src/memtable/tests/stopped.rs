//! A writer that is stopped for good, between any two atomic steps of an insert or a split, stops nobody else: two other
//! threads still finish a thousand gets and a thousand inserts in its leaf. The same test convicts a version with a latch
//! (`hooks::plant_latch`): a writer there waits for whoever began at a leaf.

use super::contention::check_whole;
use super::*;
use crate::base::sync::{AtomicBool, AtomicUsize};
use crate::memtable::steps::hooks::{Gate, Stop, plant_latch, record, stop};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const OTHERS: usize = 2;
const TURNS: usize = 500;
/// Long enough for a machine under load: the work takes a few milliseconds.
const WATCHDOG: Duration = Duration::from_secs(60);

/// What a writer does: what is there before, and what it puts; each a key and a sequence number.
struct Scene {
    name: &'static str,
    before: Vec<(Vec<u8>, u64)>,
    puts: Vec<(Vec<u8>, u64)>,
}

fn scattered(i: u64) -> Vec<u8> {
    (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16).to_be_bytes().to_vec()
}

fn numbered(keys: impl Iterator<Item = Vec<u8>>, from: u64) -> Vec<(Vec<u8>, u64)> {
    keys.zip(from..).collect()
}

fn scenes() -> Vec<Scene> {
    let scene = |name, before: Vec<Vec<u8>>, puts: Vec<Vec<u8>>| Scene {
        name,
        puts: numbered(puts.into_iter(), before.len() as u64 + 1),
        before: numbered(before.into_iter(), 1),
    };
    let user = |i: u64| format!("user{i:019}").into_bytes();
    let ascending = |i: u64| (i * 1000).to_be_bytes().to_vec();
    let versions = |n: u64| numbered((0..n).map(|_| b"hot".to_vec()), 1);
    vec![
        scene("random", (0..100).map(scattered).collect(), (100..900).map(scattered).collect()),
        scene("ascending", (0..100).map(ascending).collect(), (100..160).map(ascending).collect()),
        scene("ascending, with a shared prefix", (0..100).map(user).collect(), (100..160).map(user).collect()),
        Scene {
            name: "versions, late ones too",
            // Every other number is left out, and comes when newer ones are there.
            before: versions(40).into_iter().filter(|(_, seq)| seq % 2 == 0).collect(),
            puts: vec![(b"hot".to_vec(), 41), (b"hot".to_vec(), 7), (b"hot".to_vec(), 1)],
        },
    ]
}

fn put_all(table: &MemTable, puts: &[(Vec<u8>, u64)], at: &AtomicUsize) {
    for (index, (key, seq)) in puts.iter().enumerate() {
        at.store(index, Ordering::Relaxed);
        put(table, key, *seq, &seq.to_le_bytes());
    }
}

fn filled(scene: &Scene) -> Arc<MemTable> {
    let table = table();
    put_all(&table, &scene.before, &AtomicUsize::new(0));
    table
}

/// For each two steps that follow each other, where that is first so.
fn stops(scene: &Scene) -> Vec<(usize, &'static str)> {
    let table = filled(scene);
    let names = record(|| put_all(&table, &scene.puts, &AtomicUsize::new(0)));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if seen.insert((index.checked_sub(1).map(|before| names[before]), *name)) {
            found.push((index, *name));
        }
    }
    found
}

/// What the others do around `key`: half of it puts of new keys behind it, of new versions of it now and then.
fn work(table: &MemTable, key: &[u8], thread: usize, there: &[(Vec<u8>, u64)]) {
    for turn in 0..TURNS {
        let seq = 1_000_000 + (turn * OTHERS + thread) as u64;
        let new = match turn % 50 {
            49 => key.to_vec(),
            _ => [key, &(seq as u32).to_be_bytes()].concat(),
        };
        put(table, &new, seq, &seq.to_le_bytes());
        let (old, old_seq) = &there[turn * 7 % there.len()];
        assert!(get(table, &new, seq).is_some_and(|found| found.0 == seq), "an own put is not there");
        assert!(get(table, old, *old_seq).is_some_and(|found| found.0 == *old_seq), "an old entry is not there");
    }
}

/// Whether the others finish while a writer of `scene` stands where `stops` say: at the first, then (let go, with one
/// put of another thread in its leaf between) at the next.
fn others_finish(scene: &Scene, stops: &[Stop], watchdog: Duration, is_latched: bool) -> (bool, &'static str) {
    let table = filled(scene);
    let at = Arc::new(AtomicUsize::new(0));
    let gates: Vec<Arc<Gate>> = stops.iter().map(|_| Arc::new(Gate::default())).collect();
    let puts = scene.puts.clone();
    let victim = thread::spawn({
        let (table, at, gates, stops) = (Arc::clone(&table), Arc::clone(&at), gates.clone(), stops.to_vec());
        move || {
            stop(stops.into_iter().zip(gates));
            put_all(&table, &puts, &at);
        }
    });
    let mut place = gates[0].arrival();
    let mut extra = 0;
    for pair in gates.windows(2) {
        let key = &scene.puts[at.load(Ordering::Relaxed)].0;
        put(&table, &[key.as_slice(), b"!"].concat(), 999_999, b"!");
        extra += 1;
        pair[0].open();
        place = pair[1].arrival();
    }
    let key = scene.puts[at.load(Ordering::Relaxed)].0.clone();
    let give_up = Arc::new(AtomicBool::new(false));
    let (done, results) = mpsc::channel();
    let others: Vec<_> = (0..OTHERS)
        .map(|thread| {
            let (table, key, there, done) = (Arc::clone(&table), key.clone(), scene.before.clone(), done.clone());
            let give_up = Arc::clone(&give_up);
            thread::spawn(move || {
                if is_latched {
                    plant_latch(give_up);
                }
                work(&table, &key, thread, &there);
                let _ = done.send(());
            })
        })
        .collect();
    let finished = (0..OTHERS).all(|_| results.recv_timeout(watchdog).is_ok());
    // Now all may go on, and what they left must be whole.
    give_up.store(true, Ordering::Relaxed);
    gates.last().expect("a stop").open();
    let results: Vec<_> = others.into_iter().chain([victim]).map(|thread| thread.join()).collect();
    assert!(results.iter().all(|result| result.is_ok()), "{}, {place}: a thread failed", scene.name);
    let keys: BTreeSet<&[u8]> = scene.before.iter().chain(&scene.puts).map(|(key, _)| key.as_slice()).collect();
    let hot = OTHERS * TURNS / 50;
    let versions = scene.before.len() + scene.puts.len() + OTHERS * TURNS + extra;
    check_whole(&table, keys.len() + OTHERS * TURNS - hot + extra, versions);
    (finished, place)
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of tables; the steps themselves run under Miri in the other tests")]
fn a_writer_that_is_stopped_stops_nobody() {
    let mut places = BTreeSet::new();
    for scene in scenes() {
        for (index, name) in stops(&scene) {
            let (finished, place) = others_finish(&scene, &[Stop::After(index)], WATCHDOG, false);
            assert_eq!(place, name, "{}: the writer does not repeat itself", scene.name);
            assert!(finished, "{}: stopped before `{name}` (step {index}), others did not finish", scene.name);
            places.insert(name);
        }
    }
    // A writer that lost a split gives its leaves to the pool, and whoever needs one takes it from there.
    let scene = &scenes()[0];
    for (index, _) in stops(scene).into_iter().filter(|(_, name)| *name == "replace") {
        for later in (0..4).map(Stop::After).chain([Stop::Before("take pooled")]) {
            let (finished, place) = others_finish(scene, &[Stop::After(index), later], WATCHDOG, false);
            assert!(finished, "stopped before `{place}` after a lost split, others did not finish");
            places.insert(place);
        }
    }
    // All steps there are, by the names in the code, but one that only a race can lead to.
    let named = [
        "append",
        "begin building",
        "chunk",
        "claim",
        "count",
        "count split",
        "done",
        "end building",
        "filter",
        "grant",
        "insert version",
        "pool",
        "prefix",
        "publish",
        "push version",
        "repair lane",
        "replace",
        "seal",
        "tail",
        "take index",
        "take pooled",
        "top",
    ];
    let missing: Vec<_> = named.iter().filter(|name| !places.contains(*name)).collect();
    assert!(missing.is_empty(), "no writer was stopped at {missing:?}; at {places:?}");
}

#[test]
#[cfg_attr(miri, ignore = "waits for a watchdog")]
fn a_version_with_a_latch_is_convicted() {
    let scene = &scenes()[0];
    for latched in ["publish", "replace"] {
        let (index, _) = stops(scene).into_iter().find(|(_, name)| *name == latched).expect("a stop of this name");
        let (finished, place) = others_finish(scene, &[Stop::After(index)], Duration::from_secs(2), true);
        assert_eq!(place, latched);
        assert!(!finished, "stopped before `{latched}` with a latch, but the others finished");
    }
}
