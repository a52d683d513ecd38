//! Bytes as text and back: keys and values on the command line, in tables and in files.
//!
//! *escaped*: UTF-8 as it is, but `\\`, `\n`, `\r`, `\t` and `\xNN` for a backslash, for control characters, for what
//! reorders or hides text, and for bytes that are no UTF-8. *hex*: two digits a byte. *raw*: the bytes.
//!
//! - I1  `decode(encode(bytes)) == bytes` for every encoding and all bytes.
//! - I2  Escaped text holds no control character: it cannot steer a terminal, and it is one line without tabs.

use crate::exit::{Failure, Outcome};
use std::fmt::Write as _;

/// How keys and values are written and read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Encoding {
    /// Text; what is not printable as \xNN, a backslash as \\
    Escaped,
    /// Two hexadecimal digits a byte
    Hex,
    /// The bytes as they are
    Raw,
}

impl Encoding {
    /// Its name, as it stands in files.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Escaped => "escaped",
            Encoding::Hex => "hex",
            Encoding::Raw => "raw",
        }
    }

    /// The encoding of that name.
    pub fn from_name(name: &str) -> Option<Encoding> {
        [Encoding::Escaped, Encoding::Hex, Encoding::Raw].into_iter().find(|e| e.name() == name)
    }

    /// Bytes for output that takes any bytes.
    pub fn encode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Encoding::Escaped => escape(bytes).into_bytes(),
            Encoding::Hex => hex(bytes).into_bytes(),
            Encoding::Raw => bytes.to_vec(),
        }
    }

    /// Text for output that takes UTF-8 only; `None` for raw bytes that are not.
    pub fn encode_text(self, bytes: &[u8]) -> Option<String> {
        match self {
            Encoding::Escaped => Some(escape(bytes)),
            Encoding::Hex => Some(hex(bytes)),
            Encoding::Raw => std::str::from_utf8(bytes).ok().map(str::to_string),
        }
    }

    /// The bytes that `text` stands for, or what is wrong with it.
    pub fn decode(self, text: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Encoding::Escaped => unescape(text),
            Encoding::Hex => unhex(text),
            Encoding::Raw => Ok(text.to_vec()),
        }
    }

    /// The same for an argument of the command line called `what`.
    pub fn argument(self, what: &str, text: &std::ffi::OsStr) -> Outcome<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt as _;
        self.decode(text.as_bytes()).map_err(|e| Failure::usage(format!("{what} {}: {e}", escape(text.as_bytes()))))
    }
}

/// Characters that reorder, hide or end a line without being control characters.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Bytes as escaped text.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() || is_deceptive(c) => {
                    let mut utf8 = [0; 4];
                    push_bytes(&mut out, c.encode_utf8(&mut utf8).as_bytes());
                }
                c => out.push(c),
            }
        }
        push_bytes(&mut out, chunk.invalid());
    }
    out
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// A text for people with what could steer a terminal escaped; line breaks stay.
pub fn plain(text: &str) -> String {
    text.split('\n').map(|line| escape(line.as_bytes()).replace("\\\\", "\\")).collect::<Vec<_>>().join("\n")
}

/// The bytes of a keyspace's name, which is always escaped.
pub fn keyspace(name: &str) -> Outcome<Vec<u8>> {
    unescape(name.as_bytes()).map_err(|e| Failure::usage(format!("keyspace {name}: {e}")))
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&kind, tail)) = rest.split_first() else {
            return Err("a backslash at the end; write \\\\ for a backslash".to_string());
        };
        rest = tail;
        out.push(match kind {
            b'\\' => b'\\',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let Some((digits, tail)) = rest.split_at_checked(2) else {
                    return Err("\\x needs two hexadecimal digits".to_string());
                };
                rest = tail;
                match (digit(digits[0]), digit(digits[1])) {
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return Err(format!("\\x{} is no byte", escape(digits))),
                }
            }
            other => {
                return Err(format!("unknown escape \\{}; write \\\\ for a backslash", escape(&[other])));
            }
        });
    }
    Ok(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn unhex(text: &[u8]) -> Result<Vec<u8>, String> {
    if !text.len().is_multiple_of(2) {
        return Err(format!("{} hexadecimal digits are no whole bytes", text.len()));
    }
    let byte = |pair: &[u8]| match (digit(pair[0]), digit(pair[1])) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(format!("{} is no hexadecimal byte", escape(pair))),
    };
    text.chunks_exact(2).map(byte).collect()
}

/// A number of bytes for people: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A number with commas between thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `text` cut to at most `max` characters, with what was left out said.
pub fn shorten(text: &str, max: usize) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_string();
    }
    let head: String = text.chars().take(max).collect();
    format!("{head}... ({} more)", count - max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_in_every_encoding() {
        let all: Vec<u8> = (0..=255).chain("äöü\u{202e}\u{200b}語\\x41".bytes()).collect();
        for encoding in [Encoding::Escaped, Encoding::Hex, Encoding::Raw] {
            for bytes in [&all[..], b"", b"plain", b"\\", b"\x80\xff", "ä".as_bytes(), &"ä".as_bytes()[..1]] {
                assert_eq!(encoding.decode(&encoding.encode(bytes)).as_deref(), Ok(bytes), "{encoding:?}");
            }
        }
        assert_eq!(escape("a\tb\\ü\u{7}\u{202e}".as_bytes()), "a\\tb\\\\ü\\x07\\xe2\\x80\\xae");
    }

    #[test]
    fn escaped_text_cannot_steer_a_terminal() {
        let all: Vec<u8> = (0..=255).collect();
        assert!(escape(&all).chars().all(|c| !c.is_control()));
        assert!(escape("\u{9b}31m".as_bytes()).starts_with("\\xc2\\x9b"), "C1 controls, too");
        assert_eq!(plain("a\\b\x1b[2J\nc"), "a\\b\\x1b[2J\nc");
    }

    #[test]
    fn malformed_text_is_refused() {
        for bad in ["\\", "\\q", "\\x", "\\x4", "\\xzz", "a\\"] {
            assert!(Encoding::Escaped.decode(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["a", "abc", "zz", "+1", "0x"] {
            assert!(Encoding::Hex.decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!((size(1023), size(1536), size(u64::MAX)), ("1023 B".into(), "1.5 KiB".into(), "16384.0 PiB".into()));
        assert_eq!(
            (thousands(7), thousands(1000), thousands(1234567)),
            ("7".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!(shorten("abcdef", 4), "abcd... (2 more)");
    }
}
