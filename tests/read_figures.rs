//! What reads through the public interface cost, in nanoseconds of thread time: `cargo test --release --test read_figures --
//! --ignored --nocapture`. Keys of 16 bytes, values of 100, everything cached. *Settled*: flushed, compacted to one level.
//! *Live*: a half-full memtable and two level-0 tables over it.
#![expect(clippy::print_stdout, reason = "prints its figures")]
#![expect(clippy::unwrap_used, reason = "a measurement stops at the first error")]
#![expect(unsafe_code, reason = "reads the thread's processor clock")]

use lsm_engine::db::{Db, Keyspace, Options, ReadOptions, Seek, WriteOptions};
use std::hint::black_box;

const ENTRIES: u64 = 1_000_000;

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

/// Even numbers are there, odd ones are not.
fn key(number: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// The least of five rounds.
fn time(name: &str, count: u64, mut round: impl FnMut(u64)) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = cpu_ns();
        round(count);
        best = best.min((cpu_ns() - start) / count as f64);
    }
    println!("{name:<56}{best:>9.1} ns");
}

fn put(keyspace: &Keyspace, numbers: impl Iterator<Item = u64>) {
    let noise: Vec<u8> = (0..1 << 16).map(|i| mix(i) as u8).collect();
    for number in numbers {
        let at = mix(number) as usize % (noise.len() - 100);
        keyspace.put(&WriteOptions::default(), &key(number), &noise[at..at + 100]).unwrap();
    }
}

fn gets(keyspace: &Keyspace) {
    let options = ReadOptions::default();
    let mut out = [0u8; 128];
    let mut get = |key: &[u8]| {
        keyspace
            .get_with(&options, key, |value| {
                out[..value.len()].copy_from_slice(value);
                black_box(&out);
                u64::from(value[0])
            })
            .unwrap()
    };
    time("get, there", 500_000, |count| {
        for i in 0..count {
            assert!(get(&key(mix(i) % ENTRIES * 2)).is_some());
        }
    });
    time("get, there, each waiting for the one before", 500_000, |count| {
        let mut last = 0;
        for i in 0..count {
            last = get(&key(mix(2 * i + (last & 1)) % ENTRIES * 2)).unwrap();
        }
    });
    time("get, there, 2048 hot keys", 500_000, |count| {
        for i in 0..count {
            assert!(get(&key(mix(i) % 2048 * 2)).is_some());
        }
    });
    time("get, not there", 500_000, |count| {
        for i in 0..count {
            assert!(get(&key(mix(i) % ENTRIES * 2 + 1)).is_none());
        }
    });
    let keys: Vec<[u8; 16]> = (0..256_000).map(|i| key(mix(i) % ENTRIES * 2)).collect();
    time("multi_get of 64, a key", 256_000, |count| {
        for group in keys[..count as usize].chunks(64) {
            let group: Vec<&[u8]> = group.iter().map(|key| &key[..]).collect();
            assert!(keyspace.multi_get(&options, &group).unwrap().iter().all(|value| matches!(value, Ok(Some(_)))));
        }
    });
}

fn scans(keyspace: &Keyspace) {
    let options = ReadOptions::default();
    let mut sum = 0u64;
    let mut add = |key: &[u8], value: &[u8]| sum += u64::from(key[0]) + u64::from(value[0]);
    for (name, count) in [("next, all", ENTRIES), ("next, 5000 hot entries", 5000)] {
        let mut iter = keyspace.iter(&options).unwrap();
        time(name, ENTRIES, |total| {
            for _ in 0..total / count {
                iter.seek(Seek::First, &[]).unwrap();
                for _ in 1..count {
                    let entry = iter.next().unwrap().unwrap();
                    add(entry.key, entry.value);
                }
            }
        });
    }
    let mut iter = keyspace.iter(&options).unwrap();
    time("prev, all", ENTRIES, |total| {
        iter.seek(Seek::Last, &[]).unwrap();
        for _ in 1..total {
            let entry = iter.prev().unwrap().unwrap();
            add(entry.key, entry.value);
        }
    });
    time("seek", 200_000, |total| {
        for i in 0..total {
            let entry = iter.seek(Seek::Ge, &key(mix(i) % (ENTRIES - 20) * 2)).unwrap().unwrap();
            add(entry.key, entry.value);
        }
    });
    time("seek + 10 next", 100_000, |total| {
        for i in 0..total {
            iter.seek(Seek::Ge, &key(mix(i) % (ENTRIES - 20) * 2)).unwrap().unwrap();
            for _ in 0..10 {
                let entry = iter.next().unwrap().unwrap();
                add(entry.key, entry.value);
            }
        }
    });
    time("open an iterator", 100_000, |total| {
        for _ in 0..total {
            black_box(keyspace.iter(&options).unwrap());
        }
    });
    time("open an iterator, seek + 10 next", 100_000, |total| {
        for i in 0..total {
            let mut iter = keyspace.iter(&options).unwrap();
            iter.seek(Seek::Ge, &key(mix(i) % (ENTRIES - 20) * 2)).unwrap().unwrap();
            for _ in 0..10 {
                let entry = iter.next().unwrap().unwrap();
                add(entry.key, entry.value);
            }
        }
    });
    black_box(sum);
}

#[test]
#[ignore = "a measurement"]
fn figures() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new();
    options.set("cache.size", "1GiB").unwrap();
    options.set("memtable.size", "64MiB").unwrap();
    let db = Db::open(folder.path(), &options).unwrap();
    let keyspace = db.default_keyspace();
    put(&keyspace, (0..ENTRIES).map(|i| i * 2));
    db.flush(None).unwrap();
    keyspace.compact(None, None).unwrap();
    println!("settled");
    // Warms filters, index and blocks.
    for i in 0..ENTRIES {
        keyspace.get_with(&ReadOptions::default(), &key(i * 2), |_| ()).unwrap().unwrap();
    }
    gets(&keyspace);
    scans(&keyspace);
    for round in 0..3 {
        put(&keyspace, (0..100_000).map(|i| mix(i * 3 + round) % ENTRIES * 2));
        if round < 2 {
            db.flush(None).unwrap();
        }
    }
    println!("live");
    for i in 0..ENTRIES {
        keyspace.get_with(&ReadOptions::default(), &key(i * 2), |_| ()).unwrap().unwrap();
    }
    gets(&keyspace);
    scans(&keyspace);
    db.close().unwrap();
}
