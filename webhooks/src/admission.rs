//! Admission reviews in, admission reviews out. Pure: bytes and policy to bytes.

use crate::observer;

/// An HTTP answer, and what to report of it.
#[derive(Debug)]
pub struct Reply {
    /// 200 whenever a uid was found, else 400.
    pub status: u16,
    /// The JSON body (plain text where `status` is 400).
    pub body: Vec<u8>,
}

/// What the operator's flags say about judging.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What to do about a mutable image tag.
    pub image_digest: ImageDigestPolicy,
    /// Namespaces whose ConfigMaps a discovery source elsewhere may read; `*` means all.
    pub configmap_namespaces: Vec<String>,
}

/// What to do about an image without a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageDigestPolicy {
    /// Say nothing.
    #[default]
    Off,
    /// Allow with a warning.
    Warn,
    /// Refuse.
    Block,
}

/// Which of the two admission webhooks was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Webhook {
    /// `POST /default`
    Default,
    /// `POST /validate`
    Validate,
}

/// Answers one admission review. Never panics, whatever the bytes.
pub fn review(_webhook: Webhook, _body: &[u8], _policy: &Policy, _observer: &dyn observer::Observer) -> Reply {
    Reply { status: 400, body: Vec::new() }
}
