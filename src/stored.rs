//! A group or a source as it is stored.
//!
//! In: the object as the watch shows it. Out: [`Stored`], what is read of it. One that does not decode is its own trouble:
//! its spec stays text here and is judged later, by its kind.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use mcp_hangar_api::FINALIZER;
use serde::de::DeserializeOwned;

use crate::provider::Key;

/// An object with a status of that type.
#[derive(Clone, Debug)]
pub(crate) struct Stored<S> {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) resource_version: String,
    /// It is being deleted.
    pub(crate) is_going: bool,
    /// It carries our finalizer.
    pub(crate) has_finalizer: bool,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its spec as JSON.
    pub(crate) spec: Box<str>,
    pub(crate) status: S,
}

impl<S: DeserializeOwned + Default> Stored<S> {
    /// Takes what counts from an object as it came.
    pub(crate) fn of(key: Key, object: DynamicObject) -> Self {
        let DynamicObject { types: _, metadata, mut data } = object;
        let ObjectMeta {
            uid, generation, resource_version, deletion_timestamp, annotations, finalizers, ..
        } = metadata;
        let status = data.get_mut("status").map(serde_json::Value::take).unwrap_or_default();
        let spec = data.get("spec").map_or_else(|| "null".to_owned(), ToString::to_string);
        Self {
            key,
            uid: uid.unwrap_or_default(),
            generation: generation.unwrap_or_default(),
            resource_version: resource_version.unwrap_or_default(),
            is_going: deletion_timestamp.is_some(),
            has_finalizer: finalizers.iter().flatten().any(|name| name == FINALIZER),
            annotations: annotations.unwrap_or_default(),
            spec: spec.into_boxed_str(),
            status: serde_json::from_value(status).unwrap_or_default(),
        }
    }
}
