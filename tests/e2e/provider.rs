//! A provider from Cold to Ready and what may happen on the way, on a real API server.
//!
//! Remote providers are asked for real, on loopback. Nothing runs Deployments here: a test writes their status as the
//! controllers of a cluster would. What pods do is for the tests with a node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, LAWLESS, Site, beside, borrow_one, eventually, shared};
use crate::fake::{Fake, Reply, correct, http};
use crate::figures::figure;
use crate::fleet::Metrics;
use crate::operator::Operator;

#[path = "provider/counts.rs"]
mod counts;
#[path = "provider/faults.rs"]
mod faults;
#[path = "provider/inputs.rs"]
mod inputs;
#[path = "provider/life.rs"]
mod life;
#[path = "provider/restarts.rs"]
mod restarts;
#[path = "provider/series.rs"]
mod series;

const SOON: Duration = Duration::from_secs(30);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// An MCP server that can be made to fail.
pub(crate) struct Server {
    pub(crate) fake: Fake,
    fails: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&fails);
        let answer = move |request: &crate::fake::Request| {
            if told.load(Ordering::Relaxed) {
                return http("500 Internal Server Error", "content-type: text/plain\r\n", "no");
            }
            correct(request)
        };
        Self { fake: RUNTIME.block_on(Fake::new(answer)), fails }
    }

    pub(crate) fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> usize {
        self.fake.requests.lock().unwrap().len()
    }
}

pub(crate) fn provider(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// A remote provider that is probed every second.
pub(crate) fn remote(endpoint: &str) -> Value {
    json!({"mode": "Remote", "remote": {"endpoint": endpoint},
        "healthCheck": {"enabled": true, "interval": "1s", "timeout": "1s", "failureThreshold": 2},
        "circuitBreaker": {"failureThreshold": 4, "resetTimeout": "1s", "successThreshold": 2, "halfOpenRequests": 2}})
}

/// One of many: it is asked less often, and a machine that is busy with all of them fails nobody.
fn one_of_many(endpoint: &str) -> Value {
    let mut spec = remote(endpoint);
    (spec["healthCheck"]["interval"], spec["healthCheck"]["timeout"]) = (json!("3s"), json!("3s"));
    spec
}

pub(crate) fn container() -> Value {
    json!({"mode": "Container", "container": {"image": "r.example/tools:1"}, "healthCheck": {"enabled": false}})
}

/// Waits until the status is as `is` says.
pub(crate) fn status(cluster: &Cluster, object: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(what, SOON, || {
            last = cluster.api.read(object);
            is(&last["status"]).then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("{what}: {:#}", last["status"]))
}

pub(crate) fn state(cluster: &Cluster, object: &Value, state: &str) -> Value {
    status(cluster, object, &format!("state {state}"), |status| status["state"] == state)
}

pub(crate) fn condition(object: &Value, type_: &str) -> Value {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> = all.into_iter().filter(|it| it["type"] == type_).collect();
    assert!(found.len() <= 1, "{type_}: {found:?}");
    found.into_iter().next().unwrap_or_default()
}

/// Reasons of the Events about an object, with how often, in the order of their first time.
pub(crate) fn events(cluster: &Cluster, namespace: &str, name: &str) -> Vec<String> {
    let all = cluster.api.get(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")).ok();
    let mut about: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["regarding"]["name"] == name)
        .map(|event| {
            let time = event["eventTime"].as_str().unwrap().to_owned();
            let count = event["series"]["count"].as_i64().unwrap_or(1);
            (time, format!("{} {count}", event["reason"].as_str().unwrap()))
        })
        .collect();
    about.sort();
    about.into_iter().map(|(_, text)| text).collect()
}

/// Waits until exactly these Events are there about an object, as [`events`] shows them.
fn tells(cluster: &Cluster, namespace: &str, name: &str, expected: &[&str]) {
    let mut last = Vec::new();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("one Event for each transition", SOON, || {
            last = events(cluster, namespace, name);
            (last == expected).then_some(())
        });
    }));
    found.unwrap_or_else(|_| panic!("{name}: {last:?}"));
}

pub(crate) fn object(cluster: &Cluster, path: &str) -> Value {
    let reply = cluster.api.get(path);
    if reply.code == 200 { reply.body } else { Value::Null }
}

pub(crate) fn deployment(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

pub(crate) fn service(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services/{name}")
}

/// Starts the operator of a cluster with more flags, and without an election, so that it works at once.
fn begin(site: &mut Site, flags: &[&str]) {
    let all = [beside().as_slice(), &["--leader-elect=false"], flags].concat();
    site.operator = Operator::start(&site.cluster.folder, "operator", &all);
}

/// The same in the place of the one that runs, until the webhooks are used.
fn replace(site: &mut Site, flags: &[&str]) {
    site.operator.kill();
    begin(site, flags);
    site.serves();
}

/// The usual one again.
fn put_back(site: &mut Site) {
    site.operator.kill();
    site.restart_operator();
}

/// What the API server was asked to write since it started, by verb and resource; refused requests are counted as well.
fn writes(cluster: &Cluster) -> BTreeMap<String, u64> {
    const OURS: [&str; 6] = ["mcpproviders", "deployments", "services", "events", "configmaps", "secrets"];
    let text = cluster.api.get("/metrics");
    let mut all = BTreeMap::new();
    for line in text.message().lines() {
        let Some((labels, count)) =
            line.strip_prefix("apiserver_request_total{").and_then(|it| it.split_once("} "))
        else {
            continue;
        };
        let label = |name: &str| {
            let start = format!("{name}=\"");
            let found = labels.split(',').find_map(|label| label.strip_prefix(&start));
            found.unwrap_or_default().trim_end_matches('"').to_owned()
        };
        let (verb, resource, subresource) = (label("verb"), label("resource"), label("subresource"));
        let is_write = ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb.as_str());
        if is_write && label("dry_run").is_empty() && OURS.contains(&resource.as_str()) {
            let place = if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") };
            *all.entry(format!("{verb} {place}")).or_default() += count.parse::<f64>().unwrap() as u64;
        }
    }
    all
}

/// What was written more than `before`.
fn since(cluster: &Cluster, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut more = writes(cluster);
    for (what, count) in before {
        *more.entry(what.clone()).or_default() -= count;
    }
    more.retain(|_, count| *count > 0);
    more
}

/// Where no controllers run: the status of a Deployment whose pods are ready.
pub(crate) fn run_pods(cluster: &Cluster, path: &str, ready: i64) {
    let status = json!({"status": {"replicas": ready, "readyReplicas": ready, "availableReplicas": ready}});
    cluster.api.merge_patch(&format!("{path}/status"), &status).ok();
}
