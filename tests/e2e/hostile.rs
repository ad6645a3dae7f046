//! Input that no sane author sends: each gets an answer in time that says what is wrong, or is stored as it is.
//!
//! Raw requests mostly, since kubectl would stop many of them. Nothing here may end in an internal error, a time-out or
//! a crash of the operator.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::api::{Reply, list_path};
use crate::cluster::{Site, shared};
use crate::examples::leaves;

/// The webhooks' time limit; an answer that takes longer would be a failure of them.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn provider(namespace: &str, name: &str, spec: Value) -> Value {
    object("MCPProvider", "v1alpha1", namespace, name, spec)
}

#[allow(clippy::needless_pass_by_value, reason = "a literal at every call")]
pub(crate) fn object(kind: &str, version: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("mcp-hangar.io/{version}"), "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// Refused because of what was sent, in time, and with words about it.
#[track_caller]
pub(crate) fn refused(reply: &Reply, words: &str) {
    let message = reply.message();
    let clear =
        (400..500).contains(&reply.code) && message.contains(words) && !message.contains("nternal error");
    assert!(clear, "{} {}: {words:?} is not in: {message}", reply.call, reply.code);
    assert!(reply.took < LIMIT, "{:?}", reply.took);
}

/// Accepted in time.
#[track_caller]
pub(crate) fn accepted(reply: &Reply) {
    assert!((200..300).contains(&reply.code), "{} {}: {}", reply.call, reply.code, reply.message());
    assert!(reply.took < LIMIT, "{:?}", reply.took);
}

/// Either of the two.
#[track_caller]
pub(crate) fn answered(reply: &Reply) {
    if !(200..300).contains(&reply.code) {
        refused(reply, "");
        assert!(!reply.message().is_empty());
    }
    assert!(reply.took < LIMIT, "{:?}", reply.took);
}

fn raw(site: &Site, content_type: &str, body: &str) -> Reply {
    let path =
        "/apis/mcp-hangar.io/v1alpha1/namespaces/default/mcpproviders?dryRun=All&fieldValidation=Strict";
    site.api.send(Method::POST, path, content_type, body.as_bytes().to_vec())
}

#[test]
fn a_null_counts_as_absent_wherever_it_stands() {
    let site = shared();
    for (kind, version, spec) in [
        ("MCPProvider", "v1alpha1", json!({"mode": "container", "image": "acme/tools:1"})),
        ("MCPProvider", "v1beta1", json!({"mode": "Container", "container": {"image": "acme/tools:1"}})),
        ("MCPProviderGroup", "v1alpha1", json!({"selector": {}})),
        ("MCPDiscoverySource", "v1beta1", json!({"type": "Namespace", "namespaceSelector": {}})),
    ] {
        let plain = object(kind, version, "default", "nulls", spec);
        let filled = site.api.create_dry(&plain).ok();
        let mut spoilt = plain.clone();
        for (key, _) in filled["spec"].as_object().unwrap() {
            if plain["spec"].get(key).is_none() {
                spoilt["spec"][key] = Value::Null;
            }
        }
        for block in [
            "env",
            "volumes",
            "tools",
            "resources",
            "pod",
            "remote",
            "filters",
            "sessionAffinity",
            "observability",
        ] {
            let declared = crate::generate::declares(kind, version, block);
            if declared && plain["spec"].get(block).is_none() {
                spoilt["spec"][block] = Value::Null;
            }
        }
        assert_eq!(site.api.create_dry(&spoilt).ok()["spec"], filled["spec"], "{spoilt}");
        // A null where a value is required is a missing value.
        for (path, _) in leaves(&plain["spec"]) {
            let mut missing = plain.clone();
            *missing["spec"].pointer_mut(&path).unwrap() = Value::Null;
            let reply = site.api.create_dry(&missing);
            if path != "/selector" && path != "/namespaceSelector" || reply.code != 201 {
                refused(&reply, "Required value");
            }
        }
    }
}

#[test]
fn empty_lists_and_maps_are_stored_as_they_are_or_refused_with_a_reason() {
    let site = shared();
    let namespace = site.namespace("hostile-empty");
    let spec = json!({"mode": "container", "image": "acme/tools:1", "command": [], "args": [], "env": [], "volumes": [], "resources": {}, "tools": {},
        "nodeSelector": {}, "tolerations": [], "affinity": {}, "securityContext": {}, "imagePullSecrets": [], "observability": {"tracing": {}, "metrics": {}}});
    let written = provider(namespace, "empty", spec);
    site.api.create(&written).ok();
    let live = site.api.read(&written);
    for (path, leaf) in leaves(&written["spec"]) {
        assert_eq!(live["spec"].pointer(&path), Some(&leaf), "{path}");
    }
    for (kind, spec) in [
        (
            "MCPProviderGroup",
            json!({"selector": {"matchLabels": {}, "matchExpressions": []}, "failover": {"retryOn": []}}),
        ),
        (
            "MCPDiscoverySource",
            json!({"type": "Namespace", "namespaceSelector": {"excludeNamespaces": []}, "filters": {"includePatterns": []}, "providerTemplate": {"spec": {}}}),
        ),
    ] {
        let written = object(kind, "v1alpha1", namespace, "empty", spec);
        site.api.create(&written).ok();
        let live = site.api.read(&written);
        for (path, leaf) in leaves(&written["spec"]) {
            assert_eq!(live["spec"].pointer(&path), Some(&leaf), "{kind} {path}");
        }
    }
    for spec in
        [json!({}), json!(null), json!([]), json!("x"), json!(1), json!({"mode": ""}), json!({"mode": {}})]
    {
        refused(&site.api.create_dry(&provider("default", "x", spec)), "");
    }
}

#[test]
fn an_object_of_nearly_the_largest_size_is_judged_and_stored_in_time() {
    let site = shared();
    let namespace = site.namespace("hostile-large");
    let large = "x".repeat(128 * 1024);
    let env: Vec<Value> = (0..11).map(|n| json!({"name": format!("E{n}"), "value": large})).collect();
    let spec = json!({"mode": "container", "image": "acme/tools:1", "env": env});
    let written = provider(namespace, "large", spec.clone());
    assert!(written.to_string().len() > 1_400_000);
    let reply = site.api.create(&written);
    accepted(&reply);
    assert_eq!(site.api.read_as(&written, "v1beta1")["spec"]["container"]["env"], written["spec"]["env"]);
    let mut spoilt = provider(namespace, "spoilt", spec);
    spoilt["spec"]["idleTTL"] = "30".into();
    refused(&site.api.create(&spoilt), "a duration needs a unit");
    let huge = vec![json!({"name": "E", "value": "y".repeat(128 * 1024)}); 40];
    refused(
        &site.api.create(&provider(
            namespace,
            "huge",
            json!({"mode": "container", "image": "a", "env": huge}),
        )),
        "",
    );
}

#[test]
fn ten_thousand_items_are_judged_in_time_and_more_are_refused() {
    let site = shared();
    let tools = |count: usize| -> Vec<String> { (0..count).map(|n| format!("tool-{n}")).collect() };
    let spec = |tools: &[String]| json!({"mode": "container", "image": "acme/tools:1", "tools": {"allowList": tools}});
    accepted(&site.api.create_dry(&provider("default", "many", spec(&tools(10_000)))));
    refused(&site.api.create_dry(&provider("default", "many", spec(&tools(10_001)))), "10000");
    let same = vec!["same".to_owned(); 10_000];
    let reply = site.api.create_dry(&provider("default", "many", spec(&same)));
    refused(&reply, "and 9979 more");
    assert_eq!(reply.causes().len(), 21);
    let env: Vec<Value> = (0..10_000).map(|n| json!({"name": format!("E{n}"), "value": "$(E0)"})).collect();
    accepted(&site.api.create_dry(&provider(
        "default",
        "many",
        json!({"mode": "container", "image": "acme/tools:1", "env": env}),
    )));
    let mounts: Vec<Value> =
        (0..1024).map(|n| json!({"name": format!("v{n}"), "mountPath": "/same", "emptyDir": {}})).collect();
    refused(
        &site.api.create_dry(&provider(
            "default",
            "many",
            json!({"mode": "container", "image": "acme/tools:1", "volumes": mounts}),
        )),
        "Duplicate value",
    );
}

#[test]
fn a_key_that_is_written_twice_is_refused_by_name() {
    let site = shared();
    let yaml = "apiVersion: mcp-hangar.io/v1alpha1\nkind: MCPProvider\nmetadata: {name: twice, namespace: default}\nspec:\n  mode: container\n  image: a\n  image: b\n";
    refused(&raw(&site, "application/yaml", yaml), "key \"image\" already set");
    let text = r#"{"apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider","metadata":{"name":"twice"},"spec":{"mode":"container","image":"a","image":"b"}}"#;
    refused(&raw(&site, "application/json", text), "duplicate field \"spec.image\"");
}

#[test]
fn deep_nesting_wide_maps_and_unknown_fields_are_answered_in_time() {
    let site = shared();
    let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for depth in [100, 5_000, 100_000] {
        let text = format!(
            r#"{{"apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider","metadata":{{"name":"deep"}},"spec":{{"mode":"container","image":"a","x":{}}}}}"#,
            deep(depth)
        );
        let path = "/apis/mcp-hangar.io/v1alpha1/namespaces/default/mcpproviders?dryRun=All";
        answered(&site.api.send(Method::POST, path, "application/json", text.into_bytes()));
    }
    let wide: Map<String, Value> = (0..20_000).map(|n| (format!("key-{n}"), json!("x"))).collect();
    refused(
        &site.api.create_dry(&provider(
            "default",
            "wide",
            json!({"mode": "container", "image": "a", "nodeSelector": wide}),
        )),
        "spec.nodeSelector",
    );
    let reply = site.api.create_dry(&provider(
        "default",
        "unknown",
        json!({"mode": "container", "image": "acme/a:1", "imagee": "x"}),
    ));
    assert!(
        reply.code == 201 && reply.warnings.iter().any(|warning| warning.contains("spec.imagee")),
        "{reply:?}"
    );
    let noted: Map<String, Value> =
        (0..4).map(|n| (format!("example.com/note-{n}"), json!("x".repeat(65_000)))).collect();
    let mut large = object(
        "MCPProvider",
        "v1beta1",
        "default",
        "notes",
        json!({"mode": "Container", "container": {"image": "acme/a:1", "port": 9000, "path": format!("/{}", "p".repeat(1000))}}),
    );
    large["metadata"]["annotations"] = noted.into();
    accepted(&site.api.create_dry(&large));
    large["metadata"]["annotations"]["example.com/more"] = "x".repeat(1_200).into();
    refused(&site.api.create_dry(&large), "HGR143");
    assert_eq!(site.api.get(&list_path(&large)).code, 200);
}

#[test]
fn a_request_in_a_form_that_the_api_does_not_take_is_refused_clearly() {
    let site = shared();
    let good = provider("default", "form", json!({"mode": "container", "image": "acme/tools:1"}));
    for (change, words) in [
        (json!({"apiVersion": "mcp-hangar.io/v1"}), "does not match"),
        (json!({"metadata": {"name": "form", "namespace": "elsewhere"}}), "namespace"),
        (json!({"metadata": null}), "name"),
        (json!({"metadata": {"name": 1}}), ""),
        (
            json!({"metadata": {"name": "form", "annotations": {"mcp-hangar.io/conversion-data": "{}"}}}),
            "conversion-data",
        ),
    ] {
        let mut object = good.clone();
        object.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        refused(&site.api.post(&format!("{}?dryRun=All", list_path(&good)), &object), words);
    }
    for content_type in ["text/plain", "application/xml"] {
        refused(&raw(&site, content_type, &good.to_string()), "");
    }
}
