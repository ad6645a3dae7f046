//! What an MCPProviderGroup gets where its author is silent.
//!
//! Affinity and circuit breaker are filled only where they are written: their absence means that they are off, and an
//! object does not grow by what is off.

use super::Default::{self, Block, Computed, IfWritten, Leaf};
use crate::json::Object;

/// The defaults of a group's spec.
pub static DEFAULTS: &[Default] = &[
    Leaf("strategy", r#""RoundRobin""#),
    Block(
        "failover",
        &[
            Leaf("enabled", "true"),
            Leaf("maxRetries", "2"),
            Leaf("retryDelay", r#""1s""#),
            Leaf("retryOn", r#"["timeout","connection_error"]"#),
        ],
    ),
    Block("healthPolicy", &[Computed("minHealthyPercentage", percentage), Leaf("unhealthyThreshold", "3")]),
    IfWritten(
        "sessionAffinity",
        &[Leaf("enabled", "false"), Leaf("type", r#""ClientIP""#), Leaf("ttl", r#""10m""#)],
    ),
    IfWritten(
        "circuitBreaker",
        &[Leaf("enabled", "false"), Leaf("failureThreshold", "10"), Leaf("resetTimeout", r#""1m""#)],
    ),
];

/// 50, unless the policy counts providers: the count overrides a percentage, so none is injected beside it.
fn percentage(policy: &Object<'_>) -> Option<String> {
    let counts = policy.get("minHealthyCount").is_some_and(|count| !count.is_null());
    (!counts).then(|| "50".to_owned())
}
