//! Bytes of a table file, shared by writer and reader; `docs/format/table.md` tells the same to a stranger.
//!
//!     file      := data block*  index partition*  filter partition*  properties  top index  footer
//!     block     := payload  trailer            every block follows the last byte of the one before: no gaps, no padding
//!     trailer   := codec: u8                   0 raw | 1 LZ4 block | 2 zstd         DO NOT RENUMBER: on disk
//!                  kind: u8                    1 data | 2 index | 3 filter | 4 properties | 5 top index
//!                  len: u32                    bytes of the payload before compression
//!                  crc: u32                    crc-32 of stored payload, codec, kind, len, place
//!     place     := database: u128, file number: u64, offset of the block in the file: u64     (hashed, not stored)
//!     footer    := magic: u64                  "lsmtable"
//!                  version: u32                1
//!                  flags: u32                  0
//!                  number: u64                 the file's number
//!                  properties at: u64, bytes: u32 (trailer included)
//!                  top index at: u64, bytes: u32 (trailer included)
//!                  zeros: [u8; 12]
//!                  crc: u32                    crc-32 of the 60 bytes before, place
//!
//! Blocks are numbered: data blocks 0..n, index partitions n..n+p, filter partitions n+p..n+p+q.
//!
//! Data block (all integers little-endian, columns unaligned; `block.rs` reads it, `block_build.rs` writes it)
//!
//!     header    := count: u32                  entries, at least 1
//!                  shared_len: u32             bytes that all keys of the block begin with
//!                  suffix_len: u32             length of every key behind the shared bytes; 0 if they differ
//!                  widths: u8                  bits 0-1 offsets: 1 u16, 2 u32;  bits 2-3 lengths: 0 none, 1 u8, 2 u16,
//!                                              3 u32;  bits 4-6 sequences: 0 none, 1 u8, 2 u16, 3 u32, 4 u64;  bit 7: 0
//!                  flags: u8                   1 last key goes on in the next block | 2 first key began in the block
//!                                              before | 4 some key has two versions in this block
//!                  kind: u8                    kind of every entry; 0 if they differ
//!                  zero: u8
//!                  base_seq: u64               smallest sequence number
//!     shared    := [u8; shared_len]
//!     prints    := [u8; count]                 low byte of xxh3-64 of each key, zeros up to a multiple of 16
//!     prefixes  := [u64; count]                the 8 key bytes behind the shared ones as a big-endian number, zero-padded
//!     offsets   := [u16|u32; count + 1]        where each entry lies in the heap; the last is the heap's length
//!     lengths   := [u8|u16|u32; count]         key length behind the shared bytes
//!     sequences := [u8|u16|u32|u64; count]     added to base_seq
//!     kinds     := [u8; count]                 only if header.kind is 0
//!     heap      := (key bytes behind the first shared_len + 8, value)*
//!
//! Index partition
//!
//!     header    := count: u32 (at least 1)  first_block: u32  data_at: u64 (offset of its first block)
//!                  flags: u8 (1: ends are u64 | 2: separator offsets are u32)  zeros: [u8; 3]  common_len: u32
//!     common    := [u8; common_len]            what all separators begin with
//!     fences    := [u64; count]                first 8 bytes of each separator behind `common`, big-endian value
//!     ends      := [u32|u64; count]            where each block ends, trailer included, counted from data_at
//!     offsets   := [u16|u32; count + 1]        where each separator lies below
//!     separators:= bytes behind `common`; last key of the block <= separator < first key of the next block, but when a
//!                  key goes on in the next block, the separator is that key
//!
//! Filter partition: 64-byte lines, 512 a partition, the last may have fewer; never compressed. See `filter.rs`.
//!
//! Top index
//!
//!     header    := partitions: u32 (at least 1)  blocks: u32  index_at: u64 (end of the data blocks)
//!                  filter_lines: u32 (0: no filter)  filter_probes: u8  zeros: [u8; 3]  common_len: u32
//!     common    := [u8; common_len]
//!     fences    := [u64; partitions]           of the last separator of each partition
//!     data_at   := [u64; partitions]           offset of the first block of each
//!     firsts    := [u32; partitions]           number of the first block of each
//!     sizes     := [u32; partitions]           bytes of each partition, trailer included
//!     offsets   := [u32; partitions + 1]
//!     separators:= bytes behind `common`
//!
//! Invariants
//! - I1  Every byte of a file is covered by exactly one crc, and all are bound to database, file number and offset.
//! - I2  Unknown versions, flags, codecs, kinds and non-zero reserved bytes are refused.
//!
//! Threads: plain functions. Failure: `Corruption`, or `Version` for a format this build does not know.

use crate::base::checksum::Checksum;
use crate::base::codec::Reader;
use crate::base::compress::Compression;
use crate::base::ids::{FileIdentity, FileNumber};
use crate::base::key::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::error::{Code, Error, Result};

/// First word of the footer.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"lsmtable");
/// The format this build writes and reads.
pub(super) const VERSION: u32 = 1;
/// Bytes of the footer.
pub(super) const FOOTER_LEN: usize = 64;
/// Bytes behind every payload.
pub(super) const TRAILER_LEN: usize = 10;
/// Bytes of a data block's header.
pub(super) const BLOCK_HEADER_LEN: usize = 24;
/// Bytes of an index partition's header.
pub(super) const INDEX_HEADER_LEN: usize = 24;
/// Bytes of the top index's header.
pub(super) const TOP_HEADER_LEN: usize = 28;
/// No payload is larger: one entry of the largest size and its columns.
pub(super) const PAYLOAD_MAX: usize = VALUE_LEN_MAX + KEY_LEN_MAX + (1 << 20);
/// A stored block is never smaller, compressed or not.
pub(super) const STORED_BLOCK_MIN: usize = TRAILER_LEN + 1;
/// Lines of a full filter partition (32 KiB).
pub(super) const FILTER_PARTITION_LINES: u32 = 512;
/// Bytes of a filter line: one cache line.
pub(super) const LINE_BYTES: usize = 64;

/// The last key of the block has more versions in the next block.
pub(super) const FLAG_CONTINUES: u8 = 1;
/// The first key of the block has newer versions in the block before.
pub(super) const FLAG_CONTINUED: u8 = 2;
/// Some key has at least two versions in the block.
pub(super) const FLAG_VERSIONS: u8 = 4;

const _: () = assert!(PAYLOAD_MAX < u32::MAX as usize && BLOCK_HEADER_LEN == 24 && INDEX_HEADER_LEN == 24);

/// What a block holds. DO NOT RENUMBER: on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum BlockKind {
    Data = 1,
    Index = 2,
    Filter = 3,
    Properties = 4,
    Top = 5,
}

/// The trailer of a block whose stored payload is `stored` and lies at `offset`.
pub(super) fn trailer(
    file: FileIdentity,
    offset: u64,
    kind: BlockKind,
    codec: Compression,
    stored: &[u8],
    payload_len: usize,
) -> [u8; TRAILER_LEN] {
    debug_assert!(payload_len <= PAYLOAD_MAX);
    let mut trailer = [0u8; TRAILER_LEN];
    trailer[0] = codec as u8;
    trailer[1] = kind as u8;
    trailer[2..6].copy_from_slice(&(payload_len as u32).to_le_bytes());
    let crc = Checksum::new().bytes(stored).bytes(&trailer[..6]).place(file, offset).finish();
    trailer[6..].copy_from_slice(&crc.to_le_bytes());
    trailer
}

/// What a checked trailer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// How the payload is stored.
    pub codec: Compression,
    /// Bytes of the stored payload.
    pub stored_len: usize,
    /// Bytes of the payload once decoded.
    pub payload_len: usize,
}

/// Checks a whole block (payload and trailer) that was read from `offset`.
pub(super) fn check_block(file: FileIdentity, offset: u64, kind: BlockKind, block: &[u8]) -> Result<Stored> {
    if block.len() < STORED_BLOCK_MIN {
        return Err(Error::corruption(format!("a block of {} bytes", block.len())));
    }
    let stored_len = block.len() - TRAILER_LEN;
    let covered = block.len() - 4;
    let want = read_u32(block, covered);
    let got = Checksum::new().bytes(&block[..covered]).place(file, offset).finish();
    if want != got && !crate::base::planted!("block-checksum-unchecked") {
        return Err(Error::corruption(format!("checksum {got:08x}, expected {want:08x}, over {stored_len} bytes")));
    }
    if block[stored_len + 1] != kind as u8 {
        return Err(Error::corruption(format!("block kind {}, expected {}", block[stored_len + 1], kind as u8)));
    }
    let byte = block[stored_len];
    let codec =
        Compression::from_byte(byte).ok_or_else(|| Error::new(Code::Version, format!("unknown compression {byte}")))?;
    if !codec.is_available() {
        return Err(Error::new(Code::Unsupported, format!("compression {byte} is not part of this build")));
    }
    let payload_len = read_u32(block, stored_len + 2) as usize;
    let fits = match codec {
        Compression::None => payload_len == stored_len,
        // An LZ4 byte stands for at most 255 bytes.
        Compression::Lz4 => payload_len <= PAYLOAD_MAX && payload_len / 256 <= stored_len,
        Compression::Zstd => payload_len <= PAYLOAD_MAX,
    };
    if !fits || payload_len > PAYLOAD_MAX {
        return Err(Error::corruption(format!("{stored_len} stored bytes claim to hold {payload_len}")));
    }
    Ok(Stored { codec, stored_len, payload_len })
}

/// Where a block lies, trailer included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Handle {
    /// First byte.
    pub offset: u64,
    /// Bytes with the trailer.
    pub len: u32,
}

impl Handle {
    /// The byte behind the block.
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }
}

/// The last bytes of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Footer {
    /// The properties block.
    pub properties: Handle,
    /// The top index.
    pub top: Handle,
}

impl Footer {
    /// The bytes of the footer, to be written at `offset`.
    pub(super) fn encode(&self, file: FileIdentity, offset: u64) -> [u8; FOOTER_LEN] {
        let mut bytes = [0u8; FOOTER_LEN];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&file.number.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.properties.offset.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.properties.len.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.top.offset.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.top.len.to_le_bytes());
        let crc = Checksum::new().bytes(&bytes[..60]).place(file, offset).finish();
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Checks the footer that was read from `offset`.
    pub(super) fn decode(file: FileIdentity, offset: u64, bytes: &[u8; FOOTER_LEN]) -> Result<Footer> {
        let mut r = Reader::new(bytes, "table footer");
        let (magic, version, flags) = (r.u64()?, r.u32()?, r.u32()?);
        if magic != MAGIC {
            return Err(Error::corruption(format!("not a table: magic {magic:016x}, expected {MAGIC:016x}")));
        }
        let number = FileNumber(r.u64()?);
        let properties = Handle { offset: r.u64()?, len: r.u32()? };
        let top = Handle { offset: r.u64()?, len: r.u32()? };
        let zeros = r.take(12)?;
        let want = r.u32()?;
        let got = Checksum::new().bytes(&bytes[..60]).place(file, offset).finish();
        if want != got {
            return Err(Error::corruption(format!(
                "footer checksum {got:08x}, expected {want:08x} (the file says it is number {number}, expected {})",
                file.number
            )));
        }
        if version != VERSION || flags != 0 || zeros.iter().any(|b| *b != 0) {
            return Err(Error::new(Code::Version, format!("table format {version}, flags {flags:x}")));
        }
        if number != file.number {
            return Err(Error::corruption(format!("file number {number}, expected {}", file.number)));
        }
        if properties.end() != top.offset || top.end() != offset {
            return Err(Error::corruption("properties, top index and footer do not follow each other"));
        }
        Ok(Footer { properties, top })
    }
}

/// The `u16` at `at`.
#[inline(always)]
pub(super) fn read_u16(bytes: &[u8], at: usize) -> u16 {
    // Never `None`: the slice has 2 bytes. A `copy_from_slice` here became a call of memcpy, for 2 bytes.
    u16::from_le_bytes(*bytes[at..at + 2].first_chunk().unwrap_or(&[0; 2]))
}

/// The `u32` at `at`.
#[inline(always)]
pub(super) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    // Never `None`: the slice has 4 bytes. A `copy_from_slice` here became a call of memcpy, for 4 bytes.
    u32::from_le_bytes(*bytes[at..at + 4].first_chunk().unwrap_or(&[0; 4]))
}

/// The `u64` at `at`.
#[inline(always)]
pub(super) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    // Never `None`: the slice has 8 bytes. A `copy_from_slice` here became a call of memcpy, for 8 bytes.
    u64::from_le_bytes(*bytes[at..at + 8].first_chunk().unwrap_or(&[0; 8]))
}

/// First index in `words` (little-endian) whose value is not below `wanted`; one load and no branch a step.
#[inline(always)]
pub(super) fn lower_bound_le(words: &[[u8; 8]], wanted: u64) -> usize {
    let mut base = 0usize;
    let mut len = words.len();
    while len > 1 {
        let half = len / 2;
        let below = u64::from_le_bytes(words[base + half - 1]) < wanted;
        base = std::hint::select_unpredictable(below, base + half, base);
        len -= half;
    }
    base + usize::from(len == 1 && u64::from_le_bytes(words[base]) < wanted)
}

/// The same for the fences of an index, which are many and lie in no near cache: a guess as if the words were evenly
/// spread, which one window of sixteen confirms for keys that are; else three loads a step that do not wait for each other.
#[inline(always)]
pub(super) fn lower_bound_wide(words: &[[u8; 8]], wanted: u64) -> usize {
    let word = |i: usize| u64::from_le_bytes(words[i]);
    let (mut base, mut len) = (0, words.len());
    if len > 2 * WINDOW {
        let (first, last) = (word(0), word(len - 1));
        if wanted <= first {
            return 0;
        }
        if wanted > last {
            return len;
        }
        // first < wanted <= last: the quotient lies within 0 and 1, and the guess below `len`.
        let guess = ((wanted - first) as f64 / (last - first) as f64 * (len - 1) as f64) as usize;
        let low = guess.saturating_sub(WINDOW / 2);
        let high = (low + WINDOW).min(len - 1);
        (base, len) = if wanted <= word(low) {
            (0, low)
        } else if word(high) < wanted {
            (high + 1, len - 1 - high)
        } else {
            (low + 1, high - low)
        };
    }
    while len > WINDOW {
        let quarter = len / 4;
        let below = |i: usize| usize::from(word(base + i - 1) < wanted);
        base += (below(quarter) + below(2 * quarter) + below(3 * quarter)) * quarter;
        // What is undecided now is at most this, wherever the word fell, and ends at or before the old end.
        len -= 3 * quarter;
    }
    base + words[base..base + len].iter().map(|w| usize::from(u64::from_le_bytes(*w) < wanted)).sum::<usize>()
}

/// Words that are compared one and all instead of being searched.
const WINDOW: usize = 16;

/// Whether `a` and `b` are equal: inlined for the short pieces of keys, where calling memcmp costs more than comparing.
#[inline(always)]
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.len() > 16 {
        return a == b;
    }
    if let (Some(x), Some(y)) = (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        return x == y && a.last_chunk::<8>() == b.last_chunk::<8>();
    }
    if let (Some(x), Some(y)) = (a.first_chunk::<4>(), b.first_chunk::<4>()) {
        return x == y && a.last_chunk::<4>() == b.last_chunk::<4>();
    }
    if let (Some(x), Some(y)) = (a.first_chunk::<2>(), b.first_chunk::<2>()) {
        return x == y && a.last() == b.last();
    }
    a.first() == b.first()
}

/// What of `key` lies behind `common`, if it begins with that.
#[inline(always)]
pub(super) fn strip<'a>(key: &'a [u8], common: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = key.split_at_checked(common.len())?;
    equal(head, common).then_some(rest)
}

/// A zeroed box of `len` bytes, or `NoMem`.
pub(super) fn try_box(len: usize) -> Result<Box<[u8]>> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| Error::new(Code::NoMem, format!("no memory for a block of {len} bytes")))?;
    bytes.resize(len, 0);
    Ok(bytes.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_searches_agree_with_a_plain_one() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 31
        };
        for round in 0..if cfg!(miri) { 20 } else { 2000 } {
            let count = random() as usize % 400;
            // Evenly spread, crowded, few and far between, with ties; the ends of the range too.
            let shift = [0, 40, 58, 1][round % 4];
            let mut words: Vec<u64> =
                (0..count).map(|_| (random() >> shift) & if round % 8 > 3 { !0xff } else { !0 }).collect();
            words.extend([0, u64::MAX].iter().take(round % 3));
            words.sort_unstable();
            let column: Vec<[u8; 8]> = words.iter().map(|w| w.to_le_bytes()).collect();
            let probes = words.iter().flat_map(|w| [*w, w.wrapping_add(1), w.wrapping_sub(1)]);
            for wanted in probes.chain([0, u64::MAX, random(), random() >> 30]) {
                let plain = words.partition_point(|w| *w < wanted);
                assert_eq!(lower_bound_wide(&column, wanted), plain, "round {round}, {wanted:x}");
                assert_eq!(lower_bound_le(&column, wanted), plain, "round {round}, {wanted:x}");
            }
        }
    }

    #[test]
    fn equal_is_equality() {
        let bytes: Vec<u8> = (0..40).collect();
        for len in 0..40 {
            assert!(equal(&bytes[..len], &bytes[..len]) && !equal(&bytes[..len], &bytes[..len + 1]));
            for at in 0..len {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert!(!equal(&bytes[..len], &other[..len]), "{len} {at}");
            }
            assert_eq!(strip(&bytes, &bytes[..len]), Some(&bytes[len..]));
        }
        assert_eq!(strip(b"ab", b"abc"), None);
    }
}
