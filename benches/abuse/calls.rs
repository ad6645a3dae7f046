//! Good calls: what the API server sends, and what it must hear.
//!
//! Reviews of objects that are right, wrong, or no review at all; each call knows a text of its answer. Sending them
//! is left to the clients.

use serde_json::{Value, json};

use crate::reviews::{conversion_review, provider, update};

/// A call and the texts that its answer must have.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) bytes: Vec<u8>,
    status: &'static str,
    says: &'static str,
}

impl Call {
    fn new(path: &str, body: &str, status: &'static str, says: &'static str) -> Self {
        Self { bytes: post(path, body.as_bytes(), ""), status, says }
    }

    /// Whether that is the answer.
    pub(crate) fn fits(&self, answer: &str) -> bool {
        answer.starts_with(self.status) && answer.contains(self.says)
    }
}

/// The bytes of a call.
pub(crate) fn post(path: &str, body: &[u8], headers: &str) -> Vec<u8> {
    let mut bytes = head(path, &format!("Content-Length: {}\r\n{headers}", body.len()));
    bytes.extend_from_slice(body);
    bytes
}

/// The header of a call.
pub(crate) fn head(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "POST {path}?timeout=5s HTTP/1.1\r\nHost: mcp-hangar-operator-webhook.mcp-system.svc:443\r\n\
         User-Agent: kube-apiserver-admission\r\nContent-Type: application/json\r\n{headers}\r\n"
    )
    .into_bytes()
}

const OK: &str = "HTTP/1.1 200";

/// The call whose latency is watched: an update of 7 KB that is let in.
pub(crate) fn validate() -> Call {
    Call::new("/validate", &update("v1beta1"), OK, r#""allowed":true"#)
}

/// One of everything, good and bad.
pub(crate) fn mixed() -> Vec<Call> {
    let bad = |version: &str| {
        let mut review: Value = serde_json::from_str(&update(version)).unwrap();
        review["request"]["object"]["spec"]["replicas"] = json!(-5);
        review["request"]["object"]["spec"]["mode"] = json!("no such mode");
        review.to_string()
    };
    let (stored, sent) = (provider("v1beta1"), provider("v1alpha1"));
    let (allowed, denied, converted) =
        (r#""allowed":true"#, r#""allowed":false"#, r#""result":{"status":"Success"}"#);
    let alike = r#"{"request":{"uid":"a-uid","objects":"none"}}"#;
    vec![
        Call::new("/default", &update("v1beta1"), OK, allowed),
        Call::new("/default", &update("v1alpha1"), OK, allowed),
        Call::new("/default", &bad("v1beta1"), OK, denied),
        Call::new("/validate", &update("v1beta1"), OK, allowed),
        Call::new("/validate", &update("v1alpha1"), OK, allowed),
        Call::new("/validate", &bad("v1alpha1"), OK, denied),
        Call::new("/convert", &conversion_review(&stored, 1, "v1alpha1"), OK, converted),
        Call::new("/convert", &conversion_review(&sent, 20, "v1beta1"), OK, converted),
        // Large enough to be judged on the blocking pool.
        Call::new("/convert", &conversion_review(&stored, 150, "v1alpha1"), OK, converted),
        Call::new("/convert", alike, OK, r#""status":"Failed""#),
        Call::new("/validate", "no review", "HTTP/1.1 400", "not an AdmissionReview"),
        Call::new("/elsewhere", "", "HTTP/1.1 404", "no such path"),
    ]
}
