//! How a [`Json`] is read: by serde, whole or one level at a time.
//!
//! Texts without escapes are borrowed. Depth is serde_json's to limit when a whole tree is read; one level never recurses.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::{Json, Object};

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree::<Json<'de>>(PhantomData))
    }
}

/// One level of a value; what is below stays text.
pub(super) struct Shallow<'a>(Json<'a>);

impl<'a> Shallow<'a> {
    pub(super) fn open(raw: &'a RawValue) -> Json<'a> {
        match serde_json::from_str::<Self>(raw.get()) {
            Ok(Self(value)) => value,
            // A number out of range: it stays the text that it is.
            Err(_) => Json::Raw(raw),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Shallow<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree::<&'de RawValue>(PhantomData)).map(Self)
    }
}

/// Builds a [`Json`] whose children are read as `T`.
struct Tree<T>(PhantomData<T>);

/// What a level of the tree is made of.
trait Child<'a> {
    fn into_json(self) -> Json<'a>;
}

impl<'a> Child<'a> for Json<'a> {
    fn into_json(self) -> Json<'a> {
        self
    }
}

impl<'a> Child<'a> for &'a RawValue {
    fn into_json(self) -> Json<'a> {
        Json::Raw(self)
    }
}

impl<'de, T: Deserialize<'de> + Child<'de>> Visitor<'de> for Tree<T> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<T>()? {
            items.push(item.into_json());
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut object = Object::default();
        while let Some((Text(key), value)) = map.next_entry::<Text<'de>, T>()? {
            object.0.push((key, value.into_json()));
        }
        Ok(Json::Object(object.keep_last_of_each_name()))
    }
}

/// A member that is opened while its object is read: one with a plan below it as an object, one without as a string.
/// Members without a plan of their own stay text.
#[derive(Debug, Clone, Copy)]
pub struct Plan(pub &'static str, pub Option<&'static [Plan]>);

/// Reads an object by a plan in one pass: what opening level by level gives, without reading a level twice. An error
/// where a member is not what the plan says, even if it is JSON; then the caller opens level by level.
#[derive(Debug, Clone, Copy)]
pub struct Planned(pub &'static [Plan]);

impl<'de> DeserializeSeed<'de> for Planned {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Planned {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut object = Object(Vec::with_capacity(8));
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let value = match self.0.iter().find(|Plan(name, _)| *name == key) {
                None => Json::Raw(map.next_value()?),
                Some(Plan(_, None)) => Json::String(map.next_value::<Text<'de>>()?.0),
                Some(Plan(_, Some(below))) => map.next_value_seed(Planned(below))?,
            };
            object.0.push((key, value));
        }
        Ok(Json::Object(object.keep_last_of_each_name()))
    }
}

/// A string that borrows where its text has no escapes, also inside an `Option`, where `Cow` never does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}
