//! Values that the rules take, field by field: what [`super::generate`] fills a schema with when an object should be
//! let in.
//!
//! Whoever asks filters by the webhook's answer, so a clash now and then does no harm; most objects pass.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcp_hangar_webhooks::kind::{Kind, Version};
use serde_json::Value;

use super::generate::{Node, Tape};

/// A spec that holds what its mode or type needs.
pub(crate) fn spec(kind: Kind, version: Version, schema: &Value, tape: &mut Tape<'_>) -> Node {
    let mut spec = fill(schema, &mut vec!["spec"], tape);
    match kind {
        Kind::Provider => needed_by_mode(version, &mut spec),
        Kind::Group => {}
        Kind::Discovery => {
            let block = match spec.get("type") {
                Some(Node::Raw(text)) if text == "\"Namespace\"" => "namespaceSelector",
                Some(Node::Raw(text)) if text == "\"ConfigMap\"" => "configMapRef",
                Some(Node::Raw(text)) if text == "\"Annotations\"" => "annotations",
                _ => "serviceDiscovery",
            };
            if spec.get(block).is_none() {
                spec.members().push((block.into(), Node::Map(Vec::new())));
            }
        }
    }
    spec
}

fn needed_by_mode(version: Version, spec: &mut Node) {
    let is_remote = spec.get("mode").is_some_and(|mode| mode.write(0).eq_ignore_ascii_case("\"remote\""));
    let (block, field, value) = if is_remote {
        ("remote", "endpoint", "https://tools.example.com/mcp")
    } else {
        ("container", "image", "ghcr.io/acme/tools:1.4")
    };
    let place = if version == Version::HUB {
        if spec.get(block).is_none() {
            spec.members().push((block.into(), Node::Map(Vec::new())));
        }
        let found = spec.members().iter_mut().find(|(key, _)| key == block);
        &mut found.unwrap().1
    } else {
        spec
    };
    if place.get(field).is_none() {
        place.members().push((field.into(), Node::text(value)));
    }
}

/// A value that fits; `path` says where.
fn fill<'s>(schema: &'s Value, path: &mut Vec<&'s str>, tape: &mut Tape<'_>) -> Node {
    let name = path.last().copied().unwrap_or_default();
    match schema["type"].as_str() {
        Some("object") if schema["additionalProperties"].is_object() => map(schema, path, tape),
        Some("object") => object(schema, path, tape),
        Some("array") => list(schema, path, tape),
        Some("boolean") => Node::Raw(["false", "true"][tape.pick(2)].into()),
        Some("integer" | "number") => {
            let least = schema["minimum"].as_i64().unwrap_or(0).max(0);
            let greatest = schema["maximum"].as_i64().unwrap_or(1000).min(least + 1000);
            Node::Raw([least, greatest, i64::midpoint(least, greatest)][tape.pick(3)].to_string())
        }
        // Which profile, no field says.
        Some("string") if path.contains(&"seccompProfile") => {
            let profile = tape.one_of(&["RuntimeDefault", "Unconfined"]);
            Node::text(profile)
        }
        Some("string") => match schema["enum"].as_array() {
            Some(allowed) => Node::Raw(tape.one_of(allowed).to_string()),
            None => text(name, path, tape),
        },
        _ if schema["x-kubernetes-int-or-string"] == true => quantity(path, tape),
        _ => Node::Raw((*tape.one_of(&["0.25", "\"0.1\"", "1", "\"1\"", "0"])).into()),
    }
}

fn map<'s>(schema: &'s Value, path: &mut Vec<&'s str>, tape: &mut Tape<'_>) -> Node {
    let keys = match path.last().copied() {
        Some("requests" | "limits") => ["cpu", "memory", "nvidia.com/gpu"],
        _ => ["app", "example.com/Tier_1", "a.b"],
    };
    let mut members = Vec::new();
    for key in keys {
        if tape.pick(3) == 1 {
            path.push("{}");
            members.push((key.to_owned(), fill(&schema["additionalProperties"], path, tape)));
            path.pop();
        }
    }
    Node::Map(members)
}

/// What a block, or an item of a list, must have.
const NEEDED: [(&str, &[&str]); 9] = [
    ("secretKeyRef", &["name", "key"]),
    ("configMapKeyRef", &["name", "key"]),
    ("fieldRef", &["fieldPath"]),
    ("resourceFieldRef", &["resource"]),
    ("secret", &["secretName"]),
    ("configMap", &["name"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("configMapRef", &["name"]),
    ("[]", &["name", "secretKeyRef", "key", "path"]),
];

/// Of these fields an object has exactly one, where it has any of them.
const ONE_OF: [&[&str]; 4] = [
    &["value", "valueFrom"],
    &["secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"],
    &["secret", "configMap", "persistentVolumeClaim", "emptyDir"],
    &["allowList", "denyList"],
];

fn object<'s>(schema: &'s Value, path: &mut Vec<&'s str>, tape: &mut Tape<'_>) -> Node {
    match path.last().copied() {
        Some("tolerations[]") => return toleration(tape),
        Some("matchExpressions[]") => return expression(tape),
        _ => {}
    }
    let declared = schema["properties"].as_object();
    let has = |name: &str| declared.is_some_and(|declared| declared.contains_key(name));
    let mut chosen = Vec::new();
    for group in ONE_OF.iter().filter(|group| has(group[0]) && has(group[1])) {
        let known: Vec<&str> = group.iter().copied().filter(|name| has(name)).collect();
        chosen.push((known.clone(), known[tape.pick(known.len())]));
    }
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let block = path.last().copied().unwrap_or_default();
    let needed = NEEDED.iter().find(|(known, _)| *known == block).map_or(&[][..], |(_, fields)| fields);
    let mut members = Vec::new();
    for (name, property) in declared.into_iter().flatten() {
        let wanted = match chosen.iter().find(|(known, _)| known.contains(&name.as_str())) {
            Some((known, _)) if known.contains(&"allowList") && tape.pick(2) == 0 => false,
            Some((_, one)) => one == name,
            None => required(name) || needed.contains(&name.as_str()) || tape.pick(3) == 1,
        };
        if wanted {
            path.push(name);
            members.push((name.clone(), fill(property, path, tape)));
            path.pop();
        }
    }
    Node::Map(members)
}

fn list<'s>(schema: &'s Value, path: &mut Vec<&'s str>, tape: &mut Tape<'_>) -> Node {
    let item = match path.last().copied() {
        Some("tolerations") => "tolerations[]",
        Some("matchExpressions") if !path.contains(&"affinity") => "matchExpressions[]",
        _ => "[]",
    };
    let distinct = schema["items"]["enum"].as_array();
    let count = tape.pick(3).min(distinct.map_or(3, Vec::len));
    let mut items = Vec::new();
    for index in 0..count {
        path.push(item);
        let value = match distinct {
            Some(allowed) => Node::Raw(allowed[index].to_string()),
            None => numbered(fill(&schema["items"], path, tape), index),
        };
        items.push(value);
        path.pop();
    }
    Node::List(items)
}

/// The item with its name, and its mount path, made different from the others'.
fn numbered(mut item: Node, index: usize) -> Node {
    let rename = |value: &mut Node| {
        if let Node::Raw(text) = value
            && text.starts_with('"')
        {
            *text = format!("{}{index}\"", &text[..text.len() - 1]);
        }
    };
    match &mut item {
        Node::Map(members) => {
            members
                .iter_mut()
                .filter(|(key, _)| key == "name" || key == "mountPath")
                .for_each(|(_, value)| rename(value));
        }
        raw => rename(raw),
    }
    item
}

fn text(name: &str, path: &[&str], tape: &mut Tape<'_>) -> Node {
    let values: &[&str] = match name {
        "idleTTL" | "retryDelay" | "shutdownGracePeriod" => &["0s", "30s", "1h30m", "1.5h", "500ms"],
        "timeout" => &["1s", "500ms", "2s"],
        "interval" => &["30s", "2s", "3s", "5s", "1m"],
        "refreshInterval" | "startupTimeout" | "resetTimeout" | "ttl" => &["1s", "90s", "1h"],
        "image" => &[
            "nginx",
            "ghcr.io/acme/tools:1.4",
            "localhost:5000/a/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ],
        "endpoint" => &["https://tools.example.com/mcp", "http://10.0.0.1:8080/"],
        "workingDir" | "mountPath" => &["/data", "/", "/a b"],
        "path" if path.contains(&"items") => &["a", "a/b"],
        "path" => &["/", "/mcp/v2"],
        "subPath" => &["", "a/b"],
        "caBundle" => return Node::text(&BUNDLE),
        "header" => &["X-Session-Id"],
        "annotationPrefix" => &["mcp-hangar.io", "example.com"],
        "value" => &["", "a value", "ünïcödé", "$(A)"],
        "apiVersion" => &["v1"],
        "fieldPath" => &["metadata.namespace"],
        "resource" => &["limits.cpu"],
        "namespace" => &["default"],
        "operator" => &["In", "Exists"],
        "{}" if path.contains(&"annotations") => &["anything at all"],
        "{}" => &["", "gold"],
        _ => &["a", "name-1", "tools"],
    };
    Node::text(values[tape.pick(values.len())])
}

fn quantity(path: &[&str], tape: &mut Tape<'_>) -> Node {
    let values: &[&str] = if path.contains(&"requests") {
        &["\"500m\"", "1", "\"0.5\"", "\"1\""]
    } else {
        &["2", "\"4Gi\"", "\"2.5\"", "\"1e3\""]
    };
    Node::Raw((*tape.one_of(values)).into())
}

fn toleration(tape: &mut Tape<'_>) -> Node {
    let all = [
        r#"{"operator":"Exists"}"#,
        r#"{"key":"gpu","operator":"Equal","value":"yes","effect":"NoSchedule"}"#,
        r#"{"key":"gpu","operator":"Exists","effect":"NoExecute","tolerationSeconds":60}"#,
    ];
    Node::Raw((*tape.one_of(&all)).into())
}

fn expression(tape: &mut Tape<'_>) -> Node {
    let all = [
        r#"{"key":"tier","operator":"In","values":["gold",""]}"#,
        r#"{"key":"a.b/c","operator":"DoesNotExist"}"#,
        r#"{"key":"tier","operator":"Exists","values":[]}"#,
    ];
    Node::Raw((*tape.one_of(&all)).into())
}

/// A CA bundle that can be read.
static BUNDLE: LazyLock<String> = LazyLock::new(|| {
    let pem = rcgen::generate_simple_self_signed(vec!["example.com".into()]).unwrap().cert.pem();
    STANDARD.encode(pem)
});
