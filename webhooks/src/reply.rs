//! What answers to both kinds of review share: the HTTP reply, and the uid of a review that cannot be read.
//!
//! An API server that gets its uid back reads the answer as one to its call; without one, only a 400 is left.

use crate::json::Json;

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    /// 200 whenever a uid was found, else 400.
    pub status: u16,
    /// The JSON body (plain text where `status` is 400).
    pub body: Vec<u8>,
}

/// The uid of a review that cannot be read otherwise: by structure where the body is JSON, else by the first text
/// that looks like one.
pub(crate) fn uid_of(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    if let Ok(mut review) = Json::lazy(&text) {
        let request = review.expand_object()?.get_mut("request")?.expand_object()?;
        let uid = request.get_mut("uid")?;
        uid.expand();
        return uid.as_str().map(str::to_owned);
    }
    let (_, request) = text.split_once("\"request\"")?;
    let (_, after) = request.split_once("\"uid\"")?;
    let quoted = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let (uid, _) = quoted.split_once('"')?;
    let plain = uid.len() <= 128 && uid.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    plain.then(|| uid.to_owned())
}
