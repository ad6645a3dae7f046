//! The status of a group as a pure function: what it holds, what is news, and that it settles.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mcp_hangar_api::v1beta1::group::HealthPolicy;
use mcp_hangar_api::v1beta1::provider::ProviderState;
use proptest::prelude::*;

use super::super::health::tests::members;
use super::*;

fn now(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn of(all: &[Member], old: &MCPProviderGroupStatus, second: i64) -> MCPProviderGroupStatus {
    let about = About {
        namespace: "team",
        generation: 3,
        selector: Some(&Selector::default()),
        policy: Policy::of(&HealthPolicy::default()),
        invalid: None,
    };
    status(&about, &all.iter().collect::<Vec<_>>(), old, now(second))
}

fn written(old: &MCPProviderGroupStatus, new: &MCPProviderGroupStatus) -> Value {
    patch(old, new, "7").map_or(Value::Null, |patch| {
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        patch["status"].clone()
    })
}

#[test]
fn a_status_has_counts_and_all_that_a_data_path_needs() {
    let mut all = members("RCIDX-");
    all[0].weight = 30;
    all[1].priority = 0;
    all[3].checked_at = Some(Time(now(-5)));
    let mut found = serde_json::to_value(of(&all, &MCPProviderGroupStatus::default(), 0)).unwrap();
    let conditions = found["conditions"].take();
    assert_eq!(conditions[0]["reason"], "PolicyNotMet");
    let member = |n: usize, state: Value, more: Value| {
        let mut member = json!({"name": format!("m{n}"), "namespace": "team", "weight": 1, "priority": 100,
            "endpoint": format!("http://m{n}.team.svc:8080/mcp")});
        if !state.is_null() {
            member["state"] = state;
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            member[key] = value.clone();
        }
        member
    };
    let expected = json!({
        "providerCount": 6, "readyCount": 1, "degradedCount": 1, "coldCount": 1, "deadCount": 1, "initializingCount": 1,
        "observedGeneration": 3, "conditions": null,
        "providers": [
            member(0, json!("Ready"), json!({"weight": 30})),
            member(1, json!("Cold"), json!({"priority": 0})),
            member(2, json!("Initializing"), json!({})),
            member(3, json!("Degraded"), json!({"lastHealthCheck": "2027-01-15T07:59:55Z"})),
            member(4, json!("Dead"), json!({})),
            member(5, Value::Null, json!({})),
        ],
    });
    assert_eq!(found, expected);
}

#[test]
fn only_what_differs_is_written_and_only_for_news() {
    let all = members("RRX");
    let old = of(&all, &MCPProviderGroupStatus::default(), 0);
    let keys = |change: &dyn Fn(&mut Vec<Member>)| {
        let mut all = all.clone();
        change(&mut all);
        let patch = written(&old, &of(&all, &old, 60));
        patch.as_object().map(|patch| patch.keys().cloned().collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    assert_eq!(keys(&|_| {}), "");
    assert_eq!(keys(&|all| all[0].checked_at = Some(Time(now(9)))), "", "a probe is no news");
    assert_eq!(keys(&|all| all[0].failures = 1), "", "one failure of three changes nothing");
    assert_eq!(keys(&|all| all[0].weight = 7), "providers");
    assert_eq!(keys(&|all| all[0].endpoint = None), "providers");
    assert_eq!(
        keys(&|all| all[2].state = Some(ProviderState::Ready)),
        "conditions deadCount providers readyCount"
    );
    assert_eq!(
        keys(&|all| drop(all.remove(2))),
        "conditions deadCount providerCount providers",
        "a member that leaves"
    );
    let none = written(&old, &of(&[], &old, 60));
    assert_eq!(none["providers"], Value::Null, "a list of nobody goes");
    assert_eq!(none["providerCount"], 0);
    // And when something else is written, the time of the probe goes along.
    let mut later = all.clone();
    (later[0].checked_at, later[1].weight) = (Some(Time(now(9))), 7);
    assert!(written(&old, &of(&later, &old, 60))["providers"][0]["lastHealthCheck"].is_string());
}

#[test]
fn what_another_wrote_of_connections_stays_with_its_member() {
    let all = members("RRR");
    let mut old = of(&all, &MCPProviderGroupStatus::default(), 0);
    old.providers[1].active_connections = Some(12);
    let left: Vec<_> = all.iter().skip(1).cloned().collect();
    let new = of(&left, &old, 1);
    let found: Vec<_> = new.providers.iter().map(|it| (it.name.as_str(), it.active_connections)).collect();
    assert_eq!(found, [("m1", Some(12)), ("m2", None)]);
}

#[test]
fn what_somebody_else_made_of_the_status_is_put_right() {
    let all = members("RX");
    let mut spoilt = of(&all, &MCPProviderGroupStatus::default(), 0);
    spoilt.ready_count = Some(99);
    spoilt.active_strategy = Some("Weighted".into());
    spoilt.providers.reverse();
    let patch = written(&spoilt, &of(&all, &spoilt, 9));
    assert_eq!((&patch["readyCount"], &patch["activeStrategy"]), (&json!(1), &Value::Null));
    assert_eq!(patch["providers"][0]["name"], "m0");
}

#[test]
fn ten_thousand_members_and_long_endpoints_stay_within_what_is_stored() {
    let many = |count: usize, endpoint: &str| -> Vec<Member> {
        let one = members("R").remove(0);
        let named = |n: usize| Member {
            name: format!("m{n:05}").into(),
            endpoint: Some(endpoint.to_owned()),
            checked_at: Some(Time(now(0))),
            ..one.clone()
        };
        (0..count).map(named).collect()
    };
    let quotes = "\"".repeat(4096);
    for (count, endpoint) in [(12_000, "http://a/mcp"), (3_000, &"x".repeat(4096)), (3_000, &quotes)] {
        let found = of(&many(count, endpoint), &MCPProviderGroupStatus::default(), 0);
        assert_eq!(found.provider_count, Some(i32::try_from(count).unwrap()), "counts are of all");
        assert!(!found.providers.is_empty() && found.providers.len() < count);
        let bytes = serde_json::to_string(&found.providers).unwrap().len();
        assert!(bytes <= MOST_BYTES, "{bytes}");
        let message = found.conditions[0].message.clone().unwrap();
        let room = format!("status.providers has room for the first {} by name only", found.providers.len());
        assert!(message.ends_with(&room), "{message}");
        assert!(message.len() < 600, "{message}");
        assert_eq!(patch(&found, &of(&many(count, endpoint), &found, 60), "7"), None);
    }
    let all = of(
        &many(1_000, "http://m00000.team.svc.cluster.local:8080/mcp"),
        &MCPProviderGroupStatus::default(),
        0,
    );
    assert_eq!(all.providers.len(), 1_000);
}

/// Applies a patch as the API server would.
fn merged(old: &MCPProviderGroupStatus, patch: &Value) -> MCPProviderGroupStatus {
    let mut value = serde_json::to_value(old).unwrap();
    json_merge(&mut value, &patch["status"]);
    serde_json::from_value(value).unwrap()
}

fn json_merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            json_merge(&mut target[key], value);
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_status_was_one_write_brings_it_there_and_a_second_look_writes_nothing(
        before in "[CIRDX-]{0,12}", after in "[CIRDX-]{0,12}", second in 1i64..1000,
    ) {
        let old = of(&members(&before), &MCPProviderGroupStatus::default(), 0);
        let all = members(&after);
        let new = of(&all, &old, second);
        let stored = patch(&old, &new, "7").map_or_else(|| old.clone(), |patch| merged(&old, &patch));
        prop_assert_eq!(&stored, &new);
        prop_assert_eq!(patch(&stored, &of(&all, &stored, second + 60), "8"), None);
        let types: Vec<_> = new.conditions.iter().map(|it| it.type_.as_str()).collect();
        let mut once = types.clone();
        once.dedup();
        prop_assert_eq!(&types, &once);
        prop_assert!(new.conditions.iter().all(|it| it.observed_generation == Some(3)));
        prop_assert!(types.starts_with(&["Ready", "Routable"]));
    }
}
