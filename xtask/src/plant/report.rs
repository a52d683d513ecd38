//! The bug x check matrix: JSON for programs, one bug a line, and markdown for people. A run of some bugs replaces their
//! lines and leaves the others.

use super::bugs::{BUGS, CHECKS};
use crate::run::{self, Ended};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// What one check made of one bug.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// It failed: how it said so.
    Convicted(String),
    /// It passed; whether the bug's line was reached at all.
    Passed(bool),
    /// It ran into its limit.
    Late,
}

impl Cell {
    pub fn of(ended: &Ended, bug: &str) -> Cell {
        match ended {
            ended if ended.is_late => Cell::Late,
            ended if ended.is_success => Cell::Passed(ended.text.contains(&format!("planted: {bug} is reached"))),
            ended => Cell::Convicted(without_folders(&ended.why())),
        }
    }

    fn said(&self) -> String {
        match self {
            Cell::Convicted(why) => format!("convicted: {why}"),
            Cell::Passed(true) => "passed".to_owned(),
            Cell::Passed(false) => "passed, not reached".to_owned(),
            Cell::Late => "late".to_owned(),
        }
    }

    fn from(said: &str) -> Cell {
        match said {
            "passed" => Cell::Passed(true),
            "passed, not reached" => Cell::Passed(false),
            "late" => Cell::Late,
            why => Cell::Convicted(why.trim_start_matches("convicted: ").to_owned()),
        }
    }
}

/// Each word of `text` that is an absolute path, cut down to its last two parts: where a machine keeps its files is no part
/// of a report.
fn without_folders(text: &str) -> String {
    let short = |word: &str| {
        let parts: Vec<&str> = word.split('/').collect();
        if word.starts_with('/') && parts.len() > 3 { parts[parts.len() - 2..].join("/") } else { word.to_owned() }
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// A bug and what was run against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub bug: String,
    pub commit: String,
    pub cells: BTreeMap<String, Cell>,
}

impl Row {
    /// The first check, in the order of the matrix, that convicted it.
    pub fn convicted_by(&self) -> Option<(&'static str, &str)> {
        CHECKS.iter().find_map(|check| match self.cells.get(check.name) {
            Some(Cell::Convicted(why)) => Some((check.name, why.as_str())),
            _ => None,
        })
    }

    fn json(&self) -> String {
        let cells =
            self.cells.iter().map(|(name, cell)| format!("{}:{}", run::quoted(name), run::quoted(&cell.said())));
        let cells = cells.collect::<Vec<_>>().join(",");
        let (bug, commit) = (run::quoted(&self.bug), run::quoted(&self.commit));
        format!("{{\"bug\":{bug},\"commit\":{commit},\"checks\":{{{cells}}}}}")
    }

    /// A line that `json` wrote: all that counts in it is texts.
    fn parse(line: &str) -> Option<Row> {
        let texts = texts(line);
        let [bug_word, bug, commit_word, commit, _checks, cells @ ..] = texts.as_slice() else { return None };
        if bug_word != "bug" || commit_word != "commit" {
            return None;
        }
        let cells = cells.chunks_exact(2).map(|pair| (pair[0].clone(), Cell::from(&pair[1]))).collect();
        Some(Row { bug: bug.clone(), commit: commit.clone(), cells })
    }
}

/// The quoted texts of a line.
fn texts(line: &str) -> Vec<String> {
    let (mut found, mut open, mut is_escaped) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        match &mut open {
            None if c == '"' => open = Some(String::new()),
            None => {}
            Some(text) if is_escaped => {
                text.push(c);
                is_escaped = false;
            }
            Some(_) if c == '\\' => is_escaped = true,
            Some(_) if c == '"' => found.extend(open.take()),
            Some(text) => text.push(c),
        }
    }
    found
}

/// One line for the terminal.
pub fn line(row: &Row) -> String {
    match row.convicted_by() {
        Some((check, why)) => format!("{:40} {check}: {why}", row.bug),
        None => {
            let cells: Vec<String> = row.cells.iter().map(|(name, cell)| format!("{name}: {}", cell.said())).collect();
            format!("{:40} NOTHING CATCHES IT ({})", row.bug, cells.join("; "))
        }
    }
}

/// Puts `rows` into both files, in the place of older ones of the same bugs.
pub fn write(root: &Path, rows: &[Row]) -> Result<(), String> {
    let dir = root.join("docs/results");
    let put = |name: &str, text: &str| {
        std::fs::create_dir_all(&dir)
            .and_then(|()| std::fs::write(dir.join(name), text))
            .map_err(|e| format!("{name}: {e}"))
    };
    let before = std::fs::read_to_string(dir.join("planted.json")).unwrap_or_default();
    let all = merged(&before, rows);
    put("planted.json", &json(&all))?;
    put("planted.md", &markdown(&all))
}

/// Older rows and new ones, in the order of the list; without bugs that are not on it any more.
fn merged(before: &str, rows: &[Row]) -> Vec<Row> {
    let mut all: BTreeMap<String, Row> = before.lines().filter_map(Row::parse).map(|r| (r.bug.clone(), r)).collect();
    all.extend(rows.iter().map(|r| (r.bug.clone(), r.clone())));
    BUGS.iter().filter_map(|bug| all.remove(bug.name)).collect()
}

fn convicted(rows: &[Row]) -> usize {
    rows.iter().filter(|r| r.convicted_by().is_some()).count()
}

fn json(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().map(Row::json).collect();
    format!("{{\"bugs\":{},\"convicted\":{},\"rows\":[\n{}\n]}}\n", BUGS.len(), convicted(rows), lines.join(",\n"))
}

fn markdown(rows: &[Row]) -> String {
    let mut text = format!(
        "# Planted bugs\n\nWritten by `cargo xtask plant`. {} of {} bugs convicted.\n\n\
         **x** convicts, o passes, - passes and never came to the bug's line, t ran into its time limit, empty: not run \
         (the first conviction ends a row, unless `--matrix`). `planted.json` has the words of each conviction.\n\n",
        convicted(rows),
        BUGS.len()
    );
    let used: Vec<&str> =
        CHECKS.iter().map(|c| c.name).filter(|name| rows.iter().any(|r| r.cells.contains_key(*name))).collect();
    let _ = writeln!(text, "| bug | {} | what the code does then |", used.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---|".repeat(used.len()));
    for bug in BUGS {
        let Some(row) = rows.iter().find(|r| r.bug == bug.name) else {
            let _ = writeln!(text, "| `{}` **not run** | {} | {} |", bug.name, " |".repeat(used.len() - 1), bug.what);
            continue;
        };
        let cells = used.iter().map(|name| match row.cells.get(*name) {
            None => "",
            Some(Cell::Convicted(_)) => "**x**",
            Some(Cell::Passed(true)) => "o",
            Some(Cell::Passed(false)) => "-",
            Some(Cell::Late) => "t",
        });
        let mark = if row.convicted_by().is_some() { "" } else { " **nothing catches it**" };
        let _ = writeln!(text, "| `{}`{mark} | {} | {} |", bug.name, cells.collect::<Vec<_>>().join(" | "), bug.what);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_machine_are_not_told() {
        let said = "panicked at /home/me/registry/loom/rt/execution.rs:216:13 deadlock; a/b/c/d x";
        assert_eq!(without_folders(said), "panicked at rt/execution.rs:216:13 deadlock; a/b/c/d x");
    }

    fn row(bug: &str, said: Cell) -> Row {
        Row { bug: bug.into(), commit: "c1".into(), cells: [("unit wal".to_owned(), said)].into() }
    }

    #[test]
    fn rows_come_back_and_newer_ones_replace_older_ones() {
        let (a, b) = (BUGS[0].name, BUGS[1].name);
        let first = [row(a, Cell::Passed(true)), row(b, Cell::Convicted("a \"b\" \\ c".into()))];
        let text = json(&merged("", &first));
        assert!(text.contains("\"convicted\":1,"), "{text}");
        assert_eq!(merged(&text, &[]), first);
        let second = merged(&text, &[row(a, Cell::Convicted("x".into())), row("gone", Cell::Late)]);
        assert_eq!((second.len(), convicted(&second)), (2, 2));
        assert!(markdown(&first).contains("**nothing catches it**"));
        assert!(markdown(&first).contains("**not run**"));
    }
}
