//! libFuzzer entry of `lsm_fuzz::operations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsm_fuzz::operations(data));
