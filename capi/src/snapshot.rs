//! `lsm_snapshot`: a moment of the database's history that reads can go back to.
//!
//! Threads: any number at once on one snapshot; the last user releases it.
#![expect(unsafe_code, reason = "reads what C passes")]

use crate::error::lsm_error;
use crate::guard::out;
use crate::handle::{lsm_db, with_db};
use crate::slab::Slab;
use crate::status::LSM_OK;
use lsm_engine::db::Snapshot;

/// A snapshot. Any number of threads at once.
pub struct lsm_snapshot {
    _private: [u8; 0],
}

/// All snapshots of the process.
pub static SNAPSHOTS: Slab<Snapshot> = Slab::new(0x6c73_6d5f_736e_0001, "snapshot");

/// Takes a snapshot of now, in `*snapshot`. It keeps what it sees from being dropped; release it soon with
/// `lsm_snapshot_release`. Give it to reads in `lsm_read_options.snapshot`.
///
/// NULL: `err` may be. Threads: any number at once.
/// Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
/// `LSM_E_PANIC`; `LSM_E_FORKED`.
///
/// # Safety
/// `db` came from `lsm_open`; `snapshot` is NULL or writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_snapshot_new(
    db: *mut lsm_db,
    snapshot: *mut *mut lsm_snapshot,
    err: *mut *mut lsm_error,
) -> i32 {
    // SAFETY: this function's contract.
    unsafe {
        with_db(db, err, |slot, engine| {
            let snapshot = out(snapshot, "snapshot")?;
            let cell = SNAPSHOTS.alloc(Some(slot), engine.snapshot()?)?;
            snapshot.write(cell.handle());
            Ok(LSM_OK)
        })
    }
}

/// The last sequence number that the snapshot sees; 0 for NULL, for a closed one and in a forked child.
///
/// Threads: any number at once.
///
/// # Safety
/// `snapshot` is NULL or came from `lsm_snapshot_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_snapshot_sequence(snapshot: *const lsm_snapshot) -> u64 {
    // SAFETY: this function's contract.
    let Ok(cell) = (unsafe { SNAPSHOTS.find(snapshot) }) else {
        return 0;
    };
    let Some(Ok(_entered)) = cell.db().map(|db| db.enter()) else {
        return 0;
    };
    cell.shared().map_or(0, |snapshot| snapshot.sequence().0)
}

/// Releases a snapshot. Iterators opened with it go on.
///
/// NULL: does nothing; so does a second release, while fewer than 1,024 snapshots were released since, and a release
/// in a forked child. Threads: the last user. Works after `lsm_close`.
///
/// # Safety
/// `snapshot` is NULL or came from `lsm_snapshot_new` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lsm_snapshot_release(snapshot: *mut lsm_snapshot) {
    // SAFETY: this function's contract.
    if let Ok(cell) = unsafe { SNAPSHOTS.find(snapshot) } {
        SNAPSHOTS.free(cell);
    }
}
