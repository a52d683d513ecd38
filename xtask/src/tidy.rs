//! `cargo xtask tidy`: all checks over all files.

use crate::source::{self, Finding};
use crate::{format_doc, layers, length, links, names, pages, plant, results, soak, text};
use std::fs;
use std::path::Path;

/// Runs every check; `is_blessing` first lowers the ratchet, renews the ties of `docs/FORMAT.md` and the
/// tables of `docs/PERFORMANCE.md`.
pub fn run(root: &Path, is_blessing: bool) -> Result<String, String> {
    let (findings, files) = check(root, is_blessing)?;
    if findings.is_empty() {
        return Ok(format!("tidy: {files} files are in order"));
    }
    let mut lines: Vec<String> = findings.iter().map(say).collect();
    lines.push(format!("tidy: {} findings in {files} files", findings.len()));
    Err(lines.join("\n"))
}

fn check(root: &Path, is_blessing: bool) -> Result<(Vec<Finding>, usize), String> {
    let mut sources = source::load(root)?;
    let ratchet_path = root.join(length::RATCHET);
    let mut ratchet = fs::read_to_string(&ratchet_path).unwrap_or_default();
    if is_blessing {
        soak::renew(root)?;
        sources = source::load(root)?;
        ratchet = length::check(&sources, &ratchet).1;
        write(&ratchet_path, &ratchet)?;
        let (_, document) = format_doc::check(&sources);
        if !document.is_empty() {
            write(&root.join(format_doc::DOCUMENT), &document)?;
            sources = source::load(root)?;
        }
        let (_, document) = results::check(root)?;
        if !document.is_empty() {
            write(&root.join(results::DOCUMENT), &document)?;
            sources = source::load(root)?;
        }
    }
    let mut findings = layers::check(&sources);
    findings.extend(names::check(&sources));
    findings.extend(length::check(&sources, &ratchet).0);
    findings.extend(text::check(&sources));
    findings.extend(links::check(root, &sources));
    findings.extend(pages::check(&sources));
    findings.extend(plant::check(&sources));
    findings.extend(soak::check(root, &sources));
    findings.extend(format_doc::check(&sources).0);
    findings.extend(results::check(root)?.0);
    findings.sort();
    Ok((findings, sources.len()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn say(finding: &Finding) -> String {
    match finding.line {
        0 => format!("{}: {}", finding.path, finding.what),
        line => format!("{}:{line}: {}", finding.path, finding.what),
    }
}
