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
