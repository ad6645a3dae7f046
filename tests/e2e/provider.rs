//! A provider from Cold to Ready and what may happen on the way, on a real API server.
//!
//! Remote providers are asked for real, on loopback. Nothing runs Deployments here: a test writes their status as the
//! controllers of a cluster would. What pods do is for the tests with a node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, LAWLESS, borrow_one, eventually, shared};
use crate::fake::{Fake, Reply, correct, http};
use crate::fleet::Metrics;

const SOON: Duration = Duration::from_secs(30);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// An MCP server that can be made to fail.
struct Server {
    fake: Fake,
    fails: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Self {
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

    fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    fn requests(&self) -> usize {
        self.fake.requests.lock().unwrap().len()
    }
}

fn provider(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// A remote provider that is probed every second.
fn remote(endpoint: &str) -> Value {
    json!({"mode": "Remote", "remote": {"endpoint": endpoint},
        "healthCheck": {"enabled": true, "interval": "1s", "timeout": "1s", "failureThreshold": 2},
        "circuitBreaker": {"failureThreshold": 4, "resetTimeout": "1s", "successThreshold": 2, "halfOpenRequests": 2}})
}

fn container() -> Value {
    json!({"mode": "Container", "container": {"image": "r.example/tools:1"}, "healthCheck": {"enabled": false}})
}

/// Waits until the status is as `is` says.
fn status(cluster: &Cluster, object: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(what, SOON, || {
            last = cluster.api.read(object);
            is(&last["status"]).then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("{what}: {:#}", last["status"]))
}

fn state(cluster: &Cluster, object: &Value, state: &str) -> Value {
    status(cluster, object, &format!("state {state}"), |status| status["state"] == state)
}

fn condition(object: &Value, type_: &str) -> Value {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> = all.into_iter().filter(|it| it["type"] == type_).collect();
    assert!(found.len() <= 1, "{type_}: {found:?}");
    found.into_iter().next().unwrap_or_default()
}

/// Reasons of the Events about an object, with how often, in the order of their first time.
fn events(cluster: &Cluster, namespace: &str, name: &str) -> Vec<String> {
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

fn object(cluster: &Cluster, path: &str) -> Value {
    let reply = cluster.api.get(path);
    if reply.code == 200 { reply.body } else { Value::Null }
}

fn deployment(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

fn service(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services/{name}")
}

#[test]
fn a_remote_provider_becomes_ready_fails_is_given_up_and_recovers_with_one_event_each() {
    let site = shared();
    let namespace = site.namespace("provider-remote");
    let server = Server::start();
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    site.api.create(&weather).ok();
    let ready = state(&site, &weather, "Ready");
    assert_eq!(ready["status"]["tools"], json!(["t"]));
    assert_eq!(ready["status"]["toolsCount"], 1);
    assert_eq!(ready["status"]["endpoint"], server.fake.url());
    assert_eq!(ready["status"]["observedGeneration"], 1);
    assert_eq!(condition(&ready, "Ready")["reason"], "ProviderReady");
    assert_eq!(condition(&ready, "Available")["status"], "True");
    assert!(condition(&ready, "Reconciling").is_null() && condition(&ready, "Stalled").is_null());

    // Nothing happens: nothing is written, however often it is asked.
    let before = server.requests();
    eventually("it is asked again", SOON, || (server.requests() >= before + 9).then_some(()));
    assert_eq!(site.api.read(&weather)["metadata"]["resourceVersion"], ready["metadata"]["resourceVersion"]);

    server.fails(true);
    let failing = state(&site, &weather, "Degraded");
    assert_eq!(condition(&failing, "Degraded")["status"], "True");
    let message = condition(&failing, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("POST") && message.contains("500"), "{message}");
    let dead = state(&site, &weather, "Dead");
    assert_eq!(condition(&dead, "Ready")["reason"], "CircuitOpen");
    assert!(condition(&dead, "Stalled").is_null(), "it is tried again");
    server.fails(false);
    let again = state(&site, &weather, "Ready");
    assert_eq!(again["status"]["consecutiveFailures"], 0);

    let expected =
        ["Starting 1", "ProviderReady 1", "HealthCheckFailing 1", "CircuitOpen 1", "CircuitClosed 1"];
    eventually("one Event for each transition", SOON, || {
        (events(&site, namespace, "weather") == expected).then_some(())
    });
    let metrics = Metrics::of(&site.operator);
    let series = |state: &str| {
        format!(r#"mcp_operator_provider_state{{name="weather",namespace="{namespace}",state="{state}"}}"#)
    };
    assert_eq!(metrics.value(&series("Ready")), Some(1.0));
    assert_eq!(metrics.value(&series("Dead")), Some(0.0));
    site.api.delete(&crate::api::path(&weather)).ok();
    eventually("its series are gone", SOON, || (metrics.value(&series("Ready")).is_none()).then_some(()));
}

#[test]
fn a_server_that_does_not_speak_mcp_is_never_ready_and_the_condition_says_what_to_write() {
    let site = shared();
    let namespace = site.namespace("provider-html");
    let page = RUNTIME.block_on(Fake::new(|_| http("200 OK", "content-type: text/html\r\n", "<html>")));
    let mut spec = remote(&page.url());
    spec["lifecycle"] = json!({"startupTimeout": "2s"});
    let portal = provider(namespace, "portal", &spec);
    site.api.create(&portal).ok();
    let dead = state(&site, &portal, "Dead");
    let ready = condition(&dead, "Ready");
    assert_eq!(ready["reason"], "StartupFailed");
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("spec.remote.endpoint") && message.contains(&page.url()), "{message}");
}

#[test]
fn a_container_provider_gets_its_objects_follows_them_and_is_scaled_woken_and_switched() {
    let site = shared();
    let namespace = site.namespace("provider-container");
    let tools = provider(namespace, "tools", &container());
    site.api.create(&tools).ok();
    let starting = state(&site, &tools, "Initializing");
    let uid = &starting["metadata"]["uid"];
    assert_eq!(condition(&starting, "Reconciling")["status"], "True");
    let path = deployment(namespace, "tools");
    let made = eventually("a Deployment", SOON, || Some(object(&site, &path)).filter(|it| !it.is_null()));
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], *uid);
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["image"], "r.example/tools:1");
    for name in ["tools", "tools-pods"] {
        let found = object(&site, &service(namespace, name));
        assert_eq!(found["metadata"]["ownerReferences"][0]["uid"], *uid, "{name}");
    }

    // As a cluster's own controllers would.
    let pods = |count: i64| {
        let status =
            json!({"status": {"replicas": count, "readyReplicas": count, "availableReplicas": count}});
        site.api.merge_patch(&format!("{path}/status"), &status).ok();
    };
    pods(1);
    let ready = state(&site, &tools, "Ready");
    assert_eq!(ready["status"]["replicas"], 1);
    assert_eq!(ready["status"]["selector"], "mcp-hangar.io/provider=tools");

    // What somebody changes of ours is put right; what is his stays.
    site.api
        .merge_patch(&path, &json!({"spec": {"replicas": 5}, "metadata": {"annotations": {"mine": "yes"}}}))
        .ok();
    let mended = eventually("the replicas are ours", SOON, || {
        Some(object(&site, &path)).filter(|it| it["spec"]["replicas"] == 1)
    });
    assert_eq!(mended["metadata"]["annotations"]["mine"], "yes");
    site.api.delete(&service(namespace, "tools")).ok();
    eventually("the Service is made again", SOON, || {
        (!object(&site, &service(namespace, "tools")).is_null()).then_some(())
    });

    let scale = json!({"spec": {"replicas": 0}});
    site.api.merge_patch(&format!("{}/scale", crate::api::path(&tools)), &scale).ok();
    let cold = state(&site, &tools, "Cold");
    assert_eq!(condition(&cold, "Ready")["status"], "True");
    eventually("no pods", SOON, || (object(&site, &path)["spec"]["replicas"] == 0).then_some(()));
    pods(0);
    let wake = json!({"metadata": {"annotations": {"mcp-hangar.io/wake": "2999-01-01T00:00:00Z"}}});
    site.api.merge_patch(&crate::api::path(&tools), &wake).ok();
    state(&site, &tools, "Initializing");
    eventually("one pod", SOON, || (object(&site, &path)["spec"]["replicas"] == 1).then_some(()));
    assert_eq!(site.api.read(&tools)["spec"]["replicas"], 0, "the wish stays");

    let server = Server::start();
    let mut spec = remote(&server.fake.url());
    spec["replicas"] = json!(1);
    site.api.merge_patch(&crate::api::path(&tools), &json!({"spec": spec})).ok();
    eventually("nothing of the container is left", SOON, || {
        let all = [path.clone(), service(namespace, "tools"), service(namespace, "tools-pods")];
        all.iter().all(|path| object(&site, path).is_null()).then_some(())
    });
    state(&site, &tools, "Ready");
}

#[test]
fn an_object_of_somebody_else_is_never_adopted() {
    let site = shared();
    let namespace = site.namespace("provider-taken");
    let spec = json!({"metadata": {"name": "taken"}, "spec": {"ports": [{"port": 80}]}});
    let theirs = site.api.post(&format!("/api/v1/namespaces/{namespace}/services"), &spec).ok();
    let taken = provider(namespace, "taken", &container());
    site.api.create(&taken).ok();
    let told = status(&site, &taken, "the name is taken", |status| {
        status["conditions"].as_array().is_some_and(|all| all.iter().any(|it| it["reason"] == "NameTaken"))
    });
    assert_eq!(condition(&told, "Stalled")["status"], "True");
    assert!(condition(&told, "Ready")["message"].as_str().unwrap().contains("Service taken"), "{told}");
    assert_eq!(object(&site, &service(namespace, "taken")), theirs);
}

#[test]
fn a_spec_that_slipped_past_the_webhook_is_named_and_mended() {
    let site = shared();
    let spoilt = provider(LAWLESS, "spoilt", &json!({"mode": "Container", "container": {"image": ":"}}));
    site.api.create(&spoilt).ok();
    let dead = state(&site, &spoilt, "Dead");
    let ready = condition(&dead, "Ready");
    assert_eq!(ready["reason"], "InvalidSpec");
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("spec.container.image") && message.contains("HGR"), "{message}");
    assert_eq!(condition(&dead, "Stalled")["status"], "True");
    assert!(object(&site, &deployment(LAWLESS, "spoilt")).is_null());
    site.api.merge_patch(&crate::api::path(&spoilt), &json!({"spec": container()})).ok();
    state(&site, &spoilt, "Initializing");
    site.api.delete(&crate::api::path(&spoilt)).ok();
}

#[test]
fn a_config_map_that_is_missing_is_named_and_one_that_changes_rolls_the_pods() {
    let site = shared();
    let namespace = site.namespace("provider-map");
    let mut spec = container();
    spec["container"]["env"] =
        json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}]);
    let reader = provider(namespace, "reader", &spec);
    site.api.create(&reader).ok();
    status(&site, &reader, "the ConfigMap is missed", |status| {
        status["conditions"].to_string().contains("ConfigMap settings does not exist")
    });
    let hash = || {
        let found = object(&site, &deployment(namespace, "reader"));
        found["spec"]["template"]["metadata"]["annotations"]["mcp-hangar.io/config-hash"].clone()
    };
    let without = hash();
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    site.api.post(&maps, &json!({"metadata": {"name": "settings"}, "data": {"a": "1"}})).ok();
    status(&site, &reader, "it is found", |status| !status["conditions"].to_string().contains("settings"));
    let first = eventually("another hash", SOON, || Some(hash()).filter(|hash| *hash != without));
    site.api.merge_patch(&format!("{maps}/settings"), &json!({"data": {"other": "1"}})).ok();
    site.api.merge_patch(&format!("{maps}/settings"), &json!({"data": {"a": "2"}})).ok();
    let second = eventually("yet another", SOON, || Some(hash()).filter(|hash| *hash != first));
    assert!(second.is_string());
}

#[test]
fn a_remote_provider_whose_secret_may_not_be_read_says_which_value_to_set() {
    let site = shared();
    let namespace = site.namespace("provider-secret");
    let server = Server::start();
    let mut spec = remote(&server.fake.url());
    spec["remote"]["headersFrom"] =
        json!([{"name": "Authorization", "secretKeyRef": {"name": "token", "key": "value"}}]);
    let closed = provider(namespace, "closed", &spec);
    site.api.create(&closed).ok();
    let told = status(&site, &closed, "it is told", |status| {
        status["conditions"].to_string().contains("SecretAccessMissing")
    });
    let message = condition(&told, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("secretNamespaces") && message.contains(namespace), "{message}");
    assert_eq!(server.requests(), 0, "nobody is asked without the header");
}

#[test]
fn a_provider_without_traffic_falls_asleep_and_wakes_when_it_is_called() {
    let site = shared();
    let namespace = site.namespace("provider-idle");
    let mut spec = container();
    spec["lifecycle"] = json!({"idleTTL": "4s"});
    spec["replicas"] = json!(2);
    let lazy = provider(namespace, "lazy", &spec);
    site.api.create(&lazy).ok();
    let path = deployment(namespace, "lazy");
    eventually("a Deployment", SOON, || (!object(&site, &path).is_null()).then_some(()));
    let pods = json!({"status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2}});
    site.api.merge_patch(&format!("{path}/status"), &pods).ok();
    state(&site, &lazy, "Ready");
    let say = |key: &str, value: &str| {
        let patch = json!({"metadata": {"annotations": {(format!("mcp-hangar.io/{key}")): value}}});
        site.api.merge_patch(&crate::api::path(&lazy), &patch).ok();
    };
    // A time in the future is now.
    say("last-activity", "2999-01-01T00:00:00Z");
    let cold = state(&site, &lazy, "Cold");
    let ready = condition(&cold, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("True"), &json!("Idle")));
    assert!(cold["status"]["lastActivityAt"].is_string() && cold["status"]["lastStoppedAt"].is_string());
    eventually("no pods", SOON, || (object(&site, &path)["spec"]["replicas"] == 0).then_some(()));
    say("wake", "soon");
    say("wake", "2999-01-01T00:00:00Z");
    state(&site, &lazy, "Ready");
    eventually("all pods", SOON, || (object(&site, &path)["spec"]["replicas"] == 2).then_some(()));
    let spec = site.api.read(&lazy);
    assert_eq!((&spec["spec"]["replicas"], &spec["metadata"]["generation"]), (&json!(2), &json!(1)));
}

#[test]
fn a_server_that_hangs_delays_no_other() {
    let site = shared();
    let namespace = site.namespace("provider-slow");
    let hangs = RUNTIME.block_on(Fake::new(|_| Reply::Hang));
    let server = Server::start();
    let mut spec = remote(&hangs.url());
    spec["healthCheck"]["interval"] = json!("20s");
    spec["healthCheck"]["timeout"] = json!("20s");
    for n in 0..20 {
        site.api.create(&provider(namespace, &format!("slow{n}"), &spec)).ok();
    }
    eventually("all of them are asked", SOON, || (hangs.requests.lock().unwrap().len() >= 20).then_some(()));
    let quick = provider(namespace, "quick", &remote(&server.fake.url()));
    let began = Instant::now();
    site.api.create(&quick).ok();
    state(&site, &quick, "Ready");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn what_happens_while_the_api_server_is_away_is_told_when_it_is_back() {
    let site = borrow_one();
    let namespace = "provider-away";
    site.namespace(namespace);
    let server = Server::start();
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    site.api.create(&weather).ok();
    state(&site, &weather, "Ready");
    site.crash_api_server();
    server.fails(true);
    site.start_api_server();
    state(&site, &weather, "Dead");
    server.fails(false);
    state(&site, &weather, "Ready");
    site.api.delete(&crate::api::path(&weather)).ok();
    site.serves();
}

/// The resourceVersions of providers and of what is made for the one with the name `tools`.
fn versions(cluster: &Cluster, namespace: &str, providers: &[Value]) -> Vec<Value> {
    let of = |object: Value| object["metadata"]["resourceVersion"].clone();
    let made =
        [service(namespace, "tools"), service(namespace, "tools-pods"), deployment(namespace, "tools")];
    let made = made.iter().map(|path| of(object(cluster, path)));
    providers.iter().map(|object| of(cluster.api.read(object))).chain(made).collect()
}

#[test]
fn an_operator_that_is_killed_and_started_again_writes_nothing() {
    let mut site = borrow_one();
    let namespace = "provider-restart";
    site.namespace(namespace);
    let server = Server::start();
    let mut all: Vec<Value> =
        (0..20).map(|n| provider(namespace, &format!("r{n}"), &remote(&server.fake.url()))).collect();
    for object in &all {
        site.api.create(object).ok();
    }
    let tools = provider(namespace, "tools", &container());
    site.api.create(&tools).ok();
    for object in &all {
        state(&site, object, "Ready");
    }
    let path = deployment(namespace, "tools");
    eventually("a Deployment", SOON, || (!object(&site, &path).is_null()).then_some(()));
    let status = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    site.api.merge_patch(&format!("{path}/status"), &status).ok();
    state(&site, &tools, "Ready");
    all.push(tools);
    let before = versions(&site, namespace, &all);
    site.operator.kill();
    site.restart_operator();
    let metrics = Metrics::of(&site.operator);
    let asked = server.requests();
    eventually("the new process has looked at all and asked all", SOON, || {
        let looked = metrics.text().matches("state=\"Ready\"} 1").count() >= all.len();
        (looked && server.requests() >= asked + 20 * 3 * 2).then_some(())
    });
    assert_eq!(versions(&site, namespace, &all), before);
    for object in &all {
        site.api.delete(&crate::api::path(object)).ok();
    }
}
