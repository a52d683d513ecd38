//! The operations of the metamorphic run: how they are drawn, and what each must answer.

use super::explorer::{DIR, Rng};
use lsm_engine::db::{
    Batch, Db, Direction, Durability, Iter, Keyspace, Options, PinnedValue, ReadOptions, Seek, Snapshot, WriteOptions,
};
use lsm_engine::error::Code;
use lsm_engine::fs::FsKind;
use lsm_engine::fs::fault::{CrashPolicy, FaultFs};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Maps = [Map; SPACES];
type Entry = (Vec<u8>, Vec<u8>);

pub const SPACES: usize = 3;
const NAMES: [&[u8]; SPACES] = [b"default", b"second", b"third"];

/// Kinds and how often each is drawn among 10,000.
const WEIGHTS: &[(&str, u64)] = &[
    ("put", 1800),
    ("put fsync", 100),
    ("put memory", 200),
    ("put with a deadline", 100),
    ("put large", 30),
    ("put empty value", 60),
    ("put empty key", 20),
    ("put too long key", 20),
    ("delete", 600),
    ("delete fsync", 50),
    ("delete absent", 60),
    ("overwrite many times", 40),
    ("batch", 300),
    ("batch across keyspaces", 250),
    ("batch of one key", 60),
    ("batch packed", 120),
    ("batch packed malformed", 30),
    ("batch empty", 20),
    ("batch cleared", 30),
    ("get", 1000),
    ("get pinned", 300),
    ("get pinned and keep", 100),
    ("get checked", 100),
    ("get past the cache", 100),
    ("get in snapshot", 400),
    ("multi_get", 300),
    ("multi_get in snapshot", 100),
    ("scan", 80),
    ("scan back", 80),
    ("scan in snapshot", 80),
    ("scan bounds", 200),
    ("scan prefix", 200),
    ("scan prefix and bounds", 100),
    ("scan keys only", 60),
    ("scan with readahead", 40),
    ("scan past the cache", 40),
    ("seek first", 60),
    ("seek last", 60),
    ("seek ge", 150),
    ("seek gt", 150),
    ("seek le", 150),
    ("seek lt", 150),
    ("zigzag", 250),
    ("next_many", 150),
    ("next_many back", 150),
    ("unread", 80),
    ("iterator keep", 60),
    ("iterator refresh", 40),
    ("snapshot", 150),
    ("snapshot drop", 150),
    ("flush", 30),
    ("flush one", 40),
    ("compact", 12),
    ("compact range", 20),
    ("sync", 30),
    ("cache clear", 20),
    ("look at properties", 20),
    ("approximate", 40),
    ("keyspace drop", 8),
    ("keyspace reopen", 20),
    ("keyspace list", 20),
    ("second open", 5),
    ("reopen", 12),
    ("die", 12),
    ("power cut behind a sync", 12),
];

const fn kinds() -> [&'static str; WEIGHTS.len()] {
    let mut names = [""; WEIGHTS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = WEIGHTS[at].0;
        at += 1;
    }
    names
}

/// All kinds.
pub const KINDS: [&str; WEIGHTS.len()] = kinds();

/// One operation: its kind, and a seed for whatever it draws.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    kind: usize,
    seed: u64,
}

/// A history.
pub fn draw(seed: u64, count: usize) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    (0..count)
        .map(|at| {
            let mut left = rng.below(total);
            let mut kind = 0;
            while left >= WEIGHTS[kind].1 {
                left -= WEIGHTS[kind].1;
                kind += 1;
            }
            // Each kind once, whatever the weights say.
            if at >= count / 2 && at - count / 2 < WEIGHTS.len() {
                kind = at - count / 2;
            }
            Op { kind, seed: rng.next() }
        })
        .collect()
}

fn key(rng: &mut Rng) -> Vec<u8> {
    match rng.below(20) {
        0 => vec![0xff; 1 + rng.below(3) as usize],
        1 => vec![0; 1 + rng.below(3) as usize],
        2..=5 => format!("a/long/shared/prefix/of/a/path/{:04}", rng.below(60)).into_bytes(),
        6 => format!("{:04}\0tail", rng.below(300)).into_bytes(),
        7 => format!("{:02}", rng.below(30)).into_bytes(),
        _ => format!("{:04}", rng.below(300)).into_bytes(),
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.below(60) == 0 { 3000 } else { rng.below(120) as usize };
    let byte = rng.below(256) as u8;
    (0..len).map(|i| byte.wrapping_add((i / 5) as u8)).collect()
}

struct Kept {
    iter: Iter,
    entries: Vec<Entry>,
    at: usize,
    space: usize,
}

/// A database, what it must hold, and what was kept from earlier.
pub struct World {
    disk: FaultFs,
    options: Options,
    db: Db,
    spaces: Vec<Keyspace>,
    maps: Maps,
    snapshots: Vec<(Snapshot, Maps)>,
    pinned: Vec<(PinnedValue, Vec<u8>)>,
    kept: Option<Kept>,
    counts: [u64; WEIGHTS.len()],
    forget_every: Option<u64>,
    writes: u64,
    seed: u64,
}

fn spaces(db: &Db) -> Vec<Keyspace> {
    NAMES.iter().map(|name| db.keyspace_open(name, None).unwrap().unwrap()).collect()
}

impl World {
    pub fn new(options: Options, is_mapped: bool, seed: u64) -> World {
        let disk = FaultFs::new();
        disk.set_kind(if is_mapped { FsKind::Mappable } else { FsKind::Other });
        let db = Db::open_on(Arc::new(disk.clone()), Path::new(DIR), &options).unwrap();
        let spaces = spaces(&db);
        World {
            disk,
            options,
            db,
            spaces,
            maps: Maps::default(),
            snapshots: Vec::new(),
            pinned: Vec::new(),
            kept: None,
            counts: [0; WEIGHTS.len()],
            forget_every: None,
            writes: 0,
            seed,
        }
    }

    /// Makes the model miss every nth write.
    pub fn forget_writes(&mut self, nth: u64) {
        self.forget_every = Some(nth);
    }

    /// Checks everything once more and closes; how often each kind came.
    pub fn end(mut self) -> [u64; WEIGHTS.len()] {
        self.check_all();
        self.let_go();
        self.db.close().unwrap();
        self.open_again();
        self.check_all();
        self.db.close().unwrap();
        self.counts
    }

    fn check_all(&self) {
        for at in 0..SPACES {
            self.check_scan(at, &ReadOptions::default(), &self.maps[at], false);
            self.check_scan(at, &ReadOptions::default(), &self.maps[at], true);
        }
    }

    fn let_go(&mut self) {
        (self.kept, self.snapshots) = (None, Vec::new());
    }

    fn open_again(&mut self) {
        self.db = Db::open_on(Arc::new(self.disk.clone()), Path::new(DIR), &self.options).unwrap();
        self.spaces = spaces(&self.db);
    }

    /// Carries one operation out and checks what it answers.
    pub fn apply(&mut self, op: &Op) {
        let name = KINDS[op.kind];
        self.counts[op.kind] += 1;
        let mut rng = Rng::new(op.seed);
        let at = rng.below(SPACES as u64) as usize;
        if name.starts_with("put") || name.starts_with("delete") || name.starts_with("overwrite") {
            self.write(name, at, &mut rng);
        } else if name.starts_with("batch") {
            self.batch(name, at, &mut rng);
        } else if name.starts_with("get") || name.starts_with("multi") {
            self.get(name, at, &mut rng);
        } else if name.starts_with("scan") {
            self.scan(name, at, &mut rng);
        } else if name.starts_with("seek") || name == "zigzag" {
            self.seek(name, at, &mut rng);
        } else if name.contains("_many") || name == "unread" {
            self.many(name, at, &mut rng);
        } else if name.starts_with("iterator") || name.starts_with("snapshot") {
            self.keep(name, at, &mut rng);
        } else {
            self.administer(name, at, &mut rng);
        }
    }

    fn set(&mut self, at: usize, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.writes += 1;
        if self.forget_every.is_some_and(|nth| self.writes.is_multiple_of(nth)) {
            return;
        }
        match value {
            Some(value) => self.maps[at].insert(key, value),
            None => self.maps[at].remove(&key),
        };
    }

    fn write(&mut self, name: &str, at: usize, rng: &mut Rng) {
        let durability = match name {
            "put fsync" | "delete fsync" => Durability::Fsync,
            "put memory" => Durability::Memory,
            _ => Durability::Default,
        };
        let deadline_micros = if name == "put with a deadline" { 60_000_000 } else { 0 };
        let options = WriteOptions { durability, deadline_micros };
        let (mut key, mut value) = (key(rng), value(rng));
        match name {
            "put large" => value = vec![value.len() as u8; 20_000 + rng.below(120_000) as usize],
            "put empty value" => value.clear(),
            "put empty key" => key.clear(),
            "delete absent" => key = b"never there".to_vec(),
            "put too long key" => {
                let error = self.spaces[at].put(&options, &vec![b'k'; 65_537], b"v").unwrap_err();
                assert_eq!(error.code(), Code::Invalid);
                return;
            }
            "overwrite many times" => {
                for n in 0..40u8 {
                    self.spaces[at].put(&options, &key, &[n; 100]).unwrap();
                    self.set(at, key.clone(), Some(vec![n; 100]));
                }
                return;
            }
            _ => {}
        }
        if name.starts_with("delete") {
            self.spaces[at].delete(&options, &key).unwrap();
            self.set(at, key, None);
        } else {
            self.spaces[at].put(&options, &key, &value).unwrap();
            if name == "put large" {
                // Still in memory: too large to be copied under a pin.
                let got = self.spaces[at].get_pinned(&ReadOptions::default(), &key).unwrap();
                assert_eq!(got.as_ref().map(PinnedValue::bytes), Some(value.as_slice()));
            }
            self.set(at, key, Some(value));
        }
    }

    fn batch(&mut self, name: &str, at: usize, rng: &mut Rng) {
        let mut batch: Batch = self.db.batch();
        let mut changes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let count = if name == "batch empty" { 0 } else { 1 + rng.below(20) };
        let one = key(rng);
        for _ in 0..count {
            let space = if name == "batch across keyspaces" { rng.below(SPACES as u64) as usize } else { at };
            let key = if name == "batch of one key" { one.clone() } else { key(rng) };
            changes.push((space, key, (rng.below(4) > 0).then(|| value(rng))));
        }
        if name.starts_with("batch packed") {
            let mut packed = Vec::new();
            for (_, key, value) in &changes {
                packed.extend((key.len() as u32).to_le_bytes());
                packed.extend(value.as_ref().map_or(u32::MAX, |v| v.len() as u32).to_le_bytes());
                packed.extend_from_slice(key);
                packed.extend_from_slice(value.as_deref().unwrap_or_default());
            }
            if name == "batch packed malformed" {
                packed.extend([9, 0, 0]);
                assert_eq!(batch.append_packed(&self.spaces[at], &packed).unwrap_err().code(), Code::Invalid);
                changes.clear();
            } else {
                batch.append_packed(&self.spaces[at], &packed).unwrap();
            }
        } else {
            for (space, key, value) in &changes {
                match value {
                    Some(value) => batch.put(&self.spaces[*space], key, value).unwrap(),
                    None => batch.delete(&self.spaces[*space], key).unwrap(),
                }
            }
        }
        if name == "batch cleared" {
            batch.clear();
            changes.clear();
        }
        assert_eq!(batch.count(), changes.len());
        self.db.write(&WriteOptions::default(), &batch).unwrap();
        for (space, key, value) in changes {
            self.set(space, key, value);
        }
    }

    /// Read options of a drawn snapshot and its content, or of now.
    fn moment(&self, wants_snapshot: bool, at: usize, rng: &mut Rng) -> (ReadOptions, &Map) {
        if wants_snapshot && !self.snapshots.is_empty() {
            let (snapshot, maps) = &self.snapshots[rng.below(self.snapshots.len() as u64) as usize];
            return (ReadOptions { snapshot: Some(snapshot.clone()), ..ReadOptions::default() }, &maps[at]);
        }
        (ReadOptions::default(), &self.maps[at])
    }

    fn get(&mut self, name: &str, at: usize, rng: &mut Rng) {
        let (mut read, map) = self.moment(name.contains("snapshot"), at, rng);
        read.verify_checksums = name == "get checked";
        read.no_fill_cache = name == "get past the cache";
        if name.starts_with("multi") {
            let keys: Vec<Vec<u8>> = (0..1 + rng.below(30)).map(|_| key(rng)).collect();
            let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let found = self.spaces[at].multi_get(&read, &slices).unwrap();
            for (key, got) in keys.iter().zip(found) {
                assert_eq!(got.unwrap().map(|v| v.bytes().to_vec()).as_ref(), map.get(key), "{key:?}");
            }
            return;
        }
        let key = key(rng);
        if !name.contains("pinned") {
            let got = self.spaces[at].get_with(&read, &key, <[u8]>::to_vec).unwrap();
            assert_eq!(got.as_ref(), map.get(&key), "{key:?}");
            return;
        }
        let got = self.spaces[at].get_pinned(&read, &key).unwrap();
        assert_eq!(got.as_ref().map(PinnedValue::bytes), map.get(&key).map(Vec::as_slice), "{key:?}");
        if let Some(got) = got.filter(|_| name == "get pinned and keep") {
            let bytes = got.bytes().to_vec();
            self.pinned.push((got, bytes));
            if self.pinned.len() > 20 {
                // Values outlive flushes, compactions, reopens.
                let (value, bytes) = self.pinned.swap_remove(rng.below(20) as usize);
                assert_eq!(value.bytes(), bytes);
            }
        }
    }

    /// A scan of the whole, forward or back, and whether it shows exactly `map`.
    fn check_scan(&self, at: usize, read: &ReadOptions, map: &Map, is_back: bool) {
        let mut iter = self.spaces[at].iter(read).unwrap();
        let mut expected: Vec<(&Vec<u8>, &Vec<u8>)> = map.iter().collect();
        if is_back {
            expected.reverse();
        }
        for (key, value) in expected {
            let got = if is_back { iter.prev() } else { iter.next() }.unwrap();
            let got = got.unwrap_or_else(|| panic!("the scan ends before {key:?}"));
            assert_eq!(got.key, key.as_slice());
            assert_eq!(got.value, if read.keys_only { &[][..] } else { value.as_slice() });
        }
        let more = if is_back { iter.prev() } else { iter.next() }.unwrap();
        assert!(more.is_none(), "the scan shows too much");
    }

    fn scan(&mut self, name: &str, at: usize, rng: &mut Rng) {
        let (mut read, map) = self.moment(name.contains("snapshot"), at, rng);
        read.keys_only = name == "scan keys only";
        read.readahead_bytes = if name == "scan with readahead" { 8192 } else { 0 };
        read.no_fill_cache = name == "scan past the cache";
        if name.contains("bounds") {
            read.lower = (rng.below(3) > 0).then(|| key(rng));
            read.upper = (rng.below(3) > 0).then(|| key(rng));
        }
        if name.contains("prefix") {
            let mut prefix = key(rng);
            prefix.truncate(rng.below(prefix.len() as u64 + 1) as usize);
            read.prefix = Some(prefix);
        }
        let map = shown(map, &read);
        self.check_scan(at, &read, &map, name == "scan back" || rng.below(2) == 0);
    }

    fn seek(&mut self, name: &str, at: usize, rng: &mut Rng) {
        let wants_snapshot = rng.below(3) == 0;
        let (mut read, map) = self.moment(wants_snapshot, at, rng);
        if rng.below(2) == 0 {
            read.lower = (rng.below(2) == 0).then(|| key(rng));
            read.upper = (rng.below(2) == 0).then(|| key(rng));
        }
        let entries: Vec<Entry> = shown(map, &read).into_iter().collect();
        let mut iter = self.spaces[at].iter(&read).unwrap();
        for _ in 0..3 {
            let key = key(rng);
            let ge = entries.partition_point(|(k, _)| *k < key);
            let gt = entries.partition_point(|(k, _)| *k <= key);
            let seeks = [Seek::First, Seek::Last, Seek::Ge, Seek::Gt, Seek::Le, Seek::Lt];
            let wanted = ["seek first", "seek last", "seek ge", "seek gt", "seek le", "seek lt"];
            let which = wanted.iter().position(|w| *w == name).unwrap_or(rng.below(6) as usize);
            let mut expected = match seeks[which] {
                Seek::First => (!entries.is_empty()).then_some(0),
                Seek::Last => entries.len().checked_sub(1),
                Seek::Ge => (ge < entries.len()).then_some(ge),
                Seek::Gt => (gt < entries.len()).then_some(gt),
                Seek::Le => gt.checked_sub(1),
                Seek::Lt => ge.checked_sub(1),
            };
            let got = iter.seek(seeks[which], &key).unwrap().map(|e| (e.key.to_vec(), e.value.to_vec()));
            assert_eq!(got.as_ref(), expected.map(|e| &entries[e]), "{:?} {key:?}", seeks[which]);
            let steps = if name == "zigzag" { rng.below(30) } else { rng.below(3) };
            for _ in 0..steps {
                let Some(here) = expected else { break };
                let is_forward = rng.below(2) == 0;
                let got = if is_forward { iter.next() } else { iter.prev() }.unwrap();
                let got = got.map(|e| (e.key.to_vec(), e.value.to_vec()));
                expected = if is_forward { Some(here + 1).filter(|n| *n < entries.len()) } else { here.checked_sub(1) };
                assert_eq!(got.as_ref(), expected.map(|e| &entries[e]), "a step from {:?}", entries[here].0);
            }
        }
    }

    fn many(&mut self, name: &str, at: usize, rng: &mut Rng) {
        let (read, map) = self.moment(rng.below(3) == 0, at, &mut Rng::new(rng.0 ^ 77));
        let mut expected: Vec<Entry> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut iter = self.spaces[at].iter(&read).unwrap();
        let is_back = name == "next_many back";
        let direction = if is_back { Direction::Backward } else { Direction::Forward };
        if is_back {
            expected.reverse();
        }
        let mut rest = expected.as_slice();
        for _ in 0..6 {
            let (max, bytes_max) = (1 + rng.below(40) as usize, 1 + rng.below(4000) as usize);
            let spans = iter.next_many(direction, max, bytes_max).unwrap().to_vec();
            assert!(spans.len() <= max && (rest.is_empty() == spans.is_empty()), "{} of {}", spans.len(), rest.len());
            for (span, (key, value)) in spans.iter().zip(rest) {
                let entry = iter.span(span);
                assert_eq!((entry.key, entry.value), (key.as_slice(), value.as_slice()));
            }
            let mut taken = spans.len();
            if name == "unread" && taken > 0 {
                taken = rng.below(taken as u64 + 1) as usize;
                iter.unread_from(taken).unwrap();
            }
            rest = &rest[taken..];
            if spans.is_empty() {
                break;
            }
        }
    }

    fn keep(&mut self, name: &str, at: usize, rng: &mut Rng) {
        match name {
            "snapshot" if self.snapshots.len() < 6 => {
                self.snapshots.push((self.db.snapshot().unwrap(), self.maps.clone()));
            }
            "snapshot drop" if !self.snapshots.is_empty() => {
                let which = rng.below(self.snapshots.len() as u64) as usize;
                self.snapshots.swap_remove(which);
            }
            "iterator keep" => {
                // The one kept before shows the moment it was opened at, whatever happened since.
                if let Some(mut kept) = self.kept.take() {
                    while let Some((key, value)) = kept.entries.get(kept.at) {
                        let got = kept.iter.next().unwrap().expect("a kept iterator goes on");
                        assert_eq!((got.key, got.value), (key.as_slice(), value.as_slice()));
                        kept.at += 1;
                    }
                    assert!(kept.iter.next().unwrap().is_none());
                }
                let iter = self.spaces[at].iter(&ReadOptions::default()).unwrap();
                let entries = self.maps[at].iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                self.kept = Some(Kept { iter, entries, at: 0, space: at });
            }
            "iterator refresh" => {
                if let Some(kept) = &mut self.kept {
                    kept.iter.refresh().unwrap();
                    kept.entries = self.maps[kept.space].iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                    kept.at = 0;
                }
            }
            _ => {}
        }
    }

    fn administer(&mut self, name: &str, at: usize, rng: &mut Rng) {
        match name {
            "flush" => self.db.flush(None).unwrap(),
            "flush one" => self.db.flush(Some(&self.spaces[at])).unwrap(),
            "compact" => self.spaces[at].compact(None, None).unwrap(),
            "compact range" => {
                let (from, to) = (key(rng), key(rng));
                self.spaces[at].compact(Some(&from), Some(&to)).unwrap();
            }
            "sync" => self.db.sync().unwrap(),
            "cache clear" => self.db.cache_clear().unwrap(),
            "look at properties" => {
                assert!(!self.db.metrics(rng.below(2) == 0).unwrap().is_empty());
                assert!(self.db.property(None, "no.such.property").unwrap().is_none());
            }
            "approximate" => {
                let (from, to) = (key(rng), key(rng));
                let (bytes, keys) = self.spaces[at].approximate(Some(&from), Some(&to)).unwrap();
                assert!(from < to || (bytes, keys) == (0, 0));
            }
            "keyspace drop" => {
                let at = 1 + rng.below(SPACES as u64 - 1) as usize;
                self.let_go();
                assert!(self.db.keyspace_drop(NAMES[at]).unwrap());
                assert_eq!(self.spaces[at].put(&WriteOptions::default(), b"k", b"v").unwrap_err().code(), Code::Closed);
                self.maps[at].clear();
                self.spaces[at] = self.db.keyspace_open(NAMES[at], None).unwrap().unwrap();
            }
            "keyspace reopen" => self.spaces[at] = self.db.keyspace_open(NAMES[at], None).unwrap().unwrap(),
            "keyspace list" => {
                assert_eq!(self.db.keyspace_list().unwrap(), NAMES.map(<[u8]>::to_vec));
            }
            "second open" => {
                let second = Db::open_on(Arc::new(self.disk.clone()), Path::new(DIR), &self.options);
                assert_eq!(second.err().map(|e| e.code()), Some(Code::Locked));
            }
            "reopen" => {
                self.let_go();
                self.db.close().unwrap();
                self.open_again();
            }
            "die" => {
                self.let_go();
                self.disk.power_off();
                let _ = self.db.close();
                self.disk = self.disk.after_kill();
                self.open_again();
            }
            "power cut behind a sync" => {
                self.db.sync().unwrap();
                self.let_go();
                self.disk.power_off();
                let _ = self.db.close();
                let policy = [CrashPolicy::nothing(), CrashPolicy::strict(), CrashPolicy::ordered()];
                let image = self.disk.crash(policy[rng.below(3) as usize], self.seed ^ rng.next());
                self.disk = FaultFs::over(&image);
                self.open_again();
            }
            _ => unreachable!("{name}"),
        }
    }
}

/// What of `map` a scan with these options shows.
fn shown(map: &Map, read: &ReadOptions) -> Map {
    map.iter()
        .filter(|(key, _)| read.lower.as_ref().is_none_or(|l| *key >= l))
        .filter(|(key, _)| read.upper.as_ref().is_none_or(|u| *key < u))
        .filter(|(key, _)| read.prefix.as_ref().is_none_or(|p| key.starts_with(p)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
