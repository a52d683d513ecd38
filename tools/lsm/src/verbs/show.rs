//! stats, levels, metrics, options: what a database says of itself.

use super::Context;
use crate::cli::{Options, Stats};
use crate::exit::{Exit, Failure, Outcome};
use crate::lsm::{Db, Library, Mode};
use crate::out::Out;
use crate::text;
use serde_json::{Map, Value, json};

/// A level of a keyspace.
pub struct Level {
    /// Its keyspace.
    pub keyspace: String,
    /// Its number.
    pub level: u64,
    /// Tables.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How due a compaction is: 1 and more is due; `None` where the library does not say.
    pub score: Option<f64>,
}

/// The library's answer as JSON.
pub fn parse(what: &str, text: &str) -> Outcome<Value> {
    serde_json::from_str(text)
        .map_err(|e| Failure::new(Exit::Internal, format!("the library's {what} is not JSON: {e}")))
}

/// The metrics of an open database.
pub fn read_metrics(db: &Db) -> Outcome<Map<String, Value>> {
    match parse("metrics", &db.metrics(true)?)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Failure::new(Exit::Internal, "the library's metrics are no JSON object")),
    }
}

/// All levels of all keyspaces.
pub fn read_levels(db: &Db) -> Outcome<Vec<Level>> {
    let metrics = read_metrics(db)?;
    let scores = scores(&db.property(None, "levels")?.unwrap_or_default());
    let rows = metrics.get("levels").and_then(Value::as_array).cloned().unwrap_or_default();
    let level = |row: &Value| {
        let number = |name: &str| row[name].as_u64().unwrap_or_default();
        let keyspace = row["keyspace"].as_str().unwrap_or_default().to_string();
        let level = number("level");
        let score = scores.iter().find(|(k, l, _)| *k == keyspace && *l == level).map(|(.., score)| *score);
        Level { keyspace, level, files: number("files"), bytes: number("bytes"), score }
    };
    Ok(rows.iter().map(level).collect())
}

/// The scores in the property `levels`, which is text for people: `keyspace NAME`, a header, `level files bytes score`.
fn scores(text: &str) -> Vec<(String, u64, f64)> {
    let mut found = Vec::new();
    let mut keyspace = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("keyspace ") {
            keyspace = name.to_string();
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [level, _, _, score] = words.as_slice()
            && let (Ok(level), Ok(score)) = (level.parse(), score.parse())
        {
            found.push((keyspace.clone(), level, score));
        }
    }
    found
}

/// Levels as a table; those behind the last one that holds anything are left out.
pub fn level_table(out: &mut Out, levels: &[Level]) -> Outcome {
    let row = |level: &Level| {
        let score = level.score.map_or_else(|| "-".to_string(), |score| format!("{score:.2}"));
        let name = text::escape(level.keyspace.as_bytes());
        vec![name, level.level.to_string(), text::thousands(level.files), text::size(level.bytes), score]
    };
    let mut rows = Vec::new();
    let mut rest = levels;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|level| level.keyspace == first.keyspace).count();
        let last = rest[..count].iter().rposition(|level| level.files > 0).unwrap_or(0);
        rows.extend(rest[..=last].iter().map(row));
        rest = &rest[count..];
    }
    out.table(&["keyspace", "level", "files", "bytes", "score"], &rows, &[1, 2, 3, 4])
}

/// Levels as JSON.
pub fn level_json(levels: &[Level]) -> Value {
    let level = |l: &Level| {
        let (keyspace, score) = (&l.keyspace, l.score);
        json!({ "keyspace": keyspace, "level": l.level, "files": l.files, "bytes": l.bytes, "score": score })
    };
    levels.iter().map(level).collect()
}

/// `lsm stats`.
pub fn stats(c: &mut Context, args: &Stats) -> Outcome {
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Read, &c.settings)?;
    let mut metrics = read_metrics(&db)?;
    let levels = read_levels(&db)?;
    let (committed, durable) = db.sequence()?;
    let wal_io = db.property(None, "wal.io")?.unwrap_or_default();
    let keyspaces = db.keyspaces()?;
    metrics.shift_remove("levels");
    let path = args.db.display().to_string();
    if c.out.is_json {
        let mut answer = json!({
            "path": path, "library": library.version(), "keyspaces": keyspaces, "sequence_committed": committed,
            "sequence_durable": durable, "wal_io": wal_io, "levels": level_json(&levels),
        });
        answer["metrics"] = Value::Object(metrics);
        return c.out.json_pretty(&answer);
    }
    let is_size = |name: &str| name.ends_with("bytes");
    let mut rows = vec![
        vec!["path".to_string(), text::escape(path.as_bytes())],
        vec!["library".to_string(), library.version()],
        vec!["keyspaces".to_string(), keyspaces.len().to_string()],
        vec!["wal_io".to_string(), wal_io],
        vec!["sequence_durable".to_string(), text::thousands(durable)],
    ];
    for (name, value) in &metrics {
        let number = value.as_u64().unwrap_or_default();
        rows.push(vec![name.clone(), if is_size(name) { text::size(number) } else { text::thousands(number) }]);
    }
    c.out.table(&["name", "value"], &rows, &[])?;
    c.out.line("")?;
    level_table(&mut c.out, &levels)
}

/// `lsm levels`.
pub fn levels(c: &mut Context, args: &Stats) -> Outcome {
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Read, &c.settings)?;
    let levels = read_levels(&db)?;
    if c.out.is_json { c.out.json_pretty(&level_json(&levels)) } else { level_table(&mut c.out, &levels) }
}

/// `lsm metrics`.
pub fn metrics(c: &mut Context, args: &Stats) -> Outcome {
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Read, &c.settings)?;
    if c.out.is_json {
        return c.out.json_pretty(&Value::Object(read_metrics(&db)?));
    }
    c.out.bytes(db.metrics(false)?.as_bytes())
}

/// How a database is opened is chosen anew each time: here it would be what this program chose.
const OF_AN_OPEN: [&str; 3] = ["create_if_missing", "error_if_exists", "mode"];

/// An option: what the library's table says of it, and its value.
pub fn read_options(library: &Library, db: Option<&Db>, keyspace: &str) -> Outcome<Vec<Map<String, Value>>> {
    let described = parse("table of options", &library.describe_options()?)?;
    let effective = match db {
        None => None,
        Some(db) => {
            let keyspace = db.keyspace(keyspace)?;
            Some(db.property(Some(&keyspace), "options")?.unwrap_or_default())
        }
    };
    let value_of = |key: &str| {
        let lines = effective.as_deref()?.lines();
        lines.filter_map(|line| line.split_once('=')).find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_string())
    };
    let rows = described.as_array().cloned().unwrap_or_default().into_iter();
    let rows = rows.filter_map(|row| match row {
        Value::Object(mut fields) => {
            let key = fields.get("key").and_then(Value::as_str).unwrap_or_default().to_string();
            if let Some(value) = value_of(&key).filter(|_| !OF_AN_OPEN.contains(&key.as_str())) {
                fields.insert("value".to_string(), value.into());
            }
            Some(fields)
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// A field of an option as text.
pub fn field(option: &Map<String, Value>, name: &str) -> String {
    match option.get(name) {
        None | Some(Value::Null) => "-".to_string(),
        Some(Value::String(text)) if text.is_empty() => "-".to_string(),
        Some(Value::String(text)) => text::plain(text),
        Some(other) => other.to_string(),
    }
}

/// `lsm options`.
pub fn options(c: &mut Context, args: &Options) -> Outcome {
    let library = c.library()?;
    let db = match &args.db {
        Some(path) => Some(Db::open(&library, path, Mode::Read, &c.settings)?),
        None => None,
    };
    let mut options = read_options(&library, db.as_ref(), &args.keyspace)?;
    let only = args.only.as_deref().unwrap_or_default();
    options.retain(|option| option.get("key").and_then(Value::as_str).is_some_and(|key| key.starts_with(only)));
    if options.is_empty() {
        return Err(Failure::new(Exit::Absent, format!("no option begins with {only}")));
    }
    if c.out.is_json {
        return c.out.json_pretty(&options.into_iter().map(Value::Object).collect());
    }
    let names: &[&str] = match db {
        Some(_) => &["key", "value", "default", "range", "text"],
        None => &["key", "default", "range", "mutable", "text"],
    };
    let rows: Vec<Vec<String>> =
        options.iter().map(|option| names.iter().map(|name| field(option, name)).collect()).collect();
    c.out.table(names, &rows, &[])
}
