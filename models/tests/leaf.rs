//! A leaf of the memtable: inserts that race, the thread that helps another one on, and a reader beside them.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use lsm_models::memtable::leaf::{Leaf, LeafAt, Perm};
use lsm_models::memtable::node::NodeAt;

/// Nodes are told by their number; node n has the key n, written before it is linked.
struct World {
    leaf: Leaf,
    keys: Vec<AtomicU64>,
}

impl World {
    fn new() -> Arc<World> {
        let leaf = Leaf::model();
        leaf.reset(NodeAt(0), NodeAt(0), 0, LeafAt::NONE);
        Arc::new(World { leaf, keys: (0..4).map(|_| AtomicU64::new(0)).collect() })
    }

    fn key(&self, node: NodeAt) -> u64 {
        // Relaxed: the leaf must carry it over.
        let key = self.keys[node.0 as usize].load(Ordering::Relaxed);
        assert_eq!(key, u64::from(node.0), "a node is seen before its key");
        key
    }

    fn rank(&self, perm: Perm, key: u64) -> usize {
        (0..perm.count()).filter(|rank| self.key(self.leaf.node(perm.slot(*rank))) < key).count()
    }

    /// As `insert.rs`: claim a slot at the count that was searched, or help whoever has it and search again.
    fn insert(&self, node: u32) {
        self.keys[node as usize].store(u64::from(node), Ordering::Relaxed);
        loop {
            let perm = self.leaf.perm();
            match self.leaf.claim(perm.count(), NodeAt(node)) {
                Ok(()) => {
                    self.leaf.publish(perm, self.rank(perm, u64::from(node)), u64::from(node));
                    return;
                }
                Err(other) => {
                    if self.leaf.perm() == perm {
                        let key = self.key(other);
                        self.leaf.publish(perm, self.rank(perm, key), key);
                    }
                }
            }
        }
    }

    /// Every key that the permutation names, in order, once.
    fn look(&self) -> usize {
        let perm = self.leaf.perm();
        let mut last = 0;
        for rank in 0..perm.count() {
            let slot = perm.slot(rank);
            let key = self.key(self.leaf.node(slot));
            assert!(key > last, "out of order, or twice");
            assert_eq!(self.leaf.prefix(slot), key, "a prefix that is not its key's");
            last = key;
        }
        perm.count()
    }
}

fn model(bound: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(f);
}

#[test]
fn two_inserts_and_a_reader() {
    model(3, || {
        let world = World::new();
        let threads: Vec<_> = [1, 2]
            .map(|node| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.insert(node))
            })
            .into();
        let first = world.look();
        assert!(world.look() >= first, "a key that was seen is gone");
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(world.look(), 2);
    });
}

#[test]
fn three_inserts() {
    model(2, || {
        let world = World::new();
        let threads: Vec<_> = [3, 2]
            .map(|node| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.insert(node))
            })
            .into();
        world.insert(1);
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(world.look(), 3);
    });
}

#[test]
fn an_append_and_a_seal_do_not_miss_each_other() {
    model(3, || {
        let world = World::new();
        let other = Arc::clone(&world);
        let appender = thread::spawn(move || other.leaf.append(LeafAt::NONE, LeafAt::model(32)));
        let sealed = world.leaf.seal();
        let is_appended = appender.join().unwrap();
        assert_eq!(is_appended, sealed == LeafAt::model(32), "a split that misses what was appended");
        assert_eq!(world.leaf.next(), (sealed, true), "a leaf appended behind a seal");
    });
}

#[test]
fn one_split_replaces() {
    model(3, || {
        let world = World::new();
        let other = Arc::clone(&world);
        let splitter = thread::spawn(move || other.leaf.replace(LeafAt::model(32)));
        let ours = world.leaf.replace(LeafAt::model(64));
        let theirs = splitter.join().unwrap();
        assert!(ours != theirs, "both or neither");
        assert_eq!(world.leaf.replacement(), LeafAt::model(if ours { 64 } else { 32 }));
    });
}
