//! Tells the program which compiler and which commit it was built from.
//!
//! In: `MCP_HANGAR_GIT_SHA` where it is set, else git, where this is a checkout. Out: `MCP_HANGAR_RUSTC` and
//! `MCP_HANGAR_REVISION`, either `unknown` when it cannot be found out; nothing here makes a build fail.

// The lint is about the program's own output; this is how a build script speaks.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MCP_HANGAR_GIT_SHA");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = said(Command::new(rustc).arg("--version"))
        .and_then(|text| text.split_whitespace().nth(1).map(str::to_owned));
    let revision =
        std::env::var("MCP_HANGAR_GIT_SHA").ok().filter(|revision| !revision.is_empty()).or_else(commit);
    for (name, value) in [("MCP_HANGAR_RUSTC", version), ("MCP_HANGAR_REVISION", revision)] {
        println!("cargo::rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
    }
}

/// The commit of this checkout; none for sources that are unpacked inside another one.
fn commit() -> Option<String> {
    let root = std::env::var_os("CARGO_MANIFEST_DIR")?;
    let root = Path::new(&root);
    if !root.join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| said(Command::new("git").arg("-C").arg(root).args(arguments));
    // The second changes with every commit, the first with every change of branch. Absent ones would rebuild always.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]).map(|path| root.join(path));
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short", "HEAD"])
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}
