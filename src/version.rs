//! What was built: version, revision, compiler, and the API versions that it serves.
//!
//! In: what `build.rs` found out: the revision is `MCP_HANGAR_GIT_SHA` where that was set (`scripts/image.sh` does), else
//! the commit of the checkout, else `unknown`. Out: texts for `version`, and the labels of a metric.

use crate::manifests::{GROUP, VERSIONS};

/// Facts fixed at build time.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The commit, or `unknown`.
    pub revision: &'static str,
    /// The compiler.
    pub rust: &'static str,
}

impl Build {
    /// This build.
    pub const fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("MCP_HANGAR_REVISION"),
            rust: env!("MCP_HANGAR_RUSTC"),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { version, revision, rust } = self;
        let served = VERSIONS.map(|served| format!("{GROUP}/{served}")).join(", ");
        format!("mcp-hangar-operator {version} (revision {revision}, rust {rust})\nserves {served}\n")
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let Self { version, revision, rust } = self;
        serde_json::json!({
            "version": version,
            "revision": revision,
            "rust": rust,
            "apiVersions": VERSIONS.map(|served| format!("{GROUP}/{served}")),
        })
    }
}
