//! Databases of other engines, read through their own libraries, which are looked for when they are needed.
//!
//! - I1  Not a byte of the foreign folder is written, and no lock is taken in it.
//! - I2  A database that another process has open is refused: what is read of it would be of no one moment.
//!
//! Threads: one. Failure: the engine's text, or what the operating system says.

pub mod leveldb;
pub mod rocksdb;

use crate::dl::{self, Library};
use crate::exit::{Exit, Failure, Outcome};
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Takes an entry of a part (a column family): key and value.
pub type Each<'e> = dyn FnMut(&[u8], &[u8]) -> Outcome + 'e;

/// An open database of another engine.
pub trait Foreign {
    /// Its column families; one name for engines without.
    fn parts(&self) -> Vec<String>;
    /// About how many keys it has, if it says.
    fn estimate(&self) -> Option<u64>;
    /// Hands every entry of part `index` to `each`, in its order.
    fn entries(&self, index: usize, each: &mut Each<'_>) -> Outcome;
}

/// Opens the engine's library: the one asked for, or the newest one installed.
fn library(stem: &str, asked: Option<&Path>, package: &str) -> Outcome<Library> {
    let candidates: Vec<PathBuf> = asked.map_or_else(|| dl::installed(stem), |path| vec![path.to_owned()]);
    let mut errors = Vec::new();
    for path in &candidates {
        match Library::open(path.as_os_str()) {
            Ok(library) => return Ok(library),
            Err(error) => errors.push(error),
        }
    }
    let what = if errors.is_empty() { "is not installed".to_string() } else { errors.join("; ") };
    let hint = format!("install it (Debian: apt install {package}), or say where it is with --engine-library");
    Err(Failure::new(Exit::Unsupported, format!("{stem}: {what}")).hint(hint))
}

/// A path as C takes it.
fn c_path(path: &Path) -> Outcome<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Failure::usage(format!("{}: a NUL byte", path.display())))
}

/// The error text that an engine stored, taken and freed with `free`.
///
/// # Safety
/// `error` is NULL or a text that `free` frees.
unsafe fn take_error(error: *mut c_char, free: impl FnOnce(*mut c_char)) -> Option<String> {
    if error.is_null() {
        return None;
    }
    // SAFETY: the caller's word.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    free(error);
    Some(text)
}

/// Refuses a folder that is no folder, has no `CURRENT`, or that a process has open (its `LOCK` is held).
fn check_folder(dir: &Path) -> Outcome {
    let refuse = |path: &Path, error: &io::Error| Failure::system(path.display(), error);
    std::fs::read_dir(dir).map_err(|e| refuse(dir, &e))?;
    if let Err(error) = std::fs::metadata(dir.join("CURRENT")) {
        return Err(refuse(&dir.join("CURRENT"), &error).hint("this folder holds no RocksDB or LevelDB database"));
    }
    let lock = dir.join("LOCK");
    match std::fs::File::open(&lock) {
        Ok(file) => match lock_holder(&file) {
            Ok(None) => Ok(()),
            Ok(Some(pid)) => {
                let text = format!("{}: process {pid} has the database open", dir.display());
                Err(Failure::new(Exit::Locked, text).hint("close it there first"))
            }
            Err(error) => Err(refuse(&lock, &error)),
        },
        // Copied without it: nobody has it open.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refuse(&lock, &error)),
    }
}

/// The process that holds a lock on the file, which is asked for and not taken.
fn lock_holder(file: &std::fs::File) -> io::Result<Option<i32>> {
    // SAFETY: a plain struct of numbers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: an open descriptor and a writable struct.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok((lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid))
}

#[cfg(test)]
mod tests {
    /// How many arguments stand behind each mention of `symbol`; a comment may mention it, too.
    fn arities(header: &str, symbol: &str) -> Vec<usize> {
        let call = format!("{symbol}(");
        let mentions = header.match_indices(&call).filter_map(|(at, call)| {
            let rest = &header[at + call.len()..];
            let arguments = rest[..rest.find(')')?].trim();
            Some(if arguments.is_empty() || arguments == "void" { 0 } else { arguments.split(',').count() })
        });
        mentions.collect()
    }

    fn check(path: &str, declared: &[(&str, &[&str], &str, bool)]) {
        let Ok(header) = std::fs::read_to_string(path) else {
            assert!(std::env::var_os("REQUIRE").is_none_or(|v| v != "1"), "{path} is required");
            crate::out::error_line(&format!("skipped: {path} not found"));
            return;
        };
        for (symbol, arguments, ..) in declared {
            assert!(arities(&header, symbol).contains(&arguments.len()), "{symbol} in {path}");
        }
    }

    #[test]
    fn every_call_has_as_many_arguments_as_the_installed_headers_say() {
        check("/usr/include/leveldb/c.h", super::leveldb::DECLARED);
        check("/usr/include/rocksdb/c.h", super::rocksdb::DECLARED);
    }
}
