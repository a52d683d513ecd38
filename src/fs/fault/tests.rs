//! What the simulated disk loses, keeps and refuses.

use super::*;
use crate::error::Code;
use std::collections::BTreeSet;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn refused<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(err) => err,
    }
}

fn create(disk: &FaultFs, path: &str) -> Arc<dyn File> {
    disk.open(p(path), OpenMode::CreateNew).expect("create")
}

/// A file of `bytes`, durable with its name.
fn durable(disk: &FaultFs, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(disk, path);
    file.write_all_at(bytes, 0).expect("write");
    file.sync_data().expect("sync");
    disk.sync_dir(p(path).parent().expect("a folder")).expect("sync");
    file
}

fn names(fs: &MemFs, dir: &str) -> Vec<String> {
    let mut names: Vec<String> =
        fs.list(p(dir)).expect("list").into_iter().map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The sets of names that `seeds` crashes leave.
fn outcomes(disk: &FaultFs, policy: CrashPolicy) -> BTreeSet<String> {
    (0..400).map(|seed| names(&disk.crash(policy, seed), "/").join(" ")).collect()
}

#[test]
fn unsynced_data_is_lost_and_synced_data_is_not() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", b"synced");
    file.write_all_at(b"UNSYNC", 0).expect("write");
    assert_eq!(disk.crash(CrashPolicy::nothing(), 0).read_file(p("/a")).expect("read"), b"synced");
    assert_eq!(disk.crash(CrashPolicy::everything(), 0).read_file(p("/a")).expect("read"), b"UNSYNC");
    assert_eq!(disk.process_death().read_file(p("/a")).expect("read"), b"UNSYNC");
    assert_eq!(disk.dirty_pages(p("/a")), 1);
    file.sync_data().expect("sync");
    assert_eq!(disk.dirty_pages(p("/a")), 0);
    for seed in 0..50 {
        for policy in [CrashPolicy::nothing(), CrashPolicy::ordered(), CrashPolicy::strict()] {
            assert_eq!(disk.crash(policy, seed).read_file(p("/a")).expect("read"), b"UNSYNC");
        }
    }
}

#[test]
fn a_synced_write_makes_its_own_bytes_durable_only() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", &[0; 8192]);
    file.write_all_at(&[1; 100], 0).expect("write");
    file.write_all_at_sync(&[2; 100], 5000).expect("write");
    let left = disk.crash(CrashPolicy::nothing(), 0).read_file(p("/a")).expect("read");
    assert_eq!((left[0], left[5000], left.len()), (0, 2, 8192));
    file.write_all_at_sync(&[3; 10], 9000).expect("write");
    let left = disk.crash(CrashPolicy::nothing(), 0).read_file(p("/a")).expect("read");
    assert_eq!((left[0], left[9009], left.len()), (0, 3, 9010), "with the size needed to read them");
}

#[test]
fn a_name_needs_a_sync_of_its_folder() {
    let disk = FaultFs::new();
    let file = create(&disk, "/a");
    file.write_all_at(b"data", 0).expect("write");
    file.sync_data().expect("sync");
    assert!(names(&disk.crash(CrashPolicy::nothing(), 0), "/").is_empty());
    assert_eq!(outcomes(&disk, CrashPolicy::strict()).len(), 2);
    disk.sync_dir(p("/")).expect("sync");
    let image = disk.crash(CrashPolicy::nothing(), 0);
    assert_eq!(image.read_file(p("/a")).expect("read"), b"data");
}

#[test]
fn an_unsynced_folder_takes_its_files_along() {
    let disk = FaultFs::new();
    disk.create_dir(p("/d")).expect("mkdir");
    durable(&disk, "/d/a", b"data");
    let image = disk.crash(CrashPolicy::nothing(), 0);
    assert!(image.metadata(p("/d/a")).expect("metadata").is_none());
    disk.sync_dir(p("/")).expect("sync");
    let image = disk.crash(CrashPolicy::nothing(), 0);
    assert_eq!(image.read_file(p("/d/a")).expect("read"), b"data");
}

#[test]
fn the_journal_keeps_the_order_of_names_and_posix_does_not() {
    let disk = FaultFs::new();
    durable(&disk, "/0", b"");
    create(&disk, "/1");
    create(&disk, "/2");
    disk.remove(p("/0")).expect("unlink");
    let ordered: BTreeSet<String> = ["0", "0 1", "0 1 2", "1 2"].map(String::from).into();
    assert_eq!(outcomes(&disk, CrashPolicy::ordered()), ordered);
    let strict = outcomes(&disk, CrashPolicy::strict());
    assert_eq!(strict.len(), 8, "{strict:?}");
}

#[test]
fn a_rename_is_found_before_after_or_half_done_but_never_gone() {
    let disk = FaultFs::new();
    durable(&disk, "/CURRENT", b"old");
    durable(&disk, "/CURRENT.tmp", b"new");
    disk.rename(p("/CURRENT.tmp"), p("/CURRENT")).expect("rename");
    let images = |policy| {
        (0..300)
            .map(|seed| disk.crash(policy, seed))
            .map(|image: MemFs| {
                let current = image.read_file(p("/CURRENT")).expect("there is always one");
                (String::from_utf8(current).expect("text"), names(&image, "/").len())
            })
            .collect::<BTreeSet<_>>()
    };
    let whole: BTreeSet<(String, usize)> = [("old".to_owned(), 2), ("new".to_owned(), 1)].into();
    assert_eq!(images(CrashPolicy::ordered()), whole);
    let mut half = whole.clone();
    half.insert(("new".to_owned(), 2));
    assert_eq!(images(CrashPolicy::strict()), half);
    disk.sync_dir(p("/")).expect("sync");
    assert_eq!(images(CrashPolicy::strict()), [("new".to_owned(), 1)].into());
}

#[test]
fn renames_in_a_row_never_lose_the_file() {
    let disk = FaultFs::new();
    durable(&disk, "/a", b"x");
    disk.rename(p("/a"), p("/b")).expect("rename");
    disk.rename(p("/b"), p("/c")).expect("rename");
    disk.create_dir(p("/d")).expect("mkdir");
    disk.sync_dir(p("/d")).expect("sync");
    disk.rename(p("/c"), p("/d/c")).expect("rename");
    for seed in 0..500 {
        let image = disk.crash(CrashPolicy::strict(), seed);
        let found = ["/a", "/b", "/c", "/d/c"].iter().any(|path| image.read_file(p(path)).is_ok_and(|b| b == b"x"));
        let folder_lost = image.metadata(p("/d")).expect("metadata").is_none();
        assert!(found || folder_lost, "seed {seed}: {:?}", names(&image, "/"));
    }
    disk.sync_dir(p("/")).expect("sync");
    let image = disk.crash(CrashPolicy::nothing(), 0);
    assert_eq!(image.read_file(p("/d/c")).expect("the sync took the new name along"), b"x");
}

#[test]
fn a_renamed_file_that_was_not_synced_may_be_empty() {
    let disk = FaultFs::new();
    durable(&disk, "/CURRENT", b"old");
    create(&disk, "/tmp").write_all_at(b"new", 0).expect("write");
    disk.rename(p("/tmp"), p("/CURRENT")).expect("rename");
    let seen: BTreeSet<Vec<u8>> =
        (0..300).map(|seed| disk.crash(CrashPolicy::ordered(), seed).read_file(p("/CURRENT")).expect("read")).collect();
    let want: BTreeSet<Vec<u8>> = [b"old".to_vec(), b"new".to_vec(), Vec::new()].into();
    assert_eq!(seen, want);
}

#[test]
fn mapped_stores_are_unsynced_pages() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", &[0; 8 * 4096]);
    let map = file.map_log(8 * 4096).expect("map");
    map.prepare(0, 8 * 4096).expect("prepare");
    for page in 0..8 {
        map.store(page * 4096 + 10, b"record");
    }
    let mut buf = [0; 6];
    file.read_exact_at(&mut buf, 4106).expect("read");
    assert_eq!(&buf, b"record");
    assert_eq!(disk.dirty_pages(p("/a")), 8);
    let kept = |bytes: &[u8]| (0..8).filter(|page| &bytes[page * 4096 + 10..page * 4096 + 16] == b"record").count();
    let counts: BTreeSet<usize> =
        (0..200).map(|seed| kept(&disk.crash(CrashPolicy::strict(), seed).read_file(p("/a")).expect("read"))).collect();
    assert!(counts.len() >= 7, "any subset: {counts:?}");
    file.sync_data().expect("sync");
    assert_eq!(kept(&disk.crash(CrashPolicy::nothing(), 0).read_file(p("/a")).expect("read")), 8);
}

#[test]
fn images_are_repeatable_and_disturb_nothing() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", &[0; 20_000]);
    file.write_all_at(&[1; 20_000], 0).expect("write");
    create(&disk, "/b");
    let ops = disk.mutations();
    let one = disk.crash(CrashPolicy::strict(), 7);
    let two = disk.crash(CrashPolicy::strict(), 7);
    assert_eq!(names(&one, "/"), names(&two, "/"));
    assert_eq!(one.read_file(p("/a")).expect("read"), two.read_file(p("/a")).expect("read"));
    one.write_file(p("/a"), b"changed").expect("write");
    assert_eq!(disk.mutations(), ops);
    assert_eq!(disk.process_death().read_file(p("/a")).expect("read"), [1; 20_000]);
}

#[test]
fn a_crash_point_lets_its_call_happen_unheard() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", b"old");
    let before = disk.mutations();
    disk.set_crash_point(before + 1);
    let err = refused(file.write_all_at(b"new", 0));
    assert_eq!((err.code(), err.os_errno()), (Code::Io, libc::EIO));
    assert!(err.message().contains("power"), "{err}");
    assert!(disk.is_off());
    assert_eq!(disk.crash(CrashPolicy::everything(), 0).read_file(p("/a")).expect("read"), b"new");
    for err in [
        refused(file.sync_data()),
        refused(file.read_at(&mut [0], 0).map(|_| ())),
        refused(disk.list(p("/")).map(|_| ())),
        refused(disk.remove(p("/a"))),
        refused(disk.open(p("/b"), OpenMode::CreateNew).map(|_| ())),
    ] {
        assert_eq!(err.os_errno(), libc::EIO);
    }
    assert_eq!(disk.mutations(), before + 1, "nothing happens without power");
}

#[test]
fn a_sync_at_the_crash_point_does_not_happen() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", b"old");
    file.write_all_at(b"new", 0).expect("write");
    disk.set_crash_point(disk.mutations() + 1);
    refused(file.sync_data());
    assert_eq!(disk.crash(CrashPolicy::nothing(), 0).read_file(p("/a")).expect("read"), b"old");
    let disk = FaultFs::new();
    create(&disk, "/a");
    disk.set_crash_point(disk.mutations() + 1);
    refused(disk.sync_dir(p("/")));
    assert!(names(&disk.crash(CrashPolicy::nothing(), 0), "/").is_empty());
}

#[test]
fn stores_after_the_power_went_off_are_lost() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", &[0; 4096]);
    let map = file.map_log(4096).expect("map");
    map.prepare(0, 4096).expect("prepare");
    disk.set_crash_point(disk.mutations() + 2);
    map.store(0, b"1");
    map.store(1, b"2");
    map.store(2, b"3");
    let left = disk.crash(CrashPolicy::everything(), 0).read_file(p("/a")).expect("read");
    assert_eq!(&left[..3], b"12\0");
}

#[test]
fn every_crash_point_of_a_safe_replacement_leaves_old_or_new() {
    let replace = |disk: &FaultFs, careless: bool| -> Result<()> {
        let file = disk.open(p("/tmp"), OpenMode::CreateNew)?;
        file.write_all_at(&[2; 9000], 0)?;
        if !careless {
            file.sync_data()?;
        }
        disk.rename(p("/tmp"), p("/a"))?;
        disk.sync_dir(p("/"))
    };
    let base = FaultFs::new();
    durable(&base, "/a", &[1; 9000]);
    let base = base.process_death();
    let bad = |careless: bool| {
        let whole = FaultFs::over(&base);
        replace(&whole, careless).expect("no fault");
        let mut bad = 0;
        for n in 1..=whole.mutations() + 1 {
            let disk = FaultFs::over(&base);
            disk.set_crash_point(n);
            assert_eq!(replace(&disk, careless).is_err(), n <= whole.mutations());
            for seed in 0..40 {
                for policy in [CrashPolicy::ordered(), CrashPolicy::strict(), CrashPolicy::nothing()] {
                    let left = disk.crash(policy, seed).read_file(p("/a")).expect("read");
                    bad += usize::from(left != [1; 9000] && left != [2; 9000]);
                }
            }
        }
        bad
    };
    assert_eq!(bad(false), 0);
    assert!(bad(true) > 0, "the check sees a missing sync");
}

#[test]
fn a_crash_during_recovery_starts_from_the_image() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", b"one");
    file.write_all_at(b"two", 0).expect("write");
    let again = FaultFs::over(&disk.crash(CrashPolicy::nothing(), 0));
    let file = again.open(p("/a"), OpenMode::ReadWrite).expect("open");
    file.write_all_at(b"TWO", 0).expect("write");
    assert_eq!(again.crash(CrashPolicy::nothing(), 0).read_file(p("/a")).expect("read"), b"one");
    assert_eq!(again.mutations(), 1);
}

#[test]
fn planned_failures_happen_once_or_from_then_on() {
    let disk = FaultFs::new();
    let file = create(&disk, "/a");
    disk.add_fault(Fault::once(Call::Write, 2, libc::EIO));
    file.write_all_at(b"1", 0).expect("the first");
    let err = refused(file.write_all_at(b"2", 1));
    assert!(err.os_errno() == libc::EIO && err.message().contains("pwrite of /a"), "{err}");
    file.write_all_at(b"3", 1).expect("the third");
    assert_eq!(disk.faults_met(), 1);
    disk.add_fault(Fault::sticky(Call::Write, 1, libc::ENOSPC).on(".wal"));
    file.write_all_at(b"4", 0).expect("another path");
    let wal = create(&disk, "/1.wal");
    for _ in 0..3 {
        assert_eq!(refused(wal.write_all_at(b"5", 0)).code(), Code::NoSpace);
    }
    assert_eq!(wal.len().expect("len"), 0, "a failed call does nothing");
    disk.clear_faults();
    wal.write_all_at(b"6", 0).expect("healthy again");
    assert_eq!(disk.calls(Call::Write), 8);
}

#[test]
fn each_kind_of_call_can_fail() {
    for call in Call::ALL.into_iter().filter(|&c| c != Call::Store) {
        let disk = FaultFs::new();
        let file = durable(&disk, "/a", &[0; 4096]);
        let map = file.map_log(4096).expect("map");
        disk.add_fault(Fault::sticky(call, 1, libc::EMFILE));
        let answers = [
            disk.open(p("/a"), OpenMode::Read).map(|_| ()),
            disk.open(p("/b"), OpenMode::CreateNew).map(|_| ()),
            file.read_at(&mut [0], 0).map(|_| ()),
            file.write_all_at(b"x", 0),
            file.sync_data(),
            file.set_len(4096),
            file.allocate(0, 1),
            file.len().map(|_| ()),
            file.map_log(4096).map(|_| ()),
            map.prepare(0, 1),
            disk.list(p("/")).map(|_| ()),
            disk.create_dir(p("/d")),
            disk.remove_dir(p("/d")),
            disk.rename(p("/a"), p("/c")),
            disk.remove(p("/c")),
            disk.sync_dir(p("/")),
            disk.lock(p("/LOCK"), true).map(|_| ()),
        ];
        let errors: Vec<i32> = answers.iter().filter_map(|a| a.as_ref().err()).map(Error::os_errno).collect();
        assert!(errors.contains(&libc::EMFILE), "{call:?}");
        assert!(errors.len() <= 2, "{call:?} fails alone, with what builds on it: {errors:?}");
    }
}

#[test]
fn writes_tear_and_reads_come_short() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", b"0123456789");
    disk.add_fault(Fault::once(Call::Write, 1, 0).with(Effect::Torn(3, libc::ENOSPC)));
    assert_eq!(refused(file.write_all_at(b"abcdef", 2)).code(), Code::NoSpace);
    disk.add_fault(Fault::once(Call::Read, 2, 0).with(Effect::Short(4)));
    let mut buf = [0; 10];
    assert_eq!(file.read_at(&mut buf, 0).expect("read"), 10);
    assert_eq!(&buf, b"01abc56789");
    assert_eq!(refused(file.read_exact_at(&mut buf, 0)).code(), Code::Corruption);
}

#[test]
fn a_failed_sync_loses_pages_for_good() {
    let mut lost = false;
    for seed in 0..20 {
        let disk = FaultFs::new();
        disk.set_seed(seed);
        let file = durable(&disk, "/a", &[0; 4 * 4096]);
        file.write_all_at(&[1; 4 * 4096], 0).expect("write");
        disk.add_fault(Fault::once(Call::Sync, 1, libc::EIO));
        assert_eq!(refused(file.sync_data()).os_errno(), libc::EIO);
        file.sync_data().expect("the kernel has forgotten");
        let mut byte = [0];
        file.read_at(&mut byte, 0).expect("read");
        assert_eq!(byte, [1], "still in the cache");
        let left = disk.crash(CrashPolicy::everything(), 0).read_file(p("/a")).expect("read");
        lost |= left != [1; 4 * 4096];
        disk.drop_caches();
        assert_eq!(disk.process_death().read_file(p("/a")).expect("read"), left);
    }
    assert!(lost);
}

#[test]
fn a_failed_synced_write_is_in_the_cache_only() {
    let mut lost = false;
    for seed in 0..20 {
        let disk = FaultFs::new();
        disk.set_seed(seed);
        let file = durable(&disk, "/a", &[0; 4096]);
        disk.add_fault(Fault::once(Call::Sync, 1, libc::EIO));
        assert!(file.write_all_at_sync(b"x", 0).is_err());
        assert_eq!(disk.process_death().read_file(p("/a")).expect("read")[0], b'x');
        lost |= disk.crash(CrashPolicy::everything(), 0).read_file(p("/a")).expect("read")[0] == 0;
    }
    assert!(lost);
}

#[test]
fn a_full_disk_refuses_growth_and_nothing_else() {
    let disk = FaultFs::new();
    disk.set_capacity(10_000);
    let file = create(&disk, "/a");
    file.allocate(0, 8000).expect("allocate");
    assert_eq!(disk.free_bytes(p("/")), 2000);
    let other = create(&disk, "/b");
    assert_eq!(refused(other.write_all_at(&[1; 2001], 0)).code(), Code::NoSpace);
    assert_eq!(refused(other.allocate(0, 2001)).code(), Code::NoSpace);
    assert_eq!(other.len().expect("len"), 0);
    file.write_all_at(&[1; 8000], 0).expect("in place");
    disk.remove(p("/a")).expect("unlink");
    assert!(other.write_all_at(&[1; 2001], 0).is_err(), "an open file keeps its space");
    drop(file);
    other.write_all_at(&[1; 2001], 0).expect("the space is back");
    assert_eq!(disk.free_bytes(p("/")), 7999);
}

#[test]
fn an_unlinked_file_may_come_back_with_its_bytes() {
    let disk = FaultFs::new();
    drop(durable(&disk, "/a", b"bytes"));
    disk.remove(p("/a")).expect("unlink");
    assert_eq!(disk.crash(CrashPolicy::nothing(), 0).read_file(p("/a")).expect("read"), b"bytes");
    disk.sync_dir(p("/")).expect("sync");
    assert!(names(&disk.crash(CrashPolicy::strict(), 1), "/").is_empty());
    assert!(disk.state().inodes.is_empty(), "and is forgotten then");
}

#[test]
fn an_open_file_outlives_its_name() {
    let disk = FaultFs::new();
    let file = durable(&disk, "/a", b"bytes");
    disk.remove(p("/a")).expect("unlink");
    disk.sync_dir(p("/")).expect("sync");
    let mut buf = [0; 5];
    file.read_exact_at(&mut buf, 0).expect("read");
    assert_eq!(&buf, b"bytes");
}
