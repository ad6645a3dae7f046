//! MCPProvider as v1alpha1 says it: one flat spec for both modes.
//!
//! Bounds are never tighter than the hub's, and an `env` item needs no value: whatever is valid in the hub must pass
//! here once it is converted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Affinity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bound;
use crate::shape::pod::{KeyReference, PullSecret, SecurityContext, Toleration, Volume};
use crate::shape::provider::{CircuitBreaker, HealthCheck, MCPProviderStatus, Observability, Tools};

/// What the provider runs or reaches, and how it is kept.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "mcp-hangar.io",
    version = "v1alpha1",
    kind = "MCPProvider",
    doc = "An MCP server, run as a container or reached at an endpoint.",
    namespaced,
    storage = false,
    status = "MCPProviderStatus",
    derive = "PartialEq",
    shortname = "mcpp",
    shortname = "provider",
    category = "mcp",
    category = "all",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct MCPProviderSpec {
    /// How the server is reached: container (the operator runs it; needs image) or remote (it runs elsewhere; needs
    /// endpoint). May be changed.
    pub mode: Mode,

    /// Image to run, an OCI reference of at most 1024 characters. Required in mode container, without effect in mode
    /// remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,

    /// URL of the MCP endpoint: absolute, http or https, without user and password, at most 2048 characters. Required
    /// in mode remote, without effect in mode container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub endpoint: Option<String>,

    /// Replaces the image's entrypoint. Empty or absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::words")]
    pub command: Vec<String>,

    /// Replaces the arguments of the image's entrypoint. Empty or absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::words")]
    pub args: Vec<String>,

    /// Directory in which the process starts. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub working_dir: Option<String>,

    /// Number of pods, 0 to 10. 0 is a cold start: the provider sleeps until it is woken, or is not probed where it is
    /// remote. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub replicas: Option<i32>,

    /// Time without traffic after which the provider is scaled to 0, a Go duration; 0s never. Without reported traffic
    /// it never idles. Default 5m.
    #[serde(rename = "idleTTL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub idle_ttl: Option<String>,

    /// Time in which the provider must first be healthy, a Go duration above 0; then it is Dead and tried again later.
    /// Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub startup_timeout: Option<String>,

    /// Time that a pod has between being told to stop and being killed, a Go duration of 0 or more. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub shutdown_grace_period: Option<String>,

    /// How health is probed over MCP. Default: every 30s, three failures are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,

    /// When a failing provider is given up (Dead), and how it is tried again. Default: after five failures, again
    /// after 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,

    /// Processor and memory that the container is promised and allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Environment variables of the container, each name once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::MANY))]
    pub env: Vec<EnvVar>,

    /// Volumes and where the container sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub volumes: Vec<Volume>,

    /// Security settings of pod and container. Each absent field keeps its secure default: not root, read-only root
    /// file system, no capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,

    /// ServiceAccount of the pods, in the provider's namespace. Absent: default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,

    /// Secrets with the credentials to pull the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub image_pull_secrets: Vec<PullSecret>,

    /// Labels that a node must have to run the pods. Absent: any node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bound::labels")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub tolerations: Vec<Toleration>,

    /// Rules about nodes and other pods, as in the spec of a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::affinity")]
    pub affinity: Option<Affinity>,

    /// PriorityClass of the pods. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,

    /// Which of the server's tools are offered, and how often they may be called. Absent: all, without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,

    /// Traces and metrics of the pods. Absent: metrics on port 9090, no traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
}

/// How the server is reached.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The operator runs it.
    Container,
    /// It runs elsewhere.
    Remote,
}

/// Processor and memory that the container is promised and allowed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// What the container is promised; not above its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,

    /// What the container may use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// Amounts of processor and memory.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Amounts {
    /// Processors, a Kubernetes quantity such as 500m or 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::quantity")]
    pub cpu: Option<Quantity>,

    /// Bytes of memory, a Kubernetes quantity such as 512Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::quantity")]
    pub memory: Option<Quantity>,
}

/// One environment variable. Exactly one of value and valueFrom.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable, unique in the list.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,

    /// Value as it is, at most 131072 characters. $(NAME) is replaced by a variable that stands earlier in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub value: Option<String>,

    /// Where the value comes from when the container starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvSource>,
}

/// Where the value of a variable comes from. Exactly one of the fields.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvSource {
    /// A key of a Secret in the provider's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,

    /// A key of a ConfigMap in the provider's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
}
