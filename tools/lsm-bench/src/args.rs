//! The command line: options, engines by their names, workloads by theirs.
//!
//! Failure: what is not understood ends the process with a text.

use crate::engine::fail;
use crate::workload::{NAMES, SCALING};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What is printed when nothing is understood.
pub const USAGE: &str = "\
usage: lsm-bench run [options]        compare engines
       lsm-bench publish [options]    the published comparison: docs/results/*.json, a page with plots, JSON lines
       lsm-bench list                 the workloads

run and publish:
  --engines A,B     lsm, rocksdb, rocksdb-tuned, leveldb, lmdb, fjall, tidesdb; or LABEL=KIND[@LIBRARY][;option=value...],
                    for example old=lsm@/tmp/old/liblsm.so or big=lsm;block.size=16384
                                                         (run: lsm,rocksdb; publish: those whose libraries are there)
  --rounds R        rounds, engines taking turns                               (run: 3, publish: 5)
  --seed N          for the orders of keys; the round is added                 (1)
  --dir PATH        where databases go                                         (target/bench-db)
run:
  --workloads A,B   names, NAME:THREADS, all, or scaling                       (fillrandom,readrandom,readseq,seekrandom)
  --num N           keys stored                                                (1000000)
  --reads N         point reads; half as many seeks                            (the same as num)
  --syncs N         puts of fillsync                                           (3000)
  --seconds S       a load ends after so many; 0: when it is done              (0)
  --value-size N    bytes of a value                                           (100)
  --keys SHAPE      decimal or binary                                          (decimal)
  --cache-mib N     block cache                                                (512)
  --memtable-mib N  memtable                                                   (64)
  --block-size N    bytes of a block                                           (4096)
  --compression C   lz4 or none                                                (lz4)
  --write-rate N    puts a second beside readers; 0: no limit                  (20000)
  --baseline LABEL  the engine that ratios are against                         (the first that is not lsm)
  --json FILE       a line of JSON for each measurement
  --html FILE       a page with plots
  --profile DIR     perf record of each workload (numbers suffer)
publish:
  --sets A,B        of main, kib, large, scaling, growth                       (all)
  --minutes N       no round begins that would not end by then                 (25)
  --scale X         keys, operations and seconds, times this                   (1)
  --results DIR     where the results go                                       (docs/results)
  --html FILE       the page                                                   (target/bench/results.html)
  --json FILE       the lines                                                  (target/bench/results.jsonl)
";

/// `name value` pairs of a command line.
pub type Flags = HashMap<String, String>;

/// An engine to run.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// How it is called in tables.
    pub label: String,
    /// Which engine.
    pub kind: String,
    /// Its shared library.
    pub library: PathBuf,
    /// Settings beside those that all get.
    pub extra: Vec<(String, String)>,
}

/// The options of a command line; the later of two of one name counts.
pub fn flags(args: &[String]) -> Flags {
    let known: Vec<&str> = USAGE.split_whitespace().filter_map(|word| word.strip_prefix("--")).collect();
    let mut flags = Flags::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = arg.strip_prefix("--").unwrap_or_else(|| fail(&format!("{arg} is no option\n\n{USAGE}")));
        if !known.contains(&name) && !["engine", "round", "exact-dir"].contains(&name) {
            fail(&format!("--{name} is not known\n\n{USAGE}"));
        }
        let value = args.next().unwrap_or_else(|| fail(&format!("--{name} needs a value")));
        flags.insert(name.to_string(), value.clone());
    }
    flags
}

/// The text of an option.
pub fn text<'a>(flags: &'a Flags, name: &str, default: &'a str) -> &'a str {
    flags.get(name).map_or(default, String::as_str)
}

/// The number of an option, whole and not negative.
pub fn number(flags: &Flags, name: &str, default: u64) -> u64 {
    let Some(text) = flags.get(name) else { return default };
    text.replace('_', "").parse().unwrap_or_else(|_| fail(&format!("--{name} {text}: not a number")))
}

/// The number of an option, above or equal to 0.
pub fn real(flags: &Flags, name: &str, default: f64) -> f64 {
    let Some(text) = flags.get(name) else { return default };
    match text.parse() {
        Ok(number) if number >= 0.0 && f64::is_finite(number) => number,
        _ => fail(&format!("--{name} {text}: not a number")),
    }
}

/// The root of the repository this was built in.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// `LABEL=KIND@LIBRARY;option=value`, all but the kind optional.
pub fn contestant(spec: &str) -> Contestant {
    let mut parts = spec.split(';');
    let head = parts.next().unwrap_or_default();
    let mut extra: Vec<(String, String)> = parts
        .map(|part| match part.split_once('=') {
            Some((name, value)) => (name.to_string(), value.to_string()),
            None => fail(&format!("{part}: not option=value")),
        })
        .collect();
    let (label, rest) = head.split_once('=').map_or((None, head), |(label, rest)| (Some(label), rest));
    let (kind, library) = rest.split_once('@').map_or((rest, None), |(kind, library)| (kind, Some(library)));
    let label = label.unwrap_or(kind).to_string();
    let interval = [("sync".to_string(), "interval".to_string())];
    if kind == "rocksdb-tuned" {
        extra.push(("variant".to_string(), "tuned".to_string()));
    } else if kind != "lsm" && !extra.is_empty() && (kind, extra.as_slice()) != ("tidesdb", &interval) {
        fail(&format!("{spec}: only lsm takes options, and tidesdb sync=interval"));
    }
    let (kind, usual) = match kind {
        "lsm" => ("lsm", "target/release/liblsm.so"),
        "rocksdb" | "rocksdb-tuned" => ("rocksdb", "target/peers/librocksdb.so"),
        "leveldb" => ("leveldb", "target/peers/libleveldb.so"),
        "lmdb" => ("lmdb", "target/peers/liblmdb.so"),
        "fjall" => ("fjall", "target/peers/libfjallshim.so"),
        "tidesdb" => ("tidesdb", "target/peers/libtidesdb.so"),
        _ => fail(&format!("no engine is called {kind}")),
    };
    let library = library.map_or_else(|| root().join(usual), PathBuf::from);
    Contestant { label, kind: kind.to_string(), library, extra }
}

/// An engine whose library is there.
pub fn present(spec: &str) -> Contestant {
    let who = contestant(spec);
    if !who.library.exists() {
        fail(&format!(
            "{} is missing: cargo build --release -p lsm, tools/lsm-bench/build-peers.sh",
            who.library.display()
        ));
    }
    who
}

/// The workloads asked for.
pub fn workloads(flags: &Flags) -> Vec<String> {
    let names = text(flags, "workloads", "fillrandom,readrandom,readseq,seekrandom");
    let mut found = Vec::new();
    for name in names.split(',') {
        let base = name.split(':').next().unwrap_or_default();
        match name {
            "all" => found.extend(NAMES.iter().map(|(name, _)| name.to_string())),
            "scaling" => found.extend(SCALING.iter().map(|name| name.to_string())),
            _ if NAMES.iter().any(|(known, _)| *known == base) || base == "crashfill" => found.push(name.to_string()),
            _ => fail(&format!("no workload is called {name}; see lsm-bench list")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_read_from_its_spec() {
        let who = contestant("big=lsm@/tmp/x.so;block.size=16384;a=b");
        assert_eq!((who.label.as_str(), who.kind.as_str()), ("big", "lsm"));
        assert_eq!(who.library, Path::new("/tmp/x.so"));
        assert_eq!(who.extra, [("block.size".into(), "16384".into()), ("a".into(), "b".into())]);
        let tuned = contestant("rocksdb-tuned");
        assert_eq!((tuned.label.as_str(), tuned.kind.as_str()), ("rocksdb-tuned", "rocksdb"));
        assert_eq!(tuned.extra, [("variant".into(), "tuned".into())]);
    }

    #[test]
    fn the_later_of_two_flags_counts() {
        let args: Vec<String> = ["--num", "1_000", "--num", "7"].map(String::from).to_vec();
        assert_eq!(number(&flags(&args), "num", 3), 7);
        assert_eq!(number(&flags(&args[..2]), "num", 3), 1000);
        assert_eq!(real(&Flags::new(), "seconds", 0.5), 0.5);
    }

    #[test]
    fn groups_of_workloads_spread() {
        let of = |names: &str| workloads(&Flags::from([("workloads".to_string(), names.to_string())]));
        assert_eq!(of("scaling").len(), SCALING.len());
        assert_eq!(of("readseq,ycsba:4"), ["readseq", "ycsba:4"]);
        assert_eq!(of("all").len(), NAMES.len());
        for name in of("all,scaling") {
            let base = name.split(':').next().unwrap_or_default();
            assert!(NAMES.iter().any(|(known, _)| *known == base), "{name}");
        }
    }
}
