//! The status of a provider, and the write that brings it there.
//!
//! In: the state, what was seen and found out, the status as it is. Out: the status as it should be, and a merge patch
//! that holds only what differs, or none: what changes with every probe is written along, and is no reason to write.
//! Sending the patch is left to others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::PROVIDER_LABEL;
use mcp_hangar_api::v1beta1::provider::{MCPProviderStatus, Mode, ProviderPhase, ProviderState};
use serde_json::{Map, Value, json};

use super::conditions::{Facts, conditions};
use super::fetch::Seen;
use super::probe::Offer;
use super::state::State;
use crate::difference::Difference;

/// Everything that a status is made from.
pub(super) struct About<'a> {
    pub(super) seen: &'a Seen,
    pub(super) mode: Option<Mode>,
    pub(super) state: &'a State,
    pub(super) facts: Facts<'a>,
    /// What the server offers, where it was asked since this process began.
    pub(super) offer: Option<&'a Offer>,
    pub(super) last_probe: Option<Timestamp>,
    /// Nothing is known of probes yet: what an earlier process said of them stays.
    pub(super) is_fresh: bool,
}

/// The status as it should be, by the one that is.
pub(super) fn status(about: &About<'_>, old: &MCPProviderStatus, now: Timestamp) -> MCPProviderStatus {
    let About { seen, mode, state, facts, offer, last_probe, is_fresh } = about;
    let is_container = *mode == Some(Mode::Container);
    let pods = seen.deployment.as_ref().and_then(|it| it.status.clone()).filter(|_| is_container);
    let pods = pods.unwrap_or_default();
    let count = |count: Option<i32>| is_container.then(|| count.unwrap_or(0));
    let tools = offer.map(|offer| offer.tools.clone()).unwrap_or_else(|| old.tools.clone());
    let tools_count = offer.map(|offer| number(offer.count)).or(old.tools_count);
    let facts = Facts { tools: tools_count.and_then(|count| usize::try_from(count).ok()), ..*facts };
    let mut conditions = conditions(state, &facts, &old.conditions, now);
    if *is_fresh {
        for condition in &mut conditions {
            let before = old.conditions.iter().find(|old| {
                old.type_ == condition.type_
                    && (old.status, &old.reason, old.observed_generation)
                        == (condition.status, &condition.reason, condition.observed_generation)
            });
            if let Some(message) = before.and_then(|before| before.message.clone()) {
                condition.message = Some(message);
            }
        }
    }
    let mut new = MCPProviderStatus {
        state: Some(state.node.state()),
        phase: Some(phase(state.node.state())),
        replicas: count(pods.replicas),
        ready_replicas: count(pods.ready_replicas),
        available_replicas: count(pods.available_replicas),
        selector: is_container.then(|| format!("{PROVIDER_LABEL}={}", seen.provider.key.name)),
        tools_count,
        tools,
        endpoint: Some(facts.endpoint.to_owned()).filter(|endpoint| !endpoint.is_empty()),
        pod_name: pod_name(seen).filter(|_| is_container),
        last_started_at: time(state.started_at),
        last_stopped_at: time(state.stopped_at),
        last_health_check: time(*last_probe).or_else(|| old.last_health_check.clone()),
        last_activity_at: time(state.active_at),
        consecutive_failures: Some(i32::try_from(state.failures).unwrap_or(i32::MAX)),
        observed_generation: Some(facts.generation),
        conditions,
    };
    // Who cannot be read is left running as he is.
    if mode.is_none() {
        new.replicas = old.replicas;
        new.ready_replicas = old.ready_replicas;
        new.available_replicas = old.available_replicas;
        new.selector = old.selector.clone();
        new.pod_name = old.pod_name.clone();
    }
    new
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn time(at: Option<Timestamp>) -> Option<Time> {
    at.map(Time)
}

const fn phase(state: ProviderState) -> ProviderPhase {
    match state {
        ProviderState::Cold | ProviderState::Initializing => ProviderPhase::Pending,
        ProviderState::Ready | ProviderState::Degraded => ProviderPhase::Running,
        ProviderState::Dead => ProviderPhase::Failed,
    }
}

/// A ready one before others, then by name, so that it does not change without need.
fn pod_name(seen: &Seen) -> Option<String> {
    let is_ready = |pod: &k8s_openapi::api::core::v1::Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
    };
    let living = seen.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let best = living.min_by_key(|pod| (!is_ready(pod), pod.metadata.name.clone()));
    best.and_then(|pod| pod.metadata.name.clone())
}

/// The patch from `old` to `new`; `enough` is the number of failures from which more of them are no news.
///
/// Of a provider that starts, pods are not counted along: what hinders it is in its conditions. Failed probes are counted
/// along from the threshold on that makes them a change. The numbers are written with the next change.
pub(super) fn patch(
    old: &MCPProviderStatus,
    new: &MCPProviderStatus,
    resource_version: &str,
    enough: u32,
) -> Option<Value> {
    let difference = Difference::between(old, new)?;
    let Difference { old, new, changed } = &difference;
    let is_in = |state| new.get("state") == Some(&json!(state));
    let is_starting = is_in(ProviderState::Initializing);
    let is_well = is_in(ProviderState::Ready);
    let is_news = |name: &str| match name {
        "lastHealthCheck" => false,
        "replicas" | "readyReplicas" | "availableReplicas" | "podName" if is_starting => false,
        "consecutiveFailures" if is_starting || is_well => false,
        "lastActivityAt" => old.get(name).is_none(),
        "consecutiveFailures" => {
            let count = |of: &Map<String, Value>| of.get(name).and_then(Value::as_u64).unwrap_or(0);
            count(old).min(enough.into()) != count(new).min(enough.into())
        }
        _ => true,
    };
    changed.keys().any(|name| is_news(name)).then(|| difference.patch(resource_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> MCPProviderStatus {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn only_what_differs_is_written_and_only_for_news() {
        let base = "state: Ready\nconsecutiveFailures: 0\ntools: [a]";
        for (new, expected) in [
            (base, Value::Null),
            (
                "state: Ready\nconsecutiveFailures: 0\ntools: [a]\nlastHealthCheck: 2026-01-01T00:00:00Z",
                Value::Null,
            ),
            (
                "state: Degraded\nconsecutiveFailures: 3\ntools: [a]\nlastHealthCheck: 2026-01-01T00:00:00Z",
                json!({"state": "Degraded", "consecutiveFailures": 3, "lastHealthCheck": "2026-01-01T00:00:00Z"}),
            ),
            ("state: Ready\nconsecutiveFailures: 0", json!({"tools": null})),
            ("state: Ready\nconsecutiveFailures: 1\ntools: [a]", Value::Null),
            (
                "state: Ready\nconsecutiveFailures: 0\ntools: [a]\nlastActivityAt: 2026-01-01T00:00:00Z",
                json!({"lastActivityAt": "2026-01-01T00:00:00Z"}),
            ),
        ] {
            let patch = patch(&read(base), &read(new), "7", 5);
            let found = patch.as_ref().map_or(Value::Null, |patch| patch["status"].clone());
            assert_eq!(found, expected, "{new}");
            assert!(patch.is_none_or(|patch| patch["metadata"]["resourceVersion"] == "7"));
        }
        let counted = patch(
            &read("state: Degraded\nconsecutiveFailures: 3"),
            &read("state: Degraded\nconsecutiveFailures: 4"),
            "7",
            5,
        );
        assert_eq!(counted.unwrap()["status"], json!({"consecutiveFailures": 4}));
        let starting = "state: Initializing\nconsecutiveFailures: 2\nreplicas: 1\npodName: a-1";
        assert_eq!(patch(&read("state: Initializing"), &read(starting), "7", 5), None, "it starts");
        assert!(patch(&read("state: Cold"), &read(starting), "7", 5).is_some());
        let old = read("consecutiveFailures: 5");
        assert_eq!(patch(&old, &read("consecutiveFailures: 900"), "7", 5), None, "it fails for long already");
    }
}
