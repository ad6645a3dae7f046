//! What a first sync of a discovery source costs, against the same creates sent by a client that does nothing else.
//!
//! In: a cluster. Out: rows. The operator keeps both namespaces, so what it does about each new provider slows both alike;
//! what is compared is only who creates them. Client, ConfigMap, Services, client: the mean of both turns of the client
//! is the bound. The health checks of all are off.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::{Api, Counts, MANY, Operator, clear, scaled, within};
use crate::cluster::{Cluster, providers};
use crate::report::{Report, Row, Spread};

/// Where sources are.
const FOUND: &str = "found";
/// Where the client creates.
const BOUND: &str = "bound";
/// As many as a source writes at the same time.
const WRITERS: usize = 32;
const REFRESH: Duration = Duration::from_secs(3);

pub(crate) async fn measure(
    report: &mut Report,
    cluster: &Cluster,
    api: &Api,
    operator: Operator,
) -> Operator {
    let many = scaled(MANY);
    for name in [FOUND, BOUND] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        api.create("/api/v1/namespaces", &namespace).await.unwrap();
    }
    let operator = operator.again(cluster, &format!("{FOUND},{BOUND}"));
    operator.answers(api).await;
    create(api, "/api/v1/namespaces/found/configmaps", std::iter::once(catalogue(many))).await;
    create(api, "/api/v1/namespaces/found/services", (0..many).map(service)).await;
    by_client(api, &operator, many / 10).await;
    let first = by_client(api, &operator, many).await;
    let mut times = Vec::new();
    for (what, spec) in [
        ("entries of a ConfigMap", json!({"type": "ConfigMap", "configMapRef": {"name": "catalogue"}})),
        ("annotated Services", json!({"type": "Annotations", "annotations": {}})),
    ] {
        times.push((what, by_source(report, api, &operator, what, spec, many).await));
    }
    let last = by_client(api, &operator, many).await;
    let bound = [0, 1].map(|n| f64::midpoint(first[n], last[n]));
    let name = format!("{many} providers created by a bare client, {WRITERS} at once");
    report.add(Row::new(name, bound[0], "s"));
    report.add(Row::new("until the operator has looked after them", bound[1], "s"));
    for (what, took) in times {
        let ratio = |n: usize| Spread::of([took[n] / first[n], took[n] / bound[n], took[n] / last[n]]);
        let name = format!("first sync of {many} {what}");
        report.add(Row::new(name, took[0], "s").against(ratio(0)).ratio_goal("<= 1.5x", 1.5));
        report.add(Row::new("until the operator has looked after them", took[1], "s").against(ratio(1)));
    }
    operator
}

/// Seconds until a client has created so many, and until the operator has looked after them.
async fn by_client(api: &Api, operator: &Operator, count: usize) -> [f64; 2] {
    let began = Instant::now();
    let provider = |n: usize| {
        json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "metadata": {"name": format!("p{n}")},
            "spec": {"mode": "Remote", "remote": {"endpoint": url(n)}, "healthCheck": {"enabled": false}}})
    };
    create(api, &providers("v1beta1", BOUND), (0..count).map(provider)).await;
    let took = began.elapsed().as_secs_f64();
    looked_after(operator, count).await;
    let whole = began.elapsed().as_secs_f64();
    empty(api, operator, BOUND).await;
    [took, whole]
}

/// The same of a source, until it manages so many; then nothing is written for two scans more.
async fn by_source(
    report: &mut Report,
    api: &Api,
    operator: &Operator,
    what: &str,
    mut spec: Value,
    count: usize,
) -> [f64; 2] {
    spec["refreshInterval"] = json!(format!("{}s", REFRESH.as_secs()));
    spec["providerTemplate"] = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"example.com/by": "a"}},
        "spec": {"healthCheck": {"enabled": false}}});
    let source = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPDiscoverySource",
        "metadata": {"name": "source"}, "spec": spec});
    let all = format!("/apis/mcp-hangar.io/v1beta1/namespaces/{FOUND}/mcpdiscoverysources");
    let path = format!("{all}/source");
    let (before, cpu) = (Counts::read(api).await, operator.cost());
    let began = Instant::now();
    api.create(&all, &source).await.unwrap();
    within("all are managed", async || {
        let found: Value = serde_json::from_str(&api.get(&path).await.ok()?.0).ok()?;
        (found["status"]["managedCount"] == count).then_some(())
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    let calls = Counts::read(api).await.calls_since(&before);
    report.note(&format!(
        "meanwhile, for each: {}; {:.0} µs of the operator's CPU",
        calls.of_each(count),
        (operator.cost() - cpu) / count as f64 / 1000.0
    ));
    looked_after(operator, count).await;
    let whole = began.elapsed().as_secs_f64();
    // The last change of a provider has the source look once more.
    tokio::time::sleep(REFRESH).await;
    let (before, scans) = (Counts::read(api).await, operator.scans());
    within("it is scanned again, twice", async || (operator.scans() >= scans + 2).then_some(())).await;
    let writes = Counts::read(api).await.since(&before);
    report.note(&format!("written by {} scans more: {}", operator.scans() - scans, writes.of_each(1)));
    report.add(
        Row::new(format!("scans of {count} {what} without a change, API writes"), writes.sum() as f64, "")
            .goal("0", 0.0),
    );
    api.call(axum::http::Method::DELETE, &path, "application/json", Vec::new()).await.unwrap();
    empty(api, operator, FOUND).await;
    [took, whole]
}

async fn create(api: &Api, path: &str, objects: impl Iterator<Item = Value>) {
    stream::iter(objects)
        .map(async |object| api.create(path, &object).await.unwrap())
        .buffer_unordered(WRITERS)
        .count()
        .await;
}

async fn looked_after(operator: &Operator, count: usize) {
    within("all have a state", async || (operator.count("Ready") >= count).then_some(())).await;
}

async fn empty(api: &Api, operator: &Operator, namespace: &str) {
    clear(api, namespace).await;
    within("they are gone", async || (operator.count("Ready") == 0).then_some(())).await;
}

fn url(n: usize) -> String {
    format!("http://p{n}.{FOUND}.svc:8080/mcp")
}

fn catalogue(count: usize) -> Value {
    let entry = |n: usize| format!("  p{n}: {{endpoint: '{}'}}\n", url(n));
    let text = std::iter::once("providers:\n".to_owned()).chain((0..count).map(entry)).collect::<String>();
    json!({"metadata": {"name": "catalogue"}, "data": {"providers.yaml": text}})
}

/// Without an address of its own: there are not so many.
fn service(n: usize) -> Value {
    json!({"metadata": {"name": format!("p{n}"),
            "annotations": {"mcp-hangar.io/provider": format!("p{n}"), "mcp-hangar.io/port": "8080"}},
        "spec": {"clusterIP": "None", "ports": [{"port": 8080}]}})
}
