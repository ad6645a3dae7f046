//! Discovery of MCP servers that run: what is found becomes providers with tools, and goes when it is gone, not before.
//!
//! In: the attended install, and `discovery-source.yaml` as people have it, with images that are on the node and servers
//! behind its Services. Out: providers, what garbage collection leaves of them, and what the sources say. What an API
//! server alone can show is tested in `tests/e2e/discovery.rs`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::path;
use crate::charts::root;
use crate::cluster::{Site, attended, eventually, run};
use crate::figures::figure;
use crate::provider::{GO, NODE, SOON, Team, condition, leader, metrics, processes, signal};
use crate::release::{NAMESPACE, PODS};

/// Two scans of a source with an interval of some seconds, on a busy machine.
const LATER: Duration = Duration::from_secs(60);

fn source(team: &Team, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPDiscoverySource",
        "metadata": {"name": name, "namespace": team.name}, "spec": spec})
}

/// Makes the ConfigMap, or gives it that text.
fn write(site: &Site, namespace: &str, name: &str, providers: &str) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": {"providers.yaml": format!("providers:\n{providers}")}});
    site.kubectl(&["apply", "-f", "-"], &map.to_string()).works();
}

/// All providers of the namespace, by name.
fn providers(team: &Team) -> Vec<Value> {
    let all = team.site.api.get(&crate::api::list_path(&team.provider("any", "v1beta1", &Value::Null))).ok();
    all["items"].as_array().unwrap().clone()
}

fn names(team: &Team) -> String {
    let all = providers(team);
    all.iter().map(|it| it["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn there_are(team: &Team, expected: &str) {
    eventually(&format!("the providers are: {expected}"), SOON, || (names(team) == expected).then_some(()));
}

/// Waits until the condition of the source has the reason; what it says.
#[track_caller]
fn says(team: &Team, source: &Value, type_: &str, reason: &str, words: &str) -> String {
    let message =
        |object: &Value| condition(object, type_)["message"].as_str().unwrap_or_default().to_owned();
    let told = team.waits(source, &format!("{type_}, {reason}: {words}"), |object| {
        condition(object, type_)["reason"] == reason && message(object).contains(words)
    });
    message(&told)
}

/// Pods that end may take their time.
#[track_caller]
fn is_gone(team: &Team, provider: &str) {
    eventually(&format!("nothing of {provider} is left"), SOON, || {
        let made = team.made(provider);
        (made.iter().all(|it| it.starts_with("pod/")) && team.pods(provider).is_empty()).then_some(())
    });
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// What the example finds, by name: its source, the server's host and port, and one of its tools.
const FOUND: [(&str, &str, &str, &str); 6] = [
    ("glossary", "named-ports", "glossary", "9000"),
    ("maps", "catalogue", "elsewhere", "8080"),
    ("team-billing", "teams", "team-billing", "8080"),
    ("team-crm", "teams", "elsewhere", "8080"),
    ("translator", "annotated", "translator", "8080"),
    ("weather", "catalogue", "weather", "8080"),
];

#[test]
fn the_example_finds_servers_that_become_ready_with_their_tools_and_each_source_keeps_its_own() {
    let site = attended();
    let team = Team::new(&site, "discovery-example");
    let consents = format!("namespace/{}", team.name);
    site.kubectl(&["label", &consents, "mcp.example.com/discovery=enabled"], "").works();
    for (name, port) in [("elsewhere", 8080), ("translator", 8080), ("glossary", 9000)] {
        team.server(name, port, &json!({}));
    }
    team.kubectl(&["expose", "deployment", "elsewhere", "--port=8080"]).works();
    let elsewhere = format!("http://elsewhere.{}.svc:8080/mcp", team.name);
    let example = team.staged(
        "examples/kubernetes/discovery-source.yaml",
        &[
            ("ghcr.io/acme/mcp-billing:1.0.3", GO),
            ("ghcr.io/acme/mcp-weather:0.9.1", NODE),
            ("args: [--units=metric]", "args: [streamableHttp]"),
            ("https://crm.example.com/mcp", &elsewhere),
            ("https://maps.example.com/mcp", &elsewhere),
        ],
    );
    let began = Instant::now();
    site.kubectl(&["apply", "-f", "-"], &example).works();
    let all: Vec<&str> = FOUND.iter().map(|row| row.0).collect();
    there_are(&team, &all.join(" "));
    let found = began.elapsed();
    let mut tools = 0;
    for (name, by, host, port) in FOUND {
        let ready = team.state(name, "Ready");
        assert_eq!(
            ready["status"]["endpoint"],
            format!("http://{host}.{}.svc:{port}/mcp", team.name),
            "{name}"
        );
        tools += ready["status"]["toolsCount"].as_u64().unwrap();
        assert!(ready["status"]["toolsCount"].as_u64() > Some(0), "{name}: {:#}", ready["status"]);
        let owner = site.api.read(&source(&team, by, &Value::Null));
        let reference = &ready["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&reference["uid"], &reference["controller"]),
            (&owner["metadata"]["uid"], &json!(true)),
            "{name}"
        );
        let origin = ready["metadata"]["annotations"]["mcp-hangar.io/discovered-by"].as_str().unwrap();
        assert!(origin.starts_with(&format!("{by}/")), "{name}: {origin}");
    }
    let ready = began.elapsed();
    let billing = team.read("team-billing");
    assert_eq!(billing["metadata"]["labels"]["mcp.example.com/found-by"], "teams");
    assert_eq!(billing["spec"]["lifecycle"]["idleTTL"], "10m");
    let pod = &team.has_pods("team-billing", 1)[0];
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["memory"], "256Mi", "the template's");
    let table = team.kubectl(&["get", "mcpds"]).ok();
    for (name, count) in [("annotated", "1"), ("catalogue", "2"), ("named-ports", "1"), ("teams", "2")] {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert_eq!(line.split_whitespace().nth(3), Some(count), "{table}");
    }
    let described = team.kubectl(&["describe", "mcpds", "teams"]).ok();
    let place = format!("ConfigMap {}/mcp-providers", team.name);
    for words in ["2 found, 2 managed", &place, "team-crm", "Next Sync Time", "nothing is to be deleted"] {
        assert!(described.contains(words), "{words}: {described}");
    }
    what_is_not_found_any_more(&team, &elsewhere);
    sources_go(&team);
    figure(
        "discovery",
        format_args!(
            "discovery-source.yaml: 6 providers by 4 sources {found:.1?} after kubectl apply, all Ready with {tools} tools after {ready:.1?}"
        ),
    );
}

/// Authoritative deletes it with all that was made for it, Additive tells.
fn what_is_not_found_any_more(team: &Team, elsewhere: &str) {
    let (teams, catalogue) = (source(team, "teams", &Value::Null), source(team, "catalogue", &Value::Null));
    assert!(!team.made("team-billing").is_empty());
    write(team.site, team.name, "mcp-providers", &format!("- {{name: team-crm, endpoint: '{elsewhere}'}}"));
    says(team, &teams, "Pruning", "Pruned", "team-billing");
    is_gone(team, "team-billing");
    let before = uid(&team.read("weather"));
    write(team.site, team.name, "mcp-catalogue", &format!("  maps: {{endpoint: '{elsewhere}'}}"));
    let told = says(team, &catalogue, "Pruning", "Additive", "weather");
    assert!(told.starts_with("with mode Authoritative these would be deleted"), "{told}");
    there_are(team, "glossary maps team-crm translator weather");
    let weather = team.read("weather");
    assert_eq!((uid(&weather), &weather["status"]["state"]), (before, &json!("Ready")));
}

/// One that is to stay until its providers are gone, and one whose providers go after it.
fn sources_go(team: &Team) {
    let teams = source(team, "teams", &Value::Null);
    team.site.api.delete(&path(&teams)).ok();
    eventually("the source is gone", SOON, || {
        let is_there = team.site.api.get(&path(&teams)).code == 200;
        // Asked after it: while the source is gone, its provider must be.
        let left = names(team);
        assert!(is_there || !left.contains("team-crm"), "a source that blocks deletion left {left}");
        (!is_there).then_some(())
    });
    assert!(!team.made("weather").is_empty());
    team.kubectl(&["delete", "mcpds", "catalogue"]).works();
    there_are(team, "glossary translator");
    is_gone(team, "weather");
    for (name, ..) in FOUND.iter().filter(|row| ["glossary", "translator"].contains(&row.0)) {
        assert_eq!(team.read(name)["status"]["state"], "Ready", "{name}: another source's");
    }
}

/// Its pods say of themselves what they are.
const SAYS: [(&str, &str); 2] = [("mcp-hangar.io/provider", "words"), ("mcp-hangar.io/port", "8080")];

#[test]
fn the_provider_of_annotated_pods_stays_while_they_are_rolled_and_its_endpoint_follows() {
    let site = attended();
    let team = Team::new(&site, "discovery-pods");
    let annotations: Value = SAYS
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    team.server("words", 8080, &annotations);
    let spec = json!({"type": "Annotations", "mode": "Authoritative", "refreshInterval": "2s",
        "annotations": {"podSelector": {"app.kubernetes.io/name": "words"}},
        "providerTemplate": {"spec": {"healthCheck": {"interval": "1s", "timeout": "1s"}}}});
    let annotated = source(&team, "pods", &spec);
    site.api.create(&annotated).ok();
    there_are(&team, "words");
    let first = team.state("words", "Ready");
    assert!(first["status"]["toolsCount"].as_u64() > Some(0), "{:#}", first["status"]);
    let pods = || {
        let list = site.api.get(&format!(
            "/api/v1/namespaces/{}/pods?labelSelector=app.kubernetes.io%2Fname%3Dwords",
            team.name
        ));
        list.ok()["items"].as_array().unwrap().clone()
    };
    let endpoints = || -> Vec<String> {
        pods()
            .iter()
            .map(|pod| format!("http://{}:8080/mcp", pod["status"]["podIP"].as_str().unwrap_or_default()))
            .collect()
    };
    let mut seen = vec![first["spec"]["remote"]["endpoint"].as_str().unwrap().to_owned()];
    assert_eq!(seen, endpoints());
    let mut took = Vec::new();
    // As an upgrade does it, by hand, and as a node does it that is drained.
    for change in [
        &["rollout", "restart", "deployment", "words"][..],
        &["delete", "pods", "-l", "app.kubernetes.io/name=words", "--wait=false"],
    ] {
        let began = Instant::now();
        team.kubectl(change).works();
        let moved = team.waits(&first, "at another pod, and Ready", |object| {
            let endpoint = object["spec"]["remote"]["endpoint"].as_str().unwrap_or_default().to_owned();
            assert_eq!(object["metadata"]["uid"], first["metadata"]["uid"], "it is still the first one");
            let is_used = object["status"]["endpoint"] == endpoint && object["status"]["state"] == "Ready";
            !seen.contains(&endpoint) && is_used && endpoints() == [endpoint]
        });
        took.push(format!("{:.1?}", began.elapsed()));
        seen.push(moved["spec"]["remote"]["endpoint"].as_str().unwrap().to_owned());
    }
    // Nobody says so any more.
    team.kubectl(&["scale", "deployment", "words", "--replicas=0"]).works();
    there_are(&team, "");
    says(&team, &annotated, "Pruning", "Pruned", "words");
    figure(
        "discovery",
        format_args!(
            "annotated pods of a Deployment, rolled and deleted: one provider all the time, at the new pod and Ready after {}",
            took.join(" and ")
        ),
    );
}

#[test]
fn a_namespace_that_is_deleted_takes_its_providers_along_after_a_second_scan_only() {
    let site = attended();
    let team = Team::new(&site, "discovery-platform");
    let guests = ["discovery-guest-a", "discovery-guest-b"].map(|name| Guest::new(&site, name));
    for (guest, name) in guests.iter().zip(["alpha", "beta"]) {
        write(&site, guest.name, "mcp-providers", &format!("  {name}: {{image: '{GO}'}}"));
    }
    let spec = json!({"type": "Namespace", "mode": "Authoritative", "refreshInterval": "6s",
        "namespaceSelector": {"matchLabels": {"discovery-guest": "yes"}}});
    let all = source(&team, "guests", &spec);
    site.api.create(&all).ok();
    there_are(&team, "alpha beta");
    let kept = uid(&team.state("beta", "Ready"));
    team.state("alpha", "Ready");
    site.api.delete(&format!("/api/v1/namespaces/{}", guests[0].name)).ok();
    let told = says(&team, &all, "Pruning", "PlaceAway", "alpha");
    let began = Instant::now();
    assert!(
        told.contains("the whole place is away: deleted unless found again by ") && !told.contains("beta"),
        "{told}"
    );
    let waiting = team.read("alpha");
    assert_eq!(waiting["status"]["state"], "Ready", "until then it serves");
    assert_eq!(condition(&site.api.read(&all), "Pruning")["status"], "False");
    eventually("it is deleted", LATER, || (names(&team) == "beta").then_some(()));
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(4), "a second scan comes after the interval, not after {waited:?}");
    is_gone(&team, "alpha");
    says(&team, &all, "Pruning", "Pruned", "alpha");
    assert_eq!(uid(&team.state("beta", "Ready")), kept);
    figure(
        "discovery",
        format_args!(
            "a namespace deleted: PlaceAway, its provider served {waited:.1?} more (refreshInterval 6s), then it and its Deployment went"
        ),
    );
}

/// A namespace in which somebody lists providers.
struct Guest<'a> {
    site: &'a Site,
    name: &'static str,
}

impl<'a> Guest<'a> {
    fn new(site: &'a Site, name: &'static str) -> Self {
        let object = json!({"metadata": {"name": name, "labels": {"discovery-guest": "yes"}}});
        site.api.post("/api/v1/namespaces", &object).ok();
        Self { site, name }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.site.api.delete(&format!("/api/v1/namespaces/{}", self.name));
    }
}

#[test]
fn an_operator_that_is_killed_and_an_api_server_that_goes_away_cost_no_provider_that_is_still_listed() {
    let site = attended();
    let team = Team::new(&site, "discovery-outage");
    let guest = Guest::new(&site, "discovery-guest-c");
    team.server("words", 8080, &json!({"mcp-hangar.io/provider": "words"}));
    let item = |name: &str| format!("  {name}: {{image: '{GO}', replicas: 0}}\n");
    let list = |names: &[&str]| names.iter().map(|name| item(name)).collect::<String>();
    write(&site, team.name, "m", &format!("  runs: {{image: '{GO}'}}\n{}", list(&["a", "b", "c"])));
    write(&site, guest.name, "mcp-providers", &list(&["x", "y"]));
    let scans = json!({"mode": "Authoritative", "refreshInterval": "1s"});
    for (name, more) in [
        ("maps", json!({"type": "ConfigMap", "configMapRef": {"name": "m"}})),
        (
            "guests",
            json!({"type": "Namespace", "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": guest.name}}}),
        ),
        (
            "pods",
            json!({"type": "Annotations", "annotations": {"podSelector": {"app.kubernetes.io/name": "words"},
            "requiredAnnotations": ["mcp-hangar.io/provider"]}}),
        ),
    ] {
        let mut spec = scans.clone();
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        site.api.create(&source(&team, name, &spec)).ok();
    }
    there_are(&team, "a b c runs words x y");
    team.state("runs", "Ready");
    team.state("words", "Ready");
    let uids = || -> Vec<(String, String)> {
        let name = |it: &Value| it["metadata"]["name"].as_str().unwrap().to_owned();
        providers(&team).iter().map(|it| (name(it), uid(it))).collect()
    };
    let before = uids();
    // Nobody but who is still listed, and each of them as it was.
    let kept = |expected: &str| {
        there_are(&team, expected);
        for (name, uid) in uids() {
            let was = before.iter().find(|(old, _)| *old == name);
            assert!(was.is_none_or(|(_, old)| *old == uid), "{name} was deleted and made again");
        }
    };

    let killed = leader(&team).expect("somebody leads");
    let began = Instant::now();
    assert!(signal(&processes(&site, NAMESPACE, &killed), "KILL"));
    write(&site, team.name, "m", &format!("  runs: {{image: '{GO}'}}\n{}", list(&["a", "b", "d"])));
    kept("a b d runs words x y");
    let lost = began.elapsed();

    let address = eventually("its address", SOON, || {
        let pod = site.api.get(&format!("{PODS}/{}", leader(&team)?)).body;
        let address = pod["status"]["podIP"].as_str()?.to_owned();
        (failed_scans(&address)? < u64::MAX).then_some(address)
    });
    let scans_before = failed_scans(&address).unwrap();
    let began = Instant::now();
    let away = ApiServer::kill(&site);
    // Every source is looked at again, and some more than once.
    let scans = eventually("the operator looks and gets no answer", SOON, || {
        let scans = failed_scans(&address)? - scans_before;
        (scans >= 6).then_some(scans)
    });
    let gone = began.elapsed();
    drop(away);
    site.serves();
    kept("a b d runs words x y");
    write(&site, team.name, "m", &format!("  runs: {{image: '{GO}'}}\n{}", list(&["b", "d"])));
    write(&site, guest.name, "mcp-providers", &list(&["x", "z"]));
    kept("b d runs words x z");
    for name in ["maps", "guests", "pods"] {
        says(&team, &source(&team, name, &Value::Null), "Synced", "Synced", "");
    }
    team.state("runs", "Ready");
    team.state("words", "Ready");
    figure(
        "discovery",
        format_args!(
            "leader killed: the list was right again after {lost:.1?}; API server killed for {gone:.1?}, {scans} looks without an answer: no provider deleted, what left the list later went"
        ),
    );
}

/// Looks at sources that came to nothing, by the metrics of an operator's pod.
fn failed_scans(address: &str) -> Option<u64> {
    let text = metrics(address)?;
    let lines = text.lines().filter(|line| {
        line.starts_with("mcp_operator_reconcile_total{")
            && line.contains("controller=\"discovery\"")
            && !line.contains("\"success\"")
    });
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// An API server that is away until this is dropped.
struct ApiServer<'a>(&'a Site);

impl<'a> ApiServer<'a> {
    fn kill(site: &'a Site) -> Self {
        let file = site.folder.join("pids/kube-apiserver");
        let text = std::fs::read_to_string(&file).unwrap();
        let pid = text.split_whitespace().next().unwrap();
        assert!(signal(&[pid.to_owned()], "KILL"), "{text}");
        eventually("nobody answers", SOON, || (site.api.get("/readyz").code == 0).then_some(()));
        Self(site)
    }
}

impl Drop for ApiServer<'_> {
    fn drop(&mut self) {
        let folder = self.0.folder.parent().unwrap();
        let mut command = Command::new("bash");
        let output = run(command.arg("tests/cluster/node/up.sh").arg(folder).current_dir(root()), "");
        assert!(output.code == 0 || std::thread::panicking(), "{output:?}");
    }
}
