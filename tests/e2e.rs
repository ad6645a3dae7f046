//! End to end: the operator's binary and kubectl against a real kube-apiserver with etcd, all on loopback.
//!
//! `tests/cluster` builds and starts the servers; `cluster` and `operator` start them for a test and end them with this
//! process. Tests that disturb nobody share one cluster and work in namespaces of their own; the others borrow one from
//! a small pool. No controllers run beside the API server, so namespaces stay. Nothing sleeps to wait for a condition;
//! where time passes, the test is about time.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

#[path = "e2e/api.rs"]
mod api;
#[path = "e2e/bundles.rs"]
mod bundles;
#[path = "e2e/cluster.rs"]
mod cluster;
#[path = "e2e/confine.rs"]
mod confine;
#[path = "e2e/conversion.rs"]
mod conversion;
#[path = "e2e/definitions.rs"]
mod definitions;
#[path = "e2e/discovery.rs"]
mod discovery;
#[path = "e2e/drain.rs"]
mod drain;
#[path = "e2e/edges.rs"]
mod edges;
#[path = "e2e/errors.rs"]
mod errors;
#[path = "e2e/events.rs"]
mod events;
#[path = "e2e/examples.rs"]
mod examples;
#[path = "e2e/figures.rs"]
mod figures;
#[path = "e2e/files.rs"]
mod files;
#[path = "e2e/generate.rs"]
mod generate;
#[path = "e2e/hostile.rs"]
mod hostile;
#[path = "e2e/load.rs"]
mod load;
#[path = "e2e/operator.rs"]
mod operator;
#[path = "e2e/outage.rs"]
mod outage;
#[path = "e2e/rbac.rs"]
mod rbac;
#[path = "e2e/scope.rs"]
mod scope;
#[path = "e2e/secrets.rs"]
mod secrets;
#[path = "e2e/webhook.rs"]
mod webhook;
#[path = "e2e/writes.rs"]
mod writes;

#[path = "e2e/certs.rs"]
mod certs;
#[path = "e2e/fleet.rs"]
mod fleet;
#[path = "e2e/gitops.rs"]
mod gitops;
#[path = "e2e/handshakes.rs"]
mod handshakes;
#[path = "e2e/leader.rs"]
mod leader;
#[path = "e2e/migration.rs"]
mod migration;
#[path = "e2e/past.rs"]
mod past;
#[path = "e2e/rest.rs"]
mod rest;
#[path = "e2e/rotation.rs"]
mod rotation;
#[path = "e2e/stash.rs"]
mod stash;
#[path = "e2e/store.rs"]
mod store;
#[path = "e2e/trust.rs"]
mod trust;

#[allow(dead_code)]
#[path = "gitops/ask.rs"]
mod ask;
#[path = "e2e/exposed.rs"]
mod exposed;
#[allow(dead_code)]
#[path = "probe/fake.rs"]
mod fake;
#[path = "e2e/group.rs"]
mod group;
#[path = "e2e/provider.rs"]
mod provider;
#[path = "e2e/servers.rs"]
mod servers;
#[path = "e2e/status.rs"]
mod status;
#[allow(dead_code)]
#[path = "probe/strangers.rs"]
mod strangers;
#[path = "probe/tls.rs"]
mod tls;
