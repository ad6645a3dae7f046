//! The grammars of texts: no text panics or takes long, and what is read is read alike in other words.
//!
//! Time is bounded by the fuzzer's own limit for one input.

use mcp_hangar_api::duration::{self, Duration};
use mcp_hangar_api::quantity;
use mcp_hangar_webhooks::validation::{endpoint as endpoints, pattern as patterns, quote, text as texts};

/// Texts only: bytes that are none never reach a grammar, since JSON has been read before.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// What is said of a bad text stands on one line of a message.
fn says_well(says: &str) {
    assert!(!says.is_empty() && !says.chars().any(char::is_control), "{says:?}");
    // Twice 80 characters of the text, each of which may be written as an escape, and some words.
    assert!(says.chars().count() <= 2000, "{says}");
}

/// `time.ParseDuration`: what is shown is read back, and a sign turns the value.
pub fn duration(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(read) = duration::parse(text) {
        assert_eq!(duration::parse(&read.to_string()), Ok(read), "{read}");
        if !text.starts_with(['-', '+']) {
            assert!(read >= Duration::default());
            assert_eq!(duration::parse(&format!("+{text}")), Ok(read));
            assert_eq!(duration::parse(&format!("-{text}")).map(Duration::nanos), Ok(-read.nanos()));
            if text != "0" {
                let longer = duration::parse(&format!("{text}1ns")).map(Duration::nanos);
                assert_eq!(longer.ok(), read.nanos().checked_add(1));
            }
        }
    }
    match texts::duration(text) {
        Ok(read) => assert_eq!(duration::parse(text), Ok(read)),
        Err(says) => says_well(&says),
    }
}

/// Kubernetes quantities: a sign turns the value, zeros in front change nothing, a point may end the digits.
pub fn quantity(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(read) = quantity::parse(text) {
        assert!(read.nanos().abs() <= i128::from(i64::MAX) * 1_000_000_000);
        if !text.starts_with(['-', '+']) {
            assert!(read.nanos() >= 0);
            assert_eq!(quantity::parse(&format!("+{text}")), Ok(read));
            assert_eq!(quantity::parse(&format!("0{text}")), Ok(read));
            let turned = quantity::parse(&format!("-{text}")).map(quantity::Quantity::nanos);
            assert_eq!(turned, Ok(-read.nanos()));
            if text.bytes().all(|c| c.is_ascii_digit()) {
                assert_eq!(quantity::parse(&format!("{text}.000")), Ok(read));
                assert_eq!(quantity::parse(&format!("{text}000e-3")), Ok(read));
                assert_eq!(quantity::parse(&format!("{text}000m")), Ok(read));
            }
        }
    }
    match texts::quantity(text) {
        Ok(read) => assert_eq!(quantity::parse(text), Ok(read)),
        Err(says) => says_well(&says),
    }
}

/// Image references: what a message offers instead is one.
pub fn image(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match texts::image(text) {
        Ok(image) => assert!(!image.has_digest || text.contains('@'), "{text:?}"),
        Err(says) => {
            says_well(&says);
            if let Some(offered) = offered(&says) {
                assert!(texts::image(offered).is_ok(), "{says}");
            }
        }
    }
}

/// What stands in the last quotes of a message.
fn offered(says: &str) -> Option<&str> {
    let (_, after) = says.rsplit_once("write \"")?;
    after.strip_suffix('"')
}

/// Endpoints: an accepted one has a host; what is said of a bad one never repeats user, password or query.
pub fn endpoint(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match endpoints::judge(text) {
        Ok(()) => {
            assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()));
            assert!(text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")), "{text:?}");
        }
        Err((_, says)) => says_well(&says),
    }
    let shown = quote::shown_endpoint(text);
    // A password that stands nowhere else is not shown.
    if let Some((before, _)) = text.rsplit_once('@') {
        let password = before.rsplit_once(':').map_or(before, |(_, password)| password);
        let is_one = password.len() >= 4 && password.bytes().all(|c| c.is_ascii_alphanumeric());
        let is_shown = is_one && shown.contains(password) && text.matches(password).count() == 1;
        assert!(!is_shown, "{text:?} is shown as {shown:?}");
    }
    let quoted = quote::quoted(text);
    assert!(!quoted.chars().any(char::is_control), "{quoted:?}");
}

/// Regular expressions: judged in bounded time and memory, and an accepted one can be compiled again.
pub fn pattern(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Err(says) = patterns::judge(text) {
        says_well(&says);
    }
}
