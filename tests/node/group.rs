//! Groups over providers whose pods run: what people read while members start, fail, sleep, leave and come back.
//!
//! In: the attended install, and `provider-group-ha.yaml` as people have it, with images that are on the node and one
//! more Deployment as the site elsewhere. Out: counts, conditions and members at every version of the status. What
//! needs no pods is tested in `tests/e2e/group.rs`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Site, attended, eventually};
use crate::figures::figure;
use crate::provider::{GO, NODE, SOON, Team, condition, processes, signal};

/// The nodes on which one member of the example wants to be, for as long as this lives.
struct Pool<'a>(&'a Site);

impl<'a> Pool<'a> {
    fn of(site: &'a Site) -> Self {
        site.kubectl(&["label", "nodes", "--all", "mcp.example.com/pool=spare"], "").works();
        Self(site)
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        self.0.kubectl(&["label", "nodes", "--all", "mcp.example.com/pool-"], "");
    }
}

fn group(team: &Team, name: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProviderGroup",
        "metadata": {"name": name, "namespace": team.name}})
}

/// Waits until the group counts so many members, of them these in some state, and says this of Ready.
#[track_caller]
fn counts(team: &Team, group: &Value, all: usize, states: &[(&str, usize)], says: [&str; 2]) -> Value {
    let [reason, message] = says;
    team.waits(group, &format!("{all} members, {states:?}, {reason}: {message}"), |object| {
        let status = &object["status"];
        let ready = condition(object, "Ready");
        status["providerCount"] == all
            && states.iter().all(|(state, count)| status[format!("{state}Count")] == *count)
            && ready["reason"] == reason
            && ready["message"].as_str().is_some_and(|said| said.starts_with(message))
    })
}

/// Every status that the group has had after that version.
fn statuses(team: &Team, group: &Value, since: &Value) -> Vec<Value> {
    let name = group["metadata"]["name"].as_str().unwrap();
    let since = since["metadata"]["resourceVersion"].as_str().unwrap();
    let query =
        format!("watch=1&timeoutSeconds=1&resourceVersion={since}&fieldSelector=metadata.name%3D{name}");
    let body = team.site.api.get(&format!("{}?{query}", crate::api::list_path(group))).ok();
    let lines = body["message"].as_str().expect("more than one version");
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| event["object"].clone()).collect()
}

fn stop(team: &Team, provider: &str) -> Vec<String> {
    let pods = team.pods(provider);
    let names = pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap());
    let all: Vec<_> = names.flat_map(|pod| processes(team.site, team.name, pod)).collect();
    assert!(signal(&all, "STOP"), "{provider}: {all:?}");
    all
}

#[test]
fn the_example_counts_its_members_while_they_start_fail_sleep_leave_and_come_back() {
    let site = attended();
    let team = Team::new(&site, "group-example");
    let _pool = Pool::of(&site);
    team.server("elsewhere", 8080, &json!({}));
    team.kubectl(&["expose", "deployment", "elsewhere", "--port=8080"]).works();
    let elsewhere = format!("http://elsewhere.{}.svc:8080/mcp", team.name);
    let example = team.staged(
        "examples/kubernetes/provider-group-ha.yaml",
        &[
            ("ghcr.io/acme/mcp-docs-search:3.1.0", GO),
            ("ghcr.io/acme/mcp-docs-search:3.2.0", NODE),
            ("https://docs-search.dr.example.com/mcp", &elsewhere),
        ],
    );
    let (all, near) = (group(&team, "docs-search"), group(&team, "docs-search-weighted"));
    let began = Instant::now();
    site.kubectl(&["apply", "-f", "-"], &example).works();
    team.kubectl(&["wait", "--for=condition=Ready", "mcppg", "--all", "--timeout=90s"]).works();
    let well = counts(&team, &all, 3, &[("ready", 3)], ["PolicyMet", "3 of 3 members are available"]);
    let took = began.elapsed();
    is_told_as_a_data_path_needs_it(&team, &well, &elsewhere);
    let since = [well, counts(&team, &near, 2, &[("ready", 2)], ["PolicyMet", "2 of 2 members"])];
    let table = team.kubectl(&["get", "mcppg"]).ok();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "STRATEGY", "PROVIDERS", "READY", "DEGRADED", "AGE"]);
    assert_eq!(lines[1][..5], ["docs-search", "Failover", "3", "3", "0"]);
    assert_eq!(lines[2][..5], ["docs-search-weighted", "Weighted", "2", "2", "0"]);

    let moments = members_fail(&team, &all, &near);
    members_sleep_and_leave(&team, &all, &near);
    let mut versions = 0;
    for (group, since) in [&all, &near].into_iter().zip(&since) {
        for object in statuses(&team, group, since) {
            let routable = condition(&object, "Routable");
            let path = (&routable["status"], &routable["reason"], &object["status"]["activeStrategy"]);
            assert_eq!(path, (&json!("False"), &json!("NoDataPath"), &Value::Null), "{object:#}");
            versions += 1;
        }
    }
    let services = site.names(&format!("/api/v1/namespaces/{}/services", team.name));
    assert!(services.iter().all(|name| !name.contains("-group")), "a group has no address: {services:?}");
    let events =
        team.kubectl(&["get", "events", "--field-selector=involvedObject.kind=MCPProviderGroup"]).ok();
    assert!(events.contains("PolicyMet") && events.contains("PolicyNotMet"), "{events}");
    figure(
        "group",
        format_args!(
            "provider-group-ha.yaml, 3 of 3 members ready {took:.1?} after kubectl apply; {moments}; Routable=False in {versions} of {versions} versions"
        ),
    );
}

/// Members as `kubectl get -o yaml` shows them.
fn is_told_as_a_data_path_needs_it(team: &Team, group: &Value, elsewhere: &str) {
    let url = |name: &str| format!("http://{name}.{}.svc:8080/mcp", team.name);
    let [a, b] = [url("docs-search-a"), url("docs-search-b")];
    let rows = [
        ("docs-search-a", 3, 0, a.as_str()),
        ("docs-search-b", 1, 1, &b),
        ("docs-search-elsewhere", 1, 10, elsewhere),
    ];
    let members = group["status"]["providers"].as_array().unwrap();
    assert_eq!(members.len(), rows.len(), "{members:#?}");
    for (member, (name, weight, priority, endpoint)) in members.iter().zip(rows) {
        let mut member = member.clone();
        assert!(member["lastHealthCheck"].is_string(), "{member}");
        member.as_object_mut().unwrap().remove("lastHealthCheck");
        let expected = json!({"name": name, "namespace": team.name, "state": "Ready", "weight": weight,
            "priority": priority, "endpoint": endpoint});
        assert_eq!(member, expected);
    }
}

/// One after the other they die or hang, until nobody is left; then they are back. What was measured.
fn members_fail(team: &Team, all: &Value, near: &Value) -> String {
    let quick = json!({"spec": {"healthCheck": {"interval": "1s", "timeout": "1s", "failureThreshold": 1},
        "circuitBreaker": {"failureThreshold": 4, "resetTimeout": "2s", "successThreshold": 1}}});
    for name in ["docs-search-a", "docs-search-b", "docs-search-elsewhere"] {
        team.patch(name, &quick);
    }
    // Killed: the kubelet starts it again, and nobody does anything.
    let pod = team.has_pods("docs-search-b", 1)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let began = Instant::now();
    eventually("a dead server is counted", SOON, || {
        signal(&processes(team.site, team.name, &pod), "KILL");
        let status = team.site.api.read(all)["status"].clone();
        (status["readyCount"] == 2 && status["degradedCount"] == 1).then_some(())
    });
    let counted = began.elapsed();
    counts(team, all, 3, &[("ready", 3)], ["PolicyMet", "3 of 3 members are available"]);
    let back = began.elapsed();

    let mut stopped = stop(team, "docs-search-b");
    let says = ["PolicyMet", "2 of 3 members are available; not docs-search-b (Dead, "];
    counts(team, all, 3, &[("ready", 2), ("dead", 1)], says);
    // Half of two are enough.
    counts(team, near, 2, &[("ready", 1), ("dead", 1)], ["PolicyMet", "1 of 2 members are available; not "]);
    stopped.extend(stop(team, "docs-search-a"));
    let says =
        "0 of 2 members are available, healthPolicy.minHealthyPercentage asks for 50 %; not docs-search-a (";
    let none = counts(team, near, 2, &[("ready", 0)], ["PolicyNotMet", says]);
    assert_eq!(condition(&none, "Ready")["status"], "False");
    counts(team, all, 3, &[("ready", 1)], ["PolicyMet", "1 of 3 members are available; not docs-search-a ("]);
    team.kubectl(&["scale", "deployment", "elsewhere", "--replicas=0"]).works();
    let says =
        "0 of 3 members are available, healthPolicy.minHealthyCount asks for 1; not docs-search-a (Dead, ";
    counts(team, all, 3, &[("dead", 3)], ["PolicyNotMet", says]);

    let began = Instant::now();
    assert!(signal(&stopped, "CONT"));
    team.kubectl(&["scale", "deployment", "elsewhere", "--replicas=1"]).works();
    counts(team, all, 3, &[("ready", 3), ("dead", 0)], ["PolicyMet", "3 of 3 members are available"]);
    counts(team, near, 2, &[("ready", 2), ("dead", 0)], ["PolicyMet", "2 of 2 members are available"]);
    format!(
        "a killed server counted after {counted:.1?} and back after {back:.1?}, all back {:.1?} after the last of three is",
        began.elapsed()
    )
}

/// One that sleeps is available; one that loses its label is a member no more.
fn members_sleep_and_leave(team: &Team, all: &Value, near: &Value) {
    team.kubectl(&["scale", "mcpp", "docs-search-b", "--replicas=0"]).works();
    let says = ["PolicyMet", "3 of 3 members are available"];
    counts(team, all, 3, &[("ready", 2), ("cold", 1)], says);
    counts(team, near, 2, &[("ready", 1), ("cold", 1)], ["PolicyMet", "2 of 2 members are available"]);

    let label = |change: &str| {
        team.kubectl(&["label", "mcpp", "docs-search-a", change]).works();
        Instant::now()
    };
    let began = label("mcp.example.com/service-");
    let left = counts(team, all, 2, &[("ready", 1), ("cold", 1)], ["PolicyMet", "2 of 2 members"]);
    let names: Vec<_> =
        left["status"]["providers"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["docs-search-b", "docs-search-elsewhere"]);
    counts(team, near, 1, &[("ready", 0), ("cold", 1)], ["PolicyMet", "1 of 1 member is available"]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "a member leaves at once, not after {took:?}");
    assert_eq!(team.read("docs-search-a")["status"]["state"], "Ready", "it goes on without a group");
    let began = label("mcp.example.com/service=docs-search");
    counts(team, all, 3, &[("ready", 2), ("cold", 1)], says);
    counts(team, near, 2, &[("ready", 1), ("cold", 1)], ["PolicyMet", "2 of 2 members are available"]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "and joins at once, not after {took:?}");

    team.kubectl(&["delete", "mcpp", "docs-search-b"]).works();
    counts(team, near, 1, &[("ready", 1), ("cold", 0)], ["PolicyMet", "1 of 1 member is available"]);
    team.kubectl(&["delete", "mcpp", "docs-search-a"]).works();
    let empty = counts(team, near, 0, &[("ready", 0)], ["NoProviders", "no MCPProvider in namespace "]);
    assert_eq!(condition(&empty, "Ready")["status"], "False");
}
