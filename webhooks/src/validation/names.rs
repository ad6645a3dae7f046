//! The grammars of names, each as a function from a text to what it must be.
//!
//! They are Kubernetes' own, checked byte by byte in one pass. The error is the middle of a message: what is allowed,
//! and where it is plain, what to write.

/// A DNS label (RFC 1123): volumes, namespaces.
pub fn label(text: &str) -> Result<(), String> {
    dns_label(text, 63, false)
}

/// A DNS label that starts with a letter (RFC 1035), as the name of a Service.
pub fn service_label(text: &str, longest: usize) -> Result<(), String> {
    dns_label(text, longest, true)
}

fn dns_label(text: &str, longest: usize, letter_first: bool) -> Result<(), String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let first = |c: u8| c.is_ascii_lowercase() || (!letter_first && c.is_ascii_digit());
    if fits(text, longest, first, inner, edge) {
        return Ok(());
    }
    let (why, start) = match letter_first {
        true => (", since Services are named after it", "a letter"),
        false => ("", "a letter or digit"),
    };
    let what = format!(
        "must be a DNS label{why}: at most {longest} lower case letters, digits and \"-\", beginning with {start} and \
         ending with a letter or digit"
    );
    Err(with_candidate(what, &lowered(text, longest, letter_first)))
}

/// A DNS subdomain (RFC 1123): Secrets, ConfigMaps, service accounts, annotation prefixes.
pub fn subdomain(text: &str) -> Result<(), String> {
    let label_fits = |label: &str| {
        let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        fits(label, 253, edge, |c| edge(c) || c == b'-', edge)
    };
    if text.len() <= 253 && text.split('.').all(label_fits) {
        return Ok(());
    }
    let what = "must be a DNS name: at most 253 lower case letters, digits, \"-\" and \".\"; each part must start and end \
                with a letter or digit";
    let head: String = if is_url(text) { String::new() } else { text.chars().take(253).collect() };
    let parts = head.split('.').map(|part| lowered(part, 253, false)).filter(|part| !part.is_empty());
    Err(with_candidate(what.to_owned(), &parts.collect::<Vec<_>>().join(".")))
}

/// The key of a label or annotation: `[prefix/]name`.
pub fn qualified(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.rsplit_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let name_fits = fits(name, 63, is_alphanumeric, is_label_inner, is_alphanumeric);
    if name_fits && prefix.is_none_or(|prefix| subdomain(prefix).is_ok()) {
        return Ok(());
    }
    Err("must be a key: an optional DNS name and \"/\", then at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter \
         or digit at both ends"
        .to_owned())
}

/// The value of a label, which may be empty.
pub fn label_value(text: &str) -> Result<(), String> {
    if text.is_empty() || fits(text, 63, is_alphanumeric, is_label_inner, is_alphanumeric) {
        return Ok(());
    }
    Err("must be a label value: at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends".to_owned())
}

/// The name of an environment variable: printable ASCII without `=`.
pub fn variable(text: &str) -> Result<(), String> {
    if !text.is_empty() && text.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
        return Ok(());
    }
    Err("must be the name of a variable: printable ASCII characters without \"=\", such as \"LOG_LEVEL\""
        .to_owned())
}

/// A key of a Secret or ConfigMap.
pub fn data_key(text: &str) -> Result<(), String> {
    let inner = |c: u8| is_label_inner(c);
    if fits(text, 253, inner, inner, inner) && text != "." && text != ".." {
        return Ok(());
    }
    Err("must be a key of a Secret or ConfigMap: at most 253 letters, digits, \"-\", \"_\" and \".\""
        .to_owned())
}

/// The name of a port of a Service.
pub fn port(text: &str) -> Result<(), String> {
    label(text).map_err(|_| {
        "must be the name of a port of a Service: at most 63 lower case letters, digits and \"-\", such as \"mcp\"".to_owned()
    })
}

/// The name of an HTTP header.
pub fn header(text: &str) -> Result<(), String> {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if !text.is_empty() && text.len() <= 256 && text.bytes().all(token) {
        return Ok(());
    }
    Err("must be the name of an HTTP header: letters, digits and \"-\", such as \"X-Session-Id\"".to_owned())
}

/// An absolute path.
pub fn absolute_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        let end = if text.is_empty() {
            "; write for example \"/data\"".to_owned()
        } else {
            format!("; write {}", super::quote::quoted(&format!("/{text}")))
        };
        return Err(format!("must be an absolute path{end}"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".to_owned());
    }
    Ok(())
}

/// A path inside a volume, which never leads out of it.
pub fn inner_path(text: &str) -> Result<(), String> {
    if text.starts_with('/') {
        return Err("must be a relative path inside the volume; remove the leading \"/\"".to_owned());
    }
    if text.split('/').any(|part| part == "..") {
        return Err("must not lead out of the volume; remove \"..\"".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".to_owned());
    }
    Ok(())
}

fn is_alphanumeric(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

fn is_label_inner(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')
}

fn fits(
    text: &str,
    longest: usize,
    first: impl Fn(u8) -> bool,
    inner: impl Fn(u8) -> bool,
    last: impl Fn(u8) -> bool,
) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= longest
        && bytes.first().copied().is_some_and(first)
        && bytes.last().copied().is_some_and(last)
        && bytes.iter().copied().all(inner)
}

fn with_candidate(what: String, candidate: &str) -> String {
    if candidate.is_empty() { what } else { format!("{what}; write for example \"{candidate}\"") }
}

/// Whether nothing is to be made of the text: it is something else, and may hold a password.
fn is_url(text: &str) -> bool {
    text.contains(['@', ':'])
}

/// The closest text that is a label; empty where too little is left.
fn lowered(text: &str, longest: usize, letter_first: bool) -> String {
    if is_url(text) {
        return String::new();
    }
    let mut out: String = text
        .chars()
        .take(longest)
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let starts_badly =
        |out: &str| out.starts_with(|c: char| c == '-' || (letter_first && c.is_ascii_digit()));
    while starts_badly(&out) {
        out.remove(0);
    }
    while out.ends_with('-') {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_grammar() {
        type Check = fn(&str) -> Result<(), String>;
        let cases: &[(Check, &[&str], &[&str])] = &[
            (label, &["a", "a-1", "1a"], &["", "-a", "a-", "A", "a.b", "ä"]),
            (|text| service_label(text, 58), &["a", "a-1"], &["", "1a", "a.b"]),
            (subdomain, &["a.b-c.d", "1"], &["", "a..b", ".a", "a_b"]),
            (
                qualified,
                &["app", "a.b/C_d", "app.kubernetes.io/name"],
                &["", "/a", "a/", "a b", "A/b", "a/b/c"],
            ),
            (label_value, &["", "a", "A.b_c-1"], &["-", "a b", "ä"]),
            (variable, &["A", "log.level", "a b"], &["", "a=b", "ä", "a\n"]),
            (data_key, &["tls.crt", "a_B-1"], &["", ".", "..", "a/b"]),
            (header, &["X-Id", "a"], &["", "a b", "a:b"]),
            (absolute_path, &["/", "/a"], &["", "a", "/a\n"]),
            (inner_path, &["a", "a/b", "..a"], &["/a", "../a", "a/../b"]),
        ];
        for (number, (check, good, bad)) in cases.iter().enumerate() {
            for text in *good {
                assert_eq!(check(text), Ok(()), "case {number}: {text:?}");
            }
            for text in *bad {
                assert!(check(text).is_err(), "case {number}: {text:?}");
            }
        }
    }

    #[test]
    fn a_name_that_can_be_mended_is_mended() {
        assert!(label("My_Data").unwrap_err().ends_with("write for example \"my-data\""));
        assert!(service_label("3.tools", 58).unwrap_err().ends_with("write for example \"tools\""));
        assert!(!label("---").unwrap_err().contains("write"));
    }
}
