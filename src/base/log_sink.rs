//! Where log lines go: the caller's callback or the `LOG` file. Best effort, never a reason to fail.

use std::sync::Arc;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i32)]
pub enum LogLevel {
    /// Something failed.
    Error = 0,
    /// Something is unusual.
    Warn = 1,
    /// A job began or ended.
    Info = 2,
    /// Detail for a developer.
    Debug = 3,
}

/// A place for log lines; called from any thread.
pub trait LogSink: Send + Sync {
    /// Takes one line without a newline.
    fn log(&self, level: LogLevel, message: &str);
}

/// A sink that drops every line.
pub struct NullSink;

impl LogSink for NullSink {
    fn log(&self, _level: LogLevel, _message: &str) {}
}

/// The sink that every layer is handed.
pub type Logger = Arc<dyn LogSink>;
