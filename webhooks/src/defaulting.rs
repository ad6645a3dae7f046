//! Defaulting: which keys an object lacks, as a minimal JSON patch.
//!
//! In: an object's spec, untyped, in the version that was sent. Out: RFC 6902 `add` operations for absent keys only
//! (an explicit `null` counts as absent, and is removed where nothing takes its place: the API server does so itself,
//! except under server-side apply). A present key is never touched, whatever it holds; where a block should be and
//! something else is, nothing is injected. Nothing depends on `mode`, and applying the patch twice changes
//! nothing. The tables are written in hub paths; [`crate::conversion::table`] places them in v1alpha1.

use crate::conversion::table;
use crate::json::{Json, Object, write_string};
use crate::kind::{Kind, Version};

pub mod discovery;
pub mod group;
pub mod provider;

/// What stands in a block of defaults.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// A leaf with a fixed JSON text.
    Leaf(&'static str, &'static str),
    /// A leaf whose JSON text depends on its siblings; `None` injects nothing.
    Computed(&'static str, fn(&Object<'_>) -> Option<String>),
    /// A block that is injected whole where it is absent, and filled leaf by leaf where it is written.
    Block(&'static str, &'static [Default]),
    /// A block that is filled only where it is written.
    IfWritten(&'static str, &'static [Default]),
}

/// The defaults of a kind's spec, in hub paths.
pub fn table(kind: Kind) -> &'static [Default] {
    match kind {
        Kind::Provider => provider::DEFAULTS,
        Kind::Group => group::DEFAULTS,
        Kind::Discovery => discovery::DEFAULTS,
    }
}

/// The patch operations that fill the spec, each a complete JSON object.
pub fn patch(kind: Kind, version: Version, spec: &Json<'_>) -> Vec<String> {
    let mut operations = Vec::new();
    if let Json::Object(spec) = spec {
        fill(spec, table(kind), kind, version, "/spec", &mut operations);
    }
    if holds_null(spec) {
        let filled = operations.len();
        drop_nulls(spec, &mut "/spec".to_owned(), filled, &mut operations);
    }
    operations
}

fn holds_null(value: &Json<'_>) -> bool {
    match value {
        Json::Object(members) => members.iter().any(|(_, value)| value.is_null() || holds_null(value)),
        Json::Array(items) => items.iter().any(holds_null),
        _ => false,
    }
}

/// Removes the nulls that the first `filled` operations do not replace. One in a list stays: it is an item.
fn drop_nulls(value: &Json<'_>, pointer: &mut String, filled: usize, operations: &mut Vec<String>) {
    const MOST: usize = 1000;
    let whole = pointer.len();
    let mut visit = |step: &str, value: &Json<'_>, is_member: bool| {
        pointer.push('/');
        pointer.push_str(step);
        if !value.is_null() {
            drop_nulls(value, pointer, filled, operations);
        } else if is_member && operations.len() < MOST {
            let replaced = add(pointer, "");
            let replaced = replaced.trim_end_matches('}');
            if !operations.iter().take(filled).any(|operation| operation.starts_with(replaced)) {
                operations.push(remove(pointer));
            }
        }
        pointer.truncate(whole);
    };
    match value {
        Json::Object(members) => {
            members.iter().for_each(|(name, value)| visit(&pointer_step(name), value, true))
        }
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| visit(&index.to_string(), item, false));
        }
        _ => {}
    }
}

fn fill(
    object: &Object<'_>,
    defaults: &'static [Default],
    kind: Kind,
    version: Version,
    pointer: &str,
    operations: &mut Vec<String>,
) {
    for default in defaults {
        let name = default.name();
        if let Default::Block(block, members) = default
            && is_hoisted(kind, version, pointer, block)
        {
            fill(object, members, kind, version, pointer, operations);
            continue;
        }
        match object.get(name).filter(|value| !value.is_null()) {
            None => {
                if let Some(value) = default.whole(object) {
                    operations.push(add(&format!("{pointer}/{name}"), &value));
                }
            }
            Some(Json::Object(inner)) => {
                if let Default::Block(_, members) | Default::IfWritten(_, members) = default {
                    fill(inner, members, kind, version, &format!("{pointer}/{name}"), operations);
                }
            }
            Some(_) => {}
        }
    }
}

/// Whether the members of this hub block stand directly in the spec in that version.
fn is_hoisted(kind: Kind, version: Version, pointer: &str, block: &str) -> bool {
    kind == Kind::Provider
        && version == Version::V1Alpha1
        && pointer == "/spec"
        && table::BLOCKS.contains(&block)
}

impl Default {
    /// The key.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Leaf(name, _)
            | Self::Computed(name, _)
            | Self::Block(name, _)
            | Self::IfWritten(name, _) => name,
        }
    }

    /// The JSON text to inject where the key is absent; `siblings` is the object that lacks it.
    fn whole(&self, siblings: &Object<'_>) -> Option<String> {
        match self {
            Self::Leaf(_, text) => Some((*text).to_owned()),
            Self::Computed(_, compute) => compute(siblings),
            Self::Block(_, members) => {
                let nothing = Object::default();
                let members: Vec<String> = members
                    .iter()
                    .filter_map(|member| Some(format!("\"{}\":{}", member.name(), member.whole(&nothing)?)))
                    .collect();
                Some(format!("{{{}}}", members.join(",")))
            }
            Self::IfWritten(..) => None,
        }
    }
}

/// One `add` operation.
pub fn add(pointer: &str, value: &str) -> String {
    let mut out = String::from(r#"{"op":"add","path":"#);
    write_string(pointer, &mut out);
    out.push_str(",\"value\":");
    out.push_str(value);
    out.push('}');
    out
}

/// One `remove` operation.
pub fn remove(pointer: &str) -> String {
    let mut out = String::from(r#"{"op":"remove","path":"#);
    write_string(pointer, &mut out);
    out.push('}');
    out
}

/// A name as one step of a JSON pointer.
pub fn pointer_step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The text of an injected string leaf, for rules that must know what an absent key means. `path` is a hub path below
/// `spec`.
pub fn text(kind: Kind, path: &[&str]) -> Option<&'static str> {
    let mut defaults = table(kind);
    let (last, blocks) = path.split_last()?;
    for block in blocks {
        defaults = defaults.iter().find_map(|default| match default {
            Default::Block(name, members) | Default::IfWritten(name, members) if name == block => {
                Some(*members)
            }
            _ => None,
        })?;
    }
    defaults.iter().find_map(|default| match default {
        Default::Leaf(name, text) if name == last => text.strip_prefix('"')?.strip_suffix('"'),
        _ => None,
    })
}
