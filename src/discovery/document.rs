//! The YAML of a ConfigMap: `providers:` as a list of items with names, or as a map of names to items.
//!
//! In: the text. Out: each item with its name and line, or what is wrong with it; or why nothing of the text can be
//! read, with line and column. Aliases, depth and nodes are bounded. Values are never quoted: they may be secrets. What
//! the items mean is left to [`super::merge`].

mod node;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Spanned, budget};

use self::node::Node;
use super::found::{Body, Form, Spec};
use crate::words;

/// The most characters of a name that are looked at.
const LONGEST_NAME: usize = 253;

/// One entry under `providers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name; `None` where it has none, and then nobody knows which provider it was.
    pub name: Option<String>,
    /// Where it begins.
    pub line: usize,
    /// What is in it.
    pub body: Body,
}

/// Reads the text.
pub fn read(text: &str) -> Result<Vec<Entry>, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        budget: budget! {
            max_events: 300_000,
            max_nodes: 150_000,
            max_depth: 32,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 1,
        },
    };
    let document: Document =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| words::yaml(&error))?;
    match document.providers {
        Some(Spanned { value: Providers(Some(entries)), .. }) => Ok(entries),
        Some(other) => Err(format!(
            "providers, at line {}, must be a list of items with names, or a map of names to items; write [] for none",
            other.referenced.line()
        )),
        None => Err("it has no key providers; write providers: and below it a list or a map".to_owned()),
    }
}

/// The whole text.
struct Document {
    providers: Option<Spanned<Providers>>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Document;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map with the key providers")
            }

            // An empty text, and one that is only text.
            fn visit_str<E>(self, _: &str) -> Result<Document, E> {
                Ok(Document { providers: None })
            }

            fn visit_unit<E>(self) -> Result<Document, E> {
                Ok(Document { providers: None })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
                while list.next_element::<Node>()?.is_some() {}
                Ok(Document { providers: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut providers = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "providers" {
                        map.next_value::<Node>()?;
                    } else if providers.replace(map.next_value()?).is_some() {
                        return Err(serde::de::Error::custom("providers is there twice"));
                    }
                }
                Ok(Document { providers })
            }
        }
        from.deserialize_any(Whole)
    }
}

/// What stands under `providers`; `None` where it is neither a list nor a map.
struct Providers(Option<Vec<Entry>>);

impl<'de> Deserialize<'de> for Providers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Both;
        impl<'de> Visitor<'de> for Both {
            type Value = Providers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list or a map")
            }

            fn visit_unit<E>(self) -> Result<Providers, E> {
                Ok(Providers(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Providers, E> {
                Ok(Providers(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Providers, E> {
                Ok(Providers(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Providers, E> {
                Ok(Providers(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Providers, E> {
                Ok(Providers(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<Providers, E> {
                Ok(Providers(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Providers, A::Error> {
                let mut entries = Vec::new();
                while let Some(item) = list.next_element::<Spanned<Node>>()? {
                    entries.push(listed(item));
                }
                Ok(Providers(Some(entries)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Providers, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<Spanned<String>>()? {
                    let line = line(name.referenced.line());
                    entries.push(named(Ok(name.value), line, map.next_value()?));
                }
                Ok(Providers(Some(entries)))
            }
        }
        from.deserialize_any(Both)
    }
}

fn line(line: impl TryInto<usize>) -> usize {
    line.try_into().unwrap_or(0)
}

/// An item of a list, which says its own name.
fn listed(item: Spanned<Node>) -> Entry {
    let at = line(item.referenced.line());
    let mut node = item.value;
    let name = match node.value.as_object_mut().and_then(|members| members.remove("name")) {
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name),
        Some(Value::Number(name)) => Ok(name.to_string()),
        Some(_) => Err("name: must be a text that is not empty"),
        None if node.value.is_object() => Err("name: must be set for each item of a list"),
        None => Err("must be a map with a name, such as {name: weather, image: ghcr.io/acme/weather:1.0.0}"),
    };
    named(name.map_err(str::to_owned), at, node)
}

fn named(name: Result<String, String>, line: usize, node: Node) -> Entry {
    let name = match name {
        Ok(name) if name.chars().count() <= LONGEST_NAME => name,
        Ok(name) => {
            let cut = name.chars().take(LONGEST_NAME).collect();
            let bad = format!("line {line}: the name must have at most {LONGEST_NAME} characters");
            return Entry { name: Some(cut), line, body: Body::Bad(bad) };
        }
        Err(says) => return Entry { name: None, line, body: Body::Bad(format!("line {line}: {says}")) },
    };
    let body = match (node.twice, node.value) {
        (Some(key), _) => Body::Bad(format!("line {line}: the key {key} is there twice")),
        (None, Value::Object(members)) => match spec(members) {
            Ok(spec) => Body::Specs(vec![spec]),
            Err(says) => Body::Bad(format!("line {line}: {says}")),
        },
        (None, _) => {
            let says = "must be a map, such as {image: ghcr.io/acme/weather:1.0.0}";
            Body::Bad(format!("line {line}: {says}"))
        }
    };
    Entry { name: Some(name), line, body }
}

/// The fields of a provider's spec, in the form of either version, and how `mode` follows where it is absent.
fn spec(mut members: Map<String, Value>) -> Result<Spec, String> {
    let form = Form::of(&members);
    if let Some(unknown) = undeclared(form, &members, &mut Vec::new()) {
        let guess = form.closest(&unknown);
        let guess = guess.map(|guess| format!("; did you mean {guess}?")).unwrap_or_default();
        let shown = mcp_hangar_webhooks::validation::quote::quoted(&unknown);
        return Err(format!("{shown} is no field of a provider{guess}"));
    }
    match members.get("mode") {
        Some(Value::String(mode)) => {
            if let Some(known) = form.modes().into_iter().find(|known| known.eq_ignore_ascii_case(mode)) {
                members.insert("mode".into(), known.into());
            }
        }
        None | Some(Value::Null) => {
            let has = |block: &str, field: &str| match form {
                Form::Flat => members.contains_key(field),
                Form::Blocks => members.get(block).is_some_and(|block| block.get(field).is_some()),
            };
            let [container, remote] = form.modes();
            match (has("container", "image"), has("remote", "endpoint")) {
                (true, true) => {
                    return Err("mode: must be set where there are both image and endpoint".into());
                }
                (true, false) => members.insert("mode".into(), container.into()),
                (false, true) => members.insert("mode".into(), remote.into()),
                // The template may say it.
                (false, false) => None,
            };
        }
        Some(_) => {}
    }
    Ok(Spec { form, members })
}

/// A field at any depth that a provider does not have: the API server would drop it from a new one without a word, and
/// refuse every later change for it.
fn undeclared<'a>(form: Form, members: &'a Map<String, Value>, path: &mut Vec<&'a str>) -> Option<String> {
    members.iter().find_map(|(name, value)| {
        path.push(name);
        let found = if form.declares(path) { within(form, value, path) } else { Some(path.join(".")) };
        path.pop();
        found
    })
}

fn within<'a>(form: Form, value: &'a Value, path: &mut Vec<&'a str>) -> Option<String> {
    match value {
        Value::Object(members) => undeclared(form, members, path),
        Value::Array(items) => {
            path.push("[]");
            let found = items.iter().find_map(|item| within(form, item, path));
            path.pop();
            found
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
