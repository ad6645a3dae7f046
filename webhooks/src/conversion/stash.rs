//! The stash: the annotation of a v1alpha1 object that carries what only the hub can say.
//!
//! It is the difference between a hub object and what its projection gives back, as compact JSON: a list of entries
//! `{p, v, b?, g?}` (path, hub value, the value that the projection alone gives, and for a list item the first 16 hex
//! digits of SHA-256 over the projected item). An entry returns only while `b` and `g` still hold, so what a user
//! changed in v1alpha1 wins. Exports outlive releases: this form is frozen by a golden file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mcp_hangar_api::annotation::CONVERSION_DATA;

use super::Scratch;
use crate::field::{Path, Segment};
use crate::json::{Json, Object};
use crate::kind::Kind;

mod difference;
mod form;
mod restore;

use difference::difference;
pub use form::{Entry, parse};
use form::{Key, text_of, write};
pub use restore::restore;

/// What the API server allows for all annotations of an object, keys and values together.
pub const ANNOTATION_BYTES: usize = 256 * 1024;

/// Whether JSON text could hold the key of the annotation; with escapes it always could.
pub(crate) fn may_be_in(text: &str) -> bool {
    text.contains(CONVERSION_DATA) || text.contains("\\u") || text.contains("\\/")
}

/// Whether the metadata has the stash annotation.
pub fn is_present(metadata: &Json<'_>) -> bool {
    if let Json::Raw(raw) = metadata
        && !may_be_in(raw.get())
    {
        return false;
    }
    let mut metadata = metadata.clone();
    annotations_of(&mut metadata).is_some_and(|annotations| annotations.get(CONVERSION_DATA).is_some())
}

fn annotations_of<'a, 'b>(metadata: &'b mut Json<'a>) -> Option<&'b mut Object<'a>> {
    metadata.expand_object()?.get_mut("annotations")?.expand_object()
}

/// Takes the stash out of the metadata of a v1alpha1 object. One that does not parse is an ordinary annotation and
/// stays.
pub fn take<'a>(metadata: &mut Json<'a>, scratch: &'a Scratch) -> Vec<Entry<'a>> {
    if !is_present(metadata) {
        return Vec::new();
    }
    let Some(annotations) = annotations_of(metadata) else { return Vec::new() };
    let Some(text) = annotations.get(CONVERSION_DATA).cloned().and_then(text_of) else { return Vec::new() };
    let Some(entries) = parse(scratch.get_or_init(|| text.into_owned())) else { return Vec::new() };
    annotations.remove(CONVERSION_DATA);
    if annotations.is_empty()
        && let Some(metadata) = metadata.expand_object()
    {
        metadata.remove("annotations");
    }
    entries
}

fn put_annotation<'a>(metadata: &mut Json<'a>, value: Json<'a>) {
    let Some(metadata) = metadata.expand_object() else { return };
    match metadata.get_mut("annotations").map(Json::expand_object) {
        Some(Some(annotations)) => annotations.insert(CONVERSION_DATA, value),
        _ => metadata.insert(
            "annotations",
            Json::Object(Object::from_iter([(Cow::Borrowed(CONVERSION_DATA), value)])),
        ),
    }
}

/// Puts the difference between a hub spec and what its projection gives back into the metadata of the v1alpha1
/// object, unless the annotations would then be more than the API server allows.
pub fn put<'a>(metadata: &mut Json<'a>, hub: Option<Json<'a>>, projected: Option<Json<'a>>) {
    let mut entries = Vec::new();
    if let (Some(hub), Some(projected)) = (hub, projected) {
        difference(hub, projected, &mut vec![Key::Field("spec".into())], None, &mut entries);
    }
    let own = annotations_of(metadata).and_then(|annotations| annotations.get(CONVERSION_DATA).cloned());
    if let Some(own) = own {
        // The hub object has an annotation of that name: it would be taken for a stash, or be overwritten by one.
        let is_a_stash = text_of(own.clone()).is_some_and(|text| parse(&text).is_some());
        if is_a_stash || !entries.is_empty() {
            let path =
                ["metadata", "annotations", CONVERSION_DATA].map(|key| Key::Field(key.into())).to_vec();
            entries.push(Entry { path, value: own, base: None, guard: None });
        }
    }
    if entries.is_empty() {
        return;
    }
    let text = write(&entries);
    if annotation_bytes(metadata) + CONVERSION_DATA.len() + text.len() <= ANNOTATION_BYTES {
        put_annotation(metadata, Json::String(Cow::Owned(text)));
    }
}

/// The text of the stash that a hub spec would leave on its v1alpha1 projection; `None` where nothing is lost.
pub fn text_for<'a>(kind: Kind, hub: &Json<'a>) -> Option<String> {
    if !super::is_beyond_v1alpha1(kind, hub) {
        return None;
    }
    let (projected, _) = super::project(kind, hub.clone());
    let mut entries = Vec::new();
    let again = super::widen(kind, projected);
    difference(hub.clone(), again, &mut vec![Key::Field("spec".into())], None, &mut entries);
    (!entries.is_empty()).then(|| write(&entries))
}

/// Which field of the hub takes the most of a stash.
pub fn largest_part(text: &str) -> Option<Path> {
    let mut sizes: BTreeMap<Path, usize> = BTreeMap::new();
    for entry in parse(text)? {
        let fields = entry.path.iter().map_while(|key| match key {
            Key::Field(name) => Some(Segment::Key(name.to_string())),
            Key::Named(_) => None,
        });
        *sizes.entry(Path(fields.collect())).or_default() += entry.size();
    }
    sizes.into_iter().max_by_key(|(_, size)| *size).map(|(path, _)| path)
}

/// The size of all annotations but the stash, counted as the API server counts.
pub fn annotation_bytes(metadata: &Json<'_>) -> usize {
    let mut metadata = metadata.clone();
    let Some(annotations) = annotations_of(&mut metadata) else { return 0 };
    annotations
        .iter_mut()
        .filter(|(key, _)| *key != CONVERSION_DATA)
        .map(|(key, value)| {
            value.expand();
            key.len() + value.as_str().map_or(0, str::len)
        })
        .sum()
}
