//! `cargo xtask options FILE`: the table of options in `docs/tuning.md` is what `lsm_options_describe` says (`FILE` holds its
//! JSON; `docs/check.sh` makes it), and every option is spoken of on that page outside of the table, too. The table stands
//! between
//!
//!     <!-- options -->
//!     <!-- end -->

use crate::json::Json;
use std::fs;
use std::path::Path;

const DOCUMENT: &str = "docs/tuning.md";
const OPEN: &str = "<!-- options -->\n";
const END: &str = "<!-- end -->\n";

/// Compares, or with `is_blessing` writes the table.
pub fn run(root: &Path, file: &str, is_blessing: bool) -> Result<String, String> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let described = Json::parse(&read(Path::new(file))?).map_err(|what| format!("{file}: {what}"))?;
    let path = root.join(DOCUMENT);
    let document = read(&path)?;
    let renewed = renew(&document, described.list())?;
    if is_blessing && renewed != document {
        fs::write(&path, &renewed).map_err(|e| format!("{DOCUMENT}: {e}"))?;
    } else if renewed != document {
        return Err(format!("{DOCUMENT}: the table is not what the library says: run `docs/check.sh --bless`"));
    }
    Ok(format!("{DOCUMENT}: {} options", described.list().len()))
}

/// The document with its table renewed.
fn renew(document: &str, options: &[Json]) -> Result<String, String> {
    if options.is_empty() {
        return Err("the library describes no option".into());
    }
    let missing = || format!("{DOCUMENT}: no table between {} and {}", OPEN.trim_end(), END.trim_end());
    let (before, rest) = document.split_once(OPEN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    for option in options {
        let name = format!("`{}`", option.get("key").text());
        if !before.contains(&name) && !after.contains(&name) {
            return Err(format!("{DOCUMENT}: says nothing of {name} but its row"));
        }
    }
    Ok(format!("{before}{OPEN}{}{END}{after}", table(options)))
}

fn table(options: &[Json]) -> String {
    let mut out = String::from("| option | default | range | given to | what it is |\n|---|---|---|---|---|\n");
    for option in options {
        let field = |name: &str| option.get(name).text().replace('|', "\\|");
        // The number of cores is another one on every machine.
        let default = if field("key") == "compaction.threads" { "one a core".into() } else { field("default") };
        let default = if default.is_empty() { "empty".into() } else { default };
        let mut range = field("range").replace("..=", " to ");
        let unit = field("unit");
        if !unit.is_empty() && unit != "bytes" {
            range = format!("{range} {unit}");
        }
        out.push_str(&format!(
            "| `{}` | {default} | {range} | {} | {} |\n",
            field("key"),
            field("scope"),
            field("text")
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIBED: &str =
        r#"[{"key": "a.b", "default": "1", "range": "0 to 9", "unit": "files", "scope": "database", "text": "What."}]"#;

    fn renewed(document: &str) -> Result<String, String> {
        renew(document, Json::parse(DESCRIBED).expect("it is JSON").list())
    }

    #[test]
    fn the_table_is_renewed_and_nothing_else() {
        let got = renewed("Of `a.b`:\n<!-- options -->\nold\n<!-- end -->\nbehind\n").expect("there is a table");
        assert!(got.starts_with("Of `a.b`:\n<!-- options -->\n| option |") && got.ends_with("<!-- end -->\nbehind\n"));
        assert!(got.contains("\n| `a.b` | 1 | 0 to 9 files | database | What. |\n") && !got.contains("old"));
        assert_eq!(renewed(&got), Ok(got.clone()));
    }

    #[test]
    fn an_option_without_a_word_of_advice_is_convicted() {
        let found = renewed("<!-- options -->\n| `a.b` |\n<!-- end -->\n");
        assert!(found.is_err_and(|what| what.contains("`a.b`")));
    }

    #[test]
    fn a_page_without_the_table_is_convicted() {
        assert!(renewed("`a.b`\n").is_err() && renew("", &[]).is_err());
    }
}
