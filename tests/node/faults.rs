//! What is wrong before we come: names that are taken, a second release, permissions that are missing.
//!
//! Each is detected and named, and nothing is lost: neither ours nor what is somebody else's.

use serde_json::{Value, json};

use crate::api::path;
use crate::bundles::{TARGETS, bundles, stays_quiet};
use crate::charts::OPERATOR;
use crate::cluster::{SETTLES, Site, alone, eventually};
use crate::figures::figure;
use crate::release::{HELM, HELM3, HELMS, NAMESPACE, PODS, QUICK, RELEASE};
use crate::webhook::{SECRET, authority};

fn events(site: &Site) -> Vec<(String, String)> {
    let events = site.api.get(&format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")).body;
    let events = events["items"].as_array().into_iter().flatten();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    events.map(|event| (text(event, "reason"), text(event, "note"))).collect()
}

#[test]
fn an_object_with_one_of_our_names_is_named_by_helm_and_left_alone() {
    let site = alone();
    site.namespace(NAMESPACE);
    let ports = json!([{"port": 80}]);
    let hooks = |kind: &str| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": RELEASE}});
    let configurations = "/apis/admissionregistration.k8s.io/v1/";
    let cases = [
        (
            format!("/api/v1/namespaces/{NAMESPACE}/services"),
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": format!("{RELEASE}-webhook"), "namespace": NAMESPACE}, "spec": {"ports": ports}}),
        ),
        (format!("{configurations}mutatingwebhookconfigurations"), hooks("MutatingWebhookConfiguration")),
        (format!("{configurations}validatingwebhookconfigurations"), hooks("ValidatingWebhookConfiguration")),
    ];
    for (place, object) in &cases {
        site.api.post(place, object).ok();
        let one = format!("{place}/{}", object["metadata"]["name"].as_str().unwrap());
        let before = site.api.get(&one).ok();
        for helm in HELMS {
            let said = helm.install(&site, NAMESPACE, &QUICK, &[]).fails();
            let words = [
                object["kind"].as_str().unwrap(),
                object["metadata"]["name"].as_str().unwrap(),
                "cannot be imported",
            ];
            assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
            assert_eq!(site.api.get(&one).ok(), before);
        }
        site.api.delete(&one).ok();
    }
    assert_eq!(site.names(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments")), [""; 0]);
    figure(
        "foreign objects",
        format_args!("{} names that are taken: refused by name by either Helm, left alone", cases.len()),
    );
}

#[test]
fn a_secret_with_the_name_of_the_cas_is_used_without_losing_what_it_holds() {
    let site = alone();
    site.namespace(NAMESPACE);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": format!("{RELEASE}-webhook-ca"), "namespace": NAMESPACE, "labels": {"team": "search"}},
        "data": {"password": "c2VjcmV0"}});
    site.api.post(&format!("/api/v1/namespaces/{NAMESPACE}/secrets"), &secret).ok();
    HELM.install(&site, NAMESPACE, &QUICK, &[]).works();
    site.serves();
    let after = site.api.get(SECRET).ok();
    assert_eq!(
        (&after["data"]["password"], &after["metadata"]["labels"]["team"]),
        (&json!("c2VjcmV0"), &json!("search"))
    );
    assert_eq!(bundles(&site), vec![authority(&site.api); TARGETS.len()]);
    let said = site.logs(NAMESPACE, "-1");
    let name = format!("{NAMESPACE}/{RELEASE}-webhook-ca");
    assert!(said.lines().any(|line| line.contains(&name) && line.contains("WARN")), "{said}");
    assert!(!said.contains("c2VjcmV0"), "no log holds it");
    eventually("an Event names it too", SETTLES, || {
        events(&site).into_iter().find(|(reason, note)| reason == "EmergencyCA" && note.contains("CA Secret"))
    });
    figure("foreign Secret", "its own keys and labels are kept, the operator names it in log and Event");
}

#[test]
fn a_second_release_is_refused_and_one_that_takes_over_by_force_is_told_of_and_undone_without_loss() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &QUICK, &[]).works();
    site.serves();
    let tools = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "metadata": {"name": "tools", "namespace": "default"},
        "spec": {"mode": "Container", "container": {"image": "acme/tools:1"}}});
    site.api.create(&tools).ok();
    let before = site.written(&tools);
    let good = bundles(&site);
    for helm in HELMS {
        for name in [RELEASE, "second"] {
            let second = ["install", name, OPERATOR, "-n", "second", "--create-namespace"];
            let said = helm.run(&site, &second).fails();
            assert!(said.contains("cannot be imported") && said.contains(NAMESPACE), "{said}");
            let without = [second.as_slice(), &["--set=crds.install=false"]].concat();
            let said = helm.run(&site, &without).fails();
            let taken = if name == RELEASE { "ClusterRole" } else { "WebhookConfiguration" };
            assert!(said.contains(&format!("{taken} \"{RELEASE}\"")), "{said}");
        }
    }
    assert_eq!(bundles(&site), good);
    assert!(site.answers());

    // Somebody insists. There is room for one: the first says who has it now, and does not fight.
    let flags = ["--take-ownership", "--set=replicaCount=1"];
    let second = ["install", "second", OPERATOR, "-n", "second", "--create-namespace", "--wait"];
    HELM3.run(&site, &[second.as_slice(), &flags].concat()).works();
    let said = eventually("the first one says what it sees", SETTLES, || {
        let logs = site.logs(NAMESPACE, "-1");
        logs.lines().find(|line| line.contains("another operator has this cluster")).map(str::to_owned)
    });
    assert!(said.contains("second/second-mcp-hangar-operator-webhook"), "{said}");
    site.serves();
    stays_quiet(&site);
    assert_eq!(site.written(&tools), before);
    // The first one gets its own back.
    HELM3.run(&site, &["uninstall", "second", "-n", "second", "--timeout=60s"]).works();
    HELM.upgrade(&site, OPERATOR, &["--take-ownership", "--force-conflicts"], &QUICK).works();
    site.serves();
    eventually("every target is the first one's again", SETTLES * 2, || {
        (bundles(&site) == good).then_some(())
    });
    assert_eq!(site.written(&tools), before);
    site.api.delete(&path(&tools)).ok();
    figure(
        "two releases",
        "refused by either Helm with the first one's name; forced: the first one names the second and does not fight; undone, 0 objects changed",
    );
}

#[test]
fn permissions_that_are_missing_are_all_named_by_the_pod_and_once_granted_all_is_well() {
    let site = alone();
    let values = [QUICK.as_slice(), &["rbac.create=false", "replicaCount=1"]].concat();
    let flags = crate::release::sets(&values, &[]);
    HELM.run(
        &site,
        &[&["install", RELEASE, OPERATOR, "-n", NAMESPACE, "--create-namespace"], flags.as_slice()].concat(),
    )
    .works();
    // The end of it stands in the pod's status, which has room for 2 KiB; all of it in the log.
    let end = eventually("the pod says what it lacks", SETTLES, || {
        let pods = site.api.get(PODS).body;
        let status = &pods["items"][0]["status"]["containerStatuses"][0];
        let ended = [&status["state"], &status["lastState"]].map(|state| state["terminated"].clone());
        let ended = ended.into_iter().find(|ended| ended["exitCode"] == 5)?;
        Some(ended["message"].as_str().unwrap_or("it ended without a message").to_owned())
    });
    assert!(end.contains("kubectl auth can-i") && end.contains("mend: "), "{end}");
    let said = eventually("the log has it whole", SETTLES, || {
        Some(site.logs(NAMESPACE, "-1")).filter(|logs| logs.contains("missing permissions"))
    });
    for words in [
        "secrets/mcp-hangar-operator-webhook-ca",
        "customresourcedefinitions",
        "mutatingwebhookconfigurations",
        "leases",
        "kubectl auth can-i",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // One by one is the matter of tests/e2e; here one rule of a role that works.
    HELM.upgrade(&site, OPERATOR, &[], &QUICK).works();
    site.serves();
    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{RELEASE}");
    let rules = site.api.get(&role).ok()["rules"].as_array().unwrap().clone();
    let lost: Vec<&Value> =
        rules.iter().filter(|rule| rule["resources"][0] != "validatingwebhookconfigurations").collect();
    site.api.merge_patch(&role, &json!({"rules": lost})).ok();
    site.kubectl(&["rollout", "restart", "deployment", RELEASE, "-n", NAMESPACE], "").ok();
    eventually("the new pods name the one rule", SETTLES, || {
        let logs = site.logs(NAMESPACE, "-1");
        let mut lines = logs.lines().filter(|line| line.contains("missing permissions"));
        lines
            .find(|line| line.contains("validatingwebhookconfigurations") && !line.contains("secrets"))
            .map(drop)
    });
    site.kubectl(&["rollout", "status", "deployment", RELEASE, "-n", NAMESPACE, "--timeout=120s"], "")
        .works();
    // The old pods are gone, which kube-proxy learns within a second, and those that lack something still answer.
    eventually("the pods that lack something answer", SETTLES, || site.answers().then_some(()));
    site.api.merge_patch(&role, &json!({"rules": rules})).ok();
    site.kubectl(&["rollout", "status", "deployment", RELEASE, "-n", NAMESPACE, "--timeout=120s"], "")
        .works();
    figure(
        "permissions",
        "none at all: exit code 5 and one message with all of them; one rule: named alone, and calls go on",
    );
}

#[test]
fn what_happens_is_told_by_events_of_the_pod() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &QUICK, &[]).works();
    site.serves();
    site.api.delete(SECRET).ok();
    let told = eventually("the restored Secret is told of", SETTLES, || {
        events(&site).into_iter().find(|(reason, _)| reason == "CASecretRestored")
    });
    assert!(told.1.contains("restored from the memory"), "{told:?}");
    let listed =
        site.kubectl(&["get", "events", "-n", NAMESPACE, "--field-selector", "type=Warning"], "").works();
    assert!(listed.contains("CASecretRestored"), "{listed}");
}
