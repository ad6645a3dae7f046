//! What is fuzzed, each target a function from bytes that must return, whatever the bytes, or panic where a promise is
//! broken.
//!
//! A fuzzer calls one through `fuzz_targets/`; `tests/corpus.rs` calls all of them with what is kept in `corpus/`, on
//! any toolchain. The promises themselves are in the modules.

#[path = "../../webhooks/tests/review/generate.rs"]
mod generate;
#[allow(dead_code)]
#[path = "../../webhooks/tests/review/sensible.rs"]
mod sensible;

mod admitting;
mod converting;
mod grammar;
mod hostile;
mod input;
mod made;
mod same;
mod tree;

pub use admitting::admission;
pub use converting::{conversion, stash};
pub use grammar::{duration, endpoint, image, pattern, quantity};
pub use hostile::body;
pub use made::generated;
pub use tree::json;

/// A target by its name: of its binary, its corpus and its dictionary.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("body", body),
    ("admission", admission),
    ("conversion", conversion),
    ("generated", generated),
    ("stash", stash),
    ("json", json),
    ("duration", duration),
    ("quantity", quantity),
    ("image", image),
    ("endpoint", endpoint),
    ("pattern", pattern),
];
