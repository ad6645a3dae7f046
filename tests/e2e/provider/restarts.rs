//! The operator is killed and started again: nothing is written where nothing is to be written, nothing is lost.

use serde_json::json;

use super::*;

/// The resourceVersions of providers and of what is made for the one with the name `tools`.
fn versions(cluster: &Cluster, namespace: &str, providers: &[Value]) -> Vec<Value> {
    let of = |object: Value| object["metadata"]["resourceVersion"].clone();
    let made =
        [service(namespace, "tools"), service(namespace, "tools-pods"), deployment(namespace, "tools")];
    let made = made.iter().map(|path| of(object(cluster, path)));
    providers.iter().map(|object| of(cluster.api.read(object))).chain(made).collect()
}

#[test]
fn an_operator_that_is_killed_and_started_again_writes_nothing() {
    let mut site = borrow_one();
    let namespace = "provider-restart";
    site.namespace(namespace);
    let server = Server::start();
    let mut all: Vec<Value> =
        (0..20).map(|n| provider(namespace, &format!("r{n}"), &one_of_many(&server.fake.url()))).collect();
    for object in &all {
        site.api.create(object).ok();
    }
    let tools = provider(namespace, "tools", &container());
    site.api.create(&tools).ok();
    for object in &all {
        state(&site, object, "Ready");
    }
    let path = deployment(namespace, "tools");
    eventually("a Deployment", SOON, || (!object(&site, &path).is_null()).then_some(()));
    run_pods(&site, &path, 1);
    state(&site, &tools, "Ready");
    all.push(tools);
    let before = versions(&site, namespace, &all);
    site.operator.kill();
    site.restart_operator();
    let metrics = Metrics::of(&site.operator);
    let asked = server.requests();
    eventually("the new process has looked at all and asked all", SOON, || {
        let looked = metrics.text().matches("state=\"Ready\"} 1").count() >= all.len();
        (looked && server.requests() >= asked + 20 * 3 * 2).then_some(())
    });
    assert_eq!(versions(&site, namespace, &all), before);
    for object in &all {
        site.api.delete(&crate::api::path(object)).ok();
    }
}

/// A stream of numbers that is the same each time.
struct Dice(u64);

impl Dice {
    /// Less than `end`.
    fn roll(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Kills, each at another point of the work.
const KILLS: u64 = 15;
const SEED: u64 = 0x6d63_705f_6861_6e67;

/// What users do in one round: two new providers, one changed, one gone. What is left is true in the end.
fn disturb(site: &Site, namespace: &str, round: u64, url: &str, all: &mut Vec<Value>, gone: &mut Vec<Value>) {
    let new = [
        provider(namespace, &format!("remote{round}"), &one_of_many(url)),
        provider(namespace, &format!("container{round}"), &container()),
    ];
    for object in new {
        // The webhooks are the operator's, and it has just been started.
        eventually("it is taken", SOON, || (site.api.create(&object).code == 201).then_some(()));
        all.push(object);
    }
    let image = json!({"spec": {"container": {"image": format!("r.example/tools:{round}")}}});
    let changed = crate::api::path(&all[1]);
    eventually("it is changed", SOON, || (site.api.merge_patch(&changed, &image).code == 200).then_some(()));
    if round % 3 == 2 {
        let old = all.remove(2);
        site.api.delete(&crate::api::path(&old)).ok();
        gone.push(old);
    }
}

#[test]
fn an_operator_killed_at_any_point_of_its_work_leaves_nothing_undone_and_does_nothing_twice() {
    let mut site = borrow_one();
    site.namespace("provider-kills");
    let namespace = "provider-kills";
    let server = Server::start();
    let mut dice = Dice(SEED);
    let (mut all, mut gone) = (Vec::new(), Vec::new());
    site.operator.kill();
    for round in 0..KILLS {
        begin(&mut site, &[]);
        site.operator.said("listening");
        disturb(&site, namespace, round, &server.fake.url(), &mut all, &mut gone);
        std::thread::sleep(Duration::from_millis(dice.roll(400)));
        for object in all.iter().filter(|object| object["spec"]["mode"] == "Container") {
            let path = deployment(namespace, object["metadata"]["name"].as_str().unwrap());
            if !self::object(&site, &path).is_null() {
                run_pods(&site, &path, 1);
            }
        }
        std::thread::sleep(Duration::from_millis(dice.roll(100)));
        site.operator.kill();
    }
    begin(&mut site, &[]);
    site.serves();
    for object in &all {
        let name = object["metadata"]["name"].as_str().unwrap();
        if object["spec"]["mode"] == "Container" {
            let path = deployment(namespace, name);
            let made = eventually("a Deployment", SOON, || {
                Some(self::object(&site, &path)).filter(|it| !it.is_null())
            });
            run_pods(&site, &path, 1);
            let live = state(&site, object, "Ready");
            let image = &made["spec"]["template"]["spec"]["containers"][0]["image"];
            assert_eq!(*image, live["spec"]["container"]["image"]);
            for service in [service(namespace, name), service(namespace, &format!("{name}-pods"))] {
                let found = self::object(&site, &service);
                assert_eq!(found["metadata"]["ownerReferences"][0]["uid"], live["metadata"]["uid"]);
            }
        } else {
            let live = state(&site, object, "Ready");
            assert_eq!(live["status"]["tools"], json!(["t"]));
        }
    }
    let ready = |object: &Value| {
        let told = events(&site, namespace, object["metadata"]["name"].as_str().unwrap());
        assert!(told.iter().all(|event| event == "ProviderReady 1") && told.len() <= 1, "{told:?}");
        told.len()
    };
    // What is told last may still be on its way.
    let told = eventually("Events", SOON, || {
        let told: usize = all.iter().map(ready).sum();
        (told * 2 > all.len()).then_some(told)
    });
    let before = writes(&site);
    let asked = server.requests();
    eventually("all are asked again", SOON, || (server.requests() > asked + all.len() * 3 * 2).then_some(()));
    assert_eq!(since(&site, &before), BTreeMap::new(), "nothing is left to be written");
    let metrics = Metrics::of(&site.operator).text();
    for object in &gone {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(!metrics.contains(&format!("name=\"{name}\"")), "{name} is gone");
    }
    assert!(!site.operator.log().contains("panicked"));
    figure(
        "provider",
        format!(
            "{KILLS} kills (seed {SEED:#x}): {} providers Ready, {told} of {} Events",
            all.len(),
            all.len()
        ),
    );
    for object in &all {
        site.api.delete(&crate::api::path(object)).ok();
    }
    put_back(&mut site);
}
