//! Admission of objects that reach the rules: both webhooks agree, a patch applies and leaves nothing to patch, what is
//! let in can be read as the types, and an update that changes nothing is let in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcp_hangar_api::{GROUP, v1alpha1, v1beta1};
use mcp_hangar_webhooks::admission::{Webhook, review};
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use mcp_hangar_webhooks::policy::Policy;
use serde::Deserialize;
use serde_json::Value;

use crate::converting::{convert, is_from_the_api_server, pruned};
use crate::input::{self, choose, json_lines, other};

/// Lines of JSON: a spec, then annotations, then the spec of an old object.
pub fn admission(data: &[u8]) {
    let Some((choice, rest)) = choose(data) else { return };
    let Some(lines) = json_lines(rest) else { return };
    let Some(spec) = lines.first() else { return };
    let object = |spec| input::object(choice.kind, choice.version, spec, lines.get(1).copied(), None);
    let old = lines.get(2).map(|spec| object(spec));
    judge(choice.kind, choice.version, &object(spec), old.as_deref(), &choice.policy());
}

/// Only that there is an answer, and that it reads well.
pub(crate) fn answers(kind: Kind, version: Version, object: &str, policy: &Policy) {
    ask(Webhook::Default, kind, version, object, None, policy).reads_well();
}

/// All that must hold of the answers about one object.
pub(crate) fn judge(kind: Kind, version: Version, object: &str, old: Option<&str>, policy: &Policy) {
    let ask = |webhook, object: &str, old: Option<&str>| ask(webhook, kind, version, object, old, policy);
    if let Some(old) = old {
        for webhook in [Webhook::Default, Webhook::Validate] {
            ask(webhook, object, Some(old)).reads_well();
        }
    }
    let answer = ask(Webhook::Default, object, None);
    answer.reads_well();
    let judged = ask(Webhook::Validate, object, None);
    assert_eq!(answer.errors(), judged.errors(), "the two webhooks disagree about {object}");
    if answer.is_unreadable() {
        return;
    }
    for webhook in [Webhook::Default, Webhook::Validate] {
        let unchanged = ask(webhook, object, Some(object));
        assert!(unchanged.response.allowed, "{:?} without a change of {object}", unchanged.errors());
    }
    // A status may be anything, and is looked at by nobody.
    let is_a_tree = serde_json::from_str::<Value>(object).is_ok();
    if !answer.response.allowed || !is_a_tree || !is_from_the_api_server(object) {
        return;
    }
    let patched = patched(object, &answer);
    let again = ask(Webhook::Default, &patched, None);
    assert!(again.response.allowed, "{:?} after defaulting {patched}", again.errors());
    assert!(again.response.patch.is_none(), "{:?} is left to do for {patched}", again.patch());
    let judged = ask(Webhook::Validate, &patched, None);
    assert!(judged.response.allowed, "{:?} after defaulting {patched}", judged.errors());
    let Some(patched) = pruned(kind, version, &patched) else { return };
    let converted = convert(other(version), &patched);
    let judged = self::ask(Webhook::Validate, kind, other(version), &converted, None, policy);
    assert!(judged.response.allowed, "{:?} in the other version: {converted}", judged.errors());
    read(kind, version, &patched);
    read(kind, other(version), &converted);
}

fn patched(object: &str, answer: &Answer) -> String {
    let mut value: Value = serde_json::from_str(object).expect("what is let in is JSON");
    let patch = answer.patch();
    json_patch::patch(&mut value, &patch).unwrap_or_else(|error| panic!("{error}: {patch:?} of {object}"));
    value.to_string()
}

/// Reads the object as its typed self. Its status is the operator's own, and the schema holds that it is an object.
fn read(kind: Kind, version: Version, object: &str) {
    let mut object: Value = serde_json::from_str(object).expect("what is let in is JSON");
    if let Some(members) = object.as_object_mut() {
        members.retain(|key, value| key != "status" || value.is_object());
    }
    let object = as_go_writes(object).to_string();
    let object = object.as_str();
    let read = match (kind, version) {
        (Kind::Provider, Version::V1Alpha1) => {
            serde_json::from_str::<v1alpha1::MCPProvider>(object).map(drop)
        }
        (Kind::Group, Version::V1Alpha1) => {
            serde_json::from_str::<v1alpha1::MCPProviderGroup>(object).map(drop)
        }
        (Kind::Discovery, Version::V1Alpha1) => {
            serde_json::from_str::<v1alpha1::MCPDiscoverySource>(object).map(drop)
        }
        (Kind::Provider, Version::V1Beta1) => serde_json::from_str::<v1beta1::MCPProvider>(object).map(drop),
        (Kind::Group, Version::V1Beta1) => {
            serde_json::from_str::<v1beta1::MCPProviderGroup>(object).map(drop)
        }
        (Kind::Discovery, Version::V1Beta1) => {
            serde_json::from_str::<v1beta1::MCPDiscoverySource>(object).map(drop)
        }
    };
    if let Err(error) = read {
        panic!("{error}: {object}");
    }
}

/// The object as the API server writes it for controllers, having read it: `2.0` is `2`, and `-0` is `0`.
fn as_go_writes(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21 => {
                serde_json::from_str(&format!("{:.0}", float + 0.0)).expect("a whole number is JSON")
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(as_go_writes).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(key, value)| (key, as_go_writes(value))).collect()
        }
        other => other,
    }
}

#[derive(Deserialize)]
struct Answer {
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    uid: String,
    allowed: bool,
    patch: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    message: String,
    code: u16,
    #[serde(default)]
    details: Details,
}

#[derive(Deserialize, Default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    field: String,
    message: String,
}

impl Answer {
    fn causes(&self) -> &[Cause] {
        self.response.status.as_ref().map_or(&[], |status| status.details.causes.as_slice())
    }

    fn errors(&self) -> Vec<String> {
        self.causes().iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    fn is_unreadable(&self) -> bool {
        self.response.status.as_ref().is_some_and(|status| status.code == 400)
    }

    fn patch(&self) -> json_patch::Patch {
        let patch = self.response.patch.as_deref().unwrap_or("W10=");
        let patch = STANDARD.decode(patch).expect("a patch is base64");
        serde_json::from_slice(&patch).expect("a patch is RFC 6902")
    }

    /// One line each, bounded, with a code.
    fn reads_well(&self) {
        assert_eq!(self.response.uid, "u");
        assert_eq!(self.response.allowed, self.response.status.is_none());
        for cause in self.causes() {
            let Cause { field, message } = cause;
            assert!(!field.is_empty() && !field.chars().any(char::is_control), "{field:?}: {message}");
            assert!(!message.chars().any(char::is_control), "{field}: {message:?}");
            assert!(message.chars().count() <= 2000, "{field}: {message}");
            assert!(
                field == "…" || (message.contains(" [HGR") && message.ends_with(']')),
                "{field}: {message}"
            );
        }
        for warning in &self.response.warnings {
            assert!(warning.chars().count() <= 120 && !warning.chars().any(char::is_control), "{warning:?}");
        }
        if let Some(status) = &self.response.status {
            assert!(!status.message.is_empty());
            assert!(
                self.is_unreadable() || !status.message.chars().any(char::is_control),
                "{:?}",
                status.message
            );
        }
    }
}

fn ask(
    webhook: Webhook,
    kind: Kind,
    version: Version,
    object: &str,
    old: Option<&str>,
    policy: &Policy,
) -> Answer {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    let old = old.unwrap_or("null");
    let version = version.name();
    let body = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","kind":{{"group":"{GROUP}","version":"{version}","kind":"{kind}"}},"operation":"{operation}","name":"example","namespace":"default","options":{{"fieldManager":"kubectl"}},"object":{object},"oldObject":{old}}}}}"#
    );
    let reply = review(webhook, body.as_bytes(), policy, &Silent);
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).expect("an answer is a review")
}
