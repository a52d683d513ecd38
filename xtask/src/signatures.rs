//! The header now against the header of each release (`abi/VERSION/lsm.h`): only additions. Part of `cargo xtask abi`.
//!
//! - I1  A program compiled against a released header compiles against this one and, compiled then, runs with this library:
//!   no function, number, type or field is gone or differs; a struct grows at its end, and only when it begins with `size`.

use crate::cheader::{self, Field, Header};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Says how many declarations of how many releases are unchanged.
pub fn check(root: &Path) -> Result<String, String> {
    let now = read(&root.join("include/lsm.h"))?;
    let mut count = (0, 0);
    for entry in fs::read_dir(root.join("abi")).map_err(|e| format!("abi: {e}"))? {
        let path = entry.map_err(|e| e.to_string())?.path().join("lsm.h");
        if !path.exists() {
            continue;
        }
        let then = read(&path)?;
        let wrong = differences(&then, &now);
        if !wrong.is_empty() {
            let lines: Vec<String> = wrong.iter().map(|what| format!("{}: {what}", path.display())).collect();
            return Err(lines.join("\n"));
        }
        count = (
            count.0 + 1,
            count.1 + then.functions.len() + then.structs.len() + then.defines.len() + then.typedefs.len(),
        );
    }
    if count.0 == 0 {
        return Err("abi: no release to compare with".into());
    }
    Ok(format!("{} declarations of {} releases unchanged", count.1, count.0))
}

fn read(path: &Path) -> Result<Header, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    cheader::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn differences(then: &Header, now: &Header) -> Vec<String> {
    let mut wrong = Vec::new();
    compare("function", &then.functions, &now.functions, &mut wrong);
    compare("type", &then.typedefs, &now.typedefs, &mut wrong);
    // An initialiser follows its struct: a longer struct has a longer one.
    let mut numbers = then.defines.clone();
    numbers.retain(|name, _| !name.ends_with("_INIT"));
    compare("number", &numbers, &now.defines, &mut wrong);
    wrong.extend(then.defines.keys().filter(|n| !now.defines.contains_key(*n)).map(|n| format!("{n} is gone")));
    for (name, before) in &then.structs {
        match now.structs.get(name) {
            None => wrong.push(format!("struct {name} is gone")),
            Some(fields) => wrong.extend(fields_differ(name, before, fields)),
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn compare(what: &str, then: &BTreeMap<String, String>, now: &BTreeMap<String, String>, wrong: &mut Vec<String>) {
    for (name, before) in then {
        match now.get(name) {
            None => wrong.push(format!("{name} is gone")),
            Some(after) if after != before => wrong.push(format!("{what} {name} was `{before}`, is `{after}`")),
            Some(_) => {}
        }
    }
}

fn fields_differ(name: &str, before: &[Field], after: &[Field]) -> Option<String> {
    if let Some((old, new)) = before.iter().zip(after).find(|(old, new)| old != new) {
        return Some(format!("field {name}.{} was `{}`, there is now {} `{}`", old.name, old.kind, new.name, new.kind));
    }
    if after.len() < before.len() {
        return Some(format!("field {name}.{} is gone", before[after.len()].name));
    }
    let can_grow = before.first().is_some_and(|f| f.name == "size");
    (after.len() > before.len() && !can_grow)
        .then(|| format!("struct {name} does not begin with `size` and must not grow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "#define LSM_A (1)\n#define LSM_O_INIT { 4 }\ntypedef struct o { uint32_t size; int32_t a; } o;
typedef struct e { int32_t k; } e;\ntypedef void (*f_fn)(int32_t a);\nint32_t lsm_a(const struct o *x, size_t n);\n";

    fn wrong(now: &str) -> Vec<String> {
        differences(&cheader::parse(THEN).unwrap(), &cheader::parse(now).unwrap())
    }

    #[test]
    fn additions_and_other_argument_names_are_fine() {
        let grown = THEN
            .replace("int32_t a; } o", "int32_t a; uint64_t b; } o")
            .replace("{ 4 }", "{ 4, 0 }")
            .replace("*x, size_t n", "*options, size_t len")
            + "#define LSM_B (2)\nvoid lsm_b(void);\n";
        assert_eq!(wrong(&grown), Vec::<String>::new());
    }

    #[test]
    fn each_break_is_convicted() {
        let cases = [
            ("(1)", "(3)", "LSM_A was `( 1 )`"),
            ("#define LSM_A (1)\n", "", "LSM_A is gone"),
            ("#define LSM_O_INIT { 4 }\n", "", "LSM_O_INIT is gone"),
            ("size_t n", "uint32_t n", "function lsm_a was"),
            ("const struct o", "struct o", "function lsm_a was"),
            ("int32_t lsm_a", "void lsm_a", "function lsm_a was"),
            ("int32_t lsm_a(", "int32_t lsm_b(", "lsm_a is gone"),
            ("int32_t a; } o", "int64_t a; } o", "field o.a was"),
            ("int32_t a; } o", "int32_t b; } o", "field o.a was"),
            ("int32_t a; } o", "} o", "field o.a is gone"),
            ("int32_t k; } e", "int32_t k; int32_t l; } e", "struct e does not begin with `size`"),
            ("(int32_t a)", "(uint32_t a)", "type f_fn was"),
        ];
        for (from, to, told) in cases {
            assert!(THEN.contains(from));
            let said = wrong(&THEN.replacen(from, to, 1));
            assert!(said.iter().any(|s| s.contains(told)), "{from} -> {to}: {said:?}");
        }
    }
}
