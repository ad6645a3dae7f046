//! `examples/security/confine-operator.yaml`: what the operator's account may still do where that policy is, and what nobody
//! who takes it over can. Asked as that account, by impersonation, with the manifests of the chart's own source.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_hangar_operator::manifests::{self, Endpoint};
use mcp_hangar_operator::provider::build::{self, Contents, Objects};
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

/// What the operator makes for a provider.
fn objects(namespace: &str) -> Objects {
    let spec = json!({"mode": "Container", "container": {"image": "r.example/tools:1"}});
    let spec = serde_json::from_value(spec).unwrap();
    let annotations = BTreeMap::new();
    let provider =
        build::Provider { name: "tools", namespace, uid: "u-1", annotations: &annotations, spec: &spec };
    build::build(&provider, 1, &Contents::new()).unwrap()
}

/// Creates as the account, without storing it.
fn create(cluster: &Cluster, object: &Value) -> Output {
    let account = ["--as", ACCOUNT, "--as-group=system:masters", "--dry-run=server"];
    cluster.kubectl(&[["create", "-f", "-"].as_slice(), &account].concat(), &object.to_string())
}

#[test]
fn an_account_that_was_taken_over_touches_no_workload_but_those_of_providers() {
    let site = borrow_one();
    let namespace = "confined-workloads";
    site.namespace(namespace);
    let Objects { deployment, service, pods_service, endpoint: _, config_hash: _ } = objects(namespace);
    let (deployment, services) = (json!(deployment), [json!(service), json!(pods_service)]);
    // Somebody's own, made before and by another.
    let mut theirs = deployment.clone();
    theirs["metadata"] = json!({"name": "theirs", "namespace": namespace});
    let their_service = json!({"apiVersion": "v1", "kind": "Service", "metadata": theirs["metadata"],
        "spec": {"ports": [{"port": 80}]}});
    for object in [&theirs, &their_service] {
        site.kubectl(&["create", "-f", "-"], &object.to_string()).ok();
    }
    site.kubectl(&["apply", "-f", POLICY], "").ok();
    let account = ["--as", ACCOUNT, "--as-group=system:masters", "--dry-run=server", "-n", namespace];
    let mut node = deployment.clone();
    node["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    for object in [&theirs, &node] {
        let mut object = object.clone();
        object["metadata"]["name"] = json!("new");
        eventually("the policies are enforced", ENFORCED, || {
            (create(&site, &object).code != 0).then_some(())
        });
    }

    // What the operator does.
    for object in services.iter().chain([&deployment]) {
        create(&site, object).ok();
        site.kubectl(&["create", "-f", "-"], &object.to_string()).ok();
    }
    let kinds = ["deployment", "service"];
    let label = json!([{"op": "add", "path": "/metadata/labels/a", "value": "b"}]).to_string();
    let annotation = json!({"metadata": {"annotations": {"a": "b"}}}).to_string();
    for kind in kinds {
        site.kubectl(
            &[&["patch", kind, "tools", "--type=json", "-p", &label], account.as_slice()].concat(),
            "",
        )
        .ok();
        site.kubectl(&[&["delete", kind, "tools"], account.as_slice()].concat(), "").ok();
        for words in [["patch", kind, "theirs", "-p", &annotation].as_slice(), &["delete", kind, "theirs"]] {
            let said = site.kubectl(&[words, account.as_slice()].concat(), "").fails();
            assert!(said.contains("touches only what belongs to a provider"), "{words:?}: {said}");
        }
    }
    // What nobody makes for a provider.
    let changed = |pointer: &str, value: &Value| {
        let mut object = deployment.clone();
        object["metadata"]["name"] = json!("new");
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value.clone();
        object
    };
    let pod = "/spec/template/spec";
    let path = json!([{"name": "tmp", "hostPath": {"path": "/"}}]);
    let service_of_nobody = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "new", "namespace": namespace},
        "spec": {"ports": [{"port": 80}]}});
    for (object, why) in [
        (service_of_nobody, "objects of a provider only"),
        (changed("/metadata/ownerReferences", &json!([])), "objects of a provider only"),
        (changed("/metadata/ownerReferences/0/controller", &json!(false)), "objects of a provider only"),
        (changed("/metadata/ownerReferences/0/name", &json!("another")), "objects of a provider only"),
        (changed(&format!("{pod}/hostPID"), &json!(true)), "a part of the node"),
        (changed(&format!("{pod}/hostNetwork"), &json!(true)), "a part of the node"),
        (changed(&format!("{pod}/volumes"), &path), "a part of the node"),
        (
            changed(&format!("{pod}/initContainers"), &json!([{"name": "a", "image": "b"}])),
            "a part of the node",
        ),
    ] {
        let said = create(&site, &object).fails();
        assert!(said.contains(why) && said.contains("ValidatingAdmissionPolicy"), "{object}: {said}");
    }
    site.kubectl(&["delete", "-f", POLICY], "").ok();
    for kind in kinds {
        site.kubectl(&["delete", kind, "--all", "-n", namespace], "").ok();
    }
}
