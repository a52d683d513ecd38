//! dump table, dump wal: one file taken apart by the engine's inspection. Nothing is locked, nothing is written.

use super::Context;
use super::data::json_text;
use crate::cli::{DumpTable, DumpWal};
use crate::exit::{Exit, Failure, Outcome};
use crate::out::Out;
use crate::text::{self, Encoding};
use lsm_engine::base::compress::Compression;
use lsm_engine::base::ids::FileNumber;
use lsm_engine::base::key::EntryKind;
use lsm_engine::batch::BatchReader;
use lsm_engine::inspect::Folder;
use lsm_engine::sstable::{BlockPlace, BlockView, Owner, TableOutline, TablePart, TableReader};
use lsm_engine::wal::{RecordKind, SegmentItem, SegmentRecord};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The folder that a file is in.
pub fn folder_of(file: &Path) -> Folder {
    Folder::new(file.parent().unwrap_or(Path::new("")))
}

/// `put` or `delete`.
pub fn kind_name(kind: EntryKind) -> &'static str {
    if kind == EntryKind::Put { "put" } else { "delete" }
}

fn identity(args: &DumpTable) -> Outcome<u128> {
    match &args.database {
        Some(text) => u128::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 32 && !text.starts_with('+'))
            .ok_or_else(|| Failure::usage(format!("--database {text}: 32 hexadecimal digits are expected"))),
        None => folder_of(&args.file).database().map_err(|error| {
            Failure::from(error).hint(
                "the checksums of a table are bound to its database: for a file outside its folder give --database \
                 (`lsm dump manifest` shows it)",
            )
        }),
    }
}

/// What a walk over the blocks counts.
#[derive(Default)]
struct Walk {
    blocks: u64,
    damaged: Vec<String>,
    entries: u64,
    shown: u64,
}

/// `lsm dump table`.
pub fn table(c: &mut Context, args: &DumpTable) -> Outcome {
    std::fs::metadata(&args.file).map_err(|e| Failure::system(args.file.display(), &e))?;
    let from = args.from.as_deref().map(|key| c.global.encoding().argument("--from", key)).transpose()?;
    let database = identity(args)?;
    let table = folder_of(&args.file).table(&args.file, database, args.number.map(FileNumber))?;
    let (encoding, mut walk) = (c.global.encoding(), Walk::default());
    if args.entries || args.blocks {
        let list = List { encoding, args, from: from.as_deref() };
        walk_blocks(&table, from.as_deref(), &mut |part| list.part(&mut c.out, &mut walk, part))?;
    } else {
        walk_blocks(&table, None, &mut |part| {
            count(&mut walk, &part);
            Ok(true)
        })?;
        summary(&mut c.out, encoding, args, &table, &walk, database)?;
    }
    match walk.damaged.as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::new(Exit::Damaged, one.clone()).code("LSM_E_CORRUPTION")),
        [first, rest @ ..] => {
            let text = format!("{first} (and {} more damaged places)", rest.len());
            Err(Failure::new(Exit::Damaged, text).code("LSM_E_CORRUPTION"))
        }
    }
}

/// The walk with a fallible step.
fn walk_blocks(table: &TableReader, from: Option<&[u8]>, each: &mut dyn FnMut(TablePart) -> Outcome<bool>) -> Outcome {
    let mut done = Ok(());
    table.for_each_block(from, &mut |part| match each(part) {
        Ok(goes_on) => goes_on,
        Err(failure) => {
            done = Err(failure);
            false
        }
    });
    done
}

fn count(walk: &mut Walk, part: &TablePart) {
    match part {
        TablePart::Block(_, Ok(view)) => {
            walk.blocks += 1;
            walk.entries += view.count() as u64;
        }
        TablePart::Block(_, Err(error)) | TablePart::LostIndex { error, .. } => {
            walk.damaged.push(error.message().to_string());
        }
    }
}

fn codec_name(codec: Compression) -> String {
    format!("{codec:?}").to_lowercase()
}

/// The listing of blocks or entries.
struct List<'a> {
    encoding: Encoding,
    args: &'a DumpTable,
    from: Option<&'a [u8]>,
}

impl List<'_> {
    fn part(&self, out: &mut Out, walk: &mut Walk, part: TablePart) -> Outcome<bool> {
        count(walk, &part);
        match part {
            TablePart::Block(place, Ok(view)) => {
                if self.args.blocks {
                    self.block(out, place, &view)?;
                }
                if self.args.entries { self.entries(out, walk, place, &view) } else { Ok(true) }
            }
            TablePart::Block(place, Err(error)) => {
                let text = text::plain(error.message());
                if out.is_json {
                    out.json(&json!({ "block": place.number, "offset": place.offset, "damage": text }))?;
                } else {
                    out.line(&format!("block {} at offset {}: DAMAGED: {text}", place.number, place.offset))?;
                }
                Ok(true)
            }
            TablePart::LostIndex { first, count, error } => {
                let text = text::plain(error.message());
                if out.is_json {
                    out.json(&json!({ "block": first, "blocks": count, "damage": text }))?;
                } else {
                    out.line(&format!(
                        "blocks {first} to {}: DAMAGED: {text}",
                        u64::from(first) + u64::from(count) - 1
                    ))?;
                }
                Ok(true)
            }
        }
    }

    fn block(&self, out: &mut Out, place: BlockPlace, view: &BlockView) -> Outcome {
        let mut first = Vec::new();
        view.key_into(0, &mut first);
        let codec = codec_name(view.codec());
        let BlockPlace { number, offset, len } = place;
        if out.is_json {
            let key = json_text(self.encoding, "key", &first)?;
            return out.json(&json!({
                "block": number, "offset": offset, "bytes": len, "raw_bytes": view.payload_len(), "codec": codec,
                "entries": view.count(), "first_key": key,
            }));
        }
        let key = text::shorten(&String::from_utf8_lossy(&self.encoding.encode(&first)), 100);
        let (count, raw) = (view.count(), view.payload_len());
        out.line(&format!(
            "block {number} at offset {offset}: {len} bytes, {codec}, {raw} raw, {count} entries from {key}"
        ))
    }

    fn entries(&self, out: &mut Out, walk: &mut Walk, place: BlockPlace, view: &BlockView) -> Outcome<bool> {
        let mut key = Vec::new();
        for i in 0..view.count() {
            view.key_into(i, &mut key);
            if self.from.is_some_and(|from| key.as_slice() < from) {
                continue;
            }
            if self.args.limit.is_some_and(|limit| walk.shown >= limit) {
                return Ok(false);
            }
            walk.shown += 1;
            let (seq, kind) = (view.seq(i).0, view.kind(i));
            if out.is_json {
                let mut entry = json!({
                    "block": place.number, "key": json_text(self.encoding, "key", &key)?, "seq": seq,
                    "kind": kind_name(kind),
                });
                if kind == EntryKind::Put {
                    entry["value"] = json_text(self.encoding, "the value of key", view.value(i))?;
                }
                out.json(&entry)?;
                continue;
            }
            out.bytes(&self.encoding.encode(&key))?;
            out.bytes(format!("\t@{seq} {}", kind_name(kind)).as_bytes())?;
            if kind == EntryKind::Put {
                out.bytes(b"\t")?;
                out.bytes(&self.encoding.encode(view.value(i)))?;
            }
            out.bytes(b"\n")?;
        }
        Ok(true)
    }
}

fn summary(
    out: &mut Out,
    encoding: Encoding,
    args: &DumpTable,
    table: &TableReader,
    walk: &Walk,
    database: u128,
) -> Outcome {
    let (s, o) = (table.summary(), table.outline());
    let path = args.file.display().to_string();
    if out.is_json {
        return out.json_pretty(&json!({
            "file": path, "database": format!("{database:032x}"), "keyspace": table.owner().map(owner_text),
            "keyspace_id": table.owner().map(|owner| owner.id.0), "bytes": s.size, "entries": s.entries,
            "deletes": s.deletes, "raw_bytes": s.raw_bytes,
            "smallest_key": json_text(encoding, "key", &s.smallest)?,
            "largest_key": json_text(encoding, "key", &s.largest)?,
            "smallest_seq": s.smallest_seq.0, "largest_seq": s.largest_seq.0, "parts": parts(&o),
            "whole_blocks": walk.blocks, "damage": walk.damaged,
        }));
    }
    let key = |key: &[u8]| text::shorten(&String::from_utf8_lossy(&encoding.encode(key)), 100);
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let rows = [
        row("file", text::escape(path.as_bytes())),
        row("database", format!("{database:032x}")),
        row("keyspace", table.owner().map_or_else(|| "does not say".to_string(), owner_text)),
        row("size", text::size(s.size)),
        row("entries", format!("{} ({} deletes)", text::thousands(s.entries), text::thousands(s.deletes))),
        row("keys and values", text::size(s.raw_bytes)),
        row("first key", key(&s.smallest)),
        row("last key", key(&s.largest)),
        row("sequence", format!("{} to {}", s.smallest_seq, s.largest_seq)),
        row("data blocks", format!("{}, {}", o.data_blocks, text::size(o.data_bytes))),
        row("index", format!("{} partitions, {}", o.index_partitions, text::size(o.index_bytes))),
        row("filter", format!("{} partitions, {}", o.filter_partitions, text::size(o.filter_bytes))),
        row("whole blocks", format!("{} with {} entries", walk.blocks, text::thousands(walk.entries))),
        row("damaged places", walk.damaged.len().to_string()),
    ];
    out.table(&["of", "is"], &rows, &[])?;
    for damage in &walk.damaged {
        out.line(&format!("DAMAGED: {}", text::plain(damage)))?;
    }
    Ok(())
}

/// The keyspace that a table says it is of; tables of 0.1.0 do not say.
fn owner_text(owner: &Owner) -> String {
    text::escape(&owner.name)
}

fn parts(o: &TableOutline) -> Value {
    json!({
        "data_blocks": o.data_blocks, "data_bytes": o.data_bytes, "index_partitions": o.index_partitions,
        "index_bytes": o.index_bytes, "filter_partitions": o.filter_partitions, "filter_bytes": o.filter_bytes,
        "properties_at": o.properties_at, "top_index_at": o.top_at,
    })
}

/// `lsm dump wal`.
pub fn wal(c: &mut Context, args: &DumpWal) -> Outcome {
    let (encoding, mut done, mut broken) = (c.global.encoding(), Ok(()), Vec::new());
    let out = &mut c.out;
    let head = folder_of(&args.file).segment(&args.file, &mut |item| {
        done = segment_item(out, encoding, args, &item, &mut broken);
        done.is_ok()
    });
    done?;
    let head = head?;
    let (number, database) = (head.file.number.0, format!("{:032x}", head.file.database));
    if c.out.is_json {
        let created = head.created_micros;
        c.out.json(&json!({ "segment": number, "database": database, "created_unix_micros": created }))?;
    } else {
        c.out.note(&format!("segment {number} of database {database}"))?;
    }
    let named = |text: &str| format!("{}: {text}", args.file.display());
    match broken.first() {
        None => Ok(()),
        Some(text) => Err(Failure::new(Exit::Damaged, named(text)).hint(
            "after a crash this may be the torn end of the log: `lsm verify` and every open tell that from damage",
        )),
    }
}

fn segment_item(
    out: &mut Out,
    encoding: Encoding,
    args: &DumpWal,
    item: &SegmentItem<'_>,
    broken: &mut Vec<String>,
) -> Outcome {
    match item {
        SegmentItem::Record(record) => {
            segment_record(out, record)?;
            if args.entries && record.kind == RecordKind::Batch { batch(out, encoding, record, broken) } else { Ok(()) }
        }
        SegmentItem::MissingMark { offset } => {
            let text = "a mark was reserved here and never stored; nothing is missing";
            if out.is_json {
                out.json(&json!({ "offset": offset, "note": text }))
            } else {
                out.line(&format!("{offset:>10}  {text}"))
            }
        }
        SegmentItem::End { offset, why, is_begun } => {
            if *is_begun {
                broken.push(format!("offset {offset}: {why}"));
            }
            if out.is_json {
                return out.json(&json!({ "offset": offset, "end": why, "is_damaged_or_torn": is_begun }));
            }
            let what = if *is_begun { "DAMAGED or torn" } else { "end" };
            out.line(&format!("{offset:>10}  {what}: {}", text::plain(why)))
        }
    }
}

fn segment_record(out: &mut Out, record: &SegmentRecord<'_>) -> Outcome {
    let kind = format!("{:?}", record.kind).to_lowercase();
    let (offset, bytes) = (record.offset, record.end - record.offset);
    let (first_seq, count, durable) = (record.first_seq.0, record.count, record.durable.0);
    if out.is_json {
        let mut line = json!({
            "offset": offset, "kind": kind, "bytes": bytes, "first_seq": first_seq, "count": count,
            "durable": durable,
        });
        if record.is_behind_end {
            line["is_behind_end"] = true.into();
        }
        if let Some(next) = record.next_segment() {
            line["next_segment"] = next.0.into();
        }
        if let Some(previous) = record.previous() {
            let (number, end) = (previous.number.0, previous.end.offset);
            line["previous"] = json!({ "segment": number, "end": end, "durable": previous.durable.0 });
        }
        return out.json(&line);
    }
    let seqs = match count {
        0 => format!("before @{first_seq}"),
        1 => format!("@{first_seq}"),
        n => format!("@{first_seq} to @{}", first_seq + u64::from(n) - 1),
    };
    let mut line = format!("{offset:>10}  {kind:<5}  {bytes} bytes, {seqs}, durable below @{durable}");
    if let Some(next) = record.next_segment() {
        line.push_str(&format!(", goes on in segment {next}"));
    }
    if let Some(previous) = record.previous() {
        line.push_str(&format!(", behind segment {} that ends at {}", previous.number, previous.end.offset));
    }
    if record.is_behind_end {
        line.push_str(", BEHIND THE END: not part of the database");
    }
    out.line(&line)
}

/// The entries of a batch.
fn batch(out: &mut Out, encoding: Encoding, record: &SegmentRecord<'_>, broken: &mut Vec<String>) -> Outcome {
    let mut entries = BatchReader::new(record.payload);
    let mut seq = record.first_seq.0;
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(()),
            Err(error) => {
                broken.push(format!("offset {}: {}", record.offset, error.message()));
                return Ok(());
            }
        };
        if out.is_json {
            let mut line = json!({
                "offset": record.offset, "keyspace_id": entry.keyspace.0, "seq": seq, "kind": kind_name(entry.kind),
                "key": json_text(encoding, "key", entry.key)?,
            });
            if entry.kind == EntryKind::Put {
                line["value"] = json_text(encoding, "the value of key", entry.value)?;
            }
            out.json(&line)?;
        } else {
            let head = format!("            @{seq} keyspace {} {} ", entry.keyspace, kind_name(entry.kind));
            out.bytes(head.as_bytes())?;
            out.bytes(&encoding.encode(entry.key))?;
            if entry.kind == EntryKind::Put {
                out.bytes(b"\t")?;
                out.bytes(&encoding.encode(entry.value))?;
            }
            out.bytes(b"\n")?;
        }
        seq += 1;
    }
}

/// A path relative to nothing, for a column of a table.
pub fn file_name(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| path.to_owned(), PathBuf::from);
    text::escape(name.to_string_lossy().as_bytes())
}
