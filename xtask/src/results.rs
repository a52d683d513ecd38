//! The tables of `docs/PERFORMANCE.md` are written from the files in `docs/results/`, which `lsm-bench publish` writes.
//! A table stands between
//!
//!     <!-- table: KIND SET... -->
//!     <!-- end -->
//!
//! and `cargo xtask results` (and `tidy --bless`) renews it; tidy compares. Kinds:
//!
//!     runs SET...       commit, time, machine, command of each set
//!     settings SET      what each engine was set to
//!     rates SET         operations a second, with the ratio of liblsm to each, lowest and highest round
//!     cpu SET           processor time an operation
//!     latency SET       p50 / p99 / p99.9 / max
//!     space SET         write amplification, space, memory, drain, close, open
//!     scaling SET       by number of threads
//!     growth SET LARGE  how rates change with more data
//!     micro SET         the parts one by one, beside the figures of the prototypes

use crate::json::Json;
use crate::results_tables as tables;
use crate::source::Finding;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The document.
pub const DOCUMENT: &str = "docs/PERFORMANCE.md";
const FOLDER: &str = "docs/results";
const OPEN: &str = "<!-- table: ";
const CLOSE: &str = " -->";
const END: &str = "<!-- end -->";

/// Sets by name.
pub type Sets = BTreeMap<String, Json>;

/// `cargo xtask results`: renews the tables.
pub fn run(root: &Path) -> Result<String, String> {
    let document = fs::read_to_string(root.join(DOCUMENT)).map_err(|e| format!("{DOCUMENT}: {e}"))?;
    let (renewed, errors) = renew(&document, &load(root)?);
    if let Some((line, what)) = errors.first() {
        return Err(format!("{DOCUMENT}:{line}: {what}"));
    }
    fs::write(root.join(DOCUMENT), &renewed).map_err(|e| format!("{DOCUMENT}: {e}"))?;
    Ok(format!("{DOCUMENT}: {}", if renewed == document { "as it was" } else { "renewed" }))
}

/// What is against it, and what the document should say now; nothing if there is no document.
pub fn check(root: &Path) -> Result<(Vec<Finding>, String), String> {
    let Ok(document) = fs::read_to_string(root.join(DOCUMENT)) else {
        return Ok((vec![finding(0, "is missing: it has the measurements".into())], String::new()));
    };
    let (renewed, errors) = renew(&document, &load(root)?);
    let mut findings: Vec<Finding> = errors.into_iter().map(|(line, what)| finding(line, what)).collect();
    if findings.is_empty() && renewed != document {
        let same = document.lines().zip(renewed.lines()).take_while(|(was, is)| was == is).count();
        findings.push(finding(same + 1, format!("is not what {FOLDER} says: run `cargo xtask results`")));
    }
    Ok((findings, renewed))
}

fn finding(line: usize, what: String) -> Finding {
    Finding { path: DOCUMENT.into(), line, what }
}

fn load(root: &Path) -> Result<Sets, String> {
    let mut sets = Sets::new();
    let Ok(entries) = fs::read_dir(root.join(FOLDER)) else { return Ok(sets) };
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let say = |what: String| format!("{}: {what}", path.display());
            let text = fs::read_to_string(&path).map_err(|e| say(e.to_string()))?;
            let json = Json::parse(&text).map_err(say)?;
            sets.insert(json.get("set").text().to_string(), json);
        }
    }
    Ok(sets)
}

/// The document with its tables renewed, and what was not understood, with its line.
fn renew(document: &str, sets: &Sets) -> (String, Vec<(usize, String)>) {
    let (mut renewed, mut errors) = (String::new(), Vec::new());
    let mut inside = None;
    for (index, line) in document.lines().enumerate() {
        if inside.is_some() {
            if line.trim_end() == END {
                inside = None;
                renewed.push_str(&format!("{END}\n"));
            }
            continue;
        }
        renewed.push_str(&format!("{line}\n"));
        let Some(spec) = line.trim_end().strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) else { continue };
        inside = Some(index + 1);
        match table(spec, sets) {
            Ok(text) => renewed.push_str(&text),
            Err(what) => errors.push((index + 1, what)),
        }
    }
    if let Some(line) = inside {
        errors.push((line, format!("a table without `{END}`")));
    }
    (renewed, errors)
}

fn table(spec: &str, sets: &Sets) -> Result<String, String> {
    let mut words = spec.split(' ');
    let kind = words.next().unwrap_or_default();
    let chosen: Vec<&Json> = words
        .map(|name| sets.get(name).ok_or_else(|| format!("{FOLDER} has no set {name}")))
        .collect::<Result<_, _>>()?;
    match (kind, chosen.as_slice()) {
        ("runs", [_, ..]) => Ok(tables::runs(&chosen)),
        ("settings", [set]) => Ok(tables::settings(set)),
        ("rates", [set]) => Ok(tables::rates(set)),
        ("cpu", [set]) => Ok(tables::cpu(set)),
        ("latency", [set]) => Ok(tables::latency(set)),
        ("space", [set]) => Ok(tables::space(set)),
        ("scaling", [set]) => Ok(tables::scaling(set)),
        ("micro", [set]) => Ok(tables::micro(set)),
        ("growth", [set, large]) => Ok(tables::growth(set, large)),
        _ => Err(format!("no table is called `{spec}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> Sets {
        let text = r#"{"set":"main","commit":"abc","seed":1,"machine":"a box","load":0.1,"command":"lsm-bench publish",
            "started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:10:00Z",
            "engines":[{"engine":"lsm","about":"all default"},{"engine":"other","about":"tuned"}],
            "rows":[
            {"workload":"fillseq","engine":"lsm","mode":"log, CRC-32, LZ4","ops_per_s":[300,400,500],"p99":1500,"cpu_ns":10},
            {"workload":"fillseq","engine":"other","mode":"log, none","ops_per_s":[100,100,100],"p99":2500,"cpu_ns":20}]}"#;
        Sets::from([("main".to_string(), Json::parse(text).expect("valid"))])
    }

    #[test]
    fn a_table_is_written_once_and_then_stays() {
        let document = "# P\n<!-- table: rates main -->\nold\n<!-- end -->\nrest\n";
        let (renewed, errors) = renew(document, &sets());
        assert!(errors.is_empty(), "{errors:?}");
        assert!(renewed.contains("fillseq") && !renewed.contains("old") && renewed.ends_with("<!-- end -->\nrest\n"));
        assert!(renewed.contains("4.00 (3.00-5.00)"), "{renewed}");
        assert_eq!(renew(&renewed, &sets()).0, renewed);
    }

    #[test]
    fn a_changed_number_is_convicted() {
        let (renewed, _) = renew("<!-- table: rates main -->\n<!-- end -->\n", &sets());
        let forged = renewed.replace("4.00 (", "9.00 (");
        assert_ne!(forged, renewed);
        assert_eq!(renew(&forged, &sets()).0, renewed);
    }

    #[test]
    fn unknown_tables_sets_and_ends_are_convicted() {
        for document in [
            "<!-- table: rates nothing -->\n<!-- end -->\n",
            "<!-- table: nothing main -->\n<!-- end -->\n",
            "<!-- table: rates main -->\n",
        ] {
            assert_eq!(renew(document, &sets()).1.len(), 1, "{document}");
        }
    }

    #[test]
    fn a_run_beside_other_work_is_marked() {
        let quiet = table("runs main", &sets()).expect("a table");
        let mut sets = sets();
        let Some(Json::Object(fields)) = sets.get_mut("main") else { panic!("no object") };
        fields.retain(|(name, _)| name != "load");
        fields.push(("load".into(), Json::Number(9.0)));
        let loud = table("runs main", &sets).expect("a table");
        assert!(loud.contains("beside other work") && !quiet.contains("beside other work"));
    }

    #[test]
    fn every_kind_of_table_says_something() {
        for spec in ["runs main", "settings main", "cpu main", "latency main", "micro main", "growth main main"] {
            let text = table(spec, &sets()).expect(spec);
            assert!(text.lines().count() > 1, "{spec}: {text}");
        }
    }
}
