//! What a group's spec wishes: whom it selects, and what is enough.
//!
//! In: a group as it is stored. Out: a [`Wish`]. It is judged by the webhook's rules, since it may have been stored
//! before they were there or while they were away; what can be read of one that breaks a rule is used all the same, so
//! that a mistake elsewhere does not hide who its members are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mcp_hangar_api::v1beta1::group::HealthPolicy;
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::Policy as Rules;
use mcp_hangar_webhooks::validation::{Metadata, Subject, judge};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fetch::Known;
use super::health::Policy;
use super::selector::Selector;

/// A spec taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    /// Whom it selects; `None` where that cannot be read: nobody.
    pub(super) selector: Option<Selector>,
    /// What is enough.
    pub(super) policy: Policy,
    /// Which field breaks a rule, and how to mend it.
    pub(super) invalid: Option<String>,
}

impl Wish {
    /// Of a group.
    pub(super) fn of(known: &Known) -> Self {
        let spec: Value = serde_json::from_str(&known.spec).unwrap_or_default();
        let selector = block::<LabelSelector>(&spec, "selector").map(|selector| Selector::of(&selector));
        let (selector, unreadable) = match selector {
            Some(Ok(selector)) => (Some(selector), None),
            Some(Err(error)) => (None, Some(format!("spec.selector: {error}"))),
            None => (None, Some("spec.selector: cannot be read".to_owned())),
        };
        let policy = block::<HealthPolicy>(&spec, "healthPolicy").unwrap_or_default();
        Self { selector, policy: Policy::of(&policy), invalid: broken(known).or(unreadable) }
    }
}

fn block<T: DeserializeOwned>(spec: &Value, name: &str) -> Option<T> {
    spec.get(name).filter(|block| block.is_object()).and_then(|block| T::deserialize(block).ok())
}

/// The first rule that it breaks, and how many more. Groups look the same in both versions, and so do their fields.
fn broken(known: &Known) -> Option<String> {
    let annotations = serde_json::to_string(&known.annotations).unwrap_or_default();
    let annotations = Json::parse(&annotations).ok();
    let spec = match Json::parse(&known.spec) {
        Ok(spec) => spec,
        Err(error) => return Some(format!("spec: cannot be read: {error}")),
    };
    let metadata = Metadata {
        name: &known.key.name,
        generate_name: "",
        namespace: &known.key.namespace,
        annotations: annotations.as_ref().and_then(Json::as_object),
    };
    let subject = Subject { kind: Kind::Group, version: Version::HUB, metadata, spec: Some(spec) };
    let (violations, uncounted, _) = judge(subject, &Rules::default()).finish();
    let first = violations.first()?;
    let more = violations.len() - 1 + uncounted;
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Some(format!("{}: {}{more}", first.path, first.message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::health::Least;
    use super::*;
    use crate::provider::Key;

    fn wish(name: &str, spec: &Value) -> Wish {
        let key = Key { namespace: "team".into(), name: name.into() };
        let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProviderGroup",
            "metadata": {"name": name, "namespace": "team", "generation": 1}, "spec": spec});
        Wish::of(&Known::of(key, serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn what_the_webhook_would_refuse_is_named_and_what_can_be_read_is_used() {
        let good = json!({"matchLabels": {"a": "b"}});
        let long = "x".repeat(60);
        for (name, spec, selects, broken) in [
            ("g", json!({"selector": good}), Some("a=b"), None),
            ("g", json!({"selector": {}}), Some(""), None),
            ("g", json!({"selector": good, "strategy": "What"}), Some("a=b"), Some("spec.strategy: ")),
            (
                "g",
                json!({"selector": good, "failover": {"retryDelay": "30"}}),
                Some("a=b"),
                Some("spec.failover.retryDelay: "),
            ),
            (
                "g",
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
                None,
                Some("spec.selector.matchExpressions[0].values: "),
            ),
            (
                "g",
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]}}),
                None,
                Some("spec.selector.matchExpressions[0].operator: "),
            ),
            ("g", json!({"selector": {"matchLabels": {"a": 7}}}), None, Some("spec.selector.matchLabels")),
            ("g", json!({"selector": "a=b"}), None, Some("spec.selector: ")),
            ("g", json!({"selector": null}), None, Some("spec.selector: ")),
            ("g", json!({}), None, Some("spec.selector: ")),
            ("g", json!(null), None, Some("spec: ")),
            ("g", json!([1]), None, Some("spec: ")),
            (&long, json!({"selector": good}), Some("a=b"), Some("metadata.name: ")),
        ] {
            let wish = wish(name, &spec);
            assert_eq!(wish.selector.map(|it| it.to_string()).as_deref(), selects, "{spec}");
            match broken {
                None => assert_eq!(wish.invalid, None, "{spec}"),
                Some(field) => {
                    let text = wish.invalid.unwrap();
                    assert!(text.starts_with(field), "{spec}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_the_default() {
        let spec = |policy: Value| json!({"selector": {}, "healthPolicy": policy});
        assert_eq!(wish("g", &spec(json!({"minHealthyCount": 2}))).policy.least, Least::Count(2));
        let odd = wish("g", &spec(json!({"minHealthyCount": "two"})));
        assert_eq!(odd.policy, Policy::default());
        assert!(odd.invalid.unwrap().starts_with("spec.healthPolicy.minHealthyCount: "));
    }
}
