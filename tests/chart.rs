//! The charts, as Helm 4 and Helm 3 read them: what each value does, what is refused and why, what a cluster gets.
//!
//! Both Helms are built from source by `tests/cluster/node/build.sh`, once a machine. Most tests only render; those in
//! `chart/install.rs` install into a stock API server, where objects are stored and no pod runs. A whole node is the
//! matter of `make test-node`.

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
#[path = "e2e/cluster.rs"]
mod cluster;
#[path = "e2e/figures.rs"]
mod figures;
#[path = "e2e/operator.rs"]
mod operator;
#[path = "e2e/scope.rs"]
mod scope;

#[path = "chart/alerts.rs"]
mod alerts;
#[path = "chart/beside.rs"]
mod beside;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/install.rs"]
mod install;
#[path = "chart/package.rs"]
mod package;
#[path = "chart/render.rs"]
mod render;
#[path = "chart/schema.rs"]
mod schema;
#[path = "chart/values.rs"]
mod values;
