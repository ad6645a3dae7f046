//! The watches that the controller of providers lives on, as one stream of changes.
//!
//! In: the namespaces to look at. Out: what is there and what is gone, each object packed into what is read of it; after
//! a new list also what went away unseen. A provider that does not decode is one provider's trouble: its spec stays
//! text here and is judged later. Contents of Secrets and ConfigMaps are never held, only that they changed. Lists are
//! streamed, object by object, where the API server can.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret, Service};
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::{ApiResource, NamespaceResourceScope};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mcp_hangar_api::PROVIDER_LABEL;
use mcp_hangar_api::v1beta1::provider::MCPProvider;
use serde::de::DeserializeOwned;

use super::build::Reference;
use super::fetch::Key;
use super::pack::{Packed, Parcel};
use crate::context::Context;
use crate::retry::WatchBackoff;

/// Something is there, or is gone.
pub(super) enum Change {
    /// A provider.
    Provider(Key, Option<Packed>),
    /// A Deployment with our label.
    Deployment(Key, Option<Packed>),
    /// A Service with our label.
    Service(Key, Option<Packed>),
    /// A Pod with our label.
    Pod(Key, Option<Packed>),
    /// A Secret or ConfigMap of a namespace is another than before.
    Content(Arc<str>, Reference),
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
            let providers = api::<Parcel<MCPProvider>>(client, namespace);
            it.waits(ctx, providers, watcher::Config::default(), |key, found| {
                Change::Provider(key, found.map(|found| found.packed))
            });
            it.waits(ctx, api::<Parcel<Deployment>>(client, namespace), ours.clone(), |key, found| {
                Change::Deployment(key, found.map(|found| found.packed))
            });
            it.waits(ctx, api::<Parcel<Service>>(client, namespace), ours.clone(), |key, found| {
                Change::Service(key, found.map(|found| found.packed))
            });
            it.waits(ctx, api::<Pod>(client, namespace), ours.clone(), |key, found| {
                Change::Pod(key, found.map(slim))
            });
            it.hears(ctx, api::<PartialObjectMeta<ConfigMap>>(client, namespace), |key| {
                Change::Content(key.namespace, Reference::ConfigMap(key.name.to_string()))
            });
        }
        for namespace in ctx.places.secrets() {
            it.hears(ctx, api::<PartialObjectMeta<Secret>>(&ctx.client, namespace), |key| {
                Change::Content(key.namespace, Reference::Secret(key.name.to_string()))
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
pub(crate) fn resource() -> ApiResource {
    ApiResource::erase::<MCPProvider>(&())
}

/// Objects of one of our kinds, read as they come, by the number of the watch.
pub(crate) type Objects = SelectAll<BoxStream<'static, (usize, News<DynamicObject>)>>;

/// A watch of them for each place, and the numbers of those that have not listed yet.
pub(crate) fn objects(ctx: &Arc<Context>, resource: &ApiResource) -> (Objects, HashSet<usize>) {
    let mut all = SelectAll::new();
    for (number, place) in ctx.places.watched().into_iter().enumerate() {
        let api = match place {
            Some(namespace) => Api::namespaced_with(ctx.client.clone(), namespace, resource),
            None => Api::all_with(ctx.client.clone(), resource),
        };
        let news = news(ctx, api, watcher::Config::default()).map(move |news| (number, news));
        all.push(news.boxed());
    }
    let numbers = (0..all.len()).collect();
    (all, numbers)
}

/// Objects of one namespace, or of all.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Of a pod's spec only the images are read.
fn slim(mut pod: Pod) -> Packed {
    pod.managed_fields_mut().clear();
    pod.annotations_mut().clear();
    if let Some(PodSpec { containers, .. }) = pod.spec.take() {
        let image = |Container { name, image, .. }| Container { name, image, ..Container::default() };
        let containers = containers.into_iter().map(image).collect();
        pod.spec = Some(PodSpec { containers, ..PodSpec::default() });
    }
    Packed::of(&pod)
}

/// One object, or the end of a list.
pub(crate) enum News<K> {
    /// It is there, like this.
    Is(Key, K),
    /// It is not there any more.
    Gone(Key),
    /// All that were there have been told.
    Listed,
}

/// What a watch has seen.
#[derive(Default)]
struct Seen {
    known: HashSet<Key>,
    listing: HashSet<Key>,
    /// Of the object before: lists are sorted by it, and so its text is held once.
    namespace: Arc<str>,
}

impl Seen {
    fn key(&mut self, object: &impl ResourceExt) -> Key {
        let mut key = Key::of(object);
        if key.namespace == self.namespace {
            key.namespace = Arc::clone(&self.namespace);
        } else {
            self.namespace = Arc::clone(&key.namespace);
        }
        key
    }

    fn take<K: ResourceExt>(&mut self, event: watcher::Event<K>) -> Vec<News<K>> {
        match event {
            watcher::Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            watcher::Event::InitApply(found) => {
                let key = self.key(&found);
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
                let key = self.key(&found);
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

/// What a watch tells, for as long as it is polled; its failures are noted and tried again.
pub(crate) fn news<K>(
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
    events(api, config).backoff(WatchBackoff::default()).flat_map(move |event| {
        stream::iter(match event {
            Ok(event) => seen.take(event),
            Err(error) => {
                ctx.link.watch_failed(&label, error);
                Vec::new()
            }
        })
    })
}

/// Streamed from the start, or, where the API server refuses that, listed in pages first.
fn events<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let streamed = watcher(api.clone(), config.clone().streaming_lists()).boxed();
    let paged = watcher(api, config).boxed();
    stream::unfold((streamed, Some(paged)), async |(mut events, mut other)| {
        let mut event = events.next().await?;
        if event.as_ref().is_err_and(cannot_stream)
            && let Some(paged) = other.take()
        {
            events = paged;
            event = events.next().await?;
        }
        Some((event, (events, other)))
    })
}

/// A server without the feature names the parameter that it does not take.
fn cannot_stream(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        watcher::Error::WatchError(status) => status,
        _ => return false,
    };
    matches!(status.code, 400 | 422) && status.message.contains("sendInitialEvents")
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
