//! There and back again, over generated objects and over every declared place with every odd value: identical, in both
//! directions, whatever stands in the spec.
//!
//! The API server drops nulls and an empty `metadata.annotations` before it asks, so neither is made in metadata.

use mcp_hangar_webhooks::conversion as tested;
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::validation::report::Report;
use mcp_hangar_webhooks::validation::schema as judged;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::generate::{NO_STASH, Node, Taste, object, odd_values, only, places, schema};
use crate::text::{Numbers, canonical, member};
use crate::{convert, other};

const STASH: &str = "mcp-hangar.io/conversion-data";

fn choices() -> impl Strategy<Value = Vec<u16>> {
    vec(any::<u16>(), 0..500)
}

/// All that must hold of one object, in whichever version it is.
fn check(kind: Kind, version: Version, object: &str) {
    let spoke = convert(other(version), object);
    let back = convert(version, &spoke);
    // What travels in the stash is compared by value; nothing else is ever read as a number.
    let numbers = if version == Version::HUB { Numbers::ByValue } else { Numbers::AsWritten };
    let [before, after] = [object, &back].map(|text| canonical(text, numbers));
    assert_eq!(before, after, "by way of {spoke}");
    assert_eq!(member(object, "status"), member(&spoke, "status"), "status is no matter of conversion");
    let [before, after] =
        [object, &spoke].map(|text| without_annotations(&member(text, "metadata").unwrap()));
    assert_eq!(before, after, "of metadata only annotations may change");
    if version == Version::HUB && spoke.contains(STASH) && !spoke.contains(NO_STASH) {
        let mut without = Json::lazy(&spoke).unwrap();
        let metadata = without.expand_object().unwrap().get_mut("metadata").unwrap().expand_object().unwrap();
        metadata.get_mut("annotations").unwrap().expand_object().unwrap().remove(STASH);
        let mut text = String::new();
        without.write(&mut text);
        let [carried, lost] = [object, &convert(version, &text)].map(|text| member(text, "spec"));
        let [carried, lost] = [carried, lost].map(|spec| canonical(&spec.unwrap(), numbers));
        assert_ne!(carried, lost, "there was nothing to carry: {spoke}");
    }
    let mut undeclared = Vec::new();
    for part in ["spec", "status"] {
        if let Some(text) = member(&spoke, part) {
            let schema = &schema(kind, other(version))["properties"][part];
            find_undeclared(schema, Json::lazy(&text).unwrap(), part, &mut undeclared);
        }
    }
    assert!(undeclared.is_empty(), "{undeclared:?} not declared in {spoke}");
}

fn without_annotations(metadata: &str) -> String {
    let mut metadata = Json::lazy(metadata).unwrap();
    metadata.expand_object().unwrap().remove("annotations");
    metadata.canonical()
}

/// Fields that the schema does not have. Values of another type are not looked into.
fn find_undeclared(schema: &Value, mut value: Json<'_>, path: &str, found: &mut Vec<String>) {
    value.expand();
    match (schema["type"].as_str(), value) {
        (Some("object"), Json::Object(members)) => {
            for (key, value) in members {
                let path = format!("{path}.{key}");
                let below = match schema["properties"].get(&*key) {
                    Some(below) => below,
                    None => &schema["additionalProperties"],
                };
                if below.is_object() {
                    find_undeclared(below, value, &path, found);
                } else {
                    found.push(path);
                }
            }
        }
        (Some("array"), Json::Array(items)) => {
            items
                .into_iter()
                .for_each(|item| find_undeclared(&schema["items"], item, &format!("{path}[]"), found));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_objects_come_back_identical(choices in choices(), order in any::<u64>()) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                check(kind, version, &object(kind, version, Taste::Wild, &choices).write(order));
            }
        }
    }

    #[test]
    fn what_is_converted_depends_neither_on_key_order_nor_on_escapes(choices in choices(), order in 1..u64::MAX) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                let object = object(kind, version, Taste::Wild, &choices);
                let plain = convert(other(version), &object.write(0));
                prop_assert_eq!(&plain, &convert(other(version), &object.write(0)));
                let shuffled = convert(other(version), &object.write(order));
                let [plain, shuffled] = [plain, shuffled].map(|text| canonical(&text, Numbers::AsWritten));
                prop_assert_eq!(plain, shuffled);
            }
        }
    }

    #[test]
    fn the_quick_answer_whether_something_is_beyond_v1alpha1_is_the_right_one(choices in choices()) {
        for kind in Kind::ALL {
            let object = object(kind, Version::HUB, Taste::Wild, &choices);
            let text = object.get("spec").unwrap().write(0);
            let mut spec = Json::lazy(&text).unwrap();
            let (_, narrowed) = tested::project(kind, spec.clone());
            spec.expand_all();
            prop_assert_eq!(tested::is_beyond_v1alpha1(kind, &spec), narrowed);
        }
    }

    #[test]
    fn what_passes_one_schema_passes_the_other(choices in choices()) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                let object = object(kind, version, Taste::Sensible, &choices).write(0);
                prop_assert!(passes_schema(kind, version, &object), "{}", object);
                let converted = convert(other(version), &object);
                prop_assert!(passes_schema(kind, other(version), &converted), "{}", converted);
            }
        }
    }
}

fn passes_schema(kind: Kind, version: Version, object: &str) -> bool {
    let spec = member(object, "spec").unwrap();
    let mut report = Report::new(kind, version);
    judged::judge(&Json::parse(&spec).unwrap(), &mut report, kind, version);
    report.is_clean()
}

#[test]
fn every_declared_place_holds_anything_and_brings_it_back() {
    let odd: Vec<Node> = odd_values().collect();
    let mut checked = 0;
    for kind in Kind::ALL {
        for version in Version::ALL {
            for part in ["spec", "status"] {
                let schema = &schema(kind, version)["properties"][part];
                places(schema, &mut vec![part], &mut |path, schema| {
                    // The trees of affinity are one value to conversion; a few of their places stand for all.
                    if path.contains(&"affinity") && path.len() > 7 {
                        return;
                    }
                    for value in &odd {
                        let is_undeclared = schema["properties"].is_object() && value.write(0).contains(":");
                        if !is_undeclared {
                            check(kind, version, &only(kind, version, path, value.clone()).write(0));
                            checked += 1;
                        }
                    }
                });
            }
        }
    }
    assert!(checked > 10_000, "{checked}");
}

#[test]
fn the_generator_reaches_every_declared_place() {
    for kind in Kind::ALL {
        for version in Version::ALL {
            let mut wanted = std::collections::BTreeSet::new();
            places(&schema(kind, version)["properties"]["spec"], &mut Vec::new(), &mut |path, _| {
                if !path.contains(&"affinity") && !path.contains(&"{}") && !path.contains(&"providerTemplate")
                {
                    wanted.insert(path.join("."));
                }
            });
            let mut state = 1_u64;
            for _ in 0..4000 {
                if wanted.is_empty() {
                    break;
                }
                let choices: Vec<u16> = std::iter::repeat_with(|| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 40) as u16
                })
                .take(500)
                .collect();
                let object = object(kind, version, Taste::Wild, &choices);
                strike(object.get("spec").unwrap(), &mut Vec::new(), &mut wanted);
            }
            assert!(wanted.is_empty(), "{kind} {version}: {wanted:?}");
        }
    }
}

fn strike<'n>(node: &'n Node, path: &mut Vec<&'n str>, wanted: &mut std::collections::BTreeSet<String>) {
    wanted.remove(&path.join("."));
    let below: Vec<(&str, &Node)> = match node {
        Node::Raw(_) => Vec::new(),
        Node::List(items) => items.iter().map(|item| ("[]", item)).collect(),
        Node::Map(members) => members.iter().map(|(key, value)| (key.as_str(), value)).collect(),
    };
    for (step, node) in below {
        path.push(step);
        strike(node, path, wanted);
        path.pop();
    }
}

#[test]
fn the_annotation_is_there_exactly_when_something_is_beyond_v1alpha1() {
    let plain = r#"{"apiVersion":"mcp-hangar.io/v1beta1","kind":"MCPProvider","metadata":{"name":"a"},"spec":{"mode":"Container","container":{"image":"nginx"},"lifecycle":{"idleTTL":"5m"}}}"#;
    assert!(!convert(Version::V1Alpha1, plain).contains(STASH));
    let beyond = plain.replace(r#""image":"nginx""#, r#""image":"nginx","port":9000"#);
    assert!(convert(Version::V1Alpha1, &beyond).contains(STASH));
}
