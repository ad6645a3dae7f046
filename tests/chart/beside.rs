//! An operator beside a release that Helm made in a cluster without pods, and what it does there.
//!
//! In: a cluster with a Deployment of the chart. Out: the binary with that Deployment's arguments and its account's rights,
//! and the bundles that the API server holds.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};
use crate::helm::{NAMESPACE, RELEASE};
use crate::operator::Operator;

pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const NAMES: [&str; 3] =
    ["mcpproviders.mcp-hangar.io", "mcpprovidergroups.mcp-hangar.io", "mcpdiscoverysources.mcp-hangar.io"];
pub(crate) const CONFIGURATIONS: [&str; 2] =
    ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

pub(crate) fn configuration(kind: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{kind}/{RELEASE}")
}

/// Each CRD and each configuration with its bundle.
pub(crate) fn bundles(cluster: &Cluster) -> Vec<Option<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let crds = NAMES.map(|name| {
        let crd = cluster.api.get(&format!("{CRD}/{name}")).body;
        text(&crd["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"])
    });
    let configurations = CONFIGURATIONS.map(|kind| {
        text(&cluster.api.get(&configuration(kind)).body["webhooks"][0]["clientConfig"]["caBundle"])
    });
    crds.into_iter().chain(configurations).collect()
}

/// Waits until all five are there and the same.
pub(crate) fn complete(cluster: &Cluster) -> Vec<Option<String>> {
    eventually("every target carries the bundle", SOON, || {
        let found = bundles(cluster);
        found.iter().all(|bundle| bundle.is_some() && *bundle == found[0]).then_some(found)
    })
}

/// Runs what the Deployment runs, as the account that it names; listeners on loopback are the only difference.
pub(crate) fn beside(cluster: &Cluster, namespace: &str, name: &str) -> Operator {
    beside_at(cluster, namespace, RELEASE, name, "0")
}

/// The same of any Deployment, with a port for the webhooks.
pub(crate) fn beside_at(
    cluster: &Cluster,
    namespace: &str,
    deployment: &str,
    name: &str,
    port: &str,
) -> Operator {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}");
    let pod = cluster.api.get(&path).ok()["spec"]["template"]["spec"].clone();
    let account = pod["serviceAccountName"].as_str().unwrap();
    let token = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let token = cluster.api.post(&token, &json!({"spec": {}})).ok()["status"]["token"].clone();
    let folder: PathBuf = cluster.folder.join(format!("account-{namespace}-{name}"));
    std::fs::create_dir_all(folder.join("logs")).unwrap();
    let text = std::fs::read_to_string(cluster.folder.join("kubeconfig")).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    config["users"] = json!([{"name": "admin", "user": {"token": token}}]);
    std::fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    let arguments = arguments.iter().skip(1).map(|argument| {
        let argument = argument.as_str().unwrap();
        match argument.split_once('=') {
            Some((flag @ "--webhook-addr", _)) => format!("{flag}=127.0.0.1:{port}"),
            Some((flag, _)) if flag.ends_with("-addr") => format!("{flag}=127.0.0.1:0"),
            Some((flag @ ("--drain-minimum" | "--drain-quiet"), _)) => format!("{flag}=0s"),
            _ => argument.to_owned(),
        }
    });
    let namespace = format!("--namespace={namespace}");
    let service = namespace.replace("--namespace", "--service-namespace");
    let arguments: Vec<String> = arguments.chain([namespace, service]).collect();
    Operator::start(&folder, name, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(crate) fn end(operator: &mut Operator) {
    operator.terminate();
    assert_eq!(operator.ended().code(), Some(0));
}

/// An operator to which the Service leads: there are no pods, so it leads out of the cluster.
pub(crate) fn reachable(cluster: &Cluster, port: &str) -> Operator {
    let port = port.rsplit('=').next().unwrap();
    let service = format!("/api/v1/namespaces/{NAMESPACE}/services/mcp-hangar-operator-webhook");
    let outside = json!({"spec": {"type": "ExternalName", "externalName": "localhost", "clusterIP": null, "clusterIPs": null,
        "selector": null}});
    cluster.api.merge_patch(&service, &outside).ok();
    beside_at(cluster, NAMESPACE, RELEASE, "reachable", port)
}
