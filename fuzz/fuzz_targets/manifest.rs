//! libFuzzer entry of `lsm_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsm_fuzz::manifest(data));
