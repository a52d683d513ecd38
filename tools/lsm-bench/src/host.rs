//! What the machine tells of a run: the size of a folder, a profile by `perf`.

use crate::engine::fail;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Bytes of all files below a folder, by the blocks they take.
pub fn folder_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let entries = entries.flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.blocks() * 512)
        .sum()
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
