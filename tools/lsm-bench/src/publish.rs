//! The published comparison: sets of workloads, each over all engines, repeated in rounds. Every round runs every set, so
//! that a budget of time ends with the same number of rounds for all.

use crate::args::{Flags, contestant, flags, number, real, root, text};
use crate::child;
use crate::engine::fail;
use crate::html;
use crate::results::{About, Results};
use crate::write;
use std::time::Instant;

/// Every engine there is an adapter for.
const ENGINES: &[&str] = &["lsm", "rocksdb", "rocksdb-tuned", "leveldb", "lmdb", "fjall", "tidesdb"];
/// Where numbers of threads are compared.
const SCALING: &[&str] = &["lsm", "rocksdb", "rocksdb-tuned", "leveldb", "lmdb"];

/// A set of workloads over databases of one kind.
struct Set {
    name: &'static str,
    engines: &'static [&'static str],
    keys: u64,
    reads: u64,
    seconds: f64,
    value_bytes: u64,
    cache_mib: u64,
    memtable_mib: u64,
    workloads: &'static str,
}

const SETS: &[Set] = &[
    Set {
        name: "main",
        engines: ENGINES,
        keys: 400_000,
        reads: 2_000_000,
        seconds: 0.5,
        value_bytes: 100,
        cache_mib: 256,
        memtable_mib: 16,
        workloads: "fillseq,fillbatch,fillsync,fillsync:8,fillsustained,recover,readmemtable,fillrandom,readlive,seeklive,\
                    compact,readrandom,readrandom:2,readhot,readmissing,multiget,readseq,readseqmany,readreverse,seekonly,\
                    seekrandom,seek100,seeknew,readwhilewriting,seekwhilewriting,ycsba:2,ycsbb:2,ycsbc:2,ycsbf:2,overwrite,\
                    readsmall,readcold,ycsbd:2,ycsbe:2,deleterandom,reopen",
    },
    Set {
        name: "kib",
        engines: ENGINES,
        keys: 150_000,
        reads: 2_000_000,
        seconds: 0.25,
        value_bytes: 1024,
        cache_mib: 16,
        memtable_mib: 16,
        workloads: "fillrandom,overwrite,readsmall,seekrandom,ycsba:2",
    },
    Set {
        name: "large",
        engines: ENGINES,
        keys: 12_000,
        reads: 2_000_000,
        seconds: 0.25,
        value_bytes: 16_384,
        cache_mib: 16,
        memtable_mib: 64,
        workloads: "fillrandom,overwrite,readsmall,readseq",
    },
    Set {
        name: "scaling",
        engines: SCALING,
        keys: 200_000,
        reads: 4_000_000,
        seconds: 0.25,
        value_bytes: 100,
        cache_mib: 256,
        memtable_mib: 16,
        workloads: "scaling",
    },
    Set {
        name: "growth",
        engines: &["lsm", "rocksdb"],
        keys: 1_600_000,
        reads: 2_000_000,
        seconds: 0.25,
        value_bytes: 100,
        cache_mib: 1024,
        memtable_mib: 16,
        workloads: "fillsustained,readrandom,readmissing,seekrandom",
    },
];

impl Set {
    /// Options of `run` for it.
    fn args(&self, scale: f64, flags: &Flags) -> Vec<String> {
        let scaled = |count: u64| ((count as f64 * scale) as u64).max(1_000).to_string();
        let pairs = [
            ("num", scaled(self.keys)),
            ("reads", scaled(self.reads)),
            ("syncs", scaled(3_000)),
            ("seconds", (self.seconds * scale).to_string()),
            ("value-size", self.value_bytes.to_string()),
            ("cache-mib", self.cache_mib.to_string()),
            ("memtable-mib", self.memtable_mib.to_string()),
            ("workloads", self.workloads.to_string()),
            ("seed", number(flags, "seed", 1).to_string()),
            ("dir", text(flags, "dir", "target/bench-db").to_string()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }

    /// The engines it runs: those asked for that belong to it.
    fn specs<'a>(&self, asked: &[&'a str]) -> Vec<&'a str> {
        let belongs = |spec: &str| {
            let label = contestant(spec).label;
            self.engines.contains(&label.as_str()) || !ENGINES.contains(&label.as_str())
        };
        asked.iter().copied().filter(|spec| belongs(spec)).collect()
    }
}

/// One set while it is run.
struct Running<'a> {
    set: &'a Set,
    specs: Vec<&'a str>,
    args: Vec<String>,
    results: Results,
}

impl Running<'_> {
    fn round(&mut self, round: u64) {
        for turn in 0..self.specs.len() {
            // Whoever begins changes from round to round.
            let spec = self.specs[(turn + round as usize) % self.specs.len()];
            let told = child::run(spec, round, &self.args);
            self.results.take(About { engine: contestant(spec).label, text: told.about }, told.rows);
        }
    }
}

/// `lsm-bench publish`.
pub fn main(args: &[String]) {
    let flags = flags(args);
    let all = ENGINES.join(",");
    let asked: Vec<&str> = text(&flags, "engines", &all).split(',').collect();
    let (there, missing): (Vec<&str>, Vec<&str>) = asked.iter().partition(|spec| contestant(spec).library.exists());
    for spec in &missing {
        eprintln!("{spec}: {} is not there; without it", contestant(spec).library.display());
    }
    let command = format!("lsm-bench publish {}", args.join(" ")).trim_end().to_string();
    let (scale, seed) = (real(&flags, "scale", 1.0), number(&flags, "seed", 1));
    let mut running: Vec<Running> = chosen(&flags)
        .into_iter()
        .map(|set| {
            let results = Results::begin(set.name, &command, seed, text(&flags, "dir", "target/bench-db"));
            Running { set, specs: set.specs(&there), args: set.args(scale, &flags), results }
        })
        .collect();
    let rounds = in_time(&mut running, number(&flags, "rounds", 5), real(&flags, "minutes", 25.0) * 60.0);
    for one in &mut running {
        one.results.order_by(&there.iter().map(|spec| contestant(spec).label).collect::<Vec<_>>());
        one.results.end();
    }
    let folder = flags.get("results").map_or_else(|| root().join("docs/results"), std::path::PathBuf::from);
    for one in &running {
        write(&folder.join(format!("{}.json", one.set.name)), &one.results.to_file());
    }
    let results: Vec<Results> = running.into_iter().map(|one| one.results).collect();
    let target = root().join("target/bench");
    let page = flags.get("html").map_or_else(|| target.join("results.html"), std::path::PathBuf::from);
    write(&page, &html::page(&results));
    let lines = flags.get("json").map_or_else(|| target.join("results.jsonl"), std::path::PathBuf::from);
    write(&lines, &results.iter().map(Results::to_lines).collect::<String>());
    println!("{rounds} rounds; {}, {}, {}", folder.display(), page.display(), lines.display());
}

fn chosen(flags: &Flags) -> Vec<&'static Set> {
    let names = text(flags, "sets", "all");
    if names == "all" {
        return SETS.iter().collect();
    }
    let find = |name: &str| SETS.iter().find(|set| set.name == name);
    names.split(',').map(|name| find(name).unwrap_or_else(|| fail(&format!("no set is called {name}")))).collect()
}

/// Rounds until there are enough or the next would not end in time; one at least.
fn in_time(running: &mut [Running], rounds: u64, seconds: f64) -> u64 {
    let start = Instant::now();
    let mut longest = 0.0f64;
    for round in 0..rounds.max(1) {
        let before = start.elapsed().as_secs_f64();
        if round > 0 && before + longest > seconds {
            eprintln!("{round} of {rounds} rounds in {before:.0} s: another would end too late");
            return round;
        }
        for one in running.iter_mut() {
            one.round(round);
        }
        longest = longest.max(start.elapsed().as_secs_f64() - before);
    }
    rounds.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::workloads;

    #[test]
    fn the_sets_are_understood() {
        for set in SETS {
            let args = set.args(0.01, &Flags::new());
            let flags = flags(&args);
            assert!(!workloads(&flags).is_empty());
            assert!(number(&flags, "num", 0) >= 1_000);
        }
        assert_eq!(chosen(&Flags::new()).len(), SETS.len());
    }

    #[test]
    fn a_set_runs_its_engines_and_those_of_other_names() {
        let set = Set { engines: &["lsm"], ..SMALL };
        assert_eq!(set.specs(&["lsm", "rocksdb", "old=lsm@/tmp/old.so"]), ["lsm", "old=lsm@/tmp/old.so"]);
    }

    const SMALL: Set = Set {
        name: "main",
        engines: ENGINES,
        keys: 1,
        reads: 1,
        seconds: 1.0,
        value_bytes: 100,
        cache_mib: 1,
        memtable_mib: 1,
        workloads: "readseq",
    };
}
