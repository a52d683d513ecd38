//! A whole tree in memory: tables arrive, several jobs run at once and end in any order, and what readers see is
//! compared with a model after each.

use super::super::cutter::{Below, Cutter};
use super::super::job::{Rules, Sink, merge};
use super::super::manual::next_step;
use super::super::pick::{Picked, pick_from};
use super::super::score::{Targets, scores_of};
use super::super::{KeyRange, Shape};
use super::{TestTable, tree_of};
use crate::base::ids::{Level, SeqNo};
use crate::base::iter::View;
use crate::base::key::{Entry, EntryKind};
use crate::base::sync::{AtomicBool, Ordering};
use crate::error::Result;
use crate::iter::merge::Merge;
use crate::iter::retain::Retain;
use crate::iter::testing::{Item, Random, Run, VecCursor, test_key};
use crate::version::LEVEL_COUNT_MAX;
use std::collections::BTreeMap;
use std::sync::Arc;

type Levels = Vec<Vec<Arc<TestTable>>>;

fn item_bytes(item: &Item) -> u64 {
    (item.key.len() + item.value.len() + 8) as u64
}

/// Collects tables of items.
#[derive(Default)]
struct VecSink {
    open: Vec<Item>,
    open_bytes: u64,
    tables: Vec<Vec<Item>>,
}

impl Sink for VecSink {
    fn size(&self) -> u64 {
        self.open_bytes
    }
    fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        let item = Item::of(entry);
        self.open_bytes += item_bytes(&item);
        self.open.push(item);
        Ok(())
    }
    fn end_table(&mut self) -> Result<()> {
        if !self.open.is_empty() {
            self.tables.push(std::mem::take(&mut self.open));
            self.open_bytes = 0;
        }
        Ok(())
    }
}

/// A job that was picked: what it needs of the tree as it was then.
struct Job {
    picked: Picked,
    inputs: Vec<(usize, Arc<TestTable>)>,
    deeper: Levels,
    /// The manual compaction it belongs to goes on with this.
    rest: Option<Option<(KeyRange, Level)>>,
}

struct Sim {
    shape: Shape,
    levels: Levels,
    contents: BTreeMap<u64, Arc<Run>>,
    next_number: u64,
    seq: u64,
    snapshots: Vec<SeqNo>,
    /// Every version ever written.
    model: BTreeMap<Vec<u8>, Vec<(u64, EntryKind)>>,
    bytes_in: u64,
    bytes_out: u64,
    style: u64,
}

impl Sim {
    fn new(shape: Shape, style: u64) -> Sim {
        Sim {
            shape,
            levels: vec![Vec::new(); LEVEL_COUNT_MAX],
            contents: BTreeMap::new(),
            next_number: 1,
            seq: 0,
            snapshots: Vec::new(),
            model: BTreeMap::new(),
            bytes_in: 0,
            bytes_out: 0,
            style,
        }
    }

    fn table(&mut self, run: Run) -> Arc<TestTable> {
        let number = self.next_number;
        self.next_number += 1;
        let table = TestTable {
            number,
            size: run.0.iter().map(item_bytes).sum(),
            smallest: run.0[0].key.clone(),
            largest: run.largest().to_vec(),
            entries: run.0.len() as u64,
            deletes: run.0.iter().filter(|item| item.kind == EntryKind::Delete).count() as u64,
            claimed: false.into(),
        };
        self.contents.insert(number, Arc::new(run));
        Arc::new(table)
    }

    /// A flush of `count` writes of keys that `key` names.
    fn flush(&mut self, count: u64, mut write: impl FnMut(u64) -> (u64, EntryKind)) {
        let mut items = Vec::new();
        for i in 0..count {
            self.seq += 1;
            let (n, kind) = write(i);
            let key = test_key(self.style, n);
            self.model.entry(key.clone()).or_default().insert(0, (self.seq, kind));
            let value = if kind == EntryKind::Put { self.seq.to_le_bytes().to_vec() } else { Vec::new() };
            items.push(Item { key, seq: SeqNo(self.seq), kind, value });
        }
        let table = self.table(Run::new(items));
        self.bytes_in += table.size;
        self.levels[0].insert(0, table);
    }

    fn start(&self, picked: Picked, rest: Option<Option<(KeyRange, Level)>>) -> Job {
        let inputs: Vec<(usize, Arc<TestTable>)> = picked
            .inputs
            .iter()
            .flat_map(|(level, run)| self.levels[*level][run.clone()].iter().map(|table| (*level, Arc::clone(table))))
            .collect();
        for (_, table) in &inputs {
            assert!(!table.claimed.swap(true, Ordering::Relaxed), "claimed twice"); // one thread
        }
        let deeper = self.levels[picked.output + 1..].to_vec();
        Job { picked, inputs, deeper, rest }
    }

    fn pick(&self) -> Option<Job> {
        pick_from(&tree_of(&self.levels), &self.shape).map(|picked| self.start(picked, None))
    }

    fn retain(&self) -> Retain {
        Retain { visible: SeqNo(self.seq), snapshots: self.snapshots.clone() }
    }

    /// Merges a job's inputs part by part into tables.
    fn merged(&self, job: &Job, retain: &Retain, parts: &[KeyRange]) -> Vec<Vec<Item>> {
        let mut sink = VecSink::default();
        for range in parts {
            let sources = job.inputs.iter().map(|(_, table)| VecCursor::new(&self.contents[&table.number], View::All));
            let mut rules = Rules {
                filter: retain.filter(),
                cutter: Cutter::new(job.deeper.first().map_or(&[][..], Vec::as_slice), self.shape.table_bytes),
                below: Below::new(job.deeper.iter().map(Vec::as_slice)),
            };
            let mut cursor = Merge::new(sources.collect(), View::All);
            merge(&mut cursor, range, &mut rules, &mut sink, &AtomicBool::new(false)).expect("nothing fails");
        }
        sink.tables
    }

    fn finish(&mut self, job: Job, random: &mut Random) {
        let outputs = if job.picked.is_move {
            vec![Arc::clone(&job.inputs[0].1)]
        } else {
            let cut = test_key(self.style, random.below(500));
            let parts = [KeyRange { from: None, to: Some(cut.clone()) }, KeyRange { from: Some(cut), to: None }];
            let whole = [KeyRange::default()];
            let parts = if random.below(2) == 0 { &whole[..] } else { &parts[..] };
            let tables = self.merged(&job, &self.retain(), parts);
            tables.into_iter().map(|items| self.table(Run(items))).collect()
        };
        for (level, table) in &job.inputs {
            let before = self.levels[*level].len();
            self.levels[*level].retain(|other| other.number != table.number);
            assert_eq!(self.levels[*level].len() + 1, before, "an input is gone");
            table.claimed.store(false, Ordering::Relaxed); // one thread
        }
        if !job.picked.is_move {
            self.bytes_out += outputs.iter().map(|table| table.size).sum::<u64>();
        }
        let level = &mut self.levels[job.picked.output];
        level.extend(outputs);
        level.sort_by(|a, b| a.smallest.cmp(&b.smallest));
        for (level, tables) in self.levels.iter().enumerate().skip(1) {
            for pair in tables.windows(2) {
                assert!(
                    pair[0].largest < pair[1].smallest,
                    "level {level}: tables {} {}",
                    pair[0].number,
                    pair[1].number
                );
            }
        }
    }

    /// Every reader sees what the model says, reading level by level, newest first.
    fn check(&self) {
        let runs: Vec<Arc<Run>> =
            self.levels.iter().flatten().map(|table| Arc::clone(&self.contents[&table.number])).collect();
        for at in self.snapshots.iter().copied().chain([SeqNo(self.seq)]) {
            let mut found: BTreeMap<&[u8], (u64, EntryKind)> = BTreeMap::new();
            // The first run that has a version at or below `at` answers, as in a get.
            for run in &runs {
                let mut last: Option<&[u8]> = None;
                for item in run.0.iter().filter(|item| item.seq <= at) {
                    if last != Some(&item.key) {
                        found.entry(&item.key).or_insert((item.seq.0, item.kind));
                    }
                    last = Some(&item.key);
                }
            }
            for (key, versions) in &self.model {
                let live = |version: Option<(u64, EntryKind)>| version.filter(|v| v.1 == EntryKind::Put).map(|v| v.0);
                let want = live(versions.iter().find(|(seq, _)| *seq <= at.0).copied());
                assert_eq!(live(found.get(key.as_slice()).copied()), want, "{key:?} at {at}");
            }
        }
    }

    fn quiesce(&mut self, random: &mut Random) {
        for round in 0.. {
            assert!(round < 10_000, "compactions never end");
            let Some(job) = self.pick() else { break };
            self.finish(job, random);
        }
    }

    fn tree_bytes(&self) -> u64 {
        self.levels.iter().flatten().map(|table| table.size).sum()
    }
}

fn shape(max: usize) -> Shape {
    Shape {
        level0_trigger: 4,
        base_bytes: 8_000,
        size_ratio: 4,
        level_count: 6,
        table_bytes: 2_000,
        tables_per_job_max: max,
    }
}

#[test]
fn jobs_at_once_keep_the_tree_right() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut sim = Sim::new(shape([0, 0, 3, 6][seed as usize % 4]), [0, 1, 3][seed as usize % 3]);
        let keys = 100 + random.below(3000);
        churn(&mut sim, seed, keys, 3);
    }
}

/// Small tables far apart, so that jobs meet in the gaps between them.
#[test]
fn jobs_at_once_respect_gaps() {
    for seed in 0..60 {
        let small = Shape { base_bytes: 600, size_ratio: 2, table_bytes: 300, level0_trigger: 1, ..shape(0) };
        churn(&mut Sim::new(small, 0), seed, 20_000, 1);
    }
}

/// A rewrite of two bottom tables writes one across the gap between them, where another job wants to move a table.
#[test]
fn a_rewrite_and_a_move_do_not_meet_in_a_gap() {
    for move_first in [false, true] {
        let mut random = Random(1);
        let mut sim = Sim::new(Shape { level0_trigger: 1, ..shape(0) }, 0);
        for base in [0, 100] {
            sim.flush(10, |i| (base + i, EntryKind::Put));
            sim.quiesce(&mut random);
        }
        sim.flush(10, |i| (50 + i, EntryKind::Put));
        let rewrite = |sim: &Sim| {
            let step = next_step(&tree_of(&sim.levels), &sim.shape, &KeyRange::default(), 1);
            step.map(|step| sim.start(step.expect("the bottom holds tables").picked, None))
        };
        let first =
            if move_first { sim.pick().expect("due") } else { rewrite(&sim).unwrap_or_else(|_| panic!("free")) };
        assert_eq!(first.picked.is_move, move_first);
        assert_eq!(sim.levels[5].len(), 2);
        if move_first {
            assert!(rewrite(&sim).is_err());
        } else {
            assert!(sim.pick().is_none());
        }
        sim.finish(first, &mut random);
        sim.quiesce(&mut random);
        sim.check();
    }
}

/// Random writes, snapshots, jobs and manual compactions; one flush in `scatter` is of neighbouring keys.
fn churn(sim: &mut Sim, seed: u64, keys: u64, scatter: u64) {
    let mut random = Random(seed);
    let mut running: Vec<Job> = Vec::new();
    let mut manual: Option<(KeyRange, Level)> = None;
    for step in 0..200 {
        match random.below(8) {
            0..=2 => {
                let base = random.below(keys);
                let near = random.below(scatter) == 0;
                let deletes = random.below(3);
                let count = 1 + random.below(if near { 20 } else { 60 });
                let mut draw = Random(seed * 1000 + step);
                sim.flush(count, |i| {
                    let kind = if draw.below(10) < deletes { EntryKind::Delete } else { EntryKind::Put };
                    (if near { base + i } else { draw.below(keys) }, kind)
                });
            }
            3 => {
                if random.below(2) == 0 {
                    sim.snapshots.push(SeqNo(sim.seq));
                    sim.snapshots.dedup();
                } else if !sim.snapshots.is_empty() {
                    let at = random.below(sim.snapshots.len() as u64) as usize;
                    sim.snapshots.remove(at);
                }
            }
            4..=5 => running.extend(sim.pick()),
            6 if !running.iter().any(|job| job.rest.is_some()) => {
                let (range, level) = manual.take().unwrap_or_else(|| {
                    let mut bound = || (random.below(3) > 0).then(|| test_key(sim.style, random.below(keys)));
                    (KeyRange { from: bound(), to: bound() }, Level(0))
                });
                match next_step(&tree_of(&sim.levels), &sim.shape, &range, usize::from(level.0)) {
                    Ok(None) => {}
                    Err(()) => manual = Some((range, level)),
                    Ok(Some(next)) => running.push(sim.start(next.picked, Some(next.rest))),
                }
            }
            _ if !running.is_empty() => {
                let at = random.below(running.len() as u64) as usize;
                let mut job = running.swap_remove(at);
                if let Some(rest) = job.rest.take() {
                    manual = rest;
                }
                sim.finish(job, &mut random);
                sim.check();
            }
            _ => {}
        }
    }
    for job in running {
        sim.finish(job, &mut random);
    }
    sim.quiesce(&mut random);
    sim.check();
}

#[test]
fn random_writes_end_in_the_wanted_shape_at_a_fair_price() {
    let mut random = Random(5);
    let mut sim = Sim::new(shape(0), 0);
    for flush in 0..300u64 {
        let mut draw = Random(flush);
        sim.flush(64, |_| (draw.below(1_000_000), EntryKind::Put));
        sim.quiesce(&mut random);
    }
    let tree = tree_of(&sim.levels);
    let targets = Targets::of(&tree, &sim.shape);
    assert!(scores_of(&tree, &sim.shape, &targets).iter().all(|score| *score < 1.0));
    let filled: Vec<usize> = (1..LEVEL_COUNT_MAX).filter(|&level| tree.bytes(level) > 0).collect();
    assert_eq!(filled, (targets.base..=targets.bottom).collect::<Vec<_>>());
    let total = sim.tree_bytes();
    assert!(tree.bytes(targets.bottom) * 10 > total * 6, "most data at the bottom");
    // Four levels of ratio 4: each byte is written about (4 + 1) / 2 times per level, and once or twice at the base.
    let amplification = sim.bytes_out as f64 / sim.bytes_in as f64;
    assert!(amplification < 9.0, "write amplification {amplification:.1}, levels {filled:?}");
    for level in &sim.levels[1..] {
        for table in level {
            assert!(table.size <= sim.shape.table_bytes * 5 / 4 + 100, "table {} of {}", table.number, table.size);
        }
    }
}

#[test]
fn ascending_writes_are_written_once_or_twice() {
    let mut random = Random(6);
    let mut sim = Sim::new(shape(0), 0);
    for flush in 0..200u64 {
        sim.flush(64, |i| (flush * 64 + i, EntryKind::Put));
        sim.quiesce(&mut random);
    }
    sim.check();
    assert!(sim.bytes_out < sim.bytes_in / 2, "{} of {}", sim.bytes_out, sim.bytes_in);
}

#[test]
fn deleting_everything_leaves_nothing() {
    for limit in [0, 2] {
        let mut random = Random(7);
        let mut sim = Sim::new(shape(limit), 0);
        for flush in 0..40u64 {
            let mut draw = Random(flush);
            sim.flush(64, |_| (draw.below(2000), EntryKind::Put));
            sim.quiesce(&mut random);
        }
        let old = sim.seq;
        sim.snapshots = vec![SeqNo(old)];
        sim.flush(2000, |i| (i, EntryKind::Delete));
        for with_snapshot in [true, false] {
            if !with_snapshot {
                sim.snapshots.clear();
            }
            let mut todo = Some((KeyRange::default(), Level(0)));
            while let Some((range, level)) = todo.take() {
                let next = next_step(&tree_of(&sim.levels), &sim.shape, &range, usize::from(level.0));
                let Some(step) = next.expect("nothing else runs") else { break };
                let job = sim.start(step.picked, None);
                todo = step.rest;
                sim.finish(job, &mut random);
                sim.check();
            }
            assert_eq!(sim.tree_bytes() > 0, with_snapshot);
        }
        assert!(sim.levels.iter().all(Vec::is_empty));
    }
}

#[test]
fn a_cancelled_merge_stops() {
    let items =
        (0..20_000).map(|n| Item { key: test_key(0, n), seq: SeqNo(1), kind: EntryKind::Put, value: vec![0; 8] });
    let run = Run::new(items.collect());
    let mut rules = Rules {
        filter: Retain { visible: SeqNo(5), snapshots: Vec::new() }.filter(),
        cutter: Cutter::<Arc<TestTable>>::new(&[], 1 << 20),
        below: Below::new([]),
    };
    let mut sink = VecSink::default();
    let cancel = AtomicBool::new(true);
    let mut cursor = VecCursor::new(&run, View::All);
    let done = merge(&mut cursor, &KeyRange::default(), &mut rules, &mut sink, &cancel);
    assert_eq!(done.map_err(|error| error.code()), Err(crate::Code::Cancelled));
    assert!(sink.open.len() < 20_000 / 4);
}
