//! Errors as data: a code of the C ABI, an errno, flags and a message that names the file, key or option concerned.
//!
//! Nothing is allocated on success. An `Error` is cheap to clone, because a background failure is remembered and
//! answered to every later write.

use std::fmt;
use std::sync::Arc;

/// What kind of failure; the numbers are those of the C ABI and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// An argument or option is out of its range.
    Invalid = -1,
    /// The operating system refused a call.
    Io = -2,
    /// Bytes on disk are not what was written.
    Corruption = -3,
    /// A transaction met a newer write.
    Conflict = -4,
    /// A cycle of waiting transactions.
    Deadlock = -5,
    /// The deadline passed before any effect.
    Timeout = -6,
    /// The call is not possible now (for example from inside a callback).
    Busy = -7,
    /// Another process or handle has the folder open.
    Locked = -8,
    /// The device is full.
    NoSpace = -9,
    /// An allocation was refused.
    NoMem = -10,
    /// The database is open read-only.
    ReadOnly = -11,
    /// The database exists and `error_if_exists` is set.
    Exists = -12,
    /// Known but not part of this version or build.
    Unsupported = -13,
    /// The database, keyspace or handle is closed.
    Closed = -14,
    /// The job was cancelled.
    Cancelled = -15,
    /// An iterator stopped after `max_skip` hidden entries.
    Stalled = -16,
    /// The files were written in a format that this build does not read.
    Version = -17,
    /// A callback failed.
    Callback = -18,
    /// The log position asked for is gone.
    SeqGone = -19,
    /// A conditional write did not find what it expected.
    Precondition = -20,
    /// A newer leader exists.
    Fenced = -21,
    /// A panic was caught at the border; the handle is poisoned.
    Panic = -22,
    /// The handle belongs to the parent process.
    Forked = -23,
}

impl Code {
    /// The name in the C header, for example `LSM_E_IO`.
    pub fn name(self) -> &'static str {
        match self {
            Code::Invalid => "LSM_E_INVALID",
            Code::Io => "LSM_E_IO",
            Code::Corruption => "LSM_E_CORRUPTION",
            Code::Conflict => "LSM_E_CONFLICT",
            Code::Deadlock => "LSM_E_DEADLOCK",
            Code::Timeout => "LSM_E_TIMEOUT",
            Code::Busy => "LSM_E_BUSY",
            Code::Locked => "LSM_E_LOCKED",
            Code::NoSpace => "LSM_E_NOSPACE",
            Code::NoMem => "LSM_E_NOMEM",
            Code::ReadOnly => "LSM_E_READONLY",
            Code::Exists => "LSM_E_EXISTS",
            Code::Unsupported => "LSM_E_UNSUPPORTED",
            Code::Closed => "LSM_E_CLOSED",
            Code::Cancelled => "LSM_E_CANCELLED",
            Code::Stalled => "LSM_E_STALLED",
            Code::Version => "LSM_E_VERSION",
            Code::Callback => "LSM_E_CALLBACK",
            Code::SeqGone => "LSM_E_SEQ_GONE",
            Code::Precondition => "LSM_E_PRECONDITION",
            Code::Fenced => "LSM_E_FENCED",
            Code::Panic => "LSM_E_PANIC",
            Code::Forked => "LSM_E_FORKED",
        }
    }

    /// What the code alone says: the same call, made again, succeeds once room, memory, time or the folder is there, or
    /// (`Stalled`) goes on from where it stopped.
    fn flags(self) -> u32 {
        match self {
            Code::Timeout | Code::Locked | Code::NoSpace | Code::NoMem | Code::Stalled => FLAG_RETRYABLE,
            _ => 0,
        }
    }
}

/// The call may succeed when tried again later.
pub const FLAG_RETRYABLE: u32 = 1;
/// The database takes no more writes until it is opened again.
pub const FLAG_FATAL: u32 = 2;
/// The failure happened in a background thread.
pub const FLAG_BACKGROUND: u32 = 4;

/// A failure with its details.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    os: i32,
    flags: u32,
    message: String,
}

/// The result of every fallible engine call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `code` whose text is `message`.
    #[cold]
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { code, os: 0, flags: code.flags(), message: message.into() }))
    }

    /// An argument or option out of its range.
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(Code::Invalid, message)
    }

    /// Damage on disk: `what` names file, offset, expected and found.
    #[cold]
    pub fn corruption(message: impl Into<String>) -> Error {
        Error::new(Code::Corruption, message)
    }

    /// A refused system call: `what` names the call and the path. ENOSPC and EDQUOT become `NoSpace`, ENOMEM `NoMem`.
    #[cold]
    pub fn os(errno: i32, what: impl fmt::Display) -> Error {
        let (code, flags) = match errno {
            libc::ENOSPC | libc::EDQUOT => (Code::NoSpace, Code::NoSpace.flags()),
            libc::ENOMEM => (Code::NoMem, Code::NoMem.flags()),
            libc::EMFILE | libc::ENFILE => (Code::Io, FLAG_RETRYABLE),
            _ => (Code::Io, 0),
        };
        let text = std::io::Error::from_raw_os_error(errno);
        Error(Arc::new(Inner { code, os: errno, flags, message: format!("{what}: {text}") }))
    }

    /// The same from a standard library error.
    #[cold]
    pub fn io(err: &std::io::Error, what: impl fmt::Display) -> Error {
        match err.raw_os_error() {
            Some(errno) => Error::os(errno, what),
            None => Error::new(Code::Io, format!("{what}: {err}")),
        }
    }

    /// What kind of failure.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The errno of the refused call, or 0.
    pub fn os_errno(&self) -> i32 {
        self.0.os
    }

    /// `FLAG_RETRYABLE | FLAG_FATAL | FLAG_BACKGROUND`.
    pub fn flags(&self) -> u32 {
        self.0.flags
    }

    /// The text for a person.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The same error with `flags` added. A fatal one is not retryable, whatever its code: only an open helps.
    #[must_use]
    pub fn with_flags(&self, flags: u32) -> Error {
        let mut inner = (*self.0).clone();
        inner.flags |= flags;
        if inner.flags & FLAG_FATAL != 0 {
            inner.flags &= !FLAG_RETRYABLE;
        }
        Error(Arc::new(inner))
    }

    /// The same error with `context: ` put before its text.
    #[must_use]
    pub fn context(&self, context: impl fmt::Display) -> Error {
        let mut inner = (*self.0).clone();
        inner.message = format!("{context}: {}", inner.message);
        Error(Arc::new(inner))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.name(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (errno {}, flags {})", self.0.os, self.0.flags)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_retryable() {
        for code in [Code::Timeout, Code::Locked, Code::NoSpace, Code::NoMem, Code::Stalled] {
            assert_eq!(Error::new(code, "").flags(), FLAG_RETRYABLE, "{code:?}");
        }
        for code in [Code::Invalid, Code::Io, Code::Corruption, Code::Busy, Code::Closed, Code::Panic, Code::Forked] {
            assert_eq!(Error::new(code, "").flags(), 0, "{code:?}");
        }
        for errno in [libc::ENOSPC, libc::EDQUOT, libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
            assert_eq!(Error::os(errno, "").flags(), FLAG_RETRYABLE, "{errno}");
        }
        assert_eq!(Error::os(libc::EIO, "").flags(), 0);
    }

    #[test]
    fn what_is_fatal_is_not_retryable() {
        let full = Error::os(libc::ENOSPC, "fsync");
        assert_eq!(full.with_flags(FLAG_BACKGROUND).flags(), FLAG_RETRYABLE | FLAG_BACKGROUND);
        assert_eq!(full.with_flags(FLAG_FATAL).flags(), FLAG_FATAL);
        assert_eq!(full.with_flags(FLAG_FATAL).with_flags(FLAG_RETRYABLE).flags(), FLAG_FATAL);
    }
}
