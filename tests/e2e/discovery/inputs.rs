//! What people and accidents write where discovery reads, on a real API server: told at its item, bounded, and harmless.

use std::fmt::Write as _;

use super::*;

const SAFE: &str = "{endpoint: 'https://a.example.com/mcp'}";

fn error_at<'a>(status: &'a Value, name: &str) -> &'a str {
    let all = status["status"]["discoveredProviders"].as_array().unwrap();
    let found = all.iter().find(|it| it["name"] == name);
    found.and_then(|it| it["error"].as_str()).unwrap_or_default()
}

/// The status once what was read last is told in it.
fn told(cluster: &Cluster, source: &Value, says: &str) -> Value {
    status(cluster, source, says, |status| status.to_string().contains(says))
}

fn quiet(more: &Value) -> Value {
    let mut all = json!({"providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn each_bad_item_is_told_where_it_stands_and_the_good_ones_are_made() {
    let site = shared();
    let namespace = site.namespace("discovery-items");
    let text = format!(
        "providers:\n  good: {SAFE}\n  listed: [1, 2]\n  texted: hello\n  nothing:\n  twice: {{endpoint: a, endpoint: b}}\n  \
         Same: {SAFE}\n  same: {SAFE}\n  unknown: {{imagee: 'r.example/a:1'}}\n  both: {{image: 'r.example/a:1', endpoint: 'https://a'}}\n  \
         deep: {{container: {{image: 'r.example/a:1', bogus: {{a: 1}}}}}}\n  metadata: {{metadata: {{labels: {{a: b}}}}, image: 'r.example/a:1'}}\n  \
         '天気': {SAFE}\n  7: {SAFE}\n"
    );
    write(&site, namespace, "m", &text);
    let catalogue = of_map(namespace, &quiet(&json!({"refreshInterval": "1h"})));
    site.api.create(&catalogue).ok();
    there_are(&site, namespace, "good mcp-7 same");
    let told = told(&site, &catalogue, "天気");
    for (name, says) in [
        ("listed", "line 3: must be a map"),
        ("texted", "line 4: must be a map"),
        ("nothing", "line 5: must be a map"),
        ("twice", "line 6: the key endpoint is there twice"),
        ("unknown", "line 9: \"imagee\" is no field of a provider; did you mean image?"),
        ("both", "line 10: mode: must be set where there are both"),
        ("deep", "bogus"),
        ("metadata", "\"metadata\" is no field of a provider"),
        ("天気", "no name can be made of it"),
    ] {
        let error = error_at(&told, name);
        assert!(error.contains(says), "{name}: {error:?} in {}", told["status"]);
    }
    let all = told["status"]["discoveredProviders"].as_array().unwrap();
    let same: Vec<_> =
        all.iter().filter(|it| it["name"] == "same").map(|it| it["error"].to_string()).collect();
    assert!(same.len() == 2 && same.iter().any(|it| it.contains("is taken by")), "{same:?}");
    assert_eq!(condition(&told, "Ready")["reason"], "Synced");
}

#[test]
fn large_and_hostile_texts_are_refused_in_bounded_time_and_nothing_is_deleted() {
    let site = shared();
    let _alone = ALONE.lock();
    let namespace = site.namespace("discovery-large");
    write(&site, namespace, "m", &format!("providers: {{a: {SAFE}, b: {SAFE}}}"));
    let catalogue = of_map(namespace, &quiet(&json!({"filters": {"maxProviders": 3}})));
    site.api.create(&catalogue).ok();
    there_are(&site, namespace, "a b");
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let entries = |count: usize| {
        let entry = |n: usize| format!("  p{n}: {SAFE}\n");
        format!("providers:\n  a: {SAFE}\n  b: {SAFE}\n{}", (0..count - 2).map(entry).collect::<String>())
    };
    for (what, text, says) in [
        ("aliases that multiply", bomb + "providers: *a11\n", "providers.yaml: "),
        ("a deep nest", format!("providers: {}", "[".repeat(100_000)), "providers.yaml: "),
        ("a megabyte of one word", "x".repeat(1_000_000), "no key providers"),
        (
            "a megabyte of items without a name",
            format!("providers:\n{}", "- {}\n".repeat(190_000)),
            "providers.yaml: ",
        ),
        ("10,001 items", entries(10_001), "more than 10000 items were found"),
    ] {
        let began = Instant::now();
        write(&site, namespace, "m", &text);
        let told = status(&site, &catalogue, what, |status| {
            status["lastSyncError"].as_str().is_some_and(|error| error.contains(says))
        });
        figure("discovery", format!("{what}: told after {:?}", began.elapsed()));
        assert_eq!(condition(&told, "Pruning")["reason"], "ScanIncomplete", "{what}");
        let there = names(&site, namespace);
        assert!(there.starts_with("a b"), "{what}: {there}");
        // Another text between two, so that the next error is news.
        write(&site, namespace, "m", &format!("providers: {{a: {SAFE}, b: {SAFE}}}"));
        said(&site, &catalogue, "Ready", "Synced");
        there_are(&site, namespace, "a b");
    }
    let began = Instant::now();
    write(&site, namespace, "m", &entries(10_000));
    there_are(&site, namespace, "a b p0");
    let told = told(&site, &catalogue, "beyond spec.filters.maxProviders (3)");
    figure("discovery", format!("10,000 items, of which 3 are made: {:?}", began.elapsed()));
    assert_eq!(told["status"]["discoveredProviders"].as_array().unwrap().len(), 1_000);
    assert!(told["status"].to_string().len() < 300_000);
}

#[test]
fn a_copy_of_a_discovered_provider_is_nobodys_and_a_spoilt_mark_is_put_right() {
    let site = shared();
    let namespace = site.namespace("discovery-copied");
    write(&site, namespace, "m", &format!("providers: {{a: {SAFE}, b: {SAFE}}}"));
    let catalogue = of_map(namespace, &quiet(&json!({"refreshInterval": "3s"})));
    site.api.create(&catalogue).ok();
    there_are(&site, namespace, "a b");
    let a = provider(namespace, "a", &Value::Null);
    let mut copy = site.api.read(&a);
    let meta = copy["metadata"].as_object_mut().unwrap();
    for of_the_server in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        meta.remove(of_the_server);
    }
    meta.insert("name".into(), json!("mine"));
    site.api.create(&copy).ok();
    let spoil = json!({"metadata": {"annotations": {"mcp-hangar.io/discovered-by": "catalogue/nonsense"}}});
    let spoilt = site.api.merge_patch(&path(&a), &spoil).ok();
    there_stay(&site, namespace, "a b mine");
    let mended = eventually("the mark is put right", SOON, || {
        Some(site.api.read(&a)).filter(|it| {
            let by = it["metadata"]["annotations"]["mcp-hangar.io/discovered-by"].as_str();
            by == Some(&format!("catalogue/ConfigMap/{namespace}/m/a"))
        })
    });
    assert_eq!(mended["metadata"]["uid"], spoilt["metadata"]["uid"]);
    write(&site, namespace, "m", &format!("providers: {{b: {SAFE}, mine: {SAFE}}}"));
    there_are(&site, namespace, "b mine");
    assert!(error_of(&site, &catalogue, "mine").contains("was copied from another one"));
    let told = said(&site, &catalogue, "Pruning", "Pruned");
    assert!(told.starts_with("deleted, not found any more: a, at "), "{told}");
}

#[test]
fn a_namespace_that_is_being_deleted_is_away_and_its_services_were_not_taken_out() {
    let site = shared();
    let namespace = site.namespace("discovery-dying");
    let team = "discovery-dying-team";
    site.namespace(team);
    let labels = json!({"metadata": {"labels": {"discovery-dying": "yes"}}});
    for name in [namespace, team] {
        site.api.merge_patch(&format!("/api/v1/namespaces/{name}"), &labels).ok();
    }
    let ports = json!([{"port": 9000, "name": "mcp"}]);
    for (here, name) in [(namespace, "stays"), (team, "goes")] {
        let service = service(here, name, &json!({}), &json!({}), &ports);
        site.api.post(&format!("/api/v1/namespaces/{here}/services"), &service).ok();
    }
    let spec = json!({"type": "ServiceDiscovery", "serviceDiscovery": {}, "mode": "Authoritative", "refreshInterval": "8s",
        "namespaceSelector": {"matchLabels": {"discovery-dying": "yes"}},
        "providerTemplate": {"spec": {"healthCheck": {"enabled": false}}}});
    let source = source(namespace, "ports", &spec);
    site.api.create(&source).ok();
    there_are(&site, namespace, "goes stays");
    // As the controller of namespaces does it: what is in it goes first.
    site.api.delete(&format!("/api/v1/namespaces/{team}")).ok();
    site.api.delete(&format!("/api/v1/namespaces/{team}/services/goes")).ok();
    let told = said(&site, &source, "Pruning", "PlaceAway");
    assert!(told.contains(": goes"), "{told}");
    assert_eq!(names(&site, namespace), "goes stays");
    there_are(&site, namespace, "stays");
}
