//! Certificates that nobody has to manage: one CA in a Secret, a leaf in memory, the bundle wherever it is needed.
//!
//! [`store`] (or [`files`]) decides which CA is current and publishes its bundle, [`inject`] puts that bundle and our
//! address where the API server looks, [`selftest`] has the API server prove that it works. They talk through watch
//! channels. [`rotation`] says which step a rotation makes next and [`lead`] makes it, in the leader alone; everybody
//! else only reads what the Secret then says ([`record`], [`state`]).

pub mod bundle;
pub mod files;
pub mod inject;
pub mod lead;
pub mod pace;
pub mod record;
pub mod rotation;
pub mod selftest;
pub mod state;
pub mod store;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{Stream, StreamExt};
use kube::Api;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::ApiResource;
use kube::runtime::{WatchStreamExt, watcher};
use mcp_hangar_webhooks::tls::LeafResolver;

pub use bundle::Bundle;
pub use state::Schedule;

use crate::context::Context;
use crate::retry::WatchBackoff;

/// How often a leaf's age is looked at; a handshake looks too.
const LEAF_CHECK: Duration = Duration::from_secs(60);

/// Renews the leaf when two thirds of its life are over.
pub async fn keep_leaf_fresh(resolver: Arc<LeafResolver>, leaf_life: Duration) {
    let check = LEAF_CHECK.min(leaf_life / 6).max(Duration::from_millis(100));
    loop {
        tokio::time::sleep(check).await;
        match resolver.renew_if_due(SystemTime::now()) {
            Ok(true) => tracing::info!("renewed the serving certificate"),
            Ok(false) => {}
            Err(error) => tracing::error!(kind = error.kind(), "{error}"),
        }
    }
}

/// Says that one object may have changed. Only that: what it is now is asked for by whoever is told, so that neither
/// a stale event nor a Secret's value in a cache does harm. Errors are reported and retried.
pub(crate) fn pokes<'a>(
    ctx: &'a Context,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
) -> impl Stream<Item = ()> + Send + use<'a> {
    let client = ctx.client.clone();
    let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    };
    let label = format!("{}/{name}", resource.plural);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api, config).backoff(WatchBackoff::default()).filter_map(move |event| {
        let told = match event {
            Ok(watcher::Event::Init) => None,
            Ok(_) => Some(()),
            Err(error) => {
                ctx.link.watch_failed(&label, error);
                None
            }
        };
        futures::future::ready(told)
    })
}

#[cfg(test)]
#[path = "trust/world_tests.rs"]
mod world;
