//! A JSON tree that borrows from the text it came from and expands only where it is looked into.
//!
//! In: JSON text. Out: [`Json`], either whole ([`Json::parse`], what admission judges) or one level at a time
//! ([`Json::lazy`] and [`Json::expand`], what conversion moves about). A value that nobody expanded is written out as
//! the very text that came in, so numbers and escapes survive. It leaves the meaning of the values to its callers.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde_json::Number;
use serde_json::value::RawValue;

mod parse;

use parse::Shallow;
pub use parse::{Plan, Planned, Text};

/// A JSON value that borrows from its source.
#[derive(Debug, Clone)]
pub enum Json<'a> {
    /// Text that nobody has looked into yet.
    Raw(&'a RawValue),
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number.
    Number(Number),
    /// Any string.
    String(Cow<'a, str>),
    /// A list.
    Array(Vec<Json<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// The members of a JSON object in the order they were written, each name once (the last one wins, as in Go).
#[derive(Debug, Clone, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Json<'a> {
    /// Parses the whole text.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Checks that the text is JSON and looks no further.
    pub fn lazy(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::Raw)
    }

    /// Opens one level: afterwards the value is not [`Json::Raw`], though what is below it may be. A number stays the
    /// text that it is, since no two writers of JSON write all numbers alike.
    pub fn expand(&mut self) {
        if let Self::Raw(raw) = *self {
            match Shallow::open(raw) {
                Self::Number(_) => {}
                opened => *self = opened,
            }
        }
    }

    /// Opens one level, numbers too.
    fn open(&mut self) {
        if let Self::Raw(raw) = *self {
            *self = Shallow::open(raw);
        }
    }

    /// Opens every level, down to a depth that no object of our kinds has.
    pub fn expand_all(&mut self) {
        self.expand_below(0);
    }

    fn expand_below(&mut self, depth: usize) {
        if depth == CANONICAL_DEPTH {
            return;
        }
        self.open();
        match self {
            Self::Array(items) => items.iter_mut().for_each(|item| item.expand_below(depth + 1)),
            Self::Object(object) => object.iter_mut().for_each(|(_, value)| value.expand_below(depth + 1)),
            _ => {}
        }
    }

    /// The value at a path from here, where every level is open.
    pub fn at(&self, path: &[crate::field::Segment]) -> Option<&Json<'a>> {
        use crate::field::Segment;
        path.iter().try_fold(self, |here, step| match step {
            Segment::Key(key) | Segment::MapKey(key) => here.as_object()?.get(key),
            Segment::Item { index, .. } => here.as_array()?.get(*index),
        })
    }

    /// This object, opened; `None` for any other type.
    pub fn expand_object(&mut self) -> Option<&mut Object<'a>> {
        self.expand();
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// This list, opened; `None` for any other type.
    pub fn expand_array(&mut self) -> Option<&mut Vec<Json<'a>>> {
        self.expand();
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object, where it is an opened one.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The list, where it is an opened one.
    pub fn as_array(&self) -> Option<&[Json<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The string, where it is an opened one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, where it is an opened one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The truth value, where it is an opened one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether this is an opened `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The type's name as a user would say it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Raw(raw) if raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()) => "number",
            Self::Raw(_) => "value",
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(number) if number.is_f64() => "number",
            Self::Number(_) => "integer",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Appends the value as compact JSON; what was never opened is copied as it came.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Raw(raw) => out.push_str(raw.get()),
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => push_display(out, number),
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(object) => object.write(out),
        }
    }

    /// The value as compact JSON with sorted keys at every level, which makes equal values equal text.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.clone().write_canonical(&mut out, 0);
        out
    }

    fn write_canonical(mut self, out: &mut String, depth: usize) {
        if depth < CANONICAL_DEPTH {
            self.open();
        }
        match self {
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_canonical(out, depth + 1);
                }
                out.push(']');
            }
            Self::Object(Object(mut members)) => {
                members.sort_by(|(a, _), (b, _)| a.cmp(b));
                out.push('{');
                for (index, (key, value)) in members.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(&key, out);
                    out.push(':');
                    value.write_canonical(out, depth + 1);
                }
                out.push('}');
            }
            scalar => scalar.write(out),
        }
    }
}

/// Below this depth [`Json::canonical`] copies text as it is: no object of our kinds is this deep, and the stack holds.
const CANONICAL_DEPTH: usize = 100;

impl<'a> Object<'a> {
    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The member of that name, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json<'a>> {
        self.0.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets a member, replacing one of the same name.
    pub fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: Json<'a>) {
        let name = name.into();
        match self.get_mut(&name) {
            Some(place) => *place = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds a member that is known to be new.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: Json<'a>) {
        self.0.push((name.into(), value));
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Json<'a>> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(index).1)
    }

    /// Keeps the members whose names pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(key, _)| keep(key));
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// The members in order, to change their values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Json<'a>)> {
        self.0.iter_mut().map(|(key, value)| {
            let key: &Cow<'a, str> = key;
            (key.as_ref(), value)
        })
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn write(&self, out: &mut String) {
        out.push('{');
        for (index, (key, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            write_string(key, out);
            out.push(':');
            value.write(out);
        }
        out.push('}');
    }

    /// Keeps the last of several members of one name, in linear time for large objects.
    fn keep_last_of_each_name(mut self) -> Self {
        const SMALL: usize = 24;
        let members = &self.0;
        let repeated = if members.len() <= SMALL {
            members
                .iter()
                .enumerate()
                .any(|(index, (key, _))| members.iter().take(index).any(|(k, _)| k == key))
        } else {
            let mut seen = HashSet::with_capacity(members.len());
            !members.iter().all(|(key, _)| seen.insert(key.as_ref()))
        };
        if repeated {
            let mut seen = HashSet::with_capacity(self.0.len());
            let mut kept: Vec<_> =
                self.0.into_iter().rev().filter(|(key, _)| seen.insert(key.to_string())).collect();
            kept.reverse();
            self.0 = kept;
        }
        self
    }
}

impl<'a> IntoIterator for Object<'a> {
    type Item = (Cow<'a, str>, Json<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Json<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Json<'a>)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

/// Reads JSON from bytes. Whether they are UTF-8 is asked once for all of them, which is faster than for each string.
pub fn read<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        // For its words about what is wrong, and where.
        Err(_) => serde_json::from_slice(bytes),
    }
}

/// Appends a JSON string literal.
pub fn write_string(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        match serde_json::to_string(text) {
            Ok(literal) => out.push_str(&literal),
            Err(_) => out.push_str("\"\""),
        }
    }
}

fn push_display(out: &mut String, value: &impl fmt::Display) {
    use fmt::Write;
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Json::lazy(text).unwrap().canonical()
    }

    #[test]
    fn unopened_values_are_written_as_they_came() {
        let mut value = Json::lazy(r#"{"b": 1.0e3, "a": [ 1e400 ]}"#).unwrap();
        value.expand();
        let mut out = String::new();
        value.write(&mut out);
        assert_eq!(out, r#"{"b":1.0e3,"a":[ 1e400 ]}"#);
    }

    #[test]
    fn the_last_of_two_members_of_one_name_wins() {
        assert_eq!(canonical(r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
        let many: Vec<String> = (0..5000).map(|i| format!("\"k{}\":{i}", i % 2500)).collect();
        let text = format!("{{{}}}", many.join(","));
        let value = Json::parse(&text).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 2500);
        assert_eq!(value.as_object().unwrap().get("k7").unwrap().as_i64(), Some(2507));
    }

    #[test]
    fn canonical_text_sorts_keys_at_every_level() {
        assert_eq!(
            canonical(r#" {"b":{"d":1,"c":[{"y":0,"x":0}]},"a":null} "#),
            r#"{"a":null,"b":{"c":[{"x":0,"y":0}],"d":1}}"#
        );
    }

    #[test]
    fn ten_thousand_levels_neither_overflow_nor_fail() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(canonical(&deep), deep);
        assert!(Json::parse(&deep).is_err(), "whole trees stop at serde_json's depth limit");
    }

    #[test]
    fn strings_with_controls_and_quotes_are_escaped() {
        let mut out = String::new();
        write_string("a\"b\\c\n\u{1}é", &mut out);
        assert_eq!(out, r#""a\"b\\c\n\u0001é""#);
    }
}
