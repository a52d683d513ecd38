//! Standard output and error: answers, tables, JSON, progress.
//!
//! - I1  Nothing but what is printed here reaches standard output, and every failed write ends the verb.
//! - I2  Colours and progress bars appear on terminals only.
//!
//! Threads: one.

use crate::cli::Global;
use crate::exit::Outcome;
use crate::text;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::io::{BufWriter, IsTerminal as _, Stdout, Write};

/// Where answers go.
pub struct Out {
    stdout: BufWriter<Stdout>,
    /// Answers are JSON.
    pub is_json: bool,
    is_quiet: bool,
}

impl Out {
    /// The output that the command line asks for.
    pub fn new(global: &Global) -> Out {
        let stdout = BufWriter::with_capacity(64 << 10, std::io::stdout());
        Out { stdout, is_json: global.json, is_quiet: global.quiet }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.stdout.write_all(bytes)?)
    }

    /// A line.
    pub fn line(&mut self, line: &str) -> Outcome {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    /// A JSON value on a line of its own.
    pub fn json(&mut self, value: &Value) -> Outcome {
        self.line(&value.to_string())
    }

    /// A JSON value for people who read JSON.
    pub fn json_pretty(&mut self, value: &Value) -> Outcome {
        self.line(&format!("{value:#}"))
    }

    /// A table; the columns listed are numbers.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>], numbers: &[usize]) -> Outcome {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.iter().copied());
        // Into a file or a pipe a row is one line, however long.
        if let Some(width) = terminal_width() {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for row in rows {
            table.add_row(row);
        }
        for number in numbers {
            if let Some(column) = table.column_mut(*number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.to_string().lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// A summary of what was done: on standard error, so that it is never taken for data.
    pub fn note(&mut self, line: &str) -> Outcome {
        if !self.is_quiet && !self.is_json {
            self.stdout.flush()?;
            error_line(line);
        }
        Ok(())
    }

    /// What was done: the object where answers are JSON, else the line on standard error.
    pub fn summary(&mut self, object: &Value, line: &str) -> Outcome {
        if self.is_json { self.json(object) } else { self.note(line) }
    }

    /// The same when standard output carries data.
    pub fn summary_beside_data(&mut self, object: &Value, line: &str) -> Outcome {
        self.stdout.flush()?;
        if self.is_json && !self.is_quiet {
            error_line(&object.to_string());
            return Ok(());
        }
        self.note(line)
    }

    /// Everything out.
    pub fn finish(&mut self) -> Outcome {
        Ok(self.stdout.flush()?)
    }

    /// A bar for work of `total` steps (or of an unknown number), on a terminal only.
    pub fn progress(&self, what: &str, total: Option<u64>) -> ProgressBar {
        if self.is_quiet || self.is_json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {human_pos}/{human_len} {per_sec} {eta}",
            None => "{msg} {spinner} {human_pos} {per_sec}",
        };
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_string());
        bar
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdout.flush()
    }
}

/// Columns of the terminal that standard output is, if it is one.
fn terminal_width() -> Option<u16> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: an open descriptor and a writable struct.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    (done == 0 && size.ws_col >= 40).then_some(size.ws_col)
}

/// A line on standard error; that nobody reads it is no reason to fail.
pub fn error_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Any JSON value as indented text: objects as `name: value` lines, arrays of objects with the same fields as tables.
pub fn tree(out: &mut Out, value: &Value, depth: usize) -> Outcome {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.line(&format!("{indent}{}:", text::escape(name.as_bytes())))?;
                        tree(out, value, depth + 1)?;
                    }
                    Value::Array(items) if !items.is_empty() => {
                        out.line(&format!("{indent}{}:", text::escape(name.as_bytes())))?;
                        tree(out, value, depth + 1)?;
                    }
                    value => out.line(&format!("{indent}{}: {}", text::escape(name.as_bytes()), scalar(value)))?,
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(fields) => {
                        let fields = fields.iter().map(|(name, value)| format!("{name}: {}", scalar(value)));
                        out.line(&format!("{indent}- {}", fields.collect::<Vec<_>>().join(", ")))?;
                    }
                    item => out.line(&format!("{indent}- {}", scalar(item)))?,
                }
            }
            Ok(())
        }
        scalar_value => out.line(&format!("{indent}{}", scalar(scalar_value))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text::plain(text),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), text::thousands),
        Value::Null => "-".to_string(),
        other => text::plain(&other.to_string()),
    }
}
