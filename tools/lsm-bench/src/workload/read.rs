//! Point reads, scans and seeks.

use super::{Bench, Laps, Sample, State};
use crate::data::{Data, KEY_LEN, Rng, ScanSum, Zipf, shuffled};
use crate::engine::{Cursor, Engine, Session, fail};
use crate::meter::Histogram;

/// Which keys are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// Stored ones, each as likely as any.
    Stored,
    /// Ones that lie between those.
    Missing,
    /// Stored ones by a zipfian law.
    Hot,
}

impl<E: Engine> Bench<'_, E> {
    /// Point reads.
    pub(super) fn read(&self, name: &str, threads: usize, pick: Pick) -> Sample {
        let plan = self.plan;
        let zipf = (pick == Pick::Hot).then(|| Zipf::new(plan.count));
        self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut buffer = self.data.value_buffer();
            let mut rng = Rng::new(plan.seed * 31 + thread as u64);
            let mut laps = Laps::new(plan);
            for _ in 0..plan.reads / threads as u64 {
                if !laps.is_open() {
                    break;
                }
                let index = match &zipf {
                    Some(zipf) => zipf.place(&mut rng),
                    None => rng.below(plan.count),
                };
                if pick != Pick::Missing {
                    self.get_checked(&mut session, Data::id(index), &mut buffer);
                } else if session.get(&self.data.key(Data::id(index) + 1), &mut buffer).is_some() {
                    fail(&format!("id {} was found, but never written", Data::id(index) + 1));
                }
                laps.lap();
            }
            laps.latency
        })
    }

    /// Point reads of keys that half of a memtable holds.
    pub(super) fn read_memtable(&mut self, name: &str, threads: usize) -> Sample {
        /// What an entry costs a memtable besides its bytes, generously.
        const OVERHEAD: usize = 100;
        self.fresh();
        let plan = self.plan;
        let fits = self.settings.memtable_bytes / 2 / (KEY_LEN + self.data.value_len + OVERHEAD);
        let mut order = shuffled(plan.count, plan.seed + 6);
        order.truncate(fits.max(1));
        drop(self.put_all(&order, 0));
        self.wait_idle();
        let sample = self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut buffer = self.data.value_buffer();
            let mut rng = Rng::new(plan.seed * 31 + thread as u64);
            let mut laps = Laps::new(plan);
            for _ in 0..plan.reads / threads as u64 {
                if !laps.is_open() {
                    break;
                }
                let index = order[rng.below(order.len() as u64) as usize];
                self.get_checked(&mut session, Data::id(u64::from(index)), &mut buffer);
                laps.lap();
            }
            laps.latency
        });
        self.state = State::None;
        sample
    }

    /// Several keys a call; keys are counted, latencies are of calls.
    pub(super) fn multi_get(&self, name: &str, threads: usize) -> Sample {
        const KEYS: usize = 16;
        let plan = self.plan;
        let mut sample = self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut buffer = self.data.value_buffer();
            let mut rng = Rng::new(plan.seed * 41 + thread as u64);
            let (mut ids, mut keys) = ([0; KEYS], [[0; KEY_LEN]; KEYS]);
            let mut laps = Laps::new(plan);
            for _ in 0..plan.reads / KEYS as u64 / threads as u64 {
                if !laps.is_open() {
                    break;
                }
                for (id, key) in ids.iter_mut().zip(&mut keys) {
                    *id = Data::id(rng.below(plan.count));
                    *key = self.data.key(*id);
                }
                session.multi_get(&keys, &mut buffer, &mut |place, value| match value {
                    Some(value) => self.data.check(ids[place], value),
                    None => fail(&format!("the key of id {} was not found", ids[place])),
                });
                laps.lap();
            }
            laps.latency
        });
        sample.count *= KEYS as u64;
        sample
    }

    pub(super) fn scan(&mut self, name: &str, pass: impl Fn(&Self, &mut ScanSum) + Sync) -> Sample {
        const PASSES: u64 = 2;
        let all = *self.all.get_or_insert_with(|| ScanSum::of_all(self.data));
        let mut sample = self.timed(name, 1, |_| {
            for _ in 0..PASSES {
                let mut sum = ScanSum::default();
                pass(self, &mut sum);
                if sum.count != all.count || sum.ids != all.ids || sum.keys != all.keys || sum.bytes != all.bytes {
                    fail(&format!("a scan gave {sum:?} instead of {all:?}"));
                }
            }
            Histogram::new()
        });
        sample.count = self.plan.count * PASSES;
        sample.latency = None;
        sample
    }

    pub(super) fn scan_forward(&self, sum: &mut ScanSum) {
        let mut session = self.engine().session();
        let mut cursor = session.cursor();
        let mut stands = cursor.first();
        while stands {
            let (key, value) = cursor.entry();
            sum.add(key, value);
            stands = cursor.next();
        }
    }

    pub(super) fn scan_many(&self, sum: &mut ScanSum) {
        let mut session = self.engine().session();
        let mut cursor = session.cursor();
        let mut stands = cursor.first();
        while stands {
            stands = cursor.read_forward(&mut |key, value| sum.add(key, value));
        }
    }

    pub(super) fn scan_backward(&self, sum: &mut ScanSum) {
        let mut session = self.engine().session();
        let mut cursor = session.cursor();
        let mut stands = cursor.last();
        while stands {
            let (key, value) = cursor.entry();
            sum.add(key, value);
            stands = cursor.prev();
        }
    }

    /// A seek to a stored key and some steps.
    pub(super) fn seek_once(&self, cursor: &mut impl Cursor, index: u64, steps: u64) {
        let id = Data::id(index);
        let key = self.data.key(id);
        if !cursor.seek(&key) || cursor.entry().0 != key {
            fail(&format!("a seek did not find id {id}"));
        }
        for step in index..(index + steps).min(self.plan.count - 1) {
            self.data.check(Data::id(step), cursor.entry().1);
            if !cursor.next() {
                fail(&format!("a scan ended before id {}", Data::id(step + 1)));
            }
        }
    }

    pub(super) fn seek(&self, name: &str, threads: usize, is_new: bool, steps: u64) -> Sample {
        let plan = self.plan;
        self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut rng = Rng::new(plan.seed * 37 + thread as u64);
            let count = plan.reads / 2 / threads as u64;
            let mut laps = Laps::new(plan);
            if is_new {
                for _ in 0..count {
                    if !laps.is_open() {
                        break;
                    }
                    let mut cursor = session.cursor();
                    self.seek_once(&mut cursor, rng.below(plan.count), steps);
                    drop(cursor);
                    laps.lap();
                }
            } else {
                let mut cursor = session.cursor();
                for _ in 0..count {
                    if !laps.is_open() {
                        break;
                    }
                    self.seek_once(&mut cursor, rng.below(plan.count), steps);
                    laps.lap();
                }
            }
            laps.latency
        })
    }
}
