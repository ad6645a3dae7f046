//! What the watches know of a provider, put together for one look at it.
//!
//! In: changes. Out: [`Seen`], the provider with everything that bears its label; and which provider a change is about.
//! Nothing is asked of the API server here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcp_hangar_api::v1beta1::provider::MCPProviderStatus;
use mcp_hangar_api::{GROUP, PROVIDER_LABEL};
use mcp_hangar_webhooks::kind::Version;

use super::build::Reference;
use super::watch::Change;
use crate::manifests::FIELD_MANAGER;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// The namespace.
    pub(super) namespace: String,
    /// The name.
    pub(super) name: String,
}

/// A provider as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) resource_version: String,
    /// It is being deleted.
    pub(super) is_going: bool,
    pub(super) annotations: BTreeMap<String, String>,
    /// Its spec as JSON.
    pub(super) spec: Box<str>,
    pub(super) status: MCPProviderStatus,
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
    providers: HashMap<Key, Arc<Known>>,
    deployments: HashMap<Key, Arc<Deployment>>,
    services: HashMap<Key, Arc<Service>>,
    pods: BTreeMap<Key, Arc<Pod>>,
    /// Pods by provider.
    pods_of: HashMap<Key, Vec<Key>>,
    /// Providers by what they read.
    readers: HashMap<(String, Reference), Vec<Key>>,
}

impl Mirror {
    /// A provider, while there is one.
    pub(super) fn fetch(&self, key: &Key) -> Option<Seen> {
        let provider = Arc::clone(self.providers.get(key)?);
        let pods = self.pods_of.get(key).into_iter().flatten();
        Some(Seen {
            provider,
            deployment: self.deployments.get(key).cloned(),
            service: self.services.get(key).cloned(),
            pods_service: self.services.get(&key.with("-pods")).cloned(),
            pods: pods.filter_map(|pod| self.pods.get(pod).cloned()).collect(),
        })
    }

    /// Takes in a change; the providers that it is about, and whether it is about what they read.
    pub(super) fn take(&mut self, change: Change) -> (Vec<Key>, bool) {
        match change {
            Change::Provider(key, found) => {
                put(&mut self.providers, &key, found);
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
                (self.readers.get(&(namespace, reference)).cloned().unwrap_or_default(), true)
            }
            Change::Listed(_) => (Vec::new(), false),
        }
    }

    fn take_pod(&mut self, key: Key, found: Option<Arc<Pod>>) -> Option<Key> {
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

    /// Remembers what a provider reads now; nothing, where it is gone.
    pub(super) fn reads(&mut self, key: &Key, references: impl IntoIterator<Item = Reference>) {
        for readers in self.readers.values_mut() {
            readers.retain(|reader| reader != key);
        }
        for reference in references {
            self.readers.entry((key.namespace.clone(), reference)).or_default().push(key.clone());
        }
        self.readers.retain(|_, readers| !readers.is_empty());
    }
}

fn put<T>(map: &mut HashMap<Key, T>, key: &Key, found: Option<T>) {
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
fn owner(key: &Key, pod: &Pod) -> Option<Key> {
    pod.labels().get(PROVIDER_LABEL).map(|name| key.named(name))
}

impl Key {
    /// Of any object.
    pub(super) fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }

    /// Another name in the same namespace.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { namespace: self.namespace.clone(), name: name.to_owned() }
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

impl Known {
    /// Takes what counts from an object as it came.
    pub(super) fn of(key: Key, object: DynamicObject) -> Self {
        let DynamicObject { types: _, metadata, mut data } = object;
        let ObjectMeta { uid, generation, resource_version, deletion_timestamp, annotations, .. } =
            metadata.clone();
        let status = data.get_mut("status").map(serde_json::Value::take).unwrap_or_default();
        let spec = data.get("spec").map(ToString::to_string).unwrap_or_else(|| "null".to_owned());
        Self {
            key,
            uid: uid.unwrap_or_default(),
            generation: generation.unwrap_or_default(),
            resource_version: resource_version.unwrap_or_default(),
            is_going: deletion_timestamp.is_some(),
            annotations: annotations.unwrap_or_default(),
            spec: spec.into_boxed_str(),
            status: serde_json::from_value(status).unwrap_or_default(),
            version: version(metadata.managed_fields.as_deref().unwrap_or_default()),
        }
    }
}

/// The version in which somebody other than us wrote last.
fn version(entries: &[ManagedFieldsEntry]) -> Version {
    let users = entries.iter().filter(|entry| {
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.manager.as_deref() != Some(FIELD_MANAGER)
    });
    let last = users.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    match last.and_then(|entry| entry.api_version.as_deref()) {
        Some(text) if text == format!("{GROUP}/v1alpha1") => Version::V1Alpha1,
        _ => Version::V1Beta1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "team".into(), name: name.into() }
    }

    fn known(entries: &serde_json::Value) -> Known {
        let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "spec": {"mode": 3},
            "metadata": {"name": "a", "namespace": "team", "uid": "u", "managedFields": entries},
            "status": {"state": "Ready", "toolsCount": "many"}});
        Known::of(key("a"), serde_json::from_value(object).unwrap())
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
        let pod = |owner: &str| -> Arc<Pod> {
            let pod = json!({"metadata": {"name": "p", "namespace": "team", "labels": {"mcp-hangar.io/provider": owner}}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        assert_eq!(mirror.take(Change::Pod(key("p"), Some(pod("a")))), (vec![key("a")], false));
        assert_eq!(mirror.take(Change::Pod(key("p"), Some(pod("b")))), (vec![key("b")], false));
        assert_eq!(mirror.take(Change::Pod(key("p"), None)), (vec![key("b")], false));
        assert!(mirror.pods_of.is_empty() && mirror.pods.is_empty());
        assert_eq!(mirror.take(Change::Service(key("a-pods"), None)), (vec![key("a"), key("a-pods")], false));
        let map = || Change::Content("team".into(), Reference::ConfigMap("m".into()));
        assert_eq!(mirror.take(map()), (vec![], true));
        mirror.reads(&key("a"), [Reference::ConfigMap("m".into())]);
        assert_eq!(mirror.take(map()), (vec![key("a")], true));
        mirror.reads(&key("a"), []);
        assert_eq!(mirror.take(map()), (vec![], true));
    }
}
