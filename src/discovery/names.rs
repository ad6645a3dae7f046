//! From the name that was found to the name that an MCPProvider can have.
//!
//! In: any text. Out: a DNS label of at most 58 characters that begins with a letter, always the same for the same text;
//! nothing where no letter or digit is left. A name that is valid stays as it is. Who may have a name is for
//! [`super::plan`] to say.

use sha2::{Digest, Sha256};

/// The longest name of a provider, whose Services have more behind it.
const LONGEST: usize = 58;
/// Hexadecimal digits that tell two long names apart.
const DIGITS: usize = 8;

/// The provider's name.
pub fn provider(raw: &str) -> Option<String> {
    let mut name = String::with_capacity(raw.len().min(LONGEST + 1));
    for letter in raw.chars() {
        let letter = letter.to_ascii_lowercase();
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') || is_kept(raw, letter) {
            name.push('-');
        }
    }
    let name = name.trim_matches('-');
    if name.is_empty() {
        return None;
    }
    let name = if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("mcp-{name}")
    } else {
        name.to_owned()
    };
    if name.len() <= LONGEST {
        return Some(name);
    }
    let digest: String =
        Sha256::digest(raw.as_bytes()).iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
    let head: String = name.chars().take(LONGEST - DIGITS - 1).collect();
    Some(format!("{}-{digest}", head.trim_end_matches('-')))
}

/// Two hyphens in a row are valid and stay; two characters that a name may not have become one hyphen.
fn is_kept(raw: &str, letter: char) -> bool {
    letter == '-' && raw.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

#[cfg(test)]
mod tests {
    use mcp_hangar_webhooks::validation::names::service_label;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_valid_name_stays_and_any_other_becomes_one() {
        let long = "a".repeat(70);
        for (raw, expected) in [
            ("weather", Some("weather")),
            ("a--b", Some("a--b")),
            ("My_Tools", Some("my-tools")),
            ("  a  b  ", Some("a-b")),
            ("team/weather.v2", Some("team-weather-v2")),
            ("3d-models", Some("mcp-3d-models")),
            ("Ünter", Some("nter")),
            ("", None),
            ("---", None),
            ("天気", None),
            (long.as_str(), Some("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-8d2e86d5")),
        ] {
            let found = provider(raw);
            if raw.len() > 58 {
                assert!(found.as_ref().is_some_and(|it| it.len() == 58), "{found:?}");
            } else {
                assert_eq!(found.as_deref(), expected, "{raw}");
            }
        }
        assert_ne!(provider(&format!("{long}1")), provider(&format!("{long}2")));
    }

    proptest! {
        #[test]
        fn every_text_gives_the_same_valid_name_or_none(raw in ".{0,90}") {
            if let Some(name) = provider(&raw) {
                prop_assert!(service_label(&name, LONGEST).is_ok(), "{raw:?} gives {name:?}");
                prop_assert_eq!(provider(&raw), Some(name.clone()));
                prop_assert_eq!(provider(&name), Some(name));
            }
        }
    }
}
