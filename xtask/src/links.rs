//! Links of the pages: a relative link leads to a file that is there, an anchor to a heading of its page, and every page
//! under `docs/` can be reached from `README.md`; a link to a folder reaches what lies in it.
//!
//! What is looked at: `[text](target)` and `![text](target)` outside of fences and of code in a line. Addresses with a
//! scheme are left alone. Headings get the anchors that GitHub gives them.

use crate::source::{Finding, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where a reader begins.
const FRONT: &str = "README.md";
/// What must be reachable.
const PAGES: &str = "docs/";

/// A link of a page: its line and its target.
struct Link {
    line: usize,
    target: String,
}

/// Everything that is against it.
pub fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let pages: BTreeMap<&str, &str> =
        sources.iter().filter(|s| s.path.ends_with(".md")).map(|s| (s.path.as_str(), s.text.as_str())).collect();
    let mut findings = Vec::new();
    let mut leads: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (&path, text) in &pages {
        for link in links(text) {
            match follow(root, &pages, path, &link.target) {
                Ok(Some(to)) => leads.entry(path).or_default().push(to),
                Ok(None) => {}
                Err(what) => findings.push(Finding { path: path.into(), line: link.line, what }),
            }
        }
    }
    if pages.contains_key(FRONT) {
        let reached = reach(&leads);
        let is_reached = |path: &str| {
            reached.contains(path) || path.rsplit_once('/').is_some_and(|(folder, _)| reached.contains(folder))
        };
        for path in pages.keys().filter(|path| path.starts_with(PAGES) && !is_reached(path)) {
            let what = format!("no link leads here from {FRONT}");
            findings.push(Finding { path: (*path).into(), line: 0, what });
        }
    }
    findings
}

/// What links lead to, from the front page on.
fn reach(leads: &BTreeMap<&str, Vec<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([FRONT.to_string()]);
    let mut open = vec![FRONT.to_string()];
    while let Some(page) = open.pop() {
        for next in leads.get(page.as_str()).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

/// The page, file or folder a link leads to, nothing for what is not of this tree, or what is wrong with it.
fn follow(root: &Path, pages: &BTreeMap<&str, &str>, from: &str, target: &str) -> Result<Option<String>, String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { Some(from.to_string()) } else { join(from, file) };
    let Some(path) = path else { return Err(format!("`{target}` leads out of the tree")) };
    let is_folder = pages.keys().any(|page| page.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')));
    if !is_folder && !pages.contains_key(path.as_str()) && !root.join(&path).exists() {
        return Err(format!("`{target}`: there is no {path}"));
    }
    if let Some(anchor) = anchor {
        let Some(text) = pages.get(path.as_str()) else { return Err(format!("`{target}`: {path} has no headings")) };
        if !anchors(text).contains(anchor) {
            return Err(format!("`{target}`: {path} has no heading #{anchor}"));
        }
    }
    Ok(Some(path))
}

/// `file` as seen from the folder of the page `from`; nothing when it leads out of the tree.
fn join(from: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The lines of a page outside of fences, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            return None;
        }
        (!is_code && !line.starts_with("    ")).then_some((index + 1, line))
    })
}

fn links(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, words) in prose(text) {
        let words = without_code(words);
        for (at, _) in words.match_indices("](") {
            let Some((target, _)) = words[at + 2..].split_once(')') else { continue };
            found.push(Link { line, target: target.split(' ').next().unwrap_or_default().to_string() });
        }
    }
    found
}

/// A line with spaces where code was, backticks included.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { " " }).collect()
}

/// The anchors of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (_, line) in prose(text) {
        let Some(title) = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')) else {
            continue;
        };
        let plain = slug(title);
        let count = seen.entry(plain.clone()).or_default();
        anchors.insert(if *count == 0 { plain } else { format!("{plain}-{count}") });
        *count += 1;
    }
    anchors
}

/// A heading as GitHub writes it behind `#`: small letters, digits, `-` and `_`; spaces become `-`, the rest is dropped.
fn slug(title: &str) -> String {
    // Of a link its text is the heading.
    let mut shown = String::new();
    let mut rest = title.trim();
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, behind)| behind);
    }
    shown.push_str(rest);
    let keep = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    shown.to_lowercase().chars().filter(|&c| keep(c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(pages: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = pages.iter().map(|(path, text)| Source::new(path, text)).collect();
        let found = check(Path::new("/nowhere"), &sources);
        found.into_iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what)).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let front = "# A\n[b](docs/b.md) [h](docs/b.md#two-words-1) [up](#a) [x](https://x.y/z) `[no](link.md)`\n";
        let page = "## Two, words\n## `Two` words\n[back](../README.md#a)\n```sh\n[no](link.md)\n```\n";
        assert_eq!(whats(&[("README.md", front), ("docs/b.md", page)]), [""; 0]);
    }

    #[test]
    fn dead_links_and_anchors_are_convicted() {
        let front = "# A\n\n[b](docs/b.md) [gone](docs/gone.md)\n[h](docs/b.md#gone) [up](../x.md)\n[self](#b)\n";
        let found = whats(&[("README.md", front), ("docs/b.md", "# B\n")]);
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], "README.md:3: `docs/gone.md`: there is no docs/gone.md");
        assert_eq!(found[1], "README.md:4: `docs/b.md#gone`: docs/b.md has no heading #gone");
        assert_eq!(found[2], "README.md:4: `../x.md` leads out of the tree");
        assert_eq!(found[3], "README.md:5: `#b`: README.md has no heading #b");
    }

    #[test]
    fn a_page_that_nobody_links_is_convicted() {
        let pages =
            [("README.md", "[b](docs/b.md)\n"), ("docs/b.md", "[c](c.md)\n"), ("docs/c.md", ""), ("docs/d.md", "")];
        assert_eq!(whats(&pages), ["docs/d.md:0: no link leads here from README.md"]);
        let pages = [("README.md", "[all](docs/x)\n"), ("docs/x/b.md", ""), ("docs/x/deep/c.md", "")];
        assert_eq!(whats(&pages), ["docs/x/deep/c.md:0: no link leads here from README.md"]);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let cases = [
            ("What `lsm_sync` does", "what-lsm_sync-does"),
            ("Disk full: ENOSPC & co.", "disk-full-enospc--co"),
            ("A [link](to.md) here", "a-link-here"),
        ];
        for (title, want) in cases {
            assert_eq!(slug(title), want, "{title}");
        }
    }
}
