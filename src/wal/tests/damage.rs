//! Crashes and bit-rot: every cut, every flip, missing and foreign segments, forged bytes.

use super::*;

/// A log of one segment: (records, their end offsets, the file). With `durable`, a mark behind them covers all.
fn small_log(home: &Home, durable: bool) -> (Records, Vec<u64>, Vec<u8>) {
    let log = MiniLog::open(home, WalIo::Write, 16 << 10, 1, None);
    let (mut model, mut ends) = (Records::new(), Vec::new());
    for i in 0..12u64 {
        let payload = bytes_of(i, (i * 5 % 31) as usize);
        let t = log.put((i % 3 + 1) as u32, &payload);
        ends.push(t.offset + record_bytes(payload.len()));
        model.insert(t.first_seq.0, (t.count, payload));
    }
    if durable {
        log.sync();
    }
    (model, ends, read_file(home, 1))
}

fn prefix(model: &Records, count: usize) -> Records {
    model.iter().take(count).map(|(k, v)| (*k, v.clone())).collect()
}

#[test]
fn a_log_torn_at_any_byte_gives_the_whole_records_before() {
    let home = Home::new();
    let (model, ends, mut image) = small_log(&home, false);
    let last = *ends.last().expect("records") as usize;
    // The header of a segment whose size nobody wrote down.
    let header = unsized_header(&image);
    image[..HEADER_BYTES].copy_from_slice(&header);
    for cut in HEADER_BYTES..=last {
        for zeros in [true, false] {
            let mut bytes = image[..cut].to_vec();
            if zeros {
                bytes.resize(image.len(), 0);
            }
            write_file(&home, 1, &bytes);
            let whole = ends.iter().filter(|e| **e as usize <= cut).count();
            let (records, done) = replay_home(&home, ReplayFrom::default()).expect("torn is no error");
            // Zeros that follow may be just the bytes that were cut off.
            let more = records.len();
            assert!(more == whole || (zeros && more == whole + 1), "cut at {cut}");
            assert_eq!(records, prefix(&model, more));
            let begun = ends[..whole].last().map_or(HEADER_BYTES, |e| *e as usize) + 32;
            assert!(done.torn.is_some() || cut <= begun || more > whole || whole == 0, "cut at {cut}");
        }
    }
}

/// The header page of `image` without what it says of the file's size.
fn unsized_header(image: &[u8]) -> Vec<u8> {
    let file = FileIdentity { database: DATABASE, number: FileNumber(1) };
    let id = super::super::format::decode_header(&image[..HEADER_BYTES], file, "x").expect("header");
    super::super::format::encode_header(&id, 0, 0)
}

/// A segment has its whole size before its first record: a file that is shorter was cut, whether or not anything in it
/// was synced. Only a close cuts a file, and then its last record says so.
#[test]
fn a_shorter_file_is_corruption_unless_its_end_says_so() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 16 << 10, 1, None);
    for i in 0..9u64 {
        log.put(1, &bytes_of(i, i as usize * 3));
    }
    let check = |image: &[u8], from: ReplayFrom| {
        for len in (HEADER_BYTES..image.len()).step_by(8).chain([image.len() - 1]) {
            write_file(&home, 1, &image[..len]);
            let error = replay_home(&home, from).expect_err("cut");
            assert!(error.code() == Code::Corruption && error.message().contains("000001.wal"), "{len}: {error}");
        }
    };
    let whole = read_file(&home, 1);
    assert_eq!(whole.len(), 16 << 10);
    check(&whole, ReplayFrom::default());
    write_file(&home, 1, &whole);
    // A process that dies between the cut and the edit that tells of it leaves this.
    let clean = log.close();
    let image = read_file(&home, 1);
    assert!(image.len() as u64 == clean.offset && image.len() < whole.len());
    assert_eq!(replay_home(&home, ReplayFrom::default()).expect("ends as it says").0.len(), 9);
    check(&image, ReplayFrom::default());
}

#[test]
fn every_flip_below_the_watermark_is_corruption() {
    let home = Home::new();
    let (model, ends, image) = small_log(&home, true);
    let last = *ends.last().expect("records") as usize;
    let whole = replay_home(&home, ReplayFrom::default()).expect("sound").0;
    assert_eq!(whole, model);
    assert_eq!(replay_image(&image, ReplayFrom::default()).expect("sound"), model);
    for bit in telling_bits(last) {
        let mut bad = image.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = replay_image(&bad, ReplayFrom::default()).expect_err("a flip");
        assert_eq!(error.code(), Code::Corruption, "bit {bit}: {error}");
        assert!(error.message().contains("000001.wal"), "{error}");
    }
}

/// A process may die between reserving a mark and storing it, while others store records behind it.
#[test]
fn a_mark_that_was_never_stored_costs_nothing() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Write, 16 << 10, 1, None);
    let mut model = Records::new();
    for i in 0..6u64 {
        if i == 3 {
            log.reserve(0, 0);
        }
        let payload = bytes_of(i, 20);
        let t = log.put(2, &payload);
        model.insert(t.first_seq.0, (t.count, payload));
    }
    let (records, done) = replay_home(&home, ReplayFrom::default()).expect("sound");
    assert_eq!(records, model);
    assert!(done.torn.is_none());
    let clean = log.close();
    let from = ReplayFrom { clean_end: Some(clean), ..ReplayFrom::default() };
    assert_eq!(replay_home(&home, from).expect_err("closed cleanly, a hole").code(), Code::Corruption);
}

#[test]
fn flips_above_the_watermark_are_a_torn_tail() {
    let home = Home::new();
    let (model, ends, image) = small_log(&home, false);
    let last = *ends.last().expect("records") as usize;
    for bit in ((HEADER_BYTES + 32) * 8..last * 8).step_by(3) {
        let mut bad = image.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        write_file(&home, 1, &bad);
        let (records, done) = replay_home(&home, ReplayFrom::default()).expect("torn");
        let before = ends.iter().filter(|e| **e as usize <= bit / 8).count();
        assert_eq!(records, prefix(&model, before), "bit {bit}");
        let behind = before + 1 < ends.len();
        assert!(done.torn.is_some() || !behind);
        if behind {
            assert_eq!(done.highest_seen.0, 24, "dropped records count, bit {bit}");
        }
    }
}

#[test]
fn entries_in_tables_may_be_lost_below_the_watermark() {
    let home = Home::new();
    let (_, ends, mut image) = small_log(&home, true);
    image[ends[3] as usize + 8] ^= 1;
    write_file(&home, 1, &image);
    assert!(replay_home(&home, ReplayFrom { flushed_seq: SeqNo(23), ..ReplayFrom::default() }).is_err());
    let from = ReplayFrom { flushed_seq: SeqNo(24), ..ReplayFrom::default() };
    let (records, done) = replay_home(&home, from).expect("all of it is in tables");
    assert!(records.is_empty() && done.torn.is_some() && done.highest_seen == SeqNo(24));
}

#[test]
fn every_flip_and_cut_after_a_clean_close_is_corruption() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 16 << 10, 1, None);
    for i in 0..6u64 {
        log.put(1, &bytes_of(i, i as usize * 3));
    }
    let clean = log.close();
    let from = ReplayFrom { clean_end: Some(clean), ..ReplayFrom::default() };
    let image = read_file(&home, 1);
    assert_eq!(image.len() as u64, clean.offset);
    replay_home(&home, from).expect("sound");
    for bit in telling_bits(image.len()) {
        let mut bad = image.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(replay_image(&bad, from).expect_err("flip").code(), Code::Corruption, "bit {bit}");
    }
    for len in (0..image.len()).step_by(31).chain(HEADER_BYTES..image.len()) {
        write_file(&home, 1, &image[..len]);
        assert_eq!(replay_home(&home, from).expect_err("cut").code(), Code::Corruption, "length {len}");
    }
    for junk in [&[0u8][..], &[0; 8], &[1; 100]] {
        write_file(&home, 1, &[&image, junk].concat());
        assert!(replay_home(&home, from).is_err());
    }
    std::fs::remove_file(home.dir.path().join("000001.wal")).expect("remove");
    assert!(replay_home(&home, from).expect_err("missing").message().contains("000001.wal"));
}

#[test]
fn records_behind_a_clean_end_are_corruption() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 16 << 10, 1, None);
    log.put(1, b"x");
    let clean = log.close();
    let end = SealedAt { offset: clean.offset, next_seq: SeqNo(2) };
    let previous = Previous { number: clean.number, end, durable: SeqNo(2) };
    let next = MiniLog::open(&home, WalIo::Auto, 16 << 10, 2, Some(previous));
    next.put(1, b"y");
    assert!(replay_home(&home, ReplayFrom { clean_end: Some(clean), ..ReplayFrom::default() }).is_err());
    // With the clean end taken back it is just the next segment.
    assert_eq!(replay_home(&home, ReplayFrom::default()).expect("chain").0.len(), 2);
}

/// Three segments of 16 KiB; the numbers of the records in each.
fn three_segments(home: &Home, synced: bool) -> Records {
    let log = MiniLog::open(home, WalIo::Auto, 16 << 10, 1, None);
    let mut model = Records::new();
    for i in 0..30u64 {
        let payload = bytes_of(i, 1000);
        let t = log.put(1, &payload);
        model.insert(t.first_seq.0, (1, payload));
    }
    if synced {
        log.sync();
    }
    assert_eq!(home.names(), ["000001.wal", "000002.wal", "000003.wal"]);
    model
}

#[test]
fn a_missing_swapped_or_foreign_segment_is_corruption() {
    for missing in 1..=3 {
        let home = Home::new();
        three_segments(&home, false);
        std::fs::remove_file(home.dir.path().join(format!("{missing:06}.wal"))).expect("remove");
        let error = replay_home(&home, ReplayFrom::default()).expect_err("missing");
        assert_eq!(error.code(), Code::Corruption);
        assert!(error.message().contains(&format!("{missing:06}.wal")), "{error}");
        let from = ReplayFrom { first_segment: FileNumber(missing + 1), ..ReplayFrom::default() };
        assert!(replay_home(&home, from).is_ok(), "not needed");
    }
    let home = Home::new();
    three_segments(&home, false);
    let (one, two) = (read_file(&home, 1), read_file(&home, 2));
    write_file(&home, 1, &two);
    write_file(&home, 2, &one);
    assert!(replay_home(&home, ReplayFrom::default()).is_err());
    write_file(&home, 1, &one);
    write_file(&home, 2, &[]);
    assert!(replay_home(&home, ReplayFrom::default()).is_err());
    let other = replay(&*home.fs, home.dir.path(), DATABASE + 1, ReplayFrom::default(), &mut |_, _, _| Ok(()));
    assert!(other.expect_err("foreign").message().contains("database identity"));
}

#[test]
fn odd_names_are_not_segments() {
    let home = Home::new();
    let model = three_segments(&home, false);
    for name in ["4.wal", "000004.spare", "0000003.wal", "000009.wal.bak", "x"] {
        std::fs::write(home.dir.path().join(name), b"junk").expect("junk");
    }
    assert_eq!(replay_home(&home, ReplayFrom::default()).expect("replay").0, model);
}

#[test]
fn a_hole_in_an_earlier_segment_drops_the_later_ones_or_is_corruption() {
    for synced in [false, true] {
        let home = Home::new();
        let model = three_segments(&home, synced);
        let sound = [read_file(&home, 1), read_file(&home, 2)];
        // The middle of segment 1, the seal of segment 1, the start record of segment 2.
        for (number, at) in [(1, 5000), (1, 16_000), (2, HEADER_BYTES + 8)] {
            let mut bad = sound[number - 1].clone();
            let at = if at == 16_000 { seal_offset(&bad) } else { at };
            bad[at..at + 8].fill(0xff);
            write_file(&home, number as u64, &bad);
            let answer = replay_home(&home, ReplayFrom::default());
            write_file(&home, number as u64, &sound[number - 1]);
            if at == seal_offset(&sound[0]) && number == 1 {
                // The next segment says where this one ends.
                assert_eq!(answer.expect("the seal is not needed").0, model);
            } else if synced {
                assert_eq!(answer.expect_err("below the watermark").code(), Code::Corruption, "{number} {at}");
            } else {
                let (records, done) = answer.expect("torn");
                assert_eq!(records, prefix(&model, records.len()));
                assert!(records.len() < 30 && done.torn.is_some());
                assert_eq!(done.highest_seen, SeqNo(30));
            }
        }
    }
}

fn seal_offset(image: &[u8]) -> usize {
    let mut at = HEADER_BYTES;
    loop {
        let mut fields = [0u8; 32];
        fields.copy_from_slice(&image[at..at + 32]);
        let header = RecordHeader::decode(&fields);
        if header.kind == RecordKind::Seal as u8 {
            return at;
        }
        at += record_bytes(header.len as usize) as usize;
    }
}

#[test]
fn crash_states_around_a_new_segment() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 16 << 10, 1, None);
    log.put(1, b"one");
    let segment = Arc::clone(&log.current.read());
    // Prepared, not started.
    let next = log.pool.take(0, &|| home.draw()).expect("segment");
    assert_eq!(replay_home(&home, ReplayFrom::default()).expect("prepared").0.len(), 1);
    // Sealed, the next one not started.
    let at = segment.close().expect("open");
    segment.write_seal(at, next.number(), SeqNo(0)).expect("seal");
    let (records, done) = replay_home(&home, ReplayFrom::default()).expect("sealed");
    assert!(records.len() == 1 && done.torn.is_none());
    // Sealed, the next one gone.
    let (path, away) = (home.dir.path().join("000002.wal"), home.dir.path().join("away"));
    std::fs::rename(&path, &away).expect("rename");
    assert!(replay_home(&home, ReplayFrom::default()).expect_err("gone").message().contains("000002.wal"));
    std::fs::rename(&away, &path).expect("rename");
    // Started with one that was never used between.
    let previous = Previous { number: segment.number(), end: at, durable: SeqNo(0) };
    next.start((), at.next_seq, Some(previous)).expect("start");
    assert_eq!(replay_home(&home, ReplayFrom::default()).expect("started").1.last_seq, SeqNo(1));
}

#[test]
fn an_unused_segment_in_the_middle_is_stepped_over() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 16 << 10, 1, None);
    log.put(1, b"one");
    let unused = log.pool.take(0, &|| home.draw()).expect("segment");
    let segment = Arc::clone(&log.current.read());
    log.rotate(&segment, segment.close().expect("open"), 0);
    log.put(1, b"two");
    assert_eq!(unused.number(), FileNumber(2));
    assert_eq!(replay_home(&home, ReplayFrom::default()).expect("replay").0.len(), 2);
}

#[test]
fn stale_records_of_a_recycled_file_never_replay() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 16 << 10, 1, None);
    let payload = bytes_of(1, 24);
    let (mut gone, mut last) = (0, FileNumber(0));
    for _ in 0..4000 {
        log.put(1, &payload);
        let numbers: Vec<FileNumber> = log.old.lock().drain(..).map(|s| s.number()).collect();
        for number in numbers {
            log.pool.give_back(number).expect("recycle");
            (gone, last) = (gone + 1, number);
        }
        if log.publisher.visible().0.is_multiple_of(7) {
            let from = ReplayFrom { first_segment: FileNumber(last.0 + 1), ..ReplayFrom::default() };
            let (records, done) = replay_home(&home, from).expect("replay");
            assert_eq!(done.last_seq.0 + 1, log.publisher.visible().0);
            assert_eq!(done.highest_seen, done.last_seq);
            assert!(done.torn.is_none(), "stale bytes are not a torn record: {:?}", done.torn);
            assert!(records.values().all(|r| r.1 == payload));
        }
    }
    assert!(gone > 10 && home.names().len() <= 3, "{gone} recycled, {:?}", home.names());
}

/// Random damage, with the checksums made right again: no panic, no sequence that goes back.
#[test]
fn forged_bytes_are_survived() {
    let home = Home::new();
    let (_, ends, image) = small_log(&home, true);
    let file = FileIdentity { database: DATABASE, number: FileNumber(1) };
    let id = super::super::format::decode_header(&image[..HEADER_BYTES], file, "x").expect("header");
    let mut starts = vec![HEADER_BYTES as u64];
    starts.extend(&ends);
    let mut rng = 42;
    for _ in 0..20_000 {
        let mut bytes = image.clone();
        for _ in 0..splitmix(&mut rng) % 3 + 1 {
            let at = starts[(splitmix(&mut rng) % starts.len() as u64) as usize] as usize;
            let byte = at + (splitmix(&mut rng) % 40) as usize;
            bytes[byte] = if splitmix(&mut rng).is_multiple_of(4) { 0xff } else { splitmix(&mut rng) as u8 };
            let mut fields = [0u8; 32];
            fields.copy_from_slice(&bytes[at..at + 32]);
            let header = RecordHeader::decode(&fields);
            let end = at + record_bytes(header.len as usize) as usize;
            if let Some(padded) = bytes.get(at + 32..end) {
                let head = header.sign(payload_crc(padded), &id, at as u64);
                bytes[at..at + 32].copy_from_slice(&head);
            }
        }
        bytes.truncate(bytes.len() - (splitmix(&mut rng) % 64) as usize);
        let mut next = 0;
        let done = replay_bytes(file, &bytes, ReplayFrom::default(), &mut |seq, count, _| {
            assert!(seq.0 >= next && seq.0 + u64::from(count) <= SeqNo::MAX.0);
            next = seq.0 + u64::from(count);
            Ok(())
        });
        if let Err(e) = done {
            assert_eq!(e.code(), Code::Corruption);
        }
    }
}
