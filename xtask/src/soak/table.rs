//! The table of goals in `docs/TESTING.md`, made from the rows and compared by `tidy`.

use super::jobs::{ELSEWHERE, How, JOBS, Job};
use super::rows::{self, Row};
use crate::source::{Finding, Source};
use std::fmt::Write;
use std::path::Path;

const DOCUMENT: &str = "docs/TESTING.md";
const BEGIN: &str = "<!-- goals: made from docs/results/ by `cargo xtask soak`; tidy compares -->";
const END: &str = "<!-- end of goals -->";

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What the rows say of one check.
pub struct Total {
    /// Done without a violation.
    pub count: u64,
    /// Times that something was wrong.
    pub violations: usize,
    /// Time spent.
    pub seconds: f64,
}

/// The sum of a check's rows.
pub fn total(job: &Job, rows: &[Row]) -> Total {
    let own = || rows.iter().filter(|row| row.check == job.name);
    Total {
        count: own().map(|row| row.count).sum(),
        violations: own().filter(|row| !row.violation.is_empty()).count(),
        seconds: own().fold(0.0, |sum, row| sum + row.seconds),
    }
}

fn state(job: &Job, total: &Total) -> String {
    match &job.how {
        _ if total.violations > 0 => format!("**{} violations**, see soak.jsonl", total.violations),
        _ if total.count >= job.figure => "reached".to_owned(),
        How::Open(_) | How::Planted => "open".to_owned(),
        _ if total.count == 0 => "**open**: not run yet".to_owned(),
        _ => format!("**open**: {} %", total.count * 100 / job.figure.max(1)),
    }
}

/// The table of these rows.
pub fn table(text: &str, planted: &str) -> Result<String, String> {
    let rows = rows::load(text)?;
    let mut out = format!(
        "{BEGIN}\n| goal | check | figure | done | violations | minutes | state |\n|---|---|---|---|---|---|---|\n"
    );
    for job in JOBS {
        let mut total = total(job, &rows);
        if matches!(job.how, How::Planted) {
            total.count = number(planted, "convicted");
        }
        let _ = writeln!(
            out,
            "| {} | {}: {} | {} {} | {} | {} | {:.0} | {} |",
            job.goal,
            job.name,
            job.what,
            thousands(job.figure),
            job.unit,
            thousands(total.count),
            total.violations,
            total.seconds / 60.0,
            state(job, &total)
        );
    }
    for (goal, text) in ELSEWHERE {
        let _ = writeln!(out, "| {goal} | {text} | | | | | |");
    }
    let _ = write!(out, "{END}");
    Ok(out)
}

fn number(json: &str, name: &str) -> u64 {
    let found = json.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest);
    found.and_then(|rest| rest.split([',', '}']).next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The document with the table of today in it; `None` when it has no place for one.
fn renewed(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{table}{after}"))
}

fn results(root: &Path) -> (String, String) {
    let read = |name: &str| std::fs::read_to_string(root.join("docs/results").join(name)).unwrap_or_default();
    (read("soak.jsonl"), read("planted.json"))
}

/// Writes the table of today into the document.
pub fn renew(root: &Path) -> Result<(), String> {
    let path = root.join(DOCUMENT);
    let document = std::fs::read_to_string(&path).map_err(|e| format!("{DOCUMENT}: {e}"))?;
    let (soak, planted) = results(root);
    let text = renewed(&document, &table(&soak, &planted)?).ok_or(format!("{DOCUMENT} has no place for the table"))?;
    std::fs::write(&path, text).map_err(|e| format!("{DOCUMENT}: {e}"))
}

/// For `tidy`: the table is that of the results.
pub fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let Some(document) = sources.iter().find(|s| s.path == DOCUMENT) else { return Vec::new() };
    let (soak, planted) = results(root);
    let whole = table(&soak, &planted).map(|table| renewed(&document.text, &table));
    match whole {
        Ok(Some(text)) if text == document.text => Vec::new(),
        Ok(Some(_)) => {
            vec![document.finding_whole("the table of goals is not that of docs/results/: cargo xtask tidy --bless")]
        }
        Ok(None) => vec![document.finding_whole("has no place for the table of goals")],
        Err(error) => vec![document.finding_whole(error)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(check: &str, count: u64, violation: &str) -> String {
        let row = Row {
            at: 1,
            check: check.into(),
            seed: 1,
            count,
            unit: "x".into(),
            seconds: 60.0,
            commit: "c".into(),
            violation: violation.into(),
        };
        row.line() + "\n"
    }

    #[test]
    fn sums_states_and_violations_are_shown() {
        let text = row("crash-write", 20_000, "") + &row("crash-write", 5_000, "") + &row("kill", 500, "");
        let table_text = table(&text, "{\"convicted\":41,").expect("rows");
        assert!(table_text.contains("| 25,000 states | 25,000 | 0 | 2 | reached |"), "{table_text}");
        assert!(table_text.contains("| 2,000 cycles | 500 | 0 | 1 | **open**: 25 % |"), "{table_text}");
        assert!(table_text.contains("| 40 bugs | 41 | 0 | 0 | reached |"), "{table_text}");
        let bad = table(&row("kill", 3000, "lost"), "").expect("rows");
        assert!(bad.contains("**1 violations**"), "{bad}");
    }

    #[test]
    fn the_table_is_replaced_in_place() {
        let document = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        assert_eq!(renewed(&document, "new").as_deref(), Some("a\nnew\nz\n"));
        assert_eq!(renewed("nothing", "new"), None);
    }
}
