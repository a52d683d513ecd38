//! The `LOG` file: what the library did, for a person. Best effort: a failure here never fails anything else.
//!
//! Rotation: at `FILE_BYTES_MAX` `LOG` becomes `LOG.1`, `LOG.1` becomes `LOG.2`, up to `LOG.4`.

use crate::base::clock;
use crate::base::log_sink::{LogLevel, LogSink};
use crate::base::sync::Mutex;
use crate::fs::{File, Fs, OpenMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE_BYTES_MAX: u64 = 10 << 20;
const FILES_KEPT: u32 = 4;

struct Open {
    file: Option<Arc<dyn File>>,
    offset: u64,
}

/// A log sink that writes to `LOG` in the database folder.
pub struct LogFile {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    open: Mutex<Open>,
}

impl LogFile {
    /// Goes on at the end of `dir/LOG`, or starts it.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> LogFile {
        let path = dir.join("LOG");
        let file = fs.open(&path, OpenMode::ReadWrite).or_else(|_| fs.open(&path, OpenMode::CreateNew)).ok();
        let offset = file.as_ref().and_then(|f| f.len().ok()).unwrap_or(0);
        LogFile { fs, dir: dir.to_path_buf(), open: Mutex::new(Open { file, offset }) }
    }

    fn rotate(&self, open: &mut Open) {
        open.file = None;
        let name = |n: u32| if n == 0 { self.dir.join("LOG") } else { self.dir.join(format!("LOG.{n}")) };
        for n in (0..FILES_KEPT).rev() {
            let _ = self.fs.rename(&name(n), &name(n + 1));
        }
        open.file = self.fs.open(&name(0), OpenMode::CreateNew).ok();
        open.offset = 0;
    }
}

impl LogSink for LogFile {
    fn log(&self, level: LogLevel, message: &str) {
        if level > LogLevel::Info {
            return;
        }
        let line = format_line(clock::unix_micros(), level, message);
        let mut open = self.open.lock();
        if open.offset + line.len() as u64 > FILE_BYTES_MAX {
            self.rotate(&mut open);
        }
        let Some(file) = &open.file else { return };
        if file.write_all_at(line.as_bytes(), open.offset).is_ok() {
            open.offset += line.len() as u64;
        }
    }
}

fn format_line(micros: u64, level: LogLevel, message: &str) -> String {
    let name = match level {
        LogLevel::Error => "ERROR",
        LogLevel::Warn => "WARN ",
        LogLevel::Info => "INFO ",
        LogLevel::Debug => "DEBUG",
    };
    let (days, seconds) = (micros / 86_400_000_000, micros / 1_000_000 % 86_400);
    let (year, month, day) = civil_date(days as i64);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z {name} {}\n",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000,
        message.replace('\n', " ")
    )
}

/// The proleptic Gregorian date of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date
/// algorithms").
fn civil_date(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_the_date() {
        assert_eq!(
            format_line(1_709_210_096_000_007, LogLevel::Warn, "a\nb"),
            "2024-02-29T12:34:56.000007Z WARN  a b\n"
        );
        assert_eq!(civil_date(0), (1970, 1, 1));
    }
}
