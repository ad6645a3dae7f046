//! MCPProvider: an MCP server, run as a container or reached at an endpoint.
//!
//! In: JSON of the stored version. Out: types. `mode` says which of the blocks counts, and both may be there: nothing
//! inside them is required, since what a mode needs is for CEL and the rules to say. Defaults are filled in elsewhere.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Affinity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bound;
pub use crate::shape::pod::{
    Capabilities, ClaimVolume, ConfigMapVolume, EmptyDirVolume, KeyReference, KeyToPath, Medium, PullSecret,
    SeccompProfile, SeccompType, SecretVolume, SecurityContext, Toleration, Volume,
};
pub use crate::shape::provider::{
    CircuitBreaker, HealthCheck, MCPProviderStatus, Metrics, Observability, ProviderPhase, ProviderState,
    RateLimit, SamplingRate, Tools, Tracing,
};

/// What the provider runs or reaches, and how it is kept.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "mcp-hangar.io",
    version = "v1beta1",
    kind = "MCPProvider",
    doc = "An MCP server, run as a container or reached at an endpoint.",
    namespaced,
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
    /// How the server is reached: Container (the operator runs it; needs container.image) or Remote (it runs
    /// elsewhere; needs remote.endpoint). May be changed.
    pub mode: Mode,

    /// What to run. Counts in mode Container only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,

    /// What to reach. Counts in mode Remote only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,

    /// Number of pods, 0 to 10. 0 is a cold start: the provider sleeps until it is woken, or is not probed where it is
    /// remote. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub replicas: Option<i32>,

    /// How long the provider may start, idle and stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,

    /// How health is probed over MCP. Default: every 30s, three failures are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,

    /// When a failing provider is given up (Dead), and how it is tried again. Default: after five failures, again
    /// after 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,

    /// Where and with which rights the pods run. Counts in mode Container only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,

    /// Which of the server's tools are offered, and how often they may be called. Absent: all, without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,

    /// Traces and metrics of the pods. Absent: metrics on port 9090, no traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
}

/// How the server is reached.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum Mode {
    /// The operator runs it.
    Container,
    /// It runs elsewhere.
    Remote,
}

/// What to run.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Image to run, an OCI reference of at most 1024 characters. Required in mode Container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,

    /// Replaces the image's entrypoint. Empty or absent: the image's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::words")]
    pub command: Vec<String>,

    /// Replaces the arguments of the image's entrypoint. Empty or absent: the image's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::words")]
    pub args: Vec<String>,

    /// Directory in which the process starts. Absent: the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub working_dir: Option<String>,

    /// Port on which the server listens, 1 to 65535; the container learns it as PORT. Absent: 8080.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,

    /// Path of the MCP endpoint, starting with a slash, at most 1024 characters. Absent: /mcp.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = "^/"))]
    pub path: Option<String>,

    /// Environment variables of the container, each name once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::MANY))]
    pub env: Vec<EnvVar>,

    /// Volumes and where the container sees them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub volumes: Vec<Volume>,

    /// Resources that the container is promised and allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
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

    /// A field of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldReference>,

    /// A resource of a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceReference>,
}

/// A field of the pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldReference {
    /// Version of the pod that fieldPath is a path in. Absent: v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub api_version: Option<String>,

    /// Path of the field, such as metadata.namespace, spec.nodeName or status.podIP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub field_path: Option<String>,
}

/// A resource of a container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceReference {
    /// Name of the container. Absent: the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub container_name: Option<String>,

    /// The resource, such as limits.cpu or requests.memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316))]
    pub resource: Option<String>,

    /// Unit that the value is divided by and rounded up to, a Kubernetes quantity such as 1m or 1Mi. Absent: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::quantity")]
    pub divisor: Option<Quantity>,
}

/// Resources that the container is promised and allowed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// What the container is promised, by resource name; not above its limit. At most 32 resources.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bound::quantities")]
    pub requests: BTreeMap<String, Quantity>,

    /// What the container may use at most, by resource name. At most 32 resources.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bound::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// What to reach.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Remote {
    /// URL of the MCP endpoint: absolute, http or https, without user and password, at most 2048 characters. Required
    /// in mode Remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub endpoint: Option<String>,

    /// Headers sent with every request, with values from Secrets, such as an Authorization header. At most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub headers_from: Vec<HeaderFrom>,

    /// Certificates that the endpoint's own is checked against: PEM, base64-encoded, at most 32768 characters. Absent:
    /// the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768), extend("format" = "byte"))]
    pub ca_bundle: Option<String>,
}

/// One header with a value from a Secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderFrom {
    /// Name of the header, at most 256 characters, unique in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,

    /// Key of a Secret in the provider's namespace that holds the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
}

/// How long the provider may start, idle and stop.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Time without traffic after which the provider is scaled to 0, a Go duration; 0s never. Without reported traffic
    /// it never idles. Default 5m.
    #[serde(rename = "idleTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub idle_ttl: Option<String>,

    /// Time in which the provider must first be healthy, a Go duration above 0; then it is Dead and tried again later.
    /// Default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub startup_timeout: Option<String>,

    /// Time that a pod has between being told to stop and being killed, a Go duration of 0 or more. Default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub shutdown_grace_period: Option<String>,
}

/// Where and with which rights the pods run.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// ServiceAccount of the pods, in the provider's namespace. Absent: default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,

    /// Labels that a node must have to run the pods. Absent: any node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "bound::labels")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub tolerations: Vec<Toleration>,

    /// Rules about nodes and other pods, as in the spec of a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::affinity")]
    pub affinity: Option<Affinity>,

    /// PriorityClass of the pods. Absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,

    /// Security settings of pod and container. Each absent field keeps its secure default: not root, read-only root
    /// file system, no capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,

    /// Secrets with the credentials to pull the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub image_pull_secrets: Vec<PullSecret>,
}
