//! What is remembered of a group between two looks at it.
//!
//! In: what was written. Out: the status as it is although the watch may not show it yet. It lives as long as its group
//! and is lost with the process: all that must survive is in the status.

use mcp_hangar_api::v1beta1::group::MCPProviderGroupStatus;

use super::fetch::Known;
use crate::retry::Attempts;

/// What is remembered of a group between two looks.
#[derive(Default)]
pub(super) struct Life {
    written: Option<Written>,
    pub(super) attempts: Attempts,
}

/// The status that was written last, while the watch may still show what was before.
struct Written {
    /// Versions of the group that it came after.
    older: Vec<String>,
    /// The version that it made.
    version: String,
    status: MCPProviderGroupStatus,
}

impl Life {
    /// The status as it is, though the watch may not show it yet.
    pub(super) fn status<'a>(&'a self, known: &'a Known) -> (&'a str, &'a MCPProviderGroupStatus) {
        match &self.written {
            Some(Written { older, version, status }) if older.contains(&known.resource_version) => {
                (version, status)
            }
            _ => (&known.resource_version, &known.status),
        }
    }

    /// Whether what the watch shows is what was written last.
    pub(super) fn is_ours(&self, known: &Known) -> bool {
        self.written.as_ref().is_some_and(|written| written.version == known.resource_version)
    }

    /// A write that was decided on what the watch shows as `seen` made `version`.
    pub(super) fn wrote(&mut self, seen: &str, version: String, status: MCPProviderGroupStatus) {
        let mut older = vec![seen.to_owned()];
        if let Some(before) = self.written.take().filter(|before| before.older.iter().any(|it| it == seen)) {
            older = before.older;
            older.push(before.version);
        }
        self.written = Some(Written { older, version, status });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::Key;

    #[test]
    fn what_was_written_counts_until_the_watch_shows_it() {
        let known = |version: &str, ready: i32| {
            let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProviderGroup", "spec": {},
                "metadata": {"name": "g", "namespace": "team", "resourceVersion": version}, "status": {"readyCount": ready}});
            let key = Key { namespace: "team".into(), name: "g".into() };
            Known::of(key, serde_json::from_value(object).unwrap())
        };
        let status = |ready: i32| MCPProviderGroupStatus { ready_count: Some(ready), ..Default::default() };
        let mut life = Life::default();
        let told = |life: &Life, known: &Known| {
            let (version, status) = life.status(known);
            (version.to_owned(), status.ready_count.unwrap())
        };
        assert_eq!(told(&life, &known("1", 0)), ("1".into(), 0));
        life.wrote("1", "2".into(), status(1));
        assert_eq!(told(&life, &known("1", 0)), ("2".into(), 1));
        life.wrote("1", "3".into(), status(2));
        assert_eq!(told(&life, &known("1", 0)), ("3".into(), 2));
        assert_eq!(told(&life, &known("2", 1)), ("3".into(), 2));
        assert_eq!(told(&life, &known("3", 2)), ("3".into(), 2));
        assert!(life.is_ours(&known("3", 2)) && !life.is_ours(&known("2", 1)));
        assert_eq!(told(&life, &known("4", 9)), ("4".into(), 9), "somebody else wrote");
    }
}
