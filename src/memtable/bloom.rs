//! A blocked bloom filter over key hashes: one 64-bit word per key, four bits in it. A key that is not in the memtable
//! costs one cache line, usually.
//!
//! Threads: any number at once. A key's bits are set before its node can be found.

use crate::base::arena;
use crate::base::sync::{AtomicU64, Ordering};

#[inline(always)]
fn place(words: &[AtomicU64], hash: u64) -> (&AtomicU64, u64) {
    // The number of words is a power of two; low bits choose the word, high ones the bits.
    let word = &words[hash as usize & (words.len() - 1)];
    let bits = 1u64 << (hash >> 58) | 1 << (hash >> 52 & 63) | 1 << (hash >> 46 & 63) | 1 << (hash >> 40 & 63);
    (word, bits)
}

/// Adds a key. Relaxed: whoever must see the key has synchronised with its insert, and so sees these bits as well; and
/// whoever saw the node saw the bits, which the node's publication released.
#[inline(always)]
pub fn add(words: &[AtomicU64], hash: u64) {
    let (word, bits) = place(words, hash);
    if word.load(Ordering::Relaxed) & bits != bits {
        word.fetch_or(bits, Ordering::Relaxed);
    }
}

/// Whether the key may be there. Relaxed: see `add`.
#[inline(always)]
pub fn may_hold(words: &[AtomicU64], hash: u64) -> bool {
    let (word, bits) = place(words, hash);
    word.load(Ordering::Relaxed) & bits == bits
}

/// Asks for the cache line of a key.
#[inline(always)]
pub fn prefetch(words: &[AtomicU64], hash: u64) {
    arena::prefetch(std::ptr::from_ref(place(words, hash).0).cast());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::key::key_hash;

    #[test]
    fn holds_what_was_added_and_little_else() {
        let words: Vec<AtomicU64> = (0..1024).map(|_| AtomicU64::new(0)).collect();
        let count = if cfg!(miri) { 300u64 } else { 5000 };
        for i in 0..count {
            add(&words, key_hash(&i.to_le_bytes()));
        }
        assert!((0..count).all(|i| may_hold(&words, key_hash(&i.to_le_bytes()))));
        let wrong = (count..2 * count).filter(|i| may_hold(&words, key_hash(&i.to_le_bytes()))).count();
        assert!(wrong < count as usize / 20, "{wrong} of {count}");
    }
}
