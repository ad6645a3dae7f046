//! Texts with a grammar of their own: durations, quantities, image references, endpoints, patterns.
//!
//! In: the text. Out: its value, or what to say of it: what is allowed and what to write. No rule about a field here.

use std::net::{Ipv4Addr, Ipv6Addr};

use mcp_hangar_api::duration::{self, Duration, DurationError};
use mcp_hangar_api::quantity::{self, Quantity};
use oci_spec::distribution::Reference;
use regex_syntax::ast::{self, Ast};

use super::code::{self, Code};
use super::report::quoted;

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
const LONGEST_PARSED: usize = 4096;

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

/// An endpoint: which rule it breaks, and what to say.
pub fn endpoint(text: &str) -> Result<(), (&'static Code, String)> {
    let invalid = |says: &str| Err((&code::ENDPOINT, says.to_owned()));
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return invalid("must be an http or https URL, without spaces and control characters");
    }
    let Ok(url) = url::Url::parse(text) else {
        return if text.contains("://") {
            invalid("must be an http or https URL; write for example \"https://tools.example.com/mcp\"")
        } else {
            Err((&code::ENDPOINT, with_scheme("https", text)))
        };
    };
    if !matches!(url.scheme(), "http" | "https") {
        let says = if text.contains("://") {
            "must be an http or https URL, not one of another scheme".to_owned()
        } else {
            with_scheme("http", text)
        };
        return Err((&code::ENDPOINT, says));
    }
    // The parser forgives `http:host` and `http:///host`; a client written elsewhere may not.
    let after = text.get(url.scheme().len()..).unwrap_or_default();
    if !after.starts_with("://") || after.starts_with(":///") {
        return invalid("must be an absolute URL with a host after \"//\"");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return invalid(
            "must not hold a user or password; in v1beta1, spec.remote.headersFrom takes them from a Secret",
        );
    }
    match url.host() {
        None => invalid("must have a host"),
        Some(url::Host::Ipv4(address)) if is_link_local_v4(address) => Err(link_local()),
        Some(url::Host::Ipv6(address)) if is_link_local_v6(address) => Err(link_local()),
        Some(_) => Ok(()),
    }
}

/// What to say of an endpoint without a scheme; one that may hold a secret is not repeated.
fn with_scheme(scheme: &str, text: &str) -> String {
    const LONGEST: usize = 60;
    if text.contains(['@', '?', '#']) || text.chars().count() > LONGEST {
        return "must be an http or https URL; write for example \"https://tools.example.com/mcp\""
            .to_owned();
    }
    format!("must be an http or https URL; write {}", quoted(&format!("{scheme}://{text}")))
}

fn link_local() -> (&'static Code, String) {
    (
        &code::LINK_LOCAL,
        "link-local addresses hold the cloud's metadata services; write the address of an MCP server"
            .to_owned(),
    )
}

fn is_link_local_v4(address: Ipv4Addr) -> bool {
    address.is_link_local()
}

fn is_link_local_v6(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local() || address.to_ipv4().is_some_and(is_link_local_v4)
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

/// A pattern in the syntax that Rust and Go share, with bounded memory.
pub fn pattern(text: &str) -> Result<(), String> {
    const LARGEST: usize = 256 * 1024;
    if text.len() > LONGEST_PARSED {
        return Err("must be a shorter regular expression".to_owned());
    }
    let mut parser = ast::parse::ParserBuilder::new().nest_limit(100).build();
    let parsed = parser.parse(text).map_err(|error| {
        format!("must be a regular expression: {}; write for example \"^tools-.*$\"", error.kind())
    })?;
    ast::visit(&parsed, Shared)?;
    // ASCII classes, as Go has them: names of objects are ASCII, and compiled patterns stay small.
    regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(LARGEST).build().map(drop).map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => "is too large when compiled; repeat less".to_owned(),
            _ => {
                "must be a regular expression over ASCII, without \\p; write for example \"[a-z]\"".to_owned()
            }
        },
    )
}

/// Refuses what Rust's regular expressions have and Go's do not.
struct Shared;

impl ast::Visitor for Shared {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, node: &Ast) -> Result<(), String> {
        const MOST: u32 = 1000;
        match node {
            Ast::Repetition(repetition) => match &repetition.op.kind {
                ast::RepetitionKind::Range(range) => {
                    let most = match range {
                        ast::RepetitionRange::Exactly(n) | ast::RepetitionRange::AtLeast(n) => *n,
                        ast::RepetitionRange::Bounded(_, n) => *n,
                    };
                    if most > MOST { Err(format!("must not repeat more than {MOST} times")) } else { Ok(()) }
                }
                _ => Ok(()),
            },
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), flags),
            Ast::Assertion(assertion) if is_special_boundary(&assertion.kind) => {
                Err("must not use \\b{…}, \\< or \\>; write \\b".to_owned())
            }
            Ast::ClassBracketed(class) => match &class.kind {
                ast::ClassSet::BinaryOp(_) => Err("must not combine classes with &&, -- or ~~".to_owned()),
                ast::ClassSet::Item(_) => Ok(()),
            },
            Ast::Literal(literal) => hexadecimal(literal),
            _ => Ok(()),
        }
    }
}

fn flags(flags: &ast::Flags) -> Result<(), String> {
    use ast::Flag;
    let foreign = [Flag::IgnoreWhitespace, Flag::CRLF, Flag::Unicode];
    if foreign.iter().any(|flag| flags.flag_state(*flag).is_some()) {
        return Err("may use the flags i, m, s and U only".to_owned());
    }
    Ok(())
}

fn is_special_boundary(kind: &ast::AssertionKind) -> bool {
    use ast::AssertionKind as A;
    !matches!(
        kind,
        A::StartLine | A::EndLine | A::StartText | A::EndText | A::WordBoundary | A::NotWordBoundary
    )
}

fn hexadecimal(literal: &ast::Literal) -> Result<(), String> {
    use ast::{HexLiteralKind, LiteralKind};
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("must write \\x{…}, not \\u or \\U".to_owned())
        }
        _ => Ok(()),
    }
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

    #[test]
    fn endpoints_are_absolute_and_point_to_servers() {
        for good in
            ["http://a", "https://a.b:8443/mcp?x=1", "http://10.0.0.1", "http://[::1]:80/", "http://a_b/"]
        {
            assert_eq!(endpoint(good), Ok(()), "{good}");
        }
        for (bad, id) in [
            ("", "HGR115"),
            ("tools.example.com/mcp", "HGR115"),
            ("localhost:8080", "HGR115"),
            ("ftp://a", "HGR115"),
            ("http:///mcp", "HGR115"),
            ("http://", "HGR115"),
            ("http://u:p@a", "HGR115"),
            ("http://a b", "HGR115"),
            ("http://a/\n", "HGR115"),
            ("http://169.254.169.254/", "HGR116"),
            ("http://2852039166/", "HGR116"),
            ("http://0xa9fea9fe/", "HGR116"),
            ("http://[fe80::1]/", "HGR116"),
            ("http://[::ffff:169.254.169.254]/", "HGR116"),
        ] {
            assert_eq!(endpoint(bad).unwrap_err().0.id, id, "{bad}");
        }
    }

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

    #[test]
    fn patterns_are_those_that_go_and_rust_share() {
        for good in ["", "^tools-.*$", "(?i)a|b", "[[:alpha:]]+", r"\d{1,1000}", r"\bword\b", "(?P<x>a)"] {
            assert_eq!(pattern(good), Ok(()), "{good}");
        }
        for bad in [
            "(",
            "a{1001}",
            "(?=a)",
            r"(a)\1",
            "(?x)a b",
            "[a&&b]",
            r"\b{start}a",
            r"\u0041",
            r"\pL",
            "((a{900}){900}){900}",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
        let deep = "(".repeat(50_000) + &")".repeat(50_000);
        assert!(pattern(&deep).is_err());
    }
}
