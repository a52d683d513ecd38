//! Just enough of C to read our own headers: functions, structs, numbers and function types of `lsm.h`, as it is now or as a
//! release kept it. What it does not understand is an error, not a gap.
//!
//! Invariants
//! - I1  Two declarations are equal as text exactly when they mean the same to a caller: names of arguments, `struct`
//!   before a type that has a typedef, and spaces do not count.

use crate::lex;
use std::collections::BTreeMap;

/// What a header declares.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Name: return type and argument types.
    pub functions: BTreeMap<String, String>,
    /// Name: the fields in order.
    pub structs: BTreeMap<String, Vec<Field>>,
    /// Name: the text after it.
    pub defines: BTreeMap<String, String>,
    /// Name: the rest of the typedef; function types and opaque structs.
    pub typedefs: BTreeMap<String, String>,
}

/// One field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type, as `normal` writes it.
    pub kind: String,
}

/// Reads a header.
pub fn parse(text: &str) -> Result<Header, String> {
    let mut header = Header::default();
    let code = read_defines(&lex::mask(text), text, &mut header.defines);
    // `extern "C" {` and its closing brace: the text literal is masked already.
    let code = code.replace("extern", " ");
    let mut rest = code.as_str();
    while let Some(end) = statement_end(rest) {
        let (statement, after) = rest.split_at(end);
        rest = after.trim_start_matches(';');
        read(statement.trim_matches(|c: char| c.is_whitespace() || c == ';'), &mut header)?;
    }
    if header.functions.is_empty() { Err("no function is declared".into()) } else { Ok(header) }
}

/// Takes `#` lines out of the masked text; values come from the original, comments cut off.
fn read_defines(masked: &str, text: &str, defines: &mut BTreeMap<String, String>) -> String {
    let mut code = String::new();
    let mut lines = masked.lines().zip(text.lines());
    while let Some((line, original)) = lines.next() {
        if !line.trim_start().starts_with('#') {
            code.push_str(line);
            code.push('\n');
            continue;
        }
        let (mut whole, mut last) = (value(line, original).to_string(), line);
        while last.trim_end().ends_with('\\') {
            let Some((line, original)) = lines.next() else { break };
            whole = format!(
                "{} {}",
                whole.trim_end_matches(|c: char| c == '\\' || c.is_whitespace()),
                value(line, original)
            );
            last = line;
        }
        if let Some(define) = whole.trim_start().strip_prefix("#define ") {
            let (name, value) = define.trim().split_once(char::is_whitespace).unwrap_or((define.trim(), ""));
            // The guard, and what differs between languages, stand twice: both are kept.
            let value = tokens(value).join(" ");
            defines.entry(name.to_string()).and_modify(|all| *all = format!("{all} | {value}")).or_insert(value);
        }
    }
    code
}

/// The line up to its comment, which the masked one shows as trailing spaces.
fn value<'a>(masked: &str, original: &'a str) -> &'a str {
    original.get(..masked.trim_end().len()).unwrap_or(original)
}

/// Where the next declaration ends: its `;` outside braces and brackets; stray braces of `extern "C"` end one too.
fn statement_end(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' if code[..at].trim_matches(|c: char| c.is_whitespace() || c == ';' || c == '}').is_empty() => {
                return Some(at + 1);
            }
            '{' | '(' => depth += 1,
            '}' | ')' => {
                if depth == 0 {
                    return Some(at + 1);
                }
                depth -= 1;
            }
            ';' if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn read(statement: &str, header: &mut Header) -> Result<(), String> {
    let all = tokens(statement);
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["{" | "}"] => Ok(()),
        ["typedef", "struct", name, "{", fields @ .., "}", same] if name == same => {
            let fields = fields.split(|&t| t == ";").filter(|f| !f.is_empty()).map(field).collect::<Result<_, _>>()?;
            header.structs.insert((*name).to_string(), fields);
            Ok(())
        }
        ["typedef", "struct", name, same] if name == same => {
            header.typedefs.insert((*name).to_string(), "opaque".into());
            Ok(())
        }
        words => called(words, header).ok_or_else(|| format!("not understood: {statement}")),
    }
}

/// What ends in arguments: a function, or a pointer to functions with a name of its own.
fn called(words: &[&str], header: &mut Header) -> Option<()> {
    let (words, may_throw) = match words {
        [words @ .., "LSM_NOEXCEPT"] => (words, " noexcept"),
        _ => (words, ""),
    };
    let open = words.iter().rposition(|&t| t == "(")?;
    let (head, [_, arguments @ .., ")"]) = words.split_at(open) else { return None };
    match head {
        ["typedef", returns @ .., "(", "*", name, ")"] => {
            let rest = format!("{} (*)({}){may_throw}", normal(returns), types(arguments));
            header.typedefs.insert((*name).to_string(), rest);
        }
        [returns @ .., name] if !returns.is_empty() && returns[0] != "typedef" && is_word(name) => {
            header.functions.insert((*name).to_string(), format!("{} ({})", normal(returns), types(arguments)));
        }
        _ => return None,
    }
    Some(())
}

fn field(all: &[&str]) -> Result<Field, String> {
    match all.split_last() {
        Some((name, kind)) if !kind.is_empty() && is_word(name) => {
            Ok(Field { name: (*name).to_string(), kind: normal(kind) })
        }
        _ => Err(format!("not a field: {}", all.join(" "))),
    }
}

/// Argument types without the arguments' names.
fn types(arguments: &[&str]) -> String {
    let one = |argument: &[&str]| {
        let is_named = match argument {
            [.., before, last] => is_word(last) && !matches!(*before, "const" | "struct"),
            _ => false,
        };
        normal(&argument[..argument.len() - usize::from(is_named)])
    };
    arguments.split(|&t| t == ",").map(one).collect::<Vec<_>>().join(", ")
}

fn normal(kind: &[&str]) -> String {
    kind.iter().filter(|&&t| t != "struct").copied().collect::<Vec<_>>().join(" ")
}

fn is_word(token: &str) -> bool {
    token.bytes().all(lex::is_word)
}

fn tokens(code: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut is_in_word = false;
    for c in code.chars() {
        let is_part = c.is_ascii_alphanumeric() || c == '_';
        match found.last_mut() {
            Some(last) if is_part && is_in_word => last.push(c),
            _ if !c.is_whitespace() => found.push(c.to_string()),
            _ => {}
        }
        is_in_word = is_part;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
#ifndef LSM_H
#define LSM_H
/* Numbers; int32_t not_this(void); */
#define LSM_END   (2)   /* The end. */
#define LSM_INIT \\
  { sizeof(x), 0u }
#ifdef __cplusplus
extern \"C\" {
#endif
typedef void (*lsm_drop_fn)(void *ctx) LSM_NOEXCEPT;
typedef struct lsm_db lsm_db;
typedef struct lsm_pair { uint32_t size; const uint8_t *key; /* x */ struct lsm_db *db; } lsm_pair;
uint32_t lsm_version(void);
int32_t lsm_open(const char *path,
                 struct lsm_db **db, const void *const *keys, uint32_t);
#ifdef __cplusplus
}  // extern \"C\"
#endif
#endif
";

    #[test]
    fn a_header_is_read_whole() {
        let header = parse(TEXT).unwrap();
        assert_eq!(header.functions["lsm_version"], "uint32_t (void)");
        assert_eq!(header.functions["lsm_open"], "int32_t (const char *, lsm_db * *, const void * const *, uint32_t)");
        assert_eq!(header.functions.len(), 2);
        assert_eq!(header.typedefs["lsm_drop_fn"], "void (*)(void *) noexcept");
        assert_eq!(header.typedefs["lsm_db"], "opaque");
        assert_eq!(header.defines["LSM_END"], "( 2 )");
        assert_eq!(header.defines["LSM_INIT"], "{ sizeof ( x ) , 0u }");
        let pair: Vec<_> = header.structs["lsm_pair"].iter().map(|f| (f.name.as_str(), f.kind.as_str())).collect();
        assert_eq!(pair, [("size", "uint32_t"), ("key", "const uint8_t *"), ("db", "lsm_db *")]);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for odd in [
            "int32_t lsm_a(void);\nunion u { int x; } y;\n",
            "int32_t lsm_a(void);\nint counter;\n",
            "typedef int x;\n",
            "",
        ] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
