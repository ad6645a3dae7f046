//! Defaulting, through the webhook: what is filled, what never is, and that nothing filled in does any harm. The table
//! is in the YAML beside this file.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unreachable_pub
)]

#[path = "review/generate.rs"]
mod generate;
mod review;
#[path = "review/sensible.rs"]
mod sensible;

use mcp_hangar_webhooks::admission::Webhook;
use mcp_hangar_webhooks::defaulting;
use mcp_hangar_webhooks::defaulting::Default;
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::Policy;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use generate::{Taste, object};
use review::{Answer, admit, minimal, patched};

#[derive(Deserialize)]
struct Case {
    name: String,
    kind: String,
    /// Where it holds in one version only.
    version: Option<String>,
    spec: Value,
    /// The whole spec afterwards.
    gives: Value,
}

/// The spec after the patch, by the function that the webhook and the controllers share: on specs that the rules
/// refuse, too.
fn filled(kind: Kind, version: Version, spec: &Value) -> Value {
    let text = spec.to_string();
    let operations = defaulting::patch(kind, version, &Json::parse(&text).unwrap());
    let operations = operations.iter().map(|operation| serde_json::from_str(operation).unwrap()).collect();
    let mut object = json!({ "spec": spec });
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    object["spec"].take()
}

#[test]
fn absent_keys_are_filled_and_nothing_else() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("defaulting/table.yaml")).unwrap();
    for case in &cases {
        let kind = Kind::parse(&case.kind).unwrap();
        for version in Version::ALL {
            if case.version.as_ref().is_none_or(|name| version.name() == name) {
                let filled = filled(kind, version, &case.spec);
                assert_eq!(filled, case.gives, "{} ({version})", case.name);
            }
        }
    }
    assert!(cases.len() > 50, "{}", cases.len());
}

#[test]
fn an_object_without_a_spec_gets_none() {
    for kind in Kind::ALL {
        for spec in [json!(null), json!("x"), json!([]), json!(5)] {
            assert_eq!(filled(kind, Version::HUB, &spec), spec);
        }
        let mut object = minimal(kind, Version::HUB);
        object.as_object_mut().unwrap().remove("spec");
        let answer = admit(Webhook::Default, &object, None, &Policy::default());
        assert_eq!(answer.errors(), ["spec: Required value: must be set [HGR101]"]);
    }
}

/// Every patch adds single keys below the spec, or takes a null away; none is without need.
fn is_minimal(object: &Value, answer: &Answer) {
    let mut object = object.clone();
    for operation in &answer.patch {
        let path = operation["path"].as_str().unwrap();
        assert!(path.starts_with("/spec/"), "{path}");
        let before = object.pointer(path);
        match operation["op"].as_str() {
            Some("add") => assert!(before.is_none_or(Value::is_null), "{path} was there"),
            _ => assert_eq!((&operation["op"], before), (&json!("remove"), Some(&Value::Null)), "{path}"),
        }
        let patch: json_patch::Patch = serde_json::from_value(json!([operation])).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
}

/// What was there is still there, wherever it was; a null stands for nothing.
fn kept(before: &Value, after: &Value, path: &str) {
    match (before, after) {
        (Value::Null, _) => {}
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                kept(value, after.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "{path}");
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                kept(before, after, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(before, after, "{path}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn present_keys_stay_and_a_second_time_changes_nothing(choices in vec(any::<u16>(), 0..400)) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                let object = object(kind, version, Taste::Wild, &choices);
                let Ok(spec) = serde_json::from_str::<Value>(&object.get("spec").unwrap().write(0)) else { continue };
                let once = filled(kind, version, &spec);
                kept(&spec, &once, "spec");
                prop_assert_eq!(&filled(kind, version, &once), &once);
            }
        }
    }

    #[test]
    fn a_valid_object_stays_valid(choices in vec(any::<u16>(), 0..400)) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                let object = object(kind, version, Taste::Sensible, &choices).value();
                let answer = admit(Webhook::Default, &object, None, &Policy::default());
                if !answer.allowed {
                    continue;
                }
                is_minimal(&object, &answer);
                let after = patched(&object, &answer);
                let judged = admit(Webhook::Validate, &after, None, &Policy::default());
                prop_assert!(judged.allowed, "{}: {}", judged.message, object);
                let again = admit(Webhook::Default, &after, None, &Policy::default());
                prop_assert!(again.patch.is_empty(), "{:?}", again.patch);
                if kind != Kind::Discovery {
                    prop_assert_eq!(again.warnings, answer.warnings, "nothing injected is warned of");
                }
            }
        }
    }

    #[test]
    fn nothing_injected_is_named_in_an_error(choices in vec(any::<u16>(), 0..400)) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                let object = object(kind, version, Taste::Wild, &choices).write(0);
                let Ok(object) = serde_json::from_str::<Value>(&object) else { continue };
                let before = admit(Webhook::Validate, &object, None, &Policy::default());
                let mut after = object.clone();
                after["spec"] = filled(kind, version, &object["spec"]);
                let after = admit(Webhook::Validate, &after, None, &Policy::default());
                let blamed = |answer: &Answer| answer.causes.iter().map(|cause| cause.field.clone()).collect::<Vec<_>>();
                prop_assert_eq!(blamed(&before), blamed(&after));
            }
        }
    }
}

#[test]
fn an_old_object_of_another_time_can_be_updated() {
    // Stored while the webhook was off: what is injected beside it must not be blamed by /validate.
    for (kind, spec) in [
        (Kind::Provider, json!({"healthCheck": {"interval": "0s"}})),
        (Kind::Provider, json!({"healthCheck": {"interval": "-1s"}})),
        (Kind::Provider, json!({"healthCheck": {"interval": "soon"}})),
        (Kind::Discovery, json!({"annotations": {"annotationPrefix": "Not A Prefix"}})),
    ] {
        for version in Version::ALL {
            let old = review::merged(minimal(kind, version), json!({ "spec": spec }));
            let new = review::merged(
                old.clone(),
                json!({"metadata": {"annotations": {"example.com/note": "new"}}}),
            );
            let answer = admit(Webhook::Default, &new, Some(&old), &Policy::default());
            assert!(answer.allowed, "{spec}: {}", answer.message);
            let judged = admit(Webhook::Validate, &patched(&new, &answer), Some(&old), &Policy::default());
            assert!(judged.allowed, "{spec}: {}", judged.message);
        }
    }
}

#[test]
fn every_stored_default_is_in_the_description_of_its_field() {
    for crd in mcp_hangar_api::crd::crds() {
        let kind = Kind::parse(&crd.spec.names.kind).unwrap();
        for version in &crd.spec.versions {
            let schema = serde_json::to_value(version.schema.as_ref().unwrap()).unwrap();
            let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
            described(spec, mcp_hangar_webhooks::defaulting::table(kind), version.name == "v1alpha1", "spec");
        }
    }
}

fn described(schema: &Value, defaults: &[Default], hoists: bool, path: &str) {
    for default in defaults {
        let name = default.name();
        let path = format!("{path}.{name}");
        let field = &schema["properties"][name];
        match default {
            Default::Leaf(_, text) => {
                let says = field["description"].as_str().unwrap_or_default().to_lowercase();
                let value = text.trim_matches('"').to_lowercase();
                let listed = text.starts_with('[');
                assert!(says.contains("default") && (listed || says.contains(&value)), "{path}: {says}");
            }
            Default::Computed(..) => {
                assert!(field["description"].as_str().unwrap().to_lowercase().contains("default"), "{path}");
            }
            Default::Block(_, members) | Default::IfWritten(_, members) => {
                let hoisted = hoists && field.is_null();
                described(if hoisted { schema } else { field }, members, hoists, &path);
            }
        }
    }
}
