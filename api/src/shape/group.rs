//! Group blocks of both versions: failover, health policy, affinity, circuit breaker; and the status.
//!
//! In: JSON of a spec or status. Out: the same as types, nothing filled in. How calls are spread is the work of
//! whatever carries the traffic; how members are counted is the controller's. A status is read leniently.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::shape::STATUS_ITEMS;
use crate::shape::provider::ProviderState;
use crate::{bound, lenient};

/// How calls are spread over the members.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum Strategy {
    /// In turn.
    #[default]
    RoundRobin,
    /// To the member with the fewest open connections.
    LeastConnections,
    /// At random.
    Random,
    /// By the weight of each member.
    Weighted,
    /// To the first member that is healthy.
    Failover,
}

/// What happens to a call that fails at one member.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// Whether a failed call is tried at another member. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Further tries after the first, 0 to 10. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub max_retries: Option<i32>,

    /// Wait before each further try, a Go duration of 0 or more. Default 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub retry_delay: Option<String>,

    /// Failures that are worth another try. Default timeout and connection_error; an empty list means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub retry_on: Option<Vec<RetryOn>>,
}

/// One kind of failure: timeout, connection_error, server_error or circuit_open.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No answer in time.
    Timeout,
    /// No connection.
    ConnectionError,
    /// The server answered with an error of its own.
    ServerError,
    /// The member's circuit is open.
    CircuitOpen,
}

/// When the group counts as healthy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthPolicy {
    /// Share of members that must be available, 0 to 100. Default 50, where minHealthyCount is absent. Cold members
    /// count as available.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min_healthy_percentage: Option<i32>,

    /// Number of members that must be available, 0 or more. Overrides minHealthyPercentage. Absent: the percentage
    /// decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub min_healthy_count: Option<i32>,

    /// Failures in a row after which a member counts as unhealthy. At least 1, default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub unhealthy_threshold: Option<i32>,
}

/// Whether a client stays with one member.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionAffinity {
    /// Whether a client stays with one member. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// How a client is known: ClientIP (by its address) or Header (by a header of the request). Default ClientIP.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AffinityType")]
    pub type_: Option<AffinityType>,

    /// Name of the header that tells clients apart. Required for the type Header, at most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub header: Option<String>,

    /// Time without a call after which a client may move, a Go duration above 0. Default 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub ttl: Option<String>,
}

/// How a client is known.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum AffinityType {
    /// By its address.
    #[default]
    ClientIP,
    /// By a header of the request.
    Header,
}

/// When a failing member is left out for a while.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupCircuitBreaker {
    /// Whether failing members are left out. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Failed calls in a row after which a member is left out. At least 1, default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub failure_threshold: Option<i32>,

    /// Time after which a member that was left out is tried again, a Go duration above 0. Default 1m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::duration")]
    pub reset_timeout: Option<String>,
}

/// What the operator last observed of the group. Written by the operator only.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MCPProviderGroupStatus {
    /// Number of members.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub provider_count: Option<i32>,

    /// Number of members that are Ready.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub ready_count: Option<i32>,

    /// Number of members that are Degraded.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub degraded_count: Option<i32>,

    /// Number of members that are Cold: available, but asleep.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub cold_count: Option<i32>,

    /// Number of members that are Dead.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub dead_count: Option<i32>,

    /// Number of members that are Initializing.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub initializing_count: Option<i32>,

    /// The strategy in use.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = 64))]
    pub active_strategy: Option<String>,

    /// The members, by name.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    #[schemars(length(max = STATUS_ITEMS))]
    pub providers: Vec<GroupMember>,

    /// The metadata.generation that this status describes; -1 until the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = -1, max = 9007199254740991i64))]
    pub observed_generation: Option<i64>,

    /// Ready, Routable, Reconciling and Stalled, one entry of each type.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    #[schemars(length(max = 64))]
    pub conditions: Vec<Condition>,
}

/// One member of the group.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupMember {
    /// Name of the MCPProvider.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Namespace of the MCPProvider, which is the group's.
    #[schemars(length(max = 253))]
    pub namespace: String,

    /// State of the provider: Cold, Initializing, Ready, Degraded or Dead.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(with = "ProviderState")]
    pub state: Option<ProviderState>,

    /// Weight for the strategy Weighted, from the provider's annotation mcp-hangar.io/weight, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub weight: Option<i32>,

    /// Place for the strategy Failover, from the provider's annotation mcp-hangar.io/priority, 0 = first.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub priority: Option<i32>,

    /// URL of the provider's MCP endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = 4096))]
    pub endpoint: Option<String>,

    /// Open connections to the provider. Absent until something carries traffic and reports it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub active_connections: Option<i32>,

    /// When the provider was last probed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub last_health_check: Option<Time>,
}
