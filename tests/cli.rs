//! The command line as a user meets it: the binary is run, its exit code and its words are looked at.
//!
//! Nothing here needs a cluster.

// The helpers are test code too; clippy cannot see that in an integration test.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn operator(arguments: &[&str]) -> Output {
    operator_with(arguments, &[])
}

fn operator_with(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hangar-operator"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("MCP_HANGAR_") || name.starts_with("KUBE") || name.starts_with("POD_") {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied()).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs it and checks the exit code and one text in what it says, wherever it says it.
fn check(arguments: &[&str], code: i32, said: &str) {
    check_with(arguments, &[], code, said);
}

fn check_with(arguments: &[&str], variables: &[(&str, &str)], code: i32, said: &str) {
    let output = operator_with(arguments, variables);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?} {variables:?}: {text}");
    assert!(text.contains(said), "{arguments:?} {variables:?}: {text}");
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
    check(&["run", "--webhook-url", "https://x:99999"], 2, "port");
    check(&["run", "--log-level", "infoo"], 2, "--log-level");
    check(&["run", "--drain-minimum", "50s", "--drain-maximum", "10s"], 2, "--drain-maximum (10s)");
    check(&["run", "--namespace", "A_B"], 2, "lowercase");
    check(&["run", "--ca-secret", "a/b"], 2, "lowercase");
    check(&["run", "--service-name", "a.b"], 2, "lowercase");
    check(&["check", "--timeout", "30"], 2, "--timeout");
}

#[test]
fn an_empty_variable_is_none_and_a_wrong_one_is_named() {
    let dir = scratch("variables");
    let config = kubeconfig(&dir);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let empty: Vec<(&str, &str)> = [
        "MCP_HANGAR_WEBHOOK_URL",
        "MCP_HANGAR_SERVICE_NAME",
        "MCP_HANGAR_SERVICE_PORT",
        "MCP_HANGAR_NAMESPACE",
        "MCP_HANGAR_TLS_MODE",
        "MCP_HANGAR_TLS_CERT_DIR",
        "MCP_HANGAR_METRICS_ADDR",
        "MCP_HANGAR_DRAIN_MINIMUM",
        "MCP_HANGAR_LOG_LEVEL",
        "MCP_HANGAR_CONTEXT",
        "POD_NAMESPACE",
        "KUBECONFIG",
    ]
    .map(|name| (name, ""))
    .to_vec();
    // As far as the port that is taken.
    check_with(&["run", "--kubeconfig", &config, "--webhook-addr", &address], &empty, 4, "--webhook-addr");
    check_with(&["crds"], &[("MCP_HANGAR_CRDS_DIR", ""), ("MCP_HANGAR_RELEASE", "")], 0, "CustomResource");
    check_with(&["run"], &[("MCP_HANGAR_WEBHOOK_URL", "http://x")], 2, "MCP_HANGAR_WEBHOOK_URL");
    check_with(&["run"], &[("MCP_HANGAR_DRAIN_QUIET", "5")], 2, "MCP_HANGAR_DRAIN_QUIET");
}

/// No form of a broken kubeconfig, and no plugin that it names, brings a secret into the log.
#[test]
fn a_secret_in_a_kubeconfig_is_never_said() {
    const MARKER: &str = "SUPERSECRET";
    let dir = scratch("secrets");
    let path = dir.join("kubeconfig");
    let head = "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n";
    let cluster = "clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\n";
    let with_user = |user: &str| format!("{head}{cluster}users: [{{name: x, user: {user}}}]\n");
    // Base64 of "-----BEGIN SUPERSECRET\n".
    let begins = "LS0tLS1CRUdJTiBTVVBFUlNFQ1JFVAo=";
    for (broken, said) in [
        (format!("{head}{cluster}users: [{{name: x, user: {{token: {MARKER}"), "line 6, column"),
        (with_user(&format!("{{token: [{MARKER}]}}")), "line 6, column"),
        (with_user(&format!("{{token: {{{MARKER}: 1}}}}")), "line 6, column"),
        (with_user(&format!("{{token: x, token: {MARKER}}}")), "line 6, column"),
        (with_user(&format!("{{token: *{MARKER}}}")), "line 6, column"),
        (with_user(MARKER), "line 6, column"),
        (format!("{head}{cluster}users:\n- name: x\n  user:\n  \ttoken: {MARKER}\n"), "line 9, column"),
        (MARKER.to_owned(), "line 1, column"),
        (with_user(&format!("{{token: \"{MARKER}\\x01\"}}")), "no header may hold"),
        (
            with_user(&format!("{{client-certificate-data: '{MARKER}!', client-key-data: '{MARKER}!'}}")),
            "base64",
        ),
        (with_user(&format!("{{client-certificate-data: {begins}, client-key-data: {begins}}}")), "not PEM"),
        (
            with_user(&format!(
                "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: echo, args: ['{{{MARKER}']}}}}"
            )),
            "credential plugin",
        ),
        (
            with_user(&format!(
                "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, 'echo {MARKER}; exit 3']}}}}"
            )),
            "exit status: 3",
        ),
        (
            format!(
                "{head}clusters: [{{name: x, cluster: {{server: 'https://u:{MARKER}@h h'}}}}]\nusers: [{{name: x, user: {{}}}}]\n"
            ),
            "server",
        ),
        (
            format!(
                "{head}clusters: [{{name: x, cluster: {{server: 'https://127.0.0.1:1', proxy-url: 'socks5://u:{MARKER}@h'}}}}]\nusers: [{{name: x, user: {{}}}}]\n"
            ),
            "prox",
        ),
    ] {
        std::fs::write(&path, &broken).unwrap();
        for format in ["text", "json"] {
            let path = path.display().to_string();
            let output = operator(&[
                "run",
                "--kubeconfig",
                &path,
                "--log-format",
                format,
                "--webhook-addr",
                "127.0.0.1:0",
                "--metrics-addr",
                "off",
                "--health-addr",
                "off",
            ]);
            let text = text(&output);
            assert_eq!(output.status.code(), Some(3), "{broken}\n{text}");
            assert!(text.contains(said) && !text.contains(MARKER), "{broken}\n{text}");
        }
    }
}

#[test]
fn a_missing_kubeconfig_is_3() {
    check(&["run"], 3, "--kubeconfig");
    let output = operator(&["run", "--kubeconfig", "/nowhere/kubeconfig"]);
    assert_eq!(output.status.code(), Some(3));
    // Each thing once.
    for once in ["/nowhere/kubeconfig", "No such file", "os error 2"] {
        assert_eq!(text(&output).matches(once).count(), 1, "{}", text(&output));
    }
}

#[test]
fn each_file_of_a_list_is_read_and_the_wrong_one_is_named() {
    let dir = scratch("list");
    let good = kubeconfig(&dir);
    check_with(
        &["run"],
        &[("KUBECONFIG", &format!("{good}:/nowhere/other"))],
        3,
        "kubeconfig /nowhere/other: ",
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // As far as the port that is taken.
    check_with(&["run", "--webhook-addr", &address], &[("KUBECONFIG", &format!("{good}:{good}"))], 4, "");
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
    // A checkout knows its commit. Where there is no git, nothing is lost but that.
    let root = env!("CARGO_MANIFEST_DIR");
    let git = Command::new("git").args(["-C", root, "rev-parse", "HEAD"]).output();
    if Path::new(root).join(".git").exists() && git.is_ok_and(|output| output.status.success()) {
        assert_ne!(value["revision"], "unknown");
    }
}
