//! The patch that has an object stored anew: it changes nothing that anybody wrote.
//!
//! In: an object's metadata and the served versions. Out: a merge patch with its `resourceVersion`, so that it does
//! nothing to an object that somebody else has written meanwhile. It also takes away `managedFields` entries of versions
//! that are not served any more: with one of those the API server cannot apply anything to the object. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::{Value, json};

use crate::manifests::GROUP;

/// Writes the patch.
pub fn rewrite(metadata: &ObjectMeta, served: &[String]) -> Value {
    let mut patch = json!({"metadata": {"resourceVersion": metadata.resource_version}});
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let good: Vec<&ManagedFieldsEntry> = entries.iter().filter(|entry| is_served(entry, served)).collect();
    if good.len() < entries.len() {
        // An empty list would be taken for one that is left out; one empty entry means none.
        let good = if good.is_empty() { json!([{}]) } else { json!(good) };
        if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("managedFields".into(), good);
        }
    }
    patch
}

fn is_served(entry: &ManagedFieldsEntry, served: &[String]) -> bool {
    let version = entry.api_version.as_deref().and_then(|version| version.split_once('/'));
    version.is_none_or(|(group, version)| group != GROUP || served.iter().any(|served| served == version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, version: &str) -> Value {
        json!({"manager": manager, "operation": "Apply", "apiVersion": version, "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:image": {}}}})
    }

    fn patch(entries: &Value) -> Value {
        let metadata: ObjectMeta =
            serde_json::from_value(json!({"resourceVersion": "7", "managedFields": entries})).unwrap();
        rewrite(&metadata, &["v1alpha1".into(), "v1beta1".into()])
    }

    #[test]
    fn changes_nothing_where_every_version_is_served() {
        let good = json!([
            entry("a", "mcp-hangar.io/v1alpha1"),
            entry("b", "mcp-hangar.io/v1beta1"),
            entry("c", "other.io/v9")
        ]);
        for entries in [good, json!([]), Value::Null] {
            assert_eq!(patch(&entries), json!({"metadata": {"resourceVersion": "7"}}));
        }
    }

    #[test]
    fn takes_away_entries_of_versions_that_are_not_served() {
        let (good, bad) = (entry("a", "mcp-hangar.io/v1alpha1"), entry("b", "mcp-hangar.io/v1alpha0"));
        assert_eq!(patch(&json!([good, bad]))["metadata"]["managedFields"], json!([good]));
        assert_eq!(patch(&json!([bad]))["metadata"]["managedFields"], json!([{}]));
    }
}
