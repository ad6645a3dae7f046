//! From nothing to Ready, to another mode, to nothing.

use std::time::Instant;

use serde_json::json;

use super::{GO, NODE, SOON, Team, condition};
use crate::charts::read;
use crate::cluster::{attended, eventually};
use crate::figures::figure;

#[test]
fn a_server_in_a_container_is_ready_by_defaults_with_its_tools_where_only_restricted_pods_are_let_in() {
    let site = attended();
    let team = Team::new(&site, "provider-ready");
    let loose = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose", "namespace": team.name},
        "spec": {"containers": [{"name": "a", "image": GO}]}});
    let refused = site.kubectl(&["apply", "-f", "-"], &loose.to_string()).fails();
    assert!(refused.contains("violates PodSecurity \"restricted:latest\""), "{refused}");

    let began = Instant::now();
    team.apply("go", "v1beta1", &json!({"mode": "Container", "container": {"image": GO}}));
    let example = read("examples/everything/provider.yaml");
    assert!(example.contains(NODE), "{example}");
    let example = example.replace("namespace: default", &format!("namespace: {}", team.name));
    site.kubectl(&["apply", "-f", "-"], &example).works();
    let wait = |name: &str| {
        team.kubectl(&["wait", "--for=condition=Ready", "mcpp", name, "--timeout=90s"]).works();
        began.elapsed()
    };
    let (go, node) = (wait("go"), wait("everything"));
    for (name, tools) in [("go", ["greet", "roots"]), ("everything", ["echo", "get-sum"])] {
        let ready = team.read(name);
        let status = &ready["status"];
        assert_eq!((&status["state"], &status["replicas"]), (&json!("Ready"), &json!(1)), "{status:#}");
        assert_eq!(status["endpoint"], format!("http://{name}.{}.svc:8080/mcp", team.name));
        let found: Vec<_> =
            status["tools"].as_array().unwrap().iter().filter_map(|tool| tool.as_str()).collect();
        assert!(tools.iter().all(|tool| found.contains(tool)), "{found:?}");
        assert_eq!(status["toolsCount"], found.len());
        assert_eq!(condition(&ready, "Available")["status"], "True");
        assert!(condition(&ready, "Reconciling").is_null() && condition(&ready, "Stalled").is_null());
        let pod = &team.has_pods(name, 1)[0];
        let contexts = [&pod["spec"]["securityContext"], &pod["spec"]["containers"][0]["securityContext"]];
        assert_eq!(
            (&contexts[0]["runAsUser"], &contexts[1]["readOnlyRootFilesystem"]),
            (&json!(65534), &json!(true))
        );
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
        team.has_events(name, &["ProviderReady"]);
    }

    // What people see. Ages differ.
    let table = team.kubectl(&["get", "mcpproviders"]).ok();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "MODE", "STATE", "READY", "TOOLS", "AGE"]);
    let tools = team.read("go")["status"]["toolsCount"].to_string();
    assert_eq!(lines[2][..5], ["go", "Container", "Ready", "True", &tools]);
    let wide = team.kubectl(&["get", "mcpp", "go", "-o", "wide"]).ok();
    assert!(
        wide.contains("http://go.provider-ready.svc:8080/mcp") && wide.contains("answers MCP with"),
        "{wide}"
    );
    figure(
        "ready",
        format_args!(
            "applied by kubectl to Ready by kubectl wait, defaults, restricted: the Go SDK's example {go:.1?} ({tools} tools), server-everything on Node {node:.1?} ({} tools)",
            team.read("everything")["status"]["toolsCount"]
        ),
    );
}

#[test]
fn another_mode_removes_what_the_first_one_made_and_deletion_leaves_nothing() {
    let site = attended();
    let team = Team::new(&site, "provider-modes");
    team.run("other", GO, &[], &json!({}));
    team.run("tools", GO, &[], &json!({"replicas": 2}));
    team.state("other", "Ready");
    team.state("tools", "Ready");
    team.has_pods("tools", 2);
    let made = team.made("tools");
    for kind in ["deployment.apps/tools", "service/tools", "service/tools-pods", "replicaset.apps/", "pod/"] {
        assert!(made.iter().any(|name| name.starts_with(kind)), "{kind}: {made:?}");
    }

    // The wish for replicas stays, and means nothing for a server elsewhere.
    let endpoint = format!("http://other.{}.svc:8080/mcp", team.name);
    team.patch("tools", &json!({"spec": {"mode": "Remote", "remote": {"endpoint": endpoint}}}));
    let gone = |name: &str| {
        eventually(&format!("nothing of {name} is left"), SOON, || team.made(name).is_empty().then_some(()));
    };
    gone("tools");
    let remote = team.until("tools", "ready as a remote one", |it| {
        it["status"]["state"] == "Ready" && it["status"]["endpoint"] == endpoint
    });
    assert_eq!(remote["status"]["tools"], team.read("other")["status"]["tools"]);
    assert!(team.made("other").len() >= 5);
    // And back, by the block that was kept.
    team.patch("tools", &json!({"spec": {"mode": "Container"}}));
    team.until("tools", "ready as a container", |it| {
        it["status"]["state"] == "Ready"
            && it["status"]["endpoint"].as_str().is_some_and(|it| it.contains("//tools."))
    });
    team.has_pods("tools", 2);

    let began = Instant::now();
    team.kubectl(&["delete", "mcpp", "--all", "--timeout=60s"]).works();
    gone("tools");
    gone("other");
    figure(
        "deleted",
        format_args!("2 providers with 3 pods: nothing is left {:.1?} after kubectl delete", began.elapsed()),
    );
}
