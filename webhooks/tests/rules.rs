//! The rules, through the webhook's own door: every code by its example, tables of YAML cases beside this file, and
//! what holds of all answers.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unreachable_pub
)]

#[path = "rules/answers.rs"]
mod answers;
#[path = "rules/codes.rs"]
mod codes;
#[path = "review/generate.rs"]
mod generate;
mod review;
#[path = "rules/secrets.rs"]
mod secrets;
#[path = "review/sensible.rs"]
mod sensible;
#[path = "rules/table.rs"]
mod table;
