//! Pages and zeros ahead of the writers, and the files that are made for syncs.

use super::*;
use crate::base::sync::AtomicBool;

const LARGE: u64 = 16 << 20;

/// Writers store through the mapping, by `write(2)` because a record is large, and by `write(2)` for want of a window,
/// while zeros are written and pages prepared ahead of them.
#[test]
fn what_goes_ahead_of_the_writers_harms_no_record() {
    for budget in [1 << 20, 96 << 10] {
        let home = Home::new();
        home.fs.budget.store(budget, Ordering::Relaxed);
        let log = MiniLog::open(&home, WalIo::Auto, LARGE, 1, None);
        let is_done = AtomicBool::new(false);
        let model = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let segment = Arc::clone(&log.current.read());
                    segment.go_ahead();
                }
            });
            let writers: Vec<_> = (0..3u64)
                .map(|writer| {
                    let log = &log;
                    scope.spawn(move || {
                        let (mut rng, mut written) = (writer, Records::new());
                        for _ in 0..1500 {
                            let r = splitmix(&mut rng);
                            let len = if r.is_multiple_of(11) { 20_000 } else { r % 5000 };
                            let payload = bytes_of(r, len as usize);
                            written.insert(log.put(1, &payload).first_seq.0, (1, payload));
                        }
                        written
                    })
                })
                .collect();
            let mut model = Records::new();
            writers.into_iter().for_each(|writer| model.append(&mut writer.join().expect("a writer")));
            is_done.store(true, Ordering::Relaxed);
            model
        });
        assert!(log.current.read().bytes() > 4 << 20, "segments that nobody syncs are not written before use");
        assert!(replay_home(&home, ReplayFrom::default()).expect("replay").0 == model);
    }
}

/// A fresh segment of 16 MiB with one record of each length stored, as it is without a thread ahead.
fn fresh(home: &Home, lens: &[usize]) -> (Segment<()>, Arc<dyn crate::fs::File>) {
    let path = home.dir.path().join("000001.wal");
    let file = crate::fs::Fs::open(&*home.fs, &path, OpenMode::CreateNew).expect("file");
    file.set_len(LARGE).expect("size");
    let id = SegmentIdentity::new(FileIdentity { database: DATABASE, number: FileNumber(1) }, 5);
    let map = file.map_log(LARGE).expect("map");
    let window = Window::new(map, Arc::clone(&file), LARGE, Grain::Fresh);
    let core = Core::new(Arc::clone(&file), Some(window), id, LARGE, LARGE / 4);
    let segment = Segment::start(core, (), SeqNo(1), None).expect("start");
    for (n, &len) in lens.iter().enumerate() {
        let payload = bytes_of(n as u64, len);
        let Reserved::Ticket(t) = segment.reserve(len, 1) else { panic!("room") };
        segment.write(t, RecordKind::Batch, &payload, payload_crc(&payload), SeqNo(0)).expect("write");
        segment.is_ahead_due(t.offset);
    }
    (segment, file)
}

#[test]
fn zeros_are_written_ahead_until_somebody_syncs_or_the_segment_is_closed() {
    let lens = [1000; 300];
    let written = |prepare: &dyn Fn(&Segment<()>)| {
        let home = Home::new();
        let (segment, _file) = fresh(&home, &lens);
        prepare(&segment);
        let before = home.fs.written.load(Ordering::Relaxed);
        segment.go_ahead();
        home.fs.written.load(Ordering::Relaxed) - before
    };
    assert!(written(&|_| {}) > 64 << 10);
    assert_eq!(written(&|segment| segment.sync().expect("sync")), 0);
    assert_eq!(written(&|segment| segment.stop_ahead()), 0);
    assert_eq!(
        written(&|segment| {
            let at = segment.close().expect("the only writer");
            segment.write_seal(at, FileNumber(2), SeqNo(0)).expect("seal");
            segment.release_before(at.offset);
        }),
        0
    );
}

#[test]
fn a_refused_zero_is_no_error() {
    let home = Home::new();
    let (segment, _file) = fresh(&home, &[1000; 300]);
    home.fs.faults.write.store(true, Ordering::Relaxed);
    segment.go_ahead();
    home.fs.faults.write.store(false, Ordering::Relaxed);
    let Reserved::Ticket(t) = segment.reserve(9000, 1) else { panic!("room") };
    let payload = bytes_of(1, 9000);
    segment.write(t, RecordKind::Batch, &payload, payload_crc(&payload), SeqNo(0)).expect("write");
    segment.sync().expect("sync");
}

/// What a file is used for next follows what is done to the log.
#[test]
fn a_file_is_used_again_for_what_it_was_made_for() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, LARGE)).expect("pool");
    let draw = || home.draw();
    let take = || loop {
        let before = home.fs.written.load(Ordering::Relaxed);
        let prepared = pool.take(0, &draw).expect("segment");
        if prepared.bytes() == LARGE {
            return (prepared, home.fs.written.load(Ordering::Relaxed) - before);
        }
    };
    let is_new = |bytes: u64| bytes >= LARGE;
    let (first, bytes) = take();
    assert!(!is_new(bytes), "nobody syncs");
    pool.give_back(first.number()).expect("spare");
    let kept = pool.spare();
    assert!(kept.is_some());
    let (second, bytes) = take();
    assert!(!is_new(bytes) && pool.spare().is_none(), "the spare serves again");
    pool.give_back(second.number()).expect("spare");
    pool.note_sync();
    let (third, bytes) = take();
    assert!(is_new(bytes), "a file that was filled without syncs is not used with them");
    pool.give_back(third.number()).expect("spare");
    pool.note_sync();
    let (fourth, bytes) = take();
    assert!(!is_new(bytes) && pool.spare().is_none(), "one that was made for them is");
    pool.give_back(fourth.number()).expect("spare");
    let (_fifth, bytes) = take();
    assert!(!is_new(bytes));
    assert!(pool.spare().is_none(), "but not without them");
}

#[test]
fn a_ready_file_gives_way_to_one_for_syncs() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, LARGE)).expect("pool");
    let draw = || home.draw();
    while pool.take(0, &draw).expect("segment").bytes() < LARGE {}
    pool.prepare_ahead(&draw).expect("ready");
    let coarse = pool.spare_bytes();
    assert!(coarse == LARGE && !pool.is_fine_ready());
    pool.note_sync();
    let before = home.fs.written.load(Ordering::Relaxed);
    pool.prepare_ahead(&draw).expect("ready");
    assert!(pool.is_fine_ready() && home.fs.written.load(Ordering::Relaxed) - before >= 1 << 20);
    assert_eq!(pool.spare_bytes(), 1 << 20, "in place of the other, and small, since somebody waits for it");
}

/// A log that comes to rest and wakes again for years.
#[test]
fn files_that_are_gone_are_forgotten() {
    let home = Home::new();
    let pool = SegmentPool::new(home.config(WalIo::Auto, 64 << 10)).expect("pool");
    let draw = || home.draw();
    for _ in 0..5 {
        let used = [pool.take(0, &draw).expect("segment").number(), pool.take(0, &draw).expect("segment").number()];
        pool.prepare_ahead(&draw).expect("ready");
        assert_eq!(pool.fine_count(), 3);
        pool.shrink().expect("removed");
        std::fs::remove_file(home.dir.path().join(format!("{:06}.wal", used[1].0))).expect("there");
        used.iter().for_each(|&number| pool.give_back(number).expect("given back"));
        pool.shrink().expect("removed");
        assert_eq!(pool.fine_count(), 0);
    }
}
