//! libFuzzer entry of `lsm_fuzz::table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsm_fuzz::table(data));
