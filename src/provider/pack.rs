//! Objects as the watches keep them: one text each, without what nobody here reads.
//!
//! In: an object as the API server sends it. Out: a [`Parcel`], of which only the name is at hand, and in it the text
//! ([`Packed`]) that is opened for one look and forgotten again: a typed Deployment holds several times its text. Most of
//! a text is as in any other object of its kind, so it is held by its difference from the samples of a dictionary.
//! managedFields, half of most objects, are read past; of a provider's they say in which version somebody wrote last.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use kube::Resource;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use mcp_hangar_api::GROUP;
use mcp_hangar_api::annotation::DISCOVERED_BY;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::manifests::FIELD_MANAGER;

/// A provider in three states, its Services and its Deployment, as an API server stored them and as they are kept here.
/// Old samples do no harm; new ones may save memory.
const SAMPLES: &[u8] = include_bytes!("pack/dictionary.jsonl");

/// What an object holds, as JSON in LZ4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// Of any value.
    pub(super) fn of(value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_default();
        // Copied: what the compressor gives has room to spare.
        Self(compress_prepend_size_with_dict(&text, SAMPLES).as_slice().into())
    }

    /// Without spec, labels and annotations, where it is of that version: somebody has compared them. `None` where it is
    /// not, or where nothing of them is left.
    pub(super) fn compared(&self, version: &str) -> Option<Self> {
        let mut whole: Whole = self.open()?;
        whole.spec.take()?;
        whole.metadata.labels.clear();
        whole.metadata.annotations.clear();
        (whole.metadata.resource_version.as_deref() == Some(version)).then(|| Self::of(&whole))
    }

    /// The object, where it is one of that type.
    pub(super) fn open<T: DeserializeOwned>(&self) -> Option<T> {
        let text = decompress_size_prepended_with_dict(&self.0, SAMPLES).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// An object of kind `K` as it came.
#[derive(Clone, Debug)]
pub(super) struct Parcel<K> {
    /// What tells it from others, and nothing more.
    metadata: ObjectMeta,
    pub(super) packed: Packed,
    kind: PhantomData<fn() -> K>,
}

/// Every kind that is watched has these three.
#[derive(Deserialize, Serialize)]
struct Whole {
    metadata: Metadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spec: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Box<RawValue>>,
}

/// What counts of the metadata.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_timestamp: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_references: Option<Box<RawValue>>,
    #[serde(default, skip_serializing)]
    managed_fields: Vec<Entry>,
    /// The version in which somebody other than us wrote last. No field of Kubernetes.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    written_in: Option<String>,
}

/// Who wrote, when and in which version; not what.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    manager: Option<String>,
    api_version: Option<String>,
    time: Option<String>,
    subresource: Option<String>,
}

impl Metadata {
    fn shorten(&mut self, is_ours: bool) {
        let entries = std::mem::take(&mut self.managed_fields);
        if is_ours {
            self.written_in = written_in(entries);
        }
        // What others note on our own kinds is nothing to us; on what we make, and so on what sources make, it is compared.
        let is_compared = !is_ours || self.annotations.contains_key(DISCOVERED_BY);
        self.annotations.retain(|key, _| match is_compared {
            false => key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/')),
            true => key != "kubectl.kubernetes.io/last-applied-configuration",
        });
    }
}

/// The version in which somebody other than us wrote last. Times of the API server sort as texts.
fn written_in(entries: Vec<Entry>) -> Option<String> {
    let users = entries.into_iter().filter(|entry| {
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.manager.as_deref() != Some(FIELD_MANAGER)
    });
    users.max_by(|one, other| one.time.cmp(&other.time)).and_then(|entry| entry.api_version)
}

impl<'de, K: Resource<DynamicType = ()>> Deserialize<'de> for Parcel<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut whole = Whole::deserialize(deserializer)?;
        whole.metadata.shorten(K::group(&()) == GROUP);
        let Metadata { name, namespace, resource_version, .. } = &whole.metadata;
        let metadata = ObjectMeta {
            name: name.clone(),
            namespace: namespace.clone(),
            resource_version: resource_version.clone(),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, packed: Packed::of(&whole), kind: PhantomData })
    }
}

impl<K> Resource for Parcel<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::core::WatchEvent;
    use mcp_hangar_api::v1beta1::provider::MCPProvider;
    use serde_json::{Value, json};

    use super::*;

    /// The samples, as they would be of other providers.
    fn others() -> impl Iterator<Item = String> {
        let text = str::from_utf8(SAMPLES).unwrap();
        text.lines().map(|line| {
            line.replace("tools", "weather-alerts")
                .replace("default", "team-forecasts")
                .replace("2026-11-26T15:01", "2027-03-04T05:06")
                .replace("980ada5d-3dfe", "0b1c2d3e-4f50")
                .replace("registry.example.com/team", "images.example.net/public")
        })
    }

    #[test]
    fn an_object_takes_a_quarter_of_its_text_and_comes_back_whole() {
        for text in others() {
            let value: Value = serde_json::from_str(&text).unwrap();
            let packed = Packed::of(&value);
            assert!(packed.0.len() * 4 < text.len(), "{} of {}: {text}", packed.0.len(), text.len());
            assert_eq!(packed.open::<Value>(), Some(value));
        }
    }

    #[test]
    fn what_nobody_reads_is_not_kept_and_everything_else_is_as_it_came() {
        let entry = json!({"manager": "kubectl", "operation": "Apply", "apiVersion": "mcp-hangar.io/v1alpha1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}});
        let object = json!({"apiVersion": "x", "kind": "x", "metadata": {
            "name": "a", "namespace": "team", "uid": "u", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"l": "1"}, "managedFields": [entry],
            "annotations": {"mcp-hangar.io/wake": "w", "mcp-hangar.iox": "x",
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "n"},
            "ownerReferences": [{"uid": "o"}]}, "spec": {"z": 1.0, "a": [null]}, "status": {"s": "ü"}});
        let kept = |metadata: Value| json!({"metadata": metadata, "spec": object["spec"], "status": object["status"]});
        let text = object.to_string();
        let provider: Parcel<MCPProvider> = serde_json::from_str(&text).unwrap();
        let common = json!({"name": "a", "namespace": "team", "uid": "u", "resourceVersion": "7", "generation": 2,
            "ownerReferences": [{"uid": "o"}]});
        let with = |more: Value| {
            let mut all = common.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            kept(all)
        };
        assert_eq!(
            provider.packed.open::<Value>().unwrap(),
            with(json!({"annotations": {"mcp-hangar.io/wake": "w"}, "labels": {"l": "1"},
                "writtenIn": "mcp-hangar.io/v1alpha1"}))
        );
        let mut made = object.clone();
        made["metadata"]["annotations"][DISCOVERED_BY] = json!("s/x");
        let made: Parcel<MCPProvider> = serde_json::from_str(&made.to_string()).unwrap();
        let annotations = &made.packed.open::<Value>().unwrap()["metadata"]["annotations"];
        let whole =
            json!({"mcp-hangar.io/wake": "w", "mcp-hangar.iox": "x", "note": "n", DISCOVERED_BY: "s/x"});
        assert_eq!(*annotations, whole, "of one that a source made, a template's annotations are compared");
        let deployment: Parcel<Deployment> = serde_json::from_str(&text).unwrap();
        let annotations = json!({"mcp-hangar.io/wake": "w", "mcp-hangar.iox": "x", "note": "n"});
        assert_eq!(
            deployment.packed.open::<Value>().unwrap(),
            with(json!({"annotations": annotations, "labels": {"l": "1"}}))
        );
        assert_eq!(
            (deployment.meta().name.as_deref(), deployment.meta().resource_version.as_deref()),
            (Some("a"), Some("7"))
        );
        let short = deployment.packed.compared("7").unwrap();
        assert_eq!(short.open::<Value>().unwrap(), json!({"metadata": common, "status": object["status"]}));
        assert_eq!((short.compared("7"), deployment.packed.compared("8")), (None, None));
        // As a watch sends it.
        let event = format!(r#"{{"type":"ADDED","object":{text}}}"#);
        let event: WatchEvent<Parcel<MCPProvider>> = serde_json::from_str(&event).unwrap();
        assert!(matches!(event, WatchEvent::Added(found) if found.packed == provider.packed));
    }
}
