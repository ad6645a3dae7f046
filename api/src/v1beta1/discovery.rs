//! MCPDiscoverySource: finds MCP servers in the cluster and keeps an MCPProvider for each.
//!
//! In: JSON of the stored version. Out: types. Defaults, rules and the scans are left to others.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bound;
pub use crate::shape::discovery::{
    AnnotationDiscovery, ConfigMapReference, DiscoveredProvider, DiscoveryMode, DiscoveryType, Filters,
    MCPDiscoverySourceStatus, NamespaceSelector, Ownership, Protocol, ProviderTemplate, ServiceDiscovery,
    TemplateMetadata,
};

/// Where to look for providers, and what to make of what is found.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "mcp-hangar.io",
    version = "v1beta1",
    kind = "MCPDiscoverySource",
    doc = "Finds MCP servers in the cluster and keeps an MCPProvider for each.",
    namespaced,
    status = "MCPDiscoverySourceStatus",
    derive = "PartialEq",
    shortname = "mcpds",
    shortname = "discoverysource",
    category = "mcp",
    category = "all"
)]
#[serde(rename_all = "camelCase")]
pub struct MCPDiscoverySourceSpec {
    /// Where to look: Namespace (ConfigMaps named mcp-providers in the selected namespaces), ConfigMap (one),
    /// Annotations (annotated Pods and Services) or ServiceDiscovery (Services with a named port).
    #[serde(rename = "type")]
    pub type_: DiscoveryType,

    /// Additive adds and updates providers; Authoritative also deletes those no longer found, but never after a scan
    /// with errors. Default Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DiscoveryMode")]
    pub mode: Option<DiscoveryMode>,

    /// Longest time between two scans, a Go duration of at least 1s; changes are seen sooner. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub refresh_interval: Option<String>,

    /// Whether scans stop and everything stays as it is. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,

    /// Namespaces to look in, for every type but ConfigMap. Required for the type Namespace; absent: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,

    /// The ConfigMap to read. Required for the type ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapReference>,

    /// Which Pods and Services to look at. Required for the type Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<AnnotationDiscovery>,

    /// Which Services to look at. Required for the type ServiceDiscovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_discovery: Option<ServiceDiscovery>,

    /// What every discovered provider starts from. What was discovered wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_template: Option<ProviderTemplate>,

    /// Which of the found providers are kept. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,

    /// How discovered providers hang on the source. Default: they are owned by it, and do not hold its deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,
}
