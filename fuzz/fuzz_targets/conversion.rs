//! See `conversion` in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_hangar_fuzz::conversion(data));
