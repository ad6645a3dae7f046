//! Provider blocks of both versions: health, circuit breaker, tools, observability; and the status.
//!
//! In: JSON of a spec or status. Out: the same as types, nothing filled in and nothing checked beyond the types. A
//! status is read leniently, a spec is not.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::{bound, lenient};

/// How the provider's health is probed over MCP.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheck {
    /// Whether to probe. When false, Ready follows the pods. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Time between two probes, a Go duration above 0. Default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub interval: Option<String>,

    /// Time after which a probe has failed, a Go duration above 0 and not longer than interval. Default 5s, or the
    /// interval where that is shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub timeout: Option<String>,

    /// Failed probes in a row that turn Ready into Degraded, 1 to 10. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub failure_threshold: Option<i32>,

    /// Good probes in a row that turn Initializing or Degraded into Ready, 1 to 10. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub success_threshold: Option<i32>,
}

/// When a failing provider is given up, and how it is tried again.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CircuitBreaker {
    /// Whether a Degraded provider may become Dead. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Failures in a row, counted from the first, that open the circuit: the provider is Dead. At least 1, default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub failure_threshold: Option<i32>,

    /// Good probes in the half-open circuit that close it: the provider is Ready again. At least 1, default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub success_threshold: Option<i32>,

    /// Time from Dead to the half-open circuit, a Go duration above 0. Default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub reset_timeout: Option<String>,

    /// Probes that the half-open circuit lets through before it decides. At least 1, default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub half_open_requests: Option<i32>,
}

/// Which of the server's tools are offered, and how often they may be called.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tools {
    /// Only these tools are offered. Not together with denyList. Empty or absent: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::tools")]
    pub allow_list: Vec<String>,

    /// All tools but these are offered. Not together with allowList. Empty or absent: none is hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "bound::tools")]
    pub deny_list: Vec<String>,

    /// Limit on tool calls. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// A limit on tool calls.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimit {
    /// Calls allowed in a minute, 1 to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub requests_per_minute: Option<i32>,

    /// Calls allowed at once above the steady rate, 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub burst_size: Option<i32>,
}

/// Traces and metrics of the provider's pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Observability {
    /// OpenTelemetry settings, given to the container as OTEL_* variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,

    /// Prometheus metrics of the container: its port and the scrape annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
}

/// OpenTelemetry settings.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Whether the container is told to trace. Absent: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Share of requests that are traced, 0 to 1, as a number or a decimal string. Absent: 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "SamplingRate::json_schema")]
    pub sampling_rate: Option<SamplingRate>,
}

/// A share between 0 and 1, kept as it was written.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum SamplingRate {
    /// A JSON number.
    Number(f64),
    /// A decimal string.
    Text(String),
}

impl JsonSchema for SamplingRate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SamplingRate".into()
    }

    // Number or string: a structural schema can only say so by having no type.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-preserve-unknown-fields": true,
            "minimum": 0,
            "maximum": 1,
            "maxLength": 32,
            "pattern": "^[0-9.eE+-]*$",
        })
    }
}

/// Prometheus metrics of the container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Whether the pods get the metrics port and scrape annotations. Absent: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Port that serves /metrics, 1 to 65535. Absent: 9090.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,
}

/// What the operator last observed of the provider. Written by the operator only.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MCPProviderStatus {
    /// State of the provider: Cold, Initializing, Ready, Degraded or Dead.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(with = "ProviderState")]
    pub state: Option<ProviderState>,

    /// State in the words of pods: Pending, Running, Succeeded, Failed or Unknown.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(with = "ProviderPhase")]
    pub phase: Option<ProviderPhase>,

    /// Pods that exist now. Read by the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub replicas: Option<i32>,

    /// Pods that are ready now.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub ready_replicas: Option<i32>,

    /// Pods that have been ready for long enough to be counted as available.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub available_replicas: Option<i32>,

    /// Label selector of the pods, as text. Read by the scale subresource for an autoscaler.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = 4096))]
    pub selector: Option<String>,

    /// Number of tools offered, after the allow or deny list.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub tools_count: Option<i32>,

    /// Names of the tools offered, after the allow or deny list.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    #[schemars(schema_with = "bound::listed_tools")]
    pub tools: Vec<String>,

    /// URL of the MCP endpoint. It stays the same whatever sleeps.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = 4096))]
    pub endpoint: Option<String>,

    /// Name of one of the provider's pods.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = 253))]
    pub pod_name: Option<String>,

    /// When the provider last started, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub last_started_at: Option<Time>,

    /// When the provider last stopped or went to sleep, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub last_stopped_at: Option<Time>,

    /// When the provider was last probed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub last_health_check: Option<Time>,

    /// When traffic was last reported, RFC 3339. The idle time counts from here.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub last_activity_at: Option<Time>,

    /// Failed probes in a row up to now.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub consecutive_failures: Option<i32>,

    /// The metadata.generation that this status describes; -1 until the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = -1, max = 9007199254740991i64))]
    pub observed_generation: Option<i64>,

    /// Ready, Available, Degraded, Reconciling and Stalled, one entry of each type.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    #[schemars(length(max = 64))]
    pub conditions: Vec<Condition>,
}

/// State of a provider.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum ProviderState {
    /// Nothing runs, by wish: no replicas, or idle.
    Cold,
    /// Starting; no good probe yet.
    Initializing,
    /// Answers MCP.
    Ready,
    /// Answered before, and fails now.
    Degraded,
    /// Given up until the circuit is tried again or the spec changes.
    Dead,
}

/// State of a provider in the words of pods.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum ProviderPhase {
    /// Not running yet.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Nobody can say.
    Unknown,
}
