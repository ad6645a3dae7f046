//! MCPDiscoverySource: finds MCP servers in the cluster and keeps an MCPProvider for each.
//!
//! A look at a source is scan, plan, apply, status. [`plan`] decides, as a pure function of what was found, what exists
//! and time; [`prune`] is the part of it that says when something may be deleted, and mostly says no. [`keep`] listens,
//! scans and writes, and only the leader does. The picture of it is in docs/discovery.md.

use std::sync::Arc;

use crate::context::Context;
use crate::provider::feed::Listener;

mod apply;
pub mod document;
pub mod found;
mod keeper;
#[cfg(test)]
pub(crate) mod leaves;
pub mod mark;
pub mod merge;
pub mod names;
mod neighbours;
pub mod objects;
pub mod plan;
pub mod prune;
mod reconcile;
mod scan;
pub mod source;
pub mod status;
mod watch;

/// Keeps all sources, until dropped; `providers` tells which providers exist.
pub async fn keep(ctx: &Arc<Context>, providers: Listener) {
    keeper::keep(ctx, providers).await;
}
