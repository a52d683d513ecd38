//! `lsm-bench`: engines side by side, through their C interfaces.
//!
//! The parent starts one child process per round and engine, in turn, so that neither memory nor files of one run help or
//! hurt another; a child opens the engine's shared library, runs the workloads and prints a line for each.

mod data;
mod dl;
mod engine;
mod host;
mod meter;
mod report;
mod workload;

use data::{Data, KeyShape};
use engine::{Engine, Settings, fail, leveldb, lmdb, lsm, rocksdb};
use report::Row;
use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use workload::{Bench, NAMES, Plan};

const USAGE: &str = "\
usage: lsm-bench run [options]        compare engines
       lsm-bench list                 the workloads

  --engines A,B     lsm, rocksdb, rocksdb-tuned, leveldb, lmdb; or LABEL=KIND[@LIBRARY][;option=value...], for example
                    old=lsm@/tmp/old/liblsm.so or big=lsm;block.size=16384     (lsm,rocksdb)
  --workloads A,B   names, NAME:THREADS, or all                                (fillrandom,readrandom,readseq,seekrandom)
  --num N           keys stored                                                (1000000)
  --reads N         point reads; half as many seeks                            (the same as num)
  --syncs N         puts of fillsync                                           (3000)
  --rounds R        rounds, engines taking turns                               (3)
  --value-size N    bytes of a value                                           (100)
  --keys SHAPE      decimal or binary                                          (decimal)
  --cache-mib N     block cache                                                (512)
  --memtable-mib N  memtable                                                   (64)
  --block-size N    bytes of a block                                           (4096)
  --compression C   lz4 or none                                                (lz4)
  --write-rate N    puts a second beside readers; 0: no limit                  (20000)
  --seed N          for the orders of keys; the round is added                 (1)
  --baseline LABEL  the engine that ratios are against                         (the first that is not lsm)
  --dir PATH        where databases go                                         (target/bench-db)
  --json FILE       a line of JSON for each measurement
  --profile DIR     perf record of each workload (numbers suffer)
";

/// `name value` pairs of a command line.
type Flags = HashMap<String, String>;

/// An engine to run.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// How it is called in tables.
    pub label: String,
    /// Which engine.
    pub kind: String,
    library: String,
    extra: Vec<(String, String)>,
}

fn flags(args: &[String]) -> Flags {
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

fn text<'a>(flags: &'a Flags, name: &str, default: &'a str) -> &'a str {
    flags.get(name).map_or(default, String::as_str)
}

fn number(flags: &Flags, name: &str, default: u64) -> u64 {
    let Some(text) = flags.get(name) else { return default };
    text.replace('_', "").parse().unwrap_or_else(|_| fail(&format!("--{name} {text}: not a number")))
}

/// The root of the repository this was built in.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `LABEL=KIND@LIBRARY;option=value`, all but the kind optional.
fn contestant(spec: &str) -> Contestant {
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
    if kind == "rocksdb-tuned" {
        extra.push(("variant".to_string(), "tuned".to_string()));
    }
    let (kind, usual) = match kind {
        "lsm" => ("lsm", "target/release/liblsm.so"),
        "rocksdb" | "rocksdb-tuned" => ("rocksdb", "target/peers/librocksdb.so"),
        "leveldb" => ("leveldb", "target/peers/libleveldb.so"),
        "lmdb" => ("lmdb", "target/peers/liblmdb.so"),
        _ => fail(&format!("no engine is called {kind}")),
    };
    let library = library.map_or_else(|| root().join(usual), PathBuf::from);
    if !library.exists() {
        fail(&format!(
            "{} is missing: cargo build --release -p lsm, tools/lsm-bench/build-peers.sh",
            library.display()
        ));
    }
    Contestant { label, kind: kind.to_string(), library: library.to_string_lossy().into_owned(), extra }
}

fn workloads(flags: &Flags) -> Vec<String> {
    let names = text(flags, "workloads", "fillrandom,readrandom,readseq,seekrandom");
    if names == "all" {
        return NAMES.iter().map(|(name, _)| name.to_string()).collect();
    }
    let names: Vec<String> = names.split(',').map(str::to_string).collect();
    for name in &names {
        let base = name.split(':').next().unwrap_or_default();
        if !NAMES.iter().any(|(known, _)| *known == base) && base != "crashfill" {
            fail(&format!("no workload is called {name}; see lsm-bench list"));
        }
    }
    names
}

fn measure<E: Engine>(who: &Contestant, flags: &Flags, settings: &Settings) {
    let count = number(flags, "num", 1_000_000);
    if count == 0 || count > u64::from(u32::MAX) {
        fail("--num is between 1 and 2^32 - 1");
    }
    let plan = Plan {
        count,
        reads: number(flags, "reads", count),
        syncs: number(flags, "syncs", 3_000),
        write_rate: number(flags, "write-rate", 20_000),
        seed: number(flags, "seed", 1) + number(flags, "round", 0),
        profile: flags.get("profile").map(|dir| Path::new(dir).join(&who.label)),
    };
    if let Some(dir) = &plan.profile {
        std::fs::create_dir_all(dir).unwrap_or_else(|error| fail(&error.to_string()));
    }
    let shape = match text(flags, "keys", "decimal") {
        "decimal" => KeyShape::Decimal,
        "binary" => KeyShape::Binary,
        other => fail(&format!("--keys {other}")),
    };
    let data = Data::new(count, number(flags, "value-size", 100) as usize, shape);
    let own = || Path::new(text(flags, "dir", "target/bench-db")).join(format!("{}-{}", who.label, std::process::id()));
    let dir = flags.get("exact-dir").map_or_else(own, PathBuf::from);
    meter::tick_nanos();
    let mut bench = Bench::<E>::new(&dir, settings, &plan, &data);
    for name in workloads(flags) {
        let sample = bench.run(&name);
        let durability = if name.starts_with("fillsync") { "synced to the device" } else { E::durability() };
        println!("{}", Row::of(who, &name, durability, number(flags, "round", 0), &sample).to_line());
    }
    bench.end();
}

fn child(flags: &Flags) {
    let who = contestant(text(flags, "engine", ""));
    let settings = Settings {
        library: who.library.clone(),
        cache_bytes: (number(flags, "cache-mib", 512) as usize) << 20,
        memtable_bytes: (number(flags, "memtable-mib", 64) as usize) << 20,
        block_bytes: number(flags, "block-size", 4096) as usize,
        is_compressed: match text(flags, "compression", "lz4") {
            "lz4" => true,
            "none" => false,
            other => fail(&format!("--compression {other}")),
        },
        extra: who.extra.clone(),
    };
    match who.kind.as_str() {
        "lsm" => measure::<lsm::Lsm>(&who, flags, &settings),
        "rocksdb" => measure::<rocksdb::RocksDb>(&who, flags, &settings),
        "leveldb" => measure::<leveldb::LevelDb>(&who, flags, &settings),
        _ => measure::<lmdb::Lmdb>(&who, flags, &settings),
    }
}

/// One engine, one round, in a process of its own.
fn child_rows(spec: &str, round: u64, args: &[String]) -> Vec<Row> {
    let program = std::env::current_exe().unwrap_or_else(|error| fail(&error.to_string()));
    let mut child = Command::new(program)
        .arg("child")
        .args(["--engine", spec, "--round", &round.to_string()])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| fail(&error.to_string()));
    let mut rows = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
            // An engine may print, too.
            if let Some(row) = Row::from_line(&line) {
                eprintln!("round {} {}", round + 1, row.summary());
                rows.push(row);
            }
        }
    }
    let status = child.wait().unwrap_or_else(|error| fail(&error.to_string()));
    if !status.success() {
        fail(&format!("{spec}: {status}"));
    }
    rows
}

fn run(args: &[String]) {
    let flags = flags(args);
    let specs: Vec<&str> = text(&flags, "engines", "lsm,rocksdb").split(',').collect();
    let contestants: Vec<Contestant> = specs.iter().map(|spec| contestant(spec)).collect();
    let names = workloads(&flags);
    let rounds = number(&flags, "rounds", 3);
    let mut rows = Vec::new();
    for round in 0..rounds {
        // Whoever begins changes from round to round.
        for turn in 0..specs.len() {
            let spec = specs[(turn + round as usize) % specs.len()];
            rows.extend(child_rows(spec, round, args));
        }
    }
    if let Some(file) = flags.get("json") {
        let text: String = rows.iter().map(|row| row.to_json(args) + "\n").collect();
        std::fs::write(file, text).unwrap_or_else(|error| fail(&format!("{file}: {error}")));
    }
    let usual = contestants.iter().find(|who| who.kind != "lsm").or(contestants.first());
    let baseline = flags.get("baseline").cloned().or_else(|| usual.map(|who| who.label.clone())).unwrap_or_default();
    println!("lsm-bench {}", args.join(" "));
    println!("{}", report::machine());
    println!("{}", report::table(&rows, &names, &contestants, &baseline));
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("run") => run(&args[1..]),
        Some("child") => child(&flags(&args[1..])),
        Some("list") => NAMES.iter().for_each(|(name, what)| println!("{name:<18} {what}")),
        _ => {
            print!("{USAGE}");
            std::process::exit(2);
        }
    }
}
