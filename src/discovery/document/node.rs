//! Any value of a YAML text, and whether a key stands twice anywhere in it.
//!
//! In: the parser's events. Out: the value as JSON; of equal keys the last one counts, and one of them is named. That it
//! is refused is the caller's decision, who knows which item it is.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    /// A key that stands twice in the same map.
    pub(super) twice: Option<String>,
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self { value, twice: None }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Value::Null.into())
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Value::Null.into())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Value::Bool(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Value::Number(value.into()).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Value::Number(value.into()).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Value::String(value.to_owned()).into())
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Value::String(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let (mut items, mut twice) = (Vec::new(), None);
        while let Some(item) = list.next_element::<Node>()? {
            twice = twice.or(item.twice);
            items.push(item.value);
        }
        Ok(Node { value: Value::Array(items), twice })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let (mut members, mut twice) = (Map::new(), None);
        while let Some(key) = map.next_key::<String>()? {
            let item = map.next_value::<Node>()?;
            twice = twice.or(item.twice);
            if members.insert(key.clone(), item.value).is_some() {
                twice = twice.or(Some(key));
            }
        }
        Ok(Node { value: Value::Object(members), twice })
    }
}
