//! The operator with exactly the permissions that its roles give it, and without each of them in turn; and where it looks.
//!
//! In clusters of their own, as in a user's: a service account, roles generated from the code (the chart's are the same,
//! `tests/chart/render.rs` holds them to it), and a Service that leads the API server to the operator on loopback.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::PolicyRule;
use mcp_hangar_operator::manifests::{self, Endpoint, NAMESPACE, RELEASE, SERVICE};
use mcp_hangar_operator::permissions::rules::{Rules, rules};
use mcp_hangar_operator::permissions::{Permission, needed_in};
use mcp_hangar_operator::provider::places::Places;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually, explain};
use crate::figures::figure;
use crate::operator::{LOOPBACK, Operator};
use crate::provider::{
    Server, condition, container, deployment, events, object, provider, remote, service, state, status,
};
use crate::scope::scope;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const SECRET: &str = "/api/v1/namespaces/mcp-system/secrets/mcp-hangar-operator-webhook-ca";
const SOON: Duration = Duration::from_secs(60);
/// Replicas at the same time that each lack something.
const AT_ONCE: usize = 12;

/// A rule, and the namespace of its role; none for the whole cluster.
type Grant = (Option<String>, PolicyRule);

fn grants(places: &Places) -> Vec<Grant> {
    let needed = needed_in(scope(NAMESPACE, places));
    let namespaces: BTreeSet<_> = needed.iter().map(|permission| permission.namespace.clone()).collect();
    let of = |place: Option<String>| {
        let here: Vec<Permission> = needed.iter().filter(|it| it.namespace == place).cloned().collect();
        let Rules { cluster, namespaced } = rules(&here);
        cluster.into_iter().chain(namespaced).map(move |rule| (place.clone(), rule))
    };
    namespaces.into_iter().flat_map(of).collect()
}

/// An API server with CRDs, configurations and a Service that leads to a port of this machine, as after the chart.
fn installed(name: &str) -> (Cluster, u16) {
    let cluster = Cluster::start(name);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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
    (cluster, port)
}

/// Makes an account with these rules, and a folder with a kubeconfig for it.
fn account(cluster: &Cluster, name: &str, grants: &[Grant]) -> PathBuf {
    let api = &cluster.api;
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    api.post(&accounts, &json!({"metadata": {"name": name}})).ok();
    let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]);
    let places: BTreeSet<_> = grants.iter().map(|(place, _)| place).collect();
    for place in places {
        let rules: Vec<_> = grants.iter().filter(|(at, _)| at == place).map(|(_, rule)| rule).collect();
        let (folder, kind) = match place {
            None => (format!("{RBAC}/cluster"), "ClusterRole"),
            Some(namespace) => (format!("{RBAC}/namespaces/{namespace}/"), "Role"),
        };
        api.post(&format!("{folder}roles"), &json!({"metadata": {"name": name}, "rules": rules})).ok();
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        let binding = json!({"metadata": {"name": name}, "subjects": subjects, "roleRef": role});
        api.post(&format!("{folder}rolebindings"), &binding).ok();
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
fn start(folder: &Path, port: u16, address: &str, more: &[&str]) -> Operator {
    let port = port.to_string();
    let mut flags: Vec<&str> = LOOPBACK.to_vec();
    flags[2] = address;
    flags.extend(["--service-port", &port, "--leader-elect-lease-duration", "3s"]);
    flags.extend(["--leader-elect-renew-deadline", "2s", "--leader-elect-retry-period", "500ms"]);
    flags.extend(more);
    Operator::start(folder, "operator", &flags)
}

/// The lines between "missing permissions:" and the advice, in the newest message that has them.
fn named(operator: &Operator) -> Option<Vec<String>> {
    let lines = operator.lines();
    let mut texts = lines.iter().rev().filter_map(|line| line["message"].as_str());
    let text = texts.find(|text| text.contains("missing permissions:\n"))?;
    let list = text.split("missing permissions:\n").nth(1)?.split("check: ").next()?;
    Some(list.lines().map(|line| line.trim().to_owned()).collect())
}

/// What a rule grants that no other one does.
fn own_verbs((place, rule): &Grant, all: &[Grant]) -> Vec<String> {
    let same = |other: &PolicyRule| {
        (&other.api_groups, &other.resources, &other.resource_names)
            == (&rule.api_groups, &rule.resources, &rule.resource_names)
    };
    let wider = all.iter().filter(|(at, other)| at.is_none() && place.is_some() && same(other));
    let granted: Vec<&String> = wider.flat_map(|(_, other)| &other.verbs).collect();
    rule.verbs.iter().filter(|verb| !granted.contains(verb)).cloned().collect()
}

/// Starts an operator without each rule in turn, as if they were replicas, and reads what it misses.
fn each_is_named(cluster: &Cluster, port: u16, all: &[Grant], flags: &[&str]) {
    for first in (0..all.len()).step_by(AT_ONCE) {
        let numbers = first..all.len().min(first + AT_ONCE);
        let replicas: Vec<(usize, Operator)> = numbers
            .map(|n| {
                let rest: Vec<Grant> = all.iter().take(n).chain(all.iter().skip(n + 1)).cloned().collect();
                let folder = account(cluster, &format!("without-{n}"), &rest);
                (n, start(&folder, port, "127.0.0.1:0", flags))
            })
            .collect();
        for (n, replica) in &replicas {
            let (place, rule) = &all[*n];
            let resource = &rule.resources.as_ref().unwrap()[0];
            let what = format!("{resource} in {place:?}: it is said what is missing");
            let lines = eventually(&what, SOON, || named(replica));
            explain(replica);
            let names = rule.resource_names.clone().unwrap_or_else(|| vec![String::new()]);
            assert_eq!(lines.len(), names.len(), "{place:?} {rule:?}: {lines:?}");
            let verbs = own_verbs(&all[*n], all).join(", ");
            let place = place.as_ref().map_or("the whole cluster".into(), |name| format!("namespace {name}"));
            for (line, name) in lines.iter().zip(&names) {
                let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                for words in [&verbs, plural, subresource, name.as_str(), &place] {
                    assert!(line.contains(words), "{rule:?}: {words} is not in {line}");
                }
            }
        }
    }
    figure("least rights", format!("{} rules taken away in turn, each named", all.len()));
}

/// Nobody missed anything that has all of them.
fn missed_nothing(operator: &Operator) {
    explain(operator);
    assert_eq!(named(operator), None);
    assert!(!operator.log().contains("forbidden"), "{}", operator.log());
}

/// A container provider whose pods are ready, as the controllers of a cluster would say.
fn runs(cluster: &Cluster, object_: &Value) -> Value {
    let namespace = object_["metadata"]["namespace"].as_str().unwrap();
    let path = deployment(namespace, object_["metadata"]["name"].as_str().unwrap());
    eventually("a Deployment", SOON, || (!object(cluster, &path).is_null()).then_some(()));
    let pods = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    cluster.api.merge_patch(&format!("{path}/status"), &pods).ok();
    state(cluster, object_, "Ready")
}

/// A remote provider with a header from a Secret.
fn with_header(endpoint: &str) -> Value {
    let mut spec = remote(endpoint);
    spec["remote"]["headersFrom"] =
        json!([{"name": "Authorization", "secretKeyRef": {"name": "token", "key": "value"}}]);
    spec
}

fn make_token(cluster: &Cluster, namespace: &str) {
    let secret = json!({"metadata": {"name": "token"}, "stringData": {"value": "Bearer x"}});
    cluster.api.post(&format!("/api/v1/namespaces/{namespace}/secrets"), &secret).ok();
}

fn lacks_the_secret(cluster: &Cluster, object: &Value) {
    let told = status(cluster, object, "the Secret may not be read", |status| {
        status["conditions"].to_string().contains("SecretAccessMissing")
    });
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let message = condition(&told, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("secretNamespaces") && message.contains(namespace), "{message}");
}

#[test]
fn the_operator_does_everything_with_exactly_its_roles_and_names_each_one_that_is_taken_away() {
    let (cluster, port) = installed("rbac");
    // As if objects had been stored in the older version.
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let stored_at = format!("{crds}/mcpprovidergroups.mcp-hangar.io/status");
    cluster.api.merge_patch(&stored_at, &json!({"status": {"storedVersions": ["v1alpha1", "v1beta1"]}})).ok();

    let all = grants(&Places::default());
    let is_secret = |rule: &PolicyRule| rule.resources.iter().flatten().any(|it| it == "secrets");
    let secrets = all.iter().filter(|(_, rule)| is_secret(rule));
    assert!(
        secrets.clone().count() > 0 && secrets.clone().all(|(place, _)| place.as_deref() == Some(NAMESPACE))
    );
    let operator = start(&account(&cluster, "complete", &all), port, &format!("127.0.0.1:{port}"), &[]);
    let began = Instant::now();
    operator.said("self-test passed");
    figure(
        "least rights",
        format!("self-test passed {:?} after the start, with exactly the roles", began.elapsed()),
    );
    let stored = || cluster.api.get(&stored_at).ok()["status"]["storedVersions"].clone();
    eventually("the leader migrates", SOON, || (stored() == json!(["v1beta1"])).then_some(()));
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{RELEASE}");
    assert!(cluster.api.get(&lease).ok()["spec"]["holderIdentity"].is_string());
    let before = cluster.api.get(SECRET).ok()["data"].clone();
    cluster.api.delete(SECRET).ok();
    eventually("the Secret is back", SOON, || {
        let found = cluster.api.get(SECRET);
        (found.code == 200 && found.body["data"] == before).then_some(())
    });
    let published = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    eventually("an Event is published", SOON, || {
        cluster.api.get(&published).ok()["items"].as_array().filter(|items| !items.is_empty()).map(drop)
    });
    providers_live(&cluster);
    crate::group::lives(&cluster);
    crate::discovery::lives_a_whole_life(&cluster);
    check(
        &cluster.folder.join("complete"),
        0,
        "ok      a bad v1beta1 MCPProvider is refused by our webhooks",
    );
    each_is_named(&cluster, port, &all, &[]);
    missed_nothing(&operator);
}

/// All that providers can do without anybody reading a Secret for them.
fn providers_live(cluster: &Cluster) {
    let namespace = cluster.namespace("anywhere");
    let server = Server::start();
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    let mut spec = container();
    spec["container"]["env"] = json!([
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}]);
    let tools = provider(namespace, "tools", &spec);
    let closed = provider(namespace, "closed", &with_header(&server.fake.url()));
    make_token(cluster, namespace);
    let settings = json!({"metadata": {"name": "settings"}, "data": {"a": "1"}});
    cluster.api.post(&format!("/api/v1/namespaces/{namespace}/configmaps"), &settings).ok();
    for object in [&weather, &tools, &closed] {
        cluster.api.create(object).ok();
    }
    state(cluster, &weather, "Ready");
    runs(cluster, &tools);
    lacks_the_secret(cluster, &closed);
    eventually("an Event about a provider", SOON, || {
        events(cluster, namespace, "weather").contains(&"ProviderReady 1".to_owned()).then_some(())
    });
    // What was made for a container is removed again.
    let mut switched = remote(&server.fake.url());
    switched["container"] = Value::Null;
    cluster.api.merge_patch(&crate::api::path(&tools), &json!({"spec": switched})).ok();
    eventually("nothing of the container is left", SOON, || {
        let made =
            [deployment(namespace, "tools"), service(namespace, "tools"), service(namespace, "tools-pods")];
        made.iter().all(|path| object(cluster, path).is_null()).then_some(())
    });
    for object in [&weather, &tools, &closed] {
        cluster.api.delete(&crate::api::path(object)).ok();
    }
    figure(
        "least rights",
        "providers live without any permission on Secrets; one that needs a Secret says so",
    );
}

#[test]
fn providers_live_where_they_are_watched_and_secrets_are_read_where_that_is_allowed_and_nowhere_else() {
    let (cluster, port) = installed("places");
    for namespace in ["open", "closed", "elsewhere"] {
        cluster.namespace(namespace);
        make_token(&cluster, namespace);
    }
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    // A namespace in which Secrets may be read and nobody looks gives nothing away either.
    let all = grants(&Places::new(&names(&["open", "closed"]), &names(&["open", "elsewhere"])));
    assert!(all.iter().all(|(place, _)| place.as_deref() != Some("elsewhere")));
    let flags = ["--watch-namespaces", "open,closed", "--secret-namespaces", "open,elsewhere"];
    let operator = start(&account(&cluster, "complete", &all), port, &format!("127.0.0.1:{port}"), &flags);
    operator.said("self-test passed");

    let server = Server::start();
    let mut reads = container();
    reads["container"]["env"] =
        json!([{"name": "B", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}]);
    let of = |namespace: &str| {
        [
            provider(namespace, "header", &with_header(&server.fake.url())),
            provider(namespace, "tools", &reads),
        ]
    };
    let [away, away_tools] = of("elsewhere");
    let [open, open_tools] = of("open");
    let [closed, closed_tools] = of("closed");
    for object in [&away, &away_tools, &open, &open_tools, &closed, &closed_tools] {
        cluster.api.create(object).ok();
    }
    state(&cluster, &open, "Ready");
    let hash = |namespace: &str| {
        let found = object(&cluster, &deployment(namespace, "tools"));
        found["spec"]["template"]["metadata"]["annotations"]["mcp-hangar.io/config-hash"].clone()
    };
    runs(&cluster, &open_tools);
    runs(&cluster, &closed_tools);
    lacks_the_secret(&cluster, &closed);
    let sent = server.fake.requests.lock().unwrap().len();
    assert!(sent > 0, "somebody was asked");
    // A Secret that changes rolls pods where it may be read.
    let before = (hash("open"), hash("closed"));
    for namespace in ["elsewhere", "closed", "open"] {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/token");
        cluster.api.merge_patch(&path, &json!({"stringData": {"value": "Bearer y"}})).ok();
    }
    eventually("the pods roll", SOON, || (hash("open") != before.0).then_some(()));
    assert_eq!(hash("closed"), before.1);
    // Elsewhere: nothing at all, whatever happens there.
    let touch = json!({"spec": {"replicas": 2}, "metadata": {"annotations": {"mcp-hangar.io/wake": "2026-01-02T15:04:05Z"}}});
    cluster.api.merge_patch(&crate::api::path(&away_tools), &touch).ok();
    let last = provider("closed", "last", &remote(&server.fake.url()));
    cluster.api.create(&last).ok();
    state(&cluster, &last, "Ready");
    for object_ in [&away, &away_tools] {
        let live = cluster.api.read(object_);
        assert_eq!(live["status"], json!({"observedGeneration": -1}), "{live}");
        assert!(live["metadata"]["finalizers"].is_null());
    }
    for path in [deployment("elsewhere", "tools"), service("elsewhere", "tools")] {
        assert!(object(&cluster, &path).is_null(), "{path}");
    }
    assert!(
        events(&cluster, "elsewhere", "tools").is_empty()
            && events(&cluster, "elsewhere", "header").is_empty()
    );
    each_is_named(&cluster, port, &all, &flags);
    missed_nothing(&operator);
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
