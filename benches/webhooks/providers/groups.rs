//! What a group of a thousand costs: how often its status is written while they come, and when one of them leaves.
//!
//! In: the operator that keeps the namespace. Out: rows. The members are remote providers that answer at once, so that
//! all of them change several times within seconds: the worst that a group can meet.

use std::time::Instant;

use axum::http::Method;
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::{
    Answers, Api, CREATES, Counts, KEPT, MANY, Operator, clear, create_all, herd, remote, scaled, within,
};
use crate::cluster::providers;
use crate::report::{Report, Row};

/// Over all who sleep, each over as many as the others.
pub(crate) const GROUPS: usize = 500;
const STATUS: &str = "PATCH mcpprovidergroups/status";
const TEAM: &str = "app.kubernetes.io/part-of";

fn path(namespace: &str) -> String {
    format!("/apis/mcp-hangar.io/v1beta1/namespaces/{namespace}/mcpprovidergroups")
}

fn group(name: &str, key: &str, value: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProviderGroup", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {key: value}}}})
}

/// Waits until the group says so many in both of these counts.
async fn counts(api: &Api, all: usize, ready: usize) {
    let path = format!("{}/crowd", path(KEPT));
    within(&format!("the group counts {ready} of {all}"), async || {
        let found: Value = serde_json::from_str(&api.get(&path).await.ok()?.0).ok()?;
        let status = &found["status"];
        (status["providerCount"] == all && status["readyCount"] == ready).then_some(())
    })
    .await;
}

pub(crate) async fn measure(report: &mut Report, api: &Api, operator: &Operator, server: &Answers) {
    let many = scaled(MANY);
    clear(api, KEPT).await;
    within("they are gone", async || (operator.count("Ready") == 0).then_some(())).await;
    api.create(&path(KEPT), &group("crowd", TEAM, "agent-tools")).await.unwrap();
    counts(api, 0, 0).await;
    let (before, began) = (Counts::read(api).await, Instant::now());
    create_all(api, KEPT, (0..many).map(|n| remote(&format!("member-{n}"), &server.url()))).await;
    let created = began.elapsed().as_secs_f64();
    counts(api, many, many).await;
    let took = began.elapsed().as_secs_f64();
    settle().await;
    let writes = Counts::read(api).await.since(&before).get(STATUS) as f64;
    report.note(&format!("{many} members created in {created:.1} s, all counted as ready after {took:.1} s"));
    let name = format!("a group of {many} that come at once, writes of its status");
    report.add(Row::new(name, writes, "").goal("<= one a second", took + 2.0));
    for (label, count) in [("elsewhere", many - 1), ("agent-tools", many)] {
        let (before, began) = (Counts::read(api).await, Instant::now());
        let labels = json!({"metadata": {"labels": {TEAM: label}}});
        api.merge(&format!("{}/member-0", providers("v1beta1", KEPT)), &labels).await.unwrap();
        counts(api, count, count).await;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        settle().await;
        let writes = Counts::read(api).await.since(&before).get(STATUS) as f64;
        let verb = if count < many { "leaves" } else { "joins" };
        report.add(
            Row::new(format!("a member {verb}, writes of the group's status"), writes, "").goal("1", 1.0),
        );
        report.add(Row::new("until the status says so", took, "ms"));
    }
    let path = format!("{}/crowd", path(KEPT));
    api.call(Method::DELETE, &path, "application/json", Vec::new()).await.unwrap();
}

/// As long as a group may wait before it is written again.
async fn settle() {
    tokio::time::sleep(mcp_hangar_operator::group::pace::rest(MANY) * 2).await;
}

/// Groups over the sleepers, each over its shard of them.
pub(crate) async fn over_the_herd(api: &Api) {
    let path = path(herd::NAMESPACE);
    let path = path.as_str();
    stream::iter(0..GROUPS)
        .map(async |n| {
            let group = group(&format!("shard-{n}"), herd::SHARD, &herd::shard(n));
            api.create(path, &group).await.unwrap()
        })
        .buffer_unordered(CREATES)
        .count()
        .await;
}
