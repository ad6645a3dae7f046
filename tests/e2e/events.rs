//! What people see with `kubectl get events`: that the API server does not use the webhooks, that it does again, and that
//! a CA had to be made in an emergency.
//!
//! An operator beside the cluster has no pod, so its Events are about the CA Secret, in its namespace.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, borrow_one, eventually};
use crate::webhook::SECRET;

const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// Waits for an Event of that reason and returns its line.
fn event(cluster: &Cluster, type_: &str, reason: &str) -> String {
    // The self-test gives the API server's caches 30 s.
    eventually(reason, Duration::from_secs(60), || {
        let events = cluster.kubectl(&["get", "events", "-n", "mcp-system", "--no-headers"], "");
        events.stdout.lines().find(|line| line.contains(reason) && line.contains(type_)).map(str::to_owned)
    })
}

/// Leaves out the namespace in which the self-test works, or not; and has the operator test at once, as after any repair.
fn select(cluster: &Cluster, selector: &Value) {
    for configurations in CONFIGURATIONS {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{configurations}/mcp-hangar-operator");
        let patch = json!([
            {"op": "add", "path": "/webhooks/0/namespaceSelector", "value": selector},
            {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"},
        ]);
        cluster.api.json_patch(&path, &patch).ok();
    }
}

#[test]
fn a_self_test_that_fails_and_one_that_passes_again_are_events() {
    let site = borrow_one();
    site.operator.said("self-test passed");
    select(
        &site,
        &json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["mcp-system"]}]}),
    );
    let failed = event(&site, "Warning", "SelfTestFailed");
    assert!(
        failed.contains("selectors leave this namespace out")
            && failed.contains("secret/mcp-hangar-operator-webhook-ca"),
        "{failed}"
    );
    select(&site, &json!({}));
    event(&site, "Normal", "SelfTestPassed");
}

#[test]
fn a_ca_that_is_made_in_an_emergency_is_an_event() {
    let mut site = borrow_one();
    site.operator.kill();
    site.api.merge_patch(SECRET, &json!({"data": {"ca.key": ""}})).ok();
    site.restart_operator();
    let line = event(&site, "Warning", "EmergencyCA");
    assert!(line.contains("a new one was made"), "{line}");
}
