//! The provider spec in both directions, as [`table`] says.
//!
//! Blocks are filled by the presence of keys, never by mode. A block that is not an object, or an empty one, has no
//! place in v1alpha1: [`project`] says so, and the stash carries it.

use std::borrow::Cow;

use super::table::{self, Part, Row};
use crate::json::{Json, Object};

/// A v1alpha1 provider spec as the hub has it.
pub fn widen(mut spec: Json<'_>) -> Json<'_> {
    spec.expand();
    let Json::Object(members) = spec else { return spec };
    let mut hub = Object::default();
    for (name, value) in members {
        match table::by_v1alpha1(&name) {
            Some(Row::Mode) => hub.push(name, swapped(value)),
            Some(Row::Same(_)) => hub.push(name, value),
            Some(Row::Moved(block, field) | Row::Narrowed(block, field, _)) => {
                put_in(&mut hub, block, field, value)
            }
            Some(Row::HubOnly(..)) | None => {}
        }
    }
    Json::Object(hub)
}

fn put_in<'a>(hub: &mut Object<'a>, block: &'static str, field: &'static str, value: Json<'a>) {
    match hub.get_mut(block) {
        Some(Json::Object(members)) => members.push(field, value),
        _ => hub.push(block, Json::Object(Object::from_iter([(Cow::Borrowed(field), value)]))),
    }
}

/// A hub provider spec as v1alpha1 can say it, and whether something did not fit.
pub fn project(mut spec: Json<'_>) -> (Json<'_>, bool) {
    spec.expand();
    let Json::Object(members) = spec else { return (spec, false) };
    let mut flat = Object::default();
    let mut narrowed = false;
    for (name, mut value) in members {
        match table::by_hub(&name) {
            Some(Row::Mode) => flat.push(name, swapped(value)),
            Some(_) => flat.push(name, value),
            None if table::BLOCKS.contains(&name.as_ref()) => {
                value.expand();
                narrowed |= flatten(&name, value, &mut flat);
            }
            None => {}
        }
    }
    (Json::Object(flat), narrowed)
}

/// Whether the hub spec, with every level open, holds what v1alpha1 cannot say: the answer of [`project`] without
/// its work.
pub fn is_beyond_v1alpha1(spec: &Json<'_>) -> bool {
    let Json::Object(spec) = spec else { return false };
    table::BLOCKS.iter().any(|block| match spec.get(block) {
        None => false,
        Some(Json::Object(members)) => {
            members.is_empty()
                || members.iter().any(|(name, value)| exceeds(table::by_block(block, name), value))
        }
        Some(_) => true,
    })
}

fn exceeds(row: Option<Row>, value: &Json<'_>) -> bool {
    match row {
        Some(Row::HubOnly(..)) => true,
        Some(Row::Narrowed(_, _, Part::Env)) => value.as_array().into_iter().flatten().any(|item| {
            let from = item.as_object().and_then(|item| item.get("valueFrom")?.as_object());
            from.is_some_and(|from| from.iter().any(|(source, _)| table::provider_env_beyond(source)))
        }),
        Some(Row::Narrowed(_, _, Part::Resources)) => {
            let lists =
                value.as_object().into_iter().flat_map(Object::iter).filter_map(|(_, list)| list.as_object());
            lists.flat_map(Object::iter).any(|(name, _)| !table::is_v1alpha1_resource(name))
        }
        _ => false,
    }
}

/// Moves the members of one block up; says whether something did not fit.
fn flatten<'a>(block: &str, value: Json<'a>, flat: &mut Object<'a>) -> bool {
    let Json::Object(members) = value else { return true };
    let mut narrowed = members.is_empty();
    for (name, mut value) in members {
        match table::by_block(block, &name) {
            Some(Row::Moved(..)) => flat.push(name, value),
            Some(Row::Narrowed(_, _, part)) => {
                narrowed |= narrow(part, &mut value);
                flat.push(name, value);
            }
            Some(Row::HubOnly(..)) => narrowed = true,
            Some(Row::Mode | Row::Same(_)) | None => {}
        }
    }
    narrowed
}

/// Takes out of the value what v1alpha1 cannot say; says whether there was any.
fn narrow(part: Part, value: &mut Json<'_>) -> bool {
    match part {
        Part::Env => may_hold(value, "ieldRef") && narrow_env(value),
        Part::Resources => narrow_resources(value),
    }
}

/// Whether unopened text could hold the word; text with escapes always could.
fn may_hold(value: &Json<'_>, word: &str) -> bool {
    match value {
        Json::Raw(raw) => raw.get().contains(word) || raw.get().contains("\\u"),
        _ => true,
    }
}

fn narrow_env(env: &mut Json<'_>) -> bool {
    let mut narrowed = false;
    for item in env.expand_array().into_iter().flatten() {
        let Some(item) = item.expand_object() else { continue };
        let Some(sources) = item.get_mut("valueFrom").and_then(Json::expand_object) else { continue };
        let before = sources.len();
        sources.retain(|source| !table::provider_env_beyond(source));
        if sources.len() < before {
            narrowed = true;
            if sources.is_empty() {
                item.remove("valueFrom");
            }
        }
    }
    narrowed
}

fn narrow_resources(resources: &mut Json<'_>) -> bool {
    let Some(resources) = resources.expand_object() else { return false };
    let mut narrowed = false;
    let mut emptied = Vec::new();
    for (name, list) in resources.iter_mut() {
        let Some(list) = list.expand_object() else { continue };
        let before = list.len();
        list.retain(table::is_v1alpha1_resource);
        if list.len() < before {
            narrowed = true;
            if list.is_empty() {
                emptied.push(name.to_owned());
            }
        }
    }
    resources.retain(|name| !emptied.iter().any(|gone| gone == name));
    narrowed
}

fn swapped(mut mode: Json<'_>) -> Json<'_> {
    mode.expand();
    match mode.as_str().and_then(table::swap_mode) {
        Some(other) => Json::String(Cow::Borrowed(other)),
        None => mode,
    }
}
