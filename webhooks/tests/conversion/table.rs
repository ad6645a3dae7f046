//! The table of moves against both schemas: no field without a row, no row without a field, and below a row the two
//! schemas say the same but for what the row names.

use std::collections::BTreeMap;

use mcp_hangar_webhooks::conversion::table::{
    BLOCKS, PROVIDER, Part, Row, by_block, by_hub, by_v1alpha1, is_v1alpha1_resource, provider_env_beyond,
};
use mcp_hangar_webhooks::kind::{Kind, Version};
use serde_json::Value;

use crate::generate::schema;

/// The schema of a provider spec, of the kind itself or of a discovery source's template.
fn spec(kind: Kind, version: Version) -> &'static Value {
    let spec = &schema(kind, version)["properties"]["spec"];
    match kind {
        Kind::Discovery => &spec["properties"]["providerTemplate"]["properties"]["spec"],
        _ => spec,
    }
}

fn fields(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
}

#[test]
fn every_declared_field_has_a_row() {
    for kind in [Kind::Provider, Kind::Discovery] {
        for (name, _) in fields(spec(kind, Version::V1Alpha1)) {
            assert!(by_v1alpha1(name).is_some(), "no row for spec.{name} of v1alpha1");
        }
        for (name, block) in fields(spec(kind, Version::V1Beta1)) {
            if BLOCKS.contains(&name) {
                for (inner, _) in fields(block) {
                    assert!(by_block(name, inner).is_some(), "no row for spec.{name}.{inner} of v1beta1");
                }
            } else {
                assert!(by_hub(name).is_some(), "no row for spec.{name} of v1beta1");
            }
        }
    }
}

#[test]
fn every_row_has_its_fields_and_the_two_say_the_same() {
    for kind in [Kind::Provider, Kind::Discovery] {
        let (alpha, hub) =
            (&spec(kind, Version::V1Alpha1)["properties"], &spec(kind, Version::V1Beta1)["properties"]);
        for row in PROVIDER {
            match *row {
                Row::Mode => {
                    let swapped: Vec<Value> = alpha["mode"]["enum"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|mode| {
                            let mode =
                                mcp_hangar_webhooks::conversion::table::swap_mode(mode.as_str().unwrap());
                            Value::from(mode.unwrap())
                        })
                        .collect();
                    assert_eq!(hub["mode"]["enum"], Value::Array(swapped));
                }
                Row::Same(name) => assert_same(name, &alpha[name], &hub[name]),
                Row::Moved(block, name) => assert_same(name, &alpha[name], &hub[block]["properties"][name]),
                Row::Narrowed(block, name, part) => {
                    narrowed(part, &alpha[name], &hub[block]["properties"][name]);
                }
                Row::HubOnly(block, name) => {
                    assert!(alpha.get(name).is_none(), "{name} is in v1alpha1");
                    assert!(hub[block]["properties"].get(name).is_some(), "{block}.{name} is not in v1beta1");
                }
            }
        }
    }
}

#[test]
fn groups_and_sources_are_the_same_in_both_versions() {
    for kind in [Kind::Group, Kind::Discovery] {
        let [alpha, hub] = Version::ALL.map(|version| {
            let mut schema = schema(kind, version)["properties"]["spec"].clone();
            if kind == Kind::Discovery {
                schema["properties"]["providerTemplate"]["properties"]["spec"] = Value::Null;
            }
            schema
        });
        assert_same("spec", &alpha, &hub);
    }
    for kind in Kind::ALL {
        let [alpha, hub] = Version::ALL.map(|version| &schema(kind, version)["properties"]["status"]);
        assert_same("status", alpha, hub);
    }
}

/// Equal but for the words.
fn assert_same(name: &str, alpha: &Value, hub: &Value) {
    assert!(alpha.is_object() && hub.is_object(), "{name} is missing in one of the versions");
    assert_eq!(without_words(alpha), without_words(hub), "{name}");
}

fn without_words(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => members
            .iter()
            .filter(|(key, value)| *key != "description" || !value.is_string())
            .map(|(key, value)| (key.clone(), without_words(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_words).collect(),
        other => other.clone(),
    }
}

/// Equal but for what the table says v1alpha1 lacks.
fn narrowed(part: Part, alpha: &Value, hub: &Value) {
    let mut hub = hub.clone();
    match part {
        Part::Env => {
            let sources = hub["items"]["properties"]["valueFrom"]["properties"].as_object_mut().unwrap();
            let before = sources.len();
            sources.retain(|name, _| !provider_env_beyond(name));
            assert_eq!(before - sources.len(), 2, "fieldRef and resourceFieldRef");
            assert_same("env", alpha, &hub);
        }
        Part::Resources => {
            for list in ["requests", "limits"] {
                let known: BTreeMap<&str, &Value> = fields(&alpha["properties"][list]).collect();
                assert_eq!(known.keys().copied().collect::<Vec<_>>(), ["cpu", "memory"]);
                for (name, amount) in known {
                    assert!(is_v1alpha1_resource(name));
                    assert_same(name, amount, &hub["properties"][list]["additionalProperties"]);
                }
            }
        }
    }
}
