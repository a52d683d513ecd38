//! Options: a bag of checked texts made from the one table, and the typed settings that the engine reads.
//!
//!     table    every key with type, default, range, unit, scope and one line of prose
//!     parse    texts to values and back
//!     persist  explicit > persisted > inherited > default; `DbOptions`, `KeyspaceOptions`
//!
//! - I1  A bag holds only values inside their ranges: whatever got in can be used.
//! - I2  `set` then `get` then `set` changes nothing: `get` answers canonical text.
//!
//! Threads: a bag is a plain value; `&self` methods from any thread. Failure: an error that names the key and its range,
//! and the bag as it was.

mod parse;
mod persist;
mod table;
#[cfg(test)]
mod tests;

pub use parse::cores;
pub use persist::{DbOptions, KeyspaceOptions, Mode};
pub use table::Scope;

use crate::base::log_sink::Logger;
use crate::error::{Error, Result};
use parse::Value;
use table::{COUNT, Kind, Spec, TABLE};

/// A bag of options, checked as they are set.
#[derive(Clone)]
pub struct Options {
    /// What was set explicitly, by row of the table.
    values: [Option<Value>; COUNT],
    logger: Option<Logger>,
}

impl Default for Options {
    fn default() -> Options {
        Options { values: [const { None }; COUNT], logger: None }
    }
}

fn row(key: &str) -> Result<usize> {
    table::find(key).ok_or_else(|| {
        let key: String = key.chars().take(64).collect();
        Error::invalid(format!("unknown option {key:?}"))
    })
}

impl Options {
    /// All defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// Sets `key` from text.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let at = row(key)?;
        self.values[at] = Some(parse::parse(&TABLE[at], value)?);
        Ok(())
    }

    /// Sets `key` from a whole number; 0 and 1 for a key that is true or false.
    pub fn set_int(&mut self, key: &str, value: i64) -> Result<()> {
        let at = row(key)?;
        self.values[at] = Some(parse::from_int(&TABLE[at], value)?);
        Ok(())
    }

    /// Sets `key` from a fraction, or a key of whole numbers from a whole one.
    pub fn set_float(&mut self, key: &str, value: f64) -> Result<()> {
        let at = row(key)?;
        self.values[at] = Some(parse::from_float(&TABLE[at], value)?);
        Ok(())
    }

    /// The canonical text of `key`; its default when unset.
    pub fn get(&self, key: &str) -> Result<String> {
        let at = row(key)?;
        let spec = &TABLE[at];
        Ok(self.values[at].as_ref().map_or_else(|| parse::default_text(spec), |value| parse::text(spec, value)))
    }

    /// Takes `key = value` lines, all or nothing. Empty lines and what follows a `#` are ignored; the last of two lines
    /// with one key holds.
    pub fn load(&mut self, text: &str) -> Result<()> {
        let mut loaded = self.clone();
        for (number, line) in text.lines().enumerate() {
            // No value holds a `#`.
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let at_line = |e: Error| e.context(format_args!("line {}", number + 1));
            let Some((key, value)) = line.split_once('=') else {
                return Err(at_line(Error::invalid("not of the form key = value")));
            };
            loaded.set(key.trim(), value).map_err(at_line)?;
        }
        *self = loaded;
        Ok(())
    }

    /// The explicitly set keys as `key = value` lines, in the table's order.
    pub fn dump(&self) -> String {
        self.given().map(|(value, spec)| format!("{} = {}\n", spec.name, parse::text(spec, value))).collect()
    }

    /// Every key as a `key = value` line, defaults included.
    pub fn dump_all(&self) -> String {
        let text = |(value, spec): (&Option<Value>, &Spec)| {
            value.as_ref().map_or_else(|| parse::default_text(spec), |value| parse::text(spec, value))
        };
        self.values.iter().zip(&TABLE).map(|pair| format!("{} = {}\n", pair.1.name, text(pair))).collect()
    }

    /// The whole table as a JSON array: key, type, default, range, unit, scope, mutable, text.
    pub fn describe() -> String {
        let rows: Vec<String> = TABLE.iter().map(describe_row).collect();
        format!("[\n{}\n]\n", rows.join(",\n"))
    }

    /// Where log lines go instead of the LOG file.
    pub fn set_logger(&mut self, logger: Logger) {
        self.logger = Some(logger);
    }

    /// The logger set, if any.
    pub fn logger(&self) -> Option<Logger> {
        self.logger.clone()
    }

    /// What was set, with its rows.
    fn given(&self) -> impl Iterator<Item = (&Value, &'static Spec)> {
        self.values.iter().zip(&TABLE).filter_map(|(value, spec)| Some((value.as_ref()?, spec)))
    }
}

fn describe_row(spec: &Spec) -> String {
    let kind = match spec.kind {
        Kind::Bool => "bool",
        Kind::Size { .. } => "size",
        Kind::Count { .. } => "count",
        Kind::Fraction => "float",
        Kind::Choice { .. } => "enum",
        Kind::List { .. } => "list",
    };
    format!(
        "{{\"key\":{},\"type\":{},\"default\":{},\"range\":{},\"unit\":{},\"scope\":{},\"mutable\":{},\"text\":{}}}",
        quote(spec.name),
        quote(kind),
        quote(&parse::default_text(spec)),
        quote(&parse::range(spec.kind)),
        quote(spec.unit),
        quote(spec.scope.name()),
        spec.is_mutable,
        quote(spec.text),
    )
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
