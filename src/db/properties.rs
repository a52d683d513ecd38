//! Properties and metrics: one list of numbers, shown as property, Prometheus text and JSON.
//!
//! Threads: any; nothing here is a snapshot of one instant.

use super::inner::DbInner;
use super::state::KeyspaceState;
use crate::base::key::{BATCH_BYTES_MAX, KEY_LEN_MAX, KEYSPACE_COUNT_MAX, VALUE_LEN_MAX};
use crate::base::sync::Ordering;
use crate::compaction;
use std::fmt::Write as _;
use std::sync::Arc;

/// Whether a number only grows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// A number with its name and prose.
struct Row {
    name: &'static str,
    kind: Kind,
    text: &'static str,
    value: fn(&DbInner, &[Arc<KeyspaceState>]) -> u64,
}

const fn counter(name: &'static str, text: &'static str, value: fn(&DbInner, &[Arc<KeyspaceState>]) -> u64) -> Row {
    Row { name, kind: Kind::Counter, text, value }
}

const fn gauge(name: &'static str, text: &'static str, value: fn(&DbInner, &[Arc<KeyspaceState>]) -> u64) -> Row {
    Row { name, kind: Kind::Gauge, text, value }
}

/// Every number but those of single levels.
static ROWS: &[Row] = &[
    counter("cache.hits", "Blocks found in the block cache.", |db, _| db.cache.hits()),
    counter("cache.misses", "Blocks read from a file for want of a cached one.", |db, _| db.cache.misses()),
    gauge("cache.bytes", "Bytes in the block cache.", |db, _| db.cache.bytes() as u64),
    gauge("memtable.bytes", "Bytes of memtables, active and sealed.", |_, ks| ks.iter().map(memtable_bytes).sum()),
    gauge(
        "memory.bytes",
        "Bytes of memtables, also of one kept for the next, block cache and what waits for readers.",
        |db, _| {
            db.memtable_bytes()
                + db.log.arenas.bytes()
                + (db.cache.bytes() + db.cache.retired_bytes() + db.retired.bytes()) as u64
        },
    ),
    gauge("disk.bytes", "Bytes of tables and log.", |db, ks| {
        ks.iter().map(table_bytes).sum::<u64>() + db.log.bytes() + db.log.pool.spare_bytes()
    }),
    gauge("wal.bytes", "Bytes of log that hold records.", |db, _| db.log.bytes()),
    counter("wal.syncs", "Syncs of log segments.", |db, _| db.stats.wal_syncs.get()),
    counter("compaction.jobs_run", "Compactions finished.", |db, _| db.stats.compaction_jobs_run.get()),
    gauge("compaction.jobs_running", "Compactions running now.", |db, _| {
        db.stats.compaction_jobs_running.load(Ordering::Relaxed)
    }),
    counter("compaction.bytes_read", "Bytes that compactions read.", |db, _| db.stats.compaction_bytes_read.get()),
    counter("compaction.bytes_written", "Bytes that compactions wrote.", |db, _| {
        db.stats.compaction_bytes_written.get()
    }),
    counter("compaction.parallel_merges", "Compactions merged in several parts at once.", |db, _| {
        db.stats.compaction_parallel_merges.get()
    }),
    gauge("compaction.pending_bytes", "Bytes that compactions have to move until none is due.", |_, ks| {
        ks.iter().map(|k| compaction::pending_bytes(&k.get().version, &k.options.shape())).sum()
    }),
    counter("flush.jobs_run", "Flushes finished.", |db, _| db.stats.flush_jobs_run.get()),
    counter("flush.bytes_written", "Bytes of tables that flushes wrote.", |db, _| db.stats.flush_bytes_written.get()),
    counter("stall.micros", "Microseconds that writers waited for background work.", |db, _| {
        db.stats.stall_micros.get()
    }),
    gauge("keys.estimate", "Keys, estimated: puts less deletes, overwritten ones counted until compacted.", |_, ks| {
        ks.iter().map(keys_estimate).sum()
    }),
    counter("reads", "Point reads.", |db, _| db.stats.reads.get()),
    counter("writes", "Entries written.", |db, _| db.stats.writes.get()),
    counter("write.bytes", "Encoded bytes written.", |db, _| db.stats.write_bytes.get()),
    counter("iterators", "Iterators opened.", |db, _| db.stats.iterators.get()),
    gauge("snapshots", "Live snapshots.", |db, _| db.snapshots.count() as u64),
    gauge("tables.open", "Open table files.", |db, _| db.tables.open_count() as u64),
    gauge("sequence.committed", "Last committed sequence number.", |db, _| db.log.visible().0),
    gauge("limit.key", "Longest key in bytes.", |_, _| KEY_LEN_MAX as u64),
    gauge("limit.value", "Longest value in bytes.", |_, _| VALUE_LEN_MAX as u64),
    gauge("limit.batch", "Largest encoded batch in bytes.", |_, _| BATCH_BYTES_MAX as u64),
    gauge("limit.keyspaces", "Most keyspaces at once.", |_, _| KEYSPACE_COUNT_MAX as u64),
];

fn memtable_bytes(keyspace: &Arc<KeyspaceState>) -> u64 {
    let mem = keyspace.mem.lock();
    mem.sealed.iter().chain(&mem.active).map(|m| m.table.bytes() as u64).sum()
}

fn table_bytes(keyspace: &Arc<KeyspaceState>) -> u64 {
    keyspace.get().version.levels().iter().map(|l| l.bytes()).sum()
}

fn keys_estimate(keyspace: &Arc<KeyspaceState>) -> u64 {
    let view = keyspace.get();
    let (mut entries, mut deletes) = (0u64, 0u64);
    for (_, handle) in view.version.tables() {
        entries += handle.meta().summary.entries;
        deletes += handle.meta().summary.deletes;
    }
    entries += view.memtables.iter().map(|t| t.entries()).sum::<u64>();
    entries.saturating_sub(2 * deletes)
}

fn scope(db: &DbInner, keyspace: Option<&Arc<KeyspaceState>>) -> Vec<Arc<KeyspaceState>> {
    keyspace.map_or_else(|| db.keyspaces.all(), |k| vec![Arc::clone(k)])
}

/// A number by name.
pub fn number(db: &DbInner, keyspace: Option<&Arc<KeyspaceState>>, name: &str) -> Option<u64> {
    let keyspaces = scope(db, keyspace);
    if let Some(row) = ROWS.iter().find(|row| row.name == name) {
        return Some((row.value)(db, &keyspaces));
    }
    let (level, what) = name.strip_prefix("levels.")?.split_once('.')?;
    if level.is_empty() || level.len() > 2 || !level.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let level: usize = level.parse().ok()?;
    let of_level = |f: fn(&crate::version::LevelFiles) -> u64| {
        keyspaces.iter().map(|k| k.get().version.levels().get(level).map(f)).sum::<Option<u64>>()
    };
    match what {
        "files" => of_level(|l| l.files().len() as u64),
        "bytes" => of_level(|l| l.bytes()),
        _ => None,
    }
}

/// A text, or a number as text, by name.
pub fn text(db: &DbInner, keyspace: Option<&Arc<KeyspaceState>>, name: &str) -> Option<String> {
    match name {
        "stats" => Some(stats(db, keyspace)),
        "levels" => Some(levels(&scope(db, keyspace))),
        "options" => Some(options(db, keyspace)),
        "wal.io" => Some(db.log.pool.io().to_string()),
        _ => number(db, keyspace, name).map(|n| n.to_string()),
    }
}

fn options(db: &DbInner, keyspace: Option<&Arc<KeyspaceState>>) -> String {
    let own = keyspace.and_then(|k| super::Options::new().over(&k.options_text).ok());
    let whole = own.and_then(|own| own.over(&db.open_options.dump()).ok());
    whole.as_ref().unwrap_or(&db.open_options).dump_all()
}

fn stats(db: &DbInner, keyspace: Option<&Arc<KeyspaceState>>) -> String {
    let keyspaces = scope(db, keyspace);
    let mut out = String::new();
    for row in ROWS {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<28} {}", row.name, (row.value)(db, &keyspaces));
    }
    out.push_str(&levels(&keyspaces));
    out
}

fn levels(keyspaces: &[Arc<KeyspaceState>]) -> String {
    let mut out = String::new();
    for keyspace in keyspaces {
        let view = keyspace.get();
        let scores = compaction::scores(&view.version, &keyspace.options.shape());
        let _ = writeln!(out, "keyspace {}", String::from_utf8_lossy(&keyspace.name));
        let _ = writeln!(out, "level  files          bytes  score");
        for (level, files) in view.version.levels().iter().enumerate().take(keyspace.options.level_count_max) {
            let score = scores.get(level).copied().unwrap_or(0.0);
            let _ = writeln!(out, "{level:>5} {:>6} {:>14} {score:>6.2}", files.files().len(), files.bytes());
        }
    }
    out
}

/// All numbers.
pub fn metrics(db: &DbInner, json: bool) -> String {
    let keyspaces = db.keyspaces.all();
    let rows: Vec<(String, &Row, u64)> =
        ROWS.iter().map(|row| (row.name.replace('.', "_"), row, (row.value)(db, &keyspaces))).collect();
    let mut out = String::new();
    if json {
        let fields: Vec<String> = rows.iter().map(|(_, row, value)| format!("  \"{}\": {value}", row.name)).collect();
        let _ = write!(out, "{{\n{},\n  \"levels\": [{}]\n}}\n", fields.join(",\n"), level_json(&keyspaces));
        return out;
    }
    for (name, row, value) in rows {
        let (suffix, kind) = if row.kind == Kind::Counter { ("_total", "counter") } else { ("", "gauge") };
        let _ = write!(
            out,
            "# HELP lsm_{name}{suffix} {}\n# TYPE lsm_{name}{suffix} {kind}\nlsm_{name}{suffix} {value}\n",
            row.text
        );
    }
    out.push_str(&level_prometheus(&keyspaces));
    out
}

fn each_level(keyspaces: &[Arc<KeyspaceState>], mut f: impl FnMut(&KeyspaceState, usize, u64, u64)) {
    for keyspace in keyspaces {
        let view = keyspace.get();
        for (level, files) in view.version.levels().iter().enumerate().take(keyspace.options.level_count_max) {
            f(keyspace, level, files.files().len() as u64, files.bytes());
        }
    }
}

fn level_json(keyspaces: &[Arc<KeyspaceState>]) -> String {
    let mut rows = Vec::new();
    each_level(keyspaces, |keyspace, level, files, bytes| {
        let name = escape(&keyspace.name);
        rows.push(format!("{{\"keyspace\": \"{name}\", \"level\": {level}, \"files\": {files}, \"bytes\": {bytes}}}"));
    });
    rows.join(", ")
}

fn level_prometheus(keyspaces: &[Arc<KeyspaceState>]) -> String {
    let mut files_out = String::from("# HELP lsm_level_files Tables of a level.\n# TYPE lsm_level_files gauge\n");
    let mut bytes_out = String::from("# HELP lsm_level_bytes Bytes of a level.\n# TYPE lsm_level_bytes gauge\n");
    each_level(keyspaces, |keyspace, level, files, bytes| {
        let labels = format!("keyspace=\"{}\",level=\"{level}\"", escape(&keyspace.name));
        let _ = writeln!(files_out, "lsm_level_files{{{labels}}} {files}");
        let _ = writeln!(bytes_out, "lsm_level_bytes{{{labels}}} {bytes}");
    });
    files_out + &bytes_out
}

/// A name within double quotes, for JSON and Prometheus alike.
pub(super) fn escape(name: &[u8]) -> String {
    let mut out = String::new();
    for c in String::from_utf8_lossy(name).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}
