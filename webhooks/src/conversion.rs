//! Conversion between the two served versions: pure, total and lossless.
//!
//! In: an object of one of our kinds in one version. Out: the same object in the other. Keys move as
//! [`table`] says; what no row touches is copied as text. No value is parsed, normalised or defaulted, so an invalid
//! object converts as well as a valid one. What v1alpha1 cannot say travels in an annotation ([`stash`]).
//! [`review`] wraps it for the API server.

use std::cell::OnceCell;

use crate::json::{Json, Object};
use crate::kind::{Kind, Version};

pub mod discovery;
pub mod provider;
pub mod review;
pub mod stash;
pub mod table;

pub use review::review;

/// Where the unescaped text of a stash is kept while the converted object borrows from it.
pub type Scratch = OnceCell<String>;

/// Converts one object. `object` is changed in `apiVersion`, `spec` and `metadata.annotations` only; members that no
/// version declares are dropped.
pub fn convert<'a>(
    kind: Kind,
    from: Version,
    to: Version,
    object: Object<'a>,
    scratch: &'a Scratch,
) -> Object<'a> {
    let mut out = Object::default();
    let mut metadata = Json::Object(Object::default());
    let mut spec = None;
    out.push("apiVersion", Json::String(to.api_version().into()));
    out.push("kind", Json::String(kind.name().into()));
    let mut status = None;
    for (key, value) in object {
        match key.as_ref() {
            "metadata" => metadata = value,
            "spec" => spec = Some(value),
            "status" => status = Some(value),
            _ => {}
        }
    }
    match (from, to) {
        (Version::V1Alpha1, Version::V1Beta1) => {
            let entries = stash::take(&mut metadata, scratch);
            spec = spec.map(|spec| widen(kind, spec));
            stash::restore(kind, &mut metadata, &mut spec, entries);
        }
        (Version::V1Beta1, Version::V1Alpha1) => {
            let hub = spec.clone();
            let (projected, narrowed) = spec.map_or((None, false), |spec| {
                let (spec, narrowed) = project(kind, spec);
                (Some(spec), narrowed)
            });
            let carries_key = stash::is_present(&metadata);
            if narrowed || carries_key {
                let again = projected.clone().map(|spec| widen(kind, spec));
                stash::put(&mut metadata, hub, again);
            }
            spec = projected;
        }
        _ => {}
    }
    out.push("metadata", metadata);
    if let Some(spec) = spec {
        out.push("spec", spec);
    }
    if let Some(status) = status {
        out.push("status", status);
    }
    out
}

/// A v1alpha1 spec as the hub has it, without what a stash would add.
pub fn widen(kind: Kind, spec: Json<'_>) -> Json<'_> {
    match kind {
        Kind::Provider => provider::widen(spec),
        Kind::Group => spec,
        Kind::Discovery => discovery::widen(spec),
    }
}

/// A hub spec as v1alpha1 can say it, and whether something did not fit.
pub fn project(kind: Kind, spec: Json<'_>) -> (Json<'_>, bool) {
    match kind {
        Kind::Provider => provider::project(spec),
        Kind::Group => (spec, false),
        Kind::Discovery => discovery::project(spec),
    }
}

/// Whether the hub spec, with every level open, holds what v1alpha1 cannot say.
pub fn is_beyond_v1alpha1(kind: Kind, spec: &Json<'_>) -> bool {
    match kind {
        Kind::Provider => provider::is_beyond_v1alpha1(spec),
        Kind::Group => false,
        Kind::Discovery => discovery::is_beyond_v1alpha1(spec),
    }
}
