//! `cargo run --release --bin mutate -- TARGET [--seconds S] [--seed N] [--count N] [--workers N]`: many mutated inputs,
//! counted. Targets with threads mostly wait; several processes, each with seeds of its own, fill the processors.
//!
//! A failure prints the seed of its input; `--seed N --count 1` runs that one again.

use lsm_fuzz::mutate::{TARGETS, target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// An input may not take longer.
const SLOW: Duration = Duration::from_secs(1);
/// Runs of what was slow before it is called so.
const TRIES: u32 = 3;
/// Nor may the process grow beyond this.
const RSS_KIB_MAX: u64 = 256 << 10;

fn number(args: &[String], name: &str, default: u64) -> u64 {
    let at = args.iter().position(|a| a == name);
    at.and_then(|at| args.get(at + 1)).and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn rss_kib_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Between the seeds of two workers.
const STRIDE: u64 = 50_000_000;

/// Runs so many processes of this program side by side and adds up what they have done.
fn supervise(args: &[String], workers: u64) -> ExitCode {
    let (first, seconds) = (number(args, "--seed", 1), number(args, "--seconds", 10));
    let program = std::env::current_exe().expect("this program");
    let start = |n: u64| {
        let seed = first.wrapping_add(n * STRIDE).to_string();
        Command::new(&program)
            .args([
                args[0].as_str(),
                "--seconds",
                &seconds.to_string(),
                "--seed",
                &seed,
                "--count",
                &STRIDE.to_string(),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    let children: Vec<_> = (0..workers).map(start).collect();
    let (mut done, mut is_good) = (0, true);
    for child in children {
        let ended = child.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        let count = said.split(" count=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        match count {
            Some(count) if ended.status.success() => done += count,
            _ => {
                is_good = false;
                eprint!("{said}");
            }
        }
    }
    if !is_good {
        return ExitCode::FAILURE;
    }
    eprintln!("COUNT fuzz-{} seed={first} count={done} unit=executions", args[0]);
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let workers = number(&args, "--workers", 1);
    if workers > 1 && args.first().is_some_and(|name| TARGETS.iter().any(|(known, _)| known == name)) {
        return supervise(&args, workers);
    }
    let Some(mut target_of) = args.first().and_then(|name| target(name)) else {
        eprintln!("usage: mutate TARGET [--seconds S] [--seed N] [--count N] [--workers N]; targets: {TARGETS:?}");
        return ExitCode::FAILURE;
    };
    let (first, most) = (number(&args, "--seed", 1), number(&args, "--count", u64::MAX));
    let deadline = Instant::now() + Duration::from_secs(number(&args, "--seconds", 10));
    // One message for a failure, not one with a trace for each of millions of refusals.
    let mut done = 0u64;
    let mut longest = Duration::ZERO;
    while done < most && (done == 0 || Instant::now() < deadline) {
        // Those with threads are counted one by one.
        let batch = if matches!(args[0].as_str(), "operations" | "calls") { 1 } else { 256 };
        let seeds = first.wrapping_add(done)..first.wrapping_add(done).wrapping_add(batch.min(most - done));
        let mut took = Duration::MAX;
        // On a busy machine a process stands still for seconds now and then: what is slow is so each time.
        for _ in 0..TRIES {
            let began = Instant::now();
            for seed in seeds.clone() {
                if catch_unwind(AssertUnwindSafe(|| target_of.run(seed))).is_err() {
                    eprintln!("{}: the input of seed {seed} failed", args[0]);
                    return ExitCode::FAILURE;
                }
            }
            took = took.min(began.elapsed());
            if took <= SLOW * 5 {
                break;
            }
        }
        done += seeds.end - seeds.start;
        longest = longest.max(took);
        if took > SLOW * 5 {
            eprintln!("{}: {batch} inputs from seed {} took {took:?}", args[0], seeds.start);
            return ExitCode::FAILURE;
        }
    }
    let peak = rss_kib_peak();
    if peak > RSS_KIB_MAX {
        eprintln!("{}: the process grew to {peak} KiB", args[0]);
        return ExitCode::FAILURE;
    }
    eprintln!("{done} inputs, longest {longest:?}, {peak} KiB at most");
    eprintln!("COUNT fuzz-{} seed={first} count={done} unit=executions", args[0]);
    ExitCode::SUCCESS
}
