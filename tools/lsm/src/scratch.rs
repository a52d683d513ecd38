//! Files that must not outlive the tool: temporary folders and half-written exports. They go when their owner ends, and
//! also when a signal ends the program.
//!
//! With the first of them SIGINT, SIGTERM and SIGHUP are blocked, here and in every thread that starts later, and one
//! thread waits for them: it may remove folders, which a signal handler must not. Then the signal does what it does.
//!
//! Threads: any. Failure: removing is best effort, the names say what the files are.

use crate::exit::{Failure, Outcome};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

/// What is to be removed when a signal comes.
static DOOMED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// Signals that end a program and that a terminal or a supervisor sends.
const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// A file or folder that is removed, with all that is in it, unless it is kept.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new temporary folder, for this user only.
    pub fn folder() -> Outcome<Scratch> {
        let template = std::env::temp_dir().join("lsm-XXXXXX");
        let mut bytes = template.as_os_str().as_bytes().to_vec();
        bytes.push(0);
        // SAFETY: a writable text that ends in NUL and in six X before it (no NUL comes out of the environment).
        let made = unsafe { libc::mkdtemp(bytes.as_mut_ptr().cast()) };
        if made.is_null() {
            return Err(Failure::system(template.display(), &io::Error::last_os_error()));
        }
        bytes.pop();
        Ok(Scratch::of(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))))
    }

    /// The file or folder that was just made at `path`.
    pub fn of(path: PathBuf) -> Scratch {
        doomed().push(path.clone());
        watch();
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Renames it to `path`, where it stays.
    pub fn keep_as(self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.0, path)?;
        // From here on its old name is no longer ours to remove.
        let mut kept = std::mem::ManuallyDrop::new(self);
        forget(&std::mem::take(&mut kept.0));
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        forget(&self.0);
        remove(&self.0);
    }
}

fn forget(path: &Path) {
    doomed().retain(|one| one != path);
}

fn doomed() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    DOOMED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(path: &Path) {
    let is_folder = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let _ = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

/// Starts the thread, once. Where that fails, signals end the tool as ever and leave its files.
fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let set = wanted();
        // SAFETY: a set of signals, and no old one is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if std::thread::Builder::new().name("signals".into()).spawn(wait).is_err() {
            // SAFETY: as above.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
        }
    });
}

/// Those of `SIGNALS` that would end the tool: under `nohup` a hang-up is ignored, and stays so.
fn wanted() -> libc::sigset_t {
    // SAFETY: plain structs, filled by the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in SIGNALS {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_DFL {
                libc::sigaddset(&mut set, signal);
            }
        }
        set
    }
}

fn wait() {
    let set = wanted();
    let mut signal = 0;
    // SAFETY: a set and a writable number.
    if unsafe { libc::sigwait(&set, &mut signal) } != 0 {
        return;
    }
    // Held until the end: nothing new is made. Other threads may still write into a folder, so it is tried again.
    let doomed = doomed();
    for _ in 0..100 {
        doomed.iter().for_each(|path| remove(path));
        if doomed.iter().all(|path| std::fs::symlink_metadata(path).is_err()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: the signal was blocked with its default action, which now ends the process.
    unsafe {
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal);
    }
}
