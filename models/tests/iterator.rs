//! An iterator that is opened beside a flush and a compaction, which install views and retire the old ones; a cursor's
//! table reader beside the thread that closes it.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use lsm_models::base::arc_cell::ArcCell;
use lsm_models::base::arc_slot::ArcSlot;
use lsm_models::base::epoch::{Retired, pin};
use lsm_models::base::is_in_force;
use lsm_models::base::life::Life;
use lsm_models::base::sync::{Arc as Counted, Mutex};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many of something there are: not part of what is modelled.
type Live = std::sync::Arc<AtomicUsize>;

/// What is freed once, and looked at before.
struct Canary(Life, Live);

impl Canary {
    fn new(live: &Live) -> Canary {
        let life = Life::default();
        life.begin();
        live.fetch_add(1, Relaxed);
        Canary(life, Live::clone(live))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.end();
        self.1.fetch_sub(1, Relaxed);
    }
}

/// Versions of one key that a memtable holds, by sequence number: 0 where there is none.
type Memtable = std::sync::Arc<[AtomicU64; 4]>;

/// What a read looks through.
struct View {
    memtable: Memtable,
    /// Versions of the key in tables.
    tables: Vec<u64>,
    canary: Canary,
}

impl View {
    fn versions(&self) -> Vec<u64> {
        self.canary.0.look();
        // Relaxed: the visible sequence carries them over.
        let memory = self.memtable.iter().map(|v| v.load(Ordering::Relaxed)).filter(|v| *v > 0);
        memory.chain(self.tables.iter().copied()).collect()
    }

    /// The newest version at or below `bound`.
    fn find(&self, bound: u64) -> u64 {
        self.versions().into_iter().filter(|v| *v <= bound).max().unwrap_or(0)
    }
}

struct Db {
    view: ArcCell<View>,
    retired: Retired,
    /// The newest sequence number that may be seen. Every one is a version of the key.
    visible: AtomicU64,
    /// One change of tables at a time.
    install: Mutex<()>,
    live: Live,
}

fn memtable() -> Memtable {
    Memtable::new(std::array::from_fn(|_| AtomicU64::new(0)))
}

impl Db {
    /// With version 1 in a table.
    fn new() -> Arc<Db> {
        let live = Live::default();
        let first = View { memtable: memtable(), tables: vec![1], canary: Canary::new(&live) };
        Arc::new(Db {
            view: ArcCell::new(Counted::new(first)),
            retired: Retired::new(),
            visible: AtomicU64::new(1),
            install: Mutex::new(()),
            live,
        })
    }

    fn get(&self) -> Counted<View> {
        self.view.get(&pin())
    }

    /// Opens an iterator, as `db/scan.rs` does: the view and the moment it shows.
    fn open(&self) -> (Counted<View>, u64) {
        let early = is_in_force("bound-before-view").then(|| self.visible.load(Ordering::Acquire));
        let view = self.get();
        (view, early.unwrap_or_else(|| self.visible.load(Ordering::Acquire)))
    }

    /// Opens one and looks through it twice, long after the pin.
    fn iterate(&self) -> u64 {
        let (view, bound) = self.open();
        assert_eq!(view.find(bound), bound, "a version that the moment needs is gone, or a newer one is shown");
        assert_eq!(view.find(bound), bound, "the iterator's view changed");
        bound
    }

    fn write(&self, memtable: &Memtable, seq: u64) {
        memtable[seq as usize].store(seq, Ordering::Relaxed);
        self.visible.store(seq, Ordering::Release);
    }

    /// Merges the tables, with the memtable if that is flushed, and drops what nobody can ask for any more.
    fn merge(&self, is_flush: bool) {
        let _install = self.install.lock();
        let old = self.get();
        let bound = self.visible.load(Ordering::Acquire);
        let given = if is_flush { old.versions() } else { old.tables.clone() };
        let newest = given.iter().copied().filter(|v| *v <= bound).max().unwrap_or(0);
        let tables = given.into_iter().filter(|v| *v >= newest).collect();
        let memtable = if is_flush { memtable() } else { Memtable::clone(&old.memtable) };
        let new = View { memtable, tables, canary: Canary::new(&self.live) };
        self.view.replace(Counted::new(new), &self.retired, 8);
    }

    fn finish(db: Arc<Db>) {
        let db = Arc::try_unwrap(db).map_err(|_| "shared").unwrap();
        assert_eq!(db.get().find(2), 2);
        db.retired.run_once();
        assert_eq!(db.retired.pending(), 0);
        assert_eq!(db.live.load(Relaxed), 1, "of all views only the last is there");
        let live = Live::clone(&db.live);
        drop(db);
        assert_eq!(live.load(Relaxed), 0, "the last view leaked");
    }
}

fn model(bound: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(f);
}

fn spawn(db: &Arc<Db>, f: impl FnOnce(&Db) + 'static) -> thread::JoinHandle<()> {
    let db = Arc::clone(db);
    thread::spawn(move || f(&db))
}

/// A write, and the flush of the memtable it went to.
fn write_and_flush(db: &Db) {
    let memtable = Memtable::clone(&db.get().memtable);
    db.write(&memtable, 2);
    db.merge(true);
    db.retired.run_once();
}

#[test]
fn an_iterator_and_a_flush() {
    model(3, || {
        let db = Db::new();
        let flush = spawn(&db, write_and_flush);
        let first = db.iterate();
        assert!(db.iterate() >= first, "a later iterator shows an earlier moment");
        flush.join().unwrap();
        Db::finish(db);
    });
}

#[test]
fn an_iterator_a_flush_and_a_compaction() {
    model(3, || {
        let db = Db::new();
        let flush = spawn(&db, write_and_flush);
        let compaction = spawn(&db, |db| {
            db.merge(false);
            db.retired.run_once();
        });
        db.iterate();
        flush.join().unwrap();
        compaction.join().unwrap();
        Db::finish(db);
    });
}

#[test]
fn a_read_under_a_pin_and_a_flush() {
    model(3, || {
        let db = Db::new();
        let flush = spawn(&db, write_and_flush);
        let guard = pin();
        let view = db.view.load(&guard);
        let bound = db.visible.load(Ordering::Acquire);
        assert_eq!(view.find(bound), bound, "as of a moment");
        drop(guard);
        flush.join().unwrap();
        Db::finish(db);
    });
}

#[test]
fn a_cursor_and_a_table_that_is_closed_and_opened_again() {
    model(3, || {
        let live = Live::default();
        let retired = Retired::new();
        let slot = ArcSlot::empty();
        slot.set(Counted::new(Canary::new(&live)), &retired, 8);
        let world = Arc::new((slot, retired));
        let other = Arc::clone(&world);
        let reopened = Canary::new(&live);
        let closer = thread::spawn(move || {
            let (slot, retired) = &*other;
            assert!(slot.take(retired, 8));
            retired.run_once();
            slot.set(Counted::new(reopened), retired, 8);
        });
        let held = world.0.get(&pin());
        let guard = pin();
        if let Some(reader) = world.0.load(&guard) {
            reader.0.look();
        }
        drop(guard);
        if let Some(held) = held {
            held.0.look();
        }
        closer.join().unwrap();
        let world = Arc::try_unwrap(world).map_err(|_| "shared").unwrap();
        world.1.run_once();
        assert_eq!((world.1.pending(), live.load(Relaxed)), (0, 1), "only the second is there");
        drop(world);
        assert_eq!(live.load(Relaxed), 0, "a leak");
    });
}
