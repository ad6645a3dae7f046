//! Conversion, through the review that the API server sends: nothing is lost, nothing is invented, nothing fails.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unreachable_pub
)]

#[path = "review/generate.rs"]
mod generate;
mod review;
#[path = "conversion/reviews.rs"]
mod reviews;
#[path = "conversion/roundtrip.rs"]
mod roundtrip;
#[path = "review/sensible.rs"]
mod sensible;
#[path = "conversion/stash.rs"]
mod stash;
#[path = "conversion/table.rs"]
mod table;
#[path = "conversion/text.rs"]
mod text;

use mcp_hangar_webhooks::conversion;
use mcp_hangar_webhooks::kind::Version;
use mcp_hangar_webhooks::observer::Silent;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What the webhook made of a review.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Converted {
    uid: String,
    result: Outcome,
    converted_objects: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Outcome {
    status: String,
    #[serde(default)]
    message: String,
}

/// The body of a review of objects that are given as text.
fn review_of(to: &str, objects: &[&str]) -> String {
    format!(
        r#"{{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1","request":{{"uid":"705ab4f5-6393","desiredAPIVersion":"{to}","objects":[{}]}}}}"#,
        objects.join(",")
    )
}

/// Sends a body; the answer must be a review.
fn answer(body: &[u8]) -> Converted {
    #[derive(Deserialize)]
    struct Review {
        response: Converted,
    }
    let reply = conversion::review(body, &Silent);
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let text = std::str::from_utf8(&reply.body).unwrap();
    serde_json::from_str::<Review>(text).unwrap_or_else(|error| panic!("{error}: {text}")).response
}

/// One object in another version, as text; conversion never fails on an object of our kinds.
fn convert(to: Version, object: &str) -> String {
    let mut converted = answer(review_of(to.api_version(), &[object]).as_bytes());
    assert_eq!(converted.result.status, "Success", "{}: {object}", converted.result.message);
    assert_eq!(converted.converted_objects.len(), 1);
    converted.converted_objects.remove(0).get().to_owned()
}

/// The same for an object that is at hand as a tree.
fn convert_value(to: Version, object: &Value) -> Value {
    serde_json::from_str(&convert(to, &object.to_string())).unwrap()
}

/// The other of the two versions.
fn other(version: Version) -> Version {
    match version {
        Version::V1Alpha1 => Version::V1Beta1,
        Version::V1Beta1 => Version::V1Alpha1,
    }
}
