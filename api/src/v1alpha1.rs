//! v1alpha1, frozen: every manifest that could work with the first operator stays valid.
//!
//! Served, never stored. Its types exist for its schema and for tests; rules and controllers see
//! [`crate::v1beta1`] only.

pub mod discovery;
pub mod group;
pub mod provider;

pub use discovery::{MCPDiscoverySource, MCPDiscoverySourceSpec};
pub use group::{MCPProviderGroup, MCPProviderGroupSpec};
pub use provider::{MCPProvider, MCPProviderSpec};

/// The name of this version.
pub const VERSION: &str = "v1alpha1";
