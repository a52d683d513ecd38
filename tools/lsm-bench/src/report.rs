//! Rows: what a child tells its parent, and what the parent prints. A line is `row` and `name=value` fields between tabs.

use crate::args::Contestant;
use crate::engine::fail;
use crate::workload::Sample;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One measurement.
#[derive(Clone, Debug)]
pub struct Row {
    /// Label of the engine.
    pub engine: String,
    /// Name of the workload.
    pub workload: String,
    /// Durability, checksums, compression.
    pub mode: String,
    /// By name.
    pub numbers: BTreeMap<String, f64>,
}

/// The numbers that get a column of their own.
pub const COLUMNS: &[&str] =
    &["round", "count", "seconds", "cpu_ns", "caller_ns", "p50", "p99", "p999", "max", "written", "disk", "peak"];

impl Row {
    /// Of a sample.
    pub fn of(who: &Contestant, workload: &str, mode: &str, round: u64, sample: &Sample) -> Row {
        let count = sample.count.max(1) as f64;
        let mut numbers: BTreeMap<String, f64> = [
            ("round", round as f64),
            ("count", count),
            ("seconds", sample.seconds),
            ("cpu_ns", sample.cpu * 1e9 / count),
            ("caller_ns", sample.cpu_caller * 1e9 / count),
            ("written", sample.written as f64),
            ("disk", sample.disk as f64),
            ("peak", sample.peak as f64),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into();
        if let Some(latency) = &sample.latency {
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
                numbers.insert(name.to_string(), latency.quantile(share));
            }
            numbers.insert("max".to_string(), latency.max());
        }
        numbers.extend(sample.notes.iter().cloned());
        let (engine, workload, mode) = (who.label.clone(), workload.to_string(), mode.to_string());
        Row { engine, workload, mode, numbers }
    }

    /// As a line.
    pub fn to_line(&self) -> String {
        let mut line = format!("row\t{}\t{}\t{}", self.engine, self.workload, self.mode);
        for (name, value) in &self.numbers {
            let _ = write!(line, "\t{name}={value}");
        }
        line
    }

    /// From a line, if it is one.
    pub fn from_line(line: &str) -> Option<Row> {
        let mut fields = line.strip_prefix("row\t")?.split('\t').map(str::to_string);
        let (engine, workload, mode) = (fields.next()?, fields.next()?, fields.next()?);
        let numbers = fields
            .map(|field| {
                let (name, value) = field.split_once('=')?;
                Some((name.to_string(), value.parse().ok()?))
            })
            .collect::<Option<BTreeMap<String, f64>>>()?;
        Some(Row { engine, workload, mode, numbers })
    }

    /// A number; none is NaN.
    pub fn number(&self, name: &str) -> f64 {
        self.numbers.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.number("count") / self.number("seconds")
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        format!(
            "{:<14} {:<18} {:>12}/s {:>9} ns of processor an operation",
            self.engine,
            self.workload,
            short(self.rate()),
            short(self.number("cpu_ns"))
        )
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| !value.is_nan());
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// A number in at most five characters.
pub fn short(value: f64) -> String {
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

/// A time in its unit.
pub fn time(nanos: f64) -> String {
    match nanos {
        v if v.is_nan() => "-".to_string(),
        v if v >= 1e6 => format!("{:.1}ms", v / 1e6),
        v if v >= 1e3 => format!("{:.1}us", v / 1e3),
        v => format!("{v:.0}ns"),
    }
}

fn mib(bytes: f64) -> String {
    format!("{:.0}", bytes / 1_048_576.0)
}

/// Medians, ratios to the baseline and spreads, a block per workload.
pub fn table(rows: &[Row], workloads: &[String], contestants: &[Contestant], baseline: &str) -> String {
    let of = |workload: &str, engine: &str| -> Vec<&Row> {
        rows.iter().filter(|row| row.workload == workload && row.engine == engine).collect()
    };
    let mut out = String::from(
        "medians; x: ratio of rates to the baseline, round by round, its median (lowest-highest); spread: of the rates; \
         cpu: nanoseconds of all threads an operation, and x less of it; caller: the same of the calling threads\n",
    );
    for workload in workloads {
        let base = of(workload, baseline);
        let _ = writeln!(
            out,
            "\n{workload:<18} {:>9} {:>20} {:>6} {:>9} {:>6} {:>9} {:>8} {:>8} {:>8} {:>8} {:>7} {:>6} {:>6}",
            "ops/s", "x", "spread", "cpu ns", "x", "caller ns", "p50", "p99", "p99.9", "max", "written", "disk", "peak"
        );
        for who in contestants {
            let mine = of(workload, &who.label);
            let Some(first) = mine.first() else { continue };
            let mid = |name: &str| median(mine.iter().map(|row| row.number(name)).collect());
            let rates: Vec<f64> = mine.iter().map(|row| row.rate()).collect();
            let rate = median(rates.clone());
            let (low, high) = bounds(&rates);
            let ratios: Vec<f64> = mine.iter().zip(&base).map(|(mine, base)| mine.rate() / base.rate()).collect();
            let (ratio_low, ratio_high) = bounds(&ratios);
            let base_cpu = median(base.iter().map(|row| row.number("cpu_ns")).collect());
            let ratio = format!("{:.2} ({ratio_low:.2}-{ratio_high:.2})", median(ratios));
            let _ = write!(
                out,
                "  {:<16} {:>9} {ratio:>20} {:>5.0}% {:>9} {:>6.2} {:>9} {:>8} {:>8} {:>8} {:>8} {:>7} {:>6} {:>6}",
                who.label,
                short(rate),
                (high - low) / rate * 100.0,
                short(mid("cpu_ns")),
                base_cpu / mid("cpu_ns"),
                short(mid("caller_ns")),
                time(mid("p50")),
                time(mid("p99")),
                time(mid("p999")),
                time(mid("max")),
                mib(mid("written")),
                mib(mid("disk")),
                mib(mid("peak")),
            );
            let _ = write!(out, "  [{}]", first.mode);
            for name in first.numbers.keys().filter(|name| !COLUMNS.contains(&name.as_str())) {
                let _ = write!(out, " {name} {}", short(mid(name)));
            }
            out.push('\n');
        }
    }
    if rows.is_empty() {
        fail("nothing was measured");
    }
    out
}

/// The lowest and the highest.
pub fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_its_line() {
        let numbers = [("count".to_string(), 3.0), ("seconds".to_string(), 0.5)].into();
        let row = Row { engine: "a".into(), workload: "b:2".into(), mode: "c d".into(), numbers };
        let again = Row::from_line(&row.to_line()).expect("a line that was a row");
        assert_eq!(again.to_line(), row.to_line());
        assert_eq!(again.rate(), 6.0);
        assert!(Row::from_line("something an engine printed").is_none());
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![5.0, 1.0, 2.0]), 2.0);
    }
}
