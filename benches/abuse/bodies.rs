//! Hostile bodies: reviews that are as large, deep, odd or wrong as a limit lets through, or more.
//!
//! Every one is a function of nothing. How the server must answer is said where they are sent.

use crate::reviews::{conversion_review, provider};

/// The largest admission review that is read.
const ADMISSION: usize = 8 << 20;

/// The review of a new v1alpha1 provider with that member in its spec, as JSON text.
fn review(member: &str) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"abuse","kind":{{"group":"mcp-hangar.io","version":"v1alpha1","kind":"MCPProvider"}},"operation":"CREATE","namespace":"default","object":{{"apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider","metadata":{{"name":"abuse"}},"spec":{{"mode":"container","image":"a/b:1",{member}}}}}}}}}"#
    )
}

/// 10,000 levels, as lists and as objects, closed again.
pub(crate) fn nested() -> Vec<String> {
    let lists = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    vec![review(&format!(r#""env":{lists}"#)), review(&format!(r#""resources":{objects}"#)), lists, objects]
}

/// Numbers that no integer or float can hold.
pub(crate) fn numbers() -> Vec<String> {
    let long = "9".repeat(100_000);
    ["1e400", "-1e400", "1e-400", &long, &format!("0.{long}"), &format!("1e{long}")]
        .map(|number| {
            review(&format!(r#""replicas":{number},"healthCheck":{{"failureThreshold":{number}}}"#))
        })
        .to_vec()
}

/// One key 100,000 times, and 100,000 keys.
pub(crate) fn keys() -> Vec<String> {
    let doubled = vec![r#""a":1"#; 100_000].join(",");
    let different: Vec<String> = (0..100_000).map(|index| format!(r#""k{index}":1"#)).collect();
    vec![
        review(&vec![r#""replicas":1"#; 100_000].join(",")),
        review(&format!(r#""nodeSelector":{{{doubled}}}"#)),
        review(&different.join(",")),
    ]
}

/// Bytes that are no text, inside and outside of strings.
pub(crate) fn not_text() -> Vec<Vec<u8>> {
    let place = review(r#""endpoint":"HERE""#).into_bytes();
    let at = place.windows(4).position(|window| window == b"HERE").unwrap();
    let inside = [&place[..at], b"\xff\xfe\xc0\x80\xed\xa0\x80", &place[at + 4..]].concat();
    vec![inside, vec![0xff; 100_000], b"{\"request\":\xf0\x28\x8c\x28}".to_vec()]
}

/// Every entry breaks several rules.
pub(crate) fn violations() -> String {
    let entries: Vec<String> =
        (0..100_000).map(|index| format!(r#"{{"name":"{}=","value":5}}"#, index % 9)).collect();
    review(&format!(r#""env":[{}]"#, entries.join(",")))
}

/// As many values as fit into a review of 8 MiB: what takes most memory for a byte of text.
pub(crate) fn dense() -> Vec<String> {
    let room = ADMISSION - review(r#""env":[]"#).len() - 1;
    ["1,", "[],", "{},", r#"{"":1},"#]
        .map(|item| review(&format!(r#""env":[{}1]"#, item.repeat((room - 1) / item.len()))))
        .to_vec()
}

/// A list of objects of 4 MiB, whose answer is as long.
pub(crate) fn long_answer() -> String {
    let object = provider("v1beta1");
    conversion_review(&object, (4 << 20) / object.len(), "v1alpha1")
}
