//! The files that are checked, and which of their parts are tests.
//!
//! A part is a test when it stands under `#[cfg(test)]` (or `cfg(all(test, ...))`), in a file of a module that is
//! declared so, or in `tests.rs`, `testing.rs` or a folder `tests`.

use crate::lex;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// One thing that is against the rules.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Relative path.
    pub path: String,
    /// From 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

/// A text file of the project.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments and texts; empty for what is not Rust.
    pub masked: String,
    /// Offsets of the parts that are tests.
    pub tests: Vec<Range<usize>>,
}

impl Source {
    /// A file of this content.
    pub fn new(path: &str, text: &str) -> Source {
        let is_rust = path.ends_with(".rs");
        let masked = if is_rust { lex::mask(text) } else { String::new() };
        let tests = if is_test_path(path) { vec![whole(text)] } else { test_regions(&masked) };
        Source { path: path.into(), text: text.into(), masked, tests }
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of it is a test.
    pub fn is_test(&self) -> bool {
        self.tests.first() == Some(&whole(&self.text))
    }

    /// Whether the offset lies in a test.
    pub fn is_test_at(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// A finding at an offset.
    pub fn finding(&self, at: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: lex::line_of(&self.text, at), what: what.into() }
    }

    /// A finding about the whole file.
    pub fn finding_whole(&self, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: 0, what: what.into() }
    }
}

// One past the end, so that an empty file can be a test too.
fn whole(text: &str) -> Range<usize> {
    0..text.len() + 1
}

fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/').rev();
    let name = parts.next().unwrap_or_default();
    matches!(name, "tests.rs" | "testing.rs") || parts.any(|part| part == "tests")
}

/// What `#[cfg(test)]` covers: up to the closing brace or the semicolon of the item behind it.
fn test_regions(masked: &str) -> Vec<Range<usize>> {
    let mut regions: Vec<Range<usize>> = Vec::new();
    for (start, _) in masked.match_indices("#[cfg(") {
        if regions.last().is_some_and(|r| r.contains(&start)) || !is_test_cfg(masked, start) {
            continue;
        }
        regions.push(start..item_end(masked, start));
    }
    regions
}

fn is_test_cfg(masked: &str, start: usize) -> bool {
    let attribute = &masked[start..attribute_end(masked, start)];
    lex::words(attribute, "test").next().is_some() && !attribute.contains("not(") && !attribute.contains("any(")
}

fn attribute_end(masked: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in masked.bytes().enumerate().skip(start) {
        match byte {
            b'[' => depth += 1,
            b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    masked.len()
}

fn item_end(masked: &str, start: usize) -> usize {
    let bytes = masked.as_bytes();
    let mut at = start;
    loop {
        while at < bytes.len() && bytes[at].is_ascii_whitespace() {
            at += 1;
        }
        if !masked[at..].starts_with("#[") {
            break;
        }
        at = attribute_end(masked, at);
    }
    // An array type or length holds a semicolon that ends nothing.
    let mut brackets = 0usize;
    while at < bytes.len() {
        match bytes[at] {
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets = brackets.saturating_sub(1),
            b';' if brackets == 0 => return at + 1,
            b'{' if brackets == 0 => return lex::close_of(masked, at),
            _ => {}
        }
        at += 1;
    }
    masked.len()
}

/// Reads every checked file under `root`, and marks the files of modules that are declared as tests.
pub fn load(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    walk(root, "", &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    mark_test_modules(&mut sources);
    Ok(sources)
}

/// Folders that hold no text of ours.
const SKIPPED: [&str; 6] = ["target", ".git", "fixtures", "corpus", "artifacts", "coverage"];
/// What is text.
const ENDINGS: [&str; 11] = ["rs", "md", "toml", "c", "h", "cc", "cpp", "hpp", "sh", "yml", "in"];
/// Text files without such an ending.
const NAMES: [&str; 3] = ["Makefile", "run", ".gitignore"];

fn walk(root: &Path, relative: &str, sources: &mut Vec<Source>) -> Result<(), String> {
    let folder = root.join(relative);
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if relative.is_empty() { name.clone() } else { format!("{relative}/{name}") };
        let kind = entry.file_type().map_err(|e| format!("{path}: {e}"))?;
        if kind.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(root, &path, sources)?;
            }
        } else if kind.is_file() && is_text(&name) {
            let text = fs::read_to_string(root.join(&path)).map_err(|e| format!("{path}: {e}"))?;
            sources.push(Source::new(&path, &text));
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    NAMES.contains(&name) || name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// Files of `#[cfg(test)] mod x;` are tests as a whole.
pub fn mark_test_modules(sources: &mut [Source]) {
    let mut modules = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust()) {
        for range in source.tests.iter().filter(|r| r.end <= source.masked.len()) {
            let item = &source.masked[range.clone()];
            if let (Some(at), true) = (lex::words(item, "mod").next(), item.trim_end().ends_with(';')) {
                modules.push(match path_attribute(&source.text[range.clone()]) {
                    Some(file) => format!("{}/{file}", folder(&source.path)),
                    None => format!("{}/{}", module_folder(&source.path), lex::word_at(item, at + 4)),
                });
            }
        }
    }
    for source in sources {
        let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        if modules.iter().any(|m| stem == m || stem.strip_prefix(m.as_str()).is_some_and(|rest| rest.starts_with('/')))
        {
            source.tests = vec![whole(&source.text)];
        }
    }
}

/// `x` of `#[path = "x.rs"]`.
fn path_attribute(item: &str) -> Option<&str> {
    let (_, rest) = item.split_once("#[path = \"")?;
    rest.split('"').next()?.strip_suffix(".rs")
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The folder where the submodules of a file lie.
fn module_folder(path: &str) -> &str {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder,
        _ => path.strip_suffix(".rs").unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_text(text: &str) -> String {
        let source = Source::new("src/a/b.rs", text);
        source.tests.iter().map(|r| &text[r.clone()]).collect()
    }

    #[test]
    fn cfg_test_covers_its_item_and_no_more() {
        let cases = [
            (
                "a; #[cfg(test)]\n#[path = \"x\"]\nmod t { fn f() {} } b;",
                "#[cfg(test)]\n#[path = \"x\"]\nmod t { fn f() {} }",
            ),
            ("#[cfg(test)] mod t; b;", "#[cfg(test)] mod t;"),
            ("#[cfg(test)] use x::{a, b}; c", "#[cfg(test)] use x::{a, b};"),
            ("#[cfg(not(test))] mod t {}", ""),
            ("#[cfg(any(test, feature = \"x\"))] mod t {}", ""),
            ("#[cfg(all(test, unix))] fn f(x: [u8; 2]) { y } z", "#[cfg(all(test, unix))] fn f(x: [u8; 2]) { y }"),
        ];
        for (text, want) in cases {
            let got = test_text(text);
            // A `use` ends at its group or at its semicolon: both leave nothing of it outside.
            assert!(got == want || got == want.trim_end_matches(';'), "{text}: {got}");
        }
    }

    #[test]
    fn files_of_test_modules_are_tests() {
        let mut sources = vec![
            Source::new("src/wal/mod.rs", "#[cfg(test)]\nmod fake;\nmod real;\n"),
            Source::new("src/wal/publish.rs", "#[cfg(test)]\n#[path = \"publish_tests.rs\"]\nmod tests;\n"),
            Source::new("src/wal/publish_tests.rs", "x"),
            Source::new("src/wal/fake.rs", "x"),
            Source::new("src/wal/fake/deep.rs", "x"),
            Source::new("src/wal/real.rs", "x"),
            Source::new("src/wal/real/tests.rs", "x"),
        ];
        mark_test_modules(&mut sources);
        let tests: Vec<_> = sources.iter().map(Source::is_test).collect();
        assert_eq!(tests, [false, false, true, true, true, false, true]);
    }
}
