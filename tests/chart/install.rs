//! Both Helms against a stock API server: the quick start of the README, what upgrades do to the CA bundle, and who is refused.
//!
//! No pod runs here; where an operator matters, the binary runs beside the cluster with the account, the roles and the
//! arguments that the chart gave it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::beside::{
    CONFIGURATIONS, CRD, NAMES, SOON, beside, beside_at, bundles, complete, configuration, end, reachable,
};
use crate::cluster::{Cluster, eventually};
use crate::figures::figure;
use crate::helm::{CRDS, Helm, NAMESPACE, OPERATOR, RELEASE, helms, objects, read};
use crate::package::repository;

fn start(helm: &Helm, name: &str) -> (Cluster, Helm) {
    let cluster = Cluster::start(&format!("chart-{name}-{}", helm.name));
    let helm = helm.on(&cluster.folder.join("kubeconfig"));
    (cluster, helm)
}

/// One cluster for both, one after the other.
fn start_for_both(name: &str) -> (Cluster, [Helm; 2]) {
    let cluster = Cluster::start(&format!("chart-{name}"));
    let helms = helms().map(|helm| helm.on(&cluster.folder.join("kubeconfig")));
    (cluster, helms)
}

/// Takes the CRDs out of the cluster, which a release leaves behind.
fn delete_crds(cluster: &Cluster) {
    for name in NAMES {
        cluster.api.delete(&format!("{CRD}/{name}")).ok();
    }
    let mut touched = Instant::now();
    eventually("the CRDs are gone", SOON, || {
        let left = cluster.api.get(CRD).ok();
        // The API server's finalizer gives up on a CRD that was written a moment before, until the next write (docs/chart.md).
        if touched.elapsed() > Duration::from_secs(3) {
            let touch = json!({"metadata": {"annotations": {"touched": format!("{touched:?}")}}});
            for name in NAMES {
                cluster.api.merge_patch(&format!("{CRD}/{name}"), &touch);
            }
            touched = Instant::now();
        }
        (left["items"] == json!([])).then_some(())
    });
}

fn install(helm: &Helm, namespace: &str, more: &[&str]) -> crate::helm::Said {
    let fixed = ["install", RELEASE, OPERATOR, "--namespace", namespace, "--create-namespace"];
    helm.run(&[&fixed, more].concat())
}

/// The three files that the quick start applies.
fn apply_crds(cluster: &Cluster) {
    for name in ["mcpprovider", "mcpprovidergroup", "mcpdiscoverysource"] {
        cluster.kubectl(&["apply", "-f", &format!("deploy/crds/{name}.yaml")], "").ok();
    }
}

/// Literally, from a repository; then all that happens to a release in its life, with and without an operator beside it.
fn life_of_a_release(helm: &Helm) {
    let (cluster, helm) = start(helm, "life");
    helm.run(&["repo", "add", "mcp-hangar", &repository(), "--force-update"]).ok();
    helm.run(&["repo", "update"]).ok();
    apply_crds(&cluster);
    let chart = "mcp-hangar/mcp-hangar-operator";
    let said = helm.run(&["install", RELEASE, chart, "--namespace", NAMESPACE, "--create-namespace"]).ok();
    for words in
        ["helm test mcp-hangar-operator --namespace mcp-system", "kubectl rollout status", "kubectl get mcp"]
    {
        assert!(said.contains(words), "{said}");
    }
    let mut operator = beside(&cluster, NAMESPACE, "first");
    let began = Instant::now();
    let whole = complete(&cluster);
    figure(helm.name, format!("bundles in place {:?} after the operator's start", began.elapsed()));

    // Nobody heals now.
    end(&mut operator);
    let release = [RELEASE, OPERATOR, "--namespace", NAMESPACE];
    let upgrade = |more: &[&str]| helm.run(&[&["upgrade"], &release[..], more].concat());
    upgrade(&["--set", "replicaCount=3,webhook.timeoutSeconds=7,commonLabels.team=red"]).ok();
    let timeout =
        cluster.api.get(&configuration(CONFIGURATIONS[0])).ok()["webhooks"][0]["timeoutSeconds"].clone();
    assert_eq!((timeout, bundles(&cluster)), (json!(7), whole.clone()), "{}: after an upgrade", helm.name);
    helm.run(&["rollback", RELEASE, "1", "--namespace", NAMESPACE]).ok();
    let timeout =
        cluster.api.get(&configuration(CONFIGURATIONS[0])).ok()["webhooks"][0]["timeoutSeconds"].clone();
    assert_eq!((timeout, bundles(&cluster)), (json!(5), whole.clone()), "{}: after a rollback", helm.name);
    apply_crds(&cluster);
    assert_eq!(bundles(&cluster), whole, "{}: after kubectl apply", helm.name);
    let generation =
        || cluster.api.get(&format!("{CRD}/{}", NAMES[0])).ok()["metadata"]["generation"].clone();
    let before = generation();
    upgrade(&[]).ok();
    assert_eq!(generation(), before, "{}: an upgrade that changes nothing writes no CRD", helm.name);
    drops_an_entry(&cluster, &helm);
    upgrade(&[]).ok();

    // A replace takes every field that the chart does not have; an operator puts it back.
    let force: &[&str] =
        if helm.name == "helm" { &["--force-replace", "--server-side=false"] } else { &["--force"] };
    upgrade(&[force, &["--set", "commonLabels.team=blue"]].concat()).ok();
    let wiped = bundles(&cluster).iter().filter(|bundle| bundle.is_none()).count();
    let mut operator = beside(&cluster, NAMESPACE, "second");
    let began = Instant::now();
    assert_eq!(complete(&cluster), whole, "{}: the same CA", helm.name);
    figure(
        helm.name,
        format!("{force:?} wiped {wiped} bundles; back {:?} after an operator's start", began.elapsed()),
    );
    upgrade(&[force, &["--set", "commonLabels.team=green"]].concat()).ok();
    let began = Instant::now();
    assert_eq!(complete(&cluster), whole, "{}: the same CA", helm.name);
    figure(helm.name, format!("back {:?} after {force:?} with an operator running", began.elapsed()));

    // Away, with what must stay, and back again over it.
    cluster.api.create(&provider("kept")).fails_by("failed calling webhook");
    end(&mut operator);
    helm.run(&["uninstall", RELEASE, "--namespace", NAMESPACE]).ok();
    for kind in CONFIGURATIONS {
        assert_eq!(cluster.api.get(&configuration(kind)).code, 404, "{kind}");
    }
    for name in NAMES {
        assert_eq!(cluster.api.get(&format!("{CRD}/{name}")).code, 200, "{name}");
    }
    install(&helm, NAMESPACE, &[]).ok();
    let mut operator = beside(&cluster, NAMESPACE, "third");
    assert_eq!(complete(&cluster), whole, "{}: the CA outlives the release", helm.name);
    assert!(!operator.log().contains("missing permissions"), "{}", operator.log());
    end(&mut operator);
}

/// A later chart may have another entry in the place of one that carries a bundle: nothing of the old one may stay.
fn drops_an_entry(cluster: &Cluster, helm: &Helm) {
    let later = cluster.folder.join("later-chart");
    copy(&crate::helm::root().join(OPERATOR), &later);
    let path = later.join("templates/_webhooks.tpl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("name: default.mcp-hangar.io", "name: later.mcp-hangar.io")).unwrap();
    helm.run(&["upgrade", RELEASE, later.to_str().unwrap(), "--namespace", NAMESPACE]).ok();
    let entries = cluster.api.get(&configuration(CONFIGURATIONS[0])).ok()["webhooks"].clone();
    let names: Vec<&Value> = entries.as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["later.mcp-hangar.io"], "{}", helm.name);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// A first leader waits for one lease.
const QUICK: &str = "operator.leaderElection.leaseDuration=3s,operator.leaderElection.renewDeadline=2s,operator.leaderElection.retryPeriod=1s";

/// CRDs as the first release brought them, one version and no conversion, with an object in each of its charts' ways.
fn first_release(cluster: &Cluster) -> PathBuf {
    let chart = cluster.folder.join("first-chart");
    std::fs::create_dir_all(chart.join("crds")).unwrap();
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: mcp-hangar-operator\nversion: 0.0.1\n")
        .unwrap();
    for crd in mcp_hangar_api::crd::crds() {
        let name = crd.spec.names.singular.clone().unwrap();
        let mut crd = mcp_hangar_api::crd::to_value(&crd).unwrap();
        let versions = crd["spec"]["versions"].as_array_mut().unwrap();
        versions.retain(|version| version["name"] == "v1alpha1");
        versions[0]["storage"] = json!(true);
        std::fs::write(chart.join(format!("crds/{name}.yaml")), crd.to_string()).unwrap();
    }
    let labels = json!({"app.kubernetes.io/name": "mcp-hangar-operator", "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": "operator"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": RELEASE},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "operator", "image": "x"}]}}}});
    std::fs::write(chart.join("templates/deployment.yaml"), deployment.to_string()).unwrap();
    chart
}

/// Its users follow the quick start again, with `upgrade`: nothing is lost, and all of it is stored anew.
#[test]
fn a_release_of_the_first_chart_becomes_one_of_this() {
    for helm in helms() {
        let (cluster, helm) = start(&helm, "first");
        let first = first_release(&cluster);
        let first = first.to_str().unwrap();
        helm.run(&["install", RELEASE, first, "--namespace", NAMESPACE, "--create-namespace"]).ok();
        let object = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
            "metadata": {"name": "old", "namespace": "default"}, "spec": {"mode": "container", "image": "acme/tools:1"}});
        eventually("the kind is served", SOON, || (cluster.api.create(&object).code == 201).then_some(()));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = format!("webhook.service.port={port}");
        let upgrade = ["upgrade", RELEASE, OPERATOR, "--namespace", NAMESPACE];
        let said = helm.run(&upgrade).fails();
        assert!(
            said.contains("CustomResourceDefinition \"mcp") && said.contains("meta.helm.sh/release-name"),
            "{said}"
        );
        // kubectl tells that it had not applied these before.
        let said = cluster.kubectl(&["apply", "-f", "deploy/crds"], "");
        assert_eq!(said.code, 0, "{said:?}");
        helm.run(&upgrade).ok();
        // Only a value that differs from the files that kubectl applied is a conflict for Helm 4.
        let force: &[&str] = if helm.name == "helm" { &["--force-conflicts"] } else { &[] };
        helm.run(&[&upgrade[..], &["--set", &port, "--set", QUICK], force].concat()).ok();
        let mut operator = reachable(&cluster, &port);
        let began = Instant::now();
        complete(&cluster);
        for version in ["v1alpha1", "v1beta1"] {
            eventually("the old object is served", SOON, || {
                let path = format!("/apis/mcp-hangar.io/{version}/namespaces/default/mcpproviders/old");
                (cluster.api.get(&path).code == 200).then_some(())
            });
        }
        figure(
            helm.name,
            format!("an object of the first release is served in both versions after {:?}", began.elapsed()),
        );
        eventually("the storage version is the only one stored", SOON * 2, || {
            let stored =
                cluster.api.get(&format!("{CRD}/{}", NAMES[0])).ok()["status"]["storedVersions"].clone();
            (stored == json!(["v1beta1"])).then_some(())
        });
        figure(helm.name, format!("stored anew after {:?}", began.elapsed()));
        end(&mut operator);
    }
}

fn provider(name: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "metadata": {"name": name, "namespace": "default"},
        "spec": {"mode": "Container", "container": {"image": "example.com/none:1"}}})
}

impl crate::api::Reply {
    #[track_caller]
    fn fails_by(&self, words: &str) {
        assert!(self.code >= 400 && self.message().contains(words), "{} {}", self.code, self.body);
    }
}

#[test]
fn the_quick_start_and_the_life_of_a_release_with_helm_4() {
    let [helm, _] = helms();
    life_of_a_release(&helm);
}

#[test]
fn the_quick_start_and_the_life_of_a_release_with_helm_3() {
    let [_, helm] = helms();
    life_of_a_release(&helm);
}

/// deploy/crds belongs to a release in mcp-system; elsewhere there are three documented ways.
#[test]
fn another_namespace_works_in_each_documented_way() {
    let (cluster, helms) = start_for_both("elsewhere");
    for helm in helms {
        apply_crds(&cluster);
        let said = install(&helm, "tools", &[]).fails();
        for words in
            ["CustomResourceDefinition", "meta.helm.sh/release-namespace", "\"tools\"", "\"mcp-system\""]
        {
            assert!(said.contains(words), "{}: {words}: {said}", helm.name);
        }
        let ownership: &[&str] = if helm.name == "helm" {
            &["--take-ownership", "--force-conflicts"]
        } else {
            &["--take-ownership"]
        };
        for way in [&["--set", "crds.install=false"][..], ownership] {
            install(&helm, "tools", way).ok();
            let mut operator = beside(&cluster, "tools", "operator");
            complete(&cluster);
            for name in NAMES {
                let crd = cluster.api.get(&format!("{CRD}/{name}")).ok();
                let service = &crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"];
                assert_eq!(
                    (&service["namespace"], &service["port"]),
                    (&json!("tools"), &json!(443)),
                    "{way:?}"
                );
            }
            end(&mut operator);
            helm.run(&["uninstall", RELEASE, "--namespace", "tools"]).ok();
        }
        // And from the other chart.
        delete_crds(&cluster);
        helm.run(&["install", "crds", CRDS, "--namespace", "tools"]).ok();
        install(&helm, "tools", &["--set", "crds.install=false"]).ok();
        let mut operator = beside(&cluster, "tools", "last");
        complete(&cluster);
        end(&mut operator);
        for release in [RELEASE, "crds"] {
            helm.run(&["uninstall", release, "--namespace", "tools"]).ok();
        }
        delete_crds(&cluster);
    }
}

/// A CRD has room for one conversion webhook: of two operators each would undo what the other writes.
#[test]
fn a_second_release_is_refused_by_name_and_leaves_nothing() {
    let (cluster, helms) = start_for_both("second");
    for helm in helms {
        install(&helm, NAMESPACE, &[]).ok();
        let second = |more: &[&str]| {
            let fixed = ["install", "second", OPERATOR, "--namespace", "other", "--create-namespace"];
            helm.run(&[&fixed, more].concat()).fails()
        };
        for (more, object) in [
            (&[][..], "CustomResourceDefinition"),
            (&["--set", "crds.install=false"][..], "WebhookConfiguration \"mcp-hangar-operator\""),
        ] {
            let said = second(more);
            for words in [object, "\"second\"", "\"mcp-hangar-operator\"", "\"other\"", "\"mcp-system\""] {
                assert!(said.contains(words), "{}: {words}: {said}", helm.name);
            }
        }
        for path in ["/apis/apps/v1/namespaces/other/deployments", "/api/v1/namespaces/other/serviceaccounts"]
        {
            let items = cluster.api.get(path).ok()["items"].as_array().unwrap().len();
            assert_eq!(items, 0, "{path}");
        }
        helm.run(&["uninstall", RELEASE, "--namespace", NAMESPACE]).ok();
    }
}

#[test]
fn a_foreign_object_with_one_of_our_names_is_named_and_left_alone() {
    let (cluster, helms) = start_for_both("foreign");
    cluster.namespace(NAMESPACE);
    for helm in helms {
        let foreign =
            json!({"metadata": {"name": "mcp-hangar-operator-webhook"}, "spec": {"ports": [{"port": 1}]}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services");
        cluster.api.post(&path, &foreign);
        let said = install(&helm, NAMESPACE, &[]).fails();
        assert!(said.contains("Service \"mcp-hangar-operator-webhook\""), "{}: {said}", helm.name);
        let found = cluster.api.get(&format!("{path}/mcp-hangar-operator-webhook")).ok();
        assert_eq!(found["spec"]["ports"][0]["port"], 1);
    }
}

#[test]
fn one_file_for_kubectl_installs_the_same_and_applies_again_without_a_change() {
    let cluster = Cluster::start("chart-kubectl");
    let file = Path::new("deploy/operator.yaml").to_str().unwrap();
    let said = cluster.kubectl(&["apply", "-f", file], "").ok();
    assert_eq!(said.lines().count(), objects(&read(file)).len(), "{said}");
    assert!(said.lines().all(|line| line.ends_with(" created")), "{said}");
    let mut operator = beside(&cluster, NAMESPACE, "operator");
    let whole = complete(&cluster);
    let budget = format!("/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/{RELEASE}");
    let before = cluster.api.get(&budget).ok();
    let again = cluster.kubectl(&["apply", "-f", file], "").ok();
    // kubectl sends the selector of a budget each time (it is patched as a whole), and says so; it changes nothing.
    let others = again.lines().filter(|line| !line.starts_with("poddisruptionbudget"));
    assert!(
        others.clone().count() > 10 && others.into_iter().all(|line| line.ends_with(" unchanged")),
        "{again}"
    );
    assert_eq!(cluster.api.get(&budget).ok(), before);
    assert_eq!(bundles(&cluster), whole);
    end(&mut operator);
}

/// Past Helm, by rendering and applying, two can still meet. Then the one that the configurations name works, and the other says
/// whose the cluster is.
#[test]
fn of_two_operators_that_meet_one_keeps_still() {
    let (cluster, [helm, _]) = start_for_both("rivals");
    install(&helm, NAMESPACE, &[]).ok();
    let mut ours = beside(&cluster, NAMESPACE, "ours");
    let first = complete(&cluster);
    cluster.namespace("other");
    let rendered = helm.template_as(RELEASE, "other", OPERATOR, &["fullnameOverride=\"rival\""]).ok();
    let said = cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &rendered);
    assert_eq!(said.code, 0, "{said:?}");
    let mut theirs = beside_at(&cluster, "other", "rival", "theirs", "0");
    ours.said("another operator has this cluster: the webhooks lead to its Service other/rival-webhook");
    let led = || {
        let crds = NAMES.map(|name| cluster.api.get(&format!("{CRD}/{name}")).ok());
        crds.map(|crd| {
            let service = &crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"];
            (service["namespace"] == "other", crd["metadata"]["generation"].clone())
        })
    };
    eventually("the CRDs lead to the other", SOON, || led().iter().all(|(theirs, _)| *theirs).then_some(()));
    // At first it adds its CA to ours; once it leads there is one certificate again.
    let one = |bundle: &Option<String>| bundle.as_ref().map_or(0, String::len) < 1500;
    eventually("every target carries the other's bundle alone", SOON, || {
        let found = complete(&cluster);
        (found != first && one(&found[0])).then_some(())
    });
    let before = led();
    // Two that fight write every few seconds.
    std::thread::sleep(std::time::Duration::from_secs(10));
    assert_eq!(led(), before, "nobody writes any more");
    assert!(!theirs.log().contains("another operator has this cluster"), "{}", theirs.log());
    end(&mut ours);
    end(&mut theirs);
}
