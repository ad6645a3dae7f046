//! Any body at all, to each of the three endpoints: the answer is a review under a uid, or 400 in plain text.

use mcp_hangar_webhooks::admission::{self, Webhook};
use mcp_hangar_webhooks::conversion;
use mcp_hangar_webhooks::observer::Silent;
use mcp_hangar_webhooks::policy::Policy;
use mcp_hangar_webhooks::reply::Reply;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
struct Review {
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "uid")]
    _uid: String,
    allowed: Option<bool>,
    result: Option<IgnoredAny>,
}

/// The body as it is.
pub fn body(data: &[u8]) {
    let endpoints: [fn(&[u8]) -> Reply; 3] = [
        |body| admission::review(Webhook::Default, body, &Policy::default(), &Silent),
        |body| admission::review(Webhook::Validate, body, &Policy::default(), &Silent),
        |body| conversion::review(body, &Silent),
    ];
    for endpoint in endpoints {
        let reply = endpoint(data);
        if reply.status == 200 {
            let review: Review = serde_json::from_slice(&reply.body).expect("an answer is JSON");
            assert!(review.response.allowed.is_some() || review.response.result.is_some());
        } else {
            assert_eq!(reply.status, 400);
            assert!(reply.body.starts_with(b"the body is not a"));
        }
    }
}
