//! What a provider's spec means right now: judged by the webhook's rules, and the Secrets and ConfigMaps that it names.
//!
//! In: a provider as it is stored. Out: its spec or which field breaks a rule, and the contents of what it reads, as far
//! as they may be read; what is missing is a trouble to tell, not an error. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use mcp_hangar_api::v1beta1::provider::{KeyReference, MCPProviderSpec, Mode};
use mcp_hangar_webhooks::conversion::project;
use mcp_hangar_webhooks::conversion::table::{Place, place};
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::Policy;
use mcp_hangar_webhooks::validation::{Metadata, Subject, judge as judge_object};
use sha2::{Digest, Sha256};

use super::build::{Contents, Reference, references};
use super::conditions::Trouble;
use super::fetch::{Key, Known};
use super::probe::{self, Era, Limits, Probe};
use super::state::Settings;
use crate::context::Context;
use crate::retry::ClusterError;

/// What was read of Secrets and ConfigMaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolved {
    /// Their contents.
    pub(super) contents: Contents,
    /// What is missing, the first of it.
    pub(super) trouble: Option<Trouble>,
}

/// The same between two looks. A map of maps with one entry each takes over a kilobyte, and thousands are held.
pub(super) struct Kept {
    contents: Box<[(Reference, KeptKeys)]>,
    trouble: Option<Box<Trouble>>,
}

type KeptKeys = Box<[(Box<str>, Box<[u8]>)]>;

impl Kept {
    /// To be opened again.
    pub(super) fn of(Resolved { contents, trouble }: &Resolved) -> Self {
        let keys = |keys: &BTreeMap<String, Vec<u8>>| {
            keys.iter().map(|(key, bytes)| (key.as_str().into(), bytes.as_slice().into())).collect()
        };
        Self {
            contents: contents.iter().map(|(reference, found)| (reference.clone(), keys(found))).collect(),
            trouble: trouble.clone().map(Box::new),
        }
    }

    /// As it was.
    pub(super) fn open(&self) -> Resolved {
        let keys =
            |keys: &KeptKeys| keys.iter().map(|(key, bytes)| (key.to_string(), bytes.to_vec())).collect();
        Resolved {
            contents: self
                .contents
                .iter()
                .map(|(reference, found)| (reference.clone(), keys(found)))
                .collect(),
            trouble: self.trouble.as_deref().cloned(),
        }
    }
}

/// The spec, or what is wrong with it and how to mend it.
///
/// The policy about images without a digest is for new objects: a flag that changes must not stop what runs.
pub(super) fn judge(known: &Known) -> Result<MCPProviderSpec, String> {
    let unreadable = |error: serde_json::Error| format!("spec: cannot be read: {error}");
    let spec = Json::parse(&known.spec).map_err(unreadable)?;
    let Some(said) = broken(known, Version::HUB, spec.clone()) else {
        return serde_json::from_str(&known.spec).map_err(unreadable);
    };
    // It is judged as it is stored, and told in the words of who wrote it, where his version has them.
    let (theirs, is_narrowed) = project(Kind::Provider, spec);
    let again = (known.version != Version::HUB && !is_narrowed).then(|| broken(known, known.version, theirs));
    Err(again.flatten().unwrap_or(said))
}

/// The first rule that a spec of that version breaks.
fn broken(known: &Known, version: Version, spec: Json<'_>) -> Option<String> {
    let annotations = serde_json::to_string(&known.annotations).unwrap_or_default();
    let annotations = Json::parse(&annotations).ok();
    let metadata = Metadata {
        name: &known.key.name,
        generate_name: "",
        namespace: &known.key.namespace,
        annotations: annotations.as_ref().and_then(Json::as_object),
    };
    let subject = Subject { kind: Kind::Provider, version, metadata, spec: Some(spec) };
    let (violations, uncounted, _) = judge_object(subject, &Policy::default()).finish();
    let first = violations.first()?;
    let more = violations.len() - 1 + uncounted;
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    let (Place::Field(path) | Place::Stashed(path)) = if version == Version::HUB {
        place(Kind::Provider, known.version, first.path.clone())
    } else {
        Place::Field(first.path.clone())
    };
    Some(format!("{path}: {}{more}", first.message))
}

/// Without the block of the other mode, which is kept for the day it is switched back.
pub(super) fn of_mode(mut spec: MCPProviderSpec) -> MCPProviderSpec {
    match spec.mode {
        Mode::Container => spec.remote = None,
        Mode::Remote => spec.container = None,
    }
    spec
}

/// Reads what the spec names.
pub(super) async fn read(ctx: &Context, key: &Key, spec: &MCPProviderSpec) -> Result<Resolved, ClusterError> {
    let mut resolved = Resolved::default();
    let optional = optional(spec);
    for reference in references(spec).into_keys() {
        if matches!(reference, Reference::Secret(_)) && !ctx.places.reads_secrets(&key.namespace) {
            if spec.mode == Mode::Remote {
                resolved.trouble = Some(Trouble::SecretAccess { namespace: key.namespace.to_string() });
            }
            continue;
        }
        match contents(ctx, key, &reference).await? {
            Some(mut found) => {
                if spec.mode == Mode::Container {
                    found.values_mut().for_each(digest);
                }
                resolved.contents.insert(reference, found);
            }
            None if optional.contains(&reference) => {}
            None => {
                let (kind, name) = named(&reference);
                resolved.trouble.get_or_insert(Trouble::Missing { kind, name: name.to_owned() });
            }
        }
    }
    Ok(resolved)
}

/// Pods read their files and variables themselves: here it only counts whether they changed. So nothing secret is held,
/// and a large ConfigMap is not held once for each of its readers.
fn digest(bytes: &mut Vec<u8>) {
    *bytes = Sha256::digest(&*bytes).to_vec();
}

fn named(reference: &Reference) -> (&'static str, &str) {
    match reference {
        Reference::ConfigMap(name) => ("ConfigMap", name),
        Reference::Secret(name) => ("Secret", name),
    }
}

/// Variables may do without what they name.
fn optional(spec: &MCPProviderSpec) -> BTreeSet<Reference> {
    let mut all = BTreeSet::new();
    for source in spec.container.iter().flat_map(|it| &it.env).filter_map(|it| it.value_from.as_ref()) {
        let mut add = |reference: &Option<KeyReference>, kind: fn(String) -> Reference| {
            if let Some(KeyReference { name: Some(name), key: _, optional: Some(true) }) = reference {
                all.insert(kind(name.clone()));
            }
        };
        add(&source.secret_key_ref, Reference::Secret);
        add(&source.config_map_key_ref, Reference::ConfigMap);
    }
    all
}

async fn contents(
    ctx: &Context,
    key: &Key,
    reference: &Reference,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, ClusterError> {
    let (kind, name) = named(reference);
    let object = format!("{kind} {}/{name}", key.namespace);
    Ok(match reference {
        Reference::Secret(name) => {
            let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.namespace);
            let found = ctx.link.call("get", object, api.get_opt(name)).await?;
            let data = found.map(|found| found.data.unwrap_or_default());
            data.map(|data| data.into_iter().map(|(key, bytes)| (key, bytes.0)).collect())
        }
        Reference::ConfigMap(name) => {
            let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &key.namespace);
            let found = ctx.link.call("get", object, api.get_opt(name)).await?;
            found.map(|found| {
                let binary = found.binary_data.unwrap_or_default().into_iter();
                let text = found.data.unwrap_or_default().into_iter();
                text.map(|(key, text)| (key, text.into_bytes()))
                    .chain(binary.map(|(key, bytes)| (key, bytes.0)))
                    .collect()
            })
        }
    })
}

/// The question to ask the server; a trouble where a header has no value.
pub(super) fn probe(
    spec: &MCPProviderSpec,
    endpoint: &str,
    settings: &Settings,
    contents: &Contents,
    era: Option<Era>,
) -> Result<Probe, Trouble> {
    let place = match spec.mode {
        Mode::Container => probe::Place::Container,
        Mode::Remote => probe::Place::Remote,
    };
    let mut headers = Vec::new();
    for header in spec.remote.iter().flat_map(|remote| &remote.headers_from) {
        let (Some(name), Some(KeyReference { name: Some(secret), key: Some(key), optional })) =
            (&header.name, &header.secret_key_ref)
        else {
            continue;
        };
        let found = contents.get(&Reference::Secret(secret.clone())).and_then(|data| data.get(key));
        match found {
            Some(value) => headers.push((name.clone(), value.clone())),
            None if *optional == Some(true) => {}
            None => {
                let name = format!("{secret} with the key {key}");
                return Err(Trouble::Missing { kind: "Secret", name });
            }
        }
    }
    let bundle = spec.remote.as_ref().and_then(|remote| remote.ca_bundle.as_deref());
    let tools = spec.tools.clone().unwrap_or_default();
    Ok(Probe {
        endpoint: endpoint.to_owned(),
        place,
        headers,
        // What is no base64 holds no certificate, and the probe says so.
        ca_bundle: bundle.map(|text| BASE64_STANDARD.decode(text).unwrap_or_default()),
        timeout: settings.health_check.as_ref().map(|check| check.timeout).unwrap_or_default(),
        era,
        allow: tools.allow_list,
        deny: tools.deny_list,
        limits: Limits::default(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn known(name: &str, spec: &serde_json::Value) -> Known {
        Known {
            key: Key { namespace: "team".into(), name: name.into() },
            uid: "u".into(),
            generation: 1,
            resource_version: "1".into(),
            owner: None,
            is_going: false,
            labels: Default::default(),
            annotations: BTreeMap::new(),
            spec: spec.to_string().into_boxed_str(),
            status: Default::default(),
            version: Version::HUB,
        }
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        let keys = BTreeMap::from([("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![])]);
        let contents = Contents::from([(Reference::ConfigMap("m".into()), keys)]);
        let trouble = Some(Trouble::SecretAccess { namespace: "team".into() });
        let opened = Kept::of(&Resolved { contents: contents.clone(), trouble: trouble.clone() }).open();
        assert_eq!((opened.contents, opened.trouble), (contents, trouble));
    }

    #[test]
    fn what_the_webhook_would_refuse_is_named_and_never_read_further() {
        let long = "x".repeat(60);
        for (name, spec, expected) in [
            ("a", json!({"mode": "Container", "container": {"image": "r.example/a:1"}}), None),
            ("a", json!({"mode": "Container"}), Some("spec.container.image")),
            ("a", json!({"mode": "Container", "container": {"image": ":"}}), Some("spec.container.image")),
            ("a", json!({"mode": "Remote", "remote": {"endpoint": "ftp://x"}}), Some("spec.remote.endpoint")),
            ("a", json!({"mode": "What"}), Some("spec.mode")),
            (
                "a",
                json!({"mode": "Container", "replicas": "many", "container": {"image": "a"}}),
                Some("spec.replicas"),
            ),
            ("a", json!(null), Some("spec")),
            (
                &long,
                json!({"mode": "Container", "container": {"image": "r.example/a:1"}}),
                Some("metadata.name"),
            ),
        ] {
            let judged = judge(&known(name, &spec));
            match expected {
                None => assert!(judged.is_ok(), "{judged:?}"),
                Some(field) => {
                    let text = judged.unwrap_err();
                    assert!(text.starts_with(&format!("{field}: ")), "{text}");
                }
            }
        }
    }

    #[test]
    fn who_writes_v1alpha1_reads_only_names_of_v1alpha1() {
        let spec = json!({"mode": "Container", "container": {"image": "r.example/a:1",
            "env": [{"name": "A", "value": "b"}, {"name": "A", "value": "b"}]}});
        let mode = json!({"mode": "Contaner", "container": {"image": "r.example/a:1"}});
        for (spec, expected) in [
            (&spec, "spec.env[1].name: Duplicate value: \"A\": also at spec.env[0].name [HGR130]"),
            (
                &mode,
                "spec.mode: Unsupported value: \"Contaner\": supported values: \"container\", \"remote\"; did you mean \"container\"? [HGR102]",
            ),
        ] {
            let known = Known { version: Version::V1Alpha1, ..known("a", spec) };
            assert_eq!(judge(&known).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_header_without_a_value_is_a_trouble_and_no_probe() {
        let spec: MCPProviderSpec = serde_json::from_value(json!({"mode": "Remote", "remote": {
            "endpoint": "https://x.example/mcp",
            "headersFrom": [{"name": "Authorization", "secretKeyRef": {"name": "token", "key": "value"}}]}}))
        .unwrap();
        let settings = Settings::of(&spec);
        let ask = |contents: &Contents| probe(&spec, "https://x.example/mcp", &settings, contents, None);
        assert!(matches!(ask(&Contents::new()), Err(Trouble::Missing { .. })));
        let data = BTreeMap::from([("value".to_owned(), b"Bearer x".to_vec())]);
        let contents = Contents::from([(Reference::Secret("token".into()), data)]);
        assert_eq!(ask(&contents).unwrap().headers, [("Authorization".to_owned(), b"Bearer x".to_vec())]);
    }
}
