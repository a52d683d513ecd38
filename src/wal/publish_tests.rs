//! Order, waiting, wrap-around and failure of the publisher.

use super::*;
use crate::base::sync::AtomicBool;
use std::sync::Arc;
use std::thread;

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn records_become_visible_in_order_only() {
    let p = Publisher::new(SeqNo(10));
    p.mark_done(SeqNo(12), 3);
    assert_eq!(p.visible(), SeqNo(10));
    assert_eq!(p.stored(), SeqNo(10));
    p.mark_stored(SeqNo(10), 2);
    assert_eq!(p.visible(), SeqNo(10));
    assert_eq!(p.stored(), SeqNo(15));
    p.mark_done(SeqNo(10), 2);
    assert_eq!(p.visible(), SeqNo(15));
    assert!(p.wait_visible(SeqNo(15)) && p.wait_stored(SeqNo(15)));
}

#[test]
fn a_record_whose_sync_is_outstanding_is_not_passed() {
    let p = Publisher::new(SeqNo(10));
    p.mark_stored(SeqNo(10), 2);
    p.mark_done(SeqNo(12), 3);
    assert_eq!((p.visible(), p.stored()), (SeqNo(10), SeqNo(15)));
    p.mark_done(SeqNo(10), 2);
    assert_eq!(p.visible(), SeqNo(15));
}

#[test]
fn a_batch_longer_than_the_ring_is_one_step() {
    let p = Publisher::new(SeqNo(1));
    p.mark_stored(SeqNo(1), 10_000);
    assert_eq!(p.stored(), SeqNo(10_001));
    p.mark_done(SeqNo(1), 10_000);
    p.mark_done(SeqNo(10_001), 1);
    assert_eq!(p.visible(), SeqNo(10_002));
}

#[test]
fn a_record_a_ring_ahead_waits_for_its_slot() {
    let p = Arc::new(Publisher::new(SeqNo(0)));
    let ahead = {
        let p = Arc::clone(&p);
        thread::spawn(move || p.mark_done(SeqNo(5000), 1))
    };
    thread::sleep(Duration::from_millis(30));
    assert!(!ahead.is_finished());
    p.mark_done(SeqNo(1), 4999);
    assert_eq!(p.visible(), SeqNo(0));
    p.mark_done(SeqNo(0), 1);
    ahead.join().expect("no panic");
    assert!(p.wait_visible(SeqNo(5001)));
}

#[test]
fn failure_wakes_those_behind_and_spares_those_before() {
    let p = Arc::new(Publisher::new(SeqNo(0)));
    let waiters: Vec<_> = [5u64, 6, 9000]
        .into_iter()
        .map(|next| {
            let p = Arc::clone(&p);
            thread::spawn(move || (next, p.wait_visible(SeqNo(next)), p.wait_stored(SeqNo(next))))
        })
        .collect();
    let far = {
        let p = Arc::clone(&p);
        thread::spawn(move || p.mark_done(SeqNo(8999), 1))
    };
    thread::sleep(Duration::from_millis(30));
    p.fail(SeqNo(5));
    p.mark_done(SeqNo(6), 1);
    p.mark_done(SeqNo(0), 5);
    for waiter in waiters {
        let (next, visible, stored) = waiter.join().expect("no panic");
        assert_eq!((visible, stored), (next == 5, next == 5), "waiter for {next}");
    }
    far.join().expect("no panic");
    assert_eq!(p.visible(), SeqNo(5));
    assert!(!p.wait_visible(SeqNo(7)));
}

/// Threads draw records of random lengths and mark them; each checks that what it waited for was stored by its writer.
#[test]
fn eight_threads_never_see_a_hole() {
    const TOTAL: u64 = 120_000;
    let p = Arc::new(Publisher::new(SeqNo(1)));
    let next = Arc::new(AtomicU64::new(1));
    let written: Arc<Vec<AtomicBool>> = Arc::new((0..TOTAL + 20_000).map(|_| AtomicBool::new(false)).collect());
    let threads: Vec<_> = (0..8u64)
        .map(|id| {
            let (p, next, written) = (Arc::clone(&p), Arc::clone(&next), Arc::clone(&written));
            thread::spawn(move || {
                let mut rng = id;
                loop {
                    let r = splitmix(&mut rng);
                    let count = if r.is_multiple_of(1000) { 5000 } else { r % 7 + 1 };
                    let first = next.fetch_add(count, Ordering::Relaxed);
                    if first >= TOTAL {
                        p.fail(SeqNo(first));
                        return;
                    }
                    // Relaxed on purpose: only the publisher orders these.
                    (first..first + count).for_each(|s| written[s as usize].store(true, Ordering::Relaxed));
                    if r.is_multiple_of(5) {
                        p.mark_stored(SeqNo(first), count as u32);
                        if r.is_multiple_of(10) {
                            assert!(p.wait_stored(SeqNo(first + count)));
                            let stored = p.stored().0;
                            assert!((first..stored).all(|s| written[s as usize].load(Ordering::Relaxed)));
                        }
                    }
                    p.mark_done(SeqNo(first), count as u32);
                    assert!(p.wait_visible(SeqNo(first + count)));
                    let visible = p.visible().0;
                    let from = visible.saturating_sub(64).max(1);
                    assert!((from..visible).all(|s| written[s as usize].load(Ordering::Relaxed)));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().expect("no panic"));
    assert!(p.visible().0 >= TOTAL);
}

/// Figures: `cargo test --release --lib wal::publish -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "figures for a person")]
fn throughput() {
    for threads in [1u64, 2, 8, 32] {
        let p = Arc::new(Publisher::new(SeqNo(0)));
        let next = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (p, next, stop) = (Arc::clone(&p), Arc::clone(&next), Arc::clone(&stop));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let first = SeqNo(next.fetch_add(1, Ordering::Relaxed));
                        p.mark_done(first, 1);
                        p.wait_visible(SeqNo(first.0 + 1));
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|t| t.join().expect("no panic"));
        eprintln!("{threads:2} threads: {:.2} M records/s", p.visible().0 as f64 / 1e6);
    }
}
