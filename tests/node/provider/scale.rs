//! How many pods run: by people, by an autoscaler, and none while nobody calls.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{GO, SOON, Team, condition};
use crate::cluster::{attended, eventually};
use crate::figures::figure;

#[test]
fn people_and_an_autoscaler_own_the_replicas_without_a_fight() {
    let site = attended();
    let team = Team::new(&site, "provider-scale");
    // One without a word about replicas, as an autoscaler wants it.
    team.run("auto", GO, &[], &json!({}));
    team.run("tools", GO, &[], &json!({"replicas": 1}));
    team.state("auto", "Ready");
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "auto", "namespace": team.name},
        "spec": {"scaleTargetRef": {"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "name": "auto"}, "minReplicas": 2, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}});
    site.kubectl(&["apply", "-f", "-"], &scaler.to_string()).works();

    let raised = |to: usize| {
        team.until("auto", "raised by the autoscaler", |it| {
            it["spec"]["replicas"] == to && it["status"]["replicas"] == to
        });
        team.has_pods("auto", to);
        team.state("auto", "Ready")
    };
    raised(2);
    // The same file once more says nothing of replicas, and takes them from nobody.
    team.run("auto", GO, &[], &json!({}));
    assert_eq!(team.read("auto")["spec"]["replicas"], 2);
    let path = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/auto", team.name);
    site.api.merge_patch(&path, &json!({"spec": {"minReplicas": 3}})).ok();
    let generation = raised(3)["metadata"]["generation"].clone();

    team.state("tools", "Ready");
    let scale = |to: usize| {
        team.kubectl(&["scale", "mcpp", "tools", &format!("--replicas={to}")]).ok();
        team.has_pods("tools", to);
        let state = if to == 0 { "Cold" } else { "Ready" };
        let object = team.until("tools", state, |it| {
            it["status"]["state"] == state && it["status"]["replicas"].as_u64().unwrap_or(0) == to as u64
        });
        assert_eq!(condition(&object, "Ready")["status"], "True", "{to}: {object:#}");
        object
    };
    scale(3);
    scale(2);
    let cold = scale(0);
    assert_eq!(condition(&cold, "Ready")["reason"], "Idle");
    scale(1);

    // Meanwhile the autoscaler has looked many times, and so has the operator.
    assert_eq!(team.read("auto")["metadata"]["generation"], generation);
    assert_eq!(team.deployment("auto")["spec"]["replicas"], 3);
    let rescaled =
        team.kubectl(&["get", "events", "--field-selector=reason=SuccessfulRescale", "-o", "name"]).works();
    assert_eq!(rescaled.lines().count(), 2, "{rescaled}");
    figure(
        "scale",
        "an autoscaler raises a provider to its minimum, 2 and then 3, and nobody takes that back; kubectl scale to 3, 2, 0, 1: as many ready pods each time",
    );
}

/// Providers that sleep and are woken one after the other.
const LAZY: [&str; 3] = ["lazy-a", "lazy-b", "lazy-c"];

#[test]
fn a_provider_that_sleeps_is_woken_by_one_annotation_and_its_spec_is_never_written() {
    let site = attended();
    let team = Team::new(&site, "provider-wake");
    for name in LAZY {
        team.run(name, GO, &[], &json!({"replicas": 1, "lifecycle": {"idleTTL": "8s"}}));
    }
    team.run("off", GO, &[], &json!({"replicas": 0}));
    let all: Vec<&str> = LAZY.into_iter().chain(["off"]).collect();
    for name in LAZY {
        team.state(name, "Ready");
    }
    team.state("off", "Cold");
    assert_eq!(team.pods("off").len(), 0);
    let say = |name: &str, what: &str| {
        let patch = json!({"metadata": {"annotations": {(format!("mcp-hangar.io/{what}")): Timestamp::now().to_string()}}});
        let path = crate::api::path(&team.provider(name, "v1beta1", &Value::Null));
        site.api.merge_patch(&path, &patch).ok();
    };
    let wishes = || -> Vec<(Value, Value)> {
        let objects = all.iter().map(|name| team.read(name));
        objects.map(|it| (it["spec"].clone(), it["metadata"]["generation"].clone())).collect()
    };
    let before = wishes();
    // Somebody calls, and then nobody.
    for name in LAZY {
        say(name, "last-activity");
    }
    let mut took: Vec<(Duration, Duration)> = Vec::new();
    for name in LAZY {
        let asleep = team.state(name, "Cold");
        let ready = condition(&asleep, "Ready");
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("True"), &json!("Idle")));
        assert!(ready["message"].as_str().unwrap().starts_with("asleep"), "{ready}");
        eventually("no pods", SOON, || team.pods(name).is_empty().then_some(()));
        let began = Instant::now();
        say(name, "wake");
        team.has_pods(name, 1);
        let pod = began.elapsed();
        team.state(name, "Ready");
        took.push((pod, began.elapsed()));
    }
    // One that nobody wants to run gets one pod, and its wish stays.
    say("off", "wake");
    team.state("off", "Ready");
    team.has_pods("off", 1);
    assert_eq!(wishes(), before);
    took.sort();
    let (pod, ready) = took[LAZY.len() / 2];
    figure(
        "wake",
        format_args!(
            "from the annotation to a ready pod {pod:.1?}, to a provider that has answered MCP {ready:.1?} (median of {}); writes to spec 0",
            LAZY.len()
        ),
    );
}
