//! JSON texts compared by what they mean: keys sorted, strings unescaped, numbers as written or by value. Independent of
//! the code that is fuzzed, and `None` for what no Go program would have sent (half a surrogate pair in a string).

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// How numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    AsWritten,
    ByValue,
}

/// The members of an object.
pub(crate) fn members(text: &str) -> Option<BTreeMap<String, &str>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    Some(members.into_iter().map(|(key, value)| (key, value.get())).collect())
}

/// The object with those members.
pub(crate) fn object(members: &BTreeMap<String, impl AsRef<str>>) -> String {
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.as_ref())).collect();
    format!("{{{}}}", members.join(","))
}

/// A string, as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text in the one form that all texts of the same meaning have.
pub(crate) fn canonical(text: &str, numbers: Numbers) -> Option<String> {
    let text = text.trim();
    Some(match text.bytes().next()? {
        b'{' => {
            let members: Option<BTreeMap<String, String>> = members(text)?
                .into_iter()
                .map(|(key, value)| Some((key, canonical(value, numbers)?)))
                .collect();
            object(&members?)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items: Option<Vec<String>> =
                items.into_iter().map(|item| canonical(item.get(), numbers)).collect();
            format!("[{}]", items?.join(","))
        }
        b'"' => quoted(&serde_json::from_str::<String>(text).ok()?),
        b'0'..=b'9' | b'-' if numbers == Numbers::ByValue => serde_json::from_str::<serde_json::Number>(text)
            .map_or(text.to_owned(), |number| number.to_string()),
        _ => text.to_owned(),
    })
}
