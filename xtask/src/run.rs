//! Running other programs: cargo, test binaries with a time limit, and what they said.
#![expect(clippy::disallowed_methods, reason = "the engine's rules for files and clocks are not for its tools")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a limited run ended.
pub struct Ended {
    /// Exit code 0.
    pub is_success: bool,
    /// It was ended because its time was over.
    pub is_late: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// Both its outputs.
    pub text: String,
}

impl Ended {
    /// The line that tells best why it failed.
    pub fn why(&self) -> String {
        if self.is_late {
            return "over its time".to_owned();
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let panic = lines.iter().position(|line| line.contains("panicked at"));
        let telling = ["HANG", "SUMMARY: ", "error: Undefined Behavior", "WARNING: ThreadSanitizer", "ERROR: "];
        let said = match panic {
            // The message follows the place; what names a test or a thread comes before.
            Some(at) => {
                let place = lines[at].split("panicked at ").nth(1).unwrap_or_default();
                let message = lines.get(at + 1).copied().unwrap_or_default();
                format!("{} {message}", place.trim_end_matches(':'))
            }
            None => {
                let found = lines.iter().find(|line| telling.iter().any(|word| line.contains(word)));
                found
                    .or(lines.iter().rev().find(|line| !line.trim().is_empty()))
                    .copied()
                    .unwrap_or("no word")
                    .to_owned()
            }
        };
        said.chars().filter(|c| !c.is_control()).take(160).collect()
    }
}

/// The build folder.
pub fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The commit that is checked out, "+" behind it where the tree differs; empty without git.
pub fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let answer = Command::new("git").args(args).current_dir(root).output().ok().filter(|o| o.status.success());
        answer.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
    };
    let is_changed = !git(&["status", "--porcelain", "--", "src", "capi", "tests", "fuzz", "ffi-tests"]).is_empty();
    git(&["rev-parse", "HEAD"]) + if is_changed { "+" } else { "" }
}

/// A program, run in the root.
pub fn command(program: &Path, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// Cargo itself.
pub fn cargo(root: &Path) -> Command {
    command(Path::new(&std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())), root)
}

/// Whether a program can be started.
pub fn is_there(program: &str, args: &[&str]) -> bool {
    let tried =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Both outputs of a program that succeeds.
pub fn output(command: &mut Command) -> Result<String, String> {
    let answer = command.output().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned() + &String::from_utf8_lossy(&answer.stderr);
    if answer.status.success() {
        Ok(text)
    } else {
        Err(format!("{}: {}\n{text}", command.get_program().display(), answer.status))
    }
}

/// The test binaries that `cargo test --no-run` names, by file name; `lib` for the unit tests of the package.
pub fn executables(root: &Path, said: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for line in said.lines().filter_map(|line| line.trim_start().strip_prefix("Executable ")) {
        let Some((what, path)) = line.split_once(" (") else { continue };
        let file = what.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        found.insert(file.to_owned(), root.join(path.trim_end_matches(')')));
    }
    found
}

/// Runs a program for at most `limit`, its outputs in `log`. It gets a process group of its own, which is ended with it.
pub fn limited(command: &mut Command, limit: Duration, log: &Path) -> Result<Ended, String> {
    let fault = |e: std::io::Error| format!("{}: {e}", log.display());
    let file = File::create(log).map_err(fault)?;
    let copy = file.try_clone().map_err(fault)?;
    let began = Instant::now();
    let mut child = command
        .process_group(0)
        .stdout(file)
        .stderr(copy)
        .spawn()
        .map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let mut is_late = false;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(fault)? {
            break status;
        }
        if began.elapsed() > limit {
            is_late = true;
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = child.kill();
            break child.wait().map_err(fault)?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = String::from_utf8_lossy(&std::fs::read(log).map_err(fault)?).into_owned();
    let is_success = status.success() && !is_late;
    let text = if is_success || is_late { text } else { format!("{text}\nended by {status}\n") };
    Ok(Ended { is_success, is_late, seconds: began.elapsed().as_secs_f64(), text })
}

/// A text as JSON writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(script: &str, seconds: u64) -> Ended {
        let log = std::env::temp_dir().join(format!("xtask-run-{}-{seconds}-{}", std::process::id(), script.len()));
        let mut command = command(Path::new("sh"), Path::new("/"));
        let ended = limited(command.args(["-c", script]), Duration::from_secs(seconds), &log).expect("sh runs");
        let _ = std::fs::remove_file(log);
        ended
    }

    #[test]
    fn success_failure_and_a_hang_are_told_apart() {
        assert!(ran("echo fine", 10).is_success);
        let failed = ran("echo 'thread x panicked at a.rs:1:2:'; echo lost; exit 3", 10);
        assert!(!failed.is_success && !failed.is_late);
        assert_eq!(failed.why(), "a.rs:1:2 lost");
        let late = ran("sleep 30", 1);
        assert!(late.is_late && !late.is_success && late.seconds < 20.0);
        assert!(ran("kill -SEGV $$", 10).why().contains("signal"));
    }

    #[test]
    fn executables_are_found_by_name() {
        let said = "  Executable unittests src/lib.rs (target/debug/deps/lsm_engine-12)\n  Executable tests/model.rs (target/x/model-9)\n";
        let found = executables(Path::new("/r"), said);
        assert_eq!(found["lib"], Path::new("/r/target/debug/deps/lsm_engine-12"));
        assert_eq!(found["model"], Path::new("/r/target/x/model-9"));
    }

    #[test]
    fn quoting_is_json() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c \"");
    }
}
