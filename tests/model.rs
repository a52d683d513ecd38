//! Random histories over several keyspaces against a model, with flushes, compactions, snapshots and reopens between.
//! A failure prints its seed; `LSM_SEED=n` replays it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use lsm_engine::db::{Batch, Db, Keyspace, Options, ReadOptions, Seek, Snapshot, WriteOptions};
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn seed() -> u64 {
    std::env::var("LSM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64) | 1
    })
}

fn options() -> Options {
    let mut options = Options::new();
    for (key, value) in [
        ("memtable.size", "64KiB"),
        ("table.size", "32KiB"),
        ("level.base_size", "64KiB"),
        ("level.size_ratio", "4"),
        ("block.size", "512"),
        ("cache.size", "256KiB"),
        ("wal.segment_size", "256KiB"),
    ] {
        options.set(key, value).unwrap();
    }
    options
}

struct Run {
    rng: Rng,
    models: Vec<Model>,
    snapshots: Vec<(Snapshot, Vec<Model>)>,
}

impl Run {
    fn key(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => Vec::new(),
            1 => vec![0xff; 1 + self.rng.below(3) as usize],
            2 => {
                let n = self.rng.below(50);
                format!("a/long/shared/prefix/of/a/path/{n:06}").into_bytes()
            }
            _ => format!("{:04}", self.rng.below(900)).into_bytes(),
        }
    }
    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.below(50) {
            0 => 0,
            1 => 5000,
            _ => 1 + self.rng.below(120) as usize,
        };
        let byte = self.rng.below(256) as u8;
        (0..len).map(|i| byte.wrapping_add((i / 7) as u8)).collect()
    }
}

fn keyspaces(db: &Db) -> Vec<Keyspace> {
    let mut all = vec![db.default_keyspace()];
    for name in [&b"second"[..], b"third"] {
        all.push(db.keyspace_open(name, None).unwrap().unwrap());
    }
    all
}

fn check_reads(run: &mut Run, ks: &[Keyspace], at: usize) {
    let key = run.key();
    let got = ks[at].get_with(&ReadOptions::default(), &key, <[u8]>::to_vec).unwrap();
    assert_eq!(got.as_ref(), run.models[at].get(&key), "get {key:?}");
    if !run.snapshots.is_empty() {
        let n = run.rng.below(run.snapshots.len() as u64) as usize;
        let (snapshot, models) = &run.snapshots[n];
        let read = ReadOptions { snapshot: Some(snapshot.clone()), ..ReadOptions::default() };
        let got = ks[at].get_pinned(&read, &key).unwrap().map(|v| v.bytes().to_vec());
        assert_eq!(got.as_ref(), models[at].get(&key), "get {key:?} in snapshot {}", snapshot.sequence());
        check_scan(&ks[at], &read, &models[at]);
    }
    let keys: Vec<Vec<u8>> = (0..8).map(|_| run.key()).collect();
    let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    for (key, got) in keys.iter().zip(ks[at].multi_get(&ReadOptions::default(), &slices).unwrap()) {
        assert_eq!(got.unwrap().map(|v| v.bytes().to_vec()).as_ref(), run.models[at].get(key));
    }
}

fn check_scan(ks: &Keyspace, read: &ReadOptions, model: &Model) {
    let mut iter = ks.iter(read).unwrap();
    let mut expected = model.iter();
    while let Some(entry) = iter.next().unwrap() {
        let (key, value) = expected.next().expect("the scan shows too much");
        assert_eq!((entry.key, entry.value), (key.as_slice(), value.as_slice()));
    }
    assert!(expected.next().is_none(), "the scan ends early");
    let mut expected = model.iter().rev();
    while let Some(entry) = iter.prev().unwrap() {
        assert_eq!(entry.key, expected.next().expect("the scan back shows too much").0);
    }
    assert!(expected.next().is_none(), "the scan back ends early");
}

fn check_seeks(run: &mut Run, ks: &Keyspace, at: usize) {
    let lower = (run.rng.below(2) == 0).then(|| run.key());
    let upper = (run.rng.below(2) == 0).then(|| run.key());
    let read = ReadOptions { lower: lower.clone(), upper: upper.clone(), ..ReadOptions::default() };
    let model: Model = run.models[at]
        .iter()
        .filter(|(k, _)| lower.as_ref().is_none_or(|l| *k >= l) && upper.as_ref().is_none_or(|u| *k < u))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let mut iter = ks.iter(&read).unwrap();
    for _ in 0..12 {
        let key = run.key();
        let (to, expected) = match run.rng.below(6) {
            0 => (Seek::First, model.iter().next()),
            1 => (Seek::Last, model.iter().next_back()),
            2 => (Seek::Ge, model.range(key.clone()..).next()),
            3 => (Seek::Gt, model.iter().find(|(k, _)| **k > key)),
            4 => (Seek::Le, model.range(..=key.clone()).next_back()),
            _ => (Seek::Lt, model.range(..key.clone()).next_back()),
        };
        let got = iter.seek(to, &key).unwrap().map(|e| (e.key.to_vec(), e.value.to_vec()));
        let mut at = expected.map(|(k, v)| (k.clone(), v.clone()));
        assert_eq!(got, at, "{to:?} {key:?} within {lower:?}..{upper:?}");
        for _ in 0..run.rng.below(6) {
            let Some((key, _)) = &at else { break };
            let forward = run.rng.below(2) == 0;
            let got = if forward { iter.next() } else { iter.prev() };
            let expected =
                if forward { model.iter().find(|(k, _)| *k > key) } else { model.range(..key.clone()).next_back() };
            assert_eq!(
                got.unwrap().map(|e| (e.key.to_vec(), e.value.to_vec())),
                expected.map(|(k, v)| (k.clone(), v.clone()))
            );
            at = expected.map(|(k, v)| (k.clone(), v.clone()));
        }
    }
}

fn write(run: &mut Run, db: &Db, ks: &[Keyspace]) {
    let wo = WriteOptions::default();
    let at = run.rng.below(3) as usize;
    match run.rng.below(10) {
        0..=5 => {
            let (key, value) = (run.key(), run.value());
            ks[at].put(&wo, &key, &value).unwrap();
            run.models[at].insert(key, value);
        }
        6 | 7 => {
            let key = run.key();
            ks[at].delete(&wo, &key).unwrap();
            run.models[at].remove(&key);
        }
        _ => {
            let mut batch: Batch = db.batch();
            for _ in 0..run.rng.below(30) {
                let at = run.rng.below(3) as usize;
                let key = run.key();
                if run.rng.below(4) == 0 {
                    batch.delete(&ks[at], &key).unwrap();
                    run.models[at].remove(&key);
                } else {
                    let value = run.value();
                    batch.put(&ks[at], &key, &value).unwrap();
                    run.models[at].insert(key, value);
                }
            }
            db.write(&wo, &batch).unwrap();
        }
    }
}

fn history(seed: u64, steps: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut run = Run { rng: Rng(seed), models: vec![Model::new(); 3], snapshots: Vec::new() };
    let mut db = Db::open(&path, &options()).unwrap();
    let mut ks = keyspaces(&db);
    for step in 0..steps {
        write(&mut run, &db, &ks);
        match run.rng.below(400) {
            0 => db.flush(None).unwrap(),
            1 => ks[run.rng.below(3) as usize].compact(None, None).unwrap(),
            2 => {
                let (from, to) = (run.key(), run.key());
                ks[0].compact(Some(&from), Some(&to)).unwrap();
            }
            3 | 4 if run.snapshots.len() < 6 => run.snapshots.push((db.snapshot().unwrap(), run.models.clone())),
            5 if !run.snapshots.is_empty() => drop(run.snapshots.remove(0)),
            6 => {
                run.snapshots.clear();
                drop(ks);
                db.close().unwrap();
                db = Db::open(&path, &options()).unwrap();
                ks = keyspaces(&db);
            }
            7..=20 => {
                let at = run.rng.below(3) as usize;
                let ks = ks[at].clone();
                check_seeks(&mut run, &ks, at);
            }
            21..=60 => {
                let at = run.rng.below(3) as usize;
                check_reads(&mut run, &ks, at);
            }
            _ => {}
        }
        if step % 4000 == 3999 {
            for (at, ks) in ks.iter().enumerate() {
                check_scan(ks, &ReadOptions::default(), &run.models[at]);
            }
        }
    }
    for (at, ks) in ks.iter().enumerate() {
        check_scan(ks, &ReadOptions::default(), &run.models[at]);
    }
    db.close().unwrap();
}

#[test]
fn random_histories_agree_with_a_model() {
    let first = seed();
    for n in 0..4 {
        let seed = first.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(n)) | 1;
        let result = std::panic::catch_unwind(|| history(seed, 12_000));
        assert!(result.is_ok(), "replay with LSM_SEED={seed}");
    }
}
