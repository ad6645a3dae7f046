//! The status of a source: what was found, where, what was skipped and why, what is and would be deleted.
//!
//! In: how the last look went, the status as it is, the time. Out: the status as it should be, and a merge patch of what
//! differs, or none: times change with every scan, are written along, and are no reason to write. Sending it is left to
//! others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::condition::{self as kind, Condition, ConditionStatus};
use mcp_hangar_api::v1beta1::discovery::{DiscoveredProvider, MCPDiscoverySourceStatus};
use serde_json::Value;

use super::plan::{Item, Plan};
use super::prune::Why;
use crate::difference::Difference;

/// Providers that a status lists; those with an error first.
const SHOWN: usize = 1_000;
/// Characters of a text about one item.
const TEXT: usize = 512;
/// Reasons of the condition Pruning.
const PRUNED: &str = "Pruned";
const UP_TO_DATE: &str = "UpToDate";
/// Names and faults in a message.
const NAMED: usize = 5;

/// How a look went.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The spec breaks a rule.
    Invalid(String),
    /// Nothing is looked at.
    Paused,
    /// It is being deleted and waits for these.
    Going(String),
    /// It was looked at.
    Scanned(Box<Scanned>),
}

/// A look that was one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scanned {
    /// What was decided.
    pub plan: Plan,
    /// What went wrong with the scan, or with the whole of the writes.
    pub faults: Vec<String>,
    /// What became of single writes that failed, by name.
    pub failed: BTreeMap<String, String>,
    /// What was deleted.
    pub deleted: Vec<String>,
    /// Providers that there are now.
    pub managed: BTreeSet<String>,
    /// Whether the source deletes at all.
    pub prunes: bool,
    /// As the spec has it.
    pub refresh: Duration,
    /// How long it took.
    pub took: Duration,
}

/// The status as it should be.
pub fn status(
    outcome: &Outcome,
    generation: i64,
    old: &MCPDiscoverySourceStatus,
    now: Timestamp,
) -> MCPDiscoverySourceStatus {
    let mut new = MCPDiscoverySourceStatus { observed_generation: Some(generation), ..old.clone() };
    if let Outcome::Scanned(scanned) = outcome {
        new.discovered_count = Some(number(scanned.plan.wanted));
        new.managed_count = Some(number(scanned.managed.len()));
        new.last_sync_time = Some(Time(now));
        new.last_sync_duration = Some(format!("{}ms", scanned.took.as_millis()));
        new.last_sync_error = (!scanned.faults.is_empty()).then(|| joined(&scanned.faults, "; "));
        new.next_sync_time = now.checked_add(scanned.refresh).ok().map(Time);
        new.discovered_providers = providers(scanned, &old.discovered_providers, now);
    } else {
        new.next_sync_time = None;
    }
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    new.conditions = conditions(outcome)
        .into_iter()
        .map(|said| keep(said, &old.conditions, seconds))
        .map(|(type_, holds, reason, message)| {
            let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
            let before = old.conditions.iter().find(|old| old.type_ == type_ && old.status == status);
            let since = before.and_then(|before| before.last_transition_time.clone());
            Condition {
                type_: type_.to_owned(),
                status,
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: Some(since.unwrap_or(Time(seconds))),
                observed_generation: Some(generation),
            }
        })
        .collect();
    new
}

type Said = (&'static str, bool, &'static str, String);

/// What was deleted last, and when, is told until there is something else to tell.
fn keep(said: Said, old: &[Condition], now: Timestamp) -> Said {
    let (type_, holds, reason, message) = said;
    if reason == PRUNED {
        return (type_, holds, reason, format!("{message}, at {now}"));
    }
    let before = old.iter().find(|old| reason == UP_TO_DATE && old.reason.as_deref() == Some(PRUNED));
    match before.and_then(|old| old.message.clone()) {
        Some(message) => (type_, holds, PRUNED, message),
        None => (type_, holds, reason, message),
    }
}

fn conditions(outcome: &Outcome) -> Vec<Said> {
    match outcome {
        Outcome::Invalid(says) => vec![
            (kind::READY, false, "InvalidSpec", says.clone()),
            (kind::SYNCED, false, "InvalidSpec", "nothing is looked for while the spec breaks a rule".into()),
            (kind::STALLED, true, "InvalidSpec", says.clone()),
        ],
        Outcome::Paused => {
            let says = "paused: nothing is looked for or changed until spec.paused is false";
            vec![
                (kind::READY, false, "Paused", says.into()),
                (kind::SYNCED, false, "Paused", says.into()),
                (kind::PRUNING, false, "Paused", says.into()),
            ]
        }
        Outcome::Going(says) => vec![
            (kind::READY, false, "Deleting", says.clone()),
            (kind::RECONCILING, true, "Deleting", says.clone()),
        ],
        Outcome::Scanned(scanned) => {
            let (clean, says) = (scanned.faults.is_empty(), synced(scanned));
            let reason = if clean { "Synced" } else { "SyncFailed" };
            let (prunes, why, what) = pruning(scanned);
            vec![
                (kind::READY, clean, reason, says.clone()),
                (kind::SYNCED, clean, reason, says),
                (kind::PRUNING, prunes, why, what),
            ]
        }
    }
}

/// What was found and what was not made of it.
fn synced(scanned: &Scanned) -> String {
    let Scanned { plan, faults, failed, managed, refresh, .. } = scanned;
    let mut parts = Vec::new();
    if !faults.is_empty() {
        parts.push(format!("the scan was not complete: {}", joined(faults, "; ")));
    }
    parts.push(format!("{} found, {} managed", plan.wanted, managed.len()));
    let errors =
        plan.items.iter().filter(|item| item.error.is_some() || failed.contains_key(&item.name)).count();
    if errors > 0 {
        parts.push(format!("{errors} with an error, see status.discoveredProviders"));
    }
    if !plan.left_out.is_empty() {
        let names = joined(&plan.left_out, ", ");
        parts.push(format!("{} left out by spec.filters: {names}", plan.left_out.len()));
    }
    parts.push(format!("looked for after each change, and every {}", duration(*refresh)));
    parts.join("; ")
}

/// What was deleted, what will be, or why nothing is.
fn pruning(scanned: &Scanned) -> (bool, &'static str, String) {
    let Scanned { plan, faults, deleted, prunes, .. } = scanned;
    let lost = joined(&plan.lost, ", ");
    if !prunes {
        let says = match plan.lost.as_slice() {
            [] => "nothing would be deleted: all that is managed was found".to_owned(),
            _ => format!("with mode Authoritative these would be deleted, not found any more: {lost}"),
        };
        return (false, "Additive", says);
    }
    if !faults.is_empty() {
        let says = match plan.lost.as_slice() {
            [] => "nothing is deleted after a scan that was not complete".to_owned(),
            _ => format!("nothing is deleted after a scan that was not complete; not found: {lost}"),
        };
        return (false, "ScanIncomplete", says);
    }
    if let Some(first) = plan.verdict.wait.values().min() {
        let names: Vec<_> = plan.verdict.wait.keys().cloned().collect();
        let (reason, why) = match plan.verdict.why {
            Why::FoundNothing => ("FoundNothing", "nothing was found at all"),
            Why::PlaceAway => ("PlaceAway", "the whole place is away"),
            Why::PodsAway => ("PodsAway", "there is no Pod of that name"),
        };
        let at = Timestamp::from_second(first.as_second() + 1).unwrap_or(*first);
        return (
            false,
            reason,
            format!("{why}: deleted unless found again by {at}: {}", joined(&names, ", ")),
        );
    }
    let still = plan
        .deletes
        .iter()
        .filter_map(|(name, _)| scanned.failed.get(name).map(|says| format!("{name} ({says})")));
    let still: Vec<_> = still.collect();
    if !still.is_empty() {
        return (false, "Retrying", format!("could not be deleted yet: {}", joined(&still, "; ")));
    }
    if !plan.verdict.hidden.is_empty() {
        let names = joined(&plan.verdict.hidden, ", ");
        let says = "nothing is deleted of namespaces that --watch-namespaces of the operator does not name";
        return (false, "OutOfSight", format!("{says}: {names}"));
    }
    match deleted.as_slice() {
        [] => (true, UP_TO_DATE, "nothing is to be deleted".to_owned()),
        _ => (true, PRUNED, format!("deleted, not found any more: {}", joined(deleted, ", "))),
    }
}

fn providers(scanned: &Scanned, old: &[DiscoveredProvider], now: Timestamp) -> Vec<DiscoveredProvider> {
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let known: BTreeMap<_, _> = old.iter().map(|it| ((&it.name, &it.source), &it.discovered_at)).collect();
    let mut all: Vec<_> = scanned
        .plan
        .items
        .iter()
        .map(|Item { name, source, error }| {
            let error = error.as_ref().or_else(|| scanned.failed.get(name)).map(|text| cut(text, TEXT));
            let (name, source) = (cut(name, TEXT), cut(source, TEXT));
            let since = known.get(&(&name, &source)).and_then(|since| (*since).clone());
            DiscoveredProvider {
                managed: Some(scanned.managed.contains(&name)),
                discovered_at: Some(since.unwrap_or(Time(seconds))),
                error,
                name,
                source,
            }
        })
        .collect();
    if all.len() > SHOWN {
        all.sort_by_key(|it| it.error.is_none());
        all.truncate(SHOWN);
        all.sort_by(|one, other| (&one.name, &one.source).cmp(&(&other.name, &other.source)));
    }
    all
}

/// The patch from `old` to `new`.
pub fn patch(
    old: &MCPDiscoverySourceStatus,
    new: &MCPDiscoverySourceStatus,
    resource_version: &str,
) -> Option<Value> {
    let difference = Difference::between(old, new)?;
    let is_news =
        |name: &String| !matches!(name.as_str(), "lastSyncTime" | "nextSyncTime" | "lastSyncDuration");
    difference.changed.keys().any(is_news).then(|| difference.patch(resource_version))
}

/// The first few, and how many more there are.
pub(super) fn joined(texts: &[String], between: &str) -> String {
    let mut all: Vec<_> = texts.iter().take(NAMED).map(|text| cut(text, TEXT)).collect();
    if texts.len() > NAMED {
        all.push(format!("and {} more", texts.len() - NAMED));
    }
    all.join(between)
}

fn cut(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 60, seconds % 60) {
        _ if time.subsec_millis() > 0 => format!("{}ms", time.as_millis()),
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::prune::Verdict;
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn scanned() -> Scanned {
        let item = |name: &str, error: Option<&str>| Item {
            name: name.into(),
            source: "ConfigMap team/m".into(),
            error: error.map(str::to_owned),
        };
        Scanned {
            plan: Plan {
                items: vec![item("a", None), item("b", Some("taken"))],
                wanted: 2,
                ..Plan::default()
            },
            managed: BTreeSet::from(["a".to_owned()]),
            prunes: true,
            refresh: Duration::from_secs(90),
            ..Scanned::default()
        }
    }

    fn told(outcome: &Outcome) -> Vec<String> {
        let told = |(type_, holds, reason, message): Said| format!("{type_}={holds} {reason}: {message}");
        conditions(outcome).into_iter().map(told).collect()
    }

    #[test]
    fn conditions_say_what_was_found_and_what_is_deleted() {
        let one = |change: &dyn Fn(&mut Scanned)| {
            let mut scanned = scanned();
            change(&mut scanned);
            told(&Outcome::Scanned(Box::new(scanned)))
        };
        let base = one(&|_| {});
        let says = "2 found, 1 managed; 1 with an error, see status.discoveredProviders; looked for after each change, and every 1m30s";
        assert_eq!(
            base,
            [
                format!("Ready=true Synced: {says}"),
                format!("Synced=true Synced: {says}"),
                "Pruning=true UpToDate: nothing is to be deleted".into()
            ]
        );
        let faulty = one(&|it| {
            it.faults = vec!["no".into()];
            it.plan.lost = vec!["c".into()];
        });
        assert!(
            faulty[0].starts_with("Ready=false SyncFailed: the scan was not complete: no; 2 found"),
            "{faulty:?}"
        );
        assert!(
            faulty[2].starts_with("Pruning=false ScanIncomplete: ") && faulty[2].ends_with("not found: c"),
            "{faulty:?}"
        );
        let additive = one(&|it| {
            it.prunes = false;
            it.plan.lost = vec!["c".into(), "d".into()];
        });
        assert_eq!(
            additive[2],
            "Pruning=false Additive: with mode Authoritative these would be deleted, not found any more: c, d"
        );
        let waits = one(&|it| {
            it.plan.verdict = Verdict {
                wait: [("c".to_owned(), at(60))].into(),
                why: Why::FoundNothing,
                ..Verdict::default()
            };
        });
        assert_eq!(
            waits[2],
            "Pruning=false FoundNothing: nothing was found at all: deleted unless found again by 1970-01-12T13:47:41Z: c"
        );
        let pruned = one(&|it| it.deleted = vec!["c".into()]);
        assert_eq!(pruned[2], "Pruning=true Pruned: deleted, not found any more: c");
        assert!(told(&Outcome::Paused)[0].starts_with("Ready=false Paused"));
        assert!(told(&Outcome::Invalid("x".into()))[2].starts_with("Stalled=true InvalidSpec: x"));
    }

    #[test]
    fn a_scan_that_finds_the_same_is_no_reason_to_write() {
        let outcome = Outcome::Scanned(Box::new(scanned()));
        let first = status(&outcome, 1, &MCPDiscoverySourceStatus::default(), at(0));
        assert_eq!(first.discovered_providers[1].error.as_deref(), Some("taken"));
        assert_eq!((first.discovered_count, first.managed_count), (Some(2), Some(1)));
        let again = status(&outcome, 1, &first, at(60));
        assert_eq!(patch(&first, &again, "7"), None);
        let mut other = scanned();
        other.managed.insert("b".into());
        let other = status(&Outcome::Scanned(Box::new(other)), 1, &first, at(60));
        let patch = patch(&first, &other, "7").unwrap();
        assert_eq!(
            (&patch["metadata"]["resourceVersion"], &patch["status"]["managedCount"]),
            (&json!("7"), &json!(2))
        );
        assert!(
            patch["status"].get("lastSyncTime").is_some() && patch["status"].get("discoveredCount").is_none()
        );
    }

    #[test]
    fn what_was_deleted_last_is_told_until_something_else_is() {
        let mut pruned = scanned();
        pruned.deleted = vec!["c".into()];
        let told = |scanned: Scanned, old: &MCPDiscoverySourceStatus, second: i64| {
            status(&Outcome::Scanned(Box::new(scanned)), 1, old, at(second))
        };
        let first = told(pruned, &MCPDiscoverySourceStatus::default(), 0);
        let says = |status: &MCPDiscoverySourceStatus| status.conditions[2].message.clone().unwrap();
        assert_eq!(says(&first), "deleted, not found any more: c, at 1970-01-12T13:46:40Z");
        let again = told(scanned(), &first, 60);
        assert_eq!(patch(&first, &again, "7"), None);
        let mut faulty = scanned();
        faulty.faults = vec!["no".into()];
        assert!(says(&told(faulty, &again, 120)).starts_with("nothing is deleted after"));
    }

    #[test]
    fn a_long_list_shows_those_with_an_error() {
        let mut many = scanned();
        let item = |n: usize| Item {
            name: format!("p{n:05}"),
            source: "s".into(),
            error: (n == 9_999).then(|| "x".repeat(9_000)),
        };
        many.plan.items = (0..10_000).map(item).collect();
        let status =
            status(&Outcome::Scanned(Box::new(many)), 1, &MCPDiscoverySourceStatus::default(), at(0));
        assert_eq!(status.discovered_providers.len(), SHOWN);
        let last = status.discovered_providers.last().unwrap();
        assert_eq!((last.name.as_str(), last.error.as_ref().unwrap().len()), ("p09999", TEXT));
        assert!(serde_json::to_string(&status).unwrap().len() < 1_000_000);
    }
}
