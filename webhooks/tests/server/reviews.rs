//! The real rules behind the real server: what a client reads that sends no review, or an odd one.

use serde_json::{Value, json};

use super::harness::Site;

/// Sends a body, and checks the HTTP status and one text of the answer.
async fn check(site: &Site, path: &str, body: &[u8], status: u16, says: &str) -> String {
    let answer = site.call(path, body).await;
    let text = answer.text();
    assert_eq!(answer.status, status, "{path}: {text}");
    assert!(text.contains(says), "{path}: {text}");
    text
}

fn review(kind: &str, object: &Value) -> Vec<u8> {
    let review = json!({"request": {
        "uid": "a-uid",
        "kind": {"group": "mcp-hangar.io", "version": "v1alpha1", "kind": kind},
        "operation": "CREATE",
        "namespace": "default",
        "object": object,
    }});
    serde_json::to_vec(&review).unwrap()
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_400_in_words() {
    let site = Site::start_judging().await;
    for path in ["/default", "/validate"] {
        check(&site, path, b"hello", 400, "not an AdmissionReview").await;
        check(&site, path, b"", 400, "not an AdmissionReview").await;
        check(&site, path, b"\xff\xfe", 400, "not an AdmissionReview").await;
    }
    check(&site, "/convert", b"hello", 400, "not a ConversionReview").await;
}

#[tokio::test]
async fn a_broken_review_is_answered_under_its_uid() {
    let site = Site::start_judging().await;
    let body = br#"{"request":{"uid":"a-uid","operation":5}}"#;
    let text = check(&site, "/validate", body, 200, r#""uid":"a-uid","allowed":false"#).await;
    assert!(text.contains("\"code\":400"), "{text}");
    let body = br#"{"request":{"uid":"a-uid","objects":"none"}}"#;
    check(&site, "/convert", body, 200, r#""uid":"a-uid","result":{"status":"Failed""#).await;
}

#[tokio::test]
async fn an_unknown_kind_and_a_review_without_object_are_refused() {
    let site = Site::start_judging().await;
    check(&site, "/validate", &review("Pod", &json!({})), 200, "none of the kinds").await;
    check(&site, "/validate", &review("MCPProvider", &Value::Null), 200, "holds no object").await;
}

#[tokio::test]
async fn good_and_bad_objects_get_their_answer() {
    let site = Site::start_judging().await;
    let good = json!({"metadata": {"name": "a"}, "spec": {"mode": "container", "image": "a/b:1"}});
    let text = check(&site, "/default", &review("MCPProvider", &good), 200, "JSONPatch").await;
    assert!(text.contains("\"allowed\":true"), "{text}");
    let bad = json!({"metadata": {"name": "a"}, "spec": {"mode": "contaner"}});
    check(&site, "/default", &review("MCPProvider", &bad), 200, "did you mean").await;
}
