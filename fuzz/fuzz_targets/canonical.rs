//! Objects: their canonical form, its digest, and the differences of two.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::canonical(bytes));
