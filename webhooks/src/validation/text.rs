//! Texts with a grammar of their own: durations, quantities, image references.
//!
//! In: the text. Out: its value, or what to say of it: what is allowed and what to write. No rule about a field here.

use mcp_hangar_api::duration::{self, Duration, DurationError};
use mcp_hangar_api::quantity::{self, Quantity};
use oci_spec::distribution::Reference;

use super::quote::quoted;

/// A Go duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "write a number and a unit, such as \"30s\", \"5m\" or \"1h30m\"";
    duration::parse(text).map_err(|error| match error {
        DurationError::Empty => format!("must not be empty; {SHAPE}"),
        DurationError::MissingUnit { number }
            if number.bytes().all(|c| c.is_ascii_digit()) && number == text =>
        {
            format!(
                "a duration needs a unit; write {} or {}",
                quoted(&format!("{number}s")),
                quoted(&format!("{number}m"))
            )
        }
        DurationError::MissingUnit { number } => {
            format!("a duration needs a unit after {}; {SHAPE}", quoted(&number))
        }
        DurationError::UnknownUnit { unit } => {
            let fix = meant(text, &unit)
                .map_or_else(|| SHAPE.to_owned(), |text| format!("write {}", quoted(&text)));
            format!("{} is no unit, the units are ns, us, ms, s, m and h; {fix}", quoted(&unit))
        }
        DurationError::Overflow => "is longer than 292 years, which no duration can be".to_owned(),
        _ => format!("must be a duration; {SHAPE}"),
    })
}

/// The duration that was meant, where it is plain: days and weeks in hours, other names of units, a decimal comma.
fn meant(text: &str, unit: &str) -> Option<String> {
    if unit == "," {
        return Some(text.replacen(',', ".", 1)).filter(|text| duration::parse(text).is_ok());
    }
    let number = text.strip_suffix(unit)?.trim();
    let whole = |hours: u32| Some(format!("{}h", number.parse::<u32>().ok()?.checked_mul(hours)?));
    match unit.trim() {
        "d" | "day" | "days" => whole(24),
        "w" | "week" | "weeks" => whole(7 * 24),
        "hour" | "hours" => Some(format!("{number}h")),
        "min" | "mins" | "minute" | "minutes" => Some(format!("{number}m")),
        "sec" | "secs" | "second" | "seconds" => Some(format!("{number}s")),
        known @ ("h" | "m" | "s" | "ms") => Some(format!("{number}{known}")),
        _ => None,
    }
}

/// A Kubernetes quantity that is not negative.
pub fn quantity(text: &str) -> Result<Quantity, String> {
    let parsed = quantity::parse(text).map_err(|_| {
        let packed: String = text.split_whitespace().collect();
        // Of bytes: m would be thousandths, and thousands are a small k.
        let bytes = match packed.strip_suffix(['B', 'b']) {
            None => packed.clone(),
            Some(rest) => match (rest.strip_suffix('m'), rest.strip_suffix('K')) {
                (Some(number), _) => format!("{number}M"),
                (_, Some(number)) => format!("{number}k"),
                _ => rest.to_owned(),
            },
        };
        let candidates = [bytes.to_ascii_uppercase(), bytes.clone(), packed];
        let mended = candidates.iter().rev().find(|text| quantity::parse(text).is_ok());
        let fix = mended.map_or_else(
            || "write for example \"500m\", \"2\" or \"128Mi\"".to_owned(),
            |text| format!("write {}", quoted(text)),
        );
        format!("must be a quantity, a number with an optional suffix; {fix}")
    })?;
    if parsed < Quantity::default() { Err("must not be negative".to_owned()) } else { Ok(parsed) }
}

/// Longer texts are not parsed: they are beyond every limit in the schema, which has said so.
pub(super) const LONGEST_PARSED: usize = 4096;

/// An image reference; the value says whether it has a digest.
pub fn image(text: &str) -> Result<Image, String> {
    const SHAPE: &str = "must be an image reference, [registry/]repository[:tag][@digest]";
    if text.len() > LONGEST_PARSED {
        return Err(SHAPE.to_owned());
    }
    if let Some(image) = plain_image(text) {
        return Ok(image);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        return Ok(Image { has_digest: reference.digest().is_some() });
    }
    let without_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    // What would be cut when it is shown is no help.
    let mended = lower_case_name(without_scheme.trim())
        .filter(|mended| mended.len() <= 80 && mended.parse::<Reference>().is_ok());
    let what = if without_scheme != text {
        ", without a scheme"
    } else if text.trim() != text {
        ", without spaces"
    } else if mended.is_some() {
        ", with a repository in lower case"
    } else {
        ""
    };
    Err(match mended {
        Some(mended) => format!("{SHAPE}{what}; write {}", quoted(&mended)),
        None => format!("{SHAPE}{what}; write for example \"ghcr.io/acme/tools:1.4\""),
    })
}

/// A reference as nearly everybody writes it, without the regular expression, which takes longer than all other rules
/// together. `None` says nothing.
fn plain_image(text: &str) -> Option<Image> {
    const LONGEST: usize = 200;
    let (rest, has_digest) = match text.split_once('@') {
        None => (text, false),
        Some((rest, digest)) => {
            let hex = digest.strip_prefix("sha256:")?;
            (hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit())).then_some((rest, true))?
        }
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let is_tag = |tag: &str| {
        tag.len() <= 128
            && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && tag.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
    };
    let (first, path) = name.split_once('/').map_or((name, None), |(first, path)| (first, Some(path)));
    let fits = name.len() <= LONGEST
        && tag.is_none_or(is_tag)
        && (is_path_part(first) || (path.is_some() && is_registry(first)))
        && path.is_none_or(|path| path.split('/').all(is_path_part));
    fits.then_some(Image { has_digest })
}

/// Lower case letters and digits, and between them `.`, `_`, `__` or any number of `-`.
fn is_path_part(text: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_edge)
        && text.ends_with(is_edge)
        && text
            .split(is_edge)
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|c| c == b'-'))
}

/// `host[:port]`
fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let is_label = |label: &str| {
        label.starts_with(is_edge)
            && label.ends_with(is_edge)
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    host.split('.').all(is_label) && !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit())
}

/// What a rule needs to know of an image reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Whether it names its content, and not only a tag.
    pub has_digest: bool,
}

/// The reference with its repository in lower case; tag and digest stay.
fn lower_case_name(text: &str) -> Option<String> {
    let digest = text.find('@').unwrap_or(text.len());
    let before = text.get(..digest).unwrap_or_default();
    let tag = || before.rfind(':').filter(|colon| !before.get(*colon..).unwrap_or_default().contains('/'));
    let end = tag().unwrap_or(digest);
    let (name, rest) = text.split_at_checked(end)?;
    Some(format!("{}{rest}", name.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_say_what_to_write() {
        for (text, says) in [
            ("30", "a duration needs a unit; write \"30s\" or \"30m\""),
            ("2d", "\"d\" is no unit, the units are ns, us, ms, s, m and h; write \"48h\""),
            ("10min", "\"min\" is no unit, the units are ns, us, ms, s, m and h; write \"10m\""),
            ("1,5h", "\",\" is no unit, the units are ns, us, ms, s, m and h; write \"1.5h\""),
            ("", "must not be empty; write a number and a unit, such as \"30s\", \"5m\" or \"1h30m\""),
        ] {
            assert_eq!(duration(text).unwrap_err(), says);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_plain_is_a_reference_with_the_same_digest(
            text in "([a-zA-Z0-9_.-]{1,6}(:[0-9]{0,3})?/)?[a-z0-9A-Z._-]{1,6}(/[a-z0-9_.-]{0,5})?(:[a-zA-Z0-9_.-]{0,5})?(@sha256:[0-9a-fA-F]{63,65})?"
        ) {
            if let Some(image) = plain_image(&text) {
                let digest = text.parse::<Reference>().map(|reference| reference.digest().is_some());
                proptest::prop_assert_eq!(digest, Ok(image.has_digest), "{}", text);
            }
        }
    }

    #[test]
    fn usual_images_are_plain() {
        for text in ["nginx", "ghcr.io/acme/mcp-tickets:2.3.0", "localhost:5000/a/b__c", "a.b/c:V1_x"] {
            assert!(plain_image(text).is_some(), "{text}");
        }
        for text in ["", "a//b", "a/", "A", "a:b:c", "a.:1/b", "a/b:", "a@sha256:12", "ä"] {
            assert!(plain_image(text).is_none(), "{text}");
        }
    }

    #[test]
    fn images_are_references_and_nothing_else() {
        for (text, has_digest) in [
            ("nginx", false),
            ("ghcr.io/acme/tools:latest", false),
            ("localhost:5000/a/b", false),
            ("a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true),
        ] {
            assert_eq!(image(text), Ok(Image { has_digest }), "{text}");
        }
        assert!(image("https://ghcr.io/a").unwrap_err().ends_with("write \"ghcr.io/a\""));
        assert!(image("ghcr.io/Acme/Tools:V1").unwrap_err().ends_with("write \"ghcr.io/acme/tools:V1\""));
        for bad in ["", "a b", "a:b:c", "ghcr.io/a@sha256:12", "-a", "a/\u{e9}"] {
            assert!(image(bad).is_err(), "{bad}");
        }
    }
}
