//! The conditions of a group.
//!
//! In: the verdict on its members, or what is wrong with its spec, and the conditions so far. Out: the new ones: one of
//! each type, each with the generation, Reconciling and Stalled only while true; a time changes only with its status.
//! Routable is False for as long as nothing carries traffic to groups. Writing them is left to others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::condition::{self as kind, Condition, ConditionStatus};

use super::health::{Counts, Least, Policy, Verdict};
use super::member::Member;
use super::selector::Selector;

/// Members that a message names.
const NAMED: usize = 3;
/// Characters of a selector that a message shows.
const SHOWN: usize = 200;

const NO_DATA_PATH: &str = "nothing carries traffic to groups yet, so that it has no address: call its members at the \
     endpoints in status.providers; strategy, failover, sessionAffinity and circuitBreaker have no effect until then";

/// What there is to say of a group.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The generation that was looked at.
    pub generation: i64,
    /// Its namespace.
    pub namespace: &'a str,
    /// Whom it selects; `None` where that cannot be read.
    pub selector: Option<&'a Selector>,
    /// What is enough.
    pub policy: Policy,
    /// Which field breaks a rule, and how to mend it.
    pub invalid: Option<&'a str>,
    /// How many there are.
    pub counts: Counts,
    /// Members that the status names, where it cannot name all.
    pub named: Option<usize>,
}

/// The conditions, sorted as they are shown.
pub fn conditions(
    facts: &Facts<'_>,
    members: &[&Member],
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let verdict = facts.policy.judge(&facts.counts);
    let reason = reason(verdict, facts);
    let message = message(verdict, facts, members);
    let is_ready = reason == "PolicyMet";
    let is_starting = facts.invalid.is_none() && verdict == Verdict::NotMet { is_starting: true };
    let all = [
        (kind::READY, is_ready, true, reason, message.as_str()),
        (kind::ROUTABLE, false, true, "NoDataPath", NO_DATA_PATH),
        (kind::RECONCILING, true, is_starting, "Starting", &message),
        (kind::STALLED, true, facts.invalid.is_some(), reason, &message),
    ];
    all.into_iter()
        .filter(|(_, _, is_there, ..)| *is_there)
        .map(|(type_, holds, _, reason, message)| {
            let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
            let old = before.iter().find(|old| old.type_ == type_).filter(|old| old.status == status);
            let since = old.and_then(|old| old.last_transition_time.clone());
            Condition {
                type_: type_.to_owned(),
                status,
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: Some(since.unwrap_or_else(|| Time(whole_seconds(now)))),
                observed_generation: Some(facts.generation),
            }
        })
        .collect()
}

/// As conditions everywhere have it.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

const fn reason(verdict: Verdict, facts: &Facts<'_>) -> &'static str {
    match verdict {
        _ if facts.invalid.is_some() => "InvalidSpec",
        Verdict::Met => "PolicyMet",
        Verdict::NotMet { .. } => "PolicyNotMet",
        Verdict::NoProviders => "NoProviders",
    }
}

fn message(verdict: Verdict, facts: &Facts<'_>, members: &[&Member]) -> String {
    let Facts { generation: _, namespace, selector, policy, invalid, counts, named } = facts;
    if let Some(invalid) = invalid {
        return (*invalid).to_owned();
    }
    if verdict == Verdict::NoProviders {
        let shown = selector.map(ToString::to_string).unwrap_or_default();
        return if shown.is_empty() {
            format!("there is no MCPProvider in namespace {namespace}")
        } else {
            let shown: String = shown.chars().take(SHOWN).collect();
            format!("no MCPProvider in namespace {namespace} has labels that spec.selector asks for: {shown}")
        };
    }
    let verb = if counts.all == 1 { "member is" } else { "members are" };
    let mut text = format!("{} of {} {verb} available", counts.available, counts.all);
    if verdict != Verdict::Met {
        match policy.least {
            Least::Count(least) => text.push_str(&format!(", healthPolicy.minHealthyCount asks for {least}")),
            Least::Percentage(share) => {
                text.push_str(&format!(", healthPolicy.minHealthyPercentage asks for {share} %"));
            }
        }
    }
    let mut missing = members.iter().filter(|member| !policy.is_available(member));
    let first: Vec<_> = missing.by_ref().take(NAMED).map(|member| told(member)).collect();
    if !first.is_empty() {
        text.push_str(&format!("; not {}", first.join(", ")));
        let more = missing.count();
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
    }
    if let Some(named) = named {
        text.push_str(&format!("; status.providers has room for the first {named} by name only"));
    }
    text
}

fn told(member: &Member) -> String {
    let Member { name, state, failures, .. } = member;
    match state {
        None => format!("{name} (new)"),
        Some(state) if *failures > 0 => format!("{name} ({state:?}, {failures} failures)"),
        Some(state) => format!("{name} ({state:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::members;
    use super::*;

    fn now(second: i64) -> Timestamp {
        Timestamp::new(1_800_000_000 + second, 5).unwrap()
    }

    fn of(
        written: &str,
        text: &str,
        invalid: Option<&str>,
        before: &[Condition],
        second: i64,
    ) -> Vec<Condition> {
        let policy = Policy::of(&serde_saphyr::from_str(written).unwrap());
        let selector = Selector::of(&serde_saphyr::from_str("matchLabels: {app: a}").unwrap()).unwrap();
        let members = members(text);
        let all: Vec<_> = members.iter().collect();
        let facts = Facts {
            generation: 7,
            namespace: "team",
            selector: Some(&selector),
            policy,
            invalid,
            counts: policy.count(&members),
            named: None,
        };
        conditions(&facts, &all, before, now(second))
    }

    #[test]
    fn each_verdict_says_what_is_missing() {
        for (written, text, invalid, expected, message) in [
            ("{}", "R", None, "Ready=True/PolicyMet Routable=False/NoDataPath", "1 of 1 member is available"),
            (
                "{}",
                "RRCX",
                None,
                "Ready=True/PolicyMet Routable=False/NoDataPath",
                "3 of 4 members are available; not m3 (Dead)",
            ),
            (
                "{}",
                "RXD3XXX",
                None,
                "Ready=False/PolicyNotMet Routable=False/NoDataPath",
                "1 of 6 members are available, healthPolicy.minHealthyPercentage asks for 50 %; not m1 (Dead), \
                 m2 (Degraded, 3 failures), m3 (Dead) and 2 more",
            ),
            (
                "{minHealthyCount: 2}",
                "I-",
                None,
                "Ready=False/PolicyNotMet Routable=False/NoDataPath Reconciling=True/Starting",
                "0 of 2 members are available, healthPolicy.minHealthyCount asks for 2; not m0 (Initializing), m1 (new)",
            ),
            (
                "{}",
                "",
                None,
                "Ready=False/NoProviders Routable=False/NoDataPath",
                "no MCPProvider in namespace team has labels that spec.selector asks for: app=a",
            ),
            (
                "{}",
                "RI",
                Some("spec.strategy: what"),
                "Ready=False/InvalidSpec Routable=False/NoDataPath Stalled=True/InvalidSpec",
                "spec.strategy: what",
            ),
        ] {
            let all = of(written, text, invalid, &[], 0);
            let told: Vec<_> = all
                .iter()
                .map(|it| format!("{}={:?}/{}", it.type_, it.status, it.reason.as_deref().unwrap()))
                .collect();
            assert_eq!(told.join(" "), expected, "{written} {text}");
            assert_eq!(all[0].message.as_deref(), Some(message));
            assert!(all.iter().all(|it| it.observed_generation == Some(7)));
        }
    }

    #[test]
    fn a_time_changes_only_with_its_status() {
        let first = of("{}", "RX", None, &[], 0);
        let second = of("{}", "RRX", None, &first, 10);
        let third = of("{}", "RXX", None, &second, 20);
        let since = |all: &[Condition], type_: &str| {
            all.iter().find(|it| it.type_ == type_).unwrap().last_transition_time.clone().unwrap().0
        };
        assert_eq!(since(&second, "Ready"), whole_seconds(now(0)));
        assert_eq!(since(&third, "Ready"), whole_seconds(now(20)));
        assert_eq!(since(&third, "Routable"), whole_seconds(now(0)));
        assert_eq!(of("{}", "RXX", None, &third, 30), third, "nothing changed, nothing changes");
    }
}
