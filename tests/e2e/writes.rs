//! Every way to write an object, by kubectl and by others: each stores what it says, fills what is absent, and no more.
//!
//! In a cluster in which no controller writes beside them.

use serde_json::{Value, json};

use crate::api::{as_version, list_path, path};
use crate::cluster::{Shared, unattended};

/// A container provider as v1beta1.
fn tools(namespace: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": "tools", "namespace": namespace},
        "spec": {"mode": "Container", "container": {"image": "acme/tools:1", "port": 9000}}})
}

/// The cluster with that provider in a new namespace.
fn scene(namespace: &str) -> (Shared, Value) {
    let site = unattended();
    site.namespace(namespace);
    let object = tools(namespace);
    site.api.create(&object).ok();
    (site, object)
}

fn owner_of(object: &Value, manager: &str) -> Option<Value> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries.iter().find(|entry| entry["manager"] == manager).cloned()
}

#[test]
fn create_fills_what_is_absent_and_replace_keeps_what_is_written() {
    let (site, object) = scene("write-replace");
    let mut live = site.api.read(&object);
    assert_eq!(live["spec"]["lifecycle"]["idleTTL"], "5m");
    live["spec"]["lifecycle"] = json!({"idleTTL": "0s"});
    live["spec"]["replicas"] = Value::Null;
    let text = live.to_string();
    site.kubectl(&["replace", "-f", "-"], &text).ok();
    let after = site.api.read(&object);
    assert_eq!(
        after["spec"]["lifecycle"],
        json!({"idleTTL": "0s", "startupTimeout": "30s", "shutdownGracePeriod": "30s"})
    );
    assert_eq!((&after["spec"]["replicas"], &after["metadata"]["generation"]), (&json!(1), &json!(2)));
    let stale = site.kubectl(&["replace", "-f", "-"], &text).fails();
    assert!(stale.contains("the object has been modified"), "{stale}");
}

#[test]
fn patches_of_every_kind_are_judged_and_stored() {
    let (site, object) = scene("write-patch");
    let patch = |kind: &str, resource: &str, patch: &str| {
        site.kubectl(&["patch", resource, "tools", "-n", "write-patch", "--type", kind, "-p", patch], "")
    };
    let hub = "mcpproviders";
    let spoke = "mcpproviders.v1alpha1.mcp-hangar.io";
    patch("merge", hub, r#"{"spec":{"container":{"args":["--a"]}}}"#).ok();
    patch("json", hub, r#"[{"op":"add","path":"/spec/container/args/-","value":"--b"}]"#).ok();
    patch("merge", spoke, r#"{"spec":{"idleTTL":"7m"}}"#).ok();
    patch("json", spoke, r#"[{"op":"replace","path":"/spec/args/0","value":"--c"}]"#).ok();
    let live = site.api.read(&object);
    let container = json!({"image": "acme/tools:1", "port": 9000, "args": ["--c", "--b"]});
    assert_eq!(
        (&live["spec"]["container"], &live["spec"]["lifecycle"]["idleTTL"]),
        (&container, &json!("7m"))
    );
    for (kind, resource, text, field) in [
        ("merge", hub, r#"{"spec":{"lifecycle":{"idleTTL":"30"}}}"#, "spec.lifecycle.idleTTL"),
        ("json", hub, r#"[{"op":"replace","path":"/spec/mode","value":"Contaner"}]"#, "spec.mode"),
        ("merge", spoke, r#"{"spec":{"idleTTL":"30"}}"#, "spec.idleTTL"),
        ("json", spoke, r#"[{"op":"remove","path":"/spec/image"}]"#, "spec.image"),
    ] {
        let said = patch(kind, resource, text).fails();
        assert!(said.contains(field) && said.contains("[HGR"), "{said}");
    }
    assert_eq!(site.api.read(&object)["spec"], live["spec"]);
}

#[test]
fn an_editor_stores_what_it_was_told_and_nothing_when_it_changed_nothing() {
    let (site, object) = scene("write-editor");
    let edit = |resource: &str| site.kubectl(&["edit", resource, "tools", "-n", "write-editor"], "");
    assert_eq!(edit("mcpp").ok(), "mcpprovider.mcp-hangar.io/tools edited\n");
    let again = edit("mcpproviders.v1alpha1.mcp-hangar.io");
    assert_eq!((again.code, again.stderr.as_str()), (0, "Edit cancelled, no changes made.\n"));
    let live = site.api.read(&object);
    let container = json!({"image": "acme/tools:2", "port": 9000});
    assert_eq!((&live["spec"]["container"], &live["metadata"]["generation"]), (&container, &json!(2)));
}

#[test]
fn scale_works_and_keeps_to_the_range() {
    let (site, object) = scene("write-scale");
    let scale = |replicas: &str| {
        site.kubectl(&["scale", "mcpprovider/tools", "-n", "write-scale", "--replicas", replicas], "")
    };
    for replicas in ["0", "10"] {
        scale(replicas).ok();
        assert_eq!(site.api.read(&object)["spec"]["replicas"].to_string(), replicas);
    }
    let said = scale("11").fails();
    assert!(said.contains("spec.replicas") && said.contains("10"), "{said}");
    assert_eq!(site.api.read(&object)["spec"]["replicas"], 10);
    site.api
        .merge_patch(
            &format!("{}/status", path(&object)),
            &json!({"status": {"replicas": 3, "selector": "a=b", "observedGeneration": 3}}),
        )
        .ok();
    let live = site.api.get(&format!("{}/scale", path(&object))).ok();
    assert_eq!(live["status"], json!({"replicas": 3, "selector": "a=b"}));
}

#[test]
fn status_and_spec_are_written_apart_and_status_writes_lose_no_managed_fields() {
    let (site, object) = scene("write-status");
    let spoke = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
        "metadata": {"name": "tools", "namespace": "write-status", "labels": {"by": "old"}}, "spec": {"mode": "container", "image": "acme/tools:1"}});
    site.api.apply(&spoke, "old", "&force=true").ok();
    let mut live = site.api.read(&object);
    let (spec, entry) = (live["spec"].clone(), owner_of(&live, "old").unwrap());
    assert_eq!(entry["apiVersion"], "mcp-hangar.io/v1alpha1");
    let generation = live["metadata"]["generation"].clone();

    live["status"] = json!({"state": "Ready", "observedGeneration": generation, "conditions": [
        {"type": "Ready", "status": "True", "reason": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    live["spec"]["replicas"] = json!(7);
    site.api.put(&format!("{}/status?fieldManager=operator", path(&object)), &live).ok();
    let mut applied = object.clone();
    applied.as_object_mut().unwrap().remove("spec");
    applied["status"] = json!({"observedGeneration": generation, "toolsCount": 3});
    let status = format!("{}/status?fieldManager=applier&force=true", path(&object));
    site.api
        .send(
            axum::http::Method::PATCH,
            &status,
            "application/apply-patch+yaml",
            applied.to_string().into_bytes(),
        )
        .ok();
    site.api.merge_patch(&format!("{}/status", path(&object)), &json!({"status": {"phase": "Running"}})).ok();

    let after = site.api.read(&object);
    assert_eq!((&after["spec"], &after["metadata"]["generation"]), (&spec, &generation));
    let expected = [("state", json!("Ready")), ("toolsCount", json!(3)), ("phase", json!("Running"))];
    assert!(expected.iter().all(|(key, value)| after["status"][key] == *value), "{}", after["status"]);
    assert_eq!(owner_of(&after, "old").unwrap(), entry);
    assert_eq!(site.api.read_as(&object, "v1alpha1")["status"], after["status"]);

    // And the other way round: a status in a write of the object is not taken.
    let mut object = after.clone();
    object["status"] = json!({"state": "Dead", "observedGeneration": 99});
    site.api.put(&path(&object), &object).ok();
    assert_eq!(site.api.read(&object)["status"], after["status"]);
}

#[test]
fn labels_annotations_and_other_managers_leave_spec_and_generation_alone() {
    let (site, object) = scene("write-meta");
    let spec = site.api.read(&object)["spec"].clone();
    let run = |arguments: &[&str]| site.kubectl(&[arguments, &["-n", "write-meta"]].concat(), "").ok();
    run(&["label", "mcpp", "tools", "team=search"]);
    run(&["label", "mcpproviders.v1alpha1.mcp-hangar.io", "tools", "team=find", "--overwrite"]);
    run(&["annotate", "mcpp", "tools", "mcp-hangar.io/weight=20", "example.com/note=x"]);
    run(&["annotate", "mcpp", "tools", "example.com/note-"]);
    let partial = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": "tools", "namespace": "write-meta", "labels": {"seen": "yes"}}});
    // It names no spec: what is judged is the merged object.
    site.api.apply(&partial, "labeller", "").ok();
    let after = site.api.read(&object);
    assert_eq!((&after["spec"], &after["metadata"]["generation"]), (&spec, &json!(1)));
    assert_eq!(after["metadata"]["labels"], json!({"team": "find", "seen": "yes"}));
    assert_eq!(after["metadata"]["annotations"], json!({"mcp-hangar.io/weight": "20"}));
    let said = site
        .kubectl(
            &["annotate", "mcpp", "tools", "-n", "write-meta", "mcp-hangar.io/weight=heavy", "--overwrite"],
            "",
        )
        .fails();
    assert!(said.contains("metadata.annotations[mcp-hangar.io/weight]") && said.contains("HGR141"), "{said}");
}

#[test]
fn an_object_with_a_finalizer_goes_when_the_finalizer_does() {
    let (site, object) = scene("write-finalizer");
    site.api
        .merge_patch(&path(&object), &json!({"metadata": {"finalizers": ["mcp-hangar.io/finalizer"]}}))
        .ok();
    site.kubectl(&["delete", "mcpp", "tools", "-n", "write-finalizer", "--wait=false"], "").ok();
    let deleting = site.api.read(&object);
    assert_eq!(crate::gitops::kstatus(&deleting), "Terminating");
    let spoke = as_version(&object, "v1alpha1");
    site.api.json_patch(&path(&spoke), &json!([{"op": "remove", "path": "/metadata/finalizers"}])).ok();
    assert_eq!(site.api.get(&path(&object)).code, 404);
}

#[test]
fn a_dry_run_says_what_would_be_stored_and_stores_nothing() {
    let site = unattended();
    let namespace = site.namespace("write-dry");
    let object = tools(namespace);
    let text = object.to_string();
    let made = site.kubectl(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &text).ok();
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["spec"]["replicas"], 1);
    site.kubectl(&["apply", "--dry-run=server", "-f", "-"], &text).ok();
    site.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &text).ok();
    assert_eq!(site.api.get(&list_path(&object)).ok()["items"], json!([]));
    site.api.create(&object).ok();
    let before = site.api.read(&object);
    site.api.merge_patch(&format!("{}?dryRun=All", path(&object)), &json!({"spec": {"replicas": 5}})).ok();
    site.kubectl(&["delete", "mcpp", "tools", "-n", namespace, "--dry-run=server"], "").ok();
    assert_eq!(site.api.read(&object), before);
}

#[test]
fn an_edit_by_a_client_side_user_survives_a_pipeline_that_does_not_mention_it() {
    let site = unattended();
    let namespace = site.namespace("write-edit");
    let object = tools(namespace);
    site.api.apply(&object, "ci", "").ok();
    site.kubectl(
        &["patch", "mcpp", "tools", "-n", namespace, "--type=merge", "-p", r#"{"spec":{"replicas":4}}"#],
        "",
    )
    .ok();
    site.api.apply(&object, "ci", "").ok();
    assert_eq!(site.api.read(&object)["spec"]["replicas"], 4);
    let mut wished = object;
    wished["spec"]["replicas"] = json!(2);
    let conflict = site.api.apply(&wished, "ci", "");
    assert!(conflict.code == 409 && conflict.message().contains("spec.replicas"), "{conflict:?}");
    // And what was filled in belongs to nobody's wishes.
    wished["spec"]["replicas"] = json!(4);
    wished["spec"]["lifecycle"] = json!({"idleTTL": "9m"});
    let reply = site.api.apply(&wished, "ci", "");
    assert_eq!(reply.code, 200, "{reply:?}");
}
