//! `docs/reliability.md` names a test for each way to fail: every row is there, and every test that it names exists.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// The rows that a text lacks, and the tests that it names and that are not there.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for row in 1..=44 {
        let Some(line) = text.lines().find(|line| line.starts_with(&format!("| {row} |"))) else {
            faults.push(format!("row {row} is missing"));
            continue;
        };
        let proofs = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for proof in proofs.split('`').skip(1).step_by(2).filter(|proof| proof.contains('/')) {
            let (path, name) = proof.split_once(": ").unwrap_or((proof, ""));
            match read(path) {
                Some(source) if source.contains(&format!("{name}(")) || name.is_empty() => {}
                _ => faults.push(format!("row {row} names `{proof}`, which is not there")),
            }
        }
    }
    faults
}

#[test]
fn every_row_names_tests_that_exist() {
    let text = read("docs/reliability.md").unwrap();
    assert_eq!(faults(&text), Vec::<String>::new());
    // The check can fail.
    assert_eq!(faults(&text.replace("| 22 |", "| 220 |")).len(), 1);
    assert_eq!(faults(&text.replace("unlinked_tables", "no_such_test")).len(), 1);
}
