//! What the API server would send: an UPDATE of a real provider in both versions, and reviews for conversion.
//!
//! `provider.json` was read from an API server: defaulted, with status, and with the managedFields of an applied
//! manifest and of a controller.

use mcp_hangar_webhooks::conversion;
use mcp_hangar_webhooks::observer::Silent;
use serde_json::{Value, json};

/// The stored object.
const STORED: &str = include_str!("provider.json");

/// The other version of one object, by the product itself.
pub(crate) fn converted(object: &str, to: &str) -> String {
    let reply = conversion::review(conversion_review(object, 1, to).as_bytes(), &Silent);
    let text = String::from_utf8(reply.body).unwrap();
    let (_, objects) = text.split_once(r#""convertedObjects":["#).expect("a conversion that works");
    objects.strip_suffix("]}}").unwrap().to_owned()
}

/// The provider in that version, as text in the API server's order of keys.
pub(crate) fn provider(version: &str) -> String {
    match version {
        "v1beta1" => STORED.trim_end().to_owned(),
        _ => sorted(&converted(STORED.trim_end(), version)),
    }
}

/// The v1beta1 provider with what only v1beta1 can say: its projection carries a stash.
pub(crate) fn provider_beyond_v1alpha1() -> String {
    let mut object: Value = serde_json::from_str(STORED).unwrap();
    object["spec"]["container"]["port"] = json!(8080);
    object["spec"]["container"]["env"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}));
    object.to_string()
}

/// Go writes keys in order, and so does `Value`.
fn sorted(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap().to_string()
}

/// A ConversionReview of `count` times that object.
pub(crate) fn conversion_review(object: &str, count: usize, to: &str) -> String {
    let objects = vec![object; count].join(",");
    format!(
        r#"{{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1","request":{{"uid":"6c1e8c6f-94a6-4d5b-9b7f-0d5a1a4f0c11","desiredAPIVersion":"mcp-hangar.io/{to}","objects":[{objects}]}}}}"#
    )
}

/// The review of an update that changes the image.
pub(crate) fn update(version: &str) -> String {
    let old = provider(version);
    let new = old.replace("mcp-tickets:2.3.0", "mcp-tickets:2.4.0");
    let kind = json!({"group": "mcp-hangar.io", "version": version, "kind": "MCPProvider"});
    let resource = json!({"group": "mcp-hangar.io", "version": version, "resource": "mcpproviders"});
    let user = json!({"username": "system:serviceaccount:argocd:argocd-application-controller",
        "uid": "4e2f31c1-0e9f-4f61-8a53-1d2c7c2f5a10",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:argocd", "system:authenticated"]});
    let options = json!({"kind": "PatchOptions", "apiVersion": "meta.k8s.io/v1", "force": true, "fieldManager": "kubectl"});
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"0b3c9a2e-3f0a-4c55-b5f0-52a9d0a1f7d2","kind":{kind},"resource":{resource},"requestKind":{kind},"requestResource":{resource},"name":"tickets","namespace":"default","operation":"UPDATE","userInfo":{user},"object":{new},"oldObject":{old},"dryRun":false,"options":{options}}}}}"#
    )
}
