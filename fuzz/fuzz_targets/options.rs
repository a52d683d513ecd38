//! libFuzzer entry of `lsm_fuzz::options`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsm_fuzz::options(data));
