//! No pod of ours is there: what goes on without it, what cannot, and that nothing of ours is in the way afterwards.
//!
//! Statements 8 and 9. Garbage collection, namespaces and pods need the controllers of a whole node.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Reply, as_version, path};
use crate::cluster::{SETTLES, Site, alone, eventually};
use crate::figures::figure;
use crate::release::{HELM, HELMS, NAMESPACE, PODS, QUICK, RELEASE};
use crate::webhook::authority;

/// Controllers get this long.
const SOON: Duration = Duration::from_secs(60);
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn provider(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "metadata": {"name": name, "namespace": namespace},
        "spec": {"mode": "Container", "container": {"image": "acme/tools:1", "port": 9000}}})
}

fn spoke(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": name, "namespace": namespace},
        "spec": {"mode": "container", "image": "acme/tools:1"}})
}

/// Ends every pod and waits until they are gone.
fn scale_to_zero(site: &Site) {
    site.kubectl(&["scale", "deployment", RELEASE, "-n", NAMESPACE, "--replicas=0"], "").ok();
    eventually("the pods are gone", SOON, || site.names(PODS).is_empty().then_some(()));
}

#[test]
fn without_a_pod_all_that_needs_no_judgement_works_and_the_rest_says_why_not() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &QUICK, &[]).works();
    site.serves();
    site.namespace("kept");
    site.namespace("doomed");
    let [new, old, held, orphan] = ["new", "old", "held", "orphan"].map(|name| provider("kept", name));
    for object in [&new, &held, &orphan, &provider("doomed", "tools")] {
        site.api.create(object).ok();
    }
    // Somebody applies this one as v1alpha1, and others in the namespace that is to go.
    site.api.apply(&spoke("kept", "old"), "ci", "").ok();
    site.api.apply(&spoke("doomed", "old"), "ci", "").ok();
    let finalizer = json!({"metadata": {"finalizers": ["mcp-hangar.io/finalizer"]}});
    site.api.merge_patch(&path(&held), &finalizer).ok();
    let owner =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": "kept"}});
    let owner = site.api.post("/api/v1/namespaces/kept/configmaps", &owner).ok();
    let reference =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    site.api.merge_patch(&path(&orphan), &json!({"metadata": {"ownerReferences": reference}})).ok();
    let file = provider("kept", "file").to_string();
    site.kubectl(&["apply", "-f", "-"], &file).ok();
    scale_to_zero(&site);

    let mut works = Vec::new();
    assert!(site.kubectl(&["apply", "-f", "-"], &file).ok().ends_with(" unchanged\n"));
    works.push("kubectl apply of what is there");
    let kubectl = |arguments: &[&str]| site.kubectl(&[arguments, &["-n", "kept"]].concat(), "");
    assert!(kubectl(&["get", "mcp"]).ok().contains("mcpprovider.mcp-hangar.io/new"));
    works.push("get and list of v1beta1");
    for (name, object) in [("new", &new), ("old", &old)] {
        kubectl(&["label", "mcpp", name, "team=search"]).ok();
        kubectl(&["scale", &format!("mcpp/{name}"), "--replicas=3"]).ok();
        let status = format!("{}/status", path(object));
        site.api.merge_patch(&status, &json!({"status": {"state": "Ready", "observedGeneration": 1}})).ok();
        let mut live = site.api.read(object);
        live["status"]["toolsCount"] = json!(7);
        site.api.put(&status, &live).ok();
        kubectl(&["annotate", "mcpp", name, "mcp-hangar.io/wake=now"]).ok();
    }
    works.extend(["label", "scale", "status by patch and by update", "the annotation wake"]);
    site.api.delete(&path(&held)).ok();
    site.api.json_patch(&path(&held), &json!([{"op": "remove", "path": "/metadata/finalizers"}])).ok();
    assert_eq!(site.api.get(&path(&held)).code, 404);
    works.push("removing a finalizer");
    site.api.delete("/api/v1/namespaces/kept/configmaps/owner").ok();
    eventually("garbage is collected", SOON, || (site.api.get(&path(&orphan)).code == 404).then_some(()));
    works.push("garbage collection");
    site.api.delete("/api/v1/namespaces/doomed").ok();
    eventually("a namespace goes with its objects", SOON, || {
        (site.api.get("/api/v1/namespaces/doomed").code == 404).then_some(())
    });
    works.push("deleting a namespace with objects of both versions");

    let mut fails = Vec::new();
    let admission = "failed calling webhook \"default.mcp-hangar.io\"";
    let conversion = "conversion webhook for mcp-hangar.io/";
    let image = json!({"spec": {"container": {"image": "acme/tools:2"}}});
    let labelled = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": "old", "namespace": "kept", "labels": {"by": "me"}}});
    let cases: [(&'static str, Reply, &str); 8] = [
        ("create", site.api.create(&provider("kept", "more")), admission),
        ("create as v1alpha1", site.api.create(&spoke("kept", "more")), admission),
        ("a change of spec", site.api.merge_patch(&path(&new), &image), admission),
        (
            "another annotation",
            site.api.merge_patch(&path(&new), &json!({"metadata": {"annotations": {"a": "b"}}})),
            admission,
        ),
        ("get as v1alpha1", site.api.get(&path(&as_version(&new, "v1alpha1"))), conversion),
        ("list as v1alpha1", site.api.get("/apis/mcp-hangar.io/v1alpha1/mcpproviders"), conversion),
        ("server-side apply as v1alpha1", site.api.apply(&spoke("kept", "old"), "ci", ""), conversion),
        (
            "server-side apply of v1beta1 to what v1alpha1 clients also apply",
            site.api.apply(&labelled, "me", ""),
            conversion,
        ),
    ];
    for (what, reply, words) in cases {
        let message = reply.message();
        // An API server that has yet to fill its cache of a version says 429, and the reason as well.
        assert!(
            (reply.code >= 500 || reply.code == 429) && message.contains(words),
            "{what}: {} {message}",
            reply.code
        );
        assert!(
            message.contains("no endpoints available") || message.contains("connection refused"),
            "{what}: {message}"
        );
        fails.push(what);
    }
    figure(
        "statement 8",
        format_args!("0 pods: works: {}; refused with the reason: {}", works.join(", "), fails.join(", ")),
    );

    site.kubectl(&["scale", "deployment", RELEASE, "-n", NAMESPACE, "--replicas=2"], "").ok();
    site.serves();
    assert_eq!(site.api.read(&spoke("kept", "old"))["spec"]["replicas"], 3);
    site.api.apply(&labelled, "me", "").ok();
}

#[test]
fn an_uninstall_with_the_operator_alive_or_dead_leaves_nothing_in_the_way_and_an_install_finds_everything_again()
 {
    let site = alone();
    for (helm, alive) in HELMS.into_iter().flat_map(|helm| [(helm, true), (helm, false)]) {
        helm.install(&site, NAMESPACE, &QUICK, &[]).works();
        site.serves();
        let ca = authority(&site.api);
        site.namespace("kept");
        site.namespace("doomed");
        let objects = [
            provider("kept", "new"),
            spoke("kept", "old"),
            provider("doomed", "new"),
            spoke("doomed", "old"),
        ];
        for object in &objects {
            site.api.create(object).ok();
        }
        let before = objects[..2].iter().map(|object| site.written(object)).collect::<Vec<_>>();
        if !alive {
            scale_to_zero(&site);
        }
        let said = helm.uninstall(&site, NAMESPACE).works();
        assert!(said.contains("mcpproviders.mcp-hangar.io"), "Helm says what it keeps: {said}");
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            assert_eq!(site.names(&format!("/apis/admissionregistration.k8s.io/v1/{kind}")), [""; 0]);
        }
        assert_eq!(site.names(CRDS).len(), 3);
        eventually("the pods are gone", SOON, || site.names(PODS).is_empty().then_some(()));
        let listed = site.kubectl(&["get", "mcp", "--all-namespaces"], "").ok();
        assert_eq!(listed.matches("mcpprovider.mcp-hangar.io/").count(), 4, "{listed}");
        // Unjudged, but by the schema.
        site.api.create(&provider("kept", "unjudged")).ok();
        site.api.delete(&path(&provider("kept", "unjudged"))).ok();
        assert_eq!(site.written(&objects[0]), before[0]);
        assert!(site.api.get(&path(&objects[1])).message().contains("conversion webhook"), "v1alpha1 waits");
        site.api.delete("/api/v1/namespaces/doomed").ok();
        eventually("a namespace goes with its objects", SOON, || {
            (site.api.get("/api/v1/namespaces/doomed").code == 404).then_some(())
        });
        helm.install(&site, NAMESPACE, &QUICK, &[]).works();
        site.serves();
        for (object, before) in objects[..2].iter().zip(&before) {
            assert_eq!(&site.written(object), before);
            assert_eq!(site.api.read_as(object, "v1alpha1")["metadata"]["uid"], before["metadata"]["uid"]);
        }
        assert_eq!(authority(&site.api), ca, "the CA of the kept Secret");
        let how = if alive { "alive" } else { "dead" };
        figure(
            "statement 9",
            format_args!(
                "{}, operator {how}: 0 webhook entries left, 3 CRDs and 4 objects readable, namespace gone, reinstalled",
                helm.0
            ),
        );
        site.again();
    }
}

#[test]
fn without_keep_the_crds_go_with_the_release() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &[QUICK.as_slice(), &["crds.keep=false"]].concat(), &[]).works();
    site.serves();
    site.api.create(&provider("default", "new")).ok();
    HELM.uninstall(&site, NAMESPACE).works();
    eventually("CRDs and objects are gone", SETTLES, || site.names(CRDS).is_empty().then_some(()));
}
