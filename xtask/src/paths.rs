//! Paths in code: `a::b::c`, and use trees spread out to the paths they name.

use crate::lex;

/// A path and where its last part stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathAt {
    /// Offset of the last part that was read.
    pub at: usize,
    /// Its parts.
    pub parts: Vec<String>,
}

/// All paths of the tree that begins at `start`; a plain path is a tree of one.
pub fn spread(masked: &str, start: usize) -> Vec<PathAt> {
    let mut found = Vec::new();
    tree(masked, start, &mut Vec::new(), &mut found);
    found
}

/// All paths that `use` declarations name.
pub fn uses(masked: &str) -> Vec<PathAt> {
    lex::words(masked, "use").flat_map(|at| spread(masked, at + "use".len())).collect()
}

/// Reads one tree and says where it ends.
fn tree(masked: &str, start: usize, before: &mut Vec<String>, found: &mut Vec<PathAt>) -> usize {
    let depth = before.len();
    let mut at = skip_space(masked, start);
    if masked[at..].starts_with("::") {
        at = skip_space(masked, at + 2);
    }
    loop {
        if masked[at..].starts_with('{') {
            at = group(masked, at + 1, before, found);
            break;
        }
        let word = if masked[at..].starts_with('*') { "*" } else { lex::word_at(masked, at) };
        if word.is_empty() {
            break;
        }
        let last = at;
        before.push(word.to_string());
        at = skip_space(masked, at + word.len());
        if !masked[at..].starts_with("::") {
            found.push(PathAt { at: last, parts: before.clone() });
            break;
        }
        at = skip_space(masked, at + 2);
        // Generic arguments, `a::<T>::b`, end what we look for.
        if masked[at..].starts_with('<') {
            found.push(PathAt { at: last, parts: before.clone() });
            break;
        }
    }
    before.truncate(depth);
    at
}

/// Reads the trees of a group up to its closing brace.
fn group(masked: &str, start: usize, before: &mut Vec<String>, found: &mut Vec<PathAt>) -> usize {
    let mut at = start;
    while at < masked.len() && !masked[at..].starts_with('}') {
        let end = tree(masked, at, before, found);
        // Skip `as name` and the comma.
        at = end + masked[end..].find([',', '}']).unwrap_or(masked.len() - end);
        if masked[at..].starts_with(',') {
            at = skip_space(masked, at + 1);
        }
    }
    (at + 1).min(masked.len())
}

fn skip_space(masked: &str, at: usize) -> usize {
    masked.len() - masked[at..].trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_spread_to_the_paths_they_name() {
        let cases = [
            ("use a::b;", "a::b"),
            ("use a::{b, c::{d as e, f::*}, self};", "a::b a::c::d a::c::f::* a::self"),
            ("pub(crate) use ::std::{fs, sync::{\n  atomic::AtomicU8,\n}};", "std::fs std::sync::atomic::AtomicU8"),
            ("use {a::b, c};", "a::b c"),
        ];
        for (text, want) in cases {
            let got: Vec<_> = uses(text).into_iter().map(|p| p.parts.join("::")).collect();
            assert_eq!(got.join(" "), want, "{text}");
        }
    }

    #[test]
    fn a_path_in_an_expression_is_a_tree_of_one() {
        let got = spread("crate::db::open::<T>(x)", 0);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].parts, ["crate", "db", "open"]);
    }

    #[test]
    fn an_unfinished_tree_ends() {
        for text in ["use a::{", "use a::{b", "use", "use a::{b, ", "use {,}"] {
            drop(uses(text));
        }
    }
}
