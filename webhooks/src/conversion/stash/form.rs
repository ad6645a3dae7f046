//! The text of a stash: compact JSON with sorted keys, read and written here and nowhere else.
//!
//! The form is frozen, since exports of v1alpha1 objects outlive releases; a golden file holds it. An unknown member or
//! an odd step makes the whole text none of ours.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::json::{Json, write_string};

/// One difference.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    pub(super) path: Vec<Key<'a>>,
    pub(super) value: Json<'a>,
    pub(super) base: Option<Json<'a>>,
    pub(super) guard: Option<Cow<'a, str>>,
}

impl Entry<'_> {
    /// How much of the stash it takes.
    pub(super) fn size(&self) -> usize {
        write_entry(self).len()
    }
}

/// One step of an entry's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key<'a> {
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

/// The text of some entries, in the order of their paths.
pub(super) fn write(entries: &[Entry<'_>]) -> String {
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

/// A string, opened.
pub(super) fn text_of(mut value: Json<'_>) -> Option<Cow<'_, str>> {
    value.expand();
    match value {
        Json::String(text) => Some(text),
        _ => None,
    }
}

/// The name of a list item.
pub(super) fn name_of<'a>(item: &mut Json<'a>) -> Option<Cow<'a, str>> {
    // Opened in place: every entry of a long list asks for every name.
    let name = item.expand_object()?.get_mut("name")?;
    name.expand();
    match name {
        Json::String(name) => Some(name.clone()),
        _ => None,
    }
}

/// What guards a list item: a digest of its canonical text.
pub(super) fn fingerprint(item: &Json<'_>) -> String {
    Sha256::digest(item.canonical().as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
