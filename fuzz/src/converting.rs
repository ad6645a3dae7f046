//! Conversion through the review that the API server sends: never fails for an object of our kinds, and there and back
//! again is the same object, over the keys that are declared.

use std::collections::BTreeMap;

use mcp_hangar_api::annotation::CONVERSION_DATA;
use mcp_hangar_webhooks::conversion::{self as tested, stash as stashes, table};
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use serde::Deserialize;
use serde_json::value::RawValue;

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
    crate::admitting::judge(choice.kind, Version::V1Alpha1, &object, None, &choice.policy());
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
    let Some(wanted) = declared(kind, version, object).and_then(|text| canonical(&text, numbers)) else {
        answer(&review_of(other(version), object));
        return;
    };
    let spoke = convert(other(version), object);
    let back = convert(version, &spoke);
    let shown = |text: &str| canonical(&declared(kind, version, text).expect("an object"), numbers);
    let wanted = if version == Version::V1Alpha1 { without_stash(&wanted) } else { Some(wanted) };
    let back = shown(&back)
        .and_then(|back| if version == Version::V1Alpha1 { without_stash(&back) } else { Some(back) });
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
fn is_from_the_api_server(object: &str) -> bool {
    let annotations = || members(members(object)?.get("metadata")?)?.get("annotations").copied().map(members);
    annotations().is_none_or(|annotations| {
        annotations.is_some_and(|annotations| {
            !annotations.is_empty() && annotations.values().all(|value| value.starts_with('"'))
        })
    })
}

/// The object without the keys of provider specs that its version does not declare, which are pruned anyway.
fn declared(kind: Kind, version: Version, object: &str) -> Option<String> {
    let mut whole = owned(object)?;
    let Some(spec) = whole.get("spec").cloned() else { return Some(same::object(&whole)) };
    let spec = match kind {
        Kind::Provider => declared_provider(version, &spec)?,
        Kind::Group => spec,
        Kind::Discovery => within(&spec, "providerTemplate", |template| {
            within(template, "spec", |spec| declared_provider(version, spec))
        })?,
    };
    whole.insert("spec".into(), spec);
    Some(same::object(&whole))
}

fn declared_provider(version: Version, spec: &str) -> Option<String> {
    let Some(mut spec) = open(spec)? else { return Some(spec.to_owned()) };
    match version {
        Version::V1Alpha1 => spec.retain(|name, _| table::by_v1alpha1(name).is_some()),
        Version::V1Beta1 => {
            spec.retain(|name, _| table::by_hub(name).is_some() || table::BLOCKS.contains(&name.as_str()));
            for block in table::BLOCKS {
                let Some(value) = spec.get_mut(*block) else { continue };
                let Some(mut inner) = open(value)? else { continue };
                inner.retain(|name, _| table::by_block(block, name).is_some());
                *value = same::object(&inner);
            }
        }
    }
    Some(same::object(&spec))
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
