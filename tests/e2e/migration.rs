//! Storage migration, from the CRDs of a first release to ours, looked at where it counts: in etcd.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::path;
use crate::cluster::{Cluster, eventually};
use crate::figures::figure;
use crate::fleet::{Fleet, LONG, Metrics};
use crate::operator::{LOOPBACK, Operator};
use crate::past::{RESOURCES, all, in_store, object, past, said};
use crate::store::{Stored, count, stored};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OBJECTS: usize = 1_200;
/// Objects a second: more than the default, so that the test is not all waiting, and less than this machine could.
const RATE: u32 = 30;

fn crd(cluster: &Cluster, resource: &str) -> Value {
    cluster.api.get(&format!("{CRDS}/{resource}.mcp-hangar.io")).ok()
}

fn note(cluster: &Cluster, resource: &str) -> Option<Value> {
    let crd = crd(cluster, resource);
    let text = crd["metadata"]["annotations"]["mcp-hangar.io/storage-migration"].as_str()?;
    Some(serde_json::from_str(text).unwrap())
}

fn stored_versions(cluster: &Cluster, resource: &str) -> Value {
    crd(cluster, resource)["status"]["storedVersions"].clone()
}

/// Writes are counted: the controllers, which write statuses, look elsewhere.
const ELSEWHERE: &str = "--watch-namespaces=elsewhere";

/// An operator at an address that outlives it, like that of a Service.
fn operator(cluster: &Cluster, name: &str, port: u16, rate: u32) -> (Operator, Metrics) {
    let rate = format!("--migrate-rate={rate}");
    let (address, url) =
        (format!("--webhook-addr=127.0.0.1:{port}"), format!("--webhook-url=https://127.0.0.1:{port}"));
    let flags = [
        &address,
        &url,
        "--leader-elect-lease-duration=3s",
        "--leader-elect-renew-deadline=2s",
        "--leader-elect-retry-period=500ms",
        &rate,
        ELSEWHERE,
    ];
    let operator = Operator::start(&cluster.folder, name, &[LOOPBACK.as_slice(), &flags].concat());
    let metrics = Metrics::of(&operator);
    (operator, metrics)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Objects that this process has done.
fn done(metrics: &Metrics) -> f64 {
    let of = |resource| format!("mcp_operator_storage_migration_done_total{{resource=\"{resource}\"}}");
    RESOURCES.iter().map(|resource| metrics.value(&of(resource)).unwrap_or_default()).sum()
}

fn event(cluster: &Cluster, type_: &str, reason: &str, words: &str) -> String {
    eventually(&format!("{reason}: {words}"), LONG, || {
        let events = cluster.kubectl(&["get", "events", "-n", "mcp-system", "--no-headers"], "");
        let is_it = |line: &&str| line.contains(type_) && line.contains(reason) && line.contains(words);
        events.stdout.lines().find(is_it).map(str::to_owned)
    })
}

#[test]
fn objects_of_the_first_release_are_all_stored_anew_though_the_operator_is_killed_half_way() {
    let cluster = past("migration", OBJECTS);
    // As an update by hand does it, whose patch of managedFields is not forbidden.
    let marked = object(60);
    let mut fields = cluster.api.read(&marked)["metadata"]["managedFields"].clone();
    let mut older = fields[0].clone();
    older["apiVersion"] = json!("mcp-hangar.io/v1alpha0");
    older["manager"] = json!("ancient");
    fields.as_array_mut().unwrap().push(older);
    cluster.api.merge_patch(&path(&marked), &json!({"metadata": {"managedFields": fields}})).ok();

    let before = all(&cluster);
    let etcd_before = in_store(&cluster);
    assert_eq!((before.len(), etcd_before.len()), (OBJECTS, OBJECTS));
    assert!(etcd_before.values().all(|stored| stored.version == "v1alpha1"));
    cluster.kubectl(&["apply", "-f", "deploy/crds"], "").ok();
    assert_eq!(stored_versions(&cluster, RESOURCES[0]), json!(["v1alpha1", "v1beta1"]));

    // The first process gets about a third of the way.
    let port = free_port();
    let (mut first, _) = operator(&cluster, "first", port, RATE);
    let third = OBJECTS / 3;
    explained(&first, || {
        eventually("a third is written", LONG * 3, || {
            (count(&cluster, RESOURCES[0], "v1beta1") >= third).then_some(())
        });
    });
    first.kill();
    let written = in_store(&cluster).values().filter(|stored| stored.version == "v1beta1").count();
    let noted: u64 = RESOURCES
        .iter()
        .filter_map(|resource| note(&cluster, resource))
        .map(|note| note["done"].as_u64().unwrap())
        .sum();
    assert!(noted > 0 && written < OBJECTS, "{noted} {written}");

    // The second goes on where the first was.
    let (second, metrics) = operator(&cluster, "second", port, RATE);
    let resumed = second.said("goes on after");
    let began = (Instant::now(), done(&metrics));
    let rate = explained(&second, || finishes(&cluster, &metrics, began));
    for resource in RESOURCES {
        eventually("its note is gone", LONG, || note(&cluster, resource).is_none().then_some(()));
    }

    let etcd_after = in_store(&cluster);
    assert_eq!(etcd_after.keys().collect::<Vec<_>>(), etcd_before.keys().collect::<Vec<_>>());
    for (key, after) in &etcd_after {
        let expected = Stored { version: "v1beta1".into(), writes: etcd_before[key].writes + 1 };
        assert_eq!(after, &expected, "{key}");
    }
    let after = all(&cluster);
    assert_eq!(before.len(), after.len());
    let mut leaf_count = 0;
    for (path, before) in &before {
        let (before, after) = (said(before), said(&after[path]));
        leaf_count += before.len();
        assert_eq!(before, after, "{path}");
    }
    let again = done(&metrics) - f64::from(u32::try_from(OBJECTS).unwrap() - u32::try_from(written).unwrap());
    figure(
        "migration",
        format!(
            "{OBJECTS} objects in 3 kinds, 0 left in v1alpha1, each written to etcd once; {leaf_count} leaves as v1alpha1 the same before and after; \
             killed after {written} ({noted} noted), {again} of them sent again; {rate:.1} a second at --migrate-rate {RATE}"
        ),
    );
    assert!(rate <= f64::from(RATE) * 1.05, "{rate}");
    assert!(resumed["message"].as_str().unwrap().contains(" objects are done"), "{resumed}");
    follow_ups(&cluster, &metrics, &marked);
}

/// Waits until all is done; objects a second.
fn finishes(cluster: &Cluster, metrics: &Metrics, began: (Instant, f64)) -> f64 {
    let mut last = (Instant::now(), done(metrics));
    eventually("storedVersions shrink", LONG * 4, || {
        let now = (Instant::now(), done(metrics));
        if now.1 > last.1 {
            last = now;
        }
        let shrunk = |resource: &&str| stored_versions(cluster, resource) == json!(["v1beta1"]);
        std::thread::sleep(Duration::from_millis(200));
        RESOURCES.iter().all(shrunk).then_some(())
    });
    (last.1 - began.1) / (last.0 - began.0).as_secs_f64()
}

/// Does something, and shows the log when that fails.
fn explained<T>(operator: &Operator, work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let log = operator.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("the end of the operator's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        std::panic::resume_unwind(panic)
    })
}

/// What else is true afterwards.
fn follow_ups(cluster: &Cluster, metrics: &Metrics, marked: &Value) {
    // No rule was asked, and there are some now.
    assert!(!metrics.text().contains("operation=\"UPDATE\""), "{}", metrics.text());
    for number in [0, 12, 24, 36, 48] {
        let mut object = object(number);
        object["metadata"]["name"] = json!("refused-today");
        assert!(cluster.api.create_dry(&object).message().contains("[HGR"), "{object}");
    }
    // The mark of the older version is gone, and the object can be applied to.
    let fields = cluster.api.read(marked)["metadata"]["managedFields"].clone();
    assert!(!fields.to_string().contains("v1alpha0") && fields.to_string().contains("v1alpha1"), "{fields}");
    let mine = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
        "metadata": {"name": marked["metadata"]["name"], "namespace": marked["metadata"]["namespace"], "labels": {"applied": "yes"}}});
    cluster.api.apply(&mine, "ci", "").ok();

    event(cluster, "Normal", "StorageMigrationStarted", "goes on after");
    for (resource, count) in RESOURCES.iter().zip([1_000, 100, 100]) {
        let words = format!("{resource}: {count} objects were written in v1beta1");
        event(cluster, "Normal", "StorageMigrationFinished", &words);
    }
}

#[test]
fn statement_7_a_cold_start_over_objects_of_the_old_version_becomes_ready() {
    let cluster = past("cold", 60);
    cluster.kubectl(&["apply", "-f", "deploy/crds"], "").ok();
    let hub = |resource: &str| cluster.api.get(&format!("/apis/mcp-hangar.io/v1beta1/{resource}"));
    assert_eq!(count(&cluster, RESOURCES[0], "v1alpha1"), 50);
    let (mut times, mut reads, port) = (Vec::new(), Vec::new(), free_port());
    // Once with the objects as they are, and once more after the storage version was migrated.
    for (name, rate) in [("cold", 0), ("again", 0), ("migrating", 1_000)] {
        // Later the API server's cache has them in this version.
        for resource in RESOURCES.iter().filter(|_| times.is_empty()) {
            eventually("nobody answers the API server's conversions: 0 replicas", LONG, || {
                // Its cache never gets to initialize, which is a 429.
                matches!(hub(resource).code, 429 | 500..).then_some(())
            });
        }
        let began = Instant::now();
        let (mut operator, metrics) = operator(&cluster, name, port, rate);
        eventually("it is ready", LONG, || metrics.is_ready().then_some(()));
        times.push(began.elapsed().as_secs_f64());
        for resource in RESOURCES {
            eventually("the API server reads them in the version they are stored in", LONG, || {
                (hub(resource).code == 200).then_some(())
            });
        }
        reads.push(began.elapsed().as_secs_f64());
        if rate == 0 {
            assert_eq!(count(&cluster, RESOURCES[0], "v1alpha1"), 50, "nobody was asked to migrate");
            operator.kill();
            continue;
        }
        for resource in RESOURCES {
            eventually("all are stored anew", LONG, || {
                (stored_versions(&cluster, resource) == json!(["v1beta1"])).then_some(())
            });
            assert_eq!(count(&cluster, resource, "v1alpha1"), 0);
        }
        operator.kill();
        assert!(
            RESOURCES.iter().all(|resource| hub(resource).code == 200),
            "readable with 0 replicas from now on"
        );
    }
    figure(
        "statement 7",
        format!(
            "60 objects stored in v1alpha1, 0 replicas: 3 cold starts ready after {times:.1?} s, the stored version readable after {reads:.1?} s"
        ),
    );
}

/// Has new objects of the kind stored in that version.
fn store_as(cluster: &Cluster, version: &str) {
    let crd = crd(cluster, RESOURCES[0]);
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let patch: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(at, found)| json!({"op": "replace", "path": format!("/spec/versions/{at}/storage"), "value": found["name"] == version}))
        .collect();
    cluster.api.json_patch(&format!("{CRDS}/{}.mcp-hangar.io", RESOURCES[0]), &json!(patch)).ok();
    let probe = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": "probe", "namespace": "default"}, "spec": {"mode": "Container", "container": {"image": "acme/tools:1"}}});
    eventually("objects are stored in the other version", LONG, || {
        let created = cluster.api.create(&probe).code == 201;
        let right = stored(cluster, RESOURCES[0])
            .get("default/probe")
            .is_some_and(|stored| stored.version == version);
        if created {
            cluster.api.delete(&path(&probe));
        }
        right.then_some(())
    });
}

fn good(name: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": name, "namespace": "default"},
        "spec": {"mode": "container", "image": "acme/tools:1"}})
}

/// A fleet over this many objects that are stored as v1alpha1, and must not be for much longer.
fn behind(name: &str, size: usize, rate: u32, objects: usize) -> Fleet {
    let rate = format!("--migrate-rate={rate}");
    let fleet = Fleet::start(name, size, &[&rate, ELSEWHERE]);
    store_as(&fleet.cluster, "v1alpha1");
    for number in 0..objects {
        fleet.cluster.api.create(&good(&format!("object-{number:03}"))).ok();
    }
    assert_eq!(count(&fleet.cluster, RESOURCES[0], "v1alpha1"), objects);
    fleet
}

#[test]
fn an_object_that_cannot_be_written_is_named_and_tried_again_and_holds_up_no_other() {
    let fleet = behind("stuck", 1, 20, 40);
    let cluster = &fleet.cluster;
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let policy = json!({"metadata": {"name": "stuck"}, "spec": {"failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": ["mcp-hangar.io"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["mcpproviders"]}]},
        "validations": [{"expression": "object.metadata.name != 'object-007'", "message": "nobody may touch this one"}]}});
    cluster.api.post(policies, &policy).ok();
    let binding = json!({"metadata": {"name": "stuck"}, "spec": {"policyName": "stuck", "validationActions": ["Deny"]}});
    cluster.api.post(bindings, &binding).ok();
    let touch = json!({"metadata": {"labels": {"touched": "yes"}}});
    let touched =
        |name: &str| cluster.api.merge_patch(&format!("{}?dryRun=All", path(&good(name))), &touch).code;
    eventually("the policy holds", LONG, || (touched("object-007") == 422).then_some(()));

    let began = Instant::now();
    store_as(cluster, "v1beta1");
    let left =
        || stored(cluster, RESOURCES[0]).into_iter().filter(|(_, stored)| stored.version == "v1alpha1");
    let keys = || left().map(|(key, _)| key).collect::<Vec<_>>();
    eventually("all others are stored anew", LONG, || (keys() == ["default/object-007"]).then_some(()));
    let others = began.elapsed();
    let told = event(cluster, "Warning", "StorageMigrationFailed", "default/object-007");
    assert!(told.contains("nobody may touch this one") && told.contains("1 objects cannot"), "{told}");
    let replica = &fleet.replicas[0];
    let series = |name: &str| {
        replica.metric(&format!("mcp_operator_storage_migration_{name}{{resource=\"mcpproviders\"}}"))
    };
    assert_eq!((series("remaining"), series("failed")), (Some(0.0), Some(1.0)));
    assert_eq!(note(cluster, RESOURCES[0]).unwrap()["failed"], json!(["default/object-007"]));
    assert_eq!(stored_versions(cluster, RESOURCES[0]), json!(["v1beta1", "v1alpha1"]));

    cluster.api.delete(&format!("{bindings}/stuck")).ok();
    cluster.api.delete(&format!("{policies}/stuck")).ok();
    let mended = Instant::now();
    eventually("it is tried again", LONG, || {
        (stored_versions(cluster, RESOURCES[0]) == json!(["v1beta1"])).then_some(())
    });
    assert_eq!(keys(), [""; 0]);
    event(cluster, "Normal", "StorageMigrationFinished", "40 objects were written");
    eventually("its note is gone", LONG, || note(cluster, RESOURCES[0]).is_none().then_some(()));
    assert_eq!(series("failed"), Some(0.0));
    figure(
        "migration",
        format!(
            "1 of 40 objects refused by a policy: the other 39 stored anew after {:.1} s, it is named, and done {:.1} s after the policy is gone",
            others.as_secs_f64(),
            mended.elapsed().as_secs_f64()
        ),
    );
}

#[test]
fn a_migration_by_somebody_else_is_noticed_and_what_others_write_counts_as_done() {
    let fleet = behind("foreign", 1, 4, 24);
    let cluster = &fleet.cluster;
    store_as(cluster, "v1beta1");
    eventually("it has begun", LONG, || note(cluster, RESOURCES[0]));
    // One deletes, one writes, and the API server's own migrator does the rest and shrinks the list.
    cluster.api.delete(&path(&good("object-022"))).ok();
    cluster.api.merge_patch(&path(&good("object-023")), &json!({"metadata": {"labels": {"a": "b"}}})).ok();
    let writes = |name: &str| stored(cluster, RESOURCES[0])[&format!("default/{name}")].writes;
    let version = cluster.api.read(&good("object-023"))["metadata"]["resourceVersion"].clone();
    let status = json!({"status": {"storedVersions": ["v1beta1"]}});
    cluster.api.merge_patch(&format!("{CRDS}/{}.mcp-hangar.io/status", RESOURCES[0]), &status).ok();
    eventually("its note is gone", LONG, || note(cluster, RESOURCES[0]).is_none().then_some(()));
    assert_eq!(stored_versions(cluster, RESOURCES[0]), json!(["v1beta1"]));
    assert_eq!(count(cluster, RESOURCES[0], "v1beta1"), 23);
    // Created and labelled; an object in the right version is not written once more.
    assert_eq!(writes("object-023"), 2);
    assert_eq!(cluster.api.read(&good("object-023"))["metadata"]["resourceVersion"], version);
    assert!(!fleet.replicas[0].operator.log().contains("StorageMigrationFailed"));
}

#[test]
fn a_leader_that_is_stopped_in_the_middle_is_followed_by_another_and_does_no_harm_when_it_wakes() {
    let fleet = behind("asleep", 2, 10, 150);
    let cluster = &fleet.cluster;
    let leader = fleet.leader();
    // The API server's conversions go to the other one, which stays awake.
    fleet.detach(leader);
    let (old, new) = (&fleet.replicas[leader], &fleet.replicas[1 - leader]);
    store_as(cluster, "v1beta1");
    let written = || count(cluster, RESOURCES[0], "v1beta1");
    eventually("some are written", LONG, || (written() >= 10).then_some(()));
    let (began, first) = (Instant::now(), written());
    let at = eventually("a third is written", LONG, || Some(written()).filter(|written| *written >= 50));
    let rate = f64::from(u32::try_from(at - first).unwrap()) / began.elapsed().as_secs_f64();
    old.operator.signal("STOP");
    let stopped = Instant::now();
    eventually("the other one leads", LONG, || new.leads().then_some(()));
    let took = stopped.elapsed();
    new.operator.said("goes on after");
    eventually("more is written", LONG, || (count(cluster, RESOURCES[0], "v1beta1") > at + 10).then_some(()));
    old.operator.signal("CONT");
    eventually("all are stored anew", LONG, || {
        (stored_versions(cluster, RESOURCES[0]) == json!(["v1beta1"])).then_some(())
    });
    eventually("its note is gone", LONG, || note(cluster, RESOURCES[0]).is_none().then_some(()));
    let all = stored(cluster, RESOURCES[0]);
    assert_eq!(all.len(), 150);
    assert!(all.values().all(|stored| stored.version == "v1beta1" && stored.writes == 2), "{all:?}");
    assert!(new.leads() && !old.leads());
    let (first, second) = (Metrics::of(&old.operator), Metrics::of(&new.operator));
    let sent = (done(&first), done(&second));
    figure(
        "migration",
        format!(
            "{rate:.1} a second at --migrate-rate 10; leader stopped after {at} of 150: followed after {:.1} s (terms of 3 s), woken, 0 objects written twice; {} + {} patches sent",
            took.as_secs_f64(),
            sent.0,
            sent.1
        ),
    );
    assert!(rate <= 10.5, "{rate} a second");
    assert!(sent.0 + sent.1 < 150.0 + 60.0, "{sent:?}");
}
