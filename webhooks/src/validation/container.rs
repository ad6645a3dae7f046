//! The rules of what runs in the pod: env, volumes, resources, port and path, on the hub.
//!
//! Kubernetes would refuse most of this when the pod is made, where only the controller would read it. The image is
//! judged in [`super::provider`], where the policy is known.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mcp_hangar_api::quantity::Quantity;

use super::code::{self, Code};
use super::fields::{self, each_object, is_needed, is_set, needed, needed_before, object, path, text};
use super::quote::quoted;
use super::report::{Report, Shown};
use super::text as grammar;
use super::{names, selector};
use crate::field::{At, Step};
use crate::json::{Json, Object};

/// Judges the container block, but for its image.
pub(super) fn judge(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    path(block, "workingDir", at, r, names::absolute_path);
    path(block, "path", at, r, names::absolute_path);
    each_object(block, "env", at, |item, at| variable(item, at, r));
    fields::unique(block, "env", Some("name"), at, r);
    each_object(block, "volumes", at, |item, at| volume(item, at, r));
    fields::unique(block, "volumes", Some("name"), at, r);
    fields::unique(block, "volumes", Some("mountPath"), at, r);
    if let Some(block) = object(block, "resources") {
        resources(block, &at.key("resources"), r);
    }
}

/// The sources of an env value, with the fields that each needs.
const ENV_SOURCES: &[&str] = &["secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"];

fn variable(item: &Object<'_>, at: &At<'_>, r: &mut Report) {
    needed_before(item, "name", &['='], at, r, names::variable);
    let (has_value, has_source) = (is_set(item, "value"), is_set(item, "valueFrom"));
    if has_value && has_source {
        for (key, other) in [("value", "valueFrom"), ("valueFrom", "value")] {
            let says =
                format!("may not be set together with {}; remove one of the two", r.name(&at.key(other)));
            r.hub(&at.key(key), &code::EXCLUSIVE, Shown::Nothing, "", &says);
        }
    } else if !has_value && !has_source {
        let says = "must have a value or valueFrom; write value: \"\" for an empty variable";
        r.hub(at, &code::ENV_SOURCE, Shown::Nothing, "", says);
    }
    let Some(from) = object(item, "valueFrom") else { return };
    let from_at = at.key("valueFrom");
    let written: Vec<&str> = ENV_SOURCES.iter().copied().filter(|source| is_set(from, source)).collect();
    one_source(&written, sent_sources, &from_at, &code::ENV_SOURCE, r);
    for source in ["secretKeyRef", "configMapKeyRef"] {
        if let Some(reference) = object(from, source) {
            key_reference(reference, &from_at.key(source), r);
        }
    }
    if let Some(field) = object(from, "fieldRef") {
        let at = from_at.key("fieldRef");
        if is_needed(field, "fieldPath", &at, r) {
            known(field, "fieldPath", &at, POD_FIELDS, &["metadata.labels['", "metadata.annotations['"], r);
        }
    }
    if let Some(resource) = object(from, "resourceFieldRef") {
        let at = from_at.key("resourceFieldRef");
        if is_needed(resource, "resource", &at, r) {
            known(resource, "resource", &at, RESOURCES, &["limits.hugepages-", "requests.hugepages-"], r);
        }
        quantity(resource, "divisor", &at, r);
    }
}

/// The fields of a pod that an env value can have.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The resources of a container that an env value can have.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
];

/// A string that is one of a few, or begins like one of an open family.
fn known(parent: &Object<'_>, key: &str, at: &At<'_>, few: &[&str], families: &[&str], r: &mut Report) {
    let Some(text) = text(parent, key) else { return };
    if !few.contains(&text) && !families.iter().any(|family| text.starts_with(family)) {
        let says = super::report::supported(text, few.iter().copied());
        r.hub(&at.key(key), &code::UNSUPPORTED, Shown::Text(text), text, &says);
    }
}

/// Says so where there is no source, or more than one.
fn one_source(
    written: &[&str],
    known: impl FnOnce(&Report) -> String,
    at: &At<'_>,
    none: &'static Code,
    r: &mut Report,
) {
    match written {
        [] => {
            let says = format!("must have exactly one source; write one of {}", known(r));
            r.hub(at, none, Shown::Nothing, "", &says);
        }
        [_] => {}
        many => {
            let listed = super::quote::listed(many.iter().copied());
            let says = format!("may have one source only, not {listed}; remove all but one");
            r.hub(at, &code::EXCLUSIVE, Shown::Nothing, &listed, &says);
        }
    }
}

/// The sources of an env value that the sent version knows.
fn sent_sources(r: &Report) -> String {
    let hub = r.version() == crate::kind::Version::HUB;
    let known = ENV_SOURCES.iter().copied();
    super::quote::listed(known.filter(|source| hub || !crate::conversion::table::provider_env_beyond(source)))
}

/// `{name, key}` of a Secret or ConfigMap.
pub(super) fn key_reference(reference: &Object<'_>, at: &At<'_>, r: &mut Report) {
    needed(reference, "name", at, r, names::subdomain);
    needed(reference, "key", at, r, names::data_key);
}

/// The sources of a volume, with the field that names the source.
const VOLUME_SOURCES: &[(&str, Option<&str>)] = &[
    ("secret", Some("secretName")),
    ("configMap", Some("name")),
    ("persistentVolumeClaim", Some("claimName")),
    ("emptyDir", None),
];

fn volume(item: &Object<'_>, at: &At<'_>, r: &mut Report) {
    needed(item, "name", at, r, names::label);
    if is_needed(item, "mountPath", at, r) {
        path(item, "mountPath", at, r, mount_path);
    }
    path(item, "subPath", at, r, names::inner_path);
    let written: Vec<&str> =
        VOLUME_SOURCES.iter().map(|(source, _)| *source).filter(|source| is_set(item, source)).collect();
    let known = |_: &Report| super::quote::listed(VOLUME_SOURCES.iter().map(|(source, _)| *source));
    one_source(&written, known, at, &code::VOLUME_SOURCE, r);
    for (source, name) in VOLUME_SOURCES {
        let Some(block) = object(item, source) else { continue };
        let source_at = at.key(source);
        if let Some(name) = name {
            needed(block, name, &source_at, r, names::subdomain);
        }
        each_object(block, "items", &source_at, |item, at| {
            needed(item, "key", at, r, names::data_key);
            if is_needed(item, "path", at, r) {
                path(item, "path", at, r, names::inner_path);
            }
        });
        quantity(block, "sizeLimit", &source_at, r);
    }
}

fn mount_path(text: &str) -> Result<(), String> {
    names::absolute_path(text)?;
    if text.contains(':') { Err("must not hold \":\"".to_owned()) } else { Ok(()) }
}

fn resources(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    selector::keys(block, "limits", at, r);
    selector::keys(block, "requests", at, r);
    let (requests, limits) = (object(block, "requests"), object(block, "limits"));
    let (requests_at, limits_at) = (at.key("requests"), at.key("limits"));
    for (name, value) in limits.into_iter().flat_map(Object::iter) {
        quantity_in(value, name, &limits_at, r);
    }
    let limit_of: BTreeMap<&str, &Json<'_>> = limits.into_iter().flat_map(Object::iter).collect();
    for (name, value) in requests.into_iter().flat_map(Object::iter) {
        let request = quantity_in(value, name, &requests_at, r);
        let limit_value = limit_of.get(name).copied();
        let limit = limit_value.and_then(quantity_text).and_then(|text| grammar::quantity(&text).ok());
        let (Some(request), Some(limit)) = (request, limit) else { continue };
        if request <= limit {
            continue;
        }
        let (Some(request_text), Some(limit_text)) =
            (quantity_text(value), limit_value.and_then(quantity_text))
        else {
            continue;
        };
        let (request_at, limit_at) =
            (requests_at.then(resource_step(name)), limits_at.then(resource_step(name)));
        let values = format!("{request_text}\0{limit_text}");
        let says = format!("must not be more than {} ({})", r.name(&limit_at), quoted(&limit_text));
        r.hub(&request_at, &code::REQUEST_OVER_LIMIT, Shown::Text(&request_text), &values, &says);
        let says = format!("must not be less than {} ({})", r.name(&request_at), quoted(&request_text));
        r.or_at(&limit_at, &code::REQUEST_OVER_LIMIT, Shown::Text(&limit_text), &says);
    }
}

/// cpu and memory are fields in v1alpha1 and keys of a map in the hub: shown alike, as the field they are to users.
fn resource_step(name: &str) -> Step<'_> {
    if crate::conversion::table::is_v1alpha1_resource(name) { Step::Key(name) } else { Step::MapKey(name) }
}

fn quantity_in(value: &Json<'_>, name: &str, at: &At<'_>, r: &mut Report) -> Option<Quantity> {
    let text = quantity_text(value)?;
    match grammar::quantity(&text) {
        Ok(quantity) => Some(quantity),
        Err(says) => {
            r.hub(&at.then(resource_step(name)), &code::QUANTITY, Shown::Text(&text), &text, &says);
            None
        }
    }
}

fn quantity(parent: &Object<'_>, key: &str, at: &At<'_>, r: &mut Report) {
    if let Some(text) = parent.get(key).and_then(quantity_text)
        && let Err(says) = grammar::quantity(&text)
    {
        r.hub(&at.key(key), &code::QUANTITY, Shown::Text(&text), &text, &says);
    }
}

/// A quantity is a string or an integer.
fn quantity_text<'v>(value: &'v Json<'_>) -> Option<Cow<'v, str>> {
    match value {
        Json::String(text) => Some(Cow::Borrowed(text)),
        Json::Number(number) if !number.is_f64() => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}
