//! What every text file keeps: a `//!` head (Rust), no trailing space, one newline at the end, no work left for later.

use crate::lex;
use crate::source::{Finding, Source};

/// Everything that is against it.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(check_one).collect()
}

fn check_one(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text = &source.text;
    if source.is_rust() && !source.path.starts_with("tests/fixtures") && !has_head(text) {
        findings.push(source.finding_whole("no `//!` head: what it is, invariants, threads, what a failure leaves"));
    }
    let mut at = 0;
    for line in text.split('\n') {
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(source.finding(at, "space at the end of the line"));
        }
        at += line.len() + 1;
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        findings.push(source.finding(text.len(), "the file must end in one newline"));
    }
    // The words are put together here, so that this file does not hold them.
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), "unimplemented!", "todo!"] {
        let is_macro = word.ends_with('!');
        let hay = if is_macro { &source.masked } else { text };
        for (at, _) in hay.match_indices(word) {
            let before = at.checked_sub(1).map(|n| hay.as_bytes()[n]);
            let after = hay.as_bytes().get(at + word.len()).copied();
            if before.is_some_and(lex::is_word) || (!is_macro && after.is_some_and(lex::is_word)) {
                continue;
            }
            findings.push(source.finding(at, format!("{word}: do it, or open an issue")));
        }
    }
    findings
}

/// A `//!` line before anything but attributes, shebangs and blank lines.
fn has_head(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!"))
        .is_some_and(|line| line.starts_with("//!") && line.trim_start_matches("//!").trim().len() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&[Source::new(path, text)]).into_iter().map(|f| format!("{}: {}", f.line, f.what)).collect()
    }

    #[test]
    fn a_clean_file_is_clean() {
        assert_eq!(whats("src/a.rs", "//! What it is.\nfn f() {}\n"), [""; 0]);
        assert_eq!(whats("docs/a.md", "# A\n"), [""; 0]);
    }

    #[test]
    fn a_missing_or_empty_head_is_convicted() {
        for text in ["fn f() {}\n", "//!\nfn f() {}\n", "// comment\n//! late\n"] {
            let found = whats("src/a.rs", text);
            assert!(found.len() == 1 && found[0].contains("head"), "{text}: {found:?}");
        }
    }

    #[test]
    fn trailing_space_and_a_wrong_end_are_convicted() {
        assert!(whats("docs/a.md", "a \nb\n")[0].starts_with("1: space"));
        assert!(whats("docs/a.md", "a\nb\t\n")[0].starts_with("2: space"));
        assert!(whats("docs/a.md", "a")[0].contains("one newline"));
        assert!(whats("docs/a.md", "a\n\n")[0].contains("one newline"));
    }

    #[test]
    fn work_left_for_later_is_convicted() {
        let later = concat!("//! head\n// TO", "DO: x\n");
        assert!(whats("src/a.rs", later)[0].starts_with("2: "));
        assert_eq!(whats("src/a.rs", "//! head\nfn f() { unimplemented!(\"x\") }\n").len(), 1);
        assert_eq!(whats("src/a.rs", concat!("//! head\nconst TO", "DOS: u8 = 1;\n")), [""; 0]);
    }
}
