//! MCPProvider: what is observed of a provider, and what follows.
//!
//! A look at a provider is fetch, resolve, build, apply, status; [`keep`] decides when there is one, and only the
//! leader does. [`state`] decides, as a pure function of observations and time; [`build`] makes the objects that run a
//! container; [`conditions`] says how it goes and what to do next; [`probe`] asks a server whether it speaks MCP.

use std::sync::Arc;

use crate::context::Context;

mod apply;
pub mod build;
pub mod conditions;
#[cfg(test)]
pub(crate) mod effects_tests;
pub mod feed;
mod fetch;
mod keeper;
mod life;
pub(crate) mod looks;
mod pack;
pub mod places;
pub mod probe;
mod probing;
pub(crate) mod queue;
mod reconcile;
mod resolve;
pub mod state;
mod status;
pub(crate) mod watch;

use feed::Feed;
pub use fetch::Key;
pub(crate) use fetch::Known;

/// Keeps all providers, until dropped; others hear of them by `feed`.
pub async fn keep(ctx: &Arc<Context>, feed: &Feed) {
    keeper::keep(ctx, feed).await;
}
