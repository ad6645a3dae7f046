//! What sleeps costs nothing: no call, no look, no probe, and no timer that wakes the process.
//!
//! The time that passes here is what the test is about: a quiet while, in which nothing may happen. Calls are counted by
//! the API server, looks by the operator, probes by the server that would be asked.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{Cluster, borrow_one, eventually};
use crate::figures::figure;
use crate::fleet::{LONG, Metrics};
use crate::provider::{Server, container, provider, remote};

const SLEEPERS: usize = 60;
const QUIET: Duration = Duration::from_secs(6);
/// Kinds that a provider has to do with.
const RESOURCES: [&str; 7] =
    ["mcpproviders", "deployments", "services", "pods", "events", "configmaps", "secrets"];

/// Calls about these kinds so far, watches apart, which end and begin again by themselves.
fn calls(cluster: &Cluster) -> f64 {
    let text = cluster.api.get("/metrics").body["message"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("apiserver_request_total{"), "{text:.200}");
    let about = |line: &&str| RESOURCES.iter().any(|name| line.contains(&format!(",resource=\"{name}\"")));
    let lines = text.lines().filter(|line| line.starts_with("apiserver_request_total{"));
    let lines = lines.filter(about).filter(|line| !line.contains("verb=\"WATCH\""));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// How often threads of the process gave up their core by themselves.
fn wakeups(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let count = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    texts.filter_map(count).sum()
}

#[test]
fn providers_that_sleep_are_neither_looked_at_nor_asked_and_cause_no_call() {
    let site = borrow_one();
    let namespace = "provider-rest";
    site.namespace(namespace);
    let server = Server::start();
    let all: Vec<_> = (0..SLEEPERS)
        .map(|n| {
            let mut spec = if n % 3 == 0 { container() } else { remote(&server.fake.url()) };
            spec["replicas"] = json!(0);
            provider(namespace, &format!("sleeper-{n}"), &spec)
        })
        .collect();
    for object in &all {
        site.api.create(object).ok();
    }
    let metrics = Metrics::of(&site.operator);
    let looks = || metrics.value("mcp_operator_reconcile_total{controller=\"provider\",result=\"success\"}");
    eventually("all sleep", LONG, || {
        let text = metrics.text();
        (text.matches("state=\"Cold\"} 1").count() >= SLEEPERS).then_some(())
    });
    // What they became is still on its way through the watches.
    let mut last = None;
    eventually("nothing is looked at any more", LONG, || {
        std::thread::sleep(Duration::from_millis(500));
        let now = looks();
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    let before = (calls(&site), looks(), server.requests());
    let woken = wakeups(site.operator.id());
    std::thread::sleep(QUIET);
    let woken = wakeups(site.operator.id()) - woken;
    let after = (calls(&site), looks(), server.requests());
    assert_eq!(after, before, "calls, looks, probes");
    let seconds = QUIET.as_secs();
    figure(
        "rest",
        format_args!("{SLEEPERS} asleep for {seconds} s: 0 calls, 0 looks, 0 probes, {woken} wakeups"),
    );
    // Two looks at everything a second would be 100 times that.
    assert!(woken < 20 * seconds, "{woken} wakeups of threads in {seconds} s");
    for object in &all {
        site.api.delete(&crate::api::path(object)).ok();
    }
}
