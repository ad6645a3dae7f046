//! Bytes that no API server sends, and objects that it may: no panic, an answer under the uid wherever there is one,
//! and whatever is let in can be read as the types that the controllers use.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unreachable_pub
)]

#[path = "review/generate.rs"]
mod generate;
#[path = "robust/hostile.rs"]
mod hostile;
mod review;
#[path = "review/sensible.rs"]
mod sensible;
#[path = "robust/types.rs"]
mod types;
