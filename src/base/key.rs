//! Keys and entries: kinds, limits, prefixes, hashes. User keys order by their bytes.

use super::ids::SeqNo;

/// Longest key in bytes.
pub const KEY_LEN_MAX: usize = 65_536;
/// Longest value in bytes (1 GiB).
pub const VALUE_LEN_MAX: usize = 1 << 30;
/// Largest encoded batch in bytes (2 GiB).
pub const BATCH_BYTES_MAX: usize = 2 << 30;
/// Most keyspaces that may exist at once.
pub const KEYSPACE_COUNT_MAX: usize = 4096;
/// Longest keyspace name in bytes.
pub const KEYSPACE_NAME_MAX: usize = 255;

/// What an entry says about its key. DO NOT RENUMBER: on disk. Kinds above 2 are reserved and refused by this version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum EntryKind {
    /// The key has this value.
    Put = 1,
    /// The key is gone.
    Delete = 2,
    /// Reserved: the key, written once, is gone.
    SingleDelete = 3,
    /// Reserved: the range from key to value is gone.
    RangeDelete = 4,
    /// Reserved: an operand of the keyspace's merge operator.
    Merge = 5,
    /// Reserved: a put with an expiry time.
    PutExpiring = 6,
    /// Reserved: the value lies in a blob file.
    BlobRef = 7,
    /// Reserved: transaction markers (prepare, commit, rollback) and log data, batches only.
    TxnPrepare = 8,
    /// See `TxnPrepare`.
    TxnCommit = 9,
    /// See `TxnPrepare`.
    TxnRollback = 10,
    /// See `TxnPrepare`.
    LogData = 11,
}

impl EntryKind {
    /// The kind of byte `b`, if this version reads it.
    pub fn from_byte(b: u8) -> Option<EntryKind> {
        match b {
            1 => Some(EntryKind::Put),
            2 => Some(EntryKind::Delete),
            _ => None,
        }
    }
}

/// One version of one key, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// The version's sequence number.
    pub seq: SeqNo,
    /// What it says.
    pub kind: EntryKind,
    /// The value; empty for a delete.
    pub value: &'a [u8],
}

/// The first eight bytes of `key`, big-endian and zero-padded: compares like the bytes, but for ties.
#[inline]
pub fn prefix_u64(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    // By overlapping pieces: a copy of a length that is not known is a call.
    if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        let (first, last) = (u64::from(u32::from_be_bytes(*first)), u64::from(u32::from_be_bytes(*last)));
        return first << 32 | last << (8 * (8 - key.len()));
    }
    let byte = |at: usize| u64::from(key[at]) << (56 - 8 * at);
    match key.len() {
        0 => 0,
        len => byte(0) | byte(len / 2) | byte(len - 1),
    }
}

/// How many leading bytes `a` and `b` share.
#[inline]
pub fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// The shortest key `s` with `a <= s < b`, for `a < b`: enough to tell the neighbours apart.
pub fn separator(a: &[u8], b: &[u8]) -> Vec<u8> {
    debug_assert!(a < b);
    let shared = common_prefix_len(a, b);
    // `a` is a prefix of `b`, or cutting `b` just behind the difference would not stay below it: keep `a`.
    if shared < a.len() && shared + 1 < b.len() {
        // b[..=shared] > a because b[shared] > a[shared], and < b because it is a proper prefix of b.
        return b[..=shared].to_vec();
    }
    a.to_vec()
}

/// The hash that filters and fingerprints share: xxh3-64, taken once per operation.
#[inline]
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separator_lies_between() {
        let cases: [(&[u8], &[u8]); 6] =
            [(b"a", b"b"), (b"a", b"aa"), (b"abc", b"abd"), (b"abc", b"abdxyz"), (b"", b"x"), (b"abcdef", b"b1")];
        for (a, b) in cases {
            let s = separator(a, b);
            assert!(a <= s.as_slice() && s.as_slice() < b, "{a:?} {s:?} {b:?}");
        }
    }

    #[test]
    fn prefix_orders_like_bytes() {
        for len in 0..12 {
            let key: Vec<u8> = (0..len).map(|i| 0xf1 - i).collect();
            let mut word = key.clone();
            word.resize(8, 0);
            assert_eq!(prefix_u64(&key).to_be_bytes()[..], word[..8], "{len} bytes");
        }
        let keys: [&[u8]; 5] = [b"", b"a", b"ab", b"abcdefgh", b"b"];
        for pair in keys.windows(2) {
            assert!(prefix_u64(pair[0]) <= prefix_u64(pair[1]));
        }
    }
}
