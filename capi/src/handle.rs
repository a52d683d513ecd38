//! `lsm_db` and `lsm_keyspace`: small slots that are never freed or reused, and the count of calls in flight.
//!
//!     call   := admit (fork, callback) -> stripe += 1 -> state is open? -> engine -> stripe -= 1
//!     close  := state = closing -> wake waiters -> every stripe is 0 -> empty the children -> engine.close
//!               -> drop the engine objects -> state = closed
//!
//! Invariants
//! - I1  A slot's memory is valid for ever, so a late call reads its state and answers `LSM_E_CLOSED`.
//! - I2  The engine objects of a slot exist while the state is open, poisoned or closing, and are touched only by
//!   calls that counted themselves in and then saw the slot open, or by the one thread that closes.
//! - I3  One keyspace slot per database and keyspace id. `opens` counts its opens; at 0 it answers `LSM_E_CLOSED`
//!   until the keyspace is opened again, and its engine object stays until the database is closed.
//! - I4  Stripes are pooled and outlive their database: a late call may count on a stripe that serves another database
//!   by now, but counts itself out again at once.
//!
//! Threads: any number at once. Failure: a panic poisons the slot; only close works then.
#![expect(unsafe_code, reason = "the slots are shared with C")]

use crate::error::{lsm_error, report};
use crate::fork;
use crate::guard::{catch, null_error};
use crate::log_callback;
use crate::slab;
use lsm_engine::base::ids::KeyspaceId;
use lsm_engine::base::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use lsm_engine::db::{Db, Keyspace};
use lsm_engine::{Code, Error, Result};
use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::time::Duration;

/// An open database. Any number of threads at once. The handle's memory stays after `lsm_close` and answers
/// `LSM_E_CLOSED`.
pub struct lsm_db {
    _private: [u8; 0],
}

/// A keyspace of an open database. Any number of threads at once. The handle's memory stays after
/// `lsm_keyspace_release` and `lsm_close` and answers `LSM_E_CLOSED`.
pub struct lsm_keyspace {
    _private: [u8; 0],
}

const DB_MAGIC: u64 = 0x6c73_6d5f_6462_0001;
const KEYSPACE_MAGIC: u64 = 0x6c73_6d5f_6b73_0001;

const OPEN: u32 = 1;
const POISONED: u32 = 2;
const CLOSING: u32 = 3;
const CLOSED: u32 = 4;
const RELEASED: u32 = 5;
const DROPPED: u32 = 6;

const STRIPE_COUNT: usize = 16;

#[repr(align(64))]
struct Stripe(AtomicU64);

/// The calls in flight of one database, spread so that two threads rarely share a line.
struct Stripes([Stripe; STRIPE_COUNT]);

/// A stripe number from the place of the caller's stack: threads have stacks of their own, and no thread-local is read.
#[inline(always)]
pub fn stripe_index(count: usize) -> usize {
    let here = 0u8;
    let page = (&raw const here as usize as u64) >> 16;
    (page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % count
}

struct KeyspaceEntry {
    slot: &'static KeyspaceSlot,
    name: Vec<u8>,
    opens: u64,
}

/// What a database's slot needs while it is open, besides the engine.
struct Inner {
    keyspaces: Mutex<HashMap<KeyspaceId, KeyspaceEntry>>,
    lock_place: Option<&'static AtomicU32>,
}

/// The memory behind an `lsm_db`.
#[repr(C, align(64))]
pub struct DbSlot {
    magic: u64,
    state: AtomicU32,
    generation: u32,
    stripes: &'static Stripes,
    engine: UnsafeCell<MaybeUninit<Db>>,
    inner: UnsafeCell<MaybeUninit<Box<Inner>>>,
    default_keyspace: AtomicPtr<KeyspaceSlot>,
    next: AtomicPtr<DbSlot>,
}

/// The memory behind an `lsm_keyspace`.
#[repr(C, align(64))]
pub struct KeyspaceSlot {
    magic: u64,
    state: AtomicU32,
    db: &'static DbSlot,
    engine: UnsafeCell<MaybeUninit<Keyspace>>,
    next: AtomicPtr<KeyspaceSlot>,
}

const _: () = assert!(size_of::<DbSlot>() <= 256);
const _: () = assert!(size_of::<KeyspaceSlot>() <= 256);

// SAFETY: the engine objects are Send and Sync and are reached by the protocol of I2 only.
unsafe impl Sync for DbSlot {}
// SAFETY: as above.
unsafe impl Sync for KeyspaceSlot {}
// SAFETY: as above.
unsafe impl Send for DbSlot {}
// SAFETY: as above.
unsafe impl Send for KeyspaceSlot {}

/// All slots ever made, so that leak checkers see them as reachable.
static DB_SLOTS: AtomicPtr<DbSlot> = AtomicPtr::new(std::ptr::null_mut());
static KEYSPACE_SLOTS: AtomicPtr<KeyspaceSlot> = AtomicPtr::new(std::ptr::null_mut());
static STRIPE_POOL: Mutex<Vec<&'static Stripes>> = Mutex::new(Vec::new());

/// Takes this module's global locks before a fork.
pub fn lock_globals() {
    std::mem::forget(STRIPE_POOL.lock());
}

/// Gives them back, in the parent and in the child.
///
/// # Safety
/// This thread, or the one it is a copy of, called `lock_globals`.
pub unsafe fn unlock_globals() {
    // SAFETY: locked by `lock_globals`, whose guard was forgotten.
    unsafe { STRIPE_POOL.force_unlock() };
}

fn take_stripes() -> &'static Stripes {
    let pooled = STRIPE_POOL.lock().pop();
    pooled.unwrap_or_else(|| Box::leak(Box::new(Stripes([const { Stripe(AtomicU64::new(0)) }; STRIPE_COUNT]))))
}

#[cold]
fn closed_error(what: &str) -> Error {
    Error::new(Code::Closed, format!("the {what} is closed"))
}

#[cold]
fn forked_error() -> Error {
    Error::new(Code::Forked, "the handle belongs to the parent process")
}

#[cold]
fn state_error(state: u32) -> Error {
    match state {
        POISONED => Error::new(Code::Panic, "an earlier call on this database panicked; only lsm_close works"),
        RELEASED => closed_error("keyspace handle"),
        DROPPED => Error::new(Code::Closed, "the keyspace was dropped"),
        _ => closed_error("database"),
    }
}

/// `LSM_E_BUSY` if this thread is inside a callback: the library may hold locks there.
#[inline(always)]
pub fn refuse_callback() -> Result<()> {
    // Relaxed: only this thread's own mark matters, and it sees its own stores.
    if fork::callbacks().load(Ordering::Relaxed) != 0 && log_callback::inside() {
        return Err(Error::new(Code::Busy, "called from inside a callback"));
    }
    Ok(())
}

/// A call in flight on a database.
pub struct Entered {
    slot: &'static DbSlot,
    stripe: &'static AtomicU64,
}

impl Drop for Entered {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: what this call did happens before the close that reads 0 (Acquire in `wait_idle`).
        self.stripe.fetch_sub(1, Ordering::Release);
    }
}

impl Entered {
    /// The engine's database.
    #[inline(always)]
    pub fn engine(&self) -> &Db {
        // SAFETY: I2: this call is counted and saw the slot open.
        unsafe { (*self.slot.engine.get()).assume_init_ref() }
    }

    fn inner(&self) -> &Inner {
        // SAFETY: I2, as the engine.
        unsafe { (*self.slot.inner.get()).assume_init_ref() }
    }
}

impl DbSlot {
    /// Refuses a forked child and a thread inside a callback.
    #[inline(always)]
    pub fn admit(&self) -> Result<()> {
        if self.generation != fork::generation() {
            return Err(forked_error());
        }
        refuse_callback()
    }

    /// Whether the database is open, for calls that `lsm_close` waits for by other means than the stripes.
    #[inline(always)]
    pub fn check_open(&self) -> Result<()> {
        // SeqCst: pairs with the swap in `close`; see `enter`.
        let state = self.state.load(Ordering::SeqCst);
        if state == OPEN { Ok(()) } else { Err(state_error(state)) }
    }

    /// Counts a call in.
    #[inline(always)]
    pub fn enter(&'static self) -> Result<Entered> {
        self.admit()?;
        let stripe = &self.stripes.0[stripe_index(STRIPE_COUNT)].0;
        // SeqCst: this add and the load below against the swap of `close` and its loads of the stripes: either we see
        // "closing" or it sees us.
        stripe.fetch_add(1, Ordering::SeqCst);
        let entered = Entered { slot: self, stripe };
        self.check_open()?;
        Ok(entered)
    }

    /// After a panic: later calls fail fast.
    #[cold]
    pub fn poison(&self) {
        // Relaxed: whoever sees it late only runs one more call.
        let _ = self.state.compare_exchange(OPEN, POISONED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The default keyspace's handle, also after close.
    pub fn default_keyspace(&self) -> *mut lsm_keyspace {
        // Acquire: pairs with the Release in `publish`.
        self.default_keyspace.load(Ordering::Acquire).cast()
    }

    fn wait_idle(&self) {
        let mut rounds = 0u32;
        for stripe in &self.stripes.0 {
            // SeqCst: see `enter`; as Acquire it pairs with the Release of `Entered::drop`.
            while stripe.0.load(Ordering::SeqCst) != 0 {
                pause(&mut rounds);
            }
        }
    }
}

/// Waits a little, then a little longer.
pub fn pause(rounds: &mut u32) {
    *rounds = rounds.saturating_add(1);
    match *rounds {
        0..=64 => std::hint::spin_loop(),
        65..=256 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(100)),
    }
}

impl KeyspaceSlot {
    /// The database's slot.
    #[inline(always)]
    pub fn db(&self) -> &'static DbSlot {
        self.db
    }

    /// Refuses a released or dropped one.
    #[inline(always)]
    pub fn check_open(&self) -> Result<()> {
        // Acquire: pairs with the Release in `keyspace_open`, which writes the engine object first.
        let state = self.state.load(Ordering::Acquire);
        if state == OPEN { Ok(()) } else { Err(state_error(state)) }
    }

    /// The engine's keyspace.
    ///
    /// # Safety
    /// The calling code is a call that `lsm_close` waits for and that saw the database open (I2).
    #[inline(always)]
    pub unsafe fn engine(&self) -> &Keyspace {
        // SAFETY: the object is written before the slot is published and dropped only by `close`.
        unsafe { (*self.engine.get()).assume_init_ref() }
    }
}

/// The slot of a database handle.
///
/// # Safety
/// `db` is NULL or came from `lsm_open`; other pointers are caught at best effort.
#[inline(always)]
pub unsafe fn db_slot(db: *const lsm_db) -> Result<&'static DbSlot> {
    let slot = db.cast::<DbSlot>();
    if slot.is_null() || !slot.is_aligned() {
        return Err(handle_error(slot.is_null(), "database"));
    }
    // SAFETY: by this function's contract a slot, which is valid for ever (I1).
    let slot = unsafe { &*slot };
    if slot.magic != DB_MAGIC { Err(handle_error(false, "database")) } else { Ok(slot) }
}

/// The slot of a keyspace handle.
///
/// # Safety
/// `keyspace` is NULL or came from this library; other pointers are caught at best effort.
#[inline(always)]
pub unsafe fn keyspace_slot(keyspace: *const lsm_keyspace) -> Result<&'static KeyspaceSlot> {
    let slot = keyspace.cast::<KeyspaceSlot>();
    if slot.is_null() || !slot.is_aligned() {
        return Err(handle_error(slot.is_null(), "keyspace"));
    }
    // SAFETY: by this function's contract a slot, which is valid for ever (I1).
    let slot = unsafe { &*slot };
    if slot.magic != KEYSPACE_MAGIC { Err(handle_error(false, "keyspace")) } else { Ok(slot) }
}

/// The error of a pointer that is not what it should be.
#[cold]
pub fn handle_error(null: bool, what: &str) -> Error {
    if null { null_error(what) } else { Error::invalid(format!("this is not a {what} handle")) }
}

/// Runs `body` as a call on a database and answers its code.
///
/// # Safety
/// As `db_slot`; `err` is NULL or writable.
#[inline(always)]
pub unsafe fn with_db(
    db: *const lsm_db,
    err: *mut *mut lsm_error,
    body: impl FnOnce(&'static DbSlot, &Db) -> Result<i32>,
) -> i32 {
    let run = || {
        // SAFETY: this function's contract.
        let slot = unsafe { db_slot(db) }?;
        let entered = slot.enter()?;
        catch(|| slot.poison(), || body(slot, entered.engine()))
    };
    match run() {
        Ok(code) => code,
        // SAFETY: this function's contract.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// Runs `body` as a call on a keyspace and answers its code.
///
/// # Safety
/// As `keyspace_slot`; `err` is NULL or writable.
#[inline(always)]
pub unsafe fn with_keyspace(
    keyspace: *const lsm_keyspace,
    err: *mut *mut lsm_error,
    body: impl FnOnce(&'static DbSlot, &Keyspace) -> Result<i32>,
) -> i32 {
    let run = || {
        // SAFETY: this function's contract.
        let keyspace = unsafe { keyspace_slot(keyspace) }?;
        let slot = keyspace.db;
        let _entered = slot.enter()?;
        keyspace.check_open()?;
        // SAFETY: counted in above.
        let engine = unsafe { keyspace.engine() };
        catch(|| slot.poison(), || body(slot, engine))
    };
    match run() {
        Ok(code) => code,
        // SAFETY: this function's contract.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// Makes the slots of a database that the engine has opened.
pub fn publish(engine: Db) -> *mut lsm_db {
    let default = engine.default_keyspace();
    let lock_place = fork::register(engine.lock_fd());
    let inner = Inner { keyspaces: Mutex::new(HashMap::new()), lock_place };
    let slot: &'static DbSlot = Box::leak(Box::new(DbSlot {
        magic: DB_MAGIC,
        state: AtomicU32::new(OPEN),
        generation: fork::generation(),
        stripes: take_stripes(),
        engine: UnsafeCell::new(MaybeUninit::new(engine)),
        inner: UnsafeCell::new(MaybeUninit::new(Box::new(inner))),
        default_keyspace: AtomicPtr::new(std::ptr::null_mut()),
        next: AtomicPtr::new(std::ptr::null_mut()),
    }));
    // SAFETY: nobody else knows the slot yet.
    let inner = unsafe { (*slot.inner.get()).assume_init_ref() };
    let id = default.id();
    let keyspace = new_keyspace_slot(slot, default);
    inner.keyspaces.lock().insert(id, KeyspaceEntry { slot: keyspace, name: b"default".to_vec(), opens: 1 });
    // Release: publishes the keyspace's slot.
    slot.default_keyspace.store(std::ptr::from_ref(keyspace).cast_mut(), Ordering::Release);
    push(&DB_SLOTS, slot, |slot| &slot.next);
    std::ptr::from_ref(slot).cast_mut().cast()
}

fn new_keyspace_slot(db: &'static DbSlot, engine: Keyspace) -> &'static KeyspaceSlot {
    let slot: &'static KeyspaceSlot = Box::leak(Box::new(KeyspaceSlot {
        magic: KEYSPACE_MAGIC,
        state: AtomicU32::new(OPEN),
        db,
        engine: UnsafeCell::new(MaybeUninit::new(engine)),
        next: AtomicPtr::new(std::ptr::null_mut()),
    }));
    push(&KEYSPACE_SLOTS, slot, |slot| &slot.next);
    slot
}

fn push<T>(list: &AtomicPtr<T>, slot: &'static T, next: impl Fn(&'static T) -> &'static AtomicPtr<T>) {
    let pointer = std::ptr::from_ref(slot).cast_mut();
    let mut head = list.load(Ordering::Relaxed);
    loop {
        next(slot).store(head, Ordering::Relaxed);
        // Release: the list is only walked by leak checkers, but whole all the same.
        match list.compare_exchange_weak(head, pointer, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// Closes a database; the one thread that gets past the state change does the work.
pub fn close(slot: &'static DbSlot) -> Result<()> {
    slot.admit()?;
    let mut state = slot.state.load(Ordering::Relaxed);
    loop {
        if state != OPEN && state != POISONED {
            return Err(closed_error("database"));
        }
        // SeqCst: see `enter`.
        match slot.state.compare_exchange(state, CLOSING, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => break,
            Err(now) => state = now,
        }
    }
    // SAFETY: only this thread destroys the engine objects, further down.
    let engine = unsafe { (*slot.engine.get()).assume_init_ref() };
    let woken = catch(
        || {},
        || {
            engine.begin_close();
            Ok(())
        },
    );
    slot.wait_idle();
    slab::empty_children(slot);
    // SAFETY: no call is in flight and none can enter (I2); taken once, by this thread.
    let inner = unsafe { (*slot.inner.get()).assume_init_read() };
    fork::forget(inner.lock_place);
    let dropped = catch(
        || {},
        || {
            for entry in inner.keyspaces.into_inner().into_values() {
                // SAFETY: as above; each slot is in the table once, so its object is dropped once.
                unsafe { (*entry.slot.engine.get()).assume_init_drop() };
            }
            Ok(())
        },
    );
    let closed = catch(|| {}, || engine.close());
    // SAFETY: as above; `engine` is not used after this.
    let gone = catch(
        || {},
        || unsafe {
            (*slot.engine.get()).assume_init_drop();
            Ok(())
        },
    );
    STRIPE_POOL.lock().push(slot.stripes);
    // Release: whoever sees "closed" sees the rest done.
    slot.state.store(CLOSED, Ordering::Release);
    woken.and(dropped).and(closed).and(gone)
}

/// Opens a keyspace by name: `open` asks the engine. The handle of an id that is open already is the same one.
pub fn keyspace_open(
    entered: &Entered,
    name: &[u8],
    open: impl FnOnce(&Db) -> Result<Option<Keyspace>>,
) -> Result<Option<*mut lsm_keyspace>> {
    let mut keyspaces = entered.inner().keyspaces.lock();
    let Some(engine) = open(entered.engine())? else {
        return Ok(None);
    };
    let slot = match keyspaces.get_mut(&engine.id()) {
        Some(entry) => {
            if entry.slot.db.default_keyspace.load(Ordering::Relaxed) != std::ptr::from_ref(entry.slot).cast_mut() {
                entry.opens += 1;
            }
            // Release: pairs with `check_open`.
            entry.slot.state.store(OPEN, Ordering::Release);
            entry.slot
        }
        None => {
            let id = engine.id();
            let slot = new_keyspace_slot(entered.slot, engine);
            keyspaces.insert(id, KeyspaceEntry { slot, name: name.to_vec(), opens: 1 });
            slot
        }
    };
    Ok(Some(std::ptr::from_ref(slot).cast_mut().cast()))
}

/// Drops a keyspace: `drop_it` asks the engine. Its handles answer `LSM_E_CLOSED` from then on.
pub fn keyspace_drop(entered: &Entered, name: &[u8], drop_it: impl FnOnce(&Db) -> Result<bool>) -> Result<bool> {
    let keyspaces = entered.inner().keyspaces.lock();
    let dropped = drop_it(entered.engine())?;
    if dropped {
        for entry in keyspaces.values().filter(|entry| entry.name == name) {
            // Release: nothing is published; a late reader asks the engine, which answers the same.
            entry.slot.state.store(DROPPED, Ordering::Release);
        }
    }
    Ok(dropped)
}

/// Gives one open of a keyspace back; the default keyspace's handle stays.
pub fn keyspace_release(slot: &'static KeyspaceSlot) {
    let Ok(entered) = slot.db.enter() else {
        return;
    };
    if slot.db.default_keyspace() == std::ptr::from_ref(slot).cast_mut().cast() {
        return;
    }
    let mut keyspaces = entered.inner().keyspaces.lock();
    for entry in keyspaces.values_mut().filter(|entry| std::ptr::eq(entry.slot, slot)) {
        entry.opens = entry.opens.saturating_sub(1);
        if entry.opens == 0 {
            // Relaxed: the engine object stays, so a late reader is safe. A dropped one stays dropped.
            let _ = slot.state.compare_exchange(OPEN, RELEASED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
