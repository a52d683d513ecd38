//! The names on the simulated disk: what a reader sees, what is on the device, and every change in between.
//!
//! Each entry (folder, name) keeps the list of values that it got since its folder was last synced. The two models of a
//! crash:
//! - `Ordered`: changes reach the device in the order they were made, as through a journal; a crash keeps a prefix of all
//!   of them, at least up to the last folder sync.
//! - `Strict`: what POSIX promises: each entry is found at any of its values, independently of the others. A rename may
//!   be found half done (both names), but never with both names gone.
//!
//! Threads: none of its own. Failure: errnos from the tree.

use super::super::tree::{Entry, Key, Tree};
use super::{DirModel, Keep, Rng};
use std::collections::{BTreeMap, BTreeSet};

type Value = Option<Entry<u64>>;

/// A rename whose removal of the old name is pending: it must not be kept without the new name.
#[derive(Clone)]
struct Link {
    op: u64,
    from: Key,
    to: Key,
}

/// The names; files are inode numbers.
#[derive(Clone)]
pub struct Names {
    /// What a reader sees.
    pub live: Tree<u64>,
    durable: BTreeMap<Key, Entry<u64>>,
    pending: BTreeMap<Key, Vec<(u64, Value)>>,
    links: Vec<Link>,
    /// In the ordered model everything up to this operation is durable.
    synced_op: u64,
}

impl Names {
    /// A tree that is wholly on the device.
    pub fn durable(live: Tree<u64>) -> Names {
        let durable = live.entries().clone();
        Names { live, durable, pending: BTreeMap::new(), links: Vec::new(), synced_op: 0 }
    }

    /// Notes that the live entry at `key` changed in operation `op`.
    pub fn changed(&mut self, op: u64, key: Key) {
        let value = self.live.at(&key).cloned();
        self.pending.entry(key).or_default().push((op, value));
    }

    /// Notes a rename.
    pub fn renamed(&mut self, op: u64, from: Key, to: Key) {
        if from == to {
            return;
        }
        self.changed(op, to.clone());
        self.changed(op, from.clone());
        self.links.push(Link { op, from, to });
    }

    /// Makes the entries of folder `dir` durable.
    pub fn sync_dir(&mut self, op: u64, dir: u64) {
        self.synced_op = op;
        let mut keys: BTreeSet<Key> = self.pending.keys().filter(|key| key.0 == dir).cloned().collect();
        // A removal by rename into another folder takes the new name along.
        loop {
            let more = self.links.iter().filter(|l| keys.contains(&l.from) && !keys.contains(&l.to));
            let more: Vec<Key> = more.map(|l| l.to.clone()).collect();
            if more.is_empty() {
                break;
            }
            keys.extend(more);
        }
        for key in keys {
            let Some((_, value)) = self.pending.remove(&key).and_then(|mut values| values.pop()) else { continue };
            match value {
                Some(entry) => self.durable.insert(key, entry),
                None => self.durable.remove(&key),
            };
        }
        let pending = &self.pending;
        self.links.retain(|l| pending.contains_key(&l.from));
    }

    /// Every inode that some state after a crash, or a reader, can lead to.
    pub fn inodes(&self) -> BTreeSet<u64> {
        let pending = self.pending.values().flatten().filter_map(|(_, value)| value.as_ref());
        let all = self.live.entries().values().chain(self.durable.values()).chain(pending);
        all.filter_map(|entry| if let Entry::File(inode) = entry { Some(*inode) } else { None }).collect()
    }

    /// Inodes that have a name now.
    pub fn linked(&self) -> BTreeSet<u64> {
        let files = self.live.entries().values();
        files.filter_map(|entry| if let Entry::File(inode) = entry { Some(*inode) } else { None }).collect()
    }

    /// The entries that a power cut leaves after `now` operations.
    pub fn after_crash(&self, keep: Keep, model: DirModel, now: u64, rng: &mut Rng) -> BTreeMap<Key, Entry<u64>> {
        let percent = keep.percent(rng);
        let mut kept: BTreeMap<&Key, usize> = match (keep, model) {
            (Keep::All, _) => self.pending.iter().map(|(key, values)| (key, values.len())).collect(),
            (_, DirModel::Ordered) => {
                let last = match keep {
                    Keep::None => self.synced_op,
                    _ => self.synced_op + rng.version((now - self.synced_op) as usize, percent) as u64,
                };
                let until = |values: &Vec<(u64, Value)>| values.iter().take_while(|(op, _)| *op <= last).count();
                self.pending.iter().map(|(key, values)| (key, until(values))).collect()
            }
            (Keep::None, DirModel::Strict) => BTreeMap::new(),
            (Keep::Some, DirModel::Strict) => {
                self.pending.iter().map(|(key, values)| (key, rng.version(values.len(), percent))).collect()
            }
        };
        self.keep_renamed(&mut kept);
        let mut entries = self.durable.clone();
        for (key, count) in kept {
            let Some((_, value)) = count.checked_sub(1).and_then(|last| self.pending[key].get(last)) else { continue };
            match value {
                Some(entry) => entries.insert(key.clone(), entry.clone()),
                None => entries.remove(key),
            };
        }
        entries
    }

    /// Raises what is kept until no rename has lost both its names.
    fn keep_renamed<'a>(&'a self, kept: &mut BTreeMap<&'a Key, usize>) {
        let holds = |kept: &BTreeMap<&Key, usize>, key: &Key, op: u64| {
            let values = self.pending.get(key);
            let count = kept.get(key).copied().unwrap_or(0);
            // No pending value of that operation: it is durable already.
            values.and_then(|v| v.iter().position(|(o, _)| *o == op)).map(|at| (count > at, at + 1))
        };
        loop {
            let mut settled = true;
            for link in &self.links {
                let gone = holds(kept, &link.from, link.op).is_some_and(|(kept, _)| kept);
                if let (true, Some((false, needed))) = (gone, holds(kept, &link.to, link.op)) {
                    kept.insert(&link.to, needed);
                    settled = false;
                }
            }
            if settled {
                return;
            }
        }
    }
}
