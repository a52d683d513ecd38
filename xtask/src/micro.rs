//! `cargo xtask micro`: runs the micro-benchmarks of `benches/` and keeps their medians in `docs/results/micro.json`, from
//! which docs/PERFORMANCE.md has its table. Criterion writes one folder a benchmark, with `benchmark.json` and
//! `estimates.json` under `new/`.

use crate::json::Json;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

const FILE: &str = "docs/results/micro.json";
const COMMAND: &str = "cargo xtask micro";

/// Runs them and writes the file.
pub fn run(root: &Path) -> Result<String, String> {
    let started = said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]);
    let target = root.join("target/micro");
    let _ = fs::remove_dir_all(target.join("criterion"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo)
        .args(["bench", "--locked", "--manifest-path", "benches/Cargo.toml", "--target-dir"])
        .arg(&target)
        .current_dir(root)
        .status()
        .map_err(|e| format!("cargo bench: {e}"))?;
    if !status.success() {
        return Err(format!("cargo bench: {status}"));
    }
    let mut rows = Vec::new();
    collect(&target.join("criterion"), &mut rows)?;
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    if rows.is_empty() {
        return Err("criterion left no estimates".into());
    }
    let head = format!(
        "{{\"set\":\"micro\",\"commit\":\"{}\",\"seed\":0,\"machine\":\"{}\",\"load\":{},\"command\":\"{COMMAND}\",\
         \"started\":\"{started}\",\"ended\":\"{}\"",
        said("git", &["-C", &root.to_string_lossy(), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]),
        machine(),
        load(),
        said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
    );
    fs::write(root.join(FILE), to_file(&head, &rows)).map_err(|e| format!("{FILE}: {e}"))?;
    Ok(format!("{FILE}: {} benchmarks", rows.len()))
}

fn to_file(head: &str, rows: &[(String, f64)]) -> String {
    let mut text = format!("{head},\n\"engines\":[{{\"engine\":\"lsm\",\"about\":\"its parts\"}}],\n\"rows\":[\n");
    for (index, (name, nanos)) in rows.iter().enumerate() {
        let comma = if index + 1 < rows.len() { "," } else { "" };
        let rate = 1e9 / nanos;
        let _ = writeln!(
            text,
            "{{\"workload\":\"{name}\",\"engine\":\"lsm\",\"mode\":\"\",\"ops_per_s\":[{rate:.0}],\"p50\":{nanos:.2}}}{comma}"
        );
    }
    text.push_str("]}\n");
    text
}

/// All benchmarks below a folder: name and median in nanoseconds.
fn collect(folder: &Path, rows: &mut Vec<(String, f64)>) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if entry.ends_with("new") {
            let read = |name: &str| {
                let path = entry.join(name);
                let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                Json::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
            };
            let name = read("benchmark.json")?.get("full_id").text().to_string();
            let nanos = read("estimates.json")?.get("median").get("point_estimate").number();
            if name.is_empty() || !nanos.is_finite() || name.contains(['"', '\\']) {
                return Err(format!("{}: no name or no median", entry.display()));
            }
            rows.push((name, nanos));
        } else {
            collect(&entry, rows)?;
        }
    }
    Ok(())
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']))
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_back() {
        let text = to_file("{\"set\":\"micro\"", &[("cache/hit".into(), 4.25), ("log/a record".into(), 20.0)]);
        let json = Json::parse(&text).expect("valid");
        assert_eq!(json.get("rows").list().len(), 2);
        assert_eq!(json.get("rows").list()[0].get("p50").number(), 4.25);
    }

    #[test]
    fn medians_are_found_below_folders() {
        let folder = std::env::temp_dir().join(format!("xtask-micro-{}", std::process::id()));
        let new = folder.join("cache/hit/new");
        fs::create_dir_all(&new).expect("a folder");
        fs::write(new.join("benchmark.json"), "{\"full_id\":\"cache/hit\"}").expect("a file");
        fs::write(new.join("estimates.json"), "{\"median\":{\"point_estimate\":4.5}}").expect("a file");
        let mut rows = Vec::new();
        let result = collect(&folder, &mut rows);
        fs::remove_dir_all(&folder).expect("its own folder");
        assert_eq!((result, rows), (Ok(()), vec![("cache/hit".to_string(), 4.5)]));
    }
}
