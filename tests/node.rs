//! The whole of it on a real node: pods, Services and kube-proxy between the API server and the webhooks, Helm 4 and 3.
//!
//! `make test-node` starts the node and runs this program in its network; without a node every test fails and says so.
//! `cluster` gives a test the node as it needs it: empty, or with one install that many share. What `e2e` asks of an API
//! server alone is asked here once more, by the same code. Nothing sleeps to wait for a condition.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]
// Of what the end-to-end tests share, not all is used here.
#![allow(dead_code)]

#[path = "e2e/api.rs"]
mod api;
#[path = "e2e/bundles.rs"]
mod bundles;
#[path = "node/charts.rs"]
mod charts;
#[path = "node/cluster.rs"]
mod cluster;
#[path = "e2e/examples.rs"]
mod examples;
#[path = "e2e/figures.rs"]
mod figures;
#[path = "e2e/generate.rs"]
mod generate;
#[path = "e2e/handshakes.rs"]
mod handshakes;
#[path = "node/kept.rs"]
mod kept;
#[path = "e2e/load.rs"]
mod load;
#[path = "node/release.rs"]
mod release;
#[path = "e2e/webhook.rs"]
mod webhook;

#[path = "node/absence.rs"]
mod absence;
#[path = "node/discovery.rs"]
mod discovery;
#[path = "node/faults.rs"]
mod faults;
#[path = "node/group.rs"]
mod group;
#[path = "node/limits.rs"]
mod limits;
#[path = "node/provider.rs"]
mod provider;
#[path = "node/quickstart.rs"]
mod quickstart;
#[path = "node/replicas.rs"]
mod replicas;
#[path = "node/together.rs"]
mod together;

#[path = "node/upgrade.rs"]
mod upgrade;

// One install for all of these.
#[path = "e2e/conversion.rs"]
mod conversion;
#[path = "e2e/gitops.rs"]
mod gitops;
#[path = "e2e/stash.rs"]
mod stash;
#[path = "e2e/writes.rs"]
mod writes;
