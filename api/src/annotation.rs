//! Keys of the annotations that are part of the API.
//!
//! Those on providers are read in both versions. Where a v1beta1 field says the same ([`PORT`], [`PATH`]) the field
//! wins. What their values mean is said here, and checked elsewhere.

/// What v1alpha1 cannot say of a hub object, carried through v1alpha1. Never present when there is nothing to carry.
pub const CONVERSION_DATA: &str = "mcp-hangar.io/conversion-data";

/// On a provider: the port its server listens on, for who writes v1alpha1. Absent = 8080.
pub const PORT: &str = "mcp-hangar.io/port";

/// On a provider: the path of its MCP endpoint, for who writes v1alpha1. Absent = `/mcp`. Also read on discovered
/// Services.
pub const PATH: &str = "mcp-hangar.io/path";

/// On a provider: its weight in a group with the strategy Weighted, 1 to 100. Absent = 1.
pub const WEIGHT: &str = "mcp-hangar.io/weight";

/// On a provider: its place in a group with the strategy Failover, 0 = first. Absent = 100.
pub const PRIORITY: &str = "mcp-hangar.io/priority";

/// On a provider: `"true"` allows an image without a digest where the operator's policy asks for one.
pub const ALLOW_MUTABLE_IMAGE: &str = "mcp-hangar.io/allow-mutable-image";

/// On a provider: when traffic was last seen (RFC 3339), written by whatever carries it.
pub const LAST_ACTIVITY: &str = "mcp-hangar.io/last-activity";

/// On a provider: wakes it (RFC 3339). Has effect once, where later than the last sleep.
pub const WAKE: &str = "mcp-hangar.io/wake";

/// On a discovered provider: `<source>/<origin>`. Ownership and pruning rest on it.
pub const DISCOVERED_BY: &str = "mcp-hangar.io/discovered-by";

/// On a discovered provider: a hash of what its source made of it, so that a field that is no longer found goes away.
pub const DISCOVERED_HASH: &str = "mcp-hangar.io/discovered-hash";

/// What discovery reads on Pods and Services under `spec.annotations.annotationPrefix`: `<prefix>/<name>`.
pub mod discovered {
    /// The prefix where the source names none.
    pub const DEFAULT_PREFIX: &str = crate::GROUP;

    /// Names the provider; what a source requires where it names no required annotations.
    pub const PROVIDER: &str = "provider";

    /// The whole endpoint URL.
    pub const ENDPOINT: &str = "endpoint";

    /// The port of the endpoint.
    pub const PORT: &str = "port";

    /// The path of the endpoint.
    pub const PATH: &str = "path";

    /// The protocol of the endpoint, `http` or `https`.
    pub const PROTOCOL: &str = "protocol";
}
