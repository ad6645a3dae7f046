//! Conversion through the review that the API server sends: never fails for an object of our kinds, and there and back
//! again is the same object, over the keys that are declared.

use std::collections::BTreeMap;

use mcp_hangar_api::annotation::CONVERSION_DATA;
use mcp_hangar_webhooks::conversion::{self as tested, stash as stashes};
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::generate::schema;
use crate::input::{self, choose, json_lines, other};
use crate::same::{self, Numbers, canonical, members};

/// Lines of JSON: a spec, then annotations, then a status.
pub fn conversion(data: &[u8]) {
    let Some((choice, rest)) = choose(data) else { return };
    let Some(lines) = json_lines(rest) else { return };
    let Some(spec) = lines.first() else { return };
    let object =
        input::object(choice.kind, choice.version, spec, lines.get(1).copied(), lines.get(2).copied());
    round_trip(choice.kind, choice.version, &object);
}

/// Any text as the annotation of a v1alpha1 object, which stands after a zero byte, or is a rich one.
pub fn stash(data: &[u8]) {
    let Some((choice, rest)) = choose(data) else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (text, spec) = text.split_once('\0').unwrap_or((text, ""));
    let spec = match (spec, choice.kind) {
        ("", Kind::Provider) => RICH.to_owned(),
        ("", Kind::Group) => r#"{"selector":{"matchLabels":{"team":"search"}}}"#.to_owned(),
        ("", Kind::Discovery) => {
            format!(r#"{{"type":"Namespace","namespaceSelector":{{}},"providerTemplate":{{"spec":{RICH}}}}}"#)
        }
        (spec, _) if serde_json::from_str::<&RawValue>(spec).is_ok() => spec.to_owned(),
        _ => return,
    };
    let annotations = format!(r#"{{"a":"b","{CONVERSION_DATA}":{}}}"#, same::quoted(text));
    let object = input::object(choice.kind, Version::V1Alpha1, &spec, Some(&annotations), None);
    round_trip(choice.kind, Version::V1Alpha1, &object);
    let hub = convert(Version::HUB, &object);
    if stashes::parse(text).is_none() {
        assert_eq!(
            annotation_of(&hub).as_deref(),
            Some(text),
            "what is no stash is an ordinary annotation and stays"
        );
    }
    round_trip(choice.kind, Version::HUB, &hub);
    crate::admitting::answers(choice.kind, Version::V1Alpha1, &object, &choice.policy());
}

/// A v1alpha1 provider whose every narrowed field has something to return to.
const RICH: &str = r#"{"mode":"container","image":"ghcr.io/acme/tools:1.4","endpoint":"https://tools.example.com/mcp","idleTTL":"5m","env":[{"name":"A"},{"name":"B","value":"b"},{"name":"C","valueFrom":{}},{"name":"D","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}],"resources":{"limits":{"cpu":1,"memory":"1Gi"},"requests":{}}}"#;

/// All that must hold of one object of our kinds, in whichever version it is.
pub(crate) fn round_trip(kind: Kind, version: Version, object: &str) {
    let numbers = match version {
        // What travels in the stash, and what a stash made anew is held against, is compared by value.
        Version::V1Beta1 => Numbers::ByValue,
        Version::V1Alpha1 if annotation_of(object).is_some() => Numbers::ByValue,
        Version::V1Alpha1 => Numbers::AsWritten,
    };
    // Whatever is sent is answered; what the API server sends it has pruned before.
    let Some(pruned) = pruned(kind, version, object).filter(|text| canonical(text, numbers).is_some()) else {
        answer(&review_of(other(version), object));
        return;
    };
    convert(other(version), object);
    let object = pruned.as_str();
    let spoke = convert(other(version), object);
    let back = convert(version, &spoke);
    let [wanted, back] = [object, &back].map(|text| match version {
        Version::V1Alpha1 => without_stash(text).and_then(|text| canonical(&text, numbers)),
        Version::V1Beta1 => canonical(text, numbers),
    });
    if is_from_the_api_server(object) {
        assert_eq!(wanted, back, "by way of {spoke}");
    }
    if version == Version::HUB
        && let Some(spec) = members(object).and_then(|members| members.get("spec").copied())
        && let Ok(mut spec) = Json::lazy(spec)
    {
        let (_, narrowed) = tested::project(kind, spec.clone());
        spec.expand_all();
        assert_eq!(tested::is_beyond_v1alpha1(kind, &spec), narrowed, "{object}");
    }
}

/// Whether its annotations are as the API server keeps them: a map of strings that is not empty, or absent.
pub(crate) fn is_from_the_api_server(object: &str) -> bool {
    let annotations = || members(members(object)?.get("metadata")?)?.get("annotations").copied().map(members);
    annotations().is_none_or(|annotations| {
        annotations.is_some_and(|annotations| {
            !annotations.is_empty() && annotations.values().all(|value| value.starts_with('"'))
        })
    })
}

/// The object as the API server prunes it; `None` where it cannot be read.
pub(crate) fn pruned(kind: Kind, version: Version, object: &str) -> Option<String> {
    let mut whole = owned(object)?;
    for part in ["spec", "status"] {
        if let Some(value) = whole.get_mut(part) {
            *value = known(&schema(kind, version)["properties"][part], value)?;
        }
    }
    Some(same::object(&whole))
}

/// What the schema knows of a value. One of another type is kept whole.
fn known(schema: &Value, text: &str) -> Option<String> {
    let text = text.trim();
    let (properties, rest) = (&schema["properties"], &schema["additionalProperties"]);
    if schema["type"] == "object" && text.starts_with('{') && (properties.is_object() || rest.is_object()) {
        let mut kept = BTreeMap::new();
        for (name, value) in members(text)? {
            let below = properties.get(&name).unwrap_or(rest);
            if below.is_object() {
                kept.insert(name, known(below, value)?);
            }
        }
        return Some(same::object(&kept));
    }
    if schema["type"] == "array" && text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let items: Option<Vec<String>> =
            items.into_iter().map(|item| known(&schema["items"], item.get())).collect();
        return Some(format!("[{}]", items?.join(",")));
    }
    Some(text.to_owned())
}

/// Changes one member of an object; anything else stays.
fn within(text: &str, name: &str, change: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    let Some(mut object) = open(text)? else { return Some(text.to_owned()) };
    if let Some(value) = object.get_mut(name) {
        *value = change(value)?;
    }
    Some(same::object(&object))
}

/// An object's members; `Some(None)` for what is none, `None` for one that cannot be read.
fn open(text: &str) -> Option<Option<BTreeMap<String, String>>> {
    if text.trim_start().starts_with('{') { owned(text).map(Some) } else { Some(None) }
}

fn owned(text: &str) -> Option<BTreeMap<String, String>> {
    Some(members(text)?.into_iter().map(|(key, value)| (key, value.to_owned())).collect())
}

/// The object without the annotation, and without annotations where there are no others.
fn without_stash(object: &str) -> Option<String> {
    within(object, "metadata", |metadata| {
        let mut metadata = owned(metadata)?;
        if let Some(annotations) = metadata.get("annotations").map(|text| open(text)) {
            if let Some(mut annotations) = annotations? {
                annotations.remove(CONVERSION_DATA);
                metadata.insert("annotations".into(), same::object(&annotations));
            }
            if metadata.get("annotations").is_some_and(|text| text == "{}") {
                metadata.remove("annotations");
            }
        }
        Some(same::object(&metadata))
    })
}

/// The text of the annotation.
fn annotation_of(object: &str) -> Option<String> {
    let whole = members(object)?;
    let metadata = members(whole.get("metadata")?)?;
    let annotations = members(metadata.get("annotations")?)?;
    serde_json::from_str(annotations.get(CONVERSION_DATA)?).ok()
}

/// What the webhook made of a review.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Converted {
    result: Outcome,
    converted_objects: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Outcome {
    status: String,
    #[serde(default)]
    message: String,
}

fn review_of(to: Version, object: &str) -> String {
    format!(r#"{{"request":{{"uid":"u","desiredAPIVersion":"{}","objects":[{object}]}}}}"#, to.api_version())
}

fn answer(body: &str) -> Converted {
    #[derive(Deserialize)]
    struct Review {
        response: Converted,
    }
    let reply = tested::review(body.as_bytes(), &Silent);
    assert_eq!(reply.status, 200);
    serde_json::from_slice::<Review>(&reply.body).expect("an answer is a review").response
}

/// One object in another version, as text; this never fails.
pub(crate) fn convert(to: Version, object: &str) -> String {
    let mut converted = answer(&review_of(to, object));
    assert_eq!(converted.result.status, "Success", "{}: {object}", converted.result.message);
    assert_eq!(converted.converted_objects.len(), 1);
    converted.converted_objects.remove(0).get().to_owned()
}
