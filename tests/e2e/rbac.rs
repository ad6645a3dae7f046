//! The operator with exactly the permissions that its roles give it, and without each of them in turn.
//!
//! In a cluster of its own, as in a user's: a service account, roles generated from the code (the chart's are the same,
//! `tests/chart/render.rs` holds them to it), and a Service that leads the API server to the operator on loopback.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::PolicyRule;
use mcp_hangar_operator::manifests::{self, Endpoint, NAMESPACE, RELEASE, SERVICE};
use mcp_hangar_operator::permissions::rules::{Rules, rules};
use mcp_hangar_operator::permissions::{Scope, needed_in};
use mcp_hangar_operator::provider::places::Places;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually, explain};
use crate::figures::figure;
use crate::operator::{LOOPBACK, Operator};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const SECRET: &str = "/api/v1/namespaces/mcp-system/secrets/mcp-hangar-operator-webhook-ca";
const SOON: Duration = Duration::from_secs(60);

fn all_rules() -> Rules {
    rules(&needed_in(Scope {
        namespace: NAMESPACE,
        ca_secret: "mcp-hangar-operator-webhook-ca",
        configuration_name: RELEASE,
        applies: false,
        own_ca: true,
        lease: Some(RELEASE),
        migrates: true,
        places: Some(&Places::default()),
    }))
}

/// Puts CRDs, configurations and a Service there, as the chart does; the Service leads to a port of this machine.
fn install(cluster: &Cluster, port: u16) {
    cluster.namespace(NAMESPACE);
    let endpoint = Endpoint::Service { name: SERVICE.into(), namespace: NAMESPACE.into(), port };
    for crd in manifests::crds(&endpoint, None) {
        cluster.api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &json!(crd)).ok();
    }
    let configurations = "/apis/admissionregistration.k8s.io/v1";
    for (kind, object) in [
        ("mutatingwebhookconfigurations", json!(manifests::mutating(RELEASE, &endpoint, None))),
        ("validatingwebhookconfigurations", json!(manifests::validating(RELEASE, &endpoint, None))),
    ] {
        cluster.api.post(&format!("{configurations}/{kind}"), &object).ok();
    }
    let service = json!({"metadata": {"name": SERVICE}, "spec": {"type": "ExternalName", "externalName": "localhost",
        "ports": [{"port": port}]}});
    cluster.api.post(&format!("/api/v1/namespaces/{NAMESPACE}/services"), &service).ok();
}

/// Makes an account with these rules, and a folder with a kubeconfig for it.
fn account(cluster: &Cluster, name: &str, rules: &Rules) -> std::path::PathBuf {
    let api = &cluster.api;
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    api.post(&accounts, &json!({"metadata": {"name": name}})).ok();
    let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]);
    let reference = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let inside = format!("{RBAC}/namespaces/{NAMESPACE}");
    for (roles, bindings, kind, rules) in [
        (
            format!("{RBAC}/clusterroles"),
            format!("{RBAC}/clusterrolebindings"),
            "ClusterRole",
            &rules.cluster,
        ),
        (format!("{inside}/roles"), format!("{inside}/rolebindings"), "Role", &rules.namespaced),
    ] {
        api.post(&roles, &json!({"metadata": {"name": name}, "rules": rules})).ok();
        let binding = json!({"metadata": {"name": name}, "subjects": subjects, "roleRef": reference(kind)});
        api.post(&bindings, &binding).ok();
    }
    let token = api.post(&format!("{accounts}/{name}/token"), &json!({"spec": {}})).ok();
    let token = token["status"]["token"].as_str().unwrap().to_owned();
    let folder = cluster.folder.join(name);
    std::fs::create_dir_all(folder.join("logs")).unwrap();
    let text = std::fs::read_to_string(cluster.folder.join("kubeconfig")).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    config["users"] = json!([{"name": "admin", "user": {"token": token}}]);
    std::fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
    folder
}

/// An operator as in a pod: its Service is where the API server finds it.
fn start(folder: &Path, port: u16, address: &str) -> Operator {
    let port = port.to_string();
    let mut flags: Vec<&str> = LOOPBACK.to_vec();
    flags[2] = address;
    flags.extend(["--service-port", &port, "--leader-elect-lease-duration", "3s"]);
    flags.extend(["--leader-elect-renew-deadline", "2s", "--leader-elect-retry-period", "500ms"]);
    Operator::start(folder, "operator", &flags)
}

/// The rules without one, for each.
fn each_missing(rules: &Rules) -> Vec<(PolicyRule, Rules)> {
    let without = |list: &[PolicyRule], n: usize| {
        let rest = list.iter().enumerate().filter(|(at, _)| *at != n).map(|(_, rule)| rule.clone());
        rest.collect::<Vec<_>>()
    };
    let cluster = rules.cluster.iter().enumerate().map(|(n, rule)| {
        (rule.clone(), Rules { cluster: without(&rules.cluster, n), namespaced: rules.namespaced.clone() })
    });
    let namespaced = rules.namespaced.iter().enumerate().map(|(n, rule)| {
        (rule.clone(), Rules { cluster: rules.cluster.clone(), namespaced: without(&rules.namespaced, n) })
    });
    cluster.chain(namespaced).collect()
}

/// The lines between "missing permissions:" and the advice, in the newest message that has them.
fn named(operator: &Operator) -> Option<Vec<String>> {
    let lines = operator.lines();
    let mut texts = lines.iter().rev().filter_map(|line| line["message"].as_str());
    let text = texts.find(|text| text.contains("missing permissions:\n"))?;
    let list = text.split("missing permissions:\n").nth(1)?.split("check: ").next()?;
    Some(list.lines().map(|line| line.trim().to_owned()).collect())
}

#[test]
fn the_operator_does_everything_with_exactly_its_roles_and_names_each_one_that_is_taken_away() {
    let cluster = Cluster::start("rbac");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    install(&cluster, port);
    // As if objects had been stored in the older version.
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let status = format!("{crds}/mcpprovidergroups.mcp-hangar.io/status");
    cluster.api.merge_patch(&status, &json!({"status": {"storedVersions": ["v1alpha1", "v1beta1"]}})).ok();

    let rules = all_rules();
    let operator = start(&account(&cluster, "complete", &rules), port, &format!("127.0.0.1:{port}"));
    let began = Instant::now();
    operator.said("self-test passed");
    figure(
        "least rights",
        format!("self-test passed {:?} after the start, with exactly the roles", began.elapsed()),
    );
    let stored = || cluster.api.get(&status).ok()["status"]["storedVersions"].clone();
    eventually("the leader migrates", SOON, || (stored() == json!(["v1beta1"])).then_some(()));
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{RELEASE}");
    assert!(cluster.api.get(&lease).ok()["spec"]["holderIdentity"].is_string());
    let before = cluster.api.get(SECRET).ok()["data"].clone();
    cluster.api.delete(SECRET).ok();
    eventually("the Secret is back", SOON, || {
        let found = cluster.api.get(SECRET);
        (found.code == 200 && found.body["data"] == before).then_some(())
    });
    let events = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    eventually("an Event is published", SOON, || {
        cluster.api.get(&events).ok()["items"].as_array().filter(|items| !items.is_empty()).map(drop)
    });
    check(
        &cluster.folder.join("complete"),
        0,
        "ok      a bad v1beta1 MCPProvider is refused by our webhooks",
    );

    // All at once, as if they were replicas: what they may do they agree on.
    let cases = each_missing(&rules);
    let replicas: Vec<(PolicyRule, Operator)> = cases
        .into_iter()
        .enumerate()
        .map(|(n, (rule, rest))| {
            let folder = account(&cluster, &format!("without-{n}"), &rest);
            (rule, start(&folder, port, "127.0.0.1:0"))
        })
        .collect();
    assert!(replicas.len() >= 10, "{}", replicas.len());
    for (rule, replica) in &replicas {
        let resource = &rule.resources.as_ref().unwrap()[0];
        let lines = eventually(&format!("{resource}: it is said what is missing"), SOON, || named(replica));
        explain(replica);
        let names = rule.resource_names.clone().unwrap_or_else(|| vec![String::new()]);
        assert_eq!(lines.len(), names.len(), "{rule:?}: {lines:?}");
        for (line, name) in lines.iter().zip(&names) {
            let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            for words in [&rule.verbs.join(", "), plural, subresource, name.as_str()] {
                assert!(line.contains(words), "{rule:?}: {words} is not in {line}");
            }
        }
    }
    figure("least rights", format!("{} rules taken away in turn, each named", replicas.len()));
    // Nobody missed anything that has all of them.
    assert_eq!(named(&operator), None);
    assert!(!operator.log().contains("forbidden"), "{}", operator.log());
    explain(&operator);
}

/// Runs `check` with the folder's kubeconfig.
fn check(folder: &Path, code: i32, words: &str) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-hangar-operator"))
        .args(["check", "--timeout", "20s", "--kubeconfig"])
        .arg(folder.join("kubeconfig"))
        .env_clear()
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "{text}");
    assert_eq!(text.matches("ok      ").count(), 4, "{text}");
}
