//! What the watches know of a provider, put together for one look at it.
//!
//! In: changes. Out: [`Seen`], the provider with everything that bears its label; and which provider a change is about.
//! Objects are kept packed and opened for the look only. Nothing is asked of the API server here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use mcp_hangar_api::v1beta1::provider::{MCPProviderSpec, MCPProviderStatus};
use mcp_hangar_api::{GROUP, PROVIDER_LABEL};
use mcp_hangar_webhooks::kind::Version;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::build::{Reference, references};
use super::feed::Roster;
use super::pack::Packed;
use super::resolve::of_mode;
use super::watch::Change;

/// Namespace and name. Clones share the texts: a provider is named in half a dozen tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// A provider as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) resource_version: String,
    /// The uid of its controller.
    pub(crate) owner: Option<String>,
    /// It is being deleted.
    pub(crate) is_going: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its spec as JSON.
    pub(crate) spec: Box<str>,
    pub(crate) status: MCPProviderStatus,
    /// The version in which the user writes.
    pub(super) version: Version,
}

/// A provider and what bears its label.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) provider: Arc<Known>,
    pub(super) deployment: Option<Arc<Deployment>>,
    pub(super) service: Option<Arc<Service>>,
    pub(super) pods_service: Option<Arc<Service>>,
    pub(super) pods: Vec<Arc<Pod>>,
}

/// Everything that the watches have told.
#[derive(Default)]
pub(super) struct Mirror {
    providers: Arc<Roster>,
    deployments: HashMap<Key, Packed>,
    services: HashMap<Key, Packed>,
    pods: BTreeMap<Key, Packed>,
    /// Pods by provider.
    pods_of: HashMap<Key, Vec<Key>>,
    /// Providers by what they read.
    readers: HashMap<(Arc<str>, Reference), BTreeSet<Key>>,
    /// The same the other way round; who reads nothing is not in it.
    reads: HashMap<Key, Vec<Reference>>,
}

impl Mirror {
    /// Empty; providers are kept where others see them too.
    pub(super) fn new(providers: Arc<Roster>) -> Self {
        Self { providers, ..Self::default() }
    }

    /// A provider, while there is one.
    pub(super) fn fetch(&self, key: &Key) -> Option<Seen> {
        let provider = Arc::new(self.providers.open(key)?);
        let pods = self.pods_of.get(key).into_iter().flatten();
        Some(Seen {
            provider,
            deployment: self.deployments.get(key).and_then(Packed::open),
            service: self.services.get(key).and_then(Packed::open),
            pods_service: self.services.get(&key.with("-pods")).and_then(Packed::open),
            pods: pods.filter_map(|pod| self.pods.get(pod)?.open()).collect(),
        })
    }

    /// What was compared in these versions of Deployment, Service and Service of the pods is not kept: whatever differs
    /// from now on comes as a change.
    pub(super) fn settle(&mut self, key: &Key, [deployment, service, pods_service]: [Option<&str>; 3]) {
        let shorten = |kept: Option<&mut Packed>, version: Option<&str>| {
            if let (Some(kept), Some(version)) = (kept, version)
                && let Some(short) = kept.compared(version)
            {
                *kept = short;
            }
        };
        shorten(self.deployments.get_mut(key), deployment);
        shorten(self.services.get_mut(key), service);
        shorten(self.services.get_mut(&key.with("-pods")), pods_service);
    }

    /// Takes in a change; the providers that it is about, and whether it is about what they read.
    pub(super) fn take(&mut self, change: Change) -> (Vec<Key>, bool) {
        match change {
            Change::Provider(key, found) => {
                let opened = found.as_ref().and_then(|found| Known::open(&key, found));
                self.learn(&key, opened.as_ref());
                self.providers.put(&key, found);
                (vec![key], false)
            }
            Change::Deployment(key, found) => {
                put(&mut self.deployments, &key, found);
                (vec![key], false)
            }
            Change::Service(key, found) => {
                put(&mut self.services, &key, found);
                let owner = key.name.strip_suffix("-pods").map(|name| key.named(name));
                (owner.into_iter().chain([key]).collect(), false)
            }
            Change::Pod(key, found) => (self.take_pod(key, found).into_iter().collect(), false),
            Change::Content(namespace, reference) => {
                let readers = self.readers.get(&(namespace, reference));
                (readers.into_iter().flatten().cloned().collect(), true)
            }
            Change::Listed(_) => (Vec::new(), false),
        }
    }

    fn take_pod(&mut self, key: Key, found: Option<Packed>) -> Option<Key> {
        let old = self.pods.get(&key).and_then(|pod| owner(&key, pod));
        let new = found.as_ref().and_then(|pod| owner(&key, pod));
        if let Some(pods) = old.as_ref().and_then(|old| self.pods_of.get_mut(old)) {
            pods.retain(|known| *known != key);
        }
        if let Some(old) = old.as_ref().filter(|old| self.pods_of.get(old).is_some_and(Vec::is_empty)) {
            self.pods_of.remove(old);
        }
        if let Some(new) = &new {
            self.pods_of.entry(new.clone()).or_default().push(key.clone());
        }
        match found {
            Some(pod) => {
                self.pods.insert(key, pod);
            }
            None => {
                self.pods.remove(&key);
            }
        }
        new.or(old)
    }

    /// Remembers what a provider reads, before anybody reads it: a change meanwhile is not missed.
    fn learn(&mut self, key: &Key, found: Option<&Known>) {
        let old = self.providers.open(key);
        if let (Some(old), Some(new)) = (&old, found)
            && (&old.uid, old.generation) == (&new.uid, new.generation)
        {
            return;
        }
        for reference in self.reads.remove(key).into_iter().flatten() {
            let place = (key.namespace.clone(), reference);
            if let Some(readers) = self.readers.get_mut(&place) {
                readers.remove(key);
                if readers.is_empty() {
                    self.readers.remove(&place);
                }
            }
        }
        let references = found.map(Known::references).unwrap_or_default();
        for reference in &references {
            let place = (key.namespace.clone(), reference.clone());
            self.readers.entry(place).or_default().insert(key.clone());
        }
        if !references.is_empty() {
            self.reads.insert(key.clone(), references);
        }
    }
}

fn put(map: &mut HashMap<Key, Packed>, key: &Key, found: Option<Packed>) {
    match found {
        Some(found) => {
            map.insert(key.clone(), found);
        }
        None => {
            map.remove(key);
        }
    }
}

/// The provider of a pod, by its label.
fn owner(key: &Key, pod: &Packed) -> Option<Key> {
    pod.open::<Pod>()?.labels().get(PROVIDER_LABEL).map(|name| key.named(name))
}

impl Key {
    /// Of any object.
    pub(crate) fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default().into(), name: object.name_any().into() }
    }

    /// Another name in the same namespace.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { namespace: Arc::clone(&self.namespace), name: name.into() }
    }

    /// The name with more behind it.
    pub(super) fn with(&self, suffix: &str) -> Self {
        self.named(&format!("{}{suffix}", self.name))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A provider as it is kept.
#[derive(Deserialize)]
struct Stored {
    metadata: Metadata,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    generation: i64,
    #[serde(default)]
    resource_version: String,
    deletion_timestamp: Option<Box<RawValue>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
    written_in: Option<String>,
}

impl Known {
    /// Opens what is kept of a provider. A status that cannot be read is none.
    pub(super) fn open(key: &Key, packed: &Packed) -> Option<Self> {
        let Stored { metadata, spec, status } = packed.open()?;
        let Metadata {
            uid,
            generation,
            resource_version,
            deletion_timestamp,
            labels,
            annotations,
            owner_references,
            written_in,
        } = metadata;
        let is_old = written_in.is_some_and(|text| text == format!("{GROUP}/v1alpha1"));
        let status = status.and_then(|status| serde_json::from_str(status.get()).ok());
        Some(Self {
            key: key.clone(),
            uid,
            generation,
            resource_version,
            owner: owner_references
                .into_iter()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid),
            is_going: deletion_timestamp.is_some(),
            labels,
            annotations,
            spec: spec.map_or_else(|| "null".into(), Box::<str>::from),
            status: status.unwrap_or_default(),
            version: if is_old { Version::V1Alpha1 } else { Version::V1Beta1 },
        })
    }

    /// Of an object as the API server sends it.
    #[cfg(test)]
    pub(crate) fn read(object: &serde_json::Value) -> Self {
        use mcp_hangar_api::v1beta1::provider::MCPProvider;
        let text = object.to_string();
        let parcel: super::pack::Parcel<MCPProvider> = serde_json::from_str(&text).unwrap();
        Self::open(&Key::of(&parcel), &parcel.packed).unwrap()
    }

    /// What it reads; nothing, where its spec cannot be read itself.
    fn references(&self) -> Vec<Reference> {
        let spec = serde_json::from_str::<MCPProviderSpec>(&self.spec);
        spec.map(|spec| references(&of_mode(spec)).into_keys().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use mcp_hangar_api::v1beta1::provider::MCPProvider;
    use serde_json::json;

    use super::super::pack::Parcel;
    use super::*;
    use crate::manifests::FIELD_MANAGER;

    fn packed(object: &serde_json::Value) -> Packed {
        serde_json::from_str::<Parcel<MCPProvider>>(&object.to_string()).unwrap().packed
    }

    fn key(name: &str) -> Key {
        Key { namespace: "team".into(), name: name.into() }
    }

    fn known(entries: &serde_json::Value) -> Known {
        let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "spec": {"mode": 3},
            "metadata": {"name": "a", "namespace": "team", "uid": "u", "managedFields": entries},
            "status": {"state": "Ready", "toolsCount": "many"}});
        Known::open(&key("a"), &packed(&object)).unwrap()
    }

    #[test]
    fn a_provider_that_does_not_decode_is_known_all_the_same() {
        let known = known(&json!([]));
        assert_eq!((&*known.spec, known.status.tools_count), (r#"{"mode":3}"#, None));
        assert!(known.status.state.is_some());
    }

    #[test]
    fn the_version_of_messages_is_the_one_in_which_somebody_else_wrote_last() {
        let entry = |manager: &str, version: &str, second: u32, subresource: &str| {
            json!({"manager": manager, "apiVersion": format!("mcp-hangar.io/{version}"), "operation": "Apply",
                "time": format!("2026-01-01T00:00:{second:02}Z"), "subresource": subresource})
        };
        for (entries, expected) in [
            (json!([]), Version::V1Beta1),
            (json!([entry("kubectl", "v1alpha1", 1, "")]), Version::V1Alpha1),
            (json!([entry("kubectl", "v1alpha1", 1, ""), entry("argo", "v1beta1", 2, "")]), Version::V1Beta1),
            (
                json!([entry("kubectl", "v1alpha1", 1, ""), entry(FIELD_MANAGER, "v1beta1", 2, "")]),
                Version::V1Alpha1,
            ),
            (
                json!([entry("kubectl", "v1alpha1", 1, ""), entry("hpa", "v1beta1", 2, "scale")]),
                Version::V1Alpha1,
            ),
        ] {
            assert_eq!(known(&entries).version, expected, "{entries}");
        }
    }

    #[test]
    fn a_change_is_about_the_provider_whose_label_name_or_reference_it_has() {
        let mut mirror = Mirror::default();
        let pod = |owner: &str| {
            Packed::of(&json!({"metadata": {"name": "p", "labels": {"mcp-hangar.io/provider": owner}}}))
        };
        assert_eq!(mirror.take(Change::Pod(key("p"), Some(pod("a")))), (vec![key("a")], false));
        assert_eq!(mirror.take(Change::Pod(key("p"), Some(pod("b")))), (vec![key("b")], false));
        assert_eq!(mirror.take(Change::Pod(key("p"), None)), (vec![key("b")], false));
        assert!(mirror.pods_of.is_empty() && mirror.pods.is_empty());
        assert_eq!(mirror.take(Change::Service(key("a-pods"), None)), (vec![key("a"), key("a-pods")], false));
        let map = || Change::Content("team".into(), Reference::ConfigMap("m".into()));
        let provider = |generation: i64, map: &str| {
            let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": map, "key": "a"}}}]);
            let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
                "metadata": {"name": "a", "namespace": "team", "uid": "u", "generation": generation},
                "spec": {"mode": "Container", "container": {"image": "r.example/a:1", "env": env}}});
            Some(packed(&object))
        };
        assert_eq!(mirror.take(map()), (vec![], true));
        mirror.take(Change::Provider(key("a"), provider(1, "m")));
        assert_eq!(mirror.take(map()), (vec![key("a")], true));
        mirror.take(Change::Provider(key("a"), provider(2, "other")));
        assert_eq!(mirror.take(map()), (vec![], true));
        mirror.take(Change::Provider(key("a"), None));
        assert!(mirror.readers.is_empty() && mirror.reads.is_empty() && mirror.providers.is_empty());
    }
}
