//! Groups over providers on a real API server: who belongs, what is counted, and how few writes that takes.
//!
//! Members are remote providers: with their health check off they are ready at once and nobody is asked; one that must
//! fail has a server on loopback. Writes are counted by the API server: a watch tells every version that a group had.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{list_path, path};
use crate::cluster::{Cluster, LAWLESS, borrow_one, eventually, shared};
use crate::figures::figure;
use crate::fleet::{Fleet, LONG, Metrics};
use crate::provider::{Server, condition, container, events, provider, remote, state, status};

const SOON: Duration = Duration::from_secs(30);

fn group(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProviderGroup",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn team(name: &str) -> Value {
    json!({"selector": {"matchLabels": {"team": name}}})
}

/// A provider with these labels that is ready as soon as it is looked at.
fn ready(namespace: &str, name: &str, labels: &Value) -> Value {
    let spec = json!({"mode": "Remote", "remote": {"endpoint": format!("http://{name}.example.com/mcp")},
        "healthCheck": {"enabled": false}});
    let mut object = provider(namespace, name, &spec);
    object["metadata"]["labels"] = labels.clone();
    object
}

/// Waits until so many of so many members are ready.
fn counts(cluster: &Cluster, group: &Value, ready: usize, all: usize) -> Value {
    status(cluster, group, &format!("{ready} of {all} members are ready"), |status| {
        status["providerCount"] == all && status["readyCount"] == ready
    })
}

fn names(group: &Value) -> Vec<&str> {
    let all = group["status"]["providers"].as_array().into_iter().flatten();
    all.map(|member| member["name"].as_str().unwrap()).collect()
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

/// Every version that the object has had after this one, oldest first.
fn history(cluster: &Cluster, object: &Value, since: &str) -> Vec<Value> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let query =
        format!("watch=1&timeoutSeconds=1&resourceVersion={since}&fieldSelector=metadata.name%3D{name}");
    let body = cluster.api.get(&format!("{}?{query}", list_path(object))).ok();
    let events: Vec<Value> = match body["message"].as_str() {
        Some(lines) => lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        None => vec![body],
    };
    let told = events.into_iter().filter(|event| !event["type"].is_null());
    told.map(|event| {
        assert_eq!(event["type"], "MODIFIED", "{event}");
        event["object"].clone()
    })
    .collect()
}

/// Waits until nothing has been written for longer than any group rests; every version after `since`.
fn settled(cluster: &Cluster, object: &Value, since: &str, rest: Duration) -> Vec<Value> {
    let mut last = (version(&cluster.api.read(object)).to_owned(), Instant::now());
    eventually("no more writes", Duration::from_secs(120), || {
        let now = version(&cluster.api.read(object)).to_owned();
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > rest).then_some(())
    });
    history(cluster, object, since)
}

#[test]
fn a_group_counts_its_members_by_state_and_names_what_a_data_path_needs() {
    let site = shared();
    let namespace = site.namespace("group-counts");
    let server = Server::start();
    let labels = json!({"team": "a"});
    let mut first = ready(namespace, "first", &labels);
    first["metadata"]["annotations"] = json!({"mcp-hangar.io/weight": "30", "mcp-hangar.io/priority": "0"});
    let mut asleep = ready(namespace, "asleep", &labels);
    asleep["spec"]["replicas"] = json!(0);
    let mut starting = provider(namespace, "starting", &container());
    starting["metadata"]["labels"] = labels.clone();
    starting["spec"]["lifecycle"] = json!({"startupTimeout": "1h"});
    let mut failing = provider(namespace, "weather", &remote(&server.fake.url()));
    failing["metadata"]["labels"] = labels;
    let mut spec = team("a");
    spec["healthPolicy"] = json!({"minHealthyPercentage": 75, "unhealthyThreshold": 2});
    let tools = group(namespace, "tools", &spec);
    for object in [&tools, &first, &asleep, &starting, &failing] {
        site.api.create(object).ok();
    }
    let well = status(&site, &tools, "three are available", |status| {
        status["readyCount"] == 2 && status["coldCount"] == 1 && status["initializingCount"] == 1
    });
    assert_eq!((&well["status"]["providerCount"], &well["status"]["deadCount"]), (&json!(4), &json!(0)));
    assert_eq!(well["status"]["observedGeneration"], 1);
    let met = condition(&well, "Ready");
    assert_eq!((&met["status"], &met["reason"]), (&json!("True"), &json!("PolicyMet")));
    assert_eq!(met["message"], "3 of 4 members are available; not starting (Initializing)");
    let routable = condition(&well, "Routable");
    assert_eq!((&routable["status"], &routable["reason"]), (&json!("False"), &json!("NoDataPath")));
    assert!(condition(&well, "Reconciling").is_null() && condition(&well, "Stalled").is_null());
    assert!(
        well["status"]["activeStrategy"].is_null(),
        "no strategy is in use while nothing carries traffic"
    );
    assert_eq!(names(&well), ["asleep", "first", "starting", "weather"]);
    let member = &well["status"]["providers"][1];
    assert_eq!(
        *member,
        json!({"name": "first", "namespace": namespace, "state": "Ready", "weight": 30, "priority": 0,
            "endpoint": "http://first.example.com/mcp"})
    );
    assert_eq!(site.api.read_as(&tools, "v1alpha1")["status"], well["status"]);

    server.fails(true);
    let failing =
        status(&site, &tools, "one fails", |status| status["degradedCount"] == 1 || status["deadCount"] == 1);
    let not_met = condition(&failing, "Ready");
    assert_eq!(
        (&not_met["status"], &not_met["reason"]),
        (&json!("False"), &json!("PolicyNotMet")),
        "{failing:#}"
    );
    // What starts would be enough: it is worked on, and no failure yet.
    assert_eq!(condition(&failing, "Reconciling")["status"], "True");
    status(&site, &tools, "it is given up", |status| status["deadCount"] == 1);
    server.fails(false);
    let again = counts(&site, &tools, 2, 4);
    assert_eq!(condition(&again, "Ready")["reason"], "PolicyMet");

    let told = events(&site, namespace, "tools");
    let transitions: Vec<_> = told.iter().map(|event| event.split(' ').next().unwrap()).collect();
    assert!(
        transitions.ends_with(&["PolicyMet", "PolicyNotMet"]) || transitions.contains(&"PolicyNotMet"),
        "{told:?}"
    );
    let shown = site.kubectl(&["describe", "mcppg", "tools", "-n", namespace], "").ok();
    assert!(shown.contains("PolicyNotMet") && shown.contains("3 of 4 members are available"), "{shown}");
    let metrics = Metrics::of(&site.operator);
    let series = |state: &str| {
        format!(
            r#"mcp_operator_group_provider_count{{name="tools",namespace="{namespace}",state="{state}"}}"#
        )
    };
    assert_eq!((metrics.value(&series("Ready")), metrics.value(&series("Cold"))), (Some(2.0), Some(1.0)));
    site.api.delete(&path(&tools)).ok();
    eventually("its series are gone", SOON, || metrics.value(&series("Ready")).is_none().then_some(()));
}

#[test]
fn a_provider_that_changes_its_labels_leaves_and_joins_at_once_with_one_write_each() {
    let site = shared();
    let namespace = site.namespace("group-labels");
    let (a, b, c) = (
        group(namespace, "a", &team("a")),
        group(namespace, "b", &team("b")),
        group(namespace, "c", &team("c")),
    );
    let moves = ready(namespace, "moves", &json!({"team": "a"}));
    let stays = [
        ready(namespace, "stays-a", &json!({"team": "a"})),
        ready(namespace, "stays-b", &json!({"team": "b"})),
        ready(namespace, "stays-c", &json!({"team": "c"})),
    ];
    for object in [&moves].into_iter().chain(&stays).chain([&a, &b, &c]) {
        site.api.create(object).ok();
    }
    let before = [counts(&site, &a, 2, 2), counts(&site, &b, 1, 1), counts(&site, &c, 1, 1)];
    let all = [&a, &b, &c];
    for (object, before) in all.iter().zip(&before) {
        assert_eq!(
            settled(&site, object, version(before), Duration::from_secs(2)),
            [Value::Null; 0],
            "{object}"
        );
    }

    let relabel = |labels: Value| {
        let began = Instant::now();
        site.api.merge_patch(&path(&moves), &json!({"metadata": {"labels": labels}})).ok();
        began
    };
    let began = relabel(json!({"team": "b"}));
    assert_eq!(names(&counts(&site, &a, 1, 1)), ["stays-a"]);
    assert_eq!(names(&counts(&site, &b, 2, 2)), ["moves", "stays-b"]);
    let took = began.elapsed();
    figure("group: a changed label", format!("left and joined after {} ms", took.as_millis()));
    assert!(took < Duration::from_secs(3), "{took:?}");
    let writes = |object: &Value, before: &Value| {
        settled(&site, object, version(before), Duration::from_secs(2)).len()
    };
    assert_eq!([writes(&a, &before[0]), writes(&b, &before[1]), writes(&c, &before[2])], [1, 1, 0]);

    // A label that no selector asks for, and an annotation that groups do not read, cost nothing.
    let seen = site.api.read(&b);
    relabel(json!({"colour": "red"}));
    let note = json!({"metadata": {"annotations": {"mcp-hangar.io/last-activity": "2026-01-01T00:00:00Z"}}});
    site.api.merge_patch(&path(&moves), &note).ok();
    assert_eq!(writes(&b, &seen), 0);
    // A weight is what a data path needs.
    let heavy = json!({"metadata": {"annotations": {"mcp-hangar.io/weight": "9"}}});
    site.api.merge_patch(&path(&moves), &heavy).ok();
    status(&site, &b, "the weight is told", |status| status["providers"][0]["weight"] == 9);
    assert_eq!(writes(&b, &seen), 1);

    // One that is deleted leaves, and a group of nobody says so.
    site.api.delete(&path(&stays[0])).ok();
    let none = status(&site, &a, "nobody is left", |status| status["providerCount"] == 0);
    let ready = condition(&none, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("NoProviders")));
    assert!(ready["message"].as_str().unwrap().contains("team=a"), "{ready}");
    assert!(none["status"]["providers"].is_null());
}

#[test]
fn a_selector_that_matches_everything_takes_all_of_its_namespace_and_no_other() {
    let site = shared();
    let (here, there) = (site.namespace("group-all"), site.namespace("group-all-other"));
    let all = group(here, "all", &json!({"selector": {}}));
    let but = json!({"selector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}});
    let unlabelled = group(here, "unlabelled", &but);
    let objects = [
        ready(here, "labelled", &json!({"team": "a"})),
        ready(here, "plain", &json!({})),
        ready(there, "other", &json!({"team": "a"})),
    ];
    for object in objects.iter().chain([&all, &unlabelled]) {
        site.api.create(object).ok();
    }
    assert_eq!(names(&counts(&site, &all, 2, 2)), ["labelled", "plain"]);
    assert_eq!(names(&counts(&site, &unlabelled, 1, 1)), ["plain"]);
    site.api.create(&ready(here, "late", &json!({"team": "b"}))).ok();
    assert_eq!(names(&counts(&site, &all, 3, 3)), ["labelled", "late", "plain"]);
    // Another selector takes effect without a restart.
    site.api
        .merge_patch(
            &path(&unlabelled),
            &json!({"spec": {"selector": {"matchExpressions": null, "matchLabels": {"team": "b"}}}}),
        )
        .ok();
    let other =
        status(&site, &unlabelled, "the new selector is used", |status| status["observedGeneration"] == 2);
    assert_eq!(names(&other), ["late"]);
}

#[test]
fn a_group_that_slipped_past_the_webhook_is_named_and_mended() {
    let site = shared();
    let member = ready(LAWLESS, "group-member", &json!({"team": "lawless"}));
    site.api.create(&member).ok();
    state(&site, &member, "Ready");
    for (name, spec, field, count) in [
        (
            "no-values",
            json!({"selector": {"matchExpressions": [{"key": "team", "operator": "In"}]}}),
            "spec.selector.matchExpressions[0].values",
            0,
        ),
        // What is wrong elsewhere does not hide who the members are.
        (
            "no-unit",
            json!({"selector": {"matchLabels": {"team": "lawless"}}, "circuitBreaker": {"resetTimeout": "0s"}}),
            "spec.circuitBreaker.resetTimeout",
            1,
        ),
    ] {
        let spoilt = group(LAWLESS, name, &spec);
        site.api.create(&spoilt).ok();
        let told = status(&site, &spoilt, "it is told", |status| {
            status["conditions"].as_array().is_some_and(|all| all.iter().any(|it| it["type"] == "Stalled"))
        });
        let ready = condition(&told, "Ready");
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("InvalidSpec")), "{name}");
        let message = ready["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{field}: ")) && message.contains("HGR"), "{message}");
        assert_eq!(told["status"]["providerCount"], count, "{name}");
        let mut mended = site.api.read(&spoilt);
        mended["spec"] = json!({"selector": {"matchLabels": {"team": "lawless"}}});
        site.api.put(&path(&spoilt), &mended).ok();
        let well = status(&site, &spoilt, "it is mended", |status| status["observedGeneration"] == 2);
        assert_eq!(condition(&well, "Ready")["reason"], "PolicyMet");
        assert!(condition(&well, "Stalled").is_null());
        site.api.delete(&path(&spoilt)).ok();
    }
    site.api.delete(&path(&member)).ok();
}

/// A group counts and tells, with whatever rights the operator has.
pub(crate) fn lives(cluster: &Cluster) {
    let namespace = cluster.namespace("group-rights");
    let a = group(namespace, "a", &team("a"));
    let one = ready(namespace, "one", &json!({"team": "a"}));
    for object in [&a, &one] {
        cluster.api.create(object).ok();
    }
    counts(cluster, &a, 1, 1);
    eventually("an Event about a group", SOON, || {
        events(cluster, namespace, "a").contains(&"PolicyMet 1".to_owned()).then_some(())
    });
    for object in [&a, &one] {
        cluster.api.delete(&path(object)).ok();
    }
}

/// Members of the burst; the figures of a thousand are in the docs.
const CROWD: usize = 200;

#[test]
fn a_burst_of_providers_costs_a_bounded_number_of_writes() {
    let size = std::env::var("GROUP_CROWD").ok().and_then(|text| text.parse().ok()).unwrap_or(CROWD);
    let site = borrow_one();
    let namespace = format!("group-burst-{}", std::process::id());
    site.namespace(&namespace);
    let crowd = group(&namespace, "crowd", &team("a"));
    let small = group(&namespace, "small", &team("b"));
    let only = ready(&namespace, "only", &json!({"team": "b"}));
    for object in [&crowd, &small, &only] {
        site.api.create(object).ok();
    }
    let (empty, calm) =
        (status(&site, &crowd, "nobody", |status| status["providerCount"] == 0), counts(&site, &small, 1, 1));
    let began = Instant::now();
    let all: Vec<Value> =
        (0..size).map(|n| ready(&namespace, &format!("p{n}"), &json!({"team": "a"}))).collect();
    for object in &all {
        site.api.create(object).ok();
    }
    let created = began.elapsed();
    let settled_at = eventually("all are ready", Duration::from_secs(180), || {
        let read = site.api.read(&crowd);
        (read["status"]["readyCount"] == size && read["status"]["providerCount"] == size)
            .then(|| began.elapsed())
    });
    let rest = mcp_hangar_operator::group::pace::rest(size);
    let versions = settled(&site, &crowd, version(&empty), rest + Duration::from_secs(1));
    // One look a rest at most, from the first change to the last, and one before and after.
    let bound = usize::try_from(settled_at.as_millis() / Duration::from_secs(1).as_millis()).unwrap() + 2;
    figure(
        "group: a burst",
        format!(
            "{size} providers created in {:.1} s, all counted after {:.1} s, with {} writes of the group's status (bound {bound})",
            created.as_secs_f64(),
            settled_at.as_secs_f64(),
            versions.len()
        ),
    );
    assert!(versions.len() <= bound, "{} writes, {bound} at most", versions.len());
    assert_eq!(history(&site, &small, version(&calm)), [Value::Null; 0], "nobody else's burst");

    // All of them change at once: less than a write for each, by far.
    let before = site.api.read(&crowd);
    let began = Instant::now();
    for object in &all {
        site.api.merge_patch(&path(object), &json!({"spec": {"replicas": 0}})).ok();
    }
    status(&site, &crowd, "all are asleep", |status| status["coldCount"] == size);
    let bound = usize::try_from(began.elapsed().as_millis() / 1000).unwrap() + 2;
    let versions = settled(&site, &crowd, version(&before), rest + Duration::from_secs(1));
    figure("group: all change", format!("{size} providers, {} writes of the group's status", versions.len()));
    assert!(versions.len() <= bound, "{} writes, {bound} at most", versions.len());
    let ready = condition(&site.api.read(&crowd), "Ready");
    assert_eq!(ready["reason"], "PolicyMet", "asleep is available");
    for object in all.iter().chain([&only, &crowd, &small]) {
        site.api.delete(&path(object)).ok();
    }
}

#[test]
fn an_operator_that_is_killed_and_started_again_writes_no_group() {
    let mut site = borrow_one();
    let namespace = format!("group-restart-{}", std::process::id());
    site.namespace(&namespace);
    let server = Server::start();
    let mut probed = provider(&namespace, "probed", &remote(&server.fake.url()));
    probed["metadata"]["labels"] = json!({"team": "a"});
    let members = [ready(&namespace, "plain", &json!({"team": "a"})), probed];
    let groups = [
        group(&namespace, "a", &team("a")),
        group(&namespace, "all", &json!({"selector": {}})),
        group(&namespace, "none", &team("none")),
    ];
    for object in members.iter().chain(&groups) {
        site.api.create(object).ok();
    }
    counts(&site, &groups[0], 2, 2);
    counts(&site, &groups[1], 2, 2);
    status(&site, &groups[2], "nobody", |status| status["providerCount"] == 0);
    for object in &groups {
        settled(&site, object, version(&site.api.read(object)), Duration::from_secs(2));
    }
    let versions =
        || groups.iter().map(|object| version(&site.api.read(object)).to_owned()).collect::<Vec<_>>();
    let before = versions();
    site.operator.kill();
    site.restart_operator();
    let metrics = Metrics::of(&site.operator);
    let looks = r#"mcp_operator_reconcile_total{controller="group",result="success"}"#;
    // The Lease of a killed leader runs out first.
    eventually("the new process has looked at every group", LONG, || {
        (metrics.value(looks) >= Some(3.0)).then_some(())
    });
    let asked = server.fake.requests.lock().unwrap().len();
    eventually("and has asked the server again", SOON, || {
        (server.fake.requests.lock().unwrap().len() >= asked + 6).then_some(())
    });
    let after: Vec<_> = groups.iter().map(|object| version(&site.api.read(object)).to_owned()).collect();
    assert_eq!(after, before);
    for object in members.iter().chain(&groups) {
        site.api.delete(&path(object)).ok();
    }
}

#[test]
fn of_two_replicas_only_the_leader_writes_and_the_other_goes_on_where_it_ended() {
    let mut fleet = Fleet::start("group-fleet", 2, &[]);
    let namespace = fleet.cluster.namespace("group-fleet");
    let a = group(namespace, "a", &team("a"));
    for object in [&a, &ready(namespace, "one", &json!({"team": "a"}))] {
        eventually("it is taken", SOON, || (fleet.cluster.api.create(object).code == 201).then_some(()));
    }
    let one = counts(&fleet.cluster, &a, 1, 1);
    let leader = fleet.leader();
    let looks = r#"mcp_operator_reconcile_total{controller="group",result="success"}"#;
    // It is counted after the write that was seen.
    eventually("the leader counts its looks", SOON, || fleet.replicas[leader].metric(looks));
    for (index, replica) in fleet.replicas.iter().enumerate() {
        assert_eq!(replica.metric(looks).is_some(), index == leader, "{}", replica.name);
    }
    fleet.kill(leader);
    let late = ready(namespace, "two", &json!({"team": "a"}));
    eventually("it is taken", SOON, || (fleet.cluster.api.create(&late).code == 201).then_some(()));
    counts(&fleet.cluster, &a, 2, 2);
    let versions = settled(&fleet.cluster, &a, version(&one), Duration::from_secs(2));
    let told: Vec<_> = versions.iter().map(|it| it["status"]["providerCount"].clone()).collect();
    assert!(!told.is_empty() && told.len() <= 3 && told.iter().all(|count| *count == 2), "{told:?}");
}
