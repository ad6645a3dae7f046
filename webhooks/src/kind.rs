//! The three kinds and their two served versions, as the API server names them.
//!
//! In: names from a review. Out: closed enums, so that everything after the edge matches exhaustively and a metric
//! label or a message never holds a name that a client made up.

use std::fmt;

/// One of the operator's kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// MCPProvider
    Provider,
    /// MCPProviderGroup
    Group,
    /// MCPDiscoverySource
    Discovery,
}

impl Kind {
    /// Every kind, in the order of the documents.
    pub const ALL: [Self; 3] = [Self::Provider, Self::Group, Self::Discovery];

    /// The kind as written in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "MCPProvider",
            Self::Group => "MCPProviderGroup",
            Self::Discovery => "MCPDiscoverySource",
        }
    }

    /// The resource name as it stands in URLs and webhook rules.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Provider => "mcpproviders",
            Self::Group => "mcpprovidergroups",
            Self::Discovery => "mcpdiscoverysources",
        }
    }

    /// Looks a kind up by its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A served version. [`Version::HUB`] is the one that is stored and that rules see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// The seed's API, frozen.
    V1Alpha1,
    /// The hub.
    V1Beta1,
}

impl Version {
    /// Every served version, oldest first.
    pub const ALL: [Self; 2] = [Self::V1Alpha1, Self::V1Beta1];

    /// The stored version.
    pub const HUB: Self = Self::V1Beta1;

    /// The version without its group.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1Beta1 => "v1beta1",
        }
    }

    /// `group/version`, as `apiVersion` spells it.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "mcp-hangar.io/v1alpha1",
            Self::V1Beta1 => "mcp-hangar.io/v1beta1",
        }
    }

    /// Reads an `apiVersion` of our group.
    pub fn parse(api_version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.api_version() == api_version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
