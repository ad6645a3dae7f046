//! The probe against MCP servers that other people wrote, and against servers that misbehave.
//!
//! In: the servers of `tests/servers/install.sh` (installed when they are missing), and small ones on loopback from
//! `probe/fake.rs`. Out: what was seen per server, printed. No test passes without having asked its server.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::needless_pass_by_value
)]

#[path = "probe/fake.rs"]
mod fake;
#[path = "probe/misbehaving.rs"]
mod misbehaving;
#[path = "probe/others.rs"]
mod others;
#[path = "probe/secure.rs"]
mod secure;
#[path = "probe/strangers.rs"]
mod strangers;
#[path = "probe/tls.rs"]
mod tls;

use std::time::Duration;

use mcp_hangar_operator::provider::probe::{Failure, Field, Healthy, Limits, Place, Probe, Prober};

/// A probe as a remote provider's, with what a table changes.
fn probe(endpoint: &str) -> Probe {
    Probe {
        endpoint: endpoint.to_owned(),
        place: Place::Remote,
        headers: vec![],
        ca_bundle: None,
        timeout: Duration::from_secs(5),
        era: None,
        allow: vec![],
        deny: vec![],
        limits: Limits::default(),
    }
}

/// Asks, and prints what was seen.
async fn ask(name: &str, probe: &Probe) -> Result<Healthy, Failure> {
    let start = std::time::Instant::now();
    let outcome = Prober::default().ask(probe).await;
    let took = start.elapsed().as_millis();
    match &outcome {
        Ok(healthy) => println!(
            "{name}: healthy in {took} ms: {:?} {} {:?} {:?}, {} tools, {} bytes",
            healthy.era, healthy.protocol, healthy.name, healthy.version, healthy.offer.count, healthy.bytes
        ),
        Err(failure) => {
            let message = failure.message(Field::hub);
            println!("{name}: {} in {took} ms: {message}", failure.kind.word());
            let page = include_str!("../docs/provider.md");
            assert!(is_explained(page, &message), "docs/provider.md does not explain: {message}");
        }
    }
    outcome
}

/// Whether a row of the table says something of a part of the message.
fn is_explained(page: &str, message: &str) -> bool {
    let table = page.split("\n## What a probe says\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells =
        table.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| row.split(" | ").next().unwrap());
    let mut parts = cells.flat_map(|cell| cell.split('`').step_by(2)).filter(|part| !part.is_empty());
    parts.any(|part| message.contains(part))
}
