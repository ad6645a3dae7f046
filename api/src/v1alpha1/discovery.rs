//! MCPDiscoverySource as v1alpha1 says it: exactly as [`crate::v1beta1`] does, with a template of this version.
//!
//! The spec is a wrapper so that the fields are defined once. When the hub's spec first changes, the fields move here
//! and stay.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shape::discovery::MCPDiscoverySourceStatus;
use crate::v1beta1;

/// Where to look for providers, and what to make of what is found.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "mcp-hangar.io",
    version = "v1alpha1",
    kind = "MCPDiscoverySource",
    doc = "Finds MCP servers in the cluster and keeps an MCPProvider for each.",
    namespaced,
    storage = false,
    status = "MCPDiscoverySourceStatus",
    derive = "PartialEq",
    shortname = "mcpds",
    shortname = "discoverysource",
    category = "mcp",
    category = "all"
)]
#[serde(transparent)]
pub struct MCPDiscoverySourceSpec(pub v1beta1::MCPDiscoverySourceSpec);
