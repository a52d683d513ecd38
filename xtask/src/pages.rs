//! What the pages say of the C interface: every `lsm_...` and `LSM_...` name in `README.md` and under `docs/` is one of
//! `include/lsm.h` (or `lsm.hpp`), a metric that `src/db/properties.rs` has, or a variable that a program here reads; and
//! `docs/errors.md` has a row for every code.

use crate::lex;
use crate::source::{Finding, Source};
use std::collections::BTreeSet;

const HEADER: &str = "include/lsm.h";
const METRICS: &str = "src/db/properties.rs";
const ERRORS: &str = "docs/errors.md";
/// Says names that nothing has, in its tests.
const ITSELF: &str = "xtask/src/pages.rs";
/// Decisions speak of what was thought of, too.
const SKIPPED: &str = "docs/decisions/";

/// Everything that is against it.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let text_of = |path: &str| sources.iter().find(|s| s.path == path).map(|s| s.text.as_str());
    let Some(header) = text_of(HEADER) else { return Vec::new() };
    let mut known: BTreeSet<String> = names(header).map(|(_, name)| name.to_string()).collect();
    known.extend(names(text_of("include/lsm.hpp").unwrap_or_default()).map(|(_, name)| name.to_string()));
    known.extend(variables(sources));
    known.extend(metrics(text_of(METRICS).unwrap_or_default()));
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| is_page(&s.path)) {
        for (at, name) in names(&source.text).filter(|(_, name)| !name.ends_with('_') && !known.contains(*name)) {
            findings.push(source.finding(at, format!("{name} is no name of {HEADER}, and no metric")));
        }
    }
    if let Some(errors) = sources.iter().find(|s| s.path == ERRORS) {
        for code in header.lines().filter_map(code) {
            if !errors.text.contains(&format!("\n| `{}` {} |", code.0, code.1)) {
                findings.push(errors.finding_whole(format!("has no row of {} {}", code.0, code.1)));
            }
        }
    }
    findings
}

/// Variables of the environment: what some program or script of ours calls so.
fn variables(sources: &[Source]) -> impl Iterator<Item = String> {
    let programs = sources.iter().filter(|s| !s.path.ends_with(".md") && s.path != ITSELF);
    programs.flat_map(|s| names(&s.text)).map(|(_, name)| name.to_string()).filter(|name| name.starts_with("LSM_"))
}

fn is_page(path: &str) -> bool {
    path.ends_with(".md") && (path == "README.md" || path.starts_with("docs/")) && !path.starts_with(SKIPPED)
}

/// Words that begin with `lsm_` or `LSM_`, with their offsets.
fn names(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("lsm_").chain(text.match_indices("LSM_")).filter_map(|(at, _)| {
        let before = at.checked_sub(1).map(|n| text.as_bytes()[n]);
        // Part of another word, a file's name, a target of CMake.
        if before.is_some_and(|b| lex::is_word(b) || matches!(b, b'/' | b':')) {
            return None;
        }
        let name = lex::word_at(text, at);
        // A version node, `LSM_1.0`, is none of them.
        (!name.as_bytes()[4..].first().is_some_and(u8::is_ascii_digit)).then_some((at, name))
    })
}

/// Metrics as Prometheus names them: `"stall.micros"` is `lsm_stall_micros`, with `_total` for what only grows.
fn metrics(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split('"').skip(1).step_by(2) {
        if !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_'))
        {
            let name = format!("lsm_{}", part.replace('.', "_"));
            found.insert(format!("{name}_total"));
            found.insert(name);
        }
    }
    for name in ["lsm_level_files", "lsm_level_bytes"] {
        if text.contains(name) {
            found.insert(name.into());
        }
    }
    found
}

/// Name and number of `#define LSM_E_IO (-2)`, and of the outcomes above 0.
fn code(line: &str) -> Option<(&str, &str)> {
    let mut words = line.strip_prefix("#define ")?.split_whitespace();
    let name = words.next()?;
    let is_code = name.starts_with("LSM_E_")
        || matches!(name, "LSM_OK" | "LSM_NOT_FOUND" | "LSM_END" | "LSM_TRUNCATED" | "LSM_PENDING");
    let number = words.next()?.strip_prefix('(')?.strip_suffix(')')?;
    is_code.then_some((name, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "#define LSM_OK (0)\n#define LSM_E_IO (-2)\nint32_t lsm_put(void);\n";

    fn whats(page: &str, text: &str) -> Vec<String> {
        let metrics = "//! head\nconst A: &str = \"stall.micros\";\n";
        let sources = [Source::new(HEADER, LINES), Source::new(METRICS, metrics), Source::new(page, text)];
        check(&sources).into_iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what)).collect()
    }

    #[test]
    fn names_of_the_header_and_metrics_are_fine() {
        let text = "`lsm_put` `LSM_E_IO` `lsm_batch_` lsm_stall_micros_total `liblsm_x` a/lsm_8h.html LSM_1.0 lsm::lsm_static\n";
        assert_eq!(whats("docs/a.md", text), [""; 0]);
        assert_eq!(whats("docs/decisions/a.md", "lsm_later\n"), [""; 0]);
    }

    #[test]
    fn names_that_nothing_has_are_convicted() {
        let found = whats("docs/a.md", "x\n`lsm_gone` and `LSM_E_GONE`\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("docs/a.md:2: lsm_gone"));
    }

    #[test]
    fn a_code_without_a_row_is_convicted() {
        assert_eq!(whats(ERRORS, "\n| `LSM_OK` 0 | x |\n| `LSM_E_IO` -2 | x |\n"), [""; 0]);
        assert_eq!(whats(ERRORS, "\n| `LSM_OK` 0 | x |\n"), ["docs/errors.md:0: has no row of LSM_E_IO -2"]);
    }
}
