//! Frames of the cache: readers beside threads that evict, close a table or put a frame in.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use lsm_models::cache::slots::{FrameRef, release_spares};
use lsm_models::cache::{Cache, frame, is_freed, look};

/// Runs all orders of `f`; what it answers is the cache and how many frames it made.
fn model(bound: usize, f: impl Fn() -> (Arc<Cache>, u8) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        let (cache, frames) = f();
        Arc::try_unwrap(cache).map_err(|_| "shared").unwrap().finish();
        for id in 0..frames {
            assert!(is_freed(id), "frame {id} leaked");
        }
        release_spares();
    });
}

fn full() -> Arc<Cache> {
    let cache = Arc::new(Cache::new());
    drop(cache.insert(frame(0)));
    cache
}

fn spawn<T: 'static>(cache: &Arc<Cache>, f: impl FnOnce(&Cache) -> T + 'static) -> thread::JoinHandle<T> {
    let cache = Arc::clone(cache);
    thread::spawn(move || f(&cache))
}

/// A lookup that keeps what it found.
fn read(cache: &Cache) {
    let held = cache.get();
    if let Some(held) = held.as_deref() {
        assert_eq!((look(held), look(held)), (0, 0), "bytes that changed");
    }
    drop(held);
    // What is still in the slot is there whatever the reader before did with its count.
    cache.peek();
}

#[test]
fn a_reader_that_counts_and_an_evictor() {
    model(3, || {
        let cache = full();
        let evictor = spawn(&cache, |cache| {
            cache.evict();
            cache.reap();
        });
        read(&cache);
        evictor.join().unwrap();
        assert_eq!(cache.peek(), None, "evicted");
        (cache, 1)
    });
}

#[test]
fn a_reader_an_evictor_and_a_closer() {
    model(3, || {
        let cache = full();
        let threads = [
            spawn(&cache, |cache| {
                cache.evict();
                cache.reap();
            }),
            spawn(&cache, |cache| {
                cache.forget();
                cache.reap();
            }),
        ];
        read(&cache);
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(cache.slots.resident(), 0);
        (cache, 1)
    });
}

#[test]
fn a_frame_that_is_put_in_beside_readers() {
    model(3, || {
        let cache = Arc::new(Cache::new());
        let reader = spawn(&cache, |cache| {
            cache.peek();
            read(cache);
        });
        let ours = cache.insert(frame(0));
        assert_eq!(look(&ours), 0);
        drop(ours);
        cache.evict();
        cache.reap();
        reader.join().unwrap();
        (cache, 1)
    });
}

#[test]
fn two_that_put_a_frame_in_and_a_closer() {
    model(3, || {
        let cache = Arc::new(Cache::new());
        let insert = |id| {
            spawn(&cache, move |cache| {
                let kept = cache.insert(frame(id));
                look(&kept);
            })
        };
        let threads = [insert(0), insert(1)];
        cache.forget();
        cache.reap();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!((cache.peek(), cache.slots.resident()), (None, 0), "a closed table took a frame");
        (cache, 2)
    });
}

#[test]
fn the_last_count_may_be_a_readers() {
    model(3, || {
        let cache = full();
        let held = cache.get().unwrap();
        let other = FrameRef::clone(&held);
        let reader = thread::spawn(move || {
            look(&other);
            drop(other);
        });
        let evictor = spawn(&cache, |cache| {
            cache.evict();
            cache.reap();
        });
        look(&held);
        drop(held);
        reader.join().unwrap();
        evictor.join().unwrap();
        (cache, 1)
    });
}

#[test]
fn an_array_that_goes_with_a_frame_in_it() {
    model(3, || {
        let cache = full();
        let held = cache.get().unwrap();
        let reader = thread::spawn(move || {
            look(&held);
            drop(held);
        });
        // Closed by nobody: the array's drop gives its count back.
        let cache = Arc::try_unwrap(cache).map_err(|_| "shared").unwrap();
        cache.finish();
        reader.join().unwrap();
        (Arc::new(Cache::new()), 1)
    });
}
