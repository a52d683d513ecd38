//! Splits of a job's range and cuts of its outputs.

use super::super::KeyRange;
use super::super::cutter::{Below, Cutter};
use super::super::plan::cut_evenly;
use super::TestTable;
use crate::iter::testing::Random;
use std::sync::Arc;

fn table(smallest: &str, largest: &str, size: u64) -> Arc<TestTable> {
    Arc::new(TestTable {
        number: 1,
        size,
        smallest: smallest.into(),
        largest: largest.into(),
        entries: 1,
        deletes: 0,
        claimed: false.into(),
    })
}

#[test]
fn parts_cover_all_keys_and_are_about_equal() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let count = 1 + random.below(300);
        let samples: Vec<(Vec<u8>, u64)> =
            (0..count).map(|_| (random.below(1000).to_be_bytes().to_vec(), 50 + random.below(100))).collect();
        for parts in 1..9usize {
            let ranges = cut_evenly(samples.clone(), parts);
            assert!(!ranges.is_empty() && ranges.len() <= parts);
            assert!(ranges[0].from.is_none() && ranges[ranges.len() - 1].to.is_none());
            let mut load_max = 0;
            for (i, range) in ranges.iter().enumerate() {
                assert!(i == 0 || (range.from.is_some() && range.from == ranges[i - 1].to));
                assert!(range.to.is_none() || range.from < range.to, "{range:?}");
                let inside = samples.iter().filter(|(key, _)| {
                    range.from.as_ref().is_none_or(|from| key > from) && range.to.as_ref().is_none_or(|to| key <= to)
                });
                load_max = load_max.max(inside.map(|sample| sample.1).sum::<u64>());
            }
            let total: u64 = samples.iter().map(|sample| sample.1).sum();
            if count > 100 {
                assert_eq!(ranges.len(), parts);
                assert!(load_max <= total / parts as u64 + 600, "{load_max} of {total} in {parts}");
            }
        }
    }
    assert_eq!(cut_evenly(Vec::new(), 4), [KeyRange::default()]);
    // One key only: nothing to cut at.
    assert_eq!(cut_evenly(vec![(b"k".to_vec(), 9); 20], 4), [KeyRange::default()]);
}

#[test]
fn an_output_ends_at_its_size() {
    let mut cutter = Cutter::<Arc<TestTable>>::new(&[], 100);
    assert!(!cutter.cut_before(b"a", 0));
    assert!(!cutter.cut_before(b"b", 99));
    assert!(cutter.cut_before(b"c", 100));
    assert!(!cutter.cut_before(b"d", 20));
}

#[test]
fn an_output_prefers_to_end_where_a_grandparent_does() {
    let below = [table("a", "c", 10), table("d", "f", 10), table("g", "z", 10)];
    let mut cutter = Cutter::new(&below, 100);
    assert!(!cutter.cut_before(b"a", 0));
    assert!(!cutter.cut_before(b"c", 54));
    // One border: from 55 of 100 on.
    assert!(cutter.cut_before(b"d", 55));
    assert!(!cutter.cut_before(b"e", 90), "no border");
    assert!(!cutter.cut_before(b"f", 110), "within a quarter of the size a border may still come");
    assert!(cutter.cut_before(b"fa", 110));
    assert!(!cutter.cut_before(b"h", 124));
    assert!(cutter.cut_before(b"i", 125));
}

#[test]
fn an_output_over_too_many_grandparents_ends_early() {
    let below: Vec<_> = (0..30).map(|i| table(&format!("{i:02}a"), &format!("{i:02}z"), 100)).collect();
    let mut cutter = Cutter::new(&below, 100);
    let mut cuts = Vec::new();
    let mut size = 0;
    for i in 0..30 {
        if cutter.cut_before(format!("{i:02}m").as_bytes(), size) {
            cuts.push(i);
            size = 0;
        }
        size += 1;
    }
    assert_eq!(cuts, [11, 22]);
    // A table opened far behind the last one starts counting there.
    let mut cutter = Cutter::new(&below, 100);
    assert!(!cutter.cut_before(b"00b", 0));
    assert!(!cutter.cut_before(b"25b", 0));
    assert!(!cutter.cut_before(b"26b", 1));
}

#[test]
fn a_key_is_at_the_bottom_where_no_deeper_table_spans_it() {
    let three = [table("b", "d", 1), table("k", "m", 1)];
    let four = [table("c", "f", 1)];
    let mut below = Below::new([&three[..], &[], &four[..]]);
    let answers: String = "abcdefghijklmnz".chars().filter(|c| below.is_bottom(c.to_string().as_bytes())).collect();
    assert_eq!(answers, "aghijnz");
    assert!(Below::<Arc<TestTable>>::new([]).is_bottom(b"x"));
}
