//! The results of a set: its measurements with all that is needed to repeat them, as lines of JSON (one a measurement)
//! and as the file that `docs/results/` keeps (one object a workload and engine: the rates of all rounds, and the medians
//! of everything else). `cargo xtask results` writes the tables of docs/PERFORMANCE.md from the latter.

use crate::args::root;
use crate::host;
use crate::report::{Row, median};
use std::fmt::Write as _;
use std::path::Path;

/// What an engine was set to.
#[derive(Clone, Debug)]
pub struct About {
    /// Its label.
    pub engine: String,
    /// In words.
    pub text: String,
}

/// A set of measurements.
#[derive(Clone, Debug)]
pub struct Results {
    /// Its name.
    pub set: String,
    /// The commit that the library was built from, presumably: the one checked out now.
    pub commit: String,
    /// What it runs on.
    pub machine: String,
    /// The load when it began.
    pub load: f64,
    /// The engines and their settings.
    pub abouts: Vec<About>,
    /// The measurements, in the order they were made.
    pub rows: Vec<Row>,
    command: String,
    seed: u64,
    started: String,
    ended: String,
}

impl Results {
    /// Nothing yet; the clock starts.
    pub fn begin(set: &str, command: &str, seed: u64, dir: &str) -> Results {
        let dir = Path::new(dir);
        let _ = std::fs::create_dir_all(dir);
        Results {
            set: set.to_string(),
            commit: host::commit(&root()),
            machine: host::machine(dir),
            load: host::load(),
            abouts: Vec::new(),
            rows: Vec::new(),
            command: command.to_string(),
            seed,
            started: host::utc(),
            ended: String::new(),
        }
    }

    /// Takes what a child said.
    pub fn take(&mut self, about: About, rows: Vec<Row>) {
        if !self.abouts.iter().any(|known| known.engine == about.engine) {
            self.abouts.push(about);
        }
        self.rows.extend(rows);
    }

    /// The clock stops.
    pub fn end(&mut self) {
        self.ended = host::utc();
    }

    /// Lists the engines in this order.
    pub fn order_by(&mut self, labels: &[String]) {
        let place = |about: &About| labels.iter().position(|label| *label == about.engine);
        self.abouts.sort_by_key(|about| place(about).unwrap_or(labels.len()));
    }

    /// The command that made them.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// When it began and ended.
    pub fn span(&self) -> (&str, &str) {
        (&self.started, &self.ended)
    }

    /// Names of workloads, in the order they were run.
    pub fn workloads(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|row| row.workload.as_str()))
    }

    /// The measurements of one workload and engine, by round.
    pub fn of(&self, workload: &str, engine: &str) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.workload == workload && row.engine == engine).collect()
    }

    fn head(&self) -> String {
        format!(
            "\"set\":{},\"commit\":{},\"seed\":{},\"machine\":{},\"load\":{},\"command\":{},\"started\":{},\"ended\":{}",
            quote(&self.set),
            quote(&self.commit),
            self.seed,
            quote(&self.machine),
            figure(self.load),
            quote(&self.command),
            quote(&self.started),
            quote(&self.ended)
        )
    }

    /// A line of JSON for each measurement.
    pub fn to_lines(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let (workload, engine, mode) = (quote(&row.workload), quote(&row.engine), quote(&row.mode));
            let _ = write!(out, "{{{},\"workload\":{workload},\"engine\":{engine},\"mode\":{mode}", self.head());
            let _ = write!(out, ",\"ops_per_s\":{}", figure(row.rate()));
            for (name, value) in &row.numbers {
                let _ = write!(out, ",{}:{}", quote(name), figure(*value));
            }
            out.push_str("}\n");
        }
        out
    }

    /// The file for `docs/results/`.
    pub fn to_file(&self) -> String {
        let engines: Vec<String> = self
            .abouts
            .iter()
            .map(|about| format!("{{\"engine\":{},\"about\":{}}}", quote(&about.engine), quote(&about.text)))
            .collect();
        let mut rows = Vec::new();
        for workload in self.workloads() {
            for about in &self.abouts {
                let mine = self.of(workload, &about.engine);
                if !mine.is_empty() {
                    rows.push(summary(&mine));
                }
            }
        }
        format!("{{{},\n\"engines\":[\n{}],\n\"rows\":[\n{}]}}\n", self.head(), engines.join(",\n"), rows.join(",\n"))
    }
}

/// One workload and engine over all rounds.
fn summary(rows: &[&Row]) -> String {
    let first = rows[0];
    let rates: Vec<String> = rows.iter().map(|row| figure(row.rate())).collect();
    let mut out = format!(
        "{{\"workload\":{},\"engine\":{},\"mode\":{},\"ops_per_s\":[{}]",
        quote(&first.workload),
        quote(&first.engine),
        quote(&first.mode),
        rates.join(",")
    );
    for name in first.numbers.keys().filter(|name| !["round", "count"].contains(&name.as_str())) {
        let middle = median(rows.iter().map(|row| row.number(name)).collect());
        let _ = write!(out, ",{}:{}", quote(name), figure(middle));
    }
    out.push('}');
    out
}

/// What is there, once each, in the order of its first appearance.
pub fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Five digits are more than any measurement has.
fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_string();
    }
    if value == 0.0 {
        return "0".to_string();
    }
    let digits = (4 - value.abs().log10().floor() as i32).clamp(0, 9);
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if (c as u32) < 32 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: &str, seconds: f64, p99: f64) -> Row {
        let numbers = [("round", 0.0), ("count", 10.0), ("seconds", seconds), ("p99", p99)];
        let numbers = numbers.map(|(name, value)| (name.to_string(), value)).into();
        Row { engine: engine.into(), workload: "fillseq".into(), mode: "log".into(), numbers }
    }

    #[test]
    fn a_file_has_all_rates_and_medians_of_the_rest() {
        let mut results = Results::begin("main", "a \"b\"", 1, "/tmp");
        for (seconds, p99) in [(1.0, 5.0), (2.0, 9.0), (4.0, 7.0)] {
            results.take(About { engine: "x".into(), text: "y".into() }, vec![row("x", seconds, p99)]);
        }
        results.end();
        let file = results.to_file();
        assert!(file.contains(r#""command":"a \"b\"""#), "{file}");
        let want = r#"{"workload":"fillseq","engine":"x","mode":"log","ops_per_s":[10,5,2.5],"p99":7,"seconds":2}"#;
        assert!(file.contains(want), "{file}");
        assert_eq!(file.matches("\"about\"").count(), 1);
        assert_eq!(results.to_lines().lines().count(), 3);
    }

    #[test]
    fn figures_have_five_digits() {
        for (value, want) in [(1234567.0, "1234567"), (12.345678, "12.346"), (0.00012345678, "0.00012346"), (3.0, "3")]
        {
            assert_eq!(figure(value), want);
        }
        assert_eq!(figure(f64::NAN), "null");
    }
}
