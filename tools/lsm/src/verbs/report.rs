//! report: one page about a database, in one file that loads nothing: level shape as SVG, options, numbers. Or the same
//! as one JSON object.

use super::Context;
use super::show::{Level, field, level_json, read_levels, read_metrics, read_options};
use crate::cli::Report;
use crate::exit::{Failure, Outcome};
use crate::lsm::{Db, Mode};
use crate::text;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What the page shows.
struct Facts {
    path: String,
    library: String,
    keyspaces: Vec<String>,
    sequence: (u64, u64),
    wal_io: String,
    levels: Vec<Level>,
    metrics: Map<String, Value>,
    options: Vec<Map<String, Value>>,
}

/// `lsm report`.
pub fn run(c: &mut Context, args: &Report) -> Outcome {
    let library = c.library()?;
    let db = Db::open(&library, &args.db, Mode::Read, &c.settings)?;
    let mut metrics = read_metrics(&db)?;
    metrics.shift_remove("levels");
    let facts = Facts {
        path: args.db.display().to_string(),
        library: library.version(),
        keyspaces: db.keyspaces()?,
        sequence: db.sequence()?,
        wal_io: db.property(None, "wal.io")?.unwrap_or_default(),
        levels: read_levels(&db)?,
        metrics,
        options: read_options(&library, Some(&db), "default")?,
    };
    let text = if c.out.is_json { format!("{:#}\n", object(&facts)) } else { page(&facts) };
    match &args.output {
        Some(path) => std::fs::write(path, text).map_err(|e| Failure::system(path.display(), &e)),
        None => c.out.bytes(text.as_bytes()),
    }
}

fn object(facts: &Facts) -> Value {
    json!({
        "path": facts.path, "library": facts.library, "keyspaces": facts.keyspaces,
        "sequence_committed": facts.sequence.0, "sequence_durable": facts.sequence.1, "wal_io": facts.wal_io,
        "levels": level_json(&facts.levels), "metrics": facts.metrics, "options": facts.options,
    })
}

/// Text within HTML and SVG, with what could steer anything escaped.
fn html(text: &str) -> String {
    let mut out = String::new();
    for c in text::plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884;vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
code{font-family:ui-monospace,monospace}\
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}\
.bar{fill:#3b7dd8}.due{fill:#d8683b}.rail{fill:#8882}";

fn page(facts: &Facts) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{path}</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<h1>{path}</h1>\n<p>liblsm {version}, {keyspaces} keyspaces, sequence {committed}, \
         log by {wal_io}.</p>\n",
        path = html(&facts.path),
        version = html(&facts.library),
        keyspaces = facts.keyspaces.len(),
        committed = text::thousands(facts.sequence.0),
        wal_io = html(&facts.wal_io),
    );
    out.push_str("<h2>Levels</h2>\n");
    let mut rest = facts.levels.as_slice();
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|level| level.keyspace == first.keyspace).count();
        shape(&mut out, &rest[..count]);
        rest = &rest[count..];
    }
    numbers(&mut out, &facts.metrics);
    options(&mut out, &facts.options);
    out.push_str("</body>\n</html>\n");
    out
}

const ROW: usize = 26;
const BAR_AT: usize = 90;
const BAR_WIDTH: f64 = 460.0;

/// The levels of one keyspace as bars: as long as their bytes, in another colour where a compaction is due.
fn shape(out: &mut String, levels: &[Level]) {
    let name = levels.first().map(|level| html(&level.keyspace)).unwrap_or_default();
    let total: u64 = levels.iter().map(|level| level.bytes).sum();
    let most = levels.iter().map(|level| level.bytes).max().unwrap_or(0).max(1);
    let height = ROW * levels.len() + 8;
    let _ = write!(
        out,
        "<h3>{name}</h3>\n<svg viewBox=\"0 0 760 {height}\" role=\"img\" aria-label=\"levels of {name}\">\n\
         <title>levels of {name}: {}</title>\n",
        text::size(total)
    );
    for (i, level) in levels.iter().enumerate() {
        let y = ROW * i + 4;
        let width = level.bytes as f64 / most as f64 * BAR_WIDTH;
        // A level that holds anything is seen.
        let width = if level.bytes > 0 { width.max(1.0) } else { 0.0 };
        let class = if level.score.is_some_and(|score| score >= 1.0) { "due" } else { "bar" };
        let score = level.score.map_or_else(String::new, |score| format!(", score {score:.2}"));
        let (middle, text_at) = (y + 14, BAR_AT as f64 + BAR_WIDTH + 10.0);
        let _ = writeln!(
            out,
            "<text x=\"0\" y=\"{middle}\">level {}</text>\
             <rect class=\"rail\" x=\"{BAR_AT}\" y=\"{y}\" width=\"{BAR_WIDTH}\" height=\"18\" rx=\"3\"/>\
             <rect class=\"{class}\" x=\"{BAR_AT}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" rx=\"3\"/>\
             <text x=\"{text_at}\" y=\"{middle}\">{} files, {}{score}</text>",
            level.level,
            level.files,
            text::size(level.bytes),
        );
    }
    out.push_str("</svg>\n");
}

fn numbers(out: &mut String, metrics: &Map<String, Value>) {
    out.push_str("<h2>Numbers</h2>\n<table>\n<tr><th>name</th><th class=\"n\">value</th><th class=\"n\"></th></tr>\n");
    for (name, value) in metrics {
        let number = value.as_u64().unwrap_or_default();
        let size = if name.ends_with("bytes") { text::size(number) } else { String::new() };
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{size}</td></tr>",
            html(name),
            text::thousands(number)
        );
    }
    out.push_str("</table>\n");
}

fn options(out: &mut String, options: &[Map<String, Value>]) {
    out.push_str(
        "<h2>Options</h2>\n<table>\n<tr><th>key</th><th>value</th><th>default</th><th>range</th><th></th></tr>\n",
    );
    for option in options {
        let cell = |name: &str| html(&field(option, name));
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code></td><td><code>{}</code></td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            cell("key"),
            cell("value"),
            cell("default"),
            cell("range"),
            cell("text")
        );
    }
    out.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_is_markup() {
        let level = |bytes, score| Level { keyspace: "<b>&\"x".into(), level: 0, files: 1, bytes, score };
        let mut out = String::new();
        shape(&mut out, &[level(100, Some(1.5)), level(0, None)]);
        assert!(out.contains("&lt;b&gt;&amp;&quot;x") && !out.contains("<b>"), "{out}");
        assert!(out.contains("class=\"due\"") && out.contains("width=\"460.0\"") && out.contains("width=\"0.0\""));
    }
}
