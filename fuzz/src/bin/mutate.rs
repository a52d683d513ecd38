//! `cargo run --release --bin mutate -- TARGET [--seconds S] [--seed N] [--count N]`: many mutated inputs, counted.
//!
//! A failure prints the seed of its input; `--seed N --count 1` runs that one again.

use lsm_fuzz::mutate::{TARGETS, target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// An input may not take longer.
const SLOW: Duration = Duration::from_secs(1);
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

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(mut target_of) = args.first().and_then(|name| target(name)) else {
        eprintln!("usage: mutate TARGET [--seconds S] [--seed N] [--count N]; targets: {TARGETS:?}");
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
        let began = Instant::now();
        for _ in 0..batch.min(most - done) {
            let seed = first.wrapping_add(done);
            if catch_unwind(AssertUnwindSafe(|| target_of.run(seed))).is_err() {
                eprintln!("{}: the input of seed {seed} failed", args[0]);
                return ExitCode::FAILURE;
            }
            done += 1;
        }
        let took = began.elapsed();
        longest = longest.max(took);
        if took > SLOW * 5 {
            eprintln!("{}: {batch} inputs from seed {} took {took:?}", args[0], first + done - batch);
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
