//! The file `CURRENT`: which manifest is in force, and how many of its bytes are whole. Quoted in docs/format/manifest.md.
//!
//!     liblsm 1\n                                   format of this file
//!     database 0123456789abcdef0123456789abcdef\n
//!     manifest MANIFEST-000007\n
//!     length at-least 1234\n                       or "length exactly 1234": written by a clean close
//!     crc 89abcdef\n                               crc-32 of every byte before this line
//!
//! Invariants
//! - I1  There is one way to write each content: bytes that decode but encode differently are damage.
//! - I2  It is replaced whole: CURRENT.tmp is written and synced, renamed, and the folder is synced. The manifest it names
//!   was durable, its folder entry too, before that.
//! - I3  "exactly" is written only by a clean close; nothing is ever appended to that manifest afterwards.
//!
//! Threads: callers serialise. Failure: an error before the rename leaves the old file in force; a failed rename or folder
//! sync leaves either, see `set`.

use super::manifest::Extent;
use crate::base::checksum::Checksum;
use crate::base::ids::{FileIdentity, FileNumber};
use crate::error::{Code, Error, Result};
use crate::fs::names::{self, FileKind};
use crate::fs::{File, Fs, OpenMode};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// More than the longest CURRENT.
const BYTES_MAX: usize = 1024;

/// What CURRENT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Current {
    /// Database and manifest number.
    pub manifest: FileIdentity,
    /// How much of the manifest is whole.
    pub extent: Extent,
}

impl Current {
    fn encode(&self) -> String {
        let name = names::name(FileKind::Manifest, self.manifest.number);
        let (word, len) = match self.extent {
            Extent::AtLeast(len) => ("at-least", len),
            Extent::Exactly(len) => ("exactly", len),
        };
        let mut text =
            format!("liblsm 1\ndatabase {:032x}\nmanifest {name}\nlength {word} {len}\n", self.manifest.database);
        let crc = Checksum::new().bytes(text.as_bytes()).finish();
        text.push_str(&format!("crc {crc:08x}\n"));
        text
    }

    pub fn decode(bytes: &[u8]) -> Result<Current> {
        let bad = |what: &str| Error::corruption(what.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| bad("is not text"))?;
        let body_len = text.len().checked_sub("crc 01234567\n".len()).ok_or_else(|| bad("is too short"))?;
        let (body, crc_line) = text.split_at_checked(body_len).ok_or_else(|| bad("is not text"))?;
        let expected = format!("crc {:08x}\n", Checksum::new().bytes(body.as_bytes()).finish());
        if crc_line != expected {
            return Err(bad("the crc does not fit the text"));
        }
        let mut lines = body.lines();
        let mut value = |key: &str| {
            let line = lines.next().and_then(|l| l.strip_prefix(key)).and_then(|l| l.strip_prefix(' '));
            line.ok_or_else(|| Error::corruption(format!("the line \"{key}\" is missing")))
        };
        let format = value("liblsm")?;
        if format != "1" {
            return Err(Error::new(Code::Version, format!("has format {format}; this build reads 1")));
        }
        let database = u128::from_str_radix(value("database")?, 16).map_err(|_| bad("the database is no number"))?;
        let number = match names::parse(OsStr::new(value("manifest")?)) {
            Some((FileKind::Manifest, number)) => number,
            _ => return Err(bad("names no manifest of this folder")),
        };
        let (word, len) = value("length")?.split_once(' ').ok_or_else(|| bad("the length is malformed"))?;
        let len: u64 = len.parse().map_err(|_| bad("the length is no number"))?;
        let extent = match word {
            "at-least" => Extent::AtLeast(len),
            "exactly" => Extent::Exactly(len),
            _ => return Err(bad("the length is malformed")),
        };
        let current = Current { manifest: FileIdentity { database, number }, extent };
        if current.encode().as_bytes() != bytes {
            return Err(bad("is not written as it must be"));
        }
        Ok(current)
    }

    /// Reads the file in `dir`. That of another engine is `Invalid`, no damage: nothing there is ours to mend.
    pub fn load(fs: &dyn Fs, dir: &Path) -> Result<Current> {
        let path = names::path(dir, FileKind::Current, FileNumber(0));
        let bytes = read_whole(fs, &path, BYTES_MAX as u64)?;
        if is_of_leveldb(&bytes) {
            return Err(foreign(dir));
        }
        Current::decode(&bytes).map_err(|e| e.context(path.display()))
    }

    /// Replaces the file in `dir`, durably.
    pub fn store(&self, fs: &dyn Fs, dir: &Path) -> std::result::Result<(), StoreError> {
        let tmp = names::path(dir, FileKind::CurrentTmp, FileNumber(0));
        let write = || -> Result<()> {
            if fs.metadata(&tmp)?.is_some() {
                fs.remove(&tmp)?;
            }
            let file = fs.open(&tmp, OpenMode::CreateNew)?;
            file.write_all_at(self.encode().as_bytes(), 0)?;
            if crate::base::planted!("current-tmp-unsynced") { Ok(()) } else { file.sync_data() }
        };
        write().map_err(StoreError::Unchanged)?;
        let rename = || -> Result<()> {
            fs.rename(&tmp, &names::path(dir, FileKind::Current, FileNumber(0)))?;
            if crate::base::planted!("current-name-unsynced") { Ok(()) } else { fs.sync_dir(dir) }
        };
        rename().map_err(StoreError::InDoubt)
    }
}

/// How a replacement of CURRENT failed.
#[derive(Debug)]
pub(super) enum StoreError {
    /// The old content is in force.
    Unchanged(Error),
    /// The old or the new content is in force, now and after a crash.
    InDoubt(Error),
}

/// Refuses a folder whose `CURRENT` is that of LevelDB or RocksDB, which have files of the same names as ours. A file that
/// cannot be read is not refused.
pub fn refuse_foreign(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let path = names::path(dir, FileKind::Current, FileNumber(0));
    let is_theirs = read_whole(fs, &path, BYTES_MAX as u64).is_ok_and(|bytes| is_of_leveldb(&bytes));
    if is_theirs { Err(foreign(dir)) } else { Ok(()) }
}

fn foreign(dir: &Path) -> Error {
    let dir = dir.display();
    Error::invalid(format!("{dir} is a database of LevelDB or RocksDB, not of liblsm (`lsm import` copies one)"))
}

/// Theirs is the manifest's name and nothing else; no part of ours begins so.
fn is_of_leveldb(bytes: &[u8]) -> bool {
    let number = bytes.strip_prefix(b"MANIFEST-").map(|rest| rest.strip_suffix(b"\n").unwrap_or(rest));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// Opens the regular file at `path` and reads all of it, at most `max` bytes.
pub(super) fn read_whole(fs: &dyn Fs, path: &Path, max: u64) -> Result<Vec<u8>> {
    let fault = |what: &str| Error::corruption(format!("{}: {what}", path.display()));
    match fs.metadata(path)? {
        None => return Err(fault("the file is missing")),
        Some(m) if !m.is_file => return Err(fault("is not a regular file")),
        Some(_) => {}
    }
    let file: Arc<dyn File> = fs.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > max {
        return Err(fault(&format!("has {len} bytes, more than the {max} it may have")));
    }
    let len = usize::try_from(len).map_err(|_| fault("is too large for this machine"))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Error::new(Code::NoMem, format!("{}: {len} bytes", path.display())))?;
    bytes.resize(len, 0);
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Current {
        let manifest = FileIdentity { database: 0x0123_4567_89ab_cdef, number: FileNumber(7) };
        Current { manifest, extent: Extent::Exactly(99) }
    }

    fn signed(body: &str) -> Vec<u8> {
        format!("{body}crc {:08x}\n", Checksum::new().bytes(body.as_bytes()).finish()).into_bytes()
    }

    #[test]
    fn comes_back_as_it_was() {
        for extent in [Extent::AtLeast(0), Extent::Exactly(u64::MAX)] {
            let current = Current { extent, ..sample() };
            assert_eq!(Current::decode(current.encode().as_bytes()).expect("own bytes"), current);
            assert!(current.encode().len() < BYTES_MAX);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bytes = sample().encode().into_bytes();
        for at in 0..bytes.len() {
            assert!(Current::decode(&bytes[..at]).is_err());
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(Current::decode(&bad).expect_err("damage").code(), Code::Corruption, "{at} {bit}");
            }
        }
    }

    #[test]
    fn that_of_another_engine_is_told_from_ours() {
        for theirs in ["MANIFEST-000005\n", "MANIFEST-000005", "MANIFEST-1234567\n"] {
            assert!(is_of_leveldb(theirs.as_bytes()), "{theirs:?}");
        }
        for none in ["", "MANIFEST-\n", "MANIFEST-000005\nx", "MANIFEST-00000x\n", "manifest MANIFEST-000005\n"] {
            assert!(!is_of_leveldb(none.as_bytes()), "{none:?}");
        }
        let ours = sample().encode();
        for at in 0..ours.len() {
            assert!(!is_of_leveldb(&ours.as_bytes()[..at]));
        }
    }

    #[test]
    fn signed_texts_are_read_strictly() {
        let text = |manifest: &str, length: &str| {
            signed(&format!("liblsm 1\ndatabase {:032x}\nmanifest {manifest}\nlength {length}\n", 5))
        };
        assert!(Current::decode(&text("MANIFEST-000001", "exactly 5")).is_ok());
        for (manifest, length) in [
            ("../MANIFEST-000001", "exactly 5"),
            ("/etc/passwd", "exactly 5"),
            ("MANIFEST-1", "exactly 5"),
            ("000001.sst", "exactly 5"),
            ("MANIFEST-000001", "exactly +5"),
            ("MANIFEST-000001", "exactly 05"),
            ("MANIFEST-000001", "about 5"),
            ("MANIFEST-000001", "exactly 5\nmore 1"),
        ] {
            let error = Current::decode(&text(manifest, length)).expect_err(manifest);
            assert_eq!(error.code(), Code::Corruption, "{manifest} {length}");
        }
        assert_eq!(Current::decode(&signed("liblsm 2\nwhatever\n")).expect_err("newer").code(), Code::Version);
    }
}
