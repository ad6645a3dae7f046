//! What the operator's flags say about judging.
//!
//! A plain value that is handed to every rule, so that a rule stays a function of its arguments. Flags are read in the
//! operator.

/// What the operator's flags say about judging.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What to do about a mutable image tag.
    pub image_digest: ImageDigestPolicy,
    /// Namespaces whose ConfigMaps a discovery source elsewhere may read; `*` means all.
    pub configmap_namespaces: Vec<String>,
}

/// What to do about an image without a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageDigestPolicy {
    /// Say nothing.
    #[default]
    Off,
    /// Allow with a warning.
    Warn,
    /// Refuse.
    Block,
}
