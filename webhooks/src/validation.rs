//! Judging: every rule of every kind over one object, all errors at once.
//!
//! In: an object as it was sent, untyped, and the operator's [`Policy`]. First the schema of the sent version is
//! walked, then the spec is converted to the hub and the kind's rules run there; [`report::Report`] names every place
//! in the version that was sent. Out: a report. A rule knows no clock, no network and no other object. On an update,
//! [`ratchet`] forgives what was wrong before.

use std::collections::HashSet;

use mcp_hangar_api::annotation;

use crate::conversion::{self, stash};
use crate::field::At;
use crate::json::Json;
use crate::kind::{Kind, Version};
use crate::policy::Policy;

pub mod address;
pub mod code;
mod container;
mod discovery;
pub mod endpoint;
mod fields;
mod group;
mod metadata;
pub mod names;
pub mod pattern;
mod provider;
pub mod quote;
pub mod report;
pub mod schema;
mod selector;
pub mod suggest;
pub mod text;

pub use metadata::Metadata;
use report::{Report, Shown, Violation};

/// An object to judge, in the version that was sent.
#[derive(Debug)]
pub struct Subject<'m, 'a> {
    /// Its kind.
    pub kind: Kind,
    /// The version it was sent in.
    pub version: Version,
    /// What rules read of its metadata.
    pub metadata: Metadata<'m, 'a>,
    /// Its spec; `None` where it has none.
    pub spec: Option<Json<'a>>,
}

/// Judges one object.
pub fn judge<'m>(subject: Subject<'m, 'm>, policy: &Policy) -> Report {
    let Subject { kind, version, metadata, spec } = subject;
    let mut report = Report::new(kind, version);
    match &spec {
        None | Some(Json::Null) => {
            report.sent(&At::root("spec"), &code::REQUIRED, Shown::Nothing, "", "must be set");
        }
        Some(spec) => schema::judge(spec, &mut report, kind, version),
    }
    let hub = to_hub(kind, version, &metadata, spec, &mut report);
    if let Some(Json::Object(spec)) = &hub {
        let at = At::root("spec");
        let exempt = metadata.annotation(annotation::ALLOW_MUTABLE_IMAGE) == Some("true");
        match kind {
            Kind::Provider => provider::judge(spec, &at, provider::Scope::Whole, policy, exempt, &mut report),
            Kind::Group => group::judge(spec, &at, &mut report),
            Kind::Discovery => discovery::judge(spec, &at, policy, metadata.namespace, exempt, &mut report),
        }
    }
    metadata::judge(kind, version, &metadata, hub.as_ref(), &mut report);
    report
}

/// The spec as the hub has it, with what the stash of a v1alpha1 object gives back.
fn to_hub<'m>(
    kind: Kind,
    version: Version,
    metadata: &Metadata<'m, 'm>,
    spec: Option<Json<'m>>,
    report: &mut Report,
) -> Option<Json<'m>> {
    if version == Version::HUB {
        return spec;
    }
    let mut hub = spec.map(|spec| conversion::widen(kind, spec));
    let entries = metadata
        .annotations
        .and_then(|annotations| annotations.get(annotation::CONVERSION_DATA)?.as_str())
        .and_then(stash::parse);
    if let Some(entries) = entries {
        stash::restore(kind, &mut Json::Null, &mut hub, entries);
        if let Some(hub) = &mut hub {
            hub.expand_all();
            report.of_stash(|report| schema::judge(hub, report, kind, Version::HUB));
        }
    }
    hub
}

/// Drops what the old object already had: the same code on the same item with the same values. Of a clash of two
/// fields, blames the one that `changed` says the update has changed.
pub fn ratchet(
    new: Vec<Violation>,
    old: &[Violation],
    changed: impl Fn(&crate::field::Path) -> bool,
) -> Vec<Violation> {
    type Known<'v> = (&'static str, String, &'v str);
    fn known(violation: &Violation) -> Known<'_> {
        (violation.code.id, violation.path.identity(), &violation.values)
    }
    let before: HashSet<Known<'_>> = old.iter().map(known).collect();
    new.into_iter()
        .filter(|violation| !before.contains(&known(violation)))
        .map(|mut violation| {
            if let Some(other) = violation.other.take()
                && !changed(&violation.path)
                && changed(&other.0)
            {
                (violation.path, violation.message) = *other;
            }
            violation
        })
        .collect()
}
