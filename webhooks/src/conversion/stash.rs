//! The stash: the annotation of a v1alpha1 object that carries what only the hub can say.
//!
//! It is the difference between a hub object and what its projection gives back, as compact JSON: a list of entries
//! `{p, v, b?, g?}` (path, hub value, the value that the projection alone gives, and for a list item the first 16 hex
//! digits of SHA-256 over the projected item). An entry returns only while `b` and `g` still hold, so what a user
//! changed in v1alpha1 wins. Exports outlive releases: this form is frozen by a golden file.

use std::borrow::Cow;

use mcp_hangar_api::annotation::CONVERSION_DATA;
use sha2::{Digest, Sha256};

use super::{Scratch, table};
use crate::json::{Json, Object, write_string};
use crate::kind::Kind;

/// What the API server allows for all annotations of an object, keys and values together.
pub const ANNOTATION_BYTES: usize = 256 * 1024;

/// One difference.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    path: Vec<Key<'a>>,
    value: Json<'a>,
    base: Option<Json<'a>>,
    guard: Option<Cow<'a, str>>,
}

/// One step of an entry's path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key<'a> {
    Field(Cow<'a, str>),
    /// A list item, found by its `name`.
    Named(Cow<'a, str>),
}

/// Reads the text of a stash; `None` where it is not one.
pub fn parse(text: &str) -> Option<Vec<Entry<'_>>> {
    let mut list = Json::lazy(text).ok()?;
    list.expand();
    let Json::Array(items) = list else { return None };
    items.into_iter().map(parse_entry).collect()
}

fn parse_entry(mut item: Json<'_>) -> Option<Entry<'_>> {
    item.expand();
    let Json::Object(mut members) = item else { return None };
    let (path, value) = (members.remove("p")?, members.remove("v")?);
    let base = members.remove("b");
    let guard = match members.remove("g") {
        None => None,
        Some(guard) => Some(text_of(guard)?),
    };
    let mut path = path;
    path.expand();
    let Json::Array(steps) = path else { return None };
    let path: Vec<Key<'_>> = steps.into_iter().map(parse_step).collect::<Option<_>>()?;
    (members.is_empty() && !path.is_empty()).then_some(Entry { path, value, base, guard })
}

fn parse_step(mut step: Json<'_>) -> Option<Key<'_>> {
    step.expand();
    match step {
        Json::String(field) => Some(Key::Field(field)),
        Json::Object(mut by) => {
            let name = text_of(by.remove("name")?)?;
            by.is_empty().then_some(Key::Named(name))
        }
        _ => None,
    }
}

fn text_of(mut value: Json<'_>) -> Option<Cow<'_, str>> {
    value.expand();
    match value {
        Json::String(text) => Some(text),
        _ => None,
    }
}

/// Whether the metadata has the stash annotation.
pub fn is_present(metadata: &Json<'_>) -> bool {
    if let Json::Raw(raw) = metadata
        && !raw.get().contains(CONVERSION_DATA)
        && !raw.get().contains("\\u")
        && !raw.get().contains("\\/")
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

/// Gives the hub object back what its stash still may return. Whatever would show in v1alpha1 was not stashed: with one
/// such value the whole stash is forged, and nothing of it returns.
pub fn restore<'a>(
    kind: Kind,
    metadata: &mut Json<'a>,
    spec: &mut Option<Json<'a>>,
    entries: Vec<Entry<'a>>,
) {
    if entries.is_empty() {
        return;
    }
    // All guards are checked before the first value returns: a returned value changes its item.
    let holding: Vec<Entry<'a>> = entries
        .into_iter()
        .filter(|entry| match entry.path.as_slice() {
            [Key::Field(top), rest @ ..] if top == "spec" => {
                is_carried(kind, rest, &entry.value)
                    && spec.as_mut().is_some_and(|spec| holds(entry, spec, rest))
            }
            path => is_annotation(path) && text_of(entry.value.clone()).is_some(),
        })
        .collect();
    let before = spec.clone();
    for entry in holding {
        let mut path = entry.path.into_iter();
        match path.next() {
            Some(Key::Field(top)) if top == "spec" => {
                if let Some(spec) = spec {
                    set(spec, path, entry.value);
                }
            }
            _ => put_annotation(metadata, entry.value),
        }
    }
    if let (Some(before), Some(after)) = (before, spec) {
        let (projected, _) = super::project(kind, after.clone());
        if super::widen(kind, projected).canonical() != before.canonical() {
            *after = before;
        }
    }
}

fn is_annotation(path: &[Key<'_>]) -> bool {
    matches!(path, [Key::Field(a), Key::Field(b), Key::Field(c)]
        if a == "metadata" && b == "annotations" && c == CONVERSION_DATA)
}

/// Whether an entry may lead there at all: to a hub-only field, into a narrowed one, or to a block that v1alpha1
/// could not express. A forged entry for anything else is dropped.
fn is_carried(kind: Kind, path: &[Key<'_>], value: &Json<'_>) -> bool {
    let path = match (kind, path) {
        (Kind::Provider, path) => path,
        (Kind::Discovery, [Key::Field(a), Key::Field(b), rest @ ..])
            if a == "providerTemplate" && b == "spec" =>
        {
            rest
        }
        _ => return false,
    };
    match path {
        [Key::Field(block)] if table::BLOCKS.contains(&block.as_ref()) => {
            let mut value = value.clone();
            value.expand_object().is_none_or(|members| {
                members
                    .iter()
                    .all(|(name, _)| matches!(table::by_block(block, name), Some(table::Row::HubOnly(..))))
            })
        }
        [Key::Field(block), Key::Field(name)] => {
            matches!(table::by_block(block, name), Some(table::Row::HubOnly(..) | table::Row::Narrowed(..)))
        }
        [Key::Field(block), Key::Field(name), ..] => {
            matches!(table::by_block(block, name), Some(table::Row::Narrowed(..)))
        }
        _ => false,
    }
}

/// Whether the place is there and still has the value and the item that the stash was made over.
fn holds<'a>(entry: &Entry<'a>, spec: &mut Json<'a>, path: &[Key<'a>]) -> bool {
    let Some((last, way)) = path.split_last() else { return false };
    let mut here = spec;
    let mut guarded = entry.guard.is_none();
    for step in way {
        let Some(next) = child(here, step) else { return false };
        if matches!(step, Key::Named(_)) {
            guarded = entry.guard.as_deref() == Some(fingerprint(next).as_str());
        }
        here = next;
    }
    here.expand();
    let place = match last {
        Key::Field(name) => match here {
            Json::Object(members) => members.get(name),
            _ => return false,
        },
        Key::Named(_) => child(here, last).map(|item| &*item),
    };
    let same = match (place, &entry.base) {
        (None, None) => true,
        (Some(place), Some(base)) => place.canonical() == base.canonical(),
        _ => false,
    };
    guarded && same
}

fn child<'a, 'b>(parent: &'b mut Json<'a>, step: &Key<'a>) -> Option<&'b mut Json<'a>> {
    match step {
        Key::Field(name) => parent.expand_object()?.get_mut(name),
        Key::Named(name) => {
            let items = parent.expand_array()?;
            let mut found = None;
            for (index, item) in items.iter_mut().enumerate() {
                if name_of(item).is_some_and(|own| own == *name) && found.replace(index).is_some() {
                    return None;
                }
            }
            items.get_mut(found?)
        }
    }
}

fn set<'a>(spec: &mut Json<'a>, path: impl Iterator<Item = Key<'a>>, value: Json<'a>) {
    let mut here = spec;
    let mut path = path.peekable();
    while let Some(step) = path.next() {
        if path.peek().is_none()
            && let Key::Field(name) = step
        {
            if let Some(members) = here.expand_object() {
                members.insert(name, value);
            }
            return;
        }
        let Some(next) = child(here, &step) else { return };
        here = next;
    }
    *here = value;
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

fn difference<'a>(
    mut hub: Json<'a>,
    mut projected: Json<'a>,
    path: &mut Vec<Key<'a>>,
    guard: Option<&str>,
    out: &mut Vec<Entry<'a>>,
) {
    if let (Json::Raw(a), Json::Raw(b)) = (&hub, &projected)
        && a.get() == b.get()
    {
        return;
    }
    hub.expand();
    projected.expand();
    let guard_text = || guard.map(|text| Cow::Owned(text.to_owned()));
    match (hub, projected) {
        (Json::Object(hub), Json::Object(mut projected)) => {
            for (name, value) in hub {
                let same = projected.remove(&name);
                path.push(Key::Field(name));
                match same {
                    Some(same) => difference(value, same, path, guard, out),
                    None => out.push(Entry { path: path.clone(), value, base: None, guard: guard_text() }),
                }
                path.pop();
            }
        }
        (Json::Array(mut hub), Json::Array(mut projected)) => {
            if !named_alike(&mut hub, &mut projected) {
                return whole(Json::Array(hub), Json::Array(projected), path, guard_text(), out);
            }
            for (mut item, same) in hub.into_iter().zip(projected) {
                let Some(name) = name_of(&mut item) else { continue };
                let guard = fingerprint(&same);
                path.push(Key::Named(name));
                difference(item, same, path, Some(&guard), out);
                path.pop();
            }
        }
        (hub, projected) => whole(hub, projected, path, guard_text(), out),
    }
}

/// One entry for a value that cannot be taken apart.
fn whole<'a>(
    hub: Json<'a>,
    projected: Json<'a>,
    path: &[Key<'a>],
    guard: Option<Cow<'a, str>>,
    out: &mut Vec<Entry<'a>>,
) {
    if hub.canonical() != projected.canonical() {
        out.push(Entry { path: path.to_vec(), value: hub, base: Some(projected), guard });
    }
}

/// Whether both lists hold the same named items in the same order, each name once.
fn named_alike<'a>(hub: &mut [Json<'a>], projected: &mut [Json<'a>]) -> bool {
    let names: Option<Vec<Cow<'a, str>>> = hub.iter_mut().map(name_of).collect();
    let others: Option<Vec<Cow<'a, str>>> = projected.iter_mut().map(name_of).collect();
    let Some(mut names) = names else { return false };
    if Some(&names) != others.as_ref() {
        return false;
    }
    names.sort_unstable();
    names.iter().zip(names.iter().skip(1)).all(|(a, b)| a != b)
}

fn name_of<'a>(item: &mut Json<'a>) -> Option<Cow<'a, str>> {
    // Opened in place: every entry of a long list asks for every name.
    let name = item.expand_object()?.get_mut("name")?;
    name.expand();
    match name {
        Json::String(name) => Some(name.clone()),
        _ => None,
    }
}

fn fingerprint(item: &Json<'_>) -> String {
    Sha256::digest(item.canonical().as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn write(entries: &[Entry<'_>]) -> String {
    let mut texts: Vec<(String, String)> =
        entries.iter().map(|entry| (write_path(&entry.path), write_entry(entry))).collect();
    texts.sort();
    let texts: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
    format!("[{}]", texts.join(","))
}

fn write_entry(entry: &Entry<'_>) -> String {
    let mut out = String::from("{");
    if let Some(base) = &entry.base {
        out.push_str("\"b\":");
        out.push_str(&base.canonical());
        out.push(',');
    }
    if let Some(guard) = &entry.guard {
        out.push_str("\"g\":");
        write_string(guard, &mut out);
        out.push(',');
    }
    out.push_str("\"p\":");
    out.push_str(&write_path(&entry.path));
    out.push_str(",\"v\":");
    out.push_str(&entry.value.canonical());
    out.push('}');
    out
}

fn write_path(path: &[Key<'_>]) -> String {
    let mut out = String::from("[");
    for (position, key) in path.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        match key {
            Key::Field(name) => write_string(name, &mut out),
            Key::Named(name) => {
                out.push_str("{\"name\":");
                write_string(name, &mut out);
                out.push('}');
            }
        }
    }
    out.push(']');
    out
}
