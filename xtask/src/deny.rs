//! `cargo xtask deny`: what may be linked into the library, by `deny.toml`: licences, sources, versions, and doubles.
//!
//! cargo-deny and cargo-audit do this with the database of advisories, and are used where they are installed. They are not
//! packaged for Debian and take many minutes to build, and the test machine reaches no advisory database; so the part that
//! needs no database is done here from `Cargo.lock` and `cargo metadata`, and two crates whose bad versions are known are
//! refused by name.

use crate::run;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Versions that are known to be harmful: name, first bad, first good behind it, why.
const REFUSED: &[(&str, [u64; 3], [u64; 3], &str)] = &[
    ("lz4_flex", [0, 0, 0], [0, 11, 6], "CVE-2026-32829: uninitialised memory in the output"),
    ("lz4_flex", [0, 12, 0], [0, 12, 1], "CVE-2026-32829: uninitialised memory in the output"),
    ("crossbeam-channel", [0, 5, 12], [0, 5, 15], "CVE-2025-4574: double free"),
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A package of a lock file.
#[derive(Clone, Debug, PartialEq)]
struct Package {
    name: String,
    version: String,
    source: String,
    has_checksum: bool,
}

/// Runs all checks.
pub fn run(root: &Path) -> Result<String, String> {
    let mut findings = Vec::new();
    let mut said = Vec::new();
    for tool in ["deny", "audit"] {
        if run::is_there("cargo", &[tool, "--version"]) {
            let args: &[&str] = if tool == "deny" { &["deny", "check"] } else { &["audit"] };
            if let Err(why) = run::output(run::cargo(root).args(args)) {
                findings.push(why);
            }
            said.push(format!("cargo {tool}"));
        } else {
            said.push(format!("skipped: cargo-{tool} not found"));
        }
    }
    let allowed = allowed(&read(root, "deny.toml")?);
    let mut count = 0;
    for lock in ["Cargo.lock", "fuzz/Cargo.lock", "models/Cargo.lock"] {
        let packages = packages(&read(root, lock)?);
        count += packages.len();
        findings.extend(check_packages(&packages).into_iter().map(|what| format!("{lock}: {what}")));
    }
    findings.extend(check_licences(&licences(root)?, &allowed));
    said.push(format!("{count} packages of three lock files are in order"));
    if findings.is_empty() { Ok(said.join("\n")) } else { Err(findings.join("\n")) }
}

fn read(root: &Path, name: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(name)).map_err(|e| format!("{name}: {e}"))
}

/// The licences that `deny.toml` allows.
fn allowed(text: &str) -> BTreeSet<String> {
    let list = text.lines().find_map(|line| line.strip_prefix("allow = [")).unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn packages(lock: &str) -> Vec<Package> {
    let blocks = lock.split("[[package]]").skip(1);
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.map(|rest| rest.trim_end_matches('"').to_owned()).unwrap_or_default()
    };
    let package = |block: &str| Package {
        name: field(block, "name"),
        version: field(block, "version"),
        source: field(block, "source"),
        has_checksum: !field(block, "checksum").is_empty(),
    };
    blocks.map(package).collect()
}

fn numbers(version: &str) -> [u64; 3] {
    let mut found = [0; 3];
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    for (slot, part) in found.iter_mut().zip(plain.split('.')) {
        *slot = part.parse().unwrap_or(0);
    }
    found
}

/// Sources, checksums, refused versions.
fn check_packages(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let Package { name, version, source, has_checksum } = package;
        // Without a source it is a package of this repository.
        if !source.is_empty() && (source != REGISTRY || !has_checksum) {
            findings.push(format!("{name} {version} comes from {source}, with checksum: {has_checksum}"));
        }
        for (bad, from, to, why) in REFUSED {
            let has = numbers(version);
            if name == bad && *from <= has && has < *to {
                findings.push(format!("{name} {version}: {why}"));
            }
        }
    }
    findings
}

/// Name and licence of everything that the engine and the C library need to run.
fn licences(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let args =
        ["tree", "--locked", "--package", "lsm", "--all-features", "--edges", "normal,build", "--prefix", "none"];
    let text = run::output(run::cargo(root).args(args).args(["--format", "{p}|{l}"]))?;
    let lines = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    Ok(lines.map(|(name, licence)| (name.to_owned(), licence.trim_end_matches(" (*)").to_owned())).collect())
}

/// Every package may be used under one of the allowed licences (or under all that its text joins by AND).
fn check_licences(found: &BTreeMap<String, String>, allowed: &BTreeSet<String>) -> Vec<String> {
    let is_free = |licence: &str| {
        let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
        plain.split(" AND ").all(|part| part.split(" OR ").any(|name| allowed.contains(name.trim())))
    };
    let refused = found.iter().filter(|(_, licence)| !is_free(licence));
    refused.map(|(name, licence)| format!("{name}: the licence \"{licence}\" is not allowed by deny.toml")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"lz4_flex\"\nversion = \"0.11.5\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"ab\"\n\n[[package]]\nname = \"odd\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/odd\"\n";

    #[test]
    fn foreign_sources_and_refused_versions_are_convicted() {
        let found = check_packages(&packages(LOCK));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("CVE-2026-32829") && found[1].contains("git+https"));
        assert!(
            check_packages(&packages(&LOCK.replace("0.11.5", "0.11.6").replace("git+https://example.org/odd", "")))
                .is_empty()
        );
        assert!(numbers("0.12.1-rc.1+x") == [0, 12, 1]);
    }

    #[test]
    fn licences_are_read_as_expressions() {
        let allowed = allowed("[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Unicode-3.0\"]\n");
        let check = |licence: &str| check_licences(&[("x".to_owned(), licence.to_owned())].into(), &allowed).is_empty();
        assert!(
            check("MIT")
                && check("GPL-3.0 OR MIT")
                && check("MIT/GPL-2.0")
                && check("(MIT OR GPL-2.0) AND Unicode-3.0")
        );
        assert!(!check("GPL-3.0") && !check("MIT AND GPL-2.0") && !check(""));
    }
}
