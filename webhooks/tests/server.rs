//! The HTTPS server over real TLS on loopback: certificates, limits, protocol oddities and draining.
//!
//! Each test starts its own server on its own port with small limits. Clients write raw bytes, so that they can
//! misbehave. Nothing sleeps to wait for a condition; where a test sleeps, time itself is what it tests.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "server/certificates.rs"]
mod certificates;
#[path = "server/crowds.rs"]
mod crowds;
#[path = "server/drain.rs"]
mod drain;
#[path = "server/harness.rs"]
mod harness;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/protocol.rs"]
mod protocol;
#[path = "server/reviews.rs"]
mod reviews;
#[path = "server/suites.rs"]
mod suites;
