//! What a hub object has beyond what its projection gives back, as entries of a stash.
//!
//! Goes down both trees together; equal text is skipped unread. List items are told apart by name where all have one of
//! their own, else the list is kept whole.

use std::borrow::Cow;

use super::form::{Entry, Key, fingerprint, name_of};
use crate::json::Json;

pub(super) fn difference<'a>(
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
