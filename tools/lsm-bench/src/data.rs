//! Keys and values: the same for every engine, made from an id, and checked against it when read.
//!
//! - Key, 16 bytes: the id in decimal, padded with zeros (`decimal`), or big-endian in 8 bytes and then `00000000`
//!   (`binary`, as RocksDB's db_bench). Both sort as their ids. Stored keys have even ids; a missing key has an odd one.
//! - Value: the id in 8 bytes, then incompressible bytes up to half of the value, then a repeated text.

use crate::engine::fail;

/// Bytes of a key.
pub const KEY_LEN: usize = 16;
/// Bytes of incompressible material.
const POOL_LEN: usize = 1 << 20;

/// A small generator (xorshift64*), seeded and reproducible.
pub struct Rng(u64);

impl Rng {
    /// From a seed, any number.
    pub fn new(seed: u64) -> Rng {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            rng.next();
        }
        rng
    }

    /// The next 64 bits.
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Places in `0..count` by a zipfian law (exponent 0.99, as YCSB's): rank 0 is the most frequent. After Gray and others,
/// "Quickly generating billion-record synthetic databases" (1994).
pub struct Zipf {
    count: u64,
    alpha: f64,
    zeta: f64,
    eta: f64,
    second: f64,
}

impl Zipf {
    /// Over `count` places. Takes a moment: it adds as many terms.
    pub fn new(count: u64) -> Zipf {
        const THETA: f64 = 0.99;
        let zeta = |terms: u64| (1..=terms).map(|term| (term as f64).powf(-THETA)).sum::<f64>();
        let (all, two) = (zeta(count), zeta(2.min(count)));
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - two / all);
        Zipf { count, alpha: 1.0 / (1.0 - THETA), zeta: all, eta, second: 0.5f64.powf(THETA) }
    }

    /// A rank.
    #[inline]
    pub fn rank(&self, rng: &mut Rng) -> u64 {
        let share = (rng.next() >> 11) as f64 / (1u64 << 53) as f64;
        let scaled = share * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + self.second {
            return 1.min(self.count - 1);
        }
        let rank = self.count as f64 * (self.eta * share - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count - 1)
    }

    /// A place: ranks are scattered over all places, so that frequent keys are no neighbours.
    #[inline]
    pub fn place(&self, rng: &mut Rng) -> u64 {
        let scattered = (self.rank(rng) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((u128::from(scattered ^ (scattered >> 32)) * u128::from(self.count)) >> 64) as u64
    }
}

/// How keys look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyShape {
    /// Decimal digits.
    Decimal,
    /// Big-endian bytes.
    Binary,
}

/// The makers of keys and values.
pub struct Data {
    /// How many keys are stored.
    pub count: u64,
    /// Bytes of a value.
    pub value_len: usize,
    shape: KeyShape,
    pool: Vec<u8>,
}

impl Data {
    /// For `count` keys.
    pub fn new(count: u64, value_len: usize, shape: KeyShape) -> Data {
        if value_len < 16 {
            fail("values are at least 16 bytes long");
        }
        let mut rng = Rng::new(77);
        let pool = (0..POOL_LEN + value_len).map(|_| rng.next() as u8).collect();
        Data { count, value_len, shape, pool }
    }

    /// The id of the `index`th stored key.
    #[inline]
    pub fn id(index: u64) -> u64 {
        index * 2
    }

    /// The key of an id.
    #[inline]
    pub fn key(&self, id: u64) -> [u8; KEY_LEN] {
        let mut key = [b'0'; KEY_LEN];
        match self.shape {
            KeyShape::Binary => key[..8].copy_from_slice(&id.to_be_bytes()),
            KeyShape::Decimal => {
                let mut rest = id;
                for byte in key.iter_mut().rev() {
                    if rest == 0 {
                        break;
                    }
                    *byte = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
            }
        }
        key
    }

    /// Writes the value of an id, `salt` making one version of it differ from another, into `value`.
    #[inline]
    pub fn value(&self, id: u64, salt: u64, value: &mut [u8]) {
        const TEXT: &[u8; 16] = b"compressible....";
        let half = self.value_len / 2;
        let at = (id ^ salt.wrapping_mul(0x9E37_79B9)).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 44;
        value[..8].copy_from_slice(&id.to_le_bytes());
        value[8..half].copy_from_slice(&self.pool[at as usize..][..half - 8]);
        for part in value[half..].chunks_mut(TEXT.len()) {
            part.copy_from_slice(&TEXT[..part.len()]);
        }
    }

    /// A buffer for a value.
    pub fn value_buffer(&self) -> Vec<u8> {
        vec![0; self.value_len]
    }

    /// Ends the process unless `value` has the length and the id it must have.
    #[inline]
    pub fn check(&self, id: u64, value: &[u8]) {
        if value.len() != self.value_len || id_of(value) != id {
            fail(&format!("a wrong value was read for id {id}"));
        }
    }
}

/// The id in a value.
#[inline]
pub fn id_of(value: &[u8]) -> u64 {
    match value.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => fail("a value that is too short was read"),
    }
}

/// What a whole scan must add up to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ScanSum {
    /// Entries.
    pub count: u64,
    /// The ids in the values, added.
    pub ids: u64,
    /// The last 8 bytes of the keys and the first 8 of them, added.
    pub keys: u64,
    /// The lengths of the values, added.
    pub bytes: u64,
}

impl ScanSum {
    /// Takes an entry.
    #[inline]
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let (Some(front), Some(back)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) else {
            fail("a key that is too short was read");
        };
        self.count += 1;
        self.ids = self.ids.wrapping_add(id_of(value));
        self.keys = self.keys.wrapping_add(u64::from_le_bytes(*front)).wrapping_add(u64::from_le_bytes(*back));
        self.bytes += value.len() as u64;
    }

    /// Of all stored keys.
    pub fn of_all(data: &Data) -> ScanSum {
        let mut sum = ScanSum::default();
        let mut value = data.value_buffer();
        for index in 0..data.count {
            let id = Data::id(index);
            data.value(id, 0, &mut value);
            sum.add(&data.key(id), &value);
        }
        sum
    }
}

/// The indexes below `count` in random order.
pub fn shuffled(count: u64, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    let mut rng = Rng::new(seed);
    for at in (1..order.len()).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    order
}

/// The part of `order` that thread `thread` of `threads` works on.
pub fn share(order: &[u32], threads: usize, thread: usize) -> &[u32] {
    &order[order.len() * thread / threads..order.len() * (thread + 1) / threads]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_prefers_the_first_and_reaches_the_last() {
        let zipf = Zipf::new(1000);
        let mut rng = Rng::new(5);
        let mut seen = vec![0u32; 1000];
        for _ in 0..200_000 {
            seen[zipf.rank(&mut rng) as usize] += 1;
        }
        // The shares of a zipfian law of exponent 0.99 over 1000 places: 12.9 %, 6.5 %, ...
        let share = |rank: usize| f64::from(seen[rank]) / 200_000.0;
        assert!((share(0) - 0.129).abs() < 0.01, "{}", share(0));
        assert!((share(1) - 0.065).abs() < 0.01, "{}", share(1));
        assert!(seen[500..].iter().sum::<u32>() > 10_000);
        assert!((0..10_000).all(|_| zipf.place(&mut rng) < 1000));
        assert_eq!(Zipf::new(1).rank(&mut rng), 0);
    }

    #[test]
    fn keys_sort_as_their_ids() {
        for shape in [KeyShape::Decimal, KeyShape::Binary] {
            let data = Data::new(10, 16, shape);
            assert!((0..100_000).step_by(997).all(|id| data.key(id) < data.key(id + 1)));
        }
    }
}
