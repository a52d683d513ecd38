//! `cargo xtask soak`: the reliability checks for hours, and the table of what they have reached.
//!
//!     soak --minutes N [--only G1,kill,...]   slices of two minutes, what has not reached its figure first; each
//!                                             that ends adds a row to docs/results/soak.jsonl, so it can be stopped and
//!                                             taken up again at any time
//!     soak --tick                             each check that `cargo test` does not run, for seconds; writes nothing
//!     soak --table                            only the table in docs/TESTING.md
//!
//! A violation is a row too, with its seed; the check is then left alone for the rest of the run. What this machine lacks
//! is named and skipped; with `REQUIRE=1` it is a failure.
#![expect(clippy::disallowed_methods, reason = "the engine's rules for files and clocks are not for its tools")]

mod jobs;
mod rows;
mod table;

pub use table::{check, renew};

use crate::run::{self, Ended};
use jobs::{How, JOBS, Job};
use rows::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Minutes of one slice.
const SLICE_MINUTES: f64 = 2.0;
/// What a slice may take beyond its time.
const GRACE: Duration = Duration::from_secs(900);
const NIGHTLY: &str = "+nightly";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

struct Soak<'a> {
    root: &'a Path,
    /// What is checked out when the run begins, so what is built.
    commit: String,
    binaries: BTreeMap<String, PathBuf>,
    mutate: Option<PathBuf>,
    minutes: f64,
    is_tick: bool,
}

/// What became of a slice.
enum Slice {
    Ran(Ended),
    /// Not possible here: why.
    Skipped(String),
}

/// Runs the command.
pub fn run(root: &Path, args: &[&str]) -> Result<String, String> {
    let (mut minutes, mut only, mut is_tick) = (None, Vec::new(), false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--table" => return renew(root).map(|()| String::new()),
            "--tick" => is_tick = true,
            "--minutes" => {
                let text = args.next().copied().unwrap_or_default();
                minutes = Some(text.parse::<f64>().map_err(|_| format!("--minutes {text}: not a number"))?);
            }
            "--only" => only = args.next().copied().unwrap_or_default().split(',').collect(),
            other => return Err(format!("soak: {other}? --minutes N [--only G1,kill] | --tick | --table")),
        }
    }
    let chosen: Vec<&Job> = JOBS
        .iter()
        .filter(|job| only.is_empty() || only.iter().any(|name| job.name == *name || covers(job.goal, name)))
        .filter(|job| !is_tick || job.tick_seconds > 0)
        .collect();
    if chosen.is_empty() {
        return Err(format!("soak: no check called {}", only.join(", ")));
    }
    let mut soak = Soak {
        root,
        commit: run::commit(root),
        binaries: BTreeMap::new(),
        mutate: None,
        minutes: SLICE_MINUTES,
        is_tick,
    };
    if is_tick { soak.tick(&chosen) } else { soak.go(&chosen, minutes.ok_or("soak: --minutes N is missing")?) }
}

/// Whether `goal` ("G1-G3") is or spans `name` ("G2").
fn covers(goal: &str, name: &str) -> bool {
    let number = |text: &str| text.strip_prefix('G').and_then(|n| n.parse::<u32>().ok());
    match (goal.split_once('-'), number(name)) {
        (Some((from, to)), Some(n)) => number(from).is_some_and(|f| f <= n) && number(to).is_some_and(|t| n <= t),
        _ => goal == name,
    }
}

impl Soak<'_> {
    fn tick(&mut self, chosen: &[&Job]) -> Result<String, String> {
        let is_required = std::env::var_os("REQUIRE").is_some();
        let mut failed = Vec::new();
        for job in chosen {
            let began = Instant::now();
            let said = match self.slice(job, 1)? {
                Slice::Ran(ended) if ended.is_success => {
                    let done = rows::counts(&ended.text)
                        .first()
                        .map_or(String::new(), |(_, _, n, unit)| format!("{n} {unit}"));
                    format!("ok {done}")
                }
                Slice::Ran(ended) => {
                    failed.push(format!("{}: {}", job.name, ended.why()));
                    ended.text
                }
                Slice::Skipped(why) => {
                    // Nightly is not everywhere, and the tick must be able to do without.
                    if is_required && !why.contains("nightly") {
                        failed.push(format!("{}: {why}", job.name));
                    }
                    format!("skipped: {why}")
                }
            };
            println!("{:20} {said} ({:.0} s)", job.name, began.elapsed().as_secs_f64());
        }
        if failed.is_empty() { Ok(format!("tick: {} checks", chosen.len())) } else { Err(failed.join("\n")) }
    }

    fn go(&mut self, chosen: &[&Job], minutes: f64) -> Result<String, String> {
        let deadline = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
        let mut left_alone: BTreeSet<&str> = BTreeSet::new();
        let mut violations = Vec::new();
        while Instant::now() < deadline {
            let text = std::fs::read_to_string(rows::path(self.root)).unwrap_or_default();
            let done = rows::load(&text)?;
            // Those that have not reached their figure first; among them the one that had the least time.
            let rank = |job: &Job| {
                let total = table::total(job, &done);
                (total.count >= job.figure, total.seconds as u64)
            };
            let free = chosen.iter().filter(|job| !left_alone.contains(job.name));
            let Some(job) = free.min_by_key(|job| rank(job)) else { break };
            let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64() / 60.0;
            self.minutes = SLICE_MINUTES.min(left.max(0.2));
            // Seeds go on where the rows of this check end, whoever ran them.
            let seed = 1 + 1_000_000_000 * done.iter().filter(|row| row.check == job.name).count() as u64;
            match self.slice(job, seed)? {
                Slice::Skipped(why) => {
                    println!("{:20} skipped: {why}", job.name);
                    left_alone.insert(job.name);
                }
                Slice::Ran(ended) => {
                    let rows = self.note(job, seed, &ended)?;
                    if !rows.violation.is_empty() {
                        println!("{}", ended.text);
                        violations.push(format!("{} seed {}: {}", job.name, rows.seed, rows.violation));
                        left_alone.insert(job.name);
                    }
                    if !matches!(job.how, How::Timed(..) | How::Mutate(_) | How::Miri(_)) {
                        // Run once is enough for one sitting.
                        left_alone.insert(job.name);
                    }
                }
            }
        }
        renew(self.root)?;
        if violations.is_empty() { Ok("soak: no violation".into()) } else { Err(violations.join("\n")) }
    }

    /// Writes what a slice did.
    fn note(&self, job: &Job, seed: u64, ended: &Ended) -> Result<Row, String> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let own = Row {
            at,
            check: job.name.into(),
            seed,
            count: 0,
            unit: job.unit.into(),
            seconds: ended.seconds,
            commit: self.commit.clone(),
            violation: if ended.is_success { String::new() } else { ended.why() },
        };
        let mut all = Vec::new();
        let counts = rows::counts(&ended.text);
        if ended.is_success {
            match &job.how {
                How::Once(_, _, worth) if !counts.iter().any(|c| c.0 == job.name) => {
                    all.push(Row { count: *worth, ..own.clone() })
                }
                How::Miri(_) | How::Tsan(_) | How::Loom | How::Hosts => all.push(Row { count: 1, ..own.clone() }),
                _ => {}
            }
            for (name, _, count, unit) in counts {
                let seconds = if name == job.name { ended.seconds } else { 0.0 };
                all.push(Row { check: name, count, unit, seconds, ..own.clone() });
            }
        }
        if all.is_empty() {
            all.push(own.clone());
        }
        for row in &all {
            rows::append(self.root, row)?;
            println!("{}", row.line());
        }
        Ok(own)
    }

    /// Runs one slice of a check.
    fn slice(&mut self, job: &Job, seed: u64) -> Result<Slice, String> {
        let log = run::target(self.root).join("soak.log");
        let minutes = if self.is_tick { job.tick_seconds as f64 / 60.0 } else { self.minutes };
        let limit = Duration::from_secs_f64(minutes * 60.0) + GRACE;
        let mut command = match &job.how {
            How::Timed(binary, args) | How::Once(binary, args, _) => {
                let Some(path) = self.binary(binary)? else {
                    return Ok(Slice::Skipped(format!("tests/{binary}.rs not found")));
                };
                let mut command = run::command(&path, self.root);
                command.args(*args).arg("--nocapture").envs(job.env.iter().copied()).env("LSM_SEED", seed.to_string());
                if matches!(job.how, How::Timed(..)) {
                    command.env("LSM_SOAK_MINUTES", minutes.to_string());
                }
                command
            }
            How::Mutate(target) => {
                let seconds = ((minutes * 60.0) as u64).max(1).to_string();
                let mut command = run::command(&self.mutator()?, self.root);
                command.args([target, "--seconds", &seconds, "--seed", &seed.to_string()]);
                if matches!(*target, "operations" | "calls") {
                    // Sequences that mostly wait for threads of the engine.
                    command.args(["--workers", "2"]);
                }
                command
            }
            How::Miri(modules) => match self.miri(modules, seed) {
                Some(command) => command,
                None => return Ok(Slice::Skipped("nightly with miri not found".into())),
            },
            How::Tsan(tests) => match self.tsan(tests, minutes) {
                Some(command) => command,
                None => return Ok(Slice::Skipped("nightly with rust-src not found".into())),
            },
            How::Loom => {
                let mut command = run::cargo(self.root);
                command.args(["test", "--locked", "--release", "--manifest-path", "models/Cargo.toml"]);
                command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", run::target(self.root).join("models"));
                command
            }
            How::Hosts => run::command(&self.root.join("ffi-tests/run.sh"), self.root),
            How::Planted => return Ok(Slice::Skipped("run by `cargo xtask plant`".into())),
            How::Open(why) => return Ok(Slice::Skipped((*why).into())),
        };
        run::limited(&mut command, limit, &log).map(Slice::Ran)
    }

    /// A test binary of the engine; all that are needed are built at the first call.
    fn binary(&mut self, name: &str) -> Result<Option<PathBuf>, String> {
        if self.binaries.is_empty() {
            let mut names: Vec<&str> = JOBS
                .iter()
                .filter_map(|job| match job.how {
                    How::Timed(binary, _) | How::Once(binary, ..) => Some(binary),
                    _ => None,
                })
                .filter(|name| self.root.join(format!("tests/{name}.rs")).exists())
                .collect();
            names.sort_unstable();
            names.dedup();
            let mut cargo = run::cargo(self.root);
            cargo.args(["test", "--locked", "--package", "lsm-engine", "--no-run"]);
            let said = run::output(cargo.args(names.iter().flat_map(|name| ["--test", name])))?;
            self.binaries = run::executables(self.root, &said);
        }
        Ok(self.binaries.get(name).cloned())
    }

    fn mutator(&mut self) -> Result<PathBuf, String> {
        if let Some(path) = &self.mutate {
            return Ok(path.clone());
        }
        let target = run::target(self.root).join("fuzz");
        let mut cargo = run::cargo(self.root);
        cargo.args(["build", "--locked", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bin", "mutate"]);
        run::output(cargo.env("CARGO_TARGET_DIR", &target))?;
        let path = target.join("release/mutate");
        self.mutate = Some(path.clone());
        Ok(path)
    }

    fn miri(&self, modules: &[&str], seed: u64) -> Option<std::process::Command> {
        run::is_there("cargo", &[NIGHTLY, "miri", "--version"]).then(|| {
            let mut command = run::command(Path::new("cargo"), self.root);
            let flags = format!("-Zmiri-tree-borrows -Zmiri-ignore-leaks -Zmiri-disable-isolation -Zmiri-seed={seed}");
            command.args([NIGHTLY, "miri", "test", "--locked", "--package", "lsm-engine", "--lib", "--"]);
            command.args(modules).env("MIRIFLAGS", flags);
            command.env("CARGO_TARGET_DIR", run::target(self.root).join("miri"));
            command
        })
    }

    fn tsan(&self, tests: &[&str], minutes: f64) -> Option<std::process::Command> {
        let sysroot =
            run::output(run::command(Path::new("rustc"), self.root).args([NIGHTLY, "--print", "sysroot"])).ok()?;
        let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
        source.exists().then(|| {
            let mut command = run::command(Path::new("cargo"), self.root);
            command.args([NIGHTLY, "test", "--locked", "-Zbuild-std", "--target", TRIPLE, "--package", "lsm-engine"]);
            command.args(tests.iter().flat_map(|name| ["--test", name]));
            // A figure of speed, which ThreadSanitizer takes away.
            command.args(["--", "--skip", "a_sync_serves_all"]);
            command.env("RUSTFLAGS", "-Zsanitizer=thread").env("LSM_SOAK_MINUTES", minutes.to_string());
            command.env("TSAN_OPTIONS", "halt_on_error=1 exitcode=66");
            command.env("CARGO_TARGET_DIR", run::target(self.root).join("tsan"));
            command
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_chosen_by_number_and_span() {
        assert!(covers("G1-G3", "G2") && covers("G1-G3", "G1-G3") && covers("G11", "G11"));
        assert!(!covers("G1-G3", "G4") && !covers("G11", "G1") && !covers("G1-G3", "kill"));
    }

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = JOBS.iter().map(|job| job.name).collect();
        assert_eq!(names.len(), JOBS.len());
        assert!(JOBS.iter().all(|job| job.figure > 0));
    }
}
