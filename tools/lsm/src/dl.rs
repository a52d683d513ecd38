//! Shared libraries at run time, and a macro that makes a table of C functions.
//!
//! Threads: any. Failure: a text that names the library or the symbol. Libraries are never unloaded.

use std::ffi::{CStr, CString, OsStr, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// An open shared library.
pub struct Library {
    handle: *mut c_void,
    name: String,
}

impl Library {
    /// Opens a path, or a name that the loader looks for; all symbols bound, none of them visible to other libraries.
    pub fn open(name: &OsStr) -> Result<Library, String> {
        let shown = name.to_string_lossy().into_owned();
        let text = CString::new(name.as_bytes()).map_err(|_| format!("{shown}: a NUL in a path"))?;
        // SAFETY: `text` ends in NUL.
        let handle = unsafe { libc::dlopen(text.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() { Err(last_error()) } else { Ok(Library { handle, name: shown }) }
    }

    /// What it was opened by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of a symbol, if the library has it.
    pub fn find(&self, symbol: &str) -> Option<*mut c_void> {
        let text = CString::new(symbol).ok()?;
        // SAFETY: the handle is open, `text` ends in NUL.
        let address = unsafe { libc::dlsym(self.handle, text.as_ptr()) };
        (!address.is_null()).then_some(address)
    }

    /// The address of a symbol, or which one is missing.
    pub fn need(&self, symbol: &str) -> Result<*mut c_void, String> {
        self.find(symbol).ok_or_else(|| format!("{} has no {symbol}", self.name))
    }
}

fn last_error() -> String {
    // SAFETY: dlerror gives NULL or a text that lives until the next call of this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() { "dlopen failed".to_string() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}

/// Folders where libraries are installed, in the order in which they are searched.
pub fn library_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .filter(|p| p.is_absolute())
        .collect();
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    for prefix in ["/usr/local/lib", "/usr/lib", "/lib"] {
        folders.push(Path::new(prefix).join(&triplet));
        folders.push(PathBuf::from(prefix));
    }
    folders.push(PathBuf::from("/usr/lib64"));
    folders
}

/// Files called `stem` or `stem.VERSION` in the library folders: those of the first folder that has any, the plain name
/// first, then the newest version.
pub fn installed(stem: &str) -> Vec<PathBuf> {
    for folder in library_folders() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut found: Vec<(Vec<u64>, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(stem) else { continue };
            let version: Vec<u64> = match rest.strip_prefix('.') {
                None if rest.is_empty() => vec![u64::MAX],
                // Debian has libleveldb.so.1d: digits count, what follows them does not.
                Some(version) => version
                    .split('.')
                    .map(|part| part.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse().unwrap_or(0))
                    .collect(),
                None => continue,
            };
            found.push((version, entry.path()));
        }
        if !found.is_empty() {
            found.sort_by(|a, b| b.cmp(a));
            return found.into_iter().map(|(_, path)| path).collect();
        }
    }
    Vec::new()
}

/// `api! { Name { field = "symbol": fn(types) -> type; } optional { ... } }`: a struct of C functions, `Name::load`, and
/// the list of what was declared, which a test compares with the header.
#[macro_export]
macro_rules! api {
    (
        $name:ident { $( $field:ident = $symbol:literal : fn($($arg:ty),*) $(-> $ret:ty)? ; )* }
        optional { $( $ofield:ident = $osymbol:literal : fn($($oarg:ty),*) $(-> $oret:ty)? ; )* }
    ) => {
        /// Functions of a C library.
        pub struct $name {
            $( #[doc = $symbol] pub $field: unsafe extern "C" fn($($arg),*) $(-> $ret)?, )*
            $( #[doc = $osymbol] pub $ofield: Option<unsafe extern "C" fn($($oarg),*) $(-> $oret)?>, )*
        }
        impl $name {
            /// Every function, as (symbol, arguments, result, may be missing).
            #[cfg(test)]
            pub const DECLARED: &[(&str, &[&str], &str, bool)] = &[
                $( ($symbol, &[$(stringify!($arg)),*], concat!("", $(stringify!($ret))?), false), )*
                $( ($osymbol, &[$(stringify!($oarg)),*], concat!("", $(stringify!($oret))?), true), )*
            ];
            /// Looks every function up; names the first that must be there and is not.
            pub fn load(library: &$crate::dl::Library) -> Result<$name, String> {
                Ok($name {
                    $( $field: {
                        let address = library.need($symbol)?;
                        // SAFETY: the symbol is a function of this type, as the library's header says.
                        unsafe {
                            std::mem::transmute::<
                                *mut std::ffi::c_void, unsafe extern "C" fn($($arg),*) $(-> $ret)?
                            >(address)
                        }
                    }, )*
                    $( $ofield: library.find($osymbol).map(|address| {
                        // SAFETY: as above.
                        unsafe {
                            std::mem::transmute::<
                                *mut std::ffi::c_void, unsafe extern "C" fn($($oarg),*) $(-> $oret)?
                            >(address)
                        }
                    }), )*
                })
            }
        }
    };
}
