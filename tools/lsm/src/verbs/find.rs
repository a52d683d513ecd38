//! find: every table and log record that holds a key, also on a database that is open or damaged.

use super::Context;
use super::data::json_text;
use super::dump::{file_name, kind_name};
use crate::cli::Find;
use crate::exit::{Exit, Failure, Outcome};
use crate::text::{self, Encoding};
use lsm_engine::base::ids::KeyspaceId;
use lsm_engine::base::key::EntryKind;
use lsm_engine::inspect::{Folder, Sighting, Sought};
use lsm_engine::version::ManifestState;
use serde_json::{Value, json};

/// A place, owned.
struct Place {
    file: String,
    offset: u64,
    keyspace: Option<KeyspaceId>,
    level: Option<u8>,
    seq: u64,
    kind: EntryKind,
    value: Vec<u8>,
    is_dropped: bool,
}

impl Place {
    fn of(sighting: &Sighting<'_>) -> Place {
        Place {
            file: file_name(sighting.path),
            offset: sighting.offset,
            keyspace: sighting.keyspace,
            level: sighting.level.map(|level| level.0),
            seq: sighting.seq.0,
            kind: sighting.kind,
            value: sighting.value.to_vec(),
            is_dropped: sighting.is_dropped,
        }
    }

    /// Why it is not what a read finds, if it is not.
    fn note(&self) -> &'static str {
        match (self.is_dropped, self.file.ends_with(".wal")) {
            (true, true) => "behind the end of the log: dropped",
            (true, false) => "the manifest does not name this table",
            _ => "",
        }
    }
}

/// The name of a keyspace, or its number where the manifest cannot say.
fn name_of(state: Option<&ManifestState>, id: Option<KeyspaceId>) -> String {
    let Some(id) = id else { return "?".to_string() };
    let known = state.and_then(|state| state.keyspaces.iter().find(|k| k.id == id));
    known.map_or_else(|| format!("#{id}"), |k| text::escape(&k.name))
}

/// `lsm find`.
pub fn run(c: &mut Context, args: &Find) -> Outcome {
    let encoding = c.global.encoding();
    let key = encoding.argument("key", &args.key)?;
    std::fs::read_dir(&args.db).map_err(|e| Failure::system(args.db.display(), &e))?;
    let folder = Folder::new(&args.db);
    let (mut places, mut damages, mut searched) = (Vec::new(), Vec::new(), 0u64);
    let state = folder.state().map_err(|error| damages.push(error.message().to_string())).ok();
    // As `name_of` writes it, however it was escaped.
    let wanted = args.keyspace.as_deref().map(text::keyspace).transpose()?.map(|name| text::escape(&name));
    folder.find(&key, state.as_ref(), &mut |sought| match sought {
        Sought::Here(sighting) => {
            let is_wanted = |name: &String| *name == name_of(state.as_ref(), sighting.keyspace);
            if wanted.as_ref().is_none_or(is_wanted) {
                places.push(Place::of(&sighting));
            }
        }
        Sought::Damage(path, error) => {
            let (message, name) = (error.message(), path.display().to_string());
            damages.push(if message.contains(&name) { message.to_string() } else { format!("{name}: {message}") });
        }
        Sought::Searched(_) => searched += 1,
    })?;
    // Newest first: the first one that is not dropped is what a read finds.
    places.sort_by(|a, b| (b.seq, &a.file, a.offset).cmp(&(a.seq, &b.file, b.offset)));
    if c.out.is_json {
        tell_json(c, encoding, state.as_ref(), &key, &places, &damages)?;
    } else {
        tell(c, encoding, state.as_ref(), &places, &damages)?;
        let (s, of) = (if places.len() == 1 { "" } else { "s" }, if searched == 1 { "" } else { "s" });
        c.out.note(&format!("{} place{s} in {searched} file{of}", places.len()))?;
    }
    c.out.finish()?;
    match damages.first() {
        Some(_) if c.out.is_json => Err(Failure::silent(Exit::Damaged)),
        Some(damage) => Err(Failure::new(Exit::Damaged, damage.clone()).hint("what could be searched was searched")),
        None if places.is_empty() => Err(Failure::silent(Exit::Absent)),
        None => Ok(()),
    }
}

fn tell(
    c: &mut Context,
    encoding: Encoding,
    state: Option<&ManifestState>,
    places: &[Place],
    damages: &[String],
) -> Outcome {
    let row = |place: &Place| {
        let value = match place.kind {
            EntryKind::Put => text::shorten(&String::from_utf8_lossy(&encoding.encode(&place.value)), 60),
            _ => String::new(),
        };
        vec![
            place.file.clone(),
            place.offset.to_string(),
            name_of(state, place.keyspace),
            place.level.map_or_else(|| "-".to_string(), |level| level.to_string()),
            place.seq.to_string(),
            kind_name(place.kind).to_string(),
            value,
            place.note().to_string(),
        ]
    };
    let rows: Vec<_> = places.iter().map(row).collect();
    c.out.table(&["file", "offset", "keyspace", "level", "seq", "kind", "value", ""], &rows, &[1, 3, 4])?;
    for damage in damages {
        c.out.line(&format!("DAMAGED: {}", text::plain(damage)))?;
    }
    Ok(())
}

fn tell_json(
    c: &mut Context,
    encoding: Encoding,
    state: Option<&ManifestState>,
    key: &[u8],
    places: &[Place],
    damages: &[String],
) -> Outcome {
    let mut rows: Vec<Value> = Vec::new();
    for place in places {
        let mut row = json!({
            "file": place.file, "offset": place.offset, "keyspace": name_of(state, place.keyspace),
            "level": place.level, "seq": place.seq, "kind": kind_name(place.kind), "is_dropped": place.is_dropped,
        });
        if place.kind == EntryKind::Put {
            row["value"] = json_text(encoding, "the value of key", &place.value)?;
        }
        rows.push(row);
    }
    c.out.json_pretty(&json!({ "key": json_text(encoding, "key", key)?, "places": rows, "damage": damages }))
}
