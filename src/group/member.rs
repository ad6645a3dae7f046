//! What a group has to know of one of its members.
//!
//! In: a provider as the watch shows it. Out: a [`Member`]: its state, how it is to be routed to, how often it failed.
//! Total: an annotation that is no number counts as absent, since the rules have refused it and its own controller says
//! so.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mcp_hangar_api::annotation::{PRIORITY, WEIGHT};
use mcp_hangar_api::shape::provider::{CircuitBreaker, HealthCheck};
use mcp_hangar_api::v1beta1::provider::ProviderState;
use serde::Deserialize;

use crate::provider::Known;
use crate::provider::state::settings::most_counted;

/// The weight where no annotation says one.
pub const WEIGHT_DEFAULT: i32 = 1;
/// The priority where no annotation says one.
pub const PRIORITY_DEFAULT: i32 = 100;

/// A provider as its groups see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: Arc<str>,
    /// Its state; `None` before its controller has looked at it.
    pub state: Option<ProviderState>,
    /// For the strategy Weighted, 1 to 100.
    pub weight: i32,
    /// For the strategy Failover, 0 = first.
    pub priority: i32,
    /// Where it answers.
    pub endpoint: Option<String>,
    /// Failed probes in a row.
    pub failures: u32,
    /// As many failures as its status counts at most: from then on it counts as unhealthy for every group.
    pub most_failures: u32,
    /// When it was last probed.
    pub checked_at: Option<Time>,
}

/// The part of a provider's spec that says how far failures are counted.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Thresholds {
    health_check: HealthCheck,
    circuit_breaker: CircuitBreaker,
}

impl Member {
    /// Of a provider.
    pub(crate) fn of(known: &Known) -> Self {
        let number = |key: &str, least: i32, greatest: i32| {
            let number = known.annotations.get(key).and_then(|text| text.parse::<i32>().ok());
            number.filter(|number| (least..=greatest).contains(number))
        };
        let Thresholds { health_check, circuit_breaker } =
            serde_json::from_str(&known.spec).unwrap_or_default();
        let failures = known.status.consecutive_failures.and_then(|count| u32::try_from(count).ok());
        Self {
            name: Arc::clone(&known.key.name),
            state: known.status.state,
            weight: number(WEIGHT, 1, 100).unwrap_or(WEIGHT_DEFAULT),
            priority: number(PRIORITY, 0, i32::MAX).unwrap_or(PRIORITY_DEFAULT),
            endpoint: known.status.endpoint.clone(),
            failures: failures.unwrap_or(0),
            most_failures: most_counted(health_check, circuit_breaker),
            checked_at: known.status.last_health_check.clone(),
        }
    }

    /// Whether a group has to look at it again after it was `old`. When it was probed is no reason.
    pub fn differs(&self, old: &Self) -> bool {
        let Self { name, state, weight, priority, endpoint, failures, most_failures, checked_at: _ } = self;
        (name, state, weight, priority, endpoint, failures, most_failures)
            != (
                &old.name,
                &old.state,
                &old.weight,
                &old.priority,
                &old.endpoint,
                &old.failures,
                &old.most_failures,
            )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(
        annotations: &serde_json::Value,
        spec: &serde_json::Value,
        status: &serde_json::Value,
    ) -> Member {
        let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "spec": spec, "status": status,
            "metadata": {"name": "a", "namespace": "team", "annotations": annotations}});
        Member::of(&Known::read(&object))
    }

    #[test]
    fn weight_and_priority_are_annotations_and_nonsense_counts_as_absent() {
        for (weight, priority, expected) in [
            (None, None, (1, 100)),
            (Some("100"), Some("0"), (100, 0)),
            (Some("1"), Some("2147483647"), (1, 2_147_483_647)),
            (Some("0"), Some("-1"), (1, 100)),
            (Some("101"), Some("2147483648"), (1, 100)),
            (Some("heavy"), Some(""), (1, 100)),
            (Some("3.5"), Some("1e3"), (1, 100)),
        ] {
            let annotations = json!({WEIGHT: weight, PRIORITY: priority});
            let annotations: serde_json::Map<_, _> = annotations
                .as_object()
                .unwrap()
                .clone()
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect();
            let member = member(&json!(annotations), &json!({}), &json!({}));
            assert_eq!((member.weight, member.priority), expected, "{weight:?} {priority:?}");
        }
    }

    #[test]
    fn a_status_of_any_shape_is_a_member() {
        let all = member(
            &json!({}),
            &json!({"mode": "Remote"}),
            &json!({"state": "Degraded", "endpoint": "http://a/mcp", "consecutiveFailures": 4,
                "lastHealthCheck": "2026-01-01T00:00:00Z"}),
        );
        assert_eq!((all.state, all.failures), (Some(ProviderState::Degraded), 4));
        assert_eq!(all.endpoint.as_deref(), Some("http://a/mcp"));
        assert!(all.checked_at.is_some());
        let odd =
            member(&json!({}), &json!(7), &json!({"state": 9, "consecutiveFailures": -3, "endpoint": []}));
        assert_eq!((odd.state, odd.failures, odd.endpoint), (None, 0, None));
        assert_eq!(member(&json!({}), &json!(null), &json!(null)).state, None);
    }

    #[test]
    fn failures_are_known_as_far_as_a_provider_counts_them() {
        for (spec, expected) in [
            (json!({}), 5),
            (json!({"healthCheck": {"failureThreshold": 9}}), 9),
            (json!({"healthCheck": {"failureThreshold": 2}, "circuitBreaker": {"failureThreshold": 4}}), 4),
            (json!({"healthCheck": {"enabled": false, "failureThreshold": 9}}), 5),
            (json!({"healthCheck": {"failureThreshold": "many"}}), 5),
        ] {
            assert_eq!(member(&json!({}), &spec, &json!({})).most_failures, expected, "{spec}");
        }
    }

    #[test]
    fn when_it_was_probed_is_no_reason_to_look_again() {
        let status =
            |time: &str, failures: i32| json!({"lastHealthCheck": time, "consecutiveFailures": failures});
        let of = |time: &str, failures: i32| member(&json!({}), &json!({}), &status(time, failures));
        let old = of("2026-01-01T00:00:00Z", 0);
        assert!(!of("2026-01-01T00:00:30Z", 0).differs(&old));
        assert!(of("2026-01-01T00:00:00Z", 1).differs(&old));
    }
}
