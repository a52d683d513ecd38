//! The pool: sizes, spares, recycling, a full disk.

use super::*;

fn sizes(pool: &SegmentPool, home: &Home, count: usize) -> Vec<u64> {
    (0..count).map(|_| pool.take(0, &|| home.draw()).expect("segment").bytes()).collect()
}

#[test]
fn segments_grow_four_times_each_up_to_the_limit() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 1 << 20)).expect("pool");
    assert!(home.names().is_empty(), "no file before the first write");
    assert_eq!(sizes(&pool, &home, 4), [64 << 10, 256 << 10, 1 << 20, 1 << 20]);
    let small = Home::new();
    let pool = SegmentPool::new(small.config(WalIo::Auto, 1)).expect("pool");
    assert_eq!(sizes(&pool, &small, 2), [16 << 10, 16 << 10]);
}

#[test]
fn a_record_decides_the_size_of_its_segment() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 4 << 20)).expect("pool");
    let take = |payload| {
        let prepared = pool.take(payload, &|| home.draw()).expect("segment");
        let bytes = prepared.bytes();
        let segment = prepared.start((), SeqNo(1), None).expect("start");
        assert!(segment.can_hold(payload));
        assert!(matches!(segment.reserve(payload, 1), Reserved::Ticket(_)));
        (bytes, segment.is_mapped())
    };
    assert_eq!(take(100_000), (1 << 20, true));
    assert_eq!(take(0), (4 << 20, true));
    let (own, mapped) = take(9_000_000);
    assert!(!mapped && (9_000_000..9_200_000).contains(&own));
    assert_eq!(take(0).0, 4 << 20);
}

#[test]
fn a_segment_is_ready_ahead_once_the_first_is_half_full() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 256 << 10)).expect("pool");
    let draw = || home.draw();
    pool.prepare_ahead(&draw).expect("nothing to do");
    let first = pool.take(0, &draw).expect("first").start((), SeqNo(1), None).expect("start");
    pool.prepare_ahead(&draw).expect("nothing to do");
    assert_eq!(home.names(), ["000001.wal"]);
    assert!(!first.is_next_due((32 << 10) - 8));
    assert!(first.is_next_due(32 << 10) && pool.note_next_due());
    assert!(!first.is_next_due(40 << 10), "said once");
    pool.prepare_ahead(&draw).expect("second");
    assert_eq!(home.names(), ["000001.wal", "000002.wal"]);
    assert!(!pool.note_next_due(), "it is there");
    pool.take(0, &draw).expect("second");
    pool.prepare_ahead(&draw).expect("third");
    pool.prepare_ahead(&draw).expect("nothing to do");
    assert_eq!(home.names(), ["000001.wal", "000002.wal", "000003.wal"]);
    assert_eq!(pool.spare_bytes(), 256 << 10);
    assert_eq!(pool.take(0, &draw).expect("ready").number(), FileNumber(3));
    assert_eq!(pool.spare_bytes(), 0);
    // What is ready but too small must not come after a higher number.
    pool.prepare_ahead(&draw).expect("fourth");
    assert_eq!(pool.take(1 << 20, &draw).expect("own").number(), FileNumber(5));
    assert!(!home.names().contains(&"000004.wal".to_owned()));
    assert_eq!(pool.take(0, &draw).expect("recycled").number(), FileNumber(6));
    pool.prepare_ahead(&draw).expect("seventh");
    pool.give_back(FileNumber(3)).expect("spare");
    pool.remove_spares().expect("close");
    assert_eq!(pool.spare_bytes(), 0);
    assert_eq!(home.names(), ["000001.wal", "000002.wal", "000005.wal", "000006.wal"]);
}

#[test]
fn a_file_of_the_right_size_and_with_one_name_is_recycled() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 64 << 10)).expect("pool");
    let draw = || home.draw();
    for _ in 0..4 {
        pool.take(0, &draw).expect("segment");
    }
    pool.give_back(FileNumber(1)).expect("spare");
    assert_eq!(home.names(), ["000001.spare", "000002.wal", "000003.wal", "000004.wal"]);
    pool.give_back(FileNumber(2)).expect("second spare is removed");
    assert_eq!(home.names(), ["000001.spare", "000003.wal", "000004.wal"]);
    assert_eq!(pool.take(0, &draw).expect("recycled").number(), FileNumber(5));
    assert_eq!(home.names(), ["000003.wal", "000004.wal", "000005.wal"]);
    // A checkpoint linked it: the bytes behind the other name stay.
    let other = home.dir.path().join("copy");
    std::fs::hard_link(home.dir.path().join("000003.wal"), &other).expect("link");
    let image = std::fs::read(&other).expect("copy");
    pool.give_back(FileNumber(3)).expect("removed");
    assert_eq!(home.names(), ["000004.wal", "000005.wal", "copy"]);
    // Linked while it is spare.
    pool.give_back(FileNumber(4)).expect("spare");
    let second = home.dir.path().join("copy2");
    std::fs::hard_link(home.dir.path().join("000004.spare"), &second).expect("link");
    let spare = std::fs::read(&second).expect("copy");
    pool.take(0, &draw).expect("new");
    assert!(std::fs::read(&second).expect("copy") == spare, "a file with two names was put to use");
    assert_eq!(home.names(), ["000005.wal", "000006.wal", "copy", "copy2"]);
    assert!(std::fs::read(&other).expect("copy") == image);
    pool.give_back(FileNumber(77)).expect("not there is fine");
}

#[test]
fn a_log_at_rest_keeps_one_file_besides_the_current() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 64 << 10)).expect("pool");
    let draw = || home.draw();
    for _ in 0..2 {
        pool.take(0, &draw).expect("segment");
    }
    pool.give_back(FileNumber(1)).expect("spare");
    pool.trim().expect("nothing is ready: the spare is wanted");
    assert_eq!(home.names(), ["000001.spare", "000002.wal"]);
    pool.take(0, &draw).expect("recycled");
    pool.prepare_ahead(&draw).expect("ready");
    pool.give_back(FileNumber(2)).expect("spare");
    assert_eq!(home.names(), ["000002.spare", "000003.wal", "000004.wal"]);
    pool.trim().expect("trimmed");
    assert_eq!(
        (home.names(), pool.spare_bytes()),
        (vec!["000003.wal".to_string(), "000004.wal".to_string()], 64 << 10)
    );
    assert_eq!(pool.take(0, &draw).expect("ready").number(), FileNumber(4));
}

/// The log number alone does not protect: who knows it can store a ready-made record as a value.
#[test]
fn each_use_of_a_file_has_its_own_salt() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 64 << 10)).expect("pool");
    let mut salts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        // The same number each time, as if nothing else told the uses apart.
        let number = pool.take(0, &|| FileNumber(1)).expect("segment").number();
        let file = FileIdentity { database: DATABASE, number };
        let image = read_file(&home, 1);
        salts.insert(super::super::format::decode_header(&image, file, "1").expect("header").salt);
        pool.give_back(number).expect("recycle");
    }
    assert_eq!(salts.len(), 20);
    assert_eq!(home.names(), ["000001.spare"], "it was one file all the time");
}

#[test]
fn a_full_disk_is_told_and_tried_again() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 64 << 10)).expect("pool");
    let draw = || home.draw();
    home.fs.faults.allocate.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(pool.take(0, &draw).map(|p| p.number()).expect_err("full").code(), Code::NoSpace);
        assert!(home.names().is_empty());
    }
    home.fs.faults.allocate.store(false, Ordering::Relaxed);
    home.next.store(1, Ordering::Relaxed);
    assert_eq!(pool.take(0, &draw).expect("space").bytes(), 64 << 10);
    for fault in [&home.fs.faults.sync, &home.fs.faults.write, &home.fs.faults.sync_dir] {
        fault.store(true, Ordering::Relaxed);
        assert_eq!(pool.take(0, &draw).map(|p| p.number()).expect_err("failing").code(), Code::Io);
        fault.store(false, Ordering::Relaxed);
        assert_eq!(home.names(), ["000001.wal"]);
        // The same with a spare to recycle.
        let path = home.dir.path().join("000001.wal");
        let image = std::fs::read(&path).expect("file");
        pool.give_back(FileNumber(1)).expect("spare");
        fault.store(true, Ordering::Relaxed);
        assert!(pool.take(0, &draw).is_err());
        fault.store(false, Ordering::Relaxed);
        assert!(home.names().is_empty() && pool.spare_bytes() == 0);
        std::fs::write(&path, image).expect("file");
    }
}

/// Zeros make syncs cheap; where nobody syncs they would only be written for nothing.
#[test]
fn large_files_are_written_ahead_where_somebody_syncs() {
    const LARGE: u64 = 4 << 20;
    let made = |syncs: bool, noted: bool| {
        let home = Home::new();
        let mut config = home.config(WalIo::Auto, LARGE);
        config.syncs = syncs;
        let pool = SegmentPool::new(config).expect("pool");
        let draw = || home.draw();
        if noted {
            pool.note_sync();
        }
        for bytes in [64 << 10, 256 << 10, 1 << 20] {
            let before = home.fs.written.load(Ordering::Relaxed);
            assert_eq!(pool.take(0, &draw).expect("segment").bytes(), bytes);
            assert!(home.fs.written.load(Ordering::Relaxed) - before >= bytes, "small files always are");
        }
        let before = home.fs.written.load(Ordering::Relaxed);
        assert_eq!(pool.take(0, &draw).expect("segment").bytes(), LARGE);
        home.fs.written.load(Ordering::Relaxed) - before
    };
    // Its header, and the first step of its window.
    assert!(made(false, false) <= 300 << 10);
    assert!(made(true, false) >= LARGE);
    // A sync before a small file was made is not forgotten with it.
    assert!(made(false, true) >= LARGE);
}
