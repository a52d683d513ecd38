//! Numbers that must not be mixed up, as types of their own. All are little-endian on disk.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        #[repr(transparent)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The place of an entry in the one history of a database; 0 means "before the first entry".
    SeqNo(u64)
);
number!(
    /// The number in a file's name; logs, tables and manifests draw from one counter and never reuse one.
    FileNumber(u64)
);
number!(
    /// A keyspace; 0 is the default one, numbers are never reused.
    KeyspaceId(u32)
);
number!(
    /// A level of the tree; 0 holds flushed tables that may overlap.
    Level(u8)
);

impl SeqNo {
    /// Before the first entry.
    pub const ZERO: SeqNo = SeqNo(0);
    /// The largest sequence number that can be written (56 bits, so that a kind fits beside it in a word).
    pub const MAX: SeqNo = SeqNo((1 << 56) - 1);
}

impl KeyspaceId {
    /// The keyspace named `default`.
    pub const DEFAULT: KeyspaceId = KeyspaceId(0);
}

/// What a checksum is bound to besides its bytes, so that a file or block in the wrong place is caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileIdentity {
    /// The database's random identity.
    pub database: u128,
    /// The file's number.
    pub number: FileNumber,
}
