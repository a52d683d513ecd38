//! `cargo xtask plant`: does any check notice a bug in the engine?
//!
//!     plant                  every bug against the checks that must convict it, until one does
//!     plant NAME...          these bugs; their lines in the report are replaced
//!     plant --rotate N       N bugs, chosen by the commit; for CI
//!     plant --search [NAME...] where those do not, against all others too
//!     plant --matrix         every bug against every check: hours
//!
//! One build with `--cfg planted` has all bugs in it, and `LSM_PLANTED` puts one in force. Each check that is used runs
//! once without a bug first: what fails then convicts nobody. A check that runs into its time limit has not convicted; a
//! hang counts where the check's own watchdog ends it. Writes `docs/results/planted.json` and `planted.md`, but for
//! `--rotate`.

pub mod bugs;
mod report;

use crate::run::{self, Ended};
use bugs::{BUGS, Bug, CHECKS, Check};
use report::{Cell, Row};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Binaries by the name of their test file; `lib` is the engine's own.
type Binaries = BTreeMap<String, PathBuf>;

/// How far to go with a bug.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The checks that must convict it, until one does.
    Expected,
    /// Then the others, until one does.
    Search,
    /// All checks, whatever they say.
    Matrix,
}

/// What is to be run.
struct Order {
    bugs: Vec<&'static Bug>,
    reach: Reach,
    is_kept: bool,
}

/// Runs the command; an error when a bug got away or a check fails by itself.
pub fn run(root: &Path, args: &[&str]) -> Result<String, String> {
    let order = order(root, args)?;
    let target = run::target(root).join("planted");
    let mut binaries = build(root, &target)?;
    if order.reach != Reach::Expected || order.bugs.iter().any(|b| b.checks.iter().any(|c| c.starts_with("loom"))) {
        binaries.extend(build_models(root)?);
    }
    let mut rows = Vec::new();
    let commit = run::commit(root);
    let mut sound: BTreeMap<&str, bool> = BTreeMap::new();
    for bug in &order.bugs {
        let row = judge(root, &target, &binaries, bug, order.reach, &mut sound)?;
        let row = Row { commit: commit.clone(), ..row };
        println!("{}", report::line(&row));
        rows.push(row);
        if order.is_kept {
            // After each bug: a run that is stopped leaves what it has found.
            report::write(root, &rows)?;
        }
    }
    let unsound: Vec<&str> = sound.iter().filter(|(_, ok)| !**ok).map(|(name, _)| *name).collect();
    let free: Vec<&str> = rows.iter().filter(|row| row.convicted_by().is_none()).map(|row| row.bug.as_str()).collect();
    let said = format!("{} of {} planted bugs convicted", rows.len() - free.len(), rows.len());
    if !unsound.is_empty() {
        return Err(format!("{said}; these checks fail without a bug: {}", unsound.join(", ")));
    }
    if free.is_empty() { Ok(said) } else { Err(format!("{said}; nothing catches: {}", free.join(", "))) }
}

fn order(root: &Path, args: &[&str]) -> Result<Order, String> {
    let named = |names: &[&str]| -> Result<Vec<&'static Bug>, String> {
        if names.is_empty() {
            return Ok(BUGS.iter().collect());
        }
        let find = |name: &&str| BUGS.iter().find(|b| b.name == *name).ok_or_else(|| format!("no bug {name}"));
        names.iter().map(find).collect()
    };
    match args {
        ["--matrix", names @ ..] => Ok(Order { bugs: named(names)?, reach: Reach::Matrix, is_kept: true }),
        ["--search", names @ ..] => Ok(Order { bugs: named(names)?, reach: Reach::Search, is_kept: true }),
        ["--rotate", count] => {
            let count: usize = count.parse().map_err(|_| format!("--rotate {count}: not a number"))?;
            let first = rotation(&run::commit(root)) * count;
            let bugs = (0..count.min(BUGS.len())).map(|n| &BUGS[(first + n) % BUGS.len()]).collect();
            Ok(Order { bugs, reach: Reach::Expected, is_kept: false })
        }
        names => Ok(Order { bugs: named(names)?, reach: Reach::Expected, is_kept: true }),
    }
}

/// A number that differs from commit to commit.
fn rotation(commit: &str) -> usize {
    usize::from_str_radix(commit.get(..6).unwrap_or("0"), 16).unwrap_or(0)
}

/// The tests of `models/`, which have the planted lines of the files that they take from the engine.
fn build_models(root: &Path) -> Result<Binaries, String> {
    let target = run::target(root).join("models");
    let mut cargo = run::cargo(&root.join("models"));
    cargo.args(["test", "--locked", "--release", "--no-run"]).env("RUSTFLAGS", "--cfg loom");
    let said = run::output(cargo.env("CARGO_TARGET_DIR", &target))?;
    let found = run::executables(&root.join("models"), &said).into_iter();
    Ok(found.map(|(name, path)| (format!("models/{name}"), path)).collect())
}

fn build(root: &Path, target: &Path) -> Result<Binaries, String> {
    let is_own = |name: &&str| *name != "lib" && !name.starts_with("models/");
    let mut tests: Vec<&str> = CHECKS.iter().map(|c| c.binary).filter(is_own).collect();
    tests.dedup();
    let said = run::output(
        run::cargo(root)
            .args(["test", "--locked", "--package", "lsm-engine", "--no-run", "--lib"])
            .args(tests.iter().flat_map(|name| ["--test", name]))
            .env("RUSTFLAGS", "--cfg planted")
            .env("CARGO_TARGET_DIR", target),
    )?;
    let binaries = run::executables(root, &said);
    if binaries.contains_key("lib") { Ok(binaries) } else { Err(format!("no test binaries in:\n{said}")) }
}

/// Runs checks against one bug until one convicts it, or all for the matrix.
fn judge(
    root: &Path,
    target: &Path,
    binaries: &Binaries,
    bug: &'static Bug,
    reach: Reach,
    sound: &mut BTreeMap<&'static str, bool>,
) -> Result<Row, String> {
    let mut row = Row { bug: bug.name.into(), commit: String::new(), cells: BTreeMap::new() };
    let expected = bug.checks.iter().filter_map(|name| CHECKS.iter().find(|c| c.name == *name));
    let others = CHECKS.iter().filter(|c| reach != Reach::Expected && !bug.checks.contains(&c.name));
    for check in expected.chain(others) {
        if row.convicted_by().is_some() && reach != Reach::Matrix {
            break;
        }
        if !sound.contains_key(check.name) {
            let ended = attempt(root, target, binaries, check, None)?;
            let is_sound = ended.is_success;
            if !is_sound {
                println!("{} fails without a bug: {}", check.name, ended.why());
            }
            sound.insert(check.name, is_sound);
        }
        if !sound[check.name] {
            continue;
        }
        for _ in 0..check.tries {
            let ended = attempt(root, target, binaries, check, Some(bug.name))?;
            let cell = Cell::of(&ended, bug.name);
            let is_done = matches!(cell, Cell::Convicted(_) | Cell::Passed(false));
            row.cells.insert(check.name.into(), cell);
            if is_done {
                break;
            }
        }
    }
    Ok(row)
}

fn attempt(root: &Path, target: &Path, binaries: &Binaries, check: &Check, bug: Option<&str>) -> Result<Ended, String> {
    let path = binaries.get(check.binary).ok_or_else(|| format!("the test binary {} is missing", check.binary))?;
    let mut command = run::command(path, root);
    command.args(check.args).envs(check.env.iter().copied()).env_remove("LSM_PLANTED");
    if let Some(bug) = bug {
        command.env("LSM_PLANTED", bug);
    }
    run::limited(&mut command, Duration::from_secs(check.seconds), &target.join("plant.log"))
}

/// The names in `src/` and the list must agree, and no name stands twice.
pub fn check(sources: &[crate::source::Source]) -> Vec<crate::source::Finding> {
    const LIST: &str = "xtask/src/plant/bugs.rs";
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in
        sources.iter().filter(|s| s.is_rust() && s.path.starts_with("src/") && s.path != "src/base/planted.rs")
    {
        for (at, _) in source.text.match_indices("planted!(\"") {
            let name = source.text[at + 10..].split('"').next().unwrap_or_default();
            let count = seen.entry(name.to_owned()).or_default();
            *count += 1;
            if *count > 1 {
                findings.push(source.finding(at, format!("the bug {name} is planted twice")));
            } else if !BUGS.iter().any(|b| b.name == name) {
                findings.push(source.finding(at, format!("the bug {name} is not on the list in {LIST}")));
            }
        }
    }
    let is_engine = sources.iter().any(|s| s.path == "src/base/planted.rs");
    let stale = BUGS.iter().filter(|b| is_engine && !seen.contains_key(b.name));
    findings.extend(stale.map(|b| crate::source::Finding {
        path: LIST.into(),
        line: 0,
        what: format!("the bug {} is nowhere in src/", b.name),
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn every_bug_names_checks_that_exist() {
        for bug in BUGS {
            assert!(!bug.checks.is_empty(), "{}", bug.name);
            for name in bug.checks {
                assert!(CHECKS.iter().any(|c| c.name == *name), "{}: {name}", bug.name);
            }
        }
        assert!(BUGS.len() >= 40);
    }

    #[test]
    fn a_bug_twice_unlisted_or_missing_is_convicted() {
        let head = || Source::new("src/base/planted.rs", "");
        let all: String = BUGS.iter().map(|b| format!("f(planted!(\"{}\"));\n", b.name)).collect();
        assert_eq!(check(&[head(), Source::new("src/a.rs", &all)]).len(), 0);
        let twice = format!("{all}f(planted!(\"{}\"));\n", BUGS[0].name);
        assert!(check(&[head(), Source::new("src/a.rs", &twice)])[0].what.contains("twice"));
        let unlisted = format!("{all}f(planted!(\"no-such-bug\"));\n");
        assert!(check(&[head(), Source::new("src/a.rs", &unlisted)])[0].what.contains("not on the list"));
        assert!(check(&[head(), Source::new("src/a.rs", "")])[0].what.contains("nowhere"));
    }

    #[test]
    fn the_rotation_covers_all() {
        let root = Path::new(".");
        let names = |commit: &str| rotation(commit) * 5 % BUGS.len();
        assert_ne!(names("000001aa"), names("000002aa"));
        assert!(order(root, &["no-such-bug"]).is_err());
        assert_eq!(order(root, &["log-unsynced"]).map(|o| o.bugs.len()).unwrap_or(0), 1);
    }
}
