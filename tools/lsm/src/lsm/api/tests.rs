//! The declarations against `include/lsm.h`, line by line: a wrong type here is undefined behaviour, not an error.

use super::*;
use std::collections::BTreeMap;

const HEADER: &str = include_str!("../../../../../include/lsm.h");

/// The header without its comments.
fn code() -> String {
    let mut code = String::new();
    let mut rest = HEADER;
    while let Some(at) = rest.find("/*") {
        code.push_str(&rest[..at]);
        rest = &rest[at + rest[at..].find("*/").expect("an end of the comment") + 2..];
    }
    code + rest
}

/// A C type as the declarations above write it.
fn rust_type(c: &str) -> String {
    let is_const = c.contains("const ");
    let c = c.replace("const ", "").replace("struct ", "");
    let c: String = c.split_whitespace().collect::<Vec<_>>().join("");
    let pointer = |name: &str| format!("*{}{name}", if is_const { "const" } else { "mut" });
    match c.as_str() {
        "void" => String::new(),
        "int32_t" => "i32".into(),
        "uint32_t" => "u32".into(),
        "size_t" => "usize".into(),
        "char*" => pointer("c_char"),
        "void*" | "uint8_t*" => pointer("u8"),
        "size_t*" => pointer("usize"),
        "uint32_t*" => pointer("u32"),
        "uint64_t*" => pointer("u64"),
        "char**" => "*mut*mutc_char".into(),
        "uint8_t**" => "*mut*constu8".into(),
        "lsm_read_options*" => pointer("ReadOptions"),
        "lsm_write_options*" => pointer("WriteOptions"),
        "lsm_entry*" => pointer("Entry"),
        handle if handle.starts_with("lsm_") && handle.ends_with("**") => "Err".into(),
        handle if handle.starts_with("lsm_") && handle.ends_with('*') => "P".into(),
        other => panic!("an unknown type in lsm.h: {other}"),
    }
}

/// `type name` split where the name begins.
fn split_name(declaration: &str) -> (&str, &str) {
    let at = declaration.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    (declaration[..at].trim(), &declaration[at..])
}

/// The prototypes of the header that can be translated: name, then arguments and result.
fn prototypes() -> BTreeMap<String, (Vec<String>, String)> {
    let mut found = BTreeMap::new();
    for part in code().split(';') {
        let part = part.rsplit(['}', '{']).next().unwrap_or_default().trim();
        let (Some(open), true) = (part.find('('), part.ends_with(')')) else { continue };
        let head: String = part[..open].lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join(" ");
        let (result, name) = split_name(head.trim());
        if !name.starts_with("lsm_") || result.starts_with("typedef") {
            continue;
        }
        let arguments = part[open + 1..part.len() - 1].replace('\n', " ");
        let arguments = arguments.split(',').map(str::trim).filter(|a| *a != "void");
        let types = arguments.map(|a| split_name(a).0.to_string()).collect();
        found.insert(name.to_string(), (types, result.to_string()));
    }
    found
}

#[test]
fn every_call_has_the_arguments_that_the_header_says() {
    let header = prototypes();
    assert!(header.len() > 50, "{} prototypes were understood", header.len());
    for (symbol, arguments, result, is_optional) in Api::DECLARED {
        let Some((types, answer)) = header.get(*symbol) else {
            assert!(is_optional, "{symbol} is not in lsm.h");
            continue;
        };
        let want: Vec<String> = types.iter().map(|t| rust_type(t)).collect();
        let have: Vec<String> = arguments.iter().map(|a| a.replace(' ', "")).collect();
        assert_eq!(have, want, "arguments of {symbol}");
        assert_eq!(result.replace(' ', ""), rust_type(answer), "result of {symbol}");
    }
}

#[test]
fn every_number_is_that_of_the_header() {
    for (name, value) in NUMBERS {
        let line = HEADER.lines().find(|l| l.split_whitespace().nth(1) == Some(name)).expect(name);
        let number = line.split(['(', ')']).nth(1).expect("a number in parentheses").trim_end_matches('u');
        assert_eq!(number.parse(), Ok(*value), "{name}");
    }
}

#[test]
fn the_structs_are_laid_out_as_in_the_header() {
    assert_eq!((size_of::<WriteOptions>(), size_of::<ReadOptions>(), size_of::<Entry>()), (32, 104, 48));
    let fields = |name: &str| -> Vec<String> {
        let code = code();
        let start = code.find(&format!("typedef struct {name} {{")).expect(name);
        let body = &code[start + code[start..].find('{').expect("a body") + 1..];
        let body = &body[..body.find('}').expect("an end")];
        body.split(';').map(|f| split_name(f.trim()).1.to_string()).filter(|f| !f.is_empty()).collect()
    };
    assert_eq!(
        fields("lsm_write_options"),
        ["size", "flags", "durability", "io_class", "deadline_micros", "ttl_micros"]
    );
    assert_eq!(fields("lsm_entry"), ["key", "key_len", "value", "value_len", "seq", "reserved"]);
    let read = fields("lsm_read_options");
    assert_eq!(read[..5], ["size", "flags", "snapshot", "txn", "overlay"]);
    assert_eq!(read[5..9], ["lower", "lower_len", "upper", "upper_len"]);
    assert_eq!(read[9..], ["prefix", "prefix_len", "deadline_micros", "max_skip", "readahead_bytes", "io_class"]);
    assert_eq!(std::mem::offset_of!(ReadOptions, deadline_micros), 80);
    assert_eq!(std::mem::offset_of!(WriteOptions, deadline_micros), 16);
}
