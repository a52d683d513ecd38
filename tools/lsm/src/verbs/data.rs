//! get, put, delete, scan.

use super::Context;
use crate::cli::{Delete, Get, Put, Range, Scan};
use crate::exit::{Exit, Failure, Outcome};
use crate::lsm::{Bounds, Db, Mode};
use crate::text::{self, Encoding};
use serde_json::{Value, json};
use std::io::Read as _;

/// A key or value as it stands in JSON. Raw bytes that are no UTF-8 have no place there.
pub fn json_text(encoding: Encoding, what: &str, bytes: &[u8]) -> Outcome<Value> {
    encoding.encode_text(bytes).map(Value::String).ok_or_else(|| {
        Failure::usage(format!("{what} {}: is not UTF-8 and cannot stand in JSON as it is", text::escape(bytes)))
            .hint("use --encoding escaped or hex")
    })
}

/// The bounds that the command line names.
pub fn bounds(encoding: Encoding, range: &Range) -> Outcome<Bounds> {
    let key = |what: &str, key: &Option<std::ffi::OsString>| {
        key.as_deref().map(|text| encoding.argument(what, text)).transpose()
    };
    Ok(Bounds {
        from: key("--from", &range.from)?,
        to: key("--to", &range.to)?,
        prefix: key("--prefix", &range.prefix)?,
        ..Bounds::default()
    })
}

/// `lsm get`.
pub fn get(c: &mut Context, args: &Get) -> Outcome {
    let encoding = c.global.encoding();
    if args.raw && args.keys.len() > 1 {
        return Err(Failure::usage("--raw shows the value of one key"));
    }
    let keys: Vec<_> = args.keys.iter().map(|key| encoding.argument("key", key)).collect::<Outcome<_>>()?;
    let library = c.library()?;
    let db = Db::open(&library, &args.place.db, Mode::Read, &c.settings)?;
    let keyspace = db.keyspace(&args.place.keyspace)?;
    let mut missing = Vec::new();
    for key in &keys {
        let value = keyspace.get(key)?;
        if c.out.is_json {
            let mut answer = json!({ "keyspace": args.place.keyspace, "key": json_text(encoding, "key", key)? });
            answer["found"] = value.is_some().into();
            if let Some(value) = &value {
                answer["value"] = json_text(encoding, "the value of key", value)?;
            }
            c.out.json(&answer)?;
        }
        let Some(value) = value else {
            missing.push(text::escape(key));
            continue;
        };
        match (c.out.is_json, args.raw) {
            (true, _) => {}
            (_, true) => c.out.bytes(&value)?,
            _ => {
                if keys.len() > 1 {
                    c.out.bytes(&encoding.encode(key))?;
                    c.out.bytes(b"\t")?;
                }
                c.out.bytes(&encoding.encode(&value))?;
                c.out.bytes(b"\n")?;
            }
        }
    }
    c.out.finish()?;
    match missing.as_slice() {
        [] => Ok(()),
        // The answers say it already.
        _ if c.out.is_json => Err(Failure::silent(Exit::Absent)),
        [key] => Err(Failure::new(Exit::Absent, format!("no key {key}"))),
        keys => Err(Failure::new(Exit::Absent, format!("no keys {}", keys.join(", ")))),
    }
}

/// `lsm put`.
pub fn put(c: &mut Context, args: &Put) -> Outcome {
    let encoding = c.global.encoding();
    let key = encoding.argument("key", &args.key)?;
    let value = match (&args.value, &args.file) {
        (Some(value), _) => encoding.argument("value", value)?,
        (_, Some(file)) => std::fs::read(file).map_err(|e| Failure::system(file.display(), &e))?,
        _ => {
            let mut value = Vec::new();
            std::io::stdin().read_to_end(&mut value).map_err(|e| Failure::system("standard input", &e))?;
            value
        }
    };
    let library = c.library()?;
    let mode = if args.create { Mode::Create } else { Mode::Write };
    let db = Db::open(&library, &args.place.db, mode, &c.settings).map_err(|f| without_create(f, args.create))?;
    db.keyspace(&args.place.keyspace)?.put(&key, &value, args.sync)?;
    db.close()?;
    if c.out.is_json {
        let answer = json!({
            "keyspace": args.place.keyspace, "key": json_text(encoding, "key", &key)?, "bytes": value.len(),
        });
        c.out.json(&answer)?;
    }
    Ok(())
}

fn without_create(failure: Failure, is_creating: bool) -> Failure {
    let is_missing = failure.code == "LSM_E_IO" && failure.message.contains("No such file");
    if is_missing && !is_creating { failure.hint("--create makes a new database") } else { failure }
}

/// `lsm delete`.
pub fn delete(c: &mut Context, args: &Delete) -> Outcome {
    let encoding = c.global.encoding();
    let keys: Vec<_> = args.keys.iter().map(|key| encoding.argument("key", key)).collect::<Outcome<_>>()?;
    let library = c.library()?;
    let db = Db::open(&library, &args.place.db, Mode::Write, &c.settings)?;
    let keyspace = db.keyspace(&args.place.keyspace)?;
    for key in &keys {
        keyspace.delete(key, args.sync)?;
    }
    drop(keyspace);
    db.close()?;
    if c.out.is_json {
        c.out.json(&json!({ "keyspace": args.place.keyspace, "deleted": keys.len() }))?;
    }
    Ok(())
}

/// `lsm scan`.
pub fn scan(c: &mut Context, args: &Scan) -> Outcome {
    let encoding = c.global.encoding();
    let is_keys_only = args.keys || args.count;
    let bounds = Bounds { is_backward: args.reverse, is_keys_only, ..bounds(encoding, &args.range)? };
    let library = c.library()?;
    let db = Db::open(&library, &args.place.db, Mode::Read, &c.settings)?;
    let keyspace = db.keyspace(&args.place.keyspace)?;
    let mut iter = keyspace.iter(&bounds)?;
    let mut count = 0;
    while count < args.limit.unwrap_or(u64::MAX)
        && let Some((key, value)) = iter.next_entry()?
    {
        count += 1;
        if args.count {
            continue;
        }
        if c.out.is_json {
            let mut answer = json!({ "key": json_text(encoding, "key", key)? });
            if !args.keys {
                answer["value"] = json_text(encoding, "the value of key", value)?;
            }
            c.out.json(&answer)?;
            continue;
        }
        c.out.bytes(&encoding.encode(key))?;
        if !args.keys {
            c.out.bytes(b"\t")?;
            c.out.bytes(&encoding.encode(value))?;
        }
        c.out.bytes(b"\n")?;
    }
    match (args.count, c.out.is_json) {
        (true, true) => c.out.json(&json!({ "keyspace": args.place.keyspace, "count": count })),
        (true, false) => c.out.line(&count.to_string()),
        _ => Ok(()),
    }
}
