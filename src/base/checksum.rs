//! CRC-32 (IEEE) over a structure's bytes and the identity of its place.
//!
//! The identity (database, file number, offset) is hashed but not stored: a block that was copied to another offset or
//! file fails its check.

use super::ids::FileIdentity;
use crc32fast::Hasher;

/// A running checksum.
#[derive(Clone, Default)]
pub struct Checksum(Hasher);

impl Checksum {
    /// An empty checksum.
    #[inline]
    pub fn new() -> Checksum {
        Checksum(Hasher::new())
    }

    /// A checksum that goes on from the finished value `crc` over earlier bytes.
    #[inline]
    pub fn resume(crc: u32) -> Checksum {
        Checksum(Hasher::new_with_initial(crc))
    }

    /// Adds `bytes`.
    #[inline]
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Checksum {
        self.0.update(bytes);
        self
    }

    /// Adds where the bytes live: database, file number and offset.
    #[inline]
    #[must_use]
    pub fn place(self, file: FileIdentity, offset: u64) -> Checksum {
        let offset = if crate::base::planted!("checksum-without-offset") { 0 } else { offset };
        let mut place = [0u8; 32];
        place[..16].copy_from_slice(&file.database.to_le_bytes());
        place[16..24].copy_from_slice(&file.number.0.to_le_bytes());
        place[24..].copy_from_slice(&offset.to_le_bytes());
        self.bytes(&place)
    }

    /// The checksum of all that was added.
    #[inline]
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

/// The checksum of `bytes` at `offset` of `file`.
#[inline]
pub fn checksum_at(file: FileIdentity, offset: u64, bytes: &[u8]) -> u32 {
    Checksum::new().bytes(bytes).place(file, offset).finish()
}

/// The word `x` for which `f(x) == want`, where `f` is a checksum over bytes of which four are `x`: such an `f` is linear in
/// `x` (over bits, up to a constant) and takes every value once. For repairs: the part of a place that got lost.
pub fn solve(want: u32, f: impl Fn(u32) -> u32) -> Option<u32> {
    let constant = f(0);
    // Reduced vectors by their highest bit, each with the bits of `x` that make it.
    let mut basis = [(0u32, 0u32); 32];
    let reduce = |basis: &[(u32, u32); 32], mut vector: u32, mut made_of: u32| {
        for &(reduced, bits) in basis.iter().rev() {
            if reduced != 0 && vector & (1 << reduced.ilog2()) != 0 {
                vector ^= reduced;
                made_of ^= bits;
            }
        }
        (vector, made_of)
    };
    for bit in 0..32 {
        let (vector, made_of) = reduce(&basis, f(1 << bit) ^ constant, 1 << bit);
        if vector != 0 {
            basis[vector.ilog2() as usize] = (vector, made_of);
        }
    }
    let (rest, x) = reduce(&basis, want ^ constant, 0);
    (rest == 0).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::FileNumber;

    #[test]
    fn a_lost_word_of_a_place_is_found() {
        let identity = |database| FileIdentity { database, number: FileNumber(9) };
        for database in [1, 77, 0x0123_4567_89ab_cdef_0011_2233_4455_6677, u128::MAX] {
            let want = checksum_at(identity(database), 4711, b"some bytes");
            let word = solve(want, |x| checksum_at(identity(u128::from(x)), 4711, b"some bytes")).expect("one to one");
            // One word stands for all sixteen bytes, at every place and for all bytes.
            for (at, bytes) in [(0, &b"other"[..]), (99, b""), (1 << 40, b"more")] {
                let stand_in = checksum_at(identity(u128::from(word)), at, bytes);
                assert_eq!(stand_in, checksum_at(identity(database), at, bytes));
            }
        }
    }
}
