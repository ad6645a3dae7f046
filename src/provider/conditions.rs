//! The conditions of a provider.
//!
//! In: its state, what hinders its pods, what the last failed probe said, the conditions so far. Out: the new
//! conditions: one of each type, each with the generation, Reconciling and Stalled only while true; a time changes only
//! with its status, so that an unchanged provider has unchanged conditions. A message says what to do next, in the
//! version that the user writes. Writing them is left to others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::condition::{self as kind, Condition, ConditionStatus};

use super::state::{Node, State};

#[cfg(test)]
mod tests;
pub mod trouble;

pub use trouble::{Trouble, Version, diagnose};

/// What there is to say of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The generation that was looked at.
    pub generation: i64,
    /// The version that the user writes.
    pub version: Version,
    /// URL of the endpoint.
    pub endpoint: &'a str,
    /// Whether it runs elsewhere.
    pub is_remote: bool,
    /// Whether it is probed at all.
    pub is_probed: bool,
    /// Tools offered, where they are known.
    pub tools: Option<usize>,
    /// Names in the allow or the deny list that are no tools of it.
    pub unknown: &'a [String],
    /// What hinders the pods.
    pub trouble: Option<&'a Trouble>,
    /// What the last probe found wrong, and what to write. `None` after a good one.
    pub probe: Option<&'a str>,
    /// Which field of the spec breaks a rule, and how to mend it.
    pub invalid: Option<&'a str>,
}

/// The conditions, sorted by type as they are shown.
pub fn conditions(state: &State, facts: &Facts<'_>, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    let is_stalled = state.node == Node::InvalidSpec || facts.trouble.is_some_and(Trouble::is_final);
    let reason = reason(state.node, facts);
    let message = message(state, facts);
    let is_ready = matches!(state.node, Node::Ready | Node::Cold);
    let always = [
        (kind::READY, is_ready),
        (kind::AVAILABLE, state.node == Node::Ready),
        (kind::DEGRADED, state.node == Node::Degraded),
    ];
    // kstatus reads Reconciling first: what is stalled must not look busy.
    let is_busy = state.node == Node::Initializing && !is_stalled;
    let while_true = [(kind::RECONCILING, is_busy), (kind::STALLED, is_stalled && !is_ready)];
    always
        .into_iter()
        .chain(while_true.into_iter().filter(|(_, holds)| *holds))
        .map(|(type_, holds)| condition(type_, holds, reason, &message, facts.generation, before, now))
        .collect()
}

fn condition(
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    generation: i64,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
    let old = before.iter().find(|old| old.type_ == type_).filter(|old| old.status == status);
    let since = old.and_then(|old| old.last_transition_time.clone());
    // A kubelet says why an image cannot be pulled and then, for minutes, only that it cannot: the fuller text stays.
    let kept = old.filter(|old| old.reason.as_deref() == Some(reason));
    let kept = kept.and_then(|old| old.message.as_deref()).filter(|old| trouble::says_more(old, message));
    Condition {
        type_: type_.to_owned(),
        status,
        reason: Some(reason.to_owned()),
        message: Some(kept.unwrap_or(message).to_owned()),
        last_transition_time: Some(since.unwrap_or(Time(whole_seconds(now)))),
        observed_generation: Some(generation),
    }
}

/// As conditions everywhere have it.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// One word a state, as docs and health checks of pipelines have it.
const fn reason(node: Node, facts: &Facts<'_>) -> &'static str {
    if let Some(Trouble::NameTaken { .. }) = facts.trouble
        && !matches!(node, Node::Cold | Node::InvalidSpec)
    {
        return "NameTaken";
    }
    if let Some(Trouble::SecretAccess { .. }) = facts.trouble
        && !matches!(node, Node::Cold | Node::InvalidSpec)
    {
        return "SecretAccessMissing";
    }
    match node {
        Node::Cold => "Idle",
        Node::Initializing => "Starting",
        Node::Ready => "ProviderReady",
        Node::Degraded => "HealthCheckFailing",
        Node::CircuitOpen | Node::HalfOpen => "CircuitOpen",
        Node::StartupFailed => "StartupFailed",
        Node::InvalidSpec => "InvalidSpec",
    }
}

fn message(state: &State, facts: &Facts<'_>) -> String {
    let head = match state.node {
        Node::Cold if state.is_asleep => format!(
            "asleep: no traffic for {}; newly reported traffic or the annotation mcp-hangar.io/wake starts it",
            trouble::field(facts.version, "lifecycle.idleTTL")
        ),
        Node::Cold if facts.is_remote => {
            "not asked, since spec.replicas is 0: set it above 0 to have it asked".into()
        }
        Node::Cold => {
            "no pods are wanted: set spec.replicas above 0, or the annotation mcp-hangar.io/wake, to start it"
                .into()
        }
        Node::Initializing => format!("starting: {} has not answered MCP yet", facts.endpoint),
        Node::Ready => ready(facts),
        Node::Degraded => format!("{} answered MCP before and fails now", facts.endpoint),
        Node::CircuitOpen | Node::HalfOpen => {
            format!(
                "{} failed too often and is tried again after spec.circuitBreaker.resetTimeout",
                facts.endpoint
            )
        }
        Node::StartupFailed => format!(
            "{} did not answer MCP within {}; it is tried again with growing waits, and at once after a change",
            facts.endpoint,
            trouble::field(facts.version, "lifecycle.startupTimeout"),
        ),
        Node::InvalidSpec => return facts.invalid.unwrap_or("the spec breaks a rule").to_owned(),
    };
    let trouble = facts.trouble.filter(|_| state.node != Node::Cold).map(|it| it.message(facts.version));
    let probe = facts.probe.filter(|_| !matches!(state.node, Node::Cold | Node::Ready)).map(str::to_owned);
    [Some(head), trouble, probe].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Names that are told; a list of many wrong ones is seen by its beginning.
const TOLD: usize = 5;

fn ready(facts: &Facts<'_>) -> String {
    let unknown = match facts.unknown {
        [] => String::new(),
        names => {
            let told: Vec<_> = names.iter().take(TOLD).map(|name| name.escape_debug().to_string()).collect();
            let more = if names.len() > TOLD { ", ..." } else { "" };
            format!("; it has no tools with these names of spec.tools: {}{more}", told.join(", "))
        }
    };
    let says = match facts.tools {
        _ if !facts.is_probed => {
            format!("{} is taken to be ready: spec.healthCheck.enabled is false", facts.endpoint)
        }
        Some(1) => format!("{} answers MCP with 1 tool", facts.endpoint),
        Some(tools) => format!("{} answers MCP with {tools} tools", facts.endpoint),
        None => format!("{} answers MCP", facts.endpoint),
    };
    says + &unknown
}
