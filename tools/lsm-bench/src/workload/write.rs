//! Fills, overwrites and deletes.

use super::{Bench, Laps, Plan, Sample, State};
use crate::data::{Data, share, shuffled};
use crate::engine::{Engine, Session, fail};
use crate::meter::{Histogram, ticks};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

impl<E: Engine> Bench<'_, E> {
    pub(super) fn run_write(&mut self, name: &str, base: &str, threads: usize) -> Sample {
        let plan = self.plan;
        match base {
            "fillseq" => self.fill(name, threads, None),
            "fillrandom" => {
                let sample = self.fill(name, threads, Some(1));
                self.state = State::Live;
                sample
            }
            "fillsync" => self.fill_synced(name, threads),
            "fillbatch" => self.fill_batch(name, threads),
            "fillsustained" => self.fill_sustained(name),
            "overwrite" => {
                self.settle();
                self.state = State::Mixed;
                let order = shuffled(plan.count, plan.seed + 3);
                self.timed(name, threads, |thread| self.put_share(share(&order, threads, thread), 1, false, plan))
            }
            "deleterandom" => self.delete_random(name, threads),
            _ => {
                self.fill(name, 1, Some(1));
                // SAFETY: ends the process as a kill would: no destructor, no close.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// Puts all of `order`, however long it takes.
    pub(super) fn put_all(&self, order: &[u32], salt: u64) -> Histogram {
        let unhurried = Plan { seconds: 0.0, ..self.plan.clone() };
        self.put_share(order, salt, false, &unhurried)
    }

    fn put_share(&self, share: &[u32], salt: u64, is_synced: bool, plan: &Plan) -> Histogram {
        let mut session = self.engine().session();
        let mut value = self.data.value_buffer();
        let mut laps = Laps::new(plan);
        for &index in share {
            if !laps.is_open() {
                break;
            }
            let id = Data::id(u64::from(index));
            self.data.value(id, salt, &mut value);
            session.put(&self.data.key(id), &value, is_synced);
            laps.lap();
        }
        laps.latency
    }

    /// All keys, in their order or in one drawn from `seed`.
    fn fill(&mut self, name: &str, threads: usize, seed: Option<u64>) -> Sample {
        self.fresh();
        let count = self.plan.count;
        let order = match seed {
            Some(seed) => shuffled(count, self.plan.seed + seed),
            None => (0..count as u32).collect(),
        };
        let sample = self.timed(name, threads, |thread| self.put_all(share(&order, threads, thread), 0));
        self.with_amplification(sample)
    }

    fn fill_synced(&mut self, name: &str, threads: usize) -> Sample {
        self.settings.is_synced = true;
        self.fresh();
        let mut order = shuffled(self.plan.count, self.plan.seed + 2);
        order.truncate(self.plan.syncs as usize);
        let plan = self.plan;
        let sample = self.timed(name, threads, |thread| self.put_share(share(&order, threads, thread), 0, true, plan));
        self.settings.is_synced = false;
        self.fresh();
        sample
    }

    fn fill_batch(&mut self, name: &str, threads: usize) -> Sample {
        const BATCH: usize = 100;
        self.fresh();
        let order = shuffled(self.plan.count, self.plan.seed + 4);
        let mut sample = self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut value = self.data.value_buffer();
            let mut latency = Histogram::new();
            for batch in share(&order, threads, thread).chunks(BATCH) {
                let before = ticks();
                for &index in batch {
                    let id = Data::id(u64::from(index));
                    self.data.value(id, 0, &mut value);
                    session.batch_put(&self.data.key(id), &value);
                }
                session.batch_write();
                latency.add(ticks() - before);
            }
            latency
        });
        // Keys are counted, latencies are of batches.
        sample.count = self.plan.count;
        self.with_amplification(sample)
    }

    fn fill_sustained(&mut self, name: &str) -> Sample {
        self.fresh();
        let order = shuffled(self.plan.count, self.plan.seed + 1);
        let (calm, drained) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut sample = self.timed(name, 1, |_| {
            let latency = self.put_all(&order, 0);
            let start = Instant::now();
            self.engine().flush();
            let rest = self.drain();
            calm.store(rest.as_micros() as u64, Ordering::Relaxed);
            drained.store((start.elapsed() - rest).as_micros() as u64, Ordering::Relaxed);
            latency
        });
        self.state = State::Mixed;
        sample.seconds -= calm.into_inner() as f64 / 1e6;
        sample.notes.push(("drain_ms".to_string(), drained.into_inner() as f64 / 1e3));
        self.with_amplification(sample)
    }

    fn with_amplification(&self, mut sample: Sample) -> Sample {
        sample.notes.push(("amplification".to_string(), sample.written as f64 / self.raw_bytes() as f64));
        sample
    }

    fn delete_random(&mut self, name: &str, threads: usize) -> Sample {
        self.stored();
        self.state = State::None;
        let plan = self.plan;
        let order = shuffled(plan.count, plan.seed + 5);
        let sample = self.timed(name, threads, |thread| {
            let mut session = self.engine().session();
            let mut laps = Laps::new(plan);
            for &index in share(&order, threads, thread) {
                if !laps.is_open() {
                    break;
                }
                session.delete(&self.data.key(Data::id(u64::from(index))));
                laps.lap();
            }
            laps.latency
        });
        if threads == 1 {
            self.check_deleted(&order, sample.count as usize);
        }
        sample
    }

    /// The first `deleted` of `order` are gone and the others are not, as far as a sample tells.
    fn check_deleted(&self, order: &[u32], deleted: usize) {
        const SAMPLE: usize = 500;
        let mut session = self.engine().session();
        let mut buffer = self.data.value_buffer();
        let (gone, kept) = order.split_at(deleted);
        for &index in gone.iter().step_by(gone.len() / SAMPLE + 1) {
            if session.get(&self.data.key(Data::id(u64::from(index))), &mut buffer).is_some() {
                fail(&format!("id {} was found, but deleted", Data::id(u64::from(index))));
            }
        }
        for &index in kept.iter().step_by(kept.len() / SAMPLE + 1) {
            self.get_checked(&mut session, Data::id(u64::from(index)), &mut buffer);
        }
    }
}
