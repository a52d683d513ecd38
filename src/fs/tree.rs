//! A tree of names in memory, shared by the in-memory file systems.
//!
//! A name is an entry `(folder, name) -> folder or file`, so that renaming a folder moves one entry, and a crash can keep
//! or lose each entry by itself.
//!
//! Invariants
//! - I1  Folder 0 is the root; a path's root and `.` components stand for nothing, `..` is not understood.
//! - I2  Folder numbers are never reused.
//!
//! Threads: none of its own. Failure: errnos, as the system calls give them; nothing changed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

/// The folder that is always there.
pub const ROOT: u64 = 0;

/// An entry's place: its folder and its name there.
pub type Key = (u64, OsString);

/// What an entry leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry<T> {
    /// A folder, by number.
    Dir(u64),
    /// A file.
    File(T),
}

/// The names.
#[derive(Clone, Debug)]
pub struct Tree<T> {
    entries: BTreeMap<Key, Entry<T>>,
    next_dir: u64,
}

impl<T: Clone> Tree<T> {
    /// Only the root.
    pub fn new() -> Tree<T> {
        Tree { entries: BTreeMap::new(), next_dir: ROOT + 1 }
    }

    /// The tree of `entries`, which lead to folders below `next_dir` only.
    pub fn from_entries(entries: BTreeMap<Key, Entry<T>>, next_dir: u64) -> Tree<T> {
        Tree { entries, next_dir }
    }

    /// All entries, also those in folders that no path leads to.
    pub fn entries(&self) -> &BTreeMap<Key, Entry<T>> {
        &self.entries
    }

    /// The number that the next folder gets.
    pub fn next_dir(&self) -> u64 {
        self.next_dir
    }

    /// The entry at a place.
    pub fn at(&self, key: &Key) -> Option<&Entry<T>> {
        self.entries.get(key)
    }

    /// The number of the folder at `path`.
    pub fn dir(&self, path: &Path) -> Result<u64, i32> {
        let mut dir = ROOT;
        for part in path.components() {
            let name = match part {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                _ => return Err(libc::EINVAL),
            };
            dir = match self.entries.get(&(dir, name.to_owned())) {
                Some(Entry::Dir(number)) => *number,
                Some(Entry::File(_)) => return Err(libc::ENOTDIR),
                None => return Err(libc::ENOENT),
            };
        }
        Ok(dir)
    }

    /// The place that `path` names; its folder must exist. The root has no place: EBUSY.
    pub fn place(&self, path: &Path) -> Result<Key, i32> {
        let name = match path.components().next_back() {
            Some(Component::Normal(name)) => name,
            Some(Component::ParentDir) => return Err(libc::EINVAL),
            _ => return Err(libc::EBUSY),
        };
        Ok((self.dir(path.parent().unwrap_or(Path::new("")))?, name.to_owned()))
    }

    /// What stands at `path`.
    pub fn find(&self, path: &Path) -> Result<Option<Entry<T>>, i32> {
        match self.place(path) {
            Ok(key) => Ok(self.entries.get(&key).cloned()),
            Err(libc::EBUSY) => Ok(Some(Entry::Dir(ROOT))),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The names in a folder.
    pub fn names(&self, dir: u64) -> impl Iterator<Item = &OsStr> {
        self.range(dir).map(|((_, name), _)| name.as_os_str())
    }

    fn range(&self, dir: u64) -> impl Iterator<Item = (&Key, &Entry<T>)> {
        self.entries.range((dir, OsString::new())..).take_while(move |((d, _), _)| *d == dir)
    }

    /// A new file.
    pub fn create(&mut self, path: &Path, file: T) -> Result<Key, i32> {
        let key = self.place(path)?;
        if self.entries.contains_key(&key) {
            return Err(libc::EEXIST);
        }
        self.entries.insert(key.clone(), Entry::File(file));
        Ok(key)
    }

    /// A new folder.
    pub fn create_dir(&mut self, path: &Path) -> Result<Key, i32> {
        let key = match self.place(path) {
            Ok(key) if !self.entries.contains_key(&key) => key,
            Ok(_) | Err(libc::EBUSY) => return Err(libc::EEXIST),
            Err(errno) => return Err(errno),
        };
        self.entries.insert(key.clone(), Entry::Dir(self.next_dir));
        self.next_dir += 1;
        Ok(key)
    }

    /// Takes an empty folder away.
    pub fn remove_dir(&mut self, path: &Path) -> Result<Key, i32> {
        let key = self.place(path)?;
        match self.entries.get(&key) {
            None => Err(libc::ENOENT),
            Some(Entry::File(_)) => Err(libc::ENOTDIR),
            Some(Entry::Dir(number)) if self.range(*number).next().is_some() => Err(libc::ENOTEMPTY),
            Some(Entry::Dir(_)) => {
                self.entries.remove(&key);
                Ok(key)
            }
        }
    }

    /// Takes a file's name away.
    pub fn remove(&mut self, path: &Path) -> Result<Key, i32> {
        let key = self.place(path)?;
        match self.entries.get(&key) {
            None => Err(libc::ENOENT),
            Some(Entry::Dir(_)) => Err(libc::EISDIR),
            Some(Entry::File(_)) => {
                self.entries.remove(&key);
                Ok(key)
            }
        }
    }

    /// Moves an entry, over a file or an empty folder of its own kind if one stands there. Answers the two places.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<(Key, Key), i32> {
        let (source, target) = (self.place(from)?, self.place(to)?);
        let Some(moved) = self.entries.get(&source).cloned() else { return Err(libc::ENOENT) };
        match (&moved, self.entries.get(&target)) {
            (_, None) | (Entry::File(_), Some(Entry::File(_))) => {}
            (Entry::File(_), Some(Entry::Dir(_))) => return Err(libc::EISDIR),
            (Entry::Dir(_), Some(Entry::File(_))) => return Err(libc::ENOTDIR),
            (Entry::Dir(_), Some(Entry::Dir(n))) if self.range(*n).next().is_none() || source == target => {}
            (Entry::Dir(_), Some(Entry::Dir(_))) => return Err(libc::ENOTEMPTY),
        }
        if matches!(moved, Entry::Dir(_)) && to.starts_with(from) && source != target {
            return Err(libc::EINVAL);
        }
        self.entries.remove(&source);
        self.entries.insert(target.clone(), moved);
        Ok((source, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(path: &str) -> &Path {
        Path::new(path)
    }

    #[test]
    fn paths_lead_to_entries() {
        let mut tree = Tree::new();
        tree.create_dir(p("/db")).expect("mkdir");
        tree.create(p("/db/a"), 1).expect("create");
        assert_eq!(tree.create(p("/db/a"), 2), Err(libc::EEXIST));
        assert_eq!(tree.create(p("/none/a"), 2), Err(libc::ENOENT));
        assert_eq!(tree.create(p("/db/a/b"), 2), Err(libc::ENOTDIR));
        assert_eq!(tree.create_dir(p("/")), Err(libc::EEXIST));
        assert_eq!(tree.create_dir(p("/db")), Err(libc::EEXIST));
        assert_eq!(tree.find(p("db//a")), Ok(Some(Entry::File(1))));
        assert_eq!(tree.find(p("/db/./a")), Ok(Some(Entry::File(1))));
        assert_eq!(tree.find(p("/")), Ok(Some(Entry::Dir(ROOT))));
        assert_eq!(tree.find(p("/x/y")), Ok(None));
        assert_eq!(tree.find(p("/db/a/x")), Err(libc::ENOTDIR));
        assert_eq!(tree.names(tree.dir(p("/db")).expect("dir")).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn renames_and_removals() {
        let mut tree = Tree::new();
        tree.create_dir(p("/d")).expect("mkdir");
        tree.create(p("/d/a"), 1).expect("create");
        tree.create(p("/d/b"), 2).expect("create");
        tree.rename(p("/d/a"), p("/d/b")).expect("rename");
        assert_eq!(tree.find(p("/d/a")), Ok(None));
        assert_eq!(tree.find(p("/d/b")), Ok(Some(Entry::File(1))));
        tree.rename(p("/d/b"), p("/d/b")).expect("onto itself");
        assert_eq!(tree.find(p("/d/b")), Ok(Some(Entry::File(1))));
        assert_eq!(tree.rename(p("/d/x"), p("/d/y")), Err(libc::ENOENT));
        assert_eq!(tree.rename(p("/d/b"), p("/d")), Err(libc::EISDIR));
        assert_eq!(tree.rename(p("/d"), p("/d/e")), Err(libc::EINVAL));
        tree.rename(p("/d"), p("/e")).expect("a folder with its files");
        assert_eq!(tree.find(p("/e/b")), Ok(Some(Entry::File(1))));
        assert_eq!(tree.remove_dir(p("/e")), Err(libc::ENOTEMPTY));
        assert_eq!(tree.remove(p("/e")), Err(libc::EISDIR));
        tree.remove(p("/e/b")).expect("remove");
        assert_eq!(tree.remove(p("/e/b")), Err(libc::ENOENT));
        tree.remove_dir(p("/e")).expect("rmdir");
        assert!(tree.entries().is_empty());
    }
}
