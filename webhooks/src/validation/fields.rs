//! How rules read an untyped object: a member of the wanted type, or nothing (the schema has said so already), and
//! the rules about one field that every kind shares.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mcp_hangar_api::duration::Duration;

use super::code;
use super::quote::{quoted, up_to};
use super::report::{Report, Shown};
use super::schema::step;
use crate::field::At;
use crate::json::{Json, Object};

/// A string member.
pub(super) fn text<'o>(object: &'o Object<'_>, key: &str) -> Option<&'o str> {
    object.get(key)?.as_str()
}

/// An object member.
pub(super) fn object<'o, 'a>(object: &'o Object<'a>, key: &str) -> Option<&'o Object<'a>> {
    object.get(key)?.as_object()
}

/// The items of a list member; none where it is absent.
pub(super) fn list<'o, 'a>(object: &'o Object<'a>, key: &str) -> &'o [Json<'a>] {
    object.get(key).and_then(Json::as_array).unwrap_or_default()
}

/// Whether the member is written at all.
pub(super) fn is_set(object: &Object<'_>, key: &str) -> bool {
    object.get(key).is_some_and(|value| !value.is_null())
}

/// Calls with each string of a list member.
pub(super) fn each_text(parent: &Object<'_>, key: &str, at: &At<'_>, mut each: impl FnMut(&str, &At<'_>)) {
    let list_at = at.key(key);
    for (index, item) in list(parent, key).iter().enumerate() {
        if let Some(text) = item.as_str() {
            each(text, &list_at.then(crate::field::Step::Index(index)));
        }
    }
}

/// Calls with each object of a list member.
pub(super) fn each_object<'o, 'a>(
    parent: &'o Object<'a>,
    key: &str,
    at: &At<'_>,
    mut each: impl FnMut(&'o Object<'a>, &At<'_>),
) {
    let list_at = at.key(key);
    for (index, item) in list(parent, key).iter().enumerate() {
        if let Json::Object(object) = item {
            each(object, &list_at.then(step(index, item)));
        }
    }
}

/// A string member that must follow a grammar.
pub(super) fn named(
    parent: &Object<'_>,
    key: &str,
    at: &At<'_>,
    r: &mut Report,
    grammar: impl Fn(&str) -> Result<(), String>,
) {
    follows(parent, key, at, r, &code::NAME, grammar);
}

/// A string member that must be a path.
pub(super) fn path(
    parent: &Object<'_>,
    key: &str,
    at: &At<'_>,
    r: &mut Report,
    grammar: impl Fn(&str) -> Result<(), String>,
) {
    follows(parent, key, at, r, &code::FILE_PATH, grammar);
}

/// A string member that must be there and follow a grammar.
pub(super) fn needed(
    parent: &Object<'_>,
    key: &str,
    at: &At<'_>,
    r: &mut Report,
    grammar: impl Fn(&str) -> Result<(), String>,
) {
    if is_needed(parent, key, at, r) {
        named(parent, key, at, r, grammar);
    }
}

/// Like [`needed`], for a name behind which a value is sometimes written by mistake: it is shown only up to there.
pub(super) fn needed_before(
    parent: &Object<'_>,
    key: &str,
    stops: &[char],
    at: &At<'_>,
    r: &mut Report,
    grammar: impl Fn(&str) -> Result<(), String>,
) {
    if is_needed(parent, key, at, r)
        && let Some(text) = text(parent, key)
        && let Err(says) = grammar(text)
    {
        r.hub(&at.key(key), &code::NAME, Shown::Text(&up_to(text, stops)), text, &says);
    }
}

/// Says so where a string member is absent or empty; whether there is more to judge.
pub(super) fn is_needed(parent: &Object<'_>, key: &str, at: &At<'_>, r: &mut Report) -> bool {
    let says = match parent.get(key) {
        None | Some(Json::Null) => "must be set",
        Some(Json::String(text)) if text.is_empty() => "must not be empty",
        Some(_) => return true,
    };
    r.hub(&at.key(key), &code::REQUIRED, Shown::Nothing, "", says);
    false
}

fn follows(
    parent: &Object<'_>,
    key: &str,
    at: &At<'_>,
    r: &mut Report,
    code: &'static code::Code,
    grammar: impl Fn(&str) -> Result<(), String>,
) {
    // Templates render optional fields as "": that is as good as absent, as it always was.
    if let Some(text) = text(parent, key).filter(|text| !text.is_empty())
        && let Err(says) = grammar(text)
    {
        r.hub(&at.key(key), code, Shown::Text(text), text, &says);
    }
}

/// The shortest duration that a field takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Least {
    /// Zero, which means something.
    Zero,
    /// Anything above zero.
    AboveZero,
    /// One second.
    Second,
}

/// A duration member; its value where it is a good one.
pub(super) fn duration(
    parent: &Object<'_>,
    key: &str,
    at: &At<'_>,
    least: Least,
    r: &mut Report,
) -> Option<Duration> {
    const SECOND: i64 = 1_000_000_000;
    let written = text(parent, key)?;
    let here = at.key(key);
    let parsed = match super::text::duration(written) {
        Ok(parsed) => parsed,
        Err(says) => {
            r.hub(&here, &code::DURATION, Shown::Text(written), written, &says);
            return None;
        }
    };
    let says = match least {
        Least::Zero if parsed.nanos() < 0 => "must not be negative; write \"0s\" or more",
        Least::AboveZero if parsed.nanos() <= 0 => "must be more than zero; write for example \"30s\"",
        Least::Second if parsed.nanos() < SECOND => "must be at least 1s; write \"1s\" or more",
        _ => return Some(parsed),
    };
    r.hub(&here, &code::DURATION_RANGE, Shown::Text(written), written, says);
    None
}

/// Says of each text in a list that was there before: where it was first. `key` is the field of an item that must be
/// unique; `None` where the items are the texts.
pub(super) fn unique(parent: &Object<'_>, list_key: &str, key: Option<&str>, at: &At<'_>, r: &mut Report) {
    unique_by(parent, list_key, key, at, r, |text| Cow::Borrowed(text));
}

/// The same for texts that count as equal when `fold` makes them so.
pub(super) fn unique_by(
    parent: &Object<'_>,
    list_key: &str,
    key: Option<&str>,
    at: &At<'_>,
    r: &mut Report,
    fold: impl Fn(&str) -> Cow<'_, str>,
) {
    let items = list(parent, list_key);
    if items.len() < 2 {
        return;
    }
    let list_at = at.key(list_key);
    let mut first: BTreeMap<Cow<'_, str>, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let found = match key {
            Some(key) => item.as_object().and_then(|object| text(object, key)),
            None => item.as_str(),
        };
        let Some(found) = found.filter(|text| !text.is_empty()) else { continue };
        let place = |index: usize, item: &Json<'_>, r: &mut Report, first: Option<&str>| {
            let item_at = list_at.then(step(index, item));
            let here = key.map_or(item_at, |key| item_at.key(key));
            match first {
                None => r.name(&here),
                Some(first) => {
                    let says = format!("also at {first}");
                    r.hub(&here, &code::DUPLICATE, Shown::Text(found), found, &says);
                    String::new()
                }
            }
        };
        let folded = fold(found);
        if let Some(earlier) = first.get(&folded).copied() {
            let name = items.get(earlier).map(|item| place(earlier, item, r, None)).unwrap_or_default();
            place(index, item, r, Some(&name));
        } else {
            first.insert(folded, index);
        }
    }
}

/// Says that a field is not read, naming why. Nothing is said of an empty one.
pub(super) fn ignored(parent: &Object<'_>, key: &str, at: &At<'_>, why: &str, r: &mut Report) {
    let says_something = match parent.get(key) {
        None | Some(Json::Null) => false,
        Some(Json::String(text)) => !text.is_empty(),
        Some(Json::Array(items)) => !items.is_empty(),
        Some(Json::Object(members)) => !members.is_empty(),
        Some(_) => true,
    };
    if says_something {
        r.warn(&at.key(key), &format!("ignored {why}"), "remove it");
    }
}

/// `spec.mode is "container"`, as the user writes it.
pub(super) fn mode_is(r: &Report, at: &At<'_>, hub: &str) -> String {
    format!("{} is {}", r.name(&at.key("mode")), quoted(r.mode(hub)))
}
