//! Readers beside a writer, and the mixes of YCSB.

use super::read::Pick;
use super::{Bench, Laps, Sample, State};
use crate::data::{Data, Rng, Zipf};
use crate::engine::{Cursor, Engine, Session, fail};
use crate::meter::{Histogram, tick_nanos, ticks};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Puts that are due together: a sleep keeps up with groups.
const GROUP: u64 = 20;

/// What the paced writer did.
struct Paced {
    count: u64,
    seconds: f64,
    latency: Histogram,
}

/// Percent of each kind of operation; the rest are read-modify-writes.
struct Mix {
    read: u64,
    update: u64,
    insert: u64,
    scan: u64,
    /// Reads prefer what was inserted last.
    is_latest: bool,
}

const fn mix(read: u64, update: u64, insert: u64, scan: u64) -> Mix {
    Mix { read, update, insert, scan, is_latest: false }
}

impl<E: Engine> Bench<'_, E> {
    pub(super) fn beside_writer(&self, name: &str, threads: usize, is_reading: bool) -> Sample {
        let is_over = AtomicBool::new(false);
        let mut sample = None;
        let paced = std::thread::scope(|scope| {
            let writer = scope.spawn(|| self.write_paced(&is_over));
            sample = Some(match is_reading {
                true => self.read(name, threads, Pick::Stored),
                false => self.seek(name, threads, true, 10),
            });
            is_over.store(true, Ordering::Relaxed);
            writer.join().unwrap_or_else(|_| fail("the writer panicked"))
        });
        let mut sample = sample.unwrap_or_else(|| fail("no sample"));
        let micros = |share: f64| paced.latency.quantile(share) / 1e3;
        sample.notes.extend([
            ("writes_per_s".to_string(), paced.count as f64 / paced.seconds),
            ("write_p99_us".to_string(), micros(0.99)),
            ("write_p999_us".to_string(), micros(0.999)),
            ("write_max_us".to_string(), paced.latency.max() / 1e3),
        ]);
        sample
    }

    /// Puts at a fixed rate, whether or not the engine keeps up: a put that begins late because an earlier one took long
    /// is timed from when it was due, so that one stall counts for all that it delayed. A put that begins late because
    /// this thread was woken late is timed from its waking, which is not the engine's doing.
    fn write_paced(&self, is_over: &AtomicBool) -> Paced {
        let plan = self.plan;
        let mut session = self.engine().session();
        let mut value = self.data.value_buffer();
        let mut rng = Rng::new(plan.seed + 7);
        let mut latency = Histogram::new();
        let (start, first, mut count) = (Instant::now(), ticks(), 0u64);
        let mut before = first;
        // When the group was due, if it begins late.
        let mut due = None;
        while !is_over.load(Ordering::Relaxed) {
            if plan.write_rate > 0 && count.is_multiple_of(GROUP) {
                let at = Duration::from_secs_f64(count as f64 / plan.write_rate as f64);
                due = match at.checked_sub(start.elapsed()) {
                    Some(rest) => {
                        std::thread::sleep(rest);
                        before = ticks();
                        None
                    }
                    None => Some(first + (at.as_nanos() as f64 / tick_nanos()) as u64),
                };
            }
            let id = Data::id(rng.below(plan.count));
            self.data.value(id, count, &mut value);
            session.put(&self.data.key(id), &value, false);
            let now = ticks();
            latency.add(now.saturating_sub(due.unwrap_or(before)));
            before = now;
            count += 1;
        }
        Paced { count, seconds: start.elapsed().as_secs_f64(), latency }
    }

    /// The mixes A to F; D and E insert keys behind all others.
    pub(super) fn ycsb(&mut self, name: &str, base: &str, threads: usize) -> Sample {
        let mix = match base {
            "ycsba" => mix(50, 50, 0, 0),
            "ycsbb" => mix(95, 5, 0, 0),
            "ycsbc" => mix(100, 0, 0, 0),
            "ycsbd" => Mix { is_latest: true, ..mix(95, 0, 5, 0) },
            "ycsbe" => mix(0, 0, 5, 95),
            "ycsbf" => mix(50, 0, 0, 0),
            _ => fail(&format!("no workload is called {name}")),
        };
        self.stored();
        let is_grown = mix.insert > 0 || self.state == State::Grown;
        self.state = if is_grown { State::Grown } else { State::Mixed };
        let plan = self.plan;
        let zipf = Zipf::new(plan.count);
        let inserted: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(0)).collect();
        let sample = self.timed(name, threads, |thread| {
            let mut client = Client {
                bench: self,
                session: self.engine().session(),
                buffer: self.data.value_buffer(),
                rng: Rng::new(plan.seed * 43 + thread as u64),
                zipf: &zipf,
                inserted: &inserted,
                thread,
            };
            let mut laps = Laps::new(plan);
            for turn in 0..plan.reads / threads as u64 {
                if !laps.is_open() {
                    break;
                }
                client.turn(&mix, turn);
                laps.lap();
            }
            laps.latency
        });
        let most = inserted.into_iter().map(AtomicU64::into_inner).max().unwrap_or(0);
        self.grown += most * threads as u64;
        sample
    }
}

/// One thread of YCSB. Each thread inserts keys of its own, and says how many, so that what is read is known to be there.
struct Client<'a, 'p, E: Engine> {
    bench: &'a Bench<'p, E>,
    session: E::Session<'a>,
    buffer: Vec<u8>,
    rng: Rng,
    zipf: &'a Zipf,
    inserted: &'a [AtomicU64],
    thread: usize,
}

impl<E: Engine> Client<'_, '_, E> {
    fn turn(&mut self, mix: &Mix, turn: u64) {
        let drawn = self.rng.below(100);
        if drawn < mix.read {
            let id = if mix.is_latest { self.latest() } else { self.hot() };
            return self.bench.get_checked(&mut self.session, id, &mut self.buffer);
        }
        let drawn = drawn - mix.read;
        if drawn < mix.update {
            let id = self.hot();
            return self.put(id, turn);
        }
        let drawn = drawn - mix.update;
        if drawn < mix.insert {
            return self.insert();
        }
        if drawn - mix.insert < mix.scan {
            return self.scan();
        }
        let id = self.hot();
        self.bench.get_checked(&mut self.session, id, &mut self.buffer);
        self.put(id, turn);
    }

    fn hot(&mut self) -> u64 {
        Data::id(self.zipf.place(&mut self.rng))
    }

    fn put(&mut self, id: u64, salt: u64) {
        let data = self.bench.data;
        data.value(id, salt + 1, &mut self.buffer);
        self.session.put(&data.key(id), &self.buffer, false);
    }

    fn insert(&mut self) {
        let mine = &self.inserted[self.thread];
        // Relaxed: only this thread stores it; Release below: whoever reads the number may read the keys.
        let count = mine.load(Ordering::Relaxed);
        let index = self.bench.plan.count + self.bench.grown + count * self.inserted.len() as u64 + self.thread as u64;
        self.put(Data::id(index), 0);
        self.inserted[self.thread].store(count + 1, Ordering::Release);
    }

    /// One of the latest keys, the last of them most often.
    fn latest(&mut self) -> u64 {
        let (rank, threads) = (self.zipf.rank(&mut self.rng), self.inserted.len() as u64);
        let (thread, back) = (rank % threads, rank / threads);
        // Acquire: pairs with the Release in `insert`.
        let count = self.inserted[thread as usize].load(Ordering::Acquire);
        let (stored, grown) = (self.bench.plan.count, self.bench.grown);
        let index = match count.checked_sub(back + 1) {
            Some(place) => stored + grown + place * threads + thread,
            None => stored - 1 - rank.saturating_sub(count * threads).min(stored - 1),
        };
        Data::id(index)
    }

    /// Up to 100 entries from a key on.
    fn scan(&mut self) {
        let from = self.zipf.place(&mut self.rng);
        let most = self.rng.below(100) + 1;
        let (data, stored) = (self.bench.data, self.bench.plan.count);
        let mut cursor = self.session.cursor();
        let mut stands = cursor.seek(&data.key(Data::id(from)));
        for step in 0..most {
            if !stands {
                if from + step < stored {
                    fail(&format!("a scan ended before id {}", Data::id(from + step)));
                }
                return;
            }
            if from + step < stored {
                data.check(Data::id(from + step), cursor.entry().1);
            }
            stands = cursor.next();
        }
    }
}
