//! How an admission review is read: borrowed, and only what the rules look at.
//!
//! In: the body. Out: the request, with the object's name, annotations and spec. managedFields, status and the old
//! object stay text until somebody needs them.

use std::fmt;

use mcp_hangar_api::GROUP;
use mcp_hangar_api::annotation::CONVERSION_DATA;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::field::printable;
use crate::json::{Json, Text};
use crate::kind::{Kind, Version};

/// An AdmissionReview.
#[derive(Deserialize)]
pub(super) struct Review<'a> {
    #[serde(borrow)]
    pub(super) request: Request<'a>,
}

/// Its request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub(super) uid: Text<'a>,
    #[serde(borrow, default)]
    pub(super) kind: GroupVersionKind<'a>,
    #[serde(borrow, default)]
    pub(super) operation: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) object: Option<Sent<'a>>,
    #[serde(borrow)]
    pub(super) old_object: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) options: Option<&'a RawValue>,
}

/// What kind the object is of.
#[derive(Deserialize, Default)]
pub(super) struct GroupVersionKind<'a> {
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
}

impl GroupVersionKind<'_> {
    pub(super) fn known(&self) -> (Option<Kind>, Option<Version>) {
        if &*self.group != GROUP {
            return (None, None);
        }
        let version = Version::ALL.into_iter().find(|version| version.name() == &*self.version);
        (Kind::parse(&self.kind), version)
    }
}

impl fmt::Display for GroupVersionKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, kind {}", printable(&self.group), printable(&self.version), printable(&self.kind))
    }
}

/// An object as it was sent.
#[derive(Deserialize)]
pub(super) struct Sent<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: Meta<'a>,
    #[serde(borrow)]
    pub(super) spec: Option<Json<'a>>,
}

/// What is read of its metadata.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) generate_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) annotations: Option<Json<'a>>,
    #[serde(borrow)]
    pub(super) deletion_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) managed_fields: Option<&'a RawValue>,
}

/// The annotations of an object that is otherwise not looked at.
pub(super) fn annotations_of(object: &RawValue) -> Option<Json<'_>> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        metadata: Inner<'a>,
    }
    #[derive(Deserialize)]
    struct Inner<'a> {
        #[serde(borrow)]
        annotations: Option<Json<'a>>,
    }
    serde_json::from_str::<Outer<'_>>(object.get()).ok()?.metadata.annotations
}

/// Whether the manager who writes now owns the stash annotation: then his manifest holds it, and he should know.
pub(super) fn writer_owns_stash(managed_fields: Option<&RawValue>, options: Option<&RawValue>) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Options<'a> {
        #[serde(borrow)]
        field_manager: Option<Text<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        #[serde(borrow, default)]
        manager: Text<'a>,
        #[serde(borrow)]
        fields_v1: Option<&'a RawValue>,
    }
    let writer =
        options.and_then(|options| serde_json::from_str::<Options<'_>>(options.get()).ok()?.field_manager);
    let entries = managed_fields.and_then(|fields| serde_json::from_str::<Vec<Entry<'_>>>(fields.get()).ok());
    let (Some(writer), Some(entries)) = (writer, entries) else { return false };
    let owned = format!("\"f:{CONVERSION_DATA}\"");
    entries
        .iter()
        .filter(|entry| entry.manager == writer)
        .any(|entry| entry.fields_v1.is_some_and(|fields| fields.get().contains(&owned)))
}
