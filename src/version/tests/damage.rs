//! Torn tails, flipped bits, cut, missing, swapped and hostile files.

use super::*;
use crate::fs::OpenMode;
use crate::version::current::Current;
use crate::version::manifest::{Extent, RECORD_BYTES, Writer};

/// How many bytes of the manifest a `CURRENT` vouches for.
fn promised(current: &[u8]) -> usize {
    match Current::decode(current).expect("sound").extent {
        Extent::AtLeast(len) | Extent::Exactly(len) => len as usize,
    }
}

#[test]
fn a_tail_torn_anywhere_leaves_whole_edits() {
    let (fs, set) = new_set();
    let current = path(FileKind::Current, 0);
    let first = fs.bytes(&current);
    let seen = run_all(&fs, &set);
    let file = path(FileKind::Manifest, set.manifest_number().0);
    let bytes = fs.bytes(&file);
    let vouched = fs.bytes(&current);
    assert!(vouched != first);
    for cut in 0..bytes.len() {
        let fs = fs.crash(Crash::Process);
        fs.put(&file, &bytes[..cut]);
        if cut < promised(&vouched) {
            assert_corruption(recover(&fs), "MANIFEST-", "a cut into what CURRENT vouches for");
        }
        // As if it had vouched for nothing behind the first snapshot.
        fs.put(&current, &first);
        if cut < seen[0].1 {
            assert_corruption(recover(&fs), "MANIFEST-", "a cut into what CURRENT vouches for");
            continue;
        }
        // The mark behind the edit may be gone, the edit is whole.
        let whole = seen.iter().rposition(|(_, len)| cut >= len - RECORD_BYTES).unwrap_or(0);
        assert_eq!(dump(&recover(&fs).expect("a torn tail")), seen[whole].0, "cut at {cut}");
    }
    // A last edit whose pages reached the device in part, or not at all while the length did.
    let last = seen[STEPS.len() - 1].1;
    for zeros in [last..bytes.len(), last..last + 10, last + 30..bytes.len(), last - RECORD_BYTES..last + 1] {
        let fs = fs.crash(Crash::Process);
        fs.put(&current, &first);
        let mut torn = bytes.clone();
        torn[zeros.clone()].fill(0);
        torn.truncate(bytes.len() - RECORD_BYTES);
        fs.put(&file, &torn);
        assert_eq!(dump(&recover(&fs).expect("a torn tail")), seen[STEPS.len() - 1].0, "{zeros:?}");
    }
}

#[test]
fn no_flipped_bit_of_a_killed_database_loses_an_edit() {
    let (fs, set) = new_set();
    let seen = run_all(&fs, &set);
    let file = path(FileKind::Manifest, set.manifest_number().0);
    let bytes = fs.bytes(&file);
    let mark = bytes.len() - RECORD_BYTES;
    let fs = fs.crash(Crash::Process);
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs.put(&file, &bad);
        match recover(&fs) {
            Ok(set) => {
                assert!(bit / 8 >= mark, "bit {bit} was not noticed");
                assert_eq!(dump(&set), seen[STEPS.len()].0);
            }
            Err(e) => assert_corruption::<()>(Err(e), "MANIFEST-", "a flip"),
        }
    }
}

#[test]
fn any_damage_after_a_clean_close_is_noticed() {
    let (fs, set) = new_set();
    run_all(&fs, &set);
    set.log_and_apply(clean_end()).expect("closes");
    let before = dump(&set);
    let fs = fs.crash(Crash::Power);
    let again = recover(&fs).expect("recovers");
    assert!(again.is_durable() && again.log_state().clean_end.is_some());
    assert_eq!(dump(&again), before);
    for (file, name) in
        [(path(FileKind::Manifest, set.manifest_number().0), "MANIFEST-"), (path(FileKind::Current, 0), "CURRENT")]
    {
        let bytes = fs.bytes(&file);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs.put(&file, &bad);
            assert_corruption(recover(&fs), name, "a flip");
        }
        for len in 0..bytes.len() {
            fs.put(&file, &bytes[..len]);
            assert_corruption(recover(&fs), name, "a cut");
        }
        fs.put(&file, &[bytes.as_slice(), &[0]].concat());
        assert_corruption(recover(&fs), name, "one byte more");
        fs.delete(&file);
        assert_corruption(recover(&fs), name, "a missing file");
        fs.put_dir(&file);
        assert_corruption(recover(&fs), name, "a folder instead");
        fs.delete(&file);
        fs.put(&file, &bytes);
    }
    assert_eq!(dump(&recover(&fs).expect("repaired")), before);
}

#[test]
fn a_folder_that_lost_its_current_is_not_taken_for_a_new_one() {
    let exists = |fs: &Arc<MemFs>| VersionSet::exists(fs.as_ref(), &dir());
    let (fs, set) = new_set();
    assert!(exists(&fs).expect("there"));
    set.log_and_apply(STEPS[0](&fs, &set)).expect("works");
    fs.delete(&path(FileKind::Current, 0));
    assert_corruption(exists(&fs), "CURRENT", "a used manifest without CURRENT");
    for kind in [FileKind::Wal, FileKind::Table] {
        let fs = MemFs::new(&dir());
        assert!(!exists(&fs).expect("empty"));
        fs.put(&path(kind, 5), b"x");
        assert_corruption(exists(&fs), "CURRENT", "data without CURRENT");
    }
    assert!(!VersionSet::exists(fs.as_ref(), Path::new("/nowhere")).expect("nothing there"));
}

#[test]
fn tables_must_be_there_with_their_size() {
    let (fs, set) = new_set();
    run_all(&fs, &set);
    for number in set.live_tables() {
        let file = path(FileKind::Table, number.0);
        let name = names::name(FileKind::Table, number);
        for len in [0, 99, 101] {
            fs.put(&file, &vec![0; len]);
            assert_corruption(recover(&fs), &name, "a wrong size");
        }
        fs.delete(&file);
        assert_corruption(recover(&fs), &name, "a missing table");
        fs.put_dir(&file);
        assert_corruption(recover(&fs), &name, "a folder");
        fs.put(&file, &[7; 100]);
    }
    for odd in ["garbage", "MANIFEST-x", "MANIFEST-1", "5.sst", "000077.sst.bak", "CURRENT.bak"] {
        fs.put(&dir().join(odd), b"?");
    }
    fs.put_dir(&dir().join("000099"));
    fs.put(&path(FileKind::Wal, 5000), b"");
    let set = recover(&fs).expect("strangers are ignored");
    assert_eq!(set.next_file_number(), FileNumber(5001), "no number of a file in the folder is reused");
}

#[test]
fn foreign_and_newer_manifests_are_told_apart() {
    let (fs, set) = new_set();
    let (other, _) = new_set();
    let file = path(FileKind::Manifest, 1);
    let own = fs.bytes(&file);
    fs.put(&file, &other.bytes(&file));
    assert_corruption(recover(&fs), "MANIFEST-000001", "another database's manifest");
    let mut newer = own.clone();
    (newer[8], newer[10]) = (2, 2);
    let crc = crate::base::checksum::Checksum::new().bytes(&newer[..40]).finish();
    newer[40..44].copy_from_slice(&crc.to_le_bytes());
    fs.put(&file, &newer);
    assert_eq!(recover(&fs).err().map(|e: Error| e.code()), Some(Code::Version));
    fs.put(&file, &own);
    assert_eq!(dump(&recover(&fs).expect("own")), dump(&set));
    set.verify_manifest().expect("whole");
    fs.put(&path(FileKind::Wal, u64::MAX), b"");
    assert!(recover(&fs).expect("a stranger").next_file_number() < FileNumber(100));
    fs.put(&file, &own[1..]);
    assert_corruption(set.verify_manifest(), "MANIFEST-000001", "verify");
}

/// Checksums are no defence: whatever a signed manifest says, reading it ends in a state or in an error.
#[test]
fn signed_nonsense_is_refused_without_a_panic() {
    let (fs, set) = new_set();
    run_all(&fs, &set);
    let state = set.current_state();
    let identity = set.identity(FileNumber(500));
    let file = path(FileKind::Manifest, 500);
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut draw = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..4000 {
        let mut payload = state.encode_snapshot(FileNumber(600)).concat();
        for _ in 0..=draw(3) {
            let at = draw(payload.len());
            match draw(4) {
                0 => payload[at] = draw(256) as u8,
                1 => payload[at] = [0, 0x7f, 0x80, 0xff][draw(4)],
                2 => drop(payload.remove(at)),
                _ => payload.extend_from_within(at..(at + draw(60)).min(payload.len())),
            }
        }
        fs.delete(&file);
        let mut writer = Writer::new(fs.open(&file, OpenMode::CreateNew).expect("new"), identity);
        writer.unit(true, &[payload]).and_then(|()| writer.sync()).expect("no failure planned");
        let current = Current { manifest: identity, extent: Extent::AtLeast(writer.len()) };
        current.store(fs.as_ref(), &dir()).expect("no failure planned");
        match recover(&fs) {
            Ok(_) => read += 1,
            Err(e) => {
                assert_eq!(e.code(), Code::Corruption, "{e}");
                refused += 1;
            }
        }
    }
    assert!(read > 10 && refused > 1000, "{read} read, {refused} refused");
}

/// The search for a witness behind a torn tail must not make a long tail slow.
#[test]
fn a_long_tail_of_anything_is_left_out() {
    let (fs, set) = new_set();
    let file = path(FileKind::Manifest, 1);
    let own = fs.bytes(&file);
    for fill in [0, 1, 0xff] {
        let fs = fs.crash(Crash::Process);
        fs.put(&file, &[own.as_slice(), &vec![fill; 4 << 20]].concat());
        assert_eq!(dump(&recover(&fs).expect("a torn tail")), dump(&set));
    }
}
