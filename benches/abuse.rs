//! `make abuse` and `make soak`: the webhook server under attack, and for a long time.
//!
//! In: nothing or words that are part of the names of attacks; or `soak SECONDS`. Out: a table, the same rows in
//! `target/abuse.json` or `target/soak.json`, and an exit status. docs/performance.md says what the rows mean.

// A program for a terminal, and broken by the first thing that goes wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::process::ExitCode;

#[path = "abuse/attacks.rs"]
mod attacks;
#[path = "abuse/bodies.rs"]
mod bodies;
#[path = "abuse/calls.rs"]
mod calls;
#[path = "abuse/client.rs"]
mod client;
// Made for the benchmark, which uses more of it.
#[allow(dead_code)]
#[path = "webhooks/cost.rs"]
mod cost;
#[path = "abuse/crowd.rs"]
mod crowd;
#[path = "abuse/good.rs"]
mod good;
#[path = "abuse/report.rs"]
mod report;
#[allow(dead_code)]
#[path = "webhooks/reviews.rs"]
mod reviews;
#[path = "abuse/server.rs"]
mod server;
#[path = "abuse/soak.rs"]
mod soak;
#[path = "abuse/trial.rs"]
mod trial;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    // A thousand sockets of an attack, and a few of ours; the server inherits it.
    let descriptors = rlimit::increase_nofile_limit(8192).unwrap();
    assert!(descriptors >= 4096, "needs 4,096 file descriptors, may have {descriptors}: raise ulimit -Hn");
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [server::ROLE] => server::serve(None),
        [server::ROLE, "rotate"] => server::serve(Some(soak::ROTATION)),
        ["soak"] => soak::run(600),
        ["soak", seconds] => soak::run(seconds.parse().expect("a number of seconds")),
        names => trial::run(names),
    }
}
