//! Sequences of calls through the C interface against a model: what a careless host does. Two databases, their keyspaces,
//! iterators, snapshots, batches and values; NULLs, lengths without bytes, unknown numbers, struct sizes of other versions,
//! handles of the other database, handles that were freed or whose database was closed. Every code must be the one that
//! the header promises, every byte the one that the model has; nothing may crash.
//!
//! `Table` are the functions that are called: the self-test puts a wrong one among them, and the model must notice.

mod args;
mod handles;
mod iterate;
mod model;
mod reads;
mod steps;

use crate::mutate::{Rng, Target};
use model::World;

// As in the header: a test that took them from the library would follow it into an error.
pub(crate) const LSM_E_INVALID: i32 = -1;
pub(crate) const LSM_E_IO: i32 = -2;
pub(crate) const LSM_E_CLOSED: i32 = -14;
pub(crate) const LSM_E_LOCKED: i32 = -8;
pub(crate) const LSM_E_READONLY: i32 = -11;
pub(crate) const LSM_E_UNSUPPORTED: i32 = -13;

/// The calls in which the self-test plants a bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// None.
    Sound,
    /// A delete that answers OK and does nothing.
    LostDelete,
    /// A closed handle that answers NOT_FOUND instead of CLOSED.
    ClosedAsMissing,
    /// An iterator that passes over every entry twice at a turn.
    TurnSkips,
    /// A batch that is written in part.
    TornBatch,
    /// An output that is written although the call failed.
    OutputOnError,
}

/// What the self-test plants.
pub const PLANTS: [Plant; 5] =
    [Plant::LostDelete, Plant::ClosedAsMissing, Plant::TurnSkips, Plant::TornBatch, Plant::OutputOnError];

/// The target.
pub struct Calls {
    folder: String,
}

impl Calls {
    /// Runs the self-test first: a check that cannot convict is worth nothing.
    pub fn new() -> Calls {
        let base = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
        let folder = format!("{}/lsm-calls-{}", base.display(), std::process::id());
        let calls = Calls { folder };
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        for plant in PLANTS {
            let convicted = (1..400).any(|seed| {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| calls.sequence(seed, plant))).is_err()
            });
            assert!(convicted, "{plant:?} was not convicted");
        }
        std::panic::set_hook(hook);
        calls
    }

    fn sequence(&self, seed: u64, plant: Plant) {
        let mut rng = Rng::new(seed);
        let mut world = World::new(&self.folder, plant);
        // Mostly short, and those begin with an open database: otherwise many would never have one.
        let is_long = rng.below(8) == 0;
        if !is_long {
            world.open(&mut rng, 0);
        }
        for _ in 0..if is_long { 40 + rng.below(160) } else { 10 + rng.below(50) } {
            world.step(&mut rng);
        }
        world.end();
    }
}

impl Default for Calls {
    fn default() -> Calls {
        Calls::new()
    }
}

impl Target for Calls {
    fn run(&mut self, seed: u64) {
        self.sequence(seed, Plant::Sound);
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        for at in 0..model::DATABASES {
            let _ = std::fs::remove_dir_all(format!("{}-{at}", self.folder));
        }
    }
}

/// Panics unless `code` is among the codes that the header promises for what was asked.
fn expect(call: &str, code: i32, promised: &[i32]) {
    assert!(promised.contains(&code), "{call} answered {code}, promised {promised:?}");
}

/// What is wrong with a call's arguments, as the codes it may answer; none: it must do its work.
#[derive(Default)]
struct Faults(Vec<i32>);

impl Faults {
    fn add(&mut self, is_wrong: bool, code: i32) {
        if is_wrong {
            self.0.push(code);
        }
    }
    /// The promise: `good` where nothing is wrong. Whether nothing is wrong.
    fn judge(&self, call: &str, code: i32, good: &[i32]) -> bool {
        if self.0.is_empty() {
            expect(call, code, good);
        } else {
            expect(call, code, &self.0);
        }
        self.0.is_empty()
    }
}
