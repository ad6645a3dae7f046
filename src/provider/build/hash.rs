//! The hash that rolls the pods: over the template and what its pods read from Secrets and ConfigMaps.
//!
//! In: the template, the spec, contents as far as they may be read. Out: 64 hex digits. Nothing else counts, the
//! version of the operator least of all, and JSON is hashed with sorted keys; a golden test freezes the form.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use mcp_hangar_api::v1beta1::provider::{EnvSource, KeyReference, KeyToPath, MCPProviderSpec, Remote};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Key of the annotation on the pods.
pub const ANNOTATION: &str = "mcp-hangar.io/config-hash";

/// A Secret or ConfigMap of the provider's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A ConfigMap by name.
    ConfigMap(String),
    /// A Secret by name.
    Secret(String),
}

/// What was read: by object the bytes of each key. One that is missing or may not be read is absent.
pub type Contents = BTreeMap<Reference, BTreeMap<String, Vec<u8>>>;

/// The keys that count of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All.
    All,
    /// These.
    Some(BTreeSet<String>),
}

/// The Secrets and ConfigMaps that the spec's pods read, or that a remote provider's headers come from.
pub fn references(spec: &MCPProviderSpec) -> BTreeMap<Reference, Keys> {
    let mut found = BTreeMap::new();
    for variable in spec.container.iter().flat_map(|container| &container.env) {
        let Some(EnvSource { secret_key_ref, config_map_key_ref, field_ref: _, resource_field_ref: _ }) =
            &variable.value_from
        else {
            continue;
        };
        secret_key_ref.iter().for_each(|it| key(&mut found, Reference::Secret, it));
        config_map_key_ref.iter().for_each(|it| key(&mut found, Reference::ConfigMap, it));
    }
    for volume in spec.container.iter().flat_map(|container| &container.volumes) {
        if let Some(secret) = &volume.secret {
            files(&mut found, secret.secret_name.clone().map(Reference::Secret), &secret.items);
        }
        if let Some(map) = &volume.config_map {
            files(&mut found, map.name.clone().map(Reference::ConfigMap), &map.items);
        }
    }
    for header in spec.remote.iter().flat_map(|remote| &remote.headers_from) {
        header.secret_key_ref.iter().for_each(|it| key(&mut found, Reference::Secret, it));
    }
    found
}

fn key(found: &mut BTreeMap<Reference, Keys>, kind: fn(String) -> Reference, at: &KeyReference) {
    let KeyReference { name: Some(name), key: Some(key), optional: _ } = at else { return };
    add(found, kind(name.clone()), Keys::Some(BTreeSet::from([key.clone()])));
}

fn files(found: &mut BTreeMap<Reference, Keys>, reference: Option<Reference>, items: &[KeyToPath]) {
    let Some(reference) = reference else { return };
    let keys = items.iter().filter_map(|KeyToPath { key, path: _ }| key.clone()).collect();
    add(found, reference, if items.is_empty() { Keys::All } else { Keys::Some(keys) });
}

fn add(found: &mut BTreeMap<Reference, Keys>, reference: Reference, more: Keys) {
    let keys = found.entry(reference).or_insert_with(|| Keys::Some(BTreeSet::new()));
    match (keys, more) {
        (Keys::All, _) => {}
        (keys, Keys::All) => *keys = Keys::All,
        (Keys::Some(keys), Keys::Some(more)) => keys.extend(more),
    }
}

/// The hash of a container provider.
pub(super) fn of_template(template: &PodTemplateSpec, spec: &MCPProviderSpec, contents: &Contents) -> String {
    let mut container = spec.clone();
    container.remote = None;
    finish(&serde_json::to_value(template).unwrap_or_default(), &references(&container), contents)
}

/// The hash of a remote provider: over what it is reached with. It rolls nothing; a change tries a Dead one again.
pub fn of_remote(spec: &MCPProviderSpec, contents: &Contents) -> String {
    let remote: Remote = spec.remote.clone().unwrap_or_default();
    let mut reached = spec.clone();
    reached.container = None;
    finish(&serde_json::to_value(remote).unwrap_or_default(), &references(&reached), contents)
}

fn finish(value: &Value, references: &BTreeMap<Reference, Keys>, contents: &Contents) -> String {
    let mut hash = Sha256::new();
    feed(&mut hash, value);
    for (reference, keys) in references {
        let Some(data) = contents.get(reference) else { continue };
        let (kind, name) = match reference {
            Reference::ConfigMap(name) => ("ConfigMap", name),
            Reference::Secret(name) => ("Secret", name),
        };
        part(&mut hash, kind.as_bytes());
        part(&mut hash, name.as_bytes());
        for (key, bytes) in data {
            if matches!(keys, Keys::All) || matches!(keys, Keys::Some(keys) if keys.contains(key)) {
                part(&mut hash, key.as_bytes());
                part(&mut hash, bytes);
            }
        }
    }
    hex(&hash.finalize())
}

/// A short digest, for what is only compared, and held for every provider.
pub fn short(text: &str) -> String {
    hex(Sha256::digest(text.as_bytes()).get(..8).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// With its length before it, so that no two lists of parts look alike.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn feed(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            part(hash, b"{");
            for (name, value) in sorted {
                part(hash, name.as_bytes());
                feed(hash, value);
            }
            part(hash, b"}");
        }
        Value::Array(items) => {
            part(hash, b"[");
            items.iter().for_each(|item| feed(hash, item));
            part(hash, b"]");
        }
        leaf => part(hash, leaf.to_string().as_bytes()),
    }
}
