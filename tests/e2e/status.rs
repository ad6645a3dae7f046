//! What pipelines read from the statuses that the operator really writes, at every step of a provider's life: by the
//! libraries that Argo CD and Flux are built from, in both versions of the API.
//!
//! All statuses that it *could* write are judged in `tests/gitops.rs`; here they come from a running operator.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ask::{ask, expressions, script};
use crate::cluster::{LAWLESS, Site, eventually, shared};
use crate::figures::figure;
use crate::gitops::kstatus;
use crate::provider::{Server, condition, container, provider, remote, state, status};

const SOON: Duration = Duration::from_secs(30);

/// What Argo CD, kstatus and Flux must make of a step.
const STARTS: [&str; 3] = ["Progressing", "InProgress", "InProgress"];
const WELL: [&str; 3] = ["Healthy", "Current", "Current"];
const FAILS: [&str; 3] = ["Degraded", "InProgress", "Failed"];
const STALLED: [&str; 3] = ["Degraded", "Failed", "Failed"];

/// Objects as they were at a step, with what is to be made of them.
#[derive(Default)]
struct Steps(Vec<(String, Value, [&'static str; 3])>);

impl Steps {
    /// Keeps the object in both versions; T19 is held on the way.
    fn keep(&mut self, site: &Site, step: &str, object: &Value, wanted: [&'static str; 3]) {
        let generation = &object["metadata"]["generation"];
        for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
            let type_ = condition["type"].as_str().unwrap();
            // Fails where there are two of a type.
            crate::provider::condition(object, type_);
            assert_eq!(condition["observedGeneration"], *generation, "{step}: {condition}");
            assert!(condition["lastTransitionTime"].is_string() && condition["reason"].is_string(), "{step}");
            let is_of_a_while = ["Reconciling", "Stalled"].contains(&type_);
            assert!(!is_of_a_while || condition["status"] == "True", "{step}: {condition}");
        }
        assert_eq!(kstatus(object), wanted[1], "{step}: {:#}", object["status"]);
        self.0.push((format!("{step} (v1beta1)"), object.clone(), wanted));
        // Read a moment later: counted only where nothing was written between.
        let other = site.api.read_as(object, "v1alpha1");
        if other["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"] {
            self.0.push((format!("{step} (v1alpha1)"), other, wanted));
        }
    }

    fn judge(self) {
        let kind = json!("MCPProvider");
        let case = |object: &Value| json!({"object": object, "lua": script(&kind), "expressions": expressions(&kind)});
        let cases: Vec<Value> = self.0.iter().map(|(_, object, _)| case(object)).collect();
        let answer = ask(&json!({"cases": cases, "manifests": []}));
        let mut wrong = Vec::new();
        for ((step, object, wanted), said) in self.0.iter().zip(answer["cases"].as_array().unwrap()) {
            let flux = said["flux"].as_str().unwrap().split(':').next().unwrap();
            let found = [said["argocd"]["status"].as_str().unwrap(), said["kstatus"].as_str().unwrap(), flux];
            let ready = condition(object, "Ready");
            // People read there what to do, once the operator has looked.
            let is_new = ready["observedGeneration"] == object["metadata"]["generation"];
            let is_told = !is_new || said["argocd"]["message"] == ready["message"];
            if found != *wanted || !is_told {
                wrong.push(format!("{step}: {said} instead of {wanted:?}: {:#}", object["status"]));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        figure(
            "T19",
            format_args!(
                "{} statuses of a running operator, as Argo CD, kstatus and Flux read them",
                self.0.len()
            ),
        );
    }
}

fn reason(site: &Site, object: &Value, reason: &str) -> Value {
    status(site, object, reason, |status| {
        let ready = condition(&json!({"status": status}), "Ready");
        ready["reason"] == reason
    })
}

#[test]
fn argo_cd_kstatus_and_flux_agree_with_the_operator_at_every_step_of_a_life() {
    let site = shared();
    let namespace = site.namespace("statuses");
    let mut steps = Steps::default();
    let server = Server::start();
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    server.fails(true);
    let created = site.api.create(&weather).ok();
    steps.0.push(("created".into(), created, STARTS));
    steps.keep(&site, "starting", &state(&site, &weather, "Initializing"), STARTS);
    server.fails(false);
    steps.keep(&site, "ready", &state(&site, &weather, "Ready"), WELL);
    server.fails(true);
    steps.keep(&site, "failing", &state(&site, &weather, "Degraded"), FAILS);
    steps.keep(&site, "given up", &state(&site, &weather, "Dead"), FAILS);
    server.fails(false);
    steps.keep(&site, "recovered", &state(&site, &weather, "Ready"), WELL);
    site.api.merge_patch(&crate::api::path(&weather), &json!({"spec": {"replicas": 0}})).ok();
    steps.keep(&site, "not wanted", &state(&site, &weather, "Cold"), WELL);

    let mut late = remote("http://127.0.0.1:9/mcp");
    late["lifecycle"] = json!({"startupTimeout": "2s"});
    let late = provider(namespace, "late", &late);
    site.api.create(&late).ok();
    steps.keep(&site, "did not start", &reason(&site, &late, "StartupFailed"), FAILS);

    let spec = json!({"metadata": {"name": "taken"}, "spec": {"ports": [{"port": 80}]}});
    site.api.post(&format!("/api/v1/namespaces/{namespace}/services"), &spec).ok();
    let taken = provider(namespace, "taken", &container());
    site.api.create(&taken).ok();
    steps.keep(&site, "name taken", &reason(&site, &taken, "NameTaken"), STALLED);

    let mut closed = remote(&server.fake.url());
    closed["remote"]["headersFrom"] =
        json!([{"name": "A", "secretKeyRef": {"name": "token", "key": "value"}}]);
    closed["lifecycle"] = json!({"startupTimeout": "4s"});
    let closed = provider(namespace, "closed", &closed);
    site.api.create(&closed).ok();
    steps.keep(&site, "no Secret yet", &reason(&site, &closed, "SecretAccessMissing"), STARTS);
    let dead = status(&site, &closed, "Dead without its Secret", |status| status["state"] == "Dead");
    assert_eq!(condition(&dead, "Ready")["reason"], "SecretAccessMissing");
    steps.keep(&site, "no Secret", &dead, FAILS);

    let spoilt = json!({"mode": "Container", "container": {"image": ":"}});
    let spoilt = provider(LAWLESS, "spoilt-status", &spoilt);
    site.api.create(&spoilt).ok();
    steps.keep(&site, "spec that breaks a rule", &reason(&site, &spoilt, "InvalidSpec"), STALLED);
    // A change that nobody has looked at yet is never what was before.
    let ready = site.api.read(&weather);
    let mut changed = ready.clone();
    changed["metadata"]["generation"] = json!(ready["metadata"]["generation"].as_i64().unwrap() + 1);
    steps.0.push(("changed".into(), changed, STARTS));
    for object in [&weather, &late, &taken, &closed, &spoilt] {
        site.api.delete(&crate::api::path(object)).ok();
    }
    steps.judge();
}

/// T12
#[test]
fn a_status_write_keeps_the_entries_of_who_applies_in_the_other_version() {
    let site = shared();
    let namespace = site.namespace("statuses-managers");
    let server = Server::start();
    let spec = json!({"mode": "remote", "endpoint": server.fake.url(), "healthCheck": {"interval": "1s", "timeout": "1s"}});
    let file = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
        "metadata": {"name": "weather", "namespace": namespace}, "spec": spec});
    let entry = |object: &Value, manager: &str| {
        let all = object["metadata"]["managedFields"].as_array().unwrap();
        all.iter().find(|it| it["manager"] == manager).cloned().unwrap_or_default()
    };
    let applied = entry(&site.api.apply(&file, "ci", "").ok(), "ci");
    assert_eq!(applied["apiVersion"], "mcp-hangar.io/v1alpha1");
    let hub = crate::api::as_version(&file, "v1beta1");
    let ready = state(&site, &hub, "Ready");
    let ours = entry(&ready, "mcp-hangar-operator");
    assert_eq!((&ours["subresource"], &ours["operation"]), (&json!("status"), &json!("Update")));
    assert_eq!(entry(&site.api.read_as(&file, "v1alpha1"), "ci"), applied);
    // Neither side is in the other's way: no conflict, no change, and the status stays.
    let again = site.api.apply(&file, "ci", "").ok();
    assert_eq!(again["metadata"]["generation"], 1);
    server.fails(true);
    state(&site, &hub, "Degraded");
    let live = site.api.read_as(&file, "v1alpha1");
    assert_eq!(entry(&live, "ci")["fieldsV1"], applied["fieldsV1"]);
    assert_eq!(live["metadata"]["generation"], 1);
    site.api.delete(&crate::api::path(&file)).ok();
    eventually("it is gone", SOON, || (site.api.get(&crate::api::path(&file)).code == 404).then_some(()));
    figure(
        "T12",
        "status written three times beside an entry of v1alpha1: none lost, no conflict, generation 1",
    );
}
