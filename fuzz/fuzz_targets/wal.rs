//! libFuzzer entry of `lsm_fuzz::wal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsm_fuzz::wal(data));
