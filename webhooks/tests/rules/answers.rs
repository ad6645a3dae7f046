//! The answer around the errors: how many are listed, under which name, with which patch, and how long it takes.

use std::time::{Duration, Instant};

use mcp_hangar_api::annotation::CONVERSION_DATA;
use mcp_hangar_webhooks::admission::{Webhook, review};
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use mcp_hangar_webhooks::policy::Policy;
use serde_json::{Value, json};

use crate::review::{Answer, admit, answer, merged, minimal, patched, request};

const PORT: &str = r#"[{"p":["spec","container","port"],"v":9000}]"#;
const POINTER: &str = "/metadata/annotations/mcp-hangar.io~1conversion-data";

fn provider(change: Value) -> Value {
    merged(minimal(Kind::Provider, Version::V1Alpha1), change)
}

fn judged(object: &Value, old: Option<&Value>) -> Answer {
    admit(Webhook::Default, object, old, &Policy::default())
}

#[test]
fn twenty_errors_are_listed_and_the_rest_is_counted() {
    for (count, listed, more) in
        [(20, 20, None), (21, 20, Some("and 1 more")), (500, 20, Some("and 480 more"))]
    {
        let tools = vec![json!(5); count];
        let answer = judged(&provider(json!({"spec": {"tools": {"allowList": tools}}})), None);
        assert_eq!((answer.code, answer.reason.as_str()), (422, "Invalid"));
        let causes: Vec<&str> = answer.causes.iter().map(|cause| cause.message.as_str()).collect();
        assert_eq!(causes.len(), listed + usize::from(more.is_some()), "{count}");
        assert_eq!(answer.causes[9].field, "spec.tools.allowList[9]");
        assert_eq!(more, causes.last().copied().filter(|message| message.starts_with("and ")));
        match more {
            Some(more) => assert!(answer.message.ends_with(&format!(", {more}]")), "{}", answer.message),
            None => assert!(!answer.message.contains("more"), "{}", answer.message),
        }
    }
}

#[test]
fn the_message_names_the_object_and_holds_every_error_on_one_line() {
    let answer = judged(&provider(json!({"spec": {"replicas": 99}})), None);
    assert_eq!(
        answer.message,
        "MCPProvider.mcp-hangar.io \"default/example\" is invalid: spec.replicas: Invalid value: 99: must be between 0 \
         and 10 [HGR111]"
    );
    let answer = judged(&provider(json!({"spec": {"replicas": 99, "mode": "x\ny"}})), None);
    assert_eq!(
        answer.message,
        "MCPProvider.mcp-hangar.io \"default/example\" is invalid: [spec.mode: Unsupported value: \"x\\ny\": supported \
         values: \"container\", \"remote\" [HGR102], spec.replicas: Invalid value: 99: must be between 0 and 10 [HGR111]]"
    );
}

#[test]
fn a_generated_name_is_shown_as_its_author_wrote_it() {
    let object = provider(
        json!({"metadata": {"name": "example-x7k2p", "generateName": "example-"}, "spec": {"replicas": 99}}),
    );
    let answer = judged(&object, None);
    assert!(
        answer.message.starts_with("MCPProvider.mcp-hangar.io \"default/example-\" is invalid: "),
        "{}",
        answer.message
    );
}

#[test]
fn policy_alone_is_forbidden_and_not_invalid() {
    let policy =
        Policy { image_digest: mcp_hangar_webhooks::policy::ImageDigestPolicy::Block, ..Policy::default() };
    let answer = admit(Webhook::Default, &provider(json!({})), None, &policy);
    assert_eq!((answer.code, answer.reason.as_str(), answer.causes.len()), (403, "Forbidden", 1));
    let answer = admit(Webhook::Default, &provider(json!({"spec": {"replicas": 99}})), None, &policy);
    assert_eq!((answer.code, answer.reason.as_str(), answer.causes.len()), (422, "Invalid", 2));
}

#[test]
fn a_denial_has_no_patch_and_validate_has_neither_patch_nor_warnings() {
    let answer = judged(&provider(json!({"spec": {"replicas": 99}})), None);
    assert!(answer.patch.is_empty());
    let object = provider(json!({"spec": {"endpoint": "https://a"}}));
    assert!(!judged(&object, None).warnings.is_empty());
    let answer = admit(Webhook::Validate, &object, None, &Policy::default());
    assert!(answer.allowed && answer.patch.is_empty() && answer.warnings.is_empty());
}

/// The operations on the annotation, of an update from one to another text.
fn stash_patch(old: Option<&str>, new: Option<&Value>) -> (Vec<Value>, Vec<String>) {
    let old = match old {
        Some(text) => provider(json!({"metadata": {"annotations": {CONVERSION_DATA: text}}})),
        None => provider(json!({})),
    };
    let new = provider(json!({"metadata": {"annotations": new}}));
    let answer = judged(&new, Some(&old));
    assert!(answer.allowed, "{}", answer.message);
    let kept = patched(&new, &answer)["metadata"]["annotations"][CONVERSION_DATA].clone();
    assert_eq!(kept, old["metadata"]["annotations"][CONVERSION_DATA]);
    let of_spec = |operation: &Value| operation["path"].as_str().unwrap().starts_with("/spec/");
    (answer.patch.into_iter().filter(|operation| !of_spec(operation)).collect(), answer.warnings)
}

#[test]
fn an_update_as_v1alpha1_keeps_the_stash_that_is_stored() {
    let add = json!({"op": "add", "path": POINTER, "value": PORT});
    let whole = json!({"op": "add", "path": "/metadata/annotations", "value": {CONVERSION_DATA: PORT}});
    let remove = json!({"op": "remove", "path": POINTER});
    for (old, new, operations) in [
        (None, None, vec![]),
        (None, Some(json!({"a": "b"})), vec![]),
        (None, Some(json!({CONVERSION_DATA: PORT})), vec![remove.clone()]),
        (None, Some(json!({CONVERSION_DATA: "no stash"})), vec![remove]),
        (Some(PORT), None, vec![whole]),
        (Some(PORT), Some(json!({})), vec![add.clone()]),
        (Some(PORT), Some(json!({"a": "b"})), vec![add.clone()]),
        (Some(PORT), Some(json!({CONVERSION_DATA: PORT})), vec![]),
        (Some(PORT), Some(json!({CONVERSION_DATA: "[]"})), vec![add.clone()]),
        (Some(PORT), Some(json!({CONVERSION_DATA: "no stash"})), vec![add]),
    ] {
        let (patch, warnings) = stash_patch(old, new.as_ref());
        assert_eq!(patch, operations, "{old:?} {new:?}");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn only_the_owner_of_the_annotation_is_told_that_it_was_kept() {
    let fields = |manager: &str| json!([{"manager": manager, "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{CONVERSION_DATA}"): {}}}}}]);
    let old = provider(json!({"metadata": {"annotations": {CONVERSION_DATA: PORT}}}));
    for (manager, warned) in [("kubectl", true), ("another", false)] {
        let new = provider(
            json!({"metadata": {"annotations": {CONVERSION_DATA: "[]"}, "managedFields": fields(manager)}}),
        );
        let wanted: &[&str] = if warned {
            &[
                "metadata.annotations[mcp-hangar.io/conversion-data]: kept as stored; remove it from your manifest",
            ]
        } else {
            &[]
        };
        assert_eq!(judged(&new, Some(&old)).warnings, wanted);
    }
}

#[test]
fn updates_of_the_hub_leave_the_annotation_to_the_rules() {
    let old = minimal(Kind::Provider, Version::V1Beta1);
    let new = merged(old.clone(), json!({"metadata": {"annotations": {CONVERSION_DATA: PORT}}}));
    let answer = judged(&new, Some(&old));
    assert_eq!(answer.causes.len(), 1);
    assert!(answer.causes[0].message.ends_with("[HGR142]"));
}

/// The answer to a review in which something else than the object was changed.
fn asked(object: &Value, change: &Value) -> Answer {
    let body = merged(request(object, None), json!({ "request": change })).to_string();
    let reply = review(Webhook::Default, body.as_bytes(), &Policy::default(), &Silent);
    assert_eq!(reply.status, 200);
    answer(&reply.body)
}

#[test]
fn only_what_is_created_or_updated_is_judged() {
    let bad = provider(json!({"spec": {"replicas": 99}}));
    for (operation, allowed) in
        [("CREATE", false), ("UPDATE", false), ("DELETE", true), ("CONNECT", true), ("", true)]
    {
        let answer = asked(&bad, &json!({ "operation": operation }));
        assert_eq!(answer.allowed, allowed, "{operation}");
        assert!(answer.patch.is_empty());
    }
    let answer = asked(&bad, &json!({"operation": "DELETE", "object": null, "oldObject": bad}));
    assert!(answer.allowed && answer.patch.is_empty());
}

#[test]
fn kinds_and_versions_of_others_are_refused_by_name() {
    for (change, message) in [
        (json!({"kind": "Pod"}), "mcp-hangar.io/v1alpha1, kind Pod is none of the kinds of this webhook"),
        (json!({"version": "v1"}), "mcp-hangar.io/v1, kind MCPProvider is none of the kinds of this webhook"),
        (
            json!({"group": "example.com"}),
            "example.com/v1alpha1, kind MCPProvider is none of the kinds of this webhook",
        ),
    ] {
        let answer = asked(&provider(json!({})), &json!({ "kind": change }));
        assert_eq!((answer.allowed, answer.code, answer.message.as_str()), (false, 400, message));
    }
    let answer = asked(&provider(json!({})), &json!({"object": null}));
    assert_eq!(
        (answer.allowed, answer.code, answer.message.as_str()),
        (false, 400, "the review holds no object")
    );
}

#[test]
fn an_object_that_is_being_deleted_is_let_go_without_a_patch() {
    let bad = provider(
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"replicas": 99}}),
    );
    for webhook in [Webhook::Default, Webhook::Validate] {
        let answer = admit(webhook, &bad, Some(&bad), &Policy::default());
        assert!(answer.allowed && answer.patch.is_empty() && answer.warnings.is_empty());
    }
}

#[test]
fn a_hundred_thousand_errors_are_bounded_in_size_and_time() {
    let item = json!({"name": "A=B", "value": 5, "valueFrom": {"secretKeyRef": {"name": "A_", "key": "/"}}});
    let object = provider(json!({"spec": {"env": vec![item; 25_000]}}));
    let body = request(&object, Some(&object)).to_string();
    let mut body_old = request(&object, Some(&provider(json!({"spec": {"env": []}}))));
    body_old["request"]["object"] = object;
    for body in [body, body_old.to_string()] {
        let started = Instant::now();
        let reply = review(Webhook::Default, body.as_bytes(), &Policy::default(), &Silent);
        let elapsed = started.elapsed();
        assert!(reply.body.len() < 20_000, "{}", reply.body.len());
        // A second in a release build; this one may be a debug build beside other tests.
        let limit = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });
        assert!(elapsed < limit, "{elapsed:?}");
    }
}
