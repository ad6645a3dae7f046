//! Judging.
pub mod code;
