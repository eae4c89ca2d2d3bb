//! libFuzzer's way into [`strandline_fuzz::chunk`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strandline_fuzz::chunk(data));
