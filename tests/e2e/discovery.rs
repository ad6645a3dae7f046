//! Discovery sources of each type on a real API server, and what they do when something is wrong: mostly nothing.
//!
//! What is found is remote with its health check off, or a container that nobody starts: the tests are about which
//! MCPProviders there are. No controllers run here, so Pods and their status are written as a kubelet would.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{list_path, path};
use crate::cluster::{Cluster, LAWLESS, borrow_one, eventually, shared};
use crate::figures::figure;
use crate::fleet::Metrics;
use crate::provider::{condition, events, provider, status};

#[path = "discovery/inputs.rs"]
mod inputs;

const SOON: Duration = Duration::from_secs(30);
/// Longer than a source with the interval of these tests waits for anything.
const TWICE: Duration = Duration::from_secs(5);
/// For those that measure.
static ALONE: Mutex<()> = Mutex::new(());

fn source(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPDiscoverySource",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// A source that reads the ConfigMap `m` and deletes what is not there.
fn of_map(namespace: &str, more: &Value) -> Value {
    let mut spec = json!({"type": "ConfigMap", "configMapRef": {"name": "m"}, "mode": "Authoritative", "refreshInterval": "2s"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    source(namespace, "catalogue", &spec)
}

fn map(namespace: &str, name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": {"providers.yaml": text}})
}

/// Makes the ConfigMap, or gives it that text.
fn write(cluster: &Cluster, namespace: &str, name: &str, text: &str) {
    let all = format!("/api/v1/namespaces/{namespace}/configmaps");
    let object = map(namespace, name, text);
    if cluster.api.put(&format!("{all}/{name}"), &object).code == 404 {
        cluster.api.post(&all, &object).ok();
    }
}

fn providers(cluster: &Cluster, namespace: &str) -> Vec<Value> {
    let list = cluster.api.get(&list_path(&provider(namespace, "any", &Value::Null))).ok();
    list["items"].as_array().unwrap().clone()
}

fn names(cluster: &Cluster, namespace: &str) -> String {
    let mut names: Vec<_> = providers(cluster, namespace)
        .iter()
        .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.join(" ")
}

#[track_caller]
fn there_are(cluster: &Cluster, namespace: &str, expected: &str) {
    eventually(&format!("the providers are: {expected}"), SOON, || {
        (names(cluster, namespace) == expected).then_some(())
    });
}

/// Nothing changes for longer than two scans take.
#[track_caller]
fn there_stay(cluster: &Cluster, namespace: &str, expected: &str) {
    let began = Instant::now();
    eventually("two scans have passed", SOON, || {
        assert_eq!(names(cluster, namespace), expected);
        (began.elapsed() > TWICE).then_some(())
    });
}

fn said(cluster: &Cluster, source: &Value, type_: &str, reason: &str) -> String {
    let told = status(cluster, source, &format!("{type_} {reason}"), |status| {
        status["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["type"] == type_ && it["reason"] == reason))
    });
    condition(&told, type_)["message"].as_str().unwrap().to_owned()
}

/// What the status says of a name; empty where nothing is wrong.
fn error_of(cluster: &Cluster, source: &Value, name: &str) -> String {
    let told = status(cluster, source, &format!("{name} is told"), |status| {
        status["discoveredProviders"].as_array().is_some_and(|all| all.iter().any(|it| it["name"] == name))
    });
    let all = told["status"]["discoveredProviders"].as_array().unwrap();
    let errors = all.iter().filter(|it| it["name"] == name).filter_map(|it| it["error"].as_str());
    errors.collect::<Vec<_>>().join("; ")
}

/// A source that does everything that a source does, for an operator whose rights are to be tried.
pub(crate) fn lives_a_whole_life(cluster: &Cluster) {
    let namespace = cluster.namespace("discovery-life");
    let labels = json!({"metadata": {"labels": {"discovery-life": "yes"}}});
    cluster.api.merge_patch(&format!("/api/v1/namespaces/{namespace}"), &labels).ok();
    let text = |image: &str, more: &str| format!("providers: {{a: {{image: '{image}', replicas: 0}}{more}}}");
    write(
        cluster,
        namespace,
        "mcp-providers",
        &text("r.example/a:1", ", b: {image: 'r.example/b:1', replicas: 0}"),
    );
    let spec = json!({"type": "Namespace", "namespaceSelector": {"matchLabels": {"discovery-life": "yes"}},
        "mode": "Authoritative", "refreshInterval": "2s", "ownership": {"blockDeletion": true}});
    let all = source(namespace, "all", &spec);
    cluster.api.create(&all).ok();
    there_are(cluster, namespace, "a b");
    write(cluster, namespace, "mcp-providers", &text("r.example/a:2", ""));
    there_are(cluster, namespace, "a");
    let a = provider(namespace, "a", &Value::Null);
    eventually("it has the new image", SOON, || {
        (cluster.api.read(&a)["spec"]["container"]["image"] == "r.example/a:2").then_some(())
    });
    cluster.api.delete(&path(&all)).ok();
    there_are(cluster, namespace, "");
    eventually("the source is gone", SOON, || (cluster.api.get(&path(&all)).code == 404).then_some(()));
}

#[test]
fn a_config_map_becomes_providers_and_follows_every_edit() {
    let site = shared();
    let namespace = site.namespace("discovery-map");
    write(
        &site,
        namespace,
        "m",
        "providers:\n- name: weather\n  image: r.example/weather:1\n  env: [{name: A, value: s3cr3t}]\n- name: maps\n  endpoint: https://maps.example.com/mcp\n- {name: Spoilt_One, image: ':'}\n",
    );
    let template = json!({"metadata": {"labels": {"by": "catalogue"}}, "spec": {
        "replicas": 0, "lifecycle": {"idleTTL": "10m"}, "container": {"resources": {"limits": {"memory": "64Mi"}}}}});
    let catalogue = of_map(namespace, &json!({"providerTemplate": template}));
    let made = site.api.create(&catalogue).ok();
    there_are(&site, namespace, "maps weather");
    let weather = site.api.read(&provider(namespace, "weather", &Value::Null));
    let meta = &weather["metadata"];
    assert_eq!(meta["ownerReferences"][0]["uid"], made["metadata"]["uid"]);
    assert_eq!(
        meta["annotations"]["mcp-hangar.io/discovered-by"],
        format!("catalogue/ConfigMap/{namespace}/m/weather")
    );
    assert_eq!(meta["labels"]["by"], "catalogue");
    assert_eq!(weather["spec"]["container"]["resources"]["limits"]["memory"], "64Mi");
    let maps = site.api.read(&provider(namespace, "maps", &Value::Null));
    assert!(maps["spec"]["container"].is_null(), "{maps}");
    assert_eq!(maps["spec"]["remote"]["endpoint"], "https://maps.example.com/mcp");
    let error = error_of(&site, &catalogue, "spoilt-one");
    assert!(error.starts_with("spec.image: Invalid value") && error.contains("HGR"), "{error}");
    let message = said(&site, &catalogue, "Synced", "Synced");
    assert!(message.contains("3 found, 2 managed") && message.contains("1 with an error"), "{message}");
    let described = site.kubectl(&["describe", "mcpds", "catalogue", "-n", namespace], "").stdout;
    assert!(
        described.contains(&format!("ConfigMap {namespace}/m")) && described.contains("Next Sync Time"),
        "{described}"
    );
    assert!(!described.contains("s3cr3t"), "{described}");

    // A value of another is put right, a field of another stays, one that is no longer found goes away.
    let edit =
        json!({"spec": {"container": {"image": "r.example/mine:1"}, "lifecycle": {"startupTimeout": "1h"}}});
    site.api.merge_patch(&path(&weather), &edit).ok();
    eventually("the image is the found one", SOON, || {
        (site.api.read(&weather)["spec"]["container"]["image"] == "r.example/weather:1").then_some(())
    });
    assert_eq!(site.api.read(&weather)["spec"]["lifecycle"]["startupTimeout"], "1h");
    write(
        &site,
        namespace,
        "m",
        "providers:\n  weather: {image: 'r.example/weather:2'}\n  maps: {endpoint: 'https://maps.example.com/mcp'}\n",
    );
    let changed = eventually("the image is the new one", SOON, || {
        Some(site.api.read(&weather)).filter(|it| it["spec"]["container"]["image"] == "r.example/weather:2")
    });
    assert!(changed["spec"]["container"]["env"].is_null(), "{changed}");
    assert_eq!(changed["spec"]["lifecycle"]["startupTimeout"], "1h");
    assert_eq!(changed["metadata"]["uid"], meta["uid"]);

    write(&site, namespace, "m", "providers: [{name: weather, image: 'r.example/weather:2'}]");
    there_are(&site, namespace, "weather");
    let told = said(&site, &catalogue, "Pruning", "Pruned");
    assert!(told.contains("maps"), "{told}");
    let told = events(&site, namespace, "catalogue");
    for reason in ["ProviderDiscovered", "ProviderUpdated", "ProviderPruned", "ProviderSkipped"] {
        assert!(told.iter().any(|it| it.starts_with(reason)), "{reason}: {told:?}");
    }
    let metrics = Metrics::of(&site.operator);
    assert!(metrics.value("mcp_operator_discovery_source_count").is_some_and(|count| count >= 1.0));
    assert!(
        metrics.value("mcp_operator_discovery_sync_duration_seconds_count").is_some_and(|count| count >= 3.0)
    );
}

#[test]
fn after_a_scan_that_is_not_complete_nothing_is_deleted() {
    let site = shared();
    let namespace = site.namespace("discovery-faults");
    let good =
        "providers: {a: {endpoint: 'https://a.example.com/mcp'}, b: {endpoint: 'https://b.example.com/mcp'}}";
    write(&site, namespace, "m", good);
    let catalogue =
        of_map(namespace, &json!({"providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}}));
    site.api.create(&catalogue).ok();
    there_are(&site, namespace, "a b");
    let here = format!("/api/v1/namespaces/{namespace}/configmaps/m");
    let faults: [(&str, Value, &str); 6] = [
        (
            "not YAML",
            json!({"data": {"providers.yaml": "providers:\n- name: a\n  env: [s3cr3t\n"}}),
            "at line",
        ),
        ("a text", json!({"data": {"providers.yaml": "providers: s3cr3t"}}), "at line 1, must be a list"),
        (
            "an item without a name",
            json!({"data": {"providers.yaml": "providers: [{endpoint: 's3cr3t'}]"}}),
            "name: must be set",
        ),
        ("empty", json!({"data": {"providers.yaml": ""}}), "no key providers"),
        ("no key", json!({"data": {"providers.yaml": null, "other": "x"}}), "no key providers.yaml"),
        ("binary", json!({"binaryData": {"providers.yaml": "aGk="}}), "binaryData"),
    ];
    for (what, patch, says) in faults {
        site.api.merge_patch(&here, &patch).ok();
        let told = status(&site, &catalogue, what, |status| {
            status["lastSyncError"].as_str().is_some_and(|error| error.contains(says))
        });
        assert_eq!(condition(&told, "Ready")["reason"], "SyncFailed", "{what}");
        assert_eq!(condition(&told, "Pruning")["reason"], "ScanIncomplete", "{what}");
        assert!(!told["status"].to_string().contains("s3cr3t"), "{what}: {told}");
        assert_eq!(names(&site, namespace), "a b", "{what}");
    }
    site.api.delete(&here).ok();
    status(&site, &catalogue, "there is no ConfigMap", |status| {
        status["lastSyncError"].as_str().is_some_and(|error| error.contains("there is none"))
    });
    there_stay(&site, namespace, "a b");
    // It is back, without one of them.
    write(&site, namespace, "m", "providers: {a: {endpoint: 'https://a.example.com/mcp'}}");
    there_are(&site, namespace, "a");
    said(&site, &catalogue, "Ready", "Synced");
}

#[test]
fn a_source_that_suddenly_finds_nothing_waits_for_a_second_scan() {
    let site = shared();
    let namespace = site.namespace("discovery-nothing");
    let good =
        "providers: {a: {endpoint: 'https://a.example.com/mcp'}, b: {endpoint: 'https://b.example.com/mcp'}}";
    write(&site, namespace, "m", good);
    let catalogue = of_map(namespace, &json!({"refreshInterval": "4s"}));
    site.api.create(&catalogue).ok();
    there_are(&site, namespace, "a b");
    write(&site, namespace, "m", "providers: []");
    let told = said(&site, &catalogue, "Pruning", "FoundNothing");
    assert!(told.contains("a, b") && told.contains("deleted unless found again by"), "{told}");
    assert_eq!(names(&site, namespace), "a b");
    write(&site, namespace, "m", good);
    said(&site, &catalogue, "Pruning", "UpToDate");
    write(&site, namespace, "m", "providers: []");
    said(&site, &catalogue, "Pruning", "FoundNothing");
    let began = Instant::now();
    there_are(&site, namespace, "");
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(events(&site, namespace, "catalogue").iter().any(|it| it.starts_with("PruningHeld")));
}

#[test]
fn selected_namespaces_are_read_and_one_that_is_relabelled_loses_nothing_at_once() {
    let site = shared();
    let namespace = site.namespace("discovery-platform");
    let teams = ["discovery-team-a", "discovery-team-b", "discovery-team-c"];
    for (team, name) in teams.iter().zip(["x", "y", "z"]) {
        site.namespace(team);
        write(
            &site,
            team,
            "mcp-providers",
            &format!("providers: {{{name}: {{endpoint: 'https://{name}.example.com/mcp'}}}}"),
        );
    }
    let label = |team: &str, value: Value| {
        site.api
            .merge_patch(
                &format!("/api/v1/namespaces/{team}"),
                &json!({"metadata": {"labels": {"discovery-test": value}}}),
            )
            .ok();
    };
    label(teams[0], json!("yes"));
    label(teams[1], json!("yes"));
    let spec = json!({"type": "Namespace", "mode": "Authoritative", "refreshInterval": "3s",
        "namespaceSelector": {"matchLabels": {"discovery-test": "yes"}},
        "providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    let all = source(namespace, "teams", &spec);
    site.api.create(&all).ok();
    there_are(&site, namespace, "x y");
    label(teams[2], json!("yes"));
    there_are(&site, namespace, "x y z");
    label(teams[2], Value::Null);
    let told = said(&site, &all, "Pruning", "PlaceAway");
    assert!(told.contains(": z"), "{told}");
    assert_eq!(names(&site, namespace), "x y z");
    label(teams[2], json!("yes"));
    said(&site, &all, "Pruning", "UpToDate");
    label(teams[2], Value::Null);
    there_are(&site, namespace, "x y");
    // One that cannot be read keeps the others' from being deleted, and nothing else.
    write(&site, teams[1], "mcp-providers", "providers: [");
    write(&site, teams[0], "mcp-providers", "providers: {v: {endpoint: 'https://v.example.com/mcp'}}");
    there_are(&site, namespace, "v x y");
    let told = said(&site, &all, "Synced", "SyncFailed");
    assert!(told.contains(&format!("ConfigMap {}/mcp-providers", teams[1])), "{told}");
}

fn service(namespace: &str, name: &str, labels: &Value, annotations: &Value, ports: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": ports},
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations}})
}

#[test]
fn annotated_services_and_pods_are_found_where_they_say_they_are() {
    let site = shared();
    let namespace = site.namespace("discovery-annotated");
    let services = format!("/api/v1/namespaces/{namespace}/services");
    let annotated = |more: Value| {
        let mut annotations = json!({"mcp-hangar.io/provider": "weather"});
        annotations.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        annotations
    };
    let port = json!([{"port": 8080}]);
    for (name, annotations) in [
        ("good", annotated(json!({"mcp-hangar.io/path": "/tools"}))),
        ("named", annotated(json!({"mcp-hangar.io/provider": "spoilt", "mcp-hangar.io/port": "http"}))),
        ("large", annotated(json!({"mcp-hangar.io/provider": "beyond", "mcp-hangar.io/port": "99999"}))),
        ("silent", json!({})),
    ] {
        site.api.post(&services, &service(namespace, name, &json!({}), &annotations, &port)).ok();
    }
    let spec = json!({"type": "Annotations", "annotations": {}, "mode": "Authoritative", "refreshInterval": "2s",
        "providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    let found = source(namespace, "annotated", &spec);
    site.api.create(&found).ok();
    there_are(&site, namespace, "weather");
    let weather = provider(namespace, "weather", &Value::Null);
    assert_eq!(
        site.api.read(&weather)["spec"]["remote"]["endpoint"],
        format!("http://good.{namespace}.svc:8080/tools")
    );
    for (name, value) in [("spoilt", "http"), ("beyond", "99999")] {
        let error = error_of(&site, &found, name);
        assert!(error.contains("annotation mcp-hangar.io/port") && error.contains(value), "{error}");
    }
    // A Pod counts when it is ready, and stays when it is not.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace,
            "annotations": {"mcp-hangar.io/provider": "glossary", "mcp-hangar.io/port": "7000"}},
        "spec": {"containers": [{"name": "c", "image": "r.example/p:1"}], "automountServiceAccountToken": false}});
    let account = json!({"metadata": {"name": "default"}});
    site.api.post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account);
    site.api.post(&format!("/api/v1/namespaces/{namespace}/pods"), &pod).ok();
    let error = error_of(&site, &found, "glossary");
    assert!(error.contains("not ready"), "{error}");
    assert_eq!(names(&site, namespace), "weather");
    let ready = |ready: &str, ip: &str| {
        let status = json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": ready}]}});
        site.api.merge_patch(&format!("/api/v1/namespaces/{namespace}/pods/p/status"), &status).ok();
    };
    ready("True", "10.1.2.3");
    there_are(&site, namespace, "glossary weather");
    let glossary = provider(namespace, "glossary", &Value::Null);
    assert_eq!(site.api.read(&glossary)["spec"]["remote"]["endpoint"], "http://10.1.2.3:7000/mcp");
    ready("False", "10.1.2.3");
    there_stay(&site, namespace, "glossary weather");
    site.api.delete(&format!("{services}/good")).ok();
    there_are(&site, namespace, "glossary");
    site.api.delete(&format!("/api/v1/namespaces/{namespace}/pods/p?gracePeriodSeconds=0")).ok();
    there_are(&site, namespace, "");
}

#[test]
fn services_with_a_named_port_are_found_and_those_of_providers_are_not() {
    let site = shared();
    let namespace = site.namespace("discovery-ports");
    let services = format!("/api/v1/namespaces/{namespace}/services");
    let ports = json!([{"port": 80, "name": "web"}, {"port": 9000, "name": "mcp"}]);
    for (name, labels, ports) in [
        ("search", json!({"tier": "tools"}), &ports),
        ("plain", json!({"tier": "tools"}), &json!([{"port": 80}])),
        ("ours", json!({"tier": "tools", "mcp-hangar.io/provider": "x"}), &ports),
        ("other", json!({}), &ports),
    ] {
        site.api.post(&services, &service(namespace, name, &labels, &json!({}), ports)).ok();
    }
    let spec = json!({"type": "ServiceDiscovery", "serviceDiscovery": {"selector": {"tier": "tools"}, "protocol": "https"},
        "refreshInterval": "1h", "providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    let found = source(namespace, "ports", &spec);
    site.api.create(&found).ok();
    there_are(&site, namespace, "search");
    let search = provider(namespace, "search", &Value::Null);
    assert_eq!(
        site.api.read(&search)["spec"]["remote"]["endpoint"],
        format!("https://search.{namespace}.svc:9000/mcp")
    );
    // The interval is an hour: what changes is heard.
    site.api
        .merge_patch(&format!("{services}/plain"), &json!({"spec": {"ports": [{"port": 80, "name": "mcp"}]}}))
        .ok();
    there_are(&site, namespace, "plain search");
    // Additive tells what it would delete.
    site.api.delete(&format!("{services}/search")).ok();
    let told = eventually("it would be deleted", SOON, || {
        Some(said(&site, &found, "Pruning", "Additive")).filter(|told| told.contains("search"))
    });
    assert!(told.starts_with("with mode Authoritative these would be deleted"), "{told}");
    assert_eq!(names(&site, namespace), "plain search");
}

#[test]
fn nobody_loses_a_provider_to_a_source() {
    let site = shared();
    let namespace = site.namespace("discovery-names");
    let theirs = provider(
        namespace,
        "theirs",
        &json!({"mode": "Remote", "remote": {"endpoint": "https://x.example.com/mcp"},
        "healthCheck": {"enabled": false}}),
    );
    site.api.create(&theirs).ok();
    let text = "providers: {theirs: {endpoint: 'https://a.example.com/mcp'}, first: {endpoint: 'https://b.example.com/mcp'}, kept: {endpoint: 'https://c.example.com/mcp'}}";
    write(&site, namespace, "m", text);
    let template = json!({"spec": {"healthCheck": {"enabled": false}}});
    let catalogue = of_map(namespace, &json!({"providerTemplate": template}));
    site.api.create(&catalogue).ok();
    there_are(&site, namespace, "first kept theirs");
    let error = error_of(&site, &catalogue, "theirs");
    assert!(error.contains("never adopted"), "{error}");
    let mut second = catalogue.clone();
    second["metadata"]["name"] = json!("second");
    site.api.create(&second).ok();
    let error = error_of(&site, &second, "first");
    assert!(error.contains("belongs to the source \"catalogue\""), "{error}");
    // Who takes the annotation away keeps the provider.
    let kept = provider(namespace, "kept", &Value::Null);
    let forget =
        json!({"metadata": {"annotations": {"mcp-hangar.io/discovered-by": null}, "ownerReferences": null}});
    site.api.merge_patch(&path(&kept), &forget).ok();
    write(&site, namespace, "m", "providers: {first: {endpoint: 'https://b.example.com/mcp'}}");
    said(&site, &catalogue, "Pruning", "UpToDate");
    there_stay(&site, namespace, "first kept theirs");
    assert_eq!(site.api.read(&theirs)["spec"]["remote"]["endpoint"], "https://x.example.com/mcp");
    // The name is free, and the source that waits for it gets it.
    site.api.delete(&path(&catalogue)).ok();
    let first = provider(namespace, "first", &Value::Null);
    site.api.delete(&path(&first)).ok();
    eventually("it belongs to the second", SOON, || {
        let reply = site.api.get(&path(&first));
        let by = reply.body["metadata"]["annotations"]["mcp-hangar.io/discovered-by"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        by.starts_with("second/").then_some(())
    });
}

#[test]
fn a_paused_source_does_nothing_and_one_that_blocks_deletion_clears_up_first() {
    let site = shared();
    let namespace = site.namespace("discovery-paused");
    write(
        &site,
        namespace,
        "m",
        "providers: {a: {endpoint: 'https://a.example.com/mcp'}, b: {endpoint: 'https://b.example.com/mcp'}}",
    );
    let more = json!({"ownership": {"blockDeletion": true}, "filters": {"excludePatterns": ["^b$"]},
        "providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    let catalogue = of_map(namespace, &more);
    site.api.create(&catalogue).ok();
    there_are(&site, namespace, "a");
    let told = said(&site, &catalogue, "Synced", "Synced");
    assert!(told.contains("1 left out by spec.filters: b"), "{told}");
    assert_eq!(site.api.read(&catalogue)["metadata"]["finalizers"], json!(["mcp-hangar.io/finalizer"]));
    site.api.merge_patch(&path(&catalogue), &json!({"spec": {"paused": true}})).ok();
    said(&site, &catalogue, "Ready", "Paused");
    write(&site, namespace, "m", "providers: {c: {endpoint: 'https://c.example.com/mcp'}}");
    there_stay(&site, namespace, "a");
    site.api.delete(&path(&catalogue)).ok();
    there_are(&site, namespace, "");
    eventually("the source is gone", SOON, || (site.api.get(&path(&catalogue)).code == 404).then_some(()));
}

#[test]
fn a_spec_that_slipped_past_the_webhook_is_named_and_nothing_is_read() {
    let site = shared();
    site.namespace("discovery-secret");
    write(&site, "discovery-secret", "m", "providers: {stolen: {endpoint: 'https://a.example.com/mcp'}}");
    let spec = json!({"type": "ConfigMap", "configMapRef": {"name": "m", "namespace": "discovery-secret"}});
    let thief = source(LAWLESS, "thief", &spec);
    site.api.create(&thief).ok();
    let says = said(&site, &thief, "Stalled", "InvalidSpec");
    assert!(says.contains("spec.configMapRef.namespace") && says.contains("HGR150"), "{says}");
    assert!(!names(&site, LAWLESS).contains("stolen"));
    site.api.delete(&path(&thief)).ok();
}

#[test]
fn a_config_map_of_another_namespace_is_read_where_the_operator_allows_it() {
    let site = shared();
    let namespace = site.namespace("discovery-near");
    site.namespace(crate::cluster::CATALOGUE);
    write(
        &site,
        crate::cluster::CATALOGUE,
        "m",
        "providers: {shared: {endpoint: 'https://a.example.com/mcp'}}",
    );
    let spec = json!({"type": "ConfigMap", "refreshInterval": "1h", "configMapRef": {"name": "m", "namespace": crate::cluster::CATALOGUE},
        "providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    site.api.create(&source(namespace, "near", &spec)).ok();
    there_are(&site, namespace, "shared");
    write(
        &site,
        crate::cluster::CATALOGUE,
        "m",
        "providers: {other: {endpoint: 'https://a.example.com/mcp'}}",
    );
    there_are(&site, namespace, "other shared");
}

#[test]
fn a_thousand_annotated_services_are_found_and_a_change_of_one_changes_one() {
    const COUNT: usize = 1_000;
    let site = shared();
    let _alone = ALONE.lock();
    let namespace = site.namespace("discovery-services");
    let services = format!("/api/v1/namespaces/{namespace}/services");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (site, services) = (&site, &services);
            scope.spawn(move || {
                for number in (writer..COUNT).step_by(8) {
                    let annotations =
                        json!({"mcp-hangar.io/provider": format!("s{number}"), "mcp-hangar.io/port": "8080"});
                    let mut service = service(
                        namespace,
                        &format!("s{number}"),
                        &json!({}),
                        &annotations,
                        &json!([{"port": 80}]),
                    );
                    // The range of addresses of this API server is small.
                    service["spec"]["clusterIP"] = json!("None");
                    site.api.post(services, &service).ok();
                }
            });
        }
    });
    let spec = json!({"type": "Annotations", "annotations": {}, "mode": "Authoritative", "refreshInterval": "1h",
        "providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    let all = source(namespace, "services", &spec);
    let began = Instant::now();
    site.api.create(&all).ok();
    eventually("all are managed", Duration::from_secs(180), || {
        (site.api.read(&all)["status"]["managedCount"] == COUNT).then_some(())
    });
    figure("discovery", format!("{COUNT} annotated Services in {:?}", began.elapsed()));
    let versions = || -> Vec<String> {
        providers(&site, namespace).iter().map(|it| it["metadata"]["generation"].to_string()).collect()
    };
    let before = versions();
    let patch = json!({"metadata": {"annotations": {"mcp-hangar.io/path": "/other"}}});
    site.api.merge_patch(&format!("{services}/s7"), &patch).ok();
    let changed = provider(namespace, "s7", &Value::Null);
    eventually("its endpoint is another", SOON, || {
        let endpoint =
            site.api.read(&changed)["spec"]["remote"]["endpoint"].as_str().unwrap_or_default().to_owned();
        endpoint.ends_with("/other").then_some(())
    });
    let changes = versions().iter().zip(&before).filter(|(now, before)| now != before).count();
    assert_eq!(changes, 1);
}

#[test]
fn an_operator_that_is_killed_in_mid_sync_and_an_api_server_that_goes_away_lose_nothing() {
    const COUNT: usize = 300;
    let mut site = borrow_one();
    let namespace = "discovery-killed";
    site.namespace(namespace);
    let text = |count: usize| {
        let entry = |n: usize| format!("  p{n}: {{endpoint: 'https://p{n}.example.com/mcp'}}\n");
        format!("providers:\n{}", (0..count).map(entry).collect::<String>())
    };
    write(&site, namespace, "m", &text(COUNT));
    let catalogue =
        of_map(namespace, &json!({"providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}}));
    site.api.create(&catalogue).ok();
    eventually("some are made", SOON, || (providers(&site, namespace).len() > 20).then_some(()));
    site.operator.kill();
    let made = providers(&site, namespace).len();
    assert!(made < COUNT, "it was killed too late");
    site.restart_operator();
    let count = |expected: usize| {
        eventually(&format!("{expected} are there"), Duration::from_secs(120), || {
            (providers(&site, namespace).len() == expected).then_some(())
        });
    };
    count(COUNT);
    let uids = |site: &Cluster| -> Vec<String> {
        providers(site, namespace).iter().map(|it| it["metadata"]["uid"].to_string()).collect()
    };
    let before = uids(&site);
    // While nobody answers, nothing is known, and nothing is deleted after it.
    site.crash_api_server();
    site.start_api_server();
    site.serves();
    write(&site, namespace, "m", &text(COUNT - 1));
    count(COUNT - 1);
    let after = uids(&site);
    assert_eq!(before.iter().filter(|uid| after.contains(uid)).count(), COUNT - 1);
    site.api.delete(&path(&catalogue)).ok();
    let all = list_path(&provider(namespace, "any", &Value::Null));
    site.api.delete(&all).ok();
}

/// The time of so many creates of providers, as fast as the API server takes them from as many writers as a source has.
fn bound(cluster: &Cluster, namespace: &str, count: usize) -> Duration {
    const WRITERS: usize = 8;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for number in (writer..count).step_by(WRITERS) {
                    let spec = json!({"mode": "Remote", "remote": {"endpoint": format!("https://p{number}.example.com/mcp")},
                        "healthCheck": {"enabled": false}});
                    cluster.api.create(&provider(namespace, &format!("p{number}"), &spec)).ok();
                }
            });
        }
    });
    began.elapsed()
}

#[test]
fn a_thousand_entries_are_synced_about_as_fast_as_the_api_server_takes_them_and_then_nothing_is_written() {
    const COUNT: usize = 1_000;
    let site = shared();
    let _alone = ALONE.lock();
    let settled = |namespace: &str| {
        eventually("all have a state", Duration::from_secs(180), || {
            let all = providers(&site, namespace);
            let has_state = |it: &Value| !it["status"]["state"].is_null();
            (all.len() == COUNT && all.iter().all(has_state)).then_some(())
        });
    };
    // What the operator makes of a provider is part of both.
    let other = site.namespace("discovery-bound");
    let began = Instant::now();
    let bound = bound(&site, other, COUNT);
    settled(other);
    let whole_bound = began.elapsed();
    let namespace = site.namespace("discovery-scale");
    let entries: String =
        (0..COUNT).map(|n| format!("  p{n}: {{endpoint: 'https://p{n}.example.com/mcp'}}\n")).collect();
    write(&site, namespace, "m", &format!("providers:\n{entries}"));
    let catalogue =
        of_map(namespace, &json!({"providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}}));
    let began = Instant::now();
    site.api.create(&catalogue).ok();
    let synced = eventually("all are managed", Duration::from_secs(180), || {
        let source = site.api.read(&catalogue);
        (source["status"]["managedCount"] == COUNT).then_some(source)
    });
    let took = began.elapsed();
    settled(namespace);
    let whole = began.elapsed();
    let ratio = whole.as_secs_f64() / whole_bound.as_secs_f64();
    figure(
        "discovery",
        format!(
            "{COUNT} entries managed in {took:?} and looked after in {whole:?}; their creates alone {bound:?} and \
             {whole_bound:?}: {ratio:.2} times"
        ),
    );
    // Other tests run beside this one, with operators of their own.
    assert!(ratio < 4.0, "{whole:?} against {whole_bound:?}");
    let all = || -> Vec<(String, String)> {
        let key = |it: &Value| (it["metadata"]["name"].to_string(), it["metadata"]["generation"].to_string());
        providers(&site, namespace).iter().map(key).collect()
    };
    let (before, version) = (all(), synced["metadata"]["resourceVersion"].clone());
    let metrics = Metrics::of(&site.operator);
    let scans = || metrics.value("mcp_operator_discovery_sync_duration_seconds_count").unwrap();
    let done = scans();
    let waited = Instant::now();
    eventually("it is scanned again", SOON, || (scans() > done && waited.elapsed() > TWICE).then_some(()));
    assert_eq!(site.api.read(&catalogue)["metadata"]["resourceVersion"], version, "the source");
    assert_eq!(all(), before);
}
