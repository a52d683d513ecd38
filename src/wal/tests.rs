//! The log as a whole: write, crash, damage, replay.

use super::format::{HEADER_BYTES, RecordHeader, SegmentIdentity, record_bytes};
use super::segment::Core;
use super::testing::{DATABASE, Home, TestFs};
use super::window::{Grain, Window};
use super::*;
use crate::base::ids::FileIdentity;
use crate::base::sync::{AtomicU64, Mutex, Ordering, RwLock};
use crate::error::{Code, Error, Result};
use crate::fs::OpenMode;
use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

mod ahead;
mod damage;
mod files;
mod speed;

type Records = BTreeMap<u64, (u32, Vec<u8>)>;

/// The least a database does with the log.
struct MiniLog<'h> {
    home: &'h Home,
    pool: SegmentPool,
    current: RwLock<Arc<Segment<()>>>,
    old: Mutex<Vec<Arc<Segment<()>>>>,
    publisher: Publisher,
    durable: AtomicU64,
}

impl<'h> MiniLog<'h> {
    fn open(home: &'h Home, io: WalIo, segment_bytes_max: u64, base: u64, previous: Option<Previous>) -> MiniLog<'h> {
        let pool = SegmentPool::new(home.config(io, segment_bytes_max)).expect("pool");
        let prepared = pool.take(0, &|| home.draw()).expect("segment");
        let first = prepared.start((), SeqNo(base), previous).expect("start");
        MiniLog {
            home,
            pool,
            current: RwLock::new(Arc::new(first)),
            old: Mutex::new(Vec::new()),
            publisher: Publisher::new(SeqNo(base)),
            durable: AtomicU64::new(0),
        }
    }

    fn durable(&self) -> SeqNo {
        SeqNo(self.durable.load(Ordering::Acquire))
    }

    fn rotate(&self, old: &Arc<Segment<()>>, at: SealedAt, need: usize) {
        let next = self.pool.take(need, &|| self.home.draw()).expect("segment");
        old.write_seal(at, next.number(), self.durable()).expect("seal");
        let previous = Previous { number: old.number(), end: at, durable: self.durable() };
        let next = next.start((), at.next_seq, Some(previous)).expect("start");
        self.old.lock().push(Arc::clone(old));
        *self.current.write() = Arc::new(next);
    }

    fn reserve(&self, len: usize, count: u32) -> (Arc<Segment<()>>, Ticket) {
        loop {
            let segment = Arc::clone(&self.current.read());
            if !segment.can_hold(len) {
                match segment.close() {
                    Some(at) => self.rotate(&segment, at, len),
                    None => thread::yield_now(),
                }
                continue;
            }
            match segment.reserve(len, count) {
                Reserved::Ticket(t) => return (segment, t),
                Reserved::Seal(at) => self.rotate(&segment, at, len),
                Reserved::Full => thread::yield_now(),
            }
        }
    }

    fn put(&self, count: u32, payload: &[u8]) -> Ticket {
        let crc = payload_crc(payload);
        let (segment, t) = self.reserve(payload.len(), count);
        segment.write(t, RecordKind::Batch, payload, crc, self.durable()).expect("write");
        self.publisher.mark_done(t.first_seq, count);
        assert!(self.publisher.wait_visible(SeqNo(t.first_seq.0 + u64::from(count))));
        let _ = segment.is_ahead_due(t.offset);
        segment.release_before(t.offset);
        t
    }

    /// Makes everything durable and says so in a mark.
    fn sync(&self) {
        let stored = self.publisher.stored();
        self.old.lock().iter().for_each(|s| s.sync().expect("sync"));
        self.current.read().sync().expect("sync");
        self.durable.fetch_max(stored.0, Ordering::AcqRel);
        let (segment, t) = self.reserve(0, 0);
        segment.write(t, RecordKind::Mark, &[], payload_crc(&[]), self.durable()).expect("mark");
    }

    fn close(&self) -> CleanEnd {
        let segment = self.current.read();
        let offset = segment.truncate_and_sync().expect("close");
        self.pool.remove_spares().expect("spares");
        CleanEnd { number: segment.number(), offset, last_seq: SeqNo(self.publisher.visible().0 - 1) }
    }
}

fn replay_home(home: &Home, from: ReplayFrom) -> Result<(Records, Replayed)> {
    replay_dir(home, home.dir.path(), from)
}

fn replay_dir(home: &Home, dir: &Path, from: ReplayFrom) -> Result<(Records, Replayed)> {
    let mut records = Records::new();
    let mut expected = None;
    let done = replay(&*home.fs, dir, DATABASE, from, &mut |seq, count, payload| {
        assert!(expected.is_none_or(|e| seq.0 >= e), "sequence went back");
        expected = Some(seq.0 + u64::from(count));
        records.insert(seq.0, (count, payload.to_vec()));
        Ok(())
    })?;
    Ok((records, done))
}

/// The one segment `bytes` as file 1.
fn replay_image(bytes: &[u8], from: ReplayFrom) -> Result<Records> {
    let mut records = Records::new();
    let file = FileIdentity { database: DATABASE, number: FileNumber(1) };
    replay_bytes(file, bytes, from, &mut |seq, count, payload| {
        records.insert(seq.0, (count, payload.to_vec()));
        Ok(())
    })?;
    Ok(records)
}

/// The bits that say something: those of the header page's fields and of all behind it. The rest of the header page has
/// its own test in `format`.
fn telling_bits(len: usize) -> impl Iterator<Item = usize> {
    (0..64 * 8).chain((HEADER_BYTES - 8) * 8..len * 8)
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn bytes_of(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    (0..len).map(|_| splitmix(&mut state) as u8).collect()
}

fn read_file(home: &Home, number: u64) -> Vec<u8> {
    std::fs::read(home.dir.path().join(format!("{number:06}.wal"))).expect("segment file")
}

fn write_file(home: &Home, number: u64, bytes: &[u8]) {
    std::fs::write(home.dir.path().join(format!("{number:06}.wal")), bytes).expect("segment file");
}

/// A thread that panics never marks its record: the others must not wait for it.
struct FailOnPanic<'p>(&'p Publisher);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(SeqNo(0));
        }
    }
}

fn eight_threads(io: WalIo) {
    let home = Home::new();
    let model = Mutex::new(Records::new());
    let log = MiniLog::open(&home, io, 128 << 10, 1, None);
    thread::scope(|scope| {
        for id in 0..8u64 {
            let (log, model, home) = (&log, &model, &home);
            scope.spawn(move || {
                let _told = FailOnPanic(&log.publisher);
                let mut rng = id;
                for i in 0..700u64 {
                    let r = splitmix(&mut rng);
                    let len = if r.is_multiple_of(97) { (r >> 32) % 60_000 } else { (r >> 32) % 500 } as usize;
                    let (count, payload) = ((r % 5 + 1) as u32, bytes_of(r, len));
                    if r.is_multiple_of(31) {
                        let (segment, t) = log.reserve(len, count);
                        segment.write_pad(t, len, log.durable()).expect("pad");
                        log.publisher.mark_done(t.first_seq, count);
                        continue;
                    }
                    let t = log.put(count, &payload);
                    assert!(model.lock().insert(t.first_seq.0, (count, payload)).is_none());
                    if i % 50 == id {
                        log.sync();
                    }
                    if id == 0 && i % 20 == 0 {
                        log.pool.prepare_ahead(&|| home.draw()).expect("prepare");
                    }
                }
            });
        }
    });
    let (records, done) = replay_home(&home, ReplayFrom::default()).expect("replay");
    assert_eq!(records, *model.lock());
    assert_eq!(done.last_seq.0 + 1, log.publisher.visible().0);
    assert_eq!(done.highest_seen, done.last_seq);
    assert!(done.torn.is_none(), "{:?}", done.torn);
    assert!(done.segments.len() > 10);
    assert_eq!(log.pool.io() == "mmap", io != WalIo::Write);
    // A clean close, and again.
    let clean = log.close();
    let (again, _) = replay_home(&home, ReplayFrom { clean_end: Some(clean), ..ReplayFrom::default() }).expect("clean");
    assert_eq!(again, records);
    drop(log);
    assert_eq!(home.fs.budget.load(Ordering::Relaxed), 1 << 20, "all locked bytes are given back");
}

#[test]
fn eight_threads_over_segment_borders_replay_exactly_mapped() {
    eight_threads(WalIo::Auto);
}

#[test]
fn eight_threads_over_segment_borders_replay_exactly_written() {
    eight_threads(WalIo::Write);
}

#[test]
fn what_is_flushed_is_not_applied_again() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 64 << 10, 10, None);
    for i in 0..10 {
        log.put(2, &bytes_of(i, 20));
    }
    let from = ReplayFrom { flushed_seq: SeqNo(14), ..ReplayFrom::default() };
    let (records, done) = replay_home(&home, from).expect("replay");
    // 14 ends in the middle of the batch of 14 and 15.
    assert_eq!(records.keys().copied().next(), Some(14));
    assert_eq!(done.last_seq, SeqNo(29));
}

#[test]
fn an_error_of_the_owner_ends_the_replay() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 64 << 10, 1, None);
    log.put(1, b"x");
    let stop = replay(&*home.fs, home.dir.path(), DATABASE, ReplayFrom::default(), &mut |_, _, _| {
        Err(Error::new(Code::NoMem, "full"))
    });
    assert_eq!(stop.expect_err("passed on").code(), Code::NoMem);
}

#[test]
fn huge_records_get_segments_of_their_own() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 256 << 10, 1, None);
    let sizes = [10, 70_000, 300_000, 20, 3_000_001, 63_000, 0, 1_000_000];
    for (i, len) in sizes.into_iter().enumerate() {
        let t = log.put(1, &bytes_of(i as u64, len));
        assert_eq!(t.first_seq.0, 1 + i as u64);
    }
    let (records, _) = replay_home(&home, ReplayFrom::default()).expect("replay");
    for (i, len) in sizes.into_iter().enumerate() {
        assert_eq!(records[&(1 + i as u64)].1, bytes_of(i as u64, len));
    }
    assert_eq!(records.len(), sizes.len());
    assert!(log.pool.take(usize::MAX / 2, &|| home.draw()).is_err());
}

/// One history through the mapping and through `write(2)`, under one identity: the same bytes.
#[test]
fn both_ways_to_store_leave_the_same_bytes() {
    let home = Home::new();
    let id = SegmentIdentity::new(FileIdentity { database: DATABASE, number: FileNumber(1) }, 5);
    let bytes = 256u64 << 10;
    let images: Vec<Vec<u8>> = [true, false]
        .into_iter()
        .map(|mapped| {
            let path = home.dir.path().join(format!("{mapped}"));
            let file = crate::fs::Fs::open(&*home.fs, &path, OpenMode::CreateNew).expect("file");
            file.set_len(bytes).expect("size");
            let window =
                mapped.then(|| Window::new(file.map_log(bytes).expect("map"), Arc::clone(&file), bytes, Grain::Fine));
            let core = Core::new(Arc::clone(&file), window, id, bytes, bytes / 4);
            let segment = Segment::start(core, (), SeqNo(1), None).expect("start");
            let mut rng = 1;
            let end = loop {
                let r = splitmix(&mut rng);
                let payload = bytes_of(r, (r % 9000) as usize);
                match segment.reserve(payload.len(), 1) {
                    Reserved::Ticket(t) if r.is_multiple_of(13) => {
                        segment.write_pad(t, payload.len(), SeqNo(3)).expect("pad")
                    }
                    Reserved::Ticket(t) => {
                        let crc = payload_crc(&payload);
                        segment.write(t, RecordKind::Batch, &payload, crc, SeqNo(3)).expect("write");
                        segment.release_before(t.offset);
                    }
                    Reserved::Seal(at) => break at,
                    Reserved::Full => unreachable!("one thread"),
                }
            };
            segment.write_seal(end, FileNumber(2), SeqNo(3)).expect("seal");
            assert_eq!(segment.sealed(), Some(end));
            std::fs::read(&path).expect("image")
        })
        .collect();
    assert!(images[0] == images[1]);
}

#[test]
fn a_refused_budget_means_write_and_says_so() {
    for (io, budget, wanted) in
        [(WalIo::Auto, 0, Ok("write")), (WalIo::Mmap, 0, Err(Code::Unsupported)), (WalIo::Mmap, 1 << 20, Ok("mmap"))]
    {
        let home = Home::new();
        home.fs.budget.store(budget, Ordering::Relaxed);
        let pool = SegmentPool::new(home.config(io, 1 << 20)).expect("pool");
        let got = pool.take(0, &|| home.draw()).map(|_| pool.io()).map_err(|e| e.code());
        assert_eq!(got, wanted);
    }
    let home = Home::with(TestFs { mappable: false, ..TestFs::new() });
    assert_eq!(SegmentPool::new(home.config(WalIo::Auto, 1 << 20)).expect("pool").io(), "write");
    assert!(SegmentPool::new(home.config(WalIo::Mmap, 1 << 20)).is_err());
}

#[test]
fn a_budget_that_runs_dry_later_costs_only_speed() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Auto, 1 << 20, 1, None);
    let mut model = Records::new();
    for i in 0..3000u64 {
        if i % 500 == 100 {
            home.fs.budget.fetch_sub(1 << 30, Ordering::Relaxed);
        }
        if i % 500 == 300 {
            home.fs.budget.fetch_add(1 << 30, Ordering::Relaxed);
        }
        let payload = bytes_of(i, (i % 700) as usize);
        let t = log.put(1, &payload);
        model.insert(t.first_seq.0, (1, payload));
    }
    assert_eq!(replay_home(&home, ReplayFrom::default()).expect("replay").0, model);
}

#[test]
fn a_failed_sync_is_final_and_a_failed_write_ends_the_segment_there() {
    for io in [WalIo::Auto, WalIo::Write] {
        let home = Home::new();
        let log = MiniLog::open(&home, io, 64 << 10, 1, None);
        log.put(1, b"one");
        home.fs.faults.sync.store(true, Ordering::Relaxed);
        assert!(log.current.read().sync().is_err());
        home.fs.faults.sync.store(false, Ordering::Relaxed);
        assert_eq!(log.current.read().sync().expect_err("sticky").os_errno(), libc::EIO);
        assert!(log.current.read().truncate_and_sync().is_err());
    }
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Write, 64 << 10, 1, None);
    let (segment, before) = log.reserve(3, 1);
    let (_, failing) = log.reserve(3, 1);
    let (_, behind) = log.reserve(3, 1);
    let crc = payload_crc(b"abc");
    home.fs.faults.write.store(true, Ordering::Relaxed);
    assert!(segment.write(failing, RecordKind::Batch, b"abc", crc, SeqNo(0)).is_err());
    home.fs.faults.write.store(false, Ordering::Relaxed);
    assert!(segment.write(behind, RecordKind::Batch, b"abc", crc, SeqNo(0)).is_err());
    assert!(segment.sync().is_err());
    segment.write(before, RecordKind::Batch, b"abc", crc, SeqNo(0)).expect("before the failure");
    let (records, done) = replay_home(&home, ReplayFrom::default()).expect("replay");
    assert_eq!((records.len(), done.last_seq), (1, SeqNo(1)));
}
