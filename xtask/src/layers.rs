//! The layer law: a folder of `src/` imports only lower layers, folders of one layer are strangers, `error` and `base`
//! are open to all. The layers are the lines `L<n> name name   text` in the head of `src/lib.rs`, nowhere else.
//!
//! `capi/` stands above them all and sees the engine only through what `src/lib.rs` makes public; the compiler checks
//! that. Tests may import anything.

use crate::lex;
use crate::paths;
use crate::source::{Finding, Source};
use std::collections::{BTreeMap, BTreeSet};

const HEAD: &str = "src/lib.rs";
/// Modules below every layer.
const OPEN: [&str; 2] = ["error", "base"];

/// Layer by folder.
type Layers = BTreeMap<String, u32>;

/// Everything that is against the law.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(head) = sources.iter().find(|s| s.path == HEAD) else {
        return vec![Finding { path: HEAD.into(), line: 0, what: "is missing: it lists the layers".into() }];
    };
    let layers = parse(&head.text);
    let mut findings = check_list(&layers, sources, head);
    for source in sources.iter().filter(|s| s.is_rust() && !s.is_test()) {
        let Some(own) = folder_of(&source.path) else { continue };
        for (at, target) in imports(source) {
            if source.is_test_at(at) || target == own {
                continue;
            }
            if let Some(what) = judge(&layers, own, &target) {
                findings.push(source.finding(at, what));
            }
        }
    }
    findings
}

/// The layers as the head of `src/lib.rs` lists them: names up to the first double space.
fn parse(text: &str) -> Layers {
    let mut layers = Layers::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("//!")) {
        let Some((number, rest)) = line.trim_start().strip_prefix('L').and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let names = rest.split("  ").next().unwrap_or_default();
        layers.extend(names.split(' ').filter(|n| !n.is_empty()).map(|n| (n.to_string(), number)));
    }
    layers
}

/// The list and the folders must agree.
fn check_list(layers: &Layers, sources: &[Source], head: &Source) -> Vec<Finding> {
    let folders: BTreeSet<&str> = sources.iter().filter_map(|s| folder_of(&s.path)).filter(|f| *f != "error").collect();
    let unlisted = folders.iter().filter(|f| !layers.contains_key(**f));
    let missing = layers.keys().filter(|name| !folders.contains(name.as_str()));
    unlisted
        .map(|f| head.finding_whole(format!("src/{f} has no layer: the head of {HEAD} lists them")))
        .chain(missing.map(|f| head.finding_whole(format!("the head lists {f}, but there is no src/{f}"))))
        .collect()
}

/// The top module a file belongs to; `None` for `lib.rs` and files outside `src/`.
fn folder_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    let top = inner.split('/').next()?;
    let top = top.strip_suffix(".rs").unwrap_or(top);
    (top != "lib").then_some(top)
}

fn judge(layers: &Layers, own: &str, target: &str) -> Option<String> {
    if own == "error" {
        return (target != "base").then(|| format!("error imports {target}: it may import base only"));
    }
    if OPEN.contains(&target) {
        return None;
    }
    // What `src/lib.rs` exports by itself (`crate::Result`) is no folder.
    let to = layers.get(target)?;
    let from = layers.get(own)?;
    match to.cmp(from) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(format!(
            "{own} imports {target}: both are L{to} and strangers; what they share belongs in a lower layer"
        )),
        std::cmp::Ordering::Greater => Some(format!(
            "{own} (L{from}) imports {target} (L{to}): only lower layers; move the type down or take a function"
        )),
    }
}

/// Top modules that a file names, by `crate::` or by as many `super::` as reach the root.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let masked = &source.masked;
    let from_root = lex::words(masked, "crate").flat_map(|at| {
        let is_path = masked[at + 5..].trim_start().starts_with("::");
        let found = if is_path { paths::spread(masked, at) } else { Vec::new() };
        found.into_iter().filter_map(|p| p.parts.get(1).map(|top| (p.at, top.clone()))).collect::<Vec<_>>()
    });
    let depth = module_depth(&source.path);
    let inline = inline_modules(masked);
    let from_below = lex::words(masked, "super").flat_map(|at| {
        // The first of a chain only; the others belong to it.
        let is_first = !masked[..at].trim_end().ends_with("::");
        let depth = depth + inline.iter().filter(|range| range.contains(&at)).count();
        let found = if is_first { paths::spread(masked, at) } else { Vec::new() };
        found
            .into_iter()
            .filter_map(|p| {
                let supers = p.parts.iter().take_while(|part| *part == "super").count();
                (supers >= depth).then(|| p.parts.get(supers).map(|top| (p.at, top.clone()))).flatten()
            })
            .collect::<Vec<_>>()
    });
    from_root.chain(from_below).collect()
}

/// How many `super` lead from a file's module to the crate's root.
fn module_depth(path: &str) -> usize {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let slashes = inner.matches('/').count();
    if inner.ends_with("/mod.rs") { slashes } else { slashes + 1 }
}

fn inline_modules(masked: &str) -> Vec<std::ops::Range<usize>> {
    lex::words(masked, "mod")
        .filter_map(|at| {
            let open = at + masked[at..].find(['{', ';'])?;
            masked[open..].starts_with('{').then(|| open..lex::close_of(masked, open))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! Layers:\n//!\n//!     L0 base      numbers, keys\n//!     L1 fs cache  files\n//!     L2 wal\n//!     L6 db        top\nmod x;\n";

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut sources: Vec<_> =
            ["base", "fs", "cache", "wal", "db"].iter().map(|f| Source::new(&format!("src/{f}/mod.rs"), "")).collect();
        sources.push(Source::new(HEAD, LIB));
        sources.push(Source::new(path, text));
        check(&sources).into_iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what)).collect()
    }

    #[test]
    fn the_head_of_lib_rs_is_the_list() {
        let layers = parse(LIB);
        assert_eq!(layers.get("cache"), Some(&1));
        assert_eq!(layers.get("db"), Some(&6));
        assert_eq!(layers.len(), 5);
    }

    #[test]
    fn downwards_is_free() {
        let text = "use crate::base::ids;\nuse crate::{error::Result, fs::File, wal::{a, b}};\nfn f() { crate::cache::g(); super::h() }";
        assert_eq!(found("src/wal/reader.rs", text), [""; 0]);
        assert_eq!(found("src/db/read.rs", "use crate::Result; use super::super::wal::x; use super::open;"), [""; 0]);
    }

    #[test]
    fn upwards_is_convicted() {
        for text in [
            "use crate::db::open;",
            "use crate::{base::ids, db};",
            "fn f() { crate::db::open() }",
            "use super::super::db::open;",
            "use super::super::{base, db::open};",
            "mod inner { use super::super::super::db::open; }",
            "use {crate::db};",
        ] {
            let found = found("src/wal/reader.rs", text);
            assert!(found.len() == 1 && found[0].contains("db (L6)"), "{text}: {found:?}");
        }
        assert_eq!(found("src/base/ids.rs", "use crate::fs::x;").len(), 1);
    }

    #[test]
    fn strangers_are_convicted() {
        let found = found("src/fs/posix.rs", "//! x\nuse crate::cache::Cache;");
        assert!(
            found.len() == 1 && found[0].starts_with("src/fs/posix.rs:2") && found[0].contains("strangers"),
            "{found:?}"
        );
    }

    #[test]
    fn error_imports_base_only() {
        assert_eq!(found("src/error.rs", "use crate::fs::x;").len(), 1);
        assert_eq!(found("src/error.rs", "use crate::base::ids;"), [""; 0]);
    }

    #[test]
    fn tests_may_import_anything() {
        assert_eq!(found("src/fs/tests.rs", "use crate::db::x;"), [""; 0]);
        assert_eq!(found("src/fs/posix.rs", "#[cfg(test)]\nmod tests { use crate::db::x; }"), [""; 0]);
    }

    #[test]
    fn a_folder_without_a_layer_and_a_layer_without_a_folder_are_convicted() {
        assert!(found("src/odd/mod.rs", "")[0].contains("src/odd has no layer"));
        let head = Source::new(HEAD, LIB);
        let only = [Source::new("src/base/mod.rs", ""), head];
        assert_eq!(check(&only).len(), 4);
    }
}
