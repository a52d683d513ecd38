//! Key nodes and versions: what a leaf's slots point to.
//!
//!     node    := newest u32 | key_len u32 | version | key | value      of the key's first version, in line
//!     version := stamp u64 | older u32 | skip u32 | value_len u32 | depth u32 | value      of any later one
//!     stamp   := seq << 8 | kind
//!     value_len := bytes | INLINE when the version is the one inside a node (its key lies before its value)
//!
//! Every node and version starts at a multiple of 8 bytes. All but `newest`, `older`, `skip` and `depth` is fixed before
//! the address is published; `skip` and `depth` are stored once, before the version enters a chain.
//!
//! - I1  The chain from `newest` over `older` is strictly descending in sequence, also when inserts arrive out of order:
//!   a version goes to the head by CAS when it is newer than the head, else between two others by CAS of `older`.
//!   Nothing ever leaves a chain, so either CAS is all that is needed.
//! - I2  `skip` leads to an older version of the chain (or none). It is chosen as in a skew-binary number system (Myers
//!   1983): a search for an old version takes O(log n) steps when versions arrived about in order, and is right however
//!   they arrived, because a search only skips to versions that are themselves too new.

use super::steps::step;
use crate::base::ids::SeqNo;
use crate::base::key::EntryKind;
use crate::base::sync::{AtomicU32, Ordering};

/// The kinds by their numbers; `new` stores no other number.
const KINDS: [EntryKind; 16] = {
    use EntryKind::*;
    [
        LogData,
        Put,
        Delete,
        SingleDelete,
        RangeDelete,
        Merge,
        PutExpiring,
        BlobRef,
        TxnPrepare,
        TxnCommit,
        TxnRollback,
        LogData,
        LogData,
        LogData,
        LogData,
        LogData,
    ]
};

/// The value follows the node's key.
const INLINE: u32 = 1 << 31;
/// Bytes of a version before its value.
pub const VERSION_BYTES: usize = 24;
/// Bytes of a node before its key.
pub const NODE_BYTES: usize = 32;

/// Where a key node lies, in units; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeAt(pub(super) u32);

impl NodeAt {
    /// No node.
    pub const NONE: NodeAt = NodeAt(0);

    /// Whether there is none.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The version inside the node.
    #[inline(always)]
    pub fn inline_version(self) -> VersionAt {
        VersionAt(self.0 + 1)
    }
}

/// Where a version lies, in units; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionAt(pub(super) u32);

impl VersionAt {
    /// No version.
    pub const NONE: VersionAt = VersionAt(0);

    /// Whether there is none.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// The head of a node, before its inline version.
#[repr(C, align(8))]
pub struct NodeHead {
    newest: AtomicU32,
    key_len: u32,
}

/// A version without its value.
#[repr(C, align(8))]
pub struct Version {
    stamp: u64,
    older: AtomicU32,
    skip: AtomicU32,
    value_len: u32,
    depth: AtomicU32,
}

const _: () = assert!(size_of::<Version>() == VERSION_BYTES && size_of::<NodeHead>() + VERSION_BYTES == NODE_BYTES);

impl NodeHead {
    /// The head of a node at `at` with a key of `key_len` bytes.
    pub fn new(at: NodeAt, key_len: usize) -> NodeHead {
        NodeHead { newest: AtomicU32::new(at.inline_version().0), key_len: key_len as u32 }
    }

    /// The newest version. Acquire: pairs with `push`.
    #[inline(always)]
    pub fn newest(&self) -> VersionAt {
        VersionAt(self.newest.load(Ordering::Acquire))
    }

    /// Makes `version` the newest if `newest` still is. AcqRel: publishes it; pairs with `newest`.
    #[inline]
    pub fn push(&self, newest: VersionAt, version: VersionAt) -> bool {
        step("push version");
        self.newest.compare_exchange(newest.0, version.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Bytes of the key.
    #[inline(always)]
    pub fn key_len(&self) -> usize {
        self.key_len as usize
    }
}

impl Version {
    /// A version that is in no chain yet.
    pub fn new(seq: SeqNo, kind: EntryKind, value_len: usize, inline: bool) -> Version {
        Version {
            stamp: (seq.0 << 8) | kind as u64,
            older: AtomicU32::new(0),
            skip: AtomicU32::new(0),
            value_len: value_len as u32 | if inline { INLINE } else { 0 },
            depth: AtomicU32::new(0),
        }
    }

    /// Its sequence number.
    #[inline(always)]
    pub fn seq(&self) -> SeqNo {
        SeqNo(self.stamp >> 8)
    }

    /// Its kind.
    #[inline(always)]
    pub fn kind(&self) -> EntryKind {
        KINDS[usize::from(self.stamp as u8 & 15)]
    }

    /// Bytes of its value.
    #[inline(always)]
    pub fn value_len(&self) -> usize {
        (self.value_len & !INLINE) as usize
    }

    /// Whether it is inside a node.
    #[inline(always)]
    pub fn is_inline(&self) -> bool {
        self.value_len & INLINE != 0
    }

    /// The next older version. Acquire: pairs with `insert_older`; a version that was pushed with this link already set
    /// is covered by the Acquire that found it.
    #[inline(always)]
    pub fn older(&self) -> VersionAt {
        VersionAt(self.older.load(Ordering::Acquire))
    }

    /// Puts `version` between this one and `older`. AcqRel: publishes it; pairs with `older`.
    #[inline]
    pub fn insert_older(&self, older: VersionAt, version: VersionAt) -> bool {
        step("insert version");
        self.older.compare_exchange(older.0, version.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The skip link. Relaxed: stored before the version was published, and what it leads to was published before.
    #[inline(always)]
    pub fn skip(&self) -> VersionAt {
        VersionAt(self.skip.load(Ordering::Relaxed))
    }

    /// How many versions lay below when it was inserted. Relaxed: as `skip`.
    #[inline(always)]
    pub fn depth(&self) -> u32 {
        self.depth.load(Ordering::Relaxed)
    }

    /// Sets the links of an unpublished version. Relaxed: the CAS that publishes it orders them.
    #[inline]
    pub fn preset(&self, older: VersionAt, skip: VersionAt, depth: u32) {
        self.older.store(older.0, Ordering::Relaxed);
        self.skip.store(skip.0, Ordering::Relaxed);
        self.depth.store(depth, Ordering::Relaxed);
    }
}
