//! `cargo xtask abi`: the dynamic symbols of `liblsm.so` against the functions of `include/lsm.h`: the same set, and
//! nothing else exported. The list is also what a release keeps under `abi/<version>/`; the header must not break with any.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const HEADER: &str = "include/lsm.h";
const RELEASED: &str = "abi";

/// Compares; says how many functions agree.
pub fn run(root: &Path, library: &Path) -> Result<String, String> {
    let header = fs::read_to_string(root.join(HEADER)).map_err(|e| format!("{HEADER}: {e}"))?;
    if !library.exists() {
        return Err(format!("{}: not there; `make lib` builds it", library.display()));
    }
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library).output();
    let output = output.map_err(|e| format!("nm: {e}"))?;
    if !output.status.success() {
        return Err(format!("nm {}: {}", library.display(), String::from_utf8_lossy(&output.stderr)));
    }
    let exported = exported(&String::from_utf8_lossy(&output.stdout));
    let now = compare(&declared(&header), &exported)?;
    let released = check_released(&root.join(RELEASED), &exported)?;
    let unchanged = crate::signatures::check(root)?;
    Ok(format!("{now}; {released} released versions kept; {unchanged}"))
}

/// What a released version exported or declared is exported for ever: `abi/VERSION/symbols.txt` and `lsm.h`.
fn check_released(folder: &Path, exported: &BTreeSet<String>) -> Result<usize, String> {
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let version = entry.map_err(|e| e.to_string())?.path();
        if !version.is_dir() {
            continue;
        }
        let read = |name: &str| {
            let path = version.join(name);
            fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        let mut promised = declared(&read("lsm.h")?);
        promised.extend(read("symbols.txt")?.lines().map(str::to_string));
        if let Some(gone) = promised.difference(exported).next() {
            return Err(format!("{gone}: promised by {}, not exported any more", version.display()));
        }
        count += 1;
    }
    Ok(count)
}

fn compare(declared: &BTreeSet<String>, exported: &BTreeSet<String>) -> Result<String, String> {
    let absent = declared.difference(exported).map(|f| format!("{f}: in {HEADER}, not exported"));
    let extra = exported.difference(declared).map(|f| format!("{f}: exported, not in {HEADER}"));
    let wrong: Vec<String> = absent.chain(extra).collect();
    if declared.is_empty() {
        return Err(format!("{HEADER} declares no function"));
    }
    if wrong.is_empty() {
        return Ok(format!("abi: {} functions, header and library agree", declared.len()));
    }
    Err(wrong.join("\n"))
}

/// Functions that the header declares: `lsm_name(` outside comments, macros and function pointer types.
fn declared(header: &str) -> BTreeSet<String> {
    let code = crate::lex::mask(header);
    let mut found = BTreeSet::new();
    let is_continued = |line: &str| line.trim_end().ends_with('\\');
    let mut in_macro = false;
    for line in code.lines() {
        let is_macro = in_macro || line.trim_start().starts_with('#');
        in_macro = is_macro && is_continued(line);
        if is_macro {
            continue;
        }
        for (at, _) in line.match_indices("lsm_") {
            let name = crate::lex::word_at(line, at);
            let is_whole = at == 0 || !crate::lex::is_word(line.as_bytes()[at - 1]);
            if is_whole && line[at + name.len()..].trim_start().starts_with('(') {
                found.insert(name.to_string());
            }
        }
    }
    found
}

/// Symbols of `nm -D --defined-only`: address, kind, name (a version after `@` is cut off). A version node shows as a
/// symbol of kind `A`.
fn exported(nm: &str) -> BTreeSet<String> {
    nm.lines()
        .filter(|line| line.split_whitespace().nth(1) != Some("A"))
        .filter_map(|line| line.split_whitespace().last())
        .map(|name| name.split('@').next().unwrap_or(name).to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_TEXT: &str = "\
/** Use lsm_not_this(x). */
#define LSM_X(a) \\
  lsm_nor_this(a)
typedef void (*lsm_log_fn)(void *ctx);
typedef struct lsm_db lsm_db;
int32_t lsm_open(const char *path,
                 lsm_db **db);
void lsm_close (lsm_db *db);
";

    #[test]
    fn the_header_s_functions_and_nothing_else() {
        assert_eq!(declared(HEADER_TEXT).into_iter().collect::<Vec<_>>(), ["lsm_close", "lsm_open"]);
    }

    #[test]
    fn a_missing_and_an_extra_export_are_convicted() {
        let header = declared(HEADER_TEXT);
        let both = "0000000000001 T lsm_open\n0000000000002 T lsm_close\n";
        assert!(compare(&header, &exported(both)).is_ok());
        let wrong = compare(&header, &exported("1 T lsm_open\n2 T rust_eh_personality\n")).unwrap_err();
        assert!(wrong.contains("lsm_close: in") && wrong.contains("rust_eh_personality: exported"), "{wrong}");
        assert!(compare(&BTreeSet::new(), &BTreeSet::new()).is_err());
    }
}
