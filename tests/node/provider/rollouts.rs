//! What rolls pods, and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::{GO, NODE, SOON, Team, condition, uids};
use crate::api::Api;
use crate::charts::OPERATOR;
use crate::cluster::{SECRETIVE, attended, eventually};
use crate::figures::figure;
use crate::release::{HELM, NAMESPACE, RELEASE};

/// Looks at a provider all the time, until it is asked what it saw: how often, and what was not Ready.
struct Looks {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(usize, Vec<Value>)>,
}

impl Looks {
    fn start(team: &Team, name: &str) -> Self {
        let path = crate::api::path(&team.provider(name, "v1beta1", &Value::Null));
        let api = Api::connect(&team.site.folder.join("kubeconfig"), "admin");
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut looks, mut lost) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let ready = condition(&api.get(&path).ok(), "Ready");
                looks += 1;
                if ready["status"] != "True" {
                    lost.push(ready);
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            (looks, lost)
        });
        Self { stop, thread }
    }

    /// How often it was Ready, which must be always.
    #[track_caller]
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (looks, lost) = self.thread.join().unwrap();
        assert!(
            lost.is_empty() && looks > 0,
            "{} of {looks} times not Ready: {:#?}",
            lost.len(),
            lost.first()
        );
        looks
    }
}

#[test]
fn a_change_of_image_or_environment_rolls_the_pods_while_the_provider_stays_ready() {
    let site = attended();
    let team = Team::new(&site, "provider-rolling");
    team.run("tools", GO, &[], &json!({"replicas": 2}));
    team.state("tools", "Ready");
    let mut before = uids(&team.has_pods("tools", 2));
    let looks = Looks::start(&team, "tools");
    let began = Instant::now();
    let node = json!({"image": NODE, "args": ["streamableHttp"]});
    for change in [json!({"env": [{"name": "STEP", "value": "two"}]}), node] {
        team.patch("tools", &json!({"spec": {"container": change}}));
        let after = eventually("all pods are new", SOON, || {
            let pods = team.pods("tools");
            let new = uids(&pods);
            let ready = pods.len() == 2 && pods.iter().all(super::is_ready);
            (ready && new.iter().all(|uid| !before.contains(uid))).then_some(new)
        });
        before = after;
        team.kubectl(&["rollout", "status", "deployment", "tools", "--timeout=60s"]).works();
    }
    // The other image's tools are those of the provider now.
    team.until("tools", "with the tools of the new image", |object| {
        object["status"]["tools"].as_array().is_some_and(|tools| tools.contains(&json!("echo")))
    });
    let took = began.elapsed();
    let looks = looks.end();
    team.has_events("tools", &["ProviderReady"]);
    // And by hand, as for any Deployment.
    team.kubectl(&["rollout", "restart", "deployment", "tools"]).works();
    team.kubectl(&["rollout", "status", "deployment", "tools", "--timeout=60s"]).works();
    let restarted = uids(&team.has_pods("tools", 2));
    assert!(restarted.iter().all(|uid| !before.contains(uid)), "the restart is not taken back");
    figure(
        "rolling",
        format_args!(
            "2 pods, another environment and then another image in {took:.1?}: Ready in {looks} of {looks} looks"
        ),
    );
}

#[test]
fn a_secret_that_changes_rolls_the_pods_where_the_operator_may_read_it_and_nowhere_else() {
    let site = attended();
    let (read, closed) = (Team::new(&site, SECRETIVE), Team::new(&site, "provider-closed"));
    let env = json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}]);
    for team in [&read, &closed] {
        team.kubectl(&[
            "create",
            "secret",
            "generic",
            "token",
            "--from-literal=value=one",
            "--from-literal=other=one",
        ])
        .works();
        team.run("tools", GO, &[], &json!({"container": {"env": env}}));
    }
    let pods = [&read, &closed].map(|team| {
        team.state("tools", "Ready");
        uids(&team.has_pods("tools", 1))
    });
    let generation = |team: &Team| team.deployment("tools")["metadata"]["generation"].clone();
    let generations = [&read, &closed].map(generation);
    let write = |key: &str| {
        for team in [&closed, &read] {
            let data = json!({"stringData": {(key): "two"}}).to_string();
            team.kubectl(&["patch", "secret", "token", "-p", &data]).works();
        }
    };
    // A key that nobody reads, then the one that is read: the first must not roll anything.
    write("other");
    write("value");
    let rolled = eventually("the pods roll", SOON, || {
        let pods_now = read.pods("tools");
        (pods_now.len() == 1 && super::is_ready(&pods_now[0]) && uids(&pods_now) != pods[0])
            .then_some(pods_now)
    });
    let value = rolled[0]["spec"]["containers"][0]["env"].to_string();
    assert!(value.contains("secretKeyRef") && !value.contains("two"), "{value}");
    assert_eq!(generation(&read), json!(generations[0].as_i64().unwrap() + 1), "rolled once");
    assert_eq!(
        (uids(&closed.has_pods("tools", 1)), generation(&closed)),
        (pods[1].clone(), generations[1].clone())
    );
    assert_eq!(closed.read("tools")["status"]["state"], "Ready");
    read.state("tools", "Ready");
    figure(
        "Secret",
        "a key that is read: the pods roll once where secretNamespaces has the namespace, and stay elsewhere; another key: nothing",
    );
}

#[test]
fn an_upgrade_of_the_operator_rolls_no_pods_and_writes_nothing() {
    let site = attended();
    let team = Team::new(&site, "provider-upgrade");
    let names = ["go", "node", "cold", "broken"];
    team.run(
        "go",
        GO,
        &[],
        &json!({"replicas": 2, "container": {"env": [{"name": "A", "value": "1"}]},
        "observability": {"metrics": {"enabled": true, "port": 9100}, "tracing": {"enabled": true}}}),
    );
    team.run(
        "node",
        NODE,
        &[],
        &json!({"container": {"resources": {"limits": {"memory": "0.5Gi", "cpu": "1000m"}}}}),
    );
    team.run("cold", GO, &[], &json!({"replicas": 0}));
    team.run("broken", GO, &["-http", ":3000"], &json!({"lifecycle": {"startupTimeout": "1s"}}));
    team.state("go", "Ready");
    team.state("node", "Ready");
    team.state("cold", "Cold");
    team.has_pods("go", 2);
    team.until("go", "settled", |object| {
        ["replicas", "readyReplicas", "availableReplicas"].iter().all(|count| object["status"][count] == 2)
    });
    team.says("broken", &["did not answer MCP within"]);
    let versions = || {
        let generation = |name: &str| team.deployment(name)["metadata"]["generation"].clone();
        let version = |name: &&str| {
            let object = team.read(name);
            (object["metadata"]["resourceVersion"].clone(), object["status"].clone())
        };
        (names[..3].iter().map(version).collect::<Vec<_>>(), names.map(generation))
    };
    let pods = || names.map(|name| uids(&team.pods(name)));
    let before = (versions(), pods());
    let looks = Looks::start(&team, "go");
    let began = Instant::now();
    let old: Vec<_> = site.names(crate::release::PODS);
    let annotation = format!("podAnnotations.upgraded=at-{}", std::process::id());
    HELM.upgrade(&site, OPERATOR, &["--reuse-values"], &[&annotation]).works();
    // A new pod leads and has looked at every provider.
    let leader = eventually("a new leader", SOON, || {
        let leader = leader(&team)?;
        (!old.contains(&leader)).then_some(leader)
    });
    eventually("it knows all of them", SOON, || {
        let pod = site.api.get(&format!("{}/{leader}", crate::release::PODS)).ok();
        let text = metrics(pod["status"]["podIP"].as_str()?)?;
        let known = |name: &&str| {
            text.contains(&format!("provider_state{{name=\"{name}\",namespace=\"{}\"", team.name))
        };
        names.iter().all(known).then_some(())
    });
    let took = began.elapsed();
    team.kubectl(&["get", "mcpp"]).ok();
    let looks = looks.end();
    assert_eq!((versions(), pods()), before);
    site.serves();
    figure(
        "operator upgrade",
        format_args!(
            "{} providers, helm upgrade and a new leader in {took:.1?}: 0 pods rolled, 0 writes, Ready in {looks} of {looks} looks",
            names.len()
        ),
    );
}

/// The pod that leads.
pub(crate) fn leader(team: &Team) -> Option<String> {
    let leases =
        team.site.api.get(&format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")).body;
    let ours = leases["items"].as_array()?.iter().filter(|lease| {
        lease["metadata"]["name"]
            .as_str()
            .is_some_and(|name| name.contains("mcp-hangar") || name.contains(RELEASE))
    });
    let holders: Vec<_> = ours.filter_map(|lease| lease["spec"]["holderIdentity"].as_str()).collect();
    let pods = team.site.names(crate::release::PODS);
    pods.into_iter().find(|pod| holders.iter().any(|holder| holder.starts_with(pod.as_str())))
}

/// What a pod of the operator tells Prometheus.
pub(crate) fn metrics(address: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect((address, 8080)).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
