//! From a stash back into the hub object, as far as it still holds.
//!
//! In: the widened object and the entries that came with it. An entry returns where the place is as it was when the
//! stash was made, and only to places that v1alpha1 cannot show: a stash is user input.

use mcp_hangar_api::annotation::CONVERSION_DATA;

use super::form::{Entry, Key, fingerprint, name_of, text_of};
use super::put_annotation;
use crate::conversion::{project, table, widen};
use crate::json::Json;
use crate::kind::Kind;

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
        let (projected, _) = project(kind, after.clone());
        if widen(kind, projected).canonical() != before.canonical() {
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
