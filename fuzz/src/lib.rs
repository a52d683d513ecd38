//! Fuzz targets as plain functions: each takes arbitrary bytes and must neither panic nor allocate without bound nor
//! contradict its model. `cargo test` replays a seeded stream of inputs; `cargo fuzz run TARGET` explores.
//!
//! Files are fuzzed as a valid file with patches taken from the input (`offset: u16, byte: u8`), which gets deeper than
//! noise: a patched file must be refused, or answer exactly what the whole one does. `mutate` changes logs, blocks, tables
//! and manifests and makes their checksums anew (`sign`): those may be refused or read, never more.

pub mod calls;
pub mod mutate;
pub mod sign;

use lsm_engine::Error;
use lsm_engine::base::ids::{FileIdentity, FileNumber};
use lsm_engine::batch::BatchReader;
use lsm_engine::db::{Db, Keyspace, Options, ReadOptions, Seek, WriteOptions};
use lsm_engine::fs::Fs;
use lsm_engine::fs::mem::MemFs;
use lsm_engine::wal::{ReplayFrom, replay_bytes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const DIR: &str = "/db";

/// A batch of arbitrary bytes is read to its end or refused.
pub fn batch(data: &[u8]) {
    let mut reader = BatchReader::new(data);
    let mut entries = 0usize;
    while let Ok(Some(_)) = reader.next_entry() {
        entries += 1;
    }
    assert!(entries <= data.len());
}

/// Options of arbitrary text are taken whole or not at all, and what was taken comes back the same.
pub fn options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut options = Options::new();
    if options.load(&text).is_err() {
        assert_eq!(options.dump(), "", "a refused text left something behind");
        return;
    }
    let dump = options.dump();
    let mut again = Options::new();
    again.load(&dump).expect("a dump loads");
    assert_eq!(again.dump(), dump);
    let _ = options.database("");
}

/// One segment of arbitrary bytes.
pub fn wal(data: &[u8]) {
    let file = FileIdentity { database: 7, number: FileNumber(1) };
    let mut applied = 0usize;
    let _ = replay_bytes(file, data, ReplayFrom::default(), &mut |_, _, payload| {
        applied += payload.len();
        Ok(())
    });
    assert!(applied <= data.len());
    patched(data, ".wal", false);
}

/// A table with patches.
pub fn table(data: &[u8]) {
    patched(data, ".sst", true);
}

/// A manifest with patches.
pub fn manifest(data: &[u8]) {
    patched(data, "MANIFEST", true);
}

/// A small database on a file system in memory, closed cleanly or left as a killed process would.
fn sample(closed: bool) -> &'static (MemFs, BTreeMap<Vec<u8>, Vec<u8>>) {
    static CLOSED: OnceLock<(MemFs, BTreeMap<Vec<u8>, Vec<u8>>)> = OnceLock::new();
    static KILLED: OnceLock<(MemFs, BTreeMap<Vec<u8>, Vec<u8>>)> = OnceLock::new();
    (if closed { &CLOSED } else { &KILLED }).get_or_init(|| {
        let fs = MemFs::new();
        let db = open(&fs).expect("opens");
        let mut model = BTreeMap::new();
        for n in 0..200u32 {
            let (key, value) = (format!("key/{:05}", n * 7919 % 1000).into_bytes(), vec![n as u8; 1 + n as usize % 90]);
            db.default_keyspace().put(&WriteOptions::default(), &key, &value).expect("put");
            model.insert(key, value);
        }
        let image = if closed {
            db.close().expect("closes");
            fs.deep_copy()
        } else {
            let image = fs.deep_copy();
            db.close().expect("closes");
            image
        };
        (image, model)
    })
}

fn open(fs: &MemFs) -> Result<Db, Error> {
    let mut options = Options::new();
    for (key, value) in [
        ("memtable.size", "64KiB"),
        ("cache.size", "64KiB"),
        ("wal.io", "write"),
        ("wal.segment_size", "64KiB"),
        ("block.size", "512"),
        ("compaction.threads", "1"),
        ("compaction.subjobs_max", "1"),
    ] {
        options.set(key, value).expect("an option of the table");
    }
    Db::open_on(Arc::new(fs.clone()), Path::new(DIR), &options)
}

/// Patches the first file whose name contains `kind` and reads everything back.
fn patched(data: &[u8], kind: &str, closed: bool) {
    let (whole, model) = sample(closed);
    let fs = whole.deep_copy();
    let Some(path) = find(&fs, kind) else { return };
    let mut bytes = fs.read_file(&path).expect("reads");
    let mut is_changed = false;
    for patch in data.chunks_exact(3).take(64) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % bytes.len().max(1);
        is_changed |= patch[2] != 0;
        bytes[at] ^= patch[2];
    }
    fs.write_file(&path, &bytes).expect("writes");
    let Ok(db) = open(&fs) else {
        assert!(is_changed, "the whole database does not open");
        return;
    };
    check(&db.default_keyspace(), model, closed);
    let _ = db.close();
}

/// What is answered is right or an error. After a kill the log's tail may be cut: then it is a subset.
fn check(ks: &Keyspace, model: &BTreeMap<Vec<u8>, Vec<u8>>, closed: bool) {
    let read = ReadOptions::default();
    for (key, value) in model {
        match ks.get_with(&read, key, <[u8]>::to_vec) {
            Ok(Some(got)) if closed => assert_eq!(&got, value),
            Ok(None) => assert!(!closed, "a key is gone without a word"),
            Ok(Some(_)) | Err(_) => {}
        }
    }
    let Ok(mut iter) = ks.iter(&read) else { return };
    let mut expected = model.iter();
    while let Ok(Some(entry)) = iter.next() {
        if closed {
            let (key, value) = expected.next().expect("the scan shows too much");
            assert_eq!((entry.key, entry.value), (key.as_slice(), value.as_slice()));
        }
    }
}

fn find(fs: &MemFs, kind: &str) -> Option<PathBuf> {
    let mut names = fs.list(Path::new(DIR)).ok()?;
    names.sort();
    names.into_iter().find(|name| name.to_string_lossy().contains(kind)).map(|name| Path::new(DIR).join(name))
}

/// A sequence of calls against a model: put, delete, get, seek, step, flush, compact, snapshot, reopen. What waits for a
/// thread (a reopen starts and ends five) is drawn seldom enough that the rest gets its share.
pub fn operations(data: &[u8]) {
    let fs = MemFs::new();
    let mut db = open(&fs).expect("opens");
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut frozen = None;
    for op in data.chunks_exact(3).take(400) {
        let ks = db.default_keyspace();
        let key = vec![b'k'; usize::from(op[1] % 3)].into_iter().chain([op[1]]).collect::<Vec<u8>>();
        match op[0] % 32 {
            0..=9 => {
                let value = vec![op[2]; usize::from(op[2])];
                ks.put(&WriteOptions::default(), &key, &value).expect("put");
                model.insert(key, value);
            }
            10..=13 => {
                ks.delete(&WriteOptions::default(), &key).expect("delete");
                model.remove(&key);
            }
            14..=18 => {
                let got = ks.get_with(&ReadOptions::default(), &key, <[u8]>::to_vec).expect("get");
                assert_eq!(got.as_ref(), model.get(&key));
            }
            19..=25 => {
                let mut iter = ks.iter(&ReadOptions::default()).expect("iter");
                let got = iter.seek(Seek::Ge, &key).expect("seek").map(|e| e.key.to_vec());
                assert_eq!(got.as_ref(), model.range(key..).next().map(|(k, _)| k));
            }
            26 | 27 => frozen = Some((db.snapshot().expect("snapshot"), model.clone())),
            28 | 29 => db.flush(None).expect("flush"),
            30 => ks.compact(None, None).expect("compact"),
            _ => {
                frozen = None;
                db.close().expect("close");
                db = open(&fs).expect("reopens");
            }
        }
        if let Some((snapshot, then)) = &frozen {
            let read = ReadOptions { snapshot: Some(snapshot.clone()), ..ReadOptions::default() };
            let key = [op[1]];
            let got = db.default_keyspace().get_with(&read, &key, <[u8]>::to_vec).expect("get");
            assert_eq!(got.as_deref(), then.get(key.as_slice()).map(Vec::as_slice));
        }
    }
    drop(frozen);
    db.close().expect("close");
}
