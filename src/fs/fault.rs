//! A simulated disk that can fail, fill up and lose power.
//!
//! It keeps what a reader sees (the page cache) and what is on the device apart: file bytes by page with all their
//! unsynced writes (`inode`), names with all their unsynced changes (`names`). `crash` builds the image that a power cut
//! would leave, as a `MemFs`; open the database on that (or on `FaultFs::over` it, for a crash during recovery) and look.
//!
//! Every mutating call (also a store to a mapping) has a number. `set_crash_point(n)` lets the n-th happen, without its
//! caller hearing of it (a sync does not happen), and turns the power off: all later calls answer EIO and change nothing.
//! A run with n = 1, 2, 3, ... up to `mutations()` of a whole run thus visits every boundary; at each, several seeds and
//! policies give different images.
//!
//!     let disk = FaultFs::new();          let disk = FaultFs::new();
//!     run(&disk);                         disk.set_crash_point(n);
//!     let ends = disk.mutations();        run(&disk);
//!                                         let image = disk.crash(CrashPolicy::strict(), seed);
//!
//! Invariants
//! - I1  `crash` and `process_death` change nothing and, with one seed, answer one image.
//! - I2  Every image has all synced bytes and names; how much of the rest is the policy's and the seed's choice.
//! - I3  What MemFs panics at (stores to pages that are not prepared), this panics at.
//!
//! Threads: any; one mutex orders all calls. Failure: as planned by the schedule, else as the system calls.

mod file;
mod inode;
mod names;
mod schedule;

pub use schedule::{Call, Effect, Fault};

use super::mem::{self, MemFs, fail};
use super::tree::{Entry, Tree};
use super::{File, Fs, FsKind, Lock, Metadata, OpenMode};
use crate::base::sync::{Mutex, MutexGuard};
use crate::error::{Error, Result};
use file::FaultFile;
use inode::Inode;
use names::Names;
use schedule::Schedule;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// How much of what was not synced a crash keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Everything.
    All,
    /// Nothing.
    None,
    /// A part that the seed chooses, from next to nothing to nearly all.
    Some,
}

impl Keep {
    /// The share that is kept whole.
    fn percent(self, rng: &mut Rng) -> u64 {
        match self {
            Keep::All => 100,
            Keep::None => 0,
            Keep::Some => rng.below(101),
        }
    }
}

/// In what order changes reach the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirModel {
    /// Like ext4 with ordered data: names change in the order of the calls, a file grows only over its written data.
    Ordered,
    /// No more than POSIX promises: any subset of unsynced names, sizes and pages.
    Strict,
}

/// What a crash keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CrashPolicy {
    /// Of unsynced bytes and sizes.
    pub data: Keep,
    /// Of unsynced names.
    pub names: Keep,
    /// Whether pages are torn at 512-byte sectors.
    pub torn: bool,
    /// The order.
    pub model: DirModel,
}

impl CrashPolicy {
    /// Only what was synced.
    pub fn nothing() -> CrashPolicy {
        CrashPolicy { data: Keep::None, names: Keep::None, torn: false, model: DirModel::Strict }
    }

    /// Everything that reached the page cache and was not lost by a failed sync.
    pub fn everything() -> CrashPolicy {
        CrashPolicy { data: Keep::All, names: Keep::All, torn: false, model: DirModel::Ordered }
    }

    /// Random, torn, in the order of a journal.
    pub fn ordered() -> CrashPolicy {
        CrashPolicy { data: Keep::Some, names: Keep::Some, torn: true, model: DirModel::Ordered }
    }

    /// Random, torn, in no order.
    pub fn strict() -> CrashPolicy {
        CrashPolicy { data: Keep::Some, names: Keep::Some, torn: true, model: DirModel::Strict }
    }
}

/// Random numbers from a seed (splitmix64); the same for ever, because failing seeds are written down.
pub(in crate::fs) struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is small.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// How many of `count` changes are kept: all with `percent`, else none or any number.
    fn version(&mut self, count: usize, percent: u64) -> usize {
        if count == 0 {
            return 0;
        }
        if self.below(100) < percent {
            return count;
        }
        if self.below(2) == 0 { 0 } else { self.below(count as u64 + 1) as usize }
    }
}

/// The simulated disk. A clone is another handle to the same one.
#[derive(Clone)]
pub struct FaultFs(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    locks: mem::Locks,
}

struct State {
    names: Names,
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    op: u64,
    crash_at: Option<u64>,
    off: bool,
    schedule: Schedule,
    capacity: u64,
    mappable: bool,
    rng: Rng,
}

impl State {
    /// Counts a call and lets faults meet it. `Some` is left to the caller: `Short`, a write's `Torn`, a sync's `Errno`.
    fn enter(&mut self, call: Call, path: &Path) -> Result<Option<Effect>> {
        if self.off {
            return Err(power_off(call, path));
        }
        match (call, self.schedule.meet(call, path)) {
            (Call::Sync, Some(Effect::Errno(errno) | Effect::Torn(_, errno))) => Ok(Some(Effect::Errno(errno))),
            (Call::Write, Some(torn @ Effect::Torn(..))) => Ok(Some(torn)),
            (_, Some(Effect::Errno(errno) | Effect::Torn(_, errno))) => Err(fail(errno, call.name(), path)),
            (_, other) => Ok(other),
        }
    }

    /// Gives a mutation its number; true if the power goes off at it.
    fn step(&mut self) -> (u64, bool) {
        self.op += 1;
        self.off |= self.crash_at == Some(self.op);
        (self.op, self.off)
    }

    /// Ends a mutation that has happened.
    fn heard(&self, call: Call, path: &Path) -> Result<()> {
        if self.off { Err(power_off(call, path)) } else { Ok(()) }
    }

    fn inode(&mut self, number: u64) -> &mut Inode {
        // Open handles and names keep their inodes, so it is there; an empty file otherwise.
        self.inodes.entry(number).or_default()
    }

    fn used(&self) -> u64 {
        let linked = self.names.linked();
        let counted = self.inodes.iter().filter(|(number, inode)| inode.open > 0 || linked.contains(number));
        counted.map(|(_, inode)| inode.live().len() as u64).sum()
    }

    /// Whether a file may grow to `end`.
    fn room(&mut self, number: u64, end: usize) -> std::result::Result<(), i32> {
        let more = end.saturating_sub(self.inode(number).live().len()) as u64;
        if more > 0 && self.capacity != u64::MAX && self.used().saturating_add(more) > self.capacity {
            return Err(libc::ENOSPC);
        }
        Ok(())
    }

    /// Forgets files that nothing can reach any more.
    fn collect(&mut self) {
        let reachable = self.names.inodes();
        self.inodes.retain(|number, inode| inode.open > 0 || reachable.contains(number));
    }
}

#[cold]
fn power_off(call: Call, path: &Path) -> Error {
    fail(libc::EIO, call.name(), path).context("the power is off")
}

impl Default for FaultFs {
    fn default() -> FaultFs {
        FaultFs::new()
    }
}

impl FaultFs {
    /// An empty disk.
    pub fn new() -> FaultFs {
        FaultFs::over(&MemFs::new())
    }

    /// A disk that durably holds a copy of what `image` holds.
    pub fn over(image: &MemFs) -> FaultFs {
        let tree = image.image();
        let mut inodes = BTreeMap::new();
        let mut entries = BTreeMap::new();
        for (key, entry) in tree.entries() {
            let entry = match entry {
                Entry::Dir(number) => Entry::Dir(*number),
                Entry::File(bytes) => {
                    let number = inodes.len() as u64;
                    inodes.insert(number, Inode::durable(bytes.clone()));
                    Entry::File(number)
                }
            };
            entries.insert(key.clone(), entry);
        }
        let state = State {
            names: Names::durable(Tree::from_entries(entries, tree.next_dir())),
            inode_next: inodes.len() as u64,
            inodes,
            op: 0,
            crash_at: None,
            off: false,
            schedule: Schedule::default(),
            capacity: u64::MAX,
            mappable: image.kind(Path::new("/")) == FsKind::Mappable,
            rng: Rng::new(0),
        };
        FaultFs(Arc::new(Shared { state: Mutex::new(state), locks: mem::Locks::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// The image that a power cut leaves now (or left at the crash point).
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> MemFs {
        let state = self.state();
        let mut rng = Rng::new(seed);
        let entries = state.names.after_crash(policy.names, policy.model, state.op, &mut rng);
        let mut files: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for entry in entries.values() {
            // Two names of one file (a rename found half done) show the same bytes.
            if let Entry::File(number) = entry {
                files.entry(*number).or_insert_with(|| match state.inodes.get(number) {
                    Some(inode) => inode.after_crash(policy.data, policy.torn, policy.model, &mut rng),
                    None => Vec::new(),
                });
            }
        }
        state.image(entries, |number| files.get(&number).cloned().unwrap_or_default())
    }

    /// The image that the death of the process leaves, with the kernel alive: everything that was called.
    pub fn process_death(&self) -> MemFs {
        let state = self.state();
        let entries = state.names.live.entries().clone();
        state.image(entries, |number| state.inodes.get(&number).map_or_else(Vec::new, |i| i.live().to_vec()))
    }

    /// The same disk for the next process after the death of this one, with the kernel alive: everything that was called
    /// is seen, what was not synced is still not on the device. No handle, lock, fault or crash point is left.
    pub fn after_kill(&self) -> FaultFs {
        let state = self.state();
        let mut inodes = state.inodes.clone();
        inodes.values_mut().for_each(|inode| inode.open = 0);
        let mut next = State {
            names: state.names.clone(),
            inodes,
            inode_next: state.inode_next,
            op: state.op,
            crash_at: None,
            off: false,
            schedule: Schedule::default(),
            capacity: state.capacity,
            mappable: state.mappable,
            rng: Rng::new(0),
        };
        next.collect();
        FaultFs(Arc::new(Shared { state: Mutex::new(next), locks: mem::Locks::default() }))
    }

    /// How many mutating calls there were.
    pub fn mutations(&self) -> u64 {
        self.state().op
    }

    /// Turns the power off at the `n`-th mutating call, counted from the first one of all.
    pub fn set_crash_point(&self, n: u64) {
        self.state().crash_at = Some(n);
    }

    /// Turns the power off now.
    pub fn power_off(&self) {
        self.state().off = true;
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Plans a failure.
    pub fn add_fault(&self, fault: Fault) {
        self.state().schedule.add(fault);
    }

    /// Forgets all planned failures.
    pub fn clear_faults(&self) {
        self.state().schedule.clear();
    }

    /// How many calls of a kind there were.
    pub fn calls(&self, call: Call) -> u64 {
        self.state().schedule.count(call)
    }

    /// How many calls met a planned failure.
    pub fn faults_met(&self) -> u64 {
        self.state().schedule.hits()
    }

    /// The bytes of all files (holes count).
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// Limits the bytes of all files (holes count); `u64::MAX` is no limit. Who would grow over it gets ENOSPC.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// What `kind` answers, and whether `map_log` works.
    pub fn set_kind(&self, kind: FsKind) {
        self.state().mappable = kind == FsKind::Mappable;
    }

    /// Chooses which pages the failing syncs lose.
    pub fn set_seed(&self, seed: u64) {
        self.state().rng = Rng::new(seed);
    }

    /// The kernel drops its clean pages: what failed syncs lost is gone for readers too.
    pub fn drop_caches(&self) {
        self.state().inodes.values_mut().for_each(Inode::evict);
    }

    /// Pages of the file at `path` that no sync has covered; those that a failed sync lost count.
    pub fn dirty_pages(&self, path: &Path) -> usize {
        let state = self.state();
        match state.names.live.find(path) {
            Ok(Some(Entry::File(number))) => state.inodes.get(&number).map_or(0, Inode::dirty_pages),
            _ => 0,
        }
    }

    /// A mutation of names: `change` makes it in the live tree, `note` records it.
    fn rename_like<T>(
        &self,
        call: Call,
        path: &Path,
        change: impl FnOnce(&mut Tree<u64>) -> std::result::Result<T, i32>,
        note: impl FnOnce(&mut Names, u64, T),
    ) -> Result<()> {
        let mut state = self.state();
        state.enter(call, path)?;
        let changed = change(&mut state.names.live).map_err(|e| fail(e, call.name(), path))?;
        let (op, _) = state.step();
        note(&mut state.names, op, changed);
        state.heard(call, path)
    }

    fn create(&self, path: &Path, call: Call) -> Result<u64> {
        let mut state = self.state();
        state.enter(call, path)?;
        let number = state.inode_next;
        let key = state.names.live.create(path, number).map_err(|e| fail(e, call.name(), path))?;
        state.inode_next += 1;
        let (op, _) = state.step();
        state.names.changed(op, key);
        state.inode(number);
        state.heard(call, path)?;
        state.inode(number).open += 1;
        Ok(number)
    }
}

impl State {
    fn image(&self, entries: BTreeMap<super::tree::Key, Entry<u64>>, bytes: impl Fn(u64) -> Vec<u8>) -> MemFs {
        let entries = entries.into_iter().map(|(key, entry)| {
            let entry = match entry {
                Entry::Dir(number) => Entry::Dir(number),
                Entry::File(number) => Entry::File(bytes(number)),
            };
            (key, entry)
        });
        let image = MemFs::from_image(Tree::from_entries(entries.collect(), self.names.live.next_dir()));
        image.set_kind(if self.mappable { FsKind::Mappable } else { FsKind::Other });
        image
    }
}

impl Fs for FaultFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let number = if mode == OpenMode::CreateNew {
            self.create(path, Call::Create)?
        } else {
            let mut state = self.state();
            state.enter(Call::Open, path)?;
            match state.names.live.find(path).map_err(|e| fail(e, "open", path))? {
                Some(Entry::File(number)) => {
                    state.inode(number).open += 1;
                    number
                }
                Some(Entry::Dir(_)) => {
                    return Err(Error::corruption(format!("{}: a regular file expected", path.display())));
                }
                None => return Err(fail(libc::ENOENT, "open", path)),
            }
        };
        Ok(Arc::new(FaultFile::new(self.clone(), number, path, mode != OpenMode::Read)))
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        let mut state = self.state();
        state.enter(Call::Stat, path)?;
        let found = state.names.live.find(path).map_err(|e| fail(e, "lstat", path))?;
        Ok(found.map(|entry| match entry {
            Entry::Dir(_) => Metadata { is_dir: true, is_file: false, len: 0 },
            Entry::File(number) => {
                Metadata { is_dir: false, is_file: true, len: state.inode(number).live().len() as u64 }
            }
        }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<OsString>> {
        let mut state = self.state();
        state.enter(Call::List, dir)?;
        let number = state.names.live.dir(dir).map_err(|e| fail(e, "opendir", dir))?;
        Ok(state.names.live.names(number).map(ToOwned::to_owned).collect())
    }

    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.rename_like(Call::CreateDir, dir, |tree| tree.create_dir(dir), Names::changed)
    }

    fn remove_dir(&self, dir: &Path) -> Result<()> {
        self.rename_like(Call::RemoveDir, dir, |tree| tree.remove_dir(dir), Names::changed)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let note = |names: &mut Names, op, (from, to)| names.renamed(op, from, to);
        self.rename_like(Call::Rename, from, |tree| tree.rename(from, to), note)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.rename_like(Call::Remove, path, |tree| tree.remove(path), Names::changed)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let mut state = self.state();
        state.enter(Call::SyncDir, dir)?;
        let number = state.names.live.dir(dir).map_err(|e| fail(e, "open", dir))?;
        let (op, off) = state.step();
        if !off {
            state.names.sync_dir(op, number);
            state.collect();
        }
        state.heard(Call::SyncDir, dir)
    }

    fn lock(&self, path: &Path, exclusive: bool) -> Result<Box<dyn Lock>> {
        let found = {
            let mut state = self.state();
            state.enter(Call::Lock, path)?;
            state.names.live.place(path).map_err(|e| fail(e, "open", path))?;
            state.names.live.find(path).map_err(|e| fail(e, "open", path))?
        };
        match found {
            Some(Entry::File(_)) => {}
            Some(Entry::Dir(_)) => return Err(fail(libc::EISDIR, "open", path)),
            None if !exclusive => return Ok(Box::new(mem::MemLock(Mutex::new(None)))),
            None => {
                let number = self.create(path, Call::Create)?;
                self.state().inode(number).open -= 1;
            }
        }
        self.0.locks.take(path, exclusive)
    }

    fn kind(&self, _dir: &Path) -> FsKind {
        if self.state().mappable { FsKind::Mappable } else { FsKind::Other }
    }

    fn free_bytes(&self, _dir: &Path) -> u64 {
        let state = self.state();
        if state.capacity == u64::MAX { u64::MAX } else { state.capacity.saturating_sub(state.used()) }
    }
}

#[cfg(test)]
mod tests;
