//! bench: a small measure of this library on this machine, with what it read checked. For comparisons with other engines
//! there is lsm-bench.
//!
//! Keys are decimal numbers, padded; a value is made from its key, so that every read can be checked. Latencies are those
//! of single calls, in a histogram of three digits.

use super::Context;
use crate::cli::{Bench, Workload};
use crate::exit::{Exit, Failure, Outcome};
use crate::lsm::{Bounds, Db, Keyspace, Mode};
use crate::scratch::Scratch;
use crate::text;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ALL: [Workload; 5] =
    [Workload::Fillseq, Workload::Fillrandom, Workload::Readrandom, Workload::Readseq, Workload::Seek];

/// What a thread or a whole workload measured.
struct Measured {
    latencies: Histogram<u64>,
    bytes: u64,
    elapsed: Duration,
}

impl Measured {
    fn new() -> Outcome<Measured> {
        // Up to an hour, to three digits; one that resizes itself cuts off what `saturating_record` is given.
        let latencies = Histogram::new_with_bounds(1, 3_600_000_000_000, 3)
            .map_err(|e| Failure::new(Exit::Internal, format!("histogram: {e:?}")))?;
        Ok(Measured { latencies, bytes: 0, elapsed: Duration::ZERO })
    }

    fn add(&mut self, began: Instant, bytes: usize) {
        let elapsed = began.elapsed();
        self.bytes += bytes as u64;
        self.elapsed += elapsed;
        self.latencies.saturating_record(elapsed.as_nanos() as u64);
    }

    fn ops_per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Sizes and the order of keys.
struct Plan<'a> {
    args: &'a Bench,
    /// A multiplier without a common factor with the number of keys: `i * stride % entries` meets every key once.
    stride: u64,
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

fn common_factor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_factor(b, a % b) }
}

impl Plan<'_> {
    fn new(args: &Bench) -> Plan<'_> {
        let entries = args.entries;
        // Near the golden section: neighbours in time are far apart in the key space.
        let mut stride = ((entries as f64 * 0.618_034) as u64).max(1);
        while common_factor(stride, entries) != 1 {
            stride += 1;
        }
        Plan { args, stride }
    }

    fn key(&self, number: u64, key: &mut Vec<u8>) {
        use std::io::Write as _;
        key.clear();
        // Writing to a Vec cannot fail.
        let _ = write!(key, "{number:0width$}", width = self.args.key_size as usize);
    }

    /// Half of the bytes are noise, half repeat.
    fn value(&self, number: u64, value: &mut Vec<u8>) {
        value.clear();
        let (mut word, size) = (number, self.args.value_size as usize);
        while value.len() < size {
            word = mix(word.wrapping_add(0x9e37_79b9_7f4a_7c15));
            value.extend_from_slice(&word.to_le_bytes());
            value.extend_from_slice(b"liblsm! ");
        }
        value.truncate(size);
    }

    /// The part of all operations that thread `t` does.
    fn share(&self, t: u64) -> std::ops::Range<u64> {
        let (entries, threads) = (self.args.entries, self.args.threads);
        entries * t / threads..entries * (t + 1) / threads
    }

    fn scattered(&self, i: u64) -> u64 {
        (u128::from(i) * u128::from(self.stride) % u128::from(self.args.entries)) as u64
    }
}

fn wrong(what: &str, key: &[u8]) -> Failure {
    Failure::new(Exit::Mismatch, format!("{what} of key {} is not what was written", text::escape(key)))
}

/// The operations of one thread.
fn work(
    workload: Workload,
    plan: &Plan<'_>,
    keyspace: &Keyspace<'_>,
    share: std::ops::Range<u64>,
) -> Outcome<Measured> {
    let mut measured = Measured::new()?;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; plan.args.value_size as usize + 1];
    let bounds = Bounds::default();
    let mut iter = if workload == Workload::Seek { Some(keyspace.iter(&bounds)?) } else { None };
    for i in share {
        let number = if workload == Workload::Fillseq { i } else { plan.scattered(i) };
        plan.key(number, &mut key);
        plan.value(number, &mut value);
        let began = Instant::now();
        match workload {
            Workload::Fillseq | Workload::Fillrandom => {
                keyspace.put(&key, &value, plan.args.sync)?;
                measured.add(began, key.len() + value.len());
            }
            Workload::Readrandom => {
                let len = keyspace.get_into(&key, &mut buffer)?;
                measured.add(began, key.len() + value.len());
                if len != Some(value.len()) || buffer[..value.len()] != value {
                    return Err(wrong("the value", &key));
                }
            }
            Workload::Seek => {
                let is_there = iter.as_mut().map_or(Ok(false), |iter| iter.seek(&key))?;
                measured.add(began, key.len() + value.len());
                if !is_there {
                    return Err(wrong("the place", &key));
                }
            }
            Workload::Readseq => {}
        }
    }
    Ok(measured)
}

/// One scan over everything; every entry is one operation.
fn scan(plan: &Plan<'_>, keyspace: &Keyspace<'_>) -> Outcome<Measured> {
    let mut measured = Measured::new()?;
    let (mut want_key, mut want) = (Vec::new(), Vec::new());
    let mut iter = keyspace.iter(&Bounds::default())?;
    let mut number = 0;
    loop {
        let began = Instant::now();
        let Some((key, value)) = iter.next_entry()? else { break };
        measured.add(began, key.len() + value.len());
        plan.key(number, &mut want_key);
        plan.value(number, &mut want);
        if key != want_key || value != want {
            return Err(wrong("the entry", &want_key));
        }
        number += 1;
    }
    if number != plan.args.entries {
        let text = format!("the scan found {number} entries, {} were written", plan.args.entries);
        return Err(Failure::new(Exit::Mismatch, text));
    }
    Ok(measured)
}

fn measure(workload: Workload, plan: &Plan<'_>, keyspace: &Keyspace<'_>) -> Outcome<Measured> {
    if workload == Workload::Readseq {
        return scan(plan, keyspace);
    }
    let done: Vec<Outcome<Measured>> = std::thread::scope(|scope| {
        let start = |t| scope.spawn(move || work(workload, plan, keyspace, plan.share(t)));
        let threads: Vec<_> = (0..plan.args.threads).map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Outcome<Measured>>| {
            thread.join().unwrap_or_else(|_| Err(Failure::new(Exit::Internal, "a thread of the measurement died")))
        };
        threads.into_iter().map(join).collect()
    });
    let mut all = Measured::new()?;
    for measured in done {
        let measured = measured?;
        // The time inside calls of the thread that took longest: making keys and checking values is no part of it.
        all.elapsed = all.elapsed.max(measured.elapsed);
        all.bytes += measured.bytes;
        all.latencies += measured.latencies;
    }
    Ok(all)
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

fn object(workload: &str, measured: &Measured) -> Value {
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let quantiles = QUANTILES
        .iter()
        .map(|(name, q)| ((*name).to_string(), json!(micros(measured.latencies.value_at_quantile(*q)))));
    let mut latency: serde_json::Map<String, Value> = quantiles.collect();
    latency.insert("max".to_string(), json!(micros(measured.latencies.max())));
    json!({
        "workload": workload, "operations": measured.latencies.len(), "seconds": measured.elapsed.as_secs_f64(),
        "operations_per_second": measured.ops_per_second(), "bytes": measured.bytes, "latency_micros": latency,
    })
}

fn row(workload: &str, measured: &Measured) -> Vec<String> {
    let micros = |nanos: u64| {
        let micros = nanos as f64 / 1000.0;
        if micros < 10.0 { format!("{micros:.2}") } else { format!("{micros:.0}") }
    };
    let rate = measured.bytes as f64 / measured.elapsed.as_secs_f64().max(1e-9);
    let mut row = vec![
        workload.to_string(),
        text::thousands(measured.latencies.len()),
        text::thousands(measured.ops_per_second() as u64),
        format!("{}/s", text::size(rate as u64)),
    ];
    row.extend(QUANTILES.iter().map(|(_, q)| micros(measured.latencies.value_at_quantile(*q))));
    row.push(micros(measured.latencies.max()));
    row
}

/// What was measured before must not be there: reads would find other values, and a folder of somebody would be filled.
fn check_new(folder: &std::path::Path) -> Outcome {
    let is_empty = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        return Ok(());
    }
    Err(Failure::usage(format!("{}: is not empty; bench makes a database of its own", folder.display())))
}

/// `lsm bench`.
pub fn run(c: &mut Context, args: &Bench) -> Outcome {
    let workloads: &[Workload] = if args.workloads.is_empty() { &ALL } else { &args.workloads };
    let fills = |w: &Workload| matches!(w, Workload::Fillseq | Workload::Fillrandom);
    if !workloads.first().is_some_and(fills) {
        return Err(Failure::usage("the first workload must fill the database: fillseq or fillrandom"));
    }
    let library = c.library()?;
    let (scratch, folder) = match &args.db {
        Some(folder) => {
            check_new(folder)?;
            (None, folder.clone())
        }
        None => {
            let scratch = Scratch::folder()?;
            let folder = scratch.path().join("db");
            (Some(scratch), folder)
        }
    };
    let db = Db::open(&library, &folder, Mode::Create, &c.settings)?;
    let plan = Plan::new(args);
    let mut rows = Vec::new();
    {
        let keyspace = db.keyspace("default")?;
        for workload in workloads {
            let name = format!("{workload:?}").to_lowercase();
            let bar = c.out.progress(&name, None);
            let measured = measure(*workload, &plan, &keyspace)?;
            bar.finish_and_clear();
            if c.out.is_json {
                c.out.json(&object(&name, &measured))?;
            }
            rows.push(row(&name, &measured));
        }
    }
    db.close()?;
    drop(scratch);
    if c.out.is_json {
        return Ok(());
    }
    let header = ["workload", "operations", "per second", "bytes", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us"];
    c.out.table(&header, &rows, &[1, 2, 3, 4, 5, 6, 7, 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_met_once() {
        for entries in [1, 2, 6, 1000, 1024, 99_991] {
            let args = Bench {
                workloads: Vec::new(),
                db: None,
                entries,
                key_size: 16,
                value_size: 100,
                threads: 3,
                sync: false,
            };
            let plan = Plan::new(&args);
            let mut met: Vec<u64> = (0..3).flat_map(|t| plan.share(t)).map(|i| plan.scattered(i)).collect();
            met.sort_unstable();
            assert_eq!(met, (0..entries).collect::<Vec<_>>(), "{entries}");
        }
    }
}
