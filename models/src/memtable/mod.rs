//! The leaf of the memtable.

#[path = "../../../src/memtable/leaf.rs"]
pub mod leaf;

/// What `leaf.rs` knows of nodes: their number.
pub mod node {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct NodeAt(pub u32);
}
