//! Every file name of a database folder is made and parsed here, and nowhere else.
//!
//!     CURRENT           which manifest is in force
//!     LOCK              held while the folder is open
//!     LOG  LOG.1..4     notes for people, newest first
//!     MANIFEST-NNNNNN   version edits
//!     NNNNNN.wal        log segment in use or waiting for its flush
//!     NNNNNN.spare      log segment ready for use, holds nothing
//!     NNNNNN.sst        table
//!     NNNNNN.blob       large values (later)
//!     CURRENT.tmp       CURRENT being written; NNNNNN.tmp any other file being written
//!     NAME.damaged      what a repair set aside (NAME.damaged-2 and so on where that was there); nobody's from then on
//!
//! Invariants
//! - I1  `parse(name(kind, n)) == Some((kind, n))` for every kind and number.
//! - I2  `parse(s) == Some((kind, n))` only if `name(kind, n) == s` byte by byte: numbers have at least six digits, more
//!   only when they are larger, and nothing stands before or behind. What does not parse is not ours and is never
//!   touched.
//!
//! Threads: plain functions. Failure: none.

use crate::base::ids::FileNumber;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How many old info logs are kept: `LOG.1` to `LOG.4`.
pub const OLD_LOGS_MAX: u64 = 4;

const DIGITS_MIN: usize = 6;

/// What a file of the database folder is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileKind {
    /// `CURRENT`.
    Current,
    /// `CURRENT.tmp`.
    CurrentTmp,
    /// `LOCK`.
    Lock,
    /// `LOG`, the info log.
    Log,
    /// `LOG.1` (newest) to `LOG.4`; the number is the suffix.
    OldLog,
    /// `MANIFEST-NNNNNN`.
    Manifest,
    /// `NNNNNN.wal`.
    Wal,
    /// `NNNNNN.spare`.
    Spare,
    /// `NNNNNN.sst`.
    Table,
    /// `NNNNNN.blob`.
    Blob,
    /// `NNNNNN.tmp`.
    Tmp,
}

impl FileKind {
    /// Whether a `rw` open may delete every file of this kind: it was being written when its writer stopped.
    pub fn is_tmp(self) -> bool {
        matches!(self, FileKind::CurrentTmp | FileKind::Tmp)
    }

    /// Whether the name carries a number from the database's counter.
    pub fn is_numbered(self) -> bool {
        self.suffix().is_some() || self == FileKind::Manifest
    }

    fn fixed(self) -> Option<&'static str> {
        match self {
            FileKind::Current => Some("CURRENT"),
            FileKind::CurrentTmp => Some("CURRENT.tmp"),
            FileKind::Lock => Some("LOCK"),
            FileKind::Log => Some("LOG"),
            _ => None,
        }
    }

    fn suffix(self) -> Option<&'static str> {
        match self {
            FileKind::Wal => Some("wal"),
            FileKind::Spare => Some("spare"),
            FileKind::Table => Some("sst"),
            FileKind::Blob => Some("blob"),
            FileKind::Tmp => Some("tmp"),
            _ => None,
        }
    }
}

/// The file's name. `number` is ignored for the kinds that have none; for `OldLog` it is 1 to `OLD_LOGS_MAX`.
pub fn name(kind: FileKind, number: FileNumber) -> String {
    if let Some(fixed) = kind.fixed() {
        return fixed.to_owned();
    }
    let n = number.0;
    match (kind, kind.suffix()) {
        (FileKind::OldLog, _) => {
            debug_assert!((1..=OLD_LOGS_MAX).contains(&n), "LOG.{n} is not a name of ours");
            format!("LOG.{n}")
        }
        (_, Some(suffix)) => format!("{n:06}.{suffix}"),
        _ => format!("MANIFEST-{n:06}"),
    }
}

/// The file's path in `dir`.
pub fn path(dir: &Path, kind: FileKind, number: FileNumber) -> PathBuf {
    dir.join(name(kind, number))
}

/// The name under which a repair sets the file `name` aside, the `copy`-th one (1 is the first). It does not parse: such
/// files are never opened, counted or removed but by a repair that goes on where one was cut short.
pub fn aside(name: &str, copy: u32) -> String {
    if copy <= 1 { format!("{name}.damaged") } else { format!("{name}.damaged-{copy}") }
}

/// Whether a repair set the file aside.
pub fn is_aside(name: &OsStr) -> bool {
    let before = name.to_str().and_then(|name| name.rsplit_once(".damaged"));
    before.is_some_and(|(before, copy)| {
        let is_counted = copy.strip_prefix('-').is_some_and(|copy| copy.parse::<u32>().is_ok());
        parse(OsStr::new(before)).is_some() && (copy.is_empty() || is_counted)
    })
}

/// The number of the file of `kind` that was set aside under `name` first.
pub fn parse_aside(kind: FileKind, name: &OsStr) -> Option<FileNumber> {
    let before = name.to_str()?.strip_suffix(".damaged")?;
    parse(OsStr::new(before)).filter(|(found, _)| *found == kind).map(|(_, number)| number)
}

/// What `name` (a last path component) is, or `None` when it is not exactly a name that `name()` makes. Kinds without a
/// number answer 0.
pub fn parse(name: &OsStr) -> Option<(FileKind, FileNumber)> {
    let name = name.to_str()?;
    for kind in [FileKind::Current, FileKind::CurrentTmp, FileKind::Lock, FileKind::Log] {
        if kind.fixed() == Some(name) {
            return Some((kind, FileNumber(0)));
        }
    }
    if let Some(digits) = name.strip_prefix("MANIFEST-") {
        return Some((FileKind::Manifest, number(digits)?));
    }
    if let Some(digit) = name.strip_prefix("LOG.") {
        let &[byte @ b'1'..=b'9'] = digit.as_bytes() else { return None };
        let n = u64::from(byte - b'0');
        return (n <= OLD_LOGS_MAX).then_some((FileKind::OldLog, FileNumber(n)));
    }
    let (digits, suffix) = name.split_once('.')?;
    for kind in [FileKind::Wal, FileKind::Spare, FileKind::Table, FileKind::Blob, FileKind::Tmp] {
        if kind.suffix() == Some(suffix) {
            return Some((kind, number(digits)?));
        }
    }
    None
}

/// At least six digits, more only without a leading zero, and no sign (which `u64::from_str` would let pass).
fn number(digits: &str) -> Option<FileNumber> {
    let bytes = digits.as_bytes();
    let padded = bytes.len() == DIGITS_MIN || (bytes.len() > DIGITS_MIN && bytes[0] != b'0');
    if !padded || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.parse().ok().map(FileNumber)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    const NUMBERED: [FileKind; 6] =
        [FileKind::Manifest, FileKind::Wal, FileKind::Spare, FileKind::Table, FileKind::Blob, FileKind::Tmp];
    const FIXED: [FileKind; 4] = [FileKind::Current, FileKind::CurrentTmp, FileKind::Lock, FileKind::Log];

    #[test]
    fn every_name_parses_back() {
        for n in [0, 1, 9, 999_999, 1_000_000, 10_000_000_000, u64::MAX] {
            for kind in NUMBERED {
                let made = name(kind, FileNumber(n));
                assert_eq!(parse(OsStr::new(&made)), Some((kind, FileNumber(n))), "{made}");
                assert!(kind.is_numbered());
            }
        }
        for kind in FIXED {
            assert_eq!(parse(OsStr::new(&name(kind, FileNumber(0)))), Some((kind, FileNumber(0))));
            assert!(!kind.is_numbered());
        }
        for n in 1..=OLD_LOGS_MAX {
            let made = name(FileKind::OldLog, FileNumber(n));
            assert_eq!(parse(OsStr::new(&made)), Some((FileKind::OldLog, FileNumber(n))));
        }
    }

    #[test]
    fn what_was_set_aside_is_nobodys() {
        let first = aside(&name(FileKind::Table, FileNumber(7)), 1);
        assert_eq!((first.as_str(), aside("CURRENT", 3).as_str()), ("000007.sst.damaged", "CURRENT.damaged-3"));
        assert_eq!(parse(OsStr::new(&first)), None);
        assert_eq!(parse_aside(FileKind::Table, OsStr::new(&first)), Some(FileNumber(7)));
        assert!(is_aside(OsStr::new(&first)) && is_aside(OsStr::new("CURRENT.damaged-3")));
        assert!(!is_aside(OsStr::new("notes.damaged")) && !is_aside(OsStr::new("CURRENT.damagedx")));
        for other in ["000007.wal.damaged", "000007.sst", "7.sst.damaged", "000007.sst.damaged-2"] {
            assert_eq!(parse_aside(FileKind::Table, OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn names_are_the_documented_ones() {
        let made = |kind, n| name(kind, FileNumber(n));
        assert_eq!(made(FileKind::Manifest, 7), "MANIFEST-000007");
        assert_eq!(made(FileKind::Wal, 12), "000012.wal");
        assert_eq!(made(FileKind::Spare, 12), "000012.spare");
        assert_eq!(made(FileKind::Table, 1_234_567), "1234567.sst");
        assert_eq!(made(FileKind::Blob, 3), "000003.blob");
        assert_eq!(made(FileKind::Tmp, 3), "000003.tmp");
        assert_eq!(made(FileKind::OldLog, 4), "LOG.4");
        assert_eq!(made(FileKind::CurrentTmp, 0), "CURRENT.tmp");
        assert_eq!(path(Path::new("/d"), FileKind::Lock, FileNumber(0)), Path::new("/d/LOCK"));
    }

    #[test]
    fn hostile_names_are_not_ours() {
        let hostile: &[&str] = &[
            "",
            ".",
            "..",
            "current",
            "CURRENT ",
            " CURRENT",
            "CURRENT.",
            "CURRENT.TMP",
            "CURRENT.tmp.tmp",
            "LOCK.tmp",
            "LOG.",
            "LOG.0",
            "LOG.5",
            "LOG.01",
            "LOG.10",
            "LOG.old",
            "LOG.-1",
            "LOG.1 ",
            "LOG.tmp",
            "MANIFEST",
            "MANIFEST-",
            "MANIFEST-1",
            "MANIFEST-00001",
            "MANIFEST-0000001",
            "MANIFEST-+00001",
            "MANIFEST--00001",
            "MANIFEST-000001.tmp",
            "MANIFEST-00000a",
            "MANIFEST-99999999999999999999",
            "manifest-000001",
            "1.wal",
            "00001.wal",
            "0000001.wal",
            "000001.WAL",
            "000001.wal ",
            "000001.wal~",
            "000001.wal.tmp",
            "000001..wal",
            "000001",
            "000001.",
            ".wal",
            "+00001.wal",
            "-00001.sst",
            " 00001.sst",
            "0x0001.sst",
            "00000١.sst",
            "000001.ss",
            "000001.sstt",
            "18446744073709551616.sst",
            "00018446744073709551615.sst",
            "000001/x.sst",
            "000001.sst\n",
            "000001.sst\0",
            "a000001.sst",
            "000001a.sst",
            "tmp",
            ".tmp",
            "x.tmp",
        ];
        for text in hostile {
            assert_eq!(parse(OsStr::new(text)), None, "{text:?}");
        }
        assert_eq!(parse(OsStr::from_bytes(b"00000\xff.sst")), None);
        assert_eq!(parse(OsStr::from_bytes(b"\xff")), None);
    }

    #[test]
    fn what_parses_is_what_is_made() {
        // Single-byte edits of good names: each either is another good name or no name at all.
        let good = ["CURRENT", "LOG.2", "MANIFEST-000123", "000123.wal", "1000000.sst", "000009.tmp"];
        for text in good {
            for at in 0..text.len() {
                for byte in 0..=255u8 {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[at] = byte;
                    if let Some((kind, n)) = parse(OsStr::from_bytes(&bytes)) {
                        assert_eq!(name(kind, n).as_bytes(), bytes);
                    }
                }
            }
        }
    }

    #[test]
    fn only_unfinished_files_are_tmp() {
        for kind in NUMBERED.into_iter().chain(FIXED).chain([FileKind::OldLog]) {
            let made = name(kind, FileNumber(1));
            assert_eq!(kind.is_tmp(), made.ends_with(".tmp"), "{made}");
        }
    }
}
