//! What the tests share: the built binary, the library it is to use, folders that go away, foreign libraries.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod foreign;

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The library: `LSM_LIBRARY`, else what `make lib` built.
pub fn library() -> PathBuf {
    if let Some(path) = std::env::var_os("LSM_LIBRARY") {
        return PathBuf::from(path);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join("liblsm.so"));
    built.into_iter().find(|path| path.exists()).expect("no liblsm.so: run `make lib` first, or set LSM_LIBRARY")
}

/// What a run of the tool gave.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        use std::os::unix::process::ExitStatusExt as _;
        let code = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        Ran { code, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    /// Checks the exit status.
    #[track_caller]
    pub fn exit(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }

    /// Success.
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exit(0)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.text(), self.stderr))
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.text().lines().map(line).collect()
    }

    /// The error object of `--json`.
    #[track_caller]
    pub fn error(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {}", self.stderr))["error"].clone()
    }
}

/// A command of the tool; no colours or widths of the terminal that runs the tests.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsm"));
    command.args(args).env("LSM_LIBRARY", library()).stdin(Stdio::null());
    command
}

/// Runs the tool.
pub fn lsm<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    Ran::of(command(args).output().unwrap())
}

/// Runs the tool with this standard input.
pub fn lsm_with<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
    let mut child = start(args);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The tool may stop reading: that is for the test to see, not to fail here.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let ran = Ran::of(child.wait_with_output().unwrap());
    feeder.join().unwrap();
    ran
}

/// Starts the tool with pipes.
pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Child {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// `lsm!["get", &db, "key"]`: strings and paths alike.
#[macro_export]
macro_rules! lsm {
    ($($arg:expr),* $(,)?) => { $crate::common::lsm([$(std::ffi::OsString::from($arg)),*]) };
}

/// A folder, and a place in it for a database.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("db");
    (dir, db)
}

/// A database with `count` keys `key000000` and so on, whose values are their numbers ten times, in several tables.
pub fn filled(db: &Path, count: usize) {
    let lines: String = (0..count)
        .map(|i| format!("{{\"key\":\"key{i:06}\",\"value\":\"{}\"}}\n", format!("{i} ").repeat(10)))
        .collect();
    let args: [&OsStr; 6] = [
        "load".as_ref(),
        db.as_ref(),
        "-o".as_ref(),
        "compression=none".as_ref(),
        "-o".as_ref(),
        "memtable.size=64KiB".as_ref(),
    ];
    lsm_with(args, lines.as_bytes()).ok();
}

/// Kills a child, whatever it is doing.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A process that has the database open for writing and waits: a load whose input does not end. `lines` were loaded.
pub fn writer(db: &Path, lines: &str) -> Child {
    let mut child = start(["load".as_ref(), db.as_os_str()]);
    child.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    child.stdin.as_mut().unwrap().flush().unwrap();
    // Asking with a reader would hold the very lock that the writer needs. It has that once it keeps a log file open.
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    for _ in 0..1000 {
        let open = std::fs::read_dir(&fds).into_iter().flatten().flatten();
        if open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path.ends_with("db/LOG")) {
            return child;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    kill(child);
    panic!("the writer did not open the database");
}

/// The value beside `name` in a table of names and values.
pub fn row<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

/// Every file of a folder with its bytes.
pub fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap())
    };
    std::fs::read_dir(dir).unwrap().map(entry).collect()
}

/// The files of a folder with this ending, sorted.
pub fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let names = contents(dir).into_keys().filter(|name| name.ends_with(ending));
    names.map(|name| dir.join(name)).collect()
}

/// Changes one byte of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

/// Says that a test was skipped, or fails where nothing may be.
pub fn skip(what: &str) {
    assert!(std::env::var("REQUIRE").as_deref() != Ok("1"), "{what} is required");
    eprintln!("skipped: {what} not found");
}
