//! How a text from outside is shown: in quotes, on one line, cut, and without what may be secret.
//!
//! Every value in a message comes through here. Which values are not shown at all is decided where the value is.

use crate::field::printable;

/// A text in quotes, on one line, cut at 80 characters. Of a URL, whatever field it stands in, without user and password.
pub fn quoted(text: &str) -> String {
    let shown = if may_hold_credentials(text) { shown_endpoint(text) } else { text.to_owned() };
    format!("\"{}\"", printable(&shown.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// `user:password@host`, with a scheme or without; the digest of an image is none.
fn may_hold_credentials(text: &str) -> bool {
    text.split_once('@').is_some_and(|(before, after)| before.contains(':') && !after.starts_with("sha"))
}

/// The text up to the character after which people write the value that belongs to it.
pub fn up_to(text: &str, stops: &[char]) -> String {
    match text.find(stops) {
        Some(end) => format!("{}…", text.get(..=end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `"a", "b"`
pub fn listed<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    values.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// An endpoint as it may be shown: without query, and without whatever stands before an `@`. A text that is no URL may
/// hold user and password in any place.
pub fn shown_endpoint(text: &str) -> String {
    let is_scheme = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), text),
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (head, query) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if query.contains('@') {
        return format!("{scheme}…");
    }
    let query = if query.is_empty() { "" } else { "?…" };
    match head.rsplit_once('@') {
        Some((_, after)) => format!("{scheme}…@{after}{query}"),
        None => format!("{scheme}{head}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_endpoints_hide_what_may_be_secret() {
        for (text, shown) in [
            ("http://u:p@h/x", "http://…@h/x"),
            ("https://h/x?token=1", "https://h/x?…"),
            ("u:p@h", "…@h"),
            ("http://u:p@ss@h/x@y", "http://…@y"),
            ("http://u:p/ss@h", "http://…@h"),
            ("http://u:p?ss@h", "http://…"),
            ("u:p#s@h", "…"),
            ("u://p@h", "u://…@h"),
            ("u:p://x@h", "…@h"),
            ("https://h/#token", "https://h/?…"),
        ] {
            assert_eq!(shown_endpoint(text), shown);
        }
    }
}
