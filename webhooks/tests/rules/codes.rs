//! Each code's rejected example is refused (or warned of) exactly where it says, and its accepted one is not.

use mcp_hangar_webhooks::admission::Webhook;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::{ImageDigestPolicy, Policy};
use mcp_hangar_webhooks::validation::code::{CODES, Code, Example};
use mcp_hangar_webhooks::validation::schema;
use serde_json::{Value, json};

use crate::review::{Answer, admit, merged, minimal};

#[test]
fn every_code_refuses_its_rejected_example_and_lets_the_accepted_one_in() {
    for code in CODES {
        let rejected = judge(code, &code.rejected);
        let found: Vec<&str> = if code.is_error() {
            let causes =
                rejected.causes.iter().filter(|cause| cause.message.ends_with(&format!("[{}]", code.id)));
            causes.map(|cause| cause.field.as_str()).collect()
        } else {
            rejected.warnings.iter().filter_map(|warning| warning.split(": ").next()).collect()
        };
        assert_eq!(found, code.rejected.fields, "{}: {rejected:#?}", code.id);
        let accepted = judge(code, &code.accepted);
        assert!(accepted.allowed && accepted.warnings.is_empty(), "{}: {accepted:#?}", code.id);
    }
}

#[test]
fn codes_are_unique_sorted_and_explained() {
    let ids: Vec<&str> = CODES.iter().map(|code| code.id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted);
    for code in CODES {
        let text = code.explain();
        assert!(text.contains(code.id) && text.contains(code.title), "{text}");
    }
}

fn judge(code: &Code, example: &Example) -> Answer {
    let policy = Policy {
        image_digest: match code.flag {
            Some(flag) if flag.ends_with("block") => ImageDigestPolicy::Block,
            Some(flag) if flag.ends_with("warn") => ImageDigestPolicy::Warn,
            _ => ImageDigestPolicy::Off,
        },
        ..Policy::default()
    };
    let large = "x".repeat(262_000);
    let yaml = example.yaml.replace("<text of 262,000 bytes>", &large);
    let change: Value = serde_saphyr::from_str(&yaml).unwrap();
    let object = merged(minimal(example.kind, example.version), change);
    admit(Webhook::Default, &object, None, &policy)
}

#[test]
fn the_minimal_objects_are_valid() {
    for kind in mcp_hangar_webhooks::kind::Kind::ALL {
        for version in mcp_hangar_webhooks::kind::Version::ALL {
            let answer =
                admit(Webhook::Default, &merged(minimal(kind, version), json!({})), None, &Policy::default());
            assert!(answer.allowed && answer.warnings.is_empty(), "{answer:#?}");
        }
    }
}

#[test]
fn an_object_that_v1alpha1_cannot_carry_is_refused_where_the_size_is() {
    let variable = |index: usize| json!({"name": format!("V{index}"), "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    let env: Vec<Value> = (0..5000).map(variable).collect();
    let change = json!({"spec": {"container": {"port": 9000, "env": env}}});
    let object = merged(minimal(Kind::Provider, Version::V1Beta1), change);
    let answer = admit(Webhook::Default, &object, None, &Policy::default());
    assert_eq!(answer.causes.len(), 1, "{answer:#?}");
    assert_eq!(answer.causes[0].field, "spec.container.env");
    assert!(
        answer.causes[0].message.ends_with("this is the largest of them, shorten it [HGR143]"),
        "{answer:#?}"
    );
}

#[test]
fn every_field_that_an_example_blames_is_declared() {
    for code in CODES {
        for field in code.rejected.fields {
            let Some(path) = field.strip_prefix("spec.") else { continue };
            let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
            let steps: Vec<&str> =
                steps.map(|step| if step.parse::<usize>().is_ok() { "[]" } else { step }).collect();
            assert!(
                schema::declares(code.rejected.kind, code.rejected.version, &steps),
                "{}: {field} {steps:?}",
                code.id
            );
        }
    }
}
