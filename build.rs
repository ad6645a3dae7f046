//! Tells the program which compiler built it.
//!
//! The revision is not asked of git here: that would rebuild the package at every commit. Whoever wants it in the
//! binary sets `MCP_HANGAR_GIT_SHA`.

use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.split_whitespace().nth(1).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    // The lint is about the program's own output; this is how a build script speaks.
    #[allow(clippy::print_stdout)]
    {
        println!("cargo::rustc-env=MCP_HANGAR_RUSTC={version}");
        println!("cargo::rerun-if-changed=build.rs");
        println!("cargo::rerun-if-env-changed=MCP_HANGAR_GIT_SHA");
    }
}
