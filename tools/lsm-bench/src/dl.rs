//! Shared libraries at run time: `dlopen`, `dlsym`, and a macro that makes a table of C functions.
//!
//! Threads: any. Failure: a text that names the library or symbol. Libraries are never unloaded.

use std::ffi::{CStr, CString, c_void};

/// An open shared library.
pub struct Library {
    handle: *mut c_void,
    path: String,
}

impl Library {
    /// Opens `path`, all symbols bound, none of them visible to other libraries.
    pub fn open(path: &str) -> Result<Library, String> {
        let name = CString::new(path).map_err(|_| format!("{path}: a NUL in a path"))?;
        // SAFETY: `name` ends in NUL.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(last_error());
        }
        Ok(Library { handle, path: path.to_string() })
    }

    /// The address of a symbol.
    pub fn symbol(&self, name: &str) -> Result<*mut c_void, String> {
        let text = CString::new(name).map_err(|_| format!("{name}: a NUL in a name"))?;
        // SAFETY: the handle is open, `text` ends in NUL.
        let address = unsafe { libc::dlsym(self.handle, text.as_ptr()) };
        if address.is_null() { Err(format!("{} has no {name}", self.path)) } else { Ok(address) }
    }
}

fn last_error() -> String {
    // SAFETY: dlerror gives NULL or a text that lives until the next call of this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() { "dlopen failed".to_string() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}

/// `api! { Name { field = "symbol": fn(types) -> type; } }`: a struct of C functions and `Name::load`.
#[macro_export]
macro_rules! api {
    ($name:ident { $( $field:ident = $symbol:literal : fn($($arg:ty),*) $(-> $ret:ty)? ; )* }) => {
        /// Functions of a C library.
        pub struct $name { $( $field: unsafe extern "C" fn($($arg),*) $(-> $ret)? ),* }
        impl $name {
            fn load(library: &$crate::dl::Library) -> Result<$name, String> {
                Ok($name { $(
                    $field: {
                        let address = library.symbol($symbol)?;
                        // SAFETY: the symbol is a function of this type, as the library's header says.
                        unsafe {
                            std::mem::transmute::<*mut std::ffi::c_void, unsafe extern "C" fn($($arg),*) $(-> $ret)?>(
                                address,
                            )
                        }
                    }
                ),* })
            }
        }
    };
}
