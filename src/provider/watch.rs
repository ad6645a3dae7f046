//! The watches that the controller of providers lives on, as one stream of changes.
//!
//! In: the namespaces to look at. Out: what is there and what is gone, each object reduced to what is read of it; after
//! a new list also what went away unseen. A provider that does not decode is one provider's trouble: its spec stays
//! text here and is judged later. Contents of Secrets and ConfigMaps are never held, only that they changed.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::{ApiResource, NamespaceResourceScope};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mcp_hangar_api::PROVIDER_LABEL;
use mcp_hangar_api::v1beta1::provider::MCPProvider;
use serde::de::DeserializeOwned;

use super::build::Reference;
use super::fetch::{Key, Known};
use crate::context::Context;
use crate::retry::WatchBackoff;

/// Something is there, or is gone.
pub(super) enum Change {
    /// A provider.
    Provider(Key, Option<Arc<Known>>),
    /// A Deployment with our label.
    Deployment(Key, Option<Arc<Deployment>>),
    /// A Service with our label.
    Service(Key, Option<Arc<Service>>),
    /// A Pod with our label.
    Pod(Key, Option<Arc<Pod>>),
    /// A Secret or ConfigMap of a namespace is another than before.
    Content(String, Reference),
    /// A watch whose list is waited for has listed.
    Listed(usize),
}

/// The watches.
pub(super) struct Watches {
    /// Their changes.
    pub(super) changes: SelectAll<BoxStream<'static, Change>>,
    /// Numbers of those that must have listed before anything is decided.
    pub(super) waiting: HashSet<usize>,
}

impl Watches {
    /// Begins all of them.
    pub(super) fn start(ctx: &Arc<Context>) -> Self {
        let mut it = Self { changes: SelectAll::new(), waiting: HashSet::new() };
        // Providers have no label of ours; everything that is made for them has.
        let ours = watcher::Config::default().labels(PROVIDER_LABEL);
        for namespace in ctx.places.watched() {
            let client = &ctx.client;
            let providers = match namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource()),
                None => Api::all_with(client.clone(), &resource()),
            };
            it.waits(ctx, providers, watcher::Config::default(), |key, found: Option<DynamicObject>| {
                Change::Provider(key.clone(), found.map(|found| Arc::new(Known::of(key, found))))
            });
            it.waits(ctx, api::<Deployment>(client, namespace), ours.clone(), |key, found| {
                Change::Deployment(key, found.map(slim))
            });
            it.waits(ctx, api::<Service>(client, namespace), ours.clone(), |key, found| {
                Change::Service(key, found.map(slim))
            });
            it.waits(ctx, api::<Pod>(client, namespace), ours.clone(), |key, found| {
                Change::Pod(key, found.map(slim))
            });
            it.hears(ctx, api::<PartialObjectMeta<ConfigMap>>(client, namespace), |key| {
                Change::Content(key.namespace, Reference::ConfigMap(key.name))
            });
        }
        for namespace in ctx.places.secrets() {
            it.hears(ctx, api::<PartialObjectMeta<Secret>>(&ctx.client, namespace), |key| {
                Change::Content(key.namespace, Reference::Secret(key.name))
            });
        }
        it
    }

    /// A watch whose objects are kept.
    fn waits<K>(
        &mut self,
        ctx: &Arc<Context>,
        api: Api<K>,
        config: watcher::Config,
        change: impl Fn(Key, Option<K>) -> Change + Send + 'static,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let number = self.waiting.len();
        self.waiting.insert(number);
        let news = news(ctx, api, config).map(move |news| match news {
            News::Is(key, found) => change(key, Some(found)),
            News::Gone(key) => change(key, None),
            News::Listed => Change::Listed(number),
        });
        self.changes.push(news.boxed());
    }

    /// A watch of which only the names count.
    fn hears<K>(&mut self, ctx: &Arc<Context>, api: Api<K>, change: impl Fn(Key) -> Change + Send + 'static)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let news = news(ctx, api, watcher::Config::default()).filter_map(move |news| {
            futures::future::ready(match news {
                News::Is(key, _) | News::Gone(key) => Some(change(key)),
                News::Listed => None,
            })
        });
        self.changes.push(news.boxed());
    }
}

/// The resource of providers, read as it comes.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<MCPProvider>(&())
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Without what nobody here reads and most of the memory would hold.
fn slim<K: ResourceExt>(mut object: K) -> Arc<K> {
    object.managed_fields_mut().clear();
    Arc::new(object)
}

/// One object, or the end of a list.
enum News<K> {
    Is(Key, K),
    Gone(Key),
    Listed,
}

/// What a watch has seen.
#[derive(Default)]
struct Seen {
    known: HashSet<Key>,
    listing: HashSet<Key>,
}

impl Seen {
    fn take<K: ResourceExt>(&mut self, event: watcher::Event<K>) -> Vec<News<K>> {
        match event {
            watcher::Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            watcher::Event::InitApply(found) => {
                let key = Key::of(&found);
                self.listing.insert(key.clone());
                vec![News::Is(key, found)]
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                let gone = self.known.difference(&listed).cloned().map(News::Gone);
                let news = gone.chain([News::Listed]).collect();
                self.known = listed;
                news
            }
            watcher::Event::Apply(found) => {
                let key = Key::of(&found);
                self.known.insert(key.clone());
                vec![News::Is(key, found)]
            }
            watcher::Event::Delete(found) => {
                let key = Key::of(&found);
                self.known.remove(&key);
                vec![News::Gone(key)]
            }
        }
    }
}

fn news<K>(
    ctx: &Arc<Context>,
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = News<K>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let ctx = Arc::clone(ctx);
    let label = api.resource_url().trim_start_matches('/').to_owned();
    let mut seen = Seen::default();
    watcher(api, config).backoff(WatchBackoff::default()).flat_map(move |event| {
        stream::iter(match event {
            Ok(event) => seen.take(event),
            Err(error) => {
                ctx.link.watch_failed(&label, error);
                Vec::new()
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str) -> ConfigMap {
        let metadata = kube::core::ObjectMeta {
            name: Some(name.into()),
            namespace: Some("team".into()),
            ..Default::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn told(news: &[News<ConfigMap>]) -> Vec<String> {
        let told = |news: &News<ConfigMap>| match news {
            News::Is(key, _) => format!("+{}", key.name),
            News::Gone(key) => format!("-{}", key.name),
            News::Listed => "listed".to_owned(),
        };
        news.iter().map(told).collect()
    }

    #[test]
    fn what_went_away_while_nobody_watched_is_told_after_the_next_list() {
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        let mut seen = Seen::default();
        let mut all = Vec::new();
        for event in [
            Init,
            InitApply(map("a")),
            InitApply(map("b")),
            InitDone,
            Apply(map("c")),
            Delete(map("a")),
            Init,
            InitApply(map("c")),
            InitDone,
        ] {
            all.extend(told(&seen.take(event)));
        }
        assert_eq!(all, ["+a", "+b", "listed", "+c", "-a", "+c", "-b", "listed"]);
    }
}
