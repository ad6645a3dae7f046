//! A group as it is stored.
//!
//! In: the object as the watch shows it. Out: [`Known`], what is read of it. One that does not decode is one group's
//! trouble: its spec stays text here and is judged later.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use mcp_hangar_api::v1beta1::group::MCPProviderGroupStatus;

use crate::provider::Key;

/// A group as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) resource_version: String,
    /// It is being deleted.
    pub(super) is_going: bool,
    pub(super) annotations: BTreeMap<String, String>,
    /// Its spec as JSON.
    pub(super) spec: Box<str>,
    pub(super) status: MCPProviderGroupStatus,
}

impl Known {
    /// Takes what counts from an object as it came.
    pub(super) fn of(key: Key, object: DynamicObject) -> Self {
        let DynamicObject { types: _, metadata, mut data } = object;
        let ObjectMeta { uid, generation, resource_version, deletion_timestamp, annotations, .. } = metadata;
        let status = data.get_mut("status").map(serde_json::Value::take).unwrap_or_default();
        let spec = data.get("spec").map_or_else(|| "null".to_owned(), ToString::to_string);
        Self {
            key,
            uid: uid.unwrap_or_default(),
            generation: generation.unwrap_or_default(),
            resource_version: resource_version.unwrap_or_default(),
            is_going: deletion_timestamp.is_some(),
            annotations: annotations.unwrap_or_default(),
            spec: spec.into_boxed_str(),
            status: serde_json::from_value(status).unwrap_or_default(),
        }
    }

    /// Whether another wish follows from it than from `old`.
    pub(super) fn wishes_other_than(&self, old: &Self) -> bool {
        (&self.uid, self.generation, self.is_going, &self.annotations)
            != (&old.uid, old.generation, old.is_going, &old.annotations)
    }
}
