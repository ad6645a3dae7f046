//! Which patch makes an object say what it should. Pure: JSON in, the smallest patch out.
//!
//! Only `clientConfig` is ours (and, in a CRD, that conversion goes to a webhook at all), and of it only what is wrong
//! is written, so that whoever rendered the rest stays its owner. Of a webhook configuration that the operator applied
//! itself, the rest of the entry is ours too, without the selectors ([`SELECTORS`]).

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::Patch;
use serde_json::{Map, Value, json};

use crate::manifests::{Endpoint, VERSIONS};
use crate::trust::Bundle;

/// Which objects are asked about is for whoever runs the cluster to say: written by nobody here, repaired by nobody.
pub const SELECTORS: [&str; 2] = ["namespaceSelector", "objectSelector"];

/// What `clientConfig` should say, and the rest of a webhook's entry where that is ours.
#[derive(Debug, Clone)]
pub struct Wanted {
    place: Place,
    ca_bundle: Value,
    service: Option<Value>,
    url: Option<Value>,
    rest: Map<String, Value>,
}

#[derive(Debug, Clone)]
enum Place {
    /// The entry of this name in a webhook configuration.
    Entry(&'static str),
    /// The conversion stanza of a CRD.
    Conversion,
}

impl Wanted {
    /// For the entry of a webhook configuration.
    pub fn admission(endpoint: &Endpoint, bundle: &Bundle, entry: &'static str, path: &str) -> Self {
        Self::new(Place::Entry(entry), endpoint, bundle, path)
    }

    /// For the conversion stanza of a CRD.
    pub fn conversion(endpoint: &Endpoint, bundle: &Bundle) -> Self {
        Self::new(Place::Conversion, endpoint, bundle, crate::manifests::CONVERT_PATH)
    }

    fn new(place: Place, endpoint: &Endpoint, bundle: &Bundle, path: &str) -> Self {
        let client = endpoint.admission(path, None);
        Self {
            place,
            ca_bundle: Value::String(STANDARD.encode(bundle.pem())),
            service: client.service.map(|service| {
                json!({"name": service.name, "namespace": service.namespace, "path": service.path, "port": service.port})
            }),
            url: client.url.map(Value::String),
            rest: Map::new(),
        }
    }

    /// The operator applies the whole configuration: every member of its first entry is ours, but for the selectors.
    pub fn with_rest(mut self, manifest: &Value) -> Self {
        let entry = manifest.pointer("/webhooks/0").and_then(Value::as_object).cloned().unwrap_or_default();
        let ours = |key: &str| !matches!(key, "name" | "clientConfig") && !SELECTORS.contains(&key);
        self.rest = entry.into_iter().filter(|(key, _)| ours(key)).collect();
        self
    }

    fn with_bundle(mut self, bundle: Value) -> Self {
        self.ca_bundle = bundle;
        self
    }

    /// `clientConfig` of an object, where it has one.
    fn client<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        match self.place {
            Place::Entry(name) => {
                entries(object).iter().find(|entry| is_named(entry, name))?.get("clientConfig")
            }
            Place::Conversion => object.pointer("/spec/conversion/webhook/clientConfig"),
        }
    }

    /// The keys of `clientConfig` that are wrong, each with what it should be; `None` means gone.
    fn differences(&self, current: Option<&Value>) -> Vec<(&'static str, Option<&Value>)> {
        let fields = [
            ("caBundle", Some(&self.ca_bundle)),
            ("service", self.service.as_ref()),
            ("url", self.url.as_ref()),
        ];
        fields
            .into_iter()
            .filter(|(key, wanted)| current.and_then(|current| current.get(key)) != *wanted)
            .collect()
    }
}

/// What to do about an object.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Nothing.
    InSync,
    /// Write this.
    Patch {
        /// The patch.
        patch: Patch<Value>,
        /// Whether it takes something away, which applying the whole object would not.
        removes: bool,
    },
    /// It differs in what only the leader mends.
    Left,
    /// It lacks something that is not ours to write.
    Lacking(String),
}

/// The same for a replica that does not lead: it mends a target that does not trust it and, beside a cluster (`alone`),
/// whatever else is wrong. What a bundle holds beyond our own need may be needed by others, so it stays.
pub fn decide_for_follower(
    object: &Value,
    wanted: &Wanted,
    bundle: &Bundle,
    alone: bool,
    now: SystemTime,
) -> Decision {
    let decision = decide(object, wanted);
    if !matches!(decision, Decision::Patch { .. }) {
        return decision;
    }
    let current = wanted.client(object).and_then(|client| client.get("caBundle"));
    let found = current.and_then(decode).unwrap_or_default();
    let wanted = match current {
        Some(_) if bundle.is_enough_in(&found) && !alone => return Decision::Left,
        Some(current) if bundle.is_enough_in(&found) => wanted.clone().with_bundle(current.clone()),
        _ => {
            let joined = bundle.joined_with(&found, now);
            wanted.clone().with_bundle(Value::String(STANDARD.encode(joined.pem())))
        }
    };
    match decide(object, &wanted) {
        Decision::InSync => Decision::Left,
        decision => decision,
    }
}

/// The Service of another operator, where the object leads to it.
pub fn rival(object: &Value, wanted: &Wanted) -> Option<String> {
    let name = |service: &Value| {
        let part = |key| service.get(key).and_then(Value::as_str).unwrap_or_default();
        format!("{}/{}", part("namespace"), part("name"))
    };
    let ours = name(wanted.service.as_ref()?);
    let found = name(wanted.client(object)?.get("service")?);
    (found != ours).then_some(found)
}

/// The text of a `caBundle`.
pub fn decode(bundle: &Value) -> Option<String> {
    bundle
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
}

fn entries(configuration: &Value) -> &[Value] {
    configuration.get("webhooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn is_named(entry: &Value, name: &str) -> bool {
    entry.get("name").and_then(Value::as_str) == Some(name)
}

/// Compares an object (without its metadata) with what it should say.
pub fn decide(object: &Value, wanted: &Wanted) -> Decision {
    match wanted.place {
        Place::Entry(name) => configuration(object, name, wanted),
        Place::Conversion => crd(object, wanted),
    }
}

fn configuration(object: &Value, name: &str, wanted: &Wanted) -> Decision {
    let Some((index, entry)) = entries(object).iter().enumerate().find(|(_, entry)| is_named(entry, name))
    else {
        return Decision::Lacking(format!("it has no webhook named {name}"));
    };
    let differences = wanted.differences(entry.get("clientConfig"));
    let rest: Vec<_> = wanted.rest.iter().filter(|(key, ours)| !says(entry.get(*key), ours)).collect();
    if differences.is_empty() && rest.is_empty() {
        return Decision::InSync;
    }
    let removes = removes(&differences);
    // The list has no keys here: the test makes sure that it is still this entry.
    let mut operations =
        vec![json!({"op": "test", "path": format!("/webhooks/{index}/name"), "value": name})];
    operations.extend(differences.into_iter().map(|(key, value)| {
        let path = format!("/webhooks/{index}/clientConfig/{key}");
        match value {
            Some(value) => json!({"op": "add", "path": path, "value": value}),
            None => json!({"op": "remove", "path": path}),
        }
    }));
    operations.extend(
        rest.into_iter().map(
            |(key, ours)| json!({"op": "add", "path": format!("/webhooks/{index}/{key}"), "value": ours}),
        ),
    );
    match serde_json::from_value(Value::Array(operations)) {
        Ok(patch) => Decision::Patch { patch: Patch::Json(patch), removes },
        Err(error) => Decision::Lacking(format!("failed to write patch: {error}")),
    }
}

/// Whether it says what we say. A member that only a newer API server knows is no difference, or it would be written for
/// ever; one more list item is.
fn says(current: Option<&Value>, ours: &Value) -> bool {
    match (current, ours) {
        (Some(Value::Object(current)), Value::Object(ours)) => {
            ours.iter().all(|(key, ours)| says(current.get(key), ours))
        }
        (Some(Value::Array(current)), Value::Array(ours)) => {
            current.len() == ours.len()
                && current.iter().zip(ours).all(|(current, ours)| says(Some(current), ours))
        }
        (current, ours) => current == Some(ours),
    }
}

fn crd(object: &Value, wanted: &Wanted) -> Decision {
    let served: Vec<&str> = object
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|version| version.get("served").and_then(Value::as_bool) == Some(true))
        .filter_map(|version| version.get("name").and_then(Value::as_str))
        .collect();
    if let Some(lacking) = VERSIONS.iter().find(|version| !served.contains(version)) {
        return Decision::Lacking(format!("it does not serve {lacking}"));
    }
    let conversion = object.pointer("/spec/conversion");
    let differences =
        wanted.differences(conversion.and_then(|conversion| conversion.pointer("/webhook/clientConfig")));
    let by_webhook = conversion.and_then(|conversion| conversion.get("strategy")).and_then(Value::as_str)
        == Some("Webhook");
    if by_webhook && differences.is_empty() {
        return Decision::InSync;
    }
    let removes = removes(&differences);
    let client: Map<String, Value> = differences
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.cloned().unwrap_or(Value::Null)))
        .collect();
    let mut patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": client}}}});
    if !by_webhook && let Some(conversion) = patch.pointer_mut("/spec/conversion") {
        // Never left at None, which relabels and prunes.
        if let Some(conversion) = conversion.as_object_mut() {
            conversion.insert("strategy".into(), json!("Webhook"));
        }
        if let Some(webhook) = conversion.pointer_mut("/webhook").and_then(Value::as_object_mut) {
            webhook.insert("conversionReviewVersions".into(), json!(["v1"]));
        }
    }
    Decision::Patch { patch: Patch::Merge(patch), removes }
}

fn removes(differences: &[(&'static str, Option<&Value>)]) -> bool {
    differences.iter().any(|(_, value)| value.is_none())
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
