//! Which patch makes an object say what it should. Pure: JSON in, the smallest patch out.
//!
//! Only `clientConfig` is ours (and, in a CRD, that conversion goes to a webhook at all), and of it only what is wrong
//! is written, so that whoever rendered the rest stays its owner. Of a webhook configuration that the operator applied
//! itself, the rest of the entry is ours too, without the selectors ([`SELECTORS`]).

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
    /// It lacks something that is not ours to write.
    Lacking(String),
}

/// Compares an object (without its metadata) with what it should say.
pub fn decide(object: &Value, wanted: &Wanted) -> Decision {
    match wanted.place {
        Place::Entry(name) => configuration(object, name, wanted),
        Place::Conversion => crd(object, wanted),
    }
}

fn configuration(object: &Value, name: &str, wanted: &Wanted) -> Decision {
    let entries = object.get("webhooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some((index, entry)) =
        entries.iter().enumerate().find(|(_, entry)| entry.get("name").and_then(Value::as_str) == Some(name))
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
mod tests {
    use std::time::SystemTime;

    use mcp_hangar_webhooks::tls::Authority;

    use super::*;
    use crate::manifests::{self, BaseUrl};

    const ENTRY: &str = manifests::DEFAULT_ENTRY;

    fn bundle() -> Bundle {
        let now = SystemTime::now();
        Bundle::build([Authority::generate("test", now).unwrap().certificate_pem().as_str()], now).unwrap()
    }

    fn service() -> Endpoint {
        Endpoint::default_service("mcp-system")
    }

    fn url() -> Endpoint {
        Endpoint::Url(BaseUrl::parse("https://127.0.0.1:9443").unwrap())
    }

    fn entry(endpoint: &Endpoint, bundle: Option<&Bundle>) -> Value {
        let pem = bundle.map(|bundle| bundle.pem().as_bytes());
        serde_json::to_value(manifests::mutating("x", endpoint, pem)).unwrap()
    }

    fn crd(conversion: &Value) -> Value {
        let versions = VERSIONS.map(|name| json!({"name": name, "served": true}));
        json!({"spec": {"versions": versions, "conversion": conversion}})
    }

    fn conversion(endpoint: &Endpoint, bundle: Option<&Bundle>) -> Value {
        let pem = bundle.map(|bundle| bundle.pem().as_bytes());
        let client = endpoint.conversion(pem);
        json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}})
    }

    fn text(decision: Decision) -> Value {
        match decision {
            Decision::Patch { patch: Patch::Json(patch), .. } => serde_json::to_value(patch).unwrap(),
            Decision::Patch { patch: Patch::Merge(patch), .. } => patch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_configuration_that_is_right_is_left_alone() {
        let bundle = bundle();
        for endpoint in [service(), url()] {
            let wanted = Wanted::admission(&endpoint, &bundle, ENTRY, "/default");
            assert_eq!(decide(&entry(&endpoint, Some(&bundle)), &wanted), Decision::InSync);
        }
    }

    #[test]
    fn a_missing_bundle_is_added_behind_a_test_of_the_name() {
        let bundle = bundle();
        let patch = text(decide(
            &entry(&service(), None),
            &Wanted::admission(&service(), &bundle, ENTRY, "/default"),
        ));
        assert_eq!(patch[0], json!({"op": "test", "path": "/webhooks/0/name", "value": ENTRY}));
        assert_eq!(patch[1]["op"], "add");
        assert_eq!(patch[1]["path"], "/webhooks/0/clientConfig/caBundle");
        assert_eq!(patch.as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_address_of_another_kind_is_replaced() {
        let bundle = bundle();
        let wanted = Wanted::admission(&url(), &bundle, ENTRY, "/default");
        let patch = text(decide(&entry(&service(), Some(&bundle)), &wanted));
        assert_eq!(patch[1], json!({"op": "remove", "path": "/webhooks/0/clientConfig/service"}));
        assert_eq!(patch[2]["value"], "https://127.0.0.1:9443/default");
    }

    #[test]
    fn other_entries_are_not_touched() {
        let bundle = bundle();
        let mut object = entry(&service(), None);
        object["webhooks"].as_array_mut().unwrap().insert(0, json!({"name": "other.example.com"}));
        let patch = text(decide(&object, &Wanted::admission(&service(), &bundle, ENTRY, "/default")));
        assert_eq!(patch[0]["path"], "/webhooks/1/name");
        let wanted = Wanted::admission(&service(), &bundle, "gone.mcp-hangar.io", "/default");
        assert!(matches!(decide(&object, &wanted), Decision::Lacking(_)));
    }

    #[test]
    fn the_rest_of_an_entry_is_put_right_only_where_it_is_ours() {
        let bundle = bundle();
        let manifest = entry(&url(), Some(&bundle));
        let theirs = Wanted::admission(&url(), &bundle, ENTRY, "/default");
        let ours = theirs.clone().with_rest(&manifest);
        let mut object = manifest;
        object["webhooks"][0]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
        object["webhooks"][0]["rules"][0]["newer"] = json!(1);
        assert_eq!(decide(&object, &ours), Decision::InSync);
        object["webhooks"][0]["failurePolicy"] = json!("Ignore");
        object["webhooks"][0]["matchConditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "never", "expression": "false"}));
        assert_eq!(decide(&object, &theirs), Decision::InSync);
        let patch = text(decide(&object, &ours));
        assert_eq!(patch[1], json!({"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Fail"}));
        assert_eq!(patch[2]["path"], "/webhooks/0/matchConditions");
        assert_eq!(patch[2]["value"].as_array().unwrap().len(), 2);
        assert_eq!(patch.as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_crd_that_is_right_is_left_alone() {
        let bundle = bundle();
        for endpoint in [service(), url()] {
            let object = crd(&conversion(&endpoint, Some(&bundle)));
            assert_eq!(decide(&object, &Wanted::conversion(&endpoint, &bundle)), Decision::InSync);
        }
    }

    #[test]
    fn only_the_bundle_is_written_where_only_the_bundle_is_missing() {
        let bundle = bundle();
        let patch =
            text(decide(&crd(&conversion(&service(), None)), &Wanted::conversion(&service(), &bundle)));
        let client = patch.pointer("/spec/conversion/webhook/clientConfig").unwrap().as_object().unwrap();
        assert_eq!(client.keys().collect::<Vec<_>>(), ["caBundle"]);
        assert!(patch.pointer("/spec/conversion/strategy").is_none());
    }

    #[test]
    fn a_service_in_another_namespace_is_corrected() {
        let bundle = bundle();
        let elsewhere = Endpoint::default_service("tools");
        let object = crd(&conversion(&service(), Some(&bundle)));
        let patch = text(decide(&object, &Wanted::conversion(&elsewhere, &bundle)));
        assert_eq!(
            patch.pointer("/spec/conversion/webhook/clientConfig/service/namespace").unwrap(),
            "tools"
        );
        assert!(patch.pointer("/spec/conversion/webhook/clientConfig/caBundle").is_none());
    }

    #[test]
    fn a_url_that_was_left_behind_goes_away() {
        let bundle = bundle();
        let object = crd(&conversion(&url(), Some(&bundle)));
        let patch = text(decide(&object, &Wanted::conversion(&service(), &bundle)));
        assert_eq!(patch.pointer("/spec/conversion/webhook/clientConfig/url"), Some(&Value::Null));
    }

    #[test]
    fn strategy_none_becomes_a_webhook() {
        let bundle = bundle();
        let patch =
            text(decide(&crd(&json!({"strategy": "None"})), &Wanted::conversion(&service(), &bundle)));
        assert_eq!(patch.pointer("/spec/conversion/strategy").unwrap(), "Webhook");
        assert_eq!(
            patch.pointer("/spec/conversion/webhook/conversionReviewVersions").unwrap(),
            &json!(["v1"])
        );
    }

    #[test]
    fn a_crd_of_an_older_release_is_left_to_its_owner() {
        let object = json!({"spec": {"versions": [{"name": "v1alpha1", "served": true}]}});
        let decision = decide(&object, &Wanted::conversion(&service(), &bundle()));
        assert_eq!(decision, Decision::Lacking("it does not serve v1beta1".into()));
    }
}
