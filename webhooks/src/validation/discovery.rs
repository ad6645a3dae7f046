//! The rules of an MCPDiscoverySource's spec, on the hub.
//!
//! Its template goes through the provider's rules. What a source may read is a matter of policy: the operator reads with
//! its own rights, not with the author's.

use super::code;
use super::fields::{Least, duration, each_text, ignored, is_set, named, needed, object, text};
use super::names;
use super::provider::{self, Scope};
use super::quote::quoted;
use super::report::{Report, Shown};
use super::{pattern, selector};
use crate::field::At;
use crate::json::Object;
use crate::policy::Policy;

/// Which block each type reads.
const BLOCKS: &[(&str, &str)] = &[
    ("Namespace", "namespaceSelector"),
    ("ConfigMap", "configMapRef"),
    ("Annotations", "annotations"),
    ("ServiceDiscovery", "serviceDiscovery"),
];

/// Judges a source spec that stands at `at`, of an object in `namespace`.
pub(super) fn judge(
    spec: &Object<'_>,
    at: &At<'_>,
    policy: &Policy,
    namespace: &str,
    exempt: bool,
    r: &mut Report,
) {
    block_of_type(spec, at, r);
    duration(spec, "refreshInterval", at, Least::Second, r);
    if let Some(block) = object(spec, "namespaceSelector") {
        let at = at.key("namespaceSelector");
        selector::judge(block, &at, r);
        each_text(block, "excludeNamespaces", &at, |name, at| {
            if let Err(says) = names::label(name) {
                r.hub(at, &code::NAME, Shown::Text(name), name, &says);
            }
        });
    }
    if let Some(block) = object(spec, "configMapRef") {
        config_map(block, &at.key("configMapRef"), policy, namespace, r);
    }
    if let Some(block) = object(spec, "annotations") {
        annotations(block, &at.key("annotations"), r);
    }
    if let Some(block) = object(spec, "serviceDiscovery") {
        let at = at.key("serviceDiscovery");
        selector::labels(block, "selector", &at, r);
        named(block, "portName", &at, r, names::port);
    }
    if let Some(block) = object(spec, "filters") {
        let at = at.key("filters");
        for key in ["includePatterns", "excludePatterns"] {
            each_text(block, key, &at, |pattern, at| {
                if let Err(says) = pattern::judge(pattern) {
                    r.hub(at, &code::PATTERN, Shown::Text(pattern), pattern, &says);
                }
            });
        }
    }
    if let Some(template) = object(spec, "providerTemplate") {
        let at = at.key("providerTemplate");
        if let Some(metadata) = object(template, "metadata") {
            let at = at.key("metadata");
            selector::labels(metadata, "labels", &at, r);
            selector::keys(metadata, "annotations", &at, r);
        }
        if let Some(spec) = object(template, "spec") {
            provider::judge(spec, &at.key("spec"), Scope::Template, policy, exempt, r);
        }
    }
}

fn block_of_type(spec: &Object<'_>, at: &At<'_>, r: &mut Report) {
    let Some((kind, own)) = BLOCKS.iter().find(|(kind, _)| text(spec, "type") == Some(*kind)) else { return };
    let type_name = r.name(&at.key("type"));
    if !is_set(spec, own) {
        let fix = match *own {
            "namespaceSelector" => "; write namespaceSelector: {} to look into all namespaces",
            _ => "",
        };
        let says = format!("must be set when {type_name} is {}{fix}", quoted(kind));
        r.hub(&at.key(own), &code::REQUIRED, Shown::Nothing, kind, &says);
    }
    // Every type but ConfigMap looks into the selected namespaces.
    let is_read = |block: &str| block == *own || (block == "namespaceSelector" && *kind != "ConfigMap");
    for (_, other) in BLOCKS.iter().filter(|(_, block)| !is_read(block)) {
        ignored(spec, other, at, &format!("while {type_name} is {}", quoted(kind)), r);
    }
}

fn config_map(block: &Object<'_>, at: &At<'_>, policy: &Policy, namespace: &str, r: &mut Report) {
    needed(block, "name", at, r, names::subdomain);
    named(block, "key", at, r, names::data_key);
    let Some(other) = text(block, "namespace").filter(|other| !other.is_empty() && *other != namespace)
    else {
        return;
    };
    if let Err(says) = names::label(other) {
        r.hub(&at.key("namespace"), &code::NAME, Shown::Text(other), other, &says);
        return;
    }
    let allowed = policy.configmap_namespaces.iter().any(|name| name == "*" || name == other);
    if !allowed {
        let says = format!(
            "a source in namespace {} may not read ConfigMaps of {}; remove the field, or ask for --configmap-namespaces={other}",
            quoted(namespace),
            quoted(other)
        );
        r.hub(
            &at.key("namespace"),
            &code::FOREIGN_CONFIGMAP,
            Shown::Nothing,
            &format!("{namespace}\0{other}"),
            &says,
        );
    }
}

fn annotations(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    selector::labels(block, "podSelector", at, r);
    selector::labels(block, "serviceSelector", at, r);
    named(block, "annotationPrefix", at, r, names::subdomain);
    each_text(block, "requiredAnnotations", at, |name, at| {
        if let Err(says) = names::qualified(name) {
            r.hub(at, &code::NAME, Shown::Text(name), name, &says);
        }
    });
}
