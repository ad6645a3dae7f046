//! Who is to be looked at again when something in the cluster changes.
//!
//! In: watches of what sources look at, begun when the first source needs them. Out: things that changed, and which
//! sources each may matter to. A scan reads everything itself, so what is missed here is found at the next refresh; what
//! a source has found is heard of even where its labels say nothing any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use super::scan::CONSENT;
use super::source::{Place, Settings};
use crate::context::Context;
use crate::provider::Key;
use crate::provider::watch::{News, api, news};

/// A kind that sources look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    Map,
    Namespace,
    Service,
    Pod,
}

/// One object of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Thing {
    what: What,
    namespace: String,
    name: String,
}

/// A thing that is there or is gone, as far as it counts.
#[derive(Debug, Clone)]
pub(super) struct Touch {
    thing: Thing,
    /// What is read of it; `None` where it is gone.
    is: Option<Is>,
}

#[derive(Debug, Clone, Default)]
struct Is {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    digest: u64,
}

impl Thing {
    pub(super) fn service(service: &Service) -> Self {
        Self::of(What::Service, &Key::of(service))
    }

    pub(super) fn pod(pod: &Pod) -> Self {
        Self::of(What::Pod, &Key::of(pod))
    }

    fn of(what: What, key: &Key) -> Self {
        Self { what, namespace: key.namespace.to_string(), name: key.name.to_string() }
    }
}

/// The watches that run.
#[derive(Default)]
pub(super) struct Watches {
    pub(super) touches: SelectAll<BoxStream<'static, Touch>>,
    begun: BTreeSet<What>,
}

impl Watches {
    /// Begins those that a source needs.
    pub(super) fn need(&mut self, ctx: &Arc<Context>, settings: &Settings) {
        let whats: &[What] = match &settings.place {
            Place::Map { .. } => &[What::Map],
            Place::Namespaces(_) => &[What::Map, What::Namespace],
            Place::Annotated { namespaces: None, .. } => &[What::Service, What::Pod],
            Place::Annotated { .. } => &[What::Service, What::Pod, What::Namespace],
            Place::Services { namespaces: None, .. } => &[What::Service],
            Place::Services { .. } => &[What::Service, What::Namespace],
        };
        for what in whats {
            if self.begun.insert(*what) {
                self.begin(ctx, *what);
            }
        }
    }

    fn begin(&mut self, ctx: &Arc<Context>, what: What) {
        let client = &ctx.client;
        let mut places = ctx.places.watched();
        if what == What::Map {
            places.extend(ctx.places.configmaps());
        }
        for place in places {
            let all = watcher::Config::default();
            self.touches.push(match what {
                What::Map => {
                    let maps: Api<PartialObjectMeta<ConfigMap>> = api(client, place);
                    news(ctx, maps, all)
                        .filter_map(move |news| ready(touch(what, news, |_| Is::default())))
                        .boxed()
                }
                What::Namespace => {
                    let only = place.map(|name| all.clone().fields(&format!("metadata.name={name}")));
                    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
                    let news = news(ctx, namespaces, only.unwrap_or(all));
                    news.filter_map(move |news| ready(touch(what, news, |it| is(it, &())))).boxed()
                }
                What::Service => {
                    let services: Api<Service> = api(client, place);
                    let news = news(ctx, services, all);
                    news.filter_map(move |news| ready(touch(what, news, |it| is(it, &ports(it))))).boxed()
                }
                What::Pod => {
                    let pods: Api<Pod> = api(client, place);
                    news(ctx, pods, all)
                        .filter_map(move |news| ready(touch(what, news, |it| is(it, &state(it)))))
                        .boxed()
                }
            });
        }
    }
}

fn ready<T>(value: T) -> futures::future::Ready<T> {
    futures::future::ready(value)
}

fn touch<K: ResourceExt>(what: What, news: News<K>, is: impl Fn(&K) -> Is) -> Option<Touch> {
    match news {
        News::Is(key, found) => Some(Touch { thing: Thing::of(what, &key), is: Some(is(&found)) }),
        News::Gone(key) => Some(Touch { thing: Thing::of(what, &key), is: None }),
        News::Listed => None,
    }
}

/// What counts of an object, and a digest of that and of more.
fn is(object: &impl ResourceExt, more: &impl Hash) -> Is {
    let (labels, annotations) = (object.labels().clone(), object.annotations().clone());
    let mut hasher = DefaultHasher::new();
    (&labels, &annotations, object.meta().deletion_timestamp.is_some()).hash(&mut hasher);
    more.hash(&mut hasher);
    Is { labels, annotations, digest: hasher.finish() }
}

fn ports(service: &Service) -> Vec<(Option<String>, i32)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.map(|port| (port.name.clone(), port.port)).collect()
}

fn state(pod: &Pod) -> (bool, Option<String>) {
    let status = pod.status.as_ref();
    let conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
    (is_ready, status.and_then(|status| status.pod_ip.clone()))
}

/// What was told of things that matter to somebody.
#[derive(Default)]
pub(super) struct Interests {
    seen: HashMap<Thing, Seen>,
}

#[derive(Default)]
struct Seen {
    digest: u64,
    /// Sources that it mattered to.
    sources: BTreeSet<Key>,
}

impl Interests {
    /// A source has found these.
    pub(super) fn found(&mut self, source: &Key, things: BTreeSet<Thing>) {
        for thing in things {
            self.seen.entry(thing).or_default().sources.insert(source.clone());
        }
    }

    /// A source is gone.
    pub(super) fn forget(&mut self, source: &Key) {
        for seen in self.seen.values_mut() {
            seen.sources.remove(source);
        }
        self.seen.retain(|thing, seen| thing.what == What::Namespace || !seen.sources.is_empty());
    }

    /// The sources that a touch matters to.
    pub(super) fn touched<'a>(
        &mut self,
        touch: Touch,
        sources: impl Iterator<Item = (&'a Key, &'a Settings)>,
    ) -> BTreeSet<Key> {
        let Touch { thing, is } = touch;
        let matching = sources.filter(|(key, settings)| matters(&thing, is.as_ref(), key, settings));
        let mut concerned: BTreeSet<Key> = matching.map(|(key, _)| key.clone()).collect();
        let Some(is) = is else {
            let known = self.seen.remove(&thing).map(|seen| seen.sources).unwrap_or_default();
            concerned.extend(known);
            return concerned;
        };
        // Of a ConfigMap only that it changed is known.
        if thing.what == What::Map {
            return concerned;
        }
        if let Some(seen) = self.seen.get_mut(&thing) {
            let now = concerned.clone();
            let is_same = seen.digest == is.digest && now.is_subset(&seen.sources);
            let before = std::mem::replace(&mut seen.sources, now);
            seen.digest = is.digest;
            if is_same {
                return BTreeSet::new();
            }
            concerned.extend(before);
        } else if !concerned.is_empty() || thing.what == What::Namespace {
            self.seen.insert(thing, Seen { digest: is.digest, sources: concerned.clone() });
        }
        concerned
    }
}

/// Whether a source would look at it; `is` is nothing where it is gone.
fn matters(thing: &Thing, is: Option<&Is>, source: &Key, settings: &Settings) -> bool {
    let is_near = |selects: bool| selects || *thing.namespace == *source.namespace;
    let has = |labels: &BTreeMap<String, String>| {
        is.is_some_and(|is| labels.iter().all(|(key, value)| is.labels.get(key) == Some(value)))
    };
    let requires =
        |names: &[String]| is.is_some_and(|is| names.iter().all(|name| is.annotations.contains_key(name)));
    match (&settings.place, thing.what) {
        (Place::Map { namespace, name, .. }, What::Map) => {
            thing.namespace == *namespace && thing.name == *name
        }
        (Place::Namespaces(_), What::Map) => thing.name == CONSENT,
        (Place::Annotated { namespaces, pods, required, .. }, What::Pod) => {
            is_near(namespaces.is_some()) && has(pods) && requires(required)
        }
        (Place::Annotated { namespaces, services, required, .. }, What::Service) => {
            is_near(namespaces.is_some()) && has(services) && requires(required)
        }
        (Place::Services { namespaces, selector, .. }, What::Service) => {
            is_near(namespaces.is_some()) && has(selector)
        }
        (
            Place::Namespaces(_)
            | Place::Annotated { namespaces: Some(_), .. }
            | Place::Services { namespaces: Some(_), .. },
            What::Namespace,
        ) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::source::Source;
    use super::*;

    fn settings(spec: &Value) -> Settings {
        let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPDiscoverySource", "spec": spec,
            "metadata": {"name": "s", "namespace": "team"}});
        Source::of(key(), serde_json::from_value(object).unwrap()).settings(&Default::default()).unwrap()
    }

    fn key() -> Key {
        Key { namespace: "team".into(), name: "s".into() }
    }

    fn service(namespace: &str, name: &str, label: &str, port: i32) -> Touch {
        let service = json!({"metadata": {"name": name, "namespace": namespace, "labels": {"a": label}},
            "spec": {"ports": [{"port": port}]}});
        let service: Service = serde_json::from_value(service).unwrap();
        let key = Key::of(&service);
        touch(What::Service, News::Is(key, service), |it| is(it, &ports(it))).unwrap()
    }

    #[test]
    fn a_source_hears_of_what_it_looks_at_and_of_what_it_found_and_of_nothing_twice() {
        let settings =
            settings(&json!({"type": "ServiceDiscovery", "serviceDiscovery": {"selector": {"a": "b"}}}));
        let mut interests = Interests::default();
        let key = key();
        let mut hears = |touch: Touch| !interests.touched(touch, [(&key, &settings)].into_iter()).is_empty();
        assert!(hears(service("team", "x", "b", 1)));
        assert!(!hears(service("team", "x", "b", 1)), "nothing of it changed");
        assert!(hears(service("team", "x", "b", 2)));
        assert!(!hears(service("other", "x", "b", 1)), "it looks in its own namespace");
        assert!(!hears(service("team", "y", "c", 1)), "other labels");
        assert!(hears(service("team", "x", "c", 2)), "it was found before");
        assert!(!hears(service("team", "x", "d", 2)), "it is not found any more");
        let gone = |name: &str| Touch {
            thing: Thing { what: What::Service, namespace: "team".into(), name: name.into() },
            is: None,
        };
        assert!(!hears(gone("x")));
        interests.found(&key, BTreeSet::from([gone("z").thing]));
        assert!(!interests.touched(gone("z"), [(&key, &settings)].into_iter()).is_empty());
        assert!(interests.seen.is_empty());
    }

    #[test]
    fn a_config_map_matters_by_its_name() {
        let one = settings(&json!({"type": "ConfigMap", "configMapRef": {"name": "m"}}));
        let all = settings(&json!({"type": "Namespace", "namespaceSelector": {}}));
        let map = |namespace: &str, name: &str| Thing {
            what: What::Map,
            namespace: namespace.into(),
            name: name.into(),
        };
        for (thing, expected) in [
            (map("team", "m"), [true, false]),
            (map("other", "m"), [false, false]),
            (map("other", CONSENT), [false, true]),
        ] {
            let found = [&one, &all].map(|settings| matters(&thing, Some(&Is::default()), &key(), settings));
            assert_eq!(found, expected, "{thing:?}");
        }
    }
}
