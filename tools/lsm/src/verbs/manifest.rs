//! dump manifest: every snapshot and edit, and the state that they lead to.

use super::Context;
use super::data::json_text;
use super::dump::{file_name, folder_of};
use crate::cli::DumpManifest;
use crate::exit::{Exit, Failure, Outcome};
use crate::out::Out;
use crate::text::{self, Encoding};
use lsm_engine::fs::names::{FileKind, path as path_of};
use lsm_engine::inspect::Folder;
use lsm_engine::version::{ManifestState, ManifestUnit, VersionEdit};
use serde_json::{Value, json};
use std::path::PathBuf;

/// `lsm dump manifest`.
pub fn run(c: &mut Context, args: &DumpManifest) -> Outcome {
    let metadata = std::fs::metadata(&args.path).map_err(|e| Failure::system(args.path.display(), &e))?;
    let folder = if metadata.is_dir() { Folder::new(&args.path) } else { folder_of(&args.path) };
    let path = if metadata.is_dir() { in_force(&folder)? } else { args.path.clone() };
    let mut units = Vec::new();
    let done = folder.manifest(&path, &mut |unit| units.push(unit));
    // The state is that of the folder: shown for the manifest in force only.
    let current = folder.current().ok().filter(|current| {
        path_of(folder.dir(), FileKind::Manifest, current.manifest.number).file_name() == path.file_name()
    });
    let state = current.and_then(|_| folder.state().ok());
    let encoding = c.global.encoding();
    let head = done.as_ref().ok().map(|(head, _)| *head);
    let torn = done.as_ref().ok().and_then(|(_, torn)| torn.clone());
    if c.out.is_json {
        let units: Outcome<Vec<Value>> = units.iter().map(|unit| unit_json(encoding, unit)).collect();
        let state = state.as_ref().map(|state| state_json(encoding, state)).transpose()?;
        let answer = json!({
            "file": path.display().to_string(), "number": head.map(|h| h.file.number.0),
            "database": head.map(|h| format!("{:032x}", h.file.database)), "bytes": head.map(|h| h.len),
            "current": current.map(|c| json!({ "promised_bytes": c.promised, "closed_cleanly": c.is_exact })),
            "units": units?, "torn": torn, "state": state,
        });
        c.out.json_pretty(&answer)?;
    } else {
        if let Some(head) = head {
            let (number, size) = (head.file.number, text::size(head.len));
            c.out.line(&format!("manifest {number} of database {:032x}, {size}", head.file.database))?;
        }
        for unit in &units {
            show_unit(&mut c.out, encoding, unit)?;
        }
        if let Some(torn) = &torn {
            c.out.line(&format!("TORN: {}", text::plain(torn)))?;
        }
        if let Some(state) = &state {
            show_state(&mut c.out, encoding, state)?;
        }
    }
    done.map(drop).map_err(|error| Failure::from(error).hint("what stands before the damage is shown"))
}

/// The manifest that `CURRENT` names, or the only one there is.
fn in_force(folder: &Folder) -> Outcome<PathBuf> {
    let error = match folder.current() {
        Ok(current) => return Ok(path_of(folder.dir(), FileKind::Manifest, current.manifest.number)),
        Err(error) => error,
    };
    let mut manifests = folder.files()?.into_iter().filter(|file| file.kind == FileKind::Manifest);
    match (manifests.next(), manifests.next()) {
        (Some(only), None) => Ok(only.path),
        (Some(_), Some(_)) => {
            Err(Failure::from(error).hint("name the manifest: lsm dump manifest FOLDER/MANIFEST-..."))
        }
        _ => Err(Failure::new(Exit::System, error.message()).hint("this folder holds no database")),
    }
}

fn key_text(encoding: Encoding, key: &[u8]) -> String {
    text::shorten(&String::from_utf8_lossy(&encoding.encode(key)), 60)
}

/// The simple fields of an edit, as (name, text).
fn facts(unit: &ManifestUnit) -> Vec<(&'static str, String)> {
    let edit = &unit.edit;
    let mut facts = Vec::new();
    let mut add = |name, value: Option<u64>| facts.extend(value.map(|value| (name, value.to_string())));
    add("next file", unit.next_file.map(|n| n.0));
    add("next keyspace", unit.next_keyspace.map(u64::from));
    add("first segment", edit.first_segment.map(|n| n.0));
    add("segment started", edit.segment_started.map(|n| n.0));
    add("last sequence", edit.last_seq.map(|n| n.0));
    if let Some(end) = edit.clean_end {
        let text = format!("segment {} ends at {}, last sequence {}", end.number, end.offset, end.last_seq);
        facts.push(("closed cleanly", text));
    }
    facts
}

fn show_unit(out: &mut Out, encoding: Encoding, unit: &ManifestUnit) -> Outcome {
    out.line(&format!("{:>8}  {}", unit.offset, if unit.is_snapshot { "snapshot" } else { "edit" }))?;
    let edit = &unit.edit;
    for (id, name, options) in &edit.created {
        let options =
            if options.is_empty() { String::new() } else { format!(", options {}", text::escape(options.as_bytes())) };
        out.line(&format!("          + keyspace {id} {}{options}", text::escape(name)))?;
    }
    for id in &edit.dropped {
        out.line(&format!("          - keyspace {id}"))?;
    }
    for (id, options) in &edit.options {
        let whose = id.map_or_else(|| "the database".to_string(), |id| format!("keyspace {id}"));
        out.line(&format!("            options of {whose}: {}", text::escape(options.as_bytes())))?;
    }
    for (id, level, number) in &edit.removed {
        out.line(&format!("          - table {number}, keyspace {id} level {level}"))?;
    }
    for (id, level, meta) in &edit.added {
        let s = &meta.summary;
        let (size, entries) = (text::size(s.size), text::thousands(s.entries));
        let (from, to) = (key_text(encoding, &s.smallest), key_text(encoding, &s.largest));
        let number = meta.number;
        out.line(&format!(
            "          + table {number}, keyspace {id} level {level}: {size}, {entries} entries, {from} .. {to}"
        ))?;
    }
    for (id, seq) in &edit.flushed {
        out.line(&format!("            keyspace {id} is in tables up to @{seq}"))?;
    }
    for (name, value) in facts(unit) {
        out.line(&format!("            {name}: {value}"))?;
    }
    Ok(())
}

fn edit_json(encoding: Encoding, edit: &VersionEdit) -> Outcome<Value> {
    let mut added = Vec::new();
    for (id, level, meta) in &edit.added {
        let s = &meta.summary;
        added.push(json!({
            "keyspace_id": id.0, "level": level.0, "table": meta.number.0, "bytes": s.size, "entries": s.entries,
            "deletes": s.deletes, "checksum": format!("{:08x}", s.checksum),
            "smallest_key": json_text(encoding, "key", &s.smallest)?,
            "largest_key": json_text(encoding, "key", &s.largest)?,
            "smallest_seq": s.smallest_seq.0, "largest_seq": s.largest_seq.0,
        }));
    }
    let removed = edit
        .removed
        .iter()
        .map(|(id, level, number)| json!({ "keyspace_id": id.0, "level": level.0, "table": number.0 }));
    let created = edit
        .created
        .iter()
        .map(|(id, name, options)| json!({ "keyspace_id": id.0, "name": text::escape(name), "options": options }));
    let flushed = edit.flushed.iter().map(|(id, seq)| json!({ "keyspace_id": id.0, "seq": seq.0 }));
    let options =
        edit.options.iter().map(|(id, options)| json!({ "keyspace_id": id.map(|id| id.0), "options": options }));
    let clean_end =
        edit.clean_end.map(|end| json!({ "segment": end.number.0, "offset": end.offset, "last_seq": end.last_seq.0 }));
    Ok(json!({
        "added": added, "removed": removed.collect::<Vec<_>>(), "created": created.collect::<Vec<_>>(),
        "dropped": edit.dropped.iter().map(|id| id.0).collect::<Vec<_>>(), "options": options.collect::<Vec<_>>(),
        "flushed": flushed.collect::<Vec<_>>(), "first_segment": edit.first_segment.map(|n| n.0),
        "segment_started": edit.segment_started.map(|n| n.0), "last_seq": edit.last_seq.map(|n| n.0),
        "clean_end": clean_end,
    }))
}

fn unit_json(encoding: Encoding, unit: &ManifestUnit) -> Outcome<Value> {
    Ok(json!({
        "offset": unit.offset, "kind": if unit.is_snapshot { "snapshot" } else { "edit" },
        "next_file": unit.next_file.map(|n| n.0), "next_keyspace": unit.next_keyspace,
        "edit": edit_json(encoding, &unit.edit)?,
    }))
}

/// Every table in force: (keyspace, level, number, bytes, entries, smallest, largest).
fn show_state(out: &mut Out, encoding: Encoding, state: &ManifestState) -> Outcome {
    out.line("")?;
    let mut rows = Vec::new();
    for keyspace in &state.keyspaces {
        for (level, table) in keyspace.version.tables() {
            let (meta, s) = (table.meta(), &table.meta().summary);
            rows.push(vec![
                text::escape(&keyspace.name),
                level.to_string(),
                file_name(&path_of(std::path::Path::new(""), FileKind::Table, meta.number)),
                text::size(s.size),
                text::thousands(s.entries),
                key_text(encoding, &s.smallest),
                key_text(encoding, &s.largest),
            ]);
        }
    }
    let header = ["keyspace", "level", "table", "size", "entries", "first key", "last key"];
    out.table(&header, &rows, &[1, 3, 4])
}

fn state_json(encoding: Encoding, state: &ManifestState) -> Outcome<Value> {
    let mut keyspaces = Vec::new();
    for keyspace in &state.keyspaces {
        let mut tables = Vec::new();
        for (level, table) in keyspace.version.tables() {
            let (meta, s) = (table.meta(), &table.meta().summary);
            tables.push(json!({
                "level": level.0, "table": meta.number.0, "bytes": s.size, "entries": s.entries,
                "smallest_key": json_text(encoding, "key", &s.smallest)?,
                "largest_key": json_text(encoding, "key", &s.largest)?,
            }));
        }
        keyspaces.push(json!({
            "keyspace_id": keyspace.id.0, "name": text::escape(&keyspace.name), "options": keyspace.options,
            "flushed_seq": keyspace.flushed_seq.0, "tables": tables,
        }));
    }
    Ok(json!({ "options": state.options, "keyspaces": keyspaces, "first_segment": state.log.first_segment.0 }))
}
