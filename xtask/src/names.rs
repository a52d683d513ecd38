//! Who may say what: `unsafe`, and the names that `rules::RESTRICTED` keeps to their homes.

use crate::lex;
use crate::paths;
use crate::rules::{RESTRICTED, UNSAFE};
use crate::source::{Finding, Source};

/// Everything that is against the two lists.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = check_unsafe(sources, UNSAFE);
    for source in sources.iter().filter(|s| s.is_rust() && s.path.starts_with("src/")) {
        for rule in RESTRICTED {
            if rule.homes.iter().any(|home| is_under(&source.path, home)) {
                continue;
            }
            let homes = rule.homes.join(", ");
            let what = format!("`{}` is for {homes} only: {}", rule.name, rule.instead);
            let is_free = |at: usize| {
                let rest = source.masked[at..].strip_prefix(rule.name).unwrap_or_default();
                !rule.free.is_empty() && rest.starts_with(rule.free)
            };
            let mentions = mentions(&source.masked, rule.name).into_iter().filter(|&at| !is_free(at));
            let mut refused: Vec<_> =
                mentions.filter(|&at| !(rule.is_open_to_tests && source.is_test_at(at))).collect();
            refused.dedup_by_key(|at| lex::line_of(&source.masked, *at));
            findings.extend(refused.into_iter().map(|at| source.finding(at, what.as_str())));
        }
    }
    findings
}

/// Where a path is named: spelled out, or by a use tree such as `use std::{fs, io}`.
fn mentions(masked: &str, name: &str) -> Vec<usize> {
    let parts: Vec<&str> = name.split("::").collect();
    let in_trees = paths::uses(masked).into_iter().filter(|p| p.parts.windows(parts.len()).any(|w| w == parts));
    let mut found: Vec<usize> = lex::words(masked, name).chain(in_trees.map(|p| p.at)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// `home` names a folder with its slash, or a module by its path without `.rs`.
fn is_under(path: &str, home: &str) -> bool {
    path.strip_prefix(home).is_some_and(|rest| home.ends_with('/') || rest == ".rs" || rest.starts_with('/'))
}

fn check_unsafe(sources: &[Source], list: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_needed = vec![false; list.len()];
    for source in sources.iter().filter(|s| s.is_rust()) {
        let Some(at) = lex::words(&source.masked, "unsafe").next() else { continue };
        match list.iter().position(|home| is_under(&source.path, home)) {
            Some(index) => is_needed[index] = true,
            // Integration tests, benches and tools may call the C ABI.
            None if source.is_test() || is_host(&source.path) => {}
            None => findings.push(source.finding(at, "`unsafe` here: not on the list UNSAFE in xtask/src/rules.rs")),
        }
    }
    for (home, _) in list.iter().zip(&is_needed).filter(|(_, needed)| !**needed) {
        findings.push(Finding {
            path: "xtask/src/rules.rs".into(),
            line: 0,
            what: format!("UNSAFE lists {home}, where nothing is unsafe: take it off"),
        });
    }
    findings
}

fn is_host(path: &str) -> bool {
    ["tests/", "benches/", "tools/", "fuzz/", "ffi-tests/"].iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        let source = [Source::new(path, text)];
        check(&source).into_iter().filter(|f| f.path == path).map(|f| f.what).collect()
    }

    #[test]
    fn every_restricted_name_is_convicted_outside_its_home_and_free_inside() {
        for rule in RESTRICTED {
            let text = format!("use {};\n", rule.name);
            let found = whats("src/sstable/reader.rs", &text);
            assert!(found.len() == 1 && found[0].contains(rule.name), "{}: {found:?}", rule.name);
            // A name without a home is free nowhere.
            for home in rule.homes {
                let inside = if home.ends_with('/') { format!("{home}x.rs") } else { format!("{home}.rs") };
                assert_eq!(whats(&inside, &text), [""; 0], "{}", rule.name);
            }
            let in_test = whats("src/sstable/tests.rs", &text);
            assert_eq!(in_test.is_empty(), rule.is_open_to_tests, "{}", rule.name);
        }
    }

    #[test]
    fn a_use_tree_does_not_hide_a_name() {
        let found = whats("src/db/read.rs", "use std::{\n    io,\n    sync::{Arc, atomic::AtomicU8},\n};\n");
        assert!(found.len() == 1 && found[0].contains("sync::atomic"), "{found:?}");
        let found = whats("src/wal/mod.rs", "use std::{fs, thread};\nfn f() { thread::spawn(g); }\n");
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_name_in_a_comment_a_text_or_a_longer_word_is_free() {
        let text = "// libc::open\nlet x = \"libc\"; my_libc::f();\n";
        assert_eq!(whats("src/db/read.rs", text), [""; 0]);
    }

    #[test]
    fn an_errno_is_free_and_a_call_beside_it_is_not() {
        assert_eq!(whats("src/db/open.rs", "fn f() { g(libc::ENOENT) }\n"), [""; 0]);
        assert_eq!(whats("src/db/open.rs", "fn f() { libc::open(libc::ENOENT) }\n").len(), 1);
    }

    #[test]
    fn unsafe_off_the_list_is_convicted() {
        let found = whats("src/db/read.rs", "//! x\nfn f() { unsafe { g() } }\n");
        assert!(found.len() == 1 && found[0].contains("UNSAFE"), "{found:?}");
        assert_eq!(whats("src/db/read.rs", "#![expect(unsafe_code)] // unsafe\n"), [""; 0]);
    }

    #[test]
    fn a_stale_entry_is_convicted() {
        let sources = [Source::new("src/base/arena.rs", "unsafe {}"), Source::new("src/base/epoch.rs", "safe")];
        let found = check_unsafe(&sources, &["src/base/arena", "src/base/epoch"]);
        assert!(found.len() == 1 && found[0].what.contains("src/base/epoch"), "{found:?}");
    }

    #[test]
    fn a_module_is_under_its_file_and_not_under_a_neighbour() {
        assert!(is_under("src/base/epoch.rs", "src/base/epoch"));
        assert!(is_under("src/base/epoch/tests.rs", "src/base/epoch"));
        assert!(!is_under("src/base/epochs.rs", "src/base/epoch"));
    }
}
