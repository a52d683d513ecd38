//! Tables in Markdown from a set of results. Pure: the same file gives the same text.

use crate::json::Json;
use std::fmt::Write as _;

/// The engine that the others are compared with.
const OURS: &str = "lsm";
/// A reference that is no log-structured tree.
const NO_LSM: &str = "lmdb";

fn distinct<'a>(rows: &'a [Json], name: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for value in rows.iter().map(|row| row.get(name).text()) {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

fn engines(set: &Json) -> Vec<&str> {
    distinct(set.get("engines").list(), "engine")
}

fn row<'a>(set: &'a Json, workload: &str, engine: &str) -> Option<&'a Json> {
    let is_it = |row: &&Json| row.get("workload").text() == workload && row.get("engine").text() == engine;
    set.get("rows").list().iter().find(is_it)
}

fn rates_of(row: &Json) -> Vec<f64> {
    row.get("ops_per_s").list().iter().map(Json::number).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

fn short(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".to_string(),
        v if v >= 1e7 => format!("{:.1}M", v / 1e6),
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v if v >= 1e3 => format!("{:.2}k", v / 1e3),
        v if v >= 10.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

fn time(nanos: f64) -> String {
    match nanos {
        v if v.is_nan() => "-".to_string(),
        v if v >= 1e9 => format!("{:.2}s", v / 1e9),
        v if v >= 1e6 => format!("{:.1}ms", v / 1e6),
        v if v >= 1e3 => format!("{:.1}us", v / 1e3),
        v => format!("{v:.0}ns"),
    }
}

/// How many times as fast ours is, round by round: the median, the lowest and the highest.
fn ratio(ours: &Json, theirs: &Json) -> String {
    let ratios: Vec<f64> = rates_of(ours).iter().zip(rates_of(theirs)).map(|(ours, theirs)| ours / theirs).collect();
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({low:.2}-{high:.2})", median(ratios))
}

fn head(out: &mut String, first: &str, columns: &[String]) {
    let _ = writeln!(out, "| {first} | {} |", columns.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(columns.len()));
}

/// Where and when.
pub fn runs(sets: &[&Json]) -> String {
    let mut out = String::new();
    let columns = ["commit", "from", "to", "rounds", "seed", "load at the beginning", "machine", "command"];
    head(&mut out, "set", &columns.map(String::from));
    for set in sets {
        let rounds = set.get("rows").list().iter().map(|row| rates_of(row).len()).max().unwrap_or(0);
        let text = |name: &str| set.get(name).text().to_string();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {rounds} | {} | {} | {} | `{}` |",
            text("set"),
            text("commit"),
            text("started"),
            text("ended"),
            set.get("seed").number(),
            set.get("load").number(),
            text("machine"),
            text("command")
        );
    }
    // Other programs were running: their share of two cores decides what is measured.
    const LOAD_MAX: f64 = 1.5;
    if sets.iter().any(|set| set.get("load").number() > LOAD_MAX) {
        out.push_str("\n**Measured beside other work (see the load): this shows that the tool works, not how fast anything is.**\n");
    }
    out
}

/// What each engine was set to.
pub fn settings(set: &Json) -> String {
    let mut out = String::new();
    for engine in set.get("engines").list() {
        let _ = writeln!(out, "- **{}**: {}", engine.get("engine").text(), engine.get("about").text());
    }
    out
}

/// An engine's column head: under which conditions its numbers hold.
fn mode(set: &Json, engine: &str) -> String {
    let rows = set.get("rows").list().iter().filter(|row| row.get("engine").text() == engine);
    let modes: Vec<&str> = rows.map(|row| row.get("mode").text()).filter(|mode| !mode.starts_with("fsync")).collect();
    format!("{engine} [{}]", modes.first().copied().unwrap_or("fsync"))
}

fn workload_name(set: &Json, workload: &str) -> String {
    let ours = row(set, workload, OURS).or_else(|| engines(set).iter().find_map(|engine| row(set, workload, engine)));
    let is_synced = ours.is_some_and(|row| row.get("mode").text().starts_with("fsync"));
    if is_synced { format!("{workload} [fsync]") } else { workload.to_string() }
}

/// Operations a second, and how many times as fast ours is.
pub fn rates(set: &Json) -> String {
    let others: Vec<&str> = engines(set).into_iter().filter(|engine| *engine != OURS).collect();
    let mut columns = vec![mode(set, OURS), "to the best other LSM".to_string()];
    columns.extend(others.iter().map(|engine| mode(set, engine)));
    let mut out = String::new();
    head(&mut out, "operations a second", &columns);
    for workload in distinct(set.get("rows").list(), "workload") {
        let Some(ours) = row(set, workload, OURS) else { continue };
        let best = others
            .iter()
            .filter(|engine| **engine != NO_LSM)
            .filter_map(|engine| row(set, workload, engine))
            .max_by(|a, b| median(rates_of(a)).total_cmp(&median(rates_of(b))));
        let best = best.map_or_else(
            || "-".to_string(),
            |best| format!("{:.2} ({})", median(rates_of(ours)) / median(rates_of(best)), best.get("engine").text()),
        );
        let _ = write!(out, "| {} | {} | {best} |", workload_name(set, workload), short(median(rates_of(ours))));
        for engine in &others {
            let cell = row(set, workload, engine).map_or_else(
                || "-".to_string(),
                |theirs| format!("{}, {}", short(median(rates_of(theirs))), ratio(ours, theirs)),
            );
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    out
}

/// A row a workload, a column an engine.
fn grid(set: &Json, first: &str, cell: impl Fn(&Json) -> String) -> String {
    let engines = engines(set);
    let mut out = String::new();
    head(&mut out, first, &engines.iter().map(|engine| mode(set, engine)).collect::<Vec<_>>());
    for workload in distinct(set.get("rows").list(), "workload") {
        let cells: Vec<String> =
            engines.iter().map(|engine| row(set, workload, engine).map_or_else(|| "-".to_string(), &cell)).collect();
        if cells.iter().any(|cell| !cell.trim_matches(['-', ' ', '/']).is_empty()) {
            let _ = writeln!(out, "| {} | {} |", workload_name(set, workload), cells.join(" | "));
        }
    }
    out
}

/// Processor time an operation, of all threads.
pub fn cpu(set: &Json) -> String {
    grid(set, "processor time an operation", |row| time(row.get("cpu_ns").number()))
}

/// Latencies.
pub fn latency(set: &Json) -> String {
    grid(set, "p50 / p99 / p99.9 / max", |row| {
        let of = |name: &str| time(row.get(name).number());
        format!("{} / {} / {} / {}", of("p50"), of("p99"), of("p999"), of("max"))
    })
}

/// What it costs besides time.
pub fn space(set: &Json) -> String {
    /// Workload, number, how it is called, how it is shown.
    type Figure = (&'static str, &'static str, &'static str, fn(f64) -> String);
    fn plain(value: f64) -> String {
        if value.is_nan() { "-".to_string() } else { format!("{value:.2}") }
    }
    fn mib(bytes: f64) -> String {
        if bytes.is_nan() { "-".to_string() } else { format!("{:.0} MiB", bytes / 1_048_576.0) }
    }
    const FIGURES: &[Figure] = &[
        ("fillrandom", "amplification", "bytes written a byte of a random fill, until the last put", plain),
        ("fillsustained", "amplification", "the same, until no compaction is due", plain),
        ("fillsustained", "drain_ms", "from the last put of a random fill until no compaction is due", |ms| {
            time(ms * 1e6)
        }),
        ("compact", "seconds", "full compaction after it", |seconds| time(seconds * 1e9)),
        ("compact", "space", "space after it, a byte of keys and values", plain),
        ("fillrandom", "peak", "most memory in a random fill", mib),
        ("readrandom", "peak", "most memory in random reads", mib),
        ("ycsba:2", "peak", "most memory in YCSB A", mib),
        ("reopen", "close_ms", "close with data in memory", |ms| time(ms * 1e6)),
        ("reopen", "seconds", "open after it and read a key", |seconds| time(seconds * 1e9)),
        ("recover", "seconds", "open after a process that died with its log full, and read a key", |seconds| {
            time(seconds * 1e9)
        }),
        ("recover", "lost_percent", "of what it had acknowledged, lost", |percent| match percent {
            percent if percent.is_nan() => "-".to_string(),
            percent => format!("{percent:.0} %"),
        }),
        ("readwhilewriting", "write_p99_us", "p99 of the writer beside a reader", |micros| time(micros * 1e3)),
        ("readwhilewriting", "write_p999_us", "p99.9 of it", |micros| time(micros * 1e3)),
        ("readwhilewriting", "write_max_us", "the longest of it", |micros| time(micros * 1e3)),
    ];
    let engines = engines(set);
    let mut out = String::new();
    head(&mut out, "", &engines.iter().map(|engine| mode(set, engine)).collect::<Vec<_>>());
    for (workload, name, what, show) in FIGURES {
        let number = |engine: &&str| row(set, workload, engine).map_or(f64::NAN, |row| row.get(name).number());
        let cells: Vec<String> = engines.iter().map(|engine| show(number(engine))).collect();
        let _ = writeln!(out, "| {what} | {} |", cells.join(" | "));
    }
    out
}

/// By number of threads: rate, processor time an operation, p99.9.
pub fn scaling(set: &Json) -> String {
    let workloads = distinct(set.get("rows").list(), "workload");
    let bases = distinct_bases(&workloads);
    let mut out = String::new();
    for base in bases {
        let of_base: Vec<&str> =
            workloads.iter().copied().filter(|name| name.split(':').next() == Some(base)).collect();
        let columns: Vec<String> =
            of_base.iter().map(|name| name.rsplit(':').next().unwrap_or("1").to_string()).collect();
        head(&mut out, &format!("{base}, by threads"), &columns);
        for engine in engines(set) {
            let cells: Vec<String> = of_base
                .iter()
                .map(|name| {
                    row(set, name, engine).map_or_else(
                        || "-".to_string(),
                        |row| {
                            let (cpu, tail) = (row.get("cpu_ns").number(), row.get("p999").number());
                            format!("{}/s, {} cpu, p99.9 {}", short(median(rates_of(row))), time(cpu), time(tail))
                        },
                    )
                })
                .collect();
            let _ = writeln!(out, "| {} | {} |", mode(set, engine), cells.join(" | "));
        }
        out.push('\n');
    }
    out
}

fn distinct_bases<'a>(workloads: &[&'a str]) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for base in workloads.iter().map(|name| name.split(':').next().unwrap_or(name)) {
        if !found.contains(&base) {
            found.push(base);
        }
    }
    found
}

/// What is left of a rate with more data.
pub fn growth(set: &Json, large: &Json) -> String {
    let engines = engines(large);
    let mut out = String::new();
    head(
        &mut out,
        "operations a second, less and more data",
        &engines.iter().map(|e| mode(large, e)).collect::<Vec<_>>(),
    );
    for workload in distinct(large.get("rows").list(), "workload") {
        let rate = |set: &Json, engine: &str| row(set, workload, engine).map_or(f64::NAN, |row| median(rates_of(row)));
        let cells: Vec<String> = engines
            .iter()
            .map(|engine| {
                let (was, is) = (rate(set, engine), rate(large, engine));
                format!("{} and {}: {:.0} %", short(was), short(is), is / was * 100.0)
            })
            .collect();
        let _ = writeln!(out, "| {workload} | {} |", cells.join(" | "));
    }
    out
}

/// Benchmark, what the prototype of its structure took, what RocksDB or the usual structure took beside it, in
/// nanoseconds.
const PROTOTYPES: &[(&str, &str, &str)] = &[
    ("memtable/insert, random, into 200,000", "200-280", "1,330-1,520 (skip list)"),
    ("memtable/insert, ascending", "40-60 (estimate)", "80 (skip list)"),
    ("memtable/get, there", "290 (390-420 waiting for the one before)", "1,540-2,200 (skip list)"),
    ("memtable/get, not there", "10", "-"),
    ("memtable/walk, an entry", "13", "190 (skip list)"),
    ("log/a record, mapped", "15-31", "-"),
    ("log/a record, write(2)", "-", "810"),
    ("table/lookup, there: filter, index, block search", "200-370", "1,660-2,000 (RocksDB's get)"),
    ("table/lookup, not there: filter", "22", "360 (RocksDB's get)"),
    ("table/seek", "142-206", "-"),
    ("table/walk, an entry", "5.8", "153 (RocksDB)"),
    ("table/write, an entry", "70 and 55-65 for LZ4 (estimate)", "485 (RocksDB's compaction)"),
    ("merge/walk over 1 memtables, an entry", "13", "-"),
    ("merge/walk over 2 memtables, an entry", "-", "-"),
    ("merge/walk over 5 memtables, an entry", "15-25 (estimate)", "-"),
    ("cache/hit", "2-5", "-"),
];

/// The parts one by one.
pub fn micro(set: &Json) -> String {
    let mut out = String::new();
    let columns = ["now", "prototype, ns", "the usual, ns"];
    head(&mut out, "", &columns.map(String::from));
    for row in set.get("rows").list() {
        let name = row.get("workload").text();
        let known = PROTOTYPES.iter().find(|known| known.0 == name);
        let (prototype, usual) = known.map_or(("-", "-"), |known| (known.1, known.2));
        let _ = writeln!(out, "| {name} | {} | {prototype} | {usual} |", time(row.get("p50").number()));
    }
    out
}
