//! `docs/FORMAT.md` speaks for the bytes that the heads of the format files draw. Each head is tied to it by a line
//!
//!     <!-- head: src/wal/format.rs 0123456789abcdef -->
//!
//! with the FNV-1a hash of the file's `//!` lines. Whoever changes a head meets an error here, reads the document
//! again, and renews the tie with `cargo xtask tidy --bless`.

use crate::source::{Finding, Source};

/// The document.
pub const DOCUMENT: &str = "docs/FORMAT.md";
const OPEN: &str = "<!-- head: ";
const CLOSE: &str = " -->";

/// What is against it, and what the document should say now.
pub fn check(sources: &[Source]) -> (Vec<Finding>, String) {
    let Some(document) = sources.iter().find(|s| s.path == DOCUMENT) else {
        let what = "is missing: it describes every byte on disk".into();
        return (vec![Finding { path: DOCUMENT.into(), line: 0, what }], String::new());
    };
    let mut findings = Vec::new();
    let mut renewed = String::new();
    let mut tied = Vec::new();
    let mut at = 0;
    for line in document.text.split_inclusive('\n') {
        let tie =
            line.trim_end().strip_prefix(OPEN).and_then(|l| l.strip_suffix(CLOSE)).and_then(|l| l.split_once(' '));
        match tie {
            None => renewed.push_str(line),
            Some((path, hash)) => {
                tied.push(path);
                let source = sources.iter().find(|s| s.path == path);
                let now = source.map(|s| format!("{:016x}", fnv1a(head(&s.text).as_bytes())));
                match &now {
                    None => findings.push(document.finding(at, format!("is tied to {path}, which does not exist"))),
                    Some(now) if now != hash => findings.push(document.finding(
                        at,
                        format!("the head of {path} has changed (now {now}): bring this document in line with it, then tidy --bless"),
                    )),
                    Some(_) => {}
                }
                renewed.push_str(&format!("{OPEN}{path} {}{CLOSE}\n", now.as_deref().unwrap_or(hash)));
            }
        }
        at += line.len();
    }
    let formats = sources.iter().filter(|s| s.path.starts_with("src/") && s.path.ends_with("/format.rs"));
    for source in formats.filter(|s| !tied.contains(&s.path.as_str())) {
        let what = format!(
            "draws bytes that {DOCUMENT} is not tied to: describe them there, with `{OPEN}{} 0{CLOSE}`",
            source.path
        );
        findings.push(source.finding_whole(what));
    }
    (findings, renewed)
}

/// The `//!` lines a file begins with.
fn head(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//!")).map(|line| format!("{line}\n")).collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "//! Bytes:\n//!     a: u8\nfn f() {}\n";

    fn findings(document: &str, format: &str) -> (Vec<String>, String) {
        let sources = [Source::new(DOCUMENT, document), Source::new("src/wal/format.rs", format)];
        let (found, renewed) = check(&sources);
        (found.into_iter().map(|f| f.what).collect(), renewed)
    }

    #[test]
    fn a_tie_holds_until_the_head_changes_and_blessing_renews_it() {
        let first = "# Format\n<!-- head: src/wal/format.rs 0 -->\nText\n";
        let (found, tied) = findings(first, FORMAT);
        assert!(found.len() == 1 && found[0].contains("has changed"), "{found:?}");
        assert_eq!(findings(&tied, FORMAT), (vec![], tied.clone()));
        assert_eq!(findings(&tied, &FORMAT.replace("f()", "g()")).0, [""; 0], "code below the head is free");
        assert_eq!(findings(&tied, &FORMAT.replace("u8", "u16")).0.len(), 1);
    }

    #[test]
    fn an_untied_format_and_a_tie_to_nothing_are_convicted() {
        assert!(findings("# Format\n", FORMAT).0[0].contains("not tied"));
        let (found, _) = findings("<!-- head: src/wal/format.rs 0 -->\n<!-- head: src/x.rs 0 -->\n", FORMAT);
        assert!(found.iter().any(|f| f.contains("does not exist")), "{found:?}");
        assert_eq!(check(&[]).0.len(), 1, "no document");
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
