//! What a provider costs the API server: six writes at most until it is Ready, and none while nothing changes.

use serde_json::json;

use super::*;

/// Providers of each mode.
const MANY: u64 = 10;

fn counts<const N: usize>(all: [(&str, u64); N]) -> BTreeMap<String, u64> {
    all.into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
}

#[test]
fn a_provider_costs_six_writes_at_most_until_it_is_ready_and_none_while_nothing_changes() {
    let mut site = borrow_one();
    replace(&mut site, &[]);
    let namespace = site.cluster.namespace("provider-cost");
    let server = Server::start();
    let named = |kind: &str, spec: &Value| -> Vec<Value> {
        (0..MANY).map(|n| provider(namespace, &format!("{kind}{n}"), spec)).collect()
    };
    let remotes = named("remote", &one_of_many(&server.fake.url()));
    let containers = named("container", &container());
    let told = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        tells(&site, namespace, name, &["ProviderReady 1"]);
    };

    let before = writes(&site);
    for object in &containers {
        site.api.create(object).ok();
        let path = deployment(namespace, object["metadata"]["name"].as_str().unwrap());
        eventually("a Deployment", SOON, || (!self::object(&site, &path).is_null()).then_some(()));
        state(&site, object, "Initializing");
        // First there are pods, then they are ready.
        let status = json!({"status": {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}});
        site.api.merge_patch(&format!("{path}/status"), &status).ok();
        run_pods(&site, &path, 1);
        state(&site, object, "Ready");
        told(object);
    }
    let cost = since(&site, &before);
    let expected = [
        ("POST mcpproviders", MANY),
        ("PATCH deployments/status", 2 * MANY),
        // The operator's.
        ("APPLY services", 2 * MANY),
        ("APPLY deployments", MANY),
        ("PATCH mcpproviders/status", 2 * MANY),
        ("POST events", MANY),
    ];
    assert_eq!(cost, counts(expected));

    let before = writes(&site);
    for object in &remotes {
        site.api.create(object).ok();
        state(&site, object, "Ready");
        told(object);
    }
    let cost = since(&site, &before);
    let expected =
        [("POST mcpproviders", MANY), ("PATCH mcpproviders/status", 2 * MANY), ("POST events", MANY)];
    assert_eq!(cost, counts(expected));
    figure("provider", "API writes from created to Ready, its Event with them: remote 3, container 6");

    // Every remote one is asked again and again: nothing is written.
    let before = writes(&site);
    let asked = server.requests();
    eventually("all are asked again", SOON, || {
        (server.requests() >= asked + usize::try_from(MANY).unwrap() * 3 * 3).then_some(())
    });
    assert_eq!(since(&site, &before), BTreeMap::new());
    // Whoever counts like this sees a write: one of this test's, and the operator's that puts it right.
    let status = format!("{}/status", crate::api::path(&remotes[0]));
    site.api.merge_patch(&status, &json!({"status": {"toolsCount": 99}})).ok();
    self::status(&site, &remotes[0], "it is put right", |status| status["toolsCount"] == 1);
    assert_eq!(since(&site, &before), counts([("PATCH mcpproviders/status", 2)]));

    for object in remotes.iter().chain(&containers) {
        site.api.delete(&crate::api::path(object)).ok();
    }
    put_back(&mut site);
}
