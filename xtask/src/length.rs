//! Length of files and functions, with a ratchet: what is too long today stands in `xtask/ratchet.txt` with its length,
//! and may only shrink. A line is `<lines> <path>` for a file, `<lines> <path>::<function>` for a function.
//!
//! Tests are exempt: files that are tests as a whole, and in others the functions under `#[cfg(test)]`.

use crate::lex;
use crate::rules::{FILE_LINES_MAX, FUNCTION_LINES_MAX};
use crate::source::{Finding, Source};
use std::collections::BTreeMap;

/// The ratchet's file.
pub const RATCHET: &str = "xtask/ratchet.txt";
const HEAD: &str = "\
# What is longer than the rules allow, with its lines. Numbers only fall and lines only go:
# `cargo xtask tidy --bless` lowers them; nothing raises them but an editor, and a reviewer who agrees.
";

/// Lengths by path or by path and function.
pub type Lengths = BTreeMap<String, usize>;

/// What is against the rules, and what the ratchet should say now.
pub fn check(sources: &[Source], ratchet: &str) -> (Vec<Finding>, String) {
    let (allowed, mut findings) = parse(ratchet);
    let long = too_long(sources);
    let mut kept = Lengths::new();
    for (key, lines) in &long {
        let max = if key.contains("::") { FUNCTION_LINES_MAX } else { FILE_LINES_MAX };
        match allowed.get(key) {
            Some(limit) if lines > limit => {
                findings
                    .push(finding(key, format!("grew from {limit} to {lines} lines; it may only shrink, to {max}")));
                kept.insert(key.clone(), *limit);
            }
            Some(limit) => {
                if lines < limit {
                    findings.push(finding(key, format!("shrank from {limit} to {lines} lines: run tidy --bless")));
                }
                kept.insert(key.clone(), *lines);
            }
            None => findings.push(finding(key, format!("{lines} lines, {max} are allowed: split it"))),
        }
    }
    for key in allowed.keys().filter(|key| !long.contains_key(*key)) {
        findings
            .push(finding(key, format!("is no longer too long, or gone; {RATCHET} still lists it: run tidy --bless")));
    }
    let lines: String = kept.iter().map(|(key, lines)| format!("{lines} {key}\n")).collect();
    (findings, format!("{HEAD}{lines}"))
}

fn finding(key: &str, what: String) -> Finding {
    let (path, function) = key.split_once("::").unwrap_or((key, ""));
    let what = if function.is_empty() { what } else { format!("fn {function}: {what}") };
    Finding { path: path.into(), line: 0, what }
}

fn parse(ratchet: &str) -> (Lengths, Vec<Finding>) {
    let mut lengths = Lengths::new();
    let mut findings = Vec::new();
    for (index, line) in ratchet.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(' ').map(|(lines, key)| (lines.parse(), key)) {
            Some((Ok(lines), key)) => drop(lengths.insert(key.into(), lines)),
            _ => findings.push(Finding {
                path: RATCHET.into(),
                line: index + 1,
                what: "not `<lines> <path>[::<function>]`".into(),
            }),
        }
    }
    (lengths, findings)
}

fn too_long(sources: &[Source]) -> Lengths {
    let mut long = Lengths::new();
    for source in sources.iter().filter(|s| s.is_rust() && !s.is_test() && !s.path.starts_with("tests/")) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            long.insert(source.path.clone(), lines);
        }
        for (name, lines) in functions(source).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX) {
            // Two of one name in a file: the longer one counts.
            let known = long.entry(format!("{}::{name}", source.path)).or_default();
            *known = lines.max(*known);
        }
    }
    long
}

/// The functions of a file that have a body, with their lines from `fn` to the closing brace.
fn functions(source: &Source) -> Vec<(&str, usize)> {
    let masked = &source.masked;
    let mut found = Vec::new();
    for at in lex::words(masked, "fn").filter(|&at| !source.is_test_at(at)) {
        let name_at = masked.len() - masked[at + 2..].trim_start().len();
        let name = lex::word_at(masked, name_at);
        let Some(open) = body(masked, name_at) else { continue };
        if !name.is_empty() {
            let end = lex::close_of(masked, open);
            found.push((name, 1 + masked[at..end].matches('\n').count()));
        }
    }
    found
}

/// Where the body begins; `None` for a declaration without one.
fn body(masked: &str, start: usize) -> Option<usize> {
    let mut brackets = 0usize;
    for (at, byte) in masked.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if brackets == 0 => return None,
            b'{' if brackets == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_fn(lines: usize) -> String {
        format!("fn f(x: [u8; 2]) {{\n{}}}\n", "    x;\n".repeat(lines - 2))
    }

    fn whats(sources: &[Source], ratchet: &str) -> Vec<String> {
        check(sources, ratchet).0.into_iter().map(|f| format!("{}: {}", f.path, f.what)).collect()
    }

    #[test]
    fn a_function_over_the_limit_is_convicted() {
        let source = |lines| [Source::new("src/a.rs", &long_fn(lines))];
        assert_eq!(whats(&source(FUNCTION_LINES_MAX), ""), [""; 0]);
        let found = whats(&source(FUNCTION_LINES_MAX + 1), "");
        assert!(found.len() == 1 && found[0].contains("fn f: 71 lines"), "{found:?}");
    }

    #[test]
    fn a_file_over_the_limit_is_convicted_and_a_test_is_not() {
        let text = "// x\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(whats(&[Source::new("src/a.rs", &text)], "").len(), 1);
        assert_eq!(whats(&[Source::new("src/a/tests.rs", &text)], ""), [""; 0]);
        let inline = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", long_fn(100));
        assert_eq!(whats(&[Source::new("src/a.rs", &inline)], ""), [""; 0]);
    }

    #[test]
    fn the_ratchet_allows_what_it_lists_and_no_line_more() {
        let source = |lines| [Source::new("src/a.rs", &long_fn(lines))];
        let ratchet = "80 src/a.rs::f\n";
        assert_eq!(whats(&source(80), ratchet), [""; 0]);
        assert!(whats(&source(81), ratchet)[0].contains("grew from 80 to 81"));
        assert!(whats(&source(79), ratchet)[0].contains("shrank"));
        assert!(whats(&source(20), ratchet)[0].contains("no longer too long"));
        assert!(whats(&source(20), "x y z\n")[0].contains("not `<lines>"));
    }

    #[test]
    fn blessing_only_lowers() {
        let source = |lines| [Source::new("src/a.rs", &long_fn(lines))];
        let ratchet = "80 src/a.rs::f\n";
        assert!(check(&source(90), ratchet).1.ends_with("\n80 src/a.rs::f\n"));
        assert!(check(&source(75), ratchet).1.ends_with("\n75 src/a.rs::f\n"));
        assert_eq!(check(&source(20), ratchet).1, HEAD);
        assert_eq!(check(&source(90), "").1, HEAD, "a new offender is never blessed");
    }
}
