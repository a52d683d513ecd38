//! The merge against a sorted list, for random runs, views, directions and key styles.

use super::super::testing::{Item, Random, Run, VecCursor, test_key, walk_matches_model};
use super::*;
use crate::base::ids::SeqNo;
use crate::base::key::EntryKind;
use crate::{Code, Error};
use std::sync::Arc;

/// Runs newest first: sequence numbers of each lie above those of the next, as in the tree.
fn random_runs(seed: u64) -> Vec<Arc<Run>> {
    let mut random = Random(seed);
    let count = random.below(10);
    // One key style for all, else they would hardly meet.
    let style_seed = random.next();
    let keys = 1 + random.below(120);
    let runs = (0..count).map(|i| {
        let size = if random.below(5) == 0 { 0 } else { random.below(100) };
        let run = Run::random(style_seed, size, keys, (count - i) * 1000);
        // `Run::random` draws its keys from the seed, so thin the copies out differently.
        let kept = run.0.into_iter().filter(|_| random.below(3) > 0);
        Arc::new(Run::new(kept.collect()))
    });
    runs.collect()
}

fn merge(runs: &[Arc<Run>], view: View) -> Merge<VecCursor> {
    Merge::new(runs.iter().map(|run| VecCursor::new(run, view)).collect(), view)
}

#[test]
fn shows_the_newest_version_of_every_key_in_both_directions() {
    for seed in 0..400 {
        let runs = random_runs(seed);
        let top = 1000 * (runs.len() as u64 + 1);
        for bound in [SeqNo::MAX, SeqNo(top / 2), SeqNo(Random(seed).below(top))] {
            let view = View::Newest(bound);
            walk_matches_model(&mut merge(&runs, view), &Run::join(&runs).shown(view), view, seed);
        }
    }
}

#[test]
fn shows_every_version_newest_first() {
    for seed in 0..400 {
        let runs = random_runs(seed);
        walk_matches_model(&mut merge(&runs, View::All), &Run::join(&runs).0, View::All, seed);
    }
}

#[test]
fn the_lowest_source_wins_a_key() {
    // Not by sequence number: sources are what they are given as.
    let item = |seq| Item { key: b"k".to_vec(), seq: SeqNo(seq), kind: EntryKind::Put, value: vec![seq as u8] };
    for count in 2..9u64 {
        let runs: Vec<Arc<Run>> = (0..count).map(|i| Arc::new(Run::new(vec![item(10 + i)]))).collect();
        let mut cursor = merge(&runs, View::Newest(SeqNo::MAX));
        cursor.seek_ge(b"k").expect("no I/O");
        assert_eq!(cursor.entry().seq, SeqNo(10));
        cursor.next().expect("no I/O");
        assert!(!cursor.valid());
        cursor.seek_last().expect("no I/O");
        assert_eq!(cursor.entry().seq, SeqNo(10));
        cursor.prev().expect("no I/O");
        assert!(!cursor.valid());
    }
}

#[test]
fn long_runs_between_few_newer_keys_gallop_correctly() {
    for style in 0..5 {
        let item = |n: u64, seq| Item { key: test_key(style, n), seq: SeqNo(seq), kind: EntryKind::Put, value: vec![] };
        let old = Arc::new(Run::new((0..3000).map(|n| item(n, 1)).collect()));
        let new = Arc::new(Run::new((0..3000).step_by(700).map(|n| item(n, 2)).collect()));
        let far = Arc::new(Run::new(vec![item(9_999_999, 3)]));
        let runs = [new, far, old];
        let view = View::Newest(SeqNo::MAX);
        walk_matches_model(&mut merge(&runs, view), &Run::join(&runs).shown(view), view, style);
        walk_matches_model(&mut merge(&runs, View::All), &Run::join(&runs).0, View::All, style);
    }
}

#[test]
fn codes_grow_with_keys() {
    let mut keys: Vec<Vec<u8>> = (0..5).flat_map(|style| (0..60).map(move |n| test_key(style, n))).collect();
    keys.sort();
    for shared in [&b""[..], b"u", b"user00", b"user0000", b"user000000", b"/a/long/shared/path/1", &[0xff; 3]] {
        let mut window = Window::default();
        let heads: Vec<VecCursor> = [&b"\x00zzzzzzzzzzzz"[..], b"\x01zzzzzzzzzzzz"]
            .map(|tail| {
                // Four shared bytes stay in the window.
                let key = [shared, b"wxyz", tail].concat();
                let run = Run(vec![Item { key, seq: SeqNo(1), kind: EntryKind::Put, value: vec![] }]);
                let mut cursor = VecCursor::new(&run, View::All);
                cursor.seek_first().expect("no I/O");
                cursor
            })
            .into_iter()
            .collect();
        window.choose(&heads);
        assert_eq!(window.shared, shared);
        for pair in keys.windows(2) {
            let (a, b) = (window.code_of(&pair[0]), window.code_of(&pair[1]));
            assert!(a <= b, "{:?} {:?} behind {shared:?}", pair[0], pair[1]);
        }
        for key in &keys {
            assert_eq!(window.holds(key), key.starts_with(shared), "{key:?} {shared:?}");
        }
    }
}

/// A cursor that fails at its `n`-th step or seek.
struct Failing(VecCursor, u32);

impl Failing {
    fn tick(&mut self) -> Result<()> {
        self.1 = self.1.wrapping_sub(1);
        if self.1 == 0 { Err(Error::new(Code::Io, "planted")) } else { Ok(()) }
    }
}

impl Cursor for Failing {
    fn seek_first(&mut self) -> Result<()> {
        self.tick()?;
        self.0.seek_first()
    }
    fn seek_last(&mut self) -> Result<()> {
        self.tick()?;
        self.0.seek_last()
    }
    fn seek_ge(&mut self, key: &[u8]) -> Result<()> {
        self.tick()?;
        self.0.seek_ge(key)
    }
    fn seek_lt(&mut self, key: &[u8]) -> Result<()> {
        self.tick()?;
        self.0.seek_lt(key)
    }
    fn next(&mut self) -> Result<()> {
        self.tick()?;
        self.0.next()
    }
    fn prev(&mut self) -> Result<()> {
        self.tick()?;
        self.0.prev()
    }
    fn valid(&self) -> bool {
        self.0.valid()
    }
    fn entry(&self) -> Entry<'_> {
        self.0.entry()
    }
}

#[test]
fn an_error_leaves_it_unpositioned_and_a_seek_recovers() {
    let view = View::Newest(SeqNo::MAX);
    for seed in 0..40 {
        let runs = random_runs(seed);
        if runs.is_empty() {
            continue;
        }
        for fail_at in 1..60 {
            let sources = runs.iter().enumerate().map(|(i, run)| {
                let fails = i as u64 == seed % runs.len() as u64;
                Failing(VecCursor::new(run, view), if fails { fail_at } else { 0 })
            });
            let mut cursor = Merge::new(sources.collect(), view);
            let mut failed = cursor.seek_first().is_err();
            let mut forward = true;
            while !failed && cursor.valid() {
                forward ^= fail_at % 7 == 0 && cursor.entry().seq.0 % 5 == 0;
                failed = if forward { cursor.next() } else { cursor.prev() }.is_err();
            }
            assert!(!cursor.valid());
            if failed {
                let model = Run::join(&runs).shown(view);
                walk_matches_model(&mut cursor, &model, view, seed);
            }
        }
    }
}

/// Not a test of speed: prints what a step costs. `cargo test --release merge_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "a measurement prints")]
fn merge_speed() {
    let total = 800_000u64;
    for style in ["random", "user"] {
        for count in [1u64, 2, 4, 8, 16] {
            let runs: Vec<Run> = (0..count)
                .map(|i| {
                    let mut random = Random(i);
                    let item = |n: u64| Item {
                        key: if style == "random" {
                            [n.to_be_bytes(), n.to_le_bytes()].concat()
                        } else {
                            format!("user{:012}", n >> 24).into_bytes()
                        },
                        seq: SeqNo(1 + i),
                        kind: EntryKind::Put,
                        value: vec![],
                    };
                    Run::new((0..total / count).map(|_| item(random.next())).collect())
                })
                .collect();
            for view in [View::All, View::Newest(SeqNo::MAX)] {
                let mut cursor = Merge::new(runs.iter().map(|run| VecCursor::new(run, view)).collect(), view);
                let mut best = f64::MAX;
                for _ in 0..5 {
                    let start = crate::base::clock::now();
                    cursor.seek_first().expect("no I/O");
                    let mut sum = 0;
                    while cursor.valid() {
                        sum += cursor.entry().seq.0;
                        cursor.next().expect("no I/O");
                    }
                    std::hint::black_box(sum);
                    best = best.min(start.elapsed().as_nanos() as f64 / total as f64);
                }
                eprintln!("{style:>8} keys, {count:>2} runs, {view:?}: {best:.1} ns/entry");
            }
        }
    }
}
