//! A folder in memory for the tests of this layer: knows what is durable, fails at a chosen call, and crashes.

use crate::base::sync::Mutex;
use crate::error::{Code, Error, Result};
use crate::fs::{File, Fs, FsKind, Lock, MappedLog, Metadata, OpenMode};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Default)]
struct Node {
    data: Vec<u8>,
    synced: Vec<u8>,
    /// A sync failed: the pages count as clean from now on, and no later sync writes them.
    is_lost: bool,
    is_dir: bool,
}

/// How the chosen call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Without an effect; a write stores half.
    Before,
    /// With its effect, which is then not known to be durable.
    After,
}

/// What a crash leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// Everything stored (the process dies).
    Process,
    /// What was synced, names too.
    Power,
    /// All names, of the bytes what was synced.
    PowerNamesFirst,
    /// Of the names, CURRENT as it is and the others as synced; of the bytes what was synced.
    PowerCurrentFirst,
}

#[derive(Default)]
struct Inner {
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    nodes: Vec<Node>,
    calls: usize,
    fail_at: Option<(usize, Failure)>,
}

/// The file system.
#[derive(Default)]
pub struct MemFs(Arc<Mutex<Inner>>);

struct MemFile {
    inner: Arc<Mutex<Inner>>,
    node: usize,
    path: PathBuf,
}

fn refused(path: &Path) -> Error {
    Error::os(libc::EIO, path.display())
}

impl Inner {
    /// Counts a call that changes something; says how it must fail.
    fn call(&mut self) -> Option<Failure> {
        self.calls += 1;
        self.fail_at.filter(|(n, _)| *n == self.calls).map(|(_, failure)| failure)
    }

    fn add(&mut self, path: &Path, node: Node) -> usize {
        self.nodes.push(node);
        self.names.insert(path.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }
}

impl MemFs {
    pub fn new(dir: &Path) -> Arc<MemFs> {
        let fs = MemFs::default();
        fs.put_dir(dir);
        Arc::new(fs)
    }

    pub fn put_dir(&self, path: &Path) {
        let mut inner = self.0.lock();
        let node = inner.add(path, Node { is_dir: true, ..Node::default() });
        inner.durable_names.insert(path.to_owned(), node);
    }

    /// Puts a durable file there.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut inner = self.0.lock();
        let node = Node { data: bytes.to_vec(), synced: bytes.to_vec(), ..Node::default() };
        let id = inner.add(path, node);
        inner.durable_names.insert(path.to_owned(), id);
    }

    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let inner = self.0.lock();
        inner.nodes[inner.names[path]].data.clone()
    }

    pub fn names(&self) -> Vec<String> {
        let inner = self.0.lock();
        inner.names.keys().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect()
    }

    pub fn delete(&self, path: &Path) {
        let mut inner = self.0.lock();
        inner.names.remove(path);
        inner.durable_names.remove(path);
    }

    pub fn calls(&self) -> usize {
        self.0.lock().calls
    }

    /// The `n`th changing call from now fails.
    pub fn fail_in(&self, n: usize, failure: Failure) {
        let mut inner = self.0.lock();
        inner.fail_at = Some((inner.calls + n, failure));
    }

    /// What a new process finds.
    pub fn crash(&self, crash: Crash) -> Arc<MemFs> {
        let inner = self.0.lock();
        let mut nodes = inner.nodes.clone();
        if crash == Crash::Process {
            // The page cache lives on, and what was not durable still is not.
            let (names, durable_names) = (inner.names.clone(), inner.durable_names.clone());
            return Arc::new(MemFs(Arc::new(Mutex::new(Inner { names, durable_names, nodes, ..Inner::default() }))));
        }
        nodes.iter_mut().for_each(|n| {
            n.data = n.synced.clone();
            n.is_lost = false;
        });
        let is_late = matches!(crash, Crash::Power | Crash::PowerCurrentFirst);
        let mut names = if is_late { &inner.durable_names } else { &inner.names }.clone();
        if crash == Crash::PowerCurrentFirst {
            names
                .extend(inner.names.iter().filter(|(path, _)| path.ends_with("CURRENT")).map(|(p, n)| (p.clone(), *n)));
        }
        let inner = Inner { durable_names: names.clone(), names, nodes, ..Inner::default() };
        Arc::new(MemFs(Arc::new(Mutex::new(inner))))
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut inner = self.0.lock();
        let node = if mode == OpenMode::CreateNew {
            let failure = inner.call();
            if failure == Some(Failure::Before) || inner.names.contains_key(path) {
                return Err(refused(path));
            }
            let node = inner.add(path, Node::default());
            if failure.is_some() {
                return Err(refused(path));
            }
            node
        } else {
            *inner.names.get(path).ok_or_else(|| Error::os(libc::ENOENT, path.display()))?
        };
        Ok(Arc::new(MemFile { inner: Arc::clone(&self.0), node, path: path.to_owned() }))
    }
    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        let inner = self.0.lock();
        Ok(inner.names.get(path).map(|&n| {
            let node = &inner.nodes[n];
            Metadata { is_dir: node.is_dir, is_file: !node.is_dir, len: node.data.len() as u64 }
        }))
    }
    fn list(&self, dir: &Path) -> Result<Vec<OsString>> {
        let inner = self.0.lock();
        let inside = inner.names.keys().filter(|p| p.parent() == Some(dir));
        Ok(inside.filter_map(|p| p.file_name()).map(OsString::from).collect())
    }
    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.put_dir(dir);
        Ok(())
    }
    fn remove_dir(&self, dir: &Path) -> Result<()> {
        self.delete(dir);
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut inner = self.0.lock();
        let failure = inner.call();
        if failure == Some(Failure::Before) {
            return Err(refused(from));
        }
        let node = inner.names.remove(from).ok_or_else(|| refused(from))?;
        inner.names.insert(to.to_owned(), node);
        if failure.is_some() { Err(refused(from)) } else { Ok(()) }
    }
    fn remove(&self, path: &Path) -> Result<()> {
        let mut inner = self.0.lock();
        let failure = inner.call();
        if failure == Some(Failure::Before) {
            return Err(refused(path));
        }
        let was = inner.names.remove(path);
        if failure.is_some() || was.is_none() { Err(refused(path)) } else { Ok(()) }
    }
    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let mut inner = self.0.lock();
        let failure = inner.call();
        if failure == Some(Failure::Before) {
            return Err(refused(dir));
        }
        inner.durable_names = inner.names.clone();
        if failure.is_some() { Err(refused(dir)) } else { Ok(()) }
    }
    fn lock(&self, path: &Path, _exclusive: bool) -> Result<Box<dyn Lock>> {
        Err(Error::new(Code::Unsupported, path.display().to_string()))
    }
    fn kind(&self, _dir: &Path) -> FsKind {
        FsKind::Other
    }
    fn free_bytes(&self, _dir: &Path) -> u64 {
        u64::MAX
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let inner = self.inner.lock();
        let data = inner.nodes[self.node].data.get(offset as usize..).unwrap_or_default();
        let len = data.len().min(buf.len());
        buf[..len].copy_from_slice(&data[..len]);
        Ok(len)
    }
    fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut inner = self.inner.lock();
        let failure = inner.call();
        let buf = if failure == Some(Failure::Before) { &buf[..buf.len() / 2] } else { buf };
        let data = &mut inner.nodes[self.node].data;
        let end = offset as usize + buf.len();
        data.resize(data.len().max(end), 0);
        data[offset as usize..end].copy_from_slice(buf);
        if failure.is_some() { Err(refused(&self.path)) } else { Ok(()) }
    }
    fn write_all_at_sync(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.write_all_at(buf, offset)?;
        self.sync_data()
    }
    fn sync_data(&self) -> Result<()> {
        let mut inner = self.inner.lock();
        let failure = inner.call();
        let node = &mut inner.nodes[self.node];
        node.is_lost |= failure == Some(Failure::Before);
        if !node.is_lost {
            node.synced = node.data.clone();
        }
        if failure.is_some() { Err(refused(&self.path)) } else { Ok(()) }
    }
    fn start_writeback(&self, _offset: u64, _len: u64) {}
    fn len(&self) -> Result<u64> {
        Ok(self.inner.lock().nodes[self.node].data.len() as u64)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.inner.lock().nodes[self.node].data.resize(len as usize, 0);
        Ok(())
    }
    fn allocate(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }
    fn prefetch(&self, _offset: u64, _len: u64) {}
    fn map_log(&self, _len: u64) -> Result<Box<dyn MappedLog>> {
        Err(Error::new(Code::Unsupported, "no mapping"))
    }
    fn path(&self) -> &Path {
        &self.path
    }
}
