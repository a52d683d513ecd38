//! The library, by `dlopen`, behind calls that cannot be misused: every verb that touches a live database goes through
//! here, so what a verb can do any program can do with `lsm.h`.
//!
//! The library is looked for once, by `Library::find`: what `--library` or `LSM_LIBRARY` says, else beside the
//! executable (`.`, `../lib`), else where the loader looks. One of another binary interface is refused.
//!
//! Threads: `Db` and `Keyspace` may be used by any number at once, an `Iter` by one. Failure: a `Failure` with the
//! library's code name and text.

mod api;
mod scan;

pub use scan::{Bounds, unpack};

use crate::exit::{Exit, Failure, Outcome};
use crate::{dl, text};
use api::{Api, P};
use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

/// Most bytes of key and value in one packed write, unless a single entry is larger.
pub const PACKED_BYTES: usize = 1 << 20;

/// The loaded library.
pub struct Library {
    api: Api,
    name: String,
}

/// How a database is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `mode = ro`: writes not a byte, shares the folder with other readers.
    Read,
    /// For writing; it must be there.
    Write,
    /// For writing; made if it is not there.
    Create,
}

/// `key=value` options of the command line.
pub type Settings = [(String, String)];

fn c_text(what: &str, bytes: &[u8]) -> Outcome<CString> {
    CString::new(bytes).map_err(|_| Failure::usage(format!("{what} {}: holds a NUL byte", text::escape(bytes))))
}

/// Where the library may be: (name for dlopen, whether a failure to open it ends the search).
fn candidates(asked: Option<&OsStr>) -> Vec<(OsString, bool)> {
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        return vec![(asked.to_owned(), true)];
    }
    let mut found = Vec::new();
    let folder = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok()?.parent().map(Path::to_owned));
    if let Some(folder) = folder {
        let triplet = format!("../lib/{}-linux-gnu", std::env::consts::ARCH);
        for place in [".", "../lib", &triplet, "../lib64"] {
            let path: PathBuf = folder.join(place).join("liblsm.so.1");
            if path.exists() {
                found.push((path.into_os_string(), false));
            }
        }
    }
    found.push((OsString::from("liblsm.so.1"), false));
    found
}

impl Library {
    /// Loads it and checks that it is one this tool can talk to.
    pub fn find(asked: Option<&OsStr>) -> Outcome<Library> {
        let mut errors = Vec::new();
        for (name, is_last) in candidates(asked) {
            match dl::Library::open(&name) {
                Ok(library) => return Library::check(&library),
                Err(error) if is_last => return Err(Failure::new(Exit::Unsupported, error)),
                Err(error) => errors.push(error),
            }
        }
        let hint = "install liblsm, or say where it is: --library /path/liblsm.so, or LSM_LIBRARY";
        Err(Failure::new(Exit::Unsupported, format!("no liblsm: {}", errors.join("; "))).hint(hint))
    }

    fn check(library: &dl::Library) -> Outcome<Library> {
        let refuse = |what: String| Failure::new(Exit::Unsupported, what);
        // The one function that stays the same in every interface tells whether the others can be trusted.
        let address = library.need("lsm_abi_version").map_err(refuse)?;
        // SAFETY: `uint32_t lsm_abi_version(void)`, in every version.
        let abi_version = unsafe { std::mem::transmute::<P, unsafe extern "C" fn() -> u32>(address) };
        // SAFETY: no arguments.
        let abi = unsafe { abi_version() };
        if abi != api::ABI_VERSION {
            let text = format!("{} has binary interface {abi}, this tool needs {}", library.name(), api::ABI_VERSION);
            return Err(refuse(text));
        }
        let api = Api::load(library).map_err(refuse)?;
        Ok(Library { api, name: library.name().to_string() })
    }

    /// Its version.
    pub fn version(&self) -> String {
        // SAFETY: a static text.
        unsafe { CStr::from_ptr((self.api.version)()) }.to_string_lossy().into_owned()
    }

    /// A negative code as a failure; frees the error.
    fn failure(&self, code: i32, error: P) -> Failure {
        // SAFETY: a static text; the error is NULL or came with this code and is freed once.
        let (name, message) = unsafe {
            let name = CStr::from_ptr((self.api.code_name)(code)).to_string_lossy().into_owned();
            let message = CStr::from_ptr((self.api.error_message)(error)).to_string_lossy().into_owned();
            (self.api.error_free)(error);
            (name, message)
        };
        let exit = match code {
            api::NOT_FOUND => Exit::Absent,
            api::E_INVALID => Exit::Usage,
            api::E_CORRUPTION => Exit::Damaged,
            api::E_LOCKED => Exit::Locked,
            api::E_UNSUPPORTED | api::E_VERSION => Exit::Unsupported,
            api::E_PANIC => Exit::Internal,
            _ => Exit::System,
        };
        let message = if message.is_empty() { name.clone() } else { message };
        Failure::new(exit, message).code(&name)
    }

    fn check_code(&self, code: i32, error: P) -> Outcome<i32> {
        if code >= 0 { Ok(code) } else { Err(self.failure(code, error)) }
    }

    /// Takes a text of the library and frees it.
    fn take_text(&self, text: *mut c_char) -> String {
        if text.is_null() {
            return String::new();
        }
        // SAFETY: a text that the library handed out, freed once.
        unsafe {
            let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
            (self.api.free)(text.cast());
            owned
        }
    }

    /// The table of options, as JSON.
    pub fn describe_options(&self) -> Outcome<String> {
        let mut text = null_mut();
        // SAFETY: a writable pointer.
        let code = unsafe { (self.api.options_describe)(&mut text) };
        self.check_code(code, null_mut())?;
        Ok(self.take_text(text))
    }

    /// `lsm_repair`: the report as JSON.
    pub fn repair(&self, path: &Path, settings: &Settings) -> Outcome<String> {
        let Some(repair) = self.api.repair else { return Err(self.lacks("lsm_repair")) };
        let path = c_text("folder", path.as_os_str().as_bytes())?;
        let options = Options::new(self, settings)?;
        let (mut report, mut error) = (null_mut(), null_mut());
        // SAFETY: live texts and options, writable outputs.
        let code = unsafe { repair(path.as_ptr(), options.handle, &mut report, &mut error) };
        self.check_code(code, error)?;
        Ok(self.take_text(report))
    }

    fn lacks(&self, function: &str) -> Failure {
        let text = format!("this library has no {function} ({}, version {})", self.name, self.version());
        Failure::new(Exit::Unsupported, text)
    }
}

/// A bag of options, freed when dropped.
struct Options<'l> {
    library: &'l Library,
    handle: P,
}

impl<'l> Options<'l> {
    fn new(library: &'l Library, settings: &Settings) -> Outcome<Options<'l>> {
        // SAFETY: no arguments.
        let handle = unsafe { (library.api.options_new)() };
        let options = Options { library, handle };
        for (key, value) in settings {
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&self, key: &str, value: &str) -> Outcome {
        let (key, value) = (c_text("option", key.as_bytes())?, c_text("option", value.as_bytes())?);
        let mut error = null_mut();
        // SAFETY: a live bag, texts that end in NUL.
        let code = unsafe { (self.library.api.options_set)(self.handle, key.as_ptr(), value.as_ptr(), &mut error) };
        self.library.check_code(code, error).map(drop)
    }
}

impl Drop for Options<'_> {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { (self.library.api.options_free)(self.handle) };
    }
}

/// An open database; closed when dropped, and with its answer by `close`.
pub struct Db<'l> {
    library: &'l Library,
    handle: P,
    path: PathBuf,
    can_create: bool,
}

// SAFETY: lsm_db may be used by any number of threads at once.
unsafe impl Sync for Db<'_> {}

impl<'l> Db<'l> {
    /// Opens the database in `path`.
    pub fn open(library: &'l Library, path: &Path, mode: Mode, settings: &Settings) -> Outcome<Db<'l>> {
        let options = Options::new(library, settings)?;
        match mode {
            Mode::Read => options.set("mode", "ro")?,
            Mode::Write => options.set("create_if_missing", "false")?,
            Mode::Create => options.set("create_if_missing", "true")?,
        }
        let c_path = c_text("folder", path.as_os_str().as_bytes())?;
        let (mut handle, mut error) = (null_mut(), null_mut());
        // SAFETY: live texts and options, writable outputs.
        let code = unsafe { (library.api.open)(c_path.as_ptr(), options.handle, &mut handle, &mut error) };
        library.check_code(code, error).map_err(|failure| explain(failure, path))?;
        Ok(Db { library, handle, path: path.to_owned(), can_create: mode == Mode::Create })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes it; an answer other than success means that not all could be made durable.
    pub fn close(mut self) -> Outcome {
        self.close_once()
    }

    fn close_once(&mut self) -> Outcome {
        let handle = std::mem::replace(&mut self.handle, null_mut());
        let mut error = null_mut();
        // SAFETY: open, or NULL.
        let code = unsafe { (self.library.api.close)(handle, &mut error) };
        self.library.check_code(code, error).map(drop)
    }

    /// The names of all keyspaces.
    pub fn keyspaces(&self) -> Outcome<Vec<String>> {
        let (mut list, mut error) = (null_mut(), null_mut());
        let api = &self.library.api;
        // SAFETY: an open database, writable outputs.
        let code = unsafe { (api.keyspace_list)(self.handle, &mut list, &mut error) };
        self.library.check_code(code, error)?;
        // SAFETY: a live list; its texts are copied before it is freed.
        Ok(unsafe {
            let names = (0..(api.list_len)(list)).map(|i| CStr::from_ptr((api.list_get)(list, i)));
            let names = names.map(|name| text::escape(name.to_bytes())).collect();
            (api.list_free)(list);
            names
        })
    }

    /// A keyspace by name, escaped as a key is; made if it is missing and the database was opened with `Mode::Create`.
    pub fn keyspace(&self, name: &str) -> Outcome<Keyspace<'_>> {
        let c_name = c_text("keyspace", &text::keyspace(name)?)?;
        let create = [("create_if_missing".to_string(), self.can_create.to_string())];
        let options = Options::new(self.library, &create)?;
        let (mut handle, mut error) = (null_mut(), null_mut());
        let api = &self.library.api;
        // SAFETY: an open database, live texts and options, writable outputs.
        let code =
            unsafe { (api.keyspace_open)(self.handle, c_name.as_ptr(), options.handle, &mut handle, &mut error) };
        if self.library.check_code(code, error)? == api::NOT_FOUND {
            let there = self.keyspaces()?.join(", ");
            let text = format!("{}: no keyspace {name}; there are: {there}", self.path.display());
            return Err(Failure::new(Exit::Absent, text).code("LSM_NOT_FOUND"));
        }
        Ok(Keyspace { db: self, handle })
    }

    /// Writes the memory of all keyspaces to tables.
    pub fn flush(&self) -> Outcome {
        let mut error = null_mut();
        // SAFETY: an open database; NULL means all keyspaces.
        let code = unsafe { (self.library.api.flush)(self.handle, null_mut(), &mut error) };
        self.library.check_code(code, error).map(drop)
    }

    /// The last committed and the last durable sequence number.
    pub fn sequence(&self) -> Outcome<(u64, u64)> {
        let (mut committed, mut durable) = (0, 0);
        // SAFETY: an open database, writable outputs.
        let code = unsafe { (self.library.api.sequence)(self.handle, &mut committed, &mut durable) };
        self.library.check_code(code, null_mut())?;
        Ok((committed, durable))
    }

    /// A property of the whole database, if there is one of that name.
    pub fn property(&self, keyspace: Option<&Keyspace<'_>>, name: &str) -> Outcome<Option<String>> {
        let c_name = c_text("property", name.as_bytes())?;
        let (mut value, mut error) = (null_mut(), null_mut());
        let keyspace = keyspace.map_or(null_mut(), |k| k.handle);
        // SAFETY: an open database, a keyspace of it or NULL, a live text, writable outputs.
        let code =
            unsafe { (self.library.api.property)(self.handle, keyspace, c_name.as_ptr(), &mut value, &mut error) };
        let code = self.library.check_code(code, error)?;
        Ok((code == api::OK).then(|| self.library.take_text(value)))
    }

    /// All metrics, as JSON or as Prometheus text.
    pub fn metrics(&self, is_json: bool) -> Outcome<String> {
        let format = if is_json { api::METRICS_JSON } else { api::METRICS_PROMETHEUS };
        let (mut text, mut error) = (null_mut(), null_mut());
        // SAFETY: an open database, writable outputs.
        let code = unsafe { (self.library.api.metrics)(self.handle, format, &mut text, &mut error) };
        self.library.check_code(code, error)?;
        Ok(self.library.take_text(text))
    }

    /// `lsm_verify`: the report as JSON, and the failure that comes with it when there is damage.
    pub fn verify(&self) -> Outcome<(String, Option<Failure>)> {
        let Some(verify) = self.library.api.verify else { return Err(self.library.lacks("lsm_verify")) };
        let (mut report, mut error) = (null_mut(), null_mut());
        // SAFETY: an open database, writable outputs.
        let code = unsafe { verify(self.handle, &mut report, &mut error) };
        let failure = (code < 0).then(|| self.library.failure(code, error));
        let report = self.library.take_text(report);
        match failure {
            Some(failure) if report.is_empty() => Err(failure),
            failure => Ok((report, failure)),
        }
    }
}

impl Drop for Db<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // Whoever needs the answer calls `close`; here another failure is on its way out.
            let _ = self.close_once();
        }
    }
}

/// What an open that failed means for whoever typed the command.
fn explain(failure: Failure, path: &Path) -> Failure {
    let folder = path.display().to_string();
    let failure = if failure.message.contains(&folder) { failure } else { failure.within(folder) };
    match failure.exit {
        Exit::Locked => failure.hint(
            "another process has it open; a database that is open for writing is for its process alone. `lsm dump` and \
             `lsm find` look at its files all the same",
        ),
        Exit::Damaged => failure.hint("`lsm repair` mends what can be mended; copy the folder first"),
        _ => failure,
    }
}

/// A keyspace of an open database.
pub struct Keyspace<'d> {
    db: &'d Db<'d>,
    handle: P,
}

// SAFETY: lsm_keyspace may be used by any number of threads at once.
unsafe impl Sync for Keyspace<'_> {}

fn write_options(is_synced: bool) -> api::WriteOptions {
    let durability = if is_synced { api::DURABILITY_FSYNC } else { api::DURABILITY_DEFAULT };
    let size = size_of::<api::WriteOptions>() as u32;
    api::WriteOptions { size, flags: 0, durability, io_class: 0, deadline_micros: 0, ttl_micros: 0 }
}

impl<'d> Keyspace<'d> {
    fn library(&self) -> &'d Library {
        self.db.library
    }

    /// Puts one key.
    pub fn put(&self, key: &[u8], value: &[u8], is_synced: bool) -> Outcome {
        let (options, mut error) = (write_options(is_synced), null_mut());
        let (k, k_len, v, v_len) = (key.as_ptr(), key.len(), value.as_ptr(), value.len());
        // SAFETY: a live keyspace, readable bytes.
        let code = unsafe { (self.library().api.put)(self.handle, &options, k, k_len, v, v_len, &mut error) };
        self.library().check_code(code, error).map(drop)
    }

    /// Deletes one key.
    pub fn delete(&self, key: &[u8], is_synced: bool) -> Outcome {
        let (options, mut error) = (write_options(is_synced), null_mut());
        // SAFETY: a live keyspace, readable bytes.
        let code = unsafe { (self.library().api.delete)(self.handle, &options, key.as_ptr(), key.len(), &mut error) };
        self.library().check_code(code, error).map(drop)
    }

    /// Writes packed entries as one batch.
    pub fn write_packed(&self, packed: &[u8], is_synced: bool) -> Outcome {
        let (options, mut error) = (write_options(is_synced), null_mut());
        // SAFETY: a live keyspace, readable bytes; no sequence number is asked for.
        let code = unsafe {
            let write = self.library().api.write_packed;
            write(self.handle, &options, packed.as_ptr(), packed.len(), null_mut(), &mut error)
        };
        self.library().check_code(code, error).map(drop)
    }

    /// Reads a value; `None` if there is none.
    pub fn get(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let api = &self.library().api;
        let (mut value, mut data, mut len, mut error) = (null_mut(), null(), 0, null_mut());
        // SAFETY: a live keyspace, readable bytes, writable outputs.
        let code = unsafe {
            (api.get_pinned)(self.handle, null(), key.as_ptr(), key.len(), &mut value, &mut data, &mut len, &mut error)
        };
        if self.library().check_code(code, error)? == api::NOT_FOUND {
            return Ok(None);
        }
        // SAFETY: the value's bytes, copied before it is released.
        Ok(Some(unsafe {
            let copy = if len == 0 { Vec::new() } else { std::slice::from_raw_parts(data, len).to_vec() };
            (api.value_release)(value);
            copy
        }))
    }

    /// Reads a value into `buffer` and says its whole length; `None` if there is none. For measuring.
    pub fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Outcome<Option<usize>> {
        let (mut len, mut error) = (0, null_mut());
        // SAFETY: a live keyspace, readable and writable bytes.
        let code = unsafe {
            let (at, room) = (buffer.as_mut_ptr(), buffer.len());
            (self.library().api.get)(self.handle, null(), key.as_ptr(), key.len(), at, room, &mut len, &mut error)
        };
        Ok((self.library().check_code(code, error)? != api::NOT_FOUND).then_some(len))
    }

    /// Compacts the keys from `from` to before `to`; `None` is unbounded.
    pub fn compact(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Outcome {
        let parts = |key: Option<&[u8]>| key.map_or((null(), 0), |key| (key.as_ptr(), key.len()));
        let ((from, from_len), (to, to_len), mut error) = (parts(from), parts(to), null_mut());
        // SAFETY: a live keyspace, readable bytes.
        let code = unsafe { (self.library().api.compact)(self.handle, from, from_len, to, to_len, &mut error) };
        self.library().check_code(code, error).map(drop)
    }
}

impl Drop for Keyspace<'_> {
    fn drop(&mut self) {
        // SAFETY: opened once, released once.
        unsafe { (self.library().api.keyspace_release)(self.handle) };
    }
}

/// Appends an entry to a packed batch.
pub fn pack(packed: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Lengths over 32 bits are over the library's limits; it refuses them by the sum that then does not fit.
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1).to_le_bytes();
    packed.extend_from_slice(&len(key));
    packed.extend_from_slice(&len(value));
    packed.extend_from_slice(key);
    packed.extend_from_slice(value);
}
