//! libFuzzer's way into [`strandline_fuzz::fold`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strandline_fuzz::fold(data));
