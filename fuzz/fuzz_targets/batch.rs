//! libFuzzer entry of `lsm_fuzz::batch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsm_fuzz::batch(data));
