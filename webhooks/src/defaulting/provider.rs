//! What an MCPProvider gets where its author is silent.
//!
//! Written in hub paths. Port, path, observability and the secure settings of pods are run-time defaults of the
//! controller, and stand in no object.

use mcp_hangar_api::duration;

use super::Default::{self, Block, Computed, Leaf};
use crate::json::{Json, Object, write_string};

/// How long one health check may take where the interval is not shorter.
pub const HEALTH_CHECK_TIMEOUT: &str = "5s";

/// The defaults of a provider's spec.
pub static DEFAULTS: &[Default] = &[
    Leaf("replicas", "1"),
    Block(
        "lifecycle",
        &[
            Leaf("idleTTL", r#""5m""#),
            Leaf("startupTimeout", r#""30s""#),
            Leaf("shutdownGracePeriod", r#""30s""#),
        ],
    ),
    Block(
        "healthCheck",
        &[
            Leaf("enabled", "true"),
            Leaf("interval", r#""30s""#),
            Computed("timeout", health_check_timeout),
            Leaf("failureThreshold", "3"),
            Leaf("successThreshold", "1"),
        ],
    ),
    Block(
        "circuitBreaker",
        &[
            Leaf("enabled", "true"),
            Leaf("failureThreshold", "5"),
            Leaf("successThreshold", "2"),
            Leaf("resetTimeout", r#""30s""#),
            Leaf("halfOpenRequests", "3"),
        ],
    ),
];

/// 5s, or the interval's own text where that is shorter, and a time at all: what is injected never breaks a rule.
fn health_check_timeout(health_check: &Object<'_>) -> Option<String> {
    let mut text = HEALTH_CHECK_TIMEOUT;
    if let Some(interval) = health_check.get("interval").and_then(Json::as_str)
        && let (Ok(parsed), Ok(usual)) = (duration::parse(interval), duration::parse(HEALTH_CHECK_TIMEOUT))
        && parsed.nanos() > 0
        && parsed < usual
    {
        text = interval;
    }
    let mut out = String::new();
    write_string(text, &mut out);
    Some(out)
}
