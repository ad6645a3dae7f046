//! `examples/security/confine-operator.yaml`: what the operator's account may still do where that policy is, and what nobody
//! who takes it over can. Asked as that account, by impersonation, with the manifests of the chart's own source.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_hangar_operator::manifests::{self, Endpoint};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Output, borrow_one, eventually};
use crate::webhook::authority;

const POLICY: &str = "examples/security/confine-operator.yaml";
const ACCOUNT: &str = "system:serviceaccount:mcp-system:mcp-hangar-operator";
/// A policy may take this long to be enforced, on a busy machine.
const ENFORCED: Duration = Duration::from_secs(60);
/// Objects of this test, beside the operator's own.
const NAME: &str = "confined";
const CRD: &str = "things.confined.example.com";

/// Patches as the account, without storing it; RBAC is not what is tested, so it may do everything else.
fn patch(cluster: &Cluster, resource: &str, name: &str, patch: &Value) -> Output {
    let account = ["--as", ACCOUNT, "--as-group=system:masters", "--dry-run=server", "--type=json"];
    let patch = patch.to_string();
    cluster.kubectl(&[&["patch", resource, name], account.as_slice(), &["-p", &patch]].concat(), "")
}

/// A JSON patch of one step.
fn one(op: &str, path: &str, value: &Value) -> Value {
    json!([{"op": op, "path": path, "value": value}])
}

fn refused(cluster: &Cluster, resource: &str, name: &str, change: &Value, why: &str) {
    let said = patch(cluster, resource, name, change).fails();
    assert!(said.contains(why) && said.contains("ValidatingAdmissionPolicy"), "{resource} {change}: {said}");
}

#[test]
fn an_account_that_was_taken_over_can_only_write_bundles() {
    let site = borrow_one();
    let endpoint = Endpoint::default_service("mcp-system");
    let mut mutating = serde_json::to_value(manifests::mutating(NAME, &endpoint, None)).unwrap();
    let mut validating = serde_json::to_value(manifests::validating(NAME, &endpoint, None)).unwrap();
    // Of this test's own, so that nothing of it is called.
    for configuration in [&mut mutating, &mut validating] {
        configuration["apiVersion"] = json!("admissionregistration.k8s.io/v1");
        configuration["webhooks"][0]["name"] = json!("confined.example.com");
        configuration["webhooks"][0]["rules"][0]["apiGroups"] = json!(["confined.example.com"]);
    }
    mutating["kind"] = json!("MutatingWebhookConfiguration");
    validating["kind"] = json!("ValidatingWebhookConfiguration");
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD},
        "spec": {"group": "confined.example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                "clientConfig": serde_json::to_value(endpoint.conversion(None)).unwrap()}},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    for object in [&mutating, &validating, &crd] {
        site.kubectl(&["create", "-f", "-"], &object.to_string()).ok();
    }
    site.kubectl(&["apply", "-f", POLICY], "").ok();
    let bundle = json!(STANDARD.encode(authority(&site.api)));
    let webhooks = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
    let everything = one("replace", "/webhooks/0/rules/0/resources", &json!(["*"]));
    let unconverted = one("replace", "/spec/conversion", &json!({"strategy": "None"}));
    let targets = webhooks.map(|resource| (resource, NAME, &everything));
    for (resource, name, change) in targets.into_iter().chain([("crd", CRD, &unconverted)]) {
        eventually("the policy is enforced", ENFORCED, || {
            (patch(&site, resource, name, change).code != 0).then_some(())
        });
    }

    let client = "/webhooks/0/clientConfig";
    let elsewhere = json!({"url": "https://evil.example.com/all"});
    let foreign =
        json!({"name": "mcp-hangar-operator-webhook", "namespace": "evil", "path": "/", "port": 443});
    // An owner that is not there has the garbage collector delete what it owns: with a CRD, every object of its kind.
    let owned = json!([{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "00000000-0000-4000-8000-000000000000"}]);
    for resource in webhooks {
        let entry = json!({"name": "more.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "mcp-hangar-operator-webhook", "namespace": "mcp-system"}}});
        for (change, why) in [
            (everything.clone(), "changes clientConfig only"),
            (one("replace", "/webhooks/0/failurePolicy", &json!("Ignore")), "changes clientConfig only"),
            (one("remove", "/webhooks/0/matchConditions", &Value::Null), "changes clientConfig only"),
            (
                one("replace", "/webhooks/0/namespaceSelector", &json!({"matchLabels": {"a": "b"}})),
                "changes clientConfig only",
            ),
            (one("add", "/webhooks/-", &entry), "changes clientConfig only"),
            (one("replace", client, &elsewhere), "its own Service only"),
            (one("replace", &format!("{client}/service"), &foreign), "its own Service only"),
            (one("add", "/metadata/ownerReferences", &owned), "no label, finalizer or owner"),
        ] {
            refused(&site, resource, NAME, &change, why);
        }
        // What the operator does.
        patch(&site, resource, NAME, &one("add", &format!("{client}/caBundle"), &bundle)).ok();
    }
    let client = "/spec/conversion/webhook/clientConfig";
    for (change, why) in [
        (unconverted, "no strategy"),
        (one("add", "/spec/versions/0/deprecated", &json!(true)), "no version"),
        (one("replace", client, &elsewhere), "its own Service only"),
        (one("replace", &format!("{client}/service"), &foreign), "its own Service only"),
        (one("add", "/metadata/ownerReferences", &owned), "no label, finalizer or owner"),
        (one("add", "/metadata/finalizers", &json!(["a.example.com/b"])), "no label, finalizer or owner"),
    ] {
        refused(&site, "crd", CRD, &change, why);
    }
    patch(&site, "crd", CRD, &one("add", &format!("{client}/caBundle"), &bundle)).ok();
    patch(&site, "crd", CRD, &one("add", "/metadata/annotations", &json!({"mcp-hangar.io/note": "x"}))).ok();
    // Everybody else goes on as before.
    for resource in webhooks {
        let ignored = one("replace", "/webhooks/0/failurePolicy", &json!("Ignore")).to_string();
        site.kubectl(&["patch", resource, NAME, "--type=json", "-p", &ignored], "").ok();
    }
    site.kubectl(&["delete", "-f", POLICY], "").ok();
    site.kubectl(&["delete", webhooks.join(",").as_str(), NAME], "").ok();
    site.kubectl(&["delete", "crd", CRD, "--wait=false"], "").ok();
}
