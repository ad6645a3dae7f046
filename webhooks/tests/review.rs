//! Builds reviews and reads answers, for the tests of this crate.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of it")]
// clippy.toml allows these in test functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcp_hangar_webhooks::admission::{Webhook, review};
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use mcp_hangar_webhooks::policy::Policy;
use serde_json::{Value, json};

/// What the webhook said.
#[derive(Debug)]
pub struct Answer {
    pub allowed: bool,
    pub message: String,
    pub reason: String,
    pub code: u64,
    pub causes: Vec<Cause>,
    pub patch: Vec<Value>,
    pub warnings: Vec<String>,
}

/// One error of a denial.
#[derive(Debug)]
pub struct Cause {
    pub field: String,
    pub message: String,
    pub reason: String,
}

impl Answer {
    /// Every error as `field: message`.
    pub fn errors(&self) -> Vec<String> {
        self.causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }
}

/// An object that breaks no rule and holds little else.
pub fn minimal(kind: Kind, version: Version) -> Value {
    let spec = match (kind, version) {
        (Kind::Provider, Version::V1Alpha1) => {
            json!({"mode": "container", "image": "ghcr.io/acme/tools:1.4"})
        }
        (Kind::Provider, Version::V1Beta1) => {
            json!({"mode": "Container", "container": {"image": "ghcr.io/acme/tools:1.4"}})
        }
        (Kind::Group, _) => json!({"selector": {"matchLabels": {"team": "search"}}}),
        (Kind::Discovery, _) => json!({"type": "Namespace", "namespaceSelector": {}}),
    };
    json!({
        "apiVersion": version.api_version(),
        "kind": kind.name(),
        "metadata": {"name": "example", "namespace": "default"},
        "spec": spec,
    })
}

/// A JSON merge patch: `null` removes.
pub fn merged(mut base: Value, change: Value) -> Value {
    json_patch::merge(&mut base, &change);
    base
}

/// The review that the API server would send.
pub fn request(object: &Value, old: Option<&Value>) -> Value {
    let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": version, "kind": object["kind"]},
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": "kubectl"},
            "object": object,
            "oldObject": old,
        }
    })
}

/// Asks the webhook.
pub fn admit(webhook: Webhook, object: &Value, old: Option<&Value>, policy: &Policy) -> Answer {
    let body = serde_json::to_vec(&request(object, old)).unwrap();
    let reply = review(webhook, &body, policy, &Silent);
    assert_eq!(reply.status, 200);
    answer(&reply.body)
}

/// Reads an answer.
pub fn answer(body: &[u8]) -> Answer {
    let review: Value = serde_json::from_slice(body).unwrap();
    let response = &review["response"];
    let status = &response["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Answer {
        allowed: response["allowed"].as_bool().unwrap(),
        message: text(&status["message"]),
        reason: text(&status["reason"]),
        code: status["code"].as_u64().unwrap_or_default(),
        causes: status["details"]["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cause| Cause {
                field: text(&cause["field"]),
                message: text(&cause["message"]),
                reason: text(&cause["reason"]),
            })
            .collect(),
        patch: response["patch"]
            .as_str()
            .map(|patch| serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap())
            .unwrap_or_default(),
        warnings: response["warnings"].as_array().into_iter().flatten().map(text).collect(),
    }
}

/// The object after the patch.
pub fn patched(object: &Value, answer: &Answer) -> Value {
    let mut object = object.clone();
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(answer.patch.clone())).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}
