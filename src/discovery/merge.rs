//! From what was found to the MCPProvider to write: the template first, what was found wins, then the webhook's rules.
//!
//! In: a spec as it was found, its name and origin, the source's template. Out: the whole object in v1beta1, or what a
//! rule says of it, in the form in which it was found. Objects are merged key by key, lists as a whole; a null takes the
//! template's value away. Writing is left to others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mcp_hangar_api::GROUP;
use mcp_hangar_api::annotation::{CONVERSION_DATA, DISCOVERED_BY, DISCOVERED_HASH, LAST_ACTIVITY, WAKE};
use mcp_hangar_api::v1beta1::discovery::ProviderTemplate;
use mcp_hangar_webhooks::conversion;
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::{ImageDigestPolicy, Policy};
use mcp_hangar_webhooks::validation::{Metadata, Subject, judge};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::found::{Form, Origin, Spec};
use super::mark::Claim;

/// Whose providers are made.
#[derive(Debug, Clone, Copy)]
pub struct Maker<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Its namespace, where its providers live.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// Whether it owns them.
    pub controller: bool,
    /// What they start from.
    pub template: &'a ProviderTemplate,
    /// The operator's.
    pub policy: &'a Policy,
}

/// A provider as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// The whole object.
    pub object: Value,
    /// Of what the source says, with a seal; kept in an annotation.
    pub hash: String,
}

impl Maker<'_> {
    /// How the source knows its own.
    pub const fn claim(&self) -> Claim<'_> {
        Claim { source: self.source, namespace: self.namespace, uid: self.uid }
    }

    /// The provider, not judged yet.
    pub fn make(&self, name: &str, origin: &Origin, spec: &Spec) -> Wish {
        let found = match spec.form {
            Form::Blocks => Value::Object(spec.members.clone()),
            Form::Flat => widened(&spec.members),
        };
        let mut merged = Value::Object(self.template.spec.clone().unwrap_or_default());
        drop_other_mode(&mut merged, &found);
        merge(&mut merged, found);
        let metadata = self.template.metadata.clone().unwrap_or_default();
        let mut annotations = metadata.annotations;
        for not_the_templates in [CONVERSION_DATA, DISCOVERED_HASH, LAST_ACTIVITY, WAKE] {
            annotations.remove(not_the_templates);
        }
        annotations.insert(DISCOVERED_BY.to_owned(), self.claim().by(origin));
        let mut object = json!({
            "apiVersion": format!("{GROUP}/v1beta1"),
            "kind": "MCPProvider",
            "metadata": {"name": name, "namespace": self.namespace, "annotations": annotations},
            "spec": merged,
        });
        let meta = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(meta) = meta {
            if !metadata.labels.is_empty() {
                meta.insert("labels".into(), json!(metadata.labels));
            }
            if self.controller {
                meta.insert("ownerReferences".into(), json!([self.owner()]));
            }
        }
        let hash = self.claim().sealed(name, &hash(&object));
        let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.insert(DISCOVERED_HASH.to_owned(), Value::String(hash.clone()));
        }
        Wish { name: name.to_owned(), object, hash }
    }

    fn owner(&self) -> Value {
        json!({"apiVersion": format!("{GROUP}/v1beta1"), "kind": "MCPDiscoverySource", "name": self.source,
            "uid": self.uid, "controller": true, "blockOwnerDeletion": true})
    }

    /// What the webhook would say, named as the form writes it where it can say everything. The policy about images is for
    /// new providers: a flag that changes must not stop the changes of those that run.
    pub fn judge(&self, wish: &Wish, form: Form, is_new: bool) -> Result<(), String> {
        let member = |path: &str| wish.object.pointer(path).map(Value::to_string).unwrap_or_default();
        let (annotations, text) = (member("/metadata/annotations"), member("/spec"));
        let unreadable = |error: serde_json::Error| format!("cannot be read: {error}");
        let annotations = Json::parse(&annotations).map_err(unreadable)?;
        let spec = Json::parse(&text).map_err(unreadable)?;
        let (version, spec) = match form {
            Form::Blocks => (Version::HUB, spec),
            Form::Flat => match conversion::project(Kind::Provider, spec.clone()) {
                (flat, false) => (Version::V1Alpha1, flat),
                (_, true) => (Version::HUB, spec),
            },
        };
        let metadata = Metadata {
            name: &wish.name,
            generate_name: "",
            namespace: self.namespace,
            annotations: annotations.as_object(),
        };
        let subject = Subject { kind: Kind::Provider, version, metadata, spec: Some(spec) };
        let mut policy = self.policy.clone();
        if !is_new {
            policy.image_digest = ImageDigestPolicy::Off;
        }
        let (violations, uncounted, _) = judge(subject, &policy).finish();
        let Some(first) = violations.first() else { return Ok(()) };
        let more = violations.len() - 1 + uncounted;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Err(format!("{}: {}{more}", first.path, first.message))
    }
}

impl Wish {
    /// Whether a provider with these is so already.
    pub fn is_in(
        &self,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        spec: &Value,
        owner: Option<&str>,
    ) -> bool {
        let map = |path: &str| self.object.pointer(path).and_then(Value::as_object);
        let holds = |wished: Option<&Map<String, Value>>, there: &BTreeMap<String, String>| {
            wished
                .into_iter()
                .flatten()
                .all(|(key, value)| there.get(key).map(String::as_str) == value.as_str())
        };
        let wished_owner = self.object.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str);
        wished_owner == owner
            && holds(map("/metadata/annotations"), annotations)
            && holds(map("/metadata/labels"), labels)
            && self.object.get("spec").is_some_and(|wished| covers(wished, spec))
    }
}

/// What an item that was found in another namespace may not say: it would have the provider use what belongs to the
/// source's namespace, which the item's author may have no right to. The template may.
pub fn reaches_into(spec: &Spec) -> Option<String> {
    let hub = match spec.form {
        Form::Blocks => Value::Object(spec.members.clone()),
        Form::Flat => widened(&spec.members),
    };
    let is_set = |path: &str| hub.pointer(path).is_some_and(|value| !value.is_null());
    let any = |path: &str, is: &dyn Fn(&Value) -> bool| {
        hub.pointer(path).and_then(Value::as_array).is_some_and(|items| items.iter().any(is))
    };
    let is_of_namespace = |kinds: &'static [&'static str]| {
        move |item: &Value| kinds.iter().any(|kind| item.get(*kind).is_some_and(|value| !value.is_null()))
    };
    let variable = |item: &Value| {
        item.get("valueFrom").is_some_and(is_of_namespace(&["secretKeyRef", "configMapKeyRef"]))
    };
    let [flat, blocks] = if is_set("/pod/serviceAccountName") {
        ["serviceAccountName", "pod.serviceAccountName"]
    } else if is_set("/pod/imagePullSecrets") {
        ["imagePullSecrets", "pod.imagePullSecrets"]
    } else if any("/container/volumes", &is_of_namespace(&["secret", "configMap", "persistentVolumeClaim"])) {
        ["volumes", "container.volumes"]
    } else if any("/container/env", &variable) {
        ["env[].valueFrom", "container.env[].valueFrom"]
    } else if is_set("/remote/headersFrom") {
        ["remote.headersFrom"; 2]
    } else {
        return None;
    };
    let field = if spec.form == Form::Flat { flat } else { blocks };
    Some(format!(
        "spec.{field}: may not be set by an item of another namespace; the source may set it in spec.providerTemplate"
    ))
}

/// A flat spec in blocks.
fn widened(members: &Map<String, Value>) -> Value {
    let text = Value::Object(members.clone()).to_string();
    let Ok(flat) = Json::parse(&text) else { return Value::Null };
    let mut out = String::new();
    conversion::widen(Kind::Provider, flat).write(&mut out);
    serde_json::from_str(&out).unwrap_or_default()
}

/// A template serves both modes: of the one that was not found, nothing stays.
fn drop_other_mode(template: &mut Value, found: &Value) {
    let mode = |spec: &Value| spec.get("mode").and_then(Value::as_str).map(str::to_owned);
    let mode = mode(found).or_else(|| mode(template));
    let Some(template) = template.as_object_mut() else { return };
    let others: &[&str] = match mode.as_deref() {
        Some("Container") => &["remote"],
        Some("Remote") => &["container", "pod"],
        _ => &[],
    };
    for block in others {
        template.remove(*block);
    }
}

/// What was found wins; a null takes away.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    under.remove(&key);
                } else {
                    merge(under.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        // An object over nothing still loses its nulls.
        (under, over @ Value::Object(_)) => {
            *under = Value::Object(Map::new());
            merge(under, over);
        }
        (under, over) => *under = over,
    }
}

fn hash(object: &Value) -> String {
    let text = object.to_string();
    let canonical = Json::parse(&text).map(|json| json.canonical());
    let canonical = canonical.map_or(Cow::Borrowed(text.as_str()), Cow::Owned);
    Sha256::digest(canonical.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether everything wished is so; what others added is theirs.
fn covers(wish: &Value, live: &Value) -> bool {
    match (wish, live) {
        (Value::Object(wish), Value::Object(live)) => {
            wish.iter().all(|(key, wish)| live.get(key).is_some_and(|live| covers(wish, live)))
        }
        (Value::Array(wish), Value::Array(live)) => {
            wish.len() == live.len() && wish.iter().zip(live).all(|(wish, live)| covers(wish, live))
        }
        // The API server writes 1.0 as 1.
        (Value::Number(wish), Value::Number(live)) => wish == live || wish.as_f64() == live.as_f64(),
        (wish, live) => wish == live,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(spec: Value, metadata: Value) -> ProviderTemplate {
        let mut template = json!({});
        (template["spec"], template["metadata"]) = (spec, metadata);
        serde_json::from_value(template).unwrap()
    }

    fn spec(members: Value) -> Spec {
        let Value::Object(members) = members else { panic!("{members}") };
        Spec { form: Form::of(&members), members }
    }

    fn made(template: &ProviderTemplate, found: Value) -> (Wish, Result<(), String>) {
        let policy = Policy::default();
        let maker =
            Maker { source: "s", namespace: "team", uid: "u", controller: true, template, policy: &policy };
        let spec = spec(found);
        let wish = maker.make("weather", &Origin("ConfigMap/team/m/weather".into()), &spec);
        let judged = maker.judge(&wish, spec.form, true);
        (wish, judged)
    }

    #[test]
    fn the_template_comes_first_and_what_was_found_wins() {
        for (under, found, expected) in [
            (
                json!({"lifecycle": {"idleTTL": "10m"}, "container": {"resources": {"limits": {"memory": "1Gi"}}}}),
                json!({"mode": "container", "image": "r.example/a:1", "idleTTL": "1m"}),
                json!({"mode": "Container", "lifecycle": {"idleTTL": "1m"},
                    "container": {"image": "r.example/a:1", "resources": {"limits": {"memory": "1Gi"}}}}),
            ),
            (
                json!({"container": {"resources": {}}, "pod": {"serviceAccountName": "x"}, "replicas": 2}),
                json!({"mode": "remote", "endpoint": "https://a.example/mcp"}),
                json!({"mode": "Remote", "replicas": 2, "remote": {"endpoint": "https://a.example/mcp"}}),
            ),
            (
                json!({"mode": "Container", "container": {"image": "r.example/a:1", "args": ["a"], "env": [{"name": "A", "value": "1"}]}}),
                json!({"container": {"args": ["b"], "env": null}}),
                json!({"mode": "Container", "container": {"image": "r.example/a:1", "args": ["b"]}}),
            ),
            (
                json!({}),
                json!({"mode": "Container", "container": {"image": "r.example/a:1", "command": null}}),
                json!({"mode": "Container", "container": {"image": "r.example/a:1"}}),
            ),
        ] {
            let (wish, judged) = made(&template(under, json!({})), found);
            assert_eq!(wish.object["spec"], expected);
            assert_eq!(judged, Ok(()));
        }
    }

    #[test]
    fn labels_and_annotations_come_from_the_template_and_ownership_from_the_source() {
        let metadata = json!({"labels": {"a": "b"}, "annotations": {"c": "d", DISCOVERED_BY: "forged",
            DISCOVERED_HASH: "forged", CONVERSION_DATA: "{}", LAST_ACTIVITY: "2026-01-01T00:00:00Z", WAKE: "2026-01-01T00:00:00Z"}});
        let (wish, _) =
            made(&template(json!({}), metadata), json!({"mode": "container", "image": "r.example/a:1"}));
        let meta = &wish.object["metadata"];
        assert_eq!(meta["labels"], json!({"a": "b"}));
        assert_eq!(
            meta["annotations"],
            json!({"c": "d", DISCOVERED_BY: "s/ConfigMap/team/m/weather", DISCOVERED_HASH: wish.hash})
        );
        assert_eq!((&meta["ownerReferences"][0]["uid"], &meta["namespace"]), (&json!("u"), &json!("team")));
    }

    #[test]
    fn what_the_webhook_would_refuse_is_said_as_it_was_written() {
        for (found, expected) in [
            (json!({"mode": "container"}), "spec.image: "),
            (json!({"mode": "Container", "container": {}}), "spec.container.image: "),
            (json!({"mode": "container", "image": ":"}), "spec.image: "),
            (json!({"mode": "remote", "endpoint": "http://169.254.169.254/latest"}), "spec.endpoint: "),
            (json!({"image": "r.example/a:1"}), "spec.mode: "),
            (json!({"mode": "container", "image": "r.example/a:1", "idleTTL": "30"}), "spec.idleTTL: "),
            (json!({"mode": "container", "image": "r.example/a:1", "replicas": "many"}), "spec.replicas: "),
            (json!({"mode": "container", "image": "r.example/a:1", "env": "A=b"}), "spec.env: "),
        ] {
            let says = made(&ProviderTemplate::default(), found.clone()).1.unwrap_err();
            assert!(says.starts_with(expected), "{found}: {says}");
        }
    }

    #[test]
    fn an_item_of_another_namespace_may_not_use_what_belongs_to_the_sources() {
        for (found, field) in [
            (
                json!({"image": "r.example/a:1", "env": [{"name": "A", "value": "b"}], "volumes": [{"name": "t", "emptyDir": {}}]}),
                None,
            ),
            (
                json!({"image": "r.example/a:1", "serviceAccountName": "admin"}),
                Some("spec.serviceAccountName"),
            ),
            (
                json!({"container": {"image": "a"}, "pod": {"serviceAccountName": "admin"}}),
                Some("spec.pod.serviceAccountName"),
            ),
            (json!({"image": "a", "imagePullSecrets": [{"name": "x"}]}), Some("spec.imagePullSecrets")),
            (
                json!({"image": "a", "volumes": [{"name": "v", "secret": {"secretName": "x"}}]}),
                Some("spec.volumes"),
            ),
            (
                json!({"image": "a", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}),
                Some("spec.volumes"),
            ),
            (
                json!({"image": "a", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]}),
                Some("spec.env[].valueFrom"),
            ),
            (
                json!({"remote": {"endpoint": "https://a.example", "headersFrom": [{}]}}),
                Some("spec.remote.headersFrom"),
            ),
        ] {
            let says = reaches_into(&spec(found.clone()));
            match field {
                None => assert_eq!(says, None, "{found}"),
                Some(field) => assert!(says.unwrap().starts_with(&format!("{field}: ")), "{found}"),
            }
        }
    }

    #[test]
    fn a_provider_is_as_wished_until_something_of_the_wish_differs() {
        let (wish, _) = made(
            &template(json!({}), json!({"labels": {"a": "b"}})),
            json!({"mode": "container", "image": "r.example/a:1"}),
        );
        let text = |path: &str| -> BTreeMap<String, String> {
            serde_json::from_value(wish.object.pointer(path).unwrap().clone()).unwrap()
        };
        let (labels, annotations) = (text("/metadata/labels"), text("/metadata/annotations"));
        let mut more = wish.object["spec"].clone();
        more["lifecycle"] = json!({"idleTTL": "5m"});
        assert!(wish.is_in(&labels, &annotations, &more, Some("u")));
        assert!(!wish.is_in(&labels, &annotations, &more, None));
        assert!(!wish.is_in(&BTreeMap::new(), &annotations, &more, Some("u")));
        assert!(!wish.is_in(&labels, &BTreeMap::new(), &more, Some("u")));
        more["container"]["image"] = json!("r.example/a:2");
        assert!(!wish.is_in(&labels, &annotations, &more, Some("u")));
    }
}
