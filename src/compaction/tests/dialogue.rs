//! Picking as text: a tree is defined, questions follow, each with its answer behind `=>`.
//!
//!     shape trigger=4 base=1000 ratio=10 levels=4 table=100 max=0
//!     L1 5:c-k:100 6:m-p:100,80 7:q-z:100*      number:smallest-largest:size[,percent of deletes][* claimed]
//!     pick => L1[5] L2[8 9] -> L2
//!     compact b..d 0 => ...                     the range may be open: `..`, `b..`, `..d`; 0 is the first level

use super::super::manual::next_step;
use super::super::pick::{Picked, pick_from};
use super::super::score::{Targets, excess_of, pending_of, scores_of};
use super::super::{KeyRange, Shape};
use super::{TestTable, tree_of};
use crate::version::LEVEL_COUNT_MAX;
use std::sync::Arc;

struct Talk {
    shape: Shape,
    levels: Vec<Vec<Arc<TestTable>>>,
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn table(text: &str) -> Arc<TestTable> {
    let claimed = text.ends_with('*');
    let (main, deletes) = text.trim_end_matches('*').split_once(',').unwrap_or((text.trim_end_matches('*'), "0"));
    let parts: Vec<&str> = main.split(':').collect();
    let (smallest, largest) = parts[1].split_once('-').expect("a range");
    Arc::new(TestTable {
        number: number(parts[0]),
        size: number(parts[2]),
        smallest: smallest.into(),
        largest: largest.into(),
        entries: 100,
        deletes: number(deletes),
        claimed: claimed.into(),
    })
}

impl Talk {
    fn new() -> Talk {
        let shape = Shape {
            level0_trigger: 4,
            base_bytes: 1000,
            size_ratio: 10,
            level_count: 4,
            table_bytes: 100,
            tables_per_job_max: 0,
        };
        Talk { shape, levels: vec![Vec::new(); LEVEL_COUNT_MAX] }
    }

    fn set_shape(&mut self, text: &str) {
        for (name, value) in text.split_whitespace().map(|word| word.split_once('=').expect("name=value")) {
            let value = number(value);
            match name {
                "trigger" => self.shape.level0_trigger = value as usize,
                "base" => self.shape.base_bytes = value,
                "ratio" => self.shape.size_ratio = value,
                "levels" => self.shape.level_count = value as usize,
                "table" => self.shape.table_bytes = value,
                "max" => self.shape.tables_per_job_max = value as usize,
                _ => panic!("no such setting: {name}"),
            }
        }
    }

    fn picked(&self, picked: &Picked) -> String {
        let mut text = String::new();
        for (level, run) in &picked.inputs {
            let numbers: Vec<String> =
                self.levels[*level][run.clone()].iter().map(|table| table.number.to_string()).collect();
            text += &format!("L{level}[{}] ", numbers.join(" "));
        }
        let arrow = if picked.is_move { "=move=>" } else { "->" };
        text + &format!("{arrow} L{}", picked.output)
    }

    fn answer(&self, question: &str) -> String {
        let tree = tree_of(&self.levels);
        let targets = Targets::of(&tree, &self.shape);
        let words: Vec<&str> = question.split_whitespace().collect();
        match words[0] {
            "pick" => pick_from(&tree, &self.shape).map_or("nothing".into(), |picked| self.picked(&picked)),
            "scores" => {
                let scores = scores_of(&tree, &self.shape, &targets);
                let due = scores.iter().enumerate().filter(|(_, score)| **score > 0.0);
                due.map(|(level, score)| format!("L{level} {score:.2}")).collect::<Vec<_>>().join(", ")
            }
            "targets" => {
                let sizes: Vec<String> = targets.bytes[1..=targets.bottom].iter().map(u64::to_string).collect();
                format!("base L{}: {}", targets.base, sizes.join(" "))
            }
            "excess" => format!("{:.2}", excess_of(&tree, &self.shape, &targets)),
            "pending" => pending_of(&tree, &self.shape, &targets).to_string(),
            "compact" => {
                let (from, to) = words[1].split_once("..").expect("a range");
                let bound = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
                let range = KeyRange { from: bound(from), to: bound(to) };
                match next_step(&tree, &self.shape, &range, number(words[2]) as usize) {
                    Err(()) => "busy".into(),
                    Ok(None) => "done".into(),
                    Ok(Some(step)) => {
                        let text = |key: &Option<Vec<u8>>| {
                            let key = key.clone().unwrap_or_default();
                            String::from_utf8_lossy(&key).replace('\0', "+")
                        };
                        let rest = step.rest.as_ref().map_or(String::new(), |(range, level)| {
                            format!("; rest {}..{} {level}", text(&range.from), text(&range.to))
                        });
                        self.picked(&step.picked) + &rest
                    }
                }
            }
            other => panic!("no such question: {other}"),
        }
    }
}

fn talk(text: &str) {
    let mut talk = Talk::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(shape) = line.strip_prefix("shape") {
            talk.set_shape(shape);
        } else if line == "empty" {
            talk.levels.iter_mut().for_each(Vec::clear);
        } else if let Some((question, answer)) = line.split_once("=> ").filter(|_| !line.starts_with('L')) {
            assert_eq!(talk.answer(question.trim()), answer.trim(), "\n{line}");
        } else if let Some((level, tables)) = line.strip_prefix('L').and_then(|line| line.split_once(' ')) {
            talk.levels[number(level) as usize] = tables.split_whitespace().filter(|t| *t != "-").map(table).collect();
        } else {
            panic!("not understood: {line}");
        }
    }
}

#[test]
fn sizes_follow_the_largest_level() {
    talk(
        "targets => base L3: 0 0 1000
         L3 1:a-z:900
         targets => base L3: 0 0 1000
         L3 1:a-z:5000
         targets => base L2: 0 1000 5000
         L3 1:a-z:50000
         targets => base L1: 1000 5000 50000
         # The first level cannot hand down: it is the base however large the rest is.
         L3 1:a-z:5000000
         targets => base L1: 50000 500000 5000000
         # A level that ought to be empty is the base until it is.
         L3 1:a-z:900
         L1 2:a-z:10
         targets => base L1: 0 0 1000
         scores => L1 1.01
         # Tables below the levels in use count.
         empty
         L5 1:a-z:5000
         targets => base L4: 0 0 0 1000 5000",
    );
}

#[test]
fn level_0_goes_to_the_base_with_all_it_overlaps() {
    talk(
        "L0 5:a-f:50 4:c-k:50 3:a-b:50
         L3 1:a-c:100 2:d-m:100 9:n-z:100
         scores => L0 0.75
         pick => nothing
         pending => 0
         L0 6:e-f:50 5:a-f:50 4:c-k:50 3:a-b:50
         pick => L0[6 5 4 3] L3[1 2] -> L3
         pending => 500
         # The oldest ones where a job may not be larger, one in any case.
         shape max=4
         pick => L0[4 3] L3[1 2] -> L3
         shape max=3
         pick => L0[3] L3[1] -> L3
         shape max=1
         pick => L0[3] L3[1] -> L3
         shape max=0
         # Another job has what is needed.
         L3 1:a-c:100 2:d-m:100* 9:n-z:100
         pick => nothing
         L3 1:a-c:100 2:d-m:100 9:n-z:100*
         pick => L0[6 5 4 3] L3[1 2] -> L3
         L0 8:x-z:1 7:x-z:1 6:e-f:50 5:a-f:50 4:c-k:50 3:a-k:50*
         pick => nothing",
    );
}

#[test]
fn a_table_that_overlaps_nothing_just_moves() {
    talk(
        "L0 5:s-t:50 4:q-r:50 3:o-p:50 2:m-n:50
         L3 1:a-c:100
         pick => L0[2] =move=> L3
         # Not past an older table, though the next one may go.
         L0 5:s-t:50 4:q-r:50 3:m-p:50 2:m-p:50
         L3 1:m-m:100
         pick => L0[4] =move=> L3
         # Nor when small ones could be merged.
         L0 5:s-t:5 4:q-r:5 3:o-p:5 2:m-n:5
         L3 1:a-c:100
         pick => L0[5 4 3 2] -> L3
         # Nor when a rewrite would drop its deletes.
         L0 5:s-t:50,30 4:q-r:50,30 3:o-p:50,30 2:m-n:50,30
         pick => L0[5 4 3 2] -> L3
         # Nor above too many tables of the level after.
         empty
         L1 7:a-h:900 8:i-p:700
         L2 1:z-zz:10
         L3 2:a-h:900 3:i-p:50001
         pick => L1[7] =move=> L2
         L3 2:a-h:1001 3:i-p:50001
         pick => L1[7] -> L2",
    );
}

#[test]
fn the_cheapest_table_of_a_due_level_goes() {
    talk(
        "L1 11:a-c:400 12:d-f:400 13:g-i:400
         L2 1:a-b:300 2:c-d:300 3:e-f:200 4:g-k:200
         L3 9:a-z:50000
         scores => L1 1.20, L2 0.20
         pick => L1[13] L2[4] -> L2
         # At the same cost the oldest.
         L2 1:a-b:300 3:e-f:300 4:g-k:300
         pick => L1[11] L2[1] -> L2
         # What is taken is left out of the reckoning.
         L1 11:a-c:400* 12:d-f:400 13:g-i:400 14:j-k:400
         pick => L1[12] L2[3] -> L2
         L1 11:a-c:400 12:d-f:400 13:g-i:400
         L2 1:a-b:300* 3:e-f:300* 4:g-k:300
         pick => L1[13] L2[4] -> L2
         L2 1:a-b:300* 3:e-f:300* 4:g-k:300*
         pick => nothing
         # Deletes make a table worth its cost.
         L1 11:a-c:400 12:d-f:400,40 13:g-i:400
         L2 1:a-b:300 3:e-f:500 4:g-k:300
         pick => L1[12] L2[3] -> L2",
    );
}

#[test]
fn neighbours_come_along_for_nothing() {
    talk(
        "L1 11:a-b:400 12:c-d:400 13:e-f:400 14:g-p:400
         L2 1:a-h:300 2:i-q:300
         L3 9:a-z:50000
         pick => L1[11 12] L2[1] -> L2
         shape table=400
         pick => L1[11 12 13] L2[1] -> L2
         shape max=3
         pick => L1[11 12] L2[1] -> L2
         shape max=0
         L1 11:a-b:400 12:c-d:400* 13:e-f:400 14:g-p:400
         L2 1:a-h:300* 2:i-q:300
         pick => nothing
         L1 11:a-b:400 12:c-d:400* 13:e-f:400 14:g-p:400 15:qa-r:400
         pick => L1[15] -> L2
         # A job from above is about to write between two neighbours.
         shape base=100
         L1 10:bb-bc:50*
         L2 11:a-b:400 12:c-d:400
         L3 1:a-h:900
         pick => L2[11] L3[1] -> L3",
    );
}

#[test]
fn gaps_between_claimed_tables_belong_to_their_job() {
    talk(
        "shape table=1000
         L1 11:c-d:4000
         L2 1:a-b:300* 2:e-f:300*
         L3 9:x-z:50000
         pick => nothing
         L2 1:a-b:300 2:e-f:300*
         pick => L1[11] =move=> L2
         L2 1:a-b:300* 3:d-d:1 2:e-f:300*
         pick => L1[11] L2[3] -> L2",
    );
}

#[test]
fn delete_dense_tables_go_down_before_they_must() {
    talk(
        "L2 1:a-h:300 2:i-p:300,50
         L3 9:a-z:5000
         scores => L2 1.00
         pick => L2[1 2] L3[9] -> L3
         L2 1:a-h:300 2:i-p:300,49
         pick => nothing
         # The dense one goes, though another were cheaper.
         L2 1:a-h:300 2:i-p:300,50
         L3 8:c-d:1 9:i-z:5000
         pick => L2[2] L3[9] -> L3
         L2 1:a-h:300,50 2:i-p:300,50
         pick => L2[1] L3[8] -> L3
         # Not from the bottom, where they cannot go.
         empty
         L3 9:a-z:5000,90
         pick => nothing",
    );
}

#[test]
fn the_level_that_is_worst_off_goes_first() {
    talk(
        "L0 6:a-z:50 5:a-z:50 4:a-z:50 3:a-z:50
         L1 11:a-m:1500 12:n-z:1500
         L2 1:a-z:4000
         L3 9:a-z:50000
         scores => L0 1.00, L1 3.00, L2 0.80
         pick => L1[11] L2[1] -> L2
         # It is busy, so the next one.
         L2 1:a-z:4000*
         pick => L0[6 5 4 3] L1[11 12] -> L1
         pending => 19027",
    );
}

#[test]
fn a_manual_compaction_of_everything_is_one_job() {
    talk(
        "compact .. 0 => done
         L0 6:a-z:50 5:a-z:50
         compact .. 0 => L0[6 5] -> L3
         L2 1:a-c:40 2:d-f:40
         L3 9:b-d:50000
         compact .. 0 => L0[6 5] L2[1 2] L3[9] -> L3
         L3 9:b-d:50000*
         compact .. 0 => busy
         L3 9:b-d:50000
         L0 6:a-z:50* 5:a-z:50
         compact .. 0 => busy
         # Only the bottom: rewritten once.
         empty
         L3 7:a-b:100 8:c-d:100
         compact .. 0 => L3[7 8] -> L3
         compact .. 4 => done
         # Nothing may come into the gap meanwhile.
         L2 9:bb-bc:50*
         compact .. 3 => busy",
    );
}

#[test]
fn a_manual_compaction_of_some_keys_takes_stretch_by_stretch() {
    talk(
        "L0 6:a-z:50
         L2 1:a-c:40 2:d-f:40 3:k-m:40
         L3 7:a-b:100 8:c-d:100 9:e-g:100 10:h-i:100 11:j-p:50000
         compact c..i 0 => L0[6] L1[] -> L1
        "
        .replace("L1[] -> L1", "-> L1; rest c..i 1")
        .as_str(),
    );
    talk(
        "L2 2:d-f:40
         L3 7:a-b:100 8:c-d:100 9:e-g:100 10:h-i:100 11:j-p:50000
         compact c..i 0 => L2[2] L3[8 9] -> L3; rest g+..i 3
         compact g+..i 3 => L3[10] -> L3
         compact a..e 0 => L3[7] -> L3; rest b+..e 2
         compact b+..e 2 => L2[2] L3[8 9] -> L3
         compact k..l 0 => L3[11] -> L3
         compact x..y 0 => done
         # Level 0 outside the range stays.
         L0 6:x-z:50
         compact k..l 0 => L3[11] -> L3
         # Keys behind the stretch of level 0.
         empty
         L0 6:d-e:50
         L3 7:a-b:100 8:c-d:100 9:f-g:100
         compact ..g 0 => L3[7] -> L3; rest b+..g 0
         compact b+..g 0 => L0[6] L3[8] -> L3; rest e+..g 1
         compact e+..g 1 => L3[9] -> L3
         # To the deepest level that holds data, also where the range had none there.
         empty
         L1 5:a-c:10
         L3 9:x-z:50000
         compact a..d 0 => L1[5] -> L3",
    );
}

#[test]
fn a_limited_manual_compaction_goes_in_small_steps() {
    talk(
        "shape max=2
         L1 1:a-c:40 2:d-f:40
         L2 5:a-b:60 6:e-e:60
         L3 7:a-b:100 8:c-d:100 9:e-g:100 10:h-i:100 11:j-p:50000
         compact .. 0 => L1[1] L2[5] -> L2; rest .. 1
         L1 2:d-f:40
         compact .. 1 => L1[2] L2[6] -> L2; rest .. 1
         L1 -
         compact .. 1 => L2[5] L3[7] -> L3; rest .. 2
         L2 -
         compact .. 2 => L3[7 8] -> L3; rest e.. 3
         compact e.. 3 => L3[9 10] -> L3; rest j.. 3
         compact j.. 3 => L3[11] -> L3",
    );
}

#[test]
fn the_base_takes_no_job_while_level_0_waits_for_it() {
    talk(
        "shape trigger=2
         L0 9:a-z:100 8:a-z:100 7:a-z:100
         L2 1:a-f:900* 2:g-m:1500
         L3 3:a-f:4000* 4:g-z:5000
         scores => L0 1.50, L2 1.50
         pick => nothing
         L0 9:a-z:100
         pick => L2[2] L3[4] -> L3",
    );
}

#[test]
fn what_levels_hold_too_much_is_weighed_against_base_and_bottom() {
    talk(
        "excess => 0.00
         L2 1:a-f:900 2:g-m:1500
         L3 3:a-f:4000 4:g-z:5000
         excess => 0.27
         L2 1:a-f:4500 2:g-m:1625
         excess => 1.00",
    );
}
