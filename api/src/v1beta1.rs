//! v1beta1, the hub: the stored and preferred version, the only one that rules and controllers see.
//!
//! Same kinds and same meaning as [`crate::v1alpha1`]; only the provider has another shape: a union with `mode` as
//! its discriminator and one block for each member.

pub mod discovery;
pub mod group;
pub mod provider;

pub use discovery::{MCPDiscoverySource, MCPDiscoverySourceSpec, MCPDiscoverySourceStatus};
pub use group::{MCPProviderGroup, MCPProviderGroupSpec, MCPProviderGroupStatus};
pub use provider::{MCPProvider, MCPProviderSpec, MCPProviderStatus};

/// The name of this version.
pub const VERSION: &str = "v1beta1";
