//! What users may get wrong: a spec that no webhook has seen, names that are taken, Secrets and ConfigMaps that are not there.

use serde_json::json;

use super::*;
use crate::past::past;

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
fn a_secret_that_is_missing_is_named_and_picked_up_at_once_and_so_is_a_new_value() {
    let mut site = borrow_one();
    replace(&mut site, &["--secret-namespaces=*"]);
    let namespace = site.cluster.namespace("provider-token");
    let server = Server::start();
    let mut spec = remote(&server.fake.url());
    // A probe every minute: what is seen sooner was seen at once.
    spec["healthCheck"] = json!({"interval": "60s"});
    spec["lifecycle"] = json!({"startupTimeout": "10m"});
    spec["remote"]["headersFrom"] =
        json!([{"name": "Authorization", "secretKeyRef": {"name": "token", "key": "value"}}]);
    let closed = provider(namespace, "closed", &spec);
    site.api.create(&closed).ok();
    let names = |text: &str| {
        status(&site, &closed, text, |status| status["conditions"].to_string().contains(text));
    };
    names("Secret token does not exist");
    assert_eq!(server.requests(), 0, "nobody is asked without the header");
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    site.api.post(&secrets, &json!({"metadata": {"name": "token"}, "stringData": {"other": "x"}})).ok();
    names("Secret token with the key value does not exist");
    assert_eq!(server.requests(), 0);
    let sent = |value: &str| {
        let began = Instant::now();
        let header = format!("Bearer {value}");
        let patch = json!({"stringData": {"value": header}});
        site.api.merge_patch(&format!("{secrets}/token"), &patch).ok();
        eventually("the header is sent", SOON, || {
            let requests = server.fake.requests.lock().unwrap();
            requests.iter().any(|request| request.head.contains(&header)).then_some(())
        });
        began.elapsed()
    };
    let first = sent("one");
    state(&site, &closed, "Ready");
    let second = sent("two");
    let at_once = Duration::from_secs(5);
    assert!(first < at_once && second < at_once, "{first:?} {second:?}");
    figure(
        "provider",
        format!("a Secret that appears is used after {first:?}, a new value after {second:?}"),
    );
    assert!(!site.operator.log().contains("Bearer"));
    site.api.delete(&crate::api::path(&closed)).ok();
    put_back(&mut site);
}

#[test]
fn what_was_stored_when_there_were_no_rules_is_named_one_by_one_and_troubles_no_other() {
    let cluster = past("provider-past", 120);
    let operator = Operator::start(
        &cluster.folder,
        "operator",
        &[beside().as_slice(), &["--leader-elect=false"]].concat(),
    );
    let all = || {
        let list = cluster.api.get("/apis/mcp-hangar.io/v1alpha1/mcpproviders");
        list.body["items"].as_array().cloned().unwrap_or_default()
    };
    let all = eventually("each has a status of its own", SOON, || {
        let all = all();
        let is_told = |object: &Value| object["status"]["state"].is_string();
        (all.len() == 100 && all.iter().all(is_told)).then_some(all)
    });
    let (mut spoilt, mut good) = (0, 0);
    for object in &all {
        let ready = condition(object, "Ready");
        let message = ready["message"].as_str().unwrap();
        if ready["reason"] == "InvalidSpec" {
            assert!(message.starts_with("spec.") && message.contains("[HGR"), "{object:#}");
            spoilt += 1;
        } else {
            assert!(
                ["Initializing", "Cold"].contains(&object["status"]["state"].as_str().unwrap()),
                "{object:#}"
            );
            good += 1;
        }
    }
    assert_eq!((spoilt, good), (50, 50));
    let looks = || {
        let text = Metrics::of(&operator).text();
        let all = text.lines().filter_map(|line| line.strip_prefix("mcp_operator_reconcile_total{"));
        all.filter_map(|line| line.split_once("} ")?.1.parse::<f64>().ok()).sum::<f64>()
    };
    let (before, began) = (looks(), Instant::now());
    while began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let more = looks() - before;
    assert!(more <= 100.0, "{more} looks in 5 s at what does not change");
    assert!(!operator.log().contains("panicked"));
    figure("provider", format!("{spoilt} spoilt and {good} good providers of the past: {more} looks in 5 s"));
}
