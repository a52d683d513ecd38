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
