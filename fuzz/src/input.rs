//! How bytes become objects of our kinds: the first byte chooses kind, version and policy, the rest is lines of JSON.

use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::{ImageDigestPolicy, Policy};
use serde_json::value::RawValue;

/// What the first byte says.
pub(crate) struct Choice {
    pub(crate) kind: Kind,
    pub(crate) version: Version,
    /// What of the byte is left.
    pub(crate) more: u8,
}

/// Takes the first byte.
pub(crate) fn choose(data: &[u8]) -> Option<(Choice, &[u8])> {
    let (first, rest) = data.split_first()?;
    // Printable: '0' to '5' are the six, so that an input can be read and written by hand.
    let first = first.wrapping_sub(b'0');
    let kind = *Kind::ALL.get(usize::from(first % 3))?;
    let version = *Version::ALL.get(usize::from(first / 3 % 2))?;
    Some((Choice { kind, version, more: first / 6 }, rest))
}

impl Choice {
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            image_digest: match self.more % 3 {
                0 => ImageDigestPolicy::Off,
                1 => ImageDigestPolicy::Warn,
                _ => ImageDigestPolicy::Block,
            },
            configmap_namespaces: vec!["shared".to_owned()],
        }
    }
}

/// The lines of the text that are not empty, each of which must be JSON.
pub(crate) fn json_lines(data: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(data).ok()?;
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
    (lines.len() <= 4 && lines.iter().all(|line| serde_json::from_str::<&RawValue>(line).is_ok()))
        .then_some(lines)
}

/// An object of a kind, as text.
pub(crate) fn object(
    kind: Kind,
    version: Version,
    spec: &str,
    annotations: Option<&str>,
    status: Option<&str>,
) -> String {
    let annotations = annotations.map(|text| format!(r#","annotations":{text}"#)).unwrap_or_default();
    let status = status.map(|text| format!(r#","status":{text}"#)).unwrap_or_default();
    let api_version = version.api_version();
    format!(
        r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{"name":"example","namespace":"default"{annotations}}},"spec":{spec}{status}}}"#
    )
}

/// The other of the two versions.
pub(crate) fn other(version: Version) -> Version {
    match version {
        Version::V1Alpha1 => Version::V1Beta1,
        Version::V1Beta1 => Version::V1Alpha1,
    }
}
