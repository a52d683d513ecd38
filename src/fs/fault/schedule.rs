//! Which calls fail, and how.
//!
//! Threads: none of its own. Failure: none.

use std::path::Path;

/// A kind of call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Call {
    /// `Fs::open` of an existing file.
    Open,
    /// `Fs::open` with `CreateNew`.
    Create,
    /// `File::read_at`.
    Read,
    /// `File::write_all_at`, and the write of `write_all_at_sync`.
    Write,
    /// `File::sync_data`, and the sync of `write_all_at_sync`.
    Sync,
    /// `File::set_len`.
    SetLen,
    /// `File::allocate`.
    Allocate,
    /// `File::len`, `Fs::metadata`.
    Stat,
    /// `File::map_log`.
    Map,
    /// `MappedLog::prepare`.
    Prepare,
    /// `MappedLog::store`: counted, cannot fail.
    Store,
    /// `Fs::list`.
    List,
    /// `Fs::create_dir`.
    CreateDir,
    /// `Fs::remove_dir`.
    RemoveDir,
    /// `Fs::rename`.
    Rename,
    /// `Fs::remove`.
    Remove,
    /// `Fs::sync_dir`.
    SyncDir,
    /// `Fs::lock`.
    Lock,
}

impl Call {
    /// Every kind, for sweeps.
    pub const ALL: [Call; 18] = [
        Call::Open,
        Call::Create,
        Call::Read,
        Call::Write,
        Call::Sync,
        Call::SetLen,
        Call::Allocate,
        Call::Stat,
        Call::Map,
        Call::Prepare,
        Call::Store,
        Call::List,
        Call::CreateDir,
        Call::RemoveDir,
        Call::Rename,
        Call::Remove,
        Call::SyncDir,
        Call::Lock,
    ];

    /// Its name in error texts.
    pub fn name(self) -> &'static str {
        match self {
            Call::Open | Call::Create => "open",
            Call::Read => "pread",
            Call::Write => "pwrite",
            Call::Sync => "fdatasync",
            Call::SetLen => "ftruncate",
            Call::Allocate => "fallocate",
            Call::Stat => "stat",
            Call::Map => "mmap",
            Call::Prepare => "mlock",
            Call::Store => "store",
            Call::List => "readdir",
            Call::CreateDir => "mkdir",
            Call::RemoveDir => "rmdir",
            Call::Rename => "rename",
            Call::Remove => "unlink",
            Call::SyncDir => "fsync",
            Call::Lock => "flock",
        }
    }
}

/// What happens to a call that a fault meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It answers this errno and does nothing; a sync that fails leaves its pages clean, some of them lost.
    Errno(i32),
    /// A write puts down only this many bytes and then answers the errno; other calls as `Errno`.
    Torn(usize, i32),
    /// A read gives at most this many bytes, as if the file ended there; other calls succeed.
    Short(usize),
}

/// A planned failure: the `nth` call of a kind from now on, 1 being the next one.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which kind of call.
    pub call: Call,
    /// Which one of them; 0 counts as 1.
    pub nth: u64,
    /// What happens to it.
    pub effect: Effect,
    /// Whether all later ones fail as well.
    pub sticky: bool,
    /// Only calls on paths that end with this text count; empty is all.
    pub path_end: String,
}

impl Fault {
    /// The `nth` `call` from now on, on any path, fails once with `errno`.
    pub fn once(call: Call, nth: u64, errno: i32) -> Fault {
        Fault { call, nth, effect: Effect::Errno(errno), sticky: false, path_end: String::new() }
    }

    /// The `nth` `call` from now on, on any path, and all after it fail with `errno`.
    pub fn sticky(call: Call, nth: u64, errno: i32) -> Fault {
        Fault { sticky: true, ..Fault::once(call, nth, errno) }
    }

    /// The same, counting only paths that end with `end`.
    #[must_use]
    pub fn on(self, end: &str) -> Fault {
        Fault { path_end: end.to_owned(), ..self }
    }

    /// The same with another effect.
    #[must_use]
    pub fn with(self, effect: Effect) -> Fault {
        Fault { effect, ..self }
    }
}

/// The faults in force.
#[derive(Default)]
pub struct Schedule {
    faults: Vec<(Fault, u64)>,
    counts: [u64; Call::ALL.len()],
    hits: u64,
}

impl Schedule {
    /// Adds a fault.
    pub fn add(&mut self, fault: Fault) {
        self.faults.push((fault, 0));
    }

    /// Forgets all faults; counts go on.
    pub fn clear(&mut self) {
        self.faults.clear();
    }

    /// How many calls of a kind there were.
    pub fn count(&self, call: Call) -> u64 {
        self.counts[call as usize]
    }

    /// How many calls met a fault.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Counts a call; says what happens to it.
    pub fn meet(&mut self, call: Call, path: &Path) -> Option<Effect> {
        self.counts[call as usize] += 1;
        let mut effect = None;
        for (fault, seen) in &mut self.faults {
            if fault.call != call || !path.as_os_str().as_encoded_bytes().ends_with(fault.path_end.as_bytes()) {
                continue;
            }
            *seen += 1;
            let nth = fault.nth.max(1);
            if effect.is_none() && (*seen == nth || (fault.sticky && *seen > nth)) {
                effect = Some(fault.effect);
            }
        }
        self.hits += u64::from(effect.is_some());
        effect
    }
}
