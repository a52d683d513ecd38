//! LevelDB and RocksDB through their C libraries: just enough to make databases that `import` reads.

use std::ffi::{CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

type P = *mut c_void;

/// A library of C functions with names that begin with `prefix`.
pub struct Engine {
    handle: P,
    prefix: &'static str,
    pub path: PathBuf,
}

/// The library called `stem` in the folders where libraries are, or among the peers of lsm-bench.
fn find(stem: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let peers = std::env::var_os("PEERS_DIR").map_or_else(|| root.join("target/peers"), PathBuf::from);
    let arch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    for folder in
        [Path::new(&arch), Path::new("/usr/lib"), Path::new("/usr/lib64"), Path::new("/usr/local/lib"), &peers]
    {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(stem));
        found.sort();
        if let Some(path) = found.into_iter().next() {
            return Some(path);
        }
    }
    None
}

impl Engine {
    /// LevelDB, where it is installed.
    pub fn leveldb() -> Option<Engine> {
        Engine::open("libleveldb.so", "leveldb_")
    }

    /// RocksDB, where it is installed.
    pub fn rocksdb() -> Option<Engine> {
        Engine::open("librocksdb.so", "rocksdb_")
    }

    fn open(stem: &str, prefix: &'static str) -> Option<Engine> {
        let path = find(stem)?;
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{} cannot be loaded", path.display());
        Some(Engine { handle, prefix, path })
    }

    fn symbol(&self, name: &str) -> P {
        let name = CString::new(format!("{}{name}", self.prefix)).unwrap();
        let address = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        assert!(!address.is_null(), "{name:?}");
        address
    }

    fn make(&self, name: &str) -> P {
        unsafe { std::mem::transmute::<P, extern "C" fn() -> P>(self.symbol(name))() }
    }

    fn set(&self, name: &str, object: P, value: u8) {
        unsafe { std::mem::transmute::<P, extern "C" fn(P, u8)>(self.symbol(name))(object, value) }
    }

    fn set_size(&self, name: &str, object: P, value: usize) {
        unsafe { std::mem::transmute::<P, extern "C" fn(P, usize)>(self.symbol(name))(object, value) }
    }

    /// A new database in `dir`, with a small write buffer so that tables are written.
    pub fn create(&self, dir: &Path) -> Database<'_> {
        let options = self.make("options_create");
        self.set("options_set_create_if_missing", options, 1);
        self.set_size("options_set_write_buffer_size", options, 64 << 10);
        let path = CString::new(dir.as_os_str().as_bytes()).unwrap();
        let mut error: *mut c_char = null_mut();
        type Open = extern "C" fn(P, *const c_char, *mut *mut c_char) -> P;
        let open = unsafe { std::mem::transmute::<P, Open>(self.symbol("open")) };
        let db = open(options, path.as_ptr(), &mut error);
        assert!(error.is_null() && !db.is_null());
        Database { engine: self, db, options, write: self.make("writeoptions_create") }
    }
}

/// An open database of another engine.
pub struct Database<'e> {
    engine: &'e Engine,
    db: P,
    options: P,
    write: P,
}

impl Database<'_> {
    /// Puts a key.
    pub fn put(&self, key: &[u8], value: &[u8]) {
        type Put = extern "C" fn(P, P, *const u8, usize, *const u8, usize, *mut *mut c_char);
        let put = unsafe { std::mem::transmute::<P, Put>(self.engine.symbol("put")) };
        let mut error = null_mut();
        put(self.db, self.write, key.as_ptr(), key.len(), value.as_ptr(), value.len(), &mut error);
        assert!(error.is_null());
    }

    /// Deletes a key.
    pub fn delete(&self, key: &[u8]) {
        type Delete = extern "C" fn(P, P, *const u8, usize, *mut *mut c_char);
        let delete = unsafe { std::mem::transmute::<P, Delete>(self.engine.symbol("delete")) };
        let mut error = null_mut();
        delete(self.db, self.write, key.as_ptr(), key.len(), &mut error);
        assert!(error.is_null());
    }

    /// RocksDB: a new column family.
    pub fn family(&self, name: &str) -> P {
        type Create = extern "C" fn(P, P, *const c_char, *mut *mut c_char) -> P;
        let create = unsafe { std::mem::transmute::<P, Create>(self.engine.symbol("create_column_family")) };
        let (name, mut error) = (CString::new(name).unwrap(), null_mut());
        let family = create(self.db, self.options, name.as_ptr(), &mut error);
        assert!(error.is_null());
        family
    }

    /// RocksDB: puts a key into a column family.
    pub fn put_in(&self, family: P, key: &[u8], value: &[u8]) {
        type Put = extern "C" fn(P, P, P, *const u8, usize, *const u8, usize, *mut *mut c_char);
        let put = unsafe { std::mem::transmute::<P, Put>(self.engine.symbol("put_cf")) };
        let mut error = null_mut();
        put(self.db, self.write, family, key.as_ptr(), key.len(), value.as_ptr(), value.len(), &mut error);
        assert!(error.is_null());
    }

    /// RocksDB: gives a column family's handle back.
    pub fn release(&self, family: P) {
        unsafe {
            let destroy = self.engine.symbol("column_family_handle_destroy");
            std::mem::transmute::<P, extern "C" fn(P)>(destroy)(family);
        }
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        unsafe { std::mem::transmute::<P, extern "C" fn(P)>(self.engine.symbol("close"))(self.db) };
    }
}
