//! MCPProviderGroup as v1alpha1 says it: exactly as [`crate::v1beta1`] does.
//!
//! The spec is a wrapper so that the fields are defined once. When the hub's spec first changes, the fields move here
//! and stay.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shape::group::MCPProviderGroupStatus;
use crate::v1beta1;

/// What the group is made of, and how calls are spread over it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "mcp-hangar.io",
    version = "v1alpha1",
    kind = "MCPProviderGroup",
    doc = "Several MCPProviders that serve as one.",
    namespaced,
    storage = false,
    status = "MCPProviderGroupStatus",
    derive = "PartialEq",
    shortname = "mcppg",
    shortname = "providergroup",
    category = "mcp",
    category = "all"
)]
#[serde(transparent)]
pub struct MCPProviderGroupSpec(pub v1beta1::MCPProviderGroupSpec);
