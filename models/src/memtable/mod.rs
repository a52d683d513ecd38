//! The leaf of the memtable.

#[path = "../../../src/memtable/leaf.rs"]
pub mod leaf;

/// What `leaf.rs` knows of nodes: their number.
pub mod node {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct NodeAt(pub u32);
}

/// Where the engine's own tests stop a writer: loom stops it everywhere.
pub mod steps {
    pub fn step(_name: &'static str) {}
}
