//! Creating, opening and dropping keyspaces.
//!
//! Invariants
//! - I1  The edit that creates a keyspace is durable before its handle exists, so no record can name an unknown id.
//! - I2  Ids are never reused; a slot is used again only once no route can hold the dropped keyspace's memtable as its
//!   own (routes compare ids).

use super::inner::DbInner;
use super::open::open_keyspace;
use super::options::{Options, Scope};
use super::state::KeyspaceState;
use crate::base::key::KEYSPACE_NAME_MAX;
use crate::error::{Code, Error, Result};
use crate::version::{Version, VersionEdit};
use std::sync::Arc;

const DEFAULT_NAME: &[u8] = b"default";

fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > KEYSPACE_NAME_MAX {
        return Err(Error::invalid(format!(
            "a keyspace name of {} bytes: 1 to {KEYSPACE_NAME_MAX} are allowed",
            name.len()
        )));
    }
    Ok(())
}

/// Opens a keyspace, creating it by default; `None` when it is missing and must not be created.
pub fn open(db: &DbInner, name: &[u8], options: Option<&Options>) -> Result<Option<Arc<KeyspaceState>>> {
    db.status.check_open()?;
    check_name(name)?;
    let _one_at_a_time = db.schema.lock();
    let given = options.cloned().unwrap_or_default();
    if let Some(found) = db.keyspaces.get(name) {
        // What is given for an open keyspace must be valid; it takes effect at the next open.
        given.keyspace(&db.open_options, &found.options_text)?;
        remember(db, &found, &given)?;
        return Ok(Some(found));
    }
    // Bad options are refused before anything is logged.
    if !given.keyspace(&db.open_options, "")?.create_if_missing {
        return Ok(None);
    }
    db.status.check_writable()?;
    create(db, name, &given).map(Some)
}

/// Persists options given for a keyspace that exists.
fn remember(db: &DbInner, found: &KeyspaceState, given: &Options) -> Result<()> {
    let records = db.versions.keyspaces();
    let Some(record) = records.iter().find(|r| r.id == found.id) else { return Ok(()) };
    let text = given.persisted_text(Scope::Keyspace, &record.options)?;
    if text == record.options || db.options.is_read_only() {
        return Ok(());
    }
    db.install(VersionEdit { options: vec![(Some(found.id), text)], ..VersionEdit::default() })
}

fn create(db: &DbInner, name: &[u8], given: &Options) -> Result<Arc<KeyspaceState>> {
    let text = given.persisted_text(Scope::Keyspace, "")?;
    let id = db.versions.next_keyspace_id();
    let edit = VersionEdit {
        created: vec![(id, name.to_vec(), text)],
        // Nothing up to now is its own.
        flushed: vec![(id, db.log.visible())],
        ..VersionEdit::default()
    };
    db.install(edit)?;
    let record = db
        .versions
        .keyspaces()
        .into_iter()
        .find(|r| r.id == id)
        .ok_or_else(|| Error::new(Code::Io, "the created keyspace is not in the manifest"))?;
    let state = open_keyspace(&db.keyspaces, &db.open_options, &record)?;
    db.keyspaces.insert(Arc::clone(&state));
    Ok(state)
}

/// Drops a keyspace with all it holds; false when there is none.
pub fn drop_keyspace(db: &DbInner, name: &[u8]) -> Result<bool> {
    db.status.check_writable()?;
    check_name(name)?;
    if name == DEFAULT_NAME {
        return Err(Error::invalid("the keyspace `default` cannot be dropped"));
    }
    let _one_at_a_time = db.schema.lock();
    let Some(keyspace) = db.keyspaces.get(name) else { return Ok(false) };
    // The drop is durable when it is answered; so must be what was written before it, or a power cut would leave a
    // history with a hole.
    if !crate::base::planted!("drop-before-log-sync") {
        db.log.sync_to(db, db.log.publisher.visible())?;
    }
    if let Err(error) = db.install(VersionEdit { dropped: vec![keyspace.id], ..VersionEdit::default() }) {
        if error.code() != Code::Invalid {
            // It may be on the device: nothing is acknowledged until the manifest says that it did not happen.
            db.status.set_in_doubt(Some(&error));
            db.background.wake_housekeeper();
        }
        return Err(error);
    }
    keyspace.mark_dropped();
    db.keyspaces.remove(name);
    {
        // Readers that are inside keep their SuperVersion; nobody new finds the data.
        let mut mem = keyspace.mem.lock();
        mem.active = None;
        mem.sealed.clear();
        keyspace.publish(&mem, Some(Version::empty()), &db.retired);
    }
    db.keyspaces.free_slot(keyspace.slot);
    db.stall.update(db);
    db.background.wake_flush();
    db.background.wake_housekeeper();
    Ok(true)
}
