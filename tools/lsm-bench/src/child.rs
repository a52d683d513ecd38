//! The process that runs one engine for one round: opens its library, runs the workloads and prints a line for each.
//! And the parent's side of it.

use crate::args::{Contestant, Flags, number, present, real, text, workloads};
use crate::data::{Data, KeyShape};
use crate::engine::{Engine, Settings, fail, fjall, leveldb, lmdb, lsm, rocksdb, tidesdb};
use crate::meter::tick_nanos;
use crate::report::Row;
use crate::workload::{Bench, Plan};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Begins the line in which a child says what its engine is set to.
const ABOUT: &str = "about\t";

/// What a child said.
pub struct Told {
    /// Its measurements.
    pub rows: Vec<Row>,
    /// What the engine was set to.
    pub about: String,
}

/// The child.
pub fn main(flags: &Flags) {
    let who = present(text(flags, "engine", ""));
    let settings = Settings {
        library: who.library.to_string_lossy().into_owned(),
        cache_bytes: (number(flags, "cache-mib", 512) as usize) << 20,
        memtable_bytes: (number(flags, "memtable-mib", 64) as usize) << 20,
        block_bytes: number(flags, "block-size", 4096) as usize,
        is_compressed: match text(flags, "compression", "lz4") {
            "lz4" => true,
            "none" => false,
            other => fail(&format!("--compression {other}")),
        },
        is_synced: false,
        extra: who.extra.clone(),
    };
    match who.kind.as_str() {
        "lsm" => measure::<lsm::Lsm>(&who, flags, &settings),
        "rocksdb" => measure::<rocksdb::RocksDb>(&who, flags, &settings),
        "leveldb" => measure::<leveldb::LevelDb>(&who, flags, &settings),
        "fjall" => measure::<fjall::Fjall>(&who, flags, &settings),
        "tidesdb" => measure::<tidesdb::TidesDb>(&who, flags, &settings),
        _ => measure::<lmdb::Lmdb>(&who, flags, &settings),
    }
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
        seconds: real(flags, "seconds", 0.0),
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
    tick_nanos();
    println!("{ABOUT}{}", E::describe(settings));
    let mut bench = Bench::<E>::new(&dir, settings, &plan, &data);
    for name in workloads(flags) {
        let sample = bench.run(&name);
        let mode = E::mode(settings).text(name.starts_with("fillsync"));
        println!("{}", Row::of(who, &name, &mode, number(flags, "round", 0), &sample).to_line());
    }
    bench.end();
}

/// One engine, one round, in a process of its own.
pub fn run(spec: &str, round: u64, args: &[String]) -> Told {
    let program = std::env::current_exe().unwrap_or_else(|error| fail(&error.to_string()));
    let mut child = Command::new(program)
        .arg("child")
        .args(args)
        .args(["--engine", spec, "--round", &round.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| fail(&error.to_string()));
    let mut told = Told { rows: Vec::new(), about: String::new() };
    if let Some(out) = child.stdout.take() {
        for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
            // An engine may print, too.
            if let Some(about) = line.strip_prefix(ABOUT) {
                told.about = about.to_string();
            } else if let Some(row) = Row::from_line(&line) {
                eprintln!("round {} {}", round + 1, row.summary());
                told.rows.push(row);
            }
        }
    }
    let status = child.wait().unwrap_or_else(|error| fail(&error.to_string()));
    if !status.success() {
        fail(&format!("{spec}: {status}"));
    }
    told
}
