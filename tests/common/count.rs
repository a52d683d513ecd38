//! What a check has done, in a line that `cargo xtask soak` reads.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::print_stderr, reason = "the line is for whoever reads the test's output")]

/// Says that `count` of `unit` were checked from `seed` on without a violation.
pub fn counted(check: &str, seed: u64, count: u64, unit: &str) {
    eprintln!("COUNT {check} seed={seed} count={count} unit={unit}");
}
