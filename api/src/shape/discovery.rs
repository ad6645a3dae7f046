//! Discovery blocks of both versions: where to look, what to keep, what to make of it; and the status.
//!
//! In: JSON of a spec or status. Out: the same as types, nothing filled in. The template's spec stays JSON: it is
//! part of a provider spec of the source's own version, to be merged before anybody reads it. A status is read
//! leniently.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelectorRequirement, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::condition::Condition;
use crate::shape::{STATUS_ITEMS, STATUS_TEXT};
use crate::{bound, lenient};

/// Where a source looks for providers.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum DiscoveryType {
    /// ConfigMaps named mcp-providers in the selected namespaces.
    Namespace,
    /// One ConfigMap.
    ConfigMap,
    /// Annotated Pods and Services.
    Annotations,
    /// Services with a named port.
    ServiceDiscovery,
}

/// What becomes of providers that are no longer found.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum DiscoveryMode {
    /// They stay.
    #[default]
    Additive,
    /// They are deleted, but never after a scan with errors.
    Authoritative,
}

/// Namespaces to look in. An empty selector selects all that are not excluded.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSelector {
    /// Labels of the namespace that must all have exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bound::labels")]
    pub match_labels: BTreeMap<String, String>,

    /// Requirements on labels of the namespace that must all hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::match_expressions")]
    pub match_expressions: Vec<LabelSelectorRequirement>,

    /// Namespaces that are never looked in. Default kube-system, kube-public and kube-node-lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::namespaces")]
    pub exclude_namespaces: Option<Vec<String>>,
}

/// The ConfigMap to read for the type ConfigMap.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapReference {
    /// Name of the ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,

    /// Namespace of the ConfigMap; another than the source's own needs the operator's permission. Absent: the
    /// source's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub namespace: Option<String>,

    /// Key that holds the YAML list or map of providers. Default providers.yaml.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,
}

/// Which Pods and Services to look at for the type Annotations.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnnotationDiscovery {
    /// Labels of the Pods to look at; only ready ones count. Absent: every Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::labels")]
    pub pod_selector: Option<BTreeMap<String, String>>,

    /// Labels of the Services to look at. Absent: every Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::labels")]
    pub service_selector: Option<BTreeMap<String, String>>,

    /// Prefix of the annotations provider, endpoint, port, path and protocol. Default mcp-hangar.io.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub annotation_prefix: Option<String>,

    /// Annotations that an object must all have to be found. Default provider under annotationPrefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::annotation_keys")]
    pub required_annotations: Option<Vec<String>>,
}

/// Which Services to look at for the type ServiceDiscovery.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceDiscovery {
    /// Labels of the Services to look at. Absent: every Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::labels")]
    pub selector: Option<BTreeMap<String, String>>,

    /// Name of the port that a Service must have. Default mcp.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub port_name: Option<String>,

    /// Protocol of the endpoint, http or https. Default http.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Protocol")]
    pub protocol: Option<Protocol>,
}

/// Protocol of an endpoint.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Plain.
    #[default]
    Http,
    /// With TLS.
    Https,
}

/// What every discovered provider starts from. What was discovered wins over the template.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderTemplate {
    /// Labels and annotations of every discovered provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,

    /// Part of an MCPProvider spec of this version; no field is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::placeholder")]
    pub spec: Option<Map<String, Value>>,
}

/// Labels and annotations of every discovered provider.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateMetadata {
    /// Labels to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bound::labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bound::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Which of the found providers are kept, by their raw names.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Filters {
    /// Keep only names that match one of these. Empty or absent: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::patterns")]
    pub include_patterns: Vec<String>,

    /// Leave out names that match one of these. Empty or absent: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::patterns")]
    pub exclude_patterns: Vec<String>,

    /// Most providers to keep, the first by name. At least 1. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub max_providers: Option<i32>,
}

/// How discovered providers hang on the source.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ownership {
    /// Whether the source owns its providers, so that they are deleted with it. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,

    /// Whether a finalizer keeps the source until its providers are gone. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_deletion: Option<bool>,
}

/// What the operator last observed of the source. Written by the operator only.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MCPDiscoverySourceStatus {
    /// Number of providers that the last scan found, after the filters.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub discovered_count: Option<i32>,

    /// Number of MCPProviders that this source manages.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub managed_count: Option<i32>,

    /// When the last scan ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub last_sync_time: Option<Time>,

    /// How long the last scan took, a Go duration.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = 64))]
    pub last_sync_duration: Option<String>,

    /// What went wrong in the last scan. Absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = STATUS_TEXT))]
    pub last_sync_error: Option<String>,

    /// When the next scan is due at the latest, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub next_sync_time: Option<Time>,

    /// What the last scan found, by name.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    #[schemars(length(max = STATUS_ITEMS))]
    pub discovered_providers: Vec<DiscoveredProvider>,

    /// The metadata.generation that this status describes; -1 until the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = -1, max = 9007199254740991i64))]
    pub observed_generation: Option<i64>,

    /// Ready, Synced, Pruning, Reconciling and Stalled, one entry of each type.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    #[schemars(length(max = 64))]
    pub conditions: Vec<Condition>,
}

/// One provider that was found.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredProvider {
    /// Name of the provider.
    #[schemars(length(max = 1024))]
    pub name: String,

    /// Where it was found, such as ConfigMap team-a/mcp-providers.
    #[schemars(length(max = 1024))]
    pub source: String,

    /// When it was first found, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub discovered_at: Option<Time>,

    /// Whether this source manages the MCPProvider of that name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    pub managed: Option<bool>,

    /// Why no MCPProvider was made of it, such as a name that somebody else has. Absent: nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = STATUS_TEXT))]
    pub error: Option<String>,
}
