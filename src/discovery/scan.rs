//! Looks at everything that a source names.
//!
//! In: the source and its settings. Out: a [`Scan`]: lists are read to their end, page by page, or are a fault; so is a
//! missing ConfigMap or key. Nothing here comes from a cache that may be behind. What becomes of it is left to
//! [`super::plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{ListParams, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::document;
use super::found::{Found, MOST, Origin, Scan};
use super::objects::{Names, annotated_pods, annotated_service, named_service};
use super::source::{Namespaces, Place, Settings};
use super::watch::Thing;
use crate::context::Context;
use crate::provider::watch::api;
use crate::retry::ClusterError;

/// The ConfigMap by which a namespace consents to the type Namespace, and its key.
pub(super) const CONSENT: &str = "mcp-providers";
const KEY: &str = "providers.yaml";
/// Objects in a page; ConfigMaps may have a megabyte each.
const PAGE: u32 = 500;
const MAPS: u32 = 16;
/// Up to so many namespaces are asked one by one.
const FEW: usize = 8;

/// A scan, and whether one that is tried again soon may go better.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) scan: Scan,
    pub(super) may_mend: bool,
    /// The objects that were found: who changes or removes them is heard.
    pub(super) things: BTreeSet<Thing>,
}

impl Looked {
    fn failed(&mut self, error: &ClusterError) {
        self.may_mend = true;
        self.scan.faults.push(error.to_string());
    }
}

/// Looks.
pub(super) async fn scan(ctx: &Context, own: &str, settings: &Settings) -> Looked {
    let mut looked = Looked::default();
    let result = match &settings.place {
        Place::Map { namespace, name, key } => map(ctx, namespace, name, key, &mut looked).await,
        Place::Namespaces(namespaces) => consents(ctx, namespaces, &mut looked).await,
        Place::Annotated { namespaces, pods, services, prefix, required } => {
            let names = Names { prefix, required };
            annotated(ctx, own, namespaces.as_ref(), [pods, services], names, &mut looked).await
        }
        Place::Services { namespaces, selector, port, protocol } => {
            let find = |service: &Service| named_service(service, port, *protocol);
            named(ctx, own, namespaces.as_ref(), selector, find, &mut looked).await
        }
    };
    if let Err(error) = result {
        looked.failed(&error);
    }
    looked.scan.cut();
    looked.scan.sight = sight(ctx, &settings.place);
    looked
}

/// The namespaces that may be looked at, where namespaces are selected and not all may be.
fn sight(ctx: &Context, place: &Place) -> Option<BTreeSet<String>> {
    let selects = match place {
        Place::Map { .. } => false,
        Place::Namespaces(_) => true,
        Place::Annotated { namespaces, .. } | Place::Services { namespaces, .. } => namespaces.is_some(),
    };
    let named: Option<BTreeSet<_>> =
        ctx.places.watched().into_iter().map(|it| it.map(str::to_owned)).collect();
    named.filter(|_| selects)
}

/// One ConfigMap that was named.
async fn map(
    ctx: &Context,
    namespace: &str,
    name: &str,
    key: &str,
    looked: &mut Looked,
) -> Result<(), ClusterError> {
    let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let found = ctx.link.call("get", format!("ConfigMap {namespace}/{name}"), maps.get_opt(name)).await?;
    match found {
        Some(found) => take(found, key, &mut looked.scan).await,
        None => looked.scan.faults.push(format!("ConfigMap {namespace}/{name}: there is none")),
    }
    Ok(())
}

/// The ConfigMaps of that name in all selected namespaces.
async fn consents(ctx: &Context, namespaces: &Namespaces, looked: &mut Looked) -> Result<(), ClusterError> {
    let selected = selected(ctx, namespaces).await?;
    for area in areas(ctx, &selected) {
        let params = ListParams::default().fields(&format!("metadata.name={CONSENT}")).limit(MAPS);
        let mut pages = Pages::<ConfigMap>::new(ctx, area.as_deref(), params, "ConfigMaps");
        while let Some(page) = pages.next().await? {
            for found in page {
                if selected.contains(&found.namespace().unwrap_or_default()) {
                    take(found, KEY, &mut looked.scan).await;
                }
            }
            if looked.scan.found.len() >= MOST {
                looked.scan.faults.push(format!("not read to the end: there are {MOST} items already"));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads a ConfigMap. Parsing takes its time, which is not taken from the webhooks.
async fn take(mut map: ConfigMap, key: &str, scan: &mut Scan) {
    let place = Origin::map(&map.namespace().unwrap_or_default(), &map.name_any());
    let text = map.data.as_mut().and_then(|data| data.remove(key));
    let entries = match text {
        Some(text) => {
            let read = tokio::task::spawn_blocking(move || document::read(&text)).await;
            read.unwrap_or_else(|error| Err(format!("failed to read {key}: {error}")))
                .map_err(|says| format!("{key}: {says}"))
        }
        None if map.binary_data.is_some_and(|data| data.contains_key(key)) => {
            Err(format!("{key} stands under binaryData; write it as text under data"))
        }
        None => Err(format!("it has no key {key}")),
    };
    scan.take_map(&place, entries);
}

async fn annotated(
    ctx: &Context,
    own: &str,
    namespaces: Option<&Namespaces>,
    [pods, labels]: [&BTreeMap<String, String>; 2],
    names: Names<'_>,
    looked: &mut Looked,
) -> Result<(), ClusterError> {
    // Asked once: a namespace that is relabelled between two lists is in both or in none.
    let selected = places(ctx, own, namespaces).await?;
    services(ctx, &selected, labels, |service| annotated_service(service, names), looked).await?;
    let mut kept: Vec<Pod> = Vec::new();
    for area in areas(ctx, &selected) {
        let mut pages = Pages::<Pod>::new(ctx, area.as_deref(), labelled(pods), "Pods");
        while let Some(page) = pages.next().await? {
            let says = |pod: &Pod| names.required.iter().all(|name| pod.annotations().contains_key(name));
            let is_meant = |pod: &Pod| selected.contains(&pod.namespace().unwrap_or_default()) && says(pod);
            kept.extend(page.into_iter().filter(is_meant));
            if kept.len() > MOST * 2 {
                looked.scan.faults.push(format!("more than {} annotated Pods", MOST * 2));
                return Ok(());
            }
        }
    }
    looked.things.extend(kept.iter().map(Thing::pod));
    looked.scan.found.extend(annotated_pods(&kept, names));
    looked.scan.places.extend(selected.iter().map(|name| Origin::namespace(name)));
    Ok(())
}

async fn named(
    ctx: &Context,
    own: &str,
    namespaces: Option<&Namespaces>,
    labels: &BTreeMap<String, String>,
    find: impl Fn(&Service) -> Option<Found>,
    looked: &mut Looked,
) -> Result<(), ClusterError> {
    let selected = places(ctx, own, namespaces).await?;
    services(ctx, &selected, labels, find, looked).await?;
    looked.scan.places.extend(selected.iter().map(|name| Origin::namespace(name)));
    Ok(())
}

async fn services(
    ctx: &Context,
    selected: &BTreeSet<String>,
    labels: &BTreeMap<String, String>,
    find: impl Fn(&Service) -> Option<Found>,
    looked: &mut Looked,
) -> Result<(), ClusterError> {
    for area in areas(ctx, selected) {
        let mut pages = Pages::<Service>::new(ctx, area.as_deref(), labelled(labels), "Services");
        while let Some(page) = pages.next().await? {
            for service in &page {
                if selected.contains(&service.namespace().unwrap_or_default())
                    && let Some(found) = find(service)
                {
                    looked.things.insert(Thing::service(service));
                    looked.scan.found.push(found);
                }
            }
            // More is a fault, which is said at the end.
            if looked.scan.found.len() > MOST {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn labelled(labels: &BTreeMap<String, String>) -> ListParams {
    let selector: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    ListParams::default().labels(&selector.join(",")).limit(PAGE)
}

async fn places(
    ctx: &Context,
    own: &str,
    namespaces: Option<&Namespaces>,
) -> Result<BTreeSet<String>, ClusterError> {
    match namespaces {
        Some(namespaces) => selected(ctx, namespaces).await,
        None => Ok(BTreeSet::from([own.to_owned()])),
    }
}

/// The selected namespaces, among those that are looked after.
async fn selected(ctx: &Context, namespaces: &Namespaces) -> Result<BTreeSet<String>, ClusterError> {
    let all: Api<Namespace> = Api::all(ctx.client.clone());
    let mut found = BTreeSet::new();
    // What is in a namespace that is being deleted goes before it, and nobody took it out.
    let mut take = |it: &PartialObjectMeta<Namespace>| {
        if it.metadata.deletion_timestamp.is_none() && namespaces.matches(&it.name_any(), it.labels()) {
            found.insert(it.name_any());
        }
    };
    for place in ctx.places.watched() {
        if let Some(name) = place {
            let get = all.get_metadata_opt(name);
            if let Some(found) = ctx.link.call("get", format!("Namespace {name}"), get).await? {
                take(&found);
            }
            continue;
        }
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = ctx.link.call("list", "Namespaces", all.list_metadata(&params)).await?;
            page.items.iter().for_each(&mut take);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => break,
            }
        }
    }
    Ok(found)
}

/// What to list for these namespaces: each of them, or all at once.
fn areas(ctx: &Context, selected: &BTreeSet<String>) -> Vec<Option<String>> {
    let is_free = ctx.places.watched().contains(&None);
    if is_free && selected.len() > FEW {
        return vec![None];
    }
    selected.iter().cloned().map(Some).collect()
}

/// A list, page by page.
struct Pages<'a, K> {
    ctx: &'a Context,
    api: Api<K>,
    params: ListParams,
    what: String,
    is_over: bool,
}

impl<'a, K> Pages<'a, K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    fn new(ctx: &'a Context, area: Option<&str>, params: ListParams, kinds: &str) -> Self {
        let what = match area {
            Some(namespace) => format!("{kinds} in namespace {namespace}"),
            None => kinds.to_owned(),
        };
        Self { ctx, api: api(&ctx.client, area), params, what, is_over: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<K>>, ClusterError> {
        if self.is_over {
            return Ok(None);
        }
        let page = self.ctx.link.call("list", self.what.clone(), self.api.list(&self.params)).await?;
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => self.params.continue_token = Some(token),
            None => self.is_over = true,
        }
        Ok(Some(page.items))
    }
}
