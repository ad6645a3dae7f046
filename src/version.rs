//! What was built: version, revision, compiler, and the API versions that it serves.
//!
//! The revision is known when `MCP_HANGAR_GIT_SHA` was set at build time (the Dockerfile does it).

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
            revision: match option_env!("MCP_HANGAR_GIT_SHA") {
                Some(revision) => revision,
                None => "unknown",
            },
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
