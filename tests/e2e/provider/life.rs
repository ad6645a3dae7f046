//! A provider from Cold to Ready, failing, given up, recovering, asleep and awake.

use serde_json::json;

use super::*;

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

    let expected = ["ProviderReady 1", "HealthCheckFailing 1", "CircuitOpen 1", "CircuitClosed 1"];
    tells(&site, namespace, "weather", &expected);
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

    // Mended as it says: it is tried at once, and not when its wait of 10 s is over.
    let server = Server::start();
    let began = Instant::now();
    let endpoint = json!({"spec": {"remote": {"endpoint": server.fake.url()}}});
    site.api.merge_patch(&crate::api::path(&portal), &endpoint).ok();
    state(&site, &portal, "Ready");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    site.api.delete(&crate::api::path(&portal)).ok();
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
    run_pods(&site, &path, 1);
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
    run_pods(&site, &path, 0);
    let wake = json!({"metadata": {"annotations": {"mcp-hangar.io/wake": "2999-01-01T00:00:00Z"}}});
    site.api.merge_patch(&crate::api::path(&tools), &wake).ok();
    state(&site, &tools, "Initializing");
    eventually("one pod", SOON, || (object(&site, &path)["spec"]["replicas"] == 1).then_some(()));
    assert_eq!(site.api.read(&tools)["spec"]["replicas"], 0, "the wish stays");

    let server = Server::start();
    let mut spec = remote(&server.fake.url());
    spec["replicas"] = json!(1);
    spec["container"] = Value::Null;
    site.api.merge_patch(&crate::api::path(&tools), &json!({"spec": spec})).ok();
    eventually("nothing of the container is left", SOON, || {
        let all = [path.clone(), service(namespace, "tools"), service(namespace, "tools-pods")];
        all.iter().all(|path| object(&site, path).is_null()).then_some(())
    });
    state(&site, &tools, "Ready");
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
    run_pods(&site, &path, 2);
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
