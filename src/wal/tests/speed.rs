//! Figures for a person: `cargo test --release --lib wal::tests::speed -- --ignored --nocapture`.

#![expect(clippy::print_stderr, reason = "figures for a person")]

use super::*;
use crate::base::clock::now;

#[test]
#[ignore = "a measurement"]
fn replay_64_mib() {
    let home = Home::new();
    let log = MiniLog::open(&home, WalIo::Write, 64 << 20, 1, None);
    let mut payload = bytes_of(1, 108);
    let mut bytes = 0u64;
    while bytes < 64 << 20 {
        payload[0] = payload[0].wrapping_add(1);
        log.put(1, &payload);
        bytes += record_bytes(payload.len());
    }
    for _ in 0..3 {
        let (mut count, start) = (0u64, now());
        let done = replay(&*home.fs, home.dir.path(), DATABASE, ReplayFrom::default(), &mut |_, _, p| {
            count += p.len() as u64;
            Ok(())
        });
        let done = done.expect("replay");
        eprintln!("{} MiB, {} records: {:?}", done.bytes >> 20, count / 108, start.elapsed());
    }
}

#[test]
#[ignore = "a measurement"]
fn store_without_a_file_system() {
    for len in [60usize, 108, 400, 4000] {
        let payload = bytes_of(1, len);
        let id = SegmentIdentity::new(FileIdentity { database: DATABASE, number: FileNumber(1) }, 5);
        let start = now();
        let (mut sum, rounds) = (0u64, 2_000_000u64);
        for i in 0..rounds {
            let header = RecordHeader::new(RecordKind::Batch, len as u32, 1, SeqNo(i), SeqNo(0));
            sum += u64::from(header.sign(payload_crc(std::hint::black_box(&payload)), &id, i * 8)[0]);
        }
        eprintln!("checksum and header of {len} bytes: {} ns ({sum})", start.elapsed().as_nanos() as u64 / rounds);
    }
}
