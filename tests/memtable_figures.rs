//! What the memtable costs, in nanoseconds of thread time: `cargo test --release --test memtable_figures -- --ignored
//! --nocapture`. The workload is that of the prototypes: 600,000 keys of 16 bytes, values of 100.
#![expect(clippy::print_stdout, reason = "prints its figures")]
#![expect(unsafe_code, reason = "reads the thread's processor clock")]

use lsm_engine::base::ids::SeqNo;
use lsm_engine::base::iter::{Cursor, View};
use lsm_engine::base::key::{EntryKind, key_hash};
use lsm_engine::memtable::{MemTable, MemTableConfig};
use std::hint::black_box;
use std::sync::Arc;

fn cpu_ns() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is a constant of the system's and `time` is ours to write.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// A key made on the spot, so that fetching it costs no cache miss.
struct Key {
    bytes: [u8; 48],
    len: usize,
}

impl Key {
    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn binary(number: u64) -> Key {
        let mut key = Key { bytes: [b'0'; 48], len: 16 };
        key.bytes[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn text(prefix: &str, digits: usize, base: u64, mut number: u64) -> Key {
        let mut key = Key { bytes: [b'0'; 48], len: prefix.len() + digits };
        key.bytes[..prefix.len()].copy_from_slice(prefix.as_bytes());
        for place in (prefix.len()..key.len).rev() {
            key.bytes[place] = b"0123456789abcdef"[(number % base) as usize];
            number /= base;
        }
        key
    }
}

type MakeKey = fn(u64) -> Key;

fn random(i: u64) -> Key {
    Key::binary(mix(i))
}

fn ascending(i: u64) -> Key {
    Key::binary(i)
}

fn user(i: u64) -> Key {
    Key::text("user", 19, 10, mix(i) % 10_000_000_000)
}

fn user_ascending(i: u64) -> Key {
    Key::text("user", 19, 10, i)
}

fn path(i: u64) -> Key {
    Key::text("/usr/share/doc/packages/", 16, 16, mix(i))
}

fn each(count: usize, mut work: impl FnMut(usize)) -> f64 {
    let from = cpu_ns();
    for i in 0..count {
        work(i);
    }
    (cpu_ns() - from) / count as f64
}

struct Figures {
    insert: f64,
    get: f64,
    dependent: f64,
    miss: f64,
    seek: f64,
    walk: f64,
    back: f64,
    bytes: f64,
}

fn fill(count: usize, make: impl Fn(u64) -> Key, value: &[u8]) -> (Arc<MemTable>, f64) {
    let bytes_max = 192 << 20;
    let table = MemTable::new(MemTableConfig { bytes_max, single_bytes_max: 0 }).expect("space");
    let ns = each(count, |i| {
        let key = make(i as u64);
        let mut space = table.reserve(1, key.len + value.len()).expect("space");
        table.insert(&mut space, key.get(), SeqNo(i as u64 + 1), EntryKind::Put, value);
    });
    (table, ns)
}

fn measure(make: MakeKey, count: usize) -> Figures {
    // What making a key costs is taken off every figure.
    let made = each(count, |i| {
        black_box(make(mix(i as u64 + 7) % count as u64).len);
    });
    let value = [7u8; 100];
    let (table, insert) = fill(count, make, &value);
    let mut out = [0u8; 100];
    let mut look = |key: &[u8]| {
        let found = table.get(key, key_hash(key), SeqNo::MAX)?;
        out[..found.value.len()].copy_from_slice(found.value);
        Some(u64::from(out[0]) + found.value.len() as u64)
    };
    let get = each(count, |i| {
        assert!(look(make(mix(i as u64 + 7) % count as u64).get()).is_some());
    });
    let mut last = 0;
    let dependent = each(count, |i| {
        last = look(make((mix(i as u64 + 9) + last) % count as u64).get()).unwrap_or(0) & 1;
    });
    let miss = each(count, |i| {
        black_box(look(make((count + 1 + i) as u64).get()));
    });
    let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
    let seek = each(count / 2, |i| {
        cursor.seek_ge(make(mix(i as u64 + 3) % count as u64).get()).expect("memory only");
        black_box(cursor.valid());
    });
    let mut sum = 0u64;
    cursor.seek_first().expect("memory only");
    let walk = each(count, |_| {
        if cursor.valid() {
            let entry = cursor.entry();
            sum += u64::from(entry.value[0]) + u64::from(entry.key[0]);
            cursor.next().expect("memory only");
        }
    });
    cursor.seek_last().expect("memory only");
    let back = each(count, |_| {
        if cursor.valid() {
            let entry = cursor.entry();
            sum += u64::from(entry.value[0]) + u64::from(entry.key[0]);
            cursor.prev().expect("memory only");
        }
    });
    black_box(sum);
    let payload = count * (make(0).len + value.len());
    let bytes = (table.bytes() - payload) as f64 / count as f64;
    Figures {
        insert: insert - made,
        get: get - made,
        dependent: dependent - made,
        miss: miss - made,
        seek: seek - made,
        walk,
        back,
        bytes,
    }
}

#[test]
#[ignore = "measures"]
fn figures() {
    let count = std::env::var("COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(600_000);
    let shapes: [(&str, MakeKey); 5] = [
        ("random", random),
        ("ascending", ascending),
        ("user + 19 digits", user),
        ("user, ascending", user_ascending),
        ("path + 16 hex", path),
    ];
    for (name, make) in shapes {
        let mut best: Option<Figures> = None;
        for _ in 0..3 {
            let now = measure(make, count);
            best = Some(match best {
                None => now,
                Some(old) => Figures {
                    insert: old.insert.min(now.insert),
                    get: old.get.min(now.get),
                    dependent: old.dependent.min(now.dependent),
                    miss: old.miss.min(now.miss),
                    seek: old.seek.min(now.seek),
                    walk: old.walk.min(now.walk),
                    back: old.back.min(now.back),
                    bytes: now.bytes,
                },
            });
        }
        if let Some(f) = best {
            println!(
                "{name:<18} insert {:5.0}  get {:5.0} (dependent {:5.0})  miss {:4.1}  seek {:5.0}  walk {:4.1}  back {:4.1} ns  {:.0} B/key over payload",
                f.insert, f.get, f.dependent, f.miss, f.seek, f.walk, f.back, f.bytes
            );
        }
    }
}

#[test]
#[ignore = "measures"]
fn overwrites_and_threads() {
    let count = 600_000usize;
    println!("overwrites of 1000 keys: {:.0} ns", fill(count, |i| random(i % 1000), &[7; 100]).1);
    for threads in [1usize, 2, 4] {
        let table = MemTable::new(MemTableConfig { bytes_max: 192 << 20, single_bytes_max: 0 }).expect("space");
        let total: f64 = std::thread::scope(|scope| {
            let jobs: Vec<_> = (0..threads)
                .map(|t| {
                    let table = &table;
                    scope.spawn(move || {
                        let from = cpu_ns();
                        for i in (t..count).step_by(threads) {
                            let key = random(i as u64);
                            let mut space = table.reserve(1, key.len + 100).expect("space");
                            table.insert(&mut space, key.get(), SeqNo(i as u64 + 1), EntryKind::Put, &[7; 100]);
                        }
                        cpu_ns() - from
                    })
                })
                .collect();
            jobs.into_iter().map(|job| job.join().expect("no panic")).sum()
        });
        println!("{threads} threads, random: {:.0} ns of processor time an insert", total / count as f64);
    }
}
