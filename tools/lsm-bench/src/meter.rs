//! The clocks: wall, processor time of the process and of a thread, ticks for single operations, and what the kernel
//! says about memory and written bytes.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A cheap running number; `tick_nanos` says how long one is.
#[inline]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 has it.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Nanoseconds of a tick, measured once.
pub fn tick_nanos() -> f64 {
    static NANOS: OnceLock<f64> = OnceLock::new();
    *NANOS.get_or_init(|| {
        let (start, first) = (Instant::now(), ticks());
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        start.elapsed().as_nanos() as f64 / (ticks() - first) as f64
    })
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(id, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processor time of all threads of the process.
pub fn process_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Processor time of this thread.
pub fn thread_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Bytes the process made dirty in files, mapped ones too.
pub fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

/// The most memory the process had since `reset_peak`, file mappings included.
pub fn peak_bytes() -> u64 {
    field("/proc/self/status", "VmHWM:") * 1024
}

/// Starts the peak anew.
pub fn reset_peak() {
    // Where the kernel does not allow it the peak is that of the whole process: larger, never smaller.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Latencies in ticks, in buckets of at most 1/64 of their value.
#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

const SUB_BITS: u32 = 6;

impl Histogram {
    /// An empty one.
    pub fn new() -> Histogram {
        Histogram { buckets: vec![0; (64 << SUB_BITS) as usize], count: 0, max: 0 }
    }

    /// Takes a latency.
    #[inline]
    pub fn add(&mut self, ticks: u64) {
        let shift = (63 - (ticks | 1).leading_zeros()).saturating_sub(SUB_BITS);
        self.buckets[((shift << SUB_BITS) as u64 + (ticks >> shift)) as usize] += 1;
        self.count += 1;
        self.max = self.max.max(ticks);
    }

    /// Takes all of another.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latency in nanoseconds that a share of all do not pass.
    pub fn quantile(&self, share: f64) -> f64 {
        let want = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= want && count > 0 {
                // The bucket's upper border.
                let shift = (index as u64 >> SUB_BITS).saturating_sub(1);
                let low = index as u64 - (shift << SUB_BITS);
                let high = ((low + 1) << shift) - 1;
                return high.min(self.max) as f64 * tick_nanos();
            }
        }
        self.max()
    }

    /// The longest, in nanoseconds.
    pub fn max(&self) -> f64 {
        self.max as f64 * tick_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_64th() {
        let mut histogram = Histogram::new();
        for latency in 1..=100_000u64 {
            histogram.add(latency);
        }
        for share in [0.001, 0.5, 0.99, 0.999] {
            let exact = share * 100_000.0;
            let got = histogram.quantile(share) / tick_nanos();
            assert!(got >= exact - 1.0 && got <= exact * 65.0 / 64.0 + 1.0, "{share}: {got} for {exact}");
        }
        assert_eq!((histogram.max() / tick_nanos()).round(), 100_000.0);
    }
}
