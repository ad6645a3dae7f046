//! The fields of a group's spec: each row of `effects.txt` is a leaf that changes what the group says; those that wait
//! for the data path change nothing. `provider/effects_tests.rs` finds the leaves that nobody names.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::v1beta1::group::MCPProviderGroupStatus;
use serde_json::{Value, json};

use super::fetch::Known;
use super::health::tests::members;
use super::status::{About, status};
use super::wish::Wish;
use crate::provider::Key;

/// The status of a group over three members, all with the label a=1: two are ready, of which one failed twice; one is
/// dead.
fn told(spec: &str) -> MCPProviderGroupStatus {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProviderGroup", "spec": spec,
        "metadata": {"name": "g", "namespace": "team", "generation": 1}});
    let key = Key { namespace: "team".into(), name: "g".into() };
    let wish = Wish::of(&Known::of(key, serde_json::from_value(object).unwrap()));
    assert_eq!(wish.invalid, None, "{spec}");
    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let selector = wish.selector.as_ref().unwrap();
    let all = if selector.matches_all(&labels) { members("RR2X") } else { Vec::new() };
    let about = About {
        namespace: "team",
        generation: 1,
        selector: Some(selector),
        policy: wish.policy,
        invalid: None,
    };
    status(&about, &all.iter().collect::<Vec<_>>(), &MCPProviderGroupStatus::default(), Timestamp::UNIX_EPOCH)
}

/// Whether it is well, and of whom.
fn gist(status: &MCPProviderGroupStatus) -> (Option<i32>, Option<String>) {
    (status.provider_count, status.conditions[0].message.clone())
}

#[test]
fn each_leaf_with_an_effect_changes_the_status() {
    let rows = include_str!("effects.txt").lines().filter(|line| !line.starts_with('#'));
    for row in rows {
        let [leaf, one, other] = row.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let last = leaf.trim_end_matches("[]").rsplit('.').find(|step| *step != "*").unwrap();
        assert!(one.contains(last) && other.contains(last), "{row}");
        assert_ne!(gist(&told(one)), gist(&told(other)), "{row}");
    }
}

#[test]
fn a_group_that_uses_a_leaf_without_effect_promises_nothing_for_it() {
    let plain = "selector: {}";
    let full = "{selector: {}, strategy: Weighted, failover: {enabled: false, maxRetries: 9, retryDelay: 9s, retryOn: \
        [server_error]}, sessionAffinity: {enabled: true, type: Header, header: X-Id, ttl: 9m}, circuitBreaker: \
        {enabled: true, failureThreshold: 1, resetTimeout: 9m}}";
    let (plain, full) = (told(plain), told(full));
    assert_eq!(plain, full);
    let routable = full.conditions.iter().find(|condition| condition.type_ == "Routable").unwrap();
    assert_eq!(routable.reason.as_deref(), Some("NoDataPath"));
    for block in ["strategy", "failover", "sessionAffinity", "circuitBreaker"] {
        assert!(routable.message.as_ref().unwrap().contains(block), "{block}");
    }
}
