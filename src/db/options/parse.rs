//! Texts to values and back, by the table's kinds. Pure functions.
//!
//! Canonical texts: `true` and `false`; sizes in the largest of B, KiB, MiB, GiB, TiB that divides them; whole numbers in
//! decimal; fractions in the shortest decimal that reads back the same; names as in the table; lists with commas and no
//! spaces. `parse(text(value)) == value`.
//!
//! Threads: any. Failure: an error that names the key, the value given and the range; nothing changed.

use super::table::{Default, Kind, Later, Spec};
use crate::error::{Code, Error, Result};

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A checked value of a key.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Of `Kind::Bool`.
    Bool(bool),
    /// Of `Kind::Size` and `Kind::Count`.
    Number(u64),
    /// Of `Kind::Fraction`.
    Fraction(f64),
    /// Of `Kind::Choice`: the index of its name.
    Choice(usize),
    /// Of `Kind::List`: the indexes of its names.
    List(Vec<usize>),
}

/// What a key takes, for people: `4KiB..=16GiB`, `rw|ro`.
pub fn range(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true|false".into(),
        Kind::Size { min, max } => format!("{}..={}", size_text(min), size_text(max)),
        Kind::Count { min, max } => format!("{min}..={max}"),
        Kind::Fraction => "[0, 1)".into(),
        Kind::Choice { names, .. } => names.join("|"),
        Kind::List { names, max, .. } => format!("up to {max} of {}, with commas", names.join("|")),
    }
}

#[cold]
fn refuse(spec: &Spec, given: &str) -> Error {
    // A long value would hide the message; nothing of 64 bytes is ever right by mistake.
    let given: String = given.chars().take(64).collect();
    let wrong = match spec.kind {
        // "64MB" is no size out of its range: say what a size looks like.
        Kind::Size { .. } if !is_digits(without_unit(&given)) => "is no size, as 4096, 64KiB and 2MiB are; its range",
        Kind::Count { .. } if !is_digits(&given) => "is no whole number; its range",
        Kind::Fraction if given.parse::<f64>().is_err() => "is no number; its range",
        _ => "is out of its range",
    };
    Error::invalid(format!("option {} = {given:?} {wrong}: {}", spec.name, range(spec.kind)))
}

/// The value that `text` means for `spec`.
pub fn parse(spec: &Spec, text: &str) -> Result<Value> {
    let text = text.trim();
    let refused = || refuse(spec, text);
    match spec.kind {
        Kind::Bool => match text {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(refused()),
        },
        Kind::Size { min, max } => bounded(parse_size(text), min, max).ok_or_else(refused),
        Kind::Count { min, max } => bounded(parse_digits(text), min, max).ok_or_else(refused),
        Kind::Fraction => text.parse().ok().and_then(fraction).ok_or_else(refused),
        Kind::Choice { names, later } => Ok(Value::Choice(parse_name(spec, text, names, later)?)),
        Kind::List { names, later, max } => {
            if text.is_empty() {
                return Ok(Value::List(Vec::new()));
            }
            let items: Vec<&str> = text.split(',').map(str::trim).collect();
            if items.len() > max {
                return Err(refused());
            }
            let list: Result<Vec<usize>> = items.into_iter().map(|item| parse_name(spec, item, names, later)).collect();
            Ok(Value::List(list?))
        }
    }
}

/// The value that a whole number means for `spec`.
pub fn from_int(spec: &Spec, number: i64) -> Result<Value> {
    let refused = || refuse(spec, &number.to_string());
    let value = match spec.kind {
        Kind::Bool => match number {
            0 => Some(Value::Bool(false)),
            1 => Some(Value::Bool(true)),
            _ => None,
        },
        Kind::Size { min, max } | Kind::Count { min, max } => bounded(u64::try_from(number).ok(), min, max),
        Kind::Fraction => fraction(number as f64),
        Kind::Choice { .. } | Kind::List { .. } => None,
    };
    value.ok_or_else(refused)
}

/// The value that `number` means for `spec`; a key of whole numbers takes whole ones only.
pub fn from_float(spec: &Spec, number: f64) -> Result<Value> {
    let value = match spec.kind {
        Kind::Fraction => fraction(number),
        // Beyond 2^53 a float is not one whole number any more.
        Kind::Size { .. } | Kind::Count { .. } if number.fract() == 0.0 && number.abs() <= (1u64 << 53) as f64 => {
            return from_int(spec, number as i64);
        }
        _ => None,
    };
    value.ok_or_else(|| refuse(spec, &number.to_string()))
}

/// The canonical text of a value of `spec`.
pub fn text(spec: &Spec, value: &Value) -> String {
    let name = |names: &[&'static str], index: usize| names.get(index).copied().unwrap_or_default();
    match (value, spec.kind) {
        (Value::Bool(value), _) => value.to_string(),
        (Value::Number(value), Kind::Size { .. }) => size_text(*value),
        (Value::Number(value), _) => value.to_string(),
        (Value::Fraction(value), _) => value.to_string(),
        (Value::Choice(index), Kind::Choice { names, .. }) => name(names, *index).to_owned(),
        (Value::List(list), Kind::List { names, .. }) => {
            list.iter().map(|&index| name(names, index)).collect::<Vec<_>>().join(",")
        }
        // Values are made by this file from the same row.
        (Value::Choice(_) | Value::List(_), _) => String::new(),
    }
}

/// The canonical text of a row's default.
pub fn default_text(spec: &Spec) -> String {
    match spec.default {
        Default::Text(text) => text.to_owned(),
        Default::Cores => cores().to_string(),
    }
}

/// The number of cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(256)
}

fn bounded(number: Option<u64>, min: u64, max: u64) -> Option<Value> {
    number.filter(|n| (min..=max).contains(n)).map(Value::Number)
}

fn fraction(number: f64) -> Option<Value> {
    // Adding zero turns -0.0 into 0.0, whose text is canonical; a NaN is in no range.
    (0.0..1.0).contains(&number).then_some(Value::Fraction(number + 0.0))
}

/// Decimal digits only: no sign, no space.
fn parse_digits(text: &str) -> Option<u64> {
    if !is_digits(text) {
        return None;
    }
    text.parse().ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn without_unit(text: &str) -> &str {
    let unit = UNITS.iter().find_map(|(unit, _)| text.strip_suffix(unit));
    unit.or_else(|| text.strip_suffix('B')).map_or(text, str::trim_end)
}

fn parse_size(text: &str) -> Option<u64> {
    for (unit, shift) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return parse_digits(number.trim_end())?.checked_mul(1 << shift);
        }
    }
    parse_digits(text.strip_suffix('B').map_or(text, str::trim_end))
}

fn size_text(bytes: u64) -> String {
    match UNITS.iter().find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

fn parse_name(spec: &Spec, text: &str, names: &[&str], later: &[Later]) -> Result<usize> {
    if let Some(index) = names.iter().position(|name| *name == text) {
        return Ok(index);
    }
    match later.iter().find(|(name, _)| *name == text) {
        Some((name, why)) => Err(Error::new(Code::Unsupported, format!("option {} = {name} is {why}", spec.name))),
        None => Err(refuse(spec, text)),
    }
}
