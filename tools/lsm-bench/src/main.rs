//! `lsm-bench`: engines side by side, through their C interfaces.
//!
//! The parent starts one child process per round and engine, in turn, so that neither memory nor files of one run help or
//! hurt another; a child opens the engine's shared library, runs the workloads and prints a line for each.

mod args;
mod child;
mod data;
mod dl;
mod engine;
mod host;
mod html;
mod meter;
mod publish;
mod report;
mod results;
mod workload;

use args::{Contestant, USAGE, flags, number, present, text, workloads};
use engine::fail;
use results::{About, Results};
use std::path::Path;
use workload::NAMES;

fn run(args: &[String]) {
    let flags = flags(args);
    let specs: Vec<&str> = text(&flags, "engines", "lsm,rocksdb").split(',').collect();
    let contestants: Vec<Contestant> = specs.iter().map(|spec| present(spec)).collect();
    let names = workloads(&flags);
    let command = format!("lsm-bench run {}", args.join(" "));
    let mut results = Results::begin("run", &command, number(&flags, "seed", 1), text(&flags, "dir", "target"));
    for round in 0..number(&flags, "rounds", 3) {
        // Whoever begins changes from round to round.
        for turn in 0..specs.len() {
            let at = (turn + round as usize) % specs.len();
            let told = child::run(specs[at], round, args);
            results.take(About { engine: contestants[at].label.clone(), text: told.about }, told.rows);
        }
    }
    results.end();
    if let Some(file) = flags.get("json") {
        write(Path::new(file), &results.to_lines());
    }
    if let Some(file) = flags.get("html") {
        write(Path::new(file), &html::page(std::slice::from_ref(&results)));
    }
    let usual = contestants.iter().find(|who| who.kind != "lsm").or(contestants.first());
    let baseline = flags.get("baseline").cloned().or_else(|| usual.map(|who| who.label.clone())).unwrap_or_default();
    println!("{command}");
    println!("commit {}, {}, load {:.1}", results.commit, results.machine, results.load);
    results.abouts.iter().for_each(|about| println!("{}: {}", about.engine, about.text));
    println!("{}", report::table(&results.rows, &names, &contestants, &baseline));
}

/// Writes a file, with the folders it lies in.
fn write(path: &Path, text: &str) {
    if let Some(parent) = path.parent() {
        let _ = std::fs::create_dir_all(parent);
    }
    std::fs::write(path, text).unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())));
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("run") => run(&args[1..]),
        Some("publish") => publish::main(&args[1..]),
        Some("child") => child::main(&flags(&args[1..])),
        Some("list") => NAMES.iter().for_each(|(name, what)| println!("{name:<18} {what}")),
        _ => {
            print!("{USAGE}");
            std::process::exit(2);
        }
    }
}
