//! JSON texts compared by what they mean: keys sorted, strings unescaped, numbers by value where a number can hold
//! them. Independent of the code that is tested.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// How numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// As text: `1e3` is not `1000.0`.
    AsWritten,
    ByValue,
}

/// The text in the one form that all texts of the same meaning have.
pub(crate) fn canonical(text: &str, numbers: Numbers) -> String {
    let text = text.trim();
    match text.bytes().next() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap();
            let members: Vec<String> = members
                .into_iter()
                .map(|(key, value)| {
                    format!("{}:{}", serde_json::to_string(&key).unwrap(), canonical(value.get(), numbers))
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            let items: Vec<String> = items.into_iter().map(|item| canonical(item.get(), numbers)).collect();
            format!("[{}]", items.join(","))
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(text).unwrap();
            serde_json::to_string(&text).unwrap()
        }
        Some(b'0'..=b'9' | b'-') if numbers == Numbers::ByValue => {
            serde_json::from_str::<serde_json::Number>(text)
                .map_or(text.to_owned(), |number| number.to_string())
        }
        _ => text.to_owned(),
    }
}

/// One member of an object, as text.
pub(crate) fn member(text: &str, name: &str) -> Option<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    members.get(name).map(|value| value.get().to_owned())
}
