//! The review around the objects: order, count and uid are kept, and what is no object of ours fails with a message
//! that names it.

use mcp_hangar_webhooks::conversion;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::generate::{Taste, object};
use crate::{answer, convert, review_of};

const HUB: &str = "mcp-hangar.io/v1beta1";
const GOOD: &str = r#"{"apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider","metadata":{"name":"a"},"spec":{"mode":"container"}}"#;

/// The review fails as a whole, with this message.
fn fails(body: &str, message: &str) {
    let answer = answer(body.as_bytes());
    assert_eq!((answer.result.status.as_str(), answer.result.message.as_str()), ("Failed", message));
    assert_eq!((answer.uid.as_str(), answer.converted_objects.len()), ("705ab4f5-6393", 0));
}

#[test]
fn what_is_no_object_of_ours_is_named() {
    for (object, message) in [
        ("{}", r#"objects[1]: kind: "" is none of the kinds of this webhook"#),
        (
            r#"{"kind":"Pod","apiVersion":"v1"}"#,
            r#"objects[1]: kind: "Pod" is none of the kinds of this webhook"#,
        ),
        (r#"{"kind":5}"#, r#"objects[1]: kind: "" is none of the kinds of this webhook"#),
        (
            r#"{"kind":"MCPProvider\u0007"}"#,
            r#"objects[1]: kind: "MCPProvider\\u{7}" is none of the kinds of this webhook"#,
        ),
        (
            r#"{"kind":"MCPProvider","apiVersion":"mcp-hangar.io/v1"}"#,
            r#"objects[1]: apiVersion: "mcp-hangar.io/v1" is no served version of MCPProvider"#,
        ),
        (
            r#"{"kind":"MCPProviderGroup","apiVersion":"example.com/v1beta1"}"#,
            r#"objects[1]: apiVersion: "example.com/v1beta1" is no served version of MCPProviderGroup"#,
        ),
        ("null", "objects[1]: is of type null, not an object"),
        ("[]", "objects[1]: is of type array, not an object"),
        ("\"x\"", "objects[1]: is of type string, not an object"),
        ("1e400", "objects[1]: is of type number, not an object"),
        ("7", "objects[1]: is of type number, not an object"),
    ] {
        fails(&review_of(HUB, &[GOOD, object, GOOD]), message);
    }
    fails(
        &review_of("mcp-hangar.io/v2", &[GOOD]),
        r#"cannot convert to "mcp-hangar.io/v2": the versions are mcp-hangar.io/v1alpha1 and mcp-hangar.io/v1beta1"#,
    );
    fails(
        &review_of("", &[]),
        r#"cannot convert to "": the versions are mcp-hangar.io/v1alpha1 and mcp-hangar.io/v1beta1"#,
    );
}

#[test]
fn a_body_that_is_no_review_fails_under_its_uid() {
    for body in [
        r#"{"request":{"uid":"705ab4f5-6393"}}"#,
        r#"{"request":{"uid":"705ab4f5-6393","desiredAPIVersion":"mcp-hangar.io/v1beta1"}}"#,
        r#"{"request":{"uid":"705ab4f5-6393","desiredAPIVersion":"mcp-hangar.io/v1beta1","objects":null}}"#,
        r#"{"request":{"uid":"705ab4f5-6393","desiredAPIVersion":5,"objects":[]}}"#,
        r#"{"request":{"uid":"705ab4f5-6393","desiredAPIVersion":"mcp-hangar.io/v1beta1","objects":{}}}"#,
        r#"{"request":{"uid":"705ab4f5-6393","desiredAPIVersion":"mcp-hangar.io/v1beta1","objects":[{"#,
        r#"{"request":{"uid":"705ab4f5-6393","uid":"705ab4f5-6393"}}"#,
    ] {
        let answer = answer(body.as_bytes());
        assert_eq!(answer.uid, "705ab4f5-6393", "{body}");
        assert_eq!(answer.result.status, "Failed", "{body}");
        assert!(
            answer.result.message.starts_with("the body is not a ConversionReview: "),
            "{}",
            answer.result.message
        );
    }
}

#[test]
fn a_body_without_a_uid_is_a_bad_request() {
    for body in [
        &b""[..],
        b"{}",
        b"null",
        b"[]",
        b"5",
        b"\xff\xfe",
        b"{\"request\":null}",
        b"{\"request\":{\"uid\":5}}",
        b"not json",
    ] {
        let reply = conversion::review(body, &Silent);
        assert_eq!(reply.status, 400, "{}", String::from_utf8_lossy(body));
        assert!(reply.body.starts_with(b"the body is not a ConversionReview: "));
    }
}

#[test]
fn invalid_utf8_inside_an_object_fails_under_its_uid() {
    let body = review_of(HUB, &[GOOD]).replace("container", "contain\u{1}r").into_bytes();
    let body: Vec<u8> = body.into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    let answer = answer(&body);
    assert_eq!((answer.uid.as_str(), answer.result.status.as_str()), ("705ab4f5-6393", "Failed"));
}

#[test]
fn the_last_of_two_keys_wins_as_in_go() {
    let object = r#"{"kind":"MCPProvider","apiVersion":"mcp-hangar.io/v1alpha1","metadata":{"name":"a"},"spec":{"mode":"container","image":"a","image":"b"},"kind":"MCPProvider","spec":{"image":"c","image":"d"}}"#;
    let hub = convert(Version::HUB, object);
    assert!(hub.ends_with(r#""spec":{"container":{"image":"d"}}}"#), "{hub}");
}

#[test]
fn numbers_stay_the_text_that_they_are() {
    let object = GOOD.replace(r#""mode":"container""#, r#""mode":1e3,"replicas":1e400,"image":-0,"env":[{"name":1.50}],"tools":{"rateLimit":12345678901234567890123}"#);
    let hub = convert(Version::HUB, &object);
    for text in [
        r#""mode":1e3"#,
        r#""replicas":1e400"#,
        r#""image":-0"#,
        r#""name":1.50"#,
        ":12345678901234567890123",
    ] {
        assert!(hub.contains(text), "{text}: {hub}");
    }
}

#[test]
fn ten_thousand_levels_are_carried_along() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let nested = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for deep in [deep, nested] {
        for place in ["mode", "image", "env", "resources", "healthCheck"] {
            let object = GOOD.replace(r#""mode":"container""#, &format!("{place:?}:{deep}"));
            assert!(convert(Version::HUB, &object).contains(&deep));
        }
        for place in ["container", "port", "mode"] {
            let value = if place == "port" { format!(r#"{{"port":{deep}}}"#) } else { deep.clone() };
            let key = if place == "mode" { "mode" } else { "container" };
            let object = GOOD
                .replace("v1alpha1", "v1beta1")
                .replace(r#""mode":"container""#, &format!("{key:?}:{value}"));
            let spoke = convert(Version::V1Alpha1, &object);
            if !value.starts_with("{\"a\"") {
                assert_eq!(convert(Version::HUB, &spoke), convert(Version::HUB, &object), "{place}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_count_and_uid_are_kept(many in vec((vec(any::<u16>(), 0..60), 0..3_usize, 0..2_usize), 0..20), to in 0..2_usize) {
        let objects: Vec<String> = many
            .iter()
            .enumerate()
            .map(|(index, (choices, kind, version))| {
                let object = object(Kind::ALL[*kind], Version::ALL[*version], Taste::Wild, choices).write(0);
                object.replace(r#""name":"example""#, &format!(r#""name":"number-{index}""#))
            })
            .collect();
        let texts: Vec<&str> = objects.iter().map(String::as_str).collect();
        let to = Version::ALL[to];
        let converted = answer(review_of(to.api_version(), &texts).as_bytes());
        prop_assert_eq!(converted.uid, "705ab4f5-6393");
        prop_assert_eq!(converted.result.status, "Success");
        prop_assert_eq!(converted.converted_objects.len(), objects.len());
        for (index, object) in converted.converted_objects.iter().enumerate() {
            let name = format!(r#""name":"number-{index}""#);
            prop_assert!(object.get().contains(&name));
            prop_assert!(object.get().contains(to.api_version()));
        }
    }
}
