//! The rules of an MCPProvider's spec, on the hub.
//!
//! They judge what the author wrote: an absent key stands for its default and is never blamed. The same rules judge
//! the template inside a discovery source ([`Scope::Template`]), except those that require a field. Parts of the pod
//! (env, volumes, resources) have their own file, [`super::container`].

use std::borrow::Cow;

use mcp_hangar_api::duration;

use super::code;
use super::container;
use super::fields::{
    self, Least, duration as duration_field, each_object, ignored, is_needed, is_set, list, mode_is, named,
    needed_before, object, text,
};
use super::names;
use super::quote::{quoted, shown_endpoint};
use super::report::{Report, Shown};
use super::schema::type_of;
use super::{selector, suggest, text as grammar};
use crate::defaulting;
use crate::field::{At, Step};
use crate::json::{Json, Object};
use crate::kind::Kind;
use crate::policy::{ImageDigestPolicy, Policy};

/// Whether a spec must be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A provider: what its mode needs must be there.
    Whole,
    /// A template: every field may be absent.
    Template,
}

/// Judges a provider spec that stands at `at`. `exempt` says that the object allows images without a digest.
pub(super) fn judge(
    spec: &Object<'_>,
    at: &At<'_>,
    scope: Scope,
    policy: &Policy,
    exempt: bool,
    r: &mut Report,
) {
    let mode = text(spec, "mode");
    if scope == Scope::Whole {
        // A misspelt mode is said elsewhere; what the meant one needs is said now, not at the next attempt.
        let meant = || mode.and_then(|mode| suggest::closest(mode, ["Container", "Remote"]));
        required(spec, mode.filter(|mode| matches!(*mode, "Container" | "Remote")).or_else(meant), at, r);
    }
    unused(spec, mode, at, r);
    if let Some(block) = object(spec, "container") {
        let at = at.key("container");
        image(block, &at, policy, exempt, r);
        container::judge(block, &at, r);
    }
    if let Some(block) = object(spec, "remote") {
        remote(block, &at.key("remote"), r);
    }
    if let Some(block) = object(spec, "lifecycle") {
        let at = at.key("lifecycle");
        duration_field(block, "idleTTL", &at, Least::Zero, r);
        duration_field(block, "startupTimeout", &at, Least::AboveZero, r);
        duration_field(block, "shutdownGracePeriod", &at, Least::Zero, r);
    }
    if let Some(block) = object(spec, "pod") {
        pod(block, &at.key("pod"), r);
    }
    if let Some(block) = object(spec, "healthCheck") {
        health_check(block, &at.key("healthCheck"), r);
    }
    if let Some(block) = object(spec, "circuitBreaker") {
        duration_field(block, "resetTimeout", &at.key("circuitBreaker"), Least::AboveZero, r);
    }
    if let Some(block) = object(spec, "tools") {
        tools(block, &at.key("tools"), r);
    }
    if let Some(tracing) = object(spec, "observability").and_then(|block| object(block, "tracing")) {
        sampling_rate(tracing, &at.key("observability").key("tracing"), r);
    }
}

/// What the mode needs.
fn required(spec: &Object<'_>, mode: Option<&str>, at: &At<'_>, r: &mut Report) {
    let (hub, block, field) = match mode {
        Some("Container") => ("Container", "container", "image"),
        Some("Remote") => ("Remote", "remote", "endpoint"),
        _ => return,
    };
    let written = match spec.get(block) {
        None | Some(Json::Null) => false,
        Some(Json::Object(members)) => {
            members.get(field).is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
        }
        // The wrong type has been said.
        Some(_) => true,
    };
    if !written {
        let says = format!("must be set when {}", mode_is(r, at, hub));
        r.hub(&at.key(block).key(field), &code::REQUIRED, Shown::Nothing, hub, &says);
    }
}

/// Warnings about what the mode does not read.
fn unused(spec: &Object<'_>, mode: Option<&str>, at: &At<'_>, r: &mut Report) {
    let blocks: &[&str] = match mode {
        Some("Container") => &["remote"],
        Some("Remote") => &["container", "pod"],
        _ => return,
    };
    let hub = mode.unwrap_or_default();
    for block in blocks.iter().filter(|block| is_set(spec, block)) {
        let why = format!("while {}", mode_is(r, at, hub));
        if r.version() == crate::kind::Version::HUB {
            ignored(spec, block, at, &why, r);
        } else if let Some(members) = object(spec, block) {
            let block_at = at.key(block);
            for (name, _) in members.iter() {
                ignored(members, name, &block_at, &why, r);
            }
        }
    }
}

fn image(block: &Object<'_>, at: &At<'_>, policy: &Policy, exempt: bool, r: &mut Report) {
    let Some(image) = text(block, "image").filter(|image| !image.is_empty()) else { return };
    let here = at.key("image");
    match grammar::image(image) {
        Err(says) => r.hub(&here, &code::IMAGE, Shown::Text(image), image, &says),
        Ok(parsed) if !parsed.has_digest && !exempt => match policy.image_digest {
            ImageDigestPolicy::Off => {}
            ImageDigestPolicy::Warn => {
                r.warn(&here, "a tag can move to other content", "write image@sha256:…")
            }
            ImageDigestPolicy::Block => {
                let says = format!(
                    "an image needs a digest here; write image@sha256:…, or the annotation {}: \"true\"",
                    mcp_hangar_api::annotation::ALLOW_MUTABLE_IMAGE
                );
                r.hub(&here, &code::MUTABLE_IMAGE, Shown::Text(image), image, &says);
            }
        },
        Ok(_) => {}
    }
}

fn remote(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    if let Some(endpoint) = text(block, "endpoint").filter(|endpoint| !endpoint.is_empty())
        && let Err((code, says)) = super::endpoint::judge(endpoint)
    {
        let shown = shown_endpoint(endpoint);
        r.hub(&at.key("endpoint"), code, Shown::Text(&shown), endpoint, &says);
    }
    each_object(block, "headersFrom", at, |item, at| {
        needed_before(item, "name", &[':', ' '], at, r, names::header);
        match object(item, "secretKeyRef") {
            Some(reference) => container::key_reference(reference, &at.key("secretKeyRef"), r),
            None => {
                is_needed(item, "secretKeyRef", at, r);
            }
        }
    });
    fields::unique_by(block, "headersFrom", Some("name"), at, r, |name| {
        Cow::Owned(name.to_ascii_lowercase())
    });
    if let Some(bundle) = text(block, "caBundle")
        && let Err(says) = ca_bundle(bundle)
    {
        r.hub(&at.key("caBundle"), &code::CA_BUNDLE, Shown::Nothing, bundle, &says);
    }
}

/// base64 of at least one certificate in PEM, and nothing that is not one.
fn ca_bundle(text: &str) -> Result<(), String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text.as_bytes())
        .map_err(|_| "must be base64 of certificates in PEM; make it with base64 -w0 ca.crt".to_owned())?;
    let mut count = 0;
    for pem in x509_parser::pem::Pem::iter_from_buffer(&bytes) {
        let pem = pem.map_err(|_| {
            "must hold certificates in PEM; the text between BEGIN and END is damaged".to_owned()
        })?;
        if pem.label != "CERTIFICATE" {
            return Err(format!("must hold certificates only, not {}", quoted(&pem.label)));
        }
        pem.parse_x509().map_err(|_| format!("certificate {} cannot be read", count + 1))?;
        count += 1;
    }
    if count == 0 { Err("must hold at least one certificate in PEM".to_owned()) } else { Ok(()) }
}

fn pod(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    named(block, "serviceAccountName", at, r, names::subdomain);
    named(block, "priorityClassName", at, r, names::subdomain);
    each_object(block, "imagePullSecrets", at, |item, at| named(item, "name", at, r, names::subdomain));
    selector::labels(block, "nodeSelector", at, r);
    each_object(block, "tolerations", at, |item, at| toleration(item, at, r));
    if let Some(security) = object(block, "securityContext") {
        seccomp(security, &at.key("securityContext"), r);
    }
}

/// Kubernetes wants to know which profile of the node, and there is no field that says it: no pod would ever be made.
fn seccomp(security: &Object<'_>, at: &At<'_>, r: &mut Report) {
    const LOCALHOST: &str = "Localhost";
    let written = object(security, "seccompProfile").and_then(|profile| text(profile, "type"));
    if written == Some(LOCALHOST) {
        let says = "no field names the profile on the node; write \"RuntimeDefault\" or \"Unconfined\"";
        let here = at.key("seccompProfile");
        r.hub(&here.key("type"), &code::UNSUPPORTED, Shown::Text(LOCALHOST), LOCALHOST, says);
    }
}

fn toleration(item: &Object<'_>, at: &At<'_>, r: &mut Report) {
    let key = text(item, "key").unwrap_or_default();
    if !key.is_empty() {
        named(item, "key", at, r, names::qualified);
    } else if text(item, "operator") != Some("Exists") {
        let says = "must be \"Exists\" where key is empty; write operator: Exists, or a key";
        r.hub(&at.key("operator"), &code::SELECTOR, Shown::Nothing, "", says);
    }
    if text(item, "operator") == Some("Exists") && text(item, "value").is_some_and(|value| !value.is_empty())
    {
        r.hub(
            &at.key("value"),
            &code::SELECTOR,
            Shown::Nothing,
            "",
            "must be empty with operator Exists; remove it",
        );
    }
    if is_set(item, "tolerationSeconds") && text(item, "effect") != Some("NoExecute") {
        let says = "may be set only with effect NoExecute; write effect: NoExecute, or remove it";
        r.hub(&at.key("tolerationSeconds"), &code::SELECTOR, Shown::Nothing, "", says);
    }
}

/// Each duration on its own, then the two against each other. An absent one stands for its default.
fn health_check(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    let timeout = duration_field(block, "timeout", at, Least::AboveZero, r);
    let interval = duration_field(block, "interval", at, Least::AboveZero, r);
    let usual = defaulting::text(Kind::Provider, &["healthCheck", "interval"]).unwrap_or_default();
    let (interval, written) = match (interval, text(block, "interval")) {
        (Some(interval), Some(written)) => (interval, Some(written)),
        (None, None) => match duration::parse(usual) {
            Ok(interval) => (interval, None),
            Err(_) => return,
        },
        _ => return,
    };
    let (Some(timeout), Some(timeout_text)) = (timeout, text(block, "timeout")) else { return };
    if timeout <= interval {
        return;
    }
    let (timeout_at, interval_at) = (at.key("timeout"), at.key("interval"));
    let interval_name = r.name(&interval_at);
    let values = format!("{timeout_text}\0{}", written.unwrap_or(usual));
    match written {
        Some(interval_text) => {
            let says = format!("must not be longer than {interval_name} ({})", quoted(interval_text));
            r.hub(&timeout_at, &code::TIMEOUT, Shown::Text(timeout_text), &values, &says);
            let says = format!(
                "must not be shorter than {} ({}); shorten that too",
                r.name(&timeout_at),
                quoted(timeout_text)
            );
            r.or_at(&interval_at, &code::TIMEOUT, Shown::Text(interval_text), &says);
        }
        None => {
            let says = format!(
                "must not be longer than the interval, by default {}; set {interval_name} too",
                quoted(usual)
            );
            r.hub(&timeout_at, &code::TIMEOUT, Shown::Text(timeout_text), &values, &says);
        }
    }
}

fn tools(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    for key in ["allowList", "denyList"] {
        let list_at = at.key(key);
        for (index, item) in list(block, key).iter().enumerate() {
            if item.as_str() == Some("") {
                r.hub(
                    &list_at.then(Step::Index(index)),
                    &code::REQUIRED,
                    Shown::Nothing,
                    "",
                    "must be the name of a tool",
                );
            }
        }
        fields::unique(block, key, None, at, r);
    }
    let both = !list(block, "allowList").is_empty() && !list(block, "denyList").is_empty();
    if both {
        for (key, other) in [("allowList", "denyList"), ("denyList", "allowList")] {
            let says =
                format!("may not be set together with {}; remove one of the two", r.name(&at.key(other)));
            r.hub(&at.key(key), &code::EXCLUSIVE, Shown::Nothing, "", &says);
        }
    }
}

/// A number, or a decimal string, from 0 to 1: v1alpha1 had it both ways, so the schema leaves it open.
fn sampling_rate(tracing: &Object<'_>, at: &At<'_>, r: &mut Report) {
    const RANGE: &str = "must be a plain decimal between 0 and 1, such as 0.1";
    let here = at.key("samplingRate");
    let value = match tracing.get("samplingRate") {
        None | Some(Json::Null) => return,
        Some(value) => value,
    };
    let rate = match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) if is_decimal(text) => text.parse().ok(),
        Json::String(text) => {
            r.hub(&here, &code::OUT_OF_RANGE, Shown::Text(text), text, RANGE);
            return;
        }
        _ => {
            let says = format!("{RANGE}, not {}", type_of(value));
            r.hub(&here, &code::WRONG_TYPE, Shown::Value(value), &value.canonical(), &says);
            return;
        }
    };
    if !rate.is_some_and(|rate| (0.0..=1.0).contains(&rate)) {
        r.hub(&here, &code::OUT_OF_RANGE, Shown::Value(value), &value.canonical(), RANGE);
    }
}

fn is_decimal(text: &str) -> bool {
    text.len() <= 32
        && text.bytes().any(|c| c.is_ascii_digit())
        && text.bytes().all(|c| c.is_ascii_digit() || c == b'.')
}
