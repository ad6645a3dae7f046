//! Conditions of all three kinds, and the names of their types.
//!
//! Only type and status are required: an older operator wrote conditions with empty reasons, and a stricter schema
//! would block every later update of such an object. Reading never fails; which condition is true when is the
//! controllers' matter.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shape::STATUS_TEXT;
use crate::{bound, lenient};

/// The one to wait for, of all kinds.
pub const READY: &str = "Ready";
/// A provider answers MCP.
pub const AVAILABLE: &str = "Available";
/// A provider's health checks fail.
pub const DEGRADED: &str = "Degraded";
/// Work is going on; present only while true (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// No retry will help; present only while true (kstatus).
pub const STALLED: &str = "Stalled";
/// A group has an address that clients can use.
pub const ROUTABLE: &str = "Routable";
/// The last scan of a discovery source was complete.
pub const SYNCED: &str = "Synced";
/// What an Authoritative source prunes.
pub const PRUNING: &str = "Pruning";

/// One observed aspect of the object.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed, such as Ready, Reconciling or Stalled. One entry of each type.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,

    /// Whether it holds: True, False or Unknown.
    pub status: ConditionStatus,

    /// Why, as one fixed word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,

    /// Why, as a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(length(max = STATUS_TEXT))]
    pub message: Option<String>,

    /// When status last changed its value, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(schema_with = "bound::time")]
    pub last_transition_time: Option<Time>,

    /// The metadata.generation that this condition was observed at.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::field")]
    #[schemars(range(min = -1, max = 9007199254740991i64))]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say.
    #[default]
    #[serde(other)]
    Unknown,
}
