//! `make bench`: what the webhooks cost, against the least that any server of their kind could cost; and what it costs to
//! keep providers, against the writes alone.
//!
//! In: nothing, or words that name sections (`admission`, `conversion`, `process`, `cluster`, `providers`). Out: a table, and the
//! same rows in `target/bench.json`. Servers are child processes on a core of their own; what is compared alternates
//! in rounds, and a figure is the median of the quieter half of them. docs/performance.md says what the rows mean.

// A program for a terminal, and broken by the first thing that goes wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::Instant;

#[path = "webhooks/admission.rs"]
mod admission;
#[path = "webhooks/bare.rs"]
mod bare;
#[path = "webhooks/client.rs"]
mod client;
#[path = "webhooks/cluster.rs"]
mod cluster;
#[path = "webhooks/conversion.rs"]
mod conversion;
#[path = "webhooks/cost.rs"]
mod cost;
#[path = "webhooks/process.rs"]
mod process;
#[path = "webhooks/providers.rs"]
mod providers;
#[path = "webhooks/report.rs"]
mod report;
#[path = "webhooks/reviews.rs"]
mod reviews;
#[path = "webhooks/server.rs"]
mod server;

use report::Report;

/// A section of the measurement.
type Section = fn(&mut Report);

const SECTIONS: [(&str, Section); 5] = [
    ("conversion", conversion::measure),
    ("admission", admission::measure),
    ("process", process::measure),
    ("cluster", cluster::measure),
    ("providers", providers::measure),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [role, folder, port] = words.as_slice()
        && role == bare::ROLE
    {
        return bare::serve(folder.as_ref(), port.parse().unwrap());
    }
    // The client of the API server takes the process-wide provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let began = Instant::now();
    println!("{}", server::machine());
    let mut report = Report::new();
    for (name, measure) in SECTIONS {
        if words.is_empty() || words.iter().any(|word| word == name) {
            measure(&mut report);
        }
    }
    report.finish(began.elapsed());
}
