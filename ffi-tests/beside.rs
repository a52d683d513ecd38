//! Another Rust library, linked into one program with `liblsm.a`: its own std, allocations, threads and a caught panic.

use std::panic::catch_unwind;

/// The sum of the numbers below `n`, added up on a thread; -7 for 7, by way of a panic.
#[unsafe(no_mangle)]
pub extern "C" fn beside_sum(n: u64) -> i64 {
    std::panic::set_hook(Box::new(|_| {}));
    let sum = catch_unwind(|| {
        assert!(n != 7, "seven");
        std::thread::spawn(move || (0..n).collect::<Vec<u64>>().iter().sum::<u64>()).join().unwrap_or(0)
    });
    sum.map_or(-7, u64::cast_signed)
}
