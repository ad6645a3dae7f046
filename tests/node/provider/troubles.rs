//! What hinders a provider is in its condition: what was tried, what the cluster says, and what to write.
//!
//! Each is made at once with the others of its test, then waited for; where the condition says what to write, that is
//! written, and the provider is Ready.

use serde_json::{Value, json};

use super::{GO, NODE, SOON, Team, condition};
use crate::cluster::{attended, eventually};
use crate::figures::figure;

#[test]
fn pods_that_cannot_run_are_explained_in_the_words_of_kubelet_scheduler_and_quota() {
    let site = attended();
    let team = Team::new(&site, "provider-troubles");
    let none = "registry.invalid/none:1";
    team.run("absent", none, &[], &json!({}));
    team.run("crashes", GO, &["-no-such-flag"], &json!({}));
    team.run("command", GO, &[], &json!({"container": {"command": ["/no/such/program"]}}));
    team.run("picky", GO, &[], &json!({"pod": {"nodeSelector": {"disk": "none"}}}));
    team.run("huge", GO, &[], &json!({"container": {"resources": {"requests": {"memory": "900Gi"}}}}));
    let secret = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "a"}}}]);
    team.run("secret", GO, &[], &json!({"container": {"env": secret}}));
    team.run("root", GO, &[], &json!({"pod": {"securityContext": {"runAsNonRoot": false, "runAsUser": 0}}}));
    let poor = Team::new(&site, "provider-quota");
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight", "namespace": poor.name}, "spec": {"hard": {"pods": "0"}}});
    site.kubectl(&["apply", "-f", "-"], &quota.to_string()).works();
    eventually("the quota counts", SOON, || {
        let path = format!("/api/v1/namespaces/{}/resourcequotas/tight", poor.name);
        (site.api.get(&path).body["status"]["hard"]["pods"] == "0").then_some(())
    });
    poor.run("many", GO, &[], &json!({}));

    let image = format!("image {none} cannot be pulled: ");
    let rows: [(&Team, &str, &[&str]); 8] = [
        (&team, "absent", &[&image, "registry.invalid", "check spec.container.image"]),
        (
            &team,
            "crashes",
            &["ended with code 2 (Error)", "kubectl logs --previous -n provider-troubles crashes-"],
        ),
        (&team, "command", &["ended with code 128", "spec.container.command"]),
        (&team, "picky", &["no node takes the pod: 0/1 nodes are available", "spec.pod.nodeSelector"]),
        (&team, "huge", &["no node takes the pod", "Insufficient memory", "spec.container.resources"]),
        (&team, "secret", &["secret \"nowhere\" not found", "create what is missing"]),
        (&team, "root", &["no pod may be created", "violates PodSecurity", "spec.pod.securityContext"]),
        (&poor, "many", &["no pod may be created", "exceeded quota: tight", "raise the ResourceQuota"]),
    ];
    let mut said = Vec::new();
    for (team, name, words) in rows {
        let message = team.says(name, words);
        let reason = condition(&team.read(name), "Ready")["reason"].clone();
        assert!(reason == "Starting" || reason == "StartupFailed", "{name}: {reason}");
        said.push(format!("{name}: {message}"));
    }
    let reason = said[0].split(&image).nth(1).unwrap();
    assert!(!reason.starts_with(';'), "the kubelet's reason: {reason}");
    // The lines are where it says.
    let words: Vec<&str> =
        said[1].split(": its last lines are in kubectl ").nth(1).unwrap().split(' ').collect();
    let pod = words[4].trim_end_matches(';');
    let logs = eventually("the last lines", SOON, || {
        let logs = site.kubectl(&[&words[..4], &[pod]].concat(), "");
        Some(logs.stdout).filter(|text| text.contains("-no-such-flag"))
    });
    assert!(logs.contains("flag provided but not defined"), "{logs}");
    // What is missing is picked up by itself.
    team.kubectl(&["create", "secret", "generic", "nowhere", "--from-literal=a=b"]).works();
    team.state("secret", "Ready");
    figure(
        "troubles",
        format_args!("named in the condition, each with what to do:\n  {}", said.join("\n  ")),
    );
}

/// A server that does not answer where it is asked, and what to change.
struct Elsewhere {
    name: &'static str,
    image: &'static str,
    args: &'static [&'static str],
    path: Option<&'static str>,
    /// What the condition must say in both versions: what was tried, what came of it.
    words: &'static [&'static str],
    /// What to write, in v1beta1 and in v1alpha1.
    advice: [&'static str; 2],
    /// The same as a patch of the hub, and as an annotation with its value.
    mend: (Value, &'static str),
}

fn elsewhere() -> [Elsewhere; 2] {
    [
        Elsewhere {
            name: "port",
            image: GO,
            args: &["-http", ":3000"],
            path: None,
            words: &[":8080/mcp", "its port is closed"],
            advice: ["spec.container.port", "mcp-hangar.io/port"],
            mend: (json!({"spec": {"container": {"port": 3000}}}), "mcp-hangar.io/port=3000"),
        },
        Elsewhere {
            name: "path",
            image: NODE,
            args: &["streamableHttp"],
            path: Some("/api"),
            words: &[
                "POST http://",
                ":8080/api (server/discover, then initialize)",
                "404",
                "nothing is at the path /api",
            ],
            advice: ["spec.container.path", "mcp-hangar.io/path"],
            mend: (json!({"spec": {"container": {"path": "/mcp"}}}), "mcp-hangar.io/path=/mcp"),
        },
    ]
}

#[test]
fn a_server_on_another_port_or_path_or_on_stdio_says_what_to_write_and_is_ready_once_that_is_written() {
    let site = attended();
    let team = Team::new(&site, "provider-elsewhere");
    let rows = elsewhere();
    let quick = json!({"interval": "1s", "timeout": "1s"});
    for row in &rows {
        let new = json!({"container": {"path": row.path}});
        team.run(&format!("new-{}", row.name), row.image, row.args, &new);
        let old = format!("old-{}", row.name);
        let spec = json!({"mode": "container", "image": row.image, "args": row.args, "healthCheck": quick});
        let mut object = team.provider(&old, "v1alpha1", &spec);
        if let Some(path) = row.path {
            object["metadata"]["annotations"] = json!({"mcp-hangar.io/path": path});
        }
        site.kubectl(&["apply", "-f", "-"], &object.to_string()).works();
    }
    // Each of them speaks only stdio like this, and ends when nobody is there.
    let stdio = [("new-stdio", GO, "-http="), ("old-stdio", NODE, "stdio")];
    team.run("new-stdio", stdio[0].1, &[stdio[0].2], &json!({}));
    let spec = json!({"mode": "container", "image": stdio[1].1, "args": [stdio[1].2], "healthCheck": quick});
    team.apply("old-stdio", "v1alpha1", &spec);

    let mut said = Vec::new();
    for row in &rows {
        for (prefix, advice) in ["new-", "old-"].into_iter().zip(row.advice) {
            let name = format!("{prefix}{}", row.name);
            let message = team.says(&name, &[row.words, &[advice]].concat());
            let other = row.advice.into_iter().find(|other| *other != advice).unwrap();
            assert!(!message.contains(other), "in the words of the other version: {message}");
            said.push(format!("{name}: {message}"));
        }
    }
    for (name, ..) in stdio {
        let message = team.says(name, &[":8080/mcp", "ended with code 0", "speaks only stdio", "bridge"]);
        said.push(format!("{name}: {message}"));
    }
    for row in &rows {
        team.patch(&format!("new-{}", row.name), &row.mend.0);
        let old = format!("old-{}", row.name);
        team.kubectl(&["annotate", "--overwrite", "mcpp", &old, row.mend.1]).works();
    }
    for row in &rows {
        for prefix in ["new-", "old-"] {
            team.state(&format!("{prefix}{}", row.name), "Ready");
        }
    }
    figure("elsewhere", format_args!("told, written, Ready:\n  {}", said.join("\n  ")));
}
