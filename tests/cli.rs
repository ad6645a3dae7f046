//! The command line as a user meets it: the binary is run, its exit code and its words are looked at.
//!
//! Nothing here needs a cluster.

// The helpers are test code too; clippy cannot see that in an integration test.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn operator(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hangar-operator"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("MCP_HANGAR_") || name.starts_with("KUBE") || name.starts_with("POD_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().unwrap()
}

/// Runs it and checks the exit code and one text in what it says, wherever it says it.
fn check(arguments: &[&str], code: i32, said: &str) {
    let output = operator(arguments);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(said), "{arguments:?}: {text}");
}

/// An empty directory of the test's own.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn kubeconfig(dir: &Path) -> String {
    let path = dir.join("kubeconfig");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
        clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\n\
        contexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {token: x}}]\n";
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_wrong_flag_is_2() {
    check(&["run", "--webhok-addr", "x"], 2, "--webhook-addr");
    check(&["run", "--drain-minimum", "15"], 2, "drain-minimum");
    check(&["run", "--webhook-url", "http://127.0.0.1:1"], 2, "https");
    check(&["run", "--log-level", "infoo"], 2, "--log-level");
}

#[test]
fn a_missing_kubeconfig_is_3() {
    check(&["run"], 3, "--kubeconfig");
    check(&["run", "--kubeconfig", "/nowhere/kubeconfig"], 3, "/nowhere/kubeconfig");
}

#[test]
fn an_unknown_context_is_3() {
    let dir = scratch("context");
    check(&["run", "--kubeconfig", &kubeconfig(&dir), "--context", "nix"], 3, "nix");
}

#[test]
fn missing_certificate_files_are_3() {
    let dir = scratch("certificates");
    let config = kubeconfig(&dir);
    let dir = dir.display().to_string();
    let mut arguments = vec!["run", "--kubeconfig", &config, "--tls-mode", "files", "--tls-cert-dir", &dir];
    arguments.extend(["--webhook-addr", "127.0.0.1:0", "--metrics-addr", "off", "--health-addr", "off"]);
    check(&arguments, 3, "tls.crt");
}

#[test]
fn a_taken_port_is_4_and_its_flag_is_named() {
    let dir = scratch("port");
    let config = kubeconfig(&dir);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--webhook-addr", "--metrics-addr", "--health-addr"] {
        let mut arguments = vec!["run", "--kubeconfig", &config];
        for other in ["--webhook-addr", "--metrics-addr", "--health-addr"] {
            arguments.extend([other, if other == flag { &address } else { "127.0.0.1:0" }]);
        }
        check(&arguments, 4, flag);
    }
}

#[test]
fn an_unknown_code_is_2_with_the_nearest_known_one() {
    check(&["explain", "HGR10l"], 2, "did you mean HGR10");
    check(&["explain", "101"], 2, "did you mean HGR101?");
    check(&["explain", "nonsense"], 2, "explain --list");
    check(&["explain"], 2, "CODE");
}

#[test]
fn known_codes_are_explained_whatever_their_case() {
    check(&["explain", "hgr101", "HGR102"], 0, "HGR102");
    check(&["explain", "--list"], 0, "HGR101");
    check(&["explain", "--markdown"], 0, "HGR101");
}

#[test]
fn crds_are_printed_the_same_every_time() {
    let first = operator(&["crds"]);
    assert!(first.status.success());
    assert_eq!(first.stdout, operator(&["crds"]).stdout);
    let text = String::from_utf8(first.stdout).unwrap();
    assert_eq!(text.matches("\nkind: CustomResourceDefinition\n").count(), 3);
    assert_eq!(text.matches("meta.helm.sh/release-namespace: mcp-system").count(), 3);
    assert_eq!(text.matches("path: /convert").count(), 3);
    for never in ["caBundle: L", "strategy: None", ": null", ": []", "nullable"] {
        assert!(!text.contains(never), "{never}");
    }
}

#[test]
fn plain_crds_have_no_helm_metadata() {
    let text = String::from_utf8(operator(&["crds", "--plain"]).stdout).unwrap();
    assert!(!text.contains("helm"), "{text}");
    check(&["crds", "--plain", "--release", "x"], 2, "--plain");
}

#[test]
fn crds_are_written_one_file_a_kind() {
    let dir = scratch("crds");
    assert!(operator(&["crds", "--dir", &dir.display().to_string()]).status.success());
    for name in ["mcpprovider", "mcpprovidergroup", "mcpdiscoverysource"] {
        let text = std::fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap();
        assert!(text.starts_with("# Generated from the Rust types by `make generate`"), "{name}");
        assert!(text.contains("apiVersion: apiextensions.k8s.io/v1"), "{name}");
    }
}

#[test]
fn the_version_is_also_for_programs() {
    let output = operator(&["version", "--output", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["apiVersions"], serde_json::json!(["mcp-hangar.io/v1alpha1", "mcp-hangar.io/v1beta1"]));
    check(&["version"], 0, "mcp-hangar-operator");
}
