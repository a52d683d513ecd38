//! `cargo xtask guard`: how many instructions the calls of the C interface take, against the ceilings of
//! `ffi-tests/guard.txt`, so that speed cannot quietly leave. A line there is `<instructions> <kind>`.
//!
//! Callgrind counts what `ffi-tests/guard.c` does inside one function; with `LSM_CPU=baseline` and the plain routines of
//! the C library the count hardly depends on the machine. Other threads are not counted. That the guard convicts is part
//! of it: a call that is made twice must be over its ceiling.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const CEILINGS: &str = "ffi-tests/guard.txt";
const PROGRAM: &str = "ffi-tests/guard.c";
const HEAD: &str = "\
# Instructions a call may take, as `cargo xtask guard` counts them: the measured value x 1.03. `guard --bless` lowers them;
# an editor raises them, in a commit that says why.
";
/// What a new ceiling is above the count.
const ROOM: f64 = 1.03;

/// A kind of call: its name, the function that is counted, how often it is made.
type Kind = (&'static str, &'static str, u64);
const KINDS: &[Kind] = &[
    ("put", "counted_put", 10_000),
    ("batch put", "counted_batch", 10_000),
    ("get", "counted_get", 5_000),
    ("get live", "counted_get", 5_000),
    ("miss", "counted_get", 5_000),
    ("next", "counted_next", 10_000),
    ("seek", "counted_seek", 5_000),
];
/// The kinds that read everything once, uncounted but for the same function, before it counts.
const WARMED: &[&str] = &["get", "get live", "miss"];

/// Ceilings or counts by kind.
type Counts = BTreeMap<String, f64>;

/// Counts and compares; `is_blessing` lowers ceilings and adds missing ones.
pub fn run(root: &Path, is_blessing: bool) -> Result<String, String> {
    for tool in ["valgrind", "cc"] {
        if Command::new(tool).arg("--version").output().is_err() {
            let what = format!("skipped: {tool} not found");
            let is_required = std::env::var("REQUIRE").is_ok_and(|value| value != "0");
            return if is_required { Err(what) } else { Ok(what) };
        }
    }
    let folder = root.join("target/guard");
    let program = build(root, &folder)?;
    let mut counts = Counts::new();
    for kind in KINDS {
        counts.insert(kind.0.to_string(), count(&folder, &program, kind, 1)?);
    }
    let path = root.join(CEILINGS);
    let mut ceilings = parse(&fs::read_to_string(&path).unwrap_or_default())?;
    if is_blessing {
        bless(&mut ceilings, &counts);
        fs::write(&path, to_text(&ceilings)).map_err(|e| format!("{CEILINGS}: {e}"))?;
    }
    let said = compare(&counts, &ceilings)?;
    // The guard itself: twice the calls.
    let kind = &KINDS[KINDS.len() - 1];
    let doubled = Counts::from([(kind.0.to_string(), count(&folder, &program, kind, 2)?)]);
    match compare(&doubled, &ceilings) {
        Ok(_) => Err(format!("the guard convicts nothing: {} made twice passes", kind.0)),
        Err(_) => Ok(said),
    }
}

fn build(root: &Path, folder: &Path) -> Result<std::path::PathBuf, String> {
    let library = root.join("target/release");
    if !library.join("liblsm.so").exists() {
        return Err("target/release/liblsm.so: not there; `make lib` builds it".into());
    }
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let program = folder.join("guard");
    let rpath = format!("-Wl,-rpath,{}", library.display());
    let status = Command::new("cc")
        .args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Iinclude", PROGRAM, "-o"])
        .arg(&program)
        .arg(library.join("liblsm.so"))
        .arg(rpath)
        .current_dir(root)
        .status();
    // The library's own name has a number that only an installed one carries.
    let _ = std::os::unix::fs::symlink("liblsm.so", library.join("liblsm.so.1"));
    match status {
        Ok(status) if status.success() => Ok(program),
        other => Err(format!("{PROGRAM}: does not build: {other:?}")),
    }
}

/// Instructions a call.
fn count(folder: &Path, program: &Path, kind: &Kind, times: u64) -> Result<f64, String> {
    let (name, function, calls) = *kind;
    let database = folder.join("db");
    let _ = fs::remove_dir_all(&database);
    let out = folder.join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--fair-sched=try", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={function}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg(&database)
        .args([name, &calls.to_string(), &times.to_string()])
        .env("LSM_CPU", "baseline")
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM")
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let _ = fs::remove_dir_all(&database);
    if !output.status.success() {
        return Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let text = fs::read_to_string(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let counted = calls * if WARMED.contains(&name) { 2 } else { 1 };
    Ok(total(&text)? / counted as f64)
}

/// The instructions of a callgrind file, all its parts added.
fn total(text: &str) -> Result<f64, String> {
    let numbers = text.lines().filter_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    let sum = numbers.filter_map(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).fold(0.0, f64::max);
    if sum > 0.0 { Ok(sum) } else { Err("callgrind counted nothing".into()) }
}

fn parse(text: &str) -> Result<Counts, String> {
    let mut ceilings = Counts::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.split_once(' ').map(|(number, kind)| (number.parse(), kind)) {
            Some((Ok(number), kind)) => drop(ceilings.insert(kind.to_string(), number)),
            _ => return Err(format!("{CEILINGS}: not `<instructions> <kind>`: {line}")),
        }
    }
    Ok(ceilings)
}

fn to_text(ceilings: &Counts) -> String {
    ceilings.iter().fold(HEAD.to_string(), |text, (kind, number)| text + &format!("{number:.0} {kind}\n"))
}

fn bless(ceilings: &mut Counts, counts: &Counts) {
    for (kind, count) in counts {
        let new = (count * ROOM).ceil();
        ceilings.entry(kind.clone()).and_modify(|known| *known = known.min(new)).or_insert(new);
    }
    ceilings.retain(|kind, _| KINDS.iter().any(|known| known.0 == kind) || counts.contains_key(kind));
}

/// All counts in a table, or the ones over their ceilings.
fn compare(counts: &Counts, ceilings: &Counts) -> Result<String, String> {
    let (mut said, mut over) = (String::from("guard: instructions a call, and the ceiling"), Vec::new());
    for (kind, count) in counts {
        match ceilings.get(kind) {
            Some(ceiling) if count <= ceiling => said += &format!("\n{count:>10.0} {ceiling:>8.0}  {kind}"),
            Some(ceiling) => over.push(format!("{kind}: {count:.0} instructions, {ceiling:.0} are allowed")),
            None => over.push(format!("{kind}: {CEILINGS} has no ceiling for it: guard --bless")),
        }
    }
    if over.is_empty() { Ok(said) } else { Err(format!("guard:\n{}", over.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, f64)]) -> Counts {
        pairs.iter().map(|(kind, number)| (kind.to_string(), *number)).collect()
    }

    #[test]
    fn a_count_over_its_ceiling_and_a_missing_one_are_convicted() {
        let ceilings = of(&[("put", 103.0)]);
        assert!(compare(&of(&[("put", 103.0)]), &ceilings).is_ok());
        assert!(compare(&of(&[("put", 104.0)]), &ceilings).is_err_and(|what| what.contains("104 instructions")));
        assert!(compare(&of(&[("get", 1.0)]), &ceilings).is_err());
    }

    #[test]
    fn blessing_only_lowers_and_adds() {
        let mut ceilings = of(&[("put", 100.0), ("get", 100.0)]);
        bless(&mut ceilings, &of(&[("put", 50.0), ("get", 500.0), ("miss", 10.0)]));
        assert_eq!(ceilings, of(&[("put", 52.0), ("get", 100.0), ("miss", 11.0)]));
        assert_eq!(parse(&to_text(&ceilings)), Ok(ceilings));
    }

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("events: Ir\nsummary: 120\nfn=x\n1 2\ntotals: 120\n"), Ok(120.0));
        assert!(total("events: Ir\n").is_err());
        assert!(parse("x put\n").is_err());
    }
}
