//! The webhook or the API server is away: what still works, what says clearly that it does not, and how it comes back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{as_version, path};
use crate::cluster::{Site, borrow_one, eventually};
use crate::provider::{state, status};
use crate::trust::{TARGETS, bundles};

/// All is well again this long after the operator or the API server is.
const BACK: Duration = Duration::from_secs(10);

fn provider(name: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "metadata": {"name": name, "namespace": "outage"},
        "spec": {"mode": "Container", "container": {"image": "acme/tools:1", "port": 9000}}})
}

/// Makes the namespace once; clusters of the pool are used again.
fn namespace(site: &Site) {
    if site.api.get("/api/v1/namespaces/outage").code == 404 {
        site.namespace("outage");
    }
}

#[test]
fn without_the_webhook_reading_labelling_scaling_status_and_deletion_work_and_the_rest_says_why_not() {
    let mut site = borrow_one();
    namespace(&site);
    let [new, old, held, doomed] = ["new", "old", "held", "doomed"].map(provider);
    for object in [&new, &held, &doomed] {
        site.api.create(object).ok();
    }
    site.api
        .merge_patch(&path(&held), &json!({"metadata": {"finalizers": ["mcp-hangar.io/finalizer"]}}))
        .ok();
    // Somebody applies this one as v1alpha1.
    let spoke = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": "old", "namespace": "outage"},
        "spec": {"mode": "container", "image": "acme/tools:1"}});
    site.api.apply(&spoke, "ci", "").ok();
    site.operator.kill();
    let kubectl = |arguments: &[&str]| site.kubectl(&[arguments, &["-n", "outage"]].concat(), "");

    // Works.
    assert!(kubectl(&["get", "mcp"]).ok().contains("mcpprovider.mcp-hangar.io/new"));
    for object in [&new, &old] {
        let name = object["metadata"]["name"].as_str().unwrap();
        kubectl(&["label", "mcpp", name, "team=search"]).ok();
        kubectl(&["scale", &format!("mcpp/{name}"), "--replicas=3"]).ok();
        let status = format!("{}/status", path(object));
        site.api.merge_patch(&status, &json!({"status": {"state": "Ready", "observedGeneration": 1}})).ok();
        let mut live = site.api.read(object);
        live["status"]["toolsCount"] = json!(7);
        site.api.put(&status, &live).ok();
        let live = site.api.read(object);
        assert_eq!(
            (&live["status"]["toolsCount"], &live["spec"]["replicas"], &live["metadata"]["labels"]["team"]),
            (&json!(7), &json!(3), &json!("search"))
        );
    }
    for annotation in
        ["mcp-hangar.io/wake=now", "mcp-hangar.io/last-activity=2026-01-01T00:00:00Z", "mcp-hangar.io/wake-"]
    {
        kubectl(&["annotate", "mcpp", "new", annotation]).ok();
    }
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "705ab4f5-6393-11e8-b7cc-42010a800002"}]);
    site.api.merge_patch(&path(&new), &json!({"metadata": {"ownerReferences": owner}})).ok();
    site.api.delete(&path(&held)).ok();
    site.api.json_patch(&path(&held), &json!([{"op": "remove", "path": "/metadata/finalizers"}])).ok();
    assert_eq!(site.api.get(&path(&held)).code, 404);
    kubectl(&["delete", "mcpp", "doomed", "--wait=false"]).ok();
    assert_eq!(site.api.get(&path(&doomed)).code, 404);

    // Does not, and says so.
    let admission = "failed calling webhook \"default.mcp-hangar.io\"";
    let conversion = "Kind=MCPProvider failed: Post";
    for (what, reply, words) in [
        ("create", site.api.create(&provider("more")), admission),
        ("create as v1alpha1", site.api.create(&as_version(&spoke, "v1alpha1")), admission),
        (
            "update",
            site.api.merge_patch(&path(&new), &json!({"spec": {"container": {"image": "acme/tools:2"}}})),
            admission,
        ),
        (
            "annotate",
            site.api.merge_patch(&path(&new), &json!({"metadata": {"annotations": {"a": "b"}}})),
            admission,
        ),
        ("get as v1alpha1", site.api.get(&path(&spoke)), conversion),
        ("list as v1alpha1", site.api.get("/apis/mcp-hangar.io/v1alpha1/mcpproviders"), conversion),
        ("apply as v1alpha1", site.api.apply(&spoke, "ci", ""), conversion),
    ] {
        assert!(
            reply.code >= 500
                && reply.message().contains(words)
                && reply.message().contains("connection refused"),
            "{what}: {reply:?}"
        );
    }
    let said = site.kubectl(&["create", "-f", "-"], &provider("more").to_string()).fails();
    assert!(said.contains(admission) && said.contains("connection refused"), "{said}");

    let began = Instant::now();
    site.restart_operator();
    assert!(began.elapsed() < BACK, "{:?}", began.elapsed());
    assert_eq!(site.api.read(&spoke)["spec"]["replicas"], 3);
    assert_eq!(site.api.read(&new)["spec"]["container"]["port"], 9000);
    site.api.apply(&spoke, "ci", "&force=true").ok();
    for object in [&new, &old] {
        site.api.delete(&path(object)).ok();
    }
}

#[test]
fn an_operator_outlives_its_api_server_and_goes_on_where_it_was() {
    let mut site = borrow_one();
    let lines = site.operator.lines().len();
    for crash in [true, false] {
        if crash {
            site.crash_api_server()
        } else {
            site.stop_api_server()
        }
        // Long enough for every watch and retry to notice.
        eventually("the operator notices", BACK, || {
            site.operator.lines()[lines..].iter().any(|line| line["level"] != "INFO").then_some(())
        });
        assert!(site.operator.is_running());
        site.start_api_server();
        eventually("calls work again", BACK, || site.answers().then_some(()));
        let good = bundles(&site);
        for (path, pointer) in TARGETS {
            site.api.json_patch(path, &json!([{"op": "remove", "path": pointer}])).ok();
            eventually("its watches work again", BACK, || (bundles(&site) == good).then_some(()));
        }
    }
    let said = site.operator.lines().len() - lines;
    assert!(said < 60, "{said} lines about two outages");
    eventually("calls work again", BACK, || site.answers().then_some(()));
}

#[test]
fn an_operator_that_starts_before_the_api_server_waits_for_it() {
    let mut site = borrow_one();
    site.operator.kill();
    site.stop_api_server();
    let before = site.operator.lines().len();
    site.operator = crate::operator::Operator::start(&site.folder, "operator", &crate::cluster::beside());
    let said = eventually("the operator says what it waits for", BACK, || {
        site.operator
            .lines()
            .into_iter()
            .skip(before)
            .find(|line| line["level"] == "WARN" || line["level"] == "ERROR")
    });
    let said = said["message"].as_str().unwrap();
    assert!(said.contains("API server") && said.contains("there is no certificate"), "{said}");
    site.start_api_server();
    site.serves();
    assert!(site.operator.is_running());
}

#[test]
fn in_a_cluster_a_missing_namespace_is_said_with_what_to_do() {
    let site = crate::cluster::shared();
    let flags = [crate::operator::LOOPBACK.as_slice(), &["--namespace", "not-there"]].concat();
    let operator = crate::operator::Operator::start(&site.folder, "namespace", &flags);
    let said = operator.said("namespace not-there does not exist");
    let text = said["message"].as_str().unwrap();
    for words in ["kubectl create namespace not-there", "--namespace", "trying again"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn an_operator_that_starts_again_changes_no_object_that_nobody_touched() {
    let mut site = borrow_one();
    namespace(&site);
    let asleep = |name: &str| {
        let mut object = provider(name);
        object["metadata"]["labels"] = json!({"app": name});
        object["spec"]["replicas"] = json!(0);
        object
    };
    let new = asleep("untouched");
    let old = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProviderGroup",
        "metadata": {"name": "untouched", "namespace": "outage"},
        "spec": {"selector": {"matchLabels": {"app": "untouched"}}, "sessionAffinity": {"enabled": true}}});
    site.kubectl(&["apply", "-f", "-"], &new.to_string()).ok();
    site.api.apply(&old, "ci", "").ok();
    let secret = site.api.get(crate::webhook::SECRET).ok();
    state(&site, &new, "Cold");
    status(&site, &old, "it is counted", |status| status["coldCount"] == 1);
    let before = [site.api.read(&new), site.api.read(&old)];

    site.operator.terminate();
    assert_eq!(site.operator.ended().code(), Some(0));
    site.restart_operator();
    site.operator.said("self-test passed");
    // As an upgrade does it, the definitions are applied once more, by another manager.
    let crds = site.api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions").ok();
    for crd in crds["items"].as_array().unwrap() {
        let mut crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": crd["metadata"]["name"], "labels": {"release": "next"}}, "spec": crd["spec"]});
        crd["spec"]["conversion"]["webhook"]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
        site.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &crd.to_string()).ok();
    }
    eventually("calls work", BACK, || site.answers().then_some(()));

    // Whoever is looked at now was looked at after the others.
    let again = asleep("later");
    site.api.create(&again).ok();
    state(&site, &again, "Cold");
    assert_eq!([site.api.read(&new), site.api.read(&old)], before);
    let after = site.api.get(crate::webhook::SECRET).ok();
    assert_eq!(after["metadata"]["resourceVersion"], secret["metadata"]["resourceVersion"]);
    assert_eq!(site.kubectl(&["diff", "-f", "-"], &new.to_string()).ok(), "");
    for object in [&new, &old, &again] {
        site.api.delete(&path(object)).ok();
    }
}
