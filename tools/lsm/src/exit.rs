//! How the tool ends: one number per kind of outcome, and a text for people or a JSON object for programs.
//!
//! The numbers are a promise (docs/tool.md, `lsm help`): never renumbered.

use std::fmt;

/// The exit status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for was done.
    Done = 0,
    /// The key, keyspace or property is not there.
    Absent = 1,
    /// The command line, a key or an option on it is wrong.
    Usage = 2,
    /// The operating system refused something.
    System = 3,
    /// Bytes on disk are not what was written.
    Damaged = 4,
    /// Another process has the database open.
    Locked = 5,
    /// The input of `load` or `import` cannot be taken.
    Input = 6,
    /// The library, this build or this version cannot do it.
    Unsupported = 7,
    /// A count or a checksum afterwards is not what it must be.
    Mismatch = 8,
    /// A bug.
    Internal = 9,
}

/// Every status with its prose, for the help text and the manual.
pub const TABLE: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Absent, "not there: the key, the keyspace, the property; find: no file holds the key"),
    (Exit::Usage, "the command line is wrong: a verb, a key, an option or its value"),
    (
        Exit::System,
        "the operating system refused: no such folder, no permission, no space; export: the reader went away",
    ),
    (Exit::Damaged, "damage was found; dump wal: also the torn end that a crash leaves"),
    (Exit::Locked, "another process has the database open"),
    (Exit::Input, "the input of load or import cannot be taken; the message says where and what to do"),
    (Exit::Unsupported, "a library is missing, is of another version, or cannot do it"),
    (Exit::Mismatch, "the count or the checksum afterwards is wrong"),
    (Exit::Internal, "a bug in the tool or the library"),
];

/// Why the tool ends without having done what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The status.
    pub exit: Exit,
    /// The library's name for it, or "".
    pub code: String,
    /// What happened, naming the file, key or line.
    pub message: String,
    /// What to do about it, or "".
    pub hint: String,
}

/// What every verb answers.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with a text.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, code: String::new(), message: message.into(), hint: String::new() }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// A refusal of the operating system.
    pub fn system(what: impl fmt::Display, error: &std::io::Error) -> Failure {
        Failure::new(Exit::System, format!("{what}: {error}"))
    }

    /// Ends without a word: the output has nobody who reads it, or it says everything.
    pub fn silent(exit: Exit) -> Failure {
        Failure::new(exit, "")
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }

    /// The same with the library's name for it.
    #[must_use]
    pub fn code(mut self, code: &str) -> Failure {
        self.code = code.to_string();
        self
    }

    /// The same with `context: ` before the text.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Failure {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// For standard error: one JSON object, or a line and the hint; "" for a silent end.
    pub fn text(&self, is_json: bool) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        if is_json {
            let mut error = serde_json::json!({ "exit": self.exit as u8, "message": self.message });
            if !self.code.is_empty() {
                error["code"] = self.code.clone().into();
            }
            if !self.hint.is_empty() {
                error["hint"] = self.hint.clone().into();
            }
            return format!("{}\n", serde_json::json!({ "error": error }));
        }
        // Paths and messages may hold anything: nothing of it reaches a terminal as a command.
        let mut text = format!("lsm: {}\n", crate::text::plain(&self.message));
        if !self.hint.is_empty() {
            text.push_str(&format!("lsm: {}\n", crate::text::plain(&self.hint)));
        }
        text
    }
}

/// A failed write: a reader that went away ends the tool without a word.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure::silent(Exit::Done);
        }
        Failure::system("standard output", &error)
    }
}

/// What the engine's inspection answers.
impl From<lsm_engine::Error> for Failure {
    fn from(error: lsm_engine::Error) -> Failure {
        use lsm_engine::Code;
        let exit = match error.code() {
            Code::Corruption => Exit::Damaged,
            Code::Version | Code::Unsupported => Exit::Unsupported,
            Code::Invalid => Exit::Usage,
            Code::Locked => Exit::Locked,
            _ => Exit::System,
        };
        Failure::new(exit, error.message()).code(error.code().name())
    }
}
