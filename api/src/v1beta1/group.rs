//! MCPProviderGroup: several MCPProviders that serve as one.
//!
//! In: JSON of the stored version. Out: types. Defaults, rules and the choice of a member are left to others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bound;
pub use crate::shape::group::{
    AffinityType, Failover, GroupCircuitBreaker, GroupMember, HealthPolicy, MCPProviderGroupStatus, RetryOn,
    SessionAffinity, Strategy,
};

/// What the group is made of, and how calls are spread over it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "mcp-hangar.io",
    version = "v1beta1",
    kind = "MCPProviderGroup",
    doc = "Several MCPProviders that serve as one.",
    namespaced,
    status = "MCPProviderGroupStatus",
    derive = "PartialEq",
    shortname = "mcppg",
    shortname = "providergroup",
    category = "mcp",
    category = "all"
)]
#[serde(rename_all = "camelCase")]
pub struct MCPProviderGroupSpec {
    /// Labels of the MCPProviders in this namespace that are members. An empty selector selects all.
    #[schemars(schema_with = "bound::label_selector")]
    pub selector: LabelSelector,

    /// How calls are spread: RoundRobin, LeastConnections, Random, Weighted or Failover. Default RoundRobin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Strategy")]
    pub strategy: Option<Strategy>,

    /// What happens to a call that fails at one member. Default: two more tries, 1s apart, after a timeout or a
    /// connection error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,

    /// When the group counts as healthy. Default: half of the members are available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_policy: Option<HealthPolicy>,

    /// Whether a client stays with one member. Absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,

    /// When a failing member is left out for a while. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<GroupCircuitBreaker>,
}
