//! Asks `main.go`, which holds the Lua interpreter, the status rules and the types of Argo CD and Flux.
//!
//! In: objects, each with the script and the expressions that judge it. Out: what the three make of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The kinds, with the scripts that judge them.
pub(crate) const KINDS: [(&str, &str); 3] =
    [("MCPProvider", "provider"), ("MCPProviderGroup", "group"), ("MCPDiscoverySource", "discovery")];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Asks it; what it compiles takes a minute once.
pub(crate) fn ask(request: &Value) -> Value {
    let mut child = Command::new("go")
        .args(["run", "-mod=readonly", "-buildvcs=false", "-trimpath", "."])
        .current_dir(path("tests/gitops"))
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(
            "this test needs Go 1.26 or later (https://go.dev/dl), like the API server of the other tests",
        );
    let mut input = child.stdin.take().unwrap();
    let text = request.to_string();
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The script by which Argo CD judges a kind.
pub(crate) fn script(kind: &Value) -> String {
    let (_, stem) = KINDS.iter().find(|(known, _)| kind == known).unwrap();
    std::fs::read_to_string(path(&format!("examples/argocd/health/{stem}.lua"))).unwrap()
}

/// The expressions by which Flux judges a kind.
pub(crate) fn expressions(kind: &Value) -> Value {
    let text = std::fs::read_to_string(path("examples/flux/mcp-hangar.yaml")).unwrap();
    let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let found = documents.into_iter().find(|it| it["metadata"]["name"] == "mcp-hangar-objects").unwrap();
    let all = found["spec"]["healthCheckExprs"].as_array().unwrap();
    all.iter().find(|entry| entry["kind"] == *kind).unwrap().clone()
}
