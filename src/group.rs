//! MCPProviderGroup: who its members are, how many of them are available, and whether that is enough.
//!
//! A change of a provider is a step in [`index`], which says which groups it is about; each of those is looked at when
//! its [`pace`] allows, and a look is [`status`], a pure function of group, members and time. [`keep`] listens, waits
//! and writes, and only the leader does. Nothing here carries traffic: strategy, failover, affinity and circuit breaker
//! are read by whoever does.

use std::sync::Arc;

use crate::context::Context;
use crate::provider::feed::Listener;

pub mod conditions;
#[cfg(test)]
mod effects_tests;
mod fetch;
pub mod health;
pub mod index;
mod keeper;
mod life;
pub mod member;
pub mod pace;
mod reconcile;
pub mod selector;
pub mod status;
mod wish;

/// Keeps the status of all groups, until dropped; `providers` tells what the groups are made of.
pub async fn keep(ctx: &Arc<Context>, providers: Listener) {
    keeper::keep(ctx, providers).await;
}
