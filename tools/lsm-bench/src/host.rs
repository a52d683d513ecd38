//! What the machine tells of a run: what it is, the date, the commit, the size of a folder, a profile by `perf`; and how its
//! memory of files is dropped.

use crate::engine::fail;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Bytes of all files below a folder, by the blocks they take.
pub fn folder_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
            Ok(meta) if meta.is_file() => meta.blocks() * 512,
            _ => 0,
        })
        .sum()
}

/// Writes out all files below a folder and drops their pages from memory: the next read goes to the device.
pub fn drop_pages(dir: &Path) {
    use std::os::fd::AsRawFd;
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            drop_pages(&entry.path());
        } else if let Ok(file) = std::fs::File::open(entry.path()) {
            let _ = file.sync_all();
            // SAFETY: an open descriptor; 0 bytes from 0 is the whole file.
            let code = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
            if code != 0 {
                fail(&format!("{}: its pages cannot be dropped", entry.path().display()));
            }
        }
    }
}

/// Processor, cores, memory, kernel, and the kind of file system below `dir`.
pub fn machine(dir: &Path) -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("0");
    let memory: f64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
    format!(
        "{}, {cores} cores, {:.0} GiB, Linux {}, {}",
        model.trim_start_matches([' ', '\t', ':']),
        memory / 1_048_576.0,
        read("/proc/sys/kernel/osrelease").trim(),
        file_system(dir)
    )
}

/// The mount that holds `dir`: the longest one that its path begins with.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let kinds = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (at, kind) = (fields.nth(1)?, fields.next()?);
        dir.starts_with(at).then(|| (at.len(), kind.to_string()))
    });
    kinds.max().map_or_else(|| "an unknown file system".to_string(), |(_, kind)| kind)
}

/// The load of the last minute.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// Now, as `2026-11-20T15:10:00Z`.
pub fn utc() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    utc_of(seconds)
}

fn utc_of(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that is sometimes missing is the last one.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month_of_year) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month_of_year <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month_of_year:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The commit of the repository at `root`, with `-dirty` if files differ from it.
pub fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_string() };
    let is_clean = git(&["status", "--porcelain"]).is_some_and(|text| text.is_empty());
    if is_clean { head } else { format!("{head}-dirty") }
}

/// `perf record` on this process while a workload runs.
pub struct Profiler(Child);

impl Profiler {
    /// Begins.
    pub fn start(dir: &Path, name: &str) -> Profiler {
        let file = dir.join(format!("{}.data", name.replace(':', "-")));
        let pid = std::process::id().to_string();
        let child = Command::new("perf")
            .args(["record", "-q", "-e", "cpu-clock", "-F", "1999", "-p", &pid, "-o"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| fail(&format!("perf: {error}")));
        std::thread::sleep(Duration::from_millis(500));
        Profiler(child)
    }

    /// Ends, with the file written.
    pub fn stop(mut self) {
        // SAFETY: a child that was not waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) };
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc_of(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc_of(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc_of(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc_of(1_795_187_410), "2026-11-20T15:10:10Z");
    }
}
