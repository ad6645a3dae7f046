//! The rules of an MCPProviderGroup's spec.
//!
//! The spec is the same in both versions, so paths need no translation. Enums, ranges and required fields have been
//! judged by the schema.

use super::code;
use super::fields::{self, Least, duration, ignored, is_set, named, object, text};
use super::names;
use super::report::{Report, Shown};
use super::selector;
use crate::field::At;
use crate::json::Object;

/// Judges a group spec that stands at `at`.
pub(super) fn judge(spec: &Object<'_>, at: &At<'_>, r: &mut Report) {
    if let Some(block) = object(spec, "selector") {
        selector::judge(block, &at.key("selector"), r);
    }
    if let Some(block) = object(spec, "failover") {
        let at = at.key("failover");
        duration(block, "retryDelay", &at, Least::Zero, r);
        fields::unique(block, "retryOn", None, &at, r);
    }
    if let Some(block) = object(spec, "healthPolicy")
        && is_set(block, "minHealthyCount")
    {
        ignored(block, "minHealthyPercentage", &at.key("healthPolicy"), "beside minHealthyCount", r);
    }
    if let Some(block) = object(spec, "sessionAffinity") {
        session_affinity(block, &at.key("sessionAffinity"), r);
    }
    if let Some(block) = object(spec, "circuitBreaker") {
        duration(block, "resetTimeout", &at.key("circuitBreaker"), Least::AboveZero, r);
    }
}

fn session_affinity(block: &Object<'_>, at: &At<'_>, r: &mut Report) {
    duration(block, "ttl", at, Least::AboveZero, r);
    let header = text(block, "header").unwrap_or_default();
    if text(block, "type") == Some("Header") {
        if header.is_empty() {
            let says = format!(
                "must be set when {} is \"Header\"; write for example \"X-Session-Id\"",
                r.name(&at.key("type"))
            );
            r.hub(&at.key("header"), &code::REQUIRED, Shown::Nothing, "Header", &says);
        } else {
            named(block, "header", at, r, names::header);
        }
    } else if !header.is_empty() {
        named(block, "header", at, r, names::header);
        let why = format!("unless {} is \"Header\"", r.name(&at.key("type")));
        ignored(block, "header", at, &why, r);
    }
}
