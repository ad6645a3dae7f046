//! How texts of the command line become values that clap has no type for.
//!
//! In: a text. Out: the value, or what is allowed instead.

use std::time::Duration;

/// A Go duration, as everywhere in the API.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let nanos = mcp_hangar_api::duration::parse(text).map_err(|error| error.to_string())?.nanos();
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| "must not be negative".to_owned())
}

/// A name of up to 63 characters, as namespaces and Services have.
pub(super) fn label(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner);
    if fits {
        return Ok(text.to_owned());
    }
    Err("a name is at most 63 lowercase letters, digits and '-', and starts and ends with a letter or digit"
        .into())
}

/// Labels between dots, as Secrets and webhook configurations may have.
pub(super) fn subdomain(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(|part| label(part).is_ok()) {
        return Ok(text.to_owned());
    }
    Err("a name is lowercase letters, digits, '-' and '.', and each part between dots starts and ends with a letter or digit".into())
}
