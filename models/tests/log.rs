//! Reservation and publishing of log records: every order of a few threads.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use lsm_models::base::ids::SeqNo;
use lsm_models::wal::publish::Publisher;
use lsm_models::wal::reserve::{Outcome, ReserveWord};

fn model(bound: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(f);
}

struct Log {
    word: ReserveWord,
    publisher: Publisher,
    /// What a memtable would hold, by sequence number.
    entries: Vec<AtomicU64>,
}

impl Log {
    fn new(entries: usize) -> Arc<Log> {
        Arc::new(Log {
            word: ReserveWord::new(64, 1 << 16),
            publisher: Publisher::new(SeqNo(1)),
            entries: (0..=entries).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    fn reserve(&self, count: u32) -> u64 {
        match self.word.reserve(32, count) {
            Outcome::Accepted(place) => 1 + u64::from(place.entries),
            other => panic!("{other:?} in an empty segment"),
        }
    }

    fn insert(&self, first: u64, count: u32) {
        for seq in first..first + u64::from(count) {
            // Relaxed: publishing is what must carry it over.
            self.entries[seq as usize].store(seq, Ordering::Relaxed);
        }
    }

    /// Whoever sees a position sees everything below it.
    fn look(&self) -> u64 {
        let visible = self.publisher.visible().0;
        for seq in 1..visible {
            assert_eq!(self.entries[seq as usize].load(Ordering::Relaxed), seq, "visible and not there");
        }
        visible
    }

    fn write(&self, count: u32, is_fsync: bool) {
        let first = self.reserve(count);
        self.insert(first, count);
        let next = SeqNo(first + u64::from(count));
        if is_fsync {
            self.publisher.mark_stored(SeqNo(first), count);
            assert!(self.publisher.wait_stored(next));
            let stored = self.publisher.stored().0;
            assert!(stored >= next.0);
            for seq in 1..stored {
                assert_eq!(self.entries[seq as usize].load(Ordering::Relaxed), seq, "stored and not there");
            }
        }
        self.publisher.mark_done(SeqNo(first), count);
        assert!(self.publisher.wait_visible(next));
        assert!(self.look() >= next.0, "a writer does not see its own write");
    }
}

#[test]
fn two_writers_and_a_reader() {
    model(3, || {
        let log = Log::new(3);
        let writers: Vec<_> = [1, 2]
            .map(|count| {
                let log = Arc::clone(&log);
                thread::spawn(move || log.write(count, false))
            })
            .into();
        let first = log.look();
        assert!(log.look() >= first, "the visible position went back");
        writers.into_iter().for_each(|w| w.join().unwrap());
        assert_eq!(log.look(), 4);
    });
}

#[test]
fn a_writer_that_syncs_and_one_that_does_not() {
    model(3, || {
        let log = Log::new(2);
        let other = Arc::clone(&log);
        let writer = thread::spawn(move || other.write(1, true));
        log.write(1, false);
        writer.join().unwrap();
        assert_eq!(log.look(), 3);
    });
}

#[test]
fn two_writers_that_sync() {
    model(2, || {
        let log = Log::new(2);
        let other = Arc::clone(&log);
        let writer = thread::spawn(move || other.write(1, true));
        log.write(1, true);
        writer.join().unwrap();
        assert_eq!(log.look(), 3);
    });
}

#[test]
fn the_ring_goes_round() {
    // Six records of two threads over four slots.
    model(2, || {
        let log = Log::new(6);
        let other = Arc::clone(&log);
        let writer = thread::spawn(move || (0..3).for_each(|_| other.write(1, false)));
        (0..3).for_each(|_| log.write(1, false));
        writer.join().unwrap();
        assert_eq!(log.look(), 7);
    });
}

#[test]
fn nobody_waits_behind_a_failed_record() {
    model(3, || {
        let log = Log::new(2);
        let first = log.reserve(1);
        let other = Arc::clone(&log);
        let writer = thread::spawn(move || {
            let second = other.reserve(1);
            other.insert(second, 1);
            other.publisher.mark_done(SeqNo(second), 1);
            assert!(!other.publisher.wait_visible(SeqNo(second + 1)), "passed a failed record");
        });
        log.publisher.fail(SeqNo(first));
        writer.join().unwrap();
        assert_eq!(log.look(), 1);
    });
}

#[test]
fn one_thread_learns_that_it_crossed_the_end() {
    model(3, || {
        // Room for one record of 32 bytes.
        let word = Arc::new(ReserveWord::new(64, 96));
        let try_once = |word: &ReserveWord| match word.reserve(32, 1) {
            Outcome::Accepted(place) => (1, 0, place.offset),
            Outcome::Crossed(place) => (0, 1, place.offset),
            Outcome::Closed => (0, 0, 0),
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn(move || try_once(&word))
            })
            .collect();
        let mut all = vec![try_once(&word)];
        all.extend(threads.into_iter().map(|t| t.join().unwrap()));
        assert_eq!(all.iter().map(|a| a.0).sum::<u32>(), 1, "accepted: {all:?}");
        assert_eq!(all.iter().map(|a| a.1).sum::<u32>(), 1, "crossed: {all:?}");
        assert!(all.iter().any(|a| a.1 == 1 && a.2 == 96), "the end of what was accepted: {all:?}");
    });
}
