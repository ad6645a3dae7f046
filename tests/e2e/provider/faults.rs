//! What may go wrong around the operator: servers that hang, an API server that is away or refuses, others who write at the
//! same time. It converges, and asks nobody in a hurry.

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::json;

use super::*;

/// A remote provider whose probes wait for 20 seconds.
fn patient(server: &Fake) -> Value {
    let mut spec = remote(&server.url());
    spec["healthCheck"]["interval"] = json!("20s");
    spec["healthCheck"]["timeout"] = json!("20s");
    spec
}

#[test]
fn a_server_that_hangs_delays_no_other() {
    let site = shared();
    let namespace = site.namespace("provider-slow");
    let hangs = RUNTIME.block_on(Fake::new(|_| Reply::Hang));
    let server = Server::start();
    let spec = patient(&hangs);
    for n in 0..20 {
        site.api.create(&provider(namespace, &format!("slow{n}"), &spec)).ok();
    }
    eventually("all of them are asked", SOON, || (hangs.requests.lock().unwrap().len() >= 20).then_some(()));
    let quick = provider(namespace, "quick", &remote(&server.fake.url()));
    let began = Instant::now();
    site.api.create(&quick).ok();
    state(&site, &quick, "Ready");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn what_happens_while_the_api_server_is_away_is_told_when_it_is_back() {
    let site = borrow_one();
    let namespace = "provider-away";
    site.namespace(namespace);
    let server = Server::start();
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    site.api.create(&weather).ok();
    state(&site, &weather, "Ready");
    site.crash_api_server();
    server.fails(true);
    site.start_api_server();
    state(&site, &weather, "Dead");
    server.fails(false);
    state(&site, &weather, "Ready");
    site.api.delete(&crate::api::path(&weather)).ok();
    site.serves();
}

/// Takes every connection to a port and closes it, for a time; how many came.
fn count_calls(port: u16, lasts: Duration) -> usize {
    let listener =
        eventually("the port is free", SOON, || std::net::TcpListener::bind(("127.0.0.1", port)).ok());
    listener.set_nonblocking(true).unwrap();
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < lasts {
        match listener.accept() {
            Ok(_) => calls += 1,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    calls
}

/// How long the API server is away, and how often it may be called in that time: a dozen watches and one batch of looks,
/// each every few seconds.
const AWAY: Duration = Duration::from_secs(60);
const CALLS: usize = 1000;

#[test]
fn an_api_server_that_is_away_is_not_called_in_a_hurry_and_all_is_told_once_it_is_back() {
    let mut site = borrow_one();
    replace(&mut site, &[]);
    let namespace = site.cluster.namespace("provider-outage");
    let server = Server::start();
    let all: Vec<Value> =
        (0..30).map(|n| provider(namespace, &format!("r{n}"), &one_of_many(&server.fake.url()))).collect();
    for object in &all {
        site.api.create(object).ok();
    }
    for object in &all {
        state(&site, object, "Ready");
    }
    site.crash_api_server();
    server.fails(true);
    let port = std::fs::read_to_string(site.folder.join("port")).unwrap().trim().parse().unwrap();
    let calls = count_calls(port, AWAY);
    let asked = server.requests();
    site.start_api_server();
    let began = Instant::now();
    for object in &all {
        state(&site, object, "Dead");
    }
    let took = began.elapsed();
    server.fails(false);
    for object in &all {
        state(&site, object, "Ready");
    }
    for object in &all {
        let name = object["metadata"]["name"].as_str().unwrap();
        let expected = ["ProviderReady 1", "HealthCheckFailing 1", "CircuitOpen 1", "CircuitClosed 1"];
        tells(&site, namespace, name, &expected);
    }
    figure(
        "provider",
        format!(
            "API server away for {AWAY:?} while 30 providers fail: {calls} calls, told {took:.1?} after it is back"
        ),
    );
    assert!(calls < CALLS, "{calls} calls in {AWAY:?}");
    assert!(asked > 30 * 3, "servers are asked meanwhile");
    for object in &all {
        site.api.delete(&crate::api::path(object)).ok();
    }
    put_back(&mut site);
}

#[test]
fn somebody_who_writes_all_the_time_delays_the_truth_and_does_not_hide_it() {
    let site = shared();
    let namespace = site.namespace("provider-rival");
    let server = Server::start();
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    let path = crate::api::path(&weather);
    site.api.create(&weather).ok();
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let rival = scope.spawn(|| {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let status = json!({"status": {"toolsCount": 1000 + written}});
                site.api.merge_patch(&format!("{path}/status"), &status).ok();
                let note = json!({"metadata": {"annotations": {"rival": written.to_string()}}});
                site.api.merge_patch(&path, &note).ok();
                written += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            written
        });
        state(&site, &weather, "Ready");
        server.fails(true);
        state(&site, &weather, "Dead");
        server.fails(false);
        state(&site, &weather, "Ready");
        stop.store(true, Ordering::Relaxed);
        rival.join().unwrap()
    });
    let live = status(&site, &weather, "his number is gone", |status| status["toolsCount"] == 1);
    let asked = server.requests();
    eventually("it is asked again", SOON, || (server.requests() >= asked + 9).then_some(()));
    let after = site.api.read(&weather);
    assert_eq!(after["metadata"]["resourceVersion"], live["metadata"]["resourceVersion"]);
    let expected = ["ProviderReady 1", "HealthCheckFailing 1", "CircuitOpen 1", "CircuitClosed 1"];
    assert_eq!(events(&site, namespace, "weather"), expected);
    figure(
        "provider",
        format!("{written} writes of a rival to status and annotations: every transition told once"),
    );
    site.api.delete(&path).ok();
}

/// Takes the only seat of a priority level until dropped: a request alone is always let in, so there must be another.
struct Seat {
    free: Arc<AtomicBool>,
    holder: Option<std::thread::JoinHandle<()>>,
}

impl Seat {
    /// As the account of that token: a request whose body does not end, again whenever the API server has enough of it.
    fn taken(folder: &Path, token: &str) -> Self {
        let port = std::fs::read_to_string(folder.join("port")).unwrap();
        let address = format!("127.0.0.1:{}", port.trim()).parse().unwrap();
        let chain = std::fs::read_to_string(folder.join("certs/apiserver.crt")).unwrap();
        let authority = chain.split_inclusive("-----END CERTIFICATE-----\n").last().unwrap().to_owned();
        let head = format!(
            "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
        );
        let free = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&free);
        let holder = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let Ok(mut stream) = crate::webhook::connect(address, "127.0.0.1", &authority) else {
                    continue;
                };
                stream.sock.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                let _ = stream.write_all(head.as_bytes());
                let waits = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
                while stream.read(&mut [0; 1]).is_err_and(|error| waits(&error)) {
                    if told.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
        });
        Self { free, holder: Some(holder) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.free.store(true, Ordering::Relaxed);
        let _ = self.holder.take().unwrap().join();
    }
}

#[test]
fn an_api_server_that_has_no_room_for_the_operator_is_not_pressed() {
    const REFUSED: Duration = Duration::from_secs(10);
    let mut site = borrow_one();
    let namespace = site.cluster.namespace("provider-throttled");
    let server = Server::start();
    // An account of its own, whose requests can be refused, and one that takes its place.
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let [token, other] = ["throttled", "holder"].map(|name| {
        site.api.post(accounts, &json!({"metadata": {"name": name}})).ok();
        let token = site.api.post(&format!("{accounts}/{name}/token"), &json!({"spec": {}})).ok();
        token["status"]["token"].as_str().unwrap().to_owned()
    });
    let binding = json!({"metadata": {"name": "throttled"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "throttled", "namespace": "default"},
            {"kind": "ServiceAccount", "name": "holder", "namespace": "default"}]});
    site.api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).ok();
    let flows = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let level = json!({"metadata": {"name": "no-room"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"}}}});
    site.api.post(&format!("{flows}/prioritylevelconfigurations"), &level).ok();
    let schema = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": 2,
        "priorityLevelConfiguration": {"name": "no-room"}, "rules": [{
            "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "default"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}]}]}})
    };
    let folder = site.folder.join("throttled");
    std::fs::create_dir_all(folder.join("logs")).unwrap();
    let text = std::fs::read_to_string(site.folder.join("kubeconfig")).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    config["users"] = json!([{"name": "admin", "user": {"token": token}}]);
    std::fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
    site.operator.kill();
    let flags = [beside().as_slice(), &["--leader-elect=false"]].concat();
    site.operator = Operator::start(&folder, "operator", &flags);
    site.serves();

    let all: Vec<Value> =
        (0..30).map(|n| provider(namespace, &format!("r{n}"), &one_of_many(&server.fake.url()))).collect();
    for object in &all {
        site.api.create(object).ok();
    }
    for object in &all {
        state(&site, object, "Ready");
    }
    let refused = || {
        let text = site.api.get("/metrics");
        let all = text.message().lines().filter(|line| {
            line.starts_with("apiserver_flowcontrol_rejected_requests_total") && line.contains("throttled")
        });
        all.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    for name in ["holder", "throttled"] {
        site.api.post(&format!("{flows}/flowschemas"), &schema(name)).ok();
    }
    let seat = Seat::taken(&site.folder, &other);
    let throttled = crate::api::Api::connect(&folder.join("kubeconfig"), "admin");
    eventually("it is refused", SOON, || (throttled.get("/api/v1/namespaces").code == 429).then_some(()));
    server.fails(true);
    let (before, began) = (refused(), Instant::now());
    while began.elapsed() < REFUSED {
        std::thread::sleep(Duration::from_millis(100));
    }
    let calls = refused() - before;
    assert!(calls > 0.0, "nothing was refused");
    for name in ["throttled", "holder"] {
        site.api.delete(&format!("{flows}/flowschemas/{name}")).ok();
    }
    drop(seat);
    for object in &all {
        state(&site, object, "Dead");
    }
    figure(
        "provider",
        format!("30 providers fail while requests are refused with 429: {calls} refused in {REFUSED:?}"),
    );
    assert!(calls < 300.0, "{calls} requests");
    for object in &all {
        site.api.delete(&crate::api::path(object)).ok();
    }
    put_back(&mut site);
    site.api.delete(&format!("{flows}/prioritylevelconfigurations/no-room")).ok();
    site.api.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/throttled").ok();
    for name in ["throttled", "holder"] {
        site.api.delete(&format!("{accounts}/{name}")).ok();
    }
}

#[test]
fn a_provider_that_goes_away_in_the_middle_of_everything_leaves_no_trace_and_may_come_again() {
    let site = shared();
    let namespace = site.namespace("provider-gone");
    let hangs = RUNTIME.block_on(Fake::new(|_| Reply::Hang));
    let server = Server::start();
    let specs = [patient(&hangs), remote(&server.fake.url()), container()];
    for round in 0..30_u64 {
        let object = provider(namespace, &format!("fleeting{round}"), &specs[round as usize % specs.len()]);
        site.api.create(&object).ok();
        // Before the first look, in it, while it is probed, after it is Ready.
        std::thread::sleep(Duration::from_millis(round * 7));
        site.api.delete(&crate::api::path(&object)).ok();
    }
    // Nothing collects garbage here, and the new one is not the owner of what the old one left.
    let back = provider(namespace, "fleeting29", &container());
    site.api.create(&back).ok();
    let path = deployment(namespace, "fleeting29");
    let left = object(&site, &path);
    let live = site.api.read(&back);
    if !left.is_null() && left["metadata"]["ownerReferences"][0]["uid"] != live["metadata"]["uid"] {
        status(&site, &back, "the name is taken", |status| {
            status["conditions"].to_string().contains("NameTaken")
        });
        for left in [path.clone(), service(namespace, "fleeting29"), service(namespace, "fleeting29-pods")] {
            site.api.delete(&left);
        }
    }
    let made = eventually("a Deployment of its own", SOON, || {
        let made = object(&site, &path);
        (made["metadata"]["ownerReferences"][0]["uid"] == live["metadata"]["uid"]).then_some(made)
    });
    assert_eq!(made["spec"]["replicas"], 1);
    site.api.delete(&crate::api::path(&back)).ok();
    let metrics = Metrics::of(&site.operator);
    eventually("no series has their names", SOON, || (!metrics.text().contains("fleeting")).then_some(()));
    assert!(!site.operator.log().contains("panicked"));
}
