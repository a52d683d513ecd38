//! The filter: a bloom filter in lines of 512 bits, so that a test touches one cache line.
//!
//!     line      := ((hash >> 32) * lines) >> 32                      hash: xxh3-64 of the user key
//!     probes    := nine bits each, from the lowest up, of            bit b is bit b % 8 of byte b / 8 of the line
//!                  w0 = p ^ (p >> 32), p = hash * 0x9e3779b97f4a7c15 mod 2^64      (probes 0..7)
//!                  w1 = p ^ (p >> 32), p = rotate(hash, 32) * 0xd6e8feb86659fd93   (probes 7..14)
//!
//! Lines are unevenly filled: the keys of a line are Poisson distributed, and the fullest lines spoil the rate. So bits
//! and probes are chosen from that model, not from the classic formula: about 9.9 bits a key for 1 % and 17 for 0.1 %.
//!
//! A loaded partition is placed in its frame such that every line is one cache line of the processor: the frame is 64
//! bytes longer, and `lines_at` says where they begin.
//!
//! Threads: plain data.

use super::format::{FILTER_PARTITION_LINES, LINE_BYTES};
use super::simd;
use crate::base::sync::Mutex;

const LINE_BITS: f64 = 512.0;
/// Most probes of a filter: two words of seven.
pub(super) const PROBES_MAX: u32 = 14;
const BITS_PER_KEY_MIN: f64 = 1.0;
const BITS_PER_KEY_MAX: f64 = 64.0;

/// Share of absent keys that pass, with `bits_per_key` bits for each key and `probes` bits tested.
fn expected_rate(bits_per_key: f64, probes: u32) -> f64 {
    let mean = LINE_BITS / bits_per_key;
    let kept = (1.0 - 1.0 / LINE_BITS).powi(probes as i32);
    let most = (mean + 12.0 * mean.sqrt() + 20.0) as u32;
    let (mut share, mut zero, mut rate) = ((-mean).exp(), 1.0f64, 0.0f64);
    for keys in 0..most {
        rate += share * (1.0 - zero).powi(probes as i32);
        share *= mean / f64::from(keys + 1);
        zero *= kept;
    }
    rate
}

/// The fewest bits a key, and the probes, that reach `rate`. The answer for the last rate is kept: it takes a fifth of a
/// millisecond, which small tables notice. Tried, never waited for: in a forked child the lock may be held for ever.
pub(super) fn choose(rate: f64) -> (f64, u32) {
    static LAST: Mutex<Option<(f64, (f64, u32))>> = Mutex::new(None);
    let last = LAST.try_lock().and_then(|last| *last);
    if let Some((of, chosen)) = last
        && of.to_bits() == rate.to_bits()
    {
        return chosen;
    }
    let chosen = compute(rate);
    if let Some(mut last) = LAST.try_lock() {
        *last = Some((rate, chosen));
    }
    chosen
}

fn compute(rate: f64) -> (f64, u32) {
    let rate = rate.clamp(1e-6, 0.5);
    let mut best = (BITS_PER_KEY_MAX, PROBES_MAX);
    for probes in 1..=PROBES_MAX {
        if expected_rate(best.0, probes) > rate {
            continue;
        }
        let (mut low, mut high) = (BITS_PER_KEY_MIN, best.0);
        for _ in 0..16 {
            let middle = (low + high) / 2.0;
            if expected_rate(middle, probes) > rate { low = middle } else { high = middle }
        }
        if high < best.0 {
            best = (high, probes);
        }
    }
    best
}

#[inline(always)]
fn word(hash: u64, second: bool) -> u64 {
    let product = if second {
        hash.rotate_left(32).wrapping_mul(0xd6e8_feb8_6659_fd93)
    } else {
        hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    product ^ (product >> 32)
}

#[inline(always)]
fn for_probes(hash: u64, probes: u32, mut probe: impl FnMut(usize, u8)) {
    let mut bits = word(hash, false);
    for _ in 0..probes.min(7) {
        let bit = (bits & 511) as usize;
        probe(bit / 8, (bit % 8) as u8);
        bits >>= 9;
    }
    if probes > 7 {
        bits = word(hash, true);
        for _ in 7..probes {
            let bit = (bits & 511) as usize;
            probe(bit / 8, (bit % 8) as u8);
            bits >>= 9;
        }
    }
}

#[inline(always)]
fn line_of(hash: u64, lines: u32) -> u32 {
    (((hash >> 32) * u64::from(lines)) >> 32) as u32
}

/// Where the lines begin in the frame of a partition: at its first whole cache line.
#[inline(always)]
pub(super) fn lines_at(frame: &[u8]) -> usize {
    frame.as_ptr().addr().wrapping_neg() & (LINE_BYTES - 1)
}

/// The shape of a table's filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    /// 64-byte lines in all partitions.
    pub lines: u32,
    /// Bits tested.
    pub probes: u32,
}

impl Filter {
    /// A filter for `keys` keys.
    pub(super) fn for_keys(keys: usize, bits_per_key: f64, probes: u32) -> Filter {
        let lines = (keys as f64 * bits_per_key / LINE_BITS).ceil();
        Filter { lines: (lines as u32).max(1), probes }
    }

    /// Partitions.
    pub(super) fn partitions(self) -> u32 {
        self.lines.div_ceil(FILTER_PARTITION_LINES)
    }

    /// Bytes of the lines of partition `p`.
    pub(super) fn partition_bytes(self, p: u32) -> usize {
        let first = p * FILTER_PARTITION_LINES;
        (self.lines - first).min(FILTER_PARTITION_LINES) as usize * LINE_BYTES
    }

    /// All lines with the bits of `hashes` set.
    pub(super) fn build<'h>(self, hashes: impl IntoIterator<Item = &'h u64>) -> Vec<u8> {
        let mut lines = vec![[0u8; LINE_BYTES]; self.lines as usize];
        for hash in hashes {
            let line = &mut lines[line_of(*hash, self.lines) as usize];
            for_probes(*hash, self.probes, |byte, bit| line[byte] |= 1 << bit);
        }
        lines.into_flattened()
    }

    /// The partition that knows about `hash`.
    #[inline(always)]
    pub(super) fn partition_of(self, hash: u64) -> u32 {
        line_of(hash, self.lines) / FILTER_PARTITION_LINES
    }

    /// Whether the key of `hash` may be in the table; `frame` is that of its partition.
    #[inline(always)]
    pub(super) fn may_contain(self, frame: &[u8], hash: u64) -> bool {
        let at = lines_at(frame) + (line_of(hash, self.lines) % FILTER_PARTITION_LINES) as usize * LINE_BYTES;
        let Some(line) = frame.get(at..).and_then(|rest| rest.first_chunk::<LINE_BYTES>()) else { return true };
        let mut hit = 1u8;
        for_probes(hash, self.probes, |byte, bit| hit &= line[byte] >> bit);
        hit & 1 == 1 && !(hash & 63 == 0 && crate::base::planted!("filter-forgets-a-key"))
    }

    /// Prefetches the line of `hash`.
    #[inline(always)]
    pub(super) fn prefetch(self, frame: &[u8], hash: u64) {
        let line = (line_of(hash, self.lines) % FILTER_PARTITION_LINES) as usize;
        simd::prefetch(frame, lines_at(frame) + line * LINE_BYTES);
    }
}

/// The hashes of a table's keys, in pieces: one vector that doubles would copy millions of them and, in a worker's heap,
/// take three times their bytes.
#[derive(Default)]
pub(super) struct Hashes {
    pieces: Vec<Vec<u64>>,
    len: usize,
}

impl Hashes {
    /// Hashes in a piece.
    const PIECE: usize = 8192;

    /// Adds one.
    #[inline]
    pub(super) fn push(&mut self, hash: u64) {
        if self.len.is_multiple_of(Self::PIECE) {
            self.pieces.push(Vec::with_capacity(Self::PIECE));
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(hash);
        }
        self.len += 1;
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &u64> {
        self.pieces.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::key::key_hash;

    #[test]
    fn measured_rates_are_those_asked_for() {
        let keys = if cfg!(miri) { 1000 } else { 1_000_000u64 };
        let hashes: Vec<u64> = (0..keys).map(|i| key_hash(&i.to_be_bytes())).collect();
        for rate in [0.1, 0.01, 0.001] {
            let (bits, probes) = choose(rate);
            let filter = Filter::for_keys(hashes.len(), bits, probes);
            let lines = filter.build(&hashes);
            let mut frame = vec![0u8; lines.len() + LINE_BYTES];
            let may = |frame: &mut Vec<u8>, loaded: &mut u32, hash: u64| {
                let p = filter.partition_of(hash);
                if *loaded != p {
                    let at = lines_at(frame);
                    let start = (p * FILTER_PARTITION_LINES) as usize * LINE_BYTES;
                    let bytes = filter.partition_bytes(p);
                    frame[at..at + bytes].copy_from_slice(&lines[start..start + bytes]);
                    *loaded = p;
                }
                filter.may_contain(frame, hash)
            };
            let mut loaded = u32::MAX;
            let mut sorted = hashes.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().all(|h| may(&mut frame, &mut loaded, *h)), "a key is missing");
            let mut others: Vec<u64> = (keys..2 * keys).map(|i| key_hash(&i.to_be_bytes())).collect();
            others.sort_unstable();
            let passed = others.iter().filter(|h| may(&mut frame, &mut loaded, **h)).count();
            let measured = passed as f64 / others.len() as f64;
            if !cfg!(miri) {
                assert!((measured - rate).abs() < 0.002, "{rate}: {measured} with {bits} bits, {probes} probes");
                assert!((measured / rate - 1.0).abs() < 0.15, "{rate}: {measured} with {bits} bits, {probes} probes");
            }
        }
    }
}
