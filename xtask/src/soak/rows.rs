//! `docs/results/soak.jsonl`: one finished slice a line.
//!
//!     {"at":unix seconds,"check":"...","seed":n,"count":n,"unit":"...","seconds":n,"commit":"...","violation":"..."}

use crate::run::quoted;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A finished slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When it ended, seconds since 1970.
    pub at: u64,
    /// Which check.
    pub check: String,
    /// Its first seed.
    pub seed: u64,
    /// What was done without a violation.
    pub count: u64,
    /// Of what.
    pub unit: String,
    /// How long it took.
    pub seconds: f64,
    /// Of which commit; "+" behind it: with changes.
    pub commit: String,
    /// Empty, or what was wrong.
    pub violation: String,
}

impl Row {
    /// As a line.
    pub fn line(&self) -> String {
        let Row { at, seed, count, seconds, .. } = self;
        let (check, unit, commit) = (quoted(&self.check), quoted(&self.unit), quoted(&self.commit));
        let mut text = format!(
            "{{\"at\":{at},\"check\":{check},\"seed\":{seed},\"count\":{count},\"unit\":{unit},\"seconds\":{seconds:.1},\"commit\":{commit}"
        );
        if !self.violation.is_empty() {
            let _ = write!(text, ",\"violation\":{}", quoted(&self.violation));
        }
        text + "}"
    }

    fn parse(line: &str) -> Option<Row> {
        let text = |name: &str| {
            let from = line.split_once(&format!("\"{name}\":\""))?.1;
            let mut end = 0;
            while !from.get(end..)?.starts_with('"') {
                end += if from[end..].starts_with('\\') { 2 } else { from[end..].chars().next()?.len_utf8() };
            }
            Some(from[..end].replace("\\\"", "\"").replace("\\\\", "\\"))
        };
        let number = |name: &str| {
            let from = line.split_once(&format!("\"{name}\":"))?.1;
            from.split([',', '}']).next()?.parse::<f64>().ok()
        };
        Some(Row {
            at: number("at")? as u64,
            check: text("check")?,
            seed: number("seed")? as u64,
            count: number("count")? as u64,
            unit: text("unit")?,
            seconds: number("seconds")?,
            commit: text("commit")?,
            violation: text("violation").unwrap_or_default(),
        })
    }
}

/// Where the rows are.
pub fn path(root: &Path) -> PathBuf {
    root.join("docs/results/soak.jsonl")
}

/// All rows; none when there is no file.
pub fn load(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| Row::parse(line).ok_or_else(|| format!("soak.jsonl:{}: not a row", at + 1))).collect()
}

/// Adds a row.
pub fn append(root: &Path, row: &Row) -> Result<(), String> {
    use std::io::Write as _;
    let path = path(root);
    let fault = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(fault)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(fault)?;
    file.write_all(format!("{}\n", row.line()).as_bytes()).map_err(fault)
}

/// The counts that a check said itself: its name, seed, count and unit.
pub fn counts(text: &str) -> Vec<(String, u64, u64, String)> {
    let lines = text.lines().filter_map(|line| line.split_once("COUNT ").map(|(_, rest)| rest));
    let parsed = lines.filter_map(|line| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let seed = words.next()?.strip_prefix("seed=")?.parse().ok()?;
        let count = words.next()?.strip_prefix("count=")?.parse().ok()?;
        Some((name, seed, count, words.next()?.strip_prefix("unit=")?.to_owned()))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was() {
        let mut row = Row {
            at: 1_763_000_000,
            check: "crash-write".into(),
            seed: 77,
            count: 1234,
            unit: "states".into(),
            seconds: 60.5,
            commit: "abc+".into(),
            violation: String::new(),
        };
        assert_eq!(load(&row.line()), Ok(vec![row.clone()]));
        row.violation = "seed 7: \"x\" \\ lost".into();
        assert_eq!(load(&format!("{}\n\n", row.line())), Ok(vec![row]));
        assert!(load("{\"at\":1}").is_err());
    }

    #[test]
    fn counts_are_read_from_what_a_test_says() {
        let said = "test x ... COUNT crash seed=3 count=9 unit=states\nCOUNT broken seed=x\n";
        assert_eq!(counts(said), [("crash".to_owned(), 3, 9, "states".to_owned())]);
    }
}
